//! Messages are sent: by those in a room, by the server itself, and what the server said is said anew.
//!
//! Invariant: nobody writes where [`super::access::may`] does not let him; nothing is acknowledged or told to anybody before
//! it is durable; a retry is the same message, and what it brings along is kept once.

use std::sync::Arc;

use kernel::{DbError, Write};

use super::access::{Act, Asker, limit_key, may};
use super::desk::MAX_TRIES;
use super::live::{Glance, Outcome, Seat};
use super::model::{Ack, Body, Draft, Id, Message, Refused, Room, Sender, Side};
use super::visit::{Attachment, Carried};
use super::{ChatError, ChatSettings, Chats, store};

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

impl Chats {
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
                let told = self.told_of_message(&room, &sender).await?;
                let message = self.new_message(&room, sender.clone(), &draft);
                let following = |message: &Message| {
                    let mut writes = self.message_event(&room, message, "message.created", &targets);
                    writes.extend(told);
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
    pub(super) async fn seat_for(
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
    pub(super) fn count_words(&self, asker: &Asker, room: &Room, settings: &ChatSettings) -> Result<(), ChatError> {
        if asker.side() == Side::Visitor {
            self.meter().message(&limit_key(asker, room), &settings.limits, self.now_ms())?;
        }
        Ok(())
    }

    pub(super) fn new_message(&self, room: &Room, sender: Sender, draft: &Draft) -> Message {
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
}
