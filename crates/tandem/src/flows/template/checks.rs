//! What a name and a number look like.

/// Longest name of a variable, in characters.
pub const MAX_NAME: usize = 64;
/// `[A-Za-z_][A-Za-z0-9_.]{0,63}`
#[must_use]
pub fn is_name(name: &str) -> bool {
    name.len() <= MAX_NAME
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.')
}

/// `^\+?[0-9*#]{2,32}$`
#[must_use]
pub fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('+').unwrap_or(text);
    (2..=32).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit() || b == b'*' || b == b'#')
}

/// A `sip:` or `sips:` address; whether it may be dialled is the organisation's dial plan's business.
#[must_use]
pub fn is_sip_uri(text: &str) -> bool {
    let rest = text.strip_prefix("sip:").or_else(|| text.strip_prefix("sips:"));
    rest.is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_graphic() && !"<>\"\\".contains(c)))
}
