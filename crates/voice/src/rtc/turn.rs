//! Credentials for STUN and TURN servers that browsers may use, as coturn's shared secret has them.
//!
//! Source: draft-uberti-behave-turn-rest-00. Invariant: a credential is good for [`LIFE_S`] and names whose it is; the secret
//! leaves the server in no form.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use kernel::Secret;
use sha1::Sha1;

use super::frame::IceServer;

/// How long a credential is good, in seconds: longer than anybody talks.
const LIFE_S: i64 = 86_400;
/// How old a credential is when its phone is given the next one, in milliseconds.
pub const ICE_SERVERS_FRESH_MS: i64 = LIFE_S * 1_000 / 2;

/// What the browser of `user` may ask: relays (`turn:`, `turns:`) with a credential made of `secret`, others as they are.
#[must_use]
pub fn ice_servers(urls: &[String], secret: Option<&Secret>, user: &str, now_ms: i64) -> Vec<IceServer> {
    let (relays, plain): (Vec<String>, Vec<String>) = urls.iter().cloned().partition(|url| url.starts_with("turn"));
    let mut servers = Vec::new();
    if !plain.is_empty() {
        servers.push(IceServer { urls: plain, username: None, credential: None });
    }
    if let (false, Some(secret)) = (relays.is_empty(), secret) {
        let username = format!("{}:{user}", now_ms / 1_000 + LIFE_S);
        let credential = credential(secret, &username);
        servers.push(IceServer { urls: relays, username: Some(username), credential });
    }
    servers
}

fn credential(secret: &Secret, username: &str) -> Option<Secret> {
    // A key of any length will do.
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.expose().as_bytes()).ok()?;
    mac.update(username.as_bytes());
    Some(STANDARD.encode(mac.finalize().into_bytes()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_is_given_a_credential_for_a_day_and_a_mirror_none() {
        let urls = ["stun:stun.example.org", "turn:turn.example.org", "turns:turn.example.org:443"].map(str::to_owned);
        let secret = Secret::new("north");
        let servers = ice_servers(&urls, Some(&secret), "per_1", (1_600_000_000 - LIFE_S) * 1_000);
        assert_eq!((&servers[0].urls[..], &servers[0].username), (&urls[..1], &None));
        assert_eq!(servers[1].urls, urls[1..]);
        assert_eq!(servers[1].username.as_deref(), Some("1600000000:per_1"));
        // python: b64encode(hmac.new(b"north", b"1600000000:per_1", sha1).digest())
        assert_eq!(servers[1].credential.as_ref().unwrap().expose(), "v6CVP1KHobkcgDDkyyaGQo4FfOk=");
        assert_eq!(ice_servers(&urls, None, "per_1", 0).len(), 1, "a relay without a secret is of no use");
        assert!(ice_servers(&[], Some(&secret), "per_1", 0).is_empty());
    }
}
