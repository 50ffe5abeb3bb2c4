//! Our own routes of the desk, under `/v1/chat`. Handlers read, ask the desk, and answer; no rule stands here.

mod asker;
mod inside;
mod messages;
mod products;
mod rooms;

use axum::extract::FromRef;
use kernel::Kernel;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) use asker::Caller;
pub(super) use rooms::RoomPath;

use super::Chats;

/// All routes under `/v1/chat`.
pub fn routes<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    Chats: FromRef<S>,
    Kernel: FromRef<S>,
{
    OpenApiRouter::new()
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
        .routes(routes!(products::set))
        .merge(super::visit::api::routes())
        .merge(super::inbox::api::routes())
}
