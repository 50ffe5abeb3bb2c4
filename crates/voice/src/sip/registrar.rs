//! The registrar's rules (RFC 3261 §10.3): what a REGISTER does to the bindings of an address of record.
//!
//! Pure: `apply(bindings, request, now)` gives the change to store, or the refusal. Contacts are kept
//! as they were sent; two spellings of one URI are one binding.

use std::net::SocketAddr;
use std::sync::Arc;

use super::message::{Message, Name};
use super::uri::{NameAddr, Uri};
use crate::ports::{Binding, BindingChange, LineIdentity, Transport};

/// Shortest registration, seconds: shorter ones are refused with 423.
pub(crate) const MIN_EXPIRES_S: u32 = 60;
/// Longest registration granted, seconds.
pub(crate) const MAX_EXPIRES_S: u32 = 3_600;
/// What a phone gets that does not say, seconds.
const DEFAULT_EXPIRES_S: u32 = 3_600;
/// Most bindings of one address of record.
const MAX_BINDINGS: usize = 20;
/// Longest Contact kept, bytes.
const MAX_CONTACT: usize = 1_024;

/// Why a REGISTER changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// 400: `*` with other Contacts or without Expires: 0, an unreadable Contact, an old CSeq.
    Malformed,
    /// 423 with Min-Expires.
    TooBrief,
    /// 403: more bindings than one address of record may have.
    TooMany,
}

/// One Contact of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wish {
    uri: String,
    instance: Option<String>,
    q: u16,
    expires_s: u32,
}

/// What a REGISTER asks, apart from its Contacts.
#[derive(Clone, Debug)]
pub(crate) struct Registration<'a> {
    /// Whose bindings.
    pub(crate) identity: &'a LineIdentity,
    /// The request.
    pub(crate) request: &'a Message,
    /// The way it came.
    pub(crate) transport: Transport,
    pub(crate) source: SocketAddr,
    pub(crate) local: SocketAddr,
    /// Calls to it are offered SRTP.
    pub(crate) srtp: bool,
}

/// What to store, and the bindings that then exist.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Applied {
    pub(crate) change: BindingChange,
    pub(crate) bindings: Vec<Binding>,
}

/// Carries out a REGISTER on the bindings of its address of record.
pub(crate) fn apply(existing: &[Binding], registration: &Registration<'_>, now_ms: i64) -> Result<Applied, Refusal> {
    let request = registration.request;
    let mut bindings: Vec<Binding> =
        existing.iter().filter(|binding| binding.expires_at_ms > now_ms).cloned().collect();
    let mut change = BindingChange::default();
    let seq = request.cseq().map(|(seq, _)| seq).ok_or(Refusal::Malformed)?;
    let is_old = |binding: &Binding| binding.call_id == request.call_id() && seq <= binding.cseq;

    if request.elements(Name::Contact).any(|contact| contact == "*") {
        if request.elements(Name::Contact).count() != 1
            || request.number(Name::Expires) != Some(0)
            || bindings.iter().any(is_old)
        {
            return Err(Refusal::Malformed);
        }
        change.remove = bindings.drain(..).map(|binding| binding.contact).collect();
        return Ok(Applied { change, bindings });
    }
    for wish in wishes(request)? {
        let replaces = |binding: &Binding| same_contact(&binding.contact, &wish.uri) || same_device(binding, &wish);
        if bindings.iter().any(|binding| replaces(binding) && is_old(binding)) {
            return Err(Refusal::Malformed);
        }
        let (replaced, kept): (Vec<_>, Vec<_>) = bindings.into_iter().partition(replaces);
        bindings = kept;
        let keeps_key = |binding: &Binding| wish.expires_s > 0 && binding.contact == wish.uri;
        change.remove.extend(replaced.into_iter().filter(|binding| !keeps_key(binding)).map(|binding| binding.contact));
        if wish.expires_s > 0 {
            let binding = bound(registration, wish, seq, now_ms);
            change.save.retain(|saved| saved.contact != binding.contact);
            change.save.push(binding.clone());
            bindings.push(binding);
        }
    }
    if bindings.len() > MAX_BINDINGS {
        return Err(Refusal::TooMany);
    }
    Ok(Applied { change, bindings })
}

fn bound(registration: &Registration<'_>, wish: Wish, seq: u32, now_ms: i64) -> Binding {
    let request = registration.request;
    Binding {
        org: Arc::clone(&registration.identity.org),
        extension: Arc::clone(&registration.identity.extension),
        line: Arc::clone(&registration.identity.line),
        contact: wish.uri,
        instance: wish.instance,
        call_id: request.call_id().to_owned(),
        cseq: seq,
        q: wish.q,
        expires_at_ms: now_ms + i64::from(wish.expires_s) * 1_000,
        transport: registration.transport,
        source: registration.source,
        local: registration.local,
        path: request.elements(Name::Path).map(str::to_owned).collect(),
        user_agent: request.field(Name::UserAgent).unwrap_or_default().to_owned(),
        srtp: registration.srtp,
    }
}

/// The Contacts of a request, each with the time it is granted.
fn wishes(request: &Message) -> Result<Vec<Wish>, Refusal> {
    let default_s = request.number(Name::Expires).unwrap_or(DEFAULT_EXPIRES_S);
    request
        .elements(Name::Contact)
        .map(|text| {
            let contact = NameAddr::parse(text).ok_or(Refusal::Malformed)?;
            if Uri::parse(contact.uri).is_none() || contact.uri.len() > MAX_CONTACT {
                return Err(Refusal::Malformed);
            }
            let asked_s = match contact.param("expires") {
                Some(text) => text.parse().unwrap_or(default_s),
                None => default_s,
            };
            if (1..MIN_EXPIRES_S).contains(&asked_s) {
                return Err(Refusal::TooBrief);
            }
            Ok(Wish {
                uri: contact.uri.to_owned(),
                instance: contact.param("+sip.instance").filter(|text| !text.is_empty()).map(str::to_owned),
                q: contact.param("q").map_or(1_000, thousandths),
                expires_s: asked_s.min(MAX_EXPIRES_S),
            })
        })
        .collect()
}

/// `0.5` as 500; what cannot be read counts as 1.
fn thousandths(q: &str) -> u16 {
    let (whole, fraction) = q.split_once('.').unwrap_or((q, ""));
    let digits: String = fraction.chars().chain("000".chars()).take(3).collect();
    match (whole.trim(), digits.parse::<u16>()) {
        ("0" | "", Ok(fraction)) => fraction,
        _ => 1_000,
    }
}

fn same_contact(a: &str, b: &str) -> bool {
    a == b
        || match (Uri::parse(a), Uri::parse(b)) {
            (Some(a), Some(b)) => a.same_resource(&b),
            _ => false,
        }
}

/// The device registers again from elsewhere (RFC 5626 §6, one flow a device).
fn same_device(binding: &Binding, wish: &Wish) -> bool {
    wish.instance.is_some() && binding.instance == wish.instance
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000;

    fn register(seq: u32, fields: &str) -> Message {
        let text = format!(
            "REGISTER sip:h SIP/2.0\r\nVia: SIP/2.0/UDP p;branch=z9hG4bK1\r\nFrom: <sip:1001@h>;tag=1\r\nTo: <sip:1001@h>\r\n\
             Call-ID: reg\r\nCSeq: {seq} REGISTER\r\n{fields}\r\n"
        );
        Message::parse(text.as_bytes()).unwrap()
    }

    fn run(existing: &[Binding], request: &Message, now: i64) -> Result<Applied, Refusal> {
        let identity = LineIdentity { org: "o".into(), extension: "1001".into(), person: None, line: "l".into() };
        let registration = Registration {
            identity: &identity,
            request,
            transport: Transport::Udp,
            source: "192.0.2.1:40000".parse().unwrap(),
            local: "10.0.0.1:5060".parse().unwrap(),
            srtp: false,
        };
        apply(existing, &registration, now)
    }

    fn contacts(applied: &Applied) -> Vec<&str> {
        applied.bindings.iter().map(|binding| binding.contact.as_str()).collect()
    }

    #[test]
    fn a_contact_is_kept_as_it_was_sent_and_lapses() {
        let raw = "sip:10%2001@10.0.0.9:5080;transport=UDP;ob";
        let request =
            register(1, &format!("Contact: \"x\" <{raw}>;q=0.7;expires=120\r\nPath: <sip:p1;lr>, <sip:p2;lr>\r\n"));
        let applied = run(&[], &request, NOW).unwrap();
        let binding = &applied.change.save[0];
        assert_eq!((binding.contact.as_str(), binding.q, binding.expires_at_ms), (raw, 700, NOW + 120_000));
        assert_eq!(binding.path, ["<sip:p1;lr>", "<sip:p2;lr>"]);
        let later = run(&applied.bindings, &register(2, ""), NOW + 120_000).unwrap();
        assert!(later.bindings.is_empty(), "a query shows what lives");
    }

    #[test]
    fn several_devices_register_side_by_side_and_leave_alone() {
        let one = run(&[], &register(1, "Contact: <sip:a@1.1.1.1>\r\n"), NOW).unwrap();
        let two =
            run(&one.bindings, &register(2, "Contact: <sip:a@2.2.2.2>\r\nContact: <sip:a@3.3.3.3>\r\n"), NOW).unwrap();
        assert_eq!(contacts(&two), ["sip:a@1.1.1.1", "sip:a@2.2.2.2", "sip:a@3.3.3.3"]);
        let gone = run(&two.bindings, &register(3, "Contact: <sip:a@2.2.2.2>;expires=0\r\n"), NOW).unwrap();
        assert_eq!(contacts(&gone), ["sip:a@1.1.1.1", "sip:a@3.3.3.3"]);
        assert_eq!(gone.change.remove, ["sip:a@2.2.2.2"]);
        let all = run(&gone.bindings, &register(4, "Contact: *\r\nExpires: 0\r\n"), NOW).unwrap();
        assert_eq!((all.bindings.len(), all.change.remove.len()), (0, 2));
    }

    #[test]
    fn a_device_that_moves_or_respells_replaces_its_binding() {
        let instance = "+sip.instance=\"<urn:uuid:1>\"";
        let first = run(&[], &register(1, &format!("Contact: <sip:a@1.1.1.1:5060>;{instance}\r\n")), NOW).unwrap();
        let moved =
            run(&first.bindings, &register(2, &format!("Contact: <sip:a@1.1.1.1:5070>;{instance}\r\n")), NOW).unwrap();
        assert_eq!(contacts(&moved), ["sip:a@1.1.1.1:5070"]);
        assert_eq!(moved.change.remove, ["sip:a@1.1.1.1:5060"]);
        let respelt = run(&moved.bindings, &register(3, "Contact: <SIP:%61@1.1.1.1:5070;ob>\r\n"), NOW).unwrap();
        assert_eq!(contacts(&respelt), ["SIP:%61@1.1.1.1:5070;ob"]);
        let refreshed =
            run(&respelt.bindings, &register(4, "Contact: <SIP:%61@1.1.1.1:5070;ob>\r\n"), NOW + 9).unwrap();
        assert_eq!((refreshed.change.save.len(), refreshed.change.remove.len()), (1, 0));
    }

    #[test]
    fn what_is_malformed_brief_old_or_too_much_is_refused() {
        let brief = register(1, "Contact: <sip:a@h>;expires=59\r\n");
        assert_eq!(run(&[], &brief, NOW), Err(Refusal::TooBrief));
        assert_eq!(run(&[], &register(1, "Contact: *\r\n"), NOW), Err(Refusal::Malformed));
        assert_eq!(run(&[], &register(1, "Contact: *, <sip:a@h>\r\nExpires: 0\r\n"), NOW), Err(Refusal::Malformed));
        assert_eq!(run(&[], &register(1, "Contact: <mailto:a@h>\r\n"), NOW), Err(Refusal::Malformed));
        let held = run(&[], &register(5, "Contact: <sip:a@h>\r\n"), NOW).unwrap().bindings;
        assert_eq!(run(&held, &register(5, "Contact: <sip:a@h>\r\n"), NOW), Err(Refusal::Malformed));
        let many = (0..=MAX_BINDINGS).map(|n| format!("Contact: <sip:a@h:{}>\r\n", 1_000 + n)).collect::<String>();
        assert_eq!(run(&[], &register(1, &many), NOW), Err(Refusal::TooMany));
        let long = run(&[], &register(1, "Contact: <sip:a@h>;expires=999999999\r\n"), NOW).unwrap();
        assert_eq!(long.bindings[0].expires_at_ms, NOW + i64::from(MAX_EXPIRES_S) * 1_000);
    }
}
