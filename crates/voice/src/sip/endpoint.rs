//! The endpoint: the one task that owns all transactions and legs.
//!
//! Messages come from the edge in batches, commands from the legs' handles, answers of the floors
//! above from jobs; each is handled to its end before the next, so nothing here is locked and nothing
//! waits. What a request outside any leg leads to stands in [`super::admission`], placing legs in
//! [`super::outbound`], carriers in [`super::carriers`].

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use kernel::{Clock, Ids};
use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::admission::{Domains, Waiting};
use super::carriers::Carriers;
use super::digest::Nonces;
use super::edge::Edge;
use super::edge::tls::ClientTls;
use super::flow::{Flow, Link, Path};
use super::gate::Bucket;
use super::leg::{Action, Cx, Purpose, SipLeg, stray};
use super::message::{Draft, Message, Method};
use super::outbound::{Order, Routes};
use super::timers::Timers;
use super::transaction::{self, Client, Due, NEVER, Received, Server};
use crate::leg::{LegEvent, LegEvents, Signal, Signals};
use crate::ports::{Ports, Transport, TrunkId};
use crate::runner::{MediaLeg, MediaThreads};
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
/// A full sink is tried again after this, ms.
const SINK_RETRY_MS: i64 = 20;

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

pub(crate) struct ServerEntry {
    pub(crate) tx: Server,
    /// Where responses go.
    pub(crate) flow: Flow,
    pub(crate) leg: Option<LegKey>,
    /// A CANCEL came before there was a leg.
    pub(crate) cancelled: bool,
    /// The reminder that is set.
    reminded: i64,
}

struct ClientEntry {
    tx: Client,
    flow: Flow,
    owner: Owner,
    method: Method,
    /// The reminder that is set.
    reminded: i64,
}

/// A leg, its media and its way to the call.
pub(crate) struct Held {
    pub(crate) leg: SipLeg,
    pub(crate) media: MediaLeg,
    pub(crate) events: LegEvents,
    /// Events that found the sink full.
    unsent: VecDeque<LegEvent>,
    /// The reminder that is set.
    reminded: i64,
    /// Its trunk, for what its targets' failures teach.
    pub(crate) trunk: Option<TrunkId>,
    /// Counted among the calls that the floors above have not touched yet.
    pub(crate) untouched: bool,
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
    clients: HashMap<Arc<str>, ClientEntry>,
    pub(crate) legs: HashMap<LegKey, Held>,
    pub(crate) next_key: LegKey,
    pub(crate) timers: Timers<Reminder>,
    signals: FuturesUnordered<BoxFuture<'static, (LegKey, Option<Signal>, Signals)>>,
    jobs: FuturesUnordered<Job>,
    actions: Vec<Action>,
    /// Requests whose flow broke while they were sent.
    broken: VecDeque<(Owner, String)>,
    pub(crate) streams: HashMap<(Transport, SocketAddr), Flow>,
    pub(crate) nonces: Nonces,
    pub(crate) domains: Domains,
    pub(crate) routes: Routes,
    pub(crate) carriers: Carriers,
    pub(crate) new_calls: Bucket,
    /// Legs that the floors above have not touched yet.
    pub(crate) untouched: usize,
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
            domains: Domains::default(),
            routes: Routes::default(),
            carriers: Carriers::default(),
            new_calls: Bucket::full(burst.max(1), now),
            untouched: 0,
        }
    }

    /// Runs until the server stops; then hangs up what is left.
    pub(crate) async fn run(mut self, mut input: mpsc::Receiver<Input>) {
        self.timers.set(self.now + SWEEP_MS, Reminder::Sweep);
        self.reload_trunks();
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
            self.stats
                .transactions
                .store(self.servers.len() + self.clients.len(), Ordering::Relaxed);
        }
        self.hang_up_all();
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
            Input::Closed(remote) => self
                .streams
                .retain(|(_, addr), flow| *addr != remote || flow.is_open()),
            Input::Originate(order) => self.originate(*order),
            Input::ReloadTrunks => self.reload_trunks(),
        }
        self.mend();
    }

    fn done(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Admission(answer) => self.admission_answered(*answer),
            Outcome::Dialled(key, flow) => self.dialled(key, flow),
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

    // --- requests

    fn request(&mut self, method: Method, message: Message, flow: Flow) {
        if method == Method::Ack {
            return self.ack(&message);
        }
        let Some(key) = transaction::server_key(&message, method) else {
            return; // without a Via there is no way back
        };
        if let Some(entry) = self.servers.get(&key) {
            if let Some(bytes) = entry.tx.repeated() {
                entry.flow.send(&bytes);
            }
            return;
        }
        if let Some(defect) = message.defect() {
            debug!(remote = %flow.remote, defect, "a request is malformed");
            return self.refuse(&message, &flow, 400, |draft| {
                draft.field("Warning", format_args!("399 tandem \"{defect}\""))
            });
        }
        if method == Method::Cancel {
            return self.cancel(&message, &flow);
        }
        let request = Waiting {
            request: message,
            tx: key,
            flow,
        };
        if request.request.to_tag().is_some() {
            self.inside(method, request);
        } else {
            self.admit(method, request);
        }
    }

    /// A request inside a dialog.
    fn inside(&mut self, method: Method, waiting: Waiting) {
        let Waiting { request, tx, flow } = waiting;
        let key = request.to_tag().and_then(leg_of_tag);
        let known = key.and_then(|key| self.legs.get(&key)).is_some_and(|held| {
            let dialog = &held.leg.dialog;
            request.to_tag() == Some(dialog.local_tag.as_str())
                && request.call_id() == dialog.call_id
                && (dialog.remote_tag.is_empty() || request.from_tag() == dialog.remote_tag)
        });
        let Some(key) = key.filter(|_| known) else {
            return self.refuse(&request, &flow, 481, |draft| draft);
        };
        self.serve(&request, &tx, &flow, method, Some(key));
        self.step(key, |leg, cx| leg.request(&request, &tx, &flow, cx));
    }

    /// Opens a server transaction.
    pub(crate) fn serve(
        &mut self,
        request: &Message,
        tx: &Arc<str>,
        flow: &Flow,
        method: Method,
        leg: Option<LegKey>,
    ) {
        let server = Server::new(method, flow.is_reliable(), self.now);
        let flow = way_back(request, flow);
        self.servers.insert(
            tx.clone(),
            ServerEntry {
                tx: server,
                flow,
                leg,
                cancelled: false,
                reminded: NEVER,
            },
        );
        self.remind_server(tx);
    }

    /// An ACK: of a failure by its transaction, of a 2xx by its dialog.
    fn ack(&mut self, ack: &Message) {
        if let Some(key) = transaction::server_key(ack, Method::Invite)
            && let Some(entry) = self.servers.get_mut(&key)
            && entry.tx.has_failed()
        {
            entry.tx.acknowledged(self.now);
            return self.remind_server(&key);
        }
        let Some(key) = ack.to_tag().and_then(leg_of_tag) else {
            return;
        };
        if self
            .legs
            .get(&key)
            .is_some_and(|held| held.leg.dialog.is_peer(ack))
        {
            self.step(key, |leg, cx| leg.ack(ack, cx));
        }
    }

    /// A CANCEL: answered for itself, and handed to the INVITE that it names (RFC 3261 §9.2).
    fn cancel(&mut self, cancel: &Message, flow: &Flow) {
        let invite = transaction::server_key(cancel, Method::Invite);
        let entry = invite.as_ref().and_then(|key| self.servers.get_mut(key));
        let Some(entry) = entry else {
            return self.refuse(cancel, flow, 481, |draft| draft);
        };
        let leg = entry.leg;
        entry.cancelled = true;
        self.refuse(cancel, flow, 200, |draft| draft);
        if let Some(key) = leg {
            self.step(key, |leg, cx| leg.cancelled(cancel, cx));
        }
    }

    /// Answers without a transaction: a repetition of the request gets the same again.
    pub(crate) fn refuse(
        &mut self,
        request: &Message,
        flow: &Flow,
        code: u16,
        fields: impl FnOnce(Draft) -> Draft,
    ) {
        let tag = format!("{:016x}", u64::from_le_bytes(self.ids.bytes()));
        let draft = Draft::response(request, flow.remote, code, Some(&tag))
            .field("Server", &self.config.user_agent);
        way_back(request, flow).send(&fields(draft).finish());
    }

    /// Answers in a transaction.
    pub(crate) fn respond(&mut self, tx: &Arc<str>, code: u16, bytes: &Bytes) {
        let Some(entry) = self.servers.get_mut(tx) else {
            return;
        };
        if entry.tx.respond(code, bytes, self.now) {
            entry.flow.send(bytes);
            self.remind_server(tx);
        }
    }

    /// Sees to it that a server transaction is looked at in time.
    fn remind_server(&mut self, key: &Arc<str>) {
        if let Some(entry) = self.servers.get_mut(key) {
            let next = entry.tx.next();
            if next < entry.reminded {
                entry.reminded = next;
                self.timers.set(next, Reminder::Server(key.clone()));
            }
        }
    }

    // --- responses

    fn response(&mut self, response: &Message, flow: &Flow) {
        let Some(method) = response.cseq().map(|(_, method)| method) else {
            return;
        };
        let Some(branch) = response
            .top_via()
            .and_then(|via| via.branch().map(str::to_owned))
        else {
            return;
        };
        let key = transaction::client_key(&branch, method);
        let Some(entry) = self.clients.get_mut(&key) else {
            return;
        };
        let received = entry.tx.received(response, self.now);
        let (owner, way) = (entry.owner.clone(), entry.flow.clone());
        let invite_2xx = method == Method::Invite && (200..300).contains(&response.code());
        let request = if invite_2xx {
            entry.tx.request().clone()
        } else {
            Bytes::new()
        };
        self.remind_client(&key);
        match received {
            Received::Nothing => return,
            Received::AckAgain(ack) => {
                way.send(&ack);
                return;
            }
            Received::AckAndPass(ack) => {
                way.send(&ack);
            }
            Received::Pass => {}
        }
        match owner {
            Owner::Leg(key, purpose) if self.legs.contains_key(&key) => {
                self.step(key, |leg, cx| {
                    leg.response(purpose, &branch, response, flow, cx)
                });
            }
            Owner::Leg(..) if invite_2xx => self.hang_up_stray(response, &request, flow),
            Owner::Register(trunk) => self.registered(&trunk, response),
            Owner::Ping(trunk, target) => self.pinged(&trunk, target, true),
            Owner::Leg(..) | Owner::Nobody => {}
        }
    }

    /// A 2xx for a leg that is gone: nobody must be left waiting there.
    fn hang_up_stray(&mut self, response: &Message, invite: &[u8], flow: &Flow) {
        let Ok(invite) = Message::parse(invite) else {
            return;
        };
        let path = self.path(flow.clone());
        let mut out = Vec::new();
        let cx = Cx {
            now: self.now,
            ids: &self.ids,
            agent: &self.config.user_agent,
            out: &mut out,
        };
        let (ack, bye, branch, to) = stray(
            response,
            &super::dialog::Dialog::of_invite(&invite, path),
            flow,
            &cx,
        );
        to.send(&ack);
        self.send_request(Method::Bye, &branch, bye, to, Owner::Nobody);
    }

    // --- client transactions

    /// Sends a request in a new client transaction.
    pub(crate) fn send_request(
        &mut self,
        method: Method,
        branch: &str,
        bytes: Bytes,
        flow: Flow,
        owner: Owner,
    ) {
        let key = transaction::client_key(branch, method);
        if !flow.send(&bytes) {
            self.broken.push_back((owner, branch.to_owned()));
            return;
        }
        let tx = Client::new(method, bytes, flow.is_reliable(), self.now);
        self.clients.insert(
            key.clone(),
            ClientEntry {
                tx,
                flow,
                owner,
                method,
                reminded: NEVER,
            },
        );
        self.remind_client(&key);
    }

    /// Sees to it that a client transaction is looked at in time.
    fn remind_client(&mut self, key: &Arc<str>) {
        if let Some(entry) = self.clients.get_mut(key) {
            let next = entry.tx.next();
            if next < entry.reminded {
                entry.reminded = next;
                self.timers.set(next, Reminder::Client(key.clone()));
            }
        }
    }

    /// Tells the owners of requests that could not be sent.
    fn mend(&mut self) {
        while let Some((owner, branch)) = self.broken.pop_front() {
            self.unanswered(owner, &branch);
        }
    }

    fn unanswered(&mut self, owner: Owner, branch: &str) {
        match owner {
            Owner::Leg(key, purpose) => {
                self.step(key, |leg, cx| leg.unanswered(purpose, branch, cx))
            }
            Owner::Register(trunk) => self.register_unanswered(&trunk),
            Owner::Ping(trunk, target) => self.pinged(&trunk, target, false),
            Owner::Nobody => {}
        }
    }

    fn send_cancel(&mut self, branch: &str) {
        let key = transaction::client_key(branch, Method::Invite);
        let Some(entry) = self.clients.get_mut(&key) else {
            return;
        };
        entry.tx.cancelled(self.now);
        let (flow, bytes) = (entry.flow.clone(), transaction::cancel(entry.tx.request()));
        self.remind_client(&key);
        if let Some(bytes) = bytes {
            self.send_request(Method::Cancel, branch, bytes, flow, Owner::Nobody);
        }
    }

    // --- legs

    /// Takes a new leg in.
    pub(crate) fn hold(
        &mut self,
        key: LegKey,
        leg: SipLeg,
        media: MediaLeg,
        events: LegEvents,
        signals: Signals,
        trunk: Option<TrunkId>,
    ) {
        let untouched = leg.is_untouched();
        self.untouched += usize::from(untouched);
        let unsent = VecDeque::new();
        self.legs.insert(
            key,
            Held {
                leg,
                media,
                events,
                unsent,
                reminded: NEVER,
                trunk,
                untouched,
            },
        );
        self.listen(key, signals);
        self.settle(key);
    }

    fn listen(&mut self, key: LegKey, mut signals: Signals) {
        self.signals.push(Box::pin(async move {
            let signal = signals.recv().await;
            (key, signal, signals)
        }));
    }

    fn signalled(&mut self, key: LegKey, signal: Option<Signal>, signals: Signals) {
        match signal {
            Some(signal) => {
                self.step(key, |leg, cx| leg.signal(signal, cx));
                if self.legs.contains_key(&key) {
                    self.listen(key, signals);
                }
            }
            // Nobody holds the leg's handle any more.
            None => self.step(key, |leg, cx| {
                leg.hangup(crate::cause::Cause::FlowError, cx)
            }),
        }
        self.mend();
    }

    /// Lets a leg do something, and does what it asks for.
    pub(crate) fn step(&mut self, key: LegKey, act: impl FnOnce(&mut SipLeg, &mut Cx<'_>)) {
        let mut actions = std::mem::take(&mut self.actions);
        let Some(held) = self.legs.get_mut(&key) else {
            self.actions = actions;
            return;
        };
        let mut cx = Cx {
            now: self.now,
            ids: &self.ids,
            agent: &self.config.user_agent,
            out: &mut actions,
        };
        act(&mut held.leg, &mut cx);
        for action in actions.drain(..) {
            self.perform(key, action);
        }
        self.actions = actions;
        self.settle(key);
    }

    fn perform(&mut self, key: LegKey, action: Action) {
        match action {
            Action::Dial(hop) => self.dial(key, hop),
            Action::HopFailed(hop) => self.hop_failed(key, &hop),
            Action::Request {
                method,
                branch,
                bytes,
                flow,
                purpose,
            } => {
                self.send_request(method, &branch, bytes, flow, Owner::Leg(key, purpose));
            }
            Action::Send { bytes, flow } => {
                flow.send(&bytes);
            }
            Action::Respond { tx, code, bytes } => self.respond(&tx, code, &bytes),
            Action::Acknowledged { tx } => {
                if let Some(entry) = self.servers.get_mut(&tx) {
                    entry.tx.acknowledged(self.now);
                }
                self.remind_server(&tx);
            }
            Action::Cancel { branch } => self.send_cancel(&branch),
            Action::Abandon { branch } => {
                let key = transaction::client_key(&branch, Method::Invite);
                if let Some(entry) = self.clients.get_mut(&key) {
                    entry.tx.abandoned(self.now);
                }
                self.remind_client(&key);
            }
            other => self.tell(key, other),
        }
    }

    /// What concerns the leg's media and its call.
    fn tell(&mut self, key: LegKey, action: Action) {
        let Some(held) = self.legs.get_mut(&key) else {
            return;
        };
        match action {
            Action::Media(remote) => held.media.set_remote(*remote),
            Action::Established => held.media.established(),
            Action::Digit {
                symbol,
                duration_ms,
            } => {
                held.media.relay_digit(symbol, duration_ms);
                held.send(LegEvent::Dtmf {
                    symbol,
                    duration_ms,
                });
            }
            Action::Event(event) => held.send(event),
            Action::Ended(end) => {
                held.media.close();
                held.send(LegEvent::Ended(end));
            }
            _ => {}
        }
    }

    /// After a leg has acted: forget it when it is over, else remind of what comes next.
    fn settle(&mut self, key: LegKey) {
        let Some(held) = self.legs.get_mut(&key) else {
            return;
        };
        if held.untouched && !held.leg.is_untouched() {
            held.untouched = false;
            self.untouched -= 1;
        }
        if held.leg.is_over() && held.unsent.is_empty() {
            self.legs.remove(&key);
            return;
        }
        let retry = if held.unsent.is_empty() {
            NEVER
        } else {
            self.now + SINK_RETRY_MS
        };
        let next = held.leg.next().min(retry);
        if next < held.reminded {
            held.reminded = next;
            self.timers.set(next, Reminder::Leg(key));
        }
    }

    // --- time

    fn fire(&mut self) {
        while let Some(reminder) = self.timers.due(self.now) {
            match reminder {
                Reminder::Server(key) => self.server_due(key),
                Reminder::Client(key) => self.client_due(key),
                Reminder::Leg(key) => {
                    if let Some(held) = self.legs.get_mut(&key) {
                        held.reminded = NEVER;
                        held.flush();
                        self.step(key, SipLeg::due);
                    }
                }
                Reminder::Trunk(id) => self.trunk_due(&id),
                Reminder::Sweep => self.sweep(),
            }
            self.mend();
        }
    }

    fn server_due(&mut self, key: Arc<str>) {
        let Some(entry) = self.servers.get_mut(&key) else {
            return;
        };
        entry.reminded = NEVER;
        match entry.tx.due(self.now) {
            Due::Later => {}
            Due::Resend(bytes) => {
                entry.flow.send(&bytes);
            }
            end @ (Due::TimedOut | Due::Over) => {
                let leg = entry.leg;
                self.servers.remove(&key);
                if end == Due::TimedOut
                    && let Some(leg) = leg
                {
                    self.step(leg, |leg, cx| leg.unacknowledged(cx));
                }
                return;
            }
        }
        self.remind_server(&key);
    }

    fn client_due(&mut self, key: Arc<str>) {
        let Some(entry) = self.clients.get_mut(&key) else {
            return;
        };
        entry.reminded = NEVER;
        match entry.tx.due(self.now) {
            Due::Later => {}
            Due::Resend(bytes) => {
                entry.flow.send(&bytes);
            }
            end @ (Due::TimedOut | Due::Over) => {
                let (owner, method) = (entry.owner.clone(), entry.method);
                self.clients.remove(&key);
                if end == Due::TimedOut {
                    debug!(method = method.as_str(), "a request was not answered");
                    let branch = key.split(' ').next().unwrap_or_default();
                    self.unanswered(owner, branch);
                }
                return;
            }
        }
        self.remind_client(&key);
    }

    fn sweep(&mut self) {
        self.timers.set(self.now + SWEEP_MS, Reminder::Sweep);
        self.nonces.sweep(self.now);
        self.domains.sweep(self.now);
        self.routes.sweep(self.now);
        self.streams.retain(|_, flow| flow.is_open());
        if self.legs.is_empty() {
            self.legs.shrink_to(64);
        }
        self.servers.shrink_to(64);
        self.clients.shrink_to(64);
    }

    fn hang_up_all(&mut self) {
        let keys: Vec<_> = self.legs.keys().copied().collect();
        if !keys.is_empty() {
            warn!(legs = keys.len(), "hanging up what is left");
        }
        for key in keys {
            self.step(key, |leg, cx| {
                leg.hangup(crate::cause::Cause::ServerRestart, cx)
            });
        }
    }

    // --- who we are

    /// A flow and our own name on it.
    pub(crate) fn path(&mut self, flow: Flow) -> Path {
        let listening = self
            .sockets
            .iter()
            .find(|listening| listening.addr.is_ipv4() == flow.remote.is_ipv4());
        let port = match flow.transport {
            Transport::Tls => self.tls_port.unwrap_or_else(|| flow.local.port()),
            Transport::Tcp => {
                listening.map_or_else(|| flow.local.port(), |listening| listening.addr.port())
            }
            Transport::Udp => flow.local.port(),
        };
        let ip = self.own_ip(flow.local.ip(), flow.remote.ip());
        Path {
            flow,
            own: SocketAddr::new(ip, port),
        }
    }

    /// Our address as a peer can reach it.
    pub(crate) fn own_ip(&mut self, local: IpAddr, remote: IpAddr) -> IpAddr {
        match self.config.public_ip {
            Some(public) if public.is_ipv4() == remote.is_ipv4() => public,
            _ if local.is_unspecified() => self.routes.local_ip(remote, self.now),
            _ => local,
        }
    }

    /// A flow to an address by datagrams, from the socket that fits best.
    pub(crate) fn datagrams(&self, remote: SocketAddr, local: Option<SocketAddr>) -> Option<Flow> {
        let same_family = || {
            self.sockets
                .iter()
                .filter(|listening| listening.addr.is_ipv4() == remote.is_ipv4())
        };
        let listening = same_family()
            .find(|listening| Some(listening.addr) == local)
            .or_else(|| {
                same_family().find(|listening| {
                    listening.addr.ip().is_loopback() == remote.ip().is_loopback()
                })
            })
            .or_else(|| same_family().find(|listening| listening.addr.ip().is_unspecified()))
            .or_else(|| same_family().next())?;
        let link = Link::Datagrams(Arc::clone(&listening.socket));
        Some(Flow {
            transport: Transport::Udp,
            local: listening.addr,
            remote,
            link,
        })
    }
}

impl Held {
    /// Sends an event now, or keeps it behind those that wait.
    fn send(&mut self, event: LegEvent) {
        let droppable = matches!(event, LegEvent::Dtmf { .. });
        if !self.unsent.is_empty() {
            if !droppable {
                self.unsent.push_back(event);
            }
            return;
        }
        if let Err(event) = self.events.offer(event)
            && !droppable
        {
            self.unsent.push_back(event);
        }
    }

    fn flush(&mut self) {
        while let Some(event) = self.unsent.pop_front() {
            if let Err(event) = self.events.offer(event) {
                self.unsent.push_front(event);
                return;
            }
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

/// Where the responses to a request go (RFC 3261 §18.2.2, RFC 3581): to where it came from, but to
/// the port in its Via unless it asks otherwise.
pub(crate) fn way_back(request: &Message, flow: &Flow) -> Flow {
    match request.top_via() {
        Some(via) if flow.transport == Transport::Udp && !via.wants_rport() => {
            let port = via.port.unwrap_or_else(|| Transport::Udp.default_port());
            flow.towards(SocketAddr::new(flow.remote.ip(), port))
        }
        _ => flow.clone(),
    }
}
