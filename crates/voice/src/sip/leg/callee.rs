//! A leg that was called: answering an INVITE (RFC 3261 §13.3), reliably where the caller wants it.

use std::collections::VecDeque;
use std::sync::Arc;

use super::reliable::{Pending, Reliability};
use super::{ALLOW, AwaitedAck, Cx, Phase, SDP, SUPPORTED, SipLeg, q850, reason, respond};
use crate::cause::Cause;
use crate::leg::{EndedBy, LegEvent};
use crate::sip::dialog::Dialog;
use crate::sip::draft::Draft;
use crate::sip::flow::Flow;
use crate::sip::leg::Action;
use crate::sip::message::{Message, Name};
use crate::sip::sdp::{SdpError, Session};
use crate::sip::session_timer::SessionTimer;
use crate::sip::transaction::NEVER;

/// A caller who has heard nothing repeats its INVITE after T1 = 500 ms; say 100 before (RFC 3261 §8.2.6.1).
const TRYING_AFTER_MS: i64 = 150;

/// What is kept of an INVITE until its final answer.
#[derive(Debug)]
pub(crate) struct Callee {
    tx: Arc<str>,
    flow: Flow,
    invite: Arc<Message>,
    /// Our answer to the INVITE's offer; `None` when it made none and we offer instead.
    answer: Option<String>,
    /// Our offer or answer has been sent reliably: the 2xx repeats it in vain.
    described: bool,
    trying_at: i64,
    rung: bool,
    early: bool,
    reliability: Reliability,
    pending: Option<Pending>,
    /// Provisional responses (code, with SDP) that wait for the pending one's PRACK.
    queue: VecDeque<(u16, bool)>,
    /// The call has answered; the 2xx waits for a PRACK.
    answer_waits: bool,
}

impl Callee {
    pub(super) fn is_untouched(&self) -> bool {
        !self.rung && !self.early && !self.answer_waits
    }

    pub(super) fn next(&self) -> i64 {
        self.pending.as_ref().map_or(NEVER, Pending::next).min(self.trying_at)
    }
}

impl SipLeg {
    /// A leg for an INVITE that came in. The offer is read here: one that cannot be met never
    /// becomes a leg.
    pub(crate) fn called(
        invite: Arc<Message>,
        tx: Arc<str>,
        flow: Flow,
        dialog: Dialog,
        mut session: Session,
        now: i64,
    ) -> Result<Self, SdpError> {
        let answer = if invite.body_is(SDP) { Some(session.answer(&invite.body)?) } else { None };
        let reliability = Reliability::of(&invite);
        let mut leg = Self::new(dialog, session, Phase::Offered);
        leg.peer_allows_update = invite.lists(Name::Allow, "UPDATE");
        leg.callee = Some(Box::new(Callee {
            tx,
            flow,
            invite,
            answer,
            described: false,
            trying_at: now + TRYING_AFTER_MS,
            rung: false,
            early: false,
            reliability,
            pending: None,
            queue: VecDeque::new(),
            answer_waits: false,
        }));
        Ok(leg)
    }

    pub(super) fn ring(&mut self, cx: &mut Cx<'_>) {
        if let Some(callee) = self.callee.as_mut().filter(|callee| !callee.rung) {
            callee.rung = true;
            self.provisional(180, false, cx);
        }
    }

    pub(super) fn early_media(&mut self, cx: &mut Cx<'_>) {
        let Some(callee) = self.callee.as_mut().filter(|callee| !callee.early) else {
            return;
        };
        callee.early = true;
        let described = callee.answer.is_some() || callee.reliability != Reliability::None;
        if callee.answer.is_some()
            && let Some(remote) = self.session.remote()
        {
            cx.out.push(Action::Media(Box::new(remote.clone())));
        }
        self.provisional(183, described, cx);
    }

    /// Sends a provisional response, or queues it behind a reliable one (RFC 3262 §3).
    fn provisional(&mut self, code: u16, with_sdp: bool, cx: &mut Cx<'_>) {
        if self.phase != Phase::Offered {
            return;
        }
        let Some(mut callee) = self.callee.take() else {
            return;
        };
        if callee.pending.is_some() {
            callee.queue.push_back((code, with_sdp));
            self.callee = Some(callee);
            return;
        }
        let body = match &callee.answer {
            Some(answer) if with_sdp => answer.clone(),
            None if with_sdp => self.session.offer(),
            _ => String::new(),
        };
        callee.trying_at = NEVER;
        let mut draft = self.opening(&callee, code, cx);
        let reliable = callee.reliability.applies(with_sdp);
        let rseq = if reliable { callee.reliability.next_rseq() } else { 0 };
        if reliable {
            draft = draft.field("Require", "100rel").field("RSeq", rseq);
            callee.described |= with_sdp;
        }
        let bytes = draft.finish_with(SDP, body.as_bytes());
        if reliable {
            let offered = with_sdp && callee.answer.is_none();
            callee.pending = Some(Pending::new(
                rseq,
                callee.invite.cseq().map_or(0, |(seq, _)| seq),
                bytes.clone(),
                offered,
                cx.now,
            ));
        }
        cx.out.push(Action::Respond { tx: callee.tx.clone(), code, bytes });
        self.callee = Some(callee);
    }

    /// A response that opens or completes the dialog: Contact, Record-Route, what we can.
    fn opening(&self, callee: &Callee, code: u16, cx: &Cx<'_>) -> Draft {
        let mut draft = self.reply(&callee.invite, &callee.flow, code, cx);
        for route in callee.invite.fields(Name::RecordRoute) {
            draft = draft.field("Record-Route", route);
        }
        draft.field("Contact", self.dialog.contact()).field("Allow", ALLOW).field("Supported", SUPPORTED.join(", "))
    }

    pub(super) fn answer(&mut self, cx: &mut Cx<'_>) {
        if self.phase != Phase::Offered {
            return;
        }
        let Some(mut callee) = self.callee.take() else {
            return;
        };
        if callee.pending.is_some() {
            callee.answer_waits = true;
            self.callee = Some(callee);
            return;
        }
        callee.trying_at = NEVER;
        let offered_here = callee.answer.is_none() && self.session.remote().is_none();
        let body = match &callee.answer {
            Some(answer) if !callee.described => answer.clone(),
            _ if offered_here => self.session.offer(),
            _ => String::new(),
        };
        let mut draft = self.opening(&callee, 200, cx);
        if let Some((expires, required)) = self.timer.accept(&callee.invite, cx.now) {
            draft = draft.field("Session-Expires", expires).maybe("Require", required.then_some("timer"));
        }
        let bytes = draft.finish_with(SDP, body.as_bytes());
        cx.out.push(Action::Respond { tx: callee.tx.clone(), code: 200, bytes });
        if !callee.early
            && !offered_here
            && let Some(remote) = self.session.remote()
        {
            cx.out.push(Action::Media(Box::new(remote.clone())));
        }
        let seq = callee.invite.cseq().map_or(0, |(seq, _)| seq);
        self.awaited = Some(AwaitedAck { tx: callee.tx.clone(), seq, answer: offered_here });
        self.phase = Phase::Confirming;
    }

    /// Refuses with a status of the call's choice.
    pub(super) fn reject(&mut self, code: u16, cx: &mut Cx<'_>) {
        if self.phase == Phase::Offered {
            self.final_failure(code, None, cx);
            self.end(EndedBy::Local, Cause::from_sip(code), Some(code), None, cx);
            self.phase = Phase::Over;
        }
    }

    /// Refuses for a cause.
    pub(super) fn reject_for(&mut self, cause: Cause, cx: &mut Cx<'_>) {
        let code = cause.sip_status();
        self.final_failure(code, Some(cause), cx);
        self.end(EndedBy::Local, cause, Some(code), Some(cause.q850()), cx);
        self.phase = Phase::Over;
    }

    /// Answers the INVITE with a failure; the phase is the caller's business.
    pub(super) fn final_failure(&mut self, code: u16, cause: Option<Cause>, cx: &mut Cx<'_>) {
        let Some(callee) = self.callee.take() else {
            return;
        };
        let mut draft = self.reply(&callee.invite, &callee.flow, code, cx).maybe("Reason", cause.map(reason));
        if code == 503 {
            draft = draft.field("Retry-After", 5);
        }
        respond(&callee.tx, code, draft, cx);
    }

    /// The caller gave up: its CANCEL matched our INVITE transaction (RFC 3261 §9.2).
    pub(crate) fn cancelled(&mut self, cancel: &Message, cx: &mut Cx<'_>) {
        if self.phase == Phase::Offered {
            self.final_failure(487, None, cx);
            self.end(EndedBy::Remote, Cause::Canceled, Some(487), q850(cancel), cx);
            self.phase = Phase::Over;
        }
    }

    /// The caller acknowledges a reliable provisional response (RFC 3262 §3).
    pub(super) fn prack(&mut self, request: &Message, tx: &Arc<str>, flow: &Flow, cx: &mut Cx<'_>) {
        let matched =
            self.callee.as_mut().and_then(|callee| callee.pending.take_if(|pending| pending.is_acknowledged(request)));
        let Some(pending) = matched else {
            return self.status(request, tx, flow, 481, cx);
        };
        let mut body = String::new();
        if pending.offered {
            // Our offer went out in the 183: this is the answer.
            if self.session.accept_answer(&request.body).is_err() {
                self.status(request, tx, flow, 488, cx);
                return self.hangup(Cause::MediaIncompatible, cx);
            }
            self.media_changed(cx);
        } else if request.body_is(SDP) {
            match self.session.answer(&request.body) {
                Ok(answer) => body = answer,
                Err(_) => return self.status(request, tx, flow, 488, cx),
            }
            self.media_changed(cx);
        }
        let bytes = self.reply(request, flow, 200, cx).finish_with(SDP, body.as_bytes());
        cx.out.push(Action::Respond { tx: tx.clone(), code: 200, bytes });
        let Some(callee) = self.callee.as_mut() else {
            return;
        };
        if let Some((code, with_sdp)) = callee.queue.pop_front() {
            self.provisional(code, with_sdp, cx);
        } else if std::mem::take(&mut callee.answer_waits) {
            self.answer(cx);
        }
    }

    pub(super) fn callee_due(&mut self, cx: &mut Cx<'_>) {
        let Some(callee) = self.callee.as_mut() else {
            return;
        };
        if cx.now >= callee.trying_at {
            callee.trying_at = NEVER;
            let bytes = Draft::response(&callee.invite, callee.flow.remote, 100, None).finish();
            cx.out.push(Action::Respond { tx: callee.tx.clone(), code: 100, bytes });
        }
        let Some(pending) = callee.pending.as_mut() else {
            return;
        };
        if pending.is_lost(cx.now) {
            // RFC 3262 §3: no PRACK in 64*T1, so the INVITE is refused.
            self.final_failure(504, None, cx);
            self.end(EndedBy::Remote, Cause::Unreachable, Some(504), None, cx);
            self.phase = Phase::Over;
        } else if let Some(bytes) = pending.repeat(cx.now) {
            cx.out.push(Action::Send { bytes, flow: callee.flow.clone() });
        }
    }

    /// Whether the INVITE asks for a session that would be refreshed too often for us.
    pub(crate) fn interval_too_small(invite: &Message) -> bool {
        SessionTimer::is_too_small(invite)
    }

    /// Tells the call when the peer's wish to be held changed.
    pub(super) fn tell_hold(&mut self, cx: &mut Cx<'_>) {
        let held = self.session.is_held();
        if held != self.held {
            self.held = held;
            cx.event(if held { LegEvent::Held } else { LegEvent::Resumed });
        }
    }
}
