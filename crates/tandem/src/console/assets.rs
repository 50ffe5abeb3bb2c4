//! Stylesheets and modules, inside the binary.
//!
//! Invariant: an asset's address names its content, so that a browser keeps it for ever and never shows an old one.

use std::collections::HashMap;
use std::sync::LazyLock;

use axum::Router;
use axum::extract::{Path, Query};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use kernel::{Problem, secret};

use crate::chat::visit::words;

/// Characters of a hash in an address.
const HASH_LENGTH: usize = 16;
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";
const JSON: &str = "application/json";
/// The service worker of web push, for `/console/` and `/c/`.
const PUSH_WORKER: &str = "/push-worker.js";

/// A file that pages load.
struct Asset {
    kind: &'static str,
    text: &'static str,
    url: String,
    /// The hash of its text.
    hash: String,
}

/// One line an asset: its name, its type, its text.
macro_rules! assets {
    ($($name:literal $kind:ident),+ $(,)?) => {
        [$(($name.to_owned(), $kind, include_str!(concat!("../../web/assets/", $name)))),+]
    };
}

static ASSETS: LazyLock<HashMap<String, Asset>> = LazyLock::new(|| {
    let files = assets![
        "app.css" CSS,
        "favicon.svg" SVG,
        "console.js" SCRIPT,
        "dock.js" SCRIPT,
        "editor.js" SCRIPT,
        "graph.js" SCRIPT,
        "tap.js" SCRIPT,
        "tap-worker.js" SCRIPT,
        "wave.js" SCRIPT,
        "make.js" SCRIPT,
        "chat.js" SCRIPT,
        "chat-acts.js" SCRIPT,
        "chat-api.js" SCRIPT,
        "chat-call.js" SCRIPT,
        "chat-calling.js" SCRIPT,
        "chat-composer.js" SCRIPT,
        "chat-forms.js" SCRIPT,
        "chat-line.js" SCRIPT,
        "chat-log.js" SCRIPT,
        "chat-look.js" SCRIPT,
        "chat-memory.js" SCRIPT,
        "chat-name.js" SCRIPT,
        "chat-page.js" SCRIPT,
        "chat-pending.js" SCRIPT,
        "chat-push.js" SCRIPT,
        "chat-retry.js" SCRIPT,
        "chat-stay.js" SCRIPT,
        "chat-stream.js" SCRIPT,
        "chat-talk.js" SCRIPT,
        "chat-text.js" SCRIPT,
        "chat-thread.js" SCRIPT,
        "chat-view.js" SCRIPT,
        "chat-words.js" SCRIPT,
        "chat-writing.js" SCRIPT,
        "chat.css" CSS,
        "chat-page.css" CSS,
        "inbox.js" SCRIPT,
        "inbox-alerts.js" SCRIPT,
        "inbox-api.js" SCRIPT,
        "inbox-call.js" SCRIPT,
        "inbox-canned.js" SCRIPT,
        "inbox-card.js" SCRIPT,
        "inbox-floor.js" SCRIPT,
        "inbox-keys.js" SCRIPT,
        "inbox-list.js" SCRIPT,
        "inbox-log.js" SCRIPT,
        "inbox-rooms.js" SCRIPT,
        "inbox-sheets.js" SCRIPT,
        "inbox-talk.js" SCRIPT,
        "inbox.css" CSS,
        "htmx.min.js" SCRIPT,
        "party.css" CSS,
        "party.js" SCRIPT,
        "party-entry.js" SCRIPT,
        "push.js" SCRIPT,
        "push-worker.js" SCRIPT,
        "replies.js" SCRIPT,
        "replies-steps.js" SCRIPT,
        "phone.js" SCRIPT,
        "phone-call.js" SCRIPT,
        "phone-line.js" SCRIPT,
        "phone-sound.js" SCRIPT,
        "phone-view.js" SCRIPT,
        "phone.css" CSS,
    ];
    let words = words::FILES.iter().map(|(locale, text)| (format!("chat-words-{locale}.json"), JSON, *text));
    let with_address = |(name, kind, text): (String, &'static str, &'static str)| {
        let hash: String = secret::token_hash(text).chars().take(HASH_LENGTH).collect();
        let url = format!("/assets/{name}?v={hash}");
        (name, Asset { kind, text, url, hash })
    };
    files.into_iter().chain(words).map(with_address).collect()
});

/// The address of an asset; of one that there is not, an address that answers 404.
pub fn url(name: &str) -> &'static str {
    ASSETS.get(name).map_or("/assets/missing", |asset| asset.url.as_str())
}

/// Serves them to anybody.
pub(super) fn router() -> Router {
    // A service worker speaks for the pages below its own address.
    Router::new().route("/assets/{name}", get(serve)).route(PUSH_WORKER, get(serve_push_worker))
}

async fn serve_push_worker(version: Query<Version>, headers: HeaderMap) -> Response {
    serve(Path(PUSH_WORKER.trim_start_matches('/').to_owned()), version, headers).await
}

/// Which version of an asset is asked for.
#[derive(serde::Deserialize)]
struct Version {
    v: Option<String>,
}

/// For ever by the hash; a module that another one imports has no hash in its address, and is asked for anew each time.
async fn serve(Path(name): Path<String>, Query(version): Query<Version>, headers: HeaderMap) -> Response {
    let Some(asset) = ASSETS.get(name.as_str()) else {
        return Problem::not_found().into_response();
    };
    let is_named = version.v.as_ref() == Some(&asset.hash);
    let keep = if is_named { "public, max-age=31536000, immutable" } else { "no-cache" };
    let tag = format!("\"{}\"", asset.hash);
    let is_known = headers.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    // Pages of other sites load the elements too; everybody may read what is the same for everybody.
    let any = "*".to_owned();
    let headers = [(CACHE_CONTROL, keep.to_owned()), (ETAG, tag), (ACCESS_CONTROL_ALLOW_ORIGIN, any)];
    if is_known {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    (headers, [(CONTENT_TYPE, asset.kind), (X_CONTENT_TYPE_OPTIONS, "nosniff")], asset.text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_changes_with_the_content() {
        let addresses: std::collections::HashSet<&str> = ASSETS.values().map(|asset| asset.url.as_str()).collect();
        assert_eq!(addresses.len(), ASSETS.len());
        assert!(url("app.css").starts_with("/assets/app.css?v="));
        assert_eq!(url("nothing.css"), "/assets/missing");
    }

    #[tokio::test]
    async fn only_an_address_with_the_right_hash_is_kept_for_ever() {
        let ask = async |version: Option<&str>, known: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(IF_NONE_MATCH, known.parse().unwrap());
            let version = Query(Version { v: version.map(str::to_owned) });
            let answer = serve(Path("phone-line.js".to_owned()), version, headers).await;
            let header = |name| answer.headers()[name].to_str().unwrap().to_owned();
            (answer.status().as_u16(), header(CACHE_CONTROL), header(ETAG))
        };
        let (status, keep, tag) = ask(None, "").await;
        assert_eq!((status, &*keep), (200, "no-cache"));
        assert_eq!(ask(None, &tag).await.0, 304);
        assert_eq!(ask(Some("old"), "").await.1, "no-cache");
        let (_, keep, _) = ask(Some(tag.trim_matches('"')), "").await;
        assert!(keep.contains("immutable"), "{keep}");
    }
}
