//! What a statement is given: its arguments, and a write as a value that can be queued, grouped and run again.
//!
//! Invariant: a [`Write`] carries everything it needs, so that the writer may repeat it after a lost connection.

use std::sync::Arc;

/// One argument of a statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Arg {
    /// `text`
    Text(String),
    /// `bigint`
    Int(i64),
    /// `boolean`
    Bool(bool),
    /// `double precision`
    Real(f64),
    /// Null of any type.
    Null,
    /// The next position of the event log, given inside the transaction (see `writer.rs`).
    NextPosition,
    /// The position that the last [`Arg::NextPosition`] of the same group received.
    SamePosition,
}

/// A write as a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// The statement.
    pub sql: &'static str,
    /// Its arguments, `$1` first.
    pub args: Vec<Arg>,
    /// When it matches no row, its whole group is rolled back and the group fails with `DbError::Conflict`.
    pub guard: bool,
    /// Who looks at the store once this is committed.
    pub wake: Wake,
}

/// Whom a commit wakes, by the bus. A wake-up only says "look now": it may be lost, rows may not.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Wake {
    /// Nobody.
    #[default]
    Nobody,
    /// The taps of an organisation: subject `events.ORG`.
    Events(Arc<str>),
    /// The outbox: subject `outbox`, the message is the receiving host.
    Outbox(Arc<str>),
    /// The job runner: subject `jobs`.
    Jobs,
    /// The couriers of notices: subject `notices`.
    Notices,
    /// The courier of push messages: subject `push`.
    Push,
}

impl Write {
    /// A write that may match any number of rows.
    #[must_use]
    pub fn new(sql: &'static str, args: Vec<Arg>) -> Self {
        Self { sql, args, guard: false, wake: Wake::Nobody }
    }

    /// A write that must match a row, or its whole group is rolled back.
    #[must_use]
    pub fn guarded(sql: &'static str, args: Vec<Arg>) -> Self {
        Self { guard: true, ..Self::new(sql, args) }
    }

    /// The same write, waking somebody after its commit.
    #[must_use]
    pub fn waking(self, wake: Wake) -> Self {
        Self { wake, ..self }
    }
}

impl From<&str> for Arg {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}
impl From<String> for Arg {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}
impl From<&String> for Arg {
    fn from(value: &String) -> Self {
        Self::Text(value.clone())
    }
}
impl From<&Arc<str>> for Arg {
    fn from(value: &Arc<str>) -> Self {
        Self::Text(value.to_string())
    }
}
impl From<Arc<str>> for Arg {
    fn from(value: Arc<str>) -> Self {
        Self::from(&value)
    }
}
impl From<&serde_json::Value> for Arg {
    /// JSON is stored as text on both engines.
    fn from(value: &serde_json::Value) -> Self {
        Self::Text(value.to_string())
    }
}
impl From<i64> for Arg {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}
impl From<i32> for Arg {
    fn from(value: i32) -> Self {
        Self::Int(value.into())
    }
}
impl From<u32> for Arg {
    fn from(value: u32) -> Self {
        Self::Int(value.into())
    }
}
impl From<u16> for Arg {
    fn from(value: u16) -> Self {
        Self::Int(value.into())
    }
}
impl From<bool> for Arg {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}
impl From<f64> for Arg {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}
impl<T: Into<Self>> From<Option<T>> for Arg {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
