//! Rooms whose flow waits for the visitor's first sign: a link that was opened may be a preview, which shall run nothing.
//!
//! Invariant: a room that waits is never overlooked: what does not fit into memory is looked up in the store.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::chat::model::Id;

/// Rooms kept in memory.
pub(super) const MAX_ROOMS: usize = 10_000;

/// See the module.
#[derive(Default)]
pub(super) struct Waiting(Mutex<Rooms>);

#[derive(Default)]
struct Rooms {
    known: HashSet<Id>,
    /// More wait than are known.
    is_incomplete: bool,
}

impl Waiting {
    fn rooms(&self) -> MutexGuard<'_, Rooms> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A room waits.
    pub(super) fn add(&self, room: &Id) {
        let mut rooms = self.rooms();
        if rooms.known.len() < MAX_ROOMS {
            rooms.known.insert(room.clone());
        } else {
            rooms.is_incomplete = true;
        }
    }

    /// Whether a room may wait; it does no longer.
    pub(super) fn take(&self, room: &Id) -> bool {
        let mut rooms = self.rooms();
        rooms.known.remove(room) || rooms.is_incomplete
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_is_woken_once_and_a_crowd_neither_grows_memory_nor_loses_one() {
        let waiting = Waiting::default();
        let room = |n: usize| Id::from(format!("{n}"));
        waiting.add(&room(1));
        assert_eq!((waiting.take(&room(1)), waiting.take(&room(1)), waiting.take(&room(2))), (true, false, false));
        for n in 0..=MAX_ROOMS {
            waiting.add(&room(n));
        }
        assert_eq!(waiting.rooms().known.len(), MAX_ROOMS);
        assert!(waiting.take(&room(MAX_ROOMS)), "it is looked up");
    }
}
