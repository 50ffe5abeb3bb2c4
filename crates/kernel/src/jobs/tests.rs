//! Jobs on both engines under a fake clock.

use super::*;
use crate::db::testing::TestDb;
use crate::time::ClockHand;
use tokio::sync::mpsc;

const NOW: i64 = 1_795_261_140_000;

struct Stage {
    jobs: Jobs,
    hand: ClockHand,
    tasks: TaskTracker,
    stop: CancellationToken,
}

fn stage(test: &TestDb, node: &str, clock: &(Clock, ClockHand)) -> Stage {
    let jobs = Jobs::new(test.db.clone(), test.bus.clone(), clock.0.clone(), Ids::os(), node);
    Stage { jobs, hand: clock.1.clone(), tasks: TaskTracker::new(), stop: CancellationToken::new() }
}

impl Stage {
    fn start(&self) {
        self.jobs.start(&self.tasks, self.stop.clone());
        self.tasks.close();
    }
    async fn end(self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

/// Tells of each run, and answers by a rule.
struct Told<F>(mpsc::Sender<Job>, F);
impl<F: Fn(&Job) -> JobOutcome + Send + Sync + 'static> JobHandler for Told<F> {
    fn run(&self, job: Job) -> BoxFuture<'_, JobOutcome> {
        Box::pin(async move {
            let outcome = (self.1)(&job);
            self.0.send(job).await.unwrap();
            outcome
        })
    }
}

async fn nothing_runs(runs: &mut mpsc::Receiver<Job>) {
    let run = tokio::time::timeout(Duration::from_millis(50), runs.recv()).await;
    assert!(run.is_err(), "{run:?}");
}

async fn count(test: &TestDb) -> i64 {
    let row = test.db.one("select count(*) as n from job", args![]).await.unwrap().unwrap();
    row.int("n").unwrap()
}

async fn until_empty(test: &TestDb) {
    while count(test).await > 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_job_fires_at_its_time_once_and_its_row_goes() {
    for test in TestDb::each().await {
        assert_eq!(test.unpreparable(&[ALL]).await, Vec::<String>::new());
        let clock = Clock::fake(NOW);
        let stage = stage(&test, "n1", &clock);
        let (told, mut runs) = mpsc::channel(9);
        stage.jobs.register("callback", Arc::new(Told(told, |_: &Job| JobOutcome::Done)));
        stage.start();
        let week = 7 * 24 * 3_600_000;
        let job = Job::new("org_1", "callback", "cb_1", NOW + week, serde_json::json!({"to": "+4412"}));
        let stranger = Job::new("", "unknown", "x", NOW, Value::Null);
        test.db.writer().commit(vec![job.schedule_write(), stranger.schedule_write()]).await.unwrap();
        stage.hand.set(NOW + week - 1);
        nothing_runs(&mut runs).await;
        assert!(stage.jobs.get("org_1", "callback", "cb_1").await.unwrap().is_some());
        assert!(stage.jobs.get("org_2", "callback", "cb_1").await.unwrap().is_none());
        stage.hand.advance(1);
        let run = runs.recv().await.unwrap();
        assert_eq!((run.key.as_str(), run.attempt, &run.payload), ("cb_1", 1, &job.payload));
        while count(&test).await > 1 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        stage.hand.advance(week);
        nothing_runs(&mut runs).await;
        stage.end().await;
    }
}

#[tokio::test]
async fn a_failure_or_a_panic_backs_off_and_again_comes_when_it_said() {
    let test = TestDb::sqlite().await;
    let clock = Clock::fake(NOW);
    let stage = stage(&test, "n1", &clock);
    let (told, mut runs) = mpsc::channel(9);
    let rule = |job: &Job| match job.attempt {
        1 => JobOutcome::Failed("busy".into()),
        2 => JobOutcome::Again { at_ms: NOW + 100_000 },
        _ => JobOutcome::Done,
    };
    stage.jobs.register("a", Arc::new(Told(told, rule)));
    stage.start();
    test.db.writer().commit(vec![Job::new("", "a", "1", NOW, Value::Null).schedule_write()]).await.unwrap();
    runs.recv().await.unwrap();
    stage.hand.set(NOW + 4_999);
    nothing_runs(&mut runs).await;
    stage.hand.set(NOW + 5_000);
    runs.recv().await.unwrap();
    stage.hand.set(NOW + 99_999);
    nothing_runs(&mut runs).await;
    stage.hand.set(NOW + 100_000);
    assert_eq!(runs.recv().await.unwrap().attempt, 3);
    until_empty(&test).await;
    let waits: Vec<_> = (1..=12).map(|attempt| backoff_ms(attempt) / 1_000).collect();
    assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 640, 1_280, 2_560, 3_600, 3_600]);
    stage.end().await;
}

#[tokio::test]
async fn a_panicking_handler_is_a_failed_job() {
    let test = TestDb::sqlite().await;
    let clock = Clock::fake(NOW);
    let stage = stage(&test, "n1", &clock);
    let (told, mut runs) = mpsc::channel(9);
    let rule = |job: &Job| {
        assert!(job.attempt > 1, "the first run panics");
        JobOutcome::Done
    };
    stage.jobs.register("a", Arc::new(Told(told, rule)));
    stage.start();
    test.db.writer().commit(vec![Job::new("", "a", "1", NOW, Value::Null).schedule_write()]).await.unwrap();
    while stage.jobs.get("", "a", "1").await.unwrap().unwrap().due_ms == NOW {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    stage.hand.advance(5_000);
    assert_eq!(runs.recv().await.unwrap().attempt, 2);
    stage.end().await;
}

#[tokio::test]
async fn rescheduling_or_cancelling_wins_over_a_run_that_ends_later() {
    struct Slow(mpsc::Sender<Job>, Arc<tokio::sync::Semaphore>);
    impl JobHandler for Slow {
        fn run(&self, job: Job) -> BoxFuture<'_, JobOutcome> {
            Box::pin(async move {
                self.0.send(job).await.unwrap();
                self.1.acquire().await.unwrap().forget();
                JobOutcome::Done
            })
        }
    }
    for test in TestDb::each().await {
        let clock = Clock::fake(NOW);
        let stage = stage(&test, "n1", &clock);
        let (told, mut runs) = mpsc::channel(9);
        let gate = Arc::new(tokio::sync::Semaphore::new(0));
        stage.jobs.register("a", Arc::new(Slow(told, Arc::clone(&gate))));
        stage.start();
        let job = Job::new("", "a", "1", NOW, Value::Null);
        test.db.writer().commit(vec![job.schedule_write()]).await.unwrap();
        let first = runs.recv().await.unwrap();
        // A long run keeps its claim: neither the lease's end nor a second look starts it again.
        stage.hand.advance(LEASE_MS * 10);
        nothing_runs(&mut runs).await;
        let twice = test.db.writer().commit(vec![job.schedule_once_write()]).await.unwrap();
        assert_eq!(twice, [0]);
        let later = Job { due_ms: NOW + LEASE_MS * 11, ..job.clone() };
        test.db.writer().commit(vec![later.schedule_write()]).await.unwrap();
        assert!(matches!(test.db.writer().commit(vec![first.done_write()]).await, Err(DbError::Conflict)));
        gate.add_permits(1);
        nothing_runs(&mut runs).await;
        assert_eq!(count(&test).await, 1);
        stage.hand.advance(LEASE_MS);
        let second = runs.recv().await.unwrap();
        test.db.writer().commit(vec![second.done_write()]).await.unwrap();
        gate.add_permits(1);
        until_empty(&test).await;
        test.db.writer().commit(vec![later.schedule_write(), cancel_write("a", "1")]).await.unwrap();
        nothing_runs(&mut runs).await;
        stage.end().await;
    }
}

#[tokio::test]
async fn of_two_nodes_one_runs_each_job_and_a_dead_ones_work_is_taken_over() {
    for test in TestDb::each().await {
        let clock = Clock::fake(NOW);
        let (one, two) = (stage(&test, "n1", &clock), stage(&test, "n2", &clock));
        let (told, mut runs) = mpsc::channel(500);
        for stage in [&one, &two] {
            stage.jobs.register("a", Arc::new(Told(told.clone(), |_: &Job| JobOutcome::Done)));
            stage.start();
        }
        let many = (0..200).map(|n| Job::new("", "a", &n.to_string(), NOW, Value::Null).schedule_write());
        test.db.writer().commit(many.collect()).await.unwrap();
        until_empty(&test).await;
        let mut keys = std::collections::HashSet::new();
        while let Ok(run) = runs.try_recv() {
            assert!(keys.insert(run.key.clone()), "{} ran twice", run.key);
        }
        assert_eq!(keys.len(), 200);

        // A third node claims one and dies.
        let dead = stage(&test, "n3", &clock);
        test.db.writer().commit(vec![Job::new("", "dead", "1", NOW, Value::Null).schedule_write()]).await.unwrap();
        let mut tx = test.db.begin().await.unwrap();
        let args = args!["dead", NOW, dead.jobs.node.as_ref(), "claim_x", NOW + LEASE_MS, 1_i64];
        assert!(tx.one(CLAIM, args).await.unwrap().is_some());
        tx.commit().await.unwrap();
        one.jobs.register("dead", Arc::new(Told(told.clone(), |_: &Job| JobOutcome::Done)));
        nothing_runs(&mut runs).await;
        one.hand.advance(LEASE_MS);
        assert_eq!(runs.recv().await.unwrap().attempt, 2);
        until_empty(&test).await;
        one.end().await;
        two.end().await;
    }
}

#[tokio::test]
async fn a_node_that_starts_again_frees_what_it_held() {
    let test = TestDb::sqlite().await;
    let clock = Clock::fake(NOW);
    test.db.writer().commit(vec![Job::new("", "a", "1", NOW, Value::Null).schedule_write()]).await.unwrap();
    let mut tx = test.db.begin().await.unwrap();
    assert!(tx.one(CLAIM, args!["a", NOW, "n1", "claim_x", NOW + LEASE_MS, 1_i64]).await.unwrap().is_some());
    tx.commit().await.unwrap();
    let stage = stage(&test, "n1", &clock);
    let (told, mut runs) = mpsc::channel(9);
    stage.jobs.register("a", Arc::new(Told(told, |_: &Job| JobOutcome::Done)));
    stage.start();
    assert_eq!(runs.recv().await.unwrap().attempt, 2);
    stage.end().await;
}

#[tokio::test]
async fn a_crowd_of_one_kind_keeps_no_place_from_another() {
    struct Slow(mpsc::Sender<Job>, Arc<tokio::sync::Semaphore>);
    impl JobHandler for Slow {
        fn run(&self, job: Job) -> BoxFuture<'_, JobOutcome> {
            Box::pin(async move {
                self.0.send(job).await.unwrap();
                self.1.acquire().await.unwrap().forget();
                JobOutcome::Done
            })
        }
    }
    for test in TestDb::each().await {
        let clock = Clock::fake(NOW);
        let stage = stage(&test, "n1", &clock);
        let (told, mut runs) = mpsc::channel(500);
        let gate = Arc::new(tokio::sync::Semaphore::new(0));
        stage.jobs.register("slow", Arc::new(Slow(told.clone(), Arc::clone(&gate))));
        stage.jobs.register("quick", Arc::new(Told(told, |_: &Job| JobOutcome::Done)));
        stage.start();
        let crowd = (0..150).map(|n| Job::new("", "slow", &n.to_string(), NOW - 150 + n, Value::Null).schedule_write());
        test.db.writer().commit(crowd.collect()).await.unwrap();
        let mut started = Vec::new();
        for _ in 0..MAX_RUNNING {
            started.push(runs.recv().await.unwrap().due_ms);
        }
        assert!(started.iter().all(|due_ms| *due_ms < NOW - 150 + 64), "the oldest first: {started:?}");
        nothing_runs(&mut runs).await;
        test.db.writer().commit(vec![Job::new("", "quick", "1", NOW, Value::Null).schedule_write()]).await.unwrap();
        assert_eq!(runs.recv().await.unwrap().kind, "quick");
        gate.add_permits(150);
        until_empty(&test).await;
        stage.end().await;
    }
}

#[tokio::test]
async fn what_a_handler_has_settled_is_left_as_it_is() {
    struct Anew(Db, mpsc::Sender<i64>);
    impl JobHandler for Anew {
        fn run(&self, job: Job) -> BoxFuture<'_, JobOutcome> {
            Box::pin(async move {
                let again = Job { due_ms: job.due_ms + 1_000, ..job.clone() };
                let write = if job.due_ms == NOW { again.schedule_write() } else { job.done_write() };
                self.0.writer().commit(vec![write]).await.unwrap();
                self.1.send(job.due_ms).await.unwrap();
                JobOutcome::Settled
            })
        }
    }
    let test = TestDb::sqlite().await;
    let clock = Clock::fake(NOW);
    let stage = stage(&test, "n1", &clock);
    let (told, mut runs) = mpsc::channel(9);
    stage.jobs.register("a", Arc::new(Anew(test.db.clone(), told)));
    stage.start();
    test.db.writer().commit(vec![Job::new("", "a", "1", NOW, Value::Null).schedule_write()]).await.unwrap();
    assert_eq!(runs.recv().await.unwrap(), NOW);
    stage.hand.advance(1_000);
    assert_eq!(runs.recv().await.unwrap(), NOW + 1_000);
    until_empty(&test).await;
    stage.end().await;
}
