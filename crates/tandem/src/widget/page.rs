//! The page that holds the chat: in the frame of a widget, and full page by link.

use askama::Template;
use axum::extract::State as Given;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderName, HeaderValue};
use axum::response::{Html, IntoResponse, Response};
use kernel::http::{Path, Query, Tenant};
use kernel::{Kernel, Problem};
use serde::Deserialize;

use crate::chat::visit::Door;
use crate::chat::visit::words::LOCALES;
use crate::chat::{ChatError, Chats};
use crate::console::assets;

/// What a page of the chat may load; who may hold it in a frame comes at the end.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors ";
/// Beginning of an application's id.
const APP_ID: &str = "app_";
/// Longest name of a product in an address, characters.
const MAX_PRODUCT: usize = 200;

#[derive(Template)]
#[template(path = "widget/page.html")]
struct Page<'a> {
    title: &'a str,
    app: &'a str,
    /// `widget` in a frame, `page` alone.
    mode: &'static str,
    locale: &'a str,
    product: Option<&'a str>,
    link: Option<&'a str>,
    /// JSON: from where a page around it may speak to it.
    origins: String,
}

impl Page<'_> {
    fn asset(&self, name: &str) -> &'static str {
        assets::url(name)
    }
}

/// What a page may be asked for.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    locale: Option<String>,
    product: Option<String>,
    /// Of a QR code: the application whose chat it opens.
    app: Option<String>,
}

impl Asked {
    /// The language, if the chat speaks it.
    fn locale(&self) -> &str {
        let asked = self.locale.as_deref().unwrap_or_default();
        let bare = asked.split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase();
        LOCALES.iter().copied().find(|known| *known == bare).unwrap_or("auto")
    }
}

/// `GET /w/<application>/frame`
pub(super) async fn frame(
    Given(chats): Given<Chats>,
    Path(app): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    let door = chats.door(&app).await?;
    show(&door, "widget", None, asked.product.as_deref(), asked.locale())
}

/// `GET /c/<link>`: an application's id, or the id of a QR code.
pub(super) async fn by_link(
    given: Given<Chats>,
    kernel: Given<Kernel>,
    tenant: Result<Tenant, Problem>,
    Path(link): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    let product = asked.product.clone();
    full_page(given, kernel, tenant, &link, product, &asked).await
}

/// `GET /c/<link>/<product>`: about this product; `SALESAGENT` is the page of the sales agent.
pub(super) async fn by_link_about(
    given: Given<Chats>,
    kernel: Given<Kernel>,
    tenant: Result<Tenant, Problem>,
    Path((link, product)): Path<(String, String)>,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    full_page(given, kernel, tenant, &link, Some(product), &asked).await
}

async fn full_page(
    Given(chats): Given<Chats>,
    Given(kernel): Given<Kernel>,
    tenant: Result<Tenant, Problem>,
    link: &str,
    product: Option<String>,
    asked: &Asked,
) -> Result<Response, Problem> {
    let product = product.filter(|product| product.chars().count() <= MAX_PRODUCT);
    if link.starts_with(APP_ID) {
        let door = chats.door(link).await?;
        return show(&door, "page", None, product.as_deref(), asked.locale());
    }
    // An address that names an application means that one's chat; else it is the organisation's first.
    let door = match asked.app.as_deref() {
        Some(app) => chats.door(app).await?,
        None => {
            let Tenant(org) = tenant?;
            let org = org.id.into();
            let app = chats.default_app(&org).await?.ok_or(ChatError::NotFound)?;
            chats.door_of(org, kernel.app(&app.org, &app.id).await?).await?
        }
    };
    // Ids of another organisation are none.
    let qr = chats.qr_id(&door.org, link).await.map_err(Problem::internal)?.ok_or_else(Problem::not_found)?;
    let product = product.or(Some(qr.product).filter(|product| !product.is_empty()));
    show(&door, "page", Some(&qr.id), product.as_deref(), asked.locale())
}

fn show(
    door: &Door,
    mode: &'static str,
    link: Option<&str>,
    product: Option<&str>,
    locale: &str,
) -> Result<Response, Problem> {
    let any = door.chat.allows_origin("*");
    let origins: Vec<&str> =
        if any { vec!["*"] } else { door.chat.allowed_origins.iter().map(String::as_str).collect() };
    let page = Page {
        title: door.title(),
        app: &door.app.id,
        mode,
        locale,
        product,
        link,
        origins: serde_json::to_string(&origins).map_err(Problem::internal)?,
    };
    // Alone it is held by nobody: whoever frames it is a widget.
    let ancestors = match mode {
        "page" => "'none'".to_owned(),
        _ if any => "*".to_owned(),
        _ => ["'self'"].into_iter().chain(origins.iter().copied()).collect::<Vec<_>>().join(" "),
    };
    let mut response = Html(page.render().map_err(Problem::internal)?).into_response();
    let headers = response.headers_mut();
    let policy = HeaderValue::try_from(format!("{POLICY}{ancestors}")).map_err(Problem::internal)?;
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("strict-origin-when-cross-origin"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("cross-origin"));
    Ok(response)
}
