//! The routes of calls in a chat. Handlers read, ask the desk, and answer; no rule stands here.
#![expect(unused_qualifications, reason = "utoipa's path macro repeats the types of the extractors")]

use axum::extract::{FromRef, State as Given};
use axum::http::StatusCode;
use axum::middleware::from_fn;
use axum::routing::options;
use kernel::http::{Json, Path};
use kernel::time::rfc3339;
use kernel::{Kernel, Problem};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::visit::api::Guest;
use super::super::{Chats, origins};
use super::{CallBody, ChatCalls, Mode, RoomCall, Wish};

/// Every route of calls in a chat.
pub fn routes<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    ChatCalls: FromRef<S>,
    Chats: FromRef<S>,
    Kernel: FromRef<S>,
{
    let router = OpenApiRouter::new()
        .routes(routes!(look, ask))
        .routes(routes!(end))
        .routes(routes!(phone))
        .routes(routes!(recording));
    // Pages of other sites hold the element too: their browsers ask first.
    let asked = |router: OpenApiRouter<S>, path: &&str| router.route(path, options(origins::preflight));
    PATHS.iter().fold(router, asked).layer(from_fn(origins::layer))
}

/// Every path of these routes.
const PATHS: [&str; 4] = [
    "/v1/chat/rooms/{room}/call",
    "/v1/chat/rooms/{room}/call/end",
    "/v1/chat/rooms/{room}/call/phone",
    "/v1/chat/rooms/{room}/call/recording",
];

/// A room's id.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct RoomPath {
    /// 24 hexadecimal digits.
    room: String,
}

/// A call of a room.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RecordingRequest {
    /// The call's id, as its message has it.
    call: String,
}

/// What is wanted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CallRequest {
    /// By which way the visitor talks: `browser` or `phone`.
    mode: String,
    /// The visitor's number with its country code, to be called by phone. It is kept nowhere, and shown to nobody.
    #[serde(default)]
    phone: Option<String>,
}

/// What can be begun, and what goes on.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CallOptions {
    /// By these ways a call could begin at this moment: `browser`, `phone`.
    modes: Vec<&'static str>,
    /// The call that goes on, else the last one.
    call: Option<CallBody>,
    /// Whether the asker may hear recordings of calls.
    hears_recordings: bool,
}

/// A call.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CallAnswer {
    /// The call that goes on, else the last one.
    call: Option<CallBody>,
}

/// What opens the visitor's phone.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PhoneAnswer {
    /// Say hello with it on `/v1/rtc`. It is good for this room's calls and nothing else.
    token: String,
    /// Until when it opens the phone, RFC 3339.
    expires_at: String,
}

/// A recording.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RecordingAnswer {
    /// A path of this server that opens the audio for ten minutes.
    url: String,
    /// Its length, seconds.
    seconds: f64,
}

fn shown(call: Option<RoomCall>) -> Option<CallBody> {
    call.as_ref().map(RoomCall::view)
}

/// See whether a call can be begun in a room, and its newest one
#[utoipa::path(
    get, path = "/v1/chat/rooms/{room}/call", tag = "chat", params(RoomPath),
    responses((status = 200, description = "What can be begun", body = CallOptions), (status = 404, description = "There is no such room")),
    security(("bearer" = []))
)]
pub(super) async fn look(
    Given(calls): Given<ChatCalls>,
    Guest(asker): Guest,
    Path(path): Path<RoomPath>,
) -> Result<Json<CallOptions>, Problem> {
    let options = calls.options(&asker, &path.room).await?;
    let modes = options.modes.into_iter().map(Mode::as_str).collect();
    Ok(Json(CallOptions { modes, call: shown(options.call), hears_recordings: options.hears_recordings }))
}

/// Begin a call: whoever has the room is rung first, then the visitor
#[utoipa::path(
    post, path = "/v1/chat/rooms/{room}/call", tag = "chat", params(RoomPath), request_body = CallRequest,
    responses(
        (status = 201, description = "Whoever has the room is being rung", body = CallAnswer),
        (status = 200, description = "One was on already: this", body = CallAnswer),
        (status = 403, description = "The application takes no such calls"),
        (status = 404, description = "There is no such room"),
        (status = 409, description = "The room is closed, nobody has taken it, or whoever has cannot be called"),
        (status = 429, description = "Too many calls"),
    ),
    security(("bearer" = []))
)]
pub(super) async fn ask(
    Given(calls): Given<ChatCalls>,
    Guest(asker): Guest,
    Path(path): Path<RoomPath>,
    Json(request): Json<CallRequest>,
) -> Result<(StatusCode, Json<CallAnswer>), Problem> {
    let mode =
        Mode::parse(&request.mode).ok_or_else(|| Problem::field("/mode", "invalid", "browser or phone".to_owned()))?;
    let asked = calls.ask(&asker, &path.room, Wish { mode, phone: request.phone }).await?;
    let status = if asked.is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(CallAnswer { call: shown(Some(asked.call)) })))
}

/// End the call of a room, if one goes on
#[utoipa::path(
    post, path = "/v1/chat/rooms/{room}/call/end", tag = "chat", params(RoomPath),
    responses((status = 200, description = "None goes on", body = CallAnswer), (status = 404, description = "There is no such room")),
    security(("bearer" = []))
)]
pub(super) async fn end(
    Given(calls): Given<ChatCalls>,
    Guest(asker): Guest,
    Path(path): Path<RoomPath>,
) -> Result<Json<CallAnswer>, Problem> {
    Ok(Json(CallAnswer { call: shown(calls.end(&asker, &path.room).await?) }))
}

/// Get what opens the visitor's phone in its page
#[utoipa::path(
    post, path = "/v1/chat/rooms/{room}/call/phone", tag = "chat", params(RoomPath),
    responses(
        (status = 200, description = "A token for `/v1/rtc`", body = PhoneAnswer),
        (status = 403, description = "No visitor asks, or the application takes no such calls"),
        (status = 404, description = "There is no such room"),
        (status = 409, description = "The room is closed"),
    ),
    security(("bearer" = []))
)]
pub(super) async fn phone(
    Given(calls): Given<ChatCalls>,
    Guest(asker): Guest,
    Path(path): Path<RoomPath>,
) -> Result<Json<PhoneAnswer>, Problem> {
    let (token, until_ms) = calls.phone_token(&asker, &path.room).await?;
    Ok(Json(PhoneAnswer { token: token.expose().to_owned(), expires_at: rfc3339(until_ms) }))
}

/// Make an address by which the recording of a room's call is heard
#[utoipa::path(
    post, path = "/v1/chat/rooms/{room}/call/recording", tag = "chat", params(RoomPath), request_body = RecordingRequest,
    responses(
        (status = 200, description = "Where it is heard", body = RecordingAnswer),
        (status = 403, description = "A visitor, with whom the application does not share it"),
        (status = 404, description = "There is none"),
    ),
    security(("bearer" = []))
)]
pub(super) async fn recording(
    Given(calls): Given<ChatCalls>,
    Guest(asker): Guest,
    Path(path): Path<RoomPath>,
    Json(request): Json<RecordingRequest>,
) -> Result<Json<RecordingAnswer>, Problem> {
    let (url, seconds) = calls.recording(&asker, &path.room, &request.call).await?;
    Ok(Json(RecordingAnswer { url, seconds }))
}
