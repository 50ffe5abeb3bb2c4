//! Figures of an organisation's calls: by quarter of an hour, how many were answered, how long people waited, how long
//! they talked. Hours are added up of quarters, since those of India or Nepal do not begin with those of UTC.
//!
//! Invariant: a figure counts ended calls only, each once, in the quarter in which it began.

use kernel::args;
use kernel::db::{Db, DbError};

/// Every zone of today begins its hours at one of these.
pub const QUARTER_MS: i64 = 15 * 60_000;

kernel::statements! {
    /// Ended calls by the quarter of an hour in which they began: 92 days have 17,664 of both directions.
    BY_QUARTER = "select started_at / 900000 as quarter, direction, count(*) as calls,
        count(answered_at) as answered,
        cast(coalesce(sum(case when answered_at is null then 0 else answered_at - started_at end), 0) as bigint) as waited_ms,
        cast(coalesce(sum(case when answered_at is null then 0 else ended_at - answered_at end), 0) as bigint) as talked_ms
        from call where org = $1 and started_at >= $2 and started_at < $3 and ended_at is not null
        group by started_at / 900000, direction order by quarter, direction limit 20000";
}

/// The figures of a quarter of an hour, or of more that were added up, and a direction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Their beginning, UTC milliseconds.
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

/// The figures from one time to another, by quarter of an hour.
///
/// # Errors
/// What the store says.
pub async fn by_quarter(db: &Db, org: &str, from_ms: i64, until_ms: i64) -> Result<Vec<Figures>, DbError> {
    let rows = db.all(BY_QUARTER, args![org, from_ms, until_ms]).await?;
    rows.iter()
        .map(|row| {
            Ok(Figures {
                at_ms: row.int("quarter")? * QUARTER_MS,
                direction: row.text("direction")?,
                calls: row.int("calls")?,
                answered: row.int("answered")?,
                waited_ms: row.int("waited_ms")?,
                talked_ms: row.int("talked_ms")?,
            })
        })
        .collect()
}
