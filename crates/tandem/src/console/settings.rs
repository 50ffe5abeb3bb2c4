//! Settings of the organisation: whom it may call and when, what is said before a recording, how long things are kept.

use axum::extract::State as Given;
use axum::response::Response;
use kernel::org_settings::RETENTION_KINDS;
use kernel::{Action, Kernel, Org, Problem, RecordError};
use serde_json::{Map, Value, json};

use super::door::Doors;
use super::door::Needs::May;
use super::form::{Field, Form, Posted};
use super::page::{Page, done, show, show_conflict, show_refused};
use super::visitor::Visitor;

use askama::Template;

const PATH: &str = "/console/settings";
/// The field with the version that the form was made for.
const SEEN: &str = "version";
/// Names of the fields of [`RETENTION_KINDS`], in their order.
const DAYS: [(&str, &str); 6] = [
    ("days_calls", "Days to keep calls"),
    ("days_chats", "Days to keep chats after their last message"),
    ("days_events", "Days to keep events"),
    ("days_meetings", "Days to keep meetings"),
    ("days_recordings", "Days to keep recordings"),
    ("days_voicemail", "Days to keep voicemail"),
];

pub(super) fn doors(doors: Doors) -> Doors {
    doors.get(PATH, May(Action::ReadSettings), show_settings).post(PATH, May(Action::ManageSettings), change)
}

#[derive(Template)]
#[template(path = "console/settings.html")]
struct SettingsPage {
    page: Page,
    slug: String,
    cloud_sid: String,
    zone: String,
    form: Form,
    manages: bool,
}

fn form(org: &Org) -> Form {
    let settings = &org.settings;
    let lines = |list: &[String]| list.join("\n");
    let quiet = |time: fn(&kernel::org_settings::QuietHours) -> &str| {
        settings.quiet_hours.as_ref().map(time).unwrap_or_default().to_owned()
    };
    let mut form = Form::new(PATH, "Save")
        .with(Field::hidden(SEEN, org.version.to_string()))
        .with(
            Field::text("caller_ids", "Caller ids", 2)
                .optional()
                .hint("Numbers, besides those bound here, that calls may show; one a line, the first is the default.")
                .value(lines(&settings.caller_ids)),
        )
        .with(
            Field::text("dial_only", "Only these prefixes may be called", 2)
                .optional()
                .hint("Such as +44; empty: every number that is neither premium nor an emergency number.")
                .value(lines(&settings.dial_only)),
        )
        .with(
            Field::text("dial_allow", "Premium prefixes that may be called", 2)
                .optional()
                .value(lines(&settings.dial_allow)),
        )
        .with(Field::tick("dial_sip", "Flows may call sip: addresses").ticked(settings.dial_sip))
        .with(
            Field::text("do_not_call", "Never call back", 3)
                .optional()
                .hint("Numbers that callbacks never ring.")
                .value(lines(&settings.do_not_call)),
        )
        .with(Field::typed("quiet_from", "Callbacks wait from", "time").optional().value(quiet(|hours| &hours.from)))
        .with(
            Field::typed("quiet_hours", "Callbacks wait until", "time")
                .optional()
                .hint("In the organisation's zone; over midnight when it is earlier.")
                .value(quiet(|hours| &hours.to)),
        )
        .with(
            Field::text("recording_announcement", "Said before a recording", 2)
                .optional()
                .hint("Both parties hear it once.")
                .value(settings.recording_announcement.clone().unwrap_or_default()),
        );
    for (kind, (name, label)) in RETENTION_KINDS.iter().zip(DAYS) {
        let days = settings.retention_days.get(*kind).map(u32::to_string).unwrap_or_default();
        form = form
            .with(Field::typed(name, label, "number").optional().hint("So many days; empty: for ever.").value(days));
    }
    form.with(
        Field::line("tariff", "Price of a minute")
            .optional()
            .hint("For reports, such as 0.012 EUR: what an outgoing minute costs.")
            .value(settings.tariff.clone().unwrap_or_default()),
    )
}

/// The changes that a form means, in the words of the API.
fn changes(posted: &Posted) -> Result<Map<String, Value>, (&'static str, String)> {
    let text = |name: &str| posted.optional(name).map_or(Value::Null, Value::from);
    let mut days = Map::new();
    for (kind, (name, _)) in RETENTION_KINDS.iter().zip(DAYS) {
        if let Some(typed) = posted.optional(name) {
            let number: u32 = typed.parse().map_err(|_| (name, "a whole number of days".to_owned()))?;
            days.insert((*kind).to_owned(), number.into());
        }
    }
    let quiet = match (posted.optional("quiet_from"), posted.optional("quiet_hours")) {
        (None, None) => Value::Null,
        (from, to) => json!({"from": from.unwrap_or_default(), "to": to.unwrap_or_default()}),
    };
    let all = [
        ("caller_ids", posted.words("caller_ids").into()),
        ("dial_only", posted.words("dial_only").into()),
        ("dial_allow", posted.words("dial_allow").into()),
        ("dial_sip", posted.is_ticked("dial_sip").into()),
        ("do_not_call", posted.words("do_not_call").into()),
        ("quiet_hours", quiet),
        ("recording_announcement", text("recording_announcement")),
        ("retention_days", days.into()),
        ("tariff", text("tariff")),
    ];
    Ok(all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn page(visitor: &Visitor, form: Form) -> Result<SettingsPage, Problem> {
    let org = visitor.org()?;
    Ok(SettingsPage {
        slug: org.slug.clone(),
        cloud_sid: org.cloud_sid.clone(),
        zone: org.zone.clone(),
        page: visitor.page("Settings", PATH),
        form,
        manages: visitor.may(Action::ManageSettings),
    })
}

async fn show_settings(visitor: Visitor) -> Result<Response, Problem> {
    show(&page(&visitor, form(visitor.org()?))?)
}

async fn change(Given(kernel): Given<Kernel>, visitor: Visitor, posted: Posted) -> Result<Response, Problem> {
    let typed = || Ok::<_, Problem>(form(visitor.org()?).filled(&posted));
    let changes = match changes(&posted) {
        Ok(changes) => changes,
        Err((name, message)) => return show_refused(&page(&visitor, typed()?.wrong(name, message))?),
    };
    // A form without the version that it was made for has seen none.
    let seen = posted.get(SEEN).parse().unwrap_or(0);
    match kernel.change_org_settings_seen(visitor.org_id(), seen, &changes).await {
        Ok(_) => {
            let actor = visitor.principal().actor();
            let audit = kernel.audit_write(visitor.org_id(), actor, "settings.change", visitor.org_id());
            kernel.db.writer().commit(vec![audit]).await.map_err(Problem::internal)?;
            Ok(done(PATH, "saved"))
        }
        Err(RecordError::Conflict) => overtaken(&kernel, &visitor, &posted).await,
        Err(error) => show_refused(&page(&visitor, typed()?.refused(at_its_days(error.into()))?)?),
    }
}

/// The form with what was typed, and beside each field that differs what somebody else has saved meanwhile. Sent again,
/// it holds.
async fn overtaken(kernel: &Kernel, visitor: &Visitor, posted: &Posted) -> Result<Response, Problem> {
    let org = kernel.org_by_id(visitor.org_id()).await?.ok_or_else(Problem::not_found)?;
    let typed = form(&org).filled(posted).set(SEEN, org.version.to_string()).overtaken(&form(&org));
    show_conflict(&page(visitor, typed)?)
}

/// What the API says of `retention_days` belongs to the field of the kind that it names.
fn at_its_days(mut problem: Problem) -> Problem {
    for error in problem.errors.iter_mut().filter(|error| error.pointer == "/retention_days") {
        let named = RETENTION_KINDS.iter().zip(DAYS).find(|(kind, _)| error.message.contains(&format!("\"{kind}\"")));
        if let Some((_, (name, _))) = named {
            error.pointer = format!("/{name}");
        }
    }
    problem
}
