//! Calls that a driver places: events, rows and what legs are asked, from the first ring to the end.

use media::play::Sound;
use serde_json::json;
use voice::cause::Cause;
use voice::leg::{LegEvent, Playable, RecordCommand, Signal};
use voice::runner::script::{Asked, ScriptedLeg};

use super::stage::*;
use crate::*;

/// A call to 1001 that is up.
async fn up(stage: &mut Stage) -> (Call, ScriptedLeg) {
    up_to(stage, "1001").await
}

/// A call to a new person that is up.
async fn up_to(stage: &mut Stage, extension: &str) -> (Call, ScriptedLeg) {
    stage.person(extension, 1).await;
    let mut call = stage.calls.place(stage.new_call(extension)).await.unwrap();
    let far = stage.dialled().await.far;
    far.tell(LegEvent::Ringing);
    far.tell(answered());
    assert_eq!(next(&mut call).await, CallEvent::Ringing);
    assert_eq!(next(&mut call).await, CallEvent::Answered);
    (call, far)
}

#[tokio::test]
async fn a_call_is_told_row_by_row_and_event_by_event() {
    let mut stage = Stage::new().await;
    let (mut call, far) = up(&mut stage).await;
    let id = call.id.clone();
    let view = stage.view(&id).await;
    assert_eq!((view.state, view.legs.len()), (CallState::Answered, 1));
    assert_eq!(view.legs[0].codec.as_deref(), Some("PCMA"));

    stage.hand.advance(2_500);
    far.tell(remote_end(Cause::Normal, None));
    assert_eq!(next(&mut call).await, CallEvent::Ended { cause: Cause::Normal, by: EndedBy::Customer });
    drop(call);
    assert_eq!(stage.kinds(&id).await, ["call.initiated", "call.ringing", "call.answered", "call.completed"]);
    let completed = stage.event(&id, "call.completed").await;
    assert_eq!(
        completed["data"],
        json!({"cause": "normal", "ended_by": "customer", "sip_code": null, "q850": null,
               "ring_s": 0.0, "talk_s": 2.5, "total_s": 2.5})
    );
    assert_eq!(completed["call"]["state"], "completed");
    let view = stage.view(&id).await;
    assert_eq!((view.state, view.cause.as_deref(), view.talk_s), (CallState::Completed, Some("normal"), 2.5));
    assert_eq!(stage.calls.live(), 0);
}

#[tokio::test]
async fn who_cannot_be_reached_is_one_completed_call() {
    let mut stage = Stage::new().await;
    stage.person("1001", 0).await;
    for (number, cause) in [("1001", Cause::Unreachable), ("+14155550100", Cause::NoRoute)] {
        let mut call = stage.calls.place(stage.new_call(number)).await.unwrap();
        let id = call.id.clone();
        assert_eq!(ended(&mut call).await, (cause, EndedBy::System));
        drop(call);
        assert_eq!(stage.kinds(&id).await, ["call.initiated", "call.completed"]);
    }
    let refused = [("12", NumberError::Unknown), ("112", NumberError::NotAllowed), ("x1", NumberError::Invalid)];
    for (number, error) in refused {
        let placed = stage.calls.place(stage.new_call(number)).await;
        assert!(matches!(placed, Err(CallError::Number(e)) if e == error), "{number}");
    }
    assert!(stage.nobody_dialled());
}

#[tokio::test]
async fn busy_says_so_with_the_sip_status() {
    let mut stage = Stage::new().await;
    stage.person("1001", 1).await;
    let mut call = stage.calls.place(stage.new_call("1001")).await.unwrap();
    stage.dialled().await.far.tell(remote_end(Cause::Busy, Some(486)));
    assert_eq!(ended(&mut call).await, (Cause::Busy, EndedBy::Customer));
    let id = call.id.clone();
    drop(call);
    assert_eq!(stage.event(&id, "call.completed").await["data"]["sip_code"], 486);
}

#[tokio::test]
async fn nobody_answers_within_the_ring_time() {
    let mut stage = Stage::new().await;
    stage.person("1001", 2).await;
    let mut call = stage.calls.place(NewCall { timeout_ms: 5_000, ..stage.new_call("1001") }).await.unwrap();
    let (mut one, mut two) = (stage.dialled().await.far, stage.dialled().await.far);
    one.tell(LegEvent::Ringing);
    two.tell(LegEvent::Ringing);
    assert_eq!(next(&mut call).await, CallEvent::Ringing);
    stage.hand.advance(5_000);
    assert_eq!(ended(&mut call).await, (Cause::NoAnswer, EndedBy::System));
    asked_signal(&mut one, Signal::Hangup(Cause::NoAnswer)).await;
    asked_signal(&mut two, Signal::Hangup(Cause::NoAnswer)).await;
}

#[tokio::test]
async fn all_phones_of_a_person_ring_and_the_first_to_answer_has_the_call() {
    let mut stage = Stage::new().await;
    stage.person("1001", 2).await;
    let mut call = stage.calls.place(stage.new_call("1001")).await.unwrap();
    let (mut one, two) = (stage.dialled().await.far, stage.dialled().await.far);
    two.tell(answered());
    assert_eq!(next(&mut call).await, CallEvent::Answered);
    asked_signal(&mut one, Signal::Hangup(Cause::Canceled)).await;
    one.tell(local_end(Cause::Canceled));
    two.tell(LegEvent::Dtmf { symbol: '5', duration_ms: 90 });
    assert_eq!(next(&mut call).await, CallEvent::Dtmf { symbol: '5', duration_ms: 90 });
    assert_eq!(call.model().legs.iter().filter(|leg| leg.state == LegState::Answered).count(), 1);
}

#[tokio::test]
async fn a_hang_up_by_api_is_canceled_before_the_answer_and_normal_after_it() {
    let mut stage = Stage::new().await;
    stage.person("1001", 1).await;
    let mut call = stage.calls.place(stage.new_call("1001")).await.unwrap();
    let mut far = stage.dialled().await.far;
    assert!(matches!(stage.calls.hangup("org_other", &call.id).await, Err(CallError::NotFound)));
    stage.calls.hangup(&stage.org.id, &call.id).await.unwrap();
    assert_eq!(next(&mut call).await, CallEvent::HangupRequested);
    let waits = tokio::time::timeout(std::time::Duration::from_millis(20), call.next()).await;
    assert!(waits.is_err(), "call.completed waits for the CANCEL to finish");
    asked_signal(&mut far, Signal::Hangup(Cause::Canceled)).await;
    far.tell(remote_end(Cause::Canceled, Some(487)));
    assert_eq!(ended(&mut call).await, (Cause::Canceled, EndedBy::Api));
    stage.calls.hangup(&stage.org.id, &call.id).await.unwrap();

    let mut call = stage.calls.place(stage.new_call("1001")).await.unwrap();
    let far = stage.dialled().await.far;
    far.tell(answered());
    assert_eq!(next(&mut call).await, CallEvent::Answered);
    stage.calls.hangup(&stage.org.id, &call.id).await.unwrap();
    assert_eq!(next(&mut call).await, CallEvent::HangupRequested);
    far.tell(local_end(Cause::Normal));
    assert_eq!(ended(&mut call).await, (Cause::Normal, EndedBy::Api));
}

#[tokio::test]
async fn what_a_stop_of_the_server_ends_says_so() {
    let mut stage = Stage::new().await;
    let (mut talking, talker) = up(&mut stage).await;
    let mut ringing = stage.calls.place(stage.new_call("1001")).await.unwrap();
    let mut rung = stage.dialled().await.far;
    rung.tell(LegEvent::Ringing);
    assert_eq!(next(&mut ringing).await, CallEvent::Ringing);
    stage.calls.end_all();
    for (call, far) in [(&mut talking, &talker), (&mut ringing, &rung)] {
        let ends = ended(call);
        tokio::pin!(ends);
        let waits = tokio::time::timeout(std::time::Duration::from_millis(20), &mut ends).await;
        assert!(waits.is_err(), "call.completed waits for the leg");
        far.tell(local_end(Cause::ServerRestart));
        assert_eq!(within(ends).await, (Cause::ServerRestart, EndedBy::System));
    }
    asked_signal(&mut rung, Signal::Hangup(Cause::Canceled)).await;
    let completed = stage.event(&talking.id, "call.completed").await;
    assert_eq!(
        (&completed["data"]["cause"], &completed["data"]["ended_by"]),
        (&json!("server_restart"), &json!("system"))
    );
    let mut late = stage.calls.place(stage.new_call("1001")).await.unwrap();
    stage.dialled().await.far.tell(local_end(Cause::Canceled));
    assert_eq!(ended(&mut late).await, (Cause::ServerRestart, EndedBy::System), "who slipped in goes too");
}

#[tokio::test]
async fn a_call_whose_asker_left_at_any_await_is_placed_and_ended() {
    let mut stage = Stage::new().await;
    stage.person("1001", 1).await;
    let mut placed = None;
    for polls in 1..=64 {
        let new = stage.new_call("1001");
        let id = new.id.clone();
        placed = polled(stage.calls.place(new), polls).await.map(drop);
        // The leg does its duty as soon as there is one.
        stage.dialled().await.far.tell(local_end(Cause::FlowError));
        stage.quiet().await;
        assert_eq!(stage.kinds(&id).await, ["call.initiated", "call.completed"], "left after {polls} polls");
        assert_eq!(stage.view(&id).await.state, CallState::Completed);
        if placed.is_some() {
            break;
        }
    }
    assert!(placed.is_some(), "the last asker stayed to the end");
}

/// Polls a future so many times, each time when it was woken, and drops it.
async fn polled<T>(future: impl Future<Output = T>, polls: usize) -> Option<T> {
    let mut future = std::pin::pin!(future);
    let mut left = polls;
    std::future::poll_fn(|cx| {
        if left == 0 {
            return std::task::Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(cx).map(Some)
    })
    .await
}

#[tokio::test]
async fn a_leg_that_never_tells_its_end_does_not_keep_the_call() {
    let mut stage = Stage::new().await;
    let (mut call, _far) = up(&mut stage).await;
    call.hangup(Cause::Normal, EndedBy::System);
    stage.hand.advance(40_000);
    assert_eq!(ended(&mut call).await, (Cause::Normal, EndedBy::System));
}

#[tokio::test]
async fn a_call_has_a_time_limit() {
    let mut stage = Stage::new().await;
    stage.person("1001", 1).await;
    let mut call = stage.calls.place(NewCall { time_limit_ms: 60_000, ..stage.new_call("1001") }).await.unwrap();
    let mut far = stage.dialled().await.far;
    far.tell(answered());
    assert_eq!(next(&mut call).await, CallEvent::Answered);
    stage.hand.advance(60_000);
    let end = tokio::join!(ended(&mut call), async {
        asked_signal(&mut far, Signal::Hangup(Cause::TimeLimit)).await;
        far.tell(local_end(Cause::TimeLimit));
    });
    assert_eq!(end.0, (Cause::TimeLimit, EndedBy::System));
}

#[tokio::test]
async fn a_dropped_call_is_ended_for_its_driver() {
    let mut stage = Stage::new().await;
    let (call, mut far) = up(&mut stage).await;
    let id = call.id.clone();
    drop(call);
    asked_signal(&mut far, Signal::Hangup(Cause::FlowError)).await;
    far.tell(local_end(Cause::FlowError));
    stage.quiet().await;
    assert_eq!(stage.event(&id, "call.completed").await["data"]["cause"], "flow_error");
}

#[tokio::test]
async fn limits_refuse_and_leave_no_trace() {
    let stage = Stage::new().await;
    stage.person("1001", 1).await;
    let limit = stage.kernel.config.limits.calls_per_second;
    let mut kept = Vec::new();
    let refused = loop {
        match stage.calls.place(stage.new_call("1001")).await {
            Ok(call) => kept.push(call),
            Err(error) => break error,
        }
        assert!(kept.len() <= limit as usize);
    };
    assert!(matches!(refused, CallError::Limit(wait) if wait.seconds >= 1));
    assert_eq!(stage.calls.live(), kept.len());
    stage.calls.drain();
    assert!(matches!(stage.calls.place(stage.new_call("1001")).await, Err(CallError::Draining)));
}

#[tokio::test]
async fn rows_of_the_driver_are_committed_with_the_call() {
    let mut stage = Stage::new().await;
    stage.person("1001", 1).await;
    let row = |name: &str| {
        kernel::Write::new("insert into setting (org, name, value) values ($1, $2, 'x')", kernel::args!["org_x", name])
    };
    let mut new = stage.new_call("1001");
    new.writes = vec![row("first")];
    let mut call = stage.calls.place(new).await.unwrap();
    call.at_end(move |end, now_ms| {
        assert_eq!((end.cause, now_ms), (Cause::Rejected, NOON));
        vec![row("last")]
    });
    call.emit("step.started", Some(("1", "play")), json!({"n": 1}));
    stage.dialled().await.far.tell(remote_end(Cause::Rejected, Some(603)));
    ended(&mut call).await;
    let started = stage.event(&call.id, "step.started").await;
    assert_eq!((&started["step"], &started["data"]), (&json!({"id": "1", "type": "play"}), &json!({"n": 1})));
    let rows = stage.kernel.db.all("select name from setting where org = 'org_x' order by name", vec![]).await.unwrap();
    assert_eq!(rows.len(), 2);
}

#[tokio::test]
async fn connect_plays_ringback_then_bridges_then_gives_the_customer_back() {
    let mut stage = Stage::new().await;
    let (mut call, mut customer) = up(&mut stage).await;
    stage.person("1002", 1).await;
    call.at_step(Some(("4", "connect")));
    call.connect(Connect::to("1002"));
    let (event, target) = tokio::join!(next(&mut call), async {
        let dialled = stage.dialled().await;
        assert_eq!(dialled.order.from.number, "1001", "inside, the customer's number is shown");
        assert!(dialled.order.near.is_some());
        dialled.far.tell(LegEvent::Ringing);
        dialled.far
    });
    assert_eq!(event, CallEvent::Connect(ConnectEvent::Ringing { target: "1002".into() }));
    asked(&mut customer, |asked| matches!(asked, Asked::Play(_, Playable::Ringback, mode) if mode.loops == 0)).await;
    target.tell(answered());
    let answered = next(&mut call).await;
    assert_eq!(answered, CallEvent::Connect(ConnectEvent::Answered { target: "1002".into() }));
    let done = customer.asked();
    assert!(matches!(&done[..], [Asked::StopPlay, Asked::Bridge(id)] if id == target.id()), "{done:?}");

    stage.hand.advance(3_000);
    target.tell(remote_end(Cause::Normal, None));
    let over = ConnectEvent::Ended { status: ConnectStatus::Completed, cause: Cause::Normal };
    assert_eq!(next(&mut call).await, CallEvent::Connect(over));
    assert!(matches!(customer.asked()[..], [Asked::Unbridge, Asked::StopPlay]));
    let last = stage.event(&call.id, "connect.ended").await;
    assert_eq!(last["data"], json!({"status": "completed", "cause": "normal", "talk_s": 3.0}));
    assert_eq!(last["step"], json!({"id": "4", "type": "connect"}));
    assert_eq!(stage.event(&call.id, "connect.answered").await["leg"]["role"], "target");
}

#[tokio::test]
async fn the_customer_hangs_up_while_a_target_rings() {
    let mut stage = Stage::new().await;
    let (mut call, customer) = up(&mut stage).await;
    stage.person("1002", 1).await;
    call.connect(Connect::to("1002"));
    let (_, mut target) = tokio::join!(
        async {
            let waits = tokio::time::timeout(std::time::Duration::from_millis(50), call.next()).await;
            assert!(waits.is_err());
        },
        async { stage.dialled().await.far }
    );
    customer.tell(remote_end(Cause::Normal, None));
    assert_eq!(ended(&mut call).await, (Cause::Normal, EndedBy::Customer));
    asked_signal(&mut target, Signal::Hangup(Cause::Canceled)).await;
    let kinds = stage.kinds(&call.id).await;
    assert_eq!(kinds[3..], ["connect.ended", "call.completed"]);
    assert_eq!(stage.event(&call.id, "connect.ended").await["data"]["status"], "canceled");
}

#[tokio::test]
async fn whisper_accept_key_music_and_recording_of_a_connect() {
    let mut stage = Stage::new().await;
    let (mut call, mut customer) = up(&mut stage).await;
    stage.person("1002", 1).await;
    let sound = Sound { rate: 8_000, pcm: vec![0i16; 160].into() };
    call.connect(Connect {
        whisper: Whisper::of(vec![sound.clone()]),
        accept_key: Some('1'),
        hold_music: Some(Playable::HoldMusic),
        record: true,
        ..Connect::to("1002")
    });
    let (_, mut target) = tokio::join!(next(&mut call), async {
        let far = stage.dialled().await.far;
        far.tell(LegEvent::Ringing);
        far
    });
    asked(&mut customer, |asked| matches!(asked, Asked::Play(_, Playable::HoldMusic, _))).await;
    target.tell(answered());
    let play = tokio::select! {
        event = call.next() => panic!("nothing is bridged before the key: {event:?}"),
        Asked::Play(play, ..) = asked(&mut target, |asked| matches!(asked, Asked::Play(_, Playable::Sound(_), _))) => play,
    };
    target.tell(LegEvent::PlayEnded { play });
    target.tell(LegEvent::Dtmf { symbol: '2', duration_ms: 80 });
    target.tell(LegEvent::Dtmf { symbol: '1', duration_ms: 80 });
    let event = until(&mut call, |event| matches!(event, CallEvent::Connect(_))).await;
    assert_eq!(event, CallEvent::Connect(ConnectEvent::Answered { target: "1002".into() }));
    let CallEvent::Recording(RecordingEvent::Started { id }) = next(&mut call).await else { panic!("it records") };
    asked(&mut customer, |asked| matches!(asked, Asked::Record(RecordCommand::Start { .. }))).await;
    target.tell(remote_end(Cause::Normal, None));
    until(&mut call, |event| matches!(event, CallEvent::Connect(ConnectEvent::Ended { .. }))).await;
    asked(&mut customer, |asked| matches!(asked, Asked::Record(RecordCommand::Stop))).await;
    customer.tell(ready(&id, 4.5));
    let ready = next(&mut call).await;
    assert_eq!(ready, CallEvent::Recording(RecordingEvent::Ready { id: id.clone(), seconds: 4.5 }));
    let data = &stage.event(&call.id, "recording.ready").await["data"];
    let path = records::recording_path(&id);
    assert!(data["url"].as_str().unwrap().contains(&format!("{path}?expires=")), "{data}");
    let kept = records::recordings_of_call(&stage.kernel, &stage.org.id, &call.id).await.unwrap();
    assert_eq!((kept.len(), kept[0].state.as_str(), kept[0].seconds), (1, "ready", 4.5));
    assert_eq!(records::recordings_of_call(&stage.kernel, "org_other", &call.id).await.unwrap(), []);
}

fn ready(id: &str, seconds: f64) -> LegEvent {
    LegEvent::RecordingReady { id: id.into(), seconds, channels: 2, sha256: "00".repeat(32), path: "/nowhere".into() }
}

#[tokio::test]
async fn a_recording_may_become_ready_after_the_call_and_its_driver_are_gone() {
    let mut stage = Stage::new().await;
    stage.person("1001", 1).await;
    let mut call = stage.calls.place(stage.new_call("1001")).await.unwrap();
    call.record(RecordAction::Start);
    let far = stage.dialled().await.far;
    far.tell(answered());
    assert_eq!(next(&mut call).await, CallEvent::Answered);
    let CallEvent::Recording(RecordingEvent::Started { id }) = next(&mut call).await else { panic!("it records") };
    far.tell(remote_end(Cause::Normal, None));
    ended(&mut call).await;
    let key = call.id.clone();
    drop(call);
    far.tell(ready(&id, 1.0));
    within(async {
        while !stage.kinds(&key).await.contains(&"recording.ready".to_owned()) {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    })
    .await;
    let kinds = stage.kinds(&key).await;
    assert_eq!(kinds[kinds.len() - 2..], ["call.completed", "recording.ready"]);
}

#[tokio::test]
async fn secrets_pause_the_recording_and_leave_no_digit_in_events() {
    let mut stage = Stage::new().await;
    let (mut call, mut far) = up(&mut stage).await;
    call.record(RecordAction::Start);
    call.sensitive(true);
    far.tell(LegEvent::Dtmf { symbol: '7', duration_ms: 80 });
    until(&mut call, |event| matches!(event, CallEvent::Dtmf { symbol: '7', .. })).await;
    call.sensitive(false);
    call.record(RecordAction::Pause);
    call.sensitive(true);
    call.sensitive(false);
    call.record(RecordAction::Resume);
    call.record(RecordAction::Stop);
    let commands: Vec<String> = far
        .asked()
        .iter()
        .filter_map(|asked| match asked {
            Asked::Record(command) => Some(format!("{command:?}")),
            _ => None,
        })
        .map(|text| text.split(' ').next().unwrap().to_owned())
        .collect();
    assert_eq!(commands, ["Start", "Pause", "Resume", "Pause", "Resume", "Stop"]);
    let waits = tokio::time::timeout(std::time::Duration::from_millis(5), async {
        loop {
            call.next().await;
        }
    })
    .await;
    assert!(waits.is_err());
    assert_eq!(stage.event(&call.id, "dtmf").await["data"]["digit"], "redacted");
    drop(call);
}

#[tokio::test]
async fn a_message_is_left_in_a_box_fetched_and_deleted() {
    let mut stage = Stage::new().await;
    let (mut call, mut far) = up(&mut stage).await;
    let wish = LeaveVoicemail { extension: "1001".into(), max_ms: 60_000, silence_ms: 5_000, beep: true };
    call.voicemail(wish.clone());
    let Asked::Play(beep, ..) = asked(&mut far, |asked| matches!(asked, Asked::Play(_, Playable::Beep, _))).await
    else {
        panic!("a beep")
    };
    far.tell(LegEvent::PlayEnded { play: beep });
    far.tell(LegEvent::Voice);
    far.tell(LegEvent::Silence);
    let (event, id) = tokio::join!(next(&mut call), async {
        let start = asked(&mut far, |asked| matches!(asked, Asked::Record(RecordCommand::Start { .. }))).await;
        let Asked::Record(RecordCommand::Start { id, .. }) = start else { panic!("it records") };
        far.tell(ready(&id, 3.0));
        id
    });
    assert_eq!(event, CallEvent::Voicemail(VoicemailEvent::Left { id: id.to_string(), seconds: 3.0 }));
    assert_eq!(stage.kinds(&id).await, ["voicemail.left"]);
    assert_eq!(stage.event(&id, "voicemail.left").await["data"]["from"], "1001", "who spoke, not who dialled");
    let page = records::messages(&stage.kernel, &stage.org.id, "1001", None, 10).await.unwrap();
    assert_eq!((page.messages.len(), page.messages[0].extension.as_str()), (1, "1001"));
    records::message_heard(&stage.kernel, &stage.org.id, &id).await.unwrap();
    let heard = records::message(&stage.kernel, &stage.org.id, &id).await.unwrap().unwrap();
    assert!(heard.heard_at.is_some());
    assert!(!records::delete_message(&stage.kernel, "org_other", &id).await.unwrap());
    assert!(records::delete_message(&stage.kernel, &stage.org.id, &id).await.unwrap());
    assert_eq!(records::message(&stage.kernel, &stage.org.id, &id).await.unwrap(), None);

    // Nothing said: nothing left, also when the caller just hangs up.
    call.voicemail(LeaveVoicemail { beep: false, ..wish });
    far.tell(remote_end(Cause::Normal, None));
    let start = asked(&mut far, |asked| matches!(asked, Asked::Record(RecordCommand::Start { .. }))).await;
    let Asked::Record(RecordCommand::Start { id, .. }) = start else { panic!("it records") };
    ended(&mut call).await;
    drop(call);
    far.tell(ready(&id, 0.4));
    stage.quiet().await;
    let page = records::messages(&stage.kernel, &stage.org.id, "1001", None, 10).await.unwrap();
    assert_eq!(page.messages, []);
}

#[tokio::test]
async fn a_phone_hands_the_customer_on() {
    let mut stage = Stage::new().await;
    let (mut call, _customer) = up(&mut stage).await;
    stage.person("1002", 1).await;
    stage.person("1003", 1).await;
    call.connect(Connect::to("1002"));
    let (_, mut target) =
        tokio::join!(until(&mut call, |e| matches!(e, CallEvent::Connect(ConnectEvent::Answered { .. }))), async {
            let far = stage.dialled().await.far;
            far.tell(answered());
            far
        });
    target.tell(LegEvent::TransferRequested { to: "sip:1003@127.0.0.1".into(), replaces: None });
    let (event, third) = tokio::join!(until(&mut call, |e| matches!(e, CallEvent::Connect(_))), async {
        let far = stage.dialled().await.far;
        far.tell(answered());
        far
    });
    assert_eq!(event, CallEvent::Connect(ConnectEvent::Answered { target: "1003".into() }));
    let done = target.asked();
    let agreed = done.iter().any(|asked| matches!(asked, Asked::Signal(Signal::AcceptTransfer(true))));
    assert!(agreed, "{done:?}");
    target.tell(remote_end(Cause::Normal, None));
    third.tell(remote_end(Cause::Normal, None));
    let over = ConnectEvent::Ended { status: ConnectStatus::Completed, cause: Cause::Normal };
    assert_eq!(until(&mut call, |e| matches!(e, CallEvent::Connect(_))).await, CallEvent::Connect(over));
    // Nobody to hand over: declined.
    let far = _customer;
    far.tell(LegEvent::TransferRequested { to: "sip:1003@127.0.0.1".into(), replaces: None });
    let mut far = far;
    tokio::select! {
        event = call.next() => panic!("{event:?}"),
        () = asked_signal(&mut far, Signal::AcceptTransfer(false)) => {}
    }
}

/// Connects the call to 1002, who answers, and lets him hang up.
async fn talks_with_1002(stage: &mut Stage, call: &mut Call, connect: Connect) {
    call.connect(connect);
    let answered_by = |e: &CallEvent| matches!(e, CallEvent::Connect(ConnectEvent::Answered { .. }));
    let (_, target) = tokio::join!(until(call, answered_by), async {
        let far = stage.dialled().await.far;
        far.tell(answered());
        far
    });
    target.tell(remote_end(Cause::Normal, None));
    until(call, |e| matches!(e, CallEvent::Connect(ConnectEvent::Ended { .. }))).await;
}

fn recordings(asked: Vec<Asked>) -> Vec<&'static str> {
    asked
        .iter()
        .filter_map(|asked| match asked {
            Asked::Record(RecordCommand::Start { .. }) => Some("start"),
            Asked::Record(RecordCommand::Stop) => Some("stop"),
            Asked::Record(RecordCommand::Pause) => Some("pause"),
            Asked::Record(RecordCommand::Resume) => Some("resume"),
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn a_connect_ends_only_the_recording_that_it_began() {
    let mut stage = Stage::new().await;
    let (mut call, mut customer) = up(&mut stage).await;
    stage.person("1002", 1).await;
    let recorded = Connect { record: true, ..Connect::to("1002") };
    talks_with_1002(&mut stage, &mut call, recorded.clone()).await;
    assert_eq!(recordings(customer.asked()), ["start", "stop"], "its own");
    call.record(RecordAction::Start);
    talks_with_1002(&mut stage, &mut call, recorded.clone()).await;
    assert_eq!(recordings(customer.asked()), ["start"], "the call's goes on");
    // Nobody answers: nothing was begun, nothing ends.
    call.connect(Connect { targets: vec!["1009".into()], ..recorded });
    until(&mut call, |e| matches!(e, CallEvent::Connect(ConnectEvent::Ended { .. }))).await;
    assert_eq!(recordings(customer.asked()), Vec::<&str>::new());
}

#[tokio::test]
async fn a_whisper_may_follow_the_connect_and_have_parts() {
    let mut stage = Stage::new().await;
    let (mut call, mut customer) = up(&mut stage).await;
    stage.person("1002", 1).await;
    call.connect(Connect { whisper: Whisper::Coming, ..Connect::to("1002") });
    let (_, mut target) = tokio::join!(next(&mut call), async {
        let far = stage.dialled().await.far;
        far.tell(LegEvent::Ringing);
        far
    });
    asked(&mut customer, |asked| matches!(asked, Asked::Play(_, Playable::Ringback, _))).await;
    call.hold_music(Playable::HoldMusic);
    asked(&mut customer, |asked| matches!(asked, Asked::Play(_, Playable::HoldMusic, _))).await;
    target.tell(answered());
    assert!(tokio::time::timeout(std::time::Duration::from_millis(20), call.next()).await.is_err());
    call.whisper((1..3).map(|n| Sound { rate: 8_000, pcm: vec![n; 160].into() }).collect());
    for n in 1..3 {
        let part = |asked: &Asked| matches!(asked, Asked::Play(_, Playable::Sound(sound), _) if sound.pcm[0] == n);
        let Asked::Play(play, ..) = asked(&mut target, part).await else { panic!("a part is played") };
        target.tell(LegEvent::PlayEnded { play });
        if n == 1 {
            assert!(tokio::time::timeout(std::time::Duration::from_millis(20), call.next()).await.is_err());
        }
    }
    let event = next(&mut call).await;
    assert_eq!(event, CallEvent::Connect(ConnectEvent::Answered { target: "1002".into() }));
    call.hold_music(Playable::HoldMusic);
    let played = customer.asked().into_iter().any(|asked| matches!(asked, Asked::Play(..)));
    assert!(!played, "who is connected hears no music");
}

#[tokio::test]
async fn a_transfer_tells_how_it_went() {
    let mut stage = Stage::new().await;
    stage.person("1002", 1).await;
    for (to, wanted) in
        [("1002", ["transfer.started", "transfer.completed"]), ("1009", ["transfer.started", "transfer.failed"])]
    {
        let (mut call, mut customer) = up_to(&mut stage, &format!("2{to}")).await;
        call.transfer(Connect::to(to));
        let over = async {
            if to == "1002" {
                let far = stage.dialled().await.far;
                far.tell(answered());
                far.tell(remote_end(Cause::Normal, None));
            }
            asked(&mut customer, |asked| matches!(asked, Asked::Signal(Signal::Hangup(_)))).await;
            customer.tell(local_end(Cause::Normal));
        };
        tokio::join!(ended(&mut call), over);
        let kinds = stage.kinds(&call.id).await;
        let told: Vec<&String> = kinds.iter().filter(|kind| kind.starts_with("transfer.")).collect();
        assert_eq!(told, wanted);
        assert_eq!(stage.event(&call.id, "transfer.started").await["data"]["to"], to);
    }
}

#[tokio::test]
async fn a_carrier_s_wish_to_transfer_is_declined() {
    let mut stage = Stage::new().await;
    stage.trunk("+442071838751").await;
    let (mut call, _agent) = up(&mut stage).await;
    call.connect(Connect::to("+442071838750"));
    let (_, mut outside) =
        tokio::join!(until(&mut call, |e| matches!(e, CallEvent::Connect(ConnectEvent::Answered { .. }))), async {
            let far = stage.dialled().await.far;
            far.tell(answered());
            far
        });
    outside.tell(LegEvent::TransferRequested { to: "sip:+4490012345678@127.0.0.1".into(), replaces: None });
    tokio::select! {
        event = call.next() => panic!("{event:?}"),
        () = asked_signal(&mut outside, Signal::AcceptTransfer(false)) => {}
    }
}
