//! Telephone events as we send them (RFC 4733, section 2.5.1): regenerated, never forwarded.
//!
//! Invariant: each digit is one event with growing duration, its end said three times, and a gap before the next.

use super::{Digit, event_code};
use crate::frame::FRAME_MS;

/// Digits that may wait: the contract's 32 with their pauses.
const QUEUE: usize = 64;
/// Shortest and longest event that we make, in milliseconds: shorter is missed, longer only blocks.
const SHORTEST_MS: u32 = 60;
const LONGEST_MS: u32 = 6_000;
/// Silence between two events, in frames of 20 ms.
const GAP_FRAMES: u32 = 3;
/// How often the end is said.
const END_PACKETS: u32 = 3;
/// Level of the tone that the event stands for, in -dBm0.
const VOLUME: u8 = 10;

/// One packet to send: [`crate::rtp::Sender::event`] numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventPacket {
    /// First packet of its event: marker bit, new timestamp.
    pub first: bool,
    /// The four bytes of RFC 4733, section 2.3.
    pub payload: [u8; 4],
}

/// What a tick asks to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    /// Frames of the event sent so far.
    Sounding(u32),
    /// End packets sent so far.
    Ending(u32),
    /// Frames of silence left.
    Gap(u32),
}

/// Makes event packets of digits, one a tick of 20 ms.
#[derive(Debug)]
pub struct EventSender {
    ticks_per_frame: u32,
    queue: [Option<Queued>; QUEUE],
    head: usize,
    len: usize,
    phase: Phase,
}

#[derive(Clone, Copy, Debug)]
enum Queued {
    Key { code: u8, frames: u32 },
    Pause { frames: u32 },
}

impl EventSender {
    /// For `telephone-event/clock_rate`.
    #[must_use]
    pub fn new(clock_rate: u32) -> Self {
        Self {
            ticks_per_frame: clock_rate / 50,
            queue: [None; QUEUE],
            head: 0,
            len: 0,
            phase: Phase::Idle,
        }
    }

    /// Queues a digit; false when it is no key or the queue is full.
    pub fn push(&mut self, digit: Digit) -> bool {
        let Some(code) = event_code(digit.symbol) else {
            return false;
        };
        let frames = digit
            .duration_ms
            .clamp(SHORTEST_MS, LONGEST_MS)
            .div_ceil(FRAME_MS);
        self.enqueue(Queued::Key { code, frames })
    }

    /// Queues silence, in milliseconds; false when the queue is full.
    pub fn pause(&mut self, ms: u32) -> bool {
        self.enqueue(Queued::Pause {
            frames: ms.div_ceil(FRAME_MS),
        })
    }

    /// Whether nothing sounds and nothing waits.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.phase == Phase::Idle && self.len == 0
    }

    /// Whether audio of our own should be silent in this tick: an event stands in its place.
    #[must_use]
    pub fn is_sounding(&self) -> bool {
        matches!(self.phase, Phase::Sounding(_) | Phase::Ending(_))
    }

    /// Forgets all that waits; what sounds is ended properly.
    pub fn clear(&mut self) {
        let sounding = self.is_sounding();
        let keep = usize::from(sounding).min(self.len);
        self.len = keep;
        if sounding {
            self.phase = Phase::Ending(0).max_of(self.phase);
        } else {
            self.phase = Phase::Idle;
        }
    }

    /// The packet of this tick (every 20 ms), if there is one.
    pub fn tick(&mut self) -> Option<EventPacket> {
        todo!()
    }

    fn enqueue(&mut self, item: Queued) -> bool {
        if self.len == QUEUE {
            return false;
        }
        let slot = (self.head + self.len) % QUEUE;
        if let Some(place) = self.queue.get_mut(slot) {
            *place = Some(item);
            self.len += 1;
        }
        true
    }
}

impl Phase {
    fn max_of(self, other: Self) -> Self {
        if matches!(other, Self::Ending(_)) {
            other
        } else {
            self
        }
    }
}
