//! How much the other side of a stream may order. Pure: buckets that time fills again.
//!
//! Invariant: whoever orders faster is read later, so that no order is lost by haste alone; what can never be heard, more
//! audio than is kept or more marks than may be open, is refused and counted, and whoever goes on with it floods.

/// Messages that are taken at once: 40 s of audio in frames of 20 ms.
const MESSAGES: i64 = 2_000;
/// And in each second from then on: eight times what such frames take.
const MESSAGES_PER_S: i64 = 400;
/// Bytes of audio that are taken at once: two minutes of mu-law, which is what is kept, heard or cleared, and two more.
const AUDIO_BYTES: i64 = 240 * 8_000;
/// And in each second from then on: ten times what is heard of it.
const AUDIO_BYTES_PER_S: i64 = 10 * 8_000;
/// So many orders may be refused at once, and in each second from then on; more are a flood.
const REFUSALS: i64 = 200;
const REFUSALS_PER_S: i64 = 1;

/// What is left to the other side.
pub(super) struct Allowance {
    messages: Bucket,
    audio: Bucket,
    refusals: Bucket,
    flooded: bool,
}

impl Allowance {
    pub(super) fn new(now_ms: i64) -> Self {
        Self {
            messages: Bucket::full(MESSAGES, MESSAGES_PER_S, now_ms),
            audio: Bucket::full(AUDIO_BYTES, AUDIO_BYTES_PER_S, now_ms),
            refusals: Bucket::full(REFUSALS, REFUSALS_PER_S, now_ms),
            flooded: false,
        }
    }

    /// When the next message may be read.
    pub(super) fn next_ms(&self) -> i64 {
        self.messages.next_ms()
    }

    /// A message was read.
    pub(super) fn read(&mut self, now_ms: i64) {
        self.messages.take(1, now_ms);
    }

    /// Whether so much audio is taken.
    pub(super) fn takes(&mut self, bytes: usize, now_ms: i64) -> bool {
        let taken = self.audio.take(i64::try_from(bytes).unwrap_or(i64::MAX), now_ms);
        if !taken {
            self.refuse(now_ms);
        }
        taken
    }

    /// Something was refused.
    pub(super) fn refuse(&mut self, now_ms: i64) {
        self.flooded |= !self.refusals.take(1, now_ms);
        metrics::counter!("stream_orders_dropped_total").increment(1);
    }

    /// The other side goes on with what is refused.
    pub(super) fn is_flooded(&self) -> bool {
        self.flooded
    }
}

/// Holds so much, and is filled by so much a second.
struct Bucket {
    size: i64,
    per_s: i64,
    /// What is in it, in thousandths, as of `at_ms`.
    level_milli: i64,
    at_ms: i64,
}

impl Bucket {
    fn full(size: i64, per_s: i64, now_ms: i64) -> Self {
        Self { size, per_s, level_milli: size * 1000, at_ms: now_ms }
    }

    fn take(&mut self, amount: i64, now_ms: i64) -> bool {
        let passed_ms = (now_ms - self.at_ms).max(0);
        self.at_ms = self.at_ms.max(now_ms);
        let filled = self.level_milli.saturating_add(passed_ms.saturating_mul(self.per_s));
        self.level_milli = filled.min(self.size * 1000);
        let wanted = amount.saturating_mul(1000);
        let enough = wanted <= self.level_milli;
        if enough {
            self.level_milli -= wanted;
        }
        enough
    }

    /// When there is one in it.
    fn next_ms(&self) -> i64 {
        let lacking = 1000 - self.level_milli;
        if lacking <= 0 { i64::MIN } else { self.at_ms + (lacking + self.per_s - 1) / self.per_s }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_hurries_is_read_later() {
        let mut allowance = Allowance::new(0);
        for _ in 0..MESSAGES {
            assert!(allowance.next_ms() <= 0);
            allowance.read(0);
        }
        assert_eq!(allowance.next_ms(), 3, "the first millisecond with a whole message in it");
        let mut read = 0;
        for now_ms in 0..=1_000 {
            while allowance.next_ms() <= now_ms {
                allowance.read(now_ms);
                read += 1;
            }
        }
        assert!((MESSAGES_PER_S - 1..=MESSAGES_PER_S).contains(&read), "{read} in a second");
        assert!(!allowance.is_flooded(), "haste is no flood");
    }

    #[test]
    fn audio_that_nobody_can_hear_is_a_flood_and_two_minutes_of_it_are_none() {
        let mut allowance = Allowance::new(0);
        let minute = 60 * 8_000;
        assert!((0..4).all(|_| allowance.takes(minute, 0)));
        assert!(!allowance.takes(minute, 1_000), "a second later there is room for ten");
        assert!(allowance.takes(10 * 8_000, 1_000));
        // One refusal is old already; a second later one more is forgiven.
        for _ in 1..REFUSALS {
            assert!(!allowance.takes(minute, 1_000) && !allowance.is_flooded());
        }
        assert!(allowance.takes(160, 2_000));
        assert!(!allowance.takes(minute, 2_000) && !allowance.is_flooded());
        assert!(!allowance.takes(minute, 2_000) && allowance.is_flooded());
    }
}
