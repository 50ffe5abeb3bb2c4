//! Recordings and messages as they are kept and shown.
//!
//! Invariant: a file is named by its row's id, and a URL handed out in an event opens for 24 hours
//! without a credential, then no more.

use kernel::db::{DbError, Row};
use kernel::time::rfc3339;
use kernel::{Kernel, args};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::store;

/// How long a URL in an event opens its file, in milliseconds.
pub const URL_LIFETIME_MS: i64 = 24 * 3_600_000;
/// Messages on one page of a box.
pub const MAX_MESSAGES: u32 = 200;
/// Sorts after every id.
const AFTER_ALL: &str = "~";

/// A recording, as the API shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RecordingView {
    /// `rec_...`
    pub id: String,
    /// The call.
    pub call_id: String,
    /// `recording`, `ready` or `failed`.
    pub state: String,
    /// Opens the file for 24 hours; only when it is ready.
    pub url: Option<String>,
    /// Length in seconds.
    pub seconds: f64,
    /// 2: left the customer, right whom they heard.
    pub channels: i64,
    /// Of the file, in hexadecimal.
    pub sha256: String,
    /// RFC 3339, UTC.
    pub started_at: String,
    /// RFC 3339, UTC.
    pub ready_at: Option<String>,
}

/// A message in a box, as the API shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VoicemailView {
    /// `vm_...`
    pub id: String,
    /// The extension whose box it is in.
    #[serde(rename = "box")]
    pub extension: String,
    /// The call it was left on.
    pub call_id: String,
    /// Who left it.
    pub from: String,
    /// Opens the file for 24 hours.
    pub url: String,
    /// Length in seconds.
    pub seconds: f64,
    /// Of the file, in hexadecimal.
    pub sha256: String,
    /// RFC 3339, UTC.
    pub left_at: String,
    /// RFC 3339, UTC; when its owner first fetched it.
    pub heard_at: Option<String>,
}

/// A page of a box, or of all boxes, newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VoicemailPage {
    /// The messages.
    pub messages: Vec<VoicemailView>,
    /// Ask with it for the next page.
    pub cursor: Option<String>,
}

/// A page of recordings, newest first.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordingPage {
    /// The recordings.
    pub recordings: Vec<RecordingView>,
    /// Ask with it for the next page.
    pub cursor: Option<String>,
}

/// A message that has just come into a box.
pub(crate) struct LeftMessage<'a> {
    pub(crate) id: &'a str,
    pub(crate) extension: &'a str,
    pub(crate) from: &'a str,
    pub(crate) seconds: f64,
    pub(crate) sha256: &'a str,
}

impl LeftMessage<'_> {
    /// `data` of voicemail.left.
    pub(crate) fn data(&self, kernel: &Kernel, now_ms: i64) -> Value {
        json!({
            "id": self.id,
            "box": self.extension,
            "from": self.from,
            "seconds": self.seconds,
            "sha256": self.sha256,
            "url": signed_url(kernel, &voicemail_path(self.id), now_ms),
        })
    }
}

/// The file of a recording or message, in its shelf.
pub fn file_name(id: &str) -> String {
    format!("{id}.wav")
}

/// Where a recording's audio is served.
pub fn recording_path(id: &str) -> String {
    format!("/v1/recordings/{id}/audio")
}

/// Where a message's audio is served.
pub fn voicemail_path(id: &str) -> String {
    format!("/v1/voicemail/{id}/audio")
}

/// A URL that opens `path` for [`URL_LIFETIME_MS`].
pub fn signed_url(kernel: &Kernel, path: &str, now_ms: i64) -> String {
    let base = match &kernel.config.public_url {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => format!("http://{}", kernel.config.http),
    };
    format!("{base}{}", kernel.secrets.sign_path(path, now_ms + URL_LIFETIME_MS))
}

/// The recordings of a call, oldest first.
///
/// # Errors
/// What the store says.
pub async fn recordings_of_call(kernel: &Kernel, org: &str, call: &str) -> Result<Vec<RecordingView>, DbError> {
    let rows = kernel.db.all(store::RECORDINGS_OF_CALL, args![org, call]).await?;
    rows.iter().map(|row| recording_view(kernel, row)).collect()
}

/// The recordings of an organisation, newest first, from before an id; with a `person`, those of calls that its phones
/// took part in.
///
/// # Errors
/// What the store says.
pub async fn recordings(
    kernel: &Kernel,
    org: &str,
    person: Option<&str>,
    before: Option<&str>,
    limit: u32,
) -> Result<RecordingPage, DbError> {
    let limit = limit.clamp(1, MAX_MESSAGES);
    let wanted = args![org, before.unwrap_or(AFTER_ALL), person, i64::from(limit) + 1];
    let rows = kernel.db.all(store::RECORDING_LIST, wanted).await?;
    let mut recordings = rows.iter().map(|row| recording_view(kernel, row)).collect::<Result<Vec<_>, _>>()?;
    let more = recordings.len() > limit as usize;
    recordings.truncate(limit as usize);
    let cursor = recordings.last().filter(|_| more).map(|recording| recording.id.clone());
    Ok(RecordingPage { recordings, cursor })
}

/// One recording of an organisation.
///
/// # Errors
/// What the store says.
pub async fn recording(kernel: &Kernel, org: &str, id: &str) -> Result<Option<RecordingView>, DbError> {
    let row = kernel.db.one(store::RECORDING_BY_ID, args![org, id]).await?;
    row.as_ref().map(|row| recording_view(kernel, row)).transpose()
}

/// A page of a box, or of all boxes, newest first.
///
/// # Errors
/// What the store says.
pub async fn messages(
    kernel: &Kernel,
    org: &str,
    extension: Option<&str>,
    cursor: Option<&str>,
    limit: u32,
) -> Result<VoicemailPage, DbError> {
    let limit = limit.clamp(1, MAX_MESSAGES);
    let wanted = args![org, extension, cursor.unwrap_or(AFTER_ALL), i64::from(limit) + 1];
    let rows = kernel.db.all(store::VOICEMAIL_LIST, wanted).await?;
    let mut messages = rows.iter().map(|row| voicemail_view(kernel, row)).collect::<Result<Vec<_>, _>>()?;
    let more = messages.len() > limit as usize;
    messages.truncate(limit as usize);
    let cursor = messages.last().filter(|_| more).map(|message| message.id.clone());
    Ok(VoicemailPage { messages, cursor })
}

/// One message of an organisation.
///
/// # Errors
/// What the store says.
pub async fn message(kernel: &Kernel, org: &str, id: &str) -> Result<Option<VoicemailView>, DbError> {
    let row = kernel.db.one(store::VOICEMAIL_BY_ID, args![org, id]).await?;
    row.as_ref().map(|row| voicemail_view(kernel, row)).transpose()
}

/// Notes that a message was fetched by its owner.
///
/// # Errors
/// What the store says.
pub async fn message_heard(kernel: &Kernel, org: &str, id: &str) -> Result<(), DbError> {
    kernel.db.run(store::VOICEMAIL_HEARD, args![org, id, kernel.clock.now_ms()]).await?;
    Ok(())
}

/// Deletes a message and its audio, that first; false when there is none.
///
/// # Errors
/// What the store says, or the file system; the message is there to be deleted again then.
pub async fn delete_message(kernel: &Kernel, org: &str, id: &str) -> Result<bool, DbError> {
    if message(kernel, org, id).await?.is_none() {
        return Ok(false);
    }
    let deleted = kernel.files.delete(kernel::Shelf::Voicemail, org, &file_name(id)).await;
    deleted.map_err(std::io::Error::other)?;
    Ok(kernel.db.run(store::VOICEMAIL_DELETE, args![org, id]).await? > 0)
}

pub(crate) fn recording_view(kernel: &Kernel, row: &Row) -> Result<RecordingView, DbError> {
    let id = row.text("id")?;
    let state = row.text("state")?;
    let url = (state == "ready").then(|| signed_url(kernel, &recording_path(&id), kernel.clock.now_ms()));
    Ok(RecordingView {
        call_id: row.text("call")?,
        url,
        seconds: row.real("seconds")?,
        channels: row.int("channels")?,
        sha256: row.text("sha256")?,
        started_at: rfc3339(row.int("started_at")?),
        ready_at: row.opt_int("ready_at")?.map(rfc3339),
        id,
        state,
    })
}

pub(crate) fn voicemail_view(kernel: &Kernel, row: &Row) -> Result<VoicemailView, DbError> {
    let id = row.text("id")?;
    Ok(VoicemailView {
        extension: row.text("box")?,
        call_id: row.text("call")?,
        from: row.text("from_number")?,
        url: signed_url(kernel, &voicemail_path(&id), kernel.clock.now_ms()),
        seconds: row.real("seconds")?,
        sha256: row.text("sha256")?,
        left_at: rfc3339(row.int("left_at")?),
        heard_at: row.opt_int("heard_at")?.map(rfc3339),
        id,
    })
}
