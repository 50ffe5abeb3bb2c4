//! `record`: starts, stops, pauses or resumes the recording of the call.

use super::{Context, Exit, Turn};
use crate::flows::{
    check::fields::Fields,
    machine::{Effect, RecordAction},
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
        context.push(Effect::Record(self.action));
        Turn::Done(Exit::completed())
    }
}
