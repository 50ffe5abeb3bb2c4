//! Backup while the server runs, and restore while it does not: one file, whichever engine is on either side.
//!
//! The file is text with file contents in between, in this order:
//! `{"tandem_backup":1,"schema":…,"made_at":…}`, for each table `{"table":…,"columns":[…]}` and one JSON list per row,
//! for each file `{"file":…,"bytes":…}` and its bytes, then `{"end":{"rows":…,"files":…,"sha256":…}}` over all before.
//!
//! Invariant: a backup is one moment of the store; a restore changes nothing before it has read the file to its end,
//! and what it replaces is set aside.

mod archive;
#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::db::dump::{Loader, schema_version, tables};
use crate::db::{Db, DbError};
use crate::kernel::{KEY_FILE, lock_data, make_data};
use crate::time::{Clock, rfc3339};
use archive::{Reader, Writer};

/// Version of the file's format.
const FORMAT: u32 = 1;
/// What a backup holds of the data directory, besides the rows.
const FILES_FOLDER: &str = "files";
/// Not worth keeping: what can be fetched or rendered again.
const CACHE_FOLDER: &str = "files/cache";
/// Where a restore puts files until all is read, and the old ones until the new ones stand.
const INCOMING: &str = "restore.incoming";
const OUTGOING: &str = "restore.outgoing";
/// Then the old ones are kept under this name and the time.
const REPLACED: &str = "replaced-";
/// The copy of the old rows among them.
const OLD_STORE: &str = "tandem.db";

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
    /// The rows are restored and the files are not all in place: run the restore again.
    #[error("the rows are restored, the files are not: run it again ({0})")]
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
    let part = beside(target, ".part");
    let file =
        fs::File::options().create(true).truncate(true).write(true).mode(0o600).open(&part).map_err(at(&part))?;
    let written = write(db, data, Writer::new(file), clock).await.and_then(|(contents, file)| {
        file.sync_all().and_then(|()| fs::rename(&part, target)).map_err(at(target))?;
        Ok(contents)
    });
    if written.is_err() {
        // What is left of it would only be taken for a backup.
        let _gone = fs::remove_file(&part);
    }
    written
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

/// Puts a backup into the store at `url` and into the data directory. What is there already is replaced if so said,
/// and set aside beside it: files and key always, the rows of a SQLite store too.
///
/// # Errors
/// [`DbError::InUse`] while a server uses the store; [`BackupError::Holds`] when data is there and `replace` is not
/// said; [`BackupError::Damaged`] for a file that is not whole.
pub async fn restore(
    url: &str,
    data: &Path,
    source: &Path,
    replace: bool,
    clock: &Clock,
) -> Result<Restored, BackupError> {
    let file = fs::File::open(source).map_err(at(source))?;
    let mut archive = Reader::new(file);
    let head: Head = archive.line()?;
    if head.tandem_backup != FORMAT {
        return Err(BackupError::Format(head.tandem_backup));
    }
    make_data(data).map_err(at(data))?;
    // Both locks before anything is touched: what another restore has begun is its own.
    let _data = lock_data(data)?;
    let mut loader = Loader::begin(url, head.schema).await?;
    // What was cut off had been allowed, and what is there is in part its own.
    let again = was_cut_off(data);
    if loader.organisations() > 0 && !replace && !again {
        return Err(BackupError::Holds(loader.organisations()));
    }
    let (incoming, outgoing) = (data.join(INCOMING), data.join(OUTGOING));
    empty(&incoming)?;
    let contents = match load(&mut archive, &mut loader, &incoming).await {
        Ok(contents) => keep_rows(&loader, &outgoing).map(|()| contents),
        Err(error) => Err(error),
    };
    let contents = match contents {
        Ok(contents) => contents,
        Err(error) => {
            let _left = fs::remove_dir_all(&incoming);
            if !again {
                let _left = fs::remove_dir_all(&outgoing);
            }
            return Err(error);
        }
    };
    loader.commit().await?;
    let aside = data.join(format!("{REPLACED}{}", rfc3339(clock.now_ms()).replace(':', "")));
    let set_aside = exchange(data, &incoming, &outgoing, &aside).map_err(BackupError::Half)?;
    Ok(Restored { contents, set_aside })
}

/// Copies the rows that the store still shows to everybody else, unless a restore that was cut off has done so.
fn keep_rows(loader: &Loader, outgoing: &Path) -> Result<(), BackupError> {
    let kept = outgoing.join(OLD_STORE);
    if loader.organisations() == 0 || kept.exists() {
        return Ok(());
    }
    fs::create_dir_all(outgoing).map_err(at(outgoing))?;
    let part = beside(&kept, ".part");
    fs::File::options().create(true).truncate(true).write(true).mode(0o600).open(&part).map_err(at(&part))?;
    if loader.copy_old(&part)? { fs::rename(&part, &kept) } else { fs::remove_file(&part) }.map_err(at(&kept))
}

/// Reads the archive to its end: rows into the open transaction, files beside their places.
async fn load(archive: &mut Reader<fs::File>, loader: &mut Loader, incoming: &Path) -> Result<Contents, BackupError> {
    let mut contents = Contents { rows: 0, files: 0 };
    let mut insert = None;
    loop {
        let before = archive.sha256();
        match archive.line()? {
            Line::Table { table, columns } => {
                let statement = loader.insert(&table, &columns).ok_or_else(|| damaged("an unknown table"))?;
                insert = Some((statement, columns.len()));
            }
            Line::Row(values) => {
                let (statement, width) = insert.as_ref().ok_or_else(|| damaged("a row without a table"))?;
                if values.len() != *width {
                    return Err(damaged("a row of another width"));
                }
                loader.row(statement, &values).await?;
                contents.rows += 1;
            }
            Line::File { file, bytes } => {
                let path = incoming.join(safe(&file)?);
                if let Some(folder) = path.parent() {
                    fs::create_dir_all(folder).map_err(at(folder))?;
                }
                let target = fs::File::options().create_new(true).write(true).mode(0o600).open(&path);
                let target = target.map_err(at(&path))?;
                archive.content(&target, bytes)?;
                target.sync_all().map_err(at(&path))?;
                contents.files += 1;
            }
            Line::End { end } => {
                if (end.rows, end.files, end.sha256) != (contents.rows, contents.files, before) {
                    return Err(damaged("its end does not fit"));
                }
                return Ok(contents);
            }
        }
    }
}

/// A path of a backup, if it stays inside the data directory and is one that backups have.
fn safe(file: &str) -> Result<PathBuf, BackupError> {
    let path = PathBuf::from(file);
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    if plain && (file == KEY_FILE || path.starts_with(FILES_FOLDER)) {
        Ok(path)
    } else {
        Err(damaged("a file outside of its place"))
    }
}

/// Whether a restore of this data directory was cut off: its files may not be those of the rows.
#[must_use]
pub fn was_cut_off(data: &Path) -> bool {
    data.join(INCOMING).exists() || data.join(OUTGOING).exists()
}

/// Puts the new files in place of the old ones, and keeps those in `aside` if there were any.
fn exchange(data: &Path, incoming: &Path, outgoing: &Path, aside: &Path) -> io::Result<Option<PathBuf>> {
    fs::create_dir_all(outgoing)?;
    for name in [FILES_FOLDER, KEY_FILE] {
        let (place, old) = (data.join(name), outgoing.join(name));
        if place.exists() && old.exists() {
            // The first try was cut off behind this point: what stands here is its own.
            if place.is_dir() { fs::remove_dir_all(&place) } else { fs::remove_file(&place) }?;
        } else if place.exists() {
            fs::rename(&place, &old)?;
        }
        if incoming.join(name).exists() {
            fs::rename(incoming.join(name), place)?;
        }
    }
    fs::File::open(data)?.sync_all()?;
    let set_aside = if fs::read_dir(outgoing)?.next().is_some() {
        fs::rename(outgoing, aside)?;
        Some(aside.to_owned())
    } else {
        fs::remove_dir(outgoing)?;
        None
    };
    fs::remove_dir_all(incoming)?;
    Ok(set_aside)
}

fn empty(folder: &Path) -> Result<(), BackupError> {
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(at(folder))?;
    }
    fs::create_dir_all(folder).map_err(at(folder))
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
