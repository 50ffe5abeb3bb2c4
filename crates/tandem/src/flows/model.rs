//! A checked call flow: typed steps whose edges are indices. Only `check` makes one, so every edge of it leads somewhere.

use std::{fmt, sync::Arc};

use super::steps::Kind;

/// Longest flow, in steps.
pub const MAX_STEPS: usize = 200;
/// Longest id of a step, in characters.
pub const MAX_ID: usize = 64;

/// A flow that passed every check.
#[derive(Debug, Clone, PartialEq)]
pub struct Flow {
    /// The steps in the author's order; the first is the entry.
    pub steps: Vec<Step>,
    /// Whether the whole call is recorded.
    pub record: bool,
    /// Where its events go besides the organisation's webhooks.
    pub publish: Option<Publish>,
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Canonical id.
    pub id: StepId,
    /// What it does.
    pub kind: Kind,
    /// Where it leads.
    pub edges: Edges,
}

/// Where a step leads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edges {
    /// By outcome.
    pub named: Vec<(String, usize)>,
    /// The scalar `next_step`.
    pub next: Option<usize>,
}

impl Edges {
    /// The edge of exactly this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<usize> {
        self.named.iter().find(|(edge, _)| edge == name).map(|(_, target)| *target)
    }

    /// Every step that it leads to.
    pub fn targets(&self) -> impl Iterator<Item = usize> {
        self.named.iter().map(|(_, target)| *target).chain(self.next)
    }
}

/// The id of a step as text; integers were made decimal text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepId(Arc<str>);

impl StepId {
    /// The canonical form of a JSON id: a text of 1 to [`MAX_ID`] characters, or a whole number (1.0 is "1").
    #[must_use]
    pub fn canonical(value: &serde_json::Value) -> Option<Self> {
        let id = match value {
            serde_json::Value::String(text) => text.clone(),
            serde_json::Value::Number(number) => whole_number(number)?,
            _ => return None,
        };
        (!id.is_empty() && id.chars().count() <= MAX_ID).then(|| Self(id.into()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An ad-hoc webhook of one run.
#[derive(Clone, PartialEq, Eq)]
pub struct Publish {
    /// http or https.
    pub url: String,
    /// POST or PUT.
    pub method: &'static str,
    /// `whsec_<base64>`; none = the organisation's signing secret.
    pub secret: Option<String>,
    /// Types wanted; none = all.
    pub events: Option<Vec<String>>,
}

impl fmt::Debug for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publish").field("url", &self.url).field("method", &self.method).finish_non_exhaustive()
    }
}

/// Decimal text of a number without a fraction.
pub(crate) fn whole_number(number: &serde_json::Number) -> Option<String> {
    /// Above it a double no longer holds every integer.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.is_i64() || number.is_u64() {
        return Some(number.to_string());
    }
    let value = number.as_f64()?;
    (value.fract() == 0.0 && value.abs() <= EXACT).then(|| format!("{value:.0}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ids_have_one_canonical_form() {
        let canonical = |value| StepId::canonical(&value).map(|id| id.to_string());
        for (value, id) in [
            (json!(1), "1"),
            (json!("1"), "1"),
            (json!(1.0), "1"),
            (json!("01"), "01"),
            (json!(-3), "-3"),
            (json!(1e2), "100"),
        ] {
            assert_eq!(canonical(value).as_deref(), Some(id));
        }
        for bad in
            [json!(1.5), json!(true), json!(null), json!({}), json!([]), json!(""), json!("x".repeat(65)), json!(1e300)]
        {
            assert_eq!(canonical(bad), None);
        }
        assert!(canonical(json!("é".repeat(64))).is_some());
    }
}
