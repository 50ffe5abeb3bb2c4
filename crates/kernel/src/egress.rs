//! The guarded HTTP client: the only way to a URL that a user named (http step, play, webhooks, publish).
//!
//! Invariant: every connection goes to an address that was checked for exactly this request: public, or opened by the
//! operator's `[egress] allow`. Rules: contracts/flows.md, "SSRF".

mod address;
mod allow;
mod message;
mod pool;
mod stream;

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::{Method, Response};
use tokio::sync::Semaphore;
use url::{Host, Url};

pub use allow::{AllowList, BadEntry};
use message::explain;
pub use message::{EgressError, EgressRequest, EgressResponse};
use pool::{Destination, Pool};
pub use stream::Channel;

use crate::config::EgressConfig;

/// Time for one name look-up.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(3);
/// Look-ups that may run at once; each holds a thread.
const MAX_LOOK_UPS: usize = 64;
/// Requests that may be under way at once in the whole server.
const MAX_IN_FLIGHT: usize = 2_048;
/// Of a body that does not matter, this much is read, in bytes, and for so long.
const MAX_DRAINED: usize = 16 * 1024;
const MAX_DRAINING: Duration = Duration::from_millis(100);
/// Addresses of one name that are tried in turn.
const MAX_ADDRESSES: usize = 4;
/// The schemes of requests, and those of streams.
const HTTP: [&str; 2] = ["http", "https"];
const WEB_SOCKET: [&str; 2] = ["ws", "wss"];
/// Headers that belong to the connection, not to the user; in lower case.
pub const FORBIDDEN_HEADERS: [&str; 10] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Finds the addresses of a name. The system's resolver in production, a table in tests.
pub trait Resolve: Send + Sync {
    /// All addresses of `host`.
    fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, std::io::Result<Vec<IpAddr>>>;
}

/// The resolver of the operating system.
#[derive(Debug)]
pub struct SystemResolver {
    look_ups: Arc<Semaphore>,
}

impl Default for SystemResolver {
    fn default() -> Self {
        Self { look_ups: Arc::new(Semaphore::new(MAX_LOOK_UPS)) }
    }
}

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, std::io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            let place = Arc::clone(&self.look_ups).acquire_owned().await.map_err(std::io::Error::other)?;
            let host = host.to_owned();
            // The place is the thread's: whoever stops waiting leaves the look-up behind, and it still counts.
            let found = tokio::task::spawn_blocking(move || {
                let _place = place;
                (host.as_str(), 0).to_socket_addrs().map(|found| found.map(|found| found.ip()).collect())
            });
            found.await.map_err(std::io::Error::other)?
        })
    }
}

/// The guarded client. Cheap to clone.
#[derive(Clone)]
pub struct Egress(Arc<Inner>);

struct Inner {
    allow: AllowList,
    resolver: Box<dyn Resolve>,
    pool: Pool,
    in_flight: Semaphore,
}

impl std::fmt::Debug for Egress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Egress")
    }
}

impl Egress {
    /// The client of `[egress]`, with the system's resolver.
    ///
    /// # Errors
    /// An entry of the allow-list or a certificate file that cannot be read.
    pub fn new(config: &EgressConfig) -> Result<Self, EgressError> {
        Self::with_resolver(config, Box::new(SystemResolver::default()))
    }

    /// The same with another resolver.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_resolver(config: &EgressConfig, resolver: Box<dyn Resolve>) -> Result<Self, EgressError> {
        Ok(Self(Arc::new(Inner {
            allow: AllowList::parse(&config.allow).map_err(|_| EgressError::Url("egress.allow cannot be read"))?,
            resolver,
            pool: Pool::new(config.ca_file.as_deref())?,
            in_flight: Semaphore::new(MAX_IN_FLIGHT),
        })))
    }

    /// What can be said of a URL before it is called: its form, and its address if it names one. Names are judged at
    /// each request, when they are resolved.
    ///
    /// # Errors
    /// [`EgressError::Url`] or [`EgressError::Blocked`].
    pub fn judge_literal(&self, url: &Url) -> Result<(), EgressError> {
        self.judge_form(url, &HTTP)
    }

    /// The same of a stream's URL.
    ///
    /// # Errors
    /// As [`Self::judge_literal`].
    pub fn judge_stream(&self, url: &Url) -> Result<(), EgressError> {
        self.judge_form(url, &WEB_SOCKET)
    }

    fn judge_form(&self, url: &Url, schemes: &[&str]) -> Result<(), EgressError> {
        let (host, port) = check_form(url, schemes)?;
        match literal(&host) {
            Some(address) => self.judge(url, port, &[address]),
            None => Ok(()),
        }
    }

    /// Whether something other than HTTP that users name may go to an address: public, or opened by
    /// the operator. `host` is what they wrote.
    #[must_use]
    pub fn permits(&self, host: &str, address: SocketAddr) -> bool {
        address::is_public(address.ip()) || self.0.allow.permits(host, address.port(), address.ip())
    }

    /// Sends one request and reads the whole answer. No retries.
    ///
    /// # Errors
    /// Any [`EgressError`]; an answer of 4xx or 5xx is none.
    pub async fn send(&self, request: EgressRequest) -> Result<EgressResponse, EgressError> {
        let _place = self.0.in_flight.try_acquire().map_err(|_| EgressError::Busy)?;
        let timeout = Duration::from_millis(request.timeout_ms);
        // On the heap: the state of a TLS connection would swell every task that calls this.
        tokio::time::timeout(timeout, Box::pin(self.follow(request))).await.unwrap_or(Err(EgressError::Timeout))
    }

    async fn follow(&self, mut request: EgressRequest) -> Result<EgressResponse, EgressError> {
        let mut headers = read_headers(&request.headers)?;
        let mut redirects_left = request.max_redirects;
        loop {
            let response = self.hop(&request, &headers).await?;
            if request.max_redirects == 0 || !is_redirect(&response) {
                return read_body(response, &request).await;
            }
            redirects_left = redirects_left.checked_sub(1).ok_or(EgressError::Redirect)?;
            redirect(&mut request, &mut headers, &response)?;
        }
    }

    /// One request to one checked address; the next address of the name only when there is no connection.
    async fn hop(&self, request: &EgressRequest, headers: &HeaderMap) -> Result<Response, EgressError> {
        let url = &request.url;
        let (host, port) = check_form(url, &HTTP)?;
        let addresses = self.addresses(url, &host, port).await?;
        let host = url.host_str().unwrap_or_default().to_owned();
        let mut last = EgressError::Resolve { host: host.clone() };
        for address in addresses.into_iter().take(MAX_ADDRESSES) {
            let destination = Destination { host: host.clone(), port, address, tls: url.scheme() == "https" };
            let client = self.0.pool.client(&destination)?;
            let sent = client
                .request(request.method.clone(), url.clone())
                .headers(headers.clone())
                .body(request.body.clone())
                .send()
                .await;
            match sent.map_err(|e| explain(&e)) {
                Err(error @ EgressError::Connect(_)) => last = error,
                done => return done,
            }
        }
        Err(last)
    }

    /// The addresses of a URL's host, every one of them good.
    async fn addresses(&self, url: &Url, host: &Host<&str>, port: u16) -> Result<Vec<IpAddr>, EgressError> {
        let addresses = match literal(host) {
            Some(address) => vec![address],
            None => self.resolve(&host.to_string()).await?,
        };
        self.judge(url, port, &addresses)?;
        Ok(addresses)
    }

    async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, EgressError> {
        let failed = || EgressError::Resolve { host: host.to_owned() };
        let found = tokio::time::timeout(RESOLVE_TIMEOUT, self.0.resolver.resolve(host))
            .await
            .map_err(|_| failed())?
            .map_err(|_| failed())?;
        if found.is_empty() { Err(failed()) } else { Ok(found) }
    }

    /// Every address must be good: a name with one public and one private address is a trap.
    fn judge(&self, url: &Url, port: u16, addresses: &[IpAddr]) -> Result<(), EgressError> {
        let host = url.host_str().unwrap_or_default();
        let good = |address: &IpAddr| address::is_public(*address) || self.0.allow.permits(host, port, *address);
        if addresses.iter().all(good) { Ok(()) } else { Err(EgressError::Blocked { host: host.to_owned() }) }
    }
}

/// Scheme, user name, host and port. The url crate has already read decimal, octal and hexadecimal addresses.
fn check_form<'u>(url: &'u Url, schemes: &[&str]) -> Result<(Host<&'u str>, u16), EgressError> {
    if !schemes.contains(&url.scheme()) {
        return Err(EgressError::Url("only http and https; ws and wss for a stream"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(EgressError::Url("no user name or password"));
    }
    let host = url.host().ok_or(EgressError::Url("no host"))?;
    let port = url.port_or_known_default().filter(|port| *port > 0).ok_or(EgressError::Url("no port"))?;
    Ok((host, port))
}

fn literal(host: &Host<&str>) -> Option<IpAddr> {
    match host {
        Host::Ipv4(v4) => Some((*v4).into()),
        Host::Ipv6(v6) => Some((*v6).into()),
        Host::Domain(_) => None,
    }
}

fn read_headers(pairs: &[(String, String)]) -> Result<HeaderMap, EgressError> {
    let mut headers = HeaderMap::with_capacity(pairs.len());
    for (name, value) in pairs {
        let refused = || EgressError::Header(name.clone());
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| refused())?;
        if FORBIDDEN_HEADERS.contains(&key.as_str()) {
            return Err(refused());
        }
        headers.append(key, HeaderValue::from_str(value).map_err(|_| refused())?);
    }
    Ok(headers)
}

fn is_redirect(response: &Response) -> bool {
    matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Turns the request to where the answer points; RFC 9110 section 15.4.
fn redirect(request: &mut EgressRequest, headers: &mut HeaderMap, response: &Response) -> Result<(), EgressError> {
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let target = location.and_then(|location| request.url.join(location).ok()).ok_or(EgressError::Redirect)?;
    let rewrites_post = matches!(response.status().as_u16(), 301 | 302) && request.method == Method::POST;
    if response.status().as_u16() == 303 || rewrites_post {
        request.method = Method::GET;
        request.body = Bytes::new();
        headers.remove(CONTENT_TYPE);
    }
    if target.origin() != request.url.origin() {
        // What was meant for one server is not shown to another.
        headers.remove(AUTHORIZATION);
        headers.remove(COOKIE);
    }
    request.url = target;
    Ok(())
}

async fn read_body(mut response: Response, request: &EgressRequest) -> Result<EgressResponse, EgressError> {
    let body = if request.max_body == 0 {
        drain(&mut response).await;
        Bytes::new()
    } else {
        collect(&mut response, request.max_body).await?
    };
    Ok(EgressResponse {
        status: response.status().as_u16(),
        headers: std::mem::take(response.headers_mut()),
        body,
        url: request.url.clone(),
    })
}

async fn collect(response: &mut Response, max: usize) -> Result<Bytes, EgressError> {
    if response.content_length().is_some_and(|length| length > max as u64) {
        return Err(EgressError::TooLarge { max });
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| explain(&e))? {
        if body.len() + chunk.len() > max {
            return Err(EgressError::TooLarge { max });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// Reads a short body away, so that its connection can be used again; a long or slow one costs the connection.
async fn drain(response: &mut Response) {
    let read_away = async {
        let mut left = MAX_DRAINED;
        while let Ok(Some(chunk)) = response.chunk().await {
            left = left.saturating_sub(chunk.len());
            if left == 0 {
                break;
            }
        }
    };
    // Late or not: the answer was in the headers.
    let _ = tokio::time::timeout(MAX_DRAINING, read_away).await;
}

#[cfg(test)]
mod tests;
