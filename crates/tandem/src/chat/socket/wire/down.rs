//! What the server says, and how it is written.

use std::collections::BTreeMap;

use kernel::time::rfc3339;
use serde::Serialize;

use super::Refusal;
use crate::chat::hub::{News, What, Who};
use crate::chat::inbox::AgentNews;
use crate::chat::model::{Ack, Body, Id, Note, Room, Sender, Side};
use crate::chat::view::MessageView;

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
        /// Whether somebody has taken it.
        taken: bool,
        /// The person who answers; visitors are not told who.
        assignee: Option<&'a str>,
        /// The team that it waits for; visitors are not told.
        team: Option<&'a str>,
        /// The number of its newest message; 0 = none.
        head: i64,
        /// A flow answers it, until somebody writes; visitors are not told.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        held: bool,
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
            What::Room { room, is_held } => Self::room(room, *is_held, Side::Support),
            What::Note(note) => Self::note(note),
            What::QueuePosition(position) => Down::Queue { room, position: *position },
            What::Tags(tags) => Down::Tags { room, tags },
            What::Agent(agent) => {
                let AgentNews { person, state, capacity, load } = &**agent;
                Down::Agent { person, state, capacity: *capacity, load: *load }
            }
        }
    }

    /// A room as somebody of this side sees it.
    #[must_use]
    pub fn room(room: &'a Room, is_held: bool, side: Side) -> Self {
        let inside = |id: &'a Option<Id>| id.as_deref().filter(|_| side == Side::Support);
        Down::Room {
            room: &room.id,
            state: room.state.as_str(),
            taken: room.assignee.is_some(),
            assignee: inside(&room.assignee),
            team: inside(&room.team),
            head: room.seq_head,
            held: is_held && side == Side::Support,
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
