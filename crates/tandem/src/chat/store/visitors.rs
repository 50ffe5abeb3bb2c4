//! The rows of visitors and of what they hold.

use kernel::{Db, DbError, Row, Write, args};

use crate::chat::model::{Id, Visitor};

kernel::statements! {
    VISITOR = "select id, app, user_id, verified, name, email from chat_visitor where org = $1 and id = $2";
    VISITOR_OF_USER = "select id, app, user_id, verified, name, email from chat_visitor \
        where org = $1 and app = $2 and user_id = $3 and verified";
    VISITOR_OF_TOKEN = "select t.expires_at, v.org, v.id, v.app, v.user_id, v.verified, v.name, v.email \
        from chat_visitor_token t join chat_visitor v on v.org = t.org and v.id = t.visitor \
        join app a on a.org = v.org and a.id = v.app \
        where t.hash = $1 and t.expires_at > $2 and a.disabled_at is null";
    INSERT_VISITOR = "insert into chat_visitor (org, id, app, user_id, verified, name, email, created_at, seen_at) \
        values ($1, $2, $3, $4, $5, $6, $7, $8, $8)";
    CHANGE_VISITOR = "update chat_visitor set user_id = $3, verified = $4, name = $5, email = $6, seen_at = $7 \
        where org = $1 and id = $2";
    INSERT_TOKEN = "insert into chat_visitor_token (hash, org, visitor, created_at, expires_at) \
        values ($1, $2, $3, $4, $5)";
    FORGET_TOKENS_OF_EMPTY = "delete from chat_visitor_token where org = $1 and visitor = $2 and exists \
        (select 1 from chat_room r where r.org = $1 and r.id = $3 and r.visitor = $2 and r.seq_head = 0)";
    SLIDE_TOKEN = "update chat_visitor_token set expires_at = $3 where hash = $1 and org = $2";
}

/// A visitor; of another organisation it is none.
pub(in crate::chat) async fn visitor(db: &Db, org: &Id, id: &str) -> Result<Option<Visitor>, DbError> {
    db.one(VISITOR, args![org, id]).await?.as_ref().map(|row| read(org.clone(), row)).transpose()
}

/// The visitor that an application vouches for as `user_id`.
pub(in crate::chat) async fn visitor_of_user(
    db: &Db,
    org: &Id,
    app: &str,
    user_id: &str,
) -> Result<Option<Visitor>, DbError> {
    let row = db.one(VISITOR_OF_USER, args![org, app, user_id]).await?;
    row.as_ref().map(|row| read(org.clone(), row)).transpose()
}

/// Whose token it is, and until when it is good (UTC milliseconds). Its organisation is what it says.
pub(in crate::chat) async fn visitor_of_token(
    db: &Db,
    hash: &str,
    now_ms: i64,
) -> Result<Option<(Visitor, i64)>, DbError> {
    let Some(row) = db.one(VISITOR_OF_TOKEN, args![hash, now_ms]).await? else { return Ok(None) };
    Ok(Some((read(row.text("org")?.into(), &row)?, row.int("expires_at")?)))
}

pub(super) fn read(org: Id, row: &Row) -> Result<Visitor, DbError> {
    Ok(Visitor {
        id: row.text("id")?.into(),
        org,
        app: row.text("app")?.into(),
        user_id: row.text("user_id")?,
        verified: row.bool("verified")?,
        name: row.text("name")?,
        email: row.opt_text("email")?,
    })
}

/// A new visitor.
pub(in crate::chat) fn insert_visitor_write(visitor: &Visitor, now_ms: i64) -> Write {
    let Visitor { id, org, app, user_id, verified, name, email } = visitor;
    Write::new(INSERT_VISITOR, args![org, id, app, user_id, *verified, name, email.as_deref(), now_ms])
}

/// What is known of a visitor now.
pub(in crate::chat) fn change_visitor_write(visitor: &Visitor, now_ms: i64) -> Write {
    let Visitor { id, org, user_id, verified, name, email, .. } = visitor;
    Write::guarded(CHANGE_VISITOR, args![org, id, user_id, *verified, name, email.as_deref(), now_ms])
}

/// A token that is good until a time, UTC milliseconds.
pub(in crate::chat) fn token_write(hash: &str, org: &str, visitor: &str, now_ms: i64, expires_ms: i64) -> Write {
    Write::new(INSERT_TOKEN, args![hash, org, visitor, now_ms, expires_ms])
}

/// The tokens of a visitor are over, if its room is still empty.
pub(in crate::chat) fn forget_tokens_of_empty_write(org: &str, visitor: &str, room: &str) -> Write {
    Write::guarded(FORGET_TOKENS_OF_EMPTY, args![org, visitor, room])
}

/// A token was used: it is good for longer.
pub(in crate::chat) fn slide_token_write(hash: &str, org: &str, expires_ms: i64) -> Write {
    Write::new(SLIDE_TOKEN, args![hash, org, expires_ms])
}
