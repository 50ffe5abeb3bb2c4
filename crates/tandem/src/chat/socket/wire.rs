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

use std::borrow::Cow;
use std::collections::BTreeMap;

use kernel::time::rfc3339;
use kernel::{Problem, Secret};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::chat::hub::{News, What, Who};
use crate::chat::inbox::AgentNews;
use crate::chat::model::{Ack, Body, Draft, Id, Kind, MAX_CID, Note, Room, Sender, Side};
use crate::chat::view::MessageView;

/// Largest message of a client, in bytes.
pub const MAX_FRAME_BYTES: usize = 65_536;
/// Rooms that one hello may name.
pub const MAX_CURSORS: usize = 200;
/// Longest id of a room or message, in bytes.
const MAX_ID: usize = 64;
/// Longest draft, in characters (contract, "limits").
const MAX_DRAFT: usize = 8_000;

/// What a client says.
#[derive(Clone, Debug, PartialEq)]
pub enum Up {
    /// The first frame; later, more rooms.
    Hello {
        /// A visitor's, a person's or an application's; none where the request carried a credential.
        token: Option<Secret>,
        /// The last `seq` seen of each room.
        cursors: BTreeMap<String, i64>,
    },
    /// A message.
    Send {
        /// Where.
        room: Id,
        /// What; it has a `cid`.
        draft: Draft,
    },
    /// Somebody types, or has stopped.
    Typing {
        /// Where.
        room: Id,
        /// Types, or has stopped.
        on: bool,
        /// What stands in the field so far.
        draft: Option<String>,
    },
    /// How far somebody has come.
    Mark {
        /// Where.
        room: Id,
        /// Up to this message.
        seq: i64,
        /// Read, not only delivered.
        is_read: bool,
    },
    /// Changes a message.
    Edit {
        /// Where.
        room: Id,
        /// Which.
        which: Which,
        /// What it says now.
        body: Body,
    },
    /// Takes a message back; a tombstone stays.
    Delete {
        /// Where.
        room: Id,
        /// Which.
        which: Which,
    },
    /// Asks for a sign of life.
    Ping,
}

/// A message of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// By its number.
    Seq(i64),
    /// By its id.
    Id(Id),
}

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

/// Every member that a frame may have. A flat shape is read in one pass, without keeping what came before `type`.
#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(rename = "type", borrow)]
    word: Cow<'a, str>,
    token: Option<Secret>,
    rooms: Option<BTreeMap<String, i64>>,
    #[serde(borrow)]
    room: Option<Cow<'a, str>>,
    #[serde(borrow)]
    cid: Option<Cow<'a, str>>,
    #[serde(borrow)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    #[serde(borrow)]
    side: Option<&'a RawValue>,
    author: Option<String>,
    on: Option<bool>,
    text: Option<String>,
    seq: Option<i64>,
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
}

impl Up {
    /// Reads a message.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(text: &str) -> Result<Self, Refusal> {
        let malformed = |why: &dyn std::fmt::Display| Refusal::new("invalid_request", format!("not a frame: {why}"));
        // A list of the members' values would be read too.
        if !text.trim_start().starts_with('{') {
            return Err(malformed(&"a JSON object is expected"));
        }
        let raw: Raw<'_> = serde_json::from_str(text).map_err(|error| malformed(&error))?;
        if kernel::http::find_nul(text).is_some() {
            return Err(raw.about(Refusal::new("nul_character", "a text holds U+0000")));
        }
        raw.frame()
    }
}

impl Raw<'_> {
    fn frame(self) -> Result<Up, Refusal> {
        match &*self.word {
            "hello" => {
                let cursors = self.rooms.unwrap_or_default();
                if cursors.len() > MAX_CURSORS {
                    return Err(Refusal::field("rooms", &format!("at most {MAX_CURSORS}")));
                }
                Ok(Up::Hello { token: self.token, cursors })
            }
            "send" => self.sending(),
            "typing" => Ok(Up::Typing { room: self.room()?, on: self.on.unwrap_or(true), draft: None }),
            "draft" => {
                let room = self.room()?;
                let text = self.text.unwrap_or_default();
                if text.chars().count() > MAX_DRAFT {
                    return Err(Refusal::field("text", &format!("at most {MAX_DRAFT} characters")));
                }
                Ok(Up::Typing { room, on: !text.is_empty(), draft: Some(text) })
            }
            word @ ("read" | "delivered") => {
                let seq = self.seq.filter(|seq| *seq >= 0).ok_or_else(|| Refusal::field("seq", "a number"))?;
                Ok(Up::Mark { room: self.room()?, seq, is_read: word == "read" })
            }
            "edit" => Ok(Up::Edit { room: self.room()?, which: self.which()?, body: self.body()? }),
            "delete" => Ok(Up::Delete { room: self.room()?, which: self.which()? }),
            "ping" => Ok(Up::Ping),
            other => {
                let word: String = other.chars().take(MAX_ID).collect();
                Err(Refusal::new("invalid_request", format!("no frame is called {word:?}")))
            }
        }
    }

    fn sending(self) -> Result<Up, Refusal> {
        let room = self.room()?;
        let cid: Id = match self.cid.as_deref() {
            Some(cid) if !cid.is_empty() && cid.len() <= MAX_CID => cid.into(),
            _ => {
                let what = format!("your own name of the message, 1 to {MAX_CID} bytes");
                return Err(Refusal::field("cid", &what).about(&room, None));
            }
        };
        let about = |refusal: Refusal| refusal.about(&room, Some(&cid));
        let kind = match self.kind.as_deref() {
            None => Kind::Text,
            Some(word) => Kind::parse(word).ok_or_else(|| about(Refusal::field("kind", "text, image or file")))?,
        };
        let body = self.body().map_err(about)?;
        let side = self.side.map(|side| as_body(side, "side")).transpose().map_err(about)?;
        let author = self.author.unwrap_or_default();
        Ok(Up::Send { draft: Draft { cid: Some(cid.clone()), kind, body, side, author }, room })
    }

    /// What it is about, as far as that can be told back: a client that sends again must know which to leave.
    fn about(&self, refusal: Refusal) -> Refusal {
        let id = |id: Option<&str>, most: usize| {
            id.filter(|id| !id.is_empty() && id.len() <= most && !id.contains('\0')).map(Id::from)
        };
        Refusal { room: id(self.room.as_deref(), MAX_ID), cid: id(self.cid.as_deref(), MAX_CID), ..refusal }
    }

    fn room(&self) -> Result<Id, Refusal> {
        let id = self.room.as_deref().filter(|id| !id.is_empty() && id.len() <= MAX_ID);
        id.map(Into::into).ok_or_else(|| Refusal::field("room", "the id of a room"))
    }

    fn body(&self) -> Result<Body, Refusal> {
        let body = self.body.ok_or_else(|| Refusal::field("body", "what the message says"))?;
        as_body(body, "body")
    }

    fn which(&self) -> Result<Which, Refusal> {
        match (self.seq, self.id.as_deref()) {
            (Some(seq), _) if seq > 0 => Ok(Which::Seq(seq)),
            (None, Some(id)) if !id.is_empty() && id.len() <= MAX_ID => Ok(Which::Id(id.into())),
            _ => Err(Refusal::field("seq", "the number of a message, or its id as id")),
        }
    }
}

fn as_body(raw: &RawValue, field: &'static str) -> Result<Body, Refusal> {
    Body::parse(raw.get()).map_err(|error| Refusal::field(field, &error.to_string()))
}

/// Who did something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Someone<'a> {
    /// `visitor`, `agent`, `app`, `support` or `system`.
    pub role: &'static str,
    /// Of a person or an application; a visitor's is told to nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<&'a str>,
    /// Name for people.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub name: &'a str,
}

impl<'a> Someone<'a> {
    /// Somebody without a name.
    #[must_use]
    pub fn sender(sender: &'a Sender) -> Self {
        let id = if sender.side() == Side::Visitor { None } else { sender.id() };
        Self { role: sender.role(), id: id.map(|id| &**id), name: "" }
    }

    fn who(who: &'a Who) -> Self {
        Self { role: who.side.as_str(), id: who.id.as_deref(), name: &who.name }
    }
}

/// What the server says.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Down<'a> {
    /// The client is recognised.
    Ready {
        /// Who it is.
        you: Someone<'a>,
        /// The last `seq` of each room.
        heads: &'a BTreeMap<Id, i64>,
        /// What came after the cursors, or the first of it.
        missed: Vec<Down<'a>>,
    },
    /// A message.
    Msg(MessageView),
    /// The sender's message is durable.
    Ack {
        /// Where.
        room: &'a str,
        /// As the sender called it.
        cid: &'a str,
        /// Its number.
        seq: i64,
        /// Its id.
        id: &'a str,
        /// When it was written; RFC 3339.
        at: String,
    },
    /// A message says something else now.
    Edit {
        /// Where.
        room: &'a str,
        /// Which.
        seq: i64,
        /// Which.
        id: &'a str,
        /// What it says now.
        body: Option<&'a Body>,
        /// When it was changed; RFC 3339.
        at: Option<String>,
    },
    /// A message was taken back.
    Delete {
        /// Where.
        room: &'a str,
        /// Which.
        seq: i64,
        /// Which.
        id: &'a str,
        /// When; RFC 3339.
        at: Option<String>,
    },
    /// How far somebody has come.
    Read {
        /// Where.
        room: &'a str,
        /// Who.
        from: Someone<'a>,
        /// Up to this message they reached a screen.
        delivered: i64,
        /// Up to this message they were read.
        seq: i64,
    },
    /// Somebody types, or has stopped.
    Typing {
        /// Where.
        room: &'a str,
        /// Who.
        from: Someone<'a>,
        /// Types, or has stopped.
        on: bool,
    },
    /// What stands in a visitor's field.
    Draft {
        /// Where.
        room: &'a str,
        /// Who.
        from: Someone<'a>,
        /// The text.
        text: &'a str,
    },
    /// Somebody has come or gone.
    Presence {
        /// Where.
        room: &'a str,
        /// Who.
        from: Someone<'a>,
        /// `online` or `offline`.
        state: &'static str,
    },
    /// The room itself is another.
    Room {
        /// Where.
        room: &'a str,
        /// `open` or `closed`.
        state: &'static str,
        /// The person who answers.
        assignee: Option<&'a str>,
        /// The team that it waits for.
        team: Option<&'a str>,
        /// Counts changes of the room itself.
        revision: i64,
    },
    /// What those who answer tell each other.
    Note {
        /// Where.
        room: &'a str,
        /// Which.
        id: &'a str,
        /// It stands after this message.
        after: i64,
        /// Plain text.
        text: &'a str,
        /// Who wrote it.
        from: Someone<'a>,
        /// When it was written; RFC 3339.
        at: String,
    },
    /// A room's place among those that wait.
    Queue {
        /// Where.
        room: &'a str,
        /// From 1; 0 = it waits no more.
        position: u32,
    },
    /// A room has other tags.
    Tags {
        /// Where.
        room: &'a str,
        /// All of them.
        tags: &'a [String],
    },
    /// Somebody takes chats from now on, or takes none.
    Agent {
        /// Who.
        person: &'a str,
        /// `available` or `away`.
        state: &'static str,
        /// Open rooms at once.
        capacity: u32,
        /// Open rooms now.
        load: u32,
    },
    /// A frame was not taken.
    Error(Refusal),
    /// The answer to `ping`.
    Pong,
}

impl<'a> Down<'a> {
    /// The acknowledgement of a message.
    #[must_use]
    pub fn ack(room: &'a Id, cid: &'a Id, ack: &'a Ack) -> Self {
        Down::Ack { room, cid, seq: ack.seq, id: &ack.id, at: rfc3339(ack.at_ms) }
    }

    /// What happened in a room.
    #[must_use]
    pub fn news(news: &'a News) -> Self {
        let room = &*news.room;
        match &news.what {
            What::Message(message) => Down::Msg(MessageView::from(&**message)),
            What::Edited(message) => Down::Edit {
                room,
                seq: message.seq,
                id: &message.id,
                body: message.body.as_ref(),
                at: message.edited_ms.map(rfc3339),
            },
            What::Deleted(message) => {
                Down::Delete { room, seq: message.seq, id: &message.id, at: message.deleted_ms.map(rfc3339) }
            }
            What::Marked { who, mark } => {
                Down::Read { room, from: Someone::who(who), delivered: mark.delivered_seq, seq: mark.read_seq }
            }
            What::Typing { who, draft: Some(text), .. } => Down::Draft { room, from: Someone::who(who), text },
            What::Typing { who, is_typing, draft: None } => {
                Down::Typing { room, from: Someone::who(who), on: *is_typing }
            }
            What::Presence { who, is_here } => {
                let state = if *is_here { "online" } else { "offline" };
                Down::Presence { room, from: Someone::who(who), state }
            }
            What::Room(now) => Self::room(now),
            What::Note(note) => Self::note(note),
            What::QueuePosition(position) => Down::Queue { room, position: *position },
            What::Tags(tags) => Down::Tags { room, tags },
            What::Agent(agent) => {
                let AgentNews { person, state, capacity, load } = &**agent;
                Down::Agent { person, state, capacity: *capacity, load: *load }
            }
        }
    }

    fn room(room: &'a Room) -> Self {
        Down::Room {
            room: &room.id,
            state: room.state.as_str(),
            assignee: room.assignee.as_deref(),
            team: room.team.as_deref(),
            revision: room.revision,
        }
    }

    fn note(note: &'a Note) -> Self {
        Down::Note {
            room: &note.room,
            id: &note.id,
            after: note.after_seq,
            text: &note.text,
            from: Someone::sender(&note.author),
            at: rfc3339(note.created_ms),
        }
    }

    /// The text of the frame.
    #[must_use]
    pub fn write(&self) -> String {
        // Strings, numbers and lists of them always serialise.
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
