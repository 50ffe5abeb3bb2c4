//! A row of either engine, read by column name and type.
//!
//! Invariant: a getter never guesses. A missing column, a null or another type is an error that names the column.

use std::sync::Arc;

use rusqlite::types::Value;
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::DbError;

/// One row of a result.
#[derive(Debug)]
pub struct Row(Engine);

#[derive(Debug)]
enum Engine {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// A row that has left its statement.
#[derive(Debug)]
pub(super) struct SqliteRow {
    columns: Arc<[String]>,
    values: Vec<Value>,
}

impl SqliteRow {
    pub(super) fn read(columns: Arc<[String]>, row: &rusqlite::Row<'_>) -> Result<Self, DbError> {
        let values = (0..columns.len()).map(|index| row.get(index)).collect::<Result<_, _>>()?;
        Ok(Self { columns, values })
    }

    /// The value of a column; `None` for null.
    fn value(&self, column: &str) -> Result<Option<&Value>, DbError> {
        let index = self.columns.iter().position(|name| name == column);
        match index.and_then(|index| self.values.get(index)) {
            None => Err(bad_column(column, "there is no such column")),
            Some(Value::Null) => Ok(None),
            Some(value) => Ok(Some(value)),
        }
    }
}

impl From<SqliteRow> for Row {
    fn from(row: SqliteRow) -> Self {
        Self(Engine::Sqlite(row))
    }
}

impl From<PgRow> for Row {
    fn from(row: PgRow) -> Self {
        Self(Engine::Postgres(row))
    }
}

/// A getter that fails for null, and one that gives `None`. The last part reads a value of SQLite.
macro_rules! getters {
    ($($(#[$meta:meta])* $name:ident, $opt:ident -> $type:ty, $($pattern:pat => $value:expr),+;)*) => {$(
        $(#[$meta])*
        ///
        /// # Errors
        /// [`DbError::Column`] when it is missing, null or of another type.
        pub fn $name(&self, column: &str) -> Result<$type, DbError> {
            self.$opt(column)?.ok_or_else(|| bad_column(column, "null"))
        }

        $(#[$meta])*
        /// `None` for null.
        ///
        /// # Errors
        /// [`DbError::Column`] when it is missing or of another type.
        pub fn $opt(&self, column: &str) -> Result<Option<$type>, DbError> {
            match &self.0 {
                Engine::Sqlite(row) => match row.value(column)? {
                    None => Ok(None),
                    $(Some($pattern) => Ok(Some($value)),)+
                    Some(other) => Err(bad_column(column, &format!("it is {}", other.data_type()))),
                },
                Engine::Postgres(row) => {
                    row.try_get(column).map_err(|error| bad_column(column, &error.to_string()))
                }
            }
        }
    )*};
}

impl Row {
    getters! {
        /// A text column.
        text, opt_text -> String, Value::Text(text) => text.clone();
        /// A bigint column.
        int, opt_int -> i64, Value::Integer(whole) => *whole;
        /// A boolean column.
        bool, opt_bool -> bool, Value::Integer(0) => false, Value::Integer(1) => true;
        /// A double precision column.
        real, opt_real -> f64, Value::Real(real) => *real;
    }

    /// A text column that holds JSON.
    ///
    /// # Errors
    /// [`DbError::Column`] when it is missing, null or no JSON of that shape.
    pub fn json<T: serde::de::DeserializeOwned>(&self, column: &str) -> Result<T, DbError> {
        serde_json::from_str(&self.text(column)?).map_err(|error| bad_column(column, &error.to_string()))
    }
}

fn bad_column(column: &str, reason: &str) -> DbError {
    DbError::Column { column: column.to_owned(), reason: reason.to_owned() }
}
