//! Our own routes beside document 003: saved flows with versions, numbers that lead to them.

use serde_json::{Value, json};

use super::d003::dev;
use crate::harness::server::Server;

fn flow(text: &str) -> Value {
    json!([{"id": 1, "type": "call", "number": "1001", "next_step": 2}, {"id": 2, "type": "play", "text": text}])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_is_saved_changed_read_and_deleted() {
    let server = Server::start().await;
    let dev = dev(&server).await;
    let client = dev.client();
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let publish = json!({"url": "https://example.org/hook", "secret": secret});
    let made = client
        .post("/v1/flows", &json!({"name": " Welcome ", "flow": flow("one"), "publish": publish, "colour": 1}))
        .await
        .expect(201);
    assert_eq!((&made["name"], &made["version"]), (&json!("Welcome"), &json!(1)));
    assert_eq!(made["warnings"][0]["code"], "unknown_field");
    assert!(!made.to_string().contains("whsec"), "a secret is not shown again: {made}");
    let path = format!("/v1/flows/{}", made["id"].as_str().unwrap());

    let changed = client.put(&path, &json!({"flow": flow("two")})).await.expect(200);
    assert_eq!((&changed["name"], &changed["version"]), (&json!("Welcome"), &json!(2)));
    assert_eq!(client.get(&path).await.expect(200)["flow"], flow("two"));
    assert_eq!(client.get(&format!("{path}?version=1")).await.expect(200)["flow"], flow("one"));
    client.get(&format!("{path}?version=3")).await.expect(404);
    // What was read can be sent back.
    let read = client.get(&path).await.expect(200);
    assert_eq!(client.put(&path, &read).await.expect(200)["version"], 3);

    let list = client.get("/v1/flows").await.expect(200);
    assert_eq!((list["flows"].as_array().unwrap().len(), &list["flows"][0]["version"]), (1, &json!(3)));

    let other = server.org("other").await;
    other.client().get(&path).await.expect(404);
    other.client().put(&path, &json!({"flow": flow("x")})).await.expect(404);
    other.client().delete(&path).await.expect(404);
    other.client().post(&format!("{path}/run"), &json!({})).await.expect(404);

    client.delete(&path).await.expect(204);
    client.get(&path).await.expect(404);
    client.delete(&path).await.expect(404);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_that_cannot_run_is_not_saved() {
    let server = Server::start().await;
    let dev = dev(&server).await;
    let bad = json!({"flow": [{"id": 1, "type": "play"}, {"id": 1, "type": "connect", "number": "7777"}]});
    let problem = dev.client().post("/v1/flows", &bad).await;
    assert_eq!(problem.headers["content-type"], "application/problem+json");
    let problem = problem.expect(422);
    assert_eq!((&problem["code"], &problem["type"]), (&json!("invalid_flow"), &json!("/v1/errors/invalid_flow")));
    let found: Vec<(&str, &str)> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| (error["code"].as_str().unwrap(), error["pointer"].as_str().unwrap()))
        .collect();
    assert_eq!(
        found,
        [("duplicate_id", "/flow/1/id"), ("text_or_url_required", "/flow/0"), ("unknown_entity", "/flow/1/number")]
    );
    assert_eq!(dev.client().post_text("/v1/flows", "{").await.expect(400)["code"], "unreadable_json");
    dev.client().post("/v1/flows", &json!({"flow": flow("x")})).await.expect(422);
    assert_eq!(dev.client().get("/v1/flows").await.expect(200)["flows"], json!([]));
    assert_eq!(server.client().get("/v1/errors/invalid_flow").await.status, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_lead_to_flows_people_and_teams() {
    let server = Server::start().await;
    let dev = dev(&server).await;
    let client = dev.client();
    let made =
        client.post("/v1/flows", &json!({"name": "In", "flow": [{"id": 1, "type": "hangup"}]})).await.expect(201);
    let id = made["id"].as_str().unwrap();
    let bound = client.put("/v1/numbers/+442071838750", &json!({"to": format!("flow:{id}")})).await.expect(200);
    assert_eq!(bound, json!({"number": "+442071838750", "to": format!("flow:{id}")}));
    assert_eq!(client.get("/v1/numbers/442071838750").await.expect(200), bound);
    assert_eq!(client.get("/v1/numbers").await.expect(200)["numbers"].as_array().unwrap().len(), 2);

    let in_use = client.delete(&format!("/v1/flows/{id}")).await.expect(409);
    assert_eq!(in_use["code"], "flow_in_use");
    assert!(in_use["detail"].as_str().unwrap().contains("+442071838750"));

    for (to, status) in [
        ("flow:flow_none", 422),
        ("person:7777", 422),
        ("team:1001", 422),
        ("nobody", 422),
        ("person:1001", 200),
        ("team:5263", 200),
        ("meetings", 200),
    ] {
        client.put("/v1/numbers/+442071838750", &json!({ "to": to })).await.expect(status);
    }
    client.put("/v1/numbers/12", &json!({"to": "meetings"})).await.expect(422);
    client.delete("/v1/numbers/+442071838750").await.expect(204);
    client.get("/v1/numbers/+442071838750").await.expect(404);
    client.delete(&format!("/v1/flows/{id}")).await.expect(204);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saved_flow_runs_with_and_without_a_number() {
    let server = Server::start().await;
    let dev = dev(&server).await;
    let client = dev.client();
    let made = client.post("/v1/flows", &json!({"name": "Out", "flow": flow("hi")})).await.expect(201);
    let path = format!("/v1/flows/{}/run", made["id"].as_str().unwrap());
    for (request, to) in [(json!({}), "1001"), (json!({"to": 1002}), "1002"), (json!({"to": "1002"}), "1002")] {
        let begun = client.post(&path, &request).await.expect(201);
        let call = client.get(&format!("/v1/calls/{}", begun["call_id"].as_str().unwrap())).await.expect(200);
        assert_eq!((&call["to"], &call["flow_run_id"]), (&json!(to), &begun["flow_run_id"]));
        let run =
            client.get(&format!("/api/v2/call/flow/{}", begun["flow_run_id"].as_str().unwrap())).await.expect(200);
        assert_eq!(run["run"]["flow"], flow("hi"));
    }
    client.post(&path, &json!({"to": "112"})).await.expect(422);
    client.post(&path, &json!({"to": true})).await.expect(422);

    let inbound =
        client.post("/v1/flows", &json!({"name": "In", "flow": [{"id": 1, "type": "hangup"}]})).await.expect(201);
    let path = format!("/v1/flows/{}/run", inbound["id"].as_str().unwrap());
    client.post(&path, &json!({})).await.expect(422);
    client.post(&path, &json!({"to": "1001"})).await.expect(201);
    server.stop().await;
}
