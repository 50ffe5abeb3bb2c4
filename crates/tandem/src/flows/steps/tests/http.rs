//! `http`.
use super::*;
use crate::flows::machine::{HttpFailure, HttpRequest, Sounding};

fn request(run: &Run) -> HttpRequest {
    run.find(|effect| if let Effect::Http { what, .. } = effect { Some(what.clone()) } else { None })
}

fn requests(run: &Run) -> usize {
    run.all(|effect| matches!(effect, Effect::Http { .. }).then_some(())).len()
}

fn step(fields: Value) -> Value {
    let mut step = json!({"type": "http", "url": "https://crm.test/x", "flow": {"success": "a", "fail": "b"}});
    step.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    step
}

#[test]
fn field_url() {
    let run = Run::of(step(json!({"url": "https://crm.test/{{call.to}}?n={{call.to}}"})));
    assert_eq!(request(&run).url, "https://crm.test/%2B917507161643?n=%2B917507161643");
    let missing = Run::of(step(json!({"url": "https://crm.test/{{nobody}}"})));
    assert_eq!((missing.at(), requests(&missing)), ("b".into(), 0), "a URL without its value fails");
    assert_eq!(missing.events("step.failed")[0]["error"], json!("the variable nobody has no value"));
}

#[test]
fn field_method() {
    assert_eq!(request(&Run::of(step(json!({})))).method, "GET");
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
        assert_eq!(request(&Run::of(step(json!({ "method": method })))).method, method);
    }
}

#[test]
fn field_headers() {
    let run = Run::of(step(json!({"headers": {"X-Call": "{{call.id}}", "X-N": 5}})));
    assert_eq!(request(&run).headers, [("X-Call".to_owned(), "call_1".to_owned()), ("X-N".to_owned(), "5".to_owned())]);
    let mut hostile = Run::dialling(json!({"flow": [
        {"id": "c", "type": "call", "number": "5263", "next_step": "v"},
        {"id": "v", "type": "set", "vars": {"v": "a\r\nX-Evil: 1"}, "next_step": "s"},
        {"id": "s", "type": "http", "url": "http://h/", "headers": {"X": "{{v}}"}, "flow": {"fail": "p"}},
        {"id": "p", "type": "pause", "seconds": 1},
    ]}));
    hostile.input(Input::Answered);
    assert_eq!((hostile.at(), requests(&hostile)), ("p".into(), 0));
}

#[test]
fn field_query() {
    let run = Run::of(step(json!({"url": "https://crm.test/x?a=1#f", "query": {"b c": "{{call.to}}", "n": 2}})));
    assert_eq!(request(&run).url, "https://crm.test/x?a=1&b%20c=%2B917507161643&n=2#f");
}

#[test]
fn field_json() {
    let run = Run::of(step(json!({"method": "POST", "json": {"to": "{{call.to}}", "n": [1, null]}})));
    let sent = request(&run);
    assert_eq!(sent.body.as_deref(), Some(r#"{"to":"+917507161643","n":[1,null]}"#));
    assert_eq!(sent.headers, [("Content-Type".to_owned(), "application/json".to_owned())]);
}

#[test]
fn field_body() {
    let body = |fields: Value| {
        let mut run = Run::dialling(json!({"flow": [
            {"id": "c", "type": "call", "number": "5263", "next_step": "v"},
            {"id": "v", "type": "set", "vars": {"v": "\"&{{x}}"}, "next_step": "s"},
            {"id": "s", "type": "http", "url": "http://h/", "method": "POST", "body": fields["body"], "headers": fields["headers"]},
        ]}));
        run.input(Input::Answered);
        request(&run)
    };
    let plain = body(json!({"body": "v={{v}}", "headers": {}}));
    assert_eq!(plain.body.as_deref(), Some("v=\"&{{x}}"));
    assert_eq!(plain.headers[0].1, "text/plain; charset=utf-8");
    let form = body(json!({"body": "v={{v}}", "headers": {"content-type": "application/x-www-form-urlencoded"}}));
    assert_eq!(form.body.as_deref(), Some("v=%22%26%7B%7Bx%7D%7D"));
    assert_eq!(form.headers.len(), 1, "the author's content type stays the only one");
    let json = body(json!({"body": "{\"v\":\"{{v}}\"}", "headers": {}}));
    assert_eq!(json.body.as_deref(), Some(r#"{"v":"\"&{{x}}"}"#));
}

#[test]
fn field_timeout() {
    assert_eq!(request(&Run::of(step(json!({})))).timeout_ms, 10_000);
    assert_eq!(request(&Run::of(step(json!({"timeout": 2})))).timeout_ms, 2_000);
}

#[test]
fn field_retries() {
    let mut run = Run::of(step(json!({"retries": 2})));
    run.respond(503, "");
    assert_eq!((run.at(), requests(&run)), ("s".into(), 1));
    run.wait(500);
    run.http_done(Answer::Failure(HttpFailure::Connect));
    run.wait(500);
    assert_eq!(requests(&run), 3);
    run.respond(502, "");
    assert_eq!((run.at(), requests(&run)), ("b".into(), 3), "three in all");
    for answer in [
        Answer::Response { status: 500, body: String::new() },
        Answer::Failure(HttpFailure::Timeout),
        Answer::Failure(HttpFailure::Blocked),
    ] {
        let mut run = Run::of(step(json!({"retries": 2})));
        run.http_done(answer);
        assert_eq!((run.at(), requests(&run)), ("b".into(), 1));
    }
    let mut none = Run::of(step(json!({})));
    none.respond(503, "");
    assert_eq!(none.at(), "b", "by default nothing is repeated");
}

#[test]
fn field_save() {
    let mut run = Run::of(step(json!({"save": {"name": "/user/name", "n": "/n", "all": "", "none": "/x"}})));
    run.respond(200, r#"{"user":{"name":"Ann \"A\""},"n":7}"#);
    assert_eq!(run.saved()["name"], json!("Ann \"A\""));
    assert_eq!(run.saved()["n"], json!("7"));
    assert_eq!(run.saved().get("none"), None);
    assert!(run.saved()["all"].as_str().unwrap().starts_with("{\"user\""));
    let mut failed = Run::of(step(json!({"save": {"n": "/n"}})));
    failed.respond(404, r#"{"n":7}"#);
    assert_eq!(failed.machine.variables().get("n"), None);
    let mut text = Run::of(step(json!({"save": {"n": "/n"}})));
    text.respond(200, "not JSON");
    assert_eq!(text.at(), "a");
}

#[test]
fn field_hold_music() {
    let playing =
        |run: &Run| run.all(|effect| if let Effect::Play { what, loops: 0, .. } = effect { Some(*what) } else { None });
    assert_eq!(playing(&Run::of(step(json!({})))), [], "by default silence");
    let mut run = Run::of(step(json!({"hold_music": "music"})));
    assert_eq!(playing(&run), [Sounding::HoldMusic]);
    assert!(run.respond(200, "").contains(&Effect::StopPlay));
    assert_eq!(playing(&Run::of(step(json!({"hold_music": "ringback"})))), [Sounding::Ringback]);
    let mut own = Run::of(step(json!({"hold_music": "https://h/m.mp3"})));
    assert_eq!(own.sources(), [Source::Url("https://h/m.mp3".into())]);
    own.sound_ready();
    assert_eq!(playing(&own).len(), 1);
    let mut late = Run::of(step(json!({"hold_music": "https://h/m.mp3"})));
    late.respond(200, "");
    late.sound_ready();
    assert_eq!((late.at(), playing(&late).len()), ("a".into(), 0));
}

#[test]
fn edge_success() {
    for status in [200, 201, 204, 299] {
        let mut run = Run::of(step(json!({})));
        run.now_ms += 25;
        run.respond(status, "");
        assert_eq!((run.at(), run.outcome()), ("a".into(), json!("success")));
        assert_eq!(run.events("http.completed"), [json!({"status": status, "ms": 25})]);
        assert_eq!(run.machine.variables().get("http.status"), Some(status.to_string().as_str()));
        assert_eq!(run.machine.variables().get("http.error"), None);
    }
    let mut both = Run::of(json!({"type": "http", "url": "http://h/", "next_step": "next"}));
    both.respond(200, "");
    assert_eq!(both.at(), "next");
}

#[test]
fn edge_fail() {
    for status in [199, 301, 400, 404, 500] {
        let mut run = Run::of(step(json!({})));
        run.respond(status, "");
        assert_eq!((run.at(), run.outcome()), ("b".into(), json!("fail")));
        assert_eq!(run.machine.variables().get("http.error"), Some("status"));
    }
    for (failure, word) in [
        (HttpFailure::Timeout, "timeout"),
        (HttpFailure::Dns, "dns"),
        (HttpFailure::Tls, "tls"),
        (HttpFailure::Blocked, "blocked"),
        (HttpFailure::TooLarge, "too_large"),
    ] {
        let mut run = Run::of(step(json!({})));
        run.http_done(Answer::Failure(failure));
        assert_eq!(run.at(), "b");
        assert_eq!(run.machine.variables().get("http.error"), Some(word));
        assert_eq!(run.machine.variables().get("http.status"), None);
    }
    let mut both = Run::of(json!({"type": "http", "url": "http://h/", "next_step": "next"}));
    both.respond(500, "");
    assert_eq!(both.at(), "next");
}

#[test]
fn a_hang_up_cancels_the_request() {
    let mut run = Run::of(step(json!({})));
    let request = run.find(|effect| if let Effect::Http { request, .. } = effect { Some(*request) } else { None });
    assert_eq!(run.input(Input::Ended), [Effect::CancelHttp { request }]);
    assert!(run.machine.is_over());
}

#[test]
fn an_answer_that_the_run_has_no_room_for_is_a_failure() {
    let mut run = Run::of(step(json!({"save": {"first": "/a", "all": ""}})));
    run.respond(200, &json!({"a": "1", "b": "x".repeat(4_096)}).to_string());
    assert_eq!((run.at(), run.outcome()), ("b".into(), json!("fail")));
    assert_eq!(run.events("step.failed")[0]["error"], json!("the value of all is longer than 4096 bytes"));
    assert_eq!(run.events("http.completed")[0]["error"], json!("too_large"));
    let variables = run.machine.variables();
    assert_eq!((variables.get("http.error"), variables.get("http.status")), (Some("too_large"), Some("200")));
    assert_eq!((variables.get("first"), variables.get("all")), (Some("1"), None));
}

#[test]
fn a_request_that_values_make_too_long_is_not_sent() {
    let long = "x".repeat(4_000);
    let holes = |n: usize| "{{v}}".repeat(n);
    for fields in [
        json!({"url": "http://h/", "method": "POST", "body": holes(100)}),
        json!({"url": "http://h/", "method": "POST", "json": vec!["{{v}}"; 100]}),
        json!({"url": format!("http://h/{}", holes(100))}),
        json!({"url": "http://h/", "query": {"q": holes(100)}}),
        json!({"url": "http://h/", "headers": {"X": holes(3)}}),
    ] {
        let mut asking = step(fields.clone());
        asking["id"] = json!("s");
        let mut run = Run::dialling(json!({"flow": [
            {"id": "c", "type": "call", "number": "5263", "next_step": "v"},
            {"id": "v", "type": "set", "vars": {"v": long}, "next_step": "s"},
            asking, {"id": "a", "type": "pause", "seconds": 1}, {"id": "b", "type": "pause", "seconds": 1},
        ]}));
        run.input(Input::Answered);
        assert_eq!((run.at(), requests(&run)), ("b".into(), 0), "{fields}");
        assert!(run.events("step.failed")[0]["error"].as_str().unwrap().starts_with("the filled text is longer"));
    }
}
