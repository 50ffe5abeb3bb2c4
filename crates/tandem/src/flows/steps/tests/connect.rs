//! `connect`.
use super::*;
use crate::flows::machine::{ConnectStatus, Connection, Sounding, Strategy};

fn step(fields: Value) -> Value {
    let mut step = json!({"type": "connect", "number": "5263", "next_step": "next"});
    step.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    step
}

fn connection(run: &Run) -> Connection {
    run.find(|effect| if let Effect::Connect(connection) = effect { Some(connection.clone()) } else { None })
}

fn dialled(fields: Value) -> Connection {
    connection(&Run::of(step(fields)))
}

#[test]
fn field_number() {
    assert_eq!(dialled(json!({"number": 5263})).targets, ["5263"]);
    assert_eq!(dialled(json!({"number": "{{call.from}}"})).targets, ["+442071838750"]);
    let missing = Run::of(step(json!({"number": "{{nobody}}", "flow": {"failed": "a"}})));
    assert_eq!((missing.at(), missing.machine.variables().get("connect.status")), ("a".into(), Some("failed")));
}

#[test]
fn field_targets() {
    let run = Run::of(json!({"type": "dial", "targets": ["1001", 1002, "+442071838750"]}));
    assert_eq!(connection(&run).targets, ["1001", "1002", "+442071838750"]);
}

#[test]
fn field_caller_id() {
    assert_eq!(dialled(json!({"caller_id": "{{call.to}}"})).caller_id.as_deref(), Some("+917507161643"));
    assert_eq!(dialled(json!({})).caller_id, None);
    assert_eq!(dialled(json!({"caller_id": "{{nobody}}"})).caller_id, None, "it is replaced, the call is made");
}

#[test]
fn field_timeout() {
    assert_eq!(dialled(json!({})).timeout_ms, 30_000);
    assert_eq!(dialled(json!({"timeout": 4})).timeout_ms, 4_000);
}

#[test]
fn field_time_limit() {
    assert_eq!(dialled(json!({})).time_limit_ms, None);
    assert_eq!(dialled(json!({"time_limit": 60})).time_limit_ms, Some(60_000));
}

#[test]
fn field_strategy() {
    assert_eq!(dialled(json!({})).strategy, Strategy::Simultaneous);
    assert_eq!(dialled(json!({"strategy": "sequential"})).strategy, Strategy::Sequential);
}

#[test]
fn field_whisper() {
    let mut run = Run::of(step(json!({"whisper": "A call for {{call.to}}"})));
    assert_eq!(run.sources(), [speech("A call for +917507161643")]);
    assert!(
        run.all(|effect| matches!(effect, Effect::Connect(_)).then_some(())).is_empty(),
        "the whisper is ready before anybody answers"
    );
    run.sound_ready();
    assert!(connection(&run).whisper.is_some());
    let mut object = Run::of(step(json!({"whisper": {"url": "https://h/w.wav"}})));
    object.sound_failed();
    assert_eq!(connection(&object).whisper, None, "the connection matters more");
}

#[test]
fn field_accept_key() {
    assert_eq!(dialled(json!({})).accept_key, None);
    assert_eq!(dialled(json!({"accept_key": "1"})).accept_key, Some('1'));
}

#[test]
fn field_hold_music() {
    assert_eq!(dialled(json!({})).hold_music, None);
    for (word, sounding) in
        [("music", Sounding::HoldMusic), ("ringback", Sounding::Ringback), ("silence", Sounding::Silence)]
    {
        assert_eq!(dialled(json!({ "hold_music": word })).hold_music, Some(sounding));
    }
    let mut own = Run::of(step(json!({"hold_music": "https://h/m.mp3"})));
    own.sound_ready();
    assert!(matches!(connection(&own).hold_music, Some(Sounding::Sound(_))));
}

#[test]
fn field_record() {
    assert!(!dialled(json!({})).record);
    assert!(dialled(json!({"record": true})).record);
}

fn ended(status: ConnectStatus, fields: Value) -> Run {
    let mut run = Run::of(step(fields));
    run.input(Input::ConnectEnded { status });
    assert_eq!(run.machine.variables().get("connect.status"), Some(status.as_str()));
    run
}

#[test]
fn edge_next_step() {
    for status in [
        ConnectStatus::Completed,
        ConnectStatus::Busy,
        ConnectStatus::NoAnswer,
        ConnectStatus::Rejected,
        ConnectStatus::Failed,
    ] {
        let run = ended(status, json!({}));
        assert_eq!((run.at(), run.outcome()), ("next".into(), json!(status.as_str())));
    }
    let mut last = Run::of(json!({"type": "connect", "number": "5263"}));
    last.input(Input::ConnectEnded { status: ConnectStatus::Busy });
    assert_eq!(last.hung_up(), Some(Cause::Normal));
}

#[test]
fn edge_completed() {
    assert_eq!(ended(ConnectStatus::Completed, json!({"flow": {"completed": "a"}})).at(), "a");
}

#[test]
fn edge_busy() {
    assert_eq!(ended(ConnectStatus::Busy, json!({"flow": {"busy": "a"}})).at(), "a");
}

#[test]
fn edge_no_answer() {
    assert_eq!(ended(ConnectStatus::NoAnswer, json!({"flow": {"no_answer": "a"}})).at(), "a");
}

#[test]
fn edge_rejected() {
    assert_eq!(ended(ConnectStatus::Rejected, json!({"flow": {"rejected": "a"}})).at(), "a");
}

#[test]
fn edge_failed() {
    assert_eq!(ended(ConnectStatus::Failed, json!({"flow": {"failed": "a"}})).at(), "a");
}
