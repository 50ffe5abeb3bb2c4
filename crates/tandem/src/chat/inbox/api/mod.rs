//! The inbox by HTTP. Handlers read, ask the desk, and answer; no rule stands here.

mod agents;
mod finding;
mod macros;
mod replies;
mod rooms;

use axum::extract::FromRef;
use kernel::Kernel;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::chat::Chats;

/// All routes of the inbox.
pub(in crate::chat) fn routes<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    Chats: FromRef<S>,
    Kernel: FromRef<S>,
{
    OpenApiRouter::new()
        .routes(routes!(agents::list))
        .routes(routes!(agents::say))
        .routes(routes!(agents::direct))
        .routes(routes!(agents::teams))
        .routes(routes!(rooms::take))
        .routes(routes!(rooms::release))
        .routes(routes!(rooms::transfer))
        .routes(routes!(rooms::tags, rooms::set_tags))
        .routes(routes!(rooms::all_tags))
        .routes(routes!(rooms::remove_tag))
        .routes(routes!(rooms::card, rooms::describe))
        .routes(routes!(replies::list, replies::create))
        .routes(routes!(replies::read, replies::change, replies::remove))
        .routes(routes!(macros::list, macros::create))
        .routes(routes!(macros::read, macros::change, macros::remove))
        .routes(routes!(macros::run))
        .routes(routes!(finding::search))
        .routes(routes!(finding::report))
        .routes(routes!(finding::table))
}
