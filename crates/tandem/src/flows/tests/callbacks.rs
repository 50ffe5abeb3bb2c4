//! Callbacks over the shell: who is rung when, how often, and what is told of it.

use std::sync::Arc;

use calls::{AgentState, Availability, NewTeam, create_team};
use kernel::org_settings::{OrgSettings, QuietHours};
use kernel::retention::Runs as _;
use serde_json::{Value, json};
use voice::Target;
use voice::cause::Cause;
use voice::leg::LegEvent;
use voice::runner::script::ScriptedLeg;

use super::stage::*;
use crate::flows::CancelError;
use crate::flows::due::State;
use crate::flows::machine::Booking;
use crate::flows::steps::callback::Order;
use kernel::zones::Due;

/// The entity.
const AGENT: &str = "1001";
/// The customer; it has a phone in the house, so that no trunk is needed.
const CUSTOMER: &str = "1043";
/// A team.
const TEAM: &str = "5263";
const AT: &str = "2026-11-21";

/// A callback at a wall time of this day, UTC; `after_noon_ms` says the same.
fn booking(order: Order, attempts: u32, time: &str, after_noon_ms: i64) -> Booking {
    Booking {
        step: "1".into(),
        date: AT.into(),
        time: time.into(),
        zone: "UTC".into(),
        due: Due { at_ms: NOON + after_noon_ms, offset_s: 0, dst: None },
        asap: false,
        entity: AGENT.into(),
        customer: CUSTOMER.into(),
        order,
        attempts,
    }
}

async fn stage() -> Stage {
    let stage = Stage::new().await;
    stage.person(AGENT).await;
    stage.person(CUSTOMER).await;
    warmed(stage).await
}

/// With every sentence at hand: one that is not ready in time is left out.
async fn warmed(stage: Stage) -> Stage {
    stage
        .warm(&[
            "Callback to the number ending in 4 3.",
            "Hello. This is the call that you asked for. One moment, please.",
            "The customer does not answer. Goodbye.",
            "I am sorry. Nobody can take your call now.",
            "I am sorry. Nobody can take your call now. We will call you again.",
        ])
        .await;
    stage
}

/// The next party that is rung, which must be this one.
async fn rings(stage: &mut Stage, extension: &str) -> ScriptedLeg {
    let dialled = stage.dialled().await;
    assert_eq!(dialled.order.to_user, extension);
    dialled.far
}

fn no_answer() -> LegEvent {
    remote_end(Cause::NoAnswer, Some(480))
}

/// Both parties answer in this order, talk, and the first hangs up.
async fn they_talk(stage: &mut Stage, key: &str, first: &str, second: &str) {
    let mut one = rings(stage, first).await;
    one.tell(answered());
    hears(&mut one).await;
    let mut two = rings(stage, second).await;
    two.tell(answered());
    if second == AGENT {
        hears(&mut two).await;
    }
    stage.until_callback(key, |callback| callback.state == State::Connected).await;
    one.tell(remote_end(Cause::Normal, None));
    hangs_up(&mut two).await;
}

impl Stage {
    async fn last(&self, key: &str) -> Value {
        self.events(key).await.pop().unwrap()["data"].clone()
    }
}

#[tokio::test]
async fn the_order_says_who_is_rung_first() {
    let orders = [(Order::EntityFirst, AGENT, CUSTOMER), (Order::CustomerFirst, CUSTOMER, AGENT)];
    for (order, first, second) in orders {
        let mut stage = stage().await;
        let key = stage.book(&booking(order, 3, "12:10", 10 * MINUTE_MS)).await;
        stage.hand.advance(10 * MINUTE_MS - 1);
        assert!(stage.nobody_dialled().await, "not a millisecond early");
        stage.hand.advance(1);
        they_talk(&mut stage, &key, first, second).await;
        let callback = stage.until_callback(&key, |callback| callback.state == State::Completed).await;
        assert_eq!(callback.attempt, 1);
        assert_eq!(stage.kinds(&key).await, ["callback.started", "callback.completed"]);
        let last = stage.last(&key).await;
        assert_eq!((&last["status"], &last["attempts"]), (&json!("completed"), &json!(1)));
    }
}

#[tokio::test]
async fn an_agent_who_does_not_answer_is_rung_again_after_2_5_and_15_minutes() {
    for order in [Order::EntityFirst, Order::CustomerFirst] {
        let mut stage = stage().await;
        let key = stage.book(&booking(order, 4, "12:00", 0)).await;
        for (attempt, wait_ms) in [(1, 2 * MINUTE_MS), (2, 5 * MINUTE_MS), (3, 15 * MINUTE_MS)] {
            agent_does_not_answer(&mut stage, order).await;
            let due_ms = stage.kernel.clock.now_ms() + wait_ms;
            let waits = stage.until_callback(&key, |row| row.state == State::Scheduled && row.attempt == attempt).await;
            assert_eq!(waits.due_ms, due_ms);
            stage.hand.advance(wait_ms - 1);
            assert!(stage.nobody_dialled().await, "attempt {} of {order:?} is early", attempt + 1);
            stage.hand.advance(1);
        }
        agent_does_not_answer(&mut stage, order).await;
        let over = stage.until_callback(&key, |callback| callback.state == State::Missed).await;
        assert_eq!(over.attempt, 4);
        let started = "callback.started";
        assert_eq!(stage.kinds(&key).await, [started, started, started, started, "callback.missed"]);
        let attempts: Vec<Value> =
            stage.events(&key).await.iter().map(|event| event["data"]["attempt"].clone()).collect();
        assert_eq!(attempts[..4], [json!(1), json!(2), json!(3), json!(4)]);
        let last = stage.last(&key).await;
        assert_eq!((&last["reason"], &last["attempts"]), (&json!("no_answer"), &json!(4)));
        stage.hand.advance(60 * MINUTE_MS);
        assert!(stage.nobody_dialled().await, "there is no fifth");
    }
}

async fn agent_does_not_answer(stage: &mut Stage, order: Order) {
    if order == Order::EntityFirst {
        return assert!(rings(stage, AGENT).await.tell(no_answer()));
    }
    let mut customer = rings(stage, CUSTOMER).await;
    customer.tell(answered());
    hears(&mut customer).await;
    rings(stage, AGENT).await.tell(no_answer());
    hears(&mut customer).await;
    hangs_up(&mut customer).await;
}

#[tokio::test]
async fn an_agent_whose_phone_says_487_is_rung_again() {
    let mut stage = stage().await;
    let key = stage.book(&booking(Order::EntityFirst, 3, "12:00", 0)).await;
    rings(&mut stage, AGENT).await.tell(remote_end(Cause::Canceled, Some(487)));
    let waits = stage.until_callback(&key, |row| row.state == State::Scheduled && row.attempt == 1).await;
    assert_eq!(waits.due_ms, NOON + 2 * MINUTE_MS);
}

#[tokio::test]
async fn who_hangs_up_an_attempt_by_api_means_the_callback() {
    let mut stage = stage().await;
    let key = stage.book(&booking(Order::EntityFirst, 3, "12:00", 0)).await;
    let mut agent = rings(&mut stage, AGENT).await;
    let call = stage.until_callback(&key, |row| !row.last_call.is_empty()).await.last_call;
    stage.calls.hangup(&stage.org.id, &call).await.unwrap();
    hangs_up(&mut agent).await;
    stage.until_callback(&key, |callback| callback.state == State::Missed).await;
    assert_eq!(stage.last(&key).await["reason"], "canceled");
}

#[tokio::test]
async fn a_callback_that_is_called_off_is_not_made() {
    let mut stage = stage().await;
    let key = stage.book(&booking(Order::EntityFirst, 3, "12:10", 10 * MINUTE_MS)).await;
    let strange = stage.flows.cancel_callback("org_other", &key).await;
    assert!(matches!(strange, Err(CancelError::NotFound)), "{strange:?}");
    stage.flows.cancel_callback(&stage.org.id, &key).await.unwrap();
    let over = stage.callback(&key).await;
    assert_eq!((over.state, over.reason.as_str(), over.ended_ms), (State::Missed, "canceled", Some(NOON)));
    assert_eq!(stage.kinds(&key).await, ["callback.missed"]);
    assert_eq!(stage.last(&key).await["reason"], "canceled");
    stage.hand.advance(10 * MINUTE_MS);
    assert!(stage.nobody_dialled().await);
    let again = stage.flows.cancel_callback(&stage.org.id, &key).await;
    assert!(matches!(again, Err(CancelError::Over)), "{again:?}");
    assert_eq!(stage.kinds(&key).await, ["callback.missed"], "it ends once");
}

#[tokio::test]
async fn whoever_rings_for_a_callback_that_is_called_off_rings_no_more() {
    // 1: the agent rings; 2: the customer does; 3: nobody, until the next attempt.
    for moment in 1..=3 {
        let mut stage = stage().await;
        let key = stage.book(&booking(Order::EntityFirst, 3, "12:00", 0)).await;
        let mut agent = rings(&mut stage, AGENT).await;
        let mut ringing = Vec::new();
        match moment {
            1 => ringing.push(agent),
            2 => {
                agent.tell(answered());
                hears(&mut agent).await;
                ringing.extend([rings(&mut stage, CUSTOMER).await, agent]);
            }
            _ => {
                agent.tell(no_answer());
                stage.until_callback(&key, |row| row.state == State::Scheduled && row.attempt == 1).await;
            }
        }
        stage.flows.cancel_callback(&stage.org.id, &key).await.unwrap();
        for leg in &mut ringing {
            hangs_up(leg).await;
        }
        let call = stage.callback(&key).await.last_call;
        within(async {
            while !stage.is_completed(&call).await {
                nap().await;
            }
        })
        .await;
        stage.hand.advance(60 * MINUTE_MS);
        assert!(stage.nobody_dialled().await, "at moment {moment}");
        assert_eq!(stage.kinds(&key).await, ["callback.started", "callback.missed"], "at moment {moment}");
        assert_eq!(stage.last(&key).await["reason"], "canceled");
    }
}

#[tokio::test]
async fn two_who_talk_are_not_parted_by_calling_their_callback_off() {
    let mut stage = stage().await;
    let key = stage.book(&booking(Order::EntityFirst, 3, "12:00", 0)).await;
    let mut agent = rings(&mut stage, AGENT).await;
    agent.tell(answered());
    hears(&mut agent).await;
    let mut customer = rings(&mut stage, CUSTOMER).await;
    customer.tell(answered());
    stage.until_callback(&key, |callback| callback.state == State::Connected).await;
    let refused = stage.flows.cancel_callback(&stage.org.id, &key).await;
    assert!(matches!(refused, Err(CancelError::Talking)), "{refused:?}");
    agent.tell(remote_end(Cause::Normal, None));
    hangs_up(&mut customer).await;
    stage.until_callback(&key, |callback| callback.state == State::Completed).await;
    assert_eq!(stage.last(&key).await["status"], "completed");
}

#[tokio::test]
async fn who_is_called_off_gives_the_place_in_the_queue_up() {
    let mut stage = stage().await;
    team_of_two(&stage).await;
    let org: Arc<str> = stage.org.id.as_str().into();
    let mut people = Vec::new();
    for extension in [AGENT, "1002"] {
        people.push(stage.calls.directory().person(&org, extension).await.unwrap().unwrap().person);
        stage.calls.say(&org, people.last().unwrap(), Availability::Away).await.unwrap();
    }
    let key = stage.book(&queued()).await;
    waits(&stage, 1).await;
    stage.flows.cancel_callback(&org, &key).await.unwrap();
    waits(&stage, 0).await;
    stage.calls.say(&org, &people[0], Availability::Available).await.unwrap();
    assert!(stage.nobody_dialled().await, "an agent is there, but nobody to be called");
    assert_eq!(stage.kinds(&key).await, ["callback.missed"]);
}

/// Waits until so many wait for the team.
async fn waits(stage: &Stage, count: usize) {
    let org: Arc<str> = stage.org.id.as_str().into();
    within(async {
        while stage.calls.queues(&org).await.unwrap().remove(0).waiting != count {
            nap().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_customer_who_does_not_answer_ends_it_and_the_agent_is_told() {
    let mut stage = stage().await;
    let key = stage.book(&booking(Order::EntityFirst, 3, "12:00", 0)).await;
    let mut agent = rings(&mut stage, AGENT).await;
    agent.tell(answered());
    let greeting = hears(&mut agent).await;
    rings(&mut stage, CUSTOMER).await.tell(remote_end(Cause::Busy, Some(486)));
    let regret = hears(&mut agent).await;
    assert!(greeting > 0 && regret > 0 && greeting != regret, "{greeting} and {regret} samples");
    hangs_up(&mut agent).await;
    stage.until_callback(&key, |callback| callback.state == State::Completed).await;
    assert_eq!(stage.last(&key).await["status"], "busy");
}

#[tokio::test]
async fn a_sentence_that_never_ends_holds_nobody_up() {
    let mut stage = stage().await;
    stage.book(&booking(Order::EntityFirst, 3, "12:00", 0)).await;
    let mut agent = rings(&mut stage, AGENT).await;
    agent.tell(answered());
    asked(&mut agent, |asked| matches!(asked, voice::runner::script::Asked::Play(..)).then_some(())).await;
    assert!(stage.nobody_dialled().await);
    stage.hand.advance(10_000);
    rings(&mut stage, CUSTOMER).await;
}

#[tokio::test]
async fn neither_side_is_shown_the_others_number() {
    let mut stage = stage().await;
    stage.trunk("+442071838750").await;
    let outside = "+917507161643";
    let booked = Booking { customer: outside.into(), ..booking(Order::CustomerFirst, 1, "12:00", 0) };
    let key = stage.book(&booked).await;
    let mut customer = stage.dialled().await;
    assert!(matches!(&customer.order.target, Target::Trunk { number, .. } if number == outside));
    assert_eq!(customer.order.from.number, "+442071838750", "the organisation's own number");
    customer.far.tell(answered());
    hears(&mut customer.far).await;
    let agent = stage.dialled().await;
    assert_eq!(agent.order.to_user, AGENT);
    let shown = format!("{:?}", agent.order.from);
    assert!(!shown.contains("91750716"), "{shown}");
    agent.far.tell(remote_end(Cause::Rejected, Some(603)));
    hears(&mut customer.far).await;
    hangs_up(&mut customer.far).await;
    let over = stage.until_callback(&key, |callback| callback.state == State::Missed).await;
    let told = format!("{:?}{:?}", stage.events(&key).await, stage.events(&over.last_call).await);
    assert!(!told.contains("91750716") && told.contains("**43"), "{told}");
    let view = serde_json::to_string(&stage.view(&over.last_call).await).unwrap();
    assert!(!view.contains("91750716") && view.contains("**43"), "{view}");
}

#[tokio::test]
async fn the_do_not_call_list_counts_on_the_day() {
    let mut stage = stage().await;
    let booked =
        Booking { customer: "+917507161643".into(), ..booking(Order::EntityFirst, 3, "12:10", 10 * MINUTE_MS) };
    let key = stage.book(&booked).await;
    stage.settings(&OrgSettings { do_not_call: vec!["+917507161643".into()], ..OrgSettings::default() }).await;
    stage.hand.advance(10 * MINUTE_MS);
    stage.until_callback(&key, |callback| callback.state == State::Missed).await;
    assert_eq!(stage.kinds(&key).await, ["callback.missed"]);
    assert_eq!(stage.last(&key).await["reason"], "do_not_call");
    assert!(stage.nobody_dialled().await);
}

#[tokio::test]
async fn quiet_hours_put_a_callback_off_to_their_end() {
    let mut stage = stage().await;
    let quiet = QuietHours { from: "12:05".into(), to: "14:00".into() };
    stage.settings(&OrgSettings { quiet_hours: Some(quiet), ..OrgSettings::default() }).await;
    let key = stage.book(&booking(Order::EntityFirst, 3, "12:10", 10 * MINUTE_MS)).await;
    stage.hand.advance(10 * MINUTE_MS);
    stage.until_callback(&key, |callback| callback.due_ms == NOON + 120 * MINUTE_MS).await;
    stage.hand.set(NOON + 120 * MINUTE_MS - 1);
    assert!(stage.nobody_dialled().await);
    stage.hand.advance(1);
    they_talk(&mut stage, &key, AGENT, CUSTOMER).await;
    stage.until_callback(&key, |callback| callback.state == State::Completed).await;
    assert_eq!(stage.kinds(&key).await, ["callback.started", "callback.completed"], "waiting is no attempt");
}

#[tokio::test]
async fn a_planned_restart_while_somebody_rings_loses_nothing() {
    // 1: the agent rings; 2: the agent hears the greeting; 3: the customer rings.
    for moment in 1..=3 {
        let mut stage = stage().await;
        let key = stage.book(&booking(Order::EntityFirst, 1, "12:00", 0)).await;
        let mut agent = rings(&mut stage, AGENT).await;
        let mut legs = Vec::new();
        if moment > 1 {
            agent.tell(answered());
        }
        if moment > 2 {
            hears(&mut agent).await;
            legs.push(rings(&mut stage, CUSTOMER).await);
        }
        legs.push(agent);
        let call = stage.until_callback(&key, |row| !row.last_call.is_empty()).await.last_call;
        stage.calls.drain();
        stage.calls.end_all();
        for leg in &mut legs {
            hangs_up(leg).await;
        }
        within(async {
            while !stage.is_completed(&call).await {
                nap().await;
            }
        })
        .await;
        assert_eq!(stage.kinds(&key).await, ["callback.started"], "at moment {moment}");
        let db = stage.stop().await;
        let mut stage = warmed(Stage::on(db, NOON + 30_000).await).await;
        they_talk(&mut stage, &key, AGENT, CUSTOMER).await;
        let over = stage.until_callback(&key, |callback| callback.state == State::Completed).await;
        assert_eq!(over.attempt, 1, "an attempt that we broke off is no attempt");
        assert_eq!(stage.kinds(&key).await, ["callback.started", "callback.started", "callback.completed"]);
        stage.hand.advance(60 * MINUTE_MS);
        assert!(stage.nobody_dialled().await, "and not a third time");
    }
}

#[tokio::test]
async fn a_server_that_was_down_dials_what_is_at_most_15_minutes_late() {
    for (down_ms, dials) in [(15 * MINUTE_MS, true), (15 * MINUTE_MS + 1, false)] {
        let stage = stage().await;
        let key = stage.book(&booking(Order::EntityFirst, 1, "12:10", 10 * MINUTE_MS)).await;
        let db = stage.stop().await;
        let mut stage = warmed(Stage::on(db, NOON + 10 * MINUTE_MS + down_ms).await).await;
        if dials {
            they_talk(&mut stage, &key, AGENT, CUSTOMER).await;
            stage.until_callback(&key, |callback| callback.state == State::Completed).await;
        } else {
            stage.until_callback(&key, |callback| callback.state == State::Missed).await;
            assert_eq!(stage.last(&key).await["reason"], "late");
        }
    }
}

#[tokio::test]
async fn new_zone_data_moves_a_callback_at_the_next_start() {
    // The wall time was an hour and ten minutes after noon by the old rules and is ten minutes after noon by the new
    // ones: known before that, while the server was down, and on a server that ran on.
    for (start_minutes, due_minutes) in [(5, 10), (30, 30)] {
        let stage = stage().await;
        let key = stage.book(&booking(Order::EntityFirst, 1, "12:10", 70 * MINUTE_MS)).await;
        let db = stage.stop().await;
        let mut stage = warmed(Stage::on(db, NOON + start_minutes * MINUTE_MS).await).await;
        assert_eq!(stage.callback(&key).await.due_ms, NOON + due_minutes * MINUTE_MS);
        stage.hand.set(NOON + due_minutes * MINUTE_MS);
        they_talk(&mut stage, &key, AGENT, CUSTOMER).await;
        stage.until_callback(&key, |callback| callback.state == State::Completed).await;
    }
    let mut stage = stage().await;
    let key = stage.book(&booking(Order::EntityFirst, 1, "12:10", 70 * MINUTE_MS)).await;
    stage.hand.set(NOON + 70 * MINUTE_MS);
    they_talk(&mut stage, &key, AGENT, CUSTOMER).await;
    // And later, by the new rules: it waits for that.
    let key = stage.book(&booking(Order::EntityFirst, 1, "14:00", 80 * MINUTE_MS)).await;
    stage.hand.set(NOON + 80 * MINUTE_MS);
    stage.until_callback(&key, |callback| callback.due_ms == NOON + 120 * MINUTE_MS).await;
    assert!(stage.nobody_dialled().await);
    stage.hand.set(NOON + 120 * MINUTE_MS);
    they_talk(&mut stage, &key, AGENT, CUSTOMER).await;
}

#[tokio::test]
async fn a_run_is_open_as_long_as_its_callback_is() {
    let mut stage = stage().await;
    // The tests' bookings name themselves as their run.
    let run = stage.book(&booking(Order::EntityFirst, 1, "12:10", 10 * MINUTE_MS)).await;
    assert!(stage.flows.is_open(&stage.org.id, &run).await.unwrap());
    assert!(!stage.flows.is_open("org_other", &run).await.unwrap());
    stage.hand.set(NOON + 10 * MINUTE_MS);
    they_talk(&mut stage, &run, AGENT, CUSTOMER).await;
    stage.until_callback(&run, |callback| callback.state == State::Completed).await;
    assert!(!stage.flows.is_open(&stage.org.id, &run).await.unwrap());
}

/// A team whose members all ring at once.
async fn team_of_two(stage: &Stage) {
    stage.person("1002").await;
    let team = NewTeam {
        name: "Help".into(),
        number: TEAM.into(),
        members: vec![AGENT.into(), "1002".into()],
        ..NewTeam::default()
    };
    create_team(&stage.kernel, &stage.org.id, team).await.unwrap();
}

/// One that somebody booked who waited in the team's queue.
fn queued() -> Booking {
    Booking { entity: TEAM.into(), ..booking(Order::InTurn, 3, "12:00", 0) }
}

#[tokio::test]
async fn who_has_queued_for_a_team_that_rings_at_once_is_called_when_somebody_is_there() {
    let mut stage = stage().await;
    team_of_two(&stage).await;
    let org: Arc<str> = stage.org.id.as_str().into();
    let mut people = Vec::new();
    for extension in [AGENT, "1002"] {
        people.push(stage.calls.directory().person(&org, extension).await.unwrap().unwrap().person);
        stage.calls.say(&org, people.last().unwrap(), Availability::Away).await.unwrap();
    }
    let key = stage.book(&queued()).await;
    stage.hand.advance(MINUTE_MS);
    assert!(stage.nobody_dialled().await, "nobody is there to be rung");
    stage.calls.say(&org, &people[0], Availability::Available).await.unwrap();
    let mut agent = stage.dialled().await;
    assert_eq!(agent.order.to_user, AGENT);
    assert_eq!(agent.order.ring_timeout_ms, 25_000, "as long as the team's phones ring, and five seconds");
    assert!(stage.nobody_dialled().await);
    agent.far.tell(answered());
    hears(&mut agent.far).await;
    rings(&mut stage, CUSTOMER).await.tell(answered());
    stage.until_callback(&key, |callback| callback.state == State::Connected).await;
}

#[tokio::test]
async fn in_his_turn_all_who_are_free_ring_and_who_answers_has_him() {
    let mut stage = stage().await;
    team_of_two(&stage).await;
    let key = stage.book(&queued()).await;
    let (mut one, mut two) = (rings(&mut stage, AGENT).await, rings(&mut stage, "1002").await);
    two.tell(answered());
    hangs_up(&mut one).await;
    hears(&mut two).await;
    rings(&mut stage, CUSTOMER).await.tell(answered());
    stage.until_callback(&key, |callback| callback.state == State::Connected).await;
    let queue = stage.calls.queues(&stage.org.id.as_str().into()).await.unwrap().remove(0);
    let states: Vec<AgentState> = queue.agents.iter().map(|agent| agent.state).collect();
    assert_eq!(states, [AgentState::Available, AgentState::Busy]);
}
