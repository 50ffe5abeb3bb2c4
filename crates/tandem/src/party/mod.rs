//! The face of a party to a meeting: the page where people see their meetings, call, and answer in the browser, and the
//! doors by which they come in. It decides nothing: `meetings` does.
//!
//! Invariant: a page shows one party its own meetings, and of the other party a name at most. A form does what it was made
//! for only for whom it was made.

mod acts;
mod card;
mod cards;
mod entry;
mod fields;
mod live;
mod page;
mod refusal;
mod words;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::{get, post};

pub use refusal::envelope;

use crate::app::State;
use crate::console::decorate;

/// Every route of the face.
pub fn router(state: &State) -> Router {
    Router::new()
        .route("/sessions", get(entry::ask).post(entry::enter))
        .route("/m/{link}", get(entry::ask_by_link).post(entry::enter_by_link))
        .route("/meetings", get(page::meetings))
        .route("/meetings/cards", get(page::cards))
        .route("/meetings/live", get(live::follow))
        .route("/meetings/sign-out", post(entry::leave))
        .route("/meetings/{id}/calendar.ics", get(page::calendar))
        .merge(acts::routes())
        .with_state(state.clone())
        .layer(from_fn(manners))
}

/// The headers of every page.
async fn manners(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    decorate(&mut response);
    response
}
