//! What a meeting is and what it does next: pure state, changed only by [`Meeting::apply`].
//!
//! Invariant: a meeting is ended once and with one cause; the two never talk longer than its limit. What was refused has
//! changed nothing. Source: docs/contracts/meetings.md, "Behaviour".

mod effect;
mod input;
mod party;
mod rules;
mod settings;
mod state;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use effect::{Effect, Event, Notice};
pub use input::{Change, Input, Miss, News, Parting, Refused};
pub use party::{Actor, CallType, Party, PartyChange, Role};
pub use settings::{DurationUnit, LEGACY_SECRET, LEGACY_SECRET_PURPOSE, SETTING_NAMES, Settings};
pub use state::{Cause, State};

/// A meeting opens this long before its start, in milliseconds.
pub const OPEN_BEFORE_MS: i64 = 5 * MINUTE_MS;
/// Shortest and longest talk, extensions included, in milliseconds.
pub const MIN_DURATION_MS: i64 = MINUTE_MS;
/// See [`MIN_DURATION_MS`].
pub const MAX_DURATION_MS: i64 = 480 * MINUTE_MS;
/// Most calls that one meeting tries, automatic ones included.
pub const MAX_ATTEMPTS: u32 = 100;
/// Most times that the two propose for one meeting, answered or not.
pub const MAX_PROPOSALS: u32 = 20;
/// A call that reached nobody and said nothing for this long is given up, in milliseconds: two phones ring 30 s each.
pub const CONNECT_MAX_MS: i64 = 150_000;
/// The call itself ends the talk at its limit; the meeting looks after it this much later, in milliseconds.
pub const LIMIT_GRACE_MS: i64 = 1_000;
/// A start lies at most so far ahead, in milliseconds (ten years).
pub const MAX_AHEAD_MS: i64 = 3_653 * 24 * 60 * MINUTE_MS;

const MINUTE_MS: i64 = 60_000;

/// Another time, proposed by one party and not yet confirmed by the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// Who proposes.
    pub by: Role,
    /// UTC milliseconds.
    pub starts_ms: i64,
    /// The longest talk, milliseconds.
    pub duration_ms: i64,
}

impl Proposal {
    /// What the two see of it and answer.
    #[must_use]
    pub fn time(&self) -> ProposedTime {
        ProposedTime { starts_ms: self.starts_ms, duration_ms: self.duration_ms }
    }
}

/// The time that a proposal is about, as whoever answers it has read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProposedTime {
    /// UTC milliseconds.
    pub starts_ms: i64,
    /// The longest talk, milliseconds.
    pub duration_ms: i64,
}

/// What the two dial in with: 8 digits each, as texts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pins {
    /// The caller's.
    pub caller: String,
    /// The receiver's.
    pub receiver: String,
}

impl Pins {
    /// The PIN of one of the two.
    #[must_use]
    pub fn of(&self, role: Role) -> &str {
        match role {
            Role::Caller => &self.caller,
            Role::Receiver => &self.receiver,
        }
    }

    /// For whoever gives one of the two another PIN.
    pub fn of_mut(&mut self, role: Role) -> &mut String {
        match role {
            Role::Caller => &mut self.caller,
            Role::Receiver => &mut self.receiver,
        }
    }
}

/// What a new meeting is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMeeting {
    /// From the organisation's counter.
    pub id: i64,
    /// The organisation.
    pub org: String,
    /// The application.
    pub app: String,
    /// The order as the application knows it.
    pub order_id: String,
    /// Who ordered.
    pub caller: Party,
    /// Who is called.
    pub receiver: Party,
    /// UTC milliseconds; may lie in the past.
    pub starts_ms: i64,
    /// The longest talk, milliseconds.
    pub duration_ms: i64,
    /// What the two dial in with.
    pub pins: Pins,
    /// The number that both see and may call, if the application has a pool.
    pub dial_in: Option<String>,
    /// Whether a call from a party's own number to `dial_in` is this meeting's without a PIN.
    pub call_back: bool,
}

/// One meeting. Stored as it is, as JSON; the columns beside it are for look-ups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meeting {
    /// Counts from 1 in its organisation.
    pub id: i64,
    /// The organisation.
    pub org: String,
    /// The application.
    pub app: String,
    /// The order as the application knows it.
    pub order_id: String,
    /// Who ordered.
    pub caller: Party,
    /// Who is called.
    pub receiver: Party,
    /// As it was asked for, UTC milliseconds.
    pub starts_ms: i64,
    /// Nobody can begin a call from here on, UTC milliseconds. Extensions move it.
    pub ends_ms: i64,
    /// The longest talk without extensions, milliseconds.
    pub duration_ms: i64,
    /// By how much the talk was extended, milliseconds.
    pub extended_ms: i64,
    /// The part of `extended_ms` that the two took themselves, milliseconds.
    pub extended_by_parties_ms: i64,
    /// How long the two have talked on calls that are over, milliseconds.
    pub talked_ms: i64,
    /// How far it is.
    pub state: State,
    /// Why it ended; only then.
    pub cause: Option<Cause>,
    /// When it ended, UTC milliseconds.
    pub ended_ms: Option<i64>,
    /// Whether the two were ever bridged.
    pub talked: bool,
    /// Calls that were tried. The number of the last one is also its name in [`Input::Heard`].
    pub attempts: u32,
    /// What became of the last attempt that reached nobody.
    pub last_attempt: Option<Cause>,
    /// Who began the present call.
    pub initiator: Option<Role>,
    /// Since when the present call is being set up, UTC milliseconds.
    pub connecting_since_ms: Option<i64>,
    /// Since when the two are bridged, UTC milliseconds.
    pub live_since_ms: Option<i64>,
    /// After the two were parted: until when either may call again, UTC milliseconds.
    pub reconnect_until_ms: Option<i64>,
    /// Whether the server's own attempt was made, or can no longer be.
    pub auto_started: bool,
    /// Whether the reminders of the present time went out.
    pub reminded: bool,
    /// Another time that one of the two proposes.
    pub proposal: Option<Proposal>,
    /// How many times were proposed.
    #[serde(default)]
    pub proposals: u32,
    /// The number that both see and may call.
    pub dial_in: Option<String>,
    /// Whether a call from a party's own number to `dial_in` is this meeting's without a PIN.
    pub call_back: bool,
    /// What the two dial in with.
    pub pins: Pins,
    /// Ids of its calls, oldest first: `calls[n]` carried attempt n + 1.
    pub calls: Vec<String>,
    /// When it was made, UTC milliseconds.
    pub created_ms: i64,
    /// For guarded changes; the store counts it.
    pub revision: i64,
}

impl Meeting {
    /// A meeting that was just ordered, with what follows from that (`meeting.scheduled`, and `meeting.opened` when it
    /// is time already).
    #[must_use]
    pub fn schedule(new: NewMeeting, settings: &Settings, now_ms: i64) -> (Self, Vec<Effect>) {
        let NewMeeting { id, org, app, order_id, caller, receiver, starts_ms, duration_ms, pins, dial_in, call_back } =
            new;
        let mut meeting = Self {
            ends_ms: end_of(starts_ms, duration_ms, now_ms),
            id,
            org,
            app,
            order_id,
            caller,
            receiver,
            starts_ms,
            duration_ms,
            pins,
            dial_in,
            call_back,
            extended_ms: 0,
            extended_by_parties_ms: 0,
            talked_ms: 0,
            state: State::Scheduled,
            cause: None,
            ended_ms: None,
            talked: false,
            attempts: 0,
            last_attempt: None,
            initiator: None,
            connecting_since_ms: None,
            live_since_ms: None,
            reconnect_until_ms: None,
            auto_started: false,
            reminded: false,
            proposal: None,
            proposals: 0,
            calls: Vec::new(),
            created_ms: now_ms,
            revision: 0,
        };
        let effects = rules::begin(&mut meeting, settings, now_ms);
        (meeting, effects)
    }

    /// Moves the meeting by one input and says what follows from it, in this order. What time alone has changed until
    /// `now_ms` happens first, so that a late timer changes nothing. After it, [`Meeting::next_due_ms`] says when to
    /// come again.
    ///
    /// # Errors
    /// [`Refused`]; nothing has changed then.
    pub fn apply(&mut self, input: Input, settings: &Settings, now_ms: i64) -> Result<Vec<Effect>, Refused> {
        let mut next = self.clone();
        let effects = rules::apply(&mut next, input, settings, now_ms)?;
        *self = next;
        Ok(effects)
    }

    /// When [`Input::Due`] has something to do next, UTC milliseconds; none when the meeting is over.
    #[must_use]
    pub fn next_due_ms(&self, settings: &Settings) -> Option<i64> {
        rules::next_due_ms(self, settings)
    }

    /// Whether the server is to call by itself now: ask whoever may object, then say [`Input::AutoStart`] or
    /// [`Input::Vetoed`]; [`Input::Due`] leaves it to you.
    #[must_use]
    pub fn is_auto_start_due(&self, settings: &Settings, now_ms: i64) -> bool {
        rules::auto_start_ms(self, settings).is_some_and(|at_ms| (at_ms..rules::closes_ms(self)).contains(&now_ms))
    }

    /// When either may call, UTC milliseconds.
    #[must_use]
    pub fn opens_ms(&self) -> i64 {
        self.starts_ms.saturating_sub(OPEN_BEFORE_MS)
    }

    /// The longest talk, extensions included, milliseconds.
    #[must_use]
    pub fn limit_ms(&self) -> i64 {
        self.duration_ms.saturating_add(self.extended_ms)
    }

    /// What is left of the limit for the next call, or for the whole of the present one from its bridging, milliseconds.
    #[must_use]
    pub fn talk_left_ms(&self) -> i64 {
        self.limit_ms().saturating_sub(self.talked_ms).max(0)
    }

    /// How long the two have talked until now, milliseconds.
    #[must_use]
    pub fn talked_until_ms(&self, now_ms: i64) -> i64 {
        let present = self.live_since_ms.map_or(0, |since| now_ms.saturating_sub(since).clamp(0, self.talk_left_ms()));
        self.talked_ms.saturating_add(present)
    }

    /// How much longer the two themselves may extend it, milliseconds.
    #[must_use]
    pub fn extend_left_ms(&self, settings: &Settings) -> i64 {
        let of_parties = settings.extend_max_ms().saturating_sub(self.extended_by_parties_ms);
        of_parties.min(MAX_DURATION_MS.saturating_sub(self.limit_ms())).max(0)
    }

    /// One of the two.
    #[must_use]
    pub fn party(&self, role: Role) -> &Party {
        match role {
            Role::Caller => &self.caller,
            Role::Receiver => &self.receiver,
        }
    }

    /// Which of the two has this uid. Of a person who meets themselves: the caller.
    #[must_use]
    pub fn role_of(&self, uid: &str) -> Option<Role> {
        Role::BOTH.into_iter().find(|role| self.party(*role).uid == uid)
    }

    /// Whether a party may begin a call now, as its page shows it.
    #[must_use]
    pub fn can_be_called(&self, now_ms: i64) -> bool {
        matches!(self.state, State::Scheduled | State::Open)
            && (self.opens_ms()..rules::closes_ms(self)).contains(&now_ms)
            && self.attempts < MAX_ATTEMPTS
    }

    /// Notes which call carries the last attempt; the store keeps both in one write.
    pub fn carried_by(&mut self, call: String) {
        self.calls.push(call);
    }

    /// The number of the attempt that a call carries.
    #[must_use]
    pub fn attempt_of(&self, call: &str) -> Option<u32> {
        let index = self.calls.iter().rposition(|id| id == call)?;
        u32::try_from(index).ok()?.checked_add(1)
    }
}

/// Until when a meeting can be begun: its start and its length, and when that is over already, its length from now.
fn end_of(starts_ms: i64, duration_ms: i64, now_ms: i64) -> i64 {
    if starts_ms < now_ms { now_ms.saturating_add(duration_ms) } else { starts_ms.saturating_add(duration_ms) }
}
