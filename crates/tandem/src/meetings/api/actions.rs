//! What an application, or one of the two, does with a meeting.

use axum::body::Body;
use axum::extract::State as Given;
use kernel::error::codes;
use kernel::http::{Json, MAX_JSON_BODY, Path, read_body};
use kernel::{Action as May, Principal, Problem};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::asker::{Asker, Reached};
use super::fields;
use super::read::{MeetingPath, shown};
use super::view::MeetingView;
use crate::meetings::model::{Actor, Change, Role};
use crate::meetings::{Action, Meetings};

/// Who is rung first.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CallRequest {
    /// `caller`, as when it is left out, or `receiver`. One of the two calls as itself.
    #[serde(rename = "as")]
    as_role: Option<String>,
}

/// By how much.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ExtendRequest {
    /// A number, or a text that is one.
    #[schema(value_type = Option<i64>)]
    seconds: Option<Value>,
    /// Instead of seconds.
    #[schema(value_type = Option<i64>)]
    minutes: Option<Value>,
}

/// What changes of one of the two; what is left out stays.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PartyRequest {
    /// Another person, as the application knows it: the tokens of the former one end, and name, number and mail address
    /// are what the application last said of the new one, unless they are given here.
    #[schema(value_type = Option<String>)]
    pub(super) uid: Option<Value>,
    /// For people.
    pub(super) name: Option<String>,
    /// A number or a text; an empty text takes it away.
    #[schema(value_type = Option<String>)]
    pub(super) number: Option<Value>,
    /// Where its notices go; an empty text takes it away.
    pub(super) email: Option<String>,
    /// `Phone` or `Browser`.
    pub(super) call_type: Option<String>,
}

/// What changes; what is left out stays.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeRequest {
    /// `31-12-2031 5:00 PM`, `31-12-2031 17:00` or RFC 3339.
    pub(super) start_at: Option<String>,
    /// IANA name: the zone of a `start_at` that names none, instead of the application's.
    pub(super) time_zone: Option<String>,
    /// In the application's `duration_unit`.
    #[schema(value_type = Option<i64>)]
    pub(super) duration: Option<Value>,
    /// Instead of `duration`.
    #[schema(value_type = Option<i64>)]
    pub(super) duration_seconds: Option<Value>,
    /// Who ordered.
    pub(super) caller: Option<PartyRequest>,
    /// Who is called.
    pub(super) receiver: Option<PartyRequest>,
}

/// Reads a body that may be missing.
pub(super) async fn optional<T: serde::de::DeserializeOwned + Default>(body: Body) -> Result<T, Problem> {
    let bytes = read_body(body, MAX_JSON_BODY).await?;
    if bytes.iter().all(u8::is_ascii_whitespace) { Ok(T::default()) } else { kernel::http::read_json(&bytes) }
}

async fn act(meetings: &Meetings, reached: Reached, action: Action) -> Result<Json<MeetingView>, Problem> {
    let Reached { org, app, meeting, by } = reached;
    let meeting = meetings.act(&org, app.as_deref(), meeting.id, by, action).await?;
    shown(meetings, &Reached { org, app, meeting, by }).await.map(Json)
}

/// Connect the two: one is rung, then the other
#[utoipa::path(
    post,
    path = "/meetings/{id}/call",
    tag = "meetings",
    params(MeetingPath),
    request_body = Option<CallRequest>,
    responses((status = 200, description = "The first party is being rung", body = MeetingView), (status = 409, description = "It is not open, or has a call")),
    security(("bearer" = []))
)]
pub(super) async fn call(
    Given(meetings): Given<Meetings>,
    asker: Asker,
    Path(path): Path<MeetingPath>,
    body: Body,
) -> Result<Json<MeetingView>, Problem> {
    let reached = asker.reach(&meetings, &path.id, May::ManageMeetings).await?;
    let request: CallRequest = optional(body).await?;
    let as_role = match request.as_role.as_deref() {
        None => None,
        Some(word) => Some(Role::parse(word).ok_or_else(|| Problem::field("/as", "invalid", "caller or receiver"))?),
    };
    act(&meetings, reached, Action::Call { as_role }).await
}

/// Let the two talk longer
#[utoipa::path(
    post,
    path = "/meetings/{id}/extend",
    tag = "meetings",
    params(MeetingPath),
    request_body = ExtendRequest,
    responses((status = 200, description = "Extended", body = MeetingView), (status = 422, description = "It cannot be extended by so much")),
    security(("bearer" = []))
)]
pub(super) async fn extend(
    Given(meetings): Given<Meetings>,
    asker: Asker,
    Path(path): Path<MeetingPath>,
    Json(request): Json<ExtendRequest>,
) -> Result<Json<MeetingView>, Problem> {
    let reached = asker.reach(&meetings, &path.id, May::ManageMeetings).await?;
    let ms = fields::length(request.seconds.as_ref(), request.minutes.as_ref())?;
    act(&meetings, reached, Action::Extend { ms }).await
}

/// End a meeting that went well
#[utoipa::path(
    post,
    path = "/meetings/{id}/finish",
    tag = "meetings",
    params(MeetingPath),
    responses((status = 200, description = "Ended, completed", body = MeetingView), (status = 409, description = "It has not begun, or is over")),
    security(("bearer" = []))
)]
pub(super) async fn finish(
    Given(meetings): Given<Meetings>,
    asker: Asker,
    Path(path): Path<MeetingPath>,
) -> Result<Json<MeetingView>, Problem> {
    let reached = asker.reach(&meetings, &path.id, May::ManageMeetings).await?;
    act(&meetings, reached, Action::Finish).await
}

/// Call a meeting off; its sign-in tokens end
#[utoipa::path(
    post,
    path = "/meetings/{id}/cancel",
    tag = "meetings",
    params(MeetingPath),
    responses((status = 200, description = "Ended, cancelled", body = MeetingView), (status = 409, description = "It is over")),
    security(("bearer" = []))
)]
pub(super) async fn cancel(
    Given(meetings): Given<Meetings>,
    asker: Asker,
    Path(path): Path<MeetingPath>,
) -> Result<Json<MeetingView>, Problem> {
    let reached = asker.reach(&meetings, &path.id, May::ManageMeetings).await?;
    act(&meetings, reached, Action::Cancel).await
}

/// Move a meeting, or change its parties; tokens of a person who is no longer one of them end
#[utoipa::path(
    patch,
    path = "/meetings/{id}",
    tag = "meetings",
    params(MeetingPath),
    request_body = ChangeRequest,
    responses((status = 200, description = "Changed", body = MeetingView), (status = 422, description = "A field is wrong")),
    security(("bearer" = []))
)]
pub(super) async fn change(
    Given(meetings): Given<Meetings>,
    principal: Principal,
    Path(path): Path<MeetingPath>,
    Json(request): Json<ChangeRequest>,
) -> Result<Json<MeetingView>, Problem> {
    let reached = Asker::Credential(principal).reach(&meetings, &path.id, May::ManageMeetings).await?;
    let settings = meetings.settings(&reached.org, &reached.meeting.app).await?;
    let mut change = fields::change(&request, &settings, meetings.now_ms())?;
    for person in [&mut change.caller.person, &mut change.receiver.person].into_iter().flatten() {
        let known = meetings.person(&reached.org, &reached.meeting.app, &person.uid).await;
        if let Some(known) = known.map_err(Problem::internal)? {
            *person = known;
        }
    }
    if change == Change::default() {
        return Err(Problem::new(codes::INVALID_FIELD).and("", "missing_field", "nothing that changes"));
    }
    debug_assert_eq!(reached.by, Actor::Application, "a credential acts for the application");
    act(&meetings, reached, Action::Change(Box::new(change))).await
}
