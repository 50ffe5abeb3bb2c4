//! Rooms: list, open, read, close and open again.
#![expect(unused_qualifications, reason = "utoipa's path macro repeats the types of the extractors")]

use axum::extract::State as Given;
use axum::http::StatusCode;
use kernel::Problem;
use kernel::error::codes;
use kernel::http::{Client, Json, PageQuery, Path, Query, cursor};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::asker::{Caller, app_of};
use crate::chat::model::{Mark, Side, State};
use crate::chat::view::RoomView;
use crate::chat::{Asker, Change, Chats, FlowBegins, How, OpenRoom, Opener, RoomFilter, RoomOrder, Wide};

/// Longest label of a room, in bytes.
const MAX_LABEL: usize = 512;

/// A room's id.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(in crate::chat) struct RoomPath {
    /// 24 hexadecimal digits.
    pub(in crate::chat) room: String,
}

/// Which rooms.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct RoomQuery {
    /// `open` or `closed`.
    state: Option<String>,
    /// Of this product.
    product: Option<String>,
    /// With this label (`org_id` of document 002).
    label: Option<String>,
    /// Of this visitor.
    visitor: Option<String>,
    /// That this person answers; `none` = that nobody answers yet.
    assignee: Option<String>,
    /// That wait for this team.
    team: Option<String>,
    /// With this tag; for those who answer.
    tag: Option<String>,
    /// This room alone, whatever else is asked.
    room: Option<String>,
    /// `latest` (last written in first, as when it is left out) or `oldest` (as they were opened).
    order: Option<String>,
}

impl RoomQuery {
    /// Which rooms of a page, and how many at most.
    pub(super) fn page(self, page: &PageQuery) -> Result<(RoomFilter, i64), Problem> {
        Ok((RoomFilter { after: after(page)?, ..self.filter()? }, page.limit()?))
    }

    fn filter(self) -> Result<RoomFilter, Problem> {
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        let refused = |field: &str, what: &str| Problem::new(codes::INVALID_REQUEST).and(field, "invalid", what);
        let state = given(self.state)
            .map(|word| State::parse(&word).ok_or_else(|| refused("?state", "open or closed")))
            .transpose()?;
        let order = match given(self.order).as_deref() {
            None | Some("latest") => RoomOrder::LatestFirst,
            Some("oldest") => RoomOrder::OldestFirst,
            Some(_) => return Err(refused("?order", "latest or oldest")),
        };
        let assignee = given(self.assignee);
        let unassigned = assignee.as_deref() == Some("none");
        Ok(RoomFilter {
            state,
            label: given(self.label),
            product: given(self.product),
            visitor: given(self.visitor).map(Into::into),
            assignee: assignee.filter(|_| !unassigned).map(Into::into),
            unassigned,
            team: given(self.team).map(Into::into),
            tag: given(self.tag).map(|tag| tag.trim().to_lowercase()),
            room: given(self.room).map(Into::into),
            order,
            after: None,
        })
    }
}

/// Where a page of rooms ended: a time and an id.
fn after(page: &PageQuery) -> Result<Option<(i64, String)>, Problem> {
    let Some(place) = page.after()? else { return Ok(None) };
    let read = place.split_once(',').and_then(|(ms, id)| Some((ms.parse().ok()?, id.to_owned())));
    let wrong = || Problem::new(codes::INVALID_CURSOR).and("?cursor", "invalid", "not a cursor of this list");
    read.map(Some).ok_or_else(wrong)
}

/// The same as a next page's request names it.
pub(super) fn next_page(next: Option<(i64, String)>) -> Option<String> {
    next.map(|(ms, id)| cursor(&format!("{ms},{id}")))
}

/// Some rooms.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RoomList {
    rooms: Vec<RoomView>,
    /// Where the page ended; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

/// List rooms: a visitor its own
#[utoipa::path(
    get, path = "/v1/chat/rooms", tag = "chat", params(RoomQuery, PageQuery),
    responses((status = 200, description = "A page of rooms", body = RoomList)),
    security(("bearer" = []))
)]
pub(super) async fn list(
    Given(chats): Given<Chats>,
    caller: Caller,
    Query(query): Query<RoomQuery>,
    Query(page): Query<PageQuery>,
) -> Result<Json<RoomList>, Problem> {
    let (filter, limit) = query.page(&page)?;
    let asker = caller.asker()?;
    let found = chats.rooms(&asker, &filter, limit).await?;
    let rooms = found.rooms.iter().map(|room| RoomView::shown_to(asker.side(), room)).collect();
    Ok(Json(RoomList { rooms, cursor: next_page(found.next) }))
}

/// A room that is wanted; what is left out is empty.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RoomRequest {
    /// The product's name.
    #[serde(default)]
    product: String,
    /// The visitor's name in your own books; an application's word is believed.
    #[serde(default)]
    user_id: String,
    /// A label.
    #[serde(default)]
    label: String,
    /// `portfolio_name` of document 002.
    #[serde(default)]
    portfolio: String,
    /// Of which application; only for people, who may leave it out where there is one.
    #[serde(default)]
    application: Option<String>,
    /// A new room also where one with the same four labels is open.
    #[serde(default)]
    new: bool,
}

impl RoomRequest {
    /// Whom the application vouches for opens rooms in that name alone.
    fn must_be_of(&mut self, user_id: &str) -> Result<(), Problem> {
        if self.user_id.is_empty() {
            user_id.clone_into(&mut self.user_id);
        }
        if self.user_id == user_id {
            return Ok(());
        }
        Err(Problem::field("/user_id", "invalid", "the application vouches for another user"))
    }

    fn check(&self) -> Result<(), Problem> {
        let fields = [
            ("/product", &self.product),
            ("/user_id", &self.user_id),
            ("/label", &self.label),
            ("/portfolio", &self.portfolio),
        ];
        for (pointer, text) in fields {
            if text.len() > MAX_LABEL || text.chars().any(char::is_control) {
                let what = format!("at most {MAX_LABEL} bytes, without control characters");
                return Err(Problem::field(pointer, "invalid", what));
            }
        }
        Ok(())
    }
}

/// A room that was opened.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RoomOpened {
    room: RoomView,
    /// The visitor's token, where the visitor is new: shown here and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

/// Open a room, or get the open one of the same labels
///
/// An application opens rooms for its users, a page with its publishable key one for a new visitor, a visitor one more of
/// its own.
#[utoipa::path(
    post, path = "/v1/chat/rooms", tag = "chat", request_body = RoomRequest,
    responses(
        (status = 201, description = "Opened", body = RoomOpened),
        (status = 200, description = "It was open already", body = RoomOpened),
        (status = 429, description = "Too many visitors from this address, or rooms of this visitor"),
    ),
    security(("bearer" = []))
)]
pub(super) async fn open(
    Given(chats): Given<Chats>,
    client: Client,
    caller: Caller,
    Json(mut request): Json<RoomRequest>,
) -> Result<(StatusCode, Json<RoomOpened>), Problem> {
    request.check()?;
    let (org, app, opener, address) = match caller {
        Caller::Visitor(visitor) => {
            if visitor.verified {
                request.must_be_of(&visitor.user_id)?;
            }
            (visitor.org.clone(), visitor.app.clone(), Opener::Visitor(visitor), Some(client.ip))
        }
        Caller::Page { org, app } => (org, app, Opener::Stranger, Some(client.ip)),
        Caller::Support(asker) => {
            chats.may_everywhere(&asker, Wide::OpenForOthers).await?;
            let app = app_of(&chats, &asker, request.application.as_deref()).await?;
            (asker.org().clone(), app, Opener::Anyone, None)
        }
    };
    let how = if request.new { How::New } else { How::GetOrCreate };
    let side = if opener == Opener::Anyone { Side::Support } else { Side::Visitor };
    let RoomRequest { product, user_id, label, portfolio, .. } = request;
    let (is_login, flow) = (false, FlowBegins::AtOnce);
    let wish =
        OpenRoom { org, app, opener, how, user_id, label, portfolio, product, is_login, flow, address, once: None };
    let opened = chats.open_room(wish).await?;
    let status = if opened.created { StatusCode::CREATED } else { StatusCode::OK };
    let token = opened.token.map(|token| token.expose().to_owned());
    Ok((status, Json(RoomOpened { room: RoomView::shown_to(side, &opened.room), token })))
}

/// How far the two sides of a room have come.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MarkView {
    /// Up to this message they reached a screen.
    delivered: i64,
    /// Up to this message they were read.
    read: i64,
}

impl From<Mark> for MarkView {
    fn from(mark: Mark) -> Self {
        Self { delivered: mark.delivered_seq, read: mark.read_seq }
    }
}

/// A room, and how far its two sides have come.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RoomWhole {
    #[serde(flatten)]
    room: RoomView,
    /// Its place among those that wait, from 1; absent when it waits for nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    queue_position: Option<u32>,
    visitor_mark: MarkView,
    support_mark: MarkView,
}

/// Read a room
#[utoipa::path(
    get, path = "/v1/chat/rooms/{room}", tag = "chat", params(RoomPath),
    responses((status = 200, description = "The room", body = RoomWhole), (status = 404, description = "There is none")),
    security(("bearer" = []))
)]
pub(super) async fn read(
    Given(chats): Given<Chats>,
    caller: Caller,
    Path(path): Path<RoomPath>,
) -> Result<Json<RoomWhole>, Problem> {
    let asker = caller.asker()?;
    let room = chats.room(&asker, &path.room).await?;
    let marks = chats.marks(&room).await.map_err(Problem::internal)?;
    let view = RoomView::shown_to(asker.side(), &room);
    let (visitor_mark, support_mark) = (marks.of(Side::Visitor).into(), marks.of(Side::Support).into());
    let queue_position = chats.queue_position(&room.org, &room.id);
    Ok(Json(RoomWhole { room: view, queue_position, visitor_mark, support_mark }))
}

async fn change(chats: &Chats, asker: &Asker, room: &str, change: &Change) -> Result<Json<RoomView>, Problem> {
    let room = chats.change(asker, room, change, |_| Vec::new()).await?;
    Ok(Json(RoomView::shown_to(asker.side(), &room)))
}

/// Close a room
#[utoipa::path(
    post, path = "/v1/chat/rooms/{room}/close", tag = "chat", params(RoomPath),
    responses((status = 200, description = "It is closed", body = RoomView), (status = 404, description = "There is none")),
    security(("bearer" = []))
)]
pub(super) async fn close(
    Given(chats): Given<Chats>,
    caller: Caller,
    Path(path): Path<RoomPath>,
) -> Result<Json<RoomView>, Problem> {
    change(&chats, &caller.asker()?, &path.room, &Change::Close).await
}

/// Open a closed room again
#[utoipa::path(
    post, path = "/v1/chat/rooms/{room}/reopen", tag = "chat", params(RoomPath),
    responses((status = 200, description = "It is open", body = RoomView), (status = 404, description = "There is none")),
    security(("bearer" = []))
)]
pub(super) async fn reopen(
    Given(chats): Given<Chats>,
    caller: Caller,
    Path(path): Path<RoomPath>,
) -> Result<Json<RoomView>, Problem> {
    change(&chats, &caller.asker()?, &path.room, &Change::Reopen).await
}

/// How far somebody has come.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadRequest {
    /// Up to this message they were read.
    #[serde(default)]
    read: i64,
    /// Up to this message they reached a screen; what was read did.
    #[serde(default)]
    delivered: i64,
}

/// Say how far you have read
#[utoipa::path(
    post, path = "/v1/chat/rooms/{room}/read", tag = "chat", params(RoomPath), request_body = ReadRequest,
    responses((status = 200, description = "Noted", body = MarkView), (status = 404, description = "There is none")),
    security(("bearer" = []))
)]
pub(super) async fn mark(
    Given(chats): Given<Chats>,
    caller: Caller,
    Path(path): Path<RoomPath>,
    Json(request): Json<ReadRequest>,
) -> Result<Json<MarkView>, Problem> {
    let mark = Mark { delivered_seq: request.delivered.max(0), read_seq: request.read.max(0) };
    let mark = chats.mark(&caller.asker()?, &path.room, mark).await?;
    Ok(Json(mark.into()))
}
