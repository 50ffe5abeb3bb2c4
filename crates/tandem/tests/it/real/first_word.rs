//! What `./run` promises a newcomer without a softphone: from the start of the binary to the first word in the browser, by
//! nothing but the printed link and "Call me".

use std::time::Instant;

use serde_json::json;

use crate::harness::person::Person;
use crate::harness::process::Tandem;

#[tokio::test(flavor = "multi_thread")]
async fn from_the_start_to_the_first_word_in_a_browser() {
    let folder = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    // ./run replaces itself by this process once it has built it.
    let running = Tandem::on(&folder.path().join("data")).start("demo", &[]).await;
    running.until_it_says("Ctrl-C ends the demo").await;
    let told = running.log();
    let (_, link) = told.split_once("/console/link/").expect("a link is printed");
    let link = link.split_whitespace().next().unwrap();
    let printed = begun.elapsed();

    let (mut person, page) = Person::sign_in(running.http, &format!("/console/link/{link}")).await;
    assert_eq!(page, "/console");
    person.follow("Hear a flow").await;
    person.click("Call me").await;
    person.see("[data-call]").await;
    assert!(person.path().await.starts_with("/console/calls/"));
    person.click("Answer").await;
    person.ask("sound", json!({})).await;
    let heard = begun.elapsed();
    println!("the link after {:.1} s, the first word after {:.1} s", printed.as_secs_f64(), heard.as_secs_f64());

    // The rest of the tour is there too: keys, and the endpoint that the flow asks.
    person.see("[data-step='2'].here").await;
    person.ask("press", json!({"keys": "1234"})).await;
    running.until_it_says("/api/test/1234").await;
    running.until_it_says("callback booked for").await;
    let told = running.log();
    let place = |text: &str| told.find(text).unwrap_or_else(|| panic!("not told: {text}\n{told}"));
    let order =
        ["ringing", "answered", "step 1 play", "step 2 digits", "pressed 1234", "step 5 http", "callback booked for"];
    let places: Vec<usize> = order.iter().map(|text| place(text)).collect();
    assert!(places.is_sorted(), "{order:?} at {places:?}:\n{told}");
    person.finish(&[]).await;
}
