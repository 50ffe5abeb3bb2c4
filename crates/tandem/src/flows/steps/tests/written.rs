//! The steps in a chat: what people read and write instead of hearing and pressing.

use serde_json::{Value, json};
use voice::cause::Cause;

use super::{Run, speech};
use crate::flows::{
    Purpose, check,
    machine::{Answer, Effect, Input, Medium, QueueOrder, Setup},
    steps::written::unknown_steps,
};

const MINUTE_MS: i64 = 60_000;

impl Run {
    /// The step under test in a chat that has just begun.
    fn chat(step: Value) -> Self {
        let mut run = Self::new(Self::body(step), Setup { medium: Medium::Chat, ..Setup::default() });
        run.input(Input::Answered);
        run
    }

    fn writes(&mut self, words: &str) {
        self.input(Input::Words(words.to_owned()));
    }
}

fn menu(more: Value) -> Value {
    let mut step = json!({"type": "digits", "prompt": "Sales or help?", "variable": "wish",
        "flow": {"1": "a", "sales": "a", "Help me": "b", "timeout": "c"}});
    step.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    step
}

#[test]
fn a_message_takes_the_edge_of_exactly_its_text() {
    for (words, place) in [("1", "a"), ("  sales \n", "a"), ("Help me", "b")] {
        let mut run = Run::chat(menu(json!({})));
        run.hear();
        run.writes(words);
        assert_eq!((run.at().as_str(), run.saved()["wish"].as_str()), (place, Some(words.trim())), "{words}");
        assert_eq!(run.events("input.completed"), [json!({"value": words.trim(), "match": words.trim()})]);
    }
    let mut run = Run::chat(menu(json!({"flow": {"1": "a", "*": "b"}})));
    run.hear();
    run.writes("Something that no key could say: äöü 4711");
    assert_eq!((run.at().as_str(), run.outcome()), ("b", json!("*")));
}

#[test]
fn a_wrong_answer_is_asked_again_as_often_as_there_are_tries() {
    let mut run = Run::chat(menu(json!({"tries": 2, "flow": {"1": "a", "invalid": "b"}})));
    run.hear();
    run.writes("help me");
    assert_eq!((run.at().as_str(), run.plays()), ("s", 2), "the question stands there again");
    run.play_ended();
    run.writes("2");
    assert_eq!((run.at().as_str(), run.outcome()), ("b", json!("invalid")));
}

#[test]
fn without_edges_every_answer_goes_on_but_one_that_no_variable_holds() {
    let ask = json!({"type": "digits", "variable": "name", "next_step": "next", "flow": {"invalid": "b"}});
    for (words, place) in [("Ann", "next"), ("   ", "b"), (&"x".repeat(4_097), "b")] {
        let mut run = Run::chat(ask.clone());
        run.writes(words);
        assert_eq!(run.at(), place);
    }
}

#[test]
fn before_the_question_was_read_nothing_is_an_answer() {
    let mut run = Run::chat(menu(json!({})));
    run.sound_ready();
    run.writes("1");
    assert_eq!(run.at(), "s");
    run.play_ended();
    run.writes("1");
    assert_eq!(run.at(), "a");
}

#[test]
fn who_writes_has_ten_minutes_unless_the_author_says_otherwise() {
    let mut run = Run::chat(menu(json!({})));
    run.hear();
    run.wait(10 * MINUTE_MS - 1);
    assert_eq!(run.at(), "s");
    run.wait(1);
    assert_eq!((run.at().as_str(), run.outcome()), ("c", json!("timeout")));
    let mut run = Run::chat(menu(json!({"timeout": 20})));
    run.hear();
    run.wait(20_000);
    assert_eq!(run.at(), "c");
    let mut run = Run::chat(json!({"type": "digits"}));
    run.wait(10 * MINUTE_MS);
    assert_eq!(run.hung_up(), Some(Cause::NoInput));
}

#[test]
fn a_text_is_said_as_it_is_and_a_file_is_not_played() {
    let mut run = Run::chat(json!({"type": "play", "text": "2 < 3 & {{call.to}}", "loop": 3, "next_step": "next"}));
    assert_eq!(run.sources(), [speech("2 < 3 & +917507161643")]);
    run.hear();
    assert_eq!((run.at().as_str(), run.plays()), ("next", 1));
    let both = json!({"type": "play", "url": "http://a.test/x.wav", "text": "Hello", "next_step": "next"});
    let mut run = Run::chat(both);
    run.sound_failed();
    assert_eq!(run.sources().last(), Some(&speech("Hello")), "the text stands in");
}

#[test]
fn what_a_chat_does_not_know_fails_by_its_edge_else_goes_on_else_leaves_it_to_people() {
    let connect = |more: Value| {
        let mut step = json!({"type": "connect", "number": "+442071838750"});
        step.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Run::chat(step)
    };
    let run = connect(json!({"flow": {"failed": "a", "completed": "b"}, "next_step": "next"}));
    assert_eq!((run.at().as_str(), run.outcome()), ("a", json!("failed")));
    let run = connect(json!({"next_step": "next"}));
    assert_eq!((run.at().as_str(), run.events("step.failed").len()), ("next", 1));
    assert_eq!(connect(json!({})).hung_up(), Some(Cause::FlowError), "nobody is sent away for it");
    let callback =
        json!({"type": "callback", "date": "2026-11-22", "time": "10:00", "entity": "1001", "flow": {"fail": "a"}});
    assert_eq!(Run::chat(callback).at(), "a");
    let transfer = Run::chat(json!({"type": "transfer", "to": "+442071838750"}));
    assert_eq!(transfer.hung_up(), Some(Cause::FlowError));
    assert!(transfer.all(|effect| matches!(effect, Effect::Transfer { .. }).then_some(())).is_empty());
}

#[test]
fn a_queue_hands_over_and_the_flow_has_no_more_to_say() {
    let mut run = Run::chat(json!({"type": "queue", "team": "5263", "next_step": "next"}));
    let orders = run.all(|effect| if let Effect::Queue(order) = effect { Some(order.clone()) } else { None });
    let order = QueueOrder { team: "5263".into(), timeout_ms: 300_000, max_waiting: 100, joined_ms: None };
    assert_eq!((orders, run.outcome()), (vec![order], json!("handed_over")));
    run.writes("hello?");
    assert_eq!((run.at().as_str(), run.hung_up(), run.plays()), ("s", None, 0), "no music, no next step");
    assert!(run.input(Input::Ended).is_empty() && run.machine.is_over());
}

#[test]
fn what_needs_no_ear_is_the_same_as_in_a_call() {
    let mut run = Run::chat(json!({"type": "http", "url": "http://a.test/{{call.id}}", "hold_music": "music",
        "save": {"name": "/name"}, "flow": {"success": "a", "fail": "b"}}));
    run.respond(200, r#"{"name": "Ann"}"#);
    assert_eq!((run.at().as_str(), run.saved()["name"].as_str()), ("a", Some("Ann")));
    let mut run = Run::chat(json!({"type": "http", "url": "http://a.test/", "flow": {"fail": "b"}}));
    run.http_done(Answer::Response { status: 500, body: String::new() });
    assert_eq!(run.at(), "b");
    let mut run = Run::chat(json!({"type": "pause", "seconds": 3, "next_step": "next"}));
    run.wait(3_000);
    assert_eq!(run.at(), "next");
    assert_eq!(Run::chat(json!({"type": "hangup"})).hung_up(), Some(Cause::Normal));
}

#[test]
fn a_flow_that_records_its_calls_records_no_chat() {
    let mut body = Run::body(json!({"type": "pause", "seconds": 1}));
    body["record"] = json!(true);
    let setup = Setup { medium: Medium::Chat, announcement: Some("You are recorded.".into()), ..Setup::default() };
    let mut run = Run::new(body, setup);
    run.input(Input::Answered);
    assert_eq!((run.at().as_str(), run.recordings().len(), run.sources().len()), ("s", 0, 0));
}

#[test]
fn each_step_that_a_chat_does_not_know_is_told_but_the_entry() {
    let body = json!({"flow": [
        {"id": 0, "type": "call", "number": "+442071838750", "next_step": 1},
        {"id": 1, "type": "play", "text": "x", "next_step": 2},
        {"id": 2, "type": "record", "action": "start", "next_step": 3},
        {"id": 3, "type": "transfer", "to": "+442071838750"},
    ]});
    let flow = check(&body, Purpose::Save, super::NOW).flow.unwrap();
    let told: Vec<(String, bool)> =
        unknown_steps(&flow).map(|(path, said)| (path, said.contains("next_step"))).collect();
    assert_eq!(told, [("/flow/2/type".to_owned(), true), ("/flow/3/type".to_owned(), true)]);
}

#[test]
fn the_flow_of_the_page_is_one_that_a_chat_knows_whole() {
    const PAGE: &str = include_str!("../../../../../../docs/chat-bots.md");
    let body = PAGE.split("```json").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let checked = check(&serde_json::from_str(body).unwrap(), Purpose::Save, super::NOW);
    let flow = checked.flow.unwrap_or_else(|| panic!("{:?}", checked.report.errors));
    assert_eq!((checked.report.warnings.len(), unknown_steps(&flow).count()), (0, 0), "{:?}", checked.report.warnings);
}
