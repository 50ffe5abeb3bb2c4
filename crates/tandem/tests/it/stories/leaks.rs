//! After a thousand calls of all kinds, and the timers of RFC 3261, the process holds what it held
//! before: tasks, ports, descriptors, rows.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::harness::chance::is_full;
use crate::harness::crowd::{Act, Took};
use crate::harness::house::{House, assert_each_completed_once, of};

/// Calls of a usual run, and of a long one.
const CALLS: usize = 1_000;
const MANY_CALLS: usize = 10_000;
/// From one call to the next.
const PACE: Duration = Duration::from_millis(20);
/// A phone without audio counts as lost after this.
const MEDIA_TIMEOUT_S: u64 = 4;
/// Until the last call is over: the media time-out, then 64 T1 for a phone that does not answer a BYE.
const OVER: Duration = Duration::from_secs(90);
/// Timers H, J and their like (RFC 3261 17): 32 s after the last message nothing is left.
const TIMERS: Duration = Duration::from_secs(40);
/// Descriptors of the database's readers and of idle connections, which come with the first calls.
const POOLED: usize = 40;

const AGENT: &str = "+442079900001";
const OWN_FLOW: &str = "+442071839001";
const OWN_PERSON: &str = "+442071839002";

/// What a call is about; its place in the list is the middle of its customer's number.
const KINDS: [&str; 17] = [
    "vanished",
    "answered",
    "busy",
    "no answer",
    "cancelled",
    "connect",
    "record",
    "voicemail",
    "callback",
    "transfer",
    "codec mismatch",
    "rejected flow",
    "inbound",
    "inbound cancelled",
    "refer",
    "early media",
    "digits and http",
];

fn number(kind: usize, index: usize) -> String {
    format!("+44207{kind:02}{index:05}")
}

/// How the phones of each kind behave.
fn manner(number: &str) -> Vec<Act> {
    let answers = |more: &[Act]| [&[Act::Ring, Act::Answer], more].concat();
    let kind = number.strip_prefix("+44207").and_then(|rest| rest.get(..2)?.parse().ok());
    match kind.and_then(|kind: usize| KINDS.get(kind)).copied().unwrap_or("") {
        "vanished" => answers(&[Act::Vanish]),
        "busy" => vec![Act::Refuse(486)],
        "codec mismatch" => vec![Act::Refuse(488)],
        "no answer" | "cancelled" => vec![Act::Ring],
        "early media" => vec![Act::EarlyMedia, Act::wait(100), Act::Refuse(603)],
        "connect" | "callback" | "transfer" => answers(&[Act::wait(400), Act::Hangup]),
        "record" | "voicemail" => answers(&[Act::Speak, Act::wait(2_500), Act::Hangup]),
        "refer" => answers(&[Act::Refer(AGENT.to_owned()), Act::wait(500), Act::Hangup]),
        "digits and http" => answers(&[Act::wait(100), Act::Key('7'), Act::wait(300), Act::Hangup]),
        "answered" => answers(&[]),
        // Person 1003 rings for ever; agents answer.
        _ if number == "1003" => vec![Act::Ring],
        _ => answers(&[]),
    }
}

/// The flow of a kind.
fn body(house: &House, kind: &str, number: &str) -> Value {
    let call = json!({"id": 1, "type": "call", "number": number, "timeout": 5, "next_step": 2});
    let step = match kind {
        "connect" | "refer" => json!({"id": 2, "type": "connect", "number": AGENT}),
        "transfer" => json!({"id": 2, "type": "transfer", "to": AGENT}),
        "voicemail" => json!({"id": 2, "type": "voicemail", "box": "1001"}),
        "callback" => {
            json!({"id": 2, "type": "callback", "date": "2026-01-01", "time": "09:00", "entity": "1002", "on_past": "asap"})
        }
        "rejected flow" => json!({"id": 2, "type": "play"}),
        "digits and http" => json!({"id": 2, "type": "digits", "flow": {"*": 3}}),
        "answered" => json!({"id": 2, "type": "hangup"}),
        _ => json!({"id": 2, "type": "pause", "seconds": 600}),
    };
    let http = json!({"id": 3, "type": "http", "url": house.stub.url("/crm"), "next_step": 2});
    json!({"record": kind == "record", "publish": {"url": house.stub.url("/publish")}, "flow": [call, step, http]})
}

/// Makes one call of a kind.
async fn make(house: &House, kind: usize, index: usize) {
    let (client, name) = (house.client(), KINDS[kind]);
    match name {
        "inbound" => {
            house.crowd.dial(&number(kind, index), OWN_FLOW, vec![Act::Established, Act::wait(200), Act::Hangup])
        }
        "inbound cancelled" => house.crowd.dial(&number(kind, index), OWN_PERSON, vec![Act::wait(200), Act::Hangup]),
        _ => {
            let answer = client.post("/api/v2/call/flow", &body(house, name, &number(kind, index))).await;
            let wanted = if name == "rejected flow" { 422 } else { 201 };
            let id = answer.expect(wanted)["call_id"].as_str().unwrap_or_default().to_owned();
            if name == "cancelled" {
                sleep(Duration::from_millis(100)).await;
                client.post(&format!("/api/v2/call/{id}/hangup"), &json!({})).await.expect(200);
            }
        }
    }
}

/// What the process holds, by name.
async fn held(house: &House) -> BTreeMap<String, i64> {
    let metrics = house.client().get("/metrics").await.text;
    let gauges = metrics.lines().filter(|line| is_gauge(line));
    let mut held: BTreeMap<String, i64> = gauges
        .filter_map(|line| line.split_once(' '))
        .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
        .collect();
    let store = house.store().await;
    for (name, sql) in ROWS {
        let row = store.one(sql, Vec::new()).await.unwrap().unwrap();
        held.insert(name.to_owned(), row.int("held").unwrap());
    }
    let pid = house.running().pid();
    let links: Vec<String> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .filter_map(|entry| Some(std::fs::read_link(entry.ok()?.path()).ok()?.to_string_lossy().into_owned()))
        .collect();
    let udp = std::fs::read_to_string(format!("/proc/{pid}/net/udp")).unwrap();
    let inodes: Vec<&str> = udp.lines().skip(1).filter_map(|line| line.split_whitespace().nth(9)).collect();
    let is_udp = |link: &&String| inodes.iter().any(|inode| **link == format!("socket:[{inode}]"));
    held.insert("udp sockets".to_owned(), links.iter().filter(is_udp).count() as i64);
    held.insert("open recordings".to_owned(), links.iter().filter(|link| link.contains(".wav")).count() as i64);
    held.insert("descriptors".to_owned(), links.len() as i64);
    held
}

/// The gauges of what is held by calls.
const GAUGES: [&str; 7] = [
    "tandem_calls",
    "tandem_sip_legs",
    "tandem_sip_transactions",
    "tandem_media_legs",
    "tandem_rtp_port_pairs",
    "tandem_recordings",
    "tandem_tasks",
];

fn is_gauge(line: &str) -> bool {
    line.split_once(' ').is_some_and(|(name, _)| GAUGES.contains(&name))
}

/// Rows of what is going on.
const ROWS: [(&str, &str); 6] = [
    ("live calls", "select count(*) as held from call where ended_at is null"),
    ("jobs", "select count(*) as held from job"),
    ("deliveries under way", "select count(*) as held from delivery where state in ('fast', 'slow')"),
    ("open recordings in rows", "select count(*) as held from recording where state = 'recording'"),
    ("open messages in rows", "select count(*) as held from voicemail where state = 'recording'"),
    ("open callbacks", "select count(*) as held from callback where ended_at is null"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_calls_of_all_kinds_leave_nothing_behind() {
    let settings = format!(
        "[limits]\ncalls_per_second = 0\nconcurrent_calls = 0\nrequests_per_minute_per_ip = 0\nrequests_per_minute_per_token = 0\n\
         [media]\ntimeout_seconds = {MEDIA_TIMEOUT_S}\n"
    );
    let house = House::start(&settings, manner).await;
    for extension in ["1001", "1002", "1003"] {
        house.phone(extension).await;
    }
    house.inbound(OWN_FLOW, json!([{"id": 1, "type": "play", "text": "Hello.", "loop": 20}])).await;
    house.verb(&["number", "add", OWN_PERSON, "--org", "acme", "--to", "person:1003"]).await;
    let hook = json!({"url": house.stub.url("/hook"), "events": ["call.completed"]});
    house.client().post("/v1/webhooks", &hook).await.expect(201);
    // REGISTER transactions of the phones are still remembered: only what calls hold is compared.
    let before = held(&house).await;

    let number = if is_full() { MANY_CALLS } else { CALLS };
    let each = number.div_ceil(KINDS.len());
    let house = Arc::new(house);
    let mut making = tokio::task::JoinSet::new();
    // Those that vanish go first: they take longest to be given up.
    let vanished = (0..each).map(|index| (0, index));
    let others = (0..each).flat_map(|index| (1..KINDS.len()).map(move |kind| (kind, index)));
    let begun = Instant::now();
    let mut next = begun;
    for (kind, index) in vanished.chain(others) {
        next += PACE;
        tokio::time::sleep_until(next).await;
        let house = Arc::clone(&house);
        making.spawn(async move { make(&house, kind, index).await });
    }
    while let Some(made) = making.join_next().await {
        assert!(made.is_ok(), "{made:?}: {}", house.running().warnings());
    }
    println!("made after {:?}", begun.elapsed());
    let events = house.all_over(OVER).await;
    println!("over after {:?}", begun.elapsed());
    assert_each_completed_once(&house.calls().await, &events);
    assert_kinds_happened(&house, &events, each);

    let quiet_by = Instant::now() + TIMERS;
    let mut after = held(&house).await;
    let leaked = |after: &BTreeMap<String, i64>| -> Vec<String> {
        let wanted = |name: &str, before: i64| match name {
            "tandem_sip_transactions" => 0,
            "descriptors" => before + POOLED as i64,
            _ => before,
        };
        let grown = before.iter().filter(|(name, held)| after[*name] > wanted(name, **held));
        grown.map(|(name, held)| format!("{name}: {held} before, {} after", after[name])).collect()
    };
    while !leaked(&after).is_empty() && Instant::now() < quiet_by {
        sleep(Duration::from_secs(1)).await;
        after = held(&house).await;
    }
    println!("quiet after {:?}\nbefore {before:?}\nafter {after:?}", begun.elapsed());
    assert_eq!(leaked(&after), Vec::<String>::new(), "{}", house.running().warnings());
}

/// Asserts that the calls were of all kinds, so that nothing was counted of what did not happen.
fn assert_kinds_happened(house: &House, events: &[Value], each: usize) {
    let mut causes: HashMap<&str, usize> = HashMap::new();
    for event in of(events, "call.completed") {
        *causes.entry(event["data"]["cause"].as_str().unwrap()).or_default() += 1;
    }
    for cause in ["busy", "no_answer", "media_incompatible", "media_timeout", "canceled", "rejected"] {
        let count = causes.get(cause).copied().unwrap_or_default();
        assert!(count >= each, "{count} calls ended {cause}, of {each}: {causes:?}");
    }
    // On a busy machine a phone may hang up before its step was reached: most of them got there.
    for kind in ["recording.ready", "callback.completed", "http.completed", "connect.answered", "voicemail.left"] {
        let count = of(events, kind).len();
        assert!(count * 2 > each, "{count} {kind} of {each}; calls ended {causes:?}");
    }
    assert_eq!(house.crowd.took(Took::Vanished), each);
}
