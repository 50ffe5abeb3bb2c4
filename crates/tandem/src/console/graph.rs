//! The drawn flow with the path of a run on it; what happens next is lit in the browser, by the tap's events.

use askama::Template;
use serde_json::Value;

use crate::flows::drawing::{self, Arrow, BOX, Drawing, StepBox};
use crate::flows::path::Visit;
use crate::flows::{Purpose, check};

/// A drawing shrinks to fit its place, to no less than this part of its size: its letters are 8 pixels high then.
const LEAST_SCALE: (i32, i32) = (64, 100);

/// The drawing, which is shown by naming it in a template.
#[derive(Clone, Debug, Template)]
#[template(path = "console/graph.html")]
pub(super) struct Graph {
    drawing: Drawing,
    /// The call whose steps light it; empty when it only shows a flow.
    call: String,
    /// The path so far.
    visits: Vec<Visit>,
    is_live: bool,
}

/// Every value in it is escaped by its own template.
impl askama::filters::HtmlSafe for Graph {}

impl Graph {
    /// A flow by itself; `None` when it is not good enough to be drawn.
    pub(super) fn of(body: &Value, now_ms: i64) -> Option<Self> {
        let flow = check(body, Purpose::Save, now_ms).flow?;
        let drawing = drawing::draw(&flow, body);
        Some(Self { drawing, call: String::new(), visits: Vec::new(), is_live: false })
    }

    /// With the path of a run.
    pub(super) fn lit(mut self, call: &str, visits: Vec<Visit>, is_live: bool) -> Self {
        (self.call, self.visits, self.is_live) = (call.to_owned(), visits, is_live);
        self
    }

    /// The least width at which it can be read, in pixels; what is wider than its place is moved in it.
    fn least_width(&self) -> i32 {
        self.drawing.width * LEAST_SCALE.0 / LEAST_SCALE.1
    }

    fn size(&self) -> (i32, i32) {
        BOX
    }

    /// How a box looks: where the call is, where it was.
    fn class(&self, step: &StepBox) -> &'static str {
        match self.visits.iter().rev().find(|visit| visit.step_id == step.id) {
            None => "",
            Some(visit) if visit.outcome.is_none() && self.is_live => "here",
            Some(_) => "was",
        }
    }

    /// How an arrow looks: whether the call went along it.
    fn arrow_class(&self, arrow: &Arrow) -> &'static str {
        let went = self.visits.iter().any(|visit| {
            let outcome = visit.outcome.as_deref();
            visit.step_id == arrow.from
                && visit.next.as_deref() == Some(arrow.to.as_str())
                && (outcome == Some(arrow.outcome.as_str()) || self.is_only_way(arrow, outcome))
        });
        if went { "was" } else { "" }
    }

    /// The scalar edge stands for every outcome that has none of its own to the same step.
    fn is_only_way(&self, arrow: &Arrow, outcome: Option<&str>) -> bool {
        let is_named = |other: &Arrow| other.from == arrow.from && outcome == Some(other.outcome.as_str());
        arrow.outcome.is_empty() && !self.drawing.arrows.iter().any(is_named)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn visit(step: &str, outcome: Option<&str>, next: Option<&str>) -> Visit {
        let owned = |text: &str| text.to_owned();
        Visit {
            seq: 1,
            step_id: step.to_owned(),
            kind: String::new(),
            at: String::new(),
            outcome: outcome.map(owned),
            next: next.map(owned),
        }
    }

    #[test]
    fn the_path_is_lit_and_only_the_path() {
        let body = json!({"flow": [
            {"id": 1, "type": "menu", "text": "?", "flow": {"1": 2, "2": 3}},
            {"id": 2, "type": "play", "text": "<b>", "next_step": 3},
            {"id": 3, "type": "hangup"},
        ]});
        let visits = vec![visit("1", Some("1"), Some("2")), visit("2", None, None)];
        let graph = Graph::of(&body, 0).unwrap().lit("call_1", visits, true);
        let classes: Vec<_> = graph.drawing.boxes.iter().map(|step| graph.class(step)).collect();
        assert_eq!(classes, ["was", "here", ""]);
        let arrows: Vec<_> = graph.drawing.arrows.iter().map(|arrow| graph.arrow_class(arrow)).collect();
        assert_eq!(arrows, ["was", "", ""]);
        let html = graph.render().unwrap();
        assert!(html.contains("data-call=\"call_1\"") && !html.contains("<b>"), "{html}");
        assert!(Graph::of(&json!({"flow": []}), 0).is_none());
    }
}
