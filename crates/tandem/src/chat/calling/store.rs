//! The rows of calls that were begun in a chat.

use kernel::{Db, DbError, Row, Write, args};

use super::model::{By, Mode, Recording, RoomCall, State};

kernel::statements! {
    CALL = "select * from chat_call where org = $1 and room = $2 and id = $3";
    LIVE_OF_ROOM = "select * from chat_call where org = $1 and room = $2 and live";
    LAST_OF_ROOM = "select * from chat_call where org = $1 and room = $2 order by asked_at desc, id desc limit 1";
    ALL_OF_ROOM = "select * from chat_call where org = $1 and room = $2 order by asked_at, id limit 1000";
    UNSETTLED = "select * from chat_call where node = $1 and (live or recording = 'awaited') and asked_at < $2 \
        and (org > $3 or (org = $3 and id > $4)) order by org, id limit $5";
    INSERT = "insert into chat_call (org, id, room, app, seq, mode, asked_by, state, live, unwanted, node, asked_at, \
        recording, revision) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 0)";
    CHANGE = "update chat_call set state = $4, live = $5, unwanted = $6, started_at = $7, ended_at = $8, talked_ms = $9, \
        recording = $10, recording_id = $11, recording_s = $12, revision = revision + 1 \
        where org = $1 and id = $2 and revision = $3";
    IDS_OF_ROOM = "select id from chat_call where org = $1 and room = $2 order by id limit 1000";
    ERASE_OF_ROOM = "delete from chat_call where org = $1 and room = $2";
}

/// Words of the column `recording`.
const NONE: &str = "none";
const AWAITED: &str = "awaited";
const LANDED: &str = "landed";

/// A call of a room.
pub(super) async fn call(db: &Db, org: &str, room: &str, id: &str) -> Result<Option<RoomCall>, DbError> {
    db.one(CALL, args![org, room, id]).await?.as_ref().map(read).transpose()
}

/// The call of a room that goes on.
pub(super) async fn live_of_room(db: &Db, org: &str, room: &str) -> Result<Option<RoomCall>, DbError> {
    db.one(LIVE_OF_ROOM, args![org, room]).await?.as_ref().map(read).transpose()
}

/// The newest call of a room.
pub(super) async fn last_of_room(db: &Db, org: &str, room: &str) -> Result<Option<RoomCall>, DbError> {
    db.one(LAST_OF_ROOM, args![org, room]).await?.as_ref().map(read).transpose()
}

/// The calls of a room, oldest first.
pub(in crate::chat) async fn all_of_room(db: &Db, org: &str, room: &str) -> Result<Vec<RoomCall>, DbError> {
    db.all(ALL_OF_ROOM, args![org, room]).await?.iter().map(read).collect()
}

/// What a node has left unsettled of before a time (UTC milliseconds), after an organisation and a call.
pub(super) async fn unsettled(
    db: &Db,
    node: &str,
    before_ms: i64,
    (org, id): &(String, String),
    limit: i64,
) -> Result<Vec<RoomCall>, DbError> {
    db.all(UNSETTLED, args![node, before_ms, org, id, limit]).await?.iter().map(read).collect()
}

fn read(row: &Row) -> Result<RoomCall, DbError> {
    fn word<T>(row: &Row, column: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T, DbError> {
        let text = row.text(column)?;
        let unknown = || DbError::Column { column: column.to_owned(), reason: format!("unknown word {text:?}") };
        parse(&text).ok_or_else(unknown)
    }
    let landed = row.opt_text("recording_id")?.zip(row.opt_real("recording_s")?);
    let recording = match (landed, row.text("recording")?.as_str()) {
        (Some((id, seconds)), LANDED) => Recording::Landed { id: id.into(), seconds },
        (_, AWAITED) => Recording::Awaited,
        _ => Recording::None,
    };
    Ok(RoomCall {
        id: row.text("id")?.into(),
        org: row.text("org")?.into(),
        room: row.text("room")?.into(),
        app: row.text("app")?.into(),
        seq: row.int("seq")?,
        mode: word(row, "mode", Mode::parse)?,
        by: word(row, "asked_by", By::parse)?,
        state: word(row, "state", State::parse)?,
        is_unwanted: row.bool("unwanted")?,
        asked_ms: row.int("asked_at")?,
        started_ms: row.opt_int("started_at")?,
        ended_ms: row.opt_int("ended_at")?,
        talked_ms: row.opt_int("talked_ms")?,
        recording,
        revision: row.int("revision")?,
    })
}

fn recording_word(recording: &Recording) -> &'static str {
    match recording {
        Recording::None => NONE,
        Recording::Awaited => AWAITED,
        Recording::Landed { .. } => LANDED,
    }
}

/// A new call; of a room that has one going on it fails as a duplicate.
pub(super) fn insert_write(call: &RoomCall, node: &str) -> Write {
    let args = args![
        &call.org,
        &call.id,
        &call.room,
        &call.app,
        call.seq,
        call.mode.as_str(),
        call.by.as_str(),
        call.state.as_str(),
        call.state.is_live(),
        call.is_unwanted,
        node,
        call.asked_ms,
        recording_word(&call.recording)
    ];
    Write::new(INSERT, args)
}

/// The call as it is to be, if it still is the one of its `revision`.
pub(super) fn change_write(call: &RoomCall) -> Write {
    let (id, seconds) = match &call.recording {
        Recording::Landed { id, seconds } => (Some(id.to_string()), Some(*seconds)),
        Recording::None | Recording::Awaited => (None, None),
    };
    let args = args![
        &call.org,
        &call.id,
        call.revision,
        call.state.as_str(),
        call.state.is_live(),
        call.is_unwanted,
        call.started_ms,
        call.ended_ms,
        call.talked_ms,
        recording_word(&call.recording),
        id,
        seconds
    ];
    Write::guarded(CHANGE, args)
}

/// The ids of a room's calls.
pub(in crate::chat) async fn ids_of_room(db: &Db, org: &str, room: &str) -> Result<Vec<String>, DbError> {
    db.all(IDS_OF_ROOM, args![org, room]).await?.iter().map(|row| row.text("id")).collect()
}

/// Forgets the calls of a room that is erased.
pub(in crate::chat) fn erase_write(org: &str, room: &str) -> Write {
    Write::new(ERASE_OF_ROOM, args![org, room])
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
