//! Bringing a backup back.
//!
//! Invariant: the file is read to its end before anything is changed; whoever was signed in when it was made is not
//! signed in by it.

use std::fs;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path, PathBuf};

use super::archive::Reader;
use super::exchange::{INCOMING, Marker, OUTGOING, settle_locked};
use super::{BackupError, Contents, FILES_FOLDER, FORMAT, Head, Line, OLD_STORE, Restored, at, damaged};
use crate::db::dump::Loader;
use crate::ids::Ids;
use crate::kernel::{KEY_FILE, lock_data, make_data};
use crate::time::{Clock, parse_rfc3339, rfc3339};

/// What a restore replaced is kept under this name and the time.
const REPLACED: &str = "replaced-";
/// Whoever signed out, or was signed out, since the backup must not be signed in again by it.
const SIGNED_IN: [&str; 3] = ["person_session", "administrator_session", "sign_in_link"];

/// Puts a backup into the store at `url` and into the data directory. What is there already is replaced if so said,
/// and set aside beside it: files and key always, the rows of a SQLite store too. Killed at any moment, it leaves what
/// was there, or what the next start completes.
///
/// # Errors
/// [`crate::DbError::InUse`] while a server uses the store; [`BackupError::Holds`] when data is there and `replace` is
/// not said; [`BackupError::Damaged`] for a file that is not whole.
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
    let made_at_ms = parse_rfc3339(&head.made_at).ok_or_else(|| damaged("it was made at no time"))?;
    make_data(data).map_err(at(data))?;
    // Both locks before anything is touched: what another restore has begun is its own.
    let _data = lock_data(data)?;
    let mut loader = Loader::begin(url, head.schema).await?;
    settle_locked(data, loader.restored())?;
    if loader.organisations() > 0 && !replace {
        return Err(BackupError::Holds(loader.organisations()));
    }
    let now_ms = clock.now_ms();
    let aside = format!("{REPLACED}{}", rfc3339(now_ms).replace(':', ""));
    let prepared = prepare(&mut archive, &mut loader, data).await.and_then(|(contents, sha256)| {
        let marker = Marker::of(data, Ids::os().new("rst", now_ms), sha256, made_at_ms, aside);
        marker.write(data)?;
        Ok((contents, marker))
    });
    let (contents, marker) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            // The rows still are whose they were, so this takes away all that was prepared.
            let _left = settle_locked(data, loader.restored());
            return Err(error);
        }
    };
    // From here on the store decides: whether it has the marker's id says which files belong to its rows.
    loader.commit(&marker.id).await?;
    let set_aside = marker.finish(data)?;
    Ok(Restored { contents, set_aside })
}

/// Everything that may fail without harm.
async fn prepare(
    archive: &mut Reader<fs::File>,
    loader: &mut Loader,
    data: &Path,
) -> Result<(Contents, String), BackupError> {
    let (incoming, outgoing) = (data.join(INCOMING), data.join(OUTGOING));
    for folder in [&incoming, &outgoing] {
        make_data(folder).map_err(at(folder))?;
    }
    if let Some(place) = Marker::immovable(data) {
        return Err(BackupError::Mounted(place));
    }
    let read = load(archive, loader, &incoming).await?;
    for table in SIGNED_IN {
        loader.empty(table).await?;
    }
    keep_rows(loader, &outgoing)?;
    Ok(read)
}

/// Copies the rows that the store still shows to everybody else.
fn keep_rows(loader: &Loader, outgoing: &Path) -> Result<(), BackupError> {
    if loader.organisations() == 0 {
        return Ok(());
    }
    let kept = outgoing.join(OLD_STORE);
    let file = fs::File::options().create_new(true).write(true).mode(0o600).open(&kept).map_err(at(&kept))?;
    if loader.copy_old(&kept)? { file.sync_all() } else { fs::remove_file(&kept) }.map_err(at(&kept))
}

/// Reads the archive to its end: rows into the open transaction, files beside their places. What it held, and its
/// sha256.
async fn load(
    archive: &mut Reader<fs::File>,
    loader: &mut Loader,
    incoming: &Path,
) -> Result<(Contents, String), BackupError> {
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
                if (end.rows, end.files, &end.sha256) != (contents.rows, contents.files, &before) {
                    return Err(damaged("its end does not fit"));
                }
                return Ok((contents, before));
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
