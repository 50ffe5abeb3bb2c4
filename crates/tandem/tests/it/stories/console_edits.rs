//! What is typed into the console reaches what it was meant for, or stays: two tabs, two editors, a session that ends.

use kernel::Role;
use kernel::sign_in::Identity;
use reqwest::Method;
use serde_json::json;

use super::console::location;
use crate::harness::client::{Client, Reply, form, hidden_fields, unescaped};
use crate::harness::server::{Plan, Server, Tenant};

/// When the clock of these stories begins: 2026-11-21T00:00:00Z.
const START_MS: i64 = 1_795_219_200_000;
/// Longer than any session.
const LONG_MS: i64 = 15 * 86_400_000;
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

async fn owner_of(server: &Server, tenant: &Tenant<'_>) -> Identity {
    let owner = server.app.kernel.people(&tenant.org.id, "", 1).await.unwrap().remove(0);
    Identity::Person { org: owner.org, person: owner.id }
}

/// Sends what a page has kept once more.
async fn send_again(browser: &Client, kept: &Reply, path: &str) -> Reply {
    browser.submit_shown(&kept.text, path, &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tabs_in_two_organisations_do_not_mix() {
    let server = Server::start().await;
    let (acme, other) = (server.org("acme").await, server.org("other").await);
    let id = server.app.kernel.find_administrator(None).await.unwrap().id;
    let root = server.signed_in(&Identity::Administrator(id)).await;
    let open = async |tenant: &Tenant<'_>| {
        let path = format!("/console/organisations/{}/open", tenant.org.id);
        assert_eq!(root.send(root.post_page(&path, &[])).await.status, 303);
    };
    let people = async |tenant: &Tenant<'_>| server.app.kernel.people(&tenant.org.id, "", 10).await.unwrap().len();
    open(&acme).await;
    let first_tab = root.get("/console/people/new").await.text;
    open(&other).await;

    let new = "/console/people/new";
    let kept = root.submit_shown(&first_tab, new, &[("name", "Ann <b>"), ("role", "agent")]).await;
    assert_eq!(kept.status, 409, "{}", kept.text);
    assert!(kept.text.contains("made for acme") && kept.text.contains("works in other now"), "{}", kept.text);
    assert!(kept.text.contains("Ann &#60;b&#62;"), "what was typed stays: {}", kept.text);
    assert_eq!((people(&acme).await, people(&other).await), (1, 1), "nothing was changed");
    assert_eq!(send_again(&root, &kept, new).await.status, 409, "still elsewhere");

    let back = format!("/console/organisations/{}/open", acme.org.id);
    assert_eq!(root.submit_shown(&kept.text, &back, &[]).await.status, 303);
    assert_eq!(send_again(&root, &kept, new).await.status, 200);
    assert_eq!((people(&acme).await, people(&other).await), (2, 1), "where it was meant for");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_edit_a_flow_the_later_one_sees_both_texts() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let (ann, ben) = (server.signed_in(&owner_of(&server, &acme).await).await, server.browser());
    let ben = ben.bearing(&acme.person(Role::Admin).await);
    let flow = json!([{"id": 1, "type": "play", "text": "first"}]);
    let publish = json!({"url": "https://example.org/hook", "secret": SECRET});
    let made = acme.client().post("/v1/flows", &json!({"name": "F", "flow": flow, "publish": publish})).await;
    let id = made.expect(201)["id"].as_str().unwrap().to_owned();
    let edit = format!("/console/flows/{id}/edit");
    let secret = async || {
        let saved = tandem::flows::store::one(&server.app.kernel.db, &acme.org.id, &id).await.unwrap().unwrap();
        let opened = tandem::flows::store::with_secrets(&server.app.kernel, saved.body.unwrap()).unwrap();
        opened["publish"]["secret"].as_str().map(str::to_owned)
    };

    let (anns, bens) = (ann.get(&edit).await.text, ben.get(&edit).await.text);
    assert!(anns.contains("is set and not shown") && !anns.contains("whsec_"), "{anns}");
    let text = |words: &str, url: &str| {
        json!({"flow": [{"id": 1, "type": "play", "text": words}], "publish": {"url": url}}).to_string()
    };
    let hook = "https://example.org/hook";
    let saved = ben.submit_shown(&bens, &edit, &[("name", "F"), ("text", &text("Ben's", hook))]).await;
    assert_eq!(saved.status, 303, "{}", saved.text);
    assert_eq!(secret().await.as_deref(), Some(SECRET), "the editor takes no secret away");

    let mine = text("Ann's", hook);
    let late = ann.submit_shown(&anns, &edit, &[("name", "F"), ("text", &mine)]).await;
    assert_eq!(late.status, 409, "{}", late.text);
    let shown = unescaped(&late.text);
    assert!(shown.contains(&mine) && shown.contains("Ben's") && shown.contains("version 2 meanwhile"), "{shown}");
    let now = acme.client().get(&format!("/v1/flows/{id}")).await.expect(200);
    assert_eq!((&now["version"], &now["flow"][0]["text"]), (&json!(2), &json!("Ben's")), "nothing was overwritten");

    // Having seen both, she decides. Another URL is another receiver: it has no secret.
    let both = text("both", "https://example.net/");
    let again = ann.submit_shown(&late.text, &edit, &[("name", "F"), ("text", &both)]).await;
    assert_eq!(again.status, 303, "{}", again.text);
    let now = acme.client().get(&format!("/v1/flows/{id}")).await.expect(200);
    assert_eq!((&now["version"], &now["flow"][0]["text"]), (&json!(3), &json!("both")));
    assert_eq!(secret().await, None);
    // The API does the same with what was read and sent back.
    let publish = json!({"url": hook, "secret": SECRET});
    acme.client().put(&format!("/v1/flows/{id}"), &json!({"flow": flow, "publish": publish})).await.expect(200);
    let read = acme.client().get(&format!("/v1/flows/{id}")).await.expect(200);
    acme.client().put(&format!("/v1/flows/{id}"), &read).await.expect(200);
    assert_eq!(secret().await.as_deref(), Some(SECRET));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_change_settings_or_a_team_the_later_one_sees_the_difference() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    for number in ["1001", "1002", "1003"] {
        acme.phone(number).await;
    }
    let owner = server.signed_in(&owner_of(&server, &acme).await).await;
    let settings = "/console/settings";
    let (first, second) = (owner.get(settings).await.text, owner.get(settings).await.text);
    assert_eq!(owner.submit_shown(&first, settings, &[("tariff", "0.02 EUR")]).await.status, 303);
    let late = owner.submit_shown(&second, settings, &[("tariff", "0.05 EUR"), ("dial_only", "+44")]).await;
    assert_eq!(late.status, 409, "{}", late.text);
    assert!(late.text.contains("value=\"0.05 EUR\""), "what was typed stays: {}", late.text);
    assert!(late.text.contains("saved meanwhile: 0.02 EUR") && late.text.contains("saved meanwhile: nothing"));
    let now = acme.client().get("/v1/org/settings").await.expect(200);
    assert_eq!((&now["tariff"], &now["dial_only"]), (&json!("0.02 EUR"), &json!([])), "nothing was overwritten");
    let again = owner.submit_shown(&late.text, settings, &[("tariff", "0.05 EUR"), ("dial_only", "+44")]).await;
    assert_eq!(again.status, 303, "{}", again.text);
    assert_eq!(acme.client().get("/v1/org/settings").await.expect(200)["tariff"], "0.05 EUR");

    acme.team("5263", &["1003", "1001"]).await;
    let team = acme.client().get("/v1/teams").await.expect(200)["teams"][0]["id"].as_str().unwrap().to_owned();
    let path = format!("/console/teams/{team}");
    assert!(owner.get("/console/teams").await.text.contains(&format!("href=\"{path}\"")));
    let (first, second) = (owner.get(&path).await.text, owner.get(&path).await.text);
    let rest = [("strategy", "round_robin"), ("wrap_up_s", "30"), ("ring_s", "15")];
    let members = |list: &'static [&'static str]| list.iter().map(|number| ("member", *number));
    let fields = |name: &'static str, list: &'static [&'static str]| -> Vec<(&str, &str)> {
        [("name", name)].into_iter().chain(rest).chain(members(list)).collect()
    };
    let saved = owner.submit_shown(&first, &path, &fields("Help", &["1001", "1002", "1003"])).await;
    assert_eq!(saved.status, 303, "{}", saved.text);
    let late = owner.submit_shown(&second, &path, &fields("Aid", &["1001"])).await;
    assert!(late.status == 409 && late.text.contains("saved meanwhile: Help"), "{} {}", late.status, late.text);
    assert!(late.text.contains("value=\"Aid\""), "{}", late.text);
    let now = acme.client().get(&format!("/v1/teams/{team}")).await.expect(200);
    assert_eq!((&now["name"], &now["strategy"]), (&json!("Help"), &json!("round_robin")));
    assert_eq!((&now["wrap_up_s"], &now["ring_s"]), (&json!(30), &json!(15)));
    assert_eq!(now["members"], json!(["1003", "1001", "1002"]), "who stays keeps the place in the round");
    for (bad, field) in [(("ring_s", "soon"), "ring_s"), (("ring_s", "4"), "ring_s"), (("name", ""), "name")] {
        let mut fields = fields("Help", &["1001"]);
        fields.retain(|(name, _)| *name != bad.0);
        fields.push(bad);
        let refused = owner.submit(&path, &path, &fields).await;
        assert!(refused.status == 422 && refused.text.contains(&format!("id=\"{field}-error\"")), "{}", refused.text);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ends_while_somebody_writes_takes_no_text_away() {
    let server = Plan::new().at(START_MS).start().await;
    let acme = server.org("acme").await;
    let owner = owner_of(&server, &acme).await;
    let browser = server.signed_in(&owner).await;
    let new = "/console/flows/new";
    let page = browser.get("/console/flows/new?sample=greeting").await.text;
    server.clock().advance(LONG_MS);

    // The editor's own question is told so, and is not led on to a page that it would take for an answer.
    let check = browser.post_page("/console/flows/check", &[("text", "{}")]).header("hx-request", "true");
    assert_eq!(browser.send(check).await.status, 401);

    let text = "{\n  \"flow\": [{\"id\": 1, \"type\": \"play\", \"text\": \"<Hello> & \\\"bye\\\"\"}]\n}";
    let kept = browser.submit_shown(&page, new, &[("name", "Hello"), ("text", text)]).await;
    assert_eq!(kept.status, 401, "{}", kept.text);
    assert!(kept.text.contains("href=\"/console/sign-in\" target=\"_blank\""), "{}", kept.text);
    let fields = hidden_fields(&kept.text, new);
    assert!(fields.contains(&("text".to_owned(), text.to_owned())), "{fields:?}");

    // In a new tab, and back.
    let link = server.app.kernel.create_link(&owner).await.unwrap();
    let path = format!("/console/link/{}", link.expose());
    assert_eq!(location(&browser.send(browser.post_page(&path, &[])).await), "/console");
    let saved = send_again(&browser, &kept, new).await;
    assert_eq!(saved.status, 303, "{}", saved.text);
    let flows = acme.client().get("/v1/flows").await.expect(200);
    assert_eq!(flows["flows"][0]["name"], "Hello");
    server.clock().advance(LONG_MS);

    // Passwords are typed again; a stranger's form is not kept for a click; nothing leads to where only forms go.
    let kept = browser.send(browser.post_page("/console/account/password", &[("password", "correct horse")])).await;
    assert!(kept.status == 401 && !kept.text.contains("correct horse"), "{}", kept.text);
    let stranger = server.browser();
    let foreign = stranger.request(Method::POST, "/console/people/new").header("sec-fetch-site", "cross-site");
    let sent = stranger.send(form(foreign, &[("name", "Eve")])).await;
    assert_eq!((sent.status, location(&sent)), (303, "/console/sign-in"), "{}", sent.text);
    let out = browser.send(browser.post_page("/console/sign-out", &[])).await;
    assert_eq!((out.status, location(&out)), (303, "/console/sign-in"));
    server.stop().await;
}
