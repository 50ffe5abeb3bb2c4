//! The back of the agents' inbox: who takes chats and who gets which, hand-overs, canned replies, tags, macros, a
//! visitor's card, search and reports.
//!
//! Invariant: nothing is done in a room but through the desk, with the rights of whoever does it.

mod agents;
pub(super) mod api;
mod assignment;
mod canned;
mod card;
mod floor;
mod keeping;
mod macros;
mod moves;
mod queue;
mod report;
mod reports;
mod search;
mod store;
mod tags;
#[cfg(test)]
mod tests;
mod words;

use kernel::{Db, DbError, Write};

pub use agents::AgentNews;
pub(super) use queue::Inbox;
pub(super) use search::Unread;
pub(super) use store::Visit;

use super::Chats;
use super::model::{Note, Room, Sender};

impl Chats {
    /// Sets the inbox to work: rooms are given away, what is said can be found.
    pub fn open_inbox(&self) {
        self.staff();
        self.index();
    }
}

/// What follows in the inbox when a room has changed.
pub(super) fn change_writes(before: &Room, after: &Room, by: &Sender, now_ms: i64) -> Vec<Write> {
    store::change_writes(before, after, by, now_ms)
}

/// A room that somebody else answers, a flow: it is given to nobody until it changes, or [`release_write`].
#[must_use]
pub fn hold_write(org: &str, room: &str, now_ms: i64) -> Write {
    store::wait_write(org, room, now_ms, None, true)
}

/// A room that was held waits from now on.
pub(super) fn release_write(org: &str, room: &str, now_ms: i64) -> Write {
    store::wait_write(org, room, now_ms, None, false)
}

/// The tags of a room.
pub(super) async fn tags(db: &Db, org: &str, room: &str) -> Result<Vec<String>, DbError> {
    store::tags(db, org, room).await
}

/// From where a visitor opened a room.
pub(super) async fn visit(db: &Db, org: &str, room: &str) -> Result<Visit, DbError> {
    store::visit(db, org, room).await
}

/// The words of a note can be found.
pub(super) fn note_write(org: &str, note: &Note) -> Write {
    store::search::note_words_write(org, note)
}

/// The words of a message cannot be found any more.
pub(super) fn unsay_write(org: &str, room: &str, seq: i64) -> Write {
    store::search::take_words_write(org, room, seq)
}

/// Nothing of the inbox is left of a room.
pub(super) fn forget_writes(org: &str, room: &str) -> Vec<Write> {
    store::forget_writes(org, room)
}
