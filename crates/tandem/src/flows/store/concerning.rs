//! What flows keep of a party: the runs of its calls with what they knew, and callbacks that were booked for it.
//!
//! Invariant: a callback that is not over is neither erased nor robbed of its run; page by page in the order of ids.

use calls::concerning::Party;
use kernel::{DbError, Kernel, Row, Write, args, time::rfc3339};
use serde_json::{Value, json};

kernel::statements! {
    RUNS_OF_CALL = "select id from flow_run where org = $1 and call = $2 order by id limit 100";
    CALLBACKS_OF = "select id, run, call, wall_date, wall_time, zone, entity, customer, attempts, attempt, state, due_at, \
        last_call, reason, created_at, ended_at from callback \
        where org = $1 and id > $2 and (customer in ($3, $4, $5) or entity in ($3, $4, $5)) order by id limit 200";
    ERASE_EVENTS = "delete from event where org = $1 and key = $2 and position not in \
        (select d.position from delivery d where d.org = $1 and d.key = $2 and d.state in ('fast', 'slow'))";
    ERASE_CALLBACK = "delete from callback where org = $1 and id = $2 and ended_at is not null \
        and not exists (select 1 from event e where e.org = $1 and e.key = $2)";
    ERASE_LONELY_RUN = "delete from flow_run where org = $1 and id = $2 \
        and not exists (select 1 from call c where c.org = flow_run.org and c.id = flow_run.call) \
        and not exists (select 1 from callback b where b.org = flow_run.org and b.run = flow_run.id and b.ended_at is null)";
}

/// The runs of a call: by which steps it went, and what it knew. Not the flow itself, which is the organisation's: it
/// may hold keys to other servers and other people's numbers.
pub(crate) async fn runs_of(kernel: &Kernel, org: &str, call: &str) -> Result<Vec<Value>, DbError> {
    let mut runs = Vec::new();
    for row in kernel.db.all(RUNS_OF_CALL, args![org, call]).await? {
        if let Some(run) = super::run(&kernel.db, org, &row.text("id")?).await? {
            let started_at = rfc3339(run.started_ms);
            let steps = run.body.get("flow").and_then(Value::as_array).into_iter().flatten();
            let steps: Vec<Value> = steps.map(|step| json!({"id": step.get("id"), "type": step.get("type")})).collect();
            runs.push(json!({"id": run.id, "started_at": started_at, "steps": steps, "variables": run.variables}));
        }
    }
    Ok(runs)
}

/// A callback as it is given to the party that it concerns.
pub(crate) struct Booked {
    pub(crate) id: String,
    run: String,
    is_over: bool,
    told: Value,
}

impl Booked {
    fn read(row: &Row) -> Result<Self, DbError> {
        let (id, ended_ms) = (row.text("id")?, row.opt_int("ended_at")?);
        let told = json!({
            "id": id,
            "call_id": row.text("call")?,
            "wanted_for": [row.text("wall_date")?, row.text("wall_time")?, row.text("zone")?],
            "entity": row.text("entity")?,
            "customer": row.text("customer")?,
            "attempts": row.int("attempts")?,
            "attempt": row.int("attempt")?,
            "state": row.text("state")?,
            "due_at": rfc3339(row.int("due_at")?),
            "last_call": row.text("last_call")?,
            "reason": row.text("reason")?,
            "created_at": rfc3339(row.int("created_at")?),
            "ended_at": ended_ms.map(rfc3339),
        });
        Ok(Self { id, run: row.text("run")?, is_over: ended_ms.is_some(), told })
    }

    /// With its events.
    pub(crate) async fn told(self, kernel: &Kernel, org: &str) -> Result<Value, DbError> {
        let events = crate::flows::path::events_of(kernel, org, &self.id, "").await?;
        Ok(json!({"callback": self.told, "events": events}))
    }
}

/// Callbacks that were booked for a party, after an id (`""` = from the first); the last page is an empty one.
pub(crate) async fn callbacks_of(
    kernel: &Kernel,
    org: &str,
    party: &Party,
    after: &str,
) -> Result<Vec<Booked>, DbError> {
    let mut wanted = args![org, after];
    wanted.extend(party.spellings());
    kernel.db.all(CALLBACKS_OF, wanted).await?.iter().map(Booked::read).collect()
}

/// Erases a page of them, from after `after`, which moves on: how many went, and how many stay because they are not
/// over or a webhook has still to hear of them. `None` when there are no more.
pub(crate) async fn erase_callbacks(
    kernel: &Kernel,
    org: &str,
    party: &Party,
    after: &mut String,
) -> Result<Option<(u64, u64)>, DbError> {
    let page = callbacks_of(kernel, org, party, after).await?;
    let Some(last) = page.last() else { return Ok(None) };
    after.clone_from(&last.id);
    let (mut gone, mut kept) = (0, 0);
    for callback in page {
        let erased = if callback.is_over { erase_callback(kernel, org, &callback).await? } else { false };
        if erased {
            gone += 1;
        } else {
            kept += 1;
        }
    }
    Ok(Some((gone, kept)))
}

async fn erase_callback(kernel: &Kernel, org: &str, callback: &Booked) -> Result<bool, DbError> {
    let writes = vec![
        Write::new(ERASE_EVENTS, args![org, &callback.id]),
        Write::new(ERASE_CALLBACK, args![org, &callback.id]),
        Write::new(ERASE_LONELY_RUN, args![org, &callback.run]),
    ];
    let counts = kernel.db.writer().commit(writes).await?;
    Ok(counts.get(1) == Some(&1))
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn every_statement_can_be_prepared() {
        for test in kernel::db::testing::TestDb::each().await {
            assert_eq!(test.unpreparable(&[super::ALL]).await, Vec::<String>::new());
        }
    }
}
