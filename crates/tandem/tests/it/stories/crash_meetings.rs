//! kill -9 in each of the five states of a meeting: after the restart it is as it was, open again, or ended with a cause,
//! and its log has neither a hole nor a second end.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::harness::crowd::Act;
use crate::harness::house::{House, assert_each_completed_once};

/// The contract's word for how soon a meeting is settled after a restart.
const SETTLED: Duration = Duration::from_secs(60);
/// A phone that only rings.
const RINGS: &str = "+442071838201";

struct Ordered {
    id: i64,
    path: String,
}

/// Orders a meeting of two phones that begins so long from now.
async fn order(house: &House, order_id: &str, caller: &str, in_minutes: i64) -> Ordered {
    let start = Timestamp::now() + SignedDuration::from_mins(in_minutes);
    let body = json!({
        "user": {"uid_caller": format!("c{order_id}"), "uid_receiver": format!("r{order_id}")},
        "meeting": {"order_id": order_id, "duration": 30, "start_at": start.to_string()},
        "caller": {"name": "Ann", "number": caller, "call_type": "Phone"},
        "receiver": {"name": "Bob", "number": format!("+4420718383{order_id:0>2}"), "call_type": "Phone"},
    });
    let answer = house.client().post("/api/v1/meetings", &body).await.expect(200);
    let id = answer["meeting_id"].as_i64().unwrap();
    Ordered { id, path: format!("/v1/meetings/{id}") }
}

async fn until(house: &House, meeting: &Ordered, state: &str) {
    house.client().until(&meeting.path, state, |meeting| meeting["state"] == state).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_meeting_survives_kill_9_in_each_of_its_states() {
    let mut house = House::start("", |number| match number {
        RINGS => vec![Act::Ring, Act::wait(600_000)],
        _ => vec![Act::Ring, Act::Answer, Act::Speak, Act::wait(600_000)],
    })
    .await;
    let scheduled = order(&house, "1", "+442071838101", 60).await;
    let open = order(&house, "2", "+442071838102", 1).await;
    let connecting = order(&house, "3", RINGS, 0).await;
    let live = order(&house, "4", "+442071838104", 0).await;
    let ended = order(&house, "5", "+442071838105", 0).await;
    until(&house, &open, "open").await;
    for meeting in [&connecting, &live] {
        until(&house, meeting, "open").await;
        house.client().post(&format!("{}/call", meeting.path), &json!({})).await.expect(200);
    }
    until(&house, &live, "live").await;
    house.client().post(&format!("{}/cancel", ended.path), &json!({})).await.expect(200);
    house.crowd.until("it rings", SETTLED, |crowd| crowd.rung(RINGS) == 1).await;
    assert_eq!(house.client().get(&connecting.path).await.expect(200)["state"], "connecting");
    house.kill().await;
    house.rise().await;

    // Settled before the first request is answered.
    let now = async |meeting: &Ordered| house.client().get(&meeting.path).await.expect(200);
    assert_eq!(now(&scheduled).await["state"], "scheduled");
    assert_eq!(now(&open).await["state"], "open");
    let (fell_back, parted, cancelled) = (now(&connecting).await, now(&live).await, now(&ended).await);
    assert_eq!((&fell_back["state"], &fell_back["last_attempt"]), (&json!("open"), &json!("failed")));
    assert_eq!((&parted["state"], &parted["live_since"]), (&json!("open"), &Value::Null));
    assert_eq!((&cancelled["state"], &cancelled["cause"]), (&json!("ended"), &json!("cancelled")));

    // What was cut may be called again at once.
    house.client().post(&format!("{}/call", live.path), &json!({"as": "receiver"})).await.expect(200);
    until(&house, &live, "live").await;
    house.client().post(&format!("{}/finish", live.path), &json!({})).await.expect(200);
    assert_eq!(now(&live).await["cause"], "completed");
    let events = house.all_over(SETTLED).await;
    for meeting in [&scheduled, &open, &connecting, &live, &ended] {
        let own: Vec<&Value> =
            events.iter().filter(|event| event["key"].as_str() == Some(&meeting.id.to_string())).collect();
        let numbers: Vec<i64> = own.iter().map(|event| event["seq"].as_i64().unwrap()).collect();
        assert_eq!(numbers, (1..=own.len() as i64).collect::<Vec<_>>());
        let ends = own.iter().filter(|event| event["type"] == "meeting.ended").count();
        let is_over = now(meeting).await["state"] == "ended";
        assert_eq!(ends, usize::from(is_over), "{own:#?}");
    }
    assert_each_completed_once(&house.calls().await, &events);
}
