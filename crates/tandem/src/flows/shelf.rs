//! Saved flows ready to run: read, opened and checked for one call, kept for the next ones.
//!
//! Invariant: what is found here was read from the store at most [`FRESH_MS`] ago (another process may have changed
//! it since), and never before this process last changed a flow.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::model::Flow;

/// How long a flow is kept without a look at the store, in milliseconds: as long as the directory's answers.
const FRESH_MS: i64 = 250;
/// Flows kept; beyond it all are forgotten.
const MAX_KEPT: usize = 1_000;

/// A flow that can be run at once.
#[derive(Clone)]
pub(super) struct Ready {
    /// The author's name for it.
    pub(super) name: String,
    pub(super) flow: Arc<Flow>,
    pub(super) version: i64,
    /// What its owner has said to callers who are recorded.
    pub(super) announcement: Option<String>,
}

/// What the shelf holds of a flow.
pub(super) enum Found {
    Ready(Ready),
    /// Nothing, or nothing fresh: read it, and [`Shelf::keep`] it with this.
    Nothing(Asked),
}

/// A moment in the shelf's life: what was read before a change is not kept after it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked(u64);

/// See the module.
#[derive(Default)]
pub(super) struct Shelf(Mutex<Kept>);

/// The flows of one organisation by id, each with the time at which it was read, in milliseconds.
type OfOrganisation = HashMap<Box<str>, (i64, Ready)>;

#[derive(Default)]
struct Kept {
    changes: u64,
    flows: HashMap<Box<str>, OfOrganisation>,
    count: usize,
}

impl Shelf {
    /// An organisation's flow, if it is here and fresh.
    pub(super) fn find(&self, org: &str, flow: &str, now_ms: i64) -> Found {
        let kept = self.kept();
        match kept.flows.get(org).and_then(|flows| flows.get(flow)) {
            Some((since_ms, ready)) if (now_ms - since_ms).abs() < FRESH_MS => Found::Ready(ready.clone()),
            _ => Found::Nothing(Asked(kept.changes)),
        }
    }

    /// Keeps what was read from the store since `asked`.
    pub(super) fn keep(&self, asked: Asked, org: &str, flow: &str, ready: &Ready, now_ms: i64) {
        let mut kept = self.kept();
        if asked != Asked(kept.changes) {
            return;
        }
        if kept.count >= MAX_KEPT {
            kept.forget();
        }
        let flows = kept.flows.entry(org.into()).or_default();
        if flows.insert(flow.into(), (now_ms, ready.clone())).is_none() {
            kept.count += 1;
        }
    }

    /// A flow has changed.
    pub(super) fn clear(&self) {
        let mut kept = self.kept();
        kept.changes += 1;
        kept.forget();
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn forget(&mut self) {
        self.flows.clear();
        self.count = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flows::{Purpose, check};
    use serde_json::json;

    fn ready(version: i64) -> Ready {
        let flow = check(&json!({"flow": [{"id": 1, "type": "hangup"}]}), Purpose::Save, 0).flow.unwrap();
        Ready { name: String::new(), flow: Arc::new(flow), version, announcement: None }
    }

    fn version(found: &Found) -> Option<i64> {
        match found {
            Found::Ready(ready) => Some(ready.version),
            Found::Nothing(_) => None,
        }
    }

    fn asked(shelf: &Shelf) -> Asked {
        match shelf.find("org_1", "unknown", 0) {
            Found::Nothing(asked) => asked,
            Found::Ready(_) => unreachable!("nobody keeps it"),
        }
    }

    #[test]
    fn a_flow_is_found_by_its_owner_while_it_is_fresh() {
        let shelf = Shelf::default();
        shelf.keep(asked(&shelf), "org_1", "flow_1", &ready(3), 1_000);
        assert_eq!(version(&shelf.find("org_1", "flow_1", 1_000 + FRESH_MS - 1)), Some(3));
        assert_eq!(version(&shelf.find("org_1", "flow_1", 1_000 + FRESH_MS)), None);
        assert_eq!(version(&shelf.find("org_2", "flow_1", 1_000)), None);
    }

    #[test]
    fn a_change_forgets_what_is_kept_and_what_is_being_read() {
        let shelf = Shelf::default();
        let before = asked(&shelf);
        shelf.keep(before, "org_1", "flow_1", &ready(1), 0);
        shelf.clear();
        assert_eq!(version(&shelf.find("org_1", "flow_1", 0)), None);
        shelf.keep(before, "org_1", "flow_1", &ready(1), 0);
        assert_eq!(version(&shelf.find("org_1", "flow_1", 0)), None);
        shelf.keep(asked(&shelf), "org_1", "flow_1", &ready(2), 0);
        assert_eq!(version(&shelf.find("org_1", "flow_1", 0)), Some(2));
    }

    #[test]
    fn the_shelf_is_bounded() {
        let shelf = Shelf::default();
        let ready = ready(1);
        for number in 0..MAX_KEPT + 5 {
            shelf.keep(asked(&shelf), "org_1", &format!("flow_{number}"), &ready, 0);
        }
        assert_eq!(shelf.kept().count, 5);
        assert_eq!(version(&shelf.find("org_1", "flow_0", 0)), None);
    }
}
