//! The document's schemas against the check itself and against the contract's table.

use serde_json::{Map, json};

use super::*;
use crate::flows::{
    Checked, Purpose, check,
    steps::tests::coverage::{contract_edges, contract_fields},
};

/// 2026-11-21T00:00:00Z
const NOW: i64 = 1_795_219_200_000;
/// Each type with the fields that it must have.
const LEAST: [(&str, &str); 18] = [
    ("call", r#"{"number": "1001"}"#),
    ("play", r#"{"text": "x"}"#),
    ("digits", r#"{"count": 64}"#),
    ("menu", r#"{"text": "x", "count": 64}"#),
    ("http", r#"{"url": "https://example.com/"}"#),
    ("connect", r#"{"number": "1002"}"#),
    ("conference", r#"{"room": "sales"}"#),
    ("callback", r#"{"date": "2031-01-01", "time": "10:00", "entity": "5263"}"#),
    ("hangup", "{}"),
    ("pause", r#"{"seconds": 2}"#),
    ("set", r#"{"vars": {"a": "b"}}"#),
    ("branch", r#"{"variable": "digits", "op": "eq", "value": "1"}"#),
    ("record", r#"{"action": "stop"}"#),
    ("voicemail", r#"{"box": "1001"}"#),
    ("transfer", r#"{"to": "1002"}"#),
    ("send_dtmf", r#"{"digits": "1"}"#),
    ("queue", r#"{"team": "5263"}"#),
    ("stream", r#"{"url": "wss://bot.example.com/media"}"#),
];

/// The document as it is written down; that it is fresh is another test's matter.
fn document() -> Value {
    serde_json::from_str(include_str!("../../../../../openapi.json")).unwrap()
}

fn schemas() -> Value {
    document()["components"]["schemas"].clone()
}

/// The properties of a schema with those of what it is put together from; none of what every step has.
fn properties(schemas: &Value, name: &str) -> Map<String, Value> {
    let mut found = Map::new();
    let mut open = vec![&schemas[name]];
    while let Some(schema) = open.pop() {
        open.extend(schema["allOf"].as_array().into_iter().flatten());
        if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next())
            && name != "StepCommon"
        {
            open.push(&schemas[name]);
        }
        found.extend(schema["properties"].as_object().cloned().unwrap_or_default());
    }
    found.remove("id");
    found
}

/// What may stand in a field: its own example, or one of the type that it refers to.
fn example(schema: &Value) -> Option<Value> {
    let refers_to = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next());
    schema.get("example").cloned().or(match (refers_to, schema["type"].as_str()) {
        (Some("TextOrInteger"), _) => Some("1002".into()),
        (Some("FlowPrompt"), _) => Some("Hello.".into()),
        (Some("FlowMusic"), _) => Some("music".into()),
        (None, Some("object")) => Some(json!({"account": "{{digits}}"})),
        _ => None,
    })
}

/// Every field of every type: the step that has the least, the field's name and its schema.
fn fields() -> Vec<(Value, String, Value)> {
    let schemas = schemas();
    let mut fields = Vec::new();
    for (kind, least) in LEAST {
        let camel: String = kind.split('_').map(|word| word[..1].to_uppercase() + &word[1..]).collect();
        for (name, schema) in properties(&schemas, &format!("{camel}Step")) {
            let mut step: Value = serde_json::from_str(least).unwrap();
            step["type"] = kind.into();
            match name.as_str() {
                "targets" => drop(step.as_object_mut().unwrap().remove("number")),
                "count" => drop(step.as_object_mut().unwrap().remove("count")),
                _ => {}
            }
            fields.push((step, name, schema));
        }
    }
    assert!(fields.len() > 60, "the schemas were not read: {fields:?}");
    fields
}

/// The check of a flow in which the step is the second, or the entry if it is a call.
fn checked(mut step: Value, field: &str, value: Option<&Value>) -> Checked {
    step["id"] = json!("s");
    if let Some(value) = value {
        step[field] = value.clone();
    }
    let entry = json!({"id": "call", "type": "call", "number": "1001", "next_step": "s"});
    let steps = if step["type"] == "call" { vec![step] } else { vec![entry, step] };
    check(&json!({ "flow": steps }), Purpose::Run, NOW)
}

#[test]
fn every_type_and_field_of_the_contract_stands_in_the_document() {
    let known: Vec<(String, String)> =
        fields().into_iter().map(|(step, field, _)| (step["type"].as_str().unwrap().to_owned(), field)).collect();
    let missing: Vec<_> = contract_fields().into_iter().filter(|field| !known.contains(field)).collect();
    assert!(missing.is_empty(), "no schema has {missing:?}");
}

#[test]
fn the_check_takes_the_example_of_every_field() {
    for (step, field, schema) in fields() {
        let example = example(&schema).unwrap_or_else(|| panic!("{step}: {field} has no example: {schema}"));
        let report = checked(step.clone(), &field, Some(&example)).report;
        assert!(report.errors.is_empty(), "{step}, {field} {example}: {:?}", report.errors);
        let unknown = report.warnings.iter().find(|warning| warning.code == "unknown_field");
        assert!(unknown.is_none(), "{step}: {unknown:?}");
    }
}

#[test]
fn a_field_that_is_left_out_has_the_default_of_the_document() {
    let mut compared = 0;
    for (step, field, schema) in fields() {
        if let Some(default) = schema.get("default") {
            let kind = |value| checked(step.clone(), &field, value).flow.unwrap().steps.pop().unwrap().kind;
            assert_eq!(kind(Some(default)), kind(None), "{step}: {field}");
            let example = &schema["example"];
            assert_ne!(kind(Some(example)), kind(None), "{step}: the example of {field} says nothing");
            compared += 1;
        }
    }
    assert!(compared > 25, "{compared}");
}

#[test]
fn the_ranges_of_the_document_are_those_of_the_check() {
    let mut compared = 0;
    for (step, field, schema) in fields() {
        for (edge, beyond) in [("minimum", -1.0), ("maximum", 1.0)] {
            let Some(limit) = schema.get(edge) else { continue };
            let report = checked(step.clone(), &field, Some(limit)).report;
            assert!(report.errors.is_empty(), "{step}, {field} {limit}: {:?}", report.errors);
            let out = limit.as_f64().unwrap() + beyond;
            let out = if out.fract() == 0.0 { json!(out as i64) } else { json!(out) };
            let report = checked(step.clone(), &field, Some(&out)).report;
            assert_eq!(report.errors.len(), 1, "{step}, {field} {out}");
            assert_eq!(report.errors[0].code, "out_of_range", "{step}, {field} {out}");
            compared += 1;
        }
    }
    assert!(compared > 30, "{compared}");
}

#[test]
fn the_sample_of_the_document_runs() {
    let checked = check(&without_credentials(sample()), Purpose::Run, NOW);
    assert!(checked.report.errors.is_empty(), "{:?}", checked.report.errors);
    let document = document();
    for path in ["/api/v2/call/flow", "/api/public/v1/call/flow"] {
        let body = &document["paths"][path]["post"]["requestBody"]["content"]["application/json"];
        assert_eq!(body["example"], sample());
    }
}

fn without_credentials(mut body: Value) -> Value {
    for credential in ["cloud_id", "auth_token"] {
        assert!(body.as_object_mut().unwrap().remove(credential).is_some());
    }
    body
}

/// The page for whoever writes flows.
const PAGE: &str = include_str!("../../../../../docs/flows.md");
const README: &str = include_str!("../../../../../README.md");

/// The part of the page that explains a type; `menu` has the fields of two others.
fn sections(kind: &str) -> String {
    let section = |kind: &str| {
        let found = PAGE.split_once(&format!("### `{kind}`\n")).unwrap_or_else(|| panic!("no section {kind}")).1;
        found.split("\n#").next().unwrap_or_default().to_owned()
    };
    match kind {
        "menu" => [section("menu"), section("digits"), section("play")].concat(),
        _ => section(kind),
    }
}

/// `14400` of `14400.0`, and texts without their quotes.
fn plain(value: &Value) -> String {
    match (value.as_str(), value.as_f64()) {
        (Some(text), _) => text.to_owned(),
        (None, Some(number)) => number.to_string(),
        (None, None) => value.to_string(),
    }
}

#[test]
fn the_page_explains_every_field_with_its_default_and_range() {
    for (step, field, schema) in fields() {
        let section = sections(step["type"].as_str().unwrap());
        let row = section.lines().find(|line| line.starts_with(&format!("| `{field}` |")));
        let row = row.unwrap_or_else(|| panic!("no row for {field} of {step}"));
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        if let Some(default) = schema.get("default") {
            assert_eq!(cells[2], plain(default), "{step}: {row}");
        }
        if let (Some(least), Some(most)) = (schema.get("minimum"), schema.get("maximum")) {
            assert_eq!(cells[3], format!("{} to {}", plain(least), plain(most)), "{step}: {row}");
        }
    }
}

#[test]
fn the_page_names_every_edge_alias_and_variable() {
    let edges = contract_edges();
    assert!(edges.len() >= 20, "{edges:?}");
    for (kind, edge) in edges {
        let edge = match edge.as_str() {
            "exact" => "1234",
            "any" => "*",
            named => named,
        };
        assert!(sections(&kind).contains(&format!("`{edge}`")), "{kind}: {edge}");
    }
    for alias in ["say", "keypad", "input", "dial"].iter().chain(&crate::flows::template::BUILT_IN) {
        assert!(PAGE.contains(&format!("`{alias}`")), "{alias}");
    }
}

#[test]
fn every_flow_on_the_pages_is_good() {
    let fenced = |page: &'static str| page.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let mut checked = 0;
    for text in fenced(PAGE).chain(fenced(README)) {
        let mut body: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        ["cloud_id", "auth_token"].iter().for_each(|name| drop(body.as_object_mut().unwrap().remove(*name)));
        let report = check(&body, Purpose::Run, NOW).report;
        assert!(report.errors.is_empty() && report.warnings.is_empty(), "{report:?}\n{text}");
        checked += 1;
    }
    assert!(checked > 15, "{checked}");
}
