//! `{{ name }}` in the texts of a flow: parsed once, filled in a single pass, escaped by the place it stands in
//! (contracts/flows.md "Templates"). Invariant: a value never leaves its place and is never read as a template.

use std::collections::BTreeMap;

use serde_json::Value;
use voice::speech::MAX_TEXT_CHARS;

/// Longest text that a template is filled to, in bytes; longer fails the step.
pub const MAX_FILLED: usize = 256 * 1024;
/// Longest header that a template is filled to, in bytes.
pub const MAX_HEADER: usize = 8 * 1024;
/// Longest value that a step may keep, in bytes.
pub const MAX_VALUE: usize = 4 * 1024;
/// What the variables of a run may take together, names and values, in bytes.
pub const MAX_VARIABLES: usize = 64 * 1024;
/// Longest name of a variable, in characters.
pub const MAX_NAME: usize = 64;
/// Variables that the machine sets by itself.
pub const BUILT_IN: [&str; 7] =
    ["call.id", "call.from", "call.to", "digits", "http.status", "http.error", "connect.status"];

/// A text with holes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Name(String),
}

/// A `{{` that opens no `{{ name }}`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no template: write {{{{ name }}}}, a name being letters, digits, '_' and '.'")]
pub struct TemplateError(pub String);

/// Why a template could not be filled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FillError {
    /// The place does not bear an empty value.
    #[error("the variable {0} has no value")]
    Missing(String),
    /// The place does not bear this value. The value itself is not repeated: it may be secret.
    #[error("{0}")]
    Unfit(&'static str),
    /// Values made the text too long for its place.
    #[error("the filled text is longer than {0} bytes")]
    TooLong(usize),
}

/// Why a value is not kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TooMuch {
    /// It is too long.
    #[error("the value of {0} is longer than {MAX_VALUE} bytes")]
    Value(String),
    /// The run keeps too much already.
    #[error("the variables of this run are longer than {MAX_VARIABLES} bytes together")]
    Variables,
}

impl Template {
    /// Parses a text.
    ///
    /// # Errors
    /// [`TemplateError`] with the piece that opens `{{` and is no name.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let bad = || TemplateError(format!("{{{{{}", after.chars().take(20).collect::<String>()));
            let (inner, tail) = after.split_once("}}").ok_or_else(bad)?;
            let name = inner.trim_matches([' ', '\t']);
            if !is_name(name) {
                return Err(bad());
            }
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(Part::Name(name.to_owned()));
            rest = tail;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self { parts })
    }

    /// A text without holes, whatever it holds.
    #[must_use]
    pub fn literal(text: &str) -> Self {
        Self { parts: vec![Part::Text(text.to_owned())] }
    }

    /// The names it asks for, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Name(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    /// The whole text when it has no holes.
    #[must_use]
    pub fn fixed(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The text with each hole filled by `sample`; for judging a text before its values are known.
    #[must_use]
    pub fn sample(&self, sample: &str) -> String {
        self.parts.iter().map(|part| if let Part::Text(text) = part { text } else { sample }).collect()
    }

    /// Filled as it stands; missing values are empty. For plain bodies.
    ///
    /// # Errors
    /// [`FillError::TooLong`].
    pub fn plain(&self, variables: &Variables) -> Result<String, FillError> {
        self.plain_within(variables, MAX_FILLED)
    }

    fn plain_within(&self, variables: &Variables, most: usize) -> Result<String, FillError> {
        self.build(most, |name| Ok(variables.get(name).unwrap_or_default().to_owned()))
    }

    /// Filled as it stands, every value being needed.
    ///
    /// # Errors
    /// [`FillError::Missing`] and [`FillError::TooLong`].
    pub fn needed(&self, variables: &Variables) -> Result<String, FillError> {
        self.build(MAX_FILLED, |name| variables.need(name).map(str::to_owned))
    }

    /// Filled for speech: markup characters of values are dropped, and what is too long to speak is cut off.
    #[must_use]
    pub fn speech(&self, variables: &Variables) -> String {
        let chars = self.parts.iter().flat_map(|part| {
            let (text, ours) = match part {
                Part::Text(text) => (text.as_str(), true),
                Part::Name(name) => (variables.get(name).unwrap_or_default(), false),
            };
            text.chars().filter(move |c| ours || !matches!(c, '<' | '>' | '&'))
        });
        chars.take(MAX_TEXT_CHARS).collect()
    }

    /// Filled for a quoted place of a JSON text.
    ///
    /// # Errors
    /// [`FillError::TooLong`].
    pub fn json_text(&self, variables: &Variables) -> Result<String, FillError> {
        self.build(MAX_FILLED, |name| {
            let quoted = Value::from(variables.get(name).unwrap_or_default()).to_string();
            Ok(quoted.get(1..quoted.len() - 1).unwrap_or_default().to_owned())
        })
    }

    /// Filled for a form body: values are percent-encoded.
    ///
    /// # Errors
    /// [`FillError::TooLong`].
    pub fn form(&self, variables: &Variables) -> Result<String, FillError> {
        self.build(MAX_FILLED, |name| Ok(percent_encode(variables.get(name).unwrap_or_default())))
    }

    /// Filled for a header.
    ///
    /// # Errors
    /// [`FillError::Unfit`] for CR, LF, NUL and the other control characters, and [`FillError::TooLong`].
    pub fn header(&self, variables: &Variables) -> Result<String, FillError> {
        self.build(MAX_HEADER, |name| {
            let value = variables.get(name).unwrap_or_default();
            if value.chars().any(|c| c.is_control() && c != '\t') {
                return Err(FillError::Unfit("a header value holds a line break or a control character"));
            }
            Ok(value.to_owned())
        })
    }

    /// Filled for a telephone number: `^\+?[0-9*#]{2,32}$`, or a `sip:` address that the flow spells out itself.
    ///
    /// # Errors
    /// [`FillError`].
    pub fn number(&self, variables: &Variables) -> Result<String, FillError> {
        let number = self.needed(variables)?;
        if is_number(&number) || (self.fixed().is_some() && is_sip_uri(&number)) {
            Ok(number)
        } else {
            Err(FillError::Unfit("not a telephone number"))
        }
    }

    /// Filled for the path, query or fragment of a URL: everything but unreserved characters is percent-encoded.
    ///
    /// # Errors
    /// [`FillError::Missing`], [`FillError::TooLong`], and [`FillError::Unfit`] when a value turns a path segment into `.` or `..`, which no
    /// encoding can keep in its place (WHATWG URL, "double-dot path segment").
    pub fn url(&self, variables: &Variables) -> Result<String, FillError> {
        let filled = self.build(MAX_FILLED, |name| variables.need(name).map(percent_encode))?;
        if self.fixed().is_none() {
            let path = filled.split(['?', '#']).next().unwrap_or_default();
            let authored = self.sample("x");
            let authored = authored.split(['?', '#']).next().unwrap_or_default();
            if dot_segments(path) > dot_segments(authored) {
                return Err(FillError::Unfit("a value would climb out of its place in the URL's path"));
            }
        }
        Ok(filled)
    }

    /// Whether a hole stands before the URL's path begins (`template_in_authority`).
    #[must_use]
    pub fn reaches_authority(&self) -> bool {
        let mut authored = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => authored.push_str(text),
                Part::Name(_) => {
                    return match authored.split_once("://") {
                        Some((_, rest)) => !rest.contains(['/', '?', '#', '\\']),
                        None => true,
                    };
                }
            }
        }
        false
    }

    fn build(&self, most: usize, mut fill: impl FnMut(&str) -> Result<String, FillError>) -> Result<String, FillError> {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Name(name) => out.push_str(&fill(name)?),
            }
            if out.len() > most {
                return Err(FillError::TooLong(most));
            }
        }
        Ok(out)
    }
}

/// A JSON value whose texts are templates.
#[derive(Debug, Clone, PartialEq)]
pub enum JsonTemplate {
    /// A text; it stays a text whatever fills it.
    Text(Template),
    /// An array.
    List(Vec<JsonTemplate>),
    /// An object; its keys are no templates.
    Map(Vec<(String, JsonTemplate)>),
    /// A number, a boolean or null.
    Other(Value),
}

impl JsonTemplate {
    /// Filled; values stand in JSON strings, which the serialiser escapes.
    ///
    /// # Errors
    /// [`FillError::TooLong`], all texts counted together.
    pub fn fill(&self, variables: &Variables) -> Result<Value, FillError> {
        let mut left = MAX_FILLED;
        self.fill_within(variables, &mut left)
    }

    fn fill_within(&self, variables: &Variables, left: &mut usize) -> Result<Value, FillError> {
        Ok(match self {
            Self::Text(template) => {
                let text = template.plain_within(variables, *left).map_err(|_| FillError::TooLong(MAX_FILLED))?;
                *left -= text.len();
                Value::String(text)
            }
            Self::List(items) => {
                Value::Array(items.iter().map(|item| item.fill_within(variables, left)).collect::<Result<_, _>>()?)
            }
            Self::Map(pairs) => {
                let filled = pairs.iter().map(|(key, item)| Ok((key.clone(), item.fill_within(variables, left)?)));
                Value::Object(filled.collect::<Result<_, FillError>>()?)
            }
            Self::Other(value) => value.clone(),
        })
    }
}

/// The variables of one run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Variables {
    values: BTreeMap<String, Variable>,
    changed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Variable {
    value: String,
    sensitive: bool,
}

impl Variables {
    /// The value of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|variable| variable.value.as_str())
    }

    fn need(&self, name: &str) -> Result<&str, FillError> {
        self.get(name).ok_or_else(|| FillError::Missing(name.to_owned()))
    }

    /// Keeps what a flow or an answer says, if the run has room for it.
    ///
    /// # Errors
    /// [`TooMuch`]; the variable stays as it was.
    pub fn keep(&mut self, name: &str, value: impl Into<String>) -> Result<(), TooMuch> {
        let value = value.into();
        if value.len() > MAX_VALUE {
            return Err(TooMuch::Value(name.to_owned()));
        }
        let others = self.values.iter().filter(|(known, _)| *known != name);
        let taken: usize = others.map(|(known, variable)| known.len() + variable.value.len()).sum();
        if taken + name.len() + value.len() > MAX_VARIABLES {
            return Err(TooMuch::Variables);
        }
        self.put(name, value, false);
        Ok(())
    }

    /// Sets a short variable that a person may read in the run's history.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.put(name, value.into(), false);
    }

    /// Sets a variable that leaves the machine only through the templates of its flow.
    pub fn set_sensitive(&mut self, name: &str, value: impl Into<String>) {
        self.put(name, value.into(), true);
    }

    fn put(&mut self, name: &str, value: String, sensitive: bool) {
        let variable = Variable { value, sensitive };
        if self.values.get(name) != Some(&variable) {
            self.changed |= !BUILT_IN.contains(&name);
            self.values.insert(name.to_owned(), variable);
        }
    }

    /// Forgets a variable.
    pub fn unset(&mut self, name: &str) {
        if self.values.remove(name).is_some() {
            self.changed |= !BUILT_IN.contains(&name);
        }
    }

    /// Whether one of the author's variables changed since the last call.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// What the run's history shows: the author's variables without the sensitive ones.
    #[must_use]
    pub fn public(&self) -> serde_json::Map<String, Value> {
        self.values
            .iter()
            .filter(|(name, variable)| !variable.sensitive && !BUILT_IN.contains(&name.as_str()))
            .map(|(name, variable)| (name.clone(), Value::from(variable.value.as_str())))
            .collect()
    }
}

/// `[A-Za-z_][A-Za-z0-9_.]{0,63}`
#[must_use]
pub fn is_name(name: &str) -> bool {
    name.len() <= MAX_NAME
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.')
}

/// `^\+?[0-9*#]{2,32}$`
#[must_use]
pub fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('+').unwrap_or(text);
    (2..=32).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit() || b == b'*' || b == b'#')
}

/// A `sip:` or `sips:` address; whether it may be dialled is the organisation's dial plan's business.
#[must_use]
pub fn is_sip_uri(text: &str) -> bool {
    let rest = text.strip_prefix("sip:").or_else(|| text.strip_prefix("sips:"));
    rest.is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_graphic() && !"<>\"\\".contains(c)))
}

/// Percent-encodes all but RFC 3986's unreserved characters.
#[must_use]
pub fn percent_encode(text: &str) -> String {
    const RESERVED: &percent_encoding::AsciiSet =
        &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    percent_encoding::utf8_percent_encode(text, RESERVED).to_string()
}

fn dot_segments(path: &str) -> usize {
    path.split(['/', '\\'])
        .filter(|segment| {
            let segment = segment.to_ascii_lowercase().replace("%2e", ".");
            segment == "." || segment == ".."
        })
        .count()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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
        for bad in
            ["{{", "{{}}", "{{ 1a }}", "{{a b}}", "{{a-b}}", "{{a", "{{{a}}}", "{{a|upper}}", "{{#if a}}", "{{\na}}"]
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
        for (text, value) in [("https://h/.{{v}}/x", "."), ("https://h/%2e{{v}}", "."), ("https://h/a/{{v}}?q=1", ".")]
        {
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
        for bad in ["{{v}}", "http{{v}}://h/", "http://{{v}}/", "http://u:{{v}}@h/", "http://h:{{v}}/", "http://h{{v}}"]
        {
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
}
