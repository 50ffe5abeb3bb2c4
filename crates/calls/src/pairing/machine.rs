//! The rules of a pair, without calls or clocks: who is rung when, when the limit ends it, what is said to whom.
//!
//! Invariant: exactly one [`PairEvent::Ended`], as the last thing; every [`PairEvent::Bridged`] is followed by one
//! [`PairEvent::Unbridged`] whose time is never more than the limit that held.

use voice::cause::Cause;

use super::{PairEvent, PairSide, PartedBy};
use crate::model::EndedBy;

/// Longest message to a first party whose second was not reached, in milliseconds: then it is let go.
pub(super) const MESSAGE_MS: i64 = 30_000;

/// What the desk wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairRules {
    /// How long the two may be bridged, in milliseconds.
    pub limit_ms: i64,
    /// So long before that end both are warned, in milliseconds; 0 is never.
    pub warn_ms: i64,
    /// Record while they talk.
    pub record: bool,
}

/// What the machine is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// The first party is on the line.
    FirstThere,
    /// It was not reached.
    FirstNotReached(Cause),
    /// The second party's phone rings.
    SecondRings,
    /// The two are bridged.
    Bridged,
    /// The second party is gone, or was not reached.
    SecondGone(Cause),
    /// The message was heard, or cannot be had.
    MessageHeard,
    /// Both have heard that the call is recorded.
    RecordingKnown,
    /// Another talk limit, in milliseconds.
    Limit(i64),
    /// The desk ends it.
    HangUp(Cause),
    /// The call is over.
    CallEnded(Cause, EndedBy),
    /// Time has passed; see [`Machine::deadline_ms`].
    Tick,
}

/// What the machine wants done, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Tell the desk.
    Tell(PairEvent),
    /// Ring the second party, while the first hears a word and the ringing tone.
    RingSecond,
    /// Tell the first party that the second was not reached, and report when it has heard that.
    Regret,
    /// Tell both that the call is recorded, and report when they have heard it.
    AnnounceRecording,
    /// Record from now on.
    Record,
    /// Warn both that the end is near.
    Warn,
    /// End the call; its end still comes.
    HangUp(Cause, EndedBy),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The first party is rung.
    RingingFirst,
    /// The second party is rung.
    RingingSecond { rang: bool },
    /// The first hears that the second was not reached.
    Regretting { until_ms: i64, cause: Cause },
    /// They talk.
    Talking { since_ms: i64, warned: bool },
    /// The call is being ended.
    Ending,
    /// Nothing is left.
    Over,
}

/// One pair.
#[derive(Debug)]
pub struct Machine {
    rules: PairRules,
    state: State,
}

impl Machine {
    /// A pair whose first party is rung, or about to be answered.
    #[must_use]
    pub fn new(rules: PairRules) -> Self {
        Self { rules, state: State::RingingFirst }
    }

    /// When [`Input::Tick`] is due next, in the clock's milliseconds.
    #[must_use]
    pub fn deadline_ms(&self) -> Option<i64> {
        match self.state {
            State::Regretting { until_ms, .. } => Some(until_ms),
            State::Talking { since_ms, warned } => {
                let end_ms = self.end_ms(since_ms);
                Some(self.warns_at(since_ms).filter(|_| !warned).unwrap_or(end_ms))
            }
            State::RingingFirst | State::RingingSecond { .. } | State::Ending | State::Over => None,
        }
    }

    /// The last thing was said.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// Takes one input at `now_ms` and says what is to be done.
    #[must_use]
    pub fn apply(&mut self, input: Input, now_ms: i64) -> Vec<Effect> {
        match (input, self.state) {
            (_, State::Over) => Vec::new(),
            (Input::CallEnded(cause, by), state) => self.call_ended(cause, by, state, now_ms),
            (Input::Limit(limit_ms), state) => self.limit(limit_ms, state, now_ms),
            (_, State::Ending) => Vec::new(),
            (Input::HangUp(cause), state) => {
                let mut effects = self.parted(state, PartedBy::Desk, now_ms);
                effects.push(self.hang_up(cause, EndedBy::System));
                effects
            }
            (Input::FirstThere, State::RingingFirst) => {
                self.state = State::RingingSecond { rang: false };
                vec![Effect::Tell(PairEvent::FirstAnswered), Effect::RingSecond]
            }
            (Input::FirstNotReached(cause), State::RingingFirst) => {
                vec![not_reached(PairSide::First, cause), self.hang_up(cause, EndedBy::System)]
            }
            (Input::SecondRings, State::RingingSecond { rang: false }) => {
                self.state = State::RingingSecond { rang: true };
                vec![Effect::Tell(PairEvent::SecondRinging)]
            }
            (Input::Bridged, State::RingingSecond { .. }) => self.bridged(now_ms),
            (Input::SecondGone(cause), State::RingingSecond { .. }) => {
                self.state = State::Regretting { until_ms: now_ms + MESSAGE_MS, cause };
                vec![not_reached(PairSide::Second, cause), Effect::Regret]
            }
            (Input::SecondGone(cause), State::Talking { .. }) => {
                let by = if is_loss(cause) { PartedBy::Lost } else { PartedBy::Second };
                let mut effects = self.parted(self.state, by, now_ms);
                effects.push(self.hang_up(Cause::Normal, EndedBy::Target));
                effects
            }
            (Input::MessageHeard, State::Regretting { cause, .. }) => vec![self.hang_up(cause, EndedBy::System)],
            (Input::RecordingKnown, State::Talking { .. }) if self.rules.record => vec![Effect::Record],
            (Input::Tick, state) => self.tick(state, now_ms),
            // It comes too late, or twice.
            _ => Vec::new(),
        }
    }

    fn bridged(&mut self, now_ms: i64) -> Vec<Effect> {
        self.state = State::Talking { since_ms: now_ms, warned: false };
        let mut effects = vec![Effect::Tell(PairEvent::Bridged { at_ms: now_ms })];
        if self.rules.record {
            effects.push(Effect::AnnounceRecording);
        }
        effects
    }

    fn limit(&mut self, limit_ms: i64, state: State, now_ms: i64) -> Vec<Effect> {
        self.rules.limit_ms = limit_ms.max(0);
        let State::Talking { since_ms, warned } = state else { return Vec::new() };
        // Who was warned of an end that has moved away is warned of the new one.
        let still_near = self.warns_at(since_ms).is_some_and(|at_ms| at_ms <= now_ms);
        self.state = State::Talking { since_ms, warned: warned && still_near };
        self.tick(self.state, now_ms)
    }

    fn tick(&mut self, state: State, now_ms: i64) -> Vec<Effect> {
        match state {
            State::Regretting { until_ms, cause } if until_ms <= now_ms => {
                vec![self.hang_up(cause, EndedBy::System)]
            }
            State::Talking { since_ms, .. } if self.end_ms(since_ms) <= now_ms => {
                let mut effects = self.parted(state, PartedBy::Limit, now_ms);
                effects.push(self.hang_up(Cause::TimeLimit, EndedBy::System));
                effects
            }
            State::Talking { since_ms, warned: false }
                if self.warns_at(since_ms).is_some_and(|at_ms| at_ms <= now_ms) =>
            {
                self.state = State::Talking { since_ms, warned: true };
                vec![Effect::Warn]
            }
            _ => Vec::new(),
        }
    }

    fn call_ended(&mut self, cause: Cause, by: EndedBy, state: State, now_ms: i64) -> Vec<Effect> {
        let first = by == EndedBy::Customer && !is_loss(cause);
        let mut effects = match state {
            State::RingingFirst => vec![not_reached(PairSide::First, cause)],
            // The first party did not wait for the second.
            State::RingingSecond { .. } => vec![not_reached(PairSide::Second, cause)],
            _ => self.parted(state, if first { PartedBy::First } else { PartedBy::Lost }, now_ms),
        };
        effects.push(Effect::Tell(PairEvent::Ended { cause }));
        self.state = State::Over;
        effects
    }

    /// They talk no more, if they did.
    fn parted(&self, state: State, by: PartedBy, now_ms: i64) -> Vec<Effect> {
        let State::Talking { since_ms, .. } = state else { return Vec::new() };
        let talked_ms = (now_ms - since_ms).clamp(0, self.rules.limit_ms);
        vec![Effect::Tell(PairEvent::Unbridged { by, talked_ms })]
    }

    fn hang_up(&mut self, cause: Cause, by: EndedBy) -> Effect {
        self.state = State::Ending;
        Effect::HangUp(cause, by)
    }

    fn end_ms(&self, since_ms: i64) -> i64 {
        since_ms.saturating_add(self.rules.limit_ms)
    }

    /// When both are warned; `None` when they are not to be.
    fn warns_at(&self, since_ms: i64) -> Option<i64> {
        let at_ms = self.end_ms(since_ms).saturating_sub(self.rules.warn_ms);
        (self.rules.warn_ms > 0).then(|| at_ms.max(since_ms))
    }
}

fn not_reached(who: PairSide, cause: Cause) -> Effect {
    Effect::Tell(PairEvent::NotReached { who, cause })
}

/// The line went, and nobody wanted it to.
fn is_loss(cause: Cause) -> bool {
    matches!(cause, Cause::MediaTimeout | Cause::Unreachable | Cause::Congestion | Cause::ServerRestart)
}
