//! One media thread: its poll, its sockets, and the loop that turns readiness, commands and time into calls of the patch bay.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use mio::{Events, Poll};

use super::handle::{Handle, LegKey};
use super::mailbox::{Command, Mailbox, Order};
use super::socket::LegSockets;
use super::{MediaConfig, MediaError};

/// A leg on its way to another thread.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) key: LegKey,
    pub(super) sockets: Option<Box<LegSockets>>,
    pub(super) join: Arc<Handle>,
}

/// The threads of a server.
#[derive(Debug)]
pub(super) struct Threads {
    mailboxes: Vec<Arc<Mailbox>>,
    joins: Mutex<Vec<JoinHandle<()>>>,
}

impl Threads {
    pub(super) fn start(config: &MediaConfig) -> Result<Self, MediaError> {
        let count = if config.threads == 0 {
            std::thread::available_parallelism().map_or(1, usize::from)
        } else {
            config.threads
        };
        let (mut mailboxes, mut joins) = (Vec::new(), Vec::new());
        for index in 0..count {
            let poll = Poll::new().map_err(Arc::new)?;
            let mailbox = Mailbox::new(&poll).map_err(Arc::new)?;
            mailboxes.push(mailbox.clone());
            let thread = std::thread::Builder::new().name(format!("media-{index}"));
            joins.push(
                thread
                    .spawn(move || run(poll, &mailbox))
                    .map_err(Arc::new)?,
            );
        }
        Ok(Self {
            mailboxes,
            joins: Mutex::new(joins),
        })
    }

    pub(super) fn least_loaded(&self) -> Arc<Mailbox> {
        let [first, rest @ ..] = self.mailboxes.as_slice() else {
            unreachable!("there is at least one media thread")
        };
        rest.iter()
            .fold(first, |best, other| {
                if other.legs() < best.legs() {
                    other
                } else {
                    best
                }
            })
            .clone()
    }

    pub(super) fn legs(&self) -> usize {
        self.mailboxes.iter().map(|mailbox| mailbox.legs()).sum()
    }

    pub(super) fn recordings(&self) -> usize {
        0
    }

    pub(super) fn stop(&self) {
        let joins = std::mem::take(&mut *self.joins.lock().unwrap_or_else(PoisonError::into_inner));
        self.mailboxes.iter().for_each(|mailbox| mailbox.stop());
        for join in joins {
            let _ = join.join();
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run(mut poll: Poll, mailbox: &Arc<Mailbox>) {
    let mut events = Events::with_capacity(256);
    let mut commands = VecDeque::new();
    let mut legs: HashMap<LegKey, Option<Box<LegSockets>>> = HashMap::new();
    loop {
        if let Err(error) = poll.poll(&mut events, None)
            && error.kind() != io::ErrorKind::Interrupted
        {
            tracing::error!(%error, "media thread: poll");
        }
        mailbox.drain(&mut commands);
        while let Some(command) = commands.pop_front() {
            match command {
                Command::Stop => return,
                Command::Arrive(arrival) => {
                    legs.insert(arrival.key, arrival.sockets);
                }
                Command::Leg(key, Order::Add(..)) => {
                    legs.insert(key, None);
                }
                Command::Leg(key, Order::Open(sockets)) => {
                    legs.entry(key).and_modify(|slot| *slot = Some(sockets));
                }
                Command::Leg(key, Order::Close) => {
                    if legs.remove(&key).is_some() {
                        mailbox.leg_went();
                    }
                }
                Command::Leg(..) => {}
            }
        }
    }
}
