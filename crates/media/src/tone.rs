//! Sounds that are computed: ringback, busy, beep, comfort noise, keys, hold music.

use crate::play::Sound;

/// A computed sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// The callee rings: 425 Hz, 1 s on, 4 s off (ITU-T E.180).
    Ringback,
    /// The callee is busy: 425 Hz, half a second on and off (ITU-T E.180).
    Busy,
    /// One beep of 1 kHz, 250 ms: speak now.
    Beep,
    /// Noise so soft that one only notices that the line is alive.
    ComfortNoise,
    /// A key's two tones, until stopped.
    Key(char),
}

/// Computes a tone frame by frame.
#[derive(Debug)]
pub struct Generator {}

impl Generator {
    /// At `rate` samples per second.
    #[must_use]
    pub fn new(tone: Tone, rate: u32) -> Self {
        todo!("{tone:?} {rate}")
    }

    /// Fills `pcm`; false when the tone is over (the rest is silence).
    pub fn fill(&mut self, pcm: &mut [i16]) -> bool {
        todo!("{pcm:?}")
    }
}

/// A soft, slow arpeggio of our own, made to be looped; 16 kHz, rendered once and shared.
#[must_use]
pub fn hold_music() -> Sound {
    todo!()
}
