//! A dialog (RFC 3261 §12): who speaks with whom, in which order, by which way.
//!
//! Requests inside it are written here, so that all of them carry the same names and routes.

use std::net::IpAddr;

use super::draft::Draft;
use super::flow::{Flow, Path};
use super::message::{Message, Method, Name};
use super::uri::Uri;
use crate::ports::Transport;
use crate::voice::MAX_FORWARDS;

/// The peer-to-peer relationship of one leg.
#[derive(Clone, Debug)]
pub(crate) struct Dialog {
    pub(crate) call_id: String,
    pub(crate) local_tag: String,
    /// Empty until the peer answers our INVITE.
    pub(crate) remote_tag: String,
    /// Our name-addr, without tag.
    pub(crate) local_name: String,
    /// The peer's name-addr, without tag.
    pub(crate) remote_name: String,
    /// CSeq of our last request.
    pub(crate) local_seq: u32,
    /// CSeq of the peer's last request.
    pub(crate) remote_seq: Option<u32>,
    /// The peer's Contact URI: our Request-URI.
    pub(crate) target: String,
    /// Route set, in the order of our Route fields.
    pub(crate) routes: Vec<String>,
    pub(crate) path: Path,
    /// User part of our Contact.
    pub(crate) contact_user: String,
    /// What our requests may still travel: less than at first when a call goes on that came in.
    pub(crate) max_forwards: u32,
    /// Requests go where the peer's came from, whatever its Contact says: it may be behind NAT.
    pub(crate) pinned: bool,
}

impl Dialog {
    /// Our side of a dialog that the peer's INVITE opens.
    pub(crate) fn answering(invite: &Message, path: Path, local_tag: String, pinned: bool) -> Self {
        let contact_user = Uri::parse(invite.request_uri()).map(|uri| uri.user_text()).unwrap_or_default();
        Self {
            call_id: invite.call_id().to_owned(),
            local_tag,
            remote_tag: invite.from_tag().to_owned(),
            local_name: without_tag(invite.field(Name::To).unwrap_or_default()),
            remote_name: without_tag(invite.field(Name::From).unwrap_or_default()),
            local_seq: 0,
            remote_seq: invite.cseq().map(|(number, _)| number),
            target: invite.contact().map(|contact| contact.uri.to_owned()).unwrap_or_default(),
            routes: invite.elements(Name::RecordRoute).map(str::to_owned).collect(),
            path,
            contact_user,
            max_forwards: MAX_FORWARDS,
            pinned,
        }
    }

    /// Our side of the dialogs that an INVITE of ours opens, from the INVITE itself.
    pub(crate) fn of_invite(invite: &Message, path: Path) -> Self {
        Self {
            call_id: invite.call_id().to_owned(),
            local_tag: invite.from_tag().to_owned(),
            remote_tag: String::new(),
            local_name: without_tag(invite.field(Name::From).unwrap_or_default()),
            remote_name: without_tag(invite.field(Name::To).unwrap_or_default()),
            local_seq: invite.cseq().map_or(0, |(number, _)| number),
            remote_seq: None,
            target: invite.request_uri().to_owned(),
            routes: Vec::new(),
            path,
            contact_user: String::new(),
            max_forwards: MAX_FORWARDS,
            pinned: false,
        }
    }

    /// The same request with another peer that it reached (RFC 3261 §12.1.2).
    pub(crate) fn fork(&self) -> Self {
        Self { remote_tag: String::new(), remote_seq: None, ..self.clone() }
    }

    /// The peer's response gives the dialog its tag, target and, for the first time, its routes
    /// (RFC 3261 §12.1.2).
    pub(crate) fn answered(&mut self, response: &Message) {
        self.remote_tag = response.to_tag().unwrap_or_default().to_owned();
        self.routes = response.elements(Name::RecordRoute).map(str::to_owned).collect();
        self.routes.reverse();
        self.retarget(response);
    }

    /// A target refresh: a new Contact replaces the old one (RFC 3261 §12.2).
    pub(crate) fn retarget(&mut self, message: &Message) {
        if let Some(contact) = message.contact() {
            self.target = contact.uri.to_owned();
        }
    }

    /// Whether a request of the peer belongs here.
    pub(crate) fn is_peer(&self, request: &Message) -> bool {
        request.call_id() == self.call_id && request.from_tag() == self.remote_tag
    }

    /// Takes a request's CSeq; false when it is older than the last (RFC 3261 §12.2.2).
    pub(crate) fn take_seq(&mut self, request: &Message) -> bool {
        let Some((number, _)) = request.cseq() else {
            return false;
        };
        if self.remote_seq.is_some_and(|last| number <= last) {
            return false;
        }
        self.remote_seq = Some(number);
        true
    }

    /// Begins our next request.
    pub(crate) fn request(&mut self, method: Method, branch: &str) -> Draft {
        self.local_seq += 1;
        self.request_numbered(method, branch, self.local_seq)
    }

    /// Begins a request with a given number: an ACK repeats its INVITE's.
    pub(crate) fn request_numbered(&self, method: Method, branch: &str, number: u32) -> Draft {
        let mut draft = Draft::request(method, &self.target).field("Via", self.path.via(branch));
        for route in &self.routes {
            draft = draft.field("Route", route);
        }
        draft = draft
            .field("Max-Forwards", self.max_forwards)
            .field("From", format_args!("{};tag={}", self.local_name, self.local_tag));
        draft = if self.remote_tag.is_empty() {
            draft.field("To", &self.remote_name)
        } else {
            draft.field("To", format_args!("{};tag={}", self.remote_name, self.remote_tag))
        };
        draft.field("Call-ID", &self.call_id).field("CSeq", format_args!("{number} {}", method.as_str()))
    }

    /// Our Contact value.
    pub(crate) fn contact(&self) -> String {
        self.path.contact(&self.contact_user)
    }

    /// Host and port of the next hop, by name: of the first route, else of the peer's Contact.
    pub(crate) fn next_hop(&self) -> Option<(String, Option<u16>)> {
        let uri = Uri::parse(self.next_uri()).filter(|uri| !uri.host.is_empty())?;
        Some((uri.host.to_owned(), uri.port))
    }

    fn next_uri(&self) -> &str {
        let route = self.routes.first().and_then(|route| super::uri::NameAddr::parse(route));
        route.map_or(&self.target, |route| route.uri)
    }

    /// Where requests go: the first route, else the peer's Contact, when either is an address and
    /// the peer is not behind NAT; else where the peer was last heard.
    pub(crate) fn destination(&self) -> Flow {
        let flow = &self.path.flow;
        if self.pinned || flow.transport != Transport::Udp {
            return flow.clone();
        }
        let address = Uri::parse(self.next_uri()).and_then(|uri| uri.address());
        match address {
            Some(address) if is_reachable(address.ip(), flow.remote.ip()) => flow.towards(address),
            _ => flow.clone(),
        }
    }
}

/// Whether an address that a peer names can be reached where the peer itself was: of its family, and
/// not a private one named from outside.
pub(crate) fn is_reachable(named: IpAddr, seen: IpAddr) -> bool {
    let inner = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_loopback() || ip.is_unicast_link_local(),
    };
    named.is_ipv4() == seen.is_ipv4() && !named.is_unspecified() && (!inner(named) || inner(seen))
}

/// A From or To value without its tag.
fn without_tag(value: &str) -> String {
    let end = value.rfind('>').map_or(0, |at| at + 1);
    let (name, params) = value.split_at_checked(end).unwrap_or(("", value));
    let mut kept = name.to_owned();
    for (index, part) in params.split(';').enumerate() {
        if part.trim_start().to_ascii_lowercase().starts_with("tag=") {
            continue;
        }
        if index > 0 {
            kept.push(';');
        }
        kept.push_str(part.trim());
    }
    // An addr-spec alone would take our tag for a URI parameter's neighbour: bracket it.
    if end == 0 { format!("<{}>", kept.split(';').next().unwrap_or_default()) } else { kept }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_loses_its_tag_and_nothing_else() {
        assert_eq!(without_tag("\"A\" <sip:a@h;x=1>;tag=1;y=2"), "\"A\" <sip:a@h;x=1>;y=2");
        assert_eq!(without_tag("<sip:a@h> ; TAG=1"), "<sip:a@h>");
        assert_eq!(without_tag("sip:a@h;tag=1"), "<sip:a@h>");
    }
}
