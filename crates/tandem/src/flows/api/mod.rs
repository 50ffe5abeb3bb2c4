//! The desk's routes: those of document 003 under both published bases, and our own for saved flows and callbacks.
//! Handlers read, ask the desk, and answer; no rule stands here.

pub(crate) mod callbacks;
mod credentials;
mod documented;
mod facade;
pub(crate) mod saved;
mod written;

use axum::{extract::FromRef, response::Response};
use kernel::{Kernel, Problem};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Flows, lenient};

pub use documented::envelope_of;
pub use saved::codes;
pub use written::sample;

/// The bases that the documentation published on one day.
pub const BASES: [&str; 2] = ["/api/v2", "/api/public/v1"];

/// All routes of the desk.
pub fn routes<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    Flows: FromRef<S>,
    Kernel: FromRef<S>,
{
    let mut router = OpenApiRouter::new()
        .routes(routes!(saved::create, saved::list))
        .routes(routes!(saved::read, saved::update, saved::delete))
        .routes(routes!(saved::run))
        .routes(routes!(callbacks::list))
        .routes(routes!(callbacks::cancel))
        .routes(routes!(facade::hangup));
    for base in BASES {
        router = router.nest(base, documented::routes());
        // A base written with a slash at its end, as many clients do, makes two.
        for (path, method) in documented::tolerated::<S>() {
            router = router.route(&format!("{base}/{path}"), method);
        }
    }
    router
}

/// The documented error envelope for the routes of this desk, for what goes wrong before their handlers.
#[must_use]
pub fn envelope(path: &str, problem: &Problem) -> Option<Response> {
    is_documented(path).then(|| envelope_of(problem))
}

/// The credential that a documented body carries.
#[must_use]
pub fn body_token(path: &str, body: &[u8]) -> Option<String> {
    if !is_documented(path) {
        return None;
    }
    let reading = lenient::read(body).ok()?;
    reading.value.get("auth_token")?.as_str().map(str::to_owned)
}

fn is_documented(path: &str) -> bool {
    BASES.iter().any(|base| {
        path.strip_prefix(base).is_some_and(|rest| {
            let rest = rest.strip_prefix("//").or_else(|| rest.strip_prefix('/')).unwrap_or_default();
            rest == "call" || rest.starts_with("call/")
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documented_paths_are_told_from_others() {
        for path in [
            "/api/v2/call/flow",
            "/api/v2//call/flow",
            "/api/public/v1/call/x/hangup",
            "/api/public/v1//call/flow/run_1",
        ] {
            assert!(is_documented(path), "{path}");
        }
        for path in ["/api/v2/rooms", "/api/v2/caller", "/v1/calls", "/api/v1/call/flow", "/api/v2"] {
            assert!(!is_documented(path), "{path}");
        }
    }

    #[test]
    fn the_token_of_a_body_is_found_in_every_spelling() {
        let token = |body: &str| body_token("/api/v2/call/flow", body.as_bytes());
        assert_eq!(token(r#"{"auth_token":"pt_1"}"#).unwrap(), "pt_1");
        assert_eq!(token("{“auth_token”: “pt_1”, # mine\n}").unwrap(), "pt_1");
        assert_eq!(token(r#"{"auth_token":7}"#), None);
        assert_eq!(body_token("/v1/flows", br#"{"auth_token":"pt_1"}"#), None);
    }
}
