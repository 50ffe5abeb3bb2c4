//! T1 of contracts/flows.md: the sample of document 003, word for word but for its credentials and
//! the URL's host, on a real phone.

use serde_json::Value;

use crate::harness::baresip::Baresip;
use crate::harness::server::{Plan, Server, Tenant};
use crate::harness::stub::Stub;

/// The sample as it is documented.
const SAMPLE: &str = include_str!("../../../src/cli/demo/sample.json");

/// The sample with this organisation's credentials and the stub's host, otherwise byte for byte.
fn sample(tenant: &Tenant<'_>, stub: &Stub) -> String {
    SAMPLE
        .replace("\"cloud_id\":\"dev\"", &format!("\"cloud_id\":\"{}\"", tenant.org.slug))
        .replace("XXXXXXXX", &tenant.org.cloud_sid)
        .replace("your_auth_token", &tenant.token)
        .replace("https://in01c005d.samespace.com", &stub.url(""))
}

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

fn codes(warnings: &Value) -> Vec<&str> {
    warnings.as_array().unwrap().iter().map(|warning| warning["code"].as_str().unwrap()).collect()
}

fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

/// The customer answers, presses 1234; gives the types of all events once the agent has talked.
async fn play_through(endpoint_status: u16) -> Vec<Value> {
    let Scene { server, stub } = Scene::new().await;
    stub.answer("/api/test/", endpoint_status, "{}");
    let dev = server.org("dev").await;
    let mut customer = Baresip::start(dev.phone("1001").await).await;
    let mut agent = Baresip::start(dev.phone("1002").await.answering()).await;
    dev.team("5263", &["1002"]).await;
    dev.number("+917507161643", "person:1001").await;

    let answer = server.client().post_text("/api/v2/call/flow", &sample(&dev, &stub)).await.expect(201);
    for code in ["unreachable_step", "callback_in_past", "caller_id_replaced"] {
        assert!(codes(&answer["warnings"]).contains(&code), "{answer}");
    }
    customer.expect("CALL_INCOMING").await;
    customer.accept().await;
    customer.expect("CALL_ESTABLISHED").await;
    let path = format!("/v1/calls/{}/events", answer["call_id"].as_str().unwrap());
    // Keys count from the digits step on; before it the voice speaks.
    let asks = |page: &Value| page["events"].as_array().unwrap().iter().any(|event| event["step"]["type"] == "digits");
    dev.client().until(&path, "the digits step", asks).await;
    customer.press("1234").await;
    let asked = stub.request("/api/test/").await;
    assert_eq!(asked.target, "/api/test/1234");
    agent.expect("CALL_ESTABLISHED").await;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    agent.hang_up().await;
    customer.expect("CALL_CLOSED").await;
    assert!(customer.heard().rms() > 100.0, "the customer heard the voice");

    let completed = |page: &Value| types(page["events"].as_array().unwrap()).contains(&"call.completed");
    let page = dev.client().until(&path, "call.completed", completed).await;
    let events = page["events"].as_array().unwrap().clone();
    server.stop().await;
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn t1_the_sample_goes_by_the_callback_when_the_endpoint_says_200() {
    let events = play_through(200).await;
    let seqs: Vec<i64> = events.iter().map(|event| event["seq"].as_i64().unwrap()).collect();
    assert_eq!(seqs, (1..=i64::try_from(events.len()).unwrap()).collect::<Vec<_>>(), "seq has no holes");
    let types = types(&events);
    let place =
        |kind: &str| types.iter().position(|one| *one == kind).unwrap_or_else(|| panic!("no {kind} in {types:?}"));
    let order = [
        "call.initiated",
        "call.ringing",
        "call.answered",
        "dtmf",
        "input.completed",
        "http.completed",
        "callback.skipped",
        "connect.answered",
        "call.completed",
    ];
    for pair in order.windows(2) {
        assert!(place(pair[0]) < place(pair[1]), "{} before {} in {types:?}", pair[0], pair[1]);
    }
    assert_eq!(types.iter().filter(|kind| **kind == "dtmf").count(), 4);
    assert_eq!(types.iter().filter(|kind| **kind == "call.completed").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn t1_the_sample_connects_at_once_when_the_endpoint_says_500() {
    let events = play_through(500).await;
    let types = types(&events);
    assert!(!types.iter().any(|kind| kind.starts_with("callback.")), "{types:?}");
    assert!(types.contains(&"connect.answered"), "{types:?}");
}
