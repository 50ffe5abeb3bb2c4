//! The ways that a call may take, one after the other.

use std::net::SocketAddr;

use crate::ports::Transport;
use crate::sip::dns::Place;
use crate::sip::message::{Message, Name};
use crate::sip::uri::{NameAddr, Uri};

/// One way to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hop {
    /// Request-URI.
    pub(crate) uri: String,
    /// Route fields.
    pub(crate) routes: Vec<String>,
    /// Where to send.
    pub(crate) to: HopAddress,
}

/// Where a hop is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HopAddress {
    /// On the flow of a registration; its Contact's address when that flow is a stream that is gone.
    Registered { transport: Transport, source: SocketAddr, local: SocketAddr },
    /// A place that was found for a name, which its certificate has to bear.
    Place { place: Place, name: String },
    /// Ourselves.
    Own,
    /// By name or address, as a user wrote it: only where the ports allow it.
    Open { host: String, port: Option<u16>, transport: Transport },
    /// By name or address.
    Host { host: String, port: Option<u16>, transport: Transport },
}

impl Hop {
    /// The hops that a 3xx names, inside the hop that sent it: a stranger's address is no target, only another user name is.
    pub(super) fn redirected(&self, response: &Message) -> impl Iterator<Item = Self> {
        let own_host = Uri::parse(&self.uri).map(|uri| uri.host.to_owned()).unwrap_or_default();
        let uris = response.elements(Name::Contact).filter_map(NameAddr::parse).map(|contact| contact.uri);
        uris.filter_map(move |uri| {
            let target = Uri::parse(uri).filter(|target| !target.user.is_empty())?;
            let inside = target.host.eq_ignore_ascii_case(&own_host) || self.to.is_called(target.host);
            let to = self.to.with_port(target.port);
            inside.then(|| Self { uri: uri.to_owned(), routes: self.routes.clone(), to })
        })
    }
}

impl HopAddress {
    /// Whether it was found by this name.
    fn is_called(&self, name: &str) -> bool {
        match self {
            Self::Host { host, .. } | Self::Place { name: host, .. } => host.eq_ignore_ascii_case(name),
            Self::Registered { .. } | Self::Own | Self::Open { .. } => false,
        }
    }

    /// The same place at another port, where that can be.
    fn with_port(&self, wanted: Option<u16>) -> Self {
        match self {
            Self::Host { host, port, transport } => {
                Self::Host { host: host.clone(), port: wanted.or(*port), transport: *transport }
            }
            Self::Place { place, name } => {
                let port = wanted.unwrap_or_else(|| place.address.port());
                let address = SocketAddr::new(place.address.ip(), port);
                Self::Place { place: Place { address, ..*place }, name: name.clone() }
            }
            other => other.clone(),
        }
    }
}
