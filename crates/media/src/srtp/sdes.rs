//! The `a=crypto` line of SDP (RFC 4568).
//!
//! Invariant: a line that we accept is one that we carry out wholly; any other is refused, and the
//! offer's next line is tried.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{KEYING_BYTES, Keys, SrtpError, Suite};

/// The suites with their names in SDP.
const SUITES: [(Suite, &str); 2] =
    [(Suite::AesCm128HmacSha1_80, "AES_CM_128_HMAC_SHA1_80"), (Suite::AesCm128HmacSha1_32, "AES_CM_128_HMAC_SHA1_32")];
/// A tag has one to nine digits (RFC 4568, section 9.1).
const MAX_TAG_DIGITS: usize = 9;

/// One `a=crypto` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SdesLine {
    /// Its number; the answer repeats the chosen one.
    pub tag: u32,
    /// The suite.
    pub suite: Suite,
    /// What the line's author sends with.
    pub keys: Keys,
}

impl SdesLine {
    /// Reads the attribute's value: `1 AES_CM_128_HMAC_SHA1_80 inline:...`.
    pub fn parse(value: &str) -> Result<Self, SrtpError> {
        let mut words = value.split_ascii_whitespace();
        let tag = words.next().filter(|tag| tag.len() <= MAX_TAG_DIGITS).ok_or(SrtpError::Line)?;
        let tag = tag.parse().map_err(|_| SrtpError::Line)?;
        let name = words.next().ok_or(SrtpError::Line)?;
        let suite = SUITES.iter().find(|(_, known)| *known == name).ok_or(SrtpError::Line)?.0;
        let keys = parse_key(words.next().ok_or(SrtpError::Line)?)?;
        if !words.all(is_ignorable) {
            return Err(SrtpError::Line);
        }
        Ok(Self { tag, suite, keys })
    }

    /// Writes the attribute's value. It holds the key: never log it.
    #[must_use]
    pub fn format(&self) -> String {
        let name = SUITES.iter().find(|(suite, _)| *suite == self.suite).map_or("", |(_, name)| name);
        format!("{} {name} inline:{}", self.tag, STANDARD.encode(self.keys.0))
    }
}

/// `inline:` key and salt, perhaps a lifetime; several keys and key identifiers (MKI) are refused.
fn parse_key(parameter: &str) -> Result<Keys, SrtpError> {
    let (method, info) = parameter.split_once(':').ok_or(SrtpError::Line)?;
    if !method.eq_ignore_ascii_case("inline") {
        return Err(SrtpError::Line);
    }
    let mut parts = info.split('|');
    let mut keying = [0; KEYING_BYTES];
    let written = STANDARD.decode_slice(parts.next().unwrap_or_default(), &mut keying);
    // A lifetime of 2^48 packets is beyond any call; a shorter one would want new keys by re-INVITE
    // from the peer itself. An identifier (`1:4`) would stand in every packet.
    if written != Ok(KEYING_BYTES) || parts.any(|part| part.contains(':')) {
        return Err(SrtpError::Line);
    }
    Ok(Keys(keying))
}

/// Session parameters that change nothing here: a hint for the replay window, and those that their
/// author marks as dispensable (RFC 4568, section 6.3.7).
fn is_ignorable(parameter: &str) -> bool {
    parameter.starts_with("WSH=") || parameter.starts_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // RFC 4568, section 4.1 and appendix.
    const KEY: &str = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";

    #[test]
    fn lines_of_real_phones_are_read() {
        for (value, tag, suite) in [
            (format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}"), 1, Suite::AesCm128HmacSha1_80),
            (format!("2 AES_CM_128_HMAC_SHA1_32 inline:{KEY}|2^31"), 2, Suite::AesCm128HmacSha1_32),
            (
                format!("123456789 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20 WSH=64"),
                123_456_789,
                Suite::AesCm128HmacSha1_80,
            ),
            (format!("1  AES_CM_128_HMAC_SHA1_80\tINLINE:{KEY} -FOO=1"), 1, Suite::AesCm128HmacSha1_80),
        ] {
            let line = SdesLine::parse(&value).unwrap();
            assert_eq!((line.tag, line.suite), (tag, suite));
            assert_eq!(&line.keys.0[..8], b"YS___sem");
        }
    }

    #[test]
    fn lines_that_we_cannot_carry_out_are_refused() {
        for value in [
            String::new(),
            "1".to_owned(),
            format!("x AES_CM_128_HMAC_SHA1_80 inline:{KEY}"),
            format!("1234567890 AES_CM_128_HMAC_SHA1_80 inline:{KEY}"),
            format!("1 F8_128_HMAC_SHA1_80 inline:{KEY}"),
            format!("1 AEAD_AES_256_GCM inline:{KEY}"),
            format!("1 AES_CM_128_HMAC_SHA1_80 {KEY}"),
            "1 AES_CM_128_HMAC_SHA1_80 inline:c2hvcnQ=".to_owned(),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}AAAA"),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20|1:4"),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|1:4;inline:{KEY}|2:4"),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY} UNENCRYPTED_SRTP"),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY} KDR=1"),
        ] {
            assert_eq!(SdesLine::parse(&value), Err(SrtpError::Line), "{value}");
        }
    }

    #[test]
    fn keys_are_not_printed() {
        let line = SdesLine::parse(&format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}")).unwrap();
        assert_eq!(format!("{:?}", line.keys), "Keys(..)");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(tag in 0_u32..1_000_000_000, long: bool, keying: [u8; KEYING_BYTES]) {
            let suite = if long { Suite::AesCm128HmacSha1_80 } else { Suite::AesCm128HmacSha1_32 };
            let line = SdesLine { tag, suite, keys: Keys(keying) };
            prop_assert_eq!(SdesLine::parse(&line.format()), Ok(line));
        }

        #[test]
        fn garbage_never_panics(value: String) {
            let _ = SdesLine::parse(&value);
        }
    }
}
