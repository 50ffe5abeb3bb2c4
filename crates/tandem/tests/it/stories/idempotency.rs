//! Idempotency-Key: the same answer for a day, then the key is free again. The day passes in a moment.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::client::Client;
use crate::harness::server::Plan;

/// 2026-11-21T00:00:00Z
const START_MS: i64 = 1_795_219_200_000;
const DAY_MS: i64 = 86_400_000;

async fn create(client: &Client, url: &str) -> (u16, Value) {
    let request = client.request(Method::POST, "/v1/webhooks").header("idempotency-key", "one");
    let reply = client.send(request.json(&json!({ "url": url }))).await;
    (reply.status, reply.json())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_post_is_one_until_a_day_has_passed() {
    let server = Plan::new().at(START_MS).start().await;
    let client = server.org("mine").await.client();
    let first = create(&client, "http://one.example").await;
    assert_eq!(first.0, 201);
    assert_eq!(create(&client, "http://one.example").await, first, "the same answer, the secret in it too");
    let (status, problem) = create(&client, "http://two.example").await;
    assert_eq!((status, &problem["code"]), (409, &json!("idempotency_mismatch")));
    assert_eq!(client.get("/v1/webhooks").await.expect(200)["webhooks"].as_array().unwrap().len(), 1);

    server.clock().advance(DAY_MS + 1);
    let (status, second) = create(&client, "http://two.example").await;
    assert_eq!(status, 201);
    assert_ne!(second["id"], first.1["id"]);
    server.stop().await;
}
