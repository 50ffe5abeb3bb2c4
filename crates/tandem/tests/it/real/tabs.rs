//! Many tabs of the console in one browser: they share one tap, which comes back when it was refused; and what opens over a
//! page closes by Escape.

use serde_json::{Value, json};

use crate::harness::person::Person;
use crate::harness::server::{Plan, Server, Tenant};

/// More than the six connections that a browser opens to a host by HTTP/1.1.
const TABS: usize = 8;
const IS_LIVE: &str = "body.is-live";

async fn person(server: &Server, acme: &Tenant<'_>) -> Person {
    let link = server.app.kernel.create_link(&server.identity(&acme.token).await).await.unwrap();
    Person::sign_in(server.app.http(), &format!("/console/link/{}", link.expose())).await.0
}

/// A call to nobody, and its id.
async fn call(acme: &Tenant<'_>) -> String {
    let flow = json!([{"id": 1, "type": "call", "number": "1001"}]);
    let ran = acme.client().post("/api/v2/call/flow", &json!({ "flow": flow })).await.expect(201);
    ran["call_id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_tabs_hear_of_everything_by_one_connection() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    acme.phone("1001").await;
    let mut person = person(&server, &acme).await;
    person.go("/console/live").await;
    for _ in 1..TABS {
        person.ask("open", json!({"path": "/console/live"})).await;
    }
    let count =
        "document.addEventListener('tandem:event', ({ detail }) => { (globalThis.heard ??= []).push(detail) }); true";
    for tab in 0..TABS {
        person.ask("see", json!({"tab": tab, "what": IS_LIVE})).await;
        person.ask("run", json!({"tab": tab, "script": count})).await;
    }
    assert_eq!(server.app.kernel.limits.taps(), 1, "all tabs together");
    let call = call(&acme).await;
    let ended = format!(
        "globalThis.heard?.some(({{ type, call }}) => type === 'call.completed' && call.id === '{call}') ?? false"
    );
    for tab in 0..TABS {
        let mut heard = Value::Bool(false);
        for _ in 0..100 {
            heard = person.ask("run", json!({"tab": tab, "script": ended})).await;
            if heard == true {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        assert_eq!(heard, true, "tab {tab} hears of the call's end");
    }
    // The tab that was there first goes; the others go on hearing.
    person.ask("open", json!({"path": "/console/calls"})).await;
    person.ask("close", json!({"tab": 0})).await;
    person.ask("run", json!({"tab": 1, "script": "heard = []"})).await;
    let more = self::call(&acme).await;
    let begun = format!("globalThis.heard.some(({{ call }}) => call.id === '{more}')");
    let mut heard = Value::Null;
    for _ in 0..100 {
        heard = person.ask("run", json!({"tab": 1, "script": begun})).await;
        if heard == true {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(heard, true);
    person.finish(&[]).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tap_that_was_refused_is_opened_again() {
    let server = Plan::new().with(|config| config.limits.concurrent_taps = 1).start().await;
    let acme = server.org("acme").await;
    let other = acme.client();
    let taken = other.request(reqwest::Method::GET, "/v1/tap").send().await.unwrap();
    assert_eq!(taken.status(), 200);
    let mut person = person(&server, &acme).await;
    person.go("/console/live").await;
    // The browser itself never asks again after a 429.
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    assert_eq!(person.run("document.body.classList.contains('is-live')").await, false);
    drop(taken);
    person.see(IS_LIVE).await;
    person.finish(&["429"]).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_opens_over_a_page_closes_by_escape_and_gives_the_focus_back() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let mut person = person(&server, &acme).await;
    for (width, opener, open) in [(1440, ".drop summary", ".drop[open]"), (360, "[data-menu]", "body.menu-open nav")] {
        person.ask("size", json!({ "width": width })).await;
        person.go("/console").await;
        person.run(&format!("document.querySelector('{opener}').focus()")).await;
        person.ask("key", json!({"key": "Enter"})).await;
        person.see(open).await;
        // Inside, and out again.
        person.ask("key", json!({"key": "Tab"})).await;
        person.ask("key", json!({"key": "Escape"})).await;
        assert_eq!(person.run(&format!("document.querySelector('{open}') === null")).await, true, "{open}");
        let has_focus = format!("document.activeElement === document.querySelector('{opener}')");
        assert_eq!(person.run(&has_focus).await, true, "{opener}");
    }
    person.finish(&[]).await;
    server.stop().await;
}
