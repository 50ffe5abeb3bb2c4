//! kill -9 while visitors write: what was acknowledged is there, and what is sent again under its name is there once.
//! The moments are random; their seed is printed.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::harness::chance::Chance;
use crate::harness::chat::{Line, Opened, opened};
use crate::harness::client::Client;
use crate::harness::process::Tandem;

const VISITORS: usize = 6;
const ROUNDS: usize = 3;
/// Messages that one visitor has on their way at once.
const AHEAD: usize = 4;
/// A server is killed within this time of its visitors' hello.
const WITHIN_MS: u64 = 600;

/// What a visitor knows of its messages: their names in the order in which they were said, and what was acknowledged.
#[derive(Default)]
struct Said {
    names: Vec<String>,
    acks: HashMap<String, Value>,
}

/// Says again what was not acknowledged, then new things, until the server is gone.
async fn write_on(mut line: Line, ours: &Opened, said: &mut Said, round: usize) {
    let waiting: Vec<String> = said.names.iter().filter(|name| !said.acks.contains_key(*name)).cloned().collect();
    let mut on_their_way = 0;
    let mut old = waiting.into_iter();
    for count in 0.. {
        while on_their_way < AHEAD {
            let name = old.next().unwrap_or_else(|| {
                let name = format!("r{round}-{count}-{on_their_way}");
                said.names.push(name.clone());
                name
            });
            let frame = json!({"type": "send", "room": ours.room, "cid": name, "body": name});
            if futures_util::SinkExt::send(&mut line.0, frame.to_string().into()).await.is_err() {
                return;
            }
            on_their_way += 1;
        }
        let frame = line.next().await;
        if !frame["closed"].is_null() {
            return;
        }
        if frame["type"] == "ack" {
            on_their_way -= 1;
            let name = frame["cid"].as_str().unwrap().to_owned();
            let before = said.acks.insert(name, frame.clone());
            assert!(before.is_none_or(|before| before == frame), "another acknowledgement");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_again_after_a_kill_is_there_once() {
    let data = tempfile::tempdir().unwrap();
    let tandem = Tandem::on(data.path());
    tandem.json(&["org", "create", "Shop", "--slug", "shop"]).await;
    let limits = ["limit_messages_per_minute=1000000", "limit_messages_burst=1000000"];
    let made = tandem.json(&["app", "create", "shop", "--org", "shop"]).await;
    let (app, key) = (made["id"].as_str().unwrap().to_owned(), made["api_key"].as_str().unwrap().to_owned());
    tandem.json(&[&["app", "set", &app][..], &limits].concat()).await;
    let mut running = tandem.start("serve", &[]).await;
    let mut visitors = Vec::new();
    for n in 0..VISITORS {
        let ask = json!({"user_id": format!("v{n}"), "new": true});
        let client: Client = running.client().bearing(&key);
        visitors.push((opened(client.post("/v1/chat/rooms", &ask).await.expect(201)), Said::default()));
    }
    let mut chance = Chance::told();
    for round in 0..ROUNDS {
        let (http, sip) = (running.http, running.sip);
        let mut writing = Vec::new();
        for (ours, said) in &mut visitors {
            let (line, _) = Line::hello(http, &ours.token, json!({})).await;
            writing.push(write_on(line, ours, said, round));
        }
        let within = Duration::from_millis(chance.within(0..WITHIN_MS));
        let killed = async {
            sleep(within).await;
            running.kill().await;
        };
        tokio::join!(futures_util::future::join_all(writing), killed);
        running = tandem.start_at("serve", http, sip, &[]).await;
    }
    let mut kept = 0;
    for (ours, said) in &mut visitors {
        // The last ones, once more, and then everything is looked at.
        let (mut line, _) = Line::hello(running.http, &ours.token, json!({})).await;
        for name in said.names.iter().filter(|name| !said.acks.contains_key(*name)) {
            line.sent(&ours.room, name, name).await;
        }
        let client = running.client().bearing(&key);
        let mut messages: Vec<Value> = Vec::new();
        loop {
            let path = format!("/v1/chat/rooms/{}/messages?limit=500&after={}", ours.room, messages.len());
            let page = client.get(&path).await.expect(200)["messages"].as_array().unwrap().clone();
            if page.is_empty() {
                break;
            }
            messages.extend(page);
        }
        let seqs: Vec<i64> = messages.iter().map(|message| message["seq"].as_i64().unwrap()).collect();
        assert_eq!(seqs, (1..=messages.len() as i64).collect::<Vec<_>>());
        let names: Vec<&str> = messages.iter().map(|message| message["cid"].as_str().unwrap()).collect();
        assert_eq!(names.len(), said.names.len(), "none lost, none doubled");
        for message in &messages {
            if let Some(ack) = said.acks.get(message["cid"].as_str().unwrap()) {
                assert_eq!((&ack["seq"], &ack["id"], &ack["at"]), (&message["seq"], &message["id"], &message["at"]));
                kept += 1;
            }
        }
    }
    assert!(kept > 0, "every kill came before anything was said");
}
