//! T6 and the rules of "Templates": values in every place.

use serde_json::{Value, json};
use voice::speech::MAX_TEXT_CHARS;

use super::*;

/// T6: the values that try to leave their place.
const HOSTILE: [&str; 9] =
    ["1/../x?y", "a\r\nX-Evil: 1", "\",\"admin\":\"1", "{{secret}}", "..", "<speak>&", "#f", "a&b=c", "\\"];

fn filled_with(value: &str) -> Variables {
    let mut variables = Variables::default();
    variables.set("v", value);
    variables.set_sensitive("secret", "s3cr3t");
    variables
}

fn template(text: &str) -> Template {
    Template::parse(text).unwrap()
}

#[test]
fn names_follow_the_contract() {
    let parsed = template("a {{ b }} {{call.id}}{{\t_x9\t}} }} {");
    assert_eq!(parsed.names().collect::<Vec<_>>(), ["b", "call.id", "_x9"]);
    for bad in ["{{", "{{}}", "{{ 1a }}", "{{a b}}", "{{a-b}}", "{{a", "{{{a}}}", "{{a|upper}}", "{{#if a}}", "{{\na}}"]
    {
        assert!(Template::parse(bad).is_err(), "{bad}");
    }
    assert!(is_name(&"a".repeat(64)));
    assert!(!is_name(&"a".repeat(65)));
}

#[test]
fn values_are_never_expanded_again() {
    assert_eq!(template("say {{v}}").speech(&filled_with("{{secret}}")), "say {{secret}}");
    assert_eq!(template("{{v}}").plain(&filled_with("{{v}}")).unwrap(), "{{v}}");
}

#[test]
fn url_values_stay_in_their_segment_or_parameter() {
    let places = template("https://crm.test/api/{{v}}/end?a={{v}}&b=1");
    for value in HOSTILE {
        match places.url(&filled_with(value)) {
            Ok(filled) => {
                let url = url::Url::parse(&filled).unwrap();
                assert_eq!(url.host_str(), Some("crm.test"));
                assert_eq!(url.path_segments().unwrap().count(), 3, "{filled}");
                assert_eq!(url.path_segments().unwrap().next_back(), Some("end"));
                let pairs: Vec<_> = url.query_pairs().collect();
                assert_eq!(pairs.len(), 2, "{filled}");
                assert_eq!(pairs[0].1, value);
                assert_eq!(url.fragment(), None);
            }
            Err(error) => assert!(matches!(error, FillError::Unfit(_)) && value == "..", "{value}"),
        }
    }
    assert_eq!(template("https://h/{{v}}").url(&filled_with("1/../x?y")).unwrap(), "https://h/1%2F..%2Fx%3Fy");
    for (text, value) in [("https://h/.{{v}}/x", "."), ("https://h/%2e{{v}}", "."), ("https://h/a/{{v}}?q=1", ".")] {
        assert!(template(text).url(&filled_with(value)).is_err(), "{text}");
    }
    assert!(template("https://h/../{{v}}").url(&filled_with("1")).is_ok());
}

#[test]
fn a_missing_value_is_empty_in_text_and_fatal_in_urls_and_numbers() {
    let none = Variables::default();
    assert_eq!(template("hi {{name}}!").speech(&none), "hi !");
    assert_eq!(template("https://h/{{name}}").url(&none), Err(FillError::Missing("name".into())));
    assert_eq!(template("{{name}}").number(&none), Err(FillError::Missing("name".into())));
}

#[test]
fn json_values_stay_texts() {
    let body = JsonTemplate::Map(vec![
        ("v".into(), JsonTemplate::Text(template("<{{v}}>"))),
        ("n".into(), JsonTemplate::List(vec![JsonTemplate::Other(json!(1))])),
    ]);
    for value in HOSTILE {
        let text = body.fill(&filled_with(value)).unwrap().to_string();
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), json!({"v": format!("<{value}>"), "n": [1]}));
        let raw = template("{\"v\":\"{{v}}\"}").json_text(&filled_with(value)).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&raw).unwrap(), json!({"v": value}));
    }
}

#[test]
fn headers_refuse_line_breaks() {
    assert!(template("id={{v}}").header(&filled_with("a\r\nX: 1")).is_err());
    assert!(template("id={{v}}").header(&filled_with("a\0")).is_err());
    assert_eq!(template("id={{v}}").header(&filled_with("a b")).unwrap(), "id=a b");
}

#[test]
fn speech_loses_markup_and_forms_are_encoded() {
    assert_eq!(template("<b> {{v}}").speech(&filled_with("<speak>&")), "<b> speak");
    assert_eq!(template("a={{v}}").form(&filled_with("x&b=1")).unwrap(), "a=x%26b%3D1");
}

#[test]
fn numbers_are_numbers() {
    for good in ["+442071838750", "5263", "*98", "12"] {
        assert!(template("{{v}}").number(&filled_with(good)).is_ok(), "{good}");
    }
    for bad in ["1", "+", "12a", "++12", "12 34", "sip:a@b", &"1".repeat(33), "12\n"] {
        assert!(template("{{v}}").number(&filled_with(bad)).is_err(), "{bad}");
    }
    assert!(template("sip:bob@example.org").number(&Variables::default()).is_ok());
    assert!(template("XXXXXX").number(&Variables::default()).is_err());
}

#[test]
fn holes_before_the_path_are_seen() {
    for bad in ["{{v}}", "http{{v}}://h/", "http://{{v}}/", "http://u:{{v}}@h/", "http://h:{{v}}/", "http://h{{v}}"] {
        assert!(template(bad).reaches_authority(), "{bad}");
    }
    for good in ["http://h/{{v}}", "http://h?{{v}}", "http://h#{{v}}", "http://h/"] {
        assert!(!template(good).reaches_authority(), "{good}");
    }
}

#[test]
fn sensitive_and_built_in_variables_are_not_shown() {
    let mut variables = filled_with("1");
    variables.set("http.status", "200");
    assert_eq!(Value::Object(variables.public()), json!({"v": "1"}));
    assert!(variables.take_changed());
    variables.set("http.status", "404");
    variables.set("v", "1");
    assert!(!variables.take_changed(), "built-ins and equal values are no change");
}
#[test]
fn values_cannot_multiply_without_end() {
    let variables = filled_with(&"x".repeat(MAX_VALUE));
    let many = template(&"{{v}}".repeat(1_000));
    let too_long = Err(FillError::TooLong(MAX_FILLED));
    assert_eq!(many.plain(&variables), too_long);
    assert_eq!(many.needed(&variables), too_long);
    assert_eq!(many.json_text(&variables), too_long);
    assert_eq!(many.form(&variables), too_long);
    assert_eq!(template(&format!("http://h/{}", "{{v}}".repeat(1_000))).url(&variables), too_long);
    assert_eq!(template("{{v}}{{v}}{{v}}").header(&variables), Err(FillError::TooLong(MAX_HEADER)));
    assert_eq!(many.speech(&variables).len(), MAX_TEXT_CHARS, "what is too long to speak is cut");
    let list = |texts: usize| JsonTemplate::List(vec![JsonTemplate::Text(template("{{v}}")); texts]);
    assert_eq!(list(65).fill(&variables), Err(FillError::TooLong(MAX_FILLED)));
    assert!(list(64).fill(&variables).is_ok(), "256 KiB in all");
}

#[test]
fn a_run_keeps_so_much_and_no_more() {
    let mut variables = Variables::default();
    assert_eq!(variables.keep("a", "x".repeat(MAX_VALUE + 1)), Err(TooMuch::Value("a".into())));
    assert_eq!(variables.get("a"), None);
    let value = "x".repeat(MAX_VALUE);
    for n in 0..15 {
        variables.keep(&format!("v{n}"), value.as_str()).unwrap();
    }
    variables.keep("v3", value.as_str()).unwrap();
    assert_eq!(variables.keep("more", value.as_str()), Err(TooMuch::Variables));
    variables.keep("less", "x".repeat(3_000)).unwrap();
    variables.unset("v3");
    variables.keep("more", value).unwrap();
}
