//! One step of a leg's machine: what it is given, and what it asks of its surroundings.

use std::sync::Arc;

use bytes::Bytes;
use kernel::Ids;

use super::Hop;
use crate::cause::Cause;
use crate::leg::{LegEnd, LegEvent};
use crate::runner::Remote;
use crate::sip::flow::Flow;
use crate::sip::message::Method;

/// What a leg asks of its surroundings.
#[derive(Debug)]
pub(crate) enum Action {
    /// Find a way to this hop, then call [`super::SipLeg::dial`] or [`super::SipLeg::undialable`].
    Dial(Hop),
    /// Send a request in a new client transaction.
    Request { method: Method, branch: String, bytes: Bytes, flow: Flow, purpose: Purpose },
    /// Send an ACK.
    Acknowledge { bytes: Bytes, flow: Flow },
    /// Repeat a response.
    Send { bytes: Bytes, flow: Flow },
    /// Answer a server transaction.
    Respond { tx: Arc<str>, code: u16, bytes: Bytes },
    /// The ACK of a 2xx came: stop repeating it.
    Acknowledged { tx: Arc<str> },
    /// Send the CANCEL of our INVITE.
    Cancel { branch: String },
    /// Stop repeating an INVITE that nobody answers; late answers still come here.
    Abandon { branch: String },
    /// This hop did not answer, or is full: others need not try it first.
    HopFailed(Hop),
    /// Tell the call.
    Event(LegEvent),
    /// The peer asks to be connected elsewhere, there perhaps in the place of another dialog (a Replaces value).
    Referred { to: String, replaces: Option<String> },
    /// A key came by INFO.
    Digit { symbol: char, duration_ms: u32 },
    /// Media was agreed, for the first time or anew.
    Media(Box<Remote>),
    /// The call is answered on both sides.
    Established,
    /// The end, once: close the media and tell the call.
    Ended(LegEnd),
}

/// What a request of ours is for; its response comes back with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The INVITE that makes the leg.
    Invite,
    /// An INVITE inside the dialog: hold, resume or refresh.
    Reinvite,
    /// A session refresh without an offer.
    Update,
    /// The end.
    Bye(Cause),
    /// Acknowledges a reliable provisional response: its RAck.
    Prack(String),
    /// Sends the peer elsewhere.
    Refer(String),
    /// How a transfer fares: status code, and whether it is the last word.
    Notify(u16, bool),
}

impl Purpose {
    pub(super) fn method(&self) -> Method {
        match self {
            Self::Invite | Self::Reinvite => Method::Invite,
            Self::Update => Method::Update,
            Self::Bye(_) => Method::Bye,
            Self::Prack(_) => Method::Prack,
            Self::Refer(_) => Method::Refer,
            Self::Notify(..) => Method::Notify,
        }
    }
}

/// What every step is given.
pub(crate) struct Cx<'a> {
    pub(crate) now: i64,
    pub(crate) ids: &'a Ids,
    /// User-Agent and Server.
    pub(crate) agent: &'a str,
    pub(crate) out: &'a mut Vec<Action>,
}

impl Cx<'_> {
    /// A branch for a new request.
    pub(crate) fn branch(&self) -> String {
        format!("z9hG4bK{:016x}", u64::from_le_bytes(self.ids.bytes()))
    }

    pub(super) fn event(&mut self, event: LegEvent) {
        self.out.push(Action::Event(event));
    }
}
