//! Turns the JSON of a flow into a [`Flow`], or into everything that is wrong with it at once
//! (contracts/flows.md "Ids", "Entry", "Graph", "Error body"). Pure: what only the organisation's data can tell is
//! left as [`Question`]s. Invariant: no flow comes out while there is an error.

mod edges;
pub(crate) mod fields;
mod graph;
mod place;
mod report;

use std::collections::HashMap;

use base64::Engine as _;
use serde_json::Value;

pub use report::{Ask, Problem, Question, Report};

use self::{
    edges::read_edges,
    fields::{Fields, Findings, judge_url},
    place::Place,
};
use super::{
    model::{Flow, MAX_STEPS, Publish, Step, StepId},
    steps::{Kind, NAMES},
    template::BUILT_IN,
};

/// What a body is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// `POST /call/flow`: the first step must be `call`.
    Run,
    /// A saved flow: one that a number leads to needs no `call`.
    Save,
}

/// The result of a check.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// The flow, if nothing so far is wrong with it.
    pub flow: Option<Flow>,
    /// What was found.
    pub report: Report,
    /// What remains to be asked.
    pub questions: Vec<Question>,
}

/// Longest key of an object, in characters: it stands in the path of every problem below it.
const MAX_KEY: usize = 256;

/// Event types that a publish entry may name.
const EVENT_TYPES: [&str; 36] = [
    "call.initiated",
    "call.ringing",
    "call.early_media",
    "call.answered",
    "call.held",
    "call.resumed",
    "call.completed",
    "step.started",
    "step.completed",
    "step.failed",
    "dtmf",
    "input.completed",
    "http.completed",
    "connect.ringing",
    "connect.answered",
    "connect.ended",
    "recording.started",
    "recording.paused",
    "recording.resumed",
    "recording.ready",
    "recording.failed",
    "callback.scheduled",
    "callback.started",
    "callback.completed",
    "callback.skipped",
    "callback.missed",
    "queue.joined",
    "queue.left",
    "conference.joined",
    "conference.left",
    "stream.started",
    "stream.stopped",
    "transfer.started",
    "transfer.completed",
    "transfer.failed",
    "voicemail.left",
];

/// Checks a body whose credentials were taken out. `now_ms` judges whether a callback lies in the past.
#[must_use]
pub fn check(body: &Value, purpose: Purpose, now_ms: i64) -> Checked {
    let mut found = Findings { now_ms, ..Findings::default() };
    judge_keys(body, &Place::default(), &mut found.report);
    if !found.report.errors.is_empty() {
        return Checked { flow: None, report: found.report, questions: Vec::new() };
    }
    let flow = read_body(body, purpose, &mut found);
    let flow = flow.filter(|_| found.report.errors.is_empty());
    Checked { flow, report: found.report, questions: found.questions }
}

/// Reports objects with a key that is too long; depth is bounded by the reader's.
fn judge_keys(value: &Value, place: &Place, report: &mut Report) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                if key.chars().count() > MAX_KEY {
                    let message = format!("a key has {MAX_KEY} characters at most");
                    report.error("limit_exceeded", place.clone(), message);
                } else {
                    judge_keys(inner, &place.key(key), report);
                }
            }
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| judge_keys(item, &place.index(index), report));
        }
        _ => {}
    }
}

fn read_body(body: &Value, purpose: Purpose, found: &mut Findings) -> Option<Flow> {
    let Value::Object(map) = body else {
        found.report.error("invalid_type", "", "the body must be an object");
        return None;
    };
    let mut fields = Fields::new(map, Place::default(), found);
    let record = fields.flag("record", false);
    let publish = read_publish(&mut fields);
    fields.value("flow");
    if purpose == Purpose::Save {
        fields.value("name");
    }
    let raw = match map.get("flow") {
        Some(Value::Array(raw)) => Some(raw),
        Some(_) => {
            fields.found.report.error("invalid_type", "/flow", "flow must be a list of steps");
            None
        }
        None => {
            fields.missing("flow");
            None
        }
    };
    fields.finish();
    let raw = raw?;
    if raw.len() > MAX_STEPS {
        found.report.error(
            "limit_exceeded",
            "/flow",
            format!("a flow has {MAX_STEPS} steps at most, not {}", raw.len()),
        );
        return None;
    }
    let steps = read_steps(raw, purpose, found)?;
    graph::judge(&steps, &mut found.report);
    warn_of_undefined_variables(found);
    Some(Flow { steps, record, publish })
}

fn read_publish(fields: &mut Fields<'_>) -> Option<Publish> {
    let mut inner = fields.inner("publish")?;
    let url = inner.required_text("url").unwrap_or_default();
    let path = inner.path("url");
    if !url.is_empty() {
        match judge_url(&url) {
            Ok(()) => inner.found.questions.push(Question { path: path.into(), ask: Ask::Url(url.clone()) }),
            Err(why) => inner.found.report.error("invalid_url", path, format!("url {why}")),
        }
    }
    let method = inner.choice("method", &[("POST", "POST"), ("PUT", "PUT")], "POST");
    let secret = inner.text("secret");
    if secret.as_deref().is_some_and(|secret| !is_signing_secret(secret)) {
        inner.out_of_range("secret", "secret must be whsec_ and base64");
    }
    let events = read_event_types(&mut inner);
    inner.finish();
    Some(Publish { url, method, secret, events })
}

fn is_signing_secret(text: &str) -> bool {
    text.strip_prefix("whsec_")
        .and_then(|key| base64::engine::general_purpose::STANDARD.decode(key).ok())
        .is_some_and(|key| !key.is_empty())
}

fn read_event_types(fields: &mut Fields<'_>) -> Option<Vec<String>> {
    let path = fields.path("events");
    let Value::Array(items) = fields.value("events")? else {
        fields.found.report.error("invalid_type", path, "events must be a list of types");
        return None;
    };
    if items.is_empty() {
        fields.out_of_range("events", "events must name a type; leave it out to have them all");
    }
    let mut types = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let path = path.index(index);
        match item.as_str() {
            Some(kind) if is_event_type(kind) => types.push(kind.to_owned()),
            Some(kind) => fields.found.report.error("out_of_range", path, format!("there is no event type \"{kind}\"")),
            None => fields.found.report.error("invalid_type", path, "an event type is a text"),
        }
    }
    Some(types)
}

/// A type, or all that begin alike: `call.*`.
fn is_event_type(text: &str) -> bool {
    match text.strip_suffix('*') {
        Some(start) => start.ends_with('.') && EVENT_TYPES.iter().any(|kind| kind.starts_with(start)),
        None => EVENT_TYPES.contains(&text),
    }
}

/// Reads ids first, so that every edge can be resolved; a step that cannot be read keeps its place.
fn read_steps(raw: &[Value], purpose: Purpose, found: &mut Findings) -> Option<Vec<Step>> {
    if raw.is_empty() {
        found.report.error("entry_not_call", "/flow", "the flow has no step; its first must be a call");
        return None;
    }
    let ids = read_ids(raw, found);
    let mut by_id = HashMap::new();
    for (index, id) in ids.iter().enumerate() {
        if let Some(id) = id {
            by_id.entry(id.clone()).or_insert(index);
        }
    }
    let mut steps = Vec::new();
    for (index, (value, id)) in raw.iter().zip(&ids).enumerate() {
        let Value::Object(map) = value else { continue };
        let mut fields = Fields::new(map, Place::default().key("flow").index(index), found);
        fields.value("id");
        let kind = read_kind(&mut fields);
        if let Some(kind) = &kind {
            judge_entry(kind, index, purpose, &mut fields);
        }
        let edges = read_edges(&mut fields, kind.as_ref(), &by_id);
        if kind.is_some() {
            fields.finish();
        }
        if let (Some(kind), Some(id)) = (kind, id) {
            steps.push(Step { id: id.clone(), kind, edges });
        }
    }
    // With a step left out the indices of edges are off; the graph is judged only when all could be read.
    (steps.len() == raw.len()).then_some(steps)
}

fn read_ids(raw: &[Value], found: &mut Findings) -> Vec<Option<StepId>> {
    let mut seen = HashMap::new();
    let mut ids = Vec::with_capacity(raw.len());
    for (index, value) in raw.iter().enumerate() {
        let path = format!("/flow/{index}");
        let id = match value.as_object().map(|map| map.get("id")) {
            None => {
                found.report.error("invalid_type", path, "a step must be an object");
                None
            }
            Some(None) => {
                found.report.error("missing_field", path, "id is missing");
                None
            }
            Some(Some(id)) => StepId::canonical(id).or_else(|| {
                found.report.error(
                    "invalid_id",
                    format!("{path}/id"),
                    "an id is a text of 1 to 64 characters or a whole number",
                );
                None
            }),
        };
        if let Some(id) = &id
            && let Some(first) = seen.insert(id.clone(), index)
        {
            let message = format!("the id \"{id}\" is also that of step /flow/{first}");
            found.report.error("duplicate_id", format!("/flow/{index}/id"), message);
        }
        ids.push(id);
    }
    ids
}

fn read_kind(fields: &mut Fields<'_>) -> Option<Kind> {
    let name = fields.required_text("type")?;
    let kind = Kind::read(&name, fields);
    if kind.is_none() {
        let path = fields.path("type");
        fields.found.report.error(
            "unknown_type",
            path,
            format!("there is no step type \"{name}\"; there are {}", NAMES.join(", ")),
        );
    }
    kind
}

fn judge_entry(kind: &Kind, index: usize, purpose: Purpose, fields: &mut Fields<'_>) {
    let path = fields.path("type");
    match (index, kind) {
        (0, Kind::Call(call)) if purpose == Purpose::Run && call.number.fixed().is_none() => {
            let message = "no variable has a value before the call: the number cannot be a template";
            let path = fields.path("number");
            fields.found.report.error("number_not_allowed", path, message);
        }
        (0, Kind::Call(call)) => fields.found.customer = call.number.fixed().map(str::to_owned),
        (0, _) if purpose == Purpose::Run => {
            fields.found.report.error(
                "entry_not_call",
                path,
                "the first step must be a call; a flow without one can be saved, for a number to lead to",
            );
        }
        (0, _) => {}
        (_, Kind::Call(_)) => {
            fields.found.report.error("call_not_entry", path, "only the first step may be a call; use connect");
        }
        _ => {}
    }
}

fn warn_of_undefined_variables(found: &mut Findings) {
    for (name, path) in &found.used {
        if !found.set.contains(name) && !BUILT_IN.contains(&name.as_str()) {
            found.report.warn(
                "undefined_variable",
                path.clone(),
                format!(
                    "no step sets the variable \"{name}\": it is spoken as nothing, and a URL or number with it fails"
                ),
            );
        }
    }
}

#[cfg(test)]
mod tests;
