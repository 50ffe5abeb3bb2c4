//! The four codecs of a call, behind one encoder and one decoder type.
//!
//! Invariant: an encoder takes exactly one 20 ms frame at the codec's sample rate; a decoder writes what one RTP payload holds, at that rate, in mono.

mod conceal;
mod g711;
mod g722;
mod opus;

use crate::frame;
use conceal::Concealer;

/// Bytes that one encoded 20 ms frame may take, in any codec.
pub const MAX_PAYLOAD_BYTES: usize = 1_275;

/// A codec that a leg can speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CodecKind {
    /// G.711 mu-law, RFC 3551 section 4.5.14.
    Pcmu,
    /// G.711 A-law, RFC 3551 section 4.5.14.
    Pcma,
    /// G.722 at 64 kbit/s, RFC 3551 section 4.5.2.
    G722,
    /// Opus, RFC 7587; mono at 48 kHz on our side.
    Opus,
}

impl CodecKind {
    /// All of them, the widest band first: the order in which we offer.
    pub const ALL: [CodecKind; 4] = [CodecKind::Opus, CodecKind::G722, CodecKind::Pcmu, CodecKind::Pcma];

    /// The encoding name of an SDP `rtpmap` line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
            Self::G722 => "G722",
            Self::Opus => "opus",
        }
    }

    /// The codec of an `rtpmap` encoding name, in any case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(name))
    }

    /// The codec that a static payload type stands for without an `rtpmap` (RFC 3551, table 4).
    #[must_use]
    pub const fn from_static_payload_type(payload_type: u8) -> Option<Self> {
        match payload_type {
            0 => Some(Self::Pcmu),
            8 => Some(Self::Pcma),
            9 => Some(Self::G722),
            _ => None,
        }
    }

    /// The payload type that we offer: static where there is one, 111 for Opus.
    #[must_use]
    pub const fn payload_type(self) -> u8 {
        match self {
            Self::Pcmu => 0,
            Self::Pcma => 8,
            Self::G722 => 9,
            Self::Opus => 111,
        }
    }

    /// Ticks per second of the RTP timestamp; 8000 for G.722 by RFC 3551's historic error.
    #[must_use]
    pub const fn clock_rate(self) -> u32 {
        match self {
            Self::Pcmu | Self::Pcma | Self::G722 => 8_000,
            Self::Opus => 48_000,
        }
    }

    /// Samples per second of the PCM.
    #[must_use]
    pub const fn sample_rate(self) -> u32 {
        match self {
            Self::Pcmu | Self::Pcma => 8_000,
            Self::G722 => 16_000,
            Self::Opus => 48_000,
        }
    }

    /// Channels in the `rtpmap` line: always 2 for Opus (RFC 7587, section 7), whatever is sent.
    #[must_use]
    pub const fn sdp_channels(self) -> u8 {
        match self {
            Self::Opus => 2,
            Self::Pcmu | Self::Pcma | Self::G722 => 1,
        }
    }

    /// Samples of a 20 ms frame.
    #[must_use]
    pub const fn frame_samples(self) -> usize {
        frame::samples(self.sample_rate())
    }

    /// RTP timestamp ticks of a 20 ms frame.
    #[must_use]
    pub const fn frame_ticks(self) -> u32 {
        self.clock_rate() / 50
    }
}

/// Why audio could not be coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The output slice cannot hold the result.
    #[error("the output buffer is too small")]
    BufferTooSmall,
    /// The PCM given is not one 20 ms frame.
    #[error("not a frame of 20 ms")]
    FrameLength,
    /// The payload is not of this codec.
    #[error("the payload cannot be decoded")]
    Malformed,
    /// The codec refused to start.
    #[error("the codec cannot be set up")]
    Setup,
}

/// Turns frames into payloads.
pub struct Encoder(EncoderState);

enum EncoderState {
    Pcmu,
    Pcma,
    G722(Box<g722::Encoder>),
    Opus(Box<opus::Encoder>),
}

impl Encoder {
    /// An encoder in its initial state.
    pub fn new(kind: CodecKind) -> Result<Self, CodecError> {
        Ok(Self(match kind {
            CodecKind::Pcmu => EncoderState::Pcmu,
            CodecKind::Pcma => EncoderState::Pcma,
            CodecKind::G722 => EncoderState::G722(Box::new(g722::Encoder::new())),
            CodecKind::Opus => EncoderState::Opus(Box::new(opus::Encoder::new()?)),
        }))
    }

    /// The codec.
    #[must_use]
    pub fn kind(&self) -> CodecKind {
        match self.0 {
            EncoderState::Pcmu => CodecKind::Pcmu,
            EncoderState::Pcma => CodecKind::Pcma,
            EncoderState::G722(_) => CodecKind::G722,
            EncoderState::Opus(_) => CodecKind::Opus,
        }
    }

    /// Encodes one 20 ms frame into `out`; the number of bytes written. [`MAX_PAYLOAD_BYTES`] of room always suffice.
    pub fn encode(&mut self, pcm: &[i16], out: &mut [u8]) -> Result<usize, CodecError> {
        if pcm.len() != self.kind().frame_samples() {
            return Err(CodecError::FrameLength);
        }
        match &mut self.0 {
            EncoderState::Pcmu => g711::encode_mu_law(pcm, out),
            EncoderState::Pcma => g711::encode_a_law(pcm, out),
            EncoderState::G722(codec) => codec.encode(pcm, out),
            EncoderState::Opus(codec) => codec.encode(pcm, out),
        }
    }
}

/// Turns payloads into PCM, and lost payloads into something that does not click.
pub struct Decoder(DecoderState);

enum DecoderState {
    Pcmu(Concealer),
    Pcma(Concealer),
    G722(Box<g722::Decoder>, Concealer),
    Opus(Box<opus::Decoder>),
}

impl Decoder {
    /// A decoder in its initial state.
    pub fn new(kind: CodecKind) -> Result<Self, CodecError> {
        let concealer = || Concealer::new(kind.sample_rate());
        Ok(Self(match kind {
            CodecKind::Pcmu => DecoderState::Pcmu(concealer()),
            CodecKind::Pcma => DecoderState::Pcma(concealer()),
            CodecKind::G722 => DecoderState::G722(Box::new(g722::Decoder::new()), concealer()),
            CodecKind::Opus => DecoderState::Opus(Box::new(opus::Decoder::new()?)),
        }))
    }

    /// The codec.
    #[must_use]
    pub fn kind(&self) -> CodecKind {
        match self.0 {
            DecoderState::Pcmu(_) => CodecKind::Pcmu,
            DecoderState::Pcma(_) => CodecKind::Pcma,
            DecoderState::G722(..) => CodecKind::G722,
            DecoderState::Opus(_) => CodecKind::Opus,
        }
    }

    /// Decodes one RTP payload into `pcm`; the number of samples written, at the codec's sample rate.
    ///
    /// A packet may hold up to 120 ms: give [`frame::MAX_PACKET_SAMPLES`] of room, or take [`CodecError::BufferTooSmall`].
    pub fn decode(&mut self, payload: &[u8], pcm: &mut [i16]) -> Result<usize, CodecError> {
        let (written, concealer) = match &mut self.0 {
            DecoderState::Opus(codec) => return codec.decode(payload, pcm),
            DecoderState::Pcmu(concealer) => (g711::decode_mu_law(payload, pcm)?, concealer),
            DecoderState::Pcma(concealer) => (g711::decode_a_law(payload, pcm)?, concealer),
            DecoderState::G722(codec, concealer) => (codec.decode(payload, pcm)?, concealer),
        };
        concealer.heard(pcm.get_mut(..written).unwrap_or_default());
        Ok(written)
    }

    /// Writes one 20 ms frame that stands in for a lost one; the number of samples, 0 when `pcm` has no room for a frame.
    pub fn conceal(&mut self, pcm: &mut [i16]) -> usize {
        self.replace(None, pcm)
    }

    /// Like [`Decoder::conceal`], but the packet that follows the lost one is at hand: Opus may carry a low-rate copy of the lost frame in it.
    ///
    /// Decode `next` afterwards as usual.
    pub fn recover(&mut self, next: &[u8], pcm: &mut [i16]) -> usize {
        self.replace(Some(next), pcm)
    }

    fn replace(&mut self, next: Option<&[u8]>, pcm: &mut [i16]) -> usize {
        let samples = self.kind().frame_samples();
        let Some(frame) = pcm.get_mut(..samples) else {
            return 0;
        };
        match &mut self.0 {
            DecoderState::Opus(codec) => codec.replace(next, frame),
            DecoderState::Pcmu(concealer) | DecoderState::Pcma(concealer) | DecoderState::G722(_, concealer) => {
                concealer.conceal(frame)
            }
        }
        samples
    }
}

#[cfg(test)]
mod tests;
