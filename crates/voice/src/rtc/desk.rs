//! The task that owns one browser phone: frames and commands in, media and events out.
//!
//! Invariant: every leg that was begun here ends here, and the task ends when the phone is gone and its legs are told.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use kernel::{Clock, Ids};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::call::{Action, NEVER};
use super::candidates::candidates;
use super::frame::{Down, IceServer, Up};
use super::phone::{Order, Phone, Ring};
use crate::cause::Cause;
use crate::leg::{Backlog, Leg, LegEvent, LegEvents, LegId, PhoneId, Signal, Signals};
use crate::ports::{LineIdentity, Ports};
use crate::runner::{MediaLeg, MediaThreads};
use crate::sip::{self, ways};
use crate::voice::{CallerId, Incoming, MAX_FORWARDS, Source};

/// What the task is told.
pub(super) enum Input {
    /// The phone is here, at this address; it is spoken to through the outlet, until the outlet's other end is dropped.
    Attach { outlet: mpsc::Sender<Down>, peer: IpAddr, ice_servers: Vec<IceServer> },
    /// It says something.
    Frame(Up),
    /// It may not be here any more.
    Expel,
    /// It is called.
    Ring(Box<sip::Order>),
}

/// What all phones' tasks share.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) ports: Arc<dyn Ports>,
    pub(crate) threads: MediaThreads,
    pub(crate) clock: Clock,
    pub(crate) ids: Ids,
    pub(crate) stop: CancellationToken,
    pub(crate) incoming: mpsc::Sender<Incoming>,
    pub(crate) public_ip: Option<IpAddr>,
    /// Legs of all phones.
    pub(crate) legs: Arc<AtomicUsize>,
}

/// One phone's task.
pub(super) struct Desk {
    around: Surroundings,
    id: PhoneId,
    line: LineIdentity,
    phone: Phone,
    outlet: Option<mpsc::Sender<Down>>,
    legs: HashMap<LegId, Held>,
    signals: FuturesUnordered<BoxFuture<'static, (LegId, Option<Signal>, Signals)>>,
}

/// A leg of the phone's.
struct Held {
    media: MediaLeg,
    events: Backlog,
    ended: bool,
}

impl Desk {
    pub(super) fn new(around: Surroundings, id: PhoneId, line: LineIdentity, phone: Phone) -> Self {
        Self { around, id, line, phone, outlet: None, legs: HashMap::new(), signals: FuturesUnordered::new() }
    }

    /// Serves the phone until it is gone.
    pub(super) async fn run(mut self, mut inputs: mpsc::Receiver<Input>) {
        let (clock, stop) = (self.around.clock.clone(), self.around.stop.clone());
        loop {
            let mut out = Vec::new();
            let due = self.next(clock.now_ms());
            tokio::select! {
                input = inputs.recv() => match input {
                    Some(input) => self.take(input, &mut out),
                    None => break,
                },
                Some((leg, signal, signals)) = self.signals.next(), if !self.signals.is_empty() => {
                    self.signalled(leg, signal, signals, &mut out);
                }
                () = left(&self.outlet), if self.outlet.is_some() => self.lose(),
                () = clock.sleep_until(due) => {}
                () = stop.cancelled() => break,
            }
            self.phone.due(clock.now_ms(), &mut out);
            self.carry_out(out);
            self.flush();
            if self.phone.is_gone() && self.legs.is_empty() {
                break;
            }
        }
        if self.outlet.is_some() {
            self.lose();
        }
        let left = self.legs.len();
        self.legs.values().for_each(|held| held.media.close());
        self.around.legs.fetch_sub(left, Ordering::Relaxed);
    }

    /// When something is due, at the latest.
    fn next(&self, now: i64) -> i64 {
        let waiting = self.legs.values().any(|held| !held.events.is_empty());
        let retry = if waiting { now.saturating_add(Backlog::RETRY_MS) } else { NEVER };
        self.phone.next().min(retry)
    }

    fn take(&mut self, input: Input, out: &mut Vec<Order>) {
        let now = self.around.clock.now_ms();
        match input {
            Input::Attach { outlet, peer, ice_servers } => {
                // An outlet that was here before is dropped: its socket closes.
                if self.outlet.replace(outlet).is_none() {
                    self.around.ports.browser_phone(&self.line, &self.id, true);
                }
                self.phone.attach(self.candidates(peer), ice_servers, out);
            }
            Input::Frame(frame) => self.phone.frame(frame, now, out),
            Input::Expel => {
                let mut last = Vec::new();
                self.phone.expel(&mut last);
                self.carry_out(last);
                if self.outlet.is_some() {
                    self.lose();
                }
            }
            Input::Ring(order) => {
                let sip::Order { order, signals, media, events } = *order;
                self.hold(order.leg.clone(), media, events, signals);
                let ring_until = now.saturating_add(order.ring_timeout_ms.into());
                let ring = Ring { leg: order.leg, from: order.from, prefer: order.prefer, ring_until };
                self.phone.ring(ring, out);
            }
        }
    }

    fn signalled(&mut self, leg: LegId, signal: Option<Signal>, signals: Signals, out: &mut Vec<Order>) {
        match signal {
            Some(signal) => {
                self.phone.signal(&leg, signal, out);
                if self.legs.contains_key(&leg) {
                    self.listen(leg, signals);
                }
            }
            // Nobody holds the leg's handle any more.
            None => self.phone.signal(&leg, Signal::Hangup(Cause::FlowError), out),
        }
    }

    fn lose(&mut self) {
        self.outlet = None;
        self.phone.detach(self.around.clock.now_ms());
        self.around.ports.browser_phone(&self.line, &self.id, false);
    }

    fn carry_out(&mut self, orders: Vec<Order>) {
        let mut orders = std::collections::VecDeque::from(orders);
        while let Some(order) = orders.pop_front() {
            match order {
                Order::Tell(down) => self.tell(down),
                Order::Begin { leg, to } => {
                    if let Err(cause) = self.begin(&leg, to) {
                        // What was asked for behind it is about a leg that ends now.
                        let mut refusal = Vec::new();
                        self.phone.refuse(&leg, cause, &mut refusal);
                        orders.extend(refusal);
                    }
                }
                Order::Leg(leg, action) => self.act(&leg, action),
            }
        }
    }

    /// Says something to the phone. One that does not read is lost: its socket is closed, and it may come back.
    fn tell(&mut self, down: Down) {
        if let Some(outlet) = &self.outlet
            && outlet.try_send(down).is_err()
        {
            self.lose();
        }
    }

    fn act(&mut self, leg: &LegId, action: Action) {
        if let Action::Tell(down) = action {
            return self.tell(down);
        }
        let Some(held) = self.legs.get_mut(leg) else { return };
        match action {
            Action::Tell(_) => {}
            Action::Event(event) => held.events.send(event),
            Action::Media(remote) => held.media.set_remote(*remote),
            Action::Established => held.media.established(),
            Action::Digit(digit) => held.media.digit(digit.symbol, digit.duration_ms),
            Action::Ended(end) => {
                held.media.close();
                held.ended = true;
                held.events.send(LegEvent::Ended(end));
            }
        }
    }

    /// A call of the phone's comes in.
    fn begin(&mut self, leg: &LegId, to: String) -> Result<(), Cause> {
        let events = LegEvents::new(leg.clone(), None);
        let media = self.around.threads.browser_leg(events.clone(), &self.line.org);
        let (handle, signals) = Leg::new(media.clone(), events.clone());
        self.hold(leg.clone(), media, events, signals);
        let incoming = Incoming {
            leg: handle,
            from: CallerId { number: self.line.extension.to_string(), display: None, anonymous: false },
            to_user: to,
            to_domain: String::new(),
            source: Source::Line(self.line.clone()),
            call_id: leg.to_string(),
            replaces: None,
            hops_left: MAX_FORWARDS,
        };
        self.around.incoming.try_send(incoming).map_err(|_| Cause::Congestion)
    }

    fn hold(&mut self, leg: LegId, media: MediaLeg, events: LegEvents, signals: Signals) {
        self.around.legs.fetch_add(1, Ordering::Relaxed);
        self.legs.insert(leg.clone(), Held { media, events: Backlog::new(events), ended: false });
        self.listen(leg, signals);
    }

    fn listen(&mut self, leg: LegId, mut signals: Signals) {
        self.signals.push(Box::pin(async move {
            let signal = signals.recv().await;
            (leg, signal, signals)
        }));
    }

    /// Tells what waits; forgets the legs of which all is told.
    fn flush(&mut self) {
        let before = self.legs.len();
        self.legs.retain(|_, held| {
            held.events.flush();
            !held.ended || !held.events.is_empty()
        });
        self.around.legs.fetch_sub(before - self.legs.len(), Ordering::Relaxed);
    }

    fn candidates(&self, peer: IpAddr) -> Vec<SocketAddr> {
        let bound = self.around.threads.browsers_call_at(&self.line.org);
        candidates(bound, self.around.public_ip, peer, ways::route_to)
    }
}

/// Returns when the other end of the outlet is dropped.
async fn left(outlet: &Option<mpsc::Sender<Down>>) {
    match outlet {
        Some(outlet) => outlet.closed().await,
        None => std::future::pending().await,
    }
}
