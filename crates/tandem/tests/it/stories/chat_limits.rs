//! What a visitor may use up of a chat by socket: each limit is hit, and said with how long to wait.

use futures_util::SinkExt;
use serde_json::json;

use crate::harness::chat::Line;
use crate::harness::server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_has_so_many_sockets_and_gets_them_back() {
    let server = Server::start().await;
    let org = server.org("shop").await;
    let shop = org.shop(&[("limit_sockets", "2")]).await;
    let (ann, bob) = (shop.room("ann").await, shop.room("bob").await);
    let http = server.app.http();
    let (mut first, _) = Line::hello(http, &ann.token, json!({})).await;
    let (mut second, _) = Line::hello(http, &ann.token, json!({})).await;
    // The newest is the page that somebody looks at: the oldest gives way, and is told why.
    let (third, _) = Line::hello(http, &ann.token, json!({})).await;
    let error = first.next().await;
    assert_eq!(error["code"], "rate_limited");
    assert!(error["retry_after"].as_u64().unwrap() > 0, "{error}");
    assert_eq!(first.next().await["closed"], 4429);
    second.say(json!({"type": "ping"})).await;
    second.expect("pong").await;
    let reader = server.client().bearing(&ann.token);
    let events = || async { reader.request(reqwest::Method::GET, "/v1/chat/events").send().await.unwrap().status() };
    assert_eq!(events().await, 429, "a stream is one of them too, and sends nobody away");
    Line::hello(http, &bob.token, json!({})).await;
    drop((second, third));
    // They are seen to have gone a moment later.
    for _ in 0..200 {
        if events().await == 200 {
            server.stop().await;
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the place of a socket that was closed is never given back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_sends_so_many_messages_by_any_way() {
    let server = Server::start().await;
    let org = server.org("shop").await;
    let shop = org.shop(&[]).await;
    let ours = shop.room("ann").await;
    let (mut line, _) = Line::hello(server.app.http(), &ours.token, json!({})).await;
    // Ten at once, then one in two seconds.
    let mut sent = 0;
    let error = loop {
        sent += 1;
        line.send(&ours.room, &format!("c{sent}"), "x").await;
        let answer = line.until(|frame| frame["type"] == "ack" || frame["type"] == "error").await;
        if answer["type"] == "error" {
            break answer;
        }
        assert!(sent < 60, "no limit is reached");
    };
    sent -= 1;
    assert!(sent >= 10, "{sent}");
    assert_eq!((&error["code"], &error["cid"]), (&json!("rate_limited"), &json!(format!("c{}", sent + 1))));
    assert!(error["retry_after"].as_u64().unwrap() >= 1, "{error}");
    // What was sent before is acknowledged again; a retry is no new message.
    assert_eq!(line.sent(&ours.room, "c10", "x").await["seq"], 10);
    let path = format!("/v1/chat/rooms/{}/messages", ours.room);
    let visitor = server.client().bearing(&ours.token);
    let refused = loop {
        let reply = visitor.post(&path, &json!({"body": "x"})).await;
        if reply.status != 201 {
            break reply;
        }
    };
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!(refused.expect(429)["code"], "rate_limited");
    // The support answers all the same.
    shop.client.post(&path, &json!({"body": "slowly, please"})).await.expect(201);
    let long = "é".repeat(8_001);
    let refused = shop.client.post(&path, &json!({ "body": long })).await.expect(422);
    assert_eq!(refused["errors"][0]["pointer"], "/body");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drafts_and_signs_of_typing_count_each_for_itself() {
    let server = Server::start().await;
    let org = server.org("shop").await;
    let shop = org.shop(&[]).await;
    let ours = shop.room("ann").await;
    let (mut app, _) = Line::hello(server.app.http(), &shop.key, json!({})).await;
    let (mut ann, _) = Line::hello(server.app.http(), &ours.token, json!({})).await;
    for text in ["H", "Hello"] {
        ann.say(json!({"type": "typing", "room": ours.room})).await;
        ann.say(json!({"type": "draft", "room": ours.room, "text": text})).await;
    }
    for text in ["H", "Hello"] {
        let draft = app.expect("draft").await;
        assert_eq!(draft["text"], text, "two at once are within the limit, whatever else was typed");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_with_a_nul_is_refused_by_its_name() {
    let server = Server::start().await;
    let org = server.org("shop").await;
    let ours = org.shop(&[]).await.room("ann").await;
    let (mut ann, _) = Line::hello(server.app.http(), &ours.token, json!({})).await;
    ann.send(&ours.room, "c1", "a\0b").await;
    let error = ann.expect("error").await;
    assert_eq!(
        error,
        json!({"type": "error", "code": "nul_character", "message": "a text holds U+0000", "room": ours.room, "cid": "c1"})
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_frames_ends_its_socket() {
    let server = Server::start().await;
    let org = server.org("shop").await;
    let shop = org.shop(&[]).await;
    let ours = shop.room("ann").await;
    let (mut line, _) = Line::hello(server.app.http(), &ours.token, json!({})).await;
    for _ in 0..400 {
        // It is sent away before the last one.
        let _gone = line.0.send(r#"{"type":"ping"}"#.into()).await;
    }
    let last = line.until(|frame| frame["type"] == "error").await;
    assert_eq!(last["code"], "rate_limited");
    assert_eq!(line.next().await["closed"], 4429);
    server.stop().await;
}
