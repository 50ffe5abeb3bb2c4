//! What somebody typed, kept on a page when it cannot be taken now: the session has ended, or the browser works in
//! another organisation than the form was made for. Nothing is lost, and nothing was changed.
//!
//! Invariant: only a form of our own pages is kept, or a stranger's page could have its form sent by a click here;
//! passwords are typed again.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;
use kernel::{Kernel, Principal, Problem};

use super::form::Posted;
use super::made_for;
use super::page::{Page, show};
use super::session::Theme;

#[derive(Template)]
#[template(path = "console/kept.html")]
struct KeptPage {
    page: Page,
    /// What is in the way.
    about: String,
    /// A way out of it that opens in a new tab: label and path.
    first: Option<(&'static str, &'static str)>,
    /// The same by a button that posts: label and path.
    open: Option<(String, String)>,
    /// Where the form was sent to.
    path: String,
    /// Names and values.
    fields: Vec<(String, String)>,
}

fn answer(status: StatusCode, page: &KeptPage) -> Result<Response, Problem> {
    let mut response = show(page)?;
    *response.status_mut() = status;
    Ok(response)
}

fn fields(posted: &Posted) -> Vec<(String, String)> {
    let typed = posted.pairs().filter(|(name, _)| !matches!(*name, "password" | "current"));
    typed.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The page for whose session has ended.
///
/// # Errors
/// When its template fails.
pub(super) fn signed_out(path: &str, posted: &Posted, theme: Theme) -> Result<Response, Problem> {
    let page = KeptPage {
        page: Page::open("You are signed out", theme),
        about:
            "Your session has ended, so nothing was changed yet. What you typed is kept here: sign in in a new tab, \
                then come back to this one and send it again."
                .to_owned(),
        first: Some(("Sign in, in a new tab", "/console/sign-in")),
        open: None,
        path: path.to_owned(),
        fields: fields(posted),
    };
    answer(StatusCode::UNAUTHORIZED, &page)
}

/// The page for whose browser works in another organisation now than the form was made for.
///
/// # Errors
/// When the store or the template fails.
pub(super) async fn elsewhere(
    kernel: &Kernel,
    who: &Principal,
    path: &str,
    posted: &Posted,
    theme: Theme,
) -> Result<Response, Problem> {
    let name = async |org: &str| Ok::<_, Problem>(kernel.org_by_id(org).await?.map(|org| org.name));
    let here = name(who.org()).await?.unwrap_or_else(|| "no organisation".to_owned());
    let made_for = posted.get(made_for::FIELD);
    // Who is no administrator learns no name of another organisation.
    let there = match who {
        Principal::Administrator { .. } => name(made_for).await?,
        _ => None,
    };
    let open = there
        .as_ref()
        .map(|there| (format!("Go back to {there}, in a new tab"), format!("/console/organisations/{made_for}/open")));
    let there = there.unwrap_or_else(|| "another organisation".to_owned());
    let page = KeptPage {
        page: Page::open("Another organisation", theme),
        about: format!(
            "This form was made for {there}, and this browser works in {here} now, in another tab perhaps. Nothing was \
             changed. What you typed is kept here: go back to {there} first, then send it again."
        ),
        first: None,
        open,
        path: path.to_owned(),
        fields: fields(posted),
    };
    answer(StatusCode::CONFLICT, &page)
}
