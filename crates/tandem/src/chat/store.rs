//! All SQL of rooms, messages, marks and notes. Every statement names the organisation.
//!
//! Invariant: a message and the room's head that counts it change in one group, guarded by the head before and by the
//! room's revision: two writers of one number cannot both win, and nothing is written into a room that has changed.

pub(crate) mod concerning;
mod flow;
mod links;
mod lists;
mod origins;
mod products;
mod visitors;

use kernel::{Db, DbError, Row, Write, args};

use super::model::{Ack, Body, Id, Kind, Mark, Marks, Message, Note, Room, Sender, Side, State};

pub(super) use flow::*;
pub(super) use links::*;
pub(super) use lists::rooms;
pub(super) use origins::*;
pub(super) use products::*;
pub(super) use visitors::*;

/// Messages whose senders' names for them are remembered with a room.
const RECENT: i64 = 32;
/// Notes of one room that are shown.
const MAX_NOTES: i64 = 500;
/// Messages that are read on the calling thread, see [`Db::few`].
const FEW: i64 = 100;

kernel::statements! {
    ROOM = "select r.id, r.app, r.product, r.user_id, r.label, r.portfolio, r.event_id, r.is_login, r.state, r.visitor, \
        r.assignee, r.team, r.seq_head, r.created_at, r.last_at, r.closed_at, r.revision, m.body as last_body \
        from chat_room r left join chat_message m on m.org = r.org and m.room = r.id and m.seq = r.seq_head \
        where r.org = $1 and r.id = $2";
    ROOM_OF_OPEN_KEY = "select r.id, r.app, r.product, r.user_id, r.label, r.portfolio, r.event_id, r.is_login, r.state, \
        r.visitor, r.assignee, r.team, r.seq_head, r.created_at, r.last_at, r.closed_at, r.revision, m.body as last_body \
        from chat_room r left join chat_message m on m.org = r.org and m.room = r.id and m.seq = r.seq_head \
        where r.org = $1 and r.app = $2 and r.open_key = $3 and r.open_key is not null";
    // `+ 0`: by its order alone SQLite would take the index of labels, in which all rooms of a widget are the same.
    ROOM_OF_KEYS = "select r.id, r.app, r.product, r.user_id, r.label, r.portfolio, r.event_id, r.is_login, r.state, \
        r.visitor, r.assignee, r.team, r.seq_head, r.created_at, r.last_at, r.closed_at, r.revision, m.body as last_body \
        from chat_room r left join chat_message m on m.org = r.org and m.room = r.id and m.seq = r.seq_head \
        where r.org = $1 and r.app = $2 and r.user_id = $3 and r.label = $4 and r.product = $5 and r.portfolio = $6 \
        and r.state = 'open' and (r.visitor = $7 or $7 is null) and (r.is_proved or $8 = '') \
        order by r.created_at + 0 desc, r.id desc limit 1";
    INSERT_ROOM = "insert into chat_room (org, id, app, product, user_id, label, portfolio, event_id, is_login, state, \
        visitor, assignee, team, seq_head, open_key, created_at, last_at, closed_at, revision, is_proved) \
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 0, $14, $15, $15, null, 0, $16)";
    CHANGE_ROOM = "update chat_room set state = $4, assignee = $5, team = $6, closed_at = $7, visitor = $8, \
        user_id = $9, open_key = case when $4 = 'closed' then null else open_key end, revision = revision + 1 \
        where org = $1 and id = $2 and revision = $3";
    STILL_AT = "update chat_room set seq_head = seq_head where org = $1 and id = $2 and seq_head = $3";
    COUNT_MESSAGE = "update chat_room set seq_head = $3, last_at = $4 \
        where org = $1 and id = $2 and seq_head = $5 and revision = $6";
    INSERT_MESSAGE = "insert into chat_message (org, room, seq, id, cid, sender, kind, body, side, author, created_at) \
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    MESSAGES = "select room, seq, id, cid, sender, kind, body, side, author, created_at, edited_at, deleted_at \
        from chat_message where org = $1 and room = $2 and seq > $3 order by seq limit $4";
    MESSAGES_BEFORE = "select room, seq, id, cid, sender, kind, body, side, author, created_at, edited_at, deleted_at \
        from chat_message where org = $1 and room = $2 and seq < $3 order by seq desc limit $4";
    MESSAGE = "select room, seq, id, cid, sender, kind, body, side, author, created_at, edited_at, deleted_at \
        from chat_message where org = $1 and room = $2 and seq = $3";
    ACK_OF = "select seq, id, created_at from chat_message where org = $1 and room = $2 and sender = $3 and cid = $4";
    RECENT_CIDS = "select seq, id, created_at, sender, cid from chat_message \
        where org = $1 and room = $2 order by seq desc limit $3";
    SEQ_OF = "select seq from chat_message where org = $1 and room = $2 and id = $3";
    EDIT_MESSAGE = "update chat_message set body = $4, edited_at = $5 \
        where org = $1 and room = $2 and seq = $3 and deleted_at is null and coalesce(edited_at, 0) = $6 \
        and exists (select 1 from chat_room r where r.org = $1 and r.id = $2 and r.state = 'open')";
    REWRITE_MESSAGE = "update chat_message set body = $4, edited_at = $5 \
        where org = $1 and room = $2 and seq = $3 and deleted_at is null";
    DELETE_MESSAGE = "update chat_message set body = null, deleted_at = $4 \
        where org = $1 and room = $2 and seq = $3 and deleted_at is null";
    MARK = "insert into chat_receipt (org, room, who, side, delivered_seq, read_seq) values ($1, $2, $3, $4, $5, $6) \
        on conflict (org, room, who) do update set \
        delivered_seq = case when excluded.delivered_seq > chat_receipt.delivered_seq then excluded.delivered_seq \
        else chat_receipt.delivered_seq end, \
        read_seq = case when excluded.read_seq > chat_receipt.read_seq then excluded.read_seq \
        else chat_receipt.read_seq end";
    MARK_OF = "select delivered_seq, read_seq from chat_receipt where org = $1 and room = $2 and who = $3";
    MARKS = "select side, max(delivered_seq) as delivered_seq, max(read_seq) as read_seq from chat_receipt \
        where org = $1 and room = $2 group by side";
    INSERT_NOTE = "insert into chat_note (org, id, room, after_seq, author, body, created_at) \
        select cast($1 as text), cast($2 as text), cast($3 as text), cast($4 as bigint), cast($5 as text), \
        cast($6 as text), cast($7 as bigint) where exists (select 1 from chat_room r where r.org = $1 and r.id = $3)";
    NOTES = "select id, room, after_seq, author, body, created_at from chat_note where org = $1 and room = $2 \
        and id > $3 order by id limit $4";
}

/// Which rooms a list is to show.
#[derive(Clone, Debug, Default)]
pub struct RoomFilter {
    /// In this state.
    pub state: Option<State>,
    /// With this label (`org_id` of document 002).
    pub label: Option<String>,
    /// Of this product.
    pub product: Option<String>,
    /// Of this visitor.
    pub visitor: Option<Id>,
    /// That this person answers.
    pub assignee: Option<Id>,
    /// That nobody answers yet.
    pub unassigned: bool,
    /// That wait for this team.
    pub team: Option<Id>,
    /// That has this tag.
    pub tag: Option<String>,
    /// This one alone, whatever else is asked.
    pub room: Option<Id>,
    /// In which order.
    pub order: RoomOrder,
    /// After this one: its time in the order, UTC milliseconds, and its id.
    pub after: Option<(i64, String)>,
}

/// In which order rooms are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum RoomOrder {
    /// As they were opened.
    #[default]
    OldestFirst,
    /// Those last written in come first.
    LatestFirst,
}

/// Some rooms.
#[derive(Clone, Debug, Default)]
pub struct RoomPage {
    /// The rooms.
    pub rooms: Vec<Room>,
    /// For [`RoomFilter::after`], if there may be more.
    pub next: Option<(i64, String)>,
}

/// A room; of another organisation it is none.
pub(super) async fn room(db: &Db, org: &Id, id: &str) -> Result<Option<Room>, DbError> {
    db.one(ROOM, args![org, id]).await?.as_ref().map(|row| read_room(org, row)).transpose()
}

/// The open room that was made under a key.
pub(super) async fn room_of_open_key(db: &Db, org: &Id, app: &str, key: &str) -> Result<Option<Room>, DbError> {
    db.one(ROOM_OF_OPEN_KEY, args![org, app, key]).await?.as_ref().map(|row| read_room(org, row)).transpose()
}

/// The number of a message in its room.
pub(super) async fn seq_of(db: &Db, org: &Id, room: &str, id: &str) -> Result<Option<i64>, DbError> {
    // It reads the room's messages, which an index of its own would spare at a cost to every message.
    db.all(SEQ_OF, args![org, room, id]).await?.first().map(|row| row.int("seq")).transpose()
}

/// The four keys of a room, document 002.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keys<'a> {
    pub(super) user_id: &'a str,
    pub(super) label: &'a str,
    pub(super) product: &'a str,
    pub(super) portfolio: &'a str,
}

/// Of whose rooms one is looked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Whose<'a> {
    /// This visitor's.
    Visitor(&'a Id),
    /// Those whose user was vouched for.
    Proved,
    /// Anybody's.
    Anyone,
}

/// The newest open room of these keys.
pub(super) async fn room_of_keys(
    db: &Db,
    org: &Id,
    app: &str,
    keys: Keys<'_>,
    whose: Whose<'_>,
) -> Result<Option<Room>, DbError> {
    let Keys { user_id, label, product, portfolio } = keys;
    let (visitor, proved) = match whose {
        Whose::Visitor(id) => (Some(&**id), ""),
        Whose::Proved => (None, "proved"),
        Whose::Anyone => (None, ""),
    };
    let args = args![org, app, user_id, label, product, portfolio, visitor, proved];
    db.one(ROOM_OF_KEYS, args).await?.as_ref().map(|row| read_room(org, row)).transpose()
}

fn read_room(org: &Id, row: &Row) -> Result<Room, DbError> {
    let state = row.str("state")?;
    Ok(Room {
        id: row.str("id")?.into(),
        org: org.clone(),
        app: row.str("app")?.into(),
        product: row.text("product")?,
        user_id: row.text("user_id")?,
        label: row.text("label")?,
        portfolio: row.text("portfolio")?,
        event_id: row.text("event_id")?,
        is_login: row.bool("is_login")?,
        state: State::parse(state).ok_or_else(|| bad("state", state))?,
        visitor: row.str("visitor")?.into(),
        assignee: row.opt_str("assignee")?.map(Into::into),
        team: row.opt_str("team")?.map(Into::into),
        seq_head: row.int("seq_head")?,
        last_body: row.opt_str("last_body")?.map(Body::stored),
        created_ms: row.int("created_at")?,
        last_ms: row.int("last_at")?,
        closed_ms: row.opt_int("closed_at")?,
        revision: row.int("revision")?,
    })
}

fn bad(column: &str, word: &str) -> DbError {
    DbError::Column { column: column.to_owned(), reason: format!("unknown word {word:?}") }
}

/// A new room. `open_key`: at most one open room of an application has it. `is_proved`: its user was vouched for.
pub(super) fn insert_room_write(room: &Room, open_key: Option<&str>, is_proved: bool) -> Write {
    let text = |id: &Option<Id>| id.as_deref().map(str::to_owned);
    let args = args![
        &room.org,
        &room.id,
        &room.app,
        &room.product,
        &room.user_id,
        &room.label,
        &room.portfolio,
        &room.event_id,
        room.is_login,
        room.state.as_str(),
        &room.visitor,
        text(&room.assignee),
        text(&room.team),
        open_key,
        room.created_ms,
        is_proved
    ];
    Write::new(INSERT_ROOM, args)
}

/// The room as it is to be, if it still is the one of its `revision`.
pub(super) fn change_room_write(room: &Room) -> Write {
    let text = |id: &Option<Id>| id.as_deref().map(str::to_owned);
    let args = args![
        &room.org,
        &room.id,
        room.revision,
        room.state.as_str(),
        text(&room.assignee),
        text(&room.team),
        room.closed_ms,
        &room.visitor,
        &room.user_id
    ];
    Write::guarded(CHANGE_ROOM, args)
}

/// Nothing, if nobody has written in a room since.
pub(super) fn still_at_write(org: &str, room: &str, seq_head: i64) -> Write {
    Write::guarded(STILL_AT, args![org, room, seq_head])
}

/// A new message, and the head that counts it, if the room is as it was.
pub(super) fn message_writes(room: &Room, message: &Message) -> [Write; 2] {
    let Message { seq, id, cid, sender, kind, body, side, author, created_ms, .. } = message;
    let count = args![&room.org, &room.id, *seq, *created_ms, *seq - 1, room.revision];
    let insert = args![
        &room.org,
        &room.id,
        *seq,
        id,
        cid.as_deref().map(str::to_owned),
        sender.stored(),
        kind.as_str(),
        body.as_ref().map(Body::as_json),
        side.as_json(),
        author,
        *created_ms
    ];
    [Write::guarded(COUNT_MESSAGE, count), Write::new(INSERT_MESSAGE, insert)]
}

/// Messages after a number, in order.
pub(super) async fn messages(
    db: &Db,
    org: &str,
    room: &str,
    after_seq: i64,
    limit: i64,
) -> Result<Vec<Message>, DbError> {
    let args = args![org, room, after_seq, limit];
    let rows = if limit <= FEW { db.few(MESSAGES, args).await? } else { db.all(MESSAGES, args).await? };
    rows.iter().map(read_message).collect()
}

/// The newest messages before a number, in order.
pub(super) async fn messages_before(
    db: &Db,
    org: &str,
    room: &str,
    before_seq: i64,
    limit: i64,
) -> Result<Vec<Message>, DbError> {
    let rows = db.all(MESSAGES_BEFORE, args![org, room, before_seq, limit]).await?;
    rows.iter().rev().map(read_message).collect()
}

/// One message.
pub(super) async fn message(db: &Db, org: &str, room: &str, seq: i64) -> Result<Option<Message>, DbError> {
    db.one(MESSAGE, args![org, room, seq]).await?.as_ref().map(read_message).transpose()
}

fn read_message(row: &Row) -> Result<Message, DbError> {
    let (sender, kind) = (row.str("sender")?, row.str("kind")?);
    Ok(Message {
        room: row.str("room")?.into(),
        seq: row.int("seq")?,
        id: row.str("id")?.into(),
        cid: row.opt_str("cid")?.map(Into::into),
        sender: Sender::read(sender).ok_or_else(|| bad("sender", sender))?,
        kind: Kind::parse(kind).ok_or_else(|| bad("kind", kind))?,
        body: row.opt_str("body")?.map(Body::stored),
        side: Body::stored(row.str("side")?),
        author: row.text("author")?,
        created_ms: row.int("created_at")?,
        edited_ms: row.opt_int("edited_at")?,
        deleted_ms: row.opt_int("deleted_at")?,
    })
}

fn read_ack(row: &Row) -> Result<Ack, DbError> {
    Ok(Ack { seq: row.int("seq")?, id: row.text("id")?.into(), at_ms: row.int("created_at")? })
}

/// What a sender was told of the message that it calls `cid`.
pub(super) async fn ack_of(db: &Db, org: &str, room: &str, sender: &Sender, cid: &str) -> Result<Option<Ack>, DbError> {
    db.one(ACK_OF, args![org, room, sender.stored(), cid]).await?.as_ref().map(read_ack).transpose()
}

/// What senders were told of a room's newest messages, oldest first, with the sender and its own name of it.
pub(super) async fn recent_acks(db: &Db, org: &str, room: &str) -> Result<Vec<(Sender, Id, Ack)>, DbError> {
    let rows = db.all(RECENT_CIDS, args![org, room, RECENT]).await?;
    let mut acks = Vec::with_capacity(rows.len());
    for row in rows.iter().rev() {
        let sender = row.text("sender")?;
        if let (Some(cid), Some(sender)) = (row.opt_text("cid")?, Sender::read(&sender)) {
            acks.push((sender, cid.into(), read_ack(row)?));
        }
    }
    Ok(acks)
}

/// Other words for a message, if it is as it was when it was last changed, `before_ms`, and its room is open.
pub(super) fn edit_write(org: &str, message: &Message, before_ms: Option<i64>) -> Write {
    let Message { room, seq, body, edited_ms, .. } = message;
    let words = body.as_ref().map(Body::as_json);
    Write::guarded(EDIT_MESSAGE, args![org, room, *seq, words, *edited_ms, before_ms.unwrap_or_default()])
}

/// Other words for a message of the server's own, unless it was deleted; in a closed room too.
pub(super) fn rewrite_write(org: &str, message: &Message) -> Write {
    let Message { room, seq, body, edited_ms, .. } = message;
    Write::guarded(REWRITE_MESSAGE, args![org, room, *seq, body.as_ref().map(Body::as_json), *edited_ms])
}

/// A tombstone for a message.
pub(super) fn delete_write(org: &str, message: &Message) -> Write {
    Write::guarded(DELETE_MESSAGE, args![org, &message.room, message.seq, message.deleted_ms])
}

/// How far somebody has come; never back.
pub(super) fn mark_write(org: &str, room: &str, who: &str, side: Side, mark: Mark) -> Write {
    Write::new(MARK, args![org, room, who, side.as_str(), mark.delivered_seq, mark.read_seq])
}

/// How far somebody has come so far.
pub(super) async fn mark_of(db: &Db, org: &str, room: &str, who: &str) -> Result<Mark, DbError> {
    let Some(row) = db.one(MARK_OF, args![org, room, who]).await? else { return Ok(Mark::default()) };
    Ok(Mark { delivered_seq: row.int("delivered_seq")?, read_seq: row.int("read_seq")? })
}

/// How far both sides of a room have come.
pub(super) async fn marks(db: &Db, org: &str, room: &str) -> Result<Marks, DbError> {
    let mut marks = Marks::default();
    for row in db.few(MARKS, args![org, room]).await? {
        let mark = Mark { delivered_seq: row.int("delivered_seq")?, read_seq: row.int("read_seq")? };
        match Side::parse(row.str("side")?) {
            Some(Side::Visitor) => marks.visitor = mark,
            _ => marks.support = mark,
        }
    }
    Ok(marks)
}

/// A new note; fails when its room was erased.
pub(super) fn note_write(org: &str, note: &Note) -> Write {
    let Note { id, room, after_seq, author, text, created_ms } = note;
    Write::guarded(INSERT_NOTE, args![org, id, room, *after_seq, author.stored(), text, *created_ms])
}

/// The notes of a room, oldest first: as many as are shown.
pub(super) async fn notes(db: &Db, org: &str, room: &str) -> Result<Vec<Note>, DbError> {
    notes_after(db, org, room, "").await
}

/// The same after one of them.
pub(super) async fn notes_after(db: &Db, org: &str, room: &str, after: &str) -> Result<Vec<Note>, DbError> {
    let rows = db.all(NOTES, args![org, room, after, MAX_NOTES]).await?;
    rows.iter()
        .map(|row| {
            let author = row.text("author")?;
            Ok(Note {
                id: row.text("id")?.into(),
                room: row.text("room")?.into(),
                after_seq: row.int("after_seq")?,
                author: Sender::read(&author).ok_or_else(|| bad("author", &author))?,
                text: row.text("body")?,
                created_ms: row.int("created_at")?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn every_statement_can_be_prepared() {
        for test in kernel::db::testing::TestDb::each().await {
            let statements = [
                super::ALL,
                super::links::ALL,
                super::lists::ALL,
                super::flow::ALL,
                super::origins::ALL,
                super::products::ALL,
                super::visitors::ALL,
            ];
            assert_eq!(test.unpreparable(&statements).await, Vec::<String>::new());
        }
    }
}
