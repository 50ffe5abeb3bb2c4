//! The store: one SQL text for SQLite and PostgreSQL. What holds on both engines: docs/sql.md.
//!
//! Invariant: when a write returns, it survives kill -9 and a power cut. Writes of hot paths go through the group
//! commit of [`Writer`]; a change that reads first takes a [`Tx`]; reads run beside both.

mod arg;
pub(crate) mod dump;
mod lock;
mod migrate;
mod postgres;
mod row;
mod session;
mod sqlite;
pub mod testing;
#[cfg(test)]
mod tests;
mod writer;

pub use arg::{Arg, Wake, Write};
pub use lock::ServerLock;
pub use migrate::{MIGRATIONS, Migration};
pub use row::Row;
pub use session::Tx;
pub use writer::{Pending, Place, Writer, WriterStats};

use sqlx::PgPool;

use crate::bus::Bus;

/// What can go wrong in the store.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// A guarded write matched no row: somebody else was faster. Nothing of its group was written.
    #[error("a guarded write matched no row")]
    Conflict,
    /// A unique key exists already. Nothing of its group was written.
    #[error("the key exists already: {0}")]
    Duplicate(String),
    /// A row refers to one that does not exist, or is still referred to.
    #[error("a reference does not hold: {0}")]
    Reference(String),
    /// The database was written by a newer release.
    #[error("the database has schema {found}, this release knows {ours}: start the newer release")]
    NewerSchema {
        /// The version in the database.
        found: i64,
        /// The newest version of this release.
        ours: i64,
    },
    /// The database was written by an older release, and whoever opens it may not change that.
    #[error("the database has schema {found}, this release {ours}: start the server of this release first")]
    OlderSchema {
        /// The version in the database.
        found: i64,
        /// The newest version of this release.
        ours: i64,
    },
    /// An applied migration's text has changed, or one is missing.
    #[error("migration {0} in the database is not the one of this release")]
    ForeignMigration(i64),
    /// A server, or a restore, holds the lock of this store.
    #[error("a server uses this store: stop it first")]
    InUse,
    /// The address of the database is none we know.
    #[error("the database must be sqlite:///path/file.db or postgres://..., not {0:?}")]
    Url(String),
    /// A column is missing, null or of another type: a bug in a statement.
    #[error("column {column}: {reason}")]
    Column {
        /// Its name.
        column: String,
        /// What was wrong.
        reason: String,
    },
    /// The server is stopping and takes no more writes.
    #[error("the store is closed")]
    Closed,
    /// The file system.
    #[error("the database's files: {0}")]
    Io(#[from] std::io::Error),
    /// Anything else that SQLite says.
    #[error("sqlite: {0}")]
    Sqlite(rusqlite::Error),
    /// Anything else that PostgreSQL or the way to it says.
    #[error("postgres: {0}")]
    Postgres(sqlx::Error),
}

impl From<rusqlite::Error> for DbError {
    /// Names the violations that callers react to; the rest stays as the engine said it.
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ffi;
        match &error {
            rusqlite::Error::SqliteFailure(failure, message) => {
                let message = || message.clone().unwrap_or_else(|| failure.to_string());
                match failure.extended_code {
                    ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY => Self::Duplicate(message()),
                    ffi::SQLITE_CONSTRAINT_FOREIGNKEY => Self::Reference(message()),
                    _ => Self::Sqlite(error),
                }
            }
            _ => Self::Sqlite(error),
        }
    }
}

impl From<sqlx::Error> for DbError {
    /// As for SQLite.
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(database) if database.is_unique_violation() => {
                Self::Duplicate(database.message().to_owned())
            }
            sqlx::Error::Database(database) if database.is_foreign_key_violation() => {
                Self::Reference(database.message().to_owned())
            }
            sqlx::Error::PoolClosed => Self::Closed,
            _ => Self::Postgres(error),
        }
    }
}

impl DbError {
    /// Whether the same transaction may succeed when it is simply run again: a lock held by another process,
    /// a deadlock, a serialisation failure, a lost connection.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked};
        match self {
            Self::Sqlite(error) => {
                matches!(error.sqlite_error_code(), Some(DatabaseBusy | DatabaseLocked))
            }
            Self::Postgres(sqlx::Error::Database(database)) => {
                // 40xxx transaction rollback, 08xxx connection, 57Pxx shutdown, 53300 too many clients.
                let code = database.code().unwrap_or_default();
                ["40", "08", "57P", "53300"].iter().any(|class| code.starts_with(class))
            }
            Self::Postgres(error) => {
                matches!(error, sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut)
            }
            _ => false,
        }
    }
}

/// The store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Db {
    engine: Engine,
    writer: Writer,
}

/// The two engines. `session.rs` is where they are told apart.
#[derive(Clone, Debug)]
enum Engine {
    Sqlite(sqlite::Sqlite),
    Postgres(PgPool),
}

impl Engine {
    async fn open(url: &str) -> Result<Self, DbError> {
        if url.starts_with("sqlite:") {
            let url = url.to_owned();
            let opened = tokio::task::spawn_blocking(move || sqlite::open(&url)).await;
            Ok(Self::Sqlite(opened.map_err(|_| DbError::Closed)??))
        } else if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            Ok(Self::Postgres(postgres::open(url).await?))
        } else {
            Err(DbError::Url(url.to_owned()))
        }
    }

    async fn close(&self) {
        match self {
            Self::Sqlite(sqlite) => sqlite.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

impl Db {
    /// Opens `sqlite:///path/tandem.db` or `postgres://…`, applies the missing migrations and starts the writer.
    ///
    /// # Errors
    /// [`DbError::NewerSchema`] when the data belongs to a newer release; [`DbError::InUse`] when migrations are missing
    /// and a server of the older release is at work; [`DbError::Url`], `DbError::Engine`.
    pub async fn open(url: &str, bus: Bus) -> Result<Self, DbError> {
        let engine = Engine::open(url).await?;
        migrate::apply(&engine, MIGRATIONS).await?;
        Ok(Self { writer: Writer::start(engine.clone(), bus), engine })
    }

    /// Opens a store that is there and has this release's schema; changes nothing of it.
    ///
    /// # Errors
    /// [`DbError::OlderSchema`], [`DbError::NewerSchema`]; [`DbError::Url`], `DbError::Engine`.
    pub async fn open_present(url: &str, bus: Bus) -> Result<Self, DbError> {
        let engine = Engine::open(url).await?;
        let found = migrate::look(&engine, MIGRATIONS).await?;
        let ours = dump::schema_version();
        if found < ours {
            return Err(DbError::OlderSchema { found, ours });
        }
        Ok(Self { writer: Writer::start(engine.clone(), bus), engine })
    }

    /// All rows of a query. The statement carries its own limit.
    ///
    /// # Errors
    /// What the engine says.
    pub async fn all(&self, sql: &'static str, args: Vec<Arg>) -> Result<Vec<Row>, DbError> {
        self.engine.read(sql, args, false).await
    }

    /// The first row of a query: for look-ups by key. On SQLite they are answered on the calling thread, in
    /// microseconds; what has to search belongs into [`Db::all`].
    ///
    /// # Errors
    /// What the engine says.
    pub async fn one(&self, sql: &'static str, args: Vec<Arg>) -> Result<Option<Row>, DbError> {
        Ok(self.engine.read(sql, args, true).await?.into_iter().next())
    }

    /// All of a few rows, a hundred at most, that stand together in an index: on SQLite they are read on the calling
    /// thread, since the way to another one and back would cost more than they do.
    ///
    /// # Errors
    /// What the engine says.
    pub async fn few(&self, sql: &'static str, args: Vec<Arg>) -> Result<Vec<Row>, DbError> {
        self.engine.read(sql, args, true).await
    }

    /// All rows of a query that each engine has in its own words.
    ///
    /// # Errors
    /// What the engine says.
    pub async fn all_by_engine(&self, sql: PerEngine, args: Vec<Arg>) -> Result<Vec<Row>, DbError> {
        self.all(sql.of(self), args).await
    }

    /// One durable write; returns the number of rows it touched.
    ///
    /// # Errors
    /// [`DbError::Duplicate`], [`DbError::Reference`], or what the engine says.
    pub async fn run(&self, sql: &'static str, args: Vec<Arg>) -> Result<u64, DbError> {
        let counts = self.writer.commit(vec![Write::new(sql, args)]).await?;
        Ok(counts.first().copied().unwrap_or(0))
    }

    /// Begins a transaction that may read and then write. On SQLite it is the only writer while it lives: keep it
    /// short, and never wait for anything but the store inside it.
    ///
    /// # Errors
    /// What the engine says, for example that another process holds the write lock for more than five seconds.
    pub async fn begin(&self) -> Result<Tx, DbError> {
        self.engine.begin().await
    }

    /// The group commit.
    #[must_use]
    pub fn writer(&self) -> &Writer {
        &self.writer
    }

    /// Writes what is queued, then closes every connection. Later writes fail with [`DbError::Closed`].
    pub async fn close(&self) {
        self.writer.close().await;
        self.engine.close().await;
    }

    /// Takes the lock that says "a server uses this store", for as long as the value lives.
    ///
    /// # Errors
    /// [`DbError::InUse`] when another process has it.
    pub async fn lock(&self) -> Result<ServerLock, DbError> {
        self.engine.lock().await
    }

    /// Asks the engine whether it understands a statement.
    ///
    /// # Errors
    /// What the engine says.
    pub async fn prepare(&self, sql: &'static str) -> Result<(), DbError> {
        self.engine.prepare(sql).await
    }

    /// Asks the engine for a sign of life.
    ///
    /// # Errors
    /// What the engine says.
    pub async fn ping(&self) -> Result<(), DbError> {
        self.prepare("select 1").await
    }

    /// `sqlite` or `postgres`, for a log line or `doctor`.
    #[must_use]
    pub fn engine_name(&self) -> &'static str {
        match &self.engine {
            Engine::Sqlite(_) => "sqlite",
            Engine::Postgres(_) => "postgres",
        }
    }
}

/// A query that each engine has in its own words. docs/sql.md lists every one.
#[derive(Clone, Copy, Debug)]
pub struct PerEngine {
    /// For SQLite.
    pub sqlite: &'static str,
    /// For PostgreSQL.
    pub postgres: &'static str,
}

impl PerEngine {
    /// The words for the engine of a store.
    #[must_use]
    pub fn of(self, db: &Db) -> &'static str {
        match &db.engine {
            Engine::Sqlite(_) => self.sqlite,
            Engine::Postgres(_) => self.postgres,
        }
    }
}

/// Declares the SQL of a store: a constant each, and for tests `ALL` with every name and text, which one of them
/// prepares on both engines.
///
/// ```
/// kernel::statements! {
///     /// One organisation by its id.
///     ORG_BY_ID = "select name from org where id = $1";
/// }
/// assert!(ORG_BY_ID.contains("$1"));
/// ```
#[macro_export]
macro_rules! statements {
    ($($(#[$meta:meta])* $name:ident = $sql:expr;)*) => {
        $($(#[$meta])* pub(crate) const $name: &str = $sql;)*
        /// Every statement of this store with its name.
        #[cfg(test)]
        pub(crate) const ALL: &[(&str, &str)] = &[$((stringify!($name), $name)),*];
    };
}

/// `args![a, b, c]`: the arguments of a statement, `$1` first.
#[macro_export]
macro_rules! args {
    ($($value:expr),* $(,)?) => { vec![$($crate::db::Arg::from($value)),*] };
}
