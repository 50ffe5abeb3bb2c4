//! Digest authentication (RFC 3261 §22, RFC 7616, RFC 8760), both roles, MD5 and SHA-256.
//!
//! As a server we store HA1 only; what makes an answer good once is the nonce's ([`super::nonce`]).

use std::fmt::Write as _;

use md5::Md5;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::uri::{self, Uri};
use crate::ports::Secret;

/// The hash of a challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Md5,
    Sha256,
}

impl Algorithm {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA-256",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Md5, Self::Sha256].into_iter().find(|algorithm| algorithm.as_str().eq_ignore_ascii_case(text))
    }

    /// Lower-case hex of the hash of parts joined by colons.
    fn hash(self, parts: &[&[u8]]) -> String {
        match self {
            Self::Md5 => hash_with::<Md5>(parts),
            Self::Sha256 => hash_with::<Sha256>(parts),
        }
    }

    /// HA1: what a server stores instead of `user:realm:password`.
    pub(crate) fn ha1(self, user: &str, realm: &str, password: &str) -> Secret {
        Secret::new(self.hash(&[user.as_bytes(), realm.as_bytes(), password.as_bytes()]))
    }
}

fn hash_with<D: Digest>(parts: &[&[u8]]) -> String {
    let mut digest = D::new();
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            digest.update(b":");
        }
        digest.update(part);
    }
    hex(&digest.finalize())
}

/// Lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Splits `Digest a="b", c=d` into a look-up.
fn directives(value: &str) -> Option<impl Fn(&str) -> Option<String> + '_> {
    let (scheme, rest) = value.trim().split_once(|c: char| c.is_ascii_whitespace())?;
    if !scheme.eq_ignore_ascii_case("Digest") {
        return None;
    }
    Some(move |name: &str| {
        uri::list(rest).find_map(|item| {
            let (key, value) = item.split_once('=')?;
            let value = uri::unquote(value.trim());
            key.trim().eq_ignore_ascii_case(name).then(|| value.replace("\\\"", "\"").replace("\\\\", "\\"))
        })
    })
}

/// What an Authorization field claims.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    /// The digest user name as sent.
    pub(crate) username: String,
    /// The realm it answers to.
    pub(crate) realm: String,
    /// The hash it uses.
    pub(crate) algorithm: Algorithm,
    nonce: String,
    uri: String,
    response: String,
    /// Count and client nonce, when qop is used.
    qop: Option<Qop>,
}

#[derive(Clone, Debug)]
struct Qop {
    kind: String,
    count_text: String,
    count: u32,
    cnonce: String,
}

impl Claim {
    /// Reads a field; `None` for another scheme, an unknown hash or a missing part.
    pub(crate) fn parse(value: &str) -> Option<Self> {
        let get = directives(value)?;
        let algorithm = match get("algorithm") {
            Some(name) => Algorithm::parse(&name)?,
            None => Algorithm::Md5,
        };
        let qop = match get("qop") {
            Some(kind) if kind.eq_ignore_ascii_case("auth") || kind.eq_ignore_ascii_case("auth-int") => {
                let count_text = get("nc")?;
                let count = u32::from_str_radix(&count_text, 16).ok()?;
                Some(Qop { kind: kind.to_ascii_lowercase(), count_text, count, cnonce: get("cnonce")? })
            }
            Some(_) => return None,
            None => None,
        };
        Some(Self {
            username: get("username")?,
            realm: get("realm")?,
            algorithm,
            nonce: get("nonce")?,
            uri: get("uri")?,
            response: get("response")?,
            qop,
        })
    }

    /// The nonce that it answers.
    pub(super) fn nonce(&self) -> &str {
        &self.nonce
    }

    /// How often the nonce has been used. Without qop there is no count: such a nonce is good once.
    pub(super) fn count(&self) -> u32 {
        self.qop.as_ref().map_or(1, |qop| qop.count)
    }

    /// Whether it was made for this Request-URI, or for one of the same user that a proxy of ours
    /// (`hosts`) has rewritten since: else it was overheard and sent elsewhere (RFC 7616 §3.4.6).
    pub(crate) fn is_for(&self, request_uri: &str, hosts: &[String]) -> bool {
        if self.uri == request_uri {
            return true;
        }
        let (Some(signed), Some(asked)) = (Uri::parse(&self.uri), Uri::parse(request_uri)) else {
            return false;
        };
        signed.user_text() == asked.user_text()
            && (signed.host.eq_ignore_ascii_case(asked.host)
                || hosts.iter().any(|host| host.eq_ignore_ascii_case(signed.host)))
    }

    /// Whether the response was made from this HA1 for this request.
    pub(crate) fn proves(&self, ha1: &Secret, method: &str, body: &[u8]) -> bool {
        let expected = answer_hash(self.algorithm, ha1, &self.nonce, self.qop.as_ref(), method, &self.uri, body);
        expected.as_bytes().ct_eq(self.response.to_ascii_lowercase().as_bytes()).into()
    }
}

fn answer_hash(
    algorithm: Algorithm,
    ha1: &Secret,
    nonce: &str,
    qop: Option<&Qop>,
    method: &str,
    uri: &str,
    body: &[u8],
) -> String {
    let ha2 = match qop {
        Some(qop) if qop.kind == "auth-int" => {
            algorithm.hash(&[method.as_bytes(), uri.as_bytes(), algorithm.hash(&[body]).as_bytes()])
        }
        _ => algorithm.hash(&[method.as_bytes(), uri.as_bytes()]),
    };
    let ha1 = ha1.expose().as_bytes();
    match qop {
        Some(qop) => algorithm.hash(&[
            ha1,
            nonce.as_bytes(),
            qop.count_text.as_bytes(),
            qop.cnonce.as_bytes(),
            qop.kind.as_bytes(),
            ha2.as_bytes(),
        ]),
        None => algorithm.hash(&[ha1, nonce.as_bytes(), ha2.as_bytes()]),
    }
}

/// The WWW-Authenticate values of a challenge, the stronger hash first (RFC 8760 §2.4).
///
/// SHA-256 is offered only when `sha256` says so: widespread phones give up on a challenge that names
/// it, even beside MD5 (baresip 1.0: "Function not implemented").
pub(crate) fn challenges(realm: &str, nonce: &str, stale: bool, sha256: bool) -> Vec<String> {
    let algorithms: &[Algorithm] = if sha256 { &[Algorithm::Sha256, Algorithm::Md5] } else { &[Algorithm::Md5] };
    let stale = if stale { ", stale=true" } else { "" };
    let value = |algorithm: &Algorithm| {
        format!(r#"Digest realm="{realm}", nonce="{nonce}", algorithm={}, qop="auth"{stale}"#, algorithm.as_str())
    };
    algorithms.iter().map(value).collect()
}

/// A challenge that we can answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Challenge {
    realm: String,
    nonce: String,
    opaque: Option<String>,
    algorithm: Algorithm,
    /// `auth`, `auth-int`, or none for RFC 2069 servers.
    qop: Option<&'static str>,
    /// The nonce was old, the password right.
    pub(crate) stale: bool,
}

impl Challenge {
    /// The best of several challenges: SHA-256 before MD5, the first of a kind.
    pub(crate) fn choose<'a>(values: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut best: Option<Self> = None;
        for challenge in values.filter_map(Self::parse) {
            let better = best
                .as_ref()
                .is_none_or(|best| best.algorithm == Algorithm::Md5 && challenge.algorithm == Algorithm::Sha256);
            if better {
                best = Some(challenge);
            }
        }
        best
    }

    fn parse(value: &str) -> Option<Self> {
        let get = directives(value)?;
        let algorithm = match get("algorithm") {
            Some(name) => Algorithm::parse(&name)?,
            None => Algorithm::Md5,
        };
        let offered = get("qop");
        let offers = |kind: &str| {
            offered
                .as_deref()
                .is_some_and(|offered| offered.split(',').any(|item| item.trim().eq_ignore_ascii_case(kind)))
        };
        let qop = match &offered {
            None => None,
            Some(_) if offers("auth") => Some("auth"),
            Some(_) if offers("auth-int") => Some("auth-int"),
            Some(_) => return None,
        };
        Some(Self {
            realm: get("realm")?,
            nonce: get("nonce")?,
            opaque: get("opaque"),
            algorithm,
            qop,
            stale: get("stale").is_some_and(|stale| stale.eq_ignore_ascii_case("true")),
        })
    }

    /// The Authorization value for a request.
    pub(crate) fn answer(&self, user: &str, password: &Secret, request: &Answering<'_>) -> String {
        let ha1 = self.algorithm.ha1(user, &self.realm, password.expose());
        let qop = self.qop.map(|kind| Qop {
            kind: kind.to_owned(),
            count_text: format!("{:08x}", request.count),
            count: request.count,
            cnonce: request.cnonce.to_owned(),
        });
        let response =
            answer_hash(self.algorithm, &ha1, &self.nonce, qop.as_ref(), request.method, request.uri, request.body);
        let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
        let mut value = format!(
            r#"Digest username="{}", realm="{}", nonce="{}", uri="{}", response="{response}", algorithm={}"#,
            quoted(user),
            quoted(&self.realm),
            quoted(&self.nonce),
            request.uri,
            self.algorithm.as_str()
        );
        if let Some(qop) = qop {
            let _ = write!(value, r#", qop={}, nc={}, cnonce="{}""#, qop.kind, qop.count_text, qop.cnonce);
        }
        if let Some(opaque) = &self.opaque {
            let _ = write!(value, r#", opaque="{}""#, quoted(opaque));
        }
        value
    }
}

/// The request that a challenge is answered for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answering<'a> {
    pub(crate) method: &'a str,
    pub(crate) uri: &'a str,
    pub(crate) body: &'a [u8],
    /// How often this nonce has been used, this time included.
    pub(crate) count: u32,
    pub(crate) cnonce: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;

    const RFC7616: &str = r#"Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=ALG,
        nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS""#;

    fn rfc_answer(algorithm: &str) -> String {
        let challenge = RFC7616.replace("ALG", algorithm);
        let challenge = Challenge::choose([challenge.as_str()].into_iter()).unwrap();
        let request = Answering {
            method: "GET",
            uri: "/dir/index.html",
            body: b"",
            count: 1,
            cnonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
        };
        challenge.answer("Mufasa", &Secret::new("Circle of Life"), &request)
    }

    #[test]
    fn the_examples_of_rfc_7616_come_out() {
        assert!(rfc_answer("MD5").contains(r#"response="8ca523f5e9506fed4657c9700eebdbec""#));
        let sha = r#"response="753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1""#;
        assert!(rfc_answer("SHA-256").contains(sha));
    }

    #[test]
    fn sip_trap_02_sha_256_first_and_several_qops_are_answered() {
        let md5 = r#"Digest realm="r", nonce="n", algorithm=MD5, qop="auth-int,auth""#;
        let sha = r#"Digest realm="r", nonce="n", algorithm=SHA-256, qop="auth,auth-int""#;
        let other = r#"Digest realm="r", nonce="n", algorithm=SHA-512-256"#;
        for order in [[sha, md5, other], [other, md5, sha]] {
            let chosen = Challenge::choose(order.into_iter()).unwrap();
            assert_eq!((chosen.algorithm, chosen.qop), (Algorithm::Sha256, Some("auth")));
        }
        let only = Challenge::choose([r#"Digest realm="r", nonce="n", qop="auth-int""#].into_iter()).unwrap();
        assert_eq!((only.algorithm, only.qop), (Algorithm::Md5, Some("auth-int")));
        assert_eq!(Challenge::choose([other].into_iter()), None);
    }

    #[test]
    fn an_answer_is_good_for_the_target_it_was_made_for() {
        let text = |uri: &str| {
            format!(r#"Digest username="u", realm="r", nonce="n", uri="{uri}", response="x", algorithm=MD5"#)
        };
        let claim = |uri: &str| Claim::parse(&text(uri)).unwrap();
        let hosts = ["acme.example".to_owned(), "192.0.2.9".to_owned()];
        let asked = "sip:+4420@192.0.2.9:5060;transport=tcp";
        for good in [asked, "sip:+4420@192.0.2.9", "sip:+4420@ACME.example;user=phone", "sip:%2B4420@acme.example"] {
            assert!(claim(good).is_for(asked, &hosts), "{good}");
        }
        for bad in ["sip:2000@192.0.2.9", "sip:+4420@evil.example", "sip:192.0.2.9", "/index.html", ""] {
            assert!(!claim(bad).is_for(asked, &hosts), "{bad}");
        }
    }
}
