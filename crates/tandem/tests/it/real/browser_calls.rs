//! What happens to calls of the browser phone: a page that is loaded anew, a server out of reach, a transfer, a refusal.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::harness::baresip::Baresip;
use crate::harness::ear::{pulses_file, tone_file};
use crate::harness::relay::Wire;
use crate::harness::server::{Server, Tenant};
use crate::harness::web_phone::WebPhone;

/// What phones say.
const FIRST_HERTZ: f64 = 1_300.0;
const SECOND_HERTZ: f64 = 1_000.0;

/// A phone that answers and says a tone.
async fn speaker(acme: &Tenant<'_>, extension: &str, folder: &Path, hertz: f64) -> Baresip {
    Baresip::start(acme.phone(extension).await.answering().speaking(tone_file(folder, hertz))).await
}

/// The phone hears a tone for some seconds.
async fn hears(phone: &mut WebPhone, hertz: f64) {
    phone.listen().await;
    sleep(Duration::from_secs(3)).await;
    let heard = phone.heard().await;
    assert!(heard.seconds_of(hertz) > 1.5, "{} s of {}", heard.seconds_of(hertz), heard.seconds());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_outlives_its_page() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let folder = tempfile::tempdir().unwrap();
    let mut other = speaker(&acme, "1002", folder.path(), SECOND_HERTZ).await;
    let mut phone = WebPhone::online(&server, &acme.caller("1001").await, json!({})).await;
    phone.call("1002").await;
    phone.until_it_is_heard().await;
    phone.ask("reload", json!({})).await;
    phone.until("offline, for it is a new page", |view| view["online"] == false).await;
    phone.until_it_is_heard().await;
    hears(&mut phone, SECOND_HERTZ).await;
    phone.click("Hang up").await;
    other.expect("CALL_CLOSED").await;
    let calls = acme.client().get("/v1/calls").await.expect(200);
    assert_eq!(calls["calls"].as_array().unwrap().len(), 1, "one call all the time: {calls}");
    phone.finish(&[]).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_server_cannot_be_told_anything_the_call_goes_on() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let folder = tempfile::tempdir().unwrap();
    let mut other = speaker(&acme, "1002", folder.path(), SECOND_HERTZ).await;
    let wire = Wire::to(server.app.http()).await;
    let behind = json!({"url": format!("http://{}", wire.address)});
    let mut phone = WebPhone::online(&server, &acme.caller("1001").await, behind).await;
    phone.call("1002").await;
    phone.until_it_is_heard().await;
    wire.cut(true);
    phone.until("offline", |view| view["online"] == false).await;
    assert!(phone.text().await.contains("The connection to the server is lost. Trying again"));
    hears(&mut phone, SECOND_HERTZ).await;
    wire.cut(false);
    let view = phone.until("online again", |view| view["online"] == true).await;
    assert_eq!(view["calls"][0]["state"], "up");
    hears(&mut phone, SECOND_HERTZ).await;
    phone.click("Hang up").await;
    other.expect("CALL_CLOSED").await;
    phone.finish(&["WebSocket connection to"]).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_microphone_is_taken_in_the_middle_of_a_call() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let folder = tempfile::tempdir().unwrap();
    let mut other = Baresip::start(acme.phone("1002").await.answering()).await;
    let speaking = json!({"microphone": pulses_file(folder.path(), FIRST_HERTZ)});
    let mut phone = WebPhone::online(&server, &acme.caller("1001").await, speaking).await;
    phone.call("1002").await;
    phone.until_it_is_heard().await;
    sleep(Duration::from_secs(2)).await;
    let before = phone.ask("microphone", json!({})).await;
    phone.ask("choose", json!({"label": "Microphone", "index": 2})).await;
    sleep(Duration::from_secs(4)).await;
    let after = phone.ask("microphone", json!({})).await;
    assert!(before != after && after != "", "{before} and then {after}");
    phone.click("Hang up").await;
    other.expect("CALL_CLOSED").await;
    sleep(Duration::from_millis(300)).await;
    let heard = other.heard();
    let last = heard.part(heard.seconds() - 3.0..heard.seconds());
    assert!(last.seconds_of(FIRST_HERTZ) > 0.7, "{} s by the second one", last.seconds_of(FIRST_HERTZ));
    phone.finish(&[]).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_comes_from_the_speaker_that_was_chosen() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let folder = tempfile::tempdir().unwrap();
    let mut other = speaker(&acme, "1002", folder.path(), SECOND_HERTZ).await;
    let mut phone = WebPhone::online(&server, &acme.caller("1001").await, json!({})).await;
    phone.call("1002").await;
    phone.until_it_is_heard().await;
    assert_eq!(phone.ask("speaker", json!({})).await, json!({"sink": "", "label": "As the system prefers"}));
    phone.ask("choose", json!({"label": "Speaker", "index": 2})).await;
    let chosen = phone.ask("speaker", json!({})).await;
    assert!(chosen["sink"] != "" && chosen["label"].as_str().unwrap().contains("Fake"), "{chosen}");
    hears(&mut phone, SECOND_HERTZ).await;
    phone.click("Hang up").await;
    other.expect("CALL_CLOSED").await;
    // The choice is kept for the next time.
    phone.ask("reload", json!({})).await;
    phone.until("online again", |view| view["online"] == true && view["calls"] == json!([])).await;
    assert_eq!(phone.ask("speaker", json!({})).await, chosen);
    phone.finish(&[]).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_call_waits_is_taken_and_the_first_goes_on_afterwards() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let folder = tempfile::tempdir().unwrap();
    let mut first = speaker(&acme, "1002", folder.path(), FIRST_HERTZ).await;
    let mut second = speaker(&acme, "1003", folder.path(), SECOND_HERTZ).await;
    let mut phone = WebPhone::online(&server, &acme.caller("1001").await, json!({})).await;
    first.dial("1001").await;
    phone.take_call().await;
    second.dial("1001").await;
    let two = phone.until("a second call", |view| view["calls"][1]["state"] == "incoming").await;
    assert_eq!((&two["calls"][0]["state"], &two["calls"][0]["held"]), (&json!("up"), &json!(false)));
    assert_eq!(two["calls"][1]["number"], "1003");
    hears(&mut phone, FIRST_HERTZ).await;
    phone.click("Answer").await;
    let is_second = |view: &Value| {
        view["calls"][0]["held"] == true && view["calls"][1]["state"] == "up" && view["calls"][1]["sound"] == "now"
    };
    phone.until("the first on hold, the second up", is_second).await;
    hears(&mut phone, SECOND_HERTZ).await;
    second.hang_up().await;
    phone.until("the end of the second", |view| view["calls"][1]["state"] == "ended").await;
    phone.click("Resume").await;
    phone.until("the first again", |view| view["calls"][0]["held"] == false).await;
    hears(&mut phone, FIRST_HERTZ).await;
    phone.click("Hang up").await;
    first.expect("CALL_CLOSED").await;
    phone.finish(&[]).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_call_that_could_not_begin_the_next_one_can() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let mut phone = WebPhone::online(&server, &acme.caller("1001").await, json!({})).await;
    let broken = "globalThis.offers = RTCPeerConnection.prototype.createOffer;
        RTCPeerConnection.prototype.createOffer = () => Promise.reject(new Error('out of order'));";
    phone.ask("run", json!({ "script": broken })).await;
    phone.call("1002").await;
    let reason = phone.until_call("ended").await["reason"].clone();
    assert_eq!(reason, "The browser could not begin the call: Error: out of order");
    phone.click("Dismiss").await;
    phone.until("no call", |view| view["calls"] == json!([])).await;
    let mended = "RTCPeerConnection.prototype.createOffer = globalThis.offers;";
    phone.ask("run", json!({ "script": mended })).await;
    phone.call("1002").await;
    assert_eq!(phone.until_call("ended").await["reason"], "That is no number that can be called.");
    phone.finish(&[]).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_transfers_its_caller() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let folder = tempfile::tempdir().unwrap();
    let mut caller = speaker(&acme, "1002", folder.path(), FIRST_HERTZ).await;
    let mut third = speaker(&acme, "1003", folder.path(), SECOND_HERTZ).await;
    let mut phone = WebPhone::online(&server, &acme.caller("1001").await, json!({})).await;
    caller.dial("1001").await;
    phone.take_call().await;
    hears(&mut phone, FIRST_HERTZ).await;
    phone.click("Transfer").await;
    phone.ask("fill", json!({"label": "Transfer to", "text": "1003"})).await;
    phone.ask("submit", json!({"label": "Transfer to"})).await;
    third.expect("CALL_ESTABLISHED").await;
    phone.until_call("ended").await;
    sleep(Duration::from_secs(3)).await;
    caller.hang_up().await;
    third.expect("CALL_CLOSED").await;
    sleep(Duration::from_millis(300)).await;
    assert!(third.heard().seconds_of(FIRST_HERTZ) > 1.5, "{} s", third.heard().seconds_of(FIRST_HERTZ));
    phone.finish(&[]).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_declines_and_is_told_why_others_do_not_answer() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let mut caller = Baresip::start(acme.phone("1002").await).await;
    let mut phone = WebPhone::online(&server, &acme.caller("1001").await, json!({})).await;
    caller.dial("1001").await;
    phone.until_call("incoming").await;
    phone.click("Decline").await;
    assert_eq!(phone.until_call("ended").await["reason"], "You declined the call.");
    caller.expect("CALL_CLOSED").await;
    phone.click("Dismiss").await;
    phone.until("no call", |view| view["calls"] == json!([])).await;

    phone.call("1002").await;
    caller.expect("CALL_INCOMING").await;
    phone.until_call("ringing").await;
    caller.hang_up().await;
    let reason = phone.until_call("ended").await["reason"].clone();
    assert!(
        ["The call was declined.", "The other phone is busy."].map(|text| json!(text)).contains(&reason),
        "{reason}"
    );
    phone.click("Dismiss").await;
    phone.until("no call", |view| view["calls"] == json!([])).await;
    phone.call("7777").await;
    let reason = phone.until_call("ended").await["reason"].clone();
    assert!(reason.as_str().unwrap().len() > 10, "{reason}");
    phone.finish(&[]).await;
    server.stop().await;
}
