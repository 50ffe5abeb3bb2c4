//! Verbs of call flows: check a file, save it, run it on the running server.

mod check;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use kernel::time::rfc3339;
use kernel::{Clock, Job, Kernel, Org};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::listing::{self, Item, List, Remove};
use super::{Answer, CliError};
use crate::flows::lenient::{self, Reading};
use crate::flows::{Problem, Purpose, Report, check_reading, store};

pub(super) use check::CheckFlow;

/// What authenticates a posted flow; a file may hold it, the store never does.
const CREDENTIALS: [&str; 3] = ["cloud_id", "cloud_sid", "auth_token"];

#[derive(Debug, Subcommand)]
pub enum FlowVerb {
    /// Say what is wrong with a flow, and draw it
    Check(CheckFlow),
    /// Save a flow, so that a number can lead to it
    Save(SaveFlow),
    /// Show the saved flows
    List(List),
    /// Remove a saved flow; runs that have begun go on
    Remove(Remove),
    /// Run a flow on the server that is running
    Run(RunFlow),
}

#[derive(Args, Debug)]
pub struct SaveFlow {
    file: PathBuf,
    /// Id or slug of the organisation
    #[arg(long)]
    org: String,
    #[arg(long)]
    name: String,
}

#[derive(Args, Debug)]
pub struct RunFlow {
    /// A file, or the id of a saved flow
    #[arg(value_name = "FILE|ID")]
    flow: String,
    /// Id or slug of the organisation
    #[arg(long)]
    org: String,
    /// Whom to call, instead of the number in the flow
    #[arg(long, value_name = "NUMBER")]
    to: Option<String>,
}

impl FlowVerb {
    pub(crate) async fn run(self, kernel: &Kernel) -> Result<Answer, CliError> {
        match self {
            Self::Check(verb) => verb.run(kernel).await,
            Self::Save(verb) => verb.run(kernel).await,
            Self::List(list) => list.run(kernel, async |org: &Org| saved(kernel, org).await).await,
            Self::Remove(flow) => {
                flow.run(kernel, "flow", async |org: &Org, id: &str| remove(kernel, org, id).await).await
            }
            Self::Run(verb) => verb.run(kernel).await,
        }
    }
}

async fn saved(kernel: &Kernel, org: &Org) -> Result<Vec<Item>, CliError> {
    let page =
        async |after: &str, limit| store::list(&kernel.db, &org.id, after, limit).await.map_err(CliError::because);
    let item = |flow: store::SavedFlow| {
        vec![
            ("id", json!(flow.id)),
            ("name", json!(flow.name)),
            ("version", json!(flow.version)),
            ("updated_at", json!(rfc3339(flow.updated_ms))),
        ]
    };
    Ok(listing::pages(page, |flow: &store::SavedFlow| &flow.id).await?.into_iter().map(item).collect())
}

async fn remove(kernel: &Kernel, org: &Org, id: &str) -> Result<bool, CliError> {
    let mut leading = store::numbers_of(&kernel.db, &org.id, id).await.map_err(CliError::because)?;
    leading.extend(store::products_of(&kernel.db, &org.id, id).await.map_err(CliError::because)?);
    if !leading.is_empty() {
        return Err(CliError::because(format!("{} leads to it: remove or rebind first", leading.join(", "))));
    }
    store::delete(kernel, &org.id, id).await.map_err(CliError::because)
}
impl SaveFlow {
    async fn run(self, kernel: &Kernel) -> Result<Answer, CliError> {
        let org: Org = kernel.find_org(&self.org).await?;
        let (body, found) = read_good(&self.file, Purpose::Save)?;
        let saved = store::create(kernel, &org.id, &self.name, &body).await.map_err(CliError::because)?;
        Ok(Answer {
            text: format!("flow {} ({}), version {}{}", saved.name, saved.id, saved.version, warnings(&found)),
            json: json!({"id": saved.id, "version": saved.version, "warnings": found}),
        })
    }
}

/// How long the server is waited for to take a run up; it looks for orders every 2 s.
const BEGINS_WITHIN: Duration = Duration::from_secs(8);
const LOOK_EVERY: Duration = Duration::from_millis(100);

impl RunFlow {
    async fn run(self, kernel: &Kernel) -> Result<Answer, CliError> {
        let org: Org = kernel.find_org(&self.org).await?;
        let (run, found) = self.order(kernel, &org).await?;
        let begun = timeout(BEGINS_WITHIN, begin_of(kernel, &org.id, &run)).await;
        let text = match begun {
            Ok(begun) => {
                begun?;
                format!("run {run} has begun")
            }
            Err(_late) => format!("run {run} is ordered; the server has not taken it up yet"),
        };
        Ok(Answer { text: format!("{text}{}", warnings(&found)), json: json!({"id": run, "warnings": found}) })
    }

    /// Leaves the order to the running server: the run's id, and what may not be as meant.
    async fn order(self, kernel: &Kernel, org: &Org) -> Result<(String, Vec<Problem>), CliError> {
        if kernel.db.lock().await.is_ok() {
            return Err(CliError::because("no server is running on this data: start one, then run the flow"));
        }
        let file = Path::new(&self.flow);
        let (flow, body, found) = if file.is_file() {
            let purpose = if self.to.is_some() { Purpose::Save } else { Purpose::Run };
            let (body, found) = read_good(file, purpose)?;
            (Value::Null, store::sealed(kernel, body).map_err(CliError::because)?, found)
        } else {
            let saved = store::one(&kernel.db, &org.id, &self.flow).await.map_err(CliError::because)?;
            let saved =
                saved.ok_or_else(|| CliError::because(format!("there is no file and no flow \"{}\"", self.flow)))?;
            (Value::String(saved.id), Value::Null, Vec::new())
        };
        let now_ms = kernel.clock.now_ms();
        let run = kernel.ids.new("run", now_ms);
        let order = json!({"run": run, "flow": flow, "body": body, "to": self.to});
        let job = Job::new(&org.id, "flow.start", &run, now_ms, order);
        kernel.db.writer().commit(vec![job.schedule_once_write()]).await.map_err(CliError::because)?;
        Ok((run, found))
    }
}

/// Waits until the server has begun a run; an error when it will not.
async fn begin_of(kernel: &Kernel, org: &str, run: &str) -> Result<(), CliError> {
    loop {
        if let Some(begun) = store::run(&kernel.db, org, run).await.map_err(CliError::because)? {
            return begun
                .error
                .map_or(Ok(()), |error| Err(CliError::because(format!("run {run} does not begin: {error}"))));
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Reads a file as the API would, without its credentials.
fn read(file: &Path) -> Result<Reading, CliError> {
    let wrong = |error: &dyn std::fmt::Display| CliError::because(format!("{}: {error}", file.display()));
    let bytes = std::fs::read(file).map_err(|error| wrong(&error))?;
    let mut reading = lenient::read(&bytes).map_err(|error| wrong(&error))?;
    if let Some(members) = reading.value.as_object_mut() {
        for credential in CREDENTIALS {
            members.shift_remove(credential);
        }
    }
    Ok(reading)
}

/// A file whose flow is good, as far as the file alone can tell, and what may not be as meant.
fn read_good(file: &Path, purpose: Purpose) -> Result<(Value, Vec<Problem>), CliError> {
    let reading = read(file)?;
    let checked = check_reading(&reading, purpose, Clock::system().now_ms());
    match checked.flow {
        Some(_) => Ok((reading.value, checked.report.warnings)),
        None => Err(refusal(&checked.report)),
    }
}

/// All errors in one message, and the warnings after them.
fn refusal(report: &Report) -> CliError {
    let errors: String = report.errors.iter().map(|problem| format!("\n  {}", line(problem))).collect();
    CliError::because(format!("the flow has errors{errors}{}", warnings(&report.warnings)))
}

/// A line for each, none for none.
fn warnings(warnings: &[Problem]) -> String {
    warnings.iter().map(|problem| format!("\n  warning {}", line(problem))).collect()
}

fn line(problem: &Problem) -> String {
    format!("{} at {}: {}", problem.code, shown(&problem.path), problem.message)
}

fn shown(path: &str) -> &str {
    if path.is_empty() { "the beginning" } else { path }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_order_keeps_its_publish_secret_sealed() {
        let test = kernel::db::testing::TestDb::sqlite().await;
        let folder = tempfile::tempdir().unwrap();
        let config = kernel::Config { data: folder.path().to_owned(), ..kernel::Config::default() };
        let kernel =
            Kernel::assemble(config, test.db.clone(), test.bus.clone(), Clock::system(), kernel::Ids::os()).unwrap();
        let org = kernel.create_org(kernel::org::NewOrg { name: "Acme".into(), ..Default::default() }).await.unwrap();
        let _server = kernel.db.lock().await.unwrap();
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let file = folder.path().join("flow.json");
        let body = json!({
            "publish": {"url": "https://h/", "secret": secret}, "flow": [{"id": 1, "type": "call", "number": "1001"}],
        });
        std::fs::write(&file, body.to_string()).unwrap();
        let verb = RunFlow { flow: file.display().to_string(), org: "acme".into(), to: None };
        let (run, _) = verb.order(&kernel, &org).await.unwrap();
        let order = kernel.jobs.get(&org.id, "flow.start", &run).await.unwrap().unwrap().payload;
        let payload = order.to_string();
        assert!(!payload.contains("whsec"), "{payload}");
        let opened = store::with_secrets(&kernel, order["body"].clone()).unwrap();
        assert_eq!(opened["publish"]["secret"], secret, "and the server opens it again");
    }
}
