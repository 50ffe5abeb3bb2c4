//! RTP (RFC 3550): reading and writing packets, the stream that we send, the stream that we hear.
//!
//! Invariant: a [`Sender`] is one synchronisation source for the whole call. Whatever feeds it (a prompt, a bridged leg, then another one), its SSRC
//! stays, its sequence numbers have no hole of our making and its timestamps never run backwards.

mod lock;
mod rewriter;
mod sender;
mod source;

pub use lock::{SourceLock, Trust, Verdict};
pub use rewriter::Rewriter;
pub use sender::Sender;
pub use source::Source;

use rtp_types::RtpPacket;

/// Bytes of a header without contributing sources and extensions.
pub const HEADER_BYTES: usize = 12;

/// Why a datagram is not an RTP packet, or could not become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RtpError {
    /// Not version 2, or shorter than its header claims.
    #[error("not an RTP packet")]
    Malformed,
    /// The output slice cannot hold the packet.
    #[error("the output buffer is too small")]
    BufferTooSmall,
    /// A late packet whose number is taken by now: it must be dropped.
    #[error("the packet comes too late to be forwarded")]
    Late,
}

/// One RTP packet, borrowed from its datagram. Padding, header extensions and contributing sources are skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// First packet after silence (RFC 3551, section 4.1) or first of a telephone event.
    pub marker: bool,
    /// What the payload is, by the SDP in force.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence: u16,
    /// Media time in ticks of the codec's clock.
    pub timestamp: u32,
    /// Synchronisation source.
    pub ssrc: u32,
    /// The coded audio or event.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads a datagram.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, RtpError> {
        let packet = RtpPacket::parse(datagram).map_err(|_| RtpError::Malformed)?;
        let start = packet.payload_offset();
        let end = start + packet.payload_len();
        Ok(Self {
            marker: packet.marker_bit(),
            payload_type: packet.payload_type(),
            sequence: packet.sequence_number(),
            timestamp: packet.timestamp(),
            ssrc: packet.ssrc(),
            payload: datagram.get(start..end).ok_or(RtpError::Malformed)?,
        })
    }

    /// Writes the packet; the number of bytes.
    pub fn write(&self, out: &mut [u8]) -> Result<usize, RtpError> {
        let len = HEADER_BYTES + self.payload.len();
        let out = out.get_mut(..len).ok_or(RtpError::BufferTooSmall)?;
        let (header, payload) = out.split_first_chunk_mut::<HEADER_BYTES>().ok_or(RtpError::BufferTooSmall)?;
        payload.copy_from_slice(self.payload);
        self.stamp_bare(header)?;
        Ok(len)
    }

    /// The same with a header that has nothing behind its twelve bytes but the payload.
    fn stamp_bare(&self, packet: &mut [u8]) -> Result<(), RtpError> {
        // Version 2, no padding, no extension, no contributing sources.
        *packet.first_mut().ok_or(RtpError::BufferTooSmall)? = 2 << 6;
        self.stamp(packet)
    }

    /// Writes everything but the first byte of the header over a packet that is there.
    fn stamp(&self, packet: &mut [u8]) -> Result<(), RtpError> {
        let header = packet.first_chunk_mut::<HEADER_BYTES>().ok_or(RtpError::BufferTooSmall)?;
        let [_, kind, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3] = header;
        *kind = (u8::from(self.marker) << 7) | (self.payload_type & 0x7f);
        [*s0, *s1] = self.sequence.to_be_bytes();
        [*t0, *t1, *t2, *t3] = self.timestamp.to_be_bytes();
        [*c0, *c1, *c2, *c3] = self.ssrc.to_be_bytes();
        Ok(())
    }
}

/// Bytes before the payload: the fixed header, contributing sources and an extension. None when the
/// packet is too short for what it announces. Unlike [`Packet::parse`] it reads no padding, so it
/// serves encrypted packets too.
#[must_use]
pub fn header_bytes(packet: &[u8]) -> Option<usize> {
    let first = *packet.first().filter(|first| *first >> 6 == 2)?;
    let mut end = HEADER_BYTES + usize::from(first & 0x0f) * 4;
    if first & 0x10 != 0 {
        let &[_, _, high, low] = packet.get(end..)?.first_chunk()?;
        end += 4 + usize::from(u16::from_be_bytes([high, low])) * 4;
    }
    (end <= packet.len()).then_some(end)
}

/// Whether a datagram that came to an RTP port is RTCP (RFC 5761, section 4): for ports that carry both.
#[must_use]
pub fn is_rtcp(datagram: &[u8]) -> bool {
    matches!(datagram, [first, 192..=223, ..] if first >> 6 == 2)
}

#[cfg(test)]
mod tests;
