//! Messages of our own, written straight into bytes (RFC 3261 §7).
//!
//! Invariant: no value begins a field or a message of its own, whatever it holds.

use std::fmt::{Display, Write as _};

use bytes::Bytes;

use super::message::{Message, Method, Name};
use super::uri::Via;

/// A message of our own, written field by field.
#[derive(Debug)]
pub(crate) struct Draft {
    text: String,
}

impl Draft {
    /// Begins a request. What would break its first line is left out of the URI.
    pub(crate) fn request(method: Method, uri: &str) -> Self {
        let mut text = String::with_capacity(1024);
        let _ = write!(text, "{} ", method.as_str());
        if uri.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
            text.extend(uri.chars().filter(|c| !c.is_ascii_control() && *c != ' '));
        } else {
            text.push_str(uri);
        }
        text.push_str(" SIP/2.0\r\n");
        Self { text }
    }

    /// Begins a response: status line, Via, From, To, Call-ID and CSeq of the request
    /// (RFC 3261 §8.2.6.2). `source` is where the request came from and completes its top Via;
    /// `to_tag` is added when the request's To has none.
    pub(crate) fn response(request: &Message, source: std::net::SocketAddr, code: u16, to_tag: Option<&str>) -> Self {
        let mut draft = Self { text: String::with_capacity(768) };
        let _ = write!(draft.text, "SIP/2.0 {code} {}\r\n", reason_phrase(code));
        draft.vias(request, source);
        draft = draft.field("From", request.field(Name::From).unwrap_or_default());
        let to = request.field(Name::To).unwrap_or_default();
        draft = match to_tag {
            Some(tag) if request.to_tag().is_none() => draft.field("To", format_args!("{to};tag={tag}")),
            _ => draft.field("To", to),
        };
        draft.field("Call-ID", request.call_id()).field("CSeq", request.field(Name::CSeq).unwrap_or_default())
    }

    /// Copies the Vias; the top one gets `received` when it lies (RFC 3261 §18.2.1) and `rport` when
    /// it asks (RFC 3581).
    fn vias(&mut self, request: &Message, source: std::net::SocketAddr) {
        for (index, element) in request.elements(Name::Via).enumerate() {
            let via = (index == 0).then(|| Via::parse(element)).flatten();
            let Some(via) = via else {
                let _ = write!(self.text, "Via: {element}\r\n");
                continue;
            };
            self.text.push_str("Via: ");
            for (index, part) in element.split(';').enumerate() {
                let name = part.split('=').next().unwrap_or_default().trim();
                match index {
                    0 => self.text.push_str(part.trim_end()),
                    _ if name.eq_ignore_ascii_case("received") => {}
                    _ if name.eq_ignore_ascii_case("rport") => {
                        let _ = write!(self.text, ";rport={}", source.port());
                    }
                    _ => {
                        let _ = write!(self.text, ";{}", part.trim());
                    }
                }
            }
            if via.wants_rport() || via.host.parse() != Ok(source.ip()) {
                let _ = write!(self.text, ";received={}", source.ip());
            }
            self.text.push_str("\r\n");
        }
    }

    /// Adds a field. Line breaks in a value would begin another field: they become blanks.
    pub(crate) fn field(mut self, name: &str, value: impl Display) -> Self {
        let _ = write!(self.text, "{name}: ");
        let start = self.text.len();
        let _ = write!(self.text, "{value}");
        if self.text.get(start..).is_some_and(|value| value.contains(['\r', '\n', '\0'])) {
            let clean = self.text.split_off(start).replace(['\r', '\n', '\0'], " ");
            self.text.push_str(&clean);
        }
        self.text.push_str("\r\n");
        self
    }

    /// Adds a field when there is a value.
    pub(crate) fn maybe(self, name: &str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.field(name, value),
            None => self,
        }
    }

    /// Ends the message without a body.
    pub(crate) fn finish(self) -> Bytes {
        self.finish_with("", b"")
    }

    /// Ends the message with a body of a type.
    pub(crate) fn finish_with(mut self, kind: &str, body: &[u8]) -> Bytes {
        if !body.is_empty() {
            let _ = write!(self.text, "Content-Type: {kind}\r\n");
        }
        let _ = write!(self.text, "Content-Length: {}\r\n\r\n", body.len());
        let mut bytes = self.text.into_bytes();
        bytes.extend_from_slice(body);
        bytes.into()
    }
}

/// The phrase for a status code (RFC 3261 §21 and the registry's later ones that we send).
pub(crate) fn reason_phrase(code: u16) -> &'static str {
    match code {
        100 => "Trying",
        180 => "Ringing",
        181 => "Call Is Being Forwarded",
        182 => "Queued",
        183 => "Session Progress",
        200 => "OK",
        202 => "Accepted",
        302 => "Moved Temporarily",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        410 => "Gone",
        413 => "Request Entity Too Large",
        415 => "Unsupported Media Type",
        416 => "Unsupported URI Scheme",
        420 => "Bad Extension",
        421 => "Extension Required",
        422 => "Session Interval Too Small",
        423 => "Interval Too Brief",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        482 => "Loop Detected",
        483 => "Too Many Hops",
        484 => "Address Incomplete",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        489 => "Bad Event",
        491 => "Request Pending",
        500 => "Server Internal Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        504 => "Server Time-out",
        600 => "Busy Everywhere",
        603 => "Decline",
        604 => "Does Not Exist Anywhere",
        606 => "Not Acceptable",
        _ => match code / 100 {
            1 => "Progress",
            2 => "OK",
            3 => "Redirection",
            4 => "Client Error",
            5 => "Server Error",
            _ => "Global Failure",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INVITE: &str = "INVITE sip:bob@biloxi.example SIP/2.0\r\n\
        v: SIP/2.0/UDP pc33.example;branch=z9hG4bK77;rport, SIP/2.0/TCP up.example;branch=z9hG4bK1\r\n\
        To: Bob <sip:bob@biloxi.example>\r\nFrom: \"A, L\" <sip:alice@a.example>;tag=19\r\n\
        Call-ID: a84b@pc33\r\nCSeq: 314159 INVITE\r\n\r\n";

    #[test]
    fn a_response_carries_the_request_back_and_completes_its_via() {
        let request = Message::parse(INVITE.as_bytes()).unwrap();
        let bytes = Draft::response(&request, "192.0.2.7:4000".parse().unwrap(), 180, Some("mine"))
            .field("Contact", "<sip:x@y>\r\nEvil: 1")
            .finish();
        let response = Message::parse(&bytes).unwrap();
        assert_eq!((response.code(), response.to_tag(), response.from_tag()), (180, Some("mine"), "19"));
        let via = response.top_via().unwrap();
        assert!(via.text.contains(";rport=4000") && via.text.contains(";received=192.0.2.7"), "{}", via.text);
        assert_eq!(response.elements(Name::Via).nth(1).unwrap(), "SIP/2.0/TCP up.example;branch=z9hG4bK1");
        assert_eq!(response.field(Name::Contact).unwrap(), "<sip:x@y>  Evil: 1");
    }

    #[test]
    fn a_request_s_first_line_is_one_line() {
        let bytes = Draft::request(Method::Invite, "sip:a\r\nX: y@h").field("Via", "v").finish();
        assert!(bytes.starts_with(b"INVITE sip:aX:y@h SIP/2.0\r\nVia: v\r\n"));
    }
}
