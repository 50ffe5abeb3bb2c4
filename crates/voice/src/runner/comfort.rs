//! One coded frame of silence for each codec: sent now and then so that no party ever waits a second for a packet.

use media::bridge::Mouth;
use media::codec::{CodecError, CodecKind};

/// A full-band mono frame of 20 ms that codes nothing (RFC 6716, section 3.1).
const OPUS_SILENCE: [u8; 3] = [0xf8, 0xff, 0xfe];

/// Frames until an adaptive codec has settled on silence.
const SETTLING_FRAMES: usize = 10;

/// The coded frames.
pub(super) struct Comfort {
    pcmu: Box<[u8]>,
    pcma: Box<[u8]>,
    g722: Box<[u8]>,
}

impl Comfort {
    /// Codes silence once.
    pub(super) fn new() -> Result<Self, CodecError> {
        Ok(Self { pcmu: coded(CodecKind::Pcmu)?, pcma: coded(CodecKind::Pcma)?, g722: coded(CodecKind::G722)? })
    }

    /// The payload of a silent frame.
    pub(super) fn payload(&self, kind: CodecKind) -> &[u8] {
        match kind {
            CodecKind::Pcmu => &self.pcmu,
            CodecKind::Pcma => &self.pcma,
            CodecKind::G722 => &self.g722,
            CodecKind::Opus => &OPUS_SILENCE,
        }
    }
}

fn coded(kind: CodecKind) -> Result<Box<[u8]>, CodecError> {
    let mut payload = vec![0; kind.frame_samples()];
    let silence = vec![0; kind.frame_samples()];
    let mut mouth = Mouth::new(kind)?;
    let mut bytes = 0;
    for _ in 0..SETTLING_FRAMES {
        bytes = mouth.speak(kind.sample_rate(), &silence, &mut payload)?;
    }
    payload.truncate(bytes);
    Ok(payload.into_boxed_slice())
}
