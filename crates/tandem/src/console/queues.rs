//! Queues: who waits for whom now, and whether the visitor takes calls of the own teams.

use askama::Template;
use axum::extract::State as Given;
use axum::response::Response;
use calls::{AgentState, Availability, Calls, OwnState, QueueView};
use kernel::{Action, Problem};

use super::calls::duration;
use super::door::Doors;
use super::door::Needs::{May, MayEither};
use super::form::Posted;
use super::page::{Page, done, show};
use super::visitor::Visitor;

const PATH: &str = "/console/queues";

pub(super) fn doors(doors: Doors) -> Doors {
    let watch = MayEither(Action::WorkQueue, Action::ReadCalls);
    doors.get(PATH, watch, show_queues).get("/console/queues/table", watch, table).post(
        "/console/queues/state",
        May(Action::WorkQueue),
        say,
    )
}

#[derive(Template)]
#[template(path = "console/queues.html")]
struct QueuesPage {
    page: Page,
    part: QueuesPart,
    /// Whether the visitor may hear of events as they happen.
    follows: bool,
}

/// The part of the page that is read again when something happens.
#[derive(Template)]
#[template(path = "console/queues_part.html")]
struct QueuesPart {
    queues: Vec<QueueView>,
    own: Option<OwnState>,
}

impl askama::filters::HtmlSafe for QueuesPart {}

impl QueuesPart {
    fn word(&self, state: &AgentState) -> &'static str {
        match state {
            AgentState::Available => "available",
            AgentState::Busy => "busy",
            AgentState::WrapUp => "writing up",
            AgentState::Away => "away",
        }
    }

    fn colour(&self, state: &AgentState, registered: &bool) -> &'static str {
        match (state, *registered) {
            (AgentState::Available, true) => "good",
            (AgentState::Busy | AgentState::WrapUp, _) => "busy",
            (AgentState::Available, false) | (AgentState::Away, _) => "plain",
        }
    }

    fn own_colour(&self, state: &AgentState) -> &'static str {
        self.colour(state, &true)
    }

    fn seconds(&self, seconds: &i64) -> String {
        duration(*seconds as f64)
    }

    fn is_available(&self) -> bool {
        self.own.as_ref().is_some_and(|own| own.said.availability == Availability::Available)
    }
}

async fn part(calls: &Calls, visitor: &Visitor) -> Result<QueuesPart, Problem> {
    let org = visitor.org_id();
    let own = match visitor.principal().person().filter(|_| visitor.may(Action::WorkQueue)) {
        Some(person) => Some(calls.own_state(org, person).await.map_err(Problem::internal)?),
        None => None,
    };
    Ok(QueuesPart { queues: calls.queues(org).await.map_err(Problem::internal)?, own })
}

async fn show_queues(Given(calls): Given<Calls>, visitor: Visitor) -> Result<Response, Problem> {
    let part = part(&calls, &visitor).await?;
    show(&QueuesPage { page: visitor.page("Queues", PATH), part, follows: visitor.may(Action::ReadCalls) })
}

async fn table(Given(calls): Given<Calls>, visitor: Visitor) -> Result<Response, Problem> {
    show(&part(&calls, &visitor).await?)
}

async fn say(Given(calls): Given<Calls>, visitor: Visitor, posted: Posted) -> Result<Response, Problem> {
    let said = if posted.get("state") == "away" { Availability::Away } else { Availability::Available };
    if let Some(person) = visitor.principal().person() {
        calls.say(visitor.org_id(), person, said).await.map_err(Problem::internal)?;
    }
    Ok(done(PATH, "saved"))
}
