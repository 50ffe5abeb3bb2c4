//! The range of RTP ports, lent out in pairs: an even port for RTP, the odd one after it for RTCP.
//!
//! Invariant: a pair is lent to one leg at a time and returns exactly when its [`PortLease`] is dropped. A returned pair is lent again last,
//! so that late packets of the leg before meet a closed port. Which of those that have rested is lent next nobody can guess.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kernel::Ids;

use super::MediaError;

/// The pool of one server.
#[derive(Debug)]
pub(crate) struct PortPool {
    range: (u16, u16),
    ids: Ids,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    free: VecDeque<u16>,
    lent: usize,
}

impl PortPool {
    /// A pool of the pairs that lie wholly inside `range` (both ends included).
    pub(crate) fn new(range: (u16, u16), ids: Ids) -> Result<Arc<Self>, MediaError> {
        let first = u32::from(range.0).next_multiple_of(2);
        let free: VecDeque<u16> = (first..u32::from(range.1))
            .step_by(2)
            .filter_map(|port| u16::try_from(port).ok())
            .filter(|&port| port != 0)
            .collect();
        if free.is_empty() {
            return Err(MediaError::EmptyRange(range));
        }
        Ok(Arc::new(Self { range, ids, state: Mutex::new(State { free, lent: 0 }) }))
    }

    /// How many pairs there are, lent or not.
    pub(crate) fn pairs(&self) -> usize {
        let state = self.state();
        state.free.len() + state.lent
    }

    /// How many pairs are lent.
    pub(crate) fn lent(&self) -> usize {
        self.state().lent
    }

    /// Lends a pair, by chance, of the half that was returned longest ago.
    pub(crate) fn lend(self: &Arc<Self>) -> Result<PortLease, MediaError> {
        let mut state = self.state();
        let rested = (state.free.len() / 2).max(1);
        let chosen = usize::try_from(self.ids.below(rested as u64)).unwrap_or(0);
        let port = state.free.swap_remove_front(chosen).ok_or(MediaError::NoPort(self.range))?;
        state.lent += 1;
        Ok(PortLease { port, pool: self.clone() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A pair of ports on loan.
#[derive(Debug)]
pub(crate) struct PortLease {
    port: u16,
    pool: Arc<PortPool>,
}

impl PortLease {
    /// The even port, for RTP.
    pub(crate) fn rtp(&self) -> u16 {
        self.port
    }

    /// The odd port after it, for RTCP.
    pub(crate) fn rtcp(&self) -> u16 {
        self.port + 1
    }
}

impl Drop for PortLease {
    fn drop(&mut self) {
        let mut state = self.pool.state();
        state.free.push_back(self.port);
        state.lent -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lends_even_pairs_inside_the_range_and_takes_them_back_last() {
        let pool = PortPool::new((10_001, 10_006), Ids::seeded(1)).unwrap();
        assert_eq!(pool.pairs(), 2);
        let first = pool.lend().unwrap();
        assert_eq!((first.rtp(), first.rtcp()), (10_002, 10_003));
        drop(first);
        let next = pool.lend().unwrap();
        assert_eq!(next.rtp(), 10_004);
        let _again = pool.lend().unwrap();
        assert_eq!(pool.lent(), 2);
        assert!(matches!(pool.lend(), Err(MediaError::NoPort(_))));
        drop(next);
        assert_eq!(pool.lent(), 1);
    }

    #[test]
    fn the_next_port_is_not_the_neighbour_of_the_last() {
        let pool = PortPool::new((10_000, 10_399), Ids::seeded(1)).unwrap();
        let leases: Vec<_> = (0..200).map(|_| pool.lend().unwrap()).collect();
        let neighbours = leases.windows(2).filter(|pair| pair[1].rtp() == pair[0].rtp() + 2).count();
        assert!(neighbours < 50, "{neighbours} of 199");
        let ports: std::collections::BTreeSet<_> = leases.iter().map(PortLease::rtp).collect();
        assert_eq!(ports.len(), 200, "each once");
    }

    #[test]
    fn a_range_without_a_pair_is_refused() {
        for range in [(10_001, 10_002), (10_000, 10_000), (5, 4), (0, 1)] {
            assert!(matches!(PortPool::new(range, Ids::seeded(1)), Err(MediaError::EmptyRange(_))), "{range:?}");
        }
        assert_eq!(PortPool::new((65_534, 65_535), Ids::seeded(1)).unwrap().pairs(), 1);
    }
}
