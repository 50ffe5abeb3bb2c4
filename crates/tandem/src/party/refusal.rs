//! What a party is told instead of a page: one clear word, and what to do next. Anybody may see it, so it tells nothing.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use kernel::Problem;
use kernel::error::codes;

use super::page::Look;
use crate::console::decorate;
use crate::meetings::sessions::codes::{ANOTHER_PARTY, SIGN_IN_OVER, SIGN_IN_REFUSED};

/// The paths whose visitors are parties.
const FACES: &[&str] = &["/sessions", "/meetings", "/m"];

#[derive(Template)]
#[template(path = "party/alone.html")]
struct Alone<'a> {
    page: Look,
    title: &'a str,
    sentence: &'a str,
    request_id: Option<&'a str>,
    has_way_back: bool,
}

/// The page of a problem on a path of a party's; `None` for any other path.
pub fn envelope(path: &str, problem: &Problem) -> Option<Response> {
    let is_face = |face: &&str| path.strip_prefix(*face).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    FACES.iter().find(|face| is_face(face))?;
    let (title, sentence) = told(problem);
    let inside = problem.status().is_server_error();
    let page = Alone {
        page: Look,
        title,
        sentence,
        request_id: problem.request_id.as_deref().filter(|_| inside),
        has_way_back: !matches!(problem.code, codes::UNAUTHORIZED | SIGN_IN_REFUSED | SIGN_IN_OVER),
    };
    let status = StatusCode::from_u16(problem.code.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = match page.render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(error) => {
            tracing::error!(%error, "the page of a refusal cannot be rendered");
            (status, problem.code.title).into_response()
        }
    };
    decorate(&mut response);
    Some(response)
}

/// What stands there after a sign-out.
pub(super) fn signed_out() -> impl Template {
    Alone {
        page: Look,
        title: "You are signed out",
        sentence: "To come back, open the link that you were given.",
        request_id: None,
        has_way_back: false,
    }
}

/// A heading, and what a person can make of it.
fn told(problem: &Problem) -> (&str, &str) {
    match problem.code {
        codes::UNAUTHORIZED => ("You are not signed in", "Open the link that you were given: it signs you in."),
        SIGN_IN_REFUSED => (
            "This link does not work",
            "It is not whole, or it was not made here. Open it again from where it was given to you.",
        ),
        SIGN_IN_OVER => ("This link is over", problem.detail.as_deref().unwrap_or(SIGN_IN_OVER.explanation)),
        ANOTHER_PARTY => (
            "Somebody else is signed in",
            "Another person has signed in with this browser since, so nothing was changed. To go on as before, open your \
             own link again.",
        ),
        codes::NOT_FOUND => ("There is nothing here", "This meeting is not one of yours, or it was deleted."),
        codes::FOREIGN_ORIGIN => {
            ("That came from elsewhere", "The form was sent from another site. Open your meetings here and try again.")
        }
        codes::RATE_LIMITED => ("Too many tries", "Wait a minute, then try again."),
        codes::INTERNAL => {
            ("The server failed", "Try again in a minute. Whoever runs it finds the reason by the id below.")
        }
        _ => (problem.code.title, problem.detail.as_deref().unwrap_or("Try again in a moment.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parties_get_a_page_and_programs_a_problem() {
        let nobody = Problem::new(codes::UNAUTHORIZED);
        for path in ["/v1/meetings", "/api/v1/meetings", "/meetingsx", "/mx"] {
            assert!(envelope(path, &nobody).is_none(), "{path}");
        }
        for path in ["/meetings", "/meetings/5/call", "/sessions", "/m/abc"] {
            assert_eq!(envelope(path, &nobody).unwrap().status(), 401, "{path}");
        }
    }
}
