//! The port that all browsers' legs of one thread share: a socket for each family of addresses.

use std::io;
use std::net::{Ipv6Addr, SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

use super::poll::Poll;
use super::socket::mark_expedited;

/// Kernel buffers, bytes: a burst of a hundred browsers waits here while the thread is busy.
const SOCKET_BUFFER: usize = 1 << 20;

/// The sockets of one thread.
#[derive(Debug, Default)]
pub(super) struct SharedPort {
    sockets: Vec<(UdpSocket, SocketAddr)>,
}

impl SharedPort {
    /// Binds thread `index`'s sockets: each address with its port plus the index; port 0 takes any.
    pub(super) fn bind(addresses: &[SocketAddr], index: u16) -> Result<Self, (SocketAddr, io::Error)> {
        let mut sockets = Vec::new();
        for address in addresses {
            let port = if address.port() == 0 { 0 } else { address.port().saturating_add(index) };
            let address = SocketAddr::new(address.ip(), port);
            match bind(address) {
                Ok(socket) => {
                    let local = socket.local_addr().map_err(|error| (address, error))?;
                    sockets.push((socket, local));
                }
                // A kernel without IPv6 still has IPv4 browsers.
                Err(error) if address.ip() == Ipv6Addr::UNSPECIFIED && is_unsupported(&error) => {
                    tracing::warn!(%address, %error, "no IPv6 on this machine");
                }
                Err(error) => return Err((address, error)),
            }
        }
        Ok(Self { sockets })
    }

    /// What the sockets are bound to.
    pub(super) fn local(&self) -> Vec<SocketAddr> {
        self.sockets.iter().map(|(_, local)| *local).collect()
    }

    /// Has the thread look at once when a datagram comes.
    pub(super) fn watch(&self, poll: &Poll) -> io::Result<()> {
        let mut sockets = self.sockets.iter().enumerate();
        sockets.try_for_each(|(index, (socket, _))| poll.add_shared(socket, index))
    }

    /// The next datagram that waits at a socket.
    pub(super) fn receive(&self, index: usize, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (socket, _) = self.sockets.get(index).ok_or(io::ErrorKind::NotFound)?;
        socket.recv_from(buffer)
    }

    /// Sends to a browser, from the socket of its family.
    pub(super) fn send(&self, to: SocketAddr, datagram: &[u8]) -> io::Result<usize> {
        let socket = self.sockets.iter().find(|(_, local)| local.is_ipv4() == to.is_ipv4());
        let (socket, _) = socket.ok_or(io::ErrorKind::AddrNotAvailable)?;
        socket.send_to(datagram, to)
    }
}

fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // The kernel grants what its own limit allows: less is no failure.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    let socket = socket.into();
    mark_expedited(&socket, address.ip());
    Ok(socket)
}

/// Whether the machine has no such kind of address at all (Linux: EAFNOSUPPORT, EADDRNOTAVAIL).
fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(97 | 99))
}
