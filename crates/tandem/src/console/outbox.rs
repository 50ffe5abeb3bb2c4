//! The outbox: mail and SMS, what became of each, and what no provider carried away, so that a newcomer finds his links
//! and codes here.
//!
//! Invariant: a link that signs somebody in is shown only to who could have made it, and not once it was sent.

use axum::extract::State as Given;
use axum::response::Response;
use kernel::http::{PageQuery, Path, Query, cursor};
use kernel::notice::{Channel, Notice, State};
use kernel::person::Person;
use kernel::role::may_manage;
use kernel::time::rfc3339;
use kernel::{Action, Kernel, Problem, Role};
use serde::Deserialize;

use super::door::Doors;
use super::door::Needs::May;
use super::page::{Page, done, show};
use super::visitor::Visitor;

use askama::Template;

const PATH: &str = "/console/outbox";
/// People whose role decides who may see their mail.
const MAX_PEOPLE: i64 = 5_000;

pub(super) fn doors(doors: Doors) -> Doors {
    let manage = May(Action::ManagePeople);
    doors.get(PATH, manage, list).post("/console/outbox/{id}/again", manage, send_again)
}

/// A mail or an SMS.
struct Line {
    at: String,
    way: &'static str,
    recipient: String,
    subject: String,
    body: String,
    state: &'static str,
    /// How the state is coloured.
    tone: &'static str,
    /// When it was sent, or why it was not, in a sentence.
    story: String,
    /// The path that sends it again, if that makes sense.
    again: Option<String>,
}

#[derive(Template)]
#[template(path = "console/outbox.html")]
struct OutboxPage {
    page: Page,
    lines: Vec<Line>,
    more: Option<String>,
    /// Whether there is a provider of mail, and one of SMS.
    carried: (bool, bool),
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
    let lines = found.into_iter().map(|notice| line(&kernel, &visitor, &people, notice)).collect();
    let carried = (Channel::Mail.has_provider(&kernel.config), Channel::Sms.has_provider(&kernel.config));
    show(&OutboxPage { page: visitor.page("Outbox", PATH), lines, more, carried })
}

#[derive(Debug, Deserialize)]
struct NoticePath {
    id: String,
}

async fn send_again(
    Given(kernel): Given<Kernel>,
    visitor: Visitor,
    Path(path): Path<NoticePath>,
) -> Result<Response, Problem> {
    kernel.send_notice_again(visitor.org_id(), &path.id).await?;
    Ok(done(PATH, "sent"))
}

fn line(kernel: &Kernel, visitor: &Visitor, people: &[Person], notice: Notice) -> Line {
    let recipient = people.iter().find(|person| person.email.as_deref() == Some(notice.recipient.as_str()));
    let may_see = visitor.is_administrator()
        || visitor
            .role()
            .is_some_and(|own| recipient.is_some_and(|person| may_manage(own, person.role)) || own == Role::Owner);
    let can_go = notice.can_be_sent_again() && notice.channel.has_provider(&kernel.config);
    Line {
        at: rfc3339(notice.created_at),
        way: match notice.channel {
            Channel::Mail => "mail",
            Channel::Sms => "SMS",
        },
        body: if may_see { notice.text() } else { notice.text_without_link("(shown to owners only)") },
        state: notice.state.as_str(),
        tone: match notice.state {
            State::Sent => "good",
            State::Failed => "bad",
            State::Pending => "busy",
            State::Kept => "plain",
        },
        story: story(&notice),
        again: can_go.then(|| format!("{PATH}/{}/again", notice.id)),
        recipient: notice.recipient,
        subject: notice.subject,
    }
}

/// What became of a notice, in a sentence; empty when there is nothing to say.
fn story(notice: &Notice) -> String {
    let reason = notice.reason.as_deref().unwrap_or_default();
    match (notice.state, notice.sent_at) {
        (State::Sent, Some(at)) => format!("Sent {}.", rfc3339(at)),
        (State::Failed, _) => format!("Not sent: {reason}"),
        (State::Pending, _) if !reason.is_empty() => {
            format!("Tried {} times, again {}: {reason}", notice.attempts, rfc3339(notice.due_at))
        }
        _ => String::new(),
    }
}
