//! The rooms that are written in at this moment: each one's newest number is kept in memory, so that a message costs one
//! commit and no reading.
//!
//! Invariant: numbers are given and groups are queued under one short lock of the room, so commits come in the order of
//! numbers; memory is only a guess, which the commit checks (`store::message_writes`), so a wrong one costs another try
//! and never a hole or a double; nobody is refused by it alone ([`Live::is_stale`]). What is durable is told to the hub by one task, in that order, whether or not whoever
//! sent it still waits.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kernel::db::Pending;
use kernel::{Db, DbError, Kernel, Write};
use tokio::sync::{mpsc, oneshot};

use super::hub::{Hub, News, What};
use super::model::{Ack, Id, Message, Room, Sender};
use super::store;

/// Messages on their way to the disk, of all rooms.
const UNDER_WAY: usize = 4_096;
/// Acknowledgements remembered of one room, for retries.
const MAX_RECENT: usize = 32;
/// Rooms kept in memory; beyond it those that nobody writes in are forgotten.
const MAX_SEATS: usize = 10_000;

/// The rooms that are written in.
pub(super) struct Live {
    kernel: Kernel,
    seats: Mutex<HashMap<Id, Arc<Seat>>>,
    deliveries: mpsc::Sender<Delivery>,
}

/// One room's place in memory.
pub(super) struct Seat(Mutex<State>);

#[derive(Default)]
struct State {
    /// The room and its newest number; none = to be read from the store.
    known: Option<Known>,
    /// Counts readings, so that what failed by an old one does not spoil a new one.
    reading: u64,
    /// Messages on their way, and who else waits for them: senders that tried again in the same moment.
    under_way: HashMap<(Sender, Id), Vec<oneshot::Sender<Outcome>>>,
    /// What senders were told, oldest first.
    recent: VecDeque<(Sender, Id, Ack)>,
}

struct Known {
    room: Arc<Room>,
    /// The newest number that was given.
    head: i64,
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is durable.
    Done(Ack),
    /// The guess was wrong, or somebody else was faster: look again.
    Again,
    /// The store failed.
    Failed(String),
}

/// A message on its way from the queue of writes to the hub.
struct Delivery {
    seat: Arc<Seat>,
    reading: u64,
    room: Arc<Room>,
    message: Arc<Message>,
    pending: Pending,
    reply: oneshot::Sender<Outcome>,
}

/// What is known of a message before it is queued.
pub(super) enum Glance {
    /// It was sent before.
    Done(Ack),
    /// It is being sent.
    UnderWay(oneshot::Receiver<Outcome>),
    /// It is new.
    New,
}

impl Seat {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The room as it is believed to be.
    pub(super) fn room(&self) -> Option<Arc<Room>> {
        self.state().known.as_ref().map(|known| Arc::clone(&known.room))
    }

    /// What is known of a sender's message.
    pub(super) fn glance(&self, sender: &Sender, cid: Option<&Id>) -> Glance {
        cid.map_or(Glance::New, |cid| self.state().glance(sender, cid))
    }

    /// The room changed, or the guess was wrong: it is read again.
    pub(super) fn forget(&self) {
        let mut state = self.state();
        state.known = None;
        state.reading += 1;
    }
}

impl State {
    fn glance(&mut self, sender: &Sender, cid: &Id) -> Glance {
        let is_it = |(by, name, _): &&(Sender, Id, Ack)| name == cid && by == sender;
        if let Some((_, _, ack)) = self.recent.iter().rev().find(is_it) {
            return Glance::Done(ack.clone());
        }
        if self.under_way.is_empty() {
            return Glance::New;
        }
        match self.under_way.get_mut(&(sender.clone(), cid.clone())) {
            Some(waiters) => {
                let (tell, told) = oneshot::channel();
                waiters.push(tell);
                Glance::UnderWay(told)
            }
            None => Glance::New,
        }
    }

    fn remember(&mut self, sender: Sender, cid: Id, ack: Ack) {
        if self.recent.len() >= MAX_RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back((sender, cid, ack));
    }
}

impl Live {
    pub(super) fn start(kernel: &Kernel, hub: &Hub) -> Self {
        let (deliveries, queue) = mpsc::channel(UNDER_WAY);
        kernel.tasks.spawn(deliver(queue, hub.clone(), kernel.clone()));
        Self { kernel: kernel.clone(), seats: Mutex::default(), deliveries }
    }

    fn seats(&self) -> MutexGuard<'_, HashMap<Id, Arc<Seat>>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The place of a room, and the room as it is believed to be; none when the organisation has no such room.
    pub(super) async fn seat(&self, org: &Id, id: &str) -> Result<Option<(Arc<Seat>, Arc<Room>)>, DbError> {
        let there = self.seats().get(id).cloned();
        if let Some(seat) = there
            && let Some(room) = seat.room()
        {
            return Ok((room.org == *org).then_some((seat, room)));
        }
        self.read(org, id).await
    }

    async fn read(&self, org: &Id, id: &str) -> Result<Option<(Arc<Seat>, Arc<Room>)>, DbError> {
        let reading = self.seats().get(id).map(|seat| seat.state().reading);
        let Some(mut room) = store::room(&self.kernel.db, org, id).await? else { return Ok(None) };
        // Thousands of rooms are kept; their last words are told by the store.
        room.last_body = None;
        let recent = if reading.is_none() { store::recent_acks(&self.kernel.db, org, id).await? } else { Vec::new() };
        let room = Arc::new(room);
        let seat = {
            let mut seats = self.seats();
            if seats.len() >= MAX_SEATS && !seats.contains_key(id) {
                seats.retain(|_, seat| Arc::strong_count(seat) > 1);
            }
            let empty = || Arc::new(Seat(Mutex::default()));
            Arc::clone(seats.entry(room.id.clone()).or_insert_with(empty))
        };
        let mut state = seat.state();
        // Whoever read it meanwhile has given numbers by it; whoever forgot it knows of something newer.
        if state.known.is_none() && reading.unwrap_or_default() == state.reading {
            state.known = Some(Known { room: Arc::clone(&room), head: room.seq_head });
            if reading.is_none() && state.recent.is_empty() {
                state.recent = recent.into();
            }
        }
        drop(state);
        Ok(Some((seat, room)))
    }

    /// Whether a room has changed since it was read; it is forgotten then. Ask before anybody is refused by memory:
    /// another node may have opened or given away the room.
    pub(super) async fn is_stale(&self, seat: &Seat, room: &Room) -> Result<bool, DbError> {
        let now = store::room(&self.kernel.db, &room.org, &room.id).await?;
        let is_stale = now.is_none_or(|now| now.revision != room.revision);
        if is_stale {
            seat.forget();
        }
        Ok(is_stale)
    }

    /// Forgets what is believed of a room that was changed.
    pub(super) fn forget(&self, id: &str) {
        let seat = self.seats().get(id).cloned();
        if let Some(seat) = seat {
            seat.forget();
        }
    }

    /// Gives a message its number, queues it, and waits until it is durable. `message` has any number; `following` are
    /// the writes that go with it, by the numbered message. `room` is what the asker was judged by: if it is not that
    /// any more, it is looked at again.
    pub(super) async fn send(
        &self,
        seat: &Arc<Seat>,
        room: &Arc<Room>,
        message: Message,
        following: impl FnOnce(&Message) -> Vec<Write>,
    ) -> Result<Outcome, DbError> {
        // Both places first: under the lock nothing waits.
        let slot = self.deliveries.reserve().await.map_err(|_| DbError::Closed)?;
        let place = self.kernel.db.writer().place().await?;
        let told = {
            // What is not used is given back before anything is waited for.
            let (slot, place) = (slot, place);
            let mut state = seat.state();
            let glance = message.cid.as_ref().map_or(Glance::New, |cid| state.glance(&message.sender, cid));
            match glance {
                Glance::Done(ack) => return Ok(Outcome::Done(ack)),
                Glance::UnderWay(told) => told,
                Glance::New => {
                    let reading = state.reading;
                    let Some(known) = state.known.as_mut().filter(|known| known.room.revision == room.revision) else {
                        return Ok(Outcome::Again);
                    };
                    known.head += 1;
                    let message = Arc::new(Message { seq: known.head, ..message });
                    if let Some(cid) = &message.cid {
                        state.under_way.insert((message.sender.clone(), cid.clone()), Vec::new());
                    }
                    let mut writes = Vec::with_capacity(4);
                    writes.extend(store::message_writes(room, &message));
                    writes.extend(following(&message));
                    let pending = place.commit(writes);
                    let (reply, told) = oneshot::channel();
                    let (seat, room) = (Arc::clone(seat), Arc::clone(room));
                    slot.send(Delivery { seat, reading, room, message, pending, reply });
                    told
                }
            }
        };
        told.await.map_err(|_| DbError::Closed)
    }
}

/// Takes messages in the order in which they were queued, and tells of each that is durable.
async fn deliver(mut queue: mpsc::Receiver<Delivery>, hub: Hub, kernel: Kernel) {
    loop {
        let delivery = tokio::select! {
            biased;
            delivery = queue.recv() => delivery,
            () = kernel.stop.cancelled() => {
                // What is queued still becomes durable, and whoever waits is told.
                queue.close();
                queue.recv().await
            }
        };
        let Some(delivery) = delivery else { return };
        finish(delivery, &hub, &kernel.db).await;
    }
}

async fn finish(delivery: Delivery, hub: &Hub, db: &Db) {
    let Delivery { seat, reading, room, message, pending, reply } = delivery;
    let done = || Outcome::Done(Ack { seq: message.seq, id: message.id.clone(), at_ms: message.created_ms });
    let outcome = match pending.outcome().await {
        Ok(_) => done(),
        Err(DbError::Conflict | DbError::Duplicate(_)) => match is_there(db, &room.org, &message).await {
            Ok(true) => done(),
            Ok(false) => Outcome::Again,
            Err(error) => Outcome::Failed(error.to_string()),
        },
        Err(error) => Outcome::Failed(error.to_string()),
    };
    let waiters = {
        let mut state = seat.state();
        let mut waiters = Vec::new();
        if let Some(cid) = &message.cid {
            waiters = state.under_way.remove(&(message.sender.clone(), cid.clone())).unwrap_or_default();
            if let Outcome::Done(ack) = &outcome {
                state.remember(message.sender.clone(), cid.clone(), ack.clone());
            }
        }
        // Every number after one that failed is wrong too.
        if !matches!(outcome, Outcome::Done(_)) && state.reading == reading {
            state.known = None;
            state.reading += 1;
        }
        waiters
    };
    if matches!(outcome, Outcome::Done(_)) {
        hub.tell(News::of(&room, What::Message(message)));
    }
    for waiter in waiters {
        // Whoever asked may have gone.
        let _gone = waiter.send(outcome.clone());
    }
    let _gone = reply.send(outcome);
}

/// Whether a message that was refused is durable all the same: the answer to a commit may be lost on the way, and the
/// commit that is tried again finds its own rows.
async fn is_there(db: &Db, org: &Id, message: &Message) -> Result<bool, DbError> {
    let found = store::message(db, org, &message.room, message.seq).await?;
    Ok(found.is_some_and(|found| found.id == message.id))
}
