//! What goes out, what comes back, and how it can fail.
//!
//! Invariant: an error says what happened in our words, never with the URL, whose query may hold a secret.

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::HeaderMap;
use url::Url;

/// One request to a URL that a user named.
#[derive(Debug, Clone)]
pub struct EgressRequest {
    /// The method.
    pub method: Method,
    /// Where to; http or https.
    pub url: Url,
    /// Name and value; those of the connection (Host, Content-Length ...) are refused.
    pub headers: Vec<(String, String)>,
    /// The body; empty for none.
    pub body: Bytes,
    /// For everything together: look-up, connection, answer and its body, redirects too.
    pub timeout_ms: u64,
    /// Largest answer body in bytes; a larger one is an error. 0 = the body does not matter: the answer is there with
    /// its headers, and whatever follows is dropped.
    pub max_body: usize,
    /// How many redirects are followed; each target is checked like the first. 0 = a 3xx is the answer.
    pub max_redirects: u8,
}

impl EgressRequest {
    /// A request without body and headers: 10 s, 64 KiB of answer, no redirects.
    pub fn new(method: Method, url: Url) -> Self {
        Self {
            method,
            url,
            headers: Vec::new(),
            body: Bytes::new(),
            timeout_ms: 10_000,
            max_body: 64 * 1024,
            max_redirects: 0,
        }
    }
}

/// What came back, whatever its status.
#[derive(Debug, Clone)]
pub struct EgressResponse {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// Where the answer came from, after redirects.
    pub url: Url,
}

impl EgressResponse {
    /// A header's value, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EgressError {
    /// Not http or https, a user name in it, or no host.
    #[error("the URL cannot be called: {0}")]
    Url(&'static str),
    /// The address, or one of the addresses of the name, is not public and not on the allow-list.
    #[error("{host} is not a public address, and the operator's setting egress.allow does not open it")]
    Blocked {
        /// The host of the URL.
        host: String,
    },
    /// A header that the request may not set, or that holds control characters.
    #[error("the header \"{0}\" cannot be sent")]
    Header(String),
    /// The name has no address.
    #[error("the name {host} cannot be resolved")]
    Resolve {
        /// The host of the URL.
        host: String,
    },
    /// No connection.
    #[error("no connection: {0}")]
    Connect(String),
    /// No agreement on TLS, or a certificate that is not trusted.
    #[error("TLS: {0}")]
    Tls(String),
    /// The time was up.
    #[error("no answer in time")]
    Timeout,
    /// The connection broke, or what came back is not HTTP.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// The answer's body is larger than allowed.
    #[error("the answer is larger than {max} bytes")]
    TooLarge {
        /// The cap in bytes.
        max: usize,
    },
    /// More redirects than allowed, or one that leads nowhere.
    #[error("too many redirects, or one that cannot be followed")]
    Redirect,
    /// `[egress] ca_file` cannot be used.
    #[error("egress.ca_file: {0}")]
    Authority(String),
    /// Too many requests are under way in this server.
    #[error("too many outgoing requests at once")]
    Busy,
}

impl EgressError {
    /// A stable word for events and variables (`http.error`).
    pub fn code(&self) -> &'static str {
        match self {
            Self::Url(_) => "invalid_url",
            Self::Blocked { .. } => "url_blocked",
            Self::Header(_) => "invalid_header",
            Self::Resolve { .. } => "dns",
            Self::Connect(_) => "connect",
            Self::Tls(_) | Self::Authority(_) => "tls",
            Self::Timeout => "timeout",
            Self::Broken(_) => "broken",
            Self::TooLarge { .. } => "too_large",
            Self::Redirect => "redirect",
            Self::Busy => "busy",
        }
    }

    /// Whether the server was never reached, so that repeating cannot do anything twice.
    pub fn is_connect(&self) -> bool {
        matches!(self, Self::Resolve { .. } | Self::Connect(_) | Self::Tls(_) | Self::Busy)
    }
}

/// Sorts the client's error into ours, without the URL that it prints: a query may hold a secret.
pub(super) fn explain(error: &reqwest::Error) -> EgressError {
    let mut text = String::new();
    let mut tls = false;
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        tls |= is_tls(inner);
        text = inner.to_string();
        cause = inner.source();
    }
    match (tls, error.is_connect(), error.is_timeout()) {
        (true, ..) => EgressError::Tls(text),
        (_, true, true) => EgressError::Connect("no connection within 3 s".into()),
        (_, true, false) => EgressError::Connect(text),
        (_, false, true) => EgressError::Timeout,
        _ => EgressError::Broken(text),
    }
}

/// The TLS error sits in I/O errors that wrap each other, and those do not name it as their source.
fn is_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    error.is::<rustls::Error>() || wrapped.is_some_and(|inner| is_tls(inner))
}
