//! `conference`: brings the customer into a room of the organisation, until somebody takes him out of it.

use super::{Context, Exit, Running, Turn, announcement::Announcing};
use crate::flows::{
    check::fields::Fields,
    machine::{Conference, ConferenceEnd, Effect, Input},
    template::Template,
};

pub(super) const EDGES: &[&str] = &["ended", "full", "failed"];
/// Longest name of a room, in characters.
const MAX_ROOM_CHARS: usize = 64;
/// What stands in for a value while the name around it is judged.
const SAMPLE: &str = "x";

/// Configuration of a `conference` step.
#[derive(Debug, Clone, PartialEq)]
pub struct Conferencing {
    /// The room's name.
    pub room: Template,
    /// Whether the conference is recorded while the customer is in it.
    pub record: bool,
    /// Whether the customer comes in muted.
    pub muted: bool,
    /// Most members, the customer included.
    pub max: u32,
}

impl Conferencing {
    pub(super) fn read(fields: &mut Fields<'_>) -> Self {
        let room = fields.required("room", Fields::integer_template);
        let given = fields.value("room").is_some_and(|room| room.is_string() || room.is_i64());
        let fits = if room.fixed().is_some() { is_room(&room.sample(SAMPLE)) } else { true };
        if given && !fits {
            fields.out_of_range("room", format!("room must be 1 to {MAX_ROOM_CHARS} of A-Z a-z 0-9 . _ -"));
        }
        Self {
            room,
            record: fields.flag("record", false),
            muted: fields.flag("muted", false),
            max: fields.integer("max", 2..=calls::conference::MAX_MEMBERS, calls::conference::DEFAULT_MEMBERS),
        }
    }

    pub(super) fn start(&self, context: &mut Context<'_>) -> Turn {
        let room = match self.room.needed(context.variables) {
            Ok(room) if is_room(&room) => room,
            Ok(_) => return Turn::Done(Exit::failed("failed", "not the name of a room")),
            Err(error) => return Turn::Done(Exit::failed("failed", error.to_string())),
        };
        let conference =
            Conference { room, record: self.record, muted: self.muted, max: self.max, announced: self.record };
        Turn::Wait(Box::new(if self.record {
            Joining::announced(conference, context)
        } else {
            context.push(Effect::Conference(conference.clone()));
            Joining::There(conference)
        }))
    }
}

/// A room's name stands in paths and logs as it is.
fn is_room(name: &str) -> bool {
    (1..=MAX_ROOM_CHARS).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

enum Joining {
    /// The customer hears that he is going to be recorded.
    Announcing { conference: Conference, announcing: Announcing },
    /// He is in the conference, or on his way.
    There(Conference),
}

impl Joining {
    /// Goes in once the customer has heard what the organisation says before a recording, if it says anything.
    fn announced(conference: Conference, context: &mut Context<'_>) -> Self {
        let conference = Conference { announced: true, ..conference };
        match context.announce() {
            Some(announcing) => Self::Announcing { conference, announcing },
            None => {
                context.push(Effect::Conference(conference.clone()));
                Self::There(conference)
            }
        }
    }
}

impl Running for Joining {
    fn on(&mut self, input: &Input, context: &mut Context<'_>) -> Option<Exit> {
        match self {
            Self::Announcing { conference, announcing } if announcing.on(input, context.out) => {
                context.push(Effect::Conference(conference.clone()));
                *self = Self::There(conference.clone());
            }
            // Somebody else has it recorded.
            Self::There(conference) if *input == Input::ConferenceRecorded => {
                *self = Self::announced(conference.clone(), context);
            }
            Self::Announcing { .. } | Self::There(_) => {}
        }
        let Input::ConferenceEnded(end) = input else { return None };
        Some(match end {
            ConferenceEnd::Ended => Exit::by("ended"),
            ConferenceEnd::Full => Exit::by("full"),
            ConferenceEnd::Failed => Exit::failed("failed", "the conference could not be joined"),
        })
    }
}
