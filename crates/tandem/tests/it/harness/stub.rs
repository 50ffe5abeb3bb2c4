//! A small HTTP server that answers what a test tells it to and remembers what it was asked: the
//! endpoint of `http` steps, the receiver of webhooks, the file server of `play`.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode};
use axum::response::Response;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::timeout;

/// The largest request body it reads.
const MAX_BODY: usize = 1 << 20;

/// One request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// One rule: requests whose target begins so are answered so.
#[derive(Clone, Debug)]
struct Rule {
    prefix: String,
    status: StatusCode,
    kind: String,
    headers: Vec<(HeaderName, String)>,
    body: Vec<u8>,
    delay: Duration,
}

impl Rule {
    fn empty(prefix: &str, status: u16) -> Self {
        Self {
            prefix: prefix.to_owned(),
            status: StatusCode::from_u16(status).unwrap(),
            kind: "application/json".to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            delay: Duration::ZERO,
        }
    }
}

#[derive(Default)]
struct Shared {
    rules: Mutex<Vec<Rule>>,
    asked: Mutex<Vec<Asked>>,
    news: Notify,
}

/// The running server; it ends with its handle.
pub(crate) struct Stub {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

impl Stub {
    /// Listens on a free port of loopback and answers 200 to everything.
    pub(crate) async fn start() -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    /// Listens at this address: a receiver that comes back where it was.
    pub(crate) async fn at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let router = axum::Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, shared, task }
    }

    /// Its URL of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// From now on requests whose path begins with `prefix` get this; the newest rule wins.
    pub(crate) fn answer(&self, prefix: &str, status: u16, body: &str) {
        self.serve(prefix, status, "application/json", body.as_bytes(), Duration::ZERO);
    }

    /// The same with a type of its own, after a delay.
    pub(crate) fn serve(&self, prefix: &str, status: u16, kind: &str, body: &[u8], delay: Duration) {
        let (kind, body) = (kind.to_owned(), body.to_vec());
        self.rule(Rule { kind, body, delay, ..Rule::empty(prefix, status) });
    }

    /// The same with headers and nothing else: a redirect.
    pub(crate) fn serve_with(&self, prefix: &str, status: u16, headers: &[(HeaderName, String)]) {
        self.rule(Rule { headers: headers.to_vec(), ..Rule::empty(prefix, status) });
    }

    fn rule(&self, rule: Rule) {
        self.shared.rules.lock().unwrap().insert(0, rule);
    }

    /// Everything it was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// Waits until what it was asked satisfies `enough`, and gives it all.
    pub(crate) async fn until(&self, what: &str, within: Duration, enough: impl Fn(&[Asked]) -> bool) -> Vec<Asked> {
        let waited = timeout(within, async {
            loop {
                let news = self.shared.news.notified();
                let asked = self.asked();
                if enough(&asked) {
                    break asked;
                }
                news.await;
            }
        })
        .await;
        waited.unwrap_or_else(|_| {
            let seen: Vec<String> = self
                .asked()
                .iter()
                .map(|asked| format!("{} {} {}", asked.method, asked.target, String::from_utf8_lossy(&asked.body)))
                .collect();
            panic!("not within {within:?}: {what}; asked so far:\n{}", seen.join("\n"))
        })
    }

    /// Waits for the first request whose target begins so.
    pub(crate) async fn request(&self, prefix: &str) -> Asked {
        let begins = |asked: &Asked| asked.target.starts_with(prefix);
        let all = self.until(prefix, Duration::from_secs(20), |all| all.iter().any(begins)).await;
        all.into_iter().find(begins).unwrap()
    }

    /// Waits for a webhook event of a type.
    pub(crate) async fn event(&self, kind: &str) -> Value {
        let is = |asked: &Asked| asked.headers.contains_key("webhook-id") && asked.json()["type"] == kind;
        let all = self.until(kind, Duration::from_secs(30), |all| all.iter().any(is)).await;
        all.iter().find(|asked| is(asked)).unwrap().json()
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, MAX_BODY).await.unwrap_or_default().to_vec();
    let target = head.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let rule = shared.rules.lock().unwrap().iter().find(|rule| target.starts_with(&rule.prefix)).cloned();
    let asked = Asked { method: head.method, target, headers: head.headers, body };
    shared.asked.lock().unwrap().push(asked);
    shared.news.notify_waiters();
    let Some(rule) = rule else {
        return Response::new(Body::from("{}"));
    };
    tokio::time::sleep(rule.delay).await;
    let mut response = Response::builder().status(rule.status).header("content-type", rule.kind);
    for (name, value) in rule.headers {
        response = response.header(name, value);
    }
    response.body(Body::from(rule.body)).unwrap()
}
