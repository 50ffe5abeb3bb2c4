//! `/v1/rtc` from outside: who may have a phone in a page, and what rings there.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use kernel::{Role, Scope};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::harness::server::{Plan, Server, Tenant};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(10);

/// A phone's socket.
pub(super) struct Phone(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Phone {
    async fn open(server: &Server, headers: &[(&'static str, &str)]) -> Result<Self, tungstenite::Error> {
        Self::open_at(server, "/v1/rtc", headers).await
    }

    pub(super) async fn open_at(
        server: &Server,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, tungstenite::Error> {
        let mut request = format!("ws://{}{path}", server.app.http()).into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, HeaderValue::from_str(value).unwrap());
        }
        Ok(Self(connect_async(request).await?.0))
    }

    pub(super) async fn say(&mut self, frame: &Value) {
        self.0.send(Message::text(frame.to_string())).await.unwrap();
    }

    /// The next frame, or the code with which the server closes.
    async fn next_or_code(&mut self) -> Result<Value, Option<u16>> {
        loop {
            match timeout(PATIENCE, self.0.next()).await.expect("a frame, or an end") {
                Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(close))) => return Err(close.map(|close| close.code.into())),
                Some(Err(_)) | None => return Err(None),
                Some(Ok(other)) => panic!("{other:?}"),
            }
        }
    }

    /// The next frame; none when the server has closed.
    pub(super) async fn next(&mut self) -> Option<Value> {
        self.next_or_code().await.ok()
    }

    /// The error with which it is sent away, and the code.
    pub(super) async fn sent_away(mut self) -> (String, u16) {
        let error = self.next().await.expect("a reason");
        assert_eq!(error["type"], "error", "{error}");
        let code = self.next_or_code().await.expect_err("and closed").expect("by a code");
        (error["code"].as_str().unwrap().to_owned(), code)
    }
}

/// Opens, says this first, and is sent away.
async fn sent_away(server: &Server, headers: &[(&'static str, &str)], first: Value) -> (String, u16) {
    let mut phone = Phone::open(server, headers).await.unwrap();
    phone.say(&first).await;
    phone.sent_away().await
}

/// The status with which a handshake is refused.
async fn refusal(server: &Server, headers: &[(&'static str, &str)]) -> u16 {
    match Phone::open(server, headers).await {
        Err(tungstenite::Error::Http(response)) => response.status().as_u16(),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("not refused"),
    }
}

/// A person with an extension, and its token.
async fn person(server: &Server, acme: &Tenant<'_>, extension: &str, role: Role) -> String {
    let new = calls::NewUser {
        name: format!("Person {extension}"),
        extension: Some(extension.to_owned()),
        role: Some(role),
        ..calls::NewUser::default()
    };
    let made = calls::create_user(&server.app.kernel, &acme.org, new).await.unwrap();
    made.auth_token.expose().to_owned()
}

/// A phone that is online.
pub(super) async fn online(server: &Server, token: &str, extension: &str) -> Phone {
    let mut phone = Phone::open(server, &[]).await.unwrap();
    phone.say(&json!({"type": "hello", "token": token})).await;
    let ready = phone.next().await.unwrap();
    assert_eq!((&ready["type"], &ready["extension"]), (&json!("ready"), &json!(extension)), "{ready}");
    phone
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_with_an_extension_has_a_phone_and_nobody_else() {
    let plan = Plan::new().with(|config| {
        config.media.ice_servers = vec!["turn:turn.example.org".to_owned()];
        config.media.turn_secret = Some("north".into());
    });
    let server = plan.start().await;
    let acme = server.org("acme").await;
    let member = person(&server, &acme, "1001", Role::Member).await;
    let auditor = person(&server, &acme, "1002", Role::Auditor).await;
    let hello = || json!({"type": "hello"});
    let with = |token: &str| json!({"type": "hello", "token": token});

    let away = async |first: Value| sent_away(&server, &[], first).await;
    let said = |code: &str, close: u16| (code.to_owned(), close);
    assert_eq!(away(hello()).await, said("unauthorized", 4401));
    assert_eq!(away(with("pt_wrong")).await, said("unauthorized", 4401));
    assert_eq!(away(with(&auditor)).await, said("unauthorized", 4401));
    assert_eq!(away(with(&acme.token)).await, said("no_extension", 4403), "the owner has none");
    assert_eq!(away(with(&acme.app_key(&[]).await)).await, said("no_extension", 4403), "a machine has none");
    assert_eq!(away(json!({"type": "ping"})).await, said("wrong_state", 1008));
    assert_eq!(away(json!(["hello"])).await, said("invalid_frame", 1008));

    let bearer = |token: &str| format!("Bearer {token}");
    assert_eq!(refusal(&server, &[("authorization", &bearer("pt_wrong"))]).await, 401);
    assert_eq!(refusal(&server, &[("authorization", &bearer(&auditor))]).await, 403);
    let chat = acme.app_key(&[Scope::Chat]).await;
    assert_eq!(refusal(&server, &[("authorization", &bearer(&chat))]).await, 403);

    let mut phone = Phone::open(&server, &[("authorization", &bearer(&member))]).await.unwrap();
    phone.say(&hello()).await;
    let ready = phone.next().await.unwrap();
    assert_eq!(ready["name"], "Person 1001", "{ready}");
    assert_eq!(ready["calls"], json!([]));
    let relay = &ready["ice_servers"][0];
    assert_eq!(relay["urls"], json!(["turn:turn.example.org"]));
    assert!(relay["username"].as_str().unwrap().contains(":per_") && relay["credential"].is_string(), "{relay}");
    server.stop().await;
}

/// The cookie of the person with this token, who has signed in.
async fn signed_in(server: &Server, acme: &Tenant<'_>, token: &str) -> String {
    let known = server.app.kernel.authenticate(token).await.unwrap().unwrap();
    let whose = kernel::sign_in::Identity::Person {
        org: acme.org.id.clone(),
        person: known.principal.person().unwrap().to_string(),
    };
    let link = server.app.kernel.create_link(&whose).await.unwrap();
    let browser = server.browser();
    let reply = browser.send(browser.post_page(&format!("/console/link/{}", link.expose()), &[])).await;
    reply.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_site_gets_nothing_by_the_cookie() {
    let plan = Plan::new().with(|config| config.public_url = Some("https://calls.example.org".to_owned()));
    let server = plan.start().await;
    let acme = server.org("acme").await;
    let cookie = signed_in(&server, &acme, &person(&server, &acme, "1001", Role::Member).await).await;
    let own = format!("http://{}", server.app.http());

    assert_eq!(refusal(&server, &[("cookie", &cookie), ("origin", "https://evil.example")]).await, 403);
    assert_eq!(refusal(&server, &[("cookie", &cookie)]).await, 403, "no page of ours says nothing");
    // A page sees nothing of a refused handshake: it is told by the socket that its session is over.
    let wrong = [("cookie", "tandem_session=st_wrong"), ("origin", own.as_str())];
    let over = sent_away(&server, &wrong, json!({"type": "hello"})).await;
    assert_eq!(over, ("unauthorized".to_owned(), 4401));
    // Behind a proxy that asks by another Host the page's origin is the public address.
    for origin in [own.as_str(), "https://calls.example.org"] {
        let mut phone = Phone::open(&server, &[("cookie", &cookie), ("origin", origin)]).await.unwrap();
        phone.say(&json!({"type": "hello"})).await;
        assert_eq!(phone.next().await.unwrap()["type"], "ready", "{origin}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_signs_out_loses_phone_and_calls_at_once_and_is_told_why() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let token = person(&server, &acme, "1001", Role::Member).await;
    let cookie = signed_in(&server, &acme, &token).await;
    let own = format!("http://{}", server.app.http());
    let mut phone = Phone::open(&server, &[("cookie", &cookie), ("origin", &own)]).await.unwrap();
    phone.say(&json!({"type": "hello"})).await;
    assert_eq!(phone.next().await.unwrap()["type"], "ready");
    let client = acme.client();
    let flow = json!({"flow": [{"id": 1, "type": "call", "number": "1001", "timeout": 60}]});
    let run = client.post("/api/v2/call/flow", &flow).await.expect(201);
    let call = format!("/v1/calls/{}", run["call_id"].as_str().unwrap());
    let incoming = phone.next().await.unwrap();
    assert_eq!(incoming["type"], "incoming", "{incoming}");

    let credential = server.app.kernel.authenticate(&token).await.unwrap().unwrap();
    let person = credential.principal.person().unwrap();
    let sessions = server.app.kernel.sessions(&acme.org.id, person).await.unwrap();
    server.app.kernel.revoke_session(&acme.org.id, &sessions[0].id).await.unwrap();
    let ended = phone.next().await.unwrap();
    assert_eq!((&ended["type"], &ended["cause"]), (&json!("ended"), &json!("rejected")), "{ended}");
    assert_eq!(phone.sent_away().await, ("unauthorized".to_owned(), 4401));
    let ended = client.until(&call, "its end", |call| call["state"] == "completed").await;
    assert_eq!(ended["cause"], "rejected", "{ended}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_for_relays_are_renewed_before_they_end() {
    let plan = Plan::new().with(|config| {
        config.media.ice_servers = vec!["turn:turn.example.org".to_owned()];
        config.media.turn_secret = Some("north".into());
    });
    let server = plan.at(1_700_000_000_000).start().await;
    let acme = server.org("acme").await;
    let token = person(&server, &acme, "1001", Role::Member).await;
    let mut phone = Phone::open(&server, &[]).await.unwrap();
    phone.say(&json!({"type": "hello", "token": token})).await;
    let ready = phone.next().await.unwrap();
    let until = |frame: &Value| -> i64 {
        let name = frame["ice_servers"][0]["username"].as_str().unwrap();
        name.split_once(':').unwrap().0.parse().unwrap()
    };
    assert_eq!(until(&ready), 1_700_086_400);
    server.clock().advance(12 * 3_600_000);
    let renewed = phone.next().await.unwrap();
    assert_eq!(renewed["type"], "ice_servers");
    assert_eq!(until(&renewed), 1_700_086_400 + 43_200);
    // Whoever comes back is given fresh ones too.
    drop(phone);
    server.clock().advance(3_600_000);
    let mut phone = Phone::open(&server, &[]).await.unwrap();
    phone.say(&json!({"type": "hello", "token": token, "phone": ready["phone"]})).await;
    let again = phone.next().await.unwrap();
    assert_eq!((&again["type"], until(&again)), (&json!("ready"), 1_700_086_400 + 46_800));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_that_says_too_much_is_sent_away() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let token = person(&server, &acme, "1001", Role::Member).await;
    let mut phone = online(&server, &token, "1001").await;
    for _ in 0..60 {
        phone.say(&json!({"type": "ping"})).await;
        assert_eq!(phone.next().await.unwrap(), json!({"type": "pong"}));
    }
    // A thousand at once are more than a minute has, however slow this machine is.
    for _ in 0..1_300 {
        if phone.0.send(Message::text(r#"{"type":"ping"}"#)).await.is_err() {
            break;
        }
    }
    let code = loop {
        match phone.next_or_code().await {
            Ok(frame) if frame["type"] == "pong" => {}
            Ok(frame) => assert_eq!((&frame["type"], &frame["code"]), (&json!("error"), &json!("rate_limited"))),
            Err(code) => break code,
        }
    };
    assert_eq!(code, Some(4429));
    online(&server, &token, "1001").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_cannot_be_taken_is_answered_and_changes_nothing() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let mut phone = online(&server, &person(&server, &acme, "1001", Role::Member).await, "1001").await;
    for (frame, code) in [
        (json!({"type": "dance"}), "invalid_frame"),
        (json!({"type": "call", "id": "c1"}), "invalid_frame"),
        (json!({"type": "call", "id": "", "to": "1002", "sdp": ""}), "invalid_frame"),
        (json!({"type": "call", "id": "c1", "to": " ", "sdp": ""}), "invalid_frame"),
        (json!({"type": "call", "id": "c1", "to": "1002", "sdp": "v=0"}), "bad_sdp"),
        (json!({"type": "hangup", "id": "c1"}), "unknown_call"),
        (json!({"type": "hello"}), "wrong_state"),
    ] {
        phone.say(&frame).await;
        let error = phone.next().await.unwrap();
        assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!(code)), "{frame}: {error}");
    }
    phone.say(&json!({"type": "ping"})).await;
    assert_eq!(phone.next().await.unwrap(), json!({"type": "pong"}));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_rings_the_phone_and_hears_why_it_does_not_answer() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let token = person(&server, &acme, "1001", Role::Member).await;
    let client = acme.client();
    let flow = json!({"flow": [{"id": 1, "type": "call", "number": "1001"}]});
    let call = async || {
        let run = client.post("/api/v2/call/flow", &flow).await.expect(201);
        format!("/v1/calls/{}", run["call_id"].as_str().unwrap())
    };
    let nobody = call().await;
    let ended = client.until(&nobody, "its end", |call| call["state"] == "completed").await;
    assert_eq!(ended["cause"], "unreachable", "no phone is open: {ended}");

    let (mut one, mut other) = (online(&server, &token, "1001").await, online(&server, &token, "1001").await);
    let refused = call().await;
    let incoming = one.next().await.unwrap();
    assert_eq!(incoming["type"], "incoming", "{incoming}");
    let sdp = incoming["sdp"].as_str().unwrap();
    assert!(sdp.contains("a=ice-lite") && sdp.contains("a=candidate:1 1 udp 2130706431 127.0.0.1 "), "{sdp}");
    assert_eq!(other.next().await.unwrap()["type"], "incoming", "both windows ring");
    for phone in [&mut one, &mut other] {
        let reject = json!({"type": "reject", "id": "", "sip_code": 486});
        phone.say(&reject).await;
        assert_eq!(phone.next().await.unwrap()["code"], "unknown_call");
    }
    one.say(&json!({"type": "reject", "id": incoming["id"], "sip_code": 486})).await;
    assert_eq!(one.next().await.unwrap()["cause"], "busy");
    // Whoever closes the window does not answer either.
    drop(other);
    let ended = client.until(&refused, "its end", |call| call["state"] == "completed").await;
    assert!(["busy", "unreachable"].contains(&ended["cause"].as_str().unwrap()), "{ended}");
    server.stop().await;
}
