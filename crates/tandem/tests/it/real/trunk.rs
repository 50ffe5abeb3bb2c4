//! Carriers, played by sipp: the second target is tried when the first refuses, and it is told the
//! number and the caller id of the rules.

use serde_json::json;

use crate::harness::server::Server;
use crate::harness::sipp::Sipp;

#[tokio::test(flavor = "multi_thread")]
async fn the_second_target_is_called_when_the_first_answers_503() {
    let server = Server::start().await;
    let dev = server.org("dev").await;
    let refusing = Sipp::start("uas_503", server.sip(), "udp", &[]);
    let accepting = Sipp::start("uas", server.sip(), "udp", &[]);
    dev.trunk("carrier", &[&refusing.address.to_string(), &accepting.address.to_string()], &["+442071838750"]).await;

    let flow = json!({
        "cloud_id": "dev", "auth_token": dev.token,
        "flow": [{"id": 1, "type": "call", "number": "+16468107000", "next_step": 2}, {"id": 2, "type": "hangup"}],
    });
    let answer = dev.client().post("/api/v2/call/flow", &flow).await.expect(201);
    refusing.succeeds().await;
    let messages = accepting.succeeds().await;
    assert!(messages.contains("INVITE sip:+16468107000@"), "{messages}");
    assert!(messages.contains("+442071838750"), "the trunk's caller id is shown: {messages}");

    let path = format!("/v1/calls/{}", answer["call_id"].as_str().unwrap());
    let call = dev.client().until(&path, "the call is over", |call| call["state"] == "completed").await;
    assert_eq!(call["cause"], "normal");
    assert!(call["answered_at"].is_string(), "{call}");
    server.stop().await;
}
