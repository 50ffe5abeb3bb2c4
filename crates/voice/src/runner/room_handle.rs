//! The handle of a room: a cheap name for it that opens it, and closes it with its last clone.
//!
//! Invariant: a room lives on one thread, its organisation's, from its opening to its end; legs come to it.

use std::sync::Arc;

use super::mailbox::{Mailbox, RoomOrder};
use super::room::RoomKey;
use crate::leg::{LegEvents, RecordCommand};

/// A room on the media threads. Dropping the last clone closes it: its recording is completed, its members stay, apart.
#[derive(Clone, Debug)]
pub struct Room(pub(super) Arc<RoomHandle>);

/// What the clones of a [`Room`] share.
#[derive(Debug)]
pub(super) struct RoomHandle {
    pub(super) key: RoomKey,
    pub(super) home: Arc<Mailbox>,
}

impl Room {
    /// Opens a room on the thread that reads `home`.
    pub(super) fn open(key: RoomKey, home: Arc<Mailbox>) -> Self {
        home.room_order(key, RoomOrder::Open);
        Self(Arc::new(RoomHandle { key, home }))
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> RoomKey {
        self.0.key
    }

    /// See [`crate::leg::Leg::record_room`].
    pub(crate) fn record(&self, command: RecordCommand, events: LegEvents) {
        self.0.home.room_order(self.0.key, RoomOrder::Record(command, events));
    }
}

impl Drop for RoomHandle {
    fn drop(&mut self) {
        self.home.room_order(self.key, RoomOrder::Close);
    }
}
