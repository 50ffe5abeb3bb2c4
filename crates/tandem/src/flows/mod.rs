//! Desk of call flows (document 003): a JSON list of steps runs on a real call.
//!
//! The rules are pure: `lenient` reads, `check` judges, `template` fills, `zones` and `due` tell times, `machine` runs
//! the steps. Around them stand `run` (a machine on a call), `callbacks` (their jobs), `attempt` (their calls), `sounds`, `store` and `api`.

pub mod api;
mod attempt;
mod callbacks;
mod check;
pub mod due;
mod effect;
mod launch;
pub mod lenient;
pub mod machine;
pub mod model;
mod orders;
mod questions;
mod run;
pub mod sounds;
mod step_sounds;
pub mod steps;
pub mod store;
pub mod template;
pub mod zones;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use calls::{Calls, InboundKind};
use kernel::Kernel;
use voice::speech::Speech;

pub use check::{Ask, Checked, Problem, Purpose, Question, Report, check};
pub use launch::{LaunchError, Launched, Order};

use self::{callbacks::Callbacks, launch::Inbound, orders::Orders, sounds::Sounds};

/// The desk. Cheap to clone.
#[derive(Clone)]
pub struct Flows(Arc<Inner>);

struct Inner {
    kernel: Kernel,
    calls: Calls,
    sounds: Sounds,
}

impl Flows {
    /// Takes the callbacks' jobs and the calls to numbers that lead to flows. Call it before `Kernel::start`, so that
    /// no job waits for its handler.
    #[must_use]
    pub fn start(kernel: &Kernel, calls: &Calls, speech: &Speech) -> Self {
        let sounds = Sounds::new(speech.clone(), kernel.egress.clone(), kernel.tasks.clone(), kernel.clock.clone());
        let flows = Self(Arc::new(Inner { kernel: kernel.clone(), calls: calls.clone(), sounds }));
        kernel.jobs.register(callbacks::JOB_KIND, Arc::new(Callbacks::new(flows.clone())));
        kernel.jobs.register(orders::JOB_KIND, Arc::new(Orders(flows.clone())));
        calls.on_inbound(InboundKind::Flow, Arc::new(Inbound(flows.clone())));
        flows
    }

    pub(crate) fn kernel(&self) -> &Kernel {
        &self.0.kernel
    }

    pub(crate) fn calls(&self) -> &Calls {
        &self.0.calls
    }

    pub(crate) fn sounds(&self) -> &Sounds {
        &self.0.sounds
    }
}
