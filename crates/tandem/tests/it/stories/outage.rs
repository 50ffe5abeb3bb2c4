//! T4: a webhook's endpoint is down for 90 s and comes back. The receiver is a library that is not
//! ours. The time is turned by hand, so that the outage takes seconds; `./test --full` waits.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use kernel::ClockHand;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{sleep, timeout};

use crate::harness::chance::is_full;
use crate::harness::client::Client;
use crate::harness::crowd::{Act, Crowd};
use crate::harness::house::of;
use crate::harness::phone::free_ports;
use crate::harness::server::{Plan, Server};

/// How long the endpoint is down.
const DOWN_S: u32 = 90;
/// What is still tried when it comes back is tried within the slow queue's second wait and its jitter.
const CATCH_UP_S: u32 = 150;
/// A library allows the clocks 300 s of difference: the turned one stays within it, on both sides.
const BEHIND_MS: i64 = 120_000;
/// How far the clock is turned at a time, and the real time that what is due gets then.
const STEP_MS: i64 = 500;
const STEP: Duration = Duration::from_millis(15);

/// The receiver as a process.
struct Receiver {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Receiver {
    async fn start(port: u16, secret: &str) -> Self {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let python = std::env::var("TANDEM_TEST_PYTHON").map_or(root.join("../../.venv/bin/python"), PathBuf::from);
        assert!(python.is_file(), "{} is missing: ./test installs standardwebhooks there", python.display());
        let mut child = Command::new(python)
            .arg(root.join("tests/it/stories/receiver.py"))
            .args([&port.to_string(), secret])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let listening = timeout(Duration::from_secs(20), async {
            while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                sleep(Duration::from_millis(20)).await;
            }
        });
        listening.await.expect("the receiver listens");
        Self { child, lines }
    }

    /// What it has said and nobody has read, until it is silent for a moment.
    async fn said(&mut self) -> Vec<Value> {
        let mut said = Vec::new();
        while let Ok(line) = timeout(Duration::from_millis(300), self.lines.next_line()).await {
            let line = line.unwrap().expect("the receiver runs");
            said.push(serde_json::from_str(&line).unwrap());
        }
        said
    }
}

/// Lets time pass, for the server at least.
async fn pass(hand: &ClockHand, seconds: u32) {
    if is_full() {
        return sleep(Duration::from_secs(seconds.into())).await;
    }
    for _ in 0..i64::from(seconds) * 1_000 / STEP_MS {
        hand.advance(STEP_MS);
        sleep(STEP).await;
    }
}

/// Makes a call and waits for its end; gives its id.
async fn call(client: &Client) -> String {
    let flow =
        json!([{"id": 1, "type": "call", "number": "+442071838103", "next_step": 2}, {"id": 2, "type": "hangup"}]);
    let answer = client.post("/api/v2/call/flow", &json!({ "flow": flow })).await.expect(201);
    let id = answer["call_id"].as_str().unwrap().to_owned();
    client.until(&format!("/v1/calls/{id}"), "its end", |call| call["state"] == "completed").await;
    id
}

/// The ids of the events that came of each call, in the order in which they first came.
fn came(said: &[Value]) -> HashMap<String, Vec<(i64, String)>> {
    let mut all: HashMap<String, Vec<(i64, String)>> = HashMap::new();
    for line in said {
        assert_eq!(line["good"], true, "the library refuses a signature: {line}");
        assert_eq!(line["webhook_id"], line["id"]);
        let own = all.entry(line["key"].as_str().unwrap().to_owned()).or_default();
        let event = (line["seq"].as_i64().unwrap(), line["id"].as_str().unwrap().to_owned());
        if !own.contains(&event) {
            own.push(event);
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn t4_after_90_s_without_its_endpoint_every_event_comes_signed_and_under_its_own_id() {
    let port = free_ports();
    let plan = Plan::new().reaching(([127, 0, 0, 1], port).into());
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let plan = if is_full() { plan } else { plan.at(now_ms - BEHIND_MS) };
    let server: Server = plan.start().await;
    let (_, idle_hand) = kernel::Clock::fake(0);
    let hand = if is_full() { &idle_hand } else { server.clock() };
    let crowd = Crowd::start(|_| vec![Act::Ring, Act::Answer]).await;
    crowd.meet(server.sip());
    let acme = server.org("acme").await;
    acme.trunk("crowd", &[&crowd.address.to_string()], &["+442071838000"]).await;
    let client = acme.client();
    let hook = json!({"url": format!("http://127.0.0.1:{port}/hook")});
    let secret = client.post("/v1/webhooks", &hook).await.expect(201)["secret"].as_str().unwrap().to_owned();

    let mut receiver = Receiver::start(port, &secret).await;
    let before = call(&client).await;
    let mut said = receiver.said().await;
    receiver.child.kill().await.unwrap();

    let mut during = Vec::new();
    for pause in [0, 20, 40, 25] {
        pass(hand, pause).await;
        during.push(call(&client).await);
    }
    pass(hand, DOWN_S - 85).await;
    let mut receiver = Receiver::start(port, &secret).await;
    let after = call(&client).await;
    pass(hand, CATCH_UP_S).await;
    said.extend(receiver.said().await);

    let log = client.get("/v1/events?limit=500").await.expect(200);
    let log = log["events"].as_array().unwrap();
    let came = came(&said);
    for id in during.iter().chain([&before, &after]) {
        let own = log.iter().filter(|event| event["key"] == **id);
        let wanted: BTreeMap<i64, String> =
            own.map(|event| (event["seq"].as_i64().unwrap(), event["id"].as_str().unwrap().to_owned())).collect();
        let got: BTreeMap<i64, String> = came[id].iter().cloned().collect();
        assert_eq!(got, wanted, "{id}: the log and what came");
        assert_eq!(of(log, "call.completed").iter().filter(|event| event["key"] == **id).count(), 1);
    }
    for id in [&before, &after] {
        let seqs: Vec<i64> = came[id].iter().map(|(seq, _)| *seq).collect();
        assert!(seqs.is_sorted(), "{id}: while the endpoint is up the order of a call is kept: {seqs:?}");
    }
    server.stop().await;
}
