//! Decides when a receiving host has work, and gives it a courier. No look at the store without a reason: a commit
//! that woke us, a due time that has come, or the rare look for what another process wrote.
//!
//! Invariant: one courier per host at most, and a wake-up that arrives while it works is not forgotten.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Outbox;
use super::courier::Courier;
use crate::args;
use crate::bus::Message;
use crate::db::DbError;

/// Attempts under way in the whole server, at most.
const ATTEMPTS_UNDER_WAY: usize = 256;
/// How often the store is looked at for deliveries that nobody told us of (written by another process).
const LOOK_EVERY_MS: i64 = 10_000;
/// Pause after the store failed a courier.
const AFTER_FAILURE_MS: i64 = 1_000;

crate::statements! {
    HOSTS = "select host, min(due_at) as due_at from delivery where state in ('fast', 'slow') group by host";
}

/// A courier that has nothing to do for now: its host, and when the next delivery is due there.
type Idle = (Arc<str>, Result<Option<i64>, DbError>);

struct Dispatch {
    outbox: Outbox,
    stop: CancellationToken,
    places: Arc<Semaphore>,
    couriers: JoinSet<Idle>,
    /// Hosts with a courier at work.
    working: HashMap<Arc<str>, Arc<Notify>>,
    /// Hosts whose next delivery is due at a later time.
    waiting: HashMap<Arc<str>, i64>,
}

pub(super) async fn run(outbox: Outbox, stop: CancellationToken) {
    let mut news = outbox.bus.subscribe("outbox");
    let mut dispatch = Dispatch {
        outbox,
        stop: stop.clone(),
        places: Arc::new(Semaphore::new(ATTEMPTS_UNDER_WAY)),
        couriers: JoinSet::new(),
        working: HashMap::new(),
        waiting: HashMap::new(),
    };
    let clock = dispatch.outbox.clock.clone();
    let mut next_look_ms = clock.now_ms();
    loop {
        let now_ms = clock.now_ms();
        if now_ms >= next_look_ms {
            dispatch.look_at_all().await;
            next_look_ms = now_ms + LOOK_EVERY_MS;
        }
        dispatch.employ_due(now_ms);
        let next_ms = dispatch.waiting.values().copied().fold(next_look_ms, i64::min);
        tokio::select! {
            () = stop.cancelled() => return,
            () = clock.sleep_until(next_ms) => {}
            message = news.next() => match message {
                Some(Message::Published(host)) => {
                    if let Ok(host) = std::str::from_utf8(&host) {
                        dispatch.wake(Arc::from(host));
                    }
                }
                Some(Message::Lagged) => dispatch.look_at_all().await,
                None => return,
            },
            Some(ended) = dispatch.couriers.join_next() => dispatch.retire(ended),
        }
    }
}

impl Dispatch {
    /// Finds every host that is owed something.
    async fn look_at_all(&mut self) {
        let rows = match self.outbox.db.all(HOSTS, args![]).await {
            Ok(rows) => rows,
            Err(error) => {
                tracing::error!(%error, "cannot look for deliveries");
                return;
            }
        };
        for row in rows {
            if let (Ok(host), Ok(due_ms)) = (row.text("host"), row.int("due_at")) {
                let host: Arc<str> = host.into();
                match self.working.get(&host) {
                    Some(courier) => courier.notify_one(),
                    None => drop(self.waiting.insert(host, due_ms)),
                }
            }
        }
    }

    fn wake(&mut self, host: Arc<str>) {
        match self.working.get(&host) {
            // The permit is kept: a courier that has just looked for the last time looks once more.
            Some(courier) => courier.notify_one(),
            None => self.employ(host),
        }
    }

    fn employ_due(&mut self, now_ms: i64) {
        let due: Vec<_> =
            self.waiting.iter().filter(|(_, due)| **due <= now_ms).map(|(host, _)| host.clone()).collect();
        for host in due {
            self.employ(host);
        }
    }

    fn employ(&mut self, host: Arc<str>) {
        self.waiting.remove(&host);
        let woken = Arc::new(Notify::new());
        self.working.insert(Arc::clone(&host), Arc::clone(&woken));
        let courier = Courier::new(self.outbox.clone(), Arc::clone(&host), Arc::clone(&self.places), woken);
        let stop = self.stop.clone();
        self.couriers.spawn(async move {
            let next_ms = stop.run_until_cancelled_owned(Box::pin(courier.work())).await.unwrap_or(Ok(None));
            (host, next_ms)
        });
    }

    /// A courier has nothing to do for now: until when?
    fn retire(&mut self, ended: Result<Idle, tokio::task::JoinError>) {
        let (host, result) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                // Which host it was is not known any more: the next look at all finds it.
                tracing::error!(%error, "a courier failed");
                self.working.retain(|_, woken| Arc::strong_count(woken) > 1);
                return;
            }
        };
        let woken = self.working.remove(&host);
        match result {
            Ok(Some(due_ms)) => drop(self.waiting.insert(Arc::clone(&host), due_ms)),
            Ok(None) => {}
            Err(error) => {
                tracing::error!(%error, %host, "deliveries to this host pause");
                let again_ms = self.outbox.clock.now_ms() + AFTER_FAILURE_MS;
                self.waiting.insert(host, again_ms);
                return;
            }
        }
        // A wake-up that came after its last look is still in the permit.
        let missed = woken.is_some_and(|woken| {
            use futures_util::FutureExt as _;
            woken.notified().now_or_never().is_some()
        });
        if missed {
            self.employ(host);
        }
    }
}
