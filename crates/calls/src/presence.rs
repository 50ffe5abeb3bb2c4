//! Which extensions are in a call.
//!
//! Invariant: an extension is busy exactly while a [`Busy`] of it lives; a party of a call holds one.
//! Whether it is registered, [`crate::directory::Directory`] knows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use serde::Serialize;
use utoipa::ToSchema;

type Key = (Arc<str>, Arc<str>);

type Listener = Box<dyn Fn(&Arc<str>, &Arc<str>) + Send + Sync>;

/// Calls by organisation and extension.
#[derive(Clone, Default)]
pub struct BusyExtensions(Arc<Calls>);

#[derive(Default)]
struct Calls {
    map: Mutex<HashMap<Key, u32>>,
    listener: OnceLock<Listener>,
}

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
        let count = {
            let mut map = self.map();
            let count = map.entry(key.clone()).or_default();
            *count += 1;
            *count
        };
        if count == 1 {
            self.changed(&key);
        }
        Busy { extensions: self.clone(), key }
    }

    /// Tells `listener` from now on when an extension comes into its first call or out of its last, by organisation and
    /// extension. It is told outside every lock and has to look for itself; the first listener stays.
    pub(crate) fn on_change(&self, listener: impl Fn(&Arc<str>, &Arc<str>) + Send + Sync + 'static) {
        let _second = self.0.listener.set(Box::new(listener));
    }

    /// The extension takes part in a call.
    #[must_use]
    pub fn is_busy(&self, org: &Arc<str>, extension: &Arc<str>) -> bool {
        self.map().contains_key(&(org.clone(), extension.clone()))
    }

    fn changed(&self, (org, extension): &Key) {
        if let Some(listener) = self.0.listener.get() {
            listener(org, extension);
        }
    }

    fn map(&self) -> MutexGuard<'_, HashMap<Key, u32>> {
        self.0.map.lock().unwrap_or_else(PoisonError::into_inner)
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
        let free = {
            let mut map = self.extensions.map();
            let left = map.get_mut(&self.key).map(|count| {
                *count -= 1;
                *count
            });
            left == Some(0) && map.remove(&self.key).is_some()
        };
        if free {
            self.extensions.changed(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_while_any_call_lasts() {
        let extensions = BusyExtensions::default();
        let told = Arc::new(Mutex::new(0));
        let counted = told.clone();
        extensions.on_change(move |_, _| *counted.lock().unwrap() += 1);
        let (org, extension): (Arc<str>, Arc<str>) = ("org_a".into(), "1001".into());
        let first = extensions.enter(&org, &extension);
        let second = extensions.enter(&org, &extension);
        drop(first);
        assert!(extensions.is_busy(&org, &extension));
        assert!(!extensions.is_busy(&"org_b".into(), &extension));
        drop(second);
        assert!(!extensions.is_busy(&org, &extension));
        assert!(extensions.map().is_empty());
        assert_eq!(*told.lock().unwrap(), 2, "once when it came, once when it was free");
    }
}
