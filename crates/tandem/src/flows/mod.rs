//! Desk of call flows (document 003): a JSON list of steps runs on a real call.
//!
//! The rules are pure: `kernel::lenient` reads, `check` judges, `template` fills, `due` tells times, `machine` runs
//! the steps. Around them stand `run` (a machine on a call), `shelf` (flows ready to run), `callbacks` (their jobs), `attempt` (their
//! calls), `cancel` (their calling off), `sounds`, `store` and `api`.

mod answering;
pub mod api;
mod asking;
mod attempt;
mod callbacks;
mod cancel;
mod check;
pub mod drawing;
pub mod due;
mod effect;
mod launch;
pub mod machine;
pub mod model;
mod orders;
pub(crate) mod path;
mod port;
mod questions;
mod run;
mod shelf;
pub mod sounds;
mod step_sounds;
pub mod steps;
pub mod store;
mod stream;
pub mod template;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use calls::{CallState, Calls, InboundKind};
use futures_util::{FutureExt as _, future::BoxFuture};
use kernel::{DbError, Kernel, retention::Runs};
use voice::speech::Speech;

pub use cancel::CancelError;
pub use kernel::lenient;

pub use check::{Ask, Checked, Problem, Purpose, Question, Report, check};
pub use launch::{LaunchError, Launched, Order};
pub use questions::{Judge, check_reading};
pub use store::sweeps;

use self::{callbacks::Callbacks, launch::Inbound, orders::Orders, shelf::Shelf, sounds::Sounds};

/// The desk. Cheap to clone.
#[derive(Clone)]
pub struct Flows(Arc<Inner>);

struct Inner {
    kernel: Kernel,
    calls: Calls,
    sounds: Sounds,
    shelf: Shelf,
}

impl Flows {
    /// Takes the callbacks' jobs and the calls to numbers that lead to flows. Call it before `Kernel::start`, so that
    /// no job waits for its handler.
    #[must_use]
    pub fn start(kernel: &Kernel, calls: &Calls, speech: &Speech) -> Self {
        let sounds = Sounds::new(speech.clone(), kernel.egress.clone(), kernel.tasks.clone(), kernel.clock.clone());
        let shelf = Shelf::default();
        let flows = Self(Arc::new(Inner { kernel: kernel.clone(), calls: calls.clone(), sounds, shelf }));
        kernel.jobs.register(callbacks::JOB_KIND, Arc::new(Callbacks::new(flows.clone())));
        kernel.jobs.register(orders::JOB_KIND, Arc::new(Orders(flows.clone())));
        calls.on_inbound(InboundKind::Flow, Arc::new(Inbound(flows.clone())));
        flows
    }

    /// Brings what waits up to date with this release. Call it before `Kernel::start`.
    ///
    /// # Errors
    /// What the store says.
    pub async fn recover(&self) -> Result<(), DbError> {
        store::end_lost_runs(self.kernel()).await?;
        Callbacks::new(self.clone()).recompute().await
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

    fn shelf(&self) -> &Shelf {
        &self.0.shelf
    }
}

/// A run may have more to tell as long as its call is up or a callback that it booked is not over.
impl Runs for Flows {
    fn is_open<'a>(&'a self, org: &'a str, run: &'a str) -> BoxFuture<'a, Result<bool, DbError>> {
        async move {
            let db = &self.0.kernel.db;
            if store::has_open_callback(db, org, run).await? {
                return Ok(true);
            }
            let Some(call) = store::call_of_run(db, org, run).await? else {
                return Ok(false);
            };
            if call.is_empty() {
                return Ok(store::run(db, org, run)
                    .await?
                    .is_some_and(|run| run.room.is_some() && run.ended_ms.is_none()));
            }
            Ok(self.0.calls.get(org, &call).await?.is_some_and(|call| call.state != CallState::Completed))
        }
        .boxed()
    }
}
