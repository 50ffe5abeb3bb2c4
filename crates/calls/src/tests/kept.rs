//! What is kept of calls: recordings, messages in boxes, and no secret in either.

use voice::cause::Cause;
use voice::leg::{LegEvent, Playable, RecordCommand};
use voice::runner::script::Asked;

use super::stage::*;
use crate::*;

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
    let page = records::messages(&stage.kernel, &stage.org.id, Some("1001"), None, 10).await.unwrap();
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
    let page = records::messages(&stage.kernel, &stage.org.id, None, None, 10).await.unwrap();
    assert_eq!(page.messages, []);
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
