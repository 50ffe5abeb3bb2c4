//! Limits: so many requests, registrations and calls in a time, so many calls and taps at once.
//!
//! Invariant: memory is bounded whatever the number of addresses, and a decision is a pure function of one number per
//! key (the generic cell rate algorithm): the time at which its allowance will be whole again.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::LimitConfig;
use crate::problem::Problem;

/// Keys remembered by one kind of limit; beyond it the oldest allowances are forgotten.
const MAX_KEYS: usize = 65_536;
/// Wrong credentials from one address in a row, and how many a minute after that.
const FAILED_CREDENTIALS: Rate = Rate::per_minute(60).bursting(100);
/// Passwords tried for one mail address from one network: then one a minute.
const SIGN_INS: Rate = Rate::per_minute(1).bursting(10);
/// The same from everywhere: a crowd that guesses is slowed down, its victim still has links.
const SIGN_INS_FROM_EVERYWHERE: Rate = Rate::per_minute(10).bursting(100);
/// Links asked for, for one mail address from one network. Counted apart: whoever guesses passwords locks no links.
const LINKS: Rate = Rate::per_minute(1).bursting(5);
/// The same from everywhere: nobody's mailbox is flooded.
const LINKS_FROM_EVERYWHERE: Rate = Rate::per_minute(2).bursting(20);
/// Pages of one party of a meeting that follow it at once.
const PARTY_STREAMS: u32 = 10;
/// What one party of a meeting does by its pages: nobody presses that often, and each press may tell the other.
const PARTY_ACTS: Rate = Rate::per_minute(20).bursting(30);
/// Seconds to wait when a concurrency limit is full: calls end when they end.
const CONCURRENCY_RETRY_S: u64 = 5;
const US_PER_SECOND: i64 = 1_000_000;

/// How often something may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many at once after a rest.
    pub burst: u32,
    /// One more after so long, microseconds; 0 = no limit.
    pub each_us: i64,
}

impl Rate {
    /// `n` in so many seconds, all of them at once if they like; 0 = no limit.
    const fn per(n: u32, seconds: i64) -> Self {
        let each_us = if n == 0 { 0 } else { seconds * US_PER_SECOND / n as i64 };
        Self { burst: n, each_us }
    }

    /// `n` an hour, all of them at once if they like; 0 = no limit.
    #[must_use]
    pub const fn per_hour(n: u32) -> Self {
        Self::per(n, 3_600)
    }

    /// `n` a minute, all of them at once if they like; 0 = no limit.
    #[must_use]
    pub const fn per_minute(n: u32) -> Self {
        Self::per(n, 60)
    }

    /// `n` a second, all of a second's at once if they like; 0 = no limit.
    #[must_use]
    pub const fn per_second(n: u32) -> Self {
        Self::per(n, 1)
    }

    /// The same in the long run, and `burst` at once after a rest.
    #[must_use]
    pub const fn bursting(self, burst: u32) -> Self {
        Self { burst, ..self }
    }

    /// How long an empty allowance takes to be whole again, in microseconds.
    fn empty_us(self) -> i64 {
        self.each_us.saturating_mul(i64::from(self.burst.max(1)))
    }

    /// Takes one from an allowance that is whole again at `whole_at_us`. Gives the new `whole_at_us`, or the
    /// microseconds to wait.
    fn take(self, whole_at_us: i64, now_us: i64) -> Result<i64, i64> {
        if self.each_us == 0 {
            return Ok(now_us);
        }
        let next = whole_at_us.max(now_us) + self.each_us;
        let wait = next - now_us - self.empty_us();
        if wait > 0 { Err(wait) } else { Ok(next) }
    }
}

/// A limit was reached; repeating makes sense after so many seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a limit is reached; repeat after {seconds} s")]
pub struct RetryAfter {
    /// At least 1.
    pub seconds: u64,
}

impl From<RetryAfter> for Problem {
    fn from(wait: RetryAfter) -> Self {
        Self::rate_limited(wait.seconds)
    }
}

/// One rate for one owner, such as a socket.
#[derive(Debug)]
pub struct Allowance {
    rate: Rate,
    whole_at_us: i64,
}

impl Allowance {
    /// A whole one.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self { rate, whole_at_us: 0 }
    }

    /// Takes one.
    ///
    /// # Errors
    /// How long to wait when nothing is left.
    pub fn take(&mut self, now_ms: i64) -> Result<(), RetryAfter> {
        let now_us = now_ms.saturating_mul(1000);
        // Nothing is further from whole than an empty allowance: a clock that is set back locks nobody out.
        let whole_at_us = self.whole_at_us.min(now_us.saturating_add(self.rate.empty_us()));
        self.whole_at_us = self.rate.take(whole_at_us, now_us).map_err(RetryAfter::of_us)?;
        Ok(())
    }
}

impl RetryAfter {
    fn of_us(wait_us: i64) -> Self {
        Self { seconds: u64::try_from(wait_us.div_euclid(1_000_000) + 1).unwrap_or(1) }
    }
}

/// One rate for many keys.
#[derive(Debug)]
pub struct Buckets<K> {
    rate: Rate,
    whole_at_us: Mutex<HashMap<K, i64>>,
}

impl<K: Hash + Eq> Buckets<K> {
    /// The same `rate` for every key.
    pub fn new(rate: Rate) -> Self {
        Self { rate, whole_at_us: Mutex::new(HashMap::new()) }
    }

    /// Takes one from the allowance of `key`.
    ///
    /// # Errors
    /// How long to wait when nothing is left.
    pub fn take(&self, key: K, now_ms: i64) -> Result<(), RetryAfter> {
        self.take_at(self.rate, key, now_ms)
    }

    /// The same where the owner of `key` has a `rate` of its own.
    ///
    /// # Errors
    /// How long to wait when nothing is left.
    pub fn take_at(&self, rate: Rate, key: K, now_ms: i64) -> Result<(), RetryAfter> {
        if rate.each_us == 0 {
            return Ok(());
        }
        let now_us = now_ms.saturating_mul(1000);
        let mut keys = self.whole_at_us.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.len() >= MAX_KEYS && !keys.contains_key(&key) {
            // A whole allowance is the same as none remembered. If all are in use, this is a flood from
            // everywhere: start anew rather than grow.
            keys.retain(|_, whole_at_us| *whole_at_us > now_us);
            if keys.len() >= MAX_KEYS {
                keys.clear();
            }
        }
        let whole_at_us = keys.entry(key).or_insert(now_us);
        // Nothing is further from whole than an empty allowance: a clock that is set back locks nobody out.
        *whole_at_us = (*whole_at_us).min(now_us.saturating_add(rate.empty_us()));
        match rate.take(*whole_at_us, now_us) {
            Ok(next) => {
                *whole_at_us = next;
                Ok(())
            }
            Err(wait_us) => Err(RetryAfter::of_us(wait_us)),
        }
    }

    /// Gives `key` its whole allowance back.
    pub fn forget(&self, key: &K) {
        self.whole_at_us.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

/// A network as far as limits go: a whole IPv6 /64 is one customer's, so it counts as one address.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let bits = u128::from(v6) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(bits))
        }
        v4 => v4,
    }
}

/// How many of something each organisation has up, and may have; 0 = no limit.
#[derive(Debug)]
struct AtOnce {
    up: Arc<Mutex<HashMap<String, u32>>>,
    max: u32,
}

impl AtOnce {
    fn new(max: u32) -> Self {
        Self { up: Arc::default(), max }
    }

    fn place(&self, org: &str) -> Result<Place, RetryAfter> {
        let mut up = self.up.lock().unwrap_or_else(PoisonError::into_inner);
        let count = up.get(org).copied().unwrap_or(0);
        if self.max > 0 && count >= self.max {
            return Err(RetryAfter { seconds: CONCURRENCY_RETRY_S });
        }
        up.insert(org.to_owned(), count + 1);
        Ok(Place { up: Arc::clone(&self.up), org: org.to_owned() })
    }

    fn count(&self) -> usize {
        let up = self.up.lock().unwrap_or_else(PoisonError::into_inner);
        up.values().map(|count| *count as usize).sum()
    }
}

/// The place of a call, or of a tap, among those that its organisation may have up; dropped, it is free again.
#[derive(Debug)]
pub struct Place {
    up: Arc<Mutex<HashMap<String, u32>>>,
    org: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut up = self.up.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = up.get_mut(&self.org) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                up.remove(&self.org);
            }
        }
    }
}

/// The limits of one server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Limits(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    requests_by_address: Buckets<IpAddr>,
    requests_by_credential: Buckets<String>,
    failed_credentials: Buckets<IpAddr>,
    sign_ins: Buckets<(IpAddr, String)>,
    sign_ins_from_everywhere: Buckets<String>,
    links: Buckets<(IpAddr, String)>,
    links_from_everywhere: Buckets<String>,
    registrations: Buckets<IpAddr>,
    calls: Buckets<String>,
    calls_up: AtOnce,
    taps: AtOnce,
    party_streams: AtOnce,
    party_acts: Buckets<String>,
}

impl Limits {
    /// The limits of `[limits]`.
    pub fn new(config: &LimitConfig) -> Self {
        Self(Arc::new(Inner {
            requests_by_address: Buckets::new(Rate::per_minute(config.requests_per_minute_per_ip)),
            requests_by_credential: Buckets::new(Rate::per_minute(config.requests_per_minute_per_token)),
            failed_credentials: Buckets::new(FAILED_CREDENTIALS),
            sign_ins: Buckets::new(SIGN_INS),
            sign_ins_from_everywhere: Buckets::new(SIGN_INS_FROM_EVERYWHERE),
            links: Buckets::new(LINKS),
            links_from_everywhere: Buckets::new(LINKS_FROM_EVERYWHERE),
            registrations: Buckets::new(Rate::per_minute(config.registrations_per_minute_per_ip)),
            calls: Buckets::new(Rate::per_second(config.calls_per_second)),
            calls_up: AtOnce::new(config.concurrent_calls),
            taps: AtOnce::new(config.concurrent_taps),
            party_streams: AtOnce::new(PARTY_STREAMS),
            party_acts: Buckets::new(PARTY_ACTS),
        }))
    }

    /// One HTTP request from `address`.
    ///
    /// # Errors
    /// How long to wait.
    pub fn request(&self, address: IpAddr, now_ms: i64) -> Result<(), RetryAfter> {
        self.0.requests_by_address.take(network(address), now_ms)
    }

    /// One HTTP request with the credential of this id.
    ///
    /// # Errors
    /// How long to wait.
    pub fn credential(&self, id: &str, now_ms: i64) -> Result<(), RetryAfter> {
        self.0.requests_by_credential.take(id.to_owned(), now_ms)
    }

    /// One wrong credential from `address`: refused anyway, and throttled when it repeats. Loopback is no exception.
    ///
    /// # Errors
    /// How long to wait.
    pub fn failed_credential(&self, address: IpAddr, now_ms: i64) -> Result<(), RetryAfter> {
        self.0.failed_credentials.take(network(address), now_ms)
    }

    /// One try to sign in as `email` from `address`. Loopback is no exception.
    ///
    /// # Errors
    /// How long to wait.
    pub fn sign_in(&self, address: IpAddr, email: &str, now_ms: i64) -> Result<(), RetryAfter> {
        self.0.sign_ins.take((network(address), email.to_owned()), now_ms)?;
        self.0.sign_ins_from_everywhere.take(email.to_owned(), now_ms)
    }

    /// One link asked for, to sign in as `email`, from `address`. Loopback is no exception.
    ///
    /// # Errors
    /// How long to wait.
    pub fn sign_in_link(&self, address: IpAddr, email: &str, now_ms: i64) -> Result<(), RetryAfter> {
        self.0.links.take((network(address), email.to_owned()), now_ms)?;
        self.0.links_from_everywhere.take(email.to_owned(), now_ms)
    }

    /// The last try was a success: from this network the count begins anew.
    pub fn signed_in(&self, address: IpAddr, email: &str) {
        self.0.sign_ins.forget(&(network(address), email.to_owned()));
    }

    /// One REGISTER from `address`.
    ///
    /// # Errors
    /// How long to wait.
    pub fn registration(&self, address: IpAddr, now_ms: i64) -> Result<(), RetryAfter> {
        self.0.registrations.take(network(address), now_ms)
    }

    /// One new call of the organisation; keep the place while the call is up.
    ///
    /// # Errors
    /// How long to wait when it has too many up, or starts too many a second.
    pub fn call(&self, org: &str, now_ms: i64) -> Result<Place, RetryAfter> {
        let place = self.0.calls_up.place(org)?;
        self.0.calls.take(org.to_owned(), now_ms)?;
        Ok(place)
    }

    /// One more live tap of the organisation; keep the place while it is open.
    ///
    /// # Errors
    /// How long to wait when it has too many open.
    pub fn tap(&self, org: &str) -> Result<Place, RetryAfter> {
        self.0.taps.place(org)
    }

    /// One more page that follows the meetings of a party, which is named by anything that no other party has; keep the
    /// place while it does.
    ///
    /// # Errors
    /// How long to wait when the party has too many open.
    pub fn party_stream(&self, party: &str) -> Result<Place, RetryAfter> {
        self.0.party_streams.place(party)
    }

    /// One request of a party that may change something; see [`Limits::party_stream`] for its name.
    ///
    /// # Errors
    /// How long to wait when it does too much.
    pub fn party_act(&self, party: &str, now_ms: i64) -> Result<(), RetryAfter> {
        self.0.party_acts.take(party.to_owned(), now_ms)
    }

    /// How many taps are open, of all organisations.
    pub fn taps(&self) -> usize {
        self.0.taps.count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_allowance_is_a_bucket_of_one_owner() {
        let mut allowance = Allowance::new(Rate::per_minute(60).bursting(3));
        let now_ms = 7_200_000;
        assert_eq!((0..5).filter(|_| allowance.take(now_ms).is_ok()).count(), 3);
        assert_eq!(allowance.take(now_ms), Err(RetryAfter { seconds: 2 }));
        assert_eq!(allowance.take(now_ms + 1_000), Ok(()));
        assert!(allowance.take(now_ms - 3_600_000).unwrap_err().seconds <= 3, "the clock was set back");
    }

    #[test]
    fn a_clock_that_is_set_back_locks_nobody_out() {
        let buckets = Buckets::new(Rate::per_minute(60).bursting(3));
        let later_ms = 7_200_000;
        assert_eq!((0..5).filter(|_| buckets.take("a", later_ms).is_ok()).count(), 3);
        let wait = buckets.take("a", later_ms - 3_600_000).unwrap_err();
        assert!(wait.seconds <= 3, "{wait}");
        assert!(buckets.take("a", later_ms - 3_600_000 + 3_000).is_ok());
    }

    #[test]
    fn a_burst_then_the_rate() {
        let buckets = Buckets::new(Rate::per_minute(60).bursting(3));
        for _ in 0..3 {
            assert_eq!(buckets.take("a", 0), Ok(()));
        }
        assert_eq!(buckets.take("a", 0), Err(RetryAfter { seconds: 2 }));
        assert_eq!(buckets.take("a", 500), Err(RetryAfter { seconds: 1 }));
        assert_eq!(buckets.take("b", 500), Ok(()), "keys do not share");
        assert_eq!(buckets.take("a", 1_000), Ok(()));
        assert!(buckets.take("a", 1_000).is_err());
        for _ in 0..3 {
            assert_eq!(buckets.take("a", 9_000), Ok(()), "whole again after a rest");
        }
    }

    #[test]
    fn an_hour_is_as_long_as_it_says() {
        let buckets = Buckets::new(Rate::per_hour(0));
        let six = Rate::per_hour(6);
        assert_eq!((0..10).filter(|_| buckets.take_at(six, "a", 0).is_ok()).count(), 6);
        assert_eq!(buckets.take_at(six, "a", 0), Err(RetryAfter { seconds: 601 }));
        assert_eq!(buckets.take_at(six, "a", 600_000), Ok(()), "ten minutes later one more");
        assert!(buckets.take_at(six, "a", 600_000).is_err());
        assert_eq!(buckets.take_at(Rate::per_hour(60), "b", 0), Ok(()), "each at its own rate");
    }

    #[test]
    fn zero_is_no_limit() {
        let buckets = Buckets::new(Rate::per_minute(0));
        assert!((0..10_000).all(|_| buckets.take(1, 0).is_ok()));
    }

    #[test]
    fn a_flood_of_addresses_does_not_grow_memory() {
        let buckets = Buckets::new(Rate::per_minute(10));
        for key in 0..200_000u32 {
            assert!(buckets.take(key, 0).is_ok());
        }
        assert!(buckets.whole_at_us.lock().unwrap().len() <= MAX_KEYS);
    }

    #[test]
    fn an_ipv6_customer_is_one_network() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2:3::4"), of("2001:db8:1:2:ffff::1"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }

    #[test]
    fn calls_are_limited_by_second_and_by_number_up() {
        let limits = Limits::new(&LimitConfig { calls_per_second: 3, concurrent_calls: 2, ..LimitConfig::default() });
        let first = limits.call("org_a", 0).unwrap();
        let _second = limits.call("org_a", 0).unwrap();
        assert_eq!(limits.call("org_a", 0).unwrap_err().seconds, 5);
        let _other = limits.call("org_b", 0).unwrap();
        drop(first);
        let _third = limits.call("org_a", 0).unwrap();
        drop(_third);
        assert_eq!(limits.call("org_a", 0).unwrap_err().seconds, 1, "three in this second already");
        let _later = limits.call("org_a", 1_000).unwrap();
    }

    #[test]
    fn wrong_credentials_are_throttled_within_a_few_hundred_loopback_too() {
        let limits = Limits::new(&LimitConfig::default());
        let refused = (0..300).find(|_| limits.failed_credential("127.0.0.1".parse().unwrap(), 0).is_err()).unwrap();
        assert!(refused <= 200, "{refused}");
    }

    proptest! {
        /// Over any schedule, no window of a minute holds more than the burst and the rate together.
        #[test]
        fn never_more_than_burst_and_rate(gaps in prop::collection::vec(0i64..3_000, 1..200), burst in 1u32..20, per_minute in 1u32..120) {
            let buckets = Buckets::new(Rate::per_minute(per_minute).bursting(burst));
            let mut now = 0;
            let mut taken = Vec::new();
            for gap in gaps {
                now += gap;
                if buckets.take((), now).is_ok() {
                    taken.push(now);
                }
            }
            for (i, start) in taken.iter().enumerate() {
                let inside = taken[i..].iter().take_while(|at| **at < start + 60_000).count();
                prop_assert!(inside as u32 <= burst + per_minute + 1);
            }
        }
    }
}
