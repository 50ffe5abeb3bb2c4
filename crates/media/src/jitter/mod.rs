//! Puts the packets of one source back into order and time.
//!
//! The consumer asks for a packet whenever it lacks audio, so its own clock paces the buffer; the
//! delay grows by itself whenever it has to wait, and is cut when even the tightest packet of the
//! last seconds waited longer than a packet lasts. Invariant: packets leave in order, each at most
//! once, and nothing is allocated after [`JitterBuffer::new`].

use crate::{codec::CodecKind, frame::FRAME_US, rtp::Packet};

/// Packets that fit; a power of two, so that a sequence number keeps its slot when it wraps.
const SLOTS: u16 = 32;
/// Delay at the start of a stream, in microseconds.
const START_DELAY_US: u64 = 40_000;
/// The longest delay we ask for, in microseconds: past it people talk over one another.
const MAX_DELAY_US: u64 = 200_000;
/// Without a late packet for this long the wanted delay shrinks by a frame, in microseconds.
const CALM_US: u64 = 20_000_000;
/// How long the shortest wait is watched before the delay is cut, in microseconds.
const WATCH_US: u64 = 4_000_000;
/// The same when far more waits than is wanted: after a burst.
const HASTY_WATCH_US: u64 = 200_000;
/// What is left above the wanted delay after a cut, in microseconds.
const MARGIN_US: u64 = 5_000;
/// A pause longer than this is silence of the source, not lateness, in microseconds.
const SILENCE_US: u64 = 200_000;
/// At most one frame of delay is added for late packets in this time, in microseconds.
const STRETCH_PAUSE_US: u64 = 500_000;
/// A packet up to this much behind is only late; further behind, the source started anew.
const MAX_MISORDER: i16 = 100;
/// What a packet may last, in microseconds.
const MIN_PACKET_US: u64 = 5_000;
const MAX_PACKET_US: u64 = 120_000;

/// What to play next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Popped<'a> {
    /// The next packet: decode it.
    Packet {
        /// Its payload type.
        payload_type: u8,
        /// Its payload.
        payload: &'a [u8],
    },
    /// 20 ms are lost: [`crate::codec::Decoder::recover`] with `next`, else `conceal`.
    Lost {
        /// The payload right behind the hole, when it is there.
        next: Option<&'a [u8]>,
    },
    /// Nothing to play: the source is silent, has not begun, or is late. `conceal` fades out.
    Empty,
}

/// What has become of the packets so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JitterStats {
    /// Played.
    pub played: u64,
    /// Passed over because they were not there in time.
    pub lost: u64,
    /// Came after they had been passed over.
    pub late: u64,
    /// Came twice.
    pub duplicate: u64,
    /// Dropped because the buffer was full, or to shorten the delay.
    pub discarded: u64,
}

/// Adaptive playout buffer of one source, with fixed storage.
#[derive(Debug)]
pub struct JitterBuffer {
    slots: [Slot; SLOTS as usize],
    bytes: Box<[u8]>,
    slot_bytes: usize,
    clock_rate: u32,
    packet_us: u64,
    state: State,
    stream: Option<Stream>,
    /// The delay wanted at the beginning of a talk spurt.
    target_us: u64,
    calm_since_us: u64,
    /// A late packet asks for a frame more of delay.
    stretch: bool,
    stretched_us: Option<u64>,
    watch: Watch,
    stats: JitterStats,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    content: Content,
    sequence: u16,
    payload_type: u8,
    len: u16,
    arrived_us: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Content {
    #[default]
    Nothing,
    Audio,
    /// The number is taken by a packet that is not audio.
    Event,
    /// It was here and has been played or dropped.
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing to play before the delay has built up.
    Filling { since_us: u64 },
    /// Playing in step with the consumer.
    Playing,
    /// The consumer found nothing.
    Dry { since_us: u64 },
}

#[derive(Clone, Copy, Debug)]
struct Stream {
    ssrc: u32,
    /// The next sequence number to play.
    next: u16,
    /// The highest sequence number that came.
    highest: u16,
    /// The last audio packet that came: number and timestamp.
    newest: (u16, u32),
    /// Where a source that started anew would go on.
    restart_at: Option<u16>,
    /// Lost time that is still to be concealed, in microseconds; negative when a frame covered more.
    owed_us: i64,
}

/// What [`JitterBuffer::pop`] decided.
enum Choice {
    Play(u16),
    /// A lost frame; the number of the packet behind the hole when it comes next.
    Conceal(Option<u16>),
    Wait,
}

/// The shortest time a packet has waited, over a while.
#[derive(Clone, Copy, Debug, Default)]
struct Watch {
    since_us: u64,
    shortest_us: Option<u64>,
}

impl JitterBuffer {
    /// A buffer for one codec's packets.
    #[must_use]
    pub fn new(kind: CodecKind) -> Self {
        let slot_bytes = match kind {
            // 60 ms at 64 kbit/s.
            CodecKind::Pcmu | CodecKind::Pcma | CodecKind::G722 => 480,
            // The largest frame there is (RFC 6716, section 3.4).
            CodecKind::Opus => 1_275,
        };
        Self {
            slots: [Slot::default(); SLOTS as usize],
            bytes: vec![0; slot_bytes * usize::from(SLOTS)].into_boxed_slice(),
            slot_bytes,
            clock_rate: kind.clock_rate(),
            packet_us: FRAME_US,
            state: State::Filling { since_us: 0 },
            stream: None,
            target_us: START_DELAY_US,
            calm_since_us: 0,
            stretch: false,
            stretched_us: None,
            watch: Watch::default(),
            stats: JitterStats::default(),
        }
    }

    /// Keeps an audio packet.
    pub fn push(&mut self, now_us: u64, packet: &Packet<'_>) {
        if packet.payload.is_empty() || packet.payload.len() > self.slot_bytes {
            // A keep-alive, or more than a codec of this kind sends: not audio, and not a loss.
            self.leave_out(now_us, packet);
            return;
        }
        if self.admit(now_us, packet, Content::Audio)
            && let Some(place) = self.bytes.chunks_exact_mut(self.slot_bytes).nth(index(packet.sequence))
            && let Some(place) = place.get_mut(..packet.payload.len())
        {
            place.copy_from_slice(packet.payload);
        }
    }

    /// Notes a packet of the same source that is not audio (a telephone event), so that its
    /// sequence number is not taken for a loss.
    pub fn leave_out(&mut self, now_us: u64, packet: &Packet<'_>) {
        self.admit(now_us, packet, Content::Event);
    }

    /// The next thing to play. Ask until the decoder's [`crate::frame::Framer`] has a frame, or
    /// until [`Popped::Empty`].
    pub fn pop(&mut self, now_us: u64) -> Popped<'_> {
        match self.choose(now_us) {
            Choice::Play(sequence) => {
                Popped::Packet { payload_type: self.slot(sequence).payload_type, payload: self.payload(sequence) }
            }
            Choice::Conceal(next) => Popped::Lost { next: next.map(|sequence| self.payload(sequence)) },
            Choice::Wait => Popped::Empty,
        }
    }

    /// Forgets the source, keeps the counts and the delay it taught.
    pub fn reset(&mut self) {
        self.stream = None;
        self.slots = [Slot::default(); SLOTS as usize];
    }

    /// The delay that is built up at the beginning of a talk spurt, in microseconds.
    #[must_use]
    pub fn target_us(&self) -> u64 {
        self.target_us
    }

    /// Counts since the start.
    #[must_use]
    pub fn stats(&self) -> JitterStats {
        self.stats
    }

    /// Finds a place for a packet; false when it is not kept.
    fn admit(&mut self, now_us: u64, packet: &Packet<'_>, content: Content) -> bool {
        self.calm_down(now_us);
        let stream = match self.stream {
            Some(stream) if stream.ssrc == packet.ssrc => stream,
            _ => self.begin(now_us, packet),
        };
        let ahead = packet.sequence.wrapping_sub(stream.next).cast_signed();
        let stream = if ahead <= -MAX_MISORDER || ahead >= SLOTS.cast_signed() * 2 {
            if stream.restart_at != Some(packet.sequence) {
                self.stream = Some(Stream { restart_at: Some(packet.sequence.wrapping_add(1)), ..stream });
                return false;
            }
            self.begin(now_us, packet)
        } else {
            Stream { restart_at: None, ..stream }
        };
        self.stream = Some(stream);
        if !self.make_room(now_us, packet.sequence) {
            return false;
        }
        self.wake(now_us, packet, content);
        if content == Content::Audio {
            self.measure(packet);
        }
        *self.slot_mut(packet.sequence) = Slot {
            content,
            sequence: packet.sequence,
            payload_type: packet.payload_type,
            len: packet.payload.len() as u16,
            arrived_us: now_us,
        };
        true
    }

    /// Starts a stream with this packet.
    fn begin(&mut self, now_us: u64, packet: &Packet<'_>) -> Stream {
        self.reset();
        self.state = State::Filling { since_us: now_us };
        Stream {
            ssrc: packet.ssrc,
            next: packet.sequence,
            highest: packet.sequence,
            newest: (packet.sequence, packet.timestamp),
            restart_at: None,
            owed_us: 0,
        }
    }

    /// Whether `sequence` may be kept: not late, not known, and with older packets out of its way.
    fn make_room(&mut self, now_us: u64, sequence: u16) -> bool {
        let slot = self.slot(sequence);
        if slot.sequence == sequence && slot.content != Content::Nothing {
            self.stats.duplicate += 1;
            return false;
        }
        let Some(mut stream) = self.stream else {
            return false;
        };
        let ahead = sequence.wrapping_sub(stream.next).cast_signed();
        let filling = matches!(self.state, State::Filling { .. });
        let span = stream.highest.wrapping_sub(sequence);
        if ahead < 0 && !(filling && span < SLOTS) {
            self.stats.late += 1;
            self.ask_for_delay(now_us);
            self.stretch = true;
            return false;
        }
        if ahead < 0 {
            // Nothing has been played yet: the stream begins earlier than we thought.
            stream.next = sequence;
        }
        while sequence.wrapping_sub(stream.next) >= SLOTS {
            let content = std::mem::replace(&mut self.slot_mut(stream.next).content, Content::Gone);
            match content {
                Content::Audio => self.stats.discarded += 1,
                Content::Nothing => self.stats.lost += 1,
                Content::Event | Content::Gone => {}
            }
            stream.next = stream.next.wrapping_add(1);
        }
        if sequence.wrapping_sub(stream.highest).cast_signed() > 0 {
            // Slots between hold what was there a round ago.
            let mut fresh = stream.highest.wrapping_add(1);
            while fresh != sequence {
                self.slot_mut(fresh).content = Content::Nothing;
                fresh = fresh.wrapping_add(1);
            }
            stream.highest = sequence;
        }
        self.stream = Some(stream);
        true
    }

    /// A packet comes after the buffer ran dry: silence of the source, or lateness?
    fn wake(&mut self, now_us: u64, packet: &Packet<'_>, content: Content) {
        let (State::Dry { since_us }, Some(mut stream), Content::Audio) = (self.state, self.stream, content) else {
            return;
        };
        let dry_us = now_us.saturating_sub(since_us);
        let hole = packet.sequence.wrapping_sub(stream.next);
        let steps = packet.sequence.wrapping_sub(stream.newest.0);
        let ticks = packet.timestamp.wrapping_sub(stream.newest.1);
        let contiguous = u64::from(ticks) * 1_000_000 <= u64::from(steps) * self.packet_us * u64::from(self.clock_rate);
        // What was concealed while dry need not be concealed again.
        let covered = if dry_us > SILENCE_US { hole } else { hole.min((dry_us / self.packet_us) as u16) };
        for _ in 0..covered {
            if self.slot(stream.next).content == Content::Nothing {
                self.stats.lost += 1;
            }
            stream.next = stream.next.wrapping_add(1);
        }
        self.stream = Some(stream);
        self.state = if dry_us > SILENCE_US { State::Filling { since_us: now_us } } else { State::Playing };
        if contiguous && dry_us <= SILENCE_US {
            self.ask_for_delay(now_us);
        }
    }

    /// Learns how long packets are.
    fn measure(&mut self, packet: &Packet<'_>) {
        let Some(stream) = &mut self.stream else {
            return;
        };
        let steps = packet.sequence.wrapping_sub(stream.newest.0);
        if steps == 1 {
            let ticks = u64::from(packet.timestamp.wrapping_sub(stream.newest.1));
            let packet_us = ticks * 1_000_000 / u64::from(self.clock_rate);
            if (MIN_PACKET_US..=MAX_PACKET_US).contains(&packet_us) {
                self.packet_us = packet_us;
            }
        }
        if steps.cast_signed() > 0 {
            stream.newest = (packet.sequence, packet.timestamp);
        }
    }

    /// Decides what the consumer gets.
    fn choose(&mut self, now_us: u64) -> Choice {
        let Some(stream) = self.stream else {
            return Choice::Wait;
        };
        if let State::Filling { since_us } = self.state {
            let waiting = stream.highest.wrapping_sub(stream.next).wrapping_add(1);
            let level_us = u64::from(waiting) * self.packet_us;
            if now_us.saturating_sub(since_us) < self.target_us && level_us <= self.target_us + self.packet_us {
                return Choice::Wait;
            }
            self.state = State::Playing;
            self.watch = Watch { since_us: now_us, shortest_us: None };
        }
        if self.must_stretch(now_us) {
            return Choice::Wait;
        }
        loop {
            let Some(stream) = &mut self.stream else {
                return Choice::Wait;
            };
            let sequence = stream.next;
            let ended = sequence == stream.highest.wrapping_add(1);
            if stream.owed_us >= FRAME_US.cast_signed() / 2 {
                stream.owed_us -= FRAME_US.cast_signed();
                let last = stream.owed_us < FRAME_US.cast_signed() / 2;
                let known = last && !ended && self.slot(sequence).content == Content::Audio;
                return Choice::Conceal(known.then_some(sequence));
            }
            if ended {
                if self.state == State::Playing {
                    self.state = State::Dry { since_us: now_us };
                }
                return Choice::Wait;
            }
            stream.next = sequence.wrapping_add(1);
            let content = std::mem::replace(&mut self.slot_mut(sequence).content, Content::Gone);
            match content {
                Content::Audio if self.must_cut(now_us, sequence) => self.stats.discarded += 1,
                Content::Audio => {
                    self.stats.played += 1;
                    return Choice::Play(sequence);
                }
                Content::Event | Content::Gone => {}
                Content::Nothing => {
                    self.stats.lost += 1;
                    self.slot_mut(sequence).content = Content::Nothing;
                    if let Some(stream) = &mut self.stream {
                        stream.owed_us += self.packet_us.cast_signed();
                    }
                }
            }
        }
    }

    /// Whether to let the consumer wait once, so that late packets find more delay.
    fn must_stretch(&mut self, now_us: u64) -> bool {
        let due = self.stretched_us.is_none_or(|at_us| now_us.saturating_sub(at_us) >= STRETCH_PAUSE_US);
        let stretch = std::mem::take(&mut self.stretch) && due && self.state == State::Playing;
        if stretch {
            self.stretched_us = Some(now_us);
        }
        stretch
    }

    /// Whether this packet is dropped because even the tightest one of late waited too long.
    fn must_cut(&mut self, now_us: u64, sequence: u16) -> bool {
        let waited_us = now_us.saturating_sub(self.slot(sequence).arrived_us);
        let shortest_us = self.watch.shortest_us.map_or(waited_us, |shortest| shortest.min(waited_us));
        self.watch.shortest_us = Some(shortest_us);
        let wanted_us = self.target_us + self.packet_us + MARGIN_US;
        let hasty = shortest_us > wanted_us + 2 * self.packet_us;
        let window_us = if hasty { HASTY_WATCH_US } else { WATCH_US };
        if now_us.saturating_sub(self.watch.since_us) < window_us {
            return false;
        }
        self.watch = Watch { since_us: now_us, shortest_us: None };
        shortest_us > wanted_us
    }

    fn ask_for_delay(&mut self, now_us: u64) {
        self.target_us = (self.target_us + FRAME_US).min(MAX_DELAY_US);
        self.calm_since_us = now_us;
    }

    fn calm_down(&mut self, now_us: u64) {
        if now_us.saturating_sub(self.calm_since_us) >= CALM_US {
            self.target_us = self.target_us.saturating_sub(FRAME_US).max(START_DELAY_US);
            self.calm_since_us = now_us;
        }
    }

    fn payload(&self, sequence: u16) -> &[u8] {
        let len = usize::from(self.slot(sequence).len);
        let place = self.bytes.chunks_exact(self.slot_bytes).nth(index(sequence));
        place.and_then(|place| place.get(..len)).unwrap_or_default()
    }

    #[expect(clippy::indexing_slicing, reason = "an index modulo the number of slots")]
    fn slot(&self, sequence: u16) -> &Slot {
        &self.slots[index(sequence)]
    }

    #[expect(clippy::indexing_slicing, reason = "an index modulo the number of slots")]
    fn slot_mut(&mut self, sequence: u16) -> &mut Slot {
        &mut self.slots[index(sequence)]
    }
}

/// The slot of a sequence number.
fn index(sequence: u16) -> usize {
    usize::from(sequence % SLOTS)
}

#[cfg(test)]
mod tests;
