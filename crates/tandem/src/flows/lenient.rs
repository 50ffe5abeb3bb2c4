//! Reads the JSON of a call flow: strictly first, then as the documentation prints it (contracts/flows.md "Reading").
//! Lenient means: curly quotes as delimiters, `#` and `//` comments, bare keys, trailing commas.
//! Invariant: text inside straight quotes is never touched, and no key is ever read twice.

use std::fmt::Write as _;

use serde_json::{Map, Number, Value};

/// Largest body in bytes; above it the answer is 413.
pub const MAX_BODY: usize = 256 * 1024;
/// Deepest nesting of objects and arrays, the body itself counted.
pub const MAX_DEPTH: usize = 16;

/// A body that could be read.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// What it says.
    pub value: Value,
    /// Whether it took the lenient reader (warning `lenient_json`).
    pub lenient: bool,
}

/// Why a body could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Over [`MAX_BODY`] bytes (413).
    #[error("the body is larger than {} KiB", MAX_BODY / 1024)]
    TooLarge,
    /// Not UTF-8 (400).
    #[error("the body is not UTF-8: byte {0} is the first bad one")]
    NotUtf8(usize),
    /// U+0000, raw or as an escape (400).
    #[error("U+0000 at line {line}, column {column}: no text may hold it")]
    Nul {
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
    },
    /// The same key twice in one object (400).
    #[error("the key \"{key}\" stands twice in one object (line {line}, column {column})")]
    DuplicateKey {
        /// The key.
        key: String,
        /// JSON pointer of the second one.
        pointer: String,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
    },
    /// Deeper than [`MAX_DEPTH`] (422 `limit_exceeded`).
    #[error("nested deeper than {MAX_DEPTH} levels (line {line}, column {column})")]
    TooDeep {
        /// JSON pointer of the value that is too deep.
        pointer: String,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
    },
    /// Anything else (400).
    #[error("not JSON at line {line}, column {column}: {hint}")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// What to do about it.
        hint: String,
    },
}

impl ReadError {
    /// The code of the error envelope.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge => "body_too_large",
            Self::NotUtf8(_) => "not_utf8",
            Self::Nul { .. } => "nul_character",
            Self::DuplicateKey { .. } => "duplicate_key",
            Self::TooDeep { .. } => "limit_exceeded",
            Self::Syntax { .. } => "invalid_json",
        }
    }

    /// JSON pointer of the place, as far as one is known.
    #[must_use]
    pub fn pointer(&self) -> &str {
        match self {
            Self::DuplicateKey { pointer, .. } | Self::TooDeep { pointer, .. } => pointer,
            _ => "",
        }
    }
}

/// Reads a body.
///
/// # Errors
/// [`ReadError`]; when both readers fail, the lenient one's account is given, for it got further.
pub fn read(body: &[u8]) -> Result<Reading, ReadError> {
    if body.len() > MAX_BODY {
        return Err(ReadError::TooLarge);
    }
    let text = std::str::from_utf8(body).map_err(|bad| ReadError::NotUtf8(bad.valid_up_to()))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match Reader::new(text, false).document() {
        Ok(value) => Ok(Reading { value, lenient: false }),
        Err(ReadError::Syntax { .. }) => {
            Reader::new(text, true).document().map(|value| Reading { value, lenient: true })
        }
        Err(other) => Err(other),
    }
}

/// A recursive-descent reader; recursion is bounded by [`MAX_DEPTH`].
struct Reader<'a> {
    text: &'a str,
    /// Byte offset of the next character.
    at: usize,
    lenient: bool,
    /// Keys and indices down to the value being read.
    path: Vec<Segment>,
}

enum Segment {
    Key(String),
    Index(usize),
}

impl<'a> Reader<'a> {
    fn new(text: &'a str, lenient: bool) -> Self {
        Self { text, at: 0, lenient, path: Vec::new() }
    }

    fn document(mut self) -> Result<Value, ReadError> {
        if let Some(nul) = self.text.find('\0') {
            let (line, column) = self.place(nul);
            return Err(ReadError::Nul { line, column });
        }
        self.skip_blank();
        if self.peek().is_none() {
            return Err(self.syntax("the body is empty"));
        }
        let value = self.value()?;
        self.skip_blank();
        match self.peek() {
            None => Ok(value),
            Some(_) => Err(self.syntax("something follows the end of the JSON")),
        }
    }

    fn value(&mut self) -> Result<Value, ReadError> {
        match self.peek() {
            Some('{') => self.nested(Self::object),
            Some('[') => self.nested(Self::array),
            Some('"') => self.straight_string().map(Value::String),
            Some(open) if self.lenient && is_curly(open) => self.curly_string(open).map(Value::String),
            Some('-' | '0'..='9') => self.number(),
            Some('a'..='z') => self.word(),
            _ => Err(self.unexpected("a value")),
        }
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<Value, ReadError>) -> Result<Value, ReadError> {
        if self.path.len() >= MAX_DEPTH {
            let (line, column) = self.place(self.at);
            return Err(ReadError::TooDeep { pointer: self.pointer(), line, column });
        }
        self.advance();
        read(self)
    }

    fn object(&mut self) -> Result<Value, ReadError> {
        let mut map = Map::new();
        loop {
            self.skip_blank();
            if self.peek() == Some('}') && (map.is_empty() || self.lenient) {
                self.advance();
                return Ok(Value::Object(map));
            }
            let key_at = self.at;
            let key = self.key()?;
            self.path.push(Segment::Key(key.clone()));
            if map.contains_key(&key) {
                let (line, column) = self.place(key_at);
                return Err(ReadError::DuplicateKey { key, pointer: self.pointer(), line, column });
            }
            self.skip_blank();
            if self.peek() != Some(':') {
                return Err(self.unexpected("':' after the key"));
            }
            self.advance();
            self.skip_blank();
            let value = self.value()?;
            self.path.pop();
            map.insert(key, value);
            if self.separator('}')? {
                return Ok(Value::Object(map));
            }
        }
    }

    fn array(&mut self) -> Result<Value, ReadError> {
        let mut items = Vec::new();
        loop {
            self.skip_blank();
            if self.peek() == Some(']') && (items.is_empty() || self.lenient) {
                self.advance();
                return Ok(Value::Array(items));
            }
            self.path.push(Segment::Index(items.len()));
            let item = self.value()?;
            self.path.pop();
            items.push(item);
            if self.separator(']')? {
                return Ok(Value::Array(items));
            }
        }
    }

    /// Consumes `,` (more follows: false) or the closing bracket (true).
    fn separator(&mut self, close: char) -> Result<bool, ReadError> {
        self.skip_blank();
        match self.peek() {
            Some(',') => {
                self.advance();
                Ok(false)
            }
            Some(found) if found == close => {
                self.advance();
                Ok(true)
            }
            _ => Err(self.unexpected(&format!("',' or '{close}'"))),
        }
    }

    fn key(&mut self) -> Result<String, ReadError> {
        match self.peek() {
            Some('"') => self.straight_string(),
            Some(open) if self.lenient && is_curly(open) => self.curly_string(open),
            Some(first) if self.lenient && (first.is_ascii_alphabetic() || first == '_') => {
                let rest = self.rest();
                let end =
                    rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-')).unwrap_or(rest.len());
                self.at += end;
                Ok(rest.get(..end).unwrap_or_default().to_owned())
            }
            _ => Err(self.unexpected("a key in quotes")),
        }
    }

    fn word(&mut self) -> Result<Value, ReadError> {
        let rest = self.rest();
        for (word, value) in [("true", Value::Bool(true)), ("false", Value::Bool(false)), ("null", Value::Null)] {
            let Some(after) = rest.strip_prefix(word) else {
                continue;
            };
            if !after.starts_with(|c: char| c.is_alphanumeric() || c == '_') {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(self.unexpected("a value"))
    }

    fn number(&mut self) -> Result<Value, ReadError> {
        let rest = self.rest();
        let end = rest.find(|c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E')).unwrap_or(rest.len());
        let text = rest.get(..end).unwrap_or_default();
        // serde_json knows the grammar of a number: no leading zeros, no bare point, nothing infinite.
        let number: Number = serde_json::from_str(text)
            .map_err(|_| self.syntax(&format!("\"{text}\" is not a number; write text in quotes")))?;
        self.at += end;
        Ok(Value::Number(number))
    }

    /// A string in straight quotes: exactly JSON, in both modes.
    fn straight_string(&mut self) -> Result<String, ReadError> {
        let open = self.at;
        self.advance();
        let mut out = String::new();
        loop {
            let Some(c) = self.peek() else {
                return Err(self.unclosed(open));
            };
            match c {
                '"' => {
                    self.advance();
                    return Ok(out);
                }
                '\\' => out.push(self.escape()?),
                c if c < ' ' => {
                    return Err(if c == '\n' || c == '\r' {
                        self.unclosed(open)
                    } else {
                        self.syntax("a control character inside a string: write it as an escape, such as \\t")
                    });
                }
                c => {
                    out.push(c);
                    self.advance();
                }
            }
        }
    }

    /// A string that a curly quote opened. Curly quotes of its kind close it, and so does a straight one that a
    /// separator follows: an editor that curls only one end is common.
    fn curly_string(&mut self, open: char) -> Result<String, ReadError> {
        let start = self.at;
        let double = is_double(open);
        self.advance();
        let mut out = String::new();
        loop {
            let Some(c) = self.peek() else {
                return Err(self.unclosed(start));
            };
            match c {
                '\\' => out.push(self.escape()?),
                c if is_curly(c) && is_double(c) == double => {
                    self.advance();
                    return Ok(out);
                }
                '"' if self.separator_follows() => {
                    self.advance();
                    return Ok(out);
                }
                '\n' | '\r' => return Err(self.unclosed(start)),
                c => {
                    out.push(c);
                    self.advance();
                }
            }
        }
    }

    fn separator_follows(&self) -> bool {
        let after = self.rest().get(1..).unwrap_or_default().trim_start();
        after.is_empty() || after.starts_with([':', ',', '}', ']'])
    }

    fn escape(&mut self) -> Result<char, ReadError> {
        self.advance();
        let Some(c) = self.peek() else {
            return Err(self.syntax("the text ends inside an escape"));
        };
        let plain = match c {
            '"' | '\\' | '/' => c,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => return self.unicode_escape(),
            _ => return Err(self.syntax(&format!("\\{c} is not an escape of JSON"))),
        };
        self.advance();
        Ok(plain)
    }

    fn unicode_escape(&mut self) -> Result<char, ReadError> {
        let first = self.hex4()?;
        if first == 0 {
            let (line, column) = self.place(self.at);
            return Err(ReadError::Nul { line, column });
        }
        let code = if (0xd800..0xdc00).contains(&first) {
            if !self.rest().starts_with("\\u") {
                return Err(self.syntax("half a surrogate pair"));
            }
            self.advance();
            let second = self.hex4()?;
            if !(0xdc00..0xe000).contains(&second) {
                return Err(self.syntax("half a surrogate pair"));
            }
            0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
        } else {
            first
        };
        char::from_u32(code).ok_or_else(|| self.syntax("half a surrogate pair"))
    }

    /// Reads `uXXXX`, standing on the `u`.
    fn hex4(&mut self) -> Result<u32, ReadError> {
        let digits = self.rest().get(1..5).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        match digits.and_then(|d| u32::from_str_radix(d, 16).ok()) {
            Some(code) => {
                self.at += 5;
                Ok(code)
            }
            None => Err(self.syntax("\\u needs four hexadecimal digits")),
        }
    }

    fn skip_blank(&mut self) {
        loop {
            let rest = self.rest();
            let blank: &[char] =
                if self.lenient { &[' ', '\t', '\n', '\r', '\u{a0}'] } else { &[' ', '\t', '\n', '\r'] };
            let trimmed = rest.trim_start_matches(blank);
            self.at += rest.len() - trimmed.len();
            if !self.lenient || !(trimmed.starts_with('#') || trimmed.starts_with("//")) {
                return;
            }
            self.at += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn advance(&mut self) {
        self.at += self.peek().map_or(0, char::len_utf8);
    }

    fn pointer(&self) -> String {
        let mut out = String::new();
        for segment in &self.path {
            match segment {
                Segment::Key(key) => push_segment(&mut out, key),
                Segment::Index(index) => {
                    let _ = write!(out, "/{index}");
                }
            }
        }
        out
    }

    fn place(&self, at: usize) -> (usize, usize) {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.matches('\n').count() + 1;
        (line, before.get(line_start..).map_or(0, |l| l.chars().count()) + 1)
    }

    fn syntax(&self, hint: &str) -> ReadError {
        self.syntax_at(self.at, hint)
    }

    fn syntax_at(&self, at: usize, hint: &str) -> ReadError {
        let (line, column) = self.place(at);
        ReadError::Syntax { line, column, hint: hint.to_owned() }
    }

    fn unclosed(&self, open: usize) -> ReadError {
        self.syntax_at(
            open,
            "the string that starts here is not closed on its line (the quotes at both ends must be of one kind)",
        )
    }

    /// An error that names a placeholder of the documentation where one stands.
    fn unexpected(&self, wanted: &str) -> ReadError {
        if let Some((at, placeholder)) = self.placeholder() {
            let instead = if placeholder.starts_with('<') { "an id" } else { "an object or a value" };
            return self.syntax_at(
                at,
                &format!("\"{placeholder}\" is a placeholder of the documentation: write {instead} in its place"),
            );
        }
        match self.peek() {
            None => self.syntax(&format!("the text ends where {wanted} should stand")),
            Some('\'') => self.syntax(&format!("{wanted} should stand here; quotes are \", not '")),
            Some(found) => self.syntax(&format!("{wanted} should stand here, not \"{found}\"")),
        }
    }

    /// `<<some id>>` or `{...}` at the place of the error.
    fn placeholder(&self) -> Option<(usize, String)> {
        let rest = self.rest();
        let line = rest.lines().next().unwrap_or_default();
        if rest.starts_with('<') {
            let end = line.find('>').map_or(line.len(), |first| {
                first + line.get(first..).map_or(0, |tail| tail.len() - tail.trim_start_matches('>').len())
            });
            return Some((self.at, line.get(..end)?.trim_end().to_owned()));
        }
        if !(rest.starts_with("...") || rest.starts_with('…')) {
            return None;
        }
        let before = self.text.get(..self.at)?.trim_end();
        let Some(open @ ('{' | '[')) = before.chars().next_back() else {
            return Some((self.at, "...".to_owned()));
        };
        let close = if open == '{' { '}' } else { ']' };
        let end = line.find(close).map_or(line.len(), |found| found + 1);
        let start = before.len() - 1;
        Some((start, self.text.get(start..self.at + end)?.to_owned()))
    }
}

/// Appends `/segment` to a JSON pointer (RFC 6901 section 3).
pub(crate) fn push_segment(pointer: &mut String, segment: &str) {
    pointer.push('/');
    for c in segment.chars() {
        match c {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            c => pointer.push(c),
        }
    }
}

fn is_curly(c: char) -> bool {
    matches!(c, '“' | '”' | '„' | '‟' | '‘' | '’')
}

fn is_double(c: char) -> bool {
    matches!(c, '“' | '”' | '„' | '‟')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lenient(text: &str) -> Value {
        let reading = read(text.as_bytes()).unwrap();
        assert!(reading.lenient, "{text} needs no lenient reader");
        reading.value
    }

    fn error(text: &str) -> ReadError {
        read(text.as_bytes()).unwrap_err()
    }

    #[test]
    fn strict_json_is_not_called_lenient() {
        let text = r#"{"a":[1,-2.5,1e3,true,null,"x\n\u00e9\ud83d\ude00 # no // comment “quoted”"]}"#;
        let reading = read(text.as_bytes()).unwrap();
        assert!(!reading.lenient);
        assert_eq!(reading.value, serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn curly_quotes_delimit_only_outside_straight_strings() {
        assert_eq!(lenient("{“record”: true, \"text\":\"say “hi”\",}"), json!({"record": true, "text": "say “hi”"}));
        assert_eq!(lenient("{‘a’:’b’}"), json!({"a": "b"}));
        assert_eq!(lenient("{“a\": “he said \"no\" twice”}"), json!({"a": "he said \"no\" twice"}));
        assert_eq!(
            lenient("{url:”https://status_url”, # comment\n method: “PUT” // other\n}"),
            json!({"url": "https://status_url", "method": "PUT"})
        );
    }

    #[test]
    fn trailing_commas_and_bare_keys_are_lenient_only() {
        assert_eq!(lenient("{a_1:[1,2,],}"), json!({"a_1": [1, 2]}));
        assert!(matches!(error("{,}"), ReadError::Syntax { .. }));
        assert!(matches!(error("[1,,2]"), ReadError::Syntax { .. }));
    }

    #[test]
    fn duplicate_keys_are_named_with_their_place() {
        let found = error("{\"flow\":[{\"id\":1,\n  \"id\":2}]}");
        assert_eq!(
            found,
            ReadError::DuplicateKey { key: "id".into(), pointer: "/flow/0/id".into(), line: 2, column: 3 }
        );
        assert!(matches!(error("{a:1,\"a\":2}"), ReadError::DuplicateKey { .. }));
        assert!(matches!(error(r#"{"a":1,"\u0061":2}"#), ReadError::DuplicateKey { .. }));
    }

    #[test]
    fn placeholders_are_named_in_the_hint() {
        for (text, placeholder, column) in [
            ("{\"id\":<<some id>>,\"type\":\"call\"}", "<<some id>>", 7),
            ("{\"next_step\":<<some id2>\n}", "<<some id2>", 14),
            ("{\"flow\":[{...},{...}]}", "{...}", 10),
        ] {
            let ReadError::Syntax { line, column: found, hint } = error(text) else { panic!("{text}") };
            assert_eq!((line, found), (1, column), "{hint}");
            assert!(hint.contains(&format!("\"{placeholder}\" is a placeholder")), "{hint}");
        }
    }

    #[test]
    fn line_and_column_count_characters() {
        let ReadError::Syntax { line, column, .. } = error("{\n  \"é\": @\n}") else { panic!() };
        assert_eq!((line, column), (2, 8));
    }

    #[test]
    fn depth_is_limited_without_recursing() {
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert!(read(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert!(
            matches!(error(&nested(MAX_DEPTH + 1)), ReadError::TooDeep { pointer, .. } if pointer == "/0".repeat(16))
        );
        assert!(matches!(error(&"[".repeat(200_000)), ReadError::TooDeep { .. }));
        assert!(matches!(error(&"{\"a\":".repeat(40_000)), ReadError::TooDeep { .. }));
    }

    #[test]
    fn size_utf8_and_nul_are_refused() {
        assert_eq!(read(&vec![b' '; MAX_BODY + 1]), Err(ReadError::TooLarge));
        let full = format!("\"{}\"", "x".repeat(MAX_BODY - 2));
        assert!(read(full.as_bytes()).is_ok());
        assert_eq!(read(b"\"\xff\""), Err(ReadError::NotUtf8(1)));
        assert!(matches!(error("\"a\0b\""), ReadError::Nul { line: 1, column: 3 }));
        assert!(matches!(error(r#"{"a":"\u0000"}"#), ReadError::Nul { .. }));
        assert!(matches!(error(r#""\ud800""#), ReadError::Syntax { .. }));
    }

    #[test]
    fn broken_text_never_panics_and_never_passes() {
        for text in [
            "",
            " ",
            "{",
            "[",
            "\"",
            "\"\\",
            "\"\\u12",
            "{\"a\"",
            "{\"a\":",
            "01",
            "1.",
            "-",
            "tru",
            "truex",
            "{a b:1}",
            "“",
            "#",
            "1 2",
            "'a'",
            "1e999",
            "{\"a\":nul}",
        ] {
            assert!(matches!(error(text), ReadError::Syntax { .. }), "{text}");
        }
    }
}
