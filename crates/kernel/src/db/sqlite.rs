//! SQLite: write-ahead log, every commit synced, one connection that writes and a few that read beside it.

use std::str::FromStr as _;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use super::{DbError, Engine};

/// How long a statement waits for the lock that another process holds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections that read; each is a thread and a page cache.
const READERS: u32 = 4;
/// Prepared statements kept per connection.
const STATEMENTS: usize = 256;
/// Pages (of 4 KiB) in the log before a commit copies them into the file: each page is then copied once for many
/// commits that changed it.
const CHECKPOINT_PAGES: &str = "4000";

pub(super) async fn open(url: &str) -> Result<Engine, DbError> {
    let options = SqliteConnectOptions::from_str(url)?
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .statement_cache_capacity(STATEMENTS)
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES);
    let pool = || {
        SqlitePoolOptions::new()
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None)
    };
    // The writer opens first: it makes the file and switches it to the write-ahead log.
    let write = pool()
        .max_connections(1)
        .connect_with(options.clone())
        .await?;
    let read = pool()
        .max_connections(READERS)
        .connect_lazy_with(options.pragma("query_only", "on"));
    Ok(Engine::Sqlite { read, write })
}
