//! A trunk's own state: which of its targets to try first, and its registration with the carrier.
//!
//! Pure; the endpoint sends what is asked for and feeds the answers back.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;

use super::dns::{self, Located, Place, Server};
use super::flow::{Flow, Path};
use super::leg::{Hop, HopAddress, Login};
use super::message::{Draft, Message, Method, Name};
use super::transaction::NEVER;
use super::uri::{self, NameAddr, Uri};
use crate::ports::{Transport, TrunkConfig, TrunkState, TrunkTarget};

/// How long a target that failed is tried last, ms.
const DOWN_MS: i64 = 30_000;
/// What we ask the carrier to grant, seconds; longer when it insists (423).
const EXPIRES_S: u32 = 600;
/// The longest that a carrier may insist on, seconds.
const LONGEST_EXPIRES_S: u32 = 86_400;
/// Pauses between attempts to register, ms: doubled up to the longest.
const RETRY_MS: i64 = 5_000;
const LONGEST_RETRY_MS: i64 = 300_000;
/// How long an address of a target's name is believed after it was last seen there, ms.
const ADDRESS_LIFE_MS: i64 = 3_600_000;
/// Between two signs of life by a registration's way, which keep it open in the routers on it, ms: the
/// shortest that they forget is 30 s (RFC 5626 §4.4.1).
const ALIVE_MS: i64 = 25_000;
/// The sign of life (RFC 5626 §3.5.1).
const ALIVE: Bytes = Bytes::from_static(b"\r\n\r\n");
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

impl Trunk {
    pub(crate) fn new(config: TrunkConfig, call_id: String, tag: String, now: i64) -> Self {
        let login =
            config.username.clone().zip(config.password.clone()).map(|(user, password)| Login::new(user, password));
        let registration = config.register.then(|| Registration::new(call_id, tag, login, now));
        Self {
            down_until: vec![0; config.targets.len()],
            servers: vec![Vec::new(); config.targets.len()],
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

    /// A look-up of the targets is done; false when one of them was not found. A name server that is
    /// down takes no carrier away, and a name with more addresses than one answer holds gives others
    /// each time, so those seen lately stay sources of calls.
    pub(crate) fn located(&mut self, located: Vec<Located>, now: i64) -> bool {
        let mut complete = true;
        for (known, found) in self.servers.iter_mut().zip(located) {
            complete &= !found.servers.is_empty();
            if !found.servers.is_empty() {
                *known = found.servers;
            }
        }
        let current: HashSet<IpAddr> =
            self.servers.iter().flatten().flat_map(|server| &server.places).map(|place| place.address.ip()).collect();
        self.seen.retain(|(ip, until)| *until > now && !current.contains(ip));
        self.seen.extend(current.into_iter().map(|ip| (ip, now + ADDRESS_LIFE_MS)));
        complete
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
    let transport = match target.transport {
        Transport::Udp => "",
        Transport::Tcp => ";transport=tcp",
        Transport::Tls => ";transport=tls",
    };
    let at = if number.is_empty() { "" } else { "@" };
    Hop {
        uri: format!("sip:{}{at}{}{port}{transport}", uri::escape_user(number), authority(target)),
        routes: Vec::new(),
        to: HopAddress::Host { host: target.host.clone(), port: target.port, transport: target.transport },
    }
}

/// A registration with a carrier (RFC 3261 §10.2).
#[derive(Debug)]
pub(crate) struct Registration {
    call_id: String,
    tag: String,
    seq: u32,
    login: Option<Login>,
    /// Index of the target in use.
    pub(crate) target: usize,
    /// Where the REGISTER under way was sent.
    pub(crate) place: Option<SocketAddr>,
    /// When to register next; `NEVER` while a REGISTER is under way.
    pub(crate) next_at: i64,
    failures: u32,
    /// The way by which it went, once it was accepted: calls come in by it.
    pub(crate) flow: Option<Flow>,
    /// When the next sign of life goes by that way.
    pub(crate) alive_at: i64,
    /// What is asked for, seconds.
    expires_s: u32,
    /// Our Contact as it was sent last.
    contact: String,
}

/// What a response to a REGISTER of ours leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Registered {
    /// Nothing new yet.
    Waiting,
    /// Send it again at once, signed or for longer.
    Again,
    /// The state to report.
    Now(TrunkState),
}

impl Registration {
    fn new(call_id: String, tag: String, login: Option<Login>, now: i64) -> Self {
        Self {
            call_id,
            tag,
            seq: 0,
            login,
            target: 0,
            place: None,
            next_at: now,
            failures: 0,
            flow: None,
            alive_at: NEVER,
            expires_s: EXPIRES_S,
            contact: String::new(),
        }
    }

    /// The REGISTER to send along a path.
    pub(crate) fn request(
        &mut self,
        config: &TrunkConfig,
        domain: &str,
        path: &Path,
        branch: &str,
        agent: &str,
        cnonce: &str,
    ) -> Bytes {
        self.seq += 1;
        self.flow = Some(path.flow.clone());
        let user = config.username.clone().unwrap_or_default();
        let at = if user.is_empty() { "" } else { "@" };
        let address = format!("<sip:{}{at}{domain}>", uri::escape_user(&user));
        let uri = format!("sip:{domain}");
        self.contact = path.contact(&user);
        let mut draft = Draft::request(Method::Register, &uri)
            .field("Via", path.via(branch))
            .field("Max-Forwards", 70)
            .field("From", format_args!("{address};tag={}", self.tag))
            .field("To", &address)
            .field("Call-ID", &self.call_id)
            .field("CSeq", format_args!("{} REGISTER", self.seq))
            .field("Contact", &self.contact)
            .field("Expires", self.expires_s)
            .field("User-Agent", agent);
        if let Some(login) = self.login.as_mut() {
            draft = login.sign(draft, Method::Register, &uri, b"", cnonce);
        }
        self.next_at = NEVER;
        draft.finish()
    }

    /// Takes a response.
    pub(crate) fn response(&mut self, response: &Message, targets: usize, now: i64) -> Registered {
        let code = response.code();
        match code {
            ..200 => Registered::Waiting,
            200..300 => {
                if let Some(login) = self.login.as_mut() {
                    login.accepted();
                }
                self.failures = 0;
                let granted_s = self.granted(response).clamp(30, LONGEST_EXPIRES_S);
                // A little before the end, so that a lost round trip costs nothing.
                self.next_at = now + i64::from(granted_s) * 1_000 * 5 / 6;
                self.alive_at = now + ALIVE_MS;
                Registered::Now(TrunkState::Registered)
            }
            401 | 407 if self.login.as_mut().is_some_and(|login| login.challenged(response)) => Registered::Again,
            401 | 403 | 407 => {
                if let Some(login) = self.login.as_mut() {
                    login.accepted(); // a new round next time
                }
                self.next_at = now + LONGEST_RETRY_MS;
                self.alive_at = NEVER;
                Registered::Now(TrunkState::AuthFailed)
            }
            423 if self.stretched(response) => Registered::Again,
            _ => Registered::Now(self.unanswered(targets, now)),
        }
    }

    /// Asks for as long as a carrier that finds us too brief insists on (RFC 3261 §10.3); false when
    /// it names nothing longer.
    fn stretched(&mut self, response: &Message) -> bool {
        let least_s = response.number(Name::MinExpires).filter(|least_s| *least_s <= LONGEST_EXPIRES_S);
        let longer = least_s.filter(|least_s| *least_s > self.expires_s);
        self.expires_s = longer.unwrap_or(self.expires_s);
        longer.is_some()
    }

    /// What the registrar granted us: the parameter of our own Contact, of the only one when it was
    /// rewritten on the way; else Expires, else what we asked.
    fn granted(&self, response: &Message) -> u32 {
        let contacts: Vec<_> = response.elements(Name::Contact).filter_map(NameAddr::parse).collect();
        let own = NameAddr::parse(&self.contact).and_then(|contact| Uri::parse(contact.uri));
        let is_own = |contact: &&NameAddr<'_>| {
            own.zip(Uri::parse(contact.uri)).is_some_and(|(own, contact)| own.same_resource(&contact))
        };
        let ours = contacts.iter().find(is_own).or(if let [only] = &*contacts { Some(only) } else { None });
        ours.and_then(|contact| contact.param("expires")?.parse().ok())
            .or_else(|| response.number(Name::Expires))
            .unwrap_or(self.expires_s)
    }

    /// The target did not answer, or answered with a failure: the next one, after a pause.
    pub(crate) fn unanswered(&mut self, targets: usize, now: i64) -> TrunkState {
        self.target = (self.target + 1) % targets.max(1);
        // The first round over the other targets is at once.
        let round = self.failures / u32::try_from(targets.max(1)).unwrap_or(1);
        let first = self.target != 0;
        self.failures = self.failures.saturating_add(1);
        let pause = if first { 0 } else { (RETRY_MS << round.min(10)).min(LONGEST_RETRY_MS) };
        self.next_at = now + pause;
        self.alive_at = NEVER;
        TrunkState::Unreachable
    }

    /// Gives a sign of life when it is time. Nobody has to answer it; a way that is broken is found
    /// anew at once.
    pub(crate) fn stay_alive(&mut self, now: i64) {
        if self.alive_at > now {
            return;
        }
        self.alive_at = now + ALIVE_MS;
        if self.flow.as_ref().is_some_and(|flow| !flow.send(&ALIVE)) {
            (self.alive_at, self.next_at) = (NEVER, self.next_at.min(now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::Secret;

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

    fn response(code: u16, fields: &str) -> Message {
        Message::parse(format!("SIP/2.0 {code} X\r\n{fields}\r\n").as_bytes()).unwrap()
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

    fn locate(trunk: &mut Trunk, targets: [&[&str]; 3], now: i64) -> bool {
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
    fn calls_are_recognised_by_address_and_on_loopback_by_port_too() {
        let mut trunk = trunk();
        assert!(!locate(&mut trunk, [&["198.51.100.1:5060"], &["127.0.0.1:5080"], &[]], 0), "one was not found");
        assert!(trunk.sends_from("198.51.100.1".parse().unwrap(), [40_000, 40_000]));
        assert!(!trunk.sends_from("198.51.100.2".parse().unwrap(), [5_060, 5_060]));
        assert!(trunk.sends_from("127.0.0.1".parse().unwrap(), [40_000, 5_080]));
        assert!(!trunk.sends_from("127.0.0.1".parse().unwrap(), [40_000, 40_001]));
    }

    #[test]
    fn a_registration_is_signed_kept_and_moved_to_the_next_target() {
        let mut registration = trunk().registration.unwrap();
        let challenge = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\r\n";
        assert_eq!(registration.response(&response(401, challenge), 3, 0), Registered::Again);
        assert_eq!(registration.response(&response(401, challenge), 3, 0), Registered::Now(TrunkState::AuthFailed));
        assert_eq!(registration.next_at, LONGEST_RETRY_MS);
        let ok = response(200, "Contact: <sip:u@h>;expires=120\r\nExpires: 600\r\n");
        assert_eq!(registration.response(&ok, 3, 0), Registered::Now(TrunkState::Registered));
        assert_eq!(registration.next_at, 100_000);
        let mut attempts = Vec::new();
        for _ in 0..6 {
            registration.unanswered(3, 0);
            attempts.push((registration.target, registration.next_at));
        }
        assert_eq!(attempts, [(1, 0), (2, 0), (0, 5_000), (1, 0), (2, 0), (0, 10_000)]);
    }

    #[test]
    fn addresses_seen_lately_stay_and_a_failed_look_up_takes_none() {
        let mut trunk = trunk();
        let known = |trunk: &Trunk| {
            let mut known: Vec<String> = trunk.sources().map(|ip| ip.to_string()).collect();
            known.sort();
            known
        };
        assert!(locate(
            &mut trunk,
            [&["192.0.2.1:5060", "192.0.2.2:5060"], &["192.0.2.9:5080"], &["192.0.2.10:5060"]],
            0
        ));
        assert!(!locate(&mut trunk, [&["192.0.2.3:5060"], &[], &["192.0.2.10:5060"]], 60_000));
        assert_eq!(known(&trunk), ["192.0.2.1", "192.0.2.10", "192.0.2.2", "192.0.2.3", "192.0.2.9"]);
        let late = ADDRESS_LIFE_MS + 60_000;
        assert!(!locate(&mut trunk, [&[], &[], &[]], late), "the name server is down");
        assert_eq!(known(&trunk), ["192.0.2.10", "192.0.2.3", "192.0.2.9"], "what was found last is still believed");
    }

    #[test]
    fn a_carrier_that_wants_longer_registrations_gets_them_at_once() {
        let mut registration = trunk().registration.unwrap();
        let brief = response(423, "Min-Expires: 3600\r\n");
        assert_eq!(registration.response(&brief, 1, 0), Registered::Again);
        assert_eq!(registration.expires_s, 3_600);
        assert_eq!(registration.response(&brief, 1, 0), Registered::Now(TrunkState::Unreachable), "no endless round");
        let absurd = response(423, "Min-Expires: 4000000000\r\n");
        assert_eq!(registration.response(&absurd, 1, 0), Registered::Now(TrunkState::Unreachable));
        registration.response(&response(200, ""), 1, 0);
        assert_eq!(registration.next_at, 3_000_000, "granted as asked");
    }

    #[test]
    fn what_is_granted_is_read_from_our_own_contact() {
        let mut registration = trunk().registration.unwrap();
        registration.contact = "<sip:u@203.0.113.5:5060>".to_owned();
        let others = "Contact: <sip:u@192.0.2.77:5060>;expires=3000, <sip:u@203.0.113.5:5060>;expires=120\r\n";
        registration.response(&response(200, others), 1, 0);
        assert_eq!(registration.next_at, 100_000);
        let none = "Contact: <sip:u@192.0.2.77>;expires=3000, <sip:u@192.0.2.78>;expires=60\r\nExpires: 240\r\n";
        registration.response(&response(200, none), 1, 0);
        assert_eq!(registration.next_at, 200_000);
        registration.response(&response(200, "Contact: <sip:u@198.51.100.4:40000>;expires=60\r\n"), 1, 0);
        assert_eq!(registration.next_at, 50_000, "the only one is ours, rewritten on the way");
    }
}
