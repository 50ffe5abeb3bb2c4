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
}

impl EventReceiver {
    /// For `telephone-event/clock_rate`.
    #[must_use]
    pub fn new(clock_rate: u32) -> Self {
        Self {
            clock_rate: clock_rate.max(1),
            current: None,
            reported: None,
            ready: None,
        }
    }

    /// Takes one packet's payload; a digit when one is complete. Call [`EventReceiver::poll`] too, at least every 50 ms.
    pub fn receive(&mut self, now_us: u64, timestamp: u32, payload: &[u8]) -> Option<Digit> {
        if let &[event, flags, high, low, ..] = payload
            && let Some(symbol) = symbol(event)
        {
            self.take(
                now_us,
                timestamp,
                symbol,
                flags & 0x80 != 0,
                u32::from(u16::from_be_bytes([high, low])),
            );
        }
        self.poll(now_us)
    }

    /// A digit whose end packets were lost, or that waits.
    pub fn poll(&mut self, now_us: u64) -> Option<Digit> {
        if let Some(press) = &self.current
            && now_us.saturating_sub(press.last_us) >= LOST_END_US
            && self.ready.is_none()
        {
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
            Some(press) if press.timestamp == timestamp => {
                press.ticks = press.ticks.max(ticks);
                press.last_us = now_us;
            }
            Some(press)
                if press.symbol == symbol
                    && timestamp == press.timestamp.wrapping_add(SEGMENT_TICKS) =>
            {
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
                self.current = Some(Press {
                    symbol,
                    timestamp,
                    earlier_ticks: 0,
                    ticks,
                    last_us: now_us,
                });
            }
        }
        if end {
            self.finish();
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
        self.ready = Some(Digit {
            symbol: press.symbol,
            duration_ms,
        });
    }
}
