//! What a chat is made of: rooms, messages, who sent them and who has read them. Pure: no store, no clock, no socket.
//!
//! Invariant: a room's messages are numbered from 1 without holes; a number, once given, stands for that message for
//! ever, also when it was deleted.

mod body;
mod rules;

use std::sync::Arc;

pub use body::{BadBody, Body};
pub use rules::{Draft, EDIT_WINDOW_MS, MAX_AUTHOR, MAX_BODY_BYTES, MAX_CID, Refused};

/// An id: of an organisation, application, room, visitor, person, team. Cheap to clone.
pub type Id = Arc<str>;

/// Whether people may write in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// They may.
    Open,
    /// It is over, and can be read.
    Closed,
}

impl State {
    /// The word in the store and on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
        }
    }

    /// The state of a word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Open, Self::Closed].into_iter().find(|state| state.as_str() == word)
    }
}

/// A room: one visitor and whoever answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// 24 hexadecimal digits.
    pub id: Id,
    /// The organisation.
    pub org: Id,
    /// The application whose page it was opened from.
    pub app: Id,
    /// The product's name, as it was asked for.
    pub product: String,
    /// The visitor's name in the customer's own books; whether it is true, [`Visitor::verified`] says.
    pub user_id: String,
    /// `org_id` of document 002: a label inside the organisation.
    pub label: String,
    /// `portfolio_name` of document 002.
    pub portfolio: String,
    /// `eventId` of document 002.
    pub event_id: String,
    /// `isLogin` of document 002.
    pub is_login: bool,
    /// Whether people may write.
    pub state: State,
    /// Whose room it is.
    pub visitor: Id,
    /// The person who answers.
    pub assignee: Option<Id>,
    /// The team that it waits for.
    pub team: Option<Id>,
    /// The number of the newest message; 0 = none.
    pub seq_head: i64,
    /// What the newest message says; none when there is none, or it was deleted.
    pub last_body: Option<Body>,
    /// When it was opened, UTC milliseconds.
    pub created_ms: i64,
    /// When it was last written in, UTC milliseconds; at first, when it was opened.
    pub last_ms: i64,
    /// When it was closed, UTC milliseconds.
    pub closed_ms: Option<i64>,
    /// Counts changes of the room itself; messages do not.
    pub revision: i64,
}

impl Room {
    /// Whether people may write.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }
}

/// Somebody outside who writes to the organisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visitor {
    /// `vis_…`
    pub id: Id,
    /// The organisation.
    pub org: Id,
    /// The application whose pages the visitor uses.
    pub app: Id,
    /// As the customer's own books name the visitor; empty = nobody said.
    pub user_id: String,
    /// Whether the application vouched for `user_id`.
    pub verified: bool,
    /// Name for people.
    pub name: String,
    /// Mail address, as the visitor gave it.
    pub email: Option<String>,
}

/// Which of the two sides of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Whoever asked.
    Visitor,
    /// Whoever answers: people and applications.
    Support,
}

impl Side {
    /// The word in the store and on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Visitor => "visitor",
            Self::Support => "support",
        }
    }

    /// The side of a word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Visitor, Self::Support].into_iter().find(|side| side.as_str() == word)
    }

    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Visitor => Self::Support,
            Self::Support => Self::Visitor,
        }
    }
}

/// Who sent a message, as the credential says: the true role, whatever `side` says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Sender {
    /// The visitor.
    Visitor(Id),
    /// A person of the organisation.
    Person(Id),
    /// An application's server, or a bot.
    App(Id),
    /// The server itself.
    System,
}

/// Beginnings of stored senders.
const VISITOR: &str = "visitor:";
const PERSON: &str = "person:";
const APP: &str = "app:";
const SYSTEM: &str = "system";

impl Sender {
    /// Which side it stands on.
    #[must_use]
    pub fn side(&self) -> Side {
        match self {
            Self::Visitor(_) => Side::Visitor,
            Self::Person(_) | Self::App(_) | Self::System => Side::Support,
        }
    }

    /// The word of its kind on the wire.
    #[must_use]
    pub fn role(&self) -> &'static str {
        match self {
            Self::Visitor(_) => "visitor",
            Self::Person(_) => "agent",
            Self::App(_) => "app",
            Self::System => "system",
        }
    }

    /// Its id; none for the server.
    #[must_use]
    pub fn id(&self) -> Option<&Id> {
        match self {
            Self::Visitor(id) | Self::Person(id) | Self::App(id) => Some(id),
            Self::System => None,
        }
    }

    /// As the store keeps it.
    #[must_use]
    pub fn stored(&self) -> String {
        match self {
            Self::Visitor(id) => format!("{VISITOR}{id}"),
            Self::Person(id) => format!("{PERSON}{id}"),
            Self::App(id) => format!("{APP}{id}"),
            Self::System => SYSTEM.to_owned(),
        }
    }

    /// What the store kept.
    #[must_use]
    pub fn read(stored: &str) -> Option<Self> {
        if let Some(id) = stored.strip_prefix(VISITOR) {
            return Some(Self::Visitor(id.into()));
        }
        if let Some(id) = stored.strip_prefix(PERSON) {
            return Some(Self::Person(id.into()));
        }
        if let Some(id) = stored.strip_prefix(APP) {
            return Some(Self::App(id.into()));
        }
        (stored == SYSTEM).then_some(Self::System)
    }
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Words; document 002 allows any JSON but null.
    Text,
    /// A picture in the file store.
    Image,
    /// Another attachment in the file store.
    File,
    /// What the server has to say: somebody joined, the chat was closed.
    System,
    /// A call of this chat: its beginning, its recording.
    Call,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Text, Self::Image, Self::File, Self::System, Self::Call];

    /// The word in the store and on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Image => "image",
            Self::File => "file",
            Self::System => "system",
            Self::Call => "call",
        }
    }

    /// The kind of a word, whatever its case.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str().eq_ignore_ascii_case(word))
    }
}

/// One message of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The room.
    pub room: Id,
    /// Its number there, from 1.
    pub seq: i64,
    /// 24 hexadecimal digits.
    pub id: Id,
    /// What the sender calls it, so that a retry is known.
    pub cid: Option<Id>,
    /// Who sent it.
    pub sender: Sender,
    /// What it is.
    pub kind: Kind,
    /// What it says; none once it was deleted.
    pub body: Option<Body>,
    /// `side` as it was sent: `true`, `"true"`, …; what a sender without one would have said.
    pub side: Body,
    /// The sender's name, as it was sent.
    pub author: String,
    /// UTC milliseconds.
    pub created_ms: i64,
    /// UTC milliseconds.
    pub edited_ms: Option<i64>,
    /// UTC milliseconds.
    pub deleted_ms: Option<i64>,
}

/// What a sender is told of a message that is durable; the same on a retry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Its number in the room.
    pub seq: i64,
    /// Its id.
    pub id: Id,
    /// When it was taken, UTC milliseconds.
    pub at_ms: i64,
}

/// How far one side of a room has come. 0 = nothing yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Mark {
    /// Up to this number messages reached somebody's screen.
    pub delivered_seq: i64,
    /// Up to this number somebody has read them.
    pub read_seq: i64,
}

/// How far both sides have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Marks {
    /// The visitor.
    pub visitor: Mark,
    /// The furthest of those who answer.
    pub support: Mark,
}

impl Marks {
    /// Of one side.
    #[must_use]
    pub fn of(&self, side: Side) -> Mark {
        match side {
            Side::Visitor => self.visitor,
            Side::Support => self.support,
        }
    }

    /// Whether the other side has read a message.
    #[must_use]
    pub fn is_read(&self, message: &Message) -> bool {
        self.of(message.sender.side().other()).read_seq >= message.seq
    }
}

/// What those who answer tell each other beside a room; no message of it, and never shown to the visitor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// `note_…`
    pub id: Id,
    /// The room.
    pub room: Id,
    /// It stands after this message.
    pub after_seq: i64,
    /// Who wrote it.
    pub author: Sender,
    /// Plain text.
    pub text: String,
    /// UTC milliseconds.
    pub created_ms: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senders_and_words_are_read_as_they_were_stored() {
        let senders = [
            Sender::Visitor("vis_1".into()),
            Sender::Person("per_1".into()),
            Sender::App("app:1".into()),
            Sender::System,
        ];
        for sender in senders {
            assert_eq!(Sender::read(&sender.stored()), Some(sender));
        }
        assert_eq!(Sender::read("somebody"), None);
        assert!(Kind::ALL.iter().all(|kind| Kind::parse(&kind.as_str().to_uppercase()) == Some(*kind)));
        assert_eq!(State::parse("ajar"), None);
    }

    #[test]
    fn a_body_is_json_as_it_came_without_the_character_that_no_store_carries() {
        for json in ["0", r#""a""#, r#"{"b":1.50,"a":[null,true]}"#, r#""\\u0000 is written out""#, "null"] {
            let body = Body::parse(&format!("  {json}\n")).unwrap();
            assert_eq!((body.as_json(), serde_json::to_string(&body).unwrap().as_str()), (json, json));
        }
        for json in [r#""a\u0000b""#, r#"{"a\u0000":1}"#, r#"[["\u0000"]]"#] {
            assert_eq!(Body::parse(json), Err(BadBody::Nul), "{json}");
        }
        for text in ["", "{", "a", "1 2", "\"\u{1}\""] {
            assert_eq!(Body::parse(text), Err(BadBody::Json), "{text}");
        }
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(Body::parse(&nested(16)).is_ok());
        assert_eq!(Body::parse(&nested(17)), Err(BadBody::Deep));
        assert!(Body::parse(&format!("[{}]", vec!["[[]]"; 100].join(","))).is_ok(), "wide is not deep");
        assert!(Body::parse(&format!(r#"["\"{}"]"#, "[{".repeat(100))).is_ok(), "a text may say what it wants");
        assert_eq!(Body::text("a\"b").words(), "a\"b");
        assert_eq!(Body::parse("[1]").unwrap().words(), "[1]");
        assert_eq!(format!("{:?}", Body::text("secret")), "Body(8 bytes)", "a log tells nobody's words");
    }
}
