//! Phones that vanish: a dead battery, a lost network, a killed process. The call ends by itself,
//! says why, and leaves nothing behind.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::harness::baresip::Baresip;
use crate::harness::client::Client;
use crate::harness::handset::{Handset, Manner};
use crate::harness::server::{Plan, Server, Tenant};

/// So long a server of these tests believes in a phone that says nothing, in seconds.
const MEDIA_TIMEOUT_S: u32 = 2;

async fn impatient_server() -> Server {
    Plan::new().with(|config| config.media.timeout_seconds = MEDIA_TIMEOUT_S).start().await
}

/// A customer behind a trunk, who answers and talks.
async fn talking_customer(dev: &Tenant<'_>) -> Handset {
    let customer = Handset::start(&[Manner { talks: true, ..Manner::default() }]).await;
    dev.trunk("carrier", &[&customer.address.to_string()], &["+442071838750"]).await;
    customer
}

async fn completed(client: &Client, call: &str) -> Value {
    let path = format!("/v1/calls/{call}");
    client.until(&path, "the call is over", |call| call["state"] == "completed").await
}

/// Waits until nothing of any call is left: no leg, no dialog, no port, no call.
async fn nothing_is_left(server: &Server) {
    let empty = || {
        let stats = server.app.voice.stats();
        (stats.dialogs, stats.legs, stats.ports_in_use, stats.recordings, server.app.calls.live()) == (0, 0, 0, 0, 0)
    };
    let left = timeout(Duration::from_secs(40), async {
        while !empty() {
            sleep(Duration::from_millis(50)).await;
        }
    });
    assert!(left.await.is_ok(), "left: {:?}, {} calls", server.app.voice.stats(), server.app.calls.live());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_who_vanishes_ends_the_call_by_media_timeout() {
    let server = impatient_server().await;
    let dev = server.org("dev").await;
    let phone = talking_customer(&dev).await;
    let flow = json!({"flow": [
        {"id": "call", "type": "call", "number": "+16468107000", "next_step": "record"},
        {"id": "record", "type": "record", "action": "start", "next_step": "pause"},
        {"id": "pause", "type": "pause", "seconds": 600},
    ]});
    let posted = dev.client().post("/api/v2/call/flow", &flow).await.expect(201);
    phone.until(0, "its audio", |taken| (taken.heard.len() > 2).then_some(())).await;
    phone.vanish(0);
    let call = completed(&dev.client(), posted["call_id"].as_str().unwrap()).await;
    assert_eq!((&call["cause"], &call["ended_by"]), (&json!("media_timeout"), &json!("system")));
    nothing_is_left(&server).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_who_vanishes_leaves_the_customer_to_the_flow() {
    let server = impatient_server().await;
    let dev = server.org("dev").await;
    let _customer = talking_customer(&dev).await;
    let mut agent = Baresip::start(dev.phone("1002").await.answering()).await;
    let flow = json!({"flow": [
        {"id": "call", "type": "call", "number": "+16468107000", "next_step": "connect"},
        {"id": "connect", "type": "connect", "number": 1002, "flow": {"completed": "after", "failed": "hangup"}},
        {"id": "after", "type": "pause", "seconds": 1, "next_step": "hangup"},
        {"id": "hangup", "type": "hangup"},
    ]});
    let posted = dev.client().post("/api/v2/call/flow", &flow).await.expect(201);
    agent.expect("CALL_ESTABLISHED").await;
    agent.vanish().await;
    let id = posted["call_id"].as_str().unwrap();
    let call = completed(&dev.client(), id).await;
    assert_eq!((&call["cause"], &call["ended_by"]), (&json!("normal"), &json!("system")));
    let events = dev.client().get(&format!("/v1/calls/{id}/events?limit=500")).await.expect(200);
    let events = events["events"].as_array().unwrap();
    let ended = events.iter().find(|event| event["type"] == "connect.ended").unwrap();
    assert_eq!((&ended["data"]["status"], &ended["data"]["cause"]), (&json!("completed"), &json!("media_timeout")));
    assert!(events.iter().any(|event| event["step"]["id"] == "after"), "the flow went on with the customer");
    nothing_is_left(&server).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_who_vanishes_while_bridged_frees_the_agent() {
    let server = impatient_server().await;
    let dev = server.org("dev").await;
    let customer = talking_customer(&dev).await;
    let mut agent = Baresip::start(dev.phone("1002").await.answering()).await;
    let flow = json!({"flow": [
        {"id": "call", "type": "call", "number": "+16468107000", "next_step": "connect"},
        {"id": "connect", "type": "connect", "number": 1002},
    ]});
    let posted = dev.client().post("/api/v2/call/flow", &flow).await.expect(201);
    agent.expect("CALL_ESTABLISHED").await;
    sleep(Duration::from_millis(500)).await;
    customer.vanish(0);
    agent.expect("CALL_CLOSED").await;
    let call = completed(&dev.client(), posted["call_id"].as_str().unwrap()).await;
    assert_eq!(call["cause"], "media_timeout");
    nothing_is_left(&server).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_never_acknowledges_the_answer_is_given_up() {
    let server = impatient_server().await;
    let dev = server.org("dev").await;
    let caller = Handset::start(&[]).await;
    dev.trunk("carrier", &[&caller.address.to_string()], &[]).await;
    let flow = json!([{"id": 1, "type": "pause", "seconds": 600}]);
    let saved = dev.client().post("/v1/flows", &json!({"name": "In", "flow": flow})).await.expect(201);
    dev.number("+442071838750", &format!("flow:{}", saved["id"].as_str().unwrap())).await;
    // The trunk is taken up within a second of its creation.
    sleep(Duration::from_millis(1_500)).await;
    caller.call_and_vanish(server.sip(), "+442071838750").await;
    let began = |calls: &Value| calls["calls"].as_array().unwrap().len() == 1;
    let calls = dev.client().until("/v1/calls", "the call", began).await;
    nothing_is_left(&server).await;
    let call = completed(&dev.client(), calls["calls"][0]["id"].as_str().unwrap()).await;
    assert_eq!((&call["cause"], &call["ended_by"]), (&json!("unreachable"), &json!("system")));
    server.stop().await;
}
