//! The small grammars inside SIP header fields: URIs, name-addr, parameters, lists, Via.
//!
//! All of them are views on the received text. Nothing is decoded until asked for and nothing is
//! written back in another spelling, so a Contact returns to its owner as he wrote it.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::ports::Transport;

/// What stays unescaped in a user part (RFC 3261 §25.1: unreserved and user-unreserved).
const USER_PART: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'&')
    .remove(b'=')
    .remove(b'+')
    .remove(b'$')
    .remove(b',')
    .remove(b'/');

/// Escapes text for the user part of a URI.
pub(crate) fn escape_user(user: &str) -> Cow<'_, str> {
    utf8_percent_encode(user, USER_PART).into()
}

/// A SIP, SIPS or tel URI (RFC 3261 §19.1, RFC 3966).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Uri<'a> {
    /// `sip`, `sips` or `tel`, as written.
    pub(crate) scheme: &'a str,
    /// The user part as written, with its own parameters, without a password. Empty when absent.
    pub(crate) user: &'a str,
    /// Host without brackets; empty for `tel`.
    pub(crate) host: &'a str,
    /// The port, when one is written.
    pub(crate) port: Option<u16>,
    /// Everything after the first `;` behind the host, up to `?`.
    pub(crate) params: &'a str,
    /// Everything after `?`.
    pub(crate) headers: &'a str,
}

impl<'a> Uri<'a> {
    /// Reads a URI; `None` when it is none of ours. Blanks and control characters, which would break
    /// the line that a URI stands in, are in none.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        if text.trim().bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
            return None;
        }
        let (scheme, rest) = text.trim().split_once(':')?;
        if scheme.eq_ignore_ascii_case("tel") {
            let (user, params) = rest.split_once(';').unwrap_or((rest, ""));
            return (!user.is_empty()).then_some(Self { scheme, user, host: "", port: None, params, headers: "" });
        }
        if !scheme.eq_ignore_ascii_case("sip") && !scheme.eq_ignore_ascii_case("sips") {
            return None;
        }
        // The user part may hold `;` and `?` (RFC 3261 §25.1), so it is cut off first.
        let (user_info, rest) = match rest.rfind('@') {
            Some(at) => (rest.get(..at)?, rest.get(at + 1..)?),
            None => ("", rest),
        };
        let user = user_info.split_once(':').map_or(user_info, |(user, _)| user);
        let (rest, headers) = rest.split_once('?').unwrap_or((rest, ""));
        let (host_port, params) = rest.split_once(';').unwrap_or((rest, ""));
        let (host, port) = split_host_port(host_port)?;
        Some(Self { scheme, user, host, port, params, headers })
    }

    /// The user part without its parameters, percent-decoded: what a human calls the number.
    pub(crate) fn user_text(&self) -> String {
        let bare = self.user.split(';').next().unwrap_or_default();
        percent_decode_str(bare).decode_utf8_lossy().into_owned()
    }

    /// Whether the scheme asks for TLS on every hop.
    pub(crate) fn is_sips(&self) -> bool {
        self.scheme.eq_ignore_ascii_case("sips")
    }

    /// The transport the URI names or implies (RFC 3263 §4.1 without DNS).
    pub(crate) fn transport(&self) -> Transport {
        match param(self.params, "transport").and_then(Transport::parse) {
            Some(transport) => transport,
            None if self.is_sips() => Transport::Tls,
            None => Transport::Udp,
        }
    }

    /// A parameter; `Some("")` when it has no value.
    pub(crate) fn param(&self, name: &str) -> Option<&'a str> {
        param(self.params, name)
    }

    /// The host as an address, when it is one.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// Host and port as a socket address, when the host is an address.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.ip()?, self.port.unwrap_or_else(|| self.transport().default_port())))
    }

    /// Whether both name the same resource, as far as a registrar needs to know (RFC 3261 §19.1.4:
    /// user with case, host without, ports and transports alike).
    pub(crate) fn same_resource(&self, other: &Uri<'_>) -> bool {
        self.scheme.eq_ignore_ascii_case(other.scheme)
            && percent_decode_str(self.user).eq(percent_decode_str(other.user))
            && self.host.eq_ignore_ascii_case(other.host)
            && self.port == other.port
            && self.transport() == other.transport()
    }
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`.
pub(crate) fn split_host_port(text: &str) -> Option<(&str, Option<u16>)> {
    let text = text.trim();
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            let port = match after.trim() {
                "" => None,
                after => Some(after.strip_prefix(':')?),
            };
            (host, port)
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let host = host.trim();
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c.is_control() || "<>\",;@".contains(c)) {
        return None;
    }
    let port = match port {
        Some(digits) => Some(digits.trim().parse().ok()?),
        None => None,
    };
    Some((host, port))
}

/// Writes an address as a URI's host: IPv6 in brackets.
pub(crate) fn host_text(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

/// A name-addr or addr-spec with its header parameters: From, To, Contact, Route, Refer-To.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NameAddr<'a> {
    /// The display name as written, with its quotes.
    display: &'a str,
    /// The URI as written.
    pub(crate) uri: &'a str,
    /// Header parameters, without the leading `;`.
    pub(crate) params: &'a str,
}

impl<'a> NameAddr<'a> {
    /// Reads one element (see [`list`] for several).
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let text = text.trim();
        let open = find_unquoted(text, '<');
        let Some(open) = open else {
            // An addr-spec alone: what follows `;` belongs to the header (RFC 3261 §20.10).
            let (uri, params) = text.split_once(';').unwrap_or((text, ""));
            let uri = uri.trim();
            return (!uri.is_empty()).then_some(Self { display: "", uri, params });
        };
        let display = text.get(..open)?.trim();
        let rest = text.get(open + 1..)?;
        let (uri, after) = rest.split_once('>')?;
        let params = after.trim_start().strip_prefix(';').unwrap_or("");
        let uri = uri.trim();
        (!uri.is_empty()).then_some(Self { display, uri, params })
    }

    /// The display name without quotes and escapes, when there is one.
    pub(crate) fn display(&self) -> Option<String> {
        let bare = match self.display.strip_prefix('"') {
            Some(quoted) => unescape(quoted.strip_suffix('"').unwrap_or(quoted)),
            None => self.display.to_owned(),
        };
        let bare = bare.trim();
        (!bare.is_empty()).then(|| bare.to_owned())
    }

    /// The tag parameter.
    pub(crate) fn tag(&self) -> Option<&'a str> {
        param(self.params, "tag").filter(|tag| !tag.is_empty())
    }

    /// A header parameter; `Some("")` when it has no value.
    pub(crate) fn param(&self, name: &str) -> Option<&'a str> {
        param(self.params, name)
    }
}

fn unescape(quoted: &str) -> String {
    let mut out = String::with_capacity(quoted.len());
    let mut escaped = false;
    for c in quoted.chars() {
        if c == '\\' && !escaped {
            escaped = true;
        } else {
            out.push(c);
            escaped = false;
        }
    }
    out
}

/// The position of a character outside quoted strings.
fn find_unquoted(text: &str, wanted: char) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            c if c == wanted && !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

/// A parameter in `a=b;c;d="e f"`, without quotes; `Some("")` when it is a flag. Names have no case.
pub(crate) fn param<'a>(params: &'a str, name: &str) -> Option<&'a str> {
    split_unquoted(params, ';').find_map(|item| {
        let (key, value) = item.split_once('=').unwrap_or((item, ""));
        key.trim().eq_ignore_ascii_case(name).then(|| unquote(value.trim()))
    })
}

/// Strips one pair of quotes.
pub(crate) fn unquote(text: &str) -> &str {
    text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text)
}

/// The elements of a comma-separated header value, quotes and angle brackets respected.
pub(crate) fn list(value: &str) -> impl Iterator<Item = &str> {
    split_unquoted(value, ',').map(str::trim).filter(|item| !item.is_empty())
}

fn split_unquoted(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let (mut quoted, mut escaped, mut angle) = (false, false, false);
        for (at, c) in text.char_indices() {
            match c {
                _ if escaped => escaped = false,
                '\\' if quoted => escaped = true,
                '"' => quoted = !quoted,
                '<' if !quoted => angle = true,
                '>' if !quoted => angle = false,
                c if c == separator && !quoted && !angle => {
                    rest = text.get(at + separator.len_utf8()..);
                    return text.get(..at);
                }
                _ => {}
            }
        }
        rest = None;
        Some(text)
    })
}

/// One Via element (RFC 3261 §20.42).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Via<'a> {
    /// The element as written.
    pub(crate) text: &'a str,
    /// sent-by host, without brackets.
    pub(crate) host: &'a str,
    /// sent-by port.
    pub(crate) port: Option<u16>,
    /// `UDP`, `TCP`, ... as written.
    pub(crate) transport: &'a str,
    params: &'a str,
}

impl<'a> Via<'a> {
    /// Reads one element.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let text = text.trim();
        let (protocol, rest) = text.split_once(|c: char| c.is_ascii_whitespace())?;
        // `SIP / 2.0 / UDP host` is legal too: then the split came too early.
        let (protocol, rest) = if protocol.matches('/').count() == 2 {
            (protocol, rest)
        } else {
            let last = text.rfind('/')?;
            let after = text.get(last + 1..)?.trim_start();
            let name_len = after.find(|c: char| c.is_ascii_whitespace())?;
            let start = text.len() - after.len();
            (text.get(..start + name_len)?, text.get(start + name_len..)?)
        };
        let transport = protocol.rsplit('/').next()?.trim();
        let (sent_by, params) = rest.split_once(';').unwrap_or((rest, ""));
        let (host, port) = split_host_port(sent_by)?;
        Some(Self { text, host, port, transport, params })
    }

    /// The branch parameter.
    pub(crate) fn branch(&self) -> Option<&'a str> {
        param(self.params, "branch").filter(|branch| !branch.is_empty())
    }

    /// Whether the sender asks for symmetric response routing (RFC 3581).
    pub(crate) fn wants_rport(&self) -> bool {
        param(self.params, "rport").is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_of_the_wild_is_read() {
        let uri = Uri::parse("sip:+15551234;npdi;rn=+1555@gw.example:5062;transport=tcp;lr?Replaces=x").unwrap();
        assert_eq!((uri.user, uri.host, uri.port), ("+15551234;npdi;rn=+1555", "gw.example", Some(5062)));
        assert_eq!(uri.user_text(), "+15551234");
        assert_eq!(uri.transport(), Transport::Tcp);
        assert_eq!(uri.headers, "Replaces=x");

        let v6 = Uri::parse("sips:bob%20b:pw@[2001:db8::1]:5071").unwrap();
        assert_eq!(v6.user_text(), "bob b");
        assert_eq!(v6.address(), "[2001:db8::1]:5071".parse().ok());
        assert_eq!(v6.transport(), Transport::Tls);
        assert_eq!(Uri::parse("tel:+44;phone-context=x").unwrap().user_text(), "+44");
        for bad in ["", "sip:", "sip:bob@", "http://x", "sip:a@b:port", "sip:a@[::1", "sip:a@b c", "sip:a@b:70000"] {
            assert!(Uri::parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn name_addr_reads_quotes_brackets_and_parameters() {
        let named = NameAddr::parse(r#""A \"<q>\", B" <sip:a@h;x=1>;tag=abc;q="0.5""#).unwrap();
        assert_eq!(named.display().unwrap(), r#"A "<q>", B"#);
        assert_eq!((named.uri, named.tag(), named.param("Q")), ("sip:a@h;x=1", Some("abc"), Some("0.5")));
        let bare = NameAddr::parse("sip:a@h;tag=t").unwrap();
        assert_eq!((bare.uri, bare.tag(), bare.display()), ("sip:a@h", Some("t"), None));
        assert!(NameAddr::parse("\"x\" <sip:a@h").is_none());
    }

    #[test]
    fn a_list_splits_outside_quotes_and_brackets_only() {
        let items: Vec<_> = list(r#""a,b" <sip:x@y,z>;q=1 , <sip:c@d>,"#).collect();
        assert_eq!(items, [r#""a,b" <sip:x@y,z>;q=1"#, "<sip:c@d>"]);
    }

    #[test]
    fn via_reads_spaced_and_compact_forms() {
        let via = Via::parse("SIP/2.0/UDP 10.0.0.1:5060;rport;branch=z9hG4bK1;received=192.0.2.1").unwrap();
        assert_eq!((via.host, via.port, via.transport), ("10.0.0.1", Some(5060), "UDP"));
        assert_eq!((via.branch(), via.wants_rport()), (Some("z9hG4bK1"), true));
        let spaced = Via::parse("SIP / 2.0 / TCP [::1]:5060 ;branch=b").unwrap();
        assert_eq!((spaced.host, spaced.transport, spaced.branch()), ("::1", "TCP", Some("b")));
        assert!(Via::parse("SIP/2.0/UDP").is_none());
    }

    #[test]
    fn the_same_resource_is_found_in_another_spelling() {
        let same = |a, b| Uri::parse(a).unwrap().same_resource(&Uri::parse(b).unwrap());
        assert!(same("sip:al%69ce@EXAMPLE.com;ob", "SIP:alice@example.com"));
        assert!(!same("sip:alice@h:5060", "sip:alice@h"));
        assert!(!same("sip:alice@h;transport=tcp", "sip:alice@h"));
    }

    #[test]
    fn what_would_break_a_line_is_in_no_uri() {
        for bad in ["sip:a\r\nX: y@h", "sip:a b@h", "sip:a@h;x=\0", "sip:a@h\n\nbody", "tel:1\t2", "sip:a\x7f@h"] {
            assert_eq!(Uri::parse(bad), None, "{bad:?}");
        }
        assert!(Uri::parse(" sip:a%20b@h ").is_some());
    }
}
