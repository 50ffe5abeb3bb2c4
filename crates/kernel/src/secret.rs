//! What must not leak: texts that never print, the server's own key, token hashes, signed URLs.
//!
//! Invariant: a secret leaves this module only sealed, hashed, or by an explicit `expose()`.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Bytes of the server's key.
const KEY_BYTES: usize = 32;
/// Bytes of an XChaCha20 nonce: long enough to be drawn at random for each message.
const NONCE_BYTES: usize = 24;
/// Bytes of the key's public id: six, so that base 64 writes it without padding.
const KEY_ID_BYTES: usize = 6;
/// Mark of the one sealing format there is, so that a later one can be told apart.
const SEAL_VERSION: &str = "s1.";

/// A text that must not be logged: its `Debug` is redacted and it has no `Display`.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself. Each call is a place where a secret leaves its wrapper; keep them few.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// Lower-case hex of SHA-256: how a 256-bit token is stored. Tokens are random, so they need no salt.
pub fn token_hash(token: &str) -> String {
    hex(&Sha256::digest(token.as_bytes()))
}

/// Compares two texts in a time that depends on their lengths only.
pub fn same(a: &str, b: &str) -> bool {
    a.as_bytes().ct_eq(b.as_bytes()).into()
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Why the server's key or something sealed with it cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The key file cannot be read or written.
    #[error("the key file {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The key file is not 32 bytes.
    #[error("the key file {path} does not hold a key of {KEY_BYTES} bytes")]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The key file can be read by others.
    #[error("the key file {path} can be read by others: chmod 600 {path}")]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// The sealed text was made with another key, for another purpose, or was changed.
    #[error("the sealed text does not open with this server's key")]
    Sealed,
    /// The operating system gives no randomness.
    #[error("no randomness from the operating system")]
    Randomness,
}

/// The server's key and what is done with it: sealing at rest and signing URLs. Cheap to clone.
#[derive(Clone)]
pub struct Secrets {
    seal: Arc<XChaCha20Poly1305>,
    url_key: [u8; KEY_BYTES],
    key_id: [u8; KEY_ID_BYTES],
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(..)")
    }
}

impl Secrets {
    /// Reads the key from `path`, making it (mode 0600) at the first start.
    ///
    /// # Errors
    /// When the file cannot be read or made, has the wrong length, or may be read by others.
    pub fn open(path: &Path) -> Result<Self, SecretError> {
        let in_file = |source| SecretError::File { path: path.to_owned(), source };
        match File::open(path) {
            Ok(file) => Self::read(path, file),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                match make_key(path) {
                    Ok(key) => Ok(Self::from_key(&key)),
                    // Another process made it in the same moment: its key counts.
                    Err(SecretError::File { source, .. }) if source.kind() == std::io::ErrorKind::AlreadyExists => {
                        Self::read(path, File::open(path).map_err(in_file)?)
                    }
                    Err(e) => Err(e),
                }
            }
            Err(e) => Err(in_file(e)),
        }
    }

    fn read(path: &Path, file: File) -> Result<Self, SecretError> {
        let in_file = |source| SecretError::File { path: path.to_owned(), source };
        if file.metadata().map_err(in_file)?.permissions().mode() & 0o077 != 0 {
            return Err(SecretError::Exposed { path: path.to_owned() });
        }
        let mut bytes = Vec::with_capacity(KEY_BYTES + 1);
        file.take(KEY_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(in_file)?;
        let key: [u8; KEY_BYTES] = bytes.try_into().map_err(|_| SecretError::Damaged { path: path.to_owned() })?;
        Ok(Self::from_key(&key))
    }

    /// A server key given by hand; the file is the usual way.
    pub fn from_key(key: &[u8; KEY_BYTES]) -> Self {
        // Two uses, two keys: what is learned about one says nothing about the other.
        let sealing = derive(key, b"tandem seal");
        let mut key_id = [0; KEY_ID_BYTES];
        for (slot, byte) in key_id.iter_mut().zip(derive(key, b"tandem key id")) {
            *slot = byte;
        }
        Self { seal: Arc::new(XChaCha20Poly1305::new(&sealing.into())), url_key: derive(key, b"tandem url"), key_id }
    }

    /// Tells this key from another one, and nothing else about it.
    pub fn key_id(&self) -> [u8; KEY_ID_BYTES] {
        self.key_id
    }

    /// Seals `text` for one `purpose` (a table and column, say); only the same purpose opens it.
    ///
    /// # Errors
    /// When the operating system gives no randomness for the nonce.
    pub fn seal(&self, purpose: &str, text: &str) -> Result<String, SecretError> {
        let mut nonce = [0u8; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|_| SecretError::Randomness)?;
        let payload = Payload { msg: text.as_bytes(), aad: purpose.as_bytes() };
        let sealed = self.seal.encrypt(&XNonce::from(nonce), payload).map_err(|_| SecretError::Sealed)?;
        let mut bytes = nonce.to_vec();
        bytes.extend_from_slice(&sealed);
        Ok(format!("{SEAL_VERSION}{}", URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// Opens what [`Self::seal`] made for the same purpose.
    ///
    /// # Errors
    /// [`SecretError::Sealed`] for another key, another purpose, or a changed text.
    pub fn open_sealed(&self, purpose: &str, sealed: &str) -> Result<Secret, SecretError> {
        let text = sealed.strip_prefix(SEAL_VERSION).ok_or(SecretError::Sealed)?;
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| SecretError::Sealed)?;
        let (nonce, msg) = bytes.split_first_chunk::<NONCE_BYTES>().ok_or(SecretError::Sealed)?;
        let payload = Payload { msg, aad: purpose.as_bytes() };
        let plain = self.seal.decrypt(&XNonce::from(*nonce), payload).map_err(|_| SecretError::Sealed)?;
        String::from_utf8(plain).map(Secret).map_err(|_| SecretError::Sealed)
    }

    /// `path?expires=..&signature=..`: whoever holds it may read `path` until `expires_ms` (UTC milliseconds).
    pub fn sign_path(&self, path: &str, expires_ms: i64) -> String {
        format!("{path}?expires={expires_ms}&signature={}", self.path_signature(path, expires_ms))
    }

    /// Whether `signature` is ours for `path` and `expires_ms`, and not yet expired at `now_ms`.
    pub fn path_is_signed(&self, path: &str, expires_ms: i64, signature: &str, now_ms: i64) -> bool {
        now_ms < expires_ms && same(&self.path_signature(path, expires_ms), signature)
    }

    fn path_signature(&self, path: &str, expires_ms: i64) -> String {
        let message = format!("{expires_ms}\n{path}");
        URL_SAFE_NO_PAD.encode(derive(&self.url_key, message.as_bytes()))
    }
}

/// HMAC-SHA256 of `message` under `key`.
fn derive(key: &[u8; KEY_BYTES], message: &[u8]) -> [u8; KEY_BYTES] {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes any key");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// Writes a fresh key beside its final place and links it in, so that no reader meets half a key.
fn make_key(path: &Path) -> Result<[u8; KEY_BYTES], SecretError> {
    let in_file = |source| SecretError::File { path: path.to_owned(), source };
    let mut key = [0u8; KEY_BYTES];
    getrandom::fill(&mut key).map_err(|_| SecretError::Randomness)?;
    let part = path.with_extension(format!("part{}", std::process::id()));
    let _ = fs::remove_file(&part);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&part)
        .and_then(|mut file| file.write_all(&key).and_then(|()| file.sync_all()))
        .and_then(|()| fs::hard_link(&part, path));
    let _ = fs::remove_file(&part);
    written.map_err(in_file)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_of_a_secret_shows_nothing() {
        let text = format!("{:?} {:?}", Secret::new("hunter2"), Some(Secret::new("x")));
        assert_eq!(text, "Secret(..) Some(Secret(..))");
    }

    #[test]
    fn the_key_file_is_private_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret.key");
        let first = Secrets::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let sealed = first.seal("trunk.password", "s3cret").unwrap();
        let again = Secrets::open(&path).unwrap();
        assert_eq!(again.open_sealed("trunk.password", &sealed).unwrap().expose(), "s3cret");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no part file stays");

        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Secrets::open(&path), Err(SecretError::Exposed { .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, [1u8; 31]).unwrap();
        assert!(matches!(Secrets::open(&path), Err(SecretError::Damaged { .. })));
    }

    #[test]
    fn a_seal_opens_only_for_its_purpose_key_and_text() {
        let ours = Secrets::from_key(&[7; 32]);
        let sealed = ours.seal("a", "text").unwrap();
        assert!(!sealed.contains("text"));
        assert_ne!(sealed, ours.seal("a", "text").unwrap(), "each nonce is fresh");
        assert_eq!(ours.open_sealed("a", &sealed).unwrap().expose(), "text");
        assert!(ours.open_sealed("b", &sealed).is_err());
        assert!(Secrets::from_key(&[8; 32]).open_sealed("a", &sealed).is_err());
        let mut changed = sealed.clone().into_bytes();
        let last = changed.len() - 1;
        changed[last] = if changed[last] == b'A' { b'B' } else { b'A' };
        assert!(ours.open_sealed("a", &String::from_utf8(changed).unwrap()).is_err());
        for short in ["", "s1.", "s1.AAAA", "s2.AAAA", "s1.%%"] {
            assert!(ours.open_sealed("a", short).is_err(), "{short}");
        }
    }

    #[test]
    fn a_signed_path_holds_until_it_expires_and_for_itself_only() {
        let ours = Secrets::from_key(&[7; 32]);
        let url = ours.sign_path("/v1/recordings/rec_1/audio", 1_000);
        let signature = url.split("signature=").nth(1).unwrap();
        let holds = |path, expires, now| ours.path_is_signed(path, expires, signature, now);
        assert!(holds("/v1/recordings/rec_1/audio", 1_000, 999));
        assert!(!holds("/v1/recordings/rec_1/audio", 1_000, 1_000));
        assert!(!holds("/v1/recordings/rec_1/audio", 2_000, 999));
        assert!(!holds("/v1/recordings/rec_2/audio", 1_000, 999));
    }

    #[test]
    fn token_hash_is_sha256_in_hex() {
        // FIPS 180-2, appendix B.1.
        assert_eq!(token_hash("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert!(same("a", "a") && !same("a", "b") && !same("a", "ab"));
    }
}
