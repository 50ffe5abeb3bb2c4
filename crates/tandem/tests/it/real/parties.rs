//! What one party does to another: hold, transfers from the flow and from the phone, keys that are
//! sent, keys that are heard in the audio itself.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::steps::{Run, Scene, of};
use crate::harness::baresip::Baresip;
use crate::harness::ear::{tone_file, write_wav};
use crate::harness::server::{Plan, Server};

/// What the phones say.
const FIRST_HERTZ: f64 = 1_300.0;
const SECOND_HERTZ: f64 = 1_000.0;

#[tokio::test(flavor = "multi_thread")]
async fn who_is_held_hears_music_and_the_other_again_afterwards() {
    let server = Server::start().await;
    let dev = server.org("dev").await;
    let folder = tempfile::tempdir().unwrap();
    let holder = dev.phone("1001").await.speaking(tone_file(folder.path(), FIRST_HERTZ));
    let mut holder = Baresip::start(holder).await;
    let mut held = Baresip::start(dev.phone("1002").await.answering()).await;
    holder.dial("1002").await;
    held.expect("CALL_ESTABLISHED").await;
    sleep(Duration::from_secs(2)).await;
    holder.say("hold", "").await;
    sleep(Duration::from_secs(3)).await;
    holder.say("resume", "").await;
    sleep(Duration::from_secs(2)).await;
    holder.hang_up().await;
    held.expect("CALL_CLOSED").await;
    sleep(Duration::from_millis(300)).await;
    let heard = held.heard();
    let (before, during, after) = (heard.part(0.5..1.5), heard.part(2.8..4.4), heard.part(5.8..6.8));
    assert!(before.seconds_of(FIRST_HERTZ) > 0.8, "before: {} s", before.seconds_of(FIRST_HERTZ));
    assert!(
        during.seconds_of(FIRST_HERTZ) < 0.3 && during.rms() > 100.0,
        "music: {} s of the tone, {}",
        during.seconds_of(FIRST_HERTZ),
        during.rms()
    );
    assert!(after.seconds_of(FIRST_HERTZ) > 0.6, "after: {} s", after.seconds_of(FIRST_HERTZ));
    let calls = dev.client().get("/v1/calls").await.expect(200);
    let path = format!("/v1/calls/{}/events", calls["calls"][0]["id"].as_str().unwrap());
    let events = dev.client().get(&path).await.expect(200);
    let events = events["events"].as_array().unwrap();
    assert_eq!((of(events, "call.held").len(), of(events, "call.resumed").len()), (1, 1));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transfer_connects_for_good_and_tells_how_it_went() {
    let Scene { server, .. } = Scene::new().await;
    let dev = server.org("dev").await;
    let folder = tempfile::tempdir().unwrap();
    let mut customer = Baresip::start(dev.phone("1001").await.answering()).await;
    let agent = dev.phone("1002").await.speaking(tone_file(folder.path(), SECOND_HERTZ));
    let mut agent = Baresip::start(agent).await;
    let transfer = || json!([{"id": 1, "type": "transfer", "to": 1002}]);

    let run = Run::begin(&dev.client(), transfer()).await;
    agent.expect("CALL_INCOMING").await;
    agent.accept().await;
    agent.expect("CALL_ESTABLISHED").await;
    sleep(Duration::from_secs(2)).await;
    agent.hang_up().await;
    customer.expect("CALL_CLOSED").await;
    let events = run.events().await;
    let told: Vec<&str> = events.iter().filter_map(|event| event["type"].as_str()).collect();
    let told: Vec<&str> = told.into_iter().filter(|kind| kind.starts_with("transfer.")).collect();
    assert_eq!(told, ["transfer.started", "transfer.completed"]);
    let end = &events.last().unwrap()["data"];
    assert_eq!((&end["cause"], &end["ended_by"]), (&json!("normal"), &json!("target")));
    assert!(customer.heard().seconds_of(SECOND_HERTZ) > 1.2, "the customer heard the agent");

    let run = Run::begin(&dev.client(), transfer()).await;
    agent.expect("CALL_INCOMING").await;
    agent.hang_up().await;
    customer.expect("CALL_CLOSED").await;
    let events = run.events().await;
    assert_eq!(of(&events, "transfer.failed").len(), 1, "{events:#?}");
    let failed = &of(&events, "transfer.failed")[0]["data"];
    assert_eq!(events.last().unwrap()["data"]["cause"], failed["cause"], "the call ends by that");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agents_phone_hands_the_customer_on_and_the_flow_goes_on_afterwards() {
    let Scene { server, stub } = Scene::new().await;
    let dev = server.org("dev").await;
    let folder = tempfile::tempdir().unwrap();
    let mut customer = Baresip::start(dev.phone("1001").await.answering()).await;
    let mut agent = Baresip::start(dev.phone("1002").await.answering()).await;
    let third = dev.phone("1003").await.answering().speaking(tone_file(folder.path(), SECOND_HERTZ));
    let domain = third.domain.clone();
    let mut third = Baresip::start(third).await;
    let steps = json!([
        {"id": 1, "type": "connect", "number": 1002, "next_step": 2},
        {"id": 2, "type": "http", "url": stub.url("/after/{{connect.status}}")},
    ]);
    let run = Run::begin(&dev.client(), steps).await;
    agent.expect("CALL_ESTABLISHED").await;
    sleep(Duration::from_millis(500)).await;
    agent.say("transfer", &format!("sip:1003@{domain}")).await;
    third.expect("CALL_ESTABLISHED").await;
    agent.expect("CALL_CLOSED").await;
    sleep(Duration::from_secs(2)).await;
    third.hang_up().await;
    assert_eq!(stub.request("/after/").await.target, "/after/completed");
    customer.expect("CALL_CLOSED").await;
    let events = run.events().await;
    assert_eq!(of(&events, "connect.answered").len(), 2);
    assert_eq!(events.last().unwrap()["data"]["cause"], "normal");
    assert!(customer.heard().seconds_of(SECOND_HERTZ) > 1.2, "the customer heard the third");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_receives_the_keys_that_a_flow_sends() {
    let Scene { server, .. } = Scene::new().await;
    let dev = server.org("dev").await;
    let mut phone = Baresip::start(dev.phone("1001").await.answering()).await;
    let run = Run::begin(
        &dev.client(),
        json!([
            {"id": 1, "type": "send_dtmf", "digits": "1w2*#D", "next_step": 2},
            {"id": 2, "type": "pause", "seconds": 1},
        ]),
    )
    .await;
    phone.expect("CALL_ESTABLISHED").await;
    assert_eq!(phone.keys(5).await, "12*#D");
    run.events().await;
    server.stop().await;
}

/// Keys as tones at 8 kHz (ITU-T Q.23), after four seconds of silence.
fn tones(keys: &[(f64, f64)]) -> Vec<i16> {
    let mut samples = vec![0; 4 * 8_000];
    for (low, high) in keys {
        let sine = |hertz: f64, index: i32| (std::f64::consts::TAU * hertz * f64::from(index) / 8_000.0).sin();
        samples.extend((0..1_600).map(|index| (6_000.0 * (sine(*low, index) + sine(*high, index))) as i16));
        samples.extend(std::iter::repeat_n(0, 2_400));
    }
    samples.extend(std::iter::repeat_n(0, 60 * 8_000));
    samples
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_in_the_audio_are_heard_when_the_setting_says_so_and_only_then() {
    let folder = tempfile::tempdir().unwrap();
    let wav = folder.path().join("keys.wav");
    write_wav(&wav, 8_000, &tones(&[(770.0, 1_336.0), (852.0, 1_209.0), (941.0, 1_477.0)]));
    for (inband, outcome) in [(true, json!("57")), (false, Value::Null)] {
        let server = Plan::new().with(|config| config.media.inband_dtmf = inband).start().await;
        let dev = server.org("dev").await;
        let _phone = Baresip::start(dev.phone("1001").await.answering().speaking(wav.clone())).await;
        let step = json!({"id": 1, "type": "digits", "count": 4, "timeout": 7, "variable": "keys", "flow": {"*": 2}});
        let run = Run::begin(&dev.client(), json!([step, {"id": 2, "type": "hangup"}])).await;
        let events = run.events().await;
        assert_eq!(of(&events, "dtmf").len(), if inband { 3 } else { 0 }, "5, 7 and #");
        let completed = of(&events, "input.completed");
        assert_eq!(completed.first().map_or(&Value::Null, |event| &event["data"]["value"]), &outcome);
        server.stop().await;
    }
}
