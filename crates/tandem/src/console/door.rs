//! The doors of the console: each route with what it needs, asked for before its handler runs.
//!
//! Invariant: no handler runs for somebody whom its door does not let in, and no door is without a lock.

use axum::Router;
use axum::extract::{FromRef, FromRequestParts, Request, State as Given};
use axum::handler::Handler;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use kernel::error::codes;
use kernel::{Action, Credential, Kernel, Principal, Problem};

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

/// Lets in whom the door lets in. The credential stays with the request for its handler.
async fn unlock(Given((state, needs)): Given<(State, Needs)>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let admitted = if needs == Needs::Nothing {
        // A form that signs in must be ours too, or a visitor works in a stranger's account unawares.
        if parts.method.is_safe() || Kernel::from_ref(&state).is_own_page(&parts.headers) {
            Ok(())
        } else {
            Err(Problem::new(codes::FOREIGN_ORIGIN))
        }
    } else {
        match Credential::from_request_parts(&mut parts, &state).await {
            Ok(credential) => needs.admit(&credential.principal),
            Err(problem) => Err(problem),
        }
    };
    match admitted {
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        Err(problem) => problem.into_response(),
    }
}

/// The headers of every page.
async fn manners(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    decorate(&mut response);
    response
}

/// Puts the headers of a page on an answer.
pub(super) fn decorate(response: &mut Response) {
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
