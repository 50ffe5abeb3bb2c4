//! One call of a browser phone: a state machine without sockets, clocks or tasks.
//!
//! Frames of the phone, commands of the call above and the time go in; [`Action`]s come out, in order. Invariant: exactly
//! one [`Action::Ended`], with exactly one `ended` frame beside it.

use media::dtmf::Digit;

use super::frame::{CallState, CallView, Caller, Down, Fault, Side};
use crate::cause::Cause;
use crate::leg::{EndedBy, LegEnd, LegEvent, LegId, Signal};
use crate::runner::{Direction, Remote};
use crate::sip::sdp::Session;

/// Never.
pub(super) const NEVER: i64 = i64::MAX;
/// How long a key that was pressed by a frame counts as held, ms.
const KEY_MS: u32 = 100;
/// A phone that cannot be sent elsewhere says so with this status (RFC 3261 §21.5.2).
const NOT_IMPLEMENTED: u16 = 501;
/// One that may not phone any more is told so by this status (RFC 3261 §21.4.4).
const FORBIDDEN: u16 = 403;
/// An offer follows the one before it by this at least, ms: each may be the beginning of another connection.
const OFFER_EVERY_MS: i64 = 1_000;
/// Keys that one frame may hold: each is an order to the media thread, which serves many calls.
const MAX_KEYS: usize = 32;

/// What a call asks of its surroundings.
#[derive(Debug)]
pub(super) enum Action {
    /// Say this to the phone.
    Tell(Down),
    /// Tell the call above.
    Event(LegEvent),
    /// Media was agreed, for the first time or anew.
    Media(Box<Remote>),
    /// The call is up: media may be missed from now on.
    Established,
    /// A key was pressed by a frame.
    Digit(Digit),
    /// The end, once: close the media and tell the call above.
    Ended(LegEnd),
}

/// How far a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The phone calls, and waits for our answer.
    Calling,
    /// We call the phone.
    Ringing,
    /// Both talk.
    Up,
    /// Nothing is left.
    Over,
}

/// One call.
#[derive(Debug)]
pub(super) struct PhoneCall {
    /// Its name between phone and server.
    pub(super) name: String,
    /// Its leg.
    pub(super) leg: LegId,
    session: Session,
    phase: Phase,
    /// What a called phone was sent.
    incoming: Option<(Caller, String)>,
    rung: bool,
    /// A calling phone has been told that there is something to hear.
    early: bool,
    /// The phone holds the other party.
    held: bool,
    /// We hold the phone.
    holding: bool,
    /// Whether the call above was told that the phone holds.
    told_held: bool,
    /// A transfer that the phone asked for waits for its verdict.
    transferring: bool,
    /// When the phone offered anew, last.
    offered_at: Option<i64>,
    ring_until: i64,
}

impl PhoneCall {
    /// The phone calls.
    ///
    /// # Errors
    /// What the phone is told when its offer cannot be met: there is no call then.
    pub(super) fn calling(
        name: String,
        leg: LegId,
        mut session: Session,
        offer: &str,
        out: &mut Vec<Action>,
    ) -> Result<Self, Down> {
        let answer = session.answer(offer.as_bytes());
        let answer = answer.map_err(|error| fault(Fault::BadSdp, error, &name, Some("sdp")))?;
        let call = Self::new(name, leg, session, Phase::Calling, NEVER);
        out.extend(call.media());
        out.push(Action::Tell(Down::Answer { id: call.name.clone(), sdp: answer }));
        Ok(call)
    }

    /// The phone is called.
    pub(super) fn called(
        leg: LegId,
        mut session: Session,
        from: Caller,
        ring_until: i64,
        out: &mut Vec<Action>,
    ) -> Self {
        let offer = session.offer();
        let mut call = Self::new(leg.to_string(), leg, session, Phase::Ringing, ring_until);
        call.incoming = Some((from, offer));
        call.announce(out);
        call
    }

    fn new(name: String, leg: LegId, session: Session, phase: Phase, ring_until: i64) -> Self {
        Self {
            name,
            leg,
            session,
            phase,
            incoming: None,
            rung: false,
            early: false,
            held: false,
            holding: false,
            told_held: false,
            transferring: false,
            offered_at: None,
            ring_until,
        }
    }

    /// Whether it can be forgotten.
    pub(super) fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Whether the phone is called and has not answered.
    pub(super) fn is_ringing(&self) -> bool {
        self.phase == Phase::Ringing
    }

    /// When [`PhoneCall::due`] is to be called.
    pub(super) fn next(&self) -> i64 {
        if self.phase == Phase::Ringing { self.ring_until } else { NEVER }
    }

    /// What a phone that comes back is told of it.
    pub(super) fn view(&self) -> Option<CallView> {
        let state = match self.phase {
            Phase::Calling => CallState::Calling,
            Phase::Ringing => CallState::Ringing,
            Phase::Up => CallState::Up,
            Phase::Over => return None,
        };
        Some(CallView { id: self.name.clone(), state, held: self.held })
    }

    /// Tells the phone that it is called, while it rings.
    pub(super) fn announce(&self, out: &mut Vec<Action>) {
        if let (Phase::Ringing, Some((from, sdp))) = (self.phase, &self.incoming) {
            out.push(Action::Tell(Down::Incoming { id: self.name.clone(), from: from.clone(), sdp: sdp.clone() }));
        }
    }

    // --- what the phone says

    /// It rings at the phone.
    pub(super) fn ringing(&mut self, out: &mut Vec<Action>) {
        if self.phase == Phase::Ringing && !std::mem::replace(&mut self.rung, true) {
            out.push(Action::Event(LegEvent::Ringing));
        }
    }

    /// The phone takes the call.
    pub(super) fn answered_by_phone(&mut self, answer: &str, out: &mut Vec<Action>) {
        if self.phase != Phase::Ringing {
            return out.push(self.wrong_state());
        }
        if let Err(error) = self.session.accept_answer(answer.as_bytes()) {
            out.push(Action::Tell(fault(Fault::BadSdp, error, &self.name, Some("sdp"))));
            return self.end(EndedBy::Remote, Cause::MediaIncompatible, Some(488), out);
        }
        out.extend(self.media());
        self.establish(out);
    }

    /// The phone refuses the call.
    pub(super) fn rejected_by_phone(&mut self, code: u16, out: &mut Vec<Action>) {
        if self.phase != Phase::Ringing {
            return out.push(self.wrong_state());
        }
        self.end(EndedBy::Remote, Cause::from_sip(code), Some(code), out);
    }

    /// The phone hangs up.
    pub(super) fn hung_up_by_phone(&mut self, out: &mut Vec<Action>) {
        match self.phase {
            Phase::Calling => self.end(EndedBy::Remote, Cause::Canceled, Some(487), out),
            Phase::Ringing => self.end(EndedBy::Remote, Cause::Rejected, Some(603), out),
            Phase::Up => self.end(EndedBy::Remote, Cause::Normal, None, out),
            Phase::Over => {}
        }
    }

    /// The phone holds the other party, or resumes.
    pub(super) fn held_by_phone(&mut self, on: bool, out: &mut Vec<Action>) {
        if self.phase != Phase::Up {
            return out.push(self.wrong_state());
        }
        if self.held != on {
            self.held = on;
            out.extend(self.media());
            self.tell_hold(out);
        }
        out.push(self.hold_frame(on, Side::Phone));
    }

    /// The phone offers anew: an ICE restart, or other connections after a reload.
    pub(super) fn offered_by_phone(&mut self, offer: &str, now: i64, out: &mut Vec<Action>) {
        if !matches!(self.phase, Phase::Up | Phase::Calling) {
            return out.push(self.wrong_state());
        }
        if self.offered_at.is_some_and(|before| (0..OFFER_EVERY_MS).contains(&now.saturating_sub(before))) {
            let why = "an offer came a moment ago: offer again in a second";
            return out.push(Action::Tell(fault(Fault::RateLimited, why, &self.name, None)));
        }
        self.offered_at = Some(now);
        match self.session.answer(offer.as_bytes()) {
            Ok(answer) => {
                out.extend(self.media());
                out.push(Action::Tell(Down::Answer { id: self.name.clone(), sdp: answer }));
                self.tell_hold(out);
            }
            Err(error) => out.push(Action::Tell(fault(Fault::BadSdp, error, &self.name, Some("sdp")))),
        }
    }

    /// The phone wants the other party to be connected elsewhere.
    pub(super) fn transferred_by_phone(&mut self, to: String, out: &mut Vec<Action>) {
        if self.phase != Phase::Up || self.transferring {
            return out.push(self.wrong_state());
        }
        self.transferring = true;
        out.push(Action::Event(LegEvent::TransferRequested { to, replaces: None }));
    }

    /// The phone presses keys by a frame.
    pub(super) fn pressed_by_phone(&mut self, digits: &str, out: &mut Vec<Action>) {
        if !matches!(self.phase, Phase::Up | Phase::Calling) {
            return out.push(self.wrong_state());
        }
        if digits.len() > MAX_KEYS {
            let said = format!("at most {MAX_KEYS} keys at a time");
            return out.push(Action::Tell(fault(Fault::InvalidFrame, said, &self.name, Some("digits"))));
        }
        let keys = digits.chars().map(|symbol| symbol.to_ascii_uppercase());
        let keys = keys.filter(|symbol| matches!(symbol, '0'..='9' | 'A'..='D' | '*' | '#'));
        out.extend(keys.map(|symbol| Action::Digit(Digit { symbol, duration_ms: KEY_MS })));
    }

    /// The phone may not be one any more.
    pub(super) fn expelled(&mut self, out: &mut Vec<Action>) {
        let code = (self.phase != Phase::Up).then_some(FORBIDDEN);
        self.end(EndedBy::Local, Cause::Rejected, code, out);
    }

    /// The phone has been gone for too long.
    pub(super) fn lost(&mut self, out: &mut Vec<Action>) {
        self.end(EndedBy::Remote, Cause::Unreachable, None, out);
    }

    // --- what the call above says

    /// A command.
    pub(super) fn signal(&mut self, signal: Signal, out: &mut Vec<Action>) {
        match (signal, self.phase) {
            (_, Phase::Over) => {}
            (Signal::Ring, Phase::Calling) => {
                if !std::mem::replace(&mut self.rung, true) {
                    out.push(Action::Tell(Down::Ringing { id: self.name.clone() }));
                }
            }
            (Signal::EarlyMedia, Phase::Calling) => {
                if !std::mem::replace(&mut self.early, true) {
                    out.push(Action::Tell(Down::EarlyMedia { id: self.name.clone() }));
                }
            }
            (Signal::Answer, Phase::Calling) => self.establish(out),
            (Signal::Reject(code), Phase::Calling) => {
                self.end(EndedBy::Local, Cause::from_sip(code), Some(code), out);
            }
            (Signal::Hangup(cause), phase) => {
                let code = match phase {
                    Phase::Calling => Some(cause.sip_status()),
                    Phase::Ringing => Some(487),
                    Phase::Up | Phase::Over => None,
                };
                self.end(EndedBy::Local, cause, code, out);
            }
            (Signal::MediaTimeout, _) => self.end(EndedBy::Local, Cause::MediaTimeout, None, out),
            (Signal::Hold(on), Phase::Up) => {
                if self.holding != on {
                    self.holding = on;
                    out.extend(self.media());
                    out.push(self.hold_frame(on, Side::Server));
                }
            }
            (Signal::Refer(_), _) => {
                out.push(Action::Event(LegEvent::TransferEnded { sip_code: NOT_IMPLEMENTED }));
            }
            (Signal::AcceptTransfer(ok), _) => {
                if std::mem::take(&mut self.transferring) && !ok {
                    let why = "nobody can be connected there";
                    out.push(Action::Tell(fault(Fault::TransferRefused, why, &self.name, Some("to"))));
                }
            }
            // It comes too late, or makes no sense to a phone that is called.
            (Signal::Ring | Signal::EarlyMedia | Signal::Answer | Signal::Reject(_) | Signal::Hold(_), _) => {}
        }
    }

    /// The floors above take no call now.
    pub(super) fn refused(&mut self, cause: Cause, out: &mut Vec<Action>) {
        self.end(EndedBy::Local, cause, Some(cause.sip_status()), out);
    }

    /// Fires what is due.
    pub(super) fn due(&mut self, now: i64, out: &mut Vec<Action>) {
        if now >= self.next() {
            self.end(EndedBy::Local, Cause::NoAnswer, Some(487), out);
        }
    }

    // --- what follows from it

    fn establish(&mut self, out: &mut Vec<Action>) {
        let Some(codec) = self.session.remote().map(|remote| remote.codec) else {
            return self.end(EndedBy::Local, Cause::MediaIncompatible, Some(488), out);
        };
        self.phase = Phase::Up;
        self.incoming = None;
        out.push(Action::Established);
        out.push(Action::Event(LegEvent::Answered { codec }));
        out.push(Action::Tell(Down::Answered { id: self.name.clone() }));
        self.tell_hold(out);
    }

    /// What is agreed, less what either side's hold takes away.
    fn media(&self) -> Option<Action> {
        let mut remote = self.session.remote()?.clone();
        let agreed = remote.direction;
        remote.direction = Direction::of(agreed.sends() && !self.held, agreed.receives() && !self.holding);
        Some(Action::Media(Box::new(remote)))
    }

    /// Tells the call above when the phone's wish to hold has changed.
    fn tell_hold(&mut self, out: &mut Vec<Action>) {
        let held = self.held || self.session.is_held();
        if self.phase == Phase::Up && held != self.told_held {
            self.told_held = held;
            out.push(Action::Event(if held { LegEvent::Held } else { LegEvent::Resumed }));
        }
    }

    fn hold_frame(&self, on: bool, by: Side) -> Action {
        let id = self.name.clone();
        Action::Tell(if on { Down::Held { id, by } } else { Down::Resumed { id, by } })
    }

    fn end(&mut self, by: EndedBy, cause: Cause, sip_code: Option<u16>, out: &mut Vec<Action>) {
        if std::mem::replace(&mut self.phase, Phase::Over) == Phase::Over {
            return;
        }
        let side = match by {
            EndedBy::Remote => Side::Phone,
            EndedBy::Local => Side::Server,
        };
        let id = self.name.clone();
        out.push(Action::Tell(Down::Ended { id, cause: cause.as_str().to_owned(), sip_code, by: side }));
        out.push(Action::Ended(LegEnd { cause, by, sip_code, q850: None }));
    }

    fn wrong_state(&self) -> Action {
        Action::Tell(fault(Fault::WrongState, "the call is not in a state for that", &self.name, None))
    }
}

/// An `error` frame about a call.
pub(super) fn fault(code: Fault, message: impl ToString, call: &str, field: Option<&str>) -> Down {
    Down::Error { code, message: message.to_string(), id: Some(call.to_owned()), field: field.map(str::to_owned) }
}
