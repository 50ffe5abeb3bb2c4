//! Rooms for those who answer: with the visitor, the last words and the notes, which visitors do not see.

use axum::extract::State as Given;
use axum::http::StatusCode;
use kernel::Problem;
use kernel::http::{Json, PageQuery, Path, Query};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::asker::Caller;
use super::rooms::{MarkView, RoomPath, RoomQuery, next_page};
use crate::chat::model::Side;
use crate::chat::view::{MessageView, NoteView, RoomView};
use crate::chat::{Chats, Overview};

/// A room in the list of those who answer.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OverviewView {
    #[serde(flatten)]
    room: RoomView,
    /// The visitor's name, as it is known; empty when it is not.
    visitor_name: String,
    /// Whether the application vouched for who the visitor is.
    verified: bool,
    /// Whether the visitor has the chat open on this server.
    visitor_online: bool,
    /// Up to this message those who answer have read.
    support_read: i64,
    /// The newest message.
    #[schema(nullable)]
    last: Option<MessageView>,
}

impl From<&Overview> for OverviewView {
    fn from(overview: &Overview) -> Self {
        let visitor = overview.visitor.as_ref();
        Self {
            room: RoomView::from(&overview.room),
            visitor_name: visitor.map(|visitor| visitor.name.clone()).unwrap_or_default(),
            verified: visitor.is_some_and(|visitor| visitor.verified),
            visitor_online: overview.is_visitor_here,
            support_read: overview.support().read_seq,
            last: overview.last.as_ref().map(MessageView::from),
        }
    }
}

/// Some rooms.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OverviewList {
    rooms: Vec<OverviewView>,
    /// Where the page ended; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

/// List rooms as those who answer look at them
#[utoipa::path(
    get, path = "/v1/chat/inbox", tag = "chat", params(RoomQuery, PageQuery),
    responses((status = 200, description = "A page of rooms", body = OverviewList)),
    security(("bearer" = []))
)]
pub(super) async fn list(
    Given(chats): Given<Chats>,
    caller: Caller,
    Query(query): Query<RoomQuery>,
    Query(page): Query<PageQuery>,
) -> Result<Json<OverviewList>, Problem> {
    let (filter, limit) = query.page(&page)?;
    let found = chats.overview(&caller.asker()?, &filter, limit).await?;
    Ok(Json(OverviewList {
        rooms: found.rooms.iter().map(OverviewView::from).collect(),
        cursor: next_page(found.next),
    }))
}

/// A room with what stands beside it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct InsideView {
    room: OverviewView,
    visitor_mark: MarkView,
    support_mark: MarkView,
    /// Oldest first.
    notes: Vec<NoteView>,
}

/// Read a room as those who answer look at it
#[utoipa::path(
    get, path = "/v1/chat/inbox/{room}", tag = "chat", params(RoomPath),
    responses((status = 200, description = "The room", body = InsideView), (status = 404, description = "There is none")),
    security(("bearer" = []))
)]
pub(super) async fn read(
    Given(chats): Given<Chats>,
    caller: Caller,
    Path(path): Path<RoomPath>,
) -> Result<Json<InsideView>, Problem> {
    let (overview, notes) = chats.inside(&caller.asker()?, &path.room).await?;
    Ok(Json(InsideView {
        room: OverviewView::from(&overview),
        visitor_mark: overview.marks.of(Side::Visitor).into(),
        support_mark: overview.support().into(),
        notes: notes.iter().map(NoteView::from).collect(),
    }))
}

/// The notes beside a room.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NoteList {
    /// Oldest first.
    notes: Vec<NoteView>,
}

/// List the notes beside a room
#[utoipa::path(
    get, path = "/v1/chat/rooms/{room}/notes", tag = "chat", params(RoomPath),
    responses((status = 200, description = "The notes", body = NoteList), (status = 404, description = "There is no such room")),
    security(("bearer" = []))
)]
pub(super) async fn notes(
    Given(chats): Given<Chats>,
    caller: Caller,
    Path(path): Path<RoomPath>,
) -> Result<Json<NoteList>, Problem> {
    let notes = chats.notes(&caller.asker()?, &path.room).await?;
    Ok(Json(NoteList { notes: notes.iter().map(NoteView::from).collect() }))
}

/// A note.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NoteRequest {
    /// Plain text; the visitor never sees it.
    text: String,
}

/// Write a note beside a room, for those who answer
#[utoipa::path(
    post, path = "/v1/chat/rooms/{room}/notes", tag = "chat", params(RoomPath), request_body = NoteRequest,
    responses((status = 201, description = "Written", body = NoteView), (status = 404, description = "There is no such room")),
    security(("bearer" = []))
)]
pub(super) async fn note(
    Given(chats): Given<Chats>,
    caller: Caller,
    Path(path): Path<RoomPath>,
    Json(request): Json<NoteRequest>,
) -> Result<(StatusCode, Json<NoteView>), Problem> {
    let note = chats.note(&caller.asker()?, &path.room, &request.text).await?;
    Ok((StatusCode::CREATED, Json(NoteView::from(&note))))
}
