//! SIP messages as they stand on the wire (RFC 3261 §7).
//!
//! A received message is cut into lines once and read where it stands: fields are views on the
//! text, found by name. Messages of our own are written by [`super::draft`]. Nothing is ever parsed
//! in order to be printed again.

use bytes::Bytes;

use super::multipart;
use super::uri::{self, NameAddr, Uri, Via};

/// SDP's type.
pub(crate) const SDP: &str = "application/sdp";
/// Largest message accepted, in bytes: the largest datagram there is.
pub(crate) const MAX_MESSAGE: usize = 65_535;
/// Most header fields in a message.
const MAX_FIELDS: usize = 256;

/// Why bytes are not a SIP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParseError {
    #[error("no empty line ends the head")]
    NoEnd,
    #[error("bad start line")]
    StartLine,
    #[error("bad header field")]
    Field,
    #[error("too many header fields")]
    TooMany,
    #[error("bad Content-Length")]
    Length,
}

macro_rules! methods {
    ($($variant:ident = $text:literal),+ $(,)?) => {
        /// The methods this server knows; the rest is answered 501.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(crate) enum Method { $($variant,)+ Unknown }

        impl Method {
            pub(crate) fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ Self::Unknown => "UNKNOWN" }
            }

            /// Methods have case (RFC 3261 §7.1).
            pub(crate) fn parse(text: &str) -> Self {
                match text { $($text => Self::$variant,)+ _ => Self::Unknown }
            }
        }
    };
}

methods! {
    Invite = "INVITE", Ack = "ACK", Bye = "BYE", Cancel = "CANCEL", Options = "OPTIONS", Register = "REGISTER",
    Prack = "PRACK", Update = "UPDATE", Info = "INFO", Refer = "REFER", Notify = "NOTIFY",
    Subscribe = "SUBSCRIBE", Message = "MESSAGE", Publish = "PUBLISH",
}

macro_rules! names {
    ($($variant:ident = $text:literal $(| $compact:literal)?),+ $(,)?) => {
        /// The header fields this server reads.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(crate) enum Name { $($variant,)+ Unknown }

        impl Name {
            fn parse(text: &str) -> Self {
                $(if text.eq_ignore_ascii_case($text) $(|| text.eq_ignore_ascii_case($compact))? { return Self::$variant; })+
                Self::Unknown
            }
        }
    };
}

names! {
    Via = "Via" | "v", From = "From" | "f", To = "To" | "t", CallId = "Call-ID" | "i", CSeq = "CSeq",
    Contact = "Contact" | "m", MaxForwards = "Max-Forwards", ContentLength = "Content-Length" | "l",
    ContentType = "Content-Type" | "c", Route = "Route", RecordRoute = "Record-Route", Allow = "Allow",
    Supported = "Supported" | "k", Require = "Require", UserAgent = "User-Agent", Expires = "Expires",
    MinExpires = "Min-Expires", SessionExpires = "Session-Expires" | "x", MinSe = "Min-SE",
    Authorization = "Authorization", ProxyAuthorization = "Proxy-Authorization",
    WwwAuthenticate = "WWW-Authenticate", ProxyAuthenticate = "Proxy-Authenticate", RSeq = "RSeq", RAck = "RAck",
    ReferTo = "Refer-To" | "r", ReferredBy = "Referred-By" | "b", Replaces = "Replaces", Reason = "Reason",
    RetryAfter = "Retry-After", PAssertedIdentity = "P-Asserted-Identity", Privacy = "Privacy", Path = "Path",
    Event = "Event" | "o", SubscriptionState = "Subscription-State", ContentEncoding = "Content-Encoding" | "e",
    Unsupported = "Unsupported", ProxyRequire = "Proxy-Require",
}

#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    end: u32,
}

#[derive(Clone, Copy, Debug)]
enum Start {
    Request { method: Method, uri: Span },
    Response { code: u16 },
}

/// A received message.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    head: Box<str>,
    start: Start,
    fields: Vec<(Name, Span)>,
    /// The body, byte for byte; of a body of several parts the SDP alone, when there is one.
    pub(crate) body: Bytes,
    /// All parts, when `body` is only one.
    parts: Option<Bytes>,
}

impl Message {
    /// Reads one whole message: a datagram, or what [`frame`] cut out of a stream.
    ///
    /// Without Content-Length the body is the rest (RFC 3261 §18.3, datagrams); a shorter length
    /// cuts, a longer one is an error.
    pub(crate) fn parse(data: &[u8]) -> Result<Self, ParseError> {
        let data = skip_blank_lines(data);
        let head_len = find_head_end(data).ok_or(ParseError::NoEnd)?;
        let (head, rest) = data.split_at_checked(head_len).ok_or(ParseError::NoEnd)?;
        let mut head = String::from_utf8_lossy(head).into_owned();
        unfold(&mut head);

        let mut lines = Lines { text: &head, at: 0 };
        let start = parse_start(&head, lines.next().ok_or(ParseError::StartLine)?)?;
        let mut fields = Vec::with_capacity(16);
        let mut length = None;
        for line in lines {
            let text = span(&head, line);
            if text.is_empty() {
                continue;
            }
            let colon = text.find(':').ok_or(ParseError::Field)?;
            let name = Name::parse(text.get(..colon).unwrap_or_default().trim_end());
            let value = trimmed(&head, Span { start: line.start + colon as u32 + 1, end: line.end });
            if name == Name::ContentLength {
                let wanted: usize = span(&head, value).parse().map_err(|_| ParseError::Length)?;
                if length.is_some_and(|length| length != wanted) {
                    return Err(ParseError::Length);
                }
                length = Some(wanted);
            }
            if fields.len() == MAX_FIELDS {
                return Err(ParseError::TooMany);
            }
            fields.push((name, value));
        }
        let rest = rest.get(4..).unwrap_or_default();
        let body = match length {
            Some(length) => rest.get(..length).ok_or(ParseError::Length)?,
            None => rest,
        };
        let body = Bytes::copy_from_slice(body);
        let mut message = Self { head: head.into_boxed_str(), start, fields, body, parts: None };
        let content_type = message.field(Name::ContentType).unwrap_or_default();
        if let Some(part) = multipart::find(content_type, &message.body, SDP) {
            let sdp = message.body.slice(part);
            message.parts = Some(std::mem::replace(&mut message.body, sdp));
        }
        Ok(message)
    }

    /// The whole body, with all its parts.
    pub(crate) fn entity(&self) -> &[u8] {
        self.parts.as_ref().unwrap_or(&self.body)
    }

    /// The method of a request, `None` for a response.
    pub(crate) fn method(&self) -> Option<Method> {
        match self.start {
            Start::Request { method, .. } => Some(method),
            Start::Response { .. } => None,
        }
    }

    /// The Request-URI as written; empty for a response.
    pub(crate) fn request_uri(&self) -> &str {
        match self.start {
            Start::Request { uri, .. } => span(&self.head, uri),
            Start::Response { .. } => "",
        }
    }

    /// The status code of a response, 0 for a request.
    pub(crate) fn code(&self) -> u16 {
        match self.start {
            Start::Request { .. } => 0,
            Start::Response { code } => code,
        }
    }

    /// The first field of a name.
    pub(crate) fn field(&self, name: Name) -> Option<&str> {
        self.fields(name).next()
    }

    /// All fields of a name, in order.
    pub(crate) fn fields(&self, name: Name) -> impl Iterator<Item = &str> {
        self.fields.iter().filter(move |(field, _)| *field == name).map(|(_, value)| span(&self.head, *value))
    }

    /// All comma-separated elements of all fields of a name, in order.
    pub(crate) fn elements(&self, name: Name) -> impl Iterator<Item = &str> {
        self.fields(name).flat_map(uri::list)
    }

    /// Whether a list field (Supported, Require, Allow) holds a token.
    pub(crate) fn lists(&self, name: Name, token: &str) -> bool {
        self.elements(name).any(|element| element.eq_ignore_ascii_case(token))
    }

    /// Call-ID; empty when absent, which [`Message::defect`] refuses.
    pub(crate) fn call_id(&self) -> &str {
        self.field(Name::CallId).unwrap_or_default()
    }

    /// CSeq number and method.
    pub(crate) fn cseq(&self) -> Option<(u32, Method)> {
        let (number, method) = self.field(Name::CSeq)?.split_once(|c: char| c.is_ascii_whitespace())?;
        let number: u32 = number.parse().ok()?;
        (number < 1 << 31).then(|| (number, Method::parse(method.trim())))
    }

    /// The From field.
    pub(crate) fn from(&self) -> Option<NameAddr<'_>> {
        NameAddr::parse(self.field(Name::From)?)
    }

    /// The To field.
    pub(crate) fn to(&self) -> Option<NameAddr<'_>> {
        NameAddr::parse(self.field(Name::To)?)
    }

    /// The From tag; empty when absent.
    #[expect(clippy::wrong_self_convention, reason = "From is the field's name")]
    pub(crate) fn from_tag(&self) -> &str {
        self.from().and_then(|from| from.tag()).unwrap_or_default()
    }

    /// The To tag, when there is one.
    pub(crate) fn to_tag(&self) -> Option<&str> {
        self.to().and_then(|to| to.tag())
    }

    /// The first Contact that is a name-addr.
    pub(crate) fn contact(&self) -> Option<NameAddr<'_>> {
        NameAddr::parse(self.elements(Name::Contact).next()?)
    }

    /// The topmost Via.
    pub(crate) fn top_via(&self) -> Option<Via<'_>> {
        Via::parse(self.elements(Name::Via).next()?)
    }

    /// A field that is one whole number, with or without parameters behind it.
    pub(crate) fn number(&self, name: Name) -> Option<u32> {
        let value = self.field(name)?;
        value.split([';', ' ', '(']).next()?.trim().parse().ok()
    }

    /// Whether the body is of a type such as `application/sdp`.
    pub(crate) fn body_is(&self, kind: &str) -> bool {
        if self.parts.is_some() {
            return kind == SDP && !self.body.is_empty();
        }
        let essence = self.field(Name::ContentType).and_then(|value| value.split(';').next()).unwrap_or_default();
        !self.body.is_empty() && essence.trim().eq_ignore_ascii_case(kind)
    }

    /// What is missing or malformed in the fields that every message must have (RFC 3261 §8.1.1),
    /// when something is. A message with a defect goes no further than the edge.
    pub(crate) fn defect(&self) -> Option<&'static str> {
        let Some((_, cseq_method)) = self.cseq() else {
            return Some("Bad CSeq");
        };
        if self.method().is_some_and(|method| method != cseq_method) {
            return Some("CSeq Method Differs");
        }
        if self.call_id().is_empty() {
            return Some("Missing Call-ID");
        }
        if self.from().is_none_or(|from| Uri::parse(from.uri).is_none()) {
            return Some("Bad From");
        }
        if self.to().is_none_or(|to| Uri::parse(to.uri).is_none()) {
            return Some("Bad To");
        }
        if self.method().is_some() && Uri::parse(self.request_uri()).is_none() {
            return Some("Bad Request-URI");
        }
        None
    }
}

fn skip_blank_lines(mut data: &[u8]) -> &[u8] {
    while let Some((b'\r' | b'\n', rest)) = data.split_first() {
        data = rest;
    }
    data
}

/// The length of start line and header fields, without the empty line that ends them.
fn find_head_end(data: &[u8]) -> Option<usize> {
    data.windows(4).position(|window| window == b"\r\n\r\n")
}

/// Replaces the line breaks of folded fields by blanks, in place (RFC 3261 §7.3.1).
fn unfold(head: &mut String) {
    if head.contains("\r\n ") || head.contains("\r\n\t") {
        *head = head.replace("\r\n ", "   ").replace("\r\n\t", "   ");
    }
}

struct Lines<'a> {
    text: &'a str,
    at: usize,
}

impl Iterator for Lines<'_> {
    type Item = Span;

    fn next(&mut self) -> Option<Span> {
        let rest = self.text.get(self.at..).filter(|rest| !rest.is_empty())?;
        let length = rest.find("\r\n").unwrap_or(rest.len());
        let line = Span { start: self.at as u32, end: (self.at + length) as u32 };
        self.at += length + 2;
        Some(line)
    }
}

fn span(text: &str, span: Span) -> &str {
    text.get(span.start as usize..span.end as usize).unwrap_or_default()
}

fn trimmed(text: &str, at: Span) -> Span {
    let raw = span(text, at);
    let start = at.start + (raw.len() - raw.trim_start().len()) as u32;
    Span { start, end: start + raw.trim().len() as u32 }
}

fn parse_start(head: &str, line: Span) -> Result<Start, ParseError> {
    let text = span(head, line);
    if let Some(rest) = text.strip_prefix("SIP/2.0 ") {
        let code = rest.get(..3).and_then(|digits| digits.parse().ok());
        let code = code.filter(|code| (100..700).contains(code)).ok_or(ParseError::StartLine)?;
        return Ok(Start::Response { code });
    }
    let uri_text = text.strip_suffix(" SIP/2.0").ok_or(ParseError::StartLine)?;
    let (method, uri) = uri_text.split_once(' ').ok_or(ParseError::StartLine)?;
    let token = |c: char| c.is_ascii_alphanumeric() || "-.!%*_+`'~".contains(c);
    if method.is_empty() || !method.chars().all(token) || uri.trim().is_empty() {
        return Err(ParseError::StartLine);
    }
    let start = line.start + method.len() as u32 + 1;
    let uri = trimmed(head, Span { start, end: line.start + uri_text.len() as u32 });
    Ok(Start::Request { method: Method::parse(method), uri })
}

/// What stands at the beginning of a stream's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// Not enough bytes yet.
    Incomplete,
    /// A double CRLF of four bytes: the peer asks for a sign of life (RFC 5626 §3.5.1).
    Ping,
    /// A lone CRLF of two bytes: the answer to our own, or a line too many between messages.
    Blank,
    /// A whole message of this many bytes.
    Message(usize),
    /// This is no SIP, or larger than [`MAX_MESSAGE`]: close the stream.
    Garbage,
}

/// Finds the first frame in a stream's buffer.
pub(crate) fn frame(buffer: &[u8]) -> Frame {
    match buffer {
        [b'\r', b'\n', b'\r', b'\n', ..] => return Frame::Ping,
        [b'\r', b'\n', byte, ..] if *byte != b'\r' => return Frame::Blank,
        [b'\r'] | [b'\r', b'\n'] | [b'\r', b'\n', b'\r'] => return Frame::Incomplete,
        _ => {}
    }
    let Some(head_len) = find_head_end(buffer) else {
        let garbage = buffer.len() > MAX_MESSAGE || buffer.first().is_some_and(|byte| !byte.is_ascii_graphic());
        return if garbage { Frame::Garbage } else { Frame::Incomplete };
    };
    let head = buffer.get(..head_len).unwrap_or_default();
    let Some(length) = content_length(head) else {
        return Frame::Garbage;
    };
    let total = head_len.saturating_add(4).saturating_add(length);
    match total {
        total if total > MAX_MESSAGE => Frame::Garbage,
        total if total <= buffer.len() => Frame::Message(total),
        _ => Frame::Incomplete,
    }
}

/// Content-Length of a head; 0 when absent (tolerated on streams), `None` when unreadable.
fn content_length(head: &[u8]) -> Option<usize> {
    for line in head.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let (name, value) = line.split_at(colon);
        if name.trim_ascii().eq_ignore_ascii_case(b"content-length") || name.trim_ascii().eq_ignore_ascii_case(b"l") {
            let digits = value.get(1..)?.trim_ascii();
            return std::str::from_utf8(digits).ok()?.parse().ok();
        }
    }
    Some(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INVITE: &str = "INVITE sip:bob@biloxi.example;transport=udp SIP/2.0\r\n\
        v: SIP/2.0/UDP pc33.example;branch=z9hG4bK77;rport, SIP/2.0/TCP up.example;branch=z9hG4bK1\r\n\
        Max-Forwards: 70\r\nTo: Bob <sip:bob@biloxi.example>\r\nFrom: \"A, L\" <sip:alice@a.example>;tag=19\r\n\
        Call-ID: a84b@pc33\r\nCSeq: 314159   INVITE\r\nSupported: timer,\r\n 100rel\r\nm: <sip:a@pc33>\r\n\
        Content-Type: application/sdp;x=y\r\nContent-Length: 3\r\n\r\nv=0 and more";

    #[test]
    fn a_request_is_read_where_it_stands() {
        let message = Message::parse(INVITE.as_bytes()).unwrap();
        assert_eq!(message.method(), Some(Method::Invite));
        assert_eq!(message.request_uri(), "sip:bob@biloxi.example;transport=udp");
        assert_eq!(message.elements(Name::Via).count(), 2);
        assert_eq!(message.top_via().unwrap().branch(), Some("z9hG4bK77"));
        assert_eq!((message.from_tag(), message.to_tag()), ("19", None));
        assert_eq!(message.cseq(), Some((314_159, Method::Invite)));
        assert!(message.lists(Name::Supported, "100rel") && message.lists(Name::Supported, "TIMER"));
        assert_eq!(message.contact().unwrap().uri, "sip:a@pc33");
        assert!(message.body_is("application/sdp"));
        assert_eq!(&message.body[..], b"v=0");
        assert_eq!(message.defect(), None);
    }

    #[test]
    fn sip_trap_04_a_datagram_needs_no_content_length_and_may_be_large() {
        let head = INVITE.split("Content-Length").next().unwrap();
        let body = "a".repeat(20_000);
        let message = Message::parse(format!("{head}\r\n{body}").as_bytes()).unwrap();
        assert_eq!(message.body.len(), 20_000);
        let short = INVITE.replace("Content-Length: 3", "Content-Length: 300");
        assert_eq!(Message::parse(short.as_bytes()).unwrap_err(), ParseError::Length);
    }

    #[test]
    fn defects_are_named() {
        let broken = |from: &str, to: &str| Message::parse(INVITE.replace(from, to).as_bytes()).unwrap().defect();
        assert_eq!(broken("314159   INVITE", "314159 BYE"), Some("CSeq Method Differs"));
        assert_eq!(broken("314159   INVITE", "3000000000 INVITE"), Some("Bad CSeq"));
        assert_eq!(broken("Call-ID: a84b@pc33\r\n", ""), Some("Missing Call-ID"));
        assert_eq!(broken("<sip:bob@biloxi.example>", "<bob>"), Some("Bad To"));
        assert_eq!(broken("sip:bob@biloxi.example;transport=udp SIP", "mailto:x SIP"), Some("Bad Request-URI"));
        for start in ["", "INVITE  SIP/2.0", "INVITE sip:x", "SIP/2.0 99 X", "SIP/2.0 abc", "IN<ITE sip:x SIP/2.0"] {
            let text = format!("{start}\r\nVia: x\r\n\r\n");
            assert!(Message::parse(text.as_bytes()).is_err(), "{start:?}");
        }
    }

    #[test]
    fn a_stream_is_cut_into_frames() {
        let whole = INVITE.split(" and more").next().unwrap().as_bytes();
        assert_eq!(frame(whole), Frame::Message(whole.len()));
        assert_eq!(frame(&whole[..whole.len() - 1]), Frame::Incomplete);
        assert_eq!(frame(&whole[..40]), Frame::Incomplete);
        assert_eq!(frame(b"\r\n\r\nINVITE"), Frame::Ping);
        assert_eq!(frame(b"\r\nINVITE"), Frame::Blank);
        assert_eq!(frame(b"\r\n"), Frame::Incomplete);
        assert_eq!(frame(b"\x16\x03\x01"), Frame::Garbage);
        assert_eq!(frame(b"BYE sip:x SIP/2.0\r\nContent-Length: -1\r\n\r\n"), Frame::Garbage);
        assert_eq!(frame(b"BYE sip:x SIP/2.0\r\nl: 99999999\r\n\r\n"), Frame::Garbage);
    }
}
