//! One leg's signalling: a state machine from INVITE to BYE, without sockets, clocks or tasks.
//!
//! Messages, commands and the time go in; [`Action`]s come out, in order. [`callee`] answers an
//! INVITE, [`caller`] sends one; what both share once they talk stands here and in [`talk`].
//! Invariant: exactly one [`Action::Ended`], and after `is_over` nothing is owed to anybody.

mod callee;
mod caller;
mod forks;
mod hops;
mod login;
mod reliable;
mod step;
mod talk;
mod transfer;

use std::sync::Arc;

use super::dialog::Dialog;
use super::draft::Draft;
use super::flow::Flow;
pub(crate) use super::message::SDP;
use super::message::{Message, Method, Name};
use super::sdp::Session;
use super::session_timer::SessionTimer;
use super::transaction::NEVER;
use crate::cause::Cause;
use crate::leg::{EndedBy, LegEnd, LegEvent, Signal};

pub(crate) use callee::Callee;
pub(crate) use caller::{Caller, stray};
pub(crate) use hops::{Hop, HopAddress};
pub(crate) use login::Login;
pub(crate) use step::{Action, Cx, Purpose};

/// The methods we take (RFC 3261 §20.5).
pub(crate) const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO, REFER, NOTIFY, REGISTER";
/// The extensions we know (RFC 3262, 3891, 4028).
pub(crate) const SUPPORTED: [&str; 3] = ["100rel", "replaces", "timer"];
/// Before we try a refused offer again (RFC 3261 §14.1): the dialog's owner waits longer, ms.
const GLARE_OWNER_MS: (i64, u64) = (2_100, 1_900);
const GLARE_OTHER_MS: (i64, u64) = (0, 2_000);

/// How far a leg is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The peer's INVITE waits for our final answer.
    Offered,
    /// Our INVITE waits for the peer's.
    Calling,
    /// We gave our INVITE up and wait for its final answer.
    Cancelling,
    /// Our 2xx waits for its ACK.
    Confirming,
    /// As before, and we have hung up: BYE follows the ACK (RFC 3261 §15).
    Leaving,
    /// Answered on both sides.
    Talking,
    /// Our BYE may be challenged.
    Closing,
    /// Nothing is left.
    Over,
}

/// A 2xx of ours to an INVITE, not acknowledged yet.
#[derive(Debug)]
struct AwaitedAck {
    tx: Arc<str>,
    seq: u32,
    /// The 2xx carried our offer, so the ACK carries the answer.
    answer: bool,
}

/// One leg's signalling.
#[derive(Debug)]
pub(crate) struct SipLeg {
    pub(crate) dialog: Dialog,
    session: Session,
    phase: Phase,
    callee: Option<Box<Callee>>,
    caller: Option<Box<Caller>>,
    login: Option<Login>,
    timer: SessionTimer,
    peer_allows_update: bool,
    awaited: Option<AwaitedAck>,
    /// Our INVITE made the dialog: the Call-ID is ours.
    owner: bool,
    /// Our re-INVITE or UPDATE under way.
    refreshing: bool,
    /// CSeq of our last re-INVITE that was answered with a 2xx: repetitions of that are acknowledged and no more.
    settled_seq: u32,
    /// When a silent hold is looked at.
    look_at: i64,
    /// When a re-INVITE that could not be sent or was refused for glare is tried again.
    retry_at: i64,
    /// Whether the call was told that the peer holds us.
    held: bool,
    /// The peer's REFER that waits for news: the `id` of its event.
    subscription: Option<u32>,
    told: bool,
}

impl SipLeg {
    fn new(dialog: Dialog, session: Session, phase: Phase) -> Self {
        Self {
            dialog,
            session,
            phase,
            callee: None,
            caller: None,
            login: None,
            timer: SessionTimer::off(),
            peer_allows_update: false,
            awaited: None,
            owner: false,
            refreshing: false,
            settled_seq: 0,
            look_at: NEVER,
            retry_at: NEVER,
            held: false,
            subscription: None,
            told: false,
        }
    }

    /// Whether it can be forgotten.
    pub(crate) fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Whether both sides have answered and neither has left.
    pub(crate) fn is_talking(&self) -> bool {
        self.phase == Phase::Talking
    }

    /// Whether the peer's INVITE still waits for its first sign from us.
    pub(crate) fn is_untouched(&self) -> bool {
        self.callee.as_ref().is_some_and(|callee| callee.is_untouched())
    }

    /// A command of the call.
    pub(crate) fn signal(&mut self, signal: Signal, cx: &mut Cx<'_>) {
        match signal {
            Signal::Ring => self.ring(cx),
            Signal::EarlyMedia => self.early_media(cx),
            Signal::Answer => self.answer(cx),
            Signal::Reject(code) => self.reject(code.clamp(300, 699), cx),
            Signal::Hangup(cause) => self.hangup(cause, cx),
            Signal::MediaTimeout => self.hangup(Cause::MediaTimeout, cx),
            Signal::Hold(on) => self.hold(on, cx),
            Signal::Refer(to) => self.refer(to, cx),
            Signal::AcceptTransfer(ok) => self.accept_transfer(ok, cx),
        }
    }

    /// Ends the leg, whatever it is doing.
    pub(crate) fn hangup(&mut self, cause: Cause, cx: &mut Cx<'_>) {
        match self.phase {
            Phase::Offered => self.reject_for(cause, cx),
            Phase::Calling => self.cancel(cause, cx),
            Phase::Confirming => {
                self.phase = Phase::Leaving;
                self.end(EndedBy::Local, cause, None, None, cx);
            }
            Phase::Talking => {
                self.phase = if self.login.is_some() { Phase::Closing } else { Phase::Over };
                self.send(Purpose::Bye(cause), cx);
                self.end(EndedBy::Local, cause, None, None, cx);
            }
            Phase::Cancelling | Phase::Leaving | Phase::Closing | Phase::Over => {}
        }
    }

    /// Tells the end, once.
    fn end(&mut self, by: EndedBy, cause: Cause, sip_code: Option<u16>, q850: Option<u8>, cx: &mut Cx<'_>) {
        if !std::mem::replace(&mut self.told, true) {
            cx.out.push(Action::Ended(LegEnd { cause, by, sip_code, q850 }));
        }
    }

    /// A request of the peer inside the dialog, other than ACK and CANCEL.
    pub(crate) fn request(&mut self, request: &Message, tx: &Arc<str>, flow: &Flow, cx: &mut Cx<'_>) {
        self.turn_to(request.from_tag());
        if !self.dialog.take_seq(request) {
            return self.status(request, tx, flow, 500, cx);
        }
        if self.dialog.pinned && flow.transport == self.dialog.path.flow.transport {
            self.dialog.path.flow = flow.clone();
        }
        let unknown = unknown_extensions(request);
        if !unknown.is_empty() {
            let draft = self.reply(request, flow, 420, cx).field("Unsupported", unknown);
            return respond(tx, 420, draft, cx);
        }
        match request.method() {
            Some(Method::Bye) => self.bye(request, tx, flow, cx),
            Some(Method::Invite) => self.reinvite(request, tx, flow, cx),
            Some(Method::Update) => self.update(request, tx, flow, cx),
            Some(Method::Info) => self.info(request, tx, flow, cx),
            Some(Method::Prack) => self.prack(request, tx, flow, cx),
            Some(Method::Refer) => self.referred(request, tx, flow, cx),
            Some(Method::Notify) => self.notified(request, tx, flow, cx),
            Some(Method::Options) => {
                let draft = self.reply(request, flow, 200, cx).field("Allow", ALLOW).field("Accept", SDP);
                respond(tx, 200, draft, cx);
            }
            _ => {
                let draft = self.reply(request, flow, 405, cx).field("Allow", ALLOW);
                respond(tx, 405, draft, cx);
            }
        }
    }

    /// The peer hangs up.
    fn bye(&mut self, request: &Message, tx: &Arc<str>, flow: &Flow, cx: &mut Cx<'_>) {
        let draft = self.reply(request, flow, 200, cx);
        respond(tx, 200, draft, cx);
        let q850 = q850(request);
        if self.phase == Phase::Offered {
            // The caller may end an early dialog so; its INVITE still wants its answer (RFC 3261 §15.1.2).
            self.final_failure(487, None, cx);
            self.end(EndedBy::Remote, Cause::Canceled, Some(487), q850, cx);
        } else {
            if let Some(awaited) = self.awaited.take() {
                cx.out.push(Action::Acknowledged { tx: awaited.tx });
            }
            self.end(EndedBy::Remote, Cause::Normal, None, q850, cx);
        }
        if self.phase == Phase::Calling {
            self.give_up(cx);
        } else if self.phase != Phase::Cancelling {
            self.phase = Phase::Over;
        }
    }

    /// The response to a request of ours.
    pub(crate) fn response(
        &mut self,
        purpose: Purpose,
        branch: &str,
        response: &Message,
        flow: &Flow,
        cx: &mut Cx<'_>,
    ) {
        let code = response.code();
        if let Some(login) = self.login.as_mut() {
            if matches!(code, 401 | 407) && purpose != Purpose::Invite {
                if login.challenged(response) {
                    return self.send(purpose, cx);
                }
            } else if code >= 200 {
                login.accepted();
            }
        }
        match purpose {
            Purpose::Invite => self.invite_response(branch, response, flow, cx),
            Purpose::Reinvite => self.reinvite_response(response, cx),
            Purpose::Update => self.update_response(response, cx),
            // A stray fork's BYE comes back here too: only ours ends the leg.
            Purpose::Bye(_) if code >= 200 && self.phase == Phase::Closing => self.phase = Phase::Over,
            Purpose::Refer(_) => self.refer_response(code, cx),
            // A PRACK or NOTIFY that is refused changes nothing; a dialog that is gone ends the leg.
            Purpose::Prack(_) | Purpose::Notify(..) if matches!(code, 408 | 481) => self.lost(code, cx),
            Purpose::Bye(_) | Purpose::Prack(_) | Purpose::Notify(..) => {}
        }
    }

    /// A request of ours got no answer, or could not be sent.
    pub(crate) fn unanswered(&mut self, purpose: Purpose, branch: &str, cx: &mut Cx<'_>) {
        match purpose {
            Purpose::Invite => self.invite_unanswered(branch, cx),
            Purpose::Bye(_) if self.phase == Phase::Closing => self.phase = Phase::Over,
            Purpose::Bye(_) => {}
            Purpose::Reinvite | Purpose::Update | Purpose::Prack(_) | Purpose::Refer(_) | Purpose::Notify(..) => {
                self.refreshing = false;
                self.lost(408, cx);
            }
        }
    }

    /// The peer does not know the dialog any more, or does not answer in it (RFC 5057 §5.1).
    fn lost(&mut self, code: u16, cx: &mut Cx<'_>) {
        if self.phase == Phase::Talking {
            self.phase = Phase::Over;
            self.send(Purpose::Bye(Cause::Unreachable), cx);
            self.end(EndedBy::Remote, Cause::Unreachable, Some(code), None, cx);
        }
    }

    /// The ACK of a 2xx of ours.
    pub(crate) fn ack(&mut self, ack: &Message, cx: &mut Cx<'_>) {
        let number = ack.cseq().map(|(number, _)| number);
        let Some(awaited) = self.awaited.take_if(|awaited| Some(awaited.seq) == number) else {
            return;
        };
        cx.out.push(Action::Acknowledged { tx: awaited.tx });
        let agreed = !awaited.answer || self.session.accept_answer(&ack.body).is_ok();
        match self.phase {
            Phase::Leaving => {
                self.phase = Phase::Over;
                self.send(Purpose::Bye(Cause::Normal), cx);
            }
            _ if !agreed => {
                self.phase = Phase::Over;
                self.send(Purpose::Bye(Cause::MediaIncompatible), cx);
                self.end(EndedBy::Local, Cause::MediaIncompatible, Some(488), None, cx);
            }
            Phase::Confirming => {
                self.callee = None;
                self.established(awaited.answer, cx);
            }
            _ if awaited.answer => self.media_changed(cx),
            _ => {}
        }
    }

    /// Both sides have agreed: the call is up.
    fn established(&mut self, new_media: bool, cx: &mut Cx<'_>) {
        self.phase = Phase::Talking;
        let Some(remote) = self.session.remote().cloned() else {
            return self.hangup(Cause::MediaIncompatible, cx);
        };
        let codec = remote.codec;
        if new_media {
            cx.out.push(Action::Media(Box::new(remote)));
        }
        cx.out.push(Action::Established);
        cx.event(LegEvent::Answered { codec });
        self.tell_hold(cx);
        self.watch_hold(cx);
    }

    /// The 2xx of a server transaction was never acknowledged: the peer is gone (RFC 3261 §13.3.1.4).
    pub(crate) fn unacknowledged(&mut self, cx: &mut Cx<'_>) {
        if self.awaited.take().is_some() && !self.is_over() {
            self.phase = Phase::Over;
            self.send(Purpose::Bye(Cause::Unreachable), cx);
            self.end(EndedBy::Local, Cause::Unreachable, Some(408), None, cx);
        }
    }

    /// When to call [`SipLeg::due`].
    pub(crate) fn next(&self) -> i64 {
        let talking = if self.phase == Phase::Talking {
            self.retry_at.min(self.look_at).min(self.timer.refresh_at()).min(self.timer.dead_at())
        } else {
            NEVER
        };
        let callee = self.callee.as_ref().map_or(NEVER, |callee| callee.next());
        let caller = self.caller.as_ref().map_or(NEVER, |caller| caller.next());
        talking.min(callee).min(caller)
    }

    /// Fires what is due.
    pub(crate) fn due(&mut self, cx: &mut Cx<'_>) {
        self.callee_due(cx);
        self.caller_due(cx);
        if self.phase == Phase::Talking {
            self.talk_due(cx);
        }
    }

    /// Sends a request inside the dialog.
    fn send(&mut self, purpose: Purpose, cx: &mut Cx<'_>) {
        let method = purpose.method();
        let branch = cx.branch();
        let draft = self.dialog.request(method, &branch).field("User-Agent", cx.agent);
        let mut body = (String::new(), String::new());
        let mut draft = match &purpose {
            Purpose::Invite | Purpose::Reinvite => {
                body = (SDP.to_owned(), self.session.offer());
                self.refreshing = true;
                self.timer.refreshing(cx.now);
                self.offering(draft)
            }
            Purpose::Update => {
                self.refreshing = true;
                self.timer.refreshing(cx.now);
                self.offering(draft)
            }
            Purpose::Bye(cause) => draft.field("Reason", reason(*cause)),
            Purpose::Prack(rack) => draft.field("RAck", rack),
            Purpose::Refer(to) => {
                let by = &self.dialog.local_name;
                draft
                    .field("Contact", self.dialog.contact())
                    .field("Refer-To", format_args!("<{to}>"))
                    .field("Referred-By", by)
            }
            Purpose::Notify(code, last) => {
                body = ("message/sipfrag;version=2.0".to_owned(), transfer::fragment(*code));
                self.notifying(draft, *last)
            }
        };
        if let Some(login) = self.login.as_mut() {
            let cnonce = format!("{:016x}", u64::from_le_bytes(cx.ids.bytes()));
            draft = login.sign(draft, method, &self.dialog.target, body.1.as_bytes(), &cnonce);
        }
        let bytes = draft.finish_with(&body.0, body.1.as_bytes());
        cx.out.push(Action::Request { method, branch, bytes, flow: self.dialog.destination(), purpose });
    }

    /// Begins the ACK of a 2xx to an INVITE of ours.
    fn acknowledging(&self, branch: &str, seq: u32, cx: &Cx<'_>) -> Draft {
        let draft = self.dialog.request_numbered(Method::Ack, branch, seq).field("User-Agent", cx.agent);
        match &self.login {
            Some(login) => login.repeat(draft),
            None => draft,
        }
    }

    /// The fields of an INVITE or UPDATE inside the dialog.
    fn offering(&self, draft: Draft) -> Draft {
        draft
            .field("Contact", self.dialog.contact())
            .field("Allow", ALLOW)
            .field("Supported", SUPPORTED.join(", "))
            .field("Session-Expires", self.timer.ask())
            .field("Min-SE", super::session_timer::MIN_INTERVAL_S)
    }

    /// Begins a response inside the dialog.
    fn reply(&self, request: &Message, flow: &Flow, code: u16, cx: &Cx<'_>) -> Draft {
        Draft::response(request, flow.remote, code, Some(&self.dialog.local_tag)).field("Server", cx.agent)
    }

    /// Answers with nothing but a status.
    fn status(&self, request: &Message, tx: &Arc<str>, flow: &Flow, code: u16, cx: &mut Cx<'_>) {
        let draft = self.reply(request, flow, code, cx);
        respond(tx, code, draft, cx);
    }
}

fn respond(tx: &Arc<str>, code: u16, draft: Draft, cx: &mut Cx<'_>) {
    cx.out.push(Action::Respond { tx: tx.clone(), code, bytes: draft.finish() });
}

/// The extensions a request requires that we do not know, as an Unsupported value (RFC 3261 §8.2.2.3).
pub(crate) fn unknown_extensions(request: &Message) -> String {
    let unknown: Vec<_> = request
        .elements(Name::Require)
        .filter(|wanted| !SUPPORTED.iter().any(|known| known.eq_ignore_ascii_case(wanted)))
        .collect();
    unknown.join(", ")
}

/// The Reason value for a cause (RFC 3326).
fn reason(cause: Cause) -> String {
    format!("Q.850;cause={};text=\"{}\"", cause.q850(), cause.as_str())
}

/// The Q.850 cause in a message's Reason fields.
fn q850(message: &Message) -> Option<u8> {
    message
        .elements(Name::Reason)
        .find(|reason| reason.split(';').next().is_some_and(|protocol| protocol.trim().eq_ignore_ascii_case("Q.850")))
        .and_then(|reason| super::uri::param(reason, "cause")?.parse().ok())
}

#[cfg(test)]
mod tests;
