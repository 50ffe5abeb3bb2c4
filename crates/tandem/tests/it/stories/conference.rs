//! A conference over the real server: twenty phones of four codecs, each with a tone of its own. Who hears whom is
//! found in what each one heard.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::harness::choir::{Choir, voices_in};
use crate::harness::client::Client;
use crate::harness::server::Plan;

/// How many come.
const VOICES: usize = 20;
/// How long the recording is to be, at least.
const RECORDED: Duration = Duration::from_millis(3_500);

fn number(voice: usize) -> String {
    format!("+4420718381{voice:02}")
}

/// Brings a voice into the room; the answer to its request.
async fn calls_in(client: &Client, voice: usize, edges: Value) -> Value {
    let flow = json!([
        {"id": 1, "type": "call", "number": number(voice), "next_step": 2},
        {"id": 2, "type": "conference", "room": "choir", "max": VOICES, "flow": edges},
        {"id": "out", "type": "pause", "seconds": 600},
    ]);
    client.post("/api/v2/call/flow", &json!({ "flow": flow })).await.expect(201)
}

async fn until_members(client: &Client, count: usize) {
    let are_there =
        |list: &Value| list["conferences"][0]["members"].as_array().is_some_and(|members| members.len() == count);
    client.until("/v1/conferences", &format!("{count} members"), are_there).await;
}

fn all_but(one: usize) -> Vec<usize> {
    (0..VOICES).filter(|voice| *voice != one).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_phones_of_four_codecs_hear_all_others_and_not_themselves() {
    let choir = Choir::start().await;
    let server = Plan::new().start().await;
    let acme = server.org("acme").await;
    acme.trunk("choir", &[&choir.address.to_string()], &["+442071838000"]).await;
    let client = acme.client();
    let edges = || json!({"ended": "out", "full": "out"});
    for voice in 0..VOICES {
        calls_in(&client, voice, edges()).await;
        // In the order of their numbers.
        until_members(&client, voice + 1).await;
    }
    for voice in 0..VOICES {
        choir.until_hears(voice, VOICES, &all_but(voice)).await;
    }

    // One more finds it full, and its flow goes on.
    let late = calls_in(&client, VOICES, edges()).await;
    let run = format!("/api/v2/call/flow/{}", late["flow_run_id"].as_str().unwrap());
    let refused = client
        .until(&run, "the edge", |run| {
            run["run"]["visited"].as_array().unwrap().iter().any(|step| step["step_id"] == "out")
        })
        .await;
    assert_eq!(refused["run"]["visited"][1]["outcome"], "full");

    // One is muted, one thrown out, while all of it is recorded.
    client.put("/v1/conferences/choir/recording", &json!({})).await.expect(200);
    let room = client.get("/v1/conferences/choir").await.expect(200);
    assert_eq!(room["recording"], true);
    let member = |index: usize| room["members"][index]["id"].as_str().unwrap().to_owned();
    let path = |index: usize| format!("/v1/conferences/choir/members/{}", member(index));
    let muted = client.patch(&path(3), &json!({"muted": true})).await.expect(200);
    assert_eq!(muted["members"][3]["muted"], true);
    assert_eq!(client.delete(&path(7)).await.status, 204);
    until_members(&client, VOICES - 1).await;
    for voice in [0, 1, 2, 3] {
        let heard: Vec<usize> = all_but(voice).into_iter().filter(|other| ![3, 7].contains(other)).collect();
        choir.until_hears(voice, VOICES, &heard).await;
    }
    sleep(RECORDED).await;
    client.delete("/v1/conferences/choir/recording").await.expect(200);

    let keeper = room["members"][0]["call_id"].as_str().unwrap();
    let ready = |list: &Value| list["recordings"][0]["state"] == "ready";
    let recordings = client.until(&format!("/v1/calls/{keeper}/recordings"), "the recording", ready).await;
    let audio = format!("/v1/recordings/{}/audio", recordings["recordings"][0]["id"].as_str().unwrap());
    for heard in client.audio(&audio).await {
        let expected: Vec<usize> = (0..VOICES).filter(|voice| ![3, 7].contains(voice)).collect();
        let seconds = (1..=3).map(|back| heard.seconds() - f64::from(back));
        let clear = seconds
            .map(|from| heard.part(from..from + 1.0))
            .any(|second| voices_in(&second, VOICES).as_ref() == Ok(&expected));
        assert!(clear, "it has what all heard");
    }

    // It ends for everybody; each flow goes on by its edge.
    assert_eq!(client.delete("/v1/conferences/choir").await.status, 204);
    let nobody = |list: &Value| list["conferences"].as_array().unwrap().is_empty();
    client.until("/v1/conferences", "the end", nobody).await;
    let log = format!("/v1/calls/{keeper}/events?limit=500");
    let has_left =
        |list: &Value| list["events"].as_array().unwrap().iter().any(|event| event["type"] == "conference.left");
    let events = client.until(&log, "that the keeper has left", has_left).await;
    let kinds: Vec<&str> =
        events["events"].as_array().unwrap().iter().filter_map(|event| event["type"].as_str()).collect();
    let wanted = ["conference.joined", "recording.started", "recording.ready", "conference.left"];
    let told: Vec<&str> = kinds.into_iter().filter(|kind| wanted.contains(kind)).collect();
    assert_eq!(told, wanted);
    server.stop().await;
}
