//! One server per store, until several nodes come: the lock that a server and a restore hold.
//!
//! Invariant: the lock goes with the process that holds it, however that ends.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use sqlx::{Connection as _, PgConnection, PgPool};

use super::{DbError, Engine};

/// PostgreSQL's advisory lock of a server: a number of ours, and the schema.
const TRY_LOCK: &str = "select pg_try_advisory_lock(724631510, hashtext(current_schema()))";

/// How often a session that holds a lock is asked for a sign of life.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Held as long as it lives.
#[derive(Debug)]
pub struct ServerLock {
    /// Keeps the lock by being there.
    held: Held,
}

#[derive(Debug)]
enum Held {
    File(#[expect(dead_code, reason = "an open file is the lock")] File),
    Session { session: Box<PgConnection>, pool: PgPool },
}

impl ServerLock {
    /// The lock on a file of the data directory.
    ///
    /// # Errors
    /// [`DbError::InUse`] when another process has it.
    pub(crate) fn of_file(path: &Path) -> Result<Self, DbError> {
        Ok(Self { held: Held::File(lock_file(path)?) })
    }

    /// Returns when the lock is lost to somebody else. A session that broke is taken up anew while nobody has.
    pub async fn lost(&mut self) {
        let Held::Session { session, pool } = &mut self.held else {
            return std::future::pending().await;
        };
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if session.ping().await.is_ok() {
                continue;
            }
            match lock_session(pool).await {
                Ok(again) => **session = again,
                Err(DbError::InUse) => return,
                // The store is away altogether: nobody else has it either.
                Err(error) => tracing::warn!(%error, "the session that holds the store's lock broke"),
            }
        }
    }
}

impl Engine {
    /// Takes the store's lock.
    pub(super) async fn lock(&self) -> Result<ServerLock, DbError> {
        let held = match self {
            Self::Sqlite(sqlite) => Held::File(lock_file(&beside(sqlite.path()))?),
            Self::Postgres(pool) => Held::Session { session: Box::new(lock_session(pool).await?), pool: pool.clone() },
        };
        Ok(ServerLock { held })
    }
}

/// A session of its own that has the lock: it ends with this process, and the lock with it.
async fn lock_session(pool: &PgPool) -> Result<PgConnection, DbError> {
    let mut session = PgConnection::connect_with(&pool.connect_options()).await?;
    let free: bool = sqlx::query_scalar(TRY_LOCK).fetch_one(&mut session).await?;
    if free { Ok(session) } else { Err(DbError::InUse) }
}

fn beside(database: &Path) -> std::path::PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(".lock");
    path.into()
}

fn lock_file(path: &Path) -> Result<File, DbError> {
    let file = File::options().create(true).truncate(false).write(true).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(DbError::InUse),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}
