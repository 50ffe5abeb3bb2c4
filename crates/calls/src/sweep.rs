//! Forgetting recordings and messages after the days that their organisation keeps them.
//!
//! Invariant: a file goes before its row, so that a crash in between leaves a row to try again, never
//! a file that nobody knows of.

use std::sync::Arc;

use kernel::db::DbError;
use kernel::files::FilesError;
use kernel::retention::{RowSweep, Sweep};
use kernel::{Kernel, Shelf, args};
use voice::ports::BoxFuture;

use crate::records;

/// Rows at a time.
const PORTION: usize = 200;

kernel::statements! {
    /// Recordings that are older than they may get.
    OLD_RECORDINGS = "select id from recording where org = $1 and started_at < $2 and state <> 'recording' order by id limit 200";
    /// One of them goes.
    FORGET_RECORDING = "delete from recording where org = $1 and id = $2";
    /// Messages that are older than they may get.
    OLD_MESSAGES = "select id from voicemail where org = $1 and left_at < $2 and state <> 'recording' order by id limit 200";
    /// One of them goes.
    FORGET_MESSAGE = "delete from voicemail where org = $1 and id = $2";
    /// Calls that ended before a time; one whose recording is kept stays with it.
    FORGET_CALLS = "delete from call where id in (select c.id from call c where c.org = $1 and c.ended_at < $2 and not exists
        (select 1 from recording r where r.org = c.org and r.call = c.id) order by c.id limit 200)";
    /// Who took part in calls that are gone.
    FORGET_PARTIES = "delete from call_party where org = $1 and call in (select p.call from call_party p where p.org = $1
        and not exists (select 1 from call c where c.org = p.org and c.id = p.call) and cast($2 as bigint) is not null order by p.call limit 200)";
}

/// What of calls grows old: their rows, recordings and messages.
pub fn sweeps(kernel: &Kernel) -> Vec<Arc<dyn Sweep>> {
    vec![
        Arc::new(RowSweep::new(kernel.clone(), "calls", FORGET_CALLS)),
        Arc::new(RowSweep::new(kernel.clone(), "calls", FORGET_PARTIES)),
        Arc::new(ShelfSweep::recordings(kernel.clone())),
        Arc::new(ShelfSweep::voicemail(kernel.clone())),
    ]
}

/// The sweep of `retention_days` for one shelf of this crate.
#[derive(Clone, Debug)]
pub struct ShelfSweep {
    kernel: Kernel,
    shelf: Shelf,
    old: &'static str,
    forget: &'static str,
}

impl ShelfSweep {
    /// Recordings of calls: `recordings`.
    pub fn recordings(kernel: Kernel) -> Self {
        Self { kernel, shelf: Shelf::Recordings, old: OLD_RECORDINGS, forget: FORGET_RECORDING }
    }

    /// Messages in boxes: `voicemail`.
    pub fn voicemail(kernel: Kernel) -> Self {
        Self { kernel, shelf: Shelf::Voicemail, old: OLD_MESSAGES, forget: FORGET_MESSAGE }
    }

    /// Deletes a portion; returns how many rows it saw and how many it deleted.
    async fn portion(&self, org: &str, before_ms: i64) -> Result<(usize, u64), DbError> {
        let rows = self.kernel.db.all(self.old, args![org, before_ms]).await?;
        let mut deleted = 0;
        for row in &rows {
            let id = row.text("id")?;
            match self.kernel.files.delete(self.shelf, org, &records::file_name(&id)).await {
                Ok(()) | Err(FilesError::Missing) => {
                    deleted += self.kernel.db.run(self.forget, args![org, &id]).await?;
                }
                Err(error) => tracing::warn!(%org, %id, %error, "an old file could not be deleted"),
            }
        }
        Ok((rows.len(), deleted))
    }
}

impl Sweep for ShelfSweep {
    fn kind(&self) -> &'static str {
        self.shelf.as_str()
    }

    fn sweep<'a>(&'a self, org: &'a str, before_ms: i64) -> BoxFuture<'a, Result<u64, DbError>> {
        Box::pin(async move {
            let mut all = 0;
            loop {
                let (seen, deleted) = self.portion(org, before_ms).await?;
                all += deleted;
                // What could not be deleted would come again for ever.
                if seen < PORTION || deleted == 0 {
                    return Ok(all);
                }
            }
        })
    }
}
