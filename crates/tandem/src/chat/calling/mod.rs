//! A call in a chat: the visitor and whoever has the room talk, in the page or by the visitor's phone, and the thread
//! tells of it.
//!
//! Whoever has the room is rung first, on its own phones; when it is there, the visitor. Neither learns the other's number
//! (`calls::pairing`). One message of kind `call` stands for the call and is edited as it goes on; its recording lands
//! there when both have heard that they are recorded.
//!
//! Invariant: a room has at most one call that goes on; a number that a visitor names is kept nowhere; a call ends with
//! its room, and whatever a stop of the server cut is told as failed by the next start.

pub mod api;
mod ask;
mod line;
mod model;
mod refusal;
mod settle;
pub(in crate::chat) mod store;
mod watch;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use calls::Calls;
use kernel::limit::{Buckets, Rate};
use kernel::{DbError, Kernel};

use super::Chats;
use super::model::Id;

pub use ask::{Allowed, Asked, Options, Wish};
pub use line::{VisitorPhone, is_phone_token};
pub use model::{By, CallBody, Mode, RoomCall, State};
pub use refusal::CallRefused;

/// Calls to one number of outside, whoever asks for them.
const TO_NUMBER: Rate = Rate::per_hour(3);

/// The calls of chats. Cheap to clone.
#[derive(Clone)]
pub struct ChatCalls(Arc<Inner>);

/// The same, without keeping it alive.
pub(super) struct WeakCalls(Weak<Inner>);

impl WeakCalls {
    pub(super) fn upgrade(&self) -> Option<ChatCalls> {
        self.0.upgrade().map(ChatCalls)
    }
}

struct Inner {
    chats: Chats,
    calls: Calls,
    /// Those that go on here: their rooms, by call.
    here: Mutex<HashMap<Id, Place>>,
    to_number: Buckets<(Id, String)>,
    /// Since when calls may be begun, UTC milliseconds.
    started_ms: i64,
}

/// Where a call belongs.
#[derive(Clone, Debug)]
struct Place {
    org: Id,
    room: Id,
}

impl ChatCalls {
    /// Takes the calls of chats from now on.
    #[must_use]
    pub fn start(chats: &Chats, calls: &Calls) -> Self {
        let mine = Self(Arc::new(Inner {
            chats: chats.clone(),
            calls: calls.clone(),
            here: Mutex::default(),
            to_number: Buckets::new(TO_NUMBER),
            started_ms: chats.now_ms(),
        }));
        chats.take_calls(WeakCalls(Arc::downgrade(&mine.0)));
        chats.kernel().tasks.spawn(watch::run(mine.clone()));
        mine
    }

    /// Settles what a stop of this node cut: each such call is told as failed, and recordings that were finished
    /// meanwhile land. Call it after `Calls::recover`.
    ///
    /// # Errors
    /// What the store says; ask again.
    pub async fn recover(&self) -> Result<(), DbError> {
        settle::recover(self).await
    }

    fn chats(&self) -> &Chats {
        &self.0.chats
    }

    fn calls(&self) -> &Calls {
        &self.0.calls
    }

    fn kernel(&self) -> &Kernel {
        self.0.chats.kernel()
    }

    fn now_ms(&self) -> i64 {
        self.0.chats.now_ms()
    }

    fn here(&self) -> MutexGuard<'_, HashMap<Id, Place>> {
        self.0.here.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
