//! The 20 ms frame: the one unit of time of every audio path.
//!
//! Invariant: a frame of rate `r` has exactly `r / 50` samples, never more than [`MAX_FRAME_SAMPLES`].

/// Length of a frame, in milliseconds.
pub const FRAME_MS: u32 = 20;
/// Length of a frame, in microseconds.
pub const FRAME_US: u64 = 20_000;
/// Samples of a 20 ms frame at 48 kHz, the highest rate we run.
pub const MAX_FRAME_SAMPLES: usize = 960;
/// Samples that one RTP packet can decode to: 120 ms at 48 kHz (RFC 6716, section 3.2.5), and our cap for every other codec.
pub const MAX_PACKET_SAMPLES: usize = 5_760;

/// Samples of one 20 ms frame at `rate` (samples per second).
#[must_use]
pub const fn samples(rate: u32) -> usize {
    (rate / 50) as usize
}

/// Root mean square of the samples, 0 to 32768; 0 for no samples.
#[must_use]
pub fn rms(pcm: &[i16]) -> u32 {
    if pcm.is_empty() {
        return 0;
    }
    let energy: u64 = pcm.iter().map(|&sample| u64::from(sample.unsigned_abs()).pow(2)).sum();
    (energy / pcm.len() as u64).isqrt() as u32
}

/// Cuts a stream of decoded audio of any packet length into 20 ms frames.
///
/// Phones send packets of 10, 30 or 60 ms too; the consumer decodes packets into this until [`Framer::has_frame`], then takes one frame a tick.
#[derive(Debug)]
pub struct Framer {
    pcm: Box<[i16]>,
    len: usize,
    frame: usize,
}

impl Framer {
    /// A framer for audio of `rate` samples per second; holds at most one longest packet and one frame.
    #[must_use]
    pub fn new(rate: u32) -> Self {
        let frame = samples(rate);
        // 120 ms of packet on top of what a frame may have left over.
        Self { pcm: vec![0; frame * 7].into_boxed_slice(), len: 0, frame }
    }

    /// Whether a whole frame waits.
    #[must_use]
    pub fn has_frame(&self) -> bool {
        self.len >= self.frame
    }

    /// Room for a decoder to write into; tell [`Framer::filled`] how much was written.
    pub fn space(&mut self) -> &mut [i16] {
        self.pcm.get_mut(self.len..).unwrap_or_default()
    }

    /// Marks `samples` of [`Framer::space`] as written.
    pub fn filled(&mut self, samples: usize) {
        self.len = (self.len + samples).min(self.pcm.len());
    }

    /// Moves one frame into `out` (at least a frame long); false when none is complete.
    pub fn take(&mut self, out: &mut [i16]) -> bool {
        let (Some(frame), true) = (self.pcm.get(..self.frame), self.has_frame()) else {
            return false;
        };
        let Some(out) = out.get_mut(..self.frame) else {
            return false;
        };
        out.copy_from_slice(frame);
        self.pcm.copy_within(self.frame..self.len, 0);
        self.len -= self.frame;
        true
    }

    /// Forgets what is left, after a source change.
    pub fn clear(&mut self) {
        self.len = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_of_a_sine_is_its_amplitude_over_root_two() {
        let sine: Vec<i16> = (0..8_000).map(|n| (10_000.0 * (f64::from(n) * 0.1).sin()) as i16).collect();
        assert!(rms(&sine).abs_diff(7_071) < 20, "{}", rms(&sine));
        assert_eq!(rms(&[i16::MIN; 960]), 32_768);
        assert_eq!(rms(&[]), 0);
    }

    #[test]
    fn packets_of_thirty_milliseconds_become_frames_of_twenty() {
        let mut framer = Framer::new(8_000);
        let mut sample = 0_i16;
        let mut taken = Vec::new();
        let mut frame = [0; 160];
        for _ in 0..20 {
            while !framer.has_frame() {
                for place in framer.space().iter_mut().take(240) {
                    *place = sample;
                    sample += 1;
                }
                framer.filled(240);
            }
            assert!(framer.take(&mut frame));
            taken.extend_from_slice(&frame);
        }
        assert_eq!(taken, (0..3_200).collect::<Vec<_>>());
    }

    #[test]
    fn a_framer_always_has_room_for_the_longest_packet() {
        let mut framer = Framer::new(48_000);
        framer.filled(959);
        assert!(!framer.has_frame());
        assert!(framer.space().len() >= MAX_PACKET_SAMPLES);
        framer.filled(1_000_000);
        assert!(framer.space().is_empty());
        framer.clear();
        assert!(!framer.has_frame());
        assert!(!framer.take(&mut [0; 960]));
    }
}
