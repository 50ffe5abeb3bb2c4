//! A row of either engine, read by column name and type.
//!
//! Invariant: a getter never guesses. A missing column, a null or another type is an error that names the column.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rusqlite::types::{Type, ValueRef};
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

/// A row that has left its statement. Its texts stand in one piece: a list of a hundred rows is read with some hundred
/// allocations, not with thousands.
#[derive(Debug)]
pub(super) struct SqliteRow {
    columns: Arc<[String]>,
    values: Box<[Value]>,
    texts: Box<str>,
    /// The column that is probably asked for next: most readers ask in the order of the statement.
    next: AtomicUsize,
}

/// What stands in a column.
#[derive(Clone, Debug)]
enum Value {
    Null,
    Integer(i64),
    Real(f64),
    /// Its place among the row's texts, bytes.
    Text(Range<usize>),
    Blob,
}

impl Value {
    fn data_type(&self) -> Type {
        match self {
            Self::Null => Type::Null,
            Self::Integer(_) => Type::Integer,
            Self::Real(_) => Type::Real,
            Self::Text(_) => Type::Text,
            Self::Blob => Type::Blob,
        }
    }
}

impl SqliteRow {
    pub(super) fn read(columns: Arc<[String]>, row: &rusqlite::Row<'_>) -> Result<Self, DbError> {
        let mut texts = String::new();
        let mut value =
            |index| match row.get_ref(index)? {
                ValueRef::Null => Ok(Value::Null),
                ValueRef::Integer(whole) => Ok(Value::Integer(whole)),
                ValueRef::Real(real) => Ok(Value::Real(real)),
                ValueRef::Blob(_) => Ok(Value::Blob),
                ValueRef::Text(bytes) => {
                    let begin = texts.len();
                    texts.push_str(std::str::from_utf8(bytes).map_err(|error| {
                        rusqlite::Error::FromSqlConversionFailure(index, Type::Text, Box::new(error))
                    })?);
                    Ok(Value::Text(begin..texts.len()))
                }
            };
        let values = (0..columns.len()).map(&mut value).collect::<Result<_, rusqlite::Error>>()?;
        Ok(Self { columns, values, texts: texts.into(), next: AtomicUsize::new(0) })
    }

    /// The value of a column; `None` for null.
    fn value(&self, column: &str) -> Result<Option<&Value>, DbError> {
        let guess = self.next.load(Ordering::Relaxed);
        let index = match self.columns.get(guess) {
            Some(name) if name == column => Some(guess),
            _ => self.columns.iter().position(|name| name == column),
        };
        let value = index.and_then(|index| self.values.get(index));
        self.next.store(index.map_or(0, |index| index + 1), Ordering::Relaxed);
        match value {
            None => Err(bad_column(column, "there is no such column")),
            Some(Value::Null) => Ok(None),
            Some(value) => Ok(Some(value)),
        }
    }

    /// The text of a column; `None` for null.
    fn text(&self, column: &str) -> Result<Option<&str>, DbError> {
        match self.value(column)? {
            None => Ok(None),
            Some(Value::Text(place)) => Ok(self.texts.get(place.clone())),
            Some(other) => Err(bad_column(column, &format!("it is {}", other.data_type()))),
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
        /// A bigint column.
        int, opt_int -> i64, Value::Integer(whole) => *whole;
        /// A boolean column.
        bool, opt_bool -> bool, Value::Integer(0) => false, Value::Integer(1) => true;
        /// A double precision column.
        real, opt_real -> f64, Value::Real(real) => *real;
    }

    /// A text column, borrowed.
    ///
    /// # Errors
    /// [`DbError::Column`] when it is missing, null or of another type.
    pub fn str(&self, column: &str) -> Result<&str, DbError> {
        self.opt_str(column)?.ok_or_else(|| bad_column(column, "null"))
    }

    /// A text column, borrowed; `None` for null.
    ///
    /// # Errors
    /// [`DbError::Column`] when it is missing or of another type.
    pub fn opt_str(&self, column: &str) -> Result<Option<&str>, DbError> {
        match &self.0 {
            Engine::Sqlite(row) => row.text(column),
            Engine::Postgres(row) => row.try_get(column).map_err(|error| bad_column(column, &error.to_string())),
        }
    }

    /// A text column.
    ///
    /// # Errors
    /// [`DbError::Column`] when it is missing, null or of another type.
    pub fn text(&self, column: &str) -> Result<String, DbError> {
        self.str(column).map(str::to_owned)
    }

    /// A text column; `None` for null.
    ///
    /// # Errors
    /// [`DbError::Column`] when it is missing or of another type.
    pub fn opt_text(&self, column: &str) -> Result<Option<String>, DbError> {
        Ok(self.opt_str(column)?.map(str::to_owned))
    }

    /// A text column that holds JSON.
    ///
    /// # Errors
    /// [`DbError::Column`] when it is missing, null or no JSON of that shape.
    pub fn json<T: serde::de::DeserializeOwned>(&self, column: &str) -> Result<T, DbError> {
        serde_json::from_str(self.str(column)?).map_err(|error| bad_column(column, &error.to_string()))
    }
}

fn bad_column(column: &str, reason: &str) -> DbError {
    DbError::Column { column: column.to_owned(), reason: reason.to_owned() }
}
