//! The organisations of the installation, for its administrators: choose one to work in, make one more.

use askama::Template;
use axum::extract::State as Given;
use axum::response::Response;
use kernel::http::Path;
use kernel::org::NewOrg;
use kernel::{Kernel, Principal, Problem};
use serde::Deserialize;

use super::door::Doors;
use super::door::Needs::Administrator;
use super::form::{Field, Form, Posted};
use super::page::{Page, go, show, show_refused};
use super::visitor::Visitor;

const PATH: &str = "/console/organisations";

pub(super) fn doors(doors: Doors) -> Doors {
    doors.get(PATH, Administrator, list).post(PATH, Administrator, create).post(
        "/console/organisations/{id}/open",
        Administrator,
        open,
    )
}

/// An organisation in the list.
struct Line {
    id: String,
    slug: String,
    name: String,
    zone: String,
    is_here: bool,
}

#[derive(Template)]
#[template(path = "console/organisations.html")]
struct OrganisationsPage {
    page: Page,
    organisations: Vec<Line>,
    form: Form,
}

fn form() -> Form {
    Form::new(PATH, "Make an organisation")
        .with(Field::line("name", "Name"))
        .with(Field::line("slug", "Short name").optional().hint("In addresses and in cloud_id; made from the name."))
        .with(Field::line("zone", "Time zone").optional().hint("Such as Europe/London; UTC when empty."))
}

async fn page(kernel: &Kernel, visitor: &Visitor, form: Form) -> Result<OrganisationsPage, Problem> {
    let here = visitor.org_id();
    let organisations = kernel.orgs().await?.into_iter().map(|org| Line {
        is_here: *org.id == **here,
        id: org.id,
        slug: org.slug,
        name: org.name,
        zone: org.zone,
    });
    Ok(OrganisationsPage { page: visitor.page("Organisations", PATH), organisations: organisations.collect(), form })
}

async fn list(Given(kernel): Given<Kernel>, visitor: Visitor) -> Result<Response, Problem> {
    show(&page(&kernel, &visitor, form()).await?)
}

async fn create(Given(kernel): Given<Kernel>, visitor: Visitor, posted: Posted) -> Result<Response, Problem> {
    let new = NewOrg {
        name: posted.get("name").to_owned(),
        slug: posted.optional("slug"),
        zone: posted.optional("zone"),
        ..NewOrg::default()
    };
    match kernel.create_org(new).await {
        Ok(org) => look_at(&kernel, &visitor, &org.id).await,
        Err(error) => {
            let form = form().filled(&posted).refused(error)?;
            show_refused(&page(&kernel, &visitor, form).await?)
        }
    }
}

#[derive(Debug, Deserialize)]
struct OrgPath {
    id: String,
}

async fn open(Given(kernel): Given<Kernel>, visitor: Visitor, Path(path): Path<OrgPath>) -> Result<Response, Problem> {
    look_at(&kernel, &visitor, &path.id).await
}

async fn look_at(kernel: &Kernel, visitor: &Visitor, org: &str) -> Result<Response, Problem> {
    if let Principal::Administrator { administrator, .. } = visitor.principal() {
        kernel.look_at_org(administrator, &visitor.credential.id, org).await?;
    }
    Ok(go("/console"))
}
