//! The edges of a step, under `flow` or under `next_step`, as a map, a scalar, or both
//! (contracts/flows.md "Graph"): the map first, the scalar as the fallback.

use std::collections::HashMap;

use serde_json::Value;

use super::{fields::Fields, place::Place};
use crate::flows::{
    model::{Edges, StepId},
    steps::Kind,
};

/// Reads both spellings. `kind` is none when the type is unknown; then the targets are judged all the same.
pub(super) fn read_edges(fields: &mut Fields<'_>, kind: Option<&Kind>, by_id: &HashMap<StepId, usize>) -> Edges {
    let mut edges = Edges::default();
    let flow = fields.value("flow");
    let next = fields.value("next_step");
    match flow {
        None => {}
        Some(Value::Object(map)) => read_map(map, "flow", fields, kind, by_id, &mut edges),
        Some(_) => {
            let path = fields.path("flow");
            fields.found.report.error("invalid_type", path, "flow must be an object of outcome and step id");
        }
    }
    match next {
        None => {}
        Some(Value::Object(map)) => read_map(map, "next_step", fields, kind, by_id, &mut edges),
        Some(scalar) => {
            let path = fields.path("next_step");
            edges.next = resolve(scalar, &path, fields, by_id);
            if kind.is_some_and(|kind| !kind.goes_on()) {
                fields.found.report.warn("unknown_field", path, "nothing follows a step of this type");
                edges.next = None;
            }
        }
    }
    edges
}

fn read_map(
    map: &serde_json::Map<String, Value>,
    field: &str,
    fields: &mut Fields<'_>,
    kind: Option<&Kind>,
    by_id: &HashMap<StepId, usize>,
    edges: &mut Edges,
) {
    for (name, target) in map {
        let path = fields.path(field).key(name);
        let Some(index) = resolve(target, &path, fields, by_id) else {
            continue;
        };
        if kind.is_some_and(|kind| !kind.has_edge(name)) {
            let is_written = kind.is_some_and(|kind| kind.has_written_edge(name));
            let never = if is_written { "only a chat takes this edge" } else { "this edge is never taken" };
            let message = format!("a step of this type has no outcome \"{name}\": {never}");
            fields.found.report.warn("unknown_field", path.clone(), message);
            if !is_written {
                continue;
            }
        }
        match edges.named(name) {
            Some(other) if other != index => {
                let message = format!("flow and next_step lead the outcome \"{name}\" to different steps");
                fields.found.report.error("conflicting_edges", path, message);
            }
            Some(_) => {}
            None => edges.named.push((name.clone(), index)),
        }
    }
}

fn resolve(target: &Value, path: &Place, fields: &mut Fields<'_>, by_id: &HashMap<StepId, usize>) -> Option<usize> {
    let Some(id) = StepId::canonical(target) else {
        fields.found.report.error(
            "invalid_id",
            path.clone(),
            "a step's id is a text of 1 to 64 characters or a whole number",
        );
        return None;
    };
    let index = by_id.get(&id).copied();
    if index.is_none() {
        fields.found.report.error("unknown_step", path.clone(), format!("there is no step with the id \"{id}\""));
    }
    index
}
