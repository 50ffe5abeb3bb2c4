//! Every operation of openapi.json: without a good credential it is 401, with another
//! organisation's it finds nothing. An operation that is public says so, here and there.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::client::Client;
use crate::harness::server::Server;

/// What anybody may ask.
const PUBLIC: &[&str] = &["GET /healthz", "GET /readyz", "GET /metrics", "GET /v1/errors/{code}"];

/// An operation of the document with values in its path.
struct Operation {
    name: String,
    method: Method,
    path: String,
    has_parameters: bool,
    is_public: bool,
}

fn operations() -> Vec<Operation> {
    let document = serde_json::to_value(tandem::openapi::document()).unwrap();
    let mut found = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let filled: Vec<&str> =
                path.split('/').map(|part| if part.starts_with('{') { "1234" } else { part }).collect();
            found.push(Operation {
                name: format!("{method} {path}"),
                is_public: operation["security"] == json!([{}]),
                has_parameters: path.contains('{'),
                path: filled.join("/"),
                method,
            });
        }
    }
    found
}

async fn status(client: &Client, operation: &Operation) -> u16 {
    let mut request = client.request(operation.method.clone(), &operation.path);
    if operation.method != Method::GET && operation.method != Method::DELETE {
        request = request.json(&Value::Object(serde_json::Map::new()));
    }
    client.send(request).await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_public_is_listed_here_and_marked_in_the_document() {
    let marked: Vec<String> =
        operations().into_iter().filter(|operation| operation.is_public).map(|operation| operation.name).collect();
    let mut listed = PUBLIC.to_vec();
    listed.sort_unstable();
    let mut marked: Vec<&str> = marked.iter().map(String::as_str).collect();
    marked.sort_unstable();
    assert_eq!(marked, listed);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_other_operation_is_401_without_a_good_credential() {
    let server = Server::start().await;
    for operation in operations().iter().filter(|operation| !operation.is_public) {
        assert_eq!(status(&server.client(), operation).await, 401, "{} without a credential", operation.name);
    }
    let wrong = server.client().bearing("pt_wrong");
    for operation in operations().iter().filter(|operation| !operation.is_public) {
        let status = status(&wrong, operation).await;
        assert!(matches!(status, 401 | 429), "{} with a wrong credential: {status}", operation.name);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_another_organisation_is_found() {
    let server = Server::start().await;
    let other = server.org("other").await;
    let client = other.client();
    for operation in operations().iter().filter(|operation| !operation.is_public && operation.has_parameters) {
        let status = status(&client, operation).await;
        assert!(matches!(status, 400 | 401 | 403 | 404 | 415 | 422), "{}: {status}", operation.name);
    }
    server.stop().await;
}
