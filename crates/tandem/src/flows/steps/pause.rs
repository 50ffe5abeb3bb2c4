//! `pause`: waits in silence.

use super::{Context, Exit, Running, Turn};
use crate::flows::{check::fields::Fields, machine::Input};

/// Configuration of a `pause` step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    /// How long, in milliseconds.
    pub duration_ms: u32,
}

impl Pause {
    pub(super) fn read(fields: &mut Fields<'_>) -> Self {
        if fields.value("seconds").is_none() {
            fields.missing("seconds");
        }
        Self { duration_ms: fields.seconds("seconds", 1.0..=600.0, 1.0) }
    }

    pub(super) fn start(self, context: &Context<'_>) -> Turn {
        Turn::Wait(Box::new(Pausing { until_ms: context.now_ms + i64::from(self.duration_ms) }))
    }
}

struct Pausing {
    until_ms: i64,
}

impl Running for Pausing {
    fn on(&mut self, _input: &Input, context: &mut Context<'_>) -> Option<Exit> {
        (context.now_ms >= self.until_ms).then(Exit::completed)
    }

    fn deadline(&self) -> Option<i64> {
        Some(self.until_ms)
    }
}
