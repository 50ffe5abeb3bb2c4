//! SQLite: write-ahead log, every commit synced, one connection that writes and a few that read beside it.
//!
//! Invariant: the writing connection lives on a thread of its own and is lent to one holder of the write lock at a time,
//! a transaction or a batch of the group commit; what is sent to the thread runs in the order in which it was sent.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::row::{Row, SqliteRow};
use super::session::{Link, Session};
use super::{Arg, DbError};

/// How long a write waits for the lock that another process holds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Readers wait for nobody but in the rare moment of a recovery.
const READER_BUSY_TIMEOUT: Duration = Duration::from_millis(500);
/// Connections that read at length, and as many again for look-ups by key, which so never wait behind a list.
const READERS: usize = 4;
/// Prepared statements kept per connection.
const STATEMENTS: usize = 256;
/// Visits that wait for the thread: the holder of the lock has one, and its roll-back may stand behind it.
const VISITS: usize = 4;
/// Page cache of the writing connection and of a reading one, KiB. The operating system's own cache stands behind them,
/// and a reader's is void with the next commit anyway.
const WRITER_CACHE_KIB: i64 = 1_024;
const READER_CACHE_KIB: i64 = 256;
/// Pages (of 4 KiB) in the log before a commit copies them into the file: each page is then copied once for many
/// commits that changed it.
const CHECKPOINT_PAGES: u32 = 4_000;

/// An open SQLite database. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Sqlite {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    /// Connections that read and are free.
    readers: Mutex<Vec<Connection>>,
    /// A permit for each reading at length.
    reading: Arc<Semaphore>,
    /// A permit for each look-up by key.
    looking: Semaphore,
    /// The write lock of this process.
    writing: Arc<Semaphore>,
    /// `None` once the store is closed.
    thread: Mutex<Option<Thread>>,
}

/// The thread of the writing connection; it ends when nobody can send to it any more.
#[derive(Debug)]
struct Thread {
    visits: mpsc::Sender<Visit>,
    handle: std::thread::JoinHandle<()>,
}

/// What is done with the writing connection on its thread.
type Visit = Box<dyn FnOnce(&mut Connection) + Send>;

/// A transaction on the writing connection. Dropped open, it is rolled back before anybody else gets the lock.
#[derive(Debug)]
pub(super) struct RemoteTx {
    sqlite: Sqlite,
    /// The write lock, while the transaction is open.
    lock: Option<OwnedSemaphorePermit>,
}

pub(super) fn open(url: &str) -> Result<Sqlite, DbError> {
    let path = path_of(url)?;
    // Its owner's alone, whatever the folder lets others see; the log and the index beside it get the same rights.
    std::fs::File::options().create(true).truncate(false).write(true).mode(0o600).open(&path)?;
    let (ready, opened) = std::sync::mpsc::sync_channel(1);
    let (sender, mut visits) = mpsc::channel::<Visit>(VISITS);
    let writer = path.clone();
    // Not a task: every visit ends in a sync to disk, for which a thread has to wait.
    let spawned = std::thread::Builder::new().name("sqlite".to_owned()).spawn(move || {
        let mut connection = match open_writer(&writer) {
            Ok(connection) => connection,
            Err(error) => return drop(ready.send(Err(error))),
        };
        if ready.send(Ok(())).is_err() {
            return;
        }
        while let Some(visit) = visits.blocking_recv() {
            visit(&mut connection);
        }
    });
    let thread = Thread { visits: sender, handle: spawned? };
    opened.recv().map_err(|_| DbError::Closed)??;
    Ok(Sqlite {
        shared: Arc::new(Shared {
            path,
            readers: Mutex::default(),
            reading: Arc::new(Semaphore::new(READERS)),
            looking: Semaphore::new(READERS),
            writing: Arc::new(Semaphore::new(1)),
            thread: Mutex::new(Some(thread)),
        }),
    })
}

/// `sqlite:///path` or `sqlite://path`; options after `?` are refused, since ours are fixed.
fn path_of(url: &str) -> Result<PathBuf, DbError> {
    let path = url.strip_prefix("sqlite://").filter(|path| !path.is_empty() && !path.contains('?'));
    path.map(PathBuf::from).ok_or_else(|| DbError::Url(url.to_owned()))
}

fn open_writer(path: &Path) -> Result<Connection, DbError> {
    let connection = connect(path, BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    // Negative: in KiB, not in pages.
    connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    Ok(connection)
}

fn open_reader(path: &Path) -> Result<Connection, DbError> {
    let connection = connect(path, READER_BUSY_TIMEOUT)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
    Ok(connection)
}

fn connect(path: &Path, busy_timeout: Duration) -> Result<Connection, DbError> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(busy_timeout)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // Else SQLite plans a statement anew whenever an argument that a partial index depends on changes: at each call.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(connection)
}

impl Sqlite {
    /// The database's file.
    pub(super) fn path(&self) -> &Path {
        &self.shared.path
    }

    /// A reading connection for the caller alone.
    pub(super) fn reader(&self) -> Result<Connection, DbError> {
        open_reader(&self.shared.path)
    }

    /// Copies what is committed into an empty file, also beside an open transaction.
    pub(super) fn copy_to(&self, target: &Path) -> Result<(), DbError> {
        let connection = connect(&self.shared.path, READER_BUSY_TIMEOUT)?;
        connection.execute("vacuum into ?1", [target.to_string_lossy()])?;
        Ok(())
    }

    /// Reads on the calling thread: for look-ups by key, which take microseconds where a way to another thread and
    /// back would cost several times that.
    pub(super) async fn read_here(&self, sql: &'static str, args: &[Arg]) -> Result<Vec<Row>, DbError> {
        let _place = self.shared.looking.acquire().await.map_err(|_| DbError::Closed)?;
        let reader = self.take_reader()?;
        let rows = all(&reader, sql, args);
        self.put_back(reader);
        rows
    }

    /// Reads on a thread that may take its time.
    pub(super) async fn read(&self, sql: &'static str, args: Vec<Arg>) -> Result<Vec<Row>, DbError> {
        self.with_reader(move |reader| all(reader, sql, &args)).await
    }

    /// Lends a reading connection to work that may take its time.
    pub(super) async fn with_reader<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, DbError> + Send + 'static,
    ) -> Result<T, DbError> {
        let place = self.place_to_read().await?;
        let sqlite = self.clone();
        let done = tokio::task::spawn_blocking(move || {
            let _place = place;
            let reader = sqlite.take_reader()?;
            let result = work(&reader);
            sqlite.put_back(reader);
            result
        });
        done.await.map_err(|_| DbError::Closed)?
    }

    async fn place_to_read(&self) -> Result<OwnedSemaphorePermit, DbError> {
        Arc::clone(&self.shared.reading).acquire_owned().await.map_err(|_| DbError::Closed)
    }

    fn take_reader(&self) -> Result<Connection, DbError> {
        let free = self.shared.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        free.map_or_else(|| open_reader(&self.shared.path), Ok)
    }

    fn put_back(&self, reader: Connection) {
        self.shared.readers.lock().unwrap_or_else(PoisonError::into_inner).push(reader);
    }

    /// Waits for the write lock of this process.
    pub(super) async fn lock(&self) -> Result<OwnedSemaphorePermit, DbError> {
        Arc::clone(&self.shared.writing).acquire_owned().await.map_err(|_| DbError::Closed)
    }

    /// Does something with the writing connection, on its thread. Whoever calls holds the write lock.
    pub(super) async fn visit<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> T + Send + 'static,
    ) -> Result<T, DbError> {
        let (done, result) = oneshot::channel();
        let visit: Visit = Box::new(move |connection| {
            // A caller that went away does not hear of it; what was done stays done.
            let _gone = done.send(work(connection));
        });
        let visits = self.visits().ok_or(DbError::Closed)?;
        visits.send(visit).await.map_err(|_| DbError::Closed)?;
        result.await.map_err(|_| DbError::Closed)
    }

    fn visits(&self) -> Option<mpsc::Sender<Visit>> {
        let thread = self.shared.thread.lock().unwrap_or_else(PoisonError::into_inner);
        thread.as_ref().map(|thread| thread.visits.clone())
    }

    pub(super) async fn begin(&self) -> Result<RemoteTx, DbError> {
        // From here on a caller that goes away leaves a transaction that is rolled back.
        let tx = RemoteTx { sqlite: self.clone(), lock: Some(self.lock().await?) };
        tx.sqlite.visit(|connection| begin(connection)).await??;
        Ok(tx)
    }

    /// Takes no more work; what was begun ends first.
    pub(super) async fn close(&self) {
        let lock = self.lock().await;
        self.shared.writing.close();
        self.shared.reading.close();
        self.shared.looking.close();
        drop(lock);
        self.shared.readers.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let thread = self.shared.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Thread { visits, handle }) = thread {
            drop(visits);
            // The last connection writes the log back into the file as it closes.
            let _joined = tokio::task::spawn_blocking(move || handle.join()).await;
        }
    }
}

impl RemoteTx {
    pub(super) async fn visit<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> T + Send + 'static,
    ) -> Result<T, DbError> {
        self.sqlite.visit(work).await
    }

    pub(super) async fn commit(mut self) -> Result<(), DbError> {
        let committed = self.sqlite.visit(|connection| commit(connection)).await;
        if matches!(committed, Ok(Ok(()))) {
            self.lock = None;
        }
        committed?
    }
}

impl Drop for RemoteTx {
    fn drop(&mut self) {
        let Some(lock) = self.lock.take() else { return };
        let visit: Visit = Box::new(move |connection| {
            rollback(connection);
            drop(lock);
        });
        // There is room: beside the holder of the lock nobody sends, and it has one visit under way at most. On a
        // closed store the connection has gone, and its transaction with it.
        drop(self.sqlite.visits().map(|visits| visits.try_send(visit)));
    }
}

/// IMMEDIATE: the write lock is taken now, so that no later statement fails for another process.
pub(super) fn begin(connection: &Connection) -> Result<(), DbError> {
    connection.prepare_cached("begin immediate")?.execute([])?;
    Ok(())
}

pub(super) fn commit(connection: &Connection) -> Result<(), DbError> {
    connection.prepare_cached("commit")?.execute([])?;
    Ok(())
}

pub(super) fn rollback(connection: &Connection) {
    if !connection.is_autocommit() {
        // Without a transaction there is nothing to undo; any other failure shows at the next `begin`.
        let _none = connection.execute_batch("rollback");
    }
}

/// All rows of a statement.
pub(super) fn all(connection: &Connection, sql: &str, args: &[Arg]) -> Result<Vec<Row>, DbError> {
    let mut statement = connection.prepare_cached(sql)?;
    bind(&mut statement, args)?;
    let columns: Arc<[String]> = statement.column_names().map(str::to_owned).collect();
    let mut rows = statement.raw_query();
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(Row::from(SqliteRow::read(Arc::clone(&columns), row)?));
    }
    Ok(found)
}

/// Rows touched by a statement, whatever it returns.
pub(super) fn run(connection: &Connection, sql: &str, args: &[Arg]) -> Result<u64, DbError> {
    let mut statement = connection.prepare_cached(sql)?;
    bind(&mut statement, args)?;
    if statement.column_count() == 0 {
        return Ok(statement.raw_execute()? as u64);
    }
    let mut rows = statement.raw_query();
    while rows.next()?.is_some() {}
    drop(rows);
    Ok(connection.changes())
}

/// To SQLite `$3` is a name, and names are numbered in the order in which they are met.
fn bind(statement: &mut rusqlite::CachedStatement<'_>, args: &[Arg]) -> Result<(), DbError> {
    for index in 1..=statement.parameter_count() {
        let number = statement.parameter_name(index).and_then(|name| name.strip_prefix('$'));
        let number: Option<usize> = number.and_then(|number| number.parse().ok());
        let arg = number.and_then(|number| args.get(number.checked_sub(1)?));
        match arg {
            Some(Arg::Text(value)) => statement.raw_bind_parameter(index, value)?,
            Some(Arg::Int(value)) => statement.raw_bind_parameter(index, value)?,
            Some(Arg::Bool(value)) => statement.raw_bind_parameter(index, value)?,
            Some(Arg::Real(value)) => statement.raw_bind_parameter(index, value)?,
            Some(Arg::Null | Arg::NextPosition | Arg::SamePosition) => {
                statement.raw_bind_parameter(index, rusqlite::types::Null)?;
            }
            None => return Err(rusqlite::Error::InvalidParameterCount(args.len(), index).into()),
        }
    }
    Ok(())
}

/// A session of this connection, on its thread.
pub(super) fn session(connection: &mut Connection) -> Session<'_> {
    Session::new(Link::Sqlite(connection))
}
