//! `GET /v1/chat/events`: what a socket would say, as server-sent events, for clients that only listen; they send by HTTP.
//!
//! Invariant: `id` of each event is the cursors of all rooms that the request named, so that a client which comes back
//! with the last one misses nothing and hears nothing twice.
#![expect(unused_qualifications, reason = "utoipa's path macro repeats the types of the extractors")]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use kernel::Problem;
use kernel::error::codes;
use kernel::http::{Client, Query};
use kernel::problem::ProblemBody;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::timeout;
use utoipa::IntoParams;

use super::door::{Door, Page, Place};
use super::follow::{Following, Frame, Next};
use super::proof::Proof;
use super::pulse::Beats;
use super::wire::{Down, Refusal};
use crate::chat::meter::SocketPlace;
use crate::chat::origins;

/// Events that wait for their reader.
const WAITING: usize = 16;
/// A reader that takes nothing for so long is gone.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);
/// Rooms that one stream can have cursors for: they stand in each event's id.
const MAX_ROOMS: usize = 50;

/// Which rooms, from where on.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct EventsQuery {
    /// `ROOM:SEQ,ROOM:SEQ`: the last number seen of each room. `Last-Event-ID` has the same form and counts first.
    rooms: Option<String>,
}

/// Chat as server-sent events: what a socket says, from cursors on
///
/// `event` is the `type` of the frame, `data` the frame, `id` the cursors after it. The first event is `ready`. A reader that
/// does not keep up gets an `error` with the code `resume` and the end of the stream: it comes back with its last id.
#[utoipa::path(get, path = "/v1/chat/events", tag = "chat", params(EventsQuery), responses(
    (status = 200, description = "server-sent events", body = serde_json::Value, content_type = "text/event-stream"),
    (status = 400, description = "the cursors cannot be read", body = ProblemBody),
    (status = 401, description = "no good credential", body = ProblemBody),
    (status = 403, description = "a page of another site, or a credential without the chat", body = ProblemBody),
    (status = 429, description = "as many sockets and streams as a visitor may have are open", body = ProblemBody),
), security(("bearer" = [])))]
pub(super) async fn follow(
    State(door): State<Door>,
    client: Client,
    Query(query): Query<EventsQuery>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let headers = &parts.headers;
    let last = headers.get("last-event-id").map(|last| last.to_str().unwrap_or("?").to_owned());
    let cursors = cursors(last.or(query.rooms).as_deref().unwrap_or_default())?;
    let page = Page::of(headers, &door.kernel);
    let proof = Proof::of_request(headers, &page).ok_or_else(|| Problem::new(codes::UNAUTHORIZED))?;
    let asker = proof.recognise(&door.chats, client.ip).await?;
    if let Some(app) = asker.app() {
        origins::admit(&door.kernel, &parts, &*door.chats.settings(asker.org(), app).await?)?;
    }
    let place = door.enter()?;
    let seat = door.stream_seat(&asker).await?;
    let mut following = Following::start(&door.chats, asker);
    let hello = following.hello(&cursors).await?;
    let (sender, receiver) = mpsc::channel(WAITING);
    let beats = door.pulse.join();
    let tasks = door.kernel.tasks.clone();
    let reader = Reader { cursors, events: sender };
    tasks.spawn(Stream { door, following, proof, beats, reader, _places: (place, seat) }.run(hello));
    let events = stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)));
    Ok(Sse::new(events).into_response())
}

/// Reads `ROOM:SEQ,ROOM:SEQ`.
fn cursors(text: &str) -> Result<BTreeMap<String, i64>, Problem> {
    let wrong = || Problem::new(codes::INVALID_REQUEST).and("?rooms", "invalid", "ROOM:SEQ,ROOM:SEQ");
    let mut cursors = BTreeMap::new();
    for pair in text.split(',').filter(|pair| !pair.is_empty()) {
        let (room, seq) = pair.split_once(':').ok_or_else(wrong)?;
        let seq = seq.parse().ok().filter(|seq| *seq >= 0).ok_or_else(wrong)?;
        if !room.bytes().all(|byte| byte.is_ascii_alphanumeric()) || cursors.len() >= MAX_ROOMS {
            return Err(wrong());
        }
        cursors.insert(room.to_owned(), seq);
    }
    Ok(cursors)
}

/// Where events go.
struct Reader {
    cursors: BTreeMap<String, i64>,
    events: mpsc::Sender<Result<Event, Infallible>>,
}

/// One stream.
struct Stream {
    door: Door,
    following: Following,
    proof: Proof,
    beats: Beats,
    reader: Reader,
    _places: (Place, Option<SocketPlace>),
}

impl Stream {
    async fn run(mut self, hello: Vec<Frame>) {
        self.door.tell_arrival(&mut self.following);
        let stop = self.door.kernel.stop.clone();
        let _end = stop.run_until_cancelled(self.feed(hello)).await;
        self.door.tell_departure(&mut self.following);
    }

    /// Hands on what happens until the reader has gone; none = the end.
    async fn feed(&mut self, hello: Vec<Frame>) -> Option<()> {
        self.reader.give(&hello).await?;
        while let Some(frames) = self.following.more().await.ok()? {
            self.reader.give(&frames).await?;
        }
        loop {
            tokio::select! {
                next = self.following.next() => match next {
                    Next::Frames(frames) => self.reader.give(&frames).await?,
                    Next::Lagging => return self.reader.refuse(Refusal::new("resume", "come back with your last id")).await,
                },
                () = self.beats.next() => {
                    if !self.proof.still_is(&self.door.chats, self.following.asker()).await {
                        return self.reader.refuse(Problem::new(codes::UNAUTHORIZED).into()).await;
                    }
                    self.reader.push(Event::default().comment("")).await?;
                }
                () = self.reader.events.closed() => return None,
            }
        }
    }
}

/// What of a frame moves a cursor.
#[derive(Deserialize)]
struct At<'a> {
    #[serde(borrow, default)]
    room: Cow<'a, str>,
    #[serde(default)]
    seq: i64,
    #[serde(default, borrow)]
    missed: Vec<At<'a>>,
}

impl Reader {
    async fn give(&mut self, frames: &[Frame]) -> Option<()> {
        for frame in frames {
            // Each frame begins with {"type":"WORD"
            let word = frame.split('"').nth(3).unwrap_or_default();
            if matches!(word, "msg" | "ready")
                && let Ok(at) = serde_json::from_str::<At<'_>>(frame)
            {
                at.missed.iter().chain([&at]).for_each(|at| self.move_on(at));
            }
            let event = Event::default().event(word).data(frame.as_str());
            let id = self.id();
            self.push(if id.is_empty() { event } else { event.id(id) }).await?;
        }
        Some(())
    }

    fn move_on(&mut self, at: &At<'_>) {
        if let Some(cursor) = self.cursors.get_mut(&*at.room) {
            *cursor = (*cursor).max(at.seq);
        }
    }

    fn id(&self) -> String {
        let pairs: Vec<String> = self.cursors.iter().map(|(room, seq)| format!("{room}:{seq}")).collect();
        pairs.join(",")
    }

    async fn refuse(&mut self, refusal: Refusal) -> Option<()> {
        let frame = Frame::from(Down::Error(refusal).write());
        self.give(&[frame]).await
    }

    async fn push(&self, event: Event) -> Option<()> {
        timeout(WRITE_PATIENCE, self.events.send(Ok(event))).await.ok()?.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_and_what_is_none_is_refused() {
        assert_eq!(cursors("").unwrap(), BTreeMap::new());
        let two = BTreeMap::from([("a1".to_owned(), 3), ("b2".to_owned(), 0)]);
        assert_eq!(cursors("a1:3,b2:0").unwrap(), two);
        for wrong in ["a", "a:", "a:x", "a:-1", "a b:1", "é:1", "?"] {
            assert!(cursors(wrong).is_err(), "{wrong}");
        }
        let many: Vec<String> = (0..=MAX_ROOMS).map(|n| format!("r{n}:1")).collect();
        assert!(cursors(&many.join(",")).is_err());
    }

    #[tokio::test]
    async fn the_id_of_an_event_is_the_cursors_after_it() {
        let (events, mut told) = mpsc::channel(9);
        let mut reader = Reader { cursors: cursors("a:1,b:0").unwrap(), events };
        let frames = [
            r#"{"type":"ready","heads":{"a":9},"missed":[{"type":"msg","room":"a","seq":2}]}"#,
            r#"{"type":"msg","room":"c","seq":5}"#,
            r#"{"type":"read","room":"b","seq":5}"#,
            r#"{"type":"msg","room":"b","seq":1}"#,
        ];
        let mut ids = Vec::new();
        for frame in frames {
            reader.give(&[frame.into()]).await.unwrap();
            let _event = told.recv().await.unwrap().unwrap();
            ids.push(reader.id());
        }
        assert_eq!(ids, ["a:2,b:0", "a:2,b:0", "a:2,b:0", "a:2,b:1"]);
    }
}
