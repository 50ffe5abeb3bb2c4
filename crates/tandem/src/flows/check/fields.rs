//! Reads the fields of one JSON object with their types, ranges and places. A bad field is reported and read as its
//! default, so that one pass finds every problem; a field that nobody asked for is a warning at the end.

use std::{collections::BTreeSet, ops::RangeInclusive};

use serde_json::{Map, Value};
use voice::speech::MAX_TEXT_CHARS;

use super::{
    place::Place,
    report::{Ask, Question, Report},
};
use crate::flows::{
    model::whole_number,
    template::{JsonTemplate, Template, is_name, is_number, is_sip_uri},
};

/// Longest text that is not spoken, in characters.
const MAX_TEXT: usize = 5_000;
/// Most entries of an object of texts: headers, query, save, vars.
const MAX_ENTRIES: usize = 50;
/// Longest URL in characters.
const MAX_URL: usize = 2_048;

/// What the whole check gathers.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) report: Report,
    pub(crate) questions: Vec<Question>,
    /// Names that templates use, and where.
    pub(crate) used: Vec<(String, Place)>,
    /// Names that some step may set.
    pub(crate) set: BTreeSet<String>,
    /// Regular expressions so far.
    pub(crate) patterns: usize,
    /// The number that the entry calls, once it was read.
    pub(crate) customer: Option<String>,
    /// The instant of the check, for `callback_in_past`.
    pub(crate) now_ms: i64,
}

/// The fields of one object.
pub(crate) struct Fields<'a> {
    map: &'a Map<String, Value>,
    place: Place,
    asked: Vec<&'static str>,
    pub(crate) found: &'a mut Findings,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(map: &'a Map<String, Value>, place: Place, found: &'a mut Findings) -> Self {
        Self { map, place, asked: Vec::new(), found }
    }

    /// The object itself.
    pub(crate) fn here(&self) -> Place {
        self.place.clone()
    }

    /// One of its fields.
    pub(crate) fn path(&self, name: &str) -> Place {
        self.place.key(name)
    }

    /// The raw value of a field; null counts as a value.
    pub(crate) fn value(&mut self, name: &'static str) -> Option<&'a Value> {
        self.asked.push(name);
        self.map.get(name)
    }

    /// Reports a field that must be there and is not.
    pub(crate) fn missing(&mut self, name: &str) {
        let message = format!("{name} is missing");
        self.found.report.error("missing_field", self.here(), message);
    }

    fn wrong_type(&mut self, name: &str, wanted: &str) {
        let path = self.path(name);
        self.found.report.error("invalid_type", path, format!("{name} must be {wanted}"));
    }

    pub(crate) fn out_of_range(&mut self, name: &str, message: impl Into<String>) {
        let path = self.path(name);
        self.found.report.error("out_of_range", path, message);
    }

    /// A text.
    pub(crate) fn text(&mut self, name: &'static str) -> Option<String> {
        self.text_within(name, MAX_TEXT)
    }

    fn text_within(&mut self, name: &'static str, most: usize) -> Option<String> {
        match self.value(name)? {
            Value::String(text) if text.chars().count() <= most => Some(text.clone()),
            Value::String(_) => {
                self.out_of_range(name, format!("{name} is longer than {most} characters"));
                None
            }
            _ => {
                self.wrong_type(name, "a text");
                None
            }
        }
    }

    /// A text that must be there.
    pub(crate) fn required_text(&mut self, name: &'static str) -> Option<String> {
        let text = self.text(name);
        if !self.map.contains_key(name) {
            self.missing(name);
        }
        text
    }

    /// A text or a whole number, as numbers and ids are written.
    fn text_or_integer(&mut self, name: &'static str) -> Option<String> {
        match self.value(name)? {
            Value::String(_) => self.text(name),
            Value::Number(number) if whole_number(number).is_some() => whole_number(number),
            _ => {
                self.wrong_type(name, "a text or a whole number");
                None
            }
        }
    }

    /// A whole number in a range.
    pub(crate) fn integer(&mut self, name: &'static str, range: RangeInclusive<u32>, default: u32) -> u32 {
        let Some(value) = self.value(name) else {
            return default;
        };
        let Value::Number(number) = value else {
            self.wrong_type(name, "a whole number");
            return default;
        };
        let Some(text) = whole_number(number) else {
            self.wrong_type(name, "a whole number");
            return default;
        };
        match text.parse::<u32>().ok().filter(|n| range.contains(n)) {
            Some(n) => n,
            None => {
                self.out_of_range(name, format!("{name} must be {} to {}", range.start(), range.end()));
                default
            }
        }
    }

    /// Seconds in a range, as milliseconds; fractions are allowed.
    pub(crate) fn seconds(&mut self, name: &'static str, range: RangeInclusive<f64>, default: f64) -> u32 {
        let seconds = match self.value(name).map(Value::as_f64) {
            None => default,
            Some(Some(seconds)) if range.contains(&seconds) => seconds,
            Some(Some(_)) => {
                self.out_of_range(name, format!("{name} must be {} to {} seconds", range.start(), range.end()));
                default
            }
            Some(None) => {
                self.wrong_type(name, "a number of seconds");
                default
            }
        };
        // The range keeps it far below 2^32 ms; the cast saturates besides.
        (seconds * 1000.0).round() as u32
    }

    /// A boolean; the texts "true" and "false" are taken with a warning.
    pub(crate) fn flag(&mut self, name: &'static str, default: bool) -> bool {
        match self.value(name) {
            None => default,
            Some(Value::Bool(flag)) => *flag,
            Some(Value::String(text)) if text == "true" || text == "false" => {
                let path = self.path(name);
                self.found.report.warn(
                    "text_for_boolean",
                    path,
                    format!("{name} is a text; write {text} without quotes"),
                );
                text == "true"
            }
            Some(_) => {
                self.wrong_type(name, "true or false");
                default
            }
        }
    }

    /// One of a few words; case is ignored.
    pub(crate) fn choice<T: Copy>(&mut self, name: &'static str, words: &[(&'static str, T)], default: T) -> T {
        self.optional_choice(name, words).unwrap_or(default)
    }

    /// One of a few words, or nothing.
    pub(crate) fn optional_choice<T: Copy>(&mut self, name: &'static str, words: &[(&'static str, T)]) -> Option<T> {
        let text = self.text(name)?;
        let found = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(&text));
        if found.is_none() {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.out_of_range(name, format!("{name} must be one of {}", known.join(", ")));
        }
        found.map(|(_, value)| *value)
    }

    /// A key of a telephone, as a text of one character.
    pub(crate) fn key(&mut self, name: &'static str) -> Option<char> {
        let text = self.text(name)?;
        let mut chars = text.chars();
        match (chars.next(), chars.next()) {
            (Some(key), None) if is_key(key) => Some(key),
            _ => {
                self.out_of_range(name, format!("{name} must be one of 0-9, A-D, * and #"));
                None
            }
        }
    }

    /// The name of a variable that this step sets.
    pub(crate) fn variable(&mut self, name: &'static str) -> Option<String> {
        let text = self.text(name)?;
        let path = self.path(name);
        self.sets(&text, path).then_some(text)
    }

    /// Notes that a step sets a variable, if that is a name.
    pub(crate) fn sets(&mut self, variable: &str, path: Place) -> bool {
        if is_name(variable) {
            self.found.set.insert(variable.to_owned());
            return true;
        }
        let message = format!("\"{variable}\" is no name of a variable: letters, digits, '_' and '.', 64 at most");
        self.found.report.error("out_of_range", path, message);
        false
    }

    /// A text with `{{ name }}`.
    pub(crate) fn template(&mut self, name: &'static str) -> Option<Template> {
        let text = self.text(name)?;
        let path = self.path(name);
        self.parse(&text, path)
    }

    /// A text to be spoken, with `{{ name }}`.
    pub(crate) fn spoken(&mut self, name: &'static str) -> Option<Template> {
        let text = self.text_within(name, MAX_TEXT_CHARS)?;
        let path = self.path(name);
        self.parse(&text, path)
    }

    /// A text or whole number with `{{ name }}`.
    pub(crate) fn integer_template(&mut self, name: &'static str) -> Option<Template> {
        let text = self.text_or_integer(name)?;
        let path = self.path(name);
        self.parse(&text, path)
    }

    /// A template that must be there.
    pub(crate) fn required(
        &mut self,
        name: &'static str,
        read: fn(&mut Self, &'static str) -> Option<Template>,
    ) -> Template {
        let template = read(self, name);
        if !self.map.contains_key(name) {
            self.missing(name);
        }
        template.unwrap_or_else(|| Template::literal(""))
    }

    fn parse(&mut self, text: &str, path: Place) -> Option<Template> {
        match Template::parse(text) {
            Ok(template) => {
                let names: Vec<String> = template.names().map(str::to_owned).collect();
                self.found.used.extend(names.into_iter().map(|name| (name, path.clone())));
                Some(template)
            }
            Err(error) => {
                self.found.report.error("template_syntax", path, error.to_string());
                None
            }
        }
    }

    /// A telephone number of ours or of the world, which the organisation's directory will be asked about.
    pub(crate) fn number(&mut self, name: &'static str) -> Option<Template> {
        let template = self.integer_template(name)?;
        let path = self.path(name);
        self.judge_number(template, path)
    }

    /// A list of telephone numbers.
    pub(crate) fn numbers(&mut self, name: &'static str, most: usize) -> Option<Vec<Template>> {
        let items = match self.value(name)? {
            Value::Array(items) if (1..=most).contains(&items.len()) => items,
            Value::Array(_) => {
                self.out_of_range(name, format!("{name} must hold 1 to {most} numbers"));
                return None;
            }
            _ => {
                self.wrong_type(name, "a list of numbers");
                return None;
            }
        };
        let mut numbers = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let path = self.path(name).index(index);
            let text = match item {
                Value::String(text) => Some(text.clone()),
                Value::Number(number) => whole_number(number),
                _ => None,
            };
            let Some(text) = text else {
                self.found.report.error("invalid_type", path, "a number must be a text or a whole number");
                continue;
            };
            let template = self.parse(&text, path.clone());
            numbers.extend(template.and_then(|template| self.judge_number(template, path)));
        }
        Some(numbers)
    }

    fn judge_number(&mut self, template: Template, path: Place) -> Option<Template> {
        if let Some(number) = template.fixed() {
            if !is_number(number) && !is_sip_uri(number) {
                self.found.report.error("number_not_allowed", path, format!("\"{number}\" is not a telephone number"));
                return None;
            }
            let ask = Ask::Number(number.to_owned());
            self.found.questions.push(Question { path: path.into(), ask });
        }
        Some(template)
    }

    /// The caller id wished for towards a callee.
    pub(crate) fn caller_id(&mut self, callee: Option<&Template>) -> Option<Template> {
        let template = self.integer_template("caller_id")?;
        if let Some(wanted) = template.fixed() {
            let callee = callee.and_then(Template::fixed).map(str::to_owned);
            let ask = Ask::CallerId { wanted: wanted.to_owned(), callee, customer: self.found.customer.clone() };
            let path = self.path("caller_id");
            self.found.questions.push(Question { path: path.into(), ask });
        }
        Some(template)
    }

    /// An http or https URL; holes only behind its authority.
    pub(crate) fn url(&mut self, name: &'static str) -> Option<Template> {
        self.url_of(name, HTTP)
    }

    /// A ws or wss URL; holes only behind its authority.
    pub(crate) fn stream_url(&mut self, name: &'static str) -> Option<Template> {
        self.url_of(name, WEB_SOCKET)
    }

    fn url_of(&mut self, name: &'static str, schemes: Schemes) -> Option<Template> {
        let text = self.text(name)?;
        let path = self.path(name);
        let template = self.parse(text.trim(), path.clone())?;
        if template.reaches_authority() {
            self.found.report.error(
                "template_in_authority",
                path,
                "a template may stand in the path, query or fragment of a URL, not in its scheme, host, port or user",
            );
            return None;
        }
        if let Err(why) = judge_url_of(&template.sample("x"), schemes) {
            self.found.report.error("invalid_url", path, format!("{name} {why}"));
            return None;
        }
        self.found.questions.push(Question { path: path.into(), ask: Ask::Url(template.sample("x")) });
        Some(template)
    }

    /// An object of texts, numbers and booleans, each a template.
    pub(crate) fn template_map(&mut self, name: &'static str) -> Vec<(String, Template)> {
        let mut out = Vec::new();
        for (key, text) in self.text_map(name) {
            let path = self.path(name).key(&key);
            out.extend(self.parse(&text, path).map(|template| (key, template)));
        }
        out
    }

    /// An object of texts; numbers and booleans are read as the text they are.
    pub(crate) fn text_map(&mut self, name: &'static str) -> Vec<(String, String)> {
        let map = match self.value(name) {
            None => return Vec::new(),
            Some(Value::Object(map)) if map.len() <= MAX_ENTRIES => map,
            Some(Value::Object(_)) => {
                let (path, message) = (self.path(name), format!("{name} has {MAX_ENTRIES} entries at most"));
                self.found.report.error("limit_exceeded", path, message);
                return Vec::new();
            }
            Some(_) => {
                self.wrong_type(name, "an object");
                return Vec::new();
            }
        };
        let mut out = Vec::new();
        for (key, value) in map {
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                Value::Bool(flag) => flag.to_string(),
                _ => {
                    let path = self.path(name).key(key);
                    self.found.report.error("invalid_type", path, "a text is wanted here");
                    continue;
                }
            };
            out.push((key.clone(), text));
        }
        out
    }

    /// Any JSON whose texts are templates.
    pub(crate) fn json(&mut self, name: &'static str) -> Option<JsonTemplate> {
        let value = self.value(name)?;
        let path = self.path(name);
        Some(self.json_template(value, path))
    }

    /// Depth is bounded by the reader's.
    fn json_template(&mut self, value: &Value, path: Place) -> JsonTemplate {
        match value {
            Value::String(text) => JsonTemplate::Text(self.parse(text, path).unwrap_or_else(|| Template::literal(""))),
            Value::Array(items) => JsonTemplate::List(
                items.iter().enumerate().map(|(index, item)| self.json_template(item, path.index(index))).collect(),
            ),
            Value::Object(map) => JsonTemplate::Map(
                map.iter().map(|(key, item)| (key.clone(), self.json_template(item, path.key(key)))).collect(),
            ),
            other => JsonTemplate::Other(other.clone()),
        }
    }

    /// The fields of an object inside this one.
    pub(crate) fn inner(&mut self, name: &'static str) -> Option<Fields<'_>> {
        match self.value(name)? {
            Value::Object(map) => {
                let place = self.path(name);
                Some(Fields::new(map, place, self.found))
            }
            _ => {
                self.wrong_type(name, "an object");
                None
            }
        }
    }

    /// Warns of every field that nobody asked for.
    pub(crate) fn finish(self) {
        let mut known = self.asked.clone();
        known.sort_unstable();
        known.dedup();
        for name in self.map.keys().filter(|name| !known.contains(&name.as_str())) {
            let path = self.path(name);
            let message = format!("{name} is not a field here and is ignored; the fields are {}", known.join(", "));
            self.found.report.warn("unknown_field", path, message);
        }
    }
}

/// A key of a telephone.
pub(crate) fn is_key(c: char) -> bool {
    c.is_ascii_digit() || matches!(c, 'A'..='D' | '*' | '#')
}

/// The schemes of a URL, and what is said of another one.
#[derive(Clone, Copy)]
struct Schemes {
    names: [&'static str; 2],
    refusal: &'static str,
}

const HTTP: Schemes = Schemes { names: ["http", "https"], refusal: "must begin with http:// or https://" };
const WEB_SOCKET: Schemes = Schemes { names: ["ws", "wss"], refusal: "must begin with ws:// or wss://" };

/// Judges the parts of an http or https URL that need no name service.
pub(crate) fn judge_url(text: &str) -> Result<(), &'static str> {
    judge_url_of(text, HTTP)
}

fn judge_url_of(text: &str, schemes: Schemes) -> Result<(), &'static str> {
    if text.chars().count() > MAX_URL {
        return Err("is too long a URL");
    }
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err("holds a blank or a control character");
    }
    let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    if !scheme.is_some_and(|scheme| schemes.names.contains(&scheme.as_str())) {
        return Err(schemes.refusal);
    }
    let url = url::Url::parse(text).map_err(|_| "is not a URL")?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a user name or password");
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("has no host");
    }
    Ok(())
}
