//! The OpenAPI document, put together from the handlers of every desk, and the page to read it.
//!
//! Invariant: what is served is documented: both come from the same routers.

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use kernel::error::Code;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, RefOr, ResponseBuilder};
use utoipa::{Modify, OpenApi as _};
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::SwaggerUi;

use crate::{app, chat, flows, meetings};

/// The registers of error codes that desks add to the kernel's.
pub const ERROR_CODES: &[&[Code]] = &[
    flows::api::codes::ALL,
    meetings::api::codes::ALL,
    meetings::sessions::codes::ALL,
    chat::error::ALL,
    crate::calls::codes::ALL,
];

const DOCUMENT_PATH: &str = "/openapi.json";
const PAGE_PATH: &str = "/docs";
/// Where a flow is posted, behind each base.
const FLOW_PATH: &str = "/call/flow";
const JSON: &str = "application/json";
const PROBLEM: &str = "application/problem+json";
const REFUSAL: &str = "refused: the credential, the body, its size or a limit; the code says which";

#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "Tandem", description = "Self-hosted communications server", license(name = "Apache-2.0")),
    modifiers(&Bearer),
    security(("bearer" = [])),
    tags(
        (name = "flows", description = "call flows and their runs"),
        (name = "meetings", description = "masked meetings of two people"),
        (name = "chat", description = "support chat"),
        (name = "calls", description = "calls, recordings, voicemail"),
        (name = "events", description = "the event log, as a list and live"),
        (name = "webhooks", description = "events by HTTP, signed as Standard Webhooks says"),
        (name = "operators", description = "health, metrics, error pages"),
    ),
)]
struct About;

/// One scheme for every kind of key: which it is, the server sees.
struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("an application's API key or a person's auth_token"))
            .build();
        document.components.get_or_insert_default().add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

/// The document of all routes.
pub fn document() -> OpenApi {
    let routes = app::routes().into_openapi();
    let mut document = About::openapi().merge_from(routes);
    document_refusals(&mut document);
    show_sample(&mut document);
    document
}

/// Says once for every operation what its handler need not repeat: a refusal is problem+json, and on the documented
/// routes their envelope.
fn document_refusals(document: &mut OpenApi) {
    for (path, item) in &mut document.paths.paths {
        // The routes of documents 002 and 003 have envelopes of their own.
        let (kind, schema) = if chat::documented::is_documented(path) {
            (JSON, "ChatRefusal")
        } else if flows::api::BASES.iter().any(|base| path.starts_with(base)) {
            (JSON, "Refused")
        } else {
            (PROBLEM, "ProblemBody")
        };
        let content = || ContentBuilder::new().schema(Some(Ref::from_schema_name(schema))).build();
        let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.patch, &mut item.delete];
        for operation in operations.into_iter().flatten() {
            let responses = &mut operation.responses.responses;
            for (status, response) in responses.iter_mut() {
                if let (true, RefOr::T(response)) = (status.starts_with('4'), response) {
                    response.content.clear();
                    response.content.insert(kind.to_owned(), content().into());
                }
            }
            let refusal = ResponseBuilder::new().description(REFUSAL).content(kind, content()).build();
            responses.insert("4XX".to_owned(), refusal.into());
        }
    }
}

/// Shows where a flow is posted what one looks like.
fn show_sample(document: &mut OpenApi) {
    let posted = document.paths.paths.iter_mut().filter(|(path, _)| path.ends_with(FLOW_PATH));
    for body in posted.filter_map(|(_, item)| item.post.as_mut()?.request_body.as_mut()) {
        if let RefOr::T(body) = body
            && let Some(RefOr::T(content)) = body.content.get_mut(JSON)
        {
            content.example = Some(flows::api::sample());
        }
    }
}

/// The document as openapi.json holds it.
pub fn document_json() -> String {
    let mut text = document().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// Serves the document and a page that shows it; nothing is loaded from another site.
pub fn serve(router: OpenApiRouter) -> Router {
    let (router, _) = router.split_for_parts();
    let json = document_json();
    router
        .route(DOCUMENT_PATH, get(async move || ([(CONTENT_TYPE, "application/json")], json)))
        .merge(SwaggerUi::new(PAGE_PATH).config(utoipa_swagger_ui::Config::from(DOCUMENT_PATH).validator_url("none")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_explained_and_has_an_answer() {
        let document = serde_json::to_value(document()).unwrap();
        let paths = document["paths"].as_object().unwrap();
        assert!(paths.len() > 10);
        for (path, operations) in paths {
            for (method, operation) in operations.as_object().unwrap() {
                assert!(
                    operation["summary"].as_str().is_some_and(|text| text.len() > 5),
                    "{method} {path} has no summary"
                );
                assert!(!operation["responses"].as_object().unwrap().is_empty(), "{method} {path} answers nothing");
            }
        }
    }
}
