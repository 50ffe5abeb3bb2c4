//! What is done in a room beside sending and changing it: it is read, messages are changed and taken back, notes are made,
//! and those who listen are told who types.
//!
//! Invariant: nobody does anything that [`super::access::may`] does not allow; nothing is acknowledged or told to
//! anybody before it is durable.

use std::sync::Arc;

use kernel::events::{NEXT_SEQ, event_write_of};
use kernel::{DbError, Event, Outbox, Target, Write};
use serde_json::{Value, json};

use super::access::{self, Act, Asker, Wide, limit_key, may};
use super::hub::{News, What, Who};
use super::model::{Body, Id, Mark, Marks, Message, Note, Refused, Room, Sender, Side};
use super::settings::Identity;
use super::store::{RoomFilter, RoomPage};
use super::view::MessageView;
use super::visit::{forget_file_write, named_file};
use super::{ChatError, ChatSettings, Chats, inbox, store};

/// How often something is tried again when somebody else was faster.
pub(super) const MAX_TRIES: usize = 16;
/// Messages in one answer, at most.
pub const MAX_PAGE: i64 = 500;
/// Longest note, characters.
const MAX_NOTE: usize = 8_000;
/// Longest beginning of a message that is shown while it is typed, characters.
const MAX_PREVIEW: usize = 500;

impl Chats {
    /// A room, if the asker may do `act` with it, and the settings of its application.
    ///
    /// # Errors
    /// [`ChatError::NotFound`], [`ChatError::Forbidden`], or what the store says.
    pub async fn reach(&self, asker: &Asker, room: &str, act: Act<'_>) -> Result<(Room, Arc<ChatSettings>), ChatError> {
        let found = store::room(&self.kernel().db, asker.org(), room).await?;
        let room = found.ok_or(ChatError::NotFound)?;
        let settings = self.settings(&room.org, &room.app).await?;
        may(asker, settings.identity, &room, act)?;
        Ok((room, settings))
    }

    /// A room that the asker may see.
    ///
    /// # Errors
    /// [`ChatError::NotFound`], or what the store says.
    pub async fn room(&self, asker: &Asker, room: &str) -> Result<Room, ChatError> {
        Ok(self.reach(asker, room, Act::See).await?.0)
    }

    /// A room, for the desk itself: nobody is asked whether he may see it.
    ///
    /// # Errors
    /// [`ChatError::NotFound`], or what the store says.
    pub(crate) async fn room_of_desk(&self, org: &Id, id: &str) -> Result<Room, ChatError> {
        store::room(&self.kernel().db, org, id).await?.ok_or(ChatError::NotFound)
    }

    /// A page of the rooms that the asker may see.
    ///
    /// # Errors
    /// [`ChatError::Forbidden`], or what the store says.
    pub async fn rooms(&self, asker: &Asker, filter: &RoomFilter, limit: i64) -> Result<RoomPage, ChatError> {
        let mut filter = filter.clone();
        if let Asker::Visitor { id, .. } = asker {
            filter.visitor = Some(id.clone());
        } else {
            self.may_everywhere(asker, Wide::SeeRooms).await?;
        }
        if let Some(room) = &filter.room {
            return match self.room(asker, room).await {
                Ok(room) => Ok(RoomPage { rooms: vec![room], next: None }),
                Err(ChatError::NotFound) => Ok(RoomPage::default()),
                Err(error) => Err(error),
            };
        }
        if filter.tag.is_some() && asker.side() == Side::Visitor {
            return Err(ChatError::Forbidden);
        }
        Ok(store::rooms(&self.kernel().db, asker.org(), asker.app(), &filter, limit).await?)
    }

    /// Whether the asker may do something with every room.
    ///
    /// # Errors
    /// [`ChatError::Forbidden`], or what the store says.
    pub async fn may_everywhere(&self, asker: &Asker, wide: Wide) -> Result<(), ChatError> {
        let identity = match asker.app() {
            Some(app) => self.settings(asker.org(), app).await?.identity,
            None => Identity::default(),
        };
        Ok(access::may_everywhere(asker, identity, wide)?)
    }

    /// The messages of a room after a number, in order; at most [`MAX_PAGE`].
    ///
    /// # Errors
    /// [`ChatError::NotFound`], or what the store says.
    pub async fn messages(
        &self,
        asker: &Asker,
        room: &str,
        after_seq: i64,
        limit: i64,
    ) -> Result<Vec<Message>, ChatError> {
        let room = self.room(asker, room).await?;
        self.note_reading(asker, &room).await?;
        Ok(self.messages_of(&room, after_seq, limit).await?)
    }

    /// The same of a room that the asker was found to see.
    ///
    /// # Errors
    /// What the store says.
    pub async fn messages_of(&self, room: &Room, after_seq: i64, limit: i64) -> Result<Vec<Message>, DbError> {
        store::messages(&self.kernel().db, &room.org, &room.id, after_seq, limit.clamp(0, MAX_PAGE)).await
    }

    /// The newest messages of a room before a number, in order; at most [`MAX_PAGE`].
    ///
    /// # Errors
    /// What the store says.
    pub async fn messages_before(&self, room: &Room, before_seq: i64, limit: i64) -> Result<Vec<Message>, DbError> {
        store::messages_before(&self.kernel().db, &room.org, &room.id, before_seq, limit.clamp(0, MAX_PAGE)).await
    }

    /// How far both sides of a room have come.
    ///
    /// # Errors
    /// What the store says.
    pub async fn marks(&self, room: &Room) -> Result<Marks, DbError> {
        store::marks(&self.kernel().db, &room.org, &room.id).await
    }

    /// Says how far the asker has come; never back, and never beyond the newest message.
    ///
    /// # Errors
    /// [`ChatError::NotFound`], or what the store says.
    pub async fn mark(&self, asker: &Asker, room: &str, mark: Mark) -> Result<Mark, ChatError> {
        let (room, _) = self.reach(asker, room, Act::Mark).await?;
        if mark.read_seq > 0 {
            self.note_reading(asker, &room).await?;
        }
        let read_seq = mark.read_seq.clamp(0, room.seq_head);
        // What was read was delivered.
        let delivered_seq = mark.delivered_seq.clamp(read_seq, room.seq_head);
        let (side, sender) = (asker.side(), asker.sender(&room));
        let who = if side == Side::Visitor { Side::Visitor.as_str().to_owned() } else { sender.stored() };
        let before = store::mark_of(&self.kernel().db, &room.org, &room.id, &who).await?;
        let mark =
            Mark { delivered_seq: delivered_seq.max(before.delivered_seq), read_seq: read_seq.max(before.read_seq) };
        if mark == before {
            return Ok(mark);
        }
        let write = store::mark_write(&room.org, &room.id, &who, side, mark);
        self.kernel().db.writer().commit(vec![write]).await?;
        let who = Who { side, id: shown_id(&sender), name: String::new() };
        self.hub().tell(News::of(&room, What::Marked { who, mark }));
        Ok(mark)
    }

    /// The number of a message in its room, by its id.
    ///
    /// # Errors
    /// [`ChatError::NotFound`], or what the store says.
    pub async fn seq_of(&self, asker: &Asker, room: &str, id: &str) -> Result<i64, ChatError> {
        let (room, _) = self.reach(asker, room, Act::See).await?;
        store::seq_of(&self.kernel().db, &room.org, &room.id, id).await?.ok_or(ChatError::NotFound)
    }

    /// Changes the words of a message.
    ///
    /// # Errors
    /// [`ChatError`]; nothing has changed then.
    pub async fn edit(&self, asker: &Asker, room: &str, seq: i64, body: Body) -> Result<Message, ChatError> {
        let mut is_counted = false;
        for _ in 0..MAX_TRIES {
            match self.try_edit(asker, room, seq, &body, &mut is_counted).await {
                // Another edit, a deletion or the end of the room came first: they are looked at.
                Err(ChatError::Db(DbError::Conflict)) => {}
                done => return done,
            }
        }
        Err(ChatError::Busy)
    }

    async fn try_edit(
        &self,
        asker: &Asker,
        room: &str,
        seq: i64,
        body: &Body,
        is_counted: &mut bool,
    ) -> Result<Message, ChatError> {
        let (room, settings, mut message) = self.message_of(asker, room, seq).await?;
        may(asker, settings.identity, &room, Act::Edit(&message.sender))?;
        room.takes_messages()?;
        let now_ms = self.now_ms();
        message.check_edit(body, &settings.limits, now_ms)?;
        if !std::mem::replace(is_counted, true) {
            self.count_words(asker, &room, &settings)?;
        }
        let before_ms = message.edited_ms;
        message.body = Some(body.clone());
        // Always later than the one before: whoever hears of two in the wrong order keeps the newer words.
        message.edited_ms = Some(before_ms.map_or(now_ms, |before_ms| now_ms.max(before_ms + 1)));
        let edit = store::edit_write(&room.org, &message, before_ms);
        let writes = vec![edit, inbox::unsay_write(&room.org, &room.id, seq)];
        self.commit_change(&room, &message, writes, "message.edited").await?;
        self.hub().tell(News::of(&room, What::Edited(Arc::new(message.clone()))));
        Ok(message)
    }

    /// Takes a message back: a tombstone stays. Of one that was taken back already nothing changes.
    ///
    /// # Errors
    /// [`ChatError`]; nothing has changed then.
    pub async fn delete(&self, asker: &Asker, room: &str, seq: i64) -> Result<Message, ChatError> {
        let (room, settings, mut message) = self.message_of(asker, room, seq).await?;
        may(asker, settings.identity, &room, Act::Delete(&message.sender))?;
        if message.deleted_ms.is_some() {
            return Ok(message);
        }
        let now_ms = self.now_ms();
        message.check_delete(&asker.sender(&room), now_ms)?;
        self.count_words(asker, &room, &settings)?;
        let before = message.body.take();
        message.deleted_ms = Some(now_ms);
        let file = before.and_then(|body| named_file(message.kind, &body));
        let mut writes = vec![store::delete_write(&room.org, &message), inbox::unsay_write(&room.org, &room.id, seq)];
        writes.extend(file.as_deref().map(|file| forget_file_write(&room.org, file)));
        writes.extend(self.deletion_noted(asker, &room, seq));
        match self.commit_change(&room, &message, writes, "message.deleted").await {
            Err(ChatError::Db(DbError::Conflict)) => return Err(Refused::Deleted.into()),
            done => done?,
        }
        if let Some(file) = file {
            self.remove_content(&room.org, &file).await;
        }
        self.hub().tell(News::of(&room, What::Deleted(Arc::new(message.clone()))));
        Ok(message)
    }

    async fn message_of(
        &self,
        asker: &Asker,
        room: &str,
        seq: i64,
    ) -> Result<(Room, Arc<ChatSettings>, Message), ChatError> {
        let (room, settings) = self.reach(asker, room, Act::See).await?;
        let found = store::message(&self.kernel().db, &room.org, &room.id, seq).await?;
        Ok((room, settings, found.ok_or(ChatError::NotFound)?))
    }

    async fn commit_change(
        &self,
        room: &Room,
        message: &Message,
        mut writes: Vec<Write>,
        kind: &'static str,
    ) -> Result<(), ChatError> {
        let targets = self.kernel().outbox.targets(&room.org).await?;
        writes.extend(self.message_event(room, message, kind, &targets));
        self.kernel().db.writer().commit(writes).await?;
        Ok(())
    }

    /// Notes something beside a room, for those who answer.
    ///
    /// # Errors
    /// [`ChatError`].
    pub async fn note(&self, asker: &Asker, room: &str, text: &str) -> Result<Note, ChatError> {
        let (room, _) = self.reach(asker, room, Act::Annotate).await?;
        let (note, writes) = self.draft_note(asker, &room, text)?;
        match self.kernel().db.writer().commit(writes).await {
            // It was erased in the same moment.
            Err(DbError::Conflict) => return Err(ChatError::NotFound),
            done => done?,
        };
        self.tell_note(&room, note.clone());
        Ok(note)
    }

    /// A note that goes into the commit of something else, and its writes.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub(super) fn draft_note(&self, asker: &Asker, room: &Room, text: &str) -> Result<(Note, Vec<Write>), ChatError> {
        if text.trim().is_empty() || text.contains('\0') {
            return Err(ChatError::Field("/text", Refused::Empty));
        }
        if text.chars().count() > MAX_NOTE {
            return Err(ChatError::Field("/text", Refused::TooLong { max: MAX_NOTE }));
        }
        let now_ms = self.now_ms();
        let note = Note {
            id: self.kernel().ids.new("note", now_ms).into(),
            room: room.id.clone(),
            after_seq: room.seq_head,
            author: asker.sender(room),
            text: text.to_owned(),
            created_ms: now_ms,
        };
        let writes = vec![store::note_write(&room.org, &note), inbox::note_write(&room.org, &note)];
        Ok((note, writes))
    }

    /// Tells those who answer of a note that is durable.
    pub(super) fn tell_note(&self, room: &Room, note: Note) {
        self.hub().tell(News::of(room, What::Note(Arc::new(note))));
    }

    /// The notes beside a room, oldest first.
    ///
    /// # Errors
    /// [`ChatError`].
    pub async fn notes(&self, asker: &Asker, room: &str) -> Result<Vec<Note>, ChatError> {
        let (room, _) = self.reach(asker, room, Act::SeeInside).await?;
        self.note_reading(asker, &room).await?;
        Ok(store::notes(&self.kernel().db, &room.org, &room.id).await?)
    }

    /// Shows that the asker types, or stopped; what a visitor has so far is shown to those who answer. Not stored, and
    /// dropped when it comes too often. `listener` is the asker's own, which need not hear of it.
    ///
    /// # Errors
    /// [`ChatError::NotFound`], [`ChatError::Forbidden`], or what the store says.
    pub async fn typing(
        &self,
        asker: &Asker,
        room: &str,
        is_typing: bool,
        draft: Option<&str>,
        listener: Option<u64>,
    ) -> Result<(), ChatError> {
        let (_, room, _) = self.seat_for(asker, room, Act::Send { claims_support: false }).await?;
        let (key, now_ms) = (limit_key(asker, &room), self.now_ms());
        let taken = match draft {
            Some(_) => self.meter().draft(&key, now_ms),
            None if is_typing => self.meter().typing(&key, now_ms),
            None => self.meter().rest(&key, now_ms),
        };
        if taken.is_err() {
            return Ok(());
        }
        let (side, sender) = (asker.side(), asker.sender(&room));
        let who = Who { side, id: shown_id(&sender), name: String::new() };
        let draft = draft.filter(|_| side == Side::Visitor).map(|words| words.chars().take(MAX_PREVIEW).collect());
        let mut news = News::of(&room, What::Typing { who, is_typing, draft });
        news.except = listener;
        self.hub().tell(news);
        Ok(())
    }

    /// The writes of an event of `key` (a room, a visitor).
    pub(super) async fn event_writes(
        &self,
        org: &Id,
        key: &str,
        kind: &'static str,
        data: Value,
    ) -> Result<Vec<Write>, DbError> {
        let targets = self.kernel().outbox.targets(org).await?;
        Ok(Outbox::event_writes(&self.event(org, key, kind, data), targets.iter()))
    }

    pub(super) fn message_event(
        &self,
        room: &Room,
        message: &Message,
        kind: &'static str,
        targets: &[Target],
    ) -> Vec<Write> {
        self.unread().add(&room.org);
        // Written once: a tree of it would cost more than all the rest.
        let data = serde_json::to_string(&MessageView::from(message)).unwrap_or_default();
        let event = self.event(&room.org, &room.id, kind, Value::Null);
        let mut writes = vec![event_write_of(&event, format!(r#"{{"data":{data}}}"#))];
        writes.extend(Outbox::delivery_writes(&event, targets));
        writes
    }

    /// An event of `key`.
    pub(super) fn event(&self, org: &Id, key: &str, kind: &'static str, data: Value) -> Event {
        let now_ms = self.now_ms();
        Event {
            id: self.kernel().ids.new("evt", now_ms),
            kind: kind.to_owned(),
            time_ms: now_ms,
            org: org.to_string(),
            key: key.to_owned(),
            seq: NEXT_SEQ,
            body: json!({ "data": data }),
        }
    }
}

/// A person's or an application's id; a visitor's is shown to nobody.
pub(super) fn shown_id(sender: &Sender) -> Option<Id> {
    match sender {
        Sender::Person(id) | Sender::App(id) => Some(id.clone()),
        Sender::Visitor(_) | Sender::System => None,
    }
}
