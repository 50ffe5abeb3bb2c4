//! The calls that are up on this node: how a request from anywhere reaches the task that owns one.
//!
//! Invariant: an entry lives as long as its [`Ticket`], which the call holds until it is completed;
//! the number of entries is bounded by the organisations' limits of concurrent calls.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kernel::limit::Place;
use tokio_util::sync::CancellationToken;

/// Maps of their own, so that set-ups on many cores do not queue for one lock.
const SHARDS: usize = 16;

type Shard = Mutex<HashMap<Arc<str>, LiveCall>>;

struct LiveCall {
    org: Arc<str>,
    hangup: CancellationToken,
}

/// Who wants a call to end, and not its driver or its parties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndWanted {
    /// A request by API.
    ByApi,
    /// The server stops.
    ByStop,
}

/// The calls that are up.
pub(crate) struct Registry {
    shards: [Shard; SHARDS],
    hasher: RandomState,
    /// Every call is to end: the server stops.
    stopping: CancellationToken,
}

/// A call's entry and its place under the limit; dropped, both are free.
pub(crate) struct Ticket {
    registry: Arc<Registry>,
    id: Arc<str>,
    hangup: CancellationToken,
    _place: Place,
}

impl Registry {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { shards: Default::default(), hasher: RandomState::new(), stopping: CancellationToken::new() })
    }

    /// Enters a call.
    pub(crate) fn enter(self: &Arc<Self>, org: &Arc<str>, id: &Arc<str>, place: Place) -> Ticket {
        let hangup = CancellationToken::new();
        let entry = LiveCall { org: org.clone(), hangup: hangup.clone() };
        self.shard(id).insert(id.clone(), entry);
        Ticket { registry: self.clone(), id: id.clone(), hangup, _place: place }
    }

    /// Asks the owner of a call to hang up; false when the organisation has no such call up here.
    pub(crate) fn hangup(&self, org: &str, id: &str) -> bool {
        let shard = self.shard(id);
        let Some(call) = shard.get(id).filter(|call| &*call.org == org) else { return false };
        call.hangup.cancel();
        true
    }

    /// How many calls are up.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    /// Asks the owners of all calls, of later ones too, to end them.
    pub(crate) fn end_all(&self) {
        self.stopping.cancel();
    }

    #[expect(clippy::indexing_slicing, reason = "the index is taken modulo the length")]
    fn shard(&self, id: &str) -> MutexGuard<'_, HashMap<Arc<str>, LiveCall>> {
        let index = self.hasher.hash_one(id) as usize % SHARDS;
        lock(&self.shards[index])
    }
}

impl Ticket {
    /// Returns when somebody wants the call to end.
    pub(crate) async fn end_wanted(&self) -> EndWanted {
        tokio::select! {
            biased;
            () = self.hangup.cancelled() => EndWanted::ByApi,
            () = self.registry.stopping.cancelled() => EndWanted::ByStop,
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.registry.shard(&self.id).remove(&self.id);
    }
}

fn lock(shard: &Shard) -> MutexGuard<'_, HashMap<Arc<str>, LiveCall>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
