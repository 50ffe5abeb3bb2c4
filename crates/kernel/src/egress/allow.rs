//! The operator's list of internal targets that users' URLs may reach: `[egress] allow`.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

/// An entry of the list that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is neither a CIDR, an address nor a host, with or without :port")]
pub struct BadEntry(String);

/// CIDRs, addresses and hosts, each for one port or for all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowList(Vec<Entry>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    place: Place,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Network(IpNet),
    Host(String),
}

impl AllowList {
    /// Reads the entries of the configuration.
    ///
    /// # Errors
    /// The first entry that cannot be read.
    pub fn parse<S: AsRef<str>>(entries: &[S]) -> Result<Self, BadEntry> {
        entries
            .iter()
            .map(|text| {
                let text = text.as_ref().trim();
                parse_entry(text).ok_or_else(|| BadEntry(text.to_owned()))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether a connection to `address` for `host` (as the URL names it) and `port` was opened by the operator.
    pub(super) fn permits(&self, host: &str, port: u16, address: IpAddr) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        let address = address.to_canonical();
        self.0.iter().any(|entry| {
            entry.port.is_none_or(|wanted| wanted == port)
                && match &entry.place {
                    Place::Network(network) => network.contains(&address),
                    Place::Host(name) => name.eq_ignore_ascii_case(host),
                }
        })
    }
}

fn parse_entry(text: &str) -> Option<Entry> {
    if let Some(place) = parse_network(text) {
        return Some(Entry { place, port: None });
    }
    if let Ok(socket) = text.parse::<SocketAddr>() {
        return Some(Entry { place: Place::Network(socket.ip().to_canonical().into()), port: Some(socket.port()) });
    }
    let (place, port) = match text.rsplit_once(':') {
        None => (text, None),
        Some((place, port)) => (place, Some(port.parse::<u16>().ok().filter(|port| *port > 0)?)),
    };
    let unbracketed = place.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let place = match unbracketed {
        Some(v6) => parse_network(v6)?,
        // Without brackets a colon more is an IPv6 address gone wrong.
        None if place.contains(':') => return None,
        None => parse_network(place).or_else(|| parse_host(place))?,
    };
    Some(Entry { place, port })
}

fn parse_network(text: &str) -> Option<Place> {
    let network = text.parse::<IpNet>().ok();
    let address = || Some(IpNet::from(text.parse::<IpAddr>().ok()?.to_canonical()));
    network.or_else(address).map(Place::Network)
}

fn parse_host(text: &str) -> Option<Place> {
    let good = !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
        // 10.0.0 or 300.1.1.1: meant as an address, and no host name ends in a number.
        && !text.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    good.then(|| Place::Host(text.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permits(entry: &str, host: &str, port: u16, address: &str) -> bool {
        AllowList::parse(&[entry]).unwrap().permits(host, port, address.parse().unwrap())
    }

    #[test]
    fn each_form_of_entry() {
        assert!(permits("10.0.0.0/8", "x", 1, "10.2.3.4"));
        assert!(!permits("10.0.0.0/8", "x", 1, "11.0.0.1"));
        assert!(permits("10.0.0.0/8:80", "x", 80, "10.2.3.4"));
        assert!(!permits("10.0.0.0/8:80", "x", 81, "10.2.3.4"));
        assert!(permits("127.0.0.1", "x", 1, "127.0.0.1"));
        assert!(permits("127.0.0.1", "x", 1, "::ffff:127.0.0.1"));
        assert!(permits("127.0.0.1:8080", "x", 8080, "127.0.0.1"));
        assert!(!permits("127.0.0.1:8080", "x", 22, "127.0.0.1"));
        assert!(permits("::1", "x", 1, "::1"));
        assert!(permits("[::1]:5", "x", 5, "::1") && !permits("[::1]:5", "x", 6, "::1"));
        assert!(permits("fd00::/8", "x", 1, "fd00::1"));
        assert!(permits("[fd00::/8]:443", "x", 443, "fd00::1"));
        assert!(permits("crm.internal:8443", "CRM.internal.", 8443, "10.0.0.1"));
        assert!(!permits("crm.internal:8443", "crm.internal", 80, "10.0.0.1"));
        assert!(!permits("crm.internal", "evil-crm.internal", 80, "10.0.0.1"));
        assert!(permits("localhost", "localhost", 80, "127.0.0.1"));
    }

    #[test]
    fn bad_entries_are_named() {
        for bad in
            ["", "10.0.0.0/33", "300.1.1.1", "10.0.0", "host:", "host:0", "host:99999", "http://x", "a b", "::1:", "*"]
        {
            let said = AllowList::parse(&[bad]).map(|_| ()).unwrap_err().to_string();
            assert!(said.contains(&format!("\"{bad}\"")), "{said}");
        }
    }
}
