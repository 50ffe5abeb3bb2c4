//! A turn in a queue without a call: somebody who is called back keeps his place, and is called when an agent is free.
//!
//! Invariant: whoever drops a turn has left the queue, or ended the agent's part in it.

use std::sync::Arc;

use super::floor::Patience;
use super::seat::{Offer, Seat};
use crate::directory::{Destination, ResolveError};
use crate::service::Calls;

/// A turn.
pub struct Turn {
    seat: Seat,
    offer: Option<Offer>,
    last_offer: u64,
}

impl Calls {
    /// Stands in the queue of a team as of `joined_ms` (UTC milliseconds) for so long; none when the number is that of
    /// nobody who has a queue.
    ///
    /// # Errors
    /// What the store says.
    pub async fn turn(
        &self,
        org: &Arc<str>,
        number: &str,
        joined_ms: i64,
        timeout_ms: i64,
    ) -> Result<Option<Turn>, ResolveError> {
        let team = match self.directory().resolve(org, number).await {
            Ok(Destination::Team(team)) if team.queues() => team,
            Ok(_) | Err(ResolveError::Number(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let patience = Patience { timeout_ms, max_waiting: usize::MAX };
        let seat = self.floors().join(org, &team, patience, Some(joined_ms)).await?;
        Ok(Some(Turn { seat, offer: None, last_offer: 0 }))
    }
}

impl Turn {
    /// Waits for an agent, whose extension is to be rung now; none when it has waited long enough. Safe to give up and
    /// ask again.
    pub async fn agent(&mut self) -> Option<Arc<str>> {
        loop {
            let standing = self.seat.read();
            if standing.left.is_some() {
                return None;
            }
            if let Some(offer) = standing.offer.filter(|offer| offer.number > self.last_offer) {
                self.last_offer = offer.number;
                // One agent is enough: it has been decided who.
                let agent = offer.agents.first().cloned();
                self.offer = Some(offer);
                if agent.is_some() {
                    return agent;
                }
            }
            self.seat.changed().await;
        }
    }

    /// The agent has answered.
    pub fn answered(&mut self) {
        if let Some(Offer { number, agents }) = self.offer.take()
            && let Some(agent) = agents.first()
        {
            self.seat.answered(number, agent);
        }
    }

    /// The agent did not answer; the turn goes on.
    pub fn passed(&mut self) {
        if let Some(offer) = self.offer.take() {
            self.seat.offer_ended(offer.number);
        }
    }
}
