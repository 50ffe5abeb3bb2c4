//! The connect machine, edge by edge, and over random inputs.

use proptest::prelude::{Just, Strategy as _, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::*;

const A: Device = Device { target: 0, device: 0 };
const A2: Device = Device { target: 0, device: 1 };
const B: Device = Device { target: 1, device: 0 };

fn rules() -> Rules {
    Rules { timeout_ms: 30_000, ..Rules::default() }
}

fn machine(rules: Rules, devices: &[usize]) -> (Machine, Vec<Effect>) {
    let shapes: Vec<TargetShape> = devices.iter().map(|&count| TargetShape::Devices(count)).collect();
    let mut machine = Machine::new(rules, &shapes);
    let effects = machine.apply(Input::Start, 0);
    (machine, effects)
}

fn gone(device: Device, cause: Cause) -> Input {
    Input::Ended { device, cause, everywhere: false }
}

fn ended(status: ConnectStatus, cause: Cause) -> Effect {
    Effect::Ended { status, cause }
}

#[test]
fn the_first_to_answer_is_bridged_and_the_others_are_let_go() {
    let (mut machine, effects) = machine(rules(), &[2, 1]);
    assert_eq!(effects, [Effect::Dial(A), Effect::Dial(A2), Effect::Dial(B)]);
    assert_eq!(machine.apply(Input::Ringing(A), 10), [Effect::Ringing { target: 0 }]);
    assert_eq!(machine.apply(Input::Ringing(A2), 10), [], "a target rings once");
    let effects = machine.apply(Input::Answered(B), 20);
    let expected = [Effect::Hangup(A, Cause::Canceled), Effect::Hangup(A2, Cause::Canceled), Effect::Bridge(B)];
    assert_eq!(effects, expected);
    assert_eq!(machine.apply(Input::Answered(A), 21), [], "too late");
    assert_eq!(machine.apply(gone(A, Cause::Canceled), 22), []);
    assert_eq!(machine.deadline_ms(), None);
    assert_eq!(machine.apply(gone(B, Cause::Normal), 900), [ended(ConnectStatus::Completed, Cause::Normal)]);
}

#[test]
fn sequential_targets_have_the_whole_ring_time_each() {
    let (mut machine, effects) = machine(Rules { strategy: Strategy::Sequential, ..rules() }, &[1, 1]);
    assert_eq!(effects, [Effect::Dial(A)]);
    assert_eq!(machine.apply(Input::Tick, 29_999), []);
    let effects = machine.apply(Input::Tick, 30_000);
    assert_eq!(effects, [Effect::Hangup(A, Cause::NoAnswer), Effect::Dial(B)]);
    assert_eq!(machine.deadline_ms(), Some(60_000));
    let effects = machine.apply(gone(B, Cause::Busy), 31_000);
    assert_eq!(effects, [ended(ConnectStatus::NoAnswer, Cause::NoAnswer)], "somebody's phone rang in vain");
}

#[test]
fn each_way_to_fail_has_its_status() {
    let table = [
        (Cause::Busy, ConnectStatus::Busy),
        (Cause::Rejected, ConnectStatus::Rejected),
        (Cause::NoAnswer, ConnectStatus::NoAnswer),
        (Cause::Unreachable, ConnectStatus::Failed),
        (Cause::Congestion, ConnectStatus::Failed),
        (Cause::InvalidNumber, ConnectStatus::Failed),
    ];
    for (cause, status) in table {
        let (mut machine, _) = machine(rules(), &[1]);
        assert_eq!(machine.apply(gone(A, cause), 5), [ended(status, cause)]);
    }
    let mut nobody = Machine::new(rules(), &[TargetShape::Unreachable(Cause::NoRoute)]);
    assert_eq!(nobody.apply(Input::Start, 0), [ended(ConnectStatus::Failed, Cause::NoRoute)]);
    let mut empty = Machine::new(rules(), &[]);
    assert_eq!(empty.apply(Input::Start, 0), [ended(ConnectStatus::Failed, Cause::NoRoute)]);
}

#[test]
fn a_person_who_declines_silences_all_phones() {
    let (mut machine, _) = machine(rules(), &[2]);
    let decline = Input::Ended { device: A, cause: Cause::Rejected, everywhere: true };
    let expected = [Effect::Hangup(A2, Cause::Canceled), ended(ConnectStatus::Rejected, Cause::Rejected)];
    assert_eq!(machine.apply(decline, 5), expected);
}

#[test]
fn a_busy_phone_leaves_the_others_ringing() {
    let (mut machine, _) = machine(rules(), &[2]);
    assert_eq!(machine.apply(gone(A, Cause::Busy), 5), []);
    assert_eq!(machine.apply(Input::Answered(A2), 6), [Effect::Bridge(A2)]);
}

#[test]
fn a_whisper_delays_the_bridge_only() {
    let (mut machine, _) = machine(Rules { whisper: Briefing::Ready, ..rules() }, &[1, 1]);
    let effects = machine.apply(Input::Answered(A), 5);
    assert_eq!(effects, [Effect::Hangup(B, Cause::Canceled), Effect::Whisper(A)]);
    assert_eq!(machine.apply(Input::WhisperEnded(A), 4_000), [Effect::Bridge(A)]);
}

#[test]
fn a_whisper_that_is_not_there_yet_is_waited_for_so_long() {
    let coming = |accept_key| Rules { whisper: Briefing::Coming, accept_key, ..rules() };
    let (mut ready, _) = machine(coming(None), &[1, 1]);
    assert_eq!(ready.apply(Input::Answered(A), 5), [Effect::Hangup(B, Cause::Canceled)], "it has won already");
    assert_eq!(ready.deadline_ms(), Some(5 + WHISPER_WAIT_MS));
    assert_eq!(ready.apply(Input::Whisper { ready: true }, 900), [Effect::Whisper(A)]);
    assert_eq!(ready.apply(Input::WhisperEnded(A), 4_000), [Effect::Bridge(A)]);

    let (mut never, _) = machine(coming(None), &[1]);
    never.apply(Input::Answered(A), 5);
    assert_eq!(never.apply(Input::Whisper { ready: false }, 900), [Effect::Bridge(A)]);

    let (mut late, _) = machine(coming(None), &[1]);
    late.apply(Input::Answered(A), 5);
    assert_eq!(late.apply(Input::Tick, 4 + WHISPER_WAIT_MS), []);
    assert_eq!(late.apply(Input::Tick, 5 + WHISPER_WAIT_MS), [Effect::Bridge(A)]);
    assert_eq!(late.apply(Input::Whisper { ready: true }, 9_000), [], "too late");

    let (mut early, _) = machine(coming(None), &[1]);
    assert_eq!(early.apply(Input::Whisper { ready: true }, 1), []);
    assert_eq!(early.apply(Input::Answered(A), 5), [Effect::Whisper(A)]);

    let (mut key, _) = machine(coming(Some('1')), &[1, 1]);
    key.apply(Input::Answered(A), 0);
    key.apply(Input::Answered(B), 0);
    assert_eq!(key.apply(Input::Tick, WHISPER_WAIT_MS), []);
    assert_eq!(key.deadline_ms(), Some(WHISPER_WAIT_MS + ACCEPT_MS), "without the whisper the key decides");
    assert_eq!(key.apply(Input::Digit(B, '1'), 4_000), [Effect::Hangup(A, Cause::Canceled), Effect::Bridge(B)]);

    let (mut refused, _) = machine(coming(None), &[1]);
    refused.apply(Input::Answered(A), 5);
    assert_eq!(refused.apply(gone(A, Cause::Normal), 9), [ended(ConnectStatus::Rejected, Cause::Rejected)]);
}

#[test]
fn who_hangs_up_in_the_whisper_has_refused() {
    let (mut machine, _) = machine(Rules { whisper: Briefing::Ready, ..rules() }, &[1]);
    machine.apply(Input::Answered(A), 5);
    assert_eq!(machine.apply(gone(A, Cause::Normal), 9), [ended(ConnectStatus::Rejected, Cause::Rejected)]);
}

#[test]
fn the_accept_key_decides_and_its_lack_moves_on() {
    let key = Rules { accept_key: Some('1'), whisper: Briefing::Ready, strategy: Strategy::Sequential, ..rules() };
    let (mut machine, _) = machine(key, &[1, 1]);
    assert_eq!(machine.apply(Input::Answered(A), 1_000), [Effect::Whisper(A)]);
    assert_eq!(machine.apply(Input::Tick, 31_000), [], "an answered target does not ring out");
    assert_eq!(machine.apply(Input::WhisperEnded(A), 3_000), []);
    assert_eq!(machine.apply(Input::Digit(A, '2'), 3_500), []);
    assert_eq!(machine.deadline_ms(), Some(3_000 + ACCEPT_MS));
    let next = machine.apply(Input::Tick, 3_000 + ACCEPT_MS);
    assert_eq!(next, [Effect::Hangup(A, Cause::NoAnswer), Effect::Dial(B)]);
    machine.apply(Input::Answered(B), 20_000);
    assert_eq!(machine.apply(Input::Digit(B, '1'), 20_500), [Effect::Bridge(B)], "also during the whisper");
}

#[test]
fn with_an_accept_key_answering_wins_nothing_yet() {
    let (mut machine, _) = machine(Rules { accept_key: Some('1'), ..rules() }, &[1, 1]);
    assert_eq!(machine.apply(Input::Answered(A), 5), [], "the other goes on ringing");
    machine.apply(Input::Answered(B), 6);
    let effects = machine.apply(Input::Digit(B, '1'), 7);
    assert_eq!(effects, [Effect::Hangup(A, Cause::Canceled), Effect::Bridge(B)]);
}

#[test]
fn talking_has_a_time_limit() {
    let (mut machine, _) = machine(Rules { time_limit_ms: Some(60_000), ..rules() }, &[1]);
    machine.apply(Input::Answered(A), 5_000);
    assert_eq!(machine.deadline_ms(), Some(65_000));
    let effects = machine.apply(Input::Tick, 65_000);
    let expected = [Effect::Hangup(A, Cause::TimeLimit), ended(ConnectStatus::Completed, Cause::TimeLimit)];
    assert_eq!(effects, expected);
}

#[test]
fn the_customer_leaving_lets_everybody_go() {
    for input in [Input::CustomerGone, Input::Cancel] {
        let (mut ringing, _) = machine(rules(), &[1, 1]);
        let effects = ringing.apply(input, 5);
        let expected = [
            Effect::Hangup(A, Cause::Canceled),
            Effect::Hangup(B, Cause::Canceled),
            ended(ConnectStatus::Canceled, Cause::Canceled),
        ];
        assert_eq!(effects, expected);
        let (mut talking, _) = machine(rules(), &[1]);
        talking.apply(Input::Answered(A), 5);
        let effects = talking.apply(input, 6);
        assert_eq!(effects, [Effect::Hangup(A, Cause::Normal), ended(ConnectStatus::Completed, Cause::Normal)]);
    }
}

fn any_device() -> impl proptest::strategy::Strategy<Value = Device> {
    (0usize..3, 0usize..3).prop_map(|(target, device)| Device { target, device })
}

fn any_input() -> impl proptest::strategy::Strategy<Value = Input> {
    let causes = vec![Cause::Busy, Cause::Normal, Cause::Rejected, Cause::NoAnswer, Cause::Unreachable];
    prop_oneof![
        1 => any::<bool>().prop_map(|ready| Input::Whisper { ready }),
        2 => any_device().prop_map(Input::Ringing),
        4 => any_device().prop_map(Input::Answered),
        2 => (any_device(), prop::sample::select(vec!['1', '2'])).prop_map(|(device, key)| Input::Digit(device, key)),
        2 => any_device().prop_map(Input::WhisperEnded),
        4 => (any_device(), prop::sample::select(causes), any::<bool>())
            .prop_map(|(device, cause, everywhere)| Input::Ended { device, cause, everywhere }),
        1 => Just(Input::CustomerGone),
        1 => Just(Input::Cancel),
        4 => Just(Input::Tick),
    ]
}

proptest! {
    #[test]
    fn one_end_one_bridge_at_a_time_and_nobody_left_behind(
        devices in prop::collection::vec(0usize..3, 0..4),
        inputs in prop::collection::vec((0i64..20_000, any_input()), 0..40),
        flags in any::<[bool; 3]>(),
        whisper in prop_oneof![Just(Briefing::None), Just(Briefing::Coming), Just(Briefing::Ready)],
    ) {
        let rules = Rules {
            strategy: if flags[0] { Strategy::Sequential } else { Strategy::Simultaneous },
            timeout_ms: 30_000,
            time_limit_ms: flags[1].then_some(60_000),
            whisper,
            accept_key: flags[2].then_some('1'),
        };
        let shapes: Vec<TargetShape> = devices.iter().map(|&count| TargetShape::Devices(count)).collect();
        let mut machine = Machine::new(rules, &shapes);
        let mut now_ms = 0;
        let mut effects = machine.apply(Input::Start, now_ms);
        let mut gone = Vec::new();
        for (wait_ms, input) in inputs {
            now_ms += wait_ms;
            if let Input::Ended { device, .. } = input {
                gone.push(device);
            }
            effects.extend(machine.apply(input, now_ms));
        }
        // Time alone ends whatever is not bridged; a hang-up ends the rest.
        while let Some(at_ms) = machine.deadline_ms() {
            now_ms = now_ms.max(at_ms);
            let more = machine.apply(Input::Tick, now_ms);
            let moved_on = machine.deadline_ms() != Some(at_ms);
            prop_assert!(moved_on || !more.is_empty(), "a deadline that does nothing would turn for ever");
            effects.extend(more);
        }
        if !machine.is_done() {
            prop_assert!(machine.bridged().is_some(), "only talking lasts for ever");
            effects.extend(machine.apply(Input::CustomerGone, now_ms));
        }
        let ends = effects.iter().filter(|effect| matches!(effect, Effect::Ended { .. })).count();
        prop_assert_eq!(ends, 1);
        let last_is_end = matches!(effects.last(), Some(Effect::Ended { .. }));
        prop_assert!(last_is_end);
        prop_assert!(effects.iter().filter(|effect| matches!(effect, Effect::Bridge(_))).count() <= 1);
        for (at, effect) in effects.iter().enumerate() {
            if let Effect::Dial(device) = effect {
                let redialled = effects.iter().skip(at + 1).any(|later| later == effect);
                let hung_up = effects.iter().any(|later| matches!(later, Effect::Hangup(d, _) if d == device));
                prop_assert!(!redialled && (hung_up || gone.contains(device)), "{:?} was left behind", device);
            }
        }
    }
}
