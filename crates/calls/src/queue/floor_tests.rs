//! The floor of a queue under any order of events: who is offered whom, and what nobody may see happen.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::super::team::TeamStrategy::{self, LongestIdle, RingAll, RoundRobin};
use super::*;

const PATIENCE: Patience = Patience { timeout_ms: 60_000, max_waiting: 100 };
const READY: Phone = Phone { reachable: true, engaged: false };

fn text(name: &str) -> Arc<str> {
    name.into()
}

fn place(number: u64) -> Place {
    Place { joined_ms: i64::try_from(number).unwrap(), number }
}

/// A floor whose teams have these members, all of them ready.
fn floor_of(strategy: TeamStrategy, wrap_up_ms: i64, teams: &[(&str, &[&str])]) -> Floor {
    let mut floor = Floor::default();
    for (team, members) in teams {
        let members: Vec<Arc<str>> = members.iter().map(|member| text(member)).collect();
        for agent in &members {
            let person = text(&format!("usr_{agent}"));
            floor.apply(Input::Agent { agent: agent.clone(), person, said: PersonState::default() }, 0);
            floor.apply(Input::Phone { agent: agent.clone(), phone: READY }, 0);
        }
        floor.apply(Input::Team { team: text(team), rules: TeamRules { strategy, wrap_up_ms, members } }, 0);
    }
    floor
}

fn join(floor: &mut Floor, team: &str, number: u64) -> Vec<Effect> {
    let input = Input::Join { team: text(team), place: place(number), patience: PATIENCE };
    floor.apply(input, place(number).joined_ms)
}

/// The offers among some effects: caller, number, agents.
fn offers(effects: &[Effect]) -> Vec<(u64, u64, Vec<&str>)> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Offer { place, offer, agents } => {
                Some((place.number, *offer, agents.iter().map(|a| &**a).collect()))
            }
            _ => None,
        })
        .collect()
}

fn answer(floor: &mut Floor, number: u64, offer: u64, agent: &str, now_ms: i64) -> Vec<Effect> {
    floor.apply(Input::Answered { place: place(number), offer, agent: text(agent) }, now_ms)
}

#[test]
fn a_lone_agent_serves_in_order() {
    let mut floor = floor_of(LongestIdle, 0, &[("t", &["1001"])]);
    assert_eq!(offers(&join(&mut floor, "t", 1)), [(1, 1, vec!["1001"])]);
    assert_eq!(join(&mut floor, "t", 2), []);
    assert_eq!(join(&mut floor, "t", 3), []);
    assert_eq!(floor.position(place(3)), Some((3, None)));
    let bridged = Effect::Left { place: place(1), why: Left::Bridged, position: 1, waited_ms: 999 };
    assert_eq!(answer(&mut floor, 1, 1, "1001", 1_000), [bridged]);
    assert_eq!(floor.position(place(3)), Some((2, None)));
    let effects = floor.apply(Input::TalkEnded { place: place(1), lost: false }, 31_000);
    assert_eq!(offers(&effects), [(2, 2, vec!["1001"])]);
    assert_eq!(floor.position(place(3)), Some((2, Some(60_000))), "two calls of thirty seconds by one agent");
}

#[test]
fn who_is_refused_stays_first_and_the_agent_is_left_alone() {
    let mut floor = floor_of(LongestIdle, 0, &[("t", &["1001", "1002"])]);
    join(&mut floor, "t", 1);
    join(&mut floor, "t", 2);
    assert_eq!(join(&mut floor, "t", 3), []);
    assert_eq!(floor.apply(Input::OfferEnded { place: place(1), offer: 1 }, 500), [], "1001 has just let it pass");
    assert_eq!(floor.position(place(1)), Some((1, None)));
    let effects = floor.apply(Input::OfferEnded { place: place(2), offer: 2 }, 600);
    assert_eq!(effects, [], "neither is asked again at once");
    assert_eq!(floor.deadline_ms(600), Some(500 + PASSED_MS));
    assert_eq!(offers(&floor.apply(Input::Tick, 500 + PASSED_MS)), [(1, 3, vec!["1001"])]);
    assert_eq!(offers(&floor.apply(Input::Tick, 600 + PASSED_MS)), [(2, 4, vec!["1002"])]);
}

#[test]
fn the_caller_of_a_lost_agent_is_served_first_again() {
    let mut floor = floor_of(RoundRobin, 5_000, &[("t", &["1001", "1002"])]);
    join(&mut floor, "t", 1);
    join(&mut floor, "t", 2);
    join(&mut floor, "t", 3);
    answer(&mut floor, 1, 1, "1001", 100);
    answer(&mut floor, 2, 2, "1002", 100);
    let effects = floor.apply(Input::TalkEnded { place: place(1), lost: true }, 9_000);
    assert!(effects.contains(&Effect::Returned { place: place(1) }), "{effects:?}");
    assert_eq!(floor.waiting("t").collect::<Vec<_>>(), [place(1), place(3)]);
    floor.apply(Input::TalkEnded { place: place(2), lost: false }, 10_000);
    assert_eq!(floor.agent_state("1002", 10_000), Some(AgentState::WrapUp));
    assert_eq!(offers(&floor.apply(Input::Tick, 15_000)), [(1, 3, vec!["1002"])], "after the wrap-up");
}

#[test]
fn ring_all_rings_every_idle_agent_for_one_caller() {
    let mut floor = floor_of(RingAll, 0, &[("t", &["1001", "1002", "1003"])]);
    floor.apply(Input::Phone { agent: text("1002"), phone: Phone { reachable: true, engaged: true } }, 0);
    assert_eq!(offers(&join(&mut floor, "t", 1)), [(1, 1, vec!["1001", "1003"])]);
    assert_eq!(join(&mut floor, "t", 2), []);
    let effects = answer(&mut floor, 1, 1, "1003", 10);
    assert_eq!(offers(&effects), [(2, 2, vec!["1001"])], "the loser of the race takes the next caller");
    assert_eq!(answer(&mut floor, 1, 1, "1001", 11), [], "the second answer is late");
}

#[test]
fn the_longest_idle_comes_first_and_the_round_goes_round() {
    let mut idle = floor_of(LongestIdle, 0, &[("t", &["1001", "1002"])]);
    let mut round = floor_of(RoundRobin, 0, &[("t", &["1001", "1002", "1003"])]);
    let mut by_idle = Vec::new();
    let mut by_round = Vec::new();
    for number in 1..=4 {
        for (floor, seen) in [(&mut idle, &mut by_idle), (&mut round, &mut by_round)] {
            let effects = join(floor, "t", number);
            let (_, offer, agents) = offers(&effects).remove(0);
            let agent = agents[0].to_owned();
            let now_ms = place(number).joined_ms;
            answer(floor, number, offer, &agent, now_ms);
            floor.apply(Input::TalkEnded { place: place(number), lost: false }, now_ms);
            seen.push(agent);
        }
    }
    assert_eq!(by_idle, ["1001", "1002", "1001", "1002"]);
    assert_eq!(by_round, ["1001", "1002", "1003", "1001"]);
}

#[test]
fn an_agent_of_two_teams_is_offered_one_caller() {
    let mut floor = floor_of(LongestIdle, 0, &[("sales", &["1001"]), ("support", &["1001"])]);
    assert_eq!(offers(&join(&mut floor, "support", 1)), [(1, 1, vec!["1001"])]);
    assert_eq!(join(&mut floor, "sales", 2), []);
    let effects = floor.apply(Input::Leave { place: place(1), why: Left::Hangup }, 5);
    assert_eq!(offers(&effects), [(2, 2, vec!["1001"])]);
}

#[test]
fn a_timeout_waits_until_it_is_sure_that_nobody_answered() {
    let mut floor = floor_of(LongestIdle, 0, &[("t", &["1001"])]);
    join(&mut floor, "t", 1);
    join(&mut floor, "t", 2);
    let effects = floor.apply(Input::Tick, 60_002);
    let gone = Effect::Left { place: place(2), why: Left::Timeout, position: 2, waited_ms: 60_000 };
    assert_eq!(effects, [Effect::Withdraw { place: place(1), offer: 1 }, gone]);
    // The answer and the withdrawal crossed: the answer counts.
    let mut crossed = floor_of(LongestIdle, 0, &[("t", &["1001"])]);
    join(&mut crossed, "t", 1);
    crossed.apply(Input::Tick, 60_001);
    let bridged = Effect::Left { place: place(1), why: Left::Bridged, position: 1, waited_ms: 60_001 };
    assert_eq!(answer(&mut crossed, 1, 1, "1001", 60_002), [bridged]);
    let gone = Effect::Left { place: place(1), why: Left::Timeout, position: 1, waited_ms: 60_004 };
    assert_eq!(floor.apply(Input::OfferEnded { place: place(1), offer: 1 }, 60_005), [gone]);
    assert!(floor.is_empty());
}

#[test]
fn a_full_queue_takes_nobody() {
    let mut floor = floor_of(LongestIdle, 0, &[("t", &[])]);
    let patience = Patience { max_waiting: 2, ..PATIENCE };
    for number in 1..=2 {
        assert_eq!(floor.apply(Input::Join { team: text("t"), place: place(number), patience }, 5), []);
    }
    let effects = floor.apply(Input::Join { team: text("t"), place: place(3), patience }, 5);
    assert_eq!(effects, [Effect::Left { place: place(3), why: Left::Full, position: 3, waited_ms: 0 }]);
    let effects = floor.apply(Input::Leave { place: place(1), why: Left::Callback }, 1_001);
    assert_eq!(effects, [Effect::Left { place: place(1), why: Left::Callback, position: 1, waited_ms: 1_000 }]);
    assert_eq!(floor.apply(Input::Join { team: text("t"), place: place(3), patience }, 1_002), []);
}

#[test]
fn who_is_away_or_unreachable_is_offered_nothing() {
    let mut floor = floor_of(LongestIdle, 0, &[("t", &["1001", "1002"])]);
    let away = Input::Said { person: text("usr_1001"), availability: Availability::Away };
    assert_eq!(floor.apply(away, 0), [], "its row says so already");
    floor.apply(Input::Phone { agent: text("1002"), phone: Phone::default() }, 0);
    assert_eq!(join(&mut floor, "t", 1), []);
    assert_eq!(floor.agent_state("1001", 1), Some(AgentState::Away));
    let back = Input::Said { person: text("usr_1001"), availability: Availability::Available };
    assert_eq!(offers(&floor.apply(back, 2)), [(1, 1, vec!["1001"])]);
}

#[test]
fn wrap_up_ends_by_time_or_by_word() {
    let mut floor = floor_of(LongestIdle, 30_000, &[("t", &["1001"])]);
    for number in [1, 2] {
        join(&mut floor, "t", number);
    }
    answer(&mut floor, 1, 1, "1001", 100);
    let effects = floor.apply(Input::TalkEnded { place: place(1), lost: false }, 1_000);
    let said = PersonState { wrap_up_until_ms: 31_000, since_ms: 1_000, ..PersonState::default() };
    assert_eq!(effects, [Effect::Keep { person: text("usr_1001"), said }]);
    assert_eq!(floor.deadline_ms(1_000), Some(31_000));
    let ready = Input::Said { person: text("usr_1001"), availability: Availability::Available };
    assert_eq!(offers(&floor.apply(ready, 2_000)), [(2, 2, vec!["1001"])]);
}

// ---------------------------------------------------------------- anything, in any order

#[derive(Clone, Debug)]
enum Act {
    Join {
        team: usize,
    },
    Answer {
        agent: usize,
    },
    Refuse {
        agent: usize,
    },
    EndTalk {
        agent: usize,
        lost: bool,
    },
    Leave {
        nth: usize,
    },
    Say {
        agent: usize,
        away: bool,
    },
    Phone {
        agent: usize,
        reachable: bool,
        engaged: bool,
    },
    /// What an earlier offer came to, told again.
    Stale {
        nth: usize,
        offer: u64,
    },
    Pass {
        ms: i64,
    },
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (0usize..3).prop_map(|team| Act::Join { team }),
        4 => (0usize..5).prop_map(|agent| Act::Answer { agent }),
        2 => (0usize..5).prop_map(|agent| Act::Refuse { agent }),
        3 => (0usize..5, any::<bool>()).prop_map(|(agent, lost)| Act::EndTalk { agent, lost }),
        1 => (0usize..20).prop_map(|nth| Act::Leave { nth }),
        1 => (0usize..5, any::<bool>()).prop_map(|(agent, away)| Act::Say { agent, away }),
        1 => (0usize..5, any::<bool>(), any::<bool>())
            .prop_map(|(agent, reachable, engaged)| Act::Phone { agent, reachable, engaged }),
        1 => (0usize..20, 0u64..20).prop_map(|(nth, offer)| Act::Stale { nth, offer }),
        2 => (1i64..40_000).prop_map(|ms| Act::Pass { ms }),
    ];
    prop::collection::vec(act, 0..120)
}

/// What somebody sees who looks at inputs and effects alone.
#[derive(Default)]
struct Witness {
    team_of: BTreeMap<Place, usize>,
    waiting: BTreeSet<Place>,
    offered: BTreeMap<Place, (u64, Vec<Arc<str>>)>,
    talking: BTreeMap<Place, Arc<str>>,
}

impl Witness {
    fn occupied(&self, agent: &Arc<str>) -> bool {
        self.offered.values().any(|(_, agents)| agents.contains(agent)) || self.talking.values().any(|a| a == agent)
    }

    fn see(&mut self, effects: &[Effect], teams: &[Vec<Arc<str>>]) -> Result<(), TestCaseError> {
        for effect in effects {
            match effect {
                Effect::Offer { place, offer, agents } => {
                    let team = self.team_of[place];
                    prop_assert!(self.waiting.remove(place), "{place:?} does not wait");
                    let passed_over = self.waiting.iter().find(|other| *other < place && self.team_of[other] == team);
                    prop_assert_eq!(passed_over, None, "{:?} is served before its turn", place);
                    for agent in agents {
                        prop_assert!(!self.occupied(agent), "{agent} is offered a second caller");
                        prop_assert!(teams[team].contains(agent));
                    }
                    prop_assert!(!agents.is_empty());
                    self.offered.insert(*place, (*offer, agents.clone()));
                }
                Effect::Withdraw { place, offer } => prop_assert_eq!(self.offered[place].0, *offer),
                Effect::Left { place, why: Left::Bridged, .. } => prop_assert!(self.talking.contains_key(place)),
                Effect::Left { place, .. } => {
                    let known = self.waiting.remove(place) | self.offered.remove(place).is_some();
                    prop_assert!(known, "{place:?} leaves twice");
                }
                Effect::Returned { place } => {
                    prop_assert!(!self.talking.contains_key(place) && self.waiting.insert(*place));
                }
                Effect::Keep { .. } => {}
            }
        }
        Ok(())
    }
}

fn any_order(strategy: TeamStrategy, acts: Vec<Act>) -> Result<(), TestCaseError> {
    let names = ["1001", "1002", "1003", "1004", "1005"];
    let shape: [(&str, &[&str]); 3] = [("a", &names[0..3]), ("b", &names[2..5]), ("c", &names[4..5])];
    let teams: Vec<Vec<Arc<str>>> =
        shape.iter().map(|(_, members)| members.iter().map(|m| text(m)).collect()).collect();
    let mut floor = floor_of(strategy, 5_000, &shape);
    let mut seen = Witness::default();
    let mut now_ms = 0;
    let mut number = 0;
    for act in acts {
        let offered_to = |seen: &Witness, agent: usize| {
            let agent = text(names[agent]);
            let found = seen.offered.iter().find(|(_, (_, agents))| agents.contains(&agent));
            found.map(|(place, (offer, _))| (*place, *offer, agent))
        };
        let effects = match act {
            Act::Join { team } => {
                number += 1;
                let place = Place { joined_ms: now_ms, number };
                seen.team_of.insert(place, team);
                seen.waiting.insert(place);
                floor.apply(Input::Join { team: text(shape[team].0), place, patience: PATIENCE }, now_ms)
            }
            Act::Answer { agent } => {
                let Some((place, offer, agent)) = offered_to(&seen, agent) else { continue };
                seen.offered.remove(&place);
                seen.talking.insert(place, agent.clone());
                floor.apply(Input::Answered { place, offer, agent }, now_ms)
            }
            Act::Refuse { agent } => {
                let Some((place, offer, _)) = offered_to(&seen, agent) else { continue };
                seen.offered.remove(&place);
                seen.waiting.insert(place);
                floor.apply(Input::OfferEnded { place, offer }, now_ms)
            }
            Act::EndTalk { agent, lost } => {
                let talk = seen.talking.iter().find(|(_, talker)| ***talker == *names[agent]);
                let Some(place) = talk.map(|(place, _)| *place) else { continue };
                seen.talking.remove(&place);
                floor.apply(Input::TalkEnded { place, lost }, now_ms)
            }
            Act::Leave { nth } => {
                let Some(place) = seen.team_of.keys().nth(nth).copied() else { continue };
                seen.talking.remove(&place);
                floor.apply(Input::Leave { place, why: Left::Hangup }, now_ms)
            }
            Act::Say { agent, away } => {
                let availability = if away { Availability::Away } else { Availability::Available };
                floor.apply(Input::Said { person: text(&format!("usr_{}", names[agent])), availability }, now_ms)
            }
            Act::Phone { agent, reachable, engaged } => {
                floor.apply(Input::Phone { agent: text(names[agent]), phone: Phone { reachable, engaged } }, now_ms)
            }
            Act::Stale { nth, offer } => {
                let Some(place) = seen.team_of.keys().nth(nth).copied() else { continue };
                if seen.offered.get(&place).is_some_and(|(current, _)| *current == offer) {
                    continue;
                }
                floor.apply(Input::OfferEnded { place, offer }, now_ms)
            }
            Act::Pass { ms } => {
                now_ms += ms;
                floor.apply(Input::Tick, now_ms)
            }
        };
        seen.see(&effects, &teams)?;
        let waiting: BTreeSet<Place> = ["a", "b", "c"].iter().flat_map(|team| floor.waiting(team)).collect();
        let expected: BTreeSet<Place> = seen.waiting.iter().chain(seen.offered.keys()).copied().collect();
        prop_assert_eq!(waiting, expected, "nobody is lost");
    }
    // Everybody hangs up or has enough; then the floor is empty.
    for (place, _) in std::mem::take(&mut seen.talking) {
        seen.see(&floor.apply(Input::TalkEnded { place, lost: false }, now_ms), &teams)?;
    }
    loop {
        for (place, (offer, _)) in seen.offered.clone() {
            // Whoever is withdrawn leaves in answer to this; whoever is not waits again.
            seen.offered.remove(&place);
            seen.waiting.insert(place);
            seen.see(&floor.apply(Input::OfferEnded { place, offer }, now_ms), &teams)?;
        }
        match floor.deadline_ms(now_ms) {
            Some(deadline_ms) => now_ms = deadline_ms.max(now_ms),
            None if seen.offered.is_empty() => break,
            None => {}
        }
        seen.see(&floor.apply(Input::Tick, now_ms), &teams)?;
    }
    prop_assert!(floor.is_empty() && seen.waiting.is_empty(), "{:?}", seen.waiting);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn in_order_and_never_two_at_once_by_longest_idle(acts in acts()) {
        any_order(LongestIdle, acts)?;
    }

    #[test]
    fn in_order_and_never_two_at_once_by_the_round(acts in acts()) {
        any_order(RoundRobin, acts)?;
    }

    #[test]
    fn in_order_and_never_two_at_once_by_ringing_all(acts in acts()) {
        any_order(RingAll, acts)?;
    }
}
