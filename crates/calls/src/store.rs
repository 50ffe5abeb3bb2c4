//! All SQL of calls: the organisation is the first argument of every question.
//!
//! Invariant: a call's row is written only together with the event that tells of the change, by its
//! owner; questions never lock. Tables: migrations/0002_calls.sql.

use kernel::args;
use kernel::db::{Db, DbError, Row, Write};
use kernel::time::rfc3339;

use crate::model::{CallModel, CallState, CallView, Direction, LegRecord};
use crate::unfinished::Past;

kernel::statements! {
    /// A call begins.
    CALL_INSERT = "insert into call (id, org, node, direction, from_number, to_number, state, run, masked, legs, started_at, ringing_at, answered_at)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
    /// A call changes.
    CALL_UPDATE = "update call set state = $3, cause = $4, ended_by = $5, run = $6, legs = $7, ringing_at = $8, answered_at = $9, ended_at = $10
        where id = $1 and org = $2 and ended_at is null";
    /// One call.
    CALL_BY_ID = "select id, direction, from_number, to_number, state, cause, ended_by, run, legs, started_at, answered_at, ended_at
        from call where org = $1 and id = $2";
    /// Calls, newest first, from a cursor on.
    CALL_LIST = "select id, direction, from_number, to_number, state, cause, ended_by, run, legs, started_at, answered_at, ended_at
        from call
        where org = $1 and id < $2
          and (state = $3 or $3 is null) and (direction = $4 or $4 is null)
          and (from_number = $5 or $5 is null) and (to_number = $6 or $6 is null)
          and (from_number = $7 or to_number = $7 or $7 is null)
        order by id desc limit $8";
    /// The same for the calls that an extension took part in.
    CALL_LIST_OWN = "select c.id, c.direction, c.from_number, c.to_number, c.state, c.cause, c.ended_by, c.run, c.legs, c.started_at, c.answered_at, c.ended_at
        from call_party p join call c on c.org = p.org and c.id = p.call
        where p.org = $1 and p.call < $2 and p.extension = $9
          and (c.state = $3 or $3 is null) and (c.direction = $4 or $4 is null)
          and (c.from_number = $5 or $5 is null) and (c.to_number = $6 or $6 is null)
          and (c.from_number = $7 or c.to_number = $7 or $7 is null)
        order by p.call desc limit $8";
    /// Calls of an organisation that are up on a node, newest first.
    CALL_LIVE = "select id, direction, from_number, to_number, state, cause, ended_by, run, legs, started_at, answered_at, ended_at
        from call where node = $1 and org = $2 and ended_at is null order by id desc limit $3";
    /// Who took part.
    PARTY_INSERT = "insert into call_party (org, extension, call) values ($1, $2, $3) on conflict (org, extension, call) do nothing";
    /// Whether an extension took part.
    PARTY_ONE = "select call from call_party where org = $1 and extension = $2 and call = $3";
    /// One call, to go on with.
    CALL_MODEL = "select id, org, node, direction, from_number, to_number, state, run, masked, legs, started_at, ringing_at, answered_at, ended_at
        from call where org = $1 and id = $2";
    /// Calls of a node that nobody has ended.
    CALL_INTERRUPTED = "select id, org, node, direction, from_number, to_number, state, run, masked, legs, started_at, ringing_at, answered_at, ended_at
        from call where node = $1 and ended_at is null and started_at < $2 order by id";
    /// What of a call has an end of its own: in queues, conferences and streams.
    EVENTS_WITH_END = "select kind, time_at, body from event where org = $1 and key = $2 and kind in ('queue.joined', 'queue.left',
        'conference.joined', 'conference.left', 'stream.started', 'stream.stopped') order by seq limit 10000";
    /// The last number of a call's events, and when the last one was.
    LAST_EVENT = "select max(seq) as seq, max(time_at) as time_at from event where org = $1 and key = $2";

    /// A recording begins.
    RECORDING_INSERT = "insert into recording (id, org, call, node, state, path, started_at) values ($1, $2, $3, $4, 'recording', $5, $6)";
    /// A recording is complete.
    RECORDING_READY = "update recording set state = 'ready', seconds = $3, channels = $4, sha256 = $5, ready_at = $6
        where id = $1 and org = $2 and state = 'recording'";
    /// A recording could not be kept.
    RECORDING_FAILED = "update recording set state = 'failed', ready_at = $3 where id = $1 and org = $2 and state = 'recording'";
    /// The recordings of a call.
    RECORDINGS_OF_CALL = "select id, call, state, path, seconds, channels, sha256, started_at, ready_at
        from recording where org = $1 and call = $2 order by id limit 100";
    /// The recordings of an organisation, or of the calls that a person's phones took part in, newest first.
    RECORDING_LIST = "select id, call, state, path, seconds, channels, sha256, started_at, ready_at
        from recording where org = $1 and id < $2
          and (exists (select 1 from call_party p join extension e on e.org = p.org and e.number = p.extension
            where p.org = recording.org and p.call = recording.call and e.person = $3) or $3 is null)
        order by id desc limit $4";
    /// One recording.
    RECORDING_BY_ID = "select id, call, state, path, seconds, channels, sha256, started_at, ready_at
        from recording where org = $1 and id = $2";
    /// Recordings of a node that a crash interrupted.
    RECORDING_OPEN = "select id, org, call, path, started_at from recording where node = $1 and state = 'recording' and started_at < $2 order by id";

    /// A message begins.
    VOICEMAIL_INSERT = "insert into voicemail (id, org, box, call, node, from_number, state, path, left_at)
        values ($1, $2, $3, $4, $5, $6, 'recording', $7, $8)";
    /// A message is in its box.
    VOICEMAIL_LEFT = "update voicemail set state = 'left', seconds = $3, sha256 = $4, left_at = $5
        where id = $1 and org = $2 and state = 'recording'";
    /// A message is gone.
    VOICEMAIL_DELETE = "delete from voicemail where org = $1 and id = $2";
    /// A message was heard.
    VOICEMAIL_HEARD = "update voicemail set heard_at = $3 where org = $1 and id = $2 and state = 'left' and heard_at is null";
    /// The messages of a box, or of all, newest first.
    VOICEMAIL_LIST = "select id, box, call, from_number, path, seconds, sha256, left_at, heard_at
        from voicemail where org = $1 and (box = $2 or $2 is null) and state = 'left' and id < $3 order by id desc limit $4";
    /// One message.
    VOICEMAIL_BY_ID = "select id, box, call, from_number, path, seconds, sha256, left_at, heard_at
        from voicemail where org = $1 and id = $2 and state = 'left'";
    /// Messages of a node that a crash interrupted.
    VOICEMAIL_OPEN = "select id, org, box, call, from_number, path, left_at from voicemail where node = $1 and state = 'recording' and left_at < $2 order by id";
}

/// Sorts after every id.
const AFTER_ALL: &str = "~";

/// Which calls a list shows.
#[derive(Clone, Debug, Default)]
pub struct CallFilter {
    /// Only calls in this state.
    pub state: Option<CallState>,
    /// Only calls of this direction.
    pub direction: Option<Direction>,
    /// Only calls from this number.
    pub from: Option<String>,
    /// Only calls to this number.
    pub to: Option<String>,
    /// Only calls from or to this number.
    pub number: Option<String>,
    /// Only calls that this extension took part in.
    pub party: Option<String>,
    /// Where the last page ended.
    pub cursor: Option<String>,
}

/// A page of calls, newest first.
#[derive(Clone, Debug, PartialEq)]
pub struct CallPage {
    /// The calls.
    pub calls: Vec<CallView>,
    /// Ask with it for the next page; `None` on the last one.
    pub cursor: Option<String>,
}

/// A call that a crash interrupted.
#[derive(Clone, Debug)]
pub(crate) struct InterruptedCall {
    /// What was known of it.
    pub model: CallModel,
    /// The last number of its events.
    pub seq: i64,
    /// When it was last heard of, in ms.
    pub last_ms: i64,
}

pub(crate) fn insert_call(call: &CallModel) -> Write {
    Write::new(
        CALL_INSERT,
        args![
            &call.id,
            &call.org,
            &call.node,
            call.direction.as_str(),
            call.shown(&call.from),
            call.shown(&call.to),
            call.state.as_str(),
            call.run.as_deref().unwrap_or(""),
            call.masked,
            legs_json(call),
            call.started_at_ms,
            call.ringing_at_ms,
            call.answered_at_ms,
        ],
    )
}

pub(crate) fn update_call(call: &CallModel) -> Write {
    let end = call.end.as_ref();
    Write::new(
        CALL_UPDATE,
        args![
            &call.id,
            &call.org,
            call.state.as_str(),
            end.map(|end| end.cause.as_str()),
            end.map(|end| end.by.as_str()),
            call.run.as_deref().unwrap_or(""),
            legs_json(call),
            call.ringing_at_ms,
            call.answered_at_ms,
            call.ended_at_ms,
        ],
    )
}

/// The row that says whose phone took part.
pub(crate) fn insert_party(call: &CallModel, extension: &str) -> Write {
    Write::new(PARTY_INSERT, args![&call.org, extension, &call.id])
}

/// Whether an extension took part in a call.
pub(crate) async fn took_part(db: &Db, org: &str, extension: &str, id: &str) -> Result<bool, DbError> {
    Ok(db.one(PARTY_ONE, args![org, extension, id]).await?.is_some())
}

/// Legs as they are stored: numbers of a masked call are masked here already, so that no reader of
/// the row can forget to.
fn legs_json(call: &CallModel) -> String {
    let legs: Vec<LegRecord> =
        call.legs.iter().map(|leg| LegRecord { to: call.shown(&leg.to), ..leg.clone() }).collect();
    serde_json::to_string(&legs).unwrap_or_else(|_| "[]".to_owned())
}

/// One call of an organisation.
pub(crate) async fn call(db: &Db, org: &str, id: &str) -> Result<Option<CallView>, DbError> {
    db.one(CALL_BY_ID, args![org, id]).await?.as_ref().map(call_view).transpose()
}

/// A page of an organisation's calls, newest first.
pub(crate) async fn calls(db: &Db, org: &str, filter: &CallFilter, limit: u32) -> Result<CallPage, DbError> {
    let mut args = args![
        org,
        filter.cursor.as_deref().unwrap_or(AFTER_ALL),
        filter.state.map(CallState::as_str),
        filter.direction.map(Direction::as_str),
        filter.from.as_deref(),
        filter.to.as_deref(),
        filter.number.as_deref(),
        i64::from(limit) + 1,
    ];
    let rows = match &filter.party {
        Some(extension) => {
            args.push(extension.as_str().into());
            db.all(CALL_LIST_OWN, args).await?
        }
        None => db.all(CALL_LIST, args).await?,
    };
    let mut calls = rows.iter().map(call_view).collect::<Result<Vec<_>, _>>()?;
    let more = calls.len() > limit as usize;
    calls.truncate(limit as usize);
    let cursor = calls.last().filter(|_| more).map(|call| call.id.clone());
    Ok(CallPage { calls, cursor })
}

/// Calls of an organisation that are up on `node`, newest first.
pub(crate) async fn live(db: &Db, node: &str, org: &str, limit: u32) -> Result<Vec<CallView>, DbError> {
    db.all(CALL_LIVE, args![node, org, i64::from(limit)]).await?.iter().map(call_view).collect()
}

/// What a call began and ended that has an end of its own, oldest first.
pub(crate) async fn events_with_end(db: &Db, call: &CallModel) -> Result<Vec<Past>, DbError> {
    let rows = db.all(EVENTS_WITH_END, args![&call.org, &call.id]).await?;
    rows.iter()
        .map(|row| Ok(Past { kind: row.text("kind")?, time_ms: row.int("time_at")?, body: row.json("body")? }))
        .collect()
}

/// Calls of `node` from before `until_ms` that nobody has ended.
pub(crate) async fn interrupted(db: &Db, node: &str, until_ms: i64) -> Result<Vec<InterruptedCall>, DbError> {
    let mut found = Vec::new();
    for row in db.all(CALL_INTERRUPTED, args![node, until_ms]).await? {
        let model = call_model(&row)?;
        let last = db.one(LAST_EVENT, args![&model.org, &model.id]).await?;
        let last_of = |column| Ok::<_, DbError>(last.as_ref().map(|row| row.opt_int(column)).transpose()?.flatten());
        let last_ms = last_of("time_at")?.unwrap_or(model.started_at_ms);
        found.push(InterruptedCall { seq: last_of("seq")?.unwrap_or(0), last_ms, model });
    }
    Ok(found)
}

/// One call of an organisation, to write more of its events. Why it ended is left out.
pub(crate) async fn model(db: &Db, org: &str, id: &str) -> Result<Option<CallModel>, DbError> {
    db.one(CALL_MODEL, args![org, id]).await?.as_ref().map(call_model).transpose()
}

fn call_model(row: &Row) -> Result<CallModel, DbError> {
    let run = row.text("run")?;
    Ok(CallModel {
        id: row.text("id")?.into(),
        org: row.text("org")?.into(),
        node: row.text("node")?.into(),
        direction: direction(row)?,
        from: row.text("from_number")?,
        to: row.text("to_number")?,
        run: (!run.is_empty()).then_some(run),
        // The stored numbers are masked already.
        masked: false,
        state: call_state(row)?,
        legs: row.json("legs")?,
        end: None,
        started_at_ms: row.int("started_at")?,
        ringing_at_ms: row.opt_int("ringing_at")?,
        answered_at_ms: row.opt_int("answered_at")?,
        ended_at_ms: row.opt_int("ended_at")?,
    })
}

pub(crate) fn call_view(row: &Row) -> Result<CallView, DbError> {
    let answered_ms = row.opt_int("answered_at")?;
    let ended_ms = row.opt_int("ended_at")?;
    let talk_ms = answered_ms.zip(ended_ms).map_or(0, |(from, until)| (until - from).max(0));
    let run = row.text("run")?;
    Ok(CallView {
        id: row.text("id")?,
        direction: direction(row)?,
        from: row.text("from_number")?,
        to: row.text("to_number")?,
        state: call_state(row)?,
        cause: row.opt_text("cause")?,
        ended_by: row.opt_text("ended_by")?,
        flow_run_id: (!run.is_empty()).then_some(run),
        legs: row.json("legs")?,
        started_at: rfc3339(row.int("started_at")?),
        answered_at: answered_ms.map(rfc3339),
        ended_at: ended_ms.map(rfc3339),
        talk_s: talk_ms as f64 / 1000.0,
    })
}

fn call_state(row: &Row) -> Result<CallState, DbError> {
    let text = row.text("state")?;
    CallState::parse(&text).ok_or_else(|| unreadable("state", &text))
}

fn direction(row: &Row) -> Result<Direction, DbError> {
    let text = row.text("direction")?;
    Direction::parse(&text).ok_or_else(|| unreadable("direction", &text))
}

fn unreadable(column: &str, value: &str) -> DbError {
    DbError::Column { column: column.to_owned(), reason: format!("no such word: {value:?}") }
}
