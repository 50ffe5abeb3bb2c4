//! Sounds of a flow: spoken texts and fetched files. Files are kept decoded in memory by URL and are asked for anew
//! with their ETag each time (contracts/flows.md "play"). Invariant: decoding and speaking never run on the runtime's
//! threads, and what is kept stays below `MAX_KEPT`.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use kernel::{Egress, EgressError, EgressRequest, EgressResponse};
use media::{
    decode::{self, DecodeError},
    play::Sound,
};
use reqwest::Method;
use tokio_util::task::TaskTracker;
use url::Url;
use voice::speech::{Speech, SpeechError};

use super::machine::Source;

/// PCM kept in memory, in bytes.
const MAX_KEPT: usize = 64 * 1024 * 1024;
/// Time for fetching a file, in milliseconds.
const FETCH_TIMEOUT_MS: u64 = 15_000;
/// Redirects that a play URL may take; each is judged anew.
const MAX_REDIRECTS: u8 = 3;

/// Why there is no sound.
#[derive(Debug, thiserror::Error)]
pub enum SoundError {
    /// The text could not be spoken.
    #[error(transparent)]
    Speech(#[from] SpeechError),
    /// The URL is none.
    #[error("not a URL")]
    Url,
    /// The file could not be fetched.
    #[error(transparent)]
    Fetch(#[from] EgressError),
    /// The server answered with this status.
    #[error("the server answered {0}")]
    Status(u16),
    /// The file is no sound.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping,
}

/// Gets sounds. Cheap to clone.
#[derive(Clone)]
pub struct Sounds {
    speech: Speech,
    egress: Egress,
    tasks: TaskTracker,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    by_url: HashMap<(Url, u32), Entry>,
    bytes: usize,
    /// Counts uses: the entry used longest ago goes first.
    uses: u64,
}

struct Entry {
    sound: Sound,
    /// ETag, or Last-Modified.
    validator: Validator,
    used: u64,
}

#[derive(Clone)]
enum Validator {
    ETag(String),
    LastModified(String),
}

impl Sounds {
    /// Gets sounds by these means.
    #[must_use]
    pub fn new(speech: Speech, egress: Egress, tasks: TaskTracker) -> Self {
        Self { speech, egress, tasks, kept: Arc::default() }
    }

    /// The sound of a source; a file is decoded to `rate` samples a second.
    ///
    /// # Errors
    /// [`SoundError`].
    pub async fn get(&self, source: &Source, rate: u32) -> Result<Sound, SoundError> {
        match source {
            Source::Speech { text, .. } if text.trim().is_empty() => Ok(Sound { rate, pcm: Arc::from([]) }),
            Source::Speech { text, voice, language } => {
                Ok(self.speech.say(text, voice.as_deref(), language.as_deref()).await?)
            }
            Source::Url(url) => self.fetch(Url::parse(url).map_err(|_| SoundError::Url)?, rate).await,
        }
    }

    async fn fetch(&self, url: Url, rate: u32) -> Result<Sound, SoundError> {
        let key = (url.clone(), rate);
        let known = self.known(&key);
        let mut request = EgressRequest::new(Method::GET, url);
        request.timeout_ms = FETCH_TIMEOUT_MS;
        request.max_body = decode::MAX_FILE_BYTES;
        request.max_redirects = MAX_REDIRECTS;
        request.headers.extend(known.as_ref().map(|(_, validator)| validator.header()));
        let answer = self.egress.send(request).await?;
        match (answer.status, known) {
            (304, Some((sound, _))) => Ok(sound),
            (200..300, _) => self.decode(key, answer, rate).await,
            (status, _) => Err(SoundError::Status(status)),
        }
    }

    async fn decode(&self, key: (Url, u32), answer: EgressResponse, rate: u32) -> Result<Sound, SoundError> {
        let validator = Validator::of(&answer);
        let hint = answer.header("content-type").map(str::to_owned);
        let decoding = self.tasks.spawn_blocking(move || decode::decode(answer.body, hint.as_deref(), rate));
        let sound = decoding.await.map_err(|_| SoundError::Stopping)??;
        if let Some(validator) = validator {
            self.keep(key, sound.clone(), validator);
        }
        Ok(sound)
    }

    fn known(&self, key: &(Url, u32)) -> Option<(Sound, Validator)> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.uses += 1;
        let used = kept.uses;
        let entry = kept.by_url.get_mut(key)?;
        entry.used = used;
        Some((entry.sound.clone(), entry.validator.clone()))
    }

    fn keep(&self, key: (Url, u32), sound: Sound, validator: Validator) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.uses += 1;
        let entry = Entry { used: kept.uses, sound, validator };
        kept.bytes += entry.bytes();
        if let Some(old) = kept.by_url.insert(key, entry) {
            kept.bytes -= old.bytes();
        }
        while kept.bytes > MAX_KEPT {
            let oldest = kept.by_url.iter().min_by_key(|(_, entry)| entry.used).map(|(key, _)| key.clone());
            let Some(entry) = oldest.and_then(|key| kept.by_url.remove(&key)) else {
                return;
            };
            kept.bytes -= entry.bytes();
        }
    }
}

impl Entry {
    fn bytes(&self) -> usize {
        size_of_val(&*self.sound.pcm)
    }
}

impl Validator {
    fn of(answer: &EgressResponse) -> Option<Self> {
        let etag = answer.header("etag").map(|tag| Self::ETag(tag.to_owned()));
        etag.or_else(|| answer.header("last-modified").map(|date| Self::LastModified(date.to_owned())))
    }

    fn header(&self) -> (String, String) {
        match self {
            Self::ETag(tag) => ("If-None-Match".to_owned(), tag.clone()),
            Self::LastModified(date) => ("If-Modified-Since".to_owned(), date.clone()),
        }
    }
}
