//! What every page has around it, and the ways to answer one.
//!
//! Invariant: what a page says after a change is a sentence of ours, never a text from its address.

use askama::Template;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{Html, IntoResponse, Response};
use kernel::Problem;

use super::assets;
use super::icon::Icon;
use super::nav::Group;
use super::session::Theme;

/// Everything around a page's own content.
#[derive(Clone, Debug)]
pub(super) struct Page {
    /// In the browser's tab and as its heading.
    pub(super) title: String,
    /// `system`, `light` or `dark`.
    pub(super) theme: &'static str,
    /// What the visitor may go to.
    pub(super) navigation: Vec<Group>,
    /// The visitor's name.
    pub(super) name: String,
    /// The visitor's role.
    pub(super) role: &'static str,
    /// The organisation that the visitor works in.
    pub(super) org_name: Option<String>,
    /// Its id: what the page's scripts ask for is asked for this one.
    pub(super) org_id: String,
    /// Whether the visitor may choose another organisation.
    pub(super) is_administrator: bool,
    /// What was done a moment ago.
    pub(super) done: Option<String>,
    /// Whether it is a page before the sign-in, without navigation.
    pub(super) is_open: bool,
}

impl Page {
    /// A page for somebody who has not signed in.
    pub(super) fn open(title: impl Into<String>, theme: Theme) -> Self {
        Self {
            title: title.into(),
            theme: theme.as_str(),
            navigation: Vec::new(),
            name: String::new(),
            role: "",
            org_name: None,
            org_id: String::new(),
            is_administrator: false,
            done: None,
            is_open: true,
        }
    }

    /// The address of an asset.
    pub(super) fn asset(&self, name: &str) -> &'static str {
        assets::url(name)
    }

    /// An icon, as an inline drawing.
    pub(super) fn icon(&self, name: &'static str) -> Icon {
        Icon(name)
    }
}

/// Answers with a page.
///
/// # Errors
/// When its template fails.
pub(super) fn show(page: &impl Template) -> Result<Response, Problem> {
    Ok(Html(page.render().map_err(Problem::internal)?).into_response())
}

/// Answers with a form that was refused.
///
/// # Errors
/// When its template fails.
pub(super) fn show_refused(page: &impl Template) -> Result<Response, Problem> {
    let mut response = show(page)?;
    *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
    Ok(response)
}

/// Answers with a form whose thing somebody else has changed since it was shown; both texts stand on it.
///
/// # Errors
/// When its template fails.
pub(super) fn show_conflict(page: &impl Template) -> Result<Response, Problem> {
    let mut response = show(page)?;
    *response.status_mut() = StatusCode::CONFLICT;
    Ok(response)
}

/// Goes on to another page.
pub(super) fn go(path: &str) -> Response {
    (StatusCode::SEE_OTHER, [(LOCATION, path)]).into_response()
}

/// What can be said after a change, by the word in the address.
const DONE: &[(&str, &str)] = &[
    ("saved", "Saved."),
    ("created", "Created."),
    ("deleted", "Deleted."),
    ("password", "The new password is set. Other sessions have ended."),
    ("session", "The session has ended."),
    ("mailed", "The mail is on its way."),
    ("sent", "It is on its way again."),
    ("called", "It is being called."),
    ("ended", "The call is being ended."),
    ("canceled", "It is called off."),
    ("disabled", "Switched off."),
    ("enabled", "Switched on."),
    ("welcome", "You are signed in. Set a password below, so that you can come back without a link."),
];

/// Goes on to a page and says there what was done: a word of the table above.
pub(super) fn done(path: &str, word: &'static str) -> Response {
    let join = if path.contains('?') { '&' } else { '?' };
    go(&format!("{path}{join}done={word}"))
}

/// The sentence that the query of a page's address stands for.
pub(super) fn done_sentence(query: &str) -> Option<&'static str> {
    let word = query.split('&').find_map(|pair| pair.strip_prefix("done="))?;
    DONE.iter().find(|(known, _)| *known == word).map(|(_, sentence)| *sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_can_make_us_say_nothing_but_our_own_sentences() {
        assert_eq!(done_sentence("a=b&done=saved"), Some("Saved."));
        assert_eq!(done_sentence("done=Your+account+is+locked"), None);
        assert_eq!(done_sentence(""), None);
    }
}
