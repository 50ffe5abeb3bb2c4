//! Prints what a durable event costs: CPU time of this process per event row, by the number of rows that share a commit.
//!
//! `cargo run --release -p kernel --example durable_rows [URL]`; without a URL on SQLite in a temporary folder. With
//! PostgreSQL its server's own CPU time is not in the figures.

use std::sync::Arc;

use kernel::db::testing::TestDb;
use kernel::outbox::NewWebhook;
use kernel::{Bus, Clock, Db, Event, Ids, Outbox, Secrets, Target, Write};

/// Events per figure.
const EVENTS: i64 = 20_000;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (db, bus, _test) = match std::env::args().nth(1) {
        Some(url) => {
            let bus = Bus::local();
            (Db::open(&url, bus.clone()).await?, bus, None)
        }
        None => {
            let test = TestDb::sqlite().await;
            (test.db.clone(), test.bus.clone(), Some(test))
        }
    };
    let (clock, ids) = (Clock::system(), Ids::os());
    let org = ids.new("org", clock.now_ms());
    let sql = "insert into org (id, slug, name, cloud_sid, zone, created_at) values ($1, $1, $1, $1, 'UTC', 0)";
    db.run(sql, kernel::args![&org]).await?;
    let egress = kernel::Egress::new(&kernel::Config::default().egress)?;
    let secrets = Secrets::from_key(&[0; 32]);
    let outbox = Outbox::new(db.clone(), bus, clock.clone(), ids.clone(), secrets, Arc::new(egress));
    let new = NewWebhook { url: "https://receiver.example/".parse()?, method: "POST", events: vec![] };
    let (target, writes) = outbox.run_target(&org, "run_1", &new, None)?;
    db.writer().commit(writes).await?;

    println!("{}: CPU us an event, and an event with one delivery", db.engine_name());
    for rows_a_commit in [1, 10, 100, 500] {
        let alone = cost(&db, &ids, &clock, &org, &[], rows_a_commit).await?;
        let owed = cost(&db, &ids, &clock, &org, std::slice::from_ref(&target), rows_a_commit).await?;
        println!("{rows_a_commit:>4} a commit  {alone:7.1}  {owed:7.1}");
    }
    let wall = std::time::Duration::from_millis(500);
    let before = cpu_us()?;
    tokio::time::sleep(wall).await;
    println!("idle: {:.1} us a second", (cpu_us()? - before) / wall.as_secs_f64());
    db.close().await;
    Ok(())
}

/// CPU microseconds per event when so many share a commit.
async fn cost(
    db: &Db,
    ids: &Ids,
    clock: &Clock,
    org: &str,
    targets: &[Target],
    rows_a_commit: i64,
) -> Result<f64, Box<dyn std::error::Error>> {
    let events = EVENTS.min(rows_a_commit * 2_000);
    let before = cpu_us()?;
    for _ in 0..events / rows_a_commit {
        let key = ids.new("call", clock.now_ms());
        let group = (1..=rows_a_commit).flat_map(|seq| writes(ids, clock, org, &key, seq, targets));
        db.writer().commit(group.collect()).await?;
    }
    #[expect(clippy::cast_precision_loss, reason = "thousands")]
    Ok((cpu_us()? - before) / events as f64)
}

fn writes(ids: &Ids, clock: &Clock, org: &str, key: &str, seq: i64, targets: &[Target]) -> Vec<Write> {
    let now_ms = clock.now_ms();
    let event = Event {
        id: ids.new("evt", now_ms),
        kind: "call.answered".to_owned(),
        time_ms: now_ms,
        org: org.to_owned(),
        key: key.to_owned(),
        seq,
        body: serde_json::json!({
            "run_id": "run_01jdabcdefghjkmnpqrstvwxyz",
            "call": {"id": key, "direction": "outbound", "from": "+442071838750", "to": "+917507161643", "state": "answered"},
            "leg": {"id": "leg_01jdabcdefghjkmnpqrstvwxyz", "role": "customer"},
            "data": {},
        }),
    };
    Outbox::event_writes(&event, targets)
}

/// CPU time of all threads of this process so far.
fn cpu_us() -> std::io::Result<f64> {
    let mut nanoseconds = 0.0;
    for task in std::fs::read_dir("/proc/self/task")? {
        let line = std::fs::read_to_string(task?.path().join("schedstat"))?;
        nanoseconds += line.split(' ').next().and_then(|first| first.parse::<f64>().ok()).unwrap_or(0.0);
    }
    Ok(nanoseconds / 1_000.0)
}
