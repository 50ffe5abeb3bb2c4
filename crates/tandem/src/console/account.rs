//! The own account: password, and the browsers that are signed in.

use askama::Template;
use axum::extract::State as Given;
use axum::response::Response;
use kernel::http::Path;
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
}

fn password_form() -> Form {
    Form::new("/console/account/password", "Set the password").with(
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
    Ok(AccountPage { page: visitor.page("Your account", PATH), email, form, sessions })
}

async fn show_account(Given(kernel): Given<Kernel>, visitor: Visitor) -> Result<Response, Problem> {
    show(&account(&kernel, &visitor, password_form()).await?)
}

async fn set_password(Given(kernel): Given<Kernel>, visitor: Visitor, posted: Posted) -> Result<Response, Problem> {
    let password = Secret::new(posted.raw("password"));
    match kernel.change_password(&visitor.identity()?, &password, &visitor.credential.id).await {
        Ok(()) => Ok(done(PATH, "password")),
        Err(error) => show_refused(&account(&kernel, &visitor, password_form().refused(error)?).await?),
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
