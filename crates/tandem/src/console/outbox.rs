//! The outbox: mail and SMS that no provider carried away, so that a newcomer finds his links and codes here.
//!
//! Invariant: a link that signs somebody in is shown only to who could have made it.

use axum::extract::State as Given;
use axum::response::Response;
use kernel::http::{PageQuery, Query, cursor};
use kernel::notice::{Channel, Notice};
use kernel::person::Person;
use kernel::role::may_manage;
use kernel::time::rfc3339;
use kernel::{Action, Kernel, Problem, Role};

use super::door::Doors;
use super::door::Needs::May;
use super::page::{Page, show};
use super::visitor::Visitor;

use askama::Template;

const PATH: &str = "/console/outbox";
const LINK: &str = "/console/link/";
/// People whose role decides who may see their mail.
const MAX_PEOPLE: i64 = 5_000;

pub(super) fn doors(doors: Doors) -> Doors {
    doors.get(PATH, May(Action::ManagePeople), list)
}

/// A mail or an SMS.
struct Line {
    at: String,
    way: &'static str,
    recipient: String,
    subject: String,
    body: String,
}

#[derive(Template)]
#[template(path = "console/outbox.html")]
struct OutboxPage {
    page: Page,
    lines: Vec<Line>,
    more: Option<String>,
}

async fn list(
    Given(kernel): Given<Kernel>,
    visitor: Visitor,
    Query(query): Query<PageQuery>,
) -> Result<Response, Problem> {
    let (before, limit) = (query.after()?.unwrap_or_default(), query.limit()?);
    let found = kernel.notices(visitor.org_id(), &before, limit).await?;
    let full = usize::try_from(limit).is_ok_and(|limit| found.len() == limit);
    let more = found.last().filter(|_| full).map(|last| format!("{PATH}?cursor={}", cursor(&last.id)));
    let people = kernel.people(visitor.org_id(), "", MAX_PEOPLE).await?;
    let lines = found.into_iter().map(|notice| line(&visitor, &people, notice)).collect();
    show(&OutboxPage { page: visitor.page("Outbox", PATH), lines, more })
}

fn line(visitor: &Visitor, people: &[Person], notice: Notice) -> Line {
    let recipient = people.iter().find(|person| person.email.as_deref() == Some(notice.recipient.as_str()));
    let may_see = visitor.is_administrator()
        || visitor
            .role()
            .is_some_and(|own| recipient.is_some_and(|person| may_manage(own, person.role)) || own == Role::Owner);
    Line {
        at: rfc3339(notice.created_at),
        way: match notice.channel {
            Channel::Mail => "mail",
            Channel::Sms => "SMS",
        },
        recipient: notice.recipient,
        subject: notice.subject,
        body: if may_see { notice.body } else { without_links(&notice.body) },
    }
}

/// A text whose links sign nobody in.
fn without_links(text: &str) -> String {
    let mut parts = text.split(LINK);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        out.push_str(LINK);
        out.push_str("(shown to owners only)");
        out.push_str(rest);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_taken_out_and_nothing_else() {
        let text = "Hello.\nhttps://x/console/link/sl_a-B_9\nBye.";
        assert_eq!(without_links(text), "Hello.\nhttps://x/console/link/(shown to owners only)\nBye.");
        assert_eq!(without_links("no link"), "no link");
    }
}
