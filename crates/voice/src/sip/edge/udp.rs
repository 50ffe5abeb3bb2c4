//! Datagrams: one socket, one reading task.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};
use tracing::debug;

use super::Edge;
use crate::ports::Transport;
use crate::sip::endpoint::Input;
use crate::sip::flow::{Flow, Link};
use crate::sip::message::{MAX_MESSAGE, Message};

/// Kernel buffers, bytes: a burst waits here while the endpoint is busy.
const SOCKET_BUFFER: usize = 4 << 20;
/// Most datagrams read before they are handed over.
const BATCH: usize = 64;

/// Binds a socket; IPv6 ones take IPv6 only, so that both families can have the same port.
pub(crate) fn bind(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // The kernel grants what its own limit allows: less is no failure.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

/// Reads until the server stops. `reader` is the run time's handle of `socket`.
pub(crate) async fn read(reader: tokio::net::UdpSocket, socket: Arc<UdpSocket>, local: SocketAddr, edge: Edge) {
    let mut buffer = vec![0; MAX_MESSAGE];
    loop {
        let ready = tokio::select! {
            () = edge.stop.cancelled() => return,
            ready = reader.readable() => ready,
        };
        if ready.is_err() {
            return;
        }
        let mut batch = Vec::with_capacity(4);
        let now = edge.clock.now_ms();
        while batch.len() < BATCH {
            match reader.try_recv_from(&mut buffer) {
                Ok((length, remote)) => {
                    let data = buffer.get(..length).unwrap_or_default();
                    if let Some(message) = take(&socket, data, remote, &edge, now) {
                        let link = Link::Datagrams(Arc::clone(&socket));
                        batch.push((message, Flow { transport: Transport::Udp, local, remote, link }));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // An ICMP error of an earlier datagram: nothing to do with the next one.
                Err(_) => {}
            }
        }
        if !batch.is_empty() && edge.input.send(Input::Messages(batch)).await.is_err() {
            return;
        }
    }
}

fn take(socket: &UdpSocket, data: &[u8], remote: SocketAddr, edge: &Edge, now: i64) -> Option<Message> {
    if !edge.gate.admits(remote.ip(), now) {
        metrics::counter!("sip_refused_datagrams").increment(1);
        return None;
    }
    if data.iter().all(u8::is_ascii_whitespace) {
        // A NAT keep-alive (RFC 5626 §3.5.1 gives the ping to streams; phones send it here too).
        if data == b"\r\n\r\n" {
            let _ = socket.send_to(b"\r\n", remote);
        }
        return None;
    }
    match Message::parse(data) {
        Ok(message) => Some(message),
        Err(error) => {
            metrics::counter!("sip_malformed").increment(1);
            debug!(%remote, %error, bytes = data.len(), "a datagram is no SIP message");
            None
        }
    }
}
