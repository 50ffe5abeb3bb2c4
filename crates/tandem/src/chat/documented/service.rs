//! Rows 5 to 8, `room-service/`: messages are sent and read, a room is read, closed and opened again.
#![expect(unused_qualifications, reason = "utoipa's path macro repeats the types of the extractors")]

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::pin::pin;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kernel::error::codes;
use kernel::http::Json;
use kernel::{Problem, Shelf, Write};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::sleep;
use utoipa::{IntoParams, ToSchema};

use super::caller::Caller;
use super::intake::{Fields, Mistakes};
use super::pictures::{self, MAX_PICTURE, NoPicture};
use super::refusal::ChatRefusal;
use super::rooms::code_of_room;
use super::shapes::{DetailsAnswer, DocumentedMessage, DocumentedRoom, DoneAnswer, Messages, OneRoom, room_room_id};
use crate::chat::access::limit_key;
use crate::chat::model::{Body, Draft, Id, Kind, Marks, Message, Room};
use crate::chat::settings::CompatShape;
use crate::chat::visit::Carried;
use crate::chat::{Asker, Change, Chats, Heard, MAX_PAGE, Subscription};

/// Longest wait for a message, in seconds.
const MAX_WAIT_S: i64 = 30;
/// Bytes of pictures in one answer: the page ends before more.
const MAX_PICTURES: usize = 8 << 20;

/// What is done in a room: which fields are meant, `type` says.
#[derive(Deserialize, ToSchema)]
#[expect(dead_code, reason = "only documents what is read leniently")]
pub(super) struct RoomOrder {
    /// `create_message` or `delete_room`.
    #[schema(example = "create_message")]
    r#type: String,
    /// The room.
    room_id: String,
    /// Any JSON but null.
    #[schema(value_type = Option<Value>)]
    message_data: Option<Value>,
    /// false = visitor, true = support; also `"true"` and `"false"`.
    side: Option<bool>,
    /// Name of the author, for people.
    author: Option<String>,
    /// `text` or `IMAGE` (base 64 of PNG, JPEG, GIF or WebP, at most 1 MiB).
    message_type: Option<String>,
    /// The sender's own name of the message: a retry of the same is not sent twice.
    cid: Option<String>,
    /// With `delete_room`: false closes the room, true opens it again.
    is_active: Option<bool>,
}

/// Send a message, or close a room
#[utoipa::path(
    post,
    path = "/room-service/",
    tag = "chat",
    request_body(content(
        (RoomOrder = "application/json"),
        (RoomOrder = "application/x-www-form-urlencoded"),
        (RoomOrder = "multipart/form-data"),
    )),
    responses(
        (status = 200, description = "It is done, and durable", body = DoneAnswer),
        (status = 400, description = "Each field that is wrong is named", body = ChatRefusal),
        (status = 403, description = "side=true without a credential of support", body = ChatRefusal),
        (status = 404, description = "No such room", body = ChatRefusal),
        (status = 409, description = "The room is closed", body = ChatRefusal),
    ),
    security((), ("bearer" = []))
)]
pub(super) async fn write_room(
    State(chats): State<Chats>,
    caller: Caller,
    request: Request,
) -> Result<Response, Problem> {
    let fields = Fields::read(request).await?;
    match fields.text("type").as_deref() {
        Some("create_message") => create_message(&chats, &caller, &fields).await,
        Some("delete_room") => delete_room(&chats, &caller, &fields).await,
        _ => Err(invalid_type()),
    }
}

/// Row 6 and 7's query.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only documents what is read leniently")]
pub(super) struct RoomQuery {
    /// `get_messages` or `get_room_by_id`.
    r#type: Option<String>,
    /// The room.
    room_id: Option<String>,
    /// Messages after this number.
    after: Option<i64>,
    /// At most so many messages, 1 to 500.
    limit: Option<i64>,
    /// Wait so many seconds for a message, or for a change since `If-None-Match`; 0 to 30.
    wait: Option<i64>,
}

/// Read a room or its messages
///
/// With a JSON body whose `type` is `delete_room` it closes the room, as document 002 prints it.
#[utoipa::path(
    get,
    path = "/room-service/",
    tag = "chat",
    params(RoomQuery),
    responses(
        (status = 200, description = "The messages in order, or the room", body = DetailsAnswer<Vec<DocumentedMessage>>),
        (status = 304, description = "Nothing has changed since If-None-Match"),
        (status = 404, description = "No such room", body = ChatRefusal),
    ),
    security((), ("bearer" = []))
)]
pub(super) async fn read_room(
    State(chats): State<Chats>,
    caller: Caller,
    request: Request,
) -> Result<Response, Problem> {
    let fields = Fields::read(request).await?;
    match fields.text("type").as_deref() {
        Some("get_messages") => get_messages(&chats, &caller, &fields).await,
        Some("get_room_by_id") => get_room(&chats, &caller, &fields).await,
        // A link that somebody merely follows deletes nothing.
        Some("delete_room") if fields.has_body => delete_room(&chats, &caller, &fields).await,
        _ => Err(invalid_type()),
    }
}

fn invalid_type() -> Problem {
    Problem::new(codes::INVALID_REQUEST).detail("Invalid request type").and("/type", "invalid", "Invalid request type")
}

async fn create_message(chats: &Chats, caller: &Caller, fields: &Fields) -> Result<Response, Problem> {
    let mut mistakes = Mistakes::default();
    let room = fields.required("room_id", &mut mistakes);
    if fields.get("message_data").is_none() {
        mistakes.add("message_data", "This field is required.");
    }
    let kind = match fields.text("message_type") {
        None => Kind::Text,
        Some(word) => Kind::parse(&word).filter(|kind| matches!(kind, Kind::Text | Kind::Image)).unwrap_or_else(|| {
            mistakes.add("message_type", "text or IMAGE is expected");
            Kind::Text
        }),
    };
    let side = fields.get("side").map(Body::try_from).transpose().map_err(|_| Problem::new(codes::NUL_CHARACTER))?;
    let author = fields.text("author").unwrap_or_default();
    let cid: Option<Id> = fields.text("cid").map(Into::into);
    let data = fields.get("message_data").unwrap_or(&Value::Null);
    let body = Body::try_from(data).map_err(|_| Problem::new(codes::NUL_CHARACTER))?;
    let mut draft = Draft { cid, kind, body, side, author };
    let claims_support = draft.claims_support();
    if claims_support.is_none() {
        mistakes.add("side", "true or false is expected");
    }
    mistakes.none()?;
    if claims_support == Some(true) && caller.is_stranger() {
        return Err(Problem::new(codes::FORBIDDEN).detail("side=true takes the credential of somebody who answers"));
    }
    let asker = caller.of_room(chats, &room).await?;
    let carried = if kind == Kind::Image { Some(picture_in(data)?) } else { None };
    if let Some(Carried { name, .. }) = &carried {
        // What stands in the room tells of the picture; it is written once the picture is kept.
        draft.body = Body::text(name);
    }
    let ack = chats.send_with(&asker, &room, draft, carried).await?;
    Ok(Json(DoneAnswer::sent(&ack.id, ack.seq)).into_response())
}

/// The picture that a message brings along.
fn picture_in(data: &Value) -> Result<Carried, Problem> {
    let picture = data.as_str().ok_or(NoPicture::Base64).and_then(pictures::read).map_err(|why| match why {
        NoPicture::TooLarge => Problem::new(codes::BODY_TOO_LARGE).detail(why.to_string()),
        _ => Problem::field("/message_data", "invalid", why.to_string()),
    })?;
    let name = format!("picture.{}", picture.kind.trim_start_matches("image/"));
    Ok(Carried { name, content: picture.bytes.into() })
}

async fn delete_room(chats: &Chats, caller: &Caller, fields: &Fields) -> Result<Response, Problem> {
    let mut mistakes = Mistakes::default();
    let room = fields.required("room_id", &mut mistakes);
    let change = match fields.text("is_active").map(|word| word.to_ascii_lowercase()).as_deref() {
        None | Some("false") => Change::Close,
        Some("true") => Change::Reopen,
        Some(_) => {
            mistakes.add("is_active", "true or false is expected");
            Change::Close
        }
    };
    mistakes.none()?;
    if caller.is_stranger() {
        return Err(Problem::new(codes::UNAUTHORIZED));
    }
    chats.change(&caller.of_room(chats, &room).await?, &room, &change, nothing_more).await?;
    Ok(Json(DoneAnswer::deleted()).into_response())
}

/// No rows of others go with the change.
fn nothing_more(_: &Room) -> Vec<Write> {
    Vec::new()
}

async fn get_room(chats: &Chats, caller: &Caller, fields: &Fields) -> Result<Response, Problem> {
    let mut mistakes = Mistakes::default();
    let id = fields.required("room_id", &mut mistakes);
    mistakes.none()?;
    let room = chats.room(&caller.of_room(chats, &id).await?, &id).await?;
    let shape = chats.settings(&room.org, &room.app).await?.compat_shape;
    let code = code_of_room(chats, &room).await?;
    Ok(Json(DetailsAnswer::of(OneRoom::shaped(shape, DocumentedRoom::of(&room, code)))).into_response())
}

/// What somebody wants to read of a room.
struct Reading {
    room: String,
    after: i64,
    limit: i64,
    /// Until when it is worth waiting for something to tell.
    wait: Option<Duration>,
}

/// What there is to tell.
struct Found {
    room: Room,
    messages: Vec<Message>,
    marks: Marks,
    shape: CompatShape,
    /// Of the room's product.
    code: i64,
    etag: String,
}

async fn get_messages(chats: &Chats, caller: &Caller, fields: &Fields) -> Result<Response, Problem> {
    let mut mistakes = Mistakes::default();
    let room = fields.required("room_id", &mut mistakes);
    let after = fields.number("after", 0..=i64::MAX, &mut mistakes).unwrap_or(0);
    let limit = fields.number("limit", 1..=MAX_PAGE, &mut mistakes).unwrap_or(MAX_PAGE);
    let wait_s = fields.number("wait", 0..=MAX_WAIT_S, &mut mistakes).unwrap_or(0);
    mistakes.none()?;
    let asker = caller.of_room(chats, &room).await?;
    let wait = (wait_s > 0).then(|| Duration::from_secs(wait_s.unsigned_abs()));
    let reading = Reading { room, after, limit, wait };
    let mut found = found_in_time(chats, &asker, &reading, &caller.headers).await?;
    if is_known(&caller.headers, &found.etag) {
        return Ok(with_etag(StatusCode::NOT_MODIFIED.into_response(), &found.etag));
    }
    show_pictures(chats, &mut found).await?;
    let room_room_id = room_room_id(found.code, &found.room.user_id);
    let shown = |message| DocumentedMessage::of(&found.room, &room_room_id, &found.marks, message);
    let messages = Messages::shaped(found.shape, found.messages.iter().map(shown).collect());
    Ok(with_etag(Json(DetailsAnswer::of(messages)).into_response(), &found.etag))
}

/// What there is, or what there is once something happens in the room.
async fn found_in_time(chats: &Chats, asker: &Asker, reading: &Reading, headers: &HeaderMap) -> Result<Found, Problem> {
    let found = find(chats, asker, reading).await?;
    let Some(wait) = reading.wait.filter(|_| is_worth_waiting(&found, headers)) else { return Ok(found) };
    let mut patience = pin!(sleep(wait));
    let limits = &chats.settings(&found.room.org, &found.room.app).await?.limits;
    let _place = match asker {
        Asker::Person { .. } | Asker::App { .. } => None,
        _ => Some(chats.meter().stream(&limit_key(asker, &found.room), limits)?),
    };
    let mut ear = chats.hub().listen_to(asker, &found.room.id);
    loop {
        // It listens before it looks: what happens in between is not missed.
        let found = find(chats, asker, reading).await?;
        if !is_worth_waiting(&found, headers) {
            return Ok(found);
        }
        tokio::select! {
            // One that did not keep up hears nothing more: another one goes on.
            is_deaf = something(&mut ear) => if is_deaf {
                ear = chats.hub().listen_to(asker, &found.room.id);
            },
            () = &mut patience => return Ok(found),
            () = chats.kernel().stop.cancelled() => return Ok(found),
        }
    }
}

/// Whether there is nothing to tell yet.
fn is_worth_waiting(found: &Found, headers: &HeaderMap) -> bool {
    if headers.contains_key(IF_NONE_MATCH) { is_known(headers, &found.etag) } else { found.messages.is_empty() }
}

/// Returns when something happened in the room, or may have; whether the ear hears nothing more.
async fn something(ear: &mut Subscription) -> bool {
    matches!(ear.next().await, Heard::Lagging)
}

async fn find(chats: &Chats, asker: &Asker, reading: &Reading) -> Result<Found, Problem> {
    let room = chats.room(asker, &reading.room).await?;
    chats.note_reading(asker, &room).await?;
    let messages = chats.messages_of(&room, reading.after, reading.limit).await.map_err(Problem::internal)?;
    let marks = chats.marks(&room).await.map_err(Problem::internal)?;
    let shape = chats.settings(&room.org, &room.app).await?.compat_shape;
    let code = code_of_room(chats, &room).await?;
    let etag = etag(&room, code, &messages, &marks, shape);
    Ok(Found { room, messages, marks, shape, code, etag })
}

/// Changes with everything that the answer shows.
fn etag(room: &Room, code: i64, messages: &[Message], marks: &Marks, shape: CompatShape) -> String {
    let mut hasher = DefaultHasher::new();
    (code, &room.id, room.revision, room.is_open(), &room.product, shape.as_str()).hash(&mut hasher);
    (marks.visitor.read_seq, marks.support.read_seq).hash(&mut hasher);
    for message in messages {
        (message.seq, message.edited_ms, message.deleted_ms).hash(&mut hasher);
    }
    format!("\"{:016x}\"", hasher.finish())
}

/// Whether the client has it already (RFC 9110 section 13.1.2).
fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    let values = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|line| line.split(',')).any(|tag| {
        let tag = tag.trim();
        tag == "*" || tag.trim_start_matches("W/") == etag
    })
}

fn with_etag(mut response: Response, etag: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(etag) {
        response.headers_mut().insert(ETAG, value);
    }
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    response
}

/// Pictures stand in an answer as they were sent; the page ends where they would take too much.
async fn show_pictures(chats: &Chats, found: &mut Found) -> Result<(), Problem> {
    let mut left = MAX_PICTURES;
    let mut shown = 0;
    for message in &mut found.messages {
        let Some((file, size)) = picture_of(message) else {
            shown += 1;
            continue;
        };
        if shown > 0 && size > left {
            break;
        }
        left = left.saturating_sub(size);
        shown += 1;
        // One that was erased meanwhile stays the card that it is.
        if let Ok(open) = chats.kernel().files.read(Shelf::Chat, &found.room.org, &file).await {
            let bytes = open.bytes(MAX_PICTURE as u64).await.map_err(Problem::internal)?;
            message.body = Some(Body::text(&STANDARD.encode(&bytes)));
        }
    }
    found.messages.truncate(shown);
    Ok(())
}

/// The file of a message that is a picture small enough to stand in an answer, and its size.
fn picture_of(message: &Message) -> Option<(String, usize)> {
    let card = message.body.as_ref().filter(|_| message.kind == Kind::Image)?.value();
    let size = usize::try_from(card.get("size")?.as_u64()?).ok().filter(|size| *size <= MAX_PICTURE)?;
    Some((card.get("file")?.as_str()?.to_owned(), size))
}
