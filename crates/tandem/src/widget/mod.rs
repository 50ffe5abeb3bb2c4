//! The chat on a customer's page, and the same chat full page by link. It decides nothing: `chat` does.
//!
//! Invariant: a page of another site holds our frame only when the application lists it (`frame-ancestors`), and no public
//! id that stands in an address opens anything that is not public.

mod page;
mod refusal;
mod script;

use axum::Router;
use axum::routing::get;

pub use refusal::envelope;

use crate::app::State;

/// `/w/<application>.js`, the page in its frame, `/c/<link>`.
pub fn router(state: &State) -> Router {
    Router::new()
        .route("/w/{file}", get(script::serve))
        .route("/w/{app}/frame", get(page::frame))
        .route("/c/{link}", get(page::by_link))
        .route("/c/{link}/{product}", get(page::by_link_about))
        .with_state(state.clone())
}
