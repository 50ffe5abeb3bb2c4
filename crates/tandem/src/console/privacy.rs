//! Export and erasure of what is kept of a person outside: calls, events, recordings, messages, by number.
//!
//! Invariant: both are audited before they happen; a call that is up is neither exported half nor erased.

use askama::Template;
use axum::extract::State as Given;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use calls::erasure::{self, Erased};
use calls::{CallFilter, CallState, CallView, Calls, records};
use kernel::{Action, Kernel, Problem};
use serde_json::{Value, json};

use super::door::Doors;
use super::door::Needs::May;
use super::form::{Field, Form, Posted};
use super::page::{Page, show, show_refused};
use super::visitor::Visitor;
use crate::flows::{path, store};

const PATH: &str = "/console/privacy";
/// Calls that are exported or erased at once; who has more comes again.
const MAX_CALLS: usize = 2_000;

pub(super) fn doors(doors: Doors) -> Doors {
    let manage = May(Action::ManageSettings);
    doors.get(PATH, manage, ask).post(PATH, manage, look).post("/console/privacy/export", manage, export).post(
        "/console/privacy/erase",
        manage,
        erase,
    )
}

/// What is kept of a number.
struct Kept {
    number: String,
    calls: usize,
    up: usize,
    is_more: bool,
}

#[derive(Template)]
#[template(path = "console/privacy.html")]
struct PrivacyPage {
    page: Page,
    form: Form,
    kept: Option<Kept>,
    erased: Option<Erased>,
}

fn form() -> Form {
    Form::new(PATH, "Look what is kept").with(
        Field::typed("number", "Number", "tel").hint("Of the person outside, such as +442071838750, or an extension."),
    )
}

fn page(visitor: &Visitor, form: Form) -> PrivacyPage {
    PrivacyPage { page: visitor.page("Export and erase", PATH), form, kept: None, erased: None }
}

async fn ask(visitor: Visitor) -> Result<Response, Problem> {
    show(&page(&visitor, form()))
}

/// The calls from or to a number, newest first.
async fn calls_of(calls: &Calls, org: &str, number: &str) -> Result<(Vec<CallView>, bool), Problem> {
    let mut found: Vec<CallView> = Vec::new();
    let mut cursor = None;
    loop {
        let filter = CallFilter { number: Some(number.to_owned()), cursor, ..CallFilter::default() };
        let page = calls.list(org, filter, calls::MAX_PAGE).await.map_err(Problem::internal)?;
        found.extend(page.calls);
        cursor = page.cursor;
        if cursor.is_none() || found.len() >= MAX_CALLS {
            return Ok((found, cursor.is_some()));
        }
    }
}

async fn look(Given(calls): Given<Calls>, visitor: Visitor, posted: Posted) -> Result<Response, Problem> {
    let number = posted.get("number");
    if number.is_empty() {
        return show_refused(&page(&visitor, form().filled(&posted).wrong("number", "whose calls?")));
    }
    let (found, is_more) = calls_of(&calls, visitor.org_id(), number).await?;
    let up = found.iter().filter(|call| call.state != CallState::Completed).count();
    let kept = Kept { number: number.to_owned(), calls: found.len(), up, is_more };
    show(&PrivacyPage { kept: Some(kept), ..page(&visitor, form().filled(&posted)) })
}

async fn note(kernel: &Kernel, visitor: &Visitor, action: &str, object: &str) -> Result<(), Problem> {
    let write = kernel.audit_write(visitor.org_id(), visitor.principal().actor(), action, object);
    kernel.db.writer().commit(vec![write]).await.map(drop).map_err(Problem::internal)
}

/// Everything of a number as one JSON file; audio by URLs that open for 24 hours.
async fn export(
    Given(kernel): Given<Kernel>,
    Given(calls): Given<Calls>,
    visitor: Visitor,
    posted: Posted,
) -> Result<Response, Problem> {
    let (org, number) = (visitor.org_id(), posted.get("number"));
    note(&kernel, &visitor, "person.export", number).await?;
    let (found, is_more) = calls_of(&calls, org, number).await?;
    let mut told: Vec<Value> = Vec::new();
    for call in found {
        let events = path::events_of(&kernel, org, &call.id, "").await.map_err(Problem::internal)?;
        let recordings = records::recordings_of_call(&kernel, org, &call.id).await.map_err(Problem::internal)?;
        told.push(json!({"call": call, "events": events, "recordings": recordings}));
    }
    let whole = json!({"number": number, "complete": !is_more, "calls": told});
    let headers = [(CONTENT_TYPE, "application/json"), (CONTENT_DISPOSITION, "attachment; filename=\"export.json\"")];
    Ok((headers, whole.to_string()).into_response())
}

async fn erase(
    Given(kernel): Given<Kernel>,
    Given(calls): Given<Calls>,
    visitor: Visitor,
    posted: Posted,
) -> Result<Response, Problem> {
    let (org, number) = (visitor.org_id(), posted.get("number"));
    if number.is_empty() {
        return show_refused(&page(&visitor, form().wrong("number", "whose calls?")));
    }
    note(&kernel, &visitor, "person.erase", number).await?;
    let mut erased = Erased::default();
    for call in calls_of(&calls, org, number).await?.0 {
        let run = vec![store::erase_run_write(org, &call.id)];
        erased.and(erasure::erase_call(&kernel, org, &call.id, run).await.map_err(Problem::internal)?);
    }
    show(&PrivacyPage { erased: Some(erased), ..page(&visitor, form()) })
}
