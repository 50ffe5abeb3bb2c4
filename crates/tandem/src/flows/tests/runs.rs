//! Runs over the shell: what a step asks for reaches the phones.

use kernel::OrgSettings;
use serde_json::{Value, json};
use voice::leg::{LegEvent, Playable, RecordCommand};
use voice::runner::script::{Asked, ScriptedLeg};

use super::stage::*;
use crate::flows::lenient::Reading;
use crate::flows::machine::Source;
use crate::flows::store::Origin;
use crate::flows::{Launched, Order, Purpose};

/// Behind the step's own ring time, which voice keeps as a net.
const RING_NET_MS: u32 = 5_000;

async fn launch(stage: &Stage, steps: Value) -> Launched {
    launch_body(stage, json!({ "flow": steps })).await
}

async fn launch_body(stage: &Stage, body: Value) -> Launched {
    let org = stage.kernel.org_by_id(&stage.org.id).await.unwrap().unwrap();
    let reading = Reading { value: body.clone(), lenient: false };
    let (flow, report) = stage.flows.judge(&stage.org.id, &reading, Purpose::Run).await.unwrap();
    let flow = flow.unwrap_or_else(|| panic!("{:?}", report.errors));
    stage.flows.launch(&org, flow.into(), Order::of(Origin::Posted(body))).await.unwrap()
}

/// The customer, who has answered the call of a run.
async fn customer(stage: &mut Stage) -> ScriptedLeg {
    let dialled = stage.dialled().await;
    assert_eq!(dialled.order.to_user, "1001");
    dialled.far.tell(answered());
    dialled.far
}

async fn until_event(stage: &Stage, call: &str, kind: &str) -> Value {
    within(async {
        loop {
            if let Some(event) = stage.events(call).await.into_iter().find(|event| event["type"] == kind) {
                return event;
            }
            nap().await;
        }
    })
    .await
}

#[tokio::test]
async fn every_field_of_a_connection_is_carried_out() {
    let mut stage = Stage::new().await;
    for extension in ["1001", "1002", "1003"] {
        stage.person(extension).await;
    }
    stage.warm(&["A call."]).await;
    let launched = launch(
        &stage,
        json!([
            {"id": 0, "type": "call", "number": "1001", "next_step": 1},
            {"id": 1, "type": "connect", "targets": ["1002", "1003"], "strategy": "sequential", "timeout": 7,
             "time_limit": 60, "caller_id": "1003", "whisper": "A call.", "accept_key": "5",
             "hold_music": "music", "record": true, "next_step": 2},
            {"id": 2, "type": "pause", "seconds": 600},
        ]),
    )
    .await;
    let mut customer = customer(&mut stage).await;
    let mut first = stage.dialled().await;
    assert_eq!(first.order.to_user, "1002");
    assert_eq!(first.order.ring_timeout_ms, 7_000 + RING_NET_MS);
    assert_eq!(first.order.from.number, "1003");
    asked(&mut customer, |asked| matches!(asked, Asked::Play(_, Playable::HoldMusic, _)).then_some(())).await;
    assert!(stage.nobody_dialled().await, "one after the other");
    stage.hand.advance(7_000);
    hangs_up(&mut first.far).await;
    let mut second = stage.dialled().await.far;
    second.tell(answered());
    hears(&mut second).await;
    second.tell(LegEvent::Dtmf { symbol: '1', duration_ms: 80 });
    second.tell(LegEvent::Dtmf { symbol: '5', duration_ms: 80 });
    asked(&mut customer, |asked| matches!(asked, Asked::Record(RecordCommand::Start { .. })).then_some(())).await;
    let call = &launched.call;
    assert_eq!(until_event(&stage, call, "connect.answered").await["data"]["target"], "1003");
    stage.hand.advance(60_000);
    hangs_up(&mut second).await;
    let ended = until_event(&stage, call, "connect.ended").await;
    assert_eq!((&ended["data"]["status"], &ended["data"]["cause"]), (&json!("completed"), &json!("time_limit")));
    asked(&mut customer, |asked| matches!(asked, Asked::Record(RecordCommand::Stop)).then_some(())).await;
}

/// A house that announces recordings.
async fn announcing() -> Stage {
    const WORDS: &str = "This call is recorded.";
    let stage = Stage::new().await;
    stage.settings(&OrgSettings { recording_announcement: Some(WORDS.into()), ..OrgSettings::default() }).await;
    stage.person("1001").await;
    stage.person("1002").await;
    stage.warm(&[WORDS]).await;
    stage
}

#[tokio::test]
async fn both_parties_of_a_recorded_connection_are_told_before_they_are_joined() {
    let mut stage = announcing().await;
    let flow = json!([
        {"id": 0, "type": "call", "number": "1001", "next_step": 1},
        {"id": 1, "type": "connect", "number": "1002", "record": true},
    ]);
    let launched = launch(&stage, flow).await;
    let mut customer = customer(&mut stage).await;
    assert!(stage.nobody_dialled().await, "the customer hears it first");
    hears(&mut customer).await;
    let mut agent = stage.dialled().await.far;
    agent.tell(answered());
    hears(&mut agent).await;
    asked(&mut customer, |asked| matches!(asked, Asked::Record(RecordCommand::Start { .. })).then_some(())).await;
    until_event(&stage, &launched.call, "connect.answered").await;
}

#[tokio::test]
async fn who_takes_over_a_recorded_call_is_told_that_it_is() {
    let mut stage = announcing().await;
    let flow = json!({"record": true, "flow": [
        {"id": 0, "type": "call", "number": "1001", "next_step": 1},
        {"id": 1, "type": "transfer", "to": "1002"},
    ]});
    let launched = launch_body(&stage, flow).await;
    let mut customer = customer(&mut stage).await;
    hears(&mut customer).await;
    asked(&mut customer, |asked| matches!(asked, Asked::Record(RecordCommand::Start { .. })).then_some(())).await;
    let mut third = stage.dialled().await.far;
    third.tell(answered());
    hears(&mut third).await;
    assert_eq!(until_event(&stage, &launched.call, "transfer.completed").await["data"]["to"], "1002");
}

#[tokio::test]
async fn a_run_lets_go_of_the_sounds_of_the_step_before() {
    let mut stage = Stage::new().await;
    stage.person("1001").await;
    stage.warm(&["One.", "Two."]).await;
    let launched = launch(
        &stage,
        json!([
            {"id": 0, "type": "call", "number": "1001", "next_step": 1},
            {"id": 1, "type": "play", "text": "One.", "next_step": 2},
            {"id": 2, "type": "play", "text": "Two."},
        ]),
    )
    .await;
    let mut customer = customer(&mut stage).await;
    hears(&mut customer).await;
    // The second sentence plays.
    asked(&mut customer, |asked| matches!(asked, Asked::Play(..)).then_some(())).await;
    let source = Source::Speech { text: "One.".into(), voice: None, language: None };
    let one = stage.flows.sounds().get(&source, 16_000).await.unwrap();
    assert_eq!(std::sync::Arc::strong_count(&one.pcm), 2, "the cache's and ours");
    assert!(!stage.is_completed(&launched.call).await);
}

#[tokio::test]
async fn the_customers_number_may_be_shown_inside_without_a_warning() {
    let stage = Stage::new().await;
    stage.person("1002").await;
    stage.trunk("+442071838750").await;
    let warnings = async |callee: &str, wanted: &str| {
        let body = json!({"flow": [
            {"id": 0, "type": "call", "number": "+14155550123", "caller_id": "+14155550123", "next_step": 1},
            {"id": 1, "type": "connect", "number": callee, "caller_id": wanted},
        ]});
        let reading = Reading { value: body, lenient: false };
        let (_, report) = stage.flows.judge(&stage.org.id, &reading, Purpose::Run).await.unwrap();
        report.warnings.into_iter().map(|warning| warning.path).collect::<Vec<_>>()
    };
    assert_eq!(warnings("1002", "+14155550123").await, ["/flow/0/caller_id"], "the callee's own number is not shown");
    assert_eq!(warnings("1002", "14155550124").await, ["/flow/0/caller_id", "/flow/1/caller_id"]);
    assert_eq!(warnings("+14155550199", "14155550123").await, ["/flow/0/caller_id", "/flow/1/caller_id"]);
}
