//! Scheduled work as rows: callbacks, retention, retries. One timer for all of them.
//!
//! Invariant: a job fires at least once and at or after its time, on one node at a time while that node renews its
//! lease; a handler must bear being run twice, and [`Job::done_write`] in its own commit makes the effect single.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::args;
use crate::bus::Bus;
use crate::db::{Db, DbError, Row, Wake, Write};
use crate::ids::Ids;
use crate::time::Clock;

/// Jobs of one kind that run at once on a node: a crowd of one kind takes no place from another.
const MAX_RUNNING: usize = 64;
/// How long a claim holds without being renewed.
const LEASE_MS: i64 = 60_000;
/// When it is renewed.
const RENEW_MS: i64 = LEASE_MS / 3;
/// How often the store is looked at for jobs that nobody told us of (written by another process).
const LOOK_EVERY_MS: i64 = 2_000;
/// Pause after the store failed us.
const AFTER_FAILURE_MS: i64 = 1_000;
/// Wait before a failed job runs again; doubles up to the longest.
const FIRST_BACKOFF_MS: i64 = 5_000;
const LONGEST_BACKOFF_MS: i64 = 3_600_000;
/// How long running jobs may take to end when the server stops.
const STOP_GRACE: Duration = Duration::from_secs(5);

crate::statements! {
    SCHEDULE = "insert into job (kind, key, org, due_at, payload) values ($1, $2, $3, $4, $5) \
        on conflict (kind, key) do update set org = excluded.org, due_at = excluded.due_at, \
        payload = excluded.payload, attempt = 0, node = '', claim = '', lease_until_at = 0";
    SCHEDULE_ONCE = "insert into job (kind, key, org, due_at, payload) values ($1, $2, $3, $4, $5) \
        on conflict (kind, key) do nothing";
    CANCEL = "delete from job where kind = $1 and key = $2";
    // The condition stands outside the sub-select too: of two PostgreSQL sessions that found the same row, the second
    // sees it changed.
    // Many at once, since each claim is a commit of its own; with its key, each has a name of its own.
    CLAIM = "update job set node = $3, claim = cast($4 as text) || '/' || key, lease_until_at = $5, attempt = attempt + 1 \
        where kind = $1 and due_at <= $2 and lease_until_at <= $2 and key in \
            (select key from job where kind = $1 and due_at <= $2 and lease_until_at <= $2 order by due_at limit $6) \
        returning kind, key, org, due_at, payload, attempt, claim";
    RENEW = "update job set lease_until_at = $3 where node = $1 and claim = $2";
    DONE = "delete from job where kind = $1 and key = $2 and claim = $3";
    AGAIN = "update job set due_at = $4, node = '', claim = '', lease_until_at = 0 \
        where kind = $1 and key = $2 and claim = $3";
    RELEASE = "update job set node = '', claim = '', lease_until_at = 0 where node = $1";
    NEXT_FREE = "select min(due_at) as due_at from job where kind = $1 and lease_until_at = 0";
    NEXT_LEASE = "select min(lease_until_at) as due_at from job where kind = $1 and lease_until_at > 0";
    ONE = "select kind, key, org, due_at, payload, attempt, claim from job where org = $1 and kind = $2 and key = $3";
}

/// A piece of work that is due at a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Which handler runs it.
    pub kind: String,
    /// Its name among its kind: scheduling the same one again replaces it.
    pub key: String,
    /// The organisation, or empty for the server's own chores.
    pub org: String,
    /// When, in UTC milliseconds.
    pub due_ms: i64,
    /// What the handler needs to know.
    pub payload: Value,
    /// How often it has been started, from 1 in a handler.
    pub attempt: i64,
    /// This taking of it.
    claim: String,
}

/// What became of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobOutcome {
    /// It is over; its row goes.
    Done,
    /// The handler's own commit has ended it ([`Job::done_write`]) or scheduled it anew.
    Settled,
    /// Run it again then.
    Again {
        /// When, in UTC milliseconds.
        at_ms: i64,
    },
    /// It failed; it runs again after a pause that doubles each time.
    Failed(String),
}

/// Runs the jobs of one kind.
pub trait JobHandler: Send + Sync + 'static {
    /// Runs one job. A panic counts as [`JobOutcome::Failed`].
    fn run(&self, job: Job) -> BoxFuture<'_, JobOutcome>;
}

impl Job {
    /// A job that is not scheduled yet.
    #[must_use]
    pub fn new(org: &str, kind: &str, key: &str, due_ms: i64, payload: Value) -> Self {
        let (org, kind, key) = (org.to_owned(), kind.to_owned(), key.to_owned());
        Self { kind, key, org, due_ms, payload, attempt: 0, claim: String::new() }
    }

    /// Schedules it, replacing the one of the same kind and key, even if that runs just now.
    #[must_use]
    pub fn schedule_write(&self) -> Write {
        self.insert(SCHEDULE)
    }

    /// Schedules it unless there is one of the same kind and key already.
    #[must_use]
    pub fn schedule_once_write(&self) -> Write {
        self.insert(SCHEDULE_ONCE)
    }

    fn insert(&self, sql: &'static str) -> Write {
        Write::new(sql, args![&self.kind, &self.key, &self.org, self.due_ms, &self.payload]).waking(Wake::Jobs)
    }

    /// Ends it in the handler's own commit: with this guard the commit fails with a conflict if the job was cancelled,
    /// rescheduled, or taken over by another node meanwhile.
    #[must_use]
    pub fn done_write(&self) -> Write {
        Write::guarded(DONE, args![&self.kind, &self.key, &self.claim])
    }

    fn from_row(row: &Row) -> Result<Self, DbError> {
        Ok(Self {
            kind: row.text("kind")?,
            key: row.text("key")?,
            org: row.text("org")?,
            due_ms: row.int("due_at")?,
            payload: row.json("payload")?,
            attempt: row.int("attempt")?,
            claim: row.text("claim")?,
        })
    }
}

/// Takes a job back, whether it runs or not.
#[must_use]
pub fn cancel_write(kind: &str, key: &str) -> Write {
    Write::new(CANCEL, args![kind, key])
}

/// The job runner of a node. Cheap to clone.
#[derive(Clone)]
pub struct Jobs {
    db: Db,
    bus: Bus,
    clock: Clock,
    ids: Ids,
    node: Arc<str>,
    handlers: Arc<Mutex<HashMap<&'static str, Arc<dyn JobHandler>>>>,
}

impl std::fmt::Debug for Jobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Jobs({})", self.node)
    }
}

impl Jobs {
    /// The runner of `node`; [`Jobs::start`] sets it to work.
    #[must_use]
    pub fn new(db: Db, bus: Bus, clock: Clock, ids: Ids, node: &str) -> Self {
        Self { db, bus, clock, ids, node: node.into(), handlers: Arc::default() }
    }

    /// Says who runs the jobs of a kind. Jobs of kinds that nobody registered wait.
    pub fn register(&self, kind: &'static str, handler: Arc<dyn JobHandler>) {
        self.handlers.lock().unwrap_or_else(PoisonError::into_inner).insert(kind, handler);
        self.wake();
    }

    /// Makes the runner look at the store now; commits of jobs do so by themselves.
    pub fn wake(&self) {
        self.bus.publish("jobs", "");
    }

    /// A job that is scheduled or running.
    ///
    /// # Errors
    /// What the store says.
    pub async fn get(&self, org: &str, kind: &str, key: &str) -> Result<Option<Job>, DbError> {
        self.db.one(ONE, args![org, kind, key]).await?.map(|row| Job::from_row(&row)).transpose()
    }

    /// Runs jobs until `stop`. What this node held when it died is free at once.
    pub fn start(&self, tasks: &TaskTracker, stop: CancellationToken) {
        tasks.spawn(Runner { jobs: self.clone(), running: HashMap::new(), tasks: JoinSet::new() }.run(stop));
    }
}

struct Runner {
    jobs: Jobs,
    /// Claims at work.
    running: HashMap<String, Running>,
    tasks: JoinSet<String>,
}

/// A claim at work.
struct Running {
    kind: &'static str,
    renew_ms: i64,
}

impl Runner {
    async fn run(mut self, stop: CancellationToken) {
        // Subscribed before the first look: what is scheduled in between is seen by one or the other.
        let mut news = self.jobs.bus.subscribe("jobs");
        let clock = self.jobs.clock.clone();
        let mut release = true;
        while !stop.is_cancelled() {
            let next_ms = match self.look(&mut release).await {
                Ok(next_ms) => next_ms,
                Err(error) => {
                    tracing::error!(%error, "cannot look for jobs");
                    clock.now_ms() + AFTER_FAILURE_MS
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
                Some(ended) = self.tasks.join_next() => self.ended(ended),
            }
            while let Some(ended) = self.tasks.try_join_next() {
                self.ended(ended);
            }
        }
        let finish = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_GRACE, finish).await.is_err() {
            tracing::warn!("jobs did not end in time; they run again at the next start");
        }
    }

    fn ended(&mut self, claim: Result<String, tokio::task::JoinError>) {
        match claim {
            Ok(claim) => drop(self.running.remove(&claim)),
            Err(error) => tracing::error!(%error, "a job's task failed"),
        }
    }

    /// Renews what runs, starts what is due, and says when to look again.
    async fn look(&mut self, release: &mut bool) -> Result<i64, DbError> {
        if *release {
            self.jobs.db.run(RELEASE, args![&self.jobs.node]).await?;
            *release = false;
        }
        let now_ms = self.jobs.clock.now_ms();
        self.renew(now_ms).await?;
        let handlers: Vec<_> = {
            let handlers = self.jobs.handlers.lock().unwrap_or_else(PoisonError::into_inner);
            handlers.iter().map(|(kind, handler)| (*kind, Arc::clone(handler))).collect()
        };
        let renewals = self.running.values().map(|running| running.renew_ms);
        let mut next_ms = renewals.fold(now_ms + LOOK_EVERY_MS, i64::min);
        for (kind, handler) in handlers {
            for sql in [NEXT_FREE, NEXT_LEASE] {
                if self.free(kind) == 0 {
                    // The end of a running job brings us back here.
                    break;
                }
                let Some(due_ms) = self.next_due(sql, kind).await? else {
                    continue;
                };
                if due_ms > now_ms {
                    next_ms = next_ms.min(due_ms);
                } else if self.claim(kind, &handler, now_ms).await? {
                    next_ms = now_ms;
                }
            }
        }
        Ok(next_ms)
    }

    async fn next_due(&self, sql: &'static str, kind: &'static str) -> Result<Option<i64>, DbError> {
        let row = self.jobs.db.one(sql, args![kind]).await?;
        row.map_or(Ok(None), |row| row.opt_int("due_at"))
    }

    async fn renew(&mut self, now_ms: i64) -> Result<(), DbError> {
        let due: Vec<_> =
            self.running.iter().filter(|(_, at)| at.renew_ms <= now_ms).map(|(claim, _)| claim.clone()).collect();
        if due.is_empty() {
            return Ok(());
        }
        let renew = |claim: &String| Write::new(RENEW, args![&self.jobs.node, claim, now_ms + LEASE_MS]);
        self.jobs.db.writer().commit(due.iter().map(renew).collect()).await?;
        for claim in due {
            self.running.entry(claim).and_modify(|running| running.renew_ms = now_ms + RENEW_MS);
        }
        Ok(())
    }

    /// How many more jobs of a kind may run.
    fn free(&self, kind: &str) -> usize {
        MAX_RUNNING.saturating_sub(self.running.values().filter(|running| running.kind == kind).count())
    }

    /// Claims due jobs of a kind and starts them, the oldest first. True when there may be more.
    async fn claim(&mut self, kind: &'static str, handler: &Arc<dyn JobHandler>, now_ms: i64) -> Result<bool, DbError> {
        let name = self.jobs.ids.new("claim", now_ms);
        let mut tx = self.jobs.db.begin().await?;
        let limit = i64::try_from(self.free(kind)).unwrap_or_default();
        let rows = tx.all(CLAIM, args![kind, now_ms, self.jobs.node.as_ref(), name, now_ms + LEASE_MS, limit]).await?;
        let mut claimed: Vec<Job> = rows.iter().map(Job::from_row).collect::<Result<_, _>>()?;
        tx.commit().await?;
        claimed.sort_by_key(|job| job.due_ms);
        let found = !claimed.is_empty();
        for job in claimed {
            self.running.insert(job.claim.clone(), Running { kind, renew_ms: now_ms + RENEW_MS });
            self.tasks.spawn(run_job(self.jobs.clone(), Arc::clone(handler), job));
        }
        Ok(found)
    }
}

/// Runs a claimed job and settles its row; returns its claim.
async fn run_job(jobs: Jobs, handler: Arc<dyn JobHandler>, job: Job) -> String {
    let claim = job.claim.clone();
    let (kind, key, attempt) = (job.kind.clone(), job.key.clone(), job.attempt);
    let outcome = AssertUnwindSafe(handler.run(job))
        .catch_unwind()
        .await
        .unwrap_or_else(|_| JobOutcome::Failed("the handler panicked".to_owned()));
    let write = match outcome {
        JobOutcome::Settled => return claim,
        JobOutcome::Done => Write::new(DONE, args![&kind, &key, &claim]),
        JobOutcome::Again { at_ms } => Write::new(AGAIN, args![&kind, &key, &claim, at_ms]),
        JobOutcome::Failed(error) => {
            let at_ms = jobs.clock.now_ms() + backoff_ms(attempt);
            tracing::error!(kind, key, attempt, error, "job failed and will run again");
            Write::new(AGAIN, args![&kind, &key, &claim, at_ms])
        }
    };
    if let Err(error) = jobs.db.writer().commit(vec![write]).await {
        tracing::error!(kind, key, %error, "a job could not be settled; it runs again after its lease");
    }
    claim
}

/// The wait after the `attempt`-th failure.
fn backoff_ms(attempt: i64) -> i64 {
    let doublings = u32::try_from(attempt - 1).unwrap_or(0).min(20);
    FIRST_BACKOFF_MS.saturating_mul(1_i64 << doublings).min(LONGEST_BACKOFF_MS)
}
