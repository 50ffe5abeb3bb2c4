//! Strings: straight quotes as JSON has them, curly ones as word processors leave them.

use super::{ReadError, Reader};

impl Reader<'_> {
    /// A string in straight quotes: exactly JSON, in both modes.
    pub(super) fn straight_string(&mut self) -> Result<String, ReadError> {
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
    pub(super) fn curly_string(&mut self, open: char) -> Result<String, ReadError> {
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
}

/// Whether a quote is one of those that word processors put in.
pub(super) fn is_curly(c: char) -> bool {
    matches!(c, '“' | '”' | '„' | '‟' | '‘' | '’')
}

fn is_double(c: char) -> bool {
    matches!(c, '“' | '”' | '„' | '‟')
}
