//! Carriers: the trunks of all organisations, kept registered and looked after.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tracing::{info, warn};

use super::admission::TrunkSource;
use super::dns::{self, Located, Place};
use super::draft::Draft;
use super::endpoint::{Endpoint, Outcome, Owner, Reminder};
use super::flow::Flow;
use super::leg::{Hop, HopAddress};
use super::message::{Message, Method};
use super::outbound::Order;
use super::registration::{Registered, Registration};
use super::transaction::NEVER;
use super::trunk::{PING_MS, Trunk, hop};
use crate::cause::Cause;
use crate::ports::{BoxFuture, PortError, PortResult, TrunkConfig, TrunkId, TrunkState};

/// How often the targets' names are looked up again, ms: as their records say, within these bounds.
const LOOKUP_MS: std::ops::RangeInclusive<i64> = 30_000..=300_000;
/// The same when one of them could not be looked up, ms.
const LOOKUP_RETRY_MS: i64 = 10_000;
/// Legs that wait for trunks to be read.
const MAX_WAITING: usize = 1_000;
/// After the trunks could not be read, ms.
const RELOAD_RETRY_MS: u64 = 5_000;
/// How long the first message waits for the trunks, ms.
const FIRST_READ_MS: u64 = 2_000;

/// The trunks by id.
#[derive(Default)]
pub(crate) struct Carriers {
    trunks: HashMap<TrunkId, Trunk>,
    /// When a trunk's names are looked up again.
    lookup_at: HashMap<TrunkId, i64>,
    /// Legs over trunks that are not known yet: a trunk that was made a moment ago.
    waiting: Vec<Order>,
}

/// What a job found out about carriers.
pub(crate) enum News {
    /// All trunks, as they are configured now.
    Trunks(PortResult<Vec<TrunkConfig>>),
    /// Where a trunk's targets are.
    Located(TrunkId, Vec<Located>),
    /// A way to a target, for a REGISTER or an OPTIONS.
    Way(TrunkId, usize, Method, Option<Flow>),
    /// A state was reported.
    Told,
}

impl Carriers {
    pub(crate) fn get(&self, id: &str) -> Option<&Trunk> {
        self.trunks.get(id)
    }

    /// Whose call to `user` may come from an address and these ports: one trunk an organisation. An
    /// account that is called, or a port that fits, says more than the address alone.
    pub(crate) fn sources(&self, ip: IpAddr, ports: [u16; 2], user: &str) -> Vec<TrunkSource> {
        let mut matching: Vec<&Trunk> = self.trunks.values().filter(|trunk| trunk.sends_from(ip, ports)).collect();
        if matching.len() > 1 {
            prefer(&mut matching, |trunk| trunk.config.username.as_deref() == Some(user));
            prefer(&mut matching, |trunk| trunk.is_at(ip, ports));
            matching.sort_by(|a, b| (&a.config.org, &a.config.id).cmp(&(&b.config.org, &b.config.id)));
            matching.dedup_by(|a, b| a.config.org == b.config.org);
        }
        matching.iter().map(|trunk| (trunk.config.id.clone(), trunk.config.org.clone())).collect()
    }

    /// Whether a user part is a trunk's own account, not a number.
    pub(crate) fn is_account(&self, id: &str, user: &str) -> bool {
        self.get(id).is_some_and(|trunk| trunk.config.username.as_deref() == Some(user))
    }
}

/// Keeps those that fit, when any does.
fn prefer(trunks: &mut Vec<&Trunk>, fits: impl Fn(&Trunk) -> bool) {
    if trunks.iter().any(|trunk| fits(trunk)) {
        trunks.retain(|trunk| fits(trunk));
    }
}

impl Endpoint {
    /// Reads the trunks before the first message is taken: a carrier's call that waits when the server starts would be
    /// asked to prove itself like a stranger's.
    pub(crate) async fn meet_carriers(&mut self) {
        let (ports, clock) = (Arc::clone(&self.ports), self.clock.clone());
        let trunks = tokio::select! {
            biased;
            trunks = ports.trunks() => trunks,
            () = clock.sleep(FIRST_READ_MS) => Err(PortError(format!("no answer in {FIRST_READ_MS} ms"))),
        };
        self.carriers_news(News::Trunks(trunks));
    }

    /// Reads the trunks in a job.
    pub(crate) fn reload_trunks(&mut self) {
        let (ports, clock) = (Arc::clone(&self.ports), self.clock.clone());
        self.start(Box::pin(async move {
            let mut trunks = ports.trunks().await;
            if trunks.is_err() {
                clock.sleep(RELOAD_RETRY_MS).await;
                trunks = ports.trunks().await;
            }
            Outcome::Carriers(Box::new(News::Trunks(trunks)))
        }));
    }

    /// Keeps a leg until the trunks have been read anew; one too many is refused.
    pub(crate) fn await_trunk(&mut self, order: Order) {
        if self.carriers.waiting.len() >= MAX_WAITING {
            return order.refuse(Cause::NoRoute);
        }
        if self.carriers.waiting.is_empty() {
            self.reload_trunks();
        }
        self.carriers.waiting.push(order);
    }

    pub(crate) fn carriers_news(&mut self, news: News) {
        match news {
            News::Trunks(Ok(configs)) => {
                self.take_trunks(configs);
                for order in std::mem::take(&mut self.carriers.waiting) {
                    self.originate_known(order);
                }
            }
            News::Trunks(Err(error)) => {
                warn!(%error, "the trunks could not be read");
                self.reload_trunks();
            }
            News::Located(id, located) => self.take_located(&id, located),
            News::Way(id, target, Method::Register, flow) => self.send_register(&id, target, flow),
            News::Way(id, target, _, flow) => self.send_ping(&id, target, flow),
            News::Told => {}
        }
    }

    /// Keeps what did not change, so that registrations go on.
    fn take_trunks(&mut self, configs: Vec<TrunkConfig>) {
        let mut old = std::mem::take(&mut self.carriers.trunks);
        for config in configs {
            let id = config.id.clone();
            let same = old.get(&id).is_some_and(|trunk| is_same(&trunk.config, &config));
            let trunk = match old.remove(&id) {
                Some(trunk) if same => trunk,
                _ => {
                    let tag = format!("{:016x}", u64::from_le_bytes(self.ids.bytes()));
                    Trunk::new(config, self.ids.token(), tag, self.now)
                }
            };
            self.carriers.trunks.insert(id.clone(), trunk);
            self.carriers.lookup_at.insert(id.clone(), 0);
            self.remind_trunk(&id);
        }
        let known: HashSet<TrunkId> = self.carriers.trunks.keys().cloned().collect();
        self.carriers.lookup_at.retain(|id, _| known.contains(id));
    }

    /// What a trunk has to do now.
    pub(crate) fn trunk_due(&mut self, id: &TrunkId) {
        let Some(trunk) = self.carriers.trunks.get_mut(id).filter(|trunk| trunk.reminded <= self.now) else {
            return; // an earlier reminder, which another has replaced
        };
        trunk.reminded = NEVER;
        let config = Arc::clone(&trunk.config);
        if self.carriers.lookup_at.get(id).is_some_and(|at| *at <= self.now) {
            self.carriers.lookup_at.insert(id.clone(), self.now + LOOKUP_MS.end());
            self.look_up(id, &config);
        }
        let Some(trunk) = self.carriers.trunks.get_mut(id) else {
            return;
        };
        let mut errands = Vec::new();
        if let Some(registration) = trunk.registration.as_mut() {
            registration.stay_alive(self.now);
        }
        if let Some(registration) = trunk.registration.as_mut().filter(|registration| registration.next_at <= self.now)
        {
            registration.next_at = NEVER;
            errands.push((registration.target, Method::Register));
        }
        if trunk.ping_at <= self.now {
            trunk.ping_at = self.now + PING_MS;
            errands.extend((0..config.targets.len()).map(|target| (target, Method::Options)));
        }
        for (target, method) in errands {
            self.find_target(id, target, method);
        }
        self.remind_trunk(id);
        if !config.register && !config.ping {
            self.report(id, TrunkState::Ready);
        }
    }

    fn remind_trunk(&mut self, id: &TrunkId) {
        if let Some(trunk) = self.carriers.trunks.get_mut(id) {
            let due_at = |registration: &Registration| registration.next_at.min(registration.alive_at);
            let register_at = trunk.registration.as_ref().map_or(NEVER, due_at);
            let lookup_at = self.carriers.lookup_at.get(id).copied().unwrap_or(NEVER);
            let next = register_at.min(trunk.ping_at).min(lookup_at);
            if next < trunk.reminded {
                trunk.reminded = next;
                self.timers.set(next, Reminder::Trunk(id.clone()));
            }
        }
    }

    /// Looks up where a trunk's targets are, and so where its calls may come from.
    fn look_up(&mut self, id: &TrunkId, config: &Arc<TrunkConfig>) {
        let (id, config) = (id.clone(), Arc::clone(config));
        let resolver = self.resolver.clone();
        self.start(Box::pin(async move {
            let mut all = Vec::with_capacity(config.targets.len());
            for target in &config.targets {
                all.push(dns::locate(&resolver, target).await);
            }
            Outcome::Carriers(Box::new(News::Located(id, all)))
        }));
    }

    fn take_located(&mut self, id: &TrunkId, located: Vec<Located>) {
        let now = self.now;
        let Some(trunk) = self.carriers.trunks.get_mut(id) else {
            return;
        };
        let ttl_s = located.iter().map(|found| found.ttl_s).min().unwrap_or(u32::MAX);
        let mut again_ms = (i64::from(ttl_s) * 1_000).clamp(*LOOKUP_MS.start(), *LOOKUP_MS.end());
        let looked_up = trunk.located(located, now);
        let name = &trunk.config.name;
        // Said when it changes: a name that is gone for the night is one line, not one every 10 s.
        for host in &looked_up.lost {
            warn!(trunk = name, host, "a target of the trunk was not found by DNS: calls go by what was known of it");
        }
        for host in &looked_up.back {
            info!(trunk = name, host, "a target of the trunk was found again by DNS");
        }
        if !looked_up.complete {
            again_ms = LOOKUP_RETRY_MS;
        }
        self.carriers.lookup_at.insert(id.clone(), now + again_ms);
        let friends = self.carriers.trunks.values().flat_map(Trunk::sources).collect();
        self.edge.gate.befriend(friends);
        self.remind_trunk(id);
    }

    /// Finds the way to a target, for a REGISTER or an OPTIONS.
    fn find_target(&mut self, id: &TrunkId, target: usize, method: Method) {
        let Some(config) = self.carriers.get(id).map(|trunk| Arc::clone(&trunk.config)) else {
            return;
        };
        let Some(to) = config.targets.get(target) else {
            return;
        };
        let (name, port, transport) = (to.host.clone(), to.port, to.transport);
        let place =
            self.carriers.get(id).and_then(|trunk| trunk.place(target, self.now, |bound| self.ids.below(bound)));
        if method == Method::Register
            && let Some(registration) = self.carriers.trunks.get_mut(id).and_then(|trunk| trunk.registration.as_mut())
        {
            registration.place = place.map(|place| place.address);
        }
        let literal = || Some(Place { transport, address: SocketAddr::new(name.parse().ok()?, port?) });
        let flow = place.or_else(literal).and_then(|place| self.way_to(place));
        if flow.is_some() {
            return self.carriers_news(News::Way(id.clone(), target, method, flow));
        }
        let reach: BoxFuture<'static, Option<Flow>> = match place {
            Some(place) => Box::pin(self.reach_at(place.transport, name, vec![place.address])),
            None => Box::pin(self.reach(transport, name, port, |_, _| true)),
        };
        let id = id.clone();
        self.start(Box::pin(async move {
            let flow = reach.await;
            Outcome::Carriers(Box::new(News::Way(id, target, method, flow)))
        }));
    }

    // --- registration

    fn send_register(&mut self, id: &TrunkId, target: usize, flow: Option<Flow>) {
        let Some(flow) = flow else {
            return self.register_unanswered(id);
        };
        let path = self.path(flow);
        let branch = self.branch();
        let cnonce = format!("{:016x}", u64::from_le_bytes(self.ids.bytes()));
        let agent = self.config.user_agent.clone();
        let Some(trunk) = self.carriers.trunks.get_mut(id) else {
            return;
        };
        let (config, domain) = (Arc::clone(&trunk.config), trunk.domain().unwrap_or_default());
        let Some(registration) = trunk.registration.as_mut().filter(|registration| registration.target == target)
        else {
            return;
        };
        let bytes = registration.request(&config, &domain, &path, &branch, &agent, &cnonce);
        self.send_request(Method::Register, &branch, bytes, path.flow, Owner::Register(id.clone()));
    }

    pub(crate) fn registered(&mut self, id: &TrunkId, response: &Message) {
        let Some(trunk) = self.carriers.trunks.get_mut(id) else {
            return;
        };
        let targets = trunk.config.targets.len();
        let Some(registration) = trunk.registration.as_mut() else {
            return;
        };
        let target = registration.target;
        match registration.response(response, targets, self.now) {
            Registered::Waiting => return,
            Registered::Again => return self.find_target(id, target, Method::Register),
            Registered::Now(state) => {
                if state == TrunkState::Registered {
                    trunk.answered(target);
                }
                self.report(id, state);
            }
        }
        self.remind_trunk(id);
    }

    pub(crate) fn register_unanswered(&mut self, id: &TrunkId) {
        let Some(trunk) = self.carriers.trunks.get_mut(id) else {
            return;
        };
        let targets = trunk.config.targets.len();
        if let Some(place) = trunk.registration.as_mut().and_then(|registration| registration.place.take()) {
            trunk.place_failed(place, self.now);
        }
        if let Some(registration) = trunk.registration.as_mut() {
            let state = registration.unanswered(targets, self.now);
            self.report(id, state);
        }
        self.remind_trunk(id);
    }

    // --- signs of life

    fn send_ping(&mut self, id: &TrunkId, target: usize, flow: Option<Flow>) {
        let Some(to) = self.carriers.get(id).and_then(|trunk| trunk.config.targets.get(target).cloned()) else {
            return;
        };
        let Some(flow) = flow else {
            return self.pinged(id, target, false);
        };
        let path = self.path(flow);
        let branch = self.branch();
        let uri = hop(&to, "").uri;
        let bytes = Draft::request(Method::Options, &uri)
            .field("Via", path.via(&branch))
            .field("Max-Forwards", 70)
            .field("From", format_args!("<sip:{}>;tag={:016x}", path.authority(), u64::from_le_bytes(self.ids.bytes())))
            .field("To", format_args!("<{uri}>"))
            .field("Call-ID", self.ids.token())
            .field("CSeq", "1 OPTIONS")
            .field("Contact", path.contact(""))
            .field("User-Agent", &self.config.user_agent)
            .finish();
        self.send_request(Method::Options, &branch, bytes, path.flow, Owner::Ping(id.clone(), target));
    }

    /// A target answered an OPTIONS, with whatever, or did not.
    pub(crate) fn pinged(&mut self, id: &TrunkId, target: usize, answered: bool) {
        let now = self.now;
        let Some(trunk) = self.carriers.trunks.get_mut(id) else {
            return;
        };
        let Some(to) = trunk.config.targets.get(target).cloned() else {
            return;
        };
        if answered {
            trunk.answered(target);
        } else {
            trunk.failed(&to.host, to.port, now);
        }
        if trunk.registration.is_none() {
            let state = if trunk.all_down(now) { TrunkState::Unreachable } else { TrunkState::Ready };
            self.report(id, state);
        }
    }

    /// A leg found a hop of no use: its trunk tries that target last for a while.
    pub(crate) fn hop_failed(&mut self, key: u64, hop: &Hop) {
        let trunk = self.legs.get(&key).and_then(|held| held.ties.trunk.clone());
        let Some(trunk) = trunk.and_then(|id| self.carriers.trunks.get_mut(&id)) else {
            return;
        };
        match &hop.to {
            HopAddress::Host { host, port, .. } => trunk.failed(host, *port, self.now),
            HopAddress::Place { place, .. } => trunk.place_failed(place.address, self.now),
            HopAddress::Registered { .. } | HopAddress::Open { .. } | HopAddress::Own => {}
        }
    }

    /// Reports a state that is new.
    fn report(&mut self, id: &TrunkId, state: TrunkState) {
        let Some(trunk) = self.carriers.trunks.get_mut(id).filter(|trunk| trunk.state != Some(state)) else {
            return;
        };
        trunk.state = Some(state);
        let (org, id, name) = (trunk.config.org.clone(), id.clone(), trunk.config.name.clone());
        info!(trunk = name, state = state.as_str(), "a trunk changed");
        let ports = Arc::clone(&self.ports);
        self.start(Box::pin(async move {
            if let Err(error) = ports.trunk_state(&org, &id, state).await {
                warn!(%error, "a trunk's state could not be stored");
            }
            Outcome::Carriers(Box::new(News::Told))
        }));
    }

    fn branch(&self) -> String {
        format!("z9hG4bK{:016x}", u64::from_le_bytes(self.ids.bytes()))
    }
}

/// Whether a configuration says the same as before.
fn is_same(a: &TrunkConfig, b: &TrunkConfig) -> bool {
    (&a.org, &a.name, &a.targets, &a.username, &a.password, &a.domain)
        == (&b.org, &b.name, &b.targets, &b.username, &b.password, &b.domain)
        && (a.register, a.ping, a.srtp) == (b.register, b.ping, b.srtp)
}
