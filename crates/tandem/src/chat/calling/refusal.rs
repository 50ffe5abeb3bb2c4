//! Why no call begins in a chat, and how HTTP says so.

use calls::CallError;
use kernel::{DbError, Problem, RecordError};

use super::super::ChatError;
use super::super::error::{AGENT_AWAY, CALLS_OFF, NO_AGENT};

/// Why no call begins.
#[derive(Debug, thiserror::Error)]
pub enum CallRefused {
    /// The room, the asker, a limit.
    #[error(transparent)]
    Chat(#[from] ChatError),
    /// The application does not want calls of this kind.
    #[error("the application takes no such calls: its setting chat_calls says which")]
    Off,
    /// Nobody has the room.
    #[error("nobody has taken this chat yet, so there is nobody to talk to")]
    NoAgent,
    /// Whoever has it has no phone that could ring.
    #[error("whoever answers this chat has no phone that rings at the moment")]
    Away,
    /// The number.
    #[error("{0}")]
    Number(&'static str),
    /// Its line.
    #[error(transparent)]
    Call(CallError),
}

impl From<CallError> for CallRefused {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Limit(wait) => Self::Chat(wait.into()),
            CallError::Db(error) => Self::Chat(error.into()),
            CallError::Org(error) => Self::Chat(error.into()),
            other => Self::Call(other),
        }
    }
}

impl From<DbError> for CallRefused {
    fn from(error: DbError) -> Self {
        Self::Chat(error.into())
    }
}

impl From<RecordError> for CallRefused {
    fn from(error: RecordError) -> Self {
        Self::Chat(error.into())
    }
}

impl From<CallRefused> for Problem {
    fn from(refused: CallRefused) -> Self {
        let said = refused.to_string();
        match refused {
            CallRefused::Chat(error) => error.into(),
            CallRefused::Off => Self::new(CALLS_OFF).detail(said),
            CallRefused::NoAgent => Self::new(NO_AGENT).detail(said),
            CallRefused::Away => Self::new(AGENT_AWAY).detail(said),
            CallRefused::Number(_) => Self::field("/phone", "not_allowed", said),
            CallRefused::Call(CallError::Draining) => Self::new(kernel::error::codes::UNAVAILABLE).retry_after(5),
            CallRefused::Call(error) => Self::internal(error),
        }
    }
}
