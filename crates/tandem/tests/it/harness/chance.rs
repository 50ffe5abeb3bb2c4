//! Chance that can be told again: its seed is printed with the test's output, and
//! `TANDEM_TEST_SEED` repeats a run.

use std::ops::Range;
use std::time::SystemTime;

/// Names the seed of a run that is to be repeated.
const SEED_VARIABLE: &str = "TANDEM_TEST_SEED";

/// A generator of random numbers (SplitMix64).
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    /// A new one each run, told on stdout.
    pub(crate) fn told() -> Self {
        let seed = match std::env::var(SEED_VARIABLE) {
            Ok(seed) => seed.parse().expect("a seed is a number"),
            Err(_) => SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64,
        };
        println!("{SEED_VARIABLE}={seed}");
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number of a range.
    pub(crate) fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }

    /// Bytes without any sense.
    pub(crate) fn bytes(&mut self, lengths: Range<u64>) -> Vec<u8> {
        (0..self.within(lengths)).map(|_| self.next() as u8).collect()
    }

    /// A message with a few things wrong: cut, torn, doubled, or with odd bytes in it.
    pub(crate) fn mutate(&mut self, message: &[u8]) -> Vec<u8> {
        let mut bytes = message.to_vec();
        for _ in 0..self.within(1..6) {
            let at = self.within(0..bytes.len() as u64 + 1) as usize;
            let to = (at + self.within(0..40) as usize).min(bytes.len());
            match self.within(0..5) {
                0 => bytes.truncate(at),
                1 => drop(bytes.drain(at..to)),
                2 => {
                    let copy = bytes[at..to].to_vec();
                    drop(bytes.splice(at..at, copy));
                }
                3 => {
                    let odd =
                        *self.one(&[&b"\r\n"[..], b"\0", b"\xff\xfe", b";;;", b"<<>>", b"\"", b"99999999999999999999"]);
                    drop(bytes.splice(at..at, odd.iter().copied()));
                }
                _ => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = byte.wrapping_add(self.next() as u8)),
            }
        }
        bytes
    }

    /// One of a few.
    pub(crate) fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.within(0..of.len() as u64) as usize]
    }
}

/// Whether this run is a long one: `./test --full` says so.
pub(crate) fn is_full() -> bool {
    std::env::var_os("TANDEM_TEST_FULL").is_some_and(|value| value == "1")
}
