//! The voice inside the binary: flite-rs with CMU's kal at 16 kHz. English.

use std::sync::{Arc, OnceLock};

use flite_rs::Engine;
use media::play::Sound;

use super::{RATE, SpeechError, level};

/// What a step may call this voice.
pub(super) const NAMES: [&str; 2] = ["kal16", "kal"];
const VOICE: &str = "kal16";

/// Loaded at its first word, then shared.
#[derive(Clone, Default)]
pub(super) struct EmbeddedVoice(Arc<OnceLock<Option<Engine>>>);

impl EmbeddedVoice {
    /// Speaks; it computes for some milliseconds a sentence.
    pub(super) fn speak(&self, text: &str) -> Result<Sound, SpeechError> {
        let engine = self.0.get_or_init(load).as_ref();
        let engine = engine.ok_or_else(|| SpeechError::Engine("the embedded voice is damaged".into()))?;
        let audio = engine.synthesize(text);
        let mut resampler = media::resample::Resampler::new(audio.sample_rate, RATE);
        let mut pcm = vec![0; audio.samples.len() * RATE as usize / audio.sample_rate.max(1) as usize + 1];
        let len = resampler.process(&audio.samples, &mut pcm);
        pcm.truncate(len);
        Ok(level::polish(Sound { rate: RATE, pcm: pcm.into() }))
    }
}

fn load() -> Option<Engine> {
    let mut engine = Engine::try_new().ok()?;
    engine.select_voice(VOICE).then_some(engine)
}
