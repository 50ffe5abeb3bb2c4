//! One WebSocket by RFC 6455, from its handshake to its last byte.
//!
//! Invariant: whoever breaks the protocol is told so by the close code of section 7.4.1, and hears it: what it is still
//! sending is read before the connection ends, because a connection that is closed with bytes unread takes back what
//! was written last.

use std::future::Future;
use std::time::Duration;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::header::{CONTENT_TYPE, SEC_WEBSOCKET_VERSION, UPGRADE};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use kernel::Problem;
use kernel::error::codes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Error, Message, Utf8Bytes};

use super::follow::Frame;
use super::wire::MAX_FRAME_BYTES;

/// Bytes of the read buffer, which every connection has: the library's default costs 133 kB.
const READ_BUFFER: usize = 2_048;
/// Bytes that are gathered before they are written; what is gathered stays reserved as long as the connection lives.
const WRITE_BUFFER: usize = 4_096;
/// A client that takes nothing for so long is gone.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);
/// So long is waited for the answer to a close frame.
const CLOSING_PATIENCE: Duration = Duration::from_secs(1);
/// The only version there is (section 4.4).
const VERSION: HeaderValue = HeaderValue::from_static("13");

/// A request that asks for a WebSocket, as an extractor.
pub(super) struct Handshake {
    on_upgrade: OnUpgrade,
    answer: Response,
}

impl<S: Sync> FromRequestParts<S> for Handshake {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let mut request = Request::new(());
        *request.method_mut() = parts.method.clone();
        *request.version_mut() = parts.version;
        request.headers_mut().clone_from(&parts.headers);
        let answer = create_response_with_body(&request, Body::empty).map_err(refusal)?;
        let no_connection = || Problem::new(codes::INVALID_REQUEST).detail("this connection cannot be a WebSocket");
        let on_upgrade = parts.extensions.remove::<OnUpgrade>().ok_or_else(|| no_connection().into_response())?;
        Ok(Self { on_upgrade, answer })
    }
}

/// Why there is no handshake (section 4.2.2); whoever asks for another version is told which one there is.
fn refusal(error: Error) -> Response {
    let problem = Problem::new(codes::INVALID_REQUEST).detail(format!("no handshake of a WebSocket: {error}"));
    if matches!(error, Error::Protocol(ProtocolError::MissingSecWebSocketVersionHeader)) {
        let body = serde_json::to_string(&problem.body()).unwrap_or_default();
        let headers = [
            (SEC_WEBSOCKET_VERSION, VERSION),
            (UPGRADE, HeaderValue::from_static("websocket")),
            (CONTENT_TYPE, HeaderValue::from_static("application/problem+json")),
        ];
        return (StatusCode::UPGRADE_REQUIRED, headers, body).into_response();
    }
    problem.into_response()
}

impl Handshake {
    /// The answer to the request, and the socket once the answer has been sent.
    pub(super) fn accept(self) -> (Response, impl Future<Output = Option<Link>> + Send) {
        let Self { on_upgrade, answer } = self;
        let link = async {
            let stream = TokioIo::new(on_upgrade.await.ok()?);
            let config = WebSocketConfig::default()
                .read_buffer_size(READ_BUFFER)
                .write_buffer_size(WRITE_BUFFER)
                .max_message_size(Some(MAX_FRAME_BYTES))
                .max_frame_size(Some(MAX_FRAME_BYTES));
            Some(Link { stream: Box::new(WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await) })
        };
        (answer, link)
    }
}

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// A message, whole.
    Text(Utf8Bytes),
    /// A ping, which is answered already, or a pong.
    Sign,
    /// The client has gone; a close frame of it is answered already.
    Gone,
    /// The protocol was broken: to be closed with this code.
    Broken(CloseCode),
}

/// An open socket. Boxed: a task holds each of its values as often as it moves them.
pub(super) struct Link {
    stream: Box<WebSocketStream<TokioIo<Upgraded>>>,
}

impl Link {
    /// Waits for what comes next. Dropped, it has taken nothing.
    pub(super) async fn hear(&mut self) -> Heard {
        loop {
            return match self.stream.next().await {
                Some(Ok(Message::Text(text))) => Heard::Text(text),
                Some(Ok(Message::Binary(_))) => Heard::Broken(CloseCode::Unsupported),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Heard::Sign,
                // The next reading sends the answer, then says that it is over.
                Some(Ok(Message::Close(_))) => continue,
                Some(Err(Error::Capacity(_))) => Heard::Broken(CloseCode::Size),
                Some(Err(Error::Utf8(_))) => Heard::Broken(CloseCode::Invalid),
                Some(Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake))) => Heard::Gone,
                Some(Err(Error::Protocol(_))) => Heard::Broken(CloseCode::Protocol),
                Some(Err(_)) | None => Heard::Gone,
            };
        }
    }

    /// Sends frames; false when the client takes none any more.
    pub(super) async fn say(&mut self, frames: impl IntoIterator<Item = Frame>) -> bool {
        let all = async {
            for frame in frames {
                self.stream.feed(Message::Text(frame)).await?;
            }
            self.stream.flush().await
        };
        matches!(timeout(WRITE_PATIENCE, all).await, Ok(Ok(())))
    }

    /// Asks for a sign of life.
    pub(super) async fn ping(&mut self) -> bool {
        matches!(timeout(WRITE_PATIENCE, self.stream.send(Message::Ping(Bytes::new()))).await, Ok(Ok(())))
    }

    /// Says the last word, and reads what is still coming.
    pub(super) async fn close(mut self, code: CloseCode, reason: &'static str) {
        let close = Message::Close(Some(CloseFrame { code, reason: Utf8Bytes::from_static(reason) }));
        if !matches!(timeout(WRITE_PATIENCE, self.stream.send(close)).await, Ok(Ok(()))) {
            return;
        }
        let answered = async { while let Some(Ok(_)) = self.stream.next().await {} };
        if timeout(CLOSING_PATIENCE, answered).await.is_err() {
            return;
        }
        // After a broken frame nothing can be read as frames any more.
        let mut raw = self.stream.into_inner();
        let mut rest = [0; 1_024];
        let drained = async {
            if raw.shutdown().await.is_ok() {
                while raw.read(&mut rest).await.is_ok_and(|length| length > 0) {}
            }
        };
        let _in_time = timeout(CLOSING_PATIENCE, drained).await;
    }
}
