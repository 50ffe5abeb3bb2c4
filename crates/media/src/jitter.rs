//! Puts the packets of one source back into order and time.

use crate::{codec::CodecKind, rtp::Packet};

/// Adaptive playout buffer with fixed storage.
#[derive(Debug)]
pub struct JitterBuffer {}

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
    /// The next packet is lost: [`crate::codec::Decoder::recover`] with `next` (the packet right after it) or `conceal`.
    Lost {
        /// The payload right behind the hole, when it is there.
        next: Option<&'a [u8]>,
    },
    /// Nothing to play: the source is silent, has not begun, or is late.
    Empty,
}

/// What has become of the packets so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JitterStats {
    /// Played.
    pub played: u64,
    /// Never came, or came too late.
    pub lost: u64,
    /// Came after their time.
    pub late: u64,
    /// Came twice.
    pub duplicate: u64,
    /// Dropped because the buffer was full, or to shorten the delay.
    pub discarded: u64,
}

impl JitterBuffer {
    /// A buffer for one codec's packets; all its memory is taken here.
    #[must_use]
    pub fn new(kind: CodecKind) -> Self {
        todo!("{kind:?}")
    }

    /// Keeps a packet.
    pub fn push(&mut self, now_us: u64, packet: &Packet<'_>) {
        todo!("{now_us} {packet:?}")
    }

    /// The next packet to play. Ask whenever the decoder's [`crate::frame::Framer`] lacks a frame, until `Empty`.
    pub fn pop(&mut self, now_us: u64) -> Popped<'_> {
        todo!("{now_us}")
    }

    /// Forgets everything: the source has changed.
    pub fn reset(&mut self) {
        todo!()
    }

    /// The delay that the buffer aims at, in microseconds.
    #[must_use]
    pub fn target_us(&self) -> u64 {
        todo!()
    }

    /// Counts since the start.
    #[must_use]
    pub fn stats(&self) -> JitterStats {
        todo!()
    }
}
