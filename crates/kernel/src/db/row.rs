//! A row of either engine, read by column name and type.
//!
//! Invariant: a getter never guesses. A missing column, a null or another type is an error that names the column.

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;

use super::DbError;

/// One row of a result.
#[derive(Debug)]
pub struct Row(pub(super) Engine);

#[derive(Debug)]
pub(super) enum Engine {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

macro_rules! getters {
    ($($(#[$meta:meta])* $name:ident, $opt:ident -> $type:ty;)*) => {$(
        $(#[$meta])*
        ///
        /// # Errors
        /// [`DbError::Column`] when it is missing, null or of another type.
        pub fn $name(&self, column: &str) -> Result<$type, DbError> {
            // By way of the option: sqlx reads a null of SQLite as 0 or "" without it.
            self.$opt(column)?.ok_or_else(|| DbError::Column {
                column: column.to_owned(),
                reason: "null".to_owned(),
            })
        }

        $(#[$meta])*
        /// `None` for null.
        ///
        /// # Errors
        /// [`DbError::Column`] when it is missing or of another type.
        pub fn $opt(&self, column: &str) -> Result<Option<$type>, DbError> {
            match &self.0 {
                Engine::Sqlite(row) => row.try_get(column),
                Engine::Postgres(row) => row.try_get(column),
            }
            .map_err(|error| bad_column(column, &error))
        }
    )*};
}

impl Row {
    getters! {
        /// A text column.
        text, opt_text -> String;
        /// A bigint column.
        int, opt_int -> i64;
        /// A boolean column.
        bool, opt_bool -> bool;
        /// A double precision column.
        real, opt_real -> f64;
    }

    /// A text column that holds JSON.
    ///
    /// # Errors
    /// [`DbError::Column`] when it is missing, null or no JSON of that shape.
    pub fn json<T: serde::de::DeserializeOwned>(&self, column: &str) -> Result<T, DbError> {
        serde_json::from_str(&self.text(column)?).map_err(|error| bad_column(column, &error))
    }
}

fn bad_column(column: &str, error: &dyn std::error::Error) -> DbError {
    DbError::Column {
        column: column.to_owned(),
        reason: error.to_string(),
    }
}
