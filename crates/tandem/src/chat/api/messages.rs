//! Messages of a room: read, send, change and take back.
#![expect(unused_qualifications, reason = "utoipa's path macro repeats the types of the extractors")]

use axum::extract::State as Given;
use axum::http::StatusCode;
use kernel::Problem;
use kernel::error::codes;
use kernel::http::{Json, Path, Query};
use kernel::time::rfc3339;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::asker::Caller;
use super::rooms::RoomPath;
use crate::chat::Chats;
use crate::chat::desk::MAX_PAGE;
use crate::chat::model::{Body, Draft, Kind};
use crate::chat::view::MessageView;

/// Messages of a page when none is said.
const DEFAULT_PAGE: i64 = 100;

/// A message of a room.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct MessagePath {
    /// 24 hexadecimal digits.
    room: String,
    /// The message's number in the room.
    seq: String,
}

impl MessagePath {
    /// What is no number is the number of nothing.
    fn seq(&self) -> Result<i64, Problem> {
        self.seq.parse().map_err(|_| Problem::not_found())
    }
}

/// Which messages.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct MessageQuery {
    /// After this number; 0, as when it is left out, = from the beginning.
    after: Option<i64>,
    /// Instead: the newest before this number.
    before: Option<i64>,
    /// 1 to 500; 100 when absent.
    limit: Option<i64>,
}

/// Messages in the order of their numbers.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RoomMessages {
    messages: Vec<MessageView>,
    /// The number of the room's newest message.
    head: i64,
}

/// Read messages, in the order of their numbers
#[utoipa::path(
    get, path = "/v1/chat/rooms/{room}/messages", tag = "chat", params(RoomPath, MessageQuery),
    responses((status = 200, description = "Messages", body = RoomMessages), (status = 404, description = "There is no such room")),
    security(("bearer" = []))
)]
pub(super) async fn list(
    Given(chats): Given<Chats>,
    caller: Caller,
    Path(path): Path<RoomPath>,
    Query(query): Query<MessageQuery>,
) -> Result<Json<RoomMessages>, Problem> {
    let refused = |field: &str, what: String| Problem::new(codes::INVALID_REQUEST).and(field, "out_of_range", what);
    let limit = query.limit.unwrap_or(DEFAULT_PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(refused("?limit", format!("1 to {MAX_PAGE}")));
    }
    if query.after.is_some() && query.before.is_some() {
        return Err(refused("?before", "after or before, not both".to_owned()));
    }
    let asker = caller.asker()?;
    let room = chats.room(&asker, &path.room).await?;
    chats.note_reading(&asker, &room).await?;
    let found = match query.before {
        Some(before) => chats.messages_before(&room, before, limit).await,
        None => chats.messages_of(&room, query.after.unwrap_or(0).max(0), limit).await,
    };
    let found = found.map_err(Problem::internal)?;
    let head = found.last().map_or(0, |message| message.seq).max(room.seq_head);
    Ok(Json(RoomMessages { messages: found.iter().map(MessageView::from).collect(), head }))
}

/// A message that is to be sent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MessageRequest {
    /// Your own name of the message: what is sent again under the same name is the same message.
    #[serde(default)]
    cid: Option<String>,
    /// `text`, as when it is left out, `image` or `file`.
    #[serde(default)]
    kind: Option<String>,
    /// Any JSON but null.
    body: Value,
    /// As document 002 has it: false = visitor, true = support; your own side when it is left out.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    side: Option<Value>,
    /// The name beside it.
    #[serde(default)]
    author: String,
}

fn body(value: &Value, pointer: &'static str) -> Result<Body, Problem> {
    Body::try_from(value).map_err(|error| Problem::field(pointer, "invalid", error.to_string()))
}

impl MessageRequest {
    fn draft(self) -> Result<Draft, Problem> {
        let kind = match self.kind.as_deref() {
            None => Kind::Text,
            Some(word) => Kind::parse(word).ok_or_else(|| Problem::field("/kind", "invalid", "text, image or file"))?,
        };
        Ok(Draft {
            cid: self.cid.map(Into::into),
            kind,
            body: body(&self.body, "/body")?,
            side: self.side.map(|side| body(&side, "/side")).transpose()?,
            author: self.author,
        })
    }
}

/// A message that is durable.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AckView {
    /// Your own name of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    cid: Option<String>,
    /// Its number in the room.
    seq: i64,
    /// 24 hexadecimal digits.
    id: String,
    /// When it was taken, RFC 3339.
    at: String,
}

/// Send a message; the same `cid` again is the same message
#[utoipa::path(
    post, path = "/v1/chat/rooms/{room}/messages", tag = "chat", params(RoomPath), request_body = MessageRequest,
    responses(
        (status = 201, description = "It is durable", body = AckView),
        (status = 404, description = "There is no such room"),
        (status = 409, description = "The room is closed"),
        (status = 429, description = "Too many messages of this visitor"),
    ),
    security(("bearer" = []))
)]
pub(super) async fn send(
    Given(chats): Given<Chats>,
    caller: Caller,
    Path(path): Path<RoomPath>,
    Json(request): Json<MessageRequest>,
) -> Result<(StatusCode, Json<AckView>), Problem> {
    let asker = caller.asker()?;
    let draft = request.draft()?;
    let cid = draft.cid.as_deref().map(str::to_owned);
    let ack = chats.send(&asker, &path.room, draft).await?;
    let view = AckView { cid, seq: ack.seq, id: ack.id.to_string(), at: rfc3339(ack.at_ms) };
    Ok((StatusCode::CREATED, Json(view)))
}

/// What a message says now.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EditRequest {
    /// Any JSON but null.
    body: Value,
}

/// Change the words of a message
#[utoipa::path(
    patch, path = "/v1/chat/rooms/{room}/messages/{seq}", tag = "chat", params(MessagePath), request_body = EditRequest,
    responses((status = 200, description = "Changed", body = MessageView), (status = 404, description = "There is none")),
    security(("bearer" = []))
)]
pub(super) async fn edit(
    Given(chats): Given<Chats>,
    caller: Caller,
    Path(path): Path<MessagePath>,
    Json(request): Json<EditRequest>,
) -> Result<Json<MessageView>, Problem> {
    let words = body(&request.body, "/body")?;
    let message = chats.edit(&caller.asker()?, &path.room, path.seq()?, words).await?;
    Ok(Json(MessageView::from(&message)))
}

/// Take a message back; a tombstone stays
#[utoipa::path(
    delete, path = "/v1/chat/rooms/{room}/messages/{seq}", tag = "chat", params(MessagePath),
    responses((status = 200, description = "Taken back", body = MessageView), (status = 404, description = "There is none")),
    security(("bearer" = []))
)]
pub(super) async fn delete(
    Given(chats): Given<Chats>,
    caller: Caller,
    Path(path): Path<MessagePath>,
) -> Result<Json<MessageView>, Problem> {
    let message = chats.delete(&caller.asker()?, &path.room, path.seq()?).await?;
    Ok(Json(MessageView::from(&message)))
}
