//! What somebody is told instead of a chat: one clear word. Anybody may see it, so it tells nothing.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use kernel::Problem;
use kernel::error::codes;

use crate::console::{assets, decorate};

/// The paths at which people look, not programs.
const FACES: &[&str] = &["/c/", "/w/"];
/// The script of a widget is a program's.
const SCRIPT_ENDING: &str = ".js";

#[derive(Template)]
#[template(path = "widget/alone.html")]
struct Alone<'a> {
    title: &'a str,
    sentence: &'a str,
    request_id: Option<&'a str>,
}

impl Alone<'_> {
    fn asset(&self, name: &str) -> &'static str {
        assets::url(name)
    }
}

/// The page of a problem on a path of the chat; `None` for any other path.
pub fn envelope(path: &str, problem: &Problem) -> Option<Response> {
    if !FACES.iter().any(|face| path.starts_with(face)) || path.ends_with(SCRIPT_ENDING) {
        return None;
    }
    let (title, sentence) = told(problem);
    let request_id = problem.request_id.as_deref().filter(|_| problem.status().is_server_error());
    let status = StatusCode::from_u16(problem.code.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = match (Alone { title, sentence, request_id }).render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(error) => {
            tracing::error!(%error, "the page of a refusal cannot be rendered");
            (status, problem.code.title).into_response()
        }
    };
    decorate(&mut response);
    Some(response)
}

/// A heading, and what a person can make of it.
fn told(problem: &Problem) -> (&'static str, &'static str) {
    match problem.code {
        codes::NOT_FOUND => (
            "There is no chat here",
            "The link is not whole, or what it led to is gone. Ask for a new one where you got it.",
        ),
        codes::RATE_LIMITED => ("Too many tries", "Wait a minute, then try again."),
        codes::INTERNAL => {
            ("The server failed", "Try again in a minute. Whoever runs it finds the reason by the id below.")
        }
        _ => (problem.code.title, "Try again in a moment."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_get_a_page_and_programs_a_problem() {
        let missing = Problem::not_found();
        for path in ["/v1/chat/widget/app_1", "/w/app_1.js", "/calls", "/console"] {
            assert!(envelope(path, &missing).is_none(), "{path}");
        }
        for path in ["/c/abc", "/w/app_1/frame", "/c/app_1/SALESAGENT"] {
            assert_eq!(envelope(path, &missing).unwrap().status(), 404, "{path}");
        }
    }
}
