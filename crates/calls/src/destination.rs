//! What a number leads to: the nouns of the directory.

use std::sync::Arc;

use kernel::RecordError;
use kernel::db::DbError;

use crate::numbers::NumberError;
use crate::queue::TeamStrategy;

/// What a public number reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bound {
    /// A saved flow, by id.
    Flow(String),
    /// A person, by extension.
    Person(String),
    /// A team, by number.
    Team(String),
    /// Masked meetings.
    Meetings,
}

/// A person's extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonEntry {
    /// The extension's number.
    pub extension: Arc<str>,
    /// The person's id.
    pub person: Arc<str>,
    /// Shown to whom it calls.
    pub name: String,
    /// The public number that rings it: its caller id outside.
    pub own_number: Option<String>,
    /// Whoever calls in vain may leave a message.
    pub voicemail: bool,
}

/// A team.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TeamEntry {
    /// `team_...`
    pub id: Arc<str>,
    /// The team's number.
    pub number: Arc<str>,
    /// Its name.
    pub name: String,
    /// In what order its members are offered calls.
    pub strategy: TeamStrategy,
    /// How long a member writes up a call, in milliseconds.
    pub wrap_up_ms: i64,
    /// How long a member's phones ring for one offer, in milliseconds.
    pub ring_ms: i64,
    /// Whoever dials it and waits is told where he stands.
    pub announces: bool,
    /// Extensions.
    pub members: Vec<Arc<str>>,
}

impl TeamEntry {
    /// Whoever calls it waits in its queue, instead of ringing all phones of its members.
    pub fn queues(&self) -> bool {
        self.strategy != TeamStrategy::RingAll
    }
}

/// What a dialled text leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A person's phones.
    Person(PersonEntry),
    /// A team's phones.
    Team(TeamEntry),
    /// A public number of the organisation's own that is bound to something else than people.
    OwnNumber {
        /// With `+`.
        e164: String,
        /// What it reaches.
        bound: Bound,
    },
    /// Somebody outside, by a trunk; with `+`.
    Outside(String),
    /// A SIP address.
    Sip(String),
}

impl Destination {
    /// The call stays inside the organisation.
    pub fn is_inside(&self) -> bool {
        matches!(self, Self::Person(_) | Self::Team(_) | Self::OwnNumber { .. })
    }
}

/// Why a number leads nowhere.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The number.
    #[error(transparent)]
    Number(#[from] NumberError),
    /// The store.
    #[error("the store: {0}")]
    Db(#[from] DbError),
    /// The organisation.
    #[error(transparent)]
    Org(#[from] RecordError),
}
