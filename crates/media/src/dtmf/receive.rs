//! Telephone events as they come in (RFC 4733, section 2.5.2).
//!
//! Invariant: an event is known by its timestamp, so its repeated packets, its three end packets and late copies of them are one digit.

use super::{Digit, symbol};

/// An event is over when its packets stop for this long, in microseconds: all its end packets were lost.
const LOST_END_US: u64 = 200_000;
/// The longest duration that one segment can carry; a longer press goes on in a new one (section 2.5.1.3).
const SEGMENT_TICKS: u32 = 0xffff;

/// Makes digits of event packets.
#[derive(Debug)]
pub struct EventReceiver {
    clock_rate: u32,
    /// The event that is being pressed.
    current: Option<Press>,
    /// Timestamp of the event that was reported last: whatever still comes of it is a repetition.
    reported: Option<u32>,
    /// A digit that ended by the same packet that began another one.
    ready: Option<Digit>,
}

#[derive(Debug)]
struct Press {
    symbol: char,
    timestamp: u32,
    /// Ticks of the segments before this one.
    earlier_ticks: u32,
    ticks: u32,
    last_us: u64,
    /// Its end was said, but a digit before it has not been fetched.
    over: bool,
}

impl EventReceiver {
    /// For `telephone-event/clock_rate`.
    #[must_use]
    pub fn new(clock_rate: u32) -> Self {
        Self { clock_rate: clock_rate.max(1), current: None, reported: None, ready: None }
    }

    /// Takes one packet's payload; a digit when one is complete. Call [`EventReceiver::poll`] too, at least every 50 ms.
    pub fn receive(&mut self, now_us: u64, timestamp: u32, payload: &[u8]) -> Option<Digit> {
        if let &[event, flags, high, low, ..] = payload
            && let Some(symbol) = symbol(event)
        {
            self.take(now_us, timestamp, symbol, flags & 0x80 != 0, u32::from(u16::from_be_bytes([high, low])));
        }
        self.poll(now_us)
    }

    /// A digit whose end packets were lost, or that waits.
    pub fn poll(&mut self, now_us: u64) -> Option<Digit> {
        let over = |press: &Press| press.over || now_us.saturating_sub(press.last_us) >= LOST_END_US;
        if self.ready.is_none() && self.current.as_ref().is_some_and(over) {
            self.finish();
        }
        self.ready.take()
    }

    /// Whether a key is held right now.
    #[must_use]
    pub fn is_pressed(&self) -> bool {
        self.current.is_some()
    }

    fn take(&mut self, now_us: u64, timestamp: u32, symbol: char, end: bool, ticks: u32) {
        let is_repetition = self.is_repetition(timestamp);
        match &mut self.current {
            Some(press) if press.timestamp == timestamp && press.over => return,
            Some(press) if press.timestamp == timestamp => {
                press.ticks = press.ticks.max(ticks);
                press.last_us = now_us;
            }
            Some(press) if press.symbol == symbol && timestamp == press.timestamp.wrapping_add(SEGMENT_TICKS) => {
                press.earlier_ticks += SEGMENT_TICKS;
                press.timestamp = timestamp;
                press.ticks = ticks;
                press.last_us = now_us;
            }
            // A late copy of an event before the current one.
            Some(press) if timestamp.wrapping_sub(press.timestamp).cast_signed() < 0 => return,
            _ if is_repetition => return,
            _ => {
                self.finish();
                self.current = Some(Press { symbol, timestamp, earlier_ticks: 0, ticks, last_us: now_us, over: false });
            }
        }
        if let Some(press) = &mut self.current {
            press.over = end;
        }
    }

    /// Whether `timestamp` belongs to the event reported last, or to one shortly before it.
    fn is_repetition(&self, timestamp: u32) -> bool {
        self.reported.is_some_and(|reported| {
            let after = timestamp.wrapping_sub(reported).cast_signed();
            // A timestamp far in the past is a source that started anew.
            after == 0 || (after < 0 && after.unsigned_abs() < self.clock_rate * 2)
        })
    }

    fn finish(&mut self) {
        let Some(press) = self.current.take() else {
            return;
        };
        self.reported = Some(press.timestamp);
        let ticks = u64::from(press.earlier_ticks) + u64::from(press.ticks);
        let duration_ms = (ticks * 1_000 / u64::from(self.clock_rate)) as u32;
        self.ready = Some(Digit { symbol: press.symbol, duration_ms });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: bool = true;

    fn payload(event: u8, end: bool, ticks: u16) -> [u8; 4] {
        let [high, low] = ticks.to_be_bytes();
        [event, if end { 0x8a } else { 0x0a }, high, low]
    }

    /// Feeds (time in ms, timestamp, event, end, ticks) and polls every 20 ms until 2 s after.
    fn heard(packets: &[(u64, u32, u8, bool, u16)]) -> Vec<(u64, Digit)> {
        let mut receiver = EventReceiver::new(8_000);
        let mut digits = Vec::new();
        let last_ms = packets.last().map_or(0, |packet| packet.0);
        let mut packets = packets.iter().peekable();
        for now_ms in (0..last_ms + 2_000).step_by(5) {
            while let Some(&(_, timestamp, event, end, ticks)) = packets.next_if(|packet| packet.0 <= now_ms) {
                let digit = receiver.receive(now_ms * 1_000, timestamp, &payload(event, end, ticks));
                digits.extend(digit.map(|digit| (now_ms, digit)));
            }
            if now_ms % 20 == 0 {
                digits.extend(receiver.poll(now_ms * 1_000).map(|digit| (now_ms, digit)));
            }
        }
        digits
    }

    fn symbols(packets: &[(u64, u32, u8, bool, u16)]) -> String {
        heard(packets).into_iter().map(|(_, digit)| digit.symbol).collect()
    }

    #[test]
    fn three_end_packets_are_one_digit_and_it_comes_with_the_first_of_them() {
        let digits = heard(&[
            (0, 1_000, 4, false, 160),
            (20, 1_000, 4, false, 320),
            (40, 1_000, 4, END, 480),
            (40, 1_000, 4, END, 480),
            (60, 1_000, 4, END, 480),
        ]);
        assert_eq!(digits, [(40, Digit { symbol: '4', duration_ms: 60 })]);
    }

    #[test]
    fn the_same_key_twice_is_two_digits() {
        assert_eq!(symbols(&[(0, 1_000, 4, END, 480), (200, 2_600, 4, END, 480), (220, 2_600, 4, END, 480)]), "44");
    }

    #[test]
    fn lost_end_packets_delay_the_digit_and_do_not_lose_it() {
        let digits = heard(&[(0, 1_000, 9, false, 160), (20, 1_000, 9, false, 320)]);
        assert_eq!(digits, [(220, Digit { symbol: '9', duration_ms: 40 })]);
    }

    #[test]
    fn the_next_event_ends_one_whose_end_was_lost() {
        let digits = heard(&[(0, 1_000, 1, false, 160), (100, 1_800, 2, END, 480)]);
        assert_eq!(digits.iter().map(|(_, digit)| digit.symbol).collect::<String>(), "12");
    }

    #[test]
    fn late_and_reordered_copies_change_nothing() {
        assert_eq!(
            symbols(&[
                (0, 1_000, 1, END, 480),
                (100, 1_800, 2, false, 160),
                (110, 1_000, 1, END, 480),
                (120, 1_800, 2, END, 480),
                (125, 1_800, 2, false, 320),
                (130, 1_000, 1, END, 480),
            ]),
            "12"
        );
    }

    #[test]
    fn only_the_start_is_needed_and_only_the_end_is_enough() {
        assert_eq!(symbols(&[(0, 1_000, 10, false, 160)]), "*");
        assert_eq!(symbols(&[(0, 1_000, 11, END, 800)]), "#");
    }

    #[test]
    fn a_press_of_ten_seconds_in_two_segments_is_one_digit() {
        let frames = |count: u64| (1..=count).map(|frame| (frame * 20, frame as u32 * 160));
        let first = frames(409).map(|(at_ms, ticks)| (at_ms, 1_000, 3, false, ticks as u16));
        let second =
            frames(90).map(|(at_ms, ticks)| (8_180 + at_ms, 1_000 + 0xffff, 3, ticks == 90 * 160, ticks as u16));
        let digits = heard(&first.chain(second).collect::<Vec<_>>());
        assert_eq!(digits, [(9_980, Digit { symbol: '3', duration_ms: 8_191 + 1_800 })]);
    }

    #[test]
    fn a_source_that_starts_anew_is_heard() {
        assert_eq!(symbols(&[(0, 900_000_000, 3, END, 800), (500, 1_000, 4, END, 800)]), "34");
    }

    #[test]
    fn flash_and_garbage_are_no_digits() {
        let mut receiver = EventReceiver::new(8_000);
        for payload in [&[16, 0x8a, 0, 160][..], &[255, 0xff, 0xff, 0xff], &[1, 0x8a], &[]] {
            assert_eq!(receiver.receive(0, 1_000, payload), None);
        }
        assert_eq!(receiver.poll(1_000_000), None);
    }
}
