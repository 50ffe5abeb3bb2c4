//! Keys heard as tones in the audio, for phones that know no telephone events.
//!
//! A Goertzel filter per keypad frequency over blocks of 102 samples at 8 kHz (12.75 ms): at that
//! length each filter is as wide as ITU-T Q.24 lets a key be mistuned. Invariant: a key counts only
//! when two blocks running hear it alone, so speech that grazes a pair of tones is no digit.

use super::{COLUMNS_HZ, Digit, KEYPAD, ROWS_HZ};
use crate::resample::Resampler;

const RATE: u32 = 8_000;
/// Samples of a block.
const BLOCK: usize = 102;
/// Audio given at once is worked through in pieces of this many samples.
const PIECE: usize = 480;
/// Blocks with the same key that make a digit, and blocks without it that end one.
const BLOCKS_TO_BEGIN: u32 = 2;
const BLOCKS_TO_END: u32 = 2;
/// The softest tone heard: about -36 dBm0, as an amplitude of 32768.
const LEAST_AMPLITUDE: f32 = 350.0;
/// How much louder the column tone may be (normal twist: lines dampen high tones less than phones
/// lift them), and the row tone, as ratios of energy: 9 dB and 5 dB.
const NORMAL_TWIST: f32 = 8.0;
const REVERSE_TWIST: f32 = 3.2;
/// How far a tone stands above the others of its group, as a ratio of energy: 7 dB.
const ABOVE_THE_REST: f32 = 5.0;
/// The part of a block's energy that the two tones make up at least. Speech has more beside them.
const SHARE_OF_ALL: f32 = 0.6;
/// A tone of amplitude `a` has this times `a²` of energy in a block: `(BLOCK / 2)²`.
const ENERGY_OF_TONE: f32 = (BLOCK * BLOCK) as f32 / 4.0;

/// Listens to one party's audio.
#[derive(Debug)]
pub struct Detector {
    resampler: Resampler,
    /// One filter per row, then one per column.
    filters: [Goertzel; 8],
    energy: f32,
    filled: usize,
    /// What the last block heard, and for how many blocks running.
    heard: Option<char>,
    running: u32,
    pressed: Option<Press>,
}

#[derive(Debug)]
struct Press {
    symbol: char,
    blocks: u32,
    missed: u32,
}

#[derive(Clone, Copy, Debug)]
struct Goertzel {
    coefficient: f32,
    last: f32,
    before: f32,
}

impl Detector {
    /// For audio of `rate` samples per second.
    #[must_use]
    pub fn new(rate: u32) -> Self {
        let mut filters = [Goertzel::new(0); 8];
        for (filter, hz) in filters.iter_mut().zip(ROWS_HZ.into_iter().chain(COLUMNS_HZ)) {
            *filter = Goertzel::new(hz);
        }
        Self {
            resampler: Resampler::new(rate, RATE),
            filters,
            energy: 0.0,
            filled: 0,
            heard: None,
            running: 0,
            pressed: None,
        }
    }

    /// Listens to a frame; a digit once its key is released.
    pub fn listen(&mut self, pcm: &[i16]) -> Option<Digit> {
        let mut digit = None;
        let mut samples = [0; PIECE];
        // No rate below 8 kHz reaches us, so a piece never grows.
        for piece in pcm.chunks(PIECE) {
            let len = self.resampler.process(piece, &mut samples);
            for &sample in samples.get(..len).unwrap_or_default() {
                digit = self.hear(f32::from(sample)).or(digit);
            }
        }
        digit
    }

    fn hear(&mut self, sample: f32) -> Option<Digit> {
        for filter in &mut self.filters {
            filter.feed(sample);
        }
        self.energy += sample * sample;
        self.filled += 1;
        if self.filled < BLOCK {
            return None;
        }
        let heard = self.judge_block();
        self.filled = 0;
        self.energy = 0.0;
        self.follow(heard)
    }

    /// The key that this block holds.
    fn judge_block(&mut self) -> Option<char> {
        let energies = self.filters.each_mut().map(Goertzel::take_energy);
        let (rows, columns) = energies.split_at(ROWS_HZ.len());
        let (row, low) = loudest_alone(rows)?;
        let (column, high) = loudest_alone(columns)?;
        let least = LEAST_AMPLITUDE * LEAST_AMPLITUDE * ENERGY_OF_TONE;
        // By Parseval the two tones alone would have BLOCK / 2 times the block's energy.
        let all = self.energy * BLOCK as f32 / 2.0;
        let is_key = low > least
            && high > least
            && high < low * NORMAL_TWIST
            && low < high * REVERSE_TWIST
            && low + high > all * SHARE_OF_ALL;
        KEYPAD.get(row)?.get(column).copied().filter(|_| is_key)
    }

    fn follow(&mut self, heard: Option<char>) -> Option<Digit> {
        self.running = if heard == self.heard { self.running.saturating_add(1) } else { 1 };
        self.heard = heard;
        match &mut self.pressed {
            Some(press) if heard == Some(press.symbol) => {
                press.blocks += 1 + std::mem::take(&mut press.missed);
                return None;
            }
            Some(press) => press.missed += 1,
            None => {}
        }
        let over = |press: &mut Press| press.missed >= BLOCKS_TO_END;
        let digit = self
            .pressed
            .take_if(over)
            .map(|press| Digit { symbol: press.symbol, duration_ms: press.blocks * BLOCK as u32 * 1_000 / RATE });
        if self.pressed.is_none() && self.running >= BLOCKS_TO_BEGIN {
            self.pressed = heard.map(|symbol| Press { symbol, blocks: self.running, missed: 0 });
        }
        digit
    }
}

/// The loudest of a group and its energy, when it stands clear of the others.
fn loudest_alone(energies: &[f32]) -> Option<(usize, f32)> {
    let (index, &loudest) = energies.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1))?;
    let others = energies.iter().enumerate().filter(|(other, _)| *other != index);
    let clear = others.fold(true, |clear, (_, &energy)| clear && energy * ABOVE_THE_REST < loudest);
    clear.then_some((index, loudest))
}

impl Goertzel {
    fn new(hz: u16) -> Self {
        let angle = std::f32::consts::TAU * f32::from(hz) / RATE as f32;
        Self { coefficient: 2.0 * angle.cos(), last: 0.0, before: 0.0 }
    }

    fn feed(&mut self, sample: f32) {
        let next = sample + self.coefficient * self.last - self.before;
        self.before = self.last;
        self.last = next;
    }

    /// The energy of this frequency in the block; begins the next block.
    fn take_energy(&mut self) -> f32 {
        let energy = self.last * self.last + self.before * self.before - self.coefficient * self.last * self.before;
        self.last = 0.0;
        self.before = 0.0;
        energy
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        codec::{CodecKind, Decoder, Encoder},
        dtmf::tone_pair,
        tone::{Generator, Tone, hold_music},
    };
    use std::f64::consts::TAU;

    const KEYS: &str = "1234567890*#ABCD";

    /// A small generator of repeatable randomness.
    struct Dice(u64);

    impl Dice {
        fn throw(&mut self) -> f64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) as f64 / (1u64 << 31) as f64
        }

        fn between(&mut self, low: f64, high: f64) -> f64 {
            low + (high - low) * self.throw()
        }
    }

    fn db(value: f64) -> f64 {
        10f64.powf(value / 20.0)
    }

    /// One key as a bad line delivers it, and the silence behind it.
    struct Stroke {
        level_db: f64,
        twist_db: f64,
        mistuned: f64,
        noise_db: f64,
        on_ms: f64,
        off_ms: f64,
    }

    fn play(symbol: char, stroke: &Stroke, dice: &mut Dice) -> Vec<i16> {
        let (low, high) = tone_pair(symbol).unwrap();
        let amplitude = 32_768.0 * db(stroke.level_db);
        let (row, column) = (amplitude * db(-stroke.twist_db / 2.0), amplitude * db(stroke.twist_db / 2.0));
        let noise = amplitude * db(stroke.noise_db) * 3f64.sqrt();
        let on = (stroke.on_ms * 8.0) as usize;
        let total = on + (stroke.off_ms * 8.0) as usize;
        let start = dice.throw();
        let mut sample = |n: usize| {
            let time = n as f64 / 8_000.0;
            let wave = |hz: u16| (TAU * (f64::from(hz) * stroke.mistuned * time + start)).sin();
            let tones = if n < on { row * wave(low) + column * wave(high) } else { 0.0 };
            (tones + noise * dice.between(-1.0, 1.0)) as i16
        };
        (0..total).map(&mut sample).collect()
    }

    fn listen(pcm: &[i16], rate: u32) -> Vec<Digit> {
        let mut detector = Detector::new(rate);
        pcm.chunks(rate as usize / 50).filter_map(|frame| detector.listen(frame)).collect()
    }

    fn symbols(pcm: &[i16]) -> String {
        listen(pcm, 8_000).into_iter().map(|digit| digit.symbol).collect()
    }

    #[test]
    fn two_hundred_digits_of_bad_lines_are_found_but_for_a_few() {
        let mut dice = Dice(7);
        let mut found = 0;
        for n in 0..200 {
            let symbol = KEYS.chars().nth(n % 16).unwrap();
            let stroke = Stroke {
                level_db: dice.between(-30.0, -9.0),
                twist_db: dice.between(-4.0, 8.0),
                mistuned: dice.between(0.985, 1.015),
                noise_db: dice.between(-40.0, -15.0),
                on_ms: dice.between(45.0, 80.0),
                off_ms: dice.between(45.0, 80.0),
            };
            let mut pcm = vec![0; (dice.throw() * 200.0) as usize];
            pcm.extend(play(symbol, &stroke, &mut dice));
            pcm.extend([0; 400]);
            let heard = symbols(&pcm);
            found += usize::from(heard == symbol.to_string());
            assert!(heard.is_empty() || heard == symbol.to_string(), "{symbol} was heard as {heard}");
        }
        assert!(found >= 198, "{found} of 200");
    }

    #[test]
    fn a_number_dialled_fast_is_found_in_every_codec_and_rate() {
        for kind in CodecKind::ALL {
            let rate = kind.sample_rate();
            let (mut encoder, mut decoder) = (Encoder::new(kind).unwrap(), Decoder::new(kind).unwrap());
            let mut detector = Detector::new(rate);
            let (mut heard, mut pcm, mut payload) = (Vec::new(), [0; 5_760], [0; 1_275]);
            for symbol in KEYS.chars() {
                let mut generator = Generator::new(Tone::Key(symbol), rate);
                for frame in 0..8 {
                    let pcm_in = &mut pcm[..kind.frame_samples()];
                    pcm_in.fill(0);
                    if frame < 4 {
                        generator.fill(pcm_in);
                    }
                    let len = encoder.encode(pcm_in, &mut payload).unwrap();
                    let len = decoder.decode(&payload[..len], &mut pcm).unwrap();
                    heard.extend(detector.listen(&pcm[..len]));
                }
            }
            let symbols: String = heard.iter().map(|digit| digit.symbol).collect();
            assert_eq!(symbols, KEYS, "{kind:?}");
            for digit in heard {
                assert!((60..=110).contains(&digit.duration_ms), "{kind:?} {digit:?}");
            }
        }
    }

    #[test]
    fn a_held_key_is_one_digit_of_its_length() {
        let mut dice = Dice(1);
        let stroke =
            Stroke { level_db: -12.0, twist_db: 0.0, mistuned: 1.0, noise_db: -40.0, on_ms: 2_000.0, off_ms: 100.0 };
        let heard = listen(&play('5', &stroke, &mut dice), 8_000);
        assert_eq!(heard.len(), 1);
        assert!(heard[0].duration_ms.abs_diff(2_000) < 30, "{heard:?}");
    }

    #[test]
    fn a_click_in_a_held_key_does_not_split_it() {
        let mut dice = Dice(1);
        let stroke =
            Stroke { level_db: -12.0, twist_db: 0.0, mistuned: 1.0, noise_db: -40.0, on_ms: 300.0, off_ms: 100.0 };
        let mut pcm = play('7', &stroke, &mut dice);
        pcm[1_025..1_100].fill(20_000);
        assert_eq!(symbols(&pcm), "7");
    }

    #[test]
    fn what_is_no_key_is_no_digit() {
        let too_short =
            Stroke { level_db: -12.0, twist_db: 0.0, mistuned: 1.0, noise_db: -60.0, on_ms: 20.0, off_ms: 100.0 };
        let too_twisted = Stroke { twist_db: 14.0, on_ms: 200.0, ..too_short };
        let mistuned = Stroke { twist_db: 0.0, mistuned: 1.04, ..too_twisted };
        let too_soft = Stroke { mistuned: 1.0, level_db: -45.0, ..mistuned };
        let in_noise = Stroke { level_db: -20.0, noise_db: 0.0, ..too_soft };
        for (name, stroke) in [
            ("short", too_short),
            ("twisted", too_twisted),
            ("mistuned", mistuned),
            ("soft", too_soft),
            ("noise", in_noise),
        ] {
            let mut dice = Dice(3);
            for symbol in KEYS.chars() {
                assert_eq!(symbols(&play(symbol, &stroke, &mut dice)), "", "{symbol} too {name}");
            }
        }
    }

    #[test]
    fn noise_music_and_call_tones_are_no_digits() {
        let mut dice = Dice(9);
        let noise: Vec<i16> = (0..80_000).map(|_| dice.between(-8_000.0, 8_000.0) as i16).collect();
        assert_eq!(symbols(&noise), "");
        assert_eq!(listen(&hold_music().pcm, 16_000), []);
        for tone in [Tone::Ringback, Tone::Busy, Tone::Beep] {
            let mut pcm = vec![0; 80_000];
            Generator::new(tone, 8_000).fill(&mut pcm);
            assert_eq!(symbols(&pcm), "", "{tone:?}");
        }
    }
}
