//! Which organisation a page was made for: written into each of its forms on the way out, compared on the way in.
//!
//! Invariant: what a page was made to change in one organisation is changed in no other one, whatever organisation its
//! browser has gone to in another tab meanwhile. No form has to think of it; one that did not pass here is refused.

use axum::body::{Body, to_bytes};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use kernel::Problem;

use super::form::Posted;

/// The hidden field of every form of a page.
pub(super) const FIELD: &str = "for_org";
/// The header of what a page's scripts ask for, from `layout.html`.
const HEADER: &str = "tandem-organisation";
/// How every form begins that changes something.
const FORM: &str = "<form method=\"post\"";

/// The organisation that a request was made for; `None` when it does not say.
pub(super) fn of<'a>(headers: &'a HeaderMap, posted: Option<&'a Posted>) -> Option<&'a str> {
    let field = posted.map(|posted| posted.get(FIELD)).filter(|org| !org.is_empty());
    field.or_else(|| headers.get(HEADER).and_then(|org| org.to_str().ok()))
}

/// A page whose forms say which organisation they were made for; anything but a page stays as it is.
///
/// # Errors
/// When the page cannot be read from its own answer.
pub(super) async fn mark(response: Response, org: &str) -> Result<Response, Problem> {
    let is_page = |kind: &HeaderValue| kind.as_bytes().starts_with(b"text/html");
    if org.is_empty() || !response.headers().get(CONTENT_TYPE).is_some_and(is_page) {
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let html = to_bytes(body, usize::MAX).await.map_err(Problem::internal)?;
    let html = str::from_utf8(&html).map_err(Problem::internal)?;
    Ok(Response::from_parts(parts, Body::from(marked(html, org))))
}

fn marked(html: &str, org: &str) -> String {
    let field = format!("<input type=\"hidden\" name=\"{FIELD}\" value=\"{org}\">");
    let mut out = String::with_capacity(html.len() + 8 * field.len());
    let mut rest = html;
    // Templates escape the `>` of values: the next one ends the tag.
    while let Some((before, tag, after)) =
        rest.split_once(FORM).and_then(|(before, form)| form.split_once('>').map(|(tag, after)| (before, tag, after)))
    {
        out.extend([before, FORM, tag, ">", &field]);
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_that_changes_something_is_marked_and_nothing_else() {
        let html = "<form method=\"get\"></form><form method=\"post\" data-sure=\"1 &#62; 2\"><b></form>\n\
                    <form method=\"post\" action=\"/x\"></form>&#60;form method=\"post\"";
        let field = "<input type=\"hidden\" name=\"for_org\" value=\"org_1\">";
        let expected = format!(
            "<form method=\"get\"></form><form method=\"post\" data-sure=\"1 &#62; 2\">{field}<b></form>\n\
             <form method=\"post\" action=\"/x\">{field}</form>&#60;form method=\"post\""
        );
        assert_eq!(marked(html, "org_1"), expected);
    }

    /// The one way to write a form: another one would leave without its organisation, and be refused at its door.
    #[test]
    fn every_template_begins_its_forms_alike() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("web/templates/console");
        let mut forms = 0;
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            for form in std::fs::read_to_string(&path).unwrap().split("<form").skip(1) {
                assert!(form.starts_with(" method=\""), "{}: <form{form}", path.display());
                forms += 1;
            }
        }
        assert!(forms > 10, "{forms}");
    }
}
