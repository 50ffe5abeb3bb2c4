//! Where a request really comes from, behind the operator's own proxies.
//!
//! Invariant: X-Forwarded-* is believed only from a trusted proxy, and only as far as the chain of trusted ones goes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::header::HOST;
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap};
use ipnet::IpNet;

use crate::kernel::Kernel;

/// The other end of the connection; our listeners put it into the request's extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// Our own port, which it has connected to.
    pub port: u16,
    /// Whether the connection itself is TLS.
    pub tls: bool,
}

/// Who really asks, as an extractor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// The address that limits count by.
    pub ip: IpAddr,
    /// Whether the request came by HTTPS, directly or through a trusted proxy: cookies are Secure then.
    pub https: bool,
}

impl Client {
    /// Reads the connection's peer and, if that is a trusted proxy, what it forwards.
    pub(super) fn find(extensions: &Extensions, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let peer = extensions.get::<Peer>().copied();
        let connected = || extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
        let address = peer.map(|peer| peer.address).or_else(connected);
        // Only a test without a connection has none.
        let ip = address.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip().to_canonical());
        let direct = Self { ip, https: peer.is_some_and(|peer| peer.tls) };
        let is_trusted = |ip: &IpAddr| trusted.iter().any(|network| network.contains(ip));
        if !is_trusted(&ip) {
            return direct;
        }
        let mut client = direct;
        for hop in forwarded_for(headers).into_iter().rev() {
            let Some(hop) = hop else { break };
            client.ip = hop;
            if !is_trusted(&hop) {
                break;
            }
        }
        if let Some(scheme) = last_item(headers, "x-forwarded-proto") {
            client.https = scheme.eq_ignore_ascii_case("https");
        }
        client
    }
}

impl Kernel {
    /// Where browsers reach this server, a URL without a path: the configured address, else as this request did.
    #[must_use]
    pub fn base_url(&self, client: Client, headers: &HeaderMap) -> String {
        if let Some(url) = &self.config.public_url {
            return url.trim_end_matches('/').to_owned();
        }
        let scheme = if client.https { "https" } else { "http" };
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        host.map_or_else(|| format!("http://{}", self.config.http), |host| format!("{scheme}://{host}"))
    }
}

/// Every hop of X-Forwarded-For, the farthest first; `None` where it is no address.
fn forwarded_for(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    headers
        .get_all("x-forwarded-for")
        .iter()
        .flat_map(|value| value.to_str().unwrap_or_default().split(','))
        .map(|hop| {
            let hop = hop.trim();
            let with_port = || hop.parse::<SocketAddr>().ok().map(|address| address.ip());
            hop.parse::<IpAddr>().ok().or_else(with_port).map(|ip| ip.to_canonical())
        })
        .collect()
}

fn last_item<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let value = headers.get_all(name).iter().next_back()?.to_str().ok()?;
    value.rsplit(',').next().map(str::trim)
}

impl<S: Sync> FromRequestParts<S> for Client {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let known = parts.extensions.get::<Self>().copied();
        Ok(known.unwrap_or_else(|| Self::find(&parts.extensions, &parts.headers, &[])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, tls: bool, headers: &[(&'static str, &str)]) -> (String, bool) {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let mut extensions = Extensions::new();
        extensions.insert(Peer { address: peer.parse().unwrap(), port: 80, tls });
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let found = Client::find(&extensions, &map, &trusted);
        (found.ip.to_string(), found.https)
    }

    #[test]
    fn forwarded_headers_count_only_from_trusted_proxies() {
        const FORWARDED: &str = "x-forwarded-for";
        let forged = [(FORWARDED, "1.2.3.4"), ("x-forwarded-proto", "https")];
        assert_eq!(client("192.0.2.1:9", false, &forged), ("192.0.2.1".into(), false));
        assert_eq!(client("10.0.0.1:9", false, &forged), ("1.2.3.4".into(), true));
        assert_eq!(client("10.0.0.1:9", true, &[("x-forwarded-proto", "http")]), ("10.0.0.1".into(), false));
        assert_eq!(client("10.0.0.1:9", true, &[]), ("10.0.0.1".into(), true));
        // The client wrote the first entry, the outer proxy the second, the inner one the third.
        let chain = [(FORWARDED, "9.9.9.9, 203.0.113.7"), (FORWARDED, "10.1.1.1")];
        assert_eq!(client("10.0.0.1:9", false, &chain).0, "203.0.113.7");
        assert_eq!(client("10.0.0.1:9", false, &[(FORWARDED, "9.9.9.9, junk, 10.1.1.1")]).0, "10.1.1.1");
        assert_eq!(client("10.0.0.1:9", false, &[(FORWARDED, "junk")]).0, "10.0.0.1");
        assert_eq!(client("10.0.0.1:9", false, &[(FORWARDED, "203.0.113.7:55")]).0, "203.0.113.7");
        assert_eq!(client("10.0.0.1:9", false, &[(FORWARDED, "[2001:db8::1]:55")]).0, "2001:db8::1");
        assert_eq!(client("[fd00::1]:9", false, &[(FORWARDED, "2001:db8::1")]).0, "2001:db8::1");
        assert_eq!(client("[::ffff:10.0.0.1]:9", false, &[(FORWARDED, "::ffff:8.8.8.8")]).0, "8.8.8.8");
    }
}
