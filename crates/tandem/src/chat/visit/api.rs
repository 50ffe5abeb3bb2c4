//! The routes of a visitor's page: `/v1/chat/widget/…`, attachments, the rating, the transcript. Handlers read, ask the
//! desk, and answer; no rule stands here.
#![expect(unused_qualifications, reason = "utoipa's path macro repeats the types of the extractors")]

use axum::body::Body;
use axum::extract::{FromRef, FromRequestParts, Request, State as Given};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, USER_AGENT,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::request::Parts;
use axum::http::{HeaderName, StatusCode};
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::options;
use kernel::error::codes;
use kernel::http::{Client, Json, Path, Query, bearer_token};
use kernel::time::rfc3339;
use kernel::{Kernel, Principal, Problem, Secret};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::access::Asker;
use super::super::inbox::Visit;
use super::super::model::{Mark, Marks, Side};
use super::super::origins;
use super::super::view::RoomView;
use super::super::{Change, ChatError, Chats};
use super::attachments::NewFile;
use super::offline::Left;
use super::open::{Door, Wish};
use super::rating::Rating;

/// A file may take so long to come.
const UPLOAD_PATIENCE: std::time::Duration = std::time::Duration::from_secs(120);
/// An attachment runs nothing, whatever it is.
const FILE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; sandbox";

/// Every route of a visitor's page.
pub fn routes<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    Chats: FromRef<S>,
    Kernel: FromRef<S>,
{
    let router = OpenApiRouter::new()
        .routes(routes!(look))
        .routes(routes!(open))
        .routes(routes!(leave))
        .routes(routes!(standing))
        .routes(routes!(end))
        .routes(routes!(rate))
        .routes(routes!(transcript))
        .routes(routes!(await_file))
        .routes(routes!(take_file))
        .routes(routes!(file));
    // Pages of other sites hold the element too: their browsers ask first.
    let asked = |router: OpenApiRouter<S>, path: &&str| router.route(path, options(origins::preflight));
    PATHS.iter().fold(router, asked).layer(from_fn(origins::layer))
}

/// No browser keeps an attachment: who has signed out leaves nothing of the chat in it, nor does what was deleted stay.
const KEEP: &str = "private, no-store";
/// Every path of these routes.
const PATHS: [&str; 10] = [
    "/v1/chat/widget/{app}",
    "/v1/chat/widget/{app}/rooms",
    "/v1/chat/widget/{app}/offline",
    "/v1/chat/rooms/{room}/standing",
    "/v1/chat/rooms/{room}/end",
    "/v1/chat/rooms/{room}/rating",
    "/v1/chat/rooms/{room}/transcript",
    "/v1/chat/uploads",
    "/v1/chat/uploads/{file}",
    "/v1/chat/files/{file}",
];

/// Whoever asks for something of a room: a visitor by token, else as everywhere.
pub struct Guest(pub Asker);

impl<S> FromRequestParts<S> for Guest
where
    S: Send + Sync,
    Kernel: FromRef<S>,
    Chats: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let (kernel, chats) = (Kernel::from_ref(state), Chats::from_ref(state));
        let asker = match bearer_token(&parts.headers).filter(|token| Chats::is_visitor_token(token)) {
            Some(token) => match chats.authenticate_visitor(token).await.map_err(Problem::internal)? {
                Some(visitor) => Asker::from(&visitor),
                None => {
                    let Ok(client) = Client::from_request_parts(parts, state).await;
                    origins::show_refusal(&chats, parts).await?;
                    return Err(kernel.wrong_credential(client.ip));
                }
            },
            None => {
                let principal = Principal::from_request_parts(parts, state).await?;
                let is_nowhere = matches!(principal, Principal::Administrator { .. }) && principal.org().is_empty();
                let refusal = if is_nowhere { codes::NO_ORGANISATION_CHOSEN } else { codes::FORBIDDEN };
                Asker::of(&principal).ok_or_else(|| Problem::new(refusal))?
            }
        };
        if let Some(app) = asker.app() {
            let settings = chats.settings(asker.org(), app).await?;
            origins::admit(&kernel, parts, &settings)?;
        }
        Ok(Self(asker))
    }
}

/// The application that a path names, if the page that asks may use its chat.
struct Entrance {
    door: Door,
    token: Option<Secret>,
    client: Client,
    user_agent: Option<String>,
}

/// An application's id.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct WidgetPath {
    /// `app_...`
    app: String,
}

impl<S> FromRequestParts<S> for Entrance
where
    S: Send + Sync,
    Kernel: FromRef<S>,
    Chats: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let (kernel, chats) = (Kernel::from_ref(state), Chats::from_ref(state));
        let Path(path) = Path::<WidgetPath>::from_request_parts(parts, state).await?;
        let Ok(client) = Client::from_request_parts(parts, state).await;
        let door = chats.door(&path.app).await?;
        origins::admit(&kernel, parts, &door.chat)?;
        let token = bearer_token(&parts.headers).map(Secret::new);
        let user_agent = parts.headers.get(USER_AGENT).and_then(|name| name.to_str().ok()).map(str::to_owned);
        Ok(Self { door, token, client, user_agent })
    }
}

/// How a widget looks, and whether somebody is there.
#[derive(Debug, Serialize, ToSchema)]
struct LookView {
    /// Stands at its head.
    title: String,
    /// The first words; empty = those of the visitor's language.
    greeting: String,
    /// Of its head and its buttons, `#rrggbb`.
    accent: String,
    /// Of words on that.
    accent_text: String,
    /// `auto`, `light` or `dark`.
    theme: String,
    /// `right` or `left`.
    position: String,
    /// A language, or `auto`.
    locale: String,
    /// What a chat is about when the page does not say.
    product: String,
    /// Whether somebody is there.
    is_open: bool,
    /// When somebody is there again, RFC 3339.
    opens_at: Option<String>,
    /// Whether a message is left by mail while nobody is there.
    has_offline_form: bool,
    /// `open`, `token` or `verified`.
    identity: &'static str,
    /// Of one message.
    max_characters: usize,
    /// Of one attachment.
    max_upload_bytes: u64,
}

/// Read how a widget looks, and whether somebody is there
#[utoipa::path(
    get,
    path = "/v1/chat/widget/{app}",
    tag = "chat",
    params(WidgetPath),
    responses((status = 200, description = "The widget", body = LookView), (status = 404, description = "There is none")),
    security(())
)]
async fn look(Given(kernel): Given<Kernel>, entrance: Entrance) -> Json<LookView> {
    let Door { widget, chat, .. } = &entrance.door;
    let now_ms = kernel.clock.now_ms();
    Json(LookView {
        title: entrance.door.title().to_owned(),
        greeting: widget.greeting.clone(),
        accent: widget.accent.css(),
        accent_text: widget.accent.words().css(),
        theme: widget.theme.clone(),
        position: widget.position.clone(),
        locale: widget.locale.clone(),
        product: widget.product.clone(),
        is_open: widget.is_open(now_ms),
        opens_at: widget.opens_ms(now_ms).map(rfc3339),
        has_offline_form: widget.offline_email.is_some(),
        identity: chat.identity.as_str(),
        max_characters: chat.limits.characters,
        max_upload_bytes: chat.limits.upload_bytes,
    })
}

/// Who a visitor is.
#[derive(Debug, Default, Deserialize, ToSchema)]
struct IdentityBody {
    /// By which the application vouches: a JSON Web Token (HS256) with `sub`, `org` and `exp`.
    token: Option<String>,
    /// As which the application knows the visitor.
    user_id: Option<String>,
    /// HMAC-SHA256 of `user_id` in hexadecimal, by which the application vouches.
    user_hash: Option<String>,
    /// What the visitor says of itself.
    name: Option<String>,
    /// What the visitor says of itself.
    email: Option<String>,
}

/// A room that is wanted.
#[derive(Debug, Default, Deserialize, ToSchema)]
struct OpenBody {
    /// What the chat is about.
    product: Option<String>,
    /// The id of a QR code.
    link: Option<String>,
    /// Who the visitor is.
    #[serde(default)]
    identity: IdentityBody,
    /// Another room than the last one.
    #[serde(default)]
    fresh: bool,
    /// Only the room that is there, 404 when there is none: for a page that opens without a word.
    #[serde(default)]
    look: bool,
    /// The page on which the visitor is, for whoever answers.
    page: Option<String>,
    /// The visitor's language, for whoever answers.
    locale: Option<String>,
}

/// A room that was opened.
#[derive(Debug, Serialize, ToSchema)]
struct OpenedView {
    /// The room.
    room: RoomView,
    /// The visitor's token, when it was not sent: shown here and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

impl OpenBody {
    fn wish(self, entrance: &Entrance) -> Wish {
        let IdentityBody { token, user_id, user_hash, name, email } = self.identity;
        Wish {
            token: entrance.token.clone(),
            identity_token: token,
            user_id,
            user_hash,
            name,
            email,
            product: self.product,
            link: self.link,
            is_fresh: self.fresh,
            is_offline: false,
            once: None,
            is_look: self.look,
            address: Some(entrance.client.ip),
        }
    }
}

/// Open a room as a visitor, or find the visitor's own
#[utoipa::path(
    post,
    path = "/v1/chat/widget/{app}/rooms",
    tag = "chat",
    params(WidgetPath),
    request_body = OpenBody,
    responses(
        (status = 200, description = "The room, which was there", body = OpenedView),
        (status = 201, description = "The room, which is new", body = OpenedView),
        (status = 401, description = "The token, or the application's word, is not good"),
        (status = 404, description = "There is no such application, or with `look` no room"),
        (status = 429, description = "Too many at once"),
    ),
    security((), ("bearer" = []))
)]
async fn open(
    Given(kernel): Given<Kernel>,
    Given(chats): Given<Chats>,
    entrance: Entrance,
    Json(body): Json<OpenBody>,
) -> Result<(StatusCode, Json<OpenedView>), Problem> {
    let visit = Visit { page: body.page.clone(), user_agent: entrance.user_agent.clone(), locale: body.locale.clone() };
    let wish = body.wish(&entrance);
    let is_shown = wish.token.is_some() || wish.identity_token.is_some() || wish.user_hash.is_some();
    let opened = chats.visit(&entrance.door, &wish).await.map_err(|error| match error {
        // Whoever guesses is slowed down, as at every other door.
        ChatError::Unproved(why) if is_shown => kernel.wrong_credential(entrance.client.ip).detail(why),
        other => other.into(),
    })?;
    chats.note_visit(&opened.room, visit).await?;
    let status = if opened.created { StatusCode::CREATED } else { StatusCode::OK };
    let token = opened.token.map(|token| token.expose().to_owned());
    Ok((status, Json(OpenedView { room: RoomView::shown_to(Side::Visitor, &opened.room), token })))
}

/// A message that is left.
#[derive(Debug, Deserialize, ToSchema)]
struct LeaveBody {
    /// Who leaves it.
    name: String,
    /// Where the answer goes.
    email: String,
    /// What it says.
    message: String,
    /// What it is about.
    product: Option<String>,
    /// The page that it is left at.
    #[serde(default)]
    page: String,
    /// What the page calls this message, 16 to 64 characters of chance: sent again, it is the same one.
    cid: Option<String>,
}

/// A message that was left.
#[derive(Debug, Serialize, ToSchema)]
struct LeftView {
    /// The room in which it stands.
    room: String,
}

/// Leave a message while nobody is there
#[utoipa::path(
    post,
    path = "/v1/chat/widget/{app}/offline",
    tag = "chat",
    params(WidgetPath),
    request_body = LeaveBody,
    responses((status = 201, description = "It stands in a room", body = LeftView), (status = 429, description = "Too many at once")),
    security(())
)]
async fn leave(
    Given(chats): Given<Chats>,
    entrance: Entrance,
    Json(body): Json<LeaveBody>,
) -> Result<(StatusCode, Json<LeftView>), Problem> {
    let is_good = |cid: &String| (16..=64).contains(&cid.len()) && cid.bytes().all(|byte| byte.is_ascii_graphic());
    if !body.cid.as_ref().is_none_or(is_good) {
        return Err(Problem::field("/cid", "invalid", "16 to 64 printed characters"));
    }
    let wish = Wish {
        once: body.cid,
        name: Some(body.name),
        email: Some(body.email),
        product: body.product,
        address: Some(entrance.client.ip),
        ..Wish::default()
    };
    let opened = chats.leave_message(&entrance.door, &wish, &Left { message: body.message, page: body.page }).await?;
    Ok((StatusCode::CREATED, Json(LeftView { room: opened.room.id.to_string() })))
}

/// A room's id.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct RoomPath {
    /// 24 hexadecimal digits.
    room: String,
}

/// How far a side has come.
#[derive(Debug, Serialize, ToSchema)]
struct ReachedView {
    /// Up to this message they were read.
    read: i64,
    /// Up to this message they reached a screen.
    delivered: i64,
}

/// How far both sides have come.
#[derive(Debug, Serialize, ToSchema)]
struct SidesView {
    /// The visitor.
    visitor: ReachedView,
    /// The furthest of those who answer.
    support: ReachedView,
}

/// What is known of a room beside its messages.
#[derive(Debug, Serialize, ToSchema)]
struct StandingView {
    /// How far both sides have come.
    marks: SidesView,
    /// Whether the visitor has said how the chat was.
    rated: bool,
}

impl From<Mark> for ReachedView {
    fn from(mark: Mark) -> Self {
        Self { read: mark.read_seq, delivered: mark.delivered_seq }
    }
}

impl From<Marks> for SidesView {
    fn from(marks: Marks) -> Self {
        Self { visitor: marks.visitor.into(), support: marks.support.into() }
    }
}

/// Read how far both sides of a room have come, and whether the chat was rated
#[utoipa::path(
    get,
    path = "/v1/chat/rooms/{room}/standing",
    tag = "chat",
    params(RoomPath),
    responses((status = 200, description = "How it stands", body = StandingView), (status = 404, description = "There is none")),
    security(("bearer" = []))
)]
async fn standing(
    Given(chats): Given<Chats>,
    Guest(asker): Guest,
    Path(path): Path<RoomPath>,
) -> Result<Json<StandingView>, Problem> {
    let (marks, rating) = chats.standing(&asker, &path.room).await?;
    Ok(Json(StandingView { marks: marks.into(), rated: rating.is_some() }))
}

/// End a chat, as its visitor
#[utoipa::path(
    post,
    path = "/v1/chat/rooms/{room}/end",
    tag = "chat",
    params(RoomPath),
    responses((status = 200, description = "As it is now", body = RoomView), (status = 404, description = "There is none")),
    security(("bearer" = []))
)]
async fn end(
    Given(chats): Given<Chats>,
    Guest(asker): Guest,
    Path(path): Path<RoomPath>,
) -> Result<Json<RoomView>, Problem> {
    let room = chats.change(&asker, &path.room, &Change::End, |_| Vec::new()).await?;
    Ok(Json(RoomView::shown_to(asker.side(), &room)))
}

/// How a chat was.
#[derive(Debug, Deserialize, ToSchema)]
struct RatingBody {
    /// 1 (very bad) to 5 (very good).
    score: i64,
    /// In words.
    #[serde(default)]
    comment: String,
}

/// Say how a chat was that is over
#[utoipa::path(
    post,
    path = "/v1/chat/rooms/{room}/rating",
    tag = "chat",
    params(RoomPath),
    request_body = RatingBody,
    responses((status = 204, description = "It is noted"), (status = 409, description = "The chat goes on")),
    security(("bearer" = []))
)]
async fn rate(
    Given(chats): Given<Chats>,
    Guest(asker): Guest,
    Path(path): Path<RoomPath>,
    Json(body): Json<RatingBody>,
) -> Result<StatusCode, Problem> {
    let rating = Rating { score: body.score, comment: body.comment };
    chats.rate(&asker, &path.room, &rating).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Where a transcript goes.
#[derive(Debug, Deserialize, ToSchema)]
struct TranscriptBody {
    /// A mail address.
    email: String,
    /// The language of the words around it.
    #[serde(default)]
    locale: String,
}

/// Send a chat by mail
#[utoipa::path(
    post,
    path = "/v1/chat/rooms/{room}/transcript",
    tag = "chat",
    params(RoomPath),
    request_body = TranscriptBody,
    responses((status = 202, description = "It is on its way"), (status = 429, description = "Too many at once")),
    security(("bearer" = []))
)]
async fn transcript(
    Given(chats): Given<Chats>,
    client: Client,
    Guest(asker): Guest,
    Path(path): Path<RoomPath>,
    Json(body): Json<TranscriptBody>,
) -> Result<StatusCode, Problem> {
    chats.send_transcript(&asker, &path.room, &body.email, &body.locale, client.ip).await?;
    Ok(StatusCode::ACCEPTED)
}

/// A file that is to be brought.
#[derive(Debug, Deserialize, ToSchema)]
struct UploadBody {
    /// The room.
    room: String,
    /// As it is called.
    name: String,
    /// A media type; what a picture is, its first bytes say.
    #[serde(default, rename = "type")]
    media_type: String,
    /// Bytes.
    size: i64,
}

/// A place for a file.
#[derive(Debug, Serialize, ToSchema)]
struct UploadView {
    /// Its id, which a message names.
    file: String,
    /// As it is called here.
    name: String,
    /// As it is offered, as far as is known.
    #[serde(rename = "type")]
    media_type: String,
    /// PUT its content here, once. A secret.
    upload_url: String,
    /// Until when, RFC 3339.
    expires_at: String,
}

/// Ask for a place for an attachment
#[utoipa::path(
    post,
    path = "/v1/chat/uploads",
    tag = "chat",
    request_body = UploadBody,
    responses((status = 201, description = "The place", body = UploadView), (status = 429, description = "Too many at once")),
    security(("bearer" = []))
)]
async fn await_file(
    Given(chats): Given<Chats>,
    Guest(asker): Guest,
    Json(body): Json<UploadBody>,
) -> Result<(StatusCode, Json<UploadView>), Problem> {
    let new = NewFile { name: body.name, media_type: body.media_type, size: body.size };
    let awaited = chats.await_file(&asker, &body.room, new).await?;
    let view = UploadView {
        file: awaited.file.id.to_string(),
        name: awaited.file.name,
        media_type: awaited.file.media_type,
        upload_url: awaited.path,
        expires_at: rfc3339(awaited.until_ms),
    };
    Ok((StatusCode::CREATED, Json(view)))
}

/// A file's id.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct FilePath {
    /// 24 hexadecimal digits.
    file: String,
}

/// A signature of ours.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct SignedQuery {
    /// Until when it is good, UTC milliseconds.
    #[serde(default)]
    expires: i64,
    /// Of the path and `expires`.
    #[serde(default)]
    signature: String,
}

/// A file that came.
#[derive(Debug, Serialize, ToSchema)]
struct FileView {
    /// Its id, which a message names.
    file: String,
    /// As it is called here.
    name: String,
    /// As it is offered.
    #[serde(rename = "type")]
    media_type: String,
    /// Bytes.
    size: i64,
}

/// Bring the content of an attachment
#[utoipa::path(
    put,
    path = "/v1/chat/uploads/{file}",
    tag = "chat",
    params(FilePath, SignedQuery),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 200, description = "It is here", body = FileView),
        (status = 404, description = "The address is not ours, is over, or was used"),
        (status = 413, description = "More than was announced"),
    ),
    security(())
)]
async fn take_file(
    Given(chats): Given<Chats>,
    Given(kernel): Given<Kernel>,
    Path(path): Path<FilePath>,
    Query(signed): Query<SignedQuery>,
    request: Request,
) -> Result<Json<FileView>, Problem> {
    let file = chats.awaited_file(&path.file, signed.expires, &signed.signature).await?;
    let (parts, body) = request.into_parts();
    origins::admit(&kernel, &parts, &*chats.settings_for(&file).await?)?;
    let taking = chats.take_file(file, body.into_data_stream());
    let taken = tokio::time::timeout(UPLOAD_PATIENCE, taking).await;
    let slow = || Problem::new(codes::INVALID_REQUEST).detail("the file did not come within two minutes");
    let file = taken.map_err(|_| slow())??;
    let (name, media_type, size) = (file.name, file.media_type, file.size);
    Ok(Json(FileView { file: file.id.to_string(), name, media_type, size }))
}

/// Fetch an attachment
#[utoipa::path(
    get,
    path = "/v1/chat/files/{file}",
    tag = "chat",
    params(FilePath, SignedQuery),
    responses((status = 200, description = "Its content", content_type = "application/octet-stream"), (status = 404, description = "There is none")),
    security((), ("bearer" = []))
)]
async fn file(
    Given(chats): Given<Chats>,
    guest: Result<Guest, Problem>,
    Path(path): Path<FilePath>,
    Query(signed): Query<SignedQuery>,
) -> Result<Response, Problem> {
    let (file, content) = if signed.signature.is_empty() {
        chats.file(&guest?.0, &path.file).await?
    } else {
        chats.signed_file(&path.file, signed.expires, &signed.signature).await?
    };
    let length = content.length;
    let lines: [(HeaderName, String); 6] = [
        (CONTENT_TYPE, file.media_type.clone()),
        (CONTENT_LENGTH, length.to_string()),
        (CONTENT_DISPOSITION, file.disposition()),
        (X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (CONTENT_SECURITY_POLICY, FILE_POLICY.to_owned()),
        (CACHE_CONTROL, KEEP.to_owned()),
    ];
    let mut response = Body::from_stream(content.stream(0, length).await.map_err(Problem::internal)?).into_response();
    for (name, value) in lines {
        // Words and numbers of ours, and a name that was coded: always a header's value.
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}
