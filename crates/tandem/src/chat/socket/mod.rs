//! Chat in real time: `GET /v1/chat/socket` (WebSocket) and `GET /v1/chat/events` (server-sent events), one vocabulary.
//!
//! `wire` has the words (pure), `link` one WebSocket by the RFC, `session` one client's conversation, `follow` what a client
//! hears and how it catches up, `door` who may come in, `pulse` the one timer of all.

mod door;
mod events;
mod follow;
mod link;
mod orders;
mod proof;
mod pulse;
mod session;
pub mod wire;

use axum::Router;
use axum::extract::{FromRef, State};
use axum::http::HeaderMap;
use axum::middleware::from_fn;
use axum::response::Response;
use axum::routing::{get, options};
use kernel::Problem;
use kernel::http::{Client, Query};
use serde::Deserialize;
use utoipa_axum::{router::OpenApiRouter, routes};

pub use door::Door;
use door::Page;
use link::Handshake;
use proof::Proof;
use session::Visit;

use super::{Chats, origins};

/// The route of streams.
pub fn routes<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    Chats: FromRef<S>,
    Door: FromRef<S>,
{
    let events = OpenApiRouter::new().routes(routes!(events::follow));
    // Pages of other sites ask first, since the credential is a header.
    events.route("/v1/chat/events", options(origins::preflight)).layer(from_fn(origins::layer))
}

/// The route of sockets: OpenAPI has no word for them, `wire` has.
pub fn router<S>() -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    Door: FromRef<S>,
{
    Router::new().route("/v1/chat/socket", get(socket))
}

/// Which widget.
#[derive(Debug, Default, Deserialize)]
struct SocketQuery {
    /// The application of the page's widget, if it says: then a page of a site that it does not allow is refused at once,
    /// not only after its hello.
    app: Option<String>,
}

/// Opens a chat's socket; its credential comes with the first frame, unless the request carries it.
async fn socket(
    State(door): State<Door>,
    client: Client,
    headers: HeaderMap,
    Query(query): Query<SocketQuery>,
    handshake: Handshake,
) -> Result<Response, Problem> {
    let page = Page::of(&headers, &door.kernel);
    if let Some(app) = &query.app {
        door.admits_widget(&page, app).await?;
    }
    let place = door.enter()?;
    let visit = Visit { proof: Proof::of_request(&headers, &page), page, address: client.ip };
    let (answer, link) = handshake.accept();
    let tasks = door.kernel.tasks.clone();
    tasks.spawn(async move {
        if let Some(link) = Box::pin(link).await {
            session::serve(door, link, visit).await;
        }
        drop(place);
    });
    Ok(answer)
}
