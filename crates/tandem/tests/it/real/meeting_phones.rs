//! Meetings by real phones: how both hear the end come near, and how a phone calls the meeting's number, from its own line
//! or from anybody's with a PIN.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::harness::baresip::Baresip;
use crate::harness::ear::{tone_file, words_understood};
use crate::harness::meeting::{Application, order};
use crate::harness::order::START_MS;
use crate::harness::server::{Plan, Server, Tenant};

/// The number that both see, and the two's own.
const POOL: &str = "+442071838750";
const ANN: &str = "+442071838761";
const BOB: &str = "+442071838772";
/// Where the phones are registered: digits that come by chance nowhere else.
const ANNS_EXTENSION: &str = "7351946";
const BOBS_EXTENSION: &str = "8462057";
const CAROLS_EXTENSION: &str = "9573168";
/// What they say.
const ANNS_HERTZ: f64 = 440.0;
const BOBS_HERTZ: f64 = 1_000.0;
const CAROLS_HERTZ: f64 = 700.0;

/// What both hear when the end is near.
const WARNING: &str = "The time of this call is almost over.";
/// It takes so long at most.
const SPOKEN: Duration = Duration::from_secs(6);
/// Nothing is said for so long before.
const QUIET: Duration = Duration::from_secs(4);
const SECOND_MS: i64 = 1_000;

/// The digits of a number, as they would stand in a SIP message.
fn digits(number: &str) -> &str {
    number.trim_start_matches('+')
}

/// A meeting of Ann and Bob by phone, now.
fn meeting(more: Value) -> Value {
    let mut order = order(json!({
        "caller": {"name": "Ann", "number": ANN, "call_type": "Phone"},
        "receiver": {"name": "Bob", "number": BOB, "call_type": "Phone"},
    }));
    order["meeting"] = more;
    order
}

/// Posts an order: the answer, and where the meeting stands.
async fn ordered(shop: &Application, order: &Value) -> (Value, String) {
    let answer = shop.client.post("/api/v1/meetings", order).await.expect(200);
    let path = format!("/v1/meetings/{}", answer["meeting_id"]);
    (answer, path)
}

/// The phones of Ann and Bob, which answer by themselves; each says a tone, if any.
async fn phones(dev: &Tenant<'_>, folder: &std::path::Path, hertz: Option<[f64; 2]>) -> [Baresip; 2] {
    dev.number(POOL, "meetings").await;
    let mut phones = Vec::new();
    for (index, (number, extension)) in [(ANN, ANNS_EXTENSION), (BOB, BOBS_EXTENSION)].into_iter().enumerate() {
        let account = dev.phone(extension).await.answering();
        let account = match hertz {
            Some(hertz) => account.speaking(tone_file(folder, hertz[index])),
            None => account,
        };
        dev.number(number, &format!("person:{extension}")).await;
        phones.push(Baresip::start(account).await);
    }
    phones.try_into().unwrap_or_else(|_| panic!("two phones"))
}

/// Of everything that a phone heard, when the warning began, in seconds from its answer on.
async fn warned_at(phone: &Baresip) -> Vec<f64> {
    let mut warned = Vec::new();
    for (at_s, said) in phone.heard().utterances(2.0) {
        let words = said.words().await;
        if words_understood(WARNING, &words) >= 0.6 {
            warned.push(at_s);
        }
    }
    warned
}

#[tokio::test(flavor = "multi_thread")]
async fn both_phones_hear_the_end_come_near_again_after_an_extension_and_are_hung_up() {
    // Minutes pass in no time here: a line that is silent meanwhile is none that was lost.
    let patient = Plan::new().with(|config| config.media.timeout_seconds = 100_000);
    let server = patient.at(START_MS).start().await;
    let dev = server.org("dev").await;
    let folder = tempfile::tempdir().unwrap();
    let [mut ann, mut bob] = phones(&dev, folder.path(), None).await;
    let shop = Application::of(&dev, &server, "Shop", &[("number_pool", POOL), ("talk_warning_s", "50")]).await;
    let (_, path) = ordered(&shop, &meeting(json!({"order_id": "551", "duration_seconds": 60}))).await;
    shop.client.post(&format!("{path}/call"), &json!({})).await.expect(200);
    ann.expect("CALL_ESTABLISHED").await;
    bob.expect("CALL_ESTABLISHED").await;
    let until = async |state: &str| shop.client.until(&path, state, |meeting| meeting["state"] == state).await;
    until("live").await;
    let turn_to = |second: i64, earlier_ms: i64| server.clock().set(START_MS + second * SECOND_MS - earlier_ms);

    // Fifty seconds before the end of a minute, and not a moment earlier.
    turn_to(10, 1);
    sleep(QUIET).await;
    turn_to(10, 0);
    sleep(SPOKEN).await;
    // A minute more moves the end and the warning.
    let extended = shop.client.post(&format!("{path}/extend"), &json!({"seconds": 60})).await.expect(200);
    assert_eq!(extended["extended_seconds"], 60, "{extended}");
    turn_to(70, 1);
    sleep(QUIET).await;
    until("live").await;
    turn_to(70, 0);
    sleep(SPOKEN).await;
    turn_to(120, 1);
    sleep(Duration::from_secs(1)).await;
    until("live").await;
    turn_to(120, 0);
    ann.expect("CALL_CLOSED").await;
    bob.expect("CALL_CLOSED").await;
    let over = until("ended").await;
    assert_eq!((&over["cause"], &over["talked_seconds"]), (&json!("completed"), &json!(120)), "{over}");

    sleep(Duration::from_millis(300)).await;
    for (phone, name) in [(&ann, "Ann"), (&bob, "Bob")] {
        let warned = warned_at(phone).await;
        let [first, second] = warned[..] else {
            let said = phone.heard().utterances(2.0);
            panic!("{name} was warned {} times: {:?}", warned.len(), said.iter().map(|(at, _)| at).collect::<Vec<_>>())
        };
        let quiet = QUIET.as_secs_f64() - 1.0;
        assert!(first > quiet && second - first > quiet, "{name} was warned at {first} s and {second} s");
    }
    let events = dev.client().get("/v1/events?limit=500").await.expect(200);
    let events = events["events"].as_array().unwrap();
    let told: Vec<&str> = events.iter().filter_map(|event| event["type"].as_str()?.strip_prefix("meeting.")).collect();
    assert_eq!(told, ["scheduled", "opened", "connecting", "live", "extended", "ended"]);
    let ended = events.iter().find(|event| event["type"] == "meeting.ended").unwrap();
    assert_eq!(ended["data"]["cause"], "completed", "{ended}");
    server.stop().await;
}

/// Waits until the two talk, lets them, and finishes the meeting.
async fn talk_and_finish(shop: &Application, path: &str) {
    shop.client.until(path, "the two talk", |meeting| meeting["state"] == "live").await;
    sleep(Duration::from_secs(3)).await;
    shop.client.post(&format!("{path}/finish"), &json!({})).await.expect(200);
}

/// Asserts that a phone was shown the pool's number, and none of these.
fn assert_masked(phone: &Baresip, others: &[&str]) {
    // Every SIP message that it was sent stands in its log.
    let log = phone.log();
    assert!(log.contains(digits(POOL)), "the pool's number is shown: {log}");
    for other in others {
        assert!(!log.contains(digits(other)), "{other} is not: {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_calls_back_from_the_own_phone_is_connected_without_a_pin() {
    let server = Server::start().await;
    let dev = server.org("dev").await;
    let folder = tempfile::tempdir().unwrap();
    let [mut ann, mut bob] = phones(&dev, folder.path(), Some([ANNS_HERTZ, BOBS_HERTZ])).await;
    let shop = Application::of(&dev, &server, "Shop", &[("number_pool", POOL)]).await;
    let (answer, path) = ordered(&shop, &meeting(json!({"order_id": "551", "duration": 9}))).await;
    assert_eq!(answer["dial_in"], POOL, "{answer}");

    bob.dial(answer["dial_in"].as_str().unwrap()).await;
    ann.expect("CALL_ESTABLISHED").await;
    talk_and_finish(&shop, &path).await;
    ann.expect("CALL_CLOSED").await;
    bob.expect("CALL_CLOSED").await;
    sleep(Duration::from_millis(300)).await;
    let (by_ann, by_bob) = (ann.heard().seconds_of(BOBS_HERTZ), bob.heard().seconds_of(ANNS_HERTZ));
    assert!(by_ann > 2.0 && by_bob > 2.0, "Ann heard Bob for {by_ann} s, Bob heard Ann for {by_bob} s");
    assert_masked(&ann, &[BOB, BOBS_EXTENSION]);
    assert_masked(&bob, &[ANN, ANNS_EXTENSION]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_calls_from_a_foreign_phone_enters_a_pin_by_its_keys_and_the_other_is_rung() {
    let server = Server::start().await;
    let dev = server.org("dev").await;
    let folder = tempfile::tempdir().unwrap();
    let [ann, mut bob] = phones(&dev, folder.path(), Some([ANNS_HERTZ, BOBS_HERTZ])).await;
    let carols = dev.phone(CAROLS_EXTENSION).await.speaking(tone_file(folder.path(), CAROLS_HERTZ));
    let mut carol = Baresip::start(carols).await;
    let shop = Application::of(&dev, &server, "Shop", &[("number_pool", POOL)]).await;
    let (answer, path) = ordered(&shop, &meeting(json!({"order_id": "551", "duration": 9}))).await;

    carol.dial(POOL).await;
    carol.expect("CALL_ESTABLISHED").await;
    // Into the middle of the words that ask for it.
    sleep(Duration::from_millis(500)).await;
    let pin = answer["pin"].as_str().unwrap();
    carol.press(pin).await;
    bob.expect("CALL_ESTABLISHED").await;
    talk_and_finish(&shop, &path).await;
    carol.expect("CALL_CLOSED").await;
    bob.expect("CALL_CLOSED").await;
    sleep(Duration::from_millis(300)).await;
    let (by_carol, by_bob) = (carol.heard().seconds_of(BOBS_HERTZ), bob.heard().seconds_of(CAROLS_HERTZ));
    assert!(by_carol > 2.0 && by_bob > 2.0, "Carol heard Bob for {by_carol} s, Bob heard Carol for {by_bob} s");
    let log = carol.log();
    assert!(log.contains("telephone-event") && !log.contains("INFO sip:"), "the keys are RFC 4733: {log}");
    assert!(!ann.log().contains("INVITE sip:"), "Ann's phone is not rung: {}", ann.log());
    assert_masked(&carol, &[BOB, BOBS_EXTENSION, ANN, ANNS_EXTENSION]);
    assert_masked(&bob, &[ANN, ANNS_EXTENSION, CAROLS_EXTENSION]);
    let events = dev.client().get("/v1/events?limit=500").await.text;
    for secret in [pin, digits(ANN), digits(BOB), ANNS_EXTENSION, BOBS_EXTENSION, CAROLS_EXTENSION] {
        assert!(!events.contains(secret), "{secret} stands in {events}");
    }
    server.stop().await;
}
