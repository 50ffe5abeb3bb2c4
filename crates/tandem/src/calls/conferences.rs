//! `/v1/conferences`: the rooms that calls are in now. They open with the first member and close behind the last.
#![expect(unused_qualifications, reason = "utoipa's path macro repeats the types of the extractors")]

use axum::{extract::State, http::StatusCode};
use calls::{Calls, ConferenceView};
use kernel::{
    Action, Principal, Problem,
    http::{Json, Path},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// A room's name.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct RoomPath {
    /// As the step `conference` names it.
    room: String,
}

/// Somebody in a room.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct MemberPath {
    /// As the step `conference` names it.
    room: String,
    /// `leg_...`
    member: String,
}

/// The conferences of an organisation.
#[derive(Serialize, ToSchema)]
pub(super) struct ConferenceList {
    /// By room.
    conferences: Vec<ConferenceView>,
}

/// What shall change of a member.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MemberChange {
    /// Whether it is heard by nobody.
    muted: bool,
}

/// List the conferences that are up
#[utoipa::path(
    get,
    path = "/v1/conferences",
    tag = "calls",
    responses((status = 200, description = "The conferences", body = ConferenceList)),
    security(("bearer" = []))
)]
pub(super) async fn list(State(calls): State<Calls>, principal: Principal) -> Result<Json<ConferenceList>, Problem> {
    let org = principal.authorize(Action::ReadCalls)?;
    Ok(Json(ConferenceList { conferences: calls.conferences_of(org) }))
}

/// Read a conference and its members
#[utoipa::path(
    get,
    path = "/v1/conferences/{room}",
    tag = "calls",
    params(RoomPath),
    responses((status = 200, description = "The conference", body = ConferenceView), (status = 404, description = "Nobody is in that room")),
    security(("bearer" = []))
)]
pub(super) async fn read(
    State(calls): State<Calls>,
    principal: Principal,
    Path(path): Path<RoomPath>,
) -> Result<Json<ConferenceView>, Problem> {
    let org = principal.authorize(Action::ReadCalls)?;
    calls.conference(org, &path.room).map(Json).ok_or_else(Problem::not_found)
}

/// End a conference: its members leave it, and their flows go on by the edge `ended`
#[utoipa::path(
    delete,
    path = "/v1/conferences/{room}",
    tag = "calls",
    params(RoomPath),
    responses((status = 204, description = "Its members are leaving"), (status = 404, description = "Nobody is in that room")),
    security(("bearer" = []))
)]
pub(super) async fn end(
    State(calls): State<Calls>,
    principal: Principal,
    Path(path): Path<RoomPath>,
) -> Result<StatusCode, Problem> {
    let org = principal.authorize(Action::ControlCalls)?;
    found(calls.end_conference(org, &path.room))
}

/// Mute a member, or no longer
#[utoipa::path(
    patch,
    path = "/v1/conferences/{room}/members/{member}",
    tag = "calls",
    params(MemberPath),
    request_body = MemberChange,
    responses((status = 200, description = "As it is now", body = ConferenceView), (status = 404, description = "There is no such member")),
    security(("bearer" = []))
)]
pub(super) async fn change_member(
    State(calls): State<Calls>,
    principal: Principal,
    Path(path): Path<MemberPath>,
    Json(change): Json<MemberChange>,
) -> Result<Json<ConferenceView>, Problem> {
    let org = principal.authorize(Action::ControlCalls)?;
    calls.mute_member(org, &path.room, &path.member, change.muted).map(Json).ok_or_else(Problem::not_found)
}

/// Throw a member out: its flow goes on by the edge `ended`
#[utoipa::path(
    delete,
    path = "/v1/conferences/{room}/members/{member}",
    tag = "calls",
    params(MemberPath),
    responses((status = 204, description = "It is leaving"), (status = 404, description = "There is no such member")),
    security(("bearer" = []))
)]
pub(super) async fn kick_member(
    State(calls): State<Calls>,
    principal: Principal,
    Path(path): Path<MemberPath>,
) -> Result<StatusCode, Problem> {
    let org = principal.authorize(Action::ControlCalls)?;
    found(calls.kick_member(org, &path.room, &path.member))
}

/// Record a conference, as long as anybody is in it
#[utoipa::path(
    put,
    path = "/v1/conferences/{room}/recording",
    tag = "calls",
    params(RoomPath),
    responses((status = 200, description = "It is being recorded, as a recording of one member's call", body = ConferenceView), (status = 404, description = "Nobody is in that room")),
    security(("bearer" = []))
)]
pub(super) async fn start_recording(
    State(calls): State<Calls>,
    principal: Principal,
    Path(path): Path<RoomPath>,
) -> Result<Json<ConferenceView>, Problem> {
    let org = principal.authorize(Action::ControlCalls)?;
    calls.record_conference(org, &path.room, true).map(Json).ok_or_else(Problem::not_found)
}

/// End the recording of a conference, whoever began it
#[utoipa::path(
    delete,
    path = "/v1/conferences/{room}/recording",
    tag = "calls",
    params(RoomPath),
    responses((status = 200, description = "It is recorded no longer", body = ConferenceView), (status = 404, description = "Nobody is in that room")),
    security(("bearer" = []))
)]
pub(super) async fn stop_recording(
    State(calls): State<Calls>,
    principal: Principal,
    Path(path): Path<RoomPath>,
) -> Result<Json<ConferenceView>, Problem> {
    let org = principal.authorize(Action::ControlCalls)?;
    calls.record_conference(org, &path.room, false).map(Json).ok_or_else(Problem::not_found)
}

fn found(there: bool) -> Result<StatusCode, Problem> {
    if there { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::not_found()) }
}
