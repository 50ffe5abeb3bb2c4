//! The number that the two of a meeting see and may call.
//!
//! Invariant: it is one of the application's pool that leads to meetings, or none, and is kept for the two in the commit
//! of their meeting; who calls it from a party's own number is that party of one meeting, or enters a PIN.

use calls::Bound;
use calls::masking::{CallBack, Mask, MaskOrder, line_of};
use calls::pairing::PairSide;
use kernel::{DbError, Write};

use super::model::{CallType, Meeting, Party, Role, Settings, State};
use super::{Meetings, store};

/// A number is kept for its pair so long beyond the meeting's end, in milliseconds: the end frees it, this only frees what
/// a crash left.
const KEPT_MS: i64 = 7 * 24 * 3_600_000;
/// A party that calls so long after its meeting hears that it is over, in milliseconds.
const REMEMBERED_MS: i64 = 24 * 3_600_000;
/// How pairs of meetings are named on floor 3.
const PAIR: &str = "meeting/";

/// Whom a number is for.
pub(super) struct Pair<'a> {
    /// The meeting.
    pub(super) id: i64,
    /// Nobody begins a call from here on, UTC milliseconds.
    pub(super) ends_ms: i64,
    /// Caller and receiver.
    pub(super) parties: [&'a Party; 2],
}

impl<'a> Pair<'a> {
    fn of(meeting: &'a Meeting) -> Self {
        Self { id: meeting.id, ends_ms: meeting.ends_ms, parties: [&meeting.caller, &meeting.receiver] }
    }
}

/// A number for a pair, or none.
pub(super) struct Choice {
    /// One of the application's pool.
    pub(super) dial_in: Option<String>,
    /// Whether a call from a party's own number to it is this meeting's without a PIN.
    pub(super) call_back: bool,
    /// What makes it theirs, for the commit of the meeting.
    pub(super) writes: Vec<Write>,
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
    /// Chooses a number of the application's pool for the two of a meeting. It is theirs once the choice is committed;
    /// that fails with a conflict when others were quicker: choose again then, `tries` counts how often.
    pub(super) async fn choose_number(
        &self,
        org: &str,
        settings: &Settings,
        pair: Pair<'_>,
        tries: usize,
    ) -> Result<Choice, DbError> {
        let Pair { id, ends_ms, parties } = pair;
        let mut pool = self.usable(org, settings).await?;
        let any = pool.first().cloned();
        if tries > 0 && !pool.is_empty() {
            // Those who wanted the same number in the same moment now begin at different ones.
            let places = pool.len();
            pool.rotate_left(usize::try_from(id).unwrap_or_default() % places);
        }
        let [first, second] = parties.map(|party| {
            let by_phone = party.call_type == CallType::Phone;
            party.number.clone().filter(|_| by_phone)
        });
        let until_ms = ends_ms.saturating_add(KEPT_MS);
        let order = MaskOrder { org: org.into(), pair: format!("{PAIR}{id}"), pool, first, second, until_ms };
        let Mask { number, exhausted, writes } = self.calls().mask(&order).await?;
        let call_back = number.is_some() && !exhausted;
        // Two who talk in their pages may still come in by a phone and a PIN.
        Ok(Choice { dial_in: number.or(any), call_back, writes })
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

    /// The number of a meeting that has changed: chosen again when its parties or its time are others, and the same if
    /// that can be; free when it is over.
    pub(super) async fn renew_number(
        &self,
        before: &Meeting,
        meeting: &mut Meeting,
        settings: &Settings,
        tries: usize,
    ) -> Result<Vec<Write>, DbError> {
        if meeting.state == State::Ended {
            let ends = before.state != State::Ended;
            return Ok(if ends {
                self.calls().unmask(&meeting.org, &format!("{PAIR}{}", meeting.id))
            } else {
                Vec::new()
            });
        }
        let same_phones = Role::BOTH.into_iter().all(|role| {
            let (old, new) = (before.party(role), meeting.party(role));
            (&old.number, old.call_type) == (&new.number, new.call_type)
        });
        if same_phones && before.ends_ms == meeting.ends_ms {
            return Ok(Vec::new());
        }
        let choice = self.choose_number(&meeting.org, settings, Pair::of(meeting), tries).await?;
        meeting.dial_in = choice.dial_in;
        meeting.call_back = choice.call_back;
        Ok(choice.writes)
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
                let Some(id) = pair.strip_prefix(PAIR).and_then(|id| id.parse().ok()) else { return Ok(Line::Unknown) };
                let role = role_of(side);
                // Who its parties are is for the meeting to say.
                let meeting = store::meeting(&self.kernel().db, org, None, id).await?;
                let is_its = meeting.is_some_and(|meeting| is_line(meeting.party(role), line));
                Ok(if is_its { Line::Party(id, role) } else { Line::Unknown })
            }
            CallBack::Unclear => Ok(Line::Unknown),
            CallBack::Nobody => self.former_party(org, dialled, line).await,
        }
    }

    /// A party of the last meeting with this number that ended a while ago.
    async fn former_party(&self, org: &str, dialled: &str, line: &str) -> Result<Line, DbError> {
        let since_ms = self.now_ms().saturating_sub(REMEMBERED_MS);
        let ended = store::last_of_line(&self.kernel().db, org, &line_of(line), since_ms).await?;
        let last = ended.iter().find(|meeting| meeting.dial_in.as_deref() == Some(dialled));
        let known = last.filter(|meeting| meeting.call_back).and_then(|meeting| {
            let role = Role::BOTH.into_iter().find(|role| is_line(meeting.party(*role), line))?;
            Some(Line::Party(meeting.id, role))
        });
        Ok(known.unwrap_or(Line::Unknown))
    }
}

/// Whether a call from there is this party's.
fn is_line(party: &Party, line: &str) -> bool {
    party.number.as_deref().is_some_and(|number| line_of(number) == line_of(line))
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
