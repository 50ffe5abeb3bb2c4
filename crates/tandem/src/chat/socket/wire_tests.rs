//! Frames read and written: what the contract shows, and what is refused.

use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::chat::model::{Ack, Body, Draft, Kind, MAX_CID, Message, Sender};
use crate::chat::view::MessageView;

const ROOM: &str = "65f0aa0000000000000000aa";

fn refused(text: &str) -> Refusal {
    Up::read(text).expect_err(text)
}

fn body(value: serde_json::Value) -> Body {
    Body::try_from(&value).unwrap()
}

#[test]
fn frames_are_spelt_as_the_contract_has_them() {
    let hello = Up::read(r#"{"token":"vt_1","rooms":{"a":3,"b":0},"type":"hello"}"#).unwrap();
    let cursors = BTreeMap::from([("a".to_owned(), 3), ("b".to_owned(), 0)]);
    assert_eq!(hello, Up::Hello { token: Some("vt_1".to_owned().into()), cursors });
    assert_eq!(Up::read(r#"{"type":"hello"}"#).unwrap(), Up::Hello { token: None, cursors: BTreeMap::new() });

    let send = json!({"type": "send", "room": ROOM, "cid": "c1", "kind": "text", "body": "Hi", "side": "true"});
    let draft = Draft {
        cid: Some("c1".into()),
        kind: Kind::Text,
        body: body(json!("Hi")),
        side: Some(body(json!("true"))),
        author: String::new(),
    };
    assert_eq!(Up::read(&send.to_string()).unwrap(), Up::Send { room: ROOM.into(), draft });

    let by_seq = Up::read(r#"{"type":"edit","room":"r","seq":2,"body":{"a":[1]}}"#).unwrap();
    assert_eq!(by_seq, Up::Edit { room: "r".into(), which: Which::Seq(2), body: body(json!({"a": [1]})) });
    let by_id = Up::read(r#"{"type":"delete","room":"r","id":"m"}"#).unwrap();
    assert_eq!(by_id, Up::Delete { room: "r".into(), which: Which::Id("m".into()) });
    let typing = |on, draft: Option<&str>| Up::Typing { room: "r".into(), on, draft: draft.map(str::to_owned) };
    assert_eq!(Up::read(r#"{"type":"typing","room":"r"}"#).unwrap(), typing(true, None));
    assert_eq!(Up::read(r#"{"type":"typing","room":"r","on":false}"#).unwrap(), typing(false, None));
    assert_eq!(Up::read(r#"{"type":"draft","room":"r","text":"Hel"}"#).unwrap(), typing(true, Some("Hel")));
    for (word, is_read) in [("read", true), ("delivered", false)] {
        let mark = Up::read(&format!(r#"{{"type":"{word}","room":"r","seq":9}}"#)).unwrap();
        assert_eq!(mark, Up::Mark { room: "r".into(), seq: 9, is_read });
    }
    assert_eq!(Up::read(r#" {"type":"ping","more":1}"#).unwrap(), Up::Ping);
}

#[test]
fn what_is_no_frame_is_refused_with_the_member_that_is_wrong() {
    for text in ["", "[]", r#"["ping"]"#, "{}", "null", r#"{"type":7}"#, r#"{"type":"dance"}"#, "{\"type\":\"ping\""] {
        assert_eq!(refused(text).code, "invalid_request", "{text}");
    }
    for (text, field) in [
        (r#"{"type":"send","cid":"c","body":"x"}"#, "room"),
        (r#"{"type":"send","room":"","cid":"c","body":"x"}"#, "room"),
        (r#"{"type":"send","room":"r","body":"x"}"#, "cid"),
        (r#"{"type":"send","room":"r","cid":"","body":"x"}"#, "cid"),
        (r#"{"type":"send","room":"r","cid":"c"}"#, "body"),
        (r#"{"type":"send","room":"r","cid":"c","body":null}"#, "body"),
        (r#"{"type":"send","room":"r","cid":"c","body":"x","kind":"song"}"#, "kind"),
        (r#"{"type":"read","room":"r"}"#, "seq"),
        (r#"{"type":"read","room":"r","seq":-1}"#, "seq"),
        (r#"{"type":"edit","room":"r","body":"x"}"#, "seq"),
        (r#"{"type":"edit","room":"r","seq":1}"#, "body"),
        (r#"{"type":"delete","room":"r","seq":0}"#, "seq"),
    ] {
        let refusal = refused(text);
        assert_eq!((&*refusal.code, refusal.field.as_deref()), ("invalid_field", Some(field)), "{text}");
    }
    let long = json!({"type": "send", "room": "r", "cid": "c".repeat(MAX_CID + 1), "body": "x"});
    assert_eq!(refused(&long.to_string()).field.as_deref(), Some("cid"));
    let rooms: serde_json::Map<_, _> = (0..=MAX_CURSORS).map(|n| (n.to_string(), json!(1))).collect();
    assert_eq!(refused(&json!({"type": "hello", "rooms": rooms}).to_string()).field.as_deref(), Some("rooms"));
    assert_eq!(refused(r#"{"type":"draft","room":"r","text":"a\u0000"}"#).code, "nul_character");
}

#[test]
fn a_refused_message_is_named_as_its_sender_called_it() {
    let refusal = refused(r#"{"type":"send","room":"r","cid":"c7"}"#);
    let text = Down::Error(Refusal { retry_after: Some(3), ..refusal }).write();
    assert_eq!(
        text,
        r#"{"type":"error","code":"invalid_field","message":"body: what the message says","retry_after":3,"room":"r","cid":"c7","field":"body"}"#
    );
}

#[test]
fn a_problem_says_the_same_in_a_frame() {
    let refusal = Refusal::from(Problem::field("/body", "invalid", "too long"));
    assert_eq!(
        (&*refusal.code, &*refusal.message, refusal.field.as_deref()),
        ("invalid_field", "too long", Some("body"))
    );
    let refusal = Refusal::from(Problem::rate_limited(4));
    assert_eq!((&*refusal.code, refusal.retry_after), ("rate_limited", Some(4)));
}

fn message() -> Message {
    Message {
        room: "r".into(),
        seq: 3,
        id: "m".into(),
        cid: Some("c".into()),
        sender: Sender::Visitor("vis_1".into()),
        kind: Kind::Text,
        body: Some(body(json!("Hi"))),
        side: Body::from(false),
        author: "Ann".to_owned(),
        created_ms: 0,
        edited_ms: None,
        deleted_ms: None,
    }
}

#[test]
fn what_the_server_says_has_the_word_in_type_and_hides_who_the_visitor_is() {
    let message = message();
    let printed = r#"{"type":"msg","room":"r","seq":3,"id":"m","cid":"c","kind":"text","body":"Hi","author":"Ann","side":false,"role":"visitor","at":"1970-01-01T00:00:00.000Z"}"#;
    assert_eq!(Down::Msg(MessageView::from(&message)).write(), printed);
    let heads = BTreeMap::from([(Id::from("r"), 3)]);
    let you = Someone { role: "app", id: Some("app_1"), name: "" };
    let ready = Down::Ready { you, heads: &heads, missed: vec![Down::Msg(MessageView::from(&message))] };
    let whole =
        format!(r#"{{"type":"ready","you":{{"role":"app","id":"app_1"}},"heads":{{"r":3}},"missed":[{printed}]}}"#);
    assert_eq!(ready.write(), whole);
    let ack = Ack { seq: 3, id: "m".into(), at_ms: 0 };
    assert_eq!(
        Down::ack(&"r".into(), &"c".into(), &ack).write(),
        r#"{"type":"ack","room":"r","cid":"c","seq":3,"id":"m","at":"1970-01-01T00:00:00.000Z"}"#
    );
    assert_eq!(Down::Pong.write(), r#"{"type":"pong"}"#);
}

#[test]
fn a_tombstone_says_nothing_of_what_was_said() {
    let gone = Message { body: None, deleted_ms: Some(1_000), ..message() };
    let text = Down::Msg(MessageView::from(&gone)).write();
    assert!(text.contains(r#""body":null"#) && text.contains(r#""deleted_at":"1970-01-01T00:00:01.000Z""#), "{text}");
}

#[test]
fn a_token_is_not_shown() {
    let hello = Up::read(r#"{"type":"hello","token":"vt_secret"}"#).unwrap();
    assert!(!format!("{hello:?}").contains("vt_secret"));
}
