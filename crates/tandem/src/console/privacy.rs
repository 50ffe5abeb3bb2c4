//! Export and erasure of what is kept of somebody. By number: calls, events, recordings, messages, runs, callbacks,
//! meetings; by mail address or name in the customer's own books: chats.
//!
//! Invariant: both are audited before they happen; a call that is up is neither exported half nor erased; what an
//! erasure leaves for now is found by the same number again.

use askama::Template;
use axum::extract::State as Given;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use calls::concerning::{self, Kept, Party};
use calls::erasure;
use kernel::notice::erase_notices_write;
use kernel::{Action, DbError, Kernel, Problem};

use super::door::Doors;
use super::door::Needs::May;
use super::export;
use super::form::{Field, Form, Posted};
use super::page::{Page, show, show_refused};
use super::visitor::Visitor;
use crate::chat::concerning as chats;
use crate::chat::model::Id;
use crate::flows::store::{self, concerning as flows};
use crate::meetings::concerning as meetings;

const PATH: &str = "/console/privacy";

pub(super) fn doors(doors: Doors) -> Doors {
    let manage = May(Action::ManageSettings);
    doors.get(PATH, manage, ask).post(PATH, manage, look).post("/console/privacy/export", manage, export).post(
        "/console/privacy/erase",
        manage,
        erase,
    )
}

/// What an erasure did.
#[derive(Clone, Copy, Debug, Default)]
struct Done {
    calls: u64,
    recordings: u64,
    messages: u64,
    callbacks: u64,
    meetings: u64,
    /// Rooms of chats.
    rooms: u64,
    /// Stays for now.
    kept: u64,
    /// The server is stopping: the rest is to be erased again.
    is_cut: bool,
}

#[derive(Template)]
#[template(path = "console/privacy.html")]
struct PrivacyPage {
    page: Page,
    form: Form,
    number: String,
    /// Calls and messages, callbacks, meetings, rooms of chats.
    kept: Option<(Kept, u64, u64, u64)>,
    done: Option<Done>,
}

fn form() -> Form {
    Form::new(PATH, "Look what is kept").with(
        Field::line("number", "Number, mail address or user id")
            .hint("Of the person outside, such as +442071838750 or ann@example.org, or an extension."),
    )
}

fn page(visitor: &Visitor, form: Form) -> PrivacyPage {
    PrivacyPage { page: visitor.page("Export and erase", PATH), form, number: String::new(), kept: None, done: None }
}

async fn ask(visitor: Visitor) -> Result<Response, Problem> {
    show(&page(&visitor, form()))
}

/// Whom a form is about; the form with what is wrong when it says nobody.
fn party(posted: &Posted) -> Result<Party, Form> {
    let party = Party::read(posted.get("number"));
    if party.as_str().is_empty() { Err(form().filled(posted).wrong("number", "whose calls?")) } else { Ok(party) }
}

async fn look(Given(kernel): Given<Kernel>, visitor: Visitor, posted: Posted) -> Result<Response, Problem> {
    let party = match party(&posted) {
        Ok(party) => party,
        Err(form) => return show_refused(&page(&visitor, form)),
    };
    let org = visitor.org_id();
    let kept = concerning::count(&kernel, org, &party).await.map_err(Problem::internal)?;
    let callbacks = count_callbacks(&kernel, org, &party).await.map_err(Problem::internal)?;
    let meetings = count_meetings(&kernel, org, &party).await.map_err(Problem::internal)?;
    let rooms = count_rooms(&kernel, org, posted.get("number")).await.map_err(Problem::internal)?;
    show(&PrivacyPage {
        number: posted.get("number").trim().to_owned(),
        kept: Some((kept, callbacks, meetings, rooms)),
        ..page(&visitor, form().filled(&posted))
    })
}

async fn count_callbacks(kernel: &Kernel, org: &str, party: &Party) -> Result<u64, DbError> {
    let (mut found, mut after) = (0, String::new());
    loop {
        let page = flows::callbacks_of(kernel, org, party, &after).await?;
        let Some(last) = page.last() else { return Ok(found) };
        after.clone_from(&last.id);
        found += page.len() as u64;
    }
}

async fn count_meetings(kernel: &Kernel, org: &str, party: &Party) -> Result<u64, DbError> {
    let (mut found, mut after) = (0, 0);
    loop {
        let page = meetings::meetings_of(kernel, org, party, after).await?;
        let Some(last) = page.last() else { return Ok(found) };
        after = last.id;
        found += page.len() as u64;
    }
}

async fn count_rooms(kernel: &Kernel, org: &Id, who: &str) -> Result<u64, DbError> {
    let (mut found, mut after) = (0, String::new());
    loop {
        let page = chats::visitors_of(kernel, org, who, &after).await?;
        let Some(last) = page.last() else { return Ok(found) };
        after = last.id.to_string();
        for visitor in &page {
            let mut after = String::new();
            loop {
                let rooms = chats::rooms_of(kernel, org, &visitor.id, &after).await?;
                let Some(last) = rooms.last() else { break };
                after = last.id.to_string();
                found += rooms.len() as u64;
            }
        }
    }
}

async fn note(kernel: &Kernel, visitor: &Visitor, action: &str, party: &Party) -> Result<(), Problem> {
    let write = kernel.audit_write(visitor.org_id(), visitor.principal().actor(), action, party.as_str());
    kernel.db.writer().commit(vec![write]).await.map(drop).map_err(Problem::internal)
}

/// Everything of a party as one JSON file; audio by URLs that open for 24 hours.
async fn export(Given(kernel): Given<Kernel>, visitor: Visitor, posted: Posted) -> Result<Response, Problem> {
    let party = match party(&posted) {
        Ok(party) => party,
        Err(form) => return show_refused(&page(&visitor, form)),
    };
    note(&kernel, &visitor, "person.export", &party).await?;
    let headers = [(CONTENT_TYPE, "application/json"), (CONTENT_DISPOSITION, "attachment; filename=\"export.json\"")];
    Ok((headers, export::body(kernel, visitor.org_id(), party, posted.get("number"))).into_response())
}

async fn erase(Given(kernel): Given<Kernel>, visitor: Visitor, posted: Posted) -> Result<Response, Problem> {
    let party = match party(&posted) {
        Ok(party) => party,
        Err(form) => return show_refused(&page(&visitor, form)),
    };
    note(&kernel, &visitor, "person.erase", &party).await?;
    // On a task of its own: who closes the page has asked for all of it.
    let (work, org, who) = (kernel.clone(), visitor.org_id().clone(), posted.get("number").trim().to_owned());
    let number = who.clone();
    let erased = kernel.tasks.spawn(async move { erase_all(&work, &org, &party, &who).await });
    let done = erased.await.map_err(Problem::internal)?.map_err(Problem::internal)?;
    show(&PrivacyPage { number, done: Some(done), ..page(&visitor, form()) })
}

/// Erases page by page until nothing is left that may go.
async fn erase_all(kernel: &Kernel, org: &Id, party: &Party, who: &str) -> Result<Done, DbError> {
    let mut done = Done::default();
    let run_of = |call: &str| vec![store::erase_run_write(org, call)];
    let mut after = String::new();
    while let Some(page) = erasure::erase_calls(kernel, org, party, &mut after, run_of).await? {
        done.add(page);
        if kernel.stop.is_cancelled() {
            return Ok(Done { is_cut: true, ..done });
        }
    }
    after.clear();
    while let Some(page) = erasure::erase_messages(kernel, org, party, &mut after).await? {
        done.add(page);
    }
    after.clear();
    while let Some((gone, kept)) = flows::erase_callbacks(kernel, org, party, &mut after).await? {
        done.callbacks += gone;
        done.kept += kept;
    }
    let mut after = 0;
    while let Some(gone) = meetings::erase_meetings(kernel, org, party, &mut after).await? {
        done.add(gone.of_calls);
        done.meetings += gone.meetings;
        done.kept += gone.kept;
    }
    erase_notices(kernel, org, party).await?;
    meetings::erase_users(kernel, org, party).await?;
    let mut after = String::new();
    while let Some(gone) = chats::erase_visitors(kernel, org, who, &mut after).await? {
        done.rooms += gone.rooms;
        done.kept += gone.kept;
    }
    Ok(done)
}

/// What was sent to the number, and to the addresses that applications know of its person.
async fn erase_notices(kernel: &Kernel, org: &str, party: &Party) -> Result<(), DbError> {
    let recipients = meetings::recipients(kernel, org, party).await?;
    let writes = recipients.iter().map(|recipient| erase_notices_write(org, recipient)).collect();
    kernel.db.writer().commit(writes).await?;
    Ok(())
}

impl Done {
    fn add(&mut self, page: erasure::Erased) {
        self.calls += page.calls;
        self.recordings += page.recordings;
        self.messages += page.messages;
        self.kept += page.kept;
    }
}
