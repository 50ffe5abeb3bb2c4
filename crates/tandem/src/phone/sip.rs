//! `/sip`: SIP over WebSocket (RFC 7118), for JsSIP, SIP.js and others that run in a browser.
//!
//! Invariant: the peer that limits and bans count by is the real one, behind whatever proxy.

use std::future::ready;
use std::net::SocketAddr;

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{Extension, State};
use axum::response::Response;
use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use kernel::error::codes;
use kernel::http::{Client, Peer};
use kernel::{Kernel, Problem};
use voice::{Voice, WebFrame};

/// The subprotocol that both sides must name (RFC 7118 §4.1).
const SUBPROTOCOL: &str = "sip";
/// Bytes of a connection's read buffer; axum's default costs 133 kB.
const READ_BUFFER: usize = 2_048;
/// Bytes that may wait to be written before the socket must take them.
const WRITE_BUFFER: usize = 2_048;
/// The largest message, bytes: as large as a datagram may be.
const MAX_MESSAGE: usize = 65_535;
/// What a phone is told to wait that finds no place, seconds.
const RETRY_AFTER_S: u64 = 30;

/// Opens the socket. The handshake names the subprotocol `sip`; then each frame is a SIP message, and phones register
/// and call as over TCP.
pub(super) async fn open(
    State(kernel): State<Kernel>,
    State(voice): State<Voice>,
    client: Client,
    peer: Option<Extension<Peer>>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let upgrade = upgrade.map_err(|_| wrong_handshake())?.protocols([SUBPROTOCOL]);
    if upgrade.selected_protocol().is_none() {
        return Err(wrong_handshake());
    }
    let (port, peer_port) = peer.map_or((0, 0), |Extension(peer)| (peer.port, peer.address.port()));
    let remote = SocketAddr::new(client.ip, peer_port);
    let Some(place) = voice.web_socket(remote, port, client.https) else {
        return Err(Problem::rate_limited(RETRY_AFTER_S));
    };
    Ok(upgrade
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_message_size(MAX_MESSAGE)
        .max_frame_size(MAX_MESSAGE)
        .on_upgrade(move |socket| kernel.tasks.clone().track_future(place.serve(frames(socket)))))
}

fn wrong_handshake() -> Problem {
    Problem::new(codes::INVALID_REQUEST).detail("a WebSocket handshake with Sec-WebSocket-Protocol: sip is expected")
}

/// The socket as voice knows it: messages and signs of life.
fn frames(socket: WebSocket) -> impl Stream<Item = Result<WebFrame, axum::Error>> + Sink<WebFrame> + Unpin + Send {
    let socket = socket.map(|frame| {
        frame.map(|frame| match frame {
            Message::Text(text) => WebFrame::Message(text.into()),
            Message::Binary(bytes) => WebFrame::Message(bytes),
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) => WebFrame::Life,
        })
    });
    socket.with(|frame| {
        ready(Ok::<_, axum::Error>(match frame {
            WebFrame::Message(bytes) => match Utf8Bytes::try_from(bytes.clone()) {
                Ok(text) => Message::Text(text),
                Err(_) => Message::Binary(bytes),
            },
            WebFrame::Life => Message::Ping(Bytes::new()),
        }))
    })
}
