//! Forwards one source's packets into another party's stream by rewriting their headers in place.
//!
//! Invariant: losses of the source stay visible as holes, everything else (a new source, a prompt in between, events taken out) leaves none. Of the
//! source's packet only its marker and its payload go on: contributing sources, header extensions (which may name a person, RFC 7941) and padding
//! were agreed with nobody on the other side, and stay here.

use super::{
    HEADER_BYTES, Packet, RtpError, header_bytes,
    sender::{Sender, Speaker},
};

/// A jump of sequence numbers beyond this is a source that started anew, not a loss (RFC 3550, appendix A.1).
const MAX_DROPOUT: i16 = 3_000;
/// A packet more than this late is a source that started anew.
const MAX_MISORDER: i16 = 100;
/// Media time may differ from real time by this much before it is taken for a new time line, in microseconds.
const MAX_TIME_SLIP_US: u64 = 2_000_000;

/// The numbering of one source inside one [`Sender`]. One per direction of a bridge.
#[derive(Debug, Default)]
pub struct Rewriter {
    anchor: Option<Anchor>,
}

/// How the source's numbers relate to ours.
#[derive(Debug)]
struct Anchor {
    ssrc: u32,
    expected: u16,
    timestamp_offset: u32,
    last_timestamp: u32,
    last_us: u64,
    turn: Speaker,
}

impl Rewriter {
    /// For a source that has not been heard yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Rewrites `datagram` in place so that it continues `sender`'s stream with `payload_type`; the bytes that are left of it.
    ///
    /// [`RtpError::Late`]: drop the packet, its place is taken.
    pub fn rewrite(
        &mut self,
        sender: &mut Sender,
        now_us: u64,
        payload_type: u8,
        datagram: &mut [u8],
    ) -> Result<usize, RtpError> {
        let packet = Packet::parse(datagram)?;
        let payload_len = packet.payload.len();
        let payload_at = header_bytes(datagram).ok_or(RtpError::Malformed)?;
        let fresh = !self.anchor.as_ref().is_some_and(|anchor| anchor.holds(sender, now_us, &packet));
        if fresh {
            self.anchor = None;
        }
        let anchor = self.anchor.get_or_insert_with(|| Anchor::at_the_end_of(sender, now_us, &packet));

        let ahead = packet.sequence.wrapping_sub(anchor.expected).cast_signed();
        let sequence = sender.next_sequence().wrapping_add_signed(ahead);
        if ahead < 0 && sequence.wrapping_sub(sender.settled()).cast_signed() < 0 {
            return Err(RtpError::Late);
        }
        let numbers = Packet {
            marker: packet.marker || fresh,
            payload_type,
            sequence,
            timestamp: packet.timestamp.wrapping_add(anchor.timestamp_offset),
            ssrc: sender.ssrc(),
            payload: &[],
        };
        if ahead < 0 {
            sender.count(payload_len);
        } else {
            anchor.expected = packet.sequence.wrapping_add(1);
            anchor.last_timestamp = packet.timestamp;
            anchor.last_us = now_us;
            sender.skip(ahead.cast_unsigned());
            sender.sent(now_us, numbers.timestamp, sender.clock_rate() / 50, payload_len);
        }
        if payload_at > HEADER_BYTES {
            datagram.copy_within(payload_at..payload_at + payload_len, HEADER_BYTES);
        }
        numbers.stamp_bare(datagram)?;
        Ok(HEADER_BYTES + payload_len)
    }

    /// Takes `packet` out of the stream: the numbers close up behind it. For telephone events, which are regenerated.
    pub fn leave_out(&mut self, sender: &mut Sender, packet: &Packet<'_>) {
        let Some(anchor) = self.anchor.as_mut() else {
            return;
        };
        let ahead = packet.sequence.wrapping_sub(anchor.expected).cast_signed();
        if anchor.ssrc == packet.ssrc && anchor.turn == sender.speaker() && (0..MAX_DROPOUT).contains(&ahead) {
            sender.skip(ahead.cast_unsigned());
            sender.settle();
            anchor.expected = packet.sequence.wrapping_add(1);
        }
    }
}

impl Anchor {
    /// The source's `packet` follows what the stream carried last, at the media time that real time demands.
    fn at_the_end_of(sender: &mut Sender, now_us: u64, packet: &Packet<'_>) -> Self {
        let live = sender.live_timestamp(now_us);
        let next = sender.next_timestamp();
        let place = if live.wrapping_sub(next).cast_signed() > 0 { live } else { next };
        Self {
            ssrc: packet.ssrc,
            expected: packet.sequence,
            timestamp_offset: place.wrapping_sub(packet.timestamp),
            last_timestamp: packet.timestamp,
            last_us: now_us,
            turn: sender.hand_over(),
        }
    }

    /// Whether `packet` goes on where this source was, with nobody else having spoken since.
    fn holds(&self, sender: &Sender, now_us: u64, packet: &Packet<'_>) -> bool {
        let ahead = packet.sequence.wrapping_sub(self.expected).cast_signed();
        let real = sender.ticks(now_us.saturating_sub(self.last_us));
        let slip = packet.timestamp.wrapping_sub(self.last_timestamp).wrapping_sub(real).cast_signed().unsigned_abs();
        self.ssrc == packet.ssrc
            && self.turn == sender.speaker()
            && (-MAX_MISORDER..MAX_DROPOUT).contains(&ahead)
            && slip < sender.ticks(MAX_TIME_SLIP_US)
    }
}
