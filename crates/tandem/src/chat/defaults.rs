//! Which application keyless requests of an organisation belong to, remembered for a moment: a flood of them is no flood
//! of reads.
//!
//! Invariant: memory is bounded, and what is older than a second is read again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use kernel::app::App;

use super::model::Id;

/// How old the answer may be, milliseconds.
const FRESH_MS: i64 = 1_000;
/// Organisations that are remembered.
const MAX_REMEMBERED: usize = 1_000;

/// The default applications of organisations, and when each was read.
#[derive(Debug, Default)]
pub(super) struct Defaults(Mutex<HashMap<Id, (Option<App>, i64)>>);

impl Defaults {
    /// What was read less than a second ago.
    pub(super) fn get(&self, org: &Id, now_ms: i64) -> Option<Option<App>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_fresh = |read_ms: &i64| (0..FRESH_MS).contains(&(now_ms - read_ms));
        known.get(org).filter(|(_, read_ms)| is_fresh(read_ms)).map(|(app, _)| app.clone())
    }

    /// Remembers what was read now.
    pub(super) fn put(&self, org: &Id, app: Option<App>, now_ms: i64) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_REMEMBERED {
            known.clear();
        }
        known.insert(org.clone(), (app, now_ms));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_believed_for_a_second_and_for_its_own_organisation() {
        let defaults = Defaults::default();
        let org: Id = "org".into();
        assert!(defaults.get(&org, 1_000).is_none());
        defaults.put(&org, None, 1_000);
        assert!(defaults.get(&org, 1_999).is_some());
        assert!(defaults.get(&org, 2_000).is_none() && defaults.get(&org, 999).is_none());
        assert!(defaults.get(&"org_other".into(), 1_000).is_none());
        for n in 0..2 * MAX_REMEMBERED {
            defaults.put(&n.to_string().into(), None, 1_000);
        }
        assert!(defaults.0.lock().unwrap().len() <= MAX_REMEMBERED);
    }
}
