//! Sound files to PCM.

use bytes::Bytes;

use crate::play::Sound;

/// Largest file that is decoded, in bytes.
pub const MAX_FILE_BYTES: usize = 20 * 1024 * 1024;
/// Longest sound that is decoded, in seconds.
pub const MAX_SECONDS: u32 = 600;

/// Why a file gave no sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Larger than [`MAX_FILE_BYTES`].
    #[error("the file is too large")]
    TooLarge,
    /// Longer than [`MAX_SECONDS`].
    #[error("the sound is too long")]
    TooLong,
    /// No format that we know.
    #[error("unknown audio format")]
    UnknownFormat,
    /// Begins as a known format and breaks off, or holds no audio.
    #[error("damaged audio")]
    Damaged,
}

/// Decodes mp3, wav, flac, m4a/aac, Ogg Vorbis and Ogg Opus to mono PCM at `rate`. `hint` is a media type or file extension; the content decides.
pub fn decode(file: Bytes, hint: Option<&str>, rate: u32) -> Result<Sound, DecodeError> {
    todo!("{} {hint:?} {rate}", file.len())
}
