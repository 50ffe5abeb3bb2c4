//! The number that the two of a meeting see and may call.
//!
//! Invariant: it is one of the application's pool that leads to meetings, or none; who calls it from a party's own number
//! is that party of one meeting, or enters a PIN.

use calls::Bound;
use calls::masking::{CallBack, MaskOrder};
use calls::pairing::PairSide;
use kernel::{DbError, Write};

use super::Meetings;
use super::desk::Which;
use super::error::MeetingError;
use super::model::{CallType, Meeting, Party, Role, Settings};
use super::store;

/// A number is kept for its pair so long beyond the meeting's end, in milliseconds: the end frees it, this only frees what
/// a crash left.
const KEPT_MS: i64 = 7 * 24 * 3_600_000;
/// A party that calls so long after its meeting hears that it is over, in milliseconds.
const REMEMBERED_MS: i64 = 24 * 3_600_000;
/// How pairs of meetings are named on floor 3.
const PAIR: &str = "meeting/";

/// A number for a pair, or none.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Choice {
    /// One of the application's pool.
    pub(super) dial_in: Option<String>,
    /// Whether a call from a party's own number to it is this meeting's without a PIN.
    pub(super) call_back: bool,
}

/// Whose line called.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A party's of this meeting.
    Party(i64, Role),
    /// Nobody's without a PIN.
    Unknown,
}

impl Meetings {
    /// Chooses a number of the application's pool for two people, and keeps it for them.
    pub(super) async fn choose_number(
        &self,
        org: &str,
        settings: &Settings,
        id: i64,
        ends_ms: i64,
        parties: [&Party; 2],
    ) -> Result<Choice, DbError> {
        let pool = self.usable(org, settings).await?;
        // Nothing to choose from, and nobody to wait for.
        let Some(any) = pool.first().cloned() else { return Ok(Choice::default()) };
        let [first, second] = parties.map(|party| {
            let by_phone = party.call_type == CallType::Phone;
            party.number.clone().filter(|_| by_phone)
        });
        let order = MaskOrder {
            org: org.into(),
            pair: format!("{PAIR}{}", id),
            pool,
            first,
            second,
            until_ms: ends_ms.saturating_add(KEPT_MS),
        };
        let mask = self.calls().mask(order).await?;
        Ok(match mask.number {
            Some(number) => Choice { dial_in: Some(number), call_back: !mask.exhausted },
            // Two who talk in their pages may still come in by a phone and a PIN.
            None => Choice { dial_in: Some(any), call_back: false },
        })
    }

    /// The numbers of the pool that lead to meetings.
    async fn usable(&self, org: &str, settings: &Settings) -> Result<Vec<String>, DbError> {
        let mut usable = Vec::new();
        for number in &settings.number_pool {
            let Some(e164) = calls::numbers::public(number) else { continue };
            if self.calls().directory().public_number(org, &e164).await? == Some(Bound::Meetings) {
                usable.push(e164);
            }
        }
        Ok(usable)
    }

    /// After a change of its parties or its time: the number is chosen again, and stays if it can.
    pub(super) async fn choose_again(&self, before: &Meeting, after: Meeting) -> Result<Meeting, MeetingError> {
        let same = Role::BOTH.into_iter().all(|role| {
            let (old, new) = (before.party(role), after.party(role));
            (&old.number, old.call_type) == (&new.number, new.call_type)
        });
        if after.ended_ms.is_some() || (same && before.ends_ms == after.ends_ms) {
            return Ok(after);
        }
        let settings = self.settings(&after.org, &after.app).await?;
        let parties = [&after.caller, &after.receiver];
        let choice = self.choose_number(&after.org, &settings, after.id, after.ends_ms, parties).await?;
        if (&choice.dial_in, choice.call_back) == (&after.dial_in, after.call_back) {
            return Ok(after);
        }
        let which = Which { org: after.org.as_str().into(), app: None, id: after.id };
        self.show_number(&which, choice).await
    }

    /// What frees the number of a meeting that is over.
    pub(super) fn free_number(&self, meeting: &Meeting) -> Vec<Write> {
        self.calls().unmask(&meeting.org, &format!("{PAIR}{}", meeting.id))
    }

    /// Whose line called a number of meetings. A phone of the organisation is also the public number of its person.
    pub(super) async fn whose_line(&self, org: &str, dialled: &str, line: &str) -> Result<Line, DbError> {
        let found = self.whose_number(org, dialled, line).await?;
        // What comes from outside has a plus; an extension has none.
        if found != Line::Unknown || line.starts_with('+') {
            return Ok(found);
        }
        let person = self.calls().directory().person(org, line).await?;
        match person.and_then(|person| person.own_number) {
            Some(own) => self.whose_number(org, dialled, &own).await,
            None => Ok(Line::Unknown),
        }
    }

    async fn whose_number(&self, org: &str, dialled: &str, line: &str) -> Result<Line, DbError> {
        match self.calls().called_back(org, line, dialled).await? {
            CallBack::Pair { pair, side } => {
                let id = pair.strip_prefix(PAIR).and_then(|id| id.parse().ok());
                Ok(id.map_or(Line::Unknown, |id| Line::Party(id, role_of(side))))
            }
            CallBack::Unclear => Ok(Line::Unknown),
            CallBack::Nobody => self.former_party(org, dialled, line).await,
        }
    }

    /// A party whose meeting ended a while ago.
    async fn former_party(&self, org: &str, dialled: &str, line: &str) -> Result<Line, DbError> {
        let since_ms = self.now_ms().saturating_sub(REMEMBERED_MS);
        let Some(meeting) = store::last_of_line(&self.kernel().db, org, line, since_ms).await? else {
            return Ok(Line::Unknown);
        };
        let is_this = meeting.dial_in.as_deref() == Some(dialled) && meeting.call_back;
        let role = Role::BOTH.into_iter().find(|role| meeting.party(*role).number.as_deref() == Some(line));
        Ok(role.filter(|_| is_this).map_or(Line::Unknown, |role| Line::Party(meeting.id, role)))
    }
}

fn role_of(side: PairSide) -> Role {
    match side {
        PairSide::First => Role::Caller,
        PairSide::Second => Role::Receiver,
    }
}

/// What an application should know of its pool.
pub(super) fn warnings_of(meeting: &Meeting, settings: &Settings) -> Vec<&'static str> {
    let by_phone = Role::BOTH.into_iter().any(|role| meeting.party(role).call_type == CallType::Phone);
    match (&meeting.dial_in, settings.number_pool.is_empty()) {
        (None, true) => vec!["no_number_pool"],
        (None, false) => vec!["pool_unusable"],
        (Some(_), _) if by_phone && !meeting.call_back => vec!["pool_exhausted"],
        (Some(_), _) => Vec::new(),
    }
}
