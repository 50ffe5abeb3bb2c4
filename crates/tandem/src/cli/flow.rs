//! Verbs of call flows: check a file and draw it, save it, run it on the running server.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use kernel::{Clock, Job, Kernel, Org};
use serde_json::{Value, json};

use super::{Answer, CliError};
use crate::flows::model::Flow;
use crate::flows::{Checked, Problem, Purpose, check, lenient, store};

/// What authenticates a posted flow; a file may hold it, the store never does.
const CREDENTIALS: [&str; 3] = ["cloud_id", "cloud_sid", "auth_token"];

#[derive(Debug, Subcommand)]
pub enum FlowVerb {
    /// Say what is wrong with a flow, and draw it
    Check(CheckFlow),
    /// Save a flow, so that a number can lead to it
    Save(SaveFlow),
    /// Run a flow on the server that is running
    Run(RunFlow),
}

#[derive(Args, Debug)]
pub struct CheckFlow {
    file: PathBuf,
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
            Self::Check(verb) => verb.run(),
            Self::Save(verb) => verb.run(kernel).await,
            Self::Run(verb) => verb.run(kernel).await,
        }
    }
}

impl CheckFlow {
    pub(crate) fn run(self) -> Result<Answer, CliError> {
        let (_, checked) = read(&self.file, Purpose::Save)?;
        let flow = good(&checked)?;
        let warnings = &checked.report.warnings;
        let mut text = draw(flow);
        for warning in warnings {
            let _written = write!(text, "\nwarning {}: {} ({})", warning.code, warning.message, warning.path);
        }
        let json = json!({"id": self.file.display().to_string(), "steps": flow.steps.len(), "warnings": warnings, "drawing": draw(flow)});
        Ok(Answer { json, text })
    }
}

impl SaveFlow {
    async fn run(self, kernel: &Kernel) -> Result<Answer, CliError> {
        let org: Org = kernel.find_org(&self.org).await?;
        let (body, checked) = read(&self.file, Purpose::Save)?;
        good(&checked)?;
        let saved = store::create(kernel, &org.id, &self.name, &body).await.map_err(CliError::because)?;
        Ok(Answer {
            text: format!("flow {} ({}), version {}", saved.name, saved.id, saved.version),
            json: json!({"id": saved.id, "version": saved.version, "warnings": checked.report.warnings}),
        })
    }
}

impl RunFlow {
    async fn run(self, kernel: &Kernel) -> Result<Answer, CliError> {
        let org: Org = kernel.find_org(&self.org).await?;
        if kernel.db.lock().await.is_ok() {
            return Err(CliError::because("no server is running on this data: start one, then run the flow"));
        }
        let file = Path::new(&self.flow);
        let (flow, body) = if file.is_file() {
            let purpose = if self.to.is_some() { Purpose::Save } else { Purpose::Run };
            let (body, checked) = read(file, purpose)?;
            good(&checked)?;
            (Value::Null, store::sealed(kernel, body).map_err(CliError::because)?)
        } else {
            let saved = store::one(&kernel.db, &org.id, &self.flow).await.map_err(CliError::because)?;
            let saved =
                saved.ok_or_else(|| CliError::because(format!("there is no file and no flow \"{}\"", self.flow)))?;
            (Value::String(saved.id), Value::Null)
        };
        let now_ms = kernel.clock.now_ms();
        let run = kernel.ids.new("run", now_ms);
        let order = json!({"run": run, "flow": flow, "body": body, "to": self.to});
        let job = Job::new(&org.id, "flow.start", &run, now_ms, order);
        kernel.db.writer().commit(vec![job.schedule_once_write()]).await.map_err(CliError::because)?;
        Ok(Answer { text: format!("run {run} begins"), json: json!({"id": run}) })
    }
}

/// Reads a file as the API would, without its credentials.
fn read(file: &Path, purpose: Purpose) -> Result<(Value, Checked), CliError> {
    let wrong = |error: &dyn std::fmt::Display| CliError::because(format!("{}: {error}", file.display()));
    let bytes = std::fs::read(file).map_err(|error| wrong(&error))?;
    let mut body = lenient::read(&bytes).map_err(|error| wrong(&error))?.value;
    if let Some(members) = body.as_object_mut() {
        for credential in CREDENTIALS {
            members.shift_remove(credential);
        }
    }
    let checked = check(&body, purpose, Clock::system().now_ms());
    Ok((body, checked))
}

/// The flow, or all of its errors in one message.
fn good(checked: &Checked) -> Result<&Flow, CliError> {
    let line = |problem: &Problem| format!("\n  {} at {}: {}", problem.code, shown(&problem.path), problem.message);
    checked.flow.as_ref().ok_or_else(|| {
        let errors: String = checked.report.errors.iter().map(line).collect();
        CliError::because(format!("the flow has errors{errors}"))
    })
}

fn shown(path: &str) -> &str {
    if path.is_empty() { "the beginning" } else { path }
}

/// A flow as text: a line a step, an arrow an edge.
fn draw(flow: &Flow) -> String {
    let name = |index: usize| flow.steps.get(index).map_or_else(String::new, |step| step.id.to_string());
    let lines: Vec<String> = flow
        .steps
        .iter()
        .map(|step| {
            let mut arrows: Vec<String> =
                step.edges.named.iter().map(|(edge, target)| format!("{edge} -> {}", name(*target))).collect();
            arrows.extend(step.edges.next.map(|target| format!("-> {}", name(target))));
            let leads = if arrows.is_empty() { "ends".to_owned() } else { arrows.join(", ") };
            format!("{:>6}  {:<10} {leads}", step.id.to_string(), step.kind.name())
        })
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_drawn() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sample.json");
        std::fs::write(&file, include_str!("demo/sample.json")).unwrap();
        let answer = CheckFlow { file }.run().unwrap();
        assert!(
            answer.text.starts_with("     0  call       -> 1\n     1  play       -> 2\n     2  digits     * -> 5\n"),
            "{}",
            answer.text
        );
        assert_eq!(answer.json["steps"], 7);
    }

    #[test]
    fn every_error_is_told_at_once_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bad.json");
        std::fs::write(&file, r#"{"flow":[{"id":1,"type":"play","next_step":9},{"id":1,"type":"hangup"}]}"#).unwrap();
        let said = CheckFlow { file }.run().unwrap_err().to_string();
        for code in ["unknown_step", "duplicate_id", "text_or_url_required"] {
            assert!(said.contains(code), "{said}");
        }
    }

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
        let answer = verb.run(&kernel).await.unwrap();
        let run = answer.json["id"].as_str().unwrap();
        let order = kernel.jobs.get(&org.id, "flow.start", run).await.unwrap().unwrap().payload;
        let payload = order.to_string();
        assert!(!payload.contains("whsec"), "{payload}");
        let opened = store::with_secrets(&kernel, order["body"].clone()).unwrap();
        assert_eq!(opened["publish"]["secret"], secret, "and the server opens it again");
    }
}
