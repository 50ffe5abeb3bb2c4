//! The door of this crate: start signalling and media, place legs, receive legs.
//!
//! Invariant: a leg that is handed out, by [`Voice::originate`] or as [`Incoming`], tells its end
//! exactly once, whatever happens to it or to the server.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use kernel::{Clock, Ids};
use media::codec::CodecKind;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::leg::{Leg, LegEvents, LegId, LegSink, PhoneId, Room};
use crate::ports::{Binding, LineIdentity, Ports, TrunkId};
use crate::rtc::frame::Down;
use crate::rtc::{BrowserPhone, Exchange, PhoneAccount, PhoneRefused, Surroundings};
use crate::runner::{MediaConfig, MediaError, MediaThreads};
use crate::sip::Sip;
use crate::sip::edge::web::WebSocketPlace;

/// How many hops a call may take (RFC 3261 §8.1.1.6).
pub const MAX_FORWARDS: u32 = 70;
/// Incoming calls that may wait for `calls`; more are refused with 503.
const INCOMING_QUEUE: usize = 1_024;

/// Where voice listens and what it allows.
#[derive(Clone, Debug)]
pub struct VoiceConfig {
    /// Addresses for SIP by UDP and TCP; port 0 takes any, the same for both.
    pub sip: Vec<SocketAddr>,
    /// SIP by TLS, with a certificate.
    pub tls: Option<TlsConfig>,
    /// A PEM file of further authorities that carriers' certificates may come from.
    pub trust_file: Option<PathBuf>,
    /// First and last UDP port for RTP and RTCP.
    pub rtp_ports: (u16, u16),
    /// Where browsers' media comes to, by UDP: media thread n takes the port plus n, or any for port 0. Empty: no browsers.
    pub rtc: Vec<SocketAddr>,
    /// The name server that is asked where carriers are; without it, this machine's own.
    pub dns: Option<SocketAddr>,
    /// The address that peers are told, when it is not the local one of the route to them.
    pub public_ip: Option<IpAddr>,
    /// Media threads; 0 is one a core.
    pub media_threads: usize,
    /// An answered leg that is not on hold ends after so long without RTP and RTCP, in milliseconds.
    pub media_timeout_ms: u32,
    /// Challenge phones with SHA-256 beside MD5 (RFC 8760). Off by default: some phones then give up.
    pub digest_sha256: bool,
    /// User-Agent and Server.
    pub user_agent: String,
    /// What one peer, and all together, may ask of the server.
    pub limits: SipLimits,
}

/// SIP by TLS.
#[derive(Clone, Debug)]
pub struct TlsConfig {
    /// Addresses to listen on.
    pub listen: Vec<SocketAddr>,
    /// PEM file of the certificate chain.
    pub cert_file: PathBuf,
    /// PEM file of its private key.
    pub key_file: PathBuf,
}

/// Limits of signalling. Past them the peer is told to come back later, or is not answered at all.
#[derive(Clone, Copy, Debug)]
pub struct SipLimits {
    /// New calls a second, all peers together; a burst of half a second's worth is allowed on top.
    pub calls_per_second: u32,
    /// REGISTER requests a minute from one address.
    pub registrations_per_minute_per_ip: u32,
    /// Messages a second from one address that is no trunk.
    pub messages_per_second_per_ip: u32,
    /// TCP and TLS connections in all.
    pub connections: usize,
    /// TCP and TLS connections from one address.
    pub connections_per_ip: usize,
    /// Failed proofs of a password from one address within ten minutes, before it is banned; loopback is not.
    pub failures_before_ban: u32,
}

impl Default for SipLimits {
    fn default() -> Self {
        Self {
            calls_per_second: 2_000,
            registrations_per_minute_per_ip: 600,
            messages_per_second_per_ip: 2_000,
            connections: 20_000,
            connections_per_ip: 500,
            failures_before_ban: 60,
        }
    }
}

/// Why voice does not start.
#[derive(Debug, thiserror::Error)]
pub enum VoiceError {
    /// An address cannot be listened on.
    #[error("cannot listen for SIP on {addr} by {transport}: {source}")]
    Listen {
        /// Which address.
        addr: SocketAddr,
        /// `UDP`, `TCP` or `TLS`.
        transport: &'static str,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// No address to listen on.
    #[error("no SIP address is configured")]
    NoAddress,
    /// A certificate, key or authority cannot be read.
    #[error("{file}: {reason}")]
    Certificate {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Media did not start.
    #[error(transparent)]
    Media(#[from] MediaError),
}

/// Linux: the kernel does not know this kind of address.
const EAFNOSUPPORT: i32 = 97;
/// Linux: no interface has an address of this kind.
const EADDRNOTAVAIL: i32 = 99;

impl VoiceError {
    /// Whether the machine has no such kind of address at all.
    pub(crate) fn is_unsupported(&self) -> bool {
        matches!(self, Self::Listen { source, .. } if matches!(source.raw_os_error(), Some(EAFNOSUPPORT | EADDRNOTAVAIL)))
    }
}

/// What is held now; all zero when nothing happens. Leak tests read it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VoiceStats {
    /// Legs whose signalling is not over.
    pub dialogs: usize,
    /// SIP transactions, those that only wait for late repetitions included.
    pub transactions: usize,
    /// Browser phones, and those whose socket was lost a moment ago.
    pub browser_phones: usize,
    /// Legs on media threads.
    pub legs: usize,
    /// Pairs of RTP ports in use.
    pub ports_in_use: usize,
    /// Recordings being written.
    pub recordings: usize,
}

/// Whom a call comes from, as others are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallerId {
    /// The number, or an extension; empty when unknown.
    pub number: String,
    /// The name shown beside it.
    pub display: Option<String>,
    /// Withheld: the number is for us only.
    pub anonymous: bool,
}

/// Where a leg goes.
#[derive(Clone, Debug)]
pub enum Target {
    /// One registered contact, by the flow it registered on.
    Binding(Binding),
    /// A number, by a trunk.
    Trunk {
        /// Which trunk.
        trunk: TrunkId,
        /// The number, as the carrier is to see it.
        number: String,
    },
    /// A browser phone that is online.
    Browser {
        /// Which.
        phone: PhoneId,
    },
    /// Any SIP URI.
    Uri(String),
    /// A number that this server answers itself: the call comes in here again, as [`Source::Inside`].
    Own {
        /// The number, as it is dialled.
        number: String,
        /// What that call is told.
        inside: Inside,
    },
}

/// What a call to ourselves carries along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inside {
    /// Whose call it is.
    pub org: Arc<str>,
    /// How many such calls it has gone through, this one included: a guard against loops.
    pub depth: u8,
}

/// A leg to place.
#[derive(Clone, Debug)]
pub struct Originate {
    /// Its id.
    pub leg: LegId,
    /// Where to.
    pub target: Target,
    /// Who calls.
    pub from: CallerId,
    /// The number that was dialled, shown in To.
    pub to_user: String,
    /// A leg that it will be bridged with: both live on one media thread.
    pub near: Option<Leg>,
    /// A codec to offer first, so that a bridge need not transcode.
    pub prefer: Option<CodecKind>,
    /// What is left of the hops that the call may take: [`Incoming::hops_left`] of the call that
    /// it goes on from, [`MAX_FORWARDS`] for one of our own.
    pub max_forwards: u32,
    /// Give up when nobody answers within this time, in milliseconds (cause `no_answer`).
    pub ring_timeout_ms: u32,
}

/// Who sent an incoming call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A phone that has proven its credential.
    Line(LineIdentity),
    /// A carrier, known by its address.
    Trunk {
        /// Which trunk.
        trunk: TrunkId,
        /// Whose.
        org: Arc<str>,
    },
    /// This server, by [`Target::Own`].
    Inside(Inside),
}

/// A call that came in. Give it a sink and answer, reject or hang it up; dropped, it is refused with 500.
#[derive(Debug)]
pub struct Incoming {
    /// The caller's leg.
    pub leg: Leg,
    /// Who calls, as the peer says.
    pub from: CallerId,
    /// Who is wanted: the Request-URI's user, decoded.
    pub to_user: String,
    /// The Request-URI's host.
    pub to_domain: String,
    /// Who sent it.
    pub source: Source,
    /// SIP Call-ID.
    pub call_id: String,
    /// The leg whose place the caller wants to take, of an attended transfer or a pick-up (RFC 3891).
    pub replaces: Option<LegId>,
    /// Its Max-Forwards less this hop: a call that goes in circles runs out of it.
    pub hops_left: u32,
}

impl Incoming {
    /// Gives the leg its sink; what happened before is sent at once.
    pub fn attach(&self, sink: LegSink) -> Leg {
        self.leg.attach(sink);
        self.leg.clone()
    }
}

/// Signalling and media, running. Cheap to clone.
#[derive(Clone)]
pub struct Voice {
    sip: Sip,
    phones: Exchange,
    media: MediaThreads,
}

impl Voice {
    /// Opens the sockets and starts the threads and tasks; `stop` ends them. Incoming calls arrive
    /// at the receiver.
    ///
    /// # Errors
    /// When an address, a certificate or the port range cannot be used.
    pub async fn start(
        config: VoiceConfig,
        ports: Arc<dyn Ports>,
        clock: Clock,
        ids: Ids,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Result<(Self, mpsc::Receiver<Incoming>), VoiceError> {
        let media_config = MediaConfig {
            threads: config.media_threads,
            rtp_ports: config.rtp_ports,
            rtc: config.rtc.clone(),
            media_timeout_ms: config.media_timeout_ms,
        };
        let media = MediaThreads::start(&media_config, ids.clone())?;
        let (incoming, receiver) = mpsc::channel(INCOMING_QUEUE);
        let around = Surroundings {
            ports: ports.clone(),
            threads: media.clone(),
            clock: clock.clone(),
            ids: ids.clone(),
            stop: stop.clone(),
            incoming: incoming.clone(),
            public_ip: config.public_ip,
            legs: Arc::default(),
        };
        let phones = Exchange::new(around, tasks.clone());
        let sip = Sip::start(config, ports, media.clone(), clock, ids, tasks, stop, incoming).await?;
        Ok((Self { sip, phones, media }, receiver))
    }

    /// Places a leg. Returns at once; what becomes of it is told to `events`.
    #[must_use]
    pub fn originate(&self, order: Originate, events: LegSink) -> Leg {
        if matches!(order.target, Target::Browser { .. }) {
            return self.phones.originate(order, events);
        }
        let outlet = LegEvents::new(order.leg.clone(), Some(events));
        let media = match &order.target {
            Target::Binding(binding) if binding.is_in_browser() => self.media.browser_leg(outlet.clone(), &binding.org),
            _ => self.media.leg(outlet.clone(), order.near.as_ref().map(Leg::media)),
        };
        let (leg, signals) = Leg::new(media.clone(), outlet.clone());
        self.sip.originate(order, signals, media, outlet);
        leg
    }

    /// Opens a room of an organisation, for [`Leg::join_room`]; it closes with the last clone of its handle.
    #[must_use]
    pub fn room(&self, org: &str) -> Room {
        self.media.room(org)
    }

    /// A browser phone comes in from `peer`: a handle to say its frames by, and what it is told. `was` is the phone that
    /// it was before its socket was lost; its calls go on when it comes back in time.
    ///
    /// # Errors
    /// When no phone can be taken.
    pub fn browser_phone(
        &self,
        account: PhoneAccount,
        was: Option<&PhoneId>,
        peer: IpAddr,
    ) -> Result<(BrowserPhone, mpsc::Receiver<Down>), PhoneRefused> {
        self.phones.enter(account, was, peer)
    }

    /// The addresses that UDP and TCP really listen on.
    #[must_use]
    pub fn local_sip(&self) -> Vec<SocketAddr> {
        self.sip.local()
    }

    /// The addresses that TLS really listens on.
    #[must_use]
    pub fn local_tls(&self) -> Vec<SocketAddr> {
        self.sip.local_tls()
    }

    /// A place for the WebSocket of a phone in a browser (RFC 7118), which the HTTP server is about to
    /// open: `remote` is where the phone really is, `port` our own. `None` when the address is banned or
    /// there are too many connections.
    #[must_use]
    pub fn web_socket(&self, remote: SocketAddr, port: u16, secure: bool) -> Option<WebSocketPlace> {
        self.sip.web_socket(remote, port, secure)
    }

    /// What is held now.
    #[must_use]
    pub fn stats(&self) -> VoiceStats {
        let (dialogs, transactions) = self.sip.stats();
        let (calls, browser_phones) = self.phones.stats();
        let media = self.media.stats();
        VoiceStats {
            dialogs: dialogs + calls,
            transactions,
            browser_phones,
            legs: media.legs,
            ports_in_use: media.ports_in_use,
            recordings: media.recordings,
        }
    }

    /// Reads certificate and key again, for connections from now on.
    ///
    /// # Errors
    /// When they cannot be read: the old ones stay.
    pub async fn reload_tls(&self) -> Result<(), VoiceError> {
        self.sip.reload_tls().await
    }

    /// Reads the trunks again: new ones are registered, changed ones again, vanished ones given up.
    pub async fn reload_trunks(&self) {
        self.sip.reload_trunks().await;
    }
}
