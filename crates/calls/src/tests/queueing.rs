//! Calls that wait for a team: rung one agent at a time, served in order, back to the front when an agent is lost.

use serde_json::json;
use voice::cause::Cause;
use voice::leg::{LegEvent, Playable, Replaced, Signal};
use voice::runner::script::{Asked, ScriptedLeg};

use super::stage::*;
use crate::queue::floor::PASSED_MS;
use crate::*;

const TEAM: &str = "5263";

/// Agents 1001 and 1002, and callers' phones 2001 to 2003.
async fn stage_of(strategy: &str, agents: &[&str], wrap_up_s: i64) -> Stage {
    let stage = Stage::new().await;
    for agent in agents {
        stage.person(agent, 1).await;
    }
    for caller in ["2001", "2002", "2003"] {
        stage.person(caller, 1).await;
    }
    let new = NewTeam {
        name: "Help".into(),
        number: TEAM.into(),
        strategy: Some(strategy.into()),
        wrap_up_s: Some(wrap_up_s),
        members: agents.iter().map(|agent| (*agent).to_owned()).collect(),
        ..NewTeam::default()
    };
    create_team(&stage.kernel, &stage.org.id, new).await.unwrap();
    stage
}

/// A phone dials the team, is answered, and hears music.
async fn waits(stage: &Stage, caller: &str) -> ScriptedLeg {
    let mut leg = stage.phone_calls(caller, TEAM).await;
    asked_signal(&mut leg, Signal::Answer).await;
    leg.tell(answered());
    asked(&mut leg, |asked| matches!(asked, Asked::Play(_, Playable::HoldMusic, _))).await;
    leg
}

/// Waits until so many callers stand in the queue.
async fn until_waiting(stage: &Stage, count: usize) -> QueueView {
    within(async {
        loop {
            let view = stage.calls.queues(&stage.org()).await.unwrap().remove(0);
            if view.waiting == count {
                return view;
            }
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    })
    .await
}

fn agent_of(dialled: &Dialled) -> String {
    dialled.order.to_user.clone()
}

async fn bridged(caller: &mut ScriptedLeg, agent: &ScriptedLeg) {
    agent.tell(LegEvent::Ringing);
    agent.tell(answered());
    let id = agent.id().clone();
    asked(caller, |asked| matches!(asked, Asked::Bridge(other) if *other == id)).await;
}

#[tokio::test]
async fn an_agent_who_refuses_loses_the_offer_and_the_caller_keeps_his_place() {
    let mut stage = stage_of("longest_idle", &["1001", "1002"], 0).await;
    let mut caller = waits(&stage, "2001").await;
    let first = stage.dialled().await;
    assert_eq!(agent_of(&first), "1001");
    assert!(stage.nobody_dialled(), "one agent at a time");
    first.far.tell(remote_end(Cause::Rejected, Some(603)));
    let second = stage.dialled().await;
    assert_eq!(agent_of(&second), "1002");
    bridged(&mut caller, &second.far).await;
    second.far.tell(remote_end(Cause::Normal, None));
    asked_signal(&mut caller, Signal::Hangup(Cause::Normal)).await;
    caller.tell(local_end(Cause::Normal));
    stage.quiet().await;
    let id = stage.only_call().await;
    let kinds = stage.kinds(&id).await;
    let expected = [
        "call.initiated",
        "call.answered",
        "queue.joined",
        "connect.ended",
        "connect.ringing",
        "connect.answered",
        "queue.left",
        "connect.ended",
        "call.completed",
    ];
    assert_eq!(kinds, expected);
    let left = stage.event(&id, "queue.left").await["data"].clone();
    assert_eq!((&left["reason"], &left["position"], &left["team"]), (&json!("bridged"), &json!(1), &json!(TEAM)));
    let completed = stage.event(&id, "call.completed").await["data"].clone();
    assert_eq!((&completed["cause"], &completed["ended_by"]), (&json!("normal"), &json!("target")));
}

#[tokio::test]
async fn the_caller_of_an_agent_whose_phone_is_lost_is_served_before_all_others() {
    let mut stage = stage_of("longest_idle", &["1001"], 0).await;
    let mut first = waits(&stage, "2001").await;
    let agent = stage.dialled().await;
    bridged(&mut first, &agent.far).await;
    stage.hand.advance(1_000);
    let _second = waits(&stage, "2002").await;
    until_waiting(&stage, 1).await;
    agent.far.tell(local_end(Cause::MediaTimeout));
    let view = until_waiting(&stage, 2).await;
    assert_eq!(view.longest_wait_s, 1, "the first one's place is as old as he is");
    stage.hand.advance(PASSED_MS);
    let again = stage.dialled().await;
    bridged(&mut first, &again.far).await;
    assert!(stage.nobody_dialled());
}

#[tokio::test]
async fn an_agent_who_hands_his_caller_on_is_free_for_the_next() {
    let mut stage = stage_of("longest_idle", &["1001"], 0).await;
    stage.person("1003", 1).await;
    let mut caller = waits(&stage, "2001").await;
    let agent = stage.dialled().await.far;
    bridged(&mut caller, &agent).await;
    // He asks 1003, and lets the two talk.
    stage.hand.advance(1_000);
    let mut second = stage.phone_calls("1001", "1003").await;
    let consulted = stage.dialled().await.far;
    consulted.tell(answered());
    asked(&mut second, |asked| matches!(asked, Asked::Bridge(_))).await;
    second.tell(answered());
    let replaces = Some(Replaced::Leg(second.id().clone()));
    agent.tell(LegEvent::TransferRequested { to: "sip:1003@127.0.0.1".into(), replaces });
    asked(&mut caller, |asked| matches!(asked, Asked::Bridge(id) if id == consulted.id())).await;
    agent.tell(local_end(Cause::Normal));
    second.tell(local_end(Cause::Normal));
    let org = stage.org();
    within(async {
        while stage.calls.presence(&org, "1001").busy {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    })
    .await;
    let mut next = waits(&stage, "2002").await;
    let offered = stage.dialled().await;
    assert_eq!(agent_of(&offered), "1001");
    bridged(&mut next, &offered.far).await;
    // Whom the caller was handed to is no agent: that he is lost brings nobody back into the queue.
    consulted.tell(local_end(Cause::MediaTimeout));
    asked_signal(&mut caller, Signal::Hangup(Cause::Normal)).await;
    assert_eq!(until_waiting(&stage, 0).await.waiting, 0);
}

#[tokio::test]
async fn callers_are_served_in_order_after_the_wrap_up() {
    let mut stage = stage_of("round_robin", &["1001"], 30).await;
    let mut first = waits(&stage, "2001").await;
    let mut agent = stage.dialled().await.far;
    bridged(&mut first, &agent).await;
    let mut second = waits(&stage, "2002").await;
    until_waiting(&stage, 1).await;
    let third = waits(&stage, "2003").await;
    until_waiting(&stage, 2).await;
    first.tell(remote_end(Cause::Normal, None));
    asked_signal(&mut agent, Signal::Hangup(Cause::Normal)).await;
    let view = until_waiting(&stage, 2).await;
    assert_eq!(view.agents[0].state, AgentState::WrapUp);
    assert!(stage.nobody_dialled());
    // The third one loses patience; the second is served when the agent has written up the call.
    third.tell(remote_end(Cause::Normal, None));
    until_waiting(&stage, 1).await;
    stage.hand.advance(30_000);
    let next = stage.dialled().await;
    bridged(&mut second, &next.far).await;
}

#[tokio::test]
async fn ring_all_in_a_queue_rings_everybody_and_the_first_answer_wins() {
    let mut stage = stage_of("ring_all", &["1001", "1002"], 0).await;
    let mut call = stage.calls.place(stage.new_call("2001")).await.unwrap();
    let customer = stage.dialled().await;
    let mut customer = customer.far;
    customer.tell(answered());
    until(&mut call, |event| *event == CallEvent::Answered).await;
    call.queue(Queueing { team: TEAM.into(), timeout_ms: 60_000, max_waiting: 5, joined_ms: None });
    let joined = next(&mut call).await;
    assert_eq!(joined, CallEvent::Queue(QueueEvent::Joined { position: 1, expected_ms: None }));
    let driving = stage.kernel.tasks.spawn(async move {
        until(&mut call, |event| matches!(event, CallEvent::Queue(QueueEvent::Bridged { .. }))).await;
        until(&mut call, |event| matches!(event, CallEvent::Queue(QueueEvent::Ended))).await;
        call.hangup(Cause::Normal, EndedBy::System);
        ended(&mut call).await
    });
    let (one, mut two) = (stage.dialled().await, stage.dialled().await);
    assert_eq!((agent_of(&one), agent_of(&two)), ("1001".to_owned(), "1002".to_owned()));
    bridged(&mut customer, &one.far).await;
    asked_signal(&mut two.far, Signal::Hangup(Cause::Canceled)).await;
    one.far.tell(remote_end(Cause::Normal, None));
    asked_signal(&mut customer, Signal::Hangup(Cause::Normal)).await;
    customer.tell(local_end(Cause::Normal));
    assert_eq!(within(driving).await.unwrap(), (Cause::Normal, EndedBy::System));
}

#[tokio::test]
async fn who_has_waited_long_enough_is_told_so_and_the_ringing_stops() {
    let mut stage = stage_of("longest_idle", &["1001"], 0).await;
    let mut call = stage.calls.place(stage.new_call("2001")).await.unwrap();
    let customer = stage.dialled().await;
    customer.far.tell(answered());
    until(&mut call, |event| *event == CallEvent::Answered).await;
    call.queue(Queueing { team: TEAM.into(), timeout_ms: 10_000, max_waiting: 5, joined_ms: None });
    let driving = stage.kernel.tasks.spawn(async move {
        let left = until(&mut call, |event| matches!(event, CallEvent::Queue(QueueEvent::Left { .. }))).await;
        (call, left)
    });
    let mut agent = stage.dialled().await.far;
    stage.hand.advance(10_000);
    asked_signal(&mut agent, Signal::Hangup(Cause::Canceled)).await;
    let (mut call, left) = within(driving).await.unwrap();
    assert_eq!(left, CallEvent::Queue(QueueEvent::Left { why: Left::Timeout }));
    // A connect to a team with a queue waits there, and ends in the words of a connect.
    stage.hand.advance(PASSED_MS);
    call.connect(Connect { timeout_ms: 5_000, ..Connect::to(TEAM) });
    let driving = stage.kernel.tasks.spawn(async move {
        let over = until(&mut call, |event| matches!(event, CallEvent::Connect(ConnectEvent::Ended { .. }))).await;
        (call, over)
    });
    agent.tell(local_end(Cause::Canceled));
    until_waiting(&stage, 1).await;
    stage.hand.advance(5_000);
    let (_call, over) = within(driving).await.unwrap();
    let (status, cause) = (ConnectStatus::NoAnswer, Cause::NoAnswer);
    assert_eq!(over, CallEvent::Connect(ConnectEvent::Ended { status, cause }));
}

#[tokio::test]
async fn what_people_say_survives_a_restart() {
    for db in kernel::db::testing::TestDb::each().await {
        let stage = Stage::on(db).await;
        stage.person("1001", 1).await;
        let org = stage.org();
        let person = stage.directory.person(&org, "1001").await.unwrap().unwrap().person;
        assert_eq!(stage.calls.own_state(&org, &person).await.unwrap().state, AgentState::Available);
        stage.calls.say(&org, &person, Availability::Away).await.unwrap();
        let after = stage.restarted();
        assert_eq!(after.own_state(&org, &person).await.unwrap().state, AgentState::Away);
        after.say(&org, &person, Availability::Available).await.unwrap();
        assert_eq!(stage.restarted().own_state(&org, &person).await.unwrap().state, AgentState::Available);
    }
}
