//! Calls: those that are up, those that were, and the whole story of one.
//!
//! Invariant: whoever sees a call here sees it at `/v1/calls` too, by the same rule.

use askama::Template;
use axum::extract::State as Given;
use axum::http::StatusCode;
use axum::response::Response;
use calls::{CallError, CallState, CallView, Calls, LegState, records};
use kernel::http::{Path, Query};
use kernel::{Action, Kernel, Problem};
use serde::Deserialize;

use super::door::Doors;
use super::door::Needs::{May, SignIn};
use super::form::{Field, Form};
use super::graph::Graph;
use super::list::ListPage;
use super::page::{Page, done, show};
use super::story::{self, Moment};
use super::table::{Cell, Table};
use super::visitor::Visitor;
use crate::calls::api;
use crate::flows::{path, store};

const PATH: &str = "/console/calls";
const LIVE: &str = "/console/live";
/// With this status htmx takes the part and asks for it no more.
const STOP_ASKING: u16 = 286;
/// Which calls a visitor may see: all, or those of the own phone.
const CALLS: (Action, Action) = (Action::ReadCalls, Action::UseOwnPhone);

pub(super) fn doors(doors: Doors) -> Doors {
    doors
        .get(LIVE, May(Action::ReadCalls), live)
        .get("/console/live/table", May(Action::ReadCalls), live_table)
        .get(PATH, SignIn, list)
        .get("/console/calls/{id}", SignIn, show_call)
        .get("/console/calls/{id}/story", SignIn, show_story)
        .post("/console/calls/{id}/hangup", May(Action::ControlCalls), hang_up)
}

/// A number, or what stands for none.
fn number(text: &str) -> String {
    if text.is_empty() { "anonymous".to_owned() } else { text.to_owned() }
}

/// How far a call is, or how it ended.
pub(super) fn state_of(state: CallState, cause: Option<&str>) -> Cell {
    match (state, cause) {
        (CallState::Initiated, _) => Cell::State("dialling".to_owned(), "busy"),
        (CallState::Ringing, _) => Cell::State("ringing".to_owned(), "busy"),
        (CallState::Answered, _) => Cell::State("up".to_owned(), "good"),
        (CallState::Completed, None | Some("normal")) => Cell::State("ended".to_owned(), "plain"),
        (CallState::Completed, Some(cause)) => Cell::State(cause.replace('_', " "), "bad"),
    }
}

/// Seconds as people read them.
pub(super) fn duration(seconds: f64) -> String {
    let whole = seconds.round().max(0.0);
    let (minutes, rest) = ((whole / 60.0).floor(), whole % 60.0);
    if minutes >= 60.0 {
        format!("{}:{:02}:{rest:02}", (minutes / 60.0).floor(), minutes % 60.0)
    } else {
        format!("{minutes}:{rest:02}")
    }
}

pub(super) const COLUMNS: [&str; 6] = ["Started", "Call", "Direction", "State", "Talk", "Flow"];

/// The row of a list of calls, with what leads where the visitor may go.
pub(super) fn row(visitor: &Visitor, call: &CallView) -> Vec<Cell> {
    vec![
        Cell::Time(call.started_at.clone()),
        Cell::link(format!("{} → {}", number(&call.from), number(&call.to)), format!("{PATH}/{}", call.id)),
        Cell::text(call.direction.as_str()),
        state_of(call.state, call.cause.as_deref()),
        if call.talk_s > 0.0 { Cell::text(duration(call.talk_s)) } else { Cell::Empty },
        match &call.flow_run_id {
            Some(_) if !visitor.may(Action::ReadFlows) => Cell::text("flow"),
            Some(run) => Cell::link("flow", format!("/console/runs/{run}")),
            None => Cell::Empty,
        },
    ]
}

#[derive(Template)]
#[template(path = "console/live.html")]
struct LivePage {
    page: Page,
    part: LivePart,
}

/// The part of the page that is read again when something happens.
#[derive(Template)]
#[template(path = "console/live_part.html")]
struct LivePart {
    table: Table,
    count: usize,
}

impl askama::filters::HtmlSafe for LivePart {}

async fn live_part(calls: &Calls, visitor: &Visitor) -> Result<LivePart, Problem> {
    let live = calls.live_of(visitor.org_id()).await.map_err(Problem::internal)?;
    let controls = visitor.may(Action::ControlCalls);
    let columns = ["Since", "Call", "Direction", "State", "Parties", "Flow", ""];
    let rows = live.iter().map(|call| {
        let parties: Vec<String> =
            call.legs.iter().filter(|leg| leg.state != LegState::Ended).map(|leg| number(&leg.to)).collect();
        let mut cells = row(visitor, call);
        if let Some(cell) = cells.get_mut(4) {
            *cell = Cell::text(parties.join(", "));
        }
        let hang_up =
            Cell::Button("Hang up", format!("{PATH}/{}/hangup", call.id), Some("End this call for everybody?"));
        cells.push(if controls { hang_up } else { Cell::Empty });
        cells
    });
    Ok(LivePart { count: live.len(), table: Table::new("Calls that are up", &columns).with(rows) })
}

async fn live(Given(calls): Given<Calls>, visitor: Visitor) -> Result<Response, Problem> {
    let part = live_part(&calls, &visitor).await?;
    show(&LivePage { page: visitor.page("Live calls", LIVE), part })
}

async fn live_table(Given(calls): Given<Calls>, visitor: Visitor) -> Result<Response, Problem> {
    show(&live_part(&calls, &visitor).await?)
}

fn filter_form(query: &api::CallQuery, own: Vec<String>) -> Form {
    let choices = |words: &[&str]| {
        let any = (String::new(), "any".to_owned());
        std::iter::once(any)
            .chain(words.iter().map(|word| ((*word).to_owned(), (*word).to_owned())))
            .collect::<Vec<_>>()
    };
    let chosen = |text: &Option<String>| vec![text.clone().unwrap_or_default()];
    let form = Form::search(PATH, "Show")
        .with(Field::line("number", "Number").optional().value(query.number.clone().unwrap_or_default()))
        .with(Field::one("direction", "Direction", choices(&["inbound", "outbound"])).chosen(chosen(&query.direction)))
        .with(
            Field::one("state", "State", choices(&["initiated", "ringing", "answered", "completed"]))
                .chosen(chosen(&query.state)),
        );
    if own.len() < 2 {
        return form;
    }
    let own = own.into_iter().map(|number| (number.clone(), number)).collect();
    form.with(Field::one("extension", "Your extension", own).chosen(chosen(&query.extension)))
}

async fn list(
    Given(calls): Given<Calls>,
    Given(kernel): Given<Kernel>,
    visitor: Visitor,
    Query(mut query): Query<api::CallQuery>,
) -> Result<Response, Problem> {
    for word in [&mut query.state, &mut query.direction, &mut query.number, &mut query.extension] {
        word.take_if(|word| word.trim().is_empty());
    }
    // Whoever sees all calls need not choose among the own extensions.
    let own = if visitor.may(Action::ReadCalls) { Vec::new() } else { visitor.extensions(&kernel).await? };
    let form = filter_form(&query, own);
    let narrowed = [
        ("number", query.number.clone()),
        ("direction", query.direction.clone()),
        ("state", query.state.clone()),
        ("extension", query.extension.clone()),
    ];
    let found = api::list(Given(calls), Given(kernel), visitor.principal().clone(), Query(query)).await?.0;
    let table = Table::new("Calls", &COLUMNS).with(found.calls.iter().map(|call| row(&visitor, call)));
    let empty = "No call yet. Run a flow, or register a phone and dial; the calls of the last days stand here.";
    let mut page = ListPage::new(visitor.page("Calls", PATH), "Who called whom, and how it ended.", table, empty);
    page.filter = Some(form);
    page.more = found.cursor.map(|cursor| {
        let narrowed = narrowed.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?)));
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(narrowed)
            .append_pair("cursor", &cursor)
            .finish();
        format!("{PATH}?{query}")
    });
    show(&page)
}

#[derive(Debug, Deserialize)]
struct CallPath {
    id: String,
}

#[derive(Template)]
#[template(path = "console/call.html")]
struct CallPage {
    page: Page,
    story: StoryPart,
    graph: Option<Graph>,
    /// Whether the visitor may hear of events as they happen.
    follows: bool,
    /// Whether the visitor's own phone may stand in the page.
    has_phone: bool,
}

/// The part of the page that grows while the call is up.
#[derive(Template)]
#[template(path = "console/call_story.html")]
struct StoryPart {
    call: CallView,
    state: Cell,
    why: Option<(&'static str, &'static str)>,
    failed: Vec<Moment>,
    moments: Vec<Moment>,
    recordings: Vec<Audio>,
    controls: bool,
    /// Whether its run may be looked at.
    shows_run: bool,
    is_up: bool,
}

impl askama::filters::HtmlSafe for StoryPart {}

/// A recording to be heard.
pub(super) struct Audio {
    pub(super) path: String,
    /// When it began, RFC 3339.
    pub(super) at: String,
    pub(super) length: String,
}

impl StoryPart {
    fn from(&self) -> String {
        number(&self.call.from)
    }

    fn to(&self) -> String {
        number(&self.call.to)
    }

    fn talk(&self) -> String {
        duration(self.call.talk_s)
    }
}

async fn story_part(kernel: &Kernel, calls: &Calls, visitor: &Visitor, id: &str) -> Result<StoryPart, Problem> {
    let (org, call) = api::seen(calls, kernel, visitor.principal(), CALLS, id).await?;
    let events = path::events_of(kernel, &org, id, "").await.map_err(Problem::internal)?;
    let moments = story::timeline(&events);
    let may_hear = api::seen(calls, kernel, visitor.principal(), api::RECORDINGS, id).await.is_ok();
    let recordings = if may_hear {
        records::recordings_of_call(kernel, &org, id).await.map_err(Problem::internal)?
    } else {
        Vec::new()
    };
    let ready = recordings.into_iter().filter(|recording| recording.state == "ready");
    let is_up = call.state != CallState::Completed;
    Ok(StoryPart {
        state: state_of(call.state, call.cause.as_deref()),
        why: call.cause.as_deref().and_then(story::why),
        failed: moments.iter().filter(|moment| moment.kind.ends_with(".failed")).cloned().collect(),
        moments,
        recordings: ready
            .map(|recording| Audio {
                path: records::recording_path(&recording.id),
                at: recording.started_at,
                length: duration(recording.seconds),
            })
            .collect(),
        controls: is_up && visitor.may(Action::ControlCalls),
        shows_run: visitor.may(Action::ReadFlows),
        is_up,
        call,
    })
}

async fn show_call(
    Given(kernel): Given<Kernel>,
    Given(calls): Given<Calls>,
    visitor: Visitor,
    Path(path): Path<CallPath>,
) -> Result<Response, Problem> {
    let story = story_part(&kernel, &calls, &visitor, &path.id).await?;
    let graph = match &story.call.flow_run_id {
        Some(run) if visitor.may(Action::ReadFlows) => graph_of(&kernel, visitor.org_id(), run, story.is_up).await?,
        _ => None,
    };
    let title = format!("{} → {}", story.from(), story.to());
    let place = if story.is_up && visitor.may(Action::ReadCalls) { LIVE } else { PATH };
    let follows = visitor.may(Action::ReadCalls);
    let has_phone = story.is_up && visitor.may(Action::UseOwnPhone);
    show(&CallPage { page: visitor.page(title, place), story, graph, follows, has_phone })
}

/// The flow of a run with its path.
pub(super) async fn graph_of(kernel: &Kernel, org: &str, run: &str, is_up: bool) -> Result<Option<Graph>, Problem> {
    let Some(run) = store::run(&kernel.db, org, run).await.map_err(Problem::internal)? else { return Ok(None) };
    let events = path::events_of(kernel, org, run.key(), "step.").await.map_err(Problem::internal)?;
    let graph = Graph::of(&run.body, kernel.clock.now_ms());
    Ok(graph.map(|graph| graph.lit(run.key(), path::visited(&events, !is_up), is_up)))
}

async fn show_story(
    Given(kernel): Given<Kernel>,
    Given(calls): Given<Calls>,
    visitor: Visitor,
    Path(path): Path<CallPath>,
) -> Result<Response, Problem> {
    let story = story_part(&kernel, &calls, &visitor, &path.id).await?;
    let mut part = show(&story)?;
    if !story.is_up {
        *part.status_mut() = StatusCode::from_u16(STOP_ASKING).map_err(Problem::internal)?;
    }
    Ok(part)
}

async fn hang_up(
    Given(calls): Given<Calls>,
    visitor: Visitor,
    Path(path): Path<CallPath>,
) -> Result<Response, Problem> {
    match calls.hangup(visitor.org_id(), &path.id).await {
        Ok(()) => Ok(done(&format!("{PATH}/{}", path.id), "ended")),
        Err(CallError::NotFound) => Err(Problem::not_found()),
        Err(error) => Err(Problem::internal(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_at_a_glance() {
        assert_eq!([0.2, 65.0, 3_599.6, 7_325.0].map(duration), ["0:00", "1:05", "1:00:00", "2:02:05"]);
    }
}
