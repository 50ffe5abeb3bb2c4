//! Reads the JSON of documented routes: strictly first, then as their documents print it (contracts/flows.md "Reading",
//! contracts/chat.md).
//! Lenient means: curly quotes as delimiters, `#` and `//` comments, bare keys, trailing commas.
//! Invariant: text inside straight quotes is never touched, and no key is ever read twice.

mod error;
mod hints;
mod strings;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, fmt::Write as _};

use serde_json::{Map, Number, Value};

pub use error::ReadError;

use self::strings::is_curly;

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

/// Reads a body.
///
/// # Errors
/// [`ReadError`]; when both readers fail, the lenient one's account is given, for it got further.
pub fn read(body: &[u8]) -> Result<Reading, ReadError> {
    if body.len() > MAX_BODY {
        return Err(ReadError::TooLarge);
    }
    read_limited(body)
}

/// Reads a body whose size has been judged already.
///
/// # Errors
/// See [`read`].
pub fn read_limited(body: &[u8]) -> Result<Reading, ReadError> {
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

/// The line of each value of a body, by JSON pointer, as far as the body can be read: where a person finds what a
/// pointer means. Lines count from 1.
#[must_use]
pub fn lines(text: &str) -> HashMap<String, usize> {
    let found = |lenient| {
        let mut reader = Reader { lines: Some(HashMap::new()), ..Reader::new(text, lenient) };
        reader.skip_blank();
        let whole = reader.value().is_ok();
        (whole, reader.lines.unwrap_or_default())
    };
    match found(false) {
        (true, lines) => lines,
        (false, _) => found(true).1,
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
    /// Where values begin, when somebody wants to know.
    lines: Option<HashMap<String, usize>>,
}

enum Segment {
    Key(String),
    Index(usize),
}

impl<'a> Reader<'a> {
    fn new(text: &'a str, lenient: bool) -> Self {
        Self { text, at: 0, lenient, path: Vec::new(), lines: None }
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
        if self.lines.is_some() {
            let (pointer, line) = (self.pointer(), self.place(self.at).0);
            self.lines.get_or_insert_default().insert(pointer, line);
        }
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
}

/// Appends `/segment` to a JSON pointer (RFC 6901 section 3).
pub fn push_segment(pointer: &mut String, segment: &str) {
    pointer.push('/');
    for c in segment.chars() {
        match c {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            c => pointer.push(c),
        }
    }
}
