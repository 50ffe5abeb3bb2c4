//! SIP as text: what a phone of the crowd reads of a message, and what it writes. No parser for
//! hostile input; the server under test is not judged by it.

use std::net::SocketAddr;

/// A message as it came.
#[derive(Clone, Debug)]
pub(super) struct Message(String);

impl Message {
    /// Nothing when a datagram is no SIP (a keep-alive).
    pub(super) fn read(datagram: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(datagram).ok()?;
        text.contains("\r\n\r\n").then(|| Self(text.to_owned()))
    }

    /// The whole of it.
    pub(super) fn text(&self) -> &str {
        &self.0
    }

    /// Its first line.
    pub(super) fn start(&self) -> &str {
        self.0.split("\r\n").next().unwrap_or_default()
    }

    /// The status of a response; none for a request.
    pub(super) fn status(&self) -> Option<u16> {
        self.start().strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()
    }

    /// The method of a request, or the one that a response is to.
    pub(super) fn method(&self) -> &str {
        match self.status() {
            Some(_) => self.header("CSeq").split(' ').nth(1).unwrap_or_default(),
            None => self.start().split(' ').next().unwrap_or_default(),
        }
    }

    /// The user part of the Request-URI.
    pub(super) fn number(&self) -> &str {
        let uri = self.start().split(' ').nth(1).unwrap_or_default();
        uri.trim_start_matches("sip:").split(['@', ';']).next().unwrap_or_default()
    }

    /// The first header of a name; empty when there is none.
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers(name).next().unwrap_or_default()
    }

    /// All headers of a name, in order.
    pub(super) fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        let head = self.0.split("\r\n\r\n").next().unwrap_or_default();
        head.split("\r\n").skip(1).filter_map(move |line| {
            let (key, value) = line.split_once(':')?;
            key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(super) fn call_id(&self) -> &str {
        self.header("Call-ID")
    }

    pub(super) fn body(&self) -> &str {
        self.0.split_once("\r\n\r\n").map_or("", |(_, body)| body)
    }

    /// The URI of its Contact.
    pub(super) fn contact(&self) -> &str {
        let contact = self.header("Contact");
        contact.split_once('<').map_or(contact, |(_, rest)| rest).split('>').next().unwrap_or_default()
    }

    /// Where its session description wants audio.
    pub(super) fn media(&self) -> Option<SocketAddr> {
        let ip = self.body().lines().find_map(|line| line.strip_prefix("c=IN IP4 "))?.trim();
        let port = self.body().lines().find_map(|line| line.strip_prefix("m=audio "))?.split(' ').next()?;
        format!("{ip}:{port}").parse().ok()
    }

    /// Whether it belongs to a dialog that both sides know.
    pub(super) fn is_inside(&self) -> bool {
        self.header("To").contains(";tag=")
    }
}

/// PCMU with telephone events, received at `rtp`.
pub(super) fn session_description(rtp: SocketAddr) -> String {
    let (ip, port) = (rtp.ip(), rtp.port());
    format!(
        "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0 101\r\n\
         a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\n"
    )
}

/// A response to a request, with the phone's tag on its To.
pub(super) fn response(request: &Message, status: &str, tag: &str, local: SocketAddr, body: &str) -> String {
    let mut text = format!("SIP/2.0 {status}\r\n");
    for name in ["Via", "Record-Route", "From", "Call-ID", "CSeq"] {
        for value in request.headers(name) {
            text += &format!("{name}: {value}\r\n");
        }
    }
    let to = request.header("To");
    let tag = if request.is_inside() { String::new() } else { format!(";tag={tag}") };
    text += &format!("To: {to}{tag}\r\nContact: <sip:crowd@{local}>\r\n");
    if !body.is_empty() {
        text += "Content-Type: application/sdp\r\n";
    }
    text + &format!("Content-Length: {}\r\n\r\n{body}", body.len())
}

/// What every request of one side of a dialog repeats.
#[derive(Clone, Debug)]
pub(super) struct Dialog {
    pub(super) call_id: String,
    /// Our side, with its tag.
    pub(super) from: String,
    /// The other side, with its tag once it is known.
    pub(super) to: String,
    /// Request-URI.
    pub(super) target: String,
    pub(super) local: SocketAddr,
}

impl Dialog {
    /// A request; `branch` names its transaction, `kind` the type of its body.
    pub(super) fn request(&self, method: &str, cseq: u32, branch: &str, kind: &str, body: &str) -> String {
        let Self { call_id, from, to, target, local } = self;
        let kind = if body.is_empty() { String::new() } else { format!("Content-Type: {kind}\r\n") };
        format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bK{branch};rport\r\nMax-Forwards: 70\r\n\
             From: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\nContact: <sip:crowd@{local}>\r\n\
             {kind}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }
}
