//! An order as an application posts it: nested or flat names, form or JSON, read into what a meeting is made of.
//! Invariant: all mistakes are told at once, each with a pointer to where it stands; what is not understood is told as a
//! warning and changes nothing. Source: docs/contracts/meetings.md, "Behaviour"; document 000.

mod fields;
#[cfg(test)]
mod tests;

use kernel::problem::FieldError;
use kernel::zones::{self, Dst, Zone};
use serde::Serialize;
use utoipa::ToSchema;

use super::model::{CallType, MAX_DURATION_MS, MIN_DURATION_MS, Party, Role, Settings};
use super::reading::{self, Mistake};
use super::{Order, start_at};
use fields::Found;
pub use fields::{Fields, MAX_FIELDS};

/// Unknown names that are told.
const MAX_TOLD: usize = 10;

/// An order that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Understood {
    /// What can become a meeting.
    pub order: Order,
    /// What was taken otherwise than it may have been meant.
    pub warnings: Vec<Warning>,
}

/// Something that an order's sender should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Warning {
    /// Stable name.
    pub code: String,
    /// For people.
    pub message: String,
}

impl Warning {
    /// A warning of this name.
    #[must_use]
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into() }
    }
}

/// The names of what is read: as the request line of document 000 writes it, then those of its table.
mod names {
    pub(super) const UID_CALLER: &[&str] = &["user[uid_caller]", "uniq_caller_id"];
    pub(super) const UID_RECEIVER: &[&str] = &["user[uid_receiver]", "uniq_receiver_id"];
    pub(super) const ORDER_ID: &[&str] = &["meeting[order_id]", "order_id"];
    pub(super) const DURATION: &[&str] = &["meeting[duration]", "duration"];
    pub(super) const DURATION_SECONDS: &[&str] = &["meeting[duration_seconds]", "duration_seconds"];
    pub(super) const START_AT: &[&str] = &["meeting[start_at]", "start_at"];
    pub(super) const TIME_ZONE: &[&str] = &["meeting[time_zone]", "time_zone"];
    pub(super) const CALLER_NAME: &[&str] = &["caller[name]", "name_of_caller"];
    /// `nubmber`: so printed.
    pub(super) const CALLER_NUMBER: &[&str] = &["caller[number]", "number_of_caller", "nubmber"];
    pub(super) const CALLER_EMAIL: &[&str] = &["caller[email]", "email_of_caller"];
    pub(super) const CALLER_TYPE: &[&str] = &["caller[call_type]", "call_type_of_caller"];
    pub(super) const RECEIVER_NAME: &[&str] = &["receiver[name]", "name_of_receiver"];
    pub(super) const RECEIVER_NUMBER: &[&str] = &["receiver[number]", "number_of_receiver", "number"];
    pub(super) const RECEIVER_EMAIL: &[&str] = &["receiver[email]", "email_of_receiver"];
    pub(super) const RECEIVER_TYPE: &[&str] = &["receiver[call_type]", "call_type_of_receiver"];
    pub(super) const ALL: &[&[&str]] = &[
        UID_CALLER,
        UID_RECEIVER,
        ORDER_ID,
        DURATION,
        DURATION_SECONDS,
        START_AT,
        TIME_ZONE,
        CALLER_NAME,
        CALLER_NUMBER,
        CALLER_EMAIL,
        CALLER_TYPE,
        RECEIVER_NAME,
        RECEIVER_NUMBER,
        RECEIVER_EMAIL,
        RECEIVER_TYPE,
    ];
}

/// Reads an order.
///
/// # Errors
/// Everything that is wrong with it.
pub fn read(fields: &Fields, settings: &Settings, now_ms: i64) -> Result<Understood, Vec<FieldError>> {
    let mut intake = Intake { fields, errors: fields.mistakes().to_vec(), warnings: Vec::new() };
    let order_id = intake.required(names::ORDER_ID);
    let caller = intake.party(Role::Caller);
    let receiver = intake.party(Role::Receiver);
    if intake.is_same_person() {
        intake.refuse_at(names::UID_RECEIVER, reading::SAME_PERSON.code, reading::SAME_PERSON.message);
    }
    let duration_ms = intake.duration(settings);
    let starts_ms = intake.start(settings, now_ms);
    intake.tell_unknown();
    let Intake { errors, warnings, .. } = intake;
    match (order_id, caller, receiver, duration_ms) {
        (Some(order_id), Some(caller), Some(receiver), Some(duration_ms)) if errors.is_empty() => {
            let order = Order { order_id, caller, receiver, starts_ms, duration_ms };
            Ok(Understood { order, warnings })
        }
        _ => Err(errors),
    }
}

/// An order that is being read.
struct Intake<'a> {
    fields: &'a Fields,
    errors: Vec<FieldError>,
    warnings: Vec<Warning>,
}

impl Intake<'_> {
    fn refuse(&mut self, pointer: String, code: &str, message: impl Into<String>) {
        self.errors.push(FieldError { pointer, code: code.to_owned(), message: message.into() });
    }

    /// Refuses what stands under one of these names, or should.
    fn refuse_at(&mut self, names: &[&str], code: &str, message: &str) {
        self.refuse(self.fields.pointer_of(names), code, message);
    }

    /// What was read, or none when that is refused.
    fn good<T>(&mut self, pointer: String, read: Result<T, Mistake>) -> Option<T> {
        read.map_err(|Mistake { code, message }| self.refuse(pointer, code, message)).ok()
    }

    /// A line of text; none when it is absent, empty or refused.
    fn text(&mut self, names: &[&str]) -> Option<String> {
        let Found { pointer, text } = self.fields.find(names)?;
        let text = self.good(pointer, reading::line(text))?;
        Some(text.to_owned()).filter(|text| !text.is_empty())
    }

    fn required(&mut self, names: &[&str]) -> Option<String> {
        let known = self.errors.len();
        let text = self.text(names);
        if text.is_none() && self.errors.len() == known {
            self.refuse_at(names, "required", "this is needed");
        }
        text
    }

    /// Whether both are one, whatever else is wrong with them.
    fn is_same_person(&self) -> bool {
        let uid = |names| self.fields.find(names).map(|found| found.text.trim()).filter(|uid| !uid.is_empty());
        uid(names::UID_CALLER).is_some_and(|caller| uid(names::UID_RECEIVER) == Some(caller))
    }

    fn party(&mut self, role: Role) -> Option<Party> {
        let (uid, name, number, email, kind) = match role {
            Role::Caller => {
                (names::UID_CALLER, names::CALLER_NAME, names::CALLER_NUMBER, names::CALLER_EMAIL, names::CALLER_TYPE)
            }
            Role::Receiver => (
                names::UID_RECEIVER,
                names::RECEIVER_NAME,
                names::RECEIVER_NUMBER,
                names::RECEIVER_EMAIL,
                names::RECEIVER_TYPE,
            ),
        };
        let uid = self.required(uid);
        let name = self.text(name).unwrap_or_default();
        let email = self.email(email);
        let known = self.errors.len();
        let number_names = number;
        let number = self.number(number_names);
        let number_is_wrong = self.errors.len() > known;
        let call_type = self.call_type(kind, number.is_some());
        if call_type == Some(CallType::Phone) && number.is_none() && !number_is_wrong {
            self.refuse_at(number_names, "required", "who talks by phone needs a number");
        }
        Some(Party { uid: uid?, name, number, email, call_type: call_type? })
    }

    fn number(&mut self, names: &[&str]) -> Option<String> {
        let Found { pointer, text } = self.fields.find(names)?;
        // A form that was not encoded carries the + as a space.
        let said = match text.strip_prefix(' ') {
            Some(rest) if self.fields.is_form() && rest.trim_start().starts_with(|c: char| c.is_ascii_digit()) => {
                format!("+{}", rest.trim())
            }
            _ => text.trim().to_owned(),
        };
        self.good(pointer, reading::number(&said)).flatten()
    }

    fn email(&mut self, names: &[&str]) -> Option<String> {
        let Found { pointer, text } = self.fields.find(names)?;
        self.good(pointer, reading::email(text)).flatten()
    }

    fn call_type(&mut self, names: &[&str], has_number: bool) -> Option<CallType> {
        let unsaid = if has_number { CallType::Phone } else { CallType::Browser };
        let Some(Found { pointer, text }) = self.fields.find(names).filter(|found| !found.text.trim().is_empty())
        else {
            return Some(unsaid);
        };
        self.good(pointer, reading::call_type(text))
    }

    fn duration(&mut self, settings: &Settings) -> Option<i64> {
        let seconds = self.fields.find(names::DURATION_SECONDS).filter(|found| !found.text.trim().is_empty());
        let found = match seconds {
            Some(found) => Some((found, 1_000)),
            None => self
                .fields
                .find(names::DURATION)
                .filter(|found| !found.text.trim().is_empty())
                .map(|found| (found, settings.duration_unit.ms())),
        };
        let Some((Found { pointer, text }, unit_ms)) = found else {
            self.refuse_at(names::DURATION, "required", "how long the two may talk");
            return None;
        };
        let duration_ms = duration(text, unit_ms);
        if duration_ms.is_none() {
            let unit = if unit_ms == 1_000 { "seconds" } else { "minutes" };
            self.refuse(pointer, "out_of_range", format!("1 to 480 minutes, here in {unit}"));
        }
        duration_ms
    }

    fn start(&mut self, settings: &Settings, now_ms: i64) -> Option<i64> {
        let zone = self.zone(settings);
        let Found { pointer, text } =
            self.fields.find(names::START_AT).filter(|found| !found.text.trim().is_empty())?;
        // What is no time in any zone is told beside a zone that there is not.
        let any = zone.clone().or_else(|| zones::parse_zone("UTC"))?;
        let Some(start) = start_at::read(text, &any) else {
            self.refuse(pointer, "invalid", start_at::EXPECTED);
            return None;
        };
        zone?;
        self.good(pointer, reading::start(start.at_ms, now_ms))?;
        if start.at_ms < now_ms {
            self.warnings.push(Warning::new("start_in_past", "the start is over: the meeting is open at once"));
        }
        match start.dst {
            Some(Dst::Gap) => self.warnings.push(Warning::new("start_at_gap", "the clocks skip this time: moved on")),
            Some(Dst::Fold) => {
                self.warnings.push(Warning::new("start_at_fold", "this time exists twice: the first is meant"));
            }
            None => {}
        }
        Some(start.at_ms)
    }

    /// The zone that the order names, else the application's.
    fn zone(&mut self, settings: &Settings) -> Option<Zone> {
        let named = self.fields.find(names::TIME_ZONE).filter(|found| !found.text.trim().is_empty());
        let Some(Found { pointer, text }) = named else {
            return zones::parse_zone(&settings.time_zone).or_else(|| zones::parse_zone("UTC"));
        };
        let zone = zones::parse_zone(text.trim());
        if zone.is_none() {
            self.refuse(pointer, "unknown_timezone", "the IANA name of a time zone, such as Europe/London");
        }
        zone
    }

    fn tell_unknown(&mut self) {
        let known = |name: &str| names::ALL.iter().any(|names| names.contains(&name));
        let unknown: Vec<&str> = self.fields.names().filter(|name| !known(name)).take(MAX_TOLD).collect();
        if !unknown.is_empty() {
            let message = format!("not understood, and without effect: {}", unknown.join(", "));
            self.warnings.push(Warning::new("unknown_field", message));
        }
    }
}

/// A whole number of a unit, as the longest talk in milliseconds; none when it is out of range.
#[must_use]
pub fn duration(text: &str, unit_ms: i64) -> Option<i64> {
    let text = text.trim();
    let whole = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let duration_ms = text.parse::<i64>().ok().filter(|_| whole)?.checked_mul(unit_ms)?;
    (MIN_DURATION_MS..=MAX_DURATION_MS).contains(&duration_ms).then_some(duration_ms)
}
