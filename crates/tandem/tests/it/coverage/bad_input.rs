//! Bad input on every operation of openapi.json: never a 5xx, always an answer in the documented
//! shape, and the field is named where there is one.

use kernel::Scope;
use reqwest::header::{CONNECTION, CONTENT_TYPE};
use serde_json::{Value, json};

use super::operations::{ENDLESS, Operation, operations};
use crate::harness::client::{Client, Reply};
use crate::harness::server::{Plan, Server};

/// What may stand where an id belongs.
const IDS: [&str; 12] = [
    "0",
    "-1",
    "99999999999999999999999999",
    "%00",
    "%ff%fe",
    "%F0%9F%92%A5",
    "..%2F..%2Fetc%2Fpasswd",
    "'%20or%201=1--",
    "%7B%7Bid%7D%7D",
    "call_00000000000000000000000000",
    "NaN",
    "%0d%0aSet-Cookie:%20a=b",
];
/// What may stand in a query.
const QUERIES: [&str; 10] =
    ["", "-1", "0", "99999999999999999999", "1.5", "abc", "%00", "%ff", "%F0%9F%92%A5", "true&limit=2"];
/// A path that no server should read.
const LONG: usize = 4_000;
/// A refused body of this many bytes is still read to its end, so that the answer arrives.
const READ_ANYWAY: usize = 20 << 10;

/// Bodies that are wrong whatever the operation wants.
fn bodies() -> Vec<(&'static str, Vec<u8>)> {
    let deep = |open: &str, close: &str, depth| format!("{}{}", open.repeat(depth), close.repeat(depth)).into_bytes();
    vec![
        ("nothing", b"".to_vec()),
        ("no JSON", b"<xml/>".to_vec()),
        ("half of it", b"{\"url\": \"http://exam".to_vec()),
        ("null", b"null".to_vec()),
        ("a number", b"5".to_vec()),
        ("a text", b"\"text\"".to_vec()),
        ("a list", b"[]".to_vec()),
        ("deep lists", deep("[", "]", 50_000)),
        ("deep objects", deep("{\"a\":", "}", 20_000)),
        ("duplicate keys", br#"{"url":"http://a.example","url":"http://b.example","name":"a","name":"b","to":"a","to":"b"}"#.to_vec()),
        ("a NUL", br#"{"url":"http://a.example/\u0000","name":"a\u0000b","to":"person:\u0000","flow":[{"id":"\u0000","type":"hangup"}]}"#.to_vec()),
        ("half a surrogate", br#"{"url":"\ud800","name":"\ud800","to":"\ud800","flow":"\ud800"}"#.to_vec()),
        ("no UTF-8", b"{\"url\":\"\xff\xfe\",\"name\":\"\xc3\x28\"}".to_vec()),
        ("a number too large", br#"{"url":1e999,"name":123456789012345678901234567890,"to":-1}"#.to_vec()),
        ("four megabytes", [b"{\"name\":\"".to_vec(), vec![b'a'; 4 << 20], b"\"}".to_vec()].concat()),
    ]
}

/// Values of the wrong type, for any member.
fn values() -> Vec<Value> {
    vec![
        json!(-1),
        json!(1.5),
        json!(true),
        json!({"a": {"b": []}}),
        json!([[]]),
        json!("\u{7f}\u{1b}[31m"),
        json!("x".repeat(10_000)),
    ]
}

/// Asserts that an answer is good, or a clear refusal.
fn judge(operation: &Operation, what: &str, reply: &Reply) {
    let (name, status) = (&operation.name, reply.status);
    assert!(status < 500, "{name} with {what}: {status} {}", reply.text);
    if status < 400 || operation.name.contains("/healthz") {
        return;
    }
    let kind = reply.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if operation.template.starts_with("/api/") && operation.name.contains("/call/") {
        // The documented routes have the documented envelope.
        let body = reply.json();
        let code = body["errors"][0]["code"].as_str();
        assert!(body["status"] == "error" && code.is_some(), "{name} with {what}: {status} {}", reply.text);
    } else if operation.template.starts_with("/api/v2/") {
        let body = reply.json();
        let is_envelope = body["success"] == false && body["message"].is_string() && body["errors"].is_object();
        assert!(is_envelope && status != 422, "{name} with {what}: {status} {}", reply.text);
    } else {
        assert_eq!(kind, "application/problem+json", "{name} with {what}: {status} {}", reply.text);
        let body = reply.json();
        assert_eq!(body["status"], status, "{name} with {what}");
        let code = body["code"].as_str().unwrap_or_else(|| panic!("{name} with {what}: no code in {body}"));
        assert_eq!(body["type"], format!("/v1/errors/{code}"), "{name} with {what}");
    }
}

/// Whether a refusal names a member of the body.
fn names(reply: &Reply, member: &str) -> bool {
    let body = reply.json();
    let place = |error: &Value| error["pointer"].as_str().or(error["path"].as_str()).unwrap_or_default().to_owned();
    let pointer = format!("/{member}");
    body["errors"].as_array().is_some_and(|errors| errors.iter().any(|error| place(error).starts_with(&pointer)))
}

async fn send(client: &Client, operation: &Operation, path: &str, body: &[u8]) -> Reply {
    // What is left unread costs the connection: no other request may wait on it.
    let request = client.request(operation.method.clone(), path).header(CONNECTION, "close");
    let request = if operation.takes_body() {
        request.header(CONTENT_TYPE, "application/json").body(body.to_vec())
    } else {
        request
    };
    client.send(request).await
}

/// The same for a body that may be refused, or left alone, before it is read to its end: then there
/// may be no answer, but there is a server still.
async fn send_large(client: &Client, operation: &Operation, path: &str, body: &[u8]) -> Option<Reply> {
    if operation.members.is_some() && body.len() <= READ_ANYWAY {
        return Some(send(client, operation, path, body).await);
    }
    // A connection of its own: it may be cut.
    let request = client.request(operation.method.clone(), path).header(CONTENT_TYPE, "application/json");
    let sent = request.header(CONNECTION, "close").body(body.to_vec()).send().await;
    let status = sent.ok()?.status().as_u16();
    // Who takes no body leaves it unread.
    let taken = status < 400 && operation.members.is_some();
    assert!(status < 500 && !taken, "{} took {} bytes: {status}", operation.name, body.len());
    None
}

/// A server without limits on requests, and one organisation's client.
async fn scene() -> (Server, String) {
    let plan = Plan::new().with(|config| {
        config.limits.requests_per_minute_per_ip = 0;
        config.limits.requests_per_minute_per_token = 0;
    });
    let server = plan.start().await;
    let acme = server.org("acme").await;
    acme.app_key(&[Scope::Chat]).await;
    let token = acme.token;
    (server, token)
}

/// Every operation but those that answer without an end.
fn walked() -> Vec<Operation> {
    operations().into_iter().filter(|operation| !ENDLESS.contains(&operation.template.as_str())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_id_and_no_query_breaks_an_operation() {
    let (server, token) = scene().await;
    let client = server.client().bearing(&token);
    for operation in walked() {
        let long = "a".repeat(LONG);
        for id in IDS.into_iter().chain([long.as_str()]).filter(|_| operation.has_parameters()) {
            let reply = send(&client, &operation, &operation.path(id), b"{}").await;
            judge(&operation, id, &reply);
            let made = operation.method == reqwest::Method::PUT && reply.status == 200;
            // A label of document 002, which may be anything.
            let is_label = operation.template.contains("get_QR_Id");
            assert!(
                reply.status >= 400 || made || is_label,
                "{} found something under {id}: {}",
                operation.name,
                reply.text
            );
        }
        for name in &operation.query {
            for value in QUERIES {
                let path = format!("{}?{name}={value}", operation.path("1234"));
                judge(&operation, &path, &send(&client, &operation, &path, b"{}").await);
            }
        }
    }
    client.get("/healthz").await.expect(200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_body_breaks_an_operation_and_a_wrong_member_is_named() {
    let (server, token) = scene().await;
    let client = server.client().bearing(&token);
    for operation in walked().into_iter().filter(Operation::takes_body) {
        let path = operation.path("1234");
        for (what, body) in bodies() {
            let Some(reply) = send_large(&client, &operation, &path, &body).await else { continue };
            judge(&operation, what, &reply);
            let refuses = operation.members.is_some();
            assert!(!refuses || reply.status >= 400, "{} took {what}: {}", operation.name, reply.text);
        }
        let request = client
            .request(operation.method.clone(), &path)
            .header(CONTENT_TYPE, "text/plain")
            .header(CONNECTION, "close")
            .body("hello");
        judge(&operation, "text/plain", &client.send(request).await);
        for member in operation.members.iter().flatten() {
            for value in values() {
                let body = json!({ member.as_str(): value }).to_string();
                let reply = send(&client, &operation, &path, body.as_bytes()).await;
                let shown = body.chars().take(60).collect::<String>();
                judge(&operation, &shown, &reply);
                // Where a member is missing too, that may be all that is said; credentials are never discussed.
                let said = reply.status != 422
                    || names(&reply, member)
                    || !reply.json()["errors"].as_array().unwrap().is_empty();
                assert!(said, "{} with {shown} names nothing: {}", operation.name, reply.text);
            }
        }
    }
    let flows = client.get("/v1/flows").await.expect(200);
    assert_eq!(flows["flows"], json!([]), "nothing half-written stays");
    server.stop().await;
}
