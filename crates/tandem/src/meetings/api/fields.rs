//! Fields of bodies that may be numbers or texts.

use kernel::{Problem, zones};
use serde_json::Value;

use super::actions::{ChangeRequest, PartyChange};
use crate::meetings::model::{
    CallType, Change, DurationUnit, MAX_DURATION_MS, MIN_DURATION_MS, Meeting, Party, Role, Settings,
};
use crate::meetings::start_at;

/// Longest name, in characters.
const MAX_NAME: usize = 200;
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
pub(super) fn change(request: &ChangeRequest, meeting: &Meeting, settings: &Settings) -> Result<Change, Problem> {
    let mut wrong = Wrong::default();
    let starts_ms = wrong.or_none(starts(request, settings));
    let duration_ms = wrong.or_none(duration(request, settings));
    let caller = wrong.party(request.caller.as_ref(), meeting, Role::Caller);
    let receiver = wrong.party(request.receiver.as_ref(), meeting, Role::Receiver);
    if caller.as_ref().unwrap_or(&meeting.caller).uid == receiver.as_ref().unwrap_or(&meeting.receiver).uid {
        let field = if receiver.is_some() { "/receiver/uid" } else { "/caller/uid" };
        wrong.note(field, "same_person", "caller and receiver are two people");
    }
    wrong.none_or(Change { caller, receiver, starts_ms, duration_ms })
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

    /// One of the two with what changes of it.
    fn party(&mut self, request: Option<&PartyChange>, meeting: &Meeting, role: Role) -> Option<Party> {
        let PartyChange { uid, name, number, email, call_type } = request?;
        let mut party = meeting.party(role).clone();
        let place = |field: &str| format!("/{}/{field}", role.as_str());
        if let Some(uid) = uid {
            match text_of(uid).filter(|uid| !uid.is_empty() && uid.len() <= MAX_NAME) {
                Some(uid) => party.uid = uid,
                None => self.note(&place("uid"), "invalid", "the application's id of a person"),
            }
        }
        if let Some(name) = name {
            let name = name.trim();
            if name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
                self.note(&place("name"), "invalid", "one line of at most 200 characters");
            }
            name.clone_into(&mut party.name);
        }
        if let Some(number) = number {
            match text_of(number).as_deref().map(number_of) {
                Some(Ok(number)) => party.number = number,
                _ => self.note(&place("number"), "invalid_number", "a number with its country code, or an own one"),
            }
        }
        if let Some(email) = email {
            let email = email.trim();
            let good = email.is_empty() || (email.contains('@') && !email.contains(char::is_whitespace));
            if !good || email.len() > 254 {
                self.note(&place("email"), "invalid", "a mail address");
            }
            party.email = (!email.is_empty()).then(|| email.to_owned());
        }
        if let Some(word) = call_type {
            match CallType::parse(word) {
                Some(call_type) => party.call_type = call_type,
                None => self.note(&place("call_type"), "invalid", "Phone or Browser"),
            }
        }
        if party.call_type == CallType::Phone && party.number.is_none() {
            self.note(&place("number"), "missing_field", "a party that talks by phone has a number");
        }
        Some(party)
    }
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string()),
        _ => None,
    }
}

/// A number as it is dialled; an empty text is none.
fn number_of(text: &str) -> Result<Option<String>, calls::NumberError> {
    use calls::numbers::{Dialled, read};
    if text.is_empty() {
        return Ok(None);
    }
    match read(text)? {
        Dialled::E164 { e164, .. } => Ok(Some(e164)),
        Dialled::Short(number) => Ok(Some(number)),
        Dialled::Sip(_) => Err(calls::NumberError::Invalid),
    }
}

fn starts(request: &ChangeRequest, settings: &Settings) -> Result<Option<i64>, Problem> {
    let Some(text) = &request.start_at else { return Ok(None) };
    let named = request.time_zone.as_deref().unwrap_or(&settings.time_zone);
    let zone = zones::parse_zone(named).ok_or_else(|| {
        Problem::field("/time_zone", "unknown_timezone", "the IANA name of a time zone, such as Europe/London")
    })?;
    let start = start_at::read(text, &zone);
    start.map(|start| Some(start.at_ms)).ok_or_else(|| Problem::field("/start_at", "invalid", start_at::EXPECTED))
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
