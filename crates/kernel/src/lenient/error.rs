//! Why a body could not be read, in words that name the place.

use super::{MAX_BODY, MAX_DEPTH};

/// Why a body could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Over [`MAX_BODY`] bytes (413).
    #[error("the body is larger than {} KiB", MAX_BODY / 1024)]
    TooLarge,
    /// Not UTF-8 (400).
    #[error("the body is not UTF-8: byte {0} is the first bad one")]
    NotUtf8(usize),
    /// U+0000, raw or as an escape (400).
    #[error("U+0000 at line {line}, column {column}: no text may hold it")]
    Nul {
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
    },
    /// The same key twice in one object (400).
    #[error("the key \"{key}\" stands twice in one object (line {line}, column {column})")]
    DuplicateKey {
        /// The key.
        key: String,
        /// JSON pointer of the second one.
        pointer: String,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
    },
    /// Deeper than [`MAX_DEPTH`] (422 `limit_exceeded`).
    #[error("nested deeper than {MAX_DEPTH} levels (line {line}, column {column})")]
    TooDeep {
        /// JSON pointer of the value that is too deep.
        pointer: String,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
    },
    /// Anything else (400).
    #[error("not JSON at line {line}, column {column}: {hint}")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// What to do about it.
        hint: String,
    },
}

impl ReadError {
    /// The code of the error envelope.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge => "body_too_large",
            Self::NotUtf8(_) => "not_utf8",
            Self::Nul { .. } => "nul_character",
            Self::DuplicateKey { .. } => "duplicate_key",
            Self::TooDeep { .. } => "limit_exceeded",
            Self::Syntax { .. } => "invalid_json",
        }
    }

    /// JSON pointer of the place, as far as one is known.
    #[must_use]
    pub fn pointer(&self) -> &str {
        match self {
            Self::DuplicateKey { pointer, .. } | Self::TooDeep { pointer, .. } => pointer,
            _ => "",
        }
    }
}
