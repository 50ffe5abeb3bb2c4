//! Calls to a number of meetings: who knows a PIN is let in, who guesses is not, who comes at the wrong time hears so.

use std::time::Duration;

use kernel::app::NewApp;
use kernel::args;
use serde_json::{Value, json};
use tandem::meetings::model::Meeting;

use crate::harness::client::Client;
use crate::harness::crowd::{Act, Crowd, Took};
use crate::harness::order::{CALLER, RECEIVER, START_MS, order};
use crate::harness::server::{Plan, Server, Tenant};

/// The number that leads to meetings.
const DOOR: &str = "+442071838750";
/// A line that is neither party's.
const FOREIGN: &str = "+447700900123";
const SOON: Duration = Duration::from_secs(30);
const MINUTE_MS: i64 = 60_000;

async fn scene() -> (Server, Crowd) {
    let crowd = Crowd::start(|_| vec![Act::Ring, Act::Answer, Act::Speak, Act::wait(600_000)]).await;
    let server = Plan::new().at(START_MS - 30 * MINUTE_MS).start().await;
    crowd.meet(server.sip());
    (server, crowd)
}

async fn tenant<'s>(server: &'s Server, crowd: &Crowd) -> Tenant<'s> {
    let acme = server.org("acme").await;
    acme.trunk("crowd", &[&crowd.address.to_string()], &["+442071838000"]).await;
    acme.number(DOOR, "meetings").await;
    // The clock stands: nothing else makes the directory look, and SIP learn whom it has to expect.
    server.app.calls.directory().resolve(&acme.org.id, DOOR).await.unwrap();
    acme
}

async fn meeting(acme: &Tenant<'_>, server: &Server, settings: &[(&str, &str)]) -> (Client, Meeting) {
    let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let new = NewApp { name: "shop".to_owned(), scopes: Vec::new(), settings };
    let (app, key) = server.app.kernel.create_app(&acme.org.id, new).await.unwrap();
    let ordered = server.app.meetings.schedule(&acme.org.id, &app.id, order("551", ["1222", "56712"])).await.unwrap();
    (server.client().bearing(key.expose()), ordered.meeting)
}

/// Somebody who enters these keys once the call stands, and stays.
fn keys(keys: &str) -> Vec<Act> {
    let pressed = keys.chars().flat_map(|key| [Act::Key(key), Act::wait(30)]);
    [Act::Established, Act::Speak, Act::wait(200)].into_iter().chain(pressed).chain([Act::wait(600_000)]).collect()
}

async fn kinds(client: &Client, id: i64) -> Vec<String> {
    let page = client.get("/v1/events?limit=500").await.expect(200);
    let own = page["events"].as_array().unwrap().iter().filter(|event| event["key"].as_str() == Some(&id.to_string()));
    own.map(|event| event["type"].as_str().unwrap().replace("meeting.", "")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_pin_makes_a_foreign_line_its_party_and_the_other_is_rung() {
    let (server, crowd) = scene().await;
    let acme = tenant(&server, &crowd).await;
    let (client, meeting) = meeting(&acme, &server, &[]).await;
    server.clock().set(START_MS);
    client.until(&format!("/v1/meetings/{}", meeting.id), "open", |meeting| meeting["state"] == "open").await;
    assert_eq!((meeting.pins.receiver.len(), meeting.pins.caller == meeting.pins.receiver), (8, false));
    crowd.dial(FOREIGN, DOOR, keys(&meeting.pins.receiver));
    client.until(&format!("/v1/meetings/{}", meeting.id), "live", |meeting| meeting["state"] == "live").await;
    assert_eq!((crowd.rung(CALLER), crowd.rung(RECEIVER)), (1, 0), "the other one is rung");
    let told = client.get("/v1/events?limit=500").await.text;
    for number in [CALLER, RECEIVER, FOREIGN] {
        assert!(!told.contains(number.trim_start_matches('+')), "{number} stands in {told}");
    }
    assert!(!told.contains(&meeting.pins.receiver), "a PIN is a secret");
    client.post(&format!("/v1/meetings/{}/finish", meeting.id), &json!({})).await.expect(200);
    crowd.quiet(SOON).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_nine_wrong_pins_a_line_is_refused_with_the_right_one_too() {
    let (server, crowd) = scene().await;
    let acme = tenant(&server, &crowd).await;
    let (client, meeting) = meeting(&acme, &server, &[]).await;
    server.clock().set(START_MS);
    let path = format!("/v1/meetings/{}", meeting.id);
    client.until(&path, "open", |meeting| meeting["state"] == "open").await;
    let right = meeting.pins.caller.as_str();
    let wrong: String = right.chars().map(|digit| if digit == '9' { '0' } else { '9' }).collect();
    assert!(wrong != meeting.pins.receiver);
    for calls in 1..=3 {
        crowd.dial(FOREIGN, DOOR, keys(&wrong.repeat(3)));
        crowd.until("three tries are all", SOON, |crowd| crowd.took(Took::EndedByServer) == calls).await;
    }
    crowd.dial(FOREIGN, DOOR, keys(right));
    crowd.until("it is refused", SOON, |crowd| crowd.took(Took::EndedByServer) == 4).await;
    assert_eq!(client.get(&path).await.expect(200)["state"], "open");
    assert_eq!(crowd.rung(RECEIVER), 0);
    // Another line is not refused for it, nor is this one ten minutes later.
    server.clock().advance(2 * MINUTE_MS);
    crowd.dial("+447700900124", DOOR, keys(right));
    client.until(&path, "live", |meeting| meeting["state"] == "live").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_calls_at_the_wrong_time_hears_so_and_the_application_is_told() {
    let (server, crowd) = scene().await;
    let acme = tenant(&server, &crowd).await;
    let (client, meeting) = meeting(&acme, &server, &[]).await;
    crowd.dial(FOREIGN, DOOR, keys(&meeting.pins.caller));
    crowd.until("it is over", SOON, |crowd| crowd.took(Took::EndedByServer) == 1).await;
    assert_eq!(crowd.took(Took::Answered), 1);
    assert_eq!(kinds(&client, meeting.id).await, ["scheduled", "out_of_session"]);
    let page = client.get("/v1/events?limit=500").await.expect(200);
    let told = |event: &&Value| event["type"] == "meeting.out_of_session";
    let event = page["events"].as_array().unwrap().iter().find(told).unwrap().clone();
    assert_eq!((&event["data"]["by"], &event["data"]["reason"]), (&json!("caller"), &json!("meeting_not_open")));
    assert_eq!(crowd.rung(CALLER) + crowd.rung(RECEIVER), 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_s_pin_is_good_once_the_meeting_is_over() {
    let (server, crowd) = scene().await;
    let acme = tenant(&server, &crowd).await;
    let (client, meeting) = meeting(&acme, &server, &[]).await;
    client.post(&format!("/v1/meetings/{}/cancel", meeting.id), &json!({})).await.expect(200);
    crowd.dial(FOREIGN, DOOR, keys(&meeting.pins.caller.repeat(3)));
    crowd.until("it is over", SOON, |crowd| crowd.took(Took::EndedByServer) == 1).await;
    assert_eq!((crowd.took(Took::Answered), crowd.rung(CALLER) + crowd.rung(RECEIVER)), (1, 0));
    assert_eq!(kinds(&client, meeting.id).await, ["scheduled", "cancelled", "ended"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_party_s_own_line_needs_no_pin_and_hears_when_it_is_over() {
    let (server, crowd) = scene().await;
    let acme = tenant(&server, &crowd).await;
    let (client, meeting) = meeting(&acme, &server, &[("number_pool", DOOR)]).await;
    assert_eq!((meeting.dial_in.as_deref(), meeting.call_back), (Some(DOOR), true));
    let path = format!("/v1/meetings/{}", meeting.id);
    server.clock().set(START_MS);
    client.until(&path, "open", |meeting| meeting["state"] == "open").await;
    crowd.dial(RECEIVER, DOOR, keys(""));
    client.until(&path, "live", |meeting| meeting["state"] == "live").await;
    assert_eq!((crowd.rung(CALLER), crowd.rung(RECEIVER)), (1, 0));
    client.post(&format!("{path}/finish"), &json!({})).await.expect(200);
    crowd.quiet(SOON).await;
    let before = crowd.took(Took::EndedByServer);
    crowd.dial(CALLER, DOOR, keys(""));
    crowd.until("it hears that it is over", SOON, |crowd| crowd.took(Took::EndedByServer) == before + 1).await;
    let told = kinds(&client, meeting.id).await;
    assert_eq!(told, ["scheduled", "opened", "connecting", "live", "ended", "out_of_session"]);
    assert_eq!(crowd.rung(CALLER), 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_replaced_comes_in_no_more_and_the_other_still_does() {
    let (server, crowd) = scene().await;
    let acme = tenant(&server, &crowd).await;
    let (client, meeting) = meeting(&acme, &server, &[]).await;
    let path = format!("/v1/meetings/{}", meeting.id);
    let other = json!({"uid": "777", "number": CALLER, "call_type": "Phone"});
    let changed = client.patch(&path, &json!({"caller": other})).await.expect(200);
    assert_eq!(changed["caller"]["uid"], "777");
    assert_eq!(changed["receiver_pin"], json!(meeting.pins.receiver));
    let anew = changed["pin"].as_str().unwrap().to_owned();
    assert_eq!((anew.len(), anew == meeting.pins.caller), (8, false));
    server.clock().set(START_MS);
    client.until(&path, "open", |meeting| meeting["state"] == "open").await;
    // The PIN of who is gone is nobody's: the next one that is tried counts.
    crowd.dial(FOREIGN, DOOR, keys(&format!("{}{}", meeting.pins.caller, meeting.pins.receiver)));
    client.until(&path, "live", |meeting| meeting["state"] == "live").await;
    assert_eq!((crowd.rung(CALLER), crowd.rung(RECEIVER)), (1, 0), "the receiver came in");
    // The new one is known: the meeting has a call already, and nothing else is asked for.
    crowd.dial("+447700900124", DOOR, keys(&anew));
    crowd.until("it hears so", SOON, |crowd| crowd.took(Took::EndedByServer) == 1).await;
    assert_eq!(client.get(&path).await.expect(200)["attempts"], 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_is_a_party_s_only_if_its_meeting_says_so_too() {
    let (server, crowd) = scene().await;
    let acme = tenant(&server, &crowd).await;
    let (client, meeting) = meeting(&acme, &server, &[]).await;
    server.clock().set(START_MS);
    let path = format!("/v1/meetings/{}", meeting.id);
    client.until(&path, "open", |meeting| meeting["state"] == "open").await;
    // A row that an older version, or a mistake, left.
    let left = "insert into pair_number (org, pair, number, cli, side, until_at) values ($1, $2, $3, $4, 'first', $5)";
    let row = args![&acme.org.id, format!("meeting/{}", meeting.id), DOOR, FOREIGN, START_MS + 60 * MINUTE_MS];
    server.app.kernel.db.run(left, row).await.unwrap();
    crowd.dial(FOREIGN, DOOR, keys(&"0".repeat(24)));
    crowd.until("it is asked for a PIN", SOON, |crowd| crowd.took(Took::EndedByServer) == 1).await;
    assert_eq!(crowd.rung(CALLER) + crowd.rung(RECEIVER), 0);
    assert_eq!(client.get(&path).await.expect(200)["attempts"], 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_two_meetings_that_are_over_is_known_by_its_number() {
    let (server, crowd) = scene().await;
    let acme = tenant(&server, &crowd).await;
    let other = "+442071838751";
    acme.number(other, "meetings").await;
    let pool = format!("{DOOR},{other}");
    let (client, earlier) = meeting(&acme, &server, &[("number_pool", &pool)]).await;
    let later = order("552", ["1222", "56712"]);
    let later = server.app.meetings.schedule(&acme.org.id, &earlier.app, later).await.unwrap().meeting;
    assert_eq!((earlier.dial_in.as_deref(), later.dial_in.as_deref()), (Some(DOOR), Some(other)));
    for id in [earlier.id, later.id] {
        client.post(&format!("/v1/meetings/{id}/cancel"), &json!({})).await.expect(200);
        server.clock().advance(1_000);
    }
    crowd.dial(CALLER, DOOR, keys(""));
    crowd.until("it hears that it is over", SOON, |crowd| crowd.took(Took::EndedByServer) == 1).await;
    assert_eq!(kinds(&client, earlier.id).await.last().unwrap(), "out_of_session");
    assert_eq!(kinds(&client, later.id).await.last().unwrap(), "ended");
    server.stop().await;
}
