//! What is kept of a visitor goes whole: by an erasure, and when it is old. Every table of chats is named here with what
//! becomes of it, so that a new one that is forgotten fails.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use kernel::{Db, Role, Shelf, args};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::harness::client::Client;
use crate::harness::server::{Plan, Server, Tenant};
use crate::harness::widget::Shop;

/// 2026-11-21T12:00:00Z.
const NOON: i64 = 1_795_262_400_000;
const DAY_MS: i64 = 24 * 3_600_000;
const SOON: Duration = Duration::from_secs(30);
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n0000000000000000";
/// Stands in everything that the visitor says, and nowhere else.
const MARK: &str = "quagga7";
const MAIL: &str = "quagga7@example.org";
/// Who reads, erases and exports what stays as it is: whom they typed is part of that account.
const ACCOUNTS: [&str; 1] = ["audit"];

/// A browser's public key: that of RFC 8291, section 5.
const BROWSER: &str = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";

/// Tables whose rows go with their visitor. The story below fills each.
const GO: [&str; 12] = [
    "chat_visitor",
    "chat_visitor_token",
    "chat_room",
    "chat_message",
    "chat_receipt",
    "chat_note",
    "chat_file",
    "chat_rating",
    "chat_tag",
    "chat_search",
    "push_subscription",
    "push_message",
];
/// Tables whose rows go too, and are there only for a while, or when there is something to tell.
const PASS: [&str; 4] = ["chat_wait", "chat_visit", "chat_flow", "chat_call"];
/// Tables of what is the organisation's own: who answers, settings, printed codes. Nothing of a visitor stands there.
const STAY: [&str; 7] =
    ["chat_product", "chat_qr", "chat_master_link", "chat_agent", "chat_canned", "chat_macro", "chat_search_mark"];

/// Every table of this release with its columns, by its migrations.
fn tables() -> Vec<(String, BTreeSet<String>)> {
    let mut tables: Vec<(String, BTreeSet<String>)> = Vec::new();
    let first_word = |line: &str| line.split_whitespace().next().map(str::to_owned);
    for migration in kernel::db::MIGRATIONS {
        let mut open = false;
        for line in migration.sql.lines() {
            if let Some(name) = line.strip_prefix("create table ").and_then(|rest| rest.strip_suffix(" (")) {
                tables.push((name.to_owned(), BTreeSet::new()));
                open = true;
            } else if line.starts_with(')') {
                open = false;
            } else if let (true, Some(column), Some((_, columns))) = (open, first_word(line), tables.last_mut()) {
                if !["primary", "unique", "foreign", "check", "constraint", "--"].contains(&column.as_str()) {
                    columns.insert(column);
                }
            } else if let Some((table, rest)) =
                line.strip_prefix("alter table ").and_then(|rest| rest.split_once(" add column "))
                && let Some((_, columns)) = tables.iter_mut().find(|(name, _)| name == table)
            {
                columns.extend(first_word(rest));
            }
        }
    }
    tables
}

/// A statement that is put together once, for the life of the test.
fn sql(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

async fn count(db: &Db, table: &str, org: &str) -> i64 {
    let count = sql(format!("select count(*) as n from {table} where org = $1"));
    db.one(count, args![org]).await.unwrap().unwrap().int("n").unwrap()
}

/// Where a word stands in the store, table by table.
async fn found(db: &Db, word: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (table, columns) in tables() {
        let parts: Vec<String> = columns.iter().map(|column| format!("coalesce(cast({column} as text), '')")).collect();
        let search = sql(format!("select count(*) as n from {table} where {} like $1", parts.join(" || ' ' || ")));
        let rows = db.one(search, args![format!("%{word}%")]).await.unwrap().unwrap().int("n").unwrap();
        if rows > 0 {
            found.push(table);
        }
    }
    found
}

/// Fills every table that is named in [`GO`] with what one visitor says, and gives the id of a file.
async fn live_a_chat(server: &Server, tenant: &Tenant<'_>, shop: &Shop) -> String {
    let said = |what: &str| format!("{what} {MARK}");
    let made = shop.client.post("/v1/chat/qr", &json!({"count": 1})).await.expect(201);
    let code = made["items"][0]["id"].as_str().unwrap();
    let wish = json!({"link": code, "identity": {"name": said("Ann"), "email": MAIL}});
    let opened = shop.open(None, wish).await.expect(201);
    let (room, token) = (opened["room"]["id"].as_str().unwrap(), opened["token"].as_str().unwrap());
    let ann = crate::harness::widget::Guest {
        client: server.client().bearing(token),
        room: room.to_owned(),
        token: token.to_owned(),
    };
    let keys = json!({"p256dh": BROWSER, "auth": "BTBZMqHH6r4Tts7J_aSIgg"});
    // An address that answers nothing: what is to be told waits.
    let browser = json!({"endpoint": format!("https://push.example.invalid/{MARK}"), "keys": keys});
    ann.client.post("/v1/chat/push", &browser).await.expect(204);
    for words in ["Where is my parcel?", "Never mind"] {
        ann.client.post(&ann.path("/messages"), &json!({"body": said(words)})).await.expect(201);
    }
    ann.client.patch(&ann.path("/messages/1"), &json!({"body": said("Where are they?")})).await.expect(200);
    ann.client.delete(&ann.path("/messages/2")).await.expect(200);
    let file = ann.bring(&format!("{MARK}.png"), "image/png", PNG).await["file"].as_str().unwrap().to_owned();
    let picture = json!({"kind": "file", "body": {"file": file}});
    ann.client.post(&ann.path("/messages"), &picture).await.expect(201);
    ann.announce(&format!("{MARK}-late.png"), "image/png", 5).await.expect(201);
    shop.client.post(&ann.path("/read"), &json!({"read": 3})).await.expect(200);
    shop.client.post(&ann.path("/messages"), &json!({"body": "One moment"})).await.expect(201);
    let program = tandem::chat::Asker::App { org: tenant.org.id.as_str().into(), app: shop.id.as_str().into() };
    server.app.chats.note(&program, room, &said("A difficult case:")).await.unwrap();
    shop.client.put(&ann.path("/tags"), &json!({"tags": [MARK]})).await.expect(200);
    let elsewhere = json!({"email": format!("elsewhere-{MARK}@example.net"), "locale": "en"});
    ann.client.post(&ann.path("/transcript"), &elsewhere).await.expect(202);
    ann.client.post(&ann.path("/end"), &json!({})).await.expect(200);
    ann.client.post(&ann.path("/rating"), &json!({"score": 2, "comment": said("Slow")})).await.expect(204);
    let left = json!({"name": said("Ann"), "email": MAIL, "message": said("Call me")});
    shop.stranger.post(&shop.path("/offline"), &left).await.expect(201);
    // What can be searched is written a little later.
    for table in GO {
        let filled = async || {
            while count(&server.app.kernel.db, table, &tenant.org.id).await == 0 {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(SOON, filled()).await.unwrap_or_else(|_| panic!("the story does not fill {table}"));
    }
    file
}

/// Nothing of a visitor is left in a tenant.
async fn nothing_is_left(server: &Server, tenant: &Tenant<'_>, file: &str) {
    for table in GO.iter().chain(&PASS) {
        assert_eq!(count(&server.app.kernel.db, table, &tenant.org.id).await, 0, "{table}");
    }
    let mut found = found(&server.app.kernel.db, MARK).await;
    found.retain(|table| !ACCOUNTS.contains(&table.as_str()));
    assert_eq!(found, Vec::<String>::new(), "the visitor's words");
    let content = server.app.kernel.files.read(Shelf::Chat, &tenant.org.id, file).await;
    assert!(content.is_err(), "the content of the attachment");
}

async fn desk<'a>(server: &'a Server, slug: &str) -> (Tenant<'a>, Shop) {
    let tenant = server.org(slug).await;
    let shop = Shop::of(&tenant, server, &[("widget_offline_email", "desk@acme.example")]).await;
    (tenant, shop)
}

#[test]
fn every_table_of_chats_is_kept_by_a_rule() {
    let known: BTreeSet<String> = GO.iter().chain(&PASS).chain(&STAY).map(|table| (*table).to_owned()).collect();
    let made: BTreeSet<String> = tables()
        .into_iter()
        .map(|(table, _)| table)
        .filter(|table| table.starts_with("chat_") || table.starts_with("push_"))
        .collect();
    assert_eq!(
        made, known,
        "say in GO, PASS or STAY what becomes of a table when a visitor is erased, and fill it above"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_is_exported_whole_and_erased_whole() {
    let server = Plan::new().at(NOON).start().await;
    let (acme, shop) = desk(&server, "acme").await;
    let (other, others) = desk(&server, "other").await;
    let theirs = live_a_chat(&server, &other, &others).await;
    let db = &server.app.kernel.db;
    // The other's own chat says the same: what is found from here on is acme's.
    let keeps = async || count(db, "chat_message", &other.org.id).await;
    let kept = keeps().await;
    let file = live_a_chat(&server, &acme, &shop).await;
    let owner = server.browser().bearing(&acme.token);
    let send = async |path: &str| owner.send(owner.post_page(path, &[("number", MAIL)])).await;

    assert!(send("/console/privacy").await.text.contains("2 chats"), "the chat, and the message that was left");
    let exported = send("/console/privacy/export").await.expect(200);
    let chats = exported["chats"].as_array().unwrap();
    let room = chats.iter().find(|told| told["rating"]["score"] == 2).unwrap_or_else(|| panic!("{exported}"));
    assert_eq!(room["rating"]["comment"], format!("Slow {MARK}"));
    assert_eq!((&room["messages"][0]["body"], &room["messages"][1]["body"]), (&said("Where are they?"), &Value::Null));
    assert_eq!(room["notes"][0]["text"], said("A difficult case:"));
    assert_eq!((&room["marks"]["support"]["read"], &room["files"].as_array().unwrap().len()), (&json!(3), &2));
    assert_eq!(room["mails"][0]["to"], format!("elsewhere-{MARK}@example.net"));
    assert!(!exported.to_string().contains("\"vt_"), "a token is nobody's data");
    let browsers = chats.iter().filter_map(|told| told["visitor"]["browsers"].as_array()).map(Vec::len).sum::<usize>();
    assert_eq!(browsers, 1, "that there is one is told, and not where");
    assert!(!exported.to_string().contains("push.example") && !exported.to_string().contains(BROWSER));
    let stored = room["files"].as_array().unwrap().iter().find(|file| file["state"] == "stored").unwrap();
    let url = stored["url"].as_str().unwrap();
    let path = &url[url.find("/v1/").unwrap()..];
    assert_eq!(server.client().get(path).await.status, 200, "the address opens the file by itself");
    assert_eq!(server.client().get(&path.replace("signature=", "signature=x")).await.status, 404);
    assert_eq!(server.client().get(path.split('?').next().unwrap()).await.status, 401);
    server.clock().advance(25 * 3_600_000);
    assert_eq!(server.client().get(path).await.status, 404, "for a day");

    let erased = send("/console/privacy/erase").await.text;
    assert!(erased.contains("2 chats of") && !erased.contains("stay for now"), "{erased}");
    assert_eq!(keeps().await, kept, "another's");
    assert!(server.app.kernel.files.read(Shelf::Chat, &other.org.id, &theirs).await.is_ok(), "another's");
    let elsewhere = server.browser().bearing(&other.token);
    elsewhere.send(elsewhere.post_page("/console/privacy/erase", &[("number", MAIL)])).await;
    nothing_is_left(&server, &acme, &file).await;
    nothing_is_left(&server, &other, &theirs).await;
    let qr = "select count(*) as n from chat_qr where org = $1 and room is not null";
    assert_eq!(db.one(qr, args![&*acme.org.id]).await.unwrap().unwrap().int("n").unwrap(), 0, "the code is free of it");
    server.stop().await;
}

fn said(words: &str) -> Value {
    json!(format!("{words} {MARK}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn chats_that_are_old_enough_go_whole() {
    let server = Plan::new().at(NOON).start().await;
    let (acme, shop) = desk(&server, "acme").await;
    acme.client().patch("/v1/org/settings", &json!({"retention_days": {"chats": 5}})).await.expect(200);
    let file = live_a_chat(&server, &acme, &shop).await;
    server.clock().advance(40 * DAY_MS);
    let gone = async || {
        for table in ["chat_visitor", "push_subscription"] {
            while count(&server.app.kernel.db, table, &acme.org.id).await > 0 {
                sleep(Duration::from_millis(50)).await;
            }
        }
    };
    timeout(SOON, gone()).await.expect("the daily chore forgets it");
    nothing_is_left(&server, &acme, &file).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attachment_that_cannot_be_deleted_keeps_its_chat_for_now() {
    let server = Plan::new().at(NOON).start().await;
    let (acme, shop) = desk(&server, "acme").await;
    let file = live_a_chat(&server, &acme, &shop).await;
    let files = &server.app.kernel.files;
    let place = files.place(Shelf::Chat, &acme.org.id, &file).unwrap();
    // A folder in its place cannot be deleted as a file.
    std::fs::remove_file(&place).unwrap();
    std::fs::create_dir(&place).unwrap();
    let owner = server.browser().bearing(&acme.token);
    let erase = async || owner.send(owner.post_page("/console/privacy/erase", &[("number", MAIL)])).await.text;
    assert!(erase().await.contains("1 stay for now"));
    assert_eq!(count(&server.app.kernel.db, "chat_file", &acme.org.id).await, 1, "its row tells of it");
    assert_eq!(count(&server.app.kernel.db, "chat_message", &acme.org.id).await, 0);
    std::fs::remove_dir(&place).unwrap();
    files.put(Shelf::Chat, &acme.org.id, &file, Bytes::from_static(PNG)).await.unwrap();
    assert!(!erase().await.contains("stay for now"));
    nothing_is_left(&server, &acme, &file).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_reads_a_chat_is_named_in_the_audit() {
    let server = Plan::new().at(NOON).start().await;
    let (acme, shop) = desk(&server, "acme").await;
    let guest = shop.guest().await;
    guest.client.post(&guest.path("/messages"), &json!({"body": "Hello"})).await.expect(201);
    let agent: Client = acme.bare().bearing(&acme.person(Role::Agent).await);
    let read = async || {
        let rows = server.app.kernel.audit(&acme.org.id, None, 100).await.unwrap();
        rows.into_iter().filter(|row| row.action == "chat.read" && row.object == guest.room).count()
    };
    guest.client.get(&guest.path("/messages")).await.expect(200);
    shop.client.get(&guest.path("/messages")).await.expect(200);
    assert_eq!(read().await, 0);
    for _ in 0..3 {
        agent.get(&guest.path("/messages")).await.expect(200);
        agent.get(&format!("/api/v2/room-service/?type=get_messages&room_id={}", guest.room)).await.expect(200);
    }
    assert_eq!(read().await, 1);
    let page = server.browser().bearing(&acme.token).get("/console/audit").await.text;
    assert!(page.contains("chat read") && page.contains(&guest.room), "{page}");
    server.stop().await;
}
