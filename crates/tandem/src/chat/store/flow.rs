//! The rows of rooms that a flow answers, and which flow answers the rooms of a product.
//!
//! Invariant: a row goes from `waiting` or `due` to `running`, and to `over`, each step by one guarded update: of two who
//! want to begin or to end a run one does.

use kernel::{Db, DbError, Write, args};

use crate::chat::model::Id;

/// Rooms that a start of the server takes up in one go.
const PORTION: i64 = 500;

kernel::statements! {
    FLOW_OF_PRODUCT = "select flow from chat_product where org = $1 and name = $2";
    SET_FLOW = "insert into chat_product (org, name, code, flow) values ($1, $2, $3, $4) \
        on conflict (org, name) do update set code = excluded.code, flow = excluded.flow";
    INSERT = "insert into chat_flow (org, room, flow, state, created_at) values ($1, $2, $3, $4, $5)";
    ONE = "select flow, state from chat_flow where org = $1 and room = $2";
    BEGIN = "update chat_flow set state = 'running' where org = $1 and room = $2 and state in ('waiting', 'due')";
    END = "update chat_flow set state = 'over', run = $3, cause = $4, ended_at = $5 \
        where org = $1 and room = $2 and state <> 'over'";
    // Of every organisation: what a stop or a crash of the server left.
    BEGUN = "select org, room, state from chat_flow where state <> 'over' and state in ('due', 'running') \
        and (org > $1 or (org = $1 and room > $2)) order by org, room limit $3";
    WAITING = "select room from chat_flow where state <> 'over' and state = 'waiting' order by created_at desc limit $1";
    CLOSE = "update chat_flow set state = 'over', cause = 'closed', ended_at = $3 \
        where org = $1 and room = $2 and state = 'waiting'";
    // After 30 days the token of a visitor who gave no sign is over: nobody comes who could wake the flow.
    RELEASE_LEFT = "update chat_wait set held = false where org = $1 and held and room in (select f.room from chat_flow f \
        where f.org = $1 and f.state <> 'over' and f.state = 'waiting' and f.created_at < $2 - 2592000000)";
    END_LEFT = "update chat_flow set state = 'over', cause = 'no_visitor', ended_at = $2 where org = $1 \
        and state = 'waiting' and room in (select f.room from chat_flow f where f.org = $1 and f.state <> 'over' \
        and f.state = 'waiting' and f.created_at < $2 - 2592000000 order by f.room limit 200)";
    STILL_TALKS = "update chat_flow set run = coalesce(run, $3) where org = $1 and room = $2 and state = 'running'";
}

/// How far a room's flow is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::chat) enum Stage {
    /// It waits for the visitor's first sign.
    Waiting,
    /// It is to begin at once.
    Due,
    /// It talks.
    Running,
    /// People have the room.
    Over,
}

impl Stage {
    fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Due => "due",
            Self::Running => "running",
            Self::Over => "over",
        }
    }

    fn read(word: &str) -> Self {
        [Self::Waiting, Self::Due, Self::Running].into_iter().find(|stage| stage.as_str() == word).unwrap_or(Self::Over)
    }
}

/// The flow that answers a product's new rooms.
pub(in crate::chat) async fn flow_of_product(db: &Db, org: &str, name: &str) -> Result<Option<String>, DbError> {
    Ok(db.one(FLOW_OF_PRODUCT, args![org, name]).await?.map(|row| row.opt_text("flow")).transpose()?.flatten())
}

/// A product as the organisation has it.
pub(in crate::chat) fn product_write(org: &str, name: &str, code: i64, flow: Option<&str>) -> Write {
    Write::new(SET_FLOW, args![org, name, code, flow])
}

/// A new room that a flow is to answer.
pub(in crate::chat) fn flow_write(org: &str, room: &str, flow: &str, stage: Stage, now_ms: i64) -> Write {
    Write::new(INSERT, args![org, room, flow, stage.as_str(), now_ms])
}

/// The flow of a room, and how far it is.
pub(in crate::chat) async fn flow_of_room(db: &Db, org: &str, room: &str) -> Result<Option<(String, Stage)>, DbError> {
    let row = db.one(ONE, args![org, room]).await?;
    row.map(|row| Ok((row.text("flow")?, Stage::read(&row.text("state")?)))).transpose()
}

/// The flow begins to talk; fails when somebody else has begun it.
pub(in crate::chat) fn begin_write(org: &str, room: &str) -> Write {
    Write::guarded(BEGIN, args![org, room])
}

/// The flow has talked; fails when that is known.
pub(in crate::chat) fn end_write(org: &str, room: &str, run: Option<&str>, cause: &str, now_ms: i64) -> Write {
    Write::guarded(END, args![org, room, run, cause, now_ms])
}

/// The flow that waits for the visitor of a room waits no more: the room is closed.
pub(in crate::chat) fn close_flow_write(org: &str, room: &str, now_ms: i64) -> Write {
    Write::new(CLOSE, args![org, room, now_ms])
}

/// Nothing, if the flow still talks; fails when it is over, or erased with its room.
pub(in crate::chat) fn still_talks_write(org: &str, room: &str, run: Option<&str>) -> Write {
    Write::guarded(STILL_TALKS, args![org, room, run])
}

/// Rooms whose flows were to begin or had begun, of all organisations, after a room: a page in their order.
pub(in crate::chat) async fn begun_flows(db: &Db, org: &str, room: &str) -> Result<Vec<(Id, Id, Stage)>, DbError> {
    let rows = db.all(BEGUN, args![org, room, PORTION]).await?;
    let read =
        |row: &kernel::Row| Ok((row.text("org")?.into(), row.text("room")?.into(), Stage::read(&row.text("state")?)));
    rows.iter().map(read).collect()
}

/// The rooms whose flows wait for the visitor, of all organisations, the newest first.
pub(in crate::chat) async fn waiting_flows(db: &Db, limit: usize) -> Result<Vec<Id>, DbError> {
    let rows = db.all(WAITING, args![i64::try_from(limit).unwrap_or(i64::MAX)]).await?;
    rows.iter().map(|row| Ok(row.text("room")?.into())).collect()
}
