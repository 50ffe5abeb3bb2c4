//! The chat on a customer's page, and the same chat full page by link.

use axum::Router;

use crate::app::State;

/// `/w/<application>.js`, the page in its frame, `/c/<link>`.
pub fn router(state: &State) -> Router {
    Router::new().with_state(state.clone())
}
