//! The handles that signalling holds: one for all media threads, one for each leg.
//!
//! Invariant: an order reaches the thread on which its leg lives at that moment, in the order of calling, even while the leg moves.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use kernel::ids::Ids;
use tokio::sync::mpsc;

use super::identity::Identity;
use super::mailbox::{Mailbox, Notice, Order};
use super::port_pool::PortPool;
use super::remote::{Fingerprint, Remote};
use super::room::Part;
use super::room_handle::Room;
use super::socket::LegSockets;
use super::tap::{self, TapEvent, TapOrder, TapTrack};
use super::thread::Threads;
use super::{MediaConfig, MediaError, MediaStats};
use crate::leg::{LegEvents, PlayId, PlayMode, Playable, RecordCommand};

/// Names a leg among the media threads; never used twice.
pub type LegKey = u64;

/// All media threads of a server. They end when the last clone is dropped or by [`MediaThreads::stop`].
#[derive(Clone, Debug)]
pub struct MediaThreads(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    threads: Threads,
    pool: Arc<PortPool>,
    ids: Ids,
    next_key: AtomicU64,
}

impl MediaThreads {
    /// Starts the threads.
    ///
    /// # Errors
    /// When the port range holds no pair of ports, or the operating system gives no thread or no epoll.
    pub fn start(config: &MediaConfig, ids: Ids) -> Result<Self, MediaError> {
        let pool = PortPool::new(config.rtp_ports, ids.clone())?;
        let threads = Threads::start(config)?;
        Ok(Self(Arc::new(Inner { threads, pool, ids, next_key: AtomicU64::new(0) })))
    }

    /// A leg on the thread of `near`, or on the one with the fewest legs. It has no socket yet; its events go to `events`.
    #[must_use]
    pub fn leg(&self, events: LegEvents, near: Option<&MediaLeg>) -> MediaLeg {
        let mailbox = near.map_or_else(|| self.0.threads.least_loaded().clone(), |near| near.0.route().clone());
        self.place(events, mailbox, false)
    }

    /// A browser's leg, on the thread of its organisation, where it stays. It receives at [`MediaThreads::browsers_call_at`].
    #[must_use]
    pub fn browser_leg(&self, events: LegEvents, org: &str) -> MediaLeg {
        self.place(events, self.home(org).clone(), true)
    }

    /// Where the legs of an organisation's browsers receive; nowhere when the server takes none.
    #[must_use]
    pub fn browsers_call_at(&self, org: &str) -> &[SocketAddr] {
        self.home(org).shared()
    }

    /// The fingerprint of our certificate for browsers.
    #[must_use]
    pub fn fingerprint(&self) -> &Fingerprint {
        self.0.threads.fingerprint()
    }

    fn place(&self, events: LegEvents, mailbox: Arc<Mailbox>, is_pinned: bool) -> MediaLeg {
        let key = self.0.next_key.fetch_add(1, Ordering::Relaxed);
        mailbox.leg_came();
        let leg = MediaLeg(Arc::new(Handle::new(key, mailbox, self.0.pool.clone(), is_pinned)));
        leg.0.order(Order::Add(events, Identity(self.0.ids.bytes())));
        leg
    }

    /// Opens a room on the thread of an organisation.
    #[must_use]
    pub fn room(&self, org: &str) -> Room {
        let key = self.0.next_key.fetch_add(1, Ordering::Relaxed);
        Room::open(key, self.home(org).clone())
    }

    /// The mailbox of the thread on which an organisation's rooms and browser legs live.
    pub(super) fn home(&self, org: &str) -> &Arc<Mailbox> {
        self.0.threads.home(org)
    }

    /// What the threads hold now.
    #[must_use]
    pub fn stats(&self) -> MediaStats {
        MediaStats {
            legs: self.0.threads.legs(),
            ports_in_use: self.0.pool.lent(),
            recordings: self.0.threads.recordings(),
        }
    }

    /// How many pairs of ports there are in all.
    #[must_use]
    pub fn port_pairs(&self) -> usize {
        self.0.pool.pairs()
    }

    /// Ends all legs' media, completes their recordings and waits for the threads. Blocks: not for an async task.
    pub fn stop(&self) {
        self.0.threads.stop();
    }
}

/// The media of one leg: a cheap handle that never blocks. Closing it, or dropping the last clone, frees the leg's sockets.
#[derive(Clone, Debug)]
pub struct MediaLeg(pub(super) Arc<Handle>);

/// What the clones of a [`MediaLeg`] share.
#[derive(Debug)]
pub(super) struct Handle {
    pub(super) key: LegKey,
    pub(super) route: Mutex<Arc<Mailbox>>,
    pub(super) pool: Arc<PortPool>,
    pub(super) local: OnceLock<SocketAddr>,
    /// It cannot leave its thread: its socket is not its own.
    pub(super) is_pinned: bool,
    /// The thread has been woken for the leg: it looks at its mailbox by itself as long as the leg lives.
    known: AtomicBool,
    closed: AtomicBool,
}

impl MediaLeg {
    /// Binds the leg's ports on `ip` and gives RTP's address; RTCP's port is the next one. No round trip to the thread.
    ///
    /// # Errors
    /// When no port is free, the operating system refuses, or the leg is open already.
    pub fn open(&self, ip: IpAddr) -> Result<SocketAddr, MediaError> {
        let sockets = LegSockets::bind(&self.0.pool, ip)?;
        let local = sockets.local;
        self.0.local.set(local).map_err(|_| MediaError::AlreadyOpen)?;
        self.0.order(Order::Open(Box::new(sockets)));
        Ok(local)
    }

    /// Whether it is a browser's.
    #[must_use]
    pub fn is_browsers(&self) -> bool {
        self.0.is_pinned
    }

    /// Where RTP is received, once open.
    #[must_use]
    pub fn local(&self) -> Option<SocketAddr> {
        self.0.local.get().copied()
    }

    /// Talks with `remote` from now on: after each answer, to an offer of either side.
    pub fn set_remote(&self, remote: Remote) {
        self.0.order(Order::Remote(Box::new(remote)));
    }

    /// The leg is answered: from now on missing media ends it.
    pub fn established(&self) {
        self.0.order(Order::Established);
    }

    /// See [`crate::leg::Leg::play`].
    pub fn play(&self, play: PlayId, what: Playable, mode: PlayMode) {
        self.0.order(Order::Play(play, what, mode));
    }

    /// See [`crate::leg::Leg::stop_play`].
    pub fn stop_play(&self) {
        self.0.order(Order::StopPlay);
    }

    /// See [`crate::leg::Leg::bridge`].
    pub fn bridge(&self, other: &Self) {
        if self.0.key != other.0.key {
            self.0.order(Order::Bridge { this: self.0.clone(), other: other.0.clone() });
        }
    }

    /// See [`crate::leg::Leg::unbridge`].
    pub fn unbridge(&self) {
        self.0.order(Order::Unbridge);
    }

    /// See [`crate::leg::Leg::join_room`].
    pub fn join_room(&self, room: &Room, part: Part) {
        self.0.order(Order::EnterRoom { this: self.0.clone(), room: room.0.clone(), part });
    }

    /// See [`crate::leg::Leg::leave_room`].
    pub fn leave_room(&self) {
        self.0.order(Order::LeaveRoom);
    }

    /// See [`crate::leg::Leg::media_key`].
    #[must_use]
    pub fn key(&self) -> LegKey {
        self.0.key
    }

    /// See [`crate::leg::Leg::send_dtmf`].
    pub fn send_dtmf(&self, digits: &str, play: PlayId) {
        self.0.order(Order::SendDtmf(digits.into(), play));
    }

    /// A key came by signalling (INFO): it is told, and passed on to the bridged leg, unless the same press comes as an RFC 4733 event too.
    pub fn digit(&self, symbol: char, duration_ms: u32) {
        self.0.order(Order::Digit(symbol, duration_ms));
    }

    /// See [`crate::leg::Leg::record`].
    pub fn record(&self, command: RecordCommand) {
        self.0.order(Order::Record(command));
    }

    /// See [`crate::leg::Leg::listen_silence`].
    pub fn listen_silence(&self, after_ms: Option<u32>) {
        self.0.order(Order::ListenSilence(after_ms));
    }

    /// See [`crate::leg::Leg::inband_dtmf`].
    pub fn inband_dtmf(&self, on: bool) {
        self.0.order(Order::InbandDtmf(on));
    }

    /// See [`crate::leg::Leg::tap`].
    pub fn tap(&self, track: TapTrack) -> mpsc::Receiver<TapEvent> {
        let (sender, receiver) = tap::channel();
        self.0.order(Order::Tap(TapOrder::Open(track, sender)));
        receiver
    }

    /// See [`crate::leg::Leg::tap_say`].
    pub fn tap_say(&self, speech: Box<[u8]>) {
        self.0.order(Order::Tap(TapOrder::Say(speech)));
    }

    /// See [`crate::leg::Leg::tap_mark`].
    pub fn tap_mark(&self, mark: u32) {
        self.0.order(Order::Tap(TapOrder::Mark(mark)));
    }

    /// See [`crate::leg::Leg::tap_clear`].
    pub fn tap_clear(&self) {
        self.0.order(Order::Tap(TapOrder::Clear));
    }

    /// See [`crate::leg::Leg::close_tap`].
    pub fn close_tap(&self) {
        self.0.order(Order::Tap(TapOrder::Close));
    }

    /// Ends the leg's media: the recording is completed, the bridge dissolved, the ports freed.
    pub fn close(&self) {
        self.0.close();
    }
}

impl Handle {
    /// Of a leg whose thread reads `mailbox`.
    pub(super) fn new(key: LegKey, mailbox: Arc<Mailbox>, pool: Arc<PortPool>, is_pinned: bool) -> Self {
        let (known, closed) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { key, route: Mutex::new(mailbox), pool, local: OnceLock::new(), is_pinned, known, closed }
    }

    /// Queues an order where the leg lives.
    pub(super) fn order(&self, order: Order) {
        // The lock is held over the push, so that no order overtakes the leg while it moves.
        let route = self.route();
        let wake = match order.notice() {
            Notice::Now => true,
            Notice::Soon => !self.known.load(Ordering::Relaxed),
            Notice::WithTheNext => false,
        };
        self.known.fetch_or(wake, Ordering::Relaxed);
        route.order(self.key, order, wake);
    }

    fn close(&self) {
        if !self.closed.swap(true, Ordering::Relaxed) {
            self.order(Order::Close);
        }
    }

    /// The mailbox of the leg's thread, held fast: while the guard lives no order for the leg is queued anywhere.
    pub(super) fn route(&self) -> MutexGuard<'_, Arc<Mailbox>> {
        self.route.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close();
    }
}
