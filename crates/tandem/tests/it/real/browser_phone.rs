//! The browser phone in Chromium, as a person uses it: calls, keys, mute, hold, a network that fails, no microphone.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use kernel::sign_in::Identity;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::steps::{Run, of};
use crate::harness::baresip::Baresip;
use crate::harness::browser::Browser;
use crate::harness::client::Client;
use crate::harness::ear::{pulses_file, tone_file, words_understood};
use crate::harness::phone::free_ports;
use crate::harness::relay::Relay;
use crate::harness::server::{Plan, Server, Tenant};
use crate::harness::web_phone::WebPhone;

/// What the server says to a browser, and the share of its words that must be understood.
const SENTENCE: &str = "please leave a message after the tone";
const UNDERSTOOD: f64 = 0.7;
/// What phones say.
const FIRST_HERTZ: f64 = 1_300.0;
const SECOND_HERTZ: f64 = 1_000.0;

fn speaking(folder: &Path, hertz: f64) -> Value {
    json!({"microphone": pulses_file(folder, hertz)})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_is_heard_in_the_browser_and_its_twelve_keys_arrive() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let mut phone = WebPhone::online(&server, &acme.caller("1001").await, json!({})).await;
    let run = Run::begin(
        &acme.client(),
        json!([
            {"id": 1, "type": "pause", "seconds": 2, "next_step": 2},
            {"id": 2, "type": "play", "text": SENTENCE, "next_step": 3},
            {"id": 3, "type": "digits", "count": 12, "finish_on_key": "", "timeout": 20, "next_step": 4},
            {"id": 4, "type": "pause", "seconds": 1},
        ]),
    )
    .await;
    phone.take_call().await;
    phone.listen().await;
    run.reaches("3").await;
    let words = phone.heard().await.words().await;
    assert!(words_understood(SENTENCE, &words) >= UNDERSTOOD, "{words:?}");
    phone.press("1234567890*#").await;
    let events = run.events().await;
    let keys: String = of(&events, "dtmf").iter().map(|event| event["data"]["digit"].as_str().unwrap()).collect();
    assert_eq!(keys, "1234567890*#");
    let ended = phone.until_call("ended").await;
    assert_eq!(ended["reason"], "The call has ended.");
    phone.finish(&[]).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_calls_a_phone_mutes_and_holds() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let folder = tempfile::tempdir().unwrap();
    let other = acme.phone("1002").await.answering().speaking(tone_file(folder.path(), SECOND_HERTZ));
    let mut other = Baresip::start(other).await;
    let token = acme.caller("1001").await;
    let mut phone = WebPhone::online(&server, &token, speaking(folder.path(), FIRST_HERTZ)).await;
    phone.call("1002").await;
    phone.until_it_is_heard().await;
    phone.listen().await;
    sleep(Duration::from_secs(3)).await;
    phone.click("Mute").await;
    phone.until_it_has("muted", &json!(true)).await;
    sleep(Duration::from_secs(3)).await;
    let heard = phone.heard().await;
    assert!(heard.seconds_of(SECOND_HERTZ) > 4.0, "the other phone is heard: {} s", heard.seconds_of(SECOND_HERTZ));
    phone.click("Unmute").await;
    sleep(Duration::from_secs(1)).await;
    phone.click("Hold").await;
    phone.until_it_has("held", &json!(true)).await;
    sleep(Duration::from_secs(3)).await;
    phone.click("Resume").await;
    phone.until_it_has("held", &json!(false)).await;
    sleep(Duration::from_secs(2)).await;
    phone.click("Hang up").await;
    other.expect("CALL_CLOSED").await;
    sleep(Duration::from_millis(300)).await;

    // 3 s of pulses, 3 s mute, 1 s of pulses, 3 s of music, 2 s of pulses; half of a pulse is silence.
    let heard = other.heard();
    let pulses = |from: f64, to: f64| heard.part(from..to).seconds_of(FIRST_HERTZ);
    assert!(pulses(0.5, 2.8) > 0.5, "heard: {} s", pulses(0.5, 2.8));
    assert!(pulses(3.7, 5.8) < 0.2, "muted: {} s", pulses(3.7, 5.8));
    assert!(heard.part(3.7..5.8).rms() < 100.0, "muted: {}", heard.part(3.7..5.8).rms());
    assert!(pulses(8.0, 9.6) < 0.2 && heard.part(8.0..9.6).rms() > 100.0, "music: {}", heard.part(8.0..9.6).rms());
    assert!(pulses(10.8, 12.2) > 0.3, "again: {} s", pulses(10.8, 12.2));
    phone.finish(&[]).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_browsers_talk_to_each_other() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (acme.caller("1001").await, acme.caller("1002").await);
    let mut first = WebPhone::online(&server, &first, speaking(folder.path(), FIRST_HERTZ)).await;
    let mut second = WebPhone::online(&server, &second, speaking(folder.path(), SECOND_HERTZ)).await;
    first.call("1002").await;
    second.take_call().await;
    first.until_it_is_heard().await;
    first.listen().await;
    second.listen().await;
    sleep(Duration::from_secs(5)).await;
    let (by_first, by_second) = (first.heard().await, second.heard().await);
    assert!(by_first.seconds_of(SECOND_HERTZ) > 1.0, "{} s", by_first.seconds_of(SECOND_HERTZ));
    assert!(by_second.seconds_of(FIRST_HERTZ) > 1.0, "{} s", by_second.seconds_of(FIRST_HERTZ));
    second.click("Hang up").await;
    assert_eq!(first.until_call("ended").await["reason"], "The call has ended.");
    first.finish(&[]).await;
    second.finish(&[]).await;
    server.stop().await;
}

/// A server whose media a relay can cut off.
async fn behind_a_relay() -> (Server, Relay) {
    let media = SocketAddr::from(([127, 0, 0, 1], free_ports()));
    let plan = Plan::new().with(|config| {
        config.rtc = vec![media];
        config.media.threads = 1;
    });
    (plan.start().await, Relay::to(media).await)
}

/// A call of a browser's behind the relay to a phone that says a tone, heard.
async fn talking(server: &Server, relay: &Relay, folder: &Path) -> (WebPhone, Baresip, Client) {
    let acme = server.org("acme").await;
    let other = acme.phone("1002").await.answering().speaking(tone_file(folder, SECOND_HERTZ));
    let other = Baresip::start(other).await;
    let token = acme.caller("1001").await;
    let mut phone = WebPhone::online(server, &token, json!({"relay": relay.port})).await;
    phone.call("1002").await;
    phone.until_it_is_heard().await;
    phone.listen().await;
    sleep(Duration::from_secs(2)).await;
    let heard = phone.heard().await;
    assert!(heard.seconds_of(SECOND_HERTZ) > 1.0, "{} s", heard.seconds_of(SECOND_HERTZ));
    (phone, other, acme.client())
}

#[tokio::test(flavor = "multi_thread")]
async fn after_ten_seconds_without_network_sound_is_back_within_five() {
    let (server, relay) = behind_a_relay().await;
    let folder = tempfile::tempdir().unwrap();
    let (mut phone, other, _) = talking(&server, &relay, folder.path()).await;
    relay.cut(true);
    sleep(Duration::from_secs(10)).await;
    let silent = phone.heard().await;
    assert!(silent.part(2.0..silent.seconds()).seconds_of(SECOND_HERTZ) < 0.2, "nothing came through");
    assert!(phone.text().await.contains("Looking for a way"));
    relay.cut(false);
    sleep(Duration::from_secs(5)).await;
    phone.heard().await;
    sleep(Duration::from_secs(2)).await;
    let heard = phone.heard().await;
    assert!(heard.seconds_of(SECOND_HERTZ) > 1.5, "{} s", heard.seconds_of(SECOND_HERTZ));
    phone.click("Hang up").await;
    phone.finish(&[]).await;
    drop(other);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_forty_seconds_without_network_the_call_is_over_and_the_page_says_why() {
    let (server, relay) = behind_a_relay().await;
    let folder = tempfile::tempdir().unwrap();
    let (mut phone, mut other, client) = talking(&server, &relay, folder.path()).await;
    relay.cut(true);
    sleep(Duration::from_secs(40)).await;
    let ended = phone.until_call("ended").await;
    assert_eq!(ended["reason"], "The connection was lost: no sound came through for too long.");
    assert!(phone.text().await.contains("no sound came through for too long"));
    other.expect("CALL_CLOSED").await;
    let calls = client.until("/v1/calls", "its end", |list| list["calls"][0]["state"] == "completed").await;
    assert_eq!(calls["calls"][0]["cause"], "media_timeout");
    phone.finish(&[]).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_microphone_is_told_why() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let token = acme.caller("1001").await;
    let open = format!("http://phone.example:{}", server.app.http().port());
    for (more, said) in [
        (json!({"microphone": "refused"}), "The microphone is blocked for this page."),
        (json!({"microphone": "none"}), "No microphone was found."),
        (json!({"url": open, "host": "phone.example"}), "This page came without encryption"),
    ] {
        let mut phone = WebPhone::online(&server, &token, more).await;
        phone.call("1002").await;
        let problem = phone.ask("problem", json!({})).await;
        assert!(problem.as_str().unwrap().starts_with(said), "{problem}");
        phone.finish(&[]).await;
    }
    server.stop().await;
}

/// The task of a script that signs in as a new person with an extension; the person.
async fn signing_in(server: &Server, acme: &Tenant<'_>) -> (Value, String) {
    let token = acme.caller("1001").await;
    let credential = server.app.kernel.authenticate(&token).await.unwrap().unwrap();
    let person = credential.principal.person().unwrap().to_string();
    let whose = Identity::Person { org: acme.org.id.clone(), person: person.clone() };
    let link = server.app.kernel.create_link(&whose).await.unwrap();
    let url = format!("http://{}", server.app.http());
    (json!({"url": url, "link": format!("/console/link/{}", link.expose())}), person)
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_signed_out_is_told_so_and_how_to_come_back() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let (task, person) = signing_in(&server, &acme).await;
    let mut page = Browser::start("signed_out", &task);
    page.expect("the phone", |event| event["event"] == "ready").await;
    for session in server.app.kernel.sessions(&acme.org.id, &person).await.unwrap() {
        server.app.kernel.revoke_session(&acme.org.id, &session.id).await.unwrap();
    }
    let told = page.expect("the sign-out", |event| event["event"] == "signed_out").await;
    assert_eq!(told["problem"], "You are signed out. Sign in again", "{told}");
    assert_eq!(told["again"], 0, "it does not try for ever: {told}");
    assert!(told["url"].as_str().unwrap().ends_with("/console/sign-in?next=%2Fphone"), "{told}");
    page.expect_no_complaints(&[]);
    page.finish().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn its_page_connects_by_the_session_and_is_fit_for_everybody() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let (task, _) = signing_in(&server, &acme).await;
    let mut page = Browser::start("phone_page", &task);
    let walked = page.expect("the walk", |event| event["event"] == "walked").await;
    assert!(walked["text"].as_str().unwrap().contains("1001"), "{walked}");
    for seen in walked["seen"].as_array().unwrap() {
        assert_eq!((&seen["over"], &seen["found"]), (&json!(0), &json!([])), "at {} px", seen["width"]);
    }
    page.expect_no_complaints(&[]);
    page.finish().await;
    server.stop().await;
}
