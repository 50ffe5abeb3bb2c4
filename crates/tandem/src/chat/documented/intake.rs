//! The fields of a documented request: of its query and of its body, whatever that is written in.
//!
//! Invariant: of a query key that comes twice the last counts, a body's field wins over a query's, and no text holds
//! U+0000. Source: docs/contracts/chat.md, "The documented API".

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use kernel::error::codes;
use kernel::http::read_body;
use kernel::{Problem, lenient};
use serde_json::{Map, Value};
use url::form_urlencoded;

use super::pictures::MAX_PICTURE;

/// Largest body, in bytes: a picture in base 64, and as much again as other bodies may have.
const MAX_BODY: usize = MAX_PICTURE.div_ceil(3) * 4 + lenient::MAX_BODY;
/// Most fields of one request.
const MAX_FIELDS: usize = 100;
/// Longest value of a key such as `user_id`, in characters.
const MAX_KEY: usize = 200;

/// What a request says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Fields {
    by_name: Map<String, Value>,
    /// Whether a body said something: a GET without one changes nothing.
    pub(super) has_body: bool,
}

/// Mistakes, all of them at once.
#[derive(Debug, Default)]
pub(super) struct Mistakes(Vec<(&'static str, String)>);

impl Mistakes {
    pub(super) fn add(&mut self, field: &'static str, message: impl Into<String>) {
        self.0.push((field, message.into()));
    }

    /// # Errors
    /// 400 with every mistake, if there is one.
    pub(super) fn none(self) -> Result<(), Problem> {
        let problem =
            |problem: Problem, (field, message): (&str, String)| problem.and(format!("/{field}"), "invalid", message);
        if self.0.is_empty() {
            return Ok(());
        }
        Err(self.0.into_iter().fold(Problem::new(codes::INVALID_FIELD), problem))
    }
}

impl Fields {
    /// The fields of a query.
    pub(super) fn of_query(query: &str) -> Self {
        Self { by_name: pairs(query.as_bytes()), has_body: false }
    }

    /// The fields of a whole request.
    ///
    /// # Errors
    /// 400, 413 or 415.
    pub(super) async fn read(request: Request) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let mut fields = Self::of_query(parts.uri.query().unwrap_or_default());
        let bytes = read_body(body, MAX_BODY).await?;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(fields);
        }
        for (name, value) in of_body(parts, bytes).await? {
            fields.by_name.insert(name, value);
        }
        if has_nul(&fields.by_name) {
            return Err(Problem::new(codes::NUL_CHARACTER));
        }
        fields.has_body = true;
        Ok(fields)
    }

    /// A field that is there and not null.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.by_name.get(name).filter(|value| !value.is_null())
    }

    /// A field as a text; numbers and flags are texts too.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        match self.get(name)? {
            Value::String(text) => Some(text.trim().to_owned()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(flag) => Some(flag.to_string()),
            _ => None,
        }
    }

    /// A key of a room: one line that is not empty; `None` when it is missing.
    pub(super) fn key(&self, name: &'static str, mistakes: &mut Mistakes) -> Option<String> {
        self.get(name)?;
        let text = self.text(name).unwrap_or_default();
        if text.is_empty() || text.chars().count() > MAX_KEY || text.chars().any(char::is_control) {
            mistakes.add(name, format!("a line of 1 to {MAX_KEY} characters is expected"));
        }
        Some(text)
    }

    /// A key of a room that must be there.
    pub(super) fn required(&self, name: &'static str, mistakes: &mut Mistakes) -> String {
        let found = self.key(name, mistakes);
        if found.is_none() {
            mistakes.add(name, "This field is required.");
        }
        found.unwrap_or_default()
    }

    /// A whole number in a range; `None` when it is missing.
    pub(super) fn number(
        &self,
        name: &'static str,
        range: std::ops::RangeInclusive<i64>,
        mistakes: &mut Mistakes,
    ) -> Option<i64> {
        let text = self.text(name)?;
        let number = text.parse().ok().filter(|number| range.contains(number));
        if number.is_none() {
            mistakes.add(name, format!("a whole number from {} to {} is expected", range.start(), range.end()));
        }
        number
    }
}

/// A path's part that is a key of a room.
pub(super) fn path_key(name: &'static str, text: &str, mistakes: &mut Mistakes) -> String {
    let fields = Fields { by_name: Map::from_iter([(name.to_owned(), text.into())]), has_body: false };
    fields.required(name, mistakes)
}

/// What a body says. Document 002's own clients call JSON a form, or nothing at all.
async fn of_body(parts: Parts, bytes: Bytes) -> Result<Map<String, Value>, Problem> {
    let begins_as_json = bytes.iter().find(|byte| !byte.is_ascii_whitespace()).is_some_and(|byte| *byte == b'{');
    match essence(&parts.headers).as_str() {
        "multipart/form-data" => multipart(parts, bytes).await,
        "application/json" => json(&bytes),
        "" | "text/plain" | "application/x-www-form-urlencoded" if begins_as_json => json(&bytes),
        "" | "application/x-www-form-urlencoded" => match std::str::from_utf8(&bytes) {
            Ok(text) => Ok(pairs(text.trim_end_matches(['\r', '\n']).as_bytes())),
            Err(_) => Err(unreadable("the form is not UTF-8")),
        },
        _ => Err(Problem::new(codes::UNSUPPORTED_MEDIA_TYPE)
            .detail("JSON, application/x-www-form-urlencoded or multipart/form-data")),
    }
}

fn essence(headers: &HeaderMap) -> String {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn json(bytes: &[u8]) -> Result<Map<String, Value>, Problem> {
    let reading = lenient::read_limited(bytes)
        .map_err(|error| Problem::new(codes::UNREADABLE_JSON).and(error.pointer(), error.code(), error.to_string()))?;
    match reading.value {
        Value::Object(fields) if fields.len() <= MAX_FIELDS => Ok(fields),
        Value::Object(_) => Err(Problem::field("", "invalid", format!("at most {MAX_FIELDS} fields"))),
        _ => Err(Problem::field("", "invalid", "an object is expected")),
    }
}

/// The pairs of a form or a query; the last of a name counts.
fn pairs(bytes: &[u8]) -> Map<String, Value> {
    let mut fields = Map::new();
    for (name, text) in form_urlencoded::parse(bytes).take(MAX_FIELDS) {
        fields.insert(name.into_owned(), Value::String(text.into_owned()));
    }
    fields
}

async fn multipart(parts: Parts, bytes: Bytes) -> Result<Map<String, Value>, Problem> {
    let mut request = Request::from_parts(parts, Body::from(bytes));
    // The body was measured already.
    axum::extract::DefaultBodyLimit::max(MAX_BODY).apply(&mut request);
    let mut form = Multipart::from_request(request, &()).await.map_err(|error| unreadable(error.body_text()))?;
    let mut fields = Map::new();
    while let Some(field) = form.next_field().await.map_err(|error| unreadable(error.body_text()))? {
        let name = field.name().unwrap_or_default().to_owned();
        let text = field.text().await.map_err(|error| unreadable(error.body_text()))?;
        if fields.len() < MAX_FIELDS {
            fields.insert(name, Value::String(text));
        }
    }
    Ok(fields)
}

fn unreadable(why: impl Into<String>) -> Problem {
    Problem::new(codes::INVALID_REQUEST).detail(why)
}

fn has_nul(fields: &Map<String, Value>) -> bool {
    fn nul(value: &Value) -> bool {
        match value {
            Value::String(text) => text.contains('\0'),
            Value::Array(items) => items.iter().any(nul),
            Value::Object(members) => has_nul(members),
            _ => false,
        }
    }
    fields.iter().any(|(name, value)| name.contains('\0') || nul(value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    async fn read(kind: &str, body: &str) -> Result<Fields, (u16, String)> {
        let request = Request::post("/api/v2/login/?type=a&org_id=of+the%20query&type=b");
        let request = if kind.is_empty() { request } else { request.header(CONTENT_TYPE, kind) };
        let fields = Fields::read(request.body(Body::from(body.to_owned())).unwrap()).await;
        fields.map_err(|problem| {
            let first = problem.errors.first();
            (problem.code.status, first.map_or(problem.code.code, |error| &error.code).to_owned())
        })
    }

    #[tokio::test]
    async fn a_body_says_the_same_however_it_is_written() {
        let multipart = "--x\r\nContent-Disposition: form-data; name=\"user_id\"\r\n\r\nZoë & co\r\n--x--\r\n";
        for (kind, body) in [
            ("application/json", "{\"user_id\": \"Zoë & co\"}"),
            ("application/json; charset=utf-8", "{\n  \"user_id\": \"Zoë & co\",\n\n}\n"),
            ("", "{\"user_id\": \"Zoë & co\"}"),
            ("application/x-www-form-urlencoded", "{\"user_id\": \"Zoë & co\"}"),
            ("application/x-www-form-urlencoded", "user_id=Zo%C3%AB+%26+co\r\n"),
            ("", "user_id=nobody&user_id=Zo%C3%AB%20%26%20co"),
            ("multipart/form-data; boundary=x", multipart),
        ] {
            let fields = read(kind, body).await.unwrap();
            assert_eq!(fields.text("user_id").unwrap(), "Zoë & co", "{kind}: {body}");
            assert_eq!(fields.text("type").unwrap(), "b", "the last of the query");
            assert!(fields.has_body);
        }
        let merged = read("application/json", r#"{"org_id": "of the body", "side": true, "n": 7, "x": null}"#).await;
        let merged = merged.unwrap();
        assert_eq!((merged.text("org_id").unwrap(), merged.text("n").unwrap()), ("of the body".into(), "7".into()));
        assert_eq!((merged.get("side"), merged.get("x")), (Some(&json!(true)), None));
        assert!(!read("application/json", " \n").await.unwrap().has_body);
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_refused_by_its_kind() {
        let json = "application/json";
        let too_deep = format!("{{\"a\":{}", "[".repeat(40));
        for (kind, body, status, code) in [
            (json, "{", 400, "invalid_json"),
            (json, "[]", 422, "invalid"),
            (json, "{\"a\":1,\"a\":2}", 400, "duplicate_key"),
            (json, "{\"a\":\"\\u0000\"}", 400, "nul_character"),
            (json, too_deep.as_str(), 400, "limit_exceeded"),
            ("application/x-www-form-urlencoded", "a=%00", 400, "nul_character"),
            ("application/xml", "<a/>", 415, "unsupported_media_type"),
            ("text/plain", "hello", 415, "unsupported_media_type"),
            ("multipart/form-data", "--x", 400, "invalid_request"),
        ] {
            assert_eq!(read(kind, body).await, Err((status, code.to_owned())), "{kind}: {body}");
        }
        let large = format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_BODY));
        assert_eq!(read(json, &large).await.unwrap_err().0, 413);
    }

    #[test]
    fn mistakes_are_told_all_at_once() {
        let long = "x".repeat(MAX_KEY + 1);
        let fields = Fields::of_query(&format!("a={long}&b=&limit=x&n=1"));
        let mut mistakes = Mistakes::default();
        assert_eq!(fields.required("none", &mut mistakes), "");
        fields.required("a", &mut mistakes);
        fields.required("b", &mut mistakes);
        assert_eq!(fields.key("absent", &mut mistakes), None);
        assert_eq!(fields.number("limit", 1..=5, &mut mistakes), None);
        assert_eq!(fields.number("n", 1..=5, &mut mistakes), Some(1));
        let problem = mistakes.none().unwrap_err();
        let named: Vec<&str> = problem.errors.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(named, ["/none", "/a", "/b", "/limit"]);
        assert!(Mistakes::default().none().is_ok());
    }
}
