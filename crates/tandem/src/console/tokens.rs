//! The own personal tokens: made, listed, revoked. A token is shown once, when it is made.
//!
//! Invariant: nobody sees or ends another one's token here; whoever finds a browser open takes no token away from it.

use axum::extract::State as Given;
use axum::response::Response;
use kernel::http::{Client, Path};
use kernel::time::rfc3339;
use kernel::{Kernel, Problem};
use serde::Deserialize;

use super::account::{is_fresh, proof_field, wrong_proof};
use super::door::Doors;
use super::door::Needs::SignIn;
use super::form::{Field, Form, Posted};
use super::list::{Link, ListPage};
use super::page::{done, show, show_refused};
use super::shown_once::ShownOncePage;
use super::table::{Cell, Table};
use super::visitor::Visitor;

const PATH: &str = "/console/account/tokens";
/// Longest name of a token, in characters.
const MAX_LABEL: usize = 100;

pub(super) fn doors(doors: Doors) -> Doors {
    doors.get(PATH, SignIn, list).post(PATH, SignIn, create).post("/console/account/tokens/{id}/revoke", SignIn, revoke)
}

/// The person whose tokens these are. An administrator of the installation has none.
fn owner(visitor: &Visitor) -> Result<&str, Problem> {
    visitor.principal().person().map(|person| &**person).ok_or_else(Problem::not_found)
}

async fn form(kernel: &Kernel, visitor: &Visitor) -> Result<Form, Problem> {
    let form = Form::new(PATH, "Make a token")
        .with(Field::line("label", "What it is for").hint("Such as the program that will use it; only you read it."));
    Ok(if is_fresh(kernel, visitor).await? { form } else { form.with(proof_field()) })
}

async fn page(kernel: &Kernel, visitor: &Visitor, form: Form) -> Result<ListPage, Problem> {
    let tokens = kernel.person_tokens(visitor.org_id(), owner(visitor)?).await?;
    let this = &visitor.credential.id;
    let rows = tokens.into_iter().map(|token| {
        let revoke = format!("{PATH}/{}/revoke", token.id);
        let sure = Some("Revoke this token? Programs that use it get 401.");
        vec![
            Cell::text(token.label),
            Cell::Code(token.id.clone()),
            Cell::Time(rfc3339(token.created_at)),
            match token.last_used_at {
                Some(at) => Cell::Time(rfc3339(at)),
                None => Cell::Quiet("never".to_owned()),
            },
            if *token.id == **this {
                Cell::State("this one".to_owned(), "good")
            } else {
                Cell::Button("Revoke", revoke, sure)
            },
        ]
    });
    let table = Table::new("Tokens", &["For", "Id", "Made", "Last used", ""]).with(rows);
    let about = "With a token a program uses the API as you: it may do what your role may. It is shown once.";
    let empty = "You have no token. Make one for a program of yours.";
    let mut page = ListPage::new(visitor.page("Personal tokens", "/console/account"), about, table, empty);
    page.filter = Some(form);
    Ok(page)
}

async fn list(Given(kernel): Given<Kernel>, visitor: Visitor) -> Result<Response, Problem> {
    show(&page(&kernel, &visitor, form(&kernel, &visitor).await?).await?)
}

async fn create(
    Given(kernel): Given<Kernel>,
    visitor: Visitor,
    client: Client,
    posted: Posted,
) -> Result<Response, Problem> {
    let (person, label) = (owner(&visitor)?, posted.get("label"));
    if label.is_empty() || label.chars().count() > MAX_LABEL || label.chars().any(char::is_control) {
        let form = form(&kernel, &visitor).await?.filled(&posted);
        let form = form.wrong("label", format!("1 to {MAX_LABEL} characters in one line"));
        return show_refused(&page(&kernel, &visitor, form).await?);
    }
    let is_fresh = is_fresh(&kernel, &visitor).await?;
    if let Some(wrong) = wrong_proof(&kernel, &visitor.identity()?, is_fresh, &posted, client).await? {
        let form = form(&kernel, &visitor).await?.filled(&posted).wrong("current", wrong);
        return show_refused(&page(&kernel, &visitor, form).await?);
    }
    let token = kernel.create_person_token(visitor.org_id(), person, label).await?;
    show(&ShownOncePage {
        page: visitor.page("A personal token", "/console/account"),
        about: "Programs send it as Authorization: Bearer TOKEN. Keep it where your secrets are.".to_owned(),
        secrets: vec![("Token", token.expose().to_owned())],
        next: Link::new("To the tokens", PATH),
    })
}

#[derive(Debug, Deserialize)]
struct TokenPath {
    id: String,
}

async fn revoke(
    Given(kernel): Given<Kernel>,
    visitor: Visitor,
    Path(path): Path<TokenPath>,
) -> Result<Response, Problem> {
    let own = kernel.person_tokens(visitor.org_id(), owner(&visitor)?).await?;
    if !own.iter().any(|token| token.id == path.id) {
        return Err(Problem::not_found());
    }
    kernel.revoke_person_token(visitor.org_id(), &path.id).await?;
    Ok(done(PATH, "disabled"))
}
