//! All browser phones: those that are online, and those whose socket was lost a moment ago.
//!
//! Invariant: a phone's name leads to at most one task, and only the line that it belongs to may take it over.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::desk::{Desk, Input, Surroundings};
use super::frame::{Down, IceServer, Up};
use super::phone::Phone;
use crate::cause::Cause;
use crate::leg::{Leg, LegEvents, LegSink, PhoneId};
use crate::ports::LineIdentity;
use crate::sip;
use crate::voice::{Originate, Target};

/// Phones in all.
const MAX_PHONES: usize = 20_000;
/// Phones of one extension: windows that somebody has open.
const MAX_PHONES_OF_EXTENSION: usize = 16;
/// Frames and calls that may wait for a phone's task.
const INPUT_QUEUE: usize = 64;
/// Frames that may wait for a phone's socket.
const OUTPUT_QUEUE: usize = 64;

/// Whose phone it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhoneAccount {
    /// The extension that it rings for.
    pub line: LineIdentity,
    /// The person's name, for the phone to show.
    pub name: String,
    /// What its browser may ask for its own addresses, as of now.
    pub ice_servers: Vec<IceServer>,
    /// What it may do.
    pub rights: PhoneRights,
}

/// What a browser phone may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PhoneRights {
    /// Whatever a phone does.
    All,
    /// Take the calls that it gets, and no more: it dials nobody and hands nobody on, and its line is shown to nobody.
    AnswerOnly,
}

/// Why a phone is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PhoneRefused {
    /// The server has no port for browsers.
    #[error("this server takes no browser phones")]
    NotHere,
    /// Enough of them are open.
    #[error("too many browser phones are open")]
    TooMany,
}

/// A browser phone's way in. What it is told comes through the receiver that was handed out beside it; the phone is
/// online until that is dropped.
#[derive(Clone, Debug)]
pub struct BrowserPhone {
    id: PhoneId,
    inputs: mpsc::Sender<Input>,
}

impl BrowserPhone {
    /// Its name.
    #[must_use]
    pub fn id(&self) -> &PhoneId {
        &self.id
    }

    /// The phone says something; waits while it says more than can be handled.
    pub async fn say(&self, frame: Up) {
        // A task that has ended has told the phone by its receiver.
        let _ = self.inputs.send(Input::Frame(frame)).await;
    }

    /// Sends the phone away: its calls end at once as `rejected`, which it is still told, and then its receiver ends.
    pub async fn expel(&self) {
        // The same.
        let _ = self.inputs.send(Input::Expel).await;
    }
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Attach { .. } => "Attach",
            Self::Frame(_) => "Frame",
            Self::Expel => "Expel",
            Self::Ring(_) => "Ring",
        })
    }
}

/// All browser phones of a server. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Exchange(Arc<Inner>);

struct Inner {
    around: Surroundings,
    tasks: TaskTracker,
    phones: Mutex<HashMap<PhoneId, Entry>>,
}

struct Entry {
    line: LineIdentity,
    inputs: mpsc::Sender<Input>,
}

impl Exchange {
    pub(crate) fn new(around: Surroundings, tasks: TaskTracker) -> Self {
        Self(Arc::new(Inner { around, tasks, phones: Mutex::default() }))
    }

    /// A phone comes in from `peer`, or back as the one that it says it was.
    pub(crate) fn enter(
        &self,
        account: PhoneAccount,
        was: Option<&PhoneId>,
        peer: IpAddr,
    ) -> Result<(BrowserPhone, mpsc::Receiver<Down>), PhoneRefused> {
        let around = &self.0.around;
        if around.threads.browsers_call_at(&account.line.org).is_empty() {
            return Err(PhoneRefused::NotHere);
        }
        let (outlet, told) = mpsc::channel(OUTPUT_QUEUE);
        let attach = Input::Attach { outlet, peer, ice_servers: account.ice_servers.clone() };
        let mut phones = self.phones();
        let attach = match was.and_then(|was| Some((was, phones.get(was).filter(|entry| entry.line == account.line)?)))
        {
            Some((id, entry)) => match entry.inputs.try_send(attach) {
                Ok(()) => return Ok((BrowserPhone { id: id.clone(), inputs: entry.inputs.clone() }, told)),
                // Gone in this very moment, or swamped: it is another phone then.
                Err(error) => error.into_inner(),
            },
            None => attach,
        };
        let own = phones
            .values()
            .filter(|entry| entry.line.org == account.line.org && entry.line.extension == account.line.extension);
        if phones.len() >= MAX_PHONES || own.count() >= MAX_PHONES_OF_EXTENSION {
            return Err(PhoneRefused::TooMany);
        }
        let id: PhoneId = around.ids.token().into();
        let (inputs, receiver) = mpsc::channel(INPUT_QUEUE);
        // The queue is new: there is room.
        let _ = inputs.try_send(attach);
        let line = account.line.clone();
        phones.insert(id.clone(), Entry { line: line.clone(), inputs: inputs.clone() });
        drop(phones);
        let phone = Phone::new(id.clone(), account, around.threads.fingerprint().clone(), around.ids.clone());
        let desk = Desk::new(around.clone(), id.clone(), line, phone);
        let (exchange, name) = (self.clone(), id.clone());
        self.0.tasks.spawn(async move {
            desk.run(receiver).await;
            exchange.phones().remove(&name);
        });
        Ok((BrowserPhone { id, inputs }, told))
    }

    /// Places a leg to a phone.
    pub(crate) fn originate(&self, order: Originate, sink: LegSink) -> Leg {
        let events = LegEvents::new(order.leg.clone(), Some(sink));
        let found = match &order.target {
            Target::Browser { phone } => {
                self.phones().get(phone).map(|entry| (entry.inputs.clone(), entry.line.org.clone()))
            }
            _ => None,
        };
        let org = found.as_ref().map_or("", |(_, org)| org);
        let media = self.0.around.threads.browser_leg(events.clone(), org);
        let (leg, signals) = Leg::new(media.clone(), events.clone());
        let order = Box::new(sip::Order { order, signals, media, events });
        match found {
            None => order.refuse(Cause::Unreachable),
            Some((inputs, _)) => {
                if let Err(error) = inputs.try_send(Input::Ring(order))
                    && let Input::Ring(order) = error.into_inner()
                {
                    order.refuse(Cause::Unreachable);
                }
            }
        }
        leg
    }

    /// Legs of phones, and phones.
    pub(crate) fn stats(&self) -> (usize, usize) {
        (self.0.around.legs.load(Ordering::Relaxed), self.phones().len())
    }

    fn phones(&self) -> MutexGuard<'_, HashMap<PhoneId, Entry>> {
        self.0.phones.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
