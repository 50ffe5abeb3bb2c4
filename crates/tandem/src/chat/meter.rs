//! What visitors have used up of their limits (contract chat, "limits"). The rates are each application's own.
//!
//! Invariant: memory is bounded whatever the number of addresses and visitors; people and applications are not counted
//! here, but by their credentials.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use kernel::limit::{Buckets, Rate, RetryAfter, network};
use tokio_util::sync::CancellationToken;

use super::model::Id;
use super::settings::Limits;

/// A visitor's typing is told so often, and so often what stands in the field so far.
const TYPING: Rate = Rate::per_minute(30).bursting(2);
/// What a visitor does beside messages and rooms, each time a write: rate, tell its name, take one more token.
const ACTS: Rate = Rate::per_minute(30).bursting(10);
/// Transcripts of one room, and those asked for from one address.
const MAIL_OF_ROOM: Rate = Rate::per_hour(3);
const MAIL_FROM_ADDRESS: Rate = Rate::per_hour(20);
/// Seconds to wait when a visitor has too many sockets open: one of them may close.
pub(super) const SOCKETS_RETRY_S: u64 = 5;

/// The counts of one server.
#[derive(Debug)]
pub struct Meter {
    sessions: Buckets<(Id, IpAddr)>,
    conversations: Buckets<Id>,
    messages: Buckets<Id>,
    uploads: Buckets<Id>,
    acts: Buckets<Id>,
    typing: Buckets<Id>,
    rests: Buckets<Id>,
    drafts: Buckets<Id>,
    calls: Buckets<Id>,
    mail_of_room: Buckets<Id>,
    mail_from: Buckets<IpAddr>,
    places: Places,
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
            rests: Buckets::new(TYPING),
            drafts: Buckets::new(TYPING),
            calls: Buckets::new(any),
            mail_of_room: Buckets::new(MAIL_OF_ROOM),
            mail_from: Buckets::new(MAIL_FROM_ADDRESS),
            places: Arc::default(),
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

    /// Whether it is told that somebody has stopped typing; a count of its own, so that the end of it is not lost among
    /// the signs before.
    ///
    /// # Errors
    /// When the limit is reached.
    pub fn rest(&self, who: &Id, now_ms: i64) -> Result<(), RetryAfter> {
        self.rests.take(who.clone(), now_ms)
    }

    /// Whether it is shown again what somebody has written so far; the sign of typing that goes with it counts for itself.
    ///
    /// # Errors
    /// How long to wait.
    pub fn draft(&self, who: &Id, now_ms: i64) -> Result<(), RetryAfter> {
        self.drafts.take(who.clone(), now_ms)
    }

    /// A room is sent by mail, as somebody at `address` wishes.
    ///
    /// # Errors
    /// How long to wait.
    pub fn mail(&self, room: &Id, address: IpAddr, now_ms: i64) -> Result<(), RetryAfter> {
        self.mail_from.take(network(address), now_ms)?;
        self.mail_of_room.take(room.clone(), now_ms)
    }

    /// One more stream or waiting request of a visitor; keep the place while it is open.
    ///
    /// # Errors
    /// How long to wait.
    pub fn stream(&self, visitor: &Id, limits: &Limits) -> Result<SocketPlace, RetryAfter> {
        let mut open = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let seats = open.entry(visitor.clone()).or_default();
        if limits.sockets > 0 && seats.len() >= limits.sockets as usize {
            return Err(RetryAfter { seconds: SOCKETS_RETRY_S });
        }
        Ok(SocketPlace::take(seats, &self.places, visitor, None))
    }

    /// One more socket of a visitor. When there are as many as may be, the oldest has to go: the newest is the page that
    /// somebody looks at, and the oldest may be one whose network is gone.
    ///
    /// # Errors
    /// How long to wait, when all places are of streams, which cannot be sent away.
    pub fn socket(&self, visitor: &Id, limits: &Limits) -> Result<SocketPlace, RetryAfter> {
        let mut open = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let seats = open.entry(visitor.clone()).or_default();
        while limits.sockets > 0 && seats.len() >= limits.sockets as usize {
            let oldest = seats.iter().position(|seat| seat.outed.is_some());
            let Some(seat) = oldest.and_then(|at| seats.remove(at)) else {
                return Err(RetryAfter { seconds: SOCKETS_RETRY_S });
            };
            if let Some(outed) = seat.outed {
                outed.cancel();
            }
        }
        Ok(SocketPlace::take(seats, &self.places, visitor, Some(CancellationToken::new())))
    }
}

/// The places of each visitor that are taken, oldest first.
type Places = Arc<Mutex<HashMap<Id, VecDeque<Seat>>>>;

#[derive(Debug)]
struct Seat {
    number: u64,
    /// Tells a socket that it has to go.
    outed: Option<CancellationToken>,
}

/// The place of a visitor's socket; dropped, it is free again.
#[derive(Debug)]
pub struct SocketPlace {
    open: Places,
    visitor: Id,
    number: u64,
    outed: Option<CancellationToken>,
}

impl SocketPlace {
    fn take(seats: &mut VecDeque<Seat>, open: &Places, visitor: &Id, outed: Option<CancellationToken>) -> Self {
        let number = seats.back().map_or(0, |last| last.number + 1);
        seats.push_back(Seat { number, outed: outed.clone() });
        Self { open: Arc::clone(open), visitor: visitor.clone(), number, outed }
    }

    /// Waits until a newer socket of the visitor needs the place.
    pub async fn outed(&self) {
        match &self.outed {
            Some(outed) => outed.cancelled().await,
            None => std::future::pending().await,
        }
    }

    /// Whether it has lost its place.
    fn is_outed(&self) -> bool {
        self.outed.as_ref().is_some_and(CancellationToken::is_cancelled)
    }
}

impl Drop for SocketPlace {
    fn drop(&mut self) {
        if self.is_outed() {
            return;
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seats) = open.get_mut(&self.visitor) {
            seats.retain(|seat| seat.number != self.number);
            if seats.is_empty() {
                open.remove(&self.visitor);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_socket_makes_room_and_streams_do_not() {
        let (meter, ann) = (Meter::default(), Id::from("ann"));
        let limits = Limits { sockets: 2, ..Limits::default() };
        let stream = meter.stream(&ann, &limits).unwrap();
        let first = meter.socket(&ann, &limits).unwrap();
        assert!(meter.stream(&ann, &limits).is_err(), "a stream sends nobody away");
        let second = meter.socket(&ann, &limits).unwrap();
        assert_eq!((first.is_outed(), second.is_outed()), (true, false));
        drop(first);
        let third = meter.socket(&ann, &limits).unwrap();
        assert_eq!((second.is_outed(), third.is_outed()), (true, false), "what was outed gives no place back");
        drop((second, third));
        let _other = meter.stream(&ann, &limits).unwrap();
        assert!(meter.socket(&ann, &limits).is_err(), "both places are of streams");
        assert!(meter.socket(&Id::from("bob"), &limits).is_ok());
        drop(stream);
        assert!(meter.socket(&ann, &limits).is_ok());
    }
}
