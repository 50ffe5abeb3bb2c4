//! Runs that the command line orders beside a running server: a row of work that the server takes.
//! Invariant: an order is carried out once, the end of its job being committed with the run's row.

use std::sync::Arc;

use calls::CallError;
use futures_util::{FutureExt as _, future::BoxFuture};
use kernel::{DbError, Job, JobHandler, JobOutcome};
use serde::Deserialize;
use serde_json::Value;

use super::{
    Flows, LaunchError, Order, Purpose,
    lenient::Reading,
    store::{self, Origin},
};

/// Kind of the jobs.
pub(super) const JOB_KIND: &str = "flow.start";
/// Pause before an order that a limit refused is tried again, in milliseconds.
const BUSY_MS: i64 = 5_000;

/// What the command line wrote.
#[derive(Debug, Deserialize)]
struct Ordered {
    run: String,
    /// A saved flow,
    flow: Option<String>,
    /// or a body that was checked.
    body: Option<Value>,
    to: Option<String>,
}

/// Takes orders.
pub(super) struct Orders(pub(super) Flows);

impl JobHandler for Orders {
    fn run(&self, job: Job) -> BoxFuture<'_, JobOutcome> {
        async move {
            match self.carry_out(&job).await {
                Ok(()) => JobOutcome::Done,
                Err(LaunchError::Call(CallError::Limit(_))) => {
                    JobOutcome::Again { at_ms: self.0.kernel().clock.now_ms() + BUSY_MS }
                }
                // Somebody else took it in the same moment.
                Err(LaunchError::Call(CallError::Db(DbError::Conflict))) => JobOutcome::Done,
                Err(error) => {
                    tracing::warn!(org = %job.org, run = %job.key, %error, "a run that the command line ordered did not begin");
                    JobOutcome::Done
                }
            }
        }
        .boxed()
    }
}

impl Orders {
    async fn carry_out(&self, job: &Job) -> Result<(), LaunchError> {
        let flows = &self.0;
        let kernel = flows.kernel();
        let Ok(ordered) = serde_json::from_value::<Ordered>(job.payload.clone()) else {
            return Err(LaunchError::Gone);
        };
        let (body, origin) = match (ordered.flow, ordered.body) {
            (Some(id), _) => {
                let saved =
                    store::one(&kernel.db, &job.org, &id).await.map_err(CallError::Db)?.ok_or(LaunchError::Gone)?;
                let body =
                    store::with_secrets(kernel, saved.body.unwrap_or_default()).map_err(|_| LaunchError::Gone)?;
                (body, Origin::Saved { flow: saved.id, version: saved.version })
            }
            (None, Some(body)) => {
                let opened = store::with_secrets(kernel, body.clone()).map_err(|_| LaunchError::Gone)?;
                (opened, Origin::Posted(store::without_secrets(body)))
            }
            (None, None) => return Err(LaunchError::Gone),
        };
        let reading = Reading { value: body, lenient: false };
        let (flow, _) = flows.judge(&job.org, &reading, Purpose::Save).await.map_err(CallError::from)?;
        let flow = flow.ok_or(LaunchError::Gone)?;
        let org = kernel.org_by_id(&job.org).await.map_err(CallError::Org)?.ok_or(LaunchError::Gone)?;
        let order =
            Order { to: ordered.to, run: Some(ordered.run), writes: vec![job.done_write()], ..Order::of(origin) };
        flows.launch(&org, Arc::new(flow), order).await?;
        Ok(())
    }
}
