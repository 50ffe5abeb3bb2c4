//! Sounds, and what plays them to a leg frame by frame.
//!
//! Invariant: a [`Player`] gives exactly one 20 ms frame a tick at the leg's rate, until it says that the last one was given.

use std::sync::Arc;

use crate::frame::{self, Framer};
use crate::resample::Resampler;
use crate::tone::{Generator, Tone};

/// A piece of audio: mono PCM, shared by every leg that plays it.
#[derive(Clone, Debug)]
pub struct Sound {
    /// Samples per second.
    pub rate: u32,
    /// The samples.
    pub pcm: Arc<[i16]>,
}

impl Sound {
    /// Its length, in milliseconds.
    #[must_use]
    pub fn duration_ms(&self) -> u64 {
        self.pcm.len() as u64 * 1_000 / u64::from(self.rate.max(1))
    }

    /// The same at another rate, in whole frames, so that playing it to many legs of that rate filters it once. It works through the whole
    /// sound: not for a media thread.
    #[must_use]
    pub fn at_rate(&self, rate: u32) -> Self {
        if rate == self.rate {
            return self.clone();
        }
        let mut player = Player::sound(self.clone(), 1, rate);
        let mut frame = vec![0; frame::samples(rate)];
        let mut pcm = Vec::with_capacity(self.pcm.len() * rate as usize / self.rate.max(1) as usize + 2 * frame.len());
        loop {
            let goes_on = player.next_frame(&mut frame);
            pcm.extend_from_slice(&frame);
            if !goes_on {
                return Self { rate, pcm: pcm.into() };
            }
        }
    }
}

/// Plays one thing, once or many times.
#[derive(Debug)]
pub struct Player {
    source: Source,
    /// Times that are left, the present one included; none is for ever.
    rounds: Option<u32>,
}

#[derive(Debug)]
enum Source {
    Sound(Reel),
    Converted(Box<Converted>),
    Tone { tone: Tone, rate: u32, generator: Generator },
    Silence,
}

impl Player {
    /// Plays `sound` at `rate` samples per second, `loops` times (0: until stopped).
    #[must_use]
    pub fn sound(sound: Sound, loops: u32, rate: u32) -> Self {
        let from = sound.rate;
        let reel = Reel { sound, at: 0 };
        let source = if from == rate {
            Source::Sound(reel)
        } else {
            Source::Converted(Box::new(Converted::new(reel, from, rate)))
        };
        Self { source, rounds: rounds(loops) }
    }

    /// Plays a computed tone; `loops` counts only for those that end by themselves.
    #[must_use]
    pub fn tone(tone: Tone, loops: u32, rate: u32) -> Self {
        Self { source: Source::Tone { tone, rate, generator: Generator::new(tone, rate) }, rounds: rounds(loops) }
    }

    /// Plays silence until stopped.
    #[must_use]
    pub fn silence() -> Self {
        Self { source: Source::Silence, rounds: None }
    }

    /// Fills `out`, one frame long; false when this was the last frame (its rest is silence).
    pub fn next_frame(&mut self, out: &mut [i16]) -> bool {
        match &mut self.source {
            Source::Silence => {
                out.fill(0);
                true
            }
            Source::Sound(reel) => {
                let filled = reel.fill(out, &mut self.rounds);
                silence_after(out, filled);
                !reel.is_over(self.rounds)
            }
            Source::Converted(converted) => converted.next_frame(out, &mut self.rounds),
            Source::Tone { tone, rate, generator } => {
                if generator.fill(out) {
                    return true;
                }
                let goes_on = next_round(&mut self.rounds);
                if goes_on {
                    *generator = Generator::new(*tone, *rate);
                }
                goes_on
            }
        }
    }
}

fn rounds(loops: u32) -> Option<u32> {
    (loops > 0).then_some(loops)
}

/// Counts a round as played; whether another one follows.
fn next_round(rounds: &mut Option<u32>) -> bool {
    match rounds {
        None => true,
        Some(left) => {
            *left = left.saturating_sub(1);
            *left > 0
        }
    }
}

fn silence_after(out: &mut [i16], filled: usize) {
    out.get_mut(filled..).unwrap_or_default().fill(0);
}

/// A sound and the place reached in it.
#[derive(Debug)]
struct Reel {
    sound: Sound,
    at: usize,
}

impl Reel {
    /// Copies on into `out`, from the start again as often as rounds are left; the number of samples.
    fn fill(&mut self, out: &mut [i16], rounds: &mut Option<u32>) -> usize {
        let mut filled = 0;
        while filled < out.len() && !self.is_over(*rounds) {
            let rest = self.sound.pcm.get(self.at..).unwrap_or_default();
            let room = out.get_mut(filled..).unwrap_or_default();
            let samples = rest.len().min(room.len());
            for (to, from) in room.iter_mut().zip(rest) {
                *to = *from;
            }
            filled += samples;
            self.at += samples;
            if self.at >= self.sound.pcm.len() && next_round(rounds) {
                self.at = 0;
            }
        }
        filled
    }

    /// Whether nothing is left to play. A sound without samples is over at once, however often it should be played.
    fn is_over(&self, rounds: Option<u32>) -> bool {
        self.sound.pcm.is_empty() || rounds == Some(0)
    }
}

/// A sound of another rate.
#[derive(Debug)]
struct Converted {
    reel: Reel,
    resampler: Resampler,
    framer: Framer,
    /// One frame of the sound at its own rate.
    chunk: Vec<i16>,
}

impl Converted {
    fn new(reel: Reel, from: u32, to: u32) -> Self {
        Self {
            reel,
            resampler: Resampler::new(from, to),
            framer: Framer::new(to),
            chunk: vec![0; frame::samples(from).max(1)],
        }
    }

    fn next_frame(&mut self, out: &mut [i16], rounds: &mut Option<u32>) -> bool {
        while !self.framer.has_frame() && !self.reel.is_over(*rounds) {
            let filled = self.reel.fill(&mut self.chunk, rounds);
            // The last chunk is filled up with silence, which also pushes the filter's tail out.
            silence_after(&mut self.chunk, filled);
            let written = self.resampler.process(&self.chunk, self.framer.space());
            self.framer.filled(written);
        }
        if !self.framer.take(out) {
            out.fill(0);
            return false;
        }
        self.framer.has_frame() || !self.reel.is_over(*rounds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(rate: u32, samples: i16) -> Sound {
        Sound { rate, pcm: (1..=samples).collect() }
    }

    fn play_out(player: &mut Player, rate: u32, most: usize) -> (Vec<i16>, usize) {
        let mut heard = Vec::new();
        let mut out = vec![0; frame::samples(rate)];
        for frames in 1..=most {
            let more = player.next_frame(&mut out);
            heard.extend_from_slice(&out);
            if !more {
                return (heard, frames);
            }
        }
        (heard, most)
    }

    #[test]
    fn a_sound_ends_with_its_last_frame_padded_by_silence() {
        let (heard, frames) = play_out(&mut Player::sound(ramp(8_000, 200), 1, 8_000), 8_000, 10);
        assert_eq!(frames, 2);
        assert_eq!(heard.get(..200), Some(&*ramp(8_000, 200).pcm));
        assert!(heard[200..].iter().all(|&sample| sample == 0));
    }

    #[test]
    fn a_sound_of_whole_frames_has_no_empty_frame_behind_it() {
        let (_, frames) = play_out(&mut Player::sound(ramp(8_000, 320), 1, 8_000), 8_000, 10);
        assert_eq!(frames, 2);
    }

    #[test]
    fn rounds_follow_each_other_without_a_gap() {
        let (heard, frames) = play_out(&mut Player::sound(ramp(8_000, 100), 3, 8_000), 8_000, 10);
        assert_eq!(frames, 2);
        let expected: Vec<i16> = ramp(8_000, 100).pcm.repeat(3);
        assert_eq!(heard.get(..300), Some(&*expected));
    }

    #[test]
    fn zero_loops_play_until_stopped() {
        let (heard, frames) = play_out(&mut Player::sound(ramp(8_000, 160), 0, 8_000), 8_000, 100);
        assert_eq!(frames, 100);
        assert_eq!(heard.iter().filter(|&&sample| sample == 1).count(), 100);
    }

    #[test]
    fn an_empty_sound_is_over_at_once_even_for_ever() {
        for loops in [0, 1, 20] {
            let empty = Sound { rate: 16_000, pcm: Arc::new([]) };
            let (heard, frames) = play_out(&mut Player::sound(empty, loops, 8_000), 8_000, 5);
            assert_eq!((frames, heard.iter().any(|&sample| sample != 0)), (1, false));
        }
    }

    #[test]
    fn another_rate_keeps_length_and_level() {
        for (from, to) in [(16_000, 8_000), (8_000, 48_000), (22_050, 8_000), (44_100, 16_000)] {
            let level = Sound { rate: from, pcm: vec![5_000; from as usize].into() };
            let (heard, frames) = play_out(&mut Player::sound(level, 1, to), to, 100);
            assert!((50..=52).contains(&frames), "{from} to {to}: {frames} frames");
            let middle = &heard[heard.len() / 4..heard.len() / 2];
            assert!(middle.iter().all(|sample| (4_800..5_200).contains(sample)), "{from} to {to}");
        }
    }

    #[test]
    fn a_sound_at_another_rate_is_what_a_player_of_that_rate_gives() {
        let sound = ramp(16_000, 5_000);
        let (played, _) = play_out(&mut Player::sound(sound.clone(), 1, 8_000), 8_000, 100);
        let converted = sound.at_rate(8_000);
        assert_eq!((converted.rate, &*converted.pcm), (8_000, &*played));
        let same = sound.at_rate(16_000);
        assert!(Arc::ptr_eq(&same.pcm, &sound.pcm));
    }

    #[test]
    fn a_beep_is_repeated_as_often_as_asked() {
        let (_, once) = play_out(&mut Player::tone(Tone::Beep, 1, 8_000), 8_000, 1_000);
        let (_, thrice) = play_out(&mut Player::tone(Tone::Beep, 3, 8_000), 8_000, 1_000);
        assert_eq!(thrice, once * 3);
        let (_, ringback) = play_out(&mut Player::tone(Tone::Ringback, 1, 8_000), 8_000, 1_000);
        assert_eq!(ringback, 1_000);
    }
}
