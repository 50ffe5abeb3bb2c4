//! What is said of a meeting and its two people, read by the same rules whether an order, a change or a form says it.
//!
//! Invariant: a number that was read can be dialled as far as its form goes, and a mail address can be written to.

use calls::numbers::{self, Dialled};

use super::model::{CallType, MAX_AHEAD_MS};

/// Longest name of a person, and longest id of a person or an order, in characters.
pub const MAX_LINE: usize = 200;
/// Longest number inside an organisation, in digits; one outside has more, its country code included.
const MAX_OWN_DIGITS: usize = 7;

/// What is wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Stable name.
    pub code: &'static str,
    /// What is expected, for people.
    pub message: &'static str,
}

/// Both places are one person's.
pub const SAME_PERSON: Mistake = Mistake { code: "same_person", message: "caller and receiver are two people" };

/// A text in one line, without the blanks around it; it may be empty.
///
/// # Errors
/// What is expected.
pub fn line(text: &str) -> Result<&str, Mistake> {
    let text = text.trim();
    let good = text.chars().count() <= MAX_LINE && !text.chars().any(char::is_control);
    good.then_some(text).ok_or(Mistake { code: "invalid", message: "one line of at most 200 characters" })
}

/// What is to be dialled: in E.164 with its `+`, or a number inside the organisation. An empty text is none.
///
/// # Errors
/// What is expected.
pub fn number(text: &str) -> Result<Option<String>, Mistake> {
    let wrong = |message| Err(Mistake { code: "invalid_number", message });
    if text.trim().is_empty() {
        return Ok(None);
    }
    let number = match numbers::read(text) {
        Ok(Dialled::E164 { e164, .. }) => e164,
        Ok(Dialled::Short(digits)) if !digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            return wrong("a number, best as +442071838750");
        }
        Ok(Dialled::Short(digits)) if digits.len() <= MAX_OWN_DIGITS => digits,
        Ok(Dialled::Short(_)) => return wrong("write it with its country code, as +442071838750"),
        Ok(Dialled::Sip(_)) | Err(_) => return wrong("a number, best as +442071838750"),
    };
    if numbers::is_emergency(&number) {
        return Err(Mistake { code: "number_not_allowed", message: "an emergency number is never called" });
    }
    Ok(Some(number))
}

/// A mail address; an empty text is none.
///
/// # Errors
/// What is expected.
pub fn email(text: &str) -> Result<Option<String>, Mistake> {
    let text = text.trim();
    if text.is_empty() || kernel::notice::is_mail_address(text) {
        return Ok(Some(text.to_owned()).filter(|text| !text.is_empty()));
    }
    Err(Mistake { code: "invalid", message: "a mail address" })
}

/// How somebody talks.
///
/// # Errors
/// What is expected.
pub fn call_type(text: &str) -> Result<CallType, Mistake> {
    CallType::parse(text).ok_or(Mistake { code: "invalid", message: "Phone or Browser" })
}

/// A start, UTC milliseconds: it may be past, but not too far ahead.
///
/// # Errors
/// What is expected.
pub fn start(at_ms: i64, now_ms: i64) -> Result<i64, Mistake> {
    let is_near = at_ms <= now_ms.saturating_add(MAX_AHEAD_MS);
    is_near.then_some(at_ms).ok_or(Mistake { code: "out_of_range", message: "at most ten years ahead" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_one_that_can_be_dialled() {
        for (said, read) in [
            ("+44 7700 900-123", Some("+447700900123")),
            ("00447700900123", Some("+447700900123")),
            ("123456789", Some("+123456789")),
            ("1001", Some("1001")),
            ("0123456", Some("0123456")),
            (" ", None),
        ] {
            assert_eq!(number(said), Ok(read.map(str::to_owned)), "{said}");
        }
        for national in ["07700900123", "0770 090 0123", "01234567", "1234567890123456"] {
            let mistake = number(national).unwrap_err();
            assert!(mistake.code == "invalid_number" && mistake.message.contains("country code"), "{national}");
        }
        for bad in ["*72", "1001#", "sip:a@example.com", "x", "+123"] {
            assert_eq!(number(bad).unwrap_err().code, "invalid_number", "{bad}");
        }
        assert_eq!(number("112").unwrap_err().code, "number_not_allowed");
    }

    #[test]
    fn a_mail_address_is_one_that_can_be_written_to() {
        assert_eq!(email(" ann@example.org "), Ok(Some("ann@example.org".to_owned())));
        assert_eq!(email(" "), Ok(None));
        for bad in ["nobody", "a@b.example>", "a b@example.org", "ann@", "a..b@example.org", "ann@exa_mple@org", "@b.c"]
        {
            assert!(email(bad).is_err(), "{bad}");
        }
    }
}
