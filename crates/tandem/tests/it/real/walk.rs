//! Every page of the console in Chromium, at the widths of a phone, a tablet and a desk, light and dark: nothing goes wrong
//! in it, it is as wide as its window, everybody can use it, by keys alone too. With something on each page, and empty.
//!
//! The pages are those of the router: one that the walk does not know how to visit fails it. Each leaves its picture in
//! target/pictures, or where TANDEM_TEST_PICTURES says: docs/pictures is made by `TANDEM_TEST_PICTURES=docs/pictures`.
//! TANDEM_TEST_EVERY_PICTURE=1 adds each width, light and dark, for the eyes of a designer.

use std::path::{Path, PathBuf};
use std::time::Instant;

use kernel::Role;
use kernel::sign_in::Identity;
use serde_json::{Value, json};
use tandem::console::{Door, Needs};

use crate::harness::browser::Browser;
use crate::harness::office::Office;
use crate::harness::server::{Plan, Server};
use crate::harness::stub::Stub;

/// The walk with data is parted, so that cores share it.
const PARTS: usize = 3;
/// Parts of pages, and a file: they are asked for, not looked at.
const NO_PAGES: [&str; 5] = [
    "/console/live/table",
    "/console/queues/table",
    "/console/calls/{id}/story",
    "/console/meetings/{id}/story",
    "/console/reports/csv",
];

/// Somebody's way: the link that signs in, if any, and the pages.
struct Visitor {
    link: String,
    pages: Vec<Value>,
}

/// A page under the name of its picture.
fn page(name: &str, path: &str) -> Value {
    json!({"name": name, "path": path})
}

/// Pages that are whole only when something is seen on them.
const SHOWN_LATE: [(&str, &str); 6] = [
    ("/phone", "text=Ready"),
    ("/console/live", "body.is-live"),
    ("/console/queues", "body.is-live"),
    ("/console/inbox", "body.is-live"),
    ("/console/chat/replies", "body.is-live"),
    ("/console/inbox/{id}", "body.is-live .message"),
];

/// `/console/flows/{id}/edit` is `flows-id-edit`.
fn name_of(template: &str) -> String {
    let bare = template.trim_start_matches("/console").trim_matches('/').replace(['{', '}'], "").replace('/', "-");
    if bare.is_empty() { "overview".to_owned() } else { bare }
}

/// The console's pages that somebody in need of this may see.
fn doors(wanted: impl Fn(Needs) -> bool) -> Vec<Door> {
    let is_page = |door: &Door| door.method.is_safe() && !NO_PAGES.contains(&door.path) && wanted(door.needs);
    tandem::console::plan().into_iter().filter(is_page).collect()
}

fn is_for_people(needs: Needs) -> bool {
    !matches!(needs, Needs::Nothing | Needs::Administrator)
}

/// Where the pictures go.
pub(super) fn pictures() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.join(std::env::var("TANDEM_TEST_PICTURES").unwrap_or_else(|_| "target/pictures".to_owned()))
}

/// Walks, and says all that is wrong at once.
async fn walk_console(server: &Server, visitors: &[Visitor], keys: bool, folder: Option<&Path>) {
    let visitors: Vec<Value> =
        visitors.iter().map(|visitor| json!({"link": visitor.link, "pages": visitor.pages})).collect();
    walk(server, &visitors, keys, folder).await;
}

/// The same for visitors as walk.mjs knows them.
pub(super) async fn walk(server: &Server, visitors: &[Value], keys: bool, folder: Option<&Path>) {
    let begun = Instant::now();
    let count: usize = visitors.iter().map(|visitor| visitor["pages"].as_array().unwrap().len()).sum();
    let task = json!({
        "url": format!("http://{}", server.app.http()),
        "visitors": visitors,
        "keys": keys,
        "pictures": folder,
        "every": std::env::var_os("TANDEM_TEST_EVERY_PICTURE").is_some(),
    });
    let mut browser = Browser::start("walk", &task);
    let mut wrong = Vec::new();
    for _ in 0..count {
        let seen = browser.expect("the next page", |event| event["event"] == "page").await;
        let found = seen["wrong"].as_array().unwrap().iter().map(|what| format!("{}: {what}", seen["path"]));
        wrong.extend(found);
    }
    browser.expect("the end of the walk", |event| event["event"] == "walked").await;
    println!("{count} pages walked within {} s", begun.elapsed().as_secs());
    assert!(wrong.is_empty(), "{} things are wrong:\n{}", wrong.len(), wrong.join("\n"));
    browser.expect_no_complaints(&["status of 404", "status of 401"]);
    browser.finish().await;
}

/// A part of the pages of an organisation that has been at work.
async fn walk_office(part: usize) {
    let stub = Stub::start().await;
    let server = Plan::new().reaching(stub.address).start().await;
    let office = Office::open(&server, &stub).await;
    let visit = |door: &Door| {
        let path = office.path(door.path).unwrap_or_else(|| panic!("the walk does not know {}", door.path));
        let mut page = page(&name_of(door.path), &path);
        if let Some((_, shows)) = SHOWN_LATE.iter().find(|(late, _)| *late == door.path) {
            page["shows"] = json!(shows);
        }
        page
    };
    let mut pages: Vec<Value> = doors(is_for_people).iter().map(visit).collect();
    let mut live = page("calls-id-live", &format!("/console/calls/{}", office.live));
    live["shows"] = json!("body.is-live .step.here");
    pages.push(live);
    pages.push(page("flows-new-sample", "/console/flows/new?sample=menu"));
    pages.push(page("meetings-week", "/console/meetings/calendar?view=week"));
    // What is answered to a form, and to a path that leads nowhere.
    let key = json!({"press": "New key", "shows": "[data-copy]"});
    let found = json!({"fill": {"number": "1001"}, "press": "Look what is kept", "shows": "text=Erase"});
    for (name, path, more) in [
        ("shown-once", office.path("/console/applications/{id}").unwrap(), key),
        ("privacy-found", "/console/privacy".to_owned(), found),
        ("refusal", "/console/people/none".to_owned(), json!({"status": 404})),
    ] {
        let mut answer = page(name, &path);
        answer.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        pages.push(answer);
    }
    let pages = pages.into_iter().enumerate().filter(|(at, _)| at % PARTS == part).map(|(_, page)| page).collect();
    let mut visitors = vec![Visitor { link: office.link_of(office.owner.token()).await, pages }];
    if part == 0 {
        let (_, agent) = office.tenant.hire("Fay Agent", Role::Agent, Some("1005")).await;
        visitors.push(Visitor {
            link: office.link_of(&agent).await,
            pages: vec![page("agent-overview", "/console"), page("agent-queues", "/console/queues")],
        });
        let administrator = Identity::Administrator(server.app.kernel.find_administrator(None).await.unwrap().id);
        let pages = doors(|needs| needs == Needs::Administrator).iter().map(visit).collect();
        visitors.push(Visitor { link: office.link(&administrator).await, pages });
        let invitation = office.link_of(&agent).await;
        let open = |door: &Door| page(&name_of(door.path), &door.path.replace("/console/link/{link}", &invitation));
        visitors.push(Visitor {
            link: String::new(),
            pages: doors(|needs| needs == Needs::Nothing).iter().map(open).collect(),
        });
        for part in NO_PAGES {
            let reply = office.owner.get(&office.path(part).unwrap()).await;
            // 286: it is there, and need not be asked for again.
            assert!(matches!(reply.status, 200 | 286), "{part}: {} {}", reply.status, reply.text);
        }
    }
    walk_console(&server, &visitors, true, Some(&pictures())).await;
    drop(office);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_with_something_on_it_first_part() {
    walk_office(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_with_something_on_it_second_part() {
    walk_office(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_with_something_on_it_third_part() {
    walk_office(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_with_nothing_on_it_yet() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let whose = server.identity(&acme.token).await;
    let link = format!("/console/link/{}", server.app.kernel.create_link(&whose).await.unwrap().expose());
    let bare = |door: &&Door| !door.path.contains('{');
    let pages = doors(is_for_people).iter().filter(bare).map(|door| page(&name_of(door.path), door.path)).collect();
    let mut folder = pictures();
    folder.push("empty");
    let is_for_eyes = std::env::var_os("TANDEM_TEST_EVERY_PICTURE").is_some();
    walk_console(&server, &[Visitor { link, pages }], false, is_for_eyes.then_some(folder.as_path())).await;
    server.stop().await;
}
