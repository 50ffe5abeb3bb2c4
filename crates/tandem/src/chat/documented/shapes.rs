//! What documented routes answer: the shapes of document 002, field by field.
//!
//! Invariant: fields stand in the document's order, and nothing else of a room or message is told.
//! Source: docs/contracts/chat.md, "The documented API".

use kernel::time::rfc3339;
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::chat::model::{Body, Kind, Marks, Message, Room};
use crate::chat::settings::CompatShape;

/// What stands for the last message of a room that has none.
const NO_MESSAGE: &str = "message";

/// The first words of every room.
#[derive(Serialize, ToSchema)]
pub(super) struct Greeting {
    /// `How may I help you`
    receiver: &'static str,
}

const GREETING: Greeting = Greeting { receiver: "How may I help you" };

/// ROOM of the contract.
#[derive(Serialize, ToSchema)]
pub(super) struct DocumentedRoom<'a> {
    /// 24 hexadecimal digits.
    #[serde(rename = "_id")]
    id: &'a str,
    /// The same.
    room_id: &'a str,
    /// The product's code and `user_id`.
    #[schema(example = "13-ABCD12345")]
    room_room_id: String,
    /// `FB1010000000`, ten digits of time, `#`, seven digits.
    #[serde(rename = "eventId")]
    event_id: &'a str,
    /// As it was asked for.
    user_id: &'a str,
    /// A label inside the organisation.
    org_id: &'a str,
    /// As it was asked for.
    portfolio_name: &'a str,
    /// As it was asked for.
    product_name: &'a str,
    message: Greeting,
    /// What the last message says, else `message`.
    #[schema(value_type = Value)]
    message_data: Said<'a>,
    /// Whether it was opened by somebody who is signed in.
    #[serde(rename = "isLogin")]
    is_login: bool,
    /// Whether people may write in it.
    is_active: bool,
}

/// The last words of a room.
enum Said<'a> {
    Nothing,
    Body(&'a Body),
}

impl Serialize for Said<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Nothing => NO_MESSAGE.serialize(serializer),
            Self::Body(body) => body.serialize(serializer),
        }
    }
}

/// `<product code>-<user_id>`
pub(super) fn room_room_id(code: i64, user_id: &str) -> String {
    format!("{code}-{user_id}")
}

impl<'a> DocumentedRoom<'a> {
    /// A room whose product has this code.
    pub(super) fn of(room: &'a Room, code: i64) -> Self {
        Self {
            id: &room.id,
            room_id: &room.id,
            room_room_id: room_room_id(code, &room.user_id),
            event_id: &room.event_id,
            user_id: &room.user_id,
            org_id: &room.label,
            portfolio_name: &room.portfolio,
            product_name: &room.product,
            message: GREETING,
            message_data: room.last_body.as_ref().map_or(Said::Nothing, Said::Body),
            is_login: room.is_login,
            is_active: room.is_open(),
        }
    }
}

/// MSG of the contract.
#[derive(Serialize, ToSchema)]
pub(super) struct DocumentedMessage<'a> {
    /// 24 hexadecimal digits.
    #[serde(rename = "_id")]
    id: &'a str,
    room_id: &'a str,
    /// Any JSON but null; null once it was taken back. A picture in base 64.
    #[schema(value_type = Value)]
    message_data: Option<&'a Body>,
    /// As it was sent: false = visitor, true = support.
    #[schema(value_type = Value)]
    side: &'a Body,
    author: &'a str,
    /// `text` or `IMAGE`.
    message_type: &'static str,
    /// Whether the other side has read it.
    read: bool,
    #[serde(rename = "eventId")]
    event_id: &'a str,
    user_id: &'a str,
    org_id: &'a str,
    portfolio_name: &'a str,
    room_room_id: &'a str,
    product_name: &'a str,
    /// Of the room.
    is_active: bool,
    /// RFC 3339, UTC.
    created_at: String,
    /// Its number in the room, from 1: give the last one back as `after`.
    seq: i64,
}

impl<'a> DocumentedMessage<'a> {
    /// A message of `room`, whose `room_room_id` is given since it is the same for all.
    pub(super) fn of(room: &'a Room, room_room_id: &'a str, marks: &Marks, message: &'a Message) -> Self {
        Self {
            id: &message.id,
            room_id: &room.id,
            message_data: message.body.as_ref(),
            side: &message.side,
            author: &message.author,
            message_type: message_type(message.kind),
            read: marks.is_read(message),
            event_id: &room.event_id,
            user_id: &room.user_id,
            org_id: &room.label,
            portfolio_name: &room.portfolio,
            room_room_id,
            product_name: &room.product,
            is_active: room.is_open(),
            created_at: rfc3339(message.created_ms),
            seq: message.seq,
        }
    }
}

/// The document knows two kinds; the others bear their own names.
fn message_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Image => "IMAGE",
        other => other.as_str(),
    }
}

/// A room that was made or found.
#[derive(Serialize, ToSchema)]
pub(super) struct RoomAnswer<'a> {
    /// `true`
    success: bool,
    /// `Room created successfully` or `Room filter successfully`
    message: &'static str,
    /// The room's id.
    inserted_id: &'a str,
    response: DocumentedRoom<'a>,
    /// The visitor's token, shown once: send it as `Authorization: Bearer`. Only for a visitor who has none yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
}

impl<'a> RoomAnswer<'a> {
    pub(super) fn of(room: &'a Room, code: i64, created: bool, token: Option<&'a str>) -> Self {
        Self {
            success: true,
            message: if created { "Room created successfully" } else { "Room filter successfully" },
            inserted_id: &room.id,
            response: DocumentedRoom::of(room, code),
            token,
        }
    }
}

/// The same, one level deeper.
#[derive(Serialize, ToSchema)]
pub(super) struct InitAnswer<'a> {
    pub(super) room: RoomAnswer<'a>,
}

/// The rooms of a product.
#[derive(Serialize, ToSchema)]
pub(super) struct RoomListAnswer<'a> {
    /// `true`
    pub(super) success: bool,
    /// `Room list`
    pub(super) message: &'static str,
    /// Oldest first, the inactive ones too.
    pub(super) rooms: &'a [DocumentedRoom<'a>],
    /// The same.
    pub(super) response: &'a [DocumentedRoom<'a>],
    /// The newest of them.
    pub(super) last_room_details: Option<&'a DocumentedRoom<'a>>,
}

/// What was asked of a room.
#[derive(Serialize, ToSchema)]
pub(super) struct DetailsAnswer<T> {
    /// `true`
    success: bool,
    /// `Room deatils based on workspace id`: so printed
    message: &'static str,
    response: T,
}

/// So printed.
const DETAILS: &str = "Room deatils based on workspace id";

impl<T> DetailsAnswer<T> {
    pub(super) fn of(response: T) -> Self {
        Self { success: true, message: DETAILS, response }
    }
}

/// The messages of a room, in one of the two shapes.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Messages<'a> {
    /// As document 002 prints them.
    Documented(Vec<DocumentedMessage<'a>>),
    /// As its service answered.
    Observed {
        /// `true`
        #[serde(rename = "isSuccess")]
        is_success: bool,
        data: Vec<DocumentedMessage<'a>>,
    },
}

impl<'a> Messages<'a> {
    pub(super) fn shaped(shape: CompatShape, messages: Vec<DocumentedMessage<'a>>) -> Self {
        match shape {
            CompatShape::Documented => Self::Documented(messages),
            CompatShape::Observed => Self::Observed { is_success: true, data: messages },
        }
    }
}

/// One room, in one of the two shapes.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum OneRoom<'a> {
    /// As document 002 prints it.
    Documented([DocumentedRoom<'a>; 1]),
    /// As its service answered.
    Observed(DocumentedRoom<'a>),
}

impl<'a> OneRoom<'a> {
    pub(super) fn shaped(shape: CompatShape, room: DocumentedRoom<'a>) -> Self {
        match shape {
            CompatShape::Documented => Self::Documented([room]),
            CompatShape::Observed => Self::Observed(room),
        }
    }
}

/// Something was done.
#[derive(Serialize, ToSchema)]
pub(super) struct DoneAnswer<'a> {
    /// `true`
    success: bool,
    /// `Message updated successfully` or `Room deleted successfully`
    message: &'static str,
    response: Done<'a>,
}

/// See [`DoneAnswer`].
#[derive(Serialize, ToSchema)]
struct Done<'a> {
    /// `true`
    #[serde(rename = "isSuccess")]
    is_success: bool,
    /// The message's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    inserted_id: Option<&'a str>,
    /// The message's number in the room.
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<i64>,
}

impl<'a> DoneAnswer<'a> {
    /// A message was taken.
    pub(super) fn sent(id: &'a str, seq: i64) -> Self {
        let response = Done { is_success: true, inserted_id: Some(id), seq: Some(seq) };
        Self { success: true, message: "Message updated successfully", response }
    }

    /// A room was closed, or opened again.
    pub(super) fn deleted() -> Self {
        let response = Done { is_success: true, inserted_id: None, seq: None };
        Self { success: true, message: "Room deleted successfully", response }
    }
}
