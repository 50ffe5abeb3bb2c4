//! All rows of a store as plain values, and back: what a backup and a move to the other engine are made of.
//!
//! Invariant: a [`Snapshot`] sees one moment of the store while others write; a [`Loader`] replaces the content whole or
//! not at all. The only place besides migrations where SQL is put together at run time, from names of our own migrations.

use futures_util::TryStreamExt as _;
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Column as _, Row as _, TypeInfo as _, ValueRef as _};

use super::lock::ServerLock;
use super::session::Inner;
use super::{Arg, Db, DbError, Engine, MIGRATIONS, Tx, migrate};

/// Begins a transaction of PostgreSQL that sees one moment.
const POSTGRES_SNAPSHOT: &str = "begin isolation level repeatable read read only";

/// One moment of a store.
#[derive(Debug)]
pub(crate) struct Snapshot {
    tx: Tx,
}

/// The content of a store while it is being replaced.
#[derive(Debug)]
pub(crate) struct Loader {
    engine: Engine,
    tx: Tx,
    tables: Vec<&'static str>,
    _lock: ServerLock,
}

/// The newest schema of this release.
pub(crate) fn schema_version() -> i64 {
    MIGRATIONS.last().map_or(0, |newest| newest.version)
}

/// The tables that migrations up to a version make, in the order in which rows may be inserted.
pub(crate) fn tables(schema: i64) -> Vec<&'static str> {
    let lines = MIGRATIONS
        .iter()
        .filter(|migration| migration.version <= schema)
        .flat_map(|migration| migration.sql.lines());
    lines
        .filter_map(|line| line.strip_prefix("create table ")?.strip_suffix(" ("))
        .collect()
}

impl Db {
    /// Looks at one moment of the store.
    pub(crate) async fn snapshot(&self) -> Result<Snapshot, DbError> {
        let inner = match &self.engine {
            Engine::Sqlite { read, .. } => Inner::Sqlite(read.begin().await?),
            Engine::Postgres(pool) => Inner::Postgres(pool.begin_with(POSTGRES_SNAPSHOT).await?),
        };
        Ok(Snapshot { tx: Tx::new(inner) })
    }
}

/// The match is on the names that the two engines give to our four types.
macro_rules! values_of {
    ($name:ident, $row:ty) => {
        fn $name(row: &$row) -> Result<Vec<Value>, DbError> {
            let value = |(index, column): (
                usize,
                &<<$row as sqlx::Row>::Database as sqlx::Database>::Column,
            )| {
                if row.try_get_raw(index)?.is_null() {
                    return Ok(Value::Null);
                }
                Ok(match column.type_info().name() {
                    "TEXT" => Value::from(row.try_get::<String, _>(index)?),
                    "INTEGER" | "INT8" => Value::from(row.try_get::<i64, _>(index)?),
                    "BOOLEAN" | "BOOL" => Value::from(row.try_get::<bool, _>(index)?),
                    "REAL" | "FLOAT8" => Value::from(row.try_get::<f64, _>(index)?),
                    other => {
                        return Err(DbError::Column {
                            column: column.name().to_owned(),
                            reason: format!("unexpected type {other}"),
                        });
                    }
                })
            };
            row.columns().iter().enumerate().map(value).collect()
        }
    };
}
values_of!(sqlite_values, SqliteRow);
values_of!(postgres_values, PgRow);

impl Snapshot {
    /// Gives every row of a table to `take`, and before them the names of its columns.
    pub(crate) async fn rows<E: From<DbError>>(
        &mut self,
        table: &'static str,
        mut take: impl FnMut(Vec<Value>) -> Result<(), E>,
    ) -> Result<(), E> {
        let columns = self.columns(table).await?;
        take(
            columns
                .iter()
                .map(|name| Value::from(name.as_str()))
                .collect(),
        )?;
        let sql = format!("select {} from {table}", columns.join(", "));
        let sql = AssertSqlSafe(sql);
        match &mut self.tx.inner {
            Inner::Sqlite(tx) => {
                let mut rows = sqlx::query(sql).fetch(&mut **tx);
                while let Some(row) = rows.try_next().await.map_err(DbError::from)? {
                    take(sqlite_values(&row)?)?;
                }
            }
            Inner::Postgres(tx) => {
                let mut rows = sqlx::query(sql).fetch(&mut **tx);
                while let Some(row) = rows.try_next().await.map_err(DbError::from)? {
                    take(postgres_values(&row)?)?;
                }
            }
        }
        Ok(())
    }

    async fn columns(&mut self, table: &'static str) -> Result<Vec<String>, DbError> {
        use sqlx::{Executor as _, SqlSafeStr as _, Statement as _};
        let query = AssertSqlSafe(format!("select * from {table}")).into_sql_str();
        let names = |columns: &mut dyn Iterator<Item = &str>| columns.map(str::to_owned).collect();
        Ok(match &mut self.tx.inner {
            Inner::Sqlite(tx) => names(
                &mut tx
                    .prepare(query)
                    .await?
                    .columns()
                    .iter()
                    .map(sqlx::Column::name),
            ),
            Inner::Postgres(tx) => names(
                &mut tx
                    .prepare(query)
                    .await?
                    .columns()
                    .iter()
                    .map(sqlx::Column::name),
            ),
        })
    }
}

impl Loader {
    /// Opens the store at `url`, locks it, and empties it down to the tables of `schema`, all still undone if this
    /// value is dropped.
    pub(crate) async fn begin(url: &str, schema: i64) -> Result<Self, DbError> {
        let found = MIGRATIONS
            .iter()
            .position(|migration| migration.version == schema);
        let Some(wanted) = found.and_then(|index| MIGRATIONS.get(..=index)) else {
            return Err(DbError::NewerSchema {
                found: schema,
                ours: schema_version(),
            });
        };
        let engine = Engine::open(url).await?;
        let lock = engine.lock().await?;
        let mut tx = engine.begin().await?;
        let present = migrate::present(&engine, &mut tx).await?;
        let drops: String = tables(present)
            .iter()
            .rev()
            .map(|table| format!("drop table {table};"))
            .collect();
        tx.script(format!("{drops} delete from schema_migration"))
            .await?;
        migrate::run(&engine, &mut tx, wanted).await?;
        let tables = tables(schema);
        for table in tables.iter().rev() {
            tx.script(format!("delete from {table}")).await?;
        }
        Ok(Self {
            engine,
            tx,
            tables,
            _lock: lock,
        })
    }

    /// The statement that inserts into some columns of a table; `None` when these are no names of ours.
    pub(crate) fn insert(&self, table: &str, columns: &[String]) -> Option<String> {
        let is_name = |name: &String| {
            !name.is_empty()
                && name
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        };
        if !self.tables.contains(&table) || columns.is_empty() || !columns.iter().all(is_name) {
            return None;
        }
        let places: Vec<_> = (1..=columns.len()).map(|n| format!("${n}")).collect();
        Some(format!(
            "insert into {table} ({}) values ({})",
            columns.join(", "),
            places.join(", ")
        ))
    }

    /// Inserts one row with a statement of [`Loader::insert`].
    pub(crate) async fn row(&mut self, insert: &str, values: &[Value]) -> Result<(), DbError> {
        let args: Vec<Arg> = values.iter().map(arg).collect();
        self.tx.insert_text(insert, &args).await
    }

    /// Makes the new content the store's, at this release's schema.
    pub(crate) async fn commit(self) -> Result<(), DbError> {
        self.tx.commit().await?;
        let migrated = migrate::apply(&self.engine, MIGRATIONS).await;
        self.engine.close().await;
        migrated
    }
}

fn arg(value: &Value) -> Arg {
    match value {
        Value::Null => Arg::Null,
        Value::Bool(value) => Arg::Bool(*value),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Arg::Int(whole),
            (None, Some(real)) => Arg::Real(real),
            (None, None) => Arg::Null,
        },
        Value::String(text) => Arg::Text(text.clone()),
        other => Arg::Text(other.to_string()),
    }
}
