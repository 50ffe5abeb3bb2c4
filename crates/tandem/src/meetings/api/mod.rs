//! The desk's routes: those of document 000 and our own, under both bases the same handlers.
//! Handlers read, ask the desk, and answer; no rule stands here.

mod actions;
mod asker;
pub mod codes;
mod fields;
mod post;
mod read;
mod view;

use axum::extract::FromRef;
use kernel::Kernel;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::Meetings;

pub use view::MeetingView;

/// Where a meeting's routes stand.
const BASES: [&str; 2] = ["/v1", "/api/v1"];

/// All routes of the desk.
pub fn routes<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    Meetings: FromRef<S>,
    Kernel: FromRef<S>,
{
    let mut router = OpenApiRouter::new();
    for base in BASES {
        let below = OpenApiRouter::new()
            .routes(routes!(read::list, post::create))
            .routes(routes!(read::read, actions::change))
            .routes(routes!(actions::call))
            .routes(routes!(actions::extend))
            .routes(routes!(actions::finish))
            .routes(routes!(actions::cancel))
            .routes(routes!(post::links));
        router = router.nest(base, below);
    }
    router
}
