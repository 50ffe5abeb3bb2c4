//! What is kept of a person outside is given and erased whole: on whichever leg, however many, however the number is
//! written; and an agent's recordings are its own, found among everybody's.

use std::time::Duration;

use calls::NewUser;
use kernel::{Db, Role, Shelf, Write, args};
use serde_json::{Value, json};

use crate::harness::client::{Client, Reply};
use crate::harness::server::{Server, Tenant};

/// As it is stored, and as somebody types it.
const NUMBER: &str = "+442071838750";
const TYPED: &str = "+44 20-7183 8750";
/// Thousands of calls on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
const AT_MS: i64 = 1_795_219_200_000;

const CALL: &str = "insert into call (id, org, node, direction, from_number, to_number, state, cause, legs, started_at, \
    ended_at) values ($1, $2, 'n', 'inbound', $3, $4, 'completed', 'completed', $5, $6, $6)";
const PARTY: &str = "insert into call_party (org, extension, call) values ($1, $2, $3)";
const RECORDING: &str = "insert into recording (id, org, call, node, state, path, started_at) \
    values ($1, $2, $3, 'n', 'ready', $1, $4)";
const MESSAGE: &str = "insert into voicemail (id, org, box, call, node, from_number, state, path, left_at) \
    values ($1, $2, '1001', $3, 'n', $4, 'left', $1, $5)";
const RUN: &str = "insert into flow_run (id, org, call, body, variables, started_at) values ($1, $2, $3, $4, $5, $6)";
const CALLBACK: &str = "insert into callback (id, org, run, step, call, wall_date, wall_time, zone, entity, customer, \
    ring_order, attempts, state, due_at, created_at, ended_at) \
    values ($1, $2, $3, '1', '', '', '', 'UTC', '1001', $4, 'entity_first', 1, $5, $6, 5, $7)";
const EVENT: &str = "insert into event (org, position, id, kind, key, seq, time_at, body) \
    values ($1, $2, $3, 'call.completed', $4, 1, 5, '{}')";
const DELIVERY: &str = "insert into delivery (webhook, position, org, key, kind, host, state, due_at, expires_at) \
    values ('hook_1', 1, $1, $2, 'call.completed', 'https://far.example', 'slow', $3, $3)";

async fn put(db: &Db, sql: &'static str, args: Vec<kernel::Arg>) {
    assert_eq!(db.run(sql, args).await.unwrap(), 1);
}

/// A call that is over, from one number to another, with the parties of its legs.
fn call(org: &str, id: &str, from: &str, to: &str, legs: &[&str]) -> Write {
    let leg = |to: &&str| json!({"id": "leg_1", "role": "target", "to": to, "state": "ended", "node": "n"});
    let legs = Value::from(legs.iter().map(leg).collect::<Vec<_>>()).to_string();
    Write::new(CALL, args![id, org, from, to, legs, AT_MS])
}

async fn send(owner: &Client, path: &str, number: &str) -> Reply {
    owner.send(owner.post_page(path, &[("number", number)]).timeout(PATIENCE)).await
}

async fn count(db: &Db, sql: &'static str, org: &str) -> i64 {
    db.one(sql, args![org]).await.unwrap().unwrap().int("n").unwrap()
}

/// An owner in a browser.
fn owner(server: &Server, acme: &Tenant<'_>) -> Client {
    server.browser().bearing(&acme.token)
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_of_a_party_is_exported_and_erased_wherever_it_stands() {
    let server = Server::start().await;
    let (acme, other) = (server.org("acme").await, server.org("other").await);
    let (org, kernel) = (&*acme.org.id, &server.app.kernel);
    let db = &kernel.db;
    let calls = vec![
        call(org, "call_connected", "+491", "+492", &["+492", NUMBER]),
        call(org, "call_from", NUMBER, "1001", &["1001"]),
        call(org, "call_longer", "+4420718387501", "+492", &["+4420718387502"]),
        call(&other.org.id, "call_theirs", NUMBER, "1001", &[NUMBER]),
    ];
    db.writer().commit(calls).await.unwrap();
    put(db, PARTY, args![org, "1001", "call_from"]).await;
    put(db, RECORDING, args!["rec_1", org, "call_connected", AT_MS]).await;
    for (message, call) in [("vm_of_call", "call_from"), ("vm_alone", "call_gone")] {
        put(db, MESSAGE, args![message, org, call, NUMBER, AT_MS]).await;
        let audio = bytes::Bytes::from_static(b"RIFF");
        kernel.files.put(Shelf::Voicemail, org, &format!("{message}.wav"), audio).await.unwrap();
    }
    let step = json!({"id": "ask", "type": "http", "headers": {"Authorization": "Bearer of-the-organisation"}});
    let body = json!({"flow": [step], "publish": {"url": "https://x.example", "sealed_secret": "locked"}}).to_string();
    put(db, RUN, args!["run_1", org, "call_from", body, r#"{"pin":"1234"}"#, AT_MS]).await;
    put(db, RUN, args!["run_booked", org, "call_gone", "{}", "{}", AT_MS]).await;
    put(db, CALLBACK, args!["cb_over", org, "run_booked", NUMBER, "completed", AT_MS, AT_MS]).await;
    put(db, CALLBACK, args!["cb_to_come", org, "run_1", NUMBER, "scheduled", i64::MAX / 4, kernel::Arg::Null]).await;
    let owner = owner(&server, &acme);

    let kept = send(&owner, "/console/privacy", TYPED).await;
    for said in ["2 calls", "1 messages of calls that are forgotten", "2 callbacks", NUMBER] {
        assert!(kept.text.contains(said), "{said} in {}", kept.text);
    }
    let exported = send(&owner, "/console/privacy/export", TYPED).await;
    for secret in ["locked", "of-the-organisation"] {
        assert!(!exported.text.contains(secret), "a secret is nobody's data");
    }
    let exported = exported.expect(200);
    let ids = |list: &Value, at: &str| -> Vec<String> {
        list.as_array().unwrap().iter().map(|one| one.pointer(at).unwrap().as_str().unwrap().to_owned()).collect()
    };
    assert_eq!((&exported["number"], &exported["complete"]), (&json!(NUMBER), &json!(true)));
    assert_eq!(ids(&exported["calls"], "/call/id"), ["call_connected", "call_from"]);
    assert_eq!(exported["calls"][0]["recordings"][0]["id"], "rec_1");
    assert_eq!(exported["calls"][1]["messages"][0]["id"], "vm_of_call");
    assert_eq!(exported["calls"][1]["runs"][0]["variables"]["pin"], "1234");
    assert_eq!(exported["calls"][1]["runs"][0]["steps"], json!([{"id": "ask", "type": "http"}]));
    assert_eq!(ids(&exported["messages"], "/id"), ["vm_alone"]);
    assert_eq!(ids(&exported["callbacks"], "/callback/id"), ["cb_over", "cb_to_come"]);

    let erased = send(&owner, "/console/privacy/erase", TYPED).await.text;
    assert!(erased.contains("Erased: 2 calls, 1 recordings, 2 messages, 1 callbacks"), "{erased}");
    assert!(erased.contains("1 stay for now"), "the callback to come: {erased}");
    for (sql, left) in [
        ("select count(*) as n from call where org = $1", 1),
        ("select count(*) as n from call_party where org = $1", 0),
        ("select count(*) as n from recording where org = $1", 0),
        ("select count(*) as n from voicemail where org = $1", 0),
        ("select count(*) as n from callback where org = $1", 1),
        ("select count(*) as n from flow_run where org = $1", 1),
        ("select count(*) as n from audit where org = $1 and action like 'person.%'", 2),
    ] {
        assert_eq!(count(db, sql, org).await, left, "{sql}");
    }
    for message in ["vm_of_call.wav", "vm_alone.wav"] {
        assert!(kernel.files.read(Shelf::Voicemail, org, message).await.is_err(), "{message}");
    }
    assert_eq!(count(db, "select count(*) as n from call where org = $1", &other.org.id).await, 1, "another's");

    // Once its callback is over the rest goes, and again is no harm.
    put(db, "update callback set ended_at = 5 where org = $1 and id = 'cb_to_come'", args![org]).await;
    for gone in ["1 callbacks", "0 callbacks"] {
        let erased = send(&owner, "/console/privacy/erase", NUMBER).await.text;
        assert!(erased.contains(gone) && !erased.contains("stay for now"), "{erased}");
    }
    assert_eq!(count(db, "select count(*) as n from flow_run where org = $1", org).await, 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_calls_and_recordings_are_erased_at_once() {
    const CALLS: usize = 2_100;
    const RECORDINGS: usize = 700;
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let (org, db) = (&*acme.org.id, &server.app.kernel.db);
    let mut rows: Vec<Write> =
        (0..CALLS).map(|n| call(org, &format!("call_{n:05}"), "+491", NUMBER, &[NUMBER])).collect();
    rows.extend((0..RECORDINGS).map(|n| Write::new(RECORDING, args![format!("rec_{n:05}"), org, "call_00003", AT_MS])));
    for part in rows.chunks(400) {
        db.writer().commit(part.to_vec()).await.unwrap();
    }
    let owner = owner(&server, &acme);
    let exported = send(&owner, "/console/privacy/export", NUMBER).await.expect(200);
    assert_eq!((exported["calls"].as_array().unwrap().len(), &exported["complete"]), (CALLS, &json!(true)));
    assert_eq!(exported["calls"][3]["recordings"].as_array().unwrap().len(), RECORDINGS);
    let erased = send(&owner, "/console/privacy/erase", NUMBER).await.text;
    assert!(erased.contains(&format!("Erased: {CALLS} calls, {RECORDINGS} recordings")), "{erased}");
    assert_eq!(count(db, "select count(*) as n from call where org = $1", org).await, 0);
    assert_eq!(count(db, "select count(*) as n from recording where org = $1", org).await, 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_go_yet_is_told_and_found_again() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let (org, kernel) = (&*acme.org.id, &server.app.kernel);
    let db = &kernel.db;
    db.writer().commit(vec![call(org, "call_1", NUMBER, "1001", &[])]).await.unwrap();
    db.writer().commit(vec![call(org, "call_2", NUMBER, "1001", &[])]).await.unwrap();
    // A file that cannot be deleted, and an event that a webhook has still to get.
    put(db, RECORDING, args!["rec_1", org, "call_1", AT_MS]).await;
    let stubborn = kernel.files.place(Shelf::Recordings, org, "rec_1.wav").unwrap();
    std::fs::create_dir(&stubborn).unwrap();
    put(db, EVENT, args![org, 1_i64, "evt_1", "call_2"]).await;
    put(db, DELIVERY, args![org, "call_2", i64::MAX / 4]).await;
    // And a call that is up, here on a node that is not ours.
    db.writer().commit(vec![call(org, "call_3", NUMBER, "1001", &[])]).await.unwrap();
    put(db, "update call set ended_at = null, state = 'answered' where org = $1 and id = 'call_3'", args![org]).await;
    put(db, RUN, args!["run_3", org, "call_3", "{}", "{}", AT_MS]).await;
    let owner = owner(&server, &acme);

    let erased = send(&owner, "/console/privacy/erase", NUMBER).await.text;
    assert!(erased.contains("Erased: 0 calls, 0 recordings") && erased.contains("3 stay for now"), "{erased}");
    let kept = send(&owner, "/console/privacy", NUMBER).await.text;
    assert!(kept.contains("3 calls (1 of them up"), "{kept}");
    let exported = send(&owner, "/console/privacy/export", NUMBER).await.expect(200);
    assert_eq!((&exported["calls_up"], &exported["complete"]), (&json!(1), &json!(false)));
    assert_eq!(exported["calls"].as_array().unwrap().len(), 2, "no half of a call");
    assert_eq!(count(db, "select count(*) as n from flow_run where org = $1", org).await, 1);
    put(db, "update call set ended_at = 5, state = 'completed' where org = $1 and id = 'call_3'", args![org]).await;
    assert_eq!(count(db, "select count(*) as n from recording where org = $1", org).await, 1);
    assert_eq!(count(db, "select count(*) as n from event where org = $1 and key = 'call_2'", org).await, 1);

    // Nor is a single message forgotten while its audio is there.
    put(db, MESSAGE, args!["vm_1", org, "call_gone", "+491", AT_MS]).await;
    let audio = kernel.files.place(Shelf::Voicemail, org, "vm_1.wav").unwrap();
    std::fs::create_dir(&audio).unwrap();
    assert_eq!(owner.delete("/v1/voicemail/vm_1").await.status, 500);
    std::fs::remove_dir(&audio).unwrap();
    assert_eq!(owner.delete("/v1/voicemail/vm_1").await.status, 204);
    assert_eq!(owner.delete("/v1/voicemail/vm_1").await.status, 404);

    std::fs::remove_dir(&stubborn).unwrap();
    put(db, "update delivery set state = 'done' where org = $1", args![org]).await;
    let erased = send(&owner, "/console/privacy/erase", NUMBER).await.text;
    assert!(erased.contains("Erased: 3 calls, 1 recordings") && !erased.contains("stay for now"), "{erased}");
    for sql in [
        "select count(*) as n from event where org = $1 and key = 'call_2'",
        "select count(*) as n from flow_run where org = $1",
    ] {
        assert_eq!(count(db, sql, org).await, 0, "{sql}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_finds_its_recordings_among_everybodys() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let (org, kernel) = (&*acme.org.id, &server.app.kernel);
    let db = &kernel.db;
    let agent = NewUser {
        name: "Bo".to_owned(),
        role: Some(Role::Agent),
        extension: Some("1001".to_owned()),
        ..NewUser::default()
    };
    let token = calls::create_user(kernel, &acme.org, agent).await.unwrap().auth_token.expose().to_owned();
    acme.phone("1002").await;
    // 30 of the agent's, then 60 of others that are younger.
    let mut rows = Vec::new();
    for n in 0..90 {
        let (id, party) = (format!("call_{n:02}"), if n < 30 { "1001" } else { "1002" });
        rows.push(call(org, &id, &format!("+4420718387{n:02}"), party, &[]));
        rows.push(Write::new(PARTY, args![org, party, &id]));
        rows.push(Write::new(RECORDING, args![format!("rec_{n:02}"), org, &id, AT_MS]));
    }
    db.writer().commit(rows).await.unwrap();

    let bo = server.browser().bearing(&token);
    let numbers = |page: &str, range: std::ops::Range<u32>| {
        range.filter(|n| page.contains(&format!("+4420718387{n:02}"))).count()
    };
    let first = bo.get("/console/recordings").await.text;
    assert_eq!((numbers(&first, 0..30), numbers(&first, 30..90)), (25, 0), "{first}");
    let (_, rest) = first.split_once("/console/recordings?cursor=").unwrap();
    let cursor = rest.split('"').next().unwrap();
    let second = bo.get(&format!("/console/recordings?cursor={cursor}")).await.text;
    assert_eq!((numbers(&second, 0..30), numbers(&second, 30..90)), (5, 0), "{second}");
    assert!(!second.contains("?cursor="), "that is all");
    let all = owner(&server, &acme).get("/console/recordings").await.text;
    assert_eq!((numbers(&all, 0..30), numbers(&all, 30..90)), (0, 25), "an owner sees the youngest of all");
    server.stop().await;
}
