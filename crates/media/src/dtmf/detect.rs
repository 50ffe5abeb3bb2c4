//! Keys heard as tones in the audio: a Goertzel filter per keypad frequency over blocks of 102 samples at 8 kHz, a digit in two blocks running.

use super::Digit;

/// Listens to one party's audio.
#[derive(Debug)]
pub struct Detector {}

impl Detector {
    /// For audio of `rate` samples per second (8, 16 or 48 kHz).
    #[must_use]
    pub fn new(rate: u32) -> Self {
        todo!("{rate}")
    }

    /// Listens to a frame; a digit once its key is released.
    pub fn listen(&mut self, pcm: &[i16]) -> Option<Digit> {
        todo!("{pcm:?}")
    }
}
