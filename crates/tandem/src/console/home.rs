//! The overview: what a visitor most likely came for.

use askama::Template;
use axum::extract::State as Given;
use axum::response::Response;
use calls::{Calls, statistics};
use kernel::http::Query;
use kernel::{Action, Kernel, Problem};

use super::door::Doors;
use super::door::Needs::SignIn;
use super::page::{Page, go, show};
use super::table::Table;
use super::visitor::Visitor;
use crate::calls::api;
use crate::flows::store;

/// Calls on the page.
const SHOWN: u32 = 8;
const DAY_MS: i64 = 24 * 3_600_000;

pub(super) fn doors(doors: Doors) -> Doors {
    doors.get("/console", SignIn, overview)
}

/// A number and what it counts.
struct Figure {
    label: &'static str,
    value: String,
    path: &'static str,
}

/// A first step that has not been taken: what, why, and where.
struct Next {
    what: &'static str,
    why: &'static str,
    path: String,
}

#[derive(Template)]
#[template(path = "console/home.html")]
struct HomePage {
    page: Page,
    figures: Vec<Figure>,
    next: Vec<Next>,
    /// The last calls that the visitor may see.
    calls: Table,
    failed: usize,
}

async fn overview(
    Given(kernel): Given<Kernel>,
    Given(calls): Given<Calls>,
    visitor: Visitor,
) -> Result<Response, Problem> {
    let Some(org) = visitor.org.clone() else { return Ok(go("/console/organisations")) };
    let last = Query(api::CallQuery { limit: Some(SHOWN), ..api::CallQuery::default() });
    let last = api::list(Given(calls.clone()), Given(kernel.clone()), visitor.principal().clone(), last).await?.0.calls;
    let failed = last.iter().filter(|call| call.cause.as_deref().is_some_and(|cause| cause != "normal")).count();
    let table = Table::new("Last calls", &super::calls::COLUMNS)
        .with(last.iter().map(|call| super::calls::row(&visitor, call)));
    show(&HomePage {
        page: visitor.page("Overview", "/console"),
        figures: figures(&kernel, &calls, &visitor, &org.id).await?,
        next: next(&kernel, &calls, &visitor, &org.id, last.iter().any(|call| call.answered_at.is_some())).await?,
        calls: table,
        failed,
    })
}

async fn figures(kernel: &Kernel, calls: &Calls, visitor: &Visitor, org: &str) -> Result<Vec<Figure>, Problem> {
    let mut figures = Vec::new();
    if visitor.may(Action::ReadCalls) {
        let live = calls.live_of(org).await.map_err(Problem::internal)?.len();
        figures.push(Figure { label: "calls up now", value: live.to_string(), path: "/console/live" });
    }
    if visitor.may(Action::ReadReports) {
        let now_ms = kernel.clock.now_ms();
        let day = statistics::by_quarter(&kernel.db, org, now_ms - DAY_MS, now_ms).await.map_err(Problem::internal)?;
        let (all, answered) =
            day.iter().fold((0, 0), |(all, answered), part| (all + part.calls, answered + part.answered));
        figures.push(Figure { label: "calls in 24 hours", value: all.to_string(), path: "/console/reports" });
        if all > 0 {
            let rate = format!("{} %", answered * 100 / all);
            figures.push(Figure { label: "of them answered", value: rate, path: "/console/reports" });
        }
    }
    if visitor.may(Action::ReadPeople) {
        let extensions = calls::extensions(kernel, org).await.map_err(Problem::internal)?;
        let online = extensions.iter().filter(|entry| calls.presence(org, &entry.number).registered).count();
        let value = format!("{online} of {}", extensions.len());
        figures.push(Figure { label: "phones online", value, path: "/console/people" });
    }
    Ok(figures)
}

/// What somebody who begins has still to do.
async fn next(
    kernel: &Kernel,
    calls: &Calls,
    visitor: &Visitor,
    org: &str,
    has_talked: bool,
) -> Result<Vec<Next>, Problem> {
    let mut next = Vec::new();
    let flow = store::list(&kernel.db, org, "", 1).await.map_err(Problem::internal)?.into_iter().next();
    let may_hear = visitor.may(Action::RunFlow) && visitor.may(Action::ReadFlows);
    if let Some(flow) = flow.as_ref().filter(|_| !has_talked && may_hear) {
        let why = "Your phone rings in the page, and you see each step of the flow as you hear it.";
        next.push(Next { what: "Hear a flow", why, path: format!("/console/flows/{}", flow.id) });
    }
    if visitor.may(Action::ManagePeople) {
        let extensions = calls::extensions(kernel, org).await.map_err(Problem::internal)?;
        if !extensions.iter().any(|entry| calls.presence(org, &entry.number).registered) {
            let why = "No phone is online. Open the one in this browser, or register a softphone with an extension.";
            next.push(Next { what: "Bring a phone online", why, path: "/phone".to_owned() });
        }
    }
    if visitor.may(Action::ManageFlows) && flow.is_none() {
        let why = "What happens on a call stands in a flow. Start from a template.";
        next.push(Next { what: "Write a flow", why, path: "/console/flows/new".to_owned() });
    }
    if visitor.may(Action::ManageNumbers)
        && calls::public_numbers(kernel, org).await.map_err(Problem::internal)?.is_empty()
    {
        let why = "A number from outside leads to a person, a team or a flow.";
        next.push(Next { what: "Bind a number", why, path: "/console/numbers/new".to_owned() });
    }
    Ok(next)
}
