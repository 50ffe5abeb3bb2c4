//! Public numbers, and what each leads to.

use axum::extract::State as Given;
use axum::response::Response;
use kernel::http::{Json, Path};
use kernel::{Action, Kernel, Problem};
use serde::Deserialize;

use super::door::Doors;
use super::door::Needs::May;
use super::form::{Choice, Field, Form, Posted};
use super::list::{FormPage, Link, ListPage};
use super::page::{done, show, show_refused};
use super::table::{Cell, Table};
use super::visitor::Visitor;
use crate::calls::numbers::{self, BindRequest, NumberPath};
use crate::flows::store;

const PATH: &str = "/console/numbers";
/// Flows to choose from.
const MAX_FLOWS: i64 = 500;

pub(super) fn doors(doors: Doors) -> Doors {
    let manage = May(Action::ManageNumbers);
    doors
        .get(PATH, May(Action::ReadNumbers), list)
        .get("/console/numbers/new", manage, ask)
        .post("/console/numbers/new", manage, bind)
        .post("/console/numbers/{e164}/release", manage, release)
}

async fn list(Given(kernel): Given<Kernel>, visitor: Visitor) -> Result<Response, Problem> {
    let manages = visitor.may(Action::ManageNumbers);
    let found = calls::public_numbers(&kernel, visitor.org_id()).await.map_err(Problem::internal)?;
    let rows = found.into_iter().map(|number| {
        let release = format!("{PATH}/{}/release", number.number);
        let target = match number.to.split_once(':') {
            Some(("flow", id)) => Cell::link(number.to.clone(), format!("/console/flows/{id}")),
            _ => Cell::text(number.to.clone()),
        };
        let sure = Some("Give this number up? Calls to it reach nobody here any more.");
        let button = if manages { Cell::Button("Release", release, sure) } else { Cell::Empty };
        vec![Cell::Code(number.number), target, button]
    });
    let table = Table::new("Numbers", &["Number", "Leads to", ""]).with(rows);
    let about = "Numbers that the outside calls, and whom or what they reach.";
    let empty = "No number leads here yet. Bind one that your carrier sends to this server.";
    let page = ListPage::new(visitor.page("Numbers", PATH), about, table, empty);
    show(&page.action(manages, "Bind a number", "/console/numbers/new"))
}

/// Everything that a number can lead to.
async fn targets(kernel: &Kernel, org: &str) -> Result<Vec<Choice>, Problem> {
    let mut targets = Vec::new();
    for flow in store::list(&kernel.db, org, "", MAX_FLOWS).await.map_err(Problem::internal)? {
        targets.push((format!("flow:{}", flow.id), format!("Flow: {}", flow.name)));
    }
    for team in calls::teams(kernel, org).await.map_err(Problem::internal)? {
        targets.push((format!("team:{}", team.number), format!("Team: {} ({})", team.name, team.number)));
    }
    for entry in calls::extensions(kernel, org).await.map_err(Problem::internal)? {
        targets.push((format!("person:{}", entry.number), format!("Person: {} ({})", entry.name, entry.number)));
    }
    Ok(targets)
}

async fn page(kernel: &Kernel, visitor: &Visitor) -> Result<FormPage, Problem> {
    let form = Form::new("/console/numbers/new", "Bind")
        .with(Field::typed("e164", "Number", "tel").hint("International form, such as +442071838750."))
        .with(Field::one("to", "Leads to", targets(kernel, visitor.org_id()).await?));
    Ok(FormPage {
        page: visitor.page("Bind a number", PATH),
        about: "A number that is bound already leads elsewhere from now on.",
        back: Link::new("Back to the numbers", PATH),
        form,
    })
}

async fn ask(Given(kernel): Given<Kernel>, visitor: Visitor) -> Result<Response, Problem> {
    show(&page(&kernel, &visitor).await?)
}

async fn bind(Given(kernel): Given<Kernel>, visitor: Visitor, posted: Posted) -> Result<Response, Problem> {
    let path = NumberPath { e164: posted.get("e164").to_owned() };
    let request = BindRequest { to: posted.get("to").to_owned() };
    let bound = numbers::bind(Given(kernel.clone()), visitor.principal().clone(), Path(path), Json(request)).await;
    match bound {
        Ok(_) => Ok(done(PATH, "saved")),
        Err(mut problem) => {
            // The API has the number in its path.
            for error in problem.errors.iter_mut().filter(|error| error.pointer == "/number") {
                error.pointer = "/e164".to_owned();
            }
            let mut page = page(&kernel, &visitor).await?;
            page.form = page.form.filled(&posted).refused(problem)?;
            show_refused(&page)
        }
    }
}

#[derive(Debug, Deserialize)]
struct ReleasePath {
    e164: String,
}

async fn release(
    Given(kernel): Given<Kernel>,
    visitor: Visitor,
    Path(path): Path<ReleasePath>,
) -> Result<Response, Problem> {
    match calls::release_number(&kernel, visitor.org_id(), &path.e164).await.map_err(Problem::internal)? {
        true => Ok(done(PATH, "deleted")),
        false => Err(Problem::not_found()),
    }
}
