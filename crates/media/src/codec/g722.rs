//! G.722 at 64 kbit/s by audio-codec: 320 samples of 16 kHz to 160 bytes.

use audio_codec::{
    Decoder as _, Encoder as _,
    g722::{G722Decoder, G722Encoder},
};

use super::CodecError;

/// The sub-band encoder's state.
pub(super) struct Encoder(G722Encoder);

impl Encoder {
    /// In its initial state.
    pub(super) fn new() -> Self {
        Self(G722Encoder::new())
    }

    /// Encodes to two samples a byte; bytes written.
    pub(super) fn encode(&mut self, pcm: &[i16], out: &mut [u8]) -> Result<usize, CodecError> {
        self.0.encode_into(pcm, out).map_err(|_| CodecError::BufferTooSmall)
    }
}

/// The sub-band decoder's state.
pub(super) struct Decoder(G722Decoder);

impl Decoder {
    /// In its initial state.
    pub(super) fn new() -> Self {
        Self(G722Decoder::new())
    }

    /// Decodes to two samples a byte; samples written.
    pub(super) fn decode(&mut self, payload: &[u8], pcm: &mut [i16]) -> Result<usize, CodecError> {
        if pcm.len() < payload.len().saturating_mul(2) {
            return Err(CodecError::BufferTooSmall);
        }
        self.0.decode_into(payload, pcm).map_err(|_| CodecError::BufferTooSmall)
    }
}
