//! Databases for tests: a new one each, on every engine that is at hand.
//!
//! `TANDEM_TEST_DATABASE_URL` names a PostgreSQL server; each test then runs a second time in a schema of its own there.
//! Without it tests run on SQLite alone.

use std::sync::Arc;

use super::Db;
use crate::bus::Bus;
use crate::ids::Ids;

/// Names the PostgreSQL server for tests.
pub const SERVER_VARIABLE: &str = "TANDEM_TEST_DATABASE_URL";

/// An empty database of this release's schema. Its SQLite file goes away with it; a PostgreSQL schema stays until the
/// test server does.
#[derive(Clone, Debug)]
pub struct TestDb {
    /// The open store.
    pub db: Db,
    /// Its bus.
    pub bus: Bus,
    /// Its address, to open it once more.
    pub url: String,
    _folder: Arc<Folder>,
}

/// A folder under the system's temporary one, removed with its last owner.
#[derive(Debug)]
struct Folder(std::path::PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // A leftover in the temporary folder harms nobody.
        let _left = std::fs::remove_dir_all(&self.0);
    }
}

impl TestDb {
    /// A SQLite database.
    ///
    /// # Panics
    /// When it cannot be made: the test fails.
    pub async fn sqlite() -> Self {
        let folder = std::env::temp_dir().join(Ids::os().new("tandem", 0));
        let made = std::fs::create_dir_all(&folder);
        assert!(made.is_ok(), "a folder for the test database: {made:?}");
        let url = format!("sqlite://{}", folder.join("tandem.db").display());
        Self::open(url, Folder(folder)).await
    }

    /// One database on each engine at hand.
    ///
    /// # Panics
    /// When one cannot be made: the test fails.
    pub async fn each() -> Vec<Self> {
        let mut all = vec![Self::sqlite().await];
        if let Ok(server) = std::env::var(SERVER_VARIABLE) {
            let schema = Ids::os().new("test", 0);
            let admin = sqlx::PgPool::connect(&server).await;
            assert!(admin.is_ok(), "{SERVER_VARIABLE}: {:?}", admin.err());
            if let Ok(admin) = admin {
                let made = sqlx::raw_sql(sqlx::AssertSqlSafe(format!("create schema {schema}"))).execute(&admin).await;
                assert!(made.is_ok(), "a schema for the test: {made:?}");
                admin.close().await;
            }
            let joint = if server.contains('?') { '&' } else { '?' };
            let url = format!("{server}{joint}options[search_path]={schema}");
            all.push(Self::open(url, Folder(std::env::temp_dir().join(schema))).await);
        }
        all
    }

    async fn open(url: String, folder: Folder) -> Self {
        let bus = Bus::local();
        let opened = Db::open(&url, bus.clone()).await;
        assert!(opened.is_ok(), "the test database {url}: {:?}", opened.err());
        let Ok(db) = opened else { std::process::abort() };
        Self { db, bus, url, _folder: Arc::new(folder) }
    }

    /// Whether a part of the statements of `stores` cannot be prepared on this engine: names with the engine's words.
    pub async fn unpreparable(&self, stores: &[&[(&'static str, &'static str)]]) -> Vec<String> {
        let mut bad = Vec::new();
        for (name, sql) in stores.iter().copied().flatten() {
            if let Err(error) = self.db.prepare(sql).await {
                bad.push(format!("{name} on {}: {error}", self.db.engine_name()));
            }
        }
        bad
    }
}
