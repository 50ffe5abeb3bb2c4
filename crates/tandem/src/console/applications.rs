//! Applications: programs of the customer that use the API, and their keys.
//!
//! Invariant: a key is shown once, when it is made.

use askama::Template;
use axum::extract::State as Given;
use axum::response::Response;
use kernel::app::{App, NewApp};
use kernel::http::Path;
use kernel::time::rfc3339;
use kernel::{Action, Kernel, Problem, Scope};
use serde::Deserialize;

use super::door::Doors;
use super::door::Needs::May;
use super::form::{Choice, Field, Form, Posted};
use super::list::{FormPage, Link, ListPage};
use super::page::{Page, done, show, show_refused};
use super::shown_once::ShownOncePage;
use super::table::{Cell, Table};
use super::visitor::Visitor;

const PATH: &str = "/console/applications";
const MAX_SHOWN: i64 = 500;
const SCOPES: [(Scope, &str); 5] = [
    (Scope::Flows, "flows, calls, recordings"),
    (Scope::Meetings, "masked meetings"),
    (Scope::Provisioning, "provisioning of phones"),
    (Scope::Chat, "support chat"),
    (Scope::Gigs, "live video"),
];

pub(super) fn doors(doors: Doors) -> Doors {
    let manage = May(Action::ManageKeys);
    doors
        .get(PATH, May(Action::ReadKeys), list)
        .get("/console/applications/new", manage, ask)
        .post("/console/applications/new", manage, create)
        .get("/console/applications/{id}", May(Action::ReadKeys), show_app)
        .post("/console/applications/{id}/keys", manage, add_key)
        .post("/console/applications/{id}/keys/{key}/revoke", manage, revoke_key)
        .post("/console/applications/{id}/remove", manage, remove)
}

fn scopes_of(app: &App) -> String {
    if app.scopes.is_empty() {
        return "everything".to_owned();
    }
    app.scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(", ")
}

async fn list(Given(kernel): Given<Kernel>, visitor: Visitor) -> Result<Response, Problem> {
    let found = kernel.apps(visitor.org_id(), "", MAX_SHOWN).await?;
    let rows = found.into_iter().map(|app| {
        let scopes = scopes_of(&app);
        vec![
            Cell::link(app.name, format!("{PATH}/{}", app.id)),
            Cell::text(scopes),
            Cell::Time(rfc3339(app.created_at)),
        ]
    });
    let table = Table::new("Applications", &["Name", "May use", "Made"]).with(rows);
    let about = "Programs of yours that use the API with a key.";
    let empty = "There is no application yet. Make one to get a key for the API.";
    let page = ListPage::new(visitor.page("Applications", PATH), about, table, empty);
    show(&page.action(visitor.may(Action::ManageKeys), "New application", "/console/applications/new"))
}

fn form() -> Form {
    let scopes: Vec<Choice> =
        SCOPES.iter().map(|(scope, meaning)| (scope.to_string(), format!("{scope}: {meaning}"))).collect();
    Form::new("/console/applications/new", "Make a key")
        .with(Field::line("name", "Name"))
        .with(Field::many("scope", "May use", scopes).hint("Nothing ticked means everything of the organisation."))
}

fn form_page(visitor: &Visitor, form: Form) -> FormPage {
    FormPage {
        page: visitor.page("New application", PATH),
        about: "Its key is shown once, on the next page.",
        back: Link::new("Back to the applications", PATH),
        form,
    }
}

async fn ask(visitor: Visitor) -> Result<Response, Problem> {
    show(&form_page(&visitor, form()))
}

async fn create(Given(kernel): Given<Kernel>, visitor: Visitor, posted: Posted) -> Result<Response, Problem> {
    let scopes: Result<Vec<Scope>, _> = posted.all("scope").iter().map(|word| word.parse::<Scope>()).collect();
    let scopes = match scopes {
        Ok(scopes) => scopes,
        Err(error) => {
            return show_refused(&form_page(&visitor, form().filled(&posted).wrong("scope", error.to_string())));
        }
    };
    let new = NewApp { name: posted.get("name").to_owned(), scopes, settings: Vec::new() };
    match kernel.create_app(visitor.org_id(), new).await {
        Ok((app, key)) => {
            let secrets = vec![("API key", key.expose().to_owned()), ("Publishable key", app.publishable_key.clone())];
            show_key(&visitor, &app, secrets)
        }
        Err(error) => show_refused(&form_page(&visitor, form().filled(&posted).refused(error)?)),
    }
}

fn show_key(visitor: &Visitor, app: &App, secrets: Vec<(&'static str, String)>) -> Result<Response, Problem> {
    show(&ShownOncePage {
        page: visitor.page(format!("A key for {}", app.name), PATH),
        about: "Programs send it as Authorization: Bearer KEY. Keep it where your secrets are.".to_owned(),
        secrets,
        next: Link::new("To the application", format!("{PATH}/{}", app.id)),
    })
}

#[derive(Debug, Deserialize)]
struct AppPath {
    id: String,
}

#[derive(Template)]
#[template(path = "console/application.html")]
struct AppPage {
    page: Page,
    path: String,
    app: App,
    scopes: String,
    keys: Table,
    manages: bool,
}

async fn show_app(
    Given(kernel): Given<Kernel>,
    visitor: Visitor,
    Path(path): Path<AppPath>,
) -> Result<Response, Problem> {
    let org = visitor.org_id();
    let app = kernel.app(org, &path.id).await?;
    let manages = visitor.may(Action::ManageKeys);
    let path = format!("{PATH}/{}", app.id);
    let rows = kernel.app_keys(org, &app.id).await?.into_iter().map(|key| {
        let revoke = format!("{path}/keys/{}/revoke", key.id);
        vec![
            Cell::Code(key.id),
            Cell::Time(rfc3339(key.created_at)),
            match key.last_used_at {
                Some(at) => Cell::Time(rfc3339(at)),
                None => Cell::Quiet("never".to_owned()),
            },
            if manages {
                Cell::Button("Revoke", revoke, Some("Revoke this key? Programs that use it get 401."))
            } else {
                Cell::Empty
            },
        ]
    });
    let keys = Table::new("Keys", &["Key", "Made", "Last used", ""]).with(rows);
    show(&AppPage { page: visitor.page(app.name.clone(), PATH), scopes: scopes_of(&app), path, app, keys, manages })
}

async fn add_key(
    Given(kernel): Given<Kernel>,
    visitor: Visitor,
    Path(path): Path<AppPath>,
) -> Result<Response, Problem> {
    let app = kernel.app(visitor.org_id(), &path.id).await?;
    let key = kernel.create_app_key(visitor.org_id(), &app.id).await?;
    show_key(&visitor, &app, vec![("API key", key.expose().to_owned())])
}

#[derive(Debug, Deserialize)]
struct KeyPath {
    id: String,
    key: String,
}

async fn revoke_key(
    Given(kernel): Given<Kernel>,
    visitor: Visitor,
    Path(path): Path<KeyPath>,
) -> Result<Response, Problem> {
    let keys = kernel.app_keys(visitor.org_id(), &path.id).await?;
    if !keys.iter().any(|key| key.id == path.key) {
        return Err(Problem::not_found());
    }
    kernel.revoke_app_key(visitor.org_id(), &path.key).await?;
    Ok(done(&format!("{PATH}/{}", path.id), "disabled"))
}

async fn remove(
    Given(kernel): Given<Kernel>,
    visitor: Visitor,
    Path(path): Path<AppPath>,
) -> Result<Response, Problem> {
    kernel.disable_app(visitor.org_id(), &path.id).await?;
    Ok(done(PATH, "deleted"))
}
