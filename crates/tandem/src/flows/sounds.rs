//! Sounds of a flow: spoken texts and fetched files. Files are kept decoded in memory by URL and are asked for anew
//! with their ETag each time (contracts/flows.md "play"). Invariant: decoding and speaking never run on the runtime's
//! threads, a file is fetched once however many wait for it, and what is kept stays below `MAX_KEPT`.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use kernel::{Clock, Egress, EgressError, EgressRequest, EgressResponse};
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
/// How long a caller waits for a file in silence, in milliseconds. The fetching goes on: the next caller may hear it.
const WAIT_MS: i64 = 3_000;
/// Redirects that a play URL may take; each is judged anew.
const MAX_REDIRECTS: u8 = 3;

/// Why there is no sound.
#[derive(Debug, Clone, thiserror::Error)]
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
    /// It takes longer than anybody listens to silence.
    #[error("the file was not there within 3 seconds")]
    Slow,
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping,
}

impl SoundError {
    /// Whether an older copy is better than nothing: the server did not say that the file is gone.
    fn is_passing(&self) -> bool {
        match self {
            Self::Fetch(_) | Self::Slow => true,
            Self::Status(status) => matches!(status, 408 | 429 | 500..),
            Self::Speech(_) | Self::Url | Self::Decode(_) | Self::Stopping => false,
        }
    }
}

/// A file, and the rate that it is decoded to, in samples a second.
type Key = (Url, u32);
/// A fetching that any number of callers wait for.
type Flight = Shared<BoxFuture<'static, Result<Sound, SoundError>>>;

/// Gets sounds. Cheap to clone.
#[derive(Clone)]
pub struct Sounds {
    speech: Speech,
    egress: Egress,
    tasks: TaskTracker,
    clock: Clock,
    kept: Arc<Mutex<Kept>>,
    flights: Arc<Mutex<HashMap<Key, Flight>>>,
}

#[derive(Default)]
struct Kept {
    by_url: HashMap<Key, Entry>,
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
    pub fn new(speech: Speech, egress: Egress, tasks: TaskTracker, clock: Clock) -> Self {
        Self { speech, egress, tasks, clock, kept: Arc::default(), flights: Arc::default() }
    }

    /// The sound of a source; a file is decoded to `rate` samples a second.
    ///
    /// # Errors
    /// [`SoundError`].
    pub async fn get(&self, source: &Source, rate: u32) -> Result<Sound, SoundError> {
        match source {
            Source::Speech { text, .. } if text.trim().is_empty() => Ok(Sound { rate, pcm: Arc::from([]) }),
            Source::Speech { text, voice, language } => {
                Ok(self.speech.say_at(text, voice.as_deref(), language.as_deref(), rate).await?)
            }
            Source::Url(url) => self.file((Url::parse(url).map_err(|_| SoundError::Url)?, rate)).await,
        }
    }

    /// The file as it is now, or as it was when the server does not say so in time.
    async fn file(&self, key: Key) -> Result<Sound, SoundError> {
        let until_ms = self.clock.now_ms() + WAIT_MS;
        let known = self.known(&key);
        let fetched = tokio::select! {
            biased;
            fetched = self.flight(&key) => fetched,
            () = self.clock.sleep_until(until_ms) => Err(SoundError::Slow),
        };
        match (fetched, known) {
            (Err(error), Some((sound, _))) if error.is_passing() => Ok(sound),
            (fetched, _) => fetched,
        }
    }

    /// Joins who fetches this file already, or begins.
    fn flight(&self, key: &Key) -> Flight {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(key) {
            return flight.clone();
        }
        let (sounds, fetched) = (self.clone(), key.clone());
        let task = self.tasks.spawn(async move {
            let result = sounds.fetch(&fetched).await;
            sounds.flights.lock().unwrap_or_else(PoisonError::into_inner).remove(&fetched);
            result
        });
        let flight = task.map(|result| result.unwrap_or(Err(SoundError::Stopping))).boxed().shared();
        flights.insert(key.clone(), flight.clone());
        flight
    }

    async fn fetch(&self, key: &Key) -> Result<Sound, SoundError> {
        let known = self.known(key);
        let mut request = EgressRequest::new(Method::GET, key.0.clone());
        request.timeout_ms = FETCH_TIMEOUT_MS;
        request.max_body = decode::MAX_FILE_BYTES;
        request.max_redirects = MAX_REDIRECTS;
        request.headers.extend(known.as_ref().map(|(_, validator)| validator.header()));
        let answer = self.egress.send(request).await?;
        match (answer.status, known) {
            (304, Some((sound, _))) => Ok(sound),
            (200..300, _) => self.decode(key, answer).await,
            (status, _) => Err(SoundError::Status(status)),
        }
    }

    async fn decode(&self, key: &Key, answer: EgressResponse) -> Result<Sound, SoundError> {
        let validator = Validator::of(&answer);
        let hint = answer.header("content-type").map(str::to_owned);
        let rate = key.1;
        let decoding = self.tasks.spawn_blocking(move || decode::decode(answer.body, hint.as_deref(), rate));
        let sound = decoding.await.map_err(|_| SoundError::Stopping)??;
        if let Some(validator) = validator {
            self.keep(key.clone(), sound.clone(), validator);
        }
        Ok(sound)
    }

    fn known(&self, key: &Key) -> Option<(Sound, Validator)> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.uses += 1;
        let used = kept.uses;
        let entry = kept.by_url.get_mut(key)?;
        entry.used = used;
        Some((entry.sound.clone(), entry.validator.clone()))
    }

    fn keep(&self, key: Key, sound: Sound, validator: Validator) {
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

#[cfg(test)]
#[path = "sounds_tests.rs"]
mod tests;
