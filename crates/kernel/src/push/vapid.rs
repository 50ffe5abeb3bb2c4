//! The key by which this server says to push services that it is itself: RFC 8292 (VAPID), a JSON Web Token by ES256.
//!
//! Invariant: the private key leaves this module only to be sealed.

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use crate::secret::Secret;

/// A token is good for so long, seconds; RFC 8292 allows a day at most.
const LIFE_S: i64 = 12 * 3_600;

/// The server's pair of keys.
pub(super) struct Vapid {
    pair: EcdsaKeyPair,
}

impl std::fmt::Debug for Vapid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vapid(..)")
    }
}

impl Vapid {
    /// A new pair, as it is kept: sealed by whoever keeps it.
    pub(super) fn generate() -> Result<Secret, Unspecified> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
        Ok(URL_SAFE_NO_PAD.encode(pair.to_pkcs8v1()?).into())
    }

    /// A pair that was kept.
    pub(super) fn read(kept: &Secret) -> Result<Self, Unspecified> {
        let bytes = URL_SAFE_NO_PAD.decode(kept.expose()).map_err(|_| Unspecified)?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &bytes).map_err(|_| Unspecified)?;
        Ok(Self { pair })
    }

    /// What browsers are given as `applicationServerKey`: the point in base64url.
    pub(super) fn public_key(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.pair.public_key().as_ref())
    }

    /// The header `Authorization` of a request to the push service of this origin. `contact` is where its operator
    /// reaches ours, `https:` or `mailto:`.
    pub(super) fn authorization(
        &self,
        origin: &str,
        contact: Option<&str>,
        now_ms: i64,
    ) -> Result<String, Unspecified> {
        let mut claims = json!({"aud": origin, "exp": now_ms / 1_000 + LIFE_S});
        if let (Some(contact), Some(claims)) = (contact, claims.as_object_mut()) {
            claims.insert("sub".to_owned(), json!(contact));
        }
        let part = |json: serde_json::Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let signed = format!("{}.{}", part(json!({"typ": "JWT", "alg": "ES256"})), part(claims));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes())?;
        let signature = URL_SAFE_NO_PAD.encode(signature);
        Ok(format!("vapid t={signed}.{signature}, k={}", self.public_key()))
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_token_names_the_push_service_and_is_signed_by_the_key_beside_it() {
        let kept = Vapid::generate().unwrap();
        let vapid = Vapid::read(&kept).unwrap();
        assert_eq!(Vapid::read(&kept).unwrap().public_key(), vapid.public_key(), "kept and read again");
        let header = vapid.authorization("https://push.example", Some("mailto:ops@example.org"), 1_000_000).unwrap();
        let (token, key) = header.strip_prefix("vapid t=").unwrap().split_once(", k=").unwrap();
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
        assert_eq!((bytes(key).len(), bytes(signature).len()), (65, 64));
        let known = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, bytes(key));
        known.verify(signed.as_bytes(), &bytes(signature)).unwrap();
        let claims: Value = serde_json::from_slice(&bytes(signed.split_once('.').unwrap().1)).unwrap();
        assert_eq!(
            claims,
            json!({"aud": "https://push.example", "exp": 1_000 + 43_200, "sub": "mailto:ops@example.org"})
        );
        assert!(Vapid::read(&"AAAA".into()).is_err() && Vapid::read(&"%".into()).is_err());
    }
}
