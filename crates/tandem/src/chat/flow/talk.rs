//! One room as a flow talks in it: the chat's side of [`calls::conversation`].
//!
//! Invariant: orders are carried out one after the other, each durable before the next; only what the visitor wrote after
//! the last thing that was said is heard; a person, or an application, that writes or takes the room ends it quietly.

use std::collections::VecDeque;

use calls::driver::Queueing;
use calls::{Conversation, Heard, LastRows, Written};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use kernel::{DbError, Event, Outbox, Write};
use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::sleep;
use voice::cause::Cause;
use voice::leg::PlayId;

use super::{End, Leaving, TRIES, TRY_AFTER};
use crate::chat::desk::MAX_PAGE;
use crate::chat::hub::{Heard as OfHub, News, Subscription, What};
use crate::chat::model::{Draft, Kind, MAX_AUTHOR, Message, Room, Sender};
use crate::chat::{ChatError, Chats, store};

/// The word for a run that somebody took the room from.
const TAKEN_OVER: &str = "taken_over";
/// The word for a run whose room was closed.
const CLOSED: &str = "closed";
/// The word for a run that gave the room to a team.
const HANDED_OVER: &str = "handed_over";

/// See the module.
pub(super) struct Talk {
    chats: Chats,
    /// As it was at the beginning.
    room: Room,
    heard: Subscription,
    /// The newest message that was looked at.
    heard_seq: i64,
    /// The newest message that the flow said.
    said_seq: i64,
    last_play: PlayId,
    /// The flow's name: whoever speaks.
    author: String,
    run: Option<String>,
    last_rows: Option<LastRows>,
    orders: VecDeque<Order>,
    /// What is being done; kept, so that giving up the wait loses nothing.
    doing: Option<BoxFuture<'static, Done>>,
    is_over: bool,
    _place: OwnedSemaphorePermit,
}

/// What the flow wants done.
enum Order {
    Say(PlayId, String),
    Keep(Vec<Row>),
    End(Leaving, String),
}

/// What is kept of the run.
enum Row {
    Write(Write),
    Event(Event),
}

/// What came of it.
enum Done {
    Said(PlayId, i64),
    Kept,
    /// The room is closed or gone, or the store does not answer.
    Failed(&'static str),
    /// What was missed when too much happened at once: the room as it is, and its messages.
    Read(Option<Box<Room>>, Vec<Message>),
    Over,
}

impl Talk {
    pub(super) fn new(chats: Chats, room: Room, heard: Subscription, place: OwnedSemaphorePermit) -> Self {
        Self {
            heard_seq: room.seq_head,
            said_seq: room.seq_head,
            chats,
            room,
            heard,
            last_play: 0,
            author: String::new(),
            run: None,
            last_rows: None,
            orders: VecDeque::new(),
            doing: None,
            is_over: false,
            _place: place,
        }
    }

    fn keep_row(&mut self, row: Row) {
        match self.orders.back_mut() {
            Some(Order::Keep(rows)) => rows.push(row),
            _ => self.orders.push_back(Order::Keep(vec![row])),
        }
    }

    /// Somebody else has the room: what was still to be said is not said any more.
    fn leave(&mut self, cause: &str) {
        self.orders.retain(|order| matches!(order, Order::Keep(_)));
        self.orders.push_back(Order::End(Leaving::Quietly, cause.to_owned()));
    }

    /// What news mean to the flow.
    fn take(&mut self, news: &News) -> Option<Heard> {
        match &news.what {
            What::Message(message) => self.hear(message),
            What::Room { room, .. } => {
                self.look(room);
                None
            }
            _ => None,
        }
    }

    fn look(&mut self, room: &Room) {
        if !room.is_open() {
            self.leave(CLOSED);
        } else if room.assignee.is_some() || room.team != self.room.team {
            self.leave(TAKEN_OVER);
        }
    }

    fn hear(&mut self, message: &Message) -> Option<Heard> {
        if message.seq <= self.heard_seq {
            return None;
        }
        self.heard_seq = message.seq;
        match &message.sender {
            Sender::System => None,
            Sender::Person(_) | Sender::App(_) => {
                self.leave(TAKEN_OVER);
                None
            }
            // Before the question it is no answer to it.
            Sender::Visitor(_) if message.seq <= self.said_seq => None,
            Sender::Visitor(_) => Some(Heard::Words(words_of(message))),
        }
    }

    /// What is done next. The end comes last: what is kept of the step that led there belongs to the run.
    fn next_order(&mut self) -> Option<Order> {
        let order = self.orders.pop_front()?;
        if !matches!(order, Order::End(..)) {
            return Some(order);
        }
        self.orders.retain(|later| matches!(later, Order::Keep(_)));
        let Some(kept) = self.orders.pop_front() else { return Some(order) };
        self.orders.push_back(order);
        Some(kept)
    }

    fn carry_out(&mut self, order: Order) -> BoxFuture<'static, Done> {
        let (chats, room) = (self.chats.clone(), self.room.clone());
        match order {
            Order::Say(play, words) => {
                say(chats, room, play, Draft { author: self.author.clone(), ..Draft::text(&words) }).boxed()
            }
            Order::Keep(rows) => keep(chats, room, self.run.clone(), rows).boxed(),
            Order::End(leaving, cause) => {
                self.orders.clear();
                let now_ms = chats.now_ms();
                let rows = self.last_rows.take().map_or_else(Vec::new, |rows| rows(&cause, now_ms));
                let heard_seq = self.heard_seq.max(self.said_seq);
                let end = End { leaving, cause, run: self.run.clone(), rows, heard_seq };
                async move {
                    chats.end_flow(&room.org, &room.id, end).await;
                    Done::Over
                }
                .boxed()
            }
        }
    }

    /// What came of what was done; some = the flow must know.
    fn settle(&mut self, done: Done) -> Option<Heard> {
        match done {
            Done::Said(play, seq) => {
                self.said_seq = self.said_seq.max(seq);
                return Some(Heard::Said(play));
            }
            Done::Kept => {}
            Done::Failed(CLOSED) => self.leave(CLOSED),
            Done::Failed(cause) => {
                self.orders.clear();
                self.orders.push_back(Order::End(Leaving::HandOver(None), cause.to_owned()));
            }
            Done::Read(room, messages) => {
                match room {
                    Some(room) => self.look(&room),
                    None => self.leave(CLOSED),
                }
                let mut answer = None;
                for message in &messages {
                    // Of several the newest counts: whoever writes so much at once has moved on.
                    answer = self.hear(message).or(answer);
                }
                return answer;
            }
            Done::Over => {
                self.is_over = true;
                return Some(Heard::Over);
            }
        }
        None
    }

    /// Too much happened at once: what was missed is read.
    fn catch_up(&mut self) {
        let (chats, org, id, after) = (self.chats.clone(), self.room.org.clone(), self.room.id.clone(), self.heard_seq);
        self.heard = chats.hub().attend(&org, &id);
        let reading = async move {
            let db = &chats.kernel().db;
            let room = store::room(db, &org, &id).await?;
            let messages = store::messages(db, &org, &id, after, MAX_PAGE).await?;
            Ok::<_, DbError>(Done::Read(room.map(Box::new), messages))
        };
        self.doing = Some(reading.map(|read| read.unwrap_or(Done::Failed("store"))).boxed());
    }

    async fn wait(&mut self) -> Heard {
        loop {
            if self.is_over {
                return Heard::Over;
            }
            if let Some(doing) = &mut self.doing {
                let done = doing.await;
                self.doing = None;
                if let Some(heard) = self.settle(done) {
                    return heard;
                }
            } else if let Some(order) = self.next_order() {
                self.doing = Some(self.carry_out(order));
            } else {
                match self.heard.next().await {
                    OfHub::News(news) => {
                        if let Some(heard) = self.take(&news) {
                            return heard;
                        }
                    }
                    OfHub::Lagging => self.catch_up(),
                }
            }
        }
    }
}

/// What a visitor's message says to a flow: its words; a picture or a file by the word for it.
fn words_of(message: &Message) -> String {
    match (message.kind, &message.body) {
        (Kind::Text, Some(body)) => body.words().into_owned(),
        (Kind::Text, None) => String::new(),
        (kind, _) => kind.as_str().to_owned(),
    }
}

async fn say(chats: Chats, room: Room, play: PlayId, draft: Draft) -> Done {
    for _ in 0..TRIES {
        match chats.announce(&room.org, &room.id, &draft).await {
            Ok(ack) => return Done::Said(play, ack.seq),
            Err(ChatError::NotFound | ChatError::Refused(_)) => return Done::Failed(CLOSED),
            Err(error) => tracing::error!(room = %room.id, %error, "a flow could not say something in a chat"),
        }
        sleep(TRY_AFTER).await;
    }
    Done::Failed("store")
}

async fn keep(chats: Chats, room: Room, run: Option<String>, rows: Vec<Row>) -> Done {
    for _ in 0..TRIES {
        match try_keep(&chats, &room, run.as_deref(), &rows).await {
            Ok(()) => return Done::Kept,
            // The room was erased: nothing more is told of it.
            Err(DbError::Conflict) => return Done::Failed(CLOSED),
            Err(error) => tracing::error!(room = %room.id, %error, "the story of a chat's flow could not be kept"),
        }
        sleep(TRY_AFTER).await;
    }
    Done::Failed("store")
}

async fn try_keep(chats: &Chats, room: &Room, run: Option<&str>, rows: &[Row]) -> Result<(), DbError> {
    let targets = chats.kernel().outbox.targets(&room.org).await?;
    let mut writes = vec![store::still_talks_write(&room.org, &room.id, run)];
    writes.extend(rows.iter().flat_map(|row| match row {
        Row::Write(write) => vec![write.clone()],
        Row::Event(event) => Outbox::event_writes(event, targets.iter()),
    }));
    chats.kernel().db.writer().commit(writes).await.map(drop)
}

impl Conversation for Talk {
    type Words = String;

    /// Said once: what is written stays.
    fn say(&mut self, words: String, _times: u32) -> PlayId {
        self.last_play += 1;
        self.orders.push_back(Order::Say(self.last_play, words));
        self.last_play
    }

    /// The visitor sees its own answer in the room: there is nothing to hide, and nothing to switch on.
    fn ask(&mut self, _step: (&str, &str), _is_secret: bool) {}

    fn hand_over(&mut self, to: Queueing) {
        self.orders.push_back(Order::End(Leaving::HandOver(Some(to.team)), HANDED_OVER.to_owned()));
    }

    /// A flow that comes to its end closes the chat; one that cannot go on leaves it to people.
    fn end(&mut self, cause: Cause) {
        let leaving = if cause == Cause::Normal { Leaving::Close } else { Leaving::HandOver(None) };
        self.orders.push_back(Order::End(leaving, cause.as_str().to_owned()));
    }

    fn tell(&mut self, kind: &'static str, step: (&str, &str), data: Value) {
        let event = self.chats.flow_event(&self.room, kind, self.run.as_deref(), Some(step), data);
        self.keep_row(Row::Event(event));
    }

    fn keep(&mut self, writes: Vec<Write>) {
        for write in writes {
            self.keep_row(Row::Write(write));
        }
    }
}

impl Written for Talk {
    fn driven_by(&mut self, run: &str, author: &str, last_rows: LastRows) {
        self.run = Some(run.to_owned());
        self.author = author.chars().take(MAX_AUTHOR).collect();
        self.last_rows = Some(last_rows);
    }

    fn next(&mut self) -> BoxFuture<'_, Heard> {
        self.wait().boxed()
    }
}
