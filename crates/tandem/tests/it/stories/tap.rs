//! The live tap: events as they happen, by WebSocket and by SSE, from a cursor on.

use std::time::Duration;

use calls::NewUser;
use futures_util::StreamExt;
use kernel::app::NewApp;
use kernel::{Event, Role, Scope};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::harness::server::{Plan, Server, Tenant};

const SOON: Duration = Duration::from_secs(10);
/// A tap looks at its credential again every 20 s.
const LOOKED_AT_AGAIN: Duration = Duration::from_secs(60);
/// So many events of so many bytes are more than the buffers of a connection hold.
const FILLING: i64 = 400;
const LENGTH: usize = 50_000;

/// Writes one event of a tenant, as a desk would.
async fn tell(server: &Server, tenant: &Tenant<'_>, seq: i64) {
    tell_at_length(server, tenant, seq, 0).await;
}

/// The same with so many more bytes in it.
async fn tell_at_length(server: &Server, tenant: &Tenant<'_>, seq: i64, length: usize) {
    let kernel = &server.app.kernel;
    let now_ms = kernel.clock.now_ms();
    let event = Event {
        id: kernel.ids.new("evt", now_ms),
        kind: "call.ringing".to_owned(),
        time_ms: now_ms,
        org: tenant.org.id.clone(),
        key: "call_1".to_owned(),
        seq,
        body: json!({"data": {"n": seq, "more": "x".repeat(length)}}),
    };
    kernel.db.writer().commit(vec![kernel::events::event_write(&event)]).await.unwrap();
}

type Socket = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

async fn open(server: &Server, token: &str, query: &str) -> Socket {
    let mut request = format!("ws://{}/v1/tap{query}", server.app.http()).into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    tokio_tungstenite::connect_async(request).await.unwrap().0
}

async fn next(socket: &mut Socket) -> Value {
    loop {
        match timeout(SOON, socket.next()).await.expect("a frame comes").unwrap().unwrap() {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Ping(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_shows_events_as_they_happen_and_goes_on_from_a_cursor() {
    let server = Server::start().await;
    let (mine, other) = (server.org("mine").await, server.org("other").await);
    tell(&server, &mine, 1).await;
    let mut socket = open(&server, &mine.token, "").await;
    tell(&server, &other, 1).await;
    tell(&server, &mine, 2).await;
    let second = next(&mut socket).await;
    assert_eq!((&second["type"], &second["seq"], &second["data"]["n"]), (&json!("call.ringing"), &json!(2), &json!(2)));
    drop(socket);

    tell(&server, &mine, 3).await;
    let mut socket = open(&server, &mine.token, &format!("?cursor={}", second["cursor"].as_str().unwrap())).await;
    assert_eq!(next(&mut socket).await["seq"], 3, "neither left out nor shown twice");
    tell(&server, &mine, 4).await;
    assert_eq!(next(&mut socket).await["seq"], 4);

    // The list is the same log.
    let page = mine.client().get("/v1/events?limit=3").await.expect(200);
    let seqs: Vec<i64> =
        page["events"].as_array().unwrap().iter().map(|event| event["seq"].as_i64().unwrap()).collect();
    assert_eq!(seqs, [1, 2, 3]);
    let rest = mine.client().get(&format!("/v1/events?cursor={}", page["cursor"].as_str().unwrap())).await.expect(200);
    assert_eq!(rest["events"][0]["seq"], 4);
    server.stop().await;
}

/// Waits until `/metrics` counts so many taps.
async fn until_open(server: &Server, taps: usize) {
    let wanted = format!("\ntandem_taps {taps}\n");
    let counted = async {
        while !server.client().get("/metrics").await.text.contains(&wanted) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(timeout(SOON, counted).await.is_ok(), "not {taps} taps: {}", server.client().get("/metrics").await.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organisation_has_so_many_taps_and_each_is_counted() {
    let server = Plan::new().with(|config| config.limits.concurrent_taps = 2).start().await;
    let (mine, other) = (server.org("mine").await, server.org("other").await);
    let client = mine.client();
    until_open(&server, 0).await;
    let socket = open(&server, &mine.token, "").await;
    let events = client.request(Method::GET, "/v1/tap").send().await.unwrap();
    assert_eq!(events.status(), 200);
    until_open(&server, 2).await;
    let limited = client.get("/v1/tap").await;
    assert_eq!((limited.status, &limited.json()["code"]), (429, &json!("rate_limited")));
    assert!(limited.headers.contains_key("retry-after"));
    let others = open(&server, &other.token, "").await;
    until_open(&server, 3).await;

    // A tap that is closed, of either kind, gives its place back.
    drop(socket);
    until_open(&server, 2).await;
    drop(events);
    until_open(&server, 1).await;
    let again = open(&server, &mine.token, "").await;
    until_open(&server, 2).await;
    drop((again, others));
    until_open(&server, 0).await;
    server.stop().await;
}

/// Whoever reads nothing does not keep a place, by either kind of tap.
#[tokio::test(flavor = "multi_thread")]
async fn a_live_tap_that_is_not_read_gives_its_place_back() {
    let server = Server::start().await;
    let mine = server.org("mine").await;
    // With little room on this side, the server's buffers are full after some megabytes.
    let deaf = tokio::net::TcpSocket::new_v4().unwrap();
    deaf.set_recv_buffer_size(4096).unwrap();
    let mut deaf = deaf.connect(server.app.http()).await.unwrap();
    let request =
        format!("GET /v1/tap HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\r\n", server.app.http(), mine.token);
    deaf.write_all(request.as_bytes()).await.unwrap();
    until_open(&server, 1).await;
    for seq in 1..=FILLING {
        tell_at_length(&server, &mine, seq, LENGTH).await;
    }
    let given_back = async {
        while server.app.kernel.limits.taps() > 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(LOOKED_AT_AGAIN, given_back).await.expect("the place is given back");
    drop(deaf);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn server_sent_events_carry_their_cursor_as_id() {
    let server = Server::start().await;
    let mine = server.org("mine").await;
    let client = mine.client();
    let lines = async |last: Option<&str>| {
        let mut request = client.request(Method::GET, "/v1/tap");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        tell(&server, &mine, if last.is_some() { 2 } else { 1 }).await;
        let mut stream = answer.bytes_stream();
        let mut text = String::new();
        while !text.contains("\n\n") || !text.contains("data:") {
            let chunk = timeout(SOON, stream.next()).await.expect("an event comes").unwrap().unwrap();
            text += std::str::from_utf8(&chunk).unwrap();
        }
        text
    };
    let first = lines(None).await;
    assert!(first.contains("event: call.ringing\n") && first.contains("\"seq\":1"), "{first}");
    let id = first.lines().find_map(|line| line.strip_prefix("id: ")).unwrap().to_owned();
    let second = lines(Some(&id)).await;
    assert!(second.contains("\"seq\":2") && !second.contains("\"seq\":1"), "{second}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tap_is_for_those_who_may_see_every_call() {
    let server = Server::start().await;
    let mine = server.org("mine").await;
    let status = async |token: &str| server.client().bearing(token).get("/v1/events").await.status;
    assert_eq!(status("pt_wrong").await, 401);
    assert_eq!(status(&mine.person(Role::Member).await).await, 403);
    assert_eq!(status(&mine.person(Role::Supervisor).await).await, 200);
    assert_eq!(status(&mine.person(Role::Auditor).await).await, 200);
    assert_eq!(status(&mine.app_key(&[Scope::Flows]).await).await, 200);
    assert_eq!(status(&mine.app_key(&[Scope::Chat]).await).await, 403);
    let wrong = mine.client().get("/v1/tap?cursor=%25%25").await;
    assert_eq!(wrong.expect(400)["code"], "invalid_cursor");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_tap_ends_with_the_credential_that_opened_it() {
    let server = Server::start().await;
    let mine = server.org("mine").await;
    let app = NewApp { name: "crm".to_owned(), scopes: Vec::new(), settings: Vec::new() };
    let (app, key) = server.app.kernel.create_app(&mine.org.id, app).await.unwrap();
    let auditor = NewUser { name: "Auditor".to_owned(), role: Some(Role::Auditor), ..NewUser::default() };
    let auditor = calls::create_user(&server.app.kernel, &mine.org, auditor).await.unwrap();

    let mut staying = open(&server, &mine.token, "").await;
    let mut socket = open(&server, auditor.auth_token.expose(), "").await;
    // The client of the other tests ends every answer after a while.
    let patient = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = patient.get(format!("http://{}/v1/tap", server.app.http())).bearer_auth(key.expose());
    let mut sent = request.send().await.unwrap().bytes_stream();
    tell(&server, &mine, 1).await;
    assert_eq!(next(&mut socket).await["seq"], 1);
    let first = timeout(SOON, sent.next()).await.expect("an event comes").unwrap().unwrap();
    assert!(std::str::from_utf8(&first).unwrap().contains("\"seq\":1"));

    let kernel = &server.app.kernel;
    for token in kernel.person_tokens(&mine.org.id, &auditor.id).await.unwrap() {
        kernel.revoke_person_token(&mine.org.id, &token.id).await.unwrap();
    }
    for key in kernel.app_keys(&mine.org.id, &app.id).await.unwrap() {
        kernel.revoke_app_key(&mine.org.id, &key.id).await.unwrap();
    }
    let websocket_ends = async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Ping(_))) => {}
                other => break other,
            }
        }
    };
    let stream_ends = async {
        while let Some(chunk) = sent.next().await {
            chunk.expect("it ends in order");
        }
    };
    let (closed, ()) =
        timeout(LOOKED_AT_AGAIN, async { tokio::join!(websocket_ends, stream_ends) }).await.expect("both taps end");
    assert!(matches!(closed, Some(Ok(Message::Close(_)))), "{closed:?}");

    // A tap whose credential is good goes on.
    assert_eq!(next(&mut staying).await["seq"], 1);
    tell(&server, &mine, 2).await;
    assert_eq!(next(&mut staying).await["seq"], 2);
    server.stop().await;
}
