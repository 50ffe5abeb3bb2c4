//! What a browser is told of a chat, made in the moment in which it is sent: nothing that was read meanwhile, nothing that
//! an open page got. A socket alone is no page: a phone that was locked keeps one for a while, so it is asked again. No words of a message, unless the application says so (`chat_push_text`).

use futures_util::future::BoxFuture;
use kernel::push::{About, Composed, Composer};
use kernel::{DbError, RecordError};
use serde_json::{Value, json};

use super::INBOX;
use crate::chat::model::{Kind, Message, Room, Sender, Side};
use crate::chat::visit::words::say;
use crate::chat::{ChatError, Chats, store};

/// Beginning of a visitor's id.
const VISITOR: &str = "vis_";
/// Messages that are counted, at most.
const MOST: i64 = 100;
/// Longest name, and longest text of a message, characters.
const MAX_NAME: usize = 100;
const MAX_WORDS: usize = 200;
/// Whoever is gone without a word has no socket any more after this, milliseconds.
const GONE_MS: i64 = 45_000;

impl Composer for Chats {
    fn compose<'a>(&'a self, about: &'a About) -> BoxFuture<'a, Result<Composed, DbError>> {
        Box::pin(async move {
            let told = if about.owner.starts_with(VISITOR) {
                self.visitor_is_told(about).await
            } else {
                self.person_is_told(about).await
            };
            match told {
                Ok(told) => Ok(told),
                // The room, the person or the application has gone.
                Err(ChatError::NotFound | ChatError::Org(RecordError::NotFound { .. })) => Ok(Composed::Nothing),
                Err(ChatError::Db(error) | ChatError::Org(RecordError::Db(error))) => Err(error),
                Err(error) => Err(DbError::Io(std::io::Error::other(error))),
            }
        })
    }
}

impl Chats {
    /// Somebody who answers: about the own room, or about one that waits.
    async fn person_is_told(&self, about: &About) -> Result<Composed, ChatError> {
        let About { org, owner, topic, .. } = about;
        self.who_answers(org, owner).await?;
        let room = self.room_of_desk(org, topic).await?;
        let is_own = room.assignee.as_ref() == Some(owner);
        if !room.is_open() || !(is_own || room.assignee.is_none()) {
            return Ok(Composed::Nothing);
        }
        let own = store::mark_of(&self.kernel().db, org, topic, &Sender::Person(owner.clone()).stored()).await?;
        let is_here = self.hub().has_person(org, owner);
        let is_known = own.read_seq >= room.seq_head || is_here && own.delivered_seq >= room.seq_head;
        if is_own && is_known {
            return Ok(Composed::Nothing);
        }
        if is_here || !is_own && self.is_somebody_here_for(org, room.team.as_ref()).await? {
            return Ok(Composed::Undecided(GONE_MS));
        }
        let read_seq = if is_own { own.read_seq } else { self.marks(&room).await?.of(Side::Support).read_seq };
        let new = self.new_of(&room, read_seq, Side::Visitor).await?;
        let visitor = self.visitor(org, &room.visitor).await?;
        let name = if visitor.name.is_empty() { &visitor.user_id } else { &visitor.name };
        let body = match (is_own, new.len()) {
            (false, _) => "A chat waits for an answer".to_owned(),
            (true, 0) => "A chat was given to you".to_owned(),
            (true, 1) => "One new message".to_owned(),
            (true, count) => format!("{count} new messages"),
        };
        let url = format!("{INBOX}/{}", room.id);
        self.notice(&room, &cut(name, MAX_NAME), body, &new, &url).await.map(Composed::Told)
    }

    /// A visitor: somebody has answered.
    async fn visitor_is_told(&self, about: &About) -> Result<Composed, ChatError> {
        let room = self.room_of_desk(&about.org, &about.topic).await?;
        let mark = self.marks(&room).await?.of(Side::Visitor);
        let is_here = self.hub().has_visitor(&room.org, &room.id);
        if room.visitor != about.owner || is_here && mark.delivered_seq >= room.seq_head {
            return Ok(Composed::Nothing);
        }
        let new = self.new_of(&room, mark.read_seq, Side::Support).await?;
        if new.is_empty() {
            return Ok(Composed::Nothing);
        }
        if is_here {
            return Ok(Composed::Undecided(GONE_MS));
        }
        let door = self.door(&room.app).await?;
        let url = if about.page.is_empty() { format!("/c/{}", room.app) } else { about.page.clone() };
        let body = say(&about.locale, "push_answer").to_owned();
        self.notice(&room, &cut(door.title(), MAX_NAME), body, &new, &url).await.map(Composed::Told)
    }

    /// The messages of people of one side after a number; the newest [`MOST`] are looked at.
    async fn new_of(&self, room: &Room, after_seq: i64, side: Side) -> Result<Vec<Message>, DbError> {
        let mut new = self.messages_of(room, after_seq.max(room.seq_head - MOST), MOST).await?;
        new.retain(|message| {
            message.deleted_ms.is_none() && message.sender.side() == side && message.sender != Sender::System
        });
        Ok(new)
    }

    async fn notice(
        &self,
        room: &Room,
        title: &str,
        body: String,
        new: &[Message],
        url: &str,
    ) -> Result<Value, ChatError> {
        let shows_text = self.settings(&room.org, &room.app).await?.pushes_text;
        let text = new.last().filter(|_| shows_text).and_then(words);
        Ok(json!({
            "title": title, "body": text.unwrap_or(body), "tag": &*room.id as &str, "room": &*room.id as &str,
            "url": url, "unread": new.len(),
        }))
    }
}

/// What a message says, if it is words.
fn words(message: &Message) -> Option<String> {
    let body = message.body.as_ref().filter(|_| message.kind == Kind::Text)?.value();
    body.as_str().map(|text| cut(text, MAX_WORDS))
}

fn cut(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}
