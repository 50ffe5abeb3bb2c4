//! A team's rules: whom a call is offered to, and how long callers are likely to wait.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::agent::Agent;

/// Calls whose length tells what the next ones will take.
const RECENT_CALLS: usize = 20;

/// In what order a team's members are offered calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TeamStrategy {
    /// All idle members at once; the first answer wins.
    #[default]
    RingAll,
    /// The one who has had nothing to do for the longest time.
    LongestIdle,
    /// One after the other, in the order of the team.
    RoundRobin,
}

impl TeamStrategy {
    /// As an administrator writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RingAll => "ring_all",
            Self::LongestIdle => "longest_idle",
            Self::RoundRobin => "round_robin",
        }
    }

    /// Reads what [`TeamStrategy::as_str`] writes.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::RingAll, Self::LongestIdle, Self::RoundRobin].into_iter().find(|strategy| strategy.as_str() == word)
    }
}

/// What the floor knows of a team.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TeamRules {
    /// In what order its members are offered calls.
    pub strategy: TeamStrategy,
    /// How long a member writes up a call, in milliseconds.
    pub wrap_up_ms: i64,
    /// Extensions, in the order of the team.
    pub members: Vec<Arc<str>>,
}

#[derive(Debug, Default)]
pub(super) struct Team {
    pub(super) rules: TeamRules,
    /// Who was offered a call last, for the round.
    last: Option<Arc<str>>,
    /// What recent calls took, talk and wrap-up, in milliseconds.
    recent_ms: VecDeque<i64>,
}

impl Team {
    /// Who is offered the next call: nobody, when nobody is idle.
    pub(super) fn choose(&mut self, agents: &BTreeMap<Arc<str>, Agent>, now_ms: i64) -> Vec<Arc<str>> {
        let idle = |extension: &&Arc<str>| agents.get(*extension).is_some_and(|agent| agent.is_idle(now_ms));
        let members = &self.rules.members;
        let one = match self.rules.strategy {
            TeamStrategy::RingAll => return members.iter().filter(idle).cloned().collect(),
            TeamStrategy::LongestIdle => members
                .iter()
                .filter(idle)
                .min_by_key(|extension| agents.get(*extension).map(|agent| agent.said.since_ms)),
            TeamStrategy::RoundRobin => {
                let last = self.last.as_ref().and_then(|last| members.iter().position(|member| member == last));
                let after = last.map_or(0, |index| index + 1);
                members.iter().cycle().skip(after).take(members.len()).find(idle)
            }
        };
        let chosen: Vec<Arc<str>> = one.cloned().into_iter().collect();
        if let Some(chosen) = chosen.first() {
            self.last = Some(chosen.clone());
        }
        chosen
    }

    /// A call was handled.
    pub(super) fn handled(&mut self, took_ms: i64) {
        self.recent_ms.push_back(took_ms);
        if self.recent_ms.len() > RECENT_CALLS {
            self.recent_ms.pop_front();
        }
    }

    /// How fast the team serves; unknown before the first call was handled or when nobody is at work.
    pub(super) fn pace(&self, agents: &BTreeMap<Arc<str>, Agent>) -> Option<Pace> {
        let on_duty = |extension: &&Arc<str>| agents.get(*extension).is_some_and(Agent::is_on_duty);
        let at_work = i64::try_from(self.rules.members.iter().filter(on_duty).count()).ok()?;
        let handled = i64::try_from(self.recent_ms.len()).ok()?;
        let call_ms = self.recent_ms.iter().sum::<i64>().checked_div(handled)?;
        (at_work > 0).then_some(Pace { call_ms, at_work })
    }
}

/// How fast a team serves.
#[derive(Debug)]
pub(super) struct Pace {
    /// What a call takes, talk and wrap-up, in milliseconds.
    call_ms: i64,
    /// So many members are at work.
    at_work: i64,
}

impl Pace {
    /// How long whoever stands at `position` (1 is next) is likely to wait.
    pub(super) fn expected_ms(&self, position: usize) -> Option<i64> {
        self.call_ms.checked_mul(i64::try_from(position).ok()?)?.checked_div(self.at_work)
    }
}
