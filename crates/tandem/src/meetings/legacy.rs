//! Sign-in tokens that document 000's own server gave out: Ruby on Rails' `MessageVerifier` around a marshalled text.
//! Off unless the application set `legacy_verifier_secret`. Invariant: nothing is read before its signature holds, and
//! then only a text or a small number, by hand; nothing is ever unmarshalled.
//! Source: docs/contracts/meetings.md, "Sign-in tokens"; Ruby's marshal.rdoc, format 4.8.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use kernel::Secret;
use kernel::secret::{hex, same};
use sha1::Sha1;

/// Longest token that is looked at, in bytes.
const MAX_TOKEN: usize = 1_024;
/// Format 4.8.
const VERSION: [u8; 2] = [4, 8];

/// The person of a token, if `secret` (the raw `secret_key_base`) signed it.
pub(super) fn verify(token: &str, secret: &Secret) -> Option<String> {
    if token.len() > MAX_TOKEN || secret.expose().is_empty() {
        return None;
    }
    let (data, signature) = token.split_once("--")?;
    // Signed is the text in base 64, not what it stands for.
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.expose().as_bytes()).ok()?;
    mac.update(data.as_bytes());
    let wanted = hex(&mac.finalize().into_bytes());
    if !same(&wanted, signature) {
        return None;
    }
    uid(&STANDARD.decode(data).ok()?).filter(|uid| !uid.is_empty() && !uid.chars().any(char::is_control))
}

/// Whether a text looks like one of these tokens: then an application's secret may be asked.
pub(super) fn looks_like(token: &str) -> bool {
    token.len() <= MAX_TOKEN
        && token.split_once("--").is_some_and(|(data, signature)| data.starts_with("BA") && signature.len() == 40)
}

/// The text or number of a marshalled value; none when it is anything else.
fn uid(marshalled: &[u8]) -> Option<String> {
    match marshalled.strip_prefix(&VERSION)? {
        [b'i', rest @ ..] => {
            let (number, rest) = fixnum(rest)?;
            rest.is_empty().then(|| number.to_string())
        }
        // A text without an encoding.
        [b'"', rest @ ..] => {
            let (text, rest) = counted(rest)?;
            (rest.is_empty() && text.is_ascii()).then(|| String::from_utf8(text.to_vec()).ok()).flatten()
        }
        // A text with its encoding beside it, as every Ruby since 1.9 writes one.
        [b'I', b'"', rest @ ..] => {
            let (text, rest) = counted(rest)?;
            let encoding = match rest {
                [6, b':', 6, b'E', flag @ (b'T' | b'F')] => *flag,
                _ => return None,
            };
            (encoding == b'T' || text.is_ascii()).then(|| String::from_utf8(text.to_vec()).ok()).flatten()
        }
        _ => None,
    }
}

/// Bytes with their count before them.
fn counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = fixnum(bytes)?;
    rest.split_at_checked(usize::try_from(length).ok()?)
}

/// A Fixnum: small ones are one byte, others say how many bytes follow, least significant first.
fn fixnum(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    match first.cast_signed() {
        0 => Some((0, rest)),
        small @ 5..=127 => Some((i64::from(small) - 5, rest)),
        small @ -128..=-5 => Some((i64::from(small) + 5, rest)),
        width @ 1..=4 => {
            let (value, rest) = rest.split_at_checked(usize::from(width.unsigned_abs()))?;
            Some((little_endian(value), rest))
        }
        width @ -4..=-1 => {
            let (value, rest) = rest.split_at_checked(usize::from(width.unsigned_abs()))?;
            Some((little_endian(value) - (1 << (8 * value.len())), rest))
        }
    }
}

fn little_endian(bytes: &[u8]) -> i64 {
    bytes.iter().rev().fold(0, |value, &byte| (value << 8) | i64::from(byte))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use proptest::prelude::*;

    use super::*;

    fn signed(data: &str, secret: &str) -> String {
        let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(data.as_bytes());
        format!("{data}--{}", hex(&mac.finalize().into_bytes()))
    }

    /// What Rails makes of values that Ruby source text names, one token a line.
    fn by_rails(secret: &str, values: &[&str]) -> Vec<String> {
        let script = "require 'active_support'; require 'active_support/message_verifier'
            verifier = ActiveSupport::MessageVerifier.new(ARGV[0], digest: 'SHA1', serializer: Marshal)
            STDIN.each_line { |line| puts verifier.generate(eval(line.force_encoding('UTF-8'))) }";
        let mut ruby = Command::new("ruby")
            .args(["-Ku", "-e", script, secret])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("ruby with ruby-activesupport (Debian) is installed");
        let mut input = ruby.stdin.take().unwrap();
        writeln!(input, "{}", values.join("\n")).unwrap();
        drop(input);
        let output = ruby.wait_with_output().unwrap();
        assert!(output.status.success(), "ruby-activesupport (Debian) is installed");
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn what_rails_signed_is_read() {
        let long = "u".repeat(200);
        let long_ruby = format!("'{long}'");
        let cases: Vec<(&str, &str)> = vec![
            ("'123'", "123"),
            ("'567'", "567"),
            ("'u29if'", "u29if"),
            ("'Zoë'", "Zoë"),
            ("'abc'.force_encoding('US-ASCII')", "abc"),
            ("'abc'.force_encoding('ASCII-8BIT')", "abc"),
            (&long_ruby, &long),
            ("0", "0"),
            ("1", "1"),
            ("122", "122"),
            ("123", "123"),
            ("255", "255"),
            ("256", "256"),
            ("65536", "65536"),
            ("16777216", "16777216"),
            ("1073741823", "1073741823"),
            ("-1", "-1"),
            ("-123", "-123"),
            ("-124", "-124"),
            ("-256", "-256"),
            ("-257", "-257"),
        ];
        let sources: Vec<&str> = cases.iter().map(|(source, _)| *source).collect();
        let tokens = by_rails("0123456789abcdef", &sources);
        assert_eq!(tokens.len(), cases.len());
        for (token, (source, uid)) in tokens.iter().zip(&cases) {
            assert!(looks_like(token), "{source}");
            assert_eq!(verify(token, &"0123456789abcdef".into()).as_deref(), Some(*uid), "{source}");
            assert_eq!(verify(token, &"another".into()), None, "{source}");
        }
    }

    #[test]
    fn what_rails_signed_but_is_no_text_or_number_is_refused() {
        let sources = [
            "nil",
            "true",
            "['a']",
            "{'a' => 1}",
            ":a",
            "1.5",
            "Object.new",
            "2**70",
            "''",
            "\"a\\xff\"",
            "\"a\\x00\"",
            "'a'.encode('Shift_JIS')",
        ];
        for (token, source) in by_rails("s", &sources).iter().zip(sources) {
            assert_eq!(verify(token, &"s".into()), None, "{source}");
        }
    }

    #[test]
    fn the_documents_token_has_the_documented_text_in_it() {
        // Its secret is not known; what it stands for is.
        let marshalled = STANDARD.decode("BAhJIggxMjMGOgZFVA==").unwrap();
        assert_eq!(uid(&marshalled).as_deref(), Some("123"));
        let token = "BAhJIggxMjMGOgZFVA==--45a45db915efc4dd9e79e15c6d7cc54cca9be868";
        assert!(looks_like(token));
        assert_eq!(verify(token, &"secret".into()), None);
    }

    #[test]
    fn a_changed_token_an_empty_secret_and_other_base_64_are_refused() {
        let good = signed("BAhJIggxMjMGOgZFVA==", "s");
        assert_eq!(verify(&good, &"s".into()).as_deref(), Some("123"));
        assert_eq!(verify(&good.to_uppercase(), &"s".into()), None);
        assert_eq!(verify(&good.replace("--", "-"), &"s".into()), None);
        assert_eq!(verify(&format!("{good}0"), &"s".into()), None);
        assert_eq!(verify(&signed("BAhJIggxMjMGOgZFVA==", ""), &"".into()), None);
        assert_eq!(verify(&signed("BAhJIggxMjMGOgZFVA", "s"), &"s".into()), None, "no padding");
        assert_eq!(verify(&signed("", "s"), &"s".into()), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let mut marshalled = VERSION.to_vec();
            marshalled.extend(&bytes);
            let _ = (uid(&bytes), uid(&marshalled));
        }

        #[test]
        fn no_signed_bytes_panic(bytes: Vec<u8>) {
            let _ = verify(&signed(&STANDARD.encode(&bytes), "s"), &"s".into());
        }
    }
}
