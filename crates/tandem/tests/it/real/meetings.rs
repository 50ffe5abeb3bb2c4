//! A meeting of two phones: the server rings one, then the other, and neither is sent a number but that of the pool.

use std::time::Duration;

use kernel::Scope;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::harness::baresip::Baresip;
use crate::harness::ear::tone_file;
use crate::harness::server::Server;

/// The number that both see, and the two's own.
const POOL: &str = "+442071838750";
const ANN: &str = "+442071838761";
const BOB: &str = "+442071838772";
/// What they say.
const ANNS_HERTZ: f64 = 440.0;
const BOBS_HERTZ: f64 = 1_000.0;

/// The digits of a number, as they would stand in a SIP message.
fn digits(number: &str) -> &str {
    number.trim_start_matches('+')
}

/// The order of a meeting of the two, now.
fn order() -> Value {
    json!({
        "user": {"uid_caller": "1222", "uid_receiver": "56712"},
        "meeting": {"order_id": "551", "duration": 9},
        "caller": {"name": "Ann", "number": ANN, "call_type": "Phone"},
        "receiver": {"name": "Bob", "number": BOB, "call_type": "Phone"},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn two_phones_meet_hear_each_other_and_see_the_pool_s_number_only() {
    let server = Server::start().await;
    let dev = server.org("dev").await;
    dev.number(POOL, "meetings").await;
    let folder = tempfile::tempdir().unwrap();
    let anns = dev.phone("1001").await.answering().speaking(tone_file(folder.path(), ANNS_HERTZ));
    let bobs = dev.phone("1002").await.answering().speaking(tone_file(folder.path(), BOBS_HERTZ));
    dev.number(ANN, "person:1001").await;
    dev.number(BOB, "person:1002").await;
    let (mut ann, mut bob) = (Baresip::start(anns).await, Baresip::start(bobs).await);
    let client = server.client().bearing(&dev.app_key(&[Scope::Meetings]).await);
    let posted = client.post("/api/v1/meetings", &order()).await.expect(200);
    let path = format!("/v1/meetings/{}", posted["meeting_id"]);
    client.post(&format!("{path}/call"), &json!({})).await.expect(200);

    ann.expect("CALL_ESTABLISHED").await;
    bob.expect("CALL_ESTABLISHED").await;
    client.until(&path, "the two talk", |meeting| meeting["state"] == "live").await;
    sleep(Duration::from_secs(3)).await;
    client.post(&format!("{path}/finish"), &json!({})).await.expect(200);
    ann.expect("CALL_CLOSED").await;
    bob.expect("CALL_CLOSED").await;
    let over = client.until(&path, "it is over", |meeting| meeting["state"] == "ended").await;
    assert_eq!(over["cause"], "completed", "{over}");

    sleep(Duration::from_millis(300)).await;
    let (by_ann, by_bob) = (ann.heard(), bob.heard());
    assert!(by_ann.seconds_of(BOBS_HERTZ) > 2.0, "Ann heard Bob for {} s", by_ann.seconds_of(BOBS_HERTZ));
    assert!(by_bob.seconds_of(ANNS_HERTZ) > 2.0, "Bob heard Ann for {} s", by_bob.seconds_of(ANNS_HERTZ));
    // Every SIP message that the phones were sent stands in their logs.
    for (phone, other) in [(&ann, BOB), (&bob, ANN)] {
        let log = phone.log();
        assert!(log.contains(digits(POOL)), "the pool's number is shown: {log}");
        assert!(!log.contains(digits(other)), "{other} is not: {log}");
    }
    let calls = dev.client().get("/v1/calls").await.expect(200);
    let events = format!("/v1/calls/{}/events", calls["calls"][0]["id"].as_str().unwrap());
    let kept: [Value; 2] = [calls, dev.client().get(&events).await.expect(200)];
    for kept in kept.map(|kept| kept.to_string()) {
        assert!(!kept.contains(digits(ANN)) && !kept.contains(digits(BOB)), "{kept}");
    }
    server.stop().await;
}
