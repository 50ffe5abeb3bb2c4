//! `/v1/numbers`: public numbers and what each leads to.
#![expect(unused_qualifications, reason = "utoipa's path macro repeats the types of the extractors")]

use axum::{extract::State, http::StatusCode};
use calls::{Bound, NumberView};
use kernel::{
    Action, Kernel, Principal, Problem,
    error::codes,
    http::{Json, Path},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::store;

/// A public number.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct NumberPath {
    /// With or without `+`.
    pub(crate) e164: String,
}

/// What a number shall lead to.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BindRequest {
    /// `flow:ID`, `person:1001`, `team:5263` or `meetings`.
    pub(crate) to: String,
}

/// The public numbers of an organisation.
#[derive(Serialize, ToSchema)]
pub(super) struct NumberList {
    /// In their order.
    numbers: Vec<NumberView>,
}

/// List public numbers
#[utoipa::path(
    get,
    path = "/v1/numbers",
    tag = "calls",
    responses((status = 200, description = "The numbers", body = NumberList)),
    security(("bearer" = []))
)]
pub(super) async fn list(State(kernel): State<Kernel>, principal: Principal) -> Result<Json<NumberList>, Problem> {
    let org = principal.authorize(Action::ReadNumbers)?;
    let numbers = calls::public_numbers(&kernel, org).await.map_err(Problem::internal)?;
    Ok(Json(NumberList { numbers }))
}

/// Read what a public number leads to
#[utoipa::path(
    get,
    path = "/v1/numbers/{e164}",
    tag = "calls",
    params(NumberPath),
    responses((status = 200, description = "The number", body = NumberView), (status = 404, description = "It is not of the organisation")),
    security(("bearer" = []))
)]
pub(super) async fn read(
    State(kernel): State<Kernel>,
    principal: Principal,
    Path(path): Path<NumberPath>,
) -> Result<Json<NumberView>, Problem> {
    let org = principal.authorize(Action::ReadNumbers)?;
    let number = calls::public_number(&kernel, org, &path.e164).await.map_err(Problem::internal)?;
    number.map(Json).ok_or_else(Problem::not_found)
}

/// Bind a public number, new or known
#[utoipa::path(
    put,
    path = "/v1/numbers/{e164}",
    tag = "calls",
    params(NumberPath),
    request_body = BindRequest,
    responses((status = 200, description = "Bound", body = NumberView), (status = 422, description = "It cannot lead there")),
    security(("bearer" = []))
)]
pub(crate) async fn bind(
    State(kernel): State<Kernel>,
    principal: Principal,
    Path(path): Path<NumberPath>,
    Json(request): Json<BindRequest>,
) -> Result<Json<NumberView>, Problem> {
    let org = principal.authorize(Action::ManageNumbers)?;
    let refused = |code: &str, message: String| Problem::new(codes::INVALID_FIELD).and("/to", code, message);
    let to = Bound::parse(&request.to)
        .ok_or_else(|| refused("invalid", "to is flow:ID, person:1001, team:5263 or meetings".to_owned()))?;
    if let Bound::Flow(id) = &to
        && !store::flow_exists(&kernel, org, id).await.map_err(Problem::internal)?
    {
        return Err(refused("unknown_flow", format!("there is no flow {id}")));
    }
    let bound = calls::bind_number(&kernel, org, &path.e164, &to).await;
    Ok(Json(bound.map_err(|error| match error {
        kernel::RecordError::NotFound { .. } => refused("unknown_entity", error.to_string()),
        other => other.into(),
    })?))
}

/// Give a public number up
#[utoipa::path(
    delete,
    path = "/v1/numbers/{e164}",
    tag = "calls",
    params(NumberPath),
    responses((status = 204, description = "Given up"), (status = 404, description = "It is not of the organisation")),
    security(("bearer" = []))
)]
pub(super) async fn release(
    State(kernel): State<Kernel>,
    principal: Principal,
    Path(path): Path<NumberPath>,
) -> Result<StatusCode, Problem> {
    let org = principal.authorize(Action::ManageNumbers)?;
    if calls::release_number(&kernel, org, &path.e164).await.map_err(Problem::internal)? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::not_found())
    }
}
