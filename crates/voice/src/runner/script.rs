//! Legs without a network, for tests of the floors above: a test plays the party and the wire, and reads what the leg was asked to do.
//!
//! Invariant: a scripted leg does nothing by itself; what it is asked is kept in order until it is read.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use kernel::Ids;

use super::MediaError;
use super::handle::{Handle, LegKey, MediaLeg};
use super::mailbox::{Command, Mailbox, Order, RoomOrder};
use super::poll::Waker;
use super::port_pool::PortPool;
use super::room::{Part, RoomKey};
use super::room_handle::Room;
use crate::leg::{
    Leg, LegEvent, LegEvents, LegId, LegSink, PlayId, PlayMode, Playable, RecordCommand, Signal, Signals,
};

/// Ports that nobody binds.
const NO_PORTS: (u16, u16) = (10_000, 10_001);

/// What a leg was asked to do.
#[derive(Clone, Debug)]
pub enum Asked {
    /// By its signalling.
    Signal(Signal),
    /// Play.
    Play(PlayId, Playable, PlayMode),
    /// Stop playing.
    StopPlay,
    /// Send digits.
    SendDtmf(String, PlayId),
    /// Be bridged with that leg.
    Bridge(LegId),
    /// Be parted.
    Unbridge,
    /// Come into that room, or play another part there.
    JoinRoom(RoomKey, Part),
    /// Leave the room.
    LeaveRoom,
    /// About the recording of that room.
    RecordRoom(RoomKey, RecordCommand),
    /// About its recording.
    Record(RecordCommand),
    /// Watch for silence.
    ListenSilence(Option<u32>),
    /// Look for keys in the audio.
    InbandDtmf(bool),
}

/// Makes scripted legs. Cheap to clone.
#[derive(Clone)]
pub struct Script(Arc<Stage>);

struct Stage {
    mailbox: Arc<Mailbox>,
    pool: Arc<PortPool>,
    next_key: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    names: HashMap<LegKey, LegId>,
    asked: HashMap<LegKey, VecDeque<Asked>>,
}

/// The far side of a scripted leg.
pub struct ScriptedLeg {
    key: LegKey,
    script: Script,
    signals: Signals,
    events: LegEvents,
}

impl Script {
    /// A stage for legs.
    ///
    /// # Errors
    /// When the operating system gives no event descriptor.
    pub fn new() -> Result<Self, MediaError> {
        let waker = Waker::new().map_err(|error| MediaError::Io(Arc::new(error)))?;
        Ok(Self(Arc::new(Stage {
            mailbox: Mailbox::new(waker, Vec::new()),
            pool: PortPool::new(NO_PORTS, Ids::seeded(0))?,
            next_key: AtomicU64::new(0),
            state: Mutex::default(),
        })))
    }

    /// A leg and its far side; an incoming one has no sink yet.
    #[must_use]
    pub fn leg(&self, id: LegId, sink: Option<LegSink>) -> (Leg, ScriptedLeg) {
        let key = self.0.next_key.fetch_add(1, Ordering::Relaxed);
        self.state().names.insert(key, id.clone());
        let events = LegEvents::new(id, sink);
        let media = MediaLeg(Arc::new(Handle::new(key, self.0.mailbox.clone(), self.0.pool.clone(), false)));
        let (leg, signals) = Leg::new(media, events.clone());
        (leg, ScriptedLeg { key, script: self.clone(), signals, events })
    }

    /// A room; nobody hears anything in it.
    #[must_use]
    pub fn room(&self) -> Room {
        let key = self.0.next_key.fetch_add(1, Ordering::Relaxed);
        Room::open(key, self.0.mailbox.clone())
    }

    /// Sorts what the media threads would have been told.
    fn sort(&self) {
        let mut commands = VecDeque::new();
        self.0.mailbox.drain(&mut commands);
        let mut state = self.state();
        for command in commands {
            let (key, asked) = match command {
                Command::Leg(key, order) => (Some(key), state.asked(order)),
                Command::Room(room, RoomOrder::Record(command, events)) => {
                    (state.key(events.id()), Some(Asked::RecordRoom(room, command)))
                }
                Command::Room(..) | Command::Arrive(_) | Command::Stop => (None, None),
            };
            if let (Some(key), Some(asked)) = (key, asked) {
                state.asked.entry(key).or_default().push_back(asked);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn key(&self, leg: &LegId) -> Option<LegKey> {
        self.names.iter().find(|(_, name)| *name == leg).map(|(key, _)| *key)
    }

    fn asked(&self, order: Order) -> Option<Asked> {
        Some(match order {
            Order::Play(play, what, mode) => Asked::Play(play, what, mode),
            Order::StopPlay => Asked::StopPlay,
            Order::SendDtmf(digits, play) => Asked::SendDtmf(digits.into(), play),
            Order::Bridge { other, .. } => Asked::Bridge(self.names.get(&other.key)?.clone()),
            Order::Unbridge => Asked::Unbridge,
            Order::EnterRoom { room, part, .. } => Asked::JoinRoom(room.key, part),
            Order::LeaveRoom => Asked::LeaveRoom,
            Order::Record(command) => Asked::Record(command),
            Order::ListenSilence(after_ms) => Asked::ListenSilence(after_ms),
            Order::InbandDtmf(on) => Asked::InbandDtmf(on),
            Order::Add(..)
            | Order::Tap(_)
            | Order::Open(_)
            | Order::Remote(_)
            | Order::Established
            | Order::Digit(..)
            | Order::BridgeStill { .. }
            | Order::Depart { .. }
            | Order::Follow { .. }
            | Order::Close => return None,
        })
    }
}

impl ScriptedLeg {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> &LegId {
        self.events.id()
    }

    /// Its name for [`Part::Whisperer`].
    #[must_use]
    pub fn media_key(&self) -> LegKey {
        self.key
    }

    /// Tells the call what happened; false when its sink is full.
    pub fn tell(&self, event: LegEvent) -> bool {
        self.events.offer(event).is_ok()
    }

    /// What it was asked since the last time: by signalling first, then about its media.
    pub fn asked(&mut self) -> Vec<Asked> {
        let mut all = Vec::new();
        while let Some(Some(signal)) = self.signals.recv().now_or_never() {
            all.push(Asked::Signal(signal));
        }
        self.script.sort();
        all.extend(self.script.state().asked.remove(&self.key).unwrap_or_default());
        all
    }

    /// The next thing its signalling is asked; `None` once every handle of it is gone.
    pub async fn next_signal(&mut self) -> Option<Signal> {
        self.signals.recv().await
    }
}
