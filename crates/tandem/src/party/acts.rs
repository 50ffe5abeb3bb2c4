//! What a party does with a meeting by the forms of its page. The desk decides; what it refuses stands on the page in
//! plain words.
//!
//! Invariant: a form works for the party that it was made for, on a meeting of its own, and nobody else's number is ever
//! named by it.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, post};
use kernel::error::codes;
use kernel::http::Path;
use kernel::{Kernel, Problem, zones};

use super::fields::Fields;
use super::page::refused;
use super::words::length;
use crate::app;
use crate::meetings::model::{Actor, ProposedTime, Refused};
use crate::meetings::sessions::PartySession;
use crate::meetings::sessions::codes::ANOTHER_PARTY;
use crate::meetings::{Action, MeetingError, Meetings};

const MINUTE_MS: i64 = 60_000;
/// Longest number of minutes that is read.
const MAX_MINUTES: i64 = 480;

/// Makes sure that a form was made for whom it is sent by.
///
/// # Errors
/// 409 when it was made for somebody else.
pub(super) fn must_be_for(party: &PartySession, fields: &Fields) -> Result<(), Problem> {
    if fields.get("for") == party.mark() { Ok(()) } else { Err(Problem::new(ANOTHER_PARTY)) }
}

/// What a form asks for, or the sentence that says what is wrong with it.
type Wish = Result<Action, &'static str>;

/// The forms under `/meetings/{id}/`.
pub(super) fn routes() -> Router<app::State> {
    Router::new()
        .route("/meetings/{id}/call", form(|_| Ok(Action::Call { as_role: None }), "calling"))
        .route("/meetings/{id}/extend", form(|fields| Ok(Action::Extend { ms: minutes(fields)? }), "extended"))
        .route("/meetings/{id}/finish", form(|_| Ok(Action::Finish), "finished"))
        .route("/meetings/{id}/cancel", form(|_| Ok(Action::Cancel), "cancelled"))
        .route("/meetings/{id}/propose", form(propose, "proposed"))
        .route("/meetings/{id}/confirm", form(|fields| Ok(Action::Confirm(read(fields))), "moved"))
        .route("/meetings/{id}/decline", form(|fields| Ok(Action::Decline(read(fields))), "declined"))
}

/// One form: how it is read, and the word with which the page confirms it.
fn form(read: fn(&Fields) -> Wish, done: &'static str) -> MethodRouter<app::State> {
    let act = async move |State(kernel): State<Kernel>,
                          State(meetings): State<Meetings>,
                          party: PartySession,
                          Path(id): Path<i64>,
                          fields: Fields| {
        Desk { kernel, meetings }.act(&party, id, &fields, read(&fields), done).await
    };
    post(act)
}

fn propose(fields: &Fields) -> Wish {
    Ok(Action::Propose { starts_ms: start(fields)?, duration_ms: Some(minutes(fields)?) })
}

/// The proposal that stood on the page: in milliseconds, as the page wrote them.
fn read(fields: &Fields) -> Option<ProposedTime> {
    let number = |name| fields.get(name).parse().ok();
    Some(ProposedTime { starts_ms: number("proposed_start")?, duration_ms: number("proposed_length")? })
}

/// What a form needs.
struct Desk {
    kernel: Kernel,
    meetings: Meetings,
}

impl Desk {
    /// Does it in the party's name, and goes back to the page: with a word of confirmation, or of what is in the way.
    async fn act(
        &self,
        party: &PartySession,
        id: i64,
        fields: &Fields,
        action: Wish,
        done: &'static str,
    ) -> Result<Response, Problem> {
        must_be_for(party, fields)?;
        let refuse = |status, sentence| refused(&self.kernel, &self.meetings, party, status, sentence);
        let action = match action {
            Ok(action) => action,
            Err(sentence) => return refuse(StatusCode::UNPROCESSABLE_ENTITY, sentence.to_owned()).await,
        };
        let meeting = self.meetings.get(&party.org, Some(&party.app), id).await.map_err(problem)?;
        let role = meeting.role_of(&party.uid).ok_or_else(Problem::not_found)?;
        match self.meetings.act(&party.org, Some(&party.app), id, Actor::Party(role), action).await {
            Ok(_) => Ok((StatusCode::SEE_OTHER, [(LOCATION, format!("/meetings?done={done}#m{id}"))]).into_response()),
            Err(error) => match sentence(&error) {
                Some(sentence) => refuse(StatusCode::CONFLICT, sentence).await,
                None => Err(problem(error)),
            },
        }
    }
}

/// What the desk could not do, as a problem.
pub(super) fn problem(error: MeetingError) -> Problem {
    match error {
        MeetingError::NotFound => Problem::not_found(),
        MeetingError::Limit(wait) => wait.into(),
        MeetingError::Draining => Problem::new(codes::UNAVAILABLE),
        error => Problem::internal(error),
    }
}

/// What the desk refuses, in plain words; `None` for what is no matter of the party's.
fn sentence(error: &MeetingError) -> Option<String> {
    let text = match error {
        MeetingError::Refused(refused) => return Some(refusal(*refused)),
        MeetingError::Vetoed => "A call is not allowed just now. Ask whoever arranged this meeting.",
        MeetingError::Busy => "Somebody changed this meeting in the same moment. Look at it, then try again.",
        MeetingError::Limit(_) => "There are too many calls just now. Try again in a moment.",
        MeetingError::Draining => "The server is about to restart. Try again in a minute.",
        MeetingError::Call(_) => "The call could not be made. Try again in a moment.",
        _ => return None,
    };
    Some(text.to_owned())
}

fn refusal(refused: Refused) -> String {
    let text = match refused {
        Refused::TooEarly => {
            "It is not time to call yet. Look at the time below: the meeting may have been moved meanwhile."
        }
        Refused::Ended => "This meeting has ended meanwhile.",
        Refused::InCall => "A call of this meeting is under way already.",
        Refused::NotBegun => "This meeting has not begun. You can cancel it.",
        Refused::ExtendLimit { left_ms } if left_ms < MINUTE_MS => "There is no more time to give.",
        Refused::ExtendLimit { left_ms } => return format!("There is less time to give: {} at most.", length(left_ms)),
        Refused::Duration => "A meeting lasts from 1 to 480 minutes.",
        Refused::NoSuchTime => "That time is over already, or too far ahead. Choose another one.",
        Refused::NothingProposed => "The proposal is not there any more. Look at the time below.",
        Refused::OwnProposal => "The other side answers your proposal.",
        Refused::ProposalChanged => "Another time is proposed meanwhile. Look at it, then answer.",
        Refused::TooManyProposals => {
            "Too many other times were proposed. Ask whoever arranged this meeting to move it."
        }
        // Of changes that no form of a party's makes.
        Refused::SamePerson | Refused::NoNumber { .. } => "That cannot be changed here.",
        Refused::TooManyAttempts => "This meeting was called too often. Ask whoever arranged it for another one.",
    };
    text.to_owned()
}

/// The minutes of a form, in milliseconds.
fn minutes(fields: &Fields) -> Result<i64, &'static str> {
    let minutes: Option<i64> = fields.get("minutes").parse().ok().filter(|minutes| (1..=MAX_MINUTES).contains(minutes));
    minutes.map(|minutes| minutes * MINUTE_MS).ok_or("Say how many minutes: a whole number from 1 to 480.")
}

/// The time of a form: a date and a time of day in the zone that it names, as an instant in UTC milliseconds.
fn start(fields: &Fields) -> Result<i64, &'static str> {
    let zone = zones::parse_zone(fields.get("zone")).ok_or("The time zone is not known here.")?;
    let wanted = fields.get("start").split_once('T').and_then(|(date, time)| {
        let due = zones::due(zones::parse_date(date)?, zones::parse_time(time)?, &zone)?;
        Some(due.at_ms)
    });
    wanted.ok_or("Choose a date and a time.")
}
