//! Who may post a flow: the three fields of the body, or a Bearer header (contracts/flows.md "Auth").

use kernel::{Role, Scope};
use reqwest::Method;
use serde_json::{Value, json};

use super::d003::{body, codes, dev};
use crate::harness::server::{Server, Tenant};

const PATH: &str = "/api/v2/call/flow?dry_run=1";

fn flow() -> Value {
    json!([{"id": 1, "type": "call", "number": "1001"}])
}

fn with(tenant: &Tenant<'_>, changes: &[(&str, Value)]) -> Value {
    let mut body = body(tenant, &flow());
    for (name, value) in changes {
        if *value == json!("-") {
            body.as_object_mut().unwrap().shift_remove(*name);
        } else {
            body[*name] = value.clone();
        }
    }
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_of_being_wrong_is_the_same_401() {
    let server = Server::start().await;
    let dev = dev(&server).await;
    let other = server.org("other").await;
    let key = dev.app_key(&[]).await;
    let absent = json!("-");
    let mut answers = Vec::new();
    for changes in [
        vec![("auth_token", json!("pt_wrong"))],
        vec![("auth_token", json!(7))],
        vec![("auth_token", json!(null))],
        vec![("auth_token", absent.clone())],
        vec![("cloud_id", json!("other"))],
        vec![("cloud_id", json!(5))],
        vec![("cloud_id", absent.clone())],
        vec![("cloud_sid", json!("wrong"))],
        vec![("cloud_sid", json!(null))],
        vec![("auth_token", json!(other.token))],
        vec![("auth_token", json!(key))],
        vec![("cloud_id", absent.clone()), ("cloud_sid", absent.clone()), ("auth_token", absent.clone())],
    ] {
        let answer = server.client().post(PATH, &with(&dev, &changes)).await.expect(401);
        assert_eq!(
            (&answer["status"], codes(&answer["errors"])),
            (&json!("error"), vec!["unauthorized"]),
            "{changes:?}"
        );
        answers.push(answer.to_string().split("(request").next().unwrap().to_owned());
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    server.client().post(PATH, &with(&dev, &[("cloud_sid", absent)])).await.expect(200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bearer_header_will_do_and_must_agree_with_the_body() {
    let server = Server::start().await;
    let dev = dev(&server).await;
    let (flows, chat) = (dev.app_key(&[Scope::Flows]).await, dev.app_key(&[Scope::Chat]).await);
    let bare = json!({ "flow": flow() });
    dev.client().post(PATH, &bare).await.expect(200);
    server.client().bearing(&flows).post(PATH, &bare).await.expect(200);
    server.client().bearing(&flows).post(PATH, &json!({"cloud_id": "dev", "flow": flow()})).await.expect(200);
    server.client().bearing(&flows).post(PATH, &json!({"cloud_id": "other", "flow": flow()})).await.expect(401);
    let scope = server.client().bearing(&chat).post(PATH, &bare).await.expect(403);
    assert_eq!(codes(&scope["errors"]), ["forbidden"]);
    dev.client().post(PATH, &body(&dev, &flow())).await.expect(200);
    let two = server.client().bearing(&flows).post(PATH, &body(&dev, &flow())).await.expect(401);
    assert!(two.to_string().contains("send one of them"), "{two}");
    let token_scheme =
        server.client().request(Method::POST, PATH).header("authorization", format!("Token token=\"{flows}\""));
    server.client().send(token_scheme.json(&bare)).await.expect(200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_decide_who_runs_flows_and_hangs_up() {
    let server = Server::start().await;
    let dev = dev(&server).await;
    for (role, run, hang_up) in [
        (Role::Owner, 200, 404),
        (Role::Admin, 200, 404),
        (Role::Supervisor, 200, 404),
        (Role::Agent, 200, 403),
        (Role::Member, 403, 403),
        (Role::Auditor, 403, 403),
    ] {
        let token = dev.person(role).await;
        let said = with(&dev, &[("auth_token", json!(token))]);
        assert_eq!(server.client().post(PATH, &said).await.status, run, "{role:?}");
        assert_eq!(server.client().post("/api/v2/call/call_x/hangup", &said).await.status, hang_up, "{role:?}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_tokens_that_repeat_are_slowed_down_and_good_ones_are_not() {
    let server = Server::start().await;
    let dev = dev(&server).await;
    let wrong = with(&dev, &[("auth_token", json!("pt_guess"))]);
    let mut slowed = None;
    for attempt in 0..300 {
        let reply = server.client().post(PATH, &wrong).await;
        if reply.status == 429 {
            assert!(reply.headers.contains_key("retry-after"));
            assert_eq!(codes(&reply.json()["errors"]), ["rate_limited"]);
            slowed = Some(attempt);
            break;
        }
        assert_eq!(reply.status, 401);
    }
    assert!(slowed.is_some(), "300 wrong tokens went unpunished");
    server.client().post(PATH, &body(&dev, &flow())).await.expect(200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_places_one_call() {
    let server = Server::start().await;
    let dev = dev(&server).await;
    let post = |said: Value| {
        let request = server.client().request(Method::POST, "/api/v2/call/flow").header("idempotency-key", "k1");
        let client = server.client();
        async move { client.send(request.json(&said)).await }
    };
    let first = post(body(&dev, &flow())).await.expect(201);
    let again = post(body(&dev, &flow())).await.expect(201);
    assert_eq!(first, again);
    let other = post(body(&dev, &json!([{"id": 1, "type": "call", "number": "1002"}]))).await.expect(409);
    assert_eq!(codes(&other["errors"]), ["idempotency_mismatch"]);
    assert_eq!(dev.client().get("/v1/calls").await.expect(200)["calls"].as_array().unwrap().len(), 1);
    server.stop().await;
}
