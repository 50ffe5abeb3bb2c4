//! Printed codes and links in Chromium, on a window as small as a telephone: each leads to the chat that it means.

use std::time::Duration;

use kernel::sign_in::Identity;
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::harness::customer::Customer;
use crate::harness::person::Person;
use crate::harness::server::{Plan, Server};
use crate::harness::widget::Shop;

/// How long a page may take to show something.
const PATIENCE: Duration = Duration::from_secs(30);
/// 2031-05-01T12:00:00Z
const NOON: i64 = 1_935_403_200_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_master_link_and_an_init_link_open_the_chat_full_page_on_a_telephone() {
    let server = Plan::new().at(NOON).start().await;
    let acme = server.org("acme").await;
    let first = Shop::of(&acme, &server, &[("widget_title", "First")]).await;
    server.clock().advance(1_000);
    let second = Shop::of(&acme, &server, &[("widget_title", "Second desk")]).await;
    let codes = second.client.post("/v1/chat/qr", &json!({"count": 2, "product": "LOGOSCAN"})).await.expect(201);
    let mut ids: Vec<_> = codes["items"].as_array().unwrap().iter().map(|code| code["id"].clone()).collect();
    // Made at once, they are handed out in their own order.
    ids.sort_by_key(|id| id.as_str().unwrap().to_owned());
    let wish = json!({
        "workspace_id": "Entrance", "product_name": "LOGOSCAN", "base_url": "https://acme.example",
        "qr_ids": ids.iter().map(|id| json!({"qrid": id, "portfolioName": "door"})).collect::<Vec<_>>(),
    });
    let made = second.client.post("/api/v2/create_master_link/", &wish).await.expect(200);
    let link = made["qr_response"]["qrcodes"][0]["masterlink"].as_str().unwrap().to_owned();
    let rooms = async || second.client.get("/v1/chat/rooms").await.expect(200)["rooms"].as_array().unwrap().len();

    let phone = json!({"full": true, "width": 390, "height": 760});
    let mut ann = Customer::at(&link, phone.clone()).await;
    ann.see("text=Second desk").await;
    ann.see("text=How may I help you?").await;
    let address = ann.ask("run", json!({"script": "location.pathname + location.search"})).await;
    let expected = format!("/c/{}?app={}&product=LOGOSCAN", ids[0].as_str().unwrap(), second.id);
    assert_eq!(address, expected);
    assert_eq!(rooms().await, 0, "who only looks, as a preview does, opens nothing");
    ann.say("Where is the entrance?").await;
    ann.see(".mine .note:text-is('Sent')").await;
    let listed = second.client.get("/v1/chat/rooms").await.expect(200);
    let room = &listed["rooms"][0];
    assert_eq!((&room["product"], &room["user_id"]), (&json!("LOGOSCAN"), &ids[0]), "{listed}");
    assert_eq!(room["portfolio"], "door", "{listed}");

    // The link of before is the same chat when it is opened again; another telephone gets the next code.
    ann.ask("reload", json!({})).await;
    ann.see(".mine:has-text('Where is the entrance?')").await;
    ann.finish(&[]).await;

    // A link of document 002 leads a browser to the page, and a program to its room.
    let key = second.publishable_key(&acme).await;
    let init = format!("/api/v2/init/DOWELL/LOGOSCAN/{}/?api_key={key}", ids[1].as_str().unwrap());
    let mut ben = Customer::at(&format!("http://{}{init}", server.app.http()), phone).await;
    ben.see("text=Second desk").await;
    assert_eq!(rooms().await, 1);
    ben.say("And the exit?").await;
    ben.see(".mine .note:text-is('Sent')").await;
    assert_eq!(rooms().await, 2);
    ben.finish(&[]).await;
    let answer = server.client().get(&init).await.expect(200);
    assert_eq!(answer["room"]["success"], true, "{answer}");
    assert_eq!(rooms().await, 3);
    assert_eq!(
        first.client.get("/v1/chat/rooms").await.expect(200)["rooms"],
        json!([]),
        "not of the first application"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_typed_in_the_console_is_seen_in_the_frame_beside_it() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let shop = Shop::of(&acme, &server, &[("widget_title", "Before")]).await;
    let Identity::Person { org, person } = server.identity(&acme.token).await else { panic!("a person") };
    let link = server.app.kernel.create_link(&Identity::Person { org, person }).await.unwrap();
    let path = format!("/console/link/{}", link.expose());
    let (mut owner, _) = Person::sign_in(server.app.http(), &path).await;
    owner.go(&format!("/console/applications/{}/chat", shop.id)).await;
    let inside =
        "document.querySelector('iframe[data-preview]').contentDocument.querySelector('tandem-chat').shadowRoot";
    until(&mut owner, &format!("{inside}.textContent.includes('Before')")).await;
    let typed = "(() => { const title = document.getElementById('widget_title'); title.value = 'After'; \
        title.dispatchEvent(new Event('input', {bubbles: true})); \
        const colour = document.getElementById('widget_accent'); colour.value = '#ffcc00'; \
        colour.dispatchEvent(new Event('input', {bubbles: true})); })()";
    owner.run(typed).await;
    until(&mut owner, &format!("{inside}.textContent.includes('After')")).await;
    until(&mut owner, &format!("{inside}.innerHTML.includes('#000000')")).await;
    let chosen = "(() => { const locale = document.getElementById('widget_locale'); locale.value = 'de'; \
        locale.dispatchEvent(new Event('change', {bubbles: true})); })()";
    owner.run(chosen).await;
    until(&mut owner, &format!("{inside}.innerHTML.includes('Datei anh')")).await;
    until(&mut owner, &format!("{inside}.textContent.includes('After')")).await;
    owner.finish(&[]).await;
    server.stop().await;
}

/// Waits until an expression in the page is true.
async fn until(owner: &mut Person, expression: &str) {
    let asked = format!("(() => {{ try {{ return {expression}; }} catch {{ return false; }} }})()");
    let waiting = async {
        while owner.run(&asked).await != true {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never true: {expression}"));
}
