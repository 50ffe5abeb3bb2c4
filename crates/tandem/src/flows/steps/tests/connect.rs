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

/// What the answering party hears, once the call knows.
fn whispers(run: &Run) -> Vec<Vec<u64>> {
    run.all(|effect| if let Effect::Whisper(sounds) = effect { Some(sounds.clone()) } else { None })
}

#[test]
fn field_whisper() {
    let mut run = Run::of(step(json!({"whisper": "A call for {{call.to}}"})));
    assert_eq!(run.sources(), [speech("A call for +917507161643")]);
    assert!(connection(&run).whisper, "the phones ring before the whisper is ready");
    assert_eq!(whispers(&run), Vec::<Vec<u64>>::new());
    run.sound_ready();
    assert_eq!(whispers(&run).iter().map(Vec::len).collect::<Vec<_>>(), [1]);
    assert!(!dialled(json!({})).whisper);
    let mut object = Run::of(step(json!({"whisper": {"url": "https://h/w.wav"}})));
    object.sound_failed();
    assert_eq!(whispers(&object), [Vec::<u64>::new()], "the connection matters more");
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
    assert_eq!(connection(&own).hold_music, None, "nobody waits for the music: a ringing tone is heard");
    let ready = own.sound_ready();
    assert!(matches!(ready[..], [Effect::HoldMusic(Sounding::Sound(_))]), "{ready:?}");
    let mut without = Run::of(step(json!({"hold_music": "https://h/m.mp3"})));
    assert_eq!(without.sound_failed(), []);
}

#[test]
fn field_record() {
    assert!(!dialled(json!({})).record);
    assert!(dialled(json!({"record": true})).record);
}

/// A flow that records, by an organisation that says so.
fn announced(record: bool, step: Value) -> Run {
    let mut body = Run::body(step);
    body["record"] = json!(record);
    let mut run = Run::new(body, Setup { announcement: Some("You are recorded.".into()), ..Setup::default() });
    run.log.extend(run.machine.start(NOW, true));
    run.input(Input::Answered);
    run
}

#[test]
fn both_sides_of_a_recorded_connection_are_told() {
    let words = || speech("You are recorded.");
    let mut run = announced(false, step(json!({"record": true, "whisper": "A call"})));
    assert_eq!(run.sources(), [words(), words(), speech("A call")], "the customer, then the agent");
    let asked = run.all(|effect| if let Effect::Prepare { sound, .. } = effect { Some(*sound) } else { None });
    let dialling = |run: &Run| run.all(|effect| matches!(effect, Effect::Connect(_)).then_some(())).len();
    for sound in &asked {
        run.input(Input::SoundReady { sound: *sound });
    }
    assert_eq!((dialling(&run), run.plays()), (0, 1), "the customer is told before anybody rings");
    run.play_ended();
    assert_eq!((dialling(&run), whispers(&run)), (1, vec![asked[1..].to_vec()]));

    // A call that is recorded already has told the customer.
    let mut run = announced(true, step(json!({})));
    run.hear();
    assert_eq!(run.at(), "s");
    assert_eq!(dialling(&run), 1);
    run.sound_ready();
    assert_eq!((run.sources().len(), run.plays(), whispers(&run).concat().len()), (2, 1, 1));

    let plain = announced(false, step(json!({})));
    assert_eq!((plain.sources(), connection(&plain).whisper), (Vec::new(), false));
    let handed = announced(true, json!({"type": "transfer", "to": 5263}));
    let mut handed = handed;
    handed.hear();
    assert_eq!((handed.at(), handed.sources().len()), ("s".into(), 2));
    handed.sound_ready();
    let whisper =
        handed.find(|effect| if let Effect::Transfer { whisper, .. } = effect { Some(*whisper) } else { None });
    assert!(whisper.is_some(), "who takes over a recorded call hears that it is");
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
