//! Supervision: who is rung, which part each plays, and that the call is as it was when it is over.

use voice::cause::Cause;
use voice::leg::{LegEvent, Part, Playable, Signal};
use voice::runner::script::{Asked, ScriptedLeg};

use super::stage::*;
use crate::*;

/// A customer by trunk who talks with 1002, and the phone of 1009 that may supervise.
async fn connected(stage: &mut Stage) -> (Call, ScriptedLeg, ScriptedLeg) {
    stage.trunk("+442071838000").await;
    stage.person("1002", 1).await;
    stage.person("1009", 1).await;
    let mut call = stage.calls.place(stage.new_call("+442071838111")).await.unwrap();
    let customer = stage.dialled().await.far;
    customer.tell(answered());
    assert_eq!(next(&mut call).await, CallEvent::Answered);
    call.connect(Connect::to("1002"));
    let (_, agent) = tokio::join!(next(&mut call), async {
        let far = stage.dialled().await.far;
        far.tell(answered());
        far
    });
    (call, customer, agent)
}

async fn supervise(
    stage: &Stage,
    call: &mut Call,
    extension: &str,
    mode: SuperviseMode,
) -> Result<Supervised, SuperviseError> {
    let view = stage.view(&call.id).await;
    let org = stage.org.id.clone();
    tokio::select! {
        result = within(stage.calls.supervise(&org, &view, extension, mode)) => result,
        event = call.next() => panic!("the driver hears nothing of it: {event:?}"),
    }
}

/// Lets the call take what its legs have told, which is no news for the driver.
async fn settle(call: &mut Call) {
    let waits = tokio::time::timeout(std::time::Duration::from_millis(50), call.next()).await;
    assert!(waits.is_err(), "{waits:?}");
}

fn parts(far: &mut ScriptedLeg) -> Vec<Part> {
    let asked = far.asked().into_iter();
    asked.filter_map(|asked| if let Asked::JoinRoom(_, part) = asked { Some(part) } else { None }).collect()
}

#[tokio::test]
async fn a_supervisor_listens_whispers_barges_in_and_leaves_no_trace_but_his_leg() {
    let mut stage = Stage::new().await;
    let (mut call, mut customer, mut agent) = connected(&mut stage).await;
    let (_, _) = (customer.asked(), agent.asked());
    let before = stage.kinds(&call.id).await;
    let begun = supervise(&stage, &mut call, "1009", SuperviseMode::Listen).await;
    assert_eq!(begun, Ok(Supervised::Ringing));
    let dialled = stage.dialled().await;
    assert_eq!(dialled.order.from.display.as_deref(), Some("Supervision"));
    let mut supervisor = dialled.far;
    assert!(stage.calls.presence(&stage.org.id, "1009").busy);
    assert!(customer.asked().is_empty(), "nothing happens while it rings");
    supervisor.tell(LegEvent::Ringing);
    supervisor.tell(answered());
    settle(&mut call).await;
    assert_eq!((parts(&mut customer), parts(&mut agent)), (vec![Part::Party], vec![Part::Party]));
    assert_eq!(parts(&mut supervisor), [Part::Listener]);

    let whisper = supervise(&stage, &mut call, "1009", SuperviseMode::Whisper).await;
    assert_eq!(whisper, Ok(Supervised::Listening));
    let [Part::Whisperer(ear)] = parts(&mut supervisor)[..] else { panic!("he whispers") };
    assert_eq!(ear, agent.media_key());
    supervise(&stage, &mut call, "1009", SuperviseMode::Barge).await.unwrap();
    assert_eq!(parts(&mut supervisor), [Part::Speaker]);
    supervisor.tell(LegEvent::Dtmf { symbol: '5', duration_ms: 100 });
    supervisor.tell(LegEvent::Held);
    supervisor.tell(LegEvent::Resumed);

    // The agent holds: the customer hears music as without a supervisor.
    agent.tell(LegEvent::Held);
    settle(&mut call).await;
    asked(&mut customer, |asked| matches!(asked, Asked::Play(_, Playable::HoldMusic, _))).await;
    agent.tell(LegEvent::Resumed);
    settle(&mut call).await;
    asked(&mut customer, |asked| matches!(asked, Asked::StopPlay)).await;

    supervisor.tell(remote_end(Cause::Normal, None));
    settle(&mut call).await;
    asked(&mut customer, |asked| matches!(asked, Asked::Bridge(id) if id == agent.id())).await;
    assert!(!stage.calls.presence(&stage.org.id, "1009").busy);
    let after = stage.kinds(&call.id).await;
    let new: Vec<&str> = after[before.len()..].iter().map(String::as_str).collect();
    assert_eq!(new, ["call.held", "call.resumed"], "the agent's, and none of the supervisor's");
    let view = stage.view(&call.id).await;
    assert_eq!(view.legs.last().map(|leg| (leg.role, leg.state)), Some((LegRole::Supervisor, LegState::Ended)));
}

#[tokio::test]
async fn supervision_ends_with_the_connection_and_when_it_is_ended() {
    let mut stage = Stage::new().await;
    let (mut call, mut customer, agent) = connected(&mut stage).await;
    supervise(&stage, &mut call, "1009", SuperviseMode::Listen).await.unwrap();
    let mut supervisor = stage.dialled().await.far;
    supervisor.tell(answered());
    settle(&mut call).await;
    assert!(!stage.calls.end_supervision("org_other", &call.id));
    assert!(stage.calls.end_supervision(&stage.org.id, &call.id));
    settle(&mut call).await;
    asked_signal(&mut supervisor, Signal::Hangup(Cause::Normal)).await;
    asked(&mut customer, |asked| matches!(asked, Asked::Bridge(id) if id == agent.id())).await;
    supervisor.tell(local_end(Cause::Normal));
    settle(&mut call).await;

    supervise(&stage, &mut call, "1009", SuperviseMode::Barge).await.unwrap();
    let mut supervisor = stage.dialled().await.far;
    supervisor.tell(answered());
    settle(&mut call).await;
    agent.tell(remote_end(Cause::Normal, None));
    let over = ConnectEvent::Ended { status: ConnectStatus::Completed, cause: Cause::Normal };
    assert_eq!(next(&mut call).await, CallEvent::Connect(over));
    asked(&mut customer, |asked| matches!(asked, Asked::LeaveRoom | Asked::Unbridge)).await;
    asked_signal(&mut supervisor, Signal::Hangup(Cause::Normal)).await;
    let refused = supervise(&stage, &mut call, "1009", SuperviseMode::Listen).await;
    assert_eq!(refused, Err(SuperviseError::NotConnected));
    supervisor.tell(local_end(Cause::Normal));
    customer.tell(remote_end(Cause::Normal, None));
    assert_eq!(ended(&mut call).await, (Cause::Normal, EndedBy::Customer));
}

#[tokio::test]
async fn of_two_phones_that_answer_in_one_moment_the_first_supervises() {
    let mut stage = Stage::new().await;
    let (mut call, mut customer, agent) = connected(&mut stage).await;
    stage.person("1012", 3).await;
    supervise(&stage, &mut call, "1012", SuperviseMode::Listen).await.unwrap();
    let mut phones = Vec::new();
    for _ in 0..3 {
        phones.push(stage.dialled().await.far);
    }
    let [first, second, third] = &mut phones[..] else { panic!("three ring") };
    first.tell(answered());
    second.tell(answered());
    settle(&mut call).await;
    assert_eq!(parts(first), [Part::Listener]);
    let hung_up = |far: &mut ScriptedLeg| {
        far.asked().iter().filter(|asked| matches!(asked, Asked::Signal(Signal::Hangup(Cause::Normal)))).count()
    };
    assert!(hung_up(second) > 0 && hung_up(third) > 0, "the others ring no more");
    second.tell(local_end(Cause::Normal));
    third.tell(local_end(Cause::Canceled));
    settle(&mut call).await;
    assert_eq!(hung_up(first), 0, "he listens on");
    let whisper = supervise(&stage, &mut call, "1012", SuperviseMode::Whisper).await;
    assert_eq!(whisper, Ok(Supervised::Listening));
    first.tell(remote_end(Cause::Normal, None));
    settle(&mut call).await;
    asked(&mut customer, |asked| matches!(asked, Asked::Bridge(id) if id == agent.id())).await;
}

#[tokio::test]
async fn a_supervisor_who_does_not_answer_is_given_up() {
    let mut stage = Stage::new().await;
    let (mut call, mut customer, _agent) = connected(&mut stage).await;
    supervise(&stage, &mut call, "1009", SuperviseMode::Listen).await.unwrap();
    let mut supervisor = stage.dialled().await.far;
    let _ = customer.asked();
    stage.hand.advance(30_000);
    settle(&mut call).await;
    asked_signal(&mut supervisor, Signal::Hangup(Cause::Normal)).await;
    supervisor.tell(remote_end(Cause::Canceled, Some(487)));
    settle(&mut call).await;
    assert!(customer.asked().is_empty(), "the two never noticed");
    assert!(call.model().end.is_none());
}

#[tokio::test]
async fn who_may_not_supervise_is_told_why() {
    let mut stage = Stage::new().await;
    let (mut call, _customer, _agent) = connected(&mut stage).await;
    stage.person("1010", 0).await;
    let mut asks = async |extension: &str, mode| supervise(&stage, &mut call, extension, mode).await;
    assert_eq!(asks("1002", SuperviseMode::Listen).await, Err(SuperviseError::Taken), "the agent himself");
    assert_eq!(asks("1010", SuperviseMode::Listen).await, Err(SuperviseError::Unreachable));
    assert_eq!(asks("+442071838222", SuperviseMode::Listen).await, Err(SuperviseError::Unreachable));
    asks("1009", SuperviseMode::Listen).await.unwrap();
    let view = stage.view(&call.id).await;
    let elsewhere = stage.calls.supervise("org_other", &view, "1009", SuperviseMode::Listen).await;
    assert_eq!(elsewhere, Err(SuperviseError::Unreachable));
    stage.person("1011", 1).await;
    let second = supervise(&stage, &mut call, "1011", SuperviseMode::Listen).await;
    assert_eq!(second, Err(SuperviseError::Taken));
}
