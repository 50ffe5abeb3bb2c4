//! The SQL of what was said: rows of words, and the one query that each engine has in its own words (docs/sql.md).
//!
//! Invariant: a row stands only for a message that still says what the row has; the words of a message go in the commit
//! that changes it, takes it back or erases it.

use kernel::db::PerEngine;
use kernel::{Arg, Db, DbError, Write, args};

use super::super::words::{self, Query};
use crate::chat::model::Note;

/// Events that are read in one go.
pub(in crate::chat::inbox) const PORTION: i64 = 500;

kernel::statements! {
    MARK = "select position from chat_search_mark where org = $1";
    PUT_MARK = "insert into chat_search_mark (org, position) values ($1, $2) on conflict (org) do update set \
        position = case when excluded.position > chat_search_mark.position then excluded.position \
        else chat_search_mark.position end";
    SAID = "select position, key, kind, body, time_at from event where org = $1 and position > $2 and position <= $3 \
        and kind in ('message.created', 'message.edited') order by position limit $4";
    PUT_WORDS = "insert into chat_search (position, org, room, seq, note, words, said_at) \
        select cast($1 as bigint), cast($2 as text), cast($3 as text), cast($4 as bigint), cast(null as text), \
        cast($5 as text), m.created_at from chat_message m where m.org = $2 and m.room = $3 and m.seq = $4 \
        and m.body = cast($6 as text) and not exists (select 1 from chat_search s where s.org = $2 and s.room = $3 \
        and s.seq = $4 and s.note is null) on conflict do nothing";
    PUT_NOTE = "insert into chat_search (position, org, room, seq, note, words, said_at) \
        values ($1, $2, $3, $4, $5, $6, $7)";
    // Whoever reads the same events a little behind takes nothing that is newer.
    TAKE_WORDS = "delete from chat_search where org = $1 and room = $2 and seq = $3 and note is null and position <= $4";
}

/// What matches, newest first. `$2` is the query in the engine's own words.
pub(in crate::chat::inbox) const MATCHING: PerEngine = PerEngine {
    sqlite: "select s.position, s.room, s.seq, s.note, r.state, r.user_id from chat_search_index \
        join chat_search s on s.position = chat_search_index.rowid \
        join chat_room r on r.org = s.org and r.id = s.room \
        where chat_search_index match $2 and chat_search_index.rowid < $3 and s.org = $1 and (r.app = $4 or $4 is null) \
        order by chat_search_index.rowid desc limit $5",
    postgres: "select s.position, s.room, s.seq, s.note, r.state, r.user_id from chat_search s \
        join chat_room r on r.org = s.org and r.id = s.room \
        where s.org = $1 and array_to_tsvector(string_to_array(s.words, ' ')) @@ cast(cast($2 as text) as tsquery) \
        and s.position < $3 and (r.app = $4 or $4 is null) order by s.position desc limit $5",
};

/// A message or a note that matches.
#[derive(Clone, Debug)]
pub(in crate::chat::inbox) struct Match {
    pub(in crate::chat::inbox) position: i64,
    pub(in crate::chat::inbox) room: String,
    pub(in crate::chat::inbox) seq: i64,
    pub(in crate::chat::inbox) note: Option<String>,
    pub(in crate::chat::inbox) state: String,
    pub(in crate::chat::inbox) user_id: String,
}

/// What matches before a position, newest first; `app` none = of every application.
pub(in crate::chat::inbox) async fn matching(
    db: &Db,
    org: &str,
    app: Option<&str>,
    query: &Query,
    before: i64,
    limit: i64,
) -> Result<Vec<Match>, DbError> {
    let asked = if db.engine_name() == "sqlite" { query.for_fts5(org) } else { query.for_tsquery() };
    let rows = db.all_by_engine(MATCHING, args![org, asked, before, app, limit]).await?;
    rows.iter()
        .map(|row| {
            Ok(Match {
                position: row.int("position")?,
                room: row.text("room")?,
                seq: row.int("seq")?,
                note: row.opt_text("note")?,
                state: row.text("state")?,
                user_id: row.text("user_id")?,
            })
        })
        .collect()
}

/// Up to which event the words were read.
pub(in crate::chat::inbox) async fn mark(db: &Db, org: &str) -> Result<i64, DbError> {
    db.one(MARK, args![org]).await?.map_or(Ok(0), |row| row.int("position"))
}

pub(in crate::chat::inbox) fn mark_write(org: &str, position: i64) -> Write {
    Write::new(PUT_MARK, args![org, position])
}

/// An event that tells what a message says.
pub(in crate::chat::inbox) struct Said {
    pub(in crate::chat::inbox) position: i64,
    pub(in crate::chat::inbox) room: String,
    /// The event's body, JSON.
    pub(in crate::chat::inbox) body: String,
}

/// What was said in the events after one position, up to another.
pub(in crate::chat::inbox) async fn said(db: &Db, org: &str, after: i64, to: i64) -> Result<Vec<Said>, DbError> {
    let rows = db.all(SAID, args![org, after, to, PORTION]).await?;
    rows.iter()
        .map(|row| Ok(Said { position: row.int("position")?, room: row.text("key")?, body: row.text("body")? }))
        .collect()
}

/// The words of a message, if it still says `body`.
pub(in crate::chat::inbox) fn words_writes(
    org: &str,
    room: &str,
    seq: i64,
    position: i64,
    words: &str,
    body: &str,
) -> [Write; 2] {
    [
        Write::new(TAKE_WORDS, args![org, room, seq, position]),
        Write::new(PUT_WORDS, args![position, org, room, seq, words, body]),
    ]
}

/// The words of a message go.
pub(in crate::chat::inbox) fn take_words_write(org: &str, room: &str, seq: i64) -> Write {
    Write::new(TAKE_WORDS, args![org, room, seq, i64::MAX])
}

/// The words of a new note.
pub(in crate::chat::inbox) fn note_words_write(org: &str, note: &Note) -> Write {
    let mut args = vec![Arg::NextPosition];
    args.extend(args![org, &note.room, note.after_seq, &note.id, words::folded(&note.text), note.created_ms]);
    Write::new(PUT_NOTE, args)
}

/// How many messages and notes can be found, of all organisations.
#[cfg(test)]
pub(in crate::chat::inbox) async fn count(db: &Db) -> usize {
    db.all("select position from chat_search", args![]).await.unwrap().len()
}
