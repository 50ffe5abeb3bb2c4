//! The routes of document 002, in its shapes and envelopes.

use axum::extract::FromRef;
use axum::response::Response;
use kernel::{Kernel, Problem};
use utoipa_axum::router::OpenApiRouter;

use super::Chats;

/// All documented routes.
pub fn routes<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    Chats: FromRef<S>,
    Kernel: FromRef<S>,
{
    OpenApiRouter::new()
}

/// A problem of a documented route in the document's own words; none for other paths.
#[must_use]
pub fn envelope(_path: &str, _problem: &Problem) -> Option<Response> {
    None
}
