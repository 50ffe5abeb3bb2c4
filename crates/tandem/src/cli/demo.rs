//! `tandem demo`: the five-minute tour. An organisation with two phones and a team, a test endpoint
//! for the sample flow of document 003, and the words that lead a newcomer through it.
//!
//! Invariant: the secrets are random, live in demo.json (0600) beside the data, and are the same at
//! every start.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use axum::Router;
use axum::http::{StatusCode, Uri};
use calls::{Bound, NewTeam, NewUser};
use jiff::{Timestamp, ToSpan, tz::TimeZone};
use kernel::org::NewOrg;
use kernel::sign_in::Identity;
use kernel::{Config, Kernel, Org};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::CliError;
use crate::app::App;
use crate::console::{outward_address, reachable};

const FILE_NAME: &str = "demo.json";
const SLUG: &str = "dev";
const CUSTOMER: &str = "1001";
const AGENT: &str = "1002";
const TEAM: &str = "5263";
/// The number that the sample of document 003 calls; here it rings 1001.
const NUMBER: &str = "+917507161643";
/// The sample of document 003, word for word.
const SAMPLE: &str = include_str!("demo/sample.json");
/// The host of its `http` step, which the demo's own endpoint stands in for.
const SAMPLE_ENDPOINT: &str = "https://in01c005d.samespace.com";

/// What the demo keeps.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    org: String,
    cloud_sid: String,
    auth_token: String,
    phones: Vec<Phone>,
    endpoint: SocketAddr,
}

#[derive(Debug, Serialize, Deserialize)]
struct Phone {
    user: String,
    password: String,
}

/// The tour, ready to be walked.
pub struct Demo {
    kept: Kept,
    today: Timestamp,
    file: PathBuf,
}

/// The demo's own HTTP server, not yet serving: the configuration must allow its address first.
pub struct Endpoint {
    listener: TcpListener,
    address: SocketAddr,
}

impl Demo {
    /// Opens the test endpoint, where it was last time if it can, and allows flows to reach it and nothing else.
    ///
    /// # Errors
    /// When no port is free on loopback.
    pub async fn open_endpoint(config: &mut Config) -> Result<Endpoint, CliError> {
        let last = read(&config.data.join(FILE_NAME))?.map(|kept| kept.endpoint);
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = match TcpListener::bind(last.unwrap_or(anywhere)).await {
            Ok(listener) => listener,
            Err(_) => TcpListener::bind(anywhere).await.map_err(CliError::because)?,
        };
        let address = listener.local_addr().map_err(CliError::because)?;
        config.egress.allow.push(address.to_string());
        config.default_org.get_or_insert_with(|| SLUG.to_owned());
        Ok(Endpoint { listener, address })
    }

    /// Makes the organisation at the first start, finds it again later, and serves the endpoint.
    ///
    /// # Errors
    /// When the data belongs to something else than a demo.
    pub async fn prepare(kernel: &Kernel, endpoint: Endpoint) -> Result<Self, CliError> {
        let file = kernel.config.data.join(FILE_NAME);
        let mut kept = match (read(&file)?, kernel.org_by_slug(SLUG).await?) {
            (Some(kept), Some(org)) if kept.org == org.id => kept,
            (_, None) => make(kernel, endpoint.address).await?,
            (_, Some(_)) => {
                let data = kernel.config.data.display();
                return Err(CliError::because(format!(
                    "{data} holds an organisation \"{SLUG}\" that the demo did not make: name another directory with --data"
                )));
            }
        };
        kept.endpoint = endpoint.address;
        write(&file, &kept)?;
        serve(kernel, endpoint);
        let today = Timestamp::from_millisecond(kernel.clock.now_ms()).map_err(CliError::because)?;
        Ok(Self { kept, today, file })
    }

    /// What to do now, for a newcomer.
    ///
    /// # Errors
    /// What the store says.
    pub async fn tour(&self, app: &App) -> Result<String, CliError> {
        let owner = app.kernel.people(&self.kept.org, "", 1).await?.into_iter().next();
        let console = match owner {
            Some(owner) => {
                let whose = Identity::Person { org: owner.org, person: owner.id };
                app.site().sign_in(&app.kernel.create_link(&whose).await?)
            }
            None => app.site().url("/console"),
        };
        Ok(self.words(app, &console))
    }

    fn words(&self, app: &App, console: &str) -> String {
        let http = app.http();
        let sip = app.sip().first().copied().unwrap_or(http);
        let server = reachable(sip);
        let elsewhere = match outward_address().filter(|_| sip.ip().is_unspecified()) {
            Some(address) => format!("   (a phone on another machine: {address}:{})", sip.port()),
            None => String::new(),
        };
        let phones: String = self
            .kept
            .phones
            .iter()
            .map(|phone| format!("     user {}   password {}\n", phone.user, phone.password))
            .collect();
        format!(
            "\n\
             Tandem is running. HTTP http://{http}   SIP {server}   API pages http://{http}/docs\n\
             \n\
             The console, as the owner of the sample organisation (this link signs in once, within 15 minutes):\n\
             \n     {console}\n\
             \n\
             1. Register a softphone, any SIP softphone, by UDP or TCP:\n\
             \n     server {server}{elsewhere}\n{phones}\n\
             \x20  With one phone use {CUSTOMER}: it plays the customer. A second one as {AGENT} plays the agent of team {TEAM}.\n\
             \n\
             2. Paste this line into another terminal, and {CUSTOMER} rings:\n\
             \n{curl}\n\
             \n\
             3. Answer. A voice asks; press any four digits. The flow asks http://{endpoint}/api/test/<digits>,\n\
             \x20  which answers 200 (500 when the digits begin with 0), books a callback for tomorrow, and connects team {TEAM}.\n\
             \n\
             Watch it live:   curl -N -H 'Authorization: Bearer {token}' http://{http}/v1/tap\n\
             What happened:   curl -H 'Authorization: Bearer {token}' http://{http}/v1/calls\n\
             \n\
             The secrets above are kept in {file}. Ctrl-C ends the demo.\n",
            curl = self.curl(http),
            endpoint = self.kept.endpoint,
            token = self.kept.auth_token,
            file = self.file.display(),
        )
    }

    /// The sample with the demo's credentials, as a line for a shell.
    fn curl(&self, http: SocketAddr) -> String {
        format!("curl -H 'Content-Type: application/json' http://{http}/api/v2/call/flow -d '{}'", self.payload())
    }

    /// The sample of document 003: three credentials, the endpoint's host and the callback's date are the demo's.
    fn payload(&self) -> Value {
        let text = SAMPLE.replace(SAMPLE_ENDPOINT, &format!("http://{}", self.kept.endpoint));
        let mut sample: serde_json::Map<String, Value> = serde_json::from_str(&text).unwrap_or_default();
        for (key, value) in
            [("cloud_id", SLUG), ("cloud_sid", &self.kept.cloud_sid), ("auth_token", &self.kept.auth_token)]
        {
            sample.insert(key.to_owned(), value.into());
        }
        let tomorrow = self.today.to_zoned(TimeZone::UTC).date().saturating_add(1.day()).to_string();
        let steps = sample.get_mut("flow").and_then(Value::as_array_mut).into_iter().flatten();
        for step in steps.filter_map(Value::as_object_mut) {
            if step.get("type").is_some_and(|kind| kind == "callback") {
                step.insert("date".to_owned(), tomorrow.as_str().into());
            }
        }
        Value::Object(sample)
    }
}

/// The organisation, its two people, the team and the number.
async fn make(kernel: &Kernel, endpoint: SocketAddr) -> Result<Kept, CliError> {
    let name = NewOrg { name: "Development".to_owned(), slug: Some(SLUG.to_owned()), ..NewOrg::default() };
    let org: Org = kernel.create_org(name).await?;
    let mut phones = Vec::new();
    let mut auth_token = String::new();
    for (extension, name) in [(CUSTOMER, "Customer"), (AGENT, "Agent")] {
        let new = NewUser { name: name.to_owned(), extension: Some(extension.to_owned()), ..NewUser::default() };
        let made = calls::create_user(kernel, &org, new).await?;
        if auth_token.is_empty() {
            auth_token = made.auth_token.expose().to_owned();
        }
        phones.extend(made.sip.map(|sip| Phone { user: sip.username, password: sip.password.expose().to_owned() }));
    }
    let team = NewTeam {
        name: "Service".to_owned(),
        number: TEAM.to_owned(),
        strategy: None,
        members: vec![AGENT.to_owned()],
    };
    calls::create_team(kernel, &org.id, team).await?;
    calls::bind_number(kernel, &org.id, NUMBER, &Bound::Person(CUSTOMER.to_owned())).await?;
    Ok(Kept { org: org.id, cloud_sid: org.cloud_sid, auth_token, phones, endpoint })
}

fn read(file: &Path) -> Result<Option<Kept>, CliError> {
    match std::fs::read(file) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| CliError::because(format!("{}: {error}", file.display()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(CliError::because(format!("{}: {error}", file.display()))),
    }
}

/// Replaces the file in one step: a demo that is killed keeps its secrets.
fn write(file: &Path, kept: &Kept) -> Result<(), CliError> {
    let part = file.with_extension("part");
    let written = std::fs::OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&part)
        .and_then(|mut open| open.write_all(json!(kept).to_string().as_bytes()).and_then(|()| open.sync_all()))
        .and_then(|()| std::fs::rename(&part, file));
    written.map_err(|error| CliError::because(format!("{}: {error}", file.display())))
}

/// Answers what the sample's `http` step asks, and says so on the terminal.
fn serve(kernel: &Kernel, endpoint: Endpoint) {
    let answer = async |uri: Uri| {
        let refused = uri.path().rsplit('/').next().is_some_and(|digits| digits.starts_with('0'));
        let status = if refused { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK };
        eprintln!("The flow asked {uri}: {status}");
        (status, axum::Json(json!({"known": !refused})))
    };
    let router = Router::new().fallback(answer);
    let stop = kernel.stop.clone().cancelled_owned();
    kernel.tasks.spawn(async move {
        if let Err(error) = axum::serve(endpoint.listener, router).with_graceful_shutdown(stop).await {
            tracing::warn!(%error, "the demo's endpoint ended");
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demo() -> Demo {
        Demo {
            kept: Kept {
                org: "org_1".into(),
                cloud_sid: "sid".into(),
                auth_token: "pt_secret".into(),
                phones: Vec::new(),
                endpoint: "127.0.0.1:4711".parse().unwrap(),
            },
            today: "2026-12-31T23:00:00Z".parse().unwrap(),
            file: PathBuf::new(),
        }
    }

    #[test]
    fn the_sample_differs_only_in_credentials_host_and_date() {
        let original: Value = serde_json::from_str(SAMPLE).unwrap();
        let mut payload = demo().payload();
        assert_eq!(payload["flow"][4]["url"], "http://127.0.0.1:4711/api/test/{{account_id}}");
        assert_eq!(payload["flow"][3]["date"], "2027-01-01");
        payload["flow"][4]["url"] = original["flow"][4]["url"].clone();
        payload["flow"][3]["date"] = original["flow"][3]["date"].clone();
        for credential in ["cloud_sid", "auth_token"] {
            assert_ne!(payload[credential], original[credential]);
            payload[credential] = original[credential].clone();
        }
        assert_eq!(payload, original);
    }

    #[test]
    fn the_curl_line_is_one_line_in_one_pair_of_quotes() {
        let line = demo().curl("127.0.0.1:8080".parse().unwrap());
        assert!(!line.contains('\n'));
        assert_eq!(line.matches('\'').count(), 4, "{line}");
    }

    #[test]
    fn the_file_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE_NAME);
        assert!(read(&file).unwrap().is_none());
        write(&file, &demo().kept).unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read(&file).unwrap().unwrap().auth_token, "pt_secret");
    }
}
