//! Who gets which room: pure, no store and no clock.
//!
//! Invariant: nobody is given more open rooms than the own capacity, a room goes to a member of the team that it waits
//! for, the room that waits longest goes first, and of those who are free whoever has had nothing new for the longest
//! time gets it.

use std::collections::BTreeMap;

use crate::chat::model::Id;

/// Somebody who takes chats now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Agent {
    pub(super) person: Id,
    /// The teams that it is of.
    pub(super) teams: Vec<Id>,
    /// Open rooms that it takes at once.
    pub(super) capacity: u32,
    /// Open rooms that it has, also those that were given to it by hand.
    pub(super) load: u32,
    /// When a room was last given to it or taken from it, UTC milliseconds.
    pub(super) idle_since_ms: i64,
}

/// A room that nobody answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) room: Id,
    /// The team that it waits for; none = anybody.
    pub(super) team: Option<Id>,
    /// Since when, UTC milliseconds.
    pub(super) since_ms: i64,
    /// Who gave it back, and does not get it again without being asked.
    pub(super) not_for: Option<Id>,
    /// Whether it may be given to somebody; else somebody takes it.
    pub(super) is_given: bool,
}

/// A room for somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) room: Id,
    pub(super) person: Id,
}

impl Agent {
    fn takes(&self, room: &Waiting) -> bool {
        self.load < self.capacity
            && room.team.as_ref().is_none_or(|team| self.teams.contains(team))
            && room.not_for.as_ref() != Some(&self.person)
    }
}

/// The order in which rooms wait.
fn in_order(waiting: &[Waiting]) -> Vec<&Waiting> {
    let mut rooms: Vec<&Waiting> = waiting.iter().collect();
    rooms.sort_by(|a, b| (a.since_ms, &a.room).cmp(&(b.since_ms, &b.room)));
    rooms
}

/// Gives rooms to people, in the order in which it is to happen.
pub(super) fn choose(agents: &[Agent], waiting: &[Waiting], now_ms: i64) -> Vec<Choice> {
    let mut agents = agents.to_vec();
    let mut choices = Vec::new();
    for room in in_order(waiting).into_iter().filter(|room| room.is_given) {
        let free = agents.iter_mut().filter(|agent| agent.takes(room));
        let Some(agent) =
            free.min_by(|a, b| (a.idle_since_ms, a.load, &a.person).cmp(&(b.idle_since_ms, b.load, &b.person)))
        else {
            continue;
        };
        agent.load += 1;
        agent.idle_since_ms = agent.idle_since_ms.max(now_ms);
        choices.push(Choice { room: room.room.clone(), person: agent.person.clone() });
    }
    choices
}

/// The place of each room among those that wait for the same team, from 1.
pub(super) fn positions(waiting: &[Waiting]) -> BTreeMap<Id, u32> {
    let mut last: BTreeMap<Option<&Id>, u32> = BTreeMap::new();
    let mut places = BTreeMap::new();
    for room in in_order(waiting) {
        let place = last.entry(room.team.as_ref()).or_default();
        *place += 1;
        places.insert(room.room.clone(), *place);
    }
    places
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn agent(person: &str, teams: &[&str], capacity: u32, idle_since_ms: i64) -> Agent {
        let teams = teams.iter().map(|team| (*team).into()).collect();
        Agent { person: person.into(), teams, capacity, load: 0, idle_since_ms }
    }

    fn room(id: &str, team: Option<&str>, since_ms: i64) -> Waiting {
        Waiting { room: id.into(), team: team.map(Into::into), since_ms, not_for: None, is_given: true }
    }

    fn given(agents: &[Agent], waiting: &[Waiting]) -> Vec<(String, String)> {
        let choices = choose(agents, waiting, 1_000);
        choices.into_iter().map(|choice| (choice.room.to_string(), choice.person.to_string())).collect()
    }

    fn pair(room: &str, person: &str) -> (String, String) {
        (room.to_owned(), person.to_owned())
    }

    #[test]
    fn the_oldest_room_goes_to_who_is_idle_longest_and_nobody_gets_too_many() {
        let agents = [agent("ann", &[], 2, 50), agent("bob", &[], 1, 10)];
        let rooms = [room("c", None, 3), room("a", None, 1), room("d", None, 4), room("b", None, 2)];
        assert_eq!(given(&agents, &rooms), [pair("a", "bob"), pair("b", "ann"), pair("c", "ann")]);
    }

    #[test]
    fn a_team_s_room_waits_for_the_team_and_lets_others_pass() {
        let agents = [agent("ann", &["sales"], 1, 0)];
        let rooms = [room("help", Some("help"), 1), room("sales", Some("sales"), 2)];
        assert_eq!(given(&agents, &rooms), [pair("sales", "ann")]);
        let back = Waiting { not_for: Some("ann".into()), ..room("a", None, 1) };
        let by_hand = Waiting { is_given: false, ..room("b", None, 2) };
        assert_eq!(given(&agents, &[back, by_hand]), []);
    }

    #[test]
    fn places_are_counted_team_by_team() {
        let rooms = [room("c", Some("sales"), 3), room("b", None, 2), room("a", Some("sales"), 1), room("d", None, 2)];
        let places = positions(&rooms);
        let of = |room: &str| places[room];
        assert_eq!((of("a"), of("c"), of("b"), of("d")), (1, 2, 1, 2));
    }

    /// What happens next in a support team's day.
    #[derive(Clone, Debug)]
    enum Step {
        Ask { team: Option<u8> },
        Come { person: u8, capacity: u32 },
        Go { person: u8 },
        Close { nth: usize },
        GiveBack { nth: usize },
        Take { nth: usize, person: u8 },
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => prop::option::of(0u8..3).prop_map(|team| Step::Ask { team }),
            2 => (0u8..5, 0u32..4).prop_map(|(person, capacity)| Step::Come { person, capacity }),
            1 => (0u8..5).prop_map(|person| Step::Go { person }),
            2 => (0usize..40).prop_map(|nth| Step::Close { nth }),
            1 => (0usize..40).prop_map(|nth| Step::GiveBack { nth }),
            1 => (0usize..40, 0u8..5).prop_map(|(nth, person)| Step::Take { nth, person }),
        ]
    }

    /// People and rooms as a desk would keep them.
    #[derive(Default)]
    struct Desk {
        here: BTreeMap<u8, Agent>,
        waiting: Vec<Waiting>,
        held: Vec<(Waiting, Id)>,
        asked: i64,
    }

    fn person(number: u8) -> Id {
        format!("per_{number}").into()
    }

    impl Desk {
        fn load(&self, person: &Id) -> u32 {
            u32::try_from(self.held.iter().filter(|(_, by)| by == person).count()).unwrap()
        }

        fn happen(&mut self, step: &Step, now_ms: i64) {
            match step {
                Step::Ask { team } => {
                    self.asked += 1;
                    let team = team.map(|team| format!("team_{team}"));
                    self.waiting.push(room(&format!("room_{}", self.asked), team.as_deref(), now_ms));
                }
                Step::Come { person: number, capacity } => {
                    // Everybody is of the teams up to the own number.
                    let teams: Vec<String> = (0..=*number).map(|team| format!("team_{team}")).collect();
                    let teams: Vec<&str> = teams.iter().map(String::as_str).collect();
                    self.here.insert(*number, agent(&person(*number), &teams, *capacity, now_ms));
                }
                Step::Go { person } => drop(self.here.remove(person)),
                Step::Close { nth } if *nth < self.held.len() => drop(self.held.remove(*nth)),
                Step::GiveBack { nth } if *nth < self.held.len() => {
                    let (room, by) = self.held.remove(*nth);
                    self.waiting.push(Waiting { since_ms: now_ms, not_for: Some(by), ..room });
                }
                Step::Take { nth, person: number } if *nth < self.waiting.len() => {
                    let room = self.waiting.remove(*nth);
                    self.held.push((room, person(*number)));
                }
                Step::Close { .. } | Step::GiveBack { .. } | Step::Take { .. } => {}
            }
        }

        fn assign(&mut self, now_ms: i64) -> Vec<Choice> {
            let agents: Vec<Agent> =
                self.here.values().map(|agent| Agent { load: self.load(&agent.person), ..agent.clone() }).collect();
            let choices = choose(&agents, &self.waiting, now_ms);
            for choice in &choices {
                let at = self.waiting.iter().position(|room| room.room == choice.room).expect("a room that waits");
                let room = self.waiting.remove(at);
                let agent = agents.iter().find(|agent| agent.person == choice.person).expect("somebody who is here");
                assert!(room.team.as_ref().is_none_or(|team| agent.teams.contains(team)), "of its team");
                assert_ne!(room.not_for.as_ref(), Some(&choice.person), "not who gave it back");
                self.held.push((room, choice.person.clone()));
            }
            choices
        }
    }

    proptest! {
        #[test]
        fn nobody_has_too_many_and_nobody_waits_in_vain_whatever_happens(steps in prop::collection::vec(step(), 1..80)) {
            let mut desk = Desk::default();
            for (now_ms, step) in (1..).zip(&steps) {
                desk.happen(step, now_ms);
                let before: BTreeMap<Id, u32> =
                    desk.here.values().map(|agent| (agent.person.clone(), desk.load(&agent.person))).collect();
                let choices = desk.assign(now_ms);
                let rooms: BTreeSet<&Id> = choices.iter().map(|choice| &choice.room).collect();
                prop_assert_eq!(rooms.len(), choices.len(), "each room once");
                for agent in desk.here.values() {
                    let (was, is) = (before[&agent.person], desk.load(&agent.person));
                    prop_assert!(is <= agent.capacity.max(was), "{} has {is}", agent.person);
                }
                for room in &desk.waiting {
                    let mut free = desk.here.values().filter(|agent| {
                        Agent { load: desk.load(&agent.person), ..(*agent).clone() }.takes(room)
                    });
                    prop_assert!(free.next().is_none(), "{} waits though somebody is free", room.room);
                }
                let places = positions(&desk.waiting);
                prop_assert_eq!(places.len(), desk.waiting.len());
            }
        }
    }
}
