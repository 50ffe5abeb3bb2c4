//! All rows of a store as plain values, and back: what a backup and a move to the other engine are made of.
//!
//! Invariant: a [`Snapshot`] sees one moment of the store while others write; a [`Loader`] replaces the content whole or
//! not at all. The only place besides migrations where SQL is put together at run time, from names of our own migrations.

use std::path::Path;

use futures_util::TryStreamExt as _;
use rusqlite::types::Value as SqliteValue;
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{
    AssertSqlSafe, Column as _, Executor as _, Postgres, Row as _, SqlSafeStr as _, Statement as _, Transaction,
    TypeInfo as _, ValueRef as _,
};

use super::lock::ServerLock;
use super::{Arg, Db, DbError, Engine, MIGRATIONS, Tx, migrate};

crate::statements! {
    /// The id of the restore that the rows come from.
    RESTORED = "select value from setting where org = '' and name = 'restored'";
    PUT_RESTORED = "insert into setting (org, name, value) values ('', 'restored', $1)
        on conflict (org, name) do update set value = excluded.value";
}

/// Begins a transaction of PostgreSQL that sees one moment.
const POSTGRES_SNAPSHOT: &str = "begin isolation level repeatable read read only";

/// One moment of a store.
pub(crate) enum Snapshot {
    /// A connection of its own, read on the calling thread.
    Sqlite(rusqlite::Connection),
    /// A transaction.
    Postgres(Transaction<'static, Postgres>),
}

/// The content of a store while it is being replaced.
#[derive(Debug)]
pub(crate) struct Loader {
    engine: Engine,
    tx: Tx,
    tables: Vec<&'static str>,
    organisations: i64,
    restored: Option<String>,
    _lock: ServerLock,
}

/// The newest schema of this release.
pub(crate) fn schema_version() -> i64 {
    MIGRATIONS.last().map_or(0, |newest| newest.version)
}

/// The tables that migrations up to a version make, in the order in which rows may be inserted.
pub(crate) fn tables(schema: i64) -> Vec<&'static str> {
    let lines =
        MIGRATIONS.iter().filter(|migration| migration.version <= schema).flat_map(|migration| migration.sql.lines());
    lines.filter_map(|line| line.strip_prefix("create table ")?.strip_suffix(" (")).collect()
}

impl Db {
    /// Looks at one moment of the store. On SQLite the calling thread reads: call it where one may block.
    pub(crate) async fn snapshot(&self) -> Result<Snapshot, DbError> {
        Ok(match &self.engine {
            Engine::Sqlite(sqlite) => {
                let reader = sqlite.reader()?;
                // The moment is that of the first read.
                reader.execute_batch("begin; select version from schema_migration")?;
                Snapshot::Sqlite(reader)
            }
            Engine::Postgres(pool) => Snapshot::Postgres(pool.begin_with(POSTGRES_SNAPSHOT).await?),
        })
    }
}

impl Snapshot {
    /// Gives every row of a table to `take`, and before them the names of its columns.
    pub(crate) async fn rows<E: From<DbError>>(
        &mut self,
        table: &'static str,
        mut take: impl FnMut(Vec<Value>) -> Result<(), E>,
    ) -> Result<(), E> {
        let sql = format!("select * from {table}");
        match self {
            Self::Sqlite(reader) => sqlite_rows(reader, &sql, take),
            Self::Postgres(tx) => {
                let sql = AssertSqlSafe(sql).into_sql_str();
                let statement = tx.prepare(sql.clone()).await.map_err(DbError::from)?;
                take(names(statement.columns().iter().map(sqlx::Column::name)))?;
                let mut rows = sqlx::query(sql).fetch(&mut **tx);
                while let Some(row) = rows.try_next().await.map_err(DbError::from)? {
                    take(postgres_values(&row)?)?;
                }
                Ok(())
            }
        }
    }
}

fn names<'a>(columns: impl Iterator<Item = &'a str>) -> Vec<Value> {
    columns.map(Value::from).collect()
}

fn sqlite_rows<E: From<DbError>>(
    reader: &rusqlite::Connection,
    sql: &str,
    mut take: impl FnMut(Vec<Value>) -> Result<(), E>,
) -> Result<(), E> {
    let mut statement = reader.prepare(sql).map_err(DbError::from)?;
    take(names(statement.column_names()))?;
    // SQLite keeps a boolean as a number; only the declaration knows.
    let is_boolean: Vec<bool> = statement.columns().map(|column| column.decl_type() == Some("boolean")).collect();
    let mut rows = statement.query([]).map_err(DbError::from)?;
    while let Some(row) = rows.next().map_err(DbError::from)? {
        let value = |(index, is_boolean): (usize, &bool)| -> Result<Value, DbError> {
            Ok(match row.get(index)? {
                SqliteValue::Null => Value::Null,
                SqliteValue::Integer(value) if *is_boolean => Value::from(value != 0),
                SqliteValue::Integer(value) => Value::from(value),
                SqliteValue::Real(value) => Value::from(value),
                SqliteValue::Text(value) => Value::from(value),
                SqliteValue::Blob(_) => return Err(unexpected(table_column(row, index), "blob")),
            })
        };
        take(is_boolean.iter().enumerate().map(value).collect::<Result<_, _>>()?)?;
    }
    Ok(())
}

fn table_column<'a>(row: &'a rusqlite::Row<'_>, index: usize) -> &'a str {
    row.as_ref().column_name(index).unwrap_or_default()
}

fn postgres_values(row: &PgRow) -> Result<Vec<Value>, DbError> {
    let value = |(index, column): (usize, &sqlx::postgres::PgColumn)| {
        if row.try_get_raw(index)?.is_null() {
            return Ok(Value::Null);
        }
        Ok(match column.type_info().name() {
            "TEXT" => Value::from(row.try_get::<String, _>(index)?),
            "INT8" => Value::from(row.try_get::<i64, _>(index)?),
            "BOOL" => Value::from(row.try_get::<bool, _>(index)?),
            "FLOAT8" => Value::from(row.try_get::<f64, _>(index)?),
            other => return Err(unexpected(column.name(), other)),
        })
    };
    row.columns().iter().enumerate().map(value).collect()
}

fn unexpected(column: &str, kind: &str) -> DbError {
    DbError::Column { column: column.to_owned(), reason: format!("unexpected type {kind}") }
}

impl Loader {
    /// Opens the store at `url`, locks it, and empties it down to the tables of `schema`, all still undone if this
    /// value is dropped.
    pub(crate) async fn begin(url: &str, schema: i64) -> Result<Self, DbError> {
        let found = MIGRATIONS.iter().position(|migration| migration.version == schema);
        let Some(wanted) = found.and_then(|index| MIGRATIONS.get(..=index)) else {
            return Err(DbError::NewerSchema { found: schema, ours: schema_version() });
        };
        let engine = Engine::open(url).await?;
        let lock = engine.lock().await?;
        let mut tx = engine.begin().await?;
        let present = migrate::present(&engine, &mut tx, MIGRATIONS).await?;
        let organisations = if tables(present).contains(&"org") {
            tx.one("select count(*) as n from org", Vec::new()).await?.map_or(Ok(0), |row| row.int("n"))?
        } else {
            0
        };
        let restored = if tables(present).contains(&"setting") {
            tx.one(RESTORED, Vec::new()).await?.map(|row| row.text("value")).transpose()?
        } else {
            None
        };
        let drops: String = tables(present).iter().rev().map(|table| format!("drop table {table};")).collect();
        tx.script(format!("{drops} delete from schema_migration")).await?;
        migrate::run(&engine, &mut tx, wanted).await?;
        let tables = tables(schema);
        for table in tables.iter().rev() {
            tx.script(format!("delete from {table}")).await?;
        }
        Ok(Self { engine, tx, tables, organisations, restored, _lock: lock })
    }

    /// How many organisations the store held.
    pub(crate) fn organisations(&self) -> i64 {
        self.organisations
    }

    /// The id of the restore that what the store held came from.
    pub(crate) fn restored(&self) -> Option<&str> {
        self.restored.as_deref()
    }

    /// Leaves a table's rows out, if the backup's schema has it.
    pub(crate) async fn empty(&mut self, table: &'static str) -> Result<(), DbError> {
        if self.tables.contains(&table) { self.tx.script(format!("delete from {table}")).await } else { Ok(()) }
    }

    /// Copies what the store held into an empty file; `false` on PostgreSQL, which has no such copy.
    pub(crate) fn copy_old(&self, target: &Path) -> Result<bool, DbError> {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.copy_to(target).map(|()| true),
            Engine::Postgres(_) => Ok(false),
        }
    }

    /// The statement that inserts into some columns of a table; `None` when these are no names of ours.
    pub(crate) fn insert(&self, table: &str, columns: &[String]) -> Option<String> {
        let is_name = |name: &String| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        };
        if !self.tables.contains(&table) || columns.is_empty() || !columns.iter().all(is_name) {
            return None;
        }
        let places: Vec<_> = (1..=columns.len()).map(|n| format!("${n}")).collect();
        Some(format!("insert into {table} ({}) values ({})", columns.join(", "), places.join(", ")))
    }

    /// Inserts one row with a statement of [`Loader::insert`].
    pub(crate) async fn row(&mut self, insert: &str, values: &[Value]) -> Result<(), DbError> {
        let args: Vec<Arg> = values.iter().map(arg).collect();
        self.tx.insert_text(insert.to_owned(), args).await
    }

    /// Makes the new content the store's, under the id of its restore, at this release's schema.
    pub(crate) async fn commit(mut self, restored: &str) -> Result<(), DbError> {
        self.tx.run(PUT_RESTORED, vec![restored.into()]).await?;
        self.tx.commit().await?;
        let migrated = migrate::apply_locked(&self.engine, MIGRATIONS).await;
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
