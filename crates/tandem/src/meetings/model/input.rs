//! What can happen to a meeting, and why it may be refused.

use super::{Actor, PartyChange, ProposedTime, Role};

/// One thing that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Time has passed: see [`super::Meeting::next_due_ms`]. When [`super::Meeting::is_auto_start_due`] says so, the
    /// input is [`Input::AutoStart`] or [`Input::Vetoed`] instead.
    Due,
    /// A party wants to be connected; it is rung first.
    Call {
        /// Who is rung first.
        by: Role,
    },
    /// A party has dialled in and is there.
    DialIn {
        /// Who.
        by: Role,
    },
    /// The server calls by itself, once; the caller is rung first. Does nothing when a party was quicker.
    AutoStart,
    /// The application's hook did not allow a call: of this party, or of the server (none).
    Vetoed {
        /// Whose.
        by: Option<Role>,
    },
    /// The call of an attempt tells something. News of an older attempt is passed over.
    Heard {
        /// As [`super::Effect::Ring`] said.
        attempt: u32,
        /// What.
        news: News,
    },
    /// The two may talk longer.
    Extend {
        /// Who gives it.
        by: Actor,
        /// By how much, milliseconds.
        ms: i64,
    },
    /// It is over, and well.
    Finish {
        /// Who says so.
        by: Actor,
    },
    /// It is called off.
    Cancel {
        /// By whom.
        by: Actor,
    },
    /// A party would like another time.
    Propose {
        /// Who.
        by: Role,
        /// UTC milliseconds.
        starts_ms: i64,
        /// The longest talk, milliseconds; none = as it is.
        duration_ms: Option<i64>,
    },
    /// The other party agrees.
    Confirm {
        /// Who agrees.
        by: Role,
        /// To what; none = to whatever is proposed.
        to: Option<ProposedTime>,
    },
    /// The other party does not agree, or the proposer takes it back.
    Decline {
        /// Who.
        by: Role,
        /// What; none = whatever is proposed.
        what: Option<ProposedTime>,
    },
    /// The application changes it: a second POST of the order, or a PATCH.
    Change(Box<Change>),
    /// The server has started again; calls of before are gone.
    Restarted {
        /// Its last sign of life, UTC milliseconds.
        died_ms: i64,
    },
}

/// What the application changes, field by field, so that two changes at once are both made. None = as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Who ordered.
    pub caller: PartyChange,
    /// Who is called.
    pub receiver: PartyChange,
    /// UTC milliseconds; one that is past is taken as at the first order.
    pub starts_ms: Option<i64>,
    /// The longest talk, milliseconds; extensions come on top.
    pub duration_ms: Option<i64>,
}

/// What a meeting's call tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// Who was rung first has answered; the other is rung.
    FirstAnswered,
    /// One of the two was not reached; the call is over.
    NotReached {
        /// Who.
        who: Role,
        /// How.
        miss: Miss,
    },
    /// The two talk.
    Bridged,
    /// They no longer do.
    Unbridged {
        /// Why.
        why: Parting,
        /// How long they did, milliseconds.
        talked_ms: i64,
    },
}

/// Why a party was not reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Miss {
    /// It rang, and nobody came.
    NoAnswer,
    /// Busy, or declined.
    Busy,
    /// No such number, no carrier, no page open.
    Failed,
    /// The party that was there did not wait.
    GaveUp,
}

impl Miss {
    /// The word in events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoAnswer => "no_answer",
            Self::Busy => "busy",
            Self::Failed => "failed",
            Self::GaveUp => "gave_up",
        }
    }
}

/// Why two that talked were parted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Parting {
    /// A party hung up.
    HungUp(Role),
    /// A leg was lost.
    Lost,
    /// The talk limit.
    Limit,
    /// We ended the call; the meeting knows why.
    Desk,
}

/// Why an input was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A call before the meeting opens.
    #[error("the meeting is not open yet")]
    TooEarly,
    /// It has ended.
    #[error("the meeting has ended")]
    Ended,
    /// A call is being set up or under way.
    #[error("the meeting's call is under way")]
    InCall,
    /// It was never open, so it can be cancelled but not finished.
    #[error("the meeting has not begun: it can be cancelled")]
    NotBegun,
    /// A party may not extend it by so much.
    #[error("the meeting may be extended by {left_ms} ms at most")]
    ExtendLimit {
        /// What is left, milliseconds.
        left_ms: i64,
    },
    /// A length, or a step of it, out of range.
    #[error("the talk may last from 1 to 480 minutes")]
    Duration,
    /// A proposed time that is over, or too far ahead.
    #[error("the proposed time is over or too far ahead")]
    NoSuchTime,
    /// Nothing is proposed.
    #[error("no other time is proposed")]
    NothingProposed,
    /// The proposer confirms the own proposal.
    #[error("the other party confirms a proposal")]
    OwnProposal,
    /// Another time is proposed than the one that was answered.
    #[error("another time is proposed than the one that was answered")]
    ProposalChanged,
    /// The two proposed too often.
    #[error("too many other times were proposed")]
    TooManyProposals,
    /// One person in both places.
    #[error("caller and receiver are two people")]
    SamePerson,
    /// A party that talks by phone without one.
    #[error("a party that talks by phone has a number")]
    NoNumber {
        /// Who.
        who: Role,
    },
    /// Called too often.
    #[error("the meeting was called too often")]
    TooManyAttempts,
}

impl Refused {
    /// Whether somebody called outside the meeting's time: then [`super::Event::out_of_session`] is told, and who dialled
    /// in hears why.
    #[must_use]
    pub fn is_out_of_session(self) -> bool {
        matches!(self, Self::TooEarly | Self::Ended)
    }

    /// Stable name, as problems carry it.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::TooEarly => "meeting_not_open",
            Self::Ended => "meeting_ended",
            Self::InCall => "meeting_in_call",
            Self::NotBegun => "meeting_not_begun",
            Self::ExtendLimit { .. } => "extend_limit",
            Self::Duration => "duration_out_of_range",
            Self::NoSuchTime => "time_out_of_range",
            Self::NothingProposed => "nothing_proposed",
            Self::OwnProposal => "own_proposal",
            Self::ProposalChanged => "proposal_changed",
            Self::TooManyProposals => "too_many_proposals",
            Self::SamePerson => "same_person",
            Self::NoNumber { .. } => "number_needed",
            Self::TooManyAttempts => "too_many_attempts",
        }
    }
}
