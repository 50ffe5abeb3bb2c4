//! Boxes of messages: list, read, delete. A box is a person's extension.
#![expect(unused_qualifications, reason = "utoipa's path macro repeats the types of the extractors")]

use axum::{extract::State, http::StatusCode};
use calls::records::{self, VoicemailView};
use kernel::{
    Action, Kernel, Principal, Problem,
    error::codes,
    http::{Json, PageQuery, Path, Query, cursor},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::sight::Sight;

/// Whose box.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct BoxQuery {
    /// The extension; absent = all boxes, or the own one for whoever sees no other.
    #[serde(rename = "box")]
    #[param(rename = "box")]
    extension: Option<String>,
    /// Where the last page ended.
    cursor: Option<String>,
    /// 1 to 500; 50 when absent.
    limit: Option<u32>,
}

/// A message's id.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct MessagePath {
    /// `vm_...`
    id: String,
}

/// A page of a box.
#[derive(Serialize, ToSchema)]
pub(super) struct MessageList {
    /// Newest first.
    messages: Vec<VoicemailView>,
    /// Ask with it for the next page.
    cursor: Option<String>,
}

/// List the messages of a box, or of all boxes, newest first
#[utoipa::path(
    get,
    path = "/v1/voicemail",
    tag = "calls",
    params(BoxQuery),
    responses((status = 200, description = "A page of the box", body = MessageList), (status = 404, description = "There is no such box")),
    security(("bearer" = []))
)]
pub(super) async fn list(
    State(kernel): State<Kernel>,
    principal: Principal,
    Query(query): Query<BoxQuery>,
) -> Result<Json<MessageList>, Problem> {
    let (org, sight) = Sight::of(&kernel, &principal, Action::ReadVoicemail, Action::UseOwnVoicemail).await?;
    let page = PageQuery { cursor: query.cursor, limit: query.limit };
    let (after, limit) = (page.after()?, u32::try_from(page.limit()?).unwrap_or(u32::MAX));
    let extension = match (&query.extension, &sight) {
        (Some(wanted), sight) => {
            let entries = calls::extensions(&kernel, &org).await.map_err(Problem::internal)?;
            let is_there = sight.covers(wanted) && entries.iter().any(|entry| entry.number == *wanted);
            Some(is_there.then_some(wanted.as_str()).ok_or_else(Problem::not_found)?)
        }
        (None, Sight::All) => None,
        (None, Sight::Own(own)) => Some(own.first().ok_or_else(without_box)?.as_str()),
    };
    let found =
        records::messages(&kernel, &org, extension, after.as_deref(), limit).await.map_err(Problem::internal)?;
    Ok(Json(MessageList { messages: found.messages, cursor: found.cursor.as_deref().map(cursor) }))
}

/// Whoever sees only the own box, and has none.
fn without_box() -> Problem {
    Problem::new(codes::INVALID_REQUEST).and("?box", "missing_field", "you have no extension, and so no box")
}

/// Read about a message
#[utoipa::path(
    get,
    path = "/v1/voicemail/{id}",
    tag = "calls",
    params(MessagePath),
    responses((status = 200, description = "The message", body = VoicemailView), (status = 404, description = "There is none")),
    security(("bearer" = []))
)]
pub(super) async fn read(
    State(kernel): State<Kernel>,
    principal: Principal,
    Path(path): Path<MessagePath>,
) -> Result<Json<VoicemailView>, Problem> {
    let (_, message) = seen(&kernel, &principal, Action::ReadVoicemail, &path.id).await?;
    Ok(Json(message))
}

/// Delete a message and its audio
#[utoipa::path(
    delete,
    path = "/v1/voicemail/{id}",
    tag = "calls",
    params(MessagePath),
    responses((status = 204, description = "Deleted"), (status = 404, description = "There is none")),
    security(("bearer" = []))
)]
pub(super) async fn delete(
    State(kernel): State<Kernel>,
    principal: Principal,
    Path(path): Path<MessagePath>,
) -> Result<StatusCode, Problem> {
    let (org, message) = seen(&kernel, &principal, Action::ManageVoicemail, &path.id).await?;
    if records::delete_message(&kernel, &org, &message.id).await.map_err(Problem::internal)? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::not_found())
    }
}

async fn seen(
    kernel: &Kernel,
    principal: &Principal,
    all: Action,
    id: &str,
) -> Result<(std::sync::Arc<str>, VoicemailView), Problem> {
    let (org, sight) = Sight::of(kernel, principal, all, Action::UseOwnVoicemail).await?;
    let message = records::message(kernel, &org, id).await.map_err(Problem::internal)?;
    let message = message.filter(|message| sight.covers(&message.extension)).ok_or_else(Problem::not_found)?;
    Ok((org, message))
}
