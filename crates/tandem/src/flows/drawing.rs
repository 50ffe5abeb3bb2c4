//! A flow as a drawing: where each step stands and how the arrows run. Pure: the same flow gives the same drawing.
//!
//! Invariant: steps stand in rows by their distance from the entry, so that a call runs down the page; no two boxes
//! overlap, and an arrow that leads back runs beside the boxes, not through them.

use serde_json::Value;

use super::model::Flow;

/// Width and height of a box, in pixels.
pub const BOX: (i32, i32) = (184, 54);
/// Between boxes of one row, and between rows.
const GAP: (i32, i32) = (28, 58);
/// Around everything.
const MARGIN: i32 = 16;
/// Room beside the boxes for one arrow that leads back.
const LANE: i32 = 18;
/// Characters of a box's second line, and of an arrow's label.
const MAX_SUMMARY: usize = 26;
const MAX_LABEL: usize = 14;

/// A flow, drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drawing {
    /// In pixels.
    pub width: i32,
    /// In pixels.
    pub height: i32,
    /// A box for each step.
    pub boxes: Vec<StepBox>,
    /// An arrow for each edge.
    pub arrows: Vec<Arrow>,
}

/// A step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepBox {
    /// Its canonical id.
    pub id: String,
    /// Its type.
    pub kind: &'static str,
    /// What it does, in a few characters.
    pub summary: String,
    /// Left edge.
    pub x: i32,
    /// Upper edge.
    pub y: i32,
}

/// An edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrow {
    /// Id of the step that it leaves.
    pub from: String,
    /// Id of the step that it leads to.
    pub to: String,
    /// The outcome; empty for the scalar `next_step`.
    pub outcome: String,
    /// SVG path.
    pub path: String,
    /// The outcome as it is written beside the arrow.
    pub label: String,
    /// Where its label stands.
    pub label_x: i32,
    /// See `label_x`.
    pub label_y: i32,
}

/// Draws a checked flow; `body` is what it was read from.
#[must_use]
pub fn draw(flow: &Flow, body: &Value) -> Drawing {
    let rows = rows(flow);
    let widest = rows.iter().map(Vec::len).max().unwrap_or(1).max(1);
    let inner = span(widest);
    let mut places = vec![(0, 0); flow.steps.len()];
    for (row, steps) in rows.iter().enumerate() {
        let left = MARGIN + (inner - span(steps.len())) / 2;
        for (column, index) in steps.iter().enumerate() {
            if let Some(place) = places.get_mut(*index) {
                *place = (left + px(column) * (BOX.0 + GAP.0), MARGIN + px(row) * (BOX.1 + GAP.1));
            }
        }
    }
    let raw = body.get("flow").and_then(Value::as_array);
    let boxes = flow.steps.iter().zip(&places).enumerate().map(|(index, (step, &(x, y)))| StepBox {
        id: step.id.to_string(),
        kind: step.kind.name(),
        summary: raw.and_then(|steps| steps.get(index)).map(summary).unwrap_or_default(),
        x,
        y,
    });
    let boxes = boxes.collect();
    let mut lanes = 0;
    let arrows = arrows(flow, &places, MARGIN + inner, &mut lanes);
    Drawing {
        width: MARGIN + inner + MARGIN + lanes * LANE,
        // Arrows that lead back from the last row turn below it.
        height: MARGIN + px(rows.len()) * (BOX.1 + GAP.1) - if lanes > 0 { GAP.1 / 3 } else { GAP.1 - MARGIN },
        boxes,
        arrows,
    }
}

/// A count as pixels' factor; a flow has a few hundred steps at most.
fn px(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// The width of so many boxes beside each other.
fn span(boxes: usize) -> i32 {
    px(boxes) * (BOX.0 + GAP.0) - GAP.0
}

/// The steps in rows by their distance from the entry; what nothing leads to stands below. Inside a row a step stands
/// below those that lead to it.
fn rows(flow: &Flow) -> Vec<Vec<usize>> {
    let count = flow.steps.len();
    let mut row_of: Vec<Option<usize>> = vec![None; count];
    let mut rows: Vec<Vec<usize>> = Vec::new();
    for start in 0..count {
        if row_of.get(start).copied().flatten().is_some() {
            continue;
        }
        let mut current = vec![start];
        let mut depth = rows.len();
        mark(&mut row_of, start, depth);
        while !current.is_empty() {
            let mut next = Vec::new();
            for target in
                current.iter().filter_map(|index| flow.steps.get(*index)).flat_map(|step| step.edges.targets())
            {
                if row_of.get(target).is_some_and(Option::is_none) {
                    mark(&mut row_of, target, depth + 1);
                    next.push(target);
                }
            }
            rows.push(current);
            current = next;
            depth += 1;
        }
    }
    rows
}

fn mark(row_of: &mut [Option<usize>], index: usize, row: usize) {
    if let Some(place) = row_of.get_mut(index) {
        *place = Some(row);
    }
}

fn arrows(flow: &Flow, places: &[(i32, i32)], right: i32, lanes: &mut i32) -> Vec<Arrow> {
    let mut arrows = Vec::new();
    for (index, step) in flow.steps.iter().enumerate() {
        let named = step.edges.named.iter().map(|(name, target)| (name.as_str(), *target));
        let edges: Vec<(&str, usize)> = named.chain(step.edges.next.map(|target| ("", target))).collect();
        for (nth, (outcome, target)) in edges.iter().enumerate() {
            let (Some(&from), Some(&to), Some(goal)) =
                (places.get(index), places.get(*target), flow.steps.get(*target))
            else {
                continue;
            };
            // The arrows of a step leave side by side.
            let share = BOX.0 * (px(nth) + 1) / (px(edges.len()) + 1);
            let start = (from.0 + share, from.1 + BOX.1);
            let path = if to.1 > from.1 {
                down(start, (to.0 + BOX.0 / 2, to.1))
            } else {
                *lanes += 1;
                let lane = right + *lanes * LANE;
                back(start, lane, (to.0 + BOX.0, to.1 + BOX.1 / 2))
            };
            // Labels of neighbours stand in two rows, so that they do not cover each other.
            let label = (start.0 + 5, start.1 + 13 + px(nth % 2) * 13);
            arrows.push(Arrow {
                from: step.id.to_string(),
                to: goal.id.to_string(),
                outcome: (*outcome).to_owned(),
                path,
                label: shorten(outcome, MAX_LABEL),
                label_x: label.0,
                label_y: label.1,
            });
        }
    }
    arrows
}

/// A curve down to a box.
fn down((x, y): (i32, i32), (goal_x, goal_y): (i32, i32)) -> String {
    let middle = y + (goal_y - y) / 2;
    format!("M{x} {y}C{x} {middle} {goal_x} {middle} {goal_x} {goal_y}")
}

/// A way back up, in a lane beside the boxes.
fn back((x, y): (i32, i32), lane: i32, (goal_x, goal_y): (i32, i32)) -> String {
    let below = y + GAP.1 / 2;
    format!("M{x} {y}C{x} {below} {x} {below} {lane} {below}V{goal_y}H{goal_x}")
}

/// The field of a step that tells most of it.
fn summary(step: &Value) -> String {
    const TELLING: [&str; 14] = [
        "number", "targets", "text", "url", "team", "room", "box", "to", "variable", "digits", "date", "seconds", "op",
        "name",
    ];
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Array(items) => Some(items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")),
        _ => None,
    };
    let found = TELLING.iter().find_map(|field| step.get(*field).and_then(text));
    shorten(&found.unwrap_or_default(), MAX_SUMMARY)
}

fn shorten(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    text.chars().take(max - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::flows::{Purpose, check};

    fn drawn(steps: Value) -> Drawing {
        let body = json!({"flow": steps});
        draw(&check(&body, Purpose::Save, 0).flow.unwrap(), &body)
    }

    #[test]
    fn a_call_runs_down_the_page() {
        let drawing = drawn(json!([
            {"id": 1, "type": "call", "number": "1001", "next_step": 2},
            {"id": 2, "type": "menu", "text": "Press 1 or 2, whichever you like best", "flow": {"1": 3, "2": 4}},
            {"id": 3, "type": "connect", "number": "5263"},
            {"id": 4, "type": "play", "text": "Goodbye", "next_step": 2},
        ]));
        let at = |id: &str| drawing.boxes.iter().find(|found| found.id == id).unwrap();
        assert!(at("1").y < at("2").y && at("2").y < at("3").y);
        assert_eq!(at("3").y, at("4").y, "both follow the menu");
        assert!(at("3").x + BOX.0 < at("4").x, "beside each other");
        assert_eq!((at("1").summary.as_str(), at("2").kind), ("1001", "menu"));
        assert_eq!(at("2").summary.chars().count(), MAX_SUMMARY);
        let outcomes: Vec<_> =
            drawing.arrows.iter().map(|arrow| (arrow.from.as_str(), arrow.outcome.as_str())).collect();
        assert_eq!(outcomes, [("1", ""), ("2", "1"), ("2", "2"), ("4", "")]);
        let back = drawing.arrows.last().unwrap();
        assert!(back.path.contains('V'), "the way back has a lane of its own: {}", back.path);
        assert!(
            drawing.boxes.iter().all(|found| found.x + BOX.0 <= drawing.width && found.y + BOX.1 <= drawing.height)
        );
    }

    #[test]
    fn no_two_boxes_overlap_whatever_the_flow() {
        let steps: Vec<Value> =
            (0..60).map(|n| json!({"id": n, "type": "play", "text": "x", "next_step": (n * 7 + 3) % 60})).collect();
        let drawing = drawn(Value::Array(steps));
        assert_eq!((drawing.boxes.len(), drawing.arrows.len()), (60, 60));
        for (index, one) in drawing.boxes.iter().enumerate() {
            for other in &drawing.boxes[index + 1..] {
                let apart = (one.x - other.x).abs() >= BOX.0 || (one.y - other.y).abs() >= BOX.1;
                assert!(apart, "{one:?} {other:?}");
            }
        }
    }
}
