//! Chat in real time: the WebSocket and the event stream, one vocabulary.

use axum::Router;
use axum::extract::FromRef;
use kernel::Kernel;

use super::Chats;

/// `/v1/chat/socket` and `/v1/chat/events`.
pub fn router<S>() -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    Chats: FromRef<S>,
    Kernel: FromRef<S>,
{
    Router::new()
}
