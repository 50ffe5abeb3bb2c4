//! Queues over the whole server: callers by a trunk, agents with registered phones, one of which dies in the middle of
//! a call. Served in order, nobody is offered two calls, whoever loses his agent comes first again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::client::Client;
use crate::harness::crowd::{Act, Crowd};
use crate::harness::house::{House, assert_each_completed_once, of};
use crate::harness::queue_log::{assert_one_offer_at_a_time, caller, events, from, time, wait_for_joined};
use crate::harness::server::{Plan, Server};

const CALLERS: usize = 30;
const AGENTS: [&str; 3] = ["1001", "1002", "1003"];
/// The flow's number, and the team's.
const QUEUE: &str = "+442071839001";
const TEAM: &str = "5263";
/// So long a server of these tests believes in a phone that says nothing, in seconds.
const MEDIA_TIMEOUT_S: u32 = 2;
const OVER: Duration = Duration::from_secs(120);

/// Answers, talks for a moment and hangs up.
fn serves(ms: u64) -> Vec<Act> {
    vec![Act::Ring, Act::wait(30), Act::Answer, Act::Speak, Act::wait(ms), Act::Hangup]
}

fn patient() -> Vec<Act> {
    vec![Act::Established, Act::Speak, Act::Wait(OVER)]
}

/// A server with a team of agents, whose queue a number leads to, and everybody's phones.
async fn scene(
    strategy: &str,
    step: Value,
    manner: impl Fn(&str) -> Vec<Act> + Send + Sync + 'static,
) -> (Server, Crowd, Client) {
    let crowd = Crowd::start(manner).await;
    let server = Plan::new().with(|config| config.media.timeout_seconds = MEDIA_TIMEOUT_S).start().await;
    crowd.meet(server.sip());
    let acme = server.org("acme").await;
    acme.trunk("crowd", &[&crowd.address.to_string()], &["+442071838000"]).await;
    for agent in AGENTS {
        crowd.register(&acme.phone(agent).await).await;
    }
    let team = json!({"name": "Help", "number": TEAM, "strategy": strategy, "members": AGENTS});
    acme.client().post("/v1/teams", &team).await.expect(201);
    let saved = acme.client().post("/v1/flows", &json!({"name": "queue", "flow": [step]})).await.expect(201);
    acme.number(QUEUE, &format!("flow:{}", saved["id"].as_str().unwrap())).await;
    let client = acme.client();
    (server, crowd, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_callers_are_served_in_order_by_three_agents_one_of_whom_crashes() {
    let (taken, refused) = (Arc::new(AtomicUsize::new(0)), AtomicUsize::new(0));
    let (counted, step) = (taken.clone(), json!({"id": 1, "type": "queue", "team": TEAM, "announce_position": false}));
    let (server, crowd, client) = scene("longest_idle", step, move |number| match number {
        // Its battery goes in its first call.
        "1003" if counted.fetch_add(1, Ordering::Relaxed) == 0 => {
            vec![Act::Ring, Act::Answer, Act::Speak, Act::wait(100), Act::Vanish]
        }
        // It refuses its second.
        "1002" if refused.fetch_add(1, Ordering::Relaxed) == 1 => vec![Act::Ring, Act::Refuse(486)],
        _ => serves(120),
    })
    .await;
    for number in 0..CALLERS {
        crowd.dial(&caller(number), QUEUE, patient());
        // The order of joining is the order of dialling.
        wait_for_joined(&client, number + 1).await;
    }
    crowd.quiet(OVER).await;
    let events = events(&client).await;
    let joined: Vec<&str> = of(&events, "queue.joined").into_iter().map(from).collect();
    let bridged: Vec<&Value> =
        of(&events, "queue.left").into_iter().filter(|left| left["data"]["reason"] == "bridged").collect();
    assert_eq!(joined.len(), CALLERS + 1, "everybody once, and the one whose agent was lost once more");
    assert_eq!(bridged.len(), CALLERS + 1, "{bridged:?}");

    // The one who lost his agent came back to the front, and had somebody else next.
    let lost: Vec<&Value> =
        of(&events, "connect.ended").into_iter().filter(|end| end["data"]["cause"] == "media_timeout").collect();
    assert_eq!(lost.len(), 1, "{lost:?}");
    let returned = of(&events, "queue.joined").into_iter().rev().find(|event| from(event) == from(lost[0])).unwrap();
    assert_eq!(returned["data"]["position"], 1);

    // Whoever is served has nobody before him but those whom the other agents' phones ring for.
    let first = |left: &&Value| left["data"]["position"].as_u64().unwrap() <= AGENTS.len() as u64;
    assert!(bridged.iter().all(first), "{bridged:?}");
    assert_one_offer_at_a_time(&events);
    let calls = client.get("/v1/calls?limit=200").await.expect(200)["calls"].as_array().unwrap().clone();
    assert_each_completed_once(&calls, &events);
    let queue = client.get("/v1/queues").await.expect(200)["queues"][0].clone();
    assert_eq!((&queue["waiting"], &queue["longest_wait_s"]), (&json!(0), &json!(0)));
    assert!(queue["expected_wait_s"].is_i64(), "{queue}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_turns_the_wait_into_a_callback_that_is_made_in_its_turn() {
    let busy = Arc::new(AtomicUsize::new(0));
    let counted = busy.clone();
    let step = json!({
        "id": 1, "type": "queue", "team": TEAM, "callback_key": "1", "announce_position": false,
    });
    let (server, crowd, client) = scene("round_robin", step, move |number| match number {
        agent if AGENTS.contains(&agent) => {
            // The first calls take a while; the callback's agent waits for its customer.
            if counted.fetch_add(1, Ordering::Relaxed) < AGENTS.len() { serves(3_000) } else { serves(20_000) }
        }
        _ => vec![Act::Ring, Act::Answer, Act::Speak, Act::wait(500), Act::Hangup],
    })
    .await;
    for number in 0..AGENTS.len() {
        crowd.dial(&caller(number), QUEUE, patient());
        wait_for_joined(&client, number + 1).await;
    }
    let me = caller(77);
    crowd.dial(&me, QUEUE, vec![Act::Established, Act::Speak, Act::wait(500), Act::Key('1'), Act::Wait(OVER)]);
    let over = tokio::time::timeout(OVER, async {
        loop {
            let all = events(&client).await;
            if let Some(done) = of(&all, "callback.completed").first() {
                return (all.clone(), (*done).clone());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let (all, completed) = over.await.expect("the callback is made");
    let left = of(&all, "queue.left").into_iter().find(|left| from(left) == me).unwrap().clone();
    assert_eq!((&left["data"]["reason"], &left["data"]["position"]), (&json!("callback"), &json!(1)));
    assert_eq!(completed["data"]["status"], "completed", "{completed}");
    let started = of(&all, "callback.started")[0];
    assert!(time(started) > time(&left), "when an agent was free");
    assert_eq!(crowd.rung(&me), 1, "the customer was called back once");
    crowd.quiet(OVER).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_away_stays_away_over_a_kill() {
    let mut house = House::start("", |_| serves(100)).await;
    let made = house.verb(&["user", "create", "Ann", "--org", "acme", "--role", "agent", "--extension", "1001"]).await;
    let team = ["team", "create", "Help", "--org", "acme", "--number", TEAM, "--member", "1001"];
    house.verb(&[&team[..], &["--strategy", "longest_idle", "--wrap-up", "30"]].concat()).await;
    let token = made["auth_token"].as_str().unwrap().to_owned();
    let away = house.client().bearing(&token).put("/v1/me/state", &json!({"state": "away"})).await.expect(200);
    assert_eq!(away["state"], "away");
    house.kill().await;
    house.rise().await;
    let ann = house.client().bearing(&token);
    assert_eq!(ann.get("/v1/me/state").await.expect(200)["state"], "away");
    let queue = house.client().get("/v1/queues").await.expect(200)["queues"][0].clone();
    assert_eq!((&queue["agents"][0]["state"], &queue["strategy"]), (&json!("away"), &json!("longest_idle")));
    assert_eq!(ann.put("/v1/me/state", &json!({"state": "available"})).await.expect(200)["state"], "available");
    ann.put("/v1/me/state", &json!({"state": "asleep"})).await.expect(422);
}
