//! The steps of call flows on a real phone.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::baresip::Baresip;
use crate::harness::client::Client;
use crate::harness::server::{Plan, Server};
use crate::harness::stub::Stub;

/// A server, an endpoint that it may reach, and an organisation's credentials.
struct Scene {
    server: Server,
    stub: Stub,
}

impl Scene {
    async fn new() -> Self {
        let stub = Stub::start().await;
        Self { server: Plan::new().reaching(stub.address).start().await, stub }
    }
}

/// A run that a test looks at.
struct Run {
    client: Client,
    call: String,
    run: String,
}

impl Run {
    /// Posts a flow whose first step calls 1001.
    async fn begin(client: &Client, steps: Value) -> Self {
        let mut flow = vec![json!({"id": "call", "type": "call", "number": "1001", "next_step": 1})];
        flow.extend(steps.as_array().unwrap().clone());
        let answer = client.post("/api/v2/call/flow", &json!({ "flow": flow })).await.expect(201);
        let text = |name: &str| answer[name].as_str().unwrap().to_owned();
        Self { client: client.clone(), call: text("call_id"), run: text("flow_run_id") }
    }

    /// Waits until it stands at a step.
    async fn reaches(&self, id: &str) {
        let path = format!("/api/v2/call/flow/{}", self.run);
        let stands = |run: &Value| run["run"]["visited"].as_array().unwrap().last().is_some_and(|step| step["step_id"] == id);
        self.client.until(&path, &format!("the step {id}"), stands).await;
    }

    /// Waits for its end and gives its events.
    async fn events(&self) -> Vec<Value> {
        let path = format!("/v1/calls/{}/events?limit=500", self.call);
        let over = |page: &Value| page["events"].as_array().unwrap().iter().any(|event| event["type"] == "call.completed");
        self.client.until(&path, "call.completed", over).await["events"].as_array().unwrap().clone()
    }
}

fn of<'e>(events: &'e [Value], kind: &str) -> Vec<&'e Value> {
    events.iter().filter(|event| event["type"] == kind).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn digits_are_gathered_from_the_keys_of_a_phone() {
    let Scene { server, stub } = Scene::new().await;
    let dev = server.org("dev").await;
    let mut phone = Baresip::start(dev.phone("1001").await.answering()).await;
    let run = Run::begin(
        &dev.client(),
        json!([
            {"id": 1, "type": "digits", "count": 4, "variable": "pin", "flow": {"*": 2}},
            {"id": 2, "type": "http", "url": stub.url("/pin/{{pin}}")},
        ]),
    )
    .await;
    phone.expect("CALL_ESTABLISHED").await;
    run.reaches("1").await;
    phone.press("1234").await;
    let events = run.events().await;
    for event in &events { eprintln!("{event}"); }
    eprintln!("{}", phone.log_tail());
    assert_eq!(of(&events, "dtmf").len(), 4);
    assert_eq!(stub.request("/pin/").await.target, "/pin/1234");
    tokio::time::sleep(Duration::from_millis(10)).await;
    server.stop().await;
}
