//! Passwords: argon2id, off the async threads.
//!
//! Invariant: what is stored cannot be turned back; checking a password takes as long when there is none to check.

use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use tokio::sync::Semaphore;

use crate::ids::Ids;
use crate::record::RecordError;
use crate::secret::Secret;

/// Shortest and longest password, in characters; the upper bound keeps hashing cheap.
const LENGTH: std::ops::RangeInclusive<usize> = 8..=256;
/// Bytes of salt (RFC 9106, 3.1).
const SALT_BYTES: usize = 16;
/// Hashed at once, all requests together: each takes 19 MiB and a thread, and anybody may ask.
static AT_ONCE: Semaphore = Semaphore::const_new(4);
/// A hash of nothing, checked when a person has no password, so that the time tells nothing.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Whether a password may be set.
///
/// # Errors
/// One that is too short or too long.
pub fn check(password: &Secret) -> Result<(), RecordError> {
    if LENGTH.contains(&password.expose().chars().count()) {
        return Ok(());
    }
    Err(RecordError::invalid("password", format!("{} to {} characters", LENGTH.start(), LENGTH.end())))
}

/// The hash to store, in PHC form.
///
/// # Errors
/// A password that is too short or too long.
pub async fn hash(ids: &Ids, password: &Secret) -> Result<String, RecordError> {
    check(password)?;
    let salt = ids.bytes::<SALT_BYTES>();
    let password = password.clone();
    blocking(move || {
        Argon2::default()
            .hash_password_with_salt(password.expose().as_bytes(), &salt)
            .map(|hash| hash.to_string())
            .map_err(|e| RecordError::Password(e.to_string()))
    })
    .await?
}

/// Whether the password is the one that was hashed; `None` is a person without one.
///
/// # Errors
/// When the hashing thread fails.
pub async fn verify(stored: Option<String>, password: &Secret) -> Result<bool, RecordError> {
    let password = password.clone();
    blocking(move || {
        let known = stored.is_some();
        let hash = stored.as_deref().unwrap_or(NOBODY);
        let good = Argon2::default().verify_password(password.expose().as_bytes(), hash).is_ok();
        good && known
    })
    .await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, RecordError> {
    let _place = AT_ONCE.acquire().await.map_err(|e| RecordError::Password(e.to_string()))?;
    tokio::task::spawn_blocking(work).await.map_err(|e| RecordError::Password(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_known_by_its_hash_alone() {
        let ids = Ids::os();
        let stored = hash(&ids, &"correct horse".into()).await.unwrap();
        assert!(stored.starts_with("$argon2id$") && !stored.contains("horse"));
        assert_ne!(stored, hash(&ids, &"correct horse".into()).await.unwrap(), "salted");
        assert!(verify(Some(stored.clone()), &"correct horse".into()).await.unwrap());
        assert!(!verify(Some(stored), &"wrong horse".into()).await.unwrap());
        assert!(!verify(None, &"correct horse".into()).await.unwrap());
        assert!(!verify(Some("damaged".into()), &"correct horse".into()).await.unwrap());
        assert!(hash(&ids, &"short".into()).await.is_err());
    }

    #[test]
    fn the_hash_of_nobody_is_readable() {
        assert!(argon2::PasswordHash::new(NOBODY).is_ok());
    }
}
