//! Phones in browsers: SIP over WebSocket (RFC 7118), from the frames up.
#![expect(clippy::disallowed_methods, reason = "a test's phone is a task of its own")]

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Sink, Stream};
use kernel::Clock;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::{PollSendError, PollSender};
use voice::cause::Cause;
use voice::leg::LegEvent;
use voice::ports::{Binding, Transport};
use voice::{SipLimits, Target, WebFrame};

use crate::harness::{Events, MapPorts, Msg, Phone, Server, ack_failure, config, sdp};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(5);
/// Frames that wait between the server and a phone that does not read.
const UNREAD: usize = 4;

/// The server's end of a socket.
struct Socket {
    from_phone: mpsc::Receiver<WebFrame>,
    to_phone: PollSender<WebFrame>,
}

impl Stream for Socket {
    type Item = Result<WebFrame, ()>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.from_phone.poll_recv(cx).map(|frame| frame.map(Ok))
    }
}

impl Sink<WebFrame> for Socket {
    type Error = PollSendError<WebFrame>;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.to_phone.poll_reserve(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, frame: WebFrame) -> Result<(), Self::Error> {
        self.to_phone.send_item(frame)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.to_phone.close();
        Poll::Ready(Ok(()))
    }
}

/// A phone's end of it. The phone itself writes as it would for datagrams.
struct Browser {
    to_server: mpsc::Sender<WebFrame>,
    from_server: mpsc::Receiver<WebFrame>,
    serving: JoinHandle<()>,
}

fn peer(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

impl Browser {
    /// Opens a socket from this port.
    fn open(server: &Server, port: u16) -> Self {
        let place = server.voice.web_socket(peer(port), 8_080, true).expect("a place");
        let (to_server, from_phone) = mpsc::channel(64);
        let (to_phone, from_server) = mpsc::channel(UNREAD);
        let socket = Socket { from_phone, to_phone: PollSender::new(to_phone) };
        Self { to_server, from_server, serving: tokio::spawn(place.serve(socket)) }
    }

    async fn frame(&self, text: &str) {
        self.to_server.send(WebFrame::Message(Bytes::copy_from_slice(text.as_bytes()))).await.unwrap();
    }

    /// Sends a message as a browser spells it: it has no address of its own.
    async fn send(&self, phone: &Phone, text: &str) {
        let address = phone.addr.to_string();
        let spelt = text.replace("SIP/2.0/UDP", "SIP/2.0/WSS").replace(&address, "df7jal23ls0d.invalid");
        self.frame(&spelt.replace("df7jal23ls0d.invalid>", "df7jal23ls0d.invalid;transport=ws>")).await;
    }

    /// The next text that is no 100.
    async fn text(&mut self) -> String {
        loop {
            match timeout(PATIENCE, self.from_server.recv()).await.expect("a frame").expect("an open socket") {
                WebFrame::Message(bytes) if !bytes.starts_with(b"SIP/2.0 100 ") => {
                    return String::from_utf8(bytes.to_vec()).unwrap();
                }
                _ => {}
            }
        }
    }

    async fn recv(&mut self) -> Msg {
        Msg { text: self.text().await, from: peer(8_080) }
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

    /// Sends a request and answers its challenge.
    async fn authorised(&mut self, phone: &mut Phone, method: &str, uri: &str, fields: &str, body: &str) {
        let first = phone.request(method, uri, fields, body);
        self.send(phone, &first).await;
        let challenge = self.expect(401).await;
        if method == "INVITE" {
            self.send(phone, &ack_failure(&first, &challenge)).await;
        }
        let signed = format!("{fields}{}", phone.answer(&challenge, method, uri, 1));
        let second = phone.request(method, uri, &signed, body);
        self.send(phone, &second).await;
    }

    async fn register(&mut self, phone: &mut Phone) -> Msg {
        let call_id = std::mem::replace(&mut phone.call_id, format!("reg-{}", phone.addr.port()));
        self.authorised(phone, "REGISTER", "sip:127.0.0.1", "", "").await;
        phone.call_id = call_id;
        self.expect(200).await
    }

    /// Ends the connection from the phone's side, and waits until the server has noticed.
    async fn close(self) {
        drop(self.to_server);
        timeout(PATIENCE, self.serving).await.expect("the server closes too").unwrap();
    }
}

fn bindings(server: &Server) -> Vec<Binding> {
    server.ports.bindings.lock().unwrap().get("1001").cloned().unwrap_or_default()
}

async fn until_gone(server: &Server) {
    let gone = async {
        while !bindings(server).is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, gone).await.expect("the binding goes with its connection");
}

#[tokio::test]
async fn a_browser_registers_is_called_by_its_socket_and_goes_with_it() {
    let server = Server::start().await;
    let mut phone = server.phone("1001").await;
    let mut browser = Browser::open(&server, 50_001);
    let registered = browser.register(&mut phone).await;
    assert!(registered.get("Contact").contains(".invalid;transport=ws>"), "{}", registered.text);
    for known in [";rport=50001", ";received=127.0.0.1"] {
        assert!(registered.get("Via").contains(known), "{}", registered.text);
    }
    let binding = bindings(&server).pop().expect("a binding");
    assert_eq!((binding.transport, binding.source), (Transport::Wss, peer(50_001)));

    let (leg, mut events) = server.dial(Target::Binding(binding.clone()), 30_000);
    let invite = browser.expect_method("INVITE").await;
    assert_eq!(invite.uri(), binding.contact, "the contact word for word");
    assert!(invite.get("Via").starts_with("SIP/2.0/WSS 127.0.0.1:8080;"), "{}", invite.text);
    assert_eq!(invite.contact_uri(), "sip:127.0.0.1:8080;transport=ws");
    browser.send(&phone, &phone.respond(&invite, "486 Busy Here", "", "")).await;
    browser.expect_method("ACK").await;
    assert_eq!(events.end().await.cause, Cause::Busy);
    drop(leg);

    browser.close().await;
    until_gone(&server).await;
    let (_leg, mut events) = server.dial(Target::Binding(binding), 30_000);
    assert_eq!(events.end().await.cause, Cause::Unreachable);
    server.settle().await;
}

#[tokio::test]
async fn a_browser_calls_and_is_hung_up_on_the_socket_it_has_come_back_with() {
    let mut server = Server::start().await;
    let mut phone = server.phone("1001").await;
    let mut first = Browser::open(&server, 50_002);
    first.register(&mut phone).await;
    first.authorised(&mut phone, "INVITE", "sip:2000@127.0.0.1", "", &sdp(40_020, "")).await;
    let seq = phone.seq;
    let (incoming, mut events) = server.next_call().await;
    incoming.leg.answer();
    let ok = first.expect(200).await;
    let ack = phone.inside("ACK", &ok, seq, "", "");
    first.send(&phone, &ack).await;
    assert!(matches!(events.next().await, LegEvent::Answered { .. }));

    // It comes back before the server has noticed that the first socket is gone.
    let mut second = Browser::open(&server, 50_003);
    second.register(&mut phone).await;
    first.close().await;
    assert_eq!(bindings(&server).iter().map(|binding| binding.source).collect::<Vec<_>>(), [peer(50_003)]);
    incoming.leg.hangup(Cause::Normal);
    let bye = second.expect_method("BYE").await;
    second.send(&phone, &phone.respond(&bye, "200 OK", "", "")).await;
    assert_eq!(events.end().await.cause, Cause::Normal);
    server.settle().await;
}

#[tokio::test]
async fn a_keep_alive_is_answered_and_what_is_no_sip_ends_the_socket() {
    let server = Server::start().await;
    let mut browser = Browser::open(&server, 50_004);
    browser.frame("\r\n\r\n").await;
    assert_eq!(browser.text().await, "\r\n");
    browser.frame("\r\n").await;
    browser.frame("").await;
    browser.frame("\r\n\r\n").await;
    assert_eq!(browser.text().await, "\r\n", "neither is an offence");
    browser.frame("GET / HTTP/1.1\r\n\r\n").await;
    timeout(PATIENCE, browser.serving).await.expect("the server closes").unwrap();
}

#[tokio::test]
async fn a_browser_that_never_reads_is_cut_off_and_nobody_waits_for_it() {
    let server = Server::start().await;
    let mut phone = server.phone("1001").await;
    let deaf = Browser::open(&server, 50_005);
    let options = |n: u32| {
        format!(
            "OPTIONS sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/WS x.invalid;branch=z9hG4bK-d{n}\r\nMax-Forwards: 70\r\n\
             From: <sip:a@127.0.0.1>;tag=1\r\nTo: <sip:127.0.0.1>\r\nCall-ID: deaf\r\nCSeq: {n} OPTIONS\r\n\r\n"
        )
    };
    for n in 1..=20 {
        deaf.frame(&options(n)).await;
    }
    let mut other = Browser::open(&server, 50_006);
    other.register(&mut phone).await;
    timeout(PATIENCE * 3, deaf.serving).await.expect("cut off").unwrap();
    assert_eq!(bindings(&server).len(), 1);
}

#[tokio::test]
async fn a_browser_that_proves_nothing_loses_its_place() {
    let (clock, hand) = Clock::fake(1_000_000);
    let limits = SipLimits { connections_per_ip: 2, ..SipLimits::default() };
    let server = Server::with_clock(voice::VoiceConfig { limits, ..config() }, MapPorts::default(), clock).await;
    let mut phone = server.phone("1001").await;
    let idle = Browser::open(&server, 50_007);
    let mut known = Browser::open(&server, 50_008);
    known.register(&mut phone).await;
    assert!(server.voice.web_socket(peer(50_009), 8_080, true).is_none(), "both places are taken");
    hand.advance(60_001);
    timeout(PATIENCE, idle.serving).await.expect("closed").unwrap();
    let place = server.voice.web_socket(peer(50_010), 8_080, true);
    assert!(place.is_some(), "a place is free again");
    drop(place);
    known.frame("\r\n\r\n").await;
    assert_eq!(known.text().await, "\r\n", "who has proven himself stays");
}

#[tokio::test]
async fn nobody_is_dialled_by_websocket_on_a_uris_word() {
    let server = Server::start().await;
    let (_leg, mut events): (_, Events) = server.dial(Target::Uri("sip:x@127.0.0.1:9;transport=ws".to_owned()), 30_000);
    assert_eq!(events.end().await.cause, Cause::Unreachable);
}
