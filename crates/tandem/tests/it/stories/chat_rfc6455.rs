//! The chat's WebSocket against RFC 6455, byte by byte: what a library of ours would never send.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::harness::server::Server;

const PATIENCE: Duration = Duration::from_secs(10);
const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const FIN: u8 = 0x80;
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A connection that speaks frames as it is told to, right or wrong.
struct Raw(TcpStream);

/// A handshake with these lines; the head of the answer.
async fn handshake(server: SocketAddr, method: &str, lines: &[(&str, &str)]) -> (Raw, String) {
    let mut stream = TcpStream::connect(server).await.unwrap();
    let lines: String = lines.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let request = format!("{method} /v1/chat/socket HTTP/1.1\r\nHost: {server}\r\n{lines}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap());
    }
    (Raw(stream), String::from_utf8(head).unwrap().to_lowercase())
}

const GOOD: [(&str, &str); 4] = [
    ("Upgrade", "WebSocket"),
    ("Connection", "keep-alive, Upgrade"),
    ("Sec-WebSocket-Key", KEY),
    ("Sec-WebSocket-Version", "13"),
];

impl Raw {
    async fn open(server: SocketAddr) -> Self {
        let (raw, head) = handshake(server, "GET", &GOOD).await;
        assert!(head.starts_with("http/1.1 101 "), "{head}");
        // The example of section 1.3.
        assert!(head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"), "{head}");
        assert!(!head.contains("sec-websocket-extensions") && !head.contains("sec-websocket-protocol"), "{head}");
        raw
    }

    /// One that has said hello.
    async fn ready(server: SocketAddr, token: &str) -> Self {
        let mut raw = Self::open(server).await;
        raw.frame(FIN | TEXT, json!({"type": "hello", "token": token}).to_string().as_bytes()).await;
        assert_eq!(raw.json().await["type"], "ready");
        raw
    }

    /// Sends a frame, masked as section 5.3 asks.
    async fn frame(&mut self, first: u8, payload: &[u8]) {
        self.frame_of(first, payload.len(), payload).await;
    }

    /// The same with a length that need not be the payload's.
    async fn frame_of(&mut self, first: u8, length: usize, payload: &[u8]) {
        let mut bytes = vec![first];
        match length {
            0..=125 => bytes.push(0x80 | u8::try_from(length).unwrap()),
            126..=0xffff => {
                bytes.push(0x80 | 126);
                bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            _ => {
                bytes.push(0x80 | 127);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        bytes.extend(mask);
        bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        self.raw(&bytes).await;
    }

    async fn raw(&mut self, bytes: &[u8]) {
        // A server that has said its last word may be gone already.
        let _gone = self.0.write_all(bytes).await;
    }

    /// The next frame: its first byte and what it carries. The server masks nothing (section 5.1).
    async fn next(&mut self) -> (u8, Vec<u8>) {
        let read = async {
            let first = self.0.read_u8().await?;
            let length = match self.0.read_u8().await? {
                126 => usize::from(self.0.read_u16().await?),
                127 => usize::try_from(self.0.read_u64().await?).unwrap(),
                short => usize::from(short),
            };
            let mut payload = vec![0; length];
            self.0.read_exact(&mut payload).await?;
            Ok::<_, std::io::Error>((first, payload))
        };
        timeout(PATIENCE, read).await.expect("a frame comes").expect("a whole frame")
    }

    async fn json(&mut self) -> Value {
        let (first, payload) = self.next().await;
        assert_eq!(first, FIN | TEXT);
        serde_json::from_slice(&payload).unwrap()
    }

    /// The code of the close frame, which ends the connection.
    async fn closed(&mut self) -> u16 {
        loop {
            let (first, payload) = self.next().await;
            if first == FIN | CLOSE {
                self.frame(FIN | CLOSE, &payload).await;
                let mut rest = Vec::new();
                let _or_reset = timeout(PATIENCE, self.0.read_to_end(&mut rest)).await.expect("the server ends it");
                assert!(rest.is_empty(), "nothing comes after a close frame");
                return payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
            }
        }
    }
}

async fn fixture() -> (Server, String) {
    let server = Server::start().await;
    let org = server.org("shop").await;
    let token = org.shop(&[]).await.room("ann").await.token;
    (server, token)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_is_taken_as_the_rfc_has_it_and_no_other() {
    let (server, _) = fixture().await;
    let http = server.app.http();
    Raw::open(http).await;
    let without = |name: &str| GOOD.into_iter().filter(|(known, _)| *known != name).collect::<Vec<_>>();
    let with = |name: &'static str, value: &'static str| {
        let mut lines = without(name);
        lines.push((name, value));
        lines
    };
    for (lines, status) in [
        (without("Upgrade"), 400),
        (without("Connection"), 400),
        (without("Sec-WebSocket-Key"), 400),
        (with("Sec-WebSocket-Key", "c2hvcnQ="), 400),
        (with("Sec-WebSocket-Key", "not base 64 at all, !!!!"), 400),
        (without("Sec-WebSocket-Version"), 426),
        (with("Sec-WebSocket-Version", "8"), 426),
    ] {
        let (_, head) = handshake(http, "GET", &lines).await;
        assert!(head.starts_with(&format!("http/1.1 {status} ")), "{lines:?}: {head}");
        assert_eq!(head.contains("sec-websocket-version: 13"), status == 426, "{head}");
    }
    let (_, head) = handshake(http, "POST", &GOOD).await;
    assert!(head.starts_with("http/1.1 405 "), "{head}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pieces_are_put_together_and_control_frames_come_between_them() {
    let (server, token) = fixture().await;
    let mut raw = Raw::ready(server.app.http(), &token).await;
    raw.frame(TEXT, br#"{"type":"#).await;
    raw.frame(FIN | PING, b"between").await;
    raw.frame(CONTINUATION, b"").await;
    raw.frame(FIN | PONG, b"nobody asked").await;
    raw.frame(FIN | CONTINUATION, br#""ping"}"#).await;
    assert_eq!(raw.next().await, (FIN | PONG, b"between".to_vec()));
    assert_eq!(raw.json().await, json!({"type": "pong"}));
    // A character may be cut in two.
    let text = r#"{"type":"ping","é":"👋"}"#.as_bytes();
    let cut = text.len() - 4;
    raw.frame(TEXT, &text[..cut]).await;
    raw.frame(FIN | CONTINUATION, &text[cut..]).await;
    assert_eq!(raw.json().await, json!({"type": "pong"}));
    // Byte by byte on the wire.
    let mut bytes = vec![FIN | TEXT, 0x80 | 15, 0, 0, 0, 0];
    bytes.extend(br#"{"type":"ping"}"#);
    for byte in bytes {
        raw.raw(&[byte]).await;
    }
    assert_eq!(raw.json().await, json!({"type": "pong"}));
    raw.frame(FIN | PING, &[7; 125]).await;
    assert_eq!(raw.next().await, (FIN | PONG, vec![7; 125]));
    raw.frame(FIN | CLOSE, &[&4_000_u16.to_be_bytes()[..], b"bye"].concat()).await;
    assert_eq!(raw.closed().await, 4_000, "the answer has the code");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_breaks_the_protocol_is_told_how() {
    let (server, token) = fixture().await;
    let http = server.app.http();
    // What is sent as raw bytes is a masked frame with a mask of zeros, unless that is what is wrong with it.
    let masked = |first: u8, payload: &[u8]| {
        [&[first, 0x80 | u8::try_from(payload.len()).unwrap(), 0, 0, 0, 0][..], payload].concat()
    };
    let big = vec![b' '; 65_537];
    let cases: Vec<(&str, Vec<u8>, u16)> = vec![
        ("no mask", [&[FIN | TEXT, 2][..], b"{}"].concat(), 1002),
        ("a reserved bit", masked(FIN | 0x40 | TEXT, b"{}"), 1002),
        ("a reserved kind of data", masked(FIN | 3, b"x"), 1002),
        ("a reserved kind of control", masked(FIN | 11, b"x"), 1002),
        ("a continuation of nothing", masked(FIN | CONTINUATION, b"x"), 1002),
        ("a new message inside another", [masked(TEXT, b"{"), masked(FIN | TEXT, b"{}")].concat(), 1002),
        ("a ping in pieces", masked(PING, b"x"), 1002),
        ("a close frame of one byte", masked(FIN | CLOSE, b"x"), 1002),
        ("a close frame with a code that is none", masked(FIN | CLOSE, &1_005_u16.to_be_bytes()), 1002),
        ("a close frame with bad UTF-8", masked(FIN | CLOSE, &[3, 232, 0xff]), 1007),
        ("bad UTF-8", masked(FIN | TEXT, &[b'"', 0xc3, 0x28, b'"']), 1007),
        ("a surrogate", masked(FIN | TEXT, &[0xed, 0xa0, 0x80]), 1007),
        ("bytes", masked(FIN | BINARY, b"x"), 1003),
    ];
    for (what, bytes, code) in cases {
        let mut raw = Raw::ready(http, &token).await;
        raw.raw(&bytes).await;
        assert_eq!(raw.closed().await, code, "{what}");
    }
    let mut raw = Raw::ready(http, &token).await;
    raw.frame_of(FIN | PING, 126, &[0; 126]).await;
    assert_eq!(raw.closed().await, 1002, "a ping that is too long");
    // Too much, in one frame, in many, or only promised.
    let mut raw = Raw::ready(http, &token).await;
    raw.frame(FIN | TEXT, &big).await;
    assert_eq!(raw.closed().await, 1009, "one frame");
    let mut raw = Raw::ready(http, &token).await;
    raw.frame(TEXT, &big[..40_000]).await;
    raw.frame(FIN | CONTINUATION, &big[..40_000]).await;
    assert_eq!(raw.closed().await, 1009, "pieces");
    let mut raw = Raw::ready(http, &token).await;
    raw.frame_of(FIN | TEXT, usize::MAX >> 1, b"").await;
    assert_eq!(raw.closed().await, 1009, "a promise");
    // The largest that is allowed is read.
    let mut raw = Raw::ready(http, &token).await;
    let mut largest = br#"{"type":"ping"}"#.to_vec();
    largest.resize(65_536, b' ');
    raw.frame(FIN | TEXT, &largest).await;
    assert_eq!(raw.json().await, json!({"type": "pong"}));
    server.stop().await;
}
