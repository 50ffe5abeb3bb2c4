//! One place where a statement meets an engine: a connection inside a transaction, and the transaction that callers
//! hold.
//!
//! Invariant: a [`Tx`] that is dropped without `commit` is rolled back.

use futures_util::FutureExt as _;
use sqlx::postgres::{PgArguments, PgTypeInfo};
use sqlx::{Arguments as _, AssertSqlSafe, PgConnection, Postgres, Transaction};

use super::row::Row;
use super::sqlite::{self, RemoteTx};
use super::{Arg, DbError, Engine};

/// Takes `$1` positions of the log and returns the last of them; the row stays locked until the commit, so that
/// positions become visible in their own order, whatever node wrote them.
const TAKE_POSITIONS: &str = "update counter set value = value + $1 where org = '' and kind = 'event' returning value";
/// The same in two steps: SQLite makes a table of its own for what a statement returns.
const MOVE_POSITIONS: &str = "update counter set value = value + $1 where org = '' and kind = 'event'";
const LAST_POSITION: &str = "select value from counter where org = '' and kind = 'event'";

/// Positions of the log that were taken and not yet given: `next..=last`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Positions {
    next: i64,
    last: i64,
}

const NO_POSITIONS: Positions = Positions { next: 1, last: 0 };

/// A connection with a transaction open on it.
pub(super) struct Session<'c> {
    link: Link<'c>,
    positions: Positions,
}

pub(super) enum Link<'c> {
    /// On its own thread: its calls are never pending.
    Sqlite(&'c mut rusqlite::Connection),
    Postgres(&'c mut PgConnection),
}

impl<'c> Session<'c> {
    pub(super) fn new(link: Link<'c>) -> Self {
        Self { link, positions: NO_POSITIONS }
    }

    pub(super) async fn all(&mut self, sql: &'static str, args: &[Arg]) -> Result<Vec<Row>, DbError> {
        let placed = self.place(args).await?;
        let args = placed.as_deref().unwrap_or(args);
        match &mut self.link {
            Link::Sqlite(connection) => sqlite::all(connection, sql, args),
            Link::Postgres(connection) => postgres_all(connection, sql, args).await,
        }
    }

    pub(super) async fn run(&mut self, sql: &'static str, args: &[Arg]) -> Result<u64, DbError> {
        let placed = self.place(args).await?;
        let args = placed.as_deref().unwrap_or(args);
        match &mut self.link {
            Link::Sqlite(connection) => sqlite::run(connection, sql, args),
            Link::Postgres(connection) => sqlx::query_with(sql, arguments(args)?)
                .execute(&mut **connection)
                .await
                .map(|done| done.rows_affected())
                .map_err(DbError::from),
        }
    }

    /// An insert whose text was made of our own names (`dump.rs`).
    pub(super) async fn insert_text(&mut self, sql: &str, args: &[Arg]) -> Result<(), DbError> {
        match &mut self.link {
            Link::Sqlite(connection) => sqlite::run(connection, sql, args).map(drop),
            Link::Postgres(connection) => sqlx::query_with(AssertSqlSafe(sql), arguments(args)?)
                .execute(&mut **connection)
                .await
                .map(drop)
                .map_err(DbError::from),
        }
    }

    /// Several statements without arguments: migrations, restores, savepoints.
    pub(super) async fn script(&mut self, sql: &str) -> Result<(), DbError> {
        match &mut self.link {
            Link::Sqlite(connection) => Ok(connection.execute_batch(sql)?),
            Link::Postgres(connection) => {
                sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut **connection).await.map(drop).map_err(DbError::from)
            }
        }
    }

    /// Takes `count` positions of the log in one go.
    pub(super) async fn take_positions(&mut self, count: i64) -> Result<(), DbError> {
        let args = [Arg::Int(count)];
        let rows = match &mut self.link {
            Link::Sqlite(connection) => {
                sqlite::run(connection, MOVE_POSITIONS, &args)?;
                sqlite::all(connection, LAST_POSITION, &[])?
            }
            Link::Postgres(connection) => postgres_all(connection, TAKE_POSITIONS, &args).await?,
        };
        let last = rows.first().ok_or(DbError::Conflict)?.int("value")?;
        self.positions = Positions { next: last - count + 1, last };
        Ok(())
    }

    /// The arguments with positions in their places; `None` when they need none.
    async fn place(&mut self, args: &[Arg]) -> Result<Option<Vec<Arg>>, DbError> {
        if !args.iter().any(|arg| matches!(arg, Arg::NextPosition | Arg::SamePosition)) {
            return Ok(None);
        }
        let mut placed = args.to_vec();
        for arg in &mut placed {
            match arg {
                Arg::NextPosition => {
                    if self.positions.next > self.positions.last {
                        self.take_positions(1).await?;
                    }
                    *arg = Arg::Int(self.positions.next);
                    self.positions.next += 1;
                }
                Arg::SamePosition => *arg = Arg::Int(self.positions.next - 1),
                _ => {}
            }
        }
        Ok(Some(placed))
    }
}

/// Runs what a session of SQLite does: it never waits.
pub(super) fn at_once<T>(work: impl Future<Output = Result<T, DbError>>) -> Result<T, DbError> {
    work.now_or_never().unwrap_or(Err(DbError::Closed))
}

/// A transaction that may read and write.
#[derive(Debug)]
pub struct Tx {
    inner: Inner,
    positions: Positions,
}

#[derive(Debug)]
enum Inner {
    Sqlite(RemoteTx),
    Postgres(Transaction<'static, Postgres>),
}

impl Engine {
    /// Reads; the caller says whether it is a look-up of a few rows by key.
    pub(super) async fn read(&self, sql: &'static str, args: Vec<Arg>, few: bool) -> Result<Vec<Row>, DbError> {
        match self {
            Self::Sqlite(sqlite) if few => sqlite.read_here(sql, &args).await,
            Self::Sqlite(sqlite) => sqlite.read(sql, args).await,
            // Boxed: else every task that may read holds the room of a conversation with PostgreSQL, some 10 kB.
            Self::Postgres(pool) => {
                let conversation = async {
                    let mut connection = pool.acquire().await?;
                    postgres_all(&mut connection, sql, &args).await
                };
                Box::pin(conversation).await
            }
        }
    }

    pub(super) async fn prepare(&self, sql: &'static str) -> Result<(), DbError> {
        use sqlx::{Executor as _, SqlSafeStr as _};
        match self {
            Self::Sqlite(sqlite) => sqlite.with_reader(move |reader| Ok(reader.prepare(sql).map(drop)?)).await,
            Self::Postgres(pool) => pool.prepare(sql.into_sql_str()).await.map(drop).map_err(DbError::from),
        }
    }

    pub(super) async fn begin(&self) -> Result<Tx, DbError> {
        let inner = match self {
            Self::Sqlite(sqlite) => Inner::Sqlite(sqlite.begin().await?),
            Self::Postgres(pool) => Inner::Postgres(Box::pin(pool.begin()).await?),
        };
        Ok(Tx { inner, positions: NO_POSITIONS })
    }
}

/// Runs one method of [`Session`] in a transaction, here or on SQLite's thread. The arguments are moved there.
macro_rules! in_session {
    ($tx:expr, |$session:ident| $work:expr) => {{
        let positions = $tx.positions;
        let (result, positions) = match &mut $tx.inner {
            Inner::Sqlite(remote) => {
                remote
                    .visit(move |connection| {
                        let mut $session = sqlite::session(connection);
                        $session.positions = positions;
                        let result = at_once($work);
                        (result, $session.positions)
                    })
                    .await?
            }
            Inner::Postgres(tx) => {
                let mut $session = Session::new(Link::Postgres(&mut **tx));
                $session.positions = positions;
                let result = $work.await;
                (result, $session.positions)
            }
        };
        $tx.positions = positions;
        result
    }};
}

impl Tx {
    /// All rows of a statement, which may be a write with `returning`.
    ///
    /// # Errors
    /// [`DbError::Duplicate`], [`DbError::Reference`], or what the engine says.
    pub async fn all(&mut self, sql: &'static str, args: Vec<Arg>) -> Result<Vec<Row>, DbError> {
        in_session!(self, |session| session.all(sql, &args))
    }

    /// The first row of a statement.
    ///
    /// # Errors
    /// As [`Tx::all`].
    pub async fn one(&mut self, sql: &'static str, args: Vec<Arg>) -> Result<Option<Row>, DbError> {
        Ok(self.all(sql, args).await?.into_iter().next())
    }

    /// One write; returns the number of rows it touched.
    ///
    /// # Errors
    /// As [`Tx::all`].
    pub async fn run(&mut self, sql: &'static str, args: Vec<Arg>) -> Result<u64, DbError> {
        in_session!(self, |session| session.run(sql, &args))
    }

    /// Makes other writers of that row wait until this transaction ends. A no-op on SQLite, where a transaction is
    /// the only writer anyway. `sql` is an `update ... set id = id where id = $1` of the row.
    ///
    /// # Errors
    /// [`DbError::Conflict`] when there is no such row.
    pub async fn lock_row(&mut self, sql: &'static str, args: Vec<Arg>) -> Result<(), DbError> {
        if matches!(self.inner, Inner::Postgres(_)) && self.run(sql, args).await? == 0 {
            return Err(DbError::Conflict);
        }
        Ok(())
    }

    /// Makes the changes durable.
    ///
    /// # Errors
    /// What the engine says; then nothing was written.
    pub async fn commit(self) -> Result<(), DbError> {
        match self.inner {
            Inner::Sqlite(remote) => remote.commit().await,
            Inner::Postgres(tx) => tx.commit().await.map_err(DbError::from),
        }
    }

    /// Several statements without arguments.
    pub(super) async fn script(&mut self, sql: String) -> Result<(), DbError> {
        in_session!(self, |session| session.script(&sql))
    }

    /// An insert whose text was made of our own names.
    pub(super) async fn insert_text(&mut self, sql: String, args: Vec<Arg>) -> Result<(), DbError> {
        in_session!(self, |session| session.insert_text(&sql, &args))
    }
}

async fn postgres_all(connection: &mut PgConnection, sql: &'static str, args: &[Arg]) -> Result<Vec<Row>, DbError> {
    let rows = sqlx::query_with(sql, arguments(args)?).fetch_all(connection).await;
    Ok(rows.map_err(DbError::from)?.into_iter().map(Row::from).collect())
}

fn arguments(args: &[Arg]) -> Result<PgArguments, DbError> {
    let mut out = PgArguments::default();
    for arg in args {
        match arg {
            Arg::Text(value) => out.add(value.as_str()),
            Arg::Int(value) => out.add(*value),
            Arg::Bool(value) => out.add(*value),
            Arg::Real(value) => out.add(*value),
            Arg::Null | Arg::NextPosition | Arg::SamePosition => out.add(Untyped),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(out)
}

/// A null that lets PostgreSQL infer its type from the place where it stands (OID 0 in Parse).
struct Untyped;

impl sqlx::Type<Postgres> for Untyped {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(sqlx::postgres::types::Oid(0))
    }
}

impl sqlx::Encode<'_, Postgres> for Untyped {
    fn encode_by_ref(
        &self,
        _: &mut sqlx::postgres::PgArgumentBuffer,
    ) -> Result<sqlx::encode::IsNull, sqlx::error::BoxDynError> {
        Ok(sqlx::encode::IsNull::Yes)
    }
}
