//! G.711 by audio-codec's tables: one byte a sample, no state.

use audio_codec::{
    Decoder as _, Encoder as _,
    pcma::{PcmaDecoder, PcmaEncoder},
    pcmu::{PcmuDecoder, PcmuEncoder},
};

use super::CodecError;

/// Encodes to mu-law; bytes written.
pub(super) fn encode_mu_law(pcm: &[i16], out: &mut [u8]) -> Result<usize, CodecError> {
    PcmuEncoder::new().encode_into(pcm, out).map_err(|_| CodecError::BufferTooSmall)
}

/// Encodes to A-law; bytes written.
pub(super) fn encode_a_law(pcm: &[i16], out: &mut [u8]) -> Result<usize, CodecError> {
    PcmaEncoder::new().encode_into(pcm, out).map_err(|_| CodecError::BufferTooSmall)
}

/// Decodes mu-law; samples written.
pub(super) fn decode_mu_law(payload: &[u8], pcm: &mut [i16]) -> Result<usize, CodecError> {
    PcmuDecoder::new().decode_into(payload, pcm).map_err(|_| CodecError::BufferTooSmall)
}

/// Decodes A-law; samples written.
pub(super) fn decode_a_law(payload: &[u8], pcm: &mut [i16]) -> Result<usize, CodecError> {
    PcmaDecoder::new().decode_into(payload, pcm).map_err(|_| CodecError::BufferTooSmall)
}
