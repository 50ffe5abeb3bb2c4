//! PostgreSQL: one pool; the writer is one of its clients.

use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use super::DbError;

/// Connections of one node.
const CONNECTIONS: u32 = 10;
/// Prepared statements kept per connection.
const STATEMENTS: usize = 256;

pub(super) async fn open(url: &str) -> Result<PgPool, DbError> {
    let options: PgConnectOptions = url.parse::<PgConnectOptions>()?.statement_cache_capacity(STATEMENTS);
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS).test_before_acquire(false);
    Ok(pool.connect_with(options).await?)
}
