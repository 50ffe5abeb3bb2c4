//! How a template is filled for each place that it may stand in. Invariant: a value never leaves its place.

use serde_json::Value;
use voice::speech::MAX_TEXT_CHARS;

use super::{FillError, Part, Template, Variables, is_number, is_sip_uri};

/// Longest text that a template is filled to, in bytes; longer fails the step.
pub const MAX_FILLED: usize = 256 * 1024;
/// Longest header that a template is filled to, in bytes.
pub const MAX_HEADER: usize = 8 * 1024;
impl Template {
    /// Filled as it stands; missing values are empty. For plain bodies.
    ///
    /// # Errors
    /// [`FillError::TooLong`].
    pub fn plain(&self, variables: &Variables) -> Result<String, FillError> {
        self.plain_within(variables, MAX_FILLED)
    }

    pub(super) fn plain_within(&self, variables: &Variables, most: usize) -> Result<String, FillError> {
        self.build(most, |name| Ok(variables.get(name).unwrap_or_default().to_owned()))
    }

    /// Filled as it stands, every value being needed.
    ///
    /// # Errors
    /// [`FillError::Missing`] and [`FillError::TooLong`].
    pub fn needed(&self, variables: &Variables) -> Result<String, FillError> {
        self.build(MAX_FILLED, |name| variables.need(name).map(str::to_owned))
    }

    /// Filled for speech: markup characters of values are dropped, and what is too long to speak is cut off.
    #[must_use]
    pub fn speech(&self, variables: &Variables) -> String {
        let chars = self.parts.iter().flat_map(|part| {
            let (text, ours) = match part {
                Part::Text(text) => (text.as_str(), true),
                Part::Name(name) => (variables.get(name).unwrap_or_default(), false),
            };
            text.chars().filter(move |c| ours || !matches!(c, '<' | '>' | '&'))
        });
        chars.take(MAX_TEXT_CHARS).collect()
    }

    /// Filled to be read by people; what is longer than a message is cut off.
    #[must_use]
    pub fn words(&self, variables: &Variables) -> String {
        let texts = self.parts.iter().map(|part| match part {
            Part::Text(text) => text.as_str(),
            Part::Name(name) => variables.get(name).unwrap_or_default(),
        });
        texts.flat_map(str::chars).take(MAX_TEXT_CHARS).collect()
    }

    /// Filled for a quoted place of a JSON text.
    ///
    /// # Errors
    /// [`FillError::TooLong`].
    pub fn json_text(&self, variables: &Variables) -> Result<String, FillError> {
        self.build(MAX_FILLED, |name| {
            let quoted = Value::from(variables.get(name).unwrap_or_default()).to_string();
            Ok(quoted.get(1..quoted.len() - 1).unwrap_or_default().to_owned())
        })
    }

    /// Filled for a form body: values are percent-encoded.
    ///
    /// # Errors
    /// [`FillError::TooLong`].
    pub fn form(&self, variables: &Variables) -> Result<String, FillError> {
        self.build(MAX_FILLED, |name| Ok(percent_encode(variables.get(name).unwrap_or_default())))
    }

    /// Filled for a header.
    ///
    /// # Errors
    /// [`FillError::Unfit`] for CR, LF, NUL and the other control characters, and [`FillError::TooLong`].
    pub fn header(&self, variables: &Variables) -> Result<String, FillError> {
        self.build(MAX_HEADER, |name| {
            let value = variables.get(name).unwrap_or_default();
            if value.chars().any(|c| c.is_control() && c != '\t') {
                return Err(FillError::Unfit("the filled header holds a line break or a control character"));
            }
            Ok(value.to_owned())
        })
    }

    /// Filled for a telephone number: `^\+?[0-9*#]{2,32}$`, or a `sip:` address that the flow spells out itself.
    ///
    /// # Errors
    /// [`FillError`].
    pub fn number(&self, variables: &Variables) -> Result<String, FillError> {
        let number = self.needed(variables)?;
        if is_number(&number) || (self.fixed().is_some() && is_sip_uri(&number)) {
            Ok(number)
        } else {
            Err(FillError::Unfit(
                "the filled number is no telephone number: 2 to 32 of 0-9, * and #, with an optional + in front",
            ))
        }
    }

    /// Filled for the path, query or fragment of a URL: everything but unreserved characters is percent-encoded.
    ///
    /// # Errors
    /// [`FillError::Missing`], [`FillError::TooLong`], and [`FillError::Unfit`] when a value turns a path segment into `.` or `..`, which no
    /// encoding can keep in its place (WHATWG URL, "double-dot path segment").
    pub fn url(&self, variables: &Variables) -> Result<String, FillError> {
        let filled = self.build(MAX_FILLED, |name| variables.need(name).map(percent_encode))?;
        if self.fixed().is_none() {
            let path = filled.split(['?', '#']).next().unwrap_or_default();
            let authored = self.sample("x");
            let authored = authored.split(['?', '#']).next().unwrap_or_default();
            if dot_segments(path) > dot_segments(authored) {
                return Err(FillError::Unfit("a value would climb out of its place in the URL's path"));
            }
        }
        Ok(filled)
    }

    /// Whether a hole stands before the URL's path begins (`template_in_authority`).
    #[must_use]
    pub fn reaches_authority(&self) -> bool {
        let mut authored = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => authored.push_str(text),
                Part::Name(_) => {
                    return match authored.split_once("://") {
                        Some((_, rest)) => !rest.contains(['/', '?', '#', '\\']),
                        None => true,
                    };
                }
            }
        }
        false
    }

    fn build(&self, most: usize, mut fill: impl FnMut(&str) -> Result<String, FillError>) -> Result<String, FillError> {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Name(name) => out.push_str(&fill(name)?),
            }
            if out.len() > most {
                return Err(FillError::TooLong(most));
            }
        }
        Ok(out)
    }
}

/// Percent-encodes all but RFC 3986's unreserved characters.
#[must_use]
pub fn percent_encode(text: &str) -> String {
    const RESERVED: &percent_encoding::AsciiSet =
        &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    percent_encoding::utf8_percent_encode(text, RESERVED).to_string()
}

fn dot_segments(path: &str) -> usize {
    path.split(['/', '\\'])
        .filter(|segment| {
            let segment = segment.to_ascii_lowercase().replace("%2e", ".");
            segment == "." || segment == ".."
        })
        .count()
}
