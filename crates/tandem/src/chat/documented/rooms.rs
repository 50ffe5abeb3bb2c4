//! Rows 1 to 4, 9, 11 and 13: rooms are opened, found and listed.
#![expect(unused_qualifications, reason = "utoipa's path macro repeats the types of the extractors")]

use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, CACHE_CONTROL, LOCATION, VARY};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use kernel::http::{Json, Path};
use kernel::{Problem, Secret};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::caller::{Caller, Home};
use super::intake::{Fields, Mistakes, path_key};
use super::refusal::ChatRefusal;
use super::shapes::{DocumentedRoom, InitAnswer, RoomAnswer, RoomListAnswer, room_room_id};
use crate::chat::model::Room;
use crate::chat::recent::looker;
use crate::chat::{ChatError, Chats, FlowBegins, How, OpenRoom, Opened, Opener, RoomFilter, RoomOrder, Wide};

/// Row 3's product when none is said.
const LOGIN: &str = "LOGIN";
/// Random digits of an id that the caller left out.
const GENERATED: usize = 32;
/// Rooms that one answer lists.
const MAX_LISTED: i64 = 5_000;
/// Rooms that are read at once.
const PORTION: i64 = 200;
/// Bytes of their last words in one answer: the list ends before more.
const MAX_LISTED_BYTES: usize = 8 << 20;

/// The four keys of a room.
#[derive(Deserialize, ToSchema)]
#[expect(dead_code, reason = "only documents what is read leniently")]
pub(super) struct RoomKeys {
    /// The visitor, as the caller knows it.
    #[schema(example = "ABCD12345")]
    user_id: String,
    /// A label inside the organisation.
    #[schema(example = "DOWELL12345")]
    org_id: String,
    /// For people.
    #[schema(example = "umair")]
    portfolio_name: String,
    /// One of the organisation's products.
    #[schema(example = "WIFIQRCODE")]
    product_name: String,
    /// A JSON Web Token by which the application vouches for the visitor.
    identity_token: Option<String>,
    /// Instead of it: the HMAC-SHA256 of `user_id`, hexadecimal.
    user_hash: Option<String>,
}

/// Get or create the room of four keys
///
/// Whose room it is, the credential says: without the token of its visitor there is a new one, unless the application is
/// `open`.
#[utoipa::path(
    post,
    path = "/room-control/",
    tag = "chat",
    request_body(content(
        (RoomKeys = "application/json"),
        (RoomKeys = "application/x-www-form-urlencoded"),
        (RoomKeys = "multipart/form-data"),
    )),
    responses(
        (status = 200, description = "The room", body = RoomAnswer),
        (status = 400, description = "Each field that is wrong is named", body = ChatRefusal),
        (status = 429, description = "Too many new visitors or rooms", body = ChatRefusal),
    ),
    security((), ("bearer" = []))
)]
pub(super) async fn room_control(
    State(chats): State<Chats>,
    caller: Caller,
    request: Request,
) -> Result<Response, Problem> {
    by_four_keys(&chats, caller, request).await
}

/// Get or create the room of four keys, from a browser extension
#[utoipa::path(
    post,
    path = "/extension/",
    tag = "chat",
    request_body(content(
        (RoomKeys = "application/json"),
        (RoomKeys = "application/x-www-form-urlencoded"),
        (RoomKeys = "multipart/form-data"),
    )),
    responses((status = 200, description = "The room", body = RoomAnswer)),
    security((), ("bearer" = []))
)]
pub(super) async fn extension(
    State(chats): State<Chats>,
    caller: Caller,
    request: Request,
) -> Result<Response, Problem> {
    by_four_keys(&chats, caller, request).await
}

async fn by_four_keys(chats: &Chats, caller: Caller, request: Request) -> Result<Response, Problem> {
    let fields = Fields::read(request).await?;
    let caller = caller.proved(chats, &fields).await?;
    let mut mistakes = Mistakes::default();
    let wish = Wish {
        how: How::GetOrCreate,
        user_id: user(&caller, &fields, &mut mistakes),
        label: fields.required("org_id", &mut mistakes),
        portfolio: fields.required("portfolio_name", &mut mistakes),
        product: fields.required("product_name", &mut mistakes),
        is_login: true,
    };
    answer(chats, &caller, wish, mistakes).await
}

/// Row 2's keys.
#[derive(Deserialize, ToSchema)]
#[expect(dead_code, reason = "only documents what is read leniently")]
pub(super) struct OpenKeys {
    /// The visitor, as the caller knows it.
    #[schema(example = "ABCD12345")]
    user_id: String,
    /// One of the organisation's products.
    #[schema(example = "SALESAGENT")]
    product_name: String,
}

/// Get or create the room of a user and a product
#[utoipa::path(
    post,
    path = "/openChatRoom/",
    tag = "chat",
    request_body(content(
        (OpenKeys = "application/json"),
        (OpenKeys = "application/x-www-form-urlencoded"),
        (OpenKeys = "multipart/form-data"),
    )),
    responses((status = 200, description = "The room", body = RoomAnswer)),
    security((), ("bearer" = []))
)]
pub(super) async fn open_chat_room(
    State(chats): State<Chats>,
    caller: Caller,
    request: Request,
) -> Result<Response, Problem> {
    let fields = Fields::read(request).await?;
    let caller = caller.proved(&chats, &fields).await?;
    let mut mistakes = Mistakes::default();
    let user_id = user(&caller, &fields, &mut mistakes);
    let product = fields.required("product_name", &mut mistakes);
    // A product that there is not is told of below.
    let code = chats.product_code(&caller.home()?.org, &product).await.map_err(Problem::internal)?.unwrap_or_default();
    let wish = Wish {
        how: How::GetOrCreate,
        label: room_room_id(code, &user_id),
        portfolio: user_id.clone(),
        user_id,
        product,
        is_login: false,
    };
    answer(&chats, &caller, wish, mistakes).await
}

/// Row 3's keys.
#[derive(Deserialize, ToSchema)]
#[expect(dead_code, reason = "only documents what is read leniently")]
pub(super) struct LoginKeys {
    /// The visitor, as the caller knows it.
    #[schema(example = "ABCD12345")]
    user_id: String,
    /// A label inside the organisation; random when it is left out.
    #[schema(example = "DOWELL12345")]
    org_id: Option<String>,
    /// One of the organisation's products; LOGIN when it is left out.
    product_name: Option<String>,
}

/// Open a new room for a user who signed in
#[utoipa::path(
    post,
    path = "/login/",
    tag = "chat",
    request_body(content(
        (LoginKeys = "application/json"),
        (LoginKeys = "application/x-www-form-urlencoded"),
        (LoginKeys = "multipart/form-data"),
    )),
    responses((status = 200, description = "The room, always a new one", body = RoomAnswer)),
    security((), ("bearer" = []))
)]
pub(super) async fn login(State(chats): State<Chats>, caller: Caller, request: Request) -> Result<Response, Problem> {
    let fields = Fields::read(request).await?;
    let caller = caller.proved(&chats, &fields).await?;
    let mut mistakes = Mistakes::default();
    let user_id = user(&caller, &fields, &mut mistakes);
    let product = fields.key("product_name", &mut mistakes).unwrap_or_else(|| LOGIN.to_owned());
    let wish = Wish {
        how: How::New,
        label: fields.key("org_id", &mut mistakes).unwrap_or_else(|| generated(&chats)),
        portfolio: format!("{product}{user_id}"),
        user_id,
        product,
        is_login: true,
    };
    answer(&chats, &caller, wish, mistakes).await
}

/// Row 11's path.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct InitPath {
    /// A label inside the organisation.
    org_id: String,
    /// One of the organisation's products.
    product: String,
    /// A user, or the id of a QR code.
    id: String,
}

/// Open a room by a link
///
/// A new room each time; the same empty one again to the same address and User-Agent for ten minutes, since a preview of
/// the link is no visitor. A browser that wants a page is led to the chat's own, which opens a room with the first word.
#[utoipa::path(
    get,
    path = "/init/{org_id}/{product}/{id}/",
    tag = "chat",
    params(InitPath),
    responses(
        (status = 200, description = "The room", body = InitAnswer),
        (status = 303, description = "A browser goes on to the page of the chat"),
    ),
    security((), ("bearer" = []))
)]
pub(super) async fn init(
    State(chats): State<Chats>,
    caller: Caller,
    Path(path): Path<InitPath>,
) -> Result<Response, Problem> {
    let home = caller.home()?;
    let mut mistakes = Mistakes::default();
    let id = path_key("id", &path.id, &mut mistakes);
    let wish = Wish {
        how: How::New,
        user_id: id.clone(),
        label: path_key("org_id", &path.org_id, &mut mistakes),
        portfolio: id.clone(),
        product: path_key("product", &path.product, &mut mistakes),
        is_login: false,
    };
    let code = code_of(&chats, home, &wish.product, &mut mistakes).await?;
    mistakes.none()?;
    if wants_a_page(&caller.headers) {
        return page_of(&chats, home, &wish).await;
    }
    let keys = [&*home.org, &*home.app, &wish.label, &wish.product, &id];
    // Only somebody unknown is given what somebody unknown was given: a visitor's room is that visitor's.
    let looker = caller.is_nobody().then(|| looker(caller.client.ip, &caller.headers, &keys));
    if let Some(looker) = &looker
        && let Some((room, token)) = the_same_again(&chats, looker, home).await?
    {
        let room = RoomAnswer::of(&room, code, true, Some(token.expose()));
        return Ok(not_kept(Json(InitAnswer { room })));
    }
    let flow = if looker.is_some() { FlowBegins::AtSight } else { FlowBegins::AtOnce };
    let opened = open(&chats, &caller, wish, flow).await?;
    if let Some(looker) = looker {
        chats.recent().put(looker, &opened.room.id, chats.now_ms());
    }
    let using = chats.use_qr_write(&home.org, &id, &opened.room.id);
    chats.kernel().db.writer().submit(vec![using]).await.map_err(Problem::internal)?;
    let token = opened.token.as_ref().map(Secret::expose);
    Ok(not_kept(Json(InitAnswer { room: RoomAnswer::of(&opened.room, code, true, token) })))
}

/// An answer to a GET that holds a token: no cache on the way keeps it.
fn not_kept(answer: impl IntoResponse) -> Response {
    ([(CACHE_CONTROL, HeaderValue::from_static("no-store"))], answer).into_response()
}

/// Whether somebody's browser asks, and not a program.
fn wants_a_page(headers: &HeaderMap) -> bool {
    headers.get(ACCEPT).is_some_and(|accept| accept.as_bytes().starts_with(b"text/html"))
}

/// Leads to the chat's page: of a QR code, or about the product.
async fn page_of(chats: &Chats, home: &Home, wish: &Wish) -> Result<Response, Problem> {
    let qr = chats.qr_id(&home.org, &wish.user_id).await.map_err(Problem::internal)?;
    let location = match qr {
        Some(qr) => format!("/c/{}?app={}&product={}", qr.id, home.app, wish.product),
        None => format!("/c/{}/{}", home.app, wish.product),
    };
    let location = HeaderValue::try_from(location).map_err(Problem::internal)?;
    let headers = [(LOCATION, location), (VARY, HeaderValue::from_static("accept"))];
    Ok((StatusCode::SEE_OTHER, headers).into_response())
}

/// The room that the same looker was given a moment ago, if nobody has written in it, with a token in place of those
/// that were given before: of a preview and a reader, or of two behind one address, one holds the room.
async fn the_same_again(chats: &Chats, looker: &str, home: &Home) -> Result<Option<(Room, Secret)>, Problem> {
    let Some(id) = chats.recent().get(looker, chats.now_ms()) else { return Ok(None) };
    let room = match chats.room_of_desk(&home.org, &id).await {
        Ok(room) if room.seq_head == 0 && room.is_open() => room,
        Ok(_) | Err(ChatError::NotFound) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let token = chats.token_of_empty_room(&room).await?;
    Ok(token.map(|token| (room, token)))
}

/// Row 13's key.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only documents what is read leniently")]
pub(super) struct PublicQuery {
    /// A publishable key, `pk_...`.
    api_key: Option<String>,
}

/// Row 13's keys.
#[derive(Deserialize, ToSchema)]
#[expect(dead_code, reason = "only documents what is read leniently")]
pub(super) struct PublicKeys {
    /// A label inside the organisation.
    org_id: String,
    /// One of the organisation's products.
    product_name: String,
    /// For people.
    portfolio_name: String,
    /// The visitor, as the caller knows it; random when it is left out.
    user_id: Option<String>,
}

/// Get or create a room by a publishable key
#[utoipa::path(
    post,
    path = "/publicroom/",
    tag = "chat",
    params(PublicQuery),
    request_body(content(
        (PublicKeys = "application/json"),
        (PublicKeys = "application/x-www-form-urlencoded"),
        (PublicKeys = "multipart/form-data"),
    )),
    responses((status = 200, description = "The room", body = RoomAnswer)),
    security((), ("bearer" = []))
)]
pub(super) async fn public_room(
    State(chats): State<Chats>,
    caller: Caller,
    request: Request,
) -> Result<Response, Problem> {
    caller.has_key()?;
    let fields = Fields::read(request).await?;
    let caller = caller.proved(&chats, &fields).await?;
    let mut mistakes = Mistakes::default();
    let user_id = caller.vouched_user().map(str::to_owned).or_else(|| fields.key("user_id", &mut mistakes));
    let wish = Wish {
        how: How::GetOrCreate,
        user_id: user_id.unwrap_or_else(|| generated(&chats)),
        label: fields.required("org_id", &mut mistakes),
        portfolio: fields.required("portfolio_name", &mut mistakes),
        product: fields.required("product_name", &mut mistakes),
        is_login: true,
    };
    answer(&chats, &caller, wish, mistakes).await
}

/// Row 13's room.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only documents what is read leniently")]
pub(super) struct PublicRoomQuery {
    /// A publishable key, `pk_...`.
    api_key: Option<String>,
    /// The room.
    room_id: Option<String>,
}

/// Read a room by a publishable key
#[utoipa::path(
    get,
    path = "/publicroom/",
    tag = "chat",
    params(PublicRoomQuery),
    responses((status = 200, description = "The room", body = RoomAnswer)),
    security((), ("bearer" = []))
)]
pub(super) async fn read_public_room(
    State(chats): State<Chats>,
    caller: Caller,
    request: Request,
) -> Result<Response, Problem> {
    caller.has_key()?;
    let fields = Fields::read(request).await?;
    let mut mistakes = Mistakes::default();
    let id = fields.required("room_id", &mut mistakes);
    mistakes.none()?;
    let room = chats.room(&caller.of_room(&chats, &id).await?, &id).await?;
    let code = code_of_room(&chats, &room).await?;
    Ok(Json(RoomAnswer::of(&room, code, false, None)).into_response())
}

/// Row 9's query.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only documents what is read leniently")]
pub(super) struct ListQuery {
    /// A label inside the organisation.
    org_id: Option<String>,
    /// One of the organisation's products.
    product_name: Option<String>,
    /// At most so many, 1 to 5000.
    limit: Option<i64>,
    /// The id of a room: those that were opened after it.
    after: Option<String>,
}

/// List the rooms of a label and a product
#[utoipa::path(
    get,
    path = "/room-list/",
    tag = "chat",
    params(ListQuery),
    responses(
        (status = 200, description = "The rooms, oldest first", body = RoomListAnswer),
        (status = 401, description = "No good credential", body = ChatRefusal),
    ),
    security(("bearer" = []))
)]
pub(super) async fn room_list(
    State(chats): State<Chats>,
    caller: Caller,
    request: Request,
) -> Result<Response, Problem> {
    let asker = caller.of_all(&chats, Wide::SeeRooms).await?;
    let fields = Fields::read(request).await?;
    let mut mistakes = Mistakes::default();
    let mut filter = RoomFilter {
        label: Some(fields.required("org_id", &mut mistakes)),
        product: Some(fields.required("product_name", &mut mistakes)),
        order: RoomOrder::OldestFirst,
        ..RoomFilter::default()
    };
    let limit = fields.number("limit", 1..=MAX_LISTED, &mut mistakes).unwrap_or(MAX_LISTED);
    let after = fields.key("after", &mut mistakes);
    mistakes.none()?;
    if let Some(after) = after {
        let room = chats.room(&asker, &after).await?;
        filter.after = Some((room.created_ms, room.id.to_string()));
    }
    let mut rooms: Vec<Room> = Vec::new();
    let mut bytes_left = MAX_LISTED_BYTES;
    loop {
        let left = limit - i64::try_from(rooms.len()).unwrap_or(limit);
        let page = chats.rooms(&asker, &filter, left.min(PORTION)).await?;
        let is_full = !take(&mut rooms, page.rooms, &mut bytes_left);
        match page.next {
            Some(next) if left > PORTION && !is_full => filter.after = Some(next),
            _ => break,
        }
    }
    let code = match rooms.first() {
        Some(room) => code_of_room(&chats, room).await?,
        None => 0,
    };
    let rooms: Vec<DocumentedRoom<'_>> = rooms.iter().map(|room| DocumentedRoom::of(room, code)).collect();
    let list = RoomListAnswer {
        success: true,
        message: "Room list",
        rooms: &rooms,
        response: &rooms,
        last_room_details: rooms.last(),
    };
    Ok(Json(list).into_response())
}

/// Takes as many rooms of a page as there are bytes left for, and one at least; whether all of them.
fn take(rooms: &mut Vec<Room>, page: Vec<Room>, bytes_left: &mut usize) -> bool {
    for room in page {
        let bytes = room.last_body.as_ref().map_or(0, |body| body.as_json().len());
        if bytes > *bytes_left && !rooms.is_empty() {
            return false;
        }
        *bytes_left = bytes_left.saturating_sub(bytes);
        rooms.push(room);
    }
    true
}

/// A room that somebody wants, in the document's words.
struct Wish {
    how: How,
    user_id: String,
    label: String,
    portfolio: String,
    product: String,
    is_login: bool,
}

/// The user: whom the application vouches for, else whom the request names.
fn user(caller: &Caller, fields: &Fields, mistakes: &mut Mistakes) -> String {
    match (caller.vouched_user(), fields.key("user_id", mistakes)) {
        (Some(vouched), None) => vouched.to_owned(),
        (Some(vouched), Some(named)) => {
            if vouched != named {
                mistakes.add("user_id", "the application vouches for another user");
            }
            named
        }
        (None, Some(named)) => named,
        (None, None) => fields.required("user_id", mistakes),
    }
}

/// Opens the room and answers as row 1 does.
async fn answer(chats: &Chats, caller: &Caller, wish: Wish, mut mistakes: Mistakes) -> Result<Response, Problem> {
    let code = code_of(chats, caller.home()?, &wish.product, &mut mistakes).await?;
    mistakes.none()?;
    let opened = open(chats, caller, wish, FlowBegins::AtOnce).await?;
    let token = opened.token.as_ref().map(Secret::expose);
    Ok(Json(RoomAnswer::of(&opened.room, code, opened.created, token)).into_response())
}

async fn open(chats: &Chats, caller: &Caller, wish: Wish, flow: FlowBegins) -> Result<Opened, Problem> {
    let Home { org, app, .. } = caller.home()?.clone();
    let opener: Opener = caller.opener(chats).await?;
    let Wish { how, user_id, label, portfolio, product, is_login } = wish;
    let address = caller.is_counted().then_some(caller.client.ip);
    let wish = OpenRoom { org, app, opener, how, user_id, label, portfolio, product, is_login, flow, address, once: None };
    let mut opened = chats.open_room(wish).await?;
    if let (None, Some(visitor)) = (&opened.token, caller.needs_token()) {
        opened.token = Some(chats.new_token(visitor).await?);
    }
    Ok(opened)
}

/// The code of a product that is asked for; 0 with a mistake when there is none of this name.
async fn code_of(chats: &Chats, home: &Home, product: &str, mistakes: &mut Mistakes) -> Result<i64, Problem> {
    if product.is_empty() {
        return Ok(0); // its absence is a mistake already
    }
    let code = chats.product_code(&home.org, product).await.map_err(Problem::internal)?;
    if code.is_none() {
        mistakes.add("product_name", "the organisation has no product of this name");
    }
    Ok(code.unwrap_or_default())
}

/// The code of a room's product.
pub(super) async fn code_of_room(chats: &Chats, room: &Room) -> Result<i64, Problem> {
    let code = chats.product_code(&room.org, &room.product).await.map_err(Problem::internal)?;
    Ok(code.unwrap_or_default())
}

/// An id that the caller left out.
fn generated(chats: &Chats) -> String {
    chats.kernel().ids.bytes::<{ GENERATED / 2 }>().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::model::Body;
    use crate::chat::tests::stage::Stage;

    #[tokio::test]
    async fn a_list_ends_before_too_many_words_and_goes_on_after_them() {
        let stage = Stage::sqlite(&[]).await;
        let mut page = Vec::new();
        for words in ["12345678", "1234", "1234"] {
            let room = stage.room().await.0.room;
            page.push(Room { last_body: Some(Body::text(words)), ..room });
        }
        // Each of the words stands in quotes.
        let (mut rooms, mut left) = (Vec::new(), 16);
        assert!(!take(&mut rooms, page.clone(), &mut left));
        assert_eq!((rooms.len(), left), (2, 0));
        let (mut one, mut none_left) = (Vec::new(), 0);
        assert!(!take(&mut one, page.clone(), &mut none_left));
        assert_eq!(one.len(), 1, "one at least, or nobody would get on");
        let mut left = 100;
        assert!(take(&mut Vec::new(), page, &mut left));
    }
}
