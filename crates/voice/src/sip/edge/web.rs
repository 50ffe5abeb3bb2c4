//! WebSockets: phones in browsers (RFC 7118), one message a frame.
//!
//! The HTTP server accepts and upgrades; here is what a connection may do and how long, as for TCP: a
//! peer that does not read, does not prove who he is or gives no sign of life is cut off.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::sink::{Sink, SinkExt};
use futures_util::stream::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio::time::{interval, timeout};
use tracing::debug;

use super::Edge;
use super::stream::{Ends, FAREWELL, PROOF_MS, WRITE_TIMEOUT, flow};
use crate::ports::Transport;
use crate::sip::endpoint::Input;
use crate::sip::flow::Flow;
use crate::sip::message::Message;
use crate::sip::ways::any_address;

/// How often we ask for a sign of life; proxies keep a connection that is used so often.
const SIGN_OF_LIFE: Duration = Duration::from_secs(20);
/// So many of them unanswered, and the peer is gone.
const MAX_UNANSWERED: u32 = 2;
/// The keep-alive of RFC 5626 §4.4.1, and the answer to it.
const PING: &[u8] = b"\r\n\r\n";
const PONG: &[u8] = b"\r\n";

/// What travels on a phone's WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebFrame {
    /// The payload of a text or binary frame.
    Message(Bytes),
    /// From us: a ping. From the peer: any frame that is a sign of life and no more.
    Life,
}

/// A place for one WebSocket that is about to be opened; dropped, it is free again.
pub struct WebSocketPlace {
    edge: Edge,
    transport: Transport,
    local: SocketAddr,
    remote: SocketAddr,
}

impl Drop for WebSocketPlace {
    fn drop(&mut self) {
        self.edge.gate.close(self.remote.ip());
    }
}

impl WebSocketPlace {
    /// A place for a peer, unless he is banned or has too many, or all together have.
    pub(crate) fn take(edge: Edge, remote: SocketAddr, port: u16, secure: bool) -> Option<Self> {
        if !edge.gate.open(remote.ip(), edge.clock.now_ms()) {
            metrics::counter!("sip_refused_connections").increment(1);
            return None;
        }
        // A proxy may stand between: the peer knows us by the route to him, not by the socket's address.
        let local = SocketAddr::new(any_address(remote.ip()), port);
        let transport = if secure { Transport::Wss } else { Transport::Ws };
        Some(Self { edge, transport, local, remote })
    }

    /// Carries messages between the socket and the endpoint until one of them ends.
    pub async fn serve<S, E>(self, mut socket: S)
    where
        S: Stream<Item = Result<WebFrame, E>> + Sink<WebFrame> + Unpin + Send,
    {
        let Self { edge, transport, local, remote } = &self;
        let (flow, mut queue) = flow(*transport, *local, *remote, false);
        let Some(ends) = Ends::of(&flow) else {
            return;
        };
        if edge.input.send(Input::Opened(flow)).await.is_err() {
            return;
        }
        let conversation = Conversation { ends, edge, heard: true, unanswered: 0 };
        if let Err(reason) = conversation.run(&mut socket, &mut queue).await {
            debug!(%remote, reason, "a WebSocket of SIP ended");
        }
        queue.close();
        let _ = edge.input.send(Input::Closed(*remote)).await;
        let _ = timeout(WRITE_TIMEOUT, socket.close()).await;
    }
}

/// One connection at work.
struct Conversation<'a> {
    ends: Ends,
    edge: &'a Edge,
    /// Whether the peer was heard since we last asked.
    heard: bool,
    unanswered: u32,
}

impl Conversation<'_> {
    async fn run<S, E>(mut self, socket: &mut S, queue: &mut mpsc::Receiver<Bytes>) -> Result<(), &'static str>
    where
        S: Stream<Item = Result<WebFrame, E>> + Sink<WebFrame> + Unpin + Send,
    {
        let mut proven = false;
        let mut proof = std::pin::pin!(self.edge.clock.sleep(PROOF_MS));
        let mut life = interval(SIGN_OF_LIFE);
        loop {
            tokio::select! {
                biased;
                () = self.edge.stop.cancelled() => return drain(socket, queue).await,
                () = &mut proof, if !proven => {
                    proven = self.ends.is_trusted();
                    if !proven {
                        return Err("nobody has proven who he is");
                    }
                }
                bytes = queue.recv() => write(socket, WebFrame::Message(bytes.ok_or("nobody uses it")?)).await?,
                _ = life.tick() => self.ask_for_life(socket).await?,
                frame = socket.next() => match frame {
                    None => return Err("the peer closed it"),
                    Some(Err(_)) => return Err("it broke"),
                    Some(Ok(frame)) => {
                        self.heard = true;
                        self.take(frame).await?;
                    }
                },
            }
        }
    }

    async fn ask_for_life<S: Sink<WebFrame> + Unpin>(&mut self, socket: &mut S) -> Result<(), &'static str> {
        self.unanswered = if self.heard { 0 } else { self.unanswered + 1 };
        self.heard = false;
        if self.unanswered > MAX_UNANSWERED {
            return Err("the peer gives no sign of life");
        }
        write(socket, WebFrame::Life).await
    }

    /// Hands one message over; answers a keep-alive.
    async fn take(&self, frame: WebFrame) -> Result<(), &'static str> {
        let WebFrame::Message(data) = frame else {
            return Ok(());
        };
        let flow = self.ends.flow()?;
        match &*data {
            PING => return if flow.send(&Bytes::from_static(PONG)) { Ok(()) } else { Err("the peer does not read") },
            b"" | PONG => return Ok(()),
            _ => {}
        }
        if !self.edge.gate.admits(flow.remote.ip(), self.edge.clock.now_ms()) {
            return Ok(());
        }
        let message = Message::parse(&data).map_err(|_| "it does not speak SIP")?;
        self.hand_over(message, flow).await
    }

    async fn hand_over(&self, message: Message, flow: Flow) -> Result<(), &'static str> {
        self.edge.input.send(Input::Messages(vec![(message, flow)])).await.map_err(|_| "the server stops")
    }
}

/// Writes what the endpoint says last.
async fn drain<S: Sink<WebFrame> + Unpin>(
    socket: &mut S,
    queue: &mut mpsc::Receiver<Bytes>,
) -> Result<(), &'static str> {
    while let Ok(Some(bytes)) = timeout(FAREWELL, queue.recv()).await {
        write(socket, WebFrame::Message(bytes)).await?;
    }
    Err("the server stops")
}

async fn write<S: Sink<WebFrame> + Unpin>(socket: &mut S, frame: WebFrame) -> Result<(), &'static str> {
    match timeout(WRITE_TIMEOUT, socket.send(frame)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err("it broke"),
        Err(_) => Err("the peer does not read"),
    }
}
