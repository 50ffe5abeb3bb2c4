//! Something that a leg hears played: the player of what was asked for, and the rate it plays at.

use media::frame;
use media::play::Player;
use media::tone::{self, Tone};

use crate::leg::{PlayMode, Playable};

/// Something that plays, at a rate of its own.
pub(super) struct Tune {
    player: Player,
    rate: u32,
}

impl Tune {
    /// Plays `what`, made for a leg of `rate` samples per second.
    pub(super) fn new(what: Playable, mode: PlayMode, rate: u32) -> Self {
        let player = match what {
            Playable::Sound(sound) => Player::sound(sound, mode.loops, rate),
            Playable::Ringback => Player::tone(Tone::Ringback, mode.loops, rate),
            Playable::Busy => Player::tone(Tone::Busy, mode.loops, rate),
            Playable::Beep => Player::tone(Tone::Beep, mode.loops, rate),
            Playable::HoldMusic => Player::sound(tone::hold_music(), 0, rate),
            Playable::Silence => Player::silence(),
        };
        Self { player, rate }
    }

    /// The rate of its frames.
    pub(super) fn rate(&self) -> u32 {
        self.rate
    }

    /// The next 20 ms, and whether it goes on after them.
    pub(super) fn next_frame<'a>(&mut self, frame: &'a mut [i16]) -> (&'a [i16], bool) {
        let pcm = frame.get_mut(..frame::samples(self.rate)).unwrap_or_default();
        let goes_on = self.player.next_frame(pcm);
        (pcm, goes_on)
    }
}
