//! The audio of recordings and messages: by a signed URL for 24 hours, or by credential. Reads are audited, one a
//! playback.
//! Invariant: a file is served only to who may hear it, and never from outside its organisation's shelf.
#![expect(unused_qualifications, reason = "utoipa's path macro repeats the types of the extractors")]

use std::sync::Arc;

use axum::{
    body::Body,
    extract::State,
    http::{
        HeaderMap, HeaderName, StatusCode,
        header::{ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE},
    },
    response::{IntoResponse as _, Response},
};
use calls::{Calls, records};
use kernel::{
    Action, DbError, Kernel, Principal, Problem, Shelf,
    files::FilesError,
    http::{Path, Query},
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{api, sight::Sight, store};

/// A range from within a file belongs to a playback that began at most so long ago; else it is noted for itself.
const PLAYBACK_MS: i64 = 12 * 3_600_000;
/// Who reads by a signed URL, in the audit.
const SIGNED: &str = "signed_url";

/// The id of what is to be heard.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct MediaPath {
    /// `rec_...` or `vm_...`
    id: String,
}

/// A signature, instead of a credential.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct SignedQuery {
    /// UTC, milliseconds.
    expires: Option<i64>,
    /// Of the path and `expires`.
    signature: Option<String>,
}

impl SignedQuery {
    /// Whether it opens a path: false when nothing is signed, an error when the signature is not good.
    fn opens(&self, kernel: &Kernel, path: &str) -> Result<bool, Problem> {
        let Some(signature) = self.signature.as_deref() else {
            return Ok(false);
        };
        let now_ms = kernel.clock.now_ms();
        match self.expires {
            Some(expires) if kernel.secrets.path_is_signed(path, expires, signature, now_ms) => Ok(true),
            _ => Err(Problem::new(kernel::error::codes::UNAUTHORIZED)),
        }
    }
}

/// Fetch the audio of a recording: stereo WAV, customer left
#[utoipa::path(
    get,
    path = "/v1/recordings/{id}/audio",
    tag = "calls",
    params(MediaPath, SignedQuery),
    responses(
        (status = 200, description = "The file", content_type = "audio/wav"),
        (status = 206, description = "The range that was asked for", content_type = "audio/wav"),
        (status = 401, description = "Neither a good signature nor a credential"),
        (status = 404, description = "There is none, or it is not complete yet"),
    ),
    security((), ("bearer" = []))
)]
pub(super) async fn recording(
    State(calls): State<Calls>,
    State(kernel): State<Kernel>,
    principal: Result<Principal, Problem>,
    Path(path): Path<MediaPath>,
    Query(signed): Query<SignedQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (org, actor) = if signed.opens(&kernel, &records::recording_path(&path.id))? {
        let org = store::org_of_recording(&kernel, &path.id).await.map_err(Problem::internal)?;
        (org.ok_or_else(Problem::not_found)?, SIGNED.to_owned())
    } else {
        let principal = principal?;
        let org = principal.org().clone();
        let found = records::recording(&kernel, &org, &path.id).await.map_err(Problem::internal)?;
        let found = found.ok_or_else(Problem::not_found)?;
        api::seen(&calls, &kernel, &principal, api::RECORDINGS, &found.call_id).await?;
        (org, principal.actor().to_owned())
    };
    let found = records::recording(&kernel, &org, &path.id).await.map_err(Problem::internal)?;
    if found.is_none_or(|found| found.state != "ready") {
        return Err(Problem::not_found());
    }
    serve(&kernel, &headers, &Heard { shelf: Shelf::Recordings, org, actor, action: "recording.read", id: path.id })
        .await
}

/// Fetch the audio of a message
#[utoipa::path(
    get,
    path = "/v1/voicemail/{id}/audio",
    tag = "calls",
    params(MediaPath, SignedQuery),
    responses(
        (status = 200, description = "The file", content_type = "audio/wav"),
        (status = 206, description = "The range that was asked for", content_type = "audio/wav"),
        (status = 401, description = "Neither a good signature nor a credential"),
        (status = 404, description = "There is none"),
    ),
    security((), ("bearer" = []))
)]
pub(super) async fn message(
    State(kernel): State<Kernel>,
    principal: Result<Principal, Problem>,
    Path(path): Path<MediaPath>,
    Query(signed): Query<SignedQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (org, actor) = if signed.opens(&kernel, &records::voicemail_path(&path.id))? {
        let org = store::org_of_message(&kernel, &path.id).await.map_err(Problem::internal)?;
        (org.ok_or_else(Problem::not_found)?, SIGNED.to_owned())
    } else {
        let principal = principal?;
        let (org, sight) = Sight::of(&kernel, &principal, Action::ReadVoicemail, Action::UseOwnVoicemail).await?;
        let found = records::message(&kernel, &org, &path.id).await.map_err(Problem::internal)?;
        let found = found.filter(|found| sight.covers(&found.extension)).ok_or_else(Problem::not_found)?;
        if principal.person().is_some() && is_own(&kernel, &principal, &found.extension).await? {
            records::message_heard(&kernel, &org, &found.id).await.map_err(Problem::internal)?;
        }
        (org, principal.actor().to_owned())
    };
    serve(&kernel, &headers, &Heard { shelf: Shelf::Voicemail, org, actor, action: "voicemail.read", id: path.id })
        .await
}

/// Whether a box is the principal's own, whatever else it may hear.
async fn is_own(kernel: &Kernel, principal: &Principal, extension: &str) -> Result<bool, Problem> {
    let entries = calls::extensions(kernel, principal.org()).await.map_err(Problem::internal)?;
    Ok(entries
        .iter()
        .any(|entry| entry.number == extension && principal.person().is_some_and(|person| entry.person == **person)))
}

/// A file that somebody hears.
struct Heard {
    shelf: Shelf,
    org: Arc<str>,
    actor: String,
    action: &'static str,
    id: String,
}

impl Heard {
    /// Notes it, once for a playback: a player that has begun asks for the rest in ranges, as its listener moves about.
    async fn note(&self, kernel: &Kernel, is_beginning: bool) -> Result<(), DbError> {
        let since_ms = kernel.clock.now_ms() - PLAYBACK_MS;
        let (org, actor, action, id) = (&*self.org, self.actor.as_str(), self.action, self.id.as_str());
        if !is_beginning && store::was_noted(kernel, org, actor, action, id, since_ms).await? {
            return Ok(());
        }
        store::audit(kernel, org, actor, action, id).await
    }
}

async fn serve(kernel: &Kernel, headers: &HeaderMap, heard: &Heard) -> Result<Response, Problem> {
    let name = records::file_name(&heard.id);
    let file = match kernel.files.read(heard.shelf, &heard.org, &name).await {
        Ok(file) => file,
        Err(FilesError::Missing) => return Err(Problem::not_found()),
        Err(error) => return Err(Problem::internal(error)),
    };
    let length = file.length;
    let asked = headers.get(RANGE).and_then(|range| range.to_str().ok()).and_then(|range| parse_range(range, length));
    let (status, start, end) = match asked {
        Some((start, end)) => (StatusCode::PARTIAL_CONTENT, start, end),
        None => (StatusCode::OK, 0, length),
    };
    heard.note(kernel, start == 0).await.map_err(Problem::internal)?;
    let mut lines: Vec<(HeaderName, String)> = vec![
        (CONTENT_TYPE, "audio/wav".to_owned()),
        (CONTENT_LENGTH, (end - start).to_string()),
        (ACCEPT_RANGES, "bytes".to_owned()),
        (CACHE_CONTROL, "private, no-store".to_owned()),
    ];
    if status == StatusCode::PARTIAL_CONTENT {
        lines.push((CONTENT_RANGE, format!("bytes {start}-{}/{length}", end - 1)));
    }
    let stream = file.stream(start, end).await.map_err(Problem::internal)?;
    let mut response = (status, Body::from_stream(stream)).into_response();
    for (name, value) in lines {
        // Numbers and words of ours: always a header's value.
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}

/// One range of bytes (RFC 9110 section 14.1.2), as start and end; anything else means the whole file.
fn parse_range(text: &str, length: u64) -> Option<(u64, u64)> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let (start, end) = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) => (first, last.saturating_add(1).min(length)),
        (Ok(first), Err(_)) if last.is_empty() => (first, length),
        (Err(_), Ok(suffix)) if first.is_empty() => (length.saturating_sub(suffix), length),
        _ => return None,
    };
    (start < end).then_some((start, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_rfc_9110_has_them() {
        assert_eq!(parse_range("bytes=0-99", 1_000), Some((0, 100)));
        assert_eq!(parse_range("bytes=900-", 1_000), Some((900, 1_000)));
        assert_eq!(parse_range("bytes=-100", 1_000), Some((900, 1_000)));
        assert_eq!(parse_range("bytes=0-5000", 1_000), Some((0, 1_000)));
        for whole in ["bytes=1000-", "bytes=5-4", "bytes=0-1,3-4", "items=0-1", "bytes=a-b", "bytes=-"] {
            assert_eq!(parse_range(whole, 1_000), None, "{whole}");
        }
    }
}
