//! The phone in a party's page: opened by the party's cookie for the page that it was made for; it rings, and does nothing
//! else of its own accord.

use serde_json::json;

use super::browser_phone::{Phone, online};
use crate::harness::client::Client;
use crate::harness::meeting::{Application, party};
use crate::harness::server::Server;

/// An offer's beginning: enough for a frame that must be refused before anybody reads it.
const SDP: &str = "v=0";

/// The address of the own page's phone, and the cookie.
async fn way_of(browser: &Client) -> (String, String) {
    let page = browser.get("/meetings").await.text;
    let (_, rest) = page.split_once("socket=\"").unwrap_or_else(|| panic!("no phone in {page}"));
    (rest.split('"').next().unwrap().to_owned(), browser.cookie())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_party_s_page_is_a_phone_that_rings_and_places_no_call() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let person = acme.caller("1001").await;
    let mut desk = online(&server, &person, "1001").await;
    let shop = Application::of(&acme, &server, "Shop", &[]).await;
    let ordered = shop.orders(json!({})).await;
    let browser = party(&server, &ordered.caller).await;
    let (way, cookie) = way_of(&browser).await;
    assert!(way.starts_with("/v1/rtc?party="), "{way}");
    let origin = format!("http://{}", server.app.http());
    let own = [("cookie", cookie.as_str()), ("origin", origin.as_str())];
    let hello = json!({"type": "hello"});

    // Nobody without the cookie, nobody by another party's page, nobody from another site.
    for (path, headers) in [(way.as_str(), &own[1..]), ("/v1/rtc?party=0000", &own[..])] {
        let mut phone = Phone::open_at(&server, path, headers).await.unwrap();
        phone.say(&hello).await;
        assert_eq!(phone.sent_away().await, ("unauthorized".to_owned(), 4_401), "{path}");
    }
    let foreign = [("cookie", cookie.as_str()), ("origin", "https://evil.example")];
    assert!(Phone::open_at(&server, &way, &foreign).await.is_err());

    let mut phone = Phone::open_at(&server, &way, &own).await.unwrap();
    phone.say(&hello).await;
    let ready = phone.next().await.unwrap();
    assert_eq!((&ready["type"], &ready["calls"]), (&json!("ready"), &json!([])), "{ready}");
    phone.say(&json!({"type": "call", "id": "c1", "to": "1001", "sdp": SDP})).await;
    let refused = phone.next().await.unwrap();
    assert_eq!((&refused["code"], &refused["id"]), (&json!("not_allowed"), &json!("c1")), "{refused}");
    phone.say(&json!({"type": "transfer", "id": "c1", "to": "1001"})).await;
    assert_eq!(phone.next().await.unwrap()["code"], "not_allowed");

    // Nobody of the organisation reaches the page by dialling its line.
    let app = server.app.kernel.apps(&acme.org.id, "", 1).await.unwrap().remove(0).id;
    let line = format!("~{app}/ann");
    desk.say(&json!({"type": "call", "id": "c2", "to": line, "sdp": SDP})).await;
    let refused = desk.next().await.unwrap();
    assert!(refused["type"] == "error" || refused["type"] == "ended", "{refused}");
    let calls = acme.client().get("/v1/calls").await.expect(200);
    assert!(calls["calls"].as_array().unwrap().iter().all(|call| call["state"] == "completed"), "{calls}");

    // Signed out, it is no phone any more.
    assert_eq!(browser.submit("/meetings", "/meetings/sign-out", &[]).await.status, 200);
    assert_eq!(phone.sent_away().await, ("unauthorized".to_owned(), 4_401));
    server.stop().await;
}
