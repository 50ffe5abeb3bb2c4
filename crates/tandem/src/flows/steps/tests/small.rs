//! The small steps: hangup, pause, set, branch, record, voicemail, transfer, send_dtmf, menu.
use super::*;
use crate::flows::machine::Message;

#[test]
fn hangup() {
    let run = Run::of(json!({"type": "hangup"}));
    assert_eq!(run.hung_up(), Some(Cause::Normal));
}

#[test]
fn pause_seconds() {
    let mut run = Run::of(json!({"type": "pause", "seconds": 2, "next_step": "next"}));
    run.wait(1_999);
    assert_eq!(run.at(), "s");
    run.wait(1);
    assert_eq!(run.at(), "next");
}

#[test]
fn set_vars() {
    let run = Run::of(json!({"type": "set", "vars": {"a": "{{b}}", "n": 1}, "next_step": "next"}));
    assert_eq!(run.machine.variables().get("a"), Some("{{b}}"), "not a place of templates");
    assert_eq!(run.saved(), json!({"a": "{{b}}", "n": "1"}));
    assert_eq!(run.at(), "next");
}

#[test]
fn set_keeps_no_more_than_a_run_may() {
    let vars: serde_json::Map<String, Value> =
        (0..17).map(|n| (format!("v{n:02}"), json!("x".repeat(4_000)))).collect();
    let run = Run::of(json!({"type": "set", "vars": vars, "next_step": "next"}));
    assert_eq!((run.at(), run.events("step.failed").len()), ("next".into(), 1));
    assert_eq!(run.machine.variables().public().len(), 16);
}

/// Where a branch on a variable of this value leads.
fn branch(value: &str, op: &str, wanted: Value) -> String {
    let mut run = Run::dialling(json!({"flow": [
        {"id": "c", "type": "call", "number": "5263", "next_step": "v"},
        {"id": "v", "type": "set", "vars": {"v": value}, "next_step": "s"},
        {"id": "s", "type": "branch", "variable": "v", "op": op, "value": wanted, "flow": {"true": "yes", "false": "no"}},
        {"id": "yes", "type": "pause", "seconds": 1}, {"id": "no", "type": "pause", "seconds": 1},
    ]}));
    run.input(Input::Answered);
    run.at()
}

#[test]
fn branch_op() {
    for (value, op, wanted, place) in [
        ("007", "eq", json!("007"), "yes"),
        ("007", "eq", json!("7"), "no"),
        ("7", "eq", json!(7), "yes"),
        ("a", "ne", json!("b"), "yes"),
        ("a", "ne", json!("a"), "no"),
        ("9", "lt", json!(10), "yes"),
        ("9", "lt", json!("10"), "yes"),
        ("10", "lt", json!("9"), "no"),
        ("a", "lt", json!("b"), "yes"),
        ("10.5", "gt", json!(10), "yes"),
        ("10", "gt", json!(10), "no"),
        ("NaN", "gt", json!(1), "no"),
        ("ab12", "matches", json!("[a-z]+\\d{2}"), "yes"),
        ("xab12", "matches", json!("^ab"), "no"),
        ("", "exists", json!(null), "yes"),
    ] {
        assert_eq!(branch(value, op, wanted.clone()), place, "{value} {op} {wanted}");
    }
    // Linear in the text: a pattern that kills backtracking engines.
    assert_eq!(branch(&"a".repeat(4_000), "matches", json!("^(a+)+b$")), "no");
}

#[test]
fn branch_variable() {
    let unset = |op: &str| {
        Run::of(json!({"type": "branch", "variable": "v", "op": op, "value": "x", "flow": {"true": "a", "false": "b"}}))
            .at()
    };
    assert_eq!(
        (unset("exists"), unset("eq"), unset("ne"), unset("lt")),
        ("b".into(), "b".into(), "a".into(), "b".into())
    );
    let built_in = Run::of(
        json!({"type": "branch", "variable": "call.id", "op": "eq", "value": "call_1", "next_step": {"true": "a"}}),
    );
    assert_eq!(built_in.at(), "a");
}

#[test]
fn branch_falls_back() {
    let run =
        Run::of(json!({"type": "branch", "variable": "v", "op": "exists", "flow": {"true": "a"}, "next_step": "next"}));
    assert_eq!(run.at(), "next");
}

#[test]
fn record_action() {
    for (word, action) in [
        ("start", RecordAction::Start),
        ("stop", RecordAction::Stop),
        ("pause", RecordAction::Pause),
        ("resume", RecordAction::Resume),
    ] {
        let run = Run::of(json!({"type": "record", "action": word, "next_step": "next"}));
        assert_eq!((run.recordings(), run.at()), (vec![action], "next".into()));
    }
}

#[test]
fn a_recording_that_a_step_begins_is_announced_first() {
    let mut body = Run::body(json!({"type": "record", "action": "start", "next_step": "again"}));
    body["flow"]
        .as_array_mut()
        .unwrap()
        .push(json!({"id": "again", "type": "record", "action": "start", "next_step": "a"}));
    let mut run = Run::new(body, Setup { announcement: Some("You are recorded.".into()), ..Setup::default() });
    run.machine.start(NOW, true);
    run.input(Input::Answered);
    assert_eq!((run.sources(), run.recordings().len()), (vec![speech("You are recorded.")], 0));
    run.hear();
    assert_eq!((run.recordings().len(), run.plays(), run.at()), (2, 1, "a".into()), "who has heard it is told once");
    let mut mute = Run::of(json!({"type": "record", "action": "start", "next_step": "next"}));
    assert_eq!((mute.recordings(), mute.keys("1")), (vec![RecordAction::Start], Vec::new()));
}

#[test]
fn a_recorded_call_is_announced_first() {
    let mut body = Run::body(json!({"type": "play", "text": "hi"}));
    body["record"] = json!(true);
    let mut run = Run::new(body, Setup { announcement: Some("This call is recorded.".into()), ..Setup::default() });
    run.machine.start(NOW, true);
    run.input(Input::Answered);
    assert_eq!((run.sources(), run.recordings().len()), (vec![speech("This call is recorded.")], 0));
    run.hear();
    assert_eq!((run.recordings(), run.at()), (vec![RecordAction::Start], "s".into()));
}

fn voicemail(fields: Value) -> (Run, (String, u32, u32, bool)) {
    let mut step = json!({"type": "voicemail", "box": 1001, "next_step": "next"});
    step.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let run = Run::of(step);
    let asked = run.find(|effect| match effect {
        Effect::Voicemail { mailbox, max_ms, silence_ms, beep } => Some((mailbox.clone(), *max_ms, *silence_ms, *beep)),
        _ => None,
    });
    (run, asked)
}

#[test]
fn voicemail_max() {
    assert_eq!((voicemail(json!({})).1.1, voicemail(json!({"max": 9})).1.1), (180_000, 9_000));
}

#[test]
fn voicemail_silence() {
    assert_eq!((voicemail(json!({})).1.2, voicemail(json!({"silence": 2})).1.2), (5_000, 2_000));
}

#[test]
fn voicemail_beep() {
    assert_eq!((voicemail(json!({})).1.3, voicemail(json!({"beep": false})).1.3), (true, false));
}

#[test]
fn voicemail_box() {
    assert_eq!(voicemail(json!({"box": "1002"})).1.0, "1002");
}

#[test]
fn voicemail_ends() {
    for (message, outcome) in [(Message::Left, "completed"), (Message::Empty, "empty")] {
        let (mut run, _) = voicemail(json!({}));
        run.input(Input::Message(message));
        assert_eq!((run.at(), run.outcome()), ("next".into(), json!(outcome)));
    }
}

#[test]
fn transfer_to() {
    let mut run = Run::of(json!({"type": "transfer", "to": 5263}));
    assert_eq!(
        run.find(|effect| if let Effect::Transfer { to, .. } = effect { Some(to.clone()) } else { None }),
        "5263"
    );
    assert_eq!((run.outcome(), run.hung_up()), (json!("transferred"), None), "the call goes on without the flow");
    assert!(run.keys("1").is_empty());
    assert_eq!(Run::of(json!({"type": "transfer", "to": "{{nobody}}"})).hung_up(), Some(Cause::InvalidNumber));
}

#[test]
fn send_dtmf_digits() {
    let mut run = Run::of(json!({"type": "send_dtmf", "digits": "1w2#", "next_step": "next"}));
    assert_eq!(
        run.find(|effect| if let Effect::SendDtmf { digits, .. } = effect { Some(digits.clone()) } else { None }),
        "1w2#"
    );
    assert_eq!(run.at(), "s");
    run.play_ended();
    assert_eq!(run.at(), "next");
}

#[test]
fn menu() {
    let mut run = Run::of(
        json!({"type": "menu", "text": "Press 1", "voice": "rms", "loop": 2, "tries": 2, "flow": {"1": "a", "timeout": "b"}}),
    );
    assert_eq!(run.sources(), [Source::Speech { text: "Press 1".into(), voice: Some("rms".into()), language: None }]);
    run.sound_ready();
    let (loops, kind) = (
        run.find(|effect| if let Effect::Play { loops, .. } = effect { Some(*loops) } else { None }),
        run.find(|effect| if let Effect::Enter { step, .. } = effect { Some(step.kind) } else { None }),
    );
    assert_eq!((loops, kind), (2, "menu"));
    assert_eq!(run.keys("1")[0], Effect::StopPlay);
    assert_eq!(run.at(), "a");
}
