//! Text as engines can take it.
//!
//! Invariant: one line, no control characters, nothing that an engine reads as a command.

/// Typographic characters and what engines know instead.
const PLAIN: [(char, &str); 10] = [
    ('\u{2018}', "'"),
    ('\u{2019}', "'"),
    ('\u{201c}', "\""),
    ('\u{201d}', "\""),
    ('\u{2013}', ", "),
    ('\u{2014}', ", "),
    ('\u{2026}', "..."),
    ('\u{00a0}', " "),
    // espeak-ng reads phonemes between double brackets.
    ('[', " "),
    (']', " "),
];

/// The text on one line, in plain characters.
pub(super) fn clean(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match PLAIN.iter().find(|(known, _)| *known == c) {
            Some((_, instead)) => plain.push_str(instead),
            None if c.is_control() || c.is_whitespace() => plain.push(' '),
            None => plain.push(c),
        }
    }
    plain.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_one_plain_line() {
        assert_eq!(clean("  Hello\r\n\tworld\u{0}\u{1b}[31m "), "Hello world 31m");
        assert_eq!(clean("It\u{2019}s \u{201c}fine\u{201d}\u{2026}"), "It's \"fine\"...");
        assert_eq!(clean("a [[k@m'a:nd]] b"), "a k@m'a:nd b");
        assert_eq!(clean("Gr\u{fc}\u{df}e, \u{4f60}\u{597d}"), "Gr\u{fc}\u{df}e, \u{4f60}\u{597d}");
        assert_eq!(clean(" \n\t "), "");
    }
}
