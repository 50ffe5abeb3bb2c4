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

use super::app_chat;
use super::app_meetings;
use super::door::Doors;
use super::door::Needs::May;
use super::form::{Choice, Field, Form, Posted};
use super::list::{FormPage, Link, ListPage};
use super::page::{Page, done, show, show_conflict, show_refused};
use super::shown_once::ShownOncePage;
use super::table::{Cell, Table};
use super::visitor::Visitor;
use crate::applications::settings;
use crate::meetings::model::SETTING_NAMES;

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
        .post("/console/applications/{id}/meetings", manage, set_meetings)
        .post("/console/applications/{id}/rotate", manage, rotate)
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
    /// How its meetings are; of one that may make some.
    meetings: Option<Form>,
    pool: Table,
    manages: bool,
}

impl AppPage {
    /// What other desks read; of a secret only that it is set.
    fn other_settings(&self) -> Vec<(String, String)> {
        let mut settings = settings::shown(&self.app);
        settings.retain(|name, _| !SETTING_NAMES.contains(&name.as_str()) && !app_chat::is_shown_there(name));
        settings.into_iter().collect()
    }

    /// The chat's settings; none when it may not chat.
    fn chat_path(&self) -> Option<String> {
        Scope::covers(&self.app.scopes, Action::ManageChats).then(|| app_chat::path(&self.app.id))
    }
}

async fn show_app(
    Given(kernel): Given<Kernel>,
    visitor: Visitor,
    Path(path): Path<AppPath>,
) -> Result<Response, Problem> {
    let app = kernel.app(visitor.org_id(), &path.id).await?;
    show(&app_page(&kernel, &visitor, app, Ok).await?)
}

async fn app_page(
    kernel: &Kernel,
    visitor: &Visitor,
    app: App,
    change: impl FnOnce(Form) -> Result<Form, Problem>,
) -> Result<AppPage, Problem> {
    let org = visitor.org_id();
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
    let makes_meetings = Scope::covers(&app.scopes, Action::ManageMeetings);
    let meetings = makes_meetings.then(|| change(app_meetings::form(&path, &app))).transpose()?;
    let own = calls::public_numbers(kernel, org).await.map_err(Problem::internal)?;
    Ok(AppPage {
        page: visitor.page(app.name.clone(), PATH),
        scopes: scopes_of(&app),
        pool: app_meetings::pool(&app, &own),
        path,
        app,
        keys,
        meetings,
        manages,
    })
}

async fn set_meetings(
    Given(kernel): Given<Kernel>,
    visitor: Visitor,
    Path(path): Path<AppPath>,
    posted: Posted,
) -> Result<Response, Problem> {
    let app = kernel.app(visitor.org_id(), &path.id).await?;
    if let Some(both) = app_meetings::overtaken(&format!("{PATH}/{}", app.id), &app, &posted) {
        return show_conflict(&app_page(&kernel, &visitor, app, |_| Ok(both)).await?);
    }
    match app_meetings::change(&kernel, &app, app_meetings::changes(&posted)).await {
        Ok(_) => {
            let actor = visitor.principal().actor();
            let audit = kernel.audit_write(visitor.org_id(), actor, "application.change", &app.id);
            kernel.db.writer().commit(vec![audit]).await.map_err(Problem::internal)?;
            Ok(done(&format!("{PATH}/{}", app.id), "saved"))
        }
        Err(error) => {
            let refused = |form: Form| form.filled(&posted).refused(error);
            show_refused(&app_page(&kernel, &visitor, app, refused).await?)
        }
    }
}

/// A new key in place of all older ones.
async fn rotate(
    Given(kernel): Given<Kernel>,
    visitor: Visitor,
    Path(path): Path<AppPath>,
) -> Result<Response, Problem> {
    let org = visitor.org_id();
    let app = kernel.app(org, &path.id).await?;
    let old = kernel.app_keys(org, &app.id).await?;
    let key = kernel.create_app_key(org, &app.id).await?;
    for old in old {
        kernel.revoke_app_key(org, &old.id).await?;
    }
    show_key(&visitor, &app, vec![("API key", key.expose().to_owned())])
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
