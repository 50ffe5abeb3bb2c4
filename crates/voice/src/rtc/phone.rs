//! A browser phone and its calls, without sockets, clocks or tasks.
//!
//! Invariant: a call's name leads to one call; a phone whose socket is lost keeps its calls for [`GRACE_MS`], those that
//! ring for [`RING_GRACE_MS`], and those that are left then end.

use std::net::SocketAddr;

use kernel::Ids;
use media::codec::CodecKind;

use super::call::{Action, NEVER, PhoneCall, fault};
use super::exchange::{PhoneAccount, PhoneRights};
use super::frame::{Caller, Down, Fault, IceServer, Up};
use crate::cause::Cause;
use crate::leg::{LegId, PhoneId, Signal};
use crate::runner::Fingerprint;
use crate::sip::sdp::{IceSide, Session};
use crate::voice::CallerId;

/// How long a phone without a socket keeps its calls, ms.
const GRACE_MS: i64 = 30_000;
/// And how long those that ring there: enough for a page to be loaded anew, ms.
const RING_GRACE_MS: i64 = 5_000;
/// Calls that a phone may have at once.
const MAX_CALLS: usize = 8;
/// Characters of a call's name.
const MAX_NAME: usize = 64;
/// Characters of a number that is dialled.
const MAX_NUMBER: usize = 256;
/// What browsers are offered, and answered; all of them speak these.
pub(crate) const CODECS: [CodecKind; 3] = [CodecKind::Opus, CodecKind::Pcmu, CodecKind::Pcma];
/// Refuses a call without saying why (RFC 3261 §21.6.2).
const DECLINE: u16 = 603;

/// What a phone asks of its surroundings.
#[derive(Debug)]
pub(super) enum Order {
    /// Say this to the phone.
    Tell(Down),
    /// A call of the phone's: make its leg before anything else is done about it.
    Begin { leg: LegId, to: String },
    /// About a call's leg.
    Leg(LegId, Action),
}

/// A call to the phone.
#[derive(Debug)]
pub(super) struct Ring {
    pub(super) leg: LegId,
    pub(super) from: CallerId,
    /// A codec to offer first.
    pub(super) prefer: Option<CodecKind>,
    pub(super) ring_until: i64,
}

/// A phone.
#[derive(Debug)]
pub(super) struct Phone {
    id: PhoneId,
    account: PhoneAccount,
    ids: Ids,
    fingerprint: Fingerprint,
    /// Where its browser finds us.
    candidates: Vec<SocketAddr>,
    calls: Vec<PhoneCall>,
    /// Since when its socket is lost.
    lost_at: Option<i64>,
}

impl Phone {
    /// A phone that is not here yet.
    pub(super) fn new(id: PhoneId, account: PhoneAccount, fingerprint: Fingerprint, ids: Ids) -> Self {
        Self { id, account, ids, fingerprint, candidates: Vec::new(), calls: Vec::new(), lost_at: None }
    }

    /// Whether nothing is left of it: it is lost, and so are its calls.
    pub(super) fn is_gone(&self) -> bool {
        self.lost_at.is_some() && self.calls.is_empty()
    }

    /// When [`Phone::due`] is to be called.
    pub(super) fn next(&self) -> i64 {
        let next = |call: &PhoneCall| call.next().min(self.end_of_grace(call));
        self.calls.iter().map(next).min().unwrap_or(NEVER)
    }

    /// When a call ends because the phone does not come back.
    fn end_of_grace(&self, call: &PhoneCall) -> i64 {
        let grace = if call.is_ringing() { RING_GRACE_MS } else { GRACE_MS };
        self.lost_at.map_or(NEVER, |lost_at| lost_at.saturating_add(grace))
    }

    /// The phone is here, or here again; from now on its browser finds us at `candidates`, and itself by `ice_servers`.
    pub(super) fn attach(&mut self, candidates: Vec<SocketAddr>, ice_servers: Vec<IceServer>, out: &mut Vec<Order>) {
        self.lost_at = None;
        self.candidates = candidates;
        self.account.ice_servers = ice_servers;
        let PhoneAccount { line, name, ice_servers, rights } = &self.account;
        out.push(Order::Tell(Down::Ready {
            phone: self.id.clone(),
            extension: if *rights == PhoneRights::All { line.extension.to_string() } else { String::new() },
            name: name.clone(),
            ice_servers: ice_servers.clone(),
            calls: self.calls.iter().filter_map(PhoneCall::view).collect(),
        }));
        for call in &self.calls {
            let mut actions = Vec::new();
            call.announce(&mut actions);
            out.extend(actions.into_iter().map(|action| Order::Leg(call.leg.clone(), action)));
        }
    }

    /// Whose phone it is may not have one any more: its calls end now.
    pub(super) fn expel(&mut self, out: &mut Vec<Order>) {
        for call in &mut self.calls {
            let mut actions = Vec::new();
            call.expelled(&mut actions);
            out.extend(actions.into_iter().map(|action| Order::Leg(call.leg.clone(), action)));
        }
        self.tidy();
    }

    /// Its socket is lost.
    pub(super) fn detach(&mut self, now: i64) {
        self.lost_at.get_or_insert(now);
    }

    /// The phone says something.
    pub(super) fn frame(&mut self, frame: Up, now: i64, out: &mut Vec<Order>) {
        match frame {
            Up::Hello { .. } => {
                let message = "the phone has said hello already".to_owned();
                out.push(Order::Tell(Down::Error { code: Fault::WrongState, message, id: None, field: None }));
            }
            Up::Ping => out.push(Order::Tell(Down::Pong)),
            Up::Call { id, .. } | Up::Transfer { id, .. } if self.account.rights == PhoneRights::AnswerOnly => {
                let message = "this phone only takes calls: it dials nobody, and hands nobody on";
                out.push(Order::Tell(fault(Fault::NotAllowed, message, &short(&id), None)));
            }
            Up::Call { id, to, sdp } => self.call(id, to, &sdp, now, out),
            Up::Ringing { id } => self.by_name(&id, out, PhoneCall::ringing),
            Up::Answer { id, sdp } => self.by_name(&id, out, |call, out| call.answered_by_phone(&sdp, out)),
            Up::Reject { id, sip_code } => {
                let code = sip_code.unwrap_or(DECLINE).clamp(400, 699);
                self.by_name(&id, out, |call, out| call.rejected_by_phone(code, out));
            }
            Up::Hangup { id } => self.by_name(&id, out, PhoneCall::hung_up_by_phone),
            Up::Hold { id, on } => self.by_name(&id, out, |call, out| call.held_by_phone(on, out)),
            Up::Offer { id, sdp } => {
                self.by_name(&id, out, |call, out| call.offered_by_phone(&sdp, now, out));
            }
            Up::Transfer { id, to } => self.by_name(&id, out, |call, out| call.transferred_by_phone(to, out)),
            Up::Dtmf { id, digits } => self.by_name(&id, out, |call, out| call.pressed_by_phone(&digits, out)),
        }
    }

    /// The phone is called.
    pub(super) fn ring(&mut self, ring: Ring, out: &mut Vec<Order>) {
        let mut codecs = CODECS.to_vec();
        if let Some(prefer) = ring.prefer {
            codecs.sort_by_key(|codec| *codec != prefer);
        }
        let CallerId { number, display, anonymous } = ring.from;
        let from = Caller { number: if anonymous { String::new() } else { number }, name: display };
        let mut actions = Vec::new();
        let session = self.session(codecs);
        let mut call = PhoneCall::called(ring.leg, session, from, ring.ring_until, &mut actions);
        if self.calls.len() >= MAX_CALLS || self.lost_at.is_some() {
            let cause = if self.lost_at.is_none() { Cause::Busy } else { Cause::Unreachable };
            actions.clear();
            call.refused(cause, &mut actions);
            actions.retain(|action| !matches!(action, Action::Tell(_)));
        }
        self.keep(call, actions, out);
    }

    /// A command of the call above.
    pub(super) fn signal(&mut self, leg: &LegId, signal: Signal, out: &mut Vec<Order>) {
        self.by_leg(leg, out, |call, out| call.signal(signal, out));
    }

    /// The floors above do not take a call of the phone's.
    pub(super) fn refuse(&mut self, leg: &LegId, cause: Cause, out: &mut Vec<Order>) {
        self.by_leg(leg, out, |call, out| call.refused(cause, out));
    }

    /// Fires what is due.
    pub(super) fn due(&mut self, now: i64, out: &mut Vec<Order>) {
        let ends: Vec<i64> = self.calls.iter().map(|call| self.end_of_grace(call)).collect();
        for (call, end_of_grace) in self.calls.iter_mut().zip(ends) {
            let mut actions = Vec::new();
            call.due(now, &mut actions);
            if now >= end_of_grace {
                call.lost(&mut actions);
            }
            out.extend(actions.into_iter().map(|action| Order::Leg(call.leg.clone(), action)));
        }
        self.tidy();
    }

    fn call(&mut self, name: String, to: String, offer: &str, now: i64, out: &mut Vec<Order>) {
        let refuse = |code, message, field| Order::Tell(fault(code, message, &name, field));
        if name.is_empty() || name.len() > MAX_NAME {
            return out.push(refuse(Fault::InvalidFrame, "a call's name has 1 to 64 characters", Some("id")));
        }
        if to.trim().is_empty() || to.len() > MAX_NUMBER {
            return out.push(refuse(Fault::InvalidFrame, "whom to call?", Some("to")));
        }
        if self.calls.iter().any(|call| call.name == name) {
            return out.push(refuse(Fault::CallExists, "a call of that name is up", Some("id")));
        }
        if self.calls.len() >= MAX_CALLS {
            return out.push(refuse(Fault::TooManyCalls, "a phone has at most 8 calls", None));
        }
        let leg: LegId = self.ids.new("leg", now).into();
        let session = self.session(CODECS.to_vec());
        let mut actions = Vec::new();
        match PhoneCall::calling(name, leg.clone(), session, offer, &mut actions) {
            Ok(call) => {
                out.push(Order::Begin { leg, to: to.trim().to_owned() });
                self.keep(call, actions, out);
            }
            Err(refusal) => out.push(Order::Tell(refusal)),
        }
    }

    fn session(&self, codecs: Vec<CodecKind>) -> Session {
        let ice = IceSide::new(self.candidates.clone(), self.fingerprint.clone(), &self.ids);
        let id = u64::from_le_bytes(self.ids.bytes()) >> 2;
        Session::with_browser(ice, id, codecs, self.ids.clone())
    }

    fn keep(&mut self, call: PhoneCall, actions: Vec<Action>, out: &mut Vec<Order>) {
        out.extend(actions.into_iter().map(|action| Order::Leg(call.leg.clone(), action)));
        self.calls.push(call);
        self.tidy();
    }

    fn by_name(&mut self, name: &str, out: &mut Vec<Order>, act: impl FnOnce(&mut PhoneCall, &mut Vec<Action>)) {
        match self.calls.iter().find(|call| call.name == name).map(|call| call.leg.clone()) {
            Some(leg) => self.by_leg(&leg, out, act),
            None => {
                let message = "no call of that name".to_owned();
                let id = Some(short(name));
                out.push(Order::Tell(Down::Error {
                    code: Fault::UnknownCall,
                    message,
                    id,
                    field: Some("id".to_owned()),
                }));
            }
        }
    }

    fn by_leg(&mut self, leg: &LegId, out: &mut Vec<Order>, act: impl FnOnce(&mut PhoneCall, &mut Vec<Action>)) {
        if let Some(call) = self.calls.iter_mut().find(|call| call.leg == *leg) {
            let mut actions = Vec::new();
            act(call, &mut actions);
            out.extend(actions.into_iter().map(|action| Order::Leg(leg.clone(), action)));
            self.tidy();
        }
    }

    fn tidy(&mut self) {
        self.calls.retain(|call| !call.is_over());
    }
}

/// A call's name as it is said back.
fn short(name: &str) -> String {
    name.chars().take(MAX_NAME).collect()
}
