//! Nonces of digest authentication (RFC 7616 §3.3), and what makes an answer good once.
//!
//! A nonce proves by itself that it is ours, for which address it was made and how old it is; only
//! nonces that were used are remembered, with the counts seen, so that no answer is good twice.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::digest::{Claim, hex};

/// How long a nonce is good for, ms. Past it the client repeats with the next one, unasked.
pub(crate) const NONCE_LIFE_MS: i64 = 300_000;
/// Most used nonces remembered; the oldest is forgotten first, and is stale from then on.
const MAX_USED_NONCES: usize = 65_536;
/// How far behind the highest count a late request may be.
const WINDOW: u32 = 64;

/// Whether a nonce's count may be used, decided after the response itself was found good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// This count was not seen.
    Fresh,
    /// Ask again with `stale=true`: the password is right, the nonce is not.
    Stale,
}

/// The counts seen with one nonce.
#[derive(Debug, Default)]
struct Counts {
    highest: u32,
    /// Bit i: `highest - i` was seen.
    seen: u64,
}

impl Counts {
    fn take(&mut self, count: u32) -> bool {
        if count > self.highest {
            let step = count - self.highest;
            self.seen = if step < WINDOW { self.seen << step | 1 } else { 1 };
            self.highest = count;
            return true;
        }
        let behind = self.highest - count;
        if behind >= WINDOW || self.seen >> behind & 1 == 1 {
            return false;
        }
        self.seen |= 1 << behind;
        true
    }
}

/// Makes nonces and judges them.
#[derive(Debug)]
pub(crate) struct Nonces {
    key: [u8; 32],
    used: HashMap<Box<str>, Counts>,
    order: VecDeque<Box<str>>,
}

impl Nonces {
    /// `key` is random and lives as long as the process: nonces of an earlier one are stale.
    pub(crate) fn new(key: [u8; 32]) -> Self {
        Self { key, used: HashMap::new(), order: VecDeque::new() }
    }

    /// A nonce for a peer: time, randomness, and a seal over both and its address, so that nobody
    /// can use it who does not receive there.
    pub(crate) fn issue(&self, peer: IpAddr, now_ms: i64, random: [u8; 8]) -> String {
        let mut text = format!("{now_ms:012x}{}", hex(&random));
        let seal = self.seal(&text, peer);
        text.push_str(&seal);
        text
    }

    fn seal(&self, text: &str, peer: IpAddr) -> String {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.key) else {
            return String::new(); // an HMAC key may have any length
        };
        mac.update(text.as_bytes());
        match peer.to_canonical() {
            IpAddr::V4(ip) => mac.update(&ip.octets()),
            IpAddr::V6(ip) => mac.update(&ip.octets()),
        }
        let mut seal = hex(&mac.finalize().into_bytes());
        seal.truncate(32);
        seal
    }

    /// Whether a claim's nonce is one of ours, made for this peer and young: only then is the claim
    /// worth looking at. Costs one hash and no look-up.
    pub(crate) fn recognises(&self, claim: &Claim, peer: IpAddr, now_ms: i64) -> bool {
        let Some((text, seal)) = claim.nonce().split_at_checked(28) else {
            return false;
        };
        let born = text.get(..12).and_then(|digits| i64::from_str_radix(digits, 16).ok()).unwrap_or(0);
        (0..=NONCE_LIFE_MS).contains(&(now_ms - born))
            && bool::from(self.seal(text, peer).as_bytes().ct_eq(seal.as_bytes()))
    }

    /// Takes the count of a claim that was recognised and has proven its password.
    pub(crate) fn judge(&mut self, claim: &Claim) -> Freshness {
        let count = claim.count();
        if !self.used.contains_key(claim.nonce()) {
            if self.order.len() >= MAX_USED_NONCES
                && let Some(oldest) = self.order.pop_front()
            {
                self.used.remove(&oldest);
            }
            self.order.push_back(claim.nonce().into());
            self.used.insert(claim.nonce().into(), Counts::default());
        }
        let fresh = count > 0 && self.used.get_mut(claim.nonce()).is_some_and(|counts| counts.take(count));
        if fresh { Freshness::Fresh } else { Freshness::Stale }
    }

    /// Forgets nonces that are too old to be used again. Cheap: they lie in order of first use.
    pub(crate) fn sweep(&mut self, now_ms: i64) {
        while let Some(oldest) = self.order.front() {
            let born = oldest.get(..12).and_then(|digits| i64::from_str_radix(digits, 16).ok()).unwrap_or(0);
            if now_ms - born <= NONCE_LIFE_MS {
                return;
            }
            if let Some(oldest) = self.order.pop_front() {
                self.used.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::digest::{Algorithm, Answering, Challenge, challenges};
    use super::*;
    use crate::ports::Secret;

    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    /// A client that answers our own challenge, as often as asked.
    fn claim(nonce: &str, count: u32, algorithm: Algorithm) -> Claim {
        let values = challenges("tandem", nonce, false, true);
        let wanted = values.iter().filter(|value| value.contains(&format!("algorithm={},", algorithm.as_str())));
        let challenge = Challenge::choose(wanted.map(String::as_str)).unwrap();
        let request = Answering { method: "REGISTER", uri: "sip:h", body: b"", count, cnonce: "c" };
        Claim::parse(&challenge.answer("10\"01", &Secret::new("pw"), &request)).unwrap()
    }

    #[test]
    fn sip_trap_02_a_nonce_counts_far_beyond_0x100() {
        let mut nonces = Nonces::new([7; 32]);
        let nonce = nonces.issue(HOME, 1_000, [1; 8]);
        for algorithm in [Algorithm::Md5, Algorithm::Sha256] {
            let ha1 = algorithm.ha1("10\"01", "tandem", "pw");
            let first = if algorithm == Algorithm::Md5 { 1 } else { 0x1000 };
            for count in first..first + 0x300 {
                let claim = claim(&nonce, count, algorithm);
                assert!(claim.proves(&ha1, "REGISTER", b""));
                assert!(!claim.proves(&ha1, "INVITE", b""));
                assert!(!claim.proves(&algorithm.ha1("10\"01", "tandem", "wrong"), "REGISTER", b""));
                assert!(nonces.recognises(&claim, HOME, 2_000));
                assert_eq!(nonces.judge(&claim), Freshness::Fresh, "{count:#x}");
                assert_eq!(nonces.judge(&claim), Freshness::Stale, "a replay of {count:#x}");
            }
        }
    }

    #[test]
    fn counts_may_come_out_of_order_within_a_window() {
        let mut nonces = Nonces::new([7; 32]);
        let nonce = nonces.issue(HOME, 0, [1; 8]);
        let mut judge = |count| nonces.judge(&claim(&nonce, count, Algorithm::Md5));
        assert_eq!(judge(100), Freshness::Fresh);
        assert_eq!(judge(98), Freshness::Fresh);
        assert_eq!(judge(98), Freshness::Stale);
        assert_eq!(judge(37), Freshness::Fresh);
        assert_eq!(judge(36), Freshness::Stale, "too far behind");
        assert_eq!(judge(0), Freshness::Stale);
    }

    #[test]
    fn nonces_that_are_old_foreign_or_made_for_another_are_not_recognised() {
        let mut nonces = Nonces::new([7; 32]);
        let nonce = nonces.issue(HOME, 0, [1; 8]);
        let of = |nonce: &str| claim(nonce, 1, Algorithm::Md5);
        assert!(nonces.recognises(&of(&nonce), HOME, NONCE_LIFE_MS));
        assert!(!nonces.recognises(&of(&nonce), HOME, NONCE_LIFE_MS + 1), "old");
        assert!(!nonces.recognises(&of(&nonce), IpAddr::from([192, 0, 2, 2]), 1), "another's");
        assert!(!nonces.recognises(&of(&Nonces::new([8; 32]).issue(HOME, 0, [1; 8])), HOME, 1), "foreign");
        assert!(!nonces.recognises(&of("short"), HOME, 1));
        nonces.judge(&of(&nonce));
        assert_eq!(nonces.used.len(), 1);
        nonces.sweep(NONCE_LIFE_MS + 1);
        assert!(nonces.used.is_empty() && nonces.order.is_empty());
    }
}
