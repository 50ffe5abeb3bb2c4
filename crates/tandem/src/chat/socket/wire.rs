//! The words of a chat in real time: one JSON object a message, told apart by `type`. WebSocket and server-sent events
//! speak the same ones.
//!
//! A client says [`Up`]; the server says what [`Down`] writes. A conversation:
//!
//! ```text
//! client  {"type":"hello","token":"...","rooms":{"65f0...":12}}       first; the cursors: the last seq seen of each room
//! server  {"type":"ready","you":{"role":"visitor"},"heads":{"65f0...":14},"missed":[{"type":"msg",...},...]}
//!
//! client  {"type":"send","room":"65f0...","cid":"c1","kind":"text","body":"Hello"}
//! server  {"type":"msg","room":"65f0...","seq":15,"id":"...","kind":"text","body":"Hello","author":"Ann","side":false,
//!          "role":"visitor","at":"2031-05-01T17:00:00.000Z","cid":"c1"}
//! server  {"type":"ack","room":"65f0...","cid":"c1","seq":15,"id":"...","at":"2031-05-01T17:00:00.000Z"}
//! ```
//!
//! | who | frame | means |
//! |---|---|---|
//! | client | `send{room,cid,kind?,body,side?,author?}` | a message; the same `cid` again is the same message, and gets the same `ack` |
//! | client | `edit{room,seq or id,body}`, `delete{room,seq or id}` | changes one; whoever sees the room is told, the sender too |
//! | client | `read{room,seq}`, `delivered{room,seq}` | everything up to `seq` was read, or reached the screen |
//! | client | `typing{room,on?}`, `draft{room,text}` | not stored; a draft is shown to the support only |
//! | client | `hello{rooms}` once more | hears these rooms too, from these cursors on; answered by `ready` |
//! | client | `ping` | answered with `pong` |
//! | server | `msg`, `edit{room,seq,id,body,at}`, `delete{room,seq,id,at}` | after the commit; `msg` in the order of `seq`, each once |
//! | server | `read{room,from,delivered,seq}` | how far a side has come |
//! | server | `typing{room,from,on}`, `draft{room,from,text}`, `presence{room,from,state}` | what the others do |
//! | server | `room{room,state,assignee,team,revision}`, `note{...}`, `queue{room,position}` | what changed beside the messages |
//! | server | `tags{room,tags}`, `agent{person,state,capacity,load}` | to those who answer: a room's tags, who takes chats |
//! | server | `error{code,message,retry_after?,room?,cid?,field?}` | a frame was not taken and changed nothing |
//!
//! `missed` has what came after the cursors, or the first of it; the rest follows as `msg` until the heads are reached. A
//! gap in `seq` means that something is to be fetched: `GET /v1/chat/rooms/{room}/messages?after=`.

mod down;
mod up;

use std::borrow::Cow;

use kernel::Problem;
use serde::Serialize;

use crate::chat::model::Id;

pub use down::{Down, Someone};
pub use up::{Up, Which};

/// Largest message of a client, in bytes.
pub const MAX_FRAME_BYTES: usize = 65_536;
/// Rooms that one hello may name.
pub const MAX_CURSORS: usize = 200;
/// Why a frame is not taken; it becomes an `error`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// A word of `/v1/errors`.
    pub code: Cow<'static, str>,
    /// A sentence.
    pub message: String,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
    /// The room that the frame named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room: Option<Id>,
    /// The client's own name of the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cid: Option<Id>,
    /// The member of the frame that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<Cow<'static, str>>,
}

impl Refusal {
    /// With a word and a sentence.
    #[must_use]
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), ..Self::default() }
    }

    /// A member that is missing or out of its range.
    fn field(field: &'static str, message: &str) -> Self {
        Self { field: Some(field.into()), ..Self::new("invalid_field", format!("{field}: {message}")) }
    }

    /// About a room, and perhaps a message that was to be sent there.
    #[must_use]
    pub fn about(self, room: &Id, cid: Option<&Id>) -> Self {
        Self { room: Some(room.clone()), cid: cid.cloned(), ..self }
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        let first = problem.errors.first();
        let said = first.map(|error| error.message.clone()).or_else(|| problem.detail.clone());
        Self {
            code: problem.code.code.into(),
            message: said.unwrap_or_else(|| problem.code.title.to_owned()),
            retry_after: problem.retry_after_s,
            field: first.map(|error| error.pointer.trim_start_matches('/').to_owned().into()),
            ..Self::default()
        }
    }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
