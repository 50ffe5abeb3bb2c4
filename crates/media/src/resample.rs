//! Changes the sample rate of a stream.

/// A streaming polyphase filter between two rates.
#[derive(Debug)]
pub struct Resampler {}

impl Resampler {
    /// From `from` to `to` samples per second; equal rates copy.
    #[must_use]
    pub fn new(from: u32, to: u32) -> Self {
        todo!("{from} {to}")
    }

    /// Resamples `pcm` into `out`; the number of samples written. `out` needs room for `pcm.len() * to / from + 1` samples; what does not fit is lost.
    ///
    /// Between 8, 16 and 48 kHz a 20 ms frame always gives exactly a 20 ms frame.
    pub fn process(&mut self, pcm: &[i16], out: &mut [i16]) -> usize {
        todo!("{pcm:?} {}", out.len())
    }
}
