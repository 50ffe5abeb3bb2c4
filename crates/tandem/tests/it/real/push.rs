//! What a closed page's browser does with what it is told, in Chromium: the service worker shows it, and a click leads to
//! the room. No push service answers here: that the pages say so, and go on, is seen too.

use kernel::Role;
use serde_json::{Value, json};

use crate::harness::browser::Browser;
use crate::harness::server::Server;
use crate::harness::widget::Shop;

/// What Chromium says of push in a profile that keeps nothing.
const NO_SERVICE: [&str; 2] = ["Push API", "push service"];
const ROOM: &str = "0123456789abcdef01234567";

async fn browser(task: &Value) -> Browser {
    let mut browser = Browser::start("push", task);
    browser.expect("the browser", |event| event["event"] == "ready").await;
    browser
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_asked_by_a_click_and_led_to_the_room() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let (_, token) = acme.hire("Fay", Role::Agent, None).await;
    let link = server.app.kernel.create_link(&server.identity(&token).await).await.unwrap();
    let url = format!("http://{}", server.app.http());
    let mut fay = browser(&json!({"url": url, "link": format!("/console/link/{}", link.expose())})).await;
    fay.ask("go", json!({"path": "/console/inbox"})).await;
    fay.ask("see", json!({"what": "body.is-live"})).await;
    assert_eq!(fay.ask("count", json!({"what": "#alerts-closed"})).await, 0, "only where notices are wanted");
    fay.ask("choose", json!({"what": "#alerts"})).await;
    fay.ask("see", json!({"what": "#alerts[aria-pressed=true]"})).await;
    fay.ask("choose", json!({"what": "#alerts-closed"})).await;
    fay.ask("see", json!({"what": "#alerts-closed[aria-pressed=false][title*='cannot be told']"})).await;

    let path = format!("/console/inbox/{ROOM}");
    let told = json!({"title": "Ann", "body": "One new message", "tag": ROOM, "room": ROOM, "url": path, "unread": 1});
    let shown = fay.ask("push", json!({"scope": "/console/", "data": told})).await;
    assert_eq!(shown, json!([["Ann", "One new message", ROOM]]));
    // Another one about the same room takes its place.
    let more = json!({"title": "Ann", "body": "2 new messages", "tag": ROOM, "room": ROOM, "url": path, "unread": 2});
    assert_eq!(fay.ask("push", json!({"scope": "/console/", "data": more})).await.as_array().unwrap().len(), 1);
    let led = fay.ask("click", json!({"scope": "/console/"})).await;
    assert_eq!(led, json!({"opened": [format!("{url}{path}")], "left": 0}));
    // What is told leads nowhere else.
    let evil = json!({"title": "Ann", "body": "x", "tag": "evil", "url": "https://evil.example/console/"});
    fay.ask("push", json!({"scope": "/console/", "data": evil})).await;
    assert_eq!(fay.ask("click", json!({"scope": "/console/"})).await, json!({"opened": [], "left": 0}));
    fay.expect_no_complaints(&NO_SERVICE);
    fay.finish().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_is_offered_to_be_told_after_the_first_message() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let shop = Shop::of(&acme, &server, &[]).await;
    let url = format!("http://{}", server.app.http());
    let mut ann = browser(&json!({ "url": url })).await;
    let path = format!("/c/{}?locale=en", shop.id);
    ann.ask("go", json!({ "path": path })).await;
    ann.ask("see", json!({"what": ".greeting:has-text('How may I')"})).await;
    assert_eq!(ann.ask("count", json!({"what": ".offer"})).await, 0, "not before anything was said");
    ann.ask("fill", json!({"what": "#message", "text": "Where is my parcel?"})).await;
    ann.ask("choose", json!({"what": "button.send"})).await;
    ann.ask("see", json!({"what": "[data-act=tell-me]:text-is('Tell me when somebody answers')"})).await;
    ann.ask("choose", json!({"what": "[data-act=tell-me]"})).await;
    ann.ask("see", json!({"what": ".offer:has-text('cannot be told at the moment')"})).await;

    let page = format!("/c/{}", shop.id);
    let told = json!({"title": "Shop", "body": "You have a new answer", "tag": ROOM, "room": ROOM, "url": format!("{page}/13"), "unread": 1});
    let shown = ann.ask("push", json!({"scope": "/c/", "data": told})).await;
    assert_eq!(shown, json!([["Shop", "You have a new answer", ROOM]]));
    let led = ann.ask("click", json!({"scope": "/c/"})).await;
    assert_eq!(led, json!({"opened": [format!("{url}{page}/13")], "left": 0}));
    ann.expect_no_complaints(&NO_SERVICE);
    ann.finish().await;
    server.stop().await;
}
