//! Identifiers and secrets: time-ordered ids with a prefix, tokens, digits.
//!
//! Invariant: all randomness of the house comes from here, so that a test that seeds it is repeatable.
//! Ids of two milliseconds sort as the milliseconds do; ids of one millisecond differ by 80 random bits.

use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Crockford's base 32 in lower case: sorts as its value does and has no look-alikes.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Bytes fetched from the operating system at once; an id needs ten.
const POOL_BYTES: usize = 512;

/// Source of ids, tokens and jitter. Cheap to clone.
#[derive(Clone)]
pub struct Ids {
    source: Arc<Mutex<Source>>,
}

enum Source {
    /// The operating system's generator, read ahead in blocks.
    Os { pool: Box<[u8; POOL_BYTES]>, used: usize },
    /// SplitMix64, for tests only.
    Seeded(u64),
}

impl std::fmt::Debug for Ids {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ids")
    }
}

impl Ids {
    /// Ids from the operating system's randomness.
    #[must_use]
    pub fn os() -> Self {
        Self::from_source(Source::Os { pool: Box::new([0; POOL_BYTES]), used: POOL_BYTES })
    }

    /// Ids that repeat for the same seed. For tests: its tokens can be guessed.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self::from_source(Source::Seeded(seed))
    }

    fn from_source(source: Source) -> Self {
        Self { source: Arc::new(Mutex::new(source)) }
    }

    /// `call_01jd…`: the prefix, ten characters of time, sixteen of chance. Characters `[A-Za-z0-9_]`.
    #[must_use]
    #[expect(clippy::new_ret_no_self, reason = "the new thing is an id; `ids.new(\"call\", now)` reads so")]
    pub fn new(&self, prefix: &'static str, now_ms: i64) -> String {
        let mut id = String::with_capacity(prefix.len() + 27);
        id.push_str(prefix);
        id.push('_');
        push_base32(&mut id, now_ms.cast_unsigned().into(), 10);
        let mut chance = [0; 16];
        let random: [u8; 10] = self.bytes();
        for (slot, byte) in chance.iter_mut().zip(random) {
            *slot = byte;
        }
        push_base32(&mut id, u128::from_le_bytes(chance), 16);
        id
    }

    /// 24 hexadecimal digits as the documents' clients expect: 32 bits of seconds, 64 of chance.
    #[must_use]
    pub fn document_id(&self, now_ms: i64) -> String {
        let seconds = (now_ms / 1000) & 0xffff_ffff;
        let chance = u64::from_le_bytes(self.bytes());
        format!("{seconds:08x}{chance:016x}")
    }

    /// 256 random bits in base64url: 43 characters, safe in a URL and a header.
    #[must_use]
    pub fn token(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.bytes::<32>())
    }

    /// `n` random decimal digits, each equally likely.
    #[must_use]
    pub fn digits(&self, n: usize) -> String {
        let mut digits = String::with_capacity(n);
        while digits.len() < n {
            for byte in self.bytes::<16>() {
                // 250 is the largest multiple of ten in a byte: above it the low digits would be likelier.
                if byte < 250 && digits.len() < n {
                    digits.push(char::from(b'0' + byte % 10));
                }
            }
        }
        digits
    }

    /// A number in `0..bound` (0 for a bound of 0), for jitter and shuffling.
    #[must_use]
    pub fn below(&self, bound: u64) -> u64 {
        // The bias of the remainder is under 2^-32 for every bound that a delay has.
        u64::from_le_bytes(self.bytes()).checked_rem(bound).unwrap_or(0)
    }

    /// `N` random bytes.
    #[must_use]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut out = [0; N];
        self.source.lock().unwrap_or_else(PoisonError::into_inner).fill(&mut out);
        out
    }
}

impl Source {
    fn fill(&mut self, out: &mut [u8]) {
        match self {
            Self::Seeded(state) => {
                for chunk in out.chunks_mut(8) {
                    for (slot, byte) in chunk.iter_mut().zip(split_mix(state).to_le_bytes()) {
                        *slot = byte;
                    }
                }
            }
            Self::Os { pool, used } => {
                for slot in out {
                    if *used == POOL_BYTES {
                        refill(pool.as_mut_slice());
                        *used = 0;
                    }
                    if let Some(byte) = pool.get_mut(*used) {
                        // What was handed out is wiped: the pool never shows a token that is in use.
                        *slot = std::mem::take(byte);
                    }
                    *used += 1;
                }
            }
        }
    }
}

#[expect(clippy::expect_used, reason = "a machine without randomness cannot make secrets: stop at once")]
fn refill(pool: &mut [u8]) {
    getrandom::fill(pool).expect("the operating system gives random bytes");
}

fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Appends the low `5 * width` bits of `value`, most significant first.
fn push_base32(out: &mut String, value: u128, width: u32) {
    for index in (0..width).rev() {
        let digit = (value >> (5 * index)) & 31;
        if let Some(&letter) = usize::try_from(digit).ok().and_then(|digit| ALPHABET.get(digit)) {
            out.push(char::from(letter));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_and_are_short() {
        let ids = Ids::seeded(1);
        let early = ids.new("call", 1_700_000_000_000);
        let late = ids.new("call", 1_700_000_000_001);
        assert!(early < late);
        assert_eq!(early.len(), 31);
        assert!(early.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'));
    }

    #[test]
    fn a_seed_repeats_and_os_ids_do_not() {
        assert_eq!(Ids::seeded(7).token(), Ids::seeded(7).token());
        assert_ne!(Ids::os().token(), Ids::os().token());
        let ids = Ids::os();
        let many: std::collections::HashSet<_> = (0..10_000).map(|_| ids.new("evt", 5)).collect();
        assert_eq!(many.len(), 10_000);
    }

    #[test]
    fn document_ids_are_24_hex_digits_in_order_of_seconds() {
        let ids = Ids::os();
        let (early, late) = (ids.document_id(1_000_000), ids.document_id(1_001_000));
        assert!(early.len() == 24 && early.chars().all(|c| c.is_ascii_hexdigit()));
        assert!(early < late);
    }

    #[test]
    fn digits_are_evenly_spread() {
        let digits = Ids::seeded(3).digits(20_000);
        for digit in '0'..='9' {
            let count = digits.chars().filter(|&c| c == digit).count();
            assert!((1_800..2_200).contains(&count), "{digit}: {count}");
        }
    }

    #[test]
    fn below_stays_below() {
        let ids = Ids::seeded(9);
        assert!((0..1000).all(|_| ids.below(7) < 7));
        assert_eq!(ids.below(0), 0);
    }
}
