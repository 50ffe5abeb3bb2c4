//! The cookies of a browser: the session, and how its owner likes to see pages.
//!
//! Invariant: the session's cookie is out of reach for scripts and other sites, and Secure whenever the request was.

use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use kernel::Secret;
use kernel::http::{Client, Cookies, SESSION_COOKIE};

/// A session's life in seconds, as in the store.
const SESSION_SECONDS: u32 = 14 * 86_400;
const THEME_COOKIE: &str = "tandem_theme";
const THEME_SECONDS: u32 = 365 * 86_400;

/// How pages look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Theme {
    /// As the system has it.
    #[default]
    System,
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

impl Theme {
    /// The word in the cookie and on the page.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    /// Any other word is the system's.
    pub(super) fn parse(word: &str) -> Self {
        match word {
            "light" => Self::Light,
            "dark" => Self::Dark,
            _ => Self::System,
        }
    }

    /// What the browser asked for.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        Cookies(headers).get(THEME_COOKIE).map(Self::parse).unwrap_or_default()
    }
}

/// Signs the browser in.
pub(super) fn give(response: &mut Response, client: Client, token: &Secret) {
    set(response, client, SESSION_COOKIE, token.expose(), SESSION_SECONDS);
}

/// Signs the browser out.
pub(super) fn take(response: &mut Response, client: Client) {
    set(response, client, SESSION_COOKIE, "", 0);
}

/// Remembers how pages look.
pub(super) fn keep_theme(response: &mut Response, client: Client, theme: Theme) {
    set(response, client, THEME_COOKIE, theme.as_str(), THEME_SECONDS);
}

fn set(response: &mut Response, client: Client, name: &str, value: &str, seconds: u32) {
    let secure = if client.https { "; Secure" } else { "" };
    let line = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}");
    // Words and tokens of ours: always a header's value.
    if let Ok(line) = HeaderValue::from_str(&line) {
        response.headers_mut().append(SET_COOKIE, line);
    }
}
