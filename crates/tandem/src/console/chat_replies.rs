//! Canned replies, macros and tags. What the page does stands in web/assets/replies.js, over the routes of `/v1/chat`.

use askama::Template;
use axum::response::Response;
use kernel::{Action, Problem};

use super::door::Doors;
use super::door::Needs::MayEither;
use super::page::{Page, show};
use super::visitor::Visitor;

const PATH: &str = "/console/chat/replies";

pub(super) fn doors(doors: Doors) -> Doors {
    doors.get(PATH, MayEither(Action::WorkQueue, Action::ReadChats), replies)
}

#[derive(Template)]
#[template(path = "console/replies.html")]
struct RepliesPage {
    page: Page,
    /// Whether the visitor changes them.
    manages: bool,
}

async fn replies(visitor: Visitor) -> Result<Response, Problem> {
    show(&RepliesPage { page: visitor.page("Replies and macros", PATH), manages: visitor.may(Action::ManageChats) })
}
