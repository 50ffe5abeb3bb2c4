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
struct Phone(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Phone {
    async fn open(server: &Server, headers: &[(&'static str, &str)]) -> Result<Self, tungstenite::Error> {
        let mut request = format!("ws://{}/v1/rtc", server.app.http()).into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, HeaderValue::from_str(value).unwrap());
        }
        Ok(Self(connect_async(request).await?.0))
    }

    async fn say(&mut self, frame: &Value) {
        self.0.send(Message::text(frame.to_string())).await.unwrap();
    }

    /// The next frame; none when the server has closed.
    async fn next(&mut self) -> Option<Value> {
        loop {
            match timeout(PATIENCE, self.0.next()).await.expect("a frame, or an end") {
                Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(other)) => panic!("{other:?}"),
            }
        }
    }

    /// The error with which it is sent away.
    async fn sent_away(mut self) -> String {
        let error = self.next().await.expect("a reason");
        assert_eq!(error["type"], "error", "{error}");
        assert_eq!(self.next().await, None, "and closed");
        error["code"].as_str().unwrap().to_owned()
    }
}

/// Opens, says this first, and is sent away.
async fn sent_away(server: &Server, headers: &[(&'static str, &str)], first: Value) -> String {
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
async fn online(server: &Server, token: &str, extension: &str) -> Phone {
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

    assert_eq!(sent_away(&server, &[], hello()).await, "unauthorized");
    assert_eq!(sent_away(&server, &[], with("pt_wrong")).await, "unauthorized");
    assert_eq!(sent_away(&server, &[], with(&auditor)).await, "unauthorized");
    assert_eq!(sent_away(&server, &[], with(&acme.token)).await, "no_extension", "the owner has none");
    assert_eq!(sent_away(&server, &[], with(&acme.app_key(&[]).await)).await, "no_extension", "a machine has none");
    assert_eq!(sent_away(&server, &[], json!({"type": "ping"})).await, "wrong_state");
    assert_eq!(sent_away(&server, &[], json!(["hello"])).await, "invalid_frame");

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

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_site_gets_nothing_by_the_cookie() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let token = person(&server, &acme, "1001", Role::Member).await;
    let known = server.app.kernel.authenticate(&token).await.unwrap().unwrap();
    let whose = kernel::sign_in::Identity::Person {
        org: acme.org.id.clone(),
        person: known.principal.person().unwrap().to_string(),
    };
    let link = server.app.kernel.create_link(&whose).await.unwrap();
    let browser = server.browser();
    let reply = browser.send(browser.post_page(&format!("/console/link/{}", link.expose()), &[])).await;
    let cookie = reply.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let own = format!("http://{}", server.app.http());

    assert_eq!(refusal(&server, &[("cookie", &cookie), ("origin", "https://evil.example")]).await, 403);
    assert_eq!(refusal(&server, &[("cookie", &cookie)]).await, 403, "no page of ours says nothing");
    assert_eq!(refusal(&server, &[("cookie", "tandem_session=st_wrong"), ("origin", &own)]).await, 401);
    let mut phone = Phone::open(&server, &[("cookie", &cookie), ("origin", &own)]).await.unwrap();
    phone.say(&json!({"type": "hello"})).await;
    assert_eq!(phone.next().await.unwrap()["type"], "ready");
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
