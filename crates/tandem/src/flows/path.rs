//! The path that a run took, read from the step.* events of its call.

use kernel::{DbError, Kernel};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// Events read at once.
const EVENTS_PAGE: u32 = 500;

/// One step that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Visit {
    /// From 1.
    pub(crate) seq: usize,
    /// Canonical id.
    pub(crate) step_id: String,
    /// Canonical type.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// When it began; RFC 3339, UTC.
    pub(crate) at: String,
    /// How it ended; none while it runs.
    pub(crate) outcome: Option<String>,
    /// The step that followed.
    pub(crate) next: Option<String>,
}

/// The events of a call, oldest first, whose type begins like this.
pub(crate) async fn events_of(kernel: &Kernel, org: &str, call: &str, beginning: &str) -> Result<Vec<Value>, DbError> {
    let mut events = Vec::new();
    let mut after = 0;
    loop {
        let page = kernel.events.of_key(org, call, after, EVENTS_PAGE).await?;
        let Some(last) = page.last() else {
            return Ok(events);
        };
        after = last.seq;
        let wanted = page.iter().filter(|event| event.kind.starts_with(beginning));
        events.extend(wanted.filter_map(|event| serde_json::from_str(&event.envelope).ok()));
    }
}

/// The path, from step.* events; a run that has ended left its last step by a hang-up when nothing else is said.
pub(crate) fn visited(events: &[Value], ended: bool) -> Vec<Visit> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let mut visits: Vec<Visit> = Vec::new();
    for event in events {
        let (step, data) = (&event["step"], &event["data"]);
        if event["type"] == "step.started" {
            visits.push(Visit {
                seq: visits.len() + 1,
                step_id: text(&step["id"]).unwrap_or_default(),
                kind: text(&step["type"]).unwrap_or_default(),
                at: text(&event["time"]).unwrap_or_default(),
                outcome: None,
                next: None,
            });
        } else if let (Some(visit), Some(outcome)) = (visits.last_mut(), text(&data["outcome"])) {
            visit.outcome = Some(outcome);
            visit.next = text(&data["next"]);
        }
    }
    if let Some(last) = visits.last_mut().filter(|last| ended && last.outcome.is_none()) {
        last.outcome = Some("hangup".to_owned());
    }
    visits
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(kind: &str, id: &str, data: Value) -> Value {
        json!({"type": kind, "time": "t", "step": {"id": id, "type": "play"}, "data": data})
    }

    #[test]
    fn the_path_is_read_from_the_events() {
        let events = [
            event("step.started", "1", json!({})),
            event("step.completed", "1", json!({"outcome": "completed", "next": "2"})),
            event("step.started", "2", json!({})),
            event("step.failed", "2", json!({"error": "prompt: gone"})),
        ];
        let path = visited(&events, false);
        assert_eq!(path[0].next.as_deref(), Some("2"));
        assert_eq!((path[1].seq, path[1].outcome.clone()), (2, None));
        assert_eq!(visited(&events, true)[1].outcome.as_deref(), Some("hangup"));
    }
}
