//! Both parties of a meeting behind a trunk that sipp plays: it tells each one's number wherever SIP has room, and none of
//! it reaches the other, the pages, the application's endpoint, or what is kept of the call.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use super::meetings_browser::kept_of;
use crate::harness::meeting::{Application, party};
use crate::harness::order::{CALLER, RECEIVER};
use crate::harness::phone::free_ports;
use crate::harness::server::Plan;
use crate::harness::sipp::Sipp;
use crate::harness::stub::{Asked, Stub};

/// The number that both see.
const DOOR: &str = "+442071838750";
/// Where a carrier tells who calls or is called.
const FIELDS: [&str; 7] =
    ["From: \"", "P-Asserted-Identity: ", "Remote-Party-ID: ", "Diversion: ", "History-Info: ", "o=", "s="];
/// How long they talk once it is recorded.
const TALK: Duration = Duration::from_secs(2);
const SOON: Duration = Duration::from_secs(30);

/// The digits that only this number ends with, however it is written.
fn digits(number: &str) -> &str {
    &number[number.len() - 8..]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_carrier_that_tells_all_it_knows_lets_neither_party_learn_the_other_s_number() {
    let stub = Stub::start().await;
    let server = Plan::new().reaching(stub.address).start().await;
    let acme = server.org("acme").await;
    let called = Sipp::start("uas_carrier", server.sip(), "udp", &[("own", RECEIVER)]);
    let calling = free_ports();
    let targets = [called.address.to_string(), format!("127.0.0.1:{calling}")];
    acme.trunk("carrier", &targets.each_ref().map(String::as_str), &["+442071838000"]).await;
    acme.number(DOOR, "meetings").await;
    // SIP learns whom it has to expect when the directory looks.
    server.app.calls.directory().resolve(&acme.org.id, DOOR).await.unwrap();
    acme.client().post("/v1/webhooks", &json!({"url": stub.url("/hook")})).await.expect(201);
    let shop = Application::of(&acme, &server, "Shop", &[("number_pool", DOOR), ("record", "true")]).await;
    let ordered = shop
        .orders(json!({
            "caller": {"number": CALLER, "call_type": "Phone"},
            "receiver": {"number": RECEIVER, "call_type": "Phone"},
        }))
        .await;
    let path = format!("/v1/meetings/{}", ordered.id);

    let keys = [("own", CALLER), ("user", DOOR)];
    let calling = Sipp::start_at(calling, "uac_carrier", server.sip(), "udp", &keys);
    let meeting = shop.client.until(&path, "the two talk", |meeting| meeting["state"] == "live").await;
    let recordings = format!("/v1/calls/{}/recordings", meeting["calls"][0].as_str().unwrap());
    acme.client().until(&recordings, "it is recorded", |list| list["recordings"][0].is_object()).await;
    sleep(TALK).await;
    let (of_caller, of_receiver) = (party(&server, &ordered.caller).await, party(&server, &ordered.receiver).await);
    let mut shown = Vec::new();
    for (page, own, other) in [(&of_caller, CALLER, RECEIVER), (&of_receiver, RECEIVER, CALLER)] {
        for path in ["/meetings".to_owned(), format!("/meetings/{}/calendar.ics", ordered.id), path.clone()] {
            let answer = page.get(&path).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text);
            shown.push((path, own, other, answer.text));
        }
    }
    shop.client.post(&format!("{path}/finish"), &json!({})).await.expect(200);
    let (to_caller, to_receiver) = (calling.succeeds().await, called.succeeds().await);
    let over = shop.client.until(&path, "it is over", |meeting| meeting["state"] == "ended").await;
    assert_eq!(over["cause"], "completed", "{over}");

    // Each side of the carrier wrote down what it sent and what it was sent.
    for (messages, own, other) in [(&to_caller, CALLER, RECEIVER), (&to_receiver, RECEIVER, CALLER)] {
        let tells = |field: &&str| messages.lines().any(|line| line.contains(*field) && line.contains(digits(own)));
        let told = FIELDS.iter().filter(|field| tells(field)).count();
        // Who is called stands in no From of its own.
        assert_eq!(told, FIELDS.len() - usize::from(own == RECEIVER), "the carrier tells {own}: {messages}");
        assert!(messages.contains(digits(DOOR)), "the pool's number is shown: {messages}");
        assert!(!messages.contains(digits(other)), "{other} was told: {messages}");
    }
    for (path, _, other, text) in &shown {
        assert!(text.contains(if path == "/meetings" { "data-phase" } else { "meeting" }), "{path}: {text}");
        assert!(!text.contains(digits(other)), "{other} stands in {path}: {text}");
    }
    let is_over = |asked: &Asked| asked.json()["type"] == "recording.ready";
    let told = stub.until("the last word", SOON, |asked| asked.iter().any(is_over)).await;
    let told: Vec<String> = told.iter().map(|asked| asked.json().to_string()).collect();
    assert!(told.iter().any(|event| event.contains("meeting.ended")), "{told:#?}");
    let kept = kept_of(&server, &acme, &over).await;
    for text in told.iter().chain(&kept) {
        assert!(!text.contains(digits(CALLER)) && !text.contains(digits(RECEIVER)), "{text}");
    }
    server.stop().await;
}
