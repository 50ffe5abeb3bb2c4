//! How documented routes say no: `{success: false, message, errors: {field: [...]}}`, whatever the reason was.
//!
//! Invariant: a mistake in what was sent is 400, as document 002's clients know it; everything else keeps its status.
//! Source: docs/contracts/chat.md, "The documented API".

use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use kernel::Problem;
use kernel::http::Json;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// Where a mistake of the whole request is told; the name that the document's framework has for it.
const WHOLE: &str = "non_field_errors";
/// What our rules call a field that the document calls otherwise.
const OTHER_NAMES: [(&str, &str); 2] = [("body", "message_data"), ("kind", "message_type")];

/// The answer to a request that is refused.
#[derive(Serialize, ToSchema)]
pub struct ChatRefusal {
    /// `false`
    success: bool,
    /// What is wrong, for people.
    message: String,
    /// Each field that is wrong, and why.
    #[schema(value_type = Object)]
    errors: Map<String, Value>,
}

/// A problem in the documented envelope.
#[must_use]
pub(super) fn envelope_of(problem: &Problem) -> Response {
    let body = problem.body();
    let mut errors = Map::new();
    for error in body.errors {
        let messages = errors.entry(documented_name(&error.pointer)).or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(messages) = messages {
            messages.push(error.message.clone().into());
        }
    }
    let message = body.detail.unwrap_or(body.title);
    let message = body.request_id.map_or_else(|| message.to_owned(), |id| format!("{message} (request {id})"));
    let status = match problem.status() {
        StatusCode::UNPROCESSABLE_ENTITY => StatusCode::BAD_REQUEST,
        other => other,
    };
    let mut response = (status, Json(ChatRefusal { success: false, message, errors })).into_response();
    problem.decorate(&mut response);
    response
}

/// `/qr_ids/0/qrid` is a mistake in `qr_ids`, `?limit` one in `limit`.
fn documented_name(pointer: &str) -> String {
    let name = pointer.trim_start_matches(['/', '?']).split('/').next().unwrap_or_default();
    let other = OTHER_NAMES.iter().find(|(ours, _)| *ours == name);
    match other {
        Some((_, documented)) => (*documented).to_owned(),
        None if name.is_empty() => WHOLE.to_owned(),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use kernel::error::codes;

    use super::*;

    async fn told(problem: Problem) -> (u16, Value) {
        let response = envelope_of(&problem);
        let status = response.status().as_u16();
        let bytes = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap())
    }

    #[tokio::test]
    async fn fields_are_named_as_the_document_names_them() {
        let problem = Problem::field("/body", "invalid", "too long").and("/body", "invalid", "not text");
        let problem = problem.and("", "invalid", "odd").and("?limit", "invalid", "1 to 5").and("/a/0/b", "x", "y");
        let (status, body) = told(problem).await;
        assert_eq!(status, 400);
        insta::assert_json_snapshot!(body, @r#"
        {
          "success": false,
          "message": "A field is missing or wrong",
          "errors": {
            "message_data": [
              "too long",
              "not text"
            ],
            "non_field_errors": [
              "odd"
            ],
            "limit": [
              "1 to 5"
            ],
            "a": [
              "y"
            ]
          }
        }
        "#);
    }

    #[tokio::test]
    async fn the_inside_stays_inside_and_waits_are_told() {
        let mut failure = Problem::new(codes::INTERNAL).detail("no such table");
        failure.request_id = Some("req_1".into());
        let (status, body) = told(failure).await;
        assert_eq!((status, body["message"].as_str().unwrap()), (500, "The server failed (request req_1)"));
        let response = envelope_of(&Problem::rate_limited(7));
        assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (429, &"7".parse().unwrap()));
    }
}
