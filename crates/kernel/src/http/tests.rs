//! A small server with the shared layers around it, asked as clients do.
#![expect(clippy::disallowed_methods, reason = "the servers of a test end with it")]

mod idempotency;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, Response, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tower::ServiceExt;

use super::*;
use crate::app::NewApp;
use crate::config::{Config, LimitConfig};
use crate::kernel::testing::{self, TestKernel};
use crate::org::NewOrg;
use crate::person::NewPerson;
use crate::principal::Principal;
use crate::role::{Action, Role, Scope};

/// Kibibytes of an answer that is told: more than any that is kept.
const TOLD_PIECES: usize = 1_500;

/// What the routes below are given.
#[derive(Clone)]
struct App {
    kernel: Kernel,
    runs: Arc<AtomicUsize>,
    gate: Arc<Semaphore>,
}

impl axum::extract::FromRef<App> for Kernel {
    fn from_ref(app: &App) -> Self {
        app.kernel.clone()
    }
}

struct Server {
    app: App,
    router: Router,
    test: TestKernel,
}

/// A documented envelope, as flows have one.
const HOOKS: Hooks = Hooks {
    envelope: |path, problem| {
        path.starts_with("/documented").then(|| {
            (problem.status(), axum::Json(json!({"status": "error", "code": problem.code.code}))).into_response()
        })
    },
    body_token: |path, body| {
        let body: Value = serde_json::from_slice(body).ok()?;
        path.starts_with("/documented").then(|| body["auth_token"].as_str().map(str::to_owned))?
    },
};

fn server(test: TestKernel) -> Server {
    let app = App { kernel: test.kernel.clone(), runs: Arc::default(), gate: Arc::new(Semaphore::new(1_000)) };
    Server { router: router(&test.kernel, &app), app, test }
}

/// The routes of one process behind their layers.
fn router(kernel: &Kernel, app: &App) -> Router {
    let routes = Router::new()
        .route("/open", get(async |client: Client| format!("{} {}", client.ip, client.https)))
        .route("/panic", get(async || -> &'static str { panic!("secret inside") }))
        .route("/broken", get(async || Problem::internal("secret inside")))
        .route("/who", get(async |who: Principal| format!("{} {}", who.org(), who.actor())))
        .route("/admin", get(async |who: Principal| who.authorize(Action::ManagePeople).map(|org| org.to_string())))
        .route("/tenant", get(async |Tenant(org): Tenant| org.slug))
        .route(
            "/things/{id}",
            get(async |Path(id): Path<u32>, Query(page): Query<PageQuery>| {
                page.limit().map(|limit| format!("{id} {limit}"))
            }),
        )
        .route("/things", post(make))
        .route("/echo", post(async |Json(body): Json<Value>| Json(body)))
        .route("/told", post(tell))
        .route("/documented", post(documented));
    layers(routes, kernel, HOOKS).with_state(app.clone())
}

/// Counts its runs and answers with the number, once the gate is open.
async fn make(
    State(app): State<App>,
    who: Principal,
    Json(body): Json<Value>,
) -> Result<axum::response::Response, Problem> {
    let run = app.runs.fetch_add(1, Ordering::SeqCst) + 1;
    let _open = app.gate.acquire().await;
    match body["want"].as_str() {
        Some("500") => Err(Problem::internal("on purpose")),
        Some("panic") => panic!("on purpose"),
        Some("422") => Err(Problem::field("/want", "invalid", format!("run {run}"))),
        _ => {
            let location = [("location", format!("/things/{run}"))];
            Ok((StatusCode::CREATED, location, Json(json!({"run": run, "org": who.org()}))).into_response())
        }
    }
}

/// Tells more than is ever kept, piece by piece.
async fn tell(State(app): State<App>, _: Principal) -> Body {
    app.runs.fetch_add(1, Ordering::SeqCst);
    let pieces = (0..TOLD_PIECES).map(|_| Ok::<_, std::io::Error>(vec![b'x'; 1024]));
    Body::from_stream(futures_util::stream::iter(pieces))
}

/// Reads its credential from the body, as document 003 does.
async fn documented(State(app): State<App>, client: Client, Json(body): Json<Value>) -> Result<String, Problem> {
    app.kernel.admit(body["auth_token"].as_str().unwrap_or_default(), client.ip).await?;
    let run = app.runs.fetch_add(1, Ordering::SeqCst) + 1;
    if body["want"] == "422" { Err(Problem::field("/want", "invalid", "x")) } else { Ok(format!("run {run}")) }
}

struct Answer {
    status: u16,
    headers: axum::http::HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Server {
    async fn ask(&self, request: axum::http::request::Builder, body: impl Into<Body>) -> Answer {
        self.send(request.body(body.into()).unwrap()).await
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        self.send_to(&self.router, request).await
    }

    async fn send_to(&self, router: &Router, mut request: Request<Body>) -> Answer {
        if request.extensions().get::<Peer>().is_none() {
            let address: SocketAddr = "127.0.0.1:4000".parse().unwrap();
            request.extensions_mut().insert(Peer { address, port: 80, tls: false });
        }
        let response: Response<Body> = router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            text: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(Request::get(path), "").await
    }

    async fn get_as(&self, path: &str, authorization: &str) -> Answer {
        self.ask(Request::get(path).header("authorization", authorization), "").await
    }

    /// A POST with an Idempotency-Key.
    async fn post(&self, path: &str, token: &str, key: &str, body: &str) -> Answer {
        self.post_to(&self.router, path, token, key, body).await
    }

    async fn post_to(&self, router: &Router, path: &str, token: &str, key: &str, body: &str) -> Answer {
        let request = Request::post(path)
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {token}"))
            .header("idempotency-key", key);
        self.send_to(router, request.body(body.to_owned().into()).unwrap()).await
    }

    fn runs(&self) -> usize {
        self.app.runs.load(Ordering::SeqCst)
    }

    /// An organisation and its owner's token.
    async fn owner(&self, slug: &str) -> (String, String) {
        let org = NewOrg { name: slug.into(), host: Some(format!("{slug}.test")), ..NewOrg::default() };
        let org = self.test.create_org(org).await.unwrap().id;
        let person = NewPerson { name: "Ann".into(), ..NewPerson::default() };
        let (_, token) = self.test.create_person(&org, person).await.unwrap();
        (org, token.expose().to_owned())
    }
}

async fn sqlite() -> Server {
    server(testing::sqlite_with(Config::default()).await)
}

#[tokio::test]
async fn every_answer_has_a_request_id_and_every_error_is_a_problem() {
    let server = sqlite().await;
    let fine = server.get("/open").await;
    assert_eq!((fine.status, fine.text.as_str()), (200, "127.0.0.1 false"));
    assert!(fine.header("x-request-id").starts_with("req_"));
    assert_ne!(fine.header("x-request-id"), server.get("/open").await.header("x-request-id"));

    for (path, status, code) in [
        ("/nowhere", 404, "not_found"),
        ("/things/x", 404, "not_found"),
        ("/things/1?limit=x", 400, "invalid_request"),
        ("/things/1?limit=9999", 400, "invalid_request"),
        ("/things/1?cursor=%00", 400, "nul_character"),
        ("/echo", 405, "method_not_allowed"),
        ("/who", 401, "unauthorized"),
        ("/panic", 500, "internal"),
        ("/broken", 500, "internal"),
    ] {
        let answer = server.get(path).await;
        assert_eq!((answer.status, &answer.json()["code"]), (status, &json!(code)), "{path}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(answer.json()["type"], format!("/v1/errors/{code}"));
        assert!(!answer.text.contains("secret"), "{}", answer.text);
        let id = answer.json()["request_id"].as_str().map(str::to_owned);
        assert_eq!(id.is_some(), status >= 500);
        assert!(id.is_none_or(|id| id == answer.header("x-request-id")));
    }
    assert_eq!(server.get("/echo").await.header("allow"), "POST");
    let long = format!("/open?{}", "x".repeat(9_000));
    assert_eq!(server.get(&long).await.status, 414);
}

#[tokio::test]
async fn bodies_are_read_carefully() {
    let server = sqlite().await;
    let post = async |content_type: &str, body: Vec<u8>| {
        let answer = server.ask(Request::post("/echo").header("content-type", content_type), body).await;
        (answer.status, serde_json::from_str::<Value>(&answer.text).unwrap())
    };
    const JSON: &str = "application/json; charset=utf-8";
    assert_eq!(post(JSON, b"{\"a\":[5]}".to_vec()).await, (200, json!({"a": [5]})));
    assert_eq!(post("application/x-www-form-urlencoded", b"a=5".to_vec()).await.0, 415);
    assert_eq!(post(JSON, b"{".to_vec()).await.0, 400);
    assert_eq!(post(JSON, b"\"\xc3\"".to_vec()).await.0, 400);
    let (status, nul) = post(JSON, br#"{"a":"\u0000"}"#.to_vec()).await;
    assert_eq!((status, &nul["errors"][0]["pointer"]), (400, &json!("/a")));
    let (status, large) = post(JSON, vec![b' '; MAX_JSON_BODY + 1]).await;
    assert_eq!(
        (status, &large["code"], &large["detail"]),
        (413, &json!("body_too_large"), &json!("at most 262144 bytes"))
    );
}

#[tokio::test]
async fn each_way_to_carry_a_credential() {
    for test in testing::each().await {
        let server = server(test);
        let (org, token) = server.owner("dev").await;
        let (app, key) = server
            .test
            .create_app(&org, NewApp { name: "Shop".into(), scopes: vec![Scope::Chat], ..NewApp::default() })
            .await
            .unwrap();
        for (authorization, actor) in [
            (format!("Bearer {token}"), "per_"),
            (format!("bearer  {token}"), "per_"),
            (format!("Token token=\"{token}\""), "per_"),
            (format!("Token token={}", key.expose()), "app_"),
            (format!("Token {}", key.expose()), "app_"),
            (format!("Token x=\"1\", token=\"{}\"", key.expose()), "app_"),
            (format!("Bearer {}", app.publishable_key), "app_"),
        ] {
            let answer = server.get_as("/who", &authorization).await;
            assert_eq!(answer.status, 200, "{authorization}");
            assert!(answer.text.starts_with(&format!("{org} {actor}")), "{}", answer.text);
        }
        for wrong in ["Bearer", "Bearer x", "Basic eDp5", "Token token=\"\"", "pt_x", ""] {
            let answer = server.get_as("/who", wrong).await;
            assert_eq!((answer.status, answer.header("www-authenticate")), (401, "Bearer"), "{wrong}");
        }
        let people = server.test.people(&org, "", 1).await.unwrap();
        let session = server.test.create_session(&org, &people[0].id, "", "").await.unwrap();
        let cookie = format!("a=b; tandem_session={}", session.expose());
        assert_eq!(server.ask(Request::get("/who").header("cookie", cookie), "").await.status, 200);
        let cookie = "tandem_session=st_wrong";
        assert_eq!(server.ask(Request::get("/who").header("cookie", cookie), "").await.status, 401);
    }
}

#[tokio::test]
async fn roles_and_scopes_open_what_they_name() {
    let server = sqlite().await;
    let (org, owner) = server.owner("dev").await;
    assert_eq!(server.get_as("/admin", &format!("Bearer {owner}")).await.text, org);
    let member = NewPerson { name: "Ben".into(), role: Some(Role::Member), ..NewPerson::default() };
    let (_, member) = server.test.create_person(&org, member).await.unwrap();
    let refused = server.get_as("/admin", &format!("Bearer {}", member.expose())).await;
    assert_eq!((refused.status, &refused.json()["code"]), (403, &json!("forbidden")));
    let app = NewApp { name: "Shop".into(), scopes: vec![Scope::Flows], ..NewApp::default() };
    let (app, key) = server.test.create_app(&org, app).await.unwrap();
    for token in [key.expose(), app.publishable_key.as_str()] {
        assert_eq!(server.get_as("/admin", &format!("Bearer {token}")).await.status, 403);
    }
}

#[tokio::test]
async fn the_tenant_of_keyless_requests_is_the_host_then_the_default() {
    let config = Config { default_org: Some("dev".into()), ..Config::default() };
    let server = server(testing::sqlite_with(config).await);
    let tenant = async |host: &str| {
        let answer = server.ask(Request::get("/tenant").header("host", host), "").await;
        (answer.status, answer.text)
    };
    assert_eq!(tenant("other.test").await.0, 404, "default_org is looked up at each request");
    server.owner("dev").await;
    server.owner("acme").await;
    assert_eq!(tenant("Acme.test:8080").await, (200, "acme".into()));
    assert_eq!(tenant("acme.test.").await, (200, "acme".into()));
    assert_eq!(tenant("other.test").await, (200, "dev".into()));
    assert_eq!(tenant("[::1]:8080").await, (200, "dev".into()));
}

#[tokio::test]
async fn addresses_credentials_and_mistakes_are_limited() {
    let limits =
        LimitConfig { requests_per_minute_per_ip: 400, requests_per_minute_per_token: 10, ..LimitConfig::default() };
    let config = Config { limits, trusted_proxy: vec!["10.0.0.0/8".parse().unwrap()], ..Config::default() };
    let server = server(testing::sqlite_with(config).await);
    let (_, token) = server.owner("dev").await;
    let (_, other) = server.owner("acme").await;
    let from = async |client: &str, path: &str, token: &str| {
        let mut request = Request::get(path).header("x-forwarded-for", client);
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let mut request = request.body(Body::empty()).unwrap();
        let address = "10.0.0.1:1".parse().unwrap();
        request.extensions_mut().insert(Peer { address, port: 443, tls: true });
        server.send(request).await
    };
    for _ in 0..10 {
        assert_eq!(from("1.1.1.1", "/who", &token).await.status, 200);
    }
    let limited = from("1.1.1.1", "/who", &token).await;
    assert_eq!(
        (limited.status, limited.header("retry-after"), &limited.json()["code"]),
        (429, "7", &json!("rate_limited"))
    );
    assert_eq!(from("1.1.1.1", "/who", &other).await.status, 200, "per credential");

    let mut statuses = Vec::new();
    for _ in 0..300 {
        statuses.push(from("2.2.2.2", "/who", "pt_wrong").await.status);
    }
    let first = statuses.iter().position(|status| *status == 429).unwrap();
    assert!((50..=200).contains(&first) && statuses[..first].iter().all(|status| *status == 401), "{first}");
    assert_eq!(from("2.2.2.2", "/who", &other).await.status, 200, "a good credential pays for nobody's mistakes");

    for _ in 0..99 {
        from("2.2.2.2", "/open", "").await;
    }
    assert_eq!(from("2.2.2.2", "/open", "").await.status, 429, "per address, whatever it asks");
    assert_eq!(from("3.3.3.3", "/open", "").await.text, "3.3.3.3 true");
    server.test.hand.advance(60_000);
    assert_eq!(from("2.2.2.2", "/open", "").await.status, 200);
}
