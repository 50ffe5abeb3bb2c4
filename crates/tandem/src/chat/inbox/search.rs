//! What was said is found again.
//!
//! Invariant: words are indexed from the log of events, behind the messages themselves, which they do not slow down; a
//! search reads first what was said since, and every match is read from the message as it stands now.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kernel::{DbError, Kernel, Write};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::{MissedTickBehavior, interval};

use super::store::search as store;
use super::words::{self, Query};
use crate::chat::model::{Body, Id, Kind, Message, Note};
use crate::chat::{Asker, ChatError, Chats, Wide};

/// How often words are indexed without being asked.
const BEAT: Duration = Duration::from_secs(5);
/// Portions of events that a search reads first; what is behind them is found a moment later.
const PORTIONS: usize = 40;
/// Longest piece of a message that is shown, characters.
const PIECE: usize = 200;

/// Organisations in which something was said since it was indexed.
#[derive(Debug, Default)]
pub(in crate::chat) struct Unread(Mutex<HashSet<Id>>);

impl Unread {
    /// Something was said.
    pub(in crate::chat) fn add(&self, org: &Id) {
        let mut orgs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !orgs.contains(org) {
            orgs.insert(org.clone());
        }
    }

    fn take(&self) -> HashSet<Id> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The newest first.
    pub(super) hits: Vec<Hit>,
    /// How many matched; what is not there any more is no hit.
    pub(super) matches: usize,
    /// The position of the last one.
    pub(super) last: Option<i64>,
}

/// A message, or a note, in which the words stand.
#[derive(Debug)]
pub(super) struct Hit {
    pub(super) state: String,
    pub(super) user_id: String,
    /// A piece around the words.
    pub(super) text: String,
    pub(super) said: Said,
}

/// Where they stand.
#[derive(Debug)]
pub(super) enum Said {
    Message(Message),
    Note(Note),
}

/// What an event of a message tells.
#[derive(Deserialize)]
struct Told<'a> {
    #[serde(borrow)]
    data: ToldMessage<'a>,
}

#[derive(Deserialize)]
struct ToldMessage<'a> {
    seq: i64,
    #[serde(borrow)]
    kind: &'a str,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
}

/// What can be found of a message: its words, or the name of its file.
fn said_in(kind: Kind, body: &Body) -> Option<String> {
    match kind {
        Kind::Text => Some(body.words().to_string()),
        Kind::Image | Kind::File => {
            #[derive(Deserialize)]
            struct File {
                name: String,
            }
            serde_json::from_str::<File>(body.as_json()).ok().map(|file| file.name)
        }
        Kind::System | Kind::Call => None,
    }
}

impl Chats {
    /// Begins to index what is said; it ends with the server.
    pub(super) fn index(&self) {
        self.kernel().tasks.spawn(run(self.clone()));
    }

    /// Finds messages and notes with these words, newest first, before a position.
    ///
    /// # Errors
    /// [`ChatError`].
    pub(super) async fn search(
        &self,
        asker: &Asker,
        text: &str,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Found, ChatError> {
        self.may_everywhere(asker, Wide::SeeRooms).await?;
        let Some(query) = Query::read(text) else { return Ok(Found::default()) };
        let org = asker.org();
        catch_up(self.kernel(), org, PORTIONS).await?;
        let (db, app) = (&self.kernel().db, asker.app().map(|app| &**app));
        let matches = store::matching(db, org, app, &query, before.unwrap_or(i64::MAX), limit).await?;
        let last = matches.last().map(|found| found.position);
        let rooms: Vec<Id> = matches.iter().map(|found| found.room.as_str().into()).collect();
        self.note_readings(asker, &rooms).await?;
        let mut found = Found { hits: Vec::new(), matches: matches.len(), last };
        for one in matches {
            let Some((said, text)) = self.read_match(org, &one).await? else { continue };
            let store::Match { state, user_id, .. } = one;
            found.hits.push(Hit { state, user_id, text: query.piece(&text, PIECE), said });
        }
        Ok(found)
    }

    /// What a match says now.
    async fn read_match(&self, org: &Id, found: &store::Match) -> Result<Option<(Said, String)>, DbError> {
        let db = &self.kernel().db;
        if let Some(id) = &found.note {
            let notes = crate::chat::store::notes(db, org, &found.room).await?;
            let note = notes.into_iter().find(|note| *note.id == **id);
            return Ok(note.map(|note| (Said::Note(note.clone()), note.text)));
        }
        let Some(message) = crate::chat::store::message(db, org, &found.room, found.seq).await? else {
            return Ok(None);
        };
        let text = message.body.as_ref().and_then(|body| said_in(message.kind, body));
        Ok(text.map(|text| (Said::Message(message), text)))
    }
}

/// Indexes what was said since the last time, at most so many portions of it; whether that was all.
async fn catch_up(kernel: &Kernel, org: &Id, portions: usize) -> Result<bool, DbError> {
    let head = kernel.events.head(org).await?;
    let mut after = store::mark(&kernel.db, org).await?;
    for _ in 0..portions {
        if after >= head {
            return Ok(true);
        }
        let said = store::said(&kernel.db, org, after, head).await?;
        let is_last = i64::try_from(said.len()).is_ok_and(|length| length < store::PORTION);
        after = if is_last { head } else { said.last().map_or(head, |said| said.position) };
        let mut writes: Vec<Write> = said.iter().filter_map(|said| word_writes(org, said)).flatten().collect();
        writes.push(store::mark_write(org, after));
        kernel.db.writer().commit(writes).await?;
    }
    Ok(after >= head)
}

fn word_writes(org: &Id, said: &store::Said) -> Option<[Write; 2]> {
    let told: Told<'_> = serde_json::from_str(&said.body).ok()?;
    let ToldMessage { seq, kind, body } = told.data;
    let body = body?.get();
    let words = words::folded(&said_in(Kind::parse(kind)?, &Body::stored(body))?);
    (!words.is_empty()).then(|| store::words_writes(org, &said.room, seq, said.position, &words, body))
}

/// Indexes what is said, a little behind.
async fn run(chats: Chats) {
    let kernel = chats.kernel().clone();
    let mut beat = interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = beat.tick() => {}
            () = kernel.stop.cancelled() => return,
        }
        for org in chats.unread().take() {
            match catch_up(&kernel, &org, 1).await {
                Ok(true) => {}
                // The others have their turn first.
                Ok(false) => chats.unread().add(&org),
                Err(error) => {
                    tracing::error!(%org, %error, "what was said cannot be searched yet");
                    chats.unread().add(&org);
                }
            }
        }
    }
}
