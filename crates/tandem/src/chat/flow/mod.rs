//! Saved flows answer the new rooms of a product: which, when one begins, and how it leaves the room.
//!
//! Invariant: a room's flow begins at most once and ends exactly once, by a guarded commit; whatever ends it, people have
//! the room from then on. What the flow is, this desk does not know: it speaks through [`calls::conversation`].
//! Source: docs/contracts/chat.md, "Real time", last point.

mod talk;
#[cfg(test)]
mod tests;
mod waiting;

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use calls::{Answering, Correspondence, Fitness};
use futures_util::FutureExt as _;
use kernel::{DbError, Write};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::hub::{News, What};
use super::model::{Id, Room, Sender};
use super::store::{self, Stage};
use super::{Change, Chats, FlowBegins, inbox};
use talk::Talk;
use waiting::Waiting;

/// Flows that talk at once on this node; beyond it people answer.
const MAX_TALKS: usize = 5_000;
/// How often the store is asked again when it failed, and how long after. The end of a flow is tried until it is kept.
const TRIES: usize = 5;
const TRY_AFTER: Duration = if cfg!(test) { Duration::from_millis(10) } else { Duration::from_secs(1) };
/// Messages of a room that are looked at before its flow begins.
const LOOKED_AT: i64 = 100;

/// Whoever lets flows answer, and the rooms that wait for it.
pub(super) struct Flows {
    answering: OnceLock<Arc<dyn Answering>>,
    /// Rooms whose visitor has given no sign yet.
    waiting: Waiting,
    /// Rooms whose visitor has written nothing yet.
    unwritten: Waiting,
    places: Arc<Semaphore>,
}

impl Default for Flows {
    fn default() -> Self {
        Self {
            answering: OnceLock::new(),
            waiting: Waiting::default(),
            unwritten: Waiting::default(),
            places: Arc::new(Semaphore::new(MAX_TALKS)),
        }
    }
}

/// How a flow leaves its room.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Leaving {
    /// The chat is over.
    Close,
    /// People of a team, by its number, or whoever is there, go on.
    HandOver(Option<String>),
    /// Somebody has the room already, or it is closed.
    Quietly,
}

/// The end of a room's flow.
struct End {
    leaving: Leaving,
    /// Why, in one word.
    cause: String,
    /// The run, if one had begun, and its own rows.
    run: Option<String>,
    rows: Vec<Write>,
    /// The newest message that the flow knows of: what came after it, it does not close.
    heard_seq: i64,
}

impl End {
    /// Of one that has not begun to talk.
    fn before(leaving: Leaving, cause: &str) -> Self {
        Self { leaving, cause: cause.to_owned(), run: None, rows: Vec::new(), heard_seq: 0 }
    }
}

impl Chats {
    /// Names the desk that lets flows answer; once, at the start.
    pub fn answered_by(&self, answering: Arc<dyn Answering>) {
        let _first = self.flows().answering.set(answering);
    }

    /// Takes up what a stop or a crash of the server left: rooms whose flow was talking go to people, those whose flow
    /// was to begin get it now. Call it once, when everything runs.
    ///
    /// # Errors
    /// What the store says.
    pub async fn recover(&self) -> Result<(), DbError> {
        let (mut org, mut room) = (Id::default(), Id::default());
        loop {
            let page = store::begun_flows(&self.kernel().db, &org, &room).await?;
            let Some(last) = page.last() else { break };
            (org, room) = (last.0.clone(), last.1.clone());
            for (org, room, stage) in page {
                if stage == Stage::Running {
                    let end = End::before(Leaving::HandOver(None), "server_restart");
                    if let Err(error) = self.try_end_flow(&org, &room, &end).await {
                        tracing::error!(%org, %room, %error, "the end of a chat's flow could not be kept; again soon");
                        let chats = self.clone();
                        self.kernel().tasks.spawn(async move { chats.end_flow(&org, &room, end).await });
                    }
                } else {
                    self.begin_flow(&org, &room);
                }
            }
        }
        // Those who wait for their visitors may be many, and stand in nobody's way: behind the newest they are looked up.
        for room in store::waiting_flows(&self.kernel().db, waiting::MAX_ROOMS + 1).await? {
            self.flows().waiting.add(&room);
        }
        Ok(())
    }

    /// How a flow fits a chat; none when the organisation has no such flow.
    ///
    /// # Errors
    /// What the store says.
    pub async fn fitness(&self, org: &Id, flow: &str) -> Result<Option<Fitness>, DbError> {
        match self.flows().answering.get() {
            Some(answering) => answering.fitness(org, flow).await,
            None => Ok(None),
        }
    }

    /// The row of a new room that a flow is to answer, if its product has one.
    pub(super) async fn flow_writes(&self, room: &Room, begins: FlowBegins) -> Result<Vec<Write>, DbError> {
        if begins == FlowBegins::Never || self.flows().answering.get().is_none() {
            return Ok(Vec::new());
        }
        let Some(flow) = store::flow_of_product(&self.kernel().db, &room.org, &room.product).await? else {
            return Ok(Vec::new());
        };
        let stage = if begins == FlowBegins::AtOnce { Stage::Due } else { Stage::Waiting };
        let now_ms = self.now_ms();
        let held = inbox::hold_write(&room.org, &room.id, now_ms);
        Ok(vec![store::flow_write(&room.org, &room.id, &flow, stage, now_ms), held])
    }

    /// A new room that a flow is to answer is durable.
    pub(super) fn flow_is_due(&self, room: &Room, begins: FlowBegins) {
        match begins {
            FlowBegins::AtOnce => self.begin_flow(&room.org, &room.id),
            FlowBegins::AtSight => self.flows().waiting.add(&room.id),
            FlowBegins::AtWord => self.flows().unwritten.add(&room.id),
            FlowBegins::Never => {}
        }
    }

    /// The visitor of a room has written: a flow that waited for that begins.
    pub(crate) fn visitor_has_spoken(&self, org: &Id, room: &Id) {
        if self.flows().unwritten.take(room) {
            self.begin_flow(org, room);
        } else {
            self.visitor_is_here(org, room);
        }
    }

    /// The visitor of a room listens: a flow that waited for that begins.
    pub(crate) fn visitor_is_here(&self, org: &Id, room: &Id) {
        if self.flows().waiting.take(room) {
            self.begin_flow(org, room);
        }
    }

    fn begin_flow(&self, org: &Id, room: &Id) {
        let (chats, org, room) = (self.clone(), org.clone(), room.clone());
        self.kernel().tasks.spawn(async move {
            let cause = match AssertUnwindSafe(chats.let_flow_answer(&org, &room)).catch_unwind().await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => {
                    tracing::error!(%org, %room, %error, "the flow of a chat could not begin");
                    "store"
                }
                Err(_) => {
                    tracing::error!(%org, %room, "the flow of a chat broke off");
                    "flow_error"
                }
            };
            chats.end_flow(&org, &room, End::before(Leaving::HandOver(None), cause)).await;
        });
    }

    /// Begins a room's flow, unless somebody has, and lets it talk until it leaves the room or the server stops.
    async fn let_flow_answer(&self, org: &Id, id: &Id) -> Result<(), DbError> {
        let db = &self.kernel().db;
        let Some((flow, Stage::Waiting | Stage::Due)) = store::flow_of_room(db, org, id).await? else { return Ok(()) };
        let Some(answering) = self.flows().answering.get() else { return Ok(()) };
        match db.writer().commit(vec![store::begin_write(org, id)]).await {
            Err(DbError::Conflict) => return Ok(()),
            begun => begun?,
        };
        let Ok(place) = Arc::clone(&self.flows().places).try_acquire_owned() else {
            tracing::warn!(%org, "{MAX_TALKS} flows answer chats already: people have this one");
            self.end_flow(org, id, End::before(Leaving::HandOver(None), "flow_limit")).await;
            return Ok(());
        };
        // First it listens, then it looks: nothing falls between.
        let heard = self.hub().attend(org, id);
        let Some(room) = store::room(db, org, id).await? else { return Ok(()) };
        if room.assignee.is_some() || !room.is_open() || self.is_answered(&room).await? {
            self.end_flow(org, id, End::before(Leaving::Quietly, "taken_over")).await;
            return Ok(());
        }
        let of = Correspondence {
            org: org.clone(),
            room: id.clone(),
            user_id: room.user_id.clone(),
            product: room.product.clone(),
        };
        let talk = Talk::new(self.clone(), room, heard, place);
        tokio::select! {
            () = answering.answer(flow, of, Box::new(talk)) => {}
            // The next start hands the room over.
            () = self.kernel().stop.cancelled() => {}
        }
        Ok(())
    }

    /// Whether somebody who answers has written in a room.
    async fn is_answered(&self, room: &Room) -> Result<bool, DbError> {
        let messages = self.messages_of(room, 0, LOOKED_AT).await?;
        Ok(messages.iter().any(|message| matches!(message.sender, Sender::Person(_) | Sender::App(_))))
    }

    /// Ends a room's flow, once: people have the room from here on. Nobody else would give it to them before the next
    /// start: it is tried until it is kept, or the server stops.
    async fn end_flow(&self, org: &Id, room: &Id, end: End) {
        let stop = &self.kernel().stop;
        while let Err(error) = self.try_end_flow(org, room, &end).await {
            tracing::error!(%org, %room, %error, "the end of a chat's flow could not be kept; again in a moment");
            if stop.run_until_cancelled(sleep(TRY_AFTER)).await.is_none() {
                return;
            }
        }
    }

    async fn try_end_flow(&self, org: &Id, id: &Id, end: &End) -> Result<(), DbError> {
        for _ in 0..super::desk::MAX_TRIES {
            match self.leave_room(org, id, end).await {
                // The room changed in the same moment, or the end is known.
                Err(DbError::Conflict) => match store::flow_of_room(&self.kernel().db, org, id).await? {
                    None | Some((_, Stage::Over)) => return Ok(()),
                    Some(_) => {}
                },
                done => return done,
            }
        }
        Err(DbError::Conflict)
    }

    async fn leave_room(&self, org: &Id, id: &Id, end: &End) -> Result<(), DbError> {
        let End { leaving, cause, run, rows, heard_seq } = end;
        let now_ms = self.now_ms();
        let mut writes = vec![store::end_write(org, id, run.as_deref(), cause, now_ms)];
        writes.extend(rows.iter().cloned());
        let Some(before) = store::room(&self.kernel().db, org, id).await? else {
            return self.kernel().db.writer().commit(writes).await.map(drop);
        };
        let targets = self.kernel().outbox.targets(org).await?;
        let over = self.flow_event(&before, "flow.completed", run.as_deref(), None, json!({ "cause": cause }));
        writes.extend(kernel::Outbox::event_writes(&over, targets.iter()));
        let leaving = match leaving {
            // Somebody has written since the flow listened last: whatever that is, it is for people.
            Leaving::Close if before.seq_head > *heard_seq => &Leaving::Quietly,
            leaving => leaving,
        };
        if *leaving == Leaving::Close {
            writes.push(store::still_at_write(org, id, before.seq_head));
        }
        let room = match self.change_of(&before, leaving).await? {
            Some(change) => {
                let (room, changed) = self.changes(&before, &change, &Sender::System).await?;
                writes.extend(changed);
                room
            }
            None => before,
        };
        if room.is_open() && room.assignee.is_none() {
            writes.push(inbox::release_write(org, id, now_ms));
        }
        self.kernel().db.writer().commit(writes).await?;
        self.live().forget(id);
        self.hub().tell(News::of(&room, What::Room { room: Arc::new(room.clone()), is_held: false }));
        self.wake_queue(org);
        Ok(())
    }

    /// What becomes of a room that its flow leaves so.
    async fn change_of(&self, room: &Room, leaving: &Leaving) -> Result<Option<Change>, DbError> {
        if !room.is_open() || room.assignee.is_some() {
            return Ok(None);
        }
        Ok(match leaving {
            Leaving::Close => Some(Change::Close),
            Leaving::HandOver(Some(number)) => {
                let teams = calls::teams(self.kernel(), &room.org).await?;
                let team = teams.into_iter().find(|team| team.number == *number);
                team.map(|team| Change::Team(Some(team.id.into())))
            }
            Leaving::HandOver(None) | Leaving::Quietly => None,
        })
    }

    /// An event of a room's flow: the story of a run is read from them.
    fn flow_event(
        &self,
        room: &Room,
        kind: &'static str,
        run: Option<&str>,
        step: Option<(&str, &str)>,
        data: Value,
    ) -> kernel::Event {
        let mut event = self.event(&room.org, &room.id, kind, data);
        if let Some(body) = event.body.as_object_mut() {
            body.insert("run_id".to_owned(), json!(run));
            body.insert("room".to_owned(), json!({ "id": &*room.id, "product": room.product }));
            if let Some((id, kind)) = step {
                body.insert("step".to_owned(), json!({ "id": id, "type": kind }));
            }
        }
        event
    }
}
