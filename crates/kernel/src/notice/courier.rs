//! The courier of one channel: sends what is due, a few at once, and tries again what a provider did not take.
//!
//! Invariant: what became of an attempt is durable before the same notice is looked at again, marked in one guarded
//! update; a provider that is away holds up its own channel, and nothing else.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Channel, Letter, Notice, Outcome, Provider, cut, one_line};
use crate::args;
use crate::db::{DbError, Write};
use crate::kernel::Kernel;

/// Notices of a channel that are handed over at once.
const AT_ONCE: usize = 4;
/// How often the store is looked at for notices that nobody told us of (written by another process).
const LOOK_EVERY_MS: i64 = 10_000;
/// Pause after the store failed us.
const AFTER_FAILURE_MS: i64 = 1_000;
/// Waits between the attempts of one notice, in milliseconds; the last one again and again until its time is up.
const LADDER_MS: [i64; 6] = [10_000, 30_000, 120_000, 300_000, 900_000, 3_600_000];
/// A provider that could not be reached is left alone for so long.
const PAUSE_MS: i64 = 10_000;
/// A notice that may have gone out is handed over so often in all: better twice than never, and no more than that.
const MAX_UNKNOWN: i64 = 2;
/// How long what is under way may take to end when the server stops.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// Longest reason that is kept, in bytes.
const MAX_REASON: usize = 500;

crate::statements! {
    DUE = "select id, org, channel, recipient, subject, body, link, state, error, attempts, created_at, due_at, \
        sent_at, expires_at from notice where channel = $1 and state = 'pending' and due_at <= $2 \
        order by due_at, id limit $3";
    NEXT_DUE = "select min(due_at) as due_at from notice where channel = $1 and state = 'pending' and due_at > $2";
    SENT = "update notice set state = 'sent', sent_at = $3, attempts = attempts + 1, error = null, link = null \
        where org = $1 and id = $2 and state = 'pending'";
    FAILED = "update notice set state = 'failed', attempts = attempts + 1, error = $3 \
        where org = $1 and id = $2 and state = 'pending'";
    LATER = "update notice set due_at = $3, attempts = attempts + 1, error = $4 \
        where org = $1 and id = $2 and state = 'pending'";
    SHIFT = "update notice set due_at = $2 where channel = $1 and state = 'pending' and due_at < $2";
    FORGET_LINKS = "update notice set link = null where link is not null and expires_at <= $1";
}

/// A notice that is due, and whose it is.
struct Due {
    org: String,
    notice: Notice,
}

/// The courier of one channel.
pub(super) struct Courier {
    kernel: Kernel,
    channel: Channel,
    provider: Arc<dyn Provider>,
    /// Ids of what is being handed over.
    under_way: HashSet<String>,
    attempts: JoinSet<String>,
}

impl Courier {
    pub(super) fn new(kernel: Kernel, channel: Channel, provider: Arc<dyn Provider>) -> Self {
        Self { kernel, channel, provider, under_way: HashSet::new(), attempts: JoinSet::new() }
    }

    /// Works until `stop`; what is under way then may end.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        // Subscribed before the first look: what is written in between is seen by one or the other.
        let mut news = self.kernel.bus.subscribe("notices");
        let clock = self.kernel.clock.clone();
        while !stop.is_cancelled() {
            let now_ms = clock.now_ms();
            let next_ms = match self.look(now_ms).await {
                Ok(next_ms) => next_ms,
                Err(error) => {
                    tracing::error!(%error, channel = self.channel.as_str(), "cannot look for notices");
                    now_ms + AFTER_FAILURE_MS
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = clock.sleep_until(next_ms) => {}
                message = news.next() => {
                    if message.is_none() {
                        break;
                    }
                    // One look serves all wake-ups that came before it.
                    while news.try_next().is_some() {}
                }
                Some(ended) = self.attempts.join_next() => self.ended(ended),
            }
            while let Some(ended) = self.attempts.try_join_next() {
                self.ended(ended);
            }
        }
        let finish = async { while self.attempts.join_next().await.is_some() {} };
        if timeout(STOP_GRACE, finish).await.is_err() {
            tracing::warn!(channel = self.channel.as_str(), "notices under way may be sent again at the next start");
        }
    }

    fn ended(&mut self, id: Result<String, JoinError>) {
        match id {
            Ok(id) => drop(self.under_way.remove(&id)),
            Err(error) => tracing::error!(%error, "the sending of a notice broke off"),
        }
    }

    /// Starts what is due and has a place, and says when to look again.
    async fn look(&mut self, now_ms: i64) -> Result<i64, DbError> {
        let (db, channel) = (self.kernel.db.clone(), self.channel.as_str());
        db.run(FORGET_LINKS, args![now_ms]).await?;
        let look_ms = now_ms + LOOK_EVERY_MS;
        if self.under_way.len() >= AT_ONCE {
            // The end of one of them brings us back here.
            return Ok(look_ms);
        }
        // What is under way is still pending and due.
        let limit = i64::try_from(AT_ONCE + self.under_way.len()).unwrap_or(i64::MAX);
        for row in db.all(DUE, args![channel, now_ms, limit]).await? {
            let due = Due { org: row.text("org")?, notice: Notice::read(&row, &self.kernel.secrets, now_ms)? };
            if self.under_way.len() < AT_ONCE && self.under_way.insert(due.notice.id.clone()) {
                let (kernel, provider) = (self.kernel.clone(), Arc::clone(&self.provider));
                self.attempts.spawn(attempt(kernel, provider, due));
            }
        }
        let next = db.one(NEXT_DUE, args![channel, now_ms]).await?;
        let next = next.map(|row| row.opt_int("due_at")).transpose()?.flatten();
        Ok(next.map_or(look_ms, |next_ms| next_ms.min(look_ms)))
    }
}

/// One attempt: handed over, and its outcome made durable. Gives back the notice's id.
async fn attempt(kernel: Kernel, provider: Arc<dyn Provider>, due: Due) -> String {
    let now_ms = kernel.clock.now_ms();
    let outcome = if due.notice.expires_at <= now_ms {
        Outcome::Refused("its time was up before it was sent".to_owned())
    } else {
        let text = due.notice.text();
        let Notice { id, recipient, subject, .. } = &due.notice;
        let letter = Letter { id, to: recipient, subject, text: &text, now_ms };
        let sent = AssertUnwindSafe(provider.send(&letter)).catch_unwind().await;
        sent.unwrap_or_else(|_| Outcome::Later("the server failed inside; its log says more".to_owned()))
    };
    let settled = settle(&due, outcome, kernel.clock.now_ms());
    metrics::counter!("tandem_notices_total", "channel" => due.notice.channel.as_str(), "outcome" => settled.word)
        .increment(1);
    record(&kernel, &due, &settled).await;
    due.notice.id
}

/// Writes down what became of an attempt. The store may fail for a while: the notice is not sent again meanwhile.
async fn record(kernel: &Kernel, due: &Due, settled: &Settled) {
    loop {
        match kernel.db.writer().commit(settled.writes.clone()).await {
            // A conflict: somebody erased it while it was sent.
            Ok(_) | Err(DbError::Conflict) => return,
            Err(DbError::Closed) => return,
            Err(error) => {
                tracing::error!(%error, notice = due.notice.id, "what became of a notice cannot be written down yet");
                kernel.clock.sleep_until(kernel.clock.now_ms() + AFTER_FAILURE_MS).await;
            }
        }
    }
}

/// What is written about an attempt.
struct Settled {
    /// For the counter.
    word: &'static str,
    writes: Vec<Write>,
}

fn settle(due: &Due, outcome: Outcome, now_ms: i64) -> Settled {
    let (org, id) = (&due.org, &due.notice.id);
    let channel = due.notice.channel.as_str();
    let failed = |reason: String| {
        tracing::warn!(notice = id, org, channel, reason, "a notice is not sent");
        Settled { word: "failed", writes: vec![Write::guarded(FAILED, args![org, id, reason])] }
    };
    let (reason, shift) = match outcome {
        Outcome::Sent => {
            tracing::info!(notice = id, org, channel, "a notice is sent");
            return Settled { word: "sent", writes: vec![Write::guarded(SENT, args![org, id, now_ms])] };
        }
        Outcome::Refused(reason) => return failed(tidy(&due.notice, &reason)),
        Outcome::Unknown(reason) if due.notice.attempts + 1 >= MAX_UNKNOWN => {
            return failed(format!("{}; it may have gone out", tidy(&due.notice, &reason)));
        }
        Outcome::Later(reason) | Outcome::Unknown(reason) => (tidy(&due.notice, &reason), None),
        Outcome::Unreachable(reason) => (tidy(&due.notice, &reason), Some(now_ms + PAUSE_MS)),
    };
    let again_ms = now_ms + wait_ms(due.notice.attempts);
    if again_ms >= due.notice.expires_at {
        return failed(format!("{reason}; there is no time left to try again"));
    }
    tracing::warn!(notice = id, org, channel, reason, "a notice will be tried again");
    let mut writes = vec![Write::guarded(LATER, args![org, id, again_ms, reason])];
    writes.extend(shift.map(|until_ms| Write::new(SHIFT, args![channel, until_ms])));
    Settled { word: "later", writes }
}

/// The wait after an attempt, when there were so many before it.
pub(super) fn wait_ms(attempts_before: i64) -> i64 {
    let rung = usize::try_from(attempts_before).unwrap_or(0).min(LADDER_MS.len() - 1);
    LADDER_MS.get(rung).copied().unwrap_or(PAUSE_MS)
}

/// A provider's words in one line of bearable length, without the link of the notice.
fn tidy(notice: &Notice, reason: &str) -> String {
    cut(one_line(&notice.without_link(reason)).trim(), MAX_REASON).to_owned()
}
