//! Both parties of a meeting behind a carrier that tells whatever it knows of them: none of it reaches the other, nor who
//! reads of the call.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::crowd::{Act, Crowd};
use crate::harness::meeting::Application;
use crate::harness::order::{CALLER, RECEIVER};
use crate::harness::server::Server;

/// The number that both see.
const DOOR: &str = "+442071838750";
const SOON: Duration = Duration::from_secs(30);

/// The digits that only this number ends with, however it is written.
fn digits(number: &str) -> &str {
    &number[number.len() - 8..]
}

/// The method of a request, the status of a response.
fn kind(message: &str) -> &str {
    let mut words = message.split(' ');
    words.next().filter(|word| *word != "SIP/2.0").or(words.next()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_carrier_that_tells_every_number_tells_neither_party_the_other_s() {
    let talks = || vec![Act::Speak, Act::wait(600_000)];
    let crowd = Crowd::start(move |_| [vec![Act::Ring, Act::EarlyMedia, Act::Answer], talks()].concat()).await;
    crowd.tell_numbers();
    crowd.keep();
    let server = Server::start().await;
    crowd.meet(server.sip());
    let acme = server.org("acme").await;
    acme.trunk("crowd", &[&crowd.address.to_string()], &["+442071838000"]).await;
    acme.number(DOOR, "meetings").await;
    // SIP learns whom it has to expect when the directory looks.
    server.app.calls.directory().resolve(&acme.org.id, DOOR).await.unwrap();
    let shop = Application::of(&acme, &server, "Shop", &[("number_pool", DOOR)]).await;
    let phones = json!({
        "caller": {"number": CALLER, "call_type": "Phone"},
        "receiver": {"number": RECEIVER, "call_type": "Phone"},
    });
    let path = format!("/v1/meetings/{}", shop.orders(phones).await.id);

    crowd.dial(CALLER, DOOR, talks());
    let live = shop.client.until(&path, "the two talk", |meeting| meeting["state"] == "live").await;
    shop.client.post(&format!("{path}/finish"), &json!({})).await.expect(200);
    crowd.quiet(SOON).await;
    shop.client.until(&path, "it is over", |meeting| meeting["state"] == "ended").await;

    let (to_caller, to_receiver) = (crowd.sent_to(CALLER), crowd.sent_to(RECEIVER));
    for wanted in ["200", "BYE"] {
        assert!(to_caller.iter().any(|text| kind(text) == wanted), "{to_caller:#?}");
    }
    for wanted in ["INVITE", "ACK", "BYE"] {
        assert!(to_receiver.iter().any(|text| kind(text) == wanted), "{to_receiver:#?}");
    }
    assert!(to_receiver[0].contains(&DOOR[1..]), "the pool's number is shown: {}", to_receiver[0]);
    for (messages, own, other) in [(to_caller, CALLER, RECEIVER), (to_receiver, RECEIVER, CALLER)] {
        let messages = messages.concat();
        assert!(messages.contains(digits(own)), "the own number: {messages}");
        assert!(!messages.contains(digits(other)), "{other} was told: {messages}");
    }
    let call = format!("/v1/calls/{}", live["calls"][0].as_str().unwrap());
    let mut read: Vec<Value> = Vec::new();
    for page in [call.clone(), format!("{call}/events"), "/v1/events?limit=500".to_owned()] {
        read.push(acme.client().get(&page).await.expect(200));
    }
    assert!(read[2].to_string().contains("meeting.ended"), "{}", read[2]);
    for text in read.iter().map(Value::to_string) {
        assert!(!text.contains(digits(CALLER)) && !text.contains(digits(RECEIVER)), "{text}");
    }
    server.stop().await;
}
