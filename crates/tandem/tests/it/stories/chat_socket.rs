//! A chat by WebSocket: two sides talk, a client comes back, a slow one is sent away, and nobody hears what is not theirs.

use std::time::Duration;

use kernel::Role;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::harness::chat::{Line, opened, seqs};
use crate::harness::relay::Wire;
use crate::harness::server::Server;

/// A socket looks at its credential again every 20 s.
const LOOKED_AT_AGAIN: Duration = Duration::from_secs(60);
/// Frames of so many bytes, so many of them, are more than the buffers of a connection hold.
const LENGTH: usize = 7_000;
const FILLING: i64 = 2_000;

#[tokio::test(flavor = "multi_thread")]
async fn two_sides_talk_and_each_sees_what_is_for_it() {
    let server = Server::start().await;
    let org = server.org("shop").await;
    let shop = org.shop(&[]).await;
    let agent = org.person(Role::Agent).await;
    let ours = shop.room("ann").await;
    let http = server.app.http();
    let (mut agent, ready) = Line::hello(http, &agent, json!({})).await;
    assert_eq!((&ready["you"]["role"], &ready["missed"]), (&json!("agent"), &json!([])));
    let (mut visitor, ready) = Line::hello(http, &ours.token, json!({})).await;
    assert_eq!(ready["heads"], json!({ &ours.room: 0 }));
    assert_eq!(ready["you"], json!({"role": "visitor"}));
    assert_eq!(agent.expect("presence").await["state"], "online");

    visitor.send(&ours.room, "c1", "Hello").await;
    let (first, second) = (visitor.next().await, visitor.next().await);
    let (msg, ack) = if first["type"] == "msg" { (first, second) } else { (second, first) };
    assert_eq!((&msg["seq"], &ack["seq"]), (&json!(1), &json!(1)));
    assert_eq!((&msg["id"], &msg["at"], &msg["cid"]), (&ack["id"], &ack["at"], &json!("c1")));
    assert_eq!((&msg["side"], &msg["role"], &msg["body"]), (&json!(false), &json!("visitor"), &json!("Hello")));
    assert!(msg["sender"].is_null(), "who the visitor is: {msg}");
    assert_eq!(agent.expect("msg").await, msg, "written once, the same for all");

    agent.sent(&ours.room, "a1", "Good day").await;
    let answer = visitor.expect("msg").await;
    assert_eq!((&answer["seq"], &answer["side"], &answer["role"]), (&json!(2), &json!(true), &json!("agent")));

    // What passes by: a draft is for the support alone, and nobody hears of the own typing.
    visitor.say(json!({"type": "draft", "room": ours.room, "text": "I wou"})).await;
    assert_eq!(agent.expect("draft").await["text"], "I wou");
    agent.say(json!({"type": "typing", "room": ours.room})).await;
    let typing = visitor.next().await;
    assert_eq!(
        (&typing["type"], &typing["on"], &typing["from"]["role"]),
        (&json!("typing"), &json!(true), &json!("support"))
    );
    visitor.say(json!({"type": "read", "room": ours.room, "seq": 2})).await;
    let read = agent.expect("read").await;
    assert_eq!((&read["seq"], &read["delivered"], &read["from"]["role"]), (&json!(2), &json!(2), &json!("visitor")));

    visitor.say(json!({"type": "edit", "room": ours.room, "seq": 1, "body": "Hello!"})).await;
    let edit = agent.expect("edit").await;
    assert_eq!((&edit["seq"], &edit["body"], &edit["id"]), (&json!(1), &json!("Hello!"), &msg["id"]));
    visitor.say(json!({"type": "delete", "room": ours.room, "id": msg["id"]})).await;
    assert_eq!(agent.expect("delete").await["seq"], 1);
    // Nobody takes back another's words.
    visitor.until(|frame| frame["type"] == "delete").await;
    visitor.say(json!({"type": "delete", "room": ours.room, "seq": 2})).await;
    let refused = visitor.expect("error").await;
    assert_eq!((&refused["code"], &refused["room"]), (&json!("forbidden"), &json!(ours.room)));
    visitor.say(json!({"type": "ping"})).await;
    assert_eq!(visitor.next().await, json!({"type": "pong"}));

    let list = shop.client.get(&format!("/v1/chat/rooms/{}/messages", ours.room)).await.expect(200);
    assert_eq!((&list["head"], &list["messages"][0]["body"]), (&json!(2), &Value::Null), "a tombstone stays");
    let whole = shop.client.get(&format!("/v1/chat/rooms/{}", ours.room)).await.expect(200);
    assert_eq!((&whole["visitor_mark"]["read"], &whole["support_mark"]["read"]), (&json!(2), &json!(0)));
    drop(visitor);
    assert_eq!(agent.until(|frame| frame["state"] == "offline").await["type"], "presence");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_comes_back_misses_nothing_and_hears_nothing_twice() {
    const MISSED: i64 = 250;
    let server = Server::start().await;
    let org = server.org("shop").await;
    let shop = org.shop(&[]).await;
    let ours = shop.room("ann").await;
    let wire = Wire::to(server.app.http()).await;
    let (mut visitor, _) = Line::hello(wire.address, &ours.token, json!({})).await;
    let (mut app, _) = Line::hello(server.app.http(), &shop.key, json!({})).await;
    app.sent(&ours.room, "a1", "1").await;
    assert_eq!(visitor.expect("msg").await["seq"], 1);
    wire.cut(true);
    for n in 2..=MISSED {
        app.sent(&ours.room, &format!("a{n}"), &n.to_string()).await;
    }
    wire.cut(false);

    // It resumes while more is being said.
    let resumed = async {
        let (mut visitor, ready) = Line::hello(wire.address, &ours.token, json!({ &ours.room: 1 })).await;
        let mut frames = ready["missed"].as_array().unwrap().clone();
        assert!(!frames.is_empty());
        assert!(ready["heads"][&ours.room].as_i64().unwrap() >= MISSED);
        while seqs(&frames, &ours.room).last() != Some(&(MISSED + 50)) {
            frames.push(visitor.next().await);
        }
        visitor.say(json!({"type": "ping"})).await;
        assert_eq!(visitor.next().await, json!({"type": "pong"}), "and nothing after the head");
        frames
    };
    let more = async {
        for n in MISSED + 1..=MISSED + 50 {
            app.sent(&ours.room, &format!("a{n}"), &n.to_string()).await;
        }
    };
    let (frames, ()) = tokio::join!(resumed, more);
    assert_eq!(seqs(&frames, &ours.room), (2..=MISSED + 50).collect::<Vec<_>>());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_sent_again_is_the_same_message() {
    let server = Server::start().await;
    let org = server.org("shop").await;
    let shop = org.shop(&[("limit_messages_burst", "1000"), ("limit_messages_per_minute", "1000")]).await;
    let ours = shop.room("ann").await;
    let http = server.app.http();
    let (mut one, _) = Line::hello(http, &ours.token, json!({})).await;
    let (mut two, _) = Line::hello(http, &ours.token, json!({})).await;
    let first = one.sent(&ours.room, "c1", "Hello").await;
    assert_eq!(one.sent(&ours.room, "c1", "Hello").await, first);
    // Both tabs in one moment.
    for n in 0..20 {
        let cid = format!("race{n}");
        let (left, right) = tokio::join!(one.sent(&ours.room, &cid, "x"), two.sent(&ours.room, &cid, "x"));
        assert_eq!(left, right);
    }
    let body = json!({"cid": "c1", "body": "Hello"});
    let again =
        server.client().bearing(&ours.token).post(&format!("/v1/chat/rooms/{}/messages", ours.room), &body).await;
    assert_eq!(again.expect(201)["id"], first["id"]);
    let list = shop.client.get(&format!("/v1/chat/rooms/{}/messages?limit=500", ours.room)).await.expect(200);
    assert_eq!((list["head"].as_i64(), list["messages"].as_array().unwrap().len()), (Some(21), 21));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_no_good_credential_never_hears_ready() {
    let server = Server::start().await;
    let (org, other) = (server.org("shop").await, server.org("other").await);
    let (shop, theirs) = (org.shop(&[]).await, other.shop(&[]).await);
    let (ann, bob) = (shop.room("ann").await, shop.room("bob").await);
    let elsewhere = theirs.room("eve").await;
    let http = server.app.http();
    let member = org.person(Role::Member).await;
    let flows = org.app_key(&[kernel::Scope::Flows]).await;
    for (hello, code, close) in [
        (json!({"type": "hello", "token": "vt_wrong"}), "unauthorized", 4401),
        (json!({"type": "hello", "token": "pt_wrong"}), "unauthorized", 4401),
        (json!({"type": "hello"}), "unauthorized", 4401),
        (json!({"type": "hello", "token": member}), "forbidden", 4403),
        (json!({"type": "hello", "token": flows}), "forbidden", 4403),
        (json!({"type": "ping"}), "wrong_state", 1008),
        (json!({"type": "hello", "rooms": 7}), "invalid_request", 1008),
    ] {
        let mut line = Line::open(http, "", &[]).await.unwrap();
        line.say(hello.clone()).await;
        let error = line.next().await;
        assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!(code)), "{hello}");
        assert_eq!(line.next().await["closed"], close, "{hello}");
    }
    // Another's room: named in a hello, or in a frame, by a neighbour or by another organisation.
    let (mut line, ready) = Line::hello(http, &ann.token, json!({ &bob.room: 0, &elsewhere.room: 0 })).await;
    assert_eq!(ready["heads"], json!({ &ann.room: 0 }));
    for _ in 0..2 {
        assert_eq!(line.expect("error").await["code"], "not_found");
    }
    for room in [&bob.room, &elsewhere.room] {
        for frame in [
            json!({"type": "send", "room": room, "cid": "c", "body": "x"}),
            json!({"type": "typing", "room": room}),
            json!({"type": "read", "room": room, "seq": 1}),
            json!({"type": "edit", "room": room, "seq": 1, "body": "x"}),
            json!({"type": "delete", "room": room, "seq": 1}),
        ] {
            line.say(frame.clone()).await;
            let error = line.next().await;
            assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("not_found")), "{frame}");
        }
    }
    let (mut stranger, _) = Line::hello(http, &theirs.key, json!({})).await;
    let (mut neighbour, _) = Line::hello(http, &bob.token, json!({})).await;
    line.sent(&ann.room, "c1", "for us").await;
    for other in [&mut stranger, &mut neighbour] {
        other.say(json!({"type": "ping"})).await;
        assert_eq!(other.next().await, json!({"type": "pong"}));
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_site_is_heard_where_its_application_allows_it() {
    let server = Server::start().await;
    let org = server.org("shop").await;
    let shop = org.shop(&[("allowed_origins", "https://shop.example")]).await;
    let ours = shop.room("ann").await;
    let http = server.app.http();
    let own = format!("http://{http}");
    for (origin, welcome) in
        [("https://shop.example", true), ("https://evil.example", false), (own.as_str(), true), ("null", false)]
    {
        let mut line = Line::open(http, "", &[("origin", origin)]).await.unwrap();
        line.say(json!({"type": "hello", "token": ours.token})).await;
        let answer = line.next().await;
        let expected = if welcome { "ready" } else { "error" };
        assert_eq!(answer["type"], expected, "{origin}: {answer}");
        if !welcome {
            assert_eq!((&answer["code"], line.next().await["closed"].as_i64()), (&json!("foreign_origin"), Some(4403)));
        }
        // A page that says whose widget it has is refused at the door.
        let named = Line::open(http, &format!("?app={}", shop.app), &[("origin", origin)]).await;
        assert_eq!(named.is_ok(), welcome, "{origin}");
        let request =
            server.client().bearing(&ours.token).request(Method::GET, "/v1/chat/rooms").header("origin", origin);
        let reply = server.client().send(request).await;
        assert_eq!(reply.status, if welcome { 200 } else { 403 }, "{origin}");
        let events = server.client().bearing(&ours.token).request(Method::GET, "/v1/chat/events");
        let events = events.header("origin", origin).send().await.unwrap();
        // Our own pages need nobody's yes, and so get none.
        let echo = (welcome && origin != own).then_some(origin);
        let allowed = |headers: &reqwest::header::HeaderMap| {
            headers.get("access-control-allow-origin").map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(allowed(&reply.headers).as_deref(), echo, "{origin}");
        assert_eq!((events.status() == 200, allowed(events.headers()).as_deref()), (welcome, echo), "{origin}");
        for path in ["/v1/chat/rooms", "/v1/chat/events"] {
            let asked = server.client().request(Method::OPTIONS, path).header("origin", origin);
            assert_eq!(allowed(&server.client().send(asked).await.headers).as_deref(), echo, "{origin}: {path}");
        }
    }
    // The cookie of a console session counts for our own pages alone.
    let owner = server.signed_in(&server.identity(&org.token).await).await.cookie();
    for (origin, kind) in [(own.as_str(), "ready"), ("https://shop.example", "error")] {
        let mut line = Line::open(http, "", &[("origin", origin), ("cookie", owner.as_str())]).await.unwrap();
        line.say(json!({"type": "hello"})).await;
        assert_eq!(line.next().await["type"], kind, "{origin}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_told_to_come_back_and_loses_nothing() {
    let server = Server::start().await;
    let org = server.org("shop").await;
    let shop = org.shop(&[]).await;
    let ours = shop.room("ann").await;
    let http = server.app.http();
    let (mut slow, _) = Line::hello(http, &ours.token, json!({})).await;
    let (mut app, _) = Line::hello(http, &shop.key, json!({})).await;
    let body = "x".repeat(LENGTH);
    // Nobody reads the visitor's socket meanwhile.
    for n in 1..=FILLING {
        app.send(&ours.room, &format!("a{n}"), &body).await;
        if n % 50 == 0 {
            app.until(|frame| frame["type"] == "ack" && frame["seq"] == n).await;
        }
    }
    let mut frames = Vec::new();
    let closed = loop {
        let frame = slow.next().await;
        if !frame["closed"].is_null() {
            break frame;
        }
        frames.push(frame);
    };
    assert_eq!(closed["closed"], 4008, "{closed}");
    let heard = seqs(&frames, &ours.room);
    assert_eq!(heard, (1..=heard.len() as i64).collect::<Vec<_>>(), "what it got is without a hole");
    let last = heard.last().copied().unwrap_or(0);
    assert!(last < FILLING);
    let (mut back, ready) = Line::hello(http, &ours.token, json!({ &ours.room: last })).await;
    let mut rest = seqs(ready["missed"].as_array().unwrap(), &ours.room);
    while rest.last() != Some(&FILLING) {
        rest.push(back.expect("msg").await["seq"].as_i64().unwrap());
    }
    assert_eq!(rest, (last + 1..=FILLING).collect::<Vec<_>>());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_ends_with_the_credential_that_opened_it() {
    let server = Server::start().await;
    let org = server.org("shop").await;
    let shop = org.shop(&[]).await;
    let ours = shop.room("ann").await;
    let http = server.app.http();
    let (mut app, _) = Line::hello(http, &shop.key, json!({})).await;
    let (mut visitor, _) = Line::hello(http, &ours.token, json!({})).await;
    let kernel = &server.app.kernel;
    for key in kernel.app_keys(&org.org.id, &shop.app).await.unwrap() {
        kernel.revoke_app_key(&org.org.id, &key.id).await.unwrap();
    }
    let ended = timeout(LOOKED_AT_AGAIN, async {
        loop {
            let frame = app.next().await;
            if !frame["closed"].is_null() {
                break frame;
            }
        }
    });
    assert_eq!(ended.await.expect("it ends")["closed"], 4401);
    visitor.sent(&ours.room, "c1", "still here").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_are_opened_listed_closed_and_opened_again() {
    let server = Server::start().await;
    let org = server.org("shop").await;
    let shop = org.shop(&[]).await;
    let ask = json!({"user_id": "ann", "product": "LOGOSCAN", "label": "L", "portfolio": "P"});
    let first = opened(shop.client.post("/v1/chat/rooms", &ask).await.expect(201));
    let same = shop.client.post("/v1/chat/rooms", &ask).await.expect(200);
    assert_eq!(
        (&same["room"]["id"], same.get("token")),
        (&json!(first.room), None),
        "the open one, and no token of it"
    );
    let visitor = server.client().bearing(&first.token);
    let own = opened_again(visitor.post("/v1/chat/rooms", &json!({"product": "LOGIN"})).await.expect(201));
    let list = visitor.get("/v1/chat/rooms?order=oldest").await.expect(200);
    let ids: Vec<&Value> = list["rooms"].as_array().unwrap().iter().map(|room| &room["id"]).collect();
    assert_eq!(ids, [&json!(first.room), &json!(own)]);
    assert_eq!(visitor.get("/v1/chat/rooms?limit=1").await.expect(200)["rooms"].as_array().unwrap().len(), 1);

    let path = format!("/v1/chat/rooms/{}", first.room);
    assert_eq!(visitor.post(&format!("{path}/close"), &json!({})).await.status, 403);
    assert_eq!(shop.client.post(&format!("{path}/close"), &json!({})).await.expect(200)["state"], "closed");
    let refused = visitor.post(&format!("{path}/messages"), &json!({"body": "too late"})).await.expect(409);
    assert_eq!(refused["code"], "chat_closed");
    assert_eq!(shop.client.post(&format!("{path}/reopen"), &json!({})).await.expect(200)["state"], "open");
    visitor.post(&format!("{path}/messages"), &json!({"body": {"any": ["JSON"]}})).await.expect(201);
    let edited = visitor.patch(&format!("{path}/messages/1"), &json!({"body": "words"})).await.expect(200);
    assert_eq!(edited["body"], "words");
    assert_eq!(
        visitor.post(&format!("{path}/read"), &json!({"read": 9})).await.expect(200),
        json!({"delivered": 1, "read": 1})
    );
    assert_eq!(visitor.delete(&format!("{path}/messages/1")).await.expect(200)["body"], Value::Null);
    assert_eq!(visitor.get(&format!("{path}/messages?after=1")).await.expect(200)["messages"], json!([]));
    let before = visitor.get(&format!("{path}/messages?before=2")).await.expect(200);
    assert_eq!(before["messages"][0]["seq"], 1);
    for wrong in ["?limit=0", "?limit=501", "?after=1&before=2", "?after=x"] {
        assert_eq!(visitor.get(&format!("{path}/messages{wrong}")).await.status, 400, "{wrong}");
    }
    server.stop().await;
}

fn opened_again(answer: Value) -> String {
    assert!(answer.get("token").is_none(), "a visitor that is known has its token: {answer}");
    answer["room"]["id"].as_str().unwrap().to_owned()
}
