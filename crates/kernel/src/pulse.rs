//! The server's sign of life: the time of a file in the data directory, renewed while something is up that a crash
//! would cut, so that the next start knows about when it was.
//!
//! Invariant: it is only ever about the past, and about this data directory's server; without it nothing is known.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// Empty; its time of change is the sign.
const FILE: &str = "server.alive";

/// Where the sign of life stands.
#[derive(Clone, Debug)]
pub struct Pulse {
    path: PathBuf,
}

impl Pulse {
    /// That of the server of a data directory.
    pub(crate) fn of(data: &Path) -> Self {
        Self { path: data.join(FILE) }
    }

    /// The last sign, in ms; `None` when there never was one that can be read.
    #[must_use]
    pub fn last_ms(&self) -> Option<i64> {
        let changed = std::fs::metadata(&self.path).and_then(|file| file.modified()).ok()?;
        i64::try_from(changed.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()
    }

    /// Gives the sign. Blocks for a look-up in the file system; nothing is synced.
    ///
    /// # Errors
    /// What the system says.
    pub fn beat(&self, now_ms: i64) -> io::Result<()> {
        let file = File::options().create(true).truncate(false).write(true).open(&self.path)?;
        file.set_modified(UNIX_EPOCH + Duration::from_millis(u64::try_from(now_ms).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_sign_is_read_back_by_the_next_life() {
        let data = tempfile::tempdir().unwrap();
        assert_eq!(Pulse::of(data.path()).last_ms(), None);
        for now_ms in [1_795_219_200_123, 1_795_219_201_000] {
            Pulse::of(data.path()).beat(now_ms).unwrap();
            assert_eq!(Pulse::of(data.path()).last_ms(), Some(now_ms));
        }
    }
}
