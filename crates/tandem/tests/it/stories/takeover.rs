//! The store's lock on PostgreSQL is a session, and sessions break. A server takes it up anew while
//! nobody else has; when somebody has, it ends: two servers on one store would both call.
//!
//! On SQLite the lock is an open file, which nobody can take away.

use std::time::Duration;

use kernel::db::testing::{SERVER_VARIABLE, TestDb};
use kernel::{Db, DbError, args};
use tokio::time::{sleep, timeout};

use crate::harness::process::Tandem;

/// The server looks at its session every 5 s.
const NOTICED: Duration = Duration::from_secs(30);

/// Who holds the lock of this schema's server: the two numbers of `kernel::db::lock`.
const HOLDER: &str = "select cast(pid as bigint) as pid from pg_locks where locktype = 'advisory' and granted \
    and cast(classid as bigint) = 724631510 \
    and cast(objid as bigint) = (cast(hashtext(current_schema()) as bigint) & 4294967295)";
const BREAK: &str = "select pg_terminate_backend(cast($1 as integer)) as broken";

async fn holder(db: &Db) -> Option<i64> {
    db.one(HOLDER, args![]).await.unwrap().map(|row| row.int("pid").unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_keeps_a_lock_that_broke_and_ends_when_another_has_taken_it() {
    if std::env::var(SERVER_VARIABLE).is_err() {
        return;
    }
    let store = TestDb::each().await.pop().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let tandem = Tandem::on(&folder.path().join("data"));
    let mut running = tandem.start("serve", &["--database", &store.url]).await;

    let first = holder(&store.db).await.expect("a running server holds the lock");
    store.db.one(BREAK, args![first]).await.unwrap();
    let again = timeout(NOTICED, async {
        loop {
            match holder(&store.db).await {
                Some(pid) if pid != first => break,
                _ => sleep(Duration::from_millis(50)).await,
            }
        }
    });
    again.await.expect("nobody has the lock, so the server takes it anew");
    assert!(matches!(store.db.lock().await, Err(DbError::InUse)));
    running.client().get("/healthz").await.expect(200);

    // Another server is faster than its next look; if not, once more.
    let taken = timeout(NOTICED, async {
        loop {
            if let Some(pid) = holder(&store.db).await {
                store.db.one(BREAK, args![pid]).await.unwrap();
            }
            if let Ok(lock) = store.db.lock().await {
                break lock;
            }
        }
    });
    let _other = taken.await.expect("the lock is free for a moment");
    let status = running.ended(NOTICED).await;
    assert!(!status.success(), "its end is no planned one");
    let log = running.log();
    assert!(log.contains("another server has taken the store over"), "{log}");
}
