//! RFC 9457 answers: `type`, `title`, `status`, `code`, `detail`, `errors[]` with a JSON pointer per field.
//!
//! Invariant: an answer of 5xx carries a request id and nothing about the inside; its reason goes to the log, once.

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::error::{Code, codes};

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct FieldError {
    /// JSON pointer (RFC 6901) from the root of the body; `""` is the body itself. Query values use `?name`.
    pub pointer: String,
    /// Stable name of the mistake.
    pub code: String,
    /// What is expected, for people.
    pub message: String,
}

/// An error as it is answered. Build it from a [`Code`], then add what is known. One pointer wide, since every `Result`
/// of a handler carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem(Box<ProblemDetails>);

/// What a [`Problem`] says; it derefs to this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProblemDetails {
    /// Which kind.
    pub code: Code,
    /// What happened this time; never set for 5xx.
    pub detail: Option<String>,
    /// The fields concerned.
    pub errors: Vec<FieldError>,
    /// After how many seconds repeating makes sense.
    pub retry_after_s: Option<u64>,
    /// Filled in by the request-id layer.
    pub request_id: Option<String>,
}

/// The wire shape of a [`Problem`].
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ProblemBody<'a> {
    /// `/v1/errors/<code>`: a page that explains it.
    #[serde(rename = "type")]
    pub kind: String,
    /// One line for people.
    pub title: &'a str,
    /// The HTTP status again.
    pub status: u16,
    /// Stable name of the error.
    pub code: &'a str,
    /// What happened this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<&'a str>,
    /// One entry per field concerned.
    #[serde(skip_serializing_if = "<[FieldError]>::is_empty")]
    pub errors: &'a [FieldError],
    /// Finds the reason of a 5xx in the server's log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<&'a str>,
}

impl Problem {
    /// A problem of kind `code` with nothing more to say.
    pub fn new(code: Code) -> Self {
        Self(Box::new(ProblemDetails { code, detail: None, errors: Vec::new(), retry_after_s: None, request_id: None }))
    }

    /// Logs `reason` once and answers a bare 500: what happened inside is no client's business.
    pub fn internal(reason: impl std::fmt::Display) -> Self {
        tracing::error!(error = %reason, "a request failed inside the server");
        Self::new(codes::INTERNAL)
    }

    /// 404: no such thing in the caller's organisation.
    pub fn not_found() -> Self {
        Self::new(codes::NOT_FOUND)
    }

    /// 422 for one field of the body.
    pub fn field(pointer: impl Into<String>, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(codes::INVALID_FIELD).and(pointer, code, message)
    }

    /// 429 with the seconds to wait.
    pub fn rate_limited(retry_after_s: u64) -> Self {
        Self::new(codes::RATE_LIMITED).retry_after(retry_after_s)
    }

    /// Says what happened this time.
    #[must_use]
    pub fn detail(mut self, text: impl Into<String>) -> Self {
        self.detail = Some(text.into());
        self
    }

    /// Adds a field that is wrong.
    #[must_use]
    pub fn and(mut self, pointer: impl Into<String>, code: impl Into<String>, message: impl Into<String>) -> Self {
        self.errors.push(FieldError { pointer: pointer.into(), code: code.into(), message: message.into() });
        self
    }

    /// Adds Retry-After.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds.max(1));
        self
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.code.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The answer's body.
    pub fn body(&self) -> ProblemBody<'_> {
        let inside = self.status().is_server_error();
        ProblemBody {
            kind: format!("/v1/errors/{}", self.code.code),
            title: self.code.title,
            status: self.code.status,
            code: self.code.code,
            detail: self.detail.as_deref().filter(|_| !inside),
            errors: if inside { &[] } else { &self.errors },
            request_id: self.request_id.as_deref().filter(|_| inside),
        }
    }

    /// Puts the headers that belong to this problem (Retry-After, WWW-Authenticate) on any rendering of it.
    pub fn decorate(&self, response: &mut Response) {
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.code == codes::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
    }
}

impl std::ops::Deref for Problem {
    type Target = ProblemDetails;

    fn deref(&self) -> &ProblemDetails {
        &self.0
    }
}

impl std::ops::DerefMut for Problem {
    fn deref_mut(&mut self) -> &mut ProblemDetails {
        &mut self.0
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let bytes = serde_json::to_vec(&self.body()).unwrap_or_default();
        let mut response = (self.status(), bytes).into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        self.decorate(&mut response);
        // The outer layers add the request id, and desks with documented envelopes render it anew.
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_its_page_and_fields() {
        let problem = Problem::field("/steps/0/url", "invalid_url", "must be http or https");
        insta::assert_json_snapshot!(problem.body(), @r#"
        {
          "type": "/v1/errors/invalid_field",
          "title": "A field is missing or wrong",
          "status": 422,
          "code": "invalid_field",
          "errors": [
            {
              "pointer": "/steps/0/url",
              "code": "invalid_url",
              "message": "must be http or https"
            }
          ]
        }
        "#);
        let response = Problem::rate_limited(0).into_response();
        assert_eq!(response.headers()[RETRY_AFTER], "1");
    }

    #[test]
    fn the_inside_stays_inside() {
        let mut problem = Problem::new(codes::INTERNAL).detail("no such column").and("/x", "y", "z");
        problem.request_id = Some("req_1".into());
        insta::assert_json_snapshot!(problem.body(), @r#"
        {
          "type": "/v1/errors/internal",
          "title": "The server failed",
          "status": 500,
          "code": "internal",
          "request_id": "req_1"
        }
        "#);
    }
}
