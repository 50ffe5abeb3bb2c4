//! Our own routes of the desk, under `/v1/chat`. Handlers read, ask the desk, and answer; no rule stands here.

use axum::extract::FromRef;
use kernel::Kernel;
use utoipa_axum::router::OpenApiRouter;

use super::Chats;

/// All routes under `/v1/chat`.
pub fn routes<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    Chats: FromRef<S>,
    Kernel: FromRef<S>,
{
    OpenApiRouter::new()
}
