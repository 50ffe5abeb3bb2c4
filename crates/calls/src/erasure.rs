//! Erasing what is kept of a party: its calls with their recordings, messages, events and parties, and messages whose
//! call is forgotten.
//!
//! Invariant: a file goes before its row, as in [`crate::sweep`]. A call that is up stays, and so does one that still
//! holds something: a file that could not be deleted, or an event that a webhook has still to get. So whatever stays is
//! found by the same number again, and erasing twice does no harm.

use kernel::db::{DbError, Write};
use kernel::{Kernel, Shelf, args};

use crate::concerning::{self, Party};
use crate::records;

/// Calls that are erased in one commit.
const CALLS_AT_ONCE: usize = 50;

kernel::statements! {
    /// What was recorded of a call, from after an id.
    RECORDINGS = "select id from recording where org = $1 and call = $2 and id > $3 order by id limit 200";
    /// Messages that were left in a call, from after an id.
    MESSAGES = "select id from voicemail where org = $1 and call = $2 and id > $3 order by id limit 200";
    /// A recording goes.
    ERASE_RECORDING = "delete from recording where org = $1 and id = $2";
    /// A message goes.
    ERASE_MESSAGE = "delete from voicemail where org = $1 and id = $2";
    /// What happened, as far as everybody was told.
    ERASE_EVENTS = "delete from event where org = $1 and key = $2 and position not in
        (select d.position from delivery d where d.org = $1 and d.key = $2 and d.state in ('fast', 'slow'))";
    /// The call, once nothing hangs on it.
    ERASE_CALL = "delete from call where org = $1 and id = $2 and ended_at is not null
        and not exists (select 1 from recording r where r.org = $1 and r.call = $2)
        and not exists (select 1 from voicemail v where v.org = $1 and v.call = $2)
        and not exists (select 1 from event e where e.org = $1 and e.key = $2)";
    /// Who took part in a call that is gone.
    ERASE_PARTIES = "delete from call_party where org = $1 and call = $2
        and not exists (select 1 from call c where c.org = $1 and c.id = $2)";
    /// Whether it is up, or something of it is being written.
    IS_UP = "select id from call where org = $1 and id = $2 and (ended_at is null
        or exists (select 1 from recording r where r.org = $1 and r.call = $2 and r.state = 'recording')
        or exists (select 1 from voicemail v where v.org = $1 and v.call = $2 and v.state = 'recording'))";
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
    /// What stays for now: calls that are up or still hold something, messages whose file could not be deleted.
    pub kept: u64,
}

/// Erases a page of the calls with a party, from after `after`, which moves on; `None` when there are no more. `more`
/// gives what goes with a call, in the same commit.
///
/// # Errors
/// What the store says. What was erased before that stays erased, and the rest is there to be erased again.
pub async fn erase_calls(
    kernel: &Kernel,
    org: &str,
    party: &Party,
    after: &mut String,
    more: impl Fn(&str) -> Vec<Write>,
) -> Result<Option<Erased>, DbError> {
    let page = concerning::calls_with(&kernel.db, org, party, after).await?;
    let Some(last) = page.last() else { return Ok(None) };
    after.clone_from(&last.id);
    let mut erased = Erased::default();
    for part in page.chunks(CALLS_AT_ONCE) {
        let mut batch = Batch::default();
        for call in part {
            if batch.call(kernel, org, &call.id).await? {
                batch.writes.extend(more(&call.id).into_iter().map(|write| (Counts::Nothing, write)));
            }
        }
        erased.add(batch.commit(kernel).await?);
    }
    Ok(Some(erased))
}

/// Erases calls by their ids, such as those of a meeting, whose rows hold no number to find them by.
///
/// # Errors
/// As [`erase_calls`].
pub async fn erase_calls_of(kernel: &Kernel, org: &str, ids: &[String]) -> Result<Erased, DbError> {
    let mut erased = Erased::default();
    for part in ids.chunks(CALLS_AT_ONCE) {
        let mut batch = Batch::default();
        for id in part {
            batch.call(kernel, org, id).await?;
        }
        erased.add(batch.commit(kernel).await?);
    }
    Ok(erased)
}

/// The same for the messages of a party whose call is forgotten.
///
/// # Errors
/// As [`erase_calls`].
pub async fn erase_messages(
    kernel: &Kernel,
    org: &str,
    party: &Party,
    after: &mut String,
) -> Result<Option<Erased>, DbError> {
    let page = concerning::messages_alone(kernel, org, party, after).await?;
    let Some(last) = page.last() else { return Ok(None) };
    after.clone_from(&last.id);
    let mut batch = Batch::default();
    for message in &page {
        if !batch.file(kernel, &MESSAGES_OF_A_CALL, org, &message.id).await {
            batch.kept += 1;
        }
    }
    batch.commit(kernel).await.map(Some)
}

impl Erased {
    /// Both together.
    pub fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.recordings += other.recordings;
        self.messages += other.messages;
        self.kept += other.kept;
    }
}

/// What a row that goes counts as.
#[derive(Clone, Copy)]
enum Counts {
    Call,
    Recording,
    Message,
    Nothing,
}

/// What of a call stands in files, and its rows.
struct Sounds {
    shelf: Shelf,
    find: &'static str,
    erase: &'static str,
    counts: Counts,
}

const RECORDINGS_OF_A_CALL: Sounds =
    Sounds { shelf: Shelf::Recordings, find: RECORDINGS, erase: ERASE_RECORDING, counts: Counts::Recording };
const MESSAGES_OF_A_CALL: Sounds =
    Sounds { shelf: Shelf::Voicemail, find: MESSAGES, erase: ERASE_MESSAGE, counts: Counts::Message };

/// Rows that go in one commit; their files are gone.
#[derive(Default)]
struct Batch {
    writes: Vec<(Counts, Write)>,
    kept: u64,
}

impl Batch {
    /// A call with what hangs on it; false, and nothing happens, while it is up.
    async fn call(&mut self, kernel: &Kernel, org: &str, call: &str) -> Result<bool, DbError> {
        if kernel.db.one(IS_UP, args![org, call]).await?.is_some() {
            self.kept += 1;
            return Ok(false);
        }
        for sounds in [RECORDINGS_OF_A_CALL, MESSAGES_OF_A_CALL] {
            let mut after = String::new();
            loop {
                let page = kernel.db.all(sounds.find, args![org, call, &after]).await?;
                let Some(last) = page.last() else { break };
                after = last.text("id")?;
                for row in page {
                    self.file(kernel, &sounds, org, &row.text("id")?).await;
                }
            }
        }
        self.writes.push((Counts::Nothing, Write::new(ERASE_EVENTS, args![org, call])));
        self.writes.push((Counts::Call, Write::new(ERASE_CALL, args![org, call])));
        self.writes.push((Counts::Nothing, Write::new(ERASE_PARTIES, args![org, call])));
        Ok(true)
    }

    /// Deletes a file and takes its row; false when the file could not be deleted, and its row says so by staying.
    async fn file(&mut self, kernel: &Kernel, sounds: &Sounds, org: &str, id: &str) -> bool {
        match kernel.files.delete(sounds.shelf, org, &records::file_name(id)).await {
            Ok(()) => {
                self.writes.push((sounds.counts, Write::new(sounds.erase, args![org, id])));
                true
            }
            Err(error) => {
                tracing::warn!(%org, %id, %error, "a file could not be erased");
                false
            }
        }
    }

    async fn commit(self, kernel: &Kernel) -> Result<Erased, DbError> {
        let mut erased = Erased { kept: self.kept, ..Erased::default() };
        let (counted, writes): (Vec<Counts>, Vec<Write>) = self.writes.into_iter().unzip();
        let rows = kernel.db.writer().commit(writes).await?;
        for (counts, rows) in counted.into_iter().zip(rows) {
            match counts {
                Counts::Call => {
                    erased.calls += rows;
                    erased.kept += u64::from(rows == 0);
                }
                Counts::Recording => erased.recordings += rows,
                Counts::Message => erased.messages += rows,
                Counts::Nothing => {}
            }
        }
        Ok(erased)
    }
}
