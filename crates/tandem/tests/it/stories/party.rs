//! Parties of meetings at the door: how they come in, what refuses them, and what their pages do and do not show.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::client::{Client, Reply, form, unescaped};
use crate::harness::meeting::{Application, enter, party};
use crate::harness::process::Tandem;
use crate::harness::server::{Plan, Server};

/// When the clock of these stories begins: 2026-11-21T00:00:00Z.
const START_MS: i64 = 1_795_219_200_000;
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// The line of the party's cookie.
fn cookie(reply: &Reply) -> Option<String> {
    let lines = reply.headers.get_all("set-cookie").iter().map(|line| line.to_str().unwrap().to_owned());
    lines.into_iter().find(|line| line.starts_with("tandem_party="))
}

/// The form of the page that posts to `action`, as a browser sends it.
async fn press(browser: &Client, action: &str, fields: &[(&str, &str)]) -> Reply {
    browser.submit("/meetings", action, fields).await
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_at_a_link_signs_nobody_in_and_tells_nobody_where_it_came_from() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let shop = Application::of(&acme, &server, "Shop", &[]).await;
    let ordered = shop.orders(json!({})).await;
    let browser = server.browser();
    let page = browser.get(&format!("/sessions?acc_tok={}", ordered.caller)).await;
    assert_eq!((page.status, cookie(&page)), (200, None), "{}", page.text);
    assert_eq!(page.headers["referrer-policy"], "no-referrer");
    assert_eq!(page.headers["cache-control"], "no-store");
    assert!(page.headers["content-security-policy"].to_str().unwrap().contains("script-src 'self'"));
    assert!(!page.text.contains("<script>") && !page.text.contains(" on"), "nothing inline: {}", page.text);
    let nobody = browser.get("/meetings").await;
    assert_eq!(nobody.status, 401, "{}", nobody.text);
    assert!(nobody.text.contains("You are not signed in"), "{}", nobody.text);

    let entered = browser.submit_shown(&page.text, "/sessions", &[]).await;
    assert_eq!((entered.status, &entered.headers["location"]), (303, &"/meetings".parse().unwrap()));
    assert_eq!(entered.headers["referrer-policy"], "no-referrer");
    assert_eq!(browser.get("/meetings").await.status, 200);
    assert_eq!(browser.get("/sessions").await.status, 401, "a link without its token");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_taken_from_query_form_and_json_alike_and_each_makes_a_new_session() {
    let plan = Plan::new().with(|config| config.trusted_proxy = vec!["127.0.0.1/32".parse().unwrap()]);
    let server = plan.start().await;
    let acme = server.org("acme").await;
    let shop = Application::of(&acme, &server, "Shop", &[]).await;
    let token = shop.orders(json!({})).await.receiver;
    let client = server.browser();
    let post = |path: &str| client.request(Method::POST, path);
    let mut sessions = Vec::new();
    for request in [
        post(&format!("/sessions?acc_tok={token}")),
        form(post("/sessions"), &[("acc_tok", &token)]),
        form(post("/sessions"), &[("session[acc_tok]", &token)]),
        post("/sessions").json(&json!({ "acc_tok": token })),
        post("/sessions").json(&json!({"session": {"acc_tok": token}})),
        // From the application's own page, which is another site.
        form(post("/sessions").header("origin", "https://shop.example.org"), &[("acc_tok", &token)]),
    ] {
        let reply = client.send(request).await;
        assert_eq!((reply.status, &reply.headers["location"]), (303, &"/meetings".parse().unwrap()), "{}", reply.text);
        let line = cookie(&reply).expect("a cookie");
        for part in ["; Path=/", "; HttpOnly", "; SameSite=Lax", "; Max-Age="] {
            assert!(line.contains(part), "{part} in {line}");
        }
        assert!(!line.contains("Secure"), "{line}");
        assert!(client.get("/meetings").await.text.contains("Ann Carter"));
        sessions.push(line.split(';').next().unwrap().to_owned());
    }
    sessions.sort_unstable();
    sessions.dedup();
    assert_eq!(sessions.len(), 6, "each sign-in has a session of its own");
    let by_https = post("/sessions").json(&json!({ "acc_tok": token })).header("x-forwarded-proto", "https");
    assert!(cookie(&client.send(by_https).await).unwrap().contains("; Secure"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_changed_foreign_expired_or_called_off_signs_nobody_in() {
    let server = Plan::new().at(START_MS).start().await;
    let elsewhere = Plan::new().at(START_MS).start().await;
    let acme = server.org("acme").await;
    let shop = Application::of(&acme, &server, "Shop", &[]).await;
    let good = shop.orders(json!({})).await;
    let other_server = {
        let acme = elsewhere.org("acme").await;
        Application::of(&acme, &elsewhere, "Shop", &[]).await.orders(json!({})).await.caller
    };
    let called_off = shop.orders(json!({"meeting": {"order_id": "552"}})).await;
    shop.client.post(&format!("/v1/meetings/{}/cancel", called_off.id), &json!({})).await.expect(200);
    let mut changed = good.caller.clone();
    let last = if changed.pop() == Some('A') { 'B' } else { 'A' };
    changed.push(last);

    let refuse = async |token: &str, word: &str| {
        let browser = server.browser();
        let page = enter(&browser, token).await;
        assert!((400..500).contains(&page.status) && cookie(&page).is_none(), "{} {token}", page.status);
        assert!(page.text.contains(word), "{word} in {}", page.text);
        let json = browser.post("/sessions", &json!({ "acc_tok": token })).await;
        assert!((400..500).contains(&json.status) && cookie(&json).is_none(), "{} {token}", json.status);
        assert!(json.json()["code"].as_str().unwrap().starts_with("sign_in_"), "{}", json.text);
        assert_eq!(browser.get("/meetings").await.status, 401);
    };
    let not_ours = "This link does not work";
    for token in [
        "",
        "t1.",
        "nonsense",
        "BAhJIggxMjMGOgZFVA==--45a45db915efc4dd9e79e15c6d7cc54cca9be868",
        &changed,
        &other_server,
    ] {
        refuse(token, not_ours).await;
    }
    for token in [&called_off.caller, &called_off.receiver] {
        refuse(token, "its meeting was cancelled").await;
    }
    assert_eq!(enter(&server.browser(), &good.caller).await.status, 303, "the other meeting's is good");
    // 30 minutes of meeting and a day.
    server.clock().advance(DAY_MS + HOUR_MS / 2 + 1_000);
    refuse(&good.caller, "until a day after the meeting").await;
    elsewhere.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_line_of_the_log_holds_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let tandem = Tandem::on(&folder.path().join("data"));
    let running = tandem.start("serve", &["--log", "trace"]).await;
    tandem.json(&["org", "create", "Acme", "--slug", "acme"]).await;
    let app = tandem.json(&["app", "create", "Shop", "--org", "acme"]).await;
    let shop = running.client().bearing(app["api_key"].as_str().unwrap());
    let order = crate::harness::meeting::order(json!({}));
    let answer = shop.post("/api/v1/meetings", &order).await.expect(200);
    let token = answer["encrypted_caller_id"].as_str().unwrap().to_owned();
    let browser = running.client().browsing();
    browser.get(&format!("/sessions?acc_tok={token}")).await;
    browser.send(browser.request(Method::POST, &format!("/sessions?acc_tok={token}x"))).await;
    let entered = browser.send(browser.request(Method::POST, &format!("/sessions?acc_tok={token}"))).await;
    let session = cookie(&entered).expect("a cookie");
    let session = session.split(';').next().unwrap().trim_start_matches("tandem_party=").to_owned();
    assert_eq!(browser.get("/meetings").await.status, 200);
    let log = std::fs::read_to_string(&running.log).unwrap();
    assert!(log.contains("/sessions") && log.contains("/meetings"), "the log tells of the requests");
    let heart = &token[token.len() / 2..];
    for secret in [heart, session.as_str()] {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "a secret stands in the log");
    }
    running.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_applications_with_the_same_people_see_nothing_of_each_other() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let shop = Application::of(&acme, &server, "Shop", &[]).await;
    let clinic = Application::of(&acme, &server, "Clinic", &[]).await;
    let of_shop = shop.orders(json!({})).await;
    let of_clinic = clinic.orders(json!({"receiver": {"name": "Doctor Who"}})).await;
    assert_ne!(of_shop.id, of_clinic.id);
    let (in_shop, in_clinic) = (party(&server, &of_shop.caller).await, party(&server, &of_clinic.caller).await);
    let (shop_page, clinic_page) = (in_shop.get("/meetings").await.text, in_clinic.get("/meetings").await.text);
    assert!(shop_page.contains("Tommy Lee") && !shop_page.contains("Doctor Who"), "{shop_page}");
    assert!(clinic_page.contains("Doctor Who") && !clinic_page.contains("Tommy Lee"), "{clinic_page}");
    // Neither reaches the other's meeting, by address or by form.
    assert_eq!(in_shop.get(&format!("/meetings/{}/calendar.ics", of_clinic.id)).await.status, 404);
    let action = format!("/meetings/{}/cancel", of_shop.id);
    let foreign = shop_page.replace(&action, &format!("/meetings/{}/cancel", of_clinic.id));
    let refused = in_shop.submit_shown(&foreign, &format!("/meetings/{}/cancel", of_clinic.id), &[]).await;
    assert_eq!(refused.status, 404, "{}", refused.text);
    // Nor do two people of one application: a third one's meeting is nobody else's.
    let more =
        shop.orders(json!({"user": {"uid_caller": "eve", "uid_receiver": "joe"}, "receiver": {"name": "Joe"}})).await;
    assert!(!in_shop.get("/meetings").await.text.contains("Joe"));
    assert_eq!(in_shop.get(&format!("/meetings/{}/calendar.ics", more.id)).await.status, 404);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_holds_no_number_and_its_forms_work_for_whom_it_was_made_only() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let shop = Application::of(&acme, &server, "Shop", &[]).await;
    let ordered = shop
        .orders(json!({
            "caller": {"name": "Ann +41 44 668 18 01", "number": "+41446681801", "call_type": "Phone"},
            "receiver": {"number": "+442079460123", "call_type": "Phone"},
        }))
        .await;
    let (ann, tom) = (party(&server, &ordered.caller).await, party(&server, &ordered.receiver).await);
    let (of_ann, of_tom) = (ann.get("/meetings").await.text, tom.get("/meetings").await.text);
    for (page, numbers) in [(&of_ann, ["442079460123", "79460123"]), (&of_tom, ["41446681801", "668 18 01"])] {
        assert!(numbers.iter().all(|number| !page.contains(number)), "{page}");
    }
    let calendar = tom.get(&format!("/meetings/{}/calendar.ics", ordered.id)).await;
    assert!(calendar.headers["content-type"].to_str().unwrap().starts_with("text/calendar"));
    assert!(calendar.text.contains("BEGIN:VEVENT") && !calendar.text.contains("668"), "{}", calendar.text);

    let finish = format!("/meetings/{}/finish", ordered.id);
    // From another site, and from a page that was made for the other.
    let fields = [("for", "0000")];
    let foreign = form(tom.request(Method::POST, &finish).header("origin", "https://evil.example"), &fields);
    let foreign = tom.send(foreign).await;
    assert_eq!((foreign.status, foreign.headers.contains_key("set-cookie")), (403, false), "{}", foreign.text);
    let mixed_up = tom.submit_shown(&of_ann, &finish, &[]).await;
    assert!(mixed_up.status == 409 && mixed_up.text.contains("Somebody else is signed in"), "{}", mixed_up.text);
    let part = tom.get("/meetings/cards?for=0000").await;
    assert_eq!(part.status, 409);
    assert!(tom.get("/meetings").await.text.contains("You can call now"), "nothing has changed");

    let done = press(&tom, &finish, &[]).await;
    assert_eq!(done.status, 303, "{}", done.text);
    let page = ann.get("/meetings").await.text;
    assert!(page.contains("data-phase=\"ended\"") && page.contains("Ended"), "{page}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_time_is_proposed_declined_proposed_again_and_agreed_to() {
    let server = Plan::new().at(START_MS).start().await;
    let acme = server.org("acme").await;
    let shop = Application::of(&acme, &server, "Shop", &[("time_zone", "Europe/Kyiv")]).await;
    let ordered = shop.orders(json!({"meeting": {"start_at": "22-11-2026 17:00"}})).await;
    let (ann, tom) = (party(&server, &ordered.caller).await, party(&server, &ordered.receiver).await);
    let page = ann.get("/meetings").await.text;
    let words =
        ["Coming up", "Sunday 22 November 2026", "17:00", "17:30", "Europe/Kyiv", "Opens at", "16:55", ", in 38 hours"];
    for words in words {
        assert!(unescaped(&page).contains(words), "{words} in {page}");
    }
    let act = |word: &str| format!("/meetings/{}/{word}", ordered.id);
    let time = [("zone", "Europe/London"), ("start", "2026-11-23T09:00"), ("minutes", "20")];
    let past = [("zone", "Europe/London"), ("start", "2026-11-20T09:00"), ("minutes", "20")];
    for (fields, status, word) in [
        (past, 409, "That time is over already"),
        ([("zone", "Europe/London"), ("start", "tomorrow"), ("minutes", "20")], 422, "Choose a date and a time"),
        ([("zone", "Mars/Base"), ("start", "2026-11-23T09:00"), ("minutes", "20")], 422, "The time zone is not known"),
        ([("zone", "Europe/London"), ("start", "2026-11-23T09:00"), ("minutes", "0")], 422, "how many minutes"),
    ] {
        // A field that a form has and a visitor fills in comes once.
        let page = ann.get("/meetings").await.text;
        let mark = page.split("data-mark=\"").nth(1).unwrap().split('"').next().unwrap();
        let fields: Vec<(&str, &str)> = fields.into_iter().chain([("for", mark)]).collect();
        let refused = ann.send(ann.post_page(&act("propose"), &fields)).await;
        assert!(refused.status == status && refused.text.contains(word), "{status} {word}: {}", refused.text);
    }
    let propose = async |browser: &Client| {
        let page = browser.get("/meetings").await.text;
        let mark = page.split("data-mark=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        let fields: Vec<(&str, &str)> = time.into_iter().chain([("for", &*mark)]).collect();
        let reply = browser.send(browser.post_page(&act("propose"), &fields)).await;
        assert_eq!(reply.status, 303, "{}", reply.text);
    };
    propose(&ann).await;
    assert!(ann.get("/meetings").await.text.contains("You proposed another time, and Tommy Lee has not answered yet"));
    let asked = tom.get("/meetings").await.text;
    assert!(asked.contains("Ann Carter proposes another time") && asked.contains("20 minutes"), "{asked}");
    assert_eq!(press(&tom, &act("decline"), &[]).await.status, 303);
    assert!(!ann.get("/meetings").await.text.contains("proposed"));
    propose(&ann).await;
    let agreed = press(&tom, &act("confirm"), &[]).await;
    assert_eq!(
        (agreed.status, agreed.headers["location"].to_str().unwrap()),
        (303, &*format!("/meetings?done=moved#m{}", ordered.id))
    );
    // 9:00 in London is 11:00 in Kyiv.
    let moved = ann.get("/meetings").await.text;
    assert!(moved.contains("Monday 23 November") && moved.contains("11:00") && moved.contains("11:20"), "{moved}");

    // Whoever calls by a page of before is told.
    let mark = moved.split("data-mark=\"").nth(1).unwrap().split('"').next().unwrap();
    let early = ann.send(ann.post_page(&act("call"), &[("for", mark)])).await;
    assert!(early.status == 409 && early.text.contains("the meeting may have been moved meanwhile"), "{}", early.text);
    let called_off = press(&tom, &act("cancel"), &[]).await;
    assert_eq!(called_off.status, 303, "{}", called_off.text);
    for browser in [&ann, &tom] {
        let page = browser.get("/meetings").await;
        assert_eq!(page.status, 200, "who has cancelled a meeting is not signed out by it");
        assert!(page.text.contains("Cancelled") && page.text.contains("Past"), "{}", page.text);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_answers_a_proposal_of_before_is_shown_the_one_that_stands() {
    let server = Plan::new().at(START_MS).start().await;
    let acme = server.org("acme").await;
    let shop = Application::of(&acme, &server, "Shop", &[]).await;
    let ordered = shop.orders(json!({"meeting": {"start_at": "22-11-2026 17:00"}})).await;
    let (ann, tom) = (party(&server, &ordered.caller).await, party(&server, &ordered.receiver).await);
    let act = |word: &str| format!("/meetings/{}/{word}", ordered.id);
    let time = |start| [("zone", "UTC"), ("start", start), ("minutes", "20")];
    assert_eq!(press(&ann, &act("propose"), &time("2026-11-23T09:00")).await.status, 303);
    let read = tom.get("/meetings").await.text;
    // She takes it back, and proposes another one, while he reads.
    assert_eq!(press(&ann, &act("decline"), &[]).await.status, 303);
    assert_eq!(press(&ann, &act("propose"), &time("2026-11-24T03:00")).await.status, 303);
    for word in ["confirm", "decline"] {
        let late = tom.submit_shown(&read, &act(word), &[]).await;
        let told = late.status == 409 && late.text.contains("Another time is proposed meanwhile");
        assert!(told && late.text.contains("24 November"), "{word}: {}", late.text);
    }
    let meeting = shop.client.get(&format!("/v1/meetings/{}", ordered.id)).await.expect(200);
    assert_eq!(
        (&meeting["starts_at"], &meeting["proposal"]["starts_at"]),
        (&json!("2026-11-22T17:00:00.000Z"), &json!("2026-11-24T03:00:00.000Z"))
    );
    assert_eq!(press(&tom, &act("confirm"), &[]).await.status, 303, "the one that stands");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_holds_the_number_is_told_to_its_owner_only() {
    let server = Plan::new().at(START_MS).start().await;
    let acme = server.org("acme").await;
    let shop = Application::of(&acme, &server, "Shop", &[]).await;
    let called = json!({"name": "Ann 07700 900123", "number": "+447700900123"});
    let ordered = shop.orders(json!({ "caller": called })).await;
    let (ann, tom) = (party(&server, &ordered.caller).await, party(&server, &ordered.receiver).await);
    let path = format!("/v1/meetings/{}", ordered.id);
    for path in [&*path, "/v1/meetings", "/meetings"] {
        let shown = tom.get(path).await;
        assert!(shown.status == 200 && !shown.text.contains("900123"), "{path}: {}", shown.text);
    }
    assert_eq!(tom.get(&path).await.expect(200)["caller"]["name"], "");
    assert_eq!(ann.get(&path).await.expect(200)["caller"]["name"], called["name"]);
    assert_eq!(shop.client.get(&path).await.expect(200)["caller"]["name"], called["name"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_party_that_does_too_much_waits_and_can_still_look() {
    let server = Plan::new().at(START_MS).start().await;
    let acme = server.org("acme").await;
    let shop = Application::of(&acme, &server, "Shop", &[]).await;
    let ordered = shop.orders(json!({})).await;
    let later = shop.orders(json!({"meeting": {"order_id": "552"}})).await;
    let (ann, tom) = (party(&server, &ordered.caller).await, party(&server, &ordered.receiver).await);
    let cancel = format!("/meetings/{}/cancel", ordered.id);
    assert_eq!(press(&ann, &cancel, &[]).await.status, 303);
    // Each call of a meeting that is over is an event for the application.
    let call = format!("/v1/meetings/{}/call", ordered.id);
    let mut told = 0;
    let limited = loop {
        let reply = ann.send(ann.request(Method::POST, &call).header("sec-fetch-site", "same-origin")).await;
        if reply.status != 409 {
            break reply;
        }
        told += 1;
        assert!(told < 100, "no limit");
    };
    assert!(limited.headers.contains_key("retry-after"), "{:?}", limited.headers);
    assert_eq!(limited.expect(429)["code"], "rate_limited");
    let page = ann.send(ann.post_page(&cancel, &[])).await;
    assert!(page.status == 429 && page.text.contains("Too many tries"), "{}", page.text);
    assert!(page.headers.contains_key("retry-after"), "{:?}", page.headers);
    // To sign in again gives her no more, and to look is free.
    let again = party(&server, &later.caller).await;
    assert_eq!(again.send(again.post_page(&cancel, &[])).await.status, 429);
    assert_eq!(ann.get("/meetings").await.status, 200);
    assert_eq!(tom.send(tom.post_page(&cancel, &[])).await.status, 409, "the other is not kept from anything");
    server.clock().set(START_MS + 60_000);
    assert_eq!(ann.send(ann.post_page(&cancel, &[])).await.status, 409);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_signs_in_once_and_looking_at_it_uses_nothing_up() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let shop = Application::of(&acme, &server, "Shop", &[]).await;
    let ordered = shop.orders(json!({})).await;
    let links = format!("/api/v1/meetings/{}/links", ordered.id);
    let made = shop.client.post(&links, &json!({"as": "receiver"})).await.expect(200);
    let path = made["receiver"].as_str().unwrap().split_once("/m/").map(|(_, token)| format!("/m/{token}")).unwrap();
    let (first, second) = (server.browser(), server.browser());
    for _ in 0..2 {
        let page = first.get(&path).await;
        assert_eq!((page.status, cookie(&page)), (200, None), "{}", page.text);
        assert_eq!(page.headers["referrer-policy"], "no-referrer");
    }
    let entered = first.submit(&path, &path, &[]).await;
    assert_eq!(entered.status, 303, "{}", entered.text);
    assert!(first.get("/meetings").await.text.contains("Ann Carter"));
    let again = second.submit(&path, &path, &[]).await;
    assert!(
        again.status == 410 && again.text.contains("good for one visit") && cookie(&again).is_none(),
        "{}",
        again.text
    );
    let program = server.client().request(Method::POST, &path).header("accept", "application/json").send().await;
    let program: Value = program.unwrap().json().await.unwrap();
    assert_eq!(program["code"], "sign_in_over", "a program reads why: {program}");
    assert_eq!(first.submit("/meetings", "/meetings/sign-out", &[]).await.status, 200);
    assert_eq!(first.get("/meetings").await.status, 401);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_hundreds_of_meetings_sees_the_next_ones_and_the_one_signed_in_for() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let shop = Application::of(&acme, &server, "Shop", &[]).await;
    let at = |hours: i64| kernel::time::rfc3339(server.app.kernel.clock.now_ms() + hours * 3_600_000);
    let later = |hours: i64| json!({"meeting": {"order_id": format!("in {hours}"), "start_at": at(hours)}});
    let mut orders = Vec::new();
    for hours in 2..=203 {
        orders.push(shop.orders(later(hours)).await);
    }
    let (next, last) = (&orders[0], &orders[orders.len() - 1]);
    let now = shop.orders(json!({})).await;
    let tom = party(&server, &last.receiver).await;
    let page = tom.get("/meetings").await.text;
    for id in [now.id, next.id, last.id] {
        assert!(page.contains(&format!("data-meeting=\"{id}\"")), "{id}");
    }
    assert_eq!(page.matches("data-meeting=").count(), 201, "200 that are next, and the one that was signed in for");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_hears_of_its_own_meetings_and_of_no_other_and_learns_nothing_by_it() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let shop = Application::of(&acme, &server, "Shop", &[]).await;
    let ordered = shop.orders(json!({})).await;
    let strangers = shop.orders(json!({"user": {"uid_caller": "eve", "uid_receiver": "joe"}})).await;
    let tom = party(&server, &ordered.receiver).await;
    let page = tom.get("/meetings").await.text;
    let mark = page.split("data-mark=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let live = format!("/meetings/live?for={mark}");
    assert_eq!(server.client().get(&live).await.status, 401);
    assert_eq!(tom.get("/meetings/live?for=0000").await.status, 409);
    let mut stream = tom.request(Method::GET, &live).send().await.unwrap();
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    shop.client.post(&format!("/v1/meetings/{}/cancel", strangers.id), &json!({})).await.expect(200);
    let mut told = String::new();
    let mut hear = async |changes: usize| {
        while told.matches("event: changed").count() < changes {
            told.push_str(std::str::from_utf8(&stream.chunk().await.unwrap().expect("the stream goes on")).unwrap());
        }
    };
    // One after the other: what happens in one moment is told once.
    shop.client.post(&format!("/v1/meetings/{}/finish", ordered.id), &json!({})).await.expect(200);
    hear(1).await;
    let new = shop.orders(json!({"meeting": {"order_id": "600"}})).await;
    assert_ne!(new.id, ordered.id);
    hear(2).await;
    let lines: std::collections::BTreeSet<&str> =
        told.lines().filter(|line| !line.is_empty() && *line != ":").collect();
    assert_eq!(lines.into_iter().collect::<Vec<_>>(), ["data: {}", "event: changed"], "nothing but that there is news");
    server.stop().await;
}
