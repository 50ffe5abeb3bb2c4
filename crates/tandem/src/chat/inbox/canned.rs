//! Canned replies: what agents say again and again, and how names are filled in. Pure.
//!
//! Invariant: what stands in a visitor's or an agent's name is never read as a placeholder again.

use kernel::RecordError;
use serde::Serialize;
use utoipa::ToSchema;

/// Longest shortcut, characters.
const MAX_SHORTCUT: usize = 40;
/// Longest title, characters.
const MAX_TITLE: usize = 200;
/// Longest text, characters.
pub(super) const MAX_TEXT: usize = 8_000;

/// A canned reply.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Canned {
    /// `can_…`
    pub(super) id: String,
    /// What is typed after the slash.
    pub(super) shortcut: String,
    /// For people who look through the list.
    pub(super) title: String,
    /// The text, with `{visitor.name}`, `{visitor.email}`, `{agent.name}`, `{product}`; `{visitor.name|there}` says what
    /// to write where there is none.
    pub(super) text: String,
    /// The team whose reply it is; null = everybody's.
    pub(super) team: Option<String>,
}

pub(super) fn invalid(field: &'static str, message: impl Into<String>) -> RecordError {
    RecordError::Invalid { field, message: message.into() }
}

/// A line for people, trimmed.
pub(super) fn line(field: &'static str, text: &str) -> Result<String, RecordError> {
    let text = text.trim();
    let is_good = !text.is_empty() && text.chars().count() <= MAX_TITLE && !text.chars().any(char::is_control);
    if is_good { Ok(text.to_owned()) } else { Err(invalid(field, format!("a line of 1 to {MAX_TITLE} characters"))) }
}

/// A text that can be sent.
pub(super) fn text(field: &'static str, text: &str) -> Result<(), RecordError> {
    let is_control = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if text.trim().is_empty() || text.chars().count() > MAX_TEXT || text.chars().any(is_control) {
        return Err(invalid(field, format!("a text of 1 to {MAX_TEXT} characters")));
    }
    Ok(())
}

impl Canned {
    /// Checks what somebody wrote, and trims it.
    ///
    /// # Errors
    /// The field that is wrong.
    pub(super) fn checked(mut self) -> Result<Self, RecordError> {
        self.title = line("title", &self.title)?;
        text("text", &self.text)?;
        let shortcut = self.shortcut.trim().trim_start_matches('/').to_lowercase();
        let is_good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
        if shortcut.is_empty() || shortcut.len() > MAX_SHORTCUT || !shortcut.chars().all(is_good) {
            return Err(invalid("shortcut", format!("1 to {MAX_SHORTCUT} of a-z, 0-9, - and _")));
        }
        self.shortcut = shortcut;
        Ok(self)
    }
}

/// The names of those in a room; empty = nobody knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) visitor: String,
    pub(super) email: String,
    pub(super) agent: String,
    pub(super) product: String,
}

impl Names {
    fn of(&self, placeholder: &str) -> Option<&str> {
        match placeholder {
            "visitor.name" => Some(&self.visitor),
            "visitor.email" => Some(&self.email),
            "agent.name" => Some(&self.agent),
            "product" => Some(&self.product),
            _ => None,
        }
    }
}

/// Fills names in; what is no placeholder stays as it is.
pub(super) fn fill(text: &str, names: &Names) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let inside = after.split_once('}');
        let found = inside.and_then(|(inside, behind)| {
            let (placeholder, fallback) = inside.split_once('|').unwrap_or((inside, ""));
            let name = names.of(placeholder.trim())?;
            Some((if name.is_empty() { fallback.trim() } else { name }, behind))
        });
        rest = if let Some((name, behind)) = found {
            filled.push_str(name);
            behind
        } else {
            filled.push('{');
            after
        };
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_filled_in_once() {
        let names = Names { visitor: "{agent.name}".into(), agent: "Bob".into(), ..Names::default() };
        assert_eq!(fill("Hi {visitor.name}, {agent.name} here", &names), "Hi {agent.name}, Bob here");
        assert_eq!(fill("Hi {visitor.email|there}{product}!", &names), "Hi there!");
        assert_eq!(fill("{", &names), "{");
        assert_eq!(fill("a {b} {{agent.name}} }", &names), "a {b} {Bob} }");
        assert_eq!(fill("{visitor.name", &names), "{visitor.name");
    }

    #[test]
    fn what_is_written_is_checked() {
        let good = Canned {
            shortcut: " /Hi-1 ".into(),
            title: " Greeting ".into(),
            text: "Hello".into(),
            ..Canned::default()
        };
        let checked = good.clone().checked().unwrap();
        assert_eq!((checked.shortcut.as_str(), checked.title.as_str()), ("hi-1", "Greeting"));
        let bad = [
            Canned { shortcut: "two words".into(), ..good.clone() },
            Canned { shortcut: "/".into(), ..good.clone() },
            Canned { title: "\n".into(), ..good.clone() },
            Canned { text: " ".into(), ..good.clone() },
            Canned { text: "\u{0}".into(), ..good.clone() },
            Canned { text: "x".repeat(MAX_TEXT + 1), ..good },
        ];
        for canned in bad {
            assert!(canned.clone().checked().is_err(), "{canned:?}");
        }
    }
}
