//! Which pages may use an application's chat: the fetch standard's CORS, by the application's own list.
//!
//! Invariant: an origin is echoed only after an application said yes to it; our own pages need nobody's yes, and a
//! request without an Origin is no page's. Source: docs/contracts/chat.md, "Security of a public widget".

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ORIGIN, VARY,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use kernel::error::codes;
use kernel::{Db, DbError, Kernel, Problem};

use super::{ChatSettings, Chats, store};

/// What a page of another origin may send and see.
const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE");
const REQUEST_HEADERS: HeaderValue =
    HeaderValue::from_static("authorization, content-type, idempotency-key, if-none-match, last-event-id");
const RESPONSE_HEADERS: HeaderValue = HeaderValue::from_static("etag, retry-after, x-request-id");
/// Seconds for which a browser remembers that it may ask.
const MAX_AGE_S: HeaderValue = HeaderValue::from_static("600");
/// So long the lists of all applications are believed, milliseconds.
const BELIEVED_MS: i64 = 2_000;

/// The origin that an application has said yes to, told to [`layer`] by whoever asked it.
#[derive(Clone, Debug, Default)]
struct Allowed(Arc<OnceLock<HeaderValue>>);

/// Whether the page that sent a request may use the chat of the application with these settings.
///
/// # Errors
/// 403 for a page whose origin the application does not list.
pub fn admit(kernel: &Kernel, parts: &Parts, settings: &ChatSettings) -> Result<(), Problem> {
    listed(kernel, &parts.headers, settings)?;
    if !kernel.is_own_page(&parts.headers) {
        show(parts);
    }
    Ok(())
}

/// Whether these settings list the page that sent a request, if one did.
///
/// # Errors
/// 403 for a page whose origin they do not list.
pub fn listed(kernel: &Kernel, headers: &HeaderMap, settings: &ChatSettings) -> Result<(), Problem> {
    let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
    if kernel.is_own_page(headers) || origin.to_str().is_ok_and(|origin| settings.allows_origin(origin)) {
        return Ok(());
    }
    Err(Problem::new(codes::FOREIGN_ORIGIN).detail("allowed_origins of the application does not list it"))
}

/// Lets a page read that its credential is not good. That names no application, so it is answered as [`preflight`] is:
/// for an origin that any application lists.
///
/// # Errors
/// What the store says.
pub async fn show_refusal(chats: &Chats, parts: &Parts) -> Result<(), Problem> {
    let Some(origin) = parts.headers.get(ORIGIN) else { return Ok(()) };
    let lists = chats.lists().get(&chats.kernel().db, chats.now_ms()).await.map_err(Problem::internal)?;
    if origin.to_str().is_ok_and(|origin| lists.iter().any(|list| list.allows_origin(origin))) {
        show(parts);
    }
    Ok(())
}

/// Lets the page that sent a request read the answer.
fn show(parts: &Parts) {
    if let (Some(origin), Some(allowed)) = (parts.headers.get(ORIGIN), parts.extensions.get::<Allowed>()) {
        let _already = allowed.0.set(origin.clone());
    }
}

/// Lets the pages that [`admit`] took read the answers, refusals among them.
pub async fn layer(mut request: Request, next: Next) -> Response {
    let allowed = Allowed::default();
    request.extensions_mut().insert(allowed.clone());
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.append(VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = allowed.0.get() {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, RESPONSE_HEADERS);
    }
    response
}

/// Answers the question that browsers ask before a request of another origin's page.
///
/// # Errors
/// What the store says.
pub async fn preflight(State(chats): State<Chats>, headers: HeaderMap) -> Result<Response, Problem> {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let Some(origin) = headers.get(ORIGIN) else { return Ok(response) };
    let lists = chats.lists().get(&chats.kernel().db, chats.now_ms()).await.map_err(Problem::internal)?;
    if origin.to_str().is_ok_and(|origin| lists.iter().any(|list| list.allows_origin(origin))) {
        let answer = response.headers_mut();
        answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        answer.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS);
        answer.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE_S);
    }
    Ok(response)
}

/// The lists of all applications, remembered for a moment: a flood of preflights is no flood of reads.
#[derive(Debug, Default)]
pub(super) struct Lists(Mutex<Option<(Arc<[ChatSettings]>, i64)>>);

impl Lists {
    async fn get(&self, db: &Db, now_ms: i64) -> Result<Arc<[ChatSettings]>, DbError> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((lists, read_ms)) = known
            && (0..BELIEVED_MS).contains(&(now_ms - read_ms))
        {
            return Ok(lists);
        }
        let lists: Arc<[ChatSettings]> = store::settings_with_origins(db).await?.into();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((lists.clone(), now_ms));
        Ok(lists)
    }
}
