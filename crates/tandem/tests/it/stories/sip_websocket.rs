//! `/sip` from outside: the handshake, and who is at the other end of it.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use reqwest::Method;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::harness::server::{Plan, Server};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(5);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Opens a socket with these headers beside the handshake's own.
async fn open(server: &Server, headers: &[(&'static str, &str)]) -> Result<Socket, tungstenite::Error> {
    let mut request = format!("ws://{}/sip", server.app.http()).into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, HeaderValue::from_str(value).unwrap());
    }
    Ok(connect_async(request).await?.0)
}

/// The status with which a handshake was refused.
async fn refusal(server: &Server, headers: &[(&'static str, &str)]) -> u16 {
    match open(server, headers).await {
        Err(tungstenite::Error::Http(response)) => response.status().as_u16(),
        other => panic!("not refused: {other:?}"),
    }
}

const SUBPROTOCOL: (&str, &str) = ("sec-websocket-protocol", "sip");

fn options(seq: u32) -> String {
    format!(
        "OPTIONS sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/WS a.invalid;rport;branch=z9hG4bK-{seq}\r\nMax-Forwards: 70\r\n\
         From: <sip:a@127.0.0.1>;tag=1\r\nTo: <sip:127.0.0.1>\r\nCall-ID: c\r\nCSeq: {seq} OPTIONS\r\n\r\n"
    )
}

async fn answer(socket: &mut Socket) -> Message {
    loop {
        match timeout(PATIENCE, socket.next()).await.expect("a frame").expect("an open socket").unwrap() {
            Message::Ping(_) => {}
            frame => return frame,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_name_the_subprotocol_and_then_speak_sip() {
    let server = Server::start().await;
    assert_eq!(refusal(&server, &[]).await, 400);
    assert_eq!(refusal(&server, &[("sec-websocket-protocol", "chat")]).await, 400);
    let plain = server.client();
    assert_eq!(plain.send(plain.request(Method::GET, "/sip")).await.status, 400, "no handshake at all");

    let mut socket = open(&server, &[SUBPROTOCOL]).await.unwrap();
    socket.send(Message::text(options(1))).await.unwrap();
    let Message::Text(text) = answer(&mut socket).await else { panic!("text is answered by text") };
    assert!(text.starts_with("SIP/2.0 200 ") && text.contains("Via: SIP/2.0/WS a.invalid"), "{text}");
    socket.send(Message::binary(options(2))).await.unwrap();
    let Message::Text(text) = answer(&mut socket).await else { panic!("a binary frame is a message too") };
    assert!(text.contains("CSeq: 2 OPTIONS"), "{text}");
    socket.send(Message::text("\r\n\r\n")).await.unwrap();
    assert_eq!(answer(&mut socket).await, Message::text("\r\n"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_proxy_the_phone_is_known_by_its_own_address() {
    let proxy = "127.0.0.1/32".parse().unwrap();
    let server = Plan::new().with(|config| config.trusted_proxy.push(proxy)).start().await;
    let forwarded = [SUBPROTOCOL, ("x-forwarded-for", "203.0.113.7"), ("x-forwarded-proto", "https")];
    let mut socket = open(&server, &forwarded).await.unwrap();
    socket.send(Message::text(options(1))).await.unwrap();
    let Message::Text(text) = answer(&mut socket).await else { panic!("a message") };
    assert!(text.contains("received=203.0.113.7"), "{text}");
    server.stop().await;
}
