//! Forms that make a meeting by hand and that move one. What they send is an order like an application's own.
//!
//! Invariant: a time is told and read in the zone of the meeting's application, and the form says which that is.

use axum::extract::State as Given;
use axum::response::Response;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use kernel::error::codes;
use kernel::http::Path;
use kernel::{Kernel, Problem};

use super::form::{Choice, Field, Form, Posted};
use super::list::{FormPage, Link};
use super::meeting::{Forms, MeetingPath, Sources, wall_time, zone_name, zone_of};
use super::meetings::{PATH, apps};
use super::page::{done, show, show_refused};
use super::visitor::Visitor;
use crate::meetings::model::{Actor, CallType, MAX_DURATION_MS, Meeting, Party, Role};
use crate::meetings::reading::{self, Mistake};
use crate::meetings::{Action as Deed, Meetings, Order};

/// Beginning of an order that is offered.
const ORDER: &str = "order";
const NEW: &str = "/console/meetings/new";
pub(super) const MINUTE_MS: i64 = 60_000;
/// What the form offers at first, in minutes.
const USUAL_MINUTES: &str = "30";
/// What is expected of minutes.
pub(super) const MINUTES: &str = "a whole number of minutes, 1 to 480";

/// The moment that was typed, in UTC milliseconds; daylight saving is read as everywhere: a gap forward, a fold first.
fn moment(typed: &str, zone: &TimeZone) -> Option<i64> {
    let wall: DateTime = typed.parse().ok()?;
    Some(wall.to_zoned(zone.clone()).ok()?.timestamp().as_millisecond())
}

fn party_fields(form: Form, whose: [(&'static str, &'static str); 5]) -> Form {
    let kinds: Vec<Choice> =
        [("browser", "in the browser"), ("phone", "by phone")].map(|(word, label)| (word.into(), label.into())).into();
    let [(name, name_label), (uid, uid_label), (number, number_label), (email, email_label), (kind, kind_label)] =
        whose;
    form.with(Field::line(name, name_label))
        .with(Field::line(uid, uid_label).hint("As the application knows the person."))
        .with(Field::one(kind, kind_label, kinds))
        .with(Field::typed(number, number_label, "tel").optional().hint("International form; the other never sees it."))
        .with(Field::typed(email, email_label, "email").optional().hint("For reminders."))
}

/// `order` is offered: a meeting made by hand often has no order elsewhere.
fn form(choices: Vec<Choice>, order: String) -> Form {
    let caller = [
        ("caller_name", "Caller's name"),
        ("caller_uid", "Caller's id"),
        ("caller_number", "Caller's number"),
        ("caller_email", "Caller's mail address"),
        ("caller_type", "Caller talks"),
    ];
    let receiver = [
        ("receiver_name", "Receiver's name"),
        ("receiver_uid", "Receiver's id"),
        ("receiver_number", "Receiver's number"),
        ("receiver_email", "Receiver's mail address"),
        ("receiver_type", "Receiver talks"),
    ];
    let form = Form::new(NEW, "Make the meeting").with(Field::one("application", "Application", choices)).with(
        Field::line("order_id", "Order")
            .hint("As the application knows it. The same order and people: the same meeting.")
            .value(order),
    );
    party_fields(party_fields(form, caller), receiver)
        .with(
            Field::typed("starts", "Starts", "datetime-local")
                .optional()
                .hint("In the application's time zone. Empty: now."),
        )
        .with(Field::typed("duration", "Minutes of talk", "number").value(USUAL_MINUTES))
}

async fn page(kernel: &Kernel, visitor: &Visitor) -> Result<FormPage, Problem> {
    let apps = apps(kernel, visitor.org_id()).await?;
    let choices = apps.into_iter().map(|app| (app.id, app.name)).collect();
    Ok(FormPage {
        page: visitor.page("New meeting", PATH),
        about: "As if the application had posted it. Afterwards its page gives each of the two a link.",
        back: Link::new("Back to the meetings", PATH),
        form: form(choices, kernel.ids.new(ORDER, kernel.clock.now_ms())),
    })
}

pub(super) async fn ask(Given(kernel): Given<Kernel>, visitor: Visitor) -> Result<Response, Problem> {
    show(&page(&kernel, &visitor).await?)
}

/// An order as the form tells of it.
struct Typed<'a> {
    posted: &'a Posted,
    /// What is wrong, all at once.
    wrong: Problem,
}

impl Typed<'_> {
    fn note(&mut self, field: &str, message: impl Into<String>) {
        self.wrong =
            std::mem::replace(&mut self.wrong, Problem::not_found()).and(format!("/{field}"), "invalid", message);
    }

    /// What was read, or none when that is wrong.
    fn good<T>(&mut self, field: &str, read: Result<T, Mistake>) -> Option<T> {
        read.map_err(|mistake| self.note(field, mistake.message)).ok()
    }

    /// A line that must be there.
    fn line(&mut self, field: &str, expected: &str) -> String {
        let text = reading::line(self.posted.get(field)).unwrap_or_default().to_owned();
        if self.posted.get(field).is_empty() {
            self.note(field, "this is needed");
        } else if text.is_empty() {
            self.note(field, expected);
        }
        text
    }

    fn party(&mut self, role: Role) -> Party {
        let field = |what: &str| format!("{}_{what}", role.as_str());
        let call_type = CallType::parse(self.posted.get(&field("type"))).unwrap_or(CallType::Browser);
        let number = self.good(&field("number"), reading::number(self.posted.get(&field("number"))));
        if number == Some(None) && call_type == CallType::Phone {
            self.note(&field("number"), "whoever talks by phone has a number");
        }
        let email = self.good(&field("email"), reading::email(self.posted.get(&field("email")))).flatten();
        Party {
            uid: self.line(&field("uid"), "how the application knows the person"),
            name: self.line(&field("name"), "one line of at most 200 characters"),
            number: number.flatten(),
            email,
            call_type,
        }
    }

    /// The order, or everything that is wrong with it.
    fn order(mut self, zone: &TimeZone, now_ms: i64) -> Result<Order, Problem> {
        let order_id = self.line("order_id", "one line of at most 200 characters");
        let (caller, receiver) = (self.party(Role::Caller), self.party(Role::Receiver));
        if !caller.uid.is_empty() && caller.uid == receiver.uid {
            self.note("receiver_uid", reading::SAME_PERSON.message);
        }
        let unread = Mistake { code: "invalid", message: "a day and a time" };
        let read = |typed: String| moment(&typed, zone).ok_or(unread).and_then(|at_ms| reading::start(at_ms, now_ms));
        let starts_ms = self.posted.optional("starts").and_then(|typed| self.good("starts", read(typed)));
        let minutes = minutes(self.posted, "duration");
        if minutes.is_none() {
            self.note("duration", MINUTES);
        }
        match minutes {
            Some(minutes) if self.wrong.errors.is_empty() => {
                Ok(Order { order_id, caller, receiver, starts_ms, duration_ms: minutes * MINUTE_MS })
            }
            _ => Err(self.wrong),
        }
    }
}

/// Minutes of talk that were typed.
pub(super) fn minutes(posted: &Posted, field: &str) -> Option<i64> {
    posted.get(field).parse().ok().filter(|minutes| (1..=MAX_DURATION_MS / MINUTE_MS).contains(minutes))
}

pub(super) async fn create(
    Given(kernel): Given<Kernel>,
    Given(desk): Given<Meetings>,
    visitor: Visitor,
    posted: Posted,
) -> Result<Response, Problem> {
    let mut page = page(&kernel, &visitor).await?;
    page.form = page.form.filled(&posted);
    let app = posted.get("application");
    if !apps(&kernel, visitor.org_id()).await?.iter().any(|known| known.id == app) {
        page.form = page.form.wrong("application", "make an application first, whose meeting this is");
        return show_refused(&page);
    }
    let zone = zone_of(&desk, &visitor, app).await?;
    let typed = Typed { posted: &posted, wrong: Problem::new(codes::INVALID_FIELD) };
    let made = match typed.order(&zone, kernel.clock.now_ms()) {
        Ok(order) => desk.schedule(visitor.org_id(), app, order).await.map_err(Problem::from),
        Err(problem) => Err(problem),
    };
    match made {
        Ok(made) => Ok(done(&format!("{PATH}/{}", made.meeting.id), "created")),
        Err(problem) => {
            page.form = page.form.refused(problem)?;
            show_refused(&page)
        }
    }
}

/// The form that moves a meeting.
pub(super) fn move_form(meeting: &Meeting, zone: &TimeZone) -> Form {
    let whose = zone_name(zone);
    Form::new(format!("{PATH}/{}/move", meeting.id), "Move")
        .with(
            Field::typed("starts", "Starts", "datetime-local")
                .hint(format!("In {whose}. The two see it in their pages."))
                .value(wall_time(meeting.starts_ms, zone)),
        )
        .with(
            Field::typed("duration", "Minutes of talk", "number").value((meeting.duration_ms / MINUTE_MS).to_string()),
        )
}

pub(super) async fn reschedule(
    sources: Sources,
    visitor: Visitor,
    Path(path): Path<MeetingPath>,
    posted: Posted,
) -> Result<Response, Problem> {
    let id = path.id;
    let meeting = sources.desk.get(visitor.org_id(), None, id).await?;
    let zone = zone_of(&sources.desk, &visitor, &meeting.app).await?;
    let mut problem: Problem = match (moment(posted.get("starts"), &zone), minutes(&posted, "duration")) {
        (Some(starts_ms), Some(minutes)) => {
            // A field knows no seconds and no summer time: what was left as it was shown changes nothing.
            let starts_ms = (posted.get("starts") != wall_time(meeting.starts_ms, &zone)).then_some(starts_ms);
            let duration_ms = (minutes != meeting.duration_ms / MINUTE_MS).then_some(minutes * MINUTE_MS);
            let deed = Deed::Move { starts_ms, duration_ms };
            match sources.desk.act(visitor.org_id(), None, id, Actor::Application, deed).await {
                Ok(_) => return Ok(done(&format!("{PATH}/{id}"), "saved")),
                Err(error) => error.into(),
            }
        }
        (None, _) => Problem::field("/starts", "invalid", "a day and a time"),
        (_, None) => Problem::field("/duration", "invalid", MINUTES),
    };
    for error in problem.errors.iter_mut().filter(|error| error.pointer == "/start_at") {
        error.pointer = "/starts".to_owned();
    }
    let change = |forms: Forms| Ok(Forms { reschedule: forms.reschedule.filled(&posted).refused(problem)?, ..forms });
    show_refused(&sources.page(&visitor, id, change).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-22T00:00:00Z
    const NOW_MS: i64 = 1_795_305_600_000;

    #[test]
    fn a_time_is_read_in_its_zone_and_shown_again() {
        let zone = TimeZone::get("Europe/London").unwrap();
        let at_ms = moment("2026-07-01T09:30", &zone).unwrap();
        assert_eq!(kernel::time::rfc3339(at_ms), "2026-07-01T08:30:00.000Z");
        assert_eq!(wall_time(at_ms, &zone), "2026-07-01T09:30");
        // The clocks go forward at 01:00: half an hour after it there is none.
        let gap = moment("2026-03-29T01:30", &zone).unwrap();
        assert_eq!(kernel::time::rfc3339(gap), "2026-03-29T01:30:00.000Z");
        assert!(moment("tomorrow", &zone).is_none() && moment("", &zone).is_none());
    }

    #[tokio::test]
    async fn an_order_is_read_or_told_what_is_wrong_all_at_once() {
        let typed = |body: &'static str| async move {
            let posted = Posted::read(body.into()).await.unwrap();
            Typed { posted: &posted, wrong: Problem::new(codes::INVALID_FIELD) }.order(&TimeZone::UTC, NOW_MS)
        };
        let good = "caller_email=ann%40example.org&order_id=4711&caller_name=Ann&caller_uid=1&caller_type=phone&caller_number=%2B442071838750\
            &receiver_name=Ben&receiver_uid=2&receiver_type=browser&duration=30";
        let order = typed(good).await.unwrap();
        assert_eq!((order.starts_ms, order.duration_ms), (None, 1_800_000));
        assert_eq!(order.caller.email.as_deref(), Some("ann@example.org"));
        assert_eq!(order.caller.number.as_deref(), Some("+442071838750"));
        assert_eq!((order.receiver.number, order.receiver.call_type), (None, CallType::Browser));
        let bad = "order_id=4711&caller_name=Ann&caller_uid=1&caller_type=phone&receiver_name=Ben&receiver_uid=\
            &receiver_number=banana&receiver_email=nobody&starts=soon&duration=0";
        let wrong = typed(bad).await.unwrap_err();
        let fields: Vec<&str> = wrong.errors.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(
            fields,
            ["/caller_number", "/receiver_number", "/receiver_email", "/receiver_uid", "/starts", "/duration"]
        );
        // What an application may not order, nobody orders by hand.
        let bad = "order_id=4711&caller_name=Ann&caller_uid=1&caller_type=phone&caller_number=112\
            &receiver_name=Ben&receiver_uid=1&receiver_type=phone&receiver_number=07700900123\
            &starts=9998-12-31T10:00&duration=30";
        let wrong = typed(bad).await.unwrap_err();
        let fields: Vec<&str> = wrong.errors.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(fields, ["/caller_number", "/receiver_number", "/receiver_uid", "/starts"]);
    }
}
