//! The life of a meeting: how it opens, is called, talks, is parted and ends.
//! Invariant: whoever leaves `Connecting` or `Live` goes through here, so that talk is counted once.

mod plans;

use serde_json::json;

use super::{
    Actor, CONNECT_MAX_MS, Cause, Effect, Event, Input, LIMIT_GRACE_MS, MAX_ATTEMPTS, Meeting, Miss, News, Notice,
    Parting, Refused, Role, Settings, State,
};

type Outcome = Result<Vec<Effect>, Refused>;

/// What follows from the order itself.
pub(super) fn begin(meeting: &mut Meeting, settings: &Settings, now_ms: i64) -> Vec<Effect> {
    let mut effects = vec![Event::of(meeting, "meeting.scheduled", json!({})).into()];
    effects.extend(advance(meeting, settings, now_ms));
    effects
}

/// See [`Meeting::apply`]. May leave a half-changed meeting behind when it refuses.
pub(super) fn apply(meeting: &mut Meeting, input: Input, settings: &Settings, now_ms: i64) -> Outcome {
    if let Input::Restarted { died_ms } = input {
        return Ok(restart(meeting, settings, died_ms, now_ms));
    }
    let mut effects = advance(meeting, settings, now_ms);
    effects.extend(match input {
        Input::Due | Input::Restarted { .. } => Vec::new(),
        Input::Call { by } => attempt(meeting, by, false, now_ms)?,
        Input::DialIn { by } => attempt(meeting, by, true, now_ms)?,
        Input::AutoStart => auto_start(meeting, settings, now_ms)?,
        Input::Vetoed { by } => veto(meeting, by),
        Input::Heard { attempt, news } if attempt == meeting.attempts => hear(meeting, news, settings, now_ms),
        Input::Heard { .. } => Vec::new(),
        Input::Extend { by, ms } => plans::extend(meeting, by, ms, settings)?,
        Input::Finish { by } => finish(meeting, by, now_ms)?,
        Input::Cancel { by } => cancel(meeting, by, settings, now_ms)?,
        Input::Propose { by, starts_ms, duration_ms } => {
            plans::propose(meeting, by, starts_ms, duration_ms, settings, now_ms)?
        }
        Input::Confirm { by, to } => plans::confirm(meeting, by, to, settings, now_ms)?,
        Input::Decline { by, what } => plans::decline(meeting, by, what)?,
        Input::Change(change) => plans::change(meeting, *change, settings, now_ms)?,
    });
    // A meeting that was moved may be open, or due for its reminder, at once.
    effects.extend(advance(meeting, settings, now_ms));
    Ok(effects)
}

/// See [`Meeting::next_due_ms`].
pub(super) fn next_due_ms(meeting: &Meeting, settings: &Settings) -> Option<i64> {
    let reminder = reminder_ms(meeting, settings);
    match meeting.state {
        State::Scheduled => [Some(meeting.opens_ms()), reminder].into_iter().flatten().min(),
        State::Open => {
            [Some(closes_ms(meeting)), auto_start_ms(meeting, settings), reminder].into_iter().flatten().min()
        }
        State::Connecting => meeting.connecting_since_ms.map(|since| since.saturating_add(CONNECT_MAX_MS)),
        State::Live => meeting.live_since_ms.map(|since| overrun_ms(meeting, since)),
        State::Ended => None,
    }
}

/// From when on nobody can begin a call.
pub(super) fn closes_ms(meeting: &Meeting) -> i64 {
    meeting.reconnect_until_ms.map_or(meeting.ends_ms, |until| until.min(meeting.ends_ms))
}

/// When the server calls by itself; none when it need not any more.
pub(super) fn auto_start_ms(meeting: &Meeting, settings: &Settings) -> Option<i64> {
    let wanted = settings.auto_start && !meeting.auto_started && meeting.attempts < MAX_ATTEMPTS;
    (wanted && matches!(meeting.state, State::Scheduled | State::Open)).then_some(meeting.starts_ms)
}

fn reminder_ms(meeting: &Meeting, settings: &Settings) -> Option<i64> {
    let before_ms = settings.remind_before_ms().filter(|_| !meeting.reminded)?;
    Some(meeting.starts_ms.saturating_sub(before_ms))
}

/// When a talk has outlived its limit although its call should have ended it.
fn overrun_ms(meeting: &Meeting, since_ms: i64) -> i64 {
    since_ms.saturating_add(meeting.talk_left_ms()).saturating_add(LIMIT_GRACE_MS)
}

/// What time alone does.
fn advance(meeting: &mut Meeting, settings: &Settings, now_ms: i64) -> Vec<Effect> {
    let mut effects = remind(meeting, settings, now_ms);
    if meeting.state == State::Scheduled && now_ms >= meeting.opens_ms() {
        meeting.state = State::Open;
        effects.push(Event::of(meeting, "meeting.opened", json!({ "reason": "time" })).into());
    }
    match meeting.state {
        // Its time may be over, or its talk: the length of a meeting whose two were parted can be cut.
        State::Open if now_ms >= closes_ms(meeting) || (meeting.talked && meeting.talk_left_ms() == 0) => {
            let cause = cause_at_close(meeting, settings);
            effects.extend(end(meeting, cause, Actor::System, now_ms));
        }
        State::Connecting if meeting.connecting_since_ms.is_none_or(|since| now_ms >= since + CONNECT_MAX_MS) => {
            effects.extend(fall_back(meeting, Cause::Failed, "failed", settings, now_ms));
            effects.push(Effect::HangUp);
        }
        State::Live if meeting.live_since_ms.is_none_or(|since| now_ms >= overrun_ms(meeting, since)) => {
            count_talk(meeting, meeting.talk_left_ms());
            effects.extend(end(meeting, Cause::Completed, Actor::System, now_ms));
            effects.push(Effect::HangUp);
        }
        _ => {}
    }
    effects
}

fn remind(meeting: &mut Meeting, settings: &Settings, now_ms: i64) -> Vec<Effect> {
    let waiting = matches!(meeting.state, State::Scheduled | State::Open);
    if !waiting || reminder_ms(meeting, settings).is_none_or(|at_ms| now_ms < at_ms) {
        return Vec::new();
    }
    meeting.reminded = true;
    // Who gets it after the start would wonder.
    if now_ms >= meeting.starts_ms {
        return Vec::new();
    }
    notices(settings, &Role::BOTH, Notice::Reminder)
}

/// Notices, if the application wants its parties written to at all.
fn notices(settings: &Settings, who: &[Role], what: Notice) -> Vec<Effect> {
    let wanted = settings.remind_before_ms().is_some();
    who.iter().filter(|_| wanted).map(|&who| Effect::Notify { who, what }).collect()
}

/// Why a meeting ends that nobody calls any more.
fn cause_at_close(meeting: &Meeting, settings: &Settings) -> Cause {
    if meeting.talked {
        return Cause::Completed;
    }
    let untried = if settings.auto_start { Cause::NoShow } else { Cause::Expired };
    meeting.last_attempt.unwrap_or(untried)
}

fn attempt(meeting: &mut Meeting, first: Role, dialled_in: bool, now_ms: i64) -> Outcome {
    match meeting.state {
        State::Scheduled => return Err(Refused::TooEarly),
        State::Ended => return Err(Refused::Ended),
        State::Connecting | State::Live => return Err(Refused::InCall),
        State::Open if meeting.attempts >= MAX_ATTEMPTS => return Err(Refused::TooManyAttempts),
        State::Open => {}
    }
    meeting.state = State::Connecting;
    meeting.attempts += 1;
    meeting.initiator = Some(first);
    meeting.connecting_since_ms = Some(now_ms);
    // Whoever calls before the start has taken the server's call from it.
    meeting.auto_started = true;
    let attempt = meeting.attempts;
    let told = json!({ "first": first.as_str(), "attempt": attempt, "dialled_in": dialled_in });
    let event = Event::of(meeting, "meeting.connecting", told).into();
    Ok(vec![event, Effect::Ring { first, dialled_in, attempt, limit_ms: meeting.talk_left_ms() }])
}

fn auto_start(meeting: &mut Meeting, settings: &Settings, now_ms: i64) -> Outcome {
    if !meeting.is_auto_start_due(settings, now_ms) || meeting.state != State::Open {
        return Ok(Vec::new());
    }
    meeting.auto_started = true;
    attempt(meeting, Role::Caller, false, now_ms)
}

fn veto(meeting: &mut Meeting, by: Option<Role>) -> Vec<Effect> {
    if by.is_none() {
        meeting.auto_started = true;
    }
    vec![Event::out_of_session(meeting, by, "vetoed").into()]
}

/// What the present call tells. News that does not fit the state is of a call that was given up.
fn hear(meeting: &mut Meeting, news: News, settings: &Settings, now_ms: i64) -> Vec<Effect> {
    match (meeting.state, news) {
        (State::Connecting, News::NotReached { who, miss }) => missed(meeting, who, miss, settings, now_ms),
        (State::Connecting, News::Unbridged { .. }) => fall_back(meeting, Cause::Failed, "failed", settings, now_ms),
        (State::Connecting, News::Bridged) => {
            meeting.state = State::Live;
            meeting.talked = true;
            meeting.connecting_since_ms = None;
            meeting.live_since_ms = Some(now_ms);
            meeting.reconnect_until_ms = None;
            meeting.last_attempt = None;
            let told = json!({ "attempt": meeting.attempts, "limit_seconds": meeting.talk_left_ms() / 1_000 });
            vec![Event::of(meeting, "meeting.live", told).into()]
        }
        (State::Live, News::Unbridged { why, talked_ms }) => part(meeting, why, talked_ms, settings, now_ms),
        (State::Live, News::NotReached { .. }) => {
            let talked_ms = now_ms - meeting.live_since_ms.unwrap_or(now_ms);
            part(meeting, Parting::Lost, talked_ms, settings, now_ms)
        }
        _ => Vec::new(),
    }
}

fn missed(meeting: &mut Meeting, who: Role, miss: Miss, settings: &Settings, now_ms: i64) -> Vec<Effect> {
    let cause = match miss {
        Miss::NoAnswer | Miss::GaveUp => Cause::NoShow,
        Miss::Busy => Cause::Busy,
        Miss::Failed => Cause::Failed,
    };
    let mut effects = Vec::new();
    if miss == Miss::NoAnswer {
        let told = json!({ "who": who.as_str(), "attempt": meeting.attempts });
        effects.push(Event::of(meeting, "meeting.no_show", told).into());
    }
    effects.extend(fall_back(meeting, cause, miss.as_str(), settings, now_ms));
    effects
}

/// An attempt that did not bring the two together: open again as long as there is time.
fn fall_back(meeting: &mut Meeting, cause: Cause, reason: &str, settings: &Settings, now_ms: i64) -> Vec<Effect> {
    meeting.last_attempt = Some(cause);
    reopen(meeting, reason, settings, now_ms)
}

/// The two were parted: done when their time is used up, else open for a while. A limit that was moved in the moment in
/// which the call reached it was none.
fn part(meeting: &mut Meeting, why: Parting, talked_ms: i64, settings: &Settings, now_ms: i64) -> Vec<Effect> {
    count_talk(meeting, talked_ms);
    let (reason, by) = match why {
        Parting::HungUp(role) => ("hung_up", Actor::Party(role)),
        Parting::Lost => ("lost", Actor::System),
        Parting::Limit | Parting::Desk => ("server", Actor::System),
    };
    part_for(meeting, reason, by, settings, now_ms)
}

fn part_for(meeting: &mut Meeting, reason: &str, by: Actor, settings: &Settings, now_ms: i64) -> Vec<Effect> {
    let reconnect_ms = settings.reconnect_ms();
    if reconnect_ms == 0 || meeting.talk_left_ms() == 0 {
        return end(meeting, Cause::Completed, by, now_ms);
    }
    meeting.reconnect_until_ms = Some(now_ms.saturating_add(reconnect_ms));
    reopen(meeting, reason, settings, now_ms)
}

fn reopen(meeting: &mut Meeting, reason: &str, settings: &Settings, now_ms: i64) -> Vec<Effect> {
    meeting.state = State::Open;
    meeting.connecting_since_ms = None;
    meeting.live_since_ms = None;
    if now_ms >= closes_ms(meeting) {
        return end(meeting, cause_at_close(meeting, settings), Actor::System, now_ms);
    }
    let told = json!({ "reason": reason, "attempt": meeting.attempts, "talked_seconds": meeting.talked_ms / 1_000 });
    vec![Event::of(meeting, "meeting.opened", told).into()]
}

/// Adds the present call's talk, never beyond the limit.
fn count_talk(meeting: &mut Meeting, talked_ms: i64) {
    meeting.talked_ms += talked_ms.clamp(0, meeting.talk_left_ms());
    meeting.live_since_ms = None;
}

fn finish(meeting: &mut Meeting, by: Actor, now_ms: i64) -> Outcome {
    match meeting.state {
        State::Scheduled => Err(Refused::NotBegun),
        State::Ended => Err(Refused::Ended),
        State::Open | State::Connecting | State::Live => Ok(end_now(meeting, Cause::Completed, by, now_ms)),
    }
}

fn cancel(meeting: &mut Meeting, by: Actor, settings: &Settings, now_ms: i64) -> Outcome {
    if meeting.state == State::Ended {
        return Err(Refused::Ended);
    }
    let mut effects = vec![Event::of(meeting, "meeting.cancelled", json!({ "by": by.as_str() })).into()];
    effects.extend(end_now(meeting, Cause::Cancelled, by, now_ms));
    effects.extend(Role::BOTH.map(|role| Effect::Revoke { uid: meeting.party(role).uid.clone() }));
    effects.extend(notices(settings, &others(by), Notice::Cancelled));
    Ok(effects)
}

/// Whom the deed of one concerns besides itself.
fn others(by: Actor) -> Vec<Role> {
    Role::BOTH.into_iter().filter(|role| by.role() != Some(*role)).collect()
}

/// Ends a meeting that may have a call, or one whose first party still hears why there was none.
fn end_now(meeting: &mut Meeting, cause: Cause, by: Actor, now_ms: i64) -> Vec<Effect> {
    if let Some(since_ms) = meeting.live_since_ms {
        count_talk(meeting, now_ms.saturating_sub(since_ms));
    }
    let mut effects = end(meeting, cause, by, now_ms);
    effects.push(Effect::HangUp);
    effects
}

/// The one way into [`State::Ended`].
fn end(meeting: &mut Meeting, cause: Cause, by: Actor, now_ms: i64) -> Vec<Effect> {
    meeting.state = State::Ended;
    meeting.cause = Some(cause);
    meeting.ended_ms = Some(now_ms);
    meeting.connecting_since_ms = None;
    meeting.live_since_ms = None;
    meeting.reconnect_until_ms = None;
    meeting.proposal = None;
    let mut effects = Vec::new();
    if cause == Cause::NoShow && meeting.attempts == 0 {
        effects.push(Event::of(meeting, "meeting.no_show", json!({ "who": null, "attempt": 0 })).into());
    }
    effects.push(Event::ended(meeting, cause, by.as_str()).into());
    effects
}

/// The server has started again: the calls of before are gone, what was said on them until its last sign of life counts.
fn restart(meeting: &mut Meeting, settings: &Settings, died_ms: i64, now_ms: i64) -> Vec<Effect> {
    match (meeting.state, meeting.live_since_ms) {
        (State::Connecting, _) => fall_back(meeting, Cause::Failed, "server_restart", settings, now_ms),
        (State::Live, since_ms) => {
            count_talk(meeting, died_ms.min(now_ms).saturating_sub(since_ms.unwrap_or(died_ms)));
            part_for(meeting, "server_restart", Actor::System, settings, now_ms)
        }
        _ => advance(meeting, settings, now_ms),
    }
}
