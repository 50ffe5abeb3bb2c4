//! T5: whatever a user may name as a URL (http step, play, publish, webhook), the server connects to
//! no address inside unless the operator's egress list opens it.

use std::net::SocketAddr;
use std::time::Duration;

use axum::http::header::LOCATION;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::harness::client::Client;
use crate::harness::crowd::{Act, Crowd};
use crate::harness::house::of;
use crate::harness::server::{Names, Plan, Server, Tenant};
use crate::harness::stub::Stub;

/// 127.0.0.1 and the metadata service of clouds, as an attacker writes them.
const LITERALS: [&str; 12] = [
    "127.0.0.1",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "127.1",
    "0",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "169.254.169.254",
    "[fe80::1]",
    "10.0.0.1",
];
/// Other ways to a port inside, or out of HTTP.
const FORMS: [&str; 4] =
    ["ftp://example.org/", "file:///etc/passwd", "http://user@example.org/", "gopher://example.org/"];

const PHONE: &str = "+442071838103";

/// An organisation with a trunk whose phones answer.
async fn acme<'a>(server: &'a Server, crowd: &Crowd) -> Tenant<'a> {
    crowd.meet(server.sip());
    let acme = server.org("acme").await;
    acme.trunk("crowd", &[&crowd.address.to_string()], &["+442071838000"]).await;
    acme
}

async fn crowd() -> Crowd {
    Crowd::start(|_| vec![Act::Ring, Act::Answer]).await
}

/// A body with the URL at each place where a flow may name one.
fn bodies(url: &str) -> [Value; 3] {
    let call = json!({"id": 1, "type": "call", "number": PHONE, "next_step": 2});
    [
        json!({"flow": [call, {"id": 2, "type": "http", "url": url, "timeout": 3, "flow": {"fail": 3, "success": 4}},
            {"id": 3, "type": "set", "vars": {"was": "refused"}}, {"id": 4, "type": "hangup"}]}),
        json!({"flow": [call, {"id": 2, "type": "play", "url": url, "flow": {"fail": 3}, "next_step": 4},
            {"id": 3, "type": "set", "vars": {"was": "refused"}}, {"id": 4, "type": "hangup"}]}),
        json!({"flow": [call, {"id": 2, "type": "hangup"}], "publish": {"url": url}}),
    ]
}

/// Runs a flow to its end and gives its events.
async fn run(client: &Client, body: &Value) -> Vec<Value> {
    let answer = client.post("/api/v2/call/flow", body).await.expect(201);
    let path = format!("/v1/calls/{}/events?limit=500", answer["call_id"].as_str().unwrap());
    let over = |page: &Value| page["events"].to_string().contains("call.completed");
    client.until(&path, "call.completed", over).await["events"].as_array().unwrap().clone()
}

/// The edge that the step with the URL took.
fn outcome(events: &[Value]) -> &Value {
    let ended = events.iter().find(|event| {
        event["step"]["id"] == "2" && matches!(event["type"].as_str(), Some("step.completed" | "step.failed"))
    });
    &ended.unwrap_or_else(|| panic!("{events:#?}"))["data"]["next"]
}

#[tokio::test(flavor = "multi_thread")]
async fn t5_addresses_inside_are_refused_where_they_are_written() {
    let server = Server::start().await;
    let crowd = crowd().await;
    let client = acme(&server, &crowd).await.client();
    let literals = LITERALS.map(|host| format!("http://{host}/"));
    for url in literals.iter().map(String::as_str).chain(FORMS) {
        for body in bodies(url) {
            let error = client.post("/api/v2/call/flow", &body).await.expect(422)["errors"][0].clone();
            assert!(matches!(error["code"].as_str(), Some("url_blocked" | "invalid_url")), "{url}: {error}");
            assert!(error["path"].as_str().unwrap().ends_with("/url"), "{url}: {error}");
        }
        let problem = client.post("/v1/webhooks", &json!({ "url": url })).await.expect(422);
        assert_eq!(problem["errors"][0]["pointer"], "/url", "{url}: {problem}");
    }
    assert_eq!(crowd.rung(PHONE), 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t5_a_name_that_leads_inside_is_refused_when_it_is_asked_for() {
    let trap = Stub::start().await;
    let port = trap.address.port();
    // `localhost` by the resolver of the system.
    let server = Server::start().await;
    let crowd = crowd().await;
    let client = acme(&server, &crowd).await.client();
    let url = format!("http://localhost:{port}/");
    let [http, play, publish] = bodies(&url);
    for body in [&http, &play] {
        assert_eq!(outcome(&run(&client, body).await), "3", "{body}");
    }
    run(&client, &publish).await;
    server.stop().await;

    // Names of a table: one address inside among public ones is enough.
    let names = Names::default()
        .with("inside.example.org", &[&["127.0.0.1"]])
        .with("mixed.example.org", &[&["93.184.216.34", "127.0.0.1"]])
        .with("mapped.example.org", &[&["::ffff:127.0.0.1"]])
        .with("nat64.example.org", &[&["64:ff9b::7f00:1"]]);
    let server = Plan::new().knowing(&names).start().await;
    let client = acme(&server, &crowd).await.client();
    let hook = json!({"url": format!("http://inside.example.org:{port}/"), "events": ["call.completed"]});
    let hook = client.post("/v1/webhooks", &hook).await.expect(201);
    for name in ["inside.example.org", "mixed.example.org", "mapped.example.org", "nat64.example.org"] {
        let [http, play, publish] = bodies(&format!("http://{name}:{port}/"));
        for body in [&http, &play] {
            assert_eq!(outcome(&run(&client, body).await), "3", "{body}");
        }
        run(&client, &publish).await;
        assert!(names.asked(name) >= 3, "{name} was asked for {} times", names.asked(name));
    }
    let path = format!("/v1/webhooks/{}/deliveries", hook["id"].as_str().unwrap());
    let tried = |list: &Value| list["deliveries"][0]["attempts"][0].is_object();
    let list = client.until(&path, "an attempt", tried).await;
    let attempt = list["deliveries"][0]["attempts"][0].to_string();
    assert!(attempt.contains("not a public address"), "{attempt}");
    assert!(trap.asked().is_empty(), "the address inside was asked: {:?}", trap.asked());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t5_a_redirect_leads_nowhere_inside() {
    let (open, trap) = (Stub::start().await, Stub::start().await);
    for (path, location) in
        [("/metadata", "http://169.254.169.254/latest/meta-data/".to_owned()), ("/trap", trap.url("/"))]
    {
        open.serve_with(path, 302, &[(LOCATION, location)]);
    }
    let server = Plan::new().reaching(open.address).start().await;
    let crowd = crowd().await;
    let client = acme(&server, &crowd).await.client();
    for path in ["/metadata", "/trap"] {
        let [http, play, publish] = bodies(&open.url(path));
        for body in [&http, &play] {
            assert_eq!(outcome(&run(&client, body).await), "3", "{body}");
        }
        run(&client, &publish).await;
        open.request(path).await;
    }
    assert!(trap.asked().is_empty(), "a redirect was followed inside: {:?}", trap.asked());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t5_a_name_that_changes_between_check_and_connect_gains_nothing() {
    // Both listen on one port: the operator opened 127.0.0.2, and only that.
    let open = Stub::at("127.0.0.2:0".parse().unwrap()).await;
    let port = open.address.port();
    let trap = Stub::at(SocketAddr::from(([127, 0, 0, 1], port))).await;
    let names = Names::default().with("moves.example.org", &[&["127.0.0.2"], &["127.0.0.1"]]);
    let server = Plan::new().reaching(open.address).knowing(&names).start().await;
    let crowd = crowd().await;
    let client = acme(&server, &crowd).await.client();
    let [http, ..] = bodies(&format!("http://moves.example.org:{port}/"));
    assert_eq!(outcome(&run(&client, &http).await), "4", "the checked address answers");
    assert_eq!((names.asked("moves.example.org"), open.asked().len()), (1, 1), "one look-up, one request");
    // Now the name leads to the trap: what was good before is judged anew.
    assert_eq!(outcome(&run(&client, &http).await), "3");
    assert!(trap.asked().is_empty() && open.asked().len() == 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t5_the_operators_list_opens_what_it_names() {
    let open = Stub::start().await;
    let names = Names::default().with("crm.internal", &[&["127.0.0.1"]]);
    let entry = format!("crm.internal:{}", open.address.port());
    let server = Plan::new().with(|config| config.egress.allow.push(entry)).knowing(&names).start().await;
    let crowd = crowd().await;
    let client = acme(&server, &crowd).await.client();
    let url = format!("http://crm.internal:{}/", open.address.port());
    let [http, _, publish] = bodies(&url);
    let events = run(&client, &http).await;
    assert_eq!(outcome(&events), "4");
    assert_eq!(of(&events, "http.completed")[0]["data"]["status"], 200);
    run(&client, &publish).await;
    open.event("call.completed").await;
    // The entry is the name's: the address itself stays closed, and so does another port.
    let direct = bodies(&open.url("/"))[0].clone();
    assert_eq!(client.post("/api/v2/call/flow", &direct).await.expect(422)["errors"][0]["code"], "url_blocked");
    let other = Stub::start().await;
    let [elsewhere, ..] = bodies(&format!("http://crm.internal:{}/", other.address.port()));
    assert_eq!(outcome(&run(&client, &elsewhere).await), "3");
    sleep(Duration::from_millis(50)).await;
    assert!(other.asked().is_empty());
    server.stop().await;
}
