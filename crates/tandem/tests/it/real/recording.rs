//! Recordings of real calls, as the API gives them: who was left and who was right.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::steps::{Run, Scene, of};
use crate::harness::baresip::Baresip;
use crate::harness::client::Client;
use crate::harness::ear::{Heard, tone_file};

/// What the customer says, and what the agent says.
const CUSTOMER_HERTZ: f64 = 440.0;
const AGENT_HERTZ: f64 = 1_000.0;

/// The only recording of a call: what the list says of it, and its channels.
pub(super) async fn recording(client: &Client, call: &str) -> (Value, Vec<Heard>) {
    let path = format!("/v1/calls/{call}/recordings");
    let ready = |page: &Value| page["recordings"][0]["state"] == "ready";
    let listed = client.until(&path, "the recording is ready", ready).await;
    assert_eq!(listed["recordings"].as_array().unwrap().len(), 1, "{listed}");
    let listed = listed["recordings"][0].clone();
    let audio = client.audio(&format!("/v1/recordings/{}/audio", listed["id"].as_str().unwrap())).await;
    (listed, audio)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_connection_has_the_customer_left_and_the_agent_right() {
    let Scene { server, .. } = Scene::new().await;
    let dev = server.org("dev").await;
    let folder = tempfile::tempdir().unwrap();
    let customer = dev.phone("1001").await.answering().speaking(tone_file(folder.path(), CUSTOMER_HERTZ));
    // Another codec, so that one of the two is transcoded.
    let agent = dev.phone("1002").await.answering().codecs(&["PCMA"]).speaking(tone_file(folder.path(), AGENT_HERTZ));
    let mut customer = Baresip::start(customer).await;
    let mut agent = Baresip::start(agent).await;
    let run = Run::begin(&dev.client(), json!([{"id": 1, "type": "connect", "number": 1002, "record": true}])).await;
    customer.expect("CALL_ESTABLISHED").await;
    agent.expect("CALL_ESTABLISHED").await;
    sleep(Duration::from_secs(3)).await;
    agent.hang_up().await;
    let events = run.events().await;
    assert_eq!(of(&events, "recording.started").len(), 1);
    let (listed, audio) = recording(&dev.client(), &run.call).await;
    let [left, right] = &audio[..] else { panic!("{} channels", audio.len()) };
    assert!(left.seconds_of(CUSTOMER_HERTZ) > 2.0, "left: {} s", left.seconds_of(CUSTOMER_HERTZ));
    assert!(right.seconds_of(AGENT_HERTZ) > 2.0, "right: {} s", right.seconds_of(AGENT_HERTZ));
    assert!(left.seconds_of(AGENT_HERTZ) < 0.2 && right.seconds_of(CUSTOMER_HERTZ) < 0.2, "each in his own channel");
    let seconds = listed["seconds"].as_f64().unwrap();
    assert!((seconds - left.seconds()).abs() < 0.1, "{seconds} s were told, {} s fetched", left.seconds());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_record_step_keeps_what_the_server_says_right_and_leaves_pauses_out() {
    let Scene { server, stub } = Scene::new().await;
    let dev = server.org("dev").await;
    let folder = tempfile::tempdir().unwrap();
    let customer = dev.phone("1001").await.answering().speaking(tone_file(folder.path(), CUSTOMER_HERTZ));
    let mut customer = Baresip::start(customer).await;
    let (before, hidden) = (stub.sound("/before.wav", 600.0), stub.sound("/hidden.wav", 900.0));
    let run = Run::begin(
        &dev.client(),
        json!([
            {"id": 1, "type": "record", "action": "start", "next_step": 2},
            {"id": 2, "type": "play", "url": before, "next_step": 3},
            {"id": 3, "type": "record", "action": "pause", "next_step": 4},
            {"id": 4, "type": "play", "url": hidden, "next_step": 5},
            {"id": 5, "type": "record", "action": "resume", "next_step": 6},
            {"id": 6, "type": "pause", "seconds": 1, "next_step": 7},
            {"id": 7, "type": "record", "action": "stop", "next_step": 8},
            {"id": 8, "type": "pause", "seconds": 1},
        ]),
    )
    .await;
    customer.expect("CALL_CLOSED").await;
    run.events().await;
    let (_, audio) = recording(&dev.client(), &run.call).await;
    let [left, right] = &audio[..] else { panic!("{} channels", audio.len()) };
    assert!((2.5..3.8).contains(&left.seconds()), "two seconds and one: {} s", left.seconds());
    assert!(left.seconds_of(CUSTOMER_HERTZ) > 2.3, "left: {} s", left.seconds_of(CUSTOMER_HERTZ));
    assert!(right.seconds_of(600.0) > 1.6, "right: {} s", right.seconds_of(600.0));
    assert!(right.seconds_of(900.0) < 0.2, "what was played in the pause is in the file");
    server.stop().await;
}
