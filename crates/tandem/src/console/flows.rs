//! Flows: the list, the editor with its mistakes at their lines and its drawing, versions, and a call with it.
//!
//! Invariant: what the editor says is what `POST /v1/flows` would say; a flow that is refused stays in the editor, and
//! none is saved over a version that its author has not seen.

use std::collections::HashMap;

use askama::Template;
use axum::extract::State as Given;
use axum::response::Response;
use kernel::error::codes;
use kernel::http::{PageQuery, Path, Query, cursor};
use kernel::time::rfc3339;
use kernel::{Action, Problem};
use serde::Deserialize;
use serde_json::Value;

use super::door::Doors;
use super::door::Needs::May;
use super::form::{Field, Form, Posted};
use super::graph::Graph;
use super::list::ListPage;
use super::page::{Page, done, go, show, show_conflict, show_refused};
use super::runs;
use super::samples::{self, Sample};
use super::table::{Cell, Table};
use super::visitor::Visitor;
use crate::flows::api::saved;
use crate::flows::{Flows, Purpose, Report, lenient, store};

const PATH: &str = "/console/flows";
/// The field with the version that a form was made for.
const SEEN: &str = "version";
/// Versions and runs shown beside a flow.
const MAX_VERSIONS: i64 = 50;
const MAX_RUNS: i64 = 10;

pub(super) fn doors(doors: Doors) -> Doors {
    let manage = May(Action::ManageFlows);
    doors
        .get(PATH, May(Action::ReadFlows), list)
        .get("/console/flows/new", manage, choose)
        .post("/console/flows/new", manage, create)
        .post("/console/flows/check", manage, look)
        .get("/console/flows/{id}", May(Action::ReadFlows), show_flow)
        .get("/console/flows/{id}/edit", manage, edit)
        .post("/console/flows/{id}/edit", manage, update)
        .post("/console/flows/{id}/run", May(Action::RunFlow), run)
        .post("/console/flows/{id}/delete", manage, delete)
}

async fn list(
    Given(flows): Given<Flows>,
    visitor: Visitor,
    Query(query): Query<PageQuery>,
) -> Result<Response, Problem> {
    let (after, limit) = (query.after()?.unwrap_or_default(), query.limit()?);
    let found = store::list(&flows.kernel().db, visitor.org_id(), &after, limit).await.map_err(Problem::internal)?;
    let full = usize::try_from(limit).is_ok_and(|limit| found.len() == limit);
    let more = found.last().filter(|_| full).map(|last| format!("{PATH}?cursor={}", cursor(&last.id)));
    let rows = found.into_iter().map(|flow| {
        vec![
            Cell::link(flow.name, format!("{PATH}/{}", flow.id)),
            Cell::text(flow.version.to_string()),
            Cell::Time(rfc3339(flow.updated_ms)),
        ]
    });
    let table = Table::new("Flows", &["Name", "Version", "Changed"]).with(rows);
    let about = "What happens on a call, step by step. A number leads to a flow, or you call somebody with it.";
    let empty = "There is no flow yet. Start from a template and change it.";
    let mut page = ListPage::new(visitor.page("Flows", PATH), about, table, empty).action(
        visitor.may(Action::ManageFlows),
        "New flow",
        "/console/flows/new",
    );
    page.more = more;
    show(&page)
}

/// A mistake, or something that may not be as meant, at its line.
struct Finding {
    code: String,
    message: String,
    pointer: String,
    /// From 1; none when the text has no such place.
    line: Option<usize>,
    is_error: bool,
}

/// What is said of a text while it is written.
#[derive(Template)]
#[template(path = "console/flow_look.html")]
struct Look {
    findings: Vec<Finding>,
    errors: usize,
    steps: usize,
    graph: Option<Graph>,
}

impl askama::filters::HtmlSafe for Look {}

/// The line that a pointer means: its own, else that of what holds it.
fn line_of(lines: &HashMap<String, usize>, pointer: &str) -> Option<usize> {
    let mut place = pointer;
    loop {
        if let Some(line) = lines.get(place) {
            return Some(*line);
        }
        place = place.rsplit_once('/')?.0;
    }
}

fn findings(text: &str, report: &Report) -> Vec<Finding> {
    let lines = lenient::lines(text);
    let finding = |is_error: bool| {
        let lines = &lines;
        move |found: &crate::flows::Problem| Finding {
            code: found.code.to_string(),
            message: found.message.clone(),
            line: line_of(lines, &found.path),
            pointer: found.path.clone(),
            is_error,
        }
    };
    report.errors.iter().map(finding(true)).chain(report.warnings.iter().map(finding(false))).collect()
}

/// Judges a text as the API would.
async fn look_at(flows: &Flows, org: &str, text: &str) -> Result<Look, Problem> {
    let (report, body) = match lenient::read(text.as_bytes()) {
        Ok(reading) => {
            let (_, report) = flows.judge(org, &reading, Purpose::Save).await.map_err(Problem::internal)?;
            (report, reading.value)
        }
        Err(error) => {
            let mut report = Report::default();
            report.error(error.code(), error.pointer(), error.to_string());
            (report, Value::Null)
        }
    };
    let mut findings = findings(text, &report);
    // A text that cannot be read names its line in the sentence.
    if let (true, [only]) = (body.is_null(), findings.as_mut_slice()) {
        only.line = line_in(&only.message).or(only.line);
    }
    Ok(Look {
        errors: report.errors.len(),
        steps: body.get("flow").and_then(Value::as_array).map_or(0, Vec::len),
        graph: Graph::of(&body, flows.kernel().clock.now_ms()),
        findings,
    })
}

/// `… line 12, column 3 …`
fn line_in(sentence: &str) -> Option<usize> {
    let (_, rest) = sentence.split_once("line ")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

async fn look(Given(flows): Given<Flows>, visitor: Visitor, posted: Posted) -> Result<Response, Problem> {
    show(&look_at(&flows, visitor.org_id(), posted.raw("text")).await?)
}

#[derive(Template)]
#[template(path = "console/flow_edit.html")]
struct EditPage {
    page: Page,
    /// Where the form is posted to.
    action: String,
    name: String,
    text: String,
    name_error: Option<String>,
    look: Look,
    back: String,
    /// The version that is being changed; none of a new flow.
    seen: Option<i64>,
    /// Its publish secret, which is not in the text, stays.
    has_secret: bool,
    /// Somebody else's text, which was saved meanwhile.
    newer: Option<Newer>,
}

/// What somebody else has saved while a text was written.
struct Newer {
    version: i64,
    name: String,
    text: String,
}

#[derive(Template)]
#[template(path = "console/flow_new.html")]
struct ChoosePage {
    page: Page,
    samples: &'static [Sample],
}

#[derive(Debug, Default, Deserialize)]
struct SampleQuery {
    sample: Option<String>,
}

async fn choose(
    Given(flows): Given<Flows>,
    visitor: Visitor,
    Query(query): Query<SampleQuery>,
) -> Result<Response, Problem> {
    let page = visitor.page("New flow", PATH);
    match query.sample.as_deref().and_then(samples::find) {
        None => show(&ChoosePage { page, samples: samples::ALL }),
        Some(sample) => {
            let look = look_at(&flows, visitor.org_id(), sample.text).await?;
            let (name, text) = (sample.name.to_owned(), sample.text.to_owned());
            let (action, back) = ("/console/flows/new".to_owned(), "/console/flows/new".to_owned());
            let (name_error, seen, has_secret, newer) = (None, None, false, None);
            show(&EditPage { page, action, name, text, name_error, look, back, seen, has_secret, newer })
        }
    }
}

/// The body that the API takes: the text with the name.
fn with_name(text: &str, name: &str) -> Option<Vec<u8>> {
    let mut value = lenient::read(text.as_bytes()).ok()?.value;
    value.as_object_mut()?.insert("name".to_owned(), name.into());
    serde_json::to_vec(&value).ok()
}

/// What the editor was left with when its text was refused.
async fn refused(
    flows: &Flows,
    visitor: &Visitor,
    posted: &Posted,
    (title, action, back): (&str, String, String),
    problem: Option<Problem>,
) -> Result<Response, Problem> {
    show_refused(&refused_page(flows, visitor, posted, (title, action, back), problem).await?)
}

async fn refused_page(
    flows: &Flows,
    visitor: &Visitor,
    posted: &Posted,
    (title, action, back): (&str, String, String),
    problem: Option<Problem>,
) -> Result<EditPage, Problem> {
    if let Some(problem) = problem.as_ref().filter(|problem| problem.status().is_server_error()) {
        return Err(problem.clone());
    }
    let of_name = problem.iter().flat_map(|problem| &problem.errors).find(|error| error.pointer == "/name");
    let other = problem.as_ref().filter(|problem| problem.errors.is_empty());
    let name_error = of_name.map(|error| error.message.clone());
    let name_error = name_error.or_else(|| other.map(|problem| problem.code.title.to_owned()));
    let text = posted.raw("text");
    Ok(EditPage {
        page: visitor.page(title, PATH),
        action,
        name: posted.get("name").to_owned(),
        text: text.to_owned(),
        name_error,
        look: look_at(flows, visitor.org_id(), text).await?,
        back,
        seen: posted.get(SEEN).parse().ok(),
        has_secret: false,
        newer: None,
    })
}

async fn create(Given(flows): Given<Flows>, visitor: Visitor, posted: Posted) -> Result<Response, Problem> {
    let around = || ("New flow", "/console/flows/new".to_owned(), "/console/flows/new".to_owned());
    let Some(body) = with_name(posted.raw("text"), posted.get("name")) else {
        return refused(&flows, &visitor, &posted, around(), None).await;
    };
    match saved::save_new(&flows, visitor.org_id(), &body).await {
        Ok((flow, _)) => Ok(done(&format!("{PATH}/{}", flow.id), "created")),
        Err(problem) => refused(&flows, &visitor, &posted, around(), Some(problem)).await,
    }
}

#[derive(Debug, Deserialize)]
struct FlowPath {
    id: String,
}

#[derive(Debug, Default, Deserialize)]
struct VersionQuery {
    version: Option<i64>,
}

/// A saved flow in one version: its name, its newest version, the text.
async fn read(
    flows: &Flows,
    visitor: &Visitor,
    id: &str,
    version: Option<i64>,
) -> Result<(store::SavedFlow, Value), Problem> {
    let (db, org) = (&flows.kernel().db, visitor.org_id());
    let flow = store::one(db, org, id).await.map_err(Problem::internal)?.ok_or_else(Problem::not_found)?;
    let body = match version {
        None => flow.body.clone(),
        Some(version) => store::version(db, org, id, version).await.map_err(Problem::internal)?,
    };
    Ok((flow, store::without_secrets(body.ok_or_else(Problem::not_found)?)))
}

#[derive(Template)]
#[template(path = "console/flow.html")]
struct FlowPage {
    page: Page,
    path: String,
    version: i64,
    newest: i64,
    text: String,
    graph: Option<Graph>,
    /// Number, moment, whether it is shown.
    versions: Vec<(i64, String, bool)>,
    numbers: Vec<String>,
    runs: Table,
    run_form: Option<Form>,
    own: Option<OwnPhone>,
    manages: bool,
}

/// The visitor's own phone, and whether it rings already.
struct OwnPhone {
    number: String,
    is_online: bool,
}

/// The visitor's own phone, if there is an extension.
fn own_phone(flows: &Flows, visitor: &Visitor, own: &[String]) -> Option<OwnPhone> {
    let first = own.first().filter(|_| visitor.may(Action::UseOwnPhone))?;
    let is_online = flows.calls().presence(visitor.org_id(), first).registered;
    Some(OwnPhone { number: first.clone(), is_online })
}

/// The form that runs a flow: with an own extension it says "call me", and offers the others.
fn run_form(id: &str, own: &[String]) -> Form {
    let submit = if own.is_empty() { "Call" } else { "Call me" };
    let field = Field::line("to", "Call this number with it")
        .optional()
        .value(own.first().map_or("", String::as_str))
        .hint("An extension such as your own, or a public number; empty calls the number of its first step.");
    Form::new(format!("{PATH}/{id}/run"), submit).with(field.suggesting(own.to_vec()))
}

async fn flow_page(
    flows: &Flows,
    visitor: &Visitor,
    id: &str,
    version: Option<i64>,
    refused: Option<Form>,
) -> Result<FlowPage, Problem> {
    let extensions = visitor.extensions(flows.kernel()).await?;
    let own = own_phone(flows, visitor, &extensions);
    let run_form = refused.unwrap_or_else(|| run_form(id, &extensions));
    let (db, org) = (&flows.kernel().db, visitor.org_id());
    let (flow, body) = read(flows, visitor, id, version).await?;
    let shown = version.unwrap_or(flow.version);
    let versions = store::versions(db, org, id, MAX_VERSIONS).await.map_err(Problem::internal)?;
    let of_flow = store::runs(db, org, None, Some(id), MAX_RUNS).await.map_err(Problem::internal)?;
    Ok(FlowPage {
        page: visitor.page(flow.name, PATH),
        path: format!("{PATH}/{id}"),
        version: shown,
        newest: flow.version,
        graph: Graph::of(&body, flows.kernel().clock.now_ms()),
        text: serde_json::to_string_pretty(&body).unwrap_or_default(),
        versions: versions.into_iter().map(|(number, at)| (number, rfc3339(at), number == shown)).collect(),
        numbers: store::numbers_of(db, org, id).await.map_err(Problem::internal)?,
        runs: Table::new("Runs", &runs::COLUMNS).with(of_flow.into_iter().map(runs::row)),
        run_form: visitor.may(Action::RunFlow).then_some(run_form),
        own,
        manages: visitor.may(Action::ManageFlows),
    })
}

async fn show_flow(
    Given(flows): Given<Flows>,
    visitor: Visitor,
    Path(path): Path<FlowPath>,
    Query(query): Query<VersionQuery>,
) -> Result<Response, Problem> {
    show(&flow_page(&flows, &visitor, &path.id, query.version, None).await?)
}

async fn edit(
    Given(flows): Given<Flows>,
    visitor: Visitor,
    Path(path): Path<FlowPath>,
    Query(query): Query<VersionQuery>,
) -> Result<Response, Problem> {
    let (flow, body) = read(&flows, &visitor, &path.id, query.version).await?;
    let text = serde_json::to_string_pretty(&body).unwrap_or_default();
    show(&EditPage {
        page: visitor.page(format!("Edit {}", flow.name), PATH),
        action: format!("{PATH}/{}/edit", path.id),
        name: flow.name,
        look: look_at(&flows, visitor.org_id(), &text).await?,
        text,
        name_error: None,
        back: format!("{PATH}/{}", path.id),
        seen: Some(flow.version),
        has_secret: flow.body.as_ref().is_some_and(store::has_secret),
        newer: None,
    })
}

async fn update(
    Given(flows): Given<Flows>,
    visitor: Visitor,
    Path(path): Path<FlowPath>,
    posted: Posted,
) -> Result<Response, Problem> {
    let here = format!("{PATH}/{}", path.id);
    let around = || ("Edit the flow", format!("{here}/edit"), here.clone());
    let Some(body) = with_name(posted.raw("text"), posted.get("name")) else {
        return refused(&flows, &visitor, &posted, around(), None).await;
    };
    // A form without the version that it was made for has seen none.
    let seen = posted.get(SEEN).parse().unwrap_or(0);
    match saved::save_version(&flows, visitor.org_id(), &path.id, Some(seen), &body).await {
        Ok(_) => Ok(done(&here, "saved")),
        Err(problem) if problem.code == codes::NOT_FOUND => Err(problem),
        Err(problem) if problem.code == codes::CONFLICT => {
            let page = refused_page(&flows, &visitor, &posted, around(), None).await?;
            show_conflict(&overtaken(&flows, &visitor, &path.id, page).await?)
        }
        Err(problem) => refused(&flows, &visitor, &posted, around(), Some(problem)).await,
    }
}

/// The editor with both texts: the own one, and what somebody else has saved meanwhile. Saved again, the own one is the
/// next version.
async fn overtaken(flows: &Flows, visitor: &Visitor, id: &str, page: EditPage) -> Result<EditPage, Problem> {
    let (flow, body) = read(flows, visitor, id, None).await?;
    let text = serde_json::to_string_pretty(&body).unwrap_or_default();
    let has_secret = flow.body.as_ref().is_some_and(store::has_secret);
    let newer = Newer { version: flow.version, name: flow.name, text };
    Ok(EditPage { seen: Some(flow.version), has_secret, newer: Some(newer), ..page })
}

async fn run(
    Given(flows): Given<Flows>,
    visitor: Visitor,
    Path(path): Path<FlowPath>,
    posted: Posted,
) -> Result<Response, Problem> {
    match saved::run_saved(&flows, visitor.org_id(), &path.id, posted.optional("to")).await {
        Ok(launched) => Ok(go(&format!("/console/calls/{}", launched.call))),
        Err(problem) if problem.code == codes::NOT_FOUND || problem.status().is_server_error() => Err(problem),
        Err(problem) if !visitor.may(Action::ReadFlows) => Err(problem),
        Err(problem) => {
            let own = visitor.extensions(flows.kernel()).await?;
            let form = run_form(&path.id, &own).filled(&posted).refused(problem)?;
            show_refused(&flow_page(&flows, &visitor, &path.id, None, Some(form)).await?)
        }
    }
}

async fn delete(Given(flows): Given<Flows>, visitor: Visitor, Path(path): Path<FlowPath>) -> Result<Response, Problem> {
    match saved::remove(&flows, visitor.org_id(), &path.id).await {
        Ok(()) => Ok(done(PATH, "deleted")),
        Err(problem) if problem.code == saved::codes::FLOW_IN_USE => {
            let numbers = problem.detail.clone().unwrap_or_default();
            Err(problem.detail(format!(
                "Numbers or products of chats lead to this flow: {numbers}. Bind them to something else first."
            )))
        }
        Err(problem) => Err(problem),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_stands_at_its_line_or_at_that_of_what_holds_it() {
        let text = "{\n \"flow\": [\n  {\"id\": 1,\n   \"type\": \"play\"}\n ]\n}";
        let mut report = Report::default();
        report.error("x", "/flow/0/type", "a");
        report.error("x", "/flow/0/text", "b");
        report.warn("x", "/publish/url", "c");
        let found: Vec<_> = findings(text, &report).into_iter().map(|found| found.line).collect();
        assert_eq!(found, [Some(4), Some(3), Some(1)]);
        assert_eq!(line_in("not JSON at line 12, column 3: oops"), Some(12));
        assert_eq!(line_in("empty"), None);
    }
}
