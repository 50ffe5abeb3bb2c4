//! Nobody waits in a dead line: whatever a flow is doing, the caller is sent audio at least once a
//! second while the call is up, also when the party it is bridged with sends nothing.

use std::time::Duration;

use serde_json::json;

use crate::harness::handset::{Handset, Manner};
use crate::harness::server::Plan;
use crate::harness::stub::Stub;

/// The longest silence on the wire that issue 4 allows.
const MAX_GAP: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn no_step_leaves_the_caller_a_second_without_a_packet() {
    let stub = Stub::start().await;
    stub.serve("/slow", 200, "application/json", b"{}", Duration::from_secs(3));
    let server = Plan::new().reaching(stub.address).start().await;
    let dev = server.org("dev").await;
    dev.phone("1001").await;
    let talking = Manner { talks: true, ..Manner::default() };
    let silent = Manner { rings: Duration::from_secs(4), talks: false };
    let phone = Handset::start(&[talking, silent]).await;
    dev.trunk("carrier", &[&phone.address.to_string()], &["+442071838750"]).await;
    let flow = json!([
        {"id": "call", "type": "call", "number": "+16468107000", "next_step": "play"},
        {"id": "play", "type": "play", "text": "One moment.", "next_step": "pause"},
        {"id": "pause", "type": "pause", "seconds": 3, "next_step": "http"},
        {"id": "http", "type": "http", "url": stub.url("/slow"), "next_step": "digits"},
        {"id": "digits", "type": "digits", "timeout": 3, "flow": {"timeout": "voicemail"}},
        {"id": "voicemail", "type": "voicemail", "box": 1001, "silence": 3, "beep": false, "next_step": "keys"},
        {"id": "keys", "type": "send_dtmf", "digits": "1WWW2", "next_step": "callback"},
        {"id": "callback", "type": "callback", "date": "2018-10-11", "time": "20:48", "entity": 1001,
            "next_step": "connect"},
        {"id": "connect", "type": "connect", "number": "+16468107001", "hold_music": "silence",
            "time_limit": 5, "next_step": "end"},
        {"id": "end", "type": "hangup"},
    ]);
    let answer = dev.client().post("/api/v2/call/flow", &json!({ "flow": flow })).await.expect(201);
    let path = format!("/v1/calls/{}", answer["call_id"].as_str().unwrap());
    let call = dev.client().until(&path, "the call is over", |call| call["state"] == "completed").await;
    assert_eq!(call["cause"], "normal");
    phone.until(1, "the bridge's answer", |taken| taken.answered_at).await;
    let gap = phone.longest_gap(0).await;
    assert!(gap < MAX_GAP, "{gap:?} without a packet");
    server.stop().await;
}
