//! Each code of the contract's list, each rule of "Ids", "Entry" and "Graph", and all at once.

mod limits;
mod messages;

use serde_json::{Value, json};

use super::{report::MAX_PROBLEMS, *};

/// 2026-11-21T00:00:00Z
const NOW: i64 = 1_795_219_200_000;

fn call() -> Value {
    json!({"id": 0, "type": "call", "number": "917507161643", "next_step": 1})
}

/// A flow of a call and these steps.
fn with(steps: Vec<Value>) -> Checked {
    let flow: Vec<Value> = std::iter::once(call()).chain(steps).collect();
    check(&json!({ "flow": flow }), Purpose::Run, NOW)
}

fn pairs(problems: &[Problem]) -> Vec<(&str, &str)> {
    problems.iter().map(|problem| (problem.code.as_ref(), problem.path.as_str())).collect()
}

#[track_caller]
fn errors(checked: &Checked, wanted: &[(&str, &str)]) {
    assert_eq!(pairs(&checked.report.errors), wanted, "{:?}", checked.report);
    assert_eq!(checked.flow.is_none(), !wanted.is_empty());
}

#[track_caller]
fn warnings(checked: &Checked, wanted: &[(&str, &str)]) {
    assert_eq!(pairs(&checked.report.warnings), wanted, "{:?}", checked.report);
}

/// One step after the call, which must give exactly these errors.
#[track_caller]
fn one(step: Value, wanted: &[(&str, &str)]) {
    let mut step = step;
    step.as_object_mut().unwrap().insert("id".into(), json!(1));
    errors(&with(vec![step]), wanted);
}

#[test]
fn ids_are_canonical_and_unique() {
    errors(
        &with(vec![json!({"id": "1", "type": "hangup"}), json!({"id": 1.0, "type": "hangup"})]),
        &[("duplicate_id", "/flow/2/id")],
    );
    errors(&with(vec![json!({"id": 1, "type": "hangup"}), json!({"id": "01", "type": "hangup"})]), &[]);
    for bad in [json!(1.5), json!(true), json!(null), json!({}), json!("x".repeat(65))] {
        errors(
            &with(vec![json!({"id": 1, "type": "hangup"}), json!({"id": bad, "type": "hangup"})]),
            &[("invalid_id", "/flow/2/id")],
        );
    }
    errors(
        &with(vec![json!({"id": 1, "type": "pause", "seconds": 1, "next_step": 1.5})]),
        &[("invalid_id", "/flow/1/next_step")],
    );
    errors(
        &with(vec![json!({"id": 1, "type": "pause", "seconds": 1, "next_step": null})]),
        &[("invalid_id", "/flow/1/next_step")],
    );
    errors(&with(vec![json!({"type": "hangup"}), json!({"id": 1, "type": "hangup"})]), &[("missing_field", "/flow/1")]);
    errors(&with(vec![json!({"id": 1, "type": "hangup"}), json!(7)]), &[("invalid_type", "/flow/2")]);
}

#[test]
fn references_meet_ids_in_either_spelling() {
    let checked = with(vec![
        json!({"id": "1", "type": "http", "url": "http://h/", "flow": {"success": "2", "fail": 2.0}}),
        json!({"id": 2, "type": "hangup"}),
    ]);
    errors(&checked, &[]);
    let flow = checked.flow.unwrap();
    assert_eq!(flow.steps[1].edges.named, [("success".to_owned(), 2), ("fail".to_owned(), 2)]);
}

#[test]
fn the_entry_is_a_call_and_only_the_entry() {
    let run = |steps: Value| check(&json!({ "flow": steps }), Purpose::Run, NOW);
    errors(&run(json!([{"id": 1, "type": "hangup"}])), &[("entry_not_call", "/flow/0/type")]);
    errors(&run(json!([])), &[("entry_not_call", "/flow")]);
    errors(&run(json!({})), &[("invalid_type", "/flow")]);
    errors(&check(&json!({}), Purpose::Run, NOW), &[("missing_field", "")]);
    errors(&check(&json!([]), Purpose::Run, NOW), &[("invalid_type", "")]);
    errors(&with(vec![json!({"id": 1, "type": "call", "number": "12345678"})]), &[("call_not_entry", "/flow/1/type")]);
    errors(&check(&json!({"name": "x", "flow": [{"id": 1, "type": "hangup"}]}), Purpose::Save, NOW), &[]);
}

#[test]
fn targets_must_exist_and_agree() {
    one(json!({"type": "pause", "seconds": 1, "next_step": 9}), &[("unknown_step", "/flow/1/next_step")]);
    one(
        json!({"type": "digits", "flow": {"*": "x", "a/b": 9}}),
        &[("unknown_step", "/flow/1/flow/*"), ("unknown_step", "/flow/1/flow/a~1b")],
    );
    one(json!({"type": "hangup", "flow": 7}), &[("invalid_type", "/flow/1/flow")]);
    let both = |other: i32| {
        with(vec![
            json!({"id": 1, "type": "http", "url": "http://h/", "flow": {"success": 2}, "next_step": {"success": other, "fail": 3}}),
            json!({"id": 2, "type": "hangup"}),
            json!({"id": 3, "type": "hangup"}),
        ])
    };
    errors(&both(3), &[("conflicting_edges", "/flow/1/next_step/success")]);
    let agreed = both(2);
    errors(&agreed, &[]);
    assert_eq!(agreed.flow.unwrap().steps[1].edges.named, [("success".to_owned(), 2), ("fail".to_owned(), 3)]);
}

#[test]
fn a_scalar_next_step_is_the_fallback_of_a_map() {
    let checked = with(vec![
        json!({"id": 1, "type": "http", "url": "http://h/", "flow": {"success": 2}, "next_step": 2}),
        json!({"id": 2, "type": "hangup"}),
    ]);
    let edges = checked.flow.unwrap().steps[1].edges.clone();
    assert_eq!((edges.named("success"), edges.named("fail"), edges.next), (Some(2), None, Some(2)));
}

#[test]
fn circles_need_a_step_that_takes_time() {
    let circle =
        |middle: Value| with(vec![json!({"id": 1, "type": "set", "vars": {"a": "1"}, "next_step": 2}), middle]);
    errors(
        &circle(json!({"id": 2, "type": "branch", "variable": "a", "op": "exists", "flow": {"true": 1}})),
        &[("busy_loop", "/flow/1")],
    );
    errors(
        &circle(json!({"id": 2, "type": "http", "url": "http://h/", "flow": {"fail": 1}})),
        &[("busy_loop", "/flow/1")],
    );
    errors(&circle(json!({"id": 2, "type": "record", "action": "start", "next_step": 1})), &[("busy_loop", "/flow/1")]);
    errors(
        &circle(
            json!({"id": 2, "type": "callback", "date": "2030-01-01", "time": "10:00", "entity": 5263, "next_step": 1}),
        ),
        &[("busy_loop", "/flow/1")],
    );
    errors(&circle(json!({"id": 2, "type": "pause", "seconds": 1, "next_step": 1})), &[]);
    errors(&circle(json!({"id": 2, "type": "digits", "flow": {"*": 1}})), &[]);
    errors(&with(vec![json!({"id": 1, "type": "set", "vars": {}, "next_step": 1})]), &[("busy_loop", "/flow/1")]);
    // An edge that this type never takes makes no circle.
    errors(&with(vec![json!({"id": 1, "type": "set", "vars": {}, "flow": {"fail": 1}})]), &[]);
}

#[test]
fn steps_that_nothing_leads_to_are_a_warning() {
    let checked = with(vec![
        json!({"id": 1, "type": "hangup"}),
        json!({"id": 2, "type": "pause", "seconds": 1, "next_step": 3}),
        json!({"id": 3, "type": "hangup"}),
    ]);
    warnings(&checked, &[("unreachable_step", "/flow/2"), ("unreachable_step", "/flow/3")]);
}

#[test]
fn types_and_fields_must_be_there() {
    one(json!({}), &[("missing_field", "/flow/1")]);
    one(json!({"type": 7}), &[("invalid_type", "/flow/1/type")]);
    for unbuilt in ["teleport", "amd", "run", "pay", "Play"] {
        one(json!({"type": unbuilt}), &[("unknown_type", "/flow/1/type")]);
    }
    for (kind, missing) in [
        ("http", 1),
        ("queue", 1),
        ("stream", 1),
        ("connect", 1),
        ("callback", 3),
        ("conference", 1),
        ("pause", 1),
        ("set", 1),
        ("branch", 2),
        ("record", 1),
        ("voicemail", 1),
        ("transfer", 1),
        ("send_dtmf", 1),
        ("hangup", 0),
        ("digits", 0),
    ] {
        let wanted = vec![("missing_field", "/flow/1"); missing];
        one(json!({ "type": kind }), &wanted);
    }
    let checked = check(&json!({"flow": [{"id": 0, "type": "call"}]}), Purpose::Run, NOW);
    errors(&checked, &[("missing_field", "/flow/0")]);
}

#[test]
fn play_needs_a_text_or_a_url() {
    for kind in ["play", "say", "menu"] {
        one(json!({"type": kind}), &[("text_or_url_required", "/flow/1")]);
        one(json!({"type": kind, "text": ""}), &[("text_or_url_required", "/flow/1")]);
        one(json!({"type": kind, "text": "hi"}), &[]);
        one(json!({"type": kind, "url": "https://h/a.mp3"}), &[]);
    }
    one(json!({"type": "digits", "prompt": {}}), &[("text_or_url_required", "/flow/1/prompt")]);
    let both = with(vec![json!({"id": 1, "type": "play", "text": "hi", "url": "https://h/a.mp3"})]);
    warnings(&both, &[("text_is_fallback", "/flow/1/text")]);
}

#[test]
fn ranges_hold() {
    let step = |name: &str, value: Value, rest: Value| {
        let mut step = rest;
        step.as_object_mut().unwrap().insert(name.into(), value);
        step
    };
    let play = json!({"type": "play", "text": "x"});
    let digits = json!({"type": "digits"});
    let http = json!({"type": "http", "url": "http://h/"});
    let connect = json!({"type": "connect", "number": "5263"});
    let callback = json!({"type": "callback", "date": "2030-01-01", "time": "10:00", "entity": 5263});
    for (name, base, good, bad) in [
        ("loop", &play, vec![1, 20], vec![0, 21, -1]),
        ("count", &digits, vec![1, 64], vec![0, 65]),
        ("tries", &digits, vec![1, 10], vec![0, 11]),
        ("timeout", &digits, vec![1, 600], vec![0, 601]),
        ("inter_digit_timeout", &digits, vec![1, 60], vec![0, 61]),
        ("timeout", &http, vec![1, 30], vec![0, 31]),
        ("retries", &http, vec![0, 3], vec![-1, 4]),
        ("timeout", &connect, vec![1, 600], vec![0, 601]),
        ("time_limit", &connect, vec![1, 86_400], vec![0, 86_401]),
        ("attempts", &callback, vec![1, 4], vec![0, 5]),
        ("max", &json!({"type": "conference", "room": "r"}), vec![2, 100], vec![1, 101]),
        ("seconds", &json!({"type": "pause"}), vec![1, 600], vec![0, 601]),
        ("max", &json!({"type": "voicemail", "box": "1001"}), vec![1, 3600], vec![0, 3601]),
        ("silence", &json!({"type": "voicemail", "box": "1001"}), vec![1, 60], vec![0, 61]),
    ] {
        let path = format!("/flow/1/{name}");
        for value in good {
            one(step(name, json!(value), base.clone()), &[]);
        }
        for value in bad {
            one(step(name, json!(value), base.clone()), &[("out_of_range", &path)]);
        }
        for value in [json!("x"), json!({}), json!(null), json!(true)] {
            one(step(name, value, base.clone()), &[("invalid_type", &path)]);
        }
    }
    let entry = |name: &str, value: i64| {
        let mut entry = json!({"id": 0, "type": "call", "number": "12345678"});
        entry.as_object_mut().unwrap().insert(name.into(), json!(value));
        check(&json!({ "flow": [entry] }), Purpose::Run, NOW)
    };
    errors(&entry("timeout", 5), &[]);
    errors(&entry("timeout", 4), &[("out_of_range", "/flow/0/timeout")]);
    errors(&entry("timeout", 601), &[("out_of_range", "/flow/0/timeout")]);
    errors(&entry("time_limit", 14_400), &[]);
    errors(&entry("time_limit", 0), &[("out_of_range", "/flow/0/time_limit")]);
    one(json!({"type": "digits", "count": 2, "min_digits": 3}), &[("out_of_range", "/flow/1/min_digits")]);
    one(json!({"type": "digits", "count": 1.5}), &[("invalid_type", "/flow/1/count")]);
}

#[test]
fn words_are_of_their_list() {
    for (step, path) in [
        (json!({"type": "http", "url": "http://h/", "method": "TRACE"}), "/flow/1/method"),
        (json!({"type": "connect", "number": "5263", "strategy": "random"}), "/flow/1/strategy"),
        (json!({"type": "connect", "number": "5263", "accept_key": "12"}), "/flow/1/accept_key"),
        (json!({"type": "branch", "variable": "digits", "op": "like", "value": "1"}), "/flow/1/op"),
        (json!({"type": "branch", "variable": "digits", "op": "matches", "value": "("}), "/flow/1/value"),
        (json!({"type": "record", "action": "rewind"}), "/flow/1/action"),
        (json!({"type": "digits", "finish_on_key": "x"}), "/flow/1/finish_on_key"),
        (json!({"type": "digits", "variable": "1a"}), "/flow/1/variable"),
        (json!({"type": "send_dtmf", "digits": "12x"}), "/flow/1/digits"),
        (json!({"type": "send_dtmf", "digits": ""}), "/flow/1/digits"),
        (json!({"type": "send_dtmf", "digits": "1".repeat(33)}), "/flow/1/digits"),
        (json!({"type": "http", "url": "http://h/", "save": {"x": "a"}}), "/flow/1/save/x"),
        (json!({"type": "http", "url": "http://h/", "save": {"1x": "/a"}}), "/flow/1/save/1x"),
        (json!({"type": "http", "url": "http://h/", "headers": {"X": "a\r\nb"}}), "/flow/1/headers/X"),
        (json!({"type": "http", "url": "http://h/", "headers": {"Host": "evil"}}), "/flow/1/headers/Host"),
        (json!({"type": "http", "url": "http://h/", "headers": {"a b": "c"}}), "/flow/1/headers/a b"),
        (json!({"type": "http", "url": "http://h/", "json": 1, "body": "x"}), "/flow/1/body"),
        (json!({"type": "connect", "number": "5263", "targets": ["5263"]}), "/flow/1/targets"),
        (json!({"type": "connect", "targets": []}), "/flow/1/targets"),
        (json!({"type": "set", "vars": {"9": "x"}}), "/flow/1/vars/9"),
        (
            json!({"type": "callback", "date": "2030-01-01", "time": "10:00", "entity": 1, "order": "x"}),
            "/flow/1/order",
        ),
        (
            json!({"type": "callback", "date": "2030-01-01", "time": "10:00", "entity": 1, "on_past": "x"}),
            "/flow/1/on_past",
        ),
    ] {
        one(step, &[("out_of_range", path)]);
    }
    one(json!({"type": "send_dtmf", "digits": "0123456789ABCD*#wW"}), &[]);
}

#[test]
fn urls_are_judged_without_a_name_service() {
    for bad in [
        "ftp://h/",
        "h/x",
        "http://",
        "https://u:p@h/",
        "http:h",
        "http://h/a b",
        "http://h:99999/",
        "javascript:alert(1)",
        "",
    ] {
        one(json!({"type": "http", "url": bad}), &[("invalid_url", "/flow/1/url")]);
    }
    one(json!({"type": "http", "url": 7}), &[("invalid_type", "/flow/1/url")]);
    for bad in ["https://{{host}}/", "{{digits}}", "https://h{{digits}}", "https://u{{digits}}@h/"] {
        one(json!({"type": "http", "url": bad}), &[("template_in_authority", "/flow/1/url")]);
    }
    let asks = with(vec![json!({"id": 1, "type": "http", "url": "http://10.0.0.1/{{digits}}"})]).questions;
    assert!(asks.contains(&Question { path: "/flow/1/url".into(), ask: Ask::Url("http://10.0.0.1/x".into()) }));
}

#[test]
fn templates_are_judged_where_they_are_filled() {
    for step in [json!({"type": "play", "text": "{{ 1 }}"}), json!({"type": "play", "text": "{{a"})] {
        one(step, &[("template_syntax", "/flow/1/text")]);
    }
    for (field, value, path) in [
        ("url", json!("http://h/{{a b}}"), "/flow/1/url"),
        ("query", json!({"q": "{{"}), "/flow/1/query/q"),
        ("headers", json!({"X": "{{"}), "/flow/1/headers/X"),
        ("body", json!("{{"), "/flow/1/body"),
        ("json", json!({"a": [{"b/c": "{{"}]}), "/flow/1/json/a/0/b~1c"),
    ] {
        let mut step = json!({"type": "http", "url": "http://h/"});
        step.as_object_mut().unwrap().insert(field.into(), value);
        let checked = with(vec![{
            step["id"] = json!(1);
            step
        }]);
        assert_eq!(pairs(&checked.report.errors)[0], ("template_syntax", path));
    }
    // Not a place of templates: the text stands as it is.
    one(json!({"type": "set", "vars": {"a": "{{b"}}), &[]);
}

#[test]
fn a_variable_that_nothing_sets_is_a_warning() {
    let checked = with(vec![
        json!({"id": 1, "type": "play", "text": "{{a}} {{b}} {{call.id}} {{digits}} {{http.status}}", "next_step": 2}),
        json!({"id": 2, "type": "digits", "variable": "a", "next_step": 3}),
        json!({"id": 3, "type": "branch", "variable": "c", "op": "exists"}),
    ]);
    warnings(&checked, &[("undefined_variable", "/flow/1/text"), ("undefined_variable", "/flow/3/variable")]);
}

#[test]
fn numbers_are_judged_and_asked_about() {
    one(json!({"type": "connect", "number": "XXXXXX"}), &[("number_not_allowed", "/flow/1/number")]);
    one(json!({"type": "transfer", "to": "abc"}), &[("number_not_allowed", "/flow/1/to")]);
    one(json!({"type": "connect", "targets": ["5263", "x"]}), &[("number_not_allowed", "/flow/1/targets/1")]);
    one(json!({"type": "connect", "number": 1.5}), &[("invalid_type", "/flow/1/number")]);
    let asks = |step: Value| with(vec![step]).questions;
    let number = |path: &str, number: &str| Question { path: path.into(), ask: Ask::Number(number.into()) };
    assert_eq!(
        asks(json!({"id": 1, "type": "connect", "targets": ["5263", 16468107000_i64]}))[1..],
        [number("/flow/1/targets/0", "5263"), number("/flow/1/targets/1", "16468107000")]
    );
    assert_eq!(asks(json!({"id": 1, "type": "transfer", "to": 5263}))[1..], [number("/flow/1/to", "5263")]);
    assert_eq!(
        asks(json!({"id": 1, "type": "connect", "number": 5263, "caller_id": "{{digits}}"}))[1..],
        [number("/flow/1/number", "5263")]
    );
    assert_eq!(
        asks(json!({"id": 1, "type": "connect", "number": 5263, "caller_id": 12345678}))[2],
        Question {
            path: "/flow/1/caller_id".into(),
            ask: Ask::CallerId {
                wanted: "12345678".into(),
                callee: Some("5263".into()),
                customer: Some("917507161643".into())
            }
        }
    );
    assert_eq!(
        asks(json!({"id": 1, "type": "callback", "date": "2030-01-01", "time": "10:00", "entity": 5263}))[1..],
        [Question { path: "/flow/1/entity".into(), ask: Ask::Entity("5263".into()) }]
    );
    assert_eq!(
        asks(json!({"id": 1, "type": "voicemail", "box": 1001}))[1..],
        [Question { path: "/flow/1/box".into(), ask: Ask::Mailbox("1001".into()) }]
    );
}

#[test]
fn callbacks_name_a_moment() {
    let callback = |date: Value, time: Value, zone: Value| json!({"type": "callback", "date": date, "time": time, "timezone": zone, "entity": 5263});
    one(
        callback(json!("2030-13-01"), json!("24:00:00"), json!("IST")),
        &[("invalid_date", "/flow/1/date"), ("invalid_time", "/flow/1/time"), ("unknown_timezone", "/flow/1/timezone")],
    );
    one(callback(json!("{{digits}}"), json!("{{digits}}"), json!("{{digits}}")), &[]);
    one(callback(json!("2030-01-01"), json!("20:48"), json!("europe/london")), &[]);
    one(callback(json!(20300101), json!("20:48"), json!("UTC")), &[("invalid_type", "/flow/1/date")]);
    let warned = |date: &str, zone: &str| {
        let mut step = callback(json!(date), json!("00:00"), json!(zone));
        step["id"] = json!(1);
        pairs(&with(vec![step]).report.warnings)
            .into_iter()
            .map(|(code, path)| format!("{code} {path}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(warned("2018-10-11", "UTC"), ["callback_in_past /flow/1"]);
    assert_eq!(warned("2030-10-11", "EST"), ["fixed_offset_zone /flow/1/timezone"]);
    // The same wall time is past in Kolkata and still to come in New York.
    assert_eq!(warned("2026-11-21", "Asia/Kolkata"), ["callback_in_past /flow/1"]);
    assert_eq!(warned("2026-11-21", "America/New_York"), Vec::<String>::new());
}

#[test]
fn booleans_written_as_text_are_taken_with_a_warning() {
    let body = |record: Value| {
        check(&json!({"record": record, "flow": [{"id": 0, "type": "call", "number": "12345678"}]}), Purpose::Run, NOW)
    };
    let checked = body(json!("true"));
    warnings(&checked, &[("text_for_boolean", "/record")]);
    assert!(checked.flow.unwrap().record);
    assert!(!body(json!("false")).flow.unwrap().record);
    assert!(body(json!(true)).flow.unwrap().record);
    for bad in [json!("yes"), json!(1), json!(null)] {
        errors(&body(bad), &[("invalid_type", "/record")]);
    }
}

#[test]
fn fields_that_nobody_knows_are_a_warning() {
    let checked = check(
        &json!({"colour": 1, "flow": [{"id": 0, "type": "call", "number": "12345678", "ring": 5, "next_step": 1}, {"id": 1, "type": "hangup", "next_step": 0}]}),
        Purpose::Run,
        NOW,
    );
    warnings(
        &checked,
        &[("unknown_field", "/colour"), ("unknown_field", "/flow/0/ring"), ("unknown_field", "/flow/1/next_step")],
    );
    let edges = with(vec![json!({"id": 1, "type": "http", "url": "http://h/", "flow": {"sucess": 0}})]);
    warnings(&edges, &[("unknown_field", "/flow/1/flow/sucess")]);
}

#[test]
fn publish_is_checked() {
    let body = |publish: Value| {
        check(
            &json!({"publish": publish, "flow": [{"id": 0, "type": "call", "number": "12345678"}]}),
            Purpose::Run,
            NOW,
        )
    };
    let good = body(
        json!({"url": "https://h/x", "method": "put", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "events": ["call.completed", "step.*"]}),
    );
    errors(&good, &[]);
    let publish = good.flow.unwrap().publish.unwrap();
    assert_eq!((publish.method, publish.events.unwrap().len()), ("PUT", 2));
    assert!(!format!("{:?}", body(json!({"url": "https://h/x", "secret": "whsec_AAAA"})).flow).contains("whsec"));
    assert_eq!(body(json!({"url": "https://h/x"})).flow.unwrap().publish.unwrap().method, "POST");
    for (publish, error) in [
        (json!({}), ("missing_field", "/publish")),
        (json!("https://h/"), ("invalid_type", "/publish")),
        (json!({"url": "ftp://h/"}), ("invalid_url", "/publish/url")),
        (json!({"url": "https://h/", "method": "GET"}), ("out_of_range", "/publish/method")),
        (json!({"url": "https://h/", "secret": "x"}), ("out_of_range", "/publish/secret")),
        (json!({"url": "https://h/", "events": []}), ("out_of_range", "/publish/events")),
        (json!({"url": "https://h/", "events": "all"}), ("invalid_type", "/publish/events")),
        (json!({"url": "https://h/", "events": ["call.exploded"]}), ("out_of_range", "/publish/events/0")),
    ] {
        errors(&body(publish), &[error]);
    }
}
