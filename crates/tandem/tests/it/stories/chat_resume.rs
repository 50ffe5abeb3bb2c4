//! kill -9 while thousands of visitors are connected and support writes to all of them: they come back with their cursors,
//! each hears every message once and in order, and support's retries double nothing. The moment is random; its seed is
//! printed.

use futures_util::{SinkExt, StreamExt, stream};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::harness::chance::{Chance, is_full};
use crate::harness::chat::{Line, Opened, opened, seqs};
use crate::harness::process::{Running, Tandem};

/// Visitors, each in a room of its own; `--full` lets the server hold all of them.
const VISITORS: usize = 200;
const ALL_VISITORS: usize = 5_000;
/// Of them, so many knock in the same moment: more than a server lets wait at its door are turned away by the system.
const AT_ONCE: usize = 256;
/// Messages of support that are on their way at once.
const AHEAD: usize = 64;
/// What support says to each visitor, before the kill or after it.
const ANSWERS: usize = 2;

/// One visitor, and what it has heard.
struct Visitor {
    ours: Opened,
    heard: Vec<Value>,
}

impl Visitor {
    /// The last number that it has seen, without a gap.
    fn cursor(&self) -> usize {
        self.heard.len()
    }

    /// Connects, and hears until the head of its room as the server tells it.
    async fn come_back(&mut self, running: &Running) -> Line {
        let cursors = json!({ &self.ours.room: self.cursor() });
        let (mut line, ready) = Line::hello(running.http, &self.ours.token, cursors).await;
        self.heard.extend(ready["missed"].as_array().unwrap().iter().cloned());
        let head = ready["heads"][&self.ours.room].as_u64().unwrap() as usize;
        while self.cursor() < head {
            self.heard.push(line.expect("msg").await);
        }
        line
    }

    /// Hears what comes until the server is gone.
    async fn hear_until_the_end(&mut self, mut line: Line) {
        loop {
            let frame = line.hear().await;
            if !frame["closed"].is_null() {
                return;
            }
            if frame["type"] == "msg" {
                self.heard.push(frame);
            }
        }
    }

    /// Hears what support has still to say, and goes on listening until it has said all.
    async fn hear_the_rest(&mut self, line: &mut Line, all_said: &CancellationToken) {
        while self.cursor() < ANSWERS || !all_said.is_cancelled() {
            let frame = tokio::select! {
                frame = line.hear() => frame,
                () = all_said.cancelled(), if self.cursor() >= ANSWERS => return,
            };
            assert!(frame["closed"].is_null(), "it was closed: {frame}");
            if frame["type"] == "msg" {
                self.heard.push(frame);
            }
        }
    }
}

/// Support's words to every visitor, by name.
fn answers(visitors: &[Visitor]) -> Vec<(String, String)> {
    let of = |number: usize| move |visitor: &Visitor| (visitor.ours.room.clone(), format!("a{number}"));
    (0..ANSWERS).flat_map(|number| visitors.iter().map(of(number)).collect::<Vec<_>>()).collect()
}

/// Says `words` in their order, some of them ahead of their acknowledgements; gives those that were not acknowledged when
/// `enough` were, or when the server had gone.
async fn say(line: &mut Line, words: &[(String, String)], enough: usize) -> Vec<(String, String)> {
    let mut waiting: Vec<(String, String)> = Vec::new();
    let (mut rest, mut acknowledged) = (words.iter(), 0);
    while acknowledged < enough {
        while waiting.len() < AHEAD
            && let Some((room, cid)) = rest.next()
        {
            waiting.push((room.clone(), cid.clone()));
            let frame = json!({"type": "send", "room": room, "cid": cid, "body": cid});
            if line.0.send(frame.to_string().into()).await.is_err() {
                break;
            }
        }
        let frame = line.next().await;
        assert_ne!(frame["type"], "error", "{frame}");
        if !frame["closed"].is_null() {
            break;
        }
        if frame["type"] == "ack" {
            acknowledged += 1;
            waiting.retain(|(room, cid)| frame["room"] != **room || frame["cid"] != **cid);
        }
    }
    waiting.extend(rest.cloned());
    waiting
}

async fn visitors(running: &Running, key: &str, count: usize) -> Vec<Visitor> {
    let client = running.client().bearing(key);
    let open = |number: usize| {
        let client = client.clone();
        async move {
            let ask = json!({"user_id": format!("v{number}"), "new": true});
            Visitor { ours: opened(client.post("/v1/chat/rooms", &ask).await.expect(201)), heard: Vec::new() }
        }
    };
    stream::iter(0..count).map(open).buffer_unordered(AHEAD).collect().await
}

/// All of them, connected and caught up.
async fn come_back(visitors: &mut [Visitor], running: &Running) -> Vec<Line> {
    stream::iter(visitors).map(|visitor| visitor.come_back(running)).buffered(AT_ONCE).collect().await
}

#[tokio::test(flavor = "multi_thread")]
async fn all_come_back_after_a_kill_and_none_loses_or_doubles_a_message() {
    let count = if is_full() { ALL_VISITORS } else { VISITORS };
    let data = tempfile::tempdir().unwrap();
    let limits = "[limits]\nrequests_per_minute_per_ip = 0\nrequests_per_minute_per_token = 0\n";
    std::fs::write(data.path().join("tandem.toml"), limits).unwrap();
    let tandem = Tandem::on(data.path());
    tandem.json(&["org", "create", "Shop", "--slug", "shop"]).await;
    let made = tandem.json(&["app", "create", "shop", "--org", "shop"]).await;
    let key = made["api_key"].as_str().unwrap();
    let mut running = tandem.start("serve", &[]).await;
    let mut visitors = visitors(&running, key, count).await;
    let words = answers(&visitors);

    // Everybody is there, support writes, and the server is killed meanwhile.
    let lines = come_back(&mut visitors, &running).await;
    let (mut support, _) = Line::hello(running.http, key, json!({})).await;
    let (http, sip) = (running.http, running.sip);
    let before = Chance::told().within(1..words.len() as u64) as usize;
    let hearing = visitors.iter_mut().zip(lines).map(|(visitor, line)| visitor.hear_until_the_end(line));
    let writing = async {
        let waiting = say(&mut support, &words, before).await;
        running.kill().await;
        waiting
    };
    let (waiting, _) = tokio::join!(writing, futures_util::future::join_all(hearing));
    assert!(!waiting.is_empty(), "the kill came after the last word");
    let told_before: usize = visitors.iter().map(Visitor::cursor).sum();

    running = tandem.start_at("serve", http, sip, &[]).await;
    let mut lines = come_back(&mut visitors, &running).await;
    let (mut support, _) = Line::hello(running.http, key, json!({})).await;
    // They listen while support writes: who answers no ping is gone for the server.
    let all_said = CancellationToken::new();
    let hearing = visitors.iter_mut().zip(&mut lines).map(|(visitor, line)| visitor.hear_the_rest(line, &all_said));
    let writing = async {
        let unsaid = say(&mut support, &waiting, waiting.len()).await;
        all_said.cancel();
        unsaid
    };
    let (unsaid, _) = tokio::join!(writing, futures_util::future::join_all(hearing));
    assert_eq!(unsaid, []);
    let all = (1..=ANSWERS as i64).collect::<Vec<_>>();
    for visitor in &visitors {
        assert_eq!(seqs(&visitor.heard, &visitor.ours.room), all, "none lost, none doubled, in order");
        let bodies: Vec<&str> = visitor.heard.iter().map(|frame| frame["body"].as_str().unwrap()).collect();
        assert_eq!(bodies, ["a0", "a1"]);
    }
    // Nothing comes twice later either: what a visitor hears next is what it says itself.
    for (visitor, line) in visitors.iter_mut().zip(&mut lines).take(AT_ONCE) {
        line.send(&visitor.ours.room, "own", "own").await;
        let next = line.expect("msg").await;
        assert_eq!((&next["body"], &next["seq"]), (&json!("own"), &json!(ANSWERS + 1)));
    }
    println!(
        "{count} visitors: {told_before} messages were told before the kill, {} after it",
        words.len() - told_before
    );
}
