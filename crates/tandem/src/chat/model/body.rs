//! What a message says: JSON as it came, kept as text, so that the way from one side to the other reads and writes it
//! once.
//!
//! Invariant: a [`Body`] holds one whole JSON value, in which no text has the character U+0000.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// Lists and objects in each other, at most.
const MAX_DEPTH: usize = 16;

/// Why a text is no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBody {
    /// It is not JSON.
    #[error("it is not JSON")]
    Json,
    /// It holds lists in lists, too many of them for whoever reads it.
    #[error("it is nested too deeply")]
    Deep,
    /// A text in it has the character that no store can carry.
    #[error("it holds U+0000")]
    Nul,
}

/// A JSON value. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Body(Arc<str>);

impl Body {
    /// A text as JSON.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self(Value::from(text).to_string().into())
    }

    /// The value as it is written.
    ///
    /// # Errors
    /// [`BadBody`].
    pub fn parse(json: &str) -> Result<Self, BadBody> {
        let json = json.trim();
        if depth(json) > MAX_DEPTH {
            return Err(BadBody::Deep);
        }
        serde_json::from_str::<&RawValue>(json).map_err(|_| BadBody::Json)?;
        // Only then can there be such a character; a backslash that is itself escaped is none.
        if json.contains("\\u0000") && has_nul(&serde_json::from_str(json).map_err(|_| BadBody::Json)?) {
            return Err(BadBody::Nul);
        }
        Ok(Self(json.into()))
    }

    /// What the store kept: checked when it was written.
    #[must_use]
    pub fn stored(json: &str) -> Self {
        Self(json.into())
    }

    /// The JSON text.
    #[must_use]
    pub fn as_json(&self) -> &str {
        &self.0
    }

    /// The value read.
    #[must_use]
    pub fn value(&self) -> Value {
        serde_json::from_str(&self.0).unwrap_or_default()
    }

    /// Whether it is `null`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        &*self.0 == "null"
    }

    /// The words for a person: a text's own, anything else as JSON.
    #[must_use]
    pub fn words(&self) -> Cow<'_, str> {
        match serde_json::from_str::<Value>(&self.0) {
            Ok(Value::String(text)) => Cow::Owned(text),
            _ => Cow::Borrowed(&self.0),
        }
    }
}

impl TryFrom<&Value> for Body {
    type Error = BadBody;

    fn try_from(value: &Value) -> Result<Self, BadBody> {
        if has_nul(value) { Err(BadBody::Nul) } else { Ok(Self(value.to_string().into())) }
    }
}

impl From<bool> for Body {
    fn from(value: bool) -> Self {
        Self(if value { "true" } else { "false" }.into())
    }
}

impl fmt::Debug for Body {
    /// A log tells nobody's words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} bytes)", self.0.len())
    }
}

impl Serialize for Body {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serde_json::from_str::<&RawValue>(&self.0) {
            Ok(raw) => raw.serialize(serializer),
            Err(_) => serializer.serialize_none(),
        }
    }
}

/// How many lists and objects stand in each other at most; texts are passed over. Of what is no JSON it is some number.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut is_text, mut is_escaped) = (false, false);
    for byte in json.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_text => is_escaped = true,
            b'"' => is_text = !is_text,
            b'[' | b'{' if !is_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !is_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(fields) => fields.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
        _ => false,
    }
}
