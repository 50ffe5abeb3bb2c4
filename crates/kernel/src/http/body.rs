//! Reading what came: JSON bodies, paths and queries, with errors that name the field.
//!
//! Invariant: no text with U+0000 gets past here, and no body larger than its limit is held in memory.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::{Path as FieldPath, Segment};

use crate::error::codes;
use crate::problem::Problem;

/// Time for a whole body: a place of ours is not kept by a byte a minute.
const BODY_PATIENCE: Duration = Duration::from_secs(20);
/// Largest JSON body, in bytes.
pub const MAX_JSON_BODY: usize = 256 * 1024;
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// How U+0000 is written in JSON.
const NUL_ESCAPE: &[u8] = b"\\u0000";

/// A JSON body, both ways. As an extractor it answers 400, 413, 415 or 422 by itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::new(codes::UNSUPPORTED_MEDIA_TYPE));
        }
        let bytes = read_body(request.into_body(), MAX_JSON_BODY).await?;
        // serde takes an empty list for a structure whose members may all be left out.
        if bytes.trim_ascii_start().starts_with(b"[") {
            return Err(Problem::field("", "invalid", "an object is expected"));
        }
        read_json(&bytes).map(Self)
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        // Into a `Vec`: a buffer for the network would look for room at each of the many small pieces.
        match serde_json::to_vec(&self.0) {
            Ok(json) => ([(CONTENT_TYPE, JSON)], json).into_response(),
            Err(error) => Problem::internal(error).into_response(),
        }
    }
}

/// Absent is taken for JSON; anything else must say so.
fn is_json(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_none_or(|value| {
        let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
        let essence = essence.trim().to_ascii_lowercase();
        essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
    })
}

/// The whole body, if it has at most `max` bytes.
///
/// # Errors
/// 413 when it is larger, 400 when it breaks off or does not end within [`BODY_PATIENCE`].
pub async fn read_body(body: Body, max: usize) -> Result<Bytes, Problem> {
    let whole = tokio::time::timeout(BODY_PATIENCE, axum::body::to_bytes(body, max)).await.map_err(|_| {
        let seconds = BODY_PATIENCE.as_secs();
        Problem::new(codes::UNREADABLE_JSON).detail(format!("the body did not end within {seconds} s"))
    })?;
    whole.map_err(|e| {
        let too_large =
            std::error::Error::source(&e).is_some_and(|cause| cause.to_string().contains("length limit exceeded"));
        if too_large {
            Problem::new(codes::BODY_TOO_LARGE).detail(format!("at most {max} bytes"))
        } else {
            Problem::new(codes::UNREADABLE_JSON).detail("the body broke off")
        }
    })
}

/// Reads a JSON document as [`Json`] does.
///
/// # Errors
/// 400 or 422, naming the field.
pub fn read_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let text = std::str::from_utf8(bytes)
        .map_err(|e| Problem::new(codes::UNREADABLE_JSON).detail(format!("not UTF-8 at byte {}", e.valid_up_to())))?;
    if let Some(pointer) = find_nul(text) {
        return Err(Problem::new(codes::NUL_CHARACTER).and(pointer, "nul_character", "U+0000 is refused"));
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|e| {
        let pointer = to_pointer(e.path());
        let inner = e.into_inner();
        if inner.is_data() {
            Problem::field(pointer, "invalid", without_place(&inner.to_string()))
        } else {
            Problem::new(codes::UNREADABLE_JSON).detail(inner.to_string())
        }
    })?;
    reader.end().map_err(|e| Problem::new(codes::UNREADABLE_JSON).detail(e.to_string()))?;
    Ok(value)
}

/// serde_json appends " at line 1 column 5"; the pointer says it better.
fn without_place(message: &str) -> String {
    message.rsplit_once(" at line ").map_or(message, |(text, _)| text).to_owned()
}

/// RFC 6901.
fn to_pointer(path: &FieldPath) -> String {
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => pointer += &format!("/{index}"),
            Segment::Map { key } => pointer += &format!("/{}", escape(key)),
            Segment::Enum { variant } => pointer += &format!("/{}", escape(variant)),
            Segment::Unknown => {}
        }
    }
    pointer
}

fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// The JSON pointer of the first text or key with U+0000 in a JSON document; `None` when there is none, or when the
/// document cannot be read anyway.
pub fn find_nul(json: &str) -> Option<String> {
    // Almost no body holds the escape; only then is it worth reading twice.
    let bytes = json.as_bytes();
    if !bytes.windows(NUL_ESCAPE.len()).any(|window| window == NUL_ESCAPE) {
        return None;
    }
    nul_in(&serde_json::from_str(json).ok()?)
}

fn nul_in(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => text.contains('\0').then(String::new),
        Value::Array(items) => {
            items.iter().enumerate().find_map(|(index, item)| Some(format!("/{index}{}", nul_in(item)?)))
        }
        Value::Object(members) => members.iter().find_map(|(key, member)| {
            if key.contains('\0') {
                return Some(String::new());
            }
            Some(format!("/{}{}", escape(key), nul_in(member)?))
        }),
        _ => None,
    }
}

/// A path's parameters; 404 for what cannot be one, since no such thing exists then.
#[derive(Debug, Clone, Copy)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        axum::extract::Path::from_request_parts(parts, state)
            .await
            .map(|axum::extract::Path(value)| Self(value))
            .map_err(|_| Problem::not_found())
    }
}

/// A query's values; 400 with what is wrong.
#[derive(Debug, Clone, Copy)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        axum::extract::Query::from_request_parts(parts, state)
            .await
            .map(|axum::extract::Query(value)| Self(value))
            .map_err(|e| Problem::new(codes::INVALID_REQUEST).detail(e.body_text()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only how it fails is looked at")]
    struct Sample {
        name: String,
        steps: Vec<Step>,
    }
    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only how it fails is looked at")]
    struct Step {
        #[serde(rename = "a/b")]
        count: u8,
    }

    fn fails(json: &[u8]) -> (u16, &'static str, String) {
        let problem = read_json::<Sample>(json).map(|_| ()).unwrap_err();
        let place = problem.errors.first().map(|e| e.pointer.clone());
        (problem.code.status, problem.code.code, place.or(problem.detail.clone()).unwrap_or_default())
    }

    #[test]
    fn a_wrong_field_is_named() {
        let at = |json: &str| fails(json.as_bytes());
        assert_eq!(at(r#"{"name":1,"steps":[]}"#), (422, "invalid_field", "/name".into()));
        assert_eq!(
            at(r#"{"name":"","steps":[{"a/b":1},{"a/b":300}]}"#),
            (422, "invalid_field", "/steps/1/a~1b".into())
        );
        assert_eq!(at(r#"{"steps":[]}"#), (422, "invalid_field", "".into()));
        assert_eq!(at(r#"{"name":"","steps":[],"x":1}"#), (422, "invalid_field", "/x".into()));
        let (status, code, detail) = at("{\"name\":\n oops}");
        assert_eq!((status, code), (400, "unreadable_json"));
        assert!(detail.contains("line 2 column 2"), "{detail}");
        assert_eq!(at(r#"{"name":"","steps":[]} x"#).1, "unreadable_json");
        assert_eq!(at("").1, "unreadable_json");
        assert_eq!(fails(b"{\"name\":\"\xff\"}").1, "unreadable_json");
        assert_eq!(at(&"[".repeat(100_000)).0, 422, "deep nesting is no stack overflow");
        assert_eq!(at(&format!(r#"{{"name":"","steps":[{{"x":{}"#, "[".repeat(100_000))).0, 400);
    }

    #[test]
    fn nul_is_refused_where_it_stands() {
        assert_eq!(fails(br#"{"name":"a\u0000b","steps":[]}"#), (400, "nul_character", "/name".into()));
        assert_eq!(find_nul(r#"{"a":["x",{"b/c":"\u0000"}]}"#).as_deref(), Some("/a/1/b~1c"));
        assert_eq!(find_nul(r#"{"a\u0000":1}"#).as_deref(), Some(""));
        assert_eq!(find_nul(r#"{"a":"\\u0000"}"#), None, "a backslash and u0000 is a harmless text");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = read_json::<Sample>(&bytes);
        }
    }
}
