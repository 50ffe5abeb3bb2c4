//! The SQL of canned replies and macros.

use kernel::{Db, DbError, Row, Write, args};

use super::super::canned::Canned;
use super::super::macros::Macro;

/// Of an organisation, of each kind: so many are kept, and listed.
pub(in crate::chat::inbox) const MAX_REPLIES: i64 = 1_000;

kernel::statements! {
    ALL_CANNED = "select id, shortcut, title, body, team from chat_canned where org = $1 order by shortcut limit $2";
    CANNED = "select id, shortcut, title, body, team from chat_canned where org = $1 and id = $2";
    PUT_CANNED = "insert into chat_canned (org, id, shortcut, title, body, team, created_at) \
        select cast($1 as text), cast($2 as text), cast($3 as text), cast($4 as text), cast($5 as text), \
        cast($6 as text), cast($7 as bigint) where (select count(*) from chat_canned where org = $1) < $8";
    CHANGE_CANNED = "update chat_canned set shortcut = $3, title = $4, body = $5, team = $6 where org = $1 and id = $2";
    TAKE_CANNED = "delete from chat_canned where org = $1 and id = $2";
    ALL_MACROS = "select id, name, steps from chat_macro where org = $1 order by name limit $2";
    MACRO = "select id, name, steps from chat_macro where org = $1 and id = $2";
    PUT_MACRO = "insert into chat_macro (org, id, name, steps, created_at) select cast($1 as text), cast($2 as text), \
        cast($3 as text), cast($4 as text), cast($5 as bigint) where (select count(*) from chat_macro where org = $1) < $6";
    CHANGE_MACRO = "update chat_macro set name = $3, steps = $4 where org = $1 and id = $2";
    TAKE_MACRO = "delete from chat_macro where org = $1 and id = $2";
}

fn read_canned(row: &Row) -> Result<Canned, DbError> {
    Ok(Canned {
        id: row.text("id")?,
        shortcut: row.text("shortcut")?,
        title: row.text("title")?,
        text: row.text("body")?,
        team: row.opt_text("team")?,
    })
}

/// Those of an organisation, by shortcut.
pub(in crate::chat::inbox) async fn all_canned(db: &Db, org: &str) -> Result<Vec<Canned>, DbError> {
    db.all(ALL_CANNED, args![org, MAX_REPLIES]).await?.iter().map(read_canned).collect()
}

pub(in crate::chat::inbox) async fn canned(db: &Db, org: &str, id: &str) -> Result<Option<Canned>, DbError> {
    db.one(CANNED, args![org, id]).await?.as_ref().map(read_canned).transpose()
}

/// A new one; fails when there are as many as may be.
pub(in crate::chat::inbox) fn put_canned_write(org: &str, canned: &Canned, now_ms: i64) -> Write {
    let Canned { id, shortcut, title, text, team } = canned;
    Write::guarded(PUT_CANNED, args![org, id, shortcut, title, text, team.clone(), now_ms, MAX_REPLIES])
}

pub(in crate::chat::inbox) fn change_canned_write(org: &str, canned: &Canned) -> Write {
    let Canned { id, shortcut, title, text, team } = canned;
    Write::guarded(CHANGE_CANNED, args![org, id, shortcut, title, text, team.clone()])
}

pub(in crate::chat::inbox) fn take_canned_write(org: &str, id: &str) -> Write {
    Write::guarded(TAKE_CANNED, args![org, id])
}

fn read_macro(row: &Row) -> Result<Macro, DbError> {
    Ok(Macro { id: row.text("id")?, name: row.text("name")?, steps: row.json("steps")? })
}

/// Those of an organisation, by name.
pub(in crate::chat::inbox) async fn all_macros(db: &Db, org: &str) -> Result<Vec<Macro>, DbError> {
    db.all(ALL_MACROS, args![org, MAX_REPLIES]).await?.iter().map(read_macro).collect()
}

pub(in crate::chat::inbox) async fn one_macro(db: &Db, org: &str, id: &str) -> Result<Option<Macro>, DbError> {
    db.one(MACRO, args![org, id]).await?.as_ref().map(read_macro).transpose()
}

fn steps(wanted: &Macro) -> String {
    // Strings and lists of them always serialise.
    serde_json::to_string(&wanted.steps).unwrap_or_default()
}

/// A new one; fails when there are as many as may be.
pub(in crate::chat::inbox) fn put_macro_write(org: &str, wanted: &Macro, now_ms: i64) -> Write {
    Write::guarded(PUT_MACRO, args![org, &wanted.id, &wanted.name, steps(wanted), now_ms, MAX_REPLIES])
}

pub(in crate::chat::inbox) fn change_macro_write(org: &str, wanted: &Macro) -> Write {
    Write::guarded(CHANGE_MACRO, args![org, &wanted.id, &wanted.name, steps(wanted)])
}

pub(in crate::chat::inbox) fn take_macro_write(org: &str, id: &str) -> Write {
    Write::guarded(TAKE_MACRO, args![org, id])
}
