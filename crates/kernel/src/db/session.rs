//! One place where a statement meets an engine: reads, and transactions that read and write.
//!
//! Invariant: a [`Tx`] that is dropped without `commit` is rolled back.

use sqlx::postgres::{PgArguments, PgTypeInfo};
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments as _, AssertSqlSafe, Postgres, Sqlite, Transaction};

use super::row::{self, Row};
use super::{Arg, DbError, Engine};

/// Takes `$1` positions of the log and returns the last of them; the row stays locked until the commit, so that
/// positions become visible in their own order, whatever node wrote them.
pub(super) const TAKE_POSITIONS: &str =
    "update counter set value = value + $1 where org = '' and kind = 'event' returning value";

/// A transaction that may read and write.
#[derive(Debug)]
pub struct Tx {
    pub(super) inner: Inner,
    /// Positions taken and not yet given: `next..=last`.
    next_position: i64,
    last_position: i64,
}

#[derive(Debug)]
pub(super) enum Inner {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

/// The one two-armed match on engines: `$connection` is bound to either side's connection.
macro_rules! fetch {
    ($wrap:ident, $connection:expr, $sql:expr, $args:expr) => {
        sqlx::query_with($sql, $wrap($args)?)
            .fetch_all($connection)
            .await
            .map_err(DbError::from_engine)
    };
}

impl Engine {
    pub(super) async fn read(&self, sql: &'static str, args: &[Arg]) -> Result<Vec<Row>, DbError> {
        Ok(match self {
            Self::Sqlite { read, .. } => rows(
                fetch!(sqlite_arguments, read, sql, args)?,
                row::Engine::Sqlite,
            ),
            Self::Postgres(pool) => rows(
                fetch!(postgres_arguments, pool, sql, args)?,
                row::Engine::Postgres,
            ),
        })
    }

    pub(super) async fn prepare(&self, sql: &'static str) -> Result<(), DbError> {
        use sqlx::Executor as _;
        use sqlx::SqlSafeStr as _;
        match self {
            Self::Sqlite { read, .. } => read.prepare(sql.into_sql_str()).await.map(drop),
            Self::Postgres(pool) => pool.prepare(sql.into_sql_str()).await.map(drop),
        }
        .map_err(DbError::from_engine)
    }

    pub(super) async fn begin(&self) -> Result<Tx, DbError> {
        let inner = match self {
            // IMMEDIATE: the write lock is taken now, so that no later statement fails with SQLITE_BUSY_SNAPSHOT.
            Self::Sqlite { write, .. } => Inner::Sqlite(write.begin_with("begin immediate").await?),
            Self::Postgres(pool) => Inner::Postgres(pool.begin().await?),
        };
        Ok(Tx::new(inner))
    }
}

impl Tx {
    pub(super) fn new(inner: Inner) -> Self {
        Self {
            inner,
            next_position: 1,
            last_position: 0,
        }
    }

    /// All rows of a statement, which may be a write with `returning`.
    ///
    /// # Errors
    /// [`DbError::Duplicate`], [`DbError::Reference`], or what the engine says.
    pub async fn all(&mut self, sql: &'static str, args: Vec<Arg>) -> Result<Vec<Row>, DbError> {
        let args = self.with_positions(args).await?;
        Ok(match &mut self.inner {
            Inner::Sqlite(tx) => rows(
                fetch!(sqlite_arguments, &mut **tx, sql, &args)?,
                row::Engine::Sqlite,
            ),
            Inner::Postgres(tx) => rows(
                fetch!(postgres_arguments, &mut **tx, sql, &args)?,
                row::Engine::Postgres,
            ),
        })
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
        self.run_borrowed(sql, &args).await
    }

    /// As [`Tx::run`], for a caller that may have to repeat the write.
    pub(super) async fn run_borrowed(
        &mut self,
        sql: &'static str,
        args: &[Arg],
    ) -> Result<u64, DbError> {
        let positioned;
        let args = if args
            .iter()
            .any(|arg| matches!(arg, Arg::NextPosition | Arg::SamePosition))
        {
            positioned = self.with_positions(args.to_vec()).await?;
            positioned.as_slice()
        } else {
            args
        };
        match &mut self.inner {
            Inner::Sqlite(tx) => sqlx::query_with(sql, sqlite_arguments(args)?)
                .execute(&mut **tx)
                .await
                .map(|done| done.rows_affected()),
            Inner::Postgres(tx) => sqlx::query_with(sql, postgres_arguments(args)?)
                .execute(&mut **tx)
                .await
                .map(|done| done.rows_affected()),
        }
        .map_err(DbError::from_engine)
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
            Inner::Sqlite(tx) => tx.commit().await,
            Inner::Postgres(tx) => tx.commit().await,
        }
        .map_err(DbError::from_engine)
    }

    /// Undoes everything, and waits until that is done.
    pub(super) async fn rollback(self) -> Result<(), DbError> {
        match self.inner {
            Inner::Sqlite(tx) => tx.rollback().await,
            Inner::Postgres(tx) => tx.rollback().await,
        }
        .map_err(DbError::from_engine)
    }

    /// Runs a text of several statements without arguments: migrations, restores, savepoints.
    pub(super) async fn script(&mut self, sql: String) -> Result<(), DbError> {
        let script = sqlx::raw_sql(AssertSqlSafe(sql));
        match &mut self.inner {
            Inner::Sqlite(tx) => script.execute(&mut **tx).await.map(drop),
            Inner::Postgres(tx) => script.execute(&mut **tx).await.map(drop),
        }
        .map_err(DbError::from_engine)
    }

    /// An insert whose text was made of our own names (`dump.rs`).
    pub(super) async fn insert_text(&mut self, sql: &str, args: &[Arg]) -> Result<(), DbError> {
        let sql = AssertSqlSafe(sql);
        match &mut self.inner {
            Inner::Sqlite(tx) => sqlx::query_with(sql, sqlite_arguments(args)?)
                .execute(&mut **tx)
                .await
                .map(drop),
            Inner::Postgres(tx) => sqlx::query_with(sql, postgres_arguments(args)?)
                .execute(&mut **tx)
                .await
                .map(drop),
        }
        .map_err(DbError::from_engine)
    }

    /// Takes `count` positions of the log in one go.
    pub(super) async fn take_positions(&mut self, count: i64) -> Result<(), DbError> {
        let args = [Arg::Int(count)];
        let row = match &mut self.inner {
            Inner::Sqlite(tx) => rows(
                fetch!(sqlite_arguments, &mut **tx, TAKE_POSITIONS, &args)?,
                row::Engine::Sqlite,
            ),
            Inner::Postgres(tx) => rows(
                fetch!(postgres_arguments, &mut **tx, TAKE_POSITIONS, &args)?,
                row::Engine::Postgres,
            ),
        }
        .into_iter()
        .next()
        .ok_or(DbError::Conflict)?;
        self.last_position = row.int("value")?;
        self.next_position = self.last_position - count + 1;
        Ok(())
    }

    async fn with_positions(&mut self, mut args: Vec<Arg>) -> Result<Vec<Arg>, DbError> {
        for arg in &mut args {
            match arg {
                Arg::NextPosition => {
                    if self.next_position > self.last_position {
                        self.take_positions(1).await?;
                    }
                    *arg = Arg::Int(self.next_position);
                    self.next_position += 1;
                }
                Arg::SamePosition => *arg = Arg::Int(self.next_position - 1),
                _ => {}
            }
        }
        Ok(args)
    }
}

fn rows<R>(found: Vec<R>, wrap: fn(R) -> row::Engine) -> Vec<Row> {
    found.into_iter().map(|row| Row(wrap(row))).collect()
}

fn sqlite_arguments(args: &[Arg]) -> Result<SqliteArguments, DbError> {
    let mut out = SqliteArguments::default();
    for arg in args {
        match arg {
            Arg::Text(value) => out.add(value.as_str()),
            Arg::Int(value) => out.add(*value),
            Arg::Bool(value) => out.add(*value),
            Arg::Real(value) => out.add(*value),
            Arg::Null | Arg::NextPosition | Arg::SamePosition => out.add(None::<i64>),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(out)
}

fn postgres_arguments(args: &[Arg]) -> Result<PgArguments, DbError> {
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
