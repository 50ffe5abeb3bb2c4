//! Why something could not be done in a chat, and how HTTP says so.

use kernel::error::codes as kernel_codes;
use kernel::limit::RetryAfter;
use kernel::{DbError, Problem, RecordError, secret::SecretError};

use super::access::Denied;
use super::model::Refused;

kernel::error_codes! {
    CHAT_CLOSED = "chat_closed", 409, "The chat is closed",
        "Nothing can be written in a room that is closed. Open it again, or open another one.";
    MESSAGE_DELETED = "message_deleted", 409, "The message was deleted",
        "A message that was taken back cannot be changed any more.";
    MESSAGE_TOO_OLD = "message_too_old", 409, "The message cannot be changed any more",
        "A message can be changed or taken back for 15 minutes after it was sent.";
    CHAT_GOES_ON = "chat_goes_on", 409, "The chat is not over",
        "How a chat was is said when it is closed.";
    NO_AGENT = "no_agent", 409, "Nobody has taken the chat",
        "A call in a chat is with whoever has taken it. Wait until somebody has, or take it.";
    AGENT_AWAY = "agent_away", 409, "Nobody can be called",
        "Whoever has taken the chat has no phone that rings at the moment.";
    CALLS_OFF = "calls_off", 403, "There are no such calls",
        "The application's setting chat_calls says which calls may be begun in its chats: off, browser, phone or both.";
}

/// Why something could not be done in a chat.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    /// The asker may not know of it, or it is not there.
    #[error("there is no such room")]
    NotFound,
    /// The asker may not do this.
    #[error("the credential may not do this")]
    Forbidden,
    /// A rule of the room or the message.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// A rule about what stands in a field, by its JSON pointer: routes call the same thing by different names.
    #[error("{1}")]
    Field(&'static str, Refused),
    /// A limit is reached.
    #[error(transparent)]
    Limit(#[from] RetryAfter),
    /// Neither a token nor the application's word is good.
    #[error("{0}")]
    Unproved(String),
    /// It was changed by others again and again in the same moment.
    #[error("the room was changed by others in the same moment; try again")]
    Busy,
    /// The store failed under a message; whether it is durable is not known. Send it again with the same `cid`.
    #[error("the store: {0}")]
    Failed(String),
    /// The application or organisation.
    #[error(transparent)]
    Org(#[from] RecordError),
    /// A secret.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The store.
    #[error("the store: {0}")]
    Db(#[from] DbError),
}

impl From<Denied> for ChatError {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::NotFound => Self::NotFound,
            Denied::Forbidden => Self::Forbidden,
        }
    }
}

impl ChatError {
    /// The field of a message that was refused, as our routes call it.
    fn field(refused: Refused) -> Option<(&'static str, &'static str)> {
        match refused {
            Refused::Empty | Refused::TooLong { .. } => Some(("/body", "invalid")),
            Refused::Author => Some(("/author", "invalid")),
            Refused::Cid => Some(("/cid", "invalid")),
            Refused::Side => Some(("/side", "invalid")),
            Refused::Kind => Some(("/kind", "invalid")),
            // An edit has a body and no kind.
            Refused::NotText => Some(("/body", "invalid")),
            Refused::NoFile => Some(("/body/file", "unknown")),
            Refused::Rating => Some(("/score", "invalid")),
            Refused::Comment => Some(("/comment", "invalid")),
            Refused::NoName => Some(("/name", "invalid")),
            Refused::Product => Some(("/product", "invalid")),
            Refused::Email => Some(("/email", "invalid")),
            Refused::FileSize { .. }
            | Refused::Closed
            | Refused::TooLarge
            | Refused::Deleted
            | Refused::TooLate
            | Refused::NotOver => None,
        }
    }
}

impl From<ChatError> for Problem {
    fn from(error: ChatError) -> Self {
        match error {
            ChatError::NotFound => Self::not_found(),
            ChatError::Forbidden => Self::new(kernel_codes::FORBIDDEN),
            ChatError::Refused(refused) => {
                let said = refused.to_string();
                match (refused, ChatError::field(refused)) {
                    (Refused::FileSize { .. }, _) => Self::new(kernel_codes::BODY_TOO_LARGE).detail(said),
                    (Refused::NotOver, _) => Self::new(CHAT_GOES_ON).detail(said),
                    (_, Some((pointer, code))) => Self::field(pointer, code, said),
                    (Refused::Deleted, _) => Self::new(MESSAGE_DELETED).detail(said),
                    (Refused::TooLate, _) => Self::new(MESSAGE_TOO_OLD).detail(said),
                    (Refused::TooLarge, _) => Self::new(kernel_codes::BODY_TOO_LARGE).detail(said),
                    _ => Self::new(CHAT_CLOSED).detail(said),
                }
            }
            ChatError::Field(pointer, refused @ Refused::TooLarge) => {
                Self::new(kernel_codes::BODY_TOO_LARGE).and(pointer, "too_long", refused.to_string())
            }
            ChatError::Field(pointer, refused) => Self::field(pointer, "invalid", refused.to_string()),
            ChatError::Limit(wait) => wait.into(),
            ChatError::Unproved(why) => Self::new(kernel_codes::UNAUTHORIZED).detail(why),
            ChatError::Busy => Self::new(kernel_codes::CONFLICT).detail(error.to_string()),
            ChatError::Org(error) => error.into(),
            ChatError::Secret(_) | ChatError::Failed(_) | ChatError::Db(_) => Self::internal(error),
        }
    }
}
