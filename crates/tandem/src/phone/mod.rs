//! Desk of browser phones: the WebSocket by which a phone in a page signals. Its frames are `voice::rtc::frame`'s; this
//! desk only says who may have a phone, and carries the frames.

mod socket;

use axum::Router;
use axum::routing::get;

use crate::app::State;

/// The phone's route. It is no operation of the API's document: OpenAPI has no words for a WebSocket's frames.
pub(crate) fn router(state: &State) -> Router {
    Router::new().route("/v1/rtc", get(socket::open)).with_state(state.clone())
}
