//! Browsers are told of chats while no page is open. The push service and the browser are not ours: a library of PyPI opens
//! what comes, another judges who sent it.

use std::time::Duration;

use kernel::{Role, args};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::harness::chat::Line;
use crate::harness::chat_agent::Agent;
use crate::harness::process::Tandem;
use crate::harness::push::PushService;
use crate::harness::server::{Plan, Server};
use crate::harness::widget::{Guest, Shop};

const SOON: Duration = Duration::from_secs(30);

/// A server that may reach the push service.
async fn server(service: &PushService) -> Server {
    let cert = service.cert.clone();
    let plan = Plan::new().reaching(service.address).with(|config| {
        config.egress.ca_file = Some(cert);
        config.public_url = Some("https://tandem.example".to_owned());
    });
    plan.start().await
}

async fn service() -> (tempfile::TempDir, PushService) {
    let folder = tempfile::tempdir().unwrap();
    let service = PushService::start(folder.path()).await;
    (folder, service)
}

async fn writes(guest: &Guest, words: &str) {
    guest.client.post(&guest.path("/messages"), &json!({"body": words})).await.expect(201);
}

/// Rows of web push of all organisations.
async fn rows(server: &Server, table: &'static str) -> i64 {
    let count = if table == "push_message" {
        "select count(*) as n from push_message where state = 'pending'"
    } else {
        "select count(*) as n from push_subscription"
    };
    server.app.kernel.db.one(count, args![]).await.unwrap().unwrap().int("n").unwrap()
}

async fn until_rows(server: &Server, table: &'static str, wanted: i64) {
    let reached = async {
        while rows(server, table).await != wanted {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, reached).await.unwrap_or_else(|_| panic!("{table} does not come to {wanted}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_without_an_open_page_is_told_of_a_message_and_of_no_word_in_it() {
    let (_folder, mut service) = service().await;
    let server = server(&service).await;
    let acme = server.org("acme").await;
    let shop = Shop::of(&acme, &server, &[]).await;
    let agent = Agent::of(&acme, &server, "1001").await;
    let guest = shop.guest().await;
    agent.take(&server, &guest.room).await;
    let key = agent.client.get("/v1/chat/push").await.expect(200)["public_key"].as_str().unwrap().to_owned();
    service.subscribe(&agent.client, "201", "fay").await;
    // Twice is once.
    service.subscribe(&agent.client, "201", "fay").await;

    for words in ["Where is my parcel?", "It is quagga7"] {
        writes(&guest, words).await;
    }
    let came = service.next().await;
    assert_eq!(came["error"], Value::Null, "{came}");
    let url = format!("/console/inbox/{}", guest.room);
    let told = &came["told"];
    assert_eq!((&told["url"], &told["room"], &told["tag"]), (&json!(url), &json!(guest.room), &json!(guest.room)));
    assert_eq!((&told["unread"], &told["body"]), (&json!(2), &json!("2 new messages")));
    assert!(!came.to_string().contains("quagga7"), "no word of it: {came}");
    // RFC 8030 and RFC 8292.
    assert_eq!((&came["scheme"], &came["key"]), (&json!("vapid"), &json!(key)));
    assert_eq!(came["claims"]["sub"], "https://tandem.example");
    let left_s: i64 = came["ttl"].as_str().unwrap().parse().unwrap();
    assert!((86_000..=86_400).contains(&left_s), "a day from when there was something to tell: {came}");
    assert_eq!(came["urgency"], json!("high"));
    assert_eq!((&came["content-encoding"], came["topic"].as_str().unwrap().len()), (&json!("aes128gcm"), 32));

    // Within the minute it waits; what is read by then is not told at all.
    writes(&guest, "Hello?").await;
    until_rows(&server, "push_message", 1).await;
    service.stays_quiet().await;
    assert_eq!(rows(&server, "push_message").await, 1);

    // Whoever looks is told there.
    let other = shop.guest().await;
    agent.take(&server, &other.room).await;
    let (line, _) = Line::hello(server.app.http(), &agent.token, json!({})).await;
    writes(&other, "Anybody?").await;
    service.stays_quiet().await;
    drop(line);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_without_an_open_page_is_told_of_an_answer_in_its_language() {
    let (_folder, mut service) = service().await;
    let server = server(&service).await;
    let acme = server.org("acme").await;
    let shop = Shop::of(&acme, &server, &[("widget_title", "Acme")]).await;
    let guest = shop.guest().await;
    let page = format!("/c/{}", shop.id);
    let mut body = service.subscription("201", "ann");
    body["locale"] = json!("de");
    body["page"] = json!(page);
    guest.client.post("/v1/chat/push", &body).await.expect(204);
    writes(&guest, "Wo ist mein Paket?").await;
    shop.client.post(&guest.path("/messages"), &json!({"body": "On its way"})).await.expect(201);
    let came = service.next().await;
    let (title, words) = ("Acme", "Sie haben eine neue Antwort");
    assert_eq!((&came["told"]["title"], &came["told"]["body"]), (&json!(title), &json!(words)), "{came}");
    assert_eq!((&came["told"]["url"], &came["told"]["unread"]), (&json!(page), &json!(1)));

    // With the application's word, the message's own words.
    shop.set(&acme, &server, &[("chat_push_text", "true")]).await;
    sleep(Duration::from_millis(1_100)).await;
    let second = shop.guest().await;
    service.subscribe(&second.client, "201", "ben").await;
    shop.client.post(&second.path("/messages"), &json!({"body": "Good morning"})).await.expect(201);
    let came = service.next().await;
    assert_eq!((&came["path"], &came["told"]["body"]), (&json!("/201/ben"), &json!("Good morning")));
    assert_eq!(came["told"]["url"], page, "the application's page");
    // The visitor's own messages, and what was read, are no news.
    writes(&second, "Hello").await;
    service.stays_quiet().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_that_waits_and_a_room_that_is_given_are_told_to_whoever_is_away() {
    let (_folder, mut service) = service().await;
    let server = server(&service).await;
    let acme = server.org("acme").await;
    let shop = Shop::of(&acme, &server, &[]).await;
    let (fay, tom) = (Agent::of(&acme, &server, "1001").await, Agent::of(&acme, &server, "1002").await);
    for (agent, state) in [(&fay, "available"), (&tom, "away")] {
        // Full: the room waits, whoever was here a moment ago.
        let said = json!({"state": state, "capacity": 1});
        agent.client.put("/v1/chat/agents/me", &said).await.expect(200);
    }
    let busy = shop.guest().await;
    fay.take(&server, &busy.room).await;
    service.subscribe(&fay.client, "201", "fay").await;
    service.subscribe(&tom.client, "201", "tom").await;
    let guest = shop.guest().await;
    writes(&guest, "Hello?").await;
    let came = service.next().await;
    assert_eq!((&came["path"], &came["told"]["body"]), (&json!("/201/fay"), &json!("A chat waits for an answer")));
    assert_eq!(came["told"]["room"], json!(guest.room));
    service.stays_quiet().await;

    // A hand-over tells whoever gets it, not whoever does it.
    let handed = json!({"person": tom.person});
    acme.client().post(&busy.path("/transfer"), &handed).await.expect(200);
    writes(&busy, "Are you there?").await;
    let came = service.next().await;
    assert_eq!((&came["path"], &came["told"]["room"]), (&json!("/201/tom"), &json!(busy.room)), "{came}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_push_service_answers_is_heeded() {
    let (_folder, mut service) = service().await;
    let server = server(&service).await;
    let acme = server.org("acme").await;
    let shop = Shop::of(&acme, &server, &[]).await;
    let answer = async |guest: &Guest| {
        shop.client.post(&guest.path("/messages"), &json!({"body": "Hello"})).await.expect(201);
    };
    // Gone is gone; a message that is not taken, or sent elsewhere, is dropped and the browser stays.
    for (answers, browsers) in [("410", 0), ("404", 0), ("413", 1), ("302", 2)] {
        let guest = shop.guest().await;
        service.subscribe(&guest.client, answers, "once").await;
        answer(&guest).await;
        assert_eq!(service.next().await["answer"], json!(answers.parse::<u16>().unwrap()));
        until_rows(&server, "push_message", 0).await;
        assert_eq!(rows(&server, "push_subscription").await, browsers, "{answers}");
    }
    // What fails for now comes once it is taken, and once only.
    let guest = shop.guest().await;
    service.subscribe(&guest.client, "503-201", "later").await;
    answer(&guest).await;
    assert_eq!(service.next().await["answer"], json!(503));
    let taken = service.next().await;
    assert_eq!((&taken["path"], &taken["answer"]), (&json!("/503-201/later"), &json!(201)));
    until_rows(&server, "push_message", 0).await;
    service.stays_quiet().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_ends_another_s_browser_and_a_browser_ends_with_its_credential() {
    let (_folder, mut service) = service().await;
    let server = server(&service).await;
    let (acme, other) = (server.org("acme").await, server.org("other").await);
    let (shop, theirs) = (Shop::of(&acme, &server, &[]).await, Shop::of(&other, &server, &[]).await);
    let (ann, ben, stranger) = (shop.guest().await, shop.guest().await, theirs.guest().await);
    service.subscribe(&ann.client, "201", "ann").await;
    for client in [&ben.client, &stranger.client, &acme.client(), &other.client()] {
        service.unsubscribe(client, "201", "ann").await.expect(204);
    }
    assert_eq!(rows(&server, "push_subscription").await, 1, "Ann's stays");
    let no = server.client();
    assert_eq!(service.unsubscribe(&no, "201", "ann").await.status, 401);
    assert_eq!(no.get("/v1/chat/push").await.status, 401);
    // An application's server, a page with its publishable key, people who answer nobody.
    let page = server.client().bearing(&shop.publishable_key(&acme).await);
    let member = server.client().bearing(&acme.person(Role::Member).await);
    for client in [&shop.client, &page, &member] {
        let refused = client.post("/v1/chat/push", &service.subscription("201", "x")).await;
        assert_eq!(refused.status, 403, "{}", refused.text);
    }
    service.unsubscribe(&ann.client, "201", "ann").await.expect(204);
    assert_eq!(rows(&server, "push_subscription").await, 0);

    // A session that is over is told nothing.
    let agent = Agent::of(&acme, &server, "1001").await;
    agent.take(&server, &ann.room).await;
    let browser = server.signed_in(&server.identity(&agent.token).await).await;
    let body = service.subscription("201", "session");
    let posted = browser.request(reqwest::Method::POST, "/v1/chat/push").header("sec-fetch-site", "same-origin");
    browser.send(posted.json(&body)).await.expect(204);
    assert_eq!(rows(&server, "push_subscription").await, 1);
    let out = browser.send(browser.post_page("/console/sign-out", &[])).await;
    assert_eq!(out.status, 303, "{}", out.text);
    assert_eq!(rows(&server, "push_subscription").await, 0, "signed out");
    writes(&ann, "Hello?").await;
    service.stays_quiet().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_subscription_is_refused_by_name() {
    let (_folder, service) = service().await;
    let server = server(&service).await;
    let acme = server.org("acme").await;
    let shop = Shop::of(&acme, &server, &[]).await;
    let guest = shop.guest().await;
    let good = service.subscription("201", "x");
    for (pointer, wrong) in [
        ("/endpoint", json!("http://push.example.org/x")),
        ("/endpoint", json!("https://10.0.0.7/x")),
        ("/endpoint", json!("https://169.254.169.254/latest")),
        ("/endpoint", json!("https://localhost.:99999/")),
        ("/keys/p256dh", json!("BAAA")),
        ("/keys/auth", json!("AAAA")),
        ("/expirationTime", json!(1)),
        ("/page", json!("//evil.example/c/")),
        ("/page", json!("/console")),
    ] {
        let mut body = good.clone();
        let place = body.pointer_mut(pointer);
        match place {
            Some(place) => *place = wrong.clone(),
            None => body[pointer.trim_start_matches('/')] = wrong.clone(),
        }
        let refused = guest.client.post("/v1/chat/push", &body).await.expect(422);
        assert_eq!(refused["errors"][0]["pointer"], pointer, "{wrong}: {refused}");
    }
    assert_eq!(rows(&server, "push_subscription").await, 0);
    // A name is judged when it is called: one that leads inside is not.
    let inside = json!({"endpoint": "https://localhost:9/x", "keys": good["keys"]});
    guest.client.post("/v1/chat/push", &inside).await.expect(204);
    shop.client.post(&guest.path("/messages"), &json!({"body": "Hello"})).await.expect(201);
    assert_eq!(rows(&server, "push_message").await, 1);
    until_rows(&server, "push_message", 0).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_is_told_after_a_kill() {
    let (_folder, mut service) = service().await;
    let data = tempfile::tempdir().unwrap();
    let egress = format!("[egress]\nallow = [\"{}\"]\nca_file = {:?}\n", service.address, service.cert);
    std::fs::write(data.path().join("tandem.toml"), egress).unwrap();
    let tandem = Tandem::on(data.path());
    tandem.json(&["org", "create", "Shop", "--slug", "shop"]).await;
    let made = tandem.json(&["app", "create", "shop", "--org", "shop"]).await;
    let (app, key) = (made["id"].as_str().unwrap(), made["api_key"].as_str().unwrap());
    let mut running = tandem.start("serve", &[]).await;
    let opened = running.client().post(&format!("/v1/chat/widget/{app}/rooms"), &json!({})).await.expect(201);
    let room = opened["room"]["id"].as_str().unwrap();
    let visitor = running.client().bearing(opened["token"].as_str().unwrap());
    service.subscribe(&visitor, "201", "ann").await;
    let path = format!("/v1/chat/rooms/{room}/messages");
    running.client().bearing(key).post(&path, &json!({"body": "Hello"})).await.expect(201);
    // Nothing has left yet: a page is given a moment to come back.
    let (http, sip) = (running.http, running.sip);
    running.kill().await;
    running = tandem.start_at("serve", http, sip, &[]).await;
    let came = service.next().await;
    assert_eq!((&came["error"], &came["told"]["room"]), (&Value::Null, &json!(room)), "{came}");
    service.stays_quiet().await;
    drop(running);
}
