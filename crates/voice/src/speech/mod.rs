//! Text to sound: the program `flite` or the voice inside the binary, `espeak-ng` for other languages, an HTTP provider by configuration.

use media::play::Sound;

/// Why a text was not spoken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpeechError {
    /// Nothing is left of the text once it is cleaned.
    #[error("nothing to say")]
    Empty,
    /// Longer than [`MAX_TEXT_CHARS`].
    #[error("the text is too long to be spoken")]
    TooLong,
    /// No installed engine speaks this voice or language.
    #[error("no engine for this voice or language")]
    NoVoice,
    /// The engine took too long.
    #[error("speech took too long")]
    Timeout,
    /// The engine failed.
    #[error("speech engine failed: {0}")]
    Engine(String),
}

/// Longest text that is spoken in one piece, in characters.
pub const MAX_TEXT_CHARS: usize = 4_000;

/// Speaks; cheap to clone.
#[derive(Clone)]
pub struct Speech {}

impl Speech {
    /// Speaks `text`; both `voice` and `language` (a BCP 47 tag such as `de` or `pt-BR`) may be left out. Cached.
    pub async fn say(
        &self,
        text: &str,
        voice: Option<&str>,
        language: Option<&str>,
    ) -> Result<Sound, SpeechError> {
        todo!("{text} {voice:?} {language:?}")
    }
}
