//! What a body may cost: its limits, and the size of the report about it.

use super::*;

#[test]
fn a_flow_is_limited_in_steps() {
    let steps: Vec<Value> = (1..=200).map(|id| json!({"id": id, "type": "hangup"})).collect();
    errors(&with(steps.clone()), &[("limit_exceeded", "/flow")]);
    errors(&with(steps[..199].to_vec()), &[]);
}

#[test]
fn all_problems_come_at_once() {
    let checked = with(vec![
        json!({"id": 1, "type": "play", "loop": 0, "next_step": 77}),
        json!({"id": 1, "type": "http", "url": "https://{{x}}/", "timeout": 99}),
        json!({"id": true, "type": "nope"}),
    ]);
    errors(
        &checked,
        &[
            ("duplicate_id", "/flow/2/id"),
            ("invalid_id", "/flow/3/id"),
            ("text_or_url_required", "/flow/1"),
            ("out_of_range", "/flow/1/loop"),
            ("unknown_step", "/flow/1/next_step"),
            ("template_in_authority", "/flow/2/url"),
            ("out_of_range", "/flow/2/timeout"),
            ("unknown_type", "/flow/3/type"),
        ],
    );
}

/// What a report takes, in bytes.
fn weight(report: &Report) -> usize {
    let problems = report.errors.iter().chain(&report.warnings);
    problems.map(|problem| problem.path.len() + problem.message.len()).sum()
}

#[test]
fn a_body_cannot_make_a_report_much_longer_than_itself() {
    let key = "k".repeat(256);
    for (hole, code) in [("{{", "template_syntax"), ("{{nobody}}", "undefined_variable")] {
        let json = json!({ &key: { &key: vec![hole; 20_000] } });
        let checked = with(vec![json!({"id": 1, "type": "http", "url": "http://h/", "json": json})]);
        let told = if code == "template_syntax" { &checked.report.errors } else { &checked.report.warnings };
        let wanted = [[code].repeat(MAX_PROBLEMS), vec!["limit_exceeded"]].concat();
        assert_eq!(told.iter().map(|problem| problem.code.as_ref()).collect::<Vec<_>>(), wanted);
        assert_eq!(told[99].path, format!("/flow/1/json/{key}/{key}/99"));
        assert!(weight(&checked.report) < 100_000, "{}", weight(&checked.report));
    }
}

#[test]
fn a_key_is_limited_in_length() {
    let step = |key: String| json!({"type": "http", "url": "http://h/", "json": {"a": [{ key: "{{" }]}});
    one(step("k".repeat(256)), &[("template_syntax", &format!("/flow/1/json/a/0/{}", "k".repeat(256)))]);
    one(step("k".repeat(257)), &[("limit_exceeded", "/flow/1/json/a/0")]);
}

#[test]
fn maps_and_values_are_limited() {
    let many: serde_json::Map<String, Value> = (0..51).map(|n| (format!("v{n}"), json!("/x"))).collect();
    for field in ["save", "query", "headers"] {
        let path = format!("/flow/1/{field}");
        one(json!({"type": "http", "url": "http://h/", (field): many}), &[("limit_exceeded", &path)]);
    }
    one(json!({"type": "set", "vars": many}), &[("limit_exceeded", "/flow/1/vars")]);
    one(json!({"type": "set", "vars": {"a": "x".repeat(4_096)}}), &[]);
    one(json!({"type": "set", "vars": {"a": "x".repeat(4_097)}}), &[("limit_exceeded", "/flow/1/vars/a")]);
}

#[test]
fn a_text_that_nothing_speaks_is_refused() {
    let longest = "x ".repeat(2_000);
    let longer = format!("{longest}x");
    one(json!({"type": "play", "text": longest}), &[]);
    one(json!({"type": "play", "text": longer}), &[("out_of_range", "/flow/1/text")]);
    one(json!({"type": "digits", "prompt": longer}), &[("out_of_range", "/flow/1/prompt")]);
}

#[test]
fn every_header_that_is_never_sent_is_refused() {
    for name in kernel::egress::FORBIDDEN_HEADERS {
        let path = format!("/flow/1/headers/{name}");
        one(json!({"type": "http", "url": "http://h/", "headers": {name: "x"}}), &[("out_of_range", &path)]);
    }
    let path = "/flow/1/headers/Proxy-Authorization";
    one(
        json!({"type": "http", "url": "http://h/", "headers": {"Proxy-Authorization": "x"}}),
        &[("out_of_range", path)],
    );
}

#[test]
fn the_number_of_a_posted_entry_is_no_template() {
    let body = json!({"flow": [{"id": 0, "type": "call", "number": "{{customer}}"}]});
    errors(&check(&body, Purpose::Run, NOW), &[("number_not_allowed", "/flow/0/number")]);
    errors(&check(&body, Purpose::Save, NOW), &[]);
}

#[test]
fn patterns_are_limited_in_number() {
    let steps = |count: u32| {
        let pattern = |id| json!({"id": id, "type": "branch", "variable": "digits", "op": "matches", "value": "^1", "next_step": id + 1});
        (1..=count).map(pattern).chain([json!({"id": count + 1, "type": "hangup"})]).collect()
    };
    errors(&with(steps(50)), &[]);
    errors(&with(steps(51)), &[("limit_exceeded", "/flow/51/value")]);
}
