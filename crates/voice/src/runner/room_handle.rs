//! The handle of a room: a cheap name for it that opens it, and closes it with its last clone.
//!
//! Invariant: a room lives on one thread, its organisation's, from its opening to its end; legs come to it.

use std::sync::Arc;

use super::mailbox::{Mailbox, RoomOrder};
use super::room::RoomKey;
use crate::leg::{LegEvents, LegId, LegSink, RecordCommand};

/// A room on the media threads. Dropping the last clone closes it: its recording is completed, its members stay, apart.
#[derive(Clone, Debug)]
pub struct Room(pub(super) Arc<RoomHandle>);

/// What the clones of a [`Room`] share.
#[derive(Debug)]
pub(super) struct RoomHandle {
    pub(super) key: RoomKey,
    pub(super) home: Arc<Mailbox>,
    id: LegId,
}

impl Room {
    /// Opens a room on the thread that reads `home`. Events about it, which are those of its recordings, go to `sink`
    /// under the name `id`.
    pub(super) fn open(key: RoomKey, home: Arc<Mailbox>, id: LegId, sink: LegSink) -> Self {
        home.room_order(key, RoomOrder::Open(LegEvents::new(id.clone(), Some(sink))));
        Self(Arc::new(RoomHandle { key, home, id }))
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &LegId {
        &self.0.id
    }

    /// Starts, pauses, resumes or ends the recording of what all in the room hear: the same on both channels.
    pub fn record(&self, command: RecordCommand) {
        self.0.home.room_order(self.0.key, RoomOrder::Record(command));
    }
}

impl Drop for RoomHandle {
    fn drop(&mut self) {
        self.home.room_order(self.key, RoomOrder::Close);
    }
}
