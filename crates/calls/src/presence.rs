//! Which extensions are in a call.
//!
//! Invariant: an extension is busy exactly while a [`Busy`] of it lives; a party of a call holds one.
//! Whether it is registered, [`crate::directory::Directory`] knows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use utoipa::ToSchema;

type Key = (Arc<str>, Arc<str>);

/// Calls by organisation and extension.
#[derive(Clone, Default)]
pub struct BusyExtensions(Arc<Mutex<HashMap<Key, u32>>>);

/// An extension's part in one call; dropped, it is over.
pub struct Busy {
    extensions: BusyExtensions,
    key: Key,
}

/// What is known of an extension's availability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Presence {
    /// At least one phone is registered, or open in a browser.
    pub registered: bool,
    /// It is in a call, or rings.
    pub busy: bool,
}

impl BusyExtensions {
    /// The extension takes part in a call from now on.
    #[must_use]
    pub fn enter(&self, org: &Arc<str>, extension: &Arc<str>) -> Busy {
        let key = (org.clone(), extension.clone());
        *self.map().entry(key.clone()).or_default() += 1;
        Busy { extensions: self.clone(), key }
    }

    /// The extension takes part in a call.
    #[must_use]
    pub fn is_busy(&self, org: &Arc<str>, extension: &Arc<str>) -> bool {
        self.map().contains_key(&(org.clone(), extension.clone()))
    }

    fn map(&self) -> MutexGuard<'_, HashMap<Key, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Busy {
    /// The extension.
    pub(crate) fn extension(&self) -> &Arc<str> {
        &self.key.1
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut map = self.extensions.map();
        if let Some(count) = map.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                map.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_while_any_call_lasts() {
        let extensions = BusyExtensions::default();
        let (org, extension): (Arc<str>, Arc<str>) = ("org_a".into(), "1001".into());
        let first = extensions.enter(&org, &extension);
        let second = extensions.enter(&org, &extension);
        drop(first);
        assert!(extensions.is_busy(&org, &extension));
        assert!(!extensions.is_busy(&"org_b".into(), &extension));
        drop(second);
        assert!(!extensions.is_busy(&org, &extension));
        assert!(extensions.map().is_empty());
    }
}
