//! A meeting of a phone and a page: the page calls, both hear each other, and neither is sent the other's number.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::harness::baresip::Baresip;
use crate::harness::ear::{pulses_file, tone_file};
use crate::harness::meeting::Application;
use crate::harness::server::{Server, Tenant};
use crate::harness::visitor::Visitor;

/// The number that both see, and the two's own.
const POOL: &str = "+442071838750";
const ANN: &str = "+442071838761";
const TOM: &str = "+442071838772";
/// Where Tom's phone is registered: digits that come by chance nowhere else.
const TOMS_EXTENSION: &str = "7351946";
/// And Ann's.
const ANNS_EXTENSION: &str = "8462057";
/// What they say.
const ANN_HERTZ: f64 = 1_300.0;
const TOM_HERTZ: f64 = 1_000.0;

/// The digits of a number, as they would stand in a message.
fn digits(number: &str) -> &str {
    number.trim_start_matches('+')
}

/// The names of all files below a folder.
fn file_names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let names = entries.map(|path| if path.is_dir() { file_names(&path) } else { vec![path.display().to_string()] });
    names.flatten().collect()
}

/// What is kept of a meeting and its only call: its events, the call, its recordings, the names of the server's files.
pub(super) async fn kept_of(server: &Server, dev: &Tenant<'_>, meeting: &Value) -> [String; 4] {
    let client = dev.client();
    let call = meeting["calls"][0].as_str().unwrap();
    let path = format!("/v1/calls/{call}/recordings");
    let is_ready = |page: &Value| page["recordings"][0]["state"] == "ready";
    let recordings = client.until(&path, "the recording is ready", is_ready).await;
    let events = client.get("/v1/events?limit=500").await.expect(200);
    let keys = [meeting["id"].to_string(), call.to_owned()];
    let is_own = |event: &&Value| keys.iter().any(|key| event["key"] == key.as_str());
    let events: Vec<&Value> = events["events"].as_array().unwrap().iter().filter(is_own).collect();
    let told = |kind: &str| events.iter().any(|event| event["type"] == kind);
    assert!(told("meeting.live") && told("call.completed") && told("recording.ready"), "{events:#?}");
    let call = client.get(&format!("/v1/calls/{call}")).await.expect(200);
    let files = file_names(&server.app.kernel.config.data);
    let recording = recordings["recordings"][0]["id"].as_str().unwrap();
    assert!(files.iter().any(|file| file.contains(recording)), "{files:?}");
    [json!(events).to_string(), call.to_string(), recordings.to_string(), files.concat()]
}

/// Asserts that of everything that a page was sent, by every way, nothing holds one of these. That it was looked at is
/// seen by the `other`'s name.
async fn assert_page_is_masked(page: &mut Visitor, other: &str, numbers: &[&str]) {
    let got = page.got().await;
    for (way, sign) in [("frames", "v=0"), ("events", "{}"), ("answers", other), ("page", other)] {
        let text: String = got[way].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert!(text.contains(sign), "{way}: {text}");
        for number in numbers.iter().map(|number| digits(number)) {
            assert!(!text.contains(number), "{number} is in the {way}: {text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_and_a_phone_hear_each_other_and_learn_no_number() {
    let server = Server::start().await;
    let dev = server.org("dev").await;
    dev.number(POOL, "meetings").await;
    let folder = tempfile::tempdir().unwrap();
    let toms = dev.phone(TOMS_EXTENSION).await.answering().speaking(tone_file(folder.path(), TOM_HERTZ));
    dev.number(TOM, &format!("person:{TOMS_EXTENSION}")).await;
    let mut tom = Baresip::start(toms).await;
    let shop = Application::of(&dev, &server, "Shop", &[("number_pool", POOL), ("record", "true")]).await;
    let parties = json!({"caller": {"number": ANN}, "receiver": {"number": TOM, "call_type": "Phone"}});
    let ordered = shop.orders(parties).await;
    let microphone = json!({"microphone": pulses_file(folder.path(), ANN_HERTZ)});
    let mut ann = Visitor::enter(&server, &ordered.caller, microphone).await;

    ann.press("Call Tommy Lee").await;
    tom.expect("CALL_ESTABLISHED").await;
    ann.until_it_is_heard().await;
    ann.see("text=You are talking").await;
    ann.listen().await;
    // Words that the call is recorded come between.
    let (mut by_ann, mut waits) = (0.0, 0);
    while by_ann < 1.0 || waits < 5 {
        assert!(waits < 20, "Ann heard Tom for {by_ann} s");
        sleep(Duration::from_secs(1)).await;
        by_ann += ann.heard().await.seconds_of(TOM_HERTZ);
        waits += 1;
    }
    ann.unfold("End the meeting").await;
    ann.press("End it now").await;
    tom.expect("CALL_CLOSED").await;
    ann.see("text=Ended: you talked for less than a minute").await;
    sleep(Duration::from_millis(300)).await;
    let by_tom = tom.heard();
    assert!(by_tom.seconds_of(ANN_HERTZ) > 1.0, "Tom heard Ann for {} s", by_tom.seconds_of(ANN_HERTZ));

    assert_page_is_masked(&mut ann, "Tommy Lee", &[TOM, TOMS_EXTENSION]).await;
    let log = tom.log();
    assert!(log.contains(digits(POOL)) && !log.contains(digits(ANN)), "{log}");
    let meeting = shop.client.get(&format!("/v1/meetings/{}", ordered.id)).await.expect(200);
    for kept in kept_of(&server, &dev, &meeting).await {
        for number in [digits(ANN), digits(TOM), TOMS_EXTENSION] {
            assert!(!kept.contains(number), "{number} is in {kept}");
        }
    }
    ann.finish(&[]).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_that_calls_the_number_rings_the_page_of_the_other() {
    let server = Server::start().await;
    let dev = server.org("dev").await;
    dev.number(POOL, "meetings").await;
    let folder = tempfile::tempdir().unwrap();
    let anns = dev.phone(ANNS_EXTENSION).await.speaking(tone_file(folder.path(), ANN_HERTZ));
    dev.number(ANN, &format!("person:{ANNS_EXTENSION}")).await;
    let mut ann = Baresip::start(anns).await;
    let shop = Application::of(&dev, &server, "Shop", &[("number_pool", POOL)]).await;
    let parties = json!({"caller": {"number": ANN, "call_type": "Phone"}, "receiver": {"number": TOM}});
    let ordered = shop.orders(parties).await;
    let microphone = json!({"microphone": pulses_file(folder.path(), TOM_HERTZ)});
    let mut tom = Visitor::enter(&server, &ordered.receiver, microphone).await;

    ann.dial(POOL).await;
    tom.see("text=Ann Carter is calling you").await;
    tom.press("Answer").await;
    tom.until_it_is_heard().await;
    tom.see("text=You are talking").await;
    ann.expect("CALL_ESTABLISHED").await;
    tom.listen().await;
    sleep(Duration::from_secs(4)).await;
    let by_tom = tom.heard().await.seconds_of(ANN_HERTZ);
    ann.hang_up().await;
    // A phone that was hung up is no end: either may call again.
    tom.see("text=The call has ended. You can call again").await;
    sleep(Duration::from_millis(300)).await;
    let by_ann = ann.heard().seconds_of(TOM_HERTZ);
    assert!(by_tom > 1.0 && by_ann > 1.0, "Tom heard Ann for {by_tom} s, Ann heard Tom for {by_ann} s");

    assert_page_is_masked(&mut tom, "Ann Carter", &[ANN, ANNS_EXTENSION]).await;
    let log = ann.log();
    assert!(log.contains(digits(POOL)) && !log.contains(digits(TOM)), "{log}");
    tom.finish(&[]).await;
    server.stop().await;
}
