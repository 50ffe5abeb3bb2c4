//! A call of two parties who do not learn each other's number: a meeting's, later a chat's or a gig's.
//!
//! The first party is rung, or has dialled in already; when it is there, the second is rung while the first hears a word
//! and the ringing tone; then the two are bridged until one leaves, the talk limit ends it, or the desk does. [`Machine`]
//! holds the rules, `driver` carries them out on a [`Call`], `address` finds a party's phones, `handles` is how a desk
//! reaches a pair that is up. What may leave on a leg of a pair stands in [`crate::masking`].
//!
//! Invariant: a desk hears of each pair exactly one [`PairEvent::Ended`], after it nothing, and one
//! [`PairEvent::Unbridged`] for each [`PairEvent::Bridged`].

mod address;
mod driver;
mod handles;
mod machine;
#[cfg(test)]
mod machine_tests;

use std::sync::Arc;

use kernel::db::Write;
use voice::cause::Cause;
use voice::ports::BoxFuture;

pub(crate) use address::{BROWSER, PartyDial, is_party_line};
pub use address::{PairAddress, PartyLine};
pub use handles::PairHandle;
pub(crate) use handles::Pairs;
pub use machine::{Effect, Input, Machine, PairRules};

use crate::call::Call;
use crate::sentence::Sentence;
use crate::service::Calls;

/// How long each party's phones ring when nobody says otherwise, in milliseconds.
pub const PAIR_RING_MS: i64 = 30_000;

/// What the first party hears while the second is rung.
const WAIT: &str = "Please wait. The other party is being called.";
/// What the first party hears when the second was not reached.
const NO_ANSWER: &str = "The other party cannot be reached now. Please try again later.";
/// What both hear before the talk limit ends the call.
const WARNING: &str = "The time of this call is almost over.";
/// What both hear before the call is recorded.
const RECORDING: &str = "This call is recorded.";

/// Two parties to bring together.
pub struct PairOrder {
    /// Its id, from [`Calls::new_call_id`], so that the desk's own rows can name it in the same commit. That of `inbound`
    /// counts instead, if there is one.
    pub call_id: String,
    /// The organisation.
    pub org: Arc<str>,
    /// Who is rung first.
    pub first: PairParty,
    /// Who is rung when the first is there.
    pub second: PairParty,
    /// The first party's own call, when it has dialled in: it is not rung, and answered if it is not yet. Whatever is
    /// being played to it ends.
    pub inbound: Option<Call>,
    /// How long each one's phones ring, in milliseconds.
    pub ring_ms: i64,
    /// How long the two may be bridged in this call, in milliseconds.
    pub limit_ms: i64,
    /// So long before that end both are warned, in milliseconds; 0 is never. A limit that is shorter warns at once.
    pub warn_ms: i64,
    /// Record while they talk, once both have heard that it is so; without the words nothing is recorded.
    pub record: bool,
    /// What the parties hear.
    pub sounds: PairSounds,
    /// The desk's own rows, committed together with the call's.
    pub writes: Vec<Write>,
}

/// One of the two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairParty {
    /// Where it is reached.
    pub address: PairAddress,
    /// The number that it sees: one of the organisation's own, or none for the organisation's usual one. It sees no number
    /// at all where that would be the other's.
    pub caller_id: Option<String>,
    /// What its page calls the other. A phone is told no name.
    pub peer_name: Option<String>,
}

/// What the parties of a pair hear.
#[derive(Clone, Default)]
pub struct PairSounds {
    /// The first, while the second is rung.
    pub wait: Sentence,
    /// The first, when the second was not reached.
    pub no_answer: Sentence,
    /// Both, before the talk limit.
    pub warning: Sentence,
    /// Both, before the recording.
    pub recording: Sentence,
}

impl PairSounds {
    /// The usual words, which are spoken from now on.
    #[must_use]
    pub fn usual(calls: &Calls) -> Self {
        Self {
            wait: calls.sentence(WAIT),
            no_answer: calls.sentence(NO_ANSWER),
            warning: calls.sentence(WARNING),
            recording: calls.sentence(RECORDING),
        }
    }
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PairSide {
    /// Who began.
    First,
    /// The other.
    Second,
}

impl PairSide {
    /// The word in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Second => "second",
        }
    }

    /// Reads what [`PairSide::as_str`] writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::First, Self::Second].into_iter().find(|side| side.as_str() == text)
    }
}

/// Who or what parted two who talked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartedBy {
    /// The first hung up.
    First,
    /// The second hung up.
    Second,
    /// Nobody of them: a line was lost, the server stops, or an operator hung the call up.
    Lost,
    /// The talk limit.
    Limit,
    /// The desk, by [`PairHandle::hang_up`].
    Desk,
}

/// What a desk hears of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PairEvent {
    /// The first party is there.
    FirstAnswered,
    /// The second party's phone rings.
    SecondRinging,
    /// The two talk.
    Bridged {
        /// Since when, in UTC milliseconds.
        at_ms: i64,
    },
    /// They talk no more.
    Unbridged {
        /// Why.
        by: PartedBy,
        /// How long they talked, in milliseconds; never more than the limit.
        talked_ms: i64,
    },
    /// One was not reached, so that the two did not talk.
    NotReached {
        /// Who.
        who: PairSide,
        /// Why.
        cause: Cause,
    },
    /// The call is over.
    Ended {
        /// Why, as call.completed says it.
        cause: Cause,
    },
}

/// Whoever wanted a pair.
pub trait PairDesk: Send + Sync + 'static {
    /// News of a pair. What comes back is committed with the call's own events, in order. The pair waits meanwhile.
    fn news<'a>(&'a self, call_id: &'a str, event: PairEvent) -> BoxFuture<'a, Vec<Write>>;
}
