//! The own account: password, and the browsers that are signed in.
//!
//! Invariant: a new password asks for the present one, or for a link that signed this browser in a moment ago: whoever
//! finds a browser open takes no account over.

use askama::Template;
use axum::extract::State as Given;
use axum::response::Response;
use kernel::http::{Client, Path};
use kernel::sign_in::{Identity, SignInError};
use kernel::time::rfc3339;
use kernel::{Kernel, Problem, Secret};
use serde::Deserialize;

use super::door::Doors;
use super::door::Needs::SignIn;
use super::form::{Field, Form, Posted};
use super::page::{Page, done, show, show_refused};
use super::table::{Cell, Table};
use super::visitor::Visitor;

const PATH: &str = "/console/account";
/// How the ids of personal tokens begin.
const PERSON_TOKEN_ID: &str = "ptk_";

pub(super) fn doors(doors: Doors) -> Doors {
    doors.get(PATH, SignIn, show_account).post("/console/account/password", SignIn, set_password).post(
        "/console/account/sessions/{id}/end",
        SignIn,
        end_session,
    )
}

#[derive(Template)]
#[template(path = "console/account.html")]
struct AccountPage {
    page: Page,
    email: Option<String>,
    form: Form,
    sessions: Table,
    /// A person may have personal tokens; an administrator of the installation has none.
    has_tokens: bool,
}

/// Asks for the present password too, unless the session is fresh.
fn password_form(is_fresh: bool) -> Form {
    let mut form = Form::new("/console/account/password", "Set the password");
    if !is_fresh {
        form = form.with(proof_field());
    }
    form.with(
        Field::typed("password", "New password", "password")
            .autocomplete("new-password")
            .hint("8 characters or more. Every other session of yours ends."),
    )
}

async fn account(kernel: &Kernel, visitor: &Visitor, form: Form) -> Result<AccountPage, Problem> {
    let whose = visitor.identity()?;
    let mut sessions = Table::new("Sessions", &["Browser", "Address", "Signed in", "Last seen", ""]);
    for session in kernel.sessions_of(&whose).await? {
        let is_this = *session.id == *visitor.credential.id;
        let end = format!("{PATH}/sessions/{}/end", session.id);
        sessions.row(vec![
            Cell::text(if session.user_agent.is_empty() { "unknown".to_owned() } else { session.user_agent }),
            Cell::Code(session.address),
            Cell::Time(rfc3339(session.created_at)),
            Cell::Time(rfc3339(session.last_used_at)),
            if is_this { Cell::State("this one".to_owned(), "good") } else { Cell::Button("End", end, None) },
        ]);
    }
    let email = kernel.identity(&whose).await?.email;
    let has_tokens = visitor.role().is_some();
    Ok(AccountPage { page: visitor.page("Your account", PATH), email, form, sessions, has_tokens })
}

async fn show_account(Given(kernel): Given<Kernel>, visitor: Visitor) -> Result<Response, Problem> {
    let is_fresh = kernel.is_fresh_by_link(&visitor.identity()?, &visitor.credential.id).await?;
    show(&account(&kernel, &visitor, password_form(is_fresh)).await?)
}

/// Whether nobody else can be at this browser: a link signed it in a moment ago. A program that sends its token proves
/// itself each time.
pub(super) async fn is_fresh(kernel: &Kernel, visitor: &Visitor) -> Result<bool, Problem> {
    let credential = &visitor.credential;
    let is_token = credential.id.starts_with(PERSON_TOKEN_ID);
    Ok(is_token || kernel.is_fresh_by_link(&visitor.identity()?, &credential.id).await?)
}

/// Asks for the present password.
pub(super) fn proof_field() -> Field {
    Field::typed("current", "Present password", "password")
        .autocomplete("current-password")
        .hint("None yet, or forgotten? Sign in by a new link: then it is not asked for.")
}

async fn set_password(
    Given(kernel): Given<Kernel>,
    visitor: Visitor,
    client: Client,
    posted: Posted,
) -> Result<Response, Problem> {
    let (whose, session) = (visitor.identity()?, &visitor.credential.id);
    let password = Secret::new(posted.raw("password"));
    let is_fresh = kernel.is_fresh_by_link(&whose, session).await?;
    let form = password_form(is_fresh);
    let refused = if let Some(wrong) = wrong_proof(&kernel, &whose, is_fresh, &posted, client).await? {
        form.wrong("current", wrong)
    } else {
        match kernel.change_password(&whose, &password, session).await {
            Ok(()) => return Ok(done(PATH, "password")),
            Err(error) => form.refused(error)?,
        }
    };
    show_refused(&account(&kernel, &visitor, refused).await?)
}

/// What is wrong with the present password, where one is asked for.
pub(super) async fn wrong_proof(
    kernel: &Kernel,
    whose: &Identity,
    is_fresh: bool,
    posted: &Posted,
    client: Client,
) -> Result<Option<String>, Problem> {
    if is_fresh {
        return Ok(None);
    }
    match kernel.is_own_password(whose, &Secret::new(posted.raw("current")), client.ip).await {
        Ok(true) => Ok(None),
        Ok(false) => Ok(Some("This is not your present password.".to_owned())),
        Err(SignInError::Wait(wait)) => Ok(Some(format!("Too many tries. Wait {} s, or take a link.", wait.seconds))),
        Err(SignInError::Record(error)) => Err(error.into()),
    }
}

#[derive(Debug, Deserialize)]
struct SessionPath {
    id: String,
}

async fn end_session(
    Given(kernel): Given<Kernel>,
    visitor: Visitor,
    Path(path): Path<SessionPath>,
) -> Result<Response, Problem> {
    kernel.end_own_session(&visitor.identity()?, &path.id).await?;
    Ok(done(PATH, "session"))
}
