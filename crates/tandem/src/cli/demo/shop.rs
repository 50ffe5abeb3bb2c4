//! The demo's shop: a page of another origin that holds the widget, as a customer's own site does.
//!
//! Invariant: the page stands on the demo's endpoint, whose origin alone its application lists.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use kernel::app::NewApp;
use kernel::{Kernel, Scope};

use super::CliError;
use crate::app::App;
use crate::applications::settings;

const APP: &str = "Demo shop";
/// Where the page stands on the endpoint.
pub(super) const PATH: &str = "/shop";
/// Applications among which it is looked for.
const MAX_APPS: i64 = 500;

/// The page, once the server's own address is known.
#[derive(Clone, Default)]
pub(super) struct Page(Arc<OnceLock<String>>);

impl Page {
    /// The answer to whoever asks for it.
    pub(super) fn answer(&self) -> Response {
        match self.0.get() {
            Some(page) => Html(page.clone()).into_response(),
            None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        }
    }

    /// Opens the shop: its application may be used from the endpoint's origin, and the page names its script.
    ///
    /// # Errors
    /// What the store says.
    pub(super) async fn open(&self, app: &App, org: &str, endpoint: SocketAddr) -> Result<(), CliError> {
        let id = application(&app.kernel, org).await?;
        let origin = format!("http://{endpoint}");
        settings::change(&app.kernel, org, &id, vec![("allowed_origins".to_owned(), origin)]).await?;
        // At every start the same, but for the address.
        let _ = self.0.set(page(&app.site().url(&format!("/w/{id}.js"))));
        Ok(())
    }
}

/// The application of an earlier start, or a new one.
async fn application(kernel: &Kernel, org: &str) -> Result<String, CliError> {
    let known = kernel.apps(org, "", MAX_APPS).await?;
    if let Some(known) = known.into_iter().find(|app| app.name == APP) {
        return Ok(known.id);
    }
    let settings = vec![("widget_title".to_owned(), "Ask the shop".to_owned())];
    let new = NewApp { name: APP.to_owned(), scopes: vec![Scope::Chat], settings };
    Ok(kernel.create_app(org, new).await?.0.id)
}

fn page(script: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>A shop</title>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"></head>\n\
         <body><main><h1>A shop</h1><p>This page stands for one of yours. The button in the corner opens the chat; one line\n\
         of HTML has put it there.</p></main>\n<script src=\"{script}\" async></script></body>\n</html>\n"
    )
}
