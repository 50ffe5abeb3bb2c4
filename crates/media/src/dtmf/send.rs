//! Telephone events as we send them (RFC 4733, section 2.5.1): regenerated, never forwarded.
//!
//! Invariant: each digit is one event with growing duration, its end said three times, and a gap
//! before the next.

use std::collections::VecDeque;

use super::{Digit, event_code};
use crate::frame::FRAME_MS;

/// Digits and pauses that may wait.
const MAX_QUEUED: usize = 64;
/// The shortest event that we make, in milliseconds: many receivers miss a shorter one.
const SHORTEST_MS: u32 = 60;
/// The longest event that we make, in milliseconds: a key held longer says nothing more.
const LONGEST_MS: u32 = 6_000;
/// The longest duration that fits an event packet, in ticks.
const MAX_TICKS: u32 = 0xffff;
/// Silence between two events, in frames.
const GAP_FRAMES: u32 = 3;
/// How often the end is said.
const END_PACKETS: u32 = 3;
/// Level of the tone that the event stands for, in -dBm0.
const VOLUME: u8 = 10;
/// The end bit beside the volume.
const END_BIT: u8 = 0x80;

/// One packet to send: [`crate::rtp::Sender::event`] numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventPacket {
    /// First packet of its event: marker bit, new timestamp.
    pub first: bool,
    /// The four bytes of RFC 4733, section 2.3.
    pub payload: [u8; 4],
}

/// Makes event packets of digits, one a tick of 20 ms.
#[derive(Debug)]
pub struct EventSender {
    ticks_per_frame: u32,
    queue: VecDeque<Queued>,
    phase: Phase,
}

#[derive(Clone, Copy, Debug)]
enum Queued {
    Key(Key),
    Pause { frames: u32 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    code: u8,
    frames: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    /// `sent` frames of the event are out.
    Sounding {
        key: Key,
        sent: u32,
    },
    /// `sent` end packets are out.
    Ending {
        key: Key,
        sent: u32,
    },
    Gap {
        frames: u32,
    },
}

impl EventSender {
    /// For `telephone-event/clock_rate`.
    #[must_use]
    pub fn new(clock_rate: u32) -> Self {
        Self { ticks_per_frame: (clock_rate / 50).max(1), queue: VecDeque::new(), phase: Phase::Idle }
    }

    /// Queues a digit; false when it is no key or the queue is full.
    pub fn push(&mut self, digit: Digit) -> bool {
        let Some(code) = event_code(digit.symbol) else {
            return false;
        };
        let frames = digit.duration_ms.clamp(SHORTEST_MS, LONGEST_MS).div_ceil(FRAME_MS);
        let frames = frames.min(MAX_TICKS / self.ticks_per_frame);
        self.enqueue(Queued::Key(Key { code, frames }))
    }

    /// Queues silence, in milliseconds; false when the queue is full.
    pub fn pause(&mut self, ms: u32) -> bool {
        self.enqueue(Queued::Pause { frames: ms.div_ceil(FRAME_MS) })
    }

    /// Whether nothing sounds and nothing waits.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.phase == Phase::Idle && self.queue.is_empty()
    }

    /// Whether an event stands in the place of audio in this tick.
    #[must_use]
    pub fn is_sounding(&self) -> bool {
        matches!(self.phase, Phase::Sounding { .. } | Phase::Ending { .. })
    }

    /// Forgets all that waits; an event that sounds is ended properly.
    pub fn clear(&mut self) {
        self.queue.clear();
        self.phase = match self.phase {
            Phase::Sounding { key, sent } => Phase::Ending { key: Key { frames: sent.max(1), ..key }, sent: 0 },
            ending @ Phase::Ending { .. } => ending,
            Phase::Idle | Phase::Gap { .. } => Phase::Idle,
        };
    }

    /// The packet of this tick (every 20 ms), if there is one.
    pub fn tick(&mut self) -> Option<EventPacket> {
        if self.phase == Phase::Idle {
            self.phase = match self.queue.pop_front() {
                Some(Queued::Key(key)) => Phase::Sounding { key, sent: 0 },
                Some(Queued::Pause { frames }) => Phase::Gap { frames },
                None => Phase::Idle,
            };
        }
        match self.phase {
            Phase::Idle => None,
            Phase::Gap { frames } => {
                self.phase = if frames <= 1 { Phase::Idle } else { Phase::Gap { frames: frames - 1 } };
                None
            }
            Phase::Sounding { key, sent } => {
                let sent = sent + 1;
                let over = sent >= key.frames;
                self.phase = if over { Phase::Ending { key, sent: 0 } } else { Phase::Sounding { key, sent } };
                Some(self.packet(key.code, VOLUME, sent))
            }
            Phase::Ending { key, sent } => {
                let sent = sent + 1;
                let over = sent >= END_PACKETS;
                self.phase = if over { Phase::Gap { frames: GAP_FRAMES } } else { Phase::Ending { key, sent } };
                Some(self.packet(key.code, END_BIT | VOLUME, key.frames))
            }
        }
    }

    fn packet(&self, code: u8, flags: u8, frames: u32) -> EventPacket {
        let ticks = (frames * self.ticks_per_frame).min(MAX_TICKS) as u16;
        let [high, low] = ticks.to_be_bytes();
        EventPacket { first: flags & END_BIT == 0 && frames == 1, payload: [code, flags, high, low] }
    }

    fn enqueue(&mut self, item: Queued) -> bool {
        let room = self.queue.len() < MAX_QUEUED;
        if room {
            self.queue.push_back(item);
        }
        room
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtmf::EventReceiver;

    const DIGIT: Digit = Digit { symbol: '5', duration_ms: 100 };

    fn all_packets(sender: &mut EventSender) -> Vec<Option<EventPacket>> {
        let mut packets = Vec::new();
        while !sender.is_idle() {
            packets.push(sender.tick());
        }
        packets
    }

    #[test]
    fn an_event_grows_and_ends_three_times() {
        let mut sender = EventSender::new(8_000);
        assert!(sender.push(DIGIT));
        let sent: Vec<_> = all_packets(&mut sender).into_iter().flatten().collect();
        let durations: Vec<_> = sent.iter().map(|p| u16::from_be_bytes([p.payload[2], p.payload[3]])).collect();
        assert_eq!(durations, [160, 320, 480, 640, 800, 800, 800, 800]);
        assert_eq!(sent.iter().filter(|p| p.first).count(), 1);
        assert!(sent[0].first);
        assert_eq!(sent.iter().filter(|p| p.payload[1] & END_BIT != 0).count(), 3);
        assert!(sent.iter().all(|p| p.payload[0] == 5 && p.payload[1] & 0x3f == VOLUME));
    }

    #[test]
    fn a_gap_stands_between_two_events_and_a_pause_is_kept() {
        let mut sender = EventSender::new(8_000);
        sender.push(DIGIT);
        sender.push(DIGIT);
        sender.pause(1_000);
        sender.push(DIGIT);
        let silences: Vec<_> = all_packets(&mut sender)
            .split(|packet| packet.is_some())
            .map(<[_]>::len)
            .filter(|&frames| frames > 0)
            .collect();
        assert_eq!(silences, [3, 3 + 50, 3], "frames of silence after each digit");
    }

    #[test]
    fn our_own_receiver_reads_each_key_with_its_length() {
        for clock_rate in [8_000, 48_000] {
            let mut sender = EventSender::new(clock_rate);
            let mut receiver = EventReceiver::new(clock_rate);
            let mut heard = String::new();
            let keys = "0123456789*#ABCD";
            for symbol in keys.chars() {
                assert!(sender.push(Digit { symbol, duration_ms: 120 }));
            }
            let (mut now_us, mut timestamp) = (0, 0);
            while !sender.is_idle() {
                if let Some(packet) = sender.tick() {
                    if packet.first {
                        timestamp = (now_us * u64::from(clock_rate) / 1_000_000) as u32;
                    }
                    if let Some(digit) = receiver.receive(now_us, timestamp, &packet.payload) {
                        assert_eq!(digit.duration_ms, 120);
                        heard.push(digit.symbol);
                    }
                }
                now_us += 20_000;
            }
            assert_eq!(heard, keys);
        }
    }

    #[test]
    fn clearing_ends_the_event_that_sounds() {
        let mut sender = EventSender::new(8_000);
        sender.push(Digit { symbol: '1', duration_ms: 2_000 });
        sender.push(DIGIT);
        sender.tick();
        sender.tick();
        sender.clear();
        let rest: Vec<_> = all_packets(&mut sender).into_iter().flatten().collect();
        assert_eq!(rest.len(), 3);
        assert!(rest.iter().all(|p| p.payload == [1, END_BIT | VOLUME, 1, 64]), "{rest:?}");
    }

    #[test]
    fn what_is_no_key_or_too_much_is_refused() {
        let mut sender = EventSender::new(8_000);
        assert!(!sender.push(Digit { symbol: 'x', duration_ms: 100 }));
        for _ in 0..MAX_QUEUED {
            assert!(sender.push(DIGIT));
        }
        assert!(!sender.push(DIGIT));
    }

    #[test]
    fn a_long_press_at_48_khz_stays_within_one_packet() {
        let mut sender = EventSender::new(48_000);
        sender.push(Digit { symbol: '1', duration_ms: 5_000 });
        let sent: Vec<_> = all_packets(&mut sender).into_iter().flatten().collect();
        let durations: Vec<_> = sent.iter().map(|p| u16::from_be_bytes([p.payload[2], p.payload[3]])).collect();
        assert!(durations.is_sorted(), "{durations:?}");
        assert_eq!(durations.last(), Some(&(68 * 960)));
    }
}
