//! `transfer`: hands the customer to another number for good. Nothing follows it in the flow.

use voice::cause::Cause;

use super::{Context, Exit, Running, Turn};
use crate::flows::{
    check::fields::Fields,
    machine::{Effect, Input},
    template::Template,
};

/// Configuration of a `transfer` step.
#[derive(Debug, Clone, PartialEq)]
pub struct Transfer {
    /// The number.
    pub to: Template,
}

impl Transfer {
    pub(super) fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            to: fields.required("to", Fields::number),
        }
    }

    pub(super) fn start(&self, context: &mut Context<'_>) -> Turn {
        match self.to.number(context.variables) {
            Ok(to) => {
                context.push(Effect::Transfer { to });
                Turn::Wait(Box::new(Transferring))
            }
            Err(error) => Turn::Done(Exit {
                error: Some(error.to_string()),
                ..Exit::last("failed", Cause::InvalidNumber)
            }),
        }
    }
}

struct Transferring;

impl Running for Transferring {
    fn on(&mut self, input: &Input, _context: &mut Context<'_>) -> Option<Exit> {
        match input {
            Input::Transferred { cause: None } => Some(Exit::last("completed", Cause::Normal)),
            Input::Transferred { cause: Some(cause) } => Some(Exit {
                error: Some(cause.as_str().to_owned()),
                ..Exit::last("failed", *cause)
            }),
            _ => None,
        }
    }
}
