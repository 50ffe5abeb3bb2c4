//! Calls that wait for a team: rung one agent at a time, served in order, back to the front when an agent is lost.

use serde_json::json;
use voice::cause::Cause;
use voice::leg::{LegEvent, Playable, Replaced, Signal};
use voice::runner::script::{Asked, ScriptedLeg};

use super::stage::*;
use crate::queue::{Trouble, floor::PASSED_MS};
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

/// A call whose driver waits for the team, as a flow's step does; `Joined` is read.
async fn queued(stage: &mut Stage, timeout_ms: i64) -> (Call, ScriptedLeg) {
    let mut call = stage.calls.place(stage.new_call("2001")).await.unwrap();
    let customer = stage.dialled().await.far;
    customer.tell(answered());
    until(&mut call, |event| *event == CallEvent::Answered).await;
    call.queue(Queueing { team: TEAM.into(), timeout_ms, max_waiting: 5, joined_ms: None });
    until(&mut call, |event| matches!(event, CallEvent::Queue(QueueEvent::Joined { .. }))).await;
    (call, customer)
}

/// The same, talking with the only agent there is.
async fn talking(stage: &mut Stage) -> (Call, ScriptedLeg, ScriptedLeg) {
    let (mut call, customer) = queued(stage, 60_000).await;
    let (_, agent) =
        tokio::join!(until(&mut call, |event| matches!(event, CallEvent::Queue(QueueEvent::Bridged { .. }))), async {
            let far = stage.dialled().await.far;
            far.tell(answered());
            far
        });
    (call, customer, agent)
}

async fn first_agent(stage: &Stage) -> AgentState {
    stage.calls.queues(&stage.org()).await.unwrap()[0].agents[0].state
}

fn refers_to(number: &str) -> LegEvent {
    LegEvent::TransferRequested { to: format!("sip:{number}@127.0.0.1"), replaces: None }
}

async fn says(stage: &Stage, agent: &str, said: Availability) {
    let org = stage.org();
    let person = stage.directory.person(&org, agent).await.unwrap().unwrap().person;
    stage.calls.say(&org, &person, said).await.unwrap();
}

const ENDED: CallEvent = CallEvent::Queue(QueueEvent::Ended);

#[tokio::test]
async fn the_wait_ends_with_the_talk_that_the_agent_handed_the_caller_on_to() {
    let mut stage = stage_of("longest_idle", &["1001"], 0).await;
    let (mut call, mut customer, mut agent) = talking(&mut stage).await;
    agent.tell(refers_to("2002"));
    let driving = stage.kernel.tasks.spawn(async move {
        let over = next(&mut call).await;
        (call, over)
    });
    asked_signal(&mut agent, Signal::AcceptTransfer(true)).await;
    agent.tell(local_end(Cause::Normal));
    let heir = stage.dialled().await;
    assert_eq!(heir.order.to_user, "2002");
    bridged(&mut customer, &heir.far).await;
    assert_eq!(first_agent(&stage).await, AgentState::Available, "the agent is free for others meanwhile");
    heir.far.tell(remote_end(Cause::Normal, None));
    let (call, over) = within(driving).await.unwrap();
    assert_eq!(over, ENDED);
    let kinds = stage.kinds(&call.id).await;
    let told: Vec<&str> = kinds.iter().map(String::as_str).filter(|kind| kind.starts_with("transfer.")).collect();
    assert_eq!(told, ["transfer.started", "transfer.completed"]);
    let count = |kind: &str| kinds.iter().filter(|other| *other == kind).count();
    assert_eq!((count("connect.answered"), count("connect.ended"), count("queue.left")), (2, 2, 1));
}

#[tokio::test]
async fn who_is_handed_on_in_vain_has_waited_long_enough() {
    let mut stage = stage_of("longest_idle", &["1001"], 0).await;
    let (mut call, _customer, agent) = talking(&mut stage).await;
    agent.tell(refers_to("2002"));
    let (over, ()) = tokio::join!(next(&mut call), async {
        stage.dialled().await.far.tell(remote_end(Cause::Busy, Some(486)));
    });
    assert_eq!(over, ENDED);
}

#[tokio::test]
async fn nobody_is_handed_on_to_a_number_where_nobody_is() {
    let mut stage = stage_of("longest_idle", &["1001"], 0).await;
    stage.person("2009", 0).await;
    let (mut call, customer, mut agent) = talking(&mut stage).await;
    // Nobody's, a carrier's without a trunk, a person without a phone.
    for number in ["7777", "+4490012345678", "2009"] {
        agent.tell(refers_to(number));
        let waits = tokio::time::timeout(std::time::Duration::from_millis(50), call.next()).await;
        assert!(waits.is_err(), "{waits:?}");
        asked_signal(&mut agent, Signal::AcceptTransfer(false)).await;
    }
    assert!(stage.nobody_dialled());
    customer.tell(LegEvent::Dtmf { symbol: '1', duration_ms: 80 });
    assert_eq!(next(&mut call).await, CallEvent::Dtmf { symbol: '1', duration_ms: 80 }, "they talk on");
    assert_eq!(first_agent(&stage).await, AgentState::Busy);
}

#[tokio::test]
async fn an_agent_who_consults_is_free_again_and_the_wait_ends_with_the_other() {
    let mut stage = stage_of("longest_idle", &["1001"], 0).await;
    let (mut call, mut customer, mut agent) = talking(&mut stage).await;
    let mut second = stage.phone_calls("1001", "2002").await;
    let mut consulted = stage.dialled().await.far;
    consulted.tell(answered());
    asked(&mut second, |asked| matches!(asked, Asked::Bridge(_))).await;
    let replaces = Some(Replaced::Leg(second.id().clone()));
    agent.tell(LegEvent::TransferRequested { to: "sip:2002@127.0.0.1".into(), replaces });
    let waits = tokio::time::timeout(std::time::Duration::from_millis(100), call.next()).await;
    assert!(waits.is_err(), "{waits:?}");
    asked(&mut customer, |asked| matches!(asked, Asked::Bridge(id) if id == consulted.id())).await;
    asked_signal(&mut agent, Signal::Hangup(Cause::Normal)).await;
    asked_signal(&mut second, Signal::Hangup(Cause::Normal)).await;
    agent.tell(local_end(Cause::Normal));
    second.tell(local_end(Cause::Normal));
    let waits = tokio::time::timeout(std::time::Duration::from_millis(50), call.next()).await;
    assert!(waits.is_err(), "{waits:?}");
    within(async {
        while first_agent(&stage).await != AgentState::Available {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    })
    .await;
    // However the other is lost, nobody waits in the queue for that.
    consulted.tell(local_end(Cause::MediaTimeout));
    assert_eq!(next(&mut call).await, ENDED);
    assert!(consulted.asked().iter().all(|asked| !matches!(asked, Asked::Signal(Signal::Hangup(_)))));
}

#[tokio::test]
async fn an_offer_that_is_withdrawn_unread_leaves_caller_and_agent_free() {
    let mut stage = stage_of("longest_idle", &["1001"], 0).await;
    says(&stage, "1001", Availability::Away).await;
    let (mut call, _customer) = queued(&mut stage, 10_000).await;
    // The agent is there, and the time is over, before the call looks again.
    says(&stage, "1001", Availability::Available).await;
    stage.hand.advance(10_000);
    assert_eq!(first_agent(&stage).await, AgentState::Busy, "it is offered the caller");
    assert_eq!(next(&mut call).await, CallEvent::Queue(QueueEvent::Left { why: Left::Timeout }));
    assert!(stage.nobody_dialled());
    assert_eq!(first_agent(&stage).await, AgentState::Available);

    let wish = TurnWish { number: TEAM, has_queued: true, joined_ms: NOON, timeout_ms: 5_000 };
    let mut turn = stage.calls.turn(&stage.org(), wish).await.unwrap().unwrap();
    stage.hand.advance(5_000);
    assert_eq!(first_agent(&stage).await, AgentState::Busy, "it is offered the turn");
    assert_eq!(within(turn.agents()).await, None);
    assert_eq!(first_agent(&stage).await, AgentState::Available);
}

#[tokio::test]
async fn what_comes_first_of_a_key_and_an_answer_wins() {
    for key_first in [true, false] {
        let mut stage = stage_of("longest_idle", &["1001"], 0).await;
        let (mut call, mut customer) = queued(&mut stage, 60_000).await;
        let mut agent = {
            let look = tokio::time::timeout(std::time::Duration::from_millis(50), call.next());
            assert!(look.await.is_err());
            stage.dialled().await.far
        };
        // Both are there when the call looks.
        let key = LegEvent::Dtmf { symbol: '1', duration_ms: 80 };
        if key_first {
            customer.tell(key);
            agent.tell(answered());
        } else {
            agent.tell(answered());
            customer.tell(key);
            assert!(matches!(next(&mut call).await, CallEvent::Queue(QueueEvent::Bridged { .. })));
        }
        assert!(matches!(next(&mut call).await, CallEvent::Dtmf { .. }));
        call.leave_queue(Left::Callback);
        let waits = tokio::time::timeout(std::time::Duration::from_millis(50), call.next()).await;
        assert!(waits.is_err(), "{waits:?}");
        let joined = customer.asked().iter().any(|asked| matches!(asked, Asked::Bridge(_)));
        assert_eq!(joined, !key_first);
        let left = stage.event(&call.id, "queue.left").await["data"]["reason"].clone();
        assert_eq!(left, if key_first { "callback" } else { "bridged" });
        if key_first {
            asked_signal(&mut agent, Signal::Hangup(Cause::Canceled)).await;
        }
    }
}

#[tokio::test]
async fn an_agent_in_a_call_of_its_own_is_offered_nobody_until_that_is_over() {
    let mut stage = stage_of("longest_idle", &["1001"], 30).await;
    let first = waits(&stage, "2001").await;
    let mut agent = stage.dialled().await.far;
    let mut caller = first;
    bridged(&mut caller, &agent).await;
    agent.tell(remote_end(Cause::Normal, None));
    asked_signal(&mut caller, Signal::Hangup(Cause::Normal)).await;
    caller.tell(local_end(Cause::Normal));
    let _second = waits(&stage, "2002").await;
    // Between two looks at its phones the agent calls somebody, and its wrap-up ends.
    let mut own = stage.phone_calls("1001", "2003").await;
    agent = stage.dialled().await.far;
    agent.tell(answered());
    asked(&mut own, |asked| matches!(asked, Asked::Bridge(_))).await;
    stage.hand.advance(30_000);
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert!(stage.nobody_dialled());
    assert_eq!(first_agent(&stage).await, AgentState::Busy);
    // No time passes: it is free when its call is over, and not when somebody looks.
    own.tell(remote_end(Cause::Normal, None));
    let offered = stage.dialled().await;
    assert_eq!(agent_of(&offered), "1001");
}

#[tokio::test]
async fn a_look_at_the_agents_goes_through_the_callers_once() {
    let agents = ["1001", "1002", "1003", "1004", "1005", "1006"];
    let mut stage = stage_of("ring_all", &agents, 0).await;
    for agent in agents {
        says(&stage, agent, Availability::Away).await;
    }
    let (_call, _customer) = queued(&mut stage, 60_000).await;
    let floors = stage.calls.floors().clone();
    let org = stage.org();
    // What joining has set off is over.
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    let before = floors.passes(&org);
    stage.hand.advance(500);
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    let passes = floors.passes(&org) - before;
    assert!((1..=2).contains(&passes), "{passes} for {} agents", agents.len());
}

#[tokio::test]
async fn who_has_waited_long_enough_leaves_though_the_store_is_silent_or_the_keeper_fell() {
    for trouble in [Trouble::STALL, Trouble::PANIC] {
        let mut stage = stage_of("longest_idle", &["1001"], 0).await;
        says(&stage, "1001", Availability::Away).await;
        let (mut call, _customer) = queued(&mut stage, 20_000).await;
        stage.calls.floors().befalls(&stage.org(), trouble);
        let hand = stage.hand.clone();
        let time = async {
            // The look that fails, the pause after it, and the rest of the wait.
            for _ in 0..40 {
                hand.advance(500);
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        let (left, ()) = tokio::join!(next(&mut call), time);
        assert_eq!(left, CallEvent::Queue(QueueEvent::Left { why: Left::Timeout }));
    }
}

#[tokio::test]
async fn of_two_words_the_one_that_was_said_later_stays() {
    let stage = stage_of("longest_idle", &["1001"], 0).await;
    let org = stage.org();
    let person = stage.directory.person(&org, "1001").await.unwrap().unwrap().person;
    stage.calls.own_state(&org, &person).await.unwrap();
    let (floors, own) = (stage.calls.floors(), ["1001".to_owned()]);
    let mut first = Box::pin(floors.say(&org, &person, &own, Availability::Away));
    let begun = std::future::poll_fn(|cx| std::task::Poll::Ready(first.as_mut().poll(cx).is_ready())).await;
    assert!(!begun, "the first word is on its way into the store");
    floors.say(&org, &person, &own, Availability::Available).await.unwrap();
    assert_eq!(first.await.unwrap().state, AgentState::Available);
    assert_eq!(stage.calls.own_state(&org, &person).await.unwrap().state, AgentState::Available);
    assert_eq!(stage.restarted().own_state(&org, &person).await.unwrap().state, AgentState::Available);
}

#[tokio::test]
async fn who_dials_a_team_is_told_where_he_stands_unless_it_is_set_to_silence() {
    for tells in [true, false] {
        let stage = stage_of("longest_idle", &["1001"], 0).await;
        let team = teams(&stage.kernel, &stage.org.id).await.unwrap().remove(0);
        let change = TeamChange { announce_position: Some(tells), ..TeamChange::default() };
        assert_eq!(change_team(&stage.kernel, &stage.org.id, &team.id, change).await.unwrap().announce_position, tells);
        says(&stage, "1001", Availability::Away).await;
        let mut first = waits(&stage, "2001").await;
        let words = |asked: &Asked| matches!(asked, Asked::Play(_, Playable::Sound(_), mode) if mode.loops == 1);
        if !tells {
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            assert!(!first.asked().iter().any(words), "music alone");
            continue;
        }
        let mut second = waits(&stage, "2002").await;
        for leg in [&mut first, &mut second] {
            let Asked::Play(play, ..) = asked(leg, words).await else { panic!("it plays") };
            leg.tell(LegEvent::PlayEnded { play });
            asked(leg, |asked| matches!(asked, Asked::Play(_, Playable::HoldMusic, _))).await;
        }
        // He moves up, and is told when the last words are half a minute old.
        first.tell(remote_end(Cause::Normal, None));
        until_waiting(&stage, 1).await;
        stage.hand.advance(29_999);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        assert!(!second.asked().iter().any(words));
        stage.hand.advance(1);
        asked(&mut second, words).await;
    }
}
