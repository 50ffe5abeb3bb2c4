//! The page of a party in Chromium: fit for everybody at every width, light and dark; and two people who talk by it, each
//! in a window of their own.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::walk;
use crate::harness::ear::pulses_file;
use crate::harness::meeting::Application;
use crate::harness::server::Server;
use crate::harness::visitor::Visitor;

/// What the two say.
const ANN_HERTZ: f64 = 1_300.0;
const TOM_HERTZ: f64 = 1_000.0;
/// The calls of a page's phone that are not over, by whom they are with and what is said of them.
const CALLS: &str = "[...document.querySelector('tandem-phone').shadowRoot.querySelectorAll('li:not([data-state=ended])')] \
                     .map((call) => call.querySelector('strong').textContent + ': ' + call.querySelector('.state').textContent)";

fn speaking(folder: &Path, hertz: f64) -> Value {
    json!({"microphone": pulses_file(folder, hertz)})
}

/// A time of day in some hours from now, as an application writes it.
fn in_hours(server: &Server, hours: i64) -> String {
    kernel::time::rfc3339(server.app.kernel.clock.now_ms() + hours * 3_600_000)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_state_of_the_page_is_fit_for_everybody() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let shop = Application::of(&acme, &server, "Shop", &[("time_zone", "Asia/Tokyo")]).await;
    let later = |hours| json!({"meeting": {"order_id": format!("in {hours}"), "start_at": in_hours(&server, hours)}});
    let open = shop.orders(json!({})).await;
    shop.orders(later(2)).await;
    let moved = shop.orders(later(30)).await;
    let mut phone = later(5);
    phone["user"] = json!({"uid_receiver": "sue"});
    phone["receiver"] =
        json!({"name": "Sue-Ann Bartholomew-Featherstonehaugh of Upper Something", "call_type": "Browser"});
    phone["caller"] = json!({"number": "+41446681801", "call_type": "Phone"});
    shop.orders(phone).await;
    let over = shop.orders(json!({"meeting": {"order_id": "over"}})).await;
    shop.client.post(&format!("/v1/meetings/{}/finish", over.id), &json!({})).await.expect(200);
    let called_off = shop.orders(later(50)).await;
    shop.client.post(&format!("/v1/meetings/{}/cancel", called_off.id), &json!({})).await.expect(200);
    let tom = crate::harness::meeting::party(&server, &moved.receiver).await;
    let page = tom.get("/meetings").await.text;
    let mark = page.split("data-mark=\"").nth(1).unwrap().split('"').next().unwrap();
    let time = [("zone", "UTC"), ("start", "2099-01-01T12:00"), ("minutes", "45"), ("for", mark)];
    let too_far = tom.send(tom.post_page(&format!("/meetings/{}/propose", moved.id), &time)).await;
    assert_eq!(too_far.status, 409, "{}", too_far.text);
    let start = in_hours(&server, 40);
    let time = [("zone", "UTC"), ("start", &start[..16]), ("minutes", "45"), ("for", mark)];
    let asked = tom.send(tom.post_page(&format!("/meetings/{}/propose", moved.id), &time)).await;
    assert_eq!(asked.status, 303, "{}", asked.text);

    let nobody = shop.orders(json!({"user": {"uid_caller": "old", "uid_receiver": "new"}})).await;
    let page = |name: &str, path: &str, more: Value| {
        let mut page = json!({"name": name, "path": path});
        page.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        page
    };
    let way = |token: &str| format!("/sessions?acc_tok={token}");
    let live = json!({"shows": "body.is-live"});
    let visitors = [
        json!({"enter": way(&open.caller), "pages": [
            page("meetings", "/meetings", live.clone()),
            page("meetings-done", "/meetings?done=proposed", live.clone()),
            page("meetings-none", "/meetings/999/calendar.ics", json!({"status": 404})),
        ]}),
        json!({"enter": way(&open.receiver), "pages": [page("meetings-other", "/meetings", live.clone())]}),
        json!({"enter": way(&nobody.caller), "pages": [page("meetings-one", "/meetings", live)]}),
        json!({"link": "", "pages": [page("meetings-signed-out", "/meetings", json!({"status": 401}))]}),
    ];
    walk::walk(&server, &visitors, true, Some(&walk::pictures())).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_talk_each_in_a_window_of_their_own() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let shop = Application::of(&acme, &server, "Shop", &[]).await;
    let ordered = shop.orders(json!({})).await;
    let folder = tempfile::tempdir().unwrap();
    let mut ann = Visitor::enter(&server, &ordered.caller, speaking(folder.path(), ANN_HERTZ)).await;
    let mut tom = Visitor::enter(&server, &ordered.receiver, speaking(folder.path(), TOM_HERTZ)).await;
    assert_eq!(ann.text(".state").await, "You can call now");
    ann.press("Call Tommy Lee").await;
    tom.see("text=Ann Carter is calling you").await;
    tom.press("Answer").await;
    ann.until_it_is_heard().await;
    tom.until_it_is_heard().await;
    ann.listen().await;
    tom.listen().await;
    for page in [&mut ann, &mut tom] {
        page.see("text=You are talking").await;
    }
    sleep(Duration::from_secs(5)).await;
    let (by_ann, by_tom) = (ann.heard().await, tom.heard().await);
    assert!(by_ann.seconds_of(TOM_HERTZ) > 1.0, "{} s", by_ann.seconds_of(TOM_HERTZ));
    assert!(by_tom.seconds_of(ANN_HERTZ) > 1.0, "{} s", by_tom.seconds_of(ANN_HERTZ));
    assert!(tom.text(".state").await.contains("minutes left"));

    // A line drops: either may call again, and the other way round too.
    ann.press("Hang up").await;
    for page in [&mut ann, &mut tom] {
        page.see("text=The call has ended. You can call again").await;
    }
    tom.press("Call Ann Carter").await;
    ann.see("text=Tommy Lee is calling you").await;
    ann.press("Answer").await;
    for page in [&mut ann, &mut tom] {
        page.see("text=You are talking").await;
    }
    tom.unfold("End the meeting").await;
    tom.press("End it now").await;
    for page in [&mut ann, &mut tom] {
        page.see("text=Ended: you talked for less than a minute").await;
    }
    ann.finish(&[]).await;
    tom.finish(&[]).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_called_while_talking_goes_from_one_to_the_other_and_back() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let shop = Application::of(&acme, &server, "Shop", &[]).await;
    let first = shop.orders(json!({})).await;
    let gwens = json!({"user": {"uid_caller": "gwen"}, "caller": {"name": "Gwen"}, "meeting": {"order_id": "gwens"}});
    let second = shop.orders(gwens).await;
    let folder = tempfile::tempdir().unwrap();
    let mut tom = Visitor::enter(&server, &first.receiver, speaking(folder.path(), TOM_HERTZ)).await;
    let mut ann = Visitor::enter(&server, &first.caller, json!({})).await;
    let mut gwen = Visitor::enter(&server, &second.caller, json!({})).await;

    // Who calls first waits, and is not asked to answer.
    tom.press("Call Ann Carter").await;
    tom.see("text=It begins as soon as Ann Carter answers.").await;
    tom.see("text=Ringing …").await;
    ann.press("Answer").await;
    tom.see("li .state:has-text('Connected')").await;
    let mut elsewhere = Visitor::enter(&server, &first.caller, json!({})).await;
    elsewhere.see("text=The call is in another window or on another device of yours.").await;
    elsewhere.finish(&[]).await;
    assert_eq!(ann.run("document.querySelector('[data-elsewhere]').hidden").await, true);

    gwen.press("Call Tommy Lee").await;
    tom.press("Answer").await;
    tom.see("button:text-is('Resume')").await;
    gwen.see("li .state:has-text('Connected')").await;
    assert_eq!(tom.run(CALLS).await, json!(["Ann Carter: On hold", "Gwen: Connected"]));
    tom.press("Resume").await;
    tom.see("li:has-text('Gwen') .state:has-text('On hold')").await;
    assert_eq!(tom.run(CALLS).await, json!(["Ann Carter: Connected", "Gwen: On hold"]));
    tom.press("Resume").await;
    tom.see("li:has-text('Ann Carter') .state:has-text('On hold')").await;

    // The second one goes: the first is taken back by itself, and hears again.
    gwen.press("Hang up").await;
    tom.see("li:has-text('Ann Carter') .state:has-text('Connected')").await;
    assert_eq!(tom.run(CALLS).await, json!(["Ann Carter: Connected"]));
    ann.listen().await;
    sleep(Duration::from_secs(5)).await;
    let heard = ann.heard().await;
    assert!(heard.seconds_of(TOM_HERTZ) > 1.0, "{} s", heard.seconds_of(TOM_HERTZ));
    for page in [ann, tom, gwen] {
        page.finish(&[]).await;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_microphone_a_moved_meeting_and_a_lost_session_each_get_a_clear_word() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let shop = Application::of(&acme, &server, "Shop", &[("time_zone", "Asia/Tokyo")]).await;
    let ordered = shop.orders(json!({})).await;
    let refused = json!({"microphone": "refused", "zone": "Europe/Lisbon"});
    let mut ann = Visitor::enter(&server, &ordered.caller, refused).await;
    // The viewer's own time, and the application's beside it; counting down is heard by nobody who does not ask.
    assert!(ann.text(".zone").await.ends_with("in Asia/Tokyo"));
    assert_eq!(ann.value("input[name=zone]").await, "Europe/Lisbon");
    assert_eq!(
        ann.run("document.querySelectorAll('[role=status] .count, [role=alert] .count, [aria-live] .count').length")
            .await,
        0
    );
    ann.press("Call Tommy Lee").await;
    ann.see("text=The microphone is blocked for this page.").await;
    let path = format!("/v1/meetings/{}", ordered.id);
    let meeting = shop.client.get(&path).await.expect(200);
    assert_eq!(meeting["state"], "open", "nobody was called: {meeting}");

    // Moved by the application while the page is open, and again while nobody looks.
    shop.client.patch(&path, &json!({"start_at": in_hours(&server, 3)})).await.expect(200);
    ann.see("text=Your meeting with Tommy Lee was moved.").await;
    ann.see("text=Opens at").await;
    assert!(ann.text("#news").await.contains("Opens at"), "who hears the page is told too");
    ann.run("document.getElementById('said').hidden = true").await;
    ann.reload().await;
    ann.see("body.is-live").await;
    assert_eq!(ann.run("document.getElementById('said').hidden").await, true, "it was told already");

    // Somebody else signs in with the same browser; then nobody is signed in.
    let other = shop.orders(json!({"user": {"uid_caller": "eve", "uid_receiver": "joe"}})).await;
    ann.run(&format!(
        "fetch('/sessions', {{method: 'POST', body: new URLSearchParams({{acc_tok: '{}'}})}})",
        other.caller
    ))
    .await;
    shop.client.patch(&path, &json!({"start_at": in_hours(&server, 4)})).await.expect(200);
    ann.see("text=Somebody else has signed in with this browser.").await;
    // The phone and the cards are refused what they ask for.
    ann.finish(&["status of 409", "status of 401", "WebSocket"]).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_was_left_open_gets_its_phone_and_keeps_what_is_typed_in_it() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let shop = Application::of(&acme, &server, "Shop", &[]).await;
    let by_phone = json!({"caller": {"number": "+41446681801", "call_type": "Phone"}});
    let first = shop.orders(by_phone).await;
    let mut ann = Visitor::enter(&server, &first.caller, json!({})).await;
    assert_eq!(ann.run("document.querySelector('tandem-phone')").await, Value::Null, "her phone is on her desk");
    ann.see("body.is-live").await;

    // What is open stays open, with what was typed, though other things can be done now.
    ann.unfold("Another time").await;
    ann.run("document.querySelector('input[type=number]').value = '44'").await;
    let length = format!("/v1/meetings/{}", first.id);
    shop.client.patch(&length, &json!({"receiver": {"name": "Tommy B. Lee"}})).await.expect(200);
    shop.client.post(&format!("/v1/meetings/{}/extend", first.id), &json!({"minutes": 30})).await.expect(200);
    ann.see("text=Ask Tommy B. Lee").await;
    assert_eq!(ann.value("details[open] input[type=number]").await, "44");
    assert_eq!(ann.run("document.querySelector('details[open]').dataset.part").await, "propose");

    // A meeting to talk about in the page brings a phone into it.
    let second = shop.orders(json!({"meeting": {"order_id": "in the page"}})).await;
    ann.see(&format!("#m{}", second.id)).await;
    ann.run(
        "new Promise((on) => setInterval(() => document.querySelector('tandem-phone').view.online && on(true), 50))",
    )
    .await;
    shop.client.post(&format!("/v1/meetings/{}/call", second.id), &json!({"as": "caller"})).await.expect(200);
    ann.see("button:has-text('Answer')").await;
    ann.finish(&[]).await;
    server.stop().await;
}
