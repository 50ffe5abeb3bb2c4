//! The commit point of a restore. Rows change in one commit of the store, files by renames: what holds both together is
//! a marker in the data directory, written when everything has been read, and its id among the new rows.
//!
//! Invariant: without a marker nothing was changed. With one, a store that knows its id has the new rows and gets the
//! new files; any other has the old rows and keeps the old files. Either way can be cut off anywhere and gone again.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{BackupError, FILES_FOLDER, at, beside};
use crate::args;
use crate::db::dump::RESTORED;
use crate::db::{Db, DbError};
use crate::kernel::{KEY_FILE, lock_data};
use crate::pulse::Pulse;

/// Where a restore puts files until all is read.
pub(super) const INCOMING: &str = "restore.incoming";
/// Where what they replace goes, until it is kept for good.
pub(super) const OUTGOING: &str = "restore.outgoing";
/// The marker.
const MARKER: &str = "restore.pending";
/// What a restore exchanges.
const NAMES: [&str; 2] = [FILES_FOLDER, KEY_FILE];

/// A restore that has read its archive to the end.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Marker {
    /// Of this restore; the new rows hold it.
    pub(super) id: String,
    /// Of the archive.
    pub(super) sha256: String,
    /// When the archive was made: the last sign of life of the server that it tells of. UTC, milliseconds.
    pub(super) made_at_ms: i64,
    /// The folder that keeps what was there, in the data directory.
    aside: String,
    /// Which of [`NAMES`] were there.
    replaces: Vec<String>,
}

/// One change of the file system. Done twice it does no harm.
#[derive(Debug)]
enum Step {
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    /// Renames so far are on disk.
    Sync,
    /// The sign of life is the archive's.
    Alive,
}

impl Marker {
    /// What stands in a data directory that cannot be renamed, since another file system is mounted there.
    pub(super) fn immovable(data: &Path) -> Option<PathBuf> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let places = NAMES.iter().filter_map(|name| data.join(name).canonicalize().ok());
        places.into_iter().find(|place| is_mount_point(&mounts, place))
    }

    /// What will be exchanged, as the data directory stands now.
    pub(super) fn of(data: &Path, id: String, sha256: String, made_at_ms: i64, aside: String) -> Self {
        let replaces = NAMES.into_iter().filter(|name| data.join(name).exists()).map(str::to_owned).collect();
        Self { id, sha256, made_at_ms, aside, replaces }
    }

    /// Makes it durable, and all that it vouches for before it.
    pub(super) fn write(&self, data: &Path) -> Result<(), BackupError> {
        for folder in [INCOMING, OUTGOING] {
            sync_folders(&data.join(folder)).map_err(at(&data.join(folder)))?;
        }
        let (path, text) = (data.join(MARKER), serde_json::to_vec(self).map_err(io::Error::from));
        let part = beside(&path, ".part");
        text.and_then(|text| {
            let mut file = fs::File::options().create(true).truncate(true).write(true).mode(0o600).open(&part)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&part, &path)?;
            fs::File::open(data)?.sync_all()
        })
        .map_err(at(&path))
    }

    fn read(data: &Path) -> Result<Option<Self>, BackupError> {
        let path = data.join(MARKER);
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(io::Error::from).map_err(at(&path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(at(&path)(error)),
        }
    }

    /// What is left to do until the new files stand and the old ones are kept.
    fn forward(&self, data: &Path) -> Vec<Step> {
        let (incoming, outgoing) = (data.join(INCOMING), data.join(OUTGOING));
        let mut steps = Vec::new();
        if outgoing.exists() {
            let mut keeps = outgoing.join(super::OLD_STORE).exists();
            for name in NAMES {
                let (place, old, new) = (data.join(name), outgoing.join(name), incoming.join(name));
                keeps |= old.exists();
                if self.replaces.iter().any(|replaced| replaced == name) && place.exists() && !old.exists() {
                    steps.push(Step::Rename(place.clone(), old));
                    keeps = true;
                } else if place.exists() && new.exists() {
                    // Made since, by something that found nothing here.
                    steps.push(Step::Remove(place.clone()));
                }
                if new.exists() {
                    steps.push(Step::Rename(new, place));
                }
            }
            steps.push(Step::Sync);
            steps.push(if keeps { Step::Rename(outgoing, self.kept(data)) } else { Step::Remove(outgoing) });
        }
        steps.extend([Step::Alive, Step::Remove(incoming), Step::Sync, Step::Remove(data.join(MARKER))]);
        steps
    }

    fn kept(&self, data: &Path) -> PathBuf {
        data.join(&self.aside)
    }

    fn take(&self, step: Step, data: &Path) -> io::Result<()> {
        match step {
            Step::Rename(from, to) => fs::rename(from, to),
            Step::Remove(path) => remove(&path),
            Step::Sync => fs::File::open(data)?.sync_all(),
            Step::Alive => Pulse::of(data).beat(self.made_at_ms),
        }
    }

    /// Puts the new files in place of the old ones; the folder that keeps those, if there were any.
    pub(super) fn finish(&self, data: &Path) -> Result<Option<PathBuf>, BackupError> {
        for step in self.forward(data) {
            self.take(step, data).map_err(BackupError::Half)?;
        }
        Ok(Some(self.kept(data)).filter(|folder| folder.exists()))
    }
}

/// Whether the kernel's list of mounts names a path (proc(5), `mountinfo`: the fifth field, blanks in octal).
fn is_mount_point(mounts: &str, path: &Path) -> bool {
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    points.map(|point| point.replace("\\040", " ")).any(|point| Path::new(&point) == path)
}

/// Whether a restore of this data directory was cut off behind its commit point, and is still to be settled.
#[must_use]
pub fn was_cut_off(data: &Path) -> bool {
    data.join(MARKER).exists()
}

/// Ends what a restore that was killed has left: its files come into their places when its rows are in the store, else
/// everything of it goes. Nothing is done while another process holds the data, unless it has to be.
///
/// # Errors
/// [`DbError::InUse`] when it has to be; what the store or the file system says.
pub(crate) async fn settle(db: &Db, data: &Path) -> Result<(), BackupError> {
    if !was_cut_off(data) && !data.join(INCOMING).exists() && !data.join(OUTGOING).exists() {
        return Ok(());
    }
    let locks = match lock_data(data) {
        Ok(data) => db.lock().await.map(|store| (data, store)),
        Err(error) => Err(error),
    };
    let _locks = match locks {
        Err(DbError::InUse) if !was_cut_off(data) => return Ok(()),
        locks => locks?,
    };
    // As a writer: a commit that was under way when its restore died comes to its end before this looks.
    let mut tx = db.begin().await?;
    let restored = tx.one(RESTORED, args![]).await?.map(|row| row.text("value")).transpose()?;
    drop(tx);
    settle_locked(data, restored.as_deref())
}

/// The same for who holds both locks and knows which restore the rows come from.
pub(super) fn settle_locked(data: &Path, restored: Option<&str>) -> Result<(), BackupError> {
    if let Some(marker) = Marker::read(data)? {
        if restored == Some(marker.id.as_str()) {
            let set_aside = marker.finish(data)?;
            tracing::warn!(sha256 = %marker.sha256, ?set_aside, "a restore that was cut off is complete now");
            return Ok(());
        }
        tracing::warn!(sha256 = %marker.sha256, "a restore that was cut off is undone: all is as it was before");
    }
    // The marker goes last: as long as it is there, this is tried again.
    for name in [INCOMING, OUTGOING, MARKER] {
        let path = data.join(name);
        remove(&path).map_err(at(&path))?;
    }
    Ok(())
}

/// Removes a file or a folder, if it is there.
fn remove(path: &Path) -> io::Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

/// Makes the names in a folder and below durable; the files are already.
fn sync_folders(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_folders(&entry.path())?;
        }
    }
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_known_by_its_path() {
        let mounts = "36 35 98:0 / /srv/tandem/files rw,noatime - ext4 /dev/sdb rw\n\
            37 35 98:0 / /srv/two\\040words rw - ext4 /dev/sdc rw\n";
        for path in ["/srv/tandem/files", "/srv/two words"] {
            assert!(is_mount_point(mounts, Path::new(path)), "{path}");
        }
        for path in ["/srv/tandem", "/srv/tandem/files/recordings", "/dev/sdb"] {
            assert!(!is_mount_point(mounts, Path::new(path)), "{path}");
        }
    }

    /// A data directory whose restore has been read to its end; `fresh` = there was nothing before.
    fn read_to_its_end(fresh: bool) -> (tempfile::TempDir, Marker) {
        let data = tempfile::tempdir().unwrap();
        let file = |path: &str, text: &str| {
            let path = data.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        file("restore.incoming/files/recordings/new.wav", "new");
        file("restore.incoming/secret.key", "new");
        fs::create_dir_all(data.path().join(OUTGOING)).unwrap();
        if !fresh {
            file("files/recordings/old.wav", "old");
            file("secret.key", "old");
            file("restore.outgoing/tandem.db", "old");
        }
        let marker = Marker::of(data.path(), "rst_1".to_owned(), "0f".to_owned(), 5_000, "replaced-1".to_owned());
        marker.write(data.path()).unwrap();
        (data, marker)
    }

    /// Every file, with its text.
    fn files(folder: &Path) -> Vec<(String, String)> {
        let mut all = Vec::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(next) = folders.pop() {
            for entry in fs::read_dir(next).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                    all.push((name, fs::read_to_string(path).unwrap()));
                }
            }
        }
        all.sort();
        all
    }

    fn named(files: &[(&str, &str)]) -> Vec<(String, String)> {
        files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn an_exchange_that_is_cut_off_anywhere_is_finished_by_the_next_start() {
        for fresh in [false, true] {
            let mut whole = vec![("files/recordings/new.wav", "new"), ("secret.key", "new"), ("server.alive", "")];
            if !fresh {
                let kept = ["replaced-1/files/recordings/old.wav", "replaced-1/secret.key", "replaced-1/tandem.db"];
                whole.splice(1..1, kept.map(|name| (name, "old")));
            }
            let steps = {
                let (data, marker) = read_to_its_end(fresh);
                marker.forward(data.path()).len()
            };
            assert!(steps > 6, "{steps}");
            for first_cut in 0..=steps {
                for second_cut in 0..=steps - first_cut {
                    let (data, marker) = read_to_its_end(fresh);
                    for cut in [first_cut, second_cut] {
                        if !was_cut_off(data.path()) {
                            continue;
                        }
                        for step in marker.forward(data.path()).into_iter().take(cut) {
                            marker.take(step, data.path()).unwrap();
                        }
                    }
                    settle_locked(data.path(), Some("rst_1")).unwrap();
                    assert_eq!(files(data.path()), named(&whole), "{fresh}, {first_cut}, {second_cut}");
                    assert_eq!(Pulse::of(data.path()).last_ms(), Some(5_000));
                    assert!(!was_cut_off(data.path()));
                }
            }
        }
    }

    #[test]
    fn a_restore_whose_rows_never_came_is_undone() {
        for restored in [None, Some("rst_0")] {
            let (data, _marker) = read_to_its_end(false);
            settle_locked(data.path(), restored).unwrap();
            assert_eq!(files(data.path()), named(&[("files/recordings/old.wav", "old"), ("secret.key", "old")]));
        }
    }
}
