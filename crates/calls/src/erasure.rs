//! Erasing what is kept of a call: recordings, messages, events, who took part, the call itself.
//!
//! Invariant: a file goes before its row, as in [`crate::sweep`]; a call that is up is not erased, nor events that a
//! webhook has still to get.

use kernel::db::{DbError, Write};
use kernel::files::FilesError;
use kernel::{Kernel, Shelf, args};

use crate::records;

kernel::statements! {
    /// What was recorded of a call.
    RECORDINGS = "select id from recording where org = $1 and call = $2 order by id limit 500";
    /// Messages that were left in a call.
    MESSAGES = "select id from voicemail where org = $1 and call = $2 order by id limit 500";
    /// A recording goes.
    ERASE_RECORDING = "delete from recording where org = $1 and id = $2";
    /// A message goes.
    ERASE_MESSAGE = "delete from voicemail where org = $1 and id = $2";
    /// Who took part.
    ERASE_PARTIES = "delete from call_party where org = $1 and call = $2";
    /// What happened, as far as everybody was told.
    ERASE_EVENTS = "delete from event where org = $1 and key = $2 and position not in
        (select d.position from delivery d where d.org = $1 and d.key = $2 and d.state in ('fast', 'slow'))";
    /// The call.
    ERASE_CALL = "delete from call where org = $1 and id = $2 and ended_at is not null";
    /// Whether it is up.
    IS_UP = "select id from call where org = $1 and id = $2 and ended_at is null";
}

/// What was erased.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// Calls.
    pub calls: u64,
    /// Recordings, with their audio.
    pub recordings: u64,
    /// Messages, with their audio.
    pub messages: u64,
}

impl Erased {
    /// Both together.
    pub fn and(&mut self, other: Self) {
        self.calls += other.calls;
        self.recordings += other.recordings;
        self.messages += other.messages;
    }
}

/// Erases what is kept of a call; `more` goes with it, in the same commit. Nothing happens to a call that is up.
///
/// # Errors
/// What the store says. What was erased before that stays erased, and the call is there to be erased again.
pub async fn erase_call(kernel: &Kernel, org: &str, call: &str, more: Vec<Write>) -> Result<Erased, DbError> {
    if kernel.db.one(IS_UP, args![org, call]).await?.is_some() {
        return Ok(Erased::default());
    }
    let recordings = erase_files(kernel, Shelf::Recordings, org, call, (RECORDINGS, ERASE_RECORDING)).await?;
    let messages = erase_files(kernel, Shelf::Voicemail, org, call, (MESSAGES, ERASE_MESSAGE)).await?;
    let mut writes = more;
    writes.push(Write::new(ERASE_PARTIES, args![org, call]));
    writes.push(Write::new(ERASE_EVENTS, args![org, call]));
    writes.push(Write::new(ERASE_CALL, args![org, call]));
    let counts = kernel.db.writer().commit(writes).await?;
    Ok(Erased { calls: counts.last().copied().unwrap_or_default(), recordings, messages })
}

async fn erase_files(
    kernel: &Kernel,
    shelf: Shelf,
    org: &str,
    call: &str,
    (find, erase): (&'static str, &'static str),
) -> Result<u64, DbError> {
    let mut erased = 0;
    for row in kernel.db.all(find, args![org, call]).await? {
        let id = row.text("id")?;
        match kernel.files.delete(shelf, org, &records::file_name(&id)).await {
            Ok(()) | Err(FilesError::Missing) => erased += kernel.db.run(erase, args![org, &id]).await?,
            Err(error) => tracing::warn!(%org, %id, %error, "a file could not be erased"),
        }
    }
    Ok(erased)
}
