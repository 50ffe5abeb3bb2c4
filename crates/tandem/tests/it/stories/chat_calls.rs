//! A call in a chat: by the visitor's phone, with scripted phones on both sides. What the thread tells, who may begin one
//! and how often, what ends it, and that nobody is told a number.

use std::time::Duration;

use serde_json::{Value, json};

use super::browser_phone::Phone;
use crate::harness::chat::{Line, Opened, Shop};
use crate::harness::chat_agent::{Agent, calls_in};
use crate::harness::client::Client;
use crate::harness::crowd::{Act, Crowd};
use crate::harness::server::{Server, Tenant};

/// What the organisation shows outside, and its own public number.
const SHOWN: &str = "+442071838000";
const OWN: &str = "+442071838750";
/// The visitor's numbers: one that talks, one that only rings, one that is busy.
const TALKS: &str = "+442071838461";
const RINGS: &str = "+442071838462";
const BUSY: &str = "+442071838463";
/// The agents' extensions: digits that come by chance nowhere else.
const AGENT: &str = "7351946";
const DECLINES: &str = "7351947";
const SOON: Duration = Duration::from_secs(30);
const BY_PHONE: &[(&str, &str)] = &[("chat_calls", "both"), ("limit_calls_per_hour", "0")];

async fn crowd() -> Crowd {
    Crowd::start(|number| match number {
        RINGS => vec![Act::Ring, Act::wait(600_000)],
        BUSY => vec![Act::Refuse(486)],
        DECLINES => vec![Act::Ring, Act::Refuse(603)],
        _ => vec![Act::Ring, Act::Answer, Act::Speak, Act::wait(600_000)],
    })
    .await
}

/// A tenant whose calls go to the crowd.
async fn tenant<'s>(server: &'s Server, crowd: &Crowd) -> Tenant<'s> {
    crowd.meet(server.sip());
    let acme = server.org("acme").await;
    acme.trunk("crowd", &[&crowd.address.to_string()], &[SHOWN]).await;
    acme
}

/// A room of a visitor that an agent with a phone has taken.
struct Scene {
    agent: Agent,
    ann: Opened,
    visitor: Client,
    path: String,
}

impl Scene {
    async fn of(server: &Server, acme: &Tenant<'_>, crowd: &Crowd, shop: &Shop, extension: &str) -> Self {
        let agent = Agent::of(acme, server, extension).await;
        crowd.register(&agent.account).await;
        let ann = shop.room("ann").await;
        agent.take(server, &ann.room).await;
        let visitor = server.client().bearing(&ann.token);
        let path = format!("/v1/chat/rooms/{}/call", ann.room);
        Self { agent, ann, visitor, path }
    }

    /// The visitor asks to be called.
    async fn ask(&self, number: &str) -> Value {
        self.visitor.post(&self.path, &json!({"mode": "phone", "phone": number})).await.expect(201)["call"].clone()
    }

    async fn until(&self, state: &str) -> Value {
        let found = self.visitor.until(&self.path, state, |options| options["call"]["state"] == state).await;
        found["call"].clone()
    }
}

/// The digits that only this number ends with, however it is written.
fn digits(number: &str) -> &str {
    &number[number.len() - 7..]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_is_called_and_one_message_tells_of_it_without_a_number() {
    let crowd = crowd().await;
    crowd.tell_numbers();
    crowd.keep();
    let server = Server::start().await;
    let acme = tenant(&server, &crowd).await;
    let shop = acme.shop(&[("chat_calls", "phone"), ("chat_record", "true")]).await;
    let scene = Scene::of(&server, &acme, &crowd, &shop, AGENT).await;
    let (visitor, room) = (&scene.visitor, scene.ann.room.as_str());
    let (mut line, _) = Line::hello(server.app.http(), &scene.ann.token, json!({})).await;
    assert_eq!(visitor.get(&scene.path).await.expect(200)["modes"], json!(["phone"]));

    let asked = scene.ask(TALKS).await;
    assert_eq!(
        (&asked["mode"], &asked["state"], &asked["by"]),
        (&json!("phone"), &json!("ringing"), &json!("visitor"))
    );
    let told = line.expect("msg").await;
    assert_eq!((&told["kind"], &told["role"], &told["body"]), (&json!("call"), &json!("system"), &asked), "{told}");
    let mut heard = vec![told.clone()];
    let talking = line.until(|frame| frame["type"] == "edit" && frame["seq"] == told["seq"]).await;
    assert_eq!(talking["body"]["state"], "talking", "{talking}");
    assert!(talking["body"]["started_at"].is_string(), "{talking}");
    heard.push(talking);

    // Another wish while it is on is the same call.
    let again = visitor.post(&scene.path, &json!({"mode": "phone", "phone": RINGS})).await.expect(200);
    assert_eq!(again["call"]["call"], asked["call"]);
    let by_agent = scene.agent.client.post(&scene.path, &json!({"mode": "phone", "phone": RINGS})).await.expect(200);
    assert_eq!((&by_agent["call"]["call"], crowd.rung(RINGS)), (&asked["call"], 0));

    let recordings = format!("/v1/calls/{}/recordings", asked["call"].as_str().unwrap());
    acme.client().until(&recordings, "it is recorded", |list| list["recordings"][0].is_object()).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    visitor.post(&format!("{}/end", scene.path), &json!({})).await.expect(200);
    crowd.quiet(SOON).await;
    let ended = line.until(|frame| frame["type"] == "edit" && frame["body"]["state"] == "ended").await;
    assert!(ended["body"]["ended_at"].is_string() && ended["body"]["duration_s"].is_i64(), "{ended}");
    let landed = line.until(|frame| frame["type"] == "edit" && frame["body"]["recording"].is_object()).await;
    assert_eq!(landed["seq"], told["seq"], "it lands in the same message");
    assert!(landed["body"]["recording"]["seconds"].as_f64().unwrap() > 0.0, "{landed}");
    heard.extend([ended, landed.clone()]);
    assert_eq!(calls_in(&scene.agent.client, room).await, [landed["body"].clone()]);

    // Whoever answers hears it; the visitor only where that is shared.
    let (which, wish) = (format!("{}/recording", scene.path), json!({"call": asked["call"]}));
    let address = scene.agent.client.post(&which, &wish).await.expect(200);
    let audio = server.client().audio(address["url"].as_str().unwrap()).await;
    assert!(!audio.is_empty() && audio.iter().any(|side| side.rms() > 100.0), "{address}");
    visitor.post(&which, &wish).await.expect(403);
    scene.agent.client.post(&which, &json!({"call": "call_none"})).await.expect(404);
    let other = server.client().bearing(&acme.person(kernel::Role::Agent).await);
    other.post(&which, &wish).await.expect(404);
    let auditor = server.client().bearing(&acme.person(kernel::Role::Auditor).await);
    auditor.post(&which, &wish).await.expect(200);
    let audit = server.app.kernel.audit(&acme.org.id, None, 100).await.unwrap();
    let made: Vec<_> = audit.iter().filter(|row| row.action == "recording.read" && row.actor != "signed_url").collect();
    assert_eq!(made.len(), 2, "by name, whoever had an address made: {audit:?}");

    // The agent's phone and the visitor's were told the organisation's number, and nobody was told another.
    assert!(crowd.sent_to(TALKS)[0].contains(&SHOWN[1..]), "{}", crowd.sent_to(TALKS)[0]);
    assert!(!crowd.sent_to(TALKS).concat().contains(AGENT), "{:#?}", crowd.sent_to(TALKS));
    let to_agent = crowd.sent_to(AGENT).concat();
    assert!(to_agent.contains("INVITE") && !to_agent.contains(digits(TALKS)), "{to_agent}");
    let mut read: Vec<String> = heard.iter().map(Value::to_string).collect();
    for page in [format!("/v1/chat/rooms/{room}/messages"), scene.path.clone(), "/v1/events?limit=500".to_owned()] {
        read.push(acme.client().get(&page).await.expect(200).to_string());
    }
    assert!(read.last().unwrap().contains("call.completed") && read.last().unwrap().contains("message.edited"));
    for text in &read {
        assert!(!text.contains(digits(TALKS)) && !text.contains(AGENT), "{text}");
    }
    assert_eq!(scan(&server, digits(TALKS)), Vec::<String>::new(), "no file keeps it");
    server.stop().await;
}

/// The tables and files of chats that hold a text, byte by byte.
fn scan(server: &Server, text: &str) -> Vec<String> {
    let folder = server.app.kernel.config.data.clone();
    let mut found = Vec::new();
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.to_string_lossy().contains(text) {
                found.push(entry.display().to_string());
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_to_end_is_told_for_what_it_is() {
    let crowd = crowd().await;
    let server = Server::start().await;
    let acme = tenant(&server, &crowd).await;
    let shop = acme.shop(BY_PHONE).await;
    let scene = Scene::of(&server, &acme, &crowd, &shop, AGENT).await;

    // The visitor's phone is busy.
    scene.ask(BUSY).await;
    scene.until("missed").await;
    // Called off while it rings.
    let ringing = scene.ask(RINGS).await;
    crowd.until("it rings", SOON, |crowd| crowd.rung(RINGS) == 1).await;
    scene.visitor.post(&format!("{}/end", scene.path), &json!({})).await.expect(200);
    let canceled = scene.until("canceled").await;
    assert_eq!((&canceled["call"], &canceled["started_at"]), (&ringing["call"], &Value::Null));
    crowd.quiet(SOON).await;
    // The agent begins one, and closes the room while they talk.
    let by_agent = scene.agent.client.post(&scene.path, &json!({"mode": "phone", "phone": TALKS})).await.expect(201);
    assert_eq!(by_agent["call"]["by"], "agent");
    scene.until("talking").await;
    let close = format!("/v1/chat/rooms/{}/close", scene.ann.room);
    scene.agent.client.post(&close, &json!({})).await.expect(200);
    scene.until("ended").await;
    crowd.quiet(SOON).await;
    let refused = scene.visitor.post(&scene.path, &json!({"mode": "phone", "phone": TALKS})).await.expect(409);
    assert_eq!(refused["code"], "chat_closed");
    let states: Vec<Value> =
        calls_in(&scene.visitor, &scene.ann.room).await.iter().map(|call| call["state"].clone()).collect();
    assert_eq!(states, ["missed", "canceled", "ended"]);

    // Whoever has the room declines.
    let scene = Scene::of(&server, &acme, &crowd, &shop, DECLINES).await;
    scene.ask(TALKS).await;
    scene.until("missed").await;
    crowd.quiet(SOON).await;
    assert_eq!(crowd.rung(TALKS), 1, "the visitor is rung only when the other one is there");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_visitor_talks_no_more() {
    let crowd = crowd().await;
    let server = Server::start().await;
    let acme = tenant(&server, &crowd).await;
    let shop = acme.shop(&[BY_PHONE, &[("chat_record", "true")]].concat()).await;
    let scene = Scene::of(&server, &acme, &crowd, &shop, AGENT).await;
    scene.ask(TALKS).await;
    let call = scene.until("talking").await["call"].as_str().unwrap().to_owned();
    let recordings = format!("/v1/calls/{call}/recordings");
    acme.client().until(&recordings, "it is recorded", |list| list["recordings"][0].is_object()).await;
    let owner = server.browser().bearing(&acme.token);
    let erase = async || {
        let erased = owner.send(owner.post_page("/console/privacy/erase", &[("number", "ann")])).await;
        assert_eq!(erased.status, 200, "{}", erased.text);
    };
    erase().await;
    crowd.quiet(SOON).await;
    acme.client().until(&format!("/v1/calls/{call}"), "the call is over", |call| call["state"] == "completed").await;
    // What was up is erased by the next one, with all that hangs on it.
    erase().await;
    for find in ["select id from chat_call", "select id from recording", "select call as id from call_party"] {
        let kept = server.app.kernel.db.all(find, vec![]).await.unwrap();
        assert!(kept.is_empty(), "{find}: {} rows of an erased visitor", kept.len());
    }
    acme.client().get(&format!("/v1/calls/{call}")).await.expect(404);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_with_whoever_has_the_room_and_can_be_rung_and_to_numbers_outside_alone() {
    let crowd = crowd().await;
    let server = Server::start().await;
    let acme = tenant(&server, &crowd).await;
    let shop = acme.shop(BY_PHONE).await;
    let agent = Agent::of(&acme, &server, AGENT).await;
    acme.number(OWN, &format!("person:{AGENT}")).await;
    let ann = shop.room("ann").await;
    let visitor = server.client().bearing(&ann.token);
    let path = format!("/v1/chat/rooms/{}/call", ann.room);
    let wish = json!({"mode": "phone", "phone": TALKS});
    let nothing = json!({"modes": [], "call": null, "hears_recordings": false});

    assert_eq!(visitor.post(&path, &wish).await.expect(409)["code"], "no_agent");
    assert_eq!(visitor.get(&path).await.expect(200), nothing);
    agent.take(&server, &ann.room).await;
    assert_eq!(visitor.post(&path, &wish).await.expect(409)["code"], "agent_away");
    crowd.register(&agent.account).await;
    assert_eq!(visitor.get(&path).await.expect(200)["modes"], json!(["browser", "phone"]));

    for number in ["", AGENT, OWN, "112", "sip:mallory@example.org", "+19005550100", "0207 1838461", "+44"] {
        let refused = visitor.post(&path, &json!({"mode": "phone", "phone": number})).await.expect(422);
        assert_eq!(refused["errors"][0]["pointer"], "/phone", "{number}: {refused}");
    }
    visitor.post(&path, &json!({"mode": "fax"})).await.expect(422);
    let stranger = server.client().bearing(&shop.room("bob").await.token);
    stranger.post(&path, &wish).await.expect(404);
    stranger.get(&path).await.expect(404);
    let other = Agent::of(&acme, &server, "1002").await;
    other.client.post(&path, &wish).await.expect(403);
    server.client().post(&path, &wish).await.expect(401);
    assert!(calls_in(&visitor, &ann.room).await.is_empty(), "nothing was told of what did not begin");

    // What is not set costs nobody money; what is off is off.
    let usual = acme.shop(&[]).await;
    let room = usual.room("ann").await;
    agent.take(&server, &room.room).await;
    let path = format!("/v1/chat/rooms/{}/call", room.room);
    let visitor = server.client().bearing(&room.token);
    assert_eq!(visitor.get(&path).await.expect(200)["modes"], json!(["browser"]));
    assert_eq!(visitor.post(&path, &wish).await.expect(403)["code"], "calls_off");
    let off = acme.shop(&[("chat_calls", "off")]).await;
    let room = off.room("ann").await;
    agent.take(&server, &room.room).await;
    let (path, visitor) = (format!("/v1/chat/rooms/{}/call", room.room), server.client().bearing(&room.token));
    assert_eq!(visitor.post(&path, &json!({"mode": "browser"})).await.expect(403)["code"], "calls_off");
    assert_eq!(visitor.post(&format!("{path}/phone"), &json!({})).await.expect(403)["code"], "calls_off");
    assert_eq!((crowd.rung(TALKS), crowd.rung(AGENT)), (0, 0));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_asks_three_times_an_hour_and_a_number_is_called_as_often_whoever_asks() {
    let crowd = crowd().await;
    let server = Server::start().await;
    let acme = tenant(&server, &crowd).await;
    let shop = acme.shop(&[("chat_calls", "both")]).await;
    let scene = Scene::of(&server, &acme, &crowd, &shop, AGENT).await;
    let end = format!("{}/end", scene.path);
    for _ in 0..3 {
        scene.ask(RINGS).await;
        scene.visitor.post(&end, &json!({})).await.expect(200);
        scene.until("canceled").await;
    }
    let refused = scene.visitor.post(&scene.path, &json!({"mode": "phone", "phone": TALKS})).await;
    assert!(refused.headers["retry-after"].to_str().unwrap().parse::<u64>().unwrap() > 60, "{:?}", refused.headers);
    assert_eq!(refused.expect(429)["code"], "rate_limited");

    // Another visitor, the same number.
    let bob = shop.room("bob").await;
    scene.agent.take(&server, &bob.room).await;
    let (visitor, path) = (server.client().bearing(&bob.token), format!("/v1/chat/rooms/{}/call", bob.room));
    visitor.post(&path, &json!({"mode": "phone", "phone": RINGS})).await.expect(429);
    visitor.post(&path, &json!({"mode": "phone", "phone": TALKS})).await.expect(201);
    // Those who answer are not counted.
    scene.agent.client.post(&scene.path, &json!({"mode": "phone", "phone": RINGS})).await.expect(201);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_phone_of_a_visitor_s_page_is_of_its_room_and_goes_with_it() {
    let crowd = crowd().await;
    let server = Server::start().await;
    let acme = tenant(&server, &crowd).await;
    let shop = acme.shop(&[("allowed_origins", "https://shop.example")]).await;
    let scene = Scene::of(&server, &acme, &crowd, &shop, AGENT).await;
    let way = format!("{}/phone", scene.path);
    scene.agent.client.post(&way, &json!({})).await.expect(403);
    let token = scene.visitor.post(&way, &json!({})).await.expect(200)["token"].as_str().unwrap().to_owned();
    let hello = json!({"type": "hello", "token": token});

    // The token opens a phone and nothing else; nobody's page but a listed one may use it.
    let bearer = server.client().bearing(&token);
    assert_eq!(bearer.get(&format!("/v1/chat/rooms/{}", scene.ann.room)).await.status, 401);
    let (head, tail) = token.split_at(token.len() / 2);
    // Whatever digit stood there, another does now.
    let other = if tail.starts_with('A') { 'B' } else { 'A' };
    let forged = json!({"type": "hello", "token": format!("{head}{other}{}", &tail[1..])});
    let wrong = json!({"type": "hello", "token": scene.ann.token});
    for (headers, first) in
        [(&[][..], forged), (&[][..], wrong), (&[("origin", "https://evil.example")][..], hello.clone())]
    {
        let mut phone = Phone::open_at(&server, "/v1/rtc", headers).await.unwrap();
        phone.say(&first).await;
        assert_eq!(phone.sent_away().await, ("unauthorized".to_owned(), 4_401));
    }
    let mut phone = Phone::open_at(&server, "/v1/rtc", &[("origin", "https://shop.example")]).await.unwrap();
    phone.say(&hello).await;
    let ready = phone.next().await.unwrap();
    assert_eq!((&ready["type"], &ready["calls"]), (&json!("ready"), &json!([])), "{ready}");
    phone.say(&json!({"type": "call", "id": "c1", "to": AGENT, "sdp": "v=0"})).await;
    assert_eq!(phone.next().await.unwrap()["code"], "not_allowed");

    // It rings for the call of its room, and the agent's end is told there.
    scene.visitor.post(&scene.path, &json!({"mode": "browser"})).await.expect(201);
    let incoming = phone.next().await.unwrap();
    assert_eq!(incoming["type"], "incoming", "{incoming}");
    assert!(!incoming.to_string().contains(AGENT), "{incoming}");
    phone.say(&json!({"type": "reject", "id": incoming["id"]})).await;
    scene.until("missed").await;
    let close = format!("/v1/chat/rooms/{}/end", scene.ann.room);
    scene.visitor.post(&close, &json!({})).await.expect(200);
    loop {
        let frame = phone.next().await.expect("why it is sent away");
        if frame["type"] == "error" {
            assert_eq!(frame["code"], "unauthorized", "{frame}");
            break;
        }
    }
    server.stop().await;
}
