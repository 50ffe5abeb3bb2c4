//! A leg's two sockets, RTP on an even port, RTCP on the odd one after it; and those of all legs of a thread.
//!
//! Invariant: they hold their ports' lease, so the ports return to the pool exactly when the sockets are closed.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;

use socket2::SockRef;

use super::MediaError;
use super::line::Wire;
use super::poll::{Poll, Urgency};
use super::port_pool::{PortLease, PortPool};
use super::shared_port::SharedPort;

/// How many pairs are tried when another process holds ports of our range.
const BIND_ATTEMPTS: usize = 512;

/// Expedited forwarding (RFC 3246), as voice is marked (RFC 4594, section 4.1), in its place in the traffic class byte.
const EXPEDITED: u32 = 46 << 2;

/// The sockets of one leg. Fields are dropped in order: first the sockets close, then the lease returns.
#[derive(Debug)]
pub(super) struct LegSockets {
    /// RTP, and RTCP where both share a port.
    pub(super) rtp: UdpSocket,
    /// RTCP.
    pub(super) rtcp: UdpSocket,
    /// Where RTP is received.
    pub(super) local: SocketAddr,
    /// How soon RTP is read.
    urgency: Urgency,
    _lease: PortLease,
}

impl LegSockets {
    /// Binds a pair from the pool on `ip`.
    pub(super) fn bind(pool: &Arc<PortPool>, ip: IpAddr) -> Result<Self, MediaError> {
        let mut taken = Vec::new();
        loop {
            let lease = pool.lend()?;
            match bind_pair(ip, &lease) {
                Ok((rtp, rtcp)) => {
                    let local = SocketAddr::new(ip, lease.rtp());
                    return Ok(Self { rtp, rtcp, local, urgency: Urgency::default(), _lease: lease });
                }
                // Kept until we are through, so that the pool does not lend the same pair again.
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && taken.len() < BIND_ATTEMPTS => {
                    taken.push(lease)
                }
                Err(error) => return Err(MediaError::Io(Arc::new(error))),
            }
        }
    }
}

impl LegSockets {
    /// Has the thread look when a datagram comes for the leg in `slot`. RTCP is rare, and round-trip times are computed from its arrival.
    pub(super) fn watch(&mut self, poll: &Poll, slot: usize, urgency: Urgency) -> io::Result<()> {
        self.urgency = urgency;
        poll.add(&self.rtp, Self::key(slot, false), urgency)?;
        poll.add(&self.rtcp, Self::key(slot, true), Urgency::Prompt)
    }

    /// Has RTP read so soon from now on.
    pub(super) fn hurry(&mut self, poll: &Poll, slot: usize, urgency: Urgency) -> io::Result<()> {
        if self.urgency != urgency {
            poll.remove(&self.rtp, self.urgency)?;
            poll.add(&self.rtp, Self::key(slot, false), urgency)?;
            self.urgency = urgency;
        }
        Ok(())
    }

    /// The opposite of [`LegSockets::watch`].
    pub(super) fn unwatch(&mut self, poll: &Poll) -> io::Result<()> {
        poll.remove(&self.rtp, self.urgency)?;
        poll.remove(&self.rtcp, Urgency::Prompt)
    }

    /// The slot that a key of the poll stands for, and whether RTCP's socket is meant.
    pub(super) fn of_key(key: usize) -> (usize, bool) {
        (key / 2, key % 2 == 1)
    }

    fn key(slot: usize, is_rtcp: bool) -> usize {
        slot * 2 + usize::from(is_rtcp)
    }
}

fn bind_pair(ip: IpAddr, lease: &PortLease) -> io::Result<(UdpSocket, UdpSocket)> {
    let bind = |port| -> io::Result<UdpSocket> {
        let socket = UdpSocket::bind(SocketAddr::new(ip, port))?;
        socket.set_nonblocking(true)?;
        mark_expedited(&socket, ip);
        Ok(socket)
    };
    Ok((bind(lease.rtp())?, bind(lease.rtcp())?))
}

/// Marks a socket's datagrams as voice. A network that does not honour the mark, or a system that refuses it, still
/// carries the call.
pub(super) fn mark_expedited(socket: &UdpSocket, ip: IpAddr) {
    let _ = match ip {
        IpAddr::V4(_) => SockRef::from(socket).set_tos_v4(EXPEDITED),
        IpAddr::V6(_) => SockRef::from(socket).set_tclass_v6(EXPEDITED),
    };
}

/// The sockets of a thread.
pub(super) struct Sockets {
    /// Those of its legs, by slot.
    legs: Vec<Option<Box<LegSockets>>>,
    /// The one for all browsers' legs.
    pub(super) shared: SharedPort,
}

impl Sockets {
    /// Of a thread without legs.
    pub(super) fn new(shared: SharedPort) -> Self {
        Self { legs: Vec::new(), shared }
    }

    /// A leg's sockets.
    pub(super) fn get(&self, slot: usize) -> Option<&LegSockets> {
        self.legs.get(slot)?.as_deref()
    }

    /// Keeps a leg's sockets.
    pub(super) fn put(&mut self, slot: usize, sockets: Box<LegSockets>) {
        if self.legs.len() <= slot {
            self.legs.resize_with(slot + 1, || None);
        }
        if let Some(place) = self.legs.get_mut(slot) {
            *place = Some(sockets);
        }
    }

    /// Has a leg's RTP read so soon from now on.
    pub(super) fn hurry(&mut self, slot: usize, urgency: Urgency, poll: &Poll) {
        if let Some(Some(sockets)) = self.legs.get_mut(slot)
            && let Err(error) = sockets.hurry(poll, slot, urgency)
        {
            tracing::error!(%error, "media thread: watch a socket");
        }
    }

    /// Closes a leg's sockets; with that they leave the poll.
    pub(super) fn close(&mut self, slot: usize) {
        drop(self.legs.get_mut(slot).and_then(Option::take));
    }

    /// Takes a leg's sockets out of the poll.
    pub(super) fn take(&mut self, slot: usize, poll: &Poll) -> Option<Box<LegSockets>> {
        let mut sockets = self.legs.get_mut(slot)?.take()?;
        if let Err(error) = sockets.unwatch(poll) {
            tracing::error!(%error, "media thread: no longer watch a socket");
        }
        Some(sockets)
    }
}

impl Wire for Sockets {
    fn rtp(&mut self, slot: usize, to: SocketAddr, datagram: &[u8]) {
        if let Some(sockets) = self.get(slot) {
            sent(sockets.rtp.send_to(datagram, to));
        }
    }

    fn rtcp(&mut self, slot: usize, to: SocketAddr, datagram: &[u8]) {
        if let Some(sockets) = self.get(slot) {
            sent(sockets.rtcp.send_to(datagram, to));
        }
    }

    fn shared(&mut self, to: SocketAddr, datagram: &[u8]) {
        sent(self.shared.send(to, datagram));
    }
}

/// A datagram that cannot be sent now is a lost one; the media time-out finds out who is gone.
fn sent(result: io::Result<usize>) {
    if result.is_err() {
        metrics::counter!("voice_media_send_errors_total").increment(1);
    }
}
