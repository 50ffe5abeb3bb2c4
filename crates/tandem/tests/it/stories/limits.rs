//! Limits as a client meets them: 429 with Retry-After in the shape of the route, per address behind
//! a trusted proxy, per credential, per organisation.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::harness::client::Reply;
use crate::harness::crowd::{Act, Crowd};
use crate::harness::server::Plan;

/// A whole body has 20 s.
const GIVEN_UP: Duration = Duration::from_secs(60);
/// The pace of a client that sends a byte now and then, to keep its place.
const BETWEEN_BYTES: Duration = Duration::from_millis(500);

/// Asserts that a limit was hit and says when to come back.
fn assert_limited(reply: &Reply) {
    assert_eq!(reply.status, 429, "{}", reply.text);
    let wait: u64 = reply.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait} s");
}

fn flow() -> Value {
    json!({"flow": [{"id": 1, "type": "call", "number": "+442071838103"}]})
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_behind_a_trusted_proxy_has_its_own_allowance() {
    let plan = Plan::new().with(|config| {
        config.limits.requests_per_minute_per_ip = 5;
        config.trusted_proxy = vec!["127.0.0.0/8".parse().unwrap()];
    });
    let server = plan.start().await;
    let client = server.client();
    let from = async |address: &str| {
        let request = client.request(Method::GET, "/v1/errors/not_found").header("x-forwarded-for", address);
        client.send(request).await
    };
    for _ in 0..5 {
        from("198.51.100.1").await;
    }
    let limited = from("198.51.100.1").await;
    assert_limited(&limited);
    assert_eq!(limited.headers["content-type"], "application/problem+json");
    assert_eq!(limited.json()["code"], "rate_limited");
    assert_eq!(from("198.51.100.2").await.status, 200, "another address is not held up");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_only_claimed_does_not_count() {
    let server = Plan::new().with(|config| config.limits.requests_per_minute_per_ip = 5).start().await;
    let client = server.client();
    let mut last = 0;
    for number in 0..6 {
        let request = client.request(Method::GET, "/v1/errors/not_found");
        last = client.send(request.header("x-forwarded-for", format!("198.51.100.{number}"))).await.status;
    }
    assert_eq!(last, 429, "who is no trusted proxy may say what it likes");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_has_its_own_allowance() {
    let server = Plan::new().with(|config| config.limits.requests_per_minute_per_token = 5).start().await;
    let (mine, other) = (server.org("mine").await, server.org("other").await);
    let client = mine.client();
    for _ in 0..5 {
        client.get("/v1/calls").await.expect(200);
    }
    assert_limited(&client.get("/v1/calls").await);
    other.client().get("/v1/calls").await.expect(200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_are_slowed_down_and_good_ones_are_not_locked_out_for_ever() {
    let server = Plan::new().start().await;
    let wrong = server.client().bearing("pt_wrong");
    let mut statuses = Vec::new();
    for _ in 0..300 {
        statuses.push(wrong.get("/v1/calls").await.status);
        if statuses.last() == Some(&429) {
            break;
        }
    }
    assert_eq!(statuses.pop(), Some(429), "within a few hundred");
    assert!(statuses.iter().all(|status| *status == 401));
    assert_limited(&wrong.get("/v1/calls").await);
    let body = json!({"cloud_id": "dev", "auth_token": "pt_wrong", "flow": []});
    let documented = server.client().post("/api/v2/call/flow", &body).await;
    assert_limited(&documented);
    assert_eq!(documented.json()["status"], "error", "in the envelope of the documented routes");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organisation_has_so_many_calls_a_second_and_at_once() {
    let crowd = Crowd::start(|_| vec![Act::Ring]).await;
    for at_once in [true, false] {
        let plan = Plan::new().with(|config| {
            config.limits.concurrent_calls = if at_once { 2 } else { 0 };
            config.limits.calls_per_second = if at_once { 0 } else { 2 };
        });
        let server = plan.start().await;
        crowd.meet(server.sip());
        let (mine, other) = (server.org("mine").await, server.org("other").await);
        for tenant in [&mine, &other] {
            tenant.trunk("crowd", &[&crowd.address.to_string()], &["+442071838000"]).await;
        }
        let client = mine.client();
        let mut calls = Vec::new();
        let limited = loop {
            let reply = client.post("/api/v2/call/flow", &flow()).await;
            match reply.status {
                201 if calls.len() < 50 => calls.push(reply.json()["call_id"].as_str().unwrap().to_owned()),
                _ => break reply,
            }
        };
        assert_limited(&limited);
        assert_eq!((&limited.json()["status"], calls.len() >= 2), (&json!("error"), true));
        other.client().post("/api/v2/call/flow", &flow()).await.expect(201);
        if at_once {
            assert_eq!(calls.len(), 2);
            // When a call is over, its place is free.
            client.post(&format!("/api/v2/call/{}/hangup", calls[0]), &json!({})).await.expect(200);
            let over = |call: &Value| call["state"] == "completed";
            client.until(&format!("/v1/calls/{}", calls[0]), "its end", over).await;
            client.post("/api/v2/call/flow", &flow()).await.expect(201);
        }
        server.stop().await;
    }
}

/// Sends a request whose body never ends, and gives what is answered meanwhile.
async fn dribble(server: SocketAddr, head: &str) -> String {
    let (mut answers, mut body) = TcpStream::connect(server).await.unwrap().into_split();
    body.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let dribble = async {
        // Until nobody takes any more.
        while body.write_all(b" ").await.is_ok() {
            sleep(BETWEEN_BYTES).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        read = timeout(GIVEN_UP, answers.read_to_end(&mut answer)) => assert!(read.is_ok(), "the server waits: {head}"),
        () = dribble => {}
    }
    String::from_utf8(answer).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_dribbles_its_body_is_given_up() {
    let server = Plan::new().start().await;
    let token = server.org("acme").await.token;
    // The first body is read by the layer of Idempotency-Key, the others by their routes.
    let heads = [("/v1/webhooks", "Idempotency-Key: once\r\n"), ("/v1/webhooks", ""), ("/api/v2/call/flow", "")].map(
        |(path, header)| {
            format!(
                "POST {path} HTTP/1.1\r\nHost: tandem\r\nAuthorization: Bearer {token}\r\n{header}\
                 Content-Type: application/json\r\nContent-Length: 200000\r\nConnection: close\r\n\r\n{{"
            )
        },
    );
    for answer in join_all(heads.iter().map(|head| dribble(server.app.http(), head))).await {
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(answer.contains("the body did not end within"), "{answer}");
    }
    server.stop().await;
}
