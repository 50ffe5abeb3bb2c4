//! The fields and edges of `conference`.
use super::*;
use crate::flows::machine::{Conference, ConferenceEnd};

fn joined(run: &Run) -> Conference {
    run.find(|effect| if let Effect::Conference(conference) = effect { Some(conference.clone()) } else { None })
}

/// A run that is in the conference of a step with these edges.
fn inside(edges: Value) -> Run {
    let run = Run::of(json!({"type": "conference", "room": "sales", "flow": edges, "next_step": "next"}));
    assert_eq!(run.at(), "s");
    run
}

#[test]
fn field_room() {
    assert_eq!(joined(&Run::of(json!({"type": "conference", "room": "Sales-1.a_b"}))).room, "Sales-1.a_b");
    assert_eq!(joined(&Run::of(json!({"type": "conference", "room": 7}))).room, "7");
    assert_eq!(joined(&Run::of(json!({"type": "conference", "room": "r{{call.id}}"}))).room, "rcall_1");
    for unfit in ["{{nothing}}", "{{call.from}}"] {
        let run = Run::of(json!({"type": "conference", "room": unfit, "flow": {"failed": "a"}}));
        assert_eq!((run.at(), run.outcome()), ("a".into(), json!("failed")), "{unfit}");
    }
}

#[test]
fn field_record() {
    assert!(!joined(&Run::of(json!({"type": "conference", "room": "r"}))).record);
    assert!(joined(&Run::of(json!({"type": "conference", "room": "r", "record": true}))).record);
    let setup = Setup { announcement: Some("You are recorded.".into()), ..Setup::default() };
    let mut run = Run::new(Run::body(json!({"type": "conference", "room": "r", "record": true})), setup);
    run.log.extend(run.machine.start(NOW, true));
    run.input(Input::Answered);
    assert_eq!(run.sources(), [speech("You are recorded.")]);
    let is_in = |run: &Run| run.log.iter().any(|effect| matches!(effect, Effect::Conference(_)));
    run.sound_ready();
    assert!(!is_in(&run), "he hears it before he is recorded");
    run.play_ended();
    assert!(is_in(&run));
}

#[test]
fn a_conference_that_is_recorded_already_is_joined_behind_the_announcement() {
    let body = || Run::body(json!({"type": "conference", "room": "r"}));
    let wishes = |run: &Run| -> Vec<bool> {
        let announced = |effect: &Effect| if let Effect::Conference(it) = effect { Some(it.announced) } else { None };
        run.log.iter().filter_map(announced).collect()
    };
    for words in [Some("You are recorded."), None] {
        let setup = Setup { announcement: words.map(Into::into), ..Setup::default() };
        let mut run = Run::new(body(), setup);
        run.log.extend(run.machine.start(NOW, true));
        run.input(Input::Answered);
        assert_eq!(wishes(&run), [false]);
        run.input(Input::ConferenceRecorded);
        if let Some(words) = words {
            assert_eq!(run.sources(), [speech(words)]);
            run.sound_ready();
            assert_eq!(wishes(&run), [false], "he hears it first");
            run.play_ended();
        }
        assert_eq!(wishes(&run), [false, true]);
        assert_eq!(run.at(), "s");
    }
}

#[test]
fn field_muted() {
    assert!(!joined(&Run::of(json!({"type": "conference", "room": "r"}))).muted);
    assert!(joined(&Run::of(json!({"type": "conference", "room": "r", "muted": true}))).muted);
}

#[test]
fn field_max() {
    assert_eq!(joined(&Run::of(json!({"type": "conference", "room": "r"}))).max, 50);
    assert_eq!(joined(&Run::of(json!({"type": "conference", "room": "r", "max": 3}))).max, 3);
}

#[test]
fn edge_ended() {
    let mut run = inside(json!({"ended": "a", "full": "b", "failed": "c"}));
    run.input(Input::ConferenceEnded(ConferenceEnd::Ended));
    assert_eq!((run.at(), run.outcome()), ("a".into(), json!("ended")));
}

#[test]
fn edge_full() {
    let mut run = inside(json!({"ended": "a", "full": "b", "failed": "c"}));
    run.input(Input::ConferenceEnded(ConferenceEnd::Full));
    assert_eq!((run.at(), run.outcome()), ("b".into(), json!("full")));
}

#[test]
fn edge_failed() {
    let mut run = inside(json!({"ended": "a", "full": "b", "failed": "c"}));
    run.input(Input::ConferenceEnded(ConferenceEnd::Failed));
    assert_eq!((run.at(), run.outcome()), ("c".into(), json!("failed")));
    assert_eq!(run.events("step.failed").len(), 1);
}

#[test]
fn edge_next_step() {
    for end in [ConferenceEnd::Ended, ConferenceEnd::Full, ConferenceEnd::Failed] {
        let mut run = inside(json!({}));
        run.input(Input::ConferenceEnded(end));
        assert_eq!(run.at(), "next");
    }
}
