//! Stylesheets and modules, inside the binary.
//!
//! Invariant: an asset's address names its content, so that a browser keeps it for ever and never shows an old one.

use std::collections::HashMap;
use std::sync::LazyLock;

use axum::Router;
use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use kernel::{Problem, secret};

/// Characters of a hash in an address.
const HASH_LENGTH: usize = 16;
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// A file that pages load.
struct Asset {
    kind: &'static str,
    text: &'static str,
    url: String,
}

/// One line an asset: its name, its type, its text.
macro_rules! assets {
    ($($name:literal $kind:ident),+ $(,)?) => {
        [$(($name, $kind, include_str!(concat!("../../web/assets/", $name)))),+]
    };
}

static ASSETS: LazyLock<HashMap<&'static str, Asset>> = LazyLock::new(|| {
    let files = assets![
        "app.css" CSS,
        "favicon.svg" SVG,
        "console.js" SCRIPT,
        "htmx.min.js" SCRIPT,
    ];
    let with_address = |(name, kind, text): (&'static str, &'static str, &'static str)| {
        let hash: String = secret::token_hash(text).chars().take(HASH_LENGTH).collect();
        (name, Asset { kind, text, url: format!("/assets/{name}?v={hash}") })
    };
    files.into_iter().map(with_address).collect()
});

/// The address of an asset; of one that there is not, an address that answers 404.
pub fn url(name: &str) -> &'static str {
    ASSETS.get(name).map_or("/assets/missing", |asset| asset.url.as_str())
}

/// Serves them to anybody.
pub(super) fn router() -> Router {
    Router::new().route("/assets/{name}", get(serve))
}

async fn serve(Path(name): Path<String>) -> Response {
    match ASSETS.get(name.as_str()) {
        None => Problem::not_found().into_response(),
        Some(asset) => {
            let headers = [
                (CONTENT_TYPE, asset.kind),
                (CACHE_CONTROL, "public, max-age=31536000, immutable"),
                (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            ];
            (headers, asset.text).into_response()
        }
    }
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
}
