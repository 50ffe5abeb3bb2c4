//! The doors of the console: each route with what it needs, asked for before its handler runs.
//!
//! Invariant: no handler runs for somebody whom its door does not let in, none changes another organisation than its form
//! was made for, and no door is without a lock.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRef, FromRequestParts, Request, State as Given};
use axum::handler::Handler;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use kernel::error::codes;
use kernel::http::bearer_token;
use kernel::{Action, Credential, Kernel, Principal, Problem};

use super::form::Posted;
use super::page::go;
use super::refusal::SIGN_IN;
use super::session::Theme;
use super::sign_in::SIGN_OUT;
use super::{kept, made_for};
use crate::app::State;

/// Nothing comes from another site, nothing stands inline, nobody frames a page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    media-src 'self' blob:; connect-src 'self'; font-src 'self'; worker-src 'self'; form-action 'self'; \
    base-uri 'none'; frame-ancestors 'none'";

/// Who may come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Anybody.
    Nothing,
    /// Whoever is signed in.
    SignIn,
    /// Whoever may do this.
    May(Action),
    /// Whoever may do one of these.
    MayEither(Action, Action),
    /// An administrator of the installation.
    Administrator,
}

impl Needs {
    /// Whether what stands behind the door belongs to an organisation.
    fn is_of_an_organisation(self) -> bool {
        matches!(self, Self::May(_) | Self::MayEither(..))
    }

    /// Whether a principal may come in.
    ///
    /// # Errors
    /// 403, or 401 for keys of applications, which are no visitors of pages.
    pub fn admit(self, who: &Principal) -> Result<(), Problem> {
        match (self, who) {
            (Self::Nothing, _) => Ok(()),
            (_, Principal::App { .. } | Principal::Publishable { .. }) => Err(Problem::new(codes::UNAUTHORIZED)),
            (Self::SignIn, _) | (Self::Administrator, Principal::Administrator { .. }) => Ok(()),
            (Self::May(action), who) => who.authorize(action).map(drop),
            (Self::MayEither(one, other), who) => who.authorize(one).or_else(|_| who.authorize(other)).map(drop),
            (Self::Administrator, Principal::Person { .. }) => Err(Problem::new(codes::FORBIDDEN)),
        }
    }
}

/// One route.
#[derive(Clone, Debug)]
pub struct Door {
    /// GET or POST.
    pub method: Method,
    /// Its template.
    pub path: &'static str,
    /// Who may come in.
    pub needs: Needs,
}

/// The doors, while they are gathered.
#[derive(Default)]
pub(super) struct Doors(Vec<(Door, MethodRouter<State>)>);

impl Doors {
    /// A page, or a part of one.
    pub(super) fn get<H, T>(self, path: &'static str, needs: Needs, handler: H) -> Self
    where
        H: Handler<T, State>,
        T: 'static,
    {
        self.add(Method::GET, MethodFilter::GET, path, needs, handler)
    }

    /// What changes something.
    pub(super) fn post<H, T>(self, path: &'static str, needs: Needs, handler: H) -> Self
    where
        H: Handler<T, State>,
        T: 'static,
    {
        self.add(Method::POST, MethodFilter::POST, path, needs, handler)
    }

    fn add<H, T>(mut self, method: Method, filter: MethodFilter, path: &'static str, needs: Needs, handler: H) -> Self
    where
        H: Handler<T, State>,
        T: 'static,
    {
        self.0.push((Door { method, path, needs }, on(filter, handler)));
        self
    }

    pub(super) fn plan(self) -> Vec<Door> {
        self.0.into_iter().map(|(door, _)| door).collect()
    }

    pub(super) fn router(self, state: &State) -> Router {
        let mut router = Router::new();
        for (door, handler) in self.0 {
            let lock = from_fn_with_state((state.clone(), door.needs), unlock);
            router = router.route(door.path, handler.route_layer(lock));
        }
        router.with_state(state.clone()).layer(from_fn(manners))
    }
}

/// Lets in whom the door lets in, and marks the forms of the page that comes out.
async fn unlock(Given((state, needs)): Given<(State, Needs)>, request: Request, next: Next) -> Response {
    let came_in = if needs == Needs::Nothing { open(&state, request) } else { admit(&state, needs, request).await };
    match came_in {
        Ok((request, org)) => {
            let marked = made_for::mark(next.run(request).await, &org).await;
            marked.unwrap_or_else(IntoResponse::into_response)
        }
        Err(Refused::Answer(response)) => *response,
        Err(Refused::Problem(problem)) => problem.into_response(),
    }
}

/// A request that may go on to its handler, and the organisation that its credential names.
type Admitted = (Request, Arc<str>);

/// Why a request does not go on.
enum Refused {
    Problem(Problem),
    /// With a page of its own.
    Answer(Box<Response>),
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<Response> for Refused {
    fn from(response: Response) -> Self {
        Self::Answer(Box::new(response))
    }
}

/// Who comes in where anybody may.
fn open(state: &State, request: Request) -> Result<Admitted, Refused> {
    // A form that signs in must be ours too, or a visitor works in a stranger's account unawares.
    if request.method().is_safe() || Kernel::from_ref(state).is_own_page(request.headers()) {
        Ok((request, "".into()))
    } else {
        Err(Problem::new(codes::FOREIGN_ORIGIN).into())
    }
}

/// Who comes in where a credential is needed. The credential and what was posted stay with the request for its handler.
async fn admit(state: &State, needs: Needs, request: Request) -> Result<Admitted, Refused> {
    let (mut parts, body) = request.into_parts();
    let credential = match Credential::from_request_parts(&mut parts, state).await {
        Ok(credential) => needs.admit(&credential.principal).map(|()| credential),
        Err(problem) => Err(problem),
    };
    let credential = match credential {
        Ok(credential) => credential,
        Err(problem) if problem.code == codes::UNAUTHORIZED => {
            return Err(signed_out(state, &parts, body, problem).await?);
        }
        Err(problem) => return Err(problem.into()),
    };
    let (posted, body) =
        if parts.method.is_safe() { (None, body) } else { (Some(Posted::read(body).await?), Body::empty()) };
    let org = Arc::clone(credential.principal.org());
    let made_for = made_for::of(&parts.headers, posted.as_ref());
    // A token names its organisation by itself; a browser's cookie may be another one since the page was made.
    let must_say = posted.is_some() && needs.is_of_an_organisation() && bearer_token(&parts.headers).is_none();
    match made_for {
        Some(made_for) if *made_for == *org => {}
        None if !must_say => {}
        _ if !needs.is_of_an_organisation() => {}
        _ => {
            let (path, theme) = (parts.uri.path(), Theme::of(&parts.headers));
            let posted = posted.unwrap_or_default();
            let kernel = Kernel::from_ref(state);
            return Err(kept::elsewhere(&kernel, &credential.principal, path, &posted, theme).await?.into());
        }
    }
    if let Some(posted) = posted {
        parts.extensions.insert(posted);
    }
    Ok((Request::from_parts(parts, body), org))
}

/// What whoever is not signed in is answered: what was typed stays, and no page asks to go on to where only forms go.
async fn signed_out(state: &State, parts: &Parts, body: Body, problem: Problem) -> Result<Refused, Problem> {
    // A script would be led on to the sign-in and take it for the part that it asked for.
    if parts.headers.contains_key("hx-request") {
        return Ok((StatusCode::UNAUTHORIZED, "signed out").into_response().into());
    }
    if parts.method.is_safe() {
        return Ok(problem.into());
    }
    let path = parts.uri.path();
    if path == SIGN_OUT || !Kernel::from_ref(state).is_own_page(&parts.headers) {
        return Ok(go(SIGN_IN).into());
    }
    Ok(kept::signed_out(path, &Posted::read(body).await?, Theme::of(&parts.headers))?.into())
}

/// The headers of every page.
async fn manners(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    decorate(&mut response);
    response
}

/// Lets a page hold frames of this server, which others must not.
///
/// # Errors
/// Never, but for a policy that is no header's value.
pub(super) fn holding_own_frames(mut response: Response) -> Result<Response, Problem> {
    let policy = HeaderValue::try_from(format!("{POLICY}; frame-src 'self'")).map_err(Problem::internal)?;
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    Ok(response)
}

/// Puts the headers of a page on an answer.
pub(crate) fn decorate(response: &mut Response) {
    let lines: [(HeaderName, &'static str); 5] = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "same-origin"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    for (name, value) in lines {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
}
