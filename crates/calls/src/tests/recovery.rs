//! After a crash: T8 of docs/contracts/flows.md as far as calls go.

use kernel::db::testing::TestDb;
use kernel::outbox::NewWebhook;
use kernel::{Clock, Shelf};
use media::record;
use serde_json::json;
use voice::leg::LegEvent;
use voice::runner::script::ScriptedLeg;

use super::stage::*;
use crate::*;

/// A second of 8 kHz stereo behind a header that still says nothing was written, as after a crash.
fn torn_file(seconds: usize) -> Vec<u8> {
    let mut bytes = record::header(8_000, 0).to_vec();
    bytes.resize(bytes.len() + seconds * 8_000 * 4 + 3, 1);
    bytes
}

struct Crashed {
    db: TestDb,
    call: String,
    ringing: String,
    recording: String,
    message: String,
    _far: Vec<ScriptedLeg>,
}

/// A server that is killed with an answered, recorded call and a ringing one.
async fn crash(db: TestDb) -> Crashed {
    let mut stage = Stage::on(db.clone()).await;
    stage.person("1001", 1).await;
    let mut new = stage.new_call("1001");
    new.run = Some("run_1".into());
    let hook = NewWebhook { url: "https://receiver.example/x".parse().unwrap(), method: "POST", events: Vec::new() };
    let (target, writes) = stage.kernel.outbox.run_target(&stage.org.id, "run_1", &hook, None).unwrap();
    new.publish = Some(target);
    new.writes = writes;
    let mut call = stage.calls.place(new).await.unwrap();
    call.record(RecordAction::Start);
    let far = stage.dialled().await.far;
    far.tell(answered());
    let started = until(&mut call, |event| matches!(event, CallEvent::Recording(_))).await;
    let CallEvent::Recording(RecordingEvent::Started { id: recording }) = started else { panic!("it records") };
    let ringing = stage.calls.place(stage.new_call("1001")).await.unwrap();
    let ring = stage.dialled().await.far;
    ring.tell(LegEvent::Ringing);
    let (speaking, mouth, message) = leaves_a_message(&mut stage).await;
    let crashed = Crashed {
        db,
        call: call.id.to_string(),
        ringing: ringing.id.to_string(),
        recording,
        message,
        _far: vec![far, ring, mouth],
    };
    // kill -9: nothing of the process runs on.
    std::mem::forget((call, ringing, speaking));
    crashed
}

/// A call of the same run that is taking a message, and the message's id.
async fn leaves_a_message(stage: &mut Stage) -> (Call, ScriptedLeg, String) {
    let new = NewCall { run: Some("run_1".into()), ..stage.new_call("1001") };
    let mut call = stage.calls.place(new).await.unwrap();
    let far = stage.dialled().await.far;
    far.tell(answered());
    assert_eq!(next(&mut call).await, CallEvent::Answered);
    call.voicemail(LeaveVoicemail { extension: "1001".into(), max_ms: 60_000, silence_ms: 5_000, beep: false });
    let more = tokio::time::timeout(std::time::Duration::from_millis(20), call.next()).await;
    assert!(more.is_err(), "the message goes on");
    stage.kernel.db.writer().flush().await.unwrap();
    let row = stage.kernel.db.one("select id from voicemail", vec![]).await.unwrap().unwrap();
    (call, far, row.text("id").unwrap())
}

#[tokio::test]
async fn every_interrupted_call_is_completed_once() {
    for db in TestDb::each().await {
        let crashed = crash(db).await;
        let (clock, hand) = Clock::fake(NOON + 10_000);
        let stage = Stage::with(crashed.db, clock, hand).await;
        let name = records::file_name(&crashed.recording);
        stage.kernel.files.put(Shelf::Recordings, &stage.org.id, &name, torn_file(2).into()).await.unwrap();
        let row = |call: &CallModel, now_ms: i64| {
            let sql = "insert into setting (org, name, value) values ($1, $2, $3)";
            vec![kernel::Write::new(sql, kernel::args![&call.org, &call.id, now_ms.to_string()])]
        };
        let message = records::file_name(&crashed.message);
        stage.kernel.files.put(Shelf::Voicemail, &stage.org.id, &message, torn_file(3).into()).await.unwrap();
        assert_eq!(stage.calls.recover(row).await.unwrap(), 3);
        assert_eq!(stage.calls.recover(row).await.unwrap(), 0, "a second time finds nothing");

        let kinds = stage.kinds(&crashed.call).await;
        assert_eq!(
            kinds,
            ["call.initiated", "call.answered", "recording.started", "call.completed", "recording.ready"]
        );
        let completed = stage.event(&crashed.call, "call.completed").await;
        assert_eq!(
            (&completed["data"]["cause"], &completed["data"]["ended_by"]),
            (&json!("server_restart"), &json!("system"))
        );
        assert_eq!(completed["data"]["talk_s"], 10.0);
        assert_eq!(stage.kinds(&crashed.ringing).await, ["call.initiated", "call.completed"]);
        let view = stage.view(&crashed.call).await;
        assert_eq!((view.state, view.cause.as_deref()), (CallState::Completed, Some("server_restart")));
        let kept = records::recording(&stage.kernel, &stage.org.id, &crashed.recording).await.unwrap().unwrap();
        assert_eq!((kept.state.as_str(), kept.seconds, kept.channels), ("ready", 2.0, 2));
        let file = stage.kernel.files.read(Shelf::Recordings, &stage.org.id, &name).await.unwrap();
        let bytes = file.bytes(1 << 20).await.unwrap();
        assert_eq!(bytes[..44], record::header(8_000, 16_000), "the header is whole again");
        assert_eq!(bytes.len(), 44 + 64_000);

        let ready = stage.event(&crashed.call, "recording.ready").await;
        assert_eq!(ready["call"]["state"], "completed", "the call was over when its file was");
        let left = stage.event(&crashed.message, "voicemail.left").await;
        assert_eq!((&left["call"]["state"], &left["data"]["seconds"]), (&json!("completed"), &json!(3.0)));

        let rows = stage.kernel.db.all("select name from setting where value <> ''", vec![]).await.unwrap();
        assert_eq!(rows.len(), 3, "the driver's rows came with the ends");
        let owed = "select d.kind from delivery d join webhook w on w.id = d.webhook where w.run = 'run_1' and d.key = $1 order by d.position";
        let owed = stage.kernel.db.all(owed, kernel::args![&crashed.call]).await.unwrap();
        let owed: Vec<_> = owed.iter().map(|row| row.text("kind").unwrap()).collect();
        assert_eq!(owed, kinds, "all of it goes to the run's own publish URL");
        let message = "select kind from delivery where key = $1";
        let message = stage.kernel.db.all(message, kernel::args![&crashed.message]).await.unwrap();
        assert_eq!(message.len(), 1, "and so does the message");
    }
}

#[tokio::test]
async fn what_an_interrupted_call_was_in_ends_before_it_once() {
    for db in TestDb::each().await {
        let (call, far) = {
            let mut stage = Stage::on(db.clone()).await;
            let (mut call, far) = up(&mut stage).await;
            let team = NewTeam {
                name: "Help".into(),
                number: "5263".into(),
                strategy: Some("longest_idle".into()),
                ..NewTeam::default()
            };
            create_team(&stage.kernel, &stage.org.id, team).await.unwrap();
            call.join_conference(JoinConference {
                room: "r".into(),
                max: 5,
                muted: false,
                record: false,
                announced: false,
            });
            until(&mut call, |event| *event == CallEvent::Conference(ConferenceEvent::Joined)).await;
            call.emit("stream.started", Some(("talk", "stream")), json!({"stream_sid": "stream_1"}));
            call.queue(Queueing { team: "5263".into(), timeout_ms: 60_000, max_waiting: 5, joined_ms: None });
            until(&mut call, |event| matches!(event, CallEvent::Queue(QueueEvent::Joined { .. }))).await;
            stage.kernel.db.writer().flush().await.unwrap();
            let id = call.id.to_string();
            std::mem::forget(call);
            (id, far)
        };
        let (clock, hand) = Clock::fake(NOON + 10_000);
        let stage = Stage::with(db, clock, hand).await;
        assert_eq!(stage.calls.recover(|_, _| Vec::new()).await.unwrap(), 1);
        assert_eq!(stage.calls.recover(|_, _| Vec::new()).await.unwrap(), 0);
        let kinds = stage.kinds(&call).await;
        let ends = ["queue.left", "conference.left", "stream.stopped", "call.completed"];
        assert_eq!(kinds[kinds.len() - ends.len()..], ends);
        assert_eq!(kinds.iter().filter(|kind| ends.contains(&kind.as_str())).count(), ends.len(), "{kinds:?}");
        let left = stage.event(&call, "queue.left").await["data"].clone();
        assert_eq!((&left["team"], &left["reason"], &left["position"]), (&json!("5263"), &json!("hangup"), &json!(1)));
        assert_eq!(left["waited_s"], 10.0);
        let conference = stage.event(&call, "conference.left").await;
        let joined = stage.event(&call, "conference.joined").await;
        assert_eq!((&conference["leg"], &conference["data"]["room"]), (&joined["leg"], &json!("r")));
        let stopped = stage.event(&call, "stream.stopped").await;
        assert_eq!((&stopped["step"]["id"], &stopped["data"]["stream_sid"]), (&json!("talk"), &json!("stream_1")));
        drop(far);
    }
}

#[tokio::test]
async fn the_time_that_the_server_was_down_is_no_talk() {
    for (last_alive_ms, over_ms) in [
        (NOON + 4_000, NOON + 4_000),
        // Older than its last event, as when the call began within the last moment.
        (NOON - 60_000, NOON),
        // A clock that was set back.
        (NOON + 7_200_000, NOON + 3_600_000),
    ] {
        let crashed = crash(TestDb::sqlite().await).await;
        let (clock, hand) = Clock::fake(NOON + 3_600_000);
        let stage = Stage::after(Some(last_alive_ms), crashed.db, clock, hand).await;
        assert_eq!(stage.calls.recover(|_, _| Vec::new()).await.unwrap(), 3);
        let completed = stage.event(&crashed.call, "call.completed").await;
        let talk_s = (over_ms - NOON) as f64 / 1000.0;
        assert_eq!((&completed["data"]["talk_s"], &completed["data"]["total_s"]), (&json!(talk_s), &json!(talk_s)));
        assert_eq!(completed["time"], kernel::time::rfc3339(NOON + 3_600_000), "told now");
        let view = stage.view(&crashed.call).await;
        assert_eq!((view.talk_s, view.ended_at), (talk_s, Some(kernel::time::rfc3339(over_ms))));
    }
}

#[tokio::test]
async fn signs_of_life_are_given_while_a_call_is_up() {
    let mut stage = Stage::new().await;
    stage.person("1001", 1).await;
    assert_eq!(stage.kernel.pulse.last_ms(), None);
    let _call = stage.calls.place(stage.new_call("1001")).await.unwrap();
    let _far = stage.dialled().await.far;
    for now_ms in [NOON + 5_000, NOON + 10_000] {
        stage.hand.advance(5_000);
        let given = async {
            while stage.kernel.pulse.last_ms() != Some(now_ms) {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(10), given).await.expect("a sign of life");
    }
}

#[tokio::test]
async fn calls_of_this_life_are_left_alone() {
    let mut stage = Stage::new().await;
    stage.person("1001", 1).await;
    let mut call = stage.calls.place(stage.new_call("1001")).await.unwrap();
    let far = stage.dialled().await.far;
    assert_eq!(stage.calls.recover(|_, _| Vec::new()).await.unwrap(), 0);
    far.tell(answered());
    assert_eq!(next(&mut call).await, CallEvent::Answered);
}

#[tokio::test]
async fn a_recording_without_a_file_has_failed() {
    let crashed = crash(TestDb::sqlite().await).await;
    let (clock, hand) = Clock::fake(NOON + 10_000);
    let stage = Stage::with(crashed.db, clock, hand).await;
    stage.calls.recover(|_, _| Vec::new()).await.unwrap();
    assert_eq!(stage.kinds(&crashed.call).await.last().map(String::as_str), Some("recording.failed"));
}

#[tokio::test]
async fn retention_forgets_files_and_rows() {
    use kernel::retention::Sweep as _;
    let crashed = crash(TestDb::sqlite().await).await;
    let (clock, hand) = Clock::fake(NOON + 10_000);
    let stage = Stage::with(crashed.db, clock, hand).await;
    let name = records::file_name(&crashed.recording);
    stage.kernel.files.put(Shelf::Recordings, &stage.org.id, &name, torn_file(1).into()).await.unwrap();
    let sweep = ShelfSweep::recordings(stage.kernel.clone());
    assert_eq!(sweep.sweep(&stage.org.id, NOON + 20_000).await.unwrap(), 0, "one that is being written stays");
    stage.calls.recover(|_, _| Vec::new()).await.unwrap();
    assert_eq!(sweep.sweep(&stage.org.id, NOON).await.unwrap(), 0, "young enough");
    assert_eq!(sweep.sweep("org_other", NOON + 20_000).await.unwrap(), 0);
    assert_eq!(sweep.sweep(&stage.org.id, NOON + 20_000).await.unwrap(), 1);
    assert!(stage.kernel.files.read(Shelf::Recordings, &stage.org.id, &name).await.is_err());
    assert_eq!(records::recording(&stage.kernel, &stage.org.id, &crashed.recording).await.unwrap(), None);
}

#[tokio::test]
async fn retention_forgets_calls_that_are_over_and_hold_no_recording() {
    let crashed = crash(TestDb::sqlite().await).await;
    let (clock, hand) = Clock::fake(NOON + 10_000);
    let stage = Stage::with(crashed.db, clock, hand).await;
    let sweeps = sweeps(&stage.kernel);
    let old_calls = sweeps.iter().find(|sweep| sweep.kind() == "calls").unwrap();
    let parties = async || {
        let rows = stage.kernel.db.all("select call from call_party", vec![]).await.unwrap();
        rows.iter().map(|row| row.text("call").unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(old_calls.sweep(&stage.org.id, NOON + 20_000).await.unwrap(), 0, "calls that are up stay");
    stage.calls.recover(|_, _| Vec::new()).await.unwrap();
    assert_eq!(old_calls.sweep(&stage.org.id, NOON).await.unwrap(), 0, "young enough");
    let is_there = async |call: &str| stage.calls.get(&stage.org.id, call).await.unwrap().is_some();
    assert!(old_calls.sweep(&stage.org.id, NOON + 20_000).await.unwrap() > 0);
    assert!(is_there(&crashed.call).await, "its recording is still kept");
    let (recordings, calls): (Vec<_>, Vec<_>) = sweeps.iter().partition(|sweep| sweep.kind() == "recordings");
    for sweep in recordings.iter().chain(&calls) {
        sweep.sweep(&stage.org.id, NOON + 20_000).await.unwrap();
    }
    assert!(!is_there(&crashed.call).await);
    assert_eq!(parties().await, Vec::<String>::new(), "who took part goes with the call");
}
