//! Files beside the database: `DATA/files/<shelf>/<organisation>/<name>`.
//!
//! Invariant: a name never leaves its organisation's folder, and a file is either whole or absent: it is written beside
//! its place, flushed to disk, and renamed.

use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

/// Longest part of a path.
const MAX_NAME: usize = 128;
/// Bytes read at once when a file is sent.
const READ_BYTES: usize = 64 * 1024;
/// How a file is named while it is being written; never a legal name.
const PART_PREFIX: &str = ".part-";

/// What kind of file; each has its own folder, so that retention and backup can treat them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shelf {
    /// Recordings of calls.
    Recordings,
    /// Messages left in voicemail boxes.
    Voicemail,
    /// Pictures and other attachments of chats.
    Chat,
    /// Things that can be fetched or rendered again.
    Cache,
}

impl Shelf {
    const ALL: [Self; 4] = [Self::Recordings, Self::Voicemail, Self::Chat, Self::Cache];

    /// The folder's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Recordings => "recordings",
            Self::Voicemail => "voicemail",
            Self::Chat => "chat",
            Self::Cache => "cache",
        }
    }
}

/// Why a file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The name would leave its folder, or has characters that no file of ours has.
    #[error("\"{0}\" is not a file name")]
    Name(String),
    /// There is no such file.
    #[error("there is no such file")]
    Missing,
    /// The file system refused.
    #[error("files: {0}")]
    Io(#[source] io::Error),
}

impl From<io::Error> for FilesError {
    fn from(e: io::Error) -> Self {
        if e.kind() == io::ErrorKind::NotFound { Self::Missing } else { Self::Io(e) }
    }
}

/// The store of files. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Files {
    root: Arc<Path>,
}

/// A file that is being read.
#[derive(Debug)]
pub struct OpenFile {
    file: tokio::fs::File,
    /// Bytes in the file.
    pub length: u64,
}

impl Files {
    /// Opens the store below `root`, making its folders (mode 0700).
    ///
    /// # Errors
    /// When the folders cannot be made.
    pub fn open(root: &Path) -> Result<Self, FilesError> {
        for shelf in Shelf::ALL {
            make_folder(&root.join(shelf.as_str()))?;
        }
        Ok(Self { root: root.into() })
    }

    /// Removes what a crash left half-written. Only for the server at its start: beside a running one it would remove
    /// what that is writing.
    ///
    /// # Errors
    /// What the file system says.
    pub fn clear_unfinished(&self) -> Result<(), FilesError> {
        for shelf in Shelf::ALL {
            for org in std::fs::read_dir(self.root.join(shelf.as_str()))? {
                clear_parts(&org?.path())?;
            }
        }
        Ok(())
    }

    /// The folder that holds all files, for backup.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a file stands or will stand; its folder exists afterwards. For writers that stream to disk themselves
    /// (recordings): they own the file until it is whole.
    ///
    /// # Errors
    /// [`FilesError::Name`] when a part could leave its folder.
    pub fn place(&self, shelf: Shelf, org: &str, name: &str) -> Result<PathBuf, FilesError> {
        let path = self.path(shelf, org, name)?;
        if let Some(folder) = path.parent() {
            make_folder(folder)?;
        }
        Ok(path)
    }

    fn path(&self, shelf: Shelf, org: &str, name: &str) -> Result<PathBuf, FilesError> {
        for part in [org, name] {
            if !is_name(part) {
                return Err(FilesError::Name(part.chars().take(MAX_NAME).collect()));
            }
        }
        Ok(self.root.join(shelf.as_str()).join(org).join(name))
    }

    /// Writes a whole file; it is on disk when this returns, and an older one of that name is replaced.
    ///
    /// # Errors
    /// A bad name, or what the file system says.
    pub async fn put(&self, shelf: Shelf, org: &str, name: &str, bytes: Bytes) -> Result<PathBuf, FilesError> {
        let path = self.place(shelf, org, name)?;
        blocking(move || {
            write_whole(&path, &bytes)?;
            Ok(path)
        })
        .await
    }

    /// Writes a whole file as it comes, at most `max` bytes, and gives its length; it is on disk when this returns. What
    /// breaks off, or is larger ([`io::ErrorKind::FileTooLarge`]), leaves nothing.
    ///
    /// # Errors
    /// A bad name, a file too large, or what the stream or the file system says.
    pub async fn put_stream(
        &self,
        shelf: Shelf,
        org: &str,
        name: &str,
        content: impl Stream<Item = io::Result<Bytes>> + Send + Unpin,
        max: u64,
    ) -> Result<u64, FilesError> {
        let path = self.place(shelf, org, name)?;
        let folder = path.parent().unwrap_or(Path::new(".")).to_owned();
        let part = Part(folder.join(part_name()?));
        let length = write_stream(&part.0, content, max).await?;
        let from = part.0.clone();
        blocking(move || {
            std::fs::rename(&from, &path)?;
            std::fs::File::open(folder)?.sync_all()
        })
        .await?;
        Ok(length)
    }

    /// Opens a file for reading.
    ///
    /// # Errors
    /// [`FilesError::Missing`] when it is not there.
    pub async fn read(&self, shelf: Shelf, org: &str, name: &str) -> Result<OpenFile, FilesError> {
        let file = tokio::fs::File::open(self.path(shelf, org, name)?).await?;
        let length = file.metadata().await?.len();
        Ok(OpenFile { file, length })
    }

    /// Deletes a file; one that is not there is deleted already.
    ///
    /// # Errors
    /// A bad name, or what the file system says.
    pub async fn delete(&self, shelf: Shelf, org: &str, name: &str) -> Result<(), FilesError> {
        match tokio::fs::remove_file(self.path(shelf, org, name)?).await {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e.into()),
            _ => Ok(()),
        }
    }
}

impl OpenFile {
    /// The whole file in memory, if it has at most `max` bytes.
    ///
    /// # Errors
    /// When it is larger, or cannot be read.
    pub async fn bytes(mut self, max: u64) -> Result<Bytes, FilesError> {
        if self.length > max {
            return Err(FilesError::Io(io::ErrorKind::FileTooLarge.into()));
        }
        let mut bytes = Vec::new();
        (&mut self.file).take(max).read_to_end(&mut bytes).await?;
        Ok(bytes.into())
    }

    /// The bytes from `start` to before `end` as a stream for a response body.
    ///
    /// # Errors
    /// When the file cannot be positioned.
    pub async fn stream(
        mut self,
        start: u64,
        end: u64,
    ) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + use<>, FilesError> {
        self.file.seek(io::SeekFrom::Start(start)).await?;
        let left = end.min(self.length).saturating_sub(start);
        let state = Some(self.file.take(left));
        Ok(futures_util::stream::unfold(state, async |state| {
            let mut reader = state?;
            let mut chunk = bytes::BytesMut::with_capacity(READ_BYTES);
            match reader.read_buf(&mut chunk).await {
                Ok(0) => None,
                Ok(_) => Some((Ok(chunk.freeze()), Some(reader))),
                Err(e) => Some((Err(e), None)),
            }
        }))
    }
}

/// Ours are ids and hashes with an ending: letters, digits, `_`, `-` and inner dots.
fn is_name(part: &str) -> bool {
    !part.is_empty()
        && part.len() <= MAX_NAME
        && !part.starts_with('.')
        && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

fn make_folder(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn clear_parts(folder: &Path) -> io::Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(PART_PREFIX.as_bytes()) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// A file that is being written; dropped before it got its name, it is removed.
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn part_name() -> io::Result<String> {
    let mut chance = [0u8; 8];
    getrandom::fill(&mut chance).map_err(|_| io::Error::other("no randomness"))?;
    Ok(format!("{PART_PREFIX}{:016x}", u64::from_le_bytes(chance)))
}

async fn write_stream(
    path: &Path,
    mut content: impl Stream<Item = io::Result<Bytes>> + Unpin,
    max: u64,
) -> io::Result<u64> {
    let mut file = tokio::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).await?;
    let mut length = 0;
    while let Some(bytes) = content.next().await {
        let bytes = bytes?;
        length += bytes.len() as u64;
        if length > max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        file.write_all(&bytes).await?;
    }
    file.sync_all().await?;
    Ok(length)
}

fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write;
    let folder = path.parent().unwrap_or(Path::new("."));
    let part = folder.join(part_name()?);
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&part)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&part, path))
        // The rename itself is durable once the folder is.
        .and_then(|()| std::fs::File::open(folder)?.sync_all());
    if written.is_err() {
        let _ = std::fs::remove_file(&part);
    }
    written
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, FilesError> {
    tokio::task::spawn_blocking(work).await.map_err(|e| FilesError::Io(io::Error::other(e)))?.map_err(FilesError::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::TryStreamExt;

    #[tokio::test]
    async fn a_file_is_kept_whole_read_in_parts_and_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::open(dir.path()).unwrap();
        let body: Bytes = (0..200_000u32).map(|n| n as u8).collect();
        files.put(Shelf::Recordings, "org_1", "rec_1.wav", body.clone()).await.unwrap();

        let open = async || files.read(Shelf::Recordings, "org_1", "rec_1.wav").await.unwrap();
        assert_eq!(open().await.length, 200_000);
        assert_eq!(open().await.bytes(200_000).await.unwrap(), body);
        assert!(open().await.bytes(199_999).await.is_err());
        let part: Vec<Bytes> = open().await.stream(100, 150_100).await.unwrap().try_collect().await.unwrap();
        assert_eq!(part.concat(), body[100..150_100]);
        assert!(matches!(files.read(Shelf::Recordings, "org_2", "rec_1.wav").await, Err(FilesError::Missing)));

        for _ in 0..2 {
            files.delete(Shelf::Recordings, "org_1", "rec_1.wav").await.unwrap();
        }
        assert!(files.read(Shelf::Recordings, "org_1", "rec_1.wav").await.is_err());
    }

    #[tokio::test]
    async fn what_comes_in_parts_is_kept_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::open(dir.path()).unwrap();
        let parts = |broken: bool| {
            let part = |text: &'static str| Ok(Bytes::from_static(text.as_bytes()));
            let end = if broken { Err(io::ErrorKind::ConnectionReset.into()) } else { part("!") };
            futures_util::stream::iter([part("hello "), part("there"), end])
        };
        let put = async |broken, max| files.put_stream(Shelf::Chat, "org_1", "a", parts(broken), max).await;
        let names = || std::fs::read_dir(dir.path().join("chat/org_1")).unwrap().count();
        assert!(matches!(put(true, 100).await, Err(FilesError::Io(_))));
        assert!(matches!(put(false, 11).await, Err(FilesError::Io(e)) if e.kind() == io::ErrorKind::FileTooLarge));
        assert_eq!(names(), 0, "nothing stays");
        assert_eq!(put(false, 12).await.unwrap(), 12);
        let kept = files.read(Shelf::Chat, "org_1", "a").await.unwrap().bytes(100).await.unwrap();
        assert_eq!((&*kept, names()), (&b"hello there!"[..], 1));
    }

    #[tokio::test]
    async fn no_name_leaves_its_folder() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::open(dir.path()).unwrap();
        let long = "a".repeat(129);
        for bad in ["", ".", "..", "../x", "a/b", "/etc/passwd", ".part-1", "a\0b", "a b", "é", &long] {
            for (org, name) in [("org_1", bad), (bad, "x.wav")] {
                assert!(
                    matches!(files.put(Shelf::Cache, org, name, Bytes::new()).await, Err(FilesError::Name(_))),
                    "{bad:?}"
                );
            }
        }
    }

    #[tokio::test]
    async fn what_a_crash_left_is_cleared() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::open(dir.path()).unwrap();
        files.put(Shelf::Cache, "org_1", "kept", Bytes::from_static(b"x")).await.unwrap();
        let folder = dir.path().join("cache/org_1");
        std::fs::write(folder.join(".part-dead"), b"half").unwrap();
        Files::open(dir.path()).unwrap();
        assert!(folder.join(".part-dead").exists(), "another process may be writing it");
        files.clear_unfinished().unwrap();
        let names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["kept"]);
    }
}
