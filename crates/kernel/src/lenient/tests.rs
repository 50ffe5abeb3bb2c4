//! What the reader takes, what it refuses, and where it says the mistake is.

use serde_json::json;

use super::*;

fn lenient(text: &str) -> Value {
    let reading = read(text.as_bytes()).unwrap();
    assert!(reading.lenient, "{text} needs no lenient reader");
    reading.value
}

fn error(text: &str) -> ReadError {
    read(text.as_bytes()).unwrap_err()
}

#[test]
fn strict_json_is_not_called_lenient() {
    let text = r#"{"a":[1,-2.5,1e3,true,null,"x\n\u00e9\ud83d\ude00 # no // comment “quoted”"]}"#;
    let reading = read(text.as_bytes()).unwrap();
    assert!(!reading.lenient);
    assert_eq!(reading.value, serde_json::from_str::<Value>(text).unwrap());
}

#[test]
fn curly_quotes_delimit_only_outside_straight_strings() {
    assert_eq!(lenient("{“record”: true, \"text\":\"say “hi”\",}"), json!({"record": true, "text": "say “hi”"}));
    assert_eq!(lenient("{‘a’:’b’}"), json!({"a": "b"}));
    assert_eq!(lenient("{“a\": “he said \"no\" twice”}"), json!({"a": "he said \"no\" twice"}));
    assert_eq!(
        lenient("{url:”https://status_url”, # comment\n method: “PUT” // other\n}"),
        json!({"url": "https://status_url", "method": "PUT"})
    );
}

#[test]
fn trailing_commas_and_bare_keys_are_lenient_only() {
    assert_eq!(lenient("{a_1:[1,2,],}"), json!({"a_1": [1, 2]}));
    assert!(matches!(error("{,}"), ReadError::Syntax { .. }));
    assert!(matches!(error("[1,,2]"), ReadError::Syntax { .. }));
}

#[test]
fn duplicate_keys_are_named_with_their_place() {
    let found = error("{\"flow\":[{\"id\":1,\n  \"id\":2}]}");
    assert_eq!(found, ReadError::DuplicateKey { key: "id".into(), pointer: "/flow/0/id".into(), line: 2, column: 3 });
    assert!(matches!(error("{a:1,\"a\":2}"), ReadError::DuplicateKey { .. }));
    assert!(matches!(error(r#"{"a":1,"\u0061":2}"#), ReadError::DuplicateKey { .. }));
}

#[test]
fn placeholders_are_named_in_the_hint() {
    for (text, placeholder, column) in [
        ("{\"id\":<<some id>>,\"type\":\"call\"}", "<<some id>>", 7),
        ("{\"next_step\":<<some id2>\n}", "<<some id2>", 14),
        ("{\"flow\":[{...},{...}]}", "{...}", 10),
    ] {
        let ReadError::Syntax { line, column: found, hint } = error(text) else { panic!("{text}") };
        assert_eq!((line, found), (1, column), "{hint}");
        assert!(hint.contains(&format!("\"{placeholder}\" is a placeholder")), "{hint}");
    }
}

#[test]
fn line_and_column_count_characters() {
    let ReadError::Syntax { line, column, .. } = error("{\n  \"é\": @\n}") else { panic!() };
    assert_eq!((line, column), (2, 8));
}

#[test]
fn depth_is_limited_without_recursing() {
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    assert!(read(nested(MAX_DEPTH).as_bytes()).is_ok());
    assert!(matches!(error(&nested(MAX_DEPTH + 1)), ReadError::TooDeep { pointer, .. } if pointer == "/0".repeat(16)));
    assert!(matches!(error(&"[".repeat(200_000)), ReadError::TooDeep { .. }));
    assert!(matches!(error(&"{\"a\":".repeat(40_000)), ReadError::TooDeep { .. }));
}

#[test]
fn size_utf8_and_nul_are_refused() {
    assert_eq!(read(&vec![b' '; MAX_BODY + 1]), Err(ReadError::TooLarge));
    let full = format!("\"{}\"", "x".repeat(MAX_BODY - 2));
    assert!(read(full.as_bytes()).is_ok());
    assert_eq!(read(b"\"\xff\""), Err(ReadError::NotUtf8(1)));
    assert!(matches!(error("\"a\0b\""), ReadError::Nul { line: 1, column: 3 }));
    assert!(matches!(error(r#"{"a":"\u0000"}"#), ReadError::Nul { .. }));
    assert!(matches!(error(r#""\ud800""#), ReadError::Syntax { .. }));
}

#[test]
fn broken_text_never_panics_and_never_passes() {
    for text in [
        "",
        " ",
        "{",
        "[",
        "\"",
        "\"\\",
        "\"\\u12",
        "{\"a\"",
        "{\"a\":",
        "01",
        "1.",
        "-",
        "tru",
        "truex",
        "{a b:1}",
        "“",
        "#",
        "1 2",
        "'a'",
        "1e999",
        "{\"a\":nul}",
    ] {
        assert!(matches!(error(text), ReadError::Syntax { .. }), "{text}");
    }
}

#[test]
fn a_pointer_leads_to_its_line() {
    let text = "{\n  // the steps\n  flow: [\n    {\"id\": 1,\n     \"a/b\": true},\n  ]\n}";
    let lines = lines(text);
    let at = |pointer: &str| lines.get(pointer).copied();
    assert_eq!([at(""), at("/flow"), at("/flow/0"), at("/flow/0/id")], [Some(1), Some(3), Some(4), Some(4)]);
    assert_eq!(at("/flow/0/a~1b"), Some(5));
    assert_eq!(super::lines("{\n \"a\": 1,\n oops").get("/a"), Some(&2), "as far as it can be read");
}
