//! Why something could not be done with a meeting.

use calls::CallError;
use kernel::limit::RetryAfter;
use kernel::{DbError, RecordError, secret::SecretError};

use super::model::Refused;

/// Why something could not be done with a meeting.
#[derive(Debug, thiserror::Error)]
pub enum MeetingError {
    /// The organisation, or the application, has no such meeting.
    #[error("there is no such meeting")]
    NotFound,
    /// The meeting is not in a state for it.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The application's hook did not allow the call.
    #[error("the application does not allow this call now")]
    Vetoed,
    /// The two have another meeting of the same order that is not over.
    #[error("the two have another meeting of this order already")]
    Taken,
    /// It was changed by others again and again in the same moment.
    #[error("the meeting was changed by others in the same moment; try again")]
    Busy,
    /// The organisation has too many calls up, or starts too many a second.
    #[error("too many calls; try again in {} s", .0.seconds)]
    Limit(RetryAfter),
    /// The server is stopping and takes no new calls.
    #[error("the server is stopping")]
    Draining,
    /// The application or organisation.
    #[error(transparent)]
    Org(#[from] RecordError),
    /// A secret.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The store.
    #[error("the store: {0}")]
    Db(#[from] DbError),
    /// The call.
    #[error(transparent)]
    Call(CallError),
}

impl From<CallError> for MeetingError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Limit(wait) => Self::Limit(wait),
            CallError::Draining => Self::Draining,
            CallError::Db(error) => Self::Db(error),
            CallError::Org(error) => Self::Org(error),
            other @ (CallError::Number(_) | CallError::NotFound | CallError::Lost(_)) => Self::Call(other),
        }
    }
}

impl MeetingError {
    /// Somebody else was faster: read again and repeat.
    pub(super) fn is_conflict(&self) -> bool {
        matches!(self, Self::Db(DbError::Conflict) | Self::Org(RecordError::Conflict))
    }
}
