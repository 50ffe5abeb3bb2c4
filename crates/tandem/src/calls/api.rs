//! `/v1/calls`: lists, one call, its events and recordings.
#![expect(unused_qualifications, reason = "utoipa's path macro repeats the types of the extractors")]

use axum::extract::{FromRef, State};
use calls::{CallFilter, CallState, CallView, Calls, Direction, records, records::RecordingView};
use kernel::{
    Action, Kernel, Principal, Problem,
    error::codes,
    http::{Json, PageQuery, Path, Query, cursor},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{audio, conferences, extensions, numbers, queues, sight::Sight, supervise, teams, voicemail};

/// All routes of the desk.
pub fn routes<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    Calls: FromRef<S>,
    Kernel: FromRef<S>,
{
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(read))
        .routes(routes!(events))
        .routes(routes!(recordings))
        .routes(routes!(supervise::start, supervise::end))
        .routes(routes!(conferences::list))
        .routes(routes!(conferences::read, conferences::end))
        .routes(routes!(conferences::change_member, conferences::kick_member))
        .routes(routes!(conferences::start_recording, conferences::stop_recording))
        .routes(routes!(audio::recording))
        .routes(routes!(audio::message))
        .routes(routes!(voicemail::list))
        .routes(routes!(voicemail::read, voicemail::delete))
        .routes(routes!(extensions::list, extensions::create))
        .routes(routes!(extensions::change))
        .routes(routes!(numbers::list))
        .routes(routes!(numbers::read, numbers::bind, numbers::release))
        .routes(routes!(teams::list, teams::create))
        .routes(routes!(teams::read, teams::change))
        .routes(routes!(teams::agents))
        .routes(routes!(queues::list))
        .routes(routes!(queues::own, queues::say))
}

/// Who may hear recordings: all of them, or those of own calls.
pub(crate) const RECORDINGS: (Action, Action) = (Action::ReadRecordings, Action::ReadOwnRecordings);

/// A call's id.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct CallPath {
    /// `call_...`
    pub(super) id: String,
}

/// Which calls.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct CallQuery {
    /// `initiated`, `ringing`, `answered` or `completed`.
    pub(crate) state: Option<String>,
    /// `inbound` or `outbound`.
    pub(crate) direction: Option<String>,
    /// Only calls from this number.
    pub(crate) from: Option<String>,
    /// Only calls to this number.
    pub(crate) to: Option<String>,
    /// Only calls from or to this number.
    pub(crate) number: Option<String>,
    /// Only calls that this extension took part in. Who sees only own calls names one of the own extensions, and means
    /// the first one by saying nothing.
    pub(crate) extension: Option<String>,
    /// Where the last page ended.
    pub(crate) cursor: Option<String>,
    /// 1 to 500; 50 when absent.
    pub(crate) limit: Option<u32>,
}

/// A page of calls.
#[derive(Serialize, ToSchema)]
pub(crate) struct CallList {
    /// Newest first.
    pub(crate) calls: Vec<CallView>,
    /// Ask with it for the next page.
    pub(crate) cursor: Option<String>,
}

/// A page of events.
#[derive(Serialize, ToSchema)]
pub(super) struct EventList {
    /// Envelopes, oldest first; `seq` has no holes.
    #[schema(value_type = Vec<Object>)]
    events: Vec<Box<RawValue>>,
    /// Ask with it for the next page.
    pub(crate) cursor: Option<String>,
}

/// The recordings of a call.
#[derive(Serialize, ToSchema)]
pub(super) struct RecordingList {
    /// Oldest first.
    recordings: Vec<RecordingView>,
}

/// List calls, newest first
#[utoipa::path(
    get,
    path = "/v1/calls",
    tag = "calls",
    params(CallQuery),
    responses((status = 200, description = "A page of calls", body = CallList)),
    security(("bearer" = []))
)]
pub(crate) async fn list(
    State(calls): State<Calls>,
    State(kernel): State<Kernel>,
    principal: Principal,
    Query(query): Query<CallQuery>,
) -> Result<Json<CallList>, Problem> {
    let (org, sight) = Sight::of(&kernel, &principal, Action::ReadCalls, Action::UseOwnPhone).await?;
    let page = PageQuery { cursor: query.cursor, limit: query.limit };
    let limit = u32::try_from(page.limit()?).unwrap_or(calls::MAX_PAGE);
    let mut filter = CallFilter {
        state: word("?state", query.state.as_deref(), CallState::parse)?,
        direction: word("?direction", query.direction.as_deref(), Direction::parse)?,
        from: query.from,
        to: query.to,
        number: query.number,
        party: None,
        cursor: page.after()?,
    };
    filter.party = match (query.extension, &sight) {
        (Some(wanted), sight) if !sight.covers(&wanted) => return Err(Problem::not_found()),
        (None, Sight::Own(own)) => match own.first() {
            Some(first) => Some(first.clone()),
            None => return Ok(Json(CallList { calls: Vec::new(), cursor: None })),
        },
        (wanted, _) => wanted,
    };
    let found = calls.list(&org, filter, limit).await.map_err(Problem::internal)?;
    Ok(Json(CallList { calls: found.calls, cursor: found.cursor.as_deref().map(cursor) }))
}

/// One of a few words, if one is given.
fn word<T>(field: &str, text: Option<&str>, parse: fn(&str) -> Option<T>) -> Result<Option<T>, Problem> {
    let unknown =
        |text: &str| Problem::new(codes::INVALID_REQUEST).and(field, "unknown", format!("there is no \"{text}\""));
    text.map(|text| parse(text).ok_or_else(|| unknown(text))).transpose()
}

/// Read a call
#[utoipa::path(
    get,
    path = "/v1/calls/{id}",
    tag = "calls",
    params(CallPath),
    responses((status = 200, description = "The call", body = CallView), (status = 404, description = "There is none")),
    security(("bearer" = []))
)]
pub(super) async fn read(
    State(calls): State<Calls>,
    State(kernel): State<Kernel>,
    principal: Principal,
    Path(path): Path<CallPath>,
) -> Result<Json<CallView>, Problem> {
    let (_, call) = seen(&calls, &kernel, &principal, (Action::ReadCalls, Action::UseOwnPhone), &path.id).await?;
    Ok(Json(call))
}

/// Read the events of a call, oldest first
#[utoipa::path(
    get,
    path = "/v1/calls/{id}/events",
    tag = "calls",
    params(CallPath, PageQuery),
    responses((status = 200, description = "A page of events", body = EventList), (status = 404, description = "There is no such call")),
    security(("bearer" = []))
)]
pub(super) async fn events(
    State(calls): State<Calls>,
    State(kernel): State<Kernel>,
    principal: Principal,
    Path(path): Path<CallPath>,
    Query(page): Query<PageQuery>,
) -> Result<Json<EventList>, Problem> {
    let (org, call) = seen(&calls, &kernel, &principal, (Action::ReadCalls, Action::UseOwnPhone), &path.id).await?;
    let after = match page.after()? {
        None => 0,
        Some(seq) => seq.parse().map_err(|_| Problem::new(codes::INVALID_CURSOR))?,
    };
    let limit = u32::try_from(page.limit()?).unwrap_or(u32::MAX);
    let found = kernel.events.of_key(&org, &call.id, after, limit).await.map_err(Problem::internal)?;
    // Also behind the last page: a poller asks on from where it stands.
    let last_seq = found.last().map_or(after, |last| last.seq);
    let next = (last_seq > 0).then(|| cursor(&last_seq.to_string()));
    let events = found.into_iter().map(|event| RawValue::from_string(event.envelope)).collect::<Result<_, _>>();
    Ok(Json(EventList { events: events.map_err(Problem::internal)?, cursor: next }))
}

/// List the recordings of a call
#[utoipa::path(
    get,
    path = "/v1/calls/{id}/recordings",
    tag = "calls",
    params(CallPath),
    responses((status = 200, description = "Its recordings", body = RecordingList), (status = 404, description = "There is no such call")),
    security(("bearer" = []))
)]
pub(super) async fn recordings(
    State(calls): State<Calls>,
    State(kernel): State<Kernel>,
    principal: Principal,
    Path(path): Path<CallPath>,
) -> Result<Json<RecordingList>, Problem> {
    let (org, call) = seen(&calls, &kernel, &principal, RECORDINGS, &path.id).await?;
    let recordings = records::recordings_of_call(&kernel, &org, &call.id).await.map_err(Problem::internal)?;
    Ok(Json(RecordingList { recordings }))
}

/// A call that the principal may see, all of them by the first action, its own by the second; 404 for any other.
pub(crate) async fn seen(
    calls: &Calls,
    kernel: &Kernel,
    principal: &Principal,
    (all, own): (Action, Action),
    id: &str,
) -> Result<(std::sync::Arc<str>, CallView), Problem> {
    let (org, sight) = Sight::of(kernel, principal, all, own).await?;
    let call = calls.get(&org, id).await.map_err(Problem::internal)?.ok_or_else(Problem::not_found)?;
    if !sight.covers_call(calls, &org, id).await.map_err(Problem::internal)? {
        return Err(Problem::not_found());
    }
    Ok((org, call))
}
