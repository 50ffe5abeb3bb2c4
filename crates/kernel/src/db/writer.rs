//! Group commit: one task that makes the writes of many callers durable with one sync.
//!
//! Invariant: groups are committed in the order in which they were queued, each whole or not at all, and a group is
//! never dropped because the database was busy or away: the writer tries again, and its bounded queue makes callers
//! wait. Commits are also the order of the event log: its positions are taken here, under a row lock.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::task::TaskTracker;

use super::session::{Link, Session, at_once};
use super::{Arg, DbError, Engine, Wake, Write, sqlite};
use crate::bus::Bus;

/// Writes in one commit, at most (a group is never split).
const MAX_WRITES: usize = 500;
/// Groups that wait for the writer before its callers do.
const QUEUE_GROUPS: usize = 4096;
/// How long a commit that nobody waits for gathers company.
const GATHER: Duration = Duration::from_millis(40);
/// Commits begin at least this far apart: on an idle server nobody waits, on a busy one its callers share.
const PACE: Duration = Duration::from_millis(3);
/// Free places in the queue below which nobody waits for company.
const FEW_PLACES: usize = QUEUE_GROUPS / 2;
/// Pause before a transaction is tried again after a transient failure; doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// A group that fails alone with a transient error this often is given up and its caller told.
const GROUP_TRIES: u32 = 5;

/// Handle of the writer. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Writer {
    queue: mpsc::Sender<Order>,
    /// Somebody waits for what is in the queue.
    urgent: Arc<Notify>,
    stats: Arc<Stats>,
    tasks: TaskTracker,
}

/// What the writer has done since its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriterStats {
    /// Transactions committed.
    pub commits: u64,
    /// Single writes in them.
    pub writes: u64,
    /// Transactions that had to be run again.
    pub retries: u64,
}

#[derive(Debug, Default)]
struct Stats {
    commits: AtomicU64,
    writes: AtomicU64,
    retries: AtomicU64,
    /// A commit has failed and is being tried again.
    stuck: AtomicBool,
}

#[derive(Debug)]
enum Order {
    Commit(Group),
    Close,
}

/// The writes of one caller: atomic.
type Writes = Vec<Write>;

#[derive(Debug)]
struct Group {
    writes: Writes,
    reply: Option<oneshot::Sender<Outcome>>,
}

/// Rows per write.
type Outcome = Result<Vec<u64>, DbError>;

impl Writer {
    pub(super) fn start(engine: Engine, bus: Bus) -> Self {
        let (queue, orders) = mpsc::channel(QUEUE_GROUPS);
        let stats = Arc::<Stats>::default();
        let tasks = TaskTracker::new();
        let urgent = Arc::<Notify>::default();
        let task = Task { engine, bus, stats: Arc::clone(&stats), orders, urgent: Arc::clone(&urgent) };
        tasks.spawn(task.run());
        tasks.close();
        Self { queue, urgent, stats, tasks }
    }

    /// Queues a group and returns. It is durable some milliseconds later; when it fails then, that is logged: use this
    /// for rows that cannot fail but by a bug, and [`Writer::commit`] for all others.
    ///
    /// # Errors
    /// [`DbError::Closed`] when the server is stopping.
    pub async fn submit(&self, mut writes: Vec<Write>) -> Result<(), DbError> {
        self.submit_from(&mut writes).await
    }

    /// As [`Writer::submit`], but takes the writes only once there is a place for them: a caller that stops waiting
    /// (an arm of a `select!`) loses none. Nothing to do for an empty list.
    ///
    /// # Errors
    /// [`DbError::Closed`] when the server is stopping; `pending` is untouched then.
    pub async fn submit_from(&self, pending: &mut Vec<Write>) -> Result<(), DbError> {
        if !pending.is_empty() {
            let place = self.queue.reserve().await.map_err(|_| DbError::Closed)?;
            place.send(Order::Commit(Group { writes: std::mem::take(pending), reply: None }));
            if self.queue.capacity() < FEW_PLACES {
                self.urgent.notify_one();
            }
        }
        Ok(())
    }

    /// Writes a group and returns when it is durable: rows per write.
    ///
    /// # Errors
    /// [`DbError::Conflict`] when a guarded write matched no row, [`DbError::Duplicate`], [`DbError::Reference`],
    /// [`DbError::Closed`]; nothing of the group was written then.
    pub async fn commit(&self, writes: Vec<Write>) -> Result<Vec<u64>, DbError> {
        let (reply, outcome) = oneshot::channel();
        let order = Order::Commit(Group { writes, reply: Some(reply) });
        self.queue.send(order).await.map_err(|_| DbError::Closed)?;
        self.urgent.notify_one();
        outcome.await.map_err(|_| DbError::Closed)?
    }

    /// Waits for a place in the queue, to be filled without waiting: for whoever must queue while it holds a lock.
    ///
    /// # Errors
    /// [`DbError::Closed`] when the server is stopping.
    pub async fn place(&self) -> Result<Place<'_>, DbError> {
        let permit = self.queue.reserve().await.map_err(|_| DbError::Closed)?;
        Ok(Place { permit, urgent: &self.urgent })
    }

    /// Returns when everything queued before is durable.
    ///
    /// # Errors
    /// [`DbError::Closed`] when the server is stopping.
    pub async fn flush(&self) -> Result<(), DbError> {
        self.commit(Vec::new()).await.map(drop)
    }

    /// Commits what is queued and ends the task.
    pub(super) async fn close(&self) {
        // A full queue is waited for; a closed one has been closed before.
        let _closed = self.queue.send(Order::Close).await;
        self.urgent.notify_one();
        self.tasks.wait().await;
    }

    /// Whether a commit has failed and is being tried again: a full disk, a database that is away.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        self.stats.stuck.load(Ordering::Relaxed)
    }

    /// Counts since the start.
    #[must_use]
    pub fn stats(&self) -> WriterStats {
        WriterStats {
            commits: self.stats.commits.load(Ordering::Relaxed),
            writes: self.stats.writes.load(Ordering::Relaxed),
            retries: self.stats.retries.load(Ordering::Relaxed),
        }
    }
}

/// A place in the queue of writes. Dropped, it is free again.
#[derive(Debug)]
pub struct Place<'a> {
    permit: mpsc::Permit<'a, Order>,
    urgent: &'a Notify,
}

impl Place<'_> {
    /// Queues a group, behind all that were queued before. What comes of it is that of [`Writer::commit`]; it comes
    /// whether or not somebody waits for it.
    #[must_use]
    pub fn commit(self, writes: Vec<Write>) -> Pending {
        let (reply, outcome) = oneshot::channel();
        self.permit.send(Order::Commit(Group { writes, reply: Some(reply) }));
        self.urgent.notify_one();
        Pending(outcome)
    }
}

/// What will come of a group.
#[derive(Debug)]
pub struct Pending(oneshot::Receiver<Outcome>);

impl Pending {
    /// Waits until the group is durable, or is known not to be: rows per write.
    ///
    /// # Errors
    /// As [`Writer::commit`].
    pub async fn outcome(self) -> Result<Vec<u64>, DbError> {
        self.0.await.map_err(|_| DbError::Closed)?
    }
}

struct Task {
    engine: Engine,
    bus: Bus,
    stats: Arc<Stats>,
    orders: mpsc::Receiver<Order>,
    urgent: Arc<Notify>,
}

impl Task {
    async fn run(mut self) {
        let mut paced = Box::pin(tokio::time::sleep(Duration::ZERO));
        while let Some(first) = self.orders.recv().await {
            self.gather(&first).await;
            paced.as_mut().await;
            let batch = self.drain(first);
            paced.set(tokio::time::sleep(PACE));
            if !batch.is_empty() {
                self.write(batch).await;
            }
        }
    }

    /// Lets company come, unless somebody waits. It does not look at each newcomer: that would cost a wake-up a write.
    async fn gather(&self, first: &Order) {
        if matches!(first, Order::Commit(Group { reply: None, .. })) {
            tokio::select! {
                () = tokio::time::sleep(GATHER) => {}
                () = self.urgent.notified() => {}
            }
        }
    }

    /// Everything that is queued, up to a full commit.
    fn drain(&mut self, first: Order) -> Vec<Group> {
        // Those who called so far are in the queue, and so in this batch.
        while self.urgent.notified().now_or_never().is_some() {}
        let mut batch = Vec::new();
        let mut writes = 0;
        let mut next = Some(first);
        while let Some(order) = next {
            match order {
                Order::Commit(group) => {
                    writes += group.writes.len();
                    batch.push(group);
                }
                // Those who were queued behind the closing word are still served.
                Order::Close => self.orders.close(),
            }
            next = if writes < MAX_WRITES { self.orders.try_recv().ok() } else { None };
        }
        batch
    }

    /// Commits a batch, however often that takes. The common case runs without savepoints; only a batch in which
    /// something failed is run again with one around each group, so that the guilty fail alone.
    async fn write(&self, batch: Vec<Group>) {
        let (groups, replies): (Vec<Writes>, Vec<_>) =
            batch.into_iter().map(|group| (group.writes, group.reply)).unzip();
        let groups = Arc::new(groups);
        let mut pause = FIRST_PAUSE;
        let mut care = Care::None;
        let mut tries = 0;
        let outcomes = loop {
            match self.engine.write(Arc::clone(&groups), care).await {
                Ok(outcomes) => break outcomes,
                Err(DbError::Closed) => {
                    tracing::error!(groups = groups.len(), "the store was closed before its writes were made");
                    return;
                }
                Err(error) => {
                    self.stats.retries.fetch_add(1, Ordering::Relaxed);
                    if care != Care::None || error.is_transient() {
                        tries += 1;
                        self.stats.stuck.store(true, Ordering::Relaxed);
                        tracing::warn!(%error, tries, groups = groups.len(), "commit failed, trying again");
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(LONGEST_PAUSE);
                    }
                    // A lost connection may have committed: from now on a group that is there already fails alone.
                    care = if tries < GROUP_TRIES { Care::EachGroup } else { Care::EachGroupForGood };
                }
            }
        };
        self.stats.stuck.store(false, Ordering::Relaxed);
        self.announce(&groups, replies, outcomes);
    }

    /// Tells the callers, and wakes those who look at the new rows.
    fn announce(&self, groups: &[Writes], replies: Vec<Option<oneshot::Sender<Outcome>>>, outcomes: Vec<Outcome>) {
        let mut wakes = BTreeSet::new();
        let mut writes = 0;
        for ((group, reply), outcome) in groups.iter().zip(replies).zip(outcomes) {
            if outcome.is_ok() {
                writes += group.len();
                wakes.extend(group.iter().map(|write| &write.wake));
            }
            match (reply, outcome) {
                // Whoever asked may have gone meanwhile (a closed request): the rows stay.
                (Some(reply), outcome) => drop(reply.send(outcome)),
                (None, Err(error)) => tracing::error!(%error, "queued rows could not be written"),
                (None, Ok(_)) => {}
            }
        }
        if writes > 0 {
            self.stats.commits.fetch_add(1, Ordering::Relaxed);
            self.stats.writes.fetch_add(writes as u64, Ordering::Relaxed);
        }
        for wake in wakes {
            match wake {
                Wake::Nobody => {}
                Wake::Events(org) => self.bus.publish(&format!("events.{org}"), ""),
                Wake::Outbox(host) => self.bus.publish("outbox", host.as_bytes().to_vec()),
                Wake::Jobs => self.bus.publish("jobs", ""),
                Wake::Notices => self.bus.publish("notices", ""),
                Wake::Push => self.bus.publish("push", ""),
            }
        }
    }
}

/// How carefully a batch is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Care {
    /// As one: any failure undoes all of it.
    None,
    /// A savepoint around each group; a transient failure undoes all of it.
    EachGroup,
    /// The same, but a group fails alone of a transient failure too.
    EachGroupForGood,
}

impl Engine {
    /// One transaction with all groups. An error says that nothing was written, or that the connection was lost.
    async fn write(&self, groups: Arc<Vec<Writes>>, care: Care) -> Result<Vec<Outcome>, DbError> {
        if groups.iter().all(Vec::is_empty) {
            return Ok(groups.iter().map(|_| Ok(Vec::new())).collect());
        }
        match self {
            Self::Sqlite(engine) => {
                let _lock = engine.lock().await?;
                let run = move |connection: &mut rusqlite::Connection| {
                    sqlite::begin(connection)?;
                    let outcomes = at_once(run_groups(sqlite::session(connection), &groups, care));
                    let committed = outcomes.and_then(|outcomes| {
                        sqlite::commit(connection)?;
                        Ok(outcomes)
                    });
                    sqlite::rollback(connection);
                    committed
                };
                engine.visit(run).await?
            }
            Self::Postgres(pool) => {
                let mut tx = pool.begin().await?;
                let outcomes = run_groups(Session::new(Link::Postgres(&mut tx)), &groups, care).await;
                match outcomes {
                    Ok(outcomes) => {
                        tx.commit().await?;
                        Ok(outcomes)
                    }
                    Err(error) => {
                        tx.rollback().await?;
                        Err(error)
                    }
                }
            }
        }
    }
}

async fn run_groups(mut session: Session<'_>, groups: &[Writes], care: Care) -> Result<Vec<Outcome>, DbError> {
    let args = groups.iter().flatten().flat_map(|write| &write.args);
    let events = args.filter(|arg| matches!(arg, Arg::NextPosition)).count();
    if let Some(events) = i64::try_from(events).ok().filter(|&events| events > 0) {
        session.take_positions(events).await?;
    }
    let mut outcomes = Vec::with_capacity(groups.len());
    for group in groups {
        let outcome = match care {
            Care::None => Ok(run_group(&mut session, group).await?),
            Care::EachGroup | Care::EachGroupForGood => run_alone(&mut session, group, care).await?,
        };
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

async fn run_alone(session: &mut Session<'_>, group: &Writes, care: Care) -> Result<Outcome, DbError> {
    session.script("savepoint one_group").await?;
    let outcome = run_group(session, group).await;
    match &outcome {
        // A lock or a lost connection is nobody's fault: all of it is run again.
        Err(error) if care == Care::EachGroup && error.is_transient() => return outcome.map(Ok),
        Err(_) => session.script("rollback to savepoint one_group; release savepoint one_group").await?,
        Ok(_) => session.script("release savepoint one_group").await?,
    }
    Ok(outcome)
}

async fn run_group(session: &mut Session<'_>, group: &Writes) -> Outcome {
    let mut counts = Vec::with_capacity(group.len());
    for write in group {
        let count = session.run(write.sql, &write.args).await?;
        if write.guard && count == 0 {
            return Err(DbError::Conflict);
        }
        counts.push(count);
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::testing::TestDb;

    /// The writer's own task is asked here, step by step, so that no clock and no disk has a say in it.
    #[tokio::test]
    async fn a_caller_that_waits_for_durability_is_not_kept_waiting_for_company() {
        let test = TestDb::sqlite().await;
        let (queue, orders) = mpsc::channel(QUEUE_GROUPS);
        let (stats, urgent) = (Arc::<Stats>::default(), Arc::<Notify>::default());
        let (engine, bus) = (test.db.engine.clone(), test.bus.clone());
        let mut task = Task { engine, bus, stats: Arc::clone(&stats), orders, urgent: Arc::clone(&urgent) };
        let writer = Writer { queue, urgent, stats, tasks: TaskTracker::new() };
        let write = || vec![Write::new("delete from setting", Vec::new())];

        writer.submit(write()).await.unwrap();
        let nobody_waits = task.orders.recv().await.unwrap();
        let mut gathering = Box::pin(task.gather(&nobody_waits));
        assert!(gathering.as_mut().now_or_never().is_none(), "company may come");
        let mut waiting = Box::pin(writer.commit(write()));
        assert!(waiting.as_mut().now_or_never().is_none(), "it is not written yet");
        assert!(gathering.as_mut().now_or_never().is_some(), "somebody waits now");
        drop(gathering);
        assert_eq!(task.drain(nobody_waits).len(), 2, "both share a commit");

        let mut waiting = Box::pin(writer.commit(write()));
        assert!(waiting.as_mut().now_or_never().is_none());
        let somebody_waits = task.orders.recv().await.unwrap();
        assert!(task.gather(&somebody_waits).now_or_never().is_some(), "who comes first and waits begins at once");
    }
}
