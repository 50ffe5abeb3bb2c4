//! The live tap: an organisation's events as they happen, by WebSocket or SSE, from a cursor on.
//!
//! Invariant: no event is left out or shown twice between two cursors; a reader that does not read
//! is disconnected and goes on from its last cursor. An organisation has so many open, and each counts.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use kernel::events::{Logged, Tap};
use kernel::http::{PageQuery, Query, cursor, presented_token};
use kernel::limit::Place;
use kernel::problem::ProblemBody;
use kernel::{Kernel, Principal, Problem, Secret};
use tokio::sync::mpsc;
use tokio::time::{interval, timeout};

use super::events::{self, Reader};

/// Bytes of an idle WebSocket's read buffer (axum's default costs 133 kB a connection).
const READ_BUFFER: usize = 1024;
/// The tap sends; a client's frames are at most pings and a close.
const MAX_FRAME: usize = 4096;
/// A sign of life this often, so that proxies keep the connection.
const SIGN_OF_LIFE: Duration = Duration::from_secs(20);
/// Server-sent events that wait for their reader.
const WAITING_EVENTS: usize = 64;
/// A client that takes no byte for so long is gone.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);

/// Events as they happen: a WebSocket when the request is an upgrade, else server-sent events.
///
/// A WebSocket frame is an event's envelope with `cursor` added; in SSE `id` is the cursor, `event` the type
/// and `data` the envelope. Without a cursor the tap begins now; `Last-Event-ID` counts as one.
#[utoipa::path(get, path = "/v1/tap", tag = "events", params(PageQuery), responses(
    (status = 101, description = "a WebSocket"),
    (status = 200, description = "server-sent events", body = serde_json::Value, content_type = "text/event-stream"),
    (status = 401, description = "no good credential", body = ProblemBody),
))]
pub(super) async fn tap(
    State(kernel): State<Kernel>,
    principal: Principal,
    Query(page): Query<PageQuery>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let reader = Reader::of(&principal)?;
    let org = &reader.org;
    let place = kernel.limits.tap(org)?;
    // A browser that signs in elsewhere comes with the place that it had in another log.
    let head = kernel.events.head(org).await.map_err(Problem::internal)?;
    let from = start(page, &headers)?.map_or(head, |position| position.min(head));
    let tap = kernel.events.tap(org, from);
    let token = presented_token(&headers).map(Secret::new);
    let listener = Listener { reader, token, _place: place };
    Ok(match upgrade {
        Ok(upgrade) => {
            upgrade.read_buffer_size(READ_BUFFER).max_frame_size(MAX_FRAME).max_message_size(MAX_FRAME).on_upgrade(
                move |socket| {
                    let tasks = kernel.tasks.clone();
                    tasks.track_future(follow(kernel, listener, tap, socket))
                },
            )
        }
        Err(_) => {
            let signs = KeepAlive::new().interval(SIGN_OF_LIFE);
            Sse::new(stream_of(kernel, listener, tap)).keep_alive(signs).into_response()
        }
    })
}

fn start(mut page: PageQuery, headers: &HeaderMap) -> Result<Option<i64>, Problem> {
    if let Some(last) = headers.get("last-event-id") {
        page.cursor = Some(last.to_str().map_err(|_| events::wrong_cursor())?.to_owned());
    }
    events::position(&page)
}

/// Who listens. A tap is open for days: what it was opened with is looked at again and again.
struct Listener {
    reader: Reader,
    /// What it came by: a token, or the cookie of a session.
    token: Option<Secret>,
    /// Among the taps of the organisation.
    _place: Place,
}

impl Listener {
    /// What of a batch it is shown.
    fn shown(&self, batch: Vec<Logged>) -> Vec<Logged> {
        batch.into_iter().filter(|logged| self.reader.is_shown(logged)).collect()
    }

    /// Whether the credential still opens this tap.
    async fn may_stay(&self, kernel: &Kernel) -> bool {
        let Some(token) = &self.token else { return true };
        match kernel.recognise(token.expose()).await {
            Ok(Some(credential)) => Reader::of(&credential.principal).is_ok_and(|reader| reader == self.reader),
            Ok(None) => false,
            // The store cannot say: what held a moment ago holds until it can.
            Err(_) => true,
        }
    }
}

/// The events of a tap one by one; ends with the server, with its credential, when the store fails, or when its reader
/// takes nothing: what a reader holds is held by a task of its own, which does not wait for it for ever.
fn stream_of(kernel: Kernel, listener: Listener, tap: Tap) -> impl Stream<Item = Result<Event, Infallible>> {
    let (sender, receiver) = mpsc::channel(WAITING_EVENTS);
    let tasks = kernel.tasks.clone();
    tasks.spawn(feed(kernel, listener, tap, sender));
    stream::unfold(receiver, async |mut receiver| Some((Ok(receiver.recv().await?), receiver)))
}

/// Hands the events of a tap to its reader until one side ends.
async fn feed(kernel: Kernel, listener: Listener, mut tap: Tap, reader: mpsc::Sender<Event>) {
    let mut life = interval(SIGN_OF_LIFE);
    loop {
        let batch = tokio::select! {
            batch = tap.next() => match shown(batch) {
                Some(batch) => batch,
                None => return,
            },
            _ = life.tick() => {
                if !listener.may_stay(&kernel).await {
                    return;
                }
                Vec::new()
            }
            () = reader.closed() => return,
            () = kernel.stop.cancelled() => return,
        };
        for logged in listener.shown(batch) {
            let sent = kernel.stop.run_until_cancelled(timeout(WRITE_PATIENCE, reader.send(server_sent(logged))));
            if !matches!(sent.await, Some(Ok(Ok(())))) {
                return;
            }
        }
    }
}

fn server_sent(logged: Logged) -> Event {
    Event::default().id(cursor(&logged.position.to_string())).event(logged.kind).data(logged.envelope)
}

/// What a tap gave; a failure of the store is logged and ends it.
fn shown(batch: Result<Option<Vec<Logged>>, kernel::DbError>) -> Option<Vec<Logged>> {
    batch.unwrap_or_else(|error| {
        tracing::error!(%error, "a tap cannot read the event log");
        None
    })
}

/// Sends the events of a tap until one side ends.
async fn follow(kernel: Kernel, listener: Listener, mut tap: Tap, mut socket: WebSocket) {
    let mut life = interval(SIGN_OF_LIFE);
    loop {
        let sent = tokio::select! {
            batch = tap.next() => match shown(batch) {
                Some(batch) => send_all(&mut socket, listener.shown(batch)).await,
                None => break,
            },
            frame = socket.recv() => match frame {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => true,
            },
            _ = life.tick() => {
                if !listener.may_stay(&kernel).await {
                    break;
                }
                send(&mut socket, Message::Ping(Bytes::new())).await
            }
            () = kernel.stop.cancelled() => break,
        };
        if !sent {
            return;
        }
    }
    send(&mut socket, Message::Close(None)).await;
}

async fn send_all(socket: &mut WebSocket, batch: Vec<Logged>) -> bool {
    for logged in batch {
        if !send(socket, Message::Text(with_cursor(&logged).into())).await {
            return false;
        }
    }
    true
}

async fn send(socket: &mut WebSocket, message: Message) -> bool {
    matches!(timeout(WRITE_PATIENCE, socket.send(message)).await, Ok(Ok(())))
}

/// The envelope with `cursor` as its last member.
fn with_cursor(logged: &Logged) -> String {
    let open = logged.envelope.strip_suffix('}').unwrap_or(&logged.envelope);
    format!("{open},\"cursor\":\"{}\"}}", cursor(&logged.position.to_string()))
}
