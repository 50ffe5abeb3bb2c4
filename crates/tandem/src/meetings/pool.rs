//! The number that the two of a meeting see and may call.

use calls::Bound;
use kernel::{DbError, Write};

use super::Meetings;
use super::model::{Meeting, Party, Settings};

/// A number for a pair, or none.
#[derive(Debug, Default)]
pub(super) struct Choice {
    /// One of the application's pool.
    pub(super) dial_in: Option<String>,
    /// Whether a call from a party's own number to it is this meeting's without a PIN.
    pub(super) call_back: bool,
    /// What keeps it for the pair.
    pub(super) writes: Vec<Write>,
}

/// Chooses a number of the application's pool for two people.
pub(super) async fn choose(
    meetings: &Meetings,
    org: &str,
    settings: &Settings,
    _id: i64,
    _parties: [&Party; 2],
) -> Result<Choice, DbError> {
    let usable = usable(meetings, org, settings).await?;
    Ok(Choice { dial_in: usable.into_iter().next(), ..Choice::default() })
}

/// The numbers of the pool that lead to meetings.
async fn usable(meetings: &Meetings, org: &str, settings: &Settings) -> Result<Vec<String>, DbError> {
    let directory = meetings.calls().directory();
    let mut usable = Vec::new();
    for number in &settings.number_pool {
        let Some(e164) = calls::numbers::public(number) else { continue };
        if directory.public_number(org, &e164).await? == Some(Bound::Meetings) {
            usable.push(e164);
        }
    }
    Ok(usable)
}

/// What an application should know of its pool.
pub(super) fn warnings_of(meeting: &Meeting, settings: &Settings) -> Vec<&'static str> {
    match (&meeting.dial_in, settings.number_pool.is_empty()) {
        (None, true) => vec!["no_number_pool"],
        (None, false) => vec!["pool_unusable"],
        (Some(_), _) if !meeting.call_back => vec!["pool_exhausted"],
        (Some(_), _) => Vec::new(),
    }
}

/// Whose line called a number: the meeting and which of the two; none when it is nobody's without a PIN.
pub(super) async fn party_of(
    _meetings: &Meetings,
    _org: &str,
    _dialled: &str,
    _line: &str,
) -> Result<Option<(i64, super::model::Role)>, DbError> {
    Ok(None)
}
