//! The life of a meeting, each sentence of the contract's "Behaviour": it opens, is called, talks, is parted, ends.
//! The clock is turned by hand; the two are phones behind a trunk.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use kernel::app::NewApp;
use serde_json::{Value, json};
use tandem::meetings::model::{Actor, Role};
use tandem::meetings::{Action, MeetingFilter};

use crate::harness::client::Client;
use crate::harness::crowd::{Act, Crowd, Took};
use crate::harness::order::{CALLER, DURATION_MS, RECEIVER, START_MS, order};
use crate::harness::server::{Plan, Server, Tenant};
use crate::harness::stub::Stub;

const MINUTE_MS: i64 = 60_000;
const SOON: Duration = Duration::from_secs(20);
/// As Rails would make it, but for its length.
const SECRET_KEY_BASE: &str = "4c1d8f0e6a2b9375d0e8f7a6b5c4d3e2";

/// What the phone of a number does next time it is rung.
type Manners = Arc<Mutex<Vec<(&'static str, Vec<Act>)>>>;

/// A server at half an hour before the meetings' start, a crowd behind its trunk, an application.
struct Scene {
    server: Server,
    crowd: Crowd,
    manners: Manners,
    stub: Stub,
}

fn talks() -> Vec<Act> {
    vec![Act::Ring, Act::Answer, Act::Speak, Act::wait(600_000)]
}

impl Scene {
    async fn start() -> Self {
        let manners: Manners = Arc::default();
        let asked = Arc::clone(&manners);
        let crowd = Crowd::start(move |number| {
            let mut manners = asked.lock().unwrap();
            let found = manners.iter().position(|(whose, _)| *whose == number);
            found.map_or_else(talks, |index| manners.remove(index).1)
        })
        .await;
        let stub = Stub::start().await;
        // Minutes pass in no time here: a line that is silent meanwhile is none that was lost.
        let patient = Plan::new().with(|config| config.media.timeout_seconds = 100_000);
        let server = patient.reaching(stub.address).at(START_MS - 30 * MINUTE_MS).start().await;
        crowd.meet(server.sip());
        Self { server, crowd, manners, stub }
    }

    /// The next time that this number is rung, its phone does this.
    fn next(&self, number: &'static str, acts: Vec<Act>) {
        self.manners.lock().unwrap().push((number, acts));
    }

    async fn tenant(&self, slug: &str) -> Tenant<'_> {
        let tenant = self.server.org(slug).await;
        tenant.trunk("crowd", &[&self.crowd.address.to_string()], &["+442071838000"]).await;
        tenant
    }

    /// An application with these settings: its id, and a client with its key.
    async fn application(&self, tenant: &Tenant<'_>, settings: &[(&str, &str)]) -> (String, Client) {
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let new = NewApp { name: "shop".to_owned(), scopes: Vec::new(), settings };
        let (app, key) = self.server.app.kernel.create_app(&tenant.org.id, new).await.unwrap();
        (app.id, self.server.client().bearing(key.expose()))
    }

    async fn schedule(&self, tenant: &Tenant<'_>, app: &str) -> i64 {
        let ordered = self.server.app.meetings.schedule(&tenant.org.id, app, order("551", ["1222", "56712"])).await;
        ordered.unwrap().meeting.id
    }

    fn turn_to(&self, at_ms: i64) {
        self.server.clock().set(at_ms);
    }
}

async fn until_state(client: &Client, id: i64, state: &str) -> Value {
    client.until(&format!("/v1/meetings/{id}"), state, |meeting| meeting["state"] == state).await
}

/// The meeting's events: their types, and their texts together.
async fn story(client: &Client, id: i64) -> (Vec<String>, String) {
    let page = client.get("/v1/events?limit=500").await.expect(200);
    let own: Vec<Value> = page["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["key"].as_str() == Some(&id.to_string()))
        .cloned()
        .collect();
    for (index, event) in own.iter().enumerate() {
        assert_eq!(event["seq"], json!(index + 1), "{event}");
        assert_eq!(event["data"]["meeting_id"], json!(id), "{event}");
    }
    let kinds = own.iter().map(|event| event["type"].as_str().unwrap().replace("meeting.", "")).collect();
    (kinds, Value::from(own).to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_are_brought_together_and_parted_at_the_limit() {
    let scene = Scene::start().await;
    let acme = scene.tenant("acme").await;
    let (app, client) = scene.application(&acme, &[]).await;
    let id = scene.schedule(&acme, &app).await;
    let path = format!("/v1/meetings/{id}");
    assert_eq!(client.get(&path).await.expect(200)["state"], "scheduled");
    let early = client.post(&format!("{path}/call"), &json!({})).await;
    assert_eq!(early.expect(409)["code"], "meeting_not_open");

    scene.turn_to(START_MS - 5 * MINUTE_MS - 1);
    assert_eq!(client.get(&path).await.expect(200)["state"], "scheduled");
    scene.turn_to(START_MS - 5 * MINUTE_MS);
    until_state(&client, id, "open").await;

    let called = client.post(&format!("{path}/call"), &json!({})).await.expect(200);
    assert_eq!(called["state"], "connecting");
    let live = until_state(&client, id, "live").await;
    assert_eq!((scene.crowd.rung(CALLER), scene.crowd.rung(RECEIVER)), (1, 1));
    assert_eq!(live["calls"].as_array().unwrap().len(), 1);
    let again = client.post(&format!("{path}/call"), &json!({"as": "receiver"})).await;
    assert_eq!(again.expect(409)["code"], "meeting_in_call");

    // It was begun five minutes before its start, and lasts as long as it lasts.
    let since_ms = START_MS - 5 * MINUTE_MS;
    scene.turn_to(since_ms + DURATION_MS - 1);
    assert_eq!(client.get(&path).await.expect(200)["state"], "live");
    scene.turn_to(since_ms + DURATION_MS);
    let ended = until_state(&client, id, "ended").await;
    assert_eq!((&ended["cause"], &ended["talked_seconds"]), (&json!("completed"), &json!(DURATION_MS / 1_000)));
    scene.crowd.until("both are hung up", SOON, |crowd| crowd.took(Took::EndedByServer) == 2).await;
    let (kinds, texts) = story(&client, id).await;
    // The call that came too early was told as one.
    assert_eq!(kinds, ["scheduled", "out_of_session", "opened", "connecting", "live", "ended"]);
    for number in [CALLER, RECEIVER] {
        assert!(!texts.contains(number.trim_start_matches('+')), "{texts}");
    }
    scene.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_line_may_be_called_again_for_a_while() {
    let scene = Scene::start().await;
    let acme = scene.tenant("acme").await;
    let (app, client) = scene.application(&acme, &[("reconnect_s", "60")]).await;
    let id = scene.schedule(&acme, &app).await;
    let path = format!("/v1/meetings/{id}");
    scene.turn_to(START_MS);
    until_state(&client, id, "open").await;
    for as_role in ["caller", "receiver"] {
        scene.next(RECEIVER, vec![Act::Ring, Act::Answer, Act::Established, Act::wait(300), Act::Hangup]);
        client.post(&format!("{path}/call"), &json!({"as": as_role})).await.expect(200);
        let meeting = client
            .until(&path, "it is open again", |meeting| meeting["state"] == "open" && meeting["live_since"].is_null())
            .await;
        assert_eq!(meeting["cause"], Value::Null);
    }
    scene.turn_to(START_MS + 60_000 - 1);
    assert_eq!(client.get(&path).await.expect(200)["state"], "open");
    scene.turn_to(START_MS + 60_000);
    assert_eq!(until_state(&client, id, "ended").await["cause"], "completed");
    let (kinds, _) = story(&client, id).await;
    let twice = ["connecting", "live", "opened"];
    assert_eq!(kinds, [&["scheduled", "opened"][..], &twice, &twice, &["ended"]].concat());
    scene.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_line_leaves_it_open_and_is_its_cause_when_time_is_over() {
    let scene = Scene::start().await;
    let acme = scene.tenant("acme").await;
    let (app, client) = scene.application(&acme, &[]).await;
    let id = scene.schedule(&acme, &app).await;
    scene.turn_to(START_MS);
    until_state(&client, id, "open").await;
    scene.next(CALLER, vec![Act::Refuse(486)]);
    client.post(&format!("/v1/meetings/{id}/call"), &json!({})).await.expect(200);
    let tried = |meeting: &Value| meeting["state"] == "open" && meeting["last_attempt"] == "busy";
    client.until(&format!("/v1/meetings/{id}"), "it was tried", tried).await;
    assert_eq!(scene.crowd.rung(RECEIVER), 0, "the other is not rung for nobody");
    scene.turn_to(START_MS + DURATION_MS);
    assert_eq!(until_state(&client, id, "ended").await["cause"], "busy");
    assert_eq!(story(&client, id).await.0, ["scheduled", "opened", "connecting", "opened", "ended"]);
    scene.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_come_to_the_phone_is_missed() {
    let scene = Scene::start().await;
    let acme = scene.tenant("acme").await;
    let (app, client) = scene.application(&acme, &[]).await;
    let id = scene.schedule(&acme, &app).await;
    scene.turn_to(START_MS);
    until_state(&client, id, "open").await;
    scene.next(RECEIVER, vec![Act::Ring, Act::wait(600_000)]);
    client.post(&format!("/v1/meetings/{id}/call"), &json!({})).await.expect(200);
    scene.crowd.until("the receiver rings", SOON, |crowd| crowd.rung(RECEIVER) == 1).await;
    scene.turn_to(START_MS + 30_000);
    let tried = |meeting: &Value| meeting["state"] == "open" && meeting["last_attempt"] == "no_show";
    client.until(&format!("/v1/meetings/{id}"), "it was tried", tried).await;
    assert_eq!(story(&client, id).await.0, ["scheduled", "opened", "connecting", "no_show", "opened"]);
    scene.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hangs_up_while_the_other_s_phone_rings_gave_up() {
    let scene = Scene::start().await;
    let acme = scene.tenant("acme").await;
    let (app, client) = scene.application(&acme, &[]).await;
    let id = scene.schedule(&acme, &app).await;
    scene.turn_to(START_MS);
    until_state(&client, id, "open").await;
    scene.next(CALLER, vec![Act::Ring, Act::Answer, Act::Speak, Act::wait(1_500), Act::Hangup]);
    scene.next(RECEIVER, vec![Act::Ring, Act::wait(600_000)]);
    client.post(&format!("/v1/meetings/{id}/call"), &json!({})).await.expect(200);
    let tried = |meeting: &Value| meeting["state"] == "open" && meeting["last_attempt"] == "no_show";
    client.until(&format!("/v1/meetings/{id}"), "it was tried", tried).await;
    assert_eq!(scene.crowd.rung(RECEIVER), 1);
    let (kinds, told) = story(&client, id).await;
    assert_eq!(kinds, ["scheduled", "opened", "connecting", "opened"]);
    assert!(told.contains("\"reason\":\"gave_up\""), "{told}");
    scene.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_tries_and_the_server_tries_by_itself() {
    let scene = Scene::start().await;
    let acme = scene.tenant("acme").await;
    let (left_alone, client) = scene.application(&acme, &[]).await;
    let expired = scene.schedule(&acme, &left_alone).await;
    let (auto, auto_client) = scene.application(&acme, &[("auto_start", "true")]).await;
    let started = scene.schedule(&acme, &auto).await;
    scene.turn_to(START_MS);
    let live = until_state(&auto_client, started, "live").await;
    assert_eq!(live["attempts"], 1);
    assert_eq!(until_state(&client, expired, "open").await["attempts"], 0);
    scene.turn_to(START_MS + DURATION_MS);
    assert_eq!(until_state(&client, expired, "ended").await["cause"], "expired");
    assert_eq!(until_state(&auto_client, started, "ended").await["cause"], "completed");
    scene.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_application_decides_holds_for_meetings_that_are_ordered_already() {
    let scene = Scene::start().await;
    let acme = scene.tenant("acme").await;
    let (app, client) = scene.application(&acme, &[]).await;
    let id = scene.schedule(&acme, &app).await;
    let changed = client.patch(&format!("/v1/applications/{app}"), &json!({"settings": {"auto_start": true}})).await;
    changed.expect(200);
    scene.turn_to(START_MS);
    until_state(&client, id, "live").await;
    assert_eq!((scene.crowd.rung(CALLER), scene.crowd.rung(RECEIVER)), (1, 1));
    scene.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_extended_finished_cancelled_and_moved() {
    let scene = Scene::start().await;
    let acme = scene.tenant("acme").await;
    let (app, client) = scene.application(&acme, &[("extend_max_s", "120")]).await;
    let id = scene.schedule(&acme, &app).await;
    let path = format!("/v1/meetings/{id}");
    let moved = client.patch(&path, &json!({"start_at": "2027-03-01T13:00:00Z", "duration": "10"})).await.expect(200);
    assert_eq!((&moved["starts_at"], &moved["duration_seconds"]), (&json!("2027-03-01T13:00:00.000Z"), &json!(600)));
    let back = client.patch(&path, &json!({"start_at": "2027-03-01T12:00:00Z", "duration_seconds": 540})).await;
    assert_eq!(back.expect(200)["ends_at"], "2027-03-01T12:09:00.000Z");
    let wrong = json!({"duration": "long", "caller": {"call_type": "Pigeon"}, "receiver": {"number": "12x"}});
    let refused = client.patch(&path, &wrong).await.expect(422);
    let places: Vec<&str> =
        refused["errors"].as_array().unwrap().iter().map(|e| e["pointer"].as_str().unwrap()).collect();
    assert_eq!(places, ["/duration", "/caller/call_type", "/receiver/number"]);
    assert_eq!(client.post(&format!("{path}/finish"), &json!({})).await.expect(409)["code"], "meeting_not_begun");

    scene.turn_to(START_MS);
    until_state(&client, id, "open").await;
    client.post(&format!("{path}/call"), &json!({})).await.expect(200);
    until_state(&client, id, "live").await;
    let by_text = client.post(&format!("/api{path}/extend"), &json!({"seconds": "60"})).await.expect(200);
    assert_eq!((&by_text["extended_seconds"], &by_text["ends_at"]), (&json!(60), &json!("2027-03-01T12:10:00.000Z")));
    client.post(&format!("{path}/extend"), &json!({"minutes": 0})).await.expect(422);
    // The parties have their own measure, and the talk goes on beyond what it was at first.
    let meetings = &scene.server.app.meetings;
    let of_caller = |action| meetings.act(&acme.org.id, Some(&app), id, Actor::Party(Role::Caller), action);
    assert!(of_caller(Action::Extend { ms: 120_001 }).await.is_err());
    of_caller(Action::Extend { ms: 120_000 }).await.unwrap();
    scene.turn_to(START_MS + DURATION_MS + 179_999);
    assert_eq!(client.get(&path).await.expect(200)["state"], "live");
    client.post(&format!("{path}/finish"), &json!({})).await.expect(200);
    let ended = client.get(&path).await.expect(200);
    assert_eq!((&ended["state"], &ended["cause"]), (&json!("ended"), &json!("completed")));
    scene.crowd.until("both are hung up", SOON, |crowd| crowd.took(Took::EndedByServer) == 2).await;

    let other = meetings.schedule(&acme.org.id, &app, order("552", ["1222", "56712"])).await.unwrap().meeting;
    client.post(&format!("/v1/meetings/{}/cancel", other.id), &json!({})).await.expect(200);
    let (kinds, _) = story(&client, other.id).await;
    assert_eq!(kinds.last().unwrap(), "ended");
    assert!(kinds.contains(&"cancelled".to_owned()), "{kinds:?}");
    assert_eq!(
        client.patch(&format!("/v1/meetings/{}", other.id), &json!({"duration": 5})).await.expect(409)["code"],
        "meeting_ended"
    );
    scene.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_proposes_another_time_and_the_other_confirms_it() {
    let scene = Scene::start().await;
    let acme = scene.tenant("acme").await;
    let (app, client) = scene.application(&acme, &[]).await;
    let id = scene.schedule(&acme, &app).await;
    let meetings = &scene.server.app.meetings;
    let act = |role, action| meetings.act(&acme.org.id, Some(&app), id, Actor::Party(role), action);
    let later = START_MS + 60 * MINUTE_MS;
    act(Role::Caller, Action::Propose { starts_ms: later, duration_ms: None }).await.unwrap();
    let shown = client.get(&format!("/v1/meetings/{id}")).await.expect(200);
    assert_eq!((&shown["proposal"]["by"], &shown["starts_at"]), (&json!("caller"), &json!("2027-03-01T12:00:00.000Z")));
    assert!(act(Role::Caller, Action::Confirm(None)).await.is_err(), "nobody confirms the own proposal");
    let moved = act(Role::Receiver, Action::Confirm(None)).await.unwrap();
    assert_eq!((moved.starts_ms, moved.proposal), (later, None));
    scene.turn_to(START_MS);
    assert_eq!(client.get(&format!("/v1/meetings/{id}")).await.expect(200)["state"], "scheduled");
    scene.turn_to(later - 5 * MINUTE_MS);
    until_state(&client, id, "open").await;
    scene.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_order_is_the_same_meeting_and_two_applications_do_not_meet() {
    let scene = Scene::start().await;
    let acme = scene.tenant("acme").await;
    let (one, one_client) = scene.application(&acme, &[]).await;
    let (two, two_client) = scene.application(&acme, &[]).await;
    let (org, meetings) = (acme.org.id.as_str(), &scene.server.app.meetings);
    let of_one = meetings.schedule(org, &one, order("551", ["1222", "56712"])).await.unwrap();
    let of_two = meetings.schedule(org, &two, order("551", ["1222", "56712"])).await.unwrap();
    assert!(of_one.is_new && of_two.is_new && of_one.meeting.id != of_two.meeting.id);
    let mut renamed = order("551", ["1222", "56712"]);
    renamed.caller.name = "Renamed".to_owned();
    renamed.starts_ms = Some(START_MS + MINUTE_MS);
    let again = meetings.schedule(org, &one, renamed).await.unwrap();
    assert_eq!((again.meeting.id, again.is_new), (of_one.meeting.id, false));
    assert_eq!((again.meeting.caller.name.as_str(), again.meeting.starts_ms), ("Renamed", START_MS + MINUTE_MS));

    let (mine, theirs) = (of_one.meeting.id, of_two.meeting.id);
    for (client, own, other) in [(&one_client, mine, theirs), (&two_client, theirs, mine)] {
        let listed = client.get("/v1/meetings?uid=1222").await.expect(200);
        let ids: Vec<i64> = listed["meetings"].as_array().unwrap().iter().map(|m| m["id"].as_i64().unwrap()).collect();
        assert_eq!(ids, [own]);
        for base in ["/v1", "/api/v1"] {
            client.get(&format!("{base}/meetings/{own}")).await.expect(200);
            client.get(&format!("{base}/meetings/{other}")).await.expect(404);
            for verb in ["call", "extend", "finish", "cancel"] {
                client.post(&format!("{base}/meetings/{other}/{verb}"), &json!({"seconds": 60})).await.expect(404);
            }
            client.patch(&format!("{base}/meetings/{other}"), &json!({"duration": 5})).await.expect(404);
        }
        let app = if own == mine { &one } else { &two };
        let of_party = meetings.of_party(org, app, "1222", own).await.unwrap();
        assert_eq!(of_party.iter().map(|meeting| meeting.id).collect::<Vec<_>>(), [own]);
    }
    for (client, own) in [(&one_client, mine), (&two_client, theirs)] {
        let log = client.get("/v1/events?limit=500").await.expect(200);
        let of_meetings =
            log["events"].as_array().unwrap().iter().filter(|e| e["key"].as_str().unwrap().parse::<i64>().is_ok());
        let keys: Vec<&str> = of_meetings.map(|event| event["key"].as_str().unwrap()).collect();
        assert!(!keys.is_empty() && keys.iter().all(|key| *key == own.to_string()), "{keys:?}");
    }
    let all = meetings.list(org, None, &MeetingFilter::default(), 10).await.unwrap();
    assert_eq!(all.meetings.len(), 2, "the organisation sees both");
    let stranger = scene.server.org("other").await;
    stranger.client().get(&format!("/v1/meetings/{mine}")).await.expect(404);

    // A meeting that is over is not changed by its order: there is a new one.
    one_client.post(&format!("/v1/meetings/{mine}/cancel"), &json!({})).await.expect(200);
    let anew = meetings.schedule(org, &one, order("551", ["1222", "56712"])).await.unwrap();
    assert!(anew.is_new && anew.meeting.id > theirs);
    scene.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_at_once_make_one_meeting_each() {
    let scene = Scene::start().await;
    let acme = scene.tenant("acme").await;
    let (app, client) = scene.application(&acme, &[]).await;
    let (org, meetings) = (acme.org.id.as_str(), &scene.server.app.meetings);
    let orders: Vec<String> = (0..40).map(|n| format!("{}", n % 20)).collect();
    let posted = orders.iter().map(|id| meetings.schedule(org, &app, order(id, ["1222", "56712"])));
    let made = futures_util::future::join_all(posted).await;
    let ids: std::collections::BTreeSet<i64> = made.iter().map(|made| made.as_ref().unwrap().meeting.id).collect();
    assert_eq!(ids.len(), 20, "{ids:?}");
    let mut path = "/v1/meetings?limit=7".to_owned();
    let mut listed = Vec::new();
    loop {
        let page = client.get(&path).await.expect(200);
        listed.extend(page["meetings"].as_array().unwrap().iter().map(|meeting| meeting["id"].as_i64().unwrap()));
        match page["cursor"].as_str() {
            Some(cursor) => path = format!("/v1/meetings?limit=7&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(listed, ids.into_iter().collect::<Vec<_>>(), "page by page, each once");
    scene.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_s_hook_blocks_with_403_and_with_nothing_else() {
    let scene = Scene::start().await;
    let acme = scene.tenant("acme").await;
    let (app, client) = scene.application(&acme, &[("veto_url", &scene.stub.url("/veto"))]).await;
    let id = scene.schedule(&acme, &app).await;
    let path = format!("/v1/meetings/{id}");
    scene.turn_to(START_MS);
    until_state(&client, id, "open").await;
    scene.stub.answer("/veto", 403, "");
    let blocked = client.post(&format!("{path}/call"), &json!({"as": "receiver"})).await.expect(403);
    assert_eq!(blocked["code"], "meeting_vetoed");
    let asked = scene.stub.request("/veto").await.json();
    assert_eq!((&asked["meeting_id"], &asked["by"]), (&json!(id), &json!("receiver")));
    assert!(!asked.to_string().contains(CALLER), "{asked}");
    let meeting = client.get(&path).await.expect(200);
    assert_eq!((&meeting["state"], &meeting["attempts"]), (&json!("open"), &json!(0)));
    assert_eq!(scene.crowd.rung(CALLER) + scene.crowd.rung(RECEIVER), 0);

    scene.stub.answer("/veto", 500, "");
    client.post(&format!("{path}/call"), &json!({})).await.expect(200);
    until_state(&client, id, "live").await;
    let (kinds, texts) = story(&client, id).await;
    assert_eq!(kinds, ["scheduled", "opened", "out_of_session", "connecting", "live"]);
    assert!(texts.contains("vetoed"), "{texts}");
    scene.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_its_desk_called_off_is_hung_up() {
    let scene = Scene::start().await;
    let acme = scene.tenant("acme").await;
    let (app, client) = scene.application(&acme, &[]).await;
    let id = scene.schedule(&acme, &app).await;
    scene.turn_to(START_MS);
    until_state(&client, id, "open").await;
    scene.next(CALLER, vec![Act::Ring, Act::wait(600_000)]);
    client.post(&format!("/v1/meetings/{id}/call"), &json!({})).await.expect(200);
    client.post(&format!("/v1/meetings/{id}/cancel"), &json!({})).await.expect(200);
    scene.crowd.quiet(SOON).await;
    assert_eq!(scene.crowd.rung(RECEIVER), 0);
    assert_eq!(client.get(&format!("/v1/meetings/{id}")).await.expect(200)["cause"], "cancelled");
    scene.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_asked_for_is_done_though_who_asked_is_gone() {
    let scene = Scene::start().await;
    let acme = scene.tenant("acme").await;
    let (app, client) = scene.application(&acme, &[]).await;
    let id = scene.schedule(&acme, &app).await;
    scene.turn_to(START_MS);
    until_state(&client, id, "open").await;
    client.post(&format!("/v1/meetings/{id}/call"), &json!({})).await.expect(200);
    until_state(&client, id, "live").await;
    let meetings = &scene.server.app.meetings;
    let cancel = meetings.act(&acme.org.id, Some(&app), id, Actor::Application, Action::Cancel);
    assert!(cancel.now_or_never().is_none(), "it had to wait for the store, and was given up");
    scene.crowd.until("both are hung up", SOON, |crowd| crowd.took(Took::EndedByServer) == 2).await;
    assert_eq!(until_state(&client, id, "ended").await["cause"], "cancelled");
    scene.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_an_application_are_read_changed_and_checked() {
    let scene = Scene::start().await;
    let acme = scene.tenant("acme").await;
    let (app, client) = scene.application(&acme, &[]).await;
    let path = format!("/v1/applications/{app}");
    let settings = client.get(&path).await.expect(200)["settings"].clone();
    assert_eq!((&settings["time_zone"], &settings["talk_warning_s"]), (&json!("UTC"), &json!(60)));
    assert_eq!((&settings["reconnect_s"], &settings["auto_start"]), (&json!(180), &json!(false)));
    let changes = json!({"settings": {
        "auto_start": true, "number_pool": ["+442071838750"], "legacy_verifier_secret": SECRET_KEY_BASE,
    }});
    let changed = client.patch(&path, &changes).await;
    assert!(!changed.text.contains(SECRET_KEY_BASE), "{}", changed.text);
    let changed = changed.expect(200)["settings"].clone();
    assert_eq!((&changed["auto_start"], &changed["legacy_verifier_secret"]), (&json!(true), &json!(true)));
    let stored = scene.server.app.kernel.app(&acme.org.id, &app).await.unwrap().settings;
    assert!(!format!("{stored:?}").contains(SECRET_KEY_BASE), "it is sealed");
    let sent_back = client.patch(&path, &json!({"settings": changed})).await.expect(200);
    assert_eq!(sent_back["settings"], changed, "what was read can be sent back");
    let kept = scene.server.app.kernel.app(&acme.org.id, &app).await.unwrap().settings;
    assert_eq!(kept["legacy_verifier_secret"], stored["legacy_verifier_secret"], "and is no secret");
    let (other, other_client) = scene.application(&acme, &[]).await;
    other_client.get(&format!("/v1/applications/{other}")).await.expect(200);
    other_client.get(&path).await.expect(404);
    other_client.patch(&path, &json!({"record": true})).await.expect(404);
    let back = client.patch(&path, &json!({"auto_start": null, "legacy_verifier_secret": ""})).await.expect(200);
    assert_eq!(back["settings"]["auto_start"], false);
    assert_eq!(back["settings"]["legacy_verifier_secret"], false);
    assert_eq!(back["settings"]["number_pool"], json!(["+442071838750"]), "the others stay");
    let refused = client.patch(&path, &json!({"settings": {"time_zone": "Moon/Base"}})).await.expect(422);
    assert_eq!(refused["errors"][0]["pointer"], "/settings/time_zone");
    scene.server.stop().await;
}
