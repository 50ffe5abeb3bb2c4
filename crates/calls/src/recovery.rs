//! After a crash: the calls that were up get their call.completed, what they were in gets its end before it, their files
//! are finished.
//!
//! Invariant: exactly one call.completed per call. The end is written by a guarded update in the
//! same commit as its event, so that a second recovery, or a call that ended after all, adds nothing.

use std::path::{Path, PathBuf};

use kernel::db::{DbError, Write};
use kernel::outbox::Target;
use kernel::{Shelf, args};
use serde_json::json;
use sha2::{Digest, Sha256};
use voice::cause::Cause;

use crate::journal::Journal;
use crate::model::{CallEnd, CallModel, Change, EndedBy};
use crate::service::Calls;
use crate::unfinished::{self, Missing};
use crate::{live, records, store};

/// Shortest message that is kept, in seconds.
const MIN_MESSAGE_S: f64 = 1.0;
/// Bytes of a WAV header as our recordings have it.
const WAV_HEADER: u64 = 44;

/// A recording as its file shows it.
struct Found {
    seconds: f64,
    channels: i64,
    sha256: String,
}

impl Calls {
    /// Settles what a crash of this node left behind: each interrupted call is completed with cause
    /// `server_restart`, as of the server's last sign of life, towards its run's own publish URL too; recordings and messages are
    /// finished. `also` gives the driver's own rows of a call, committed with its end. Returns how
    /// many calls there were.
    ///
    /// # Errors
    /// What the store says; ask again.
    pub async fn recover(&self, also: impl Fn(&CallModel, i64) -> Vec<Write> + Send + Sync) -> Result<usize, DbError> {
        let kernel = self.kernel();
        let interrupted = store::interrupted(&kernel.db, &kernel.node, self.started_at_ms()).await?;
        let count = interrupted.len();
        for call in interrupted {
            self.complete_interrupted(call, &also).await?;
        }
        self.finish_recordings().await?;
        self.finish_messages().await?;
        if count > 0 {
            tracing::warn!(count, "calls were interrupted by the last stop and are completed now");
        }
        Ok(count)
    }

    async fn complete_interrupted(
        &self,
        call: store::InterruptedCall,
        also: &(impl Fn(&CallModel, i64) -> Vec<Write> + Send + Sync),
    ) -> Result<(), DbError> {
        let kernel = self.kernel();
        let now_ms = kernel.clock.now_ms();
        let store::InterruptedCall { mut model, seq, last_ms } = call;
        let end = CallEnd::local(Cause::ServerRestart, EndedBy::System);
        // Nobody talked while the server was down: the call was over when it was last alive, about.
        let over_ms = self.last_alive_ms().unwrap_or(now_ms).max(last_ms).min(now_ms);
        let publish = self.publish_of(&model).await?;
        let mut journal = Journal::new(kernel.clone(), seq, publish);
        let past = store::events_with_end(&kernel.db, &model).await?;
        for Missing { kind, leg, step, data } in unfinished::missing(&past, over_ms) {
            let leg = leg.as_ref().map(|(id, role)| (id, *role));
            journal.event(&model, kind, leg, step.as_ref(), data);
        }
        model.apply(Change::Completed(end), over_ms);
        journal.row(Write { guard: true, ..store::update_call(&model) });
        journal.event(&model, "call.completed", None, None, live::completed_data(&model));
        also(&model, now_ms).into_iter().for_each(|write| journal.row(write));
        let writes = journal.take(&model).await;
        match kernel.db.writer().commit(writes).await {
            // Somebody else has completed it.
            Ok(_) | Err(DbError::Conflict | DbError::Duplicate(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn finish_recordings(&self) -> Result<(), DbError> {
        let kernel = self.kernel();
        let rows = kernel.db.all(store::RECORDING_OPEN, args![&kernel.node, self.started_at_ms()]).await?;
        for row in rows {
            let (id, org, call) = (row.text("id")?, row.text("org")?, row.text("call")?);
            let Some(model) = store::model(&kernel.db, &org, &call).await? else { continue };
            let now_ms = kernel.clock.now_ms();
            let found = self.read_file(Shelf::Recordings, &org, &id).await;
            let publish = self.publish_of(&model).await?;
            let seq = kernel.events.last_seq(&org, &call).await?;
            let mut journal = Journal::new(kernel.clone(), seq, publish);
            match found {
                Some(found) => {
                    let ready = args![&id, &org, found.seconds, found.channels, &found.sha256, now_ms];
                    journal.row(Write::guarded(store::RECORDING_READY, ready));
                    let url = records::signed_url(kernel, &records::recording_path(&id), now_ms);
                    let data = json!({
                        "id": id, "url": url, "seconds": found.seconds, "channels": found.channels,
                        "sha256": found.sha256,
                    });
                    journal.event(&model, "recording.ready", None, None, data);
                }
                None => {
                    journal.row(Write::guarded(store::RECORDING_FAILED, args![&id, &org, now_ms]));
                    let data = json!({"id": id, "error": "the server stopped before anything was written"});
                    journal.event(&model, "recording.failed", None, None, data);
                }
            }
            settle(kernel.db.writer().commit(journal.take(&model).await).await)?;
        }
        Ok(())
    }

    async fn finish_messages(&self) -> Result<(), DbError> {
        let kernel = self.kernel();
        let rows = kernel.db.all(store::VOICEMAIL_OPEN, args![&kernel.node, self.started_at_ms()]).await?;
        for row in rows {
            let (id, org, call) = (row.text("id")?, row.text("org")?, row.text("call")?);
            let now_ms = kernel.clock.now_ms();
            let found = self.read_file(Shelf::Voicemail, &org, &id).await;
            match (found.filter(|found| found.seconds >= MIN_MESSAGE_S), store::model(&kernel.db, &org, &call).await?) {
                (Some(found), Some(model)) => {
                    let mut journal = Journal::new(kernel.clone(), 0, self.publish_of(&model).await?);
                    let left = args![&id, &org, found.seconds, &found.sha256, now_ms];
                    journal.row(Write::guarded(store::VOICEMAIL_LEFT, left));
                    let message = records::LeftMessage {
                        id: &id,
                        extension: &row.text("box")?,
                        from: &row.text("from_number")?,
                        seconds: found.seconds,
                        sha256: &found.sha256,
                    };
                    journal.event_of(&model, "voicemail.left", &id, message.data(kernel, now_ms));
                    settle(kernel.db.writer().commit(journal.take(&model).await).await)?;
                }
                _ => {
                    kernel.db.run(store::VOICEMAIL_DELETE, args![&org, &id]).await?;
                    if let Err(error) = kernel.files.delete(Shelf::Voicemail, &org, &records::file_name(&id)).await {
                        tracing::warn!(%org, %id, %error, "an empty message could not be deleted");
                    }
                }
            }
        }
        Ok(())
    }

    /// The publish URL of the run that drove a call.
    async fn publish_of(&self, call: &CallModel) -> Result<Option<Target>, DbError> {
        match &call.run {
            Some(run) => Ok(self.kernel().outbox.targets_of_run(&call.org, run).await?.into_iter().next()),
            None => Ok(None),
        }
    }

    /// What a file holds; `None` when it is not there or holds no audio.
    async fn read_file(&self, shelf: Shelf, org: &str, id: &str) -> Option<Found> {
        let path = self.kernel().files.place(shelf, org, &records::file_name(id)).ok()?;
        let found = tokio::task::spawn_blocking(move || measure(&path)).await.ok()?;
        match found {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%org, %id, %error, "a recording could not be read again");
                None
            }
        }
    }
}

fn settle(outcome: Result<Vec<u64>, DbError>) -> Result<(), DbError> {
    match outcome {
        Ok(_) | Err(DbError::Conflict | DbError::Duplicate(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Brings a WAV file's header up to its real length and measures it. Blocks.
fn measure(path: &Path) -> std::io::Result<Option<Found>> {
    use std::io::{Read, Seek, SeekFrom, Write as _};

    let mut file = match std::fs::OpenOptions::new().read(true).write(true).open(PathBuf::from(path)) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    let mut header = [0u8; WAV_HEADER as usize];
    if length <= WAV_HEADER || file.read_exact(&mut header).is_err() || !header.starts_with(b"RIFF") {
        return Ok(None);
    }
    let channels = u64::from(u16::from_le_bytes([header[22], header[23]])).max(1);
    let rate = u32::from_le_bytes([header[24], header[25], header[26], header[27]]).max(1);
    let frame_bytes = channels * 2;
    let data_bytes = (length - WAV_HEADER) / frame_bytes * frame_bytes;
    let as_size = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes();
    header[4..8].copy_from_slice(&as_size(WAV_HEADER - 8 + data_bytes));
    header[40..44].copy_from_slice(&as_size(data_bytes));
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&header)?;
    file.set_len(WAV_HEADER + data_bytes)?;
    file.sync_all()?;
    file.seek(SeekFrom::Start(0))?;
    let mut digest = Sha256::new();
    let mut block = vec![0u8; 1 << 16];
    loop {
        let read = file.read(&mut block)?;
        if read == 0 {
            break;
        }
        digest.update(block.get(..read).unwrap_or_default());
    }
    Ok(Some(Found {
        seconds: data_bytes as f64 / (frame_bytes as f64 * f64::from(rate)),
        channels: i64::try_from(channels).unwrap_or(2),
        sha256: kernel::secret::hex(&digest.finalize()),
    }))
}
