//! A whole house: the server as a process on the store of this run, an organisation `acme` in it, a
//! crowd of phones behind its trunk, a stub as the rest of the world. It can be killed, and comes
//! back where it was.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use kernel::db::testing::{SERVER_VARIABLE, TestDb};
use serde_json::{Value, json};

use super::client::Client;
use super::crowd::{Act, Crowd};
use super::phone::{Account, free_ports};
use super::process::{Running, Tandem};
use super::stub::Stub;

/// A server, its organisation, and everybody around it.
pub(crate) struct House {
    pub(crate) tandem: Tandem,
    pub(crate) crowd: Crowd,
    pub(crate) stub: Stub,
    /// With the key of an application that may do everything in `acme`.
    client: Client,
    data: PathBuf,
    http: SocketAddr,
    sip: SocketAddr,
    running: Option<Running>,
    /// `--database URL` on PostgreSQL.
    flags: Vec<String>,
    store: Option<TestDb>,
    _folder: tempfile::TempDir,
}

impl House {
    /// Starts it with more lines of settings; phones behave by `manner`.
    pub(crate) async fn start(settings: &str, manner: impl Fn(&str) -> Vec<Act> + Send + Sync + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        std::fs::create_dir(&data).unwrap();
        let stub = Stub::start().await;
        let allow = format!("[egress]\nallow = [\"{}\"]\n", stub.address);
        std::fs::write(data.join("tandem.toml"), format!("{settings}\n{allow}")).unwrap();
        let store = match std::env::var(SERVER_VARIABLE) {
            Ok(_) => TestDb::each().await.pop(),
            Err(_) => None,
        };
        let flags = store.iter().flat_map(|store| ["--database".to_owned(), store.url.clone()]).collect();
        let http = SocketAddr::from(([127, 0, 0, 1], free_ports()));
        let mut house = Self {
            tandem: Tandem::on(&data),
            crowd: Crowd::start(manner).await,
            stub,
            client: Client::new(http),
            data,
            http,
            sip: SocketAddr::from(([127, 0, 0, 1], free_ports())),
            running: None,
            flags,
            store,
            _folder: folder,
        };
        house.verb(&["org", "create", "Acme", "--slug", "acme"]).await;
        let app = house.verb(&["app", "create", "crm", "--org", "acme"]).await;
        house.client = house.client().bearing(app["api_key"].as_str().unwrap());
        let target = house.crowd.address.to_string();
        let caller_id = "+442071838000";
        house.verb(&["trunk", "add", "crowd", "--org", "acme", "--target", &target, "--caller-id", caller_id]).await;
        house.rise().await;
        house
    }

    /// Runs a verb that must succeed.
    pub(crate) async fn verb(&self, words: &[&str]) -> Value {
        let words: Vec<&str> = words.iter().copied().chain(self.flags.iter().map(String::as_str)).collect();
        self.tandem.json(&words).await
    }

    /// Runs a verb with `--json` that may fail: stdout, stderr, and whether it succeeded.
    pub(crate) async fn try_verb(&self, words: &[&str]) -> (String, String, bool) {
        let flags = self.flags.iter().map(String::as_str).chain(["--json"]);
        let words: Vec<&str> = words.iter().copied().chain(flags).collect();
        let output = self.tandem.output(&words, "").await;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        (text(output.stdout), text(output.stderr), output.status.success())
    }

    /// Starts the server, on the first time and after a kill.
    pub(crate) async fn rise(&mut self) {
        let flags: Vec<&str> = self.flags.iter().map(String::as_str).collect();
        self.running = Some(self.tandem.start_at("serve", self.http, self.sip, &flags).await);
        self.crowd.meet(self.sip);
    }

    /// kill -9.
    pub(crate) async fn kill(&mut self) {
        self.running.take().expect("it runs").kill().await;
    }

    /// The running server.
    pub(crate) fn running(&self) -> &Running {
        self.running.as_ref().expect("it runs")
    }

    /// A client with the key of an application. To make a new one costs much time in a debug build.
    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    /// The store, beside the server.
    pub(crate) async fn store(&self) -> kernel::Db {
        match &self.store {
            Some(store) => store.db.clone(),
            None => {
                let url = format!("sqlite://{}", self.data.join("tandem.db").display());
                kernel::Db::open(&url, kernel::Bus::local()).await.unwrap()
            }
        }
    }

    /// Makes a person whose phone is one of the crowd.
    pub(crate) async fn phone(&self, extension: &str) {
        let name = format!("Person {extension}");
        let made = self.verb(&["user", "create", &name, "--org", "acme", "--extension", extension]).await;
        let text = |member: &str| made["sip"][member].as_str().unwrap().to_owned();
        let account = Account::new(self.sip, &text("username"), &text("password")).at_domain(&text("domain"));
        self.crowd.register(&account).await;
    }

    /// Saves a flow and lets a number lead to it.
    pub(crate) async fn inbound(&self, e164: &str, flow: Value) {
        let saved = self.client().post("/v1/flows", &json!({"name": e164, "flow": flow})).await.expect(201);
        let to = format!("flow:{}", saved["id"].as_str().unwrap());
        self.client().put(&format!("/v1/numbers/{e164}"), &json!({"to": to})).await.expect(200);
    }

    /// Every call of the organisation.
    pub(crate) async fn calls(&self) -> Vec<Value> {
        let mut all = Vec::new();
        let mut path = "/v1/calls?limit=500".to_owned();
        loop {
            let page = self.client().get(&path).await.expect(200);
            all.extend(page["calls"].as_array().unwrap().iter().cloned());
            match page["cursor"].as_str() {
                Some(cursor) => path = format!("/v1/calls?limit=500&cursor={cursor}"),
                None => return all,
            }
        }
    }

    /// Every event of the organisation, oldest first.
    pub(crate) async fn events(&self) -> Vec<Value> {
        let mut all = Vec::new();
        let mut path = "/v1/events?limit=500".to_owned();
        loop {
            let page = self.client().get(&path).await.expect(200);
            let events = page["events"].as_array().unwrap();
            if events.is_empty() {
                return all;
            }
            all.extend(events.iter().cloned());
            path = format!("/v1/events?limit=500&cursor={}", page["cursor"].as_str().unwrap());
        }
    }

    /// Waits until no call is up, and gives all events.
    pub(crate) async fn all_over(&self, within: Duration) -> Vec<Value> {
        let waited = tokio::time::timeout(within, async {
            // The gauge is cheap to ask; the list, which is the truth, is asked when that says 0.
            while !self.client().get("/metrics").await.text.contains("\ntandem_calls 0\n")
                || self.calls().await.iter().any(|call| call["state"] != "completed")
            {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        });
        assert!(waited.await.is_ok(), "calls are up after {within:?}: {}", self.running().log());
        self.events().await
    }
}

impl Drop for House {
    /// A test that fails says what the server had to say.
    fn drop(&mut self) {
        if let Some(running) = self.running.as_ref().filter(|_| std::thread::panicking()) {
            eprintln!("the server's last lines: {}", running.warnings());
        }
    }
}

/// The events of a type.
pub(crate) fn of<'e>(events: &'e [Value], kind: &str) -> Vec<&'e Value> {
    events.iter().filter(|event| event["type"] == kind).collect()
}

/// Asserts that each call has exactly one call.completed.
pub(crate) fn assert_each_completed_once(calls: &[Value], events: &[Value]) {
    let mut stories: HashMap<&str, Vec<&str>> = HashMap::new();
    for event in events {
        if let Some(call) = event["call"]["id"].as_str() {
            stories.entry(call).or_default().push(event["type"].as_str().unwrap());
        }
    }
    for call in calls {
        let story = &stories[call["id"].as_str().unwrap()];
        assert_eq!(story.iter().filter(|kind| **kind == "call.completed").count(), 1, "{}: {story:?}", call["id"]);
    }
}
