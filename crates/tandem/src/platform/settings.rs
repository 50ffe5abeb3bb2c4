//! `/v1/org/settings`: what the administrators of an organisation decide.

use axum::extract::State;
use kernel::http::Json;
use kernel::{Action, Kernel, OrgSettings, Principal, Problem};
use serde_json::{Map, Value};

/// Read the settings of the organisation
#[utoipa::path(
    get,
    path = "/v1/org/settings",
    tag = "platform",
    responses((status = 200, description = "The settings", body = OrgSettings)),
    security(("bearer" = []))
)]
pub(super) async fn read(State(kernel): State<Kernel>, principal: Principal) -> Result<Json<OrgSettings>, Problem> {
    let org = principal.authorize(Action::ReadSettings)?;
    let org = kernel.org_by_id(org).await?.ok_or_else(Problem::not_found)?;
    Ok(Json(org.settings))
}

/// Change the settings that are named; null puts one back to what it was at first
#[utoipa::path(
    patch,
    path = "/v1/org/settings",
    tag = "platform",
    request_body = OrgSettings,
    responses(
        (status = 200, description = "The settings as they are now", body = OrgSettings),
        (status = 422, description = "A setting that there is not, or a value that is refused"),
    ),
    security(("bearer" = []))
)]
pub(super) async fn change(
    State(kernel): State<Kernel>,
    principal: Principal,
    Json(changes): Json<Map<String, Value>>,
) -> Result<Json<OrgSettings>, Problem> {
    let org = principal.authorize(Action::ManageSettings)?;
    Ok(Json(kernel.change_org_settings(org, &changes).await?))
}
