//! Desk of browser phones: the WebSockets by which a phone in a page signals, our own by the frames of
//! `voice::rtc::frame`, others by SIP. Here it is only said who may have a phone, and the frames are carried.

mod owner;
mod sip;
mod socket;

use axum::Router;
use axum::routing::get;

use crate::app::State;

/// The phones' routes. They are no operations of the API's document: OpenAPI has no words for a WebSocket's frames.
pub(crate) fn router(state: &State) -> Router {
    Router::new().route("/v1/rtc", get(socket::open)).route("/sip", get(sip::open)).with_state(state.clone())
}
