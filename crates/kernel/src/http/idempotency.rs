//! Idempotency-Key on every POST: within 24 h the same key and body get the same answer, also after a crash.
//!
//! Invariant: a handler runs once per key, unless it failed. A key belongs to one credential, token or session; the
//! answer is durable before the client sees it, and sealed, since it may hold a key that is shown once. A request whose
//! client went away is finished all the same; of one that died with its process nobody knows the answer, and a
//! repetition is told so.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, HeaderMap, LOCATION};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::auth::session_cookie;
use super::edge::{Around, render};
use super::{Client, Hooks, bearer_token, read_body};
use crate::args;
use crate::credential::{APP_KEY, Credential, PERSON_TOKEN};
use crate::db::{Row, Write};
use crate::error::codes;
use crate::kernel::Kernel;
use crate::principal::Principal;
use crate::problem::Problem;
use crate::secret::hex;
use crate::time::rfc3339;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// Longest key, in characters.
const MAX_KEY: usize = 255;
/// Largest body and answer under a key, in bytes.
const MAX_BODY: usize = 1024 * 1024;
/// How long an answer is kept.
const KEPT_MS: i64 = 24 * 3_600_000;
/// What the second of two requests at once is told to wait.
const IN_FLIGHT_RETRY_S: u64 = 1;
/// Old rows go with one of so many new ones.
const SWEEP_ONE_IN: u64 = 64;
const PURPOSE: &str = "idempotency.answer";

crate::statements! {
    BEGIN = "insert into idempotency (principal, key, route, body_hash, state, created_at, expires_at) \
        values ($1, $2, $3, $4, 'running', $5, $6) \
        on conflict (principal, key) do update set route = excluded.route, body_hash = excluded.body_hash, \
        state = 'running', status = null, content_type = null, answer = null, \
        created_at = excluded.created_at, expires_at = excluded.expires_at \
        where idempotency.expires_at <= $5";
    FIND = "select route, body_hash, state, status, content_type, answer, created_at from idempotency \
        where principal = $1 and key = $2";
    FINISH = "update idempotency set state = 'done', status = $4, content_type = $5, answer = $6 \
        where principal = $1 and key = $2 and created_at = $3 and state = 'running'";
    FORGET = "delete from idempotency where principal = $1 and key = $2 and created_at = $3 and state = 'running'";
    SWEEP = "delete from idempotency where expires_at <= $1";
}

/// Which request a key stands for.
#[derive(Debug, Clone)]
struct Claim {
    credential: String,
    key: String,
    route: String,
    body_hash: String,
    begun_ms: i64,
}

/// The requests of this process that are under way. As many as there are tasks: their number is limited elsewhere.
#[derive(Clone, Debug, Default)]
pub(super) struct UnderWay(Arc<Mutex<HashSet<(String, String)>>>);

/// One of them, as long as it lives.
struct Mark {
    under_way: UnderWay,
    request: (String, String),
}

impl UnderWay {
    /// `None` when a request with this key is under way already.
    fn mark(&self, claim: &Claim) -> Option<Mark> {
        let request = (claim.credential.clone(), claim.key.clone());
        let new = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(request.clone());
        new.then(|| Mark { under_way: self.clone(), request })
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        self.under_way.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.request);
    }
}

/// What of an answer is kept, sealed.
#[derive(Serialize, Deserialize)]
struct Answer {
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<String>,
    body: String,
}

/// Answers a repeated POST from the store; runs and stores a first one.
pub(super) async fn layer(State(around): State<Around>, client: Client, request: Request, next: Next) -> Response {
    if request.method() != Method::POST || !request.headers().contains_key(KEY) {
        return next.run(request).await;
    }
    match once(around, client, request, next).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn once(around: Around, client: Client, request: Request, next: Next) -> Result<Response, Problem> {
    let kernel = around.kernel;
    let key = read_key(request.headers())?;
    let (mut parts, body) = request.into_parts();
    let bytes = read_body(body, MAX_BODY).await?;

    let credential = match bearer_token(&parts.headers) {
        Some(token) if token.starts_with(PERSON_TOKEN) || token.starts_with(APP_KEY) => {
            let credential = kernel.admit(token, client.ip).await?;
            parts.extensions.insert(credential.clone());
            Some(credential)
        }
        // A token of another kind is its desk's to know; a request without one may carry it in its body.
        Some(_) => None,
        None => match body_credential(&kernel, &around.hooks, parts.uri.path(), &bytes).await? {
            None => session_credential(&kernel, &mut parts).await?,
            found => found,
        },
    };
    let route = parts.uri.path_and_query().map_or("", |both| both.as_str()).to_owned();
    let request = Request::from_parts(parts, Body::from(bytes.clone()));
    let Some(credential) = credential else {
        // Whoever is not known yet gets no memory: the handler will say 401, or is keyless.
        return Ok(next.run(request).await);
    };
    let claim = Claim {
        credential: owner(&credential),
        key,
        route,
        body_hash: hex(&Sha256::digest(&bytes)),
        begun_ms: kernel.clock.now_ms(),
    };
    let first_or_again = {
        let (kernel, hooks, under_way) = (kernel.clone(), around.hooks, around.under_way);
        async move {
            // Marked before it is written: a row that says "running" without a mark is of a process that died.
            match under_way.mark(&claim) {
                Some(_mark) if begin(&kernel, &claim).await? => Ok(run(kernel, hooks, claim, request, next).await),
                mark => repeat(&kernel, &claim, mark.is_none()).await,
            }
        }
    };
    // On a task of its own: a client that gives up must find the answer when it asks again.
    let task = tracing::Instrument::instrument(first_or_again, tracing::Span::current());
    kernel.tasks.spawn(task).await.map_err(Problem::internal)?
}

/// Whose a key is. An administrator's session works in one organisation after the other.
fn owner(credential: &Credential) -> String {
    match &credential.principal {
        Principal::Administrator { org, .. } => format!("{} {org}", credential.id),
        _ => credential.id.to_string(),
    }
}

/// The session of a signed-in browser. One that is over, or is used by a page of another site, is left to the handler:
/// it refuses in its own way, a page with the way to the sign-in.
async fn session_credential(kernel: &Kernel, parts: &mut Parts) -> Result<Option<Credential>, Problem> {
    let Ok(Some(cookie)) = session_cookie(parts, kernel) else { return Ok(None) };
    let found = kernel.authenticate_session(cookie).await?;
    if let Some(credential) = &found {
        parts.extensions.insert(credential.clone());
    }
    Ok(found)
}

/// The credential inside a documented body. That it still is good is all that is asked; the handler checks the rest
/// of a first request, and an answer is repeated only for the very same body.
async fn body_credential(
    kernel: &Kernel,
    hooks: &Hooks,
    path: &str,
    body: &Bytes,
) -> Result<Option<Credential>, Problem> {
    match (hooks.body_token)(path, body) {
        Some(token) => Ok(kernel.authenticate(&token).await?),
        None => Ok(None),
    }
}

fn read_key(headers: &HeaderMap) -> Result<String, Problem> {
    let mut keys = headers.get_all(KEY).iter();
    let first = keys.next().and_then(|value| value.to_str().ok()).unwrap_or_default().trim();
    if first.is_empty() || first.len() > MAX_KEY || keys.next().is_some() {
        return Err(Problem::new(codes::INVALID_REQUEST)
            .detail(format!("Idempotency-Key: once, with 1 to {MAX_KEY} printable ASCII characters")));
    }
    Ok(first.to_owned())
}

/// Whether this request is the one that runs.
async fn begin(kernel: &Kernel, claim: &Claim) -> Result<bool, Problem> {
    let now_ms = claim.begun_ms;
    let mut writes = vec![Write::new(
        BEGIN,
        args![&claim.credential, &claim.key, &claim.route, &claim.body_hash, now_ms, now_ms + KEPT_MS],
    )];
    if kernel.ids.below(SWEEP_ONE_IN) == 0 {
        writes.push(Write::new(SWEEP, args![now_ms]));
    }
    let counts = kernel.db.writer().commit(writes).await.map_err(Problem::internal)?;
    Ok(counts.first() == Some(&1))
}

/// The answer to a key that is in use, by a request that is under way or by one that is over.
async fn repeat(kernel: &Kernel, claim: &Claim, under_way: bool) -> Result<Response, Problem> {
    let row = kernel.db.one(FIND, args![&claim.credential, &claim.key]).await.map_err(Problem::internal)?;
    let in_flight = || Problem::new(codes::IDEMPOTENCY_IN_FLIGHT).retry_after(IN_FLIGHT_RETRY_S);
    // Gone meanwhile: the first one failed. The next repetition runs.
    let row = row.ok_or_else(in_flight)?;
    let read = |column| row.text(column).map_err(Problem::internal);
    if read("route")? != claim.route || read("body_hash")? != claim.body_hash {
        return Err(Problem::new(codes::IDEMPOTENCY_MISMATCH));
    }
    if read("state")? != "done" {
        return Err(if under_way { in_flight() } else { unknown(row.int("created_at").map_err(Problem::internal)?) });
    }
    replay(kernel, &row).map_err(Problem::internal)
}

/// The server stopped, or its store failed, after the handler may have written and before its answer was noted.
fn unknown(begun_ms: i64) -> Problem {
    Problem::new(codes::IDEMPOTENCY_UNKNOWN).detail(format!(
        "the first request with this key began at {} and its answer was lost: it may have had its effect or not",
        rfc3339(begun_ms)
    ))
}

fn replay(kernel: &Kernel, row: &Row) -> Result<Response, Box<dyn std::error::Error + Send + Sync>> {
    let sealed = kernel.secrets.open_sealed(PURPOSE, &row.text("answer")?)?;
    let answer: Answer = serde_json::from_str(sealed.expose())?;
    let status = StatusCode::from_u16(u16::try_from(row.int("status")?)?)?;
    let mut response = (status, answer.body).into_response();
    let headers = response.headers_mut();
    headers.remove(CONTENT_TYPE);
    if let Some(content_type) = row.opt_text("content_type")? {
        headers.insert(CONTENT_TYPE, HeaderValue::from_str(&content_type)?);
    }
    if let Some(location) = &answer.location {
        headers.insert(LOCATION, HeaderValue::from_str(location)?);
    }
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}

/// Runs the handler and stores its answer before it is given.
async fn run(kernel: Kernel, hooks: Hooks, claim: Claim, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let mut response = next.run(request).await;
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        // As it will be answered: a documented route's error is repeated in its own envelope.
        response = render(&hooks, &path, problem);
    }
    // What is told while it is read has no end that is known, and is told anew to who asks again.
    let is_small = response.body().size_hint().upper().is_some_and(|bytes| bytes <= MAX_BODY as u64);
    let kept = if is_small && worth_keeping(response.status()) {
        let (parts, body) = response.into_parts();
        match read_body(body, MAX_BODY).await {
            Ok(bytes) => {
                let kept = keep(&kernel, &claim, &parts.headers, parts.status, &bytes).await;
                response = Response::from_parts(parts, Body::from(bytes));
                kept
            }
            Err(problem) => {
                response = problem.into_response();
                Ok(false)
            }
        }
    } else {
        Ok(false)
    };
    let done = match kept {
        Ok(true) => Ok(()),
        Ok(false) => forget(&kernel, &claim).await,
        Err(e) => Err(e),
    };
    if let Err(e) = done {
        // What was answered must be answered again: without the row that cannot be promised.
        return Problem::internal(e).into_response();
    }
    response
}

/// A failure of the server, or of the moment, is not the answer to the request: it may be tried again.
fn worth_keeping(status: StatusCode) -> bool {
    !status.is_server_error()
        && !matches!(status, StatusCode::UNAUTHORIZED | StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
}

async fn keep(
    kernel: &Kernel,
    claim: &Claim,
    headers: &HeaderMap,
    status: StatusCode,
    body: &[u8],
) -> Result<bool, Box<dyn std::error::Error + Send + Sync>> {
    let Ok(body) = std::str::from_utf8(body) else {
        return Ok(false);
    };
    let text_of = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let answer = Answer { location: text_of(LOCATION), body: body.to_owned() };
    let sealed = kernel.secrets.seal(PURPOSE, &serde_json::to_string(&answer)?)?;
    let args =
        args![&claim.credential, &claim.key, claim.begun_ms, i64::from(status.as_u16()), text_of(CONTENT_TYPE), sealed];
    kernel.db.run(FINISH, args).await?;
    Ok(true)
}

async fn forget(kernel: &Kernel, claim: &Claim) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    kernel.db.run(FORGET, args![&claim.credential, &claim.key, claim.begun_ms]).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_statement_prepares_on_both_engines() {
        for db in crate::db::testing::TestDb::each().await {
            let bad = db.unpreparable(&[ALL]).await;
            assert!(bad.is_empty(), "{bad:#?}");
        }
    }
}
