//! A phone that speaks raw SIP over a UDP socket, and the messages that it reads and writes.

use std::net::SocketAddr;
use std::time::Duration;

use md5::{Digest, Md5};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::PATIENCE;

pub(crate) fn ha1_md5(user: &str, realm: &str, password: &str) -> String {
    md5_hex(&format!("{user}:{realm}:{password}"))
}

fn md5_hex(text: &str) -> String {
    Md5::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn sha256_hex(text: &str) -> String {
    sha2::Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A received message, as text.
#[derive(Clone, Debug)]
pub(crate) struct Msg {
    pub(crate) text: String,
    pub(crate) from: SocketAddr,
}

impl Msg {
    pub(crate) fn start(&self) -> &str {
        self.text.lines().next().unwrap_or_default()
    }

    pub(crate) fn code(&self) -> u16 {
        self.start().strip_prefix("SIP/2.0 ").and_then(|rest| rest[..3].parse().ok()).unwrap_or(0)
    }

    pub(crate) fn method(&self) -> &str {
        self.start().split(' ').next().unwrap_or_default()
    }

    pub(crate) fn uri(&self) -> &str {
        self.start().split(' ').nth(1).unwrap_or_default()
    }

    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let head = self.text.split("\r\n\r\n").next().unwrap_or_default();
        head.lines()
            .filter_map(|line| line.split_once(": "))
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect()
    }

    pub(crate) fn get(&self, name: &str) -> &str {
        self.all(name).first().copied().unwrap_or_default()
    }

    pub(crate) fn body(&self) -> &str {
        self.text.split_once("\r\n\r\n").map_or("", |(_, body)| body)
    }

    pub(crate) fn tag(&self, name: &str) -> &str {
        self.get(name).split(";tag=").nth(1).unwrap_or_default()
    }

    /// The URI of our Contact, as the server wrote it.
    pub(crate) fn contact_uri(&self) -> &str {
        self.get("Contact").trim_start_matches('<').split('>').next().unwrap_or_default()
    }
}

/// An SDP of one G.711 stream.
pub(crate) fn sdp(port: u16, extra: &str) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 8 101\r\n\
         a=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n{extra}"
    )
}

/// A phone that speaks raw SIP.
pub(crate) struct Phone {
    pub(crate) socket: UdpSocket,
    pub(crate) server: SocketAddr,
    pub(crate) user: String,
    pub(crate) addr: SocketAddr,
    pub(crate) call_id: String,
    pub(crate) tag: String,
    pub(crate) seq: u32,
    branches: u32,
}

impl Phone {
    pub(crate) async fn new(user: &str, server: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let addr = socket.local_addr().unwrap();
        let call_id = format!("call-{}", addr.port());
        Self { socket, server, user: user.to_owned(), addr, call_id, tag: "phonetag".to_owned(), seq: 0, branches: 0 }
    }

    pub(crate) fn branch(&mut self) -> String {
        self.branches += 1;
        format!("z9hG4bK-{}-{}", self.addr.port(), self.branches)
    }

    /// Begins a request outside a dialog.
    pub(crate) fn request(&mut self, method: &str, uri: &str, fields: &str, body: &str) -> String {
        let branch = self.branch();
        self.seq += 1;
        let (user, addr, tag, call_id, seq) = (&self.user, self.addr, &self.tag, &self.call_id, self.seq);
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let to = if method == "REGISTER" { format!("sip:{user}@127.0.0.1") } else { uri.to_owned() };
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {addr};rport;branch={branch}\r\nMax-Forwards: 70\r\n\
             From: <sip:{user}@127.0.0.1>;tag={tag}\r\nTo: <{to}>\r\nCall-ID: {call_id}\r\nCSeq: {seq} {method}\r\n\
             Contact: <sip:{user}@{addr}>\r\n{fields}{kind}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    pub(crate) async fn send(&self, text: &str) {
        self.socket.send_to(text.as_bytes(), self.server).await.unwrap();
    }

    /// Sends, and waits until the server has taken it in: it answers the question that came behind.
    pub(crate) async fn send_and_settle(&mut self, text: &str) {
        self.send(text).await;
        let question = self.request("OPTIONS", "sip:127.0.0.1", "", "");
        self.send(&question).await;
        assert_eq!(self.recv().await.code(), 200);
    }

    pub(crate) async fn recv(&self) -> Msg {
        self.try_recv(PATIENCE).await.expect("a message")
    }

    pub(crate) async fn try_recv(&self, patience: Duration) -> Option<Msg> {
        let mut buffer = vec![0; 65_535];
        let (length, from) = timeout(patience, self.socket.recv_from(&mut buffer)).await.ok()?.unwrap();
        Some(Msg { text: String::from_utf8_lossy(&buffer[..length]).into_owned(), from })
    }

    /// The next response that is not 100.
    pub(crate) async fn response(&self) -> Msg {
        loop {
            let message = self.recv().await;
            if message.code() != 100 {
                return message;
            }
        }
    }

    pub(crate) async fn expect(&self, code: u16) -> Msg {
        let message = self.response().await;
        assert_eq!(message.code(), code, "{}", message.text);
        message
    }

    pub(crate) async fn expect_method(&self, method: &str) -> Msg {
        let message = self.recv().await;
        assert_eq!(message.method(), method, "{}", message.text);
        message
    }

    /// The MD5 answer to a challenge.
    pub(crate) fn answer(&self, challenge: &Msg, method: &str, uri: &str, count: u32) -> String {
        self.answer_with(challenge, "MD5", method, uri, count)
    }

    /// The answer to a challenge by one of its algorithms.
    pub(crate) fn answer_with(&self, challenge: &Msg, algorithm: &str, method: &str, uri: &str, count: u32) -> String {
        let hash = |text: &str| if algorithm == "MD5" { md5_hex(text) } else { sha256_hex(text) };
        let all = challenge.all("WWW-Authenticate");
        let value = all.iter().find(|value| value.contains(&format!("algorithm={algorithm},"))).expect("a challenge");
        let get = |name: &str| value.split(&format!("{name}=\"")).nth(1).unwrap().split('"').next().unwrap().to_owned();
        let (realm, nonce) = (get("realm"), get("nonce"));
        let ha1 = hash(&format!("{0}:{realm}:pw-{0}", self.user));
        let ha2 = hash(&format!("{method}:{uri}"));
        let response = hash(&format!("{ha1}:{nonce}:{count:08x}:abc:auth:{ha2}"));
        format!(
            "Authorization: Digest username=\"{}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", \
             response=\"{response}\", algorithm={algorithm}, qop=auth, nc={count:08x}, cnonce=\"abc\"\r\n",
            self.user
        )
    }

    /// Sends a request, answers the challenge, and gives the response to that; an INVITE's
    /// challenge is acknowledged.
    pub(crate) async fn authorised(&mut self, method: &str, uri: &str, fields: &str, body: &str) -> String {
        let first = self.request(method, uri, fields, body);
        self.send(&first).await;
        let challenge = self.expect(401).await;
        if method == "INVITE" {
            self.send(&ack_failure(&first, &challenge)).await;
        }
        let signed = format!("{fields}{}", self.answer(&challenge, method, uri, 1));
        let second = self.request(method, uri, &signed, body);
        self.send(&second).await;
        second
    }

    /// Registers with a Contact URI and gives the 200.
    pub(crate) async fn register(&mut self, contact: &str, fields: &str) -> Msg {
        let uri = "sip:127.0.0.1";
        let call_id = std::mem::replace(&mut self.call_id, format!("reg-{}", self.addr.port()));
        let first = self.request("REGISTER", uri, fields, "");
        self.send(
            &first.replace(&format!("Contact: <sip:{}@{}>", self.user, self.addr), &format!("Contact: {contact}")),
        )
        .await;
        let challenge = self.expect(401).await;
        let signed = format!("{fields}{}", self.answer(&challenge, "REGISTER", uri, 1));
        let second = self.request("REGISTER", uri, &signed, "");
        self.send(
            &second.replace(&format!("Contact: <sip:{}@{}>", self.user, self.addr), &format!("Contact: {contact}")),
        )
        .await;
        self.call_id = call_id;
        self.response().await
    }

    /// A request inside the dialog that `answer` (a 2xx or 1xx to our INVITE) made.
    pub(crate) fn inside(&mut self, method: &str, answer: &Msg, seq: u32, fields: &str, body: &str) -> String {
        let branch = self.branch();
        let (addr, call_id, user) = (self.addr, &self.call_id, &self.user);
        let kind =
            if body.is_empty() || fields.contains("Content-Type") { "" } else { "Content-Type: application/sdp\r\n" };
        format!(
            "{method} {} SIP/2.0\r\nVia: SIP/2.0/UDP {addr};rport;branch={branch}\r\nMax-Forwards: 70\r\nFrom: {}\r\n\
             To: {}\r\nCall-ID: {call_id}\r\nCSeq: {seq} {method}\r\nContact: <sip:{user}@{addr}>\r\n{fields}{kind}\
             Content-Length: {}\r\n\r\n{body}",
            answer.contact_uri(),
            answer.get("From"),
            answer.get("To"),
            body.len()
        )
    }

    /// A response to a request of the server's.
    pub(crate) fn respond(&self, request: &Msg, status: &str, fields: &str, body: &str) -> String {
        let to = request.get("To");
        let to = if to.contains(";tag=") { to.to_owned() } else { format!("{to};tag=callee") };
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let vias: String = request.all("Via").iter().map(|via| format!("Via: {via}\r\n")).collect();
        format!(
            "SIP/2.0 {status}\r\n{vias}From: {}\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
             Contact: <sip:{}@{}>\r\n{fields}{kind}Content-Length: {}\r\n\r\n{body}",
            request.get("From"),
            request.get("Call-ID"),
            request.get("CSeq"),
            self.user,
            self.addr,
            body.len()
        )
    }

    /// A request of the server's inside a dialog where we were called, from our side.
    pub(crate) fn inside_called(&mut self, method: &str, invite: &Msg, seq: u32, fields: &str, body: &str) -> String {
        let branch = self.branch();
        let to = format!("{};tag=callee", invite.get("To"));
        let kind =
            if body.is_empty() || fields.contains("Content-Type") { "" } else { "Content-Type: application/sdp\r\n" };
        format!(
            "{method} {} SIP/2.0\r\nVia: SIP/2.0/UDP {};rport;branch={branch}\r\nMax-Forwards: 70\r\nFrom: {to}\r\nTo: {}\r\n\
             Call-ID: {}\r\nCSeq: {seq} {method}\r\nContact: <sip:{}@{}>\r\n{fields}{kind}Content-Length: {}\r\n\r\n{body}",
            invite.contact_uri(),
            self.addr,
            invite.get("From"),
            invite.get("Call-ID"),
            self.user,
            self.addr,
            body.len()
        )
    }
}

/// The ACK of a failure.
pub(crate) fn ack_failure(invite: &str, response: &Msg) -> String {
    let line = |name: &str| invite.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    let uri = invite.split(' ').nth(1).unwrap();
    format!(
        "ACK {uri} SIP/2.0\r\n{}\r\nMax-Forwards: 70\r\n{}\r\nTo: {}\r\n{}\r\nCSeq: {} ACK\r\nContent-Length: 0\r\n\r\n",
        line("Via: "),
        line("From: "),
        response.get("To"),
        line("Call-ID: "),
        line("CSeq: ").split(' ').nth(1).unwrap()
    )
}

/// The CANCEL of an INVITE.
pub(crate) fn cancel(invite: &str) -> String {
    let line = |name: &str| invite.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    let uri = invite.split(' ').nth(1).unwrap();
    format!(
        "CANCEL {uri} SIP/2.0\r\n{}\r\nMax-Forwards: 70\r\n{}\r\n{}\r\n{}\r\nCSeq: {} CANCEL\r\nContent-Length: 0\r\n\r\n",
        line("Via: "),
        line("From: "),
        line("To: "),
        line("Call-ID: "),
        line("CSeq: ").split(' ').nth(1).unwrap()
    )
}

/// An OPTIONS from outside any dialog; `n` makes it one of its own.
pub(crate) fn options(from: SocketAddr, n: usize, transport: &str) -> String {
    format!(
        "OPTIONS sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/{transport} {from};rport;branch=z9hG4bKo{n}\r\nMax-Forwards: 70\r\n\
         From: <sip:x@h>;tag=1\r\nTo: <sip:127.0.0.1>\r\nCall-ID: o{n}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
}
