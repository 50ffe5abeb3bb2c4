//! Extractors of who asks: `Credential` and `Principal` from the request's header or session cookie, `Tenant` from its
//! Host name.
//!
//! Invariant: a wrong credential is 401 whatever the Host; the organisation comes from the credential, never from the
//! URL. A cookie changes nothing, and opens no socket, for a page of another site. Wrong ones that repeat from one address are 429; a good one is never refused for its neighbour's mistakes.

use std::net::IpAddr;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, COOKIE, HOST, ORIGIN, UPGRADE};
use axum::http::request::Parts;

use super::Client;
use crate::credential::Credential;
use crate::error::codes;
use crate::kernel::Kernel;
use crate::org::Org;
use crate::principal::Principal;
use crate::problem::Problem;

/// Name of the cookie of a signed-in browser.
pub const SESSION_COOKIE: &str = "tandem_session";

impl Kernel {
    /// Whether a request comes from a page of this server; see [`is_same_origin`].
    pub fn is_own_page(&self, headers: &HeaderMap) -> bool {
        is_same_origin(headers, self.config.public_url.as_deref())
    }

    /// Recognises a token that came from `address`; the one door for headers, bodies and first frames alike.
    ///
    /// # Errors
    /// 401 for a wrong one, 429 when wrong ones repeat or a good one asks too often.
    pub async fn admit(&self, token: &str, address: IpAddr) -> Result<Credential, Problem> {
        match self.authenticate(token).await.map_err(Problem::from)? {
            // Every page of the application shows it: one visitor's haste would stop all others. Addresses are counted.
            Some(credential) if matches!(credential.principal, Principal::Publishable { .. }) => Ok(credential),
            Some(credential) => {
                self.limits.credential(&credential.id, self.clock.now_ms())?;
                Ok(credential)
            }
            None => Err(self.wrong_credential(address)),
        }
    }

    /// The answer to a wrong credential from `address`: 401, and 429 once they repeat.
    pub fn wrong_credential(&self, address: IpAddr) -> Problem {
        match self.limits.failed_credential(address, self.clock.now_ms()) {
            Ok(()) => Problem::new(codes::UNAUTHORIZED),
            Err(wait) => wait.into(),
        }
    }
}

/// The token of `Authorization: Bearer KEY` or `Authorization: Token token="KEY"` (quotes may be missing).
pub fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let (scheme, rest) = headers.get(AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest);
    }
    if !scheme.eq_ignore_ascii_case("token") {
        return None;
    }
    let value = rest.split(',').find_map(|pair| pair.trim().strip_prefix("token="));
    Some(value.unwrap_or(rest).trim_matches('"'))
}

/// What a request is recognised by: its token, else the cookie of its session.
pub fn presented_token(headers: &HeaderMap) -> Option<&str> {
    bearer_token(headers).or_else(|| Cookies(headers).get(SESSION_COOKIE))
}

/// The cookies of a request.
#[derive(Debug, Clone, Copy)]
pub struct Cookies<'a>(pub &'a HeaderMap);

impl<'a> Cookies<'a> {
    /// The value of the first cookie of this name.
    pub fn get(self, name: &str) -> Option<&'a str> {
        self.0
            .get_all(COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|line| line.split(';'))
            .find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
    }
}

/// Whether a request comes from a page of this server, as the browser says: its Sec-Fetch-Site is `same-origin`, or,
/// where it does not say that (WebSockets, pages by plain HTTP), its Origin is the Host that was asked or `public_url`,
/// which is where browsers are when a proxy changes the Host. No script of a page can set any of them. A request without
/// both is no page's.
fn is_same_origin(headers: &HeaderMap, public_url: Option<&str>) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text("sec-fetch-site") {
        return site == "same-origin";
    }
    let Some(origin) = text(ORIGIN.as_str()) else { return false };
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    let is_host =
        authority.zip(text(HOST.as_str())).is_some_and(|(authority, host)| authority.eq_ignore_ascii_case(host));
    let public = public_url.and_then(|url| url::Url::parse(url).ok()).map(|url| url.origin().ascii_serialization());
    is_host || public.is_some_and(|public| public.eq_ignore_ascii_case(origin))
}

/// The session that a request presents by cookie.
///
/// # Errors
/// 403 when it changes something, or opens a socket, for a page of another site.
pub(super) fn session_cookie<'a>(parts: &'a Parts, kernel: &Kernel) -> Result<Option<&'a str>, Problem> {
    let Some(cookie) = Cookies(&parts.headers).get(SESSION_COOKIE) else { return Ok(None) };
    let is_safe = parts.method.is_safe() && !parts.headers.contains_key(UPGRADE);
    if is_safe || kernel.is_own_page(&parts.headers) {
        Ok(Some(cookie))
    } else {
        Err(Problem::new(codes::FOREIGN_ORIGIN))
    }
}

impl<S> FromRequestParts<S> for Credential
where
    S: Send + Sync,
    Kernel: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        if let Some(known) = parts.extensions.get::<Self>() {
            return Ok(known.clone());
        }
        let kernel = Kernel::from_ref(state);
        let Ok(client) = Client::from_request_parts(parts, state).await;
        let credential = if let Some(token) = bearer_token(&parts.headers) {
            kernel.admit(token, client.ip).await?
        } else if let Some(cookie) = session_cookie(parts, &kernel)? {
            let found = kernel.authenticate_session(cookie).await.map_err(Problem::from)?;
            found.ok_or_else(|| kernel.wrong_credential(client.ip))?
        } else {
            return Err(Problem::new(codes::UNAUTHORIZED));
        };
        parts.extensions.insert(credential.clone());
        Ok(credential)
    }
}

impl<S> FromRequestParts<S> for Principal
where
    S: Send + Sync,
    Kernel: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Ok(Credential::from_request_parts(parts, state).await?.principal)
    }
}

/// The organisation of a keyless request: the one bound to its Host name, else `default_org`, else 404.
#[derive(Debug, Clone)]
pub struct Tenant(pub Org);

impl<S> FromRequestParts<S> for Tenant
where
    S: Send + Sync,
    Kernel: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let kernel = Kernel::from_ref(state);
        let host = host_name(parts);
        let mut org = kernel.org_by_host(&host).await.map_err(Problem::from)?;
        if org.is_none()
            && let Some(slug) = &kernel.config.default_org
        {
            org = kernel.org_by_slug(slug).await.map_err(Problem::from)?;
        }
        org.map(Self).ok_or_else(Problem::not_found)
    }
}

/// The Host without its port, or the authority of HTTP/2.
fn host_name(parts: &Parts) -> String {
    let header = parts.headers.get(HOST).and_then(|value| value.to_str().ok());
    let host = header.or_else(|| parts.uri.host()).unwrap_or_default();
    let without_port = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    without_port.trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(public_url: Option<&str>, headers: &[(&'static str, &'static str)]) -> bool {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        is_same_origin(&headers, public_url)
    }

    #[test]
    fn a_page_is_ours_by_the_host_that_it_asked_or_by_the_public_address() {
        let public = Some("https://calls.example.org/pbx/");
        let asked = |origin| [("host", "10.0.0.7:8080"), ("origin", origin)];
        assert!(own(None, &asked("http://10.0.0.7:8080")));
        assert!(!own(None, &asked("https://calls.example.org")), "nobody said that this is us");
        assert!(own(public, &asked("https://calls.example.org")));
        assert!(own(Some("https://Calls.Example.org:443"), &asked("https://calls.example.org")));
        for other in ["http://calls.example.org", "https://calls.example.org:8443", "https://evil.example", "null"] {
            assert!(!own(public, &asked(other)), "{other}");
        }
        assert!(!own(public, &[("host", "10.0.0.7:8080")]), "no page says nothing");
        let cross = [("origin", "https://calls.example.org"), ("sec-fetch-site", "cross-site")];
        assert!(!own(public, &cross), "the browser knows better");
    }
}
