//! What a page of a party sent: a few texts, from a form or as JSON.
//!
//! Invariant: it is small, and no text in it holds U+0000.

use std::collections::BTreeMap;

use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Uri};
use kernel::error::codes;
use kernel::http::{find_nul, read_body};
use kernel::{Problem, Secret};
use serde::Deserialize;

/// Largest body, in bytes.
const MAX_BODY: usize = 16 * 1024;
/// Fields of a form at most.
const MAX_FIELDS: usize = 32;

/// The fields of a form.
#[derive(Debug, Default)]
pub(super) struct Fields(BTreeMap<String, String>);

impl Fields {
    /// The value of a field without blanks around it; empty when it did not come.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", |value| value.trim())
    }

    fn read(body: &[u8]) -> Result<Self, Problem> {
        let mut fields = BTreeMap::new();
        for (count, (name, value)) in url::form_urlencoded::parse(body).enumerate() {
            if count >= MAX_FIELDS {
                return Err(Problem::new(codes::INVALID_REQUEST).detail(format!("at most {MAX_FIELDS} fields")));
            }
            if name.contains('\0') || value.contains('\0') {
                return Err(Problem::new(codes::NUL_CHARACTER));
            }
            fields.entry(name.into_owned()).or_insert_with(|| value.into_owned());
        }
        Ok(Self(fields))
    }
}

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        Self::read(&read_body(request.into_body(), MAX_BODY).await?)
    }
}

/// Whether a body says that it is JSON.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().ends_with("json")
}

/// A sign-in token, wherever it came: in the query, as a field of a form, or in JSON, each by itself or in `session`.
#[derive(Debug)]
pub(super) struct Presented(pub(super) Option<Secret>);

#[derive(Deserialize)]
struct InJson {
    acc_tok: Option<String>,
    session: Option<InSession>,
}

#[derive(Deserialize)]
struct InSession {
    acc_tok: Option<String>,
}

impl Presented {
    fn of_pairs(pairs: &[u8]) -> Result<Option<String>, Problem> {
        let fields = Fields::read(pairs)?;
        let value =
            ["acc_tok", "session[acc_tok]"].map(|name| fields.get(name)).into_iter().find(|text| !text.is_empty());
        Ok(value.map(str::to_owned))
    }

    /// The one of an address.
    ///
    /// # Errors
    /// What cannot be read.
    pub(super) fn in_query(uri: &Uri) -> Result<Option<Secret>, Problem> {
        Ok(Self::of_pairs(uri.query().unwrap_or_default().as_bytes())?.map(whole))
    }

    fn of_json(body: &[u8]) -> Result<Option<String>, Problem> {
        let unreadable = || Problem::new(codes::UNREADABLE_JSON);
        let text = str::from_utf8(body).map_err(|_| unreadable())?;
        if let Some(pointer) = find_nul(text) {
            return Err(Problem::new(codes::NUL_CHARACTER).and(pointer, "nul_character", "U+0000 is refused"));
        }
        let sent: InJson = serde_json::from_str(text).map_err(|_| unreadable())?;
        Ok(sent.acc_tok.or_else(|| sent.session?.acc_tok).filter(|text| !text.trim().is_empty()))
    }
}

impl<S: Send + Sync> FromRequest<S> for Presented {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let in_query = Self::in_query(request.uri())?;
        let is_json = is_json(request.headers());
        let body = read_body(request.into_body(), MAX_BODY).await?;
        let in_body = match body.is_empty() {
            true => None,
            false if is_json => Self::of_json(&body)?,
            false => Self::of_pairs(&body)?,
        };
        Ok(Self(in_body.map(whole).or(in_query)))
    }
}

/// The `+` of a token that was not encoded has become a blank.
fn whole(text: String) -> Secret {
    Secret::new(text.trim().replace(' ', "+"))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn presented(path: &str, kind: &str, body: &'static str) -> Result<Option<String>, Problem> {
        let request = Request::post(path).header(CONTENT_TYPE, kind).body(body.into()).unwrap();
        Ok(Presented::from_request(request, &()).await?.0.map(|token| token.expose().to_owned()))
    }

    #[tokio::test]
    async fn a_token_comes_in_each_of_four_ways() {
        const FORM: &str = "application/x-www-form-urlencoded";
        for (path, kind, body) in [
            ("/sessions?acc_tok=t1.a-b_c", FORM, ""),
            ("/sessions", FORM, "acc_tok=t1.a-b_c"),
            ("/sessions", FORM, "session%5Bacc_tok%5D=t1.a-b_c&commit=Sign+in"),
            ("/sessions", "application/json", r#"{"acc_tok":"t1.a-b_c"}"#),
            ("/sessions", "application/json; charset=utf-8", r#"{"session":{"acc_tok":"t1.a-b_c"}}"#),
            ("/sessions?acc_tok=other", FORM, "acc_tok=t1.a-b_c"),
        ] {
            assert_eq!(presented(path, kind, body).await.unwrap().as_deref(), Some("t1.a-b_c"), "{path} {body}");
        }
        assert_eq!(presented("/sessions", FORM, "other=1").await.unwrap(), None);
        assert_eq!(presented("/sessions?acc_tok=BAh+a==--1f", FORM, "").await.unwrap().as_deref(), Some("BAh+a==--1f"));
        assert!(presented("/sessions", "application/json", "[").await.is_err());
        assert!(presented("/sessions", FORM, "acc_tok=%00").await.is_err());
    }
}
