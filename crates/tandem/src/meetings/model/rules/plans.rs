//! Plans that change: longer, another time, other people.
//! Invariant: a meeting whose call is under way is neither moved nor given to other people.

use serde_json::json;

use super::super::{
    Actor, CallType, Change, Effect, Event, MAX_AHEAD_MS, MAX_DURATION_MS, MAX_PROPOSALS, MIN_DURATION_MS, Meeting,
    Notice, PartyChange, Proposal, ProposedTime, Refused, Role, Settings, State, end_of,
};
use super::{Outcome, notices};
use kernel::time::rfc3339;

pub(super) fn extend(meeting: &mut Meeting, by: Actor, ms: i64, settings: &Settings) -> Outcome {
    if meeting.state == State::Ended {
        return Err(Refused::Ended);
    }
    if ms <= 0 || meeting.limit_ms().saturating_add(ms) > MAX_DURATION_MS {
        return Err(Refused::Duration);
    }
    if by.role().is_some() {
        let left_ms = meeting.extend_left_ms(settings);
        if ms > left_ms {
            return Err(Refused::ExtendLimit { left_ms });
        }
        meeting.extended_by_parties_ms += ms;
    }
    meeting.extended_ms += ms;
    meeting.ends_ms = meeting.ends_ms.saturating_add(ms);
    let told = json!({
        "by": by.as_str(), "seconds": ms / 1_000, "limit_seconds": meeting.limit_ms() / 1_000,
    });
    let mut effects = vec![Event::of(meeting, "meeting.extended", told).into()];
    effects.extend(limit(meeting));
    Ok(effects)
}

/// A call that is under way learns of another limit.
fn limit(meeting: &Meeting) -> Option<Effect> {
    let in_call = matches!(meeting.state, State::Connecting | State::Live);
    in_call.then(|| Effect::SetLimit { ms: meeting.talk_left_ms() })
}

pub(super) fn propose(
    meeting: &mut Meeting,
    by: Role,
    starts_ms: i64,
    duration_ms: Option<i64>,
    settings: &Settings,
    now_ms: i64,
) -> Outcome {
    check_idle(meeting)?;
    check_time(starts_ms, now_ms)?;
    let duration_ms = duration_ms.unwrap_or(meeting.duration_ms);
    check_duration(meeting, duration_ms)?;
    let proposal = Proposal { by, starts_ms, duration_ms };
    // A form that is sent twice: the other side knows already.
    if meeting.proposal == Some(proposal) {
        return Ok(Vec::new());
    }
    if meeting.proposals >= MAX_PROPOSALS {
        return Err(Refused::TooManyProposals);
    }
    meeting.proposals += 1;
    meeting.proposal = Some(proposal);
    let told = json!({
        "by": by.as_str(), "proposed_starts_at": rfc3339(starts_ms), "proposed_seconds": duration_ms / 1_000,
    });
    let mut effects = vec![Event::of(meeting, "meeting.proposed", told).into()];
    effects.extend(notices(settings, &[by.other()], Notice::Proposed));
    Ok(effects)
}

pub(super) fn confirm(
    meeting: &mut Meeting,
    by: Role,
    to: Option<ProposedTime>,
    settings: &Settings,
    now_ms: i64,
) -> Outcome {
    check_idle(meeting)?;
    let proposal = answered(meeting, to)?;
    if proposal.by == by {
        return Err(Refused::OwnProposal);
    }
    check_time(proposal.starts_ms, now_ms)?;
    check_duration(meeting, proposal.duration_ms)?;
    let before = times(meeting);
    place(meeting, proposal.starts_ms, proposal.duration_ms, now_ms);
    let mut effects = vec![rescheduled(meeting, Actor::Party(by), before, false)];
    effects.extend(notices(settings, &[proposal.by], Notice::Moved));
    Ok(effects)
}

pub(super) fn decline(meeting: &mut Meeting, by: Role, what: Option<ProposedTime>) -> Outcome {
    if meeting.state == State::Ended {
        return Err(Refused::Ended);
    }
    answered(meeting, what)?;
    meeting.proposal = None;
    Ok(vec![Event::of(meeting, "meeting.declined", json!({ "by": by.as_str() })).into()])
}

/// The proposal, if it is the one that somebody has read.
fn answered(meeting: &Meeting, read: Option<ProposedTime>) -> Result<Proposal, Refused> {
    let proposal = meeting.proposal.ok_or(Refused::NothingProposed)?;
    if read.is_none_or(|time| time == proposal.time()) { Ok(proposal) } else { Err(Refused::ProposalChanged) }
}

/// The application may change all of it. Whoever is no longer of the meeting does not sign in to it either.
pub(super) fn change(meeting: &mut Meeting, change: Change, settings: &Settings, now_ms: i64) -> Outcome {
    if meeting.state == State::Ended {
        return Err(Refused::Ended);
    }
    let Change { caller, receiver, starts_ms, duration_ms } = change;
    let duration_ms = duration_ms.unwrap_or(meeting.duration_ms);
    check_duration(meeting, duration_ms)?;
    let in_call = matches!(meeting.state, State::Connecting | State::Live);
    let before = times(meeting);
    let mut gone = Vec::new();
    for (role, change) in Role::BOTH.into_iter().zip([caller, receiver]) {
        gone.extend(change_party(meeting, role, change)?.map(|uid| (role, uid)));
    }
    if meeting.caller.uid == meeting.receiver.uid {
        return Err(Refused::SamePerson);
    }
    let moves = starts_ms.is_some_and(|at_ms| at_ms != meeting.starts_ms);
    if in_call && (moves || !gone.is_empty()) {
        return Err(Refused::InCall);
    }
    match starts_ms {
        Some(starts_ms) if moves => {
            // A time that is over is taken as at the first order; one that never comes is not taken.
            if starts_ms > now_ms.saturating_add(MAX_AHEAD_MS) {
                return Err(Refused::NoSuchTime);
            }
            place(meeting, starts_ms, duration_ms, now_ms);
        }
        _ => {
            meeting.ends_ms = meeting.ends_ms.saturating_add(duration_ms - meeting.duration_ms);
            meeting.duration_ms = duration_ms;
            if let Some(starts_ms) = starts_ms {
                let again = end_of(starts_ms, duration_ms, now_ms).saturating_add(meeting.extended_ms);
                meeting.ends_ms = meeting.ends_ms.max(again);
            }
        }
    }
    let mut effects = Vec::new();
    if times(meeting) != before || !gone.is_empty() {
        effects.push(rescheduled(meeting, Actor::Application, before, !gone.is_empty()));
    }
    if before.duration_ms != meeting.duration_ms {
        effects.extend(limit(meeting));
    }
    if before.starts_ms != meeting.starts_ms {
        effects.extend(notices(settings, &Role::BOTH, Notice::Moved));
    }
    // Whoever comes after the reminders went out has had none.
    if meeting.reminded && now_ms < meeting.starts_ms {
        let new: Vec<Role> = gone.iter().map(|(role, _)| *role).collect();
        effects.extend(notices(settings, &new, Notice::Reminder));
    }
    effects.extend(gone.into_iter().map(|(_, uid)| Effect::Revoke { uid }));
    Ok(effects)
}

/// When a meeting is.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Times {
    starts_ms: i64,
    ends_ms: i64,
    duration_ms: i64,
}

fn times(meeting: &Meeting) -> Times {
    Times { starts_ms: meeting.starts_ms, ends_ms: meeting.ends_ms, duration_ms: meeting.duration_ms }
}

fn rescheduled(meeting: &Meeting, by: Actor, before: Times, parties_changed: bool) -> Effect {
    let told = json!({
        "by": by.as_str(),
        "previous_starts_at": rfc3339(before.starts_ms), "previous_ends_at": rfc3339(before.ends_ms),
        "duration_seconds": meeting.duration_ms / 1_000, "parties_changed": parties_changed,
    });
    Event::of(meeting, "meeting.rescheduled", told).into()
}

/// Changes one of the two, who may be somebody else then; the uid of who is gone.
fn change_party(meeting: &mut Meeting, role: Role, change: PartyChange) -> Result<Option<String>, Refused> {
    let place = match role {
        Role::Caller => &mut meeting.caller,
        Role::Receiver => &mut meeting.receiver,
    };
    let new = change.applied_to(place);
    if new != *place && new.call_type == CallType::Phone && new.number.is_none() {
        return Err(Refused::NoNumber { who: role });
    }
    let old = std::mem::replace(place, new);
    Ok((old.uid != place.uid).then_some(old.uid))
}

/// Gives the meeting another time. What was talked counts still, what was tried does not.
fn place(meeting: &mut Meeting, starts_ms: i64, duration_ms: i64, now_ms: i64) {
    meeting.starts_ms = starts_ms;
    meeting.duration_ms = duration_ms;
    meeting.ends_ms = end_of(starts_ms, duration_ms, now_ms).saturating_add(meeting.extended_ms);
    meeting.proposal = None;
    meeting.reminded = false;
    meeting.auto_started = false;
    meeting.last_attempt = None;
    meeting.reconnect_until_ms = None;
    if meeting.state == State::Open && now_ms < meeting.opens_ms() {
        meeting.state = State::Scheduled;
    }
}

fn check_idle(meeting: &Meeting) -> Result<(), Refused> {
    match meeting.state {
        State::Scheduled | State::Open => Ok(()),
        State::Connecting | State::Live => Err(Refused::InCall),
        State::Ended => Err(Refused::Ended),
    }
}

fn check_time(starts_ms: i64, now_ms: i64) -> Result<(), Refused> {
    let ahead = now_ms..=now_ms.saturating_add(MAX_AHEAD_MS);
    if ahead.contains(&starts_ms) { Ok(()) } else { Err(Refused::NoSuchTime) }
}

fn check_duration(meeting: &Meeting, duration_ms: i64) -> Result<(), Refused> {
    let with_extensions = duration_ms.saturating_add(meeting.extended_ms);
    if duration_ms >= MIN_DURATION_MS && with_extensions <= MAX_DURATION_MS { Ok(()) } else { Err(Refused::Duration) }
}
