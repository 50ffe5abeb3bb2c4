//! `/v1/chat/agents`: who takes chats; `/v1/chat/teams`: for whom rooms can wait.
#![expect(unused_qualifications, reason = "utoipa's path macro repeats the types of the extractors")]

use axum::extract::State as Given;
use kernel::Problem;
use kernel::error::codes;
use kernel::http::{Json, Path};
use kernel::time::rfc3339;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::super::agents::{AVAILABLE, AWAY, AgentView, MAX_CAPACITY, Word};
use super::super::floor::Floor;
use super::super::moves::Line;
use crate::chat::api::Caller;
use crate::chat::{Asker, Chats};

/// A person's id.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct PersonPath {
    /// `per_...`
    person: String,
}

/// Who takes chats, and who waits.
#[derive(Serialize, ToSchema)]
pub(super) struct AgentList {
    /// Everybody who may answer visitors, by name; none for an application's key.
    agents: Vec<AgentView>,
    /// The queues in which rooms wait; for an application's key those of its own rooms.
    waiting: Vec<QueueView>,
}

/// The rooms that wait for a team.
#[derive(Serialize, ToSchema)]
pub(super) struct QueueView {
    /// The team; null = for anybody.
    team: Option<String>,
    /// How many rooms.
    rooms: i64,
    /// Since when the oldest one waits; RFC 3339.
    oldest: String,
}

impl From<Line> for QueueView {
    fn from(line: Line) -> Self {
        let Line { team, rooms, oldest_ms } = line;
        Self { team: team.map(|team| team.to_string()), rooms, oldest: rfc3339(oldest_ms) }
    }
}

/// Whether somebody takes chats.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StateRequest {
    /// `available` or `away`.
    state: String,
    /// Open rooms at once, 0 to 100; as it was when absent, 4 at first.
    #[serde(default)]
    capacity: Option<u32>,
}

impl StateRequest {
    fn word(&self) -> Result<Word, Problem> {
        let is_available = match self.state.as_str() {
            AVAILABLE => true,
            AWAY => false,
            _ => return Err(Problem::field("/state", "invalid", "available or away")),
        };
        if self.capacity.is_some_and(|capacity| capacity > MAX_CAPACITY) {
            return Err(Problem::field("/capacity", "out_of_range", format!("0 to {MAX_CAPACITY}")));
        }
        Ok(Word { is_available, capacity: self.capacity })
    }
}

/// See who takes chats, and who waits
#[utoipa::path(
    get, path = "/v1/chat/agents", tag = "chat",
    responses((status = 200, description = "People and queues", body = AgentList)),
    security(("bearer" = []))
)]
pub(super) async fn list(Given(chats): Given<Chats>, caller: Caller) -> Result<Json<AgentList>, Problem> {
    let Floor { agents, lines } = chats.floor(&caller.asker()?).await?;
    Ok(Json(AgentList { agents, waiting: lines.into_iter().map(QueueView::from).collect() }))
}

/// Say whether you take chats
#[utoipa::path(
    put, path = "/v1/chat/agents/me", tag = "chat", request_body = StateRequest,
    responses((status = 200, description = "As it is now", body = AgentView), (status = 403, description = "The credential is no person's")),
    security(("bearer" = []))
)]
pub(super) async fn say(
    Given(chats): Given<Chats>,
    caller: Caller,
    Json(request): Json<StateRequest>,
) -> Result<Json<AgentView>, Problem> {
    let asker = caller.asker()?;
    let person = match &asker {
        Asker::Person { id, .. } => id.clone(),
        _ => return Err(Problem::new(codes::FORBIDDEN).detail("people alone take chats")),
    };
    Ok(Json(chats.say(&asker, &person, request.word()?).await?))
}

/// Say whether somebody else takes chats
#[utoipa::path(
    put, path = "/v1/chat/agents/{person}", tag = "chat", params(PersonPath), request_body = StateRequest,
    responses((status = 200, description = "As it is now", body = AgentView), (status = 404, description = "There is nobody")),
    security(("bearer" = []))
)]
pub(super) async fn direct(
    Given(chats): Given<Chats>,
    caller: Caller,
    Path(path): Path<PersonPath>,
    Json(request): Json<StateRequest>,
) -> Result<Json<AgentView>, Problem> {
    Ok(Json(chats.say(&caller.asker()?, &path.person, request.word()?).await?))
}

/// A team, as those who hand rooms over see it.
#[derive(Serialize, ToSchema)]
pub(super) struct ChatTeamView {
    /// `team_...`
    id: String,
    /// Name for people.
    name: String,
}

/// The teams of an organisation.
#[derive(Serialize, ToSchema)]
pub(super) struct ChatTeamList {
    /// By number.
    teams: Vec<ChatTeamView>,
}

/// List the teams that rooms can wait for
#[utoipa::path(
    get, path = "/v1/chat/teams", tag = "chat",
    responses((status = 200, description = "The teams", body = ChatTeamList)),
    security(("bearer" = []))
)]
pub(super) async fn teams(Given(chats): Given<Chats>, caller: Caller) -> Result<Json<ChatTeamList>, Problem> {
    let teams = chats.teams(&caller.asker()?).await?;
    let view = |team: calls::TeamRecord| ChatTeamView { id: team.id, name: team.name };
    Ok(Json(ChatTeamList { teams: teams.into_iter().map(view).collect() }))
}
