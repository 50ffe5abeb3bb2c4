//! `{{ name }}` in the texts of a flow: parsed once, filled in a single pass, escaped by the place it stands in
//! (contracts/flows.md "Templates"). Invariant: a value never leaves its place and is never read as a template.

mod checks;
mod json;
mod places;
mod variables;

pub use checks::{MAX_NAME, is_name, is_number, is_sip_uri};
pub use json::JsonTemplate;
pub use places::{MAX_FILLED, MAX_HEADER, percent_encode};
pub use variables::{BUILT_IN, MAX_VALUE, MAX_VARIABLES, TooMuch, Variables};

/// A text with holes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Name(String),
}

/// A `{{` that opens no `{{ name }}`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no template: write {{{{ name }}}}, a name being letters, digits, '_' and '.'")]
pub struct TemplateError(pub String);

/// Why a template could not be filled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FillError {
    /// The place does not bear an empty value.
    #[error("the variable {0} has no value")]
    Missing(String),
    /// The place does not bear this value. The value itself is not repeated: it may be secret.
    #[error("{0}")]
    Unfit(&'static str),
    /// Values made the text too long for its place.
    #[error("the filled text is longer than {0} bytes")]
    TooLong(usize),
}

impl Template {
    /// Parses a text.
    ///
    /// # Errors
    /// [`TemplateError`] with the piece that opens `{{` and is no name.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let bad = || TemplateError(format!("{{{{{}", after.chars().take(20).collect::<String>()));
            let (inner, tail) = after.split_once("}}").ok_or_else(bad)?;
            let name = inner.trim_matches([' ', '\t']);
            if !is_name(name) {
                return Err(bad());
            }
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(Part::Name(name.to_owned()));
            rest = tail;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self { parts })
    }

    /// A text without holes, whatever it holds.
    #[must_use]
    pub fn literal(text: &str) -> Self {
        Self { parts: vec![Part::Text(text.to_owned())] }
    }

    /// The names it asks for, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Name(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    /// The whole text when it has no holes.
    #[must_use]
    pub fn fixed(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The text with each hole filled by `sample`; for judging a text before its values are known.
    #[must_use]
    pub fn sample(&self, sample: &str) -> String {
        self.parts.iter().map(|part| if let Part::Text(text) = part { text } else { sample }).collect()
    }
}

#[cfg(test)]
mod tests;
