//! The rows of rooms that a flow answers, and which flow answers the rooms of a product.
//!
//! Invariant: a row goes from `waiting` or `due` to `running`, and to `over`, each step by one guarded update: of two who
//! want to begin or to end a run one does.

use kernel::{Db, DbError, Write, args};

use crate::chat::model::Id;

/// Rooms that a start of the server takes up, at most; the rest has people.
const MAX_OPEN: i64 = 10_000;

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
    OPEN = "select org, room, state from chat_flow where state <> 'over' order by created_at limit $1";
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

/// The rooms whose flows are not over, of all organisations, oldest first; and whether these are all.
pub(in crate::chat) async fn open_flows(db: &Db) -> Result<(Vec<(Id, Id, Stage)>, bool), DbError> {
    let rows = db.all(OPEN, args![MAX_OPEN]).await?;
    let is_all = i64::try_from(rows.len()).is_ok_and(|found| found < MAX_OPEN);
    let read =
        |row: &kernel::Row| Ok((row.text("org")?.into(), row.text("room")?.into(), Stage::read(&row.text("state")?)));
    Ok((rows.iter().map(read).collect::<Result<_, DbError>>()?, is_all))
}
