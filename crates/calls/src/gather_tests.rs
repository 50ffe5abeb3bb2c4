//! The digits machine, key by key, and over random keys.

use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::*;

fn rules() -> Rules {
    Rules {
        count: 4,
        min_digits: 1,
        first_timeout_ms: 10_000,
        inter_digit_timeout_ms: 5_000,
        finish_on_key: Some('#'),
        tries: 1,
        prompt: true,
        bargein: true,
        edges: vec!["*".into()],
    }
}

fn keys(machine: &mut Machine, keys: &str, now_ms: i64) -> Vec<Effect> {
    keys.chars().flat_map(|key| machine.apply(Input::Key(key), now_ms)).collect()
}

fn outcome(effects: &[Effect]) -> Outcome {
    match effects.last() {
        Some(Effect::Done(outcome)) => outcome.clone(),
        other => panic!("not done: {other:?}"),
    }
}

fn matched(digits: &str, edge: &str) -> Outcome {
    Outcome::Matched { digits: digits.into(), edge: Some(edge.into()) }
}

#[test]
fn the_first_key_stops_the_prompt_and_the_count_completes() {
    let mut machine = Machine::new(rules());
    assert_eq!(machine.apply(Input::Start, 0), [Effect::Prompt]);
    assert_eq!(machine.apply(Input::Key('0'), 100), [Effect::StopPrompt]);
    assert_eq!(outcome(&keys(&mut machine, "123", 200)), matched("0123", "*"));
    assert!(machine.is_done() && machine.deadline_ms().is_none());
}

#[test]
fn without_bargein_keys_wait_for_the_prompts_end() {
    let mut machine = Machine::new(Rules { bargein: false, ..rules() });
    machine.apply(Input::Start, 0);
    assert_eq!(keys(&mut machine, "12#9", 100), []);
    assert_eq!(outcome(&machine.apply(Input::PromptEnded, 3_000)), matched("12", "*"));
}

#[test]
fn time_runs_from_the_prompts_end_and_from_each_key() {
    let mut machine = Machine::new(rules());
    machine.apply(Input::Start, 0);
    assert_eq!(machine.deadline_ms(), None);
    machine.apply(Input::PromptEnded, 1_000);
    assert_eq!(machine.deadline_ms(), Some(11_000));
    assert_eq!(machine.apply(Input::Tick, 10_999), []);
    keys(&mut machine, "7", 4_000);
    assert_eq!(machine.deadline_ms(), Some(9_000));
    assert_eq!(outcome(&machine.apply(Input::Tick, 9_000)), matched("7", "*"));
}

#[test]
fn nothing_pressed_is_a_timeout_never_any() {
    let mut machine = Machine::new(rules());
    machine.apply(Input::Start, 0);
    machine.apply(Input::PromptEnded, 0);
    assert_eq!(outcome(&machine.apply(Input::Tick, 10_000)), Outcome::Timeout);
}

#[test]
fn too_short_and_unknown_are_invalid_after_all_tries() {
    let mut machine = Machine::new(Rules { min_digits: 3, tries: 2, ..rules() });
    machine.apply(Input::Start, 0);
    let again = keys(&mut machine, "12#", 0);
    assert_eq!(again, [Effect::StopPrompt, Effect::Prompt], "the prompt is played once more");
    let last = keys(&mut machine, "#", 0);
    assert_eq!(outcome(&last), Outcome::Invalid { digits: String::new() });

    let mut machine = Machine::new(Rules { count: 1, edges: vec!["1".into(), "2".into()], ..rules() });
    machine.apply(Input::Start, 0);
    assert_eq!(outcome(&keys(&mut machine, "3", 0)), Outcome::Invalid { digits: "3".into() });
}

#[test]
fn the_finish_key_can_be_given_up_to_collect_it() {
    let mut machine = Machine::new(Rules { finish_on_key: None, count: 2, ..rules() });
    machine.apply(Input::Start, 0);
    assert_eq!(outcome(&keys(&mut machine, "5#", 0)), matched("5#", "*"));
}

#[test]
fn exact_then_alias_then_any() {
    let edge = |edges: &[&str], digits: &str| {
        let edges: Vec<String> = edges.iter().map(|&edge| edge.to_owned()).collect();
        matching_edge(&edges, digits).map(str::to_owned)
    };
    assert_eq!(edge(&["12", "*"], "12").as_deref(), Some("12"));
    assert_eq!(edge(&["12", "*"], "13").as_deref(), Some("*"));
    assert_eq!(edge(&["*"], "*").as_deref(), Some("*"), "any includes a star");
    assert_eq!(edge(&["*", "star"], "*").as_deref(), Some("star"));
    assert_eq!(edge(&["*", r"\*"], "*").as_deref(), Some(r"\*"));
    assert_eq!(edge(&["hash"], "#").as_deref(), Some("hash"));
    assert_eq!(edge(&["star", "hash"], "1"), None);
    assert_eq!(edge(&["*"], ""), None);
}

proptest! {
    #[test]
    fn one_outcome_within_the_allowed_time(
        inputs in prop::collection::vec(
            (0i64..7_000, prop_oneof![
                4 => prop::sample::select(vec!['0', '1', '9', '*', '#', 'A', 'x']).prop_map(Input::Key),
                1 => Just(Input::PromptEnded),
                1 => Just(Input::Tick),
            ]), 0..40),
        count in 1usize..6,
        min_digits in 1usize..6,
        tries in 1u32..4,
        flags in any::<[bool; 3]>(),
    ) {
        let rules = Rules {
            count,
            min_digits,
            tries,
            prompt: flags[0],
            bargein: flags[1],
            edges: if flags[2] { vec!["1".into(), "99".into()] } else { Vec::new() },
            ..rules()
        };
        let mut machine = Machine::new(rules.clone());
        let mut now_ms = 0;
        let mut effects = machine.apply(Input::Start, now_ms);
        for (wait_ms, input) in inputs {
            now_ms += wait_ms;
            effects.extend(machine.apply(input, now_ms));
        }
        // From here on nobody does anything: prompts end, time passes.
        for _ in 0..tries * 2 + 2 {
            effects.extend(machine.apply(Input::PromptEnded, now_ms));
            if let Some(at_ms) = machine.deadline_ms() {
                now_ms = now_ms.max(at_ms);
                effects.extend(machine.apply(Input::Tick, now_ms));
            }
        }
        let done: Vec<_> = effects.iter().filter_map(|effect| match effect {
            Effect::Done(outcome) => Some(outcome.clone()),
            _ => None,
        }).collect();
        prop_assert_eq!(done.len(), 1);
        prop_assert!(effects.iter().filter(|effect| **effect == Effect::Prompt).count() <= tries as usize);
        if let Outcome::Matched { digits, .. } = &done[0] {
            prop_assert!(digits.len() >= min_digits && digits.len() <= count.max(min_digits));
            prop_assert!(!digits.contains('#'), "the finish key is never stored");
        }
    }
}

#[test]
fn words_are_a_whole_input_whatever_keys_would_need() {
    let rules = Rules { count: 1, min_digits: 4, edges: vec!["yes".into(), "star".into()], tries: 2, ..rules() };
    let mut machine = Machine::new(rules);
    machine.apply(Input::Start, 0);
    assert_eq!(machine.take_words("yes", 0), [], "the question is not read yet");
    machine.apply(Input::PromptEnded, 0);
    assert_eq!(machine.take_words("Yes", 1), [Effect::Prompt], "exactly so");
    machine.apply(Input::PromptEnded, 2);
    assert_eq!(outcome(&machine.take_words(" yes\n", 3)), matched("yes", "yes"));
    assert_eq!(machine.take_words("yes", 4), []);
    assert!(machine.is_done());
}

#[test]
fn words_without_anything_are_no_input() {
    let mut machine = Machine::new(Rules { prompt: false, edges: Vec::new(), ..rules() });
    machine.apply(Input::Start, 0);
    assert_eq!(outcome(&machine.take_words("  ", 1)), Outcome::Invalid { digits: String::new() });
}
