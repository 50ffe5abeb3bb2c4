//! The overview: what a visitor most likely came for.

use askama::Template;
use axum::extract::State as Given;
use axum::response::Response;
use calls::{CallFilter, CallState, Calls};
use kernel::{Action, Problem};

use super::door::Doors;
use super::door::Needs::SignIn;
use super::page::{Page, go, show};
use super::visitor::Visitor;

pub(super) fn doors(doors: Doors) -> Doors {
    doors.get("/console", SignIn, overview)
}

/// A number and what it counts.
struct Figure {
    label: &'static str,
    value: String,
    path: &'static str,
}

#[derive(Template)]
#[template(path = "console/home.html")]
struct HomePage {
    page: Page,
    figures: Vec<Figure>,
}

async fn overview(Given(calls): Given<Calls>, visitor: Visitor) -> Result<Response, Problem> {
    let Some(org) = &visitor.org else { return Ok(go("/console/organisations")) };
    let mut figures = Vec::new();
    if visitor.may(Action::ReadCalls) {
        let live = CallFilter { state: Some(CallState::Answered), ..CallFilter::default() };
        let live = calls.list(&org.id, live, calls::MAX_PAGE).await.map_err(Problem::internal)?.calls.len();
        figures.push(Figure { label: "Calls up now", value: live.to_string(), path: "/console" });
    }
    show(&HomePage { page: visitor.page("Overview", "/console"), figures })
}
