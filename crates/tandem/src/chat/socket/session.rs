//! One client's WebSocket, from its hello to its end.
//!
//! Invariant: no frame but `hello` is looked at before its sender has been recognised; frames of one client are carried out
//! one after the other, in their order; the credential is looked at again as long as the socket is open; and whoever is
//! sent away is told why, by an `error` and by the code of the close frame.

use std::net::IpAddr;
use std::time::Duration;

use kernel::limit::{Allowance, Rate};
use kernel::{Problem, error::codes};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::door::{Door, Page};
use super::follow::{Following, Frame, Next};
use super::link::{Heard, Link};
use super::orders::Orders;
use super::proof::Proof;
use super::pulse::Beats;
use super::wire::{Down, Refusal, Up};
use crate::chat::ChatError;
use crate::chat::meter::{SOCKETS_RETRY_S, SocketPlace};
use crate::chat::model::Side;

/// The first frame has to come within this.
const HELLO_PATIENCE: Duration = Duration::from_secs(10);
/// Control frames that are borne before it.
const SIGNS_BEFORE_HELLO: usize = 16;
/// Frames of a visitor: a burst when it comes back to its rooms, and so many in the long run.
const VISITOR_FRAMES: Rate = Rate::per_second(10).bursting(120);
/// What a repeated hello costs of these, at most: not more than one may come with after a rest.
const MAX_HELLO_FRAMES: usize = 100;
/// Frames of an application or a person.
const SUPPORT_FRAMES: Rate = Rate::per_second(2_000).bursting(4_000);
/// Pings and pongs of anybody.
const SIGNS: Rate = Rate::per_second(1).bursting(60);

/// The close codes of our own (RFC 6455, section 7.4.2), and what each says.
mod close {
    use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

    /// The client did not keep up: it comes back with its cursors.
    pub(super) const RESUME: (CloseCode, &str) = (CloseCode::Library(4_008), "resume");
    /// No good credential, or one that is good no more.
    pub(super) const UNAUTHORIZED: (CloseCode, &str) = (CloseCode::Library(4_401), "unauthorized");
    /// The credential, or the page, may not do this.
    pub(super) const FORBIDDEN: (CloseCode, &str) = (CloseCode::Library(4_403), "forbidden");
    /// Too many frames, or sockets.
    pub(super) const RATE_LIMITED: (CloseCode, &str) = (CloseCode::Library(4_429), "rate limited");
    /// A newer socket of the visitor has its place: it comes back when somebody looks at it.
    pub(super) const OUTED: (CloseCode, &str) = (CloseCode::Library(4_429), "too many sockets");
    /// The first frame is another one.
    pub(super) const POLICY: (CloseCode, &str) = (CloseCode::Policy, "hello comes first");
    /// The server stops.
    pub(super) const AWAY: (CloseCode, &str) = (CloseCode::Away, "the server stops");
    /// The server cannot say now.
    pub(super) const AGAIN: (CloseCode, &str) = (CloseCode::Again, "try again later");
}

/// What a request brought along.
pub(super) struct Visit {
    /// What it was recognised by, if it was a token or a cookie.
    pub(super) proof: Option<Proof>,
    pub(super) page: Page,
    pub(super) address: IpAddr,
}

/// Why a socket ends.
enum Parting {
    /// The client has gone.
    Gone,
    /// It broke the protocol.
    Broken(CloseCode),
    /// It is sent away.
    Sent((CloseCode, &'static str)),
    /// It is sent away, and told why.
    Refused(Box<Refusal>, (CloseCode, &'static str)),
}

impl Parting {
    /// A newer socket of the visitor is there.
    fn outed() -> Self {
        let refusal = Refusal::new("rate_limited", "too many sockets are open: the newest stay");
        let refusal = Refusal { retry_after: Some(SOCKETS_RETRY_S), ..refusal };
        Self::Refused(Box::new(refusal), close::OUTED)
    }
}

/// Waits until the visitor's place is needed; others wait for ever.
async fn outed(seat: Option<&SocketPlace>) {
    match seat {
        Some(seat) => seat.outed().await,
        None => std::future::pending().await,
    }
}

impl From<Problem> for Parting {
    fn from(problem: Problem) -> Self {
        let close = match problem.status().as_u16() {
            401 => close::UNAUTHORIZED,
            403 => close::FORBIDDEN,
            429 => close::RATE_LIMITED,
            _ => close::AGAIN,
        };
        if problem.status().is_server_error() {
            tracing::error!(reason = problem.detail.as_deref().unwrap_or_default(), "a chat's socket fails");
        }
        Self::Refused(Box::new(Refusal::from(problem)), close)
    }
}

impl From<ChatError> for Parting {
    fn from(error: ChatError) -> Self {
        Problem::from(error).into()
    }
}

/// A client that was recognised, and its socket.
struct Session {
    door: Door,
    link: Link,
    following: Following,
    proof: Proof,
    beats: Beats,
    frames: Allowance,
    signs: Allowance,
    /// Whether anything came since the last beat.
    is_alive: bool,
    /// Among those of the visitor.
    seat: Option<SocketPlace>,
}

/// Serves a socket. What is over once the client is there, or begins when it goes, is kept out of the memory that every
/// open socket takes.
pub(super) async fn serve(door: Door, mut link: Link, visit: Visit) {
    let stop = door.kernel.stop.clone();
    let greeted = stop.run_until_cancelled(Box::pin(greet(&door, &mut link, visit))).await;
    let (link, parting) = match greeted {
        Some(Ok(greeted)) => {
            let mut session = Box::new(Session::start(door, link, *greeted.client));
            let parting = session.live(greeted.ready).await;
            session.door.tell_departure(&mut session.following);
            let Session { link, .. } = *session;
            (link, parting)
        }
        Some(Err(parting)) => (link, parting),
        None => (link, Parting::Sent(close::AWAY)),
    };
    Box::pin(part(link, parting)).await;
}

/// Says the last word.
async fn part(mut link: Link, parting: Parting) {
    let (code, reason) = match parting {
        Parting::Gone => return,
        Parting::Broken(code) => (code, ""),
        Parting::Sent(close) => close,
        Parting::Refused(refusal, close) => {
            link.say([Frame::from(Down::Error(*refusal).write())]).await;
            close
        }
    };
    link.close(code, reason).await;
}

/// A client that was recognised.
struct Client {
    following: Following,
    proof: Proof,
    seat: Option<SocketPlace>,
}

/// The same, and what it is told first.
struct Greeted {
    client: Box<Client>,
    ready: Vec<Frame>,
}

/// Waits for the first frame, finds out who it is, and what it missed.
async fn greet(door: &Door, link: &mut Link, visit: Visit) -> Result<Greeted, Parting> {
    let (token, cursors) = hello(link).await?;
    let proof = token.map(Proof::of_frame).or(visit.proof).ok_or_else(|| Problem::new(codes::UNAUTHORIZED))?;
    let asker = proof.recognise(&door.chats, visit.address).await?;
    if let Some(app) = asker.app() {
        door.admits(&visit.page, asker.org(), app).await?;
    }
    let seat = door.seat(&asker).await?;
    let mut following = Following::start(&door.chats, asker);
    let ready = following.hello(&cursors).await?;
    Ok(Greeted { client: Box::new(Client { following, proof, seat }), ready })
}

type Hello = (Option<kernel::Secret>, std::collections::BTreeMap<String, i64>);

/// The first frame, before which a stranger may ping a little.
async fn hello(link: &mut Link) -> Result<Hello, Parting> {
    let first = timeout(HELLO_PATIENCE, async {
        for _ in 0..SIGNS_BEFORE_HELLO {
            match link.hear().await {
                Heard::Text(text) => return Ok(text),
                Heard::Sign => {}
                Heard::Gone => return Err(Parting::Gone),
                Heard::Broken(code) => return Err(Parting::Broken(code)),
            }
        }
        Err(Parting::Sent(close::POLICY))
    });
    let first = first.await.unwrap_or(Err(Parting::Sent(close::POLICY)))?;
    match Up::read(&first) {
        Ok(Up::Hello { token, cursors }) => Ok((token, cursors)),
        Ok(_) => {
            let refusal = Refusal::new("wrong_state", "the first frame is hello");
            Err(Parting::Refused(Box::new(refusal), close::POLICY))
        }
        Err(refusal) => Err(Parting::Refused(Box::new(refusal), close::POLICY)),
    }
}

impl Session {
    fn start(door: Door, link: Link, client: Client) -> Self {
        let Client { mut following, proof, seat } = client;
        let rate = if following.asker().side() == Side::Visitor { VISITOR_FRAMES } else { SUPPORT_FRAMES };
        door.tell_arrival(&mut following);
        Self {
            beats: door.pulse.join(),
            frames: Allowance::new(rate),
            signs: Allowance::new(SIGNS),
            is_alive: true,
            door,
            link,
            following,
            proof,
            seat,
        }
    }

    /// Tells what was missed, then what happens, and does what the client says.
    async fn live(&mut self, hello: Vec<Frame>) -> Parting {
        // Boxed here and below: what seldom runs takes no room while a client merely listens.
        if let Err(parting) = Box::pin(self.begin(hello)).await {
            return parting;
        }
        loop {
            if let Err(parting) = self.step().await {
                return parting;
            }
        }
    }

    async fn begin(&mut self, hello: Vec<Frame>) -> Result<(), Parting> {
        self.say(hello).await?;
        loop {
            let more = tokio::select! {
                more = self.following.more() => more.map_err(ChatError::from)?,
                () = self.door.kernel.stop.cancelled() => return Err(Parting::Sent(close::AWAY)),
            };
            let Some(frames) = more else { return Ok(()) };
            self.say(frames).await?;
        }
    }

    async fn step(&mut self) -> Result<(), Parting> {
        tokio::select! {
            heard = self.link.hear() => match heard {
                Heard::Text(text) => Box::pin(self.take(text)).await,
                Heard::Sign => self.count_sign(),
                Heard::Gone => Err(Parting::Gone),
                Heard::Broken(code) => Err(Parting::Broken(code)),
            },
            next = self.following.next() => self.tell(next).await,
            () = self.beats.next() => Box::pin(self.beat()).await,
            () = outed(self.seat.as_ref()) => Err(Parting::outed()),
            () = self.door.kernel.stop.cancelled() => Err(Parting::Sent(close::AWAY)),
        }
    }

    fn count_sign(&mut self) -> Result<(), Parting> {
        self.is_alive = true;
        let now_ms = self.door.kernel.clock.now_ms();
        self.signs.take(now_ms).map_err(|wait| Problem::from(wait).into())
    }

    /// Carries a frame out; what happens meanwhile is told, and the next frame waits.
    async fn take(&mut self, text: Utf8Bytes) -> Result<(), Parting> {
        self.is_alive = true;
        let now_ms = self.door.kernel.clock.now_ms();
        self.frames.take(now_ms).map_err(Problem::from)?;
        let up = match Up::read(&text) {
            Ok(Up::Hello { cursors, .. }) => {
                // Each room of it is looked up: it costs as many frames, as far as there are so many at once.
                for _ in 0..cursors.len().min(MAX_HELLO_FRAMES) {
                    self.frames.take(now_ms).map_err(Problem::from)?;
                }
                let frames = Box::pin(self.following.hello(&cursors)).await?;
                if self.following.asker().side() == Side::Visitor {
                    self.door.tell_arrival(&mut self.following);
                }
                return Box::pin(self.begin(frames)).await;
            }
            Ok(up) => up,
            Err(refusal) => return self.say([Down::Error(refusal).write().into()]).await,
        };
        let orders = Orders {
            chats: self.door.chats.clone(),
            asker: self.following.asker().clone(),
            listener: self.following.listener(),
        };
        let mut carried_out = Box::pin(orders.obey(up));
        loop {
            let next = tokio::select! {
                biased;
                answer = &mut carried_out => return self.say(answer).await,
                next = self.following.next() => next,
            };
            self.tell(next).await?;
        }
    }

    async fn tell(&mut self, next: Next) -> Result<(), Parting> {
        match next {
            Next::Frames(frames) => self.say(frames).await,
            Next::Lagging => Err(Parting::Sent(close::RESUME)),
        }
    }

    /// Sends frames; a client that takes them too slowly is sent away to come back.
    async fn say(&mut self, frames: impl IntoIterator<Item = Frame>) -> Result<(), Parting> {
        tokio::select! {
            biased;
            taken = self.link.say(frames) => if taken { Ok(()) } else { Err(Parting::Gone) },
            () = self.following.lagging() => Err(Parting::Sent(close::RESUME)),
        }
    }

    /// Asks for a sign of life, and looks at the credential again.
    async fn beat(&mut self) -> Result<(), Parting> {
        if !std::mem::replace(&mut self.is_alive, false) {
            return Err(Parting::Gone);
        }
        let still_is = self.proof.still_is(&self.door.chats, self.following.asker());
        if !Box::pin(still_is).await {
            return Err(Problem::new(codes::UNAUTHORIZED).into());
        }
        if self.link.ping().await { Ok(()) } else { Err(Parting::Gone) }
    }
}
