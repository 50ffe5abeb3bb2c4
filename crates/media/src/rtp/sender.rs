//! The stream that we send to one party: one SSRC, whoever speaks through it.

use super::{HEADER_BYTES, Packet, RtpError};
use crate::{dtmf::EventPacket, rtcp::SenderInfo};

/// A pause longer than this is shown in the timestamps and begins a new talk spurt; a shorter one is a late thread.
const GAP_MS: u64 = 100;

/// Numbers the packets of one outgoing stream.
#[derive(Debug)]
pub struct Sender {
    ssrc: u32,
    clock_rate: u32,
    next_sequence: u16,
    next_timestamp: u32,
    /// Timestamp and start of the event that is being sent.
    event_timestamp: u32,
    /// When the last packet went out, and the timestamp that belongs to that moment.
    last: Option<(u64, u32)>,
    /// The first sequence number after a packet that was slipped in or left out: numbers before it are settled.
    settled: u16,
    speaker: Speaker,
    packets: u32,
    octets: u32,
}

/// Whose voice the stream carries; a change makes a [`super::Rewriter`] find its place anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaker {
    /// Our own prompts and tones.
    Ourselves,
    /// A forwarded source; the number tells one turn from the next.
    Forwarded(u32),
}

impl Sender {
    /// A stream; `ssrc`, `sequence` and `timestamp` should be random (RFC 3550, section 5.1). `clock_rate` in ticks per second.
    #[must_use]
    pub fn new(ssrc: u32, sequence: u16, timestamp: u32, clock_rate: u32) -> Self {
        Self {
            ssrc,
            clock_rate,
            next_sequence: sequence,
            next_timestamp: timestamp,
            event_timestamp: timestamp,
            last: None,
            settled: sequence,
            speaker: Speaker::Ourselves,
            packets: 0,
            octets: 0,
        }
    }

    /// Our synchronisation source.
    #[must_use]
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Another codec's clock from now on, after a re-INVITE. Sequence and SSRC go on.
    pub fn set_clock_rate(&mut self, clock_rate: u32) {
        self.clock_rate = clock_rate;
    }

    /// Writes the header of one frame of our own in front of its payload: `packet` holds 12 bytes of room and then the coded audio.
    ///
    /// `ticks` is the frame's length on the codec's clock. After a pause the packet carries the marker bit and the pause shows in its timestamp.
    pub fn frame(&mut self, now_us: u64, payload_type: u8, ticks: u32, packet: &mut [u8]) -> Result<(), RtpError> {
        let payload_len = packet.len().checked_sub(HEADER_BYTES).ok_or(RtpError::BufferTooSmall)?;
        let live = self.live_timestamp(now_us);
        let behind = live.wrapping_sub(self.next_timestamp).cast_signed();
        let paused = i64::from(behind) > self.ticks(GAP_MS * 1_000).into();
        let timestamp = if paused { live } else { self.next_timestamp };
        let header = Packet {
            marker: paused || self.last.is_none(),
            payload_type,
            sequence: self.next_sequence,
            timestamp,
            ssrc: self.ssrc,
            payload: &[],
        };
        header.write(packet)?;
        self.speaker = Speaker::Ourselves;
        self.sent(now_us, timestamp, ticks, payload_len);
        Ok(())
    }

    /// Writes one RFC 4733 packet made by an [`crate::dtmf::EventSender`]; the number of bytes. It slips in between forwarded packets without harm.
    pub fn event(
        &mut self,
        now_us: u64,
        payload_type: u8,
        event: &EventPacket,
        out: &mut [u8],
    ) -> Result<usize, RtpError> {
        let live = self.live_timestamp(now_us);
        if event.first {
            self.event_timestamp =
                if live.wrapping_sub(self.next_timestamp).cast_signed() > 0 { live } else { self.next_timestamp };
        }
        let packet = Packet {
            marker: event.first,
            payload_type,
            sequence: self.next_sequence,
            timestamp: self.event_timestamp,
            ssrc: self.ssrc,
            payload: &event.payload,
        };
        let len = packet.write(out)?;
        let next_timestamp = self.next_timestamp;
        self.sent(now_us, live, 0, event.payload.len());
        self.settled = self.next_sequence;
        // Audio after the event must not carry a time before it.
        self.next_timestamp = if live.wrapping_sub(next_timestamp).cast_signed() > 0 { live } else { next_timestamp };
        Ok(len)
    }

    /// What a sender report says at `now_us`; the caller adds the wall clock. None before the first packet.
    #[must_use]
    pub fn report(&self, now_us: u64, ntp: u64) -> Option<SenderInfo> {
        self.last?;
        Some(SenderInfo {
            ssrc: self.ssrc,
            ntp,
            rtp_timestamp: self.live_timestamp(now_us),
            packets: self.packets,
            octets: self.octets,
        })
    }

    /// Packets sent so far.
    #[must_use]
    pub fn packets(&self) -> u32 {
        self.packets
    }

    /// The media time of this very moment.
    pub(super) fn live_timestamp(&self, now_us: u64) -> u32 {
        match self.last {
            Some((last_us, timestamp)) => timestamp.wrapping_add(self.ticks(now_us.saturating_sub(last_us))),
            None => self.next_timestamp,
        }
    }

    /// Ticks of our clock in `us` microseconds.
    pub(super) fn ticks(&self, us: u64) -> u32 {
        // Timestamps wrap by design (RFC 3550, section 5.1).
        (us * u64::from(self.clock_rate) / 1_000_000) as u32
    }

    pub(super) fn clock_rate(&self) -> u32 {
        self.clock_rate
    }

    pub(super) fn next_timestamp(&self) -> u32 {
        self.next_timestamp
    }

    pub(super) fn next_sequence(&self) -> u16 {
        self.next_sequence
    }

    pub(super) fn settled(&self) -> u16 {
        self.settled
    }

    pub(super) fn speaker(&self) -> Speaker {
        self.speaker
    }

    /// A forwarded source takes over: its first packet gets the next number.
    pub(super) fn hand_over(&mut self) -> Speaker {
        self.speaker = match self.speaker {
            Speaker::Ourselves => Speaker::Forwarded(self.packets),
            Speaker::Forwarded(turn) => Speaker::Forwarded(turn.wrapping_add(1)),
        };
        self.settled = self.next_sequence;
        self.speaker
    }

    /// Leaves `packets` numbers free for packets that the source lost or that come late.
    pub(super) fn skip(&mut self, packets: u16) {
        self.next_sequence = self.next_sequence.wrapping_add(packets);
    }

    /// No late packet can be placed before this point any more.
    pub(super) fn settle(&mut self) {
        self.settled = self.next_sequence;
    }

    /// Books a packet that took the next number.
    pub(super) fn sent(&mut self, now_us: u64, timestamp: u32, ticks: u32, payload_len: usize) {
        self.next_sequence = self.next_sequence.wrapping_add(1);
        self.next_timestamp = timestamp.wrapping_add(ticks);
        self.last = Some((now_us, timestamp));
        self.count(payload_len);
    }

    /// Books a late packet that took a free number.
    pub(super) fn count(&mut self, payload_len: usize) {
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(payload_len as u32);
    }
}
