//! `/v1/flows`: flows that are kept, with their versions. A body is the one of `POST /call/flow` with a `name`.
#![expect(unused_qualifications, reason = "utoipa's path macro repeats the types of the extractors")]

use std::sync::Arc;

use axum::{
    body::Body,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use kernel::{
    Action, Principal, Problem,
    error::codes as kernel_codes,
    http::{Json, PageQuery, Path, Query, cursor, read_body},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::{documented::problem_of, written::FlowDraft};
use crate::flows::{
    Flows, Launched, Order, Purpose, Report, lenient,
    model::{Flow, whole_number},
    store::{self, Origin, SaveError, SavedFlow},
};

/// Error codes of this desk.
pub mod codes {
    kernel::error_codes! {
        INVALID_FLOW = "invalid_flow", 422, "The flow cannot run",
            "Each entry of errors[] has a code of the call-flow contract and a JSON pointer to the field or step.";
        FLOW_IN_USE = "flow_in_use", 409, "Numbers lead to this flow",
            "The flow is reached by public numbers, which the detail names. Bind them to something else first.";
        TOO_MANY_FLOWS = "too_many_flows", 409, "The organisation has too many flows",
            "Delete flows that nobody uses, then save again.";
        CALLBACK_OVER = "callback_over", 409, "The callback is over",
            "It was made, missed or called off before. Its state and reason say which.";
        CALLBACK_CONNECTED = "callback_connected", 409, "The two are talking",
            "A callback is called off before its two parties talk. To end their call, hang up the call that call_id names.";
    }
}

/// An error or a warning of a flow.
pub(crate) type Finding = crate::flows::Problem;

/// Longest name, in characters.
const MAX_NAME: usize = 200;

/// A saved flow.
#[derive(Serialize, ToSchema)]
pub(super) struct FlowView {
    /// `flow_...`
    id: String,
    /// The author's name for it.
    name: String,
    /// The newest version.
    version: i64,
    /// RFC 3339, UTC.
    created_at: String,
    /// RFC 3339, UTC.
    updated_at: String,
    /// `flow`, `record` and `publish` as they were saved; absent in lists.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    body: Map<String, Value>,
    /// What may not be as meant; when it is saved.
    #[serde(skip_serializing_if = "Option::is_none")]
    warnings: Option<Vec<Finding>>,
}

impl FlowView {
    fn of(saved: SavedFlow, warnings: Option<Vec<Finding>>) -> Self {
        let body = match saved.body.map(store::without_secrets) {
            Some(Value::Object(body)) => body,
            _ => Map::new(),
        };
        Self {
            id: saved.id,
            name: saved.name,
            version: saved.version,
            created_at: kernel::time::rfc3339(saved.created_ms),
            updated_at: kernel::time::rfc3339(saved.updated_ms),
            body,
            warnings,
        }
    }
}

/// A page of flows.
#[derive(Serialize, ToSchema)]
pub(super) struct FlowList {
    /// In the order of their making.
    flows: Vec<FlowView>,
    /// Ask with it for the next page.
    cursor: Option<String>,
}

/// A flow's id.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct FlowPath {
    /// `flow_...`
    id: String,
}

/// `?version=2`
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct VersionQuery {
    /// Absent = the newest.
    version: Option<i64>,
}

/// Whom to call.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RunRequest {
    /// Instead of the number of the flow's `call` step: a text or a whole number.
    #[schema(value_type = Option<String>)]
    to: Option<Value>,
}

/// A run has begun.
#[derive(Serialize, ToSchema)]
pub(super) struct RunStarted {
    /// `call_...`
    call_id: String,
    /// `run_...`
    flow_run_id: String,
}

/// Save a flow
#[utoipa::path(
    post,
    path = "/v1/flows",
    tag = "flows",
    request_body(content = FlowDraft, description = "A flow; docs/flows.md explains its steps"),
    responses((status = 201, description = "Saved", body = FlowView), (status = 422, description = "The flow cannot run")),
    security(("bearer" = []))
)]
pub(super) async fn create(State(flows): State<Flows>, principal: Principal, body: Body) -> Result<Response, Problem> {
    let org = principal.authorize(Action::ManageFlows)?;
    let (saved, warnings) = save_new(&flows, org, &read_body(body, lenient::MAX_BODY).await?).await?;
    Ok((StatusCode::CREATED, Json(FlowView::of(saved, Some(warnings)))).into_response())
}

/// Saves a new flow, whose name is in the body.
///
/// # Errors
/// What is wrong with it, all at once.
pub(crate) async fn save_new(flows: &Flows, org: &str, body: &[u8]) -> Result<(SavedFlow, Vec<Finding>), Problem> {
    let draft = Draft::read(flows, org, body).await?;
    let name =
        draft.name.ok_or_else(|| Problem::new(codes::INVALID_FLOW).and("", "missing_field", "name is missing"))?;
    let saved = store::create(flows.kernel(), org, &name, &draft.body).await.map_err(not_saved)?;
    Ok((saved, draft.report.warnings))
}

/// List saved flows
#[utoipa::path(
    get,
    path = "/v1/flows",
    tag = "flows",
    params(PageQuery),
    responses((status = 200, description = "A page of flows", body = FlowList)),
    security(("bearer" = []))
)]
pub(super) async fn list(
    State(flows): State<Flows>,
    principal: Principal,
    Query(page): Query<PageQuery>,
) -> Result<Json<FlowList>, Problem> {
    let org = principal.authorize(Action::ReadFlows)?;
    let after = page.after()?.unwrap_or_default();
    let limit = page.limit()?;
    let found = store::list(&flows.kernel().db, org, &after, limit).await.map_err(Problem::internal)?;
    let full = usize::try_from(limit).is_ok_and(|limit| found.len() == limit);
    let cursor = found.last().filter(|_| full).map(|last| cursor(&last.id));
    Ok(Json(FlowList { flows: found.into_iter().map(|flow| FlowView::of(flow, None)).collect(), cursor }))
}

/// Read a saved flow, in its newest version or another
#[utoipa::path(
    get,
    path = "/v1/flows/{id}",
    tag = "flows",
    params(FlowPath, VersionQuery),
    responses((status = 200, description = "The flow", body = FlowView), (status = 404, description = "There is none")),
    security(("bearer" = []))
)]
pub(super) async fn read(
    State(flows): State<Flows>,
    principal: Principal,
    Path(path): Path<FlowPath>,
    Query(query): Query<VersionQuery>,
) -> Result<Json<FlowView>, Problem> {
    let org = principal.authorize(Action::ReadFlows)?;
    let db = &flows.kernel().db;
    let mut saved = store::one(db, org, &path.id).await.map_err(Problem::internal)?.ok_or_else(Problem::not_found)?;
    if let Some(version) = query.version {
        let body = store::version(db, org, &path.id, version).await.map_err(Problem::internal)?;
        saved.body = Some(body.ok_or_else(Problem::not_found)?);
        saved.version = version;
    }
    Ok(Json(FlowView::of(saved, None)))
}

/// Save a new version of a flow; `publish.secret` stays when it is left out and `publish.url` stays
#[utoipa::path(
    put,
    path = "/v1/flows/{id}",
    tag = "flows",
    params(FlowPath),
    request_body(content = FlowDraft, description = "The whole flow as it shall be; name if it changes"),
    responses((status = 200, description = "Saved", body = FlowView), (status = 404, description = "There is none")),
    security(("bearer" = []))
)]
pub(super) async fn update(
    State(flows): State<Flows>,
    principal: Principal,
    Path(path): Path<FlowPath>,
    body: Body,
) -> Result<Json<FlowView>, Problem> {
    let org = principal.authorize(Action::ManageFlows)?;
    let body = read_body(body, lenient::MAX_BODY).await?;
    let (saved, warnings) = save_version(&flows, org, &path.id, None, &body).await?;
    Ok(Json(FlowView::of(saved, Some(warnings))))
}

/// Saves a new version of a flow; a name in the body renames it. `seen` is the version that its author began with.
///
/// # Errors
/// 404, what is wrong with the body, all at once, or 409 when there is a later version than the one that was seen.
pub(crate) async fn save_version(
    flows: &Flows,
    org: &str,
    id: &str,
    seen: Option<i64>,
    body: &[u8],
) -> Result<(SavedFlow, Vec<Finding>), Problem> {
    // What is not there is not judged.
    store::one(&flows.kernel().db, org, id).await.map_err(Problem::internal)?.ok_or_else(Problem::not_found)?;
    let draft = Draft::read(flows, org, body).await?;
    let new = (draft.name.as_deref(), &draft.body);
    let saved = store::update(flows.kernel(), org, id, seen, new).await.map_err(not_saved)?;
    flows.shelf().clear();
    Ok((saved.ok_or_else(Problem::not_found)?, draft.report.warnings))
}

/// Delete a flow; runs of it stay readable
#[utoipa::path(
    delete,
    path = "/v1/flows/{id}",
    tag = "flows",
    params(FlowPath),
    responses((status = 204, description = "Deleted"), (status = 409, description = "Numbers lead to it")),
    security(("bearer" = []))
)]
pub(super) async fn delete(
    State(flows): State<Flows>,
    principal: Principal,
    Path(path): Path<FlowPath>,
) -> Result<StatusCode, Problem> {
    let org = principal.authorize(Action::ManageFlows)?;
    remove(&flows, org, &path.id).await.map(|()| StatusCode::NO_CONTENT)
}

/// Deletes a flow that no number and no product of a chat leads to.
///
/// # Errors
/// 404, or 409 with the numbers and products.
pub(crate) async fn remove(flows: &Flows, org: &str, id: &str) -> Result<(), Problem> {
    let db = &flows.kernel().db;
    let mut leading = store::numbers_of(db, org, id).await.map_err(Problem::internal)?;
    leading.extend(store::products_of(db, org, id).await.map_err(Problem::internal)?);
    if !leading.is_empty() {
        return Err(Problem::new(codes::FLOW_IN_USE).detail(leading.join(", ")));
    }
    if store::delete(flows.kernel(), org, id).await.map_err(Problem::internal)? {
        flows.shelf().clear();
        Ok(())
    } else {
        Err(Problem::not_found())
    }
}

/// Place a call and run a saved flow on it
#[utoipa::path(
    post,
    path = "/v1/flows/{id}/run",
    tag = "flows",
    params(FlowPath),
    request_body = Option<RunRequest>,
    responses((status = 201, description = "The call is being placed", body = RunStarted), (status = 404, description = "There is none")),
    security(("bearer" = []))
)]
pub(super) async fn run(
    State(flows): State<Flows>,
    principal: Principal,
    Path(path): Path<FlowPath>,
    body: Body,
) -> Result<Response, Problem> {
    let org = principal.authorize(Action::RunFlow)?;
    let launched = run_saved(&flows, org, &path.id, read_to(body).await?).await?;
    Ok((StatusCode::CREATED, Json(RunStarted { call_id: launched.call, flow_run_id: launched.run })).into_response())
}

/// Places a call and runs a saved flow on it.
///
/// # Errors
/// 404, or why it does not run.
pub(crate) async fn run_saved(flows: &Flows, org: &str, id: &str, to: Option<String>) -> Result<Launched, Problem> {
    let kernel = flows.kernel();
    let saved = store::one(&kernel.db, org, id).await.map_err(Problem::internal)?.ok_or_else(Problem::not_found)?;
    let body = store::with_secrets(kernel, saved.body.unwrap_or_default()).map_err(Problem::internal)?;
    let flow = judge_saved(flows, org, body).await?;
    let org = kernel.org_by_id(org).await?.ok_or_else(Problem::not_found)?;
    let origin = Origin::Saved { flow: saved.id, version: saved.version };
    flows.launch(&org, Arc::new(flow), Order { to, ..Order::of(origin) }).await.map_err(problem_of)
}

/// The world may have changed since it was saved: numbers, people, the egress list.
async fn judge_saved(flows: &Flows, org: &str, body: Value) -> Result<Flow, Problem> {
    let reading = lenient::Reading { value: body, lenient: false };
    match flows.judge(org, &reading, Purpose::Save).await.map_err(Problem::internal)? {
        (Some(flow), _) => Ok(flow),
        (None, report) => Err(invalid(&report)),
    }
}

async fn read_to(body: Body) -> Result<Option<String>, Problem> {
    let bytes = read_body(body, lenient::MAX_BODY).await?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    let request: RunRequest = serde_json::from_slice(&bytes)
        .map_err(|error| Problem::new(kernel_codes::UNREADABLE_JSON).detail(error.to_string()))?;
    match request.to {
        None => Ok(None),
        Some(Value::String(to)) => Ok(Some(to)),
        Some(Value::Number(number)) if whole_number(&number).is_some() => Ok(whole_number(&number)),
        Some(_) => {
            Err(Problem::new(kernel_codes::INVALID_FIELD).and("/to", "invalid_type", "to must be a number to call"))
        }
    }
}

/// A body to be saved, checked.
struct Draft {
    name: Option<String>,
    /// Without name and credentials.
    body: Value,
    report: Report,
}

impl Draft {
    async fn read(flows: &Flows, org: &str, body: &[u8]) -> Result<Self, Problem> {
        let mut reading = lenient::read(body).map_err(|error| unreadable(&error))?;
        super::credentials::take(&mut reading.value);
        let (flow, mut report) = flows.judge(org, &reading, Purpose::Save).await.map_err(Problem::internal)?;
        let name = take_name(&mut reading.value, &mut report);
        if flow.is_none() || !report.errors.is_empty() {
            return Err(invalid(&report));
        }
        Ok(Self { name, body: reading.value, report })
    }
}

fn take_name(body: &mut Value, report: &mut Report) -> Option<String> {
    match body.as_object_mut()?.shift_remove("name")? {
        Value::String(name) if (1..=MAX_NAME).contains(&name.trim().chars().count()) => Some(name.trim().to_owned()),
        Value::String(_) => {
            report.error("out_of_range", "/name", format!("a name has 1 to {MAX_NAME} characters"));
            None
        }
        _ => {
            report.error("invalid_type", "/name", "name must be a text");
            None
        }
    }
}

fn unreadable(error: &lenient::ReadError) -> Problem {
    match error {
        lenient::ReadError::TooLarge => Problem::new(kernel_codes::BODY_TOO_LARGE).detail(error.to_string()),
        lenient::ReadError::TooDeep { pointer, .. } => {
            Problem::new(codes::INVALID_FLOW).and(pointer, error.code(), error.to_string())
        }
        _ => Problem::new(kernel_codes::UNREADABLE_JSON).detail(error.to_string()),
    }
}

fn invalid(report: &Report) -> Problem {
    report.errors.iter().fold(Problem::new(codes::INVALID_FLOW), |problem, error| {
        problem.and(&error.path, error.code.as_ref(), &error.message)
    })
}

fn not_saved(error: SaveError) -> Problem {
    match error {
        SaveError::TooMany => Problem::new(codes::TOO_MANY_FLOWS),
        SaveError::Conflict => Problem::new(kernel_codes::CONFLICT),
        SaveError::Secret(_) | SaveError::Db(_) => Problem::internal(error),
    }
}
