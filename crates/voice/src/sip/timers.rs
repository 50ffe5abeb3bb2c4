//! Deadlines of many things, soonest first.
//!
//! An entry is only a reminder to look: whoever it names says by itself whether something is due, and
//! sets another when it is not yet. So nothing is ever taken out early.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::transaction::NEVER;

/// Reminders by time.
#[derive(Debug)]
pub(crate) struct Timers<K> {
    heap: BinaryHeap<Reverse<(i64, K)>>,
}

impl<K: Ord> Timers<K> {
    pub(crate) fn new() -> Self {
        Self { heap: BinaryHeap::new() }
    }

    /// Reminds of `key` at a time; of `NEVER` not at all.
    pub(crate) fn set(&mut self, at: i64, key: K) {
        if at != NEVER {
            self.heap.push(Reverse((at, key)));
        }
    }

    /// When the next reminder is.
    pub(crate) fn next(&self) -> i64 {
        self.heap.peek().map_or(NEVER, |Reverse((at, _))| *at)
    }

    /// Takes a reminder that is due.
    pub(crate) fn due(&mut self, now: i64) -> Option<K> {
        if self.next() > now {
            return None;
        }
        self.heap.pop().map(|Reverse((_, key))| key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reminders_come_in_order_and_not_before_their_time() {
        let mut timers = Timers::new();
        for (at, key) in [(30, 'c'), (10, 'a'), (NEVER, 'x'), (20, 'b')] {
            timers.set(at, key);
        }
        assert_eq!((timers.next(), timers.due(5)), (10, None));
        assert_eq!([timers.due(25), timers.due(25), timers.due(25)], [Some('a'), Some('b'), None]);
        assert_eq!((timers.due(30), timers.next()), (Some('c'), NEVER));
    }
}
