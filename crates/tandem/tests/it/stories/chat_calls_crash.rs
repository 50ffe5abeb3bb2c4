//! kill -9 while a chat's call rings and while its two talk: after the restart nothing hangs, the message says that it
//! failed, and what was recorded lands.

use std::time::Duration;

use kernel::args;
use serde_json::{Value, json};

use crate::harness::chat::opened;
use crate::harness::chat_agent::calls_in;
use crate::harness::crowd::Act;
use crate::harness::house::{House, assert_each_completed_once};

/// The agents' extensions, and the visitors' numbers: one talks, one only rings.
const AGENTS: [&str; 2] = ["7351946", "7351947"];
const TALKS: &str = "+442071838461";
const RINGS: &str = "+442071838462";
const SETTLED: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn no_call_of_a_chat_hangs_after_kill_9() {
    let mut house = House::start("", |number| match number {
        RINGS => vec![Act::Ring, Act::wait(600_000)],
        _ => vec![Act::Ring, Act::Answer, Act::Speak, Act::wait(600_000)],
    })
    .await;
    let store = house.store().await;
    let mut rooms = Vec::new();
    for agent in AGENTS {
        house.phone(agent).await;
        let new = json!({"user_id": agent, "product": "LOGOSCAN", "new": true});
        let answer = house.client().post("/v1/chat/rooms", &new).await.expect(201);
        let app = answer["room"]["app"].as_str().unwrap();
        house.verb(&["app", "set", app, "chat_calls=both", "chat_record=true"]).await;
        let room = opened(answer);
        let assign = "update chat_room set revision = revision + 1, \
            assignee = (select person from extension where number = $2) where id = $1";
        assert_eq!(store.run(assign, args![&room.room, agent]).await.unwrap(), 1);
        rooms.push(room);
    }
    let path = |room: usize| format!("/v1/chat/rooms/{}/call", rooms[room].room);
    let allows = |options: &Value| options["modes"].as_array().is_some_and(|modes| modes.contains(&json!("phone")));
    for (room, number) in [(0, TALKS), (1, RINGS)] {
        // Settings that another process wrote are known a moment later.
        house.client().until(&path(room), "calls are allowed", allows).await;
        house.client().post(&path(room), &json!({"mode": "phone", "phone": number})).await.expect(201);
    }
    let talking = house.client().until(&path(0), "they talk", |options| options["call"]["state"] == "talking").await;
    let recordings = format!("/v1/calls/{}/recordings", talking["call"]["call"].as_str().unwrap());
    house.client().until(&recordings, "it is recorded", |list| list["recordings"][0].is_object()).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    house.crowd.until("it rings", SETTLED, |crowd| crowd.rung(RINGS) == 1).await;
    drop(store);
    house.kill().await;
    house.rise().await;

    // Settled before the first request is answered.
    let cut = house.client().get(&path(0)).await.expect(200)["call"].clone();
    assert_eq!(cut["state"], "failed", "{cut}");
    assert!(cut["started_at"].is_string() && cut["recording"]["seconds"].as_f64().unwrap() > 0.0, "{cut}");
    let ringing = house.client().get(&path(1)).await.expect(200)["call"].clone();
    assert_eq!((&ringing["state"], &ringing["recording"]), (&json!("failed"), &Value::Null), "{ringing}");
    assert_eq!(calls_in(&house.client(), &rooms[0].room).await, [cut]);
    assert_eq!(calls_in(&house.client(), &rooms[1].room).await, [ringing]);

    // The room is free for another one.
    house.client().post(&path(0), &json!({"mode": "phone", "phone": TALKS})).await.expect(201);
    house.client().until(&path(0), "they talk", |options| options["call"]["state"] == "talking").await;
    house.client().post(&format!("{}/end", path(0)), &json!({})).await.expect(200);
    let events = house.all_over(SETTLED).await;
    assert_each_completed_once(&house.calls().await, &events);
    let told = calls_in(&house.client(), &rooms[0].room).await;
    assert_eq!(told.iter().map(|call| call["state"].clone()).collect::<Vec<_>>(), ["failed", "ended"]);
}
