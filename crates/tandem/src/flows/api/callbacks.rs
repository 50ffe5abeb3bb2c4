//! `/v1/callbacks`: calls that flows have booked, those to come and those that were; and calling one off.
#![expect(unused_qualifications, reason = "utoipa's path macro repeats the types of the extractors")]

use axum::{extract::State, http::StatusCode};
use kernel::{
    Action, Principal, Problem,
    error::codes as kernel_codes,
    http::{Json, PageQuery, Path, Query, cursor},
    time::rfc3339,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::codes;
use crate::flows::{
    CancelError, Flows, due,
    store::{self, Callback, CallbackFilter},
};

/// The word that stands for every state before the end.
const OPEN: &str = "open";

/// A callback.
#[derive(Serialize, ToSchema)]
pub(super) struct CallbackView {
    /// `cb_...`
    id: String,
    /// `scheduled`, `calling`, `connecting`, `connected`, `completed` or `missed`.
    state: &'static str,
    /// When it is due, RFC 3339, UTC: the wall time, or later after quiet hours and retries.
    due_at: String,
    /// The wall date as it was booked.
    date: String,
    /// The wall time as it was booked.
    time: String,
    /// The zone as it was booked.
    timezone: String,
    /// The number of the person or team that it is with.
    entity: String,
    /// The customer's number.
    customer: String,
    /// `entity_first`, `customer_first`, or `in_turn` for one that was booked in a queue.
    order: String,
    /// Attempts in all.
    attempts: i64,
    /// Attempts so far.
    attempt: i64,
    /// How it ended: of a completed one how the two were connected, else why nobody was (`canceled`: it was called off).
    reason: Option<String>,
    /// When it was booked, RFC 3339, UTC.
    created_at: String,
    /// RFC 3339, UTC.
    ended_at: Option<String>,
    /// The call that booked it.
    scheduled_by: String,
    /// The run that booked it.
    flow_run_id: String,
    /// The call of the newest attempt.
    call_id: Option<String>,
}

impl From<Callback> for CallbackView {
    fn from(callback: Callback) -> Self {
        let (date, time, timezone) = callback.wall;
        let said = |text: String| Some(text).filter(|text| !text.is_empty());
        Self {
            id: callback.id,
            state: callback.state.as_str(),
            due_at: rfc3339(callback.due_ms),
            date,
            time,
            timezone,
            entity: callback.entity,
            customer: callback.customer,
            order: callback.order,
            attempts: callback.attempts,
            attempt: callback.attempt,
            reason: said(callback.reason),
            created_at: rfc3339(callback.created_ms),
            ended_at: callback.ended_ms.map(rfc3339),
            scheduled_by: callback.call,
            flow_run_id: callback.run,
            call_id: said(callback.last_call),
        }
    }
}

/// A page of callbacks.
#[derive(Serialize, ToSchema)]
pub(super) struct CallbackList {
    /// The one that was booked last first.
    callbacks: Vec<CallbackView>,
    /// Ask with it for the next page.
    cursor: Option<String>,
}

/// Which callbacks.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct CallbackQuery {
    /// A state, or `open` for all that are not over.
    state: Option<String>,
    /// From the page before.
    cursor: Option<String>,
    /// 1 to 500; 50 when absent.
    limit: Option<u32>,
}

/// A callback's id.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct CallbackPath {
    /// `cb_...`
    id: String,
}

/// List callbacks, the one that was booked last first
#[utoipa::path(
    get,
    path = "/v1/callbacks",
    tag = "calls",
    params(CallbackQuery),
    responses((status = 200, description = "A page of callbacks", body = CallbackList)),
    security(("bearer" = []))
)]
pub(super) async fn list(
    State(flows): State<Flows>,
    principal: Principal,
    Query(query): Query<CallbackQuery>,
) -> Result<Json<CallbackList>, Problem> {
    let org = principal.authorize(Action::ReadCalls)?;
    let page = PageQuery { cursor: query.cursor, limit: query.limit };
    let (before, limit) = (page.after()?, page.limit()?);
    let open = query.state.as_deref() == Some(OPEN);
    let state = query.state.as_deref().filter(|_| !open).map(state_of).transpose()?;
    let filter = CallbackFilter { state, open, before: before.as_deref() };
    let found = store::callbacks(&flows.kernel().db, org, filter, limit).await.map_err(Problem::internal)?;
    let full = usize::try_from(limit).is_ok_and(|limit| found.len() == limit);
    let cursor = found.last().filter(|_| full).map(|last| cursor(&last.id));
    Ok(Json(CallbackList { callbacks: found.into_iter().map(CallbackView::from).collect(), cursor }))
}

fn state_of(word: &str) -> Result<due::State, Problem> {
    due::State::parse(word).ok_or_else(|| {
        Problem::new(kernel_codes::INVALID_REQUEST).and("?state", "unknown", format!("there is no \"{word}\""))
    })
}

/// Call a callback off: whoever rings for it rings no more, and callback.missed says `canceled`
#[utoipa::path(
    delete,
    path = "/v1/callbacks/{id}",
    tag = "calls",
    params(CallbackPath),
    responses(
        (status = 204, description = "It is called off"),
        (status = 404, description = "There is none"),
        (status = 409, description = "It is over, or the two are talking"),
    ),
    security(("bearer" = []))
)]
pub(super) async fn cancel(
    State(flows): State<Flows>,
    principal: Principal,
    Path(path): Path<CallbackPath>,
) -> Result<StatusCode, Problem> {
    let org = principal.authorize(Action::ControlCalls)?;
    call_off(&flows, org, &path.id).await.map(|()| StatusCode::NO_CONTENT)
}

/// Calls a callback off.
///
/// # Errors
/// 404, or 409 when it is too late for that.
pub(crate) async fn call_off(flows: &Flows, org: &str, id: &str) -> Result<(), Problem> {
    flows.cancel_callback(org, id).await.map_err(|error| match error {
        CancelError::NotFound => Problem::not_found(),
        CancelError::Over => Problem::new(codes::CALLBACK_OVER),
        CancelError::Talking => Problem::new(codes::CALLBACK_CONNECTED),
        CancelError::Db(error) => Problem::internal(error),
    })
}
