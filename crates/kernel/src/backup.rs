//! Backup while the server runs, and restore while it does not: one file, whichever engine is on either side.
//!
//! The file is text with file contents in between, in this order:
//! `{"tandem_backup":1,"schema":…,"made_at":…}`, for each table `{"table":…,"columns":[…]}` and one JSON list per row,
//! for each file `{"file":…,"bytes":…}` and its bytes, then `{"end":{"rows":…,"files":…,"sha256":…}}` over all before.
//!
//! Invariant: a backup is one moment of the store, and under its name only when it is whole; a restore (`restore`)
//! changes nothing before it has read the file to its end, and what it replaces is set aside (`exchange`).

mod archive;
mod exchange;
mod restore;
#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::db::dump::{schema_version, tables};
use crate::db::{Db, DbError};
use crate::ids::Ids;
use crate::kernel::KEY_FILE;
use crate::time::{Clock, rfc3339};
use archive::Writer;
pub(crate) use exchange::settle;
pub use exchange::was_cut_off;
pub use restore::restore;

/// Version of the file's format.
const FORMAT: u32 = 1;
/// What a backup holds of the data directory, besides the rows.
const FILES_FOLDER: &str = "files";
/// Not worth keeping: what can be fetched or rendered again.
const CACHE_FOLDER: &str = "files/cache";
/// The copy of the old rows among what a restore replaced.
const OLD_STORE: &str = "tandem.db";
/// How a backup is named until it is whole: its name, a dot, so many digits of chance, and this.
const PART: &str = ".part";
const PART_DIGITS: usize = 16;

/// Why a backup or a restore failed. Nothing was changed then, but for [`BackupError::Half`].
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is no backup, or not a whole one.
    #[error("this is no whole backup: {0}")]
    Damaged(String),
    /// It was made by a newer release.
    #[error("the backup has format {0}, which this release does not know")]
    Format(u32),
    /// A backup never takes the place of a file unasked.
    #[error("{0} is there already: name another file, or say --replace")]
    Exists(PathBuf),
    /// A restore never takes the place of data unasked.
    #[error("the store holds {0} organisation(s) already: say --replace to put the backup in their place")]
    Holds(i64),
    /// Files could not change places at the commit point.
    #[error("{0} is a mount of its own and cannot be exchanged: mount the data directory that holds it instead")]
    Mounted(PathBuf),
    /// The rows are restored and the files are not all in place: the next start, or the next restore, goes on.
    #[error("the rows are restored, the files are not all: start the server, or run it again ({0})")]
    Half(#[source] io::Error),
    /// The store.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// What was saved or brought back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// Rows of all tables.
    pub rows: u64,
    /// Files: recordings, messages, the server's key.
    pub files: u64,
}

/// What a restore did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// What it brought back.
    pub contents: Contents,
    /// The folder that holds what was there before: files, key, and the rows of SQLite.
    pub set_aside: Option<PathBuf>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    tandem_backup: u32,
    schema: i64,
    made_at: String,
}

/// The lines between the contents.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    Table { table: String, columns: Vec<String> },
    Row(Vec<Value>),
    File { file: String, bytes: u64 },
    End { end: End },
}

#[derive(Debug, Serialize, Deserialize)]
struct End {
    rows: u64,
    files: u64,
    sha256: String,
}

/// Writes a backup of the store and of the data directory to `target`, which holds every secret of the installation:
/// it is made readable by its owner alone. An older file of that name is replaced if so said, when the new one is whole.
///
/// File work is done in place: call it where a thread may block.
///
/// # Errors
/// [`BackupError::Exists`], [`BackupError::Io`], [`BackupError::Db`].
pub async fn backup(
    db: &Db,
    data: &Path,
    target: &Path,
    replace: bool,
    clock: &Clock,
) -> Result<Contents, BackupError> {
    if !replace && target.symlink_metadata().is_ok() {
        return Err(BackupError::Exists(target.to_owned()));
    }
    clear_parts(target);
    let (part, file) = open_part(target)?;
    let written = write(db, data, Writer::new(file), clock).await.and_then(|(contents, file)| {
        file.sync_all().and_then(|()| fs::rename(&part, target)).map_err(at(target))?;
        let folder = folder_of(target);
        fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(at(folder))?;
        Ok(contents)
    });
    if written.is_err() {
        // What is left of it would only be taken for a backup.
        let _gone = fs::remove_file(&part);
    }
    written
}

/// A file beside `target` that nobody else writes, locked as long as it is open.
fn open_part(target: &Path) -> Result<(PathBuf, fs::File), BackupError> {
    let chance = u64::from_le_bytes(Ids::os().bytes());
    let part = beside(target, &format!(".{chance:0PART_DIGITS$x}{PART}"));
    let file = fs::File::options().create_new(true).write(true).mode(0o600).open(&part).map_err(at(&part))?;
    file.lock().map_err(at(&part))?;
    Ok((part, file))
}

/// Removes what killed backups of this name left: it holds every secret, and nobody writes it any more.
fn clear_parts(target: &Path) {
    let Some(name) = target.file_name() else { return };
    let Ok(entries) = fs::read_dir(folder_of(target)) else { return };
    for entry in entries.flatten() {
        if is_part_of(&entry.file_name(), name)
            && fs::File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok())
        {
            // Only tidiness: a backup does not fail for it.
            let _gone = fs::remove_file(entry.path());
        }
    }
}

/// Whether a file is named as [`open_part`] names them.
fn is_part_of(name: &OsStr, target: &OsStr) -> bool {
    let chance = name.as_encoded_bytes().strip_prefix(target.as_encoded_bytes()).and_then(|rest| {
        let rest = rest.strip_prefix(b".")?;
        rest.strip_suffix(PART.as_bytes())
    });
    chance.is_some_and(|chance| chance.len() == PART_DIGITS && chance.iter().all(u8::is_ascii_hexdigit))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

async fn write(
    db: &Db,
    data: &Path,
    mut out: Writer<fs::File>,
    clock: &Clock,
) -> Result<(Contents, fs::File), BackupError> {
    let in_archive = |source| BackupError::Io { path: "the backup".into(), source };
    let schema = schema_version();
    let head = Head { tandem_backup: FORMAT, schema, made_at: rfc3339(clock.now_ms()) };
    out.line(&head).map_err(in_archive)?;
    let mut contents = Contents { rows: 0, files: 0 };
    let mut snapshot = db.snapshot().await?;
    for table in tables(schema) {
        let mut columns = true;
        snapshot
            .rows(table, |values| {
                if std::mem::take(&mut columns) {
                    let columns = values.iter().filter_map(Value::as_str).map(str::to_owned).collect();
                    let table = table.to_owned();
                    return out.line(&Line::Table { table, columns }).map_err(in_archive);
                }
                contents.rows += 1;
                out.line(&Line::Row(values)).map_err(in_archive)
            })
            .await?;
    }
    // After the rows: each file that a row of that moment names is there by now, unless it was deleted since.
    let mut paths = vec![PathBuf::from(KEY_FILE)];
    list(data, Path::new(FILES_FOLDER), &mut paths)?;
    for path in paths {
        let full = data.join(&path);
        let file = match fs::File::open(&full) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(at(&full)(source)),
        };
        let bytes = file.metadata().map_err(at(&full))?.len();
        let Some(name) = path.to_str() else { continue };
        out.line(&Line::File { file: name.to_owned(), bytes })
            .and_then(|()| out.content(file, bytes))
            .map_err(at(&full))?;
        contents.files += 1;
    }
    let end = End { rows: contents.rows, files: contents.files, sha256: out.sha256() };
    out.line(&Line::End { end }).map_err(in_archive)?;
    Ok((contents, out.finish().map_err(in_archive)?))
}

/// The files below a folder of the data directory, relative to it, in order.
fn list(data: &Path, folder: &Path, paths: &mut Vec<PathBuf>) -> Result<(), BackupError> {
    let full = data.join(folder);
    if folder == Path::new(CACHE_FOLDER) || !full.exists() {
        return Ok(());
    }
    let mut entries = fs::read_dir(&full).and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(at(&full))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = folder.join(entry.file_name());
        let kind = entry.file_type().map_err(at(&full))?;
        if kind.is_dir() {
            list(data, &path, paths)?;
        } else if kind.is_file() {
            paths.push(path);
        }
    }
    Ok(())
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn damaged(why: &str) -> BackupError {
    BackupError::Damaged(why.to_owned())
}

fn at(path: &Path) -> impl Fn(io::Error) -> BackupError + use<> {
    let path = path.to_owned();
    move |source| BackupError::Io { path: path.clone(), source }
}
