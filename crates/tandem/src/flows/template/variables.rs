//! The variables of a run, and how much of them it may keep.

use std::collections::BTreeMap;

use serde_json::Value;

use super::FillError;

/// Longest value that a step may keep, in bytes.
pub const MAX_VALUE: usize = 4 * 1024;
/// What the variables of a run may take together, names and values, in bytes.
pub const MAX_VARIABLES: usize = 64 * 1024;
/// Variables that the machine sets by itself.
pub const BUILT_IN: [&str; 7] =
    ["call.id", "call.from", "call.to", "digits", "http.status", "http.error", "connect.status"];

/// Why a value is not kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TooMuch {
    /// It is too long.
    #[error("the value of {0} is longer than {MAX_VALUE} bytes")]
    Value(String),
    /// The run keeps too much already.
    #[error("the variables of this run are longer than {MAX_VARIABLES} bytes together")]
    Variables,
}

/// The variables of one run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Variables {
    values: BTreeMap<String, Variable>,
    changed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Variable {
    value: String,
    sensitive: bool,
}

impl Variables {
    /// The value of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|variable| variable.value.as_str())
    }

    pub(super) fn need(&self, name: &str) -> Result<&str, FillError> {
        self.get(name).ok_or_else(|| FillError::Missing(name.to_owned()))
    }

    /// Keeps what a flow or an answer says, if the run has room for it.
    ///
    /// # Errors
    /// [`TooMuch`]; the variable stays as it was.
    pub fn keep(&mut self, name: &str, value: impl Into<String>) -> Result<(), TooMuch> {
        let value = value.into();
        self.has_room(name, &value)?;
        self.put(name, value, false);
        Ok(())
    }

    /// Whether the run has room for a value.
    ///
    /// # Errors
    /// [`TooMuch`].
    pub fn has_room(&self, name: &str, value: &str) -> Result<(), TooMuch> {
        if value.len() > MAX_VALUE {
            return Err(TooMuch::Value(name.to_owned()));
        }
        let others = self.values.iter().filter(|(known, _)| *known != name);
        let taken: usize = others.map(|(known, variable)| known.len() + variable.value.len()).sum();
        if taken + name.len() + value.len() > MAX_VARIABLES { Err(TooMuch::Variables) } else { Ok(()) }
    }

    /// Sets a short variable that a person may read in the run's history.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.put(name, value.into(), false);
    }

    /// Sets a variable that leaves the machine only through the templates of its flow.
    pub fn set_sensitive(&mut self, name: &str, value: impl Into<String>) {
        self.put(name, value.into(), true);
    }

    fn put(&mut self, name: &str, value: String, sensitive: bool) {
        let variable = Variable { value, sensitive };
        if self.values.get(name) != Some(&variable) {
            self.changed |= !BUILT_IN.contains(&name);
            self.values.insert(name.to_owned(), variable);
        }
    }

    /// Forgets a variable.
    pub fn unset(&mut self, name: &str) {
        if self.values.remove(name).is_some() {
            self.changed |= !BUILT_IN.contains(&name);
        }
    }

    /// Whether one of the author's variables changed since the last call.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// What the run's history shows: the author's variables without the sensitive ones.
    #[must_use]
    pub fn public(&self) -> serde_json::Map<String, Value> {
        self.values
            .iter()
            .filter(|(name, variable)| !variable.sensitive && !BUILT_IN.contains(&name.as_str()))
            .map(|(name, variable)| (name.clone(), Value::from(variable.value.as_str())))
            .collect()
    }
}
