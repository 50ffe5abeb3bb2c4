//! The request line of document 000, its table, and everything that may be wrong with an order.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::meetings::model::DurationUnit;

/// The body of document 000's request, as curl sends it.
const LINE: &str = "user[uid_caller]=1222&user[uid_receiver]=56712&meeting[order_id]=551&meeting[duration]=9&meeting[start_at]=31-12-2014 5:00 PM&caller[name]=cane&caller[number]=123456789&caller[call_type]=Phone&receiver[name]=tommy&receiver[number]=588974456&receiver[call_type]=Browser";
/// 2026-11-22T00:00:00Z
const NOW: i64 = 1_795_305_600_000;
const MINUTE: i64 = 60_000;

fn settings() -> Settings {
    Settings::default()
}

fn of_line(line: &str) -> Result<Order, Vec<FieldError>> {
    read(&Fields::of_urlencoded(line), &settings(), NOW).map(|understood| understood.order)
}

fn of_json(body: &Value) -> Result<Order, Vec<FieldError>> {
    read(&Fields::of_json(body), &settings(), NOW).map(|understood| understood.order)
}

fn warnings(fields: &Fields) -> Vec<Warning> {
    read(fields, &settings(), NOW).unwrap().warnings
}

fn nested() -> Value {
    json!({
        "user": {"uid_caller": 1222, "uid_receiver": "56712"},
        "meeting": {"order_id": 551, "duration": 9, "start_at": "31-12-2014 5:00 PM"},
        "caller": {"name": "cane", "number": 123_456_789, "call_type": "Phone"},
        "receiver": {"name": "tommy", "number": "588974456", "call_type": "Browser"},
    })
}

/// `nested` with one member changed.
fn with(pointer: &str, value: Value) -> Value {
    let mut body = nested();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    body.pointer_mut(parent).unwrap()[name] = value;
    body
}

fn wrong(result: Result<Order, Vec<FieldError>>) -> Vec<(String, String)> {
    result.unwrap_err().into_iter().map(|error| (error.pointer, error.code)).collect()
}

fn wrong_at(pointer: &str, value: Value) -> Vec<(String, String)> {
    wrong(of_json(&with(pointer, value)))
}

fn one(pointer: &str, code: &str) -> Vec<(String, String)> {
    vec![(pointer.to_owned(), code.to_owned())]
}

#[test]
fn the_documents_line_is_an_order() {
    let order = of_line(LINE).unwrap();
    assert_eq!(order.order_id, "551");
    assert_eq!(order.duration_ms, 9 * MINUTE);
    assert_eq!(order.starts_ms, kernel::time::parse_rfc3339("2014-12-31T17:00:00Z"));
    let party = |uid: &str, name: &str, number: &str, call_type| Party {
        uid: uid.into(),
        name: name.into(),
        number: Some(number.into()),
        email: None,
        call_type,
    };
    assert_eq!(order.caller, party("1222", "cane", "+123456789", CallType::Phone));
    assert_eq!(order.receiver, party("56712", "tommy", "+588974456", CallType::Browser));
    let warnings = warnings(&Fields::of_urlencoded(LINE));
    let codes: Vec<&str> = warnings.iter().map(|warning| warning.code.as_str()).collect();
    assert_eq!(codes, ["start_in_past"]);
}

#[test]
fn encoded_nested_flat_and_json_are_the_same_order() {
    let order = of_line(LINE).unwrap();
    let encoded: String = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(LINE.split('&').map(|pair| pair.split_once('=').unwrap()))
        .finish();
    assert!(encoded.contains("user%5Buid_caller%5D=1222"));
    assert_eq!(of_line(&encoded).as_ref(), Ok(&order));
    assert_eq!(of_line(&format!("{LINE}\r\n")).as_ref(), Ok(&order));
    assert_eq!(of_json(&nested()).as_ref(), Ok(&order));
    let flat = json!({
        "uniq_caller_id": "1222", "uniq_receiver_id": 56_712, "order_id": "551", "duration": "9",
        "start_at": "31-12-2014 5:00 PM", "name_of_caller": "cane", "nubmber": "123456789",
        "name_of_receiver": "tommy", "number": 588_974_456, "call_type_of_caller": "phone",
        "call_type_of_receiver": "BROWSER",
    });
    assert_eq!(of_json(&flat).as_ref(), Ok(&order));
    let mut other_names = flat;
    for (old, new) in [("nubmber", "number_of_caller"), ("number", "number_of_receiver")] {
        let value = other_names.as_object_mut().unwrap().shift_remove(old).unwrap();
        other_names[new] = value;
    }
    assert_eq!(of_json(&other_names), Ok(order));
}

#[test]
fn a_leading_space_of_a_form_stands_for_plus() {
    let number = |line: &str| of_line(line).unwrap().caller.number.unwrap();
    let line = |said: &str| LINE.replace("caller[number]=123456789", &format!("caller[number]={said}"));
    for said in ["+447700900123", "%2B447700900123", " 447700900123", "+44 7700 900-123", "00447700900123"] {
        assert_eq!(number(&line(said)), "+447700900123", "{said}");
    }
    // In JSON a space is a space.
    let body = with("/caller/number", json!(" 447700900123 "));
    assert_eq!(of_json(&body).unwrap().caller.number.as_deref(), Some("+447700900123"));
    let short = with("/caller/number", json!(" 1001"));
    assert_eq!(of_json(&short).unwrap().caller.number.as_deref(), Some("1001"), "an own number");
}

#[test]
fn all_mistakes_are_told_at_once() {
    let nothing = [
        ("/meeting/order_id", "required"),
        ("/user/uid_caller", "required"),
        ("/user/uid_receiver", "required"),
        ("/meeting/duration", "required"),
    ];
    let nothing: Vec<(String, String)> = nothing.map(|(a, b)| (a.to_owned(), b.to_owned())).to_vec();
    assert_eq!(wrong(of_json(&json!({}))), nothing);
    assert_eq!(wrong(of_line("")), nothing);
    let flat = json!({"order_id": "1", "uniq_caller_id": "a", "uniq_receiver_id": "b", "duration": "long",
        "nubmber": "x", "call_type_of_receiver": "Pigeon", "start_at": "soon"});
    let told: Vec<(String, String)> = [
        ("/nubmber", "invalid_number"),
        ("/call_type_of_receiver", "invalid"),
        ("/duration", "out_of_range"),
        ("/start_at", "invalid"),
    ]
    .map(|(a, b)| (a.to_owned(), b.to_owned()))
    .to_vec();
    assert_eq!(wrong(of_json(&flat)), told);
    let mut one_person_nowhere = flat;
    one_person_nowhere["uniq_receiver_id"] = "a".into();
    one_person_nowhere["time_zone"] = "Moon".into();
    let told: Vec<String> = wrong(of_json(&one_person_nowhere)).into_iter().map(|(pointer, _)| pointer).collect();
    let places = ["/nubmber", "/call_type_of_receiver", "/uniq_receiver_id", "/duration", "/time_zone", "/start_at"];
    assert_eq!(told, places);
}

#[test]
fn each_field_is_named_when_it_is_wrong() {
    assert_eq!(wrong_at("/user/uid_caller", json!("")), one("/user/uid_caller", "required"));
    assert_eq!(wrong_at("/user/uid_caller", json!("a\nb")), one("/user/uid_caller", "invalid"));
    assert_eq!(wrong_at("/user/uid_receiver", json!("x".repeat(201))), one("/user/uid_receiver", "invalid"));
    assert_eq!(wrong_at("/user/uid_receiver", json!(1222)), one("/user/uid_receiver", "same_person"));
    assert_eq!(wrong_at("/caller/name", json!(["a"])), one("/caller/name", "invalid"));
    assert_eq!(wrong_at("/caller/number", json!("sip:a@example.com")), one("/caller/number", "invalid_number"));
    assert_eq!(wrong_at("/caller/number", json!("*72")), one("/caller/number", "invalid_number"));
    assert_eq!(wrong_at("/caller/number", json!("07700900123")), one("/caller/number", "invalid_number"));
    assert_eq!(wrong_at("/receiver/number", json!("999")), one("/receiver/number", "number_not_allowed"));
    assert_eq!(wrong_at("/caller/email", json!("nobody")), one("/caller/email", "invalid"));
    assert_eq!(wrong_at("/caller/email", json!("a@b.example>")), one("/caller/email", "invalid"));
    assert_eq!(wrong_at("/caller/call_type", json!("Fax")), one("/caller/call_type", "invalid"));
    assert_eq!(wrong_at("/meeting/start_at", json!("2036-11-23T00:00:00Z")), one("/meeting/start_at", "out_of_range"));
    assert_eq!(wrong_at("/meeting/time_zone", json!("IST")), one("/meeting/time_zone", "unknown_timezone"));
    assert_eq!(wrong(of_json(&json!([]))).first().unwrap(), &(String::new(), "invalid".to_owned()));
}

#[test]
fn who_talks_by_phone_needs_a_number() {
    assert_eq!(wrong_at("/caller/number", json!(null)), one("/caller/number", "required"));
    let unsaid = |number: Value| {
        let mut body = with("/caller/number", number);
        body["caller"].as_object_mut().unwrap().shift_remove("call_type");
        of_json(&body).unwrap().caller
    };
    assert_eq!(unsaid(json!("+447700900123")).call_type, CallType::Phone);
    assert_eq!(unsaid(json!("")).call_type, CallType::Browser);
    for said in ["phone", "PHONE", " Phone "] {
        assert_eq!(of_json(&with("/caller/call_type", json!(said))).unwrap().caller.call_type, CallType::Phone);
    }
}

#[test]
fn a_duration_is_in_minutes_unless_somebody_says_seconds() {
    let length = |minutes: Value| of_json(&with("/meeting/duration", minutes)).map(|order| order.duration_ms);
    assert_eq!(length(json!(1)), Ok(MINUTE));
    assert_eq!(length(json!("480")), Ok(480 * MINUTE));
    for bad in [json!(0), json!(481), json!(-5), json!(1.5), json!("9 min"), json!("99999999999999999999"), json!(true)]
    {
        assert_eq!(wrong(of_json(&with("/meeting/duration", bad))), one("/meeting/duration", "out_of_range"));
    }
    let seconds = with("/meeting/duration_seconds", json!(90));
    assert_eq!(of_json(&seconds).unwrap().duration_ms, 90_000, "the explicit one counts");
    assert_eq!(wrong_at("/meeting/duration_seconds", json!(59)), one("/meeting/duration_seconds", "out_of_range"));
    let in_seconds = Settings { duration_unit: DurationUnit::Seconds, ..settings() };
    let order = read(&Fields::of_json(&with("/meeting/duration", json!(90))), &in_seconds, NOW).unwrap().order;
    assert_eq!(order.duration_ms, 90_000);
}

#[test]
fn the_zone_is_the_orders_else_the_applications_else_utc() {
    let start = |body: &Value, zone: &str| {
        let settings = Settings { time_zone: zone.into(), ..settings() };
        kernel::time::rfc3339(read(&Fields::of_json(body), &settings, NOW).unwrap().order.starts_ms.unwrap())
    };
    let body = with("/meeting/start_at", json!("31-12-2026 21:30"));
    assert_eq!(start(&body, "UTC"), "2026-12-31T21:30:00.000Z");
    assert_eq!(start(&body, "Asia/Kolkata"), "2026-12-31T16:00:00.000Z");
    let mut named = body;
    named["meeting"]["time_zone"] = json!("America/New_York");
    assert_eq!(start(&named, "Asia/Kolkata"), "2027-01-01T02:30:00.000Z");
    let mut absent = nested();
    absent["meeting"].as_object_mut().unwrap().shift_remove("start_at");
    assert_eq!(of_json(&absent).unwrap().starts_ms, None);
}

#[test]
fn what_is_not_understood_is_told() {
    let mut body = nested();
    body["coupon"] = json!("x");
    body["meeting"]["topic"] = json!("y");
    body["meeting"]["start_at"] = json!("28-03-2027 1:30");
    body["meeting"]["time_zone"] = json!("Europe/London");
    let warnings = warnings(&Fields::of_json(&body));
    let codes: Vec<&str> = warnings.iter().map(|warning| warning.code.as_str()).collect();
    assert_eq!(codes, ["start_at_gap", "unknown_field"]);
    assert!(warnings[1].message.ends_with("coupon, meeting[topic]"), "{}", warnings[1].message);
}

#[test]
fn of_a_name_that_comes_twice_the_last_counts() {
    assert_eq!(of_line(&format!("{LINE}&meeting[order_id]=552")).unwrap().order_id, "552");
    let empty = format!("{LINE}&uniq_caller_id=7").replace("user[uid_caller]=1222", "user[uid_caller]=");
    assert_eq!(of_line(&empty).unwrap().caller.uid, "7", "an empty text says nothing");
}

proptest! {
    #[test]
    fn no_body_panics(line in "\\PC{0,200}", bytes: Vec<u8>) {
        let _ = of_line(&line);
        let _ = of_line(&String::from_utf8_lossy(&bytes));
        if let Ok(value) = serde_json::from_slice::<Value>(&bytes) {
            let _ = of_json(&value);
        }
    }
}
