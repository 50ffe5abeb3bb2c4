//! The calls that are up on this node: how a request from anywhere reaches the task that owns one.
//!
//! Invariant: an entry lives as long as its [`Ticket`], which the call holds until it is completed;
//! the number of entries is bounded by the organisations' limits of concurrent calls.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kernel::limit::Place;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use voice::leg::LegId;

use crate::requests::{MAX_REQUESTS, Request};

/// Maps of their own, so that set-ups on many cores do not queue for one lock.
const SHARDS: usize = 16;

type Shard = Mutex<Entries>;

/// The calls and legs whose ids fall into one shard.
#[derive(Default)]
struct Entries {
    calls: HashMap<Arc<str>, LiveCall>,
    /// The call of each leg.
    legs: HashMap<LegId, Arc<str>>,
}

struct LiveCall {
    org: Arc<str>,
    hangup: CancellationToken,
    requests: mpsc::Sender<Request>,
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
    /// What is asked of the call; taken by its owner.
    requests: Option<mpsc::Receiver<Request>>,
    _place: Place,
}

/// A leg's entry; dropped, the leg is of no call.
pub(crate) struct Seat {
    registry: Arc<Registry>,
    leg: LegId,
    call: Arc<str>,
}

impl Registry {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { shards: Default::default(), hasher: RandomState::new(), stopping: CancellationToken::new() })
    }

    /// Enters a call.
    pub(crate) fn enter(self: &Arc<Self>, org: &Arc<str>, id: &Arc<str>, place: Place) -> Ticket {
        let hangup = CancellationToken::new();
        let (sender, requests) = mpsc::channel(MAX_REQUESTS);
        let entry = LiveCall { org: org.clone(), hangup: hangup.clone(), requests: sender };
        self.shard(id).calls.insert(id.clone(), entry);
        Ticket { registry: self.clone(), id: id.clone(), hangup, requests: Some(requests), _place: place }
    }

    /// Enters a leg of a call.
    pub(crate) fn seat(self: &Arc<Self>, leg: &LegId, call: &Arc<str>) -> Seat {
        self.shard(leg).legs.insert(leg.clone(), call.clone());
        Seat { registry: self.clone(), leg: leg.clone(), call: call.clone() }
    }

    /// The call that a leg is of.
    pub(crate) fn call_of(&self, leg: &LegId) -> Option<Arc<str>> {
        self.shard(leg).legs.get(leg).cloned()
    }

    /// Asks something of a call; false when the organisation has no such call up here, or it is asked too much.
    pub(crate) fn ask(&self, org: &str, id: &str, request: Request) -> bool {
        let shard = self.shard(id);
        let call = shard.calls.get(id).filter(|call| &*call.org == org);
        call.is_some_and(|call| call.requests.try_send(request).is_ok())
    }

    /// Asks something of a call that is known to be the right organisation's.
    pub(crate) fn ask_here(&self, id: &str, request: Request) {
        let requests = self.shard(id).calls.get(id).map(|call| call.requests.clone());
        if requests.is_some_and(|requests| requests.try_send(request).is_err()) {
            tracing::warn!(call = %id, "a call takes no more requests");
        }
    }

    /// Asks the owner of a call to hang up; false when the organisation has no such call up here.
    pub(crate) fn hangup(&self, org: &str, id: &str) -> bool {
        let shard = self.shard(id);
        let Some(call) = shard.calls.get(id).filter(|call| &*call.org == org) else { return false };
        call.hangup.cancel();
        true
    }

    /// How many calls are up.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).calls.len()).sum()
    }

    /// Asks the owners of all calls, of later ones too, to end them.
    pub(crate) fn end_all(&self) {
        self.stopping.cancel();
    }

    #[expect(clippy::indexing_slicing, reason = "the index is taken modulo the length")]
    fn shard(&self, id: &str) -> MutexGuard<'_, Entries> {
        let index = self.hasher.hash_one(id) as usize % SHARDS;
        lock(&self.shards[index])
    }
}

impl Ticket {
    /// What is asked of the call: for its one owner.
    pub(crate) fn take_requests(&mut self) -> mpsc::Receiver<Request> {
        // A second taker would find nothing, for ever.
        self.requests.take().unwrap_or_else(|| mpsc::channel(1).1)
    }

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
        self.registry.shard(&self.id).calls.remove(&self.id);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut shard = self.registry.shard(&self.leg);
        // A leg that moved to another call has its entry there.
        if shard.legs.get(&self.leg) == Some(&self.call) {
            shard.legs.remove(&self.leg);
        }
    }
}

fn lock(shard: &Shard) -> MutexGuard<'_, Entries> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
