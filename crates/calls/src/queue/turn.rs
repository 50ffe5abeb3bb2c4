//! A turn in a queue without a call: somebody who is called back keeps his place, and is called when agents are free.
//!
//! Invariant: whoever drops a turn has left the queue, or ended the agent's part in it.

use std::sync::Arc;

use super::floor::Patience;
use super::seat::{Offer, Seat};
use crate::directory::{Destination, ResolveError};
use crate::service::Calls;

/// Whose turn.
#[derive(Clone, Copy, Debug)]
pub struct TurnWish<'a> {
    /// The number of a team.
    pub number: &'a str,
    /// He waited in its queue; otherwise only a team whose callers always queue has turns.
    pub has_queued: bool,
    /// Since when he has waited, in UTC milliseconds.
    pub joined_ms: i64,
    /// How long he goes on, in milliseconds.
    pub timeout_ms: i64,
}

/// A turn.
pub struct Turn {
    seat: Seat,
    ring_ms: i64,
    rings_all: bool,
    offer: Option<Offer>,
    last_offer: u64,
}

impl Calls {
    /// Stands in the queue of a team; none when the number is that of nobody who has one.
    ///
    /// # Errors
    /// What the store says.
    pub async fn turn(&self, org: &Arc<str>, wish: TurnWish<'_>) -> Result<Option<Turn>, ResolveError> {
        let TurnWish { number, has_queued, joined_ms, timeout_ms } = wish;
        let team = match self.directory().resolve(org, number).await {
            Ok(Destination::Team(team)) if has_queued || team.queues() => team,
            Ok(_) | Err(ResolveError::Number(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let patience = Patience { timeout_ms, max_waiting: usize::MAX };
        let seat = self.floors().join(org, &team, patience, Some(joined_ms)).await?;
        Ok(Some(Turn { seat, ring_ms: team.ring_ms, rings_all: !team.queues(), offer: None, last_offer: 0 }))
    }
}

impl Turn {
    /// How long an agent's phones ring, in milliseconds.
    #[must_use]
    pub fn ring_ms(&self) -> i64 {
        self.ring_ms
    }

    /// Whether an offer goes to everybody: after one that came to nothing there is nobody else to ask.
    #[must_use]
    pub fn rings_all(&self) -> bool {
        self.rings_all
    }

    /// Waits for agents, whose extensions are to be rung now, together; none when it has waited long enough. Safe to give
    /// up and ask again.
    pub async fn agents(&mut self) -> Option<Vec<Arc<str>>> {
        loop {
            let standing = self.seat.read();
            if standing.left.is_some() {
                return None;
            }
            if standing.withdrawn > self.last_offer {
                self.last_offer = standing.withdrawn;
                self.seat.offer_ended(standing.withdrawn);
                continue;
            }
            if let Some(offer) = standing.offer.filter(|offer| offer.number > self.last_offer) {
                self.last_offer = offer.number;
                let agents = offer.agents.clone();
                self.offer = Some(offer);
                return Some(agents);
            }
            self.seat.changed().await;
        }
    }

    /// This agent has answered.
    pub fn answered(&mut self, agent: &str) {
        if let Some(Offer { number, .. }) = self.offer.take() {
            self.seat.answered(number, agent);
        }
    }

    /// No agent answered; the turn goes on.
    pub fn passed(&mut self) {
        if let Some(offer) = self.offer.take() {
            self.seat.offer_ended(offer.number);
        }
    }
}
