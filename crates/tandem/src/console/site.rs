//! Where this server is reached, for the links that it hands out by mail and on the terminal.
//!
//! Invariant: a link that somebody else asked for never takes its host from that request.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use kernel::{Config, Secret};

/// The server's address for browsers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Site(Arc<str>);

impl Site {
    /// The configured address, else that of HTTPS or HTTP as far as a browser can reach it.
    pub fn of(config: &Config, http: SocketAddr, https: Option<SocketAddr>) -> Self {
        let base = match (&config.public_url, https) {
            (Some(url), _) => url.trim_end_matches('/').to_owned(),
            (None, Some(https)) => format!("https://{}", reachable(https)),
            (None, None) => format!("http://{}", reachable(http)),
        };
        Self(base.into())
    }

    /// The address of a page, from its path.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }

    /// The address of a link that signs in once.
    pub fn sign_in(&self, link: &Secret) -> String {
        self.url(&format!("/console/link/{}", link.expose()))
    }
}

/// An address that a program on this machine can reach.
pub fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::from((Ipv4Addr::LOCALHOST, address.port())),
        IpAddr::V6(ip) if ip.is_unspecified() => SocketAddr::from((Ipv4Addr::LOCALHOST, address.port())),
        _ => address,
    }
}

/// This machine's address in its network: that of the route outwards. Nothing is sent.
pub fn outward_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_name_the_public_address_else_what_listens() {
        let http = SocketAddr::from(([0, 0, 0, 0], 8080));
        let https = Some(SocketAddr::from(([192, 0, 2, 1], 8443)));
        let plain = Config::default();
        assert_eq!(Site::of(&plain, http, None).url("/console"), "http://127.0.0.1:8080/console");
        assert_eq!(Site::of(&plain, http, https).url("/console"), "https://192.0.2.1:8443/console");
        let public = Config { public_url: Some("https://calls.example.org/".into()), ..Config::default() };
        assert_eq!(Site::of(&public, http, https).url("/console"), "https://calls.example.org/console");
    }
}
