//! What visitors have used up of their limits (contract chat, "limits"). The rates are each application's own.
//!
//! Invariant: memory is bounded whatever the number of addresses and visitors; people and applications are not counted
//! here, but by their credentials.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use kernel::limit::{Buckets, Rate, RetryAfter, network};

use super::model::Id;
use super::settings::Limits;

/// A visitor's typing is told so often.
const TYPING: Rate = Rate::per_minute(30).bursting(2);
/// What a visitor does beside messages and rooms, each time a write: rate, tell its name, take one more token.
const ACTS: Rate = Rate::per_minute(30).bursting(10);
/// Transcripts of one room, and those asked for from one address.
const MAIL_OF_ROOM: Rate = Rate::per_hour(3);
const MAIL_FROM_ADDRESS: Rate = Rate::per_hour(20);
/// Seconds to wait when a visitor has too many sockets open: one of them may close.
const SOCKETS_RETRY_S: u64 = 5;

/// The counts of one server.
#[derive(Debug)]
pub struct Meter {
    sessions: Buckets<(Id, IpAddr)>,
    conversations: Buckets<Id>,
    messages: Buckets<Id>,
    uploads: Buckets<Id>,
    acts: Buckets<Id>,
    typing: Buckets<Id>,
    calls: Buckets<Id>,
    mail_of_room: Buckets<Id>,
    mail_from: Buckets<IpAddr>,
    sockets: Arc<Mutex<HashMap<Id, u32>>>,
}

impl Default for Meter {
    fn default() -> Self {
        // The rates that count are given with each question.
        let any = Rate::per_minute(0);
        Self {
            sessions: Buckets::new(any),
            conversations: Buckets::new(any),
            messages: Buckets::new(any),
            uploads: Buckets::new(any),
            acts: Buckets::new(ACTS),
            typing: Buckets::new(TYPING),
            calls: Buckets::new(any),
            mail_of_room: Buckets::new(MAIL_OF_ROOM),
            mail_from: Buckets::new(MAIL_FROM_ADDRESS),
            sockets: Arc::default(),
        }
    }
}

impl Meter {
    /// A new visitor of an application from `address`.
    ///
    /// # Errors
    /// How long to wait.
    pub fn session(&self, app: &Id, address: IpAddr, limits: &Limits, now_ms: i64) -> Result<(), RetryAfter> {
        self.sessions.take_at(limits.sessions(), (app.clone(), network(address)), now_ms)
    }

    /// A new room of a visitor.
    ///
    /// # Errors
    /// How long to wait.
    pub fn conversation(&self, visitor: &Id, limits: &Limits, now_ms: i64) -> Result<(), RetryAfter> {
        self.conversations.take_at(limits.conversations(), visitor.clone(), now_ms)
    }

    /// Something that a visitor has written beside messages and rooms.
    ///
    /// # Errors
    /// How long to wait.
    pub fn act(&self, visitor: &Id, now_ms: i64) -> Result<(), RetryAfter> {
        self.acts.take(visitor.clone(), now_ms)
    }

    /// A message of a visitor, or other words for one, or one taken back.
    ///
    /// # Errors
    /// How long to wait.
    pub fn message(&self, visitor: &Id, limits: &Limits, now_ms: i64) -> Result<(), RetryAfter> {
        self.messages.take_at(limits.messages(), visitor.clone(), now_ms)
    }

    /// An attachment of a visitor.
    ///
    /// # Errors
    /// How long to wait.
    pub fn upload(&self, visitor: &Id, limits: &Limits, now_ms: i64) -> Result<(), RetryAfter> {
        self.uploads.take_at(limits.uploads(), visitor.clone(), now_ms)
    }

    /// A call that a visitor asks for.
    ///
    /// # Errors
    /// How long to wait.
    pub fn call(&self, visitor: &Id, limits: &Limits, now_ms: i64) -> Result<(), RetryAfter> {
        self.calls.take_at(limits.calls(), visitor.clone(), now_ms)
    }

    /// Whether it is told again that somebody types.
    ///
    /// # Errors
    /// How long to wait.
    pub fn typing(&self, who: &Id, now_ms: i64) -> Result<(), RetryAfter> {
        self.typing.take(who.clone(), now_ms)
    }

    /// A room is sent by mail, as somebody at `address` wishes.
    ///
    /// # Errors
    /// How long to wait.
    pub fn mail(&self, room: &Id, address: IpAddr, now_ms: i64) -> Result<(), RetryAfter> {
        self.mail_from.take(network(address), now_ms)?;
        self.mail_of_room.take(room.clone(), now_ms)
    }

    /// One more socket of a visitor; keep the place while it is open.
    ///
    /// # Errors
    /// How long to wait.
    pub fn socket(&self, visitor: &Id, limits: &Limits) -> Result<SocketPlace, RetryAfter> {
        let mut open = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(visitor.clone()).or_insert(0);
        if limits.sockets > 0 && *count >= limits.sockets {
            return Err(RetryAfter { seconds: SOCKETS_RETRY_S });
        }
        *count += 1;
        Ok(SocketPlace { open: Arc::clone(&self.sockets), visitor: visitor.clone() })
    }
}

/// The place of a visitor's socket; dropped, it is free again.
#[derive(Debug)]
pub struct SocketPlace {
    open: Arc<Mutex<HashMap<Id, u32>>>,
    visitor: Id,
}

impl Drop for SocketPlace {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.visitor) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.remove(&self.visitor);
            }
        }
    }
}
