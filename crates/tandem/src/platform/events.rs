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
    let reader = Reader::of(&principal)?;
    let after = position(&page)?.unwrap_or(0);
    let limit = u32::try_from(page.limit()?).map_err(Problem::internal)?;
    let found = kernel.events.after(&reader.org, after, limit).await.map_err(Problem::internal)?;
    let end = found.last().map_or(after, |event| event.position);
    let found: Vec<Logged> = found.into_iter().filter(|event| reader.is_shown(event)).collect();
    Ok(([(CONTENT_TYPE, "application/json")], page_text(&found, end)).into_response())
}

/// Who reads the log, and what of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reader {
    /// The organisation.
    pub(super) org: Arc<str>,
    /// The application, if it is one.
    app: Option<Arc<str>>,
    /// Whether everything is shown, or news of meetings alone.
    is_of_all: bool,
}

impl Reader {
    /// Somebody who may read calls, or meetings alone.
    ///
    /// # Errors
    /// 403 for anybody else.
    pub(super) fn of(principal: &Principal) -> Result<Self, Problem> {
        let is_of_all = principal.may(Action::ReadCalls);
        let org = principal.authorize(if is_of_all { Action::ReadCalls } else { Action::ReadMeetings })?;
        let app = if let Principal::App { app, .. } = principal { Some(Arc::clone(app)) } else { None };
        Ok(Self { org: Arc::clone(org), app, is_of_all })
    }

    /// Whether it is shown an event: meetings of another application are none of an application's (contract meetings,
    /// "Behaviour").
    pub(super) fn is_shown(&self, event: &Logged) -> bool {
        if !event.kind.starts_with(MEETING) {
            return self.is_of_all;
        }
        let Some(app) = &self.app else { return true };
        let envelope: Value = serde_json::from_str(&event.envelope).unwrap_or_default();
        envelope.pointer("/data/application").and_then(Value::as_str) == Some(app)
    }
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
