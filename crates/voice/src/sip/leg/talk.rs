//! Inside an established dialog: offers anew (hold, codec, address), refreshes, keys by INFO.

use std::sync::Arc;

use super::{
    ALLOW, Action, AwaitedAck, Cx, GLARE_OTHER_MS, GLARE_OWNER_MS, Phase, Purpose, SDP, SUPPORTED, SipLeg, respond,
};
use crate::cause::Cause;
use crate::leg::EndedBy;
use crate::runner::Direction;
use crate::sip::draft::Draft;
use crate::sip::flow::Flow;
use crate::sip::message::{Message, Method, Name};
use crate::sip::session_timer::{MIN_INTERVAL_S, SessionTimer};
use crate::sip::transaction::NEVER;

/// A peer that need not send media is asked so often whether it is still there, ms.
const HOLD_LOOK_MS: i64 = 300_000;
/// How long a key counts as pressed when INFO does not say, ms.
const INFO_DIGIT_MS: u32 = 160;

impl SipLeg {
    /// Puts the peer on hold or takes it off, now or when a pending exchange is over.
    pub(super) fn hold(&mut self, on: bool, cx: &mut Cx<'_>) {
        self.session.hold(on);
        match self.phase {
            Phase::Talking if !self.refreshing && self.awaited.is_none() => self.send(Purpose::Reinvite, cx),
            Phase::Talking => self.retry_at = cx.now,
            _ => {}
        }
    }

    /// The peer's INVITE inside the dialog.
    pub(super) fn reinvite(&mut self, request: &Message, tx: &Arc<str>, flow: &Flow, cx: &mut Cx<'_>) {
        if self.awaited.is_some() || self.phase != Phase::Talking {
            // One at a time (RFC 3261 §14.2).
            let draft = self.reply(request, flow, 500, cx).field("Retry-After", 1);
            return respond(tx, 500, draft, cx);
        }
        if self.refreshing {
            return self.status(request, tx, flow, 491, cx);
        }
        let Some((draft, body, offered)) = self.renegotiate(request, tx, flow, cx) else {
            return;
        };
        let seq = request.cseq().map_or(0, |(seq, _)| seq);
        self.awaited = Some(AwaitedAck { tx: tx.clone(), seq, answer: offered });
        cx.out.push(Action::Respond { tx: tx.clone(), code: 200, bytes: draft.finish_with(SDP, body.as_bytes()) });
    }

    /// The peer's UPDATE (RFC 3311): an offer, or a refresh without one.
    pub(super) fn update(&mut self, request: &Message, tx: &Arc<str>, flow: &Flow, cx: &mut Cx<'_>) {
        let offers = request.body_is(SDP);
        if offers && self.refreshing {
            return self.status(request, tx, flow, 491, cx);
        }
        let negotiating = self.awaited.as_ref().is_some_and(|awaited| awaited.answer);
        if offers && (negotiating || self.session.remote().is_none()) {
            let draft = self.reply(request, flow, 500, cx).field("Retry-After", 1);
            return respond(tx, 500, draft, cx);
        }
        let Some((draft, body, _)) = self.renegotiate(request, tx, flow, cx) else {
            return;
        };
        cx.out.push(Action::Respond { tx: tx.clone(), code: 200, bytes: draft.finish_with(SDP, body.as_bytes()) });
    }

    /// Answers an offer, or makes one for an INVITE without: the 2xx, its body, and whether that is
    /// our offer. `None` when it was refused.
    fn renegotiate(
        &mut self,
        request: &Message,
        tx: &Arc<str>,
        flow: &Flow,
        cx: &mut Cx<'_>,
    ) -> Option<(Draft, String, bool)> {
        if SessionTimer::is_too_small(request) {
            let draft = self.reply(request, flow, 422, cx).field("Min-SE", MIN_INTERVAL_S);
            respond(tx, 422, draft, cx);
            return None;
        }
        let invite = request.method() == Some(Method::Invite);
        let (body, offered) = if request.body_is(SDP) {
            match self.session.answer(&request.body) {
                Ok(answer) => (answer, false),
                Err(_) => {
                    self.status(request, tx, flow, 488, cx);
                    return None;
                }
            }
        } else if !request.body.is_empty() {
            let draft = self.reply(request, flow, 415, cx).field("Accept", SDP);
            respond(tx, 415, draft, cx);
            return None;
        } else if invite {
            (self.session.offer_anew(), true)
        } else {
            (String::new(), false)
        };
        self.dialog.retarget(request);
        let mut draft = self.reply(request, flow, 200, cx);
        draft = draft
            .field("Contact", self.dialog.contact())
            .field("Allow", ALLOW)
            .field("Supported", SUPPORTED.join(", "));
        if let Some((expires, required)) = self.timer.accept(request, cx.now) {
            draft = draft.field("Session-Expires", expires).maybe("Require", required.then_some("timer"));
        }
        if !offered && !body.is_empty() {
            self.media_changed(cx);
        }
        Some((draft, body, offered))
    }

    /// Hands the agreed media on and tells a change of hold.
    pub(super) fn media_changed(&mut self, cx: &mut Cx<'_>) {
        if let Some(remote) = self.session.remote() {
            cx.out.push(Action::Media(Box::new(remote.clone())));
        }
        if self.phase == Phase::Talking {
            self.tell_hold(cx);
            self.watch_hold(cx);
        }
    }

    /// While one holds the other no media shows that the peer is there. Unless a session timer does, we ask from time to time.
    pub(super) fn watch_hold(&mut self, cx: &mut Cx<'_>) {
        let talks = self.session.remote().is_none_or(|remote| remote.direction == Direction::SendRecv);
        self.look_at = if talks || self.timer.is_active() { NEVER } else { self.look_at.min(cx.now + HOLD_LOOK_MS) };
    }

    /// The answer to our re-INVITE.
    pub(super) fn reinvite_response(&mut self, response: &Message, cx: &mut Cx<'_>) {
        let code = response.code();
        if code < 200 {
            return;
        }
        let seq = response.cseq().map_or(0, |(seq, _)| seq);
        let repeated = seq <= self.settled_seq;
        if (200..300).contains(&code) {
            self.settled_seq = self.settled_seq.max(seq);
            if !repeated {
                self.dialog.retarget(response);
            }
            let branch = cx.branch();
            let ack = self.acknowledging(&branch, seq, cx);
            cx.out.push(Action::Acknowledge { bytes: ack.finish(), flow: self.dialog.destination() });
        }
        if repeated {
            return;
        }
        self.refreshing = false;
        self.refreshed(response, cx);
        if (200..300).contains(&code) && response.body_is(SDP) && self.session.accept_answer(&response.body).is_ok() {
            self.media_changed(cx);
        }
    }

    /// The answer to our UPDATE.
    pub(super) fn update_response(&mut self, response: &Message, cx: &mut Cx<'_>) {
        if response.code() >= 200 {
            self.refreshing = false;
            if matches!(response.code(), 405 | 501) {
                self.peer_allows_update = false;
                self.retry_at = cx.now;
            }
            self.refreshed(response, cx);
        }
    }

    /// What a re-INVITE or UPDATE of ours did to the session.
    fn refreshed(&mut self, response: &Message, cx: &mut Cx<'_>) {
        match response.code() {
            200..300 => {
                self.timer.accepted(response, cx.now);
                self.watch_hold(cx);
            }
            408 | 481 => self.lost(response.code(), cx),
            422 => {
                self.timer.refused(response);
                self.retry_at = cx.now;
            }
            491 => {
                // We own the Call-ID if we made the call (RFC 3261 §14.1).
                let (least, span) = if self.owner { GLARE_OWNER_MS } else { GLARE_OTHER_MS };
                self.retry_at = cx.now + least + i64::try_from(cx.ids.below(span)).unwrap_or(0);
            }
            // Refused: the session goes on as it was (RFC 3261 §14.1), and its refresh is still due.
            _ => self.timer.failed(cx.now, response.number(Name::RetryAfter)),
        }
    }

    /// What has become due while talking.
    pub(super) fn talk_due(&mut self, cx: &mut Cx<'_>) {
        if cx.now >= self.timer.dead_at() {
            // Nobody refreshed (RFC 4028 §10).
            self.phase = Phase::Over;
            self.send(Purpose::Bye(Cause::Unreachable), cx);
            return self.end(EndedBy::Remote, Cause::Unreachable, Some(408), None, cx);
        }
        let busy = self.refreshing || self.awaited.is_some();
        if cx.now >= self.retry_at {
            self.retry_at = if busy { cx.now + GLARE_OWNER_MS.0 } else { NEVER };
            if !busy {
                return self.send(Purpose::Reinvite, cx);
            }
        }
        if cx.now < self.timer.refresh_at().min(self.look_at) {
            return;
        }
        if cx.now >= self.look_at {
            self.look_at = cx.now + HOLD_LOOK_MS;
        }
        if busy {
            // What is under way is a sign of life too.
            self.timer.failed(cx.now, None);
        } else {
            self.send(if self.peer_allows_update { Purpose::Update } else { Purpose::Reinvite }, cx);
        }
    }

    /// A key by INFO: `application/dtmf-relay` (Signal=5, Duration=160) or `application/dtmf` (5).
    pub(super) fn info(&mut self, request: &Message, tx: &Arc<str>, flow: &Flow, cx: &mut Cx<'_>) {
        let relay = request.body_is("application/dtmf-relay");
        if !relay && !request.body_is("application/dtmf") {
            // An empty INFO only asks whether we are there (RFC 2976 §2.2).
            let code = if request.body.is_empty() { 200 } else { 415 };
            let draft = self
                .reply(request, flow, code, cx)
                .maybe("Accept", (code == 415).then_some("application/dtmf-relay, application/dtmf"));
            return respond(tx, code, draft, cx);
        }
        let text = String::from_utf8_lossy(&request.body);
        match digit(&text, relay) {
            Some((symbol, duration_ms)) => {
                self.status(request, tx, flow, 200, cx);
                if self.phase == Phase::Talking {
                    cx.out.push(Action::Digit { symbol, duration_ms });
                }
            }
            None => self.status(request, tx, flow, 400, cx),
        }
    }
}

/// Reads a digit's body.
fn digit(text: &str, relay: bool) -> Option<(char, u32)> {
    let value = |name: &str| {
        text.lines().find_map(|line| {
            let (key, value) = line.split_once('=')?;
            key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
        })
    };
    let symbol = if relay { value("Signal")? } else { text.trim() };
    // Some phones send the event number of RFC 4733.
    let symbol = match symbol {
        "10" => '*',
        "11" => '#',
        _ => symbol.chars().next().filter(|_| symbol.chars().count() == 1)?.to_ascii_uppercase(),
    };
    let duration_ms = value("Duration").and_then(|value| value.parse().ok()).unwrap_or(INFO_DIGIT_MS);
    matches!(symbol, '0'..='9' | 'A'..='D' | '*' | '#').then_some((symbol, duration_ms))
}
