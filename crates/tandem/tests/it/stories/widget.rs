//! What a visitor's page asks for: how the widget looks, a room by one request, attachments, the message that is left, the
//! rating, the transcript; and that another visitor, another tenant and another origin get nothing of it.

use kernel::secret::hex;
use serde_json::{Value, json};

use crate::harness::client::Client;
use crate::harness::server::{Plan, Server};
use crate::harness::widget::{Shop, put};

/// 2026-11-22, a Sunday, at noon UTC.
const SUNDAY_NOON_MS: i64 = 1_795_348_800_000;
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n0000000000000000";

async fn outbox(server: &Server, org: &str) -> Vec<kernel::notice::Notice> {
    server.app.kernel.notices(org, "", 100).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_widget_looks_as_its_application_says_and_knows_when_somebody_is_there() {
    let server = Plan::new().at(SUNDAY_NOON_MS).start().await;
    let acme = server.org("acme").await;
    let settings = [
        ("widget_title", "Acme <desk>"),
        ("widget_accent", "#ffcc00"),
        ("widget_position", "left"),
        ("widget_hours", "mon-fri 09:00-17:00"),
        ("widget_zone", "Europe/Berlin"),
        ("widget_offline_email", "desk@acme.example"),
    ];
    let shop = Shop::of(&acme, &server, &settings).await;
    let look = shop.stranger.get(&shop.path("")).await.expect(200);
    assert_eq!(look["title"], "Acme <desk>");
    assert_eq!((&look["accent"], &look["accent_text"]), (&json!("#ffcc00"), &json!("#000000")), "dark words on yellow");
    assert_eq!((&look["is_open"], &look["opens_at"]), (&json!(false), &json!("2026-11-23T08:00:00.000Z")));
    assert!(!look.to_string().contains("desk@"), "where messages go is told to nobody: {look}");
    server.clock().advance(21 * 3_600_000);
    let look = shop.stranger.get(&shop.path("")).await.expect(200);
    assert_eq!((&look["is_open"], &look["opens_at"]), (&json!(true), &Value::Null));

    let script = shop.stranger.get(&format!("/w/{}.js", shop.id)).await;
    assert_eq!(
        (script.status, script.headers["content-type"].to_str().unwrap()),
        (200, "text/javascript; charset=utf-8")
    );
    assert!(
        script.text.contains(&shop.id)
            && script.text.contains("\"left\"")
            && !script.text.contains("/* tandem:config */")
    );
    assert!(!script.text.contains("Acme"), "the name is read by the frame");
    let tag = script.headers["etag"].to_str().unwrap();
    let again = shop.stranger.request(reqwest::Method::GET, &format!("/w/{}.js", shop.id)).header("if-none-match", tag);
    assert_eq!(shop.stranger.send(again).await.status, 304);

    let frame = shop.stranger.get(&format!("/w/{}/frame", shop.id)).await;
    assert_eq!(frame.status, 200);
    assert!(frame.text.contains("Acme &#60;desk&#62;") && frame.text.contains("mode=\"widget\""), "{}", frame.text);
    for missing in ["/w/app_none.js", "/w/app_none/frame", "/c/app_none", "/c/none", "/v1/chat/widget/app_none", "/w/x"]
    {
        assert_eq!(shop.stranger.get(missing).await.status, 404, "{missing}");
    }
    let new =
        kernel::app::NewApp { name: "Calls".to_owned(), scopes: vec![kernel::Scope::Meetings], settings: Vec::new() };
    let (calls, _) = server.app.kernel.create_app(&acme.org.id, new).await.unwrap();
    assert_eq!(shop.stranger.get(&shop.path("").replace(&shop.id, &calls.id)).await.status, 404, "no scope chat");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_listed_sites_hold_the_frame_and_read_answers() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let shop = Shop::of(&acme, &server, &[("allowed_origins", "https://shop.example, https://m.shop.example")]).await;
    let policy = async |path: &str| {
        let reply = shop.stranger.get(path).await;
        reply.headers["content-security-policy"].to_str().unwrap().to_owned()
    };
    let frame = policy(&format!("/w/{}/frame?host=https://m.shop.example", shop.id)).await;
    assert!(
        frame.ends_with("frame-ancestors 'self' https://m.shop.example"),
        "the other one is nobody's to know: {frame}"
    );
    assert!(frame.contains(&format!("connect-src 'self' ws://{};", server.app.http())), "{frame}");
    let by_referer = shop.stranger.request(reqwest::Method::GET, &format!("/w/{}/frame", shop.id));
    let by_referer = shop.stranger.send(by_referer.header("referer", "https://shop.example/cart")).await;
    let frame = by_referer.headers["content-security-policy"].to_str().unwrap();
    assert!(frame.ends_with("frame-ancestors 'self' https://shop.example"), "{frame}");
    assert!(
        by_referer.text.contains("shop.example") && !by_referer.text.contains("m.shop.example"),
        "{}",
        by_referer.text
    );
    for stranger in ["", "?host=https://evil.example", "?host=*", "?host=https://shop.example%20*"] {
        let frame = policy(&format!("/w/{}/frame{stranger}", shop.id)).await;
        assert!(frame.ends_with("frame-ancestors 'self'"), "{frame}");
    }
    let page = policy(&format!("/c/{}", shop.id)).await;
    assert!(page.ends_with("frame-ancestors 'none'"), "{page}");
    let from = async |origin: &str| {
        let request = shop.stranger.request(reqwest::Method::GET, &shop.path("")).header("origin", origin);
        let reply = shop.stranger.send(request).await;
        let allowed = reply.headers.get("access-control-allow-origin").map(|value| value.to_str().unwrap().to_owned());
        (reply.status, allowed)
    };
    assert_eq!(from("https://shop.example").await, (200, Some("https://shop.example".to_owned())));
    assert_eq!(from("https://evil.example").await, (403, None));
    assert_eq!(from("https://shop.example.evil.example").await.0, 403);
    let guest = shop.guest().await;
    let steal =
        guest.client.request(reqwest::Method::GET, &guest.path("/standing")).header("origin", "https://evil.example");
    assert_eq!(guest.client.send(steal).await.status, 403);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_comes_back_by_its_token_and_nobody_by_naming_it() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let other = server.org("other").await;
    let shop = Shop::of(&acme, &server, &[("widget_product", "WIFIQRCODE")]).await;
    let opened = shop.open(None, json!({"identity": {"name": "Ann", "email": "ann@example.org"}})).await.expect(201);
    let (room, token) = (opened["room"]["id"].as_str().unwrap(), opened["token"].as_str().unwrap());
    assert_eq!((&opened["room"]["product"], &opened["room"]["label"]), (&json!("WIFIQRCODE"), &json!("acme")));
    let again = shop.open(Some(token), json!({})).await.expect(200);
    assert_eq!((&again["room"]["id"], again.get("token")), (&json!(room), None));
    let user = opened["room"]["user_id"].as_str().unwrap();
    let thief = shop.open(None, json!({"identity": {"user_id": user}})).await.expect(201);
    assert_ne!(thief["room"]["id"], room, "a name opens nothing");
    let fresh = shop.open(Some(token), json!({"fresh": true})).await.expect(201);
    assert_ne!(fresh["room"]["id"], room);
    assert_eq!(fresh["room"]["visitor"], opened["room"]["visitor"]);
    for bad in ["vt_wrong", "hello", token.trim_end_matches(|c: char| c.is_alphanumeric())] {
        shop.open(Some(bad), json!({})).await.expect(401);
    }
    // Another application's page does not know this visitor.
    let second = Shop::of(&other, &server, &[]).await;
    second.open(Some(token), json!({})).await.expect(401);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_the_application_vouches_for_finds_the_room_at_every_device() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let secret = "a secret of the shop's own server";
    let shop = Shop::of(&acme, &server, &[("identity", "verified"), ("identity_secret", secret)]).await;
    shop.open(None, json!({})).await.expect(401);
    shop.open(None, json!({"identity": {"user_id": "ann"}})).await.expect(401);
    shop.open(None, json!({"identity": {"user_id": "ann", "user_hash": "00".repeat(32)}})).await.expect(401);
    let hash = |user: &str| {
        use hmac::{Hmac, KeyInit as _, Mac as _};
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(user.as_bytes());
        hex(&mac.finalize().into_bytes())
    };
    let ann = json!({"identity": {"user_id": "ann", "user_hash": hash("ann")}});
    let look = json!({"identity": ann["identity"], "look": true});
    assert_eq!(shop.open(None, look.clone()).await.status, 404, "who only looks makes nothing");
    let (org, app) = (acme.org.id.as_str().into(), shop.id.as_str().into());
    assert_eq!(server.app.chats.known_user(&org, &app, "ann").await.unwrap(), None);
    let desk = shop.open(None, ann.clone()).await.expect(201);
    let phone = shop.open(None, ann).await.expect(200);
    assert_eq!(desk["room"]["id"], phone["room"]["id"]);
    assert_eq!(shop.open(None, look).await.expect(200)["room"]["id"], desk["room"]["id"]);
    assert_eq!(desk["room"]["user_id"], "ann");
    assert_ne!(desk["token"], phone["token"], "each browser has its own");
    let tom = shop.open(None, json!({"identity": {"user_id": "tom", "user_hash": hash("ann")}})).await;
    assert_eq!(tom.status, 401, "{}", tom.text);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attachment_is_brought_once_by_its_signed_address_and_seen_by_its_room_alone() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let shop = Shop::of(&acme, &server, &[]).await;
    let (ann, tom) = (shop.guest().await, shop.guest().await);
    let place = ann.announce("../cat.png", "text/html", PNG.len()).await.expect(201);
    let url = place["upload_url"].as_str().unwrap();
    assert_eq!(put(&shop.stranger, &url.replace("signature=", "signature=x"), PNG).await.status, 404);
    let later = url.replace("expires=1", "expires=2");
    assert_eq!(put(&shop.stranger, &later, PNG).await.status, 404, "the time is signed too");
    let larger = [PNG, b"!"].concat();
    assert_eq!(put(&shop.stranger, url, &larger).await.status, 413);
    let file = put(&shop.stranger, url, PNG).await.expect(200);
    assert_eq!(
        (&file["name"], &file["type"], &file["size"]),
        (&json!("cat.png"), &json!("image/png"), &json!(PNG.len()))
    );
    assert_eq!(put(&shop.stranger, url, PNG).await.status, 404, "it was used");

    let path = format!("/v1/chat/files/{}", file["file"].as_str().unwrap());
    let seen = ann.client.get(&path).await;
    assert_eq!((seen.status, seen.headers["content-type"].to_str().unwrap()), (200, "image/png"));
    assert_eq!(seen.headers["x-content-type-options"], "nosniff");
    assert!(seen.headers["content-security-policy"].to_str().unwrap().contains("sandbox"));
    assert_eq!(shop.client.get(&path).await.status, 200, "the application's server may");
    assert_eq!(acme.client().get(&path).await.status, 200, "who answers may");
    for (who, status) in [(&tom.client, 404), (&server.client(), 401)] {
        assert_eq!(who.get(&path).await.status, status);
    }
    let other = server.org("other").await;
    assert_eq!(other.client().get(&path).await.status, 404);

    let page = ann.bring("x.svg", "image/svg+xml", b"<svg onload='alert(1)'/>").await;
    let shown = ann.client.get(&format!("/v1/chat/files/{}", page["file"].as_str().unwrap())).await;
    assert_eq!(shown.headers["content-type"], "application/octet-stream");
    assert!(shown.headers["content-disposition"].to_str().unwrap().starts_with("attachment; filename*=UTF-8''x.svg"));
    assert_eq!(ann.announce("a", "", 10 * 1024 * 1024 + 1).await.status, 413);
    assert_eq!(ann.announce("a", "", 0).await.status, 422);
    assert_eq!(
        tom.client.post("/v1/chat/uploads", &json!({"room": ann.room, "name": "a", "size": 1})).await.status,
        404
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_that_is_over_is_rated_and_sent_by_mail() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let shop = Shop::of(&acme, &server, &[("widget_title", "Acme")]).await;
    let (ann, tom) = (shop.guest().await, shop.guest().await);
    let chats = &server.app.chats;
    let visitor = chats.authenticate_visitor(&ann.token).await.unwrap().unwrap();
    let asker = tandem::chat::Asker::from(&visitor);
    let said = tandem::chat::model::Draft::text("Where is my parcel?");
    chats.send(&asker, &ann.room, said).await.unwrap();

    let good = json!({"score": 4, "comment": "quick"});
    assert_eq!(ann.client.post(&ann.path("/rating"), &good).await.expect(409)["code"], "chat_goes_on");
    tom.client.post(&ann.path("/end"), &json!({})).await.expect(404);
    assert_eq!(ann.client.post(&ann.path("/end"), &json!({})).await.expect(200)["state"], "closed");
    let standing = ann.client.get(&ann.path("/standing")).await.expect(200);
    assert_eq!((&standing["rated"], &standing["marks"]["support"]["read"]), (&json!(false), &json!(0)));
    for bad in [json!({"score": 0}), json!({"score": 6}), json!({"score": 3, "comment": "x".repeat(2_001)})] {
        ann.client.post(&ann.path("/rating"), &bad).await.expect(422);
    }
    tom.client.post(&ann.path("/rating"), &good).await.expect(404);
    acme.client().post(&ann.path("/rating"), &good).await.expect(403);
    ann.client.post(&ann.path("/rating"), &good).await.expect(204);
    assert_eq!(ann.client.get(&ann.path("/standing")).await.expect(200)["rated"], true);
    let events = acme.client().get("/v1/events?limit=100").await.expect(200);
    let rated: Vec<&Value> =
        events["events"].as_array().unwrap().iter().filter(|event| event["type"] == "room.rated").collect();
    assert_eq!(rated.len(), 1, "{events}");
    assert_eq!((&rated[0]["data"]["score"], &rated[0]["data"]["comment"]), (&json!(4), &json!("quick")));

    let wish = json!({"email": "ann@example.org", "locale": "de"});
    tom.client.post(&ann.path("/transcript"), &wish).await.expect(404);
    ann.client.post(&ann.path("/transcript"), &json!({"email": "nobody"})).await.expect(422);
    ann.client.post(&ann.path("/transcript"), &wish).await.expect(202);
    let mails = outbox(&server, &acme.org.id).await;
    assert_eq!((mails[0].recipient.as_str(), mails[0].subject.as_str()), ("ann@example.org", "Ihr Chat: Acme"));
    assert!(mails[0].text().ends_with("Sie\nWhere is my parcel?"), "{}", mails[0].text());
    for _ in 0..2 {
        ann.client.post(&ann.path("/transcript"), &wish).await.expect(202);
    }
    let refused = ann.client.post(&ann.path("/transcript"), &wish).await;
    assert_eq!(refused.status, 429);
    assert!(refused.headers.contains_key("retry-after"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_left_stands_in_a_room_and_is_told_by_mail() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let shop = Shop::of(&acme, &server, &[("widget_offline_email", "desk@acme.example")]).await;
    let left = json!({
        "name": "Ann", "email": "ann@example.org", "message": "Call me back\nplease", "page": "https://shop.example/cart",
    });
    let room = shop.stranger.post(&shop.path("/offline"), &left).await.expect(201);
    let mail = outbox(&server, &acme.org.id).await.remove(0);
    assert_eq!((mail.recipient.as_str(), mail.subject.as_str()), ("desk@acme.example", "Message from Ann"));
    let text = mail.text();
    for part in
        ["Ann <ann@example.org>", "Call me back\nplease", "https://shop.example/cart", room["room"].as_str().unwrap()]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
    let owner = server.identity(&acme.token).await;
    let kernel::sign_in::Identity::Person { org, person } = owner else { panic!("a person") };
    let asker = tandem::chat::Asker::Person { org: org.into(), id: person.into(), role: kernel::Role::Owner };
    let said = server.app.chats.messages(&asker, room["room"].as_str().unwrap(), 0, 10).await.unwrap();
    assert_eq!(said.len(), 1);
    assert_eq!(
        (said[0].author.as_str(), said[0].body.as_ref().unwrap().words()),
        ("Ann", "Call me back\nplease".into())
    );
    for (field, bad) in [("email", "nobody"), ("message", " "), ("name", "a\nb")] {
        let mut wrong = left.clone();
        wrong[field] = json!(bad);
        let reply = shop.stranger.post(&shop.path("/offline"), &wrong).await;
        assert_eq!(reply.status, 422, "{field}: {}", reply.text);
        assert_eq!(reply.json()["errors"][0]["pointer"], format!("/{field}"), "{}", reply.text);
    }
    assert_eq!(outbox(&server, &acme.org.id).await.len(), 1);
    // Sent again, because the answer was lost on its way, it is the same one.
    let mut named = left.clone();
    named["cid"] = json!("0123456789abcdef");
    let first = shop.stranger.post(&shop.path("/offline"), &named).await.expect(201);
    let again = shop.stranger.post(&shop.path("/offline"), &named).await.expect(201);
    assert_eq!((&again, outbox(&server, &acme.org.id).await.len()), (&first, 2));
    assert_ne!(first, room);
    let said = server.app.chats.messages(&asker, first["room"].as_str().unwrap(), 0, 10).await.unwrap();
    assert_eq!(said.len(), 1);
    named["cid"] = json!("short");
    shop.stranger.post(&shop.path("/offline"), &named).await.expect(422);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_limit_of_a_stranger_is_reached_and_says_when_to_come_again() {
    let server = Plan::new().at(SUNDAY_NOON_MS).start().await;
    let acme = server.org("acme").await;
    let settings =
        [("limit_sessions_per_minute", "3"), ("limit_conversations_per_hour", "2"), ("limit_uploads_per_hour", "2")];
    let shop = Shop::of(&acme, &server, &settings).await;
    let ann = shop.guest().await;
    let over = async |client: &Client, path: &str, body: Value| {
        let reply = client.post(path, &body).await;
        assert_eq!(reply.status, 429, "{path}: {}", reply.text);
        assert!(reply.headers["retry-after"].to_str().unwrap().parse::<u64>().unwrap() > 0);
    };
    for _ in 0..2 {
        ann.announce("a.txt", "text/plain", 5).await.expect(201);
        shop.open(Some(&ann.token), json!({"fresh": true})).await.expect(201);
        shop.open(None, json!({})).await.expect(201);
    }
    over(&ann.client, "/v1/chat/uploads", json!({"room": ann.room, "name": "a", "size": 5})).await;
    over(&ann.client, &shop.path("/rooms"), json!({"fresh": true})).await;
    over(&shop.stranger, &shop.path("/rooms"), json!({})).await;
    let left = json!({"name": "Ann", "email": "ann@example.org", "message": "Hello"});
    over(&shop.stranger, &shop.path("/offline"), left).await;
    server.clock().advance(3_600_000);
    ann.announce("a.txt", "text/plain", 5).await.expect(201);
    shop.open(None, json!({})).await.expect(201);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_only_looks_makes_no_room_and_is_not_told_who_answers() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let shop = Shop::of(&acme, &server, &[]).await;
    let ann = shop.guest().await;
    assert_eq!(shop.open(Some(&ann.token), json!({"look": true})).await.expect(200)["room"]["id"], ann.room.as_str());
    let elsewhere = json!({"look": true, "product": "Another"});
    assert_eq!(shop.open(Some(&ann.token), elsewhere).await.status, 404);
    let rooms = acme.client().get("/v1/chat/rooms").await.expect(200);
    assert_eq!(rooms["rooms"].as_array().unwrap().len(), 1, "{rooms}");
    let path = format!("/v1/chat/rooms/{}", ann.room);
    let taken = acme.client().post(&format!("{path}/take"), &json!({})).await.expect(200);
    assert!(taken["assignee"].is_string() && taken["taken"] == true, "{taken}");
    let seen = ann.client.get(&path).await.expect(200);
    assert_eq!(
        (&seen["taken"], &seen["assignee"], &seen["team"]),
        (&json!(true), &json!(null), &json!(null)),
        "{seen}"
    );
    server.stop().await;
}
