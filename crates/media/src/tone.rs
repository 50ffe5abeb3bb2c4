//! Sounds that are computed: ringback, busy, beep, comfort noise, keys, and music on hold.
//!
//! Invariant: tones begin and end without a click, and the music's end joins its beginning.

use std::{
    f64::consts::TAU,
    sync::{Arc, OnceLock},
};

use crate::{dtmf::tone_pair, play::Sound};

/// Frequency of ringback and busy, in hertz (ITU-T E.180).
const CALL_PROGRESS_HZ: u16 = 425;
/// Frequency of the beep, in hertz.
const BEEP_HZ: u16 = 1_000;
/// Level of one frequency, of 32768: about -13 dBm0.
const AMPLITUDE: f64 = 5_000.0;
/// Highest sample of the comfort noise, of 32768: about -72 dBm0.
const NOISE_AMPLITUDE: i32 = 12;
/// Longer than any call, in milliseconds.
const ENDLESS_MS: u32 = u32::MAX;
/// Length of a tone's rise and fall, in milliseconds.
const RAMP_MS: u32 = 5;

/// A computed sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// The callee rings: 425 Hz, 1 s on, 4 s off (ITU-T E.180), until stopped.
    Ringback,
    /// The callee is busy: 425 Hz, half a second on and off (ITU-T E.180), until stopped.
    Busy,
    /// One beep of 1 kHz, 250 ms: speak now.
    Beep,
    /// Noise so soft that one only notices that the line is alive, until stopped.
    ComfortNoise,
    /// A key's two tones (`0`-`9`, `*`, `#`, `A`-`D`), until stopped; silence for what is no key.
    Key(char),
}

/// Computes a tone frame by frame.
#[derive(Clone, Debug)]
pub struct Generator {
    rate: u32,
    /// Zero to two frequencies, in hertz.
    frequencies: [u16; 2],
    noise: Option<u32>,
    on: u64,
    period: u64,
    repeats: bool,
    position: u64,
}

impl Generator {
    /// At `rate` samples per second.
    #[must_use]
    pub fn new(tone: Tone, rate: u32) -> Self {
        let (frequencies, on_ms, off_ms, repeats) = match tone {
            Tone::Ringback => ([CALL_PROGRESS_HZ, 0], 1_000, 4_000, true),
            Tone::Busy => ([CALL_PROGRESS_HZ, 0], 500, 500, true),
            Tone::Beep => ([BEEP_HZ, 0], 250, 0, false),
            Tone::ComfortNoise => ([0, 0], ENDLESS_MS, 0, false),
            Tone::Key(symbol) => (tone_pair(symbol).map_or([0, 0], |(low, high)| [low, high]), ENDLESS_MS, 0, false),
        };
        let samples = |ms: u32| u64::from(ms) * u64::from(rate) / 1_000;
        Self {
            rate: rate.max(1),
            frequencies,
            noise: (tone == Tone::ComfortNoise).then_some(1),
            on: samples(on_ms),
            period: samples(on_ms.saturating_add(off_ms)).max(1),
            repeats,
            position: 0,
        }
    }

    /// Fills `pcm`; false when the tone was over before it (then it is silence).
    pub fn fill(&mut self, pcm: &mut [i16]) -> bool {
        if !self.repeats && self.position >= self.on {
            pcm.fill(0);
            return false;
        }
        match &mut self.noise {
            Some(state) => pcm.iter_mut().for_each(|sample| *sample = noise(state)),
            None => pcm.iter_mut().for_each(|sample| *sample = self.next()),
        }
        true
    }

    fn next(&mut self) -> i16 {
        let at = if self.repeats { self.position % self.period } else { self.position };
        self.position += 1;
        if at >= self.on {
            return 0;
        }
        let ramp = (u64::from(RAMP_MS) * u64::from(self.rate) / 1_000).max(1);
        let envelope = (at.min(self.on - at) as f64 / ramp as f64).min(1.0);
        let seconds = at as f64 / f64::from(self.rate);
        let waves = self.frequencies.iter().filter(|&&frequency| frequency > 0);
        let sum: f64 = waves.map(|&frequency| (TAU * f64::from(frequency) * seconds).sin()).sum();
        (AMPLITUDE * envelope * sum) as i16
    }
}

/// White noise by a linear congruential generator (Numerical Recipes' constants).
fn noise(state: &mut u32) -> i16 {
    *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    let range = NOISE_AMPLITUDE * 2 + 1;
    ((state.wrapping_shr(16) as i32 % range) - NOISE_AMPLITUDE) as i16
}

/// Sample rate of the music on hold.
const MUSIC_RATE: u32 = 16_000;
/// One broken chord of the music, in seconds.
const BAR_S: f64 = 2.4;
/// The chords, one a bar, as semitones from the A at 220 Hz: bass, then the notes of the broken
/// chord. A slow turn of our own through C, A minor, F and G with added sixths and ninths.
const BARS: [[i32; 7]; 8] = [
    [-9, 3, 7, 10, 12, 10, 7],
    [-12, 0, 3, 7, 10, 7, 3],
    [-16, -4, 0, 3, 5, 3, 0],
    [-14, -2, 2, 5, 7, 5, 2],
    [-9, 3, 7, 10, 14, 10, 7],
    [-12, 0, 3, 7, 12, 7, 3],
    [-16, -4, 0, 3, 7, 5, 3],
    [-14, -2, 2, 7, 5, 2, -2],
];

/// Soft broken chords of our own, made to be looped; rendered once and shared.
#[must_use]
pub fn hold_music() -> Sound {
    static MUSIC: OnceLock<Arc<[i16]>> = OnceLock::new();
    Sound { rate: MUSIC_RATE, pcm: Arc::clone(MUSIC.get_or_init(render_music)) }
}

fn render_music() -> Arc<[i16]> {
    let bar = (BAR_S * f64::from(MUSIC_RATE)) as usize;
    let mut music = vec![0f64; bar * BARS.len()];
    for (number, [bass, notes @ ..]) in BARS.iter().enumerate() {
        let start = number * bar;
        strike(&mut music, start, *bass, 2_200.0, BAR_S);
        for (step, note) in notes.iter().enumerate() {
            strike(&mut music, start + step * bar / notes.len(), *note, 1_700.0, 1.6);
        }
    }
    music.into_iter().map(|sample| sample as i16).collect()
}

/// Adds one note that fades away; what rings past the end rings on at the beginning.
fn strike(music: &mut [f64], start: usize, semitones: i32, amplitude: f64, seconds: f64) {
    let frequency = 220.0 * (f64::from(semitones) / 12.0).exp2();
    let rate = f64::from(MUSIC_RATE);
    let len = (seconds * rate) as usize;
    let total = music.len();
    for n in 0..len {
        let time = n as f64 / rate;
        let attack = (time / 0.012).min(1.0);
        let release = ((seconds - time) / 0.2).min(1.0);
        let envelope = amplitude * attack * release * (-2.2 * time / seconds).exp();
        let phase = TAU * frequency * time;
        let wave = phase.sin() + 0.25 * (2.0 * phase).sin() + 0.08 * (3.0 * phase).sin();
        if let Some(sample) = music.get_mut((start + n) % total) {
            *sample += envelope * wave;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{self, rms};

    fn render(tone: Tone, rate: u32, seconds: usize) -> Vec<i16> {
        let mut generator = Generator::new(tone, rate);
        let mut pcm = vec![0; seconds * rate as usize];
        for frame in pcm.chunks_mut(frame::samples(rate)) {
            generator.fill(frame);
        }
        pcm
    }

    fn zero_crossings(pcm: &[i16]) -> usize {
        pcm.windows(2).filter(|pair| pair[0] < 0 && pair[1] >= 0).count()
    }

    #[test]
    fn ringback_rings_one_second_of_five() {
        for rate in [8_000, 16_000, 48_000] {
            let pcm = render(Tone::Ringback, rate, 10);
            let second = rate as usize;
            for (n, pcm) in pcm.chunks(second).enumerate() {
                let level = rms(pcm);
                assert_eq!(level > 3_000, n % 5 == 0, "second {n}: {level}");
            }
            assert!((424..=426).contains(&zero_crossings(&pcm[..second])));
        }
    }

    #[test]
    fn busy_is_half_on_half_off() {
        let pcm = render(Tone::Busy, 8_000, 2);
        let levels: Vec<_> = pcm.chunks(4_000).map(|half| rms(half) > 3_000).collect();
        assert_eq!(levels, [true, false, true, false]);
    }

    #[test]
    fn a_beep_ends_and_says_so() {
        let mut generator = Generator::new(Tone::Beep, 8_000);
        let mut pcm = [0; 160];
        let frames = std::iter::from_fn(|| generator.fill(&mut pcm).then_some(())).count();
        assert_eq!(frames, 13, "250 ms begin thirteen frames");
        assert!(pcm.iter().all(|&sample| sample == 0));
    }

    #[test]
    fn comfort_noise_is_nearly_nothing_but_never_nothing() {
        let pcm = render(Tone::ComfortNoise, 8_000, 5);
        for frame in pcm.chunks(160) {
            assert!((4..=10).contains(&rms(frame)), "{}", rms(frame));
        }
    }

    #[test]
    fn tones_begin_and_end_softly() {
        for tone in [Tone::Beep, Tone::Busy, Tone::Key('1')] {
            let pcm = render(tone, 48_000, 2);
            let steepest = pcm.windows(2).map(|pair| (i32::from(pair[1]) - i32::from(pair[0])).abs()).max();
            // At 48 kHz the steepest of these tones moves by 5000 * tau * 1633 / 48000 a sample.
            assert!(steepest < Some(2_000), "{tone:?} {steepest:?}");
        }
    }

    #[test]
    fn hold_music_is_heard_does_not_clip_and_loops() {
        let music = hold_music();
        let pcm = &music.pcm;
        assert!(pcm.iter().all(|&sample| sample.unsigned_abs() < 20_000));
        for second in pcm.chunks_exact(music.rate as usize) {
            assert!(rms(second) > 400, "{}", rms(second));
        }
        let seam = i32::from(pcm[0]) - i32::from(pcm[pcm.len() - 1]);
        let steepest = pcm.windows(2).map(|pair| (i32::from(pair[1]) - i32::from(pair[0])).abs()).max();
        assert!(Some(seam.abs()) <= steepest);
        assert!(Arc::ptr_eq(&music.pcm, &hold_music().pcm), "rendered once");
    }
}
