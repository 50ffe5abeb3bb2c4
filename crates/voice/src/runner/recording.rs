//! One leg's recording on its media thread: both directions as frames, in step.
//!
//! Left is what the leg sends, right what it hears, prompts included. Each goes through a jitter buffer and is pulled in the same tick, so the
//! channels stay aligned; where nothing came there is silence.

use media::bridge::Ear;
use media::codec::CodecKind;
use media::frame::{self, MAX_FRAME_SAMPLES};
use media::resample::Resampler;
use media::rtp::Packet;

use super::recorder::{RecorderFeed, Tape};

/// A recording that runs or pauses.
pub(super) struct Recording {
    tape: Tape,
    paused: bool,
    /// Hears what the leg is sent.
    outgoing: Option<Ear>,
    left: Channel,
    right: Channel,
}

impl Recording {
    /// Onto `tape`, at `rate` frames a second.
    pub(super) fn new(tape: Tape, rate: u32) -> Self {
        Self { tape, paused: false, outgoing: None, left: Channel::new(rate), right: Channel::new(rate) }
    }

    /// Leaves out what follows, or goes on.
    pub(super) fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// Takes a packet that the leg is sent, in the clear.
    pub(super) fn sent(&mut self, now_us: u64, kind: CodecKind, packet: &[u8]) {
        if self.outgoing.as_ref().is_none_or(|ear| ear.kind() != kind) {
            self.outgoing = Ear::new(kind).ok();
        }
        if let (Some(ear), Ok(packet)) = (&mut self.outgoing, Packet::parse(packet)) {
            ear.push(now_us, &packet);
        }
    }

    /// Adds this tick's frame of both directions. `incoming` is what the leg sends, with its rate.
    pub(super) fn tick(&mut self, now_us: u64, incoming: Option<(u32, &[i16])>, feed: &mut RecorderFeed) {
        let outgoing = self.outgoing.as_mut().map(|ear| (ear.kind().sample_rate(), ear.pull(now_us)));
        if self.paused {
            return;
        }
        let (left, right) = (self.left.convert(incoming), self.right.convert(outgoing));
        feed.add(&mut self.tape, left, right);
    }

    /// The tape, to be ended.
    pub(super) fn into_tape(self) -> Tape {
        self.tape
    }
}

/// Brings one direction to the file's rate.
pub(super) struct Channel {
    rate: u32,
    resampler: Option<(u32, Resampler)>,
    frame: Box<[i16]>,
}

impl Channel {
    /// For a file of `rate` frames a second.
    pub(super) fn new(rate: u32) -> Self {
        Self { rate, resampler: None, frame: vec![0; MAX_FRAME_SAMPLES + 1].into_boxed_slice() }
    }

    /// The frame of a tick, with its rate; silence when there is none.
    pub(super) fn convert(&mut self, source: Option<(u32, &[i16])>) -> &[i16] {
        let samples = frame::samples(self.rate);
        match source {
            None => self.frame.fill(0),
            Some((rate, pcm)) if rate == self.rate => {
                for (to, from) in self.frame.iter_mut().zip(pcm) {
                    *to = *from;
                }
            }
            Some((rate, pcm)) => {
                if self.resampler.as_ref().is_none_or(|(from, _)| *from != rate) {
                    self.resampler = Some((rate, Resampler::new(rate, self.rate)));
                }
                if let Some((_, resampler)) = &mut self.resampler {
                    resampler.process(pcm, &mut self.frame);
                }
            }
        }
        self.frame.get(..samples).unwrap_or_default()
    }
}
