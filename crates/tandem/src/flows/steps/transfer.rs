//! `transfer`: hands the customer to another number for good. Nothing follows it in the flow.

use voice::cause::Cause;

use super::{Context, Exit, Turn};
use crate::flows::{check::fields::Fields, machine::Effect, template::Template};

/// Configuration of a `transfer` step.
#[derive(Debug, Clone, PartialEq)]
pub struct Transfer {
    /// The number.
    pub to: Template,
}

impl Transfer {
    pub(super) fn read(fields: &mut Fields<'_>) -> Self {
        Self { to: fields.required("to", Fields::number) }
    }

    pub(super) fn start(&self, context: &mut Context<'_>) -> Turn {
        Turn::Done(match self.to.number(context.variables) {
            Ok(to) => {
                context.push(Effect::Transfer { to });
                Exit::handed_over()
            }
            Err(error) => Exit { error: Some(error.to_string()), ..Exit::last("failed", Cause::InvalidNumber) },
        })
    }
}
