//! Signed-in parties: who comes by a sign-in token or a one-time link gets a session, known by a cookie.
//!
//! Invariant: a session is one party's of one application of one organisation, and shows that party's meetings only; each
//! sign-in makes a new one, whose secret is stored as a hash. A cookie changes nothing, and opens no socket, for a page of
//! another site.

pub mod codes;
mod store;

use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::header::UPGRADE;
use axum::http::request::Parts;
use kernel::error::codes::{FOREIGN_ORIGIN, UNAUTHORIZED};
use kernel::http::{Client, Cookies};
use kernel::secret::token_hash;
use kernel::{DbError, Kernel, Problem, Secret};

use super::tokens;

/// The cookie of a signed-in party.
pub const PARTY_COOKIE: &str = "tandem_party";
/// Beginning of its value.
const SESSION_TOKEN: &str = "tp_";
/// Longest value that is looked up, in bytes.
const MAX_TOKEN: usize = 128;
/// A session ends so long after its sign-in, in seconds.
pub const SESSION_SECONDS: u32 = 14 * 86_400;
/// Hexadecimal digits of a [`PartySession::mark`].
const MARK_LENGTH: usize = 16;

/// Whom a token or a link signs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whose {
    /// The organisation.
    pub org: String,
    /// The application that knows the person.
    pub app: String,
    /// As which it knows them.
    pub uid: String,
    /// The meeting that the token or link was made for: where they land.
    pub meeting: i64,
    /// The token's id; empty for a link.
    pub jti: String,
}

/// Why somebody is not signed in, in plain words for whoever opened the link.
#[derive(Debug, thiserror::Error)]
pub enum SignInRefused {
    /// It was not made here, was changed, or none came.
    #[error("This link is not whole, or it was not made here.")]
    Unknown,
    /// Its time is over.
    #[error("It was good until a day after the meeting. Ask for a new one where you got it.")]
    Expired,
    /// It was taken back, by itself or with its meeting.
    #[error("It was taken back, or its meeting was cancelled. Ask for a new one where you got it.")]
    Revoked,
    /// A link for one use.
    #[error(
        "It was good for one visit and for a time, and one of the two is over. Ask for a new one where you got it."
    )]
    Used,
    /// The store failed; for the log.
    #[error("{0}")]
    Failed(String),
}

/// A party that is signed in. As an extractor it answers 401 to anybody else, 403 to a page of another
/// site, and 429 to whoever does too much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartySession {
    /// The organisation.
    pub org: Arc<str>,
    /// The application.
    pub app: Arc<str>,
    /// As which the application knows the person.
    pub uid: Arc<str>,
    /// The meeting that was signed in for.
    pub meeting: i64,
    /// The hash of the session's secret.
    session: Arc<str>,
}

impl PartySession {
    /// Stands for this party on a page, and tells nothing about it: what a page does, it does for whom it was made.
    #[must_use]
    pub fn mark(&self) -> String {
        let whole = token_hash(&[&*self.org, &*self.app, &*self.uid].join("\n"));
        whole.chars().take(MARK_LENGTH).collect()
    }

    /// Whether both are the same person of the same application, perhaps at two browsers.
    #[must_use]
    pub fn is_same_person(&self, other: &Self) -> bool {
        (&self.org, &self.app, &self.uid) == (&other.org, &other.app, &other.uid)
    }
}

/// Whom a sign-in token signs in. One of the time before this server is looked for in `tenant`.
///
/// # Errors
/// Why it signs nobody in.
pub async fn whose_token(kernel: &Kernel, token: &Secret, tenant: Option<&str>) -> Result<Whose, SignInRefused> {
    let token = token.expose();
    match tokens::recognise(kernel, token, tenant).await {
        Ok(Some(whose)) => Ok(whose),
        Ok(None) => match tokens::open(&kernel.secrets, token) {
            None => Err(SignInRefused::Unknown),
            Some(claims) if kernel.clock.now_ms() / 1_000 >= claims.exp => Err(SignInRefused::Expired),
            Some(_) => Err(SignInRefused::Revoked),
        },
        Err(error) => Err(SignInRefused::Failed(error.to_string())),
    }
}

/// Whom a one-time link signs in; it is used up by this.
///
/// # Errors
/// Why it signs nobody in.
pub async fn take_link(kernel: &Kernel, link: &str) -> Result<Whose, SignInRefused> {
    match store::take_link(kernel, &token_hash(link), kernel.clock.now_ms()).await {
        Ok(taken) => taken.ok_or(SignInRefused::Used),
        Err(error) => Err(SignInRefused::Failed(error.to_string())),
    }
}

/// Opens a session: the cookie's value.
///
/// # Errors
/// When the store fails.
pub async fn open(kernel: &Kernel, whose: &Whose) -> Result<Secret, DbError> {
    let token = format!("{SESSION_TOKEN}{}", kernel.ids.token());
    let now_ms = kernel.clock.now_ms();
    store::open(kernel, whose, &token_hash(&token), now_ms, now_ms + i64::from(SESSION_SECONDS) * 1_000).await?;
    Ok(token.into())
}

/// The party of a cookie, if its session is open.
///
/// # Errors
/// When the store fails.
pub async fn recognise(kernel: &Kernel, cookie: &str) -> Result<Option<PartySession>, DbError> {
    if cookie.len() > MAX_TOKEN || !cookie.starts_with(SESSION_TOKEN) {
        return Ok(None);
    }
    store::find(kernel, &token_hash(cookie), kernel.clock.now_ms()).await
}

/// Whether a party's session is still open.
///
/// # Errors
/// When the store fails.
pub async fn is_open(kernel: &Kernel, party: &PartySession) -> Result<bool, DbError> {
    Ok(store::find(kernel, &party.session, kernel.clock.now_ms()).await?.is_some())
}

/// Signs a party's browser out.
///
/// # Errors
/// When the store fails.
pub async fn close(kernel: &Kernel, party: &PartySession) -> Result<(), DbError> {
    store::close(kernel, &party.org, &party.session).await
}

impl<S> FromRequestParts<S> for PartySession
where
    S: Send + Sync,
    Kernel: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let kernel = Kernel::from_ref(state);
        let Some(cookie) = Cookies(&parts.headers).get(PARTY_COOKIE) else {
            return Err(Problem::new(UNAUTHORIZED));
        };
        let is_safe = parts.method.is_safe() && !parts.headers.contains_key(UPGRADE);
        if !is_safe && !kernel.is_own_page(&parts.headers) {
            return Err(Problem::new(FOREIGN_ORIGIN));
        }
        if let Some(party) = recognise(&kernel, cookie).await.map_err(Problem::internal)? {
            if !parts.method.is_safe() {
                // By the person: who signs in again has no more of it.
                kernel.limits.party_act(&party.mark(), kernel.clock.now_ms())?;
            }
            return Ok(party);
        }
        let Ok(client) = Client::from_request_parts(parts, state).await;
        Err(kernel.wrong_credential(client.ip))
    }
}
