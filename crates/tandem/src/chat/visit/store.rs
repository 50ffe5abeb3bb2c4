//! SQL of attachments and ratings. Every statement names the organisation, but for the one that begins with a signed
//! address.

use kernel::{Db, DbError, Row, Write, args};

use super::super::model::{Id, Sender};
use super::attachments::Attachment;
use super::rating::Rating;

kernel::statements! {
    // Not into a room that was erased in the same moment: nobody would find it there.
    INSERT_FILE = "insert into chat_file (org, id, room, sender, name, media_type, size, state, created_at) \
        select $1, $2, $3, $4, $5, $6, cast($7 as bigint), $9, cast($8 as bigint) from chat_room r \
        where r.org = $1 and r.id = $3";
    DROP_LATE = "delete from chat_file where org = $1 and room = $2 and state in ('awaited', 'coming') \
        and created_at < $3 returning id";
    // Its signature proves that the address is ours.
    AWAITED = "select org, id, room, sender, name, media_type, size from chat_file where id = $1 and state = 'awaited'";
    CLAIM_FILE = "update chat_file set state = 'coming' where org = $1 and id = $2 and state = 'awaited'";
    UNCLAIM_FILE = "update chat_file set state = 'awaited' where org = $1 and id = $2 and state = 'coming'";
    STORE_FILE = "update chat_file set state = 'stored', media_type = $3, size = $4 \
        where org = $1 and id = $2 and state = 'coming'";
    FILE = "select org, id, room, sender, name, media_type, size from chat_file \
        where org = $1 and id = $2 and state = 'stored'";
    UNNAMED_FILE = "select org, id, room, sender, name, media_type, size from chat_file \
        where org = $1 and id = $2 and state = 'stored' and message is null";
    NAME_FILE = "update chat_file set message = $3 \
        where org = $1 and id = $2 and state = 'stored' and message is null";
    FORGET_UNNAMED = "delete from chat_file where org = $1 and id = $2 and message is null";
    // Its signature proves that the address is ours.
    SIGNED = "select org, id, room, sender, name, media_type, size from chat_file where id = $1 and state = 'stored'";
    DELETE_FILE = "update chat_file set state = 'deleted' where org = $1 and id = $2 and state = 'stored'";
    RATE = "insert into chat_rating (org, room, score, comment, person, created_at) values ($1, $2, $3, $4, $5, $6) \
        on conflict (org, room) do update set score = excluded.score, comment = excluded.comment, \
        person = excluded.person, created_at = excluded.created_at";
    RATING = "select score, comment from chat_rating where org = $1 and room = $2";
}

pub(super) fn insert_file_write(file: &Attachment, now_ms: i64) -> Write {
    insert_write(file, "awaited", now_ms)
}

pub(super) fn insert_stored_write(file: &Attachment, now_ms: i64) -> Write {
    insert_write(file, "stored", now_ms)
}

fn insert_write(file: &Attachment, state: &str, now_ms: i64) -> Write {
    let Attachment { org, id, room, sender, name, media_type, size } = file;
    Write::guarded(INSERT_FILE, args![org, id, room, sender.stored(), name, media_type, *size, now_ms, state])
}

/// Forgets what was announced before a time and never came, or not wholly; their ids.
pub(super) async fn drop_late(db: &Db, org: &Id, room: &Id, before_ms: i64) -> Result<Vec<String>, DbError> {
    let mut tx = db.begin().await?;
    let rows = tx.all(DROP_LATE, args![org, room, before_ms]).await?;
    tx.commit().await?;
    rows.iter().map(|row| row.text("id")).collect()
}

/// Somebody brings an awaited file now, and nobody else may.
pub(super) fn claim_file_write(org: &Id, id: &str) -> Write {
    Write::guarded(CLAIM_FILE, args![org, id])
}

/// It did not come: it is awaited again.
pub(super) fn unclaim_file_write(org: &Id, id: &str) -> Write {
    Write::new(UNCLAIM_FILE, args![org, id])
}

/// A file that no message names yet.
pub(super) async fn unnamed_file(db: &Db, org: &Id, id: &str) -> Result<Option<Attachment>, DbError> {
    db.one(UNNAMED_FILE, args![org, id]).await?.as_ref().map(read).transpose()
}

/// A message names the file; conflicts when one does already.
pub(super) fn name_file_write(org: &Id, id: &str, message: &str) -> Write {
    Write::guarded(NAME_FILE, args![org, id, message])
}

/// Forgets a file that no message names; whether there was one.
pub(super) async fn forget_unnamed(db: &Db, org: &Id, id: &str) -> Result<bool, DbError> {
    Ok(db.run(FORGET_UNNAMED, args![org, id]).await? == 1)
}

pub(super) async fn awaited(db: &Db, id: &str) -> Result<Option<Attachment>, DbError> {
    db.one(AWAITED, args![id]).await?.as_ref().map(read).transpose()
}

pub(super) fn stored_write(file: &Attachment) -> Write {
    Write::guarded(STORE_FILE, args![&file.org, &file.id, &file.media_type, file.size])
}

pub(super) async fn file(db: &Db, org: &Id, id: &str) -> Result<Option<Attachment>, DbError> {
    db.one(FILE, args![org, id]).await?.as_ref().map(read).transpose()
}

pub(super) async fn signed_file(db: &Db, id: &str) -> Result<Option<Attachment>, DbError> {
    db.one(SIGNED, args![id]).await?.as_ref().map(read).transpose()
}

pub(super) fn delete_file_write(org: &Id, id: &str) -> Write {
    Write::new(DELETE_FILE, args![org, id])
}

pub(super) fn rate_write(org: &Id, room: &Id, rating: &Rating, person: Option<&Id>, now_ms: i64) -> Write {
    let person = person.map(|person| &**person);
    Write::new(RATE, args![org, room, rating.score, &rating.comment, person, now_ms])
}

pub(super) async fn rating(db: &Db, org: &Id, room: &Id) -> Result<Option<Rating>, DbError> {
    let row = db.one(RATING, args![org, room]).await?;
    row.map(|row| Ok(Rating { score: row.int("score")?, comment: row.text("comment")? })).transpose()
}

fn read(row: &Row) -> Result<Attachment, DbError> {
    let sender = row.text("sender")?;
    Ok(Attachment {
        org: row.text("org")?.into(),
        id: row.text("id")?.into(),
        room: row.text("room")?.into(),
        sender: Sender::read(&sender).ok_or_else(|| DbError::Column { column: "sender".to_owned(), reason: sender })?,
        name: row.text("name")?,
        media_type: row.text("media_type")?,
        size: row.int("size")?,
    })
}
