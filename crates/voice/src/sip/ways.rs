//! Ways to peers, and our own name on each of them: sockets, streams, the routing table, names.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use tracing::debug;

use super::dns::{self, Place};
use super::edge::tls::ClientTls;
use super::edge::{Edge, stream};
use super::endpoint::Endpoint;
use super::flow::{Flow, Link, Path};
use crate::ports::{Transport, TrunkTarget};

/// How long a local address is remembered, ms.
const ROUTE_LIFE_MS: i64 = 60_000;
/// Most of them remembered.
const MAX_ROUTES: usize = 4_096;

/// What the routing table said lately.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    local: HashMap<IpAddr, (IpAddr, i64)>,
}

impl Routes {
    /// The local address of the route to a peer.
    pub(crate) fn local_ip(&mut self, remote: IpAddr, now: i64) -> IpAddr {
        if let Some((local, until)) = self.local.get(&remote)
            && now < *until
        {
            return *local;
        }
        let local = route_to(remote).unwrap_or_else(|| any_loopback(remote));
        if self.local.len() >= MAX_ROUTES {
            self.local.clear();
        }
        self.local.insert(remote, (local, now + ROUTE_LIFE_MS));
        local
    }

    pub(crate) fn sweep(&mut self, now: i64) {
        self.local.retain(|_, (_, until)| now < *until);
    }
}

/// Asks the routing table by connecting a socket, which sends nothing.
pub(crate) fn route_to(remote: IpAddr) -> Option<IpAddr> {
    let socket = UdpSocket::bind((any_address(remote), 0)).ok()?;
    socket.connect((remote, 9)).ok()?;
    socket.local_addr().ok().map(|addr| addr.ip())
}

/// The unspecified address of an address's family.
pub(crate) fn any_address(like: IpAddr) -> IpAddr {
    if like.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() }
}

fn any_loopback(like: IpAddr) -> IpAddr {
    if like.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() }
}

/// Whether a peer is told our public address: not beside us in a private network, where the
/// router may not lead it back, unless the address is of such a network itself.
fn is_shown(public: IpAddr, remote: IpAddr) -> bool {
    let same_family = public.is_ipv4() == remote.is_ipv4();
    same_family && !remote.is_loopback() && (is_private(public) || !is_private(remote))
}

/// RFC 1918, RFC 4193 and link-local.
fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

impl Endpoint {
    /// A flow and our own name on it.
    pub(crate) fn path(&mut self, flow: Flow) -> Path {
        let listening = self.sockets.iter().find(|listening| listening.addr.is_ipv4() == flow.remote.is_ipv4());
        let port = match flow.transport {
            Transport::Tls => self.tls_port.unwrap_or_else(|| flow.local.port()),
            Transport::Tcp => listening.map_or_else(|| flow.local.port(), |listening| listening.addr.port()),
            Transport::Udp | Transport::Ws | Transport::Wss => flow.local.port(),
        };
        let ip = self.own_ip(flow.local.ip(), flow.remote.ip());
        Path { flow, own: SocketAddr::new(ip, port) }
    }

    /// Our address as a peer can reach it.
    pub(crate) fn own_ip(&mut self, local: IpAddr, remote: IpAddr) -> IpAddr {
        match self.config.public_ip {
            Some(public) if is_shown(public, remote) => public,
            _ if local.is_unspecified() => self.routes.local_ip(remote, self.now),
            _ => local,
        }
    }

    /// A flow to an address by datagrams, from the socket that fits best.
    pub(crate) fn datagrams(&self, remote: SocketAddr, local: Option<SocketAddr>) -> Option<Flow> {
        let same_family = || self.sockets.iter().filter(|listening| listening.addr.is_ipv4() == remote.is_ipv4());
        let listening = same_family()
            .find(|listening| Some(listening.addr) == local)
            .or_else(|| same_family().find(|listening| listening.addr.ip().is_loopback() == remote.ip().is_loopback()))
            .or_else(|| same_family().find(|listening| listening.addr.ip().is_unspecified()))
            .or_else(|| same_family().next())?;
        let link = Link::Datagrams(Arc::clone(&listening.socket));
        Some(Flow { transport: Transport::Udp, local: listening.addr, remote, link })
    }

    /// An open stream to an address.
    pub(crate) fn stream(&self, transport: Transport, remote: SocketAddr) -> Option<Flow> {
        self.streams.get(&(transport, remote)).filter(|flow| flow.is_open()).cloned()
    }

    /// A path that leads nowhere yet: a leg has one before its first hop is found.
    pub(super) fn nowhere(&self) -> Option<Path> {
        let listening = self.sockets.first()?;
        let link = Link::Datagrams(Arc::clone(&listening.socket));
        let flow = Flow { transport: Transport::Udp, local: listening.addr, remote: listening.addr, link };
        Some(Path { flow, own: listening.addr })
    }

    /// The way to ourselves; the public address is no part of it, because it may not lead back.
    pub(crate) fn own_path(&self) -> Option<Path> {
        let listening = self.sockets.first()?;
        let ip = listening.addr.ip();
        let own = SocketAddr::new(if ip.is_unspecified() { any_loopback(ip) } else { ip }, listening.addr.port());
        let link = Link::Datagrams(Arc::clone(&listening.socket));
        let flow = Flow { transport: Transport::Udp, local: listening.addr, remote: own, link };
        Some(Path { flow, own })
    }

    /// A way to a place that needs no waiting: datagrams, or a stream that is open.
    pub(crate) fn way_to(&self, place: Place) -> Option<Flow> {
        match place.transport {
            Transport::Udp => self.datagrams(place.address, None),
            transport => self.stream(transport, place.address),
        }
    }

    /// Looks a name up and connects to the first of its addresses that may be used and answers. A name
    /// without a port is looked up as a service (RFC 3263 §4.2).
    pub(crate) fn reach<May>(
        &self,
        transport: Transport,
        host: String,
        port: Option<u16>,
        may: May,
    ) -> impl Future<Output = Option<Flow>> + use<May>
    where
        May: Fn(&str, SocketAddr) -> bool + Send,
    {
        let (edge, tls, sockets) = (self.edge.clone(), self.client_tls.clone(), self.own_sockets());
        let (resolver, ids) = (self.resolver.clone(), self.ids.clone());
        async move {
            let host = host.trim_matches(['[', ']']).to_owned();
            let target = TrunkTarget { host, port, transport, any_transport: false };
            let servers = dns::locate(&resolver, &target).await.servers;
            let places = dns::order(&servers, |bound| ids.below(bound));
            let found = places.into_iter().map(|place| place.address);
            let addresses = found.filter(|address| may(&target.host, *address)).collect();
            first_way(transport, &target.host, addresses, &sockets, &tls, &edge).await
        }
    }

    /// Connects to the first of some addresses that takes us; `name` is who must be there.
    pub(crate) fn reach_at(
        &self,
        transport: Transport,
        name: String,
        addresses: Vec<SocketAddr>,
    ) -> impl Future<Output = Option<Flow>> + use<> {
        let (edge, tls, sockets) = (self.edge.clone(), self.client_tls.clone(), self.own_sockets());
        async move { first_way(transport, &name, addresses, &sockets, &tls, &edge).await }
    }

    fn own_sockets(&self) -> Vec<(Arc<UdpSocket>, SocketAddr)> {
        self.sockets.iter().map(|listening| (Arc::clone(&listening.socket), listening.addr)).collect()
    }
}

async fn first_way(
    transport: Transport,
    name: &str,
    addresses: Vec<SocketAddr>,
    sockets: &[(Arc<UdpSocket>, SocketAddr)],
    tls: &ClientTls,
    edge: &Edge,
) -> Option<Flow> {
    if transport.is_web() {
        debug!(name, "nobody is called by WebSocket but those who have opened one");
        return None;
    }
    if addresses.is_empty() {
        debug!(name, "a name has no address");
    }
    for address in addresses {
        if transport == Transport::Udp {
            let socket = sockets.iter().find(|(_, local)| local.is_ipv4() == address.is_ipv4());
            if let Some((socket, local)) = socket {
                let link = Link::Datagrams(Arc::clone(socket));
                return Some(Flow { transport, local: *local, remote: address, link });
            }
        } else {
            match stream::connect(transport, address, name, tls, edge).await {
                Ok(flow) => return Some(flow),
                Err(error) => debug!(name, %address, %error, "a connection failed"),
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_address_is_shown_to_the_public() {
        let shown = |public: &str, remote: &str| is_shown(public.parse().unwrap(), remote.parse().unwrap());
        for remote in ["198.51.100.7", "100.64.0.9", "8.8.8.8"] {
            assert!(shown("203.0.113.9", remote), "{remote}");
        }
        for remote in ["127.0.0.1", "10.0.0.9", "192.168.1.20", "172.16.4.4", "169.254.1.1", "2001:db8::1"] {
            assert!(!shown("203.0.113.9", remote), "{remote}");
        }
        assert!(shown("192.168.1.10", "192.168.1.20"), "a container's host in the office");
        assert!(!shown("192.168.1.10", "127.0.0.1"));
        assert!(shown("2001:db8::1", "2001:db8:9::2") && !shown("2001:db8::1", "fd00::2"));
    }
}
