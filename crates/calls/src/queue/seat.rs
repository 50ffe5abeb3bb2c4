//! A caller's seat: how the task of a call hears from the floor, and tells it what became of an offer.
//!
//! Invariant: whoever drops a seat has left; the floor never waits for its callers.

use std::sync::Arc;

use tokio::sync::watch;

use super::floor::{Input, Left, Place};
use super::floors::OrgFloor;

/// An offer to be rung.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) number: u64,
    pub(crate) agents: Vec<Arc<str>>,
}

/// How a caller left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leaving {
    pub(crate) why: Left,
    pub(crate) position: usize,
    pub(crate) waited_ms: i64,
}

/// What the floor wants of a caller now: a state and not a message, so that nothing can be missed or pile up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// 1 is next.
    pub(crate) position: usize,
    pub(crate) expected_ms: Option<i64>,
    /// Ring these agents; none = ring nobody.
    pub(crate) offer: Option<Offer>,
    /// The number of the last offer that was withdrawn; 0 = none was. Whoever never saw that offer ends it all the same.
    pub(crate) withdrawn: u64,
    /// It no longer waits.
    pub(crate) left: Option<Leaving>,
}

/// A caller's seat.
pub(crate) struct Seat {
    floor: Arc<OrgFloor>,
    place: Place,
    standing: watch::Receiver<Standing>,
}

impl Seat {
    pub(super) fn new(floor: Arc<OrgFloor>, place: Place, standing: watch::Receiver<Standing>) -> Self {
        Self { floor, place, standing }
    }

    /// Returns when there is something new to read.
    pub(crate) async fn changed(&mut self) {
        if self.standing.changed().await.is_err() {
            // The floor holds the other end as long as the seat is taken.
            std::future::pending().await
        }
    }

    /// What the floor wants now.
    pub(crate) fn read(&mut self) -> Standing {
        self.standing.borrow_and_update().clone()
    }

    /// An agent has taken the call.
    pub(crate) fn answered(&self, offer: u64, agent: &str) {
        self.floor.apply(Input::Answered { place: self.place, offer, agent: agent.into() });
    }

    /// Nobody did.
    pub(crate) fn offer_ended(&self, offer: u64) {
        self.floor.apply(Input::OfferEnded { place: self.place, offer });
    }

    /// The agent is gone, the caller is not.
    pub(crate) fn talk_ended(&self, lost: bool) {
        self.floor.apply(Input::TalkEnded { place: self.place, lost });
    }

    /// The caller goes.
    pub(crate) fn leave(&self, why: Left) {
        self.floor.apply(Input::Leave { place: self.place, why });
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.leave(Left::Hangup);
        self.floor.forget(self.place);
    }
}
