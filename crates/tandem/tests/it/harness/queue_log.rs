//! What the log of an organisation tells of its queues.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;

use super::client::Client;
use super::house::of;

/// For what takes long on a busy machine.
const OVER: Duration = Duration::from_secs(120);

/// The number of a caller behind the trunk.
pub(crate) fn caller(number: usize) -> String {
    format!("+4420718410{number:02}")
}

/// All events, by their place in the log.
pub(crate) async fn events(client: &Client) -> Vec<Value> {
    let mut all = Vec::new();
    let mut path = "/v1/events?limit=500".to_owned();
    loop {
        let page = client.get(&path).await.expect(200);
        let events = page["events"].as_array().unwrap().clone();
        if events.is_empty() {
            return all;
        }
        all.extend(events);
        path = format!("/v1/events?limit=500&cursor={}", page["cursor"].as_str().unwrap());
    }
}

pub(crate) fn from(event: &Value) -> &str {
    event["call"]["from"].as_str().unwrap()
}

pub(crate) fn time(event: &Value) -> &str {
    event["time"].as_str().unwrap()
}

/// Asserts that each agent was rung for one call at a time.
pub(crate) fn assert_one_offer_at_a_time(events: &[Value]) {
    let mut told: Vec<&Value> =
        events.iter().filter(|event| event["type"] == "connect.ringing" || event["type"] == "connect.ended").collect();
    // An end of the same millisecond comes first: the offer that follows it is its consequence.
    told.sort_by_key(|event| (time(event).to_owned(), event["type"] == "connect.ringing"));
    let mut rung: HashMap<String, &str> = HashMap::new();
    for event in told {
        if event["type"] == "connect.ended" {
            rung.retain(|_, call| *call != from(event));
        } else {
            let agent = event["data"]["target"].as_str().unwrap().to_owned();
            let other = rung.insert(agent.clone(), from(event));
            assert_eq!(other, None, "{agent} was rung for {} while it had another", from(event));
        }
    }
}

/// Waits until so many have joined a queue.
pub(crate) async fn wait_for_joined(client: &Client, count: usize) {
    let waited = tokio::time::timeout(OVER, async {
        while of(&events(client).await, "queue.joined").len() < count {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(waited.await.is_ok(), "nobody joins: {:?}", events(client).await);
}
