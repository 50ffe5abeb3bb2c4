//! The addresses at which a browser finds a media thread's port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Addresses of the documentation (RFC 5737, RFC 3849): the way to them is the way to the world.
const WORLD: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))];

/// The candidates for a browser at `peer`, the likeliest first: the local address of the way to it, the public address
/// that is configured, the local address of the way to the world. `bound` is what the sockets are bound to; `route` asks
/// for the local address of a way.
pub(crate) fn candidates(
    bound: &[SocketAddr],
    public_ip: Option<IpAddr>,
    peer: IpAddr,
    route: impl Fn(IpAddr) -> Option<IpAddr>,
) -> Vec<SocketAddr> {
    let mut found: Vec<SocketAddr> = Vec::new();
    let mut add = |ip: IpAddr, port: u16| {
        let address = SocketAddr::new(ip, port);
        if !ip.is_unspecified() && !found.contains(&address) {
            found.push(address);
        }
    };
    // The peer's own family first.
    let mut bound = bound.to_vec();
    bound.sort_by_key(|local| local.is_ipv4() != peer.is_ipv4());
    for local in &bound {
        let is_near = |ip: &IpAddr| ip.is_ipv4() == local.is_ipv4();
        let public = public_ip.filter(is_near);
        if !local.ip().is_unspecified() {
            public.into_iter().chain([local.ip()]).for_each(|ip| add(ip, local.port()));
            continue;
        }
        let to_peer = Some(peer).filter(is_near).and_then(&route);
        let to_world = WORLD.iter().copied().find(is_near).and_then(&route);
        to_peer.into_iter().chain(public).chain(to_world).for_each(|ip| add(ip, local.port()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bound: &[&str], public: Option<&str>, peer: &str) -> Vec<String> {
        let bound: Vec<SocketAddr> = bound.iter().map(|text| text.parse().unwrap()).collect();
        let route = |to: IpAddr| match to {
            to if to.is_loopback() => Some(to),
            IpAddr::V4(_) => Some("10.0.0.5".parse().unwrap()),
            IpAddr::V6(_) => None,
        };
        let found = candidates(&bound, public.map(|ip| ip.parse().unwrap()), peer.parse().unwrap(), route);
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_browser_is_told_every_address_by_which_it_may_reach_us() {
        let any = ["0.0.0.0:3479", "[::]:3479"];
        assert_eq!(of(&any, None, "127.0.0.1"), ["127.0.0.1:3479", "10.0.0.5:3479"]);
        assert_eq!(of(&any, None, "10.0.0.9"), ["10.0.0.5:3479"]);
        assert_eq!(of(&any, Some("203.0.113.9"), "198.51.100.7"), ["10.0.0.5:3479", "203.0.113.9:3479"]);
        assert_eq!(of(&any, None, "::1"), ["[::1]:3479", "10.0.0.5:3479"]);
        assert_eq!(of(&["127.0.0.1:4000"], None, "198.51.100.7"), ["127.0.0.1:4000"]);
        assert_eq!(of(&["10.1.1.1:1"], Some("203.0.113.9"), "198.51.100.7"), ["203.0.113.9:1", "10.1.1.1:1"]);
        assert!(of(&[], Some("203.0.113.9"), "198.51.100.7").is_empty());
    }
}
