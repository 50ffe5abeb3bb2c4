//! Calls that come in: from phones to people, teams and outside, from trunks to what a number is
//! bound to.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::mpsc;
use voice::Target;
use voice::cause::Cause;
use voice::leg::{LegEvent, PhoneId, Playable, RecordCommand, Signal};
use voice::ports::Ports;
use voice::runner::script::Asked;

use super::stage::*;
use crate::*;

#[tokio::test]
async fn a_browser_phone_rings_beside_the_registered_one_while_it_is_online() {
    let mut stage = Stage::new().await;
    stage.person("1001", 1).await;
    stage.person("1002", 1).await;
    stage.person("1003", 0).await;
    let owner = stage.directory.person(&stage.org.id, "1002").await.unwrap().unwrap();
    let (line, name) = stage.directory.browser_line(&stage.org(), &owner.person, None).await.unwrap().unwrap();
    assert_eq!((&*line.extension, name.as_str()), ("1002", "Person 1002"));
    let phone = PhoneId::from("phone_1");
    Ports::browser_phone(&*stage.directory, &line, &phone, true);

    let caller = stage.phone_calls("1001", "1002").await;
    let targets = [stage.dialled().await.order.target, stage.dialled().await.order.target];
    assert!(matches!(&targets[0], Target::Binding(binding) if &*binding.extension == "1002"), "{targets:?}");
    assert!(matches!(&targets[1], Target::Browser { phone: rung } if *rung == phone), "{targets:?}");
    assert!(stage.calls.presence(&stage.org.id, "1002").busy);
    caller.tell(remote_end(Cause::Canceled, Some(487)));

    // A phone in a page is presence enough.
    let owner = stage.directory.person(&stage.org.id, "1003").await.unwrap().unwrap();
    let (line, _) = stage.directory.browser_line(&stage.org(), &owner.person, None).await.unwrap().unwrap();
    assert!(!stage.calls.presence(&stage.org.id, "1003").registered);
    Ports::browser_phone(&*stage.directory, &line, &phone, true);
    assert!(stage.calls.presence(&stage.org.id, "1003").registered);
    Ports::browser_phone(&*stage.directory, &line, &phone, false);
    assert!(!stage.calls.presence(&stage.org.id, "1003").registered);
    let nobody = stage.directory.browser_line(&stage.org(), &"per_unknown".into(), None).await.unwrap();
    assert_eq!(nobody, None);
}

#[tokio::test]
async fn a_phone_calls_a_phone_and_they_talk() {
    let mut stage = Stage::new().await;
    stage.person("1001", 1).await;
    stage.person("1002", 1).await;
    let mut caller = stage.phone_calls("1001", "1002").await;
    let callee = stage.dialled().await;
    assert_eq!(callee.order.max_forwards, HOPS_LEFT, "a call in circles comes to an end");
    assert_eq!(
        (callee.order.from.number.as_str(), callee.order.from.display.as_deref()),
        ("1001", Some("Person 1001"))
    );
    assert!(stage.calls.presence(&stage.org.id, "1002").busy && stage.calls.presence(&stage.org.id, "1001").busy);
    callee.far.tell(LegEvent::Ringing);
    asked_signal(&mut caller, Signal::Ring).await;
    callee.far.tell(answered());
    let bridged = asked(&mut caller, |asked| matches!(asked, Asked::Bridge(_))).await;
    assert!(matches!(bridged, Asked::Bridge(id) if id == *callee.far.id()));
    caller.tell(answered());
    let id = stage.only_call().await;
    caller.tell(LegEvent::Held);
    caller.tell(LegEvent::Resumed);
    callee.far.tell(remote_end(Cause::Normal, None));
    asked_signal(&mut caller, Signal::Hangup(Cause::Normal)).await;
    caller.tell(local_end(Cause::Normal));
    stage.quiet().await;
    let kinds = stage.kinds(&id).await;
    let expected = [
        "call.initiated",
        "connect.ringing",
        "call.ringing",
        "connect.answered",
        "call.answered",
        "call.held",
        "call.resumed",
        "connect.ended",
        "call.completed",
    ];
    assert_eq!(kinds, expected);
    let completed = stage.event(&id, "call.completed").await;
    assert_eq!((&completed["data"]["cause"], &completed["data"]["ended_by"]), (&json!("normal"), &json!("target")));
    let view = stage.view(&id).await;
    assert_eq!(
        (view.direction, view.from.as_str(), view.to.as_str(), view.legs.len()),
        (Direction::Inbound, "1001", "1002", 2)
    );
    assert!(!stage.calls.presence(&stage.org.id, "1002").busy);
    assert!(stage.calls.presence(&stage.org.id, "1002").registered);
}

#[tokio::test]
async fn the_caller_gives_up_while_it_rings() {
    let mut stage = Stage::new().await;
    stage.person("1001", 1).await;
    stage.person("1002", 1).await;
    let caller = stage.phone_calls("1001", "1002").await;
    let mut callee = stage.dialled().await.far;
    caller.tell(remote_end(Cause::Canceled, Some(487)));
    asked_signal(&mut callee, Signal::Hangup(Cause::Canceled)).await;
    stage.quiet().await;
    let id = stage.only_call().await;
    let data = stage.event(&id, "call.completed").await["data"].clone();
    assert_eq!((&data["cause"], &data["ended_by"]), (&json!("canceled"), &json!("customer")));
}

#[tokio::test]
async fn failures_reach_the_caller_as_what_they_are() {
    let mut stage = Stage::new().await;
    stage.person("1001", 1).await;
    stage.person("1002", 1).await;
    stage.person("1003", 0).await;
    let mut caller = stage.phone_calls("1001", "1002").await;
    stage.dialled().await.far.tell(remote_end(Cause::Busy, Some(486)));
    asked_signal(&mut caller, Signal::Hangup(Cause::Busy)).await;
    caller.tell(local_end(Cause::Busy));
    let table = [
        ("1003", Cause::Unreachable),
        ("4444", Cause::InvalidNumber),
        ("112", Cause::Rejected),
        ("+14155550100", Cause::NoRoute),
    ];
    for (number, cause) in table {
        stage.hand.advance(1_000);
        let mut caller = stage.phone_calls("1001", number).await;
        asked_signal(&mut caller, Signal::Hangup(cause)).await;
        caller.tell(local_end(cause));
    }
    stage.quiet().await;
    stage.kernel.db.writer().flush().await.unwrap();
    let page = stage.calls.list(&stage.org.id, CallFilter::default(), 10).await.unwrap();
    let causes: Vec<_> = page.calls.iter().rev().map(|call| call.cause.clone().unwrap()).collect();
    assert_eq!(causes, ["busy", "unreachable", "invalid_number", "rejected", "no_route"]);
}

#[tokio::test]
async fn outside_a_phone_shows_its_own_number_else_the_organisations() {
    let mut stage = Stage::new().await;
    stage.person("1001", 1).await;
    stage.person("1002", 1).await;
    stage.trunk("+442071838751").await;
    let to = Bound::Person("1002".into());
    bind_number(&stage.kernel, &stage.org.id, "+442071838752", &to).await.unwrap();
    for (extension, shown) in [("1001", "+442071838752"), ("1002", "+442071838752")] {
        let _caller = stage.phone_calls(extension, "0014155550100").await;
        let order = stage.dialled().await.order;
        assert!(matches!(&order.target, Target::Trunk { number, .. } if number == "+14155550100"));
        assert_eq!((order.from.number.as_str(), order.from.display.as_deref()), (shown, None), "{extension}");
    }
}

#[tokio::test]
async fn a_team_rings_together() {
    let mut stage = Stage::new().await;
    stage.person("1001", 2).await;
    stage.person("1002", 1).await;
    let members = vec!["1001".into(), "1002".into()];
    let team = NewTeam { name: "Help".into(), number: "5263".into(), members, ..NewTeam::default() };
    create_team(&stage.kernel, &stage.org.id, team).await.unwrap();
    let to = Bound::Team("5263".into());
    bind_number(&stage.kernel, &stage.org.id, "+442071838750", &to).await.unwrap();
    let mut caller = stage.trunk_calls("14155550123", "442071838750").await;
    let (mut one, two, mut three) = (stage.dialled().await, stage.dialled().await, stage.dialled().await);
    assert_eq!(two.order.from.number, "+14155550123", "inside, the caller is shown");
    two.far.tell(answered());
    asked_signal(&mut one.far, Signal::Hangup(Cause::Canceled)).await;
    asked_signal(&mut three.far, Signal::Hangup(Cause::Canceled)).await;
    asked(&mut caller, |asked| matches!(asked, Asked::Bridge(_))).await;
}

#[tokio::test]
async fn a_trunk_reaches_public_numbers_only() {
    let mut stage = Stage::new().await;
    stage.person("1001", 1).await;
    for number in ["1001", "+442071838750", "sip:x@y"] {
        let mut caller = stage.trunk_calls("+14155550123", number).await;
        asked_signal(&mut caller, Signal::Hangup(Cause::InvalidNumber)).await;
        caller.tell(local_end(Cause::InvalidNumber));
    }
    assert!(stage.nobody_dialled());
}

#[tokio::test]
async fn a_desk_drives_calls_to_its_numbers() {
    let stage = Stage::new().await;
    let bound = Bound::Flow("flow_7".into());
    bind_number(&stage.kernel, &stage.org.id, "+442071838750", &bound).await.unwrap();
    let mut early = stage.trunk_calls("+14155550123", "+442071838750").await;
    asked_signal(&mut early, Signal::Hangup(Cause::NoRoute)).await;
    early.tell(local_end(Cause::NoRoute));
    stage.quiet().await;

    let (sender, mut desk) = mpsc::channel(1);
    stage.calls.on_inbound(InboundKind::Flow, Arc::new(Desk(sender)));
    let mut caller = stage.trunk_calls("+14155550123", "+442071838750").await;
    let (mut call, number) = within(desk.recv()).await.unwrap();
    assert_eq!(number, InboundNumber { e164: "+442071838750".into(), bound });
    call.driven_by("run_1", None);
    call.answer();
    asked_signal(&mut caller, Signal::Answer).await;
    caller.tell(answered());
    assert_eq!(next(&mut call).await, CallEvent::Answered);
    let play = call.play(Playable::Busy, 0);
    asked(&mut caller, |asked| matches!(asked, Asked::Play(id, Playable::Busy, _) if *id == play)).await;
    caller.tell(remote_end(Cause::Normal, None));
    assert_eq!(ended(&mut call).await, (Cause::Normal, EndedBy::Customer));
    let id = call.id.clone();
    drop(call);
    assert_eq!(stage.view(&id).await.flow_run_id.as_deref(), Some("run_1"));
    assert_eq!(stage.event(&id, "call.answered").await["run_id"], "run_1");
}

#[tokio::test]
async fn early_media_is_let_through_to_a_caller_who_waits_for_one() {
    let mut stage = Stage::new().await;
    stage.person("1001", 1).await;
    stage.trunk("+442071838751").await;
    let mut caller = stage.phone_calls("1001", "+14155550100").await;
    let callee = stage.dialled().await.far;
    callee.tell(LegEvent::EarlyMedia);
    asked_signal(&mut caller, Signal::EarlyMedia).await;
}

#[tokio::test]
async fn an_unreachable_persons_box_takes_a_message() {
    let stage = Stage::new().await;
    stage.person("1001", 1).await;
    stage.person("1002", 0).await;
    assert!(set_voicemail(&stage.kernel, &stage.org.id, "1002", true).await.unwrap());
    assert!(!set_voicemail(&stage.kernel, &stage.org.id, "1009", true).await.unwrap());
    // A greeting that is not at hand is left out.
    let greeting = "Nobody can take your call now. Please leave a message after the tone.";
    stage.speech.say(greeting, None, None).await.unwrap();
    let mut caller = stage.phone_calls("1001", "1002").await;
    asked_signal(&mut caller, Signal::Answer).await;
    caller.tell(answered());
    let spoken = asked(&mut caller, |asked| matches!(asked, Asked::Play(_, Playable::Sound(_), _))).await;
    let Asked::Play(play, ..) = spoken else { panic!("a greeting") };
    caller.tell(LegEvent::PlayEnded { play });
    let beep = asked(&mut caller, |asked| matches!(asked, Asked::Play(_, Playable::Beep, _))).await;
    let Asked::Play(play, ..) = beep else { panic!("a beep") };
    caller.tell(LegEvent::PlayEnded { play });
    let start = asked(&mut caller, |asked| matches!(asked, Asked::Record(RecordCommand::Start { .. }))).await;
    let Asked::Record(RecordCommand::Start { id, .. }) = start else { panic!("it records") };
    caller.tell(LegEvent::Voice);
    caller.tell(remote_end(Cause::Normal, None));
    caller.tell(LegEvent::RecordingReady {
        id: id.clone(),
        seconds: 2.0,
        channels: 2,
        sha256: String::new(),
        path: "/nowhere".into(),
    });
    stage.quiet().await;
    within(async {
        while stage.kinds(&id).await != ["voicemail.left"] {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    })
    .await;
    assert_eq!(stage.event(&id, "voicemail.left").await["data"]["from"], "1001");
}

#[tokio::test]
async fn the_dial_plan_of_the_organisation_holds_for_phones() {
    let stage = Stage::new().await;
    stage.person("1001", 1).await;
    stage.trunk("+442071838751").await;
    let change = serde_json::json!({"dial_only": ["+44"]});
    stage.kernel.change_org_settings(&stage.org.id, change.as_object().unwrap()).await.unwrap();
    let mut caller = stage.phone_calls("1001", "+14155550100").await;
    asked_signal(&mut caller, Signal::Hangup(Cause::Rejected)).await;
}
