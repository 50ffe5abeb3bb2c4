//! One server per store, until several nodes come: the lock that a server and a restore hold.
//!
//! Invariant: the lock goes with the process that holds it, however that ends.

use std::fs::{File, TryLockError};
use std::path::Path;

use sqlx::{Connection as _, PgConnection};

use super::{DbError, Engine};

/// PostgreSQL's advisory lock of a server: a number of ours, and the schema.
const TRY_LOCK: &str = "select pg_try_advisory_lock(724631510, hashtext(current_schema()))";

/// Held as long as it lives.
#[derive(Debug)]
pub struct ServerLock {
    /// Keeps the lock by being there.
    _held: Held,
}

#[derive(Debug)]
enum Held {
    File(#[expect(dead_code, reason = "an open file is the lock")] File),
    Session(#[expect(dead_code, reason = "an open session is the lock")] Box<PgConnection>),
}

impl Engine {
    /// Takes the store's lock.
    pub(super) async fn lock(&self) -> Result<ServerLock, DbError> {
        let held = match self {
            Self::Sqlite(sqlite) => Held::File(lock_file(sqlite.path())?),
            Self::Postgres(pool) => {
                // A session of its own: it ends with this process, and the lock with it.
                let mut session = PgConnection::connect_with(&pool.connect_options()).await?;
                let free: bool = sqlx::query_scalar(TRY_LOCK).fetch_one(&mut session).await?;
                if !free {
                    return Err(DbError::InUse);
                }
                Held::Session(Box::new(session))
            }
        };
        Ok(ServerLock { _held: held })
    }
}

fn lock_file(database: &Path) -> Result<File, DbError> {
    let mut path = database.as_os_str().to_owned();
    path.push(".lock");
    let file = File::options().create(true).truncate(false).write(true).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(DbError::InUse),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}
