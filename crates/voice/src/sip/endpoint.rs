//! The endpoint: the one task that owns all transactions and legs.
//!
//! Messages come from the edge in batches, commands from the legs' handles, answers of the floors
//! above from jobs; each is handled to its end before the next, so nothing here is locked and nothing
//! waits. Messages are sorted in [`super::traffic`], legs kept in [`super::legs`]. What a request outside any leg leads to stands in [`super::admission`], placing legs in
//! [`super::outbound`], carriers in [`super::carriers`].

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use kernel::{Clock, Ids};
use tokio::sync::mpsc;
use tracing::warn;

use super::carriers::Carriers;
use super::dns::Resolver;
use super::domains::Domains;
use super::edge::Edge;
use super::edge::tls::ClientTls;
use super::flow::Flow;
use super::gate::Bucket;
use super::leg::{Action, Purpose};
use super::legs::Held;
use super::message::Message;
use super::nonce::Nonces;
use super::outbound::Order;
use super::registering::WebLine;
use super::timers::Timers;
use super::traffic::{ClientEntry, ServerEntry};
use super::transaction::NEVER;
use super::ways::Routes;
use crate::cause::Cause;
use crate::leg::{Signal, Signals};
use crate::ports::{Ports, Transport, TrunkId};
use crate::runner::MediaThreads;
use crate::voice::{Incoming, VoiceConfig};

/// Names a leg inside the endpoint; never used twice.
pub(crate) type LegKey = u64;
/// A job that asks the floors above, or looks a name up.
pub(crate) type Job = BoxFuture<'static, Outcome>;

/// Inputs handled before timers are looked at again.
const BATCH: usize = 64;
/// Jobs under way at once; past it new requests are refused with 503.
pub(crate) const MAX_JOBS: usize = 1_024;
/// Between two housekeeping rounds, ms.
const SWEEP_MS: i64 = 10_000;

/// What comes to the endpoint.
pub(crate) enum Input {
    /// Messages and the flows they came by.
    Messages(Vec<(Message, Flow)>),
    /// A stream was opened, by us or by a peer.
    Opened(Flow),
    /// A stream to this address ended.
    Closed(SocketAddr),
    /// A leg is to be placed.
    Originate(Box<Order>),
    /// Read the trunks again.
    ReloadTrunks,
}

/// What a job found out.
pub(crate) enum Outcome {
    /// Something about a request that waits in [`super::admission`].
    Admission(Box<super::admission::Answer>),
    /// A way to a leg's hop, or none.
    Dialled(LegKey, Option<Flow>),
    /// Another way for a request whose own is gone.
    Detour(Box<super::detour::Detour>),
    /// Something about carriers.
    Carriers(Box<super::carriers::News>),
}

/// What is due at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reminder {
    Server(Arc<str>),
    Client(Arc<str>),
    Leg(LegKey),
    Trunk(TrunkId),
    Sweep,
}

/// Who gets the answer to a request of ours.
#[derive(Clone, Debug)]
pub(crate) enum Owner {
    Leg(LegKey, Purpose),
    /// A trunk's REGISTER to its target of this index.
    Register(TrunkId),
    /// A trunk's OPTIONS to its target of this index.
    Ping(TrunkId, usize),
    Nobody,
}

/// Numbers that others may read.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    pub(crate) legs: AtomicUsize,
    pub(crate) transactions: AtomicUsize,
}

/// A datagram socket and the address it is bound to.
pub(crate) struct Listening {
    pub(crate) socket: Arc<UdpSocket>,
    pub(crate) addr: SocketAddr,
}

/// See the module.
pub(crate) struct Endpoint {
    pub(crate) config: Arc<VoiceConfig>,
    pub(crate) ports: Arc<dyn Ports>,
    pub(crate) threads: MediaThreads,
    pub(crate) clock: Clock,
    pub(crate) ids: Ids,
    pub(crate) edge: Edge,
    pub(crate) client_tls: ClientTls,
    pub(crate) incoming: mpsc::Sender<Incoming>,
    pub(crate) sockets: Vec<Listening>,
    /// The port that TLS listens on, for our Contact.
    pub(crate) tls_port: Option<u16>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) now: i64,
    pub(crate) servers: HashMap<Arc<str>, ServerEntry>,
    pub(super) clients: HashMap<Arc<str>, ClientEntry>,
    pub(crate) legs: HashMap<LegKey, Held>,
    pub(crate) next_key: LegKey,
    pub(crate) timers: Timers<Reminder>,
    pub(super) signals: FuturesUnordered<BoxFuture<'static, (LegKey, Option<Signal>, Signals)>>,
    pub(super) jobs: FuturesUnordered<Job>,
    pub(super) actions: Vec<Action>,
    /// Requests whose flow broke while they were sent.
    pub(super) broken: VecDeque<(Owner, String)>,
    pub(crate) streams: HashMap<(Transport, SocketAddr), Flow>,
    /// Who has registered by the WebSocket of this peer.
    pub(super) web_lines: HashMap<SocketAddr, HashSet<WebLine>>,
    pub(crate) nonces: Nonces,
    pub(crate) domains: Domains,
    pub(crate) routes: Routes,
    pub(crate) resolver: Resolver,
    pub(crate) carriers: Carriers,
    pub(crate) new_calls: Bucket,
    /// Legs that came in last: the floors above may not have touched them yet.
    pub(crate) untouched: Vec<LegKey>,
}

/// What [`Endpoint::new`] is given.
pub(crate) struct Parts {
    pub(crate) config: Arc<VoiceConfig>,
    pub(crate) ports: Arc<dyn Ports>,
    pub(crate) threads: MediaThreads,
    pub(crate) clock: Clock,
    pub(crate) ids: Ids,
    pub(crate) edge: Edge,
    pub(crate) client_tls: ClientTls,
    pub(crate) incoming: mpsc::Sender<Incoming>,
    pub(crate) sockets: Vec<Listening>,
    pub(crate) tls_port: Option<u16>,
    pub(crate) stats: Arc<Stats>,
}

impl Endpoint {
    pub(crate) fn new(parts: Parts) -> Self {
        let now = parts.clock.now_ms();
        let resolver = Resolver::new(parts.config.dns, parts.ids.clone());
        let burst = i64::from(parts.config.limits.calls_per_second) / 2;
        Self {
            nonces: Nonces::new(parts.ids.bytes()),
            config: parts.config,
            ports: parts.ports,
            threads: parts.threads,
            clock: parts.clock,
            ids: parts.ids,
            edge: parts.edge,
            client_tls: parts.client_tls,
            incoming: parts.incoming,
            sockets: parts.sockets,
            tls_port: parts.tls_port,
            stats: parts.stats,
            now,
            servers: HashMap::new(),
            clients: HashMap::new(),
            legs: HashMap::new(),
            next_key: 1,
            timers: Timers::new(),
            signals: FuturesUnordered::new(),
            jobs: FuturesUnordered::new(),
            actions: Vec::new(),
            broken: VecDeque::new(),
            streams: HashMap::new(),
            web_lines: HashMap::new(),
            domains: Domains::default(),
            routes: Routes::default(),
            resolver,
            carriers: Carriers::default(),
            new_calls: Bucket::full(burst.max(1), now),
            untouched: Vec::new(),
        }
    }

    /// Runs until the server stops; then hangs up what is left.
    pub(crate) async fn run(mut self, mut input: mpsc::Receiver<Input>) {
        self.timers.set(self.now + SWEEP_MS, Reminder::Sweep);
        self.meet_carriers().await;
        self.tick();
        // Their targets are looked up before a message is taken, too: those given by address are found at once.
        self.fire();
        let stop = self.edge.stop.clone();
        let clock = self.clock.clone();
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let next = self.timers.next();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = clock.sleep_until(next), if next != NEVER => {}
                Some((key, signal, signals)) = self.signals.next(), if !self.signals.is_empty() => {
                    self.tick();
                    self.signalled(key, signal, signals);
                    self.drain_signals();
                }
                Some(outcome) = self.jobs.next(), if !self.jobs.is_empty() => {
                    self.tick();
                    self.done(outcome);
                }
                count = input.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        break;
                    }
                    self.tick();
                    for input in batch.drain(..) {
                        self.take(input);
                    }
                }
            }
            self.tick();
            self.fire();
            self.stats.legs.store(self.legs.len(), Ordering::Relaxed);
            self.stats.transactions.store(self.servers.len() + self.clients.len(), Ordering::Relaxed);
        }
        self.hang_up_all();
    }

    /// Takes the commands that are there already: a busy server pays for one waiting, not for each.
    fn drain_signals(&mut self) {
        for _ in 1..BATCH {
            let Some(Some((key, signal, signals))) = self.signals.next().now_or_never() else {
                return;
            };
            self.signalled(key, signal, signals);
        }
    }

    fn tick(&mut self) {
        self.now = self.clock.now_ms();
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Messages(messages) => {
                for (message, flow) in messages {
                    match message.method() {
                        Some(method) => self.request(method, message, flow),
                        None => self.response(&message, &flow),
                    }
                    self.mend();
                }
            }
            Input::Opened(flow) => {
                self.streams.insert((flow.transport, flow.remote), flow);
            }
            Input::Closed(remote) => {
                self.streams.retain(|(_, addr), flow| *addr != remote || flow.is_open());
                self.lost_connection(remote);
            }
            Input::Originate(order) => self.originate(*order),
            Input::ReloadTrunks => self.reload_trunks(),
        }
        self.mend();
    }

    fn done(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Admission(answer) => self.admission_answered(*answer),
            Outcome::Dialled(key, flow) => self.dialled(key, flow),
            Outcome::Detour(detour) => self.detoured(*detour),
            Outcome::Carriers(news) => self.carriers_news(*news),
        }
        self.mend();
    }

    /// Starts a job; false when there are too many.
    pub(crate) fn start(&mut self, job: Job) -> bool {
        if self.jobs.len() >= MAX_JOBS {
            return false;
        }
        self.jobs.push(job);
        true
    }

    // --- time

    fn fire(&mut self) {
        while let Some(reminder) = self.timers.due(self.now) {
            match reminder {
                Reminder::Server(key) => self.server_due(key),
                Reminder::Client(key) => self.client_due(key),
                Reminder::Leg(key) => self.leg_due(key),
                Reminder::Trunk(id) => self.trunk_due(&id),
                Reminder::Sweep => self.sweep(),
            }
            self.mend();
        }
    }

    fn sweep(&mut self) {
        self.timers.set(self.now + SWEEP_MS, Reminder::Sweep);
        self.nonces.sweep(self.now);
        self.domains.sweep(self.now);
        self.routes.sweep(self.now);
        self.streams.retain(|_, flow| flow.is_open());
        // After a rush, give the memory back; not before it is mostly unused.
        shrink(&mut self.legs);
        shrink(&mut self.servers);
        shrink(&mut self.clients);
        shrink(&mut self.web_lines);
    }

    fn hang_up_all(&mut self) {
        let keys: Vec<_> = self.legs.keys().copied().collect();
        if !keys.is_empty() {
            warn!(legs = keys.len(), "hanging up what is left");
        }
        for key in keys {
            self.step(key, |leg, cx| leg.hangup(Cause::ServerRestart, cx));
        }
    }
}

/// A local tag names its leg.
pub(crate) fn tag_of_leg(key: LegKey, random: u64) -> String {
    format!("{key:x}.{random:016x}")
}

pub(crate) fn leg_of_tag(tag: &str) -> Option<LegKey> {
    LegKey::from_str_radix(tag.split_once('.')?.0, 16).ok()
}

fn shrink<K: Eq + Hash, V>(map: &mut HashMap<K, V>) {
    if map.capacity() > 256 && map.len() * 8 < map.capacity() {
        map.shrink_to(map.len() * 2);
    }
}
