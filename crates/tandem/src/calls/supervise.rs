//! `/v1/calls/{id}/supervise`: somebody of the organisation listens, whispers or joins in, by his own phone. The
//! customer hears nothing of it; the audit does.

use axum::{extract::State, http::StatusCode};
use calls::{Calls, SuperviseError, SuperviseMode, Supervised};
use kernel::{
    Action, Kernel, Principal, Problem,
    http::{Json, Path},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{api::CallPath, codes, store};

/// How to supervise.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wish {
    /// `listen`, `whisper` or `barge`.
    mode: SuperviseMode,
    /// Whose phone rings; the own one when absent.
    extension: Option<String>,
}

/// What became of it.
#[derive(Serialize, ToSchema)]
pub(super) struct Supervision {
    /// `ringing` until the supervisor has answered, then `listening`.
    status: Supervised,
    /// As it is now.
    mode: SuperviseMode,
    /// Whose phone.
    extension: String,
}

/// Supervise a call, or change how
#[utoipa::path(
    post,
    path = "/v1/calls/{id}/supervise",
    tag = "calls",
    params(CallPath),
    request_body = Wish,
    responses(
        (status = 200, description = "The phone rings, or the mode has changed", body = Supervision),
        (status = 404, description = "There is no such call"),
        (status = 409, description = "The call cannot be supervised now"),
        (status = 422, description = "The extension has no phone, or none was named"),
    ),
    security(("bearer" = []))
)]
pub(super) async fn start(
    State(calls): State<Calls>,
    State(kernel): State<Kernel>,
    principal: Principal,
    Path(path): Path<CallPath>,
    Json(wish): Json<Wish>,
) -> Result<Json<Supervision>, Problem> {
    let org = principal.authorize(Action::ControlCalls)?;
    let call = calls.get(org, &path.id).await.map_err(Problem::internal)?.ok_or_else(Problem::not_found)?;
    let extension = match wish.extension {
        Some(extension) => extension,
        None => own_extension(&kernel, &principal).await?,
    };
    let detail = json!({"mode": wish.mode.as_str(), "extension": extension}).to_string();
    store::audit_with(&kernel, org, principal.actor(), "call.supervised", &call.id, &detail)
        .await
        .map_err(Problem::internal)?;
    match calls.supervise(org, &call, &extension, wish.mode).await {
        Ok(status) => Ok(Json(Supervision { status, mode: wish.mode, extension })),
        Err(error @ SuperviseError::Unreachable) => Err(Problem::field("/extension", "unreachable", error.to_string())),
        Err(error) => Err(Problem::new(codes::CANNOT_SUPERVISE).detail(error.to_string())),
    }
}

/// End the supervision of a call; the call goes on
#[utoipa::path(
    delete,
    path = "/v1/calls/{id}/supervise",
    tag = "calls",
    params(CallPath),
    responses((status = 204, description = "Nobody supervises it"), (status = 404, description = "There is no such call up")),
    security(("bearer" = []))
)]
pub(super) async fn end(
    State(calls): State<Calls>,
    principal: Principal,
    Path(path): Path<CallPath>,
) -> Result<StatusCode, Problem> {
    let org = principal.authorize(Action::ControlCalls)?;
    if calls.end_supervision(org, &path.id) { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::not_found()) }
}

async fn own_extension(kernel: &Kernel, principal: &Principal) -> Result<String, Problem> {
    let entries = calls::extensions(kernel, principal.org()).await.map_err(Problem::internal)?;
    let own = principal.person().and_then(|person| entries.into_iter().find(|entry| entry.person == **person));
    own.map(|entry| entry.number)
        .ok_or_else(|| Problem::field("/extension", "missing_field", "who has no extension must name one"))
}
