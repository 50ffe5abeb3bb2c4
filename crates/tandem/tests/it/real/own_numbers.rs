//! A flow that connects to a number of its own organisation reaches what answers there: a person, a
//! team, or another flow, which is a call of its own.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::client::Client;
use crate::harness::handset::{Handset, Manner};
use crate::harness::server::{Plan, Tenant};
use crate::harness::stub::Stub;

/// The organisation's number that a flow answers.
const OWN: &str = "+442071838750";
/// Whom the flows call first: the handset, by the trunk.
const CUSTOMER: &str = "+16468107000";

async fn save(client: &Client, name: &str, flow: Value) -> String {
    let saved = client.post("/v1/flows", &json!({"name": name, "flow": flow})).await.expect(201);
    format!("flow:{}", saved["id"].as_str().unwrap())
}

/// Calls the handset with a flow that connects it to a number; the call's id.
async fn connect_customer(dev: &Tenant<'_>, number: &str, after: &str) -> String {
    let flow = json!({"flow": [
        {"id": "call", "type": "call", "number": CUSTOMER, "next_step": "connect"},
        {"id": "connect", "type": "connect", "number": number, "next_step": "after"},
        {"id": "after", "type": "http", "url": after},
    ]});
    let posted = dev.client().post("/api/v2/call/flow", &flow).await.expect(201);
    posted["call_id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn connect_to_a_number_that_a_flow_answers_runs_that_flow() {
    let stub = Stub::start().await;
    let server = Plan::new().reaching(stub.address).start().await;
    let dev = server.org("dev").await;
    let phone = Handset::start(&[Manner { talks: true, ..Manner::default() }]).await;
    dev.trunk("carrier", &[&phone.address.to_string()], &[]).await;
    let inner = json!([
        {"id": 1, "type": "play", "text": "This is the inner flow.", "next_step": 2},
        {"id": 2, "type": "http", "url": stub.url("/inner/{{call.from}}/{{call.to}}"), "next_step": 3},
        {"id": 3, "type": "hangup"},
    ]);
    let flow = save(&dev.client(), "Inner", inner).await;
    dev.number(OWN, &flow).await;

    let outer = connect_customer(&dev, OWN, &stub.url("/after/{{connect.status}}")).await;
    let inner = stub.request("/inner/").await.target;
    assert_eq!(inner, format!("/inner/{}/{}", CUSTOMER.replace('+', "%2B"), OWN.replace('+', "%2B")));
    assert_eq!(stub.request("/after/").await.target, "/after/completed", "the outer flow goes on");
    let over = |page: &Value| page["calls"].as_array().unwrap().iter().all(|call| call["state"] == "completed");
    let calls = dev.client().until("/v1/calls", "both calls are over", over).await;
    let calls = calls["calls"].as_array().unwrap();
    assert_eq!(calls.len(), 2, "{calls:#?}");
    let inner = calls.iter().find(|call| call["id"] != outer.as_str()).unwrap();
    assert_eq!(
        (&inner["direction"], &inner["from"], &inner["cause"]),
        (&"inbound".into(), &CUSTOMER.into(), &"normal".into())
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flows_that_connect_to_each_other_come_to_an_end() {
    let stub = Stub::start().await;
    let server = Plan::new().reaching(stub.address).start().await;
    let dev = server.org("dev").await;
    let phone = Handset::start(&[Manner { talks: true, ..Manner::default() }]).await;
    dev.trunk("carrier", &[&phone.address.to_string()], &[]).await;
    let inner = json!([
        {"id": 1, "type": "connect", "number": OWN, "next_step": 2},
        {"id": 2, "type": "http", "url": stub.url("/inner/{{connect.status}}")},
    ]);
    let flow = save(&dev.client(), "Circle", inner).await;
    dev.number(OWN, &flow).await;

    connect_customer(&dev, OWN, &stub.url("/after/{{connect.status}}")).await;
    stub.until("the outer flow goes on", Duration::from_secs(30), |asked| {
        asked.iter().any(|asked| asked.target.starts_with("/after/"))
    })
    .await;
    let over = |page: &Value| page["calls"].as_array().unwrap().iter().all(|call| call["state"] == "completed");
    let calls = dev.client().until("/v1/calls", "all calls are over", over).await;
    assert_eq!(calls["calls"].as_array().unwrap().len(), 9, "eight inner calls, then the guard");
    let told: Vec<String> = stub.asked().into_iter().map(|asked| asked.target).collect();
    let failed = told.iter().filter(|target| *target == "/inner/failed").count();
    assert_eq!(failed, 1, "the innermost found no route: {told:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connect_to_the_numbers_of_people_and_teams_rings_their_phones() {
    let stub = Stub::start().await;
    let server = Plan::new().reaching(stub.address).start().await;
    let dev = server.org("dev").await;
    let phone = Handset::start(&[Manner { talks: true, ..Manner::default() }]).await;
    dev.trunk("carrier", &[&phone.address.to_string()], &[]).await;
    let account = dev.phone("1001").await.answering();
    dev.team("5263", &["1001"]).await;
    dev.number("+442071838751", "person:1001").await;
    dev.number("+442071838752", "team:5263").await;
    let mut agent = crate::harness::baresip::Baresip::start(account).await;
    for number in ["+442071838751", "+442071838752"] {
        connect_customer(&dev, number, &stub.url(&format!("/after/{}", &number[1..]))).await;
        agent.expect("CALL_ESTABLISHED").await;
        agent.hang_up().await;
        stub.request(&format!("/after/{}", &number[1..])).await;
    }
    server.stop().await;
}
