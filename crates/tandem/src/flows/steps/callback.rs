//! `callback`: books a call between a person or team and the customer for a wall time in a zone
//! (contracts/flows.md "callback"). It takes no time: the booking is a row, and another day's job dials.

use std::sync::Arc;

use kernel::zones::{self, Due};
use serde_json::json;
use voice::cause::Cause;

use super::{Context, Exit, Running, Turn};
use crate::flows::{
    check::{Ask, Question, fields::Fields},
    machine::{Booked, Booking, Effect, Input},
    model::whole_number,
    template::{Template, is_number, is_sip_uri},
};

pub(super) const EDGES: &[&str] = &["fail"];
/// First attempt and the three retries of [`RETRY_MINUTES`].
const MAX_ATTEMPTS: u32 = 4;
/// Minutes between an attempt that the agent did not answer and the next.
pub const RETRY_MINUTES: [i64; 3] = [2, 5, 15];

/// Configuration of a `callback` step.
#[derive(Debug, Clone, PartialEq)]
pub struct Callback {
    /// `YYYY-MM-DD`.
    pub date: Template,
    /// `HH:MM` or `HH:MM:SS`.
    pub time: Template,
    /// IANA name.
    pub timezone: Template,
    /// The number of a person or a team.
    pub entity: Template,
    /// Who is rung first.
    pub order: Order,
    /// What to do when the time has passed.
    pub on_past: OnPast,
    /// Attempts in all to reach the entity.
    pub attempts: u32,
}

/// Who is rung first when a callback is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The person or team, then the customer.
    EntityFirst,
    /// The customer, then the person or team.
    CustomerFirst,
    /// The team, when it is the turn of the customer, who has waited in its queue; then he.
    InTurn,
}

impl Order {
    /// As the field is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EntityFirst => "entity_first",
            Self::CustomerFirst => "customer_first",
            Self::InTurn => "in_turn",
        }
    }
}

/// What a time in the past means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnPast {
    /// Event callback.skipped, and the flow goes on.
    Skip,
    /// As soon as possible.
    Asap,
    /// The edge `fail`.
    Fail,
}

impl OnPast {
    fn meaning(self) -> &'static str {
        match self {
            Self::Skip => "it is skipped, and the flow goes on",
            Self::Asap => "it is made as soon as possible",
            Self::Fail => "the step fails",
        }
    }
}

impl Callback {
    pub(super) fn read(fields: &mut Fields<'_>) -> Self {
        let timezone = match fields.value("timezone") {
            None => Template::literal("UTC"),
            Some(_) => fields.template("timezone").unwrap_or_else(|| Template::literal("UTC")),
        };
        let callback = Self {
            date: fields.required("date", Fields::template),
            time: fields.required("time", Fields::template),
            timezone,
            entity: fields.required("entity", Fields::integer_template),
            order: fields.choice(
                "order",
                &[("entity_first", Order::EntityFirst), ("customer_first", Order::CustomerFirst)],
                Order::EntityFirst,
            ),
            on_past: fields.choice(
                "on_past",
                &[("skip", OnPast::Skip), ("asap", OnPast::Asap), ("fail", OnPast::Fail)],
                OnPast::Skip,
            ),
            attempts: fields.integer("attempts", 1..=MAX_ATTEMPTS, 3),
        };
        callback.judge(fields);
        callback
    }

    /// Judges what no template leaves open.
    fn judge(&self, fields: &mut Fields<'_>) {
        // A value that could not be read was reported; here only what the author spelled out is judged.
        let given = |fields: &mut Fields<'_>, name, template: &Template| {
            let raw = fields.value(name).and_then(|raw| match raw {
                serde_json::Value::Number(number) => whole_number(number),
                other => other.as_str().map(str::to_owned),
            });
            raw.filter(|raw| template.fixed() == Some(raw))
        };
        let date = given(fields, "date", &self.date);
        let parsed_date = date.as_deref().and_then(zones::parse_date);
        if date.is_some() && parsed_date.is_none() {
            let path = fields.path("date");
            fields.found.report.error("invalid_date", path, "date must be a day of the calendar, YYYY-MM-DD");
        }
        let time = given(fields, "time", &self.time);
        let parsed_time = time.as_deref().and_then(zones::parse_time);
        if time.is_some() && parsed_time.is_none() {
            let path = fields.path("time");
            fields.found.report.error("invalid_time", path, "time must be HH:MM or HH:MM:SS, 00:00:00 to 23:59:59");
        }
        let zone = self.timezone.fixed().and_then(zones::parse_zone);
        let path = fields.path("timezone");
        match (&zone, self.timezone.fixed()) {
            (None, Some(name)) => {
                let message = format!("\"{name}\" is no zone of the IANA database, such as Europe/London");
                fields.found.report.error("unknown_timezone", path, message);
            }
            (Some(zone), _) if zone.fixed_offset => {
                fields.found.report.warn(
                    "fixed_offset_zone",
                    path,
                    "this abbreviation is read as a fixed offset, without daylight saving",
                );
            }
            _ => {}
        }
        if let (Some(date), Some(time), Some(zone)) = (parsed_date, parsed_time, &zone)
            && zones::due(date, time, zone).is_some_and(|due| due.at_ms < fields.found.now_ms)
        {
            let (path, follows) = (fields.here(), self.on_past.meaning());
            let message = format!("the time of this callback has passed: {follows} (on_past)");
            fields.found.report.warn("callback_in_past", path, message);
        }
        if let Some(entity) = given(fields, "entity", &self.entity) {
            let path = fields.path("entity");
            fields.found.questions.push(Question { path: path.into(), ask: Ask::Entity(entity) });
        }
    }

    fn booking(&self, context: &Context<'_>) -> Result<Booking, String> {
        // A caller without a number cannot be called back.
        if !is_number(context.customer) && !is_sip_uri(context.customer) {
            return Err(Cause::InvalidNumber.as_str().to_owned());
        }
        let fill = |template: &Template| template.needed(context.variables).map_err(|error| error.to_string());
        let (date, time, zone) = (fill(&self.date)?, fill(&self.time)?, fill(&self.timezone)?);
        let entity = self.entity.number(context.variables).map_err(|error| error.to_string())?;
        let due = when(&date, &time, &zone)?;
        Ok(Booking {
            step: context.step.id.to_string(),
            date,
            time,
            zone,
            due,
            asap: false,
            entity,
            customer: context.customer.to_owned(),
            order: self.order,
            attempts: self.attempts,
        })
    }
}

/// The instant of texts as the author or a variable gave them.
///
/// # Errors
/// A code of the contract: `invalid_date`, `invalid_time`, `unknown_timezone`.
pub fn when(date: &str, time: &str, zone: &str) -> Result<Due, &'static str> {
    let date = zones::parse_date(date).ok_or("invalid_date")?;
    let time = zones::parse_time(time).ok_or("invalid_time")?;
    let zone = zones::parse_zone(zone).ok_or("unknown_timezone")?;
    zones::due(date, time, &zone).ok_or("invalid_date")
}

pub(super) fn start(callback: &Arc<Callback>, context: &mut Context<'_>) -> Turn {
    let mut booking = match callback.booking(context) {
        Ok(booking) => booking,
        Err(error) => return Turn::Done(Exit::failed("fail", error)),
    };
    if booking.due.at_ms < context.now_ms {
        match callback.on_past {
            OnPast::Skip => {
                context.emit(
                    "callback.skipped",
                    json!({ "reason": "past", "at_utc": kernel::time::rfc3339(booking.due.at_ms) }),
                );
                return Turn::Done(Exit::by("skipped"));
            }
            OnPast::Fail => return Turn::Done(Exit::failed("fail", "the time has passed")),
            OnPast::Asap => {
                booking.asap = true;
                booking.due.at_ms = context.now_ms;
            }
        }
    }
    let due = booking.due;
    context.push(Effect::Book(Box::new(booking)));
    Turn::Wait(Box::new(Waiting { due }))
}

/// Waits for the booking's row.
struct Waiting {
    due: Due,
}

impl Running for Waiting {
    fn on(&mut self, input: &Input, context: &mut Context<'_>) -> Option<Exit> {
        let Input::Booked(booked) = input else {
            return None;
        };
        Some(match booked {
            Booked::Now { key } => {
                let data = json!({
                    "callback": key,
                    "at_utc": kernel::time::rfc3339(self.due.at_ms),
                    "dst": self.due.dst.map(zones::Dst::as_str),
                });
                context.emit("callback.scheduled", data);
                Exit::by("scheduled")
            }
            Booked::Before => Exit::by("already_scheduled"),
            Booked::Refused(reason) => Exit::failed("fail", *reason),
        })
    }
}
