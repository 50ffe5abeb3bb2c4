//! The backup file as a stream: JSON lines and, between them, contents of known length.
//!
//! Invariant: both ends hash every byte that passes, so that the last line can vouch for all before it.

use std::io::{self, BufRead as _, BufReader, BufWriter, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use super::{BackupError, damaged};

/// Longest line: a row with its texts.
const MAX_LINE_BYTES: u64 = 64 * 1024 * 1024;
const COPY_BYTES: usize = 64 * 1024;

/// Writes a backup.
pub(super) struct Writer<W: Write> {
    out: BufWriter<W>,
    hash: Sha256,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out: BufWriter::with_capacity(COPY_BYTES, out), hash: Sha256::new() }
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.out.write_all(bytes)
    }

    pub(super) fn line(&mut self, value: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        self.put(&line)
    }

    /// Exactly `length` bytes: a file that has grown is cut, one that has shrunk meanwhile is filled up with zeros, so
    /// that the rest of the archive stands where it is looked for.
    pub(super) fn content(&mut self, from: impl Read, length: u64) -> io::Result<()> {
        let mut from = from.take(length);
        let mut buffer = vec![0; COPY_BYTES];
        let mut left = length;
        while left > 0 {
            let room = usize::try_from(left).map_or(COPY_BYTES, |left| left.min(COPY_BYTES));
            let Some(part) = buffer.get_mut(..room) else {
                break;
            };
            let mut got = from.read(part)?;
            if got == 0 {
                part.fill(0);
                got = room;
            }
            let part = part.get(..got).unwrap_or_default();
            self.hash.update(part);
            self.out.write_all(part)?;
            left -= got as u64;
        }
        Ok(())
    }

    pub(super) fn sha256(&self) -> String {
        hex(&self.hash)
    }

    pub(super) fn finish(self) -> io::Result<W> {
        self.out.into_inner().map_err(io::IntoInnerError::into_error)
    }
}

/// Reads a backup.
pub(super) struct Reader<R: Read> {
    from: BufReader<R>,
    hash: Sha256,
}

impl<R: Read> Reader<R> {
    pub(super) fn new(from: R) -> Self {
        Self { from: BufReader::with_capacity(COPY_BYTES, from), hash: Sha256::new() }
    }

    pub(super) fn line<T: DeserializeOwned>(&mut self) -> Result<T, BackupError> {
        let mut line = Vec::new();
        let read = (&mut self.from).take(MAX_LINE_BYTES).read_until(b'\n', &mut line);
        read.map_err(|error| damaged(&error.to_string()))?;
        if line.last() != Some(&b'\n') {
            return Err(damaged("it stops in the middle"));
        }
        self.hash.update(&line);
        serde_json::from_slice(&line).map_err(|_| damaged("a line that no backup has"))
    }

    pub(super) fn content(&mut self, mut to: impl Write, length: u64) -> Result<(), BackupError> {
        let mut from = (&mut self.from).take(length);
        let mut buffer = vec![0; COPY_BYTES];
        let mut left = length;
        while left > 0 {
            let got = from.read(&mut buffer).map_err(|error| damaged(&error.to_string()))?;
            let part = buffer.get(..got).filter(|part| !part.is_empty());
            let part = part.ok_or_else(|| damaged("it stops in the middle"))?;
            self.hash.update(part);
            to.write_all(part).map_err(|source| BackupError::Io { path: "a restored file".into(), source })?;
            left -= part.len() as u64;
        }
        Ok(())
    }

    pub(super) fn sha256(&self) -> String {
        hex(&self.hash)
    }
}

fn hex(hash: &Sha256) -> String {
    hash.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
