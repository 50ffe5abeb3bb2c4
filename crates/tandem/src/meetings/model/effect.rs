//! What follows from an input: what to write, whom to ring, what to tell. The desk carries it out.

use serde_json::{Map, Value, json};

use super::{Cause, Meeting, Party, Role, State};
use kernel::time::rfc3339;

/// One thing to do. Events, revocations and notices are committed with the meeting; calls follow the commit.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// One row of the event log.
    Event(Event),
    /// The sign-in tokens and links of this meeting are void for this person.
    Revoke {
        /// The person, as the application knows them.
        uid: String,
    },
    /// A call is to be made: `first` is rung, then the other. Note it with [`Meeting::carried_by`].
    Ring {
        /// Who began, or dialled in and is there already.
        first: Role,
        /// Whether `first` dialled in.
        dialled_in: bool,
        /// Its number.
        attempt: u32,
        /// How long the two may talk on it, milliseconds from their bridging.
        limit_ms: i64,
    },
    /// Every call ends but one that begins now: the present one, and one whose first party still hears why there was none.
    HangUp,
    /// The talk on the present call may last this long from its bridging, milliseconds.
    SetLimit {
        /// Milliseconds.
        ms: i64,
    },
    /// Somebody is to be told by mail or text message.
    Notify {
        /// Whom.
        who: Role,
        /// Of what.
        what: Notice,
    },
}

/// What a party is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Notice {
    /// It begins soon.
    Reminder,
    /// It is at another time.
    Moved,
    /// The other proposes another time.
    Proposed,
    /// It is called off.
    Cancelled,
}

impl Notice {
    /// Whether what was told before is not true any more. A reminder is no news: one to a newcomer alone takes back
    /// nothing that the other still waits for.
    #[must_use]
    pub fn is_news(self) -> bool {
        self != Self::Reminder
    }

    /// The word in the outbox.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reminder => "reminder",
            Self::Moved => "moved",
            Self::Proposed => "proposed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// An event of a meeting. Its key is the meeting's id.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// `meeting.opened` and so on.
    pub kind: &'static str,
    /// The `data` of the envelope: an object with `meeting_id`. Numbers only as their last two digits.
    pub data: Value,
}

impl Event {
    /// An event that tells how the meeting stands, and what is said besides.
    pub(super) fn of(meeting: &Meeting, kind: &'static str, more: Value) -> Self {
        let mut data = Map::new();
        data.insert("meeting_id".into(), meeting.id.into());
        data.insert("application".into(), meeting.app.as_str().into());
        data.insert("order_id".into(), meeting.order_id.as_str().into());
        data.insert("state".into(), meeting.state.as_str().into());
        data.insert("caller".into(), told(&meeting.caller));
        data.insert("receiver".into(), told(&meeting.receiver));
        data.insert("starts_at".into(), rfc3339(meeting.starts_ms).into());
        data.insert("ends_at".into(), rfc3339(meeting.ends_ms).into());
        if let Value::Object(more) = more {
            data.extend(more);
        }
        Self { kind, data: Value::Object(data) }
    }

    /// `meeting.out_of_session`: somebody called a meeting that is not open, or was kept from calling.
    #[must_use]
    pub fn out_of_session(meeting: &Meeting, by: Option<Role>, reason: &str) -> Self {
        Self::of(meeting, "meeting.out_of_session", json!({ "by": by.map(Role::as_str), "reason": reason }))
    }

    pub(super) fn ended(meeting: &Meeting, cause: Cause, by: &str) -> Self {
        debug_assert_eq!(meeting.state, State::Ended, "the event tells of the state that it leads to");
        let more = json!({
            "cause": cause.as_str(), "by": by, "attempts": meeting.attempts,
            "talked_seconds": meeting.talked_ms / 1_000,
        });
        Self::of(meeting, "meeting.ended", more)
    }
}

impl From<Event> for Effect {
    fn from(event: Event) -> Self {
        Self::Event(event)
    }
}

/// A party as events tell of it: no name, and of the number only how it ends.
fn told(party: &Party) -> Value {
    let number = party.number.as_deref().map(last_two);
    json!({ "uid": party.uid, "number": number, "call_type": party.call_type.as_str() })
}

/// The last two digits of a number; nothing of one so short that they would be all of it.
fn last_two(number: &str) -> String {
    let digits: Vec<char> = number.chars().filter(char::is_ascii_digit).collect();
    match digits.len() {
        0..=2 => String::new(),
        len => digits.iter().skip(len - 2).collect(),
    }
}
