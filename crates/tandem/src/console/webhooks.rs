//! Webhooks: where events go, what each attempt came to, and once more.

use askama::Template;
use axum::extract::State as Given;
use axum::response::Response;
use kernel::http::{PageQuery, Path, Query, cursor};
use kernel::outbox::{Delivery, MAX_PAGE, OutboxError, Webhook};
use kernel::time::rfc3339;
use kernel::{Action, DbError, Kernel, Problem};
use serde::Deserialize;

use super::door::Doors;
use super::door::Needs::May;
use super::form::{Field, Form, Posted};
use super::list::{FormPage, Link, ListPage};
use super::page::{Page, done, show, show_refused};
use super::shown_once::ShownOncePage;
use super::table::{Cell, Table};
use super::visitor::Visitor;
use crate::platform::check_webhook;

const PATH: &str = "/console/webhooks";

pub(super) fn doors(doors: Doors) -> Doors {
    let manage = May(Action::ManageKeys);
    doors
        .get(PATH, May(Action::ReadKeys), list)
        .get("/console/webhooks/new", manage, ask)
        .post("/console/webhooks/new", manage, create)
        .get("/console/webhooks/{id}", May(Action::ReadKeys), show_webhook)
        .post("/console/webhooks/{id}/switch", manage, switch)
        .post("/console/webhooks/{id}/rotate", manage, rotate)
        .post("/console/webhooks/{id}/remove", manage, remove)
        .post("/console/webhooks/{id}/deliveries/{delivery}/replay", manage, replay)
}

fn state_of(webhook: &Webhook) -> Cell {
    match webhook.disabled_ms {
        None => Cell::State("on".to_owned(), "good"),
        Some(_) => Cell::State("off".to_owned(), "bad"),
    }
}

fn types_of(webhook: &Webhook) -> String {
    if webhook.events.is_empty() { "every type".to_owned() } else { webhook.events.join(", ") }
}

async fn list(Given(kernel): Given<Kernel>, visitor: Visitor) -> Result<Response, Problem> {
    let found = kernel.outbox.webhooks(visitor.org_id()).await.map_err(Problem::internal)?;
    let rows = found.into_iter().map(|webhook| {
        let path = format!("{PATH}/{}", webhook.id);
        let (types, state) = (types_of(&webhook), state_of(&webhook));
        vec![Cell::link(webhook.url, path), Cell::text(types), state, Cell::Time(rfc3339(webhook.created_ms))]
    });
    let table = Table::new("Webhooks", &["URL", "Events", "State", "Made"]).with(rows);
    let about = "URLs of yours that are told what happens, signed as Standard Webhooks says.";
    let empty = "No URL is told yet. Add one to hear of calls as they happen.";
    let page = ListPage::new(visitor.page("Webhooks", PATH), about, table, empty);
    show(&page.action(visitor.may(Action::ManageKeys), "Add a webhook", "/console/webhooks/new"))
}

fn form() -> Form {
    Form::new("/console/webhooks/new", "Add")
        .with(
            Field::typed("url", "URL", "url")
                .hint("http or https; addresses inside your network must be allowed by the operator."),
        )
        .with(
            Field::line("events", "Events")
                .optional()
                .hint("Types such as call.completed or recording.*, apart by commas; empty for all."),
        )
}

fn form_page(visitor: &Visitor, form: Form) -> FormPage {
    FormPage {
        page: visitor.page("Add a webhook", PATH),
        about: "Its signing secret is shown once, on the next page.",
        back: Link::new("Back to the webhooks", PATH),
        form,
    }
}

async fn ask(visitor: Visitor) -> Result<Response, Problem> {
    show(&form_page(&visitor, form()))
}

fn show_secret(visitor: &Visitor, id: &str, secret: String) -> Result<Response, Problem> {
    show(&ShownOncePage {
        page: visitor.page("The signing secret", PATH),
        about: "Your endpoint verifies webhook-signature with it. An older secret signs beside it for 24 hours."
            .to_owned(),
        secrets: vec![("Secret", secret)],
        next: Link::new("To the webhook", format!("{PATH}/{id}")),
    })
}

async fn create(Given(kernel): Given<Kernel>, visitor: Visitor, posted: Posted) -> Result<Response, Problem> {
    let again = |problem: Problem| show_refused(&form_page(&visitor, form().filled(&posted).refused(problem)?));
    let new = match check_webhook(&kernel, posted.get("url"), posted.words("events")) {
        Ok(new) => new,
        Err(problem) => return again(problem),
    };
    match kernel.outbox.add_webhook(visitor.org_id(), new).await {
        Ok((webhook, key)) => show_secret(&visitor, &webhook.id, key.expose()),
        Err(error @ OutboxError::TooMany) => again(Problem::field("/url", "limit_exceeded", error.to_string())),
        Err(error) => Err(Problem::internal(error)),
    }
}

#[derive(Debug, Deserialize)]
struct WebhookPath {
    id: String,
}

#[derive(Template)]
#[template(path = "console/webhook.html")]
struct WebhookPage {
    page: Page,
    path: String,
    webhook: Webhook,
    types: String,
    is_on: bool,
    deliveries: Vec<DeliveryView>,
    manages: bool,
    more: Option<String>,
}

/// A delivery and what each attempt came to.
struct DeliveryView {
    id: String,
    kind: String,
    key: String,
    word: &'static str,
    colour: &'static str,
    due: Option<String>,
    /// Moment, what came back, milliseconds.
    attempts: Vec<(String, String, i64)>,
}

impl From<Delivery> for DeliveryView {
    fn from(delivery: Delivery) -> Self {
        let (word, colour) = match delivery.state.as_str() {
            "done" => ("delivered", "good"),
            "fast" | "slow" => ("on its way", "busy"),
            "refused" => ("refused", "bad"),
            "expired" => ("given up", "bad"),
            _ => ("dropped", "plain"),
        };
        let attempts = delivery.attempts.into_iter().map(|attempt| {
            let answer = attempt.status.map(|status| status.to_string()).or(attempt.error).unwrap_or_default();
            (rfc3339(attempt.at), answer, attempt.ms)
        });
        Self {
            id: delivery.position.to_string(),
            kind: delivery.kind,
            due: matches!(delivery.state.as_str(), "fast" | "slow").then(|| rfc3339(delivery.due_ms)),
            key: delivery.key,
            word,
            colour,
            attempts: attempts.collect(),
        }
    }
}

async fn find(kernel: &Kernel, org: &str, id: &str) -> Result<Webhook, Problem> {
    kernel.outbox.webhook(org, id).await.map_err(Problem::internal)?.ok_or_else(Problem::not_found)
}

async fn show_webhook(
    Given(kernel): Given<Kernel>,
    visitor: Visitor,
    Path(path): Path<WebhookPath>,
    Query(query): Query<PageQuery>,
) -> Result<Response, Problem> {
    let org = visitor.org_id();
    let webhook = find(&kernel, org, &path.id).await?;
    let before = query.after()?.map(|place| place.parse().map_err(|_| Problem::not_found())).transpose()?;
    let limit = u32::try_from(query.limit()?).unwrap_or(MAX_PAGE).min(MAX_PAGE);
    let found = kernel.outbox.deliveries(org, &webhook.id, before, limit).await.map_err(Problem::internal)?;
    let full = found.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
    let here = format!("{PATH}/{}", webhook.id);
    let more =
        found.last().filter(|_| full).map(|last| format!("{here}?cursor={}", cursor(&last.position.to_string())));
    show(&WebhookPage {
        page: visitor.page("Webhook", PATH),
        path: here,
        types: types_of(&webhook),
        is_on: webhook.disabled_ms.is_none(),
        webhook,
        deliveries: found.into_iter().map(DeliveryView::from).collect(),
        manages: visitor.may(Action::ManageKeys),
        more,
    })
}

fn changed(result: Result<bool, DbError>) -> Result<(), Problem> {
    if result.map_err(Problem::internal)? { Ok(()) } else { Err(Problem::not_found()) }
}

async fn switch(
    Given(kernel): Given<Kernel>,
    visitor: Visitor,
    Path(path): Path<WebhookPath>,
    posted: Posted,
) -> Result<Response, Problem> {
    let org = visitor.org_id();
    let here = format!("{PATH}/{}", path.id);
    if posted.get("on") == "yes" {
        changed(kernel.outbox.enable_webhook(org, &path.id).await)?;
        Ok(done(&here, "enabled"))
    } else {
        changed(kernel.outbox.disable_webhook(org, &path.id).await)?;
        Ok(done(&here, "disabled"))
    }
}

async fn rotate(
    Given(kernel): Given<Kernel>,
    visitor: Visitor,
    Path(path): Path<WebhookPath>,
) -> Result<Response, Problem> {
    let webhook = find(&kernel, visitor.org_id(), &path.id).await?;
    let key = kernel.outbox.rotate_secret(visitor.org_id(), &webhook.id).await.map_err(Problem::internal)?;
    show_secret(&visitor, &webhook.id, key.expose())
}

async fn remove(
    Given(kernel): Given<Kernel>,
    visitor: Visitor,
    Path(path): Path<WebhookPath>,
) -> Result<Response, Problem> {
    changed(kernel.outbox.remove_webhook(visitor.org_id(), &path.id).await)?;
    Ok(done(PATH, "deleted"))
}

#[derive(Debug, Deserialize)]
struct DeliveryPath {
    id: String,
    delivery: String,
}

async fn replay(
    Given(kernel): Given<Kernel>,
    visitor: Visitor,
    Path(path): Path<DeliveryPath>,
) -> Result<Response, Problem> {
    let position = path.delivery.parse().map_err(|_| Problem::not_found())?;
    changed(kernel.outbox.replay(visitor.org_id(), &path.id, position).await)?;
    Ok(done(&format!("{PATH}/{}", path.id), "sent"))
}
