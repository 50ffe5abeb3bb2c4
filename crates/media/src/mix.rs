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
        Self { sum: [0; MAX_FRAME_SAMPLES], len: frame_samples.min(MAX_FRAME_SAMPLES) }
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn everybody_hears_the_others_and_a_listener_hears_all() {
        let voices = [[100_i16; 160], [20; 160], [3; 160]];
        let mut mixer = Mixer::new(160);
        voices.iter().for_each(|voice| mixer.add(voice));
        let mut out = [0; 160];
        for (voice, expected) in voices.iter().zip([23, 103, 120]) {
            mixer.without(voice, &mut out);
            assert_eq!(out, [expected; 160]);
        }
        mixer.without(&[], &mut out);
        assert_eq!(out, [123; 160]);
        mixer.clear();
        mixer.without(&[], &mut out);
        assert_eq!(out, [0; 160]);
    }

    #[test]
    fn loud_voices_saturate_and_leave_the_quiet_one_its_share() {
        let mut mixer = Mixer::new(2);
        mixer.add(&[30_000, -30_000]);
        mixer.add(&[30_000, -30_000]);
        let mut out = [0; 2];
        mixer.without(&[], &mut out);
        assert_eq!(out, [i16::MAX, i16::MIN]);
        mixer.without(&[30_000, -30_000], &mut out);
        assert_eq!(out, [30_000, -30_000], "the sum itself was not clipped");
    }

    #[test]
    fn a_short_frame_counts_as_silence_behind_its_end() {
        let mut mixer = Mixer::new(4);
        mixer.add(&[1, 1]);
        mixer.add(&[5; 9]);
        let mut out = [9; 4];
        mixer.without(&[5], &mut out);
        assert_eq!(out, [1, 6, 5, 5]);
    }

    proptest! {
        #[test]
        fn the_order_of_voices_does_not_matter(voices in prop::collection::vec([any::<i16>(); 8], 1..50)) {
            let (mut forth, mut back) = (Mixer::new(8), Mixer::new(8));
            voices.iter().for_each(|voice| forth.add(voice));
            voices.iter().rev().for_each(|voice| back.add(voice));
            let (mut one, mut other) = ([0; 8], [0; 8]);
            forth.without(&voices[0], &mut one);
            back.without(&voices[0], &mut other);
            prop_assert_eq!(one, other);
        }
    }
}
