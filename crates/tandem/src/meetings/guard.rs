//! Who guesses PINs: a line that entered too many wrong ones is refused for a while.
//!
//! Invariant: memory is bounded whatever the number of lines. Lines that withhold their number count as one.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Wrong PINs after which a line is refused.
const MAX_WRONG: u32 = 9;
/// How long it is refused, and after how long without a wrong one its count is forgotten, in milliseconds.
const REFUSED_MS: i64 = 10 * 60_000;
/// Lines remembered; beyond it those whose time is over are forgotten, then all.
const MAX_LINES: usize = 65_536;

#[derive(Clone, Copy, Debug, Default)]
struct Line {
    wrong: u32,
    last_ms: i64,
}

impl Line {
    fn is_over(self, now_ms: i64) -> bool {
        now_ms.saturating_sub(self.last_ms) >= REFUSED_MS
    }
}

/// Counts wrong PINs by organisation and line.
#[derive(Debug, Default)]
pub(super) struct PinGuard(Mutex<HashMap<(String, String), Line>>);

impl PinGuard {
    /// Takes a guess of a line, which counts as wrong until it was right; false when the line is refused. Calls of one
    /// line at the same time have no more guesses than one call.
    pub(super) fn guess(&self, org: &str, line: &str, now_ms: i64) -> bool {
        if self.is_refused(org, line, now_ms) {
            return false;
        }
        self.wrong(org, line, now_ms);
        true
    }

    /// The guess was right: it does not count. It forgives no other: who has one PIN could guess others between.
    pub(super) fn right(&self, org: &str, line: &str) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = lines.get_mut(&(org.to_owned(), line.to_owned())) {
            line.wrong = line.wrong.saturating_sub(1);
        }
    }

    /// Whether a line is refused now, with the right PIN too.
    pub(super) fn is_refused(&self, org: &str, line: &str, now_ms: i64) -> bool {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (org.to_owned(), line.to_owned());
        lines.get(&key).is_some_and(|line| line.wrong >= MAX_WRONG && !line.is_over(now_ms))
    }

    fn wrong(&self, org: &str, line: &str, now_ms: i64) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (org.to_owned(), line.to_owned());
        if lines.len() >= MAX_LINES && !lines.contains_key(&key) {
            lines.retain(|_, line| !line.is_over(now_ms));
            if lines.len() >= MAX_LINES {
                lines.clear();
            }
        }
        let line = lines.entry(key).or_default();
        if line.is_over(now_ms) {
            line.wrong = 0;
        }
        *line = Line { wrong: line.wrong + 1, last_ms: now_ms };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_at_the_same_time_are_counted_and_right_ones_are_not() {
        let guard = PinGuard::default();
        let taken = (0..50).filter(|_| guard.guess("org", "+4420", 0)).count();
        assert_eq!(taken, 9, "none of them is known to be wrong yet");
        guard.right("org", "+4420");
        assert!(guard.guess("org", "+4420", 1) && !guard.guess("org", "+4420", 1));
    }

    #[test]
    fn nine_wrong_pins_refuse_a_line_for_ten_minutes_and_no_other() {
        let guard = PinGuard::default();
        for n in 0..9 {
            assert!(!guard.is_refused("org", "+4420", n));
            guard.wrong("org", "+4420", n);
        }
        assert!(guard.is_refused("org", "+4420", 9));
        assert!(!guard.is_refused("org", "+4421", 9) && !guard.is_refused("other", "+4420", 9));
        assert!(guard.is_refused("org", "+4420", 8 + REFUSED_MS - 1));
        assert!(!guard.is_refused("org", "+4420", 8 + REFUSED_MS));
        guard.wrong("org", "+4420", 8 + REFUSED_MS);
        assert!(!guard.is_refused("org", "+4420", 8 + REFUSED_MS), "counted anew");
    }
}
