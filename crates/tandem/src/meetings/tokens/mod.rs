//! Sign-in tokens of parties (`acc_tok`): sealed, so that nobody reads or makes one, and rows, so that each can be
//! revoked. Invariant: a token signs in one person of one application; it opens only with this server's key, until a day
//! after its meeting's end, and not once it was revoked. Source: docs/contracts/meetings.md, "Sign-in tokens".

mod store;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kernel::secret::{SecretError, token_hash};
use kernel::{DbError, Kernel, RecordError, Secret, Secrets, Write};
use serde::{Deserialize, Serialize};

use super::legacy;
use super::model::LEGACY_SECRET;
use super::model::{LEGACY_SECRET_PURPOSE, Meeting, Role, Settings};
use super::sessions::Whose;

/// What is sealed with the claims, so that no other sealed text passes for a token.
const PURPOSE: &str = "acc_tok/v1";
/// Mark of the one format there is.
const VERSION: &str = "t1.";
/// Beginning of what the kernel seals.
const SEALED: &str = "s1.";
/// What a token is for.
const AUDIENCE: &str = "meeting-session";
/// A token outlives its meeting by so much, in milliseconds.
pub const AFTER_END_MS: i64 = 24 * 3_600_000;
/// A one-time link is good for so long, in milliseconds.
pub const LINK_MS: i64 = 600_000;
/// Longest token that is looked at, in bytes.
const MAX_TOKEN: usize = 2_048;
/// Applications that are asked for the secret of a token of before.
const MAX_APPS: i64 = 1_000;

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Version of the claims.
    pub ver: u8,
    /// The organisation.
    pub org: String,
    /// The application.
    pub app: String,
    /// The person, as the application knows it.
    pub uid: String,
    /// The meeting it was made for: where the person lands.
    pub meeting: i64,
    /// What the person is there.
    pub role: Role,
    /// `meeting-session`.
    pub aud: String,
    /// When it was made, UTC seconds.
    pub iat: i64,
    /// A day after the meeting's end as it was then, UTC seconds.
    pub exp: i64,
    /// Its own name.
    pub jti: String,
}

/// The token of these claims: `t1.`, then the id of the key and what that key sealed.
///
/// # Errors
/// When the system gives no randomness.
pub fn seal(secrets: &Secrets, claims: &Claims) -> Result<String, SecretError> {
    let claims = serde_json::to_string(claims).map_err(|_| SecretError::Sealed)?;
    let sealed = secrets.seal(PURPOSE, &claims)?;
    let sealed = sealed.strip_prefix(SEALED).ok_or(SecretError::Sealed)?;
    // The id is of six bytes: in base 64 nothing of it runs over into what follows.
    Ok(format!("{VERSION}{}{sealed}", key_id(secrets)))
}

/// What a token says; none when it is not one of this server's.
#[must_use]
pub fn open(secrets: &Secrets, token: &str) -> Option<Claims> {
    if token.len() > MAX_TOKEN {
        return None;
    }
    let sealed = token.strip_prefix(VERSION)?.strip_prefix(&key_id(secrets))?;
    let claims = secrets.open_sealed(PURPOSE, &format!("{SEALED}{sealed}")).ok()?;
    let claims: Claims = serde_json::from_str(claims.expose()).ok()?;
    (claims.ver == 1 && claims.aud == AUDIENCE).then_some(claims)
}

fn key_id(secrets: &Secrets) -> String {
    URL_SAFE_NO_PAD.encode(secrets.key_id())
}

/// A fresh token for one of a meeting's two, and the write that makes it good.
///
/// # Errors
/// When the system gives no randomness.
pub fn issue(kernel: &Kernel, meeting: &Meeting, role: Role) -> Result<(String, Write), SecretError> {
    let now_ms = kernel.clock.now_ms();
    let expires_ms = meeting.ends_ms.max(now_ms).saturating_add(AFTER_END_MS);
    let claims = Claims {
        ver: 1,
        org: meeting.org.clone(),
        app: meeting.app.clone(),
        uid: meeting.party(role).uid.clone(),
        meeting: meeting.id,
        role,
        aud: AUDIENCE.into(),
        iat: now_ms / 1_000,
        exp: expires_ms / 1_000,
        jti: kernel.ids.new("jti", now_ms),
    };
    let token = seal(&kernel.secrets, &claims)?;
    Ok((token, store::token_write(&claims, expires_ms)))
}

/// A link for one of a meeting's two that signs in once within [`LINK_MS`]: its token and the write that makes it good.
#[must_use]
pub fn issue_link(kernel: &Kernel, meeting: &Meeting, role: Role) -> (Secret, Write) {
    issue_link_until(kernel, meeting, role, kernel.clock.now_ms().saturating_add(LINK_MS))
}

/// The same, good until a time (UTC milliseconds): for a reminder, which is read when its reader has a moment.
#[must_use]
pub fn issue_link_until(kernel: &Kernel, meeting: &Meeting, role: Role, expires_ms: i64) -> (Secret, Write) {
    let token = kernel.ids.token();
    let uid = &meeting.party(role).uid;
    let write = store::link_write(&token_hash(&token), &meeting.org, &meeting.app, uid, meeting.id, expires_ms);
    (token.into(), write)
}

/// Why nobody could be recognised.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The store.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The applications.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// Whom a token signs in; none when it is wrong, over or revoked. A token of the applications' time before this server
/// is looked for in `tenant`, the organisation of the request's host.
///
/// # Errors
/// When the store fails.
pub async fn recognise(kernel: &Kernel, token: &str, tenant: Option<&str>) -> Result<Option<Whose>, TokenError> {
    if let Some(claims) = open(&kernel.secrets, token) {
        return Ok(of_claims(kernel, claims).await?);
    }
    match tenant {
        Some(org) if legacy::looks_like(token) => of_before(kernel, token, org).await,
        _ => Ok(None),
    }
}

async fn of_claims(kernel: &Kernel, claims: Claims) -> Result<Option<Whose>, DbError> {
    let Claims { org, app, uid, meeting, exp, jti, .. } = claims;
    // Its meeting may end later now than when it was made.
    let Some(ends_ms) = store::end_of_good_token(kernel, &org, &jti).await? else { return Ok(None) };
    let expires_ms = exp.saturating_mul(1_000).max(ends_ms.saturating_add(AFTER_END_MS));
    let good = kernel.clock.now_ms() < expires_ms;
    Ok(good.then_some(Whose { org, app, uid, meeting, jti }))
}

/// A token of document 000's own server: whichever application's secret signed it.
async fn of_before(kernel: &Kernel, token: &str, org: &str) -> Result<Option<Whose>, TokenError> {
    for app in kernel.apps(org, "", MAX_APPS).await? {
        let Some(sealed) = app.settings.get(LEGACY_SECRET) else { continue };
        let Ok(secret) = kernel.secrets.open_sealed(LEGACY_SECRET_PURPOSE, sealed) else { continue };
        // An older release took any text for a secret: `true` verifies whatever anybody signs.
        if Settings::check(LEGACY_SECRET, secret.expose()).is_err() {
            continue;
        }
        let Some(uid) = legacy::verify(token, &secret) else { continue };
        if let Some(meeting) = store::latest_meeting(kernel, org, &app.id, &uid).await? {
            return Ok(Some(Whose { org: org.to_owned(), app: app.id, uid, meeting, jti: String::new() }));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> Claims {
        Claims {
            ver: 1,
            org: "org_1".into(),
            app: "app_1".into(),
            uid: "1222".into(),
            meeting: 5,
            role: Role::Caller,
            aud: AUDIENCE.into(),
            iat: 1,
            exp: 2,
            jti: "jti_1".into(),
        }
    }

    #[test]
    fn a_token_says_nothing_and_opens_again() {
        let secrets = Secrets::from_key(&[7; 32]);
        let token = seal(&secrets, &claims()).unwrap();
        assert!(token.starts_with("t1.") && URL_SAFE_NO_PAD.decode(&token[3..]).is_ok(), "{token}");
        assert!(!token.contains("1222"));
        assert_eq!(open(&secrets, &token), Some(claims()));
        assert_ne!(token, seal(&secrets, &claims()).unwrap(), "no two are the same");
    }

    #[test]
    fn a_token_that_was_changed_or_made_elsewhere_does_not_open() {
        let secrets = Secrets::from_key(&[7; 32]);
        let token = seal(&secrets, &claims()).unwrap();
        assert_eq!(open(&Secrets::from_key(&[8; 32]), &token), None);
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(open(&secrets, std::str::from_utf8(&bytes).unwrap()), None, "changed at {at}");
        }
        let another_purpose = secrets.seal("idempotency.answer", &serde_json::to_string(&claims()).unwrap()).unwrap();
        let sealed = another_purpose.strip_prefix(SEALED).unwrap();
        assert_eq!(open(&secrets, &format!("t1.{}{sealed}", key_id(&secrets))), None);
        for wrong in ["", "t1.", "t1.AAAA", "s1.AAAA", "BAhJIggxMjMGOgZFVA==--45a4"] {
            assert_eq!(open(&secrets, wrong), None, "{wrong}");
        }
        let other_use = Claims { aud: "something-else".into(), ..claims() };
        assert_eq!(open(&secrets, &seal(&secrets, &other_use).unwrap()), None);
    }
}
