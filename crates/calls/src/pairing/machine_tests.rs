//! The pairing machine by itself: who is rung when, what is said, and how it ends, whatever happens in between.

use proptest::prelude::*;
use voice::cause::Cause;

use super::machine::MESSAGE_MS;
use super::*;
use crate::model::EndedBy;

const MINUTE: i64 = 60_000;
const RULES: PairRules = PairRules { limit_ms: 10 * MINUTE, warn_ms: MINUTE, record: false };

fn tell(event: PairEvent) -> Effect {
    Effect::Tell(event)
}

fn ended(cause: Cause) -> Vec<Effect> {
    vec![tell(PairEvent::Ended { cause })]
}

/// Two who talk since 0.
fn talking(rules: PairRules) -> Machine {
    let mut pair = Machine::new(rules);
    assert_eq!(pair.deadline_ms(), None, "the phones' own time rings them");
    let there = pair.apply(Input::FirstThere, -2);
    assert_eq!(there, [tell(PairEvent::FirstAnswered), Effect::RingSecond]);
    assert_eq!(pair.apply(Input::SecondRings, -1), [tell(PairEvent::SecondRinging)]);
    assert_eq!(pair.apply(Input::SecondRings, -1), [], "another phone of the same party");
    let bridged = pair.apply(Input::Bridged, 0);
    assert_eq!(bridged.first(), Some(&tell(PairEvent::Bridged { at_ms: 0 })));
    assert_eq!(bridged.get(1), rules.record.then_some(&Effect::AnnounceRecording));
    pair
}

fn unbridged(by: PartedBy, talked_ms: i64) -> Effect {
    tell(PairEvent::Unbridged { by, talked_ms })
}

#[test]
fn the_limit_warns_both_and_then_ends_it() {
    let mut pair = talking(RULES);
    assert_eq!(pair.deadline_ms(), Some(9 * MINUTE));
    assert_eq!(pair.apply(Input::Tick, 9 * MINUTE - 1), []);
    assert_eq!(pair.apply(Input::Tick, 9 * MINUTE), [Effect::Warn]);
    assert_eq!((pair.apply(Input::Tick, 9 * MINUTE + 5), pair.deadline_ms()), (vec![], Some(10 * MINUTE)));
    let end = pair.apply(Input::Tick, 10 * MINUTE + 40);
    let hang_up = Effect::HangUp(Cause::TimeLimit, EndedBy::System);
    assert_eq!(end, [unbridged(PartedBy::Limit, 10 * MINUTE), hang_up], "they talked no longer than they might");
    assert_eq!(
        pair.apply(Input::CallEnded(Cause::TimeLimit, EndedBy::System), 10 * MINUTE + 50),
        ended(Cause::TimeLimit)
    );
    assert!(pair.is_over() && pair.apply(Input::Tick, i64::MAX).is_empty());
}

#[test]
fn another_limit_moves_the_warning_and_the_end() {
    let mut pair = talking(RULES);
    assert_eq!(pair.apply(Input::Tick, 9 * MINUTE), [Effect::Warn]);
    assert_eq!(pair.apply(Input::Limit(15 * MINUTE), 9 * MINUTE + 1), []);
    assert_eq!(pair.deadline_ms(), Some(14 * MINUTE), "they are warned again");
    assert_eq!(pair.apply(Input::Tick, 14 * MINUTE), [Effect::Warn]);
    assert_eq!(pair.deadline_ms(), Some(15 * MINUTE));
    assert_eq!(pair.apply(Input::Limit(15 * MINUTE + 1), 14 * MINUTE + 1), [], "an end that stays near warns once");
    let end = pair.apply(Input::Limit(5 * MINUTE), 14 * MINUTE + 2);
    assert_eq!(end[0], unbridged(PartedBy::Limit, 5 * MINUTE));
}

#[test]
fn a_limit_shorter_than_the_warning_warns_at_once_and_none_never() {
    let mut pair = talking(PairRules { limit_ms: 20_000, ..RULES });
    assert_eq!((pair.deadline_ms(), pair.apply(Input::Tick, 0)), (Some(0), vec![Effect::Warn]));
    let pair = talking(PairRules { warn_ms: 0, ..RULES });
    assert_eq!(pair.deadline_ms(), Some(10 * MINUTE));
}

#[test]
fn a_limit_that_was_moved_before_they_talk_counts_from_the_bridge() {
    let mut pair = Machine::new(RULES);
    assert_eq!(pair.apply(Input::Limit(2 * MINUTE), 0), []);
    let _rung = pair.apply(Input::FirstThere, 1);
    let _talk = pair.apply(Input::Bridged, MINUTE);
    assert_eq!(pair.deadline_ms(), Some(2 * MINUTE), "the warning");
    let _warned = pair.apply(Input::Tick, 2 * MINUTE);
    assert_eq!(pair.deadline_ms(), Some(3 * MINUTE));
}

#[test]
fn who_does_not_wait_for_the_second_is_told() {
    let mut pair = Machine::new(RULES);
    let _rung = pair.apply(Input::FirstThere, 1);
    let [missed, over] = pair.apply(Input::CallEnded(Cause::Normal, EndedBy::Customer), 2)[..] else { panic!() };
    let news = PairEvent::NotReached { who: PairSide::Second, cause: Cause::Normal };
    assert_eq!((missed, [over].to_vec()), (Effect::Tell(news), ended(Cause::Normal)));
}

#[test]
fn who_hangs_up_is_told_from_a_lost_line() {
    let by_second = [
        (Cause::Normal, PartedBy::Second),
        (Cause::MediaTimeout, PartedBy::Lost),
        (Cause::Unreachable, PartedBy::Lost),
    ];
    for (cause, by) in by_second {
        let mut pair = talking(RULES);
        let effects = pair.apply(Input::SecondGone(cause), 7_000);
        assert_eq!(effects, [unbridged(by, 7_000), Effect::HangUp(Cause::Normal, EndedBy::Target)], "{cause:?}");
        assert_eq!(pair.apply(Input::CallEnded(Cause::Normal, EndedBy::Target), 7_001), ended(Cause::Normal));
    }
    let whole = [
        (Cause::Normal, EndedBy::Customer, PartedBy::First),
        (Cause::MediaTimeout, EndedBy::System, PartedBy::Lost),
        (Cause::Unreachable, EndedBy::Customer, PartedBy::Lost),
        (Cause::ServerRestart, EndedBy::System, PartedBy::Lost),
        (Cause::Normal, EndedBy::Api, PartedBy::Lost),
    ];
    for (cause, ended_by, by) in whole {
        let mut pair = talking(RULES);
        let effects = pair.apply(Input::CallEnded(cause, ended_by), 3_000);
        assert_eq!(effects, [unbridged(by, 3_000), tell(PairEvent::Ended { cause })], "{cause:?} by {ended_by:?}");
    }
}

#[test]
fn a_first_party_that_is_not_reached_ends_it_and_nobody_else_is_rung() {
    let mut pair = Machine::new(RULES);
    let news = tell(PairEvent::NotReached { who: PairSide::First, cause: Cause::Busy });
    assert_eq!(
        pair.apply(Input::FirstNotReached(Cause::Busy), 0),
        [news, Effect::HangUp(Cause::Busy, EndedBy::System)]
    );
    assert_eq!(pair.apply(Input::CallEnded(Cause::Busy, EndedBy::Target), 1), ended(Cause::Busy));
}

#[test]
fn a_second_party_that_is_not_reached_is_regretted_first() {
    for heard in [Input::MessageHeard, Input::Tick] {
        let mut pair = Machine::new(RULES);
        let _rung = pair.apply(Input::FirstThere, 0);
        let news = tell(PairEvent::NotReached { who: PairSide::Second, cause: Cause::NoAnswer });
        assert_eq!(pair.apply(Input::SecondGone(Cause::NoAnswer), 30_000), [news, Effect::Regret]);
        assert_eq!(pair.apply(Input::Tick, 31_000), []);
        let hang_up = Effect::HangUp(Cause::NoAnswer, EndedBy::System);
        assert_eq!(pair.deadline_ms(), Some(30_000 + MESSAGE_MS));
        assert_eq!(pair.apply(heard, 30_000 + MESSAGE_MS), [hang_up], "{heard:?}");
    }
}

#[test]
fn the_desk_ends_it_in_any_state() {
    let hang_up = Effect::HangUp(Cause::Canceled, EndedBy::System);
    let mut ringing = Machine::new(RULES);
    assert_eq!(ringing.apply(Input::HangUp(Cause::Canceled), 0), [hang_up]);
    assert_eq!(ringing.apply(Input::FirstThere, 1), [], "who answers in that moment rings nobody");
    let mut pair = talking(RULES);
    assert_eq!(pair.apply(Input::HangUp(Cause::Canceled), 9), [unbridged(PartedBy::Desk, 9), hang_up]);
    assert_eq!(pair.apply(Input::HangUp(Cause::Normal), 10), []);
    assert_eq!(pair.apply(Input::CallEnded(Cause::Canceled, EndedBy::System), 11), ended(Cause::Canceled));
}

#[test]
fn it_is_recorded_only_once_both_know() {
    let mut pair = talking(PairRules { record: true, ..RULES });
    assert_eq!(pair.apply(Input::RecordingKnown, 3_000), [Effect::Record]);
    assert_eq!(talking(RULES).apply(Input::RecordingKnown, 0), [], "nobody asked for it");
}

fn input() -> impl Strategy<Value = Input> {
    let cause = prop::sample::select(Cause::ALL.to_vec());
    let by = prop::sample::select(vec![EndedBy::Customer, EndedBy::Target, EndedBy::System, EndedBy::Api]);
    prop_oneof![
        3 => Just(Input::FirstThere),
        1 => cause.clone().prop_map(Input::FirstNotReached),
        2 => Just(Input::SecondRings),
        3 => Just(Input::Bridged),
        1 => cause.clone().prop_map(Input::SecondGone),
        1 => Just(Input::MessageHeard),
        1 => Just(Input::RecordingKnown),
        2 => (-5_i64..300).prop_map(Input::Limit),
        1 => cause.clone().prop_map(Input::HangUp),
        1 => (cause, by).prop_map(|(cause, by)| Input::CallEnded(cause, by)),
        4 => Just(Input::Tick),
    ]
}

proptest! {
    #[test]
    fn whatever_comes_the_story_that_the_desk_hears_is_whole(
        steps in prop::collection::vec((0_i64..90, input()), 1..60),
    ) {
        let mut pair = Machine::new(PairRules { limit_ms: 200, warn_ms: 50, record: true });
        let (mut now_ms, mut limit_ms) = (0, 200);
        let mut since = None;
        let (mut hung_up, mut over) = (0, false);
        for (later_ms, input) in steps.into_iter().chain([(1, Input::CallEnded(Cause::Normal, EndedBy::System))]) {
            now_ms += later_ms;
            if let Input::Limit(new_ms) = input {
                limit_ms = new_ms.max(0);
            }
            for effect in pair.apply(input, now_ms) {
                prop_assert!(!over, "nothing follows the end: {effect:?}");
                match effect {
                    Effect::Tell(PairEvent::Bridged { at_ms }) => prop_assert!(since.replace(at_ms).is_none()),
                    Effect::Tell(PairEvent::Unbridged { talked_ms, .. }) => {
                        prop_assert!(since.take().is_some(), "they did talk");
                        prop_assert!((0..=limit_ms).contains(&talked_ms));
                    }
                    Effect::Tell(PairEvent::Ended { .. }) => {
                        prop_assert!(since.is_none());
                        over = true;
                    }
                    Effect::HangUp(..) => hung_up += 1,
                    _ => {}
                }
            }
            prop_assert!(hung_up <= 1);
        }
        prop_assert!(over && pair.is_over() && pair.deadline_ms().is_none());
    }
}
