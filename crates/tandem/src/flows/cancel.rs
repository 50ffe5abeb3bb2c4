//! Calls a callback off (contracts/flows.md, the end): before its time, between attempts, or while the first of the two
//! rings. Invariant: it ends once, in one commit with its event and its job; two who talk are not parted.

use calls::CallError;
use kernel::DbError;
use serde_json::json;

use super::{
    Flows,
    callbacks::Callbacks,
    due::State,
    store::{self, Callback},
};

/// What its end says.
const REASON: &str = "canceled";

/// Why a callback cannot be called off.
#[derive(Debug, thiserror::Error)]
pub enum CancelError {
    /// The organisation has no such callback.
    #[error("there is no such callback")]
    NotFound,
    /// It is over.
    #[error("the callback is over")]
    Over,
    /// The two are talking.
    #[error("the two are talking")]
    Talking,
    /// What the store says.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Where whoever waits for an agent hears that the callback is called off.
pub(super) fn subject(id: &str) -> String {
    format!("callback.canceled.{id}")
}

impl Flows {
    /// Calls a callback off; whoever rings for it rings no more.
    ///
    /// # Errors
    /// There is none, it is over, the two talk, or the store fails.
    pub async fn cancel_callback(&self, org: &str, id: &str) -> Result<(), CancelError> {
        let kernel = self.kernel();
        let found = store::callback(&kernel.db, org, id).await?.ok_or(CancelError::NotFound)?;
        refuse(&found)?;
        let row = found.cancel_write(REASON, kernel.clock.now_ms());
        let data = json!({ "reason": REASON });
        let writes = Callbacks::new(self.clone()).last_writes(&found, row, "callback.missed", data).await?;
        match kernel.db.writer().commit(writes).await {
            Ok(_) => {}
            Err(DbError::Conflict) => {
                let now = store::callback(&kernel.db, org, id).await?.ok_or(CancelError::NotFound)?;
                refuse(&now)?;
                return Err(DbError::Conflict.into());
            }
            Err(error) => return Err(error.into()),
        }
        kernel.bus.publish(&subject(id), "");
        self.silence(org, id).await
    }

    /// Ends the call of the attempt that is at work, if one is.
    async fn silence(&self, org: &str, id: &str) -> Result<(), CancelError> {
        // Read again: an attempt that began before the commit has put its call there.
        let Some(now) = store::callback(&self.kernel().db, org, id).await?.filter(|now| !now.last_call.is_empty())
        else {
            return Ok(());
        };
        match self.calls().hangup(org, &now.last_call).await {
            Ok(()) | Err(CallError::NotFound) => Ok(()),
            Err(CallError::Db(error)) => Err(error.into()),
            // A hang-up knows no other one; the callback is called off whatever becomes of its call.
            Err(error) => {
                tracing::warn!(callback = id, %error, "the call of a callback that was called off goes on");
                Ok(())
            }
        }
    }
}

fn refuse(callback: &Callback) -> Result<(), CancelError> {
    match callback.state {
        State::Completed | State::Missed => Err(CancelError::Over),
        State::Connected => Err(CancelError::Talking),
        State::Scheduled | State::Calling | State::Connecting => Ok(()),
    }
}
