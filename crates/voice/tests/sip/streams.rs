//! Calls over connections that come and go.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use voice::Target;
use voice::cause::Cause;
use voice::leg::LegEvent;

use crate::harness::{Events, Msg, Phone, Server, ack_failure, sdp};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(5);

/// A connection that speaks SIP.
struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Wire {
    async fn to(server: &Server) -> Self {
        Self::over(TcpStream::connect(server.sip).await.unwrap())
    }

    fn over(stream: TcpStream) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// Sends what a phone has written for datagrams.
    async fn send(&mut self, text: &str) {
        self.stream.write_all(text.replace("SIP/2.0/UDP", "SIP/2.0/TCP").as_bytes()).await.unwrap();
    }

    /// The next message that is no 100.
    async fn recv(&mut self) -> Msg {
        let from = self.stream.peer_addr().unwrap();
        loop {
            if let Some(text) = self.cut() {
                let message = Msg { text, from };
                if message.code() != 100 {
                    return message;
                }
            } else {
                let read = timeout(PATIENCE, self.stream.read_buf(&mut self.buffer)).await.expect("a message").unwrap();
                assert!(read > 0, "closed before a message came: {}", String::from_utf8_lossy(&self.buffer));
            }
        }
    }

    fn cut(&mut self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.buffer).into_owned();
        let head = text.find("\r\n\r\n")? + 4;
        let length: usize =
            text[..head].split("Content-Length: ").nth(1)?.split("\r\n").next()?.trim().parse().unwrap();
        let message = text.get(..head + length)?.to_owned();
        self.buffer.drain(..head + length);
        Some(message)
    }

    async fn expect(&mut self, code: u16) -> Msg {
        let message = self.recv().await;
        assert_eq!(message.code(), code, "{}", message.text);
        message
    }

    async fn expect_method(&mut self, method: &str) -> Msg {
        let message = self.recv().await;
        assert_eq!(message.method(), method, "{}", message.text);
        message
    }

    /// Closes, and waits until the server has closed too.
    async fn close(mut self) {
        self.stream.shutdown().await.unwrap();
        let mut rest = Vec::new();
        timeout(PATIENCE, self.stream.read_to_end(&mut rest)).await.expect("the server closes too").unwrap();
    }

    /// Sends a request and answers its challenge.
    async fn authorised(&mut self, phone: &mut Phone, method: &str, uri: &str, fields: &str, body: &str) {
        let first = phone.request(method, uri, fields, body);
        self.send(&first).await;
        let challenge = self.expect(401).await;
        if method == "INVITE" {
            self.send(&ack_failure(&first, &challenge)).await;
        }
        let signed = format!("{fields}{}", phone.answer(&challenge, method, uri, 1));
        let second = phone.request(method, uri, &signed, body);
        self.send(&second).await;
    }

    async fn register(&mut self, phone: &mut Phone) {
        let call_id = std::mem::replace(&mut phone.call_id, format!("reg-{}", phone.addr.port()));
        self.authorised(phone, "REGISTER", "sip:127.0.0.1", "", "").await;
        self.expect(200).await;
        phone.call_id = call_id;
    }

    /// Calls in; the call when it is up.
    async fn call(&mut self, server: &mut Server, phone: &mut Phone) -> (voice::Incoming, Events) {
        self.authorised(phone, "INVITE", "sip:2000@127.0.0.1", "", &sdp(40_000, "")).await;
        let seq = phone.seq;
        let (incoming, mut events) = server.next_call().await;
        incoming.leg.answer();
        let ok = self.expect(200).await;
        let ack = phone.inside("ACK", &ok, seq, "", "");
        self.send(&ack).await;
        assert!(matches!(events.next().await, LegEvent::Answered { .. }));
        (incoming, events)
    }
}

#[tokio::test]
async fn a_phone_that_has_reconnected_is_hung_up_on_its_new_connection() {
    let mut server = Server::start().await;
    let mut phone = server.phone("1001").await;
    let mut first = Wire::to(&server).await;
    first.register(&mut phone).await;
    let (incoming, mut events) = first.call(&mut server, &mut phone).await;
    first.close().await;
    let mut second = Wire::to(&server).await;
    second.register(&mut phone).await;
    incoming.leg.hold(true);
    let hold = second.expect_method("INVITE").await;
    assert_eq!(hold.get("Call-ID"), phone.call_id);
    second.send(&phone.respond(&hold, "200 OK", "", &sdp(40_000, "a=recvonly\r\n"))).await;
    second.expect_method("ACK").await;
    incoming.leg.hangup(Cause::Normal);
    second.expect_method("BYE").await;
    assert_eq!(events.end().await.cause, Cause::Normal);
}

#[tokio::test]
async fn a_phone_that_does_not_come_back_ends_the_call_at_the_next_request() {
    let mut server = Server::start().await;
    let mut phone = server.phone("1001").await;
    let mut first = Wire::to(&server).await;
    first.register(&mut phone).await;
    let (incoming, mut events) = first.call(&mut server, &mut phone).await;
    first.close().await;
    incoming.leg.hold(true);
    assert_eq!(events.end().await.cause, Cause::Unreachable);
}

#[tokio::test]
async fn a_peer_that_listens_is_connected_to_again() {
    let server = Server::start().await;
    let phone = server.phone("2002").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("sip:2002@{};transport=tcp", listener.local_addr().unwrap());
    let (leg, mut events) = server.dial(Target::Uri(uri.clone()), 30_000);
    let mut first = Wire::over(timeout(PATIENCE, listener.accept()).await.unwrap().unwrap().0);
    let invite = first.expect_method("INVITE").await;
    let contact = format!("<sip:2002@{}>", phone.addr);
    let ok = phone.respond(&invite, "200 OK", "", &sdp(40_010, "")).replace(&contact, &format!("<{uri}>"));
    first.send(&ok).await;
    first.expect_method("ACK").await;
    assert!(matches!(events.next().await, LegEvent::Answered { .. }));
    first.close().await;
    leg.hangup(Cause::Normal);
    let mut second = Wire::over(timeout(PATIENCE, listener.accept()).await.expect("a new connection").unwrap().0);
    let bye = second.expect_method("BYE").await;
    assert_eq!((bye.uri(), bye.get("Call-ID")), (uri.as_str(), invite.get("Call-ID")));
}
