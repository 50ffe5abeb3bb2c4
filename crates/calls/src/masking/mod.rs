//! One number for each pair: what a party sees instead of the other's, and what brings it back to that other when it calls.
//!
//! [`pool`] chooses (pure), `store` keeps what was chosen. What must not leave on a leg of a pair: the other's number, by
//! any way. Towards the parties all of it is made here: the caller id is a number of the pool, no name goes with it, our
//! signalling and session descriptions are written anew for every leg, and of a party's media only the sound goes on. In
//! rows and events stand the last two digits ([`crate::model::CallModel::shown`]).
//!
//! Invariant: no two open pairs of one organisation share a number towards the same party, unless the pool has none left;
//! then a call back from there is nobody's in particular ([`CallBack::Unclear`]).

pub mod pool;
mod store;

#[cfg(test)]
pub(crate) use store::ALL as STATEMENTS;

use std::sync::Arc;

use kernel::db::{DbError, Write};

use self::pool::Choice;
use self::store::Use;
use crate::numbers;
use crate::pairing::PairSide;
use crate::service::Calls;

/// A pair that wants a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaskOrder {
    /// The organisation.
    pub org: Arc<str>,
    /// What pairs them: `meeting/17`.
    pub pair: String,
    /// The numbers to choose from, the preferred first.
    pub pool: Vec<String>,
    /// The first party's number; none when it is reached by its page.
    pub first: Option<String>,
    /// The second party's.
    pub second: Option<String>,
    /// When the number may go to others, in UTC milliseconds.
    pub until_ms: i64,
}

/// What a pair shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mask {
    /// One of the pool; none when that is empty or both parties are reached by their pages.
    pub number: Option<String>,
    /// Another open pair shows the same number to one of the two: a call back from there does not say which it means.
    pub exhausted: bool,
}

/// Whom a call back is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallBack {
    /// For this pair, by the party of it that calls.
    Pair {
        /// What pairs them.
        pair: String,
        /// Who calls.
        side: PairSide,
    },
    /// For one of several pairs.
    Unclear,
    /// For nobody.
    Nobody,
}

impl Calls {
    /// Gives a pair its number, or the same again while that fits; durable when this returns. Numbers of pairs whose time
    /// is over are free again.
    ///
    /// # Errors
    /// What the store says.
    pub async fn mask(&self, order: MaskOrder) -> Result<Mask, DbError> {
        let parties: Vec<(PairSide, String)> = [(PairSide::First, &order.first), (PairSide::Second, &order.second)]
            .into_iter()
            .filter_map(|(side, number)| Some((side, cli(number.as_deref()?))))
            .collect();
        let now_ms = self.kernel().clock.now_ms();
        let db = &self.kernel().db;
        if parties.is_empty() || order.pool.is_empty() {
            db.writer().commit(self.unmask(&order.org, &order.pair)).await?;
            return Ok(Mask::default());
        }
        let clis: Vec<&str> = parties.iter().map(|(_, cli)| cli.as_str()).collect();
        loop {
            let known = store::uses_of(db, &order.org, &clis, &order.pair, now_ms).await?;
            let mask = match pool::choose(&order.pool, &known) {
                Choice::Free(number) => Mask { number: Some(number), exhausted: false },
                Choice::Exhausted => {
                    let counts = store::counts(db, &order.org, now_ms).await?;
                    Mask { number: pool::least_used(&order.pool, &counts), exhausted: true }
                }
            };
            let mut writes = self.unmask(&order.org, &order.pair);
            writes.push(store::forget_lapsed(&order.org, now_ms));
            for (side, cli) in &parties {
                let Some(number) = &mask.number else { break };
                let shown = Use { pair: &order.pair, number, cli, side: *side };
                writes.push(if mask.exhausted {
                    store::share(&order.org, &shown, order.until_ms)
                } else {
                    store::claim(&order.org, &shown, order.until_ms, now_ms)
                });
            }
            match db.writer().commit(writes).await {
                // Another pair was quicker and has the number now: it is chosen again among what is left.
                Err(DbError::Conflict) => {}
                done => return done.map(|_| mask),
            }
        }
    }

    /// The rows that free a pair's number, for the commit that ends the pair.
    #[must_use]
    pub fn unmask(&self, org: &str, pair: &str) -> Vec<Write> {
        vec![store::forget(org, pair)]
    }

    /// Whom a call from `from` to one of the pool is for.
    ///
    /// # Errors
    /// What the store says.
    pub async fn called_back(&self, org: &str, from: &str, number: &str) -> Result<CallBack, DbError> {
        let now_ms = self.kernel().clock.now_ms();
        let mut found = store::pairs_of(&self.kernel().db, org, &cli(from), number, now_ms).await?;
        Ok(match (found.pop(), found.is_empty()) {
            (Some((pair, side)), true) => CallBack::Pair { pair, side },
            (Some(_), false) => CallBack::Unclear,
            (None, _) => CallBack::Nobody,
        })
    }
}

/// A party's number as a call from it says it.
fn cli(number: &str) -> String {
    numbers::public(number).unwrap_or_else(|| number.to_owned())
}
