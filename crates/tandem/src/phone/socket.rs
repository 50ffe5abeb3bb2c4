//! `GET /v1/rtc`: one browser phone's WebSocket, from its credential to its end.
//!
//! Invariant: no frame but `hello` is looked at before a person with an extension has been recognised; the credential is
//! looked at again as long as the socket is open; and whoever is sent away is told why, by an error and by the close
//! frame's code, because a page sees nothing of a refused handshake.

use std::net::IpAddr;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{FromRef, FromRequestParts};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use calls::Calls;
use kernel::http::{Client, Cookies, Query, SESSION_COOKIE, bearer_token};
use kernel::limit::{Buckets, Rate};
use kernel::{Action, Credential, Kernel, Principal, Problem, Secret};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::{interval, timeout};
use voice::Voice;
use voice::leg::PhoneId;
use voice::ports::LineIdentity;
use voice::rtc::frame::IceServer;
use voice::rtc::frame::{Down, Fault, MAX_FRAME_BYTES, Up};
use voice::rtc::{BrowserPhone, ICE_SERVERS_FRESH_MS, PhoneAccount, PhoneRefused, PhoneRights, ice_servers};

/// Bytes of an idle WebSocket's read buffer (axum's default costs 133 kB a connection).
const READ_BUFFER: usize = 4_096;
/// The first frame has to come within this.
const HELLO_PATIENCE: Duration = Duration::from_secs(10);
/// Control frames that are borne before it.
const PINGS_BEFORE_HELLO: u32 = 16;
/// The credential is looked at again this often: calls go on no longer after it was revoked.
const LOOK: Duration = Duration::from_secs(5);
/// Frames that a phone may say: a burst when it comes back to its calls, and so many in the long run.
const FRAMES: Rate = Rate { burst: 60, per_minute: 20 * 60 };
/// Close code of a server that stops (RFC 6455, section 7.4.1).
const GOING_AWAY: u16 = 1_001;
/// A sign of life this often, so that proxies keep the connection.
const SIGN_OF_LIFE: Duration = Duration::from_secs(20);
/// So long is waited for the answer to a close frame: what is closed with bytes unread takes the frame back.
const CLOSING_PATIENCE: Duration = Duration::from_secs(1);
/// A phone that takes no byte for so long is gone.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);

/// What a phone came with.
#[derive(Clone)]
enum Proof {
    Token(Secret),
    Session(Secret),
}

/// A credential, and what it was recognised by.
pub(super) struct Recognised {
    credential: Credential,
    proof: Proof,
}

/// The credential of the request itself; the first frame may bring it instead.
pub(super) enum OfRequest {
    /// It carries none.
    Nothing,
    /// It carries a good one.
    Good(Recognised),
    /// Its cookie is of a session that is over, or of somebody who may not phone.
    WrongCookie,
}

impl<S> FromRequestParts<S> for OfRequest
where
    S: Send + Sync,
    Kernel: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let token = bearer_token(&parts.headers).map(|token| Proof::Token(Secret::new(token)));
        let cookie = || Cookies(&parts.headers).get(SESSION_COOKIE).map(|cookie| Proof::Session(Secret::new(cookie)));
        let Some(proof) = token.or_else(cookie) else { return Ok(Self::Nothing) };
        // A cookie is taken from our own pages only: the extractor compares the Origin.
        let is_page = matches!(proof, Proof::Session(_));
        match Credential::from_request_parts(parts, state).await {
            Ok(credential) => match credential.principal.authorize(Action::UseOwnPhone) {
                Ok(_) => Ok(Self::Good(Recognised { credential, proof })),
                Err(_) if is_page => Ok(Self::WrongCookie),
                Err(problem) => Err(problem),
            },
            Err(problem) if is_page && problem.status() == StatusCode::UNAUTHORIZED => Ok(Self::WrongCookie),
            Err(problem) => Err(problem),
        }
    }
}

/// What a socket works with.
#[derive(Clone, FromRef)]
pub(super) struct Parties {
    kernel: Kernel,
    calls: Calls,
    voice: Voice,
}

/// `?extension=1002`
#[derive(Debug, Deserialize)]
pub(super) struct PhoneQuery {
    /// Which of the own extensions the phone is of; absent = the first one.
    extension: Option<String>,
}

/// Opens a browser phone's socket.
pub(super) async fn open(
    axum::extract::State(kernel): axum::extract::State<Kernel>,
    axum::extract::State(calls): axum::extract::State<Calls>,
    axum::extract::State(voice): axum::extract::State<Voice>,
    client: Client,
    of_request: OfRequest,
    Query(query): Query<PhoneQuery>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let parties = Parties { kernel, calls, voice };
    upgrade.read_buffer_size(READ_BUFFER).max_frame_size(MAX_FRAME_BYTES).max_message_size(MAX_FRAME_BYTES).on_upgrade(
        move |socket| {
            let tasks = parties.kernel.tasks.clone();
            tasks.track_future(serve(parties, socket, client.ip, of_request, query.extension))
        },
    )
}

/// One socket, from its hello to its end.
async fn serve(
    parties: Parties,
    mut socket: WebSocket,
    peer: IpAddr,
    of_request: OfRequest,
    extension: Option<String>,
) {
    let stop = parties.kernel.stop.clone();
    let greeted = greet(&parties, &mut socket, peer, of_request, extension.as_deref());
    let parting = match stop.run_until_cancelled(greeted).await {
        Some(Ok(greeted)) => talk(&parties, &mut socket, greeted).await,
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
enum Parting {
    /// The phone has gone, or another socket has taken its place.
    Gone,
    /// The server stops.
    Stop,
    /// The phone is sent away; this error says why.
    Error(Down),
}

impl Parting {
    /// Why a token does not let in: a page tries again unless the token itself is refused.
    fn for_token(problem: &Problem) -> Self {
        match problem.status() {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Self::because(Fault::Unauthorized, "the token is not good")
            }
            StatusCode::TOO_MANY_REQUESTS => Self::because(Fault::RateLimited, "too many requests with this token"),
            _ => Self::because(Fault::Unavailable, "the token cannot be looked at now"),
        }
    }

    fn because(code: Fault, message: &str) -> Self {
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
    parties: &Parties,
    socket: &mut WebSocket,
    peer: IpAddr,
    of_request: OfRequest,
    extension: Option<&str>,
) -> Result<Greeted, Parting> {
    let (was, token) = hello(socket).await?;
    let recognised = match (of_request, token) {
        (OfRequest::Good(recognised), _) => recognised,
        (OfRequest::Nothing, Some(token)) => match parties.kernel.admit(token.expose(), peer).await {
            Ok(credential) => Recognised { credential, proof: Proof::Token(token) },
            Err(problem) => return Err(Parting::for_token(&problem)),
        },
        (OfRequest::WrongCookie, _) => return Err(Parting::because(Fault::Unauthorized, "the session is over")),
        (OfRequest::Nothing, None) => {
            return Err(Parting::because(Fault::Unauthorized, "sign in, or say hello with a token"));
        }
    };
    let Recognised { credential, proof } = recognised;
    let account = account(parties, &credential.principal, extension).await?;
    let line = account.line.clone();
    match parties.voice.browser_phone(account, was.as_ref(), peer) {
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

/// Whose phone it is.
async fn account(parties: &Parties, principal: &Principal, extension: Option<&str>) -> Result<PhoneAccount, Parting> {
    let Ok(org) = principal.authorize(Action::UseOwnPhone) else {
        return Err(Parting::because(Fault::Unauthorized, "this credential may not phone"));
    };
    let nobody = || Parting::because(Fault::NoExtension, "you have no such extension: ask an administrator");
    let person = principal.person().ok_or_else(nobody)?;
    match parties.calls.directory().browser_line(org, person, extension).await {
        Ok(Some((line, name))) => {
            let ice_servers = relays(parties, person);
            Ok(PhoneAccount { line, name, ice_servers, rights: PhoneRights::All })
        }
        Ok(None) => Err(nobody()),
        Err(error) => {
            tracing::error!(%error, "a phone's extension cannot be read");
            Err(Parting::because(Fault::Unavailable, "try again in a moment"))
        }
    }
}

/// What a person's browser may ask for addresses, with credentials as of now.
fn relays(parties: &Parties, person: &str) -> Vec<IceServer> {
    let (media, now_ms) = (&parties.kernel.config.media, parties.kernel.clock.now_ms());
    ice_servers(&media.ice_servers, media.turn_secret.as_ref(), person, now_ms)
}

/// Carries frames both ways until one side ends.
async fn talk(parties: &Parties, socket: &mut WebSocket, greeted: Greeted) -> Parting {
    let Greeted { phone, mut told, proof, line } = greeted;
    let clock = &parties.kernel.clock;
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
                if !may_stay(parties, &proof, &line).await {
                    return expel(socket, &phone, told).await;
                }
                let is_stale = clock.now_ms().saturating_sub(relays_as_of) >= ICE_SERVERS_FRESH_MS;
                match line.person.as_ref().filter(|_| is_stale) {
                    Some(person) => {
                        relays_as_of = clock.now_ms();
                        say(socket, &Down::IceServers { ice_servers: relays(parties, person) }).await
                    }
                    None => true,
                }
            }
            () = parties.kernel.stop.cancelled() => return Parting::Stop,
        };
        if !goes_on {
            // A page that signs out leaves with its session: nobody comes back to these calls.
            if !may_stay(parties, &proof, &line).await {
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

/// Whether what the phone came with still opens it.
async fn may_stay(parties: &Parties, proof: &Proof, line: &LineIdentity) -> bool {
    let known = match proof {
        Proof::Token(token) => parties.kernel.authenticate(token.expose()).await,
        Proof::Session(cookie) => parties.kernel.authenticate_session(cookie.expose()).await,
    };
    match known {
        Ok(Some(credential)) => {
            credential.principal.authorize(Action::UseOwnPhone).is_ok()
                && credential.principal.person() == line.person.as_ref()
        }
        Ok(None) => false,
        // The store cannot say: what held a moment ago holds until it can.
        Err(_) => true,
    }
}

async fn say(socket: &mut WebSocket, down: &Down) -> bool {
    send(socket, Message::Text(down.write().into())).await
}

async fn send(socket: &mut WebSocket, message: Message) -> bool {
    matches!(timeout(WRITE_PATIENCE, socket.send(message)).await, Ok(Ok(())))
}
