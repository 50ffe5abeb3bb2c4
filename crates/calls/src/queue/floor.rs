//! The floor of an organisation as a pure machine: who waits for which team, which agent is offered which caller, and
//! when somebody has waited long enough.
//!
//! All teams of an organisation stand on one floor, because an agent may be a member of several. Whoever drives it
//! rings the agents as [`Effect::Offer`] says and feeds back what came of it. **Invariants**: callers of a team are
//! served in the order of their places; an agent is offered one caller at a time, and none while it talks; a caller
//! whose offer came to nothing keeps its place, which is before everybody who came later; each caller leaves once for
//! each time it joined.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::agent::{Agent, AgentState, Availability, Duty, PersonState, Phone};
use super::team::{Pace, Team, TeamRules};

/// An agent who let an offer pass is left alone for so long, in milliseconds: the caller is offered to others first.
pub const PASSED_MS: i64 = 15_000;

/// A place in the queue; the smaller one is served first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Since when, in UTC milliseconds.
    pub joined_ms: i64,
    /// Which of those who joined in the same millisecond.
    pub number: u64,
}

/// Why somebody no longer waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// An agent has taken the call.
    Bridged,
    /// Nobody did in time.
    Timeout,
    /// Too many wait already.
    Full,
    /// He is called back.
    Callback,
    /// He hung up, or the call was ended.
    Hangup,
}

impl Left {
    /// As events say it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bridged => "bridged",
            Self::Timeout => "timeout",
            Self::Full => "full",
            Self::Callback => "callback",
            Self::Hangup => "hangup",
        }
    }
}

/// How somebody waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Longest wait, in milliseconds.
    pub timeout_ms: i64,
    /// So many may wait for the team, the newcomer among them.
    pub max_waiting: usize,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// What is known of a team now. Comes before anybody waits for it.
    Team {
        /// Its id.
        team: Arc<str>,
        /// What it is like.
        rules: TeamRules,
    },
    /// What is known of a member's phones now.
    Phone {
        /// The extension.
        agent: Arc<str>,
        /// Its phones.
        phone: Phone,
    },
    /// A member appears on the floor.
    Agent {
        /// The extension.
        agent: Arc<str>,
        /// Whose it is.
        person: Arc<str>,
        /// What the person said last.
        said: PersonState,
    },
    /// A person says whether it takes calls, and its row says so already; whoever does is done with its last one.
    Said {
        /// Who.
        person: Arc<str>,
        /// What.
        availability: Availability,
    },
    /// A caller comes.
    Join {
        /// For which team.
        team: Arc<str>,
        /// Its place.
        place: Place,
        /// How it waits.
        patience: Patience,
    },
    /// A caller goes, in whatever state.
    Leave {
        /// Its place.
        place: Place,
        /// Why.
        why: Left,
    },
    /// An agent who was offered a caller is joined with it.
    Answered {
        /// The caller's place.
        place: Place,
        /// The number of the offer.
        offer: u64,
        /// Who answered.
        agent: Arc<str>,
    },
    /// An offer came to nothing: nobody answered, all refused, or it was withdrawn.
    OfferEnded {
        /// The caller's place.
        place: Place,
        /// The number of the offer.
        offer: u64,
    },
    /// The agent is gone and the caller is still there. `lost`: not because it hung up.
    TalkEnded {
        /// The caller's place.
        place: Place,
        /// The agent's phone was lost: the caller is to be served again.
        lost: bool,
    },
    /// Time has passed; see [`Floor::deadline_ms`].
    Tick,
}

/// Something that is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Ring these agents for the caller.
    Offer {
        /// The caller's place.
        place: Place,
        /// The number of the offer.
        offer: u64,
        /// Extensions.
        agents: Vec<Arc<str>>,
    },
    /// Stop ringing for the caller, unless somebody has answered; [`Input::OfferEnded`] or [`Input::Answered`] follows.
    Withdraw {
        /// The caller's place.
        place: Place,
        /// The number of the offer.
        offer: u64,
    },
    /// The caller no longer waits.
    Left {
        /// Its place.
        place: Place,
        /// Why.
        why: Left,
        /// Where it stood; 1 is next.
        position: usize,
        /// How long it has waited, in milliseconds.
        waited_ms: i64,
    },
    /// The caller waits again, before all who came later: its agent was lost.
    Returned {
        /// Its place.
        place: Place,
    },
    /// What a person's row is to say.
    Keep {
        /// Who.
        person: Arc<str>,
        /// Its state.
        said: PersonState,
    },
}

/// What became of a caller so far.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    Waiting,
    Offered {
        offer: u64,
        agents: Vec<Arc<str>>,
    },
    /// Told to stop ringing: it has waited long enough.
    Withdrawn {
        offer: u64,
        agents: Vec<Arc<str>>,
    },
    Talking {
        agent: Arc<str>,
        since_ms: i64,
    },
}

#[derive(Debug)]
struct Caller {
    team: Arc<str>,
    patience: Patience,
    until_ms: i64,
    stage: Stage,
}

impl Caller {
    fn waits(&self) -> bool {
        !matches!(self.stage, Stage::Talking { .. })
    }
}

/// The floor of an organisation.
#[derive(Debug, Default)]
pub struct Floor {
    teams: BTreeMap<Arc<str>, Team>,
    agents: BTreeMap<Arc<str>, Agent>,
    callers: BTreeMap<Place, Caller>,
    offers: u64,
}

impl Floor {
    /// Takes one input at `now_ms` and says what is to be done.
    pub fn apply(&mut self, input: Input, now_ms: i64) -> Vec<Effect> {
        self.apply_all([input], now_ms)
    }

    /// Takes what is known at `now_ms` together, so that nobody is served by half of it, and says what is to be done.
    /// It costs as much as there are inputs, callers and members, and what each offer takes.
    pub fn apply_all(&mut self, inputs: impl IntoIterator<Item = Input>, now_ms: i64) -> Vec<Effect> {
        let mut out = Vec::new();
        for input in inputs {
            self.take(input, now_ms, &mut out);
        }
        self.expire(now_ms, &mut out);
        self.serve(now_ms, &mut out);
        out
    }

    fn take(&mut self, input: Input, now_ms: i64, out: &mut Vec<Effect>) {
        match input {
            Input::Team { team, rules } => self.teams.entry(team).or_default().rules = rules,
            Input::Phone { agent, phone } => {
                if let Some(agent) = self.agents.get_mut(&agent) {
                    agent.phone = phone;
                }
            }
            Input::Agent { agent, person, said } => {
                self.agents.entry(agent).or_insert_with(|| Agent::new(person, said, Phone::default()));
            }
            Input::Said { person, availability } => self.said(&person, availability, now_ms),
            Input::Join { team, place, patience } => self.join(team, place, patience, now_ms, out),
            Input::Leave { place, why } => self.leave(place, why, now_ms, out),
            Input::Answered { place, offer, agent } => self.answered(place, offer, &agent, now_ms, out),
            Input::OfferEnded { place, offer } => self.offer_ended(place, offer, now_ms, out),
            Input::TalkEnded { place, lost } => self.talk_ended(place, lost, now_ms, out),
            Input::Tick => {}
        }
    }

    /// When [`Input::Tick`] is due next; nothing is while nobody waits.
    pub fn deadline_ms(&self, now_ms: i64) -> Option<i64> {
        let waiting =
            self.callers.values().filter(|caller| matches!(caller.stage, Stage::Waiting | Stage::Offered { .. }));
        let patience = waiting.map(|caller| caller.until_ms).min()?;
        let rested = self.agents.values().filter_map(|agent| agent.rested_ms(now_ms)).min();
        Some(rested.map_or(patience, |rested| rested.min(patience)))
    }

    /// Whether anybody waits whom another look at the phones could help.
    pub fn anyone_waits(&self) -> bool {
        self.callers.values().any(|caller| caller.stage == Stage::Waiting)
    }

    /// Where a caller stands among those who wait for its team (1 is next) and how long it is likely to wait, in
    /// milliseconds.
    pub fn position(&self, place: Place) -> Option<(usize, Option<i64>)> {
        let caller = self.callers.get(&place).filter(|caller| caller.waits())?;
        let before =
            self.callers.range(..place).filter(|(_, other)| other.waits() && other.team == caller.team).count();
        let pace = self.teams.get(&caller.team).and_then(|team| team.pace(&self.agents));
        Some((before + 1, pace.and_then(|pace| pace.expected_ms(before + 1))))
    }

    /// Where everybody who waits stands among those who wait for the same team.
    pub fn positions(&self) -> Vec<(Place, usize, Option<i64>)> {
        // A team's pace is measured once, however many wait for it.
        let mut lines: BTreeMap<&Arc<str>, (usize, Option<Pace>)> = BTreeMap::new();
        let waiting = self.callers.iter().filter(|(_, caller)| caller.waits());
        waiting
            .map(|(place, caller)| {
                let pace = || self.teams.get(&caller.team).and_then(|team| team.pace(&self.agents));
                let (position, pace) = lines.entry(&caller.team).or_insert_with(|| (0, pace()));
                *position += 1;
                (*place, *position, pace.as_ref().and_then(|pace| pace.expected_ms(*position)))
            })
            .collect()
    }

    /// Those who wait for a team, in their order, and since when each does.
    pub fn waiting<'a>(&'a self, team: &'a str) -> impl Iterator<Item = Place> + 'a {
        self.callers.iter().filter(move |(_, caller)| caller.waits() && &*caller.team == team).map(|(place, _)| *place)
    }

    /// How long whoever joins a team now is likely to wait, in milliseconds.
    pub fn expected_ms(&self, team: &str) -> Option<i64> {
        self.teams.get(team)?.pace(&self.agents)?.expected_ms(self.waiting(team).count() + 1)
    }

    /// What an agent is doing; none = it is not on the floor.
    pub fn agent_state(&self, agent: &str, now_ms: i64) -> Option<AgentState> {
        self.agents.get(agent).map(|agent| agent.state(now_ms))
    }

    /// Whether the floor knows an agent.
    pub fn knows(&self, agent: &str) -> bool {
        self.agents.contains_key(agent)
    }

    /// What the agents of a person are doing.
    pub fn person(&self, person: &str, now_ms: i64) -> Option<(AgentState, PersonState)> {
        let agent = self.agents.values().find(|agent| &*agent.person == person)?;
        Some((agent.state(now_ms), agent.said.clone()))
    }

    /// The teams that somebody waits for, and their members: whose phones are worth a look.
    pub fn wanted_teams(&self) -> Vec<Arc<str>> {
        let mut teams: Vec<Arc<str>> =
            self.callers.values().filter(|caller| caller.waits()).map(|caller| caller.team.clone()).collect();
        teams.sort_unstable();
        teams.dedup();
        teams
    }

    /// Nobody waits or talks.
    pub fn is_empty(&self) -> bool {
        self.callers.is_empty()
    }

    fn said(&mut self, person: &Arc<str>, availability: Availability, now_ms: i64) {
        for agent in self.agents.values_mut().filter(|agent| agent.person == *person) {
            // Who comes back has had nothing to do since now, not since he left.
            let back = agent.said.availability != availability && availability == Availability::Available;
            agent.said.since_ms = if back { now_ms } else { agent.said.since_ms };
            agent.said.availability = availability;
            agent.said.wrap_up_until_ms = 0;
            agent.passed_until_ms = 0;
        }
    }

    fn join(&mut self, team: Arc<str>, place: Place, patience: Patience, now_ms: i64, out: &mut Vec<Effect>) {
        let waiting = self.waiting(&team).count();
        if waiting >= patience.max_waiting {
            out.push(Effect::Left { place, why: Left::Full, position: waiting + 1, waited_ms: 0 });
            return;
        }
        let until_ms = now_ms.saturating_add(patience.timeout_ms);
        self.callers.insert(place, Caller { team, patience, until_ms, stage: Stage::Waiting });
    }

    fn leave(&mut self, place: Place, why: Left, now_ms: i64, out: &mut Vec<Effect>) {
        let Some(caller) = self.callers.get(&place) else { return };
        match caller.stage.clone() {
            Stage::Talking { .. } => return self.talk_ended(place, false, now_ms, out),
            Stage::Offered { agents, .. } | Stage::Withdrawn { agents, .. } => self.release(&agents),
            Stage::Waiting => {}
        }
        self.forget(place, why, now_ms, out);
    }

    /// The caller no longer waits, and no agent has it.
    fn forget(&mut self, place: Place, why: Left, now_ms: i64, out: &mut Vec<Effect>) {
        let position = self.position(place).map_or(1, |(position, _)| position);
        self.callers.remove(&place);
        out.push(Effect::Left { place, why, position, waited_ms: now_ms - place.joined_ms });
    }

    fn answered(&mut self, place: Place, offer: u64, winner: &Arc<str>, now_ms: i64, out: &mut Vec<Effect>) {
        let position = self.position(place).map_or(1, |(position, _)| position);
        let Some(caller) = self.callers.get_mut(&place) else { return };
        let agents = match &caller.stage {
            Stage::Offered { offer: current, agents } | Stage::Withdrawn { offer: current, agents }
                if *current == offer =>
            {
                agents.clone()
            }
            _ => return,
        };
        if !agents.contains(winner) {
            return;
        }
        caller.stage = Stage::Talking { agent: winner.clone(), since_ms: now_ms };
        self.release(&agents);
        if let Some(agent) = self.agents.get_mut(winner) {
            agent.duty = Duty::Talking(place);
        }
        out.push(Effect::Left { place, why: Left::Bridged, position, waited_ms: now_ms - place.joined_ms });
    }

    fn offer_ended(&mut self, place: Place, offer: u64, now_ms: i64, out: &mut Vec<Effect>) {
        let Some(caller) = self.callers.get_mut(&place) else { return };
        match caller.stage.clone() {
            Stage::Offered { offer: current, agents } if current == offer => {
                caller.stage = Stage::Waiting;
                self.release(&agents);
                for extension in &agents {
                    if let Some(agent) = self.agents.get_mut(extension) {
                        agent.passed_until_ms = now_ms + PASSED_MS;
                        agent.said.since_ms = now_ms;
                    }
                }
            }
            Stage::Withdrawn { offer: current, agents } if current == offer => {
                self.release(&agents);
                self.forget(place, Left::Timeout, now_ms, out);
            }
            _ => {}
        }
    }

    fn talk_ended(&mut self, place: Place, lost: bool, now_ms: i64, out: &mut Vec<Effect>) {
        let Some(caller) = self.callers.get_mut(&place) else { return };
        let Stage::Talking { agent, since_ms } = caller.stage.clone() else { return };
        let team = self.teams.get_mut(&caller.team);
        let wrap_up_ms = team.as_ref().map_or(0, |team| team.rules.wrap_up_ms);
        if let Some(agent) = self.agents.get_mut(&agent) {
            agent.duty = Duty::Free;
            agent.said.since_ms = now_ms;
            if lost {
                agent.passed_until_ms = now_ms + PASSED_MS;
            } else {
                agent.said.wrap_up_until_ms = now_ms + wrap_up_ms;
            }
            out.push(Effect::Keep { person: agent.person.clone(), said: agent.said.clone() });
        }
        if lost {
            caller.stage = Stage::Waiting;
            caller.until_ms = now_ms.saturating_add(caller.patience.timeout_ms);
            out.push(Effect::Returned { place });
            return;
        }
        if let Some(team) = team {
            team.handled(now_ms - since_ms + wrap_up_ms);
        }
        self.callers.remove(&place);
    }

    fn release(&mut self, agents: &[Arc<str>]) {
        for extension in agents {
            if let Some(agent) = self.agents.get_mut(extension) {
                agent.duty = Duty::Free;
            }
        }
    }

    /// Sends away who has waited long enough. Who is being offered leaves when it is sure that nobody has answered.
    fn expire(&mut self, now_ms: i64, out: &mut Vec<Effect>) {
        let over: Vec<Place> =
            self.callers.iter().filter(|(_, caller)| caller.until_ms <= now_ms).map(|(place, _)| *place).collect();
        for place in over {
            let Some(caller) = self.callers.get_mut(&place) else { continue };
            match caller.stage.clone() {
                Stage::Waiting => self.forget(place, Left::Timeout, now_ms, out),
                Stage::Offered { offer, agents } => {
                    caller.stage = Stage::Withdrawn { offer, agents };
                    out.push(Effect::Withdraw { place, offer });
                }
                Stage::Withdrawn { .. } | Stage::Talking { .. } => {}
            }
        }
    }

    /// Offers callers to idle agents, whoever has waited longest first.
    fn serve(&mut self, now_ms: i64, out: &mut Vec<Effect>) {
        let mut exhausted: Vec<Arc<str>> = Vec::new();
        for (place, caller) in self.callers.iter_mut().filter(|(_, caller)| caller.stage == Stage::Waiting) {
            if exhausted.contains(&caller.team) {
                continue;
            }
            let chosen =
                self.teams.get_mut(&caller.team).map(|team| team.choose(&self.agents, now_ms)).unwrap_or_default();
            if chosen.is_empty() {
                exhausted.push(caller.team.clone());
                continue;
            }
            for extension in &chosen {
                if let Some(agent) = self.agents.get_mut(extension) {
                    agent.duty = Duty::Offered(*place);
                }
            }
            self.offers += 1;
            caller.stage = Stage::Offered { offer: self.offers, agents: chosen.clone() };
            out.push(Effect::Offer { place: *place, offer: self.offers, agents: chosen });
        }
    }
}

#[cfg(test)]
#[path = "floor_tests.rs"]
mod tests;
