//! The words of the chat in each language: the files that pages load, for the script of the widget and for mail.
//!
//! Invariant: every language has every word, with the same places for values.

use std::collections::BTreeMap;
use std::sync::LazyLock;

/// One line a language: its tag and its file.
macro_rules! locales {
    ($($tag:literal),+ $(,)?) => {
        /// The languages that there are; the first one is taken when none fits.
        pub const LOCALES: &[&str] = &[$($tag),+];
        /// The files as they stand, by language.
        pub const FILES: &[(&str, &str)] = &[$(($tag, include_str!(concat!("../../../web/widget/locales/", $tag, ".json")))),+];
    };
}

locales!["en", "ar", "de", "es", "fr", "hi", "it", "ja", "nl", "pl", "pt", "tr", "zh"];

/// The words of one language by their keys.
pub type Table = BTreeMap<String, String>;

static TABLES: LazyLock<BTreeMap<&'static str, Table>> = LazyLock::new(|| {
    // Files of ours; a test reads each.
    FILES.iter().map(|(tag, file)| (*tag, serde_json::from_str(file).unwrap_or_default())).collect()
});

/// A word in a language, else in English, else its key.
#[must_use]
pub fn say<'a>(locale: &str, key: &'a str) -> &'a str {
    let find = |locale: &str| TABLES.get(locale).and_then(|table| table.get(key));
    find(locale).or_else(|| find("en")).map_or(key, String::as_str)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const VIEWS: [&str; 8] = [
        include_str!("../../../web/assets/chat-acts.js"),
        include_str!("../../../web/assets/chat-call.js"),
        include_str!("../../../web/assets/chat.js"),
        include_str!("../../../web/assets/chat-push.js"),
        include_str!("../../../web/assets/chat-forms.js"),
        include_str!("../../../web/assets/chat-writing.js"),
        include_str!("../../../web/assets/chat-view.js"),
        include_str!("../../../web/assets/chat-log.js"),
    ];
    /// Words of the server itself, and of the widget's script.
    const OUTSIDE: [&str; 5] = ["launch", "title", "close", "mail_subject", "push_answer"];

    fn places(text: &str) -> BTreeSet<&str> {
        text.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name).collect()
    }

    #[test]
    fn every_language_has_every_word_with_the_same_places() {
        let english = &TABLES["en"];
        assert!(english.len() > 50 && LOCALES.len() >= 10);
        for (locale, table) in TABLES.iter() {
            let missing: Vec<&String> = english.keys().filter(|key| !table.contains_key(*key)).collect();
            assert!(missing.is_empty(), "{locale} lacks {missing:?}");
            let unknown: Vec<&String> = table.keys().filter(|key| !english.contains_key(*key)).collect();
            assert!(unknown.is_empty(), "{locale} has {unknown:?}, which nobody says");
            for (key, text) in table {
                assert!(!text.trim().is_empty(), "{locale}: {key} is empty");
                assert_eq!(places(text), places(&english[key]), "{locale}: {key}");
            }
        }
    }

    #[test]
    fn every_word_is_said_somewhere_and_every_language_is_offered() {
        let said = |key: &str| VIEWS.iter().any(|view| view.contains(&format!("\"{key}\"")));
        for key in TABLES["en"].keys() {
            let is_score = key.starts_with("score_");
            assert!(is_score || OUTSIDE.contains(&key.as_str()) || said(key), "{key} is said nowhere");
        }
        for view in VIEWS {
            for key in view.split("say(\"").skip(1).filter_map(|rest| rest.split('"').next()) {
                assert!(TABLES["en"].contains_key(key), "{key} has no words");
            }
        }
        let offered = include_str!("../../../web/assets/chat-words.js");
        let list = offered.split("LOCALES = [").nth(1).and_then(|rest| rest.split(']').next()).unwrap();
        let list: Vec<&str> = list.split(',').map(|tag| tag.trim().trim_matches('"')).collect();
        assert_eq!(list, LOCALES);
    }

    #[test]
    fn what_a_language_lacks_is_said_in_english() {
        assert_eq!(say("de", "send"), "Senden");
        assert_eq!(say("xx", "send"), "Send");
        assert_eq!(say("de", "nothing"), "nothing");
    }
}
