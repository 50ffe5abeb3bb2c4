//! What is done in a room: messages are sent, changed and taken back, read, and the room is closed and opened again.
//!
//! Invariant: nobody does anything that [`super::access::may`] does not allow; nothing is acknowledged or told to
//! anybody before it is durable.

use std::sync::Arc;

use kernel::events::{NEXT_SEQ, event_write_of};
use kernel::{DbError, Event, Outbox, Target, Write};
use serde_json::{Value, json};

use super::access::{self, Act, Asker, Wide, limit_key, may};
use super::hub::{News, What, Who};
use super::live::{Glance, Outcome, Seat};
use super::model::{Ack, Body, Draft, Id, Mark, Marks, Message, Note, Refused, Room, Sender, Side, State};
use super::settings::Identity;
use super::store::{RoomFilter, RoomPage};
use super::view::MessageView;
use super::visit::{Attachment, Carried, forget_file_write, named_file};
use super::{ChatError, ChatSettings, Chats, inbox, store};

/// How often something is tried again when somebody else was faster.
pub(super) const MAX_TRIES: usize = 16;
/// Messages in one answer, at most.
pub const MAX_PAGE: i64 = 500;
/// Longest note, characters.
const MAX_NOTE: usize = 8_000;
/// Longest beginning of a message that is shown while it is typed, characters.
const MAX_PREVIEW: usize = 500;

/// A message on its way.
struct Attempt {
    draft: Draft,
    /// What it brings along and was not kept yet.
    carried: Option<Carried>,
    /// Whether the visitor's limit knows of it.
    is_counted: bool,
    /// What was kept for it and is named by no message yet.
    kept: Option<Attachment>,
}

/// How a room is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is over.
    Close,
    /// It is over, as its visitor says.
    End,
    /// It goes on.
    Reopen,
    /// This person answers; none = nobody yet.
    Assign(Option<Id>),
    /// It waits for this team, and nobody answers yet; none = for anybody.
    Team(Option<Id>),
}

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

    /// Sends a message. A retry, known by its `cid`, gets the acknowledgement of the first try.
    ///
    /// # Errors
    /// [`ChatError`]; nothing was sent then, unless the store failed.
    pub async fn send(&self, asker: &Asker, room: &str, draft: Draft) -> Result<Ack, ChatError> {
        self.send_with(asker, room, draft, None).await
    }

    /// The same with a picture that the message brings along: it is kept once everything else was found good, and goes
    /// again when the message could not be sent.
    ///
    /// # Errors
    /// [`ChatError`]; nothing was sent then, unless the store failed.
    pub async fn send_with(
        &self,
        asker: &Asker,
        room: &str,
        draft: Draft,
        carried: Option<Carried>,
    ) -> Result<Ack, ChatError> {
        let mut attempt = Attempt { draft, carried, is_counted: false, kept: None };
        let mut sent = Err(ChatError::Busy);
        for _ in 0..MAX_TRIES {
            match self.try_send(asker, room, &mut attempt).await {
                Ok(None) => {}
                Ok(Some(ack)) => {
                    sent = Ok(ack);
                    break;
                }
                Err(error) => {
                    sent = Err(error);
                    break;
                }
            }
        }
        if let Some(kept) = attempt.kept {
            self.forget_unsent(&kept).await;
        }
        sent
    }

    /// None = somebody else was faster: look again.
    async fn try_send(&self, asker: &Asker, id: &str, attempt: &mut Attempt) -> Result<Option<Ack>, ChatError> {
        let claims_support = attempt.draft.claims_support().unwrap_or_default();
        let (seat, room, settings) = self.seat_for(asker, id, Act::Send { claims_support }).await?;
        let sender = asker.sender(&room);
        let told = match seat.glance(&sender, attempt.draft.cid.as_ref()) {
            Glance::Done(ack) => return Ok(Some(ack)),
            Glance::UnderWay(told) => told.await.map_err(|_| DbError::Closed)?,
            Glance::New => {
                attempt.draft.check(&settings.limits)?;
                if let Err(closed) = room.takes_messages() {
                    if self.live().is_stale(&seat, &room).await? {
                        return Ok(None);
                    }
                    return self.sent_before(&room, &sender, &attempt.draft, closed.into()).await.map(Some);
                }
                if !std::mem::replace(&mut attempt.is_counted, true)
                    && let Err(limit) = self.count_words(asker, &room, &settings)
                {
                    return self.sent_before(&room, &sender, &attempt.draft, limit).await.map(Some);
                }
                self.keep_carried(asker, &room, &settings, attempt).await?;
                let targets = self.kernel().outbox.targets(&room.org).await?;
                let (draft, file) = match self.with_file(&room, &sender, &attempt.draft).await {
                    Ok(found) => found,
                    // The message that names the file already may be this one.
                    Err(refused) => {
                        return self.sent_before(&room, &sender, &attempt.draft, refused).await.map(Some);
                    }
                };
                let message = self.new_message(&room, sender.clone(), &draft);
                let following = |message: &Message| {
                    let mut writes = self.message_event(&room, message, "message.created", &targets);
                    writes.extend(file.as_ref().map(|file| file.named_by_write(&message.id)));
                    writes
                };
                let outcome = self.live().send(&seat, &room, message, following).await?;
                if matches!(outcome, Outcome::Done(_)) {
                    attempt.kept = None;
                }
                outcome
            }
        };
        match told {
            Outcome::Done(ack) => {
                if asker.side() == Side::Visitor {
                    self.visitor_has_spoken(&room.org, &room.id);
                    self.visitor_wrote(&room, ack.seq);
                }
                Ok(Some(ack))
            }
            Outcome::Failed(reason) => Err(ChatError::Failed(reason)),
            // Another node, or a time before this start, may know it.
            Outcome::Again => match &attempt.draft.cid {
                Some(cid) => Ok(store::ack_of(&self.kernel().db, &room.org, id, &sender, cid).await?),
                None => Ok(None),
            },
        }
    }

    /// What the sender was told of a message when it was first sent, longer ago than memory reaches: a retry is not
    /// refused for what has happened since.
    async fn sent_before(
        &self,
        room: &Room,
        sender: &Sender,
        draft: &Draft,
        refused: ChatError,
    ) -> Result<Ack, ChatError> {
        let Some(cid) = &draft.cid else { return Err(refused) };
        store::ack_of(&self.kernel().db, &room.org, &room.id, sender, cid).await?.ok_or(refused)
    }

    /// The place of a room in memory, if the asker may do `act` there.
    async fn seat_for(
        &self,
        asker: &Asker,
        id: &str,
        act: Act<'_>,
    ) -> Result<(Arc<Seat>, Arc<Room>, Arc<ChatSettings>), ChatError> {
        loop {
            let (seat, room) = self.live().seat(asker.org(), id).await?.ok_or(ChatError::NotFound)?;
            let settings = self.settings(&room.org, &room.app).await?;
            match may(asker, settings.identity, &room, act) {
                Ok(()) => return Ok((seat, room, settings)),
                Err(denied) if !self.live().is_stale(&seat, &room).await? => return Err(denied.into()),
                Err(_) => {}
            }
        }
    }

    /// Keeps what a message brings along, once; the message then names it.
    async fn keep_carried(
        &self,
        asker: &Asker,
        room: &Room,
        settings: &ChatSettings,
        attempt: &mut Attempt,
    ) -> Result<(), ChatError> {
        let Some(carried) = attempt.carried.take() else { return Ok(()) };
        if asker.side() == Side::Visitor {
            self.meter().upload(&limit_key(asker, room), &settings.limits, self.now_ms())?;
        }
        let file = self.keep_file(room, asker.sender(room), carried).await?;
        let body = Body::try_from(&file.body());
        attempt.kept = Some(file);
        attempt.draft.body = body.map_err(|_| Refused::NoFile)?;
        Ok(())
    }

    /// Counts what a visitor says, changes or takes back: each is written and told to all.
    fn count_words(&self, asker: &Asker, room: &Room, settings: &ChatSettings) -> Result<(), ChatError> {
        if asker.side() == Side::Visitor {
            self.meter().message(&limit_key(asker, room), &settings.limits, self.now_ms())?;
        }
        Ok(())
    }

    fn new_message(&self, room: &Room, sender: Sender, draft: &Draft) -> Message {
        let now_ms = self.now_ms();
        let side = draft.side.clone().unwrap_or_else(|| Body::from(sender.side() == Side::Support));
        Message {
            room: room.id.clone(),
            seq: 0,
            id: self.kernel().ids.document_id(now_ms).into(),
            cid: draft.cid.clone(),
            sender,
            kind: draft.kind,
            body: Some(draft.body.clone()),
            side,
            author: draft.author.clone(),
            created_ms: now_ms,
            edited_ms: None,
            deleted_ms: None,
        }
    }

    /// Lets the server itself say something in a room, whoever may write there: that it was closed, who joined.
    ///
    /// # Errors
    /// As [`Chats::send`].
    pub async fn announce(&self, org: &Id, id: &str, draft: &Draft) -> Result<Ack, ChatError> {
        for _ in 0..MAX_TRIES {
            if let Some(ack) = self.announce_once(org, id, draft, |_| Vec::new()).await? {
                return Ok(ack);
            }
        }
        Err(ChatError::Busy)
    }

    /// One try of the same; `with` are writes of whoever asks that belong into the same commit, by the message's number.
    /// None = somebody else was faster, or one of the writes was refused: look again.
    pub(super) async fn announce_once(
        &self,
        org: &Id,
        id: &str,
        draft: &Draft,
        with: impl FnOnce(i64) -> Vec<Write>,
    ) -> Result<Option<Ack>, ChatError> {
        let (seat, room) = self.live().seat(org, id).await?.ok_or(ChatError::NotFound)?;
        if let Err(closed) = room.takes_messages() {
            return if self.live().is_stale(&seat, &room).await? { Ok(None) } else { Err(closed.into()) };
        }
        let targets = self.kernel().outbox.targets(&room.org).await?;
        let message = self.new_message(&room, Sender::System, draft);
        let following = |message: &Message| {
            let mut writes = with(message.seq);
            writes.extend(self.message_event(&room, message, "message.created", &targets));
            writes
        };
        match self.live().send(&seat, &room, message, following).await? {
            Outcome::Done(ack) => Ok(Some(ack)),
            Outcome::Failed(reason) => Err(ChatError::Failed(reason)),
            Outcome::Again => Ok(None),
        }
    }

    /// Lets a message of the server itself say something else, in one commit with `writes`; those alone when the message
    /// was deleted meanwhile. It is for whoever asks to tell of it.
    pub(super) async fn rewrite(
        &self,
        room: &Room,
        seq: i64,
        body: Body,
        mut writes: Vec<Write>,
    ) -> Result<Option<Message>, ChatError> {
        let found = store::message(&self.kernel().db, &room.org, &room.id, seq).await?;
        let mut message = found.filter(|message| message.deleted_ms.is_none());
        if let Some(message) = &mut message {
            message.body = Some(body);
            message.edited_ms = Some(self.now_ms());
            let targets = self.kernel().outbox.targets(&room.org).await?;
            writes.push(store::rewrite_write(&room.org, message));
            writes.extend(self.message_event(room, message, "message.edited", &targets));
        }
        self.kernel().db.writer().commit(writes).await?;
        Ok(message)
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

    /// Closes a room, opens it again, or gives it to somebody. Nothing to do = nothing is written. `with` are writes of
    /// whoever asks that belong into the same commit.
    ///
    /// # Errors
    /// [`ChatError`]; nothing has changed then.
    pub async fn change(
        &self,
        asker: &Asker,
        room: &str,
        change: &Change,
        with: impl Fn(&Room) -> Vec<Write>,
    ) -> Result<Room, ChatError> {
        let act = match change {
            Change::Close | Change::Reopen => Act::Close,
            Change::End => Act::End,
            Change::Assign(_) | Change::Team(_) => Act::Assign,
        };
        for _ in 0..MAX_TRIES {
            let (before, _) = self.reach(asker, room, act).await?;
            let by = asker.sender(&before);
            match self.try_change(before, change, &by, &with).await {
                Err(ChatError::Db(DbError::Conflict)) => {}
                done => return done,
            }
        }
        Err(ChatError::Busy)
    }

    /// The same in the name of somebody who may, if the room still is as it was read.
    pub(super) async fn try_change(
        &self,
        before: Room,
        change: &Change,
        by: &Sender,
        with: &impl Fn(&Room) -> Vec<Write>,
    ) -> Result<Room, ChatError> {
        let (room, mut writes) = self.changes(&before, change, by).await?;
        if writes.is_empty() {
            return Ok(room);
        }
        writes.extend(with(&room));
        let done = self.kernel().db.writer().commit(writes).await;
        self.live().forget(&room.id);
        done?;
        self.hub().tell(News::of(&room, What::Room(Arc::new(room.clone()))));
        self.wake_queue(&room.org);
        if !room.is_open() {
            self.end_call(&room).await;
        }
        Ok(room)
    }

    /// The room as a change leaves it, and the writes of that: its row, guarded, and the event. None = nothing changes.
    pub(super) async fn changes(
        &self,
        before: &Room,
        change: &Change,
        by: &Sender,
    ) -> Result<(Room, Vec<Write>), DbError> {
        let (mut room, kind) = before.clone().changed(change, self.now_ms());
        if room == *before {
            return Ok((room, Vec::new()));
        }
        let data = json!({
            "by": by.role(), "person": shown_id(by).as_deref(), "state": room.state.as_str(),
            "reopened": *change == Change::Reopen,
            "assignee": room.assignee.as_deref(), "team": room.team.as_deref(), "from": before.assignee.as_deref(),
        });
        let mut writes = vec![store::change_room_write(&room)];
        writes.extend(self.event_writes(&room.org, &room.id, kind, data).await?);
        writes.extend(inbox::change_writes(before, &room, by, self.now_ms()));
        room.revision += 1;
        Ok((room, writes))
    }

    /// Notes something beside a room, for those who answer.
    ///
    /// # Errors
    /// [`ChatError`].
    pub async fn note(&self, asker: &Asker, room: &str, text: &str) -> Result<Note, ChatError> {
        let (room, _) = self.reach(asker, room, Act::Annotate).await?;
        let (note, writes) = self.draft_note(asker, &room, text)?;
        self.kernel().db.writer().commit(writes).await?;
        self.tell_note(&room, note.clone());
        Ok(note)
    }

    /// A note that goes into the commit of something else, and its writes.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub(super) fn draft_note(&self, asker: &Asker, room: &Room, text: &str) -> Result<(Note, Vec<Write>), ChatError> {
        if text.trim().is_empty() || text.contains('\0') {
            return Err(Refused::Empty.into());
        }
        if text.chars().count() > MAX_NOTE {
            return Err(Refused::TooLong { max: MAX_NOTE }.into());
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
        if is_typing {
            let (key, now_ms) = (limit_key(asker, &room), self.now_ms());
            let taken = match draft {
                Some(_) => self.meter().draft(&key, now_ms),
                None => self.meter().typing(&key, now_ms),
            };
            if taken.is_err() {
                return Ok(());
            }
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

    fn message_event(&self, room: &Room, message: &Message, kind: &'static str, targets: &[Target]) -> Vec<Write> {
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
fn shown_id(sender: &Sender) -> Option<Id> {
    match sender {
        Sender::Person(id) | Sender::App(id) => Some(id.clone()),
        Sender::Visitor(_) | Sender::System => None,
    }
}

impl Room {
    /// The room after a change, and the event that tells of it.
    pub(super) fn changed(mut self, change: &Change, now_ms: i64) -> (Self, &'static str) {
        let kind = match change {
            Change::Close | Change::End if self.is_open() => {
                self.state = State::Closed;
                self.closed_ms = Some(now_ms);
                "room.closed"
            }
            Change::Close | Change::End => "room.closed",
            Change::Reopen => {
                self.state = State::Open;
                self.closed_ms = None;
                "room.opened"
            }
            Change::Assign(person) => {
                let kind = if self.assignee.is_some() { "room.transferred" } else { "room.assigned" };
                self.assignee.clone_from(person);
                kind
            }
            Change::Team(team) => {
                self.team.clone_from(team);
                self.assignee = None;
                "room.transferred"
            }
        };
        (self, kind)
    }
}
