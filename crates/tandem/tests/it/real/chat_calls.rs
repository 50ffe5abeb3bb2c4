//! A call in a chat with real browsers and a real phone: the visitor in the widget on a page of another origin, the agent at
//! its phone in a page; audio both ways, the recording lands, and no number is told.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::harness::baresip::Baresip;
use crate::harness::chat_agent::{Agent, calls_in};
use crate::harness::customer::Customer;
use crate::harness::ear::{pulses_file, tone_file};
use crate::harness::server::{Server, Tenant};
use crate::harness::stub::Stub;
use crate::harness::web_phone::WebPhone;
use crate::harness::widget::{Shop, site};

/// The agent's extension: digits that come by chance nowhere else.
const EXTENSION: &str = "7351946";
/// The visitor's number, and what the organisation shows.
const ANNS: &str = "+442071838461";
const SHOWN: &str = "+442071838000";
/// What they say.
const ANN_HERTZ: f64 = 1_300.0;
const AGENT_HERTZ: f64 = 1_000.0;

/// A visitor in the widget of a foreign page, whose first word an agent has taken.
struct Scene {
    ann: Customer,
    agent: Agent,
    room: String,
    /// It must stay up as long as its visitor.
    _page: Stub,
}

impl Scene {
    async fn of(server: &Server, acme: &Tenant<'_>, settings: &[(&str, &str)], microphone: Value) -> Self {
        let shop = Shop::of(acme, server, settings).await;
        let script = format!("http://{}/w/{}.js", server.app.http(), shop.id);
        let page = site(&script, "data-locale=\"en\"").await;
        shop.set(acme, server, &[("allowed_origins", &page.url(""))]).await;
        let mut ann = Customer::at(&page.url("/"), json!({"microphone": microphone})).await;
        ann.launch().await;
        ann.say("May I talk to somebody?").await;
        ann.see(".mine .note:text-is('Sent')").await;
        let room = ann.view().await["room"].as_str().unwrap().to_owned();
        let agent = Agent::of(acme, server, EXTENSION).await;
        Self { ann, agent, room, _page: page }
    }

    async fn until(&self, state: &str) -> Value {
        let path = format!("/v1/chat/rooms/{}/call", self.room);
        let found = self.agent.client.until(&path, state, |options| options["call"]["state"] == state).await;
        found["call"].clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_of_a_foreign_page_and_an_agent_at_its_page_talk_in_the_thread() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let folder = tempfile::tempdir().unwrap();
    let settings = [("chat_record", "true"), ("chat_record_shared", "true")];
    let microphone = json!(pulses_file(folder.path(), ANN_HERTZ));
    let mut scene = Scene::of(&server, &acme, &settings, microphone).await;
    let agents = json!({"microphone": pulses_file(folder.path(), AGENT_HERTZ)});
    let mut phone = WebPhone::online(&server, &scene.agent.token, agents).await;
    assert_eq!(scene.ann.ask("count", json!({"what": "[data-act=call]:visible"})).await, 0, "nobody is there yet");
    scene.agent.take(&server, &scene.room).await;

    // The visitor calls; its page answers by itself.
    scene.ann.press("Call").await;
    scene.ann.see("text=Calling").await;
    phone.take_call().await;
    scene.ann.until_it_is_heard().await;
    scene.ann.see(".call:has-text('You are talking')").await;
    scene.ann.listen().await;
    phone.listen().await;
    // Words that the call is recorded come between.
    let (mut by_ann, mut by_agent, mut waits) = (0.0, 0.0, 0);
    while by_ann < 1.0 || by_agent < 1.0 || waits < 5 {
        assert!(waits < 20, "Ann heard the agent for {by_ann} s, the agent Ann for {by_agent} s");
        sleep(Duration::from_secs(1)).await;
        by_ann += scene.ann.heard().await.seconds_of(AGENT_HERTZ);
        by_agent += phone.heard().await.seconds_of(ANN_HERTZ);
        waits += 1;
    }
    assert_eq!(scene.ann.ask("look", json!({})).await, json!([]), "everybody can use it");
    scene.ann.press("Mute").await;
    scene.ann.see(".call [aria-pressed=true]").await;
    assert_eq!(scene.ann.view().await["call"]["muted"], true);
    scene.ann.press("Hang up").await;
    scene.until("ended").await;
    scene.ann.see(".system:has-text('Call · 0:')").await;
    scene.ann.see("[data-act=hear]").await;
    scene.ann.press("Listen to the recording").await;
    scene.ann.see("audio[src*='/v1/recordings/']").await;
    let told = calls_in(&scene.agent.client, &scene.room).await;
    assert!(told.len() == 1 && told[0]["recording"]["seconds"].as_f64().unwrap() > 1.0, "{told:?}");

    // The agent calls: the visitor declines, then accepts.
    let path = format!("/v1/chat/rooms/{}/call", scene.room);
    for (press, state) in [("Decline", "missed"), ("Accept", "talking")] {
        scene.agent.client.post(&path, &json!({"mode": "browser"})).await.expect(201);
        phone
            .until("it rings", |view| view["calls"].as_array().unwrap().iter().any(|call| call["state"] == "incoming"))
            .await;
        phone.click("Answer").await;
        scene.ann.see("text=Somebody calls you").await;
        scene.ann.press(press).await;
        scene.until(state).await;
    }
    scene.ann.until_it_is_heard().await;
    scene.agent.client.post(&format!("{path}/end"), &json!({})).await.expect(200);
    scene.until("ended").await;
    scene.ann.ask("gone", json!({"what": ".call"})).await;
    let whole = scene.ann.ask("whole", json!({})).await;
    assert!(!whole.as_str().unwrap().contains(EXTENSION), "{whole}");
    // axe asks the frame, which is of another site.
    scene.ann.finish(&["recipient window's origin"]).await;
    phone.finish(&[]).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_whose_microphone_is_refused_is_told_so_and_nobody_is_rung() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let mut scene = Scene::of(&server, &acme, &[], json!("refused")).await;
    let phone = WebPhone::online(&server, &scene.agent.token, json!({})).await;
    scene.agent.take(&server, &scene.room).await;
    scene.ann.press("Call").await;
    scene.ann.see("[role=alert]:has-text('The microphone is blocked')").await;
    assert_eq!(calls_in(&scene.agent.client, &scene.room).await, Vec::<Value>::new());
    scene.ann.finish(&[]).await;
    phone.finish(&[]).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_gives_its_number_in_the_widget_and_is_called_on_its_phone() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let folder = tempfile::tempdir().unwrap();
    // The visitor's phone stands where the carrier would.
    let carried = crate::harness::phone::Account::new(server.sip(), ANNS, "unused").unregistered().answering();
    let mut anns = Baresip::start(carried.speaking(tone_file(folder.path(), ANN_HERTZ))).await;
    acme.trunk("carrier", &[&anns.address.to_string()], &[SHOWN]).await;
    let mut scene = Scene::of(&server, &acme, &[("chat_calls", "both")], json!("fake")).await;
    let agents = json!({"microphone": pulses_file(folder.path(), AGENT_HERTZ)});
    let mut phone = WebPhone::online(&server, &scene.agent.token, agents).await;
    scene.agent.take(&server, &scene.room).await;

    scene.ann.press("Call").await;
    scene.ann.ask("click", json!({"what": "label:has-text('Call my phone')"})).await;
    scene.ann.ask("fill", json!({"what": "input[name=phone]", "text": "+44 20 7183 8461"})).await;
    scene.ann.ask("click", json!({"what": "[data-form=call] [type=submit]"})).await;
    phone.take_call().await;
    anns.expect("CALL_ESTABLISHED").await;
    phone.listen().await;
    sleep(Duration::from_secs(4)).await;
    let by_agent = phone.heard().await.seconds_of(ANN_HERTZ);
    scene.until("talking").await;
    scene.ann.press("Hang up").await;
    anns.expect("CALL_CLOSED").await;
    scene.until("ended").await;
    sleep(Duration::from_millis(300)).await;
    let by_ann = anns.heard().seconds_of(AGENT_HERTZ);
    assert!(by_agent > 1.0 && by_ann > 1.0, "the agent heard Ann for {by_agent} s, Ann the agent for {by_ann} s");

    // Neither side's page and phone hold the other's number, and the thread and the log of events hold neither.
    let log = anns.log();
    assert!(log.contains(&SHOWN[1..]) && !log.contains(EXTENSION), "{log}");
    let digits = &ANNS[ANNS.len() - 7..];
    let page = phone.text().await;
    assert!(page.contains(SHOWN) && !page.contains(digits), "{page}");
    let page = scene.ann.ask("whole", json!({})).await.to_string();
    assert!(!page.contains(EXTENSION), "{page}");
    for path in [format!("/v1/chat/rooms/{}/messages", scene.room), "/v1/events?limit=500".to_owned()] {
        let read = acme.client().get(&path).await.expect(200).to_string();
        assert!(!read.contains(digits) && !read.contains(EXTENSION), "{read}");
    }
    scene.ann.finish(&[]).await;
    phone.finish(&[]).await;
    server.stop().await;
}
