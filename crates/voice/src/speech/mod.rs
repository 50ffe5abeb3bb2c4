//! Text to sound: the `flite` program or the voice inside the binary, `espeak-ng` for other languages, a provider over
//! HTTP by configuration.
//!
//! Nothing here runs on a media thread: engines work on blocking threads or in processes of their own, few at once and
//! each with a time limit. Invariant: whatever engine spoke, the sound is 16 kHz, stands well above RMS 400 and is nearly
//! silent in its pauses (contracts/platform.md), and the same words are rendered once, then fitted to each rate once.

mod cache;
mod flite;
mod http;
mod level;
mod program;
mod wording;

use std::{path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use kernel::config::SpeechConfig;
use media::{decode, play::Sound};
use tokio::sync::Semaphore;

use cache::{Cache, Key};
use flite::EmbeddedVoice;
use http::Provider;
pub use program::Programs;

/// Longest text that is spoken in one piece, in characters: about five minutes.
pub const MAX_TEXT_CHARS: usize = 4_000;
/// Sample rate of what is spoken.
const RATE: u32 = 16_000;
/// One text may take this long, waiting for its turn included.
const TIME_LIMIT: Duration = Duration::from_secs(20);
/// Engines that may run at once.
const MAX_AT_ONCE: usize = 4;
/// What rendered speech may take in memory, in bytes.
const CACHE_BYTES: usize = 16 * 1024 * 1024;
/// The voice of the `flite` program that is understood best on a phone line.
const BEST_FLITE_VOICE: &str = "rms";

/// Why a text was not spoken. The sentences are for events and logs; they hold no part of the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpeechError {
    /// Nothing is left of the text once it is cleaned.
    #[error("there is nothing to say")]
    Empty,
    /// Longer than [`MAX_TEXT_CHARS`].
    #[error("the text is longer than {MAX_TEXT_CHARS} characters")]
    TooLong,
    /// Nothing here speaks this language.
    #[error("no engine speaks {language}: install espeak-ng or configure a provider")]
    NoVoice {
        /// The language asked for.
        language: String,
    },
    /// The engine took too long.
    #[error("speech took longer than {} s", TIME_LIMIT.as_secs())]
    Timeout,
    /// The engine failed.
    #[error("the speech engine failed: {0}")]
    Engine(String),
}

/// Speaks; cheap to clone.
#[derive(Clone)]
pub struct Speech(Arc<Studio>);

struct Studio {
    programs: Programs,
    embedded: EmbeddedVoice,
    provider: Option<Provider>,
    default_voice: Option<String>,
    scratch: PathBuf,
    cache: Cache,
    turns: Semaphore,
}

/// Which voice of this machine speaks a text.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Engine {
    /// A voice of the `flite` program.
    Flite(String),
    /// The voice inside the binary.
    Embedded,
    /// A voice or language of the `espeak-ng` program.
    Espeak(String),
}

impl Speech {
    /// Looks for the programs on this machine. `scratch` is a folder of our own for short-lived files.
    #[must_use]
    pub fn new(config: &SpeechConfig, scratch: PathBuf) -> Self {
        Self::with_programs(config, Programs::find(), scratch)
    }

    /// As [`Speech::new`], with these programs only.
    #[must_use]
    pub fn with_programs(config: &SpeechConfig, programs: Programs, scratch: PathBuf) -> Self {
        Self(Arc::new(Studio {
            programs,
            embedded: EmbeddedVoice::default(),
            provider: Provider::configured(config),
            default_voice: config.voice.clone(),
            scratch,
            cache: Cache::new(CACHE_BYTES),
            turns: Semaphore::new(MAX_AT_ONCE),
        }))
    }

    /// Speaks `text`; `voice` and `language` (a BCP 47 tag such as `de` or `pt-BR`) may be left out.
    ///
    /// A voice that nobody here has is spoken by the language's default. When the provider fails, the voices of this
    /// machine step in.
    pub async fn say(&self, text: &str, voice: Option<&str>, language: Option<&str>) -> Result<Sound, SpeechError> {
        self.say_at(text, voice, language, RATE).await
    }

    /// As [`Speech::say`], at `rate` samples per second: a leg of that rate plays it without work.
    pub async fn say_at(
        &self,
        text: &str,
        voice: Option<&str>,
        language: Option<&str>,
        rate: u32,
    ) -> Result<Sound, SpeechError> {
        // As it was written: plain characters may be more ("..." for an ellipsis), and nobody can count those.
        if text.chars().count() > MAX_TEXT_CHARS {
            return Err(SpeechError::TooLong);
        }
        let text = wording::clean(text);
        if !text.chars().any(char::is_alphanumeric) {
            return Err(SpeechError::Empty);
        }
        let key = Key { text, voice: voice.map(str::to_owned), language: language.map(str::to_owned), rate };
        let limited = tokio::time::timeout(TIME_LIMIT, self.0.cached(&key));
        limited.await.unwrap_or(Err(SpeechError::Timeout))
    }

    /// What speaks English here without a provider: for `tandem doctor`.
    #[must_use]
    pub fn programs(&self) -> &Programs {
        &self.0.programs
    }
}

impl Studio {
    async fn cached(&self, key: &Key) -> Result<Sound, SpeechError> {
        if key.rate == RATE {
            return self.cache.get_or_render(key, || self.render(key)).await;
        }
        let spoken = Key { rate: RATE, ..key.clone() };
        let fit = || async {
            let sound = self.cache.get_or_render(&spoken, || self.render(&spoken)).await?;
            let rate = key.rate;
            off_thread(move || Ok(sound.at_rate(rate))).await
        };
        self.cache.get_or_render(key, fit).await
    }

    async fn render(&self, key: &Key) -> Result<Sound, SpeechError> {
        let _turn = self.turns.acquire().await.map_err(|_| SpeechError::Timeout)?;
        let Some(provider) = &self.provider else {
            return self.render_here(key).await;
        };
        let voice = key.voice.as_deref().or(self.default_voice.as_deref());
        match provider.speak(&key.text, voice).await {
            Ok(file) => finish(file).await,
            Err(error) => {
                tracing::warn!(%error, "the speech provider failed, a voice of this machine speaks");
                self.render_here(key).await
            }
        }
    }

    async fn render_here(&self, key: &Key) -> Result<Sound, SpeechError> {
        let voice = key.voice.as_deref().or(self.default_voice.as_deref());
        match choose(&self.programs, voice, key.language.as_deref()).await? {
            Engine::Flite(voice) => finish(self.programs.run_flite(&voice, &key.text, &self.scratch).await?).await,
            Engine::Espeak(voice) => finish(self.programs.run_espeak(&voice, &key.text).await?).await,
            Engine::Embedded => {
                let (embedded, text) = (self.embedded.clone(), key.text.clone());
                off_thread(move || embedded.speak(&text)).await
            }
        }
    }
}

/// English is spoken by flite, as a program or embedded, everything else by espeak-ng.
async fn choose(programs: &Programs, voice: Option<&str>, language: Option<&str>) -> Result<Engine, SpeechError> {
    let language = language.unwrap_or("en").to_ascii_lowercase();
    if language != "en" && !language.starts_with("en-") {
        return match programs.has_espeak() && is_language_tag(&language) {
            true => Ok(Engine::Espeak(language)),
            false => Err(SpeechError::NoVoice { language }),
        };
    }
    let installed = programs.flite_voices().await;
    let has = |name: &str| installed.iter().any(|known| known == name);
    Ok(match voice {
        Some(voice) if flite::NAMES.contains(&voice) => Engine::Embedded,
        Some(voice) if has(voice) => Engine::Flite(voice.to_owned()),
        _ if has(BEST_FLITE_VOICE) => Engine::Flite(BEST_FLITE_VOICE.to_owned()),
        _ => Engine::Embedded,
    })
}

/// Letters, digits and hyphens: it becomes an argument of a program.
fn is_language_tag(tag: &str) -> bool {
    let subtags = |tag: &str| {
        tag.split('-').all(|part| (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric()))
    };
    tag.len() <= 35 && subtags(tag)
}

/// An engine's file to a sound as it should be.
async fn finish(file: Bytes) -> Result<Sound, SpeechError> {
    off_thread(move || {
        let sound = decode::decode(file, None, RATE).map_err(|error| SpeechError::Engine(error.to_string()))?;
        Ok(level::polish(sound))
    })
    .await
}

/// Runs what computes for milliseconds away from the tasks of calls.
async fn off_thread(work: impl FnOnce() -> Result<Sound, SpeechError> + Send + 'static) -> Result<Sound, SpeechError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(SpeechError::Engine(error.to_string())))
}

#[cfg(test)]
mod tests;
