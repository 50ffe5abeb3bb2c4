//! `GET /v1/rtc`: one browser phone's WebSocket, from its credential to its end.
//!
//! Invariant: no frame but `hello` is looked at before a person with an extension has been recognised, and the credential
//! is looked at again as long as the socket is open.

use std::net::IpAddr;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use axum::response::Response;
use calls::Calls;
use kernel::http::{Client, Cookies, SESSION_COOKIE, bearer_token};
use kernel::{Action, Credential, Kernel, Principal, Problem, Secret};
use tokio::sync::mpsc;
use tokio::time::{interval, timeout};
use voice::Voice;
use voice::leg::PhoneId;
use voice::ports::LineIdentity;
use voice::rtc::frame::{Down, Fault, MAX_FRAME_BYTES, Up};
use voice::rtc::{BrowserPhone, PhoneAccount, PhoneRefused, ice_servers};

/// Bytes of an idle WebSocket's read buffer (axum's default costs 133 kB a connection).
const READ_BUFFER: usize = 4_096;
/// The first frame has to come within this.
const HELLO_PATIENCE: Duration = Duration::from_secs(10);
/// A sign of life this often, so that proxies keep the connection.
const SIGN_OF_LIFE: Duration = Duration::from_secs(20);
/// A phone that takes no byte for so long is gone.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);

/// What a phone came with.
#[derive(Clone)]
enum Proof {
    Token(Secret),
    Session(Secret),
}

/// A credential, and what it was recognised by.
struct Recognised {
    credential: Credential,
    proof: Proof,
}

/// The credential of the request itself, when it carries one: the first frame may bring it instead.
pub(super) struct OfRequest(Option<Recognised>);

impl<S> FromRequestParts<S> for OfRequest
where
    S: Send + Sync,
    Kernel: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let token = bearer_token(&parts.headers).map(|token| Proof::Token(Secret::new(token)));
        let cookie = || Cookies(&parts.headers).get(SESSION_COOKIE).map(|cookie| Proof::Session(Secret::new(cookie)));
        let Some(proof) = token.or_else(cookie) else { return Ok(Self(None)) };
        // A cookie is taken from our own pages only: the extractor compares the Origin.
        let credential = Credential::from_request_parts(parts, state).await?;
        credential.principal.authorize(Action::UseOwnPhone)?;
        Ok(Self(Some(Recognised { credential, proof })))
    }
}

/// What a socket works with.
#[derive(Clone, FromRef)]
pub(super) struct Parties {
    kernel: Kernel,
    calls: Calls,
    voice: Voice,
}

/// Opens a browser phone's socket.
pub(super) async fn open(
    axum::extract::State(kernel): axum::extract::State<Kernel>,
    axum::extract::State(calls): axum::extract::State<Calls>,
    axum::extract::State(voice): axum::extract::State<Voice>,
    client: Client,
    OfRequest(recognised): OfRequest,
    upgrade: WebSocketUpgrade,
) -> Response {
    let parties = Parties { kernel, calls, voice };
    upgrade.read_buffer_size(READ_BUFFER).max_frame_size(MAX_FRAME_BYTES).max_message_size(MAX_FRAME_BYTES).on_upgrade(
        move |socket| {
            let tasks = parties.kernel.tasks.clone();
            tasks.track_future(serve(parties, socket, client.ip, recognised))
        },
    )
}

/// One socket, from its hello to its end.
async fn serve(parties: Parties, mut socket: WebSocket, peer: IpAddr, recognised: Option<Recognised>) {
    let stop = parties.kernel.stop.clone();
    let greeted = stop.run_until_cancelled(greet(&parties, &mut socket, peer, recognised)).await;
    let Some(Some(Greeted { phone, told, proof, line })) = greeted else {
        return close(&mut socket).await;
    };
    talk(&parties, &mut socket, phone, told, &proof, &line).await;
    close(&mut socket).await;
}

/// A phone that was recognised.
struct Greeted {
    phone: BrowserPhone,
    told: mpsc::Receiver<Down>,
    proof: Proof,
    line: LineIdentity,
}

/// Waits for the first frame and says who it is; `None` after telling why not.
async fn greet(
    parties: &Parties,
    socket: &mut WebSocket,
    peer: IpAddr,
    recognised: Option<Recognised>,
) -> Option<Greeted> {
    let (was, token) = hello(socket).await?;
    let recognised = match (recognised, token) {
        (Some(recognised), _) => recognised,
        (None, Some(token)) => match parties.kernel.admit(token.expose(), peer).await {
            Ok(credential) => Recognised { credential, proof: Proof::Token(token) },
            Err(_) => return refuse(socket, Fault::Unauthorized, "the token is not good").await,
        },
        (None, None) => return refuse(socket, Fault::Unauthorized, "sign in, or say hello with a token").await,
    };
    let Recognised { credential, proof } = recognised;
    let account = match account(parties, &credential.principal).await {
        Ok(Some(account)) => account,
        Ok(None) => return refuse(socket, Fault::NoExtension, "you have no extension: ask an administrator").await,
        Err(Refusal::Forbidden) => return refuse(socket, Fault::Unauthorized, "this credential may not phone").await,
        Err(Refusal::Store(error)) => {
            tracing::error!(%error, "a phone's extension cannot be read");
            return refuse(socket, Fault::Unavailable, "try again in a moment").await;
        }
    };
    let line = account.line.clone();
    match parties.voice.browser_phone(account, was.as_ref(), peer) {
        Ok((phone, told)) => Some(Greeted { phone, told, proof, line }),
        Err(error @ (PhoneRefused::NotHere | PhoneRefused::TooMany)) => {
            refuse(socket, Fault::Unavailable, &error.to_string()).await
        }
    }
}

/// The first frame.
async fn hello(socket: &mut WebSocket) -> Option<(Option<PhoneId>, Option<Secret>)> {
    let first = timeout(HELLO_PATIENCE, async {
        loop {
            match socket.recv().await? {
                Ok(Message::Text(text)) => return Some(text),
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                Ok(Message::Binary(_) | Message::Close(_)) | Err(_) => return None,
            }
        }
    });
    match Up::read(&first.await.ok()??) {
        Ok(Up::Hello { phone, token }) => Some((phone, token)),
        Ok(_) => refuse(socket, Fault::WrongState, "the first frame is hello").await,
        Err(error) => {
            say(socket, &error).await;
            None
        }
    }
}

/// Why a credential has no phone.
enum Refusal {
    Forbidden,
    Store(kernel::DbError),
}

/// Whose phone it is; `None` for who has no extension.
async fn account(parties: &Parties, principal: &Principal) -> Result<Option<PhoneAccount>, Refusal> {
    let org = principal.authorize(Action::UseOwnPhone).map_err(|_| Refusal::Forbidden)?;
    let Some(person) = principal.person() else { return Ok(None) };
    let found = parties.calls.directory().browser_line(org, person).await.map_err(Refusal::Store)?;
    let (media, now_ms) = (&parties.kernel.config.media, parties.kernel.clock.now_ms());
    let ice_servers = ice_servers(&media.ice_servers, media.turn_secret.as_ref(), person, now_ms);
    Ok(found.map(|(line, name)| PhoneAccount { line, name, ice_servers }))
}

/// Carries frames both ways until one side ends.
async fn talk(
    parties: &Parties,
    socket: &mut WebSocket,
    phone: BrowserPhone,
    mut told: mpsc::Receiver<Down>,
    proof: &Proof,
    line: &LineIdentity,
) {
    let mut life = interval(SIGN_OF_LIFE);
    loop {
        let goes_on = tokio::select! {
            down = told.recv() => match down {
                Some(down) => say(socket, &down).await,
                None => return,
            },
            message = socket.recv() => match message {
                Some(Ok(Message::Text(text))) => take(socket, &phone, &text).await,
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => true,
                Some(Ok(Message::Binary(_) | Message::Close(_)) | Err(_)) | None => false,
            },
            _ = life.tick() => {
                if !may_stay(parties, proof, line).await {
                    say(socket, &fault(Fault::Unauthorized, "the credential is no longer good")).await;
                    return;
                }
                send(socket, Message::Ping(Bytes::new())).await
            }
            () = parties.kernel.stop.cancelled() => false,
        };
        if !goes_on {
            return;
        }
    }
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

fn fault(code: Fault, message: &str) -> Down {
    Down::Error { code, message: message.to_owned(), id: None, field: None }
}

async fn refuse<T>(socket: &mut WebSocket, code: Fault, message: &str) -> Option<T> {
    say(socket, &fault(code, message)).await;
    None
}

async fn say(socket: &mut WebSocket, down: &Down) -> bool {
    send(socket, Message::Text(down.write().into())).await
}

async fn close(socket: &mut WebSocket) {
    send(socket, Message::Close(None)).await;
}

async fn send(socket: &mut WebSocket, message: Message) -> bool {
    matches!(timeout(WRITE_PATIENCE, socket.send(message)).await, Ok(Ok(())))
}
