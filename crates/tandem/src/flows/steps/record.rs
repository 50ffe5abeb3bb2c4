//! `record`: starts, stops, pauses or resumes the recording of the call.

use super::{Context, Exit, Running, Turn, announcement::Announcing};
use crate::flows::{
    check::fields::Fields,
    machine::{Input, RecordAction},
};

/// Configuration of a `record` step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// What to do.
    pub action: RecordAction,
}

impl Record {
    pub(super) fn read(fields: &mut Fields<'_>) -> Self {
        if fields.value("action").is_none() {
            fields.missing("action");
        }
        let words = [
            ("start", RecordAction::Start),
            ("stop", RecordAction::Stop),
            ("pause", RecordAction::Pause),
            ("resume", RecordAction::Resume),
        ];
        Self { action: fields.choice("action", &words, RecordAction::Start) }
    }

    pub(super) fn start(self, context: &mut Context<'_>) -> Turn {
        let announcing = if self.action == RecordAction::Start { context.announce() } else { None };
        match announcing {
            Some(announcing) => Turn::Wait(Box::new(Beginning { announcing })),
            None => {
                context.record(self.action);
                Turn::Done(Exit::completed())
            }
        }
    }
}

/// The customer hears that he is going to be recorded.
struct Beginning {
    announcing: Announcing,
}

impl Running for Beginning {
    fn on(&mut self, input: &Input, context: &mut Context<'_>) -> Option<Exit> {
        self.announcing.on(input, context.out).then(|| {
            context.record(RecordAction::Start);
            Exit::completed()
        })
    }
}
