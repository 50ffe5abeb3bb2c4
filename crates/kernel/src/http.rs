//! The manners of HTTP that every route shares: request ids, real addresses, limits, credentials, idempotency, errors.
//!
//! Invariant: whatever goes wrong in front of or inside a handler, the client gets a `Problem` (or the envelope of a
//! documented route made from it) with a request id, and the access log one line without secrets.

mod auth;
mod body;
mod client;
mod edge;
mod idempotency;
mod page;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::Response;

pub use auth::{Cookies, SESSION_COOKIE, Tenant, bearer_token, presented_token};
pub use body::{Json, MAX_JSON_BODY, Path, Query, find_nul, read_body, read_json};
pub use client::{Client, Peer};
pub use edge::RequestId;
pub use page::{DEFAULT_PAGE, MAX_PAGE, PageQuery, cursor};

use crate::error::codes;
use crate::kernel::Kernel;
use crate::problem::Problem;

/// What desks with documented routes tell the layers about them. Both are asked with the path of the request.
#[derive(Debug, Clone, Copy)]
pub struct Hooks {
    /// The answer of a route whose errors have a documented envelope; `None` = problem+json.
    pub envelope: fn(path: &str, problem: &Problem) -> Option<Response>,
    /// The credential inside the body of a route that documents it there.
    pub body_token: fn(path: &str, body: &[u8]) -> Option<String>,
}

impl Default for Hooks {
    fn default() -> Self {
        Self { envelope: |_, _| None, body_token: |_, _| None }
    }
}

/// Puts the shared layers around the routes of the whole server. Outermost first: the edge (request id, address,
/// log, envelope), per-address limits, Idempotency-Key, panics.
pub fn layers<S>(router: Router<S>, kernel: &Kernel, hooks: Hooks) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    let around = edge::Around { kernel: kernel.clone(), hooks, under_way: idempotency::UnderWay::default() };
    router
        .fallback(async || Problem::not_found())
        .method_not_allowed_fallback(async || Problem::new(codes::METHOD_NOT_ALLOWED))
        .layer(from_fn(edge::catch_panic))
        .layer(from_fn_with_state(around.clone(), idempotency::layer))
        .layer(from_fn_with_state(kernel.clone(), edge::admit))
        .layer(from_fn_with_state(around, edge::layer))
}

#[cfg(test)]
mod tests;
