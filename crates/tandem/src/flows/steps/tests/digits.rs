//! `digits`.
use super::*;

/// A step with edges to `a` (any), `b` (timeout) and `c` (invalid), and these fields.
fn step(fields: Value) -> Value {
    let mut step = json!({"type": "digits", "flow": {"*": "a", "timeout": "b", "invalid": "c"}});
    step.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    step
}

fn value(run: &Run) -> Value {
    run.events("input.completed").last().cloned().unwrap_or_default()["value"].clone()
}

#[test]
fn field_count() {
    let mut run = Run::of(step(json!({"count": 4})));
    run.keys("123");
    assert_eq!(run.at(), "s");
    run.keys("4");
    assert_eq!((run.at(), value(&run)), ("a".into(), json!("1234")));
    let mut one = Run::of(step(json!({})));
    one.keys("7");
    assert_eq!(one.at(), "a");
}

#[test]
fn field_min_digits() {
    let mut run = Run::of(step(json!({"count": 4, "min_digits": 3})));
    run.keys("12#");
    assert_eq!(run.at(), "c");
    let mut run = Run::of(step(json!({"count": 4, "min_digits": 3})));
    run.keys("123#");
    assert_eq!(run.at(), "a");
}

#[test]
fn field_timeout() {
    let mut run = Run::of(step(json!({"timeout": 3})));
    run.wait(2_999);
    assert_eq!(run.at(), "s");
    run.wait(1);
    assert_eq!(run.at(), "b");
    let mut by_default = Run::of(step(json!({})));
    by_default.wait(9_999);
    assert_eq!(by_default.at(), "s");
    by_default.wait(1);
    assert_eq!(by_default.at(), "b");
}

#[test]
fn field_inter_digit_timeout() {
    let mut run = Run::of(step(json!({"count": 4, "inter_digit_timeout": 2})));
    run.wait(5_000);
    run.keys("1");
    run.wait(1_999);
    assert_eq!(run.at(), "s");
    run.wait(1);
    assert_eq!((run.at(), value(&run)), ("a".into(), json!("1")));
    let mut by_default = Run::of(step(json!({"count": 4})));
    by_default.keys("1");
    by_default.wait(4_999);
    assert_eq!(by_default.at(), "s");
    by_default.wait(1);
    assert_eq!(by_default.at(), "a");
}

#[test]
fn field_finish_on_key() {
    let mut run = Run::of(step(json!({"count": 4})));
    run.keys("12#");
    assert_eq!(value(&run), json!("12"), "the finishing key is not stored");
    let mut run = Run::of(step(json!({"count": 4, "finish_on_key": "*"})));
    run.keys("1#*");
    assert_eq!(value(&run), json!("1#"));
    let mut run = Run::of(step(json!({"count": 2, "finish_on_key": ""})));
    run.keys("1#");
    assert_eq!(value(&run), json!("1#"));
}

#[test]
fn field_tries() {
    let mut run = Run::of(step(
        json!({"tries": 2, "prompt": {"text": "PIN?"}, "flow": {"1": "a", "timeout": "b", "invalid": "c"}}),
    ));
    run.hear();
    run.wait(10_000);
    assert_eq!((run.at(), run.plays()), ("s".into(), 2), "the prompt is played again");
    assert_eq!(run.sources().len(), 1, "and not rendered again");
    run.play_ended();
    run.keys("5");
    assert_eq!(run.at(), "c", "an invalid input uses up a try as well");
    let mut second = Run::of(step(json!({"tries": 2, "flow": {"1": "a", "invalid": "c"}})));
    second.keys("51");
    assert_eq!(second.at(), "a");
}

#[test]
fn field_prompt() {
    let mut run = Run::of(step(json!({"prompt": {"text": "Press {{call.id}}", "voice": "rms"}})));
    assert_eq!(
        run.sources(),
        [Source::Speech { text: "Press call_1".into(), voice: Some("rms".into()), language: None }]
    );
    run.sound_ready();
    run.wait(60_000);
    assert_eq!(run.at(), "s", "the time for the first key begins behind the prompt");
    run.play_ended();
    run.wait(10_000);
    assert_eq!(run.at(), "b");
    let mut mute = Run::of(step(json!({"prompt": {"url": "https://h/x.wav"}})));
    mute.sound_failed();
    assert_eq!(mute.events("step.failed").len(), 1);
    mute.keys("1");
    assert_eq!(mute.at(), "a", "without its prompt it still listens");
}

#[test]
fn field_variable() {
    let mut run = Run::of(step(json!({"count": 4, "variable": "account_id"})));
    run.keys("0042");
    assert_eq!(run.machine.variables().get("account_id"), Some("0042"), "leading zeros stay");
    assert_eq!(run.machine.variables().get("digits"), Some("0042"));
    assert_eq!(run.saved(), json!({"account_id": "0042"}));
}

#[test]
fn field_sensitive() {
    let sensitive = |run: &Run| {
        run.find(|effect| if let Effect::Enter { sensitive, .. } = effect { Some(*sensitive) } else { None })
    };
    let mut run = Run::of(step(json!({"count": 4, "sensitive": true, "variable": "pin"})));
    assert!(sensitive(&run), "the call is told to hide its keys and to pause its recording");
    run.keys("4711");
    assert!(!sensitive(&run), "and told when that is over");
    assert_eq!(run.events("input.completed"), [json!({"redacted": true, "match": "*"})]);
    assert_eq!(run.machine.variables().get("pin"), Some("4711"), "templates may use it");
    assert!(!format!("{:?}", run.log).contains("4711"));
    assert_eq!(run.machine.variables().public().len(), 0);
    let mut exact = Run::of(json!({"type": "digits", "sensitive": true, "count": 4, "flow": {"4711": "a"}}));
    exact.keys("4711");
    assert!(exact.at() == "a" && !format!("{:?}", exact.log).contains("4711"), "the name of the edge is as secret");
}

#[test]
fn field_bargein() {
    let mut run = Run::of(step(json!({"count": 2, "prompt": {"text": "x"}})));
    run.sound_ready();
    assert_eq!(run.keys("1"), [Effect::StopPlay], "by default a key cuts the prompt short");
    run.keys("2");
    assert_eq!((run.at(), value(&run)), ("a".into(), json!("12")));
    let mut patient = Run::of(step(json!({"count": 2, "prompt": {"text": "x"}, "bargein": false})));
    patient.sound_ready();
    assert_eq!(patient.keys("12"), []);
    patient.play_ended();
    assert_eq!((patient.at(), value(&patient)), ("a".into(), json!("12")), "keys typed ahead during the prompt count");
}

#[test]
fn keys_before_the_step_do_not_count() {
    let mut run = Run::dialling(json!({"flow": [
        {"id": "c", "type": "call", "number": "5263", "next_step": "p"},
        {"id": "p", "type": "play", "text": "x", "next_step": "d"},
        {"id": "d", "type": "digits", "flow": {"9": "h", "*": "p"}}, {"id": "h", "type": "hangup"},
    ]}));
    run.input(Input::Answered);
    run.sound_ready();
    run.keys("9");
    run.play_ended();
    assert_eq!(run.at(), "d");
    run.keys("9");
    assert_eq!(run.hung_up(), Some(Cause::Normal));
}

#[test]
fn edge_exact() {
    let flow = json!({"1": "a", "12": "b", "*": "c"});
    for (keys, place) in [("1#", "a"), ("12", "b"), ("13", "c")] {
        let mut run = Run::of(json!({"type": "keypad", "count": 2, "flow": flow}));
        run.keys(keys);
        assert_eq!(run.at(), place);
    }
    let mut star = Run::of(json!({"type": "input", "flow": {"star": "a", "*": "b"}}));
    star.keys("*");
    assert_eq!(star.at(), "a");
    let mut literal = Run::of(json!({"type": "digits", "flow": {"\\*": "a", "*": "b"}}));
    literal.keys("*");
    assert_eq!(literal.at(), "a");
    let mut hash = Run::of(json!({"type": "digits", "finish_on_key": "", "flow": {"hash": "a"}}));
    hash.keys("#");
    assert_eq!(hash.at(), "a");
}

#[test]
fn an_edge_of_the_finishing_key_switches_it_off() {
    for edge in ["#", "hash"] {
        let mut menu = Run::of(json!({"type": "menu", "text": "x", "flow": {"1": "a", (edge): "b"}}));
        menu.sound_ready();
        menu.keys("#");
        assert_eq!(menu.at(), "b");
        let mut asked_for =
            Run::of(json!({"type": "digits", "finish_on_key": "#", "flow": {(edge): "a", "invalid": "c"}}));
        asked_for.keys("#");
        assert_eq!(asked_for.at(), "c", "who asks for the key has it");
    }
    let mut inside = Run::of(json!({"type": "digits", "count": 3, "flow": {"1#2": "a"}}));
    inside.keys("1#2");
    assert_eq!(inside.at(), "a");
}

#[test]
fn edge_any() {
    let mut run = Run::of(json!({"type": "digits", "next_step": {"*": "a"}}));
    run.keys("*");
    assert_eq!((run.at(), run.outcome()), ("a".into(), json!("*")));
}

#[test]
fn edge_timeout() {
    let mut run = Run::of(step(json!({})));
    run.wait(10_000);
    assert_eq!((run.at(), run.outcome()), ("b".into(), json!("timeout")));
    assert!(run.events("input.completed").is_empty(), "nothing pressed is no input");
    let mut fallback = Run::of(json!({"type": "digits", "flow": {"1": "a"}, "next_step": "next"}));
    fallback.wait(10_000);
    assert_eq!(fallback.at(), "next");
    let mut end = Run::of(json!({"type": "digits", "flow": {"1": "a"}}));
    end.wait(10_000);
    assert_eq!(end.hung_up(), Some(Cause::NoInput));
}

#[test]
fn edge_invalid() {
    let flow = json!({"1": "a", "invalid": "c"});
    let mut run = Run::of(json!({"type": "digits", "flow": flow}));
    run.keys("2");
    assert_eq!((run.at(), run.outcome()), ("c".into(), json!("invalid")));
    assert_eq!(run.events("input.completed"), [json!({"value": "2", "match": "invalid"})]);
    let mut fallback = Run::of(json!({"type": "digits", "flow": {"1": "a"}, "next_step": "next"}));
    fallback.keys("2");
    assert_eq!(fallback.at(), "next");
    let mut end = Run::of(json!({"type": "digits", "flow": {"1": "a"}}));
    end.keys("2");
    assert_eq!(end.hung_up(), Some(Cause::InvalidInput));
    let mut empty = Run::of(step(json!({"count": 4})));
    empty.keys("#");
    assert_eq!(empty.at(), "c", "the finishing key alone is no input, and not nothing either");
}

#[test]
fn any_input_goes_on_where_no_keys_are_listed() {
    let mut run = Run::of(json!({"type": "digits", "count": 2, "next_step": "next", "flow": {"timeout": "b"}}));
    run.keys("42");
    assert_eq!((run.at(), run.outcome()), ("next".into(), json!("completed")));
}
