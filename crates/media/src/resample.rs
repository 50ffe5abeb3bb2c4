//! Changes the sample rate of a stream by a polyphase filter (a Kaiser-windowed sinc).
//!
//! Invariant: `n` samples in give exactly `n * to / from` samples out, counted over the whole
//! stream; between 8, 16 and 48 kHz a 20 ms frame always gives a 20 ms frame.

use std::sync::{Arc, OnceLock};

/// Filter length in samples of the slower of the two rates, on each side of the middle.
const HALF_TAPS: usize = 20;
/// Pass band as a part of the slower rate's Nyquist frequency.
const PASS_BAND: f64 = 0.95;
/// Kaiser window: about 70 dB of stop-band attenuation.
const KAISER_BETA: f64 = 7.0;
/// The longest chunk that is filtered at once, in input samples.
const CHUNK: usize = 960;

/// A streaming filter between two rates.
#[derive(Clone, Debug)]
pub struct Resampler {
    filter: Option<Filter>,
}

#[derive(Clone, Debug)]
struct Filter {
    table: Arc<Table>,
    /// The samples before the current chunk, then the chunk.
    window: Box<[f32]>,
    /// Input position of the next output sample: whole samples into the chunk, and the phase.
    position: usize,
    phase: usize,
}

/// Coefficients of one pair of rates.
#[derive(Debug)]
struct Table {
    /// Output samples per `down` input samples, both reduced.
    up: usize,
    down: usize,
    /// Taps of one phase.
    taps: usize,
    /// `up` phases of `taps` coefficients each.
    coefficients: Box<[f32]>,
}

impl Resampler {
    /// From `from` to `to` samples per second; equal rates copy.
    #[must_use]
    pub fn new(from: u32, to: u32) -> Self {
        let filter = (from != to && from > 0 && to > 0).then(|| {
            let table = Table::shared(from, to);
            let window = vec![0.0; table.taps + CHUNK].into_boxed_slice();
            Filter { table, window, position: 0, phase: 0 }
        });
        Self { filter }
    }

    /// Resamples `pcm` into `out`; the number of samples written.
    ///
    /// `out` needs room for `pcm.len() * to / from + 1` samples; what does not fit is lost.
    pub fn process(&mut self, pcm: &[i16], out: &mut [i16]) -> usize {
        let Some(filter) = &mut self.filter else {
            let len = pcm.len().min(out.len());
            for (out, &sample) in out.iter_mut().zip(pcm) {
                *out = sample;
            }
            return len;
        };
        let mut written = 0;
        for chunk in pcm.chunks(CHUNK) {
            let rest = out.get_mut(written..).unwrap_or_default();
            written += filter.process(chunk, rest);
        }
        written
    }
}

impl Filter {
    fn process(&mut self, chunk: &[i16], out: &mut [i16]) -> usize {
        let Self { table, window, position, phase } = self;
        let taps = table.taps;
        for (place, &sample) in window.iter_mut().skip(taps).zip(chunk) {
            *place = f32::from(sample);
        }
        let mut out = out.iter_mut();
        let mut written = 0;
        while *position < chunk.len() {
            let samples = window.get(*position + 1..*position + 1 + taps).unwrap_or_default();
            let coefficients = table.coefficients.get(*phase * taps..(*phase + 1) * taps).unwrap_or_default();
            if let Some(out) = out.next() {
                let exact = dot(samples, coefficients);
                // `as` saturates. `round` would be a call into the maths library for every sample.
                *out = (exact + 0.5_f32.copysign(exact)) as i16;
                written += 1;
            }
            *phase += table.down;
            *position += *phase / table.up;
            *phase %= table.up;
        }
        *position -= chunk.len();
        window.copy_within(chunk.len()..chunk.len() + taps, 0);
        written
    }
}

/// Sum of products, in eight independent sums that the compiler keeps in vector registers.
fn dot(samples: &[f32], coefficients: &[f32]) -> f32 {
    let mut sums = [0f32; 8];
    for (samples, coefficients) in samples.as_chunks::<8>().0.iter().zip(coefficients.as_chunks::<8>().0) {
        for ((sum, sample), coefficient) in sums.iter_mut().zip(samples).zip(coefficients) {
            *sum += sample * coefficient;
        }
    }
    sums.iter().sum()
}

impl Table {
    /// The table of two rates; those between 8, 16 and 48 kHz are computed once.
    fn shared(from: u32, to: u32) -> Arc<Self> {
        static TELEPHONY: [OnceLock<Arc<Table>>; 6] = [const { OnceLock::new() }; 6];
        let slot = match (from, to) {
            (8_000, 16_000) => 0,
            (16_000, 8_000) => 1,
            (8_000, 48_000) => 2,
            (48_000, 8_000) => 3,
            (16_000, 48_000) => 4,
            (48_000, 16_000) => 5,
            _ => return Arc::new(Self::compute(from, to)),
        };
        match TELEPHONY.get(slot) {
            Some(table) => Arc::clone(table.get_or_init(|| Arc::new(Self::compute(from, to)))),
            None => Arc::new(Self::compute(from, to)),
        }
    }

    fn compute(from: u32, to: u32) -> Self {
        let divisor = greatest_common_divisor(from, to);
        let (up, down) = ((to / divisor) as usize, (from / divisor) as usize);
        // The filter is as long as the slower rate demands, in input samples; a multiple of eight.
        let stretch = (f64::from(from) / f64::from(to)).max(1.0);
        let taps = ((2.0 * HALF_TAPS as f64 * stretch) as usize).next_multiple_of(8);
        let cutoff = PASS_BAND * (f64::from(to) / f64::from(from)).min(1.0);
        let middle = taps as f64 / 2.0;
        let mut coefficients = Vec::with_capacity(up * taps);
        for phase in 0..up {
            let start = coefficients.len();
            for tap in 0..taps {
                // Distance of this input sample from the output sample, in input samples.
                let distance = tap as f64 - (middle - 1.0) - phase as f64 / up as f64;
                let weight = cutoff * sinc(cutoff * distance) * kaiser(distance / middle);
                coefficients.push(weight);
            }
            // Every phase passes a constant unchanged.
            let phase = coefficients.get_mut(start..).unwrap_or_default();
            let sum: f64 = phase.iter().sum();
            phase.iter_mut().for_each(|weight| *weight /= sum);
        }
        let coefficients = coefficients.into_iter().map(|weight| weight as f32).collect();
        Self { up, down, taps, coefficients }
    }
}

fn sinc(x: f64) -> f64 {
    let x = std::f64::consts::PI * x;
    if x.abs() < 1e-9 { 1.0 } else { x.sin() / x }
}

/// The Kaiser window at `x` of its half width.
fn kaiser(x: f64) -> f64 {
    if x.abs() >= 1.0 { 0.0 } else { bessel_i0(KAISER_BETA * (1.0 - x * x).sqrt()) / bessel_i0(KAISER_BETA) }
}

/// The modified Bessel function of order zero, by its power series.
fn bessel_i0(x: f64) -> f64 {
    let quarter = x * x / 4.0;
    let terms = (1..=30).scan(1.0, |term, k| {
        *term *= quarter / f64::from(k * k);
        Some(*term)
    });
    1.0 + terms.sum::<f64>()
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame;

    const RATES: [u32; 3] = [8_000, 16_000, 48_000];

    fn sine(frequency: f64, rate: u32, seconds: f64) -> Vec<i16> {
        let step = std::f64::consts::TAU * frequency / f64::from(rate);
        (0..(seconds * f64::from(rate)) as usize).map(|n| (10_000.0 * (step * n as f64).sin()).round() as i16).collect()
    }

    fn resample(pcm: &[i16], from: u32, to: u32, chunk: usize) -> Vec<i16> {
        let mut resampler = Resampler::new(from, to);
        let mut out = Vec::new();
        let mut room = vec![0; chunk * to as usize / from as usize + 2];
        for chunk in pcm.chunks(chunk) {
            let written = resampler.process(chunk, &mut room);
            out.extend_from_slice(&room[..written]);
        }
        out
    }

    /// Amplitude of `frequency` in `pcm`, and the root mean square of everything else.
    fn spectrum(pcm: &[i16], frequency: f64, rate: u32) -> (f64, f64) {
        let step = std::f64::consts::TAU * frequency / f64::from(rate);
        let (mut re, mut im) = (0.0, 0.0);
        for (n, &sample) in pcm.iter().enumerate() {
            re += f64::from(sample) * (step * n as f64).cos();
            im += f64::from(sample) * (step * n as f64).sin();
        }
        let (re, im) = (2.0 * re / pcm.len() as f64, 2.0 * im / pcm.len() as f64);
        let rest = pcm.iter().enumerate().map(|(n, &sample)| {
            let phase = step * n as f64;
            (f64::from(sample) - re * phase.cos() - im * phase.sin()).powi(2)
        });
        (re.hypot(im), (rest.sum::<f64>() / pcm.len() as f64).sqrt())
    }

    #[test]
    fn tones_of_the_pass_band_keep_their_level_and_gain_no_others() {
        for from in RATES {
            for to in RATES {
                for frequency in [200.0, 1_000.0, 3_000.0, 3_400.0] {
                    let out = resample(&sine(frequency, from, 1.0), from, to, frame::samples(from));
                    let settled = &out[frame::samples(to) * 5..frame::samples(to) * 45];
                    let (level, rest) = spectrum(settled, frequency, to);
                    assert!((level / 10_000.0 - 1.0).abs() < 0.01, "{from} -> {to}, {frequency} Hz: {level}");
                    assert!(rest < 10.0, "{from} -> {to}, {frequency} Hz: {rest} beside the tone");
                }
            }
        }
    }

    #[test]
    fn what_the_slower_rate_cannot_carry_is_gone() {
        for (from, to, frequency) in [
            (48_000, 8_000, 4_500.0),
            (48_000, 8_000, 7_000.0),
            (48_000, 8_000, 15_000.0),
            (16_000, 8_000, 5_000.0),
            (48_000, 16_000, 9_500.0),
            (44_100, 8_000, 6_000.0),
        ] {
            let out = resample(&sine(frequency, from, 1.0), from, to, 960);
            let level = frame::rms(&out[1_000..]);
            assert!(level < 30, "{frequency} Hz, {from} -> {to}: {level}");
        }
    }

    #[test]
    fn a_frame_gives_a_frame_and_chunks_of_any_size_the_same_stream() {
        for from in RATES.into_iter().chain([22_050, 44_100]) {
            for to in RATES {
                let pcm = sine(440.0, from, 0.5);
                let whole = resample(&pcm, from, to, pcm.len());
                assert_eq!(whole.len(), (pcm.len() * to as usize).div_ceil(from as usize), "{from} -> {to}");
                for chunk in [1, 7, 160, 161, 2_000] {
                    assert_eq!(resample(&pcm, from, to, chunk), whole, "{from} -> {to} by {chunk}");
                }
                if RATES.contains(&from) {
                    let mut resampler = Resampler::new(from, to);
                    let mut out = vec![0; 961];
                    for frame in pcm.chunks_exact(frame::samples(from)) {
                        assert_eq!(resampler.process(frame, &mut out), frame::samples(to), "{from} -> {to}");
                    }
                }
            }
        }
    }

    #[test]
    fn full_scale_saturates_and_does_not_wrap() {
        let square: Vec<i16> = (0..8_000).map(|n| if n / 20 % 2 == 0 { i16::MAX } else { i16::MIN }).collect();
        let out = resample(&square, 8_000, 48_000, 160);
        for (n, pair) in out.windows(2).enumerate() {
            let jump = i32::from(pair[1]) - i32::from(pair[0]);
            assert!(jump.abs() < 40_000, "wraps at {n}: {pair:?}");
        }
    }

    #[test]
    fn too_little_room_loses_the_end_and_nothing_else() {
        let pcm = sine(440.0, 8_000, 0.02);
        let mut resampler = Resampler::new(8_000, 16_000);
        let mut out = [0; 100];
        assert_eq!(resampler.process(&pcm, &mut out), 100);
        let mut rest = [0; 320];
        assert_eq!(resampler.process(&pcm, &mut rest), 320);
    }
}
