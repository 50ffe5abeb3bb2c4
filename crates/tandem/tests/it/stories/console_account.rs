//! The own account in the console: password, tokens, extensions, and what an agent sees of the own calls.

use kernel::Role;
use kernel::sign_in::{Identity, LINK_LIFE_MS};
use serde_json::json;

use super::browser_phone::{Phone, online};
use super::console::location;
use crate::harness::client::Client;
use crate::harness::server::{Plan, Server, Tenant};

/// When the clock of these stories begins: 2026-11-21T00:00:00Z.
const START_MS: i64 = 1_795_219_200_000;

/// Makes a person and gives who it is, and its token.
async fn person(server: &Server, tenant: &Tenant<'_>, new: calls::NewUser) -> (Identity, String) {
    let made = calls::create_user(&server.app.kernel, &tenant.org, new).await.unwrap();
    (Identity::Person { org: tenant.org.id.clone(), person: made.id }, made.auth_token.expose().to_owned())
}

fn agent(extension: &str) -> calls::NewUser {
    calls::NewUser {
        name: "Ann".to_owned(),
        email: Some("ann@example.org".to_owned()),
        role: Some(Role::Agent),
        extension: Some(extension.to_owned()),
        ..calls::NewUser::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_asks_for_the_present_one_unless_a_link_has_just_signed_in() {
    let server = Plan::new().at(START_MS).start().await;
    let acme = server.org("acme").await;
    let (ann, _) = person(&server, &acme, agent("1001")).await;
    let (account, path) = ("/console/account", "/console/account/password");
    let set = async |browser: &Client, fields: &[(&str, &str)]| browser.submit(account, path, fields).await;

    // By a fresh link: at once.
    let browser = server.signed_in(&ann).await;
    assert!(!browser.get(account).await.text.contains("name=\"current\""));
    let done = set(&browser, &[("password", "correct horse")]).await;
    assert_eq!((done.status, location(&done)), (303, "/console/account?done=password"));

    // Later, and by password: whoever finds the browser open sets none.
    server.clock().advance(LINK_LIFE_MS);
    let other = server.browser();
    let form = [("email", "ann@example.org"), ("password", "correct horse")];
    assert_eq!(other.send(other.post_page("/console/sign-in", &form)).await.status, 303);
    for browser in [&browser, &other] {
        assert!(browser.get(account).await.text.contains("name=\"current\""));
        for current in ["", "wrong horse"] {
            let refused = set(browser, &[("current", current), ("password", "battery staple")]).await;
            assert!(refused.status == 422 && refused.text.contains("id=\"current-error\""), "{}", refused.text);
        }
    }
    let short = set(&other, &[("current", "correct horse"), ("password", "short")]).await;
    assert!(short.status == 422 && short.text.contains("id=\"password-error\""), "{}", short.text);
    assert_eq!(browser.get("/console").await.status, 200, "what was refused ended nothing");
    let done = set(&other, &[("current", "correct horse"), ("password", "battery staple")]).await;
    assert_eq!(done.status, 303, "{}", done.text);
    assert_eq!(browser.get("/console").await.status, 303, "the other browser is signed out");
    assert_eq!(other.get("/console").await.status, 200);

    // Guessing the present one meets a limit.
    let guess = async || set(&other, &[("current", "wrong"), ("password", "battery staple")]).await.text;
    let mut tries = 0;
    while !guess().await.contains("Too many tries") {
        tries += 1;
        assert!(tries <= 10, "no limit");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn links_by_mail_have_a_limit_of_their_own_that_guessing_does_not_use_up() {
    let server = Plan::new().at(START_MS).start().await;
    server.org("acme").await;
    let browser = server.browser();
    let email = ("email", "ann@example.org");
    for _ in 0..10 {
        let guessed = browser.send(browser.post_page("/console/sign-in", &[email, ("password", "wrong")])).await;
        assert_eq!(guessed.status, 422);
    }
    let ask = async || browser.send(browser.post_page("/console/sign-in/link", &[email])).await;
    for _ in 0..5 {
        assert_eq!(ask().await.status, 200);
    }
    let refused = ask().await;
    assert!(refused.status == 422 && refused.text.contains("id=\"email-error\""), "{}", refused.text);
    server.clock().advance(60_000);
    assert_eq!(ask().await.status, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_made_shown_once_used_and_revoked_by_its_owner_alone() {
    let server = Plan::new().at(START_MS).start().await;
    let acme = server.org("acme").await;
    let (ann, _) = person(&server, &acme, agent("1001")).await;
    let browser = server.signed_in(&ann).await;
    let tokens = "/console/account/tokens";
    let shown = browser.submit(tokens, tokens, &[("label", "report <b>")]).await;
    assert_eq!(shown.status, 200, "{}", shown.text);
    let (_, rest) = shown.text.split_once("pt_").expect("a token");
    let token: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || "_-".contains(*c)).collect();
    let program = server.client().bearing(&format!("pt_{token}"));
    assert_eq!(program.get("/v1/me/state").await.status, 200);

    let page = browser.get(tokens).await.text;
    assert!(page.contains("report &#60;b&#62;") && !page.contains(&token), "shown once: {page}");
    // The newest one is the last.
    let (_, rest) = page.rsplit_once("action=\"/console/account/tokens/ptk_").unwrap();
    let revoke = format!("/console/account/tokens/ptk_{}", rest.split('"').next().unwrap());
    let stranger = server.browser().bearing(&acme.token);
    assert_eq!(stranger.send(stranger.post_page(&revoke, &[])).await.status, 404, "another one's");
    assert_eq!(program.get("/v1/me/state").await.status, 200);
    assert_eq!(browser.submit_shown(&page, &revoke, &[]).await.status, 303);
    assert_eq!(program.get("/v1/me/state").await.status, 401);

    // Later whoever finds the browser open takes no token away.
    server.clock().advance(LINK_LIFE_MS);
    let refused = browser.submit(tokens, tokens, &[("label", "mine"), ("current", "guess")]).await;
    assert!(refused.status == 422 && refused.text.contains("id=\"current-error\""), "{}", refused.text);
    assert!(!refused.text.contains("mine</td>") && !refused.text.contains("pt_"), "{}", refused.text);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_gets_one_more_extension_and_chooses_among_them() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let (ann, token) = person(&server, &acme, agent("1001")).await;
    let Identity::Person { person: id, .. } = &ann else { panic!("a person") };
    let owner = server.browser().bearing(&acme.token);
    let page = format!("/console/people/{id}");
    let made = owner.submit(&page, &format!("{page}/extension"), &[("extension", "1002")]).await;
    assert!(made.status == 200 && made.text.contains("SIP password"), "{}", made.text);
    let taken = owner.submit(&page, &format!("{page}/extension"), &[("extension", "1002")]).await;
    assert!(taken.status == 422 && taken.text.contains("id=\"extension-error\""), "{}", taken.text);
    // By API too.
    let made = acme.client().post("/v1/extensions", &json!({"extension": "1003", "person": id})).await.expect(201);
    assert_eq!((&made["sip"]["username"], &made["person"]), (&json!("1003"), &json!(id)));
    let nobody = acme.client().post("/v1/extensions", &json!({"extension": "1004", "person": "per_none"})).await;
    assert_eq!(nobody.expect(422)["errors"][0]["pointer"], "/person");
    acme.client().post("/v1/extensions", &json!({"extension": "1003", "person": id})).await.expect(409);
    acme.phone("1009").await;

    // Each has calls of its own, and she sees those of the one that she names.
    let call = async |number: &str| {
        let flow = json!({"flow": [{"id": 1, "type": "call", "number": number}]});
        let ran = acme.client().post("/api/v2/call/flow", &flow).await.expect(201);
        let id = ran["call_id"].as_str().unwrap().to_owned();
        acme.client().until(&format!("/v1/calls/{id}"), "its end", |call| call["state"] == "completed").await;
        id
    };
    let mut phone = online(&server, &token, "1001").await;
    let ringing = json!({"flow": [{"id": 1, "type": "call", "number": "1001"}]});
    let ran = acme.client().post("/api/v2/call/flow", &ringing).await.expect(201);
    let own_call = ran["call_id"].as_str().unwrap().to_owned();
    loop {
        let frame = phone.next().await.expect("a call");
        if frame["type"] == "incoming" {
            break;
        }
    }
    let anns = server.client().bearing(&token);
    let listed = async |query: &str| {
        let list = anns.get(&format!("/v1/calls{query}")).await.expect(200);
        list["calls"].as_array().unwrap().iter().map(|call| call["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    anns.until("/v1/calls", "the own call", |list| list["calls"][0]["id"] == own_call.as_str()).await;
    assert_eq!(listed("").await, [own_call.as_str()]);
    assert_eq!(listed("?extension=1001").await, [own_call.as_str()]);
    assert!(listed("?extension=1002").await.is_empty());
    anns.get("/v1/calls?extension=1009").await.expect(404);
    acme.client().get("/v1/calls?extension=1009").await.expect(200);
    let other = call("1009").await;

    // An agent hears of no event, so the story of the call is read again every now and then, until it is over.
    let browser = server.signed_in(&ann).await;
    let list = browser.get("/console/calls").await.text;
    assert!(list.contains("Your extension") && list.contains("<option value=\"1002\"") && list.contains(&own_call));
    let story = format!("/console/calls/{own_call}/story");
    let page = browser.get(&format!("/console/calls/{own_call}")).await.text;
    assert!(page.contains(&format!("hx-get=\"{story}\" hx-trigger=\"every 5s\"")) && !page.contains("data-live"));
    assert!(!page.contains("/console/runs/"), "no way to where an agent may not go: {page}");
    assert_eq!(browser.get(&story).await.status, 200);
    let supervisor = owner.get(&format!("/console/calls/{own_call}")).await.text;
    assert!(supervisor.contains("data-live=") && supervisor.contains("/console/runs/"));
    acme.client().post(&format!("/api/v2/call/{own_call}/hangup"), &json!({})).await.expect(200);
    anns.until(&format!("/v1/calls/{own_call}"), "its end", |call| call["state"] == "completed").await;
    let last = browser.get(&story).await;
    assert!(last.status == 286 && last.text.contains("call.completed"), "{} {}", last.status, last.text);
    assert_eq!(browser.get(&format!("/console/calls/{other}")).await.status, 404);

    // The phone in the page is that of the extension that is chosen.
    let page = browser.get("/phone?extension=1002").await.text;
    assert!(page.contains("socket=\"/v1/rtc?extension=1002\"") && page.contains("href=\"/phone?extension=1001\""));
    let bearer = format!("Bearer {token}");
    for (extension, answer) in [("1002", "ready"), ("1009", "error")] {
        let path = format!("/v1/rtc?extension={extension}");
        let mut phone = Phone::open_at(&server, &path, &[("authorization", &bearer)]).await.unwrap();
        phone.say(&json!({"type": "hello"})).await;
        let first = phone.next().await.unwrap();
        assert_eq!(first["type"], answer, "{first}");
        assert!(answer == "error" || first["extension"] == extension, "{first}");
    }

    // So is the box.
    let page = browser.get("/console/voicemail?extension=1002").await.text;
    assert!(page.contains("href=\"?extension=1002\" aria-current=\"true\""), "{page}");
    assert!(page.contains("href=\"?extension=1003\">"), "{page}");

    // "Call me" offers each.
    let flow = json!({"name": "F", "flow": [{"id": 1, "type": "hangup"}]});
    let flow = acme.client().post("/v1/flows", &flow).await.expect(201)["id"].as_str().unwrap().to_owned();
    acme.client().get("/v1/extensions").await.expect(200);
    let owners = server.app.kernel.people(&acme.org.id, "", 1).await.unwrap().remove(0);
    for number in ["1100", "1101"] {
        calls::add_extension(&server.app.kernel, &acme.org, &owners.id, number).await.unwrap();
    }
    let page = owner.get(&format!("/console/flows/{flow}")).await.text;
    assert!(page.contains("Call me") && page.contains("<option value=\"1101\">"), "{page}");
    server.stop().await;
}
