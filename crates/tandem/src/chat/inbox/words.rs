//! What is looked for, and in what: texts become folded words, so that both engines find the same.
//!
//! Invariant: a word consists of letters and digits alone, so that no query of a person's means anything to an engine.

use unicode_normalization::UnicodeNormalization as _;

/// Longest word that is kept, characters; the rest of it is not looked at.
const MAX_WORD: usize = 48;
/// Words of one message that are kept.
const MAX_WORDS: usize = 2_000;
/// Words of one query.
const MAX_ASKED: usize = 12;

/// The words of a text, folded, in their order.
pub(super) fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    // Taken apart, an accent stands after its letter, as people leave it out when they look for something.
    for c in text.nfkd().flat_map(char::to_lowercase) {
        if words.len() >= MAX_WORDS {
            return words;
        }
        if is_mark(c) {
            continue;
        }
        if stands_alone(c) {
            finish(&mut word, &mut words);
            words.push(c.to_string());
        } else if c.is_alphanumeric() {
            push_folded(c, &mut word);
        } else {
            finish(&mut word, &mut words);
        }
    }
    finish(&mut word, &mut words);
    words
}

/// The same as the store keeps them: one blank between two.
pub(super) fn folded(text: &str) -> String {
    words(text).join(" ")
}

fn finish(word: &mut String, words: &mut Vec<String>) {
    if !word.is_empty() {
        words.push(word.chars().take(MAX_WORD).collect());
        word.clear();
    }
}

/// Accents that stand after their letter.
fn is_mark(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{3099}' | '\u{309a}')
}

/// Scripts that put no blank between words: each character is looked for by itself.
fn stands_alone(c: char) -> bool {
    c.is_alphanumeric()
        && matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{20000}'..='\u{3134f}')
}

/// Letters that Unicode does not take apart, as people write them who do not have them on their keys.
fn push_folded(c: char, word: &mut String) {
    let plain = match c {
        'ß' => "ss",
        'æ' => "ae",
        'œ' => "oe",
        'ø' => "o",
        'đ' | 'ð' => "d",
        'ħ' => "h",
        'ı' => "i",
        'ł' => "l",
        'ŧ' => "t",
        'þ' => "th",
        other => return word.push(other),
    };
    word.push_str(plain);
}

/// What somebody looks for: every word, the last one as a beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Query(Vec<String>);

impl Query {
    /// None when there is no word in it.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut words = words(text);
        words.truncate(MAX_ASKED);
        (!words.is_empty()).then_some(Self(words))
    }

    /// For SQLite's FTS5, in the rows of an organisation.
    pub(super) fn for_fts5(&self, org: &str) -> String {
        let org: String = org.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        let words: Vec<String> = self.0.iter().map(|word| format!("\"{word}\"")).collect();
        format!("org : \"{org}\" AND words : ({} *)", words.join(" AND "))
    }

    /// For PostgreSQL's tsquery.
    pub(super) fn for_tsquery(&self) -> String {
        let words: Vec<String> = self.0.iter().map(|word| format!("'{word}'")).collect();
        format!("{}:*", words.join(" & "))
    }

    /// A piece of a text around the first of the words, at most `length` characters.
    pub(super) fn piece(&self, text: &str, length: usize) -> String {
        let characters: Vec<char> = text.chars().collect();
        let at = self.place(text).unwrap_or_default();
        let begin = at.saturating_sub(length / 3).min(characters.len().saturating_sub(length));
        let piece: String = characters.iter().skip(begin).take(length).collect();
        let (head, tail) = (begin > 0, begin + length < characters.len());
        format!("{}{}{}", if head { "…" } else { "" }, piece.trim(), if tail { "…" } else { "" })
    }

    /// At which character of a text the first word stands that is looked for.
    fn place(&self, text: &str) -> Option<usize> {
        let mut begin = None;
        let mut word = String::new();
        for (at, c) in text.chars().chain([' ']).enumerate() {
            if c.is_alphanumeric() && !stands_alone(c) || is_mark(c) {
                begin.get_or_insert(at);
                word.push(c);
                continue;
            }
            let is_it = |found: &String| self.0.iter().any(|asked| found.starts_with(asked.as_str()));
            if words(&word).iter().any(is_it) {
                return begin;
            }
            if stands_alone(c) && self.0.iter().any(|asked| asked.starts_with(c)) {
                return Some(at);
            }
            begin = None;
            word.clear();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_are_found_with_and_without_accents() {
        assert_eq!(folded("Grüße aus Köln, Łódź & Besançon!"), "grusse aus koln lodz besancon");
        assert_eq!(folded("Gru\u{308}n"), "grun");
        assert_eq!(folded("don't e-mail a_b 3.14"), "don t e mail a b 3 14");
        assert_eq!(folded("日本 ok"), "日 本 ok");
        assert_eq!(folded("か\u{3099}・ー"), "か ー", "no mark and no dot is a word");
        assert_eq!(folded("Привет, мир"), "привет мир");
        assert_eq!(folded("Việt Nam, Țară, ΐ, Ѐлка"), "viet nam tara ι елка", "accents of every script");
        assert_eq!(folded("ﬁne ＡＢＣ１ Þór"), "fine abc1 thor", "letters that are drawn as one");
        assert_eq!(folded("한"), folded("\u{1112}\u{1161}\u{11ab}"), "taken apart by whoever wrote it");
        assert_eq!(folded("℡"), "tel");
        assert_eq!(words(&"x".repeat(100)), ["x".repeat(MAX_WORD)]);
        assert_eq!(words(&"a ".repeat(5_000)).len(), MAX_WORDS);
    }

    #[test]
    fn queries_say_no_more_than_their_words() {
        let query = Query::read("Refund* OR \"NOT near(x)").unwrap();
        assert_eq!(
            query.for_fts5("org_1\""),
            "org : \"org_1\" AND words : (\"refund\" AND \"or\" AND \"not\" AND \"near\" AND \"x\" *)"
        );
        assert_eq!(query.for_tsquery(), "'refund' & 'or' & 'not' & 'near' & 'x':*");
        assert_eq!(Query::read(" \"'*-(): "), None);
    }

    #[test]
    fn a_piece_stands_around_the_word() {
        let query = Query::read("köln").unwrap();
        let text = format!("{}I live in Köln by the river{}", "before ".repeat(30), " after".repeat(30));
        let piece = query.piece(&text, 60);
        assert!(piece.contains("Köln by") && piece.starts_with('…') && piece.ends_with('…'), "{piece}");
        assert!(piece.chars().count() <= 62);
        assert_eq!(query.piece("nothing of it", 60), "nothing of it");
        assert_eq!(Query::read("本").unwrap().piece("日本 ok", 60), "日本 ok");
    }

    proptest! {
        #[test]
        fn any_text_becomes_plain_words(text in any::<String>()) {
            for word in words(&text) {
                prop_assert!(!word.is_empty() && word.chars().all(|c| c.is_alphanumeric()), "{word:?}");
            }
            if let Some(query) = Query::read(&text) {
                let _piece = query.piece(&text, 20);
            }
        }
    }
}
