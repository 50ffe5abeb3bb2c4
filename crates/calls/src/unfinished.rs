//! What a crash left without its end: a wait in a queue, a part in a conference, a stream. Pure: the events that began
//! and ended such things go in, the events that are missing come out.
//!
//! Invariant: each beginning gets one end, so that nobody who counts by events counts for ever.

use serde_json::{Value, json};
use voice::leg::LegId;

use crate::journal::Step;
use crate::model::LegRole;
use crate::queue::Left;

/// An event as it was written.
pub(crate) struct Past {
    pub(crate) kind: String,
    pub(crate) time_ms: i64,
    pub(crate) body: Value,
}

/// An event that is missing.
#[derive(Debug)]
pub(crate) struct Missing {
    pub(crate) kind: &'static str,
    pub(crate) leg: Option<(LegId, LegRole)>,
    pub(crate) step: Option<Step>,
    pub(crate) data: Value,
}

/// What begins, what ends it, and how the end reads of something that began so and lasted so many seconds.
type Pair = (&'static str, &'static str, fn(&Value, f64) -> Value);

const PAIRS: [Pair; 3] = [
    ("queue.joined", "queue.left", |began, seconds| {
        json!({
            "team": began["team"], "reason": Left::Hangup.as_str(), "waited_s": seconds, "position": began["position"],
        })
    }),
    ("conference.joined", "conference.left", |began, seconds| {
        json!({
            "conference": began["conference"], "room": began["room"], "reason": "hangup", "seconds": seconds,
        })
    }),
    ("stream.started", "stream.stopped", |began, _| json!({"stream_sid": began["stream_sid"], "reason": "hangup"})),
];

/// The ends that a call of these events, oldest first, lacks when it is over at `over_ms`.
pub(crate) fn missing(events: &[Past], over_ms: i64) -> Vec<Missing> {
    let mut missing = Vec::new();
    for (beginning, end, data) in PAIRS {
        let last = events.iter().rfind(|event| event.kind == beginning || event.kind == end);
        let Some(began) = last.filter(|event| event.kind == beginning) else { continue };
        let seconds = (over_ms - began.time_ms).max(0) as f64 / 1000.0;
        let data = data(began.body.get("data").unwrap_or(&Value::Null), seconds);
        missing.push(Missing { kind: end, leg: leg_of(&began.body), step: step_of(&began.body), data });
    }
    missing
}

fn leg_of(body: &Value) -> Option<(LegId, LegRole)> {
    let leg = body.get("leg")?;
    let role = serde_json::from_value(leg.get("role")?.clone()).ok()?;
    Some((leg.get("id")?.as_str()?.into(), role))
}

fn step_of(body: &Value) -> Option<Step> {
    let step = body.get("step")?;
    Some(Step { id: step.get("id")?.as_str()?.to_owned(), kind: step.get("type")?.as_str()?.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn past(kind: &str, time_ms: i64, data: Value) -> Past {
        Past { kind: kind.into(), time_ms, body: json!({"data": data, "step": {"id": "q", "type": "queue"}}) }
    }

    #[test]
    fn what_began_and_did_not_end_ends() {
        let waits = |at_ms| past("queue.joined", at_ms, json!({"team": "5263", "position": 2}));
        let served = |at_ms| past("queue.left", at_ms, json!({"team": "5263", "reason": "bridged"}));
        let stream = past("stream.started", 500, json!({"stream_sid": "stream_1"}));
        for (events, expected) in [
            (vec![], 0),
            (vec![waits(0), served(100)], 0),
            (vec![waits(0), served(100), waits(1_000)], 1),
            (vec![waits(1_000), stream], 2),
        ] {
            let missing = missing(&events, 3_500);
            assert_eq!(missing.len(), expected);
            if let Some(left) = missing.first() {
                assert_eq!((left.kind, left.step.as_ref().unwrap().id.as_str()), ("queue.left", "q"));
                let data = json!({"team": "5263", "reason": "hangup", "waited_s": 2.5, "position": 2});
                assert_eq!(left.data, data);
            }
        }
    }
}
