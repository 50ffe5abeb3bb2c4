//! Recordings and voicemail: to be heard, by whoever may; each hearing is in the audit.

use askama::Template;
use axum::extract::State as Given;
use axum::response::Response;
use calls::Calls;
use calls::records::{self, VoicemailView};
use kernel::http::{PageQuery, Path, Query, cursor};
use kernel::{Action, Kernel, Problem};
use serde::Deserialize;

use super::calls::duration;
use super::door::Doors;
use super::door::Needs::{MayEither, SignIn};
use super::page::{Page, done, show};
use super::visitor::Visitor;
use crate::calls::sight::Sight;

const PATH: &str = "/console/recordings";
const VOICEMAIL: &str = "/console/voicemail";
/// On one page.
const SHOWN: u32 = 25;

pub(super) fn doors(doors: Doors) -> Doors {
    let hear = MayEither(Action::ReadRecordings, Action::ReadOwnRecordings);
    doors.get(PATH, hear, list).get(VOICEMAIL, SignIn, boxes).post(
        "/console/voicemail/{id}/delete",
        MayEither(Action::ManageVoicemail, Action::UseOwnVoicemail),
        delete,
    )
}

/// Something to be heard.
struct Sound {
    /// Where its audio is.
    audio: String,
    /// From whom, to whom.
    title: String,
    at: String,
    length: String,
    /// `ready`, else the state in which it cannot be heard.
    state: String,
    /// Where more is told.
    more: Option<(&'static str, String)>,
    is_new: bool,
    /// Where a button to delete it posts to.
    delete: Option<String>,
}

#[derive(Template)]
#[template(path = "console/sounds.html")]
struct SoundsPage {
    page: Page,
    about: &'static str,
    empty: &'static str,
    /// The own extensions, when there are several to choose from, and whether it is that one's box.
    extensions: Vec<(String, bool)>,
    sounds: Vec<Sound>,
    more: Option<String>,
}

async fn list(
    Given(kernel): Given<Kernel>,
    Given(calls): Given<Calls>,
    visitor: Visitor,
    Query(query): Query<PageQuery>,
) -> Result<Response, Problem> {
    let org = visitor.org_id();
    let before = query.after()?;
    // Who hears only own calls sees only those; a call that is forgotten leaves its recording to whoever hears all.
    let hears_all = visitor.may(Action::ReadRecordings);
    let own = visitor.principal().person().filter(|_| !hears_all);
    if !hears_all && own.is_none() {
        return Err(Problem::new(kernel::error::codes::FORBIDDEN));
    }
    let found = records::recordings(&kernel, org, own.map(|person| &**person), before.as_deref(), SHOWN).await;
    let found = found.map_err(Problem::internal)?;
    let mut sounds = Vec::new();
    for recording in found.recordings {
        let call = calls.get(org, &recording.call_id).await.map_err(Problem::internal)?;
        let title = match call {
            Some(call) => format!("{} → {}", call.from, call.to),
            None => "a call that is forgotten".to_owned(),
        };
        sounds.push(Sound {
            audio: records::recording_path(&recording.id),
            title,
            at: recording.started_at,
            length: duration(recording.seconds),
            state: recording.state,
            more: Some(("the call", format!("/console/calls/{}", recording.call_id))),
            is_new: false,
            delete: None,
        });
    }
    show(&SoundsPage {
        page: visitor.page("Recordings", PATH),
        about: "Left the customer, right whom they heard. Who listens stands in the audit.",
        extensions: Vec::new(),
        empty: "Nothing is recorded yet. A flow records with \"record\": true, or with a record step.",
        sounds,
        more: found.cursor.map(|place| format!("{PATH}?cursor={}", cursor(&place))),
    })
}

/// A message of a box.
fn sound(message: VoicemailView, deletes: bool) -> Sound {
    Sound {
        audio: records::voicemail_path(&message.id),
        title: format!("{} for {}", message.from, message.extension),
        at: message.left_at,
        length: duration(message.seconds),
        state: "ready".to_owned(),
        more: None,
        is_new: message.heard_at.is_none(),
        delete: deletes.then(|| format!("{VOICEMAIL}/{}/delete", message.id)),
    }
}

/// `?extension=1002`
#[derive(Debug, Deserialize)]
struct BoxQuery {
    extension: Option<String>,
    cursor: Option<String>,
}

async fn boxes(
    Given(kernel): Given<Kernel>,
    visitor: Visitor,
    Query(query): Query<BoxQuery>,
) -> Result<Response, Problem> {
    let (org, sight) = voicemail_sight(&kernel, &visitor, Action::ReadVoicemail).await?;
    let after = PageQuery { cursor: query.cursor, limit: None }.after()?;
    let own = match &sight {
        Sight::Own(own) => own.clone(),
        Sight::All => Vec::new(),
    };
    let chosen = query.extension.filter(|wanted| own.contains(wanted)).or_else(|| own.first().cloned());
    let found = match (&sight, chosen.as_deref()) {
        (Sight::Own(_), None) => Ok(records::VoicemailPage { messages: Vec::new(), cursor: None }),
        (_, extension) => records::messages(&kernel, &org, extension, after.as_deref(), SHOWN).await,
    };
    let found = found.map_err(Problem::internal)?;
    let several = own.iter().filter(|_| own.len() > 1);
    let here = match &chosen {
        Some(extension) => format!("{VOICEMAIL}?extension={extension}&"),
        None => format!("{VOICEMAIL}?"),
    };
    let manages = visitor.may(Action::ManageVoicemail);
    let messages = found.messages.into_iter();
    show(&SoundsPage {
        page: visitor.page("Voicemail", VOICEMAIL),
        about: "Messages of callers who found nobody, newest first.",
        extensions: several.map(|number| (number.clone(), chosen.as_ref() == Some(number))).collect(),
        empty: "No message. A box is switched on at a person's extension; a flow's voicemail step leads to it.",
        sounds: messages
            .map(|message| {
                let own = own.contains(&message.extension);
                sound(message, manages || own)
            })
            .collect(),
        more: found.cursor.map(|place| format!("{here}cursor={}", cursor(&place))),
    })
}

async fn voicemail_sight(
    kernel: &Kernel,
    visitor: &Visitor,
    all: Action,
) -> Result<(std::sync::Arc<str>, Sight), Problem> {
    Sight::of(kernel, visitor.principal(), all, Action::UseOwnVoicemail).await
}

#[derive(Debug, Deserialize)]
struct MessagePath {
    id: String,
}

async fn delete(
    Given(kernel): Given<Kernel>,
    visitor: Visitor,
    Path(path): Path<MessagePath>,
) -> Result<Response, Problem> {
    let (org, sight) = voicemail_sight(&kernel, &visitor, Action::ManageVoicemail).await?;
    let message = records::message(&kernel, &org, &path.id).await.map_err(Problem::internal)?;
    let message = message.filter(|message| sight.covers(&message.extension)).ok_or_else(Problem::not_found)?;
    let audit = kernel.audit_write(&org, visitor.principal().actor(), "voicemail.delete", &message.id);
    kernel.db.writer().commit(vec![audit]).await.map_err(Problem::internal)?;
    records::delete_message(&kernel, &org, &message.id).await.map_err(Problem::internal)?;
    Ok(done(VOICEMAIL, "deleted"))
}
