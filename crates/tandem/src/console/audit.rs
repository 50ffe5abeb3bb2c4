//! The audit: who heard, exported, erased or changed what.

use axum::extract::State as Given;
use axum::response::Response;
use kernel::http::{PageQuery, Query, cursor};
use kernel::time::rfc3339;
use kernel::{Action, Kernel, Problem};

use super::door::Doors;
use super::door::Needs::May;
use super::list::ListPage;
use super::page::show;
use super::table::{Cell, Table};
use super::visitor::Visitor;

const PATH: &str = "/console/audit";

pub(super) fn doors(doors: Doors) -> Doors {
    doors.get(PATH, May(Action::ReadSettings), list)
}

async fn list(
    Given(kernel): Given<Kernel>,
    visitor: Visitor,
    Query(query): Query<PageQuery>,
) -> Result<Response, Problem> {
    let (before, limit) = (query.after()?, query.limit()?);
    let found = kernel.audit(visitor.org_id(), before.as_deref(), limit).await?;
    let full = usize::try_from(limit).is_ok_and(|limit| found.len() == limit);
    let more = found.last().filter(|_| full).map(|last| format!("{PATH}?cursor={}", cursor(&last.id)));
    let rows = found.into_iter().map(|entry| {
        let who = match entry.actor_name {
            Some(name) => Cell::link(name, format!("/console/people/{}", entry.actor)),
            None if entry.actor == "signed_url" => Cell::Quiet("by a signed URL".to_owned()),
            None => Cell::Code(entry.actor),
        };
        vec![
            Cell::Time(rfc3339(entry.at_ms)),
            who,
            Cell::text(entry.action.replace(['.', '_'], " ")),
            Cell::Code(entry.object),
        ]
    });
    let table = Table::new("Audit", &["When", "Who", "What", "Of what"]).with(rows);
    let about = "Who heard a recording or a message, exported, erased, or changed settings. Nobody changes these rows.";
    let mut page = ListPage::new(visitor.page("Audit", PATH), about, table, "Nothing to account for yet.");
    page.more = more;
    show(&page)
}
