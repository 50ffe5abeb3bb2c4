//! Gives the rooms that wait to those who are free, and tells visitors their places.
//!
//! Invariant: one organisation's rooms are given away by one task of a node, one after the other; a room and a person
//! change in one commit, guarded by the revisions by which they were chosen, so that of two nodes only one wins. All
//! that is decided is decided from the store: after a restart it goes on where it was.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kernel::bus::Message;
use kernel::{DbError, Outbox, Write};
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};

use super::agents::{Seen, Teams};
use super::assignment::{self, Agent, Choice, Waiting};
use super::floor::Floors;
use super::store::{self, AgentRow, WaitingRow};
use crate::chat::hub::{News, What};
use crate::chat::model::{Id, Room, Sender};
use crate::chat::settings::Assign;
use crate::chat::{Change, ChatError, Chats};

/// Where it is told that an organisation's rooms or people have changed; the message is the organisation.
const SUBJECT: &str = "chat.queue";
/// How often it is looked without being told: whether people are still there, and for what another node did.
const BEAT: Duration = Duration::from_secs(15);
/// How often it is chosen again when somebody else was faster.
const MAX_TRIES: usize = 8;
/// Rooms whose new places are told as events in one go; the places behind are told to open pages alone.
const MAX_EVENTS: usize = 100;
/// That a room waits is told to browsers while it has not waited longer, milliseconds.
const NEWS_HOLD_MS: i64 = 300_000;
/// Rooms that browsers are told of in one go: whoever could take them sees the others when they look.
const MAX_NEW: usize = 10;
/// A visitor's message with a higher number is not the first one: whether its room waits is known.
const FIRST_MESSAGES: i64 = 8;

/// What a node remembers of queues.
#[derive(Debug, Default)]
pub(in crate::chat) struct Inbox {
    pub(super) seen: Seen,
    pub(super) floors: Floors,
    told: Mutex<HashMap<Id, HashMap<Id, Told>>>,
}

/// What was told of a room that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    app: Id,
    position: u32,
}

impl Inbox {
    fn told(&self) -> MutexGuard<'_, HashMap<Id, HashMap<Id, Told>>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Chats {
    /// Begins to give rooms away; it ends with the server.
    pub fn staff(&self) {
        self.kernel().tasks.spawn(run(self.clone()));
    }

    /// Says that an organisation's rooms or people have changed.
    pub(crate) fn wake_queue(&self, org: &Id) {
        self.inbox().floors.forget(org);
        self.kernel().bus.publish(SUBJECT, org.to_string());
    }

    /// A visitor has written: the room may wait from now on.
    pub(in crate::chat) fn visitor_wrote(&self, room: &Room, seq: i64) {
        if seq <= FIRST_MESSAGES && room.assignee.is_none() && self.queue_position(&room.org, &room.id).is_none() {
            self.wake_queue(&room.org);
        }
    }

    /// The place of a room in its queue, from 1; none when it does not wait.
    pub(crate) fn queue_position(&self, org: &Id, room: &Id) -> Option<u32> {
        let told = self.inbox().told();
        told.get(org)?.get(room).map(|told| told.position)
    }

    /// Gives away what waits in an organisation, and tells the places of what goes on waiting.
    ///
    /// # Errors
    /// What the store says.
    pub(super) async fn assign(&self, org: &Id) -> Result<(), ChatError> {
        self.release_left(org).await?;
        for _ in 0..MAX_TRIES {
            let people = store::agents(&self.kernel().db, org).await?;
            if people.is_empty() {
                // Nobody has ever taken a chat here: nobody waits for anybody.
                return Ok(());
            }
            let rows = store::waiting(&self.kernel().db, org).await?;
            let waiting = self.waiting(org, &rows).await?;
            let agents = if waiting.is_empty() { Vec::new() } else { self.free_agents(org, &people).await? };
            let choices = assignment::choose(&agents, &waiting, self.now_ms());
            if choices.is_empty() {
                return self.tell_positions(org, &people, &rows, &waiting).await;
            }
            self.give(org, &choices, &waiting, &people).await?;
        }
        Ok(())
    }

    /// Takes the open rooms of people who were disabled, or may not answer any more: they wait again, for whoever comes.
    async fn release_left(&self, org: &Id) -> Result<(), ChatError> {
        for person in store::who_left(&self.kernel().db, org).await? {
            for room in store::rooms_of(&self.kernel().db, org, &person).await? {
                let now = match self.room_of_desk(org, &room).await {
                    Ok(now) => now,
                    Err(ChatError::NotFound) => continue,
                    Err(error) => return Err(error),
                };
                if !now.is_open() || now.assignee.as_ref() != Some(&person) {
                    continue;
                }
                match self.change_of_desk(now, &Change::Assign(None), |_| Vec::new()).await {
                    // Somebody took it, or closed it, in the same moment; what is left is looked at with the next beat.
                    Ok(_) | Err(ChatError::Db(DbError::Conflict)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    async fn waiting(&self, org: &Id, rows: &[WaitingRow]) -> Result<Vec<Waiting>, ChatError> {
        let mut waiting = Vec::with_capacity(rows.len());
        for row in rows {
            let settings = self.settings(org, &row.app).await?;
            waiting.push(Waiting {
                room: row.room.clone(),
                team: row.team.clone(),
                since_ms: row.since_ms,
                not_for: row.not_for.clone(),
                is_given: settings.assign == Assign::Auto,
            });
        }
        Ok(waiting)
    }

    /// Those who take chats, are there, and still may.
    async fn free_agents(&self, org: &Id, people: &[AgentRow]) -> Result<Vec<Agent>, ChatError> {
        let here = self.people_here(org);
        let loads = store::loads(&self.kernel().db, org).await?;
        let load = |person: &Id| loads.get(person).copied().unwrap_or_default();
        let mut agents = Vec::new();
        for row in people.iter().filter(|row| row.is_available && here.contains(&row.person)) {
            if load(&row.person) < row.capacity && self.who_answers(org, &row.person).await.is_ok() {
                agents.push(Agent {
                    person: row.person.clone(),
                    teams: Vec::new(),
                    capacity: row.capacity,
                    load: load(&row.person),
                    idle_since_ms: row.idle_since_ms,
                });
            }
        }
        if !agents.is_empty() {
            let teams = Teams::read(self.kernel(), org).await?;
            agents.iter_mut().for_each(|agent| agent.teams = teams.of(&agent.person));
        }
        Ok(agents)
    }

    /// Carries out what was chosen, up to the first room or person that has changed meanwhile.
    async fn give(
        &self,
        org: &Id,
        choices: &[Choice],
        waiting: &[Waiting],
        people: &[AgentRow],
    ) -> Result<(), ChatError> {
        let mut revisions: HashMap<&Id, i64> = people.iter().map(|row| (&row.person, row.revision)).collect();
        for Choice { room, person } in choices {
            let wanted = waiting.iter().find(|waiting| waiting.room == *room);
            let now = self.room_of_desk(org, room).await;
            let (Some(wanted), Some(revision), Ok(now)) = (wanted, revisions.get_mut(person), now) else {
                return Ok(());
            };
            if !now.is_open() || now.assignee.is_some() || now.team != wanted.team {
                return Ok(());
            }
            let occupied = store::occupy_write(org, person, *revision, self.now_ms());
            let change = Change::Assign(Some(person.clone()));
            match self.change_of_desk(now, &change, |_| vec![occupied.clone()]).await {
                Ok(_) => *revision += 1,
                Err(ChatError::Db(DbError::Conflict)) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes the places of rooms that wait for as told: they were, before the server was started again.
    async fn recall_positions(&self, org: &Id) -> Result<(), ChatError> {
        let rows = store::waiting(&self.kernel().db, org).await?;
        let waiting = self.waiting(org, &rows).await?;
        self.inbox().told().entry(org.clone()).or_insert_with(|| places(&rows, &waiting));
        Ok(())
    }

    /// Tells each room's new place, as far as it is another one.
    async fn tell_positions(
        &self,
        org: &Id,
        people: &[AgentRow],
        rows: &[WaitingRow],
        waiting: &[Waiting],
    ) -> Result<(), ChatError> {
        let now = places(rows, waiting);
        let before = self.inbox().told().get(org).cloned().unwrap_or_default();
        for (room, was) in before.iter().filter(|(room, _)| !now.contains_key(*room)) {
            self.hub().tell(News::at(org, &was.app, room, What::QueuePosition(0)).outside());
        }
        let mut changed: Vec<(&Id, &Told)> =
            now.iter().filter(|(room, told)| before.get(*room) != Some(told)).collect();
        changed.sort_by_key(|(room, told)| (told.position, (*room).clone()));
        let new = rows.iter().filter(|row| !before.contains_key(&row.room));
        let mut writes = self.tell_teams(org, people, new).await?;
        let targets = if changed.is_empty() { Vec::new() } else { self.kernel().outbox.targets(org).await?.to_vec() };
        for (room, told) in changed.iter().take(MAX_EVENTS) {
            let team =
                waiting.iter().find(|waiting| waiting.room == **room).and_then(|waiting| waiting.team.as_deref());
            let data = json!({"position": told.position, "team": team});
            let event = self.event(org, room, "queue.position", data);
            writes.extend(Outbox::event_writes(&event, targets.iter()));
        }
        if !writes.is_empty() {
            self.kernel().db.writer().commit(writes).await?;
        }
        // Only now: what could not be written is told the next time.
        self.inbox().told().insert(org.clone(), now.clone());
        // Those who answer look for themselves: one word of it is enough, and thousands would send them away.
        if let Some((room, told)) = changed.first() {
            self.hub().tell(News::at(org, &told.app, room, What::QueuePosition(told.position)).inside());
        }
        for (room, told) in changed {
            self.hub().tell(News::at(org, &told.app, room, What::QueuePosition(told.position)).outside());
        }
        Ok(())
    }

    /// Tells the browsers of those who could take rooms that have just begun to wait.
    async fn tell_teams<'r>(
        &self,
        org: &Id,
        people: &[AgentRow],
        rows: impl Iterator<Item = &'r WaitingRow>,
    ) -> Result<Vec<Write>, ChatError> {
        let now_ms = self.now_ms();
        // Of a room that has waited for longer it was told before.
        let new: Vec<&WaitingRow> = rows.filter(|row| now_ms - row.since_ms <= NEWS_HOLD_MS).take(MAX_NEW).collect();
        if new.is_empty() || !self.kernel().has_push(org).await? {
            return Ok(Vec::new());
        }
        let teams = Teams::read(self.kernel(), org).await?;
        let told =
            |row: &WaitingRow| self.told_of_waiting(org, &row.room, &who_could(people, &teams, row.team.as_ref()));
        Ok(new.into_iter().flat_map(told).collect())
    }

    /// Whether somebody has a page open who could take a room that waits for this team, or for anybody.
    pub(in crate::chat) async fn is_somebody_here_for(&self, org: &Id, team: Option<&Id>) -> Result<bool, ChatError> {
        let here = self.hub().people_here(org);
        if here.is_empty() {
            return Ok(false);
        }
        let people = store::agents(&self.kernel().db, org).await?;
        let teams = Teams::read(self.kernel(), org).await?;
        Ok(who_could(&people, &teams, team).iter().any(|person| here.contains(person)))
    }

    /// Gives a room away in the desk's own name, if it still is as it was read.
    async fn change_of_desk(
        &self,
        room: Room,
        change: &Change,
        with: impl Fn(&Room) -> Vec<Write>,
    ) -> Result<Room, ChatError> {
        self.try_change(room, change, &Sender::System, &with).await
    }
}

/// Who could take a room that waits for this team, or for anybody: whoever has not said that he is away.
fn who_could(people: &[AgentRow], teams: &Teams, team: Option<&Id>) -> Vec<Id> {
    let is_away = |person: &Id| people.iter().any(|row| row.person == *person && !row.is_available);
    let mut could = match team {
        Some(team) => teams.people_of(team),
        None => people.iter().map(|row| row.person.clone()).collect(),
    };
    could.retain(|person| !is_away(person));
    could
}

/// The place of each room that waits.
fn places(rows: &[WaitingRow], waiting: &[Waiting]) -> HashMap<Id, Told> {
    let places = assignment::positions(waiting);
    let place = |row: &WaitingRow| {
        let position = places.get(&row.room).copied()?;
        Some((row.room.clone(), Told { app: row.app.clone(), position }))
    };
    rows.iter().filter_map(place).collect()
}

/// Remembers what was told before the server was started.
pub(super) async fn recall(chats: &Chats) -> Result<(), ChatError> {
    for org in store::taking(&chats.kernel().db).await? {
        chats.recall_positions(&org).await?;
    }
    Ok(())
}

/// Looks after every organisation whose rooms or people have changed.
async fn run(chats: Chats) {
    let kernel = chats.kernel().clone();
    let mut wakes = kernel.bus.subscribe(SUBJECT);
    if let Err(error) = recall(&chats).await {
        tracing::error!(%error, "places in queues are told once more");
    }
    let mut beat = interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let first = tokio::select! {
            message = wakes.next() => match message {
                Some(message) => Some(message),
                None => return,
            },
            _ = beat.tick() => None,
            () = kernel.stop.cancelled() => return,
        };
        let mut orgs: BTreeSet<Id> = BTreeSet::new();
        let mut is_all = first.is_none();
        let mut next = first;
        while let Some(message) = next {
            match message {
                Message::Published(org) => match std::str::from_utf8(&org) {
                    Ok(org) => drop(orgs.insert(org.into())),
                    Err(_) => is_all = true,
                },
                Message::Lagged => is_all = true,
            }
            next = wakes.try_next();
        }
        if is_all {
            match store::staffed(&kernel.db).await {
                Ok(staffed) => orgs.extend(staffed),
                Err(error) => tracing::error!(%error, "chats are not given away now"),
            }
        }
        for org in &orgs {
            if let Err(error) = chats.assign(org).await {
                tracing::error!(%org, %error, "chats are not given away now");
            }
        }
    }
}
