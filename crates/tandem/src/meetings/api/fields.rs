//! Fields of bodies that may be numbers or texts.

use kernel::{Problem, zones};
use serde_json::Value;

use super::actions::{ChangeRequest, PartyRequest};
use crate::meetings::model::{
    CallType, Change, DurationUnit, MAX_DURATION_MS, MIN_DURATION_MS, Party, PartyChange, Role, Settings,
};
use crate::meetings::reading::{self, Mistake};
use crate::meetings::start_at;

const MINUTE_MS: i64 = 60_000;
const SECOND_MS: i64 = 1_000;

/// A whole number, written as one or as a text.
///
/// # Errors
/// 422 naming the field.
pub(super) fn whole(value: &Value, field: &str) -> Result<i64, Problem> {
    let number = match value {
        Value::Number(number) => number.as_i64().or_else(|| exact(number.as_f64()?)),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.ok_or_else(|| Problem::field(format!("/{field}"), "invalid_type", "a whole number, or a text that is one"))
}

/// A number like 600.0 is whole too.
fn exact(number: f64) -> Option<i64> {
    const MOST: f64 = 9_007_199_254_740_992.0;
    let whole = number.fract() == 0.0 && number.abs() < MOST;
    whole.then(|| format!("{number:.0}").parse().ok()).flatten()
}

/// A length of time: seconds or minutes, of which one is given.
///
/// # Errors
/// 422 naming the field.
pub(super) fn length(seconds: Option<&Value>, minutes: Option<&Value>) -> Result<i64, Problem> {
    let (number, field, unit_ms) = match (seconds, minutes) {
        (Some(seconds), _) => (whole(seconds, "seconds")?, "seconds", SECOND_MS),
        (None, Some(minutes)) => (whole(minutes, "minutes")?, "minutes", MINUTE_MS),
        (None, None) => return Err(Problem::field("/seconds", "missing_field", "by how many seconds, or minutes")),
    };
    match number.checked_mul(unit_ms) {
        Some(ms) if (1..=MAX_DURATION_MS).contains(&ms) => Ok(ms),
        _ => Err(Problem::field(format!("/{field}"), "out_of_range", "more than none, and at most eight hours")),
    }
}

/// What a PATCH changes.
///
/// # Errors
/// 422 naming every field that is wrong.
pub(super) fn change(request: &ChangeRequest, settings: &Settings, now_ms: i64) -> Result<Change, Problem> {
    let mut wrong = Wrong::default();
    let starts_ms = wrong.or_none(starts(request, settings, now_ms));
    let duration_ms = wrong.or_none(duration(request, settings));
    let caller = wrong.party(request.caller.as_ref(), Role::Caller);
    let receiver = wrong.party(request.receiver.as_ref(), Role::Receiver);
    wrong.none_or(Change { caller, receiver, starts_ms, duration_ms })
}

/// The id of a person.
fn uid(value: &Value) -> Result<String, Mistake> {
    let expected = Mistake { code: "invalid", message: "the application's id of a person" };
    let uid = text_of(value).ok_or(expected)?;
    match reading::line(&uid)? {
        "" => Err(expected),
        uid => Ok(uid.to_owned()),
    }
}

/// Fields that are wrong, to be told all at once.
#[derive(Default)]
struct Wrong(Option<Problem>);

impl Wrong {
    fn note(&mut self, field: &str, code: &str, message: &str) {
        self.0 = Some(match self.0.take() {
            Some(problem) => problem.and(field, code, message),
            None => Problem::field(field, code, message),
        });
    }

    fn or_none<T>(&mut self, read: Result<Option<T>, Problem>) -> Option<T> {
        read.unwrap_or_else(|problem| {
            for error in &problem.errors {
                self.note(&error.pointer, &error.code, &error.message);
            }
            None
        })
    }

    fn none_or<T>(self, good: T) -> Result<T, Problem> {
        self.0.map_or(Ok(good), Err)
    }

    /// What was read of a party's field, or none when that is refused.
    fn good<T>(&mut self, role: Role, field: &str, read: Result<T, Mistake>) -> Option<T> {
        let pointer = format!("/{}/{field}", role.as_str());
        read.map_err(|Mistake { code, message }| self.note(&pointer, code, message)).ok()
    }

    /// What changes of one of the two. Another person is taken for somebody of whom nothing is known yet.
    fn party(&mut self, request: Option<&PartyRequest>, role: Role) -> PartyChange {
        let Some(PartyRequest { uid: person, name, number, email, call_type }) = request else {
            return PartyChange::default();
        };
        let number = number.as_ref().map(|number| match text_of(number) {
            Some(text) => reading::number(&text),
            None => Err(Mistake { code: "invalid_number", message: "a number, best as +442071838750" }),
        });
        let or_none = Option::unwrap_or_default;
        let uid = person.as_ref().and_then(|person| self.good(role, "uid", uid(person)));
        let name = name.as_deref().and_then(|name| self.good(role, "name", reading::line(name).map(str::to_owned)));
        let number: Option<String> = number.and_then(|read| self.good(role, "number", read.map(or_none)));
        let has_number = number.as_ref().is_some_and(|number| !number.is_empty());
        PartyChange {
            person: uid.map(|uid| Party {
                uid,
                name: String::new(),
                number: None,
                email: None,
                call_type: if has_number { CallType::Phone } else { CallType::Browser },
            }),
            name,
            number,
            email: email.as_deref().and_then(|email| self.good(role, "email", reading::email(email).map(or_none))),
            call_type: call_type.as_deref().and_then(|word| self.good(role, "call_type", reading::call_type(word))),
        }
    }
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string()),
        _ => None,
    }
}

fn starts(request: &ChangeRequest, settings: &Settings, now_ms: i64) -> Result<Option<i64>, Problem> {
    let Some(text) = &request.start_at else { return Ok(None) };
    let named = request.time_zone.as_deref().unwrap_or(&settings.time_zone);
    let zone = zones::parse_zone(named).ok_or_else(|| {
        Problem::field("/time_zone", "unknown_timezone", "the IANA name of a time zone, such as Europe/London")
    })?;
    let invalid = Mistake { code: "invalid", message: start_at::EXPECTED };
    let start = start_at::read(text, &zone).ok_or(invalid).and_then(|start| reading::start(start.at_ms, now_ms));
    start.map(Some).map_err(|Mistake { code, message }| Problem::field("/start_at", code, message))
}

fn duration(request: &ChangeRequest, settings: &Settings) -> Result<Option<i64>, Problem> {
    let (value, field, unit) = match (&request.duration_seconds, &request.duration) {
        (Some(seconds), _) => (seconds, "duration_seconds", DurationUnit::Seconds),
        (None, Some(duration)) => (duration, "duration", settings.duration_unit),
        (None, None) => return Ok(None),
    };
    match whole(value, field)?.checked_mul(unit.ms()) {
        Some(ms) if (MIN_DURATION_MS..=MAX_DURATION_MS).contains(&ms) => Ok(Some(ms)),
        _ => Err(Problem::field(format!("/{field}"), "out_of_range", "from 1 to 480 minutes")),
    }
}
