//! An HTTP client for tests: a base address, a credential, and answers that are easy to look at.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::ear::Heard;

/// The cookies of sessions, of which a browser of a test keeps the last.
const COOKIES: [&str; 2] = ["tandem_session=", "tandem_party="];

/// One caller of the API.
#[derive(Clone)]
pub(crate) struct Client {
    base: String,
    token: Option<String>,
    /// Of a session: `name=value`, empty without one.
    cookie: Arc<Mutex<String>>,
    http: reqwest::Client,
}

/// A request with the fields of a form.
pub(crate) fn form(request: reqwest::RequestBuilder, fields: &[(&str, &str)]) -> reqwest::RequestBuilder {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    request.header("content-type", "application/x-www-form-urlencoded").body(body)
}

/// The hidden fields of the form of a page that posts to `action`.
pub(crate) fn hidden_fields(page: &str, action: &str) -> Vec<(String, String)> {
    let begin = format!("<form method=\"post\" action=\"{action}\"");
    let (_, form) = page.split_once(&begin).unwrap_or_else(|| panic!("no form posts to {action}: {page}"));
    let (form, _) = form.split_once("</form>").unwrap();
    let read = |input: &str| {
        let (name, rest) = input.split_once("\" value=\"").unwrap();
        let (value, _) = rest.split_once('"').unwrap();
        (unescaped(name), unescaped(value))
    };
    form.split("<input type=\"hidden\" name=\"").skip(1).map(read).collect()
}

/// A text of a page as its reader sees it.
pub(crate) fn unescaped(html: &str) -> String {
    let known = [("&#60;", "<"), ("&#62;", ">"), ("&#34;", "\""), ("&#39;", "'"), ("&#38;", "&")];
    known.iter().fold(html.to_owned(), |text, (escaped, plain)| text.replace(escaped, plain))
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error} in {:?}", self.text))
    }

    /// The body, when the status is this one.
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        if self.text.is_empty() { Value::Null } else { self.json() }
    }
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().unwrap();
        Self { base: format!("http://{address}"), token: None, cookie: Arc::default(), http }
    }

    /// The same as a browser: it keeps its session's cookie and is not led on by itself.
    pub(crate) fn browsing(mut self) -> Self {
        let builder = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20));
        self.http = builder.redirect(reqwest::redirect::Policy::none()).build().unwrap();
        self.cookie = Arc::default();
        self
    }

    /// A form that a page of the server itself sends.
    pub(crate) fn post_page(&self, path: &str, fields: &[(&str, &str)]) -> reqwest::RequestBuilder {
        form(self.request(Method::POST, path).header("sec-fetch-site", "same-origin"), fields)
    }

    /// Fills in the form of a page that posts to `action`, and sends it with what stands hidden in it, as a browser does.
    pub(crate) async fn submit(&self, page: &str, action: &str, fields: &[(&str, &str)]) -> Reply {
        let shown = self.get(page).await;
        assert_eq!(shown.status, 200, "{page}: {}", shown.text);
        self.submit_shown(&shown.text, action, fields).await
    }

    /// The same for a page that is open already, perhaps for a long time.
    pub(crate) async fn submit_shown(&self, page: &str, action: &str, fields: &[(&str, &str)]) -> Reply {
        let hidden = hidden_fields(page, action);
        let hidden = hidden.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let all: Vec<(&str, &str)> = hidden.chain(fields.iter().copied()).collect();
        self.send(self.post_page(action, &all)).await
    }

    /// The same with a credential.
    pub(crate) fn bearing(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// Its credential, for a program that asks by itself.
    pub(crate) fn token(&self) -> &str {
        self.token.as_deref().expect("a client with a credential")
    }

    /// The cookie of its session, as a browser sends it.
    pub(crate) fn cookie(&self) -> String {
        self.cookie.lock().unwrap().clone()
    }

    /// A request that is not sent yet, for headers of its own.
    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        let cookie = self.cookie.lock().unwrap();
        let request = if cookie.is_empty() { request } else { request.header("cookie", cookie.as_str()) };
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Sends a request that was put together by hand.
    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Reply {
        let begun = std::time::Instant::now();
        let response = request.send().await.unwrap_or_else(|error| panic!("after {:?}: {error:?}", begun.elapsed()));
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        for line in headers.get_all("set-cookie").iter().filter_map(|line| line.to_str().ok()) {
            if let Some(pair) = line.split(';').next().filter(|pair| COOKIES.iter().any(|name| pair.starts_with(name)))
            {
                *self.cookie.lock().unwrap() = pair.to_owned();
            }
        }
        Reply { status, headers, text: response.text().await.unwrap() }
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send(self.request(Method::GET, path)).await
    }

    /// The channels of a WAV file.
    pub(crate) async fn audio(&self, path: &str) -> Vec<Heard> {
        let response = self.request(Method::GET, path).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("audio.wav");
        std::fs::write(&file, response.bytes().await.unwrap()).unwrap();
        let channels = usize::from(hound::WavReader::open(&file).unwrap().spec().channels);
        (0..channels).map(|channel| Heard::read_channel(&file, channel)).collect()
    }

    pub(crate) async fn delete(&self, path: &str) -> Reply {
        self.send(self.request(Method::DELETE, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Reply {
        self.send(self.request(Method::PATCH, path).json(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Reply {
        self.send(self.request(Method::PUT, path).json(body)).await
    }

    /// Posts bytes as they are.
    pub(crate) async fn post_text(&self, path: &str, body: &str) -> Reply {
        let request = self.request(Method::POST, path).header("content-type", "application/json");
        self.send(request.body(body.to_owned())).await
    }

    /// Asks until the answer has this status.
    pub(crate) async fn until_status(&self, path: &str, status: u16) {
        let mut last = 0;
        for _ in 0..200 {
            last = self.get(path).await.status;
            if last == status {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
        panic!("{path} answered {last}, never {status}");
    }

    /// Asks again and again until the answer is as it should be.
    pub(crate) async fn until(&self, path: &str, what: &str, good: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let waited = timeout(Duration::from_secs(30), async {
            loop {
                last = self.get(path).await.expect(200);
                if good(&last) {
                    break;
                }
                sleep(Duration::from_millis(50)).await;
            }
        });
        let came = waited.await;
        assert!(came.is_ok(), "{path}: not within 30 s: {what}; last: {last:#}");
        last
    }
}
