//! Sounds that are played to a leg.

use std::sync::Arc;

/// A piece of audio: mono PCM, shared by every leg that plays it.
#[derive(Clone, Debug)]
pub struct Sound {
    /// Samples per second.
    pub rate: u32,
    /// The samples.
    pub pcm: Arc<[i16]>,
}
