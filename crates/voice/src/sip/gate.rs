//! The gate before the stack: who may send how much, and who may send nothing for a while.
//!
//! Pure arithmetic behind one short lock, shared by the tasks that read sockets. Loopback and trunks
//! are let through; their calls are still counted by the server's own limit.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::voice::SipLimits;

/// How long failed proofs are remembered, and a ban lasts, ms.
const BAN_MS: i64 = 600_000;
/// Most addresses watched; past it the idle ones are forgotten, then all.
const MAX_ADDRESSES: usize = 65_536;

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
        let passed = (now - self.at).clamp(0, 3_600_000);
        self.at = now;
        self.level = (self.level + passed * per_second).min(burst * 1_000);
        if self.level < 1_000 {
            return false;
        }
        self.level -= 1_000;
        true
    }
}

#[derive(Debug)]
struct Address {
    messages: Bucket,
    /// Fills with sixtieths of the limit a minute: counted in units of 1/60 request.
    registers: Bucket,
    failures: u32,
    failed_at: i64,
    banned_until: i64,
    connections: usize,
    seen: i64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Gate {
    limits: SipLimits,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    addresses: HashMap<IpAddr, Address>,
    friends: HashSet<IpAddr>,
    connections: usize,
}

impl Gate {
    pub(crate) fn new(limits: SipLimits) -> Self {
        Self { limits, state: Mutex::default() }
    }

    /// The addresses of trunks.
    pub(crate) fn befriend(&self, friends: HashSet<IpAddr>) {
        self.state().friends = friends;
    }

    /// Whether a message from an address is read at all.
    pub(crate) fn admits(&self, ip: IpAddr, now: i64) -> bool {
        if ip.is_loopback() {
            return true;
        }
        let per_second = i64::from(self.limits.messages_per_second_per_ip);
        let mut state = self.state();
        let friend = state.friends.contains(&ip);
        let address = state.address(ip, &self.limits, now);
        address.banned_until <= now && (friend || address.messages.take(per_second, per_second, now))
    }

    /// Whether an address may register now.
    pub(crate) fn may_register(&self, ip: IpAddr, now: i64) -> bool {
        let per_minute = i64::from(self.limits.registrations_per_minute_per_ip);
        let mut state = self.state();
        let address = state.address(ip, &self.limits, now);
        // Sixty tokens a request, `per_minute` tokens a second.
        (0..60).all(|_| address.registers.take(per_minute, per_minute * 60, now))
    }

    /// A password was wrong. The end of the ban, when this was one too many.
    pub(crate) fn failed(&self, ip: IpAddr, now: i64) -> Option<i64> {
        if ip.is_loopback() {
            return None;
        }
        let mut state = self.state();
        let address = state.address(ip, &self.limits, now);
        if now - address.failed_at > BAN_MS {
            address.failures = 0;
        }
        address.failed_at = now;
        address.failures += 1;
        if address.failures <= self.limits.failures_before_ban {
            return None;
        }
        address.failures = 0;
        address.banned_until = now + BAN_MS;
        Some(address.banned_until)
    }

    /// A stream from an address is opened; false when there are too many.
    pub(crate) fn open(&self, ip: IpAddr, now: i64) -> bool {
        let mut state = self.state();
        if state.connections >= self.limits.connections {
            return false;
        }
        let address = state.address(ip, &self.limits, now);
        if address.connections >= self.limits.connections_per_ip || address.banned_until > now {
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
            self.addresses.retain(|_, address| {
                address.connections > 0 || address.banned_until > now || now - address.seen < 60_000
            });
            if self.addresses.len() >= MAX_ADDRESSES {
                self.addresses.retain(|_, address| address.connections > 0);
            }
        }
        let registers = i64::from(limits.registrations_per_minute_per_ip) * 60;
        let address = self.addresses.entry(ip).or_insert_with(|| Address {
            messages: Bucket::full(i64::from(limits.messages_per_second_per_ip), now),
            registers: Bucket::full(registers, now),
            failures: 0,
            failed_at: now,
            banned_until: 0,
            connections: 0,
            seen: now,
        });
        address.seen = now;
        address
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
    fn too_many_wrong_passwords_close_the_gate_for_a_while() {
        let gate = gate();
        assert_eq!((0..3).find_map(|_| gate.failed(ip(1), 0)), None);
        assert_eq!(gate.failed(ip(1), 0), Some(BAN_MS));
        assert!(!gate.admits(ip(1), 1) && !gate.open(ip(1), 1));
        assert!(gate.admits(ip(1), BAN_MS));
        let home = IpAddr::from([127, 0, 0, 1]);
        assert!((0..100).all(|_| gate.failed(home, 0).is_none()));
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
