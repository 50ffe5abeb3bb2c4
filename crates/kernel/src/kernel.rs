//! The kernel as one value: what every desk is given at its start.
//!
//! Invariant: cheap to clone; every clone shares the same parts.

use std::ops::Deref;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::args;
use crate::backup::{self, BackupError};
use crate::bus::Bus;
use crate::config::Config;
use crate::credential::KnownCredentials;
use crate::db::{Db, DbError, ServerLock};
use crate::egress::{Egress, EgressError};
use crate::events::Events;
use crate::files::{Files, FilesError};
use crate::ids::Ids;
use crate::jobs::Jobs;
use crate::limit::Limits;
use crate::outbox::Outbox;
use crate::pulse::Pulse;
use crate::push;
use crate::secret::{SecretError, Secrets};
use crate::time::Clock;

/// The server's key, in the data directory.
pub(crate) const KEY_FILE: &str = "secret.key";
/// Held by the server that uses the data directory.
const LOCK_FILE: &str = "server.lock";
/// A text that only the right key opens.
const CANARY_NAME: &str = "key_canary";

crate::statements! {
    CANARY = "select value from setting where org = '' and name = $1";
    PUT_CANARY = "insert into setting (org, name, value) values ('', $1, $2) on conflict (org, name) do nothing";
}

/// What every desk stands on. Cheap to clone: each request does so several times.
#[derive(Clone, Debug)]
pub struct Kernel(Arc<Parts>);

impl Deref for Kernel {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// The parts of a [`Kernel`].
#[derive(Debug)]
pub struct Parts {
    /// The store.
    pub db: Db,
    /// What time it is.
    pub clock: Clock,
    /// Ids, tokens and chance.
    pub ids: Ids,
    /// Wake-ups.
    pub bus: Bus,
    /// The event log.
    pub events: Events,
    /// Deliveries of events.
    pub outbox: Outbox,
    /// Scheduled work.
    pub jobs: Jobs,
    /// The guarded HTTP client.
    pub egress: Egress,
    /// Files beside the store.
    pub files: Files,
    /// The server's key.
    pub secrets: Secrets,
    /// Limits per address, credential and organisation.
    pub limits: Limits,
    /// Credentials seen a moment ago.
    pub(crate) known: KnownCredentials,
    /// What is remembered of web push.
    pub(crate) push: push::Memory,
    /// What the operator set.
    pub config: Arc<Config>,
    /// Every task of the server.
    pub tasks: TaskTracker,
    /// The server's sign of life.
    pub pulse: Pulse,
    /// Cancelled when the server shall stop.
    pub stop: CancellationToken,
    /// This node's name in leases and rows.
    pub node: Arc<str>,
}

/// Why the kernel cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data directory cannot be made.
    #[error("the data directory {path}: {source}")]
    Data {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is nothing to work on.
    #[error("there is no store at {path}: name it with --data or --database, or make one with `tandem org create`")]
    NoStore {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The key beside the store is not the one that the store knows.
    #[error("{path} is not the key that this store's secrets were sealed with: bring the right one back")]
    ForeignKey {
        /// The key's file.
        path: PathBuf,
    },
    /// The rows may be those of a backup and the files not yet.
    #[error(
        "a restore into {path} was cut off: start the server or run the restore again, either completes or undoes it"
    )]
    CutOff {
        /// The data directory.
        path: PathBuf,
    },
    /// What a killed restore left could not be settled.
    #[error("a restore was cut off and is not settled: {0}")]
    Unsettled(#[from] BackupError),
    /// The server's key.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The store.
    #[error("the database: {0}")]
    Db(#[from] DbError),
    /// The files.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The guarded client.
    #[error(transparent)]
    Egress(#[from] EgressError),
}

impl Kernel {
    /// Opens the data directory and the store of `config`, making what is missing and settling what a killed restore
    /// left.
    ///
    /// # Errors
    /// What cannot be opened, by name.
    pub async fn open(config: Config, clock: Clock, ids: Ids) -> Result<Self, OpenError> {
        let bus = Bus::local();
        open_data(&config.data)?;
        let db = Db::open(&database_url(&config), bus.clone()).await?;
        // Before the key and the files are opened: they may be about to change.
        backup::settle(&db, &config.data).await?;
        Self::assemble(config, db, bus, clock, ids)
    }

    /// Opens what is there, for a verb beside the server: makes no store and changes no schema.
    ///
    /// # Errors
    /// [`OpenError::NoStore`], a store of another release, or what cannot be opened.
    pub async fn open_present(config: Config, clock: Clock, ids: Ids) -> Result<Self, OpenError> {
        if let Some(path) = missing_store(&config) {
            return Err(OpenError::NoStore { path });
        }
        if backup::was_cut_off(&config.data) {
            return Err(OpenError::CutOff { path: config.data });
        }
        let bus = Bus::local();
        let db = Db::open_present(&database_url(&config), bus.clone()).await?;
        Self::assemble(config, db, bus, clock, ids)
    }

    /// Takes the data directory and the store for this process: one server, or one restore, at a time.
    ///
    /// # Errors
    /// [`DbError::InUse`] when another has them.
    pub async fn lock(&self) -> Result<(ServerLock, ServerLock), DbError> {
        Ok((lock_data(&self.config.data)?, self.db.lock().await?))
    }

    /// Makes sure that the server's key is the one that the store's secrets were sealed with.
    ///
    /// # Errors
    /// [`OpenError::ForeignKey`] when it is another.
    pub async fn check_key(&self) -> Result<(), OpenError> {
        match self.db.one(CANARY, args![CANARY_NAME]).await? {
            Some(row) => match self.secrets.open_sealed(CANARY_NAME, &row.text("value")?) {
                Ok(_) => Ok(()),
                Err(_) => Err(OpenError::ForeignKey { path: self.config.data.join(KEY_FILE) }),
            },
            None => {
                let sealed = self.secrets.seal(CANARY_NAME, &self.ids.token())?;
                self.db.run(PUT_CANARY, args![CANARY_NAME, sealed]).await?;
                Ok(())
            }
        }
    }

    /// The kernel around a store that is open already; a test brings its own.
    ///
    /// # Errors
    /// What cannot be opened, by name.
    pub fn assemble(config: Config, db: Db, bus: Bus, clock: Clock, ids: Ids) -> Result<Self, OpenError> {
        let egress = Egress::new(&config.egress)?;
        Self::assemble_with(egress, config, db, bus, clock, ids)
    }

    /// The same around a guarded client with a resolver of its own.
    ///
    /// # Errors
    /// As [`Self::assemble`].
    pub fn assemble_with(
        egress: Egress,
        config: Config,
        db: Db,
        bus: Bus,
        clock: Clock,
        ids: Ids,
    ) -> Result<Self, OpenError> {
        open_data(&config.data)?;
        let secrets = Secrets::open(&config.data.join(KEY_FILE))?;
        let node: Arc<str> = config.node.as_str().into();
        let outbox =
            Outbox::new(db.clone(), bus.clone(), clock.clone(), ids.clone(), secrets.clone(), Arc::new(egress.clone()));
        Ok(Self(Arc::new(Parts {
            events: Events::new(db.clone(), bus.clone()),
            outbox,
            jobs: Jobs::new(db.clone(), bus.clone(), clock.clone(), ids.clone(), &node),
            egress,
            files: Files::open(&config.data.join("files"))?,
            secrets,
            limits: Limits::new(&config.limits),
            known: KnownCredentials::default(),
            push: push::Memory::default(),
            pulse: Pulse::of(&config.data),
            node,
            config: Arc::new(config),
            db,
            clock,
            ids,
            bus,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        })))
    }

    /// Sets the outbox, the jobs and the couriers of notices to work: once, when the handlers are registered.
    pub fn start(&self) {
        if let Err(error) = self.files.clear_unfinished() {
            tracing::warn!(%error, "half-written files of a crash stay");
        }
        self.outbox.start(&self.tasks, self.stop.clone());
        self.jobs.start(&self.tasks, self.stop.clone());
        self.start_notices();
    }

    /// Stops the kernel's tasks and every other on the tracker, then writes what is queued and closes the store.
    pub async fn close(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.db.close().await;
    }
}

/// Takes the lock of a data directory.
///
/// # Errors
/// [`DbError::InUse`] when another process has it.
pub(crate) fn lock_data(data: &Path) -> Result<ServerLock, DbError> {
    ServerLock::of_file(&data.join(LOCK_FILE))
}

/// Whether a server, or a restore, has the data directory.
#[must_use]
pub fn is_in_use(data: &Path) -> bool {
    data.join(LOCK_FILE).exists() && matches!(lock_data(data), Err(DbError::InUse))
}

/// The path of the embedded store, when it should be there and is not.
#[must_use]
pub fn missing_store(config: &Config) -> Option<PathBuf> {
    let url = database_url(config);
    let path = PathBuf::from(url.strip_prefix("sqlite://")?);
    (!path.exists()).then_some(path)
}

/// Makes the data directory, for its owner alone.
pub(crate) fn make_data(path: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn open_data(path: &Path) -> Result<(), OpenError> {
    make_data(path).map_err(|source| OpenError::Data { path: path.to_owned(), source })
}

/// The database that is configured, else the one in the data directory.
pub fn database_url(config: &Config) -> String {
    match &config.database {
        Some(url) => url.expose().to_owned(),
        None => format!("sqlite://{}", config.data.join("tandem.db").display()),
    }
}

/// Kernels for tests of this crate.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use crate::db::testing::TestDb;
    use crate::time::ClockHand;

    /// A kernel on a database of its own; its data directory goes away with it.
    pub(crate) struct TestKernel {
        pub(crate) kernel: Kernel,
        pub(crate) hand: ClockHand,
        _data: tempfile::TempDir,
        _db: TestDb,
    }

    impl Deref for TestKernel {
        type Target = Kernel;
        fn deref(&self) -> &Kernel {
            &self.kernel
        }
    }

    impl TestKernel {
        /// Another node on the same store, with the key in `data`.
        pub(crate) fn beside(&self, data: &Path) -> Kernel {
            let config = Config { data: data.to_owned(), ..Config::default() };
            let (db, bus) = (self.db.clone(), self.bus.clone());
            Kernel::assemble(config, db, bus, self.clock.clone(), Ids::os()).unwrap()
        }
    }

    /// When the clock of a test kernel begins: 2026-11-21T00:00:00Z.
    pub(crate) const START_MS: i64 = 1_795_219_200_000;

    /// One kernel on each engine at hand, with this configuration.
    pub(crate) async fn each_with(config: Config) -> Vec<TestKernel> {
        TestDb::each().await.into_iter().map(|db| on(db, config.clone())).collect()
    }

    /// One kernel on each engine at hand.
    pub(crate) async fn each() -> Vec<TestKernel> {
        each_with(Config::default()).await
    }

    /// A kernel on SQLite alone.
    pub(crate) async fn sqlite_with(config: Config) -> TestKernel {
        on(TestDb::sqlite().await, config)
    }

    fn on(db: TestDb, config: Config) -> TestKernel {
        let data = tempfile::tempdir().unwrap();
        let (clock, hand) = Clock::fake(START_MS);
        let config = Config { data: data.path().to_owned(), ..config };
        let kernel = Kernel::assemble(config, db.db.clone(), db.bus.clone(), clock, Ids::os()).unwrap();
        TestKernel { kernel, hand, _data: data, _db: db }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_key_that_is_not_the_store_s_is_noticed() {
        for test in testing::each().await {
            test.check_key().await.unwrap();
            test.check_key().await.unwrap();
            let elsewhere = tempfile::tempdir().unwrap();
            let other = test.beside(elsewhere.path());
            assert!(matches!(other.check_key().await, Err(OpenError::ForeignKey { .. })));
        }
    }

    #[tokio::test]
    async fn a_verb_makes_no_store() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config { data: folder.path().join("nowhere"), ..Config::default() };
        let opened = Kernel::open_present(config.clone(), Clock::system(), Ids::os()).await;
        assert!(matches!(opened, Err(OpenError::NoStore { .. })));
        assert!(!config.data.exists());
        let made = Kernel::open(config.clone(), Clock::system(), Ids::os()).await.unwrap();
        made.db.close().await;
        Kernel::open_present(config, Clock::system(), Ids::os()).await.unwrap().db.close().await;
    }
}
