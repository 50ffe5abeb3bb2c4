//! Every form of the console in Chromium, filled with what is wrong: the sentence stands beside the field, a screen reader
//! is told, the focus is there, and what was typed is kept.

use std::collections::BTreeSet;

use kernel::sign_in::Identity;
use serde_json::{Value, json};
use tandem::console::Needs;

use crate::harness::browser::Browser;
use crate::harness::office::Office;
use crate::harness::server::Plan;
use crate::harness::stub::Stub;

/// Forms that can only be sent as they are: choices, no text.
const NOTHING_TO_TYPE: [&str; 1] = ["/console/people/{id}/role"];

/// Page, action, what is typed, the field that is wrong.
type Case = (&'static str, &'static str, &'static [(&'static str, &'static str)], &'static str);

const OF_THE_OWNER: &[Case] = &[
    ("/console/account", "/console/account/password", &[("password", "short")], "password"),
    ("/console/account/tokens", "", &[("label", "")], "label"),
    ("/console/people/{id}", "/console/people/{id}/extension", &[("extension", "1")], "extension"),
    ("/console/teams/{id}", "", &[("name", "")], "name"),
    ("/console/teams/{id}", "", &[("name", "Sales"), ("ring_s", "4")], "ring_s"),
    ("/console/people/new", "", &[("name", "Bo"), ("extension", "1")], "extension"),
    ("/console/people/new", "", &[("name", "Bo"), ("email", "bo at example")], "email"),
    ("/console/people/new", "", &[("name", ""), ("email", "bo@example.org")], "name"),
    ("/console/teams/new", "", &[("name", "Sales"), ("number", "112")], "number"),
    ("/console/teams/new", "", &[("name", ""), ("number", "5264")], "name"),
    ("/console/numbers/new", "", &[("e164", "12")], "e164"),
    ("/console/trunks/new", "", &[("name", "second"), ("target", "h;transport=pigeon")], "target"),
    ("/console/applications/new", "", &[("name", "")], "name"),
    ("/console/applications/{id}", "/console/applications/{id}/meetings", &[("time_zone", "Mars")], "time_zone"),
    ("/console/applications/{id}", "/console/applications/{id}/meetings", &[("veto_url", "ftp://x")], "veto_url"),
    ("/console/applications/{id}", "/console/applications/{id}/meetings", &[("number_pool", "banana")], "number_pool"),
    ("/console/applications/{id}/chat", "", &[("widget_hours", "always")], "widget_hours"),
    ("/console/applications/{id}/chat", "", &[("allowed_origins", "shop.example")], "allowed_origins"),
    ("/console/chat/products", "", &[("name", "A B"), ("code", "40")], "name"),
    ("/console/chat/products", "", &[("name", "SHOES"), ("code", "0")], "code"),
    ("/console/chat/codes", "", &[("count", "0")], "count"),
    ("/console/chat/links", "", &[("label", "")], "label"),
    ("/console/chat/links", "", &[("label", "Entrance"), ("count", "0")], "count"),
    ("/console/meetings/new", "", &[("order_id", ""), ("caller_name", "Ann")], "order_id"),
    ("/console/meetings/new", "", &[("order_id", "1"), ("caller_name", "")], "caller_name"),
    (
        "/console/meetings/new",
        "",
        &[
            ("order_id", "1"),
            ("caller_name", "Ann"),
            ("caller_uid", "1"),
            ("caller_number", "banana"),
            ("receiver_name", "Ben"),
            ("receiver_uid", "2"),
        ],
        "caller_number",
    ),
    ("/console/meetings/{id}", "/console/meetings/{id}/extend", &[("minutes", "0")], "minutes"),
    ("/console/meetings/{id}", "/console/meetings/{id}/move", &[("duration", "481")], "duration"),
    ("/console/webhooks/new", "", &[("url", "ftp://example.org/"), ("events", "call.completed")], "url"),
    ("/console/settings", "", &[("do_not_call", "banana")], "do_not_call"),
    ("/console/settings", "", &[("days_events", "0"), ("tariff", "0.03 EUR")], "days_events"),
    ("/console/settings", "", &[("tariff", "cheap")], "tariff"),
    ("/console/privacy", "", &[("number", "")], "number"),
    ("/console/flows/new?sample=menu", "/console/flows/new", &[("name", "")], "name"),
    (
        "/console/flows/new?sample=menu",
        "/console/flows/new",
        &[("name", "Broken"), ("text", "{\"flow\": [\n{\"id\": 1, \"type\": \"dance\"}\n]}")],
        "text",
    ),
    ("/console/flows/{id}/edit", "/console/flows/{id}/edit", &[("name", "")], "name"),
    ("/console/flows/{id}", "/console/flows/{id}/run", &[("to", "banana")], "to"),
];
const OF_THE_ADMINISTRATOR: &[Case] = &[
    ("/console/organisations", "", &[("name", ""), ("zone", "Mars")], "name"),
    ("/console/organisations", "", &[("name", "Beta"), ("zone", "Mars")], "zone"),
];
/// Whoever asks for a link is answered the same, whatever was typed: that form refuses nothing.
const OF_STRANGERS: &[Case] = &[
    ("/console/sign-in", "", &[("email", "ann@acme.example"), ("password", "wrong horse")], "password"),
    ("/console/link/{link}", "/console/link/{link}", &[("password", "short")], "password"),
];

/// The actions of the posted forms with fields on a page.
fn actions(html: &str) -> Vec<String> {
    let forms = html.split("<form ").skip(1).filter_map(|rest| rest.split('>').next());
    let posted = forms.filter(|tag| tag.contains("method=\"post\"") && tag.contains("data-form"));
    posted.map(|tag| tag.split("action=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_form_says_beside_the_field_what_is_wrong() {
    let stub = Stub::start().await;
    let server = Plan::new().reaching(stub.address).start().await;
    let office = Office::open(&server, &stub).await;
    let administrator = Identity::Administrator(server.app.kernel.find_administrator(None).await.unwrap().id);
    let invitation = office.link_of(office.owner.token()).await;
    let resolve = |template: &str| match template.strip_prefix("/console/link/") {
        Some(_) => invitation.clone(),
        None => office.path(template).unwrap(),
    };
    let case = |(path, action, fill, wrong): &Case| {
        let action = if action.is_empty() { path } else { action };
        let fill: serde_json::Map<String, Value> =
            fill.iter().map(|(name, text)| ((*name).to_owned(), json!(text))).collect();
        json!({"path": resolve(path), "action": resolve(action), "fill": fill, "wrong": wrong})
    };
    let forms = |cases: &[Case]| cases.iter().map(case).collect::<Vec<Value>>();
    let visitors = [
        (office.link_of(office.owner.token()).await, forms(OF_THE_OWNER)),
        (office.link(&administrator).await, forms(OF_THE_ADMINISTRATOR)),
        (String::new(), forms(OF_STRANGERS)),
    ];

    // No form is left out.
    let sent: BTreeSet<String> =
        visitors.iter().flat_map(|(_, forms)| forms).map(|form| form["action"].as_str().unwrap().to_owned()).collect();
    let unsent = NOTHING_TO_TYPE.map(resolve);
    for door in tandem::console::plan().iter().filter(|door| door.method.is_safe() && door.needs != Needs::Nothing) {
        let reply = office.owner.get(&resolve(door.path)).await;
        for action in actions(&reply.text) {
            let is_known = sent.contains(&action) || unsent.contains(&action);
            assert!(is_known, "the form {action} of {} is not tried", door.path);
        }
    }

    let count: usize = visitors.iter().map(|(_, forms)| forms.len()).sum();
    let visitors = visitors.map(|(link, forms)| json!({"link": link, "forms": forms}));
    let task = json!({"url": format!("http://{}", server.app.http()), "visitors": visitors});
    let mut browser = Browser::start("forms", &task);
    let mut amiss = Vec::new();
    for _ in 0..count {
        let refused = browser.expect("the next answer", |event| event["event"] == "refused").await;
        for what in refused["amiss"].as_array().unwrap() {
            amiss.push(format!("{} {}: {what}", refused["path"], refused["fill"]));
        }
    }
    assert!(amiss.is_empty(), "{}", amiss.join("\n"));
    browser.expect_no_complaints(&["status of 422"]);
    browser.finish().await;
    drop(office);
    server.stop().await;
}
