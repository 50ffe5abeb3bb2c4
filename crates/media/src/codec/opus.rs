//! Opus by ropus: mono, 48 kHz, 20 ms, with in-band FEC towards the other side.

use ropus::{Application, Bitrate, Channels, DecodeMode, InbandFec, Signal};

use super::CodecError;
use crate::frame::MAX_PACKET_SAMPLES;

const SAMPLE_RATE: u32 = 48_000;
/// Clear speech in full band; more only costs the other side's line.
const BITRATE: u32 = 32_000;
/// Of 10: past 5 an encoded frame costs much and a telephone hears nothing of it.
const COMPLEXITY: u8 = 5;
/// The loss that the encoder prepares its in-band copies for, in percent.
const EXPECTED_LOSS_PERCENT: u8 = 10;

/// The encoder's state.
pub(super) struct Encoder(ropus::Encoder);

impl Encoder {
    /// An encoder for speech.
    pub(super) fn new() -> Result<Self, CodecError> {
        let bitrate = Bitrate::try_bits(BITRATE).map_err(|_| CodecError::Setup)?;
        ropus::Encoder::builder(SAMPLE_RATE, Channels::Mono, Application::Voip)
            .bitrate(bitrate)
            .complexity(COMPLEXITY)
            .signal(Signal::Voice)
            .packet_loss_perc(EXPECTED_LOSS_PERCENT)
            .inband_fec(InbandFec::Enabled)
            .build()
            .map(Self)
            .map_err(|_| CodecError::Setup)
    }

    /// Encodes one frame; bytes written.
    pub(super) fn encode(&mut self, pcm: &[i16], out: &mut [u8]) -> Result<usize, CodecError> {
        self.0.encode(pcm, out).map_err(|error| match error {
            ropus::EncodeError::BufferTooSmall => CodecError::BufferTooSmall,
            _ => CodecError::Malformed,
        })
    }
}

/// The decoder's state.
pub(super) struct Decoder(ropus::Decoder);

impl Decoder {
    /// A decoder that folds stereo to mono.
    pub(super) fn new() -> Result<Self, CodecError> {
        ropus::Decoder::new(SAMPLE_RATE, Channels::Mono).map(Self).map_err(|_| CodecError::Setup)
    }

    /// Decodes one packet; samples written.
    pub(super) fn decode(&mut self, payload: &[u8], pcm: &mut [i16]) -> Result<usize, CodecError> {
        if payload.is_empty() {
            return Err(CodecError::Malformed);
        }
        let room = pcm.len().min(MAX_PACKET_SAMPLES);
        let pcm = pcm.get_mut(..room).unwrap_or_default();
        self.0.decode(payload, pcm, DecodeMode::Normal).map_err(|error| match error {
            ropus::DecodeError::BufferTooSmall => CodecError::BufferTooSmall,
            _ => CodecError::Malformed,
        })
    }

    /// Fills `frame` (20 ms) in place of a lost one: from the copy inside `next` when it carries one, else extrapolated.
    pub(super) fn replace(&mut self, next: Option<&[u8]>, frame: &mut [i16]) {
        let (payload, mode) = match next {
            Some(next) => (next, DecodeMode::Fec),
            None => (&[][..], DecodeMode::Normal),
        };
        let written = self.0.decode(payload, frame, mode).unwrap_or(0);
        frame.get_mut(written..).unwrap_or_default().fill(0);
    }
}
