//! Reading meetings.
#![expect(unused_qualifications, reason = "utoipa's path macro repeats the types of the extractors")]

use axum::extract::State as Given;
use calls::concerning::recordings_of;
use kernel::error::codes;
use kernel::http::{Json, PageQuery, Path, Query, cursor};
use kernel::{Action, Problem, time::parse_rfc3339};
use serde::Deserialize;
use utoipa::IntoParams;

use super::asker::{Asker, Reached, app_of};
use super::view::{MeetingList, MeetingView};
use crate::meetings::model::State;
use crate::meetings::{MeetingFilter, Meetings};

/// Longest uid that is looked for, in bytes.
const MAX_UID: usize = 512;

/// A meeting's id.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct MeetingPath {
    /// Such as 17.
    pub(super) id: String,
}

/// Which meetings.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct MeetingQuery {
    /// `scheduled`, `open`, `connecting`, `live` or `ended`.
    state: Option<String>,
    /// That start at or after this; RFC 3339.
    from: Option<String>,
    /// That start before this; RFC 3339.
    to: Option<String>,
    /// With this person as caller or receiver, as the application knows it.
    uid: Option<String>,
}

impl MeetingQuery {
    fn filter(self) -> Result<MeetingFilter, Problem> {
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        let refused = |field: &str, what: &str| Problem::new(codes::INVALID_REQUEST).and(field, "invalid", what);
        let time = |field: &'static str, text: Option<String>| {
            given(text)
                .map(|text| parse_rfc3339(&text).ok_or_else(|| refused(field, "a time such as 2031-05-01T17:00:00Z")))
                .transpose()
        };
        let states = "scheduled, open, connecting, live or ended";
        let state = given(self.state).map(|word| State::parse(&word).ok_or_else(|| refused("?state", states)));
        let uid = given(self.uid);
        if uid.as_deref().is_some_and(|uid| uid.len() > MAX_UID || uid.contains('\0')) {
            return Err(refused("?uid", "the application's id of a person"));
        }
        Ok(MeetingFilter {
            state: state.transpose()?,
            from_ms: time("?from", self.from)?,
            to_ms: time("?to", self.to)?,
            uid,
            after: None,
        })
    }
}

/// A cursor is the start and the id of the last meeting.
fn after(page: &PageQuery) -> Result<Option<(i64, i64)>, Problem> {
    let Some(place) = page.after()? else { return Ok(None) };
    let read = |text: &str| text.parse::<i64>().ok();
    let place = place.split_once(',').and_then(|(start, id)| Some((read(start)?, read(id)?)));
    place
        .map(Some)
        .ok_or_else(|| Problem::new(codes::INVALID_CURSOR).and("?cursor", "invalid", "not a cursor of this list"))
}

/// List meetings: an application its own, a party its own
#[utoipa::path(
    get,
    path = "/meetings",
    tag = "meetings",
    params(MeetingQuery, PageQuery),
    responses((status = 200, description = "A page of meetings in the order of their start", body = MeetingList)),
    security(("bearer" = []))
)]
pub(super) async fn list(
    Given(meetings): Given<Meetings>,
    asker: Asker,
    Query(query): Query<MeetingQuery>,
    Query(page): Query<PageQuery>,
) -> Result<Json<MeetingList>, Problem> {
    let (org, app, uid) = match asker {
        Asker::Credential(principal) => (principal.authorize(Action::ReadMeetings)?.clone(), app_of(&principal), None),
        Asker::Party(party) => (party.org.clone(), Some(party.app.clone()), Some(party.uid.to_string())),
    };
    let filter = query.filter()?;
    let filter = MeetingFilter { uid: uid.clone().or(filter.uid), after: after(&page)?, ..filter };
    let found = meetings.list(&org, app.as_deref(), &filter, page.limit()?).await.map_err(Problem::internal)?;
    let mut views = Vec::new();
    for meeting in &found.meetings {
        let settings = meetings.settings(&org, &meeting.app).await?;
        let you = uid.as_deref().and_then(|uid| meeting.role_of(uid));
        views.push(MeetingView::of(meeting, &settings, you, meetings.now_ms()));
    }
    let next = found.next.map(|(start, id)| cursor(&format!("{start},{id}")));
    Ok(Json(MeetingList { meetings: views, cursor: next }))
}

/// Read a meeting
#[utoipa::path(
    get,
    path = "/meetings/{id}",
    tag = "meetings",
    params(MeetingPath),
    responses((status = 200, description = "The meeting", body = MeetingView), (status = 404, description = "There is none")),
    security(("bearer" = []))
)]
pub(super) async fn read(
    Given(meetings): Given<Meetings>,
    asker: Asker,
    Path(path): Path<MeetingPath>,
) -> Result<Json<MeetingView>, Problem> {
    let reached = asker.reach(&meetings, &path.id, Action::ReadMeetings).await?;
    let view = shown(&meetings, &reached).await?;
    if reached.role().is_some() {
        return Ok(Json(view));
    }
    let mut recordings = Vec::new();
    for call in &reached.meeting.calls {
        recordings.extend(recordings_of(meetings.kernel(), &reached.org, call).await.map_err(Problem::internal)?);
    }
    Ok(Json(view.with(recordings)))
}

/// A meeting as whoever reached it sees it.
pub(super) async fn shown(meetings: &Meetings, reached: &Reached) -> Result<MeetingView, Problem> {
    let settings = meetings.settings(&reached.org, &reached.meeting.app).await?;
    Ok(MeetingView::of(&reached.meeting, &settings, reached.role(), meetings.now_ms()))
}
