//! Says to the customer that the call is recorded, before it is: the organisation's words, heard to their end.
//! Words that cannot be had do not keep a recording from its call.

use crate::flows::machine::{Effect, Input, Sounding, Source};

/// An announcement under way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Announcing {
    sound: u64,
    play: u64,
}

impl Announcing {
    pub(crate) fn begin(words: &str, next_token: &mut u64, out: &mut Vec<Effect>) -> Self {
        *next_token += 2;
        let announcing = Self { sound: *next_token - 1, play: *next_token };
        out.push(Effect::Prepare { sound: announcing.sound, source: Source::words(words) });
        announcing
    }

    /// Takes an input in; true = it was heard, or never will be.
    pub(crate) fn on(self, input: &Input, out: &mut Vec<Effect>) -> bool {
        match input {
            Input::SoundReady { sound } if *sound == self.sound => {
                out.push(Effect::Play { play: self.play, what: Sounding::Sound(self.sound), loops: 1 });
                false
            }
            Input::SoundFailed { sound, .. } => *sound == self.sound,
            Input::PlayEnded { play } => *play == self.play,
            _ => false,
        }
    }
}
