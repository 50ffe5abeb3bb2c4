//! The legs that the endpoint holds: their commands, what they ask for, and what they tell.

use super::detour::Letter;
use super::endpoint::{Endpoint, LegKey, Reminder};
use super::leg::{Action, Cx, SipLeg};
use super::message::Method;
use super::transaction::{self, NEVER};
use crate::cause::Cause;
use crate::leg::{Backlog, LegEvent, LegEvents, LegId, Signal, Signals};
use crate::ports::{LineIdentity, TrunkId};
use crate::runner::MediaLeg;
use crate::voice::Inside;

/// What a leg belongs to, besides its call.
#[derive(Debug, Default)]
pub(crate) struct Ties {
    /// Its trunk, for what its targets' failures teach.
    pub(crate) trunk: Option<TrunkId>,
    /// It calls ourselves: what the call that comes in is told.
    pub(crate) inside: Option<Inside>,
    /// The phone's line: where to look for it when its connection is gone.
    pub(crate) line: Option<LineIdentity>,
}

/// A leg, its media and its way to the call.
pub(crate) struct Held {
    pub(crate) leg: SipLeg,
    pub(crate) media: MediaLeg,
    events: Backlog,
    /// The reminder that is set.
    reminded: i64,
    pub(crate) ties: Ties,
}

impl Held {
    /// The leg's id.
    pub(crate) fn id(&self) -> &LegId {
        self.events.id()
    }

    /// Whether the floors above have done nothing with a call that came in: not even taken it.
    pub(crate) fn is_untouched(&self) -> bool {
        self.leg.is_untouched() && !self.events.is_attached()
    }
}

impl Endpoint {
    /// Takes a new leg in.
    pub(crate) fn hold(
        &mut self,
        key: LegKey,
        leg: SipLeg,
        media: MediaLeg,
        events: LegEvents,
        signals: Signals,
        ties: Ties,
    ) {
        if leg.is_untouched() {
            self.untouched.push(key);
        }
        self.legs.insert(key, Held { leg, media, events: Backlog::new(events), reminded: NEVER, ties });
        self.listen(key, signals);
        self.settle(key);
    }

    fn listen(&mut self, key: LegKey, mut signals: Signals) {
        self.signals.push(Box::pin(async move {
            let signal = signals.recv().await;
            (key, signal, signals)
        }));
    }

    pub(super) fn signalled(&mut self, key: LegKey, signal: Option<Signal>, signals: Signals) {
        match signal {
            Some(signal) => {
                self.step(key, |leg, cx| leg.signal(signal, cx));
                if self.legs.contains_key(&key) {
                    self.listen(key, signals);
                }
            }
            // Nobody holds the leg's handle any more.
            None => self.step(key, |leg, cx| leg.hangup(Cause::FlowError, cx)),
        }
        self.mend();
    }

    /// Lets a leg do something, and does what it asks for.
    pub(crate) fn step(&mut self, key: LegKey, act: impl FnOnce(&mut SipLeg, &mut Cx<'_>)) {
        let mut actions = std::mem::take(&mut self.actions);
        let Some(held) = self.legs.get_mut(&key) else {
            self.actions = actions;
            return;
        };
        let mut cx = Cx { now: self.now, ids: &self.ids, agent: &self.config.user_agent, out: &mut actions };
        act(&mut held.leg, &mut cx);
        for action in actions.drain(..) {
            self.perform(key, action);
        }
        self.actions = actions;
        self.settle(key);
    }

    fn perform(&mut self, key: LegKey, action: Action) {
        match action {
            Action::Dial(hop) => self.dial(key, hop),
            Action::HopFailed(hop) => self.hop_failed(key, &hop),
            Action::Request { method, branch, bytes, flow, purpose } => {
                self.post(key, Letter { method, branch, bytes, purpose: Some(purpose) }, flow);
            }
            Action::Acknowledge { bytes, flow } => {
                self.post(key, Letter { method: Method::Ack, branch: String::new(), bytes, purpose: None }, flow);
            }
            Action::Send { bytes, flow } => {
                flow.send(&bytes);
            }
            Action::Respond { tx, code, bytes } => self.respond(&tx, code, &bytes),
            Action::Acknowledged { tx } => {
                if let Some(entry) = self.servers.get_mut(&tx) {
                    entry.tx.acknowledged(self.now);
                }
                self.remind_server(&tx);
            }
            Action::Cancel { branch } => self.send_cancel(&branch),
            Action::Abandon { branch } => {
                let key = transaction::client_key(&branch, Method::Invite);
                if let Some(entry) = self.clients.get_mut(&key) {
                    entry.tx.abandoned(self.now);
                }
                self.remind_client(&key);
            }
            Action::Referred { to, replaces } => {
                let replaces = replaces.map(|replaces| self.referred_to(&replaces));
                self.tell(key, Action::Event(LegEvent::TransferRequested { to, replaces }));
            }
            other => self.tell(key, other),
        }
    }

    /// What concerns the leg's media and its call.
    fn tell(&mut self, key: LegKey, action: Action) {
        let Some(held) = self.legs.get_mut(&key) else {
            return;
        };
        match action {
            Action::Media(mut remote) => {
                remote.signalling = Some(held.leg.dialog.path.flow.remote.ip());
                held.media.set_remote(*remote);
            }
            Action::Established => held.media.established(),
            Action::Digit { symbol, duration_ms } => held.media.digit(symbol, duration_ms),
            Action::Event(event) => held.events.send(event),
            Action::Ended(end) => {
                held.media.close();
                held.events.send(LegEvent::Ended(end));
            }
            _ => {}
        }
    }

    /// After a leg has acted: forget it when it is over, else remind of what comes next.
    fn settle(&mut self, key: LegKey) {
        let Some(held) = self.legs.get_mut(&key) else {
            return;
        };
        if held.leg.is_over() && held.events.is_empty() {
            self.legs.remove(&key);
            return;
        }
        let retry = if held.events.is_empty() { NEVER } else { self.now + Backlog::RETRY_MS };
        let next = held.leg.next().min(retry);
        if next < held.reminded {
            held.reminded = next;
            self.timers.set(next, Reminder::Leg(key));
        }
    }

    /// Something about a leg may be due.
    pub(super) fn leg_due(&mut self, key: LegKey) {
        if let Some(held) = self.legs.get_mut(&key) {
            held.reminded = NEVER;
            held.events.flush();
            self.step(key, SipLeg::due);
        }
    }
}
