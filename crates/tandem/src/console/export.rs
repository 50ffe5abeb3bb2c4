//! Everything that is kept of a party as one JSON file, told while it is read.
//!
//! Invariant: a page of the store is in memory at a time, whatever the party's life was like. `"complete":true` is the
//! last that is told, so a file that was cut off is no JSON, and one with a call that is up says that it lacks it.

use std::collections::VecDeque;

use axum::body::{Body, Bytes};
use calls::concerning::{self, Party};
use calls::{CallState, CallView};
use futures_util::stream;
use kernel::{DbError, Kernel};
use serde::Serialize;
use serde_json::json;

use crate::chat::concerning as chats;
use crate::chat::model::{Id, Visitor};
use crate::flows::{path, store::concerning as flows};
use crate::meetings::concerning as meetings;

/// What is told next.
enum Chapter {
    Calls,
    Messages,
    Callbacks,
    Meetings,
    Chats,
    End,
}

/// A file that is being told.
struct Telling {
    kernel: Kernel,
    org: String,
    party: Party,
    chapter: Chapter,
    /// The last thing of this chapter that was told.
    after: String,
    /// The rest of the page of calls that was read: each is told for itself, since its events may be many.
    calls: VecDeque<CallView>,
    /// Nothing of this chapter has been told.
    is_first: bool,
    /// Calls that are up, which are not told half.
    up: u64,
    /// As whom somebody writes in chats: as it was typed.
    who: String,
    /// The rest of the page of visitors that was read, and of the first one's rooms the last that was told.
    visitors: VecDeque<Visitor>,
    after_room: String,
}

/// The file.
pub(super) fn body(kernel: Kernel, org: &str, party: Party, who: &str) -> Body {
    let beginning = format!("{{\"number\":{},\"calls\":[", json!(party.as_str()));
    let telling = Telling {
        kernel,
        org: org.to_owned(),
        party,
        chapter: Chapter::Calls,
        after: String::new(),
        calls: VecDeque::new(),
        is_first: true,
        up: 0,
        who: who.to_owned(),
        visitors: VecDeque::new(),
        after_room: String::new(),
    };
    let pieces = stream::try_unfold((Some(beginning), telling), async |(beginning, mut telling)| {
        let piece = match beginning {
            Some(beginning) => Some(beginning),
            None => telling.next().await?,
        };
        Ok::<_, DbError>(piece.map(|piece| (Bytes::from(piece), (None, telling))))
    });
    Body::from_stream(pieces)
}

impl Telling {
    /// The next piece of the file; `None` behind its end.
    async fn next(&mut self) -> Result<Option<String>, DbError> {
        match self.chapter {
            Chapter::Calls => self.call().await,
            Chapter::Messages => {
                let page = concerning::messages_alone(&self.kernel, &self.org, &self.party, &self.after).await?;
                let Some(last) = page.last() else {
                    return Ok(Some(self.turn(Chapter::Callbacks, ",\"callbacks\":[")));
                };
                self.after.clone_from(&last.id);
                self.list(&page).map(Some)
            }
            Chapter::Callbacks => {
                let page = flows::callbacks_of(&self.kernel, &self.org, &self.party, &self.after).await?;
                let Some(last) = page.last() else {
                    return Ok(Some(self.turn(Chapter::Meetings, ",\"meetings\":[")));
                };
                self.after.clone_from(&last.id);
                let mut told = Vec::new();
                for callback in page {
                    told.push(callback.told(&self.kernel, &self.org).await?);
                }
                self.list(&told).map(Some)
            }
            Chapter::Meetings => self.meetings().await.map(Some),
            Chapter::Chats => self.chats().await.map(Some),
            Chapter::End => Ok(None),
        }
    }

    /// The next call that is over, with all that hangs on it.
    async fn call(&mut self) -> Result<Option<String>, DbError> {
        let call = loop {
            let Some(call) = self.calls.pop_front() else {
                self.calls = concerning::calls_with(&self.kernel.db, &self.org, &self.party, &self.after).await?.into();
                let Some(last) = self.calls.back() else {
                    return Ok(Some(self.turn(Chapter::Messages, ",\"messages\":[")));
                };
                self.after.clone_from(&last.id);
                continue;
            };
            if call.state == CallState::Completed {
                break call;
            }
            self.up += 1;
        };
        let (kernel, org, id) = (&self.kernel, self.org.as_str(), call.id.as_str());
        let told = json!({
            "events": path::events_of(kernel, org, id, "").await?,
            "recordings": concerning::recordings_of(kernel, org, id).await?,
            "messages": concerning::messages_of(kernel, org, id).await?,
            "runs": flows::runs_of(kernel, org, id).await?,
            "call": call,
        });
        self.list(&[told]).map(Some)
    }

    /// The next meetings.
    async fn meetings(&mut self) -> Result<String, DbError> {
        let after = self.after.parse().unwrap_or_default();
        let page = meetings::meetings_of(&self.kernel, &self.org, &self.party, after).await?;
        let Some(last) = page.last() else {
            let users = json!(meetings::users_of(&self.kernel, &self.org, &self.party).await?);
            let notices = json!(meetings::notices_to(&self.kernel, &self.org, &self.party).await?);
            let next = format!(",\"users\":{users},\"notices\":{notices},\"chats\":[");
            return Ok(self.turn(Chapter::Chats, &next));
        };
        self.after = last.id.to_string();
        let mut told = Vec::new();
        for meeting in &page {
            told.push(meetings::told(&self.kernel, meeting, &self.party).await?);
        }
        self.list(&told)
    }

    /// The next rooms of the next visitor, and behind the last one the end of the file.
    async fn chats(&mut self) -> Result<String, DbError> {
        let org: Id = self.org.as_str().into();
        loop {
            let Some(visitor) = self.visitors.front() else {
                self.visitors = chats::visitors_of(&self.kernel, &org, &self.who, &self.after).await?.into();
                let Some(last) = self.visitors.back() else {
                    let end = format!(",\"calls_up\":{},\"complete\":{}}}", self.up, self.up == 0);
                    return Ok(self.turn(Chapter::End, &end));
                };
                self.after = last.id.to_string();
                continue;
            };
            let rooms = chats::rooms_of(&self.kernel, &org, &visitor.id, &self.after_room).await?;
            let visitor = chats::told_of_visitor(&self.kernel, visitor).await?;
            let Some(last) = rooms.last() else {
                self.visitors.pop_front();
                self.after_room.clear();
                return self.list(&[json!({ "visitor": visitor })]);
            };
            self.after_room = last.id.to_string();
            let mut told = Vec::new();
            for room in &rooms {
                told.push(chats::told_of_room(&self.kernel, room).await?);
            }
            return self.list(&told);
        }
    }

    /// Some more elements of this chapter's list.
    fn list<T: Serialize>(&mut self, elements: &[T]) -> Result<String, DbError> {
        let mut text = String::new();
        for element in elements {
            if !std::mem::take(&mut self.is_first) {
                text.push(',');
            }
            text += &serde_json::to_string(element).map_err(std::io::Error::from)?;
        }
        Ok(text)
    }

    /// Ends this chapter's list and begins the next one.
    fn turn(&mut self, chapter: Chapter, beginning: &str) -> String {
        self.chapter = chapter;
        self.after.clear();
        self.is_first = true;
        format!("]{beginning}")
    }
}
