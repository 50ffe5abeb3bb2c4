//! Who takes chats: what people say of themselves, and whether they are there.
//!
//! Invariant: nobody is available who did not say so, and whoever has had no open socket for a minute is given nothing
//! new, whatever was said.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use calls::TeamRecord;
use kernel::person::Person;
use kernel::time::rfc3339;
use kernel::{DbError, Kernel, RecordError};
use serde::Serialize;
use utoipa::ToSchema;

use super::store::{self, AgentRow};
use crate::chat::access;
use crate::chat::hub::{News, What};
use crate::chat::model::Id;
use crate::chat::{Asker, ChatError, Chats, Wide};

/// The word of somebody who takes chats.
pub(super) const AVAILABLE: &str = "available";
/// The word of somebody who takes none.
pub(super) const AWAY: &str = "away";
/// Open rooms that somebody takes at once who did not say how many.
const CAPACITY: u32 = 4;
/// The most that can be said.
pub(super) const MAX_CAPACITY: u32 = 100;
/// So long after the last socket was closed somebody is still taken to be there, milliseconds.
const GRACE_MS: i64 = 60_000;
/// People of an organisation.
const MAX_PEOPLE: i64 = 10_000;
/// Read at once.
const PEOPLE_PAGE: i64 = 500;

/// Somebody who may take chats.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct AgentView {
    /// `per_…`
    pub(crate) person: String,
    /// Name for people.
    pub(crate) name: String,
    /// `available` or `away`, as was said last; `away` of whoever said nothing.
    pub(crate) state: &'static str,
    /// Whether a page is open, or was a minute ago.
    pub(crate) online: bool,
    /// Open rooms that the person has.
    pub(crate) load: u32,
    /// Open rooms that the person is given at once.
    pub(crate) capacity: u32,
    /// Ids of teams.
    pub(crate) teams: Vec<String>,
    /// When a room was last given to the person, or taken; RFC 3339.
    pub(crate) idle_since: Option<String>,
}

/// Somebody's state, as others are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentNews {
    /// `per_…`
    pub person: Id,
    /// `available` or `away`.
    pub state: &'static str,
    /// Open rooms at once.
    pub capacity: u32,
    /// Open rooms now.
    pub load: u32,
}

/// When each person was last seen, by organisation. Forgotten with the server: whoever is there comes back.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<HashMap<Id, HashMap<Id, i64>>>);

impl Seen {
    /// Notes who is here, and gives those who were here a moment ago.
    pub(super) fn look(&self, org: &Id, here: impl IntoIterator<Item = Id>, now_ms: i64) -> HashSet<Id> {
        let mut orgs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let people = orgs.entry(org.clone()).or_default();
        people.extend(here.into_iter().map(|person| (person, now_ms)));
        people.retain(|_, at_ms| now_ms - *at_ms <= GRACE_MS);
        people.keys().cloned().collect()
    }
}

/// The members of teams, as the calls have them.
#[derive(Debug, Default)]
pub(super) struct Teams {
    pub(super) teams: Vec<TeamRecord>,
    of: HashMap<String, Vec<Id>>,
}

impl Teams {
    pub(super) async fn read(kernel: &Kernel, org: &str) -> Result<Self, DbError> {
        let teams = calls::teams(kernel, org).await?;
        let mut of: HashMap<String, Vec<Id>> = HashMap::new();
        if !teams.is_empty() {
            for extension in calls::extensions(kernel, org).await? {
                let own = teams.iter().filter(|team| team.members.contains(&extension.number));
                of.entry(extension.person).or_default().extend(own.map(|team| Id::from(team.id.as_str())));
            }
        }
        Ok(Self { teams, of })
    }

    /// The people of a team.
    pub(super) fn people_of(&self, team: &str) -> Vec<Id> {
        let of_team = self.of.iter().filter(|(_, teams)| teams.iter().any(|id| **id == *team));
        of_team.map(|(person, _)| Id::from(person.as_str())).collect()
    }

    /// The teams that somebody is of.
    pub(super) fn of(&self, person: &str) -> Vec<Id> {
        self.of.get(person).cloned().unwrap_or_default()
    }
}

/// What somebody wants to say of taking chats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) is_available: bool,
    /// None = as it was.
    pub(super) capacity: Option<u32>,
}

fn word(is_available: bool) -> &'static str {
    if is_available { AVAILABLE } else { AWAY }
}

impl Chats {
    /// Those of an organisation who are at a page, or were a moment ago.
    pub(super) fn people_here(&self, org: &Id) -> HashSet<Id> {
        self.inbox().seen.look(org, self.hub().people_here(org), self.now_ms())
    }

    /// Everybody who may answer visitors.
    async fn answering(&self, org: &str) -> Result<Vec<Person>, RecordError> {
        let mut all: Vec<Person> = Vec::new();
        loop {
            let after = all.last().map(|person| person.id.clone()).unwrap_or_default();
            let page = self.kernel().people(org, &after, PEOPLE_PAGE).await?;
            let is_last = i64::try_from(page.len()).is_ok_and(|length| length < PEOPLE_PAGE);
            all.extend(page);
            if is_last || i64::try_from(all.len()).is_ok_and(|length| length >= MAX_PEOPLE) {
                all.retain(answers);
                return Ok(all);
            }
        }
    }

    /// A person who may answer visitors.
    ///
    /// # Errors
    /// [`RecordError::NotFound`], or what the store says.
    pub(in crate::chat) async fn who_answers(&self, org: &str, person: &str) -> Result<Person, RecordError> {
        let missing = || RecordError::NotFound { what: "agent", name: person.to_owned() };
        let found = self.kernel().person(org, person).await?;
        if answers(&found) { Ok(found) } else { Err(missing()) }
    }

    /// Everybody who may take chats, by name.
    ///
    /// # Errors
    /// What the store says.
    pub(super) async fn agents(&self, org: &Id) -> Result<Vec<AgentView>, ChatError> {
        let db = &self.kernel().db;
        let said: HashMap<Id, AgentRow> =
            store::agents(db, org).await?.into_iter().map(|row| (row.person.clone(), row)).collect();
        let (loads, teams) = (store::loads(db, org).await?, Teams::read(self.kernel(), org).await?);
        let here = self.people_here(org);
        let mut agents: Vec<AgentView> = self
            .answering(org)
            .await?
            .into_iter()
            .map(|person| {
                let load = loads.get(person.id.as_str()).copied().unwrap_or_default();
                let is_here = here.contains(person.id.as_str());
                view(&person, said.get(person.id.as_str()), load, is_here, &teams)
            })
            .collect();
        agents.sort_by(|a, b| (&a.name, &a.person).cmp(&(&b.name, &b.person)));
        Ok(agents)
    }

    /// Says whether somebody takes chats: oneself, or another one of the people one directs.
    ///
    /// # Errors
    /// [`ChatError`]; nothing has changed then.
    pub(super) async fn say(&self, asker: &Asker, person: &str, said: Word) -> Result<AgentView, ChatError> {
        let is_own = matches!(asker, Asker::Person { id, .. } if **id == *person);
        let wide = if is_own { Wide::OpenForOthers } else { Wide::Direct };
        self.may_everywhere(asker, wide).await?;
        let (org, db) = (asker.org(), &self.kernel().db);
        let found = self.who_answers(org, person).await?;
        let before = store::agent(db, org, person).await?;
        let capacity = said.capacity.unwrap_or_else(|| before.map_or(CAPACITY, |row| row.capacity));
        let now_ms = self.now_ms();
        let write = store::put_agent_write(org, person, word(said.is_available), capacity, now_ms);
        db.writer().commit(vec![write]).await?;
        let id: Id = person.into();
        if is_own {
            // Who says so is there.
            self.inbox().seen.look(org, [id.clone()], now_ms);
        }
        let load = store::loads(db, org).await?.get(&id).copied().unwrap_or_default();
        let news = AgentNews { person: id.clone(), state: word(said.is_available), capacity, load };
        let nowhere: Id = "".into();
        self.hub().tell(News::at(org, &nowhere, &nowhere, What::Agent(Arc::new(news))));
        self.wake_queue(org);
        let (row, teams) = (store::agent(db, org, person).await?, Teams::read(self.kernel(), org).await?);
        Ok(view(&found, row.as_ref(), load, self.people_here(org).contains(&id), &teams))
    }
}

fn answers(person: &Person) -> bool {
    person.disabled_at.is_none() && access::answers(person.role)
}

fn view(person: &Person, said: Option<&AgentRow>, load: u32, is_here: bool, teams: &Teams) -> AgentView {
    AgentView {
        person: person.id.clone(),
        name: person.name.clone(),
        state: word(said.is_some_and(|row| row.is_available)),
        online: is_here,
        load,
        capacity: said.map_or(CAPACITY, |row| row.capacity),
        teams: teams.of(&person.id).iter().map(ToString::to_string).collect(),
        idle_since: said.map(|row| rfc3339(row.idle_since_ms)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_closed_the_page_is_there_for_a_minute() {
        let (seen, org, ann): (Seen, Id, Id) = (Seen::default(), "org".into(), "ann".into());
        assert!(seen.look(&org, [ann.clone()], 0).contains(&ann));
        assert!(seen.look(&org, [], GRACE_MS).contains(&ann));
        assert!(seen.look(&"other".into(), [], 0).is_empty());
        assert!(seen.look(&org, [], GRACE_MS + 1).is_empty());
    }
}
