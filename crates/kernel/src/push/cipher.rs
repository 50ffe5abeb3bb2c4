//! What a push service carries is read by one browser alone: RFC 8291 (keys) on top of RFC 8188 (`aes128gcm`).
//!
//! Invariant: pure; the private key and the salt of each message are given, and must be fresh.

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{ECDH_P256, ParsedPublicKey, PrivateKey, UnparsedPublicKey, agree};
use aws_lc_rs::error::Unspecified;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac};
use sha2::Sha256;

/// An uncompressed point of P-256, bytes.
const POINT_BYTES: usize = 65;
/// The browser's authentication secret, bytes.
const AUTH_BYTES: usize = 16;
/// Of each message, bytes.
pub(super) const SALT_BYTES: usize = 16;
/// The one record of a message may have so many bytes (RFC 8291, section 4: no message is longer than 4096).
const RECORD_BYTES: u32 = 4096;
/// Mark after the words of the last record (RFC 8188, section 2).
const LAST: u8 = 2;
/// A message's length tells less when it is a multiple of this, bytes.
const STEP: usize = 256;
/// Longest text that fits into a message with its head (86), mark (1) and tag (16), bytes.
pub(super) const MAX_TEXT: usize = 4096 - 86 - 1 - 16;

/// The keys by which a browser reads what is pushed to it.
#[derive(Clone, PartialEq, Eq)]
pub struct BrowserKeys {
    point: [u8; POINT_BYTES],
    auth: [u8; AUTH_BYTES],
}

/// Which key of a browser is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// The public key.
    #[error("p256dh: a point of P-256, 65 bytes in base64url")]
    P256dh,
    /// The authentication secret.
    #[error("auth: 16 bytes in base64url")]
    Auth,
}

impl BrowserKeys {
    /// Reads what a browser gives as `p256dh` and `auth`.
    ///
    /// # Errors
    /// Which of them is none.
    pub fn read(p256dh: &str, auth: &str) -> Result<Self, BadKey> {
        let point = decode::<POINT_BYTES>(p256dh).ok_or(BadKey::P256dh)?;
        parse(&point).map_err(|_| BadKey::P256dh)?;
        Ok(Self { point, auth: decode::<AUTH_BYTES>(auth).ok_or(BadKey::Auth)? })
    }

    /// As they were read: `p256dh` and `auth`.
    pub(super) fn as_text(&self) -> (String, String) {
        (URL_SAFE_NO_PAD.encode(self.point), URL_SAFE_NO_PAD.encode(self.auth))
    }
}

/// The body of a message: its head and its one record, padded to a multiple of 256 bytes.
///
/// # Errors
/// A text longer than [`MAX_TEXT`].
pub(super) fn seal(
    keys: &BrowserKeys,
    own: &PrivateKey,
    salt: [u8; SALT_BYTES],
    text: &[u8],
) -> Result<Vec<u8>, Unspecified> {
    if text.len() > MAX_TEXT {
        return Err(Unspecified);
    }
    seal_padded(keys, own, salt, text, text.len().next_multiple_of(STEP).min(MAX_TEXT))
}

fn seal_padded(
    keys: &BrowserKeys,
    own: &PrivateKey,
    salt: [u8; SALT_BYTES],
    text: &[u8],
    length: usize,
) -> Result<Vec<u8>, Unspecified> {
    let own_point = own.compute_public_key()?;
    let shared = agree(own, parse(&keys.point)?, Unspecified, |shared| Ok(shared.to_vec()))?;
    // RFC 8291, section 3.4.
    let key = hmac(&keys.auth, &[&shared]);
    let material = hmac(&key, &[b"WebPush: info\0", &keys.point, own_point.as_ref(), &[1]]);
    record(&material, salt, own_point.as_ref(), text, length)
}

/// RFC 8188 with one record: salt, size of a record, the name of the key, then what was sealed.
fn record(
    material: &[u8],
    salt: [u8; SALT_BYTES],
    key_name: &[u8],
    text: &[u8],
    length: usize,
) -> Result<Vec<u8>, Unspecified> {
    let base = hmac(&salt, &[material]);
    let key = hmac(&base, &[b"Content-Encoding: aes128gcm\0", &[1]]);
    let nonce = hmac(&base, &[b"Content-Encoding: nonce\0", &[1]]);
    let (Some(key), Some(nonce)) = (key.first_chunk::<16>(), nonce.first_chunk::<12>()) else {
        return Err(Unspecified);
    };
    let mut sealed = Vec::with_capacity(length + 1 + 16);
    sealed.extend_from_slice(text);
    sealed.push(LAST);
    sealed.resize(sealed.len().max(length + 1), 0);
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, key)?);
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(*nonce), Aad::empty(), &mut sealed)?;
    let mut body = salt.to_vec();
    body.extend_from_slice(&RECORD_BYTES.to_be_bytes());
    body.push(u8::try_from(key_name.len()).map_err(|_| Unspecified)?);
    body.extend_from_slice(key_name);
    body.extend_from_slice(&sealed);
    Ok(body)
}

fn parse(point: &[u8; POINT_BYTES]) -> Result<ParsedPublicKey, Unspecified> {
    ParsedPublicKey::try_from(UnparsedPublicKey::new(&ECDH_P256, point)).map_err(|_| Unspecified)
}

/// So many bytes in base64url, padded or not.
fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    // Longer than any that fits is not even read.
    let text = Some(text).filter(|text| text.len() <= 2 * N)?;
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()?.try_into().ok()
}

/// HMAC-SHA256, of which HKDF is made (RFC 5869): one step of it is enough for 32 bytes.
fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes any key");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(text).unwrap()
    }

    #[test]
    fn the_example_of_rfc_8291_is_sealed_to_the_letter() {
        // Section 5 and appendix A.
        let keys = BrowserKeys::read(
            "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
            "BTBZMqHH6r4Tts7J_aSIgg",
        )
        .unwrap();
        let own = bytes("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw");
        let own = PrivateKey::from_private_key(&ECDH_P256, &own).unwrap();
        let salt = bytes("DGv6ra1nlYgDCS1FRnbzlw").try_into().unwrap();
        let text = b"When I grow up, I want to be a watermelon";
        let body = seal_padded(&keys, &own, salt, text, text.len()).unwrap();
        assert_eq!(
            URL_SAFE_NO_PAD.encode(body),
            "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_\
             yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
        );
    }

    #[test]
    fn the_example_of_rfc_8188_is_sealed_to_the_letter() {
        // Section 3.1; its key has no name.
        let salt = bytes("I1BsxtFttlv3u_Oo94xnmw").try_into().unwrap();
        let text = b"I am the walrus";
        let body = record(&bytes("yqdlZ-tYemfogSmv7Ws5PQ"), salt, b"", text, text.len()).unwrap();
        assert_eq!(
            URL_SAFE_NO_PAD.encode(body),
            "I1BsxtFttlv3u_Oo94xnmwAAEAAA-NAVub2qFgBEuQKRapoZu-IxkIva3MEB1PD-ly8Thjg"
        );
    }

    #[test]
    fn lengths_are_hidden_in_steps_and_limited() {
        let own = PrivateKey::generate(&ECDH_P256).unwrap();
        let point: [u8; POINT_BYTES] = own.compute_public_key().unwrap().as_ref().try_into().unwrap();
        let keys = BrowserKeys { point, auth: [7; AUTH_BYTES] };
        let length = |text: usize| seal(&keys, &own, [1; SALT_BYTES], &vec![b'x'; text]).map(|body| body.len());
        assert_eq!(length(1).unwrap(), length(256).unwrap());
        assert_eq!(length(257).unwrap() - length(256).unwrap(), STEP);
        assert_eq!(length(MAX_TEXT).unwrap(), 4096);
        assert!(length(MAX_TEXT + 1).is_err());
    }

    #[test]
    fn what_is_no_key_is_said_by_name() {
        let good = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
        let auth = "BTBZMqHH6r4Tts7J_aSIgg";
        assert!(BrowserKeys::read(&format!("{good}="), &format!("{auth}==")).is_ok());
        let read = |point: &str, auth: &str| BrowserKeys::read(point, auth).err();
        // Not on the curve, too short, no base64url, of another form.
        let off_curve = format!("{}A", &good[..good.len() - 2]);
        for point in ["", "BCVx", "%", &off_curve, &good.replacen('B', "A", 1), &"A".repeat(10_000)] {
            assert_eq!(read(point, auth), Some(BadKey::P256dh), "{point}");
        }
        for auth in ["", "BTBZ", "%", good] {
            assert_eq!(read(good, auth), Some(BadKey::Auth), "{auth}");
        }
    }
}
