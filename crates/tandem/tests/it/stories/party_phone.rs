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

/// The phone of a party's page, ready to ring.
async fn opened(server: &Server, browser: &Client) -> Phone {
    let (way, cookie) = way_of(browser).await;
    let origin = format!("http://{}", server.app.http());
    let mut phone = Phone::open_at(server, &way, &[("cookie", &cookie), ("origin", &origin)]).await.unwrap();
    phone.say(&json!({"type": "hello"})).await;
    assert_eq!(phone.next().await.unwrap()["type"], "ready");
    phone
}

#[tokio::test(flavor = "multi_thread")]
async fn people_of_the_same_name_in_two_applications_are_two_lines() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let shop = Application::of(&acme, &server, "Shop", &[]).await;
    let clinic = Application::of(&acme, &server, "Clinic", &[]).await;
    let (of_shop, of_clinic) = (shop.orders(json!({})).await, clinic.orders(json!({})).await);
    let (in_shop, in_clinic) = (party(&server, &of_shop.caller).await, party(&server, &of_clinic.caller).await);

    // The page of one is no way in for the cookie of the other, whose person has the same name.
    let (way, _) = way_of(&in_clinic).await;
    let origin = format!("http://{}", server.app.http());
    let foreign = [("cookie", &*in_shop.cookie()), ("origin", &*origin)];
    let mut phone = Phone::open_at(&server, &way, &foreign).await.unwrap();
    phone.say(&json!({"type": "hello"})).await;
    assert_eq!(phone.sent_away().await, ("unauthorized".to_owned(), 4_401));

    // Nor is the cookie good for the other's meetings by the API.
    let listed = in_shop.get("/v1/meetings").await.expect(200);
    let ids: Vec<i64> = listed["meetings"].as_array().unwrap().iter().map(|m| m["id"].as_i64().unwrap()).collect();
    assert_eq!(ids, [of_shop.id]);
    let theirs = format!("/v1/meetings/{}", of_clinic.id);
    in_shop.get(&theirs).await.expect(404);
    for verb in ["call", "extend", "finish", "cancel"] {
        let request = in_shop.request(reqwest::Method::POST, &format!("{theirs}/{verb}"));
        let request = request.header("sec-fetch-site", "same-origin").json(&json!({"seconds": 60}));
        in_shop.send(request).await.expect(404);
    }

    // A call of the clinic's meeting rings the clinic's Ann and nobody else's.
    let (mut anns_in_shop, mut anns_in_clinic) = (opened(&server, &in_shop).await, opened(&server, &in_clinic).await);
    clinic.client.post(&format!("{theirs}/call"), &json!({})).await.expect(200);
    let ringing = anns_in_clinic.next().await.unwrap();
    assert_eq!(ringing["type"], "incoming", "{ringing}");
    anns_in_shop.say(&json!({"type": "call", "id": "c1", "to": "1001", "sdp": SDP})).await;
    let next = anns_in_shop.next().await.unwrap();
    assert_eq!((&next["type"], &next["code"]), (&json!("error"), &json!("not_allowed")), "it did not ring: {next}");
    let shops = shop.client.get(&format!("/v1/meetings/{}", of_shop.id)).await.expect(200);
    assert_eq!((&shops["state"], &shops["calls"]), (&json!("open"), &json!([])), "{shops}");

    // When only the shop's page is open, nobody of the clinic is reached.
    clinic.client.post(&format!("{theirs}/finish"), &json!({})).await.expect(200);
    assert_eq!(anns_in_clinic.next().await.unwrap()["type"], "ended");
    drop(anns_in_clinic);
    let again = clinic.orders(json!({"meeting": {"order_id": "552"}})).await;
    let path = format!("/v1/meetings/{}", again.id);
    clinic.client.post(&format!("{path}/call"), &json!({})).await.expect(200);
    let tried = |meeting: &serde_json::Value| meeting["state"] == "open" && meeting["attempts"] == 1;
    clinic.client.until(&path, "nobody was there", tried).await;
    anns_in_shop.say(&json!({"type": "call", "id": "c2", "to": "1001", "sdp": SDP})).await;
    let next = anns_in_shop.next().await.unwrap();
    assert_eq!((&next["type"], &next["id"]), (&json!("error"), &json!("c2")), "it did not ring: {next}");
    server.stop().await;
}
