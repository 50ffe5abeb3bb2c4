//! Webhooks of an organisation: where its events go, what became of each, and once more.
//!
//! Invariant: a webhook's signing secret is answered when it is made or rotated, never by a list.

use axum::extract::State;
use axum::http::StatusCode;
use kernel::error::codes;
use kernel::http::{Json, PageQuery, Path, Query, cursor};
use kernel::outbox::{Attempt, Delivery, NewWebhook, OutboxError, Webhook};
use kernel::problem::ProblemBody;
use kernel::time::rfc3339;
use kernel::{Action, DbError, Kernel, Principal, Problem};
use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;

use super::events;

/// Types that one webhook may name.
const MAX_TYPES: usize = 100;
/// Longest name of a type.
const MAX_TYPE: usize = 64;

/// A webhook to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WebhookRequest {
    /// Where the events are posted: http or https.
    url: String,
    /// Types such as `call.completed` or `call.*`; absent or empty = all.
    #[serde(default)]
    events: Vec<String>,
}

/// A webhook as it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WebhookBody {
    id: String,
    url: String,
    /// Empty = all types.
    events: Vec<String>,
    created_at: String,
    /// Set when the endpoint answered 410, or by hand; nothing is sent then.
    disabled_at: Option<String>,
}

impl From<Webhook> for WebhookBody {
    fn from(webhook: Webhook) -> Self {
        Self {
            id: webhook.id,
            url: webhook.url,
            events: webhook.events,
            created_at: rfc3339(webhook.created_ms),
            disabled_at: webhook.disabled_ms.map(rfc3339),
        }
    }
}

/// The webhooks of an organisation.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WebhookList {
    webhooks: Vec<WebhookBody>,
}

/// A webhook that was just made, with its secret.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WebhookMade {
    #[serde(flatten)]
    webhook: WebhookBody,
    /// `whsec_...`, shown only now.
    secret: String,
}

/// A signing secret.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SecretBody {
    /// `whsec_...`
    secret: String,
}

/// One event on its way to a webhook.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeliveryBody {
    /// Names the delivery in `replay`.
    id: String,
    /// The event's id.
    event: String,
    #[serde(rename = "type")]
    kind: String,
    key: String,
    /// `fast` or `slow` (on its way), `done`, `refused`, `expired` or `dropped`.
    state: String,
    /// When it is tried next, while it is on its way.
    due_at: Option<String>,
    attempts: Vec<AttemptBody>,
}

impl From<Delivery> for DeliveryBody {
    fn from(delivery: Delivery) -> Self {
        let waits = matches!(delivery.state.as_str(), "fast" | "slow");
        Self {
            id: delivery.position.to_string(),
            event: delivery.event,
            kind: delivery.kind,
            key: delivery.key,
            state: delivery.state,
            due_at: waits.then(|| rfc3339(delivery.due_ms)),
            attempts: delivery.attempts.into_iter().map(AttemptBody::from).collect(),
        }
    }
}

/// One try.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AttemptBody {
    at: String,
    /// How long it took, in milliseconds.
    duration_ms: i64,
    /// The HTTP status that came back.
    status: Option<u16>,
    /// Why none did.
    error: Option<String>,
}

impl From<Attempt> for AttemptBody {
    fn from(attempt: Attempt) -> Self {
        Self { at: rfc3339(attempt.at), duration_ms: attempt.ms, status: attempt.status, error: attempt.error }
    }
}

/// Deliveries, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeliveryList {
    deliveries: Vec<DeliveryBody>,
    /// Where older ones go on; absent at the end.
    cursor: Option<String>,
}

/// The organisation's webhooks.
#[utoipa::path(get, path = "/v1/webhooks", tag = "webhooks", responses(
    (status = 200, description = "all of them", body = WebhookList),
    (status = 401, description = "no good credential", body = ProblemBody),
))]
pub(super) async fn list(State(kernel): State<Kernel>, principal: Principal) -> Result<Json<WebhookList>, Problem> {
    let org = principal.authorize(Action::ReadKeys)?;
    let webhooks = kernel.outbox.webhooks(org).await.map_err(Problem::internal)?;
    Ok(Json(WebhookList { webhooks: webhooks.into_iter().map(WebhookBody::from).collect() }))
}

/// Sends the organisation's events to a URL. The answer holds the signing secret, once.
#[utoipa::path(post, path = "/v1/webhooks", tag = "webhooks", request_body = WebhookRequest, responses(
    (status = 201, description = "made", body = WebhookMade),
    (status = 401, description = "no good credential", body = ProblemBody),
    (status = 422, description = "a field is refused", body = ProblemBody),
))]
pub(super) async fn create(
    State(kernel): State<Kernel>,
    principal: Principal,
    Json(request): Json<WebhookRequest>,
) -> Result<(StatusCode, Json<WebhookMade>), Problem> {
    let org = principal.authorize(Action::ManageKeys)?;
    let new = check_webhook(&kernel, &request.url, request.events)?;
    let (webhook, key) = kernel.outbox.add_webhook(org, new).await.map_err(problem)?;
    Ok((StatusCode::CREATED, Json(WebhookMade { webhook: webhook.into(), secret: key.expose() })))
}

/// Judges what can be said of a webhook before it is called; its name is resolved and judged at each delivery.
///
/// # Errors
/// 422 with the field that is refused.
pub(crate) fn check_webhook(kernel: &Kernel, url: &str, events: Vec<String>) -> Result<NewWebhook, Problem> {
    let url = Url::parse(url).map_err(|error| Problem::field("/url", "invalid_url", error.to_string()))?;
    kernel.egress.judge_literal(&url).map_err(|error| Problem::field("/url", "url_refused", error.to_string()))?;
    if events.len() > MAX_TYPES {
        return Err(Problem::field("/events", "limit_exceeded", format!("at most {MAX_TYPES} types")));
    }
    for (index, kind) in events.iter().enumerate() {
        if !is_type(kind) {
            let pointer = format!("/events/{index}");
            return Err(Problem::field(pointer, "invalid", "a type such as call.completed or call.*"));
        }
    }
    Ok(NewWebhook { url, method: "POST", events })
}

fn is_type(text: &str) -> bool {
    (1..=MAX_TYPE).contains(&text.len())
        && text.strip_suffix('*').unwrap_or(text).bytes().all(|byte| byte.is_ascii_lowercase() || b"._".contains(&byte))
}

/// One webhook.
#[utoipa::path(get, path = "/v1/webhooks/{id}", tag = "webhooks", params(("id" = String, Path)), responses(
    (status = 200, description = "as it is", body = WebhookBody),
    (status = 404, description = "the organisation has none of this id", body = ProblemBody),
))]
pub(super) async fn read(
    State(kernel): State<Kernel>,
    principal: Principal,
    Path(id): Path<String>,
) -> Result<Json<WebhookBody>, Problem> {
    let org = principal.authorize(Action::ReadKeys)?;
    Ok(Json(find(&kernel, org, &id).await?.into()))
}

async fn find(kernel: &Kernel, org: &str, id: &str) -> Result<Webhook, Problem> {
    kernel.outbox.webhook(org, id).await.map_err(Problem::internal)?.ok_or_else(Problem::not_found)
}

/// Removes a webhook; what is still on its way to it is dropped.
#[utoipa::path(delete, path = "/v1/webhooks/{id}", tag = "webhooks", params(("id" = String, Path)), responses(
    (status = 204, description = "gone"),
    (status = 404, description = "the organisation has none of this id", body = ProblemBody),
))]
pub(super) async fn remove(
    State(kernel): State<Kernel>,
    principal: Principal,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let org = principal.authorize(Action::ManageKeys)?;
    done(kernel.outbox.remove_webhook(org, &id).await)
}

/// Sends to a webhook again that was disabled.
#[utoipa::path(post, path = "/v1/webhooks/{id}/enable", tag = "webhooks", params(("id" = String, Path)), responses(
    (status = 204, description = "enabled"),
    (status = 404, description = "the organisation has none of this id", body = ProblemBody),
))]
pub(super) async fn enable(
    State(kernel): State<Kernel>,
    principal: Principal,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let org = principal.authorize(Action::ManageKeys)?;
    done(kernel.outbox.enable_webhook(org, &id).await)
}

/// Sends nothing to a webhook until it is enabled again.
#[utoipa::path(post, path = "/v1/webhooks/{id}/disable", tag = "webhooks", params(("id" = String, Path)), responses(
    (status = 204, description = "disabled"),
    (status = 404, description = "the organisation has none of this id", body = ProblemBody),
))]
pub(super) async fn disable(
    State(kernel): State<Kernel>,
    principal: Principal,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let org = principal.authorize(Action::ManageKeys)?;
    done(kernel.outbox.disable_webhook(org, &id).await)
}

fn done(changed: Result<bool, DbError>) -> Result<StatusCode, Problem> {
    match changed {
        Ok(true) => Ok(StatusCode::NO_CONTENT),
        Ok(false) => Err(Problem::not_found()),
        Err(error) => Err(Problem::internal(error)),
    }
}

/// Makes a new signing secret. The old one signs beside it for 24 hours.
#[utoipa::path(post, path = "/v1/webhooks/{id}/rotate", tag = "webhooks", params(("id" = String, Path)), responses(
    (status = 200, description = "the new secret, shown only now", body = SecretBody),
    (status = 404, description = "the organisation has none of this id", body = ProblemBody),
))]
pub(super) async fn rotate(
    State(kernel): State<Kernel>,
    principal: Principal,
    Path(id): Path<String>,
) -> Result<Json<SecretBody>, Problem> {
    let org = principal.authorize(Action::ManageKeys)?;
    find(&kernel, org, &id).await?;
    let key = kernel.outbox.rotate_secret(org, &id).await.map_err(problem)?;
    Ok(Json(SecretBody { secret: key.expose() }))
}

/// The organisation's signing secret: it signs what goes to a flow's `publish` URL that names no secret.
#[utoipa::path(get, path = "/v1/webhooks/secret", tag = "webhooks", responses(
    (status = 200, description = "the secret", body = SecretBody),
    (status = 401, description = "no good credential", body = ProblemBody),
))]
pub(super) async fn organisation_secret(
    State(kernel): State<Kernel>,
    principal: Principal,
) -> Result<Json<SecretBody>, Problem> {
    let org = principal.authorize(Action::ManageKeys)?;
    let key = kernel.outbox.org_secret(org).await.map_err(problem)?;
    Ok(Json(SecretBody { secret: key.expose() }))
}

/// Makes a new signing secret of the organisation. The old one signs beside it for 24 hours.
#[utoipa::path(post, path = "/v1/webhooks/secret/rotate", tag = "webhooks", responses(
    (status = 200, description = "the new secret", body = SecretBody),
    (status = 401, description = "no good credential", body = ProblemBody),
))]
pub(super) async fn rotate_organisation_secret(
    State(kernel): State<Kernel>,
    principal: Principal,
) -> Result<Json<SecretBody>, Problem> {
    let org = principal.authorize(Action::ManageKeys)?;
    let key = kernel.outbox.rotate_secret(org, org).await.map_err(problem)?;
    Ok(Json(SecretBody { secret: key.expose() }))
}

/// What became of the events that were sent to a webhook, newest first, with every attempt.
#[utoipa::path(get, path = "/v1/webhooks/{id}/deliveries", tag = "webhooks",
    params(("id" = String, Path), PageQuery), responses(
    (status = 200, description = "a page", body = DeliveryList),
    (status = 404, description = "the organisation has none of this id", body = ProblemBody),
))]
pub(super) async fn deliveries(
    State(kernel): State<Kernel>,
    principal: Principal,
    Path(id): Path<String>,
    Query(page): Query<PageQuery>,
) -> Result<Json<DeliveryList>, Problem> {
    let org = principal.authorize(Action::ReadKeys)?;
    find(&kernel, org, &id).await?;
    let limit = u32::try_from(page.limit()?).map_err(Problem::internal)?.min(kernel::outbox::MAX_PAGE);
    let before = events::position(&page)?;
    let found = kernel.outbox.deliveries(org, &id, before, limit).await.map_err(Problem::internal)?;
    let full = found.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
    let next = found.last().filter(|_| full).map(|last| cursor(&last.position.to_string()));
    Ok(Json(DeliveryList { deliveries: found.into_iter().map(DeliveryBody::from).collect(), cursor: next }))
}

/// Sends one delivery again, whatever became of it. The event's id stays, so a receiver knows it.
#[utoipa::path(post, path = "/v1/webhooks/{id}/deliveries/{delivery}/replay", tag = "webhooks",
    params(("id" = String, Path), ("delivery" = String, Path)), responses(
    (status = 202, description = "it is on its way"),
    (status = 404, description = "no such delivery", body = ProblemBody),
))]
pub(super) async fn replay(
    State(kernel): State<Kernel>,
    principal: Principal,
    Path((id, delivery)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let org = principal.authorize(Action::ManageKeys)?;
    let position = delivery.parse().map_err(|_| Problem::not_found())?;
    match kernel.outbox.replay(org, &id, position).await.map_err(Problem::internal)? {
        true => Ok(StatusCode::ACCEPTED),
        false => Err(Problem::not_found()),
    }
}

fn problem(error: OutboxError) -> Problem {
    match error {
        OutboxError::NotFound => Problem::not_found(),
        OutboxError::TooMany => Problem::new(codes::CONFLICT).detail(error.to_string()),
        OutboxError::Secret(_) | OutboxError::Db(_) => Problem::internal(error),
    }
}
