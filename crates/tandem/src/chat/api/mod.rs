//! Our own routes of the desk, under `/v1/chat`. Handlers read, ask the desk, and answer; no rule stands here.

mod asker;
mod inside;
mod messages;
mod products;
mod rooms;

use axum::extract::FromRef;
use axum::middleware::from_fn;
use axum::routing::options;
use kernel::Kernel;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) use asker::Caller;
pub(super) use rooms::RoomPath;

use super::{Chats, origins};

/// Every path of our own here: pages of other sites that use an application's chat ask first.
const PATHS: [&str; 7] = [
    "/v1/chat/rooms",
    "/v1/chat/rooms/{room}",
    "/v1/chat/rooms/{room}/close",
    "/v1/chat/rooms/{room}/reopen",
    "/v1/chat/rooms/{room}/read",
    "/v1/chat/rooms/{room}/messages",
    "/v1/chat/rooms/{room}/messages/{seq}",
];

/// All routes under `/v1/chat`.
pub fn routes<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    Chats: FromRef<S>,
    Kernel: FromRef<S>,
{
    let router = OpenApiRouter::new()
        .routes(routes!(rooms::list, rooms::open))
        .routes(routes!(rooms::read))
        .routes(routes!(rooms::close))
        .routes(routes!(rooms::reopen))
        .routes(routes!(rooms::mark))
        .routes(routes!(messages::list, messages::send))
        .routes(routes!(messages::edit, messages::delete))
        .routes(routes!(inside::list))
        .routes(routes!(inside::read))
        .routes(routes!(inside::notes, inside::note))
        .routes(routes!(products::list))
        .routes(routes!(products::set));
    let asked = |router: OpenApiRouter<S>, path: &&str| router.route(path, options(origins::preflight));
    PATHS
        .iter()
        .fold(router, asked)
        .layer(from_fn(origins::layer))
        .merge(super::push::api::routes())
        .merge(super::visit::api::routes())
        .merge(super::inbox::api::routes())
}
