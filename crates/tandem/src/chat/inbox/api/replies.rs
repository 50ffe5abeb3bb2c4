//! `/v1/chat/canned`: what agents say again and again.
#![expect(unused_qualifications, reason = "utoipa's path macro repeats the types of the extractors")]

use axum::extract::State as Given;
use axum::http::StatusCode;
use kernel::Problem;
use kernel::http::{Json, Path, Query};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::super::canned::Canned;
use super::super::keeping::CannedChange;
use super::rooms::said;
use crate::chat::Chats;
use crate::chat::api::Caller;

/// A canned reply's id.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct CannedPath {
    /// `can_...`
    id: String,
}

/// For which room.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct CannedQuery {
    /// With the names of those in this room filled in, too.
    room: Option<String>,
}

/// A canned reply, and what it says in a room.
#[derive(Serialize, ToSchema)]
pub(super) struct CannedView {
    #[serde(flatten)]
    canned: Canned,
    /// The text with the names of those in the room, if one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    filled: Option<String>,
}

/// The canned replies of an organisation.
#[derive(Serialize, ToSchema)]
pub(super) struct CannedList {
    /// By shortcut.
    canned: Vec<CannedView>,
}

/// A canned reply that is wanted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CannedRequest {
    /// What is typed after the slash: 1 to 40 of a-z, 0-9, - and _.
    shortcut: String,
    /// For people who look through the list.
    title: String,
    /// With `{visitor.name}`, `{visitor.email}`, `{agent.name}`, `{product}`; `{visitor.name|there}` says what to write
    /// where there is none.
    text: String,
    /// The team whose reply it is; everybody's when absent.
    #[serde(default)]
    team: Option<String>,
}

/// What shall change; what is absent stays.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CannedPatch {
    /// What is typed after the slash.
    #[serde(default)]
    shortcut: Option<String>,
    /// For people who look through the list.
    #[serde(default)]
    title: Option<String>,
    /// The text.
    #[serde(default)]
    text: Option<String>,
    /// The team; null = everybody's.
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<String>)]
    team: Option<Option<String>>,
}

/// List canned replies
#[utoipa::path(
    get, path = "/v1/chat/canned", tag = "chat", params(CannedQuery),
    responses((status = 200, description = "The replies", body = CannedList), (status = 404, description = "There is no such room")),
    security(("bearer" = []))
)]
pub(super) async fn list(
    Given(chats): Given<Chats>,
    caller: Caller,
    Query(query): Query<CannedQuery>,
) -> Result<Json<CannedList>, Problem> {
    let room = query.room.filter(|room| !room.is_empty());
    let found = chats.canned_replies(&caller.asker()?, room.as_deref()).await?;
    let view = |(canned, filled)| CannedView { canned, filled };
    Ok(Json(CannedList { canned: found.into_iter().map(view).collect() }))
}

/// Write a canned reply
#[utoipa::path(
    post, path = "/v1/chat/canned", tag = "chat", request_body = CannedRequest,
    responses((status = 201, description = "Written", body = Canned), (status = 409, description = "The shortcut is taken")),
    security(("bearer" = []))
)]
pub(super) async fn create(
    Given(chats): Given<Chats>,
    caller: Caller,
    Json(request): Json<CannedRequest>,
) -> Result<(StatusCode, Json<Canned>), Problem> {
    let CannedRequest { shortcut, title, text, team } = request;
    let canned = Canned { id: String::new(), shortcut, title, text, team };
    Ok((StatusCode::CREATED, Json(chats.add_canned(&caller.asker()?, canned).await?)))
}

/// Read a canned reply
#[utoipa::path(
    get, path = "/v1/chat/canned/{id}", tag = "chat", params(CannedPath, CannedQuery),
    responses((status = 200, description = "The reply", body = CannedView), (status = 404, description = "There is none")),
    security(("bearer" = []))
)]
pub(super) async fn read(
    Given(chats): Given<Chats>,
    caller: Caller,
    Path(path): Path<CannedPath>,
    Query(query): Query<CannedQuery>,
) -> Result<Json<CannedView>, Problem> {
    let room = query.room.filter(|room| !room.is_empty());
    let asker = caller.asker()?;
    let canned = chats.canned_reply(&asker, &path.id).await?;
    let filled = match room {
        Some(room) => Some(chats.filled(&asker, &canned, &room).await?),
        None => None,
    };
    Ok(Json(CannedView { canned, filled }))
}

/// Change a canned reply
#[utoipa::path(
    patch, path = "/v1/chat/canned/{id}", tag = "chat", params(CannedPath), request_body = CannedPatch,
    responses((status = 200, description = "As it is now", body = Canned), (status = 404, description = "There is none")),
    security(("bearer" = []))
)]
pub(super) async fn change(
    Given(chats): Given<Chats>,
    caller: Caller,
    Path(path): Path<CannedPath>,
    Json(patch): Json<CannedPatch>,
) -> Result<Json<Canned>, Problem> {
    let CannedPatch { shortcut, title, text, team } = patch;
    let change = CannedChange { shortcut, title, text, team };
    Ok(Json(chats.change_canned(&caller.asker()?, &path.id, change).await?))
}

/// Delete a canned reply
#[utoipa::path(
    delete, path = "/v1/chat/canned/{id}", tag = "chat", params(CannedPath),
    responses((status = 204, description = "Deleted"), (status = 404, description = "There is none")),
    security(("bearer" = []))
)]
pub(super) async fn remove(
    Given(chats): Given<Chats>,
    caller: Caller,
    Path(path): Path<CannedPath>,
) -> Result<StatusCode, Problem> {
    chats.remove_canned(&caller.asker()?, &path.id).await?;
    Ok(StatusCode::NO_CONTENT)
}
