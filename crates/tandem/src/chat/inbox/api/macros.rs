//! `/v1/chat/macros`: what agents do again and again.
#![expect(unused_qualifications, reason = "utoipa's path macro repeats the types of the extractors")]

use axum::extract::State as Given;
use axum::http::StatusCode;
use kernel::http::{Json, Path};
use kernel::{Problem, RecordError};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::super::macros::{Macro, Run, Step};
use crate::chat::Chats;
use crate::chat::api::{Caller, RoomPath};

/// A macro's id.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct MacroPath {
    /// `mac_...`
    id: String,
}

/// The macros of an organisation.
#[derive(Serialize, ToSchema)]
pub(super) struct MacroList {
    /// By name.
    macros: Vec<Macro>,
}

/// A macro that is wanted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MacroRequest {
    /// Name for people.
    name: String,
    /// 1 to 20 things, one after the other.
    steps: Vec<Step>,
}

/// What shall change; what is absent stays.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MacroPatch {
    /// Name for people.
    #[serde(default)]
    name: Option<String>,
    /// All of them.
    #[serde(default)]
    steps: Option<Vec<Step>>,
}

/// Which macro is to run.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RunRequest {
    /// `mac_...`
    r#macro: String,
}

/// List macros
#[utoipa::path(
    get, path = "/v1/chat/macros", tag = "chat",
    responses((status = 200, description = "The macros", body = MacroList)),
    security(("bearer" = []))
)]
pub(super) async fn list(Given(chats): Given<Chats>, caller: Caller) -> Result<Json<MacroList>, Problem> {
    Ok(Json(MacroList { macros: chats.macros(&caller.asker()?).await? }))
}

/// Write a macro
#[utoipa::path(
    post, path = "/v1/chat/macros", tag = "chat", request_body = MacroRequest,
    responses((status = 201, description = "Written", body = Macro), (status = 409, description = "The name is taken")),
    security(("bearer" = []))
)]
pub(super) async fn create(
    Given(chats): Given<Chats>,
    caller: Caller,
    Json(request): Json<MacroRequest>,
) -> Result<(StatusCode, Json<Macro>), Problem> {
    let wanted = Macro { id: String::new(), name: request.name, steps: request.steps };
    Ok((StatusCode::CREATED, Json(chats.add_macro(&caller.asker()?, wanted).await?)))
}

/// Read a macro
#[utoipa::path(
    get, path = "/v1/chat/macros/{id}", tag = "chat", params(MacroPath),
    responses((status = 200, description = "The macro", body = Macro), (status = 404, description = "There is none")),
    security(("bearer" = []))
)]
pub(super) async fn read(
    Given(chats): Given<Chats>,
    caller: Caller,
    Path(path): Path<MacroPath>,
) -> Result<Json<Macro>, Problem> {
    Ok(Json(chats.one_macro(&caller.asker()?, &path.id).await?))
}

/// Change a macro
#[utoipa::path(
    patch, path = "/v1/chat/macros/{id}", tag = "chat", params(MacroPath), request_body = MacroPatch,
    responses((status = 200, description = "As it is now", body = Macro), (status = 404, description = "There is none")),
    security(("bearer" = []))
)]
pub(super) async fn change(
    Given(chats): Given<Chats>,
    caller: Caller,
    Path(path): Path<MacroPath>,
    Json(patch): Json<MacroPatch>,
) -> Result<Json<Macro>, Problem> {
    Ok(Json(chats.change_macro(&caller.asker()?, &path.id, patch.name, patch.steps).await?))
}

/// Delete a macro
#[utoipa::path(
    delete, path = "/v1/chat/macros/{id}", tag = "chat", params(MacroPath),
    responses((status = 204, description = "Deleted"), (status = 404, description = "There is none")),
    security(("bearer" = []))
)]
pub(super) async fn remove(
    Given(chats): Given<Chats>,
    caller: Caller,
    Path(path): Path<MacroPath>,
) -> Result<StatusCode, Problem> {
    chats.remove_macro(&caller.asker()?, &path.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Do the steps of a macro in a room; the first one that fails ends it
#[utoipa::path(
    post, path = "/v1/chat/rooms/{room}/macro", tag = "chat", params(RoomPath), request_body = RunRequest,
    responses((status = 200, description = "What was done", body = Run), (status = 404, description = "There is no such room")),
    security(("bearer" = []))
)]
pub(super) async fn run(
    Given(chats): Given<Chats>,
    caller: Caller,
    Path(path): Path<RoomPath>,
    Json(request): Json<RunRequest>,
) -> Result<Json<Run>, Problem> {
    let asker = caller.asker()?;
    chats.room(&asker, &path.room).await?;
    let wanted = match chats.one_macro(&asker, &request.r#macro).await {
        Err(crate::chat::ChatError::Org(RecordError::NotFound { .. })) => {
            return Err(Problem::field("/macro", "unknown", "there is no such macro"));
        }
        found => found?,
    };
    Ok(Json(chats.run_macro(&asker, &path.room, &wanted).await?))
}
