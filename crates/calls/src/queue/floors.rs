//! The floors of a server, one an organisation: keeps the time for the pure [`Floor`], looks at its agents' phones,
//! and writes down what people say.
//!
//! A floor is changed under a lock that nobody holds while waiting, so that a caller who hangs up has left at once; a
//! task an organisation, the keeper, does what needs waiting, and ends when nothing is left to keep.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use kernel::Kernel;
use kernel::db::{DbError, Write};
use serde::Serialize;
use tokio::sync::{Notify, watch};
use utoipa::ToSchema;

use super::agent::{AgentState, Availability, PersonState, Phone};
use super::floor::{Effect, Floor, Input, Patience, Place};
use super::people;
use super::seat::{Leaving, Offer, Seat, Standing};
use super::team::{TeamRules, TeamStrategy};
use crate::directory::{Directory, TeamEntry};
use crate::presence::BusyExtensions;
use crate::teams::TeamRecord;

/// How often the phones of agents are looked at while somebody waits, in milliseconds: a phone that registers or comes
/// off another call is offered the next caller so much later.
const LOOK_MS: i64 = 500;
/// Pause before rows that could not be written are written again, in milliseconds.
const RETRY_MS: u64 = 1_000;

/// A queue as supervisors see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct QueueView {
    /// `team_...`
    pub team: String,
    /// The team's number.
    pub number: String,
    /// Its name.
    pub name: String,
    /// In what order its members are offered calls.
    pub strategy: TeamStrategy,
    /// So many callers wait.
    pub waiting: usize,
    /// So long the first of them has waited, in seconds.
    pub longest_wait_s: i64,
    /// How long whoever comes now is likely to wait, in seconds; null when there is nothing to tell it by.
    pub expected_wait_s: Option<i64>,
    /// Its members, in their order.
    pub agents: Vec<AgentView>,
}

/// A member of a team as supervisors see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct AgentView {
    /// The extension.
    pub extension: String,
    /// Whose it is.
    pub person: String,
    /// The person's name.
    pub name: String,
    /// What it is doing.
    pub state: AgentState,
    /// Whether a phone of it is registered; without one it is offered nothing.
    pub registered: bool,
}

/// What a person is doing, as it sees itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnState {
    /// What it is doing.
    pub state: AgentState,
    /// What it said.
    pub said: PersonState,
}

/// What the floors need of the rest.
struct House {
    kernel: Kernel,
    directory: Arc<Directory>,
    busy: BusyExtensions,
}

/// The floors of a server. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Floors {
    house: Arc<House>,
    /// A floor stays once somebody has looked at it: it is as large as the organisation's teams.
    open: Arc<Mutex<HashMap<Arc<str>, Arc<OrgFloor>>>>,
}

/// The floor of one organisation.
pub(crate) struct OrgFloor {
    /// Itself, for its keeper.
    own: Weak<Self>,
    house: Arc<House>,
    org: Arc<str>,
    state: Mutex<State>,
    news: Notify,
}

#[derive(Default)]
struct State {
    floor: Floor,
    /// What people said who are not on the floor, or were not when they said it.
    said: HashMap<Arc<str>, PersonState>,
    seats: BTreeMap<Place, watch::Sender<Standing>>,
    /// What is to be written down.
    unsaved: BTreeMap<Arc<str>, PersonState>,
    joined: u64,
    kept: bool,
}

impl Floors {
    pub(crate) fn new(kernel: Kernel, directory: Arc<Directory>, busy: BusyExtensions) -> Self {
        Self { house: Arc::new(House { kernel, directory, busy }), open: Arc::default() }
    }

    /// Takes a seat for a team's call, as of `joined_ms` if the caller came earlier.
    ///
    /// # Errors
    /// What the store says.
    pub(crate) async fn join(
        &self,
        org: &Arc<str>,
        team: &TeamEntry,
        patience: Patience,
        joined_ms: Option<i64>,
    ) -> Result<Seat, DbError> {
        let floor = self.of(org).await?;
        floor.stand(team).await?;
        Ok(floor.take_seat(&team.id, patience, joined_ms))
    }

    /// The queues of some teams as they are now.
    ///
    /// # Errors
    /// What the store says.
    pub(crate) async fn views(&self, org: &Arc<str>, teams: &[TeamRecord]) -> Result<Vec<QueueView>, DbError> {
        let floor = self.of(org).await?;
        let mut views = Vec::with_capacity(teams.len());
        for team in teams {
            floor.stand(&TeamEntry::from(team)).await?;
            let mut agents = Vec::with_capacity(team.members.len());
            for extension in &team.members {
                if let Some(person) = self.house.directory.person(org, extension).await? {
                    let state = floor.agent_state(extension);
                    let registered = self.house.directory.has_phone(org, extension);
                    let (extension, person, name) = (extension.clone(), person.person.to_string(), person.name);
                    agents.push(AgentView { extension, person, name, state, registered });
                }
            }
            views.push(floor.view(team, agents));
        }
        Ok(views)
    }

    /// What a person is doing; `extensions` are its own.
    ///
    /// # Errors
    /// What the store says.
    pub(crate) async fn own_state(
        &self,
        org: &Arc<str>,
        person: &Arc<str>,
        extensions: &[String],
    ) -> Result<OwnState, DbError> {
        let floor = self.of(org).await?;
        floor.appear(extensions).await?;
        Ok(floor.own_state(person))
    }

    /// A person says whether it takes calls. Durable when this returns.
    ///
    /// # Errors
    /// What the store says.
    pub(crate) async fn say(
        &self,
        org: &Arc<str>,
        person: &Arc<str>,
        extensions: &[String],
        availability: Availability,
    ) -> Result<OwnState, DbError> {
        let floor = self.of(org).await?;
        floor.appear(extensions).await?;
        let now_ms = self.house.kernel.clock.now_ms();
        let said = PersonState { availability, wrap_up_until_ms: 0, since_ms: now_ms };
        self.house.kernel.db.writer().commit(vec![people::keep(org, person, &said)]).await?;
        floor.lock().said.insert(person.clone(), said);
        floor.apply(Input::Said { person: person.clone(), availability });
        Ok(floor.own_state(person))
    }

    async fn of(&self, org: &Arc<str>) -> Result<Arc<OrgFloor>, DbError> {
        if let Some(open) = self.open().get(org) {
            return Ok(open.clone());
        }
        let said = people::states(&self.house.kernel.db, org).await?;
        let new = Arc::new_cyclic(|own| OrgFloor {
            own: own.clone(),
            house: self.house.clone(),
            org: org.clone(),
            state: Mutex::new(State { said, ..State::default() }),
            news: Notify::new(),
        });
        Ok(self.open().entry(org.clone()).or_insert(new).clone())
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<OrgFloor>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn state_of(said: &PersonState) -> AgentState {
    match said.availability {
        Availability::Available => AgentState::Available,
        Availability::Away => AgentState::Away,
    }
}

impl From<&TeamRecord> for TeamEntry {
    fn from(team: &TeamRecord) -> Self {
        Self {
            id: team.id.as_str().into(),
            number: team.number.as_str().into(),
            name: team.name.clone(),
            strategy: team.strategy,
            wrap_up_ms: team.wrap_up_s * 1000,
            ring_ms: team.ring_s * 1000,
            members: team.members.iter().map(|member| member.as_str().into()).collect(),
        }
    }
}

impl OrgFloor {
    /// Changes the floor, tells the seats what it wants of them, and has the keeper look at it.
    pub(super) fn apply(&self, input: Input) {
        self.note(input);
        let keep = {
            let mut state = self.lock();
            let wanted = !state.floor.is_empty() || !state.unsaved.is_empty();
            wanted && !std::mem::replace(&mut state.kept, true)
        };
        self.news.notify_one();
        if keep {
            self.keep();
        }
    }

    /// Changes the floor and tells the seats what it wants of them.
    fn note(&self, input: Input) {
        let now_ms = self.house.kernel.clock.now_ms();
        let mut state = self.lock();
        let effects = state.floor.apply(input, now_ms);
        state.tell(effects);
    }

    /// A seat is given up.
    pub(super) fn forget(&self, place: Place) {
        self.lock().seats.remove(&place);
    }

    fn take_seat(self: &Arc<Self>, team: &Arc<str>, patience: Patience, joined_ms: Option<i64>) -> Seat {
        let now_ms = self.house.kernel.clock.now_ms();
        let (sender, receiver) = watch::channel(Standing::default());
        let place = {
            let mut state = self.lock();
            state.joined += 1;
            let place = Place { joined_ms: joined_ms.unwrap_or(now_ms), number: state.joined };
            state.seats.insert(place, sender);
            place
        };
        self.apply(Input::Join { team: team.clone(), place, patience });
        Seat::new(self.clone(), place, receiver)
    }

    /// Brings what the floor knows of a team up to date.
    async fn stand(&self, team: &TeamEntry) -> Result<(), DbError> {
        self.appear(&team.members).await?;
        let rules = TeamRules { strategy: team.strategy, wrap_up_ms: team.wrap_up_ms, members: team.members.clone() };
        self.note(Input::Team { team: team.id.clone(), rules });
        Ok(())
    }

    /// Brings what the floor knows of some agents up to date.
    async fn appear(&self, extensions: &[impl AsRef<str>]) -> Result<(), DbError> {
        for extension in extensions {
            let agent: Arc<str> = extension.as_ref().into();
            if !self.lock().floor.knows(&agent) {
                let Some(entry) = self.house.directory.person(&self.org, &agent).await? else { continue };
                let said = self.lock().said.get(&entry.person).cloned().unwrap_or_default();
                self.note(Input::Agent { agent: agent.clone(), person: entry.person, said });
            }
            let phone = Phone {
                reachable: self.house.directory.has_phone(&self.org, &agent),
                engaged: self.house.busy.is_busy(&self.org, &agent),
            };
            self.note(Input::Phone { agent, phone });
        }
        Ok(())
    }

    fn agent_state(&self, extension: &str) -> AgentState {
        let now_ms = self.house.kernel.clock.now_ms();
        self.lock().floor.agent_state(extension, now_ms).unwrap_or(AgentState::Away)
    }

    fn own_state(&self, person: &Arc<str>) -> OwnState {
        let now_ms = self.house.kernel.clock.now_ms();
        let floor = self.lock();
        let (state, said) = floor.floor.person(person, now_ms).unwrap_or_else(|| {
            let said = floor.said.get(person).cloned().unwrap_or_default();
            (state_of(&said), said)
        });
        OwnState { state, said }
    }

    fn view(&self, team: &TeamRecord, agents: Vec<AgentView>) -> QueueView {
        let now_ms = self.house.kernel.clock.now_ms();
        let state = self.lock();
        let waiting: Vec<Place> = state.floor.waiting(&team.id).collect();
        QueueView {
            team: team.id.clone(),
            number: team.number.clone(),
            name: team.name.clone(),
            strategy: team.strategy,
            longest_wait_s: waiting.first().map_or(0, |first| (now_ms - first.joined_ms).max(0) / 1000),
            expected_wait_s: state.floor.expected_ms(&team.id).map(|ms| ms / 1000),
            waiting: waiting.len(),
            agents,
        }
    }

    /// Starts the keeper.
    fn keep(&self) {
        let Some(floor) = self.own.upgrade() else { return };
        if tokio::runtime::Handle::try_current().is_err() {
            // The process ends.
            self.lock().kept = false;
            return;
        }
        let kernel = self.house.kernel.clone();
        self.house.kernel.tasks.spawn(async move { kernel.stop.run_until_cancelled(floor.keeper()).await });
    }

    /// Keeps the time while somebody waits, and writes down what people say.
    async fn keeper(&self) {
        let clock = self.house.kernel.clock.clone();
        loop {
            self.save().await;
            if let Err(error) = self.look().await {
                tracing::warn!(org = %self.org, %error, "the agents of a queue could not be looked at");
            }
            let now_ms = clock.now_ms();
            let deadline_ms = {
                let mut state = self.lock();
                if state.unsaved.is_empty() && state.floor.is_empty() {
                    state.kept = false;
                    return;
                }
                let look_ms = state.floor.anyone_waits().then_some(now_ms + LOOK_MS);
                [look_ms, state.floor.deadline_ms(now_ms)].into_iter().flatten().min()
            };
            tokio::select! {
                () = self.news.notified() => {}
                () = clock.sleep_until(deadline_ms.unwrap_or(i64::MAX)), if deadline_ms.is_some() => self.note(Input::Tick),
            }
        }
    }

    /// Looks at the teams that somebody waits for, and at the phones of their members.
    async fn look(&self) -> Result<(), DbError> {
        self.house.directory.refresh().await?;
        let teams = self.lock().floor.wanted_teams();
        for id in teams {
            if let Some(team) = self.house.directory.team(&self.org, &id).await? {
                self.stand(&team).await?;
            }
        }
        Ok(())
    }

    async fn save(&self) {
        let unsaved = std::mem::take(&mut self.lock().unsaved);
        if unsaved.is_empty() {
            return;
        }
        let writes: Vec<Write> = unsaved.iter().map(|(person, said)| people::keep(&self.org, person, said)).collect();
        if let Err(error) = self.house.kernel.db.writer().commit(writes).await {
            tracing::warn!(org = %self.org, %error, "what agents said could not be written down; it is tried again");
            self.lock().keep_older(unsaved);
            self.house.kernel.clock.sleep(RETRY_MS).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn tell(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Offer { place, offer, agents } => {
                    self.seat(place, |standing| standing.offer = Some(Offer { number: offer, agents }));
                }
                Effect::Withdraw { place, .. } => self.seat(place, |standing| standing.offer = None),
                Effect::Left { place, why, position, waited_ms } => {
                    let leaving = Leaving { why, position, waited_ms };
                    self.seat(place, |standing| {
                        standing.left = Some(leaving);
                        standing.offer = None;
                    });
                }
                Effect::Returned { place } => self.seat(place, |standing| standing.left = None),
                Effect::Keep { person, said } => {
                    self.unsaved.insert(person, said);
                }
            }
        }
        for (place, position, expected_ms) in self.floor.positions() {
            if let Some(seat) = self.seats.get(&place) {
                seat.send_if_modified(|standing| {
                    standing.expected_ms = expected_ms;
                    std::mem::replace(&mut standing.position, position) != position
                });
            }
        }
    }

    /// What could not be written down; what was said since is newer.
    fn keep_older(&mut self, unsaved: BTreeMap<Arc<str>, PersonState>) {
        for (person, said) in unsaved {
            self.unsaved.entry(person).or_insert(said);
        }
    }

    fn seat(&self, place: Place, change: impl FnOnce(&mut Standing)) {
        if let Some(seat) = self.seats.get(&place) {
            seat.send_modify(change);
        }
    }
}
