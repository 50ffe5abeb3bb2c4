//! The SQL of reports: when rooms were opened, answered and closed, and how they were rated.

use kernel::{Db, DbError, Row, args};

use super::super::report::{Rated, RoomTimes};

/// Rooms that are read in one go.
const PORTION: i64 = 2_000;
/// Rooms of a report, of each kind.
const MAX_ROOMS: usize = 200_000;
/// Ratings of a report.
const MAX_RATINGS: i64 = 200_000;
/// Beginning of a person's name as a sender.
const PERSON: &str = "person:";

kernel::statements! {
    OPENED = "select r.id, r.created_at as at, r.created_at, r.closed_at, r.assignee, \
        (select m.created_at from chat_message m where m.org = r.org and m.room = r.id \
            and m.sender like 'visitor:%' order by m.seq limit 1) as asked_at, \
        (select m.created_at from chat_message m where m.org = r.org and m.room = r.id \
            and (m.sender like 'person:%' or m.sender like 'app:%') and m.seq > coalesce((select f.seq from chat_message f \
            where f.org = r.org and f.room = r.id and f.sender like 'visitor:%' order by f.seq limit 1), 0) \
            order by m.seq limit 1) as answered_at, \
        (select m.sender from chat_message m where m.org = r.org and m.room = r.id \
            and (m.sender like 'person:%' or m.sender like 'app:%') and m.seq > coalesce((select f.seq from chat_message f \
            where f.org = r.org and f.room = r.id and f.sender like 'visitor:%' order by f.seq limit 1), 0) \
            order by m.seq limit 1) as answered_by \
        from chat_room r where r.org = $1 and r.created_at >= $2 and r.created_at < $3 and r.seq_head > 0 \
        and (r.created_at > $2 or r.id > $4) and (r.app = $5 or $5 is null) order by r.created_at, r.id limit $6";
    CLOSED = "select r.id, r.closed_at as at, r.created_at, r.closed_at, r.assignee, \
        (select m.created_at from chat_message m where m.org = r.org and m.room = r.id \
            and m.sender like 'visitor:%' order by m.seq limit 1) as asked_at, \
        cast(null as bigint) as answered_at, cast(null as text) as answered_by \
        from chat_room r where r.org = $1 and r.closed_at is not null and r.closed_at >= $2 and r.closed_at < $3 \
        and r.seq_head > 0 and (r.closed_at > $2 or r.id > $4) and (r.app = $5 or $5 is null) \
        order by r.closed_at, r.id limit $6";
    RATED = "select g.score, g.person from chat_rating g join chat_room r on r.org = g.org and r.id = g.room \
        where g.org = $1 and g.created_at >= $2 and g.created_at < $3 and (r.app = $4 or $4 is null) limit $5";
}

fn read(row: &Row) -> Result<RoomTimes, DbError> {
    let by = row.opt_text("answered_by")?;
    Ok(RoomTimes {
        opened_ms: row.int("created_at")?,
        asked_ms: row.opt_int("asked_at")?,
        answered_ms: row.opt_int("answered_at")?,
        answered_by: by.as_deref().and_then(|by| by.strip_prefix(PERSON)).map(str::to_owned),
        closed_ms: row.opt_int("closed_at")?,
        assignee: row.opt_text("assignee")?,
    })
}

async fn rooms(
    db: &Db,
    sql: &'static str,
    org: &str,
    app: Option<&str>,
    (from_ms, until_ms): (i64, i64),
) -> Result<Vec<RoomTimes>, DbError> {
    let mut all = Vec::new();
    let (mut at_ms, mut id) = (from_ms, String::new());
    while all.len() < MAX_ROOMS {
        // Each page begins where the last one ended, and steps over nothing before it.
        let page = db.all(sql, args![org, at_ms, until_ms, &id, app, PORTION]).await?;
        let Some(last) = page.last() else { break };
        (at_ms, id) = (last.int("at")?, last.text("id")?);
        for row in &page {
            all.push(read(row)?);
        }
    }
    Ok(all)
}

/// Rooms that were opened from one moment until before another.
pub(in crate::chat::inbox) async fn opened(
    db: &Db,
    org: &str,
    app: Option<&str>,
    span_ms: (i64, i64),
) -> Result<Vec<RoomTimes>, DbError> {
    rooms(db, OPENED, org, app, span_ms).await
}

/// Rooms that were closed then.
pub(in crate::chat::inbox) async fn closed(
    db: &Db,
    org: &str,
    app: Option<&str>,
    span_ms: (i64, i64),
) -> Result<Vec<RoomTimes>, DbError> {
    rooms(db, CLOSED, org, app, span_ms).await
}

/// Ratings that were given then.
pub(in crate::chat::inbox) async fn rated(
    db: &Db,
    org: &str,
    app: Option<&str>,
    (from_ms, until_ms): (i64, i64),
) -> Result<Vec<Rated>, DbError> {
    let rows = db.all(RATED, args![org, from_ms, until_ms, app, MAX_RATINGS]).await?;
    rows.iter().map(|row| Ok(Rated { score: row.int("score")?, person: row.opt_text("person")? })).collect()
}
