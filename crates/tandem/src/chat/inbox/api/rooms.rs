//! What is done with a room in the inbox: it is taken, given back, handed over, tagged; its visitor's card.
#![expect(unused_qualifications, reason = "utoipa's path macro repeats the types of the extractors")]

use axum::extract::State as Given;
use axum::http::StatusCode;
use kernel::Problem;
use kernel::http::{Json, Path};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::super::canned;
use super::super::card::VisitorCard;
use super::super::moves::To;
use crate::chat::Chats;
use crate::chat::api::{Caller, RoomPath};
use crate::chat::model::Refused;
use crate::chat::view::RoomView;
use crate::chat::visit::Rating;
use crate::chat::visit::settings::email;
use crate::chat::visitors::Card;

/// Reads null as something that was said.
pub(super) fn said<'de, D, T>(value: D) -> Result<Option<Option<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::<T>::deserialize(value).map(Some)
}

/// Take a room
#[utoipa::path(
    post, path = "/v1/chat/rooms/{room}/take", tag = "chat", params(RoomPath),
    responses((status = 200, description = "It is yours", body = RoomView), (status = 404, description = "There is none")),
    security(("bearer" = []))
)]
pub(super) async fn take(
    Given(chats): Given<Chats>,
    caller: Caller,
    Path(path): Path<RoomPath>,
) -> Result<Json<RoomView>, Problem> {
    Ok(Json(RoomView::from(&chats.take(&caller.asker()?, &path.room).await?)))
}

/// Give a room back: it waits again
#[utoipa::path(
    post, path = "/v1/chat/rooms/{room}/release", tag = "chat", params(RoomPath),
    responses((status = 200, description = "It waits", body = RoomView), (status = 404, description = "There is none")),
    security(("bearer" = []))
)]
pub(super) async fn release(
    Given(chats): Given<Chats>,
    caller: Caller,
    Path(path): Path<RoomPath>,
) -> Result<Json<RoomView>, Problem> {
    Ok(Json(RoomView::from(&chats.release(&caller.asker()?, &path.room).await?)))
}

/// To whom a room is handed over: one of the two.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TransferRequest {
    /// `per_...`
    #[serde(default)]
    person: Option<String>,
    /// `team_...`; null = anybody.
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<String>)]
    team: Option<Option<String>>,
    /// For whoever gets it; the visitor does not see it.
    #[serde(default)]
    note: Option<String>,
}

/// Hand a room over to a person or a team
#[utoipa::path(
    post, path = "/v1/chat/rooms/{room}/transfer", tag = "chat", params(RoomPath), request_body = TransferRequest,
    responses((status = 200, description = "Handed over", body = RoomView), (status = 404, description = "There is none")),
    security(("bearer" = []))
)]
pub(super) async fn transfer(
    Given(chats): Given<Chats>,
    caller: Caller,
    Path(path): Path<RoomPath>,
    Json(request): Json<TransferRequest>,
) -> Result<Json<RoomView>, Problem> {
    let to = match (request.person, request.team) {
        (Some(person), None) => To::Person(person),
        (None, Some(team)) => To::Team(team),
        _ => return Err(Problem::field("/person", "invalid", "a person or a team")),
    };
    let room = chats.transfer(&caller.asker()?, &path.room, &to, request.note.as_deref()).await?;
    Ok(Json(RoomView::from(&room)))
}

/// The tags of a room.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Tags {
    /// At most 20 of at most 50 characters; lower case, in their order.
    tags: Vec<String>,
}

/// Read the tags of a room
#[utoipa::path(
    get, path = "/v1/chat/rooms/{room}/tags", tag = "chat", params(RoomPath),
    responses((status = 200, description = "The tags", body = Tags), (status = 404, description = "There is no such room")),
    security(("bearer" = []))
)]
pub(super) async fn tags(
    Given(chats): Given<Chats>,
    caller: Caller,
    Path(path): Path<RoomPath>,
) -> Result<Json<Tags>, Problem> {
    Ok(Json(Tags { tags: chats.tags(&caller.asker()?, &path.room).await? }))
}

/// Give a room these tags and no others
#[utoipa::path(
    put, path = "/v1/chat/rooms/{room}/tags", tag = "chat", params(RoomPath), request_body = Tags,
    responses((status = 200, description = "As they are now", body = Tags), (status = 404, description = "There is no such room")),
    security(("bearer" = []))
)]
pub(super) async fn set_tags(
    Given(chats): Given<Chats>,
    caller: Caller,
    Path(path): Path<RoomPath>,
    Json(request): Json<Tags>,
) -> Result<Json<Tags>, Problem> {
    Ok(Json(Tags { tags: chats.set_tags(&caller.asker()?, &path.room, &request.tags).await? }))
}

/// A tag of the organisation.
#[derive(Serialize, ToSchema)]
pub(super) struct TagView {
    /// The tag.
    tag: String,
    /// How many rooms have it.
    rooms: i64,
}

/// The tags of an organisation.
#[derive(Serialize, ToSchema)]
pub(super) struct TagList {
    /// In their order.
    tags: Vec<TagView>,
}

/// List the tags that rooms have
#[utoipa::path(
    get, path = "/v1/chat/tags", tag = "chat",
    responses((status = 200, description = "The tags", body = TagList)),
    security(("bearer" = []))
)]
pub(super) async fn all_tags(Given(chats): Given<Chats>, caller: Caller) -> Result<Json<TagList>, Problem> {
    let tags = chats.all_tags(&caller.asker()?).await?;
    Ok(Json(TagList { tags: tags.into_iter().map(|(tag, rooms)| TagView { tag, rooms }).collect() }))
}

/// A tag.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct TagPath {
    /// As it stands in the list.
    tag: String,
}

/// Take a tag from every room that has it
#[utoipa::path(
    delete, path = "/v1/chat/tags/{tag}", tag = "chat", params(TagPath),
    responses((status = 204, description = "No room has it any more"), (status = 404, description = "No room has it")),
    security(("bearer" = []))
)]
pub(super) async fn remove_tag(
    Given(chats): Given<Chats>,
    caller: Caller,
    Path(path): Path<TagPath>,
) -> Result<StatusCode, Problem> {
    chats.remove_tag(&caller.asker()?, &path.tag).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A visitor, as those who answer see it.
#[derive(Serialize, ToSchema)]
pub(super) struct CardView {
    /// `vis_...`
    visitor: String,
    /// Name for people; empty = nobody knows.
    name: String,
    /// Mail address, as it was given.
    email: Option<String>,
    /// The visitor's name in the customer's own books; empty = nobody said.
    user_id: String,
    /// Whether the application vouched for `user_id`.
    verified: bool,
    /// What the room is about.
    product: String,
    /// The page on which the room was last opened.
    page: Option<String>,
    /// The visitor's browser, as it names itself.
    user_agent: Option<String>,
    /// The visitor's languages.
    locale: Option<String>,
    /// The visitor's rooms, the one last written in first; at most 20.
    rooms: Vec<RoomView>,
    /// How the visitor found the chat, once it is over and the visitor has said.
    rating: Option<Rating>,
}

impl From<VisitorCard> for CardView {
    fn from(card: VisitorCard) -> Self {
        let VisitorCard { room, visitor, visit, rooms, rating } = card;
        Self {
            visitor: visitor.id.to_string(),
            name: visitor.name,
            email: visitor.email,
            user_id: visitor.user_id,
            verified: visitor.verified,
            product: room.product,
            page: visit.page,
            user_agent: visit.user_agent,
            locale: visit.locale,
            rooms: rooms.iter().map(RoomView::from).collect(),
            rating,
        }
    }
}

/// See who the visitor of a room is
#[utoipa::path(
    get, path = "/v1/chat/rooms/{room}/visitor", tag = "chat", params(RoomPath),
    responses((status = 200, description = "The visitor", body = CardView), (status = 404, description = "There is no such room")),
    security(("bearer" = []))
)]
pub(super) async fn card(
    Given(chats): Given<Chats>,
    caller: Caller,
    Path(path): Path<RoomPath>,
) -> Result<Json<CardView>, Problem> {
    Ok(Json(chats.card(&caller.asker()?, &path.room).await?.into()))
}

/// What is learned of a visitor; what is absent stays.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CardPatch {
    /// Name for people.
    #[serde(default)]
    name: Option<String>,
    /// Mail address.
    #[serde(default)]
    email: Option<String>,
}

/// Write down what you have learned of a visitor
#[utoipa::path(
    patch, path = "/v1/chat/rooms/{room}/visitor", tag = "chat", params(RoomPath), request_body = CardPatch,
    responses((status = 200, description = "As it is now", body = CardView), (status = 404, description = "There is no such room")),
    security(("bearer" = []))
)]
pub(super) async fn describe(
    Given(chats): Given<Chats>,
    caller: Caller,
    Path(path): Path<RoomPath>,
    Json(request): Json<CardPatch>,
) -> Result<Json<CardView>, Problem> {
    let name = request.name.as_deref().map(|name| canned::line("name", name)).transpose()?;
    let email = request.email.map(|text| email(&text).ok_or(Refused::Email)).transpose();
    let card = Card { name: name.unwrap_or_default(), email: email.map_err(crate::chat::ChatError::from)? };
    Ok(Json(chats.describe(&caller.asker()?, &path.room, &card).await?.into()))
}
