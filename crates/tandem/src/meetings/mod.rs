//! Desk of meetings (document 000): an application posts an order, and its two people talk through the server without
//! learning each other's number.
//!
//! The rules are pure: `model` says what a meeting does next. Around it stand its store, its jobs, its live call and its
//! pages. Source: docs/contracts/meetings.md.

pub mod api;
mod booking;
mod desk;
mod driver;
pub mod error;
mod guard;
pub mod ics;
mod inbound;
mod jobs;
mod legacy;
pub mod model;
mod notices;
pub mod order;
mod pins;
mod pool;
pub mod reading;
mod reschedule;
pub mod sessions;
pub mod start_at;
mod store;
pub mod tokens;
mod veto;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use calls::{Calls, InboundKind};
use kernel::{DbError, Kernel};
use voice::speech::Speech;

pub use booking::{Order, Scheduled};
pub use desk::Action;
pub use error::MeetingError;
pub(crate) use reschedule::reschedule;
pub(crate) use store::concerning;
pub use store::{MeetingFilter, MeetingPage};

use desk::Which;
use guard::PinGuard;
use model::{Input, Meeting, Party, Settings};

/// The desk. Cheap to clone.
#[derive(Clone)]
pub struct Meetings(Arc<Inner>);

struct Inner {
    kernel: Kernel,
    calls: Calls,
    speech: Speech,
    guard: PinGuard,
    /// The greatest ids that were given out, by organisation.
    last_ids: Mutex<HashMap<String, i64>>,
    /// The last sign of life of the server that ran here before, UTC milliseconds.
    died_ms: Option<i64>,
    /// Since when calls may come in, UTC milliseconds.
    started_ms: i64,
    /// Where browsers reach this server, for the links in reminders: a URL without a path.
    base_url: String,
}

impl Meetings {
    /// Takes the meetings' jobs and the calls to numbers of meetings. Call it before `Kernel::start`, so that no job
    /// waits for its handler, and before calls come up, whose signs of life hide the last one of before. `base_url` is
    /// where browsers reach this server, without a path.
    #[must_use]
    pub fn start(kernel: &Kernel, calls: &Calls, speech: &Speech, base_url: String) -> Self {
        let meetings = Self(Arc::new(Inner {
            kernel: kernel.clone(),
            calls: calls.clone(),
            speech: speech.clone(),
            guard: PinGuard::default(),
            last_ids: Mutex::default(),
            died_ms: kernel.pulse.last_ms(),
            started_ms: kernel.clock.now_ms(),
            base_url,
        }));
        kernel.jobs.register(jobs::JOB_KIND, jobs::handler(&meetings));
        calls.on_inbound(InboundKind::Meetings, Arc::new(inbound::Inbound(meetings.clone())));
        meetings
    }

    /// Settles what a crash left behind: a meeting whose call is gone is open again, or ended. Call it before
    /// `Kernel::start`.
    ///
    /// # Errors
    /// What the store says.
    pub async fn recover(&self) -> Result<(), DbError> {
        let died_ms = self.0.died_ms.unwrap_or_else(|| self.now_ms());
        let mut after = (String::new(), i64::MIN);
        loop {
            let page = store::in_call(&self.kernel().db, &after).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after.clone_from(last);
            for (org, id) in page {
                // Parties of other meetings may be calling already.
                if self.has_fresh_call(&org, id).await? {
                    continue;
                }
                let which = Which { org: org.as_str().into(), app: None, id };
                match self.apply(&which, Input::Restarted { died_ms }).await {
                    Ok(_) => tracing::warn!(%org, meeting = id, "a meeting's call was cut by the last stop"),
                    // Its application was ended: nothing can be said of it any more.
                    Err(error) => tracing::error!(%org, meeting = id, %error, "a meeting could not be settled"),
                }
            }
        }
    }

    /// Whether a meeting's call is one of this start of the server.
    async fn has_fresh_call(&self, org: &str, id: i64) -> Result<bool, DbError> {
        let meeting = store::meeting(&self.kernel().db, org, None, id).await?;
        let since_ms = meeting.and_then(|meeting| meeting.live_since_ms.or(meeting.connecting_since_ms));
        Ok(since_ms.is_some_and(|since_ms| since_ms >= self.0.started_ms))
    }

    /// A meeting; `app` none = of any application.
    ///
    /// # Errors
    /// [`MeetingError::NotFound`], or what the store says.
    pub async fn get(&self, org: &str, app: Option<&str>, id: i64) -> Result<Meeting, MeetingError> {
        store::meeting(&self.kernel().db, org, app, id).await?.ok_or(MeetingError::NotFound)
    }

    /// A page of meetings in the order of their start; `app` none = of every application.
    ///
    /// # Errors
    /// What the store says.
    pub async fn list(
        &self,
        org: &str,
        app: Option<&str>,
        filter: &MeetingFilter,
        limit: i64,
    ) -> Result<MeetingPage, DbError> {
        store::list(&self.kernel().db, org, app, filter, limit).await
    }

    /// The meetings of a person of an application that its page shows: the next ones that are not over, and the last ones
    /// that are; `also` among them, wherever it lies, if it is the person's.
    ///
    /// # Errors
    /// What the store says.
    pub async fn of_party(&self, org: &str, app: &str, uid: &str, also: i64) -> Result<Vec<Meeting>, DbError> {
        let mut meetings = store::of_party(&self.kernel().db, org, app, uid).await?;
        if !meetings.iter().any(|meeting| meeting.id == also) {
            let found = store::meeting(&self.kernel().db, org, Some(app), also).await?;
            meetings.extend(found.filter(|meeting| meeting.role_of(uid).is_some()));
        }
        Ok(meetings)
    }

    /// A person of an application, as it described them last.
    ///
    /// # Errors
    /// What the store says.
    pub async fn person(&self, org: &str, app: &str, uid: &str) -> Result<Option<Party>, DbError> {
        store::person(&self.kernel().db, org, app, uid).await
    }

    /// What an application has decided about its meetings.
    ///
    /// # Errors
    /// What the store says; an application that was ended has its defaults.
    pub async fn settings(&self, org: &str, app: &str) -> Result<Settings, MeetingError> {
        match self.kernel().app(org, app).await {
            Ok(app) => Ok(Settings::read(&app.settings)),
            Err(kernel::RecordError::NotFound { .. }) => Ok(Settings::default()),
            Err(error) => Err(error.into()),
        }
    }

    /// The ids of a meeting's calls, oldest first.
    ///
    /// # Errors
    /// [`MeetingError::NotFound`], or what the store says.
    pub async fn calls_of(&self, org: &str, id: i64) -> Result<Vec<String>, MeetingError> {
        Ok(self.get(org, None, id).await?.calls)
    }

    fn base_url(&self) -> &str {
        &self.0.base_url
    }

    pub(crate) fn kernel(&self) -> &Kernel {
        &self.0.kernel
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.0.kernel.clock.now_ms()
    }

    fn calls(&self) -> &Calls {
        &self.0.calls
    }

    fn speech(&self) -> &Speech {
        &self.0.speech
    }

    fn guard(&self) -> &PinGuard {
        &self.0.guard
    }

    fn last_ids(&self) -> MutexGuard<'_, HashMap<String, i64>> {
        self.0.last_ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
