//! What somebody was given a moment ago, given again: a link preview, or a second look, uses nothing up.
//!
//! Invariant: memory is bounded; forgetting costs a fresh room or QR id, nothing else.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use axum::http::HeaderMap;
use axum::http::header::USER_AGENT;
use kernel::limit::network;
use kernel::secret::token_hash;

/// So long the same is given again, milliseconds.
pub const AGAIN_MS: i64 = 10 * 60_000;
/// What is remembered at once.
const MAX_KNOWN: usize = 16_384;

/// Who got what, and until when.
#[derive(Debug, Default)]
pub struct Recent(Mutex<HashMap<String, (String, i64)>>);

/// The same address and User-Agent that ask for the same thing, as far as that can be told.
#[must_use]
pub fn looker(address: IpAddr, headers: &HeaderMap, thing: &[&str]) -> String {
    let agent = headers.get(USER_AGENT).map(|agent| agent.as_bytes().to_vec()).unwrap_or_default();
    token_hash(&format!("{}\n{}\n{}", network(address), String::from_utf8_lossy(&agent), thing.join("\n")))
}

impl Recent {
    /// What `looker` was given less than ten minutes ago.
    pub fn get(&self, looker: &str, now_ms: i64) -> Option<String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back makes nothing live longer.
        let is_fresh = |until_ms: &i64| (1..=AGAIN_MS).contains(&(until_ms - now_ms));
        known.get(looker).filter(|(_, until_ms)| is_fresh(until_ms)).map(|(given, _)| given.clone())
    }

    /// Remembers what `looker` was given now.
    pub fn put(&self, looker: String, given: &str, now_ms: i64) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_KNOWN {
            known.retain(|_, (_, until_ms)| *until_ms > now_ms);
        }
        if known.len() >= MAX_KNOWN {
            // A crowd came within ten minutes: those who came last are the likeliest to look again.
            let mut ends: Vec<i64> = known.values().map(|(_, until_ms)| *until_ms).collect();
            let (_, middle, _) = ends.select_nth_unstable(MAX_KNOWN / 2);
            let middle = *middle;
            known.retain(|_, (_, until_ms)| *until_ms > middle);
        }
        known.insert(looker, (given.to_owned(), now_ms + AGAIN_MS));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(address: &str, agent: &'static str, thing: &str) -> String {
        let headers = HeaderMap::from_iter([(USER_AGENT, agent.parse().unwrap())]);
        looker(address.parse().unwrap(), &headers, &["init", thing])
    }

    #[test]
    fn it_is_the_same_for_ten_minutes_and_for_the_same_looker() {
        let recent = Recent::default();
        recent.put(by("192.0.2.1", "a", "x"), "room", 0);
        let given = |looker: String, now_ms| recent.get(&looker, now_ms);
        assert_eq!(given(by("192.0.2.1", "a", "x"), 0).as_deref(), Some("room"));
        assert_eq!(given(by("192.0.2.1", "a", "x"), AGAIN_MS - 1).as_deref(), Some("room"));
        assert_eq!(given(by("192.0.2.1", "a", "x"), AGAIN_MS), None);
        assert_eq!(given(by("192.0.2.1", "a", "x"), -1), None, "the clock was set back");
        for other in [by("192.0.2.2", "a", "x"), by("192.0.2.1", "b", "x"), by("192.0.2.1", "a", "y")] {
            assert_eq!(given(other, 0), None);
        }
    }

    #[test]
    fn a_crowd_does_not_grow_memory() {
        let recent = Recent::default();
        for (n, now_ms) in (0..2 * MAX_KNOWN).zip(0..) {
            recent.put(format!("{n}"), "room", now_ms);
            assert_eq!(recent.get(&format!("{n}"), now_ms).as_deref(), Some("room"), "whoever came last is known");
        }
        assert!(recent.0.lock().unwrap().len() <= MAX_KNOWN);
        recent.put("later".to_owned(), "room", 2 * AGAIN_MS);
        assert_eq!(recent.get("later", 2 * AGAIN_MS).as_deref(), Some("room"), "the old ones made room");
    }
}
