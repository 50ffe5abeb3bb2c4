//! A leg that calls: our INVITE, hop after hop, until one peer answers (RFC 3261 §13.2).
//!
//! A hop that is silent, broken or full is left for the next one, unless its phone has rung. What its phones say before the answer is
//! kept apart in [`forks`](super::forks). The first 2xx wins; any other gets an ACK and a BYE. A CANCEL waits for the first sign of life and
//! may lose the race against a 2xx, which is then hung up.

use std::collections::VecDeque;
use std::net::SocketAddr;

use bytes::Bytes;

use super::forks::{Early, Fork};
use super::{Action, Cx, Hop, Login, Phase, Purpose, SDP, SipLeg, q850};
use crate::cause::Cause;
use crate::leg::{EndedBy, LegEvent};
use crate::sip::dialog::Dialog;
use crate::sip::flow::{Flow, Path};
use crate::sip::message::{Message, Method, Name};
use crate::sip::sdp::Session;
use crate::sip::transaction::{NEVER, TIMEOUT_MS};

/// A hop that has not said anything for so long is left, when there is another, ms.
const SILENT_HOP_MS: i64 = 3_000;
/// Redirections followed (contract flows, "Causes").
const MAX_REDIRECTS: u8 = 3;

/// What is kept of our INVITE until its final answer, and a while longer for late ones.
#[derive(Debug)]
pub(crate) struct Caller {
    hops: VecDeque<Hop>,
    hop: Option<Hop>,
    /// Fields of the INVITE that say who calls.
    identity: Vec<(&'static str, String)>,
    branch: String,
    seq: u32,
    /// The hop has said something.
    alive: bool,
    /// The hop has reached a phone, so no other is tried.
    reached: bool,
    rung: bool,
    early: bool,
    redirects: u8,
    /// A 422 has been obeyed.
    stretched: bool,
    /// How far the early dialog is that the leg speaks in now.
    pub(super) now: Early,
    /// The others that the INVITE made.
    pub(super) forks: Vec<Fork>,
    ring_until: i64,
    silent_until: i64,
    /// The CANCEL has been sent.
    cancelled: bool,
    /// The ACK of the winner, for its repetitions.
    ack: Option<(Bytes, Flow)>,
    /// The last failure, for when no hop is left.
    failure: Option<(u16, Option<u8>)>,
}

impl Caller {
    pub(crate) fn new(hops: Vec<Hop>, identity: Vec<(&'static str, String)>, ring_until: i64) -> Self {
        Self {
            hops: hops.into(),
            hop: None,
            identity,
            branch: String::new(),
            seq: 0,
            alive: false,
            reached: false,
            rung: false,
            early: false,
            redirects: 0,
            stretched: false,
            now: Early::default(),
            forks: Vec::new(),
            ring_until,
            silent_until: NEVER,
            cancelled: false,
            ack: None,
            failure: None,
        }
    }

    pub(super) fn next(&self) -> i64 {
        self.ring_until.min(self.silent_until)
    }
}

impl SipLeg {
    /// A leg that is to call; nothing is sent before [`SipLeg::start`].
    pub(crate) fn calling(dialog: Dialog, session: Session, caller: Caller, login: Option<Login>) -> Self {
        let mut leg = Self::new(dialog, session, Phase::Calling);
        leg.caller = Some(Box::new(caller));
        leg.login = login;
        leg.owner = true;
        leg
    }

    /// Tries the next hop, or ends with what the last one said.
    pub(crate) fn start(&mut self, cx: &mut Cx<'_>) {
        let Some(caller) = self.caller.as_mut() else {
            return;
        };
        (caller.alive, caller.reached) = (false, false);
        caller.silent_until = NEVER;
        if let Some(hop) = caller.hops.pop_front() {
            caller.hop = Some(hop.clone());
            cx.out.push(Action::Dial(hop));
            return;
        }
        let (code, q850) = caller.failure.map_or((None, None), |(code, q850)| (Some(code), q850));
        self.phase = Phase::Over;
        self.end(EndedBy::Remote, code.map_or(Cause::Unreachable, Cause::from_sip), code, q850, cx);
    }

    /// The hop is of no use: the next one, and the others know.
    fn fail_over(&mut self, cx: &mut Cx<'_>) {
        if let Some(hop) = self.caller.as_mut().and_then(|caller| caller.hop.take()) {
            cx.out.push(Action::HopFailed(hop));
        }
        self.start(cx);
    }

    /// There is no way to the hop.
    pub(crate) fn undialable(&mut self, cx: &mut Cx<'_>) {
        match self.phase {
            Phase::Calling => self.fail_over(cx),
            Phase::Cancelling => self.phase = Phase::Over,
            _ => {}
        }
    }

    /// A way to the hop was found: `path` leads there, media is received at `media`.
    pub(crate) fn dial(&mut self, path: Path, media: SocketAddr, cx: &mut Cx<'_>) {
        if self.phase == Phase::Cancelling {
            self.phase = Phase::Over;
            return;
        }
        let Some(caller) = self.caller.as_mut() else {
            return;
        };
        if !caller.hops.is_empty() {
            caller.silent_until = cx.now + SILENT_HOP_MS;
        }
        self.dialog.path = path;
        self.session.relocate(media);
        self.invite_afresh(cx);
    }

    /// Sends the INVITE as the first of its hop: what early dialogs said went with them.
    fn invite_afresh(&mut self, cx: &mut Cx<'_>) {
        let Some(caller) = self.caller.as_mut() else {
            return;
        };
        if let Some(hop) = &caller.hop {
            self.dialog.target.clone_from(&hop.uri);
            self.dialog.routes.clone_from(&hop.routes);
        }
        caller.now = Early::default();
        caller.forks.clear();
        self.dialog.remote_tag.clear();
        self.dialog.remote_seq = None;
        self.session.restart();
        self.invite(cx);
    }

    /// Sends the INVITE, signed when the peer has asked for it.
    fn invite(&mut self, cx: &mut Cx<'_>) {
        let Some(caller) = self.caller.as_mut() else {
            return;
        };
        let branch = cx.branch();
        let mut draft = self.dialog.request(Method::Invite, &branch);
        caller.branch.clone_from(&branch);
        caller.seq = self.dialog.local_seq;
        for (name, value) in &caller.identity {
            draft = draft.field(name, value);
        }
        let mut draft = self.offering(draft).field("User-Agent", cx.agent);
        let sdp = self.session.offer();
        if let Some(login) = self.login.as_mut() {
            let cnonce = format!("{:016x}", u64::from_le_bytes(cx.ids.bytes()));
            draft = login.sign(draft, Method::Invite, &self.dialog.target, sdp.as_bytes(), &cnonce);
        }
        let bytes = draft.finish_with(SDP, sdp.as_bytes());
        // The first request of a dialog goes where the hop is, not where its URI points.
        let flow = self.dialog.path.flow.clone();
        cx.out.push(Action::Request { method: Method::Invite, branch, bytes, flow, purpose: Purpose::Invite });
    }

    /// A response to our INVITE.
    pub(super) fn invite_response(&mut self, branch: &str, response: &Message, flow: &Flow, cx: &mut Cx<'_>) {
        let code = response.code();
        let ours = self.caller.as_ref().is_some_and(|caller| caller.branch == branch);
        if (200..300).contains(&code) {
            return if ours { self.picked_up(response, flow, cx) } else { self.hang_up_stray(response, flow, cx) };
        }
        if !ours {
            // A hop that was left has woken up.
            if code < 200 {
                cx.out.push(Action::Cancel { branch: branch.to_owned() });
            }
            return;
        }
        if let Some(caller) = self.caller.as_mut() {
            caller.alive = true;
            caller.silent_until = NEVER;
        }
        match (self.phase, code) {
            (Phase::Calling, 101..200) => self.progress(response, cx),
            (Phase::Cancelling, ..200) => self.cancel_once(cx),
            (Phase::Calling, 300..) => self.refused(response, cx),
            (Phase::Cancelling, 300..) => self.phase = Phase::Over,
            _ => {}
        }
    }

    /// Ringing, early media, reliable progress.
    fn progress(&mut self, response: &Message, cx: &mut Cx<'_>) {
        if response.to_tag().is_some_and(|tag| !self.turn_to(tag)) {
            return;
        }
        let Some(caller) = self.caller.as_mut() else {
            return;
        };
        let rseq = response.number(Name::RSeq).filter(|_| response.lists(Name::Require, "100rel"));
        if let Some(rseq) = rseq {
            if !caller.now.takes(rseq) {
                return;
            }
            let rack = format!("{rseq} {} INVITE", caller.seq);
            self.dialog.answered(response);
            self.send(Purpose::Prack(rack), cx);
        } else if response.to_tag().is_some() && self.dialog.remote_tag.is_empty() {
            self.dialog.answered(response);
        }
        let Some(caller) = self.caller.as_mut() else {
            return;
        };
        caller.reached |= response.code() / 10 == 18;
        let settled = caller.now.answered;
        if response.code() == 180 && !std::mem::replace(&mut caller.rung, true) {
            cx.event(LegEvent::Ringing);
        }
        if settled
            || !response.body_is(SDP)
            || self.session.is_repeated(&response.body)
            || self.session.accept_answer(&response.body).is_err()
        {
            return;
        }
        if let Some(remote) = self.session.remote() {
            cx.out.push(Action::Media(Box::new(remote.clone())));
        }
        if let Some(caller) = self.caller.as_mut() {
            caller.now.answered = rseq.is_some();
            if !std::mem::replace(&mut caller.early, true) {
                cx.event(LegEvent::EarlyMedia);
            }
        }
    }

    /// A 2xx: the winner's, its repetition, or another fork's.
    fn picked_up(&mut self, response: &Message, flow: &Flow, cx: &mut Cx<'_>) {
        let Some(caller) = self.caller.as_mut() else {
            return;
        };
        if let Some((ack, to)) = &caller.ack {
            let (ack, to) = (ack.clone(), to.clone());
            if response.to_tag() == Some(self.dialog.remote_tag.as_str()) {
                cx.out.push(Action::Acknowledge { bytes: ack, flow: to });
            } else {
                self.hang_up_stray(response, flow, cx);
            }
            return;
        }
        if self.phase == Phase::Cancelling {
            self.phase = Phase::Over;
            return self.hang_up_stray(response, flow, cx);
        }
        let seq = caller.seq;
        (caller.ring_until, caller.silent_until) = (NEVER, NEVER);
        let (settled, forked) = self.turn_to_winner(response.to_tag().unwrap_or_default());
        self.dialog.answered(response);
        self.peer_allows_update = response.lists(Name::Allow, "UPDATE");
        self.timer.accepted(response, cx.now);
        if let Some(login) = self.login.as_mut() {
            login.accepted();
        }
        let branch = cx.branch();
        let ack = self.acknowledging(&branch, seq, cx).finish();
        let to = self.dialog.destination();
        if let Some(caller) = self.caller.as_mut() {
            caller.ack = Some((ack.clone(), to.clone()));
            // Late repetitions and forks come until timer M; then the rest of the caller can go.
            caller.ring_until = cx.now + TIMEOUT_MS;
        }
        cx.out.push(Action::Acknowledge { bytes: ack, flow: to });
        // After an answer in a reliable response another says nothing new (RFC 3262 §5, RFC 6337 §2.1).
        let fresh = !settled && response.body_is(SDP) && !self.session.is_repeated(&response.body);
        let agreed =
            if fresh { self.session.accept_answer(&response.body).is_ok() } else { self.session.remote().is_some() };
        self.phase = Phase::Talking;
        if agreed {
            self.established(fresh || forked, cx);
        } else {
            self.hangup(Cause::MediaIncompatible, cx);
        }
    }

    /// A failure: sign, stretch, follow, try the next hop, or end.
    fn refused(&mut self, response: &Message, cx: &mut Cx<'_>) {
        let code = response.code();
        if let (401 | 407, Some(login)) = (code, self.login.as_mut())
            && login.challenged(response)
        {
            return self.invite_afresh(cx);
        }
        // A phone that speaks nothing but SRTP refuses a plain offer (RFC 3261 §21.4.26, RFC 4568 §7.1.2).
        if matches!(code, 415 | 488 | 606) && self.session.refused() {
            return self.invite_afresh(cx);
        }
        let Some(caller) = self.caller.as_mut() else {
            return;
        };
        if code == 422 && !std::mem::replace(&mut caller.stretched, true) {
            self.timer.refused(response);
            return self.invite_afresh(cx);
        }
        caller.failure = Some((code, q850(response)));
        if (300..400).contains(&code) {
            caller.redirects += 1;
            caller.hops.clear();
            if let Some(hop) = caller.hop.as_ref().filter(|_| caller.redirects <= MAX_REDIRECTS) {
                caller.hops.extend(hop.redirected(response));
            }
            return self.start(cx);
        }
        match code {
            _ if caller.reached => {}
            503 => return self.fail_over(cx),
            // It works, though not for this call.
            408 | 500 | 502 | 504 => return self.start(cx),
            _ => {}
        }
        caller.hops.clear();
        self.start(cx);
    }

    /// The INVITE was not answered at all, or could not be sent.
    pub(super) fn invite_unanswered(&mut self, branch: &str, cx: &mut Cx<'_>) {
        if self.caller.as_ref().is_none_or(|caller| caller.branch != branch) {
            return;
        }
        match self.phase {
            Phase::Calling => self.fail_over(cx),
            Phase::Cancelling => self.phase = Phase::Over,
            _ => {}
        }
    }

    /// Gives the call up; the leg's end is told now, whatever the peer still says.
    pub(super) fn cancel(&mut self, cause: Cause, cx: &mut Cx<'_>) {
        self.end(EndedBy::Local, cause, Some(487), None, cx);
        self.give_up(cx);
    }

    /// Waits for the INVITE's final answer, which a CANCEL hastens: now, or at the first sign of life.
    pub(super) fn give_up(&mut self, cx: &mut Cx<'_>) {
        self.phase = Phase::Cancelling;
        let Some(caller) = self.caller.as_mut() else {
            return;
        };
        (caller.ring_until, caller.silent_until) = (NEVER, NEVER);
        if caller.alive {
            self.cancel_once(cx);
        }
    }

    /// Sends the CANCEL, at the hang-up or at the first response after it (RFC 3261 §9.1).
    fn cancel_once(&mut self, cx: &mut Cx<'_>) {
        if let Some(caller) = self.caller.as_mut()
            && !std::mem::replace(&mut caller.cancelled, true)
        {
            cx.out.push(Action::Cancel { branch: caller.branch.clone() });
        }
    }

    /// A 2xx that nobody wants: acknowledge it and hang up.
    fn hang_up_stray(&mut self, response: &Message, flow: &Flow, cx: &mut Cx<'_>) {
        let (ack, bye, branch, to) = stray(response, &self.dialog, flow, cx);
        cx.out.push(Action::Acknowledge { bytes: ack, flow: to.clone() });
        cx.out.push(Action::Request {
            method: Method::Bye,
            branch,
            bytes: bye,
            flow: to,
            purpose: Purpose::Bye(Cause::Normal),
        });
    }

    pub(super) fn caller_due(&mut self, cx: &mut Cx<'_>) {
        let Some(caller) = self.caller.as_mut() else {
            return;
        };
        if cx.now >= caller.ring_until {
            caller.ring_until = NEVER;
            if self.phase == Phase::Calling {
                return self.cancel(Cause::NoAnswer, cx);
            }
            self.caller = None;
        } else if cx.now >= caller.silent_until {
            caller.silent_until = NEVER;
            let branch = caller.branch.clone();
            cx.out.push(Action::Abandon { branch });
            self.fail_over(cx);
        }
    }
}

/// ACK and BYE for a 2xx outside the leg's own dialog, the BYE's branch, and where both go.
pub(crate) fn stray(response: &Message, like: &Dialog, flow: &Flow, cx: &Cx<'_>) -> (Bytes, Bytes, String, Flow) {
    let mut dialog = like.clone();
    dialog.path.flow = flow.clone();
    dialog.answered(response);
    let seq = response.cseq().map_or(0, |(seq, _)| seq);
    let ack = dialog.request_numbered(Method::Ack, &cx.branch(), seq).finish();
    let branch = cx.branch();
    let bye = dialog.request_numbered(Method::Bye, &branch, seq + 1).finish();
    (ack, bye, branch, dialog.destination())
}
