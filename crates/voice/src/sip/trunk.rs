//! A trunk's own state: which of its targets to try first, and who may call from them.
//!
//! Pure; the endpoint sends what is asked for and feeds the answers back.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::dns::{self, Located, Place, Server};
use super::leg::{Hop, HopAddress, Login};
use super::registration::Registration;
use super::transaction::NEVER;
use super::uri;
use crate::ports::{TrunkConfig, TrunkState, TrunkTarget};

/// How long a target that failed is tried last, ms.
const DOWN_MS: i64 = 30_000;
/// How long an address of a target's name is believed after it was last seen there, ms.
const ADDRESS_LIFE_MS: i64 = 3_600_000;
/// Between two signs of life asked for by OPTIONS, ms.
pub(crate) const PING_MS: i64 = 30_000;

/// A trunk and how it fares.
#[derive(Debug)]
pub(crate) struct Trunk {
    pub(crate) config: Arc<TrunkConfig>,
    /// By target: when it may be tried in its turn again.
    down_until: Vec<i64>,
    /// By target: the servers that were found, none before the first look-up. Its calls may come from there.
    servers: Vec<Vec<Server>>,
    /// By target: the last look-up found nothing.
    lost: Vec<bool>,
    /// The addresses of all of them, and until when each is believed.
    seen: Vec<(IpAddr, i64)>,
    /// Until when a place that failed is tried last.
    down_places: HashMap<SocketAddr, i64>,
    pub(crate) registration: Option<Registration>,
    pub(crate) ping_at: i64,
    /// The reminder that is set.
    pub(crate) reminded: i64,
    /// Told last.
    pub(crate) state: Option<TrunkState>,
}

/// What a look-up of a trunk's targets told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LookedUp {
    /// Every target was found.
    pub(crate) complete: bool,
    /// Hosts that are not found, and were before.
    pub(crate) lost: Vec<String>,
    /// Hosts that are found again.
    pub(crate) back: Vec<String>,
}

impl Trunk {
    pub(crate) fn new(config: TrunkConfig, call_id: String, tag: String, now: i64) -> Self {
        let login =
            config.username.clone().zip(config.password.clone()).map(|(user, password)| Login::new(user, password));
        let registration = config.register.then(|| Registration::new(call_id, tag, login, now));
        Self {
            down_until: vec![0; config.targets.len()],
            servers: vec![Vec::new(); config.targets.len()],
            lost: vec![false; config.targets.len()],
            seen: Vec::new(),
            down_places: HashMap::new(),
            ping_at: if config.ping { now } else { NEVER },
            registration,
            reminded: NEVER,
            state: None,
            config: Arc::new(config),
        }
    }

    /// The targets in the order in which they are tried, with their servers: those that failed lately come last.
    fn order(&self, now: i64) -> Vec<(&TrunkTarget, &[Server])> {
        let targets = self.config.targets.iter().zip(&self.servers).zip(&self.down_until);
        let (up, down): (Vec<_>, Vec<_>) = targets.partition(|(_, until)| **until <= now);
        up.into_iter().chain(down).map(|((target, servers), _)| (target, servers.as_slice())).collect()
    }

    /// The hops of a call to a number: each place of each target. `below(n)` is a random number less than `n`.
    pub(crate) fn hops(&self, number: &str, now: i64, below: impl Fn(u64) -> u64) -> Vec<Hop> {
        let mut hops = Vec::new();
        for (target, servers) in self.order(now) {
            if servers.is_empty() {
                hops.push(hop(target, number));
            }
            for place in dns::order(servers, &below) {
                let to = HopAddress::Place { place, name: target.host.clone() };
                hops.push(Hop { to, ..hop(target, number) });
            }
        }
        let is_down =
            |hop: &Hop| matches!(&hop.to, HopAddress::Place { place, .. } if self.is_down(place.address, now));
        let (down, up): (Vec<Hop>, Vec<Hop>) = hops.into_iter().partition(is_down);
        up.into_iter().chain(down).collect()
    }

    /// Where a target is asked now, for a REGISTER or an OPTIONS.
    pub(crate) fn place(&self, target: usize, now: i64, below: impl FnMut(u64) -> u64) -> Option<Place> {
        let places = dns::order(self.servers.get(target)?, below);
        places.iter().find(|place| !self.is_down(place.address, now)).or(places.first()).copied()
    }

    /// A place did not answer, or is full.
    pub(crate) fn place_failed(&mut self, address: SocketAddr, now: i64) {
        self.down_places.retain(|_, until| *until > now);
        self.down_places.insert(address, now + DOWN_MS);
        for (servers, until) in self.servers.iter().zip(&mut self.down_until) {
            let mut places = servers.iter().flat_map(|server| &server.places);
            let all_down = places.all(|place| self.down_places.contains_key(&place.address));
            if !servers.is_empty() && all_down {
                *until = now + DOWN_MS;
            }
        }
    }

    fn is_down(&self, address: SocketAddr, now: i64) -> bool {
        self.down_places.get(&address).is_some_and(|until| *until > now)
    }

    /// A target did not answer, or is full.
    pub(crate) fn failed(&mut self, host: &str, port: Option<u16>, now: i64) {
        for (target, until) in self.config.targets.iter().zip(&mut self.down_until) {
            if target.host.eq_ignore_ascii_case(host) && target.port == port {
                *until = now + DOWN_MS;
            }
        }
    }

    /// A target answered.
    pub(crate) fn answered(&mut self, index: usize) {
        if let Some(until) = self.down_until.get_mut(index) {
            *until = 0;
        }
    }

    /// Whether every target failed lately.
    pub(crate) fn all_down(&self, now: i64) -> bool {
        self.down_until.iter().all(|until| *until > now)
    }

    /// A look-up of the targets is done. A name server that is
    /// down takes no carrier away, and a name with more addresses than one answer holds gives others
    /// each time, so those seen lately stay sources of calls.
    pub(crate) fn located(&mut self, located: Vec<Located>, now: i64) -> LookedUp {
        let mut looked_up = LookedUp { complete: true, lost: Vec::new(), back: Vec::new() };
        let known = self.servers.iter_mut().zip(&mut self.lost).zip(&self.config.targets);
        for (((servers, was_lost), target), found) in known.zip(located) {
            let is_lost = found.servers.is_empty();
            match (std::mem::replace(was_lost, is_lost), is_lost) {
                (false, true) => looked_up.lost.push(target.host.clone()),
                (true, false) => looked_up.back.push(target.host.clone()),
                _ => {}
            }
            looked_up.complete &= !is_lost;
            if !is_lost {
                *servers = found.servers;
            }
        }
        let current: HashSet<IpAddr> =
            self.servers.iter().flatten().flat_map(|server| &server.places).map(|place| place.address.ip()).collect();
        self.seen.retain(|(ip, until)| *until > now && !current.contains(ip));
        self.seen.extend(current.into_iter().map(|ip| (ip, now + ADDRESS_LIFE_MS)));
        looked_up
    }

    /// All addresses its calls may come from.
    pub(crate) fn sources(&self) -> impl Iterator<Item = IpAddr> {
        self.seen.iter().map(|(ip, _)| *ip)
    }

    /// The domain of From and REGISTER.
    pub(crate) fn domain(&self) -> Option<String> {
        let target = self.config.targets.first()?;
        Some(self.config.domain.clone().unwrap_or_else(|| authority(target)))
    }

    /// Whether a call from this address and these ports (its own, and what its Via says) is this
    /// trunk's. Beyond loopback the address is enough: carriers send from many ports.
    pub(crate) fn sends_from(&self, ip: IpAddr, ports: [u16; 2]) -> bool {
        if ip.is_loopback() { self.is_at(ip, ports) } else { self.seen.iter().any(|(known, _)| *known == ip) }
    }

    /// Whether one of its targets is at this address and at one of these ports.
    pub(crate) fn is_at(&self, ip: IpAddr, ports: [u16; 2]) -> bool {
        let mut places = self.servers.iter().flatten().flat_map(|server| &server.places);
        places.any(|place| place.address.ip() == ip && ports.contains(&place.address.port()))
    }
}

fn authority(target: &TrunkTarget) -> String {
    match target.host.parse::<IpAddr>() {
        Ok(ip) => uri::host_text(ip),
        Err(_) => target.host.clone(),
    }
}

/// A target as a hop to a number; an empty number addresses the target itself.
pub(crate) fn hop(target: &TrunkTarget, number: &str) -> Hop {
    let port = target.port.map(|port| format!(":{port}")).unwrap_or_default();
    let transport = target.transport.uri_parameter();
    let at = if number.is_empty() { "" } else { "@" };
    Hop {
        uri: format!("sip:{}{at}{}{port}{transport}", uri::escape_user(number), authority(target)),
        routes: Vec::new(),
        to: HopAddress::Host { host: target.host.clone(), port: target.port, transport: target.transport },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::Secret;
    use crate::ports::Transport;

    fn target(host: &str, port: Option<u16>) -> TrunkTarget {
        TrunkTarget { host: host.to_owned(), port, transport: Transport::Udp, any_transport: false }
    }

    fn trunk() -> Trunk {
        let config = TrunkConfig {
            id: "t".into(),
            org: "o".into(),
            name: "carrier".to_owned(),
            targets: vec![target("a.example", None), target("192.0.2.9", Some(5080)), target("2001:db8::1", None)],
            username: Some("u".to_owned()),
            password: Some(Secret::new("p")),
            domain: None,
            register: true,
            ping: false,
            srtp: false,
        };
        Trunk::new(config, "call".to_owned(), "tag".to_owned(), 0)
    }

    #[test]
    fn a_target_that_failed_comes_last_for_a_while() {
        let mut trunk = trunk();
        let hosts =
            |trunk: &Trunk, now| trunk.order(now).iter().map(|(target, _)| target.host.clone()).collect::<Vec<_>>();
        assert_eq!(hosts(&trunk, 0), ["a.example", "192.0.2.9", "2001:db8::1"]);
        trunk.failed("A.example", None, 0);
        assert_eq!(hosts(&trunk, 1), ["192.0.2.9", "2001:db8::1", "a.example"]);
        assert_eq!(hosts(&trunk, DOWN_MS), ["a.example", "192.0.2.9", "2001:db8::1"]);
        let uris: Vec<_> = trunk.hops("+44 20", DOWN_MS, |_| 0).into_iter().map(|hop| hop.uri).collect();
        assert_eq!(uris, ["sip:+44%2020@a.example", "sip:+44%2020@192.0.2.9:5080", "sip:+44%2020@[2001:db8::1]"]);
    }

    fn found(addresses: &[&str]) -> Vec<Server> {
        let place = |address: &&str| Place { transport: Transport::Udp, address: address.parse().unwrap() };
        let server = |(priority, address)| Server { rank: (0, priority), weight: 0, places: vec![place(address)] };
        (0..).zip(addresses).map(server).collect()
    }

    fn locate(trunk: &mut Trunk, targets: [&[&str]; 3], now: i64) -> LookedUp {
        let located = targets.map(|addresses| Located { servers: found(addresses), ttl_s: 60 });
        trunk.located(located.into(), now)
    }

    #[test]
    fn a_place_that_failed_comes_after_all_others_for_a_while() {
        let mut trunk = trunk();
        trunk.servers = vec![found(&["198.51.100.1:5060", "198.51.100.2:5060"]), found(&["192.0.2.9:5080"]), vec![]];
        let places = |trunk: &Trunk, now| {
            let to = |hop: Hop| match hop.to {
                HopAddress::Place { place, name } => (name, place.address.to_string()),
                other => (format!("{other:?}"), String::new()),
            };
            trunk.hops("1", now, |_| 0).into_iter().map(to).take(3).map(|(_, address)| address).collect::<Vec<_>>()
        };
        assert_eq!(places(&trunk, 0), ["198.51.100.1:5060", "198.51.100.2:5060", "192.0.2.9:5080"]);
        trunk.place_failed("198.51.100.1:5060".parse().unwrap(), 0);
        assert_eq!(places(&trunk, 1), ["198.51.100.2:5060", "192.0.2.9:5080", ""]);
        assert!(!trunk.all_down(1));
        trunk.place_failed("198.51.100.2:5060".parse().unwrap(), 1);
        assert_eq!(trunk.order(2)[0].0.host, "192.0.2.9", "a target without a place that works is down");
        assert_eq!(places(&trunk, DOWN_MS + 1), ["198.51.100.1:5060", "198.51.100.2:5060", "192.0.2.9:5080"]);
    }

    #[test]
    fn a_host_is_called_lost_and_back_once_each() {
        let mut trunk = trunk();
        let there: &[&str] = &["192.0.2.1:5060"];
        let mut told = Vec::new();
        for (now, first) in [there, &[], &[], there, there, &[]].into_iter().enumerate() {
            let looked_up = locate(&mut trunk, [first, there, there], now as i64);
            assert_eq!(looked_up.complete, !first.is_empty());
            told.push((looked_up.lost.concat(), looked_up.back.concat()));
        }
        let told: Vec<_> = told.iter().map(|(lost, back)| (lost.as_str(), back.as_str())).collect();
        let quiet = ("", "");
        assert_eq!(told, [quiet, ("a.example", ""), quiet, ("", "a.example"), quiet, ("a.example", "")]);
    }

    #[test]
    fn calls_are_recognised_by_address_and_on_loopback_by_port_too() {
        let mut trunk = trunk();
        assert!(
            !locate(&mut trunk, [&["198.51.100.1:5060"], &["127.0.0.1:5080"], &[]], 0).complete,
            "one was not found"
        );
        assert!(trunk.sends_from("198.51.100.1".parse().unwrap(), [40_000, 40_000]));
        assert!(!trunk.sends_from("198.51.100.2".parse().unwrap(), [5_060, 5_060]));
        assert!(trunk.sends_from("127.0.0.1".parse().unwrap(), [40_000, 5_080]));
        assert!(!trunk.sends_from("127.0.0.1".parse().unwrap(), [40_000, 40_001]));
    }

    #[test]
    fn addresses_seen_lately_stay_and_a_failed_look_up_takes_none() {
        let mut trunk = trunk();
        let known = |trunk: &Trunk| {
            let mut known: Vec<String> = trunk.sources().map(|ip| ip.to_string()).collect();
            known.sort();
            known
        };
        assert!(
            locate(&mut trunk, [&["192.0.2.1:5060", "192.0.2.2:5060"], &["192.0.2.9:5080"], &["192.0.2.10:5060"]], 0)
                .complete
        );
        assert!(!locate(&mut trunk, [&["192.0.2.3:5060"], &[], &["192.0.2.10:5060"]], 60_000).complete);
        assert_eq!(known(&trunk), ["192.0.2.1", "192.0.2.10", "192.0.2.2", "192.0.2.3", "192.0.2.9"]);
        let late = ADDRESS_LIFE_MS + 60_000;
        assert!(!locate(&mut trunk, [&[], &[], &[]], late).complete, "the name server is down");
        assert_eq!(known(&trunk), ["192.0.2.10", "192.0.2.3", "192.0.2.9"], "what was found last is still believed");
    }
}
