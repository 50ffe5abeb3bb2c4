//! Carries the deliveries of one receiving host: as many at once as that host deserves, in order where order is owed.
//!
//! Invariant: the outcome of an attempt is durable before the next event of its key is looked at. What was sent and
//! not yet recorded when the server died is sent again, with the same `webhook-id`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use url::Url;

use super::target::gone_writes;
use super::{Attempt, Outbox, OutboxError, Parcel};
use crate::args;
use crate::db::{DbError, Row, Write};
use crate::events::Logged;
use crate::webhook::{Answer, Lane, SigningKey, Verdict, judge, signature_header};

/// Attempts to one host at once: while it answers well, and the least while it does not.
const MOST_AT_ONCE: usize = 32;
const LEAST_AT_ONCE: usize = 4;
/// How long a courier believes what it read about a webhook.
const RECIPIENT_FRESH_MS: i64 = 5_000;
/// Webhooks a courier remembers.
const REMEMBERED_RECIPIENTS: usize = 1_000;
/// Attempts kept in a delivery's row: the newest.
const ATTEMPTS_KEPT: usize = 20;

crate::statements! {
    // Due, and in the fast lane only the oldest of its key.
    DUE = "select d.webhook, d.position, d.org, d.key, d.due_at, d.expires_at, d.attempts, \
        e.id, e.kind, e.seq, e.time_at, e.body from delivery d \
        join event e on e.org = d.org and e.position = d.position \
        where d.host = $1 and d.state in ('fast', 'slow') and d.due_at <= $2 and (d.state = 'slow' or not exists \
            (select 1 from delivery b where b.webhook = d.webhook and b.key = d.key and b.state = 'fast' \
            and b.position < d.position)) \
        order by d.due_at, d.position limit $3";
    NEXT_DUE = "select d.due_at from delivery d join event e on e.org = d.org and e.position = d.position \
        where d.host = $1 and d.state in ('fast', 'slow') and (d.state = 'slow' or not exists \
            (select 1 from delivery b where b.webhook = d.webhook and b.key = d.key and b.state = 'fast' \
            and b.position < d.position)) \
        order by d.due_at limit 1";
    RECIPIENT = "select url, method, paused_until_at, disabled_at from webhook where org = $1 and id = $2";
    SETTLE = "update delivery set state = $3, due_at = $4, attempts = $5 \
        where webhook = $1 and position = $2 and state in ('fast', 'slow')";
    PAUSE = "update webhook set paused_until_at = $3 where org = $1 and id = $2";
    SHIFT = "update delivery set due_at = $2 where webhook = $1 and state in ('fast', 'slow') and due_at < $2";
    EXPIRE = "update delivery set state = 'expired' \
        where host = $1 and state in ('fast', 'slow') and expires_at <= $2";
}

/// The courier of one host.
pub(super) struct Courier {
    outbox: Outbox,
    host: Arc<str>,
    places: Arc<Semaphore>,
    woken: Arc<Notify>,
    recipients: HashMap<String, Arc<Recipient>>,
    at_once: usize,
}

/// What an attempt needs to know of its webhook.
struct Recipient {
    url: Url,
    method: reqwest::Method,
    keys: Vec<SigningKey>,
    paused_until_ms: i64,
    read_ms: i64,
}

/// A row of [`DUE`].
struct Due {
    webhook: String,
    org: String,
    due_ms: i64,
    expires_ms: i64,
    attempts: Vec<Attempt>,
    event: Logged,
}

/// Names a delivery.
type Name = (String, i64);

/// What an attempt tells its courier.
struct Attempted {
    name: Name,
    /// The host answered as a healthy one does, whatever it thought of the event.
    healthy: bool,
    /// What was read about the webhook is out of date.
    changed: bool,
    outcome: Result<(), DbError>,
}

impl Courier {
    pub(super) fn new(outbox: Outbox, host: Arc<str>, places: Arc<Semaphore>, woken: Arc<Notify>) -> Self {
        Self { outbox, host, places, woken, recipients: HashMap::new(), at_once: MOST_AT_ONCE }
    }

    /// Works until nothing is due, and says when something is.
    pub(super) async fn work(mut self) -> Result<Option<i64>, DbError> {
        let mut under_way: HashSet<Name> = HashSet::new();
        let mut attempts: JoinSet<Attempted> = JoinSet::new();
        loop {
            let now_ms = self.outbox.clock.now_ms();
            let free = self.at_once.saturating_sub(under_way.len());
            if free > 0 {
                for due in self.due(now_ms, free + under_way.len()).await? {
                    let name = (due.webhook.clone(), due.event.position);
                    if under_way.len() < self.at_once
                        && !under_way.contains(&name)
                        && let Some(recipient) = self.recipient_of(&due, now_ms).await?
                    {
                        under_way.insert(name);
                        let (outbox, places) = (self.outbox.clone(), Arc::clone(&self.places));
                        attempts.spawn(attempt(outbox, places, due, recipient));
                    }
                }
            }
            if under_way.is_empty() {
                return self.next_due().await;
            }
            tokio::select! {
                Some(attempted) = attempts.join_next() => {
                    self.learn(attempted, &mut under_way)?;
                    while let Some(attempted) = attempts.try_join_next() {
                        self.learn(attempted, &mut under_way)?;
                    }
                }
                () = self.woken.notified(), if free > 0 => {}
            }
        }
    }

    fn learn(
        &mut self,
        attempted: Result<Attempted, tokio::task::JoinError>,
        under_way: &mut HashSet<Name>,
    ) -> Result<(), DbError> {
        let attempted = attempted.map_err(|error| DbError::Io(std::io::Error::other(error)))?;
        under_way.remove(&attempted.name);
        if attempted.changed {
            self.recipients.remove(&attempted.name.0);
        }
        self.at_once = if attempted.healthy {
            (self.at_once + 1).min(MOST_AT_ONCE)
        } else {
            (self.at_once / 2).max(LEAST_AT_ONCE)
        };
        attempted.outcome
    }

    async fn due(&self, now_ms: i64, limit: usize) -> Result<Vec<Due>, DbError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = self.outbox.db.all(DUE, args![&self.host, now_ms, limit]).await?;
        let due: Vec<Due> = rows.iter().map(Due::from_row).collect::<Result<_, _>>()?;
        if due.iter().all(|due| due.expires_ms > now_ms) {
            return Ok(due);
        }
        // A backlog that is stale goes in one write; what it held up is seen by the second look.
        self.outbox.db.run(EXPIRE, args![&self.host, now_ms]).await?;
        let rows = self.outbox.db.all(DUE, args![&self.host, now_ms, limit]).await?;
        rows.iter().map(Due::from_row).collect()
    }

    async fn next_due(&self) -> Result<Option<i64>, DbError> {
        self.outbox.db.one(NEXT_DUE, args![&self.host]).await?.map(|row| row.int("due_at")).transpose()
    }

    /// The webhook of a delivery that can be tried now. If it cannot, the row is settled here.
    async fn recipient_of(&mut self, due: &Due, now_ms: i64) -> Result<Option<Arc<Recipient>>, DbError> {
        let known = self
            .recipients
            .get(&due.webhook)
            .filter(|known| (0..RECIPIENT_FRESH_MS).contains(&(now_ms - known.read_ms)));
        let recipient = match known {
            Some(known) => Arc::clone(known),
            None => match self.outbox.recipient(due, now_ms).await {
                Ok(Some(read)) => {
                    let read = Arc::new(read);
                    if self.recipients.len() >= REMEMBERED_RECIPIENTS {
                        self.recipients.clear();
                    }
                    self.recipients.insert(due.webhook.clone(), Arc::clone(&read));
                    read
                }
                Ok(None) => {
                    self.settle_untried(due, "dropped", now_ms).await?;
                    return Ok(None);
                }
                Err(OutboxError::Db(error)) => return Err(error),
                Err(error) => {
                    // Its secret cannot be opened; another start with the right key may.
                    tracing::error!(%error, webhook = due.webhook, "cannot sign a delivery");
                    self.settle_untried(due, "slow", now_ms + 60_000).await?;
                    return Ok(None);
                }
            },
        };
        if recipient.paused_until_ms > now_ms {
            self.outbox.db.run(SHIFT, args![&due.webhook, recipient.paused_until_ms]).await?;
            return Ok(None);
        }
        Ok(Some(recipient))
    }

    async fn settle_untried(&self, due: &Due, state: &'static str, at_ms: i64) -> Result<(), DbError> {
        let attempts = serde_json::json!(due.attempts);
        let args = args![&due.webhook, due.event.position, state, at_ms, &attempts];
        self.outbox.db.run(SETTLE, args).await.map(drop)
    }
}

impl Due {
    fn from_row(row: &Row) -> Result<Self, DbError> {
        Ok(Self {
            webhook: row.text("webhook")?,
            org: row.text("org")?,
            due_ms: row.int("due_at")?,
            expires_ms: row.int("expires_at")?,
            attempts: row.json("attempts")?,
            event: Logged::from_row(row)?,
        })
    }
}

impl Outbox {
    /// Reads a webhook and its live secrets; `None` when it is gone or disabled.
    async fn recipient(&self, due: &Due, now_ms: i64) -> Result<Option<Recipient>, OutboxError> {
        let Some(row) = self.db.one(RECIPIENT, args![&due.org, &due.webhook]).await? else {
            return Ok(None);
        };
        let (Ok(url), None) = (Url::parse(&row.text("url")?), row.opt_int("disabled_at")?) else {
            return Ok(None);
        };
        let mut keys = self.live_keys(&due.org, &due.webhook).await?;
        if keys.is_empty() {
            self.org_secret(&due.org).await?;
            keys = self.live_keys(&due.org, &due.org).await?;
        }
        let method = if row.text("method")? == "PUT" { reqwest::Method::PUT } else { reqwest::Method::POST };
        let paused_until_ms = row.int("paused_until_at")?;
        Ok(Some(Recipient { url, method, keys, paused_until_ms, read_ms: now_ms }))
    }
}

/// One attempt: signed, sent, judged, and its outcome made durable.
async fn attempt(outbox: Outbox, places: Arc<Semaphore>, due: Due, recipient: Arc<Recipient>) -> Attempted {
    // The semaphore is never closed; without a place the attempt would only be unlimited, not wrong.
    let _place = places.acquire().await.ok();
    let began_ms = outbox.clock.now_ms();
    let reply = outbox.post.post(parcel(&due, &recipient, began_ms), began_ms).await;
    let now_ms = outbox.clock.now_ms();

    let mut attempts = due.attempts;
    let status = match reply.answer {
        Answer::Status { code, .. } => Some(code),
        Answer::Nothing => None,
    };
    attempts.push(Attempt { at: began_ms, ms: now_ms - began_ms, status, error: reply.error });
    #[expect(clippy::cast_precision_loss, reason = "below a thousand")]
    let jitter = outbox.ids.below(1_000) as f64 / 1_000.0;
    let verdict = judge(reply.answer, attempts.len(), now_ms, due.expires_ms, jitter);
    attempts.drain(..attempts.len().saturating_sub(ATTEMPTS_KEPT));

    let (state, at_ms) = match verdict {
        Verdict::Delivered => ("done", now_ms),
        Verdict::Refused => ("refused", now_ms),
        Verdict::Gone => ("dropped", now_ms),
        Verdict::Expired => ("expired", now_ms),
        Verdict::Retry { at_ms, lane: Lane::Fast, .. } => ("fast", at_ms),
        Verdict::Retry { at_ms, lane: Lane::Slow, .. } => ("slow", at_ms),
    };
    let name = (due.webhook, due.event.position);
    let mut writes = vec![Write::new(SETTLE, args![&name.0, name.1, state, at_ms, &serde_json::json!(attempts)])];
    let changed = match verdict {
        Verdict::Gone => {
            tracing::warn!(webhook = name.0, org = due.org, "webhook answered 410 and is disabled");
            writes.extend(gone_writes(&due.org, &name.0, now_ms));
            outbox.forget_targets(&due.org);
            true
        }
        Verdict::Retry { at_ms, pause: true, .. } => {
            writes.push(Write::new(PAUSE, args![&due.org, &name.0, at_ms]));
            writes.push(Write::new(SHIFT, args![&name.0, at_ms]));
            true
        }
        _ => false,
    };
    metrics::counter!("tandem_webhook_attempts_total", "outcome" => state).increment(1);
    metrics::histogram!("tandem_webhook_lateness_ms").record(f64_ms(began_ms - due.due_ms));
    let outcome = outbox.db.writer().commit(writes).await.map(drop);
    let healthy = status.is_some_and(|code| code < 500);
    Attempted { name, healthy, changed, outcome }
}

fn parcel(due: &Due, recipient: &Recipient, now_ms: i64) -> Parcel {
    let (id, timestamp_s) = (&due.event.id, now_ms / 1_000);
    let signature = signature_header(&recipient.keys, id, timestamp_s, due.event.envelope.as_bytes());
    let headers = [
        ("content-type", "application/json".to_owned()),
        ("user-agent", concat!("Tandem-Webhooks/", env!("CARGO_PKG_VERSION")).to_owned()),
        ("webhook-id", id.clone()),
        ("webhook-timestamp", timestamp_s.to_string()),
        ("webhook-signature", signature),
    ];
    Parcel {
        url: recipient.url.clone(),
        method: recipient.method.clone(),
        headers: headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        body: due.event.envelope.clone().into(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of a delay")]
fn f64_ms(ms: i64) -> f64 {
    ms.max(0) as f64
}
