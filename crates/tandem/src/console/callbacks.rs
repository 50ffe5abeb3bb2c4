//! Callbacks: calls that flows have booked, those to come and how the others ended.
//!
//! Invariant: one is called off here as by `/v1/callbacks`, before the two talk.

use askama::Template;
use axum::extract::State as Given;
use axum::response::Response;
use kernel::http::{PageQuery, Path, Query, cursor};
use kernel::time::rfc3339;
use kernel::{Action, Problem};
use serde::Deserialize;

use super::door::Doors;
use super::door::Needs::May;
use super::page::{Page, done, show};
use super::table::{Cell, Table};
use super::visitor::Visitor;
use crate::flows::Flows;
use crate::flows::api::callbacks::call_off;
use crate::flows::due::State;
use crate::flows::store::{self, Callback, CallbackFilter};

const PATH: &str = "/console/callbacks";
/// Of those to come.
const MAX_COMING: i64 = 500;

pub(super) fn doors(doors: Doors) -> Doors {
    doors.get(PATH, May(Action::ReadCalls), list).post(
        "/console/callbacks/{id}/cancel",
        May(Action::ControlCalls),
        cancel,
    )
}

#[derive(Template)]
#[template(path = "console/callbacks.html")]
struct CallbacksPage {
    page: Page,
    /// Empty on the pages of older ones.
    coming: Option<Table>,
    over: Table,
    more: Option<String>,
}

/// How far it is, or how it ended.
fn state_of(callback: &Callback) -> Cell {
    let (word, colour) = match (callback.state, callback.reason.as_str()) {
        (State::Scheduled, _) if callback.attempt > 0 => ("is tried again", "busy"),
        (State::Scheduled, _) => ("booked", "plain"),
        (State::Calling, _) => ("the first party rings", "busy"),
        (State::Connecting, _) => ("the second party rings", "busy"),
        (State::Connected, _) => ("they talk", "good"),
        (State::Completed, "" | "completed") => ("they talked", "good"),
        (State::Missed, "canceled") => ("called off", "plain"),
        (State::Completed | State::Missed, reason) => return Cell::State(reason.replace('_', " "), "bad"),
    };
    Cell::State(word.to_owned(), colour)
}

/// Who is called, and by which call it was booked.
fn parties(callback: &Callback) -> [Cell; 3] {
    [
        Cell::text(&callback.customer),
        Cell::text(&callback.entity),
        Cell::link("booked in this call", format!("/console/calls/{}", callback.call)),
    ]
}

fn coming_row(visitor: &Visitor, callback: &Callback) -> Vec<Cell> {
    let may_cancel = visitor.may(Action::ControlCalls) && callback.state != State::Connected;
    let mut cells = vec![Cell::Time(rfc3339(callback.due_ms))];
    cells.extend(parties(callback));
    cells.push(Cell::text(format!("{} of {}", callback.attempt, callback.attempts)));
    cells.push(state_of(callback));
    cells.push(if may_cancel {
        let sure = "Call this callback off? Nobody is called then.";
        Cell::Button("Cancel", format!("{PATH}/{}/cancel", callback.id), Some(sure))
    } else {
        Cell::Empty
    });
    cells
}

fn past_row(callback: &Callback) -> Vec<Cell> {
    let mut cells = vec![Cell::time(callback.ended_ms.map(rfc3339))];
    cells.extend(parties(callback));
    cells.push(match callback.last_call.as_str() {
        "" => Cell::Empty,
        call => Cell::link("the callback", format!("/console/calls/{call}")),
    });
    cells.push(state_of(callback));
    cells
}

async fn list(
    Given(flows): Given<Flows>,
    visitor: Visitor,
    Query(query): Query<PageQuery>,
) -> Result<Response, Problem> {
    let (db, org) = (&flows.kernel().db, visitor.org_id());
    let (before, limit) = (query.after()?, query.limit()?);
    let coming = match &before {
        Some(_) => None,
        None => {
            let found = store::callbacks_coming(db, org, MAX_COMING).await.map_err(Problem::internal)?;
            let columns = ["Due", "Customer", "With", "Booked", "Attempts", "State", ""];
            Some(Table::new("Callbacks to come", &columns).with(found.iter().map(|one| coming_row(&visitor, one))))
        }
    };
    let filter = CallbackFilter { before: before.as_deref(), ..CallbackFilter::default() };
    let found = store::callbacks(db, org, filter, limit).await.map_err(Problem::internal)?;
    let full = usize::try_from(limit).is_ok_and(|limit| found.len() == limit);
    let more = found.last().filter(|_| full).map(|last| format!("{PATH}?cursor={}", cursor(&last.id)));
    let ended = found.iter().filter(|callback| callback.ended_ms.is_some()).map(past_row);
    let over =
        Table::new("Callbacks that are over", &["Ended", "Customer", "With", "Booked", "Call", "End"]).with(ended);
    show(&CallbacksPage { page: visitor.page("Callbacks", PATH), coming, over, more })
}

#[derive(Debug, Deserialize)]
struct CallbackPath {
    id: String,
}

async fn cancel(
    Given(flows): Given<Flows>,
    visitor: Visitor,
    Path(path): Path<CallbackPath>,
) -> Result<Response, Problem> {
    call_off(&flows, visitor.org_id(), &path.id).await?;
    Ok(done(PATH, "canceled"))
}
