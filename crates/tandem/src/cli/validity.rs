//! From when to when a certificate is good: as much of DER as leads there (RFC 5280 §4.1, X.690).
//!
//! Invariant: it only reads dates; whether a certificate and its key fit is for the TLS library to say.

use kernel::time::parse_rfc3339;

/// The tag of a version, which old certificates leave out.
const VERSION: u8 = 0xa0;
/// The two ways to write a time.
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// Years of two digits from here on are of the last century (RFC 5280 §4.1.2.5.1).
const LAST_CENTURY: &str = "50";

/// The first and the last moment, in UTC milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) from_ms: i64,
    pub(super) until_ms: i64,
}

impl Validity {
    /// That of a certificate in DER.
    pub(super) fn of(der: &[u8]) -> Option<Self> {
        let (_, certificate, _) = element(der)?;
        let (_, mut fields, _) = element(certificate)?;
        if fields.first() == Some(&VERSION) {
            fields = element(fields)?.2;
        }
        for _serial_algorithm_issuer in 0..3 {
            fields = element(fields)?.2;
        }
        let (_, dates, _) = element(fields)?;
        let (from_tag, from, dates) = element(dates)?;
        let (until_tag, until, _) = element(dates)?;
        Some(Self { from_ms: time(from_tag, from)?, until_ms: time(until_tag, until)? })
    }
}

/// The first element of some DER: its tag, its content, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, der) = der.split_first()?;
    let (&length, der) = der.split_first()?;
    let (length, der) = if length < 0x80 {
        (usize::from(length), der)
    } else {
        // Then the low bits say how many bytes the length has.
        let (bytes, der) = der.split_at_checked(usize::from(length & 0x7f)).filter(|(bytes, _)| bytes.len() <= 4)?;
        (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), der)
    };
    let (content, rest) = der.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`.
fn time(tag: u8, text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let text = match tag {
        UTC_TIME if text.get(..2)? < LAST_CENTURY => format!("20{text}"),
        UTC_TIME => format!("19{text}"),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let part = |range: std::ops::Range<usize>| text.get(range);
    let (date, clock) = (part(4..6).zip(part(6..8))?, part(8..10).zip(part(10..12))?);
    let (year, second) = (part(0..4)?, part(12..14)?);
    parse_rfc3339(&format!("{year}-{}-{}T{}:{}:{second}Z", date.0, date.1, clock.0, clock.1))
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    use super::*;

    /// Good from 2026-11-21T18:15:10Z (in two digits) to 2054-04-08T18:15:10Z (in four).
    pub(crate) const LONG: &str = "-----BEGIN CERTIFICATE-----
MIIBfzCCASWgAwIBAgIUATWhVgvlkzfVZbye+ozgige65iMwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMTE4MTUxMFoYDzIwNTQwNDA4
MTgxNTEwWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAQf9quZVPkARK+shx3bZHwHrQwjq+/WCmhLr+y55EoP3r4XjChaQQpq
QzkPC4NZiN2tNeS0KSwXpRfMORbQERGdo1MwUTAdBgNVHQ4EFgQUbsOh63tYnhRO
0XLN5k1wVzD2Z8cwHwYDVR0jBBgwFoAUbsOh63tYnhRO0XLN5k1wVzD2Z8cwDwYD
VR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiEA8x1IHoX7d8nIXfRzGHmL
4GDp6ErYkClCEUfNVwmECpMCIG8p/jr8UJRJYltLCZbutxVmxQk1ohntqzQfMOkl
eGS6
-----END CERTIFICATE-----
";

    #[test]
    fn dates_are_read_in_both_forms() {
        let der = CertificateDer::from_pem_slice(LONG.as_bytes()).unwrap();
        let at = |text: &str| parse_rfc3339(text).unwrap();
        let expected = Validity { from_ms: at("2026-11-21T18:15:10Z"), until_ms: at("2054-04-08T18:15:10Z") };
        assert_eq!(Validity::of(&der), Some(expected));
        assert_eq!(time(UTC_TIME, b"991231235959Z"), Some(at("1999-12-31T23:59:59Z")));
    }

    #[test]
    fn torn_certificates_have_no_dates() {
        let der = CertificateDer::from_pem_slice(LONG.as_bytes()).unwrap();
        for length in 0..der.len() {
            assert_eq!(Validity::of(&der[..length]), None, "{length}");
        }
        assert_eq!(Validity::of(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }
}
