//! Figures of an organisation's calls: by hour, how many were answered, how long people waited, how long they talked.
//!
//! Invariant: a figure counts ended calls only, each once, in the hour in which it began.

use kernel::args;
use kernel::db::{Db, DbError};

/// Hours of one report at most: three months.
pub const MAX_HOURS: i64 = 24 * 92;

kernel::statements! {
    /// Ended calls by the hour in which they began.
    BY_HOUR = "select started_at / 3600000 as hour, direction, count(*) as calls,
        count(answered_at) as answered,
        cast(coalesce(sum(case when answered_at is null then 0 else answered_at - started_at end), 0) as bigint) as waited_ms,
        cast(coalesce(sum(case when answered_at is null then 0 else ended_at - answered_at end), 0) as bigint) as talked_ms
        from call where org = $1 and started_at >= $2 and started_at < $3 and ended_at is not null
        group by started_at / 3600000, direction order by hour, direction limit 5000";
}

/// The figures of one hour and direction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hour {
    /// Its beginning, UTC milliseconds.
    pub at_ms: i64,
    /// `inbound` or `outbound`.
    pub direction: String,
    /// Calls that began in it.
    pub calls: i64,
    /// Those that were answered.
    pub answered: i64,
    /// From the beginning to the answer, of those together.
    pub waited_ms: i64,
    /// From the answer to the end, of those together.
    pub talked_ms: i64,
}

/// The figures from one time to another, by hour.
///
/// # Errors
/// What the store says.
pub async fn by_hour(db: &Db, org: &str, from_ms: i64, until_ms: i64) -> Result<Vec<Hour>, DbError> {
    let rows = db.all(BY_HOUR, args![org, from_ms, until_ms]).await?;
    rows.iter()
        .map(|row| {
            Ok(Hour {
                at_ms: row.int("hour")? * 3_600_000,
                direction: row.text("direction")?,
                calls: row.int("calls")?,
                answered: row.int("answered")?,
                waited_ms: row.int("waited_ms")?,
                talked_ms: row.int("talked_ms")?,
            })
        })
        .collect()
}
