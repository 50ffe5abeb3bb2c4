//! T8: kill -9 of the whole process while calls are in every phase, and while callbacks are due.
//! What was acknowledged is there after the restart, each call ends once, no callback is lost or
//! doubled. The moments are random; their seed is printed.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::harness::chance::Chance;
use crate::harness::client::Client;
use crate::harness::crowd::Act;
use crate::harness::house::{House, assert_each_completed_once, of};
use crate::harness::stub::Stub;

/// call.completed of interrupted calls goes out within this time of the restart (contracts/flows.md).
const RECOVERY: Duration = Duration::from_secs(45);
/// A recording may lack its last second, and what passes until a killed process is gone.
const LOST_S: f64 = 1.2;

/// What is written until the kill keeps this pace, so that the limits of the organisation last.
const BETWEEN_WRITES: Duration = Duration::from_millis(30);

/// Phones of the trunk, by what they do when they are rung.
const SILENT: &str = "+442071838100";
const RINGS: &str = "+442071838101";
const EARLY: &str = "+442071838102";
const ANSWERS: &str = "+442071838103";
/// A number of the organisation's own.
const OWN: &str = "+442071838999";

fn manner(number: &str) -> Vec<Act> {
    match number {
        SILENT => vec![],
        RINGS => vec![Act::Ring],
        EARLY => vec![Act::EarlyMedia],
        _ => vec![Act::Ring, Act::Answer, Act::Speak],
    }
}

/// One flow for each phase that a call may be in, by name.
fn phases(stub: &Stub) -> Vec<(&'static str, Value)> {
    let flow = |number: &str, step: Value| json!([{"id": 1, "type": "call", "number": number, "next_step": 2}, step]);
    let slow = stub.url("/slow");
    vec![
        ("before 100", flow(SILENT, json!({"id": 2, "type": "hangup"}))),
        ("ringing", flow(RINGS, json!({"id": 2, "type": "hangup"}))),
        ("early media", flow(EARLY, json!({"id": 2, "type": "hangup"}))),
        ("play", flow(ANSWERS, json!({"id": 2, "type": "play", "text": "One two three.", "loop": 20}))),
        ("digits", flow(ANSWERS, json!({"id": 2, "type": "digits", "timeout": 60, "flow": {"*": 2}}))),
        ("http", flow(ANSWERS, json!({"id": 2, "type": "http", "url": slow, "timeout": 30}))),
        ("connect rings", flow(ANSWERS, json!({"id": 2, "type": "connect", "number": RINGS}))),
        ("bridged", flow(ANSWERS, json!({"id": 2, "type": "connect", "number": ANSWERS}))),
        ("recording", flow(ANSWERS, json!({"id": 2, "type": "pause", "seconds": 600}))),
        ("voicemail", flow(ANSWERS, json!({"id": 2, "type": "voicemail", "box": "1001"}))),
    ]
}

/// Posts one call a phase and dials one in; gives the id of the recorded one.
async fn fill(house: &House) -> String {
    let mut recorded = String::new();
    for (name, flow) in phases(&house.stub) {
        let publish = json!({"url": house.stub.url("/publish")});
        let body = json!({"flow": flow, "publish": publish, "record": name == "recording"});
        let answer = house.client().post("/api/v2/call/flow", &body).await.expect(201);
        if name == "recording" {
            recorded = answer["call_id"].as_str().unwrap().to_owned();
        }
    }
    house.crowd.dial("+442071830001", OWN, vec![Act::Established, Act::Speak]);
    recorded
}

/// What was answered 2xx: a path that must answer 200 from then on.
type Acknowledged = Arc<Mutex<Vec<String>>>;

/// Writes one thing after the other until the server is gone.
fn keep_writing(client: Client, round: usize) -> (Acknowledged, JoinHandle<()>) {
    let acknowledged = Acknowledged::default();
    let known = Arc::clone(&acknowledged);
    let task = tokio::spawn(async move {
        for count in 0.. {
            let number = format!("/v1/numbers/+4420718{round}{count:05}");
            let call = json!({"flow": [{"id": 1, "type": "call", "number": RINGS}]});
            let saved = json!({"name": "f", "flow": [{"id": 1, "type": "pause", "seconds": 1}]});
            let writes = [
                (Method::POST, "/v1/flows", "/v1/flows/", "id", saved),
                (
                    Method::POST,
                    "/v1/webhooks",
                    "/v1/webhooks/",
                    "id",
                    json!({"url": "http://hooks.example.org/", "events": ["none.such"]}),
                ),
                (Method::PUT, number.as_str(), "/v1/numbers/", "number", json!({"to": "person:1001"})),
                (Method::POST, "/api/v2/call/flow", "/v1/calls/", "call_id", call),
            ];
            for (method, path, place, member, body) in writes {
                let Ok(answer) = client.request(method, path).json(&body).send().await else { return };
                let status = answer.status();
                // The answer may be cut off by the kill: then nothing was acknowledged.
                let Ok(text) = answer.text().await else { return };
                if matches!(status.as_u16(), 409 | 429) {
                    // The organisation's limits: nothing was acknowledged either.
                    continue;
                }
                assert!(status.is_success(), "{path}: {status} {text}");
                let made: Value = serde_json::from_str(&text).unwrap();
                let made = made[member].as_str().unwrap_or_else(|| panic!("no {member} in {text}"));
                known.lock().unwrap().push(format!("{place}{made}"));
            }
            sleep(BETWEEN_WRITES).await;
        }
    });
    (acknowledged, task)
}

/// Asserts that the receiver got one call.completed of each call, of one id however often it came.
async fn assert_delivered_once(stub: &Stub, path: &str, events: &[Value], calls: &HashSet<String>) {
    let wanted: HashMap<&str, &str> = of(events, "call.completed")
        .into_iter()
        .map(|event| (event["call"]["id"].as_str().unwrap(), event["id"].as_str().unwrap()))
        .filter(|(call, _)| calls.contains(*call))
        .collect();
    let got = |asked: &[crate::harness::stub::Asked]| {
        let mut ids: HashMap<String, HashSet<String>> = HashMap::new();
        for asked in asked.iter().filter(|asked| asked.target == path && asked.json()["type"] == "call.completed") {
            let call = asked.json()["call"]["id"].as_str().unwrap().to_owned();
            ids.entry(call).or_default().insert(asked.headers["webhook-id"].to_str().unwrap().to_owned());
        }
        ids
    };
    let all = |asked: &[crate::harness::stub::Asked]| {
        let got = got(asked);
        wanted.keys().all(|call| got.contains_key(*call))
    };
    let asked = stub.until("every terminal event", RECOVERY, all).await;
    for (call, ids) in got(&asked) {
        let wanted = wanted.get(call.as_str()).map(|id| HashSet::from([(*id).to_owned()]));
        assert!(wanted.is_none() || wanted == Some(ids.clone()), "{call}: {ids:?} came, {wanted:?} is in the log");
    }
}

/// Asserts that the recording of a call that was killed is whole up to its last second.
async fn assert_recording_whole(house: &House, call: &str, events: &[Value], killed_ms: i64) {
    let own: Vec<&Value> = events.iter().filter(|event| event["call"]["id"] == *call).collect();
    let Some(started) = own.iter().find(|event| event["type"] == "recording.started") else { return };
    let started: jiff::Timestamp = started["time"].as_str().unwrap().parse().unwrap();
    let expected_s = (killed_ms - started.as_millisecond()) as f64 / 1000.0 - LOST_S;
    if expected_s <= 0.0 {
        return;
    }
    let path = format!("/v1/calls/{call}/recordings");
    let ready = |list: &Value| list["recordings"][0]["state"] == "ready";
    let recording = house.client().until(&path, "the recording is ready", ready).await["recordings"][0].clone();
    let audio = format!("/v1/recordings/{}/audio", recording["id"].as_str().unwrap());
    let bytes = house.client().request(Method::GET, &audio).send().await.unwrap().bytes().await.unwrap();
    let wav = hound::WavReader::new(std::io::Cursor::new(bytes)).unwrap();
    let spec = wav.spec();
    assert_eq!(spec.channels, 2);
    let left: Vec<i16> = wav.into_samples::<i16>().step_by(2).map(|sample| sample.unwrap()).collect();
    let seconds = left.len() as f64 / f64::from(spec.sample_rate);
    assert!(seconds >= expected_s, "{seconds} s of at least {expected_s} s are there");
    assert!((seconds - recording["seconds"].as_f64().unwrap()).abs() < 0.1, "{recording}");
    let loud = left.iter().filter(|sample| sample.unsigned_abs() > 1_000).count() as f64 / left.len() as f64;
    assert!(loud > 0.5, "the customer, who spoke all the time, is loud in {loud} of his channel");
}

#[tokio::test(flavor = "multi_thread")]
async fn t8_killed_in_every_phase_it_comes_back_with_all_that_it_acknowledged() {
    let mut chance = Chance::told();
    let mut house = House::start("", manner).await;
    house.stub.serve("/slow", 200, "application/json", b"{}", Duration::from_secs(600));
    house.phone("1001").await;
    house.inbound(OWN, json!([{"id": 1, "type": "play", "text": "Hello.", "loop": 20}])).await;
    let hook = json!({"url": house.stub.url("/hook")});
    house.client().post("/v1/webhooks", &hook).await.expect(201);

    for (round, moment) in [0..400, 400..1_500, 3_000..5_000].into_iter().enumerate() {
        let recorded = fill(&house).await;
        let (acknowledged, writer) = keep_writing(house.client(), round);
        while acknowledged.lock().unwrap().is_empty() {
            sleep(Duration::from_millis(5)).await;
        }
        let moment = chance.within(moment);
        println!("round {round}: killed {moment} ms after the calls were posted");
        sleep(Duration::from_millis(moment)).await;
        let before = house.events().await;
        house.kill().await;
        let killed_ms = jiff::Timestamp::now().as_millisecond();
        writer.await.unwrap();

        house.rise().await;
        let events = house.all_over(RECOVERY).await;
        assert_eq!(events[..before.len()], before[..], "what the log has shown stays as it was");
        let calls = house.calls().await;
        assert_each_completed_once(&calls, &events);
        let acknowledged = std::mem::take(&mut *acknowledged.lock().unwrap());
        assert!(!acknowledged.is_empty(), "something was written until the kill");
        for path in &acknowledged {
            let answer = house.client().get(path).await;
            assert_eq!(answer.status, 200, "{path} was acknowledged: {}", answer.text);
        }
        let ids: HashSet<String> = calls.iter().map(|call| call["id"].as_str().unwrap().to_owned()).collect();
        assert!(ids.len() >= (round + 1) * phases(&house.stub).len());
        assert_delivered_once(&house.stub, "/hook", &events, &ids).await;
        let published = of(&events, "call.initiated").into_iter().map(|event| event["call"]["id"].as_str().unwrap());
        assert!(published.collect::<HashSet<_>>().len() == ids.len(), "each call began with its event");
        assert_recording_whole(&house, &recorded, &events, killed_ms).await;
    }
    let interrupted = house.events().await;
    let by_restart =
        of(&interrupted, "call.completed").iter().filter(|event| event["data"]["cause"] == "server_restart").count();
    assert!(by_restart >= 20, "only {by_restart} calls were interrupted by three kills");
}
