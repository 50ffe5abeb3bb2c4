//! SDES-SRTP where nobody configured the phone: whoever refuses plain RTP is offered SRTP. A trunk
//! offers it when its setting says so.

use std::time::Duration;

use calls::NewTrunk;
use serde_json::json;
use tokio::time::sleep;

use crate::harness::baresip::Baresip;
use crate::harness::ear::tone_file;
use crate::harness::linphone::Linphone;
use crate::harness::phone::Account;
use crate::harness::server::{Plan, Server};

/// Two phones talk for so long; each other's tone must fill most of it.
const TALK: Duration = Duration::from_secs(3);
const MOST: f64 = 2.0;
/// The outside number that the carrier of these tests answers.
const NUMBER: &str = "+16468107000";

#[tokio::test(flavor = "multi_thread")]
async fn baresip_that_speaks_nothing_but_srtp_is_called_without_a_setting() {
    let server = Plan::new().with_tls().await.start().await;
    let dev = server.org("dev").await;
    let folder = tempfile::tempdir().unwrap();
    let plain = dev.phone("1001").await.speaking(tone_file(folder.path(), 440.0));
    let secure = dev.phone("1002").await.by("tls", server.sips()).srtp().answering();
    let mut plain = Baresip::start(plain).await;
    let mut secure = Baresip::start(secure.speaking(tone_file(folder.path(), 900.0))).await;
    plain.dial("1002").await;
    plain.expect("CALL_ESTABLISHED").await;
    sleep(TALK).await;
    plain.hang_up().await;
    secure.expect("CALL_CLOSED").await;
    sleep(Duration::from_millis(300)).await;
    assert!(plain.heard().seconds_of(900.0) > MOST, "{} s", plain.heard().seconds_of(900.0));
    assert!(secure.heard().seconds_of(440.0) > MOST, "{} s", secure.heard().seconds_of(440.0));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn linphone_that_speaks_nothing_but_srtp_is_called_without_a_setting() {
    let server = Plan::new().with_tls().await.start().await;
    let dev = server.org("dev").await;
    let folder = tempfile::tempdir().unwrap();
    let plain = dev.phone("1001").await.speaking(tone_file(folder.path(), 440.0));
    let secure = dev.phone("1002").await.by("tls", server.sips()).srtp().answering();
    let mut plain = Baresip::start(plain).await;
    let mut secure = Linphone::start(secure.speaking(tone_file(folder.path(), 900.0))).await;
    plain.dial("1002").await;
    plain.expect("CALL_ESTABLISHED").await;
    sleep(TALK).await;
    plain.hang_up().await;
    secure.expect("ended").await;
    sleep(Duration::from_millis(300)).await;
    assert!(plain.heard().seconds_of(900.0) > MOST, "{} s", plain.heard().seconds_of(900.0));
    assert!(secure.heard().seconds_of(440.0) > MOST, "{} s", secure.heard().seconds_of(440.0));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trunk_offers_srtp_when_it_is_set_and_only_then() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let carrier = Account::new(server.sip(), NUMBER, "unused").unregistered().srtp().answering();
    let mut carrier = Baresip::start(carrier.speaking(tone_file(folder.path(), 700.0))).await;
    let flow = json!({"flow": [
        {"id": "call", "type": "call", "number": NUMBER, "next_step": 1},
        {"id": 1, "type": "pause", "seconds": 3},
    ]});
    for (srtp, cause) in [(false, "media_incompatible"), (true, "normal")] {
        // Of several trunks the first is taken, so each organisation has one.
        let slug = if srtp { "secure" } else { "plain" };
        let org = server.org(slug).await;
        org.add_trunk(NewTrunk {
            name: slug.to_owned(),
            targets: vec![carrier.address.to_string()],
            caller_ids: vec!["+442071838750".to_owned()],
            srtp,
            ..NewTrunk::default()
        })
        .await;
        let posted = org.client().post("/api/v2/call/flow", &flow).await.expect(201);
        let path = format!("/v1/calls/{}", posted["call_id"].as_str().unwrap());
        let call = org.client().until(&path, "the call is over", |call| call["state"] == "completed").await;
        assert_eq!(call["cause"], cause, "srtp = {srtp}");
    }
    carrier.expect("CALL_ESTABLISHED").await;
    server.stop().await;
}
