//! One meeting: how it stands, what happened, its calls and their recordings, and what may be done with it.
//!
//! Invariant: the desk decides what may be done now; a button that comes too late changes nothing and says so.

use askama::Template;
use axum::extract::State as Given;
use axum::http::StatusCode;
use axum::response::Response;
use calls::{Calls, records};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use kernel::http::Path;
use kernel::time::rfc3339;
use kernel::zones::Zone;
use kernel::{Action, Kernel, Problem};
use serde::Deserialize;

use super::calls::{Audio, duration, state_of as state_of_call};
use super::form::{Field, Form, Posted};
use super::list::Link;
use super::meeting_form::{MINUTE_MS, MINUTES, minutes, move_form};
use super::meeting_story::length;
use super::meetings::{PATH, name, parties, state_of};
use super::page::{Page, done, show, show_refused};
use super::shown_once::ShownOncePage;
use super::story::{self, Moment};
use super::table::Cell;
use super::visitor::Visitor;
use crate::console::Site;
use crate::flows::path;
use crate::meetings::model::{Actor, CallType, Meeting, Party, Refused, Role, State};
use crate::meetings::{Action as Deed, MeetingError, Meetings, tokens};

/// With this status htmx takes the part and asks for it no more.
const STOP_ASKING: u16 = 286;
/// What an extension form offers at first, in minutes.
const USUAL_EXTENSION: &str = "10";

#[derive(Debug, Deserialize)]
pub(super) struct MeetingPath {
    pub(super) id: i64,
}

/// A party as the page shows it.
struct Person {
    role: &'static str,
    name: String,
    uid: String,
    /// How this party is reached; of a number only its end.
    way: String,
}

impl Person {
    fn of(party: &Party, role: Role) -> Self {
        let way = match (party.call_type, &party.number) {
            (CallType::Browser, _) => "in the browser".to_owned(),
            (CallType::Phone, Some(number)) => format!("by phone, {}", calls::numbers::masked(number)),
            (CallType::Phone, None) => "by phone".to_owned(),
        };
        Self { role: role.as_str(), name: name(party).to_owned(), uid: party.uid.clone(), way }
    }
}

/// A call of the meeting.
struct CallLine {
    id: String,
    at: String,
    state: Cell,
    talk: String,
    recordings: Vec<Audio>,
}

/// The part of the page that is read again when something happens.
#[derive(Template)]
#[template(path = "console/meeting_story.html")]
struct StoryPart {
    meeting: Meeting,
    word: &'static str,
    colour: &'static str,
    people: [Person; 2],
    talked: String,
    app_name: String,
    moments: Vec<Moment>,
    calls: Vec<CallLine>,
    /// In which its times are told.
    zone: TimeZone,
    /// Whether its calls may be looked at.
    shows_calls: bool,
    manages: bool,
    can_be_called: bool,
}

impl askama::filters::HtmlSafe for StoryPart {}

impl StoryPart {
    fn path(&self) -> String {
        format!("{PATH}/{}", self.meeting.id)
    }

    /// A moment on the application's clock.
    fn wall(&self, at_ms: &i64) -> String {
        let at = Timestamp::from_millisecond(*at_ms).unwrap_or_default();
        at.to_zoned(self.zone.clone()).strftime("%H:%M on %A, %-d %B %Y").to_string()
    }

    fn zone_name(&self) -> &str {
        zone_name(&self.zone)
    }

    fn limit(&self) -> String {
        length(self.meeting.limit_ms() / 1_000)
    }

    fn is_over(&self) -> bool {
        self.meeting.state == State::Ended
    }

    fn may_finish(&self) -> bool {
        !matches!(self.meeting.state, State::Ended | State::Scheduled)
    }

    /// A proposed time: who proposes, and when.
    fn proposal(&self) -> Option<(String, String)> {
        let proposal = self.meeting.proposal?;
        Some((name(self.meeting.party(proposal.by)).to_owned(), rfc3339(proposal.starts_ms)))
    }
}

#[derive(Template)]
#[template(path = "console/meeting.html")]
pub(super) struct MeetingPage {
    page: Page,
    id: i64,
    story: StoryPart,
    /// Whether the visitor may hear of events as they happen.
    follows: bool,
    forms: Option<Forms>,
}

/// What may be changed of a meeting that is not over.
pub(super) struct Forms {
    pub(super) extend: Form,
    pub(super) reschedule: Form,
}

impl Forms {
    pub(super) fn of(meeting: &Meeting, zone: &TimeZone) -> Self {
        let minutes = Field::typed("minutes", "So many minutes more", "number").value(USUAL_EXTENSION);
        Self {
            extend: Form::new(format!("{PATH}/{}/extend", meeting.id), "Extend").with(minutes),
            reschedule: move_form(meeting, zone),
        }
    }
}

/// The zone in which an application's meetings are told, else the organisation's.
pub(super) async fn zone_of(desk: &Meetings, visitor: &Visitor, app: &str) -> Result<TimeZone, Problem> {
    let settings = desk.settings(visitor.org_id(), app).await?;
    Ok(kernel::zones::parse_zone(&settings.time_zone).map_or(TimeZone::UTC, Zone::time_zone))
}

/// What a zone is called.
pub(super) fn zone_name(zone: &TimeZone) -> &str {
    zone.iana_name().unwrap_or("UTC")
}

/// A moment as a field of a form has it, in a zone.
pub(super) fn wall_time(at_ms: i64, zone: &TimeZone) -> String {
    let at = Timestamp::from_millisecond(at_ms).unwrap_or_default();
    at.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M").to_string()
}

/// The page's parts with what they need of the server.
pub(super) struct Sources {
    pub(super) kernel: Kernel,
    pub(super) calls: Calls,
    pub(super) desk: Meetings,
}

impl Sources {
    async fn story(&self, visitor: &Visitor, id: i64) -> Result<StoryPart, Problem> {
        let org = visitor.org_id();
        let meeting = self.desk.get(org, None, id).await?;
        let now_ms = self.kernel.clock.now_ms();
        let events =
            path::events_of(&self.kernel, org, &id.to_string(), "meeting.").await.map_err(Problem::internal)?;
        let (word, colour) = state_of(&meeting);
        let app_name = match self.kernel.app(org, &meeting.app).await {
            Ok(app) => app.name,
            // It was removed; its meetings stay.
            Err(kernel::RecordError::NotFound { .. }) => String::new(),
            Err(error) => return Err(error.into()),
        };
        Ok(StoryPart {
            word,
            colour,
            people: Role::BOTH.map(|role| Person::of(meeting.party(role), role)),
            talked: duration(meeting.talked_until_ms(now_ms) as f64 / 1000.0),
            app_name,
            moments: story::timeline(&events),
            calls: self.calls_of(visitor, &meeting).await?,
            zone: zone_of(&self.desk, visitor, &meeting.app).await.unwrap_or(TimeZone::UTC),
            shows_calls: visitor.may(Action::ReadCalls),
            manages: visitor.may(Action::ManageMeetings),
            can_be_called: meeting.can_be_called(now_ms),
            meeting,
        })
    }

    async fn calls_of(&self, visitor: &Visitor, meeting: &Meeting) -> Result<Vec<CallLine>, Problem> {
        let org = visitor.org_id();
        let mut lines = Vec::new();
        for id in &meeting.calls {
            let Some(call) = self.calls.get(org, id).await.map_err(Problem::internal)? else { continue };
            let recordings = if visitor.may(Action::ReadRecordings) {
                records::recordings_of_call(&self.kernel, org, id).await.map_err(Problem::internal)?
            } else {
                Vec::new()
            };
            let ready = recordings.into_iter().filter(|recording| recording.state == "ready");
            lines.push(CallLine {
                id: call.id.clone(),
                at: call.started_at.clone(),
                state: state_of_call(call.state, call.cause.as_deref()),
                talk: duration(call.talk_s),
                recordings: ready
                    .map(|recording| Audio {
                        path: records::recording_path(&recording.id),
                        at: recording.started_at,
                        length: duration(recording.seconds),
                    })
                    .collect(),
            });
        }
        Ok(lines)
    }

    /// The page, with forms that may have been refused.
    pub(super) async fn page(
        &self,
        visitor: &Visitor,
        id: i64,
        change: impl FnOnce(Forms) -> Result<Forms, Problem>,
    ) -> Result<MeetingPage, Problem> {
        let story = self.story(visitor, id).await?;
        let forms = (story.manages && !story.is_over()).then(|| Forms::of(&story.meeting, &story.zone));
        Ok(MeetingPage {
            page: visitor.page(parties(&story.meeting), PATH),
            id,
            forms: forms.map(change).transpose()?,
            follows: visitor.may(Action::ReadCalls),
            story,
        })
    }
}

impl axum::extract::FromRequestParts<crate::app::State> for Sources {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(
        _: &mut axum::http::request::Parts,
        state: &crate::app::State,
    ) -> Result<Self, Self::Rejection> {
        use axum::extract::FromRef as _;
        Ok(Self { kernel: Kernel::from_ref(state), calls: Calls::from_ref(state), desk: Meetings::from_ref(state) })
    }
}

pub(super) async fn show_meeting(
    sources: Sources,
    visitor: Visitor,
    Path(path): Path<MeetingPath>,
) -> Result<Response, Problem> {
    show(&sources.page(&visitor, path.id, Ok).await?)
}

pub(super) async fn show_story(
    sources: Sources,
    visitor: Visitor,
    Path(path): Path<MeetingPath>,
) -> Result<Response, Problem> {
    let story = sources.story(&visitor, path.id).await?;
    let mut part = show(&story)?;
    if story.is_over() {
        *part.status_mut() = StatusCode::from_u16(STOP_ASKING).map_err(Problem::internal)?;
    }
    Ok(part)
}

async fn act(desk: &Meetings, visitor: &Visitor, id: i64, deed: Deed, word: &'static str) -> Result<Response, Problem> {
    desk.act(visitor.org_id(), None, id, Actor::Application, deed).await?;
    Ok(done(&format!("{PATH}/{id}"), word))
}

pub(super) async fn call(
    Given(desk): Given<Meetings>,
    visitor: Visitor,
    Path(path): Path<MeetingPath>,
    posted: Posted,
) -> Result<Response, Problem> {
    let first = Role::parse(posted.get("first")).unwrap_or(Role::Caller);
    act(&desk, &visitor, path.id, Deed::Call { as_role: Some(first) }, "called").await
}

pub(super) async fn finish(
    Given(desk): Given<Meetings>,
    visitor: Visitor,
    Path(path): Path<MeetingPath>,
) -> Result<Response, Problem> {
    act(&desk, &visitor, path.id, Deed::Finish, "saved").await
}

pub(super) async fn cancel(
    Given(desk): Given<Meetings>,
    visitor: Visitor,
    Path(path): Path<MeetingPath>,
) -> Result<Response, Problem> {
    act(&desk, &visitor, path.id, Deed::Cancel, "canceled").await
}

pub(super) async fn extend(
    sources: Sources,
    visitor: Visitor,
    Path(path): Path<MeetingPath>,
    posted: Posted,
) -> Result<Response, Problem> {
    let id = path.id;
    // What is not there is not judged.
    sources.desk.get(visitor.org_id(), None, id).await?;
    let wrong = match minutes(&posted, "minutes") {
        None => MINUTES.to_owned(),
        Some(minutes) => {
            let deed = Deed::Extend { ms: minutes * MINUTE_MS };
            match sources.desk.act(visitor.org_id(), None, id, Actor::Application, deed).await.map_err(Problem::from) {
                Ok(_) => return Ok(done(&format!("{PATH}/{id}"), "saved")),
                Err(problem) if problem.status().is_server_error() => return Err(problem),
                Err(problem) => problem.detail.clone().unwrap_or_else(|| problem.code.title.to_owned()),
            }
        }
    };
    let change = |forms: Forms| Ok(Forms { extend: forms.extend.filled(&posted).wrong("minutes", wrong), ..forms });
    show_refused(&sources.page(&visitor, id, change).await?)
}

/// A link for one of the two, shown once.
pub(super) async fn link(
    sources: Sources,
    Given(site): Given<Site>,
    visitor: Visitor,
    Path(path): Path<MeetingPath>,
    posted: Posted,
) -> Result<Response, Problem> {
    let Sources { kernel, desk, .. } = sources;
    let role = Role::parse(posted.get("who")).unwrap_or(Role::Caller);
    let meeting = desk.get(visitor.org_id(), None, path.id).await?;
    if meeting.state == State::Ended {
        return Err(MeetingError::Refused(Refused::Ended).into());
    }
    let (token, write) = tokens::issue_link(&kernel, &meeting, role);
    let actor = visitor.principal().actor();
    let audit = kernel.audit_write(visitor.org_id(), actor, "meeting.link", &meeting.id.to_string());
    kernel.db.writer().commit(vec![write, audit]).await.map_err(Problem::internal)?;
    show(&ShownOncePage {
        page: visitor.page(format!("A link for {}", name(meeting.party(role))), PATH),
        about: "It opens the meeting's page once, within ten minutes. Send it to nobody else.".to_owned(),
        secrets: vec![("Link", site.url(&format!("/m/{}", token.expose())))],
        next: Link::new("To the meeting", format!("{PATH}/{}", path.id)),
    })
}
