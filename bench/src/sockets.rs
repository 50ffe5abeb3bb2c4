//! Thousands of WebSockets in one thread: they are read when the system says that there is something.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::OwnedFd;

use crate::websocket::WebSocket;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// One look at what came.
const LOOK: Duration = Duration::from_millis(50);
/// Events that are taken at once.
const AT_ONCE: usize = 256;

/// Open sockets, by their number.
pub(crate) struct Sockets {
    epoll: OwnedFd,
    all: Vec<WebSocket>,
    events: Vec<Event>,
}

impl Sockets {
    /// None yet.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn new() -> Result<Self, String> {
        let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(|error| error.to_string())?;
        Ok(Self { epoll, all: Vec::new(), events: Vec::with_capacity(AT_ONCE) })
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// Opens one more; `headers` are lines of its handshake.
    ///
    /// # Errors
    /// What went wrong.
    pub(crate) fn open(&mut self, server: SocketAddr, path: &str, headers: &str) -> Result<usize, String> {
        let number = self.all.len();
        let socket = WebSocket::open(server, path, headers)?;
        epoll::add(&self.epoll, socket.as_fd(), EventData::new_u64(number as u64), EventFlags::IN)
            .map_err(|error| error.to_string())?;
        self.all.push(socket);
        Ok(number)
    }

    /// Says a text on one of them.
    ///
    /// # Errors
    /// When the server has gone.
    pub(crate) fn say(&mut self, number: usize, text: &str) -> Result<(), String> {
        self.all.get_mut(number).ok_or("no such socket")?.say_text(text)
    }

    /// Waits until such a text comes on one of them; what comes on the others meanwhile is passed over.
    ///
    /// # Errors
    /// When it does not come, or the server has closed one.
    pub(crate) fn until(&mut self, number: usize, is_it: impl Fn(&str) -> bool) -> Result<(), String> {
        let until = Instant::now() + PATIENCE;
        let (mut is_there, mut last) = (false, String::new());
        while !is_there {
            self.hear(LOOK, |from, text| {
                if from == number {
                    is_there |= is_it(text);
                    text.clone_into(&mut last);
                }
            })?;
            if Instant::now() > until {
                return Err(format!("the server does not answer as it should; at last it said {last:?}"));
            }
        }
        Ok(())
    }

    /// Gives every text that has come to `take`, with the number of its socket; waits for one at most so long.
    ///
    /// # Errors
    /// When the server has closed one.
    pub(crate) fn hear(&mut self, patience: Duration, mut take: impl FnMut(usize, &str)) -> Result<(), String> {
        let patience = Timespec::try_from(patience).map_err(|error| error.to_string())?;
        self.events.clear();
        epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.events), Some(&patience))
            .map_err(|error| error.to_string())?;
        for event in &self.events {
            let data = event.data;
            let number = usize::try_from(data.u64()).unwrap_or(usize::MAX);
            let Some(socket) = self.all.get_mut(number) else { continue };
            socket.hear_texts(|text| take(number, text))?;
        }
        Ok(())
    }
}
