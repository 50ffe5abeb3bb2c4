//! `POST /call/flow`, `GET /call/flow/{run}` and `POST /call/{id}/hangup` as document 003 and its contract have them,
//! with their own error envelope.
#![expect(unused_qualifications, reason = "utoipa's path macro repeats the types of the extractors")]

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{FromRef, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
    routing::{MethodRouter, get, post},
};
use calls::{CallError, CallState};
use kernel::{
    Action, Kernel, Principal, Problem,
    error::codes,
    http::{Client, Json, Path, Query, read_body},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use voice::cause::Cause;

use super::{credentials, written::FlowRequest};
use crate::flows::{
    Flows, LaunchError, Order, Purpose, Report, lenient,
    path::{Visit, events_of, visited},
    store::{self, Origin},
};

pub(super) fn routes<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    Flows: FromRef<S>,
    Kernel: FromRef<S>,
{
    OpenApiRouter::new().routes(routes!(post_flow)).routes(routes!(get_run)).routes(routes!(hangup))
}

/// The same, to be put behind a base that ends with a slash.
pub(super) fn tolerated<S>() -> [(&'static str, MethodRouter<S>); 3]
where
    S: Clone + Send + Sync + 'static,
    Flows: FromRef<S>,
    Kernel: FromRef<S>,
{
    [("/call/flow", post(post_flow)), ("/call/flow/{run_id}", get(get_run)), ("/call/{call_id}/hangup", post(hangup))]
}

/// An error or a warning of a flow.
type Finding = crate::flows::Problem;

/// A run has begun.
#[derive(Serialize, ToSchema)]
struct Accepted {
    /// `success`
    status: &'static str,
    /// `call_...`
    call_id: String,
    /// `run_...`
    flow_run_id: String,
    /// What may not be as meant.
    warnings: Vec<Finding>,
}

/// The flow would run.
#[derive(Serialize, ToSchema)]
struct Valid {
    /// `success`
    status: &'static str,
    /// What may not be as meant.
    warnings: Vec<Finding>,
}

/// Done.
#[derive(Serialize, ToSchema)]
struct Done {
    /// `success`
    status: &'static str,
}

/// What is wrong, all at once.
#[derive(Serialize, ToSchema)]
struct Refused {
    /// `error`
    status: &'static str,
    /// With one of these the flow does not run.
    errors: Vec<Finding>,
    /// What may not be as meant.
    warnings: Vec<Finding>,
}

/// A run as it is shown.
#[derive(Serialize, ToSchema)]
struct RunAnswer {
    /// `success`
    status: &'static str,
    /// The run.
    run: RunView,
}

/// See [`RunAnswer`].
#[derive(Serialize, ToSchema)]
struct RunView {
    /// `run_...`
    id: String,
    /// `call_...`; empty when the run could not begin, or answered a chat.
    call_id: String,
    /// The chat's room, of a run that answered one.
    #[serde(skip_serializing_if = "Option::is_none")]
    room_id: Option<String>,
    /// `running` or `completed`.
    state: &'static str,
    /// Why the call, or the run in a chat, ended.
    cause: Option<String>,
    /// Why a run that the command line had promised could not begin.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// RFC 3339, UTC.
    started_at: String,
    /// RFC 3339, UTC.
    ended_at: Option<String>,
    /// The steps as they were written.
    #[schema(value_type = Vec<Object>)]
    flow: Value,
    /// The steps that were taken, in their order.
    visited: Vec<Visit>,
    /// The author's variables without the sensitive ones.
    #[schema(value_type = Object)]
    variables: Value,
}

/// `?dry_run=1`
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct FlowQuery {
    /// `1`: check only, place no call.
    dry_run: Option<String>,
}

impl FlowQuery {
    fn is_dry(&self) -> bool {
        self.dry_run.as_deref().is_some_and(|text| !matches!(text, "0" | "false" | ""))
    }
}

/// A run's id.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct RunPath {
    /// `run_...`
    run_id: String,
}

/// A call's id.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct CallPath {
    /// `call_...`
    call_id: String,
}

/// Place a call and run a flow on it
#[utoipa::path(
    post,
    path = "/call/flow",
    tag = "flows",
    params(FlowQuery),
    request_body(content = FlowRequest, description = "A flow; docs/flows.md explains its steps"),
    responses(
        (status = 201, description = "The call is being placed", body = Accepted),
        (status = 200, description = "Dry run: the flow would run", body = Valid),
        (status = 400, description = "Not readable as JSON", body = Refused),
        (status = 401, description = "No good credential", body = Refused),
        (status = 413, description = "Over 256 KiB", body = Refused),
        (status = 422, description = "The flow cannot run", body = Refused),
        (status = 429, description = "A limit is reached", body = Refused),
    ),
    security(("bearer" = []), ())
)]
async fn post_flow(
    State(flows): State<Flows>,
    client: Client,
    Query(query): Query<FlowQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let kernel = flows.kernel();
    let mut reading = match read(body).await? {
        Ok(reading) => reading,
        Err(refused) => return Ok(refused),
    };
    let presented = credentials::take(&mut reading.value);
    let org = credentials::admit(kernel, client, &headers, presented, Action::RunFlow).await?;
    let (flow, report) = flows.judge(&org.id, &reading, Purpose::Run).await.map_err(Problem::internal)?;
    let Some(flow) = flow else {
        return Ok(refuse(StatusCode::UNPROCESSABLE_ENTITY, report));
    };
    if query.is_dry() {
        return Ok(Json(Valid { status: "success", warnings: report.warnings }).into_response());
    }
    let origin = Origin::Posted(store::without_secrets(reading.value));
    match flows.launch(&org, Arc::new(flow), Order::of(origin)).await {
        Ok(launched) => {
            let accepted = Accepted {
                status: "success",
                call_id: launched.call,
                flow_run_id: launched.run,
                warnings: report.warnings,
            };
            Ok((StatusCode::CREATED, Json(accepted)).into_response())
        }
        Err(error) => match refusal(&error) {
            Some((code, message)) => {
                let mut report = report;
                report.error(code, "/flow/0/number", message);
                Ok(refuse(StatusCode::UNPROCESSABLE_ENTITY, report))
            }
            None => Err(problem_of(error)),
        },
    }
}

/// Read a run: its state, the steps it took, its variables
#[utoipa::path(
    get,
    path = "/call/flow/{run_id}",
    tag = "flows",
    params(RunPath),
    responses(
        (status = 200, description = "The run", body = RunAnswer),
        (status = 401, description = "No good credential", body = Refused),
        (status = 404, description = "The organisation has no such run", body = Refused),
    ),
    security(("bearer" = []))
)]
async fn get_run(
    State(flows): State<Flows>,
    principal: Principal,
    Path(path): Path<RunPath>,
) -> Result<Json<RunAnswer>, Problem> {
    // Who may run a flow may see what became of it.
    let org = principal.authorize(Action::ReadFlows).or_else(|_| principal.authorize(Action::RunFlow))?;
    let kernel = flows.kernel();
    let run =
        store::run(&kernel.db, org, &path.run_id).await.map_err(Problem::internal)?.ok_or_else(Problem::not_found)?;
    let call = flows.calls().get(org, &run.call).await.map_err(Problem::internal)?;
    let ended = run.error.is_some()
        || run.ended_ms.is_some()
        || call.as_ref().is_some_and(|call| call.state == CallState::Completed);
    let visited = visited(&events_of(kernel, org, run.key(), "step.").await.map_err(Problem::internal)?, ended);
    let (cause, ended_at) = match call {
        None if run.room.is_some() => (run.cause, run.ended_ms.map(kernel::time::rfc3339)),
        Some(call) => (call.cause, call.ended_at),
        None if ended => (Some(Cause::FlowError.as_str().to_owned()), Some(kernel::time::rfc3339(run.started_ms))),
        None => (None, None),
    };
    Ok(Json(RunAnswer {
        status: "success",
        run: RunView {
            id: run.id,
            call_id: run.call,
            room_id: run.room,
            state: if ended { "completed" } else { "running" },
            cause,
            error: run.error,
            started_at: kernel::time::rfc3339(run.started_ms),
            ended_at,
            flow: run.body.get("flow").cloned().unwrap_or_default(),
            visited,
            variables: run.variables,
        },
    }))
}

/// Hang a call up
#[utoipa::path(
    post,
    path = "/call/{call_id}/hangup",
    tag = "flows",
    params(CallPath),
    request_body(content = Option<Object>, description = "Empty with a Bearer header; else cloud_id, auth_token and cloud_sid"),
    responses(
        (status = 200, description = "It is being hung up, or was over already", body = Done),
        (status = 401, description = "No good credential", body = Refused),
        (status = 404, description = "The organisation has no such call", body = Refused),
    ),
    security(("bearer" = []), ())
)]
async fn hangup(
    State(flows): State<Flows>,
    client: Client,
    Path(path): Path<CallPath>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let bytes = read_body(body, lenient::MAX_BODY).await?;
    let presented = if bytes.iter().all(u8::is_ascii_whitespace) {
        credentials::Presented::default()
    } else {
        match lenient::read(&bytes) {
            Ok(mut reading) => credentials::take(&mut reading.value),
            Err(error) => return Ok(unreadable(&error)),
        }
    };
    let org = credentials::admit(flows.kernel(), client, &headers, presented, Action::ControlCalls).await?;
    flows.calls().hangup(&org.id, &path.call_id).await.map_err(|error| problem_of(error.into()))?;
    Ok(Json(Done { status: "success" }).into_response())
}

/// Reads a flow's body; the inner error is the answer.
async fn read(body: Body) -> Result<Result<lenient::Reading, Response>, Problem> {
    let bytes = read_body(body, lenient::MAX_BODY).await?;
    Ok(lenient::read(&bytes).map_err(|error| unreadable(&error)))
}

fn unreadable(error: &lenient::ReadError) -> Response {
    let status = match error {
        lenient::ReadError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        lenient::ReadError::TooDeep { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::BAD_REQUEST,
    };
    let mut report = Report::default();
    report.error(error.code(), error.pointer(), error.to_string());
    refuse(status, report)
}

fn refuse(status: StatusCode, report: Report) -> Response {
    (status, Json(Refused { status: "error", errors: report.errors, warnings: report.warnings })).into_response()
}

/// The documented envelope of an error that no check of a flow found.
#[must_use]
pub fn envelope_of(problem: &Problem) -> Response {
    let body = problem.body();
    let mut report = Report::default();
    for field in body.errors {
        report.errors.push(Finding {
            code: body.code.to_owned().into(),
            path: field.pointer.clone(),
            message: field.message.clone(),
        });
    }
    if report.errors.is_empty() {
        let message = body.detail.unwrap_or(body.title);
        let message = body.request_id.map_or_else(|| message.to_owned(), |id| format!("{message} (request {id})"));
        report.errors.push(Finding { code: body.code.to_owned().into(), path: String::new(), message });
    }
    let mut response = refuse(problem.status(), report);
    problem.decorate(&mut response);
    response
}

/// What the author can mend about a flow that passed its checks and could not begin.
fn refusal(error: &LaunchError) -> Option<(&'static str, String)> {
    let code = match error {
        LaunchError::NobodyToCall => "entry_not_call",
        LaunchError::Number(_) => "number_not_allowed",
        LaunchError::Call(CallError::Number(calls::NumberError::Unknown)) => "unknown_entity",
        LaunchError::Call(CallError::Number(_)) => "number_not_allowed",
        LaunchError::Gone | LaunchError::Call(_) | LaunchError::Publish(_) => return None,
    };
    Some((code, error.to_string()))
}

/// The others.
pub(super) fn problem_of(error: LaunchError) -> Problem {
    match error {
        LaunchError::Call(CallError::Limit(wait)) => wait.into(),
        LaunchError::Gone | LaunchError::Call(CallError::NotFound) => Problem::not_found(),
        LaunchError::Call(CallError::Draining) => Problem::new(codes::UNAVAILABLE).retry_after(10),
        other => match refusal(&other) {
            Some((code, message)) => Problem::new(codes::INVALID_FIELD).and("/to", code, message),
            None => Problem::internal(other),
        },
    }
}
