//! T3 over the whole server: many calls at once, each hung up at a random moment by its phone, by
//! its agent, by the API, or by several of them at once. Each ends exactly once, for everybody.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::harness::chance::{Chance, is_full};
use crate::harness::crowd::Act;
use crate::harness::house::{House, assert_each_completed_once, of};

/// Calls of a usual run, and of a long one.
const CALLS: u64 = 160;
const MANY_CALLS: u64 = 2_000;
/// Hang-ups come within so many milliseconds of the moment that they are about.
const SPREAD_MS: u64 = 350;
/// A limit for everything to be over, an unanswered CANCEL (64 T1) included.
const OVER: Duration = Duration::from_secs(60);
/// An agent that only rings, and the organisation's own numbers.
const AGENT_RINGS: &str = "+442071837001";
const OWN_FLOW: &str = "+442071839001";
const OWN_PERSON: &str = "+442071839002";

/// Where a call stands when it is hung up.
const MOMENTS: [&str; 11] = [
    "before 100",
    "after 100",
    "ringing",
    "early media",
    "play",
    "digits",
    "http",
    "connect rings",
    "bridged",
    "recording",
    "voicemail",
];

/// Who hangs up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Customer,
    Agent,
    Api,
    CustomerAndApi,
}

/// One call of the test.
#[derive(Debug)]
struct Plan {
    moment: &'static str,
    who: Who,
    after_ms: u64,
    customer: String,
    agent: String,
}

impl Plan {
    fn random(chance: &mut Chance, number: u64) -> Self {
        let moment = *chance.one(&MOMENTS);
        let connected = matches!(moment, "connect rings" | "bridged");
        let who = *chance.one(&[Who::Customer, Who::Agent, Who::Api, Who::CustomerAndApi]);
        let who = if who == Who::Agent && !connected { Who::Customer } else { who };
        let (customer, agent) = (format!("+4420718{number:05}"), format!("+4420719{number:05}"));
        Self { moment, who, after_ms: chance.within(0..SPREAD_MS), customer, agent }
    }

    fn flow(&self, slow: &str) -> Value {
        let step = match self.moment {
            "digits" => json!({"id": 2, "type": "digits", "count": 9, "timeout": 60, "flow": {"*": 2}}),
            "http" => json!({"id": 2, "type": "http", "url": slow}),
            "connect rings" | "bridged" => json!({"id": 2, "type": "connect", "number": self.agent}),
            "voicemail" => json!({"id": 2, "type": "voicemail", "box": "1001"}),
            _ => json!({"id": 2, "type": "play", "text": "One two three.", "loop": 20}),
        };
        let record = self.moment == "recording";
        json!({"record": record, "flow": [{"id": 1, "type": "call", "number": self.customer, "next_step": 2}, step]})
    }

    fn acts(&self, of_agent: bool) -> Vec<Act> {
        let mut acts = match (self.moment, of_agent) {
            ("before 100", _) => vec![],
            ("after 100", _) => vec![Act::Trying],
            ("ringing", _) | ("connect rings", true) => vec![Act::Ring],
            ("early media", _) => vec![Act::EarlyMedia],
            ("digits", _) => vec![Act::Ring, Act::Answer, Act::Key('4')],
            ("recording" | "voicemail", _) => vec![Act::Ring, Act::Answer, Act::Speak],
            _ => vec![Act::Ring, Act::Answer],
        };
        let hangs_up =
            if of_agent { self.who == Who::Agent } else { matches!(self.who, Who::Customer | Who::CustomerAndApi) };
        if hangs_up {
            acts.extend([Act::wait(self.after_ms), Act::Hangup]);
        }
        acts
    }

    /// Judges how the call ended; a flow whose agent is gone goes on and ends by itself.
    fn judge(&self, completed: &Value) {
        let (cause, by) =
            (completed["data"]["cause"].as_str().unwrap(), completed["data"]["ended_by"].as_str().unwrap());
        let good = match self.who {
            Who::Customer => by == "customer" && matches!(cause, "normal" | "rejected"),
            Who::Api => by == "api" && matches!(cause, "normal" | "canceled"),
            Who::CustomerAndApi => matches!(by, "customer" | "api"),
            Who::Agent => cause == "normal" && matches!(by, "agent" | "target" | "system"),
        };
        assert!(good, "{self:?} ended {cause} by {by}");
    }
}

/// Runs one call by its plan; gives its id.
async fn run(house: &House, plan: &Plan, slow: &str) -> String {
    let client = house.client();
    let answer = client.post("/api/v2/call/flow", &plan.flow(slow)).await.expect(201);
    let id = answer["call_id"].as_str().unwrap().to_owned();
    if matches!(plan.who, Who::Api | Who::CustomerAndApi) {
        sleep(Duration::from_millis(plan.after_ms)).await;
        let hung_up = client.post(&format!("/api/v2/call/{id}/hangup"), &json!({})).await;
        let late = plan.who == Who::CustomerAndApi && matches!(hung_up.status, 404 | 409);
        assert!(hung_up.status == 200 || late, "{}", hung_up.text);
    }
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn t3_hung_up_at_any_moment_by_anybody_a_call_ends_once() {
    let mut chance = Chance::told();
    let number = if is_full() { MANY_CALLS } else { CALLS };
    let plans: Arc<Vec<Plan>> = Arc::new((0..number).map(|number| Plan::random(&mut chance, number)).collect());
    let acts: HashMap<String, Vec<Act>> = plans
        .iter()
        .flat_map(|plan| [(plan.customer.clone(), plan.acts(false)), (plan.agent.clone(), plan.acts(true))])
        .chain([(AGENT_RINGS.to_owned(), vec![Act::Ring])])
        .collect();
    let limits = "[limits]\ncalls_per_second = 0\nconcurrent_calls = 0\nrequests_per_minute_per_ip = 0\nrequests_per_minute_per_token = 0\n";
    // The extension 1001 rings a while, then answers.
    let house = House::start(limits, move |number| {
        acts.get(number).cloned().unwrap_or_else(|| vec![Act::Ring, Act::wait(150), Act::Answer])
    })
    .await;
    house.stub.serve("/slow", 200, "application/json", b"{}", Duration::from_secs(9));
    house.phone("1001").await;
    house.inbound(OWN_FLOW, json!([{"id": 1, "type": "connect", "number": AGENT_RINGS}])).await;
    house.verb(&["number", "add", OWN_PERSON, "--org", "acme", "--to", "person:1001"]).await;
    let hook = json!({"url": house.stub.url("/hook"), "events": ["call.completed"]});
    house.client().post("/v1/webhooks", &hook).await.expect(201);

    let house = Arc::new(house);
    let slow = house.stub.url("/slow");
    let known: Arc<Mutex<HashMap<String, usize>>> = Arc::default();
    let mut running = tokio::task::JoinSet::new();
    for index in 0..plans.len() {
        let (house, plans, known, slow) = (Arc::clone(&house), Arc::clone(&plans), Arc::clone(&known), slow.clone());
        let start_ms = chance.within(0..number * 10);
        let gives_up_ms = chance.within(0..SPREAD_MS);
        running.spawn(async move {
            sleep(Duration::from_millis(start_ms)).await;
            // Beside each fourth one, a phone calls in and gives up at any moment.
            if index % 4 == 0 {
                let to = if index % 8 == 0 { OWN_FLOW } else { OWN_PERSON };
                house.crowd.dial(&format!("+4420716{index:05}"), to, vec![Act::wait(gives_up_ms), Act::Hangup]);
            }
            let id = run(&house, &plans[index], &slow).await;
            known.lock().unwrap().insert(id, index);
        });
    }
    while let Some(done) = running.join_next().await {
        done.unwrap();
    }

    let events = house.all_over(OVER).await;
    let calls = house.calls().await;
    assert_each_completed_once(&calls, &events);
    let known = known.lock().unwrap().clone();
    assert_eq!(known.len(), plans.len());
    let mut judged = 0;
    for completed in of(&events, "call.completed") {
        if let Some(index) = known.get(completed["call"]["id"].as_str().unwrap()) {
            plans[*index].judge(completed);
            judged += 1;
        }
    }
    assert_eq!(judged, plans.len());
    let told = |asked: &[crate::harness::stub::Asked]| {
        let ids: std::collections::HashSet<_> =
            asked.iter().filter_map(|asked| asked.headers.get("webhook-id")).collect();
        ids.len() == calls.len()
    };
    house.stub.until("one call.completed of each call", OVER, told).await;
    house.crowd.quiet(OVER).await;
}
