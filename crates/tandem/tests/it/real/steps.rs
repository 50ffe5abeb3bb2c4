//! The steps of call flows on a real phone.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::baresip::Baresip;
use crate::harness::client::Client;
use crate::harness::ear::{tone_file, write_wav};
use crate::harness::server::{Plan, Server};
use crate::harness::stub::Stub;

/// A server, an endpoint that it may reach, and an organisation's credentials.
pub(super) struct Scene {
    pub(super) server: Server,
    pub(super) stub: Stub,
}

impl Scene {
    pub(super) async fn new() -> Self {
        let stub = Stub::start().await;
        Self { server: Plan::new().reaching(stub.address).start().await, stub }
    }
}

/// A run that a test looks at.
pub(super) struct Run {
    client: Client,
    pub(super) call: String,
    run: String,
}

impl Run {
    /// Posts a flow whose first step calls 1001.
    pub(super) async fn begin(client: &Client, steps: Value) -> Self {
        let mut flow = vec![json!({"id": "call", "type": "call", "number": "1001", "next_step": 1})];
        flow.extend(steps.as_array().unwrap().clone());
        let answer = client.post("/api/v2/call/flow", &json!({ "flow": flow })).await.expect(201);
        let text = |name: &str| answer[name].as_str().unwrap().to_owned();
        Self { client: client.clone(), call: text("call_id"), run: text("flow_run_id") }
    }

    /// The call's id.
    pub(super) fn call(&self) -> &str {
        &self.call
    }

    /// Waits until it stands at a step.
    pub(super) async fn reaches(&self, id: &str) {
        let path = format!("/api/v2/call/flow/{}", self.run);
        let stands =
            |run: &Value| run["run"]["visited"].as_array().unwrap().last().is_some_and(|step| step["step_id"] == id);
        self.client.until(&path, &format!("the step {id}"), stands).await;
    }

    /// Waits for its end and gives its events.
    pub(super) async fn events(&self) -> Vec<Value> {
        let path = format!("/v1/calls/{}/events?limit=500", self.call);
        let over =
            |page: &Value| page["events"].as_array().unwrap().iter().any(|event| event["type"] == "call.completed");
        self.client.until(&path, "call.completed", over).await["events"].as_array().unwrap().clone()
    }
}

pub(super) fn of<'e>(events: &'e [Value], kind: &str) -> Vec<&'e Value> {
    events.iter().filter(|event| event["type"] == kind).collect()
}

/// A WAV of a tone, as a file server gives it.
fn tone(hertz: f64) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tone.wav");
    let samples: Vec<i16> = (0..2 * 8000)
        .map(|index| (8000.0 * (std::f64::consts::TAU * hertz * f64::from(index) / 8000.0).sin()) as i16)
        .collect();
    write_wav(&path, 8000, &samples);
    std::fs::read(path).unwrap()
}

impl Stub {
    /// Serves a tone of two seconds.
    pub(super) fn sound(&self, path: &str, hertz: f64) -> String {
        self.serve(path, 200, "audio/wav", &tone(hertz), Duration::ZERO);
        self.url(path)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn digits_are_gathered_from_the_keys_of_a_phone() {
    let Scene { server, stub } = Scene::new().await;
    let dev = server.org("dev").await;
    let mut phone = Baresip::start(dev.phone("1001").await.answering()).await;
    let steps = json!([
        {"id": 1, "type": "digits", "count": 4, "sensitive": true, "variable": "pin", "flow": {"*": 2}},
        {"id": 2, "type": "http", "url": stub.url("/pin/{{pin}}")},
    ]);
    let run = Run::begin(&dev.client(), steps).await;
    phone.expect("CALL_ESTABLISHED").await;
    run.reaches("1").await;
    phone.press("4711").await;
    let events = run.events().await;
    assert_eq!(of(&events, "dtmf").len(), 4, "one event a key");
    assert!(!json!(events).to_string().contains("4711"), "what is sensitive is in no event");
    assert_eq!(stub.request("/pin/").await.target, "/pin/4711");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_played_and_a_text_stands_in_for_one_that_is_gone() {
    let Scene { server, stub } = Scene::new().await;
    stub.answer("/gone.mp3", 404, "");
    let dev = server.org("dev").await;
    let mut phone = Baresip::start(dev.phone("1001").await.answering()).await;
    let steps = json!([
        {"id": 1, "type": "play", "url": stub.sound("/tone.wav", 600.0), "next_step": 2},
        {"id": 2, "type": "play", "url": stub.url("/gone.mp3"), "text": "The file is gone.", "next_step": 3},
        {"id": 3, "type": "play", "url": stub.url("/gone.mp3"), "flow": {"fail": 4}},
        {"id": 4, "type": "pause", "seconds": 1},
    ]);
    let run = Run::begin(&dev.client(), steps).await;
    phone.expect("CALL_CLOSED").await;
    let events = run.events().await;
    let failed = of(&events, "step.failed");
    assert_eq!((failed.len(), &failed[0]["step"]["id"], &failed[0]["data"]["next"]), (1, &json!("3"), &json!("4")));
    let heard = phone.heard();
    assert!((1.7..2.3).contains(&heard.seconds_of(600.0)), "{} s of the tone", heard.seconds_of(600.0));
    assert!(heard.part(2.5..heard.seconds()).rms() > 200.0, "the text was spoken");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_whispers_waits_for_the_key_and_plays_music_meanwhile() {
    let Scene { server, stub } = Scene::new().await;
    let dev = server.org("dev").await;
    let mut customer = Baresip::start(dev.phone("1001").await.answering()).await;
    let mut agent = Baresip::start(dev.phone("1002").await.answering()).await;
    let steps = json!([{
        "id": 1, "type": "connect", "number": 1002, "accept_key": "5",
        "whisper": {"url": stub.sound("/whisper.wav", 900.0)}, "hold_music": stub.sound("/music.wav", 500.0),
        "flow": {"completed": 2},
    }, {"id": 2, "type": "hangup"}]);
    let run = Run::begin(&dev.client(), steps).await;
    customer.expect("CALL_ESTABLISHED").await;
    agent.expect("CALL_ESTABLISHED").await;
    tokio::time::sleep(Duration::from_millis(2_600)).await;
    agent.press("5").await;
    let path = format!("/v1/calls/{}/events?limit=500", run.call);
    let joined = |page: &Value| of(page["events"].as_array().unwrap(), "connect.answered").len() == 1;
    dev.client().until(&path, "they are joined", joined).await;
    agent.hang_up().await;
    customer.expect("CALL_CLOSED").await;
    let events = run.events().await;
    assert_eq!(of(&events, "connect.ended")[0]["data"]["status"], "completed");
    assert_eq!(of(&events, "step.started").last().unwrap()["step"]["id"], "2");
    assert!(agent.heard().seconds_of(900.0) > 1.5, "the agent heard the whisper");
    assert!(customer.heard().seconds_of(500.0) > 1.5, "the customer heard the music");
    assert!(customer.heard().seconds_of(900.0) < 0.2, "and not the whisper");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_who_is_not_reached_leads_on_before_the_call_is_over() {
    let Scene { server, stub } = Scene::new().await;
    let dev = server.org("dev").await;
    dev.phone("1001").await;
    let flow = json!([
        {"id": "call", "type": "call", "number": 1001, "flow": {"busy": 1, "no_answer": 1, "failed": 2}},
        {"id": 1, "type": "hangup"},
        {"id": 2, "type": "http", "url": stub.url("/lost/{{call.to}}")},
    ]);
    let answer = dev.client().post("/api/v2/call/flow", &json!({ "flow": flow })).await.expect(201);
    assert_eq!(stub.request("/lost/").await.target, "/lost/1001");
    let text = |name: &str| answer[name].as_str().unwrap().to_owned();
    let run = Run { client: dev.client(), call: text("call_id"), run: text("flow_run_id") };
    let events = run.events().await;
    let last = events.last().unwrap();
    assert_eq!((&last["type"], &last["data"]["cause"]), (&json!("call.completed"), &json!("unreachable")));
    assert_eq!(of(&events, "http.completed").len(), 1, "it came before the end");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_left_listed_fetched_and_deleted() {
    let Scene { server, .. } = Scene::new().await;
    let dev = server.org("dev").await;
    let folder = tempfile::tempdir().unwrap();
    let speaking = dev.phone("1001").await.answering().speaking(tone_file(folder.path(), 700.0));
    let mut phone = Baresip::start(speaking).await;
    dev.phone("1002").await;
    let run = Run::begin(&dev.client(), json!([{"id": 1, "type": "voicemail", "box": 1002, "max": 20}])).await;
    phone.expect("CALL_ESTABLISHED").await;
    run.reaches("1").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    phone.press("#").await;
    let events = run.events().await;
    assert_eq!(of(&events, "step.completed").last().unwrap()["data"]["outcome"], "completed");
    let client = dev.client();
    let listed = client.get("/v1/voicemail?box=1002").await.expect(200);
    let all = client.get("/v1/voicemail").await.expect(200);
    assert_eq!(all["messages"][0]["id"], listed["messages"][0]["id"], "without a box, all that the owner may see");
    let message = &listed["messages"][0];
    assert!(message["seconds"].as_f64().unwrap() > 1.5, "{listed}");
    let path = format!("/v1/voicemail/{}", message["id"].as_str().unwrap());
    let heard = client.audio(&format!("{path}/audio")).await;
    assert!(heard[0].seconds_of(700.0) > 1.0, "the message is what the customer said");
    let signed = message["url"].as_str().unwrap();
    let signed = &signed[signed.find("/v1/").unwrap()..];
    assert_eq!(server.client().get(signed).await.status, 200, "the signature will do");
    assert_eq!(server.client().get(&signed.replace("signature=", "signature=x")).await.status, 401);
    assert_eq!(server.client().get(&format!("{path}/audio")).await.status, 401);
    let other = server.org("other").await;
    assert_eq!(other.client().get(&format!("{path}/audio")).await.status, 404);
    client.delete(&path).await.expect(204);
    assert_eq!(client.get("/v1/voicemail?box=1002").await.expect(200)["messages"], json!([]));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_leads_into_a_flow() {
    let Scene { server, stub } = Scene::new().await;
    let dev = server.org("dev").await;
    let flow = json!([
        {"id": 1, "type": "menu", "text": "Press one.", "flow": {"1": 2}},
        {"id": 2, "type": "http", "url": stub.url("/from/{{call.from}}")},
    ]);
    let saved = dev.client().post("/v1/flows", &json!({"name": "In", "flow": flow})).await.expect(201);
    dev.number("+442071838750", &format!("flow:{}", saved["id"].as_str().unwrap())).await;
    let mut phone = Baresip::start(dev.phone("1001").await).await;
    phone.dial("442071838750").await;
    phone.expect("CALL_ESTABLISHED").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    phone.press("1").await;
    stub.request("/from/").await;
    phone.expect("CALL_CLOSED").await;
    let calls = dev.client().get("/v1/calls?direction=inbound").await.expect(200);
    let run = format!("/api/v2/call/flow/{}", calls["calls"][0]["flow_run_id"].as_str().unwrap());
    let run = dev.client().get(&run).await.expect(200);
    let steps: Vec<&str> =
        run["run"]["visited"].as_array().unwrap().iter().map(|step| step["step_id"].as_str().unwrap()).collect();
    assert_eq!(steps, ["1", "2"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_that_is_due_joins_the_entity_and_the_customer() {
    let Scene { server, .. } = Scene::new().await;
    let dev = server.org("dev").await;
    let mut customer = Baresip::start(dev.phone("1001").await.answering()).await;
    let mut agent = Baresip::start(dev.phone("1002").await.answering()).await;
    let callback =
        json!({"id": 1, "type": "callback", "date": "2018-10-11", "time": "20:48", "entity": 1002, "on_past": "asap"});
    let run = Run::begin(&dev.client(), json!([callback])).await;
    let events = run.events().await;
    let key = of(&events, "callback.scheduled")[0]["data"]["callback"].as_str().unwrap().to_owned();
    agent.expect("CALL_ESTABLISHED").await;
    // The call that booked it, then the callback's.
    customer.expect("CALL_ESTABLISHED").await;
    customer.expect("CALL_ESTABLISHED").await;
    tokio::time::sleep(Duration::from_millis(800)).await;
    agent.hang_up().await;
    let over = |page: &Value| of(page["events"].as_array().unwrap(), "callback.completed").len() == 1;
    let page = dev.client().until("/v1/events?limit=500", "callback.completed", over).await;
    let of_callback: Vec<&Value> =
        page["events"].as_array().unwrap().iter().filter(|event| event["key"] == key.as_str()).collect();
    let told: Vec<(&str, i64)> =
        of_callback.iter().map(|event| (event["type"].as_str().unwrap(), event["seq"].as_i64().unwrap())).collect();
    assert_eq!(told, [("callback.started", 1), ("callback.completed", 2)]);
    assert!(of_callback.iter().all(|event| event["data"]["scheduled_by"] == run.call.as_str()));
    assert_eq!(of_callback[1]["data"]["status"], "completed");
    server.stop().await;
}
