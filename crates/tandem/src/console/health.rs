//! Health of the installation, for its administrators: what the doctor says, and what is up.

use askama::Template;
use axum::extract::State as Given;
use axum::response::Response;
use calls::Calls;
use kernel::{Kernel, Problem};

use super::door::Doors;
use super::door::Needs::Administrator;
use super::page::{Page, show};
use super::visitor::Visitor;
use crate::cli::{Finding, examine};
use crate::platform::{Health, Sign};

const PATH: &str = "/console/health";

pub(super) fn doors(doors: Doors) -> Doors {
    doors.get(PATH, Administrator, show_health)
}

/// A thing that was looked at.
struct Line {
    what: String,
    says: String,
    word: &'static str,
    colour: &'static str,
}

impl From<Finding> for Line {
    fn from(finding: Finding) -> Self {
        let (word, colour) = match (finding.works(), finding.is_good()) {
            (false, _) => ("broken", "bad"),
            (true, true) => ("good", "good"),
            (true, false) => ("advice", "busy"),
        };
        Self { what: finding.what().to_owned(), says: finding.says().to_owned(), word, colour }
    }
}

#[derive(Template)]
#[template(path = "console/health.html")]
struct HealthPage {
    page: Page,
    version: &'static str,
    node: String,
    store: &'static str,
    calls: usize,
    is_draining: bool,
    is_stuck: bool,
    lines: Vec<Line>,
    broken: usize,
}

async fn show_health(
    Given(kernel): Given<Kernel>,
    Given(calls): Given<Calls>,
    Given(health): Given<Health>,
    visitor: Visitor,
) -> Result<Response, Problem> {
    let lines: Vec<Line> = examine(&kernel.config).await.into_iter().map(Line::from).collect();
    show(&HealthPage {
        page: visitor.page("Health", PATH),
        version: env!("CARGO_PKG_VERSION"),
        node: kernel.node.to_string(),
        store: kernel.db.engine_name(),
        calls: calls.live(),
        is_draining: health.is(Sign::Draining),
        is_stuck: kernel.db.writer().is_stuck(),
        broken: lines.iter().filter(|line| line.colour == "bad").count(),
        lines,
    })
}
