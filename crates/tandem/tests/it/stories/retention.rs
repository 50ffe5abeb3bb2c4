//! An organisation that keeps its calls for thirty days: once a day their runs and callbacks go with
//! them, but for what is still owed, still kept, or another's.

use std::time::Duration;

use kernel::{Db, args};
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::harness::server::{Plan, Tenant};

/// 2026-11-21T12:00:00Z.
const NOON: i64 = 1_795_262_400_000;
const DAY_MS: i64 = 24 * 3_600_000;
const KEPT_DAYS: i64 = 30;
/// Younger than what is kept, and older, when the chore runs a day after noon.
const YOUNG_MS: i64 = NOON - 2 * DAY_MS;
const OLD_MS: i64 = NOON - 2 * KEPT_DAYS * DAY_MS;
const SOON: Duration = Duration::from_secs(20);

const CALL: &str = "insert into call (id, org, node, direction, from_number, to_number, state, started_at, ended_at) \
    values ($1, $2, 'n', 'outbound', '', '', 'completed', $3, $3)";
const RECORDING: &str = "insert into recording (id, org, call, node, state, path, started_at) \
    values ($1, $2, $3, 'n', 'ready', $1, $4)";
const RUN: &str = "insert into flow_run (id, org, call, started_at) values ($1, $2, $3, $4)";
const CALLBACK: &str = "insert into callback (id, org, run, step, call, wall_date, wall_time, zone, entity, customer, \
    ring_order, attempts, state, due_at, created_at, ended_at) \
    values ($1, $2, $3, '1', '', '', '', 'UTC', '', '', '', 1, $4, $5, $6, $7)";

/// The rows of one organisation, of every kind that matters.
async fn fill(db: &Db, tenant: &Tenant<'_>) {
    let (org, slug) = (&*tenant.org.id, &*tenant.org.slug);
    let named = |name: &str| format!("{name}_{slug}");
    for (call, at_ms) in [("old", OLD_MS), ("recorded", OLD_MS), ("young", YOUNG_MS)] {
        db.run(CALL, args![named(call), org, at_ms]).await.unwrap();
    }
    db.run(RECORDING, args![named("rec"), org, named("recorded"), OLD_MS]).await.unwrap();
    for (run, call, at_ms) in [
        ("of_old_call", "old", OLD_MS),
        ("without_call", "", OLD_MS),
        ("of_recorded_call", "recorded", OLD_MS),
        ("owes_callback", "old", OLD_MS),
        ("called_back", "old", OLD_MS),
        ("young_without_call", "", YOUNG_MS),
    ] {
        let call = if call.is_empty() { String::new() } else { named(call) };
        db.run(RUN, args![named(run), org, call, at_ms]).await.unwrap();
    }
    // What is scheduled is due long after the test.
    for (callback, run, state, ended_ms) in [
        ("ended_long_ago", "called_back", "completed", Some(OLD_MS)),
        ("ended_lately", "of_recorded_call", "missed", Some(YOUNG_MS)),
        ("to_come", "owes_callback", "scheduled", None),
    ] {
        let due_ms = NOON + 300 * DAY_MS;
        db.run(CALLBACK, args![named(callback), org, named(run), state, due_ms, OLD_MS, ended_ms]).await.unwrap();
    }
}

/// The names of an organisation's rows in a table, in their order.
async fn names(db: &Db, sql: &'static str, tenant: &Tenant<'_>) -> Vec<String> {
    let rows = db.all(sql, args![&*tenant.org.id]).await.unwrap();
    let suffix = format!("_{}", tenant.org.slug);
    rows.iter().map(|row| row.text("id").unwrap().strip_suffix(&suffix).unwrap().to_owned()).collect()
}

const CALLS: &str = "select id from call where org = $1 order by id";
const RUNS: &str = "select id from flow_run where org = $1 order by id";
const CALLBACKS: &str = "select id from callback where org = $1 order by id";

#[tokio::test(flavor = "multi_thread")]
async fn runs_and_callbacks_go_with_their_calls_and_not_before() {
    let server = Plan::new().at(NOON).start().await;
    let db = &server.app.kernel.db;
    let (forgets, keeps) = (server.org("forgets").await, server.org("keeps").await);
    let kept = json!({"retention_days": {"calls": KEPT_DAYS}});
    forgets.client().patch("/v1/org/settings", &kept).await.expect(200);
    fill(db, &forgets).await;
    fill(db, &keeps).await;
    let everything =
        (names(db, CALLS, &keeps).await, names(db, RUNS, &keeps).await, names(db, CALLBACKS, &keeps).await);
    assert_eq!((everything.0.len(), everything.1.len(), everything.2.len()), (3, 6, 3));

    server.clock().advance(DAY_MS);
    let chore = timeout(SOON, async {
        while names(db, CALLS, &forgets).await.len() == 3 || names(db, RUNS, &forgets).await.len() == 6 {
            sleep(Duration::from_millis(20)).await;
        }
    });
    chore.await.expect("the daily chore forgets calls and runs");

    assert_eq!(names(db, CALLS, &forgets).await, ["recorded", "young"]);
    assert_eq!(names(db, RUNS, &forgets).await, ["of_recorded_call", "owes_callback", "young_without_call"]);
    assert_eq!(names(db, CALLBACKS, &forgets).await, ["ended_lately", "to_come"]);
    let kept = (names(db, CALLS, &keeps).await, names(db, RUNS, &keeps).await, names(db, CALLBACKS, &keeps).await);
    assert_eq!(kept, everything, "an organisation without the setting keeps all");
    server.stop().await;
}
