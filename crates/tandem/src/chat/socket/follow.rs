//! What one client is to hear: first what it missed, from the store, then what happens, from the hub.
//!
//! Invariant: of each room that the client named with a cursor it gets every message after the cursor, in the order of
//! `seq`, each once, however many come while it reads. It listens before it reads: what is committed in between is heard
//! and read, and told once.

use std::collections::{BTreeMap, HashMap, VecDeque};

use kernel::DbError;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::wire::{Down, Refusal, Someone};
use crate::chat::hub::{Heard, Left, News, Subscription, What};
use crate::chat::model::{Id, Message, Room, Side};
use crate::chat::view::MessageView;
use crate::chat::{Asker, ChatError, Chats, RoomFilter, RoomOrder};

/// A frame as it goes out: written once, shared by everybody who gets it.
pub(super) type Frame = Utf8Bytes;

/// Rooms of a visitor that a socket hears.
const MAX_ROOMS: i64 = 200;
/// Messages that are read at once.
const PAGE: i64 = 100;
/// Bytes of messages in `ready`; a client that missed more gets the rest one by one.
const MISSED_BYTES: usize = 12 * 1024;
/// Bytes that are taken from the queue at once.
const BATCH_BYTES: usize = 4 * 1024;

/// A client that was recognised.
pub(super) struct Following {
    chats: Chats,
    asker: Asker,
    heard: Subscription,
    /// Rooms in which others do not know yet that their visitor is here.
    arrived: Vec<Id>,
    /// Rooms that were caught up with, and how far: what is heard of an earlier one was told.
    told: HashMap<Id, i64>,
    /// Rooms with more messages than `ready` took, and the last that was told.
    behind: VecDeque<(Room, i64)>,
}

/// What comes next.
pub(super) enum Next {
    /// These frames, in this order.
    Frames(Vec<Frame>),
    /// The client did not keep up.
    Lagging,
}

impl Following {
    /// Begins to listen.
    pub(super) fn start(chats: &Chats, asker: Asker) -> Self {
        let heard = chats.hub().subscribe(&asker);
        if matches!(asker, Asker::Person { .. }) {
            // Whoever takes chats can be given some now.
            chats.wake_queue(asker.org());
        }
        Self { chats: chats.clone(), asker, heard, arrived: Vec::new(), told: HashMap::new(), behind: VecDeque::new() }
    }

    pub(super) fn asker(&self) -> &Asker {
        &self.asker
    }

    /// Who listens here, for [`News::except`].
    pub(super) fn listener(&self) -> u64 {
        self.heard.id()
    }

    /// Rooms whose visitor was not here before, since it was asked last; whether nobody who answers was here before.
    pub(super) fn arrived(&mut self) -> (Vec<Id>, bool) {
        (std::mem::take(&mut self.arrived), self.heard.is_first())
    }

    /// Hears nothing more.
    pub(super) fn leave(&mut self) -> Left {
        self.heard.leave()
    }

    fn join(&mut self, room: &Id) {
        if self.heard.join(room) {
            self.arrived.push(room.clone());
        }
    }

    /// Hears the rooms of a hello from their cursors on: `ready`, and an `error` for each room that the client cannot
    /// hear.
    ///
    /// # Errors
    /// What the store says.
    pub(super) async fn hello(&mut self, cursors: &BTreeMap<String, i64>) -> Result<Vec<Frame>, ChatError> {
        let mut heads = BTreeMap::new();
        let mut missed = Vec::new();
        let mut refused = Vec::new();
        let mut bytes = 0;
        if self.asker.side() == Side::Visitor {
            for room in self.own_rooms().await? {
                self.join(&room.id);
            }
            // Read once more now that they are listened to: what is committed from here on is heard.
            for room in self.own_rooms().await? {
                heads.insert(room.id, room.seq_head);
            }
        }
        for (name, cursor) in cursors {
            let room = match self.chats.room(&self.asker, name).await {
                Ok(room) => room,
                Err(error @ (ChatError::NotFound | ChatError::Forbidden)) => {
                    refused.push(Refusal::from(kernel::Problem::from(error)).about(&name.as_str().into(), None));
                    continue;
                }
                Err(error) => return Err(error),
            };
            if *cursor < room.seq_head {
                self.chats.note_reading(&self.asker, &room).await?;
            }
            self.join(&room.id);
            let last = self.catch_up(&room, *cursor, &mut missed, &mut bytes).await?;
            heads.insert(room.id.clone(), last.max(room.seq_head));
        }
        let mut places = Vec::new();
        for id in heads.keys() {
            let place = self.chats.queue_position(self.asker.org(), id);
            places.extend(place.map(|position| Down::Queue { room: id, position }.write()));
        }
        if self.asker.side() == Side::Visitor {
            heads.keys().for_each(|room| self.chats.visitor_is_here(self.asker.org(), room));
        }
        let ready = Down::Ready { you: self.you(), heads: &heads, missed };
        let mut frames = vec![Frame::from(ready.write())];
        frames.extend(places.into_iter().map(Frame::from));
        frames.extend(refused.into_iter().map(|refusal| Down::Error(refusal).write().into()));
        Ok(frames)
    }

    /// Takes a room's first messages after a cursor into `missed`, as many as there is place for; the last that was
    /// taken, or the head as it is known.
    async fn catch_up(
        &mut self,
        room: &Room,
        cursor: i64,
        missed: &mut Vec<Down<'static>>,
        bytes: &mut usize,
    ) -> Result<i64, DbError> {
        // A cursor from before a restore may be beyond the head.
        let mut after = cursor.clamp(0, room.seq_head);
        loop {
            if *bytes >= MISSED_BYTES {
                self.behind.push_back((room.clone(), after));
                return Ok(after);
            }
            let page = self.chats.messages_of(room, after, PAGE).await?;
            let is_last = page.len() < usize::try_from(PAGE).unwrap_or(0);
            let mut taken = 0;
            for message in &page {
                if *bytes >= MISSED_BYTES {
                    break;
                }
                *bytes += weight(message);
                after = message.seq;
                taken += 1;
                missed.push(Down::Msg(MessageView::from(message)));
            }
            if is_last && taken == page.len() {
                self.told.insert(room.id.clone(), after);
                return Ok(after);
            }
        }
    }

    /// The next messages that `ready` had no place for; none when the client has caught up.
    ///
    /// # Errors
    /// What the store says.
    pub(super) async fn more(&mut self) -> Result<Option<Vec<Frame>>, DbError> {
        let Some((room, after)) = self.behind.pop_front() else { return Ok(None) };
        let page = self.chats.messages_of(&room, after, PAGE).await?;
        let last = page.last().map_or(after, |message| message.seq);
        if page.len() < usize::try_from(PAGE).unwrap_or(0) {
            self.told.insert(room.id.clone(), last);
        } else {
            self.behind.push_front((room, last));
        }
        Ok(Some(page.iter().map(|message| Down::Msg(MessageView::from(message)).write().into()).collect()))
    }

    /// Waits for what happens next. Dropped, it has taken nothing that it does not give the next time.
    pub(super) async fn next(&mut self) -> Next {
        loop {
            let mut heard = self.heard.next().await;
            let (mut frames, mut bytes) = (Vec::new(), 0);
            // From here on nothing waits.
            loop {
                match heard {
                    Heard::Lagging => return Next::Lagging,
                    Heard::News(news) => {
                        if let Some(frame) = self.frame(&news) {
                            bytes += frame.len();
                            frames.push(frame);
                        }
                    }
                }
                if bytes >= BATCH_BYTES {
                    break;
                }
                match self.heard.try_next() {
                    Some(more) => heard = more,
                    None => break,
                }
            }
            if !frames.is_empty() {
                return Next::Frames(frames);
            }
        }
    }

    /// Waits until the client did not keep up: while it is being written to.
    pub(super) async fn lagging(&self) {
        self.heard.lagging().await;
    }

    /// The frame of what happened, unless it was told already.
    fn frame(&mut self, news: &News) -> Option<Frame> {
        if let What::Message(message) = &news.what
            && let Some(told) = self.told.get(&news.room)
        {
            if message.seq <= *told {
                return None;
            }
            // From here on the hub's order is enough.
            self.told.remove(&news.room);
        }
        match &news.what {
            // Seldom enough to be written for each visitor.
            What::Room { room, is_held } if self.asker.side() == Side::Visitor => {
                Some(Down::room(room, *is_held, Side::Visitor).write().into())
            }
            _ => Some(news.text(|news| Down::news(news).write()).clone()),
        }
    }

    async fn own_rooms(&self) -> Result<Vec<Room>, ChatError> {
        let filter = RoomFilter { order: RoomOrder::LatestFirst, ..RoomFilter::default() };
        match self.chats.rooms(&self.asker, &filter, MAX_ROOMS).await {
            Ok(page) => Ok(page.rooms),
            // Whoever has a room's id alone has that room.
            Err(ChatError::Forbidden) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    fn you(&self) -> Someone<'_> {
        let (role, id) = match &self.asker {
            Asker::Person { id, .. } => ("agent", Some(&**id)),
            Asker::App { app, .. } => ("app", Some(&**app)),
            Asker::Visitor { .. } | Asker::Open { .. } | Asker::Room { .. } => ("visitor", None),
        };
        Someone { role, id, name: "" }
    }
}

/// About how many bytes a message takes in a frame.
fn weight(message: &Message) -> usize {
    const AROUND: usize = 256;
    AROUND + message.body.as_ref().map_or(0, |body| body.as_json().len()) + message.author.len()
}
