//! An application's word for a visitor: a JSON Web Token, or the HMAC of a user's name, made on its server.
//!
//! Invariant: nothing of a token is believed before its signature holds, and only HS256 is one (RFC 7519; RFC 8725
//! section 3.1). Any of the live secrets will do, so that they can be changed without a gap.
//! Source: docs/contracts/chat.md, "Security of a public widget".

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use kernel::Secret;
use kernel::secret::{hex, same};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::Sha256;

/// No token is good for longer, milliseconds.
const MAX_LIFE_MS: i64 = 24 * 3_600_000;
/// So far the clocks of two servers may differ, milliseconds.
const SKEW_MS: i64 = 60_000;
/// Longest token that is looked at, bytes.
const MAX_TOKEN: usize = 4_096;
/// Longest name of a user, characters.
const MAX_USER: usize = 200;

/// What a page shows to prove who its visitor is.
#[derive(Clone, Copy)]
pub enum Proof<'a> {
    /// A JSON Web Token with `sub`, `org` and `exp`.
    Token(&'a str),
    /// The HMAC-SHA256 of the user's name, in hexadecimal.
    Hash(&'a str),
}

/// What the proof is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Any of these is the organisation of a token: its id, its slug, and the label that the request names.
    pub orgs: &'a [&'a str],
    /// The user that the request names; a token says it by itself.
    pub user_id: Option<&'a str>,
}

/// Why a proof proves nothing. Whoever sent it may know: it is the application's own page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unproved {
    /// It has not the form of one.
    #[error("the identity is neither a JSON Web Token with HS256 nor a hexadecimal HMAC-SHA256")]
    Malformed,
    /// The application has no secret, or another one signed.
    #[error("the identity is not signed with a live identity_secret of the application")]
    Signature,
    /// Its `exp` has passed, or its `nbf` is still to come.
    #[error("the identity token is over, or not yet good")]
    Time,
    /// Its `exp` lies further ahead than a token may live.
    #[error("the identity token is good for longer than 24 hours")]
    TooLong,
    /// Its `org` is another one.
    #[error("the identity token is of another organisation")]
    Org,
    /// The request names another user, or none where one is needed.
    #[error("the identity is not that of user_id")]
    User,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    org: String,
    /// Seconds since 1970; some issuers write a fraction.
    exp: f64,
    nbf: Option<f64>,
}

/// Whether a credential looks like a JSON Web Token.
#[must_use]
pub fn looks_like_token(text: &str) -> bool {
    text.starts_with("eyJ") && text.matches('.').count() == 2
}

/// The user that a proof is of.
///
/// # Errors
/// Why it proves nothing.
pub fn verify(secrets: &[Secret], proof: Proof<'_>, expected: Expected<'_>, now_ms: i64) -> Result<String, Unproved> {
    let user = match proof {
        Proof::Token(token) => read_token(secrets, token, expected.orgs, now_ms)?,
        Proof::Hash(hash) => {
            let user = expected.user_id.ok_or(Unproved::User)?;
            read_hash(secrets, hash, user)?;
            user.to_owned()
        }
    };
    let is_name = !user.is_empty() && user.chars().count() <= MAX_USER && !user.chars().any(char::is_control);
    if !is_name || expected.user_id.is_some_and(|named| named != user) {
        return Err(Unproved::User);
    }
    Ok(user)
}

fn read_token(secrets: &[Secret], token: &str, orgs: &[&str], now_ms: i64) -> Result<String, Unproved> {
    if token.len() > MAX_TOKEN {
        return Err(Unproved::Malformed);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(Unproved::Malformed)?;
    let (header, claims) = signed.split_once('.').ok_or(Unproved::Malformed)?;
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Unproved::Malformed)?;
    if part::<Header>(header)?.alg != "HS256" {
        return Err(Unproved::Malformed);
    }
    is_signed(secrets, signed, &hex(&signature))?;
    let claims: Claims = part(claims)?;
    let ms = |seconds: f64| seconds * 1_000.0 - now_ms as f64;
    if ms(claims.exp) <= 0.0 || claims.nbf.is_some_and(|nbf| ms(nbf) > SKEW_MS as f64) {
        return Err(Unproved::Time);
    }
    if ms(claims.exp) > (MAX_LIFE_MS + SKEW_MS) as f64 {
        return Err(Unproved::TooLong);
    }
    if !orgs.contains(&claims.org.as_str()) {
        return Err(Unproved::Org);
    }
    Ok(claims.sub)
}

fn part<T: DeserializeOwned>(text: &str) -> Result<T, Unproved> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| Unproved::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| Unproved::Malformed)
}

fn read_hash(secrets: &[Secret], hash: &str, user: &str) -> Result<(), Unproved> {
    let is_hash = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_hash {
        return Err(Unproved::Malformed);
    }
    is_signed(secrets, user, &hash.to_ascii_lowercase())
}

/// Whether one of the secrets signed `text`.
fn is_signed(secrets: &[Secret], text: &str, signature: &str) -> Result<(), Unproved> {
    let by = |secret: &Secret| {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).ok()?;
        mac.update(text.as_bytes());
        Some(same(&hex(&mac.finalize().into_bytes()), signature))
    };
    // Each is tried, whichever it was: the time tells nothing.
    let good = secrets.iter().filter(|secret| by(secret) == Some(true)).count();
    if good > 0 { Ok(()) } else { Err(Unproved::Signature) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const NOW_MS: i64 = 1_790_000_000_000;
    const NOW_S: i64 = NOW_MS / 1_000;
    const SECRET: &str = "a secret of enough bytes";

    fn signature(text: &str, secret: &str) -> Vec<u8> {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(text.as_bytes());
        mac.finalize().into_bytes().to_vec()
    }

    fn token(header: &Value, claims: &Value, secret: &str) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature(&signed, secret)))
    }

    fn asked(proof: Proof<'_>, user_id: Option<&str>) -> Result<String, Unproved> {
        let secrets = ["another live secret", SECRET].map(Secret::new);
        verify(&secrets, proof, Expected { orgs: &["org_1", "acme"], user_id }, NOW_MS)
    }

    #[test]
    fn a_token_is_good_for_its_user_organisation_and_day() {
        let hs256 = json!({"alg": "HS256", "typ": "JWT"});
        let claims = json!({"sub": "u1", "org": "acme", "exp": NOW_S + 60});
        let with = |name: &str, value: Value| {
            let mut changed = claims.clone();
            changed[name] = value;
            token(&hs256, &changed, SECRET)
        };
        let good = token(&hs256, &claims, SECRET);
        assert!(looks_like_token(&good) && !looks_like_token("vt_abc") && !looks_like_token("eyJ.x"));
        assert_eq!(asked(Proof::Token(&good), None).unwrap(), "u1");
        assert_eq!(asked(Proof::Token(&good), Some("u1")).unwrap(), "u1");
        assert_eq!(asked(Proof::Token(&with("exp", json!(NOW_S + 86_400))), None).unwrap(), "u1");
        assert_eq!(asked(Proof::Token(&with("exp", json!(NOW_S as f64 + 0.5))), None).unwrap(), "u1");
        assert_eq!(asked(Proof::Token(&with("org", json!("org_1"))), None).unwrap(), "u1");

        use Unproved::*;
        for (bad, why) in [
            (token(&hs256, &claims, "guessed, guessed, guessed"), Signature),
            (token(&json!({"alg": "none"}), &claims, SECRET), Malformed),
            (token(&json!({"alg": "HS512"}), &claims, SECRET), Malformed),
            (format!("{}.", good.rsplit_once('.').unwrap().0), Signature),
            (with("exp", json!(NOW_S)), Time),
            (with("nbf", json!(NOW_S + 600)), Time),
            (with("exp", json!(NOW_S + 86_400 + 61)), TooLong),
            (with("exp", json!(1e300)), TooLong),
            (with("exp", json!("soon")), Malformed),
            (with("org", json!("org_2")), Org),
            (with("sub", json!("")), User),
            (with("sub", json!("a\nb")), User),
            ("eyJ.eyJ.x".to_owned(), Malformed),
            ("x".repeat(5_000), Malformed),
        ] {
            assert_eq!(asked(Proof::Token(&bad), None), Err(why), "{bad}");
        }
        assert_eq!(asked(Proof::Token(&good), Some("u2")), Err(User), "the request names another user");
        let missing = token(&hs256, &json!({"sub": "u1", "org": "acme"}), SECRET);
        assert_eq!(asked(Proof::Token(&missing), None), Err(Malformed), "without an end it would be good for ever");
        assert_eq!(
            verify(&[], Proof::Token(&good), Expected { orgs: &["acme"], user_id: None }, NOW_MS),
            Err(Signature)
        );
    }

    /// The example of RFC 7515, appendix A.1: header and signature made by others.
    #[test]
    fn a_token_of_the_standard_has_the_signature_that_it_says() {
        let key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
        let key = URL_SAFE_NO_PAD.decode(key).unwrap();
        let text = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        mac.update(text.as_bytes());
        let made = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
        assert_eq!(made, "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    }

    #[test]
    fn a_hash_is_good_for_its_user_alone() {
        let hash = hex(&signature("u1", SECRET));
        assert_eq!(asked(Proof::Hash(&hash), Some("u1")).unwrap(), "u1");
        assert_eq!(asked(Proof::Hash(&hash.to_uppercase()), Some("u1")).unwrap(), "u1");
        assert_eq!(asked(Proof::Hash(&hash), Some("u2")), Err(Unproved::Signature));
        assert_eq!(asked(Proof::Hash(&hash), None), Err(Unproved::User));
        assert_eq!(asked(Proof::Hash(&hash[1..]), Some("u1")), Err(Unproved::Malformed));
        assert_eq!(asked(Proof::Hash(&hex(&signature("u1", "x"))), Some("u1")), Err(Unproved::Signature));
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(text in ".{0,200}") {
            prop_assert!(asked(Proof::Token(&text), None).is_err());
            prop_assert!(asked(Proof::Hash(&text), Some("u")).is_err());
        }
    }
}
