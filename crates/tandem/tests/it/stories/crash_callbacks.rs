//! T8: kill -9 while callbacks are due, are being dialled, and talk. After the restart each comes to
//! one end: who was not reached is rung again, who talked is left in peace.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::harness::chance::Chance;
use crate::harness::crowd::Act;
use crate::harness::house::{House, assert_each_completed_once, of};

/// The job of a callback is looked at every 15 s; then it is rung, answered, and ended.
const SETTLED: Duration = Duration::from_secs(45);
/// From the booking to the time it is due.
const AHEAD: SignedDuration = SignedDuration::from_secs(4);

/// The entity of the callback that finds nobody before the kill, and so on; `customer` says the
/// customer of each.
const RINGS: &str = "1001";
const CUSTOMER_RINGS: &str = "1002";
const TALKS: &str = "1003";
const LATER: &str = "1004";
const ENTITIES: [&str; 4] = [RINGS, CUSTOMER_RINGS, TALKS, LATER];

fn customer(entity: &str) -> String {
    format!("+44207183{entity}")
}

/// Posts a call that books a callback of `entity` at a time, and gives the callback's key.
async fn book(house: &House, entity: &str, at: Timestamp) -> String {
    let at = at.to_zoned(jiff::tz::TimeZone::UTC);
    let (date, time) = (at.strftime("%F").to_string(), at.strftime("%T").to_string());
    let flow = json!([
        {"id": 1, "type": "call", "number": customer(entity), "next_step": 2},
        {"id": 2, "type": "callback", "date": date, "time": time, "timezone": "UTC", "entity": entity, "on_past": "asap"},
    ]);
    let body = json!({"flow": flow, "publish": {"url": house.stub.url("/publish")}});
    let answer = house.client().post("/api/v2/call/flow", &body).await.expect(201);
    let path = format!("/v1/calls/{}/events?limit=500", answer["call_id"].as_str().unwrap());
    let booked = |page: &Value| page.to_string().contains("callback.scheduled");
    let page = house.client().until(&path, "the callback is booked", booked).await;
    let scheduled = of(page["events"].as_array().unwrap(), "callback.scheduled")[0].clone();
    scheduled["data"]["callback"].as_str().unwrap_or_else(|| panic!("{scheduled}")).to_owned()
}

/// Waits until each of these callbacks has come to an end, and gives the log.
async fn ended(house: &House, keys: &[String]) -> Vec<Value> {
    let waited = tokio::time::timeout(SETTLED, async {
        loop {
            let events = house.events().await;
            if keys.iter().all(|key| !ends(&events, key).is_empty()) {
                return;
            }
            sleep(Duration::from_millis(200)).await;
        }
    });
    let in_time = waited.await.is_ok();
    let events = house.events().await;
    let lost = keys.iter().filter(|key| ends(&events, key).is_empty());
    let stories = lost.map(|key| story(&events, key)).collect::<Vec<_>>();
    assert!(in_time, "callbacks were lost: {stories:#?}");
    house.all_over(SETTLED).await
}

/// What the log says of a callback and of the calls it made.
fn story(events: &[Value], key: &str) -> Vec<String> {
    let started = events.iter().filter(|event| event["key"] == *key && event["type"] == "callback.started");
    let calls: Vec<String> = started.map(|event| text(&event["data"]["call_id"])).collect();
    let is_of = |event: &&Value| event["key"] == *key || calls.contains(&text(&event["key"]));
    events.iter().filter(is_of).map(|event| format!("{} {} {}", event["time"], event["type"], event["data"])).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// How a callback ended, each time it did.
fn ends<'e>(events: &'e [Value], key: &str) -> Vec<&'e Value> {
    let is_end = |event: &&Value| matches!(event["type"].as_str(), Some("callback.completed" | "callback.missed"));
    events.iter().filter(|event| event["key"] == key).filter(is_end).collect()
}

/// Asserts that each callback ended once, in the log and at the receiver, and that the receiver got
/// that end.
async fn assert_each_ended_once(house: &House, keys: &[String], events: &[Value]) {
    for key in keys {
        let ends = ends(events, key);
        assert_eq!(ends.len(), 1, "{ends:#?}");
        let id = text(&ends[0]["id"]);
        let told = |asked: &[crate::harness::stub::Asked]| asked.iter().any(|asked| asked.headers["webhook-id"] == id);
        house.stub.until("the end of the callback", SETTLED, told).await;
    }
    assert_each_completed_once(&house.calls().await, events);
}

#[tokio::test(flavor = "multi_thread")]
async fn t8_callbacks_that_were_being_dialled_are_neither_lost_nor_doubled() {
    let second_life = Arc::new(AtomicBool::new(false));
    let rung: Arc<Mutex<HashMap<String, usize>>> = Arc::default();
    let (alive_again, counts) = (Arc::clone(&second_life), Arc::clone(&rung));
    let mut house = House::start("", move |number| {
        let first = {
            let mut counts = counts.lock().unwrap();
            let count = counts.entry(number.to_owned()).or_default();
            *count += 1;
            *count == 1
        };
        if alive_again.load(Ordering::Relaxed) {
            return vec![Act::Ring, Act::Answer, Act::wait(500), Act::Hangup];
        }
        // A customer's first call is the one that books.
        match number {
            RINGS => vec![Act::Ring],
            number if number == customer(CUSTOMER_RINGS) && !first => vec![Act::Ring],
            _ => vec![Act::Ring, Act::Answer],
        }
    })
    .await;
    for entity in ENTITIES {
        house.phone(entity).await;
    }
    let mut keys = Vec::new();
    let due = Timestamp::now() + AHEAD;
    for entity in ENTITIES {
        let at = if entity == LATER { due + SignedDuration::from_secs(8) } else { due };
        keys.push(book(&house, entity, at).await);
    }
    // All three are under way, and the third is known to talk.
    house
        .crowd
        .until("the callbacks are dialled", Duration::from_secs(30), |crowd| {
            crowd.rung(RINGS) == 1 && crowd.rung(&customer(CUSTOMER_RINGS)) == 2 && crowd.rung(&customer(TALKS)) == 2
        })
        .await;
    let talks = |page: &Value| page["events"].to_string().contains("connect.answered");
    house.client().until("/v1/events?limit=500", "the third talks", talks).await;
    house.kill().await;
    second_life.store(true, Ordering::Relaxed);
    house.rise().await;

    let events = ended(&house, &keys).await;
    assert_each_ended_once(&house, &keys, &events).await;
    let end = |index: usize| ends(&events, &keys[index])[0].clone();
    for index in [0, 1, 3] {
        assert_eq!(end(index)["type"], "callback.completed", "{:#}", end(index));
        assert_eq!(end(index)["data"]["status"], "completed", "{:#}", end(index));
    }
    assert_eq!(end(2)["data"]["reason"], "server_restart", "who talked is not rung again");
    let rung = |number: &str| house.crowd.rung(number);
    assert_eq!(ENTITIES.map(rung), [2, 2, 1, 1], "interrupted ones are rung again, the others are not");
    assert_eq!(ENTITIES.map(|entity| rung(&customer(entity))), [2, 3, 2, 2], "and so are the customers");
}

#[tokio::test(flavor = "multi_thread")]
async fn t8_killed_around_the_due_time_each_callback_comes_to_one_end() {
    let mut chance = Chance::told();
    let mut house =
        House::start("", |_| vec![Act::Ring, Act::wait(30), Act::Answer, Act::wait(900), Act::Hangup]).await;
    for entity in ENTITIES {
        house.phone(entity).await;
    }
    let mut keys = Vec::new();
    let due = Timestamp::now() + AHEAD;
    for entity in ENTITIES {
        keys.push(book(&house, entity, due).await);
    }
    let offset_ms = chance.within(0..1_500) as i64 - 400;
    println!("killed {offset_ms} ms after the callbacks were due");
    let moment = due.as_millisecond() + offset_ms - Timestamp::now().as_millisecond();
    sleep(Duration::from_millis(moment.max(0) as u64)).await;
    house.kill().await;
    house.rise().await;
    let events = ended(&house, &keys).await;
    assert_each_ended_once(&house, &keys, &events).await;
    for (entity, key) in ENTITIES.iter().zip(&keys) {
        let started = events.iter().filter(|event| event["key"] == *key && event["type"] == "callback.started").count();
        let rung = house.crowd.rung(entity);
        assert!((1..=2).contains(&started) && rung <= started, "{entity}: {started} attempts, rung {rung} times");
    }
}
