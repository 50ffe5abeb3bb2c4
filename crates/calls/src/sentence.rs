//! A sentence that is spoken into memory while something else takes its time, such as a phone that rings.
//!
//! Invariant: it is spoken once, or it cannot be had; whoever waits for it learns which.

use std::sync::Arc;

use media::play::Sound;
use tokio::sync::SetOnce;

use crate::service::Calls;

/// A sentence on its way; the default one never comes. Cheap to clone.
#[derive(Clone, Default)]
pub struct Sentence(Arc<SetOnce<Option<Sound>>>);

impl Sentence {
    /// What is to be heard, if it is ready.
    #[must_use]
    pub fn sound(&self) -> Option<Sound> {
        self.0.get().cloned().flatten()
    }

    /// What is to be heard, as soon as it is ready; none when it cannot be had.
    pub(crate) async fn spoken(&self) -> Option<Sound> {
        self.0.wait().await.clone()
    }
}

impl Calls {
    /// Begins to speak a text, in the voice that speaks when none is asked for.
    #[must_use]
    pub fn sentence(&self, text: impl Into<String>) -> Sentence {
        let (sentence, text, speech) = (Sentence::default(), text.into(), self.speech().clone());
        let slot = sentence.clone();
        self.kernel().tasks.spawn(async move {
            let spoken = speech.say(&text, None, None).await;
            let sound = spoken.inspect_err(|error| tracing::warn!(%error, "a sentence could not be spoken")).ok();
            // Set here only, once.
            drop(slot.0.set(sound));
        });
        sentence
    }
}
