//! How far a meeting is, and why it ended.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How far a meeting is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Not yet time.
    Scheduled,
    /// Either may call.
    Open,
    /// A call is being set up.
    Connecting,
    /// The two talk.
    Live,
    /// Over, with a [`Cause`].
    Ended,
}

impl State {
    /// All, in the order of a meeting's life.
    pub const ALL: [Self; 5] = [Self::Scheduled, Self::Open, Self::Connecting, Self::Live, Self::Ended];

    /// The word on the wire and in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Open => "open",
            Self::Connecting => "connecting",
            Self::Live => "live",
            Self::Ended => "ended",
        }
    }

    /// Reads what [`State::as_str`] writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// Why a meeting ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The two talked, or it was finished by hand.
    Completed,
    /// Only one side was there, or nobody although the server called by itself.
    NoShow,
    /// The last attempt met a busy line, or was declined.
    Busy,
    /// The last attempt failed.
    Failed,
    /// Called off.
    Cancelled,
    /// Nobody tried.
    Expired,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Completed, Self::NoShow, Self::Busy, Self::Failed, Self::Cancelled, Self::Expired];

    /// The word on the wire and in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::NoShow => "no_show",
            Self::Busy => "busy",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }

    /// Reads what [`Cause::as_str`] writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.as_str() == text)
    }
}
