//! The gate before the stack: who may send how much, and who may send nothing for a while.
//!
//! Pure arithmetic behind one short lock, shared by the tasks that read sockets. Loopback and trunks
//! are let through and never banned; their calls are still counted by the server's own limit.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::voice::SipLimits;

/// How long failed proofs are counted together, and a ban lasts, ms.
const BAN_MS: i64 = 600_000;
/// A user name is locked for an address after this part of the failures that would ban the address:
/// one phone with an old password does not cut its office off.
const USER_PART: u32 = 4;
/// Most addresses watched; past it the idle ones are forgotten, then all.
const MAX_ADDRESSES: usize = 65_536;
/// Most bans, and most pairs of address and user that have failed, remembered.
const MAX_BANS: usize = 65_536;

/// A token bucket that holds `burst` and fills with `per_second`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    /// Thousandths of a token.
    level: i64,
    at: i64,
}

impl Bucket {
    /// A full bucket.
    pub(crate) fn full(burst: i64, now: i64) -> Self {
        Self { level: burst * 1_000, at: now }
    }

    /// Takes a token if there is one.
    pub(crate) fn take(&mut self, per_second: i64, burst: i64, now: i64) -> bool {
        self.take_many(1, per_second, burst, now)
    }

    /// Takes so many tokens, or none when there are not enough.
    fn take_many(&mut self, count: i64, per_second: i64, burst: i64, now: i64) -> bool {
        let passed = (now - self.at).clamp(0, 3_600_000);
        self.at = now;
        self.level = (self.level + passed * per_second).min(burst * 1_000);
        if self.level < count * 1_000 {
            return false;
        }
        self.level -= count * 1_000;
        true
    }
}

/// Proofs that failed within one span of [`BAN_MS`].
#[derive(Clone, Copy, Debug, Default)]
struct Failures {
    count: u32,
    since: i64,
}

impl Failures {
    /// One more; how many they are now.
    fn add(&mut self, now: i64) -> u32 {
        if self.is_over(now) {
            *self = Self { count: 0, since: now };
        }
        self.count += 1;
        self.count
    }

    fn is_over(&self, now: i64) -> bool {
        self.count == 0 || now - self.since >= BAN_MS
    }
}

#[derive(Debug)]
struct Address {
    messages: Bucket,
    /// Fills with sixtieths of the limit a minute: counted in units of 1/60 request.
    registers: Bucket,
    failures: Failures,
    connections: usize,
    seen: i64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Gate {
    limits: SipLimits,
    /// Names a pair of address and user, however long the user name is.
    hasher: RandomState,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    addresses: HashMap<IpAddr, Address>,
    friends: HashSet<IpAddr>,
    /// Until when an address is banned. Apart from `addresses`, which a flood from many of them empties.
    bans: HashMap<IpAddr, i64>,
    /// What failed of a user from an address.
    users: HashMap<u64, Failures>,
    connections: usize,
}

impl Gate {
    pub(crate) fn new(limits: SipLimits) -> Self {
        Self { limits, hasher: RandomState::new(), state: Mutex::default() }
    }

    /// The addresses of trunks.
    pub(crate) fn befriend(&self, friends: HashSet<IpAddr>) {
        self.state().friends = friends;
    }

    /// Whether an address is a trunk's.
    pub(crate) fn is_friend(&self, ip: IpAddr) -> bool {
        self.state().friends.contains(&ip)
    }

    /// Whether a message from an address is read at all.
    pub(crate) fn admits(&self, ip: IpAddr, now: i64) -> bool {
        if ip.is_loopback() {
            return true;
        }
        let per_second = i64::from(self.limits.messages_per_second_per_ip);
        let mut state = self.state();
        if state.friends.contains(&ip) {
            return true;
        }
        !state.is_banned(ip, now) && state.address(ip, &self.limits, now).messages.take(per_second, per_second, now)
    }

    /// Whether an address may register now.
    pub(crate) fn may_register(&self, ip: IpAddr, now: i64) -> bool {
        let per_minute = i64::from(self.limits.registrations_per_minute_per_ip);
        let mut state = self.state();
        let address = state.address(ip, &self.limits, now);
        // Sixty tokens a request, `per_minute` tokens a second.
        address.registers.take_many(60, per_minute, per_minute * 60, now)
    }

    /// Whether a user has failed too often from an address to be heard again.
    pub(crate) fn is_locked(&self, ip: IpAddr, user: &str, now: i64) -> bool {
        let key = self.user_key(ip, user);
        let most = self.failures_of_user();
        self.state().users.get(&key).is_some_and(|failures| !failures.is_over(now) && failures.count >= most)
    }

    /// A password was wrong. The end of the address's ban, when this was one too many.
    pub(crate) fn failed(&self, ip: IpAddr, user: &str, now: i64) -> Option<i64> {
        if ip.is_loopback() {
            return None;
        }
        let key = self.user_key(ip, user);
        let mut state = self.state();
        state.user(key, now).add(now);
        let count = state.address(ip, &self.limits, now).failures.add(now);
        if count <= self.limits.failures_before_ban || state.friends.contains(&ip) {
            return None;
        }
        state.ban(ip, now)
    }

    /// A password was right: what the user, and others at the address, got wrong before is forgiven.
    pub(crate) fn proven(&self, ip: IpAddr, user: &str) {
        let key = self.user_key(ip, user);
        let mut state = self.state();
        state.users.remove(&key);
        if let Some(address) = state.addresses.get_mut(&group(ip)) {
            address.failures = Failures::default();
        }
    }

    fn failures_of_user(&self) -> u32 {
        (self.limits.failures_before_ban / USER_PART).max(1)
    }

    fn user_key(&self, ip: IpAddr, user: &str) -> u64 {
        self.hasher.hash_one((group(ip), user))
    }

    /// A stream from an address is opened; false when there are too many.
    pub(crate) fn open(&self, ip: IpAddr, now: i64) -> bool {
        let mut state = self.state();
        if state.connections >= self.limits.connections || state.is_banned(ip, now) {
            return false;
        }
        let address = state.address(ip, &self.limits, now);
        if address.connections >= self.limits.connections_per_ip {
            return false;
        }
        address.connections += 1;
        state.connections += 1;
        true
    }

    /// A stream is closed.
    pub(crate) fn close(&self, ip: IpAddr) {
        let mut state = self.state();
        state.connections = state.connections.saturating_sub(1);
        if let Some(address) = state.addresses.get_mut(&group(ip)) {
            address.connections = address.connections.saturating_sub(1);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn address(&mut self, ip: IpAddr, limits: &SipLimits, now: i64) -> &mut Address {
        let ip = group(ip);
        if self.addresses.len() >= MAX_ADDRESSES && !self.addresses.contains_key(&ip) {
            self.addresses.retain(|_, address| address.connections > 0 || now - address.seen < 60_000);
            if self.addresses.len() >= MAX_ADDRESSES {
                self.addresses.retain(|_, address| address.connections > 0);
            }
        }
        let registers = i64::from(limits.registrations_per_minute_per_ip) * 60;
        let address = self.addresses.entry(ip).or_insert_with(|| Address {
            messages: Bucket::full(i64::from(limits.messages_per_second_per_ip), now),
            registers: Bucket::full(registers, now),
            failures: Failures::default(),
            connections: 0,
            seen: now,
        });
        address.seen = now;
        address
    }

    /// What failed of a user. A table that is full forgets what is over, then everything: a lock is
    /// a kindness to the address, the ban of the address is what protects.
    fn user(&mut self, key: u64, now: i64) -> &mut Failures {
        if self.users.len() >= MAX_BANS && !self.users.contains_key(&key) {
            self.users.retain(|_, failures| !failures.is_over(now));
            if self.users.len() >= MAX_BANS {
                self.users.clear();
            }
        }
        self.users.entry(key).or_default()
    }

    fn is_banned(&self, ip: IpAddr, now: i64) -> bool {
        !self.bans.is_empty() && self.bans.get(&group(ip)).is_some_and(|until| now < *until)
    }

    /// Bans an address, unless the table is full of bans that still last.
    fn ban(&mut self, ip: IpAddr, now: i64) -> Option<i64> {
        if self.bans.len() >= MAX_BANS {
            self.bans.retain(|_, until| now < *until);
        }
        if let Some(address) = self.addresses.get_mut(&group(ip)) {
            address.failures = Failures::default();
        }
        let until = now + BAN_MS;
        (self.bans.len() < MAX_BANS).then(|| {
            self.bans.insert(group(ip), until);
            until
        })
    }
}

/// One customer owns a whole IPv6 /64.
fn group(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate() -> Gate {
        Gate::new(SipLimits {
            messages_per_second_per_ip: 10,
            registrations_per_minute_per_ip: 6,
            connections: 3,
            connections_per_ip: 2,
            failures_before_ban: 3,
            ..SipLimits::default()
        })
    }

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn a_flood_is_cut_to_its_rate_and_others_go_on() {
        let gate = gate();
        let passed = (0..100).filter(|_| gate.admits(ip(1), 0)).count();
        assert_eq!(passed, 10);
        assert!(gate.admits(ip(2), 0));
        assert!(gate.admits(ip(1), 100) && !gate.admits(ip(1), 100));
        gate.befriend([ip(1)].into());
        assert!((0..100).all(|_| gate.admits(ip(1), 100)));
    }

    #[test]
    fn registrations_are_counted_by_the_minute() {
        let gate = gate();
        assert_eq!((0..10).filter(|_| gate.may_register(ip(1), 0)).count(), 6);
        assert!(!gate.may_register(ip(1), 5_000));
        assert!(gate.may_register(ip(1), 20_000));
    }

    #[test]
    fn a_limiter_that_is_pressed_on_still_lets_its_rate_through() {
        let gate = gate();
        // Fifty requests a second for 100 s against six a minute: the burst, and one every 10 s.
        let passed = (0..5_000).filter(|nth| gate.may_register(ip(1), nth * 20)).count();
        assert_eq!(passed, 6 + 9);
    }

    #[test]
    fn too_many_wrong_passwords_close_the_gate_for_a_while() {
        let gate = gate();
        let guess = |nth: u32, now| gate.failed(ip(1), &format!("user{nth}"), now);
        assert_eq!((0..3).find_map(|nth| guess(nth, 0)), None);
        assert_eq!(guess(3, 0), Some(BAN_MS));
        assert!(!gate.admits(ip(1), 1) && !gate.open(ip(1), 1));
        assert!(gate.admits(ip(1), BAN_MS));
        let home = IpAddr::from([127, 0, 0, 1]);
        assert!((0..100).all(|_| gate.failed(home, "u", 0).is_none()));
    }

    #[test]
    fn failures_count_within_ten_minutes_only_and_a_right_password_forgives_them() {
        let gate = gate();
        // One every four minutes for an hour: never more than three in ten minutes.
        assert_eq!((0..15).find_map(|nth| gate.failed(ip(1), "u", nth * 240_000)), None);
        for _ in 0..5 {
            assert_eq!((0..3).find_map(|_| gate.failed(ip(2), "u", 0)), None);
            gate.proven(ip(2), "other");
        }
        assert!(gate.admits(ip(2), 1));
    }

    #[test]
    fn one_phone_with_an_old_password_is_locked_and_not_its_office() {
        let gate = gate();
        assert!(!gate.is_locked(ip(1), "1001", 0));
        gate.failed(ip(1), "1001", 0);
        assert!(gate.is_locked(ip(1), "1001", 0) && !gate.is_locked(ip(1), "1002", 0));
        assert!(!gate.is_locked(ip(2), "1001", 0), "elsewhere it may try");
        assert!(gate.admits(ip(1), 0));
        assert!(!gate.is_locked(ip(1), "1001", BAN_MS));
        gate.failed(ip(1), "1002", 0);
        gate.proven(ip(1), "1002");
        assert!(!gate.is_locked(ip(1), "1002", 0));
    }

    #[test]
    fn a_trunk_is_never_banned() {
        let gate = gate();
        gate.befriend([ip(1)].into());
        assert_eq!((0..100).find_map(|_| gate.failed(ip(1), "u", 0)), None);
        assert!(gate.admits(ip(1), 0) && gate.open(ip(1), 0));
    }

    #[test]
    fn a_ban_outlasts_a_flood_from_everywhere() {
        let gate = gate();
        assert!((0..4).any(|_| gate.failed(ip(1), "u", 0).is_some()));
        for nth in 0..u32::try_from(MAX_ADDRESSES).unwrap() + 2 {
            gate.admits(IpAddr::from(nth.wrapping_add(0x0a00_0000).to_be_bytes()), 1);
        }
        assert!(!gate.admits(ip(1), 2));
    }

    #[test]
    fn connections_are_counted_by_address_and_in_all() {
        let gate = gate();
        let v6 = |last: u16| IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last));
        assert!(gate.open(v6(1), 0) && gate.open(v6(2), 0));
        assert!(!gate.open(v6(3), 0), "one /64 is one customer");
        assert!(gate.open(ip(1), 0));
        assert!(!gate.open(ip(2), 0), "three in all");
        gate.close(v6(1));
        assert!(gate.open(ip(2), 0));
    }
}
