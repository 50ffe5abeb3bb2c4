//! The steps of RFC 3263 §4 for a trunk's target, and the order of RFC 2782 in which its servers are
//! tried.

use std::net::{IpAddr, SocketAddr};

use kernel::Ids;

use super::client::{Resolver, Unknown};
use super::wire::{Data, Kind, Record};
use crate::ports::{Transport, TrunkTarget};

/// Servers of one target that are kept.
const MAX_SERVERS: usize = 32;
/// How long an answer without a TTL holds, seconds.
const DEFAULT_TTL_S: u32 = 300;

/// One place to send to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) transport: Transport,
    pub(crate) address: SocketAddr,
}

/// One server of a target, at its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    /// Lower comes first: the rank of its transport, then its SRV priority.
    pub(crate) rank: (u16, u16),
    pub(crate) weight: u16,
    pub(crate) places: Vec<Place>,
}

/// The servers of a target, and for how long that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Located {
    /// None when nothing could be found out.
    pub(crate) servers: Vec<Server>,
    /// Seconds.
    pub(crate) ttl_s: u32,
}

/// Finds a target's servers.
pub(crate) async fn locate(resolver: &Resolver, target: &TrunkTarget) -> Located {
    let mut search = Search { resolver, servers: Vec::new(), ttl_s: DEFAULT_TTL_S };
    let port = target.port.unwrap_or_else(|| target.transport.default_port());
    if let Ok(ip) = target.host.parse::<IpAddr>() {
        search.add((0, 0), 0, target.transport, vec![SocketAddr::new(ip, port)]);
    } else {
        if target.port.is_none() {
            search.services(target).await;
        }
        if search.servers.is_empty() {
            let addresses = search.addresses(&target.host, port).await;
            search.add((0, 0), 0, target.transport, addresses);
        }
    }
    Located { servers: search.servers, ttl_s: search.ttl_s }
}

/// Where a target is now, for whoever asks before there is a server: every address, each once.
pub async fn addresses_of(target: &TrunkTarget, dns: Option<SocketAddr>) -> Vec<SocketAddr> {
    let located = locate(&Resolver::new(dns, Ids::os()), target).await;
    let places = located.servers.into_iter().flat_map(|server| server.places);
    let mut addresses: Vec<SocketAddr> = places.map(|place| place.address).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

struct Search<'a> {
    resolver: &'a Resolver,
    servers: Vec<Server>,
    ttl_s: u32,
}

impl Search<'_> {
    /// The SRV names of a target without a port, best first (RFC 3263 §4.1).
    async fn services(&mut self, target: &TrunkTarget) {
        let host = target.host.trim_end_matches('.');
        if !target.any_transport {
            return self.default_service(target.transport, host).await;
        }
        let named = self.named_services(host).await;
        if !named.is_empty() {
            for (rank, (transport, name)) in (0..).zip(named) {
                self.service(rank, transport, &name).await;
            }
            return;
        }
        for transport in [Transport::Udp, Transport::Tcp, Transport::Tls] {
            if self.servers.is_empty() {
                self.default_service(transport, host).await;
            }
        }
    }

    /// The hosts behind the SRV name that RFC 3263 gives a transport.
    async fn default_service(&mut self, transport: Transport, host: &str) {
        if let Some(name) = srv_name(transport, host) {
            self.service(0, transport, &name).await;
        }
    }

    /// What the domain's NAPTR records name, in their order.
    async fn named_services(&mut self, host: &str) -> Vec<(Transport, String)> {
        let records = self.ask(host, Kind::Naptr).await;
        let mut named: Vec<(u16, u16, Transport, String)> = records
            .into_iter()
            .filter_map(|data| match data {
                Data::Naptr { order, preference, flags, service, replacement } if flags.eq_ignore_ascii_case("s") => {
                    let transport = transport_of(&service)?;
                    (!replacement.is_empty()).then_some((order, preference, transport, replacement))
                }
                _ => None,
            })
            .collect();
        named.sort_by_key(|(order, preference, ..)| (*order, *preference));
        named.into_iter().take(MAX_SERVERS).map(|(_, _, transport, name)| (transport, name)).collect()
    }

    /// The hosts behind an SRV name.
    async fn service(&mut self, rank: u16, transport: Transport, name: &str) {
        for data in self.ask(name, Kind::Srv).await {
            // A target of "." says that there is no such service (RFC 2782).
            if let Data::Srv { priority, weight, port, target } = data
                && !target.is_empty()
            {
                let addresses = self.addresses(&target, port).await;
                self.add((rank, priority), weight, transport, addresses);
            }
        }
    }

    async fn addresses(&mut self, host: &str, port: u16) -> Vec<SocketAddr> {
        if !self.resolver.is_configured() {
            return tokio::net::lookup_host((host, port)).await.map(Iterator::collect).unwrap_or_default();
        }
        let mut found = self.ask(host, Kind::A).await;
        found.extend(self.ask(host, Kind::Aaaa).await);
        let address = |data| match data {
            Data::Address(ip) => Some(SocketAddr::new(ip, port)),
            Data::Srv { .. } | Data::Naptr { .. } => None,
        };
        found.into_iter().filter_map(address).collect()
    }

    /// What a question brings; its TTL counts.
    async fn ask(&mut self, name: &str, kind: Kind) -> Vec<Data> {
        let records: Result<Vec<Record>, Unknown> = self.resolver.ask(name, kind).await;
        let records = records.unwrap_or_default();
        self.ttl_s = records.iter().map(|record| record.ttl_s).fold(self.ttl_s, u32::min);
        records.into_iter().map(|record| record.data).collect()
    }

    fn add(&mut self, rank: (u16, u16), weight: u16, transport: Transport, addresses: Vec<SocketAddr>) {
        if !addresses.is_empty() && self.servers.len() < MAX_SERVERS {
            let places = addresses.into_iter().map(|address| Place { transport, address }).collect();
            self.servers.push(Server { rank, weight, places });
        }
    }
}

/// None for a WebSocket: we open none.
fn srv_name(transport: Transport, host: &str) -> Option<String> {
    match transport {
        Transport::Udp => Some(format!("_sip._udp.{host}")),
        Transport::Tcp => Some(format!("_sip._tcp.{host}")),
        Transport::Tls => Some(format!("_sips._tcp.{host}")),
        Transport::Ws | Transport::Wss => None,
    }
}

/// The services of RFC 3263 §4.1 that we speak.
fn transport_of(service: &str) -> Option<Transport> {
    let known = [("SIP+D2U", Transport::Udp), ("SIP+D2T", Transport::Tcp), ("SIPS+D2T", Transport::Tls)];
    known.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(service)).map(|(_, transport)| transport)
}

/// The places of servers in the order in which one call tries them: by rank, and within a rank by
/// weighted chance (RFC 2782). `below(n)` is a random number less than `n`.
pub(crate) fn order(servers: &[Server], mut below: impl FnMut(u64) -> u64) -> Vec<Place> {
    let mut left: Vec<&Server> = servers.iter().collect();
    // Those of no weight stand first, so that chance has to fall on them exactly.
    left.sort_by_key(|server| (server.rank, server.weight != 0));
    let mut places = Vec::new();
    while let Some(first) = left.first() {
        let rank = first.rank;
        let peers = || left.iter().take_while(|server| server.rank == rank);
        let sum: u64 = peers().map(|server| u64::from(server.weight)).sum();
        let mark = below(sum + 1);
        let mut running = 0;
        let chosen = peers()
            .position(|server| {
                running += u64::from(server.weight);
                running >= mark
            })
            .unwrap_or(0);
        places.extend(left.remove(chosen).places.iter().copied());
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(rank: (u16, u16), weight: u16, port: u16) -> Server {
        let address = SocketAddr::from(([192, 0, 2, 1], port));
        Server { rank, weight, places: vec![Place { transport: Transport::Udp, address }] }
    }

    fn ports(servers: &[Server], below: impl FnMut(u64) -> u64) -> Vec<u16> {
        order(servers, below).iter().map(|place| place.address.port()).collect()
    }

    #[test]
    fn ranks_are_kept_and_weights_decide_within_them() {
        let servers = [server((0, 20), 0, 1), server((1, 0), 9, 2), server((0, 10), 60, 3), server((0, 10), 40, 4)];
        assert_eq!(ports(&servers, |_| 0), [3, 4, 1, 2]);
        assert_eq!(ports(&servers, |sum| sum - 1), [4, 3, 1, 2], "the last of the weight");
        let mut first = [0, 0];
        for number in 0..101 {
            let mut numbers = std::iter::once(number).chain(std::iter::repeat(0));
            let chosen = ports(&servers, |sum| numbers.next().unwrap().min(sum - 1));
            first[usize::from(chosen[0] == 4)] += 1;
        }
        assert_eq!(first, [61, 40], "60 to 40, with the mark of zero for the first");
    }

    #[test]
    fn a_server_without_weight_has_the_smallest_chance() {
        let servers = [server((0, 0), 10, 1), server((0, 0), 0, 2)];
        assert_eq!(ports(&servers, |_| 0), [2, 1]);
        assert_eq!(ports(&servers, |sum| 1.min(sum - 1)), [1, 2]);
    }
}
