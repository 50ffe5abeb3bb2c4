//! Sums voices: everybody hears all the others and not oneself.
//!
//! Invariant: the sum is kept in 32 bits and saturates only when it is read, so the order of voices does not matter.

use crate::frame::MAX_FRAME_SAMPLES;

/// The sum of one 20 ms frame of every voice in a room.
#[derive(Debug)]
pub struct Mixer {
    sum: [i32; MAX_FRAME_SAMPLES],
    len: usize,
}

impl Mixer {
    /// A mixer for frames of `frame_samples` (capped at 960).
    #[must_use]
    pub fn new(frame_samples: usize) -> Self {
        Self {
            sum: [0; MAX_FRAME_SAMPLES],
            len: frame_samples.min(MAX_FRAME_SAMPLES),
        }
    }

    /// Begins the next frame.
    pub fn clear(&mut self) {
        self.sum.fill(0);
    }

    /// Adds one voice's frame.
    pub fn add(&mut self, pcm: &[i16]) {
        for (sum, &sample) in self.sum.iter_mut().take(self.len).zip(pcm) {
            *sum += i32::from(sample);
        }
    }

    /// Writes what somebody hears whose own frame is `own` (empty for one who only listens).
    pub fn without(&self, own: &[i16], out: &mut [i16]) {
        let own = own.iter().copied().chain(std::iter::repeat(0));
        for ((out, &sum), own) in out.iter_mut().zip(self.sum.iter().take(self.len)).zip(own) {
            *out = (sum - i32::from(own)).clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16;
        }
    }
}
