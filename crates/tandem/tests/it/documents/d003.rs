//! Document 003, call flows: every code block of it parses (T2), its sample is accepted byte for byte, and what is
//! wrong is answered as the contract says.

use serde_json::{Value, json};
use tandem::flows::{Purpose, check, lenient};

use crate::harness::server::{Server, Tenant};

const PAYLOAD: &str = include_str!("003/payload.txt");
const PUBLISH: &str = include_str!("003/publish.txt");
const SAMPLE: &str = include_str!("003/sample.txt");
/// The blocks that show one step, with the type they are of.
const STEPS: [(&str, &str); 6] = [
    ("call", include_str!("003/call.txt")),
    ("play", include_str!("003/play.txt")),
    ("digits", include_str!("003/keypad.txt")),
    ("http", include_str!("003/http.txt")),
    ("callback", include_str!("003/callback.txt")),
    ("connect", include_str!("003/connect.txt")),
];
/// Both published bases, and each with the slash that many clients add.
pub(super) const BASES: [&str; 4] = ["/api/v2", "/api/public/v1", "/api/v2/", "/api/public/v1/"];

/// 2026-11-21T00:00:00Z
const NOW: i64 = 1_795_219_200_000;

/// The sample with this organisation's credentials, otherwise byte for byte.
fn sample(tenant: &Tenant<'_>) -> String {
    SAMPLE
        .replace("\"cloud_id\":\"dev\"", &format!("\"cloud_id\":\"{}\"", tenant.org.slug))
        .replace("XXXXXXXX", &tenant.org.cloud_sid)
        .replace("your_auth_token", &tenant.token)
}

/// A body with this organisation's credentials.
pub(super) fn body(tenant: &Tenant<'_>, flow: &Value) -> Value {
    json!({"cloud_id": tenant.org.slug, "cloud_sid": tenant.org.cloud_sid, "auth_token": tenant.token, "flow": flow})
}

pub(super) fn codes(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|entry| entry["code"].as_str().unwrap()).collect()
}

fn pairs(list: &Value) -> Vec<(&str, &str)> {
    list.as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry["code"].as_str().unwrap(), entry["path"].as_str().unwrap()))
        .collect()
}

/// An organisation with what the sample names.
pub(super) async fn dev(server: &Server) -> Tenant<'_> {
    let dev = server.org("dev").await;
    dev.phone("1001").await;
    dev.phone("1002").await;
    dev.team("5263", &["1002"]).await;
    dev.number("+917507161643", "person:1001").await;
    dev
}

// -------------------------------------------------------------------- T2

fn with_ids(block: &str) -> String {
    let mut text = block.to_owned();
    for (placeholder, id) in [
        ("<<some id>>", "1"),
        ("<<some other id>>", "\"2\""),
        ("<<some id 1>>", "2"),
        ("<<some id 2>>", "3"),
        ("<<some id2>", "2"),
    ] {
        text = text.replace(placeholder, id);
    }
    text
}

#[test]
fn t2_every_step_of_the_document_parses() {
    for (kind, block) in STEPS {
        let step = lenient::read(with_ids(block).as_bytes()).unwrap_or_else(|error| panic!("{kind}: {error}")).value;
        let landing = |id: i32| json!({"id": id, "type": "hangup"});
        let mut flow = vec![step.clone(), landing(2), landing(3)];
        if kind != "call" {
            flow.insert(0, json!({"id": 0, "type": "call", "number": "917507161643", "next_step": 1}));
        }
        let checked = check(&json!({ "flow": flow }), Purpose::Run, NOW);
        // What is wrong with the blocks is that XXXXX is no number; everything else about them is understood.
        let errors: Vec<&str> = checked.report.errors.iter().map(|error| error.code.as_ref()).collect();
        let wanted: &[&str] = if matches!(kind, "call" | "connect") { &["number_not_allowed"] } else { &[] };
        assert_eq!(errors, wanted, "{kind}");
    }
}

#[test]
fn t2_the_payload_and_the_publish_fragment_parse() {
    let payload = PAYLOAD.replacen("{...}", &with_ids(STEPS[0].1), 1).replacen("{...}", &with_ids(STEPS[1].1), 1);
    let reading = lenient::read(payload.as_bytes()).unwrap();
    assert!(reading.lenient);
    assert_eq!(reading.value["record"], json!(true));
    assert_eq!(reading.value["flow"].as_array().unwrap().len(), 2);

    let publish = lenient::read(format!("{{{PUBLISH}}}").as_bytes()).unwrap().value;
    assert_eq!(publish, json!({"publish": {"url": "https://status_url", "method": "PUT"}}));
    let mut whole: Value = serde_json::from_str(SAMPLE).unwrap();
    for name in ["cloud_id", "cloud_sid", "auth_token"] {
        whole.as_object_mut().unwrap().shift_remove(name);
    }
    whole["publish"] = publish["publish"].clone();
    let flow = check(&whole, Purpose::Run, NOW).flow.unwrap();
    assert_eq!(flow.publish.unwrap().method, "PUT");
}

#[test]
fn t2_the_sample_is_strict_json() {
    assert!(!lenient::read(SAMPLE.as_bytes()).unwrap().lenient);
}

#[tokio::test(flavor = "multi_thread")]
async fn t2_a_placeholder_left_in_is_named() {
    let server = Server::start().await;
    for (block, placeholder) in STEPS.iter().map(|(_, block)| (*block, "<<some id>>")).chain([(PAYLOAD, "{...}")]) {
        for path in ["/api/v2/call/flow", "/api/v2/call/flow?dry_run=1"] {
            let answer = server.client().post_text(path, block).await.expect(400);
            assert_eq!(answer["status"], "error");
            assert_eq!(codes(&answer["errors"]), ["invalid_json"]);
            let message = answer["errors"][0]["message"].as_str().unwrap();
            assert!(message.contains(placeholder) && message.contains("line "), "{message}");
        }
    }
    server.stop().await;
}

// -------------------------------------------------------------------- the sample

#[tokio::test(flavor = "multi_thread")]
async fn the_sample_is_accepted_byte_for_byte_under_both_bases() {
    let server = Server::start().await;
    let dev = dev(&server).await;
    for base in BASES {
        let path = format!("{base}/call/flow?dry_run=1");
        let answer = server.client().post_text(&path, &sample(&dev)).await.expect(200);
        assert_eq!(answer["status"], "success", "{path}");
        let warnings = pairs(&answer["warnings"]);
        for wanted in [
            ("unreachable_step", "/flow/5"),
            ("callback_in_past", "/flow/3"),
            ("caller_id_replaced", "/flow/5/caller_id"),
        ] {
            assert!(warnings.contains(&wanted), "{warnings:?}");
        }
        assert!(answer.get("call_id").is_none(), "a dry run places no call");
    }
    assert_eq!(dev.client().get("/v1/calls").await.expect(200)["calls"], json!([]));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_told_of_and_holds_no_credential() {
    let server = Server::start().await;
    let dev = dev(&server).await;
    let mut posted: Value = serde_json::from_str(&sample(&dev)).unwrap();
    posted["publish"] = json!({"url": "https://example.org/hook", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"});
    let answer = server.client().post("/api/v2/call/flow", &posted).await.expect(201);
    let (call, run) = (answer["call_id"].as_str().unwrap(), answer["flow_run_id"].as_str().unwrap());
    assert!(call.starts_with("call_") && run.starts_with("run_"), "{answer}");

    // Nobody is registered as 1001: the call ends by itself.
    let path = format!("/api/public/v1/call/flow/{run}");
    let told = dev.client().until(&path, "completed", |told| told["run"]["state"] == "completed").await;
    assert_eq!(told["status"], "success");
    let told = &told["run"];
    assert_eq!((&told["id"], &told["call_id"], &told["cause"]), (&json!(run), &json!(call), &json!("unreachable")));
    assert_eq!(told["flow"], serde_json::from_str::<Value>(SAMPLE).unwrap()["flow"]);
    assert_eq!(told["visited"].as_array().unwrap().len(), 1);
    assert_eq!(told["visited"][0]["step_id"], "0");
    assert_eq!(told["visited"][0]["type"], "call");
    assert_eq!(told["variables"], json!({}));
    let text = told.to_string();
    assert!(!text.contains(&dev.token) && !text.contains("whsec"), "{text}");

    let seen = dev.client().get(&format!("/v1/calls/{call}")).await.expect(200);
    assert_eq!((&seen["state"], &seen["flow_run_id"]), (&json!("completed"), &json!(run)));
    let events = dev.client().get(&format!("/v1/calls/{call}/events")).await.expect(200);
    let kinds: Vec<&str> =
        events["events"].as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == "call.completed").count(), 1, "{kinds:?}");
    assert!(!events.to_string().contains(&dev.token));
    // A hang-up of what is over is no error.
    let again = server.client().post(&format!("/api/v2/call/{call}/hangup"), &body(&dev, &json!([]))).await.expect(200);
    assert_eq!(again, json!({"status": "success"}));

    let other = server.org("other").await;
    assert_eq!(codes(&other.client().get(&path).await.expect(404)["errors"]), ["not_found"]);
    other.client().get(&format!("/v1/calls/{call}")).await.expect(404);
    other.client().post(&format!("/api/v2/call/{call}/hangup"), &json!({})).await.expect(404);
    server.stop().await;
}

// -------------------------------------------------------------------- errors

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_400_and_what_is_too_large_413() {
    let server = Server::start().await;
    let dev = dev(&server).await;
    let padding = "x".repeat(lenient::MAX_BODY);
    let good = body(&dev, &json!([{"id": 1, "type": "call", "number": "1001"}])).to_string();
    for (text, status, code) in [
        ("{".to_owned(), 400, "invalid_json"),
        (String::new(), 400, "invalid_json"),
        (good.replace("\"id\":1", "\"id\":1,\"id\":2"), 400, "duplicate_key"),
        (good.replace("\"call\"", "\"ca\\u0000ll\""), 400, "nul_character"),
        (good.replace("\"1001\"", &format!("\"{padding}\"")), 413, "body_too_large"),
        (good.replace("\"1001\"", &format!("{}{}", "[".repeat(20), "]".repeat(20))), 422, "limit_exceeded"),
        (format!("{}1{}", "[".repeat(90_000), "]".repeat(90_000)), 422, "limit_exceeded"),
    ] {
        for path in ["/api/v2/call/flow", "/api/v2/call/flow?dry_run=1"] {
            let answer = server.client().post_text(path, &text).await;
            let answer = answer.expect(status);
            assert_eq!(answer["status"], "error");
            assert_eq!(codes(&answer["errors"]), [code]);
            assert_eq!(answer["warnings"], json!([]));
        }
    }
    let request = server.client().request(reqwest::Method::POST, "/api/v2/call/flow").body(vec![b'"', 0xff, b'"']);
    assert_eq!(codes(&server.client().send(request).await.expect(400)["errors"]), ["not_utf8"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_is_wrong_is_said_at_once_with_pointers() {
    let server = Server::start().await;
    let dev = dev(&server).await;
    let flow = json!([
        {"id": 1, "type": "call", "number": "1001", "caller_id": "123456", "next_step": 2},
        {"id": "2", "type": "connect", "number": "7777", "next_step": 3},
        {"id": 3, "type": "http", "url": "http://127.0.0.1:9/x", "next_step": 4},
        {"id": 4, "type": "http", "url": "http://[::ffff:10.0.0.1]/{{x}}", "next_step": 5},
        {"id": 5, "type": "callback", "date": "2030-02-30", "time": "10:00", "timezone": "IST", "entity": 9999, "next_step": 6},
        {"id": 6, "type": "connect", "number": "112", "next_step": 7},
        {"id": 7, "type": "voicemail", "box": "5263", "next_step": 8},
        {"id": 8, "type": "connect", "number": "+19005551234"},
        {"id": 9, "type": "transfer", "to": "sip:someone@example.org"},
    ]);
    for path in ["/api/v2/call/flow", "/api/public/v1/call/flow?dry_run=1"] {
        let answer = server.client().post(path, &body(&dev, &flow)).await.expect(422);
        assert_eq!(
            pairs(&answer["errors"]),
            [
                ("invalid_date", "/flow/4/date"),
                ("unknown_timezone", "/flow/4/timezone"),
                ("unknown_entity", "/flow/1/number"),
                ("url_blocked", "/flow/2/url"),
                ("url_blocked", "/flow/3/url"),
                ("unknown_entity", "/flow/4/entity"),
                ("number_not_allowed", "/flow/5/number"),
                ("unknown_entity", "/flow/6/box"),
                ("number_not_allowed", "/flow/7/number"),
                ("number_not_allowed", "/flow/8/to"),
            ]
        );
        let warnings = pairs(&answer["warnings"]);
        assert!(warnings.contains(&("undefined_variable", "/flow/3/url")), "{warnings:?}");
        assert!(warnings.contains(&("caller_id_replaced", "/flow/0/caller_id")), "{warnings:?}");
        assert!(warnings.contains(&("unreachable_step", "/flow/8")), "{warnings:?}");
    }
    assert_eq!(dev.client().get("/v1/calls").await.expect(200)["calls"], json!([]), "nothing half-done stays");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lenient_json_is_taken_with_a_warning() {
    let server = Server::start().await;
    let dev = dev(&server).await;
    let text = format!(
        "{{\n “cloud_id”: \"{}\", # ours\n auth_token: \"{}\",\n // the steps\n \"record\": \"true\",\n \"flow\": [{{id: 1, \"type\": “call”, number: 1001,}},],\n}}",
        dev.org.slug, dev.token
    );
    let answer = server.client().post_text("/api/v2/call/flow?dry_run=1", &text).await.expect(200);
    assert_eq!(pairs(&answer["warnings"]), [("text_for_boolean", "/record"), ("lenient_json", "")]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_have_limits_and_a_refused_one_leaves_nothing() {
    let server = crate::harness::server::Plan::new().with(|config| config.limits.concurrent_calls = 1).start().await;
    let dev = dev(&server).await;
    // A trunk that nobody answers keeps the first call up.
    let hole = std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let target = hole.local_addr().unwrap().to_string();
    let trunk = calls::NewTrunk { name: "hole".to_owned(), targets: vec![target], ..calls::NewTrunk::default() };
    calls::create_trunk(&server.app.kernel, &dev.org.id, trunk).await.unwrap();
    let flow = body(&dev, &json!([{"id": 1, "type": "call", "number": "+442071838750"}]));
    let first = server.client().post("/api/v2/call/flow", &flow).await.expect(201);
    let second = server.client().post("/api/v2/call/flow", &flow).await;
    assert!(second.headers.contains_key("retry-after"));
    let second = second.expect(429);
    assert_eq!((&second["status"], codes(&second["errors"])), (&json!("error"), vec!["rate_limited"]));
    assert_eq!(dev.client().get("/v1/calls").await.expect(200)["calls"].as_array().unwrap().len(), 1);

    let call = first["call_id"].as_str().unwrap();
    server.client().post(&format!("/api/v2//call/{call}/hangup"), &body(&dev, &json!([]))).await.expect(200);
    let ended = |call: &Value| call["state"] == "completed";
    let call = dev.client().until(&format!("/v1/calls/{call}"), "completed", ended).await;
    assert_eq!((&call["cause"], &call["ended_by"]), (&json!("canceled"), &json!("api")));
    server.stop().await;
}
