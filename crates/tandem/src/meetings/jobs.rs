//! The one job of a meeting: it comes when time alone changes something.
//!
//! Invariant: a meeting that is not over has a job, due when its model says; both change in one commit. Firing twice
//! changes nothing.

use std::sync::Arc;

use futures_util::{FutureExt as _, future::BoxFuture};
use kernel::{Job, JobHandler, JobOutcome, Write, jobs};
use serde_json::Value;

use super::desk::{Step, Which};
use super::error::MeetingError;
use super::model::{Input, Meeting, Settings};
use super::{Meetings, veto};

/// Kind of the jobs.
pub(super) const JOB_KIND: &str = "meeting";
/// While the application's hook is asked, the job looks after it this much later, in milliseconds.
const WATCH_MS: i64 = 15_000;
/// Pause before a call that a limit refused is tried again, in milliseconds.
const BUSY_MS: i64 = 5_000;
/// A job never comes back at once, in milliseconds.
const LEAST_PAUSE_MS: i64 = 1_000;

/// Schedules the job of a meeting for its next time, or ends it with the meeting.
pub(super) fn write(meeting: &Meeting, settings: &Settings) -> Write {
    let key = format!("{}/{}", meeting.org, meeting.id);
    match meeting.next_due_ms(settings) {
        Some(due_ms) => Job::new(&meeting.org, JOB_KIND, &key, due_ms, Value::Null).schedule_write(),
        None => jobs::cancel_write(JOB_KIND, &key),
    }
}

/// Runs the jobs of meetings.
pub(super) struct Timer(pub(super) Meetings);

impl JobHandler for Timer {
    fn run(&self, job: Job) -> BoxFuture<'_, JobOutcome> {
        async move {
            match self.fire(&job).await {
                Ok(outcome) => outcome,
                // It was deleted.
                Err(MeetingError::NotFound) => JobOutcome::Done,
                Err(MeetingError::Limit(_) | MeetingError::Draining | MeetingError::Busy) => {
                    JobOutcome::Again { at_ms: self.0.now_ms() + BUSY_MS }
                }
                Err(error) => JobOutcome::Failed(error.to_string()),
            }
        }
        .boxed()
    }
}

impl Timer {
    async fn fire(&self, job: &Job) -> Result<JobOutcome, MeetingError> {
        let id = job.key.rsplit('/').next().and_then(|id| id.parse().ok()).ok_or(MeetingError::NotFound)?;
        let which = Which { org: job.org.as_str().into(), app: None, id };
        let step = self.0.apply(&which, Input::Due).await?;
        // What changed has scheduled the job anew, at once if there is more to do.
        let Step::Same(meeting) = step else { return Ok(JobOutcome::Settled) };
        let settings = self.0.settings(&meeting.org, &meeting.app).await?;
        let now_ms = self.0.now_ms();
        if meeting.is_auto_start_due(&settings, now_ms) {
            return self.auto_start(which, meeting, settings).await;
        }
        Ok(match meeting.next_due_ms(&settings) {
            Some(at_ms) => JobOutcome::Again { at_ms: at_ms.max(now_ms + LEAST_PAUSE_MS) },
            None => JobOutcome::Done,
        })
    }

    /// The server calls both by itself, unless the application's hook has something against it.
    async fn auto_start(&self, which: Which, meeting: Meeting, settings: Settings) -> Result<JobOutcome, MeetingError> {
        if settings.veto_url.is_none() {
            return Ok(match self.0.apply(&which, Input::AutoStart).await? {
                Step::Changed(_) => JobOutcome::Settled,
                Step::Same(_) => JobOutcome::Again { at_ms: self.0.now_ms() + BUSY_MS },
            });
        }
        // The hook may take its time: other meetings do not wait for it.
        let meetings = self.0.clone();
        self.0.kernel().tasks.spawn(async move {
            let allowed = veto::allows(meetings.kernel(), &settings, &meeting, None).await;
            let input = if allowed { Input::AutoStart } else { Input::Vetoed { by: None } };
            if let Err(error) = meetings.apply(&which, input).await {
                tracing::warn!(org = %which.org, meeting = which.id, %error, "a meeting could not be started yet");
            }
        });
        Ok(JobOutcome::Again { at_ms: self.0.now_ms() + WATCH_MS })
    }
}

/// The handler of the jobs.
pub(super) fn handler(meetings: &Meetings) -> Arc<dyn JobHandler> {
    Arc::new(Timer(meetings.clone()))
}
