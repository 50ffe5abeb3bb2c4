//! The names and texts of a body, whatever it was written in: `user[uid_caller]=1222` and `{"user":{"uid_caller":1222}}`
//! are the same. Invariant: of a name that comes twice the last counts.

use std::collections::BTreeMap;

use kernel::problem::FieldError;
use serde_json::Value;

/// Most fields of one body.
pub const MAX_FIELDS: usize = 200;

/// What a body says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    by_name: BTreeMap<String, String>,
    mistakes: Vec<FieldError>,
    is_form: bool,
}

/// A field, and where it stands.
pub(super) struct Found<'a> {
    pub(super) pointer: String,
    pub(super) text: &'a str,
}

impl Fields {
    /// Fields of a form.
    #[must_use]
    pub fn of_form(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { by_name: pairs.into_iter().take(MAX_FIELDS).collect(), mistakes: Vec::new(), is_form: true }
    }

    /// Fields of a form in one line, as browsers and `curl -d` send it. Spaces and other characters that should have been
    /// encoded stand for themselves.
    #[must_use]
    pub fn of_urlencoded(body: &str) -> Self {
        let trimmed = body.trim_end_matches(['\r', '\n']);
        Self::of_form(url::form_urlencoded::parse(trimmed.as_bytes()).into_owned())
    }

    /// Fields of a JSON object; objects inside it are one level deep.
    #[must_use]
    pub fn of_json(body: &Value) -> Self {
        let mut fields = Self::default();
        let Value::Object(members) = body else {
            fields.refuse(String::new(), "an object is expected");
            return fields;
        };
        for (name, member) in members.iter().take(MAX_FIELDS) {
            match member {
                Value::Object(inner) => {
                    for (key, value) in inner.iter().take(MAX_FIELDS) {
                        fields.take(format!("{name}[{key}]"), value);
                    }
                }
                value => fields.take(name.clone(), value),
            }
        }
        fields
    }

    fn take(&mut self, name: String, value: &Value) {
        let text = match value {
            Value::Null => return,
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            Value::Array(_) | Value::Object(_) => {
                self.refuse(pointer(&name), "a text or a number is expected");
                return;
            }
        };
        self.by_name.insert(name, text);
    }

    fn refuse(&mut self, pointer: String, message: &str) {
        self.mistakes.push(FieldError { pointer, code: "invalid".into(), message: message.into() });
    }

    pub(super) fn mistakes(&self) -> &[FieldError] {
        &self.mistakes
    }

    /// Whether it was a form, in which a leading space may be a `+` that was not encoded.
    pub(super) fn is_form(&self) -> bool {
        self.is_form
    }

    /// Whether a text or a name holds U+0000.
    #[must_use]
    pub fn has_nul(&self) -> bool {
        self.by_name.iter().any(|(name, text)| name.contains('\0') || text.contains('\0'))
    }

    /// The first of these names that says something, else the first that is there.
    pub(super) fn find(&self, names: &[&str]) -> Option<Found<'_>> {
        let there = || names.iter().filter_map(|name| self.by_name.get_key_value(*name));
        let said = there().find(|(_, text)| !text.trim().is_empty()).or_else(|| there().next());
        said.map(|(name, text)| Found { pointer: pointer(name), text })
    }

    /// Where a field stands, or would.
    pub(super) fn pointer_of(&self, names: &[&str]) -> String {
        let found = self.find(names).map(|found| found.pointer);
        found.unwrap_or_else(|| names.first().map(|name| pointer(name)).unwrap_or_default())
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }
}

/// `user[uid_caller]` as a JSON pointer: `/user/uid_caller`.
fn pointer(name: &str) -> String {
    let escape = |part: &str| part.replace('~', "~0").replace('/', "~1");
    match name.split_once('[').and_then(|(outer, rest)| Some((outer, rest.strip_suffix(']')?))) {
        Some((outer, inner)) => format!("/{}/{}", escape(outer), escape(inner)),
        None => format!("/{}", escape(name)),
    }
}
