//! Streams: TCP and TLS connections, ours and the peers'. One task each reads and writes.
//!
//! A peer that does not read what we send is cut off after [`WRITE_TIMEOUT`]; nobody else waits for
//! it. Its queue is bounded, and a full queue closes the connection. One who does not prove who he is
//! within [`PROOF_MS`] is closed too. When the server stops, what is queued still goes out.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::debug;

use super::Edge;
use super::tls::{ClientTls, ServerTls};
use crate::ports::Transport;
use crate::sip::endpoint::Input;
use crate::sip::flow::{Flow, Link, Wire};
use crate::sip::message::{Frame, Message, frame};

/// Messages that may wait for a peer to read.
const QUEUE: usize = 256;
/// A peer that takes nothing for so long is cut off.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// A new connection has to say something in so long, and a handshake to end.
const GREETING_TIMEOUT: Duration = Duration::from_secs(15);
/// A peer who has not proven who he is, and is no trunk, may stay so long, ms.
pub(super) const PROOF_MS: u64 = 60_000;
/// A connection over which nothing came for so long is closed: longer than any registration lasts.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4_000);
/// How long we try to reach a peer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// When the server stops, what the endpoint still has to say is waited for so long.
pub(super) const FAREWELL: Duration = Duration::from_secs(2);
/// Connections that wait to be accepted.
const BACKLOG: i32 = 1_024;
/// Room made for one read, bytes.
const READ_SIZE: usize = 2_048;

/// Binds a listener; IPv6 ones take IPv6 only.
pub(crate) fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Accepts until the server stops; with `tls` each connection shakes hands first.
pub(crate) async fn accept(listener: TcpListener, tls: Option<ServerTls>, edge: Edge) {
    loop {
        let accepted = tokio::select! {
            () = edge.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, remote)) = accepted else {
            // Out of descriptors: let some be closed first.
            edge.clock.sleep(50).await;
            continue;
        };
        if !edge.gate.open(remote.ip(), edge.clock.now_ms()) {
            metrics::counter!("sip_refused_connections").increment(1);
            continue;
        }
        let (tls, edge) = (tls.clone(), edge.clone());
        edge.tasks.clone().spawn(async move {
            welcome(stream, remote, tls, &edge).await;
            edge.gate.close(remote.ip());
        });
    }
}

async fn welcome(stream: TcpStream, remote: SocketAddr, tls: Option<ServerTls>, edge: &Edge) {
    let Ok(local) = stream.local_addr() else {
        return;
    };
    let _ = stream.set_nodelay(true);
    match tls {
        None => {
            let (flow, queue) = flow(Transport::Tcp, local, remote, edge.gate.is_friend(remote.ip()));
            serve(stream, flow, queue, edge).await;
        }
        Some(tls) => match timeout(GREETING_TIMEOUT, tls.acceptor().accept(stream)).await {
            Ok(Ok(stream)) => {
                let (flow, queue) = flow(Transport::Tls, local, remote, edge.gate.is_friend(remote.ip()));
                serve(stream, flow, queue, edge).await;
            }
            Ok(Err(error)) => debug!(%remote, %error, "a TLS handshake failed"),
            Err(_) => debug!(%remote, "a TLS handshake took too long"),
        },
    }
}

/// Connects to a peer; its task runs until the connection ends.
pub(crate) async fn connect(
    transport: Transport,
    remote: SocketAddr,
    host: &str,
    tls: &ClientTls,
    edge: &Edge,
) -> io::Result<Flow> {
    let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(remote)).await??;
    let local = stream.local_addr()?;
    stream.set_nodelay(true)?;
    let (flow, queue) = flow(transport, local, remote, true);
    let (ours, task_edge) = (flow.clone(), edge.clone());
    if transport == Transport::Tls {
        let stream = timeout(CONNECT_TIMEOUT, tls.connect(host, stream)).await??;
        edge.tasks.spawn(async move { serve(stream, ours, queue, &task_edge).await });
    } else {
        edge.tasks.spawn(async move { serve(stream, ours, queue, &task_edge).await });
    }
    Ok(flow)
}

/// A flow by a new connection, and what is to be written to it.
pub(super) fn flow(
    transport: Transport,
    local: SocketAddr,
    remote: SocketAddr,
    trusted: bool,
) -> (Flow, mpsc::Receiver<Bytes>) {
    let (sender, queue) = mpsc::channel(QUEUE);
    (Flow { transport, local, remote, link: Link::Stream(Wire::new(sender, trusted)) }, queue)
}

/// A connection as its own task knows it: the task keeps nobody's way to it open.
pub(super) struct Ends {
    transport: Transport,
    local: SocketAddr,
    remote: SocketAddr,
    wire: Weak<Wire>,
}

impl Ends {
    /// Of a flow by a connection.
    pub(super) fn of(flow: &Flow) -> Option<Self> {
        match &flow.link {
            Link::Stream(wire) => Some(Self {
                transport: flow.transport,
                local: flow.local,
                remote: flow.remote,
                wire: Arc::downgrade(wire),
            }),
            _ => None,
        }
    }

    /// The flow, while somebody holds it.
    pub(super) fn flow(&self) -> Result<Flow, &'static str> {
        let wire = self.wire.upgrade().ok_or("nobody uses it")?;
        Ok(Flow { transport: self.transport, local: self.local, remote: self.remote, link: Link::Stream(wire) })
    }

    pub(super) fn is_trusted(&self) -> bool {
        self.wire.upgrade().is_some_and(|wire| wire.is_trusted())
    }
}

/// Runs one connection to its end.
async fn serve<S>(mut stream: S, flow: Flow, mut queue: mpsc::Receiver<Bytes>, edge: &Edge)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let remote = flow.remote;
    let Some(ends) = Ends::of(&flow) else {
        return;
    };
    // The endpoint keeps the flow from here on, while it or anything of its needs the connection.
    if edge.input.send(Input::Opened(flow)).await.is_err() {
        return;
    }
    if let Err(reason) = exchange(&mut stream, &ends, &mut queue, edge).await {
        debug!(%remote, reason, "a SIP connection ended");
    }
    queue.close();
    let _ = edge.input.send(Input::Closed(remote)).await;
    let _ = timeout(WRITE_TIMEOUT, stream.shutdown()).await;
}

async fn exchange<S>(
    stream: &mut S,
    ends: &Ends,
    queue: &mut mpsc::Receiver<Bytes>,
    edge: &Edge,
) -> Result<(), &'static str>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut buffer = BytesMut::new();
    let mut greeted = false;
    let mut proven = ends.is_trusted();
    let mut proof = std::pin::pin!(edge.clock.sleep(PROOF_MS));
    loop {
        let patience = if greeted { IDLE_TIMEOUT } else { GREETING_TIMEOUT };
        if buffer.is_empty() {
            // An idle connection keeps no buffer.
            buffer = BytesMut::new();
        }
        buffer.reserve(READ_SIZE);
        tokio::select! {
            biased;
            () = edge.stop.cancelled() => return drain(stream, queue).await,
            () = &mut proof, if !proven => {
                proven = ends.is_trusted();
                if !proven {
                    return Err("nobody has proven who he is");
                }
            }
            bytes = queue.recv() => {
                let bytes = bytes.ok_or("nobody uses it")?;
                greeted = true;
                write(stream, bytes, queue).await?;
            }
            read = timeout(patience, stream.read_buf(&mut buffer)) => match read {
                Err(_) => return Err("it is idle"),
                Ok(Err(_)) => return Err("it broke"),
                Ok(Ok(0)) => return Err("the peer closed it"),
                Ok(Ok(_)) => {
                    let messages = cut(&mut buffer, &ends.flow()?, edge)?;
                    greeted |= !messages.is_empty();
                    if !messages.is_empty() && edge.input.send(Input::Messages(messages)).await.is_err() {
                        return Err("the server stops");
                    }
                }
            },
        }
    }
}

/// Writes what the endpoint says last: it hangs up, and when it is gone, so is the last who could send.
async fn drain<S: AsyncWrite + Unpin>(stream: &mut S, queue: &mut mpsc::Receiver<Bytes>) -> Result<(), &'static str> {
    while let Ok(Some(bytes)) = timeout(FAREWELL, queue.recv()).await {
        write(stream, bytes, queue).await?;
    }
    Err("the server stops")
}

/// Writes one message and whatever waits behind it.
async fn write<S: AsyncWrite + Unpin>(
    stream: &mut S,
    first: Bytes,
    queue: &mut mpsc::Receiver<Bytes>,
) -> Result<(), &'static str> {
    let mut next = Some(first);
    while let Some(bytes) = next {
        match timeout(WRITE_TIMEOUT, stream.write_all(&bytes)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err("it broke"),
            Err(_) => return Err("the peer does not read"),
        }
        next = queue.try_recv().ok();
    }
    match timeout(WRITE_TIMEOUT, stream.flush()).await {
        Ok(Ok(())) => Ok(()),
        _ => Err("the peer does not read"),
    }
}

/// Cuts whole messages off the buffer; answers pings.
fn cut(buffer: &mut BytesMut, flow: &Flow, edge: &Edge) -> Result<Vec<(Message, Flow)>, &'static str> {
    let mut messages = Vec::new();
    loop {
        match frame(buffer) {
            Frame::Incomplete => return Ok(messages),
            Frame::Ping => {
                buffer.advance(4);
                if !flow.send(&Bytes::from_static(b"\r\n")) {
                    return Err("the peer does not read");
                }
            }
            Frame::Blank => buffer.advance(2),
            Frame::Message(length) => {
                let data = buffer.split_to(length.min(buffer.len()));
                if !edge.gate.admits(flow.remote.ip(), edge.clock.now_ms()) {
                    continue;
                }
                match Message::parse(&data) {
                    Ok(message) => messages.push((message, flow.clone())),
                    Err(_) => return Err("it does not speak SIP"),
                }
            }
            Frame::Garbage => return Err("it does not speak SIP"),
        }
    }
}
