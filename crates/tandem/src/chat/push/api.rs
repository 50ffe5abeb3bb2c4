//! `/v1/chat/push`: a browser says that it wants to be told, and that it does no longer.

use axum::extract::{FromRef, FromRequestParts, State as Given};
use axum::http::StatusCode;
use axum::http::request::Parts;
use kernel::error::codes;
use kernel::http::{Json, bearer_token};
use kernel::push::{BadKey, BrowserKeys, Holder, NewSubscription};
use kernel::secret::token_hash;
use kernel::{Credential, Kernel, Principal, Problem, RecordError};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::chat::api::Caller;
use crate::chat::model::Id;
use crate::chat::visit::words::LOCALES;
use crate::chat::{Chats, TOKEN_LIFE_MS, Wide};

/// Beginning of the id of a personal token; other credentials of a person are sessions.
const PERSONAL_TOKEN: &str = "ptk_";
/// Longest path to come back to, bytes.
const MAX_PAGE: usize = 500;
/// Pages of the chat.
const CHAT_PAGE: &str = "/c/";

/// The routes of web push.
pub(in crate::chat) fn routes<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    Chats: FromRef<S>,
    Kernel: FromRef<S>,
{
    OpenApiRouter::new().routes(routes!(key, subscribe, unsubscribe))
}

/// Who may be told: a visitor, or a person who answers; and with which credential.
struct Subscriber {
    org: Id,
    owner: Id,
    holder: Holder,
}

impl<S> FromRequestParts<S> for Subscriber
where
    S: Send + Sync,
    Chats: FromRef<S>,
    Kernel: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let chats = Chats::from_ref(state);
        match Caller::from_request_parts(parts, state).await? {
            Caller::Visitor(visitor) => {
                let token = bearer_token(&parts.headers).unwrap_or_default();
                let until_ms = chats.now_ms() + TOKEN_LIFE_MS;
                let holder = Holder::Desk(token_hash(token), until_ms);
                Ok(Self { org: visitor.org, owner: visitor.id, holder })
            }
            Caller::Support(asker) => {
                let Credential { id, principal } = Credential::from_request_parts(parts, state).await?;
                chats.may_everywhere(&asker, Wide::OpenForOthers).await?;
                let Principal::Person { org, person, .. } = principal else {
                    return Err(Problem::new(codes::FORBIDDEN).detail("people who answer, and visitors, are told"));
                };
                let is_token = id.starts_with(PERSONAL_TOKEN);
                let holder = if is_token { Holder::Token(id.to_string()) } else { Holder::Session(id.to_string()) };
                Ok(Self { org, owner: person, holder })
            }
            Caller::Page { .. } => Err(Problem::new(codes::FORBIDDEN)),
        }
    }
}

/// The server's public key.
#[derive(Debug, Serialize, ToSchema)]
struct KeyView {
    /// What a browser calls `applicationServerKey`, in base64url.
    public_key: String,
}

/// The keys by which a browser reads what it is told.
#[derive(Debug, Deserialize, ToSchema)]
struct KeysBody {
    /// Its public key, base64url.
    p256dh: String,
    /// Its authentication secret, base64url.
    auth: String,
}

/// A browser's subscription, as `PushSubscription.toJSON()` gives it.
#[derive(Debug, Deserialize, ToSchema)]
struct SubscribeBody {
    /// Where its push service takes messages for it; https.
    endpoint: String,
    /// By which it reads them.
    keys: KeysBody,
    /// When the browser itself ends it, in milliseconds since 1970.
    #[serde(default, rename = "expirationTime")]
    expiration_time: Option<f64>,
    /// The language in which it is told.
    #[serde(default)]
    locale: Option<String>,
    /// The path of the chat's page to come back to: `/c/...`; for visitors.
    #[serde(default)]
    page: Option<String>,
}

/// A browser that is told no more.
#[derive(Debug, Deserialize, ToSchema)]
struct UnsubscribeBody {
    /// As it was given.
    endpoint: String,
}

/// Read the key by which browsers subscribe to this server
#[utoipa::path(
    get,
    path = "/v1/chat/push",
    tag = "chat",
    responses((status = 200, description = "The key", body = KeyView)),
    security(("bearer" = []))
)]
async fn key(Given(kernel): Given<Kernel>, _whose: Subscriber) -> Result<Json<KeyView>, Problem> {
    Ok(Json(KeyView { public_key: kernel.push_public_key().await? }))
}

/// Let a browser be told of news while no page is open
#[utoipa::path(
    post,
    path = "/v1/chat/push",
    tag = "chat",
    request_body = SubscribeBody,
    responses(
        (status = 204, description = "It is told from now on"),
        (status = 422, description = "The address or a key is none"),
        (status = 429, description = "Too many at once"),
    ),
    security(("bearer" = []))
)]
async fn subscribe(
    Given(kernel): Given<Kernel>,
    Given(chats): Given<Chats>,
    Subscriber { org, owner, holder }: Subscriber,
    Json(body): Json<SubscribeBody>,
) -> Result<StatusCode, Problem> {
    let keys = BrowserKeys::read(&body.keys.p256dh, &body.keys.auth).map_err(|bad| {
        let pointer = match bad {
            BadKey::P256dh => "/keys/p256dh",
            BadKey::Auth => "/keys/auth",
        };
        Problem::field(pointer, "invalid", bad.to_string())
    })?;
    let page = body.page.unwrap_or_default();
    if !(page.is_empty() || is_chat_page(&page)) {
        return Err(Problem::field("/page", "invalid", "the path of a page of the chat: /c/..."));
    }
    let locale = body.locale.unwrap_or_default();
    let locale = LOCALES.iter().copied().find(|known| *known == locale).unwrap_or("en");
    #[expect(clippy::cast_possible_truncation, reason = "a time too far away is cut to the furthest one")]
    let until_ms = body.expiration_time.map(|time| time as i64);
    chats.meter().act(&owner, chats.now_ms())?;
    let new = NewSubscription {
        owner: owner.to_string(),
        holder,
        endpoint: body.endpoint,
        keys,
        until_ms,
        locale: locale.to_owned(),
        page,
    };
    kernel.subscribe_push(&org, new).await.map_err(|error| match error {
        RecordError::Invalid { field, message } => Problem::field(format!("/{field}"), "invalid", message),
        error => error.into(),
    })?;
    Ok(StatusCode::NO_CONTENT)
}

/// Let a browser be told no more
#[utoipa::path(
    delete,
    path = "/v1/chat/push",
    tag = "chat",
    request_body = UnsubscribeBody,
    responses((status = 204, description = "It is told no more, or never was")),
    security(("bearer" = []))
)]
async fn unsubscribe(
    Given(kernel): Given<Kernel>,
    Subscriber { org, owner, .. }: Subscriber,
    Json(body): Json<UnsubscribeBody>,
) -> Result<StatusCode, Problem> {
    kernel.unsubscribe_push(&org, &owner, &body.endpoint).await.map_err(Problem::internal)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Whether a path is one of the chat's pages of this server: nobody is led elsewhere by it.
fn is_chat_page(path: &str) -> bool {
    path.len() <= MAX_PAGE
        && path.starts_with(CHAT_PAGE)
        && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
}
