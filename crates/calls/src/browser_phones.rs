//! Browser phones that are online, by extension: they ring beside the registered ones.
//!
//! Invariant: a phone is here exactly while voice says that it is online; nothing of it survives a restart, as nothing of
//! its socket does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kernel::args;
use kernel::db::DbError;
use voice::leg::PhoneId;
use voice::ports::LineIdentity;

use crate::directory::Directory;

/// What the line of a browser phone is called: it has no credential of its own.
const LINE: &str = "browser";

kernel::statements! {
    /// The extension that rings a person: the first one, or this one of several.
    EXTENSION_OF_PERSON = "select number, name from extension where org = $1 and person = $2
        and (number = $3 or $3 is null) order by number limit 1";
}

/// An organisation and one of its extensions.
type Place = (Arc<str>, Arc<str>);

/// The phones that are online, the newest of an extension last.
#[derive(Debug, Default)]
pub(crate) struct BrowserPhones(Mutex<HashMap<Place, Vec<PhoneId>>>);

impl BrowserPhones {
    /// The phones of an extension.
    pub(crate) fn of(&self, org: &str, extension: &str) -> Vec<PhoneId> {
        self.map().get(&(Arc::from(org), Arc::from(extension))).cloned().unwrap_or_default()
    }

    /// A phone is online, or no longer.
    pub(crate) fn note(&self, line: &LineIdentity, phone: &PhoneId, online: bool) {
        let key = (line.org.clone(), line.extension.clone());
        let mut map = self.map();
        let phones = map.entry(key.clone()).or_default();
        phones.retain(|known| known != phone);
        phones.extend(online.then(|| phone.clone()));
        if phones.is_empty() {
            map.remove(&key);
        }
    }

    fn map(&self) -> MutexGuard<'_, HashMap<Place, Vec<PhoneId>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Directory {
    /// The line of a person's browser phone, and the name that it shows: of the first extension, or of the `wanted` one;
    /// `None` for a person without it.
    ///
    /// # Errors
    /// What the store says.
    pub async fn browser_line(
        &self,
        org: &Arc<str>,
        person: &Arc<str>,
        wanted: Option<&str>,
    ) -> Result<Option<(LineIdentity, String)>, DbError> {
        let Some(row) = self.kernel.db.one(EXTENSION_OF_PERSON, args![org, person, wanted]).await? else {
            return Ok(None);
        };
        let line = LineIdentity {
            org: org.clone(),
            extension: row.text("number")?.into(),
            person: Some(person.clone()),
            line: LINE.into(),
        };
        Ok(Some((line, row.text("name")?)))
    }

    /// An extension's browser phones that are online.
    pub fn browser_phones(&self, org: &str, extension: &str) -> Vec<PhoneId> {
        self.browsers.of(org, extension)
    }

    /// Whether an extension has a phone that can ring: registered, or a browser's.
    pub fn has_phone(&self, org: &str, extension: &str) -> bool {
        !self.bindings(org, extension).is_empty() || !self.browsers.of(org, extension).is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phone_is_here_while_it_is_online() {
        let phones = BrowserPhones::default();
        let line = LineIdentity { org: "org_a".into(), extension: "1001".into(), person: None, line: LINE.into() };
        let (one, other): (PhoneId, PhoneId) = ("one".into(), "other".into());
        phones.note(&line, &one, true);
        phones.note(&line, &other, true);
        phones.note(&line, &one, true);
        assert_eq!(phones.of("org_a", "1001"), [other.clone(), one.clone()]);
        assert!(phones.of("org_b", "1001").is_empty() && phones.of("org_a", "1002").is_empty());
        phones.note(&line, &one, false);
        phones.note(&line, &other, false);
        assert!(phones.map().is_empty());
    }
}
