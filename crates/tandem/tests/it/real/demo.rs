//! A newcomer's first minutes: `tandem demo`, a softphone, the printed curl line.

use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::process::Command;

use crate::harness::baresip::Baresip;
use crate::harness::customer::Customer;
use crate::harness::ear::pulses_file;
use crate::harness::phone::Account;
use crate::harness::process::Tandem;
use crate::harness::visitor::Visitor;

/// The word after `label` on the line that mentions it for `user`.
fn password_of(tour: &str, user: &str) -> String {
    let line = tour
        .lines()
        .find(|line| line.contains(&format!("user {user} ")))
        .unwrap_or_else(|| panic!("no {user} in {tour}"));
    line.split_whitespace().last().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_printed_curl_line_rings_the_printed_phone_and_leads_through_the_flow() {
    let folder = tempfile::tempdir().unwrap();
    let tandem = Tandem::on(&folder.path().join("data"));
    let running = tandem.start("demo", &[]).await;
    running.until_it_says("Ctrl-C ends the demo").await;
    let tour = running.log();

    let mut customer = Baresip::start(Account::new(running.sip, "1001", &password_of(&tour, "1001"))).await;
    let mut agent = Baresip::start(Account::new(running.sip, "1002", &password_of(&tour, "1002")).answering()).await;

    running.until_it_says("1001 registered from 127.0.0.1:").await;

    // Pasted into a shell as it stands.
    let curl = tour.lines().find(|line| line.starts_with("curl ")).unwrap();
    let posted = Command::new("sh").arg("-c").arg(curl).stdin(Stdio::null()).output().await.unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&posted.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&posted.stdout)));
    assert_eq!(answer["status"], "success", "{answer}");

    customer.expect("CALL_INCOMING").await;
    customer.accept().await;
    customer.expect("CALL_ESTABLISHED").await;
    // Keys count from the digits step on; before it the voice speaks.
    let token = curl.split("\"auth_token\":\"").nth(1).unwrap().split('"').next().unwrap();
    let client = running.client().bearing(token);
    let path = format!("/v1/calls/{}", answer["call_id"].as_str().unwrap());
    let asks = |page: &serde_json::Value| {
        page["events"].as_array().unwrap().iter().any(|event| event["step"]["type"] == "digits")
    };
    client.until(&format!("{path}/events"), "the digits step", asks).await;
    customer.press("1234").await;
    agent.expect("CALL_ESTABLISHED").await;
    assert!(running.log().contains("/api/test/1234"), "{}", running.log());
    customer.hang_up().await;
    agent.expect("CALL_CLOSED").await;

    let call = client.until(&path, "the call is over", |call| call["state"] == "completed").await;
    assert_eq!((&call["cause"], &call["ended_by"]), (&"normal".into(), &"customer".into()));

    // What happened is told where the newcomer looks.
    running.until_it_says("over: normal, ended by customer").await;
    let told = running.log();
    for said in ["ringing", "answered", "step 2 digits", "pressed 1234", "callback booked for", "they have talked"] {
        assert!(told.contains(said), "not told: {said}\n{told}");
    }

    // The secrets stay the same at the next start.
    let (http, sip) = (running.http, running.sip);
    running.kill().await;
    let again = tandem.start_at("demo", http, sip, &[]).await;
    again.until_it_has_said("Ctrl-C ends the demo", 2).await;
    assert_eq!(again.log().matches(&password_of(&tour, "1001")).count(), 2);
    // All but the endpoint's port, which another process may have taken in between.
    let (ours, _endpoint) = curl.split_once("\"url\":").unwrap();
    assert_eq!(again.log().matches(ours).count(), 2, "the same line works again");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_posts_before_registering_a_phone_is_told_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let running = Tandem::on(&folder.path().join("data")).start("demo", &[]).await;
    running.until_it_says("Ctrl-C ends the demo").await;
    let tour = running.log();
    let curl = tour.lines().find(|line| line.starts_with("curl ")).unwrap();
    let posted = Command::new("sh").arg("-c").arg(curl).stdin(Stdio::null()).output().await.unwrap();
    assert!(posted.status.success(), "{posted:?}");
    running
        .until_it_says("over: unreachable, ended by system; nobody is registered as 1001: register a softphone")
        .await;
    let told = running.log();
    let token = curl.split("\"auth_token\":\"").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(told.matches(token).count(), tour.matches(token).count(), "nothing secret after the tour");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_printed_shop_has_a_chat_that_the_owner_answers() {
    let folder = tempfile::tempdir().unwrap();
    let running = Tandem::on(&folder.path().join("data")).start("demo", &[]).await;
    running.until_it_says("Ctrl-C ends the demo").await;
    let tour = running.log();
    let after = |words: &str| tour.split_once(words).unwrap().1.split_whitespace().next().unwrap().to_owned();
    let mut ann = Customer::at(&after("a visitor's page:"), json!({})).await;
    ann.launch().await;
    ann.see("text=Ask the shop").await;
    ann.say("Do you have it in blue?").await;
    ann.see(".mine .note:text-is('Sent')").await;
    let client = running.client().bearing(&after("Authorization: Bearer ").replace('\'', ""));
    let rooms = client.get("/v1/chat/rooms").await.expect(200);
    let room = rooms["rooms"][0]["id"].as_str().unwrap();
    client.post(&format!("/v1/chat/rooms/{room}/messages"), &json!({"body": "In two blues."})).await.expect(201);
    ann.see(".theirs:has-text('In two blues.')").await;
    // The inbox is a page of the console: who is not signed in is asked to.
    let inbox = after("the inbox:");
    assert!(inbox.ends_with("/console/inbox"), "{inbox}");
    assert_eq!(running.client().browsing().get("/console/inbox").await.status, 303);
    ann.finish(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_two_printed_links_open_windows_that_talk_to_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let running = Tandem::on(&folder.path().join("data")).start("demo", &[]).await;
    running.until_it_says("Ctrl-C ends the demo").await;
    let tour = running.log();
    let link = |who: &str| tour.split_once(who).unwrap().1.split_whitespace().next().unwrap().to_owned();
    let speaking = |hertz| json!({"microphone": pulses_file(folder.path(), hertz)});
    let mut ann = Visitor::follow(&link("Ann, the caller:"), speaking(1_300.0)).await;
    let mut ben = Visitor::follow(&link("Ben, the receiver:"), speaking(1_000.0)).await;
    ann.press("Call Ben").await;
    ben.see("text=Ann is calling you").await;
    ben.press("Answer").await;
    for page in [&mut ann, &mut ben] {
        page.until_it_is_heard().await;
        page.see("text=You are talking").await;
        page.listen().await;
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (by_ann, by_ben) = (ann.heard().await.seconds_of(1_000.0), ben.heard().await.seconds_of(1_300.0));
    assert!(by_ann > 1.0 && by_ben > 1.0, "Ann heard Ben for {by_ann} s, Ben Ann for {by_ben} s");
    ann.finish(&[]).await;
    ben.finish(&[]).await;
}
