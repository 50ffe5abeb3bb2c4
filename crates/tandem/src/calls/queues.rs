//! `/v1/queues`: who waits for whom, now; `/v1/me/state`: whether somebody takes calls.

use std::sync::Arc;

use axum::extract::State;
use calls::{AgentState, Availability, Calls, OwnState, QueueView};
use kernel::{Action, Principal, Problem, http::Json, time::rfc3339};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The queues of an organisation.
#[derive(Serialize, ToSchema)]
pub(super) struct QueueList {
    /// By the teams' numbers.
    queues: Vec<QueueView>,
}

/// What somebody is doing.
#[derive(Serialize, ToSchema)]
pub(super) struct StateView {
    /// `busy` and `wrap_up` come of themselves.
    state: AgentState,
    /// What was said last.
    said: Availability,
    /// When the wrap-up is over.
    wrap_up_until: Option<String>,
}

/// Whether somebody takes calls.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StateRequest {
    /// `available`, which ends a wrap-up, or `away`.
    state: Availability,
}

impl From<OwnState> for StateView {
    fn from(own: OwnState) -> Self {
        let wrap_up_until = (own.state == AgentState::WrapUp).then(|| rfc3339(own.said.wrap_up_until_ms));
        Self { state: own.state, said: own.said.availability, wrap_up_until }
    }
}

/// Whoever works in queues sees them, and whoever sees all calls.
pub(super) fn may_watch(principal: &Principal) -> Result<&Arc<str>, Problem> {
    principal.authorize(Action::WorkQueue).or_else(|_| principal.authorize(Action::ReadCalls))
}

/// See who waits for whom now
#[utoipa::path(
    get,
    path = "/v1/queues",
    tag = "calls",
    responses((status = 200, description = "The queues", body = QueueList)),
    security(("bearer" = []))
)]
pub(super) async fn list(State(calls): State<Calls>, principal: Principal) -> Result<Json<QueueList>, Problem> {
    let org = may_watch(&principal)?;
    Ok(Json(QueueList { queues: calls.queues(org).await.map_err(Problem::internal)? }))
}

/// See whether I take calls of my teams
#[utoipa::path(
    get,
    path = "/v1/me/state",
    tag = "calls",
    responses((status = 200, description = "My state", body = StateView), (status = 404, description = "The credential is no person's")),
    security(("bearer" = []))
)]
pub(super) async fn own(State(calls): State<Calls>, principal: Principal) -> Result<Json<StateView>, Problem> {
    let (org, person) = myself(&principal)?;
    Ok(Json(calls.own_state(org, person).await.map_err(Problem::internal)?.into()))
}

/// Say whether I take calls of my teams
#[utoipa::path(
    put,
    path = "/v1/me/state",
    tag = "calls",
    request_body = StateRequest,
    responses((status = 200, description = "My state", body = StateView), (status = 404, description = "The credential is no person's")),
    security(("bearer" = []))
)]
pub(super) async fn say(
    State(calls): State<Calls>,
    principal: Principal,
    Json(request): Json<StateRequest>,
) -> Result<Json<StateView>, Problem> {
    let (org, person) = myself(&principal)?;
    Ok(Json(calls.say(org, person, request.state).await.map_err(Problem::internal)?.into()))
}

fn myself(principal: &Principal) -> Result<(&Arc<str>, &Arc<str>), Problem> {
    let org = principal.authorize(Action::WorkQueue)?;
    let person = principal.person().ok_or_else(|| Problem::not_found().detail("an application takes no calls"))?;
    Ok((org, person))
}
