//! `call`: dials the customer. Always the first step; the shell places the call before the machine starts.

use voice::cause::Cause;

use super::{Context, Exit, Running, Turn};
use crate::flows::{
    check::fields::Fields,
    machine::Input,
    template::{FillError, Template, Variables},
};

/// Longest call, in seconds.
pub(super) const MAX_TIME: u32 = 86_400;
pub(super) const EDGES: &[&str] = &["busy", "no_answer", "failed"];

/// Configuration of a `call` step.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Whom to dial.
    pub number: Template,
    /// The caller id wished for.
    pub caller_id: Option<Template>,
    /// How long it rings, in milliseconds.
    pub timeout_ms: u32,
    /// How long the whole call may last from the answer on, in seconds.
    pub time_limit_s: u32,
}

impl Call {
    pub(super) fn read(fields: &mut Fields<'_>) -> Self {
        let number = fields.required("number", Fields::number);
        Self {
            caller_id: fields.caller_id(Some(&number)),
            timeout_ms: fields.seconds("timeout", 5.0..=600.0, 60.0),
            time_limit_s: fields.integer("time_limit", 1..=MAX_TIME, 14_400),
            number,
        }
    }
}

/// What the shell dials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placing {
    /// The number.
    pub number: String,
    /// The caller id wished for.
    pub caller_id: Option<String>,
    /// How long it rings, in milliseconds.
    pub timeout_ms: i64,
    /// How long the call may last from the answer on, in milliseconds.
    pub time_limit_ms: i64,
}

impl Call {
    /// The call to place, to another number if one is given; no variable has a value yet, so a number with a template
    /// cannot be dialled.
    ///
    /// # Errors
    /// [`FillError`].
    pub fn placing(&self, to: Option<&str>) -> Result<Placing, FillError> {
        let none = Variables::default();
        Ok(Placing {
            number: to.map_or_else(|| self.number.number(&none), |to| Ok(to.to_owned()))?,
            caller_id: self.caller_id.as_ref().and_then(|id| id.number(&none).ok()),
            timeout_ms: self.timeout_ms.into(),
            time_limit_ms: i64::from(self.time_limit_s) * 1000,
        })
    }
}

pub(super) fn start() -> Turn {
    Turn::Wait(Box::new(Dialling))
}

struct Dialling;

impl Running for Dialling {
    fn on(&mut self, input: &Input, _context: &mut Context<'_>) -> Option<Exit> {
        match input {
            Input::Answered => Some(Exit::by("answered")),
            Input::NotAnswered { cause } => Some(match cause {
                Cause::Busy => Exit::last("busy", Cause::Busy),
                Cause::NoAnswer => Exit::last("no_answer", Cause::NoAnswer),
                other => Exit::last("failed", *other),
            }),
            _ => None,
        }
    }
}
