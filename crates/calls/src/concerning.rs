//! What is kept of somebody who is known by a number: the calls with that party, whichever leg it was on, and the
//! messages that it left or was left.
//!
//! Invariant: everything is given page by page in the order of ids, so that neither a long life nor a busy number fills
//! the memory. A masked number was never stored, so nobody finds it here.

use kernel::db::{Db, DbError, Row};
use kernel::{Arg, Kernel, args};

use crate::model::{CallState, CallView};
use crate::numbers::{self, Dialled};
use crate::records::{self, RecordingView, VoicemailView};
use crate::store;

/// Things on one page.
const PORTION: u32 = 200;

kernel::statements! {
    /// Calls with a party, oldest first: as caller or called, on any leg, or by its phone.
    CALLS_WITH = "select id, direction, from_number, to_number, state, cause, ended_by, run, legs, started_at, answered_at, ended_at
        from call where org = $1 and id > $2
          and (from_number in ($3, $4, $5) or to_number in ($3, $4, $5)
            or replace(replace(replace(legs, $6, ''), $7, ''), $8, '') <> legs
            or exists (select 1 from call_party p where p.org = call.org and p.call = call.id and p.extension in ($3, $4, $5)))
        order by id limit $9";
    /// Messages from or for a party whose call is gone, oldest first.
    MESSAGES_ALONE = "select id, box, call, from_number, path, seconds, sha256, left_at, heard_at from voicemail
        where org = $1 and id > $2 and state = 'left' and (from_number in ($3, $4, $5) or box in ($3, $4, $5))
          and not exists (select 1 from call c where c.org = voicemail.org and c.id = voicemail.call)
        order by id limit $6";
    /// The recordings of a call, oldest first, from after an id.
    RECORDINGS_OF = "select id, call, state, path, seconds, channels, sha256, started_at, ready_at
        from recording where org = $1 and call = $2 and id > $3 order by id limit $4";
    /// The messages of a call, oldest first, from after an id.
    MESSAGES_OF = "select id, box, call, from_number, path, seconds, sha256, left_at, heard_at
        from voicemail where org = $1 and call = $2 and id > $3 and state = 'left' order by id limit $4";
}

/// Somebody, by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    /// How the number may be stored: with its country code, without the `+`, as it was dialled.
    spellings: [String; 3],
}

impl Party {
    /// Reads a number as people write it, with blanks, dashes and brackets; an extension; a SIP address.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let spellings = match numbers::read(text) {
            Ok(Dialled::E164 { dialled, e164 }) => [e164.clone(), e164.trim_start_matches('+').to_owned(), dialled],
            Ok(Dialled::Short(number) | Dialled::Sip(number)) => [number.clone(), number.clone(), number],
            Err(_) => std::array::from_fn(|_| text.trim().to_owned()),
        };
        Self { spellings }
    }

    /// How it is shown and noted.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let [shown, ..] = &self.spellings;
        shown
    }

    /// Every spelling, to be compared with what is stored.
    #[must_use]
    pub fn spellings(&self) -> [Arg; 3] {
        self.spellings.each_ref().map(Arg::from)
    }

    /// The same as they stand in the legs of a call ([`crate::LegRecord`]).
    fn on_legs(&self) -> [Arg; 3] {
        self.spellings.each_ref().map(|number| format!("\"to\":{}", serde_json::Value::from(number.as_str())).into())
    }
}

/// The calls with a party after an id (`""` = from the first), oldest first; the last page is an empty one.
///
/// # Errors
/// What the store says.
pub async fn calls_with(db: &Db, org: &str, party: &Party, after: &str) -> Result<Vec<CallView>, DbError> {
    let mut wanted = args![org, after];
    wanted.extend(party.spellings());
    wanted.extend(party.on_legs());
    wanted.push(PORTION.into());
    db.all(CALLS_WITH, wanted).await?.iter().map(store::call_view).collect()
}

/// Messages of a party whose call is forgotten already, after an id, oldest first; the last page is an empty one.
///
/// # Errors
/// What the store says.
pub async fn messages_alone(
    kernel: &Kernel,
    org: &str,
    party: &Party,
    after: &str,
) -> Result<Vec<VoicemailView>, DbError> {
    let mut wanted = args![org, after];
    wanted.extend(party.spellings());
    wanted.push(PORTION.into());
    let rows = kernel.db.all(MESSAGES_ALONE, wanted).await?;
    rows.iter().map(|row| records::voicemail_view(kernel, row)).collect()
}

/// All recordings of a call, oldest first.
///
/// # Errors
/// What the store says.
pub async fn recordings_of(kernel: &Kernel, org: &str, call: &str) -> Result<Vec<RecordingView>, DbError> {
    let all = all_of(&kernel.db, RECORDINGS_OF, org, call).await?;
    all.iter().map(|row| records::recording_view(kernel, row)).collect()
}

/// All messages of a call, oldest first.
///
/// # Errors
/// What the store says.
pub async fn messages_of(kernel: &Kernel, org: &str, call: &str) -> Result<Vec<VoicemailView>, DbError> {
    let all = all_of(&kernel.db, MESSAGES_OF, org, call).await?;
    all.iter().map(|row| records::voicemail_view(kernel, row)).collect()
}

async fn all_of(db: &Db, sql: &'static str, org: &str, call: &str) -> Result<Vec<Row>, DbError> {
    let mut all: Vec<Row> = Vec::new();
    loop {
        let after = all.last().map_or(Ok(String::new()), |row| row.text("id"))?;
        let page = db.all(sql, args![org, call, after, PORTION]).await?;
        let is_last = page.len() < PORTION as usize;
        all.extend(page);
        if is_last {
            return Ok(all);
        }
    }
}

/// How much is kept of a party.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Calls.
    pub calls: u64,
    /// Those of them that are up.
    pub up: u64,
    /// Messages whose call is forgotten.
    pub messages: u64,
}

/// Counts what is kept of a party.
///
/// # Errors
/// What the store says.
pub async fn count(kernel: &Kernel, org: &str, party: &Party) -> Result<Kept, DbError> {
    let (mut kept, mut after) = (Kept::default(), String::new());
    loop {
        let page = calls_with(&kernel.db, org, party, &after).await?;
        let Some(last) = page.last() else { break };
        after.clone_from(&last.id);
        kept.calls += page.len() as u64;
        kept.up += page.iter().filter(|call| call.state != CallState::Completed).count() as u64;
    }
    after.clear();
    loop {
        let page = messages_alone(kernel, org, party, &after).await?;
        let Some(last) = page.last() else { return Ok(kept) };
        after.clone_from(&last.id);
        kept.messages += page.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_one_party_however_it_is_written() {
        for text in ["+44 20-7183 8750", " +442071838750 ", "00442071838750", "442071838750", "+44 (20) 7183.8750"] {
            assert_eq!(Party::read(text).as_str(), "+442071838750", "{text}");
        }
        assert!(Party::read("44 2071838750").spellings.contains(&"442071838750".to_owned()));
        for (text, read) in [("10 01", "1001"), ("sip:a@b.example", "sip:a@b.example"), (" nobody ", "nobody")] {
            assert_eq!(Party::read(text).as_str(), read);
        }
    }
}
