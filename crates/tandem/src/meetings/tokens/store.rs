//! The rows of sign-in tokens and of links that sign in once.

use kernel::db::Write;
use kernel::{DbError, Kernel, args};

use super::Claims;

kernel::statements! {
    INSERT = "insert into meeting_party_token (org, jti, app, uid, meeting, expires_at) \
        values ($1, $2, $3, $4, $5, $6)";
    INSERT_LINK = "insert into meeting_link (hash, org, app, uid, meeting, expires_at) \
        values ($1, $2, $3, $4, $5, $6)";
    GOOD = "select m.ends_at as ends_at from meeting_party_token t \
        join meeting m on m.org = t.org and m.id = t.meeting \
        join app a on a.org = t.org and a.id = t.app \
        where t.org = $1 and t.jti = $2 and t.revoked_at is null and a.disabled_at is null \
        and coalesce(m.cause, '') <> 'cancelled'";
    LATEST = "select m.id as id from meeting m where m.org = $1 and m.app = $2 \
        and (m.caller_uid = $3 or m.receiver_uid = $3) order by m.starts_at desc, m.id desc limit 1";
}

pub(super) fn token_write(claims: &Claims, expires_ms: i64) -> Write {
    let Claims { org, jti, app, uid, meeting, .. } = claims;
    Write::new(INSERT, args![org, jti, app, uid, *meeting, expires_ms])
}

pub(super) fn link_write(hash: &str, org: &str, app: &str, uid: &str, meeting: i64, expires_ms: i64) -> Write {
    Write::new(INSERT_LINK, args![hash, org, app, uid, meeting, expires_ms])
}

/// When the meeting of a token ends, UTC milliseconds, if the token was not revoked.
pub(super) async fn end_of_good_token(kernel: &Kernel, org: &str, jti: &str) -> Result<Option<i64>, DbError> {
    let row = kernel.db.one(GOOD, args![org, jti]).await?;
    row.map(|row| row.int("ends_at")).transpose()
}

/// The last meeting of a person, if the application knows it at all.
pub(super) async fn latest_meeting(kernel: &Kernel, org: &str, app: &str, uid: &str) -> Result<Option<i64>, DbError> {
    let row = kernel.db.one(LATEST, args![org, app, uid]).await?;
    row.map(|row| row.int("id")).transpose()
}
