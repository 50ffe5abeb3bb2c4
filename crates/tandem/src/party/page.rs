//! `/meetings`: the page itself, the part of it that is read again, and a meeting for a calendar.

use askama::Template;
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{StatusCode, Uri};
use axum::response::{Html, IntoResponse, Response};
use kernel::http::{Path, Query};
use kernel::{Kernel, Problem};
use serde::Deserialize;

use super::cards::{Cards, Seen};
use crate::console::{Site, assets};
use crate::meetings::Meetings;
use crate::meetings::ics::{self, Entry};
use crate::meetings::model::{CallType, Cause, Meeting, Role};
use crate::meetings::sessions::PartySession;
use crate::meetings::sessions::codes::ANOTHER_PARTY;

/// What every page of a party's loads.
pub(super) struct Look;

impl Look {
    /// The address of an asset.
    pub(super) fn asset(&self, name: &str) -> &'static str {
        assets::url(name)
    }
}

#[derive(Template)]
#[template(path = "party/meetings.html")]
struct Page {
    page: Look,
    /// The application's name.
    application: String,
    /// The party's.
    name: String,
    done: Option<&'static str>,
    problem: Option<String>,
    has_phone: bool,
    cards: Cards,
}

/// Answers with a page.
///
/// # Errors
/// When its template fails.
pub(super) fn show(page: &impl Template) -> Result<Response, Problem> {
    Ok(Html(page.render().map_err(Problem::internal)?).into_response())
}

/// What can be said after something was done, by the word in the address.
const DONE: &[(&str, &str)] = &[
    ("calling", "The call is on its way."),
    ("extended", "There is more time now."),
    ("finished", "The meeting has ended."),
    ("cancelled", "The meeting is cancelled."),
    ("proposed", "The other side is asked now. Until there is an answer, the old time holds."),
    ("moved", "The meeting is at its new time now."),
    ("declined", "The meeting stays at its old time."),
];

/// The sentence that the query of a page's address stands for.
fn done_sentence(query: &str) -> Option<&'static str> {
    let word = query.split('&').find_map(|pair| pair.strip_prefix("done="))?;
    DONE.iter().find(|(known, _)| *known == word).map(|(_, sentence)| *sentence)
}

/// `GET /meetings`
pub(super) async fn meetings(
    State(kernel): State<Kernel>,
    State(meetings): State<Meetings>,
    party: PartySession,
    uri: Uri,
) -> Result<Response, Problem> {
    let done = done_sentence(uri.query().unwrap_or_default());
    page(&kernel, &meetings, &party, done, None).await
}

/// The page as an answer to a form that was refused.
///
/// # Errors
/// When the store or the template fails.
pub(super) async fn refused(
    kernel: &Kernel,
    meetings: &Meetings,
    party: &PartySession,
    status: StatusCode,
    sentence: String,
) -> Result<Response, Problem> {
    let mut response = page(kernel, meetings, party, None, Some(sentence)).await?;
    *response.status_mut() = status;
    Ok(response)
}

async fn page(
    kernel: &Kernel,
    meetings: &Meetings,
    party: &PartySession,
    done: Option<&'static str>,
    problem: Option<String>,
) -> Result<Response, Problem> {
    let seen = Seen::by(meetings, party).await?;
    let application = kernel.app(&party.org, &party.app).await?.name;
    let (name, has_phone) = (seen.own_name(), seen.talks_in_page());
    show(&Page { page: Look, application, name, done, problem, has_phone, cards: seen.cards(kernel, party) })
}

/// `?for=..`: whom the page that asks was made for.
#[derive(Debug, Deserialize)]
pub(super) struct MadeFor {
    #[serde(rename = "for")]
    mark: String,
}

impl MadeFor {
    /// # Errors
    /// 409 when the browser is signed in as somebody else now.
    pub(super) fn must_be(&self, party: &PartySession) -> Result<(), Problem> {
        if self.mark == party.mark() { Ok(()) } else { Err(Problem::new(ANOTHER_PARTY)) }
    }
}

/// `GET /meetings/cards`
pub(super) async fn cards(
    State(kernel): State<Kernel>,
    State(meetings): State<Meetings>,
    party: PartySession,
    Query(made_for): Query<MadeFor>,
) -> Result<Response, Problem> {
    made_for.must_be(&party)?;
    show(&Seen::by(&meetings, &party).await?.cards(&kernel, &party))
}

/// `GET /meetings/{id}/calendar.ics`
pub(super) async fn calendar(
    State(kernel): State<Kernel>,
    State(meetings): State<Meetings>,
    State(site): State<Site>,
    party: PartySession,
    Path(id): Path<i64>,
) -> Result<Response, Problem> {
    let meeting = meetings.get(&party.org, Some(&party.app), id).await.map_err(super::acts::problem)?;
    let role = meeting.role_of(&party.uid).ok_or_else(Problem::not_found)?;
    let file = ics::calendar(&entry(&meeting, role, site.url("/meetings"), kernel.clock.now_ms()));
    let name = format!("attachment; filename=\"meeting-{id}.ics\"");
    Ok(([(CONTENT_TYPE, "text/calendar; charset=utf-8".to_owned()), (CONTENT_DISPOSITION, name)], file).into_response())
}

/// A meeting as one party's calendar has it.
fn entry(meeting: &Meeting, role: Role, url: String, now_ms: i64) -> Entry {
    let other = meeting.party(role.other()).shown_name();
    let what_to_do = match meeting.party(role).call_type {
        CallType::Browser => "Open the page of your meetings and press Call.",
        CallType::Phone => "Open the page of your meetings and press Call: your phone rings.",
    };
    Entry {
        uid: format!("meeting-{}-{}-{}@tandem", meeting.org, meeting.id, role.as_str()),
        sequence: meeting.revision,
        written_ms: now_ms,
        starts_ms: meeting.starts_ms,
        ends_ms: meeting.starts_ms.saturating_add(meeting.limit_ms()),
        summary: other.map_or_else(|| "Your call".to_owned(), |name| format!("Call with {name}")),
        description: what_to_do.to_owned(),
        url: Some(url),
        is_cancelled: meeting.cause == Some(Cause::Cancelled),
    }
}
