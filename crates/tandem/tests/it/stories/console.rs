//! The console from the sign-in to the sign-out, as a browser sees it: cookies, forms, and who may not.

use std::time::Duration;

use kernel::sign_in::{INVITATION_LIFE_MS, Identity};
use serde_json::json;

use crate::harness::client::{Client, Reply, form};
use crate::harness::process::Tandem;
use crate::harness::server::{Plan, Server};

/// When the clock of these stories begins: 2026-11-21T00:00:00Z.
const START_MS: i64 = 1_795_219_200_000;

pub(super) fn location(reply: &Reply) -> &str {
    reply.headers.get("location").map_or("", |to| to.to_str().unwrap())
}

/// The path of a link that stands in a text.
pub(super) fn link_in(text: &str) -> String {
    let (_, rest) = text.split_once("/console/link/").unwrap_or_else(|| panic!("no link in {text}"));
    let token: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || "_-".contains(*c)).collect();
    format!("/console/link/{token}")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_start_prints_a_link_that_signs_in_once() {
    let folder = tempfile::tempdir().unwrap();
    let tandem = Tandem::on(&folder.path().join("data"));
    let running = tandem.start("serve", &[]).await;
    let mut log = running.log();
    for _ in 0..100 {
        if log.contains("/console/link/") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        log = running.log();
    }
    let link = link_in(&log);
    let browser = running.client().browsing();
    let page = browser.get(&link).await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("Welcome, Administrator"), "{}", page.text);
    let form = [("email", "root@example.org"), ("password", "correct horse")];
    let signed_in = browser.send(browser.post_page(&link, &form)).await;
    assert_eq!((signed_in.status, location(&signed_in)), (303, "/console"), "{}", signed_in.text);
    let chosen = browser.get("/console").await;
    assert_eq!((chosen.status, location(&chosen)), (303, "/console/organisations"));

    // Once.
    let stranger = running.client().browsing();
    assert_eq!(stranger.get(&link).await.status, 410);
    let again = stranger.send(stranger.post_page(&link, &[])).await;
    assert_eq!(again.status, 410, "{}", again.text);

    // The first organisation is made and worked in.
    let bad = browser.send(browser.post_page("/console/organisations", &[("name", ""), ("zone", "Mars")])).await;
    assert_eq!(bad.status, 422);
    assert!(bad.text.contains("id=\"name-error\""), "{}", bad.text);
    let made = browser.send(browser.post_page("/console/organisations", &[("name", "Acme")])).await;
    assert_eq!((made.status, location(&made)), (303, "/console"), "{}", made.text);
    assert!(browser.get("/console").await.text.contains("Acme"));
    assert_eq!(location(&browser.get("/").await), "/console", "whoever types the server's name alone");

    // Whoever signed in is an administrator: the next start prints no link, the command line does.
    let mut running = running;
    running.signal("TERM").await;
    running.ended(Duration::from_secs(20)).await;
    let before = std::fs::read_to_string(&running.log).unwrap().matches("/console/link/").count();
    let again = tandem.start_at("serve", running.http, running.sip, &[]).await;
    assert_eq!(again.log().matches("/console/link/").count(), before);
    let printed = tandem.json(&["admin", "link", "--email", "root@example.org"]).await;
    let link = link_in(printed["url"].as_str().unwrap());
    let browser = again.client().browsing();
    assert_eq!(browser.send(browser.post_page(&link, &[])).await.status, 303);
    // And the password that was set opens too.
    let browser = again.client().browsing();
    let signed_in = browser.send(browser.post_page("/console/sign-in", &form)).await;
    assert_eq!((signed_in.status, location(&signed_in)), (303, "/console"), "{}", signed_in.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_lands_in_the_outbox_and_expires() {
    let server = Plan::new().at(START_MS).start().await;
    let acme = server.org("acme").await;
    let owner = server.browser().bearing(&acme.token);
    let form = [("name", "Ann"), ("email", "ann@example.org"), ("role", "agent"), ("extension", "1001")];
    let made = owner.send(owner.post_page("/console/people/new", &form)).await;
    assert_eq!(made.status, 200, "{}", made.text);
    let shown = link_in(&made.text);
    let mails = server.app.kernel.notices(&acme.org.id, "", 10).await.unwrap();
    assert_eq!((mails.len(), mails[0].recipient.as_str()), (1, "ann@example.org"));
    assert_eq!(link_in(&mails[0].text()), shown, "the mail has the link that is shown");
    assert!(mails[0].text().contains(&format!("http://{}", server.app.http())), "{}", mails[0].text());

    server.clock().advance(INVITATION_LIFE_MS);
    let browser = server.browser();
    assert_eq!(browser.get(&shown).await.status, 410);
    // She asks for another one: the answer is the same for anybody.
    let ask = async |email: &str| browser.send(browser.post_page("/console/sign-in/link", &[("email", email)])).await;
    let (hers, nobodys) = (ask("ann@example.org").await, ask("nobody@example.org").await);
    assert_eq!((hers.status, hers.text), (200, nobodys.text));
    // The mail is written beside the answer.
    let mut mails = Vec::new();
    for _ in 0..100 {
        mails = server.app.kernel.notices(&acme.org.id, "", 10).await.unwrap();
        if mails.len() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(mails.len(), 2);
    let link = link_in(&mails[0].text());
    let short = browser.send(browser.post_page(&link, &[("password", "short")])).await;
    assert_eq!(short.status, 422, "a refused password does not use the link up");
    assert!(short.text.contains("password-error"), "{}", short.text);
    let signed_in = browser.send(browser.post_page(&link, &[("password", "correct horse")])).await;
    assert_eq!((signed_in.status, location(&signed_in)), (303, "/console"));
    let cookie = signed_in.headers["set-cookie"].to_str().unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax") && !cookie.contains("Secure"), "{cookie}");
    assert!(browser.get("/console").await.text.contains("Ann"));

    // By password, from now on.
    let later = server.browser();
    let form = [("email", "Ann@Example.org"), ("password", "correct horse"), ("next", "/console/calls")];
    let signed_in = later.send(later.post_page("/console/sign-in", &form)).await;
    assert_eq!((signed_in.status, location(&signed_in)), (303, "/console/calls"));
    let out = later.send(later.post_page("/console/sign-out", &[])).await;
    assert_eq!(location(&out), "/console/sign-in");
    assert_eq!(later.get("/console").await.status, 303);
    assert_eq!(browser.get("/console").await.status, 200, "the other browser stays");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_no_mail_address_gives_one_with_the_first_password() {
    let server = Plan::new().at(START_MS).start().await;
    let acme = server.org("acme").await;
    let owner = server.browser().bearing(&acme.token);
    for (name, email) in [("Ann", ""), ("Bob", "bob@example.org")] {
        let made = owner
            .send(owner.post_page("/console/people/new", &[("name", name), ("email", email), ("role", "member")]))
            .await;
        assert_eq!(made.status, 200, "{}", made.text);
    }
    let ann = server.app.kernel.people(&acme.org.id, "", 10).await.unwrap();
    let ann = ann.into_iter().find(|person| person.name == "Ann").unwrap();
    let whose = Identity::Person { org: ann.org, person: ann.id };
    let link = format!("/console/link/{}", server.app.kernel.create_link(&whose).await.unwrap().expose());
    let browser = server.browser();
    for (email, said) in [("", "needs a mail address"), ("bob@example.org", "is taken")] {
        let form = [("email", email), ("password", "correct horse")];
        let refused = browser.send(browser.post_page(&link, &form)).await;
        assert!(refused.status == 422 && refused.text.contains(said), "{}", refused.text);
    }
    let form = [("email", "Ann@example.org"), ("password", "correct horse")];
    assert_eq!(browser.send(browser.post_page(&link, &form)).await.status, 303);
    let later = server.browser();
    let entered = later.send(later.post_page("/console/sign-in", &[("email", "ann@example.org"), form[1]])).await;
    assert_eq!((entered.status, location(&entered)), (303, "/console"), "{}", entered.text);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_passwords_meets_a_limit() {
    let server = Plan::new().at(START_MS).start().await;
    let acme = server.org("acme").await;
    let new = calls::NewUser {
        name: "Ann".to_owned(),
        email: Some("ann@example.org".to_owned()),
        password: Some("correct horse".into()),
        ..calls::NewUser::default()
    };
    calls::create_user(&server.app.kernel, &acme.org, new).await.unwrap();
    let browser = server.browser();
    let guess = async |password: &str| {
        let form = [("email", "ann@example.org"), ("password", password)];
        browser.send(browser.post_page("/console/sign-in", &form)).await
    };
    for _ in 0..10 {
        let wrong = guess("wrong horse").await;
        assert_eq!(wrong.status, 422);
        assert!(wrong.text.contains("is wrong") && !wrong.text.contains("wrong horse"), "{}", wrong.text);
    }
    let locked = guess("correct horse").await;
    assert!(locked.status == 422 && locked.text.contains("Too many tries"), "{}", locked.text);
    server.clock().advance(60_000);
    assert_eq!(guess("correct horse").await.status, 303);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_changes_nothing_for_a_page_of_another_site() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let owner = server.app.kernel.people(&acme.org.id, "", 1).await.unwrap().remove(0);
    let browser = server.signed_in(&Identity::Person { org: owner.org, person: owner.id }).await;
    let host = server.app.http().to_string();
    let post = async |client: &Client, path: &str, headers: &[(&'static str, &str)]| {
        let mut request = form(client.request(reqwest::Method::POST, path), &[("theme", "dark")]);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        client.send(request).await.status
    };
    let same = format!("http://{host}");
    for path in ["/console/sign-in", "/console/people/new", "/v1/webhooks/secret/rotate"] {
        for foreign in [
            &[][..],
            &[("origin", "https://evil.example")],
            &[("origin", "null")],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site"), ("origin", same.as_str())],
        ] {
            assert_eq!(post(&browser, path, foreign).await, 403, "{path} {foreign:?}");
        }
        for own in [&[("origin", same.as_str())][..], &[("sec-fetch-site", "same-origin")]] {
            assert_ne!(post(&browser, path, own).await, 403, "{path} {own:?}");
        }
    }
    // The cookie reads the API too, and a program's token needs no Origin.
    browser.get("/v1/calls").await.expect(200);
    acme.client().post("/v1/webhooks/secret/rotate", &json!({})).await.expect(200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_reaches_above_oneself() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let admin = server.browser().bearing(&acme.person(kernel::Role::Admin).await);
    let owner = server.app.kernel.people(&acme.org.id, "", 1).await.unwrap().remove(0);
    let form = [("name", "Eve"), ("role", "owner")];
    let refused = admin.send(admin.post_page("/console/people/new", &form)).await;
    assert_eq!(refused.status, 422);
    assert!(refused.text.contains("role-error"), "{}", refused.text);
    for what in ["role", "link", "disable"] {
        let path = format!("/console/people/{}/{what}", owner.id);
        assert_eq!(admin.send(admin.post_page(&path, &[("role", "member")])).await.status, 403, "{what}");
    }
    // The last owner stays one, also for an administrator of the installation.
    let id = server.app.kernel.find_administrator(None).await.unwrap().id;
    let root = server.signed_in(&Identity::Administrator(id)).await;
    root.send(root.post_page(&format!("/console/organisations/{}/open", acme.org.id), &[])).await;
    let page = format!("/console/people/{}", owner.id);
    for (what, form) in [("role", &[("role", "member")][..]), ("disable", &[])] {
        let refused = root.submit(&page, &format!("{page}/{what}"), form).await;
        assert!(refused.status == 422 && refused.text.contains("needs an owner"), "{what}: {}", refused.text);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_is_written_corrected_saved_and_called() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    acme.phone("1001").await;
    let owner = server.browser().bearing(&acme.token);
    assert!(owner.get("/console/flows").await.text.contains("There is no flow yet"));
    let sample = owner.get("/console/flows/new?sample=menu").await;
    assert!(sample.text.contains("This flow runs: 4 steps"), "{}", sample.text);

    // A mistake is named at its line, live and when saved, and what was typed stays.
    let text =
        "{\n  \"flow\": [\n    {\"id\": 1, \"type\": \"play\",\n     \"text\": \"<Hello>\", \"next_step\": 9}\n  ]\n}";
    for path in ["/console/flows/check", "/console/flows/new"] {
        let refused = owner.send(owner.post_page(path, &[("name", "Hello"), ("text", text)])).await;
        assert!(refused.text.contains("data-line=\"4\"") && refused.text.contains("unknown_step"), "{}", refused.text);
    }
    let broken = owner.send(owner.post_page("/console/flows/check", &[("text", "{\n\"flow\": [}")])).await;
    assert!(broken.text.contains("data-line=\"2\""), "{}", broken.text);
    let nameless =
        owner.send(owner.post_page("/console/flows/new", &[("text", "{\"flow\":[{\"id\":1,\"type\":\"hangup\"}]}")]));
    let nameless = nameless.await;
    assert!(nameless.status == 422 && nameless.text.contains("name-error"), "{}", nameless.text);

    let good = text.replace(", \"next_step\": 9", "");
    let saved = owner.send(owner.post_page("/console/flows/new", &[("name", "Hello"), ("text", &good)])).await;
    assert_eq!(saved.status, 303, "{}", saved.text);
    let path = location(&saved).split('?').next().unwrap().to_owned();
    let page = owner.get(&path).await.text;
    assert!(page.contains("&#60;Hello&#62;") && page.contains("data-step=\"1\""), "{page}");
    let form = [("name", "Hello again"), ("text", "{\"flow\":[{\"id\":\"bye\",\"type\":\"hangup\"}]}")];
    let edit = format!("{path}/edit");
    assert_eq!(owner.submit(&edit, &edit, &form).await.status, 303);
    let page = owner.get(&path).await.text;
    assert!(page.contains("Hello again") && page.contains("Version 2") && page.contains("data-step=\"bye\""), "{page}");
    let first = owner.get(&format!("{path}?version=1")).await.text;
    assert!(first.contains("calls run version 2") && first.contains("data-step=\"1\""), "{first}");

    // Called: nobody is there, and the page says why.
    let wrong = owner.send(owner.post_page(&format!("{path}/run"), &[("to", "banana")])).await;
    assert!(wrong.status == 422 && wrong.text.contains("to-error"), "{} {}", wrong.status, wrong.text);
    let called = owner.send(owner.post_page(&format!("{path}/run"), &[("to", "1001")])).await;
    assert_eq!(called.status, 303, "{}", called.text);
    let call = location(&called).to_owned();
    let id = call.rsplit('/').next().unwrap();
    owner.until(&format!("/v1/calls/{id}"), "its end", |call| call["state"] == "completed").await;
    let page = owner.get(&call).await.text;
    assert!(page.contains("unreachable") && page.contains("No phone of the extension was registered"), "{page}");
    assert!(page.contains("call.completed") && page.contains("data-call"), "the story and the drawing: {page}");
    assert!(owner.get("/console/runs").await.text.contains("Hello again, version 2"));
    assert!(owner.get("/console/calls?number=1001").await.text.contains(id));
    assert!(!owner.get("/console/calls?number=1002").await.text.contains(id));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_form_refuses_beside_the_field_and_takes_what_is_good() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    acme.phone("1001").await;
    let person = server.app.kernel.people(&acme.org.id, "", 1).await.unwrap().remove(0);
    let (org, id) = (person.org, person.id);
    let owner = server.signed_in(&Identity::Person { org, person: id.clone() }).await;
    let extension: &'static str = format!("/console/people/{id}/extension").leak();
    // Path, bad fields, the field that is named, good fields, what the answer or the list then shows.
    type Case = (
        &'static str,
        Vec<(&'static str, &'static str)>,
        &'static str,
        Vec<(&'static str, &'static str)>,
        &'static str,
    );
    let cases: Vec<Case> = vec![
        (
            "/console/people/new",
            vec![("name", "Bo"), ("role", "member"), ("extension", "1")],
            "extension",
            vec![("name", "Bo"), ("role", "member")],
            "Link to sign in",
        ),
        (
            "/console/teams/new",
            vec![("name", "T"), ("number", "112"), ("strategy", "ring_all")],
            "number",
            vec![("name", "Service"), ("number", "5263"), ("strategy", "ring_all"), ("member", "1001")],
            "5263",
        ),
        (
            "/console/numbers/new",
            vec![("e164", "12"), ("to", "person:1001")],
            "e164",
            vec![("e164", "+442071838750"), ("to", "team:5263")],
            "team:5263",
        ),
        (
            "/console/trunks/new",
            vec![("name", "c"), ("target", "h;transport=pigeon")],
            "target",
            vec![("name", "carrier"), ("target", "192.0.2.1:5060")],
            "carrier",
        ),
        ("/console/applications/new", vec![("name", "")], "name", vec![("name", "crm"), ("scope", "flows")], "ak_"),
        (
            "/console/webhooks/new",
            vec![("url", "ftp://example.org/")],
            "url",
            vec![("url", "http://hooks.example.org/")],
            "whsec_",
        ),
        (
            "/console/settings",
            vec![("do_not_call", "banana")],
            "do_not_call",
            vec![("tariff", "0.02 EUR"), ("days_calls", "90")],
            "0.02 EUR",
        ),
        ("/console/settings", vec![("days_events", "0")], "days_events", vec![("tariff", "0.02 EUR")], "0.02 EUR"),
        ("/console/settings", vec![("tariff", "cheap")], "tariff", vec![("tariff", "0.03 EUR")], "0.03 EUR"),
        ("/console/privacy", vec![("number", "")], "number", vec![("number", "+442071838103")], "Nothing."),
        (extension, vec![("extension", "112")], "extension", vec![("extension", "1000")], "SIP password"),
        ("/console/account/tokens", vec![("label", " ")], "label", vec![("label", "report")], "pt_"),
        (
            "/console/account/password",
            vec![("password", "short")],
            "password",
            vec![("password", "correct horse")],
            "Sessions",
        ),
    ];
    for (path, bad, field, good, shown) in cases {
        // Some forms stand on the page above them.
        let above = ["/password", "/extension"].iter().find_map(|end| path.strip_suffix(end));
        let page = above.unwrap_or(path);
        let refused = owner.submit(page, path, &bad).await;
        assert_eq!(refused.status, 422, "{path} {bad:?}: {}", refused.text);
        assert!(refused.text.contains(&format!("id=\"{field}-error\"")), "{path} {bad:?}: {}", refused.text);
        let taken = owner.submit_shown(&refused.text, path, &good).await;
        let text = match taken.status {
            303 => owner.get(location(&taken)).await.text,
            200 => taken.text,
            other => panic!("{path} {good:?}: {other} {}", taken.text),
        };
        assert!(text.contains(shown), "{path} {good:?}: {text}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_of_a_number_is_exported_and_erased_and_both_are_audited() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    acme.phone("1001").await;
    let owner = server.browser().bearing(&acme.token);
    let flow = json!([{"id": 1, "type": "call", "number": "1001", "next_step": 2}, {"id": 2, "type": "hangup"}]);
    let ran = owner.post("/api/v2/call/flow", &json!({"flow": flow})).await.expect(201);
    let (call, run) = (ran["call_id"].as_str().unwrap(), ran["flow_run_id"].as_str().unwrap());
    owner.until(&format!("/v1/calls/{call}"), "its end", |call| call["state"] == "completed").await;

    let report = owner.get("/console/reports").await.text;
    assert!(report.contains("By day"), "{report}");
    let csv = owner.get("/console/reports/csv").await;
    assert!(csv.text.contains(",outbound,1,0,0.0,0.0\r\n"), "{}", csv.text);
    assert_eq!(csv.headers["content-type"], "text/csv; charset=utf-8");

    let kept = owner.send(owner.post_page("/console/privacy", &[("number", "1001")])).await;
    assert!(kept.text.contains("1 calls"), "{}", kept.text);
    let exported = owner.send(owner.post_page("/console/privacy/export", &[("number", "1001")])).await.expect(200);
    assert_eq!(exported["calls"][0]["call"]["id"], call);
    let events = exported["calls"][0]["events"].as_array().unwrap();
    assert_eq!(events.last().unwrap()["type"], "call.completed");
    let erased = owner.send(owner.post_page("/console/privacy/erase", &[("number", "1001")])).await;
    assert!(erased.text.contains("Erased: 1 calls"), "{}", erased.text);
    for gone in [format!("/v1/calls/{call}"), format!("/v1/calls/{call}/events"), format!("/api/v2/call/flow/{run}")] {
        assert_eq!(owner.get(&gone).await.status, 404, "{gone}");
    }
    let events = owner.get("/v1/events").await.text;
    assert!(!events.contains(call), "{events}");
    let audit = owner.get("/console/audit").await.text;
    assert!(audit.contains("person export") && audit.contains("person erase") && audit.contains("Owner"), "{audit}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_outbox_shows_an_admin_no_link_of_an_owner() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let admin = server.browser().bearing(&acme.person(kernel::Role::Admin).await);
    let owner = server.browser().bearing(&acme.token);
    for (name, email, role) in [("Eve", "eve@example.org", "owner"), ("Bo", "bo@example.org", "agent")] {
        let form = [("name", name), ("email", email), ("role", role)];
        assert_eq!(owner.send(owner.post_page("/console/people/new", &form)).await.status, 200);
    }
    let count = |text: &str| text.matches("/console/link/sl_").count();
    assert_eq!(count(&owner.get("/console/outbox").await.text), 2);
    let seen = admin.get("/console/outbox").await.text;
    assert!(count(&seen) == 1 && seen.contains("shown to owners only"), "{seen}");
    server.stop().await;
}
