//! A sentence that is spoken into memory while something else takes its time, such as a phone that rings.
//!
//! Invariant: nobody waits for it. One that is not ready when it is needed is left out.

use std::sync::{Arc, OnceLock};

use media::play::Sound;

use crate::service::Calls;

/// A sentence on its way. Cheap to clone.
#[derive(Clone, Default)]
pub struct Sentence(Arc<OnceLock<Sound>>);

impl Sentence {
    /// What is to be heard, if it is ready.
    #[must_use]
    pub fn sound(&self) -> Option<Sound> {
        self.0.get().cloned()
    }
}

impl Calls {
    /// Begins to speak a text, in the voice that speaks when none is asked for.
    #[must_use]
    pub fn sentence(&self, text: impl Into<String>) -> Sentence {
        let (sentence, text, speech) = (Sentence::default(), text.into(), self.speech().clone());
        let slot = sentence.clone();
        self.kernel().tasks.spawn(async move {
            match speech.say(&text, None, None).await {
                // Set here only, once.
                Ok(sound) => drop(slot.0.set(sound)),
                Err(error) => tracing::warn!(%error, "a sentence could not be spoken"),
            }
        });
        sentence
    }
}
