//! The operations of openapi.json, as the walks over them need them.

use reqwest::Method;
use serde_json::{Map, Value, json};

/// What answers without an end.
pub(super) const ENDLESS: [&str; 2] = ["/v1/tap", "/v1/chat/events"];

/// An operation of the document.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    /// `GET /v1/calls/{id}`.
    pub(super) name: String,
    pub(super) method: Method,
    /// As the document has it, with its parameters in braces.
    pub(super) template: String,
    /// Whether anybody may ask, which the document says first.
    pub(super) is_public: bool,
    /// Names of its query parameters.
    pub(super) query: Vec<String>,
    /// The members of its JSON body, if it takes one.
    pub(super) members: Option<Vec<String>>,
}

impl Operation {
    pub(super) fn has_parameters(&self) -> bool {
        self.template.contains('{')
    }

    /// Its path with `value` for every parameter.
    pub(super) fn path(&self, value: &str) -> String {
        let filled: Vec<&str> =
            self.template.split('/').map(|part| if part.starts_with('{') { value } else { part }).collect();
        filled.join("/")
    }

    pub(super) fn takes_body(&self) -> bool {
        matches!(self.method, Method::POST | Method::PUT | Method::PATCH)
    }
}

/// Every operation.
pub(super) fn operations() -> Vec<Operation> {
    let document = serde_json::to_value(tandem::openapi::document()).unwrap();
    let mut found = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let in_query = parameters.iter().filter(|parameter| parameter["in"] == "query");
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            found.push(Operation {
                name: format!("{method} {path}"),
                is_public: is_public(path, &operation["security"]),
                query: in_query.map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect(),
                members: members(&document, schema),
                template: path.clone(),
                method,
            });
        }
    }
    found
}

/// Document 002 and a visitor's page have operations that take a credential and do without: of those the document says
/// so first.
fn is_public(path: &str, security: &Value) -> bool {
    let may_do_without = ["/api/v2/", "/v1/chat/widget/"].iter().any(|start| path.starts_with(start));
    *security == json!([{}]) || (may_do_without && security[0] == json!({}))
}

/// The members of a body's schema, which may stand elsewhere in the document.
fn members(document: &Value, schema: &Value) -> Option<Vec<String>> {
    let resolved = match schema["$ref"].as_str() {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).unwrap(),
        None => schema,
    };
    resolved
        .is_object()
        .then(|| resolved["properties"].as_object().cloned().unwrap_or_else(Map::new))
        .map(|properties| properties.keys().cloned().collect())
}
