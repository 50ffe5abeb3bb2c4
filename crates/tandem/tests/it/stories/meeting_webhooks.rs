//! What an application's endpoint is told of a meeting: whatever happened, once and in its order, signed, and no number
//! whole.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kernel::time::rfc3339;
use serde_json::{Value, json};

use crate::harness::crowd::{Act, Crowd, Took};
use crate::harness::meeting::{Application, order};
use crate::harness::order::{CALLER, RECEIVER, START_MS};
use crate::harness::server::Plan;
use crate::harness::stub::{Asked, Stub};

/// The number that both see.
const DOOR: &str = "+442071838750";
const SOON: Duration = Duration::from_secs(30);
const MINUTE_MS: i64 = 60_000;
const RING_MS: i64 = 30_000;

/// Everything that the meeting went through, and what each event says beyond it.
const STORY: [(&str, &str, &str); 9] = [
    ("scheduled", "", ""),
    ("out_of_session", "reason", "meeting_not_open"),
    ("opened", "reason", "time"),
    ("connecting", "", ""),
    ("no_show", "who", "receiver"),
    ("opened", "reason", "no_answer"),
    ("connecting", "", ""),
    ("live", "", ""),
    ("ended", "cause", "completed"),
];

/// The digits that only this number ends with, however it is written.
fn digits(number: &str) -> &str {
    &number[number.len() - 8..]
}

/// What came, each event once: an endpoint that is slow to answer is told again.
fn told(asked: &[Asked]) -> Vec<&Asked> {
    let mut seen = HashSet::new();
    asked.iter().filter(|asked| seen.insert(asked.headers["webhook-id"].clone())).collect()
}

/// The signature that a library which is not ours puts under it (its own check wants the clock of today).
fn is_signed(asked: &Asked, secret: &str) -> bool {
    let header = |name: &str| asked.headers[name].to_str().unwrap();
    let at: i64 = header("webhook-timestamp").parse().unwrap();
    let library = standardwebhooks::Webhook::new(secret).unwrap();
    let signature = library.sign(header("webhook-id"), at, &asked.body).unwrap();
    let since_ms = at * 1_000 - (START_MS - 30 * MINUTE_MS);
    header("webhook-signature").split(' ').any(|signed| signed == signature) && (0..60 * MINUTE_MS).contains(&since_ms)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_hears_the_whole_of_a_meeting_in_its_order_and_no_number() {
    // Who is called does not come to the phone the first time.
    let has_rung = AtomicBool::new(false);
    let crowd = Crowd::start(move |number| {
        let misses = number == RECEIVER && !has_rung.swap(true, Ordering::Relaxed);
        let answers = vec![Act::Ring, Act::Answer, Act::Speak, Act::wait(600_000)];
        if misses { vec![Act::Ring, Act::wait(600_000)] } else { answers }
    })
    .await;
    let stub = Stub::start().await;
    let patient = Plan::new().with(|config| config.media.timeout_seconds = 100_000);
    let server = patient.reaching(stub.address).at(START_MS - 30 * MINUTE_MS).start().await;
    crowd.meet(server.sip());
    let acme = server.org("acme").await;
    acme.trunk("crowd", &[&crowd.address.to_string()], &["+442071838000"]).await;
    acme.number(DOOR, "meetings").await;
    // The clock stands: nothing else makes the directory look, and SIP learn whom it has to expect.
    server.app.calls.directory().resolve(&acme.org.id, DOOR).await.unwrap();
    let hook = acme.client().post("/v1/webhooks", &json!({"url": stub.url("/hook")})).await.expect(201);
    let shop = Application::of(&acme, &server, "Shop", &[("number_pool", DOOR)]).await;
    let ordered = order(json!({
        "caller": {"number": CALLER, "call_type": "Phone"},
        "receiver": {"number": RECEIVER, "call_type": "Phone"},
        "meeting": {"start_at": rfc3339(START_MS), "duration": 9},
    }));
    let answer = shop.client.post("/api/v1/meetings", &ordered).await.expect(200);
    let (id, path) = (answer["meeting_id"].to_string(), format!("/v1/meetings/{}", answer["meeting_id"]));
    let until = async |state: &str, tried: u64| {
        let stands = |meeting: &Value| meeting["state"] == state && meeting["attempts"] == tried;
        shop.client.until(&path, state, stands).await
    };

    // Too early; not answered; answered, until the time is over.
    crowd.dial(CALLER, DOOR, vec![Act::Established, Act::Speak, Act::wait(600_000)]);
    crowd.until("it hears that it is early", SOON, |crowd| crowd.took(Took::EndedByServer) == 1).await;
    server.clock().set(START_MS);
    until("open", 0).await;
    shop.client.post(&format!("{path}/call"), &json!({})).await.expect(200);
    crowd.until("the receiver rings", SOON, |crowd| crowd.rung(RECEIVER) == 1).await;
    server.clock().advance(RING_MS);
    until("open", 1).await;
    crowd.quiet(SOON).await;
    shop.client.post(&format!("{path}/call"), &json!({})).await.expect(200);
    until("live", 2).await;
    server.clock().advance(9 * MINUTE_MS);
    let over = until("ended", 2).await;
    assert_eq!(over["cause"], "completed", "{over}");

    let of_meeting = |asked: &&&Asked| asked.json()["key"] == id.as_str();
    let is_told = |asked: &[Asked]| told(asked).iter().filter(of_meeting).count() >= STORY.len();
    let asked = stub.until("the whole story", SOON, is_told).await;
    let secret = hook["secret"].as_str().unwrap();
    for asked in &asked {
        assert!(is_signed(asked, secret), "{:?} {}", asked.headers, asked.json());
    }
    let story: Vec<Value> =
        told(&asked).into_iter().map(Asked::json).filter(|event| event["key"] == id.as_str()).collect();
    assert_eq!(story.len(), STORY.len(), "{story:#?}");
    for (index, (event, (kind, member, value))) in story.iter().zip(STORY).enumerate() {
        assert_eq!((&event["type"], &event["seq"]), (&json!(format!("meeting.{kind}")), &json!(index + 1)), "{event}");
        let data = &event["data"];
        assert!(member.is_empty() || data[member] == value, "{member} is {value}: {event}");
        let ends = (&data["caller"]["number"], &data["receiver"]["number"]);
        assert_eq!(ends, (&json!(CALLER[CALLER.len() - 2..]), &json!(RECEIVER[RECEIVER.len() - 2..])), "{event}");
    }
    assert_eq!((&story[8]["data"]["talked_seconds"], &story[8]["data"]["attempts"]), (&json!(9 * 60), &json!(2)));

    // Events of its calls came too, and nothing names a party or lets anybody in.
    let all: String = asked.iter().map(|asked| asked.json().to_string()).collect();
    assert!(all.contains("call.answered") && all.contains("call.completed"), "{all}");
    let pins = [answer["pin"].as_str().unwrap(), answer["receiver_pin"].as_str().unwrap()];
    for secret in [digits(CALLER), digits(RECEIVER)].into_iter().chain(pins) {
        assert!(!all.contains(secret), "{secret} stands in {all}");
    }
    server.stop().await;
}
