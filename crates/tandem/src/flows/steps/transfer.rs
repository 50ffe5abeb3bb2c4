//! `transfer`: hands the customer to another number for good. Nothing follows it in the flow.

use voice::cause::Cause;

use super::{Context, Exit, Running, Turn, prompt::Piece};
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
        Self { to: fields.required("to", Fields::number) }
    }

    pub(super) fn start(&self, context: &mut Context<'_>) -> Turn {
        let to = match self.to.number(context.variables) {
            Ok(to) => to,
            Err(error) => {
                return Turn::Done(Exit {
                    error: Some(error.to_string()),
                    ..Exit::last("failed", Cause::InvalidNumber)
                });
            }
        };
        // Whoever takes over a recorded call hears first that it is.
        let announcement = if *context.recording { Piece::announcement(context) } else { None };
        match announcement {
            Some(announcement) => Turn::Wait(Box::new(Preparing { to, announcement })),
            None => Turn::Done(hand_over(to, None, context)),
        }
    }
}

fn hand_over(to: String, whisper: Option<u64>, context: &mut Context<'_>) -> Exit {
    context.push(Effect::Transfer { to, whisper });
    Exit::handed_over()
}

struct Preparing {
    to: String,
    announcement: Piece,
}

impl Running for Preparing {
    fn on(&mut self, input: &Input, context: &mut Context<'_>) -> Option<Exit> {
        self.announcement.on(input, context);
        let settled = self.announcement.is_settled();
        settled.then(|| hand_over(self.to.clone(), self.announcement.ready(), context))
    }
}
