//! A flow: the way a message came and its answer goes (RFC 5626), and our own name on that way.
//!
//! Sending never waits: a full socket drops a datagram, as the network may, and a stream whose peer
//! does not read is closed by its own task.

use std::fmt;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::uri;
use crate::ports::Transport;

/// How a flow's bytes leave.
#[derive(Clone)]
pub(crate) enum Link {
    /// One of our datagram sockets, non-blocking. Not the run time's handle of it, which would call a
    /// socket full that it has not looked at yet.
    Datagrams(Arc<UdpSocket>),
    /// One connection.
    Stream(Arc<Wire>),
    /// Nowhere: unit tests read actions instead.
    #[cfg(test)]
    Nowhere,
}

/// A connection, for those who send by it. When nobody holds it any more, its task closes it.
pub(crate) struct Wire {
    /// To the connection's task.
    queue: mpsc::Sender<Bytes>,
    /// Somebody whom we know is at the other end.
    trusted: AtomicBool,
}

impl Wire {
    pub(crate) fn new(queue: mpsc::Sender<Bytes>, trusted: bool) -> Arc<Self> {
        Arc::new(Self { queue, trusted: AtomicBool::new(trusted) })
    }

    pub(crate) fn is_trusted(&self) -> bool {
        self.trusted.load(Ordering::Relaxed)
    }
}

/// A way to one peer.
#[derive(Clone)]
pub(crate) struct Flow {
    pub(crate) transport: Transport,
    /// Our end. Its address may be unspecified on a socket that listens on all.
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) link: Link,
}

impl Flow {
    /// Hands bytes over; false when the flow is broken.
    pub(crate) fn send(&self, bytes: &Bytes) -> bool {
        match &self.link {
            Link::Datagrams(socket) => match socket.send_to(bytes, self.remote) {
                Ok(_) => true,
                Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
            },
            Link::Stream(wire) => wire.queue.try_send(bytes.clone()).is_ok(),
            #[cfg(test)]
            Link::Nowhere => true,
        }
    }

    /// Whether the transport repeats lost bytes itself.
    pub(crate) fn is_reliable(&self) -> bool {
        self.transport != Transport::Udp
    }

    /// Whether bytes can still be sent.
    pub(crate) fn is_open(&self) -> bool {
        match &self.link {
            Link::Datagrams(_) => true,
            Link::Stream(wire) => !wire.queue.is_closed(),
            #[cfg(test)]
            Link::Nowhere => true,
        }
    }

    /// The peer has proven who he is: his connection may stay.
    pub(crate) fn trust(&self) {
        if let Link::Stream(wire) = &self.link {
            wire.trusted.store(true, Ordering::Relaxed);
        }
    }

    /// The same socket to another address; a stream has only one peer.
    pub(crate) fn towards(&self, remote: SocketAddr) -> Self {
        match self.transport {
            Transport::Udp => Self { remote, ..self.clone() },
            Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss => self.clone(),
        }
    }
}

impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} -> {}", self.transport.as_str(), self.local, self.remote)
    }
}

/// A flow and what we call ourselves on it.
#[derive(Clone, Debug)]
pub(crate) struct Path {
    pub(crate) flow: Flow,
    /// Our address as this peer can reach it.
    pub(crate) own: SocketAddr,
}

impl Path {
    /// The Via value of a request of ours.
    pub(crate) fn via(&self, branch: &str) -> String {
        let transport = match self.flow.transport {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
            Transport::Ws => "WS",
            Transport::Wss => "WSS",
        };
        format!("SIP/2.0/{transport} {};rport;branch={branch}", self.authority())
    }

    /// Host and port of our URIs.
    pub(crate) fn authority(&self) -> String {
        format!("{}:{}", uri::host_text(self.own.ip()), self.own.port())
    }

    /// Our Contact value; `user` may be empty.
    pub(crate) fn contact(&self, user: &str) -> String {
        let at = if user.is_empty() { "" } else { "@" };
        let transport = self.flow.transport.uri_parameter();
        format!("<sip:{}{at}{}{transport}>", uri::escape_user(user), self.authority())
    }
}
