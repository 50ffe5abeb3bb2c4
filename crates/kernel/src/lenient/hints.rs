//! What to tell a person whose JSON could not be read: the place, and what to write there instead.

use super::{ReadError, Reader};

impl Reader<'_> {
    pub(super) fn syntax(&self, hint: &str) -> ReadError {
        self.syntax_at(self.at, hint)
    }

    fn syntax_at(&self, at: usize, hint: &str) -> ReadError {
        let (line, column) = self.place(at);
        ReadError::Syntax { line, column, hint: hint.to_owned() }
    }

    pub(super) fn unclosed(&self, open: usize) -> ReadError {
        self.syntax_at(
            open,
            "the string that starts here is not closed on its line (the quotes at both ends must be of one kind)",
        )
    }

    /// An error that names a placeholder of the documentation where one stands.
    pub(super) fn unexpected(&self, wanted: &str) -> ReadError {
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
