//! Waiting for datagrams and orders: one epoll for what is worth waking the thread, a second one for what can wait for the next tick.
//!
//! A packet of a bridged leg is sent on at once; one that nothing hears before the next tick is left in its socket until then, and the wake-up
//! is saved. The second epoll is itself watched by the first, for one event at a time.
//! Invariant: patient sockets wake the thread once, and not again before [`Poll::be_woken_by_patient`]. All are watched by level, so that what
//! is left unread is told again.

use std::io;
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};

/// Events taken at once.
const MAX_EVENTS: usize = 512;
/// What the waker's events carry; sockets' keys count from 0.
const WAKER: u64 = u64::MAX;
/// What the second epoll's event carries.
const PATIENT: u64 = u64::MAX - 1;

/// What the events of shared sockets count down from.
const SHARED: u64 = u64::MAX - 2;
/// Shared sockets of a thread: one a family of addresses, and as many more as somebody may configure.
const MAX_SHARED: u64 = 256;

/// How soon a socket is to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Urgency {
    /// With the next tick.
    #[default]
    Patient,
    /// At once.
    Prompt,
}

/// Who has something for the thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// The mailbox.
    Mailbox,
    /// At least one patient socket.
    Patient,
    /// The socket that was added with this key.
    Socket(usize),
    /// The shared socket of this index.
    Shared(usize),
}

/// Wakes a thread from another one.
#[derive(Debug)]
pub(super) struct Waker(OwnedFd);

impl Waker {
    /// A waker that no poll listens to yet.
    pub(super) fn new() -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)))
    }

    /// Wakes it.
    pub(super) fn wake(&self) -> io::Result<()> {
        match rustix::io::write(&self.0, &1_u64.to_ne_bytes()) {
            // The counter is full: it wakes already.
            Ok(_) | Err(rustix::io::Errno::AGAIN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// The callers of one wait, kept for their storage.
#[derive(Default)]
pub(super) struct Callers(Vec<Event>);

impl Callers {
    /// Each of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = Caller> {
        self.0.iter().map(|event| {
            let data = event.data;
            match data.u64() {
                WAKER => Caller::Mailbox,
                PATIENT => Caller::Patient,
                key if key > SHARED - MAX_SHARED => Caller::Shared((SHARED - key) as usize),
                key => Caller::Socket(key as usize),
            }
        })
    }

    fn wait(&mut self, on: &OwnedFd, timeout: Option<&Timespec>) -> io::Result<()> {
        self.0.clear();
        self.0.reserve(MAX_EVENTS);
        epoll::wait(on, spare_capacity(&mut self.0), timeout)?;
        Ok(())
    }
}

/// What one thread waits with.
pub(super) struct Poll {
    prompt: OwnedFd,
    patient: OwnedFd,
}

impl Poll {
    /// Woken by `waker` only.
    pub(super) fn new(waker: &Waker) -> io::Result<Self> {
        let (prompt, patient) = (epoll::create(CreateFlags::CLOEXEC)?, epoll::create(CreateFlags::CLOEXEC)?);
        // By edge: its counter need not be read.
        epoll::add(&prompt, &waker.0, EventData::new_u64(WAKER), EventFlags::IN | EventFlags::ET)?;
        epoll::add(&prompt, &patient, EventData::new_u64(PATIENT), EventFlags::IN | EventFlags::ONESHOT)?;
        Ok(Self { prompt, patient })
    }

    /// Watches a socket; its events carry `key`.
    pub(super) fn add(&self, socket: &UdpSocket, key: usize, urgency: Urgency) -> io::Result<()> {
        Ok(epoll::add(self.of(urgency), socket, EventData::new_u64(key as u64), EventFlags::IN)?)
    }

    /// Watches a shared socket, promptly; its events tell its index.
    pub(super) fn add_shared(&self, socket: &UdpSocket, index: usize) -> io::Result<()> {
        let key = SHARED - (index as u64).min(MAX_SHARED - 1);
        Ok(epoll::add(&self.prompt, socket, EventData::new_u64(key), EventFlags::IN)?)
    }

    /// The opposite of [`Poll::add`].
    pub(super) fn remove(&self, socket: &UdpSocket, urgency: Urgency) -> io::Result<()> {
        Ok(epoll::delete(self.of(urgency), socket)?)
    }

    /// Waits until somebody calls or `timeout` has passed.
    pub(super) fn wait(&self, callers: &mut Callers, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        callers.wait(&self.prompt, timeout.as_ref())
    }

    /// The patient sockets that have something now; whether there are any.
    pub(super) fn look_at_patient(&self, callers: &mut Callers) -> io::Result<bool> {
        callers.wait(&self.patient, Some(&Timespec::default()))?;
        Ok(!callers.0.is_empty())
    }

    /// From now on the next datagram for a patient socket wakes the thread.
    pub(super) fn be_woken_by_patient(&self) -> io::Result<()> {
        let flags = EventFlags::IN | EventFlags::ONESHOT;
        Ok(epoll::modify(&self.prompt, &self.patient, EventData::new_u64(PATIENT), flags)?)
    }

    fn of(&self, urgency: Urgency) -> &OwnedFd {
        match urgency {
            Urgency::Prompt => &self.prompt,
            Urgency::Patient => &self.patient,
        }
    }
}
