//! Rooms, messages and notes as our own routes, sockets and events show them. The documented shapes are another matter
//! (`documented`).

use kernel::time::rfc3339;
use serde::Serialize;
use utoipa::ToSchema;

use super::model::{Message, Note, Room, Side};

/// A message.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MessageView {
    /// The room.
    pub room: String,
    /// Its number in the room, from 1, without holes.
    pub seq: i64,
    /// 24 hexadecimal digits.
    pub id: String,
    /// The sender's own name of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cid: Option<String>,
    /// `text`, `image`, `file`, `system` or `call`.
    pub kind: &'static str,
    /// Any JSON; null once it was deleted.
    #[schema(value_type = Value, nullable)]
    pub body: Option<super::model::Body>,
    /// The sender's name.
    pub author: String,
    /// As it was sent: false = visitor, true = support.
    #[schema(value_type = Value)]
    pub side: super::model::Body,
    /// Who sent it, as the credential said: `visitor`, `agent`, `app` or `system`.
    pub role: &'static str,
    /// The person or application that sent it; a visitor's id is not shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
    /// When, RFC 3339.
    pub at: String,
    /// When its words were changed last, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edited_at: Option<String>,
    /// When it was taken back, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<String>,
}

impl From<&Message> for MessageView {
    fn from(message: &Message) -> Self {
        use super::model::Sender::{App, Person};
        Self {
            room: message.room.to_string(),
            seq: message.seq,
            id: message.id.to_string(),
            cid: message.cid.as_deref().map(str::to_owned),
            kind: message.kind.as_str(),
            body: message.body.clone(),
            author: message.author.clone(),
            side: message.side.clone(),
            role: message.sender.role(),
            sender: match &message.sender {
                Person(id) | App(id) => Some(id.to_string()),
                _ => None,
            },
            at: rfc3339(message.created_ms),
            edited_at: message.edited_ms.map(rfc3339),
            deleted_at: message.deleted_ms.map(rfc3339),
        }
    }
}

/// A room.
#[derive(Debug, Serialize, ToSchema)]
pub struct RoomView {
    /// 24 hexadecimal digits.
    pub id: String,
    /// The application whose page it was opened from.
    pub app: String,
    /// The product's name.
    pub product: String,
    /// The visitor's name in the customer's own books, as it was given.
    pub user_id: String,
    /// `org_id` of document 002: a label.
    pub label: String,
    /// `portfolio_name` of document 002.
    pub portfolio: String,
    /// `open` or `closed`.
    pub state: &'static str,
    /// The visitor.
    pub visitor: String,
    /// Whether somebody has taken it.
    pub taken: bool,
    /// The person who answers; visitors are not told who.
    pub assignee: Option<String>,
    /// The team that it waits for; visitors are not told.
    pub team: Option<String>,
    /// The number of the newest message; 0 = none.
    pub seq_head: i64,
    /// RFC 3339.
    pub created_at: String,
    /// When it was last written in, RFC 3339.
    pub last_at: String,
    /// RFC 3339.
    pub closed_at: Option<String>,
}

impl From<&Room> for RoomView {
    fn from(room: &Room) -> Self {
        Self {
            id: room.id.to_string(),
            app: room.app.to_string(),
            product: room.product.clone(),
            user_id: room.user_id.clone(),
            label: room.label.clone(),
            portfolio: room.portfolio.clone(),
            state: room.state.as_str(),
            visitor: room.visitor.to_string(),
            taken: room.assignee.is_some(),
            assignee: room.assignee.as_deref().map(str::to_owned),
            team: room.team.as_deref().map(str::to_owned),
            seq_head: room.seq_head,
            created_at: rfc3339(room.created_ms),
            last_at: rfc3339(room.last_ms),
            closed_at: room.closed_ms.map(rfc3339),
        }
    }
}

impl RoomView {
    /// As somebody of this side sees it: to visitors all who answer are one.
    #[must_use]
    pub fn shown_to(side: Side, room: &Room) -> Self {
        let whole = Self::from(room);
        match side {
            Side::Visitor => Self { assignee: None, team: None, ..whole },
            Side::Support => whole,
        }
    }
}

/// A note beside a room.
#[derive(Debug, Serialize, ToSchema)]
pub struct NoteView {
    /// `note_…`
    pub id: String,
    /// The room.
    pub room: String,
    /// It stands after this message.
    pub after_seq: i64,
    /// The person or application that wrote it.
    pub author: Option<String>,
    /// Plain text.
    pub text: String,
    /// RFC 3339.
    pub at: String,
}

impl From<&Note> for NoteView {
    fn from(note: &Note) -> Self {
        Self {
            id: note.id.to_string(),
            room: note.room.to_string(),
            after_seq: note.after_seq,
            author: note.author.id().map(ToString::to_string),
            text: note.text.clone(),
            at: rfc3339(note.created_ms),
        }
    }
}
