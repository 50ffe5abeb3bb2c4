//! Calls in conferences: who hears whom is the media's business; here it is who is in, who is muted, who keeps the recording.

use serde_json::json;
use voice::cause::Cause;
use voice::leg::{Part, Playable, RecordCommand};
use voice::runner::script::{Asked, ScriptedLeg};

use super::stage::*;
use crate::*;

fn wish(room: &str) -> JoinConference {
    JoinConference { room: room.into(), max: 3, muted: false, record: false, announced: false }
}

/// A call of a new person that has come into a room.
async fn member(stage: &mut Stage, extension: &str, wish: JoinConference) -> (Call, ScriptedLeg) {
    let (mut call, far) = up_to(stage, extension).await;
    call.join_conference(wish);
    assert_eq!(next(&mut call).await, CallEvent::Conference(ConferenceEvent::Joined));
    (call, far)
}

fn joins(far: &mut ScriptedLeg) -> Vec<Part> {
    let parts = far.asked().into_iter();
    parts.filter_map(|asked| if let Asked::JoinRoom(_, part) = asked { Some(part) } else { None }).collect()
}

#[tokio::test]
async fn who_comes_first_waits_with_music_and_each_coming_and_going_is_told() {
    let mut stage = Stage::new().await;
    let (mut first, mut one) = member(&mut stage, "1001", wish("sales")).await;
    asked(&mut one, |asked| matches!(asked, Asked::Play(0, Playable::HoldMusic, _))).await;
    let (mut second, mut two) = member(&mut stage, "1002", wish("sales")).await;
    asked(&mut one, |asked| matches!(asked, Asked::StopPlay)).await;
    assert_eq!(joins(&mut two), [Part::Speaker]);

    let view = stage.calls.conference(&stage.org.id, "sales").unwrap();
    assert!(view.id.starts_with("conf_") && !view.recording);
    let numbers: Vec<&str> = view.members.iter().map(|member| member.number.as_str()).collect();
    assert_eq!(numbers, ["1001", "1002"]);
    assert_eq!(view.members[0].call_id, *first.id);
    assert_eq!(stage.calls.conference("org_other", "sales"), None);
    assert_eq!(stage.calls.conferences_of(&stage.org.id), std::slice::from_ref(&view));

    stage.hand.advance(2_000);
    second.hangup(Cause::Normal, EndedBy::System);
    two.tell(local_end(Cause::Normal));
    ended(&mut second).await;
    asked(&mut one, |asked| matches!(asked, Asked::Play(0, Playable::HoldMusic, _))).await;
    let kinds = stage.kinds(&second.id).await;
    assert_eq!(kinds[3..], ["conference.joined", "conference.left", "call.completed"]);
    let joined = stage.event(&second.id, "conference.joined").await;
    assert_eq!(joined["data"], json!({"conference": view.id, "room": "sales", "members": 2}));
    assert_eq!(joined["leg"]["role"], "customer");
    let left = stage.event(&second.id, "conference.left").await;
    assert_eq!(left["data"], json!({"conference": view.id, "room": "sales", "reason": "hangup", "seconds": 2.0}));
    first.leave_conference();
    assert_eq!(next(&mut first).await, CallEvent::Conference(ConferenceEvent::Ended));
    asked(&mut one, |asked| matches!(asked, Asked::LeaveRoom)).await;
    assert_eq!(stage.calls.conference(&stage.org.id, "sales"), None, "closed behind the last");
    assert_eq!(stage.event(&first.id, "conference.left").await["data"]["reason"], "left");
}

#[tokio::test]
async fn a_room_is_full_and_a_call_without_anybody_cannot_come() {
    let mut stage = Stage::new().await;
    let two = || JoinConference { max: 2, ..wish("small") };
    let (_first, _one) = member(&mut stage, "1001", two()).await;
    let (_second, _two) = member(&mut stage, "1002", two()).await;
    let (mut third, _three) = up_to(&mut stage, "1003").await;
    third.join_conference(two());
    assert_eq!(next(&mut third).await, CallEvent::Conference(ConferenceEvent::Full));
    third.join_conference(wish("small"));
    assert_eq!(next(&mut third).await, CallEvent::Conference(ConferenceEvent::Joined));
    let kinds = stage.kinds(&third.id).await;
    assert_eq!(kinds.iter().filter(|kind| kind.starts_with("conference.")).count(), 1);

    stage.person("1004", 1).await;
    let mut ringing = stage.calls.place(stage.new_call("1004")).await.unwrap();
    ringing.join_conference(wish("other"));
    assert_eq!(next(&mut ringing).await, CallEvent::Conference(ConferenceEvent::Failed));
}

#[tokio::test]
async fn nobody_comes_into_a_recorded_conference_unawares() {
    let mut stage = Stage::new().await;
    let (_first, _one) = member(&mut stage, "1001", wish("sales")).await;
    stage.calls.record_conference(&stage.org.id, "sales", true).unwrap();
    let (mut second, mut two) = up_to(&mut stage, "1002").await;
    second.join_conference(wish("sales"));
    assert_eq!(next(&mut second).await, CallEvent::Conference(ConferenceEvent::Recorded));
    assert!(joins(&mut two).is_empty());
    second.join_conference(JoinConference { announced: true, ..wish("sales") });
    assert_eq!(next(&mut second).await, CallEvent::Conference(ConferenceEvent::Joined));
    assert_eq!(joins(&mut two), [Part::Speaker]);
}

#[tokio::test]
async fn a_member_is_muted_thrown_out_and_the_conference_ended_by_its_name() {
    let mut stage = Stage::new().await;
    let (mut first, mut one) = member(&mut stage, "1001", wish("sales")).await;
    let (mut second, mut two) = member(&mut stage, "1002", JoinConference { muted: true, ..wish("sales") }).await;
    assert_eq!(joins(&mut two), [Part::Listener]);
    let org = stage.org.id.clone();
    let leg = two.id().to_string();
    assert_eq!(stage.calls.mute_member("org_other", "sales", &leg, false), None);
    assert_eq!(stage.calls.mute_member(&org, "sales", "leg_x", false), None);
    let view = stage.calls.mute_member(&org, "sales", &leg, false).unwrap();
    assert!(!view.members[1].muted);
    assert_eq!(joins(&mut two), [Part::Speaker]);

    assert!(!stage.calls.kick_member("org_other", "sales", &leg));
    assert!(stage.calls.kick_member(&org, "sales", &leg));
    assert_eq!(next(&mut second).await, CallEvent::Conference(ConferenceEvent::Ended));
    asked(&mut two, |asked| matches!(asked, Asked::LeaveRoom)).await;
    assert_eq!(stage.event(&second.id, "conference.left").await["data"]["reason"], "kicked");
    assert!(!stage.calls.kick_member(&org, "sales", &leg), "it is there no more");

    assert!(stage.calls.end_conference(&org, "sales"));
    assert_eq!(next(&mut first).await, CallEvent::Conference(ConferenceEvent::Ended));
    asked(&mut one, |asked| matches!(asked, Asked::LeaveRoom)).await;
    assert_eq!(stage.event(&first.id, "conference.left").await["data"]["reason"], "ended");
    assert!(!stage.calls.end_conference(&org, "sales"));
}

#[tokio::test]
async fn the_recording_passes_on_when_its_keeper_leaves_and_belongs_to_each_call_in_turn() {
    let mut stage = Stage::new().await;
    let record = || JoinConference { record: true, announced: true, ..wish("sales") };
    let (mut first, mut one) = member(&mut stage, "1001", record()).await;
    let CallEvent::Recording(RecordingEvent::Started { id }) = next(&mut first).await else { panic!("it records") };
    asked(&mut one, |asked| matches!(asked, Asked::RecordRoom(_, RecordCommand::Start { rate: 16_000, .. }))).await;
    let (mut second, mut two) = member(&mut stage, "1002", record()).await;
    assert!(stage.calls.conference(&stage.org.id, "sales").unwrap().recording);

    one.tell(remote_end(Cause::Normal, None));
    ended(&mut first).await;
    asked(&mut one, |asked| matches!(asked, Asked::RecordRoom(_, RecordCommand::Stop))).await;
    let CallEvent::Recording(RecordingEvent::Started { id: next_id }) = next(&mut second).await else {
        panic!("it goes on")
    };
    asked(&mut two, |asked| matches!(asked, Asked::RecordRoom(_, RecordCommand::Start { .. }))).await;
    // The file is completed behind the end of the call.
    one.tell(ready(&id, 7.0));
    drop(first);
    within(async {
        while stage.has_ready(&id).await.is_none() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    })
    .await;

    let view = stage.calls.record_conference(&stage.org.id, "sales", false).unwrap();
    assert!(!view.recording);
    two.tell(ready(&next_id, 2.0));
    let told = until(&mut second, |event| matches!(event, CallEvent::Recording(_))).await;
    assert_eq!(told, CallEvent::Recording(RecordingEvent::Ready { id: next_id.clone(), seconds: 2.0 }));
    asked(&mut two, |asked| matches!(asked, Asked::RecordRoom(_, RecordCommand::Stop))).await;
    assert_eq!(stage.has_ready(&next_id).await.as_deref(), Some(&*second.id));
}
