//! One media thread: its poll and the loop that turns readiness, commands and time into calls of the patch bay.
//!
//! Invariant: the thread sleeps unless a datagram, a command or a frame is due; with no legs it is never woken by time.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use media::frame::FRAME_US;

use super::browser::{self, Site};
use super::handle::{Handle, LegKey};
use super::leg_media::LegMedia;
use super::mailbox::{Command, Errand, Mailbox, Order};
use super::patchbay::Patchbay;
use super::poll::{Caller, Callers, Poll, Waker};
use super::recorder::Recorder;
use super::remote::Fingerprint;
use super::shared_port::SharedPort;
use super::socket::{LegSockets, Sockets};
use super::timepiece::Timepiece;
use super::{MediaConfig, MediaError};

/// The largest datagram that is looked at, and the room for what SRTP adds.
const BUFFER_BYTES: usize = 2_048;
/// Datagrams taken from one patient socket in a tick.
const MAX_BURST: usize = 32;

/// A leg on its way to another thread.
pub(super) struct Arrival {
    media: Box<LegMedia>,
    sockets: Option<Box<LegSockets>>,
    /// The leg itself, and what it comes for.
    this: Arc<Handle>,
    errand: Errand,
}

impl std::fmt::Debug for Arrival {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Arrival({})", self.this.key)
    }
}

/// The threads of a server.
#[derive(Debug)]
pub(super) struct Threads {
    first: Arc<Mailbox>,
    others: Vec<Arc<Mailbox>>,
    fingerprint: Fingerprint,
    recorder: Recorder,
    running: Mutex<Running>,
}

#[derive(Debug, Default)]
struct Running {
    media: Vec<JoinHandle<()>>,
    recorder: Option<JoinHandle<()>>,
}

impl Threads {
    /// Starts them all.
    pub(super) fn start(config: &MediaConfig) -> Result<Self, MediaError> {
        let count = match config.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            count => count,
        };
        let count = u16::try_from(count).unwrap_or(u16::MAX);
        let certificate = browser::certificate().ok_or(MediaError::NoCertificate)?;
        let fingerprint = browser::fingerprint(&certificate);
        let timepiece = Timepiece::start();
        let timeout_us = u64::from(config.media_timeout_ms) * 1_000;
        let (recorder, join) = Recorder::start().map_err(Arc::new)?;
        let mut running = Running { media: Vec::with_capacity(count.into()), recorder: Some(join) };
        let mut spawn = |index: u16| -> Result<Arc<Mailbox>, MediaError> {
            let shared = SharedPort::bind(&config.rtc, index)
                .map_err(|(address, error)| MediaError::Shared(address, Arc::new(error)))?;
            let site = Site::new(certificate.clone(), &shared.local(), timepiece.instant(0));
            let patchbay = Patchbay::new(timeout_us, recorder.feed(), site).map_err(io::Error::other);
            let thread = MediaThread::new(timepiece, patchbay.map_err(Arc::new)?, shared);
            let thread = thread.map_err(Arc::new)?;
            let mailbox = thread.mailbox.clone();
            let join = std::thread::Builder::new().name(format!("media-{index}")).spawn(move || thread.run());
            running.media.push(join.map_err(Arc::new)?);
            Ok(mailbox)
        };
        let first = spawn(0)?;
        let others = (1..count).map(spawn).collect::<Result<_, _>>()?;
        // Composing the music takes longer than a media thread may be away; it is ready before the first party is put on hold.
        let composer = std::thread::Builder::new().name("hold-music".to_owned());
        let composer = composer.spawn(|| drop(media::tone::hold_music()));
        running.media.push(composer.map_err(Arc::new)?);
        Ok(Self { first, others, fingerprint, recorder, running: Mutex::new(running) })
    }

    /// The thread with the fewest legs.
    pub(super) fn least_loaded(&self) -> &Arc<Mailbox> {
        let (first, others) = (&self.first, &self.others);
        others.iter().fold(first, |best, other| if other.legs() < best.legs() { other } else { best })
    }

    /// The thread of an organisation: its rooms and its browsers' legs live there, so that they always meet.
    pub(super) fn home(&self, org: &str) -> &Arc<Mailbox> {
        let mut hasher = DefaultHasher::new();
        org.hash(&mut hasher);
        let index = hasher.finish() % (self.others.len() as u64 + 1);
        self.mailboxes().nth(index as usize).unwrap_or(&self.first)
    }

    /// Of our certificate for browsers.
    pub(super) fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// Legs on all threads.
    pub(super) fn legs(&self) -> usize {
        self.mailboxes().map(|mailbox| mailbox.legs()).sum()
    }

    /// Recordings that are being written or completed.
    pub(super) fn recordings(&self) -> usize {
        self.recorder.open()
    }

    /// Ends them all: legs first, then the recordings they leave behind.
    pub(super) fn stop(&self) {
        let running = std::mem::take(&mut *self.running.lock().unwrap_or_else(PoisonError::into_inner));
        self.mailboxes().for_each(|mailbox| mailbox.stop());
        for join in running.media {
            if join.join().is_err() {
                tracing::error!("a media thread has panicked");
            }
        }
        if let Some(join) = running.recorder {
            self.recorder.stop();
            if join.join().is_err() {
                tracing::error!("the recorder has panicked");
            }
        }
    }
}

impl Threads {
    fn mailboxes(&self) -> impl Iterator<Item = &Arc<Mailbox>> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.stop();
    }
}

struct MediaThread {
    poll: Poll,
    mailbox: Arc<Mailbox>,
    timepiece: Timepiece,
    patchbay: Patchbay,
    sockets: Sockets,
    commands: VecDeque<Command>,
    /// When the patient sockets are read next; none while the first datagram for one of them wakes the thread.
    patient_due_us: Option<u64>,
}

/// What comes in, kept for its storage.
struct Intake {
    callers: Callers,
    patient: Callers,
    datagram: [u8; BUFFER_BYTES],
}

impl MediaThread {
    fn new(timepiece: Timepiece, patchbay: Patchbay, shared: SharedPort) -> io::Result<Self> {
        let waker = Waker::new()?;
        let poll = Poll::new(&waker)?;
        shared.watch(&poll)?;
        Ok(Self {
            poll,
            mailbox: Mailbox::new(waker, shared.local()),
            timepiece,
            patchbay,
            sockets: Sockets::new(shared),
            commands: VecDeque::new(),
            patient_due_us: None,
        })
    }

    fn run(mut self) {
        let mut intake =
            Intake { callers: Callers::default(), patient: Callers::default(), datagram: [0; BUFFER_BYTES] };
        loop {
            match self.poll.wait(&mut intake.callers, self.nap()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    tracing::error!(%error, "media thread: poll");
                    break;
                }
                Ok(()) => {}
            }
            // A decoder that panics at some packet must cost that one call, not all calls of the thread.
            let turn = AssertUnwindSafe(|| self.turn(&mut intake));
            match catch_unwind(turn) {
                Ok(true) => {}
                Ok(false) => break,
                Err(_) => self.recover(),
            }
        }
        self.end();
    }

    /// One round of work; false when the thread is to end.
    fn turn(&mut self, intake: &mut Intake) -> bool {
        let mut woken = false;
        for caller in intake.callers.iter() {
            match caller {
                Caller::Mailbox => woken = true,
                Caller::Patient => self.patient_due_us = Some(0),
                Caller::Socket(key) => self.read(key, &mut intake.datagram),
                Caller::Shared(index) => self.read_shared(index, &mut intake.datagram),
            }
        }
        let now_us = self.timepiece.now_us();
        let due = self.patchbay.due_us().is_some_and(|due| due <= now_us);
        // Orders that are in no hurry wait for the legs' own time (mailbox.rs, `Notice::Soon`).
        if (woken || due || !self.commands.is_empty()) && !self.handle_commands() {
            return false;
        }
        // Whatever the thread is awake for anyway, the patient ones use it: a tick finds all that came before it.
        if self.patient_due_us.is_some_and(|patient| due || patient <= now_us) {
            self.read_patient(now_us, intake);
        }
        if due {
            self.patchbay.advance(now_us, Timepiece::ntp(), &mut self.sockets);
        }
        while let Some((slot, urgency)) = self.patchbay.next_change_of_urgency() {
            self.sockets.hurry(slot, urgency, &self.poll);
        }
        true
    }

    /// After a panic: ends the leg whose work it was. What else was to be read or done in that turn is told again.
    fn recover(&mut self) {
        tracing::error!("media thread: a leg's media has panicked and is ended");
        if let Some(slot) = self.patchbay.evict(self.timepiece.now_us()) {
            self.sockets.take(slot, &self.poll);
            self.mailbox.leg_went();
        }
    }

    /// How long there is nothing to do.
    fn nap(&self) -> Option<Duration> {
        if !self.commands.is_empty() {
            return Some(Duration::ZERO);
        }
        let due_us = self.patchbay.due_us().into_iter().chain(self.patient_due_us).min()?;
        Some(Duration::from_micros(due_us.saturating_sub(self.timepiece.now_us())))
    }

    /// Reads the patient sockets until they are empty. They are read again in 20 ms, or woken by once they had nothing.
    fn read_patient(&mut self, now_us: u64, intake: &mut Intake) {
        let Intake { patient, datagram, .. } = intake;
        let mut found = false;
        for _ in 0..MAX_BURST {
            match self.poll.look_at_patient(patient) {
                Ok(true) => found = true,
                Ok(false) => break,
                Err(error) => {
                    tracing::error!(%error, "media thread: patient sockets");
                    break;
                }
            }
            for caller in patient.iter() {
                if let Caller::Socket(key) = caller {
                    self.read(key, datagram);
                }
            }
        }
        self.patient_due_us = found.then_some(now_us + FRAME_US);
        if !found && let Err(error) = self.poll.be_woken_by_patient() {
            tracing::error!(%error, "media thread: patient sockets");
        }
    }

    /// Reads one datagram; if there are more, the socket is told again.
    fn read(&mut self, key: usize, buffer: &mut [u8; BUFFER_BYTES]) {
        let (slot, is_rtcp) = LegSockets::of_key(key);
        let Some(sockets) = self.sockets.get(slot) else {
            return;
        };
        let socket = if is_rtcp { &sockets.rtcp } else { &sockets.rtp };
        // An error is an ICMP message about something we sent: not the end of the socket.
        let Ok((len, from)) = socket.recv_from(buffer) else {
            return;
        };
        let now_us = self.timepiece.now_us();
        if is_rtcp {
            let datagram = buffer.get_mut(..len).unwrap_or_default();
            self.patchbay.receive_rtcp(now_us, slot, from, datagram);
        } else {
            self.patchbay.receive(now_us, slot, from, buffer, len, &mut self.sockets);
        }
    }

    /// Reads what waits at a shared socket, up to a limit; if there is more, it is told again.
    fn read_shared(&mut self, index: usize, buffer: &mut [u8; BUFFER_BYTES]) {
        for _ in 0..MAX_BURST {
            match self.sockets.shared.receive(index, buffer) {
                Ok((len, from)) => {
                    let now_us = self.timepiece.now_us();
                    self.patchbay.receive_shared(now_us, from, buffer, len, &mut self.sockets);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // An ICMP message about something we sent.
                Err(_) => {}
            }
        }
    }

    /// Handles all that waits in the mailbox; false when the thread is to end.
    fn handle_commands(&mut self) -> bool {
        self.mailbox.drain(&mut self.commands);
        while let Some(command) = self.commands.pop_front() {
            match command {
                Command::Stop => return false,
                Command::Arrive(arrival) => self.arrive(*arrival),
                Command::Leg(key, order) => self.carry_out(key, order),
                Command::Room(key, order) => self.patchbay.carry_out_in_room(self.timepiece.now_us(), key, order),
            }
        }
        true
    }

    fn carry_out(&mut self, key: LegKey, order: Order) {
        let now_us = self.timepiece.now_us();
        if let Order::Add(events, identity) = order {
            self.patchbay.add(now_us, key, events, identity);
            return;
        }
        let slot = self.patchbay.slot(key);
        match (order, slot) {
            (Order::Depart { this, to, errand }, _) => self.depart(this, to, errand, slot),
            // The leg is closed: orders may come after that.
            (_, None) => {}
            (Order::Open(sockets), Some(slot)) => self.open(slot, sockets),
            (Order::Bridge { this, other }, Some(slot)) => self.bridge(slot, this, &other),
            (Order::BridgeStill { this, other }, Some(slot)) => {
                if self.patchbay.wishes(slot, other.key) {
                    self.bridge(slot, this, &other);
                }
            }
            (Order::EnterRoom { this, room, part }, Some(slot)) => {
                if Arc::ptr_eq(&room.home, &self.mailbox) {
                    self.patchbay.enter_room(now_us, slot, room.key, part);
                } else {
                    let to = room.home.clone();
                    self.depart(this, to, Errand::Room(room, part), Some(slot));
                }
            }
            (Order::Follow { this, to, whom }, Some(slot)) => {
                if self.patchbay.wishes(slot, whom.key) {
                    self.depart(this, to, Errand::Bridge(whom), Some(slot));
                }
            }
            (Order::Close, Some(slot)) => self.close(slot),
            (order, Some(slot)) => self.patchbay.carry_out(now_us, slot, order),
        }
    }

    fn open(&mut self, slot: usize, mut sockets: Box<LegSockets>) {
        if let Err(error) = sockets.watch(&self.poll, slot, self.patchbay.urgency(slot)) {
            tracing::error!(%error, "media thread: watch a socket");
        }
        self.sockets.put(slot, sockets);
    }

    fn close(&mut self, slot: usize) {
        let (now_us, ntp) = (self.timepiece.now_us(), Timepiece::ntp());
        self.patchbay.close(now_us, ntp, slot, &mut self.sockets);
        self.sockets.close(slot);
        self.mailbox.leg_went();
    }

    /// Bridges here if the other leg lives here, else calls it here.
    fn bridge(&mut self, slot: usize, this: Arc<Handle>, other: &Arc<Handle>) {
        match self.patchbay.slot(other.key) {
            Some(other) => self.patchbay.bridge(self.timepiece.now_us(), slot, other),
            None => {
                self.patchbay.wish(slot, Some(other.key));
                let (to, errand) = (self.mailbox.clone(), Errand::Bridge(this));
                other.order(Order::Depart { this: other.clone(), to, errand });
            }
        }
    }

    /// Sends a leg to the thread that called for it, together with the orders for it that wait here.
    fn depart(&mut self, this: Arc<Handle>, to: Arc<Mailbox>, errand: Errand, slot: Option<usize>) {
        if Arc::ptr_eq(&to, &self.mailbox) {
            // Both have come here meanwhile.
            self.run_errand(this, errand);
            return;
        }
        if this.is_pinned {
            return self.stay(this, errand, slot);
        }
        let mut route = this.route();
        let Some((slot, media)) = slot.and_then(|slot| {
            let media = self.patchbay.remove(self.timepiece.now_us(), slot)?;
            Some((slot, media))
        }) else {
            let moved_on = !Arc::ptr_eq(&route, &self.mailbox);
            drop(route);
            if moved_on {
                this.order(Order::Depart { this: this.clone(), to, errand });
            }
            return;
        };
        // The route is held fast, so nothing more can come for the leg: what is in the mailbox now is all.
        self.mailbox.drain(&mut self.commands);
        let mut pending = VecDeque::new();
        for command in std::mem::take(&mut self.commands) {
            match command {
                Command::Leg(key, order) if key == this.key => pending.push_back((key, order)),
                other => self.commands.push_back(other),
            }
        }
        let sockets = self.sockets.take(slot, &self.poll);
        self.mailbox.leg_went();
        to.leg_came();
        let arrival = Box::new(Arrival { media, sockets, this: this.clone(), errand });
        to.move_in(arrival, pending);
        *route = to;
    }

    /// A leg that cannot leave calls the other one here instead.
    fn stay(&mut self, this: Arc<Handle>, errand: Errand, slot: Option<usize>) {
        let Some(slot) = slot else { return };
        match errand {
            Errand::Bridge(join) if !join.is_pinned => {
                self.patchbay.wish(slot, Some(join.key));
                join.order(Order::Follow { this: join.clone(), to: self.mailbox.clone(), whom: this });
            }
            // All of an organisation's live here; two organisations do not meet.
            Errand::Bridge(_) | Errand::Room(..) => tracing::error!("media thread: a browser's leg is called away"),
        }
    }

    fn arrive(&mut self, arrival: Arrival) {
        let now_us = self.timepiece.now_us();
        let Arrival { media, sockets, this, errand } = arrival;
        let slot = self.patchbay.insert(now_us, media);
        if let Some(sockets) = sockets {
            self.open(slot, sockets);
        }
        match errand {
            Errand::Room(room, part) => self.patchbay.enter_room(now_us, slot, room.key, part),
            Errand::Bridge(join) => match self.patchbay.slot(join.key) {
                Some(other) if self.patchbay.wishes(other, this.key) => {
                    self.patchbay.bridge(now_us, slot, other);
                }
                Some(_) => {}
                None => join.order(Order::BridgeStill { this: join.clone(), other: this }),
            },
        }
    }

    /// A leg is where it was called to without having moved.
    fn run_errand(&mut self, this: Arc<Handle>, errand: Errand) {
        match errand {
            Errand::Bridge(join) => join.order(Order::BridgeStill { this: join.clone(), other: this }),
            Errand::Room(room, part) => this.order(Order::EnterRoom { this: this.clone(), room, part }),
        }
    }

    fn end(mut self) {
        for slot in self.patchbay.slots() {
            self.close(slot);
        }
        self.patchbay.close_rooms(self.timepiece.now_us());
        self.patchbay.into_recorder().finish();
    }
}
