//! Digest authentication (RFC 3261 §22, RFC 7616, RFC 8760), both roles, MD5 and SHA-256.
//!
//! As a server we store HA1 only. A nonce proves by itself that it is ours, for which address it was
//! made and how old it is; only nonces that were used are remembered, with the counts seen, so that no
//! answer is good twice.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::net::IpAddr;

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::uri::{self, Uri};
use crate::ports::Secret;

/// How long a nonce is good for, ms. Past it the client repeats with the next one, unasked.
pub(crate) const NONCE_LIFE_MS: i64 = 300_000;
/// Most used nonces remembered; the oldest is forgotten first, and is stale from then on.
const MAX_USED_NONCES: usize = 65_536;
/// How far behind the highest count a late request may be.
const WINDOW: u32 = 64;

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

fn hex(bytes: &[u8]) -> String {
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

/// Whether a nonce's count may be used, decided after the response itself was found good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// This count was not seen.
    Fresh,
    /// Ask again with `stale=true`: the password is right, the nonce is not.
    Stale,
}

/// The counts seen with one nonce.
#[derive(Debug, Default)]
struct Counts {
    highest: u32,
    /// Bit i: `highest - i` was seen.
    seen: u64,
}

impl Counts {
    fn take(&mut self, count: u32) -> bool {
        if count > self.highest {
            let step = count - self.highest;
            self.seen = if step < WINDOW { self.seen << step | 1 } else { 1 };
            self.highest = count;
            return true;
        }
        let behind = self.highest - count;
        if behind >= WINDOW || self.seen >> behind & 1 == 1 {
            return false;
        }
        self.seen |= 1 << behind;
        true
    }
}

/// Makes nonces and judges them.
#[derive(Debug)]
pub(crate) struct Nonces {
    key: [u8; 32],
    used: HashMap<Box<str>, Counts>,
    order: VecDeque<Box<str>>,
}

impl Nonces {
    /// `key` is random and lives as long as the process: nonces of an earlier one are stale.
    pub(crate) fn new(key: [u8; 32]) -> Self {
        Self { key, used: HashMap::new(), order: VecDeque::new() }
    }

    /// A nonce for a peer: time, randomness, and a seal over both and its address, so that nobody
    /// can use it who does not receive there.
    pub(crate) fn issue(&self, peer: IpAddr, now_ms: i64, random: [u8; 8]) -> String {
        let mut text = format!("{now_ms:012x}{}", hex(&random));
        let seal = self.seal(&text, peer);
        text.push_str(&seal);
        text
    }

    fn seal(&self, text: &str, peer: IpAddr) -> String {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.key) else {
            return String::new(); // an HMAC key may have any length
        };
        mac.update(text.as_bytes());
        match peer.to_canonical() {
            IpAddr::V4(ip) => mac.update(&ip.octets()),
            IpAddr::V6(ip) => mac.update(&ip.octets()),
        }
        let mut seal = hex(&mac.finalize().into_bytes());
        seal.truncate(32);
        seal
    }

    /// Whether a claim's nonce is one of ours, made for this peer and young: only then is the claim
    /// worth looking at. Costs one hash and no look-up.
    pub(crate) fn recognises(&self, claim: &Claim, peer: IpAddr, now_ms: i64) -> bool {
        let Some((text, seal)) = claim.nonce.split_at_checked(28) else {
            return false;
        };
        let born = text.get(..12).and_then(|digits| i64::from_str_radix(digits, 16).ok()).unwrap_or(0);
        (0..=NONCE_LIFE_MS).contains(&(now_ms - born))
            && bool::from(self.seal(text, peer).as_bytes().ct_eq(seal.as_bytes()))
    }

    /// Takes the count of a claim that was recognised and has proven its password.
    pub(crate) fn judge(&mut self, claim: &Claim) -> Freshness {
        // Without qop there is no count: such a nonce is good once (count 1).
        let count = claim.qop.as_ref().map_or(1, |qop| qop.count);
        if !self.used.contains_key(claim.nonce.as_str()) {
            if self.order.len() >= MAX_USED_NONCES
                && let Some(oldest) = self.order.pop_front()
            {
                self.used.remove(&oldest);
            }
            self.order.push_back(claim.nonce.as_str().into());
            self.used.insert(claim.nonce.as_str().into(), Counts::default());
        }
        let fresh = count > 0 && self.used.get_mut(claim.nonce.as_str()).is_some_and(|counts| counts.take(count));
        if fresh { Freshness::Fresh } else { Freshness::Stale }
    }

    /// Forgets nonces that are too old to be used again. Cheap: they lie in order of first use.
    pub(crate) fn sweep(&mut self, now_ms: i64) {
        while let Some(oldest) = self.order.front() {
            let born = oldest.get(..12).and_then(|digits| i64::from_str_radix(digits, 16).ok()).unwrap_or(0);
            if now_ms - born <= NONCE_LIFE_MS {
                return;
            }
            if let Some(oldest) = self.order.pop_front() {
                self.used.remove(&oldest);
            }
        }
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

    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    /// A client that answers our own challenge, as often as asked.
    fn claim(nonce: &str, count: u32, algorithm: Algorithm) -> Claim {
        let values = challenges("tandem", nonce, false, true);
        let wanted = values.iter().filter(|value| value.contains(&format!("algorithm={},", algorithm.as_str())));
        let challenge = Challenge::choose(wanted.map(String::as_str)).unwrap();
        let request = Answering { method: "REGISTER", uri: "sip:h", body: b"", count, cnonce: "c" };
        Claim::parse(&challenge.answer("10\"01", &Secret::new("pw"), &request)).unwrap()
    }

    #[test]
    fn sip_trap_02_a_nonce_counts_far_beyond_0x100() {
        let mut nonces = Nonces::new([7; 32]);
        let nonce = nonces.issue(HOME, 1_000, [1; 8]);
        for algorithm in [Algorithm::Md5, Algorithm::Sha256] {
            let ha1 = algorithm.ha1("10\"01", "tandem", "pw");
            let first = if algorithm == Algorithm::Md5 { 1 } else { 0x1000 };
            for count in first..first + 0x300 {
                let claim = claim(&nonce, count, algorithm);
                assert!(claim.proves(&ha1, "REGISTER", b""));
                assert!(!claim.proves(&ha1, "INVITE", b""));
                assert!(!claim.proves(&algorithm.ha1("10\"01", "tandem", "wrong"), "REGISTER", b""));
                assert!(nonces.recognises(&claim, HOME, 2_000));
                assert_eq!(nonces.judge(&claim), Freshness::Fresh, "{count:#x}");
                assert_eq!(nonces.judge(&claim), Freshness::Stale, "a replay of {count:#x}");
            }
        }
    }

    #[test]
    fn counts_may_come_out_of_order_within_a_window() {
        let mut nonces = Nonces::new([7; 32]);
        let nonce = nonces.issue(HOME, 0, [1; 8]);
        let mut judge = |count| nonces.judge(&claim(&nonce, count, Algorithm::Md5));
        assert_eq!(judge(100), Freshness::Fresh);
        assert_eq!(judge(98), Freshness::Fresh);
        assert_eq!(judge(98), Freshness::Stale);
        assert_eq!(judge(37), Freshness::Fresh);
        assert_eq!(judge(36), Freshness::Stale, "too far behind");
        assert_eq!(judge(0), Freshness::Stale);
    }

    #[test]
    fn nonces_that_are_old_foreign_or_made_for_another_are_not_recognised() {
        let mut nonces = Nonces::new([7; 32]);
        let nonce = nonces.issue(HOME, 0, [1; 8]);
        let of = |nonce: &str| claim(nonce, 1, Algorithm::Md5);
        assert!(nonces.recognises(&of(&nonce), HOME, NONCE_LIFE_MS));
        assert!(!nonces.recognises(&of(&nonce), HOME, NONCE_LIFE_MS + 1), "old");
        assert!(!nonces.recognises(&of(&nonce), IpAddr::from([192, 0, 2, 2]), 1), "another's");
        assert!(!nonces.recognises(&of(&Nonces::new([8; 32]).issue(HOME, 0, [1; 8])), HOME, 1), "foreign");
        assert!(!nonces.recognises(&of("short"), HOME, 1));
        nonces.judge(&of(&nonce));
        assert_eq!(nonces.used.len(), 1);
        nonces.sweep(NONCE_LIFE_MS + 1);
        assert!(nonces.used.is_empty() && nonces.order.is_empty());
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
