//! The sounds of the step that a run is in. Invariant: when the step ends, none of its sounds stays with the run, not
//! even one that arrives late.

use std::collections::HashMap;

use media::play::Sound;

/// Sounds by the machine's tokens; none = asked for.
#[derive(Default)]
pub(super) struct StepSounds(HashMap<u64, Option<Sound>>);

impl StepSounds {
    /// A step begins: nobody plays the sounds of the one before any more.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }

    /// A sound was asked for.
    pub(super) fn expect(&mut self, token: u64) {
        self.0.insert(token, None);
    }

    /// A sound is there; false when its step is over.
    pub(super) fn arrived(&mut self, token: u64, sound: Sound) -> bool {
        self.0.get_mut(&token).map(|place| *place = Some(sound)).is_some()
    }

    /// A sound has done its service.
    pub(super) fn release(&mut self, token: u64) {
        self.0.remove(&token);
    }

    pub(super) fn get(&self, token: u64) -> Option<Sound> {
        self.0.get(&token).cloned().flatten()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_menu_that_loops_keeps_the_sound_of_one_visit() {
        let pcm: Arc<[i16]> = vec![0; 160].into();
        let sound = || Sound { rate: 8_000, pcm: pcm.clone() };
        let mut sounds = StepSounds::default();
        for token in (1..100).step_by(2) {
            sounds.forget();
            sounds.expect(token);
            sounds.expect(token + 1);
            assert!(sounds.arrived(token, sound()) && sounds.get(token).is_some());
            assert!(!sounds.arrived(token.saturating_sub(1), sound()), "the step before is over");
            assert_eq!(Arc::strong_count(&pcm), 2, "this visit's alone");
        }
        sounds.forget();
        assert_eq!(Arc::strong_count(&pcm), 1);
    }
}
