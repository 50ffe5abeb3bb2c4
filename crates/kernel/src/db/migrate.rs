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

/// A numbered file of `migrations/`.
macro_rules! migration {
    ($version:literal, $file:literal) => {
        Migration { version: $version, sql: include_str!(concat!("../../../../migrations/", $file)) }
    };
}

/// All migrations. A test compares this list with the folder.
pub const MIGRATIONS: &[Migration] = &[
    migration!(1, "0001_kernel.sql"),
    migration!(2, "0002_calls.sql"),
    migration!(3, "0003_flows.sql"),
    migration!(4, "0004_sign_in.sql"),
    migration!(5, "0005_queues.sql"),
    migration!(6, "0006_announcements.sql"),
    migration!(7, "0007_meetings.sql"),
    migration!(8, "0008_pairs.sql"),
    migration!(9, "0009_notices.sql"),
    migration!(10, "0010_chat.sql"),
    migration!(11, "0011_chat_widget.sql"),
    migration!(12, "0012_inbox.sql"),
    migration!(13, "0013_chat_flow.sql"),
    migration!(14, "0014_chat_call.sql"),
    migration!(15, "0015_push.sql"),
    migration!(16, "0016_web_push.sql"),
];

const CREATE_LEDGER: &str = "create table if not exists schema_migration \
    (version bigint not null primary key, sha256 text not null)";

crate::statements! {
    APPLIED = "select version, sha256 from schema_migration order by version";
    RECORD = "insert into schema_migration (version, sha256) values ($1, $2)";
}

/// PostgreSQL's advisory lock for migrations: an arbitrary number of ours.
const LOCK: &str = "select pg_advisory_xact_lock(7246315098)";

/// Applies what is missing. A store that has tables is changed only while no server uses it.
pub(super) async fn apply(engine: &Engine, migrations: &[Migration]) -> Result<(), DbError> {
    let found = look(engine, migrations).await?;
    let ours = migrations.last().map_or(0, |newest| newest.version);
    let _lock = if (1..ours).contains(&found) { Some(engine.lock().await?) } else { None };
    apply_locked(engine, migrations).await
}

/// The same, for who has the store's lock.
pub(super) async fn apply_locked(engine: &Engine, migrations: &[Migration]) -> Result<(), DbError> {
    let mut tx = engine.begin().await?;
    let applied = present(engine, &mut tx, migrations).await?;
    let missing = migrations.iter().position(|migration| migration.version > applied);
    if let Some(missing) = missing.and_then(|first| migrations.get(first..)) {
        run(engine, &mut tx, missing).await?;
    }
    tx.commit().await
}

/// The version that a database has, 0 for an empty one; nothing is changed.
pub(super) async fn look(engine: &Engine, migrations: &[Migration]) -> Result<i64, DbError> {
    let mut tx = engine.begin().await?;
    // Dropped, the transaction takes the ledger with it that this may make.
    present(engine, &mut tx, migrations).await
}

/// The version that a database has, 0 for an empty one; refuses what is not ours.
pub(super) async fn present(engine: &Engine, tx: &mut Tx, migrations: &[Migration]) -> Result<i64, DbError> {
    prepare(engine, tx).await?;
    applied(tx, migrations).await
}

/// Runs and records migrations.
pub(super) async fn run(engine: &Engine, tx: &mut Tx, migrations: &[Migration]) -> Result<(), DbError> {
    for migration in migrations {
        tx.script(dialect(engine, migration.sql)).await?;
        tx.run(RECORD, args![migration.version, fingerprint(migration.sql)]).await?;
        tracing::info!(version = migration.version, "schema migrated");
    }
    Ok(())
}

/// Makes other processes wait, and the ledger exist.
async fn prepare(engine: &Engine, tx: &mut Tx) -> Result<(), DbError> {
    if matches!(engine, Engine::Postgres(_)) {
        tx.script(LOCK.to_owned()).await?;
    }
    tx.script(CREATE_LEDGER.to_owned()).await
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
        let known = migrations.iter().find(|migration| migration.version == found);
        if known.is_none_or(|known| row.text("sha256").ok() != Some(fingerprint(known.sql))) {
            return Err(DbError::ForeignMigration(found));
        }
        newest = found;
    }
    Ok(newest)
}

/// What of a migration is for an engine. SQLite makes a lone `integer primary key` the row's own address and stores
/// nothing twice; `bigint` means the same numbers there, without that gain. Between the lines `-- only ENGINE` and
/// `-- both` stands what only that engine can do (docs/sql.md, "What each engine says in its own words").
fn dialect(engine: &Engine, sql: &str) -> String {
    let (own, is_sqlite) = match engine {
        Engine::Sqlite(_) => ("-- only sqlite", true),
        Engine::Postgres(_) => ("-- only postgres", false),
    };
    let mut is_meant = true;
    let mut text = String::with_capacity(sql.len());
    for line in sql.lines() {
        if line.starts_with("-- only ") || line == "-- both" {
            is_meant = line == own || line == "-- both";
        } else if is_meant {
            text.push_str(line);
            text.push('\n');
        }
    }
    if is_sqlite { text.replace(" bigint", " integer") } else { text }
}

fn fingerprint(sql: &str) -> String {
    Sha256::digest(sql).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::Bus;
    use crate::db::Db;
    use crate::db::testing::TestDb;

    #[test]
    fn the_list_is_the_folder() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations");
        let entries = std::fs::read_dir(folder).unwrap();
        let mut files: Vec<_> = entries.map(|file| file.unwrap().path()).collect();
        files.sort();
        assert_eq!(files.len(), MIGRATIONS.len());
        for ((file, migration), number) in files.iter().zip(MIGRATIONS).zip(1..) {
            let name = file.file_name().unwrap().to_str().unwrap();
            assert_eq!(migration.version, number);
            assert!(name.starts_with(&format!("{number:04}_")) && name.ends_with(".sql"), "{name}");
            assert!(std::fs::read_to_string(file).unwrap() == migration.sql, "{name}");
        }
    }

    #[tokio::test]
    async fn a_newer_or_foreign_schema_is_refused_and_an_old_one_is_brought_up() {
        for test in TestDb::each().await {
            assert_eq!(test.unpreparable(&[ALL]).await, Vec::<String>::new());
            let again = Db::open(&test.url, Bus::local()).await;
            assert!(again.is_ok(), "{:?}", again.err());

            let next = Migration { version: 99, sql: "create table later (id bigint not null primary key)" };
            let more: Vec<_> = MIGRATIONS.iter().copied().chain([next]).collect();
            apply(&test.db.engine, &more).await.unwrap();
            test.db.prepare("select id from later").await.unwrap();
            let newer = Db::open(&test.url, Bus::local()).await;
            assert!(matches!(newer, Err(DbError::NewerSchema { found: 99, .. })), "{newer:?}");

            let changed = Migration { sql: "select 1", ..next };
            let more: Vec<_> = MIGRATIONS.iter().copied().chain([changed]).collect();
            let foreign = apply(&test.db.engine, &more).await;
            assert!(matches!(foreign, Err(DbError::ForeignMigration(99))), "{foreign:?}");
        }
    }

    #[tokio::test]
    async fn a_broken_migration_leaves_nothing_behind() {
        for test in TestDb::each().await {
            let broken = Migration { version: 99, sql: "create table half (id bigint); create table" };
            let more: Vec<_> = MIGRATIONS.iter().copied().chain([broken]).collect();
            assert!(apply(&test.db.engine, &more).await.is_err());
            assert!(test.db.prepare("select id from half").await.is_err());
        }
    }
}
