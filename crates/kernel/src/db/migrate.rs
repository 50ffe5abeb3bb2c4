//! Brings a database to the schema of this release.
//!
//! Invariant: a migration is applied whole, once, in order, by one process at a time; a database of a newer release
//! is refused untouched.

use sha2::{Digest as _, Sha256};

use super::{DbError, Engine, Tx};
use crate::args;

/// One numbered file of `migrations/`, inside the binary.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// Its number, from 1 without holes.
    pub version: i64,
    /// Its text in the dialect of docs/sql.md.
    pub sql: &'static str,
}

/// All migrations. A test compares this list with the folder.
pub const MIGRATIONS: &[Migration] = &[Migration {
    version: 1,
    sql: include_str!("../../../../migrations/0001_kernel.sql"),
}];

const CREATE_LEDGER: &str = "create table if not exists schema_migration \
    (version bigint not null primary key, sha256 text not null)";

crate::statements! {
    APPLIED = "select version, sha256 from schema_migration order by version";
    RECORD = "insert into schema_migration (version, sha256) values ($1, $2)";
}

/// PostgreSQL's advisory lock for migrations: an arbitrary number of ours.
const LOCK: &str = "select pg_advisory_xact_lock(7246315098)";

pub(super) async fn apply(engine: &Engine, migrations: &[Migration]) -> Result<(), DbError> {
    let mut tx = engine.begin().await?;
    if matches!(engine, Engine::Postgres(_)) {
        tx.script(LOCK.to_owned()).await?;
    }
    tx.script(CREATE_LEDGER.to_owned()).await?;
    let applied = applied(&mut tx, migrations).await?;
    for migration in migrations
        .iter()
        .filter(|migration| migration.version > applied)
    {
        tx.script(dialect(engine, migration.sql)).await?;
        tx.run(RECORD, args![migration.version, fingerprint(migration.sql)])
            .await?;
        tracing::info!(version = migration.version, "schema migrated");
    }
    tx.commit().await
}

/// The newest applied version, once all applied ones are known to be ours.
async fn applied(tx: &mut Tx, migrations: &[Migration]) -> Result<i64, DbError> {
    let ours = migrations.last().map_or(0, |newest| newest.version);
    let mut newest = 0;
    for row in tx.all(APPLIED, args![]).await? {
        let found = row.int("version")?;
        if found > ours {
            return Err(DbError::NewerSchema { found, ours });
        }
        let known = migrations
            .iter()
            .find(|migration| migration.version == found);
        if known.is_none_or(|known| row.text("sha256").ok() != Some(fingerprint(known.sql))) {
            return Err(DbError::ForeignMigration(found));
        }
        newest = found;
    }
    Ok(newest)
}

/// SQLite makes a lone `integer primary key` the row's own address and stores nothing twice; `bigint` means the same
/// numbers there, without that gain.
fn dialect(engine: &Engine, sql: &str) -> String {
    match engine {
        Engine::Sqlite { .. } => sql.replace(" bigint", " integer"),
        Engine::Postgres(_) => sql.to_owned(),
    }
}

fn fingerprint(sql: &str) -> String {
    Sha256::digest(sql)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
