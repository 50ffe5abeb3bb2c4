//! What was spoken already.
//!
//! Invariant: a text is rendered once at a time, however many calls want it, and all sounds together stay within the
//! limit; what was not asked for longest goes first.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use media::play::Sound;
use tokio::sync::OnceCell;

use super::SpeechError;

/// Texts that are remembered at most.
const MAX_ENTRIES: usize = 4_096;

/// What makes a sound: the words and who says them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) text: String,
    pub(super) voice: Option<String>,
    pub(super) language: Option<String>,
    /// Samples per second.
    pub(super) rate: u32,
}

/// Sounds by what made them.
pub(super) struct Cache {
    max_bytes: usize,
    shelf: Mutex<Shelf>,
}

#[derive(Default)]
struct Shelf {
    entries: HashMap<Key, Entry>,
    bytes: usize,
    /// Counts look-ups: the time by which entries are old.
    now: u64,
}

struct Entry {
    cell: Arc<OnceCell<Sound>>,
    bytes: usize,
    used: u64,
}

impl Cache {
    /// For at most `max_bytes` of samples.
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { max_bytes, shelf: Mutex::default() }
    }

    /// The sound of `key`, rendered by `render` unless it is here or on its way. A failure is not remembered.
    pub(super) async fn get_or_render<R>(&self, key: &Key, render: impl FnOnce() -> R) -> Result<Sound, SpeechError>
    where
        R: Future<Output = Result<Sound, SpeechError>>,
    {
        let cell = self.shelf().cell(key);
        let result = cell.get_or_try_init(render).await.cloned();
        match &result {
            Ok(sound) => self.shelf().keep(key, &cell, size_of_val(&*sound.pcm), self.max_bytes),
            Err(_) => self.shelf().forget(key, &cell),
        }
        result
    }

    fn shelf(&self) -> std::sync::MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf {
    fn cell(&mut self, key: &Key) -> Arc<OnceCell<Sound>> {
        self.now += 1;
        if let Some(entry) = self.entries.get_mut(key) {
            entry.used = self.now;
            return Arc::clone(&entry.cell);
        }
        while self.entries.len() >= MAX_ENTRIES {
            self.drop_oldest();
        }
        let cell = Arc::new(OnceCell::new());
        self.entries.insert(key.clone(), Entry { cell: Arc::clone(&cell), bytes: 0, used: self.now });
        cell
    }

    fn keep(&mut self, key: &Key, cell: &Arc<OnceCell<Sound>>, bytes: usize, max_bytes: usize) {
        let Some(entry) = self.entries.get_mut(key).filter(|entry| Arc::ptr_eq(&entry.cell, cell)) else {
            return;
        };
        self.bytes += bytes - std::mem::replace(&mut entry.bytes, bytes);
        while self.bytes > max_bytes && !self.entries.is_empty() {
            self.drop_oldest();
        }
    }

    fn forget(&mut self, key: &Key, cell: &Arc<OnceCell<Sound>>) {
        let same = |entry: &Entry| Arc::ptr_eq(&entry.cell, cell) && !entry.cell.initialized();
        if self.entries.get(key).is_some_and(same) {
            self.entries.remove(key);
        }
    }

    fn drop_oldest(&mut self) {
        let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used).map(|(key, _)| key.clone());
        if let Some(entry) = oldest.and_then(|key| self.entries.remove(&key)) {
            self.bytes -= entry.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn key(text: &str) -> Key {
        Key { text: text.to_owned(), voice: None, language: None, rate: 16_000 }
    }

    fn sound(samples: usize) -> Sound {
        Sound { rate: 16_000, pcm: vec![0; samples].into() }
    }

    #[tokio::test]
    async fn a_hundred_calls_at_once_render_once() {
        let cache = Arc::new(Cache::new(1_000));
        let rendered = Arc::new(AtomicUsize::new(0));
        let calls = (0..100).map(|_| {
            let (cache, rendered) = (Arc::clone(&cache), Arc::clone(&rendered));
            async move {
                let render = || async {
                    rendered.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                    Ok(sound(10))
                };
                cache.get_or_render(&key("hello"), render).await
            }
        });
        let sounds = futures_util::future::join_all(calls).await;
        assert!(sounds.iter().all(Result::is_ok));
        assert_eq!(rendered.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn the_limit_holds_and_the_least_used_goes_first() {
        let cache = Cache::new(1_000);
        let say = async |text: &str| {
            let mut rendered = false;
            let _ = cache
                .get_or_render(&key(text), || {
                    rendered = true;
                    async { Ok(sound(200)) }
                })
                .await;
            rendered
        };
        assert!(say("one").await);
        assert!(say("two").await);
        assert!(!say("one").await);
        assert!(say("three").await, "400 bytes each: two fit");
        assert!(!say("one").await);
        assert!(say("two").await, "it was used least");
        assert!(cache.shelf().bytes <= 1_000);
    }

    #[tokio::test]
    async fn a_failure_is_tried_again() {
        let cache = Cache::new(1_000);
        let failed = cache.get_or_render(&key("a"), || async { Err(SpeechError::Timeout) }).await;
        assert!(failed.is_err());
        assert_eq!(cache.shelf().entries.len(), 0);
        assert!(cache.get_or_render(&key("a"), || async { Ok(sound(1)) }).await.is_ok());
    }

    #[tokio::test]
    async fn a_sound_larger_than_the_limit_is_spoken_and_not_kept() {
        let cache = Cache::new(100);
        assert!(cache.get_or_render(&key("a"), || async { Ok(sound(1_000)) }).await.is_ok());
        let shelf = cache.shelf();
        assert_eq!((shelf.entries.len(), shelf.bytes), (0, 0));
    }
}
