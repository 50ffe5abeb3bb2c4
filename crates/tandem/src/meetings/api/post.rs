//! Where orders are posted (document 000), and where one-time links are made.
//! Invariant: what is answered is durable, the sign-in tokens too; a PIN, token or link is in no log.
#![expect(unused_qualifications, reason = "utoipa's path macro repeats the types of the extractors")]

use axum::body::Body;
use axum::extract::{FromRequest as _, Multipart, Request, State as Given};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use kernel::error::codes as kernel_codes;
use kernel::http::{Client, Json, MAX_JSON_BODY, Path, Query, read_body, read_json};
use kernel::{Action, Kernel, Principal, Problem, RecordError, time::rfc3339};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::asker::app_of;
use super::codes::MEETING_ENDED;
use super::read::MeetingPath;
use crate::meetings::model::{Cause, Role};
use crate::meetings::order::{self, Fields, MAX_FIELDS, Warning};
use crate::meetings::{Meetings, Scheduled, tokens};

/// The two, as the application knows them.
#[derive(Debug, Deserialize, ToSchema)]
#[expect(dead_code, reason = "only documents what is read leniently")]
pub(super) struct UserFields {
    /// Who ordered. Also `uniq_caller_id`.
    #[schema(example = "1222")]
    uid_caller: String,
    /// Who is called. Also `uniq_receiver_id`.
    #[schema(example = "56712")]
    uid_receiver: String,
}

/// The order.
#[derive(Debug, Deserialize, ToSchema)]
#[expect(dead_code, reason = "only documents what is read leniently")]
pub(super) struct MeetingFields {
    /// As the application knows it. Also `order_id`.
    #[schema(example = "551")]
    order_id: String,
    /// The longest talk, in the application's `duration_unit` (minutes): 1 to 480 minutes. Also `duration`.
    #[schema(example = 9)]
    duration: i64,
    /// The same in seconds, instead.
    duration_seconds: Option<i64>,
    /// `31-12-2031 5:00 PM`, `31-12-2031 17:00` (the day first) or RFC 3339; now when it is left out. Also `start_at`.
    #[schema(example = "31-12-2031 5:00 PM")]
    start_at: Option<String>,
    /// IANA name: the zone of a `start_at` that names none, instead of the application's.
    #[schema(example = "Europe/London")]
    time_zone: Option<String>,
}

/// One of the two.
#[derive(Debug, Deserialize, ToSchema)]
#[expect(dead_code, reason = "only documents what is read leniently")]
pub(super) struct PartyFields {
    /// For people. Also `name_of_caller`, `name_of_receiver`.
    name: Option<String>,
    /// Never shown to the other. Also `number_of_caller` or `nubmber`, `number_of_receiver` or `number`.
    #[schema(example = "+447700900123")]
    number: Option<String>,
    /// For reminders. Also `email_of_caller`, `email_of_receiver`.
    email: Option<String>,
    /// `Phone` or `Browser`; Phone when it is left out and there is a number. Also `call_type_of_caller`,
    /// `call_type_of_receiver`.
    call_type: Option<String>,
}

/// An order of document 000, nested as here or by the flat names of its table; numbers may be texts.
#[derive(Debug, Deserialize, ToSchema)]
#[expect(dead_code, reason = "only documents what is read leniently")]
pub(super) struct OrderRequest {
    user: UserFields,
    meeting: MeetingFields,
    caller: Option<PartyFields>,
    receiver: Option<PartyFields>,
}

/// In whose name, when it is a person of the organisation who orders.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct OrderQuery {
    /// `app_...`; an application's key names it already.
    application: Option<String>,
}

/// A meeting that was ordered. Keep it: the tokens are shown once.
#[derive(Serialize, ToSchema)]
pub(super) struct Ordered {
    /// Its id.
    meeting_id: i64,
    /// Signs the caller in: `POST /sessions?acc_tok=...`.
    encrypted_caller_id: String,
    /// Signs the receiver in.
    encrypted_receiver_id: String,
    /// The caller's own page. Whoever has it is the caller.
    caller_url: String,
    /// The receiver's own page.
    receiver_url: String,
    /// RFC 3339, UTC.
    starts_at: String,
    /// RFC 3339, UTC: nobody begins a call from here on.
    ends_at: String,
    /// The caller's, to dial in from another phone.
    pin: String,
    /// The receiver's.
    receiver_pin: String,
    /// The number that both see and may call; none without a `number_pool`.
    dial_in: Option<String>,
    /// What was taken otherwise than it may have been meant.
    warnings: Vec<Warning>,
}

/// Post an order
///
/// The same order of the same two, while its meeting is not over, changes that meeting and answers its id again with
/// fresh tokens.
#[utoipa::path(
    post,
    path = "/meetings",
    tag = "meetings",
    params(OrderQuery),
    request_body(content(
        (OrderRequest = "application/json"),
        (OrderRequest = "application/x-www-form-urlencoded"),
        (OrderRequest = "multipart/form-data"),
    )),
    responses(
        (status = 200, description = "The meeting, with the tokens of both", body = Ordered),
        (status = 401, description = "No good key"),
        (status = 422, description = "Each field that is wrong is named"),
    ),
    security(("bearer" = []))
)]
pub(super) async fn create(
    Given(meetings): Given<Meetings>,
    principal: Principal,
    client: Client,
    Query(query): Query<OrderQuery>,
    request: Request,
) -> Result<Json<Ordered>, Problem> {
    let org = principal.authorize(Action::ManageMeetings)?.clone();
    let app = application(meetings.kernel(), &principal, query.application).await?;
    let base = meetings.kernel().base_url(client, request.headers());
    let fields = fields_of(request).await?;
    if fields.has_nul() {
        return Err(Problem::new(kernel_codes::NUL_CHARACTER));
    }
    let settings = meetings.settings(&org, &app).await?;
    let understood = order::read(&fields, &settings, meetings.now_ms()).map_err(|errors| {
        let mut problem = Problem::new(kernel_codes::INVALID_FIELD);
        problem.errors = errors;
        problem
    })?;
    let scheduled = meetings.schedule(&org, &app, understood.order).await?;
    ordered(meetings.kernel(), &base, scheduled, understood.warnings).await.map(Json)
}

/// The application whose people are brought together.
async fn application(kernel: &Kernel, principal: &Principal, named: Option<String>) -> Result<String, Problem> {
    let refused = |message: &str| Problem::field("?application", "invalid", message);
    match (app_of(principal), named) {
        (Some(own), Some(named)) if *own != *named => Err(refused("the key is another application's")),
        (Some(own), _) => Ok(own.to_string()),
        (None, None) => Err(refused("the application whose people meet; its key names it already")),
        (None, Some(named)) => match kernel.app(principal.org(), &named).await {
            Ok(app) => Ok(app.id),
            Err(RecordError::NotFound { .. }) => Err(refused("the organisation has no such application")),
            Err(error) => Err(error.into()),
        },
    }
}

/// The answer, with tokens that are good once it is given.
async fn ordered(
    kernel: &Kernel,
    base: &str,
    scheduled: Scheduled,
    mut warnings: Vec<Warning>,
) -> Result<Ordered, Problem> {
    let Scheduled { meeting, warnings: of_pool, .. } = scheduled;
    warnings.extend(of_pool.into_iter().map(|code| Warning::new(code, explanation(code))));
    let issue = |role| tokens::issue(kernel, &meeting, role).map_err(Problem::internal);
    let (caller, of_caller) = issue(Role::Caller)?;
    let (receiver, of_receiver) = issue(Role::Receiver)?;
    kernel.db.writer().commit(vec![of_caller, of_receiver]).await.map_err(Problem::internal)?;
    Ok(Ordered {
        meeting_id: meeting.id,
        caller_url: format!("{base}/sessions?acc_tok={caller}"),
        receiver_url: format!("{base}/sessions?acc_tok={receiver}"),
        encrypted_caller_id: caller,
        encrypted_receiver_id: receiver,
        starts_at: rfc3339(meeting.starts_ms),
        ends_at: rfc3339(meeting.ends_ms),
        pin: meeting.pins.caller,
        receiver_pin: meeting.pins.receiver,
        dial_in: meeting.dial_in,
        warnings,
    })
}

/// What a warning about the number of a meeting means.
fn explanation(code: &str) -> &'static str {
    match code {
        "no_number_pool" => {
            "the application has no number_pool: the two see the organisation's number and cannot call back by dialling"
        }
        "pool_unusable" => "no number of the application's number_pool leads to meetings",
        "pool_exhausted" => "every number of the pool is taken for one of the two: whoever dials it needs a PIN",
        _ => "see the application's settings",
    }
}

/// The fields of a body, whatever it is written in. One that does not say is a form unless it begins as JSON does; one that
/// says it is a form may be JSON all the same, for that is what `curl -d` says of everything.
async fn fields_of(request: Request) -> Result<Fields, Problem> {
    let (parts, body) = request.into_parts();
    let bytes = read_body(body, MAX_JSON_BODY).await?;
    let kind = essence(&parts.headers);
    let begins_as_json = || bytes.iter().find(|byte| !byte.is_ascii_whitespace()).is_some_and(|byte| *byte == b'{');
    match kind.as_str() {
        "multipart/form-data" => multipart(parts, Body::from(bytes)).await,
        "application/x-www-form-urlencoded" if begins_as_json() => {
            read_json::<Value>(&bytes).map(|value| Fields::of_json(&value)).or_else(|_| urlencoded(&bytes))
        }
        "application/x-www-form-urlencoded" => urlencoded(&bytes),
        "application/json" => read_json::<Value>(&bytes).map(|value| Fields::of_json(&value)),
        "" if begins_as_json() => read_json::<Value>(&bytes).map(|value| Fields::of_json(&value)),
        "" => urlencoded(&bytes),
        _ => Err(Problem::new(kernel_codes::UNSUPPORTED_MEDIA_TYPE)
            .detail("JSON, application/x-www-form-urlencoded or multipart/form-data")),
    }
}

fn essence(headers: &HeaderMap) -> String {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn unreadable(why: impl Into<String>) -> Problem {
    Problem::new(kernel_codes::INVALID_REQUEST).detail(why)
}

fn urlencoded(bytes: &[u8]) -> Result<Fields, Problem> {
    let text = std::str::from_utf8(bytes).map_err(|_| unreadable("the form is not UTF-8"))?;
    Ok(Fields::of_urlencoded(text))
}

async fn multipart(parts: Parts, body: Body) -> Result<Fields, Problem> {
    let request = Request::from_parts(parts, body);
    let mut form = Multipart::from_request(request, &()).await.map_err(|error| unreadable(error.body_text()))?;
    let mut pairs = Vec::new();
    while let Some(field) = form.next_field().await.map_err(|error| unreadable(error.body_text()))? {
        let name = field.name().unwrap_or_default().to_owned();
        let text = field.text().await.map_err(|error| unreadable(error.body_text()))?;
        if pairs.len() < MAX_FIELDS {
            pairs.push((name, text));
        }
    }
    Ok(Fields::of_form(pairs))
}

/// Whose link.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LinkRequest {
    /// `caller` or `receiver`; both when it is left out.
    #[serde(rename = "as")]
    as_role: Option<String>,
}

/// Links that sign in once.
#[derive(Serialize, ToSchema)]
pub(super) struct Links {
    /// Signs the caller in.
    #[serde(skip_serializing_if = "Option::is_none")]
    caller: Option<String>,
    /// Signs the receiver in.
    #[serde(skip_serializing_if = "Option::is_none")]
    receiver: Option<String>,
    /// RFC 3339, UTC: ten minutes from now.
    expires_at: String,
}

/// Make links that sign the two in, each once and within ten minutes
#[utoipa::path(
    post,
    path = "/meetings/{id}/links",
    tag = "meetings",
    params(MeetingPath),
    request_body = Option<LinkRequest>,
    responses((status = 200, description = "The links", body = Links), (status = 409, description = "It was cancelled")),
    security(("bearer" = []))
)]
pub(super) async fn links(
    Given(meetings): Given<Meetings>,
    principal: Principal,
    client: Client,
    headers: HeaderMap,
    Path(path): Path<MeetingPath>,
    body: Body,
) -> Result<Json<Links>, Problem> {
    let org = principal.authorize(Action::ManageMeetings)?;
    let id = path.id.parse().map_err(|_| Problem::not_found())?;
    let meeting = meetings.get(org, app_of(&principal).as_deref(), id).await?;
    let request: LinkRequest = super::actions::optional(body).await?;
    let only = match request.as_role.as_deref() {
        None => None,
        Some(word) => Some(Role::parse(word).ok_or_else(|| Problem::field("/as", "invalid", "caller or receiver"))?),
    };
    if meeting.cause == Some(Cause::Cancelled) {
        return Err(Problem::new(MEETING_ENDED));
    }
    let kernel = meetings.kernel();
    let base = kernel.base_url(client, &headers);
    let mut links =
        Links { caller: None, receiver: None, expires_at: rfc3339(kernel.clock.now_ms() + tokens::LINK_MS) };
    let mut writes = Vec::new();
    for role in Role::BOTH.into_iter().filter(|role| only.is_none_or(|only| only == *role)) {
        let (token, write) = tokens::issue_link(kernel, &meeting, role);
        writes.push(write);
        let link = Some(format!("{base}/m/{}", token.expose()));
        match role {
            Role::Caller => links.caller = link,
            Role::Receiver => links.receiver = link,
        }
    }
    kernel.db.writer().commit(writes).await.map_err(Problem::internal)?;
    Ok(Json(links))
}
