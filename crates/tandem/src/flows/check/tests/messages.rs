//! What the messages say to whoever wrote the flow.

use super::*;

#[test]
fn a_message_says_what_to_do_next() {
    let past =
        json!({"id": 2, "type": "callback", "date": "2018-10-11", "time": "20:48", "entity": 1, "on_past": "asap"});
    let steps = json!([
        {"id": 1, "type": "call", "number": "1001", "colour": 1, "next_step": 2},
        past,
        {"id": 3, "type": "plai", "text": "x"},
    ]);
    let report = check(&json!({ "flow": steps }), Purpose::Run, NOW).report;
    let told = |code: &str| {
        let mut all = report.errors.iter().chain(&report.warnings);
        all.find(|problem| problem.code == code).unwrap_or_else(|| panic!("no {code}: {report:?}")).message.clone()
    };
    assert!(told("unknown_type").contains("there are call, play, digits"), "{}", told("unknown_type"));
    assert!(told("unknown_field").contains("the fields are caller_id, flow, id,"), "{}", told("unknown_field"));
    assert!(told("callback_in_past").contains("as soon as possible"), "{}", told("callback_in_past"));
}

#[test]
fn every_name_of_a_type_is_read_and_is_its_own() {
    for name in NAMES {
        let step = json!({"id": 1, "type": name});
        let found = check(&json!({ "flow": [step] }), Purpose::Save, NOW).report;
        assert!(found.errors.iter().all(|problem| problem.code != "unknown_type"), "{name}");
    }
    assert_eq!(NAMES.len(), 18);
}
