//! How a party comes in: by the sign-in token that its application holds (`/sessions`), or by a one-time link (`/m/..`);
//! and how it leaves.
//!
//! Invariant: looking at a link signs nobody in and uses nothing up, since chats and mail programs look at links to show
//! what is behind them; only the POST does, which the page sends by itself. The token stands in no address after it, and
//! no other site is told where the visitor came from.

use askama::Template;
use axum::extract::State;
use axum::http::header::{ACCEPT, LOCATION, REFERRER_POLICY, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use kernel::http::{Client, Path, Tenant};
use kernel::{Kernel, Problem, Secret};

use super::fields::{Fields, Presented, is_json};
use super::page::{Look, show};
use crate::meetings::sessions::codes::{SIGN_IN_OVER, SIGN_IN_REFUSED};
use crate::meetings::sessions::{self, PARTY_COOKIE, PartySession, SESSION_SECONDS, SignInRefused, Whose};

const MEETINGS: &str = "/meetings";

#[derive(Template)]
#[template(path = "party/entry.html")]
struct Entry {
    page: Look,
    /// Where its form posts to.
    action: String,
    token: Option<String>,
}

/// `GET /sessions?acc_tok=..`
pub(super) async fn ask(uri: Uri) -> Result<Response, Problem> {
    let token = Presented::in_query(&uri)?.ok_or_else(|| Problem::new(SIGN_IN_REFUSED))?;
    let token = Some(token.expose().to_owned());
    show(&Entry { page: Look, action: "/sessions".to_owned(), token }).map(unreferred)
}

/// `GET /m/<link>`
pub(super) async fn ask_by_link(uri: Uri) -> Result<Response, Problem> {
    show(&Entry { page: Look, action: uri.path().to_owned(), token: None }).map(unreferred)
}

/// `POST /sessions`: applications post it from their own pages too.
pub(super) async fn enter(
    State(kernel): State<Kernel>,
    client: Client,
    headers: HeaderMap,
    tenant: Result<Tenant, Problem>,
    presented: Result<Presented, Problem>,
) -> Response {
    let tenant = tenant.ok().map(|Tenant(org)| org.id);
    let entered = async {
        let whose = match presented?.0 {
            Some(token) => sessions::whose_token(&kernel, &token, tenant.as_deref()).await,
            None => Err(SignInRefused::Unknown),
        };
        let_in(&kernel, client, whose).await
    };
    entered.await.unwrap_or_else(|problem| refusal(problem, &headers))
}

/// `POST /m/<link>`
pub(super) async fn enter_by_link(
    State(kernel): State<Kernel>,
    client: Client,
    headers: HeaderMap,
    Path(link): Path<String>,
) -> Response {
    let whose = sessions::take_link(&kernel, &link).await;
    let_in(&kernel, client, whose).await.unwrap_or_else(|problem| refusal(problem, &headers))
}

/// A page for people, a problem for programs.
fn refusal(problem: Problem, headers: &HeaderMap) -> Response {
    if is_program(headers) { plain(problem) } else { unreferred(problem.into_response()) }
}

async fn let_in(kernel: &Kernel, client: Client, whose: Result<Whose, SignInRefused>) -> Result<Response, Problem> {
    let whose = whose.map_err(|refused| problem_of(kernel, client, refused))?;
    let cookie = sessions::open(kernel, &whose).await.map_err(Problem::internal)?;
    let mut response = unreferred((StatusCode::SEE_OTHER, [(LOCATION, MEETINGS)]).into_response());
    set_cookie(&mut response, client, &cookie, SESSION_SECONDS);
    Ok(response)
}

/// What is in the way of whoever comes in.
fn problem_of(kernel: &Kernel, client: Client, refused: SignInRefused) -> Problem {
    match refused {
        // Whoever guesses is slowed down.
        SignInRefused::Unknown => match kernel.limits.failed_credential(client.ip, kernel.clock.now_ms()) {
            Ok(()) => Problem::new(SIGN_IN_REFUSED),
            Err(wait) => wait.into(),
        },
        SignInRefused::Failed(reason) => Problem::internal(reason),
        over => Problem::new(SIGN_IN_OVER).detail(over.to_string()),
    }
}

/// `POST /meetings/sign-out`
pub(super) async fn leave(
    State(kernel): State<Kernel>,
    client: Client,
    party: PartySession,
    fields: Fields,
) -> Result<Response, Problem> {
    super::acts::must_be_for(&party, &fields)?;
    sessions::close(&kernel, &party).await.map_err(Problem::internal)?;
    let mut response = show(&super::refusal::signed_out())?;
    set_cookie(&mut response, client, &Secret::default(), 0);
    Ok(response)
}

/// Whether whoever asks reads JSON rather than pages.
fn is_program(headers: &HeaderMap) -> bool {
    let accepted = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    is_json(headers) || (accepted.contains("json") && !accepted.contains("html"))
}

/// A problem as programs read it, on a path whose problems are pages.
fn plain(problem: Problem) -> Response {
    let mut response = problem.into_response();
    response.extensions_mut().remove::<Problem>();
    unreferred(response)
}

fn unreferred(mut response: Response) -> Response {
    response.headers_mut().insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

fn set_cookie(response: &mut Response, client: Client, value: &Secret, seconds: u32) {
    let secure = if client.https { "; Secure" } else { "" };
    let line = format!("{PARTY_COOKIE}={}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}", value.expose());
    // A token of ours: always a header's value.
    if let Ok(mut line) = HeaderValue::from_str(&line) {
        line.set_sensitive(true);
        response.headers_mut().append(SET_COOKIE, line);
    }
}
