//! The limits of a run, and the rules that no single step owns.
use super::*;

#[test]
fn a_step_is_visited_a_hundred_times_at_most() {
    let mut run = Run::of(json!({"type": "pause", "seconds": 1, "next_step": "s"}));
    run.wait(3_600_000);
    assert_eq!(run.hung_up(), Some(Cause::FlowLimit));
    assert_eq!(run.path().iter().filter(|id| *id == "s").count(), 100);
}

#[test]
fn a_call_takes_a_thousand_steps_at_most() {
    // Eleven steps in a ring: each is visited less than a hundred times when the thousandth step is reached.
    let mut steps = vec![json!({"id": "c", "type": "call", "number": "5263", "next_step": 0})];
    for id in 0..11 {
        steps.push(json!({"id": id, "type": "pause", "seconds": 1, "next_step": (id + 1) % 11}));
    }
    let mut run = Run::dialling(json!({ "flow": steps }));
    run.input(Input::Answered);
    run.wait(3_600_000);
    assert_eq!((run.hung_up(), run.path().len()), (Some(Cause::FlowLimit), 1_000));
}

#[test]
fn a_call_asks_twenty_times_a_minute_at_most() {
    let body = json!({"flow": [
        {"id": "c", "type": "call", "number": "5263", "next_step": "h"},
        {"id": "h", "type": "http", "url": "http://h/", "next_step": "p"},
        {"id": "p", "type": "pause", "seconds": 1, "next_step": "h"},
    ]});
    let mut fast = Run::dialling(body.clone());
    fast.input(Input::Answered);
    while fast.hung_up().is_none() {
        fast.respond(200, "");
        fast.wait(1_000);
    }
    let asked = |run: &Run| run.all(|effect| matches!(effect, Effect::Http { .. }).then_some(())).len();
    assert_eq!((fast.hung_up(), asked(&fast)), (Some(Cause::FlowLimit), 20));
    let mut slow = Run::dialling(body);
    slow.input(Input::Answered);
    for _ in 0..30 {
        slow.wait(2_000);
        slow.respond(200, "");
        slow.wait(1_000);
    }
    assert_eq!((slow.hung_up(), asked(&slow)), (None, 31));
}

#[test]
fn every_step_says_when_it_begins_and_how_it_ended() {
    let mut run = Run::of(json!({"type": "play", "text": "x", "next_step": "next"}));
    run.hear();
    let said: Vec<String> = run.all(|effect| match effect {
        Effect::Enter { step, .. } => Some(format!("started {} {}", step.kind, step.id)),
        Effect::Emit { kind: "step.completed", step, data } => {
            Some(format!("completed {} {} {}", step.id, data["outcome"], data["next"]))
        }
        _ => None,
    });
    assert_eq!(
        said,
        [
            "started call call",
            "completed call \"answered\" \"s\"",
            "started play s",
            "completed s \"completed\" \"next\"",
            "started pause next",
        ]
    );
}

#[test]
fn an_inbound_call_begins_behind_the_call_step() {
    let body = json!({"flow": [{"id": "c", "type": "call", "number": "5263", "next_step": "b"}, {"id": "a", "type": "pause", "seconds": 1}, {"id": "b", "type": "hangup"}]});
    let mut run = Run::new(body, Setup::default());
    assert!(run.machine.start(NOW, false).is_empty());
    run.input(Input::Answered);
    assert_eq!(run.path(), ["a"]);
}

#[test]
fn nothing_comes_after_the_hang_up() {
    let mut run = Run::of(json!({"type": "hangup"}));
    let before = run.log.len();
    run.keys("123");
    run.wait(1_000_000);
    run.input(Input::Answered);
    run.input(Input::Ended);
    run.input(Input::Tick);
    assert_eq!(run.log.len(), before);
    assert!(run.machine.is_over());
}
