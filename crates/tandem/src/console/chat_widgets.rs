//! What a customer's page needs for its chat: one line for each application.

use askama::Template;
use axum::extract::State as Given;
use axum::response::Response;
use kernel::{Action, Kernel, Problem, Scope};

use super::door::Doors;
use super::door::Needs::May;
use super::page::{Page, show};
use super::site::Site;
use super::visitor::Visitor;

const PATH: &str = "/console/chat/widgets";
/// Applications on the page.
const MAX_SHOWN: i64 = 200;

pub(super) fn doors(doors: Doors) -> Doors {
    doors.get(PATH, May(Action::ReadKeys), widgets)
}

/// An application with a chat.
struct Widget {
    id: String,
    name: String,
    /// The line for the page.
    snippet: String,
    /// Origins that may hold it, apart by commas; empty = this server's own alone.
    origins: String,
}

#[derive(Template)]
#[template(path = "console/chat_widgets.html")]
struct WidgetsPage {
    page: Page,
    widgets: Vec<Widget>,
}

async fn widgets(
    Given(kernel): Given<Kernel>,
    Given(site): Given<Site>,
    visitor: Visitor,
) -> Result<Response, Problem> {
    let apps = kernel.apps(visitor.org_id(), "", MAX_SHOWN).await?;
    let chats = apps.into_iter().filter(|app| app.scopes.is_empty() || app.scopes.contains(&Scope::Chat));
    let widgets = chats.map(|app| Widget {
        snippet: format!("<script src=\"{}\" async></script>", site.url(&format!("/w/{}.js", app.id))),
        origins: app.settings.get("allowed_origins").cloned().unwrap_or_default(),
        id: app.id,
        name: app.name,
    });
    show(&WidgetsPage { page: visitor.page("Widgets", PATH), widgets: widgets.collect() })
}
