//! Meetings: masked appointments of an application's people, as a list, and the form that makes one by hand.
//!
//! Invariant: whoever sees a meeting here sees it at `/v1/meetings` too; no page shows more of a number than its end.

use axum::extract::State as Given;
use axum::response::Response;
use jiff::ToSpan as _;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use kernel::app::App;
use kernel::error::codes;
use kernel::http::{MAX_PAGE, PageQuery, Query, cursor};
use kernel::time::rfc3339;
use kernel::{Action, Kernel, Problem};
use serde::Deserialize;

use super::calendar::{self, CALENDAR, FIRST_DAY, LAST_DAY, beginning, day_of};
use super::calls::duration;
use super::door::Doors;
use super::door::Needs::May;
use super::form::{Choice, Field, Form};
use super::list::{Link, ListPage};
use super::page::show;
use super::table::{Cell, Table};
use super::visitor::Visitor;
use super::{meeting, meeting_form};
use crate::meetings::model::{Cause, Meeting, Party, State};
use crate::meetings::{MeetingFilter, Meetings};

pub(super) const PATH: &str = "/console/meetings";
/// Those of the past as well.
const ALL: &str = "all";
/// Applications that may be chosen from.
const MAX_APPS: i64 = 500;

pub(super) fn doors(doors: Doors) -> Doors {
    let (read, manage) = (May(Action::ReadMeetings), May(Action::ManageMeetings));
    doors
        .get(PATH, read, list)
        .get(CALENDAR, read, calendar::show_calendar)
        .get("/console/meetings/new", manage, meeting_form::ask)
        .post("/console/meetings/new", manage, meeting_form::create)
        .get("/console/meetings/{id}", read, meeting::show_meeting)
        .get("/console/meetings/{id}/story", read, meeting::show_story)
        .post("/console/meetings/{id}/call", manage, meeting::call)
        .post("/console/meetings/{id}/extend", manage, meeting::extend)
        .post("/console/meetings/{id}/finish", manage, meeting::finish)
        .post("/console/meetings/{id}/cancel", manage, meeting::cancel)
        .post("/console/meetings/{id}/move", manage, meeting_form::reschedule)
        .post("/console/meetings/{id}/link", manage, meeting::link)
}

/// Somebody's name for people, else how the application calls the person.
pub(super) fn name(party: &Party) -> &str {
    if party.name.is_empty() { &party.uid } else { &party.name }
}

/// Both names.
pub(super) fn parties(meeting: &Meeting) -> String {
    format!("{} and {}", name(&meeting.caller), name(&meeting.receiver))
}

/// How far a meeting is, or how it ended: word and colour.
pub(super) fn state_of(meeting: &Meeting) -> (&'static str, &'static str) {
    match (meeting.state, meeting.cause) {
        (State::Scheduled, _) => ("scheduled", "plain"),
        (State::Open, _) => ("open", "busy"),
        (State::Connecting, _) => ("ringing", "busy"),
        (State::Live, _) => ("they talk", "good"),
        (State::Ended, None | Some(Cause::Completed)) => ("completed", "plain"),
        (State::Ended, Some(Cause::Cancelled)) => ("cancelled", "plain"),
        (State::Ended, Some(Cause::NoShow)) => ("no show", "bad"),
        (State::Ended, Some(Cause::Expired)) => ("nobody came", "bad"),
        (State::Ended, Some(Cause::Busy)) => ("busy", "bad"),
        (State::Ended, Some(Cause::Failed)) => ("failed", "bad"),
    }
}

/// What lists and calendars show of a meeting.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub(super) path: String,
    /// UTC milliseconds.
    pub(super) starts_ms: i64,
    pub(super) parties: String,
    pub(super) word: &'static str,
    pub(super) colour: &'static str,
}

impl Shown {
    pub(super) fn of(meeting: &Meeting) -> Self {
        let (word, colour) = state_of(meeting);
        let path = format!("{PATH}/{}", meeting.id);
        Self { path, starts_ms: meeting.starts_ms, parties: parties(meeting), word, colour }
    }
}

/// Every meeting that a filter lets through, `most` at most, and whether there are more.
///
/// # Errors
/// When the store fails.
pub(super) async fn all(
    desk: &Meetings,
    org: &str,
    mut filter: MeetingFilter,
    most: usize,
) -> Result<(Vec<Meeting>, bool), Problem> {
    let mut found = Vec::new();
    loop {
        let page = desk.list(org, None, &filter, MAX_PAGE.into()).await.map_err(Problem::internal)?;
        found.extend(page.meetings);
        match page.next {
            _ if found.len() > most => break,
            Some(last) => filter.after = Some(last),
            None => return Ok((found, false)),
        }
    }
    found.truncate(most);
    Ok((found, true))
}

/// The applications to choose from, those that may not make meetings left out.
///
/// # Errors
/// When the store fails.
pub(super) async fn apps(kernel: &Kernel, org: &str) -> Result<Vec<App>, Problem> {
    let mut apps = kernel.apps(org, "", MAX_APPS).await?;
    apps.retain(|app| kernel::Scope::covers(&app.scopes, Action::ManageMeetings));
    Ok(apps)
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct MeetingsQuery {
    state: Option<String>,
    application: Option<String>,
    day: Option<String>,
    when: Option<String>,
    uid: Option<String>,
    cursor: Option<String>,
}

impl MeetingsQuery {
    /// What the form sends of fields that were left empty is nothing.
    fn tidied(mut self) -> Self {
        for word in [&mut self.state, &mut self.application, &mut self.day, &mut self.when, &mut self.uid] {
            word.take_if(|word| word.trim().is_empty());
        }
        self
    }

    /// What is narrowed down, for the address of the next page.
    fn pairs(&self) -> Vec<(&'static str, &str)> {
        let all = [
            ("state", &self.state),
            ("application", &self.application),
            ("day", &self.day),
            ("when", &self.when),
            ("uid", &self.uid),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))).collect()
    }

    /// Of a day that day, else from today on, unless all are asked for.
    fn filter(&self, zone: &TimeZone, today: Date) -> MeetingFilter {
        let day = self.day.as_deref().and_then(|day| day.parse::<Date>().ok());
        let begins = |day: Date| beginning(day.clamp(FIRST_DAY, LAST_DAY), zone);
        let from = day.or_else(|| (self.when.as_deref() != Some(ALL)).then_some(today));
        MeetingFilter {
            state: self.state.as_deref().and_then(State::parse),
            from_ms: from.map(begins),
            to_ms: day.map(|day| begins(day.saturating_add(1.day()))),
            uid: self.uid.clone(),
            ..MeetingFilter::default()
        }
    }
}

fn filter_form(query: &MeetingsQuery, apps: &[App]) -> Form {
    let any = || (String::new(), "any".to_owned());
    let states = State::ALL.map(|state| (state.as_str().to_owned(), state.as_str().to_owned()));
    let states: Vec<Choice> = std::iter::once(any()).chain(states).collect();
    let chosen = |text: &Option<String>| vec![text.clone().unwrap_or_default()];
    let typed = |text: &Option<String>| text.clone().unwrap_or_default();
    let mut form = Form::search(PATH, "Show").with(Field::one("state", "State", states).chosen(chosen(&query.state)));
    if apps.len() > 1 {
        let apps = std::iter::once(any()).chain(apps.iter().map(|app| (app.id.clone(), app.name.clone()))).collect();
        form = form.with(Field::one("application", "Application", apps).chosen(chosen(&query.application)));
    }
    let when = [("", "from today"), (ALL, "all")].map(|(word, label)| (word.to_owned(), label.to_owned()));
    form.with(Field::one("when", "When", when.into()).chosen(chosen(&query.when)))
        .with(Field::typed("day", "Day", "date").optional().value(typed(&query.day)))
        .with(Field::line("uid", "Person's id").optional().value(typed(&query.uid)))
}

/// A cursor is the start and the id of the last meeting, as at `/v1/meetings`.
fn after(page: &PageQuery) -> Result<Option<(i64, i64)>, Problem> {
    let Some(place) = page.after()? else { return Ok(None) };
    let read = |text: &str| text.parse::<i64>().ok();
    let place = place.split_once(',').and_then(|(start, id)| Some((read(start)?, read(id)?)));
    place.map(Some).ok_or_else(|| Problem::new(codes::INVALID_CURSOR))
}

async fn list(
    Given(kernel): Given<Kernel>,
    Given(desk): Given<Meetings>,
    visitor: Visitor,
    Query(query): Query<MeetingsQuery>,
) -> Result<Response, Problem> {
    let query = query.tidied();
    let org = visitor.org()?;
    let zone = TimeZone::get(&org.zone).unwrap_or(TimeZone::UTC);
    let apps = apps(&kernel, &org.id).await?;
    let page = PageQuery { cursor: query.cursor.clone(), limit: None };
    let today = day_of(kernel.clock.now_ms(), &zone);
    let filter = MeetingFilter { after: after(&page)?, ..query.filter(&zone, today) };
    let found =
        desk.list(&org.id, query.application.as_deref(), &filter, page.limit()?).await.map_err(Problem::internal)?;
    let app_name = |id: &str| apps.iter().find(|app| app.id == id).map_or_else(String::new, |app| app.name.clone());
    let rows = found.meetings.iter().map(|meeting| {
        let (word, colour) = state_of(meeting);
        let talked_ms = meeting.talked_until_ms(kernel.clock.now_ms());
        vec![
            Cell::Time(rfc3339(meeting.starts_ms)),
            Cell::link(parties(meeting), format!("{PATH}/{}", meeting.id)),
            Cell::State(word.to_owned(), colour),
            if talked_ms > 0 { Cell::text(duration(talked_ms as f64 / 1000.0)) } else { Cell::Empty },
            Cell::optional(Some(app_name(&meeting.app))),
            Cell::Code(meeting.order_id.clone()),
        ]
    });
    let table = Table::new("Meetings", &["Starts", "Who", "State", "Talk", "Application", "Order"]).with(rows);
    let about = "Appointments that your applications made between two people, who do not learn each other's number.";
    let empty = if query.pairs().is_empty() {
        "No meeting yet. An application posts one to /api/v1/meetings with its key; you may also make one by hand."
    } else {
        "No meeting fits. Ask for less."
    };
    let mut shown = ListPage::new(visitor.page("Meetings", PATH), about, table, empty).action(
        visitor.may(Action::ManageMeetings),
        "New meeting",
        "/console/meetings/new",
    );
    shown.others = vec![Link::new("Calendar", CALENDAR)];
    shown.filter = Some(filter_form(&query, &apps));
    shown.more_label = "Later";
    shown.more = found.next.map(|next| {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(query.pairs())
            .append_pair("cursor", &cursor(&format!("{},{}", next.0, next.1)))
            .finish();
        format!("{PATH}?{query}")
    });
    show(&shown)
}
