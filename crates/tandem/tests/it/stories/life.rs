//! A server's life: it becomes healthy, tells its certificates by SIGHUP, and ends in order.

use std::time::Duration;

use crate::harness::process::Tandem;
use crate::harness::server::{Plan, Server};

#[tokio::test(flavor = "multi_thread")]
async fn it_is_healthy_and_says_so_where_operators_ask() {
    let server = Server::start().await;
    let client = server.client();
    assert_eq!(client.get("/healthz").await.expect(200)["status"], "ok");
    assert_eq!(client.get("/readyz").await.expect(200)["status"], "ok");
    let metrics = client.get("/metrics").await;
    assert!(metrics.status == 200 && metrics.text.contains("http_requests_total"), "{}", metrics.text);
    let page = client.get("/docs/").await;
    assert!(page.status == 200 && page.text.contains("swagger"), "{}", page.text);
    assert!(!page.text.contains("https://"), "the page loads something from another site");
    let document = client.get("/openapi.json").await.expect(200);
    assert!(document["paths"]["/v1/webhooks"].is_object());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_is_explained_at_the_address_it_names() {
    let server = Server::start().await;
    let client = server.client();
    let problem = client.get("/v1/webhooks").await;
    assert_eq!(problem.headers["content-type"], "application/problem+json");
    let problem = problem.expect(401);
    let page = client.get(problem["type"].as_str().unwrap()).await;
    assert!(page.status == 200 && page.text.contains("unauthorized"), "{}", page.text);
    assert_eq!(client.get("/v1/errors/no_such_code").await.expect(404)["code"], "not_found");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn https_answers_with_the_certificate_and_knows_that_it_is_https() {
    let server = Plan::new().with_tls().await.start().await;
    let https = server.app.https().unwrap();
    let client = reqwest::Client::builder().no_proxy().danger_accept_invalid_certs(true).build().unwrap();
    let answer = client.get(format!("https://{https}/healthz")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(!server.app.voice.local_tls().is_empty(), "SIP listens by TLS too");
    server.app.reload_certificates().await;
    let answer = client.get(format!("https://{https}/readyz")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_within_ten_seconds_of_sigterm_and_starts_again() {
    let folder = tempfile::tempdir().unwrap();
    let tandem = Tandem::on(&folder.path().join("data"));
    for _ in 0..2 {
        let mut running = tandem.start("serve", &[]).await;
        // A client that holds its connection open does not hold the server.
        let _idle = tokio::net::TcpStream::connect(running.http).await.unwrap();
        running.client().get("/healthz").await.expect(200);
        running.signal("TERM").await;
        let status = running.ended(Duration::from_secs(10)).await;
        assert!(status.success(), "{status:?}: {}", running.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_the_http_port_is_answered_or_closed_and_harms_nobody() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let server = Server::start().await;
    for garbage in
        [&b"\x16\x03\x01\x02\x00\x01\x00"[..], b"GET / HTTP/9.9\r\n\r\n", b"\0\0\0\0\r\n\r\n", &[b'A'; 100_000]]
    {
        let mut stream = tokio::net::TcpStream::connect(server.app.http()).await.unwrap();
        // The server may close while it is still being written to.
        let _cut = stream.write_all(garbage).await;
        let _cut = stream.shutdown().await;
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(12), stream.read_to_end(&mut answer)).await;
        assert!(read.is_ok(), "a connection with garbage stays open");
    }
    server.client().get("/healthz").await.expect(200);
    server.stop().await;
}
