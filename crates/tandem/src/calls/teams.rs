//! `/v1/teams`: numbers that ring several people, or let callers wait for them.
#![expect(unused_qualifications, reason = "utoipa's path macro repeats the types of the extractors")]

use axum::{extract::State, http::StatusCode};
use calls::{AgentView, Calls, NewTeam, TeamChange, TeamRecord};
use kernel::{
    Action, Kernel, Principal, Problem, RecordError,
    http::{Json, Path},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::queues::may_watch;

/// A team's id.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct TeamPath {
    /// `team_...`
    id: String,
}

/// The teams of an organisation.
#[derive(Serialize, ToSchema)]
pub(super) struct TeamList {
    /// By number.
    teams: Vec<TeamRecord>,
}

/// A team to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TeamRequest {
    /// Name for people.
    name: String,
    /// Its number inside the organisation.
    number: String,
    /// `ring_all` (when absent), `longest_idle` or `round_robin`.
    strategy: Option<String>,
    /// How long a member writes up a call, in seconds; 0 when absent.
    wrap_up_s: Option<i64>,
    /// How long a member's phones ring for one offer, in seconds; 20 when absent.
    ring_s: Option<i64>,
    /// Whether whoever dials it and waits is told where he stands; true when absent.
    announce_position: Option<bool>,
    /// Extensions.
    #[serde(default)]
    members: Vec<String>,
}

/// What shall change of a team; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TeamPatch {
    /// Name for people.
    name: Option<String>,
    /// `ring_all`, `longest_idle` or `round_robin`.
    strategy: Option<String>,
    /// How long a member writes up a call, in seconds.
    wrap_up_s: Option<i64>,
    /// How long a member's phones ring for one offer, in seconds.
    ring_s: Option<i64>,
    /// Whether whoever dials it and waits is told where he stands.
    announce_position: Option<bool>,
    /// Extensions: all of them, in their order.
    members: Option<Vec<String>>,
}

/// The members of a team.
#[derive(Serialize, ToSchema)]
pub(super) struct AgentList {
    /// In their order.
    agents: Vec<AgentView>,
}

/// An extension that nobody has is a mistake of the body's.
fn refused(error: RecordError) -> Problem {
    match error {
        RecordError::NotFound { what: "extension", .. } => {
            Problem::field("/members", "unknown_entity", error.to_string())
        }
        other => other.into(),
    }
}

/// List teams
#[utoipa::path(
    get,
    path = "/v1/teams",
    tag = "calls",
    responses((status = 200, description = "The teams", body = TeamList)),
    security(("bearer" = []))
)]
pub(super) async fn list(State(kernel): State<Kernel>, principal: Principal) -> Result<Json<TeamList>, Problem> {
    let org = principal.authorize(Action::ReadNumbers)?;
    Ok(Json(TeamList { teams: calls::teams(&kernel, org).await.map_err(Problem::internal)? }))
}

/// Make a team
#[utoipa::path(
    post,
    path = "/v1/teams",
    tag = "calls",
    request_body = TeamRequest,
    responses((status = 201, description = "Made", body = TeamRecord), (status = 409, description = "The number is taken")),
    security(("bearer" = []))
)]
pub(super) async fn create(
    State(kernel): State<Kernel>,
    principal: Principal,
    Json(request): Json<TeamRequest>,
) -> Result<(StatusCode, Json<TeamRecord>), Problem> {
    let org = principal.authorize(Action::ManageNumbers)?;
    let TeamRequest { name, number, strategy, wrap_up_s, ring_s, announce_position, members } = request;
    let new = NewTeam { name, number, strategy, wrap_up_s, ring_s, announce_position, members };
    let made = calls::create_team(&kernel, org, new).await.map_err(refused)?;
    Ok((StatusCode::CREATED, Json(made)))
}

/// Read a team
#[utoipa::path(
    get,
    path = "/v1/teams/{id}",
    tag = "calls",
    params(TeamPath),
    responses((status = 200, description = "The team", body = TeamRecord), (status = 404, description = "There is none")),
    security(("bearer" = []))
)]
pub(super) async fn read(
    State(kernel): State<Kernel>,
    principal: Principal,
    Path(path): Path<TeamPath>,
) -> Result<Json<TeamRecord>, Problem> {
    let org = principal.authorize(Action::ReadNumbers)?;
    let team = calls::team(&kernel, org, &path.id).await.map_err(Problem::internal)?;
    team.map(Json).ok_or_else(Problem::not_found)
}

/// Change a team
#[utoipa::path(
    patch,
    path = "/v1/teams/{id}",
    tag = "calls",
    params(TeamPath),
    request_body = TeamPatch,
    responses((status = 200, description = "As it is now", body = TeamRecord), (status = 404, description = "There is none")),
    security(("bearer" = []))
)]
pub(super) async fn change(
    State(kernel): State<Kernel>,
    principal: Principal,
    Path(path): Path<TeamPath>,
    Json(patch): Json<TeamPatch>,
) -> Result<Json<TeamRecord>, Problem> {
    let org = principal.authorize(Action::ManageNumbers)?;
    let TeamPatch { name, strategy, wrap_up_s, ring_s, announce_position, members } = patch;
    let change = TeamChange { name, strategy, wrap_up_s, ring_s, announce_position, members };
    Ok(Json(calls::change_team(&kernel, org, &path.id, change).await.map_err(refused)?))
}

/// See what the members of a team are doing
#[utoipa::path(
    get,
    path = "/v1/teams/{id}/agents",
    tag = "calls",
    params(TeamPath),
    responses((status = 200, description = "The members", body = AgentList), (status = 404, description = "There is none")),
    security(("bearer" = []))
)]
pub(super) async fn agents(
    State(calls): State<Calls>,
    principal: Principal,
    Path(path): Path<TeamPath>,
) -> Result<Json<AgentList>, Problem> {
    let org = may_watch(&principal)?;
    let queue = calls.queue(org, &path.id).await.map_err(Problem::internal)?;
    Ok(Json(AgentList { agents: queue.ok_or_else(Problem::not_found)?.agents }))
}
