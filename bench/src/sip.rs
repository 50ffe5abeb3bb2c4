//! Just enough SIP for a call generator: building requests and answers as text, reading the
//! headers it needs. Not a parser for hostile input; the server under test is never judged by it.

use std::net::SocketAddr;

use media::codec::CodecKind;

/// What the generator reads of a message that arrived.
pub(crate) struct Message<'a> {
    text: &'a str,
}

impl<'a> Message<'a> {
    /// `None` when the datagram is no UTF-8 or has no first line.
    pub(crate) fn read(datagram: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(datagram).ok()?;
        text.contains("\r\n").then_some(Self { text })
    }

    /// The status of a response, `None` for a request.
    pub(crate) fn status(&self) -> Option<u16> {
        self.text.strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()
    }

    /// The method of a request, or of the CSeq of a response.
    pub(crate) fn method(&self) -> &'a str {
        if self.text.starts_with("SIP/2.0 ") {
            return self.header("CSeq").and_then(|cseq| cseq.split_whitespace().nth(1)).unwrap_or("");
        }
        self.text.split(' ').next().unwrap_or("")
    }

    /// The first header of that name (compact forms are not used by servers towards us).
    pub(crate) fn header(&self, name: &str) -> Option<&'a str> {
        self.headers(name).next()
    }

    /// All headers of that name, in order.
    pub(crate) fn headers(&self, name: &str) -> impl Iterator<Item = &'a str> {
        let head = self.text.split("\r\n\r\n").next().unwrap_or("");
        let name = name.to_owned();
        head.split("\r\n").skip(1).filter_map(move |line| {
            let (key, value) = line.split_once(':')?;
            key.trim().eq_ignore_ascii_case(&name).then(|| value.trim())
        })
    }

    /// The URI of the Contact header, without its angle brackets.
    pub(crate) fn contact(&self) -> Option<&'a str> {
        let contact = self.header("Contact")?;
        let inner = contact.split_once('<').map_or(contact, |(_, rest)| rest);
        inner.split('>').next()
    }

    /// Where the session description wants its audio.
    pub(crate) fn media(&self) -> Option<SocketAddr> {
        let body = self.text.split_once("\r\n\r\n")?.1;
        let ip = body.lines().find_map(|line| line.strip_prefix("c=IN IP4 "))?.trim();
        let port = body.lines().find_map(|line| line.strip_prefix("m=audio "))?.split(' ').next()?;
        format!("{ip}:{port}").parse().ok()
    }
}

/// One codec at 20 ms with telephone events, from `rtp`.
pub(crate) fn session_description(rtp: SocketAddr, codec: CodecKind) -> String {
    let (ip, port) = (rtp.ip(), rtp.port());
    let (number, name, clock) = (codec.payload_type(), codec.name(), codec.clock_rate());
    let channels = if codec.sdp_channels() > 1 { "/2" } else { "" };
    format!(
        "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP {number} 101\r\n\
         a=rtpmap:{number} {name}/{clock}{channels}\r\na=rtpmap:101 telephone-event/{clock}\r\na=fmtp:101 0-16\r\n\
         a=ptime:20\r\na=sendrecv\r\n"
    )
}

/// The parts of a dialog that every request of it repeats.
pub(crate) struct Dialog {
    /// Unique per call.
    pub(crate) call_id: String,
    /// Request-URI of the INVITE.
    pub(crate) target: String,
    /// From header with its tag.
    pub(crate) from: String,
    /// To header; with the peer's tag once it is known.
    pub(crate) to: String,
    /// The peer's Contact once it is known: Request-URI of ACK and BYE.
    pub(crate) remote_target: Option<String>,
    /// Route headers, from the answer's Record-Route (RFC 3261 12.1.2: reversed).
    pub(crate) routes: Vec<String>,
}

impl Dialog {
    /// A request of the dialog; `branch` makes the transaction.
    pub(crate) fn request(&self, method: &str, cseq: u32, branch: &str, local: SocketAddr, body: &str) -> String {
        let target = self.remote_target.as_deref().unwrap_or(&self.target);
        let routes: String = self.routes.iter().map(|route| format!("Route: {route}\r\n")).collect();
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch={branch};rport\r\n{routes}Max-Forwards: 70\r\n\
             From: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\nContact: <sip:bench@{local}>\r\n{kind}\
             Content-Length: {}\r\n\r\n{body}",
            self.from,
            self.to,
            self.call_id,
            body.len()
        )
    }
}

/// An answer to `request`, with `tag` on its To header when it has none.
pub(crate) fn answer(request: &Message<'_>, status: &str, tag: &str, local: SocketAddr, body: &str) -> String {
    let mut out = format!("SIP/2.0 {status}\r\n");
    for name in ["Via", "Record-Route"] {
        for value in request.headers(name) {
            out.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    for name in ["From", "Call-ID", "CSeq"] {
        out.push_str(&format!("{name}: {}\r\n", request.header(name).unwrap_or("")));
    }
    let to = request.header("To").unwrap_or("");
    let tag = if to.contains(";tag=") { String::new() } else { format!(";tag={tag}") };
    out.push_str(&format!("To: {to}{tag}\r\nContact: <sip:bench@{local}>\r\n"));
    if !body.is_empty() {
        out.push_str("Content-Type: application/sdp\r\n");
    }
    out.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    out
}
