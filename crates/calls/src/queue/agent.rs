//! One agent: a member of teams, with the phone it answers and what it says of itself.
//!
//! Invariant: an agent has one [`Duty`] at a time, so that nobody is offered two calls.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::floor::Place;

/// What a person says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Availability {
    /// Takes calls of its teams. Whoever never said anything does.
    #[default]
    Available,
    /// Takes none.
    Away,
}

impl Availability {
    /// As its row has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Away => "away",
        }
    }

    /// Reads what [`Availability::as_str`] writes; anything else takes no calls.
    #[must_use]
    pub fn of(word: &str) -> Self {
        if word == "available" { Self::Available } else { Self::Away }
    }
}

/// What others see of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AgentState {
    /// Can be offered a call, if a phone is registered.
    Available,
    /// Rings or talks.
    Busy,
    /// Writes up the last call.
    WrapUp,
    /// Takes no calls.
    Away,
}

/// What is known of an agent's phones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phone {
    /// One is registered.
    pub reachable: bool,
    /// It rings or talks, for whatever reason.
    pub engaged: bool,
}

/// What the floor has an agent do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Duty {
    #[default]
    Free,
    Offered(Place),
    Talking(Place),
}

/// What of a person outlives the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PersonState {
    /// What it says of itself.
    pub availability: Availability,
    /// It writes up its last call until then, in UTC milliseconds; 0 = it does not.
    pub wrap_up_until_ms: i64,
    /// Since when it has had nothing to do, in UTC milliseconds.
    pub since_ms: i64,
}

#[derive(Debug)]
pub(super) struct Agent {
    pub(super) person: Arc<str>,
    pub(super) said: PersonState,
    pub(super) phone: Phone,
    pub(super) duty: Duty,
    /// It let an offer pass and is left alone until then.
    pub(super) passed_until_ms: i64,
}

impl Agent {
    pub(super) fn new(person: Arc<str>, said: PersonState, phone: Phone) -> Self {
        Self { person, said, phone, duty: Duty::Free, passed_until_ms: 0 }
    }

    /// It can be offered a call now.
    pub(super) fn is_idle(&self, now_ms: i64) -> bool {
        let phone_is_free = self.phone.reachable && !self.phone.engaged;
        let rested = self.said.wrap_up_until_ms <= now_ms && self.passed_until_ms <= now_ms;
        phone_is_free && rested && self.duty == Duty::Free && self.said.availability == Availability::Available
    }

    /// It is at work, whether or not it could take a call this moment.
    pub(super) fn is_on_duty(&self) -> bool {
        self.duty != Duty::Free || (self.phone.reachable && self.said.availability == Availability::Available)
    }

    pub(super) fn state(&self, now_ms: i64) -> AgentState {
        if self.duty != Duty::Free || self.phone.engaged {
            AgentState::Busy
        } else if self.said.availability == Availability::Away {
            AgentState::Away
        } else if self.said.wrap_up_until_ms > now_ms {
            AgentState::WrapUp
        } else {
            AgentState::Available
        }
    }

    /// When it may become idle by the passing of time alone.
    pub(super) fn rested_ms(&self, now_ms: i64) -> Option<i64> {
        let until_ms = self.said.wrap_up_until_ms.max(self.passed_until_ms);
        (until_ms > now_ms && self.duty == Duty::Free).then_some(until_ms)
    }
}
