//! What voice needs of the floors above: credentials, bindings, trunks, bans.
//!
//! `calls` implements these with SQL; tests with maps. Voice holds no state that must survive a
//! restart: what has to, goes through here before the peer hears a 200.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

pub use futures_util::future::BoxFuture;
pub use kernel::secret::Secret;

use crate::leg::PhoneId;
use crate::sip::uri::Uri;

/// A port's failure as voice sees it: the peer gets a 500 and may try again, the reason is logged.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct PortError(pub String);

/// What a port call returns.
pub type PortResult<T> = Result<T, PortError>;

/// The transports a SIP message travels by (RFC 3261 §18).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// A stream in the clear.
    Tcp,
    /// A stream under TLS.
    Tls,
    /// A WebSocket in the clear (RFC 7118).
    Ws,
    /// A WebSocket under TLS.
    Wss,
}

impl Transport {
    /// Lower case, as in a `transport=` parameter and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }

    /// Reads what [`Transport::as_str`] writes, in any case.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Udp, Self::Tcp, Self::Tls, Self::Ws, Self::Wss]
            .into_iter()
            .find(|transport| transport.as_str().eq_ignore_ascii_case(text))
    }

    /// Whether it is a WebSocket: the peer opens it, and nobody can be called back by it once it is closed.
    pub fn is_web(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }

    /// The `transport` parameter of a URI; both WebSockets have the same (RFC 7118 §5.2.4).
    pub(crate) fn uri_parameter(self) -> &'static str {
        match self {
            Self::Udp => "",
            Self::Tcp => ";transport=tcp",
            Self::Tls => ";transport=tls",
            Self::Ws | Self::Wss => ";transport=ws",
        }
    }

    /// The port when none is written (RFC 3261 §19.1.2).
    pub fn default_port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 5060,
            Self::Tls => 5061,
            Self::Ws => 80,
            Self::Wss => 443,
        }
    }
}

/// Whose phone a request comes from, once its digest is proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineIdentity {
    /// The organisation.
    pub org: Arc<str>,
    /// The number inside the organisation; user part of the address of record.
    pub extension: Arc<str>,
    /// The person it rings, when it belongs to one.
    pub person: Option<Arc<str>>,
    /// The line (one credential of the extension).
    pub line: Arc<str>,
}

/// A digest credential: what the server stores instead of a password.
#[derive(Clone, Debug)]
pub struct Credential {
    /// Who proves to be whom with it.
    pub identity: LineIdentity,
    /// The realm both hashes were made with.
    pub realm: String,
    /// The domain of the address of record; "" for the server's own address.
    pub domain: String,
    /// Hex MD5 of `user:realm:password`.
    pub ha1_md5: Secret,
    /// Hex SHA-256 of the same.
    pub ha1_sha256: Secret,
    /// Require SDES-SRTP of this line's devices. Without it they are offered plain RTP, and SRTP when they refuse that.
    pub srtp: bool,
}

/// One registered contact of an address of record (RFC 3261 §10), with the flow it came by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The organisation.
    pub org: Arc<str>,
    /// The extension that is registered.
    pub extension: Arc<str>,
    /// The line whose credential registered it.
    pub line: Arc<str>,
    /// The Contact's URI, exactly as it was sent (never re-serialised).
    pub contact: String,
    /// `+sip.instance`, when the device sent one: replaces a binding of the same device at another address.
    pub instance: Option<String>,
    /// Call-ID of the registration.
    pub call_id: String,
    /// CSeq of its last REGISTER.
    pub cseq: u32,
    /// Preference, in thousandths (q=0.5 is 500); 1000 when absent.
    pub q: u16,
    /// When it lapses, UTC milliseconds.
    pub expires_at_ms: i64,
    /// How it is reached.
    pub transport: Transport,
    /// The address the REGISTER came from (behind NAT: the mapped one).
    pub source: SocketAddr,
    /// The local address it came to.
    pub local: SocketAddr,
    /// Path headers (RFC 3327), nearest proxy first.
    pub path: Vec<String>,
    /// The device's User-Agent, "" when it named none.
    pub user_agent: String,
    /// Offer SDES-SRTP to it.
    pub srtp: bool,
}

impl Binding {
    /// Whether the phone is a page's, so that its media is a browser's: it came by WebSocket, here or, as its Contact says
    /// (RFC 7118 §5.2.4), at a proxy in front of us.
    pub(crate) fn is_in_browser(&self) -> bool {
        let named = Uri::parse(&self.contact).and_then(|uri| uri.param("transport")).and_then(Transport::parse);
        self.transport.is_web() || named.is_some_and(Transport::is_web)
    }
}

/// What a REGISTER changes: saved and removed in one commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BindingChange {
    /// Inserted, or replacing the one with the same contact.
    pub save: Vec<Binding>,
    /// Contact URIs to remove.
    pub remove: Vec<String>,
}

/// An id of a trunk.
pub type TrunkId = Arc<str>;

/// One address of a carrier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrunkTarget {
    /// Name or address, without brackets.
    pub host: String,
    /// Port; the transport's default when absent.
    pub port: Option<u16>,
    /// How to speak to it.
    pub transport: Transport,
    /// Nobody chose the transport: the domain's DNS records may name another one (RFC 3263 §4.1).
    pub any_transport: bool,
}

/// A carrier: where calls go out and come in.
#[derive(Clone, Debug)]
pub struct TrunkConfig {
    /// Its id.
    pub id: TrunkId,
    /// The organisation it belongs to.
    pub org: Arc<str>,
    /// Its name, for logs.
    pub name: String,
    /// Tried in this order.
    pub targets: Vec<TrunkTarget>,
    /// Digest user name, when the carrier asks for one.
    pub username: Option<String>,
    /// Digest password.
    pub password: Option<Secret>,
    /// The domain of From and of REGISTER; the first target's host when absent.
    pub domain: Option<String>,
    /// Keep a registration with the carrier.
    pub register: bool,
    /// Ask the targets for a sign of life by OPTIONS.
    pub ping: bool,
    /// Offer SDES-SRTP, and accept nothing else.
    pub srtp: bool,
}

/// How a trunk fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrunkState {
    /// Usable without a registration.
    Ready,
    /// Its REGISTER was accepted.
    Registered,
    /// The carrier refused our credentials.
    AuthFailed,
    /// No target answers.
    Unreachable,
}

impl TrunkState {
    /// The word for it in the store and in the console.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Registered => "registered",
            Self::AuthFailed => "auth_failed",
            Self::Unreachable => "unreachable",
        }
    }
}

/// The floors above, as voice sees them.
pub trait Ports: Send + Sync + 'static {
    /// The credential of a digest user name in a domain ("" is the server's own address).
    fn credential<'a>(&'a self, domain: &'a str, username: &'a str) -> BoxFuture<'a, PortResult<Option<Credential>>>;

    /// The domain that a host in a Request-URI or To stands for: an organisation's SIP domain
    /// spelled as it is stored, "" for the server's own names and addresses, `None` for a stranger's.
    fn domain<'a>(&'a self, host: &'a str) -> BoxFuture<'a, PortResult<Option<String>>>;

    /// The live bindings of an extension.
    fn bindings<'a>(&'a self, org: &'a str, extension: &'a str) -> BoxFuture<'a, PortResult<Vec<Binding>>>;

    /// Carries out what a REGISTER changes; durable on return.
    fn change_bindings<'a>(
        &'a self,
        org: &'a str,
        extension: &'a str,
        change: BindingChange,
    ) -> BoxFuture<'a, PortResult<()>>;

    /// The connection that contacts of an extension came by has ended, and only the peer can open
    /// another (a WebSocket): those of this very source are contacts no more.
    fn lost_connection<'a>(
        &'a self,
        org: &'a str,
        extension: &'a str,
        source: SocketAddr,
    ) -> BoxFuture<'a, PortResult<()>>;

    /// All trunks of all organisations. Read at start and at [`crate::Voice::reload_trunks`].
    fn trunks(&self) -> BoxFuture<'_, PortResult<Vec<TrunkConfig>>>;

    /// Which of some organisations, all with a trunk at one carrier, has a public number.
    fn number_owner<'a>(&'a self, orgs: &'a [Arc<str>], number: &'a str)
    -> BoxFuture<'a, PortResult<Option<Arc<str>>>>;

    /// Whether a call that is asked for by URI may go to an address that its host resolves to.
    fn may_reach(&self, host: &str, address: SocketAddr) -> bool;

    /// A trunk's state changed.
    fn trunk_state<'a>(&'a self, org: &'a str, trunk: &'a str, state: TrunkState) -> BoxFuture<'a, PortResult<()>>;

    /// A browser phone of a line is online from now on, or no longer: calls to the line may go there by
    /// [`crate::Target::Browser`].
    fn browser_phone(&self, line: &LineIdentity, phone: &PhoneId, online: bool);

    /// An address was banned until `until_ms` (UTC) after too many failed proofs.
    fn banned(&self, addr: IpAddr, until_ms: i64);
}
