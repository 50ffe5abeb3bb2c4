//! Forgetting: what an organisation keeps for so many days, and what nobody asks for any more.
//!
//! Invariant: nothing is deleted that is still owed (an open delivery) or that no rule names; work goes in small
//! portions, so that live writes wait for milliseconds.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::Value;

use crate::args;
use crate::db::{DbError, Row, Write};
use crate::jobs::{Job, JobHandler, JobOutcome};
use crate::kernel::Kernel;

/// The job that does it.
const KIND: &str = "retention";
const KEY: &str = "daily";
const DAY_MS: i64 = 24 * 3_600_000;
/// Rows looked at and deleted at once.
const PORTION: i64 = 500;
/// How long finished deliveries and the publish URLs of runs are kept, for the console.
const DELIVERY_DAYS: i64 = 7;
/// How long notices are kept, sent or not.
const NOTICE_DAYS: i64 = 30;
/// Events are kept this long at least: deliveries need them.
const LEAST_EVENT_DAYS: i64 = 2;
/// The kind of sweep that every organisation has each day, whatever it keeps for how long: of things that are over of
/// themselves. Its `before_ms` is the present.
pub const OVER: &str = "over";
/// The kind of `retention_days` that this module serves itself.
const EVENTS: &str = "events";

crate::statements! {
    OLDEST_EVENTS = "select position, time_at from event where org = $1 order by position limit $2";
    FORGET_EVENTS = "delete from event where org = $1 and position <= $2";
    FIRST_OWED = "select min(position) as position from delivery where org = $1 and state in ('fast', 'slow')";
    OLD_WEBHOOKS = "select id, org, run from webhook where id > $1 and id < $2 order by id limit $3";
    REMOVED_WEBHOOKS = "select distinct d.webhook as webhook from delivery d where d.webhook > $1 \
        and not exists (select 1 from webhook w where w.id = d.webhook) order by d.webhook limit $2";
    OLDEST_DELIVERIES = "select position, state, expires_at from delivery where webhook = $1 \
        order by position limit $2";
    FORGET_DELIVERIES = "delete from delivery where webhook = $1 and position <= $2 \
        and state not in ('fast', 'slow')";
    FORGET_WEBHOOK = "delete from webhook where org = $1 and id = $2 and run <> ''";
    FORGET_KEYS = "delete from signing_secret where org = $1 and owner = $2";
    FORGET_ANSWERS = "delete from idempotency where expires_at < $1";
    FORGET_SESSIONS = "delete from person_session where expires_at < $1";
    FORGET_ADMINISTRATOR_SESSIONS = "delete from administrator_session where expires_at < $1";
    FORGET_LINKS = "delete from sign_in_link where expires_at < $1";
    FORGET_NOTICES = "delete from notice where id in \
        (select id from notice where created_at < $1 and state <> 'pending' order by id limit $2)";
}

/// Deletes what one kind of `retention_days` names, rows and files. The desk that owns them gives it; several desks may
/// own things of one kind.
pub trait Sweep: Send + Sync + 'static {
    /// `recordings`, `voicemail` …
    fn kind(&self) -> &'static str;
    /// Deletes what is older than `before_ms`; returns how many.
    fn sweep<'a>(&'a self, org: &'a str, before_ms: i64) -> BoxFuture<'a, Result<u64, DbError>>;
}

/// Knows the runs that publish URLs belong to. The desk that runs them gives it.
pub trait Runs: Send + Sync + 'static {
    /// Whether a run may still have something to tell.
    fn is_open<'a>(&'a self, org: &'a str, run: &'a str) -> BoxFuture<'a, Result<bool, DbError>>;
}

/// The sweep of rows that have no file.
#[derive(Clone, Debug)]
pub struct RowSweep {
    kernel: Kernel,
    kind: &'static str,
    /// Deletes some of an organisation's ($1) rows that are older than a time ($2), few enough that live writes wait
    /// for milliseconds.
    forget: &'static str,
}

impl RowSweep {
    /// Rows of one `kind` that `forget` deletes a portion of.
    pub fn new(kernel: Kernel, kind: &'static str, forget: &'static str) -> Self {
        Self { kernel, kind, forget }
    }
}

impl Sweep for RowSweep {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn sweep<'a>(&'a self, org: &'a str, before_ms: i64) -> BoxFuture<'a, Result<u64, DbError>> {
        Box::pin(async move {
            let mut gone = 0;
            loop {
                match self.kernel.db.run(self.forget, args![org, before_ms]).await? {
                    0 => return Ok(gone),
                    portion => gone += portion,
                }
            }
        })
    }
}

/// The daily chore.
pub struct Retention {
    kernel: Kernel,
    sweeps: Vec<Arc<dyn Sweep>>,
    runs: Arc<dyn Runs>,
}

impl Retention {
    /// Registers the chore, with the sweeps of the desks and what they know of runs, and schedules it unless it is.
    ///
    /// # Errors
    /// What the store says.
    pub async fn start(kernel: &Kernel, sweeps: Vec<Arc<dyn Sweep>>, runs: Arc<dyn Runs>) -> Result<(), DbError> {
        let chore = Self { kernel: kernel.clone(), sweeps, runs };
        kernel.jobs.register(KIND, Arc::new(chore));
        let first = Job::new("", KIND, KEY, kernel.clock.now_ms() + DAY_MS, Value::Null);
        kernel.db.writer().commit(vec![first.schedule_once_write()]).await.map(drop)
    }

    async fn run_once(&self, now_ms: i64) -> Result<(), DbError> {
        let orgs = self
            .kernel
            .orgs()
            .await
            .map_err(|error| DbError::Column { column: "org".to_owned(), reason: error.to_string() })?;
        for org in orgs {
            if let Err(error) = self.forget(&org.id, OVER, now_ms, now_ms).await {
                tracing::error!(org = org.id, %error, "what is over could not be forgotten; again tomorrow");
            }
            for (kind, days) in &org.settings.retention_days {
                // What one organisation's chore stumbles over is no reason to keep the others' things.
                match self.forget(&org.id, kind, now_ms - i64::from(*days) * DAY_MS, now_ms).await {
                    Ok(gone) => tracing::info!(org = org.id, kind, days, gone, "retention"),
                    Err(error) => tracing::error!(org = org.id, kind, days, %error, "retention failed; again tomorrow"),
                }
            }
        }
        self.forget_deliveries(now_ms - DELIVERY_DAYS * DAY_MS).await?;
        self.forget_deliveries_to_nobody(now_ms - DELIVERY_DAYS * DAY_MS).await?;
        let expired = [FORGET_ANSWERS, FORGET_SESSIONS, FORGET_ADMINISTRATOR_SESSIONS, FORGET_LINKS]
            .map(|sql| Write::new(sql, args![now_ms]));
        while self.kernel.db.run(FORGET_NOTICES, args![now_ms - NOTICE_DAYS * DAY_MS, PORTION]).await? > 0 {}
        self.kernel.db.writer().commit(expired.into()).await.map(drop)
    }

    async fn forget(&self, org: &str, kind: &str, before_ms: i64, now_ms: i64) -> Result<u64, DbError> {
        if kind == EVENTS {
            return self.forget_events(org, before_ms.min(now_ms - LEAST_EVENT_DAYS * DAY_MS)).await;
        }
        let mut gone = 0;
        for sweep in self.sweeps.iter().filter(|sweep| sweep.kind() == kind) {
            gone += sweep.sweep(org, before_ms).await?;
        }
        Ok(gone)
    }

    /// The head of the log up to a time, or up to the first event that a webhook has still to get. Positions grow
    /// with time but for the odd millisecond.
    async fn forget_events(&self, org: &str, before_ms: i64) -> Result<u64, DbError> {
        let owed = self.kernel.db.one(FIRST_OWED, args![org]).await?;
        let owed = owed.map(|row| row.opt_int("position")).transpose()?.flatten().unwrap_or(i64::MAX);
        let mut gone = 0;
        loop {
            let oldest = self.kernel.db.all(OLDEST_EVENTS, args![org, PORTION]).await?;
            let old = prefix(&oldest, |row| Ok(row.int("time_at")? < before_ms && row.int("position")? < owed))?;
            let Some(last) = old else { return Ok(gone) };
            gone += self.kernel.db.run(FORGET_EVENTS, args![org, last]).await?;
        }
    }

    /// Finished deliveries, and the publish URLs of runs that nothing is owed to any more and that have nothing more
    /// to tell.
    async fn forget_deliveries(&self, before_ms: i64) -> Result<(), DbError> {
        // Ids sort by time: everything below this one is older.
        let newest = self.kernel.ids.new("wh", before_ms);
        let mut after = String::new();
        loop {
            let webhooks = self.kernel.db.all(OLD_WEBHOOKS, args![&after, &newest, PORTION]).await?;
            let Some(last) = webhooks.last() else {
                return Ok(());
            };
            after = last.text("id")?;
            for webhook in &webhooks {
                let (id, org) = (webhook.text("id")?, webhook.text("org")?);
                let all_gone = self.forget_deliveries_to(&id, before_ms).await?;
                let run = webhook.text("run")?;
                if all_gone && !run.is_empty() && !self.runs.is_open(&org, &run).await? {
                    let writes =
                        vec![Write::new(FORGET_WEBHOOK, args![&org, &id]), Write::new(FORGET_KEYS, args![&org, &id])];
                    self.kernel.db.writer().commit(writes).await?;
                }
            }
        }
    }

    /// Finished deliveries to webhooks that were removed since.
    async fn forget_deliveries_to_nobody(&self, before_ms: i64) -> Result<(), DbError> {
        let mut after = String::new();
        loop {
            let removed = self.kernel.db.all(REMOVED_WEBHOOKS, args![&after, PORTION]).await?;
            let Some(last) = removed.last() else { return Ok(()) };
            after = last.text("webhook")?;
            for webhook in &removed {
                self.forget_deliveries_to(&webhook.text("webhook")?, before_ms).await?;
            }
        }
    }

    /// True when none is left.
    async fn forget_deliveries_to(&self, webhook: &str, before_ms: i64) -> Result<bool, DbError> {
        loop {
            let oldest = self.kernel.db.all(OLDEST_DELIVERIES, args![webhook, PORTION]).await?;
            let done = |row: &Row| {
                let state = row.text("state")?;
                Ok(state != "fast" && state != "slow" && row.int("expires_at")? < before_ms)
            };
            let Some(last) = prefix(&oldest, done)? else {
                return Ok(oldest.is_empty());
            };
            self.kernel.db.run(FORGET_DELIVERIES, args![webhook, last]).await?;
        }
    }
}

/// The position of the last row before the first that is not `old`.
fn prefix(rows: &[Row], old: impl Fn(&Row) -> Result<bool, DbError>) -> Result<Option<i64>, DbError> {
    let mut last = None;
    for row in rows {
        if !old(row)? {
            break;
        }
        last = Some(row.int("position")?);
    }
    Ok(last)
}

impl JobHandler for Retention {
    fn run(&self, _: Job) -> BoxFuture<'_, JobOutcome> {
        Box::pin(async move {
            let now_ms = self.kernel.clock.now_ms();
            match self.run_once(now_ms).await {
                Ok(()) => JobOutcome::Again { at_ms: now_ms + DAY_MS },
                Err(error) => JobOutcome::Failed(error.to_string()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::kernel::testing::{START_MS, each};
    use crate::org::NewOrg;
    use crate::outbox::{NewWebhook, Outbox};
    use crate::{Event, Org};

    type Swept = Arc<Mutex<Vec<(String, i64)>>>;
    struct Recordings(Swept);
    impl Sweep for Recordings {
        fn kind(&self) -> &'static str {
            "recordings"
        }
        fn sweep<'a>(&'a self, org: &'a str, before_ms: i64) -> BoxFuture<'a, Result<u64, DbError>> {
            self.0.lock().unwrap().push((org.to_owned(), before_ms));
            Box::pin(async { Ok(0) })
        }
    }

    struct Over(Swept);
    impl Sweep for Over {
        fn kind(&self) -> &'static str {
            OVER
        }
        fn sweep<'a>(&'a self, org: &'a str, before_ms: i64) -> BoxFuture<'a, Result<u64, DbError>> {
            self.0.lock().unwrap().push((org.to_owned(), before_ms));
            Box::pin(async { Ok(0) })
        }
    }

    /// Runs of which some are open.
    struct Open(Mutex<Vec<&'static str>>);
    impl Runs for Open {
        fn is_open<'a>(&'a self, _: &'a str, run: &'a str) -> BoxFuture<'a, Result<bool, DbError>> {
            let open = self.0.lock().unwrap().contains(&run);
            Box::pin(async move { Ok(open) })
        }
    }

    fn open(runs: &[&'static str]) -> Arc<Open> {
        Arc::new(Open(Mutex::new(runs.to_vec())))
    }

    async fn org(kernel: &Kernel, name: &str, retention: &[(&str, u32)]) -> Org {
        let new = NewOrg { name: name.to_owned(), ..NewOrg::default() };
        let org = kernel.create_org(new).await.unwrap();
        let mut settings = org.settings.clone();
        settings.retention_days = retention.iter().map(|(kind, days)| ((*kind).to_owned(), *days)).collect();
        let sql = "update org set settings = $2 where id = $1";
        kernel.db.run(sql, args![&org.id, serde_json::to_string(&settings).unwrap()]).await.unwrap();
        org
    }

    async fn count(kernel: &Kernel, sql: &'static str) -> i64 {
        kernel.db.one(sql, args![]).await.unwrap().unwrap().int("n").unwrap()
    }

    #[tokio::test]
    async fn old_things_go_and_owed_and_young_ones_stay() {
        for test in each().await {
            let kernel = &test.kernel;
            let keeps = org(kernel, "Keeps", &[("recordings", 30), ("unknown", 1)]).await;
            let forgets = org(kernel, "Forgets", &[("events", 10)]).await;
            for (org, run) in [(&keeps, "run_1"), (&forgets, "run_2")] {
                let new = NewWebhook { url: "https://a.example/".parse().unwrap(), method: "POST", events: vec![] };
                let key = crate::webhook::SigningKey::random(&kernel.ids);
                let (target, mut writes) = kernel.outbox.run_target(&org.id, run, &new, Some(&key)).unwrap();
                for (seq, days) in (1..=1_200).zip((0..1_200).map(|n| i64::from(n / 60))) {
                    let event = Event {
                        id: format!("{run}{seq}"),
                        kind: "call.ringing".into(),
                        time_ms: START_MS + days * DAY_MS,
                        org: org.id.clone(),
                        key: run.into(),
                        seq,
                        body: Value::Null,
                    };
                    writes.extend(Outbox::event_writes(&event, [&target]));
                }
                kernel.db.writer().commit(writes).await.unwrap();
            }
            // All delivered but one of the second organisation.
            let done = "update delivery set state = 'done' where org = $1 or position <> (select min(position) from delivery where org <> $1)";
            kernel.db.run(done, args![&keeps.id]).await.unwrap();

            let swept = Swept::default();
            let over = Swept::default();
            let sweeps: Vec<Arc<dyn Sweep>> =
                vec![Arc::new(Recordings(Arc::clone(&swept))), Arc::new(Over(Arc::clone(&over)))];
            let runs = open(&["run_1"]);
            let chore = Retention { kernel: kernel.clone(), sweeps, runs: runs.clone() };
            let now_ms = START_MS + 20 * DAY_MS;
            chore.run_once(now_ms).await.unwrap();
            assert_eq!(*swept.lock().unwrap(), [(keeps.id.clone(), now_ms - 30 * DAY_MS)]);
            // They come by their ids, of which chance decides a part.
            let mut each = [(keeps.id.clone(), now_ms), (forgets.id.clone(), now_ms)];
            each.sort();
            over.lock().unwrap().sort();
            assert_eq!(*over.lock().unwrap(), each, "of every organisation");
            assert_eq!(
                count(kernel, "select count(*) as n from event").await,
                2_400,
                "one is owed, the others are behind it"
            );
            // Deliveries older than seven days are gone, except behind the one that is owed.
            assert_eq!(count(kernel, "select count(*) as n from delivery").await, 7 * 60 + 1_200);
            chore.run_once(START_MS + 60 * DAY_MS).await.unwrap();
            assert_eq!(count(kernel, "select count(*) as n from webhook").await, 2, "a callback of run_1 is to come");
            runs.0.lock().unwrap().clear();
            chore.run_once(START_MS + 61 * DAY_MS).await.unwrap();
            assert_eq!(count(kernel, "select count(*) as n from webhook").await, 1);
            assert_eq!(count(kernel, "select count(*) as n from signing_secret").await, 1);
            kernel.db.run("update delivery set state = 'done'", args![]).await.unwrap();
            chore.run_once(START_MS + 62 * DAY_MS).await.unwrap();
            assert_eq!(count(kernel, "select count(*) as n from webhook").await, 0);
            assert_eq!(
                count(kernel, "select count(*) as n from event").await,
                1_200,
                "and those of who keeps them stay"
            );
        }
    }

    #[tokio::test]
    async fn what_was_sent_to_a_webhook_that_is_removed_goes_too() {
        for test in each().await {
            let kernel = &test.kernel;
            let org = org(kernel, "A", &[]).await;
            let new = NewWebhook { url: "https://a.example/".parse().unwrap(), method: "POST", events: vec![] };
            let (webhook, _) = kernel.outbox.add_webhook(&org.id, new).await.unwrap();
            let event = Event {
                id: "evt_1".into(),
                kind: "call.ringing".into(),
                time_ms: START_MS,
                org: org.id.clone(),
                key: "call_1".into(),
                seq: 1,
                body: Value::Null,
            };
            let targets = kernel.outbox.targets(&org.id).await.unwrap();
            kernel.db.writer().commit(Outbox::event_writes(&event, targets.iter())).await.unwrap();
            assert!(kernel.outbox.remove_webhook(&org.id, &webhook.id).await.unwrap());
            let chore = Retention { kernel: kernel.clone(), sweeps: Vec::new(), runs: open(&[]) };
            for (days, left) in [(3, 1), (30, 0)] {
                chore.run_once(START_MS + days * DAY_MS).await.unwrap();
                assert_eq!(count(kernel, "select count(*) as n from delivery").await, left, "after {days} days");
            }
        }
    }

    #[tokio::test]
    async fn the_chore_runs_once_a_day() {
        for test in each().await {
            let kernel = &test.kernel;
            org(kernel, "A", &[("recordings", 1)]).await;
            let swept = Swept::default();
            for _ in 0..2 {
                let sweeps: Vec<Arc<dyn Sweep>> = vec![Arc::new(Recordings(Arc::clone(&swept)))];
                Retention::start(kernel, sweeps, open(&[])).await.unwrap();
            }
            kernel.start();
            for day in 1..=3 {
                test.hand.set(START_MS + day * DAY_MS);
                while swept.lock().unwrap().len() < usize::try_from(day).unwrap() {
                    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
                }
                tokio::time::sleep(std::time::Duration::from_millis(30)).await;
            }
            assert_eq!(swept.lock().unwrap().len(), 3);
            kernel.close().await;
        }
    }

    #[tokio::test]
    async fn statements_are_understood() {
        for test in crate::db::testing::TestDb::each().await {
            assert_eq!(test.unpreparable(&[ALL]).await, Vec::<String>::new());
        }
    }
}
