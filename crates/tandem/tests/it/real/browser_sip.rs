//! Published phones in a browser by SIP over WebSocket: JsSIP and SIP.js, unchanged.

use serde_json::json;

use crate::harness::browser::Browser;
use crate::harness::phone::Account;
use crate::harness::server::Server;

/// The task of a script that is a phone of this account.
fn task(server: &Server, account: &Account) -> serde_json::Value {
    json!({
        "url": format!("http://{}", server.app.http()),
        "user": account.user,
        "password": account.password,
        "domain": account.domain,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn jssip_registers() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let mut phone = Browser::start("jssip", &task(&server, &acme.phone("1001").await));
    phone.expect("the registration", |event| event["event"] == "registered").await;
    phone.expect_no_complaints(&[]);
    phone.finish().await;
    server.stop().await;
}
