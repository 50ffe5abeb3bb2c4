//! `/v1/errors/<code>`: the page that the `type` of a problem points to.

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use kernel::http::Path;
use kernel::problem::ProblemBody;
use kernel::{Problem, error};

use crate::openapi::ERROR_CODES;

/// What an error code means and what to do about it.
#[utoipa::path(get, path = "/v1/errors/{code}", tag = "operators", security(()),
    params(("code" = String, Path, description = "the last part of a problem's `type`")),
    responses(
        (status = 200, description = "an explanation in plain text", body = String, content_type = "text/plain"),
        (status = 404, description = "no such code", body = ProblemBody),
))]
pub(super) async fn explain(Path(code): Path<String>) -> Response {
    match error::explain(&code, ERROR_CODES) {
        None => Problem::not_found().into_response(),
        Some(entry) => {
            let text = format!("{} ({})\n{}\n\n{}\n", entry.code, entry.status, entry.title, entry.explanation);
            (StatusCode::OK, [(CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
        }
    }
}
