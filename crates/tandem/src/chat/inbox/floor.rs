//! Who takes chats, and who waits: what every open inbox asks for at each change, read once for all of them.
//!
//! Invariant: what is given was read after the last change that this node knows of, and is no older than a second.
//! Whether somebody is at a page is looked up each time: it costs nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OnceCell;

use super::agents::AgentView;
use super::moves::Line;
use super::store;
use crate::chat::model::Id;
use crate::chat::{Asker, ChatError, Chats, Wide};

/// How old the answer may be, milliseconds.
const FRESH_MS: i64 = 1_000;
/// Organisations that are remembered.
const MAX_REMEMBERED: usize = 1_000;

/// Those who answer, and the rooms that wait for them.
#[derive(Clone, Debug, Default)]
pub(super) struct Floor {
    /// By name.
    pub(super) agents: Vec<AgentView>,
    /// Team by team.
    pub(super) lines: Vec<Line>,
}

/// Filled by whoever asks first; those who ask meanwhile wait for that.
type Answer = Arc<OnceCell<Arc<Floor>>>;

/// The floors of organisations, and since when each is being read.
#[derive(Debug, Default)]
pub(in crate::chat) struct Floors(Mutex<HashMap<Id, (Answer, i64)>>);

impl Floors {
    fn known(&self) -> MutexGuard<'_, HashMap<Id, (Answer, i64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer of this moment.
    fn of(&self, org: &Id, now_ms: i64) -> Answer {
        let mut known = self.known();
        let is_fresh = |since_ms: i64| (0..FRESH_MS).contains(&(now_ms - since_ms));
        if let Some((answer, _)) = known.get(org).filter(|(_, since_ms)| is_fresh(*since_ms)) {
            return Arc::clone(answer);
        }
        if known.len() >= MAX_REMEMBERED {
            known.clear();
        }
        let answer = Answer::default();
        known.insert(org.clone(), (Arc::clone(&answer), now_ms));
        answer
    }

    /// Something has changed: whoever asks from now on gets what is read from now on.
    pub(super) fn forget(&self, org: &Id) {
        self.known().remove(org);
    }
}

impl Chats {
    /// Who takes chats, and who waits. A program is told of the rooms of its own application, and of nobody.
    ///
    /// # Errors
    /// [`ChatError`].
    pub(super) async fn floor(&self, asker: &Asker) -> Result<Floor, ChatError> {
        self.may_everywhere(asker, Wide::SeeRooms).await?;
        let org = asker.org();
        if self.may_everywhere(asker, Wide::UseDesk).await.is_err() {
            let lines = store::lines(&self.kernel().db, org, asker.app()).await?;
            return Ok(Floor { agents: Vec::new(), lines });
        }
        let answer = self.inbox().floors.of(org, self.now_ms());
        let floor = answer.get_or_try_init(|| self.read_floor(org)).await?;
        let here = self.people_here(org);
        let mut floor = Floor::clone(floor);
        floor.agents.iter_mut().for_each(|agent| agent.online = here.contains(agent.person.as_str()));
        Ok(floor)
    }

    async fn read_floor(&self, org: &Id) -> Result<Arc<Floor>, ChatError> {
        let lines = store::lines(&self.kernel().db, org, None).await?;
        Ok(Arc::new(Floor { agents: self.agents(org).await?, lines }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_answer_serves_all_until_something_changes_or_a_second_has_passed() {
        let (floors, org): (Floors, Id) = (Floors::default(), "org".into());
        let first = floors.of(&org, 1_000);
        assert!(Arc::ptr_eq(&first, &floors.of(&org, 1_999)));
        assert!(!Arc::ptr_eq(&first, &floors.of(&"other".into(), 1_000)));
        let second = floors.of(&org, 2_000);
        assert!(!Arc::ptr_eq(&first, &second), "a second has passed");
        floors.forget(&org);
        assert!(!Arc::ptr_eq(&second, &floors.of(&org, 2_000)), "something has changed");
        for n in 0..2 * MAX_REMEMBERED {
            floors.of(&n.to_string().into(), 2_000);
        }
        assert!(floors.known().len() <= MAX_REMEMBERED);
    }
}
