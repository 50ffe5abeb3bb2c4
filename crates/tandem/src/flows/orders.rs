//! Runs that the command line orders beside a running server: a row of work that the server takes.
//! Invariant: an order is carried out once, the end of its job being committed with the run's row; one that cannot be
//! carried out leaves a run that says why.

use std::sync::Arc;

use calls::CallError;
use futures_util::{FutureExt as _, future::BoxFuture};
use kernel::{DbError, Job, JobHandler, JobOutcome, outbox::OutboxError};
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

/// Why an order is not carried out, or not yet.
enum NotBegun {
    /// Not at the moment.
    Later,
    /// The store failed.
    Failed(String),
    /// Somebody else took it in the same moment.
    Taken,
    /// It cannot be carried out, ever.
    Refused { origin: Origin, error: String },
}

impl JobHandler for Orders {
    fn run(&self, job: Job) -> BoxFuture<'_, JobOutcome> {
        async move {
            match self.carry_out(&job).await {
                Ok(()) | Err(NotBegun::Taken) => JobOutcome::Done,
                Err(NotBegun::Later) => JobOutcome::Again { at_ms: self.0.kernel().clock.now_ms() + BUSY_MS },
                Err(NotBegun::Failed(error)) => JobOutcome::Failed(error),
                Err(NotBegun::Refused { origin, error }) => self.refuse(&job, &origin, &error).await,
            }
        }
        .boxed()
    }
}

impl Orders {
    async fn carry_out(&self, job: &Job) -> Result<(), NotBegun> {
        let flows = &self.0;
        let kernel = flows.kernel();
        let ordered: Ordered = serde_json::from_value(job.payload.clone())
            .map_err(|error| refused(Origin::Posted(Value::Null), format!("the order cannot be read: {error}")))?;
        let (body, origin) = self.flow_of(job, ordered.flow, ordered.body).await?;
        let reading = Reading { value: body, lenient: false };
        let (flow, report) = flows.judge(&job.org, &reading, Purpose::Save).await.map_err(failed)?;
        let Some(flow) = flow else {
            let error =
                report.errors.first().map_or_else(String::new, |e| format!("{} at {}: {}", e.code, e.path, e.message));
            return Err(refused(origin, error));
        };
        let Some(org) = kernel.org_by_id(&job.org).await.map_err(failed)? else {
            return Err(NotBegun::Taken);
        };
        let writes = vec![job.done_write()];
        let order = Order { to: ordered.to, run: Some(ordered.run), writes, ..Order::of(origin.clone()) };
        flows.launch(&org, Arc::new(flow), order).await.map(drop).map_err(|error| not_begun(origin, &error))
    }

    /// The flow that was ordered, and where it comes from.
    async fn flow_of(
        &self,
        job: &Job,
        saved: Option<String>,
        body: Option<Value>,
    ) -> Result<(Value, Origin), NotBegun> {
        let kernel = self.0.kernel();
        let (sealed, origin) = match saved {
            None => {
                let body = body.unwrap_or_default();
                (body.clone(), Origin::Posted(store::without_secrets(body)))
            }
            Some(id) => match store::one(&kernel.db, &job.org, &id).await.map_err(failed)? {
                Some(saved) => {
                    let origin = Origin::Saved { flow: saved.id, version: saved.version };
                    (saved.body.unwrap_or_default(), origin)
                }
                None => return Err(refused(Origin::Saved { flow: id, version: 0 }, "the flow is gone".to_owned())),
            },
        };
        match store::with_secrets(kernel, sealed) {
            Ok(body) => Ok((body, origin)),
            Err(error) => Err(refused(origin, error.to_string())),
        }
    }

    /// The command line has named the run already: it is there to be read, with the reason.
    async fn refuse(&self, job: &Job, origin: &Origin, error: &str) -> JobOutcome {
        let kernel = self.0.kernel();
        tracing::warn!(org = %job.org, run = %job.key, %error, "a run that the command line ordered cannot begin");
        let run = store::refused_run_write(&job.org, &job.key, origin, error, kernel.clock.now_ms());
        match kernel.db.writer().commit(vec![run, job.done_write()]).await {
            Ok(_) | Err(DbError::Conflict) => JobOutcome::Done,
            Err(error) => JobOutcome::Failed(error.to_string()),
        }
    }
}

fn refused(origin: Origin, error: String) -> NotBegun {
    NotBegun::Refused { origin, error }
}

fn failed(error: impl std::fmt::Display) -> NotBegun {
    NotBegun::Failed(error.to_string())
}

fn not_begun(origin: Origin, error: &LaunchError) -> NotBegun {
    match error {
        LaunchError::Call(CallError::Limit(_) | CallError::Draining) => NotBegun::Later,
        LaunchError::Call(CallError::Db(DbError::Conflict)) => NotBegun::Taken,
        LaunchError::Call(CallError::Db(_) | CallError::Org(_) | CallError::Lost(_))
        | LaunchError::Publish(OutboxError::Db(_)) => failed(error),
        LaunchError::Call(CallError::Number(_) | CallError::NotFound)
        | LaunchError::NobodyToCall
        | LaunchError::Gone
        | LaunchError::Number(_)
        | LaunchError::Publish(_) => refused(origin, error.to_string()),
    }
}
