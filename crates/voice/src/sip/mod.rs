//! SIP (RFC 3261 and friends), from the wire to the leg.
//!
//! | part | what it is |
//! |---|---|
//! | [`edge`], [`gate`] | sockets in, whole messages out; who may send how much |
//! | [`message`], [`multipart`], [`uri`], [`draft`] | messages read where they stand, and written |
//! | [`transaction`], [`timers`] | repetitions and their end |
//! | [`endpoint`], [`traffic`], [`legs`], [`ways`], [`detour`] | the one task that owns all of it: its messages, its legs, its ways to peers |
//! | [`admission`], [`registrar`], [`digest`], [`nonce`] | requests outside any leg: who sends them and whether he may |
//! | [`outbound`], [`carriers`], [`trunk`], [`registration`] | placing legs; carriers and their registrations |
//! | [`leg`], [`dialog`], [`sdp`], [`session_timer`] | one leg, from INVITE to BYE, without I/O |
//!
//! Everything but the edge and the endpoint is a plain function or state machine over time and bytes.

mod admission;
mod carriers;
mod detour;
mod dialog;
mod digest;
mod dns;
mod domains;
mod draft;
pub(crate) mod edge;
mod endpoint;
mod flow;
mod gate;
mod leg;
mod legs;
mod message;
mod multipart;
mod nonce;
mod outbound;
mod proof;
mod registering;
mod registrar;
mod registration;
mod replaces;
pub(crate) mod sdp;
mod session_timer;
mod timers;
mod traffic;
mod transaction;
mod trunk;
pub(crate) mod uri;
pub(crate) mod ways;

pub use dns::addresses_of;

use std::io;
use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use kernel::{Clock, Ids};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::edge::tls::{ClientTls, ServerTls};
use self::edge::web::WebSocketPlace;
use self::edge::{Edge, stream, udp};
use self::endpoint::{Endpoint, Input, Listening, Parts, Stats};
use self::gate::Gate;
pub(crate) use self::outbound::Order;
use crate::cause::Cause;
use crate::leg::{LegEvents, Signals};
use crate::ports::Ports;
use crate::runner::{MediaLeg, MediaThreads};
use crate::voice::{Incoming, Originate, VoiceConfig, VoiceError};

/// Batches of messages, and orders, that may wait for the endpoint.
const INPUT_QUEUE: usize = 4_096;
/// Attempts to find one port that is free for datagrams and streams alike.
const PORT_ATTEMPTS: usize = 20;

/// Signalling, running. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Sip {
    edge: Edge,
    input: mpsc::Sender<Input>,
    stats: Arc<Stats>,
    local: Arc<[SocketAddr]>,
    local_tls: Arc<[SocketAddr]>,
    tls: Option<ServerTls>,
}

impl Sip {
    /// Opens the sockets and starts the tasks.
    #[expect(clippy::too_many_arguments, reason = "called once, by Voice::start, whose own arguments these are")]
    pub(crate) async fn start(
        config: VoiceConfig,
        ports: Arc<dyn Ports>,
        threads: MediaThreads,
        clock: Clock,
        ids: Ids,
        tasks: TaskTracker,
        stop: CancellationToken,
        incoming: mpsc::Sender<Incoming>,
    ) -> Result<Self, VoiceError> {
        edge::tls::install_provider();
        let client_tls = ClientTls::load(config.trust_file.as_deref())?;
        let tls = config.tls.clone().map(ServerTls::load).transpose()?;
        let (input, inputs) = mpsc::channel(INPUT_QUEUE);
        let gate = Arc::new(Gate::new(config.limits));
        let edge = Edge { gate, clock: clock.clone(), input: input.clone(), tasks: tasks.clone(), stop };

        let mut sockets = Vec::new();
        for addr in &config.sip {
            let (socket, listener, addr) = match bind_pair(*addr) {
                // A kernel without IPv6 still has IPv4 phones.
                Err(error) if addr.ip() == Ipv6Addr::UNSPECIFIED && error.is_unsupported() => {
                    tracing::warn!(%addr, %error, "no IPv6 on this machine");
                    continue;
                }
                bound => bound?,
            };
            let listen = |source| VoiceError::Listen { addr, transport: "UDP", source };
            let reader = tokio::net::UdpSocket::from_std(socket.try_clone().map_err(listen)?).map_err(listen)?;
            let socket = Arc::new(socket);
            tasks.spawn(udp::read(reader, Arc::clone(&socket), addr, edge.clone()));
            tasks.spawn(stream::accept(listener, None, edge.clone()));
            sockets.push(Listening { socket, addr });
        }
        if sockets.is_empty() {
            return Err(VoiceError::NoAddress);
        }
        let mut local_tls = Vec::new();
        for addr in config.tls.iter().flat_map(|tls| &tls.listen) {
            let listener =
                stream::bind(*addr).map_err(|source| VoiceError::Listen { addr: *addr, transport: "TLS", source })?;
            local_tls.push(listener.local_addr().unwrap_or(*addr));
            tasks.spawn(stream::accept(listener, tls.clone(), edge.clone()));
        }
        let doors = edge.clone();
        let local: Arc<[SocketAddr]> = sockets.iter().map(|listening| listening.addr).collect();
        let stats = Arc::<Stats>::default();
        let endpoint = Endpoint::new(Parts {
            config: Arc::new(config),
            ports,
            threads,
            clock,
            ids,
            edge,
            client_tls,
            incoming,
            sockets,
            tls_port: local_tls.first().map(SocketAddr::port),
            stats: Arc::clone(&stats),
        });
        tasks.spawn(endpoint.run(inputs));
        Ok(Self { edge: doors, input, stats, local, local_tls: local_tls.into(), tls })
    }

    /// Places a leg; when the endpoint is swamped or gone, the leg ends at once.
    pub(crate) fn originate(&self, order: Originate, signals: Signals, media: MediaLeg, events: LegEvents) {
        let order = Box::new(Order { order, signals, media, events });
        if let Err(error) = self.input.try_send(Input::Originate(order))
            && let Input::Originate(order) = error.into_inner()
        {
            order.refuse(Cause::Congestion);
        }
    }

    /// A place for a phone's WebSocket.
    pub(crate) fn web_socket(&self, remote: SocketAddr, port: u16, secure: bool) -> Option<WebSocketPlace> {
        WebSocketPlace::take(self.edge.clone(), remote, port, secure)
    }

    pub(crate) fn local(&self) -> Vec<SocketAddr> {
        self.local.to_vec()
    }

    pub(crate) fn local_tls(&self) -> Vec<SocketAddr> {
        self.local_tls.to_vec()
    }

    /// Legs and transactions held now.
    pub(crate) fn stats(&self) -> (usize, usize) {
        (self.stats.legs.load(Ordering::Relaxed), self.stats.transactions.load(Ordering::Relaxed))
    }

    pub(crate) async fn reload_tls(&self) -> Result<(), VoiceError> {
        match self.tls.clone() {
            Some(tls) => tokio::task::spawn_blocking(move || tls.reload()).await.unwrap_or(Ok(())),
            None => Ok(()),
        }
    }

    pub(crate) async fn reload_trunks(&self) {
        let _ = self.input.send(Input::ReloadTrunks).await;
    }
}

/// One port for datagrams and streams. Port 0 takes any that is free for both.
fn bind_pair(addr: SocketAddr) -> Result<(UdpSocket, TcpListener, SocketAddr), VoiceError> {
    let listen = |transport, source| VoiceError::Listen { addr, transport, source };
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..if addr.port() == 0 { PORT_ATTEMPTS } else { 1 } {
        let socket = udp::bind(addr).map_err(|error| listen("UDP", error))?;
        let bound = socket.local_addr().map_err(|error| listen("UDP", error))?;
        match stream::bind(bound) {
            Ok(listener) => return Ok((socket, listener, bound)),
            Err(error) => last = error,
        }
    }
    Err(listen("TCP", last))
}
