//! The transcoding half of a bridge: an ear that makes PCM of one leg's packets, and a mouth that makes another leg's payloads of it.
//!
//! Legs of one codec need neither: their headers are rewritten ([`crate::rtp::Rewriter`]). An ear also feeds recordings and detectors.
//! Invariant: pulled once a tick, an ear gives exactly one 20 ms frame, silence where nothing came.

use crate::codec::{CodecError, CodecKind, Decoder, Encoder};
use crate::frame::{self, Framer, MAX_FRAME_SAMPLES};
use crate::jitter::{JitterBuffer, Popped};
use crate::resample::Resampler;
use crate::rtp::Packet;

/// Hears one stream of packets.
pub struct Ear {
    jitter: JitterBuffer,
    decoder: Decoder,
    framer: Framer,
    frame: Box<[i16]>,
    heard: bool,
}

impl Ear {
    /// An ear for packets of `kind`.
    ///
    /// # Errors
    /// When the codec cannot be set up.
    pub fn new(kind: CodecKind) -> Result<Self, CodecError> {
        Ok(Self {
            jitter: JitterBuffer::new(kind),
            decoder: Decoder::new(kind)?,
            framer: Framer::new(kind.sample_rate()),
            frame: vec![0; kind.frame_samples()].into_boxed_slice(),
            heard: false,
        })
    }

    /// The codec it understands.
    #[must_use]
    pub fn kind(&self) -> CodecKind {
        self.decoder.kind()
    }

    /// Takes a packet.
    pub fn push(&mut self, now_us: u64, packet: &Packet<'_>) {
        self.jitter.push(now_us, packet);
    }

    /// Moves on by one tick and gives its frame, at the codec's sample rate.
    pub fn pull(&mut self, now_us: u64) -> &[i16] {
        while !self.framer.has_frame() {
            let space = self.framer.space();
            let samples = match self.jitter.pop(now_us) {
                Popped::Empty => break,
                Popped::Packet { payload, .. } => match self.decoder.decode(payload, space) {
                    Ok(samples) => samples,
                    Err(_) => self.decoder.conceal(space),
                },
                Popped::Lost { next: Some(next) } => self.decoder.recover(next, space),
                Popped::Lost { next: None } => self.decoder.conceal(space),
            };
            self.framer.filled(samples);
        }
        self.heard = self.framer.take(&mut self.frame);
        if !self.heard {
            self.frame.fill(0);
        }
        &self.frame
    }

    /// The frame of the present tick.
    #[must_use]
    pub fn frame(&self) -> &[i16] {
        &self.frame
    }

    /// Whether the present frame came from the other side, and is not silence put in its place.
    #[must_use]
    pub fn heard(&self) -> bool {
        self.heard
    }
}

/// Speaks one codec.
pub struct Mouth {
    encoder: Encoder,
    resampler: Option<(u32, Resampler)>,
    resampled: Box<[i16]>,
}

impl Mouth {
    /// A mouth for payloads of `kind`.
    ///
    /// # Errors
    /// When the codec cannot be set up.
    pub fn new(kind: CodecKind) -> Result<Self, CodecError> {
        Ok(Self { encoder: Encoder::new(kind)?, resampler: None, resampled: Box::default() })
    }

    /// The codec it speaks.
    #[must_use]
    pub fn kind(&self) -> CodecKind {
        self.encoder.kind()
    }

    /// Encodes one 20 ms frame of `rate` samples per second into `payload`; the number of bytes.
    ///
    /// # Errors
    /// When the frame is not 20 ms long or the payload has no room.
    pub fn speak(&mut self, rate: u32, pcm: &[i16], payload: &mut [u8]) -> Result<usize, CodecError> {
        let kind = self.encoder.kind();
        if rate == kind.sample_rate() {
            return self.encoder.encode(pcm, payload);
        }
        if self.resampler.as_ref().is_none_or(|(from, _)| *from != rate) {
            self.resampler = Some((rate, Resampler::new(rate, kind.sample_rate())));
            self.resampled = vec![0; MAX_FRAME_SAMPLES + 1].into_boxed_slice();
        }
        let Some((_, resampler)) = &mut self.resampler else {
            return Err(CodecError::FrameLength);
        };
        resampler.process(pcm, &mut self.resampled);
        let frame = self.resampled.get(..frame::samples(kind.sample_rate())).ok_or(CodecError::FrameLength)?;
        self.encoder.encode(frame, payload)
    }
}
