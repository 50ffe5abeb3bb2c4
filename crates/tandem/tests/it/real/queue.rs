//! A queue of a browser, two SIP phones that are not ours, and thirty callers: served in order, nobody is offered two
//! calls, and the caller of the agent whose browser is killed comes first again.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::harness::baresip::Baresip;
use crate::harness::crowd::{Act, Crowd};
use crate::harness::house::{assert_each_completed_once, of};
use crate::harness::queue_log::{assert_one_offer_at_a_time, caller, events, from, wait_for_joined};
use crate::harness::server::Plan;
use crate::harness::web_phone::WebPhone;

const CALLERS: usize = 30;
const BROWSER: &str = "1001";
const BARESIPS: [&str; 2] = ["1002", "1003"];
const TEAM: &str = "5263";
const QUEUE: &str = "+442071839001";
/// So long a call lasts at an agent's.
const TALK: Duration = Duration::from_millis(250);
/// So long this server believes in a phone that says nothing, in seconds.
const MEDIA_TIMEOUT_S: u32 = 2;
const OVER: Duration = Duration::from_secs(120);

/// Takes calls and ends them, for as long as anybody lets it.
async fn serves(mut agent: Baresip) {
    loop {
        agent.expect("CALL_ESTABLISHED").await;
        sleep(TALK).await;
        agent.hang_up().await;
    }
}

fn has(state: &'static str) -> impl Fn(&Value) -> bool {
    move |view| view["calls"].as_array().is_some_and(|calls| calls.iter().any(|call| call["state"] == state))
}

/// Takes a call as a person does; whether it ends it too.
async fn takes_one(agent: &mut WebPhone, ends: bool) {
    agent.until("a call that comes", has("incoming")).await;
    agent.click("Answer").await;
    agent.until("a call that is up", has("up")).await;
    sleep(TALK).await;
    if ends {
        agent.click("Hang up").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_and_two_phones_serve_thirty_callers_in_order_until_the_browser_is_killed() {
    let crowd = Crowd::start(|_| Vec::new()).await;
    let server = Plan::new().with(|config| config.media.timeout_seconds = MEDIA_TIMEOUT_S).start().await;
    crowd.meet(server.sip());
    let acme = server.org("acme").await;
    acme.trunk("crowd", &[&crowd.address.to_string()], &["+442071838000"]).await;
    let mut browser = WebPhone::online(&server, &acme.caller(BROWSER).await, json!({})).await;
    let mut phones = Vec::new();
    for extension in BARESIPS {
        phones.push(Baresip::start(acme.phone(extension).await.answering()).await);
    }
    let client = acme.client();
    let team = json!({
        "name": "Help", "number": TEAM, "strategy": "longest_idle", "ring_s": 10,
        "members": [BROWSER, BARESIPS[0], BARESIPS[1]],
    });
    client.post("/v1/teams", &team).await.expect(201);
    let step = json!({"id": 1, "type": "queue", "team": TEAM, "announce_position": false});
    let saved = client.post("/v1/flows", &json!({"name": "queue", "flow": [step]})).await.expect(201);
    acme.number(QUEUE, &format!("flow:{}", saved["id"].as_str().unwrap())).await;

    let phones: Vec<_> = phones.into_iter().map(|phone| tokio::spawn(serves(phone))).collect();
    let browser = tokio::spawn(async move {
        takes_one(&mut browser, true).await;
        takes_one(&mut browser, false).await;
        // Its machine goes down in the middle of the call.
        drop(browser);
    });
    for number in 0..CALLERS {
        crowd.dial(&caller(number), QUEUE, vec![Act::Established, Act::Speak, Act::Wait(OVER)]);
        // The order of joining is the order of dialling.
        wait_for_joined(&client, number + 1).await;
    }
    crowd.quiet(OVER).await;
    browser.await.unwrap();
    phones.iter().for_each(tokio::task::JoinHandle::abort);

    let events = events(&client).await;
    let bridged: Vec<&Value> =
        of(&events, "queue.left").into_iter().filter(|left| left["data"]["reason"] == "bridged").collect();
    assert_eq!(of(&events, "queue.joined").len(), CALLERS + 1, "everybody once, and whose agent was lost once more");
    assert_eq!(bridged.len(), CALLERS + 1);
    let answered = |agent: &str| {
        of(&events, "connect.answered").into_iter().filter(|event| event["data"]["target"] == agent).count()
    };
    assert_eq!(answered(BROWSER), 2);
    assert!(BARESIPS.iter().all(|agent| answered(agent) > 2), "both phones serve");

    let is_lost = |end: &&Value| ["media_timeout", "unreachable"].contains(&end["data"]["cause"].as_str().unwrap());
    let talked = |end: &&Value| end["data"]["status"] == "completed";
    let lost: Vec<&Value> = of(&events, "connect.ended").into_iter().filter(is_lost).filter(talked).collect();
    assert_eq!(lost.len(), 1, "{lost:?}");
    let returned = of(&events, "queue.joined").into_iter().rev().find(|event| from(event) == from(lost[0])).unwrap();
    assert_eq!(returned["data"]["position"], 1, "he is the first again");

    let agents = 1 + BARESIPS.len();
    // Whoever is served has nobody before him but those whom the other agents' phones ring for.
    assert!(bridged.iter().all(|left| left["data"]["position"].as_u64().unwrap() <= agents as u64), "{bridged:?}");
    assert_one_offer_at_a_time(&events);
    let calls = client.get("/v1/calls?limit=200").await.expect(200)["calls"].as_array().unwrap().clone();
    assert_each_completed_once(&calls, &events);
    server.stop().await;
}
