//! The page that holds the chat: in the frame of a widget, and full page by link.

use askama::Template;
use axum::extract::State as Given;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERER, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{Html, IntoResponse, Response};
use kernel::http::{Client, Path, Query, Tenant};
use kernel::{Kernel, Problem};
use serde::Deserialize;
use url::Url;

use crate::chat::visit::Door;
use crate::chat::visit::words::LOCALES;
use crate::chat::{ChatError, Chats};
use crate::console::assets;

/// What a page of the chat may load; who may hold it in a frame comes at the end.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self'; \
    base-uri 'none'; form-action 'none'; ";
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
    /// Of a frame: the origin of the page around it.
    host: Option<String>,
}

/// Longest language tag, characters.
const MAX_TAG: usize = 35;

impl Asked {
    /// The language, if the chat speaks it, with its region: times are written in that one's way.
    fn locale(&self) -> &str {
        let asked = self.locale.as_deref().unwrap_or_default();
        let bare = asked.split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase();
        let is_tag =
            asked.len() <= MAX_TAG && asked.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        if is_tag && LOCALES.contains(&bare.as_str()) { asked } else { "auto" }
    }
}

/// Who asks for a page, and from where.
#[derive(Debug)]
pub(super) struct From {
    /// As this page's own socket has it: `wss://chat.example`.
    socket: String,
    /// The origin of the page around it, as that one says.
    host: Option<String>,
}

impl From {
    fn of(kernel: &Kernel, client: Client, headers: &HeaderMap, asked: &Asked) -> Self {
        let origin = |text: &str| Some(Url::parse(text).ok()?.origin().ascii_serialization());
        let own = origin(&kernel.base_url(client, headers)).unwrap_or_default();
        let referer = || headers.get(REFERER).and_then(|referer| origin(referer.to_str().ok()?));
        Self { socket: own.replacen("http", "ws", 1), host: asked.host.clone().or_else(referer) }
    }

    /// The listed origins that are told to this page: the one that holds it, and no other.
    fn known<'a>(&self, listed: &'a [String]) -> Vec<&'a str> {
        let is_host = |origin: &&'a String| self.host.as_ref().is_some_and(|host| host.eq_ignore_ascii_case(origin));
        listed.iter().filter(is_host).map(String::as_str).collect()
    }
}

/// `GET /w/<application>/frame`
pub(super) async fn frame(
    Given(chats): Given<Chats>,
    client: Client,
    headers: HeaderMap,
    Path(app): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    let door = chats.door(&app).await?;
    let from = From::of(chats.kernel(), client, &headers, &asked);
    show(&door, "widget", None, asked.product.as_deref(), asked.locale(), &from)
}

/// `GET /c/<link>`: an application's id, or the id of a QR code.
pub(super) async fn by_link(
    given: Given<Chats>,
    tenant: Result<Tenant, Problem>,
    client: Client,
    headers: HeaderMap,
    Path(link): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    let product = asked.product.clone();
    let from = From::of(given.kernel(), client, &headers, &asked);
    full_page(given, tenant, &link, product, &asked, &from).await
}

/// `GET /c/<link>/<product>`: about this product; `SALESAGENT` is the page of the sales agent.
pub(super) async fn by_link_about(
    given: Given<Chats>,
    tenant: Result<Tenant, Problem>,
    client: Client,
    headers: HeaderMap,
    Path((link, product)): Path<(String, String)>,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    let from = From::of(given.kernel(), client, &headers, &asked);
    full_page(given, tenant, &link, Some(product), &asked, &from).await
}

async fn full_page(
    Given(chats): Given<Chats>,
    tenant: Result<Tenant, Problem>,
    link: &str,
    product: Option<String>,
    asked: &Asked,
    from: &From,
) -> Result<Response, Problem> {
    let product = product.filter(|product| product.chars().count() <= MAX_PRODUCT);
    if link.starts_with(APP_ID) {
        let door = chats.door(link).await?;
        return show(&door, "page", None, product.as_deref(), asked.locale(), from);
    }
    // An address that names an application means that one's chat; else it is the organisation's first.
    let door = match asked.app.as_deref() {
        Some(app) => chats.door(app).await?,
        None => {
            let Tenant(org) = tenant?;
            let org = org.id.into();
            let app = chats.default_app(&org).await?.ok_or(ChatError::NotFound)?;
            chats.door_of(org, chats.kernel().app(&app.org, &app.id).await?).await?
        }
    };
    // Ids of another organisation are none.
    let qr = chats.qr_id(&door.org, link).await.map_err(Problem::internal)?.ok_or_else(Problem::not_found)?;
    let product = product.or(Some(qr.product).filter(|product| !product.is_empty()));
    show(&door, "page", Some(&qr.id), product.as_deref(), asked.locale(), from)
}

fn show(
    door: &Door,
    mode: &'static str,
    link: Option<&str>,
    product: Option<&str>,
    locale: &str,
    from: &From,
) -> Result<Response, Problem> {
    let any = door.chat.allows_origin("*");
    let origins: Vec<&str> = if any { vec!["*"] } else { from.known(&door.chat.allowed_origins) };
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
    // Some browsers do not take 'self' for a socket.
    let policy = format!("{POLICY}connect-src 'self' {}; frame-ancestors {ancestors}", from.socket);
    let policy = HeaderValue::try_from(policy).map_err(Problem::internal)?;
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("strict-origin-when-cross-origin"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("cross-origin"));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_keeps_its_region_and_is_a_tag() {
        let locale = |text: &str| Asked { locale: Some(text.to_owned()), ..Asked::default() }.locale().to_owned();
        assert_eq!((locale("en-GB"), locale("pt_BR"), locale("de")), ("en-GB".into(), "pt_BR".into(), "de".into()));
        for bad in ["", "xx-GB", "en-\"", &format!("en-{}", "a".repeat(40))] {
            assert_eq!(locale(bad), "auto", "{bad}");
        }
    }

    #[test]
    fn a_page_is_told_the_one_that_holds_it_and_no_other() {
        let listed = ["https://shop.example".to_owned(), "https://stage.example".to_owned()];
        let known = |host: Option<&str>| {
            From { socket: String::new(), host: host.map(str::to_owned) }.known(&listed).into_iter().collect::<Vec<_>>()
        };
        assert_eq!(known(Some("https://shop.example")), ["https://shop.example"]);
        for stranger in [None, Some("https://evil.example"), Some("https://shop.example.evil.example")] {
            assert!(known(stranger).is_empty(), "{stranger:?}");
        }
    }
}
