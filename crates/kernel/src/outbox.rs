//! The outbox: events become deliveries in the commit that logs them, and deliveries find their way by their rows.
//!
//! Invariant: a delivery is owed from that commit on until its row says otherwise, over restarts; at any time at most
//! one event of a key is under way to a webhook in the fast lane, the oldest. Rules: contracts/flows.md, "Delivery".

mod courier;
mod dispatch;
mod target;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

pub use target::{MAX_WEBHOOKS, NewWebhook, Target, Webhook};

use crate::args;
use crate::bus::Bus;
use crate::db::{Arg, Db, DbError, Row, Wake, Write};
use crate::egress::{Egress, EgressRequest};
use crate::events::{Event, event_write};
use crate::ids::Ids;
use crate::secret::{SecretError, Secrets};
use crate::time::Clock;
use crate::webhook::{Answer, lifetime_ms, parse_retry_after};

/// Time for one attempt; the guarded client gives 3 s of it to the connection.
const ATTEMPT_TIMEOUT_MS: u64 = 5_000;
/// How old an organisation's remembered webhooks may be. Another process (the command line) may have changed them.
const TARGETS_FRESH_MS: i64 = 1_000;
/// Organisations whose webhooks are remembered.
const REMEMBERED_ORGS: usize = 10_000;
/// How long a delivery lives that somebody sends again by hand.
const REPLAY_LIFE_MS: i64 = 24 * 3_600_000;
/// Deliveries in one answer, at most.
pub const MAX_PAGE: u32 = 200;

crate::statements! {
    DELIVER = "insert into delivery (webhook, position, org, key, kind, host, state, due_at, expires_at) \
        values ($1, $2, $3, $4, $5, $6, 'fast', $7, $8)";
    OF_WEBHOOK = "select d.position, d.key, d.kind, d.state, d.due_at, d.attempts, e.id from delivery d \
        join event e on e.org = d.org and e.position = d.position \
        where d.org = $1 and d.webhook = $2 and d.position < $3 order by d.position desc limit $4";
    REPLAY = "update delivery set state = 'slow', due_at = $4, expires_at = $5 \
        where org = $1 and webhook = $2 and position = $3";
    // Only while its event is kept: without it there is nothing to send.
    HOST_OF = "select d.host from delivery d join event e on e.org = d.org and e.position = d.position \
        where d.org = $1 and d.webhook = $2 and d.position = $3";
}

/// Why something about webhooks could not be done.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// There is no such webhook.
    #[error("no such webhook")]
    NotFound,
    /// The organisation has as many as it may have.
    #[error("an organisation has at most {MAX_WEBHOOKS} webhooks")]
    TooMany,
    /// A signing secret cannot be sealed or opened: the server's key is not the one it was sealed with.
    #[error("signing secret: {0}")]
    Secret(#[from] SecretError),
    /// The store.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// What is handed to the sender of one attempt.
#[derive(Clone, Debug)]
pub struct Parcel {
    /// Where to.
    pub url: Url,
    /// `POST` or `PUT`.
    pub method: reqwest::Method,
    /// The headers of Standard Webhooks.
    pub headers: Vec<(String, String)>,
    /// The envelope.
    pub body: Bytes,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// For the verdict.
    pub answer: Answer,
    /// For the console, when there was no answer.
    pub error: Option<String>,
}

/// Carries one attempt: the guarded client, or a receiver in a test.
pub trait Post: Send + Sync + 'static {
    /// Sends and waits for the answer, within `ATTEMPT_TIMEOUT_MS`.
    fn post(&self, parcel: Parcel, now_ms: i64) -> BoxFuture<'_, Reply>;
}

impl Post for Egress {
    fn post(&self, parcel: Parcel, now_ms: i64) -> BoxFuture<'_, Reply> {
        Box::pin(async move {
            let request = EgressRequest {
                headers: parcel.headers,
                body: parcel.body,
                timeout_ms: ATTEMPT_TIMEOUT_MS,
                max_body: 0,
                ..EgressRequest::new(parcel.method, parcel.url)
            };
            match self.send(request).await {
                Ok(response) => {
                    let retry_after_ms =
                        response.header("retry-after").and_then(|value| parse_retry_after(value, now_ms));
                    Reply { answer: Answer::Status { code: response.status, retry_after_ms }, error: None }
                }
                Err(error) => Reply { answer: Answer::Nothing, error: Some(error.to_string()) },
            }
        })
    }
}

/// The outbox. Cheap to clone.
#[derive(Clone)]
pub struct Outbox {
    db: Db,
    bus: Bus,
    clock: Clock,
    ids: Ids,
    secrets: Secrets,
    post: Arc<dyn Post>,
    remembered: Arc<Mutex<HashMap<String, Remembered>>>,
}

struct Remembered {
    targets: Arc<[Target]>,
    since_ms: i64,
}

impl std::fmt::Debug for Outbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Outbox")
    }
}

/// One attempt, as the console shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// When, in UTC milliseconds.
    pub at: i64,
    /// How long it took, in milliseconds.
    pub ms: i64,
    /// The status that came back.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub status: Option<u16>,
    /// Why none did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<String>,
}

/// One event on its way to one webhook, as the console shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The event's place in the log; with the webhook's id it names the delivery.
    pub position: i64,
    /// The event's id.
    pub event: String,
    /// Its type.
    pub kind: String,
    /// Its key.
    pub key: String,
    /// `fast`, `slow` (on its way), `done`, `refused`, `expired` or `dropped`.
    pub state: String,
    /// When it is tried next, while it is on its way.
    pub due_ms: i64,
    /// What has been tried.
    pub attempts: Vec<Attempt>,
}

impl Delivery {
    fn from_row(row: &Row) -> Result<Self, DbError> {
        Ok(Self {
            position: row.int("position")?,
            event: row.text("id")?,
            kind: row.text("kind")?,
            key: row.text("key")?,
            state: row.text("state")?,
            due_ms: row.int("due_at")?,
            attempts: row.json("attempts")?,
        })
    }
}

impl Outbox {
    /// The outbox of a store; [`Outbox::start`] sets it to work.
    #[must_use]
    pub fn new(db: Db, bus: Bus, clock: Clock, ids: Ids, secrets: Secrets, post: Arc<dyn Post>) -> Self {
        Self { db, bus, clock, ids, secrets, post, remembered: Arc::default() }
    }

    /// Sets the outbox to work until `stop`: what is owed from before goes out too.
    pub fn start(&self, tasks: &TaskTracker, stop: CancellationToken) {
        tasks.spawn(dispatch::run(self.clone(), stop));
    }

    /// The organisation's webhooks, to be given to [`Outbox::event_writes`]. Answered from memory mostly.
    ///
    /// # Errors
    /// What the store says.
    pub async fn targets(&self, org: &str) -> Result<Arc<[Target]>, DbError> {
        let now_ms = self.clock.now_ms();
        {
            let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(known) =
                remembered.get(org).filter(|known| (0..TARGETS_FRESH_MS).contains(&(now_ms - known.since_ms)))
            {
                return Ok(Arc::clone(&known.targets));
            }
        }
        let targets = match target::load_targets(self, org).await {
            Ok(targets) => targets,
            // While the store cannot be read the last known ones count: an event must not lose its deliveries.
            Err(error) => {
                let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
                let known = remembered.get(org).map(|known| Arc::clone(&known.targets));
                return known.ok_or(error);
            }
        };
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED_ORGS {
            remembered.clear();
        }
        remembered.insert(org.to_owned(), Remembered { targets: Arc::clone(&targets), since_ms: now_ms });
        Ok(targets)
    }

    fn forget_targets(&self, org: &str) {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner).remove(org);
    }

    /// The writes that log an event and owe it to those of `targets` that want it: for one group, in this order.
    #[must_use]
    pub fn event_writes<'a>(event: &Event, targets: impl IntoIterator<Item = &'a Target>) -> Vec<Write> {
        let mut writes = vec![event_write(event)];
        writes.extend(Self::delivery_writes(event, targets));
        writes
    }

    /// The delivery rows alone; they belong behind the event's own write in the same group. None when nobody wants it.
    pub fn delivery_writes<'a>(
        event: &Event,
        targets: impl IntoIterator<Item = &'a Target>,
    ) -> impl Iterator<Item = Write> {
        let expires_ms = event.time_ms.saturating_add(lifetime_ms(&event.kind));
        targets.into_iter().filter(|target| target.wants(&event.kind)).map(move |target| {
            let Event { org, key, kind, time_ms, .. } = event;
            let (id, host) = (&target.id, &target.host);
            let args = args![id, Arg::SamePosition, org, key, kind, host, *time_ms, expires_ms];
            Write::new(DELIVER, args).waking(Wake::Outbox(Arc::clone(host)))
        })
    }

    /// Deliveries to a webhook, newest first, before a position (`None`: from the newest).
    ///
    /// # Errors
    /// What the store says.
    pub async fn deliveries(
        &self,
        org: &str,
        webhook: &str,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<Delivery>, DbError> {
        let args = args![org, webhook, before.unwrap_or(i64::MAX), limit.min(MAX_PAGE)];
        self.db.all(OF_WEBHOOK, args).await?.iter().map(Delivery::from_row).collect()
    }

    /// Sends a delivery again, whatever became of it; the order of its key does not wait for it. False when there is
    /// none.
    ///
    /// # Errors
    /// What the store says.
    pub async fn replay(&self, org: &str, webhook: &str, position: i64) -> Result<bool, DbError> {
        let Some(row) = self.db.one(HOST_OF, args![org, webhook, position]).await? else {
            return Ok(false);
        };
        let now_ms = self.clock.now_ms();
        let again = Write::new(REPLAY, args![org, webhook, position, now_ms, now_ms + REPLAY_LIFE_MS])
            .waking(Wake::Outbox(row.text("host")?.into()));
        let counts = self.db.writer().commit(vec![again]).await?;
        Ok(counts.first().is_some_and(|&count| count > 0))
    }
}
