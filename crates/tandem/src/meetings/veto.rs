//! The application's hook: it is asked before each call, and 403 blocks it.
//!
//! Invariant: only a clear 403 blocks. A hook that cannot be reached, or answers anything else, blocks nothing: the two
//! have a right to their meeting, and an application that is down must not take it from them.

use bytes::Bytes;
use kernel::{EgressRequest, Kernel};
use reqwest::Method;
use serde_json::json;
use url::Url;

use super::model::{Meeting, Role, Settings};

/// How long a caller waits for the hook's answer, in milliseconds.
const PATIENCE_MS: u64 = 3_000;
/// The status that blocks.
const FORBIDDEN: u16 = 403;

/// Whether a call may be made: of this party, or of the server by itself (none).
pub(super) async fn allows(kernel: &Kernel, settings: &Settings, meeting: &Meeting, by: Option<Role>) -> bool {
    let Some(url) = settings.veto_url.as_deref().and_then(|url| Url::parse(url).ok()) else { return true };
    let question = json!({
        "meeting_id": meeting.id,
        "application": meeting.app,
        "order_id": meeting.order_id,
        "by": by.map_or("system", Role::as_str),
        "caller_uid": meeting.caller.uid,
        "receiver_uid": meeting.receiver.uid,
        "attempt": meeting.attempts + 1,
    });
    let request = EgressRequest {
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: Bytes::from(question.to_string()),
        timeout_ms: PATIENCE_MS,
        max_body: 0,
        ..EgressRequest::new(Method::POST, url)
    };
    match kernel.egress.send(request).await {
        Ok(answer) => answer.status != FORBIDDEN,
        Err(error) => {
            tracing::warn!(org = %meeting.org, meeting = meeting.id, %error, "the veto hook gave no answer: the call is allowed");
            true
        }
    }
}
