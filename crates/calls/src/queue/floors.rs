//! The floors of a server, one an organisation: the pure [`Floor`] behind a lock, what is asked of it, and what it tells.
//!
//! A floor is changed under a lock that nobody holds while waiting, so that a caller who hangs up has left at once;
//! what needs waiting is the keeper's.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use kernel::Kernel;
use kernel::db::DbError;
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
pub(super) struct House {
    pub(super) kernel: Kernel,
    pub(super) directory: Arc<Directory>,
    busy: BusyExtensions,
}

type OpenFloors = Mutex<HashMap<Arc<str>, Arc<OrgFloor>>>;

/// The floors of a server. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Floors {
    house: Arc<House>,
    /// A floor stays once somebody has looked at it: it is as large as the organisation's teams.
    open: Arc<OpenFloors>,
}

/// The floor of one organisation.
pub(crate) struct OrgFloor {
    /// Itself, for its keeper.
    pub(super) own: Weak<Self>,
    pub(super) house: Arc<House>,
    pub(super) org: Arc<str>,
    state: Mutex<State>,
    /// Something has changed: for the keeper's clock, and for its books.
    pub(super) time_news: Notify,
    pub(super) book_news: Notify,
    #[cfg(test)]
    pub(super) trouble: super::keeper::Trouble,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) floor: Floor,
    /// What people said last, and when, by the stamps of what they said.
    said: HashMap<Arc<str>, PersonState>,
    /// The newest stamp.
    stamp_ms: i64,
    seats: BTreeMap<Place, watch::Sender<Standing>>,
    /// What is to be written down.
    pub(super) unsaved: BTreeMap<Arc<str>, PersonState>,
    joined: u64,
    /// How often the floor was gone through.
    #[cfg(test)]
    passes: usize,
    /// There is a keeper.
    pub(super) kept: bool,
}

impl Floors {
    pub(crate) fn new(kernel: Kernel, directory: Arc<Directory>, busy: BusyExtensions) -> Self {
        let open: Arc<OpenFloors> = Arc::default();
        let seen = Arc::downgrade(&open);
        busy.on_change(move |org, extension| {
            let floor = seen.upgrade().and_then(|open| lock(&open).get(org).cloned());
            if let Some(floor) = floor {
                floor.engagement_changed(extension);
            }
        });
        Self { house: Arc::new(House { kernel, directory, busy }), open }
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
        // What is asked later is to win, whichever is written first.
        let since_ms = floor.stamp();
        floor.appear(extensions).await?;
        let said = PersonState { availability, wrap_up_until_ms: 0, since_ms };
        self.house.kernel.db.writer().commit(vec![people::keep(org, person, &said)]).await?;
        floor.hear(person, said);
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
            time_news: Notify::new(),
            book_news: Notify::new(),
            #[cfg(test)]
            trouble: super::keeper::Trouble::default(),
        });
        Ok(self.open().entry(org.clone()).or_insert(new).clone())
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<OrgFloor>>> {
        lock(&self.open)
    }

    /// How often an organisation's floor was gone through so far.
    #[cfg(test)]
    pub(crate) fn passes(&self, org: &str) -> usize {
        self.open().get(org).map_or(0, |floor| floor.lock().passes)
    }

    /// What befalls the next look of an organisation's keeper.
    #[cfg(test)]
    pub(crate) fn befalls(&self, org: &str, trouble: u8) {
        if let Some(floor) = self.open().get(org) {
            floor.trouble.set(trouble);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the floor is to know of a team.
pub(super) fn rules_of(team: &TeamEntry) -> Input {
    let TeamEntry { strategy, wrap_up_ms, ref members, .. } = *team;
    Input::Team { team: team.id.clone(), rules: TeamRules { strategy, wrap_up_ms, members: members.clone() } }
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
            announces: team.announce_position,
            members: team.members.iter().map(|member| member.as_str().into()).collect(),
        }
    }
}

impl OrgFloor {
    /// Changes the floor, tells the seats what it wants of them, and has the keeper look at it.
    pub(super) fn apply(&self, input: Input) {
        self.note(vec![input], &[]);
        self.wake();
    }

    /// Changes the floor, looks at the phones of some agents, and tells the seats what is wanted of them. The phones are
    /// looked at under the lock, so that the last look is the newest.
    pub(super) fn note(&self, inputs: Vec<Input>, agents: &[Arc<str>]) {
        let now_ms = self.house.kernel.clock.now_ms();
        let mut state = self.lock();
        let phones = agents.iter().map(|agent| Input::Phone { agent: agent.clone(), phone: self.phone(agent) });
        let effects = state.floor.apply_all(inputs.into_iter().chain(phones), now_ms);
        state.tell(effects);
    }

    /// A call of an agent's has begun or ended, whoever made it.
    fn engagement_changed(&self, agent: &Arc<str>) {
        if self.lock().floor.knows(agent) {
            self.note(Vec::new(), std::slice::from_ref(agent));
            self.wake();
        }
    }

    fn phone(&self, agent: &Arc<str>) -> Phone {
        Phone {
            reachable: self.house.directory.has_phone(&self.org, agent),
            engaged: self.house.busy.is_busy(&self.org, agent),
        }
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
        let mut inputs = self.newcomers(&team.members).await?;
        inputs.push(rules_of(team));
        self.note(inputs, &team.members);
        Ok(())
    }

    /// Brings what the floor knows of some agents up to date.
    async fn appear(&self, extensions: &[String]) -> Result<(), DbError> {
        let agents: Vec<Arc<str>> = extensions.iter().map(|extension| extension.as_str().into()).collect();
        let newcomers = self.newcomers(&agents).await?;
        self.note(newcomers, &agents);
        Ok(())
    }

    /// Those whom the floor does not know yet.
    pub(super) async fn newcomers(&self, agents: &[Arc<str>]) -> Result<Vec<Input>, DbError> {
        let unknown: Vec<Arc<str>> = {
            let state = self.lock();
            agents.iter().filter(|agent| !state.floor.knows(agent)).cloned().collect()
        };
        let mut newcomers = Vec::with_capacity(unknown.len());
        for agent in unknown {
            let Some(entry) = self.house.directory.person(&self.org, &agent).await? else { continue };
            let said = self.lock().said.get(&entry.person).cloned().unwrap_or_default();
            newcomers.push(Input::Agent { agent, person: entry.person, said });
        }
        Ok(newcomers)
    }

    /// A time for what a person says, after that of everything said before.
    fn stamp(&self) -> i64 {
        let now_ms = self.house.kernel.clock.now_ms();
        let mut state = self.lock();
        state.stamp_ms = now_ms.max(state.stamp_ms + 1);
        state.stamp_ms
    }

    /// Takes what a person said and its row says already, unless it has said something since.
    fn hear(&self, person: &Arc<str>, said: PersonState) {
        let now_ms = self.house.kernel.clock.now_ms();
        let mut state = self.lock();
        if state.said.get(person).is_some_and(|newer| newer.since_ms > said.since_ms) {
            return;
        }
        let news = Input::Said { person: person.clone(), availability: said.availability };
        state.said.insert(person.clone(), said);
        let effects = state.floor.apply(news, now_ms);
        state.tell(effects);
        drop(state);
        self.wake();
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

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    fn tell(&mut self, effects: Vec<Effect>) {
        #[cfg(test)]
        (self.passes += 1);
        for effect in effects {
            match effect {
                Effect::Offer { place, offer, agents } => {
                    self.seat(place, |standing| standing.offer = Some(Offer { number: offer, agents }));
                }
                Effect::Withdraw { place, offer } => self.seat(place, |standing| {
                    standing.offer = None;
                    standing.withdrawn = offer;
                }),
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
    pub(super) fn keep_older(&mut self, unsaved: BTreeMap<Arc<str>, PersonState>) {
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
