//! Watches whether a party speaks: voicemail ends by it.
//!
//! Invariant: `Voice` and `Silence` alternate, and `Silence` comes once per stretch of silence.

use media::frame::{self, FRAME_MS};

/// Root mean square above which a frame counts as speech: speech stands above 400, its pauses and comfort noise below 150.
const VOICE_RMS: u32 = 280;
/// Loud frames in a row that make speech; fewer are a click.
const VOICE_FRAMES: u32 = 3;

/// What has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The party began to speak.
    Voice,
    /// The party has been silent for as long as asked.
    Silence,
}

/// The watch over one party.
#[derive(Debug)]
pub(super) struct SilenceWatch {
    after_frames: u32,
    quiet_frames: u32,
    loud_frames: u32,
    last: Option<Change>,
}

impl SilenceWatch {
    /// Tells of `after_ms` milliseconds of silence.
    pub(super) fn new(after_ms: u32) -> Self {
        Self { after_frames: after_ms.div_ceil(FRAME_MS).max(1), quiet_frames: 0, loud_frames: 0, last: None }
    }

    /// Takes the frame of a tick.
    pub(super) fn frame(&mut self, pcm: &[i16]) -> Option<Change> {
        if frame::rms(pcm) > VOICE_RMS {
            self.loud_frames += 1;
        } else {
            self.loud_frames = 0;
            self.quiet_frames = self.quiet_frames.saturating_add(1);
        }
        let change = if self.loud_frames >= VOICE_FRAMES {
            self.quiet_frames = 0;
            Change::Voice
        } else if self.quiet_frames >= self.after_frames {
            Change::Silence
        } else {
            return None;
        };
        (self.last.replace(change) != Some(change)).then_some(change)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(watch: &mut SilenceWatch, level: i16, frames: usize) -> Vec<(usize, Change)> {
        (0..frames).filter_map(|index| watch.frame(&[level; 160]).map(|change| (index, change))).collect()
    }

    #[test]
    fn speech_then_silence_are_told_once_each() {
        let mut watch = SilenceWatch::new(1_000);
        assert_eq!(feed(&mut watch, 2_000, 100), [(2, Change::Voice)]);
        assert_eq!(feed(&mut watch, 100, 200), [(49, Change::Silence)]);
        assert_eq!(feed(&mut watch, 2_000, 10), [(2, Change::Voice)]);
    }

    #[test]
    fn who_never_speaks_is_silent_too() {
        let mut watch = SilenceWatch::new(5_000);
        assert_eq!(feed(&mut watch, 0, 1_000), [(249, Change::Silence)]);
    }

    #[test]
    fn a_click_does_not_restart_the_count() {
        let mut watch = SilenceWatch::new(200);
        assert_eq!(feed(&mut watch, 0, 5), []);
        assert_eq!(feed(&mut watch, 9_000, 2), []);
        assert_eq!(feed(&mut watch, 0, 5), [(4, Change::Silence)]);
    }

    #[test]
    fn a_pause_between_words_is_no_silence() {
        let mut watch = SilenceWatch::new(1_000);
        feed(&mut watch, 2_000, 10);
        for _ in 0..20 {
            assert_eq!(feed(&mut watch, 50, 40), []);
            assert_eq!(feed(&mut watch, 2_000, 10), []);
        }
    }
}
