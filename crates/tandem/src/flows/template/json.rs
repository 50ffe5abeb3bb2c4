//! JSON whose texts are templates.

use serde_json::Value;

use super::{FillError, MAX_FILLED, Template, Variables};

/// A JSON value whose texts are templates.
#[derive(Debug, Clone, PartialEq)]
pub enum JsonTemplate {
    /// A text; it stays a text whatever fills it.
    Text(Template),
    /// An array.
    List(Vec<JsonTemplate>),
    /// An object; its keys are no templates.
    Map(Vec<(String, JsonTemplate)>),
    /// A number, a boolean or null.
    Other(Value),
}

impl JsonTemplate {
    /// Filled; values stand in JSON strings, which the serialiser escapes.
    ///
    /// # Errors
    /// [`FillError::TooLong`], all texts counted together.
    pub fn fill(&self, variables: &Variables) -> Result<Value, FillError> {
        let mut left = MAX_FILLED;
        self.fill_within(variables, &mut left)
    }

    fn fill_within(&self, variables: &Variables, left: &mut usize) -> Result<Value, FillError> {
        Ok(match self {
            Self::Text(template) => {
                let text = template.plain_within(variables, *left).map_err(|_| FillError::TooLong(MAX_FILLED))?;
                *left -= text.len();
                Value::String(text)
            }
            Self::List(items) => {
                Value::Array(items.iter().map(|item| item.fill_within(variables, left)).collect::<Result<_, _>>()?)
            }
            Self::Map(pairs) => {
                let filled = pairs.iter().map(|(key, item)| Ok((key.clone(), item.fill_within(variables, left)?)));
                Value::Object(filled.collect::<Result<_, FillError>>()?)
            }
            Self::Other(value) => value.clone(),
        })
    }
}
