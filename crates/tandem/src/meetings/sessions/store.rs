//! The rows of signed-in parties, and of the links that sign in once.

use kernel::db::Write;
use kernel::{DbError, Kernel, args};

use super::{PartySession, Whose};

/// Browsers of one party that are signed in at once; the oldest give way.
const MAX_SESSIONS: i64 = 20;

kernel::statements! {
    FIND = "select s.hash as hash, s.org as org, s.app as app, s.uid as uid, s.meeting as meeting \
        from party_session s join app a on a.org = s.org and a.id = s.app \
        where s.hash = $1 and s.expires_at > $2 and a.disabled_at is null";
    TAKE_LINK = "update meeting_link set used_at = $2 where hash = $1 and used_at is null and expires_at > $2 \
        returning org, app, uid, meeting";
    INSERT = "insert into party_session (hash, org, app, uid, meeting, jti, created_at, expires_at) \
        values ($1, $2, $3, $4, $5, $6, $7, $8)";
    CLOSE = "delete from party_session where org = $1 and hash = $2";
    FORGET_EXPIRED = "delete from party_session where org = $1 and expires_at <= $2";
    FORGET_OLDEST = "delete from party_session where org = $1 and app = $2 and uid = $3 and hash not in \
        (select hash from party_session where org = $1 and app = $2 and uid = $3 \
        order by created_at desc, hash limit $4)";
}

/// The party of a session that is open.
pub(super) async fn find(kernel: &Kernel, hash: &str, now_ms: i64) -> Result<Option<PartySession>, DbError> {
    let Some(row) = kernel.db.one(FIND, args![hash, now_ms]).await? else { return Ok(None) };
    Ok(Some(PartySession {
        org: row.text("org")?.into(),
        app: row.text("app")?.into(),
        uid: row.text("uid")?.into(),
        meeting: row.int("meeting")?,
        session: row.text("hash")?.into(),
    }))
}

/// Whom a one-time link signs in, if it was not used before.
pub(super) async fn take_link(kernel: &Kernel, hash: &str, now_ms: i64) -> Result<Option<Whose>, DbError> {
    let mut tx = kernel.db.begin().await?;
    let row = tx.one(TAKE_LINK, args![hash, now_ms]).await?;
    tx.commit().await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Whose {
        org: row.text("org")?,
        app: row.text("app")?,
        uid: row.text("uid")?,
        meeting: row.int("meeting")?,
        jti: String::new(),
    }))
}

/// Opens a session; those of the organisation that are over go, and so do this party's beyond the newest few.
pub(super) async fn open(
    kernel: &Kernel,
    whose: &Whose,
    hash: &str,
    now_ms: i64,
    expires_ms: i64,
) -> Result<(), DbError> {
    let Whose { org, app, uid, meeting, jti } = whose;
    let writes = vec![
        Write::new(FORGET_EXPIRED, args![org, now_ms]),
        Write::new(INSERT, args![hash, org, app, uid, *meeting, jti, now_ms, expires_ms]),
        Write::new(FORGET_OLDEST, args![org, app, uid, MAX_SESSIONS]),
    ];
    kernel.db.writer().commit(writes).await.map(drop)
}

/// Closes a session.
pub(super) async fn close(kernel: &Kernel, org: &str, hash: &str) -> Result<(), DbError> {
    kernel.db.run(CLOSE, args![org, hash]).await.map(drop)
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
