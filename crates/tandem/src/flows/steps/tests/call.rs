//! `call`.
use super::*;
use crate::flows::{model::Flow, steps::Kind};

fn flow(entry: Value) -> Flow {
    let mut entry = entry;
    entry["id"] = json!(0);
    entry["type"] = json!("call");
    check(&json!({ "flow": [entry] }), Purpose::Save, NOW).flow.unwrap()
}

fn placing(entry: Value) -> crate::flows::steps::call::Placing {
    let Kind::Call(call) = &flow(entry).steps[0].kind else { panic!("no call") };
    call.placing(None).unwrap()
}

#[test]
fn field_number() {
    assert_eq!(placing(json!({"number": 917507161643_i64})).number, "917507161643");
    assert_eq!(placing(json!({"number": "+44 207".replace(' ', "")})).number, "+44207");
}

#[test]
fn another_number_to_call_changes_nothing_else() {
    for number in ["5263", "{{customer}}"] {
        let flow = flow(json!({"number": number, "caller_id": 123456, "timeout": 7, "time_limit": 90}));
        let Kind::Call(call) = &flow.steps[0].kind else { panic!("no call") };
        let placing = call.placing(Some("1001")).unwrap();
        assert_eq!((placing.number.as_str(), placing.caller_id.as_deref()), ("1001", Some("123456")));
        assert_eq!((placing.timeout_ms, placing.time_limit_ms), (7_000, 90_000));
    }
    let Kind::Call(call) = &flow(json!({"number": "{{customer}}"})).steps[0].kind else { panic!("no call") };
    assert!(call.placing(None).is_err());
}

#[test]
fn field_caller_id() {
    assert_eq!(placing(json!({"number": "5263", "caller_id": 123456})).caller_id.as_deref(), Some("123456"));
    assert_eq!(placing(json!({"number": "5263"})).caller_id, None);
}

#[test]
fn field_timeout() {
    assert_eq!(placing(json!({"number": "5263", "timeout": 7})).timeout_ms, 7_000);
    assert_eq!(placing(json!({"number": "5263"})).timeout_ms, 60_000);
}

#[test]
fn field_time_limit() {
    assert_eq!(placing(json!({"number": "5263", "time_limit": 90})).time_limit_ms, 90_000);
    assert_eq!(placing(json!({"number": "5263"})).time_limit_ms, 14_400_000);
}

#[test]
fn edge_next_step() {
    let run = Run::of(json!({"type": "hangup"}));
    assert_eq!(run.path(), ["call", "s"]);
    assert_eq!(run.hung_up(), Some(Cause::Normal));
}

/// A call with the three edges to steps that need nobody on the line.
fn unanswered(cause: Cause, step: Value) -> Run {
    let mut run = Run::dialling(json!({"flow": [
        {"id": "call", "type": "call", "number": "5263", "next_step": "up", "flow": {"busy": "busy", "no_answer": "no_answer", "failed": "failed"}},
        {"id": "up", "type": "hangup"},
        {"id": "busy", "type": "set", "vars": {"why": "b"}, "next_step": "then"},
        {"id": "no_answer", "type": "set", "vars": {"why": "n"}, "next_step": "then"},
        {"id": "failed", "type": "set", "vars": {"why": "f"}, "next_step": "then"},
        step,
    ]}));
    run.input(Input::NotAnswered { cause });
    run
}

fn asks() -> Value {
    json!({"id": "then", "type": "http", "url": "http://h/"})
}

#[test]
fn edge_busy() {
    let mut run = unanswered(Cause::Busy, asks());
    assert_eq!(run.path(), ["call", "busy", "then"]);
    run.respond(200, "");
    assert_eq!(run.hung_up(), Some(Cause::Busy), "the call keeps the reason why nobody answered");
}

#[test]
fn edge_no_answer() {
    assert_eq!(unanswered(Cause::NoAnswer, asks()).path(), ["call", "no_answer", "then"]);
}

#[test]
fn edge_failed() {
    for cause in [Cause::Rejected, Cause::NoRoute, Cause::Unreachable, Cause::InvalidNumber, Cause::Congestion] {
        assert_eq!(unanswered(cause, asks()).path(), ["call", "failed", "then"]);
    }
}

#[test]
fn without_these_edges_the_call_just_ends() {
    let mut run = Run::dialling(Run::body(json!({"type": "hangup"})));
    run.input(Input::NotAnswered { cause: Cause::Busy });
    assert_eq!((run.path(), run.hung_up()), (vec!["call".to_owned()], Some(Cause::Busy)));
}

#[test]
fn a_step_that_needs_the_customer_ends_a_call_without_him() {
    let run = unanswered(Cause::Busy, json!({"id": "then", "type": "play", "text": "hello"}));
    assert_eq!((run.plays(), run.hung_up()), (0, Some(Cause::Busy)));
    assert_eq!(run.events("step.failed").len(), 1);
}
