//! What a page says instead of itself when something is in the way. Anybody may see it, so it tells nothing.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use kernel::Problem;
use kernel::error::codes;

use super::door::decorate;
use super::page::{Page, go};
use super::session::Theme;

/// The paths whose visitors are people.
const FACES: &[&str] = &["/console", "/phone"];
/// Where whoever has no session is led.
pub(super) const SIGN_IN: &str = "/console/sign-in";

#[derive(Template)]
#[template(path = "console/refusal.html")]
struct RefusalPage<'a> {
    page: Page,
    sentence: &'a str,
    errors: Vec<String>,
    request_id: Option<&'a str>,
    home: &'static str,
}

/// The page of a problem on a path of the console; `None` for any other path.
pub fn envelope(path: &str, problem: &Problem) -> Option<Response> {
    let is_face = |face: &&str| path.strip_prefix(*face).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    FACES.iter().find(|face| is_face(face))?;
    let mut response = answer(path, problem);
    decorate(&mut response);
    Some(response)
}

fn answer(path: &str, problem: &Problem) -> Response {
    match problem.code {
        codes::UNAUTHORIZED if path == "/console" || path == SIGN_IN => return go(SIGN_IN),
        codes::UNAUTHORIZED => {
            let next: String = url::form_urlencoded::byte_serialize(path.as_bytes()).collect();
            return go(&format!("{SIGN_IN}?next={next}"));
        }
        codes::NO_ORGANISATION_CHOSEN => return go("/console/organisations"),
        _ => {}
    }
    let inside = problem.status().is_server_error();
    let page = RefusalPage {
        page: Page::open(problem.code.title, Theme::System),
        sentence: sentence(problem),
        errors: if inside { Vec::new() } else { problem.errors.iter().map(|error| error.message.clone()).collect() },
        request_id: problem.request_id.as_deref().filter(|_| inside),
        home: "/console",
    };
    let status = StatusCode::from_u16(problem.code.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    match page.render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(error) => {
            tracing::error!(%error, "the page of a refusal cannot be rendered");
            (status, problem.code.title).into_response()
        }
    }
}

/// What a person can make of it.
fn sentence(problem: &Problem) -> &str {
    match problem.code {
        codes::FORBIDDEN => "Your role does not allow this. An administrator of your organisation can change it.",
        codes::NOT_FOUND => "It may have been deleted, or it belongs to another organisation.",
        codes::RATE_LIMITED => "Too many tries. Wait a minute, then try again.",
        codes::FOREIGN_ORIGIN => "The form was sent from another site. Open the page here and try again.",
        codes::INTERNAL => "The server failed. Its log has the reason under the id below.",
        _ => problem.detail.as_deref().unwrap_or(problem.code.explanation),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_get_pages_and_programs_get_problems() {
        let forbidden = Problem::new(codes::FORBIDDEN);
        assert!(envelope("/v1/calls", &forbidden).is_none() && envelope("/consoles", &forbidden).is_none());
        assert_eq!(envelope("/console/people", &forbidden).unwrap().status(), 403);
        let who = envelope("/console/people", &Problem::new(codes::UNAUTHORIZED)).unwrap();
        assert_eq!(who.status(), 303);
        assert_eq!(who.headers()["location"], "/console/sign-in?next=%2Fconsole%2Fpeople");
    }
}
