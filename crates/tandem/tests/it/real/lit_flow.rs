//! A flow that somebody tries in the console: the page itself rings, the flow is heard in it, keys are pressed in it, and
//! the steps of the drawing are lit one after the other, as the call's events say.

use kernel::Role;
use serde_json::{Value, json};

use crate::harness::ear::words_understood;
use crate::harness::person::Person;
use crate::harness::server::Server;

const SENTENCE: &str = "please leave a message after the tone";
const UNDERSTOOD: f64 = 0.7;

/// The steps of a call in the order in which they began.
fn trace(events: &Value) -> Vec<String> {
    let events = events["events"].as_array().unwrap().iter();
    let started = events.filter(|event| event["type"] == "step.started");
    started.map(|event| event["step"]["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn call_me_rings_in_the_page_and_lights_each_step_as_it_is_heard() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let (_, token) = acme.hire("Olivia Brand", Role::Owner, Some("1000")).await;
    let client = server.client().bearing(&token);
    let flow = json!([
        {"id": "begin", "type": "pause", "seconds": 2, "next_step": "say"},
        {"id": "say", "type": "play", "text": SENTENCE, "next_step": "choose"},
        {"id": "choose", "type": "menu", "text": "Press one.", "timeout": 30, "flow": {"1": "enter", "2": "other", "timeout": "other"}},
        {"id": "other", "type": "hangup"},
        {"id": "enter", "type": "digits", "count": 4, "timeout": 30, "flow": {"*": "bye", "timeout": "other"}},
        {"id": "bye", "type": "play", "text": "Thank you."},
    ]);
    let saved = client.post("/v1/flows", &json!({"name": "Try me", "flow": flow})).await.expect(201);
    let whose = server.identity(&token).await;
    let link = server.app.kernel.create_link(&whose).await.unwrap();
    let (mut person, _) = Person::sign_in(server.app.http(), &format!("/console/link/{}", link.expose())).await;

    person.go(&format!("/console/flows/{}", saved["id"].as_str().unwrap())).await;
    person.click("Call me").await;
    person.see("[data-call]").await;
    let path = person.path().await;
    let call = path.strip_prefix("/console/calls/").expect("the page of the call").to_owned();
    person.click("Answer").await;
    let events = format!("/v1/calls/{call}/events?limit=500");
    let began = |step: &'static str| move |list: &Value| trace(list).iter().any(|id| id == step);
    client.until(&events, "the first step", began("begin")).await;
    person.see("tandem-phone button:text-is('Hang up')").await;
    person.ask("listen", json!({})).await;
    client.until(&events, "the menu", began("choose")).await;
    let words = person.heard().await.words().await;
    assert!(words_understood(SENTENCE, &words) >= UNDERSTOOD, "{words:?}");
    person.see("[data-step=choose].here").await;
    person.ask("press", json!({"keys": "1"})).await;
    client.until(&events, "the digits", began("enter")).await;
    person.ask("press", json!({"keys": "1234"})).await;
    let over = |list: &Value| list["events"].as_array().unwrap().iter().any(|event| event["type"] == "call.completed");
    let all = client.until(&events, "the end", over).await;

    let trace = trace(&all);
    assert_eq!(trace[trace.len() - 5..], ["begin", "say", "choose", "enter", "bye"], "{trace:?}");
    person.see("text=call.completed").await;
    assert_eq!(person.run("lit").await, json!(trace), "lit in the order of the trace, each once");
    let classes = "Object.fromEntries([...document.querySelectorAll('[data-step]')].map((step) => \
                   [step.dataset.step, step.classList.contains('was')]))";
    let was = person.run(classes).await;
    for step in ["begin", "say", "choose", "enter", "bye", "other"] {
        assert_eq!(was[step], step != "other", "{step}: {was}");
    }
    let arrow = "document.querySelector('[data-from=choose][data-to=enter]').classList.contains('was')";
    assert_eq!(person.run(arrow).await, true, "the way that was taken");

    // The same, as the run's path afterwards.
    person.follow("its run").await;
    person.see("h1:text-is('Run')").await;
    assert_eq!(person.texts("td[data-label=Step]").await, trace);
    person.finish(&[]).await;
    server.stop().await;
}
