//! One number for each pair: what a party sees instead of the other's, and what brings it back to that other when it calls.
//!
//! [`pool`] chooses (pure), `store` keeps what was chosen. What must not leave on a leg of a pair: the other's number, by
//! any way. Towards the parties all of it is made here: the caller id is a number of the pool, no name goes with it, our
//! signalling and session descriptions are written anew for every leg, and of a party's media only the sound goes on. In
//! rows and events stand the last two digits ([`crate::model::CallModel::shown`]).
//!
//! Invariant: no two open pairs of one organisation share a number towards the same party, unless the pool has none left;
//! then a call back from there is nobody's in particular ([`CallBack::Unclear`]). A pair and its number are written in
//! one commit.

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
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mask {
    /// One of the pool; none when that is empty or both parties are reached by their pages.
    pub number: Option<String>,
    /// Another open pair shows the same number to one of the two: a call back from there does not say which it means.
    pub exhausted: bool,
    /// What makes it so, for the commit of the pair itself. It fails with [`DbError::Conflict`] when another pair has the
    /// number by then: choose again.
    pub writes: Vec<Write>,
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
    /// Chooses a pair's number: the one that it has while that fits. It is the pair's once [`Mask::writes`] are committed,
    /// which also free the numbers of pairs whose time is over.
    ///
    /// # Errors
    /// What the store says.
    pub async fn mask(&self, order: &MaskOrder) -> Result<Mask, DbError> {
        let MaskOrder { org, pair, pool, until_ms, .. } = order;
        let parties: Vec<(PairSide, String)> = [(PairSide::First, &order.first), (PairSide::Second, &order.second)]
            .into_iter()
            .filter_map(|(side, number)| Some((side, line_of(number.as_deref()?))))
            .collect();
        let mut mask = Mask { writes: self.unmask(org, pair), ..Mask::default() };
        if parties.is_empty() || pool.is_empty() {
            return Ok(mask);
        }
        let now_ms = self.kernel().clock.now_ms();
        let db = &self.kernel().db;
        let clis: Vec<&str> = parties.iter().map(|(_, cli)| cli.as_str()).collect();
        let seen = store::seen(db, org, &clis, pair, now_ms).await?;
        mask.number = match pool::choose(pool, &seen) {
            Choice::Free(number) => Some(number),
            Choice::Exhausted => {
                mask.exhausted = true;
                pool::shared(pool, &seen, &store::counts(db, org, now_ms).await?)
            }
        };
        mask.writes.push(store::forget_lapsed(org, now_ms));
        for (side, cli) in &parties {
            let Some(number) = &mask.number else { break };
            let shown = Use { pair, number, cli, side: *side };
            mask.writes.push(if mask.exhausted {
                store::share(org, &shown, *until_ms)
            } else {
                store::claim(org, &shown, *until_ms, now_ms)
            });
        }
        Ok(mask)
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
        let mut found = store::pairs_of(&self.kernel().db, org, &line_of(from), number, now_ms).await?;
        Ok(match (found.pop(), found.is_empty()) {
            (Some((pair, side)), true) => CallBack::Pair { pair, side },
            (Some(_), false) => CallBack::Unclear,
            (None, _) => CallBack::Nobody,
        })
    }
}

/// A party's number as a call from it says it.
#[must_use]
pub fn line_of(number: &str) -> String {
    numbers::public(number).unwrap_or_else(|| number.to_owned())
}
