//! kill -9 while flows answer: each room has, afterwards, a flow that goes on asking or people who know that it is theirs.
//! The moments are random; their seed is printed.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::harness::chance::Chance;
use crate::harness::chat::{Line, Opened, opened};
use crate::harness::client::Client;
use crate::harness::process::Tandem;

const ROUNDS: usize = 3;
const ROOMS: usize = 5;
/// A server is killed within this time of the first room.
const WITHIN_MS: u64 = 500;
const PATIENCE: Duration = Duration::from_secs(30);

/// Opens rooms until the server is gone.
async fn open(client: &Client, round: usize) -> Vec<Opened> {
    let mut rooms = Vec::new();
    for n in 0..ROOMS {
        let ask = json!({"user_id": format!("v{round}-{n}"), "product": "LOGOSCAN", "new": true});
        let request = client.request(reqwest::Method::POST, "/v1/chat/rooms").json(&ask);
        let Ok(answer) = request.send().await else { break };
        if answer.status() != 201 {
            break;
        }
        match answer.json().await {
            Ok(answer) => rooms.push(opened(answer)),
            Err(_) => break,
        }
    }
    rooms
}

/// What was said in a room, and how its flow ended.
async fn look(client: &Client, room: &str) -> (Vec<String>, Vec<Value>) {
    let messages = client.get(&format!("/v1/chat/rooms/{room}/messages?limit=500")).await.expect(200);
    let words = |message: &Value| message["body"].as_str().unwrap().to_owned();
    let said = messages["messages"].as_array().unwrap().iter().map(words).collect();
    let events = client.get("/v1/events?limit=500").await.expect(200);
    let is_end = |event: &&Value| event["key"] == room && event["type"] == "flow.completed";
    (
        said,
        events["events"]
            .as_array()
            .unwrap()
            .iter()
            .filter(is_end)
            .map(|event| event["data"]["cause"].clone())
            .collect(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_no_visitor_is_left_without_an_answer() {
    let data = tempfile::tempdir().unwrap();
    let tandem = Tandem::on(data.path());
    tandem.json(&["org", "create", "Shop", "--slug", "shop"]).await;
    let made = tandem.json(&["app", "create", "shop", "--org", "shop"]).await;
    let key = made["api_key"].as_str().unwrap().to_owned();
    let mut running = tandem.start("serve", &[]).await;
    let client = running.client().bearing(&key);
    let flow = json!([
        {"id": 1, "type": "digits", "prompt": "Your name?", "variable": "name", "flow": {"*": 2}},
        {"id": 2, "type": "play", "text": "Thank you.", "next_step": 3},
        {"id": 3, "type": "digits", "prompt": "More?", "flow": {"*": 2}},
    ]);
    let saved = client.post("/v1/flows", &json!({"name": "Robot", "flow": flow})).await.expect(201);
    client.put("/v1/chat/products/LOGOSCAN", &json!({"flow_id": saved["id"]})).await.expect(200);

    // One that was certainly in the midst of it.
    let asked = opened(client.post("/v1/chat/rooms", &json!({"product": "LOGOSCAN", "new": true})).await.expect(201));
    client
        .until(&format!("/v1/chat/rooms/{}/messages", asked.room), "the question", |page| {
            page["messages"][0]["body"] == "Your name?"
        })
        .await;
    let mut chance = Chance::told();
    let mut rooms = Vec::new();
    for round in 0..ROUNDS {
        let (http, sip) = (running.http, running.sip);
        let within = Duration::from_millis(chance.within(0..WITHIN_MS));
        let killed = async {
            sleep(within).await;
            running.kill().await;
        };
        let (opened, ()) = tokio::join!(open(&client, round), killed);
        rooms.extend(opened);
        running = tandem.start_at("serve", http, sip, &[]).await;
    }
    let (said, ends) = look(&client, &asked.room).await;
    assert_eq!((said, ends), (vec!["Your name?".to_owned()], vec![json!("server_restart")]));
    let events = client.get("/v1/events?limit=500").await.expect(200);
    let run = events["events"].as_array().unwrap().iter().find(|event| event["type"] == "step.started").unwrap();
    let run =
        client.get(&format!("/api/v2/call/flow/{}", run["run_id"].as_str().unwrap())).await.expect(200)["run"].clone();
    assert_eq!((&run["state"], &run["cause"]), (&json!("completed"), &json!("server_restart")));
    assert!(run["ended_at"].is_string(), "{run}");
    for ours in &rooms {
        let (mut line, _) = Line::hello(running.http, &ours.token, json!({})).await;
        let answered = timeout(PATIENCE, async {
            for n in 0.. {
                let (said, ends) = look(&client, &ours.room).await;
                assert!(ends.len() <= 1 && said.iter().filter(|words| *words == "Your name?").count() <= 1, "{said:?}");
                if ends == [json!("server_restart")] || said.contains(&"Thank you.".to_owned()) {
                    break;
                }
                if said.contains(&"Your name?".to_owned()) {
                    line.sent(&ours.room, &format!("c{n}"), "Ann").await;
                }
                sleep(Duration::from_millis(50)).await;
            }
        });
        assert!(answered.await.is_ok(), "{} is left alone: {:?}", ours.room, look(&client, &ours.room).await);
    }
}
