//! How a desk reaches a pair that is up: what it wishes is kept, and the last wish counts.
//!
//! Invariant: a handle is here exactly while its pair's driver runs; a wish that was made is never lost, and never waits
//! for room.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use voice::cause::Cause;

use crate::service::Calls;

/// What the desk wishes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wishes {
    /// Another talk limit, in milliseconds.
    pub(super) limit_ms: Option<i64>,
    /// The end.
    pub(super) hang_up: Option<Cause>,
}

/// A pair that is up, as its desk holds it. Cheap to clone; a pair that is over ignores it.
#[derive(Clone, Debug)]
pub struct PairHandle {
    org: Arc<str>,
    call: Arc<str>,
    wishes: Arc<watch::Sender<Wishes>>,
}

impl PairHandle {
    /// The pair's call.
    #[must_use]
    pub fn call_id(&self) -> &Arc<str> {
        &self.call
    }

    /// Another talk limit, in milliseconds counted from the bridge on: it moves the warning and the end.
    pub fn set_limit(&self, limit_ms: i64) {
        self.wishes.send_modify(|wishes| wishes.limit_ms = Some(limit_ms));
    }

    /// Ends the pair, whatever it is doing; the first cause stands.
    pub fn hang_up(&self, cause: Cause) {
        self.wishes.send_modify(|wishes| {
            wishes.hang_up.get_or_insert(cause);
        });
    }
}

/// The pairs that are up, by call.
#[derive(Debug, Default)]
pub(crate) struct Pairs(Mutex<HashMap<Arc<str>, PairHandle>>);

impl Pairs {
    fn map(&self) -> MutexGuard<'_, HashMap<Arc<str>, PairHandle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A pair's entry; dropped, nobody reaches it any more.
pub(super) struct Entry {
    calls: Calls,
    call: Arc<str>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.calls.pairs().map().remove(&self.call);
    }
}

impl Calls {
    /// The handle of a pair that is up here; `None` when the organisation has no such one.
    #[must_use]
    pub fn pair_handle(&self, org: &str, call: &str) -> Option<PairHandle> {
        self.pairs().map().get(call).filter(|handle| &*handle.org == org).cloned()
    }

    /// Enters a pair: its handle, its entry, and where its driver reads wishes.
    pub(super) fn enter_pair(&self, org: &Arc<str>, call: &Arc<str>) -> (PairHandle, Entry, watch::Receiver<Wishes>) {
        let (sender, wishes) = watch::channel(Wishes::default());
        let handle = PairHandle { org: org.clone(), call: call.clone(), wishes: Arc::new(sender) };
        self.pairs().map().insert(call.clone(), handle.clone());
        (handle, Entry { calls: self.clone(), call: call.clone() }, wishes)
    }
}
