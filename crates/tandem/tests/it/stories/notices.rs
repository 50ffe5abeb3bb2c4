//! Mail and SMS that go out: to a mail server of somebody else's with STARTTLS and a password, and to a provider that
//! takes a POST.

use std::time::Duration;

use kernel::app::NewApp;
use kernel::config::{Config, MailSecurity};
use kernel::notice::{Channel, NewNotice, Notice, State, try_provider};
use kernel::{Scope, Secret};
use reqwest::Method;
use serde_json::{Value, json};

use super::console::{link_in, location};
use crate::harness::client::Client;
use crate::harness::postbox::{PASSWORD, Postbox, USER};
use crate::harness::process::Tandem;
use crate::harness::server::{Plan, Server};
use crate::harness::stub::Stub;

/// When the clock of these stories begins: 2026-11-21T00:00:00Z.
const START_MS: i64 = 1_795_219_200_000;

fn by_mail(config: &mut Config, postbox: &Postbox) {
    config.egress.ca_file = Some(postbox.cert.clone());
    config.mail.server = Some(postbox.address.clone());
    config.mail.user = Some(USER.to_owned());
    config.mail.password = Some(Secret::from(PASSWORD));
    config.mail.from = Some("Tandem <calls@example.org>".to_owned());
}

/// Waits until the newest notice of an organisation is as it should be.
async fn newest(server: &Server, org: &str, what: &str, good: impl Fn(&Notice) -> bool) -> Notice {
    let mut last = None;
    for _ in 0..400 {
        last = server.app.kernel.notices(org, "", 1).await.unwrap().pop();
        if let Some(notice) = last.as_ref().filter(|notice| good(notice)) {
            return notice.clone();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{what}: {last:?}")
}

async fn invite(owner: &Client, name: &str, email: &str) {
    let form = [("name", name), ("email", email), ("role", "agent")];
    let made = owner.send(owner.post_page("/console/people/new", &form)).await;
    assert_eq!(made.status, 200, "{}", made.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_and_a_forgotten_password_go_by_mail() {
    let folder = tempfile::tempdir().unwrap();
    let mut postbox = Postbox::start(folder.path()).await;
    let server = Plan::new().at(START_MS).with(|config| by_mail(config, &postbox)).start().await;
    let acme = server.org_called("acme", "Acme: Bcc: eve@example.org").await;
    let owner = server.browser().bearing(&acme.token);
    invite(&owner, "Ann", "ann@example.org").await;

    let mail = postbox.next().await;
    assert_eq!((&mail["to"], &mail["tls"], &mail["user"]), (&json!(["ann@example.org"]), &json!(true), &json!(USER)));
    let headers = &mail["headers"];
    assert_eq!(headers["from"], "Tandem <calls@example.org>");
    assert_eq!(headers["to"], "ann@example.org");
    assert!(headers["subject"].as_str().unwrap().starts_with("Your invitation to "), "{headers}");
    assert!(headers.get("bcc").is_none() && headers["auto-submitted"] == "auto-generated", "{headers}");
    let invitation = link_in(mail["text"].as_str().unwrap());
    let sent = newest(&server, &acme.org.id, "sent", |notice| notice.state == State::Sent).await;
    assert_eq!(sent.sent_at, Some(START_MS));
    let page = owner.get("/console/outbox").await.text;
    assert!(
        page.contains("sent") && !page.contains("/console/link/sl_") && page.contains("(the link was sent)"),
        "{page}"
    );

    let ann = server.browser();
    let signed_in = ann.send(ann.post_page(&invitation, &[("password", "correct horse")])).await;
    assert_eq!((signed_in.status, location(&signed_in)), (303, "/console"));

    // She forgets it: the answer is the same for anybody, and only she gets a mail.
    let later = server.browser();
    assert!(later.get("/console/sign-in").await.text.contains("Forgot the password?"));
    let ask = async |email: &str| later.send(later.post_page("/console/sign-in/link", &[("email", email)])).await;
    let (nobodys, hers) = (ask("nobody@example.org").await, ask("Ann@Example.org").await);
    assert_eq!((hers.status, &hers.text), (200, &nobodys.text));
    assert!(!hers.text.contains("outbox"), "{}", hers.text);
    let mail = postbox.next().await;
    assert_eq!(
        (&mail["to"], &mail["headers"]["subject"]),
        (&json!(["ann@example.org"]), &json!("Your link to sign in"))
    );
    let link = link_in(mail["text"].as_str().unwrap());
    let signed_in = later.send(later.post_page(&link, &[("password", "battery staple")])).await;
    assert_eq!((signed_in.status, location(&signed_in)), (303, "/console"));
    assert_eq!(ann.get("/console").await.status, 303, "the new password ended the other session");

    // Too often is refused, for somebody and nobody alike.
    for email in ["ann@example.org", "nobody@example.org"] {
        let mut refused = None;
        for _ in 0..10 {
            let answer = ask(email).await;
            if answer.status == 422 {
                refused = Some(answer.text);
                break;
            }
        }
        assert!(refused.unwrap_or_else(|| panic!("{email}: no limit")).contains("Too many links"), "{email}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_greylisted_mail_is_tried_again_and_one_to_nobody_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let mut postbox = Postbox::start(folder.path()).await;
    let server = Plan::new().at(START_MS).with(|config| by_mail(config, &postbox)).start().await;
    let acme = server.org("acme").await;
    let owner = server.browser().bearing(&acme.token);

    invite(&owner, "Lee", "later@example.org").await;
    let waits = newest(&server, &acme.org.id, "waits", |notice| notice.attempts == 1).await;
    assert_eq!((waits.state, waits.due_at), (State::Pending, START_MS + 10_000));
    assert!(waits.reason.as_deref().unwrap().contains("greylisted"), "{waits:?}");
    let page = owner.get("/console/outbox").await.text;
    assert!(page.contains("Tried 1 times, again 2026-11-21T00:00:10") && page.contains("greylisted"), "{page}");
    server.clock().advance(10_000);
    assert_eq!(postbox.next().await["to"], json!(["later@example.org"]));
    newest(&server, &acme.org.id, "sent", |notice| notice.state == State::Sent && notice.attempts == 2).await;

    invite(&owner, "Gus", "gone@example.org").await;
    let failed = newest(&server, &acme.org.id, "failed", |notice| notice.state == State::Failed).await;
    assert!(failed.reason.as_deref().unwrap().contains("there is nobody of that name"), "{failed:?}");
    let again = format!("/console/outbox/{}/again", failed.id);
    let page = owner.get("/console/outbox").await.text;
    assert!(page.contains("Not sent:") && page.matches(&again).count() == 1, "{page}");
    let member = server.browser().bearing(&acme.person(kernel::Role::Member).await);
    assert_eq!(member.send(member.post_page(&again, &[])).await.status, 403);
    let beta = server.org("beta").await;
    let stranger = server.browser().bearing(&beta.token);
    assert_eq!(stranger.send(stranger.post_page(&again, &[])).await.status, 404);
    let asked = owner.send(owner.post_page(&again, &[])).await;
    assert_eq!((asked.status, location(&asked)), (303, "/console/outbox?done=sent"));
    let failed = newest(&server, &acme.org.id, "again", |n| n.state == State::Failed && n.attempts == 1).await;
    assert_eq!(failed.attempts, 1, "tried anew, and refused anew");

    // A link that is not good any more is not sent: the door stays shut.
    server.clock().advance(kernel::sign_in::INVITATION_LIFE_MS);
    assert!(!owner.get("/console/outbox").await.text.contains(&again));
    assert_eq!(owner.send(owner.post_page(&again, &[])).await.status, 422);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_was_taken_and_not_marked_is_sent_again_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut postbox = Postbox::start(folder.path()).await;
    let tandem = Tandem::on(&folder.path().join("data"));
    let settings = format!(
        "[egress]\nca_file = {:?}\n[mail]\nserver = {:?}\nuser = {USER:?}\npassword = {PASSWORD:?}\n\
         from = \"calls@example.org\"\n",
        postbox.cert, postbox.address
    );
    std::fs::create_dir(folder.path().join("data")).unwrap();
    std::fs::write(folder.path().join("data/tandem.toml"), settings).unwrap();
    tandem.json(&["org", "create", "Acme", "--slug", "acme"]).await;
    tandem.json(&["user", "create", "Ann", "--org", "acme", "--email", "hang@example.org"]).await;
    let running = tandem.start("serve", &[]).await;
    let browser = running.client().browsing();
    let asked = browser.send(browser.post_page("/console/sign-in/link", &[("email", "hang@example.org")])).await;
    assert_eq!(asked.status, 200, "{}", asked.text);
    let first = postbox.next().await;
    let (http, sip) = (running.http, running.sip);
    running.kill().await;

    let running = tandem.start_at("serve", http, sip, &[]).await;
    let second = postbox.next().await;
    assert_eq!(first["headers"]["message-id"], second["headers"]["message-id"], "whoever got both sees one");
    assert_eq!(first["text"], second["text"]);
    let browser = running.client().browsing();
    let link = link_in(second["text"].as_str().unwrap());
    assert_eq!(browser.send(browser.post_page(&link, &[])).await.status, 303);
    let mut page = String::new();
    for _ in 0..200 {
        page = browser.get("/console/outbox").await.text;
        if page.contains("(the link was sent)") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(page.contains("(the link was sent)"), "{page}");
    let log = running.log();
    assert!(log.contains("a notice is sent"), "{log}");
    assert!(!log.contains(PASSWORD) && !log.contains(link.rsplit('/').next().unwrap()), "{log}");
}

fn by_sms(config: &mut Config, stub: &Stub) {
    config.egress.allow.push(stub.address.to_string());
    config.sms.url = Some(stub.url("/sms"));
    config.sms.from = Some("+15005550006".to_owned());
}

async fn send_sms(server: &Server, org: &str, to: &str, text: &str) {
    let kernel = &server.app.kernel;
    let write = kernel.notice_write(org, NewNotice::sms(to, text)).unwrap();
    kernel.db.writer().commit(vec![write]).await.unwrap();
    // Ids are in the order of time, not within one millisecond.
    server.clock().advance(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_sms_is_posted_as_a_form_tried_again_and_given_up_when_it_is_refused() {
    let stub = Stub::start().await;
    let change = |config: &mut Config| {
        by_sms(config, &stub);
        config.sms.user = Some("AC1".to_owned());
        config.sms.password = Some(Secret::from("hunter2"));
    };
    let server = Plan::new().at(START_MS).with(change).start().await;
    let acme = server.org("acme").await;
    let org = &acme.org.id;
    stub.answer("/sms", 503, "busy");
    send_sms(&server, org, "+442071838750", "Hello & goodbye").await;
    let waits = newest(&server, org, "waits", |notice| notice.attempts == 1).await;
    assert_eq!((waits.state, waits.reason.as_deref()), (State::Pending, Some("the provider answered 503: busy")));
    stub.answer("/sms", 201, "{}");
    server.clock().advance(10_000);
    newest(&server, org, "sent", |notice| notice.state == State::Sent).await;
    let asked = stub.asked();
    assert_eq!(asked.len(), 2);
    for request in &asked {
        assert_eq!(request.method, Method::POST);
        assert_eq!(request.body, b"To=%2B442071838750&From=%2B15005550006&Body=Hello+%26+goodbye");
        assert_eq!(request.headers["content-type"], "application/x-www-form-urlencoded");
        assert_eq!(request.headers["authorization"], "Basic QUMxOmh1bnRlcjI=");
        assert_eq!(request.headers["idempotency-key"], waits.id.as_str());
    }

    stub.answer("/sms", 400, "{\"code\": 21211}");
    send_sms(&server, org, "+442071838751", "Hello").await;
    let failed = newest(&server, org, "failed", |notice| notice.state == State::Failed).await;
    assert!(failed.reason.unwrap().contains("21211"));
    send_sms(&server, org, "1001", "Hello").await;
    let failed = newest(&server, org, "failed", |n| n.state == State::Failed && n.recipient == "1001").await;
    assert!(failed.reason.unwrap().contains("not an international number"));
    assert_eq!(stub.asked().len(), 3, "what is no number is not posted");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_sms_is_posted_as_json_after_the_operator_s_template() {
    let stub = Stub::start().await;
    let change = |config: &mut Config| {
        by_sms(config, &stub);
        config.sms.token = Some(Secret::from("key"));
        config.sms.json = Some(r#"{"recipients": ["{to}"], "sender": "{from}", "message": "{text}"}"#.to_owned());
    };
    let server = Plan::new().at(START_MS).with(change).start().await;
    let acme = server.org("acme").await;
    send_sms(&server, &acme.org.id, "+442071838750", "\"}{to}\\").await;
    let asked = stub.request("/sms").await;
    let expected: Value = json!({"recipients": ["+442071838750"], "sender": "+15005550006", "message": "\"}{to}\\"});
    assert_eq!(asked.json(), expected);
    assert_eq!(asked.headers["authorization"], "Bearer key");
    newest(&server, &acme.org.id, "sent", |notice| notice.state == State::Sent).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_asks_those_who_carry_mail_and_sms() {
    let folder = tempfile::tempdir().unwrap();
    let postbox = Postbox::start(folder.path()).await;
    let stub = Stub::start().await;
    let mut config = Config::default();
    assert!(
        try_provider(Channel::Mail, &config).await.is_none() && try_provider(Channel::Sms, &config).await.is_none()
    );
    by_mail(&mut config, &postbox);
    by_sms(&mut config, &stub);
    let mail = async |config: &Config| try_provider(Channel::Mail, config).await.unwrap();
    assert!(mail(&config).await.unwrap().contains("(starttls) answers"));
    let wrong = Config {
        mail: kernel::config::MailConfig { password: Some("wrong".into()), ..config.mail.clone() },
        ..config.clone()
    };
    let refused = mail(&wrong).await.unwrap_err();
    assert!(refused.contains("535") && !refused.contains("wrong"), "{refused}");
    let untrusted =
        Config { egress: kernel::config::EgressConfig { ca_file: None, ..config.egress.clone() }, ..config.clone() };
    let refused = mail(&untrusted).await.unwrap_err();
    assert!(refused.to_lowercase().contains("certificate"), "{refused}");
    let tls = Config {
        mail: kernel::config::MailConfig { security: MailSecurity::Tls, ..config.mail.clone() },
        ..config.clone()
    };
    assert!(mail(&tls).await.is_err(), "it speaks no TLS from the start");

    let sms = async |config: &Config| try_provider(Channel::Sms, config).await.unwrap();
    assert!(sms(&config).await.unwrap().contains("answers (200)"));
    stub.answer("/sms", 401, "{}");
    assert!(sms(&config).await.unwrap_err().contains("credentials"));
    assert!(stub.asked().iter().all(|asked| asked.method == Method::GET), "nothing is sent");
    config.egress.allow.clear();
    assert!(sms(&config).await.unwrap_err().contains("egress.allow"));
}

#[tokio::test(flavor = "multi_thread")]
async fn both_are_reminded_of_their_meeting_with_a_link_and_without_a_number() {
    let folder = tempfile::tempdir().unwrap();
    let mut postbox = Postbox::start(folder.path()).await;
    let stub = Stub::start().await;
    let change = |config: &mut Config| {
        by_mail(config, &postbox);
        by_sms(config, &stub);
    };
    let server = Plan::new().at(START_MS).with(change).start().await;
    let acme = server.org("acme").await;
    let settings = vec![("remind_before_s".to_owned(), "900".to_owned())];
    let new = NewApp { name: "shop".to_owned(), scopes: vec![Scope::Meetings], settings };
    let (_, key) = server.app.kernel.create_app(&acme.org.id, new).await.unwrap();
    let app = server.client().bearing(key.expose());
    let order = json!({
        "user": {"uid_caller": "1", "uid_receiver": "2"},
        "meeting": {"order_id": "551", "duration": 30, "start_at": "2026-11-21T01:00:00Z"},
        "caller": {"name": "Ann", "number": "+447700900123", "email": "ann@example.org"},
        "receiver": {"name": "Ben", "number": "+447700900456"},
    });
    app.post("/api/v1/meetings", &order).await.expect(200);
    server.clock().set(START_MS + 45 * 60_000);

    let mail = postbox.next().await;
    assert_eq!(
        (&mail["to"], &mail["headers"]["subject"]),
        (&json!(["ann@example.org"]), &json!("Your meeting begins soon"))
    );
    let sms = stub.request("/sms").await;
    let sms: Vec<(String, String)> = url::form_urlencoded::parse(&sms.body).into_owned().collect();
    assert_eq!(sms[0], ("To".to_owned(), "+447700900456".to_owned()));
    for (text, other) in [(mail["text"].as_str().unwrap(), "Ben"), (sms[2].1.as_str(), "Ann")] {
        assert!(text.contains(&format!("with {other} begins at 01:00")) && !text.contains("7700900"), "{text}");
        let (_, token) = text.split_once("/m/").unwrap();
        let page = format!("/m/{}", token.split_whitespace().next().unwrap());
        let (first, second) = (server.browser(), server.browser());
        let entered = first.submit(&page, &page, &[]).await;
        assert_eq!((entered.status, location(&entered)), (303, "/meetings"), "{}", entered.text);
        assert_eq!(second.submit(&page, &page, &[]).await.status, 410, "once");
    }
    assert_eq!(stub.asked().len(), 1, "one notice each");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_text_message_goes_where_no_call_may_go() {
    let server = Plan::new().at(START_MS).start().await;
    let acme = server.org("acme").await;
    let rules = json!({"dial_only": ["+44", "+447700900003"], "do_not_call": ["+447700900002"]});
    acme.client().patch("/v1/org/settings", &rules).await.expect(200);
    let settings = vec![("remind_before_s".to_owned(), "900".to_owned())];
    let new = NewApp { name: "shop".to_owned(), scopes: vec![Scope::Meetings], settings };
    let (_, key) = server.app.kernel.create_app(&acme.org.id, new).await.unwrap();
    let app = server.client().bearing(key.expose());
    // Allowed; unwanted; premium; abroad; by mail. The caller's name holds its number.
    let receivers = [
        json!({"number": "+447700900001"}),
        json!({"number": "+447700900002"}),
        json!({"number": "+449012345678"}),
        json!({"number": "+33123456789"}),
        json!({"number": "+33123456789", "email": "ben@example.org"}),
    ];
    for (n, receiver) in receivers.into_iter().enumerate() {
        let order = json!({
            "user": {"uid_caller": "1", "uid_receiver": format!("2{n}")},
            "meeting": {"order_id": n, "duration": 30, "start_at": "2026-11-22T01:00:00Z"},
            "caller": {"name": "Ann 4915112345678", "number": "+4915112345678", "call_type": "Browser"},
            "receiver": receiver,
        });
        let id = app.post("/api/v1/meetings", &order).await.expect(200)["meeting_id"].clone();
        app.post(&format!("/v1/meetings/{id}/cancel"), &json!({})).await.expect(200);
    }
    let notices = server.app.kernel.notices(&acme.org.id, "", 100).await.unwrap();
    let mut told: Vec<&str> = notices.iter().map(|notice| notice.recipient.as_str()).collect();
    told.sort_unstable();
    assert_eq!(told, ["+447700900001", "ben@example.org"]);
    for notice in &notices {
        assert!(!notice.text().contains("15112345678"), "{}", notice.text());
    }
    server.stop().await;
}
