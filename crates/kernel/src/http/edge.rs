//! The outermost layers: request id, real address, access log, envelopes; limits per address; panics.
//!
//! Invariant: nothing that a client sent in a query, header or body reaches the access log.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, Method, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use tracing::Instrument;

use super::idempotency::UnderWay;
use super::{Client, Hooks};
use crate::error::codes;
use crate::kernel::Kernel;
use crate::problem::Problem;

/// Longest path and query together, in bytes.
const MAX_URI: usize = 8 * 1024;
/// Tells the client and the log of the same request.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Parameters of routes that are secrets themselves. The id of a chat's room opens it to a visitor without a token.
const SECRET_PARAMETERS: [&str; 4] = ["{token}", "{link}", "{secret}", "/chat/rooms/{room}"];

/// How the log names a path that no route has: a link that was cut or lengthened is a secret in the wrong place.
const NO_ROUTE: &str = "(no route)";

/// What the outer layers need.
#[derive(Debug, Clone)]
pub(super) struct Around {
    pub(super) kernel: Kernel,
    pub(super) hooks: Hooks,
    pub(super) under_way: UnderWay,
}

/// This request's id, in the request's extensions.
#[derive(Debug, Clone)]
pub struct RequestId(pub Arc<str>);

/// Everything that happens to each request, whatever its route.
pub(super) async fn layer(State(around): State<Around>, mut request: Request, next: Next) -> Response {
    let Around { kernel, hooks, .. } = around;
    let started_ms = kernel.clock.now_ms();
    let id: Arc<str> = kernel.ids.new("req", started_ms).into();
    let client = Client::find(request.extensions(), request.headers(), &kernel.config.trusted_proxy);
    request.extensions_mut().insert(client);
    request.extensions_mut().insert(RequestId(Arc::clone(&id)));
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let route = request.extensions().get::<MatchedPath>().cloned();

    let span = tracing::info_span!("request", request_id = %id);
    let mut response = next.run(request).instrument(span).await;

    if let Some(mut problem) = response.extensions_mut().remove::<Problem>() {
        problem.request_id = Some(id.to_string());
        let mut rendered = render(&hooks, &path, problem);
        keep_headers(&response, &mut rendered);
        response = rendered;
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    let route = route.as_ref().map_or("", MatchedPath::as_str);
    let shown = shown(route, &path);
    let status = response.status().as_u16();
    let took_ms = kernel.clock.now_ms() - started_ms;
    tracing::info!(
        target: "access", request_id = %id, client = %client.ip, %method, path = shown, status, took_ms, "request"
    );
    let labels =
        [("method", known_method(&method).to_owned()), ("route", route.to_owned()), ("status", status.to_string())];
    metrics::counter!("http_requests_total", &labels).increment(1);
    response
}

/// What the layers inside have put on an answer (who may read it) stays when it is written anew.
fn keep_headers(before: &Response, after: &mut Response) {
    for (name, value) in before.headers() {
        if !matches!(*name, CONTENT_TYPE | CONTENT_LENGTH) && !after.headers().contains_key(name) {
            after.headers_mut().append(name, value.clone());
        }
    }
}

/// What of a path the log may have: all of it, unless a part of it is a secret or may be one.
fn shown<'a>(route: &'a str, path: &'a str) -> &'a str {
    if route.is_empty() {
        NO_ROUTE
    } else if SECRET_PARAMETERS.iter().any(|secret| route.contains(secret)) {
        route
    } else {
        path
    }
}

/// A method as a label: whoever makes methods up gets no series of his own.
fn known_method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// A documented route's own envelope, or problem+json.
pub(super) fn render(hooks: &Hooks, path: &str, problem: Problem) -> Response {
    match (hooks.envelope)(path, &problem) {
        Some(mut response) => {
            problem.decorate(&mut response);
            response
        }
        None => problem.into_response(),
    }
}

/// What no route should have to look at: endless or NUL-bearing URIs, and addresses that ask too often.
pub(super) async fn admit(State(kernel): State<Kernel>, client: Client, request: Request, next: Next) -> Response {
    if let Err(problem) = check_uri(request.uri()) {
        return problem.into_response();
    }
    if let Err(wait) = kernel.limits.request(client.ip, kernel.clock.now_ms()) {
        return Problem::from(wait).into_response();
    }
    next.run(request).await
}

fn check_uri(uri: &Uri) -> Result<(), Problem> {
    let text = uri.path_and_query().map_or("", |both| both.as_str());
    if text.len() > MAX_URI {
        return Err(Problem::new(codes::URI_TOO_LONG));
    }
    if text.contains("%00") {
        return Err(Problem::new(codes::NUL_CHARACTER).detail("in the path or query"));
    }
    Ok(())
}

/// A panic of a handler is a 500 and a line in the log, never a dropped connection.
pub(super) async fn catch_panic(request: Request, next: Next) -> Response {
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(panic) => {
            let text = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned());
            Problem::internal(format!("panic: {}", text.unwrap_or_default())).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Mutex;

    use axum::Router;
    use axum::body::Body;
    use axum::routing::{get, post};
    use tower::ServiceExt;
    use tracing::instrument::WithSubscriber;

    use super::super::{Json, layers};
    use super::*;
    use crate::config::Config;
    use crate::kernel::testing;
    use crate::principal::Principal;

    /// What the log writes.
    #[test]
    fn made_up_methods_share_one_label() {
        let made_up = |name: &str| Method::from_bytes(name.as_bytes()).unwrap();
        assert_eq!(known_method(&Method::PATCH), "PATCH");
        assert_eq!((known_method(&made_up("EVIL1")), known_method(&made_up("EVIL2"))), ("other", "other"));
    }

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn the_access_log_tells_everything_but_secrets() {
        let test = testing::sqlite_with(Config::default()).await;
        let router = Router::new()
            .route("/who", get(async |who: Principal| who.org().to_string()))
            .route("/echo", post(async |Json(body): Json<serde_json::Value>| Json(body)))
            .route("/m/{link}", get(async || "in"))
            .route("/broken", get(async || Problem::internal("the disk is full")));
        let router = layers(router, &test.kernel, Hooks::default()).with_state(test.kernel.clone());
        let lines = Lines::default();
        let writer = lines.clone();
        let log = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(tracing::Level::TRACE)
            .with_writer(move || writer.clone())
            .finish();
        let requests = [
            Request::get("/who?acc_tok=hunter2").header("authorization", "Bearer pt_hunter2"),
            Request::post("/echo").header("cookie", "tandem_session=st_hunter2"),
            Request::get("/m/hunter2"),
            Request::get("/m/hunter2/"),
            Request::get("/m/more/hunter2"),
            Request::get("/broken"),
        ];
        let asked = async {
            for request in requests {
                let body = Body::from(r#"{"auth_token":"hunter2"}"#);
                router.clone().oneshot(request.body(body).unwrap()).await.unwrap();
            }
        };
        asked.with_subscriber(log).await;

        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert!(!text.contains("hunter2"), "{text}");
        let told = ["path=\"/who\" status=401", "path=\"/echo\" status=200", "path=\"/m/{link}\" status=200"];
        for told in told.into_iter().chain(["path=\"(no route)\" status=404"]) {
            assert!(text.contains(told), "{told} in {text}");
        }
        let failure = text.lines().find(|line| line.contains("the disk is full")).unwrap();
        let id = failure.split("request_id=").nth(1).and_then(|rest| rest.split('}').next()).unwrap();
        let access = text.lines().find(|line| line.contains("status=500")).unwrap();
        assert!(access.contains(id), "the reason is found by the id of the answer");
        assert_eq!(text.matches("the disk is full").count(), 1, "a failure is logged once");
    }
}
