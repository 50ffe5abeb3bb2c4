//! Real phones in one conference, and a real phone that consults before it transfers.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::steps::of;
use crate::harness::baresip::Baresip;
use crate::harness::client::Client;
use crate::harness::ear::{Heard, tone_file};
use crate::harness::linphone::Linphone;
use crate::harness::server::Server;

/// What the phones say: whole hertz, so that a second of one has nothing of another.
const FIRST_HERTZ: f64 = 1_300.0;
const SECOND_HERTZ: f64 = 1_000.0;
const THIRD_HERTZ: f64 = 700.0;

/// The tones in the middle second of what was heard.
fn tones(heard: &Heard) -> Vec<f64> {
    let middle = heard.seconds() / 2.0;
    let heard = heard.part(middle - 0.5..middle + 0.5);
    [FIRST_HERTZ, SECOND_HERTZ, THIRD_HERTZ].into_iter().filter(|hertz| heard.share_of(*hertz) > 0.15).collect()
}

async fn call_in(client: &Client, extension: &str) {
    let flow = json!([
        {"id": 1, "type": "call", "number": extension, "next_step": 2},
        {"id": 2, "type": "conference", "room": "round-table"},
    ]);
    client.post("/api/v2/call/flow", &json!({ "flow": flow })).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn baresip_and_linphone_hear_each_other_in_a_conference() {
    let server = Server::start().await;
    let dev = server.org("dev").await;
    let folder = tempfile::tempdir().unwrap();
    let says = |hertz| tone_file(folder.path(), hertz);
    let mut first = Baresip::start(dev.phone("1001").await.answering().speaking(says(FIRST_HERTZ))).await;
    let second = dev.phone("1002").await.answering().codecs(&["PCMA"]).speaking(says(SECOND_HERTZ));
    let mut second = Linphone::start(second).await;
    let third = dev.phone("1003").await.answering().codecs(&["G722/16000/1"]).speaking(says(THIRD_HERTZ));
    let mut third = Baresip::start(third).await;
    for extension in ["1001", "1002", "1003"] {
        call_in(&dev.client(), extension).await;
    }
    let all_there =
        |list: &Value| list["conferences"][0]["members"].as_array().is_some_and(|members| members.len() == 3);
    dev.client().until("/v1/conferences", "three members", all_there).await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(dev.client().delete("/v1/conferences/round-table").await.status, 204);
    first.expect("CALL_CLOSED").await;
    third.expect("CALL_CLOSED").await;
    second.expect("ended").await;
    sleep(Duration::from_millis(300)).await;
    assert_eq!(tones(&first.heard()), [SECOND_HERTZ, THIRD_HERTZ]);
    assert_eq!(tones(&second.heard()), [FIRST_HERTZ, THIRD_HERTZ]);
    assert_eq!(tones(&third.heard()), [FIRST_HERTZ, SECOND_HERTZ]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_that_consulted_a_third_leaves_the_two_together() {
    let server = Server::start().await;
    let dev = server.org("dev").await;
    let folder = tempfile::tempdir().unwrap();
    let says = |hertz| tone_file(folder.path(), hertz);
    let mut caller = Baresip::start(dev.phone("1001").await.speaking(says(FIRST_HERTZ))).await;
    let mut between = Linphone::start(dev.phone("1002").await.answering()).await;
    let mut third = Baresip::start(dev.phone("1003").await.answering().speaking(says(THIRD_HERTZ))).await;
    caller.dial("1002").await;
    caller.expect("CALL_ESTABLISHED").await;
    // He puts the caller on hold to ask the third.
    between.say("pause").await;
    sleep(Duration::from_millis(700)).await;
    between.dial("1003").await;
    third.expect("CALL_ESTABLISHED").await;
    sleep(Duration::from_secs(1)).await;
    between.say("transfer 1 --to-call 2").await;
    let client = dev.client();
    let one_is_up = |list: &Value| {
        let calls = list["calls"].as_array().unwrap();
        calls.len() == 2 && calls.iter().filter(|call| call["state"] == "completed").count() == 1
    };
    let calls = client.until("/v1/calls", "one call of two", one_is_up).await;
    sleep(Duration::from_secs(4)).await;
    caller.hang_up().await;
    third.expect("CALL_CLOSED").await;
    sleep(Duration::from_millis(300)).await;
    let last = |heard: Heard| heard.part(heard.seconds() - 2.0..heard.seconds() - 1.0);
    assert!(last(caller.heard()).share_of(THIRD_HERTZ) > 0.5, "the caller hears the third");
    assert!(last(third.heard()).share_of(FIRST_HERTZ) > 0.5, "and the third the caller");
    let kept = calls["calls"].as_array().unwrap().iter().find(|call| call["state"] != "completed").unwrap();
    let path = format!("/v1/calls/{}/events", kept["id"].as_str().unwrap());
    let over = |page: &Value| page["events"].as_array().unwrap().iter().any(|event| event["type"] == "call.completed");
    let events = client.until(&path, "its end", over).await;
    let events = events["events"].as_array().unwrap();
    assert_eq!((of(events, "transfer.started").len(), of(events, "transfer.completed").len()), (1, 1));
    assert_eq!(events.last().unwrap()["data"]["ended_by"], "customer");
    server.stop().await;
}
