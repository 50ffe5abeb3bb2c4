//! Media streams to bots that are not ours: one on the websockets package, and T9, one on Pipecat as its users write it
//! for another provider.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::steps::{Run, of};
use crate::harness::baresip::Baresip;
use crate::harness::bot::Bot;
use crate::harness::client::{Client, form};
use crate::harness::ear::{Heard, tone_file};
use crate::harness::server::{Plan, Server, Tenant, self_signed};

/// What the caller says, and the bots.
const CALLER_HERTZ: f64 = 440.0;
const BOT_HERTZ: f64 = 1_000.0;
const LONG_HERTZ: f64 = 2_000.0;

/// A phone that says a tone, in a call whose flow streams to `url`.
async fn streamed(tenant: &Tenant<'_>, folder: &std::path::Path, stream: Value) -> (Baresip, Run) {
    let speaks = tone_file(folder, CALLER_HERTZ);
    let phone = Baresip::start(tenant.phone("1001").await.answering().speaking(speaks)).await;
    let after = json!({"id": "after", "type": "play", "text": "Goodbye."});
    let other = json!({"id": "refused", "type": "pause", "seconds": 1});
    let mut stream = stream;
    let edges = json!({"id": 1, "type": "stream", "flow": {"closed": "after", "failed": "refused"}});
    stream.as_object_mut().unwrap().extend(edges.as_object().unwrap().clone());
    let run = Run::begin(&tenant.client(), json!([stream, after, other])).await;
    (phone, run)
}

/// Where the run went after its stream.
fn outcome(events: &[Value]) -> &Value {
    let done = events.iter().find(|event| {
        event["step"]["type"] == "stream" && event["data"]["outcome"].is_string() && event["type"] != "step.started"
    });
    &done.unwrap_or_else(|| panic!("the stream never ended: {events:#?}"))["data"]["outcome"]
}

fn assert_tone(heard: &Heard, hertz: f64, seconds: std::ops::Range<f64>) {
    let of_it = heard.seconds_of(hertz);
    assert!(seconds.contains(&of_it), "{hertz} Hz for {of_it} s of {}", heard.seconds());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_hears_the_caller_is_heard_is_told_of_marks_and_keys_and_closes() {
    let mut bot = Bot::start("echo.py", &[]).await;
    let server = Plan::new().reaching(bot.address).start().await;
    let (dev, folder) = (server.org("dev").await, tempfile::tempdir().unwrap());
    let stream = json!({"url": format!("ws://{}/bot", bot.address), "params": {"lane": "sales"}});
    let (mut phone, run) = streamed(&dev, folder.path(), stream).await;
    let start = bot.expect("start").await["start"].clone();
    assert_eq!((&start["accountSid"], &start["callSid"]), (&json!(dev.org.cloud_sid), &json!(run.call())));
    assert_eq!((&start["tracks"], &start["customParameters"]), (&json!(["inbound"]), &json!({"lane": "sales"})));
    assert_eq!(bot.expect("mark").await["mark"]["name"], "said", "when it was heard");
    phone.press("1").await;
    assert_eq!(bot.expect("dtmf").await["dtmf"]["digit"], "1");
    assert_eq!(bot.expect("mark").await["mark"]["name"], "cleared", "a minute of speech is not waited for");
    phone.press("#").await;
    let summary = bot.expect("summary").await;
    let events = run.events().await;
    assert_eq!(outcome(&events), "closed");
    assert!(summary["frames"]["inbound"].as_u64().unwrap() > 100, "{summary}");
    assert_eq!(summary["frames"]["outbound"], 0, "{summary}");
    assert!(summary["tone"]["inbound"].as_f64().unwrap() > 2.0, "{summary}");
    let heard = phone.heard();
    assert_tone(&heard, BOT_HERTZ, 1.5..2.5);
    assert_tone(&heard, LONG_HERTZ, 0.3..5.0);
    assert_eq!(of(&events, "stream.started")[0]["data"]["stream_sid"], start["streamSid"]);
    assert_eq!(of(&events, "stream.stopped")[0]["data"]["reason"], "closed");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_are_heard_by_the_bot_and_say_nothing() {
    let mut bot = Bot::start("echo.py", &[]).await;
    let server = Plan::new().reaching(bot.address).start().await;
    let (dev, folder) = (server.org("dev").await, tempfile::tempdir().unwrap());
    let stream = json!({"url": format!("ws://{}/bot", bot.address), "track": "both_tracks"});
    let (mut phone, run) = streamed(&dev, folder.path(), stream).await;
    assert_eq!(bot.expect("start").await["start"]["tracks"], json!(["inbound", "outbound"]));
    sleep(Duration::from_secs(3)).await;
    phone.press("#").await;
    let summary = bot.expect("summary").await;
    assert_eq!(outcome(&run.events().await), "closed");
    let frames = |track: &str| summary["frames"][track].as_u64().unwrap();
    assert!(frames("inbound") > 100 && frames("outbound") > 100, "{summary}");
    assert_tone(&phone.heard(), BOT_HERTZ, 0.0..0.1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_refused_or_forbidden_fails_and_the_flow_goes_on() {
    let bot = Bot::start("echo.py", &[]).await;
    let nobody = crate::harness::phone::free_ports();
    let server = Plan::new().reaching(([127, 0, 0, 1], nobody).into()).start().await;
    let (dev, folder) = (server.org("dev").await, tempfile::tempdir().unwrap());
    let client: Client = dev.client();
    let forbidden = json!({"flow": [
        {"id": "call", "type": "call", "number": "917507161643", "next_step": 1},
        {"id": 1, "type": "stream", "url": format!("ws://{}/bot", bot.address)},
    ]});
    let errors = client.post("/api/v2/call/flow?dry_run=1", &forbidden).await.expect(422);
    assert_eq!(errors["errors"][0]["code"], "url_blocked", "{errors}");
    let (_phone, run) = streamed(&dev, folder.path(), json!({"url": format!("ws://127.0.0.1:{nobody}/")})).await;
    let events = run.events().await;
    assert_eq!(outcome(&events), "failed");
    assert!(of(&events, "stream.started").is_empty());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_floods_is_closed_and_told_why() {
    let mut bot = Bot::start("echo.py", &["flood"]).await;
    let server = Plan::new().reaching(bot.address).start().await;
    let (dev, folder) = (server.org("dev").await, tempfile::tempdir().unwrap());
    let (_phone, run) = streamed(&dev, folder.path(), json!({"url": format!("ws://{}/bot", bot.address)})).await;
    let closed = bot.expect("closed").await;
    assert_eq!((&closed["code"], &closed["reason"]), (&json!(1008), &json!("more audio or marks than can be heard")));
    let events = run.events().await;
    assert_eq!(outcome(&events), "failed");
    let failed = of(&events, "step.failed")[0]["data"]["error"].as_str().unwrap().to_owned();
    assert!(failed.contains("more audio or marks"), "{failed}");
    assert_eq!(of(&events, "stream.stopped")[0]["data"]["reason"], "failed");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_by_tls_wants_a_certificate_that_is_trusted() {
    let (own, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (cert, key) = self_signed(own.path()).await;
    let (stranger, _) = self_signed(other.path()).await;
    for (trusted, expected) in [(&cert, "closed"), (&stranger, "failed")] {
        let mut bot = Bot::start("echo.py", &[cert.to_str().unwrap(), key.to_str().unwrap()]).await;
        let authority = trusted.clone();
        let plan = Plan::new().reaching(bot.address).with(|config| config.egress.ca_file = Some(authority));
        let server = plan.start().await;
        let (dev, folder) = (server.org("dev").await, tempfile::tempdir().unwrap());
        let stream = json!({"url": format!("wss://{}/bot", bot.address)});
        let (mut phone, run) = streamed(&dev, folder.path(), stream).await;
        if expected == "closed" {
            assert_eq!(bot.expect("start").await["start"]["callSid"], run.call());
            bot.expect("mark").await;
            phone.press("#").await;
        }
        let events = run.events().await;
        assert_eq!(outcome(&events), expected);
        if expected == "failed" {
            assert!(of(&events, "stream.started").is_empty());
            let error = of(&events, "step.failed")[0]["data"]["error"].as_str().unwrap().to_owned();
            assert!(error.to_lowercase().contains("certificate"), "{error}");
        }
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn t9_a_pipecat_bot_hears_is_heard_sees_keys_and_ends_the_call() {
    let server = Plan::new().with(|config| config.egress.allow.push("127.0.0.1".to_owned())).start().await;
    let (dev, folder) = (server.org("dev").await, tempfile::tempdir().unwrap());
    let base_url = format!("http://{}", server.app.http());
    let mut bot = Bot::start("pipecat_bot.py", &[&base_url, &dev.token]).await;
    let stream = json!({"url": format!("ws://{}/bot", bot.address)});
    let (mut phone, run) = streamed(&dev, folder.path(), stream).await;
    assert_eq!(bot.expect("connected").await["start"]["callSid"], run.call());
    assert!(bot.expect("hears").await["seconds"].as_f64().unwrap() >= 1.0);
    sleep(Duration::from_secs(2)).await;
    phone.press("5").await;
    assert_eq!(bot.expect("key").await["digit"], "5");
    let events = run.events().await;
    let completed = of(&events, "call.completed")[0]["data"].clone();
    assert_eq!((&completed["cause"], &completed["ended_by"]), (&json!("normal"), &json!("api")), "{completed}");
    assert_eq!(bot.expect("over").await["hung_up"], true);
    assert_eq!(of(&events, "stream.stopped").len(), 1);
    assert_tone(&phone.heard(), BOT_HERTZ, 1.5..2.5);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_facade_wants_the_right_account_and_status() {
    let server: Server = Plan::new().start().await;
    let dev = server.org("dev").await;
    let account = dev.org.cloud_sid.clone();
    let ask = async |account: &str, user: &str, token: &str, fields: &[(&str, &str)]| {
        let path = format!("/2010-04-01/Accounts/{account}/Calls/call_1.json");
        let client = server.client();
        let request = client.request(reqwest::Method::POST, &path).basic_auth(user, Some(token));
        client.send(form(request, fields)).await.status
    };
    let done = [("Status", "completed")];
    assert_eq!(ask(&account, &account, &dev.token, &done).await, 404, "there is no such call");
    assert_eq!(ask(&account, &account, &dev.token, &[("Status", "paused")]).await, 422);
    assert_eq!(ask("AC0", &account, &dev.token, &done).await, 404);
    assert_eq!(ask(&account, "AC0", &dev.token, &done).await, 401);
    assert_eq!(ask(&account, &account, "pt_wrong", &done).await, 401);
    server.stop().await;
}
