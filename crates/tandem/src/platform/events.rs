//! The list of an organisation's events: the pull side of the log.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use kernel::error::codes;
use kernel::events::Logged;
use kernel::http::{PageQuery, Query, cursor};
use kernel::problem::ProblemBody;
use kernel::{Action, Kernel, Principal, Problem};
use serde_json::Value;
use utoipa::ToSchema;

/// What the events of meetings begin with.
const MEETING: &str = "meeting.";

/// A page of events, oldest first. The answer is put together from stored text; this is its shape.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its documentation is used")]
pub(super) struct EventPage {
    /// Envelopes: `{id, type, version, time, org, seq, key, ...}`; `seq` counts from 1 in each key.
    events: Vec<Value>,
    /// Where to go on; the same again while nothing is new.
    cursor: String,
}

/// The organisation's events, oldest first.
#[utoipa::path(get, path = "/v1/events", tag = "events", params(PageQuery), responses(
    (status = 200, description = "a page; its cursor goes on where it ends", body = EventPage),
    (status = 401, description = "no good credential", body = ProblemBody),
))]
pub(super) async fn list(
    State(kernel): State<Kernel>,
    principal: Principal,
    Query(page): Query<PageQuery>,
) -> Result<Response, Problem> {
    let org = principal.authorize(Action::ReadCalls)?;
    let after = position(&page)?.unwrap_or(0);
    let limit = u32::try_from(page.limit()?).map_err(Problem::internal)?;
    let found = kernel.events.after(org, after, limit).await.map_err(Problem::internal)?;
    let end = found.last().map_or(after, |event| event.position);
    let found: Vec<Logged> = found.into_iter().filter(|event| is_shown(event, app_of(&principal))).collect();
    Ok(([(CONTENT_TYPE, "application/json")], page_text(&found, end)).into_response())
}

/// The application that a key speaks for.
pub(super) fn app_of(principal: &Principal) -> Option<&Arc<str>> {
    if let Principal::App { app, .. } = principal { Some(app) } else { None }
}

/// Whether an event is shown to whoever reads the log: meetings of another application are none of an application's
/// (contract meetings, "Behaviour").
pub(super) fn is_shown(event: &Logged, app: Option<&Arc<str>>) -> bool {
    let Some(app) = app.filter(|_| event.kind.starts_with(MEETING)) else { return true };
    let envelope: Value = serde_json::from_str(&event.envelope).unwrap_or_default();
    envelope.pointer("/data/application").and_then(Value::as_str) == Some(&**app)
}

/// The place in the log that a page's cursor names.
pub(super) fn position(page: &PageQuery) -> Result<Option<i64>, Problem> {
    page.after()?.map(|place| place.parse().map_err(|_| wrong_cursor())).transpose()
}

/// The answer to a cursor of another list.
pub(super) fn wrong_cursor() -> Problem {
    Problem::new(codes::INVALID_CURSOR).and("?cursor", "invalid", "not a cursor of this list")
}

/// The envelopes as they are stored, byte for byte: what a webhook's signature covers is what a list shows.
fn page_text(events: &[Logged], end: i64) -> String {
    let envelopes: Vec<&str> = events.iter().map(|event| event.envelope.as_str()).collect();
    format!("{{\"events\":[{}],\"cursor\":\"{}\"}}", envelopes.join(","), cursor(&end.to_string()))
}
