//! `GET /meetings/live`: a party's page is told that one of its meetings has changed, as server-sent events. It is told
//! nothing else: it reads its cards again.
//!
//! Invariant: nobody hears of another's meeting; a stream ends with its session, and a party has so many at once.

use std::collections::HashSet;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use kernel::events::{Logged, Tap};
use kernel::http::Query;
use kernel::limit::Place;
use kernel::{Kernel, Problem};
use tokio::sync::mpsc;
use tokio::time::{interval, timeout};

use super::page::MadeFor;
use crate::meetings::Meetings;
use crate::meetings::sessions::{self, PartySession};

/// A sign of life this often, so that proxies keep the connection; then the session is looked at again.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);
/// Changes that wait for their reader.
const WAITING: usize = 8;
/// A page that takes nothing for so long is gone.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);
/// What the events of meetings begin with.
const MEETING: &str = "meeting.";

/// Follows the own meetings.
pub(super) async fn follow(
    State(kernel): State<Kernel>,
    State(meetings): State<Meetings>,
    party: PartySession,
    Query(made_for): Query<MadeFor>,
) -> Result<Response, Problem> {
    made_for.must_be(&party)?;
    let place = kernel.limits.party_stream(&party.mark())?;
    let head = kernel.events.head(&party.org).await.map_err(Problem::internal)?;
    let tap = kernel.events.tap(&party.org, head);
    let own = own(&meetings, &party).await?;
    let follower = Follower { kernel, meetings, party, own, _place: place };
    let signs = KeepAlive::new().interval(SIGN_OF_LIFE);
    Ok(Sse::new(follower.stream(tap)).keep_alive(signs).into_response())
}

/// The ids of a party's meetings, as events name them.
async fn own(meetings: &Meetings, party: &PartySession) -> Result<HashSet<String>, Problem> {
    let all = meetings.of_party(&party.org, &party.app, &party.uid, party.meeting).await.map_err(Problem::internal)?;
    Ok(all.into_iter().map(|meeting| meeting.id.to_string()).collect())
}

/// Somebody who follows.
struct Follower {
    kernel: Kernel,
    meetings: Meetings,
    party: PartySession,
    /// Ids of the own meetings.
    own: HashSet<String>,
    /// Among the streams of the party.
    _place: Place,
}

impl Follower {
    /// What is read by its page; the task that feeds it does not wait for it for ever.
    fn stream(self, tap: Tap) -> impl Stream<Item = Result<Event, Infallible>> {
        let (sender, receiver) = mpsc::channel(WAITING);
        let tasks = self.kernel.tasks.clone();
        tasks.spawn(self.feed(tap, sender));
        stream::unfold(receiver, async |mut receiver| Some((Ok(receiver.recv().await?), receiver)))
    }

    /// Tells of changes until one side ends.
    async fn feed(mut self, mut tap: Tap, page: mpsc::Sender<Event>) {
        let stop = self.kernel.stop.clone();
        let mut life = interval(SIGN_OF_LIFE);
        loop {
            let batch = tokio::select! {
                batch = tap.next() => match batch {
                    Ok(Some(batch)) => batch,
                    Ok(None) => return,
                    Err(error) => {
                        tracing::error!(%error, "a party's page cannot follow the event log");
                        return;
                    }
                },
                _ = life.tick() => match sessions::is_open(&self.kernel, &self.party).await {
                    // The store cannot say: what held a moment ago holds until it can.
                    Ok(true) | Err(_) => continue,
                    Ok(false) => return,
                },
                () = page.closed() => return,
                () = stop.cancelled() => return,
            };
            if !self.concerns(&batch).await {
                continue;
            }
            let changed = Event::default().event("changed").data("{}");
            let sent = stop.run_until_cancelled(timeout(WRITE_PATIENCE, page.send(changed)));
            if !matches!(sent.await, Some(Ok(Ok(())))) {
                return;
            }
        }
    }

    /// Whether one of the own meetings is among what happened. A meeting that is new, or has other people now, is looked
    /// at; others that are not known are not ours.
    async fn concerns(&mut self, batch: &[Logged]) -> bool {
        let of_meetings = || batch.iter().filter(|logged| logged.kind.starts_with(MEETING));
        let mut is_ours = of_meetings().any(|logged| self.own.contains(&logged.key));
        let may_be_new = |logged: &Logged| matches!(&*logged.kind, "meeting.scheduled" | "meeting.rescheduled");
        let unknown: Vec<&Logged> =
            of_meetings().filter(|logged| may_be_new(logged) && !self.own.contains(&logged.key)).collect();
        for logged in unknown {
            let Ok(id) = logged.key.parse() else { continue };
            let found = self.meetings.get(&self.party.org, Some(&self.party.app), id).await;
            if found.is_ok_and(|meeting| meeting.role_of(&self.party.uid).is_some()) {
                self.own.insert(logged.key.clone());
                is_ours = true;
            }
        }
        is_ours
    }
}
