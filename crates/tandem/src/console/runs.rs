//! Runs of flows: which ran when, which way each took, what it knew in the end.

use askama::Template;
use axum::extract::State as Given;
use axum::response::Response;
use calls::{CallState, Calls};
use kernel::http::{PageQuery, Path, Query, cursor};
use kernel::time::rfc3339;
use kernel::{Action, Kernel, Problem};
use serde::Deserialize;

use super::calls::{graph_of, state_of};
use super::door::Doors;
use super::door::Needs::May;
use super::graph::Graph;
use super::list::ListPage;
use super::page::{Page, show};
use super::table::{Cell, Table};
use super::visitor::Visitor;
use crate::flows::path::{self, Visit};
use crate::flows::store::{self, RunLine};

const PATH: &str = "/console/runs";

pub(super) fn doors(doors: Doors) -> Doors {
    doors.get(PATH, May(Action::ReadFlows), list).get("/console/runs/{id}", May(Action::ReadFlows), show_run)
}

/// How a run ended: as its call did, or by leaving its chat to people.
fn ended(cause: Option<&str>) -> Cell {
    match cause {
        Some(left @ ("handed_over" | "taken_over" | "closed")) => Cell::State(left.replace('_', " "), "plain"),
        other => state_of(CallState::Completed, other),
    }
}

/// The rows of a list of runs.
pub(super) fn row(run: RunLine) -> Vec<Cell> {
    let state = match (&run.error, run.is_running, run.cause.as_deref()) {
        (Some(_), ..) => Cell::State("could not begin".to_owned(), "bad"),
        (None, true, _) => Cell::State("running".to_owned(), "good"),
        (None, false, cause) => ended(cause),
    };
    vec![
        Cell::TimeLink(rfc3339(run.started_ms), format!("{PATH}/{}", run.id)),
        match run.flow {
            Some((id, version, name)) => {
                Cell::link(format!("{name}, version {version}"), format!("/console/flows/{id}"))
            }
            None => Cell::Quiet("posted".to_owned()),
        },
        Cell::optional(Some(run.customer)),
        state,
    ]
}

pub(super) const COLUMNS: [&str; 4] = ["Started", "Flow", "With", "End"];

async fn list(
    Given(kernel): Given<Kernel>,
    visitor: Visitor,
    Query(query): Query<PageQuery>,
) -> Result<Response, Problem> {
    let limit = query.limit()?;
    let before = query.after()?;
    let found = store::runs(&kernel.db, visitor.org_id(), before.as_deref(), None, limit).await;
    let found = found.map_err(Problem::internal)?;
    let full = usize::try_from(limit).is_ok_and(|limit| found.len() == limit);
    let more = found.last().filter(|_| full).map(|last| format!("{PATH}?cursor={}", cursor(&last.id)));
    let table = Table::new("Runs", &COLUMNS).with(found.into_iter().map(row));
    let about = "Each time that a flow ran on a call, whether it was saved or posted, or answered a chat.";
    let empty = "No flow has run yet. Save one and call yourself with it, or post one by API.";
    let mut page = ListPage::new(visitor.page("Runs", PATH), about, table, empty).action(
        visitor.may(Action::ManageFlows),
        "New flow",
        "/console/flows/new",
    );
    page.more = more;
    show(&page)
}

#[derive(Debug, Deserialize)]
struct RunPath {
    id: String,
}

#[derive(Template)]
#[template(path = "console/run.html")]
struct RunPage {
    page: Page,
    id: String,
    call: String,
    room: Option<String>,
    started_at: String,
    error: Option<String>,
    state: Cell,
    graph: Option<Graph>,
    visits: Vec<Visit>,
    /// Name and value.
    variables: Vec<(String, String)>,
    body: String,
}

async fn show_run(
    Given(kernel): Given<Kernel>,
    Given(calls): Given<Calls>,
    visitor: Visitor,
    Path(path): Path<RunPath>,
) -> Result<Response, Problem> {
    let org = visitor.org_id();
    let run = store::run(&kernel.db, org, &path.id).await.map_err(Problem::internal)?.ok_or_else(Problem::not_found)?;
    let call = calls.get(org, &run.call).await.map_err(Problem::internal)?;
    let is_up = call.as_ref().is_some_and(|call| call.state != CallState::Completed);
    let is_up = is_up || (run.room.is_some() && run.ended_ms.is_none());
    let state = match (&run.error, &call) {
        (None, None) if run.room.is_some() && is_up => Cell::State("running".to_owned(), "good"),
        (None, None) if run.room.is_some() => ended(run.cause.as_deref()),
        (Some(_), _) => Cell::State("could not begin".to_owned(), "bad"),
        (None, Some(call)) => state_of(call.state, call.cause.as_deref()),
        (None, None) => Cell::Quiet("its call is forgotten".to_owned()),
    };
    let events = path::events_of(&kernel, org, run.key(), "step.").await.map_err(Problem::internal)?;
    let variables = run
        .variables
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)));
    let body = store::without_secrets(run.body.clone());
    show(&RunPage {
        page: visitor.page("Run", PATH),
        call: run.call.clone(),
        room: run.room.clone(),
        started_at: rfc3339(run.started_ms),
        state,
        graph: graph_of(&kernel, org, &run.id, is_up).await?,
        visits: path::visited(&events, !is_up),
        variables: variables.collect(),
        body: serde_json::to_string_pretty(&body).unwrap_or_default(),
        error: run.error,
        id: run.id,
    })
}
