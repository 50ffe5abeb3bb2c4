//! A media thread's letter box: commands from signalling and legs that move in from other threads.
//!
//! Invariant: what is pushed is handled in the order of pushing, and a sleeping thread is woken once for everything pushed until it looks.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::handle::{Handle, LegKey};
use super::identity::Identity;
use super::poll::Waker;
use super::remote::Remote;
use super::room::{Part, RoomKey};
use super::room_handle::RoomHandle;
use super::socket::LegSockets;
use super::tap::TapOrder;
use super::thread::Arrival;
use crate::leg::{LegEvents, PlayId, PlayMode, Playable, RecordCommand};

/// Commands that may wait; beyond it a thread is lost anyway, and all but the end of a leg is refused.
const MAX_COMMANDS: usize = 16_384;

/// What a media thread is told.
#[derive(Debug)]
pub(super) enum Command {
    /// Something about one leg.
    Leg(LegKey, Order),
    /// Something about a room.
    Room(RoomKey, RoomOrder),
    /// A leg moves in.
    Arrive(Box<Arrival>),
    /// The server stops.
    Stop,
}

/// What a leg is told.
#[derive(Debug)]
pub(super) enum Order {
    /// Exist.
    Add(LegEvents, Identity),
    /// Receive on these sockets.
    Open(Box<LegSockets>),
    /// Talk with this remote.
    Remote(Box<Remote>),
    /// It is answered: watch that media keeps coming.
    Established,
    Play(PlayId, Playable, PlayMode),
    StopPlay,
    SendDtmf(Box<str>, PlayId),
    /// A key that came by signalling.
    Digit(char, u32),
    Bridge {
        this: Arc<Handle>,
        other: Arc<Handle>,
    },
    /// The other leg has moved and is still to be bridged with, unless something else was ordered meanwhile.
    BridgeStill {
        this: Arc<Handle>,
        other: Arc<Handle>,
    },
    Unbridge,
    Record(RecordCommand),
    ListenSilence(Option<u32>),
    InbandDtmf(bool),
    /// Come into a room, or play another part there.
    EnterRoom {
        this: Arc<Handle>,
        room: Arc<RoomHandle>,
        part: Part,
    },
    LeaveRoom,
    /// About its tap.
    Tap(TapOrder),
    /// Move to the thread of the other mailbox, for what is to be done there.
    Depart {
        this: Arc<Handle>,
        to: Arc<Mailbox>,
        errand: Errand,
    },
    /// The leg that was called cannot move: go to it, unless something else was ordered meanwhile.
    Follow {
        this: Arc<Handle>,
        to: Arc<Mailbox>,
        whom: Arc<Handle>,
    },
    /// Be gone.
    Close,
}

/// What a leg moves to another thread for.
#[derive(Clone, Debug)]
pub(super) enum Errand {
    /// To be bridged with this leg.
    Bridge(Arc<Handle>),
    /// To come into this room.
    Room(Arc<RoomHandle>, Part),
}

/// What a room is told.
#[derive(Debug)]
pub(super) enum RoomOrder {
    /// Exist.
    Open,
    /// What becomes of the recording is told there.
    Record(RecordCommand, LegEvents),
    /// Be gone, members or not.
    Close,
}

impl RoomOrder {
    /// Whether it is taken even by a full mailbox: the number of rooms bounds these.
    fn is_vital(&self) -> bool {
        matches!(self, Self::Open | Self::Close)
    }
}

impl Order {
    /// How soon the thread must hear of it: a wake-up costs more than most orders do.
    pub(super) fn notice(&self) -> Notice {
        match self {
            // Without a remote there is nobody to talk with: the order that names one follows.
            Self::Add(..) | Self::Open(_) => Notice::WithTheNext,
            // What they begin and end is told in seconds, and a thread that holds legs looks by itself.
            Self::Established | Self::Close => Notice::Soon,
            _ => Notice::Now,
        }
    }

    /// Whether it is taken even by a full mailbox: the number of legs bounds these.
    fn is_vital(&self) -> bool {
        matches!(self, Self::Add(..) | Self::Close)
    }
}

/// When a thread must hear of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// It is woken.
    Now,
    /// Before its next coarse look at its legs (a fifth of a second), or with its next frame.
    Soon,
    /// Together with the next order for the leg.
    WithTheNext,
}

/// The letter box of one thread.
#[derive(Debug)]
pub(super) struct Mailbox {
    queue: Mutex<Queue>,
    waker: Arc<Waker>,
    legs: AtomicUsize,
    shared: Vec<SocketAddr>,
}

#[derive(Debug, Default)]
struct Queue {
    commands: VecDeque<Command>,
    woken: bool,
}

impl Mailbox {
    /// A letter box whose arrivals call `waker`, of a thread where browsers' legs receive at `shared`.
    pub(super) fn new(waker: Arc<Waker>, shared: Vec<SocketAddr>) -> Arc<Self> {
        Arc::new(Self { queue: Mutex::default(), waker, legs: AtomicUsize::new(0), shared })
    }

    /// Where the thread's browsers' legs receive; nowhere when it takes none.
    pub(super) fn shared(&self) -> &[SocketAddr] {
        &self.shared
    }

    /// Queues an order, and wakes the thread for it or not. A mailbox that overflows drops it and counts.
    pub(super) fn order(&self, leg: LegKey, order: Order, wake: bool) {
        let vital = order.is_vital();
        self.queue_command(Command::Leg(leg, order), vital, wake);
    }

    /// Queues an order for a room.
    pub(super) fn room_order(&self, room: RoomKey, order: RoomOrder) {
        let vital = order.is_vital();
        self.queue_command(Command::Room(room, order), vital, true);
    }

    fn queue_command(&self, command: Command, vital: bool, wake: bool) {
        let mut queue = self.queue();
        if queue.commands.len() >= MAX_COMMANDS && !vital {
            drop(queue);
            metrics::counter!("voice_media_commands_dropped_total").increment(1);
            return;
        }
        queue.commands.push_back(command);
        self.wake(queue, wake);
    }

    /// Queues a leg that moves in, with the orders for it that the thread it left had not handled yet.
    pub(super) fn move_in(&self, arrival: Box<Arrival>, pending: impl IntoIterator<Item = (LegKey, Order)>) {
        let mut queue = self.queue();
        queue.commands.push_back(Command::Arrive(arrival));
        queue.commands.extend(pending.into_iter().map(|(leg, order)| Command::Leg(leg, order)));
        self.wake(queue, true);
    }

    /// Tells the thread to stop.
    pub(super) fn stop(&self) {
        let mut queue = self.queue();
        queue.commands.push_back(Command::Stop);
        self.wake(queue, true);
    }

    /// Takes everything that waits, in order, leaving `into` behind as the next queue: its storage is used again.
    pub(super) fn drain(&self, into: &mut VecDeque<Command>) {
        let mut queue = self.queue();
        queue.woken = false;
        if into.is_empty() {
            std::mem::swap(&mut queue.commands, into);
        } else {
            into.append(&mut queue.commands);
        }
    }

    /// Legs that live on the thread or are on their way to it.
    pub(super) fn legs(&self) -> usize {
        self.legs.load(Ordering::Relaxed)
    }

    /// Counts a leg in.
    pub(super) fn leg_came(&self) {
        self.legs.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a leg out.
    pub(super) fn leg_went(&self) {
        self.legs.fetch_sub(1, Ordering::Relaxed);
    }

    fn wake(&self, mut queue: MutexGuard<'_, Queue>, urgent: bool) {
        if urgent && !queue.woken {
            queue.woken = true;
            drop(queue);
            if let Err(error) = self.waker.wake() {
                tracing::error!(%error, "cannot wake a media thread");
            }
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
