//! Transfer with consultation: two calls of one phone become one call of the other two (RFC 3891).
//!
//! The call that asks keeps its row, its driver and its events; the other gives the party that the phone consulted to
//! it and ends. A conference has no such party: who is to come into it is sent to its number, as a blind transfer
//! would. A phone that calls with a Replaces of its own takes another's place likewise. Invariant: a party belongs to one
//! call at any time, and no event of its leg is lost on the way.

use serde_json::json;
use tokio::sync::oneshot;
use voice::Incoming;
use voice::cause::Cause;
use voice::leg::{LegEvent, LegId, LegSink};

use crate::driver::{CallEvent, RecordAction};
use crate::live::Live;
use crate::model::{Change, Direction, EndedBy, LegRole};
use crate::party::Party;
use crate::presence::Busy;
use crate::requests::Request;

/// SIP status for a dialog that nobody may take the place of (RFC 3891 section 3).
const NO_SUCH_DIALOG: u16 = 481;

/// A call asks another for the party that is connected with `leg` there.
pub(crate) struct HandOver {
    pub(crate) leg: LegId,
    /// Where the party's events go from then on.
    pub(crate) sink: LegSink,
    pub(crate) reply: oneshot::Sender<Box<Handed>>,
}

/// What the call that is asked gives.
pub(crate) enum Handed {
    /// A party, on its way from one call to another.
    Party(Newcomer),
    /// The number by which the phone came into a conference.
    Conference(String),
}

/// A party that comes from another call.
pub(crate) struct Newcomer {
    party: Party,
    number: String,
    /// What its leg told the old call in the moment of leaving.
    late: Vec<LegEvent>,
}

/// A transfer with consultation that waits for the other call's answer.
pub(crate) struct Consultation {
    /// The party that asks, who is to be replaced.
    asking: LegId,
    to: String,
    answer: oneshot::Receiver<Box<Handed>>,
}

/// Waits for the answer; for ever without a question.
pub(crate) async fn answered(consultation: Option<&mut Consultation>) -> Option<Box<Handed>> {
    match consultation {
        Some(consultation) => (&mut consultation.answer).await.ok(),
        None => std::future::pending().await,
    }
}

impl Live {
    // ---------------------------------------------------------------- the call that asks

    /// A party of ours wants to be replaced by the one that it consulted by another leg of its own.
    pub(crate) fn consultation_requested(&mut self, asking: &LegId, to: String, other_leg: LegId) {
        let Some(party) = self.party(asking) else { return };
        let may_ask = self.may_transfer(asking) && self.consultation.is_none();
        let other = self.calls.registry().call_of(&other_leg).filter(|call| may_ask && *call != self.model.id);
        let (reply, answer) = oneshot::channel();
        let wish = HandOver { leg: other_leg, sink: self.sink.clone(), reply };
        let asked =
            other.is_some_and(|call| self.calls.registry().ask(&self.model.org, &call, Request::HandOver(wish)));
        if !asked {
            return party.leg.accept_transfer(false);
        }
        self.consultation = Some(Consultation { asking: asking.clone(), to, answer });
    }

    /// The other call has given its party, or will not.
    pub(crate) fn consultation_answered(&mut self, handed: Option<Box<Handed>>) {
        let Some(Consultation { asking, to, .. }) = self.consultation.take() else { return };
        let handed = handed.filter(|_| self.is_connected(&asking)).map(|handed| *handed);
        if let Some(Handed::Conference(number)) = handed {
            return self.hand_on(&asking, number);
        }
        let to = self.model.shown(&to);
        self.emit("transfer.started", None, json!({"to": to}));
        let Some(Handed::Party(Newcomer { party, number, late })) = handed else {
            if let Some(party) = self.party(&asking) {
                party.leg.accept_transfer(false);
            }
            let data = json!({"status": "failed", "cause": Cause::Rejected.as_str()});
            return self.emit("transfer.failed", None, data);
        };
        let newcomer = party.leg.id().clone();
        self.take_place(&asking, party, number);
        if let Some(party) = self.party(&asking) {
            party.leg.accept_transfer(true);
            party.leg.hangup(Cause::Normal);
        }
        self.emit("transfer.completed", Some(&newcomer), json!({"to": to}));
        late.into_iter().for_each(|event| self.leg_event(&newcomer, event));
    }

    // ---------------------------------------------------------------- the call that is asked

    /// Gives the party that is connected with a leg of ours to another call, and ends.
    pub(crate) fn hand_over(&mut self, wish: HandOver) {
        // Dropped without an answer, the wish is declined.
        let HandOver { leg, sink, reply } = wish;
        if self.is_ending() || reply.is_closed() {
            return;
        }
        if let Some(number) = self.conference_number(&leg) {
            if reply.send(Box::new(Handed::Conference(number))).is_ok() {
                self.hangup(Cause::Normal, EndedBy::Customer);
            }
            return;
        }
        if !self.may_leave(&leg) {
            return;
        }
        self.end_supervision();
        let Some((customer, other)) = self.connected() else { return };
        let by_customer = *customer.leg.id() == leg;
        let consulted = if by_customer { other } else { customer }.leg.id().clone();
        customer.leg.unbridge();
        let Some(party) = self.let_go(&consulted) else { return };
        let number = self.number_of(&consulted);
        // From here on its events go there; those that are here already follow it.
        party.leg.attach(sink);
        let late = self.take_events_of(&consulted);
        self.change(Change::LegEnded(consulted));
        if let Err(handed) = reply.send(Box::new(Handed::Party(Newcomer { party, number, late })))
            && let Handed::Party(Newcomer { party, .. }) = *handed
        {
            party.leg.hangup(Cause::Normal);
        }
        self.hangup(Cause::Normal, if by_customer { EndedBy::Customer } else { EndedBy::Target });
    }

    /// The number that a phone of ours has called to come into the conference that it is in.
    fn conference_number(&self, leg: &LegId) -> Option<String> {
        let phone = self.standing().filter(|party| party.leg.id() == leg && party.is_own_phone())?;
        let called = self.model.direction == Direction::Inbound && phone.answered && self.conference.is_some();
        called.then(|| self.model.to.clone())
    }

    /// Whether the phone behind a leg may give the one whom it talks with to another call. What is recorded on that
    /// one's leg stays with this call, and so does the party.
    fn may_leave(&self, leg: &LegId) -> bool {
        let Some((customer, other)) = self.connected() else { return false };
        let (phone, by_customer) = if customer.leg.id() == leg { (customer, true) } else { (other, false) };
        !self.paired && phone.leg.id() == leg && phone.is_own_phone() && (by_customer || !self.keeping.is_waiting())
    }

    /// Takes a party out of the call, which does not end by that.
    fn let_go(&mut self, id: &LegId) -> Option<Party> {
        let index = self.parties.iter().position(|party| party.leg.id() == id)?;
        if self.standing.as_ref() == Some(id) {
            self.standing = None;
        }
        self.forget_dialling();
        Some(self.parties.swap_remove(index))
    }

    fn number_of(&self, id: &LegId) -> String {
        self.model.legs.iter().find(|leg| leg.id == *id).map(|leg| leg.to.clone()).unwrap_or_default()
    }

    // ---------------------------------------------------------------- a phone that calls for a place

    /// A phone of the organisation's calls to take a party's place.
    pub(crate) fn replace(&mut self, leg: &LegId, incoming: Incoming, busy: Busy) {
        if !self.may_transfer(leg) || self.is_ending() {
            return incoming.leg.reject(NO_SUCH_DIALOG);
        }
        let extension = busy.extension().to_string();
        let newcomer = incoming.attach(self.sink.clone());
        self.emit("transfer.started", None, json!({"to": extension}));
        newcomer.answer();
        let id = newcomer.id().clone();
        self.take_place(leg, Party::caller(newcomer, LegRole::Target, Some(busy)), extension.clone());
        if let Some(old) = self.party(leg) {
            old.leg.hangup(Cause::Normal);
        }
        self.emit("transfer.completed", Some(&id), json!({"to": extension}));
    }

    // ---------------------------------------------------------------- both

    /// The party is one of the two who are connected.
    pub(crate) fn is_connected(&self, id: &LegId) -> bool {
        self.connected().is_some_and(|(customer, other)| [customer, other].iter().any(|party| party.leg.id() == id))
    }

    /// A newcomer is from now on what one of the two connected parties was: the one that the call stands on, or the
    /// one whom that is connected with. The old one is nobody until it is gone.
    fn take_place(&mut self, old: &LegId, mut newcomer: Party, number: String) {
        self.end_supervision();
        let stands = self.standing.as_ref() == Some(old);
        if !stands {
            self.agent_replaced();
        }
        // A recording is made where the call stands: it ends there, and goes on in a file of its own.
        let records = stands && self.keeping.is_recording();
        if records {
            self.record(RecordAction::Stop);
        }
        let Some(party) = self.party_mut(old) else { return };
        (newcomer.role, newcomer.device) = (party.role, party.device.take());
        party.leg.unbridge();
        let (id, codec, answered) = (newcomer.leg.id().clone(), newcomer.codec, newcomer.answered);
        self.add_party(newcomer, number);
        if let Some(codec) = codec.filter(|_| answered) {
            self.change(Change::LegAnswered(id.clone(), codec.name().to_owned()));
        }
        if stands {
            self.standing = Some(id);
            self.tell(CallEvent::PartyChanged);
        }
        if let Some((customer, other)) = self.connected() {
            customer.leg.stop_play();
            other.leg.stop_play();
            customer.leg.bridge(&other.leg);
        }
        if records {
            self.record(RecordAction::Start);
        }
    }
}
