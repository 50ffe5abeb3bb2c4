//! Every route of the console with every role, without a session, with another organisation's. Who may come in stands
//! here once more, by route: the doors in the code are compared with it.

use kernel::sign_in::Identity;
use kernel::{Role, role};
use reqwest::Method;

use crate::harness::client::{Client, Reply, form, hidden_fields, unescaped};
use crate::harness::server::{Server, Tenant};

/// The lowest role that may come in.
#[derive(Clone, Copy, Debug)]
enum May {
    /// Anybody.
    Anybody,
    /// Every role.
    SignedIn,
    /// A role and those above, and the auditor, who reads.
    Read(Role),
    /// A role and those above.
    Change(Role),
    /// Administrators of the installation.
    Administrator,
}

use May::{Administrator, Anybody, Change, Read, SignedIn};
use Role::{Admin, Agent, Member, Supervisor};

const TABLE: &[(&str, May)] = &[
    ("GET /console/sign-in", Anybody),
    ("POST /console/sign-in", Anybody),
    ("GET /console/sign-in/link", Anybody),
    ("POST /console/sign-in/link", Anybody),
    ("GET /console/link/{link}", Anybody),
    ("POST /console/link/{link}", Anybody),
    ("POST /console/theme", Anybody),
    ("POST /console/sign-out", SignedIn),
    ("GET /console", SignedIn),
    ("GET /console/account", SignedIn),
    ("POST /console/account/password", SignedIn),
    ("POST /console/account/sessions/{id}/end", SignedIn),
    ("GET /console/account/tokens", SignedIn),
    ("POST /console/account/tokens", SignedIn),
    ("POST /console/account/tokens/{id}/revoke", SignedIn),
    ("GET /console/organisations", Administrator),
    ("POST /console/organisations", Administrator),
    ("POST /console/organisations/{id}/open", Administrator),
    ("GET /console/people", Read(Supervisor)),
    ("GET /console/people/new", Change(Admin)),
    ("POST /console/people/new", Change(Admin)),
    ("GET /console/people/{id}", Read(Supervisor)),
    ("POST /console/people/{id}/role", Change(Admin)),
    ("POST /console/people/{id}/link", Change(Admin)),
    ("POST /console/people/{id}/voicemail", Change(Admin)),
    ("POST /console/people/{id}/extension", Change(Admin)),
    ("POST /console/people/{id}/disable", Change(Admin)),
    ("GET /phone", Change(Member)),
    ("GET /console/live", Read(Supervisor)),
    ("GET /console/live/table", Read(Supervisor)),
    ("GET /console/calls", SignedIn),
    ("GET /console/calls/{id}", SignedIn),
    ("GET /console/calls/{id}/story", SignedIn),
    ("POST /console/calls/{id}/hangup", Change(Supervisor)),
    ("GET /console/callbacks", Read(Supervisor)),
    ("POST /console/callbacks/{id}/cancel", Change(Supervisor)),
    ("GET /console/runs", Read(Supervisor)),
    ("GET /console/runs/{id}", Read(Supervisor)),
    ("GET /console/flows", Read(Supervisor)),
    ("GET /console/flows/new", Change(Admin)),
    ("POST /console/flows/new", Change(Admin)),
    ("POST /console/flows/check", Change(Admin)),
    ("GET /console/flows/{id}", Read(Supervisor)),
    ("GET /console/flows/{id}/edit", Change(Admin)),
    ("POST /console/flows/{id}/edit", Change(Admin)),
    ("POST /console/flows/{id}/run", Change(Agent)),
    ("POST /console/flows/{id}/delete", Change(Admin)),
    ("GET /console/meetings", Read(Supervisor)),
    ("GET /console/meetings/calendar", Read(Supervisor)),
    ("GET /console/meetings/new", Change(Supervisor)),
    ("POST /console/meetings/new", Change(Supervisor)),
    ("GET /console/meetings/{id}", Read(Supervisor)),
    ("GET /console/meetings/{id}/story", Read(Supervisor)),
    ("POST /console/meetings/{id}/call", Change(Supervisor)),
    ("POST /console/meetings/{id}/extend", Change(Supervisor)),
    ("POST /console/meetings/{id}/finish", Change(Supervisor)),
    ("POST /console/meetings/{id}/cancel", Change(Supervisor)),
    ("POST /console/meetings/{id}/move", Change(Supervisor)),
    ("POST /console/meetings/{id}/link", Change(Supervisor)),
    ("GET /console/inbox", Read(Agent)),
    ("GET /console/chat/replies", Read(Agent)),
    ("GET /console/chat/reports", Read(Supervisor)),
    ("GET /console/chat/widgets", Read(Admin)),
    ("GET /console/inbox/{id}", Read(Agent)),
    ("GET /console/recordings", Read(Agent)),
    ("GET /console/voicemail", SignedIn),
    ("POST /console/voicemail/{id}/delete", Change(Member)),
    ("GET /console/queues", Read(Agent)),
    ("GET /console/queues/table", Read(Agent)),
    ("POST /console/queues/state", Change(Agent)),
    ("GET /console/teams", Read(Supervisor)),
    ("GET /console/teams/new", Change(Admin)),
    ("POST /console/teams/new", Change(Admin)),
    ("GET /console/teams/{id}", Change(Admin)),
    ("POST /console/teams/{id}", Change(Admin)),
    ("POST /console/teams/{id}/remove", Change(Admin)),
    ("GET /console/numbers", Read(Supervisor)),
    ("GET /console/numbers/new", Change(Admin)),
    ("POST /console/numbers/new", Change(Admin)),
    ("POST /console/numbers/{e164}/release", Change(Admin)),
    ("GET /console/trunks", Read(Supervisor)),
    ("GET /console/trunks/new", Change(Admin)),
    ("POST /console/trunks/new", Change(Admin)),
    ("POST /console/trunks/{id}/remove", Change(Admin)),
    ("GET /console/applications", Read(Admin)),
    ("GET /console/applications/new", Change(Admin)),
    ("POST /console/applications/new", Change(Admin)),
    ("GET /console/applications/{id}", Read(Admin)),
    ("POST /console/applications/{id}/meetings", Change(Admin)),
    ("POST /console/applications/{id}/rotate", Change(Admin)),
    ("POST /console/applications/{id}/keys", Change(Admin)),
    ("POST /console/applications/{id}/keys/{key}/revoke", Change(Admin)),
    ("POST /console/applications/{id}/remove", Change(Admin)),
    ("GET /console/applications/{id}/chat", Read(Admin)),
    ("POST /console/applications/{id}/chat", Change(Admin)),
    ("POST /console/applications/{id}/chat/secret", Change(Admin)),
    ("POST /console/applications/{id}/chat/secret/end", Change(Admin)),
    ("GET /console/chat/products", Read(Agent)),
    ("POST /console/chat/products", Change(Supervisor)),
    ("GET /console/chat/codes", Read(Agent)),
    ("POST /console/chat/codes", Change(Agent)),
    ("GET /console/chat/codes/sheet", Read(Agent)),
    ("GET /console/chat/links", Read(Agent)),
    ("POST /console/chat/links", Change(Agent)),
    ("GET /console/webhooks", Read(Admin)),
    ("GET /console/webhooks/new", Change(Admin)),
    ("POST /console/webhooks/new", Change(Admin)),
    ("GET /console/webhooks/{id}", Read(Admin)),
    ("POST /console/webhooks/{id}/switch", Change(Admin)),
    ("POST /console/webhooks/{id}/rotate", Change(Admin)),
    ("POST /console/webhooks/{id}/remove", Change(Admin)),
    ("POST /console/webhooks/{id}/deliveries/{delivery}/replay", Change(Admin)),
    ("GET /console/outbox", Change(Admin)),
    ("POST /console/outbox/{id}/again", Change(Admin)),
    ("GET /console/settings", Read(Admin)),
    ("POST /console/settings", Change(Admin)),
    ("GET /console/audit", Read(Admin)),
    ("GET /console/privacy", Change(Admin)),
    ("POST /console/privacy", Change(Admin)),
    ("POST /console/privacy/export", Change(Admin)),
    ("POST /console/privacy/erase", Change(Admin)),
    ("GET /console/reports", Read(Supervisor)),
    ("GET /console/reports/csv", Read(Supervisor)),
    ("GET /console/health", Administrator),
];

/// Rank on the ladder; the auditor stands beside it.
fn rank(role: Role) -> usize {
    role::ROLES.iter().position(|known| *known == role).unwrap()
}

fn allowed(may: May, role: Role) -> bool {
    let reaches = |lowest: Role| role != Role::Auditor && rank(role) <= rank(lowest);
    match may {
        Anybody | SignedIn => true,
        Read(lowest) => role == Role::Auditor || reaches(lowest),
        Change(lowest) => reaches(lowest),
        Administrator => false,
    }
}

/// A route of the console.
struct Route {
    name: String,
    method: Method,
    path: String,
}

/// Every route of the console, with something that is not there for each parameter.
fn routes() -> Vec<Route> {
    let doors = tandem::console::plan();
    let route = |door: tandem::console::Door| {
        let parts = door.path.split('/').map(|part| if part.starts_with('{') { "none_1" } else { part });
        Route {
            name: format!("{} {}", door.method, door.path),
            method: door.method.as_str().parse().unwrap(),
            path: parts.collect::<Vec<_>>().join("/"),
        }
    };
    doors.into_iter().map(route).collect()
}

fn may(route: &Route) -> May {
    TABLE.iter().find(|(name, _)| *name == route.name).unwrap().1
}

/// Asks as a page of the server itself would.
async fn ask(client: &Client, route: &Route) -> Reply {
    ask_for(client, route, None).await
}

/// The same with a form that was made for an organisation.
async fn ask_for(client: &Client, route: &Route, org: Option<&str>) -> Reply {
    let request = client.request(route.method.clone(), &route.path).header("sec-fetch-site", "same-origin");
    let org = org.map(|org| ("for_org", org));
    let fields: Vec<(&str, &str)> = [("none", "")].into_iter().chain(org).collect();
    let request = if route.method == Method::POST { form(request, &fields) } else { request };
    client.send(request).await
}

/// Whether an answer sends to the sign-in, or keeps what was posted until then.
fn wants_sign_in(reply: &Reply) -> bool {
    let to = reply.headers.get("location").and_then(|to| to.to_str().ok()).unwrap_or_default();
    let keeps = reply.status == 401 && reply.text.contains("href=\"/console/sign-in\"");
    keeps || (reply.status == 303 && to.starts_with("/console/sign-in"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_is_listed_here() {
    let mut there: Vec<String> = routes().into_iter().map(|route| route.name).collect();
    let mut listed: Vec<&str> = TABLE.iter().map(|(name, _)| *name).collect();
    there.sort_unstable();
    listed.sort_unstable();
    assert_eq!(there, listed, "the table and the doors name the same routes");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_not_signed_in_is_asked_to_and_keys_of_applications_open_no_page() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let key = server.browser().bearing(&acme.app_key(&[]).await);
    for route in routes() {
        for client in [&server.browser(), &key] {
            let reply = ask(client, &route).await;
            let open = matches!(may(&route), Anybody);
            assert_eq!(wants_sign_in(&reply), !open, "{}: {} {}", route.name, reply.status, reply.text);
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_comes_in_where_its_table_says_and_nowhere_else() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    for role in role::ROLES {
        // A token each, so that signing out or a new password takes nothing away.
        let client = server.browser().bearing(&acme.person(role).await);
        for route in routes() {
            let reply = ask(&client, &route).await;
            assert!(reply.status < 500, "{} as {role}: {} {}", route.name, reply.status, reply.text);
            assert_eq!(reply.status != 403, allowed(may(&route), role), "{} as {role}: {}", route.name, reply.status);
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_chooses_first_and_then_comes_in_everywhere() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let id = server.app.kernel.find_administrator(None).await.unwrap().id;
    let client = server.signed_in(&Identity::Administrator(id)).await;
    for route in routes().iter().filter(|route| !matches!(may(route), Anybody | SignedIn | Administrator)) {
        let reply = ask(&client, route).await;
        assert_eq!((reply.status, &reply.headers["location"]), (303, &"/console/organisations".parse().unwrap()));
    }
    let open = format!("/console/organisations/{}/open", acme.org.id);
    assert_eq!(client.send(client.post_page(&open, &[])).await.status, 303);
    let leaves = ["POST /console/sign-out"];
    for route in routes().iter().filter(|route| !leaves.contains(&route.name.as_str())) {
        let reply = ask_for(&client, route, Some(&acme.org.id)).await;
        assert!(reply.status != 403 && !wants_sign_in(&reply), "{}: {} {}", route.name, reply.status, reply.text);
        assert!(!is_elsewhere(&reply), "{}: {}", route.name, reply.text);
    }
    server.stop().await;
}

/// Whether an answer says that the form was made for another organisation.
fn is_elsewhere(reply: &Reply) -> bool {
    reply.status == 409 && reply.text.contains("Nothing was changed") && reply.text.contains("Send it again")
}

#[tokio::test(flavor = "multi_thread")]
async fn no_form_changes_another_organisation_than_it_was_made_for() {
    let server = Server::start().await;
    let (acme, other) = (server.org("acme").await, server.org("other").await);
    let id = server.app.kernel.find_administrator(None).await.unwrap().id;
    let root = server.signed_in(&Identity::Administrator(id)).await;
    let open = format!("/console/organisations/{}/open", other.org.id);
    assert_eq!(root.send(root.post_page(&open, &[])).await.status, 303);
    let owner = server.app.kernel.people(&other.org.id, "", 1).await.unwrap().remove(0);
    let owner = server.signed_in(&Identity::Person { org: owner.org, person: owner.id }).await;
    let of_an_organisation = |route: &&Route| !matches!(may(route), Anybody | SignedIn | Administrator);
    let mut walked = 0;
    for route in routes().iter().filter(|route| route.method == Method::POST).filter(of_an_organisation) {
        // A browser may have gone to another organisation in another tab, or to another account.
        for (browser, name) in [(&root, "acme"), (&owner, "another organisation")] {
            let reply = ask_for(browser, route, Some(&acme.org.id)).await;
            assert!(is_elsewhere(&reply), "{}: {} {}", route.name, reply.status, reply.text);
            assert!(reply.text.contains(&format!("made for {name}")), "{}: {}", route.name, reply.text);
            assert!(is_elsewhere(&ask_for(browser, route, None).await), "{} without a word of it", route.name);
            let reply = ask_for(browser, route, Some(&other.org.id)).await;
            assert!(!is_elsewhere(&reply), "{}: {} {}", route.name, reply.status, reply.text);
        }
        walked += 1;
    }
    assert!(walked >= 30, "{walked}");
    // A part of a page that was made for another organisation is not filled with this one's.
    let part = root.request(Method::GET, "/console/live/table").header("tandem-organisation", &acme.org.id);
    assert_eq!(root.send(part.header("hx-request", "true")).await.status, 409);
    let part = root.request(Method::GET, "/console/live/table").header("tandem-organisation", &other.org.id);
    assert_eq!(root.send(part.header("hx-request", "true")).await.status, 200);
    server.stop().await;
}

/// Where the links of a page lead, and where its forms post to.
fn ways(html: &str) -> (Vec<String>, Vec<String>) {
    let all = |begin: &str, end: char| -> Vec<String> {
        html.split(begin).skip(1).map(|rest| unescaped(rest.split(end).next().unwrap())).collect()
    };
    let links =
        all("href=\"", '"').into_iter().filter(|path| path.starts_with("/console") || path.starts_with("/phone"));
    (links.collect(), all("<form method=\"post\" action=\"", '"'))
}

/// The route of the console that a path belongs to.
fn route_of(method: &Method, path: &str) -> String {
    let path = path.split(['?', '#']).next().unwrap();
    let is_its = |template: &str| {
        let (template, path): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
        template.len() == path.len() && template.iter().zip(&path).all(|(a, b)| a.starts_with('{') || a == b)
    };
    // A plain word goes before a parameter.
    let mut found: Vec<_> = TABLE
        .iter()
        .filter_map(|(name, _)| name.split_once(' '))
        .filter(|(m, t)| *m == method.as_str() && is_its(t))
        .collect();
    found.sort_by_key(|(_, template)| template.contains('{'));
    let (method, template) = found.first().unwrap_or_else(|| panic!("nothing stands at {method} {path}"));
    format!("{method} {template}")
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_shown_a_way_that_is_closed_to_the_role_and_every_form_says_what_it_was_made_for() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    things(&acme).await;
    let kernel = &server.app.kernel;
    for role in role::ROLES {
        let number = format!("20{:02}", rank(role));
        let new = calls::NewUser {
            name: role.to_string(),
            role: Some(role),
            extension: Some(number.clone()),
            ..calls::NewUser::default()
        };
        let made = calls::create_user(kernel, &acme.org, new).await.unwrap();
        calls::add_extension(kernel, &acme.org, &made.id, &format!("3{number}")).await.unwrap();
        // A call of the own, with a flow.
        let flow = serde_json::json!({"flow": [{"id": 1, "type": "call", "number": number}]});
        let ran = acme.client().post("/api/v2/call/flow", &flow).await.expect(201);
        let call = format!("/v1/calls/{}", ran["call_id"].as_str().unwrap());
        acme.client().until(&call, "its end", |call| call["state"] == "completed").await;

        let whose = Identity::Person { org: acme.org.id.clone(), person: made.id.clone() };
        let browser = server.signed_in(&whose).await;
        let mut open = vec!["/console".to_owned()];
        let mut seen = std::collections::BTreeSet::new();
        while let Some(path) = open.pop() {
            let route = route_of(&Method::GET, &path);
            // One page of a kind, and the list of it in every narrowing, is enough.
            if !seen.insert(route.clone()) || route.starts_with("GET /console/link") {
                continue;
            }
            let reply = browser.get(&path).await;
            assert!(reply.status != 403 && reply.status < 500, "{role} is led to {path}: {}", reply.status);
            let (links, forms) = ways(&reply.text);
            for form in forms {
                let route = route_of(&Method::POST, &form);
                let may = TABLE.iter().find(|(name, _)| *name == route).unwrap().1;
                assert!(allowed(may, role), "{path} shows {role} a form for {route}");
                if !matches!(may, Anybody) {
                    let org = hidden_fields(&reply.text, &form).into_iter().find(|(name, _)| name == "for_org");
                    assert_eq!(org.map(|(_, org)| org).as_ref(), Some(&acme.org.id), "{path}: {form}");
                }
            }
            open.extend(links);
        }
        let least = if matches!(role, Member | Agent) { 6 } else { 15 };
        assert!(seen.len() >= least, "{role}: {seen:?}");
    }
    server.stop().await;
}

/// One of everything that a page of the console names by an id.
async fn things(tenant: &Tenant<'_>) -> Vec<(&'static str, String)> {
    let client = tenant.client();
    let flow = serde_json::json!([{"id": 1, "type": "hangup"}]);
    let saved = client.post("/v1/flows", &serde_json::json!({"name": "Secret flow", "flow": flow})).await.expect(201);
    let id = saved["id"].as_str().unwrap().to_owned();
    tenant.phone("1001").await;
    let ran = client.post(&format!("/v1/flows/{id}/run"), &serde_json::json!({"to": "1001"})).await.expect(201);
    let people = tenant.people().await;
    let hook = client.post("/v1/webhooks", &serde_json::json!({"url": "http://hooks.example.org/"})).await.expect(201);
    tenant.team("5263", &["1001"]).await;
    tenant.trunk("carrier", &["192.0.2.1"], &[]).await;
    tenant.number("+442071838999", "person:1001").await;
    let (app, team, trunk) = tenant.more().await;
    let order = serde_json::json!({
        "user": {"uid_caller": "1", "uid_receiver": "2"}, "caller": {"name": "Secret Ann"},
        "meeting": {"order_id": "1", "duration": 9},
    });
    let ordered = client.post(&format!("/v1/meetings?application={app}"), &order).await.expect(200);
    vec![
        ("/console/meetings/{id}", ordered["meeting_id"].to_string()),
        ("/console/webhooks/{id}", hook["id"].as_str().unwrap().to_owned()),
        ("/console/applications/{id}", app),
        ("/console/teams/{id}", team),
        ("/console/trunks/{id}", trunk),
        ("/console/numbers/{e164}", "+442071838999".to_owned()),
        ("/console/people/{id}", people),
        ("/console/calls/{id}", ran["call_id"].as_str().unwrap().to_owned()),
        ("/console/runs/{id}", ran["flow_run_id"].as_str().unwrap().to_owned()),
        ("/console/flows/{id}", id),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_organisation_has_is_not_found_and_not_shown() {
    let server = Server::start().await;
    let (mine, other) = (server.org("mine").await, server.org("other").await);
    let things = things(&mine).await;
    let (owner, stranger) = (server.browser().bearing(&mine.token), server.browser().bearing(&other.token));
    let mut walked = 0;
    for door in tandem::console::plan() {
        let Some((beginning, id)) = things.iter().find(|(beginning, _)| door.path.starts_with(beginning)) else {
            continue;
        };
        let path =
            door.path.replace("{id}", id).replace("{e164}", id).replace("{delivery}", "1").replace("{key}", "key_1");
        let method: Method = door.method.as_str().parse().unwrap();
        if method == Method::GET {
            // 286: the story of a call that is over is asked for no more.
            let status = owner.get(&path).await.status;
            assert!(status == 200 || (status == 286 && path.ends_with("/story")), "{path} by its own: {status}");
            assert_eq!(stranger.get(&path).await.status, 404, "{path}");
        } else {
            let reply = stranger.send(stranger.post_page(&path, &[("text", "{}"), ("number", "1001")])).await;
            assert_eq!(reply.status, 404, "{path}: {}", reply.text);
        }
        assert!(!beginning.is_empty());
        walked += 1;
    }
    assert!(walked >= 35, "{walked}");
    let secrets = ["Secret flow", "Secret Ann"];
    for (page, secret) in ["/console/flows", "/console/meetings"].into_iter().zip(secrets) {
        assert!(owner.get(page).await.text.contains(secret), "{page} shows it to its own");
    }
    for route in routes().iter().filter(|route| route.method == Method::GET && !route.name.contains('{')) {
        let shown = ask(&stranger, route).await.text;
        for (beginning, id) in &things {
            // Each organisation counts its meetings from 1: a number alone says nothing.
            let way = if id.len() > 3 { id.clone() } else { beginning.replace("{id}", id) };
            assert!(!shown.contains(&way), "{} shows {way}", route.name);
        }
        assert!(secrets.iter().all(|secret| !shown.contains(secret)), "{}", route.name);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_can_be_nobody_s_is_not_found_by_a_page() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let owner = server.browser().bearing(&acme.token);
    for id in ["x", "1.5", "-1", "0", "99999999999999999999999999", "%ff%fe", "1%0a", "%D9%A1"] {
        for route in routes().iter().filter(|route| route.path.starts_with("/console/meetings/none_1")) {
            let way = Route {
                name: route.name.clone(),
                method: route.method.clone(),
                path: route.path.replace("none_1", id),
            };
            let reply = ask(&owner, &way).await;
            let kind = reply.headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
            let as_it_should = reply.status == 404 && kind.starts_with("text/html");
            assert!(as_it_should, "{} {}: {} {kind} {}", way.name, way.path, reply.status, reply.text);
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_forbids_what_comes_from_elsewhere_and_is_kept_by_nobody() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let client = server.browser().bearing(&acme.token);
    for route in routes().iter().filter(|route| route.method == Method::GET) {
        let reply = ask(&client, route).await;
        let header = |name: &str| reply.headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
        assert!(
            header("content-security-policy").starts_with("default-src 'none'; script-src 'self';"),
            "{}",
            route.name
        );
        assert_eq!(header("cache-control"), "no-store", "{}", route.name);
        for inline in ["<script>", " style=\"", " onclick=", "https://", "http://"] {
            assert!(!reply.text.contains(inline), "{} holds {inline}", route.name);
        }
    }
    let page = client.get("/console").await.text;
    let mut assets = 0;
    for part in page.split('"').filter(|part| part.starts_with("/assets/")) {
        let reply = server.browser().get(part).await;
        assert_eq!(reply.status, 200, "{part}");
        assert!(reply.headers["cache-control"].to_str().unwrap().contains("immutable"), "{part}");
        assets += 1;
    }
    assert!(assets >= 4);
    server.stop().await;
}
