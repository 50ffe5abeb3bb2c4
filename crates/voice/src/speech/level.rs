//! Makes every engine's speech equally loud, its pauses quiet, and its ends short.
//!
//! Invariant (contracts/platform.md): speech stands above RMS 400 and pauses below RMS 150, of 32768. We aim far from both.

use media::{frame::rms, play::Sound};

/// Windows in which loudness is measured, a second.
const WINDOWS_PER_S: u32 = 100;
/// Level of speech itself, its pauses left out: about -19 dBm0, as phones deliver it.
const SPEECH_RMS: f32 = 3_000.0;
/// No sample gets louder than this.
const PEAK: f32 = 30_000.0;
/// A window this far below the loudest ones is a pause, as a part of their level.
const PAUSE_BELOW: f32 = 0.05;
/// After levelling, windows below this are pauses too: an engine's noise floor.
const FLOOR_RMS: f32 = 160.0;
/// What is left of a pause.
const PAUSE_GAIN: f32 = 0.05;
/// Windows around speech that are kept as they are, so that no consonant is clipped.
const HOLD_WINDOWS: usize = 3;
/// Silence that is left before and behind the speech, in windows: 50 ms and 150 ms.
const LEAD_WINDOWS: usize = 5;
const TAIL_WINDOWS: usize = 15;

/// Levels, gates and trims.
pub(super) fn polish(sound: Sound) -> Sound {
    let window = (sound.rate / WINDOWS_PER_S).max(1) as usize;
    let levels: Vec<f32> = sound.pcm.chunks(window).map(|pcm| rms(pcm) as f32).collect();
    let Some(speech) = speech_level(&levels) else {
        return sound;
    };
    let loudest = sound.pcm.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(1).max(1);
    let gain = (SPEECH_RMS / speech).min(PEAK / f32::from(loudest));
    let threshold = (speech * PAUSE_BELOW).max(FLOOR_RMS / gain);
    let open = hold(&levels, threshold);
    let (Some(first), Some(last)) = (open.iter().position(|&open| open), open.iter().rposition(|&open| open)) else {
        return sound;
    };
    let (start, end) = (first.saturating_sub(LEAD_WINDOWS), last + 1 + TAIL_WINDOWS);
    let mut current = gain * PAUSE_GAIN;
    let mut pcm = Vec::with_capacity(sound.pcm.len());
    let windows = sound.pcm.chunks(window).zip(open).take(end).skip(start);
    for (samples, open) in windows {
        // From window to window the gain slides, so that a pause begins without a click.
        let target = if open { gain } else { gain * PAUSE_GAIN };
        let step = (target - current) / samples.len().max(1) as f32;
        for &sample in samples {
            current += step;
            pcm.push((f32::from(sample) * current) as i16);
        }
        current = target;
    }
    Sound { rate: sound.rate, pcm: pcm.into() }
}

/// The level of the windows that hold speech: those near the loudest. None for silence.
fn speech_level(levels: &[f32]) -> Option<f32> {
    let mut sorted: Vec<f32> = levels.to_vec();
    sorted.sort_by(f32::total_cmp);
    let loud = *sorted.get(sorted.len() * 95 / 100).filter(|&&loud| loud >= 1.0)?;
    let speech: Vec<f32> = levels.iter().copied().filter(|&level| level >= loud * 0.2).collect();
    let energy: f32 = speech.iter().map(|level| level * level).sum();
    Some((energy / speech.len() as f32).sqrt())
}

/// Which windows stay as they are: speech, and a little around it.
fn hold(levels: &[f32], threshold: f32) -> Vec<bool> {
    let mut open = vec![false; levels.len()];
    for (index, _) in levels.iter().enumerate().filter(|(_, level)| **level >= threshold) {
        let around = index.saturating_sub(HOLD_WINDOWS)..(index + HOLD_WINDOWS + 1).min(levels.len());
        open.get_mut(around).unwrap_or_default().fill(true);
    }
    open
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bursts of tone in noise: `(amplitude, ms)` each.
    fn sound(parts: &[(f32, u32)], noise: f32) -> Sound {
        let mut pcm = Vec::new();
        let mut dice = 1_u32;
        for &(amplitude, ms) in parts {
            for n in 0..ms * 16 {
                dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let hiss = ((dice >> 16) as f32 / 32_768.0 - 1.0) * noise;
                pcm.push(((n as f32 * 0.2).sin() * amplitude + hiss) as i16);
            }
        }
        Sound { rate: 16_000, pcm: pcm.into() }
    }

    fn ms(sound: &Sound, from: usize, to: usize) -> u32 {
        rms(&sound.pcm[from * 16..to * 16])
    }

    #[test]
    fn soft_and_loud_engines_come_out_alike_with_quiet_pauses() {
        for (amplitude, noise) in [(300.0, 5.0), (3_000.0, 60.0), (30_000.0, 500.0)] {
            let spoken =
                polish(sound(&[(0.0, 400), (amplitude, 500), (0.0, 500), (amplitude, 500), (0.0, 900)], noise));
            let length_ms = spoken.pcm.len() / 16;
            assert!((1_500 + 150..1_500 + 350).contains(&length_ms), "{length_ms} ms");
            assert!((2_500..=3_500).contains(&ms(&spoken, 150, 500)), "{}", ms(&spoken, 150, 500));
            assert!(ms(&spoken, 700, 1_000) < 100, "pause {}", ms(&spoken, 700, 1_000));
            assert!(ms(&spoken, 0, 20) < 100, "lead {}", ms(&spoken, 0, 20));
        }
    }

    #[test]
    fn peaks_are_not_clipped() {
        let spiky = sound(&[(500.0, 500), (20_000.0, 10), (500.0, 500)], 0.0);
        let spoken = polish(spiky);
        let loudest = spoken.pcm.iter().map(|sample| sample.unsigned_abs()).max();
        assert!(loudest <= Some(PEAK as u16), "{loudest:?}");
    }

    #[test]
    fn silence_stays_silence() {
        assert!(polish(sound(&[(0.0, 300)], 0.0)).pcm.iter().all(|&sample| sample == 0));
        assert!(polish(Sound { rate: 16_000, pcm: [].into() }).pcm.is_empty());
    }
}
