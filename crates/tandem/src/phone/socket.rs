//! `GET /v1/rtc`: one browser phone's WebSocket, from its credential to its end.
//!
//! Invariant: no frame but `hello` is looked at before its owner has been recognised; the credential is
//! looked at again as long as the socket is open; and whoever is sent away is told why, by an error and by the close
//! frame's code, because a page sees nothing of a refused handshake.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{FromRef, State};
use axum::http::header::ORIGIN;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use calls::Calls;
use kernel::http::{Client, Query};
use kernel::limit::{Buckets, Rate};
use kernel::{Kernel, Problem, Secret};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::{interval, timeout};
use voice::Voice;
use voice::leg::PhoneId;
use voice::ports::LineIdentity;
use voice::rtc::frame::{Down, Fault, MAX_FRAME_BYTES, Up};
use voice::rtc::{BrowserPhone, ICE_SERVERS_FRESH_MS, PhoneRefused};

use super::owner::{Caller, OfRequest, Proof, relays};
use crate::app::State as All;
use crate::chat::calling::ChatCalls;

/// Bytes of an idle WebSocket's read buffer (axum's default costs 133 kB a connection).
const READ_BUFFER: usize = 4_096;
/// The first frame has to come within this.
const HELLO_PATIENCE: Duration = Duration::from_secs(10);
/// Control frames that are borne before it.
const PINGS_BEFORE_HELLO: u32 = 16;
/// The credential is looked at again this often: calls go on no longer after it was revoked.
const LOOK: Duration = Duration::from_secs(5);
/// Frames that a phone may say: a burst when it comes back to its calls, and so many in the long run.
const FRAMES: Rate = Rate::per_minute(20 * 60).bursting(60);
/// Close code of a server that stops (RFC 6455, section 7.4.1).
const GOING_AWAY: u16 = 1_001;
/// A sign of life this often, so that proxies keep the connection.
const SIGN_OF_LIFE: Duration = Duration::from_secs(20);
/// So long is waited for the answer to a close frame: what is closed with bytes unread takes the frame back.
const CLOSING_PATIENCE: Duration = Duration::from_secs(1);
/// A phone that takes no byte for so long is gone.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);

/// What a socket works with.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) kernel: Kernel,
    pub(super) calls: Calls,
    pub(super) chat_calls: ChatCalls,
    voice: Voice,
}

impl FromRef<All> for Server {
    fn from_ref(all: &All) -> Self {
        Self {
            kernel: Kernel::from_ref(all),
            calls: Calls::from_ref(all),
            chat_calls: ChatCalls::from_ref(all),
            voice: Voice::from_ref(all),
        }
    }
}

/// `?extension=1002`
#[derive(Debug, Deserialize)]
pub(super) struct PhoneQuery {
    /// Which of the own extensions the phone is of; absent = the first one.
    extension: Option<String>,
}

/// Opens a browser phone's socket.
pub(super) async fn open(
    State(server): State<Server>,
    client: Client,
    headers: HeaderMap,
    of_request: OfRequest,
    Query(query): Query<PhoneQuery>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let origin = headers.get(ORIGIN).filter(|_| !server.kernel.is_own_page(&headers));
    let foreign_origin = origin.map(|origin| String::from_utf8_lossy(origin.as_bytes()).into_owned());
    let caller = Caller { ip: client.ip, foreign_origin };
    upgrade.read_buffer_size(READ_BUFFER).max_frame_size(MAX_FRAME_BYTES).max_message_size(MAX_FRAME_BYTES).on_upgrade(
        move |socket| {
            let tasks = server.kernel.tasks.clone();
            tasks.track_future(serve(server, socket, caller, of_request, query.extension))
        },
    )
}

/// One socket, from its hello to its end.
async fn serve(
    server: Server,
    mut socket: WebSocket,
    caller: Caller,
    of_request: OfRequest,
    extension: Option<String>,
) {
    let stop = server.kernel.stop.clone();
    let greeted = greet(&server, &mut socket, &caller, of_request, extension.as_deref());
    let parting = match stop.run_until_cancelled(greeted).await {
        Some(Ok(greeted)) => talk(&server, &mut socket, greeted).await,
        Some(Err(parting)) => parting,
        None => Parting::Stop,
    };
    part(&mut socket, parting).await;
}

/// A phone that was recognised.
struct Greeted {
    phone: BrowserPhone,
    told: mpsc::Receiver<Down>,
    proof: Proof,
    line: LineIdentity,
}

/// Why a socket ends.
pub(super) enum Parting {
    /// The phone has gone, or another socket has taken its place.
    Gone,
    /// The server stops.
    Stop,
    /// The phone is sent away; this error says why.
    Error(Down),
}

impl Parting {
    /// Why a token does not let in: a page tries again unless the token itself is refused.
    pub(super) fn for_token(problem: &Problem) -> Self {
        match problem.status() {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Self::because(Fault::Unauthorized, "the token is not good")
            }
            StatusCode::TOO_MANY_REQUESTS => Self::because(Fault::RateLimited, "too many requests with this token"),
            _ => Self::because(Fault::Unavailable, "the token cannot be looked at now"),
        }
    }

    pub(super) fn because(code: Fault, message: &str) -> Self {
        Self::Error(Down::Error { code, message: message.to_owned(), id: None, field: None })
    }
}

/// Says the last word.
async fn part(socket: &mut WebSocket, parting: Parting) {
    let code = match &parting {
        Parting::Gone => None,
        Parting::Stop => Some(GOING_AWAY),
        Parting::Error(error) => {
            say(socket, error).await;
            if let Down::Error { code, .. } = error { Some(code.close_code()) } else { None }
        }
    };
    let close = Message::Close(code.map(|code| CloseFrame { code, reason: Utf8Bytes::default() }));
    if send(socket, close).await {
        let _ = timeout(CLOSING_PATIENCE, async { while let Some(Ok(_)) = socket.recv().await {} }).await;
    }
}

/// Waits for the first frame and says who it is.
async fn greet(
    server: &Server,
    socket: &mut WebSocket,
    caller: &Caller,
    of_request: OfRequest,
    extension: Option<&str>,
) -> Result<Greeted, Parting> {
    let (was, token) = hello(socket).await?;
    let recognised = of_request.recognised(server, token, caller).await?;
    let (account, proof) = recognised.account(server, extension).await?;
    let line = account.line.clone();
    match server.voice.browser_phone(account, was.as_ref(), caller.ip) {
        Ok((phone, told)) => Ok(Greeted { phone, told, proof, line }),
        Err(error @ (PhoneRefused::NotHere | PhoneRefused::TooMany)) => {
            Err(Parting::because(Fault::Unavailable, &error.to_string()))
        }
    }
}

/// The first frame, before which a stranger may ping a little.
async fn hello(socket: &mut WebSocket) -> Result<(Option<PhoneId>, Option<Secret>), Parting> {
    let first = timeout(HELLO_PATIENCE, async {
        for _ in 0..=PINGS_BEFORE_HELLO {
            match socket.recv().await? {
                Ok(Message::Text(text)) => return Some(text),
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                Ok(Message::Binary(_) | Message::Close(_)) | Err(_) => return None,
            }
        }
        None
    });
    let first = first.await.ok().flatten().ok_or(Parting::Gone)?;
    match Up::read(&first) {
        Ok(Up::Hello { phone, token }) => Ok((phone, token)),
        Ok(_) => Err(Parting::because(Fault::WrongState, "the first frame is hello")),
        Err(error) => Err(Parting::Error(error)),
    }
}

/// Carries frames both ways until one side ends.
async fn talk(server: &Server, socket: &mut WebSocket, greeted: Greeted) -> Parting {
    let Greeted { phone, mut told, proof, line } = greeted;
    let clock = &server.kernel.clock;
    let (mut life, mut look) = (interval(SIGN_OF_LIFE), interval(LOOK));
    let (frames, controls) = (Buckets::new(FRAMES), Buckets::new(FRAMES));
    let mut relays_as_of = clock.now_ms();
    loop {
        let goes_on = tokio::select! {
            down = told.recv() => match down {
                Some(down) => say(socket, &down).await,
                None => return Parting::Gone,
            },
            message = socket.recv() => match message {
                Some(Ok(Message::Text(text))) => {
                    if frames.take((), clock.now_ms()).is_err() {
                        return Parting::because(Fault::RateLimited, "too many frames");
                    }
                    take(socket, &phone, &text).await
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => controls.take((), clock.now_ms()).is_ok(),
                Some(Ok(Message::Binary(_) | Message::Close(_)) | Err(_)) | None => false,
            },
            _ = life.tick() => send(socket, Message::Ping(Bytes::new())).await,
            _ = look.tick() => {
                if !proof.still_opens(server, &line).await {
                    return expel(socket, &phone, told).await;
                }
                let is_stale = clock.now_ms().saturating_sub(relays_as_of) >= ICE_SERVERS_FRESH_MS;
                match proof.relay_user(&line).filter(|_| is_stale) {
                    Some(whom) => {
                        relays_as_of = clock.now_ms();
                        say(socket, &Down::IceServers { ice_servers: relays(server, &whom) }).await
                    }
                    None => true,
                }
            }
            () = server.kernel.stop.cancelled() => return Parting::Stop,
        };
        if !goes_on {
            // A page that signs out leaves with its session: nobody comes back to these calls.
            if !proof.still_opens(server, &line).await {
                phone.expel().await;
            }
            return Parting::Gone;
        }
    }
}

/// Ends the phone and its calls, and carries its last frames.
async fn expel(socket: &mut WebSocket, phone: &BrowserPhone, mut told: mpsc::Receiver<Down>) -> Parting {
    phone.expel().await;
    while let Ok(Some(down)) = timeout(WRITE_PATIENCE, told.recv()).await {
        if !say(socket, &down).await {
            return Parting::Gone;
        }
    }
    Parting::because(Fault::Unauthorized, "the credential is no longer good")
}

async fn take(socket: &mut WebSocket, phone: &BrowserPhone, text: &Utf8Bytes) -> bool {
    match Up::read(text) {
        Ok(frame) => {
            phone.say(frame).await;
            true
        }
        Err(error) => say(socket, &error).await,
    }
}

async fn say(socket: &mut WebSocket, down: &Down) -> bool {
    send(socket, Message::Text(down.write().into())).await
}

async fn send(socket: &mut WebSocket, message: Message) -> bool {
    matches!(timeout(WRITE_PATIENCE, socket.send(message)).await, Ok(Ok(())))
}
