//! Carries out callbacks: a job fires, the rules of `due` judge, a call of its own joins the entity and the customer.
//! The attempt works beside the job, which only looks after it now and then: a crash leaves the job's row, and the next
//! look dials again. Invariant: the end of a callback, its event and the end of its job are one commit.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use calls::{CallError, Calls, NewCall, ResolveError, Turn, TurnWish};
use futures_util::{FutureExt as _, future::BoxFuture};
use kernel::{
    DbError, Event, Job, JobHandler, JobOutcome, Org, Outbox, RecordError, Target, Write, events::NEXT_SEQ, jobs, zones,
};
use serde_json::{Value, json};

use super::{
    Flows,
    attempt::Attempt,
    cancel,
    due::{self, Facts, Rules, State, Verdict},
    questions::is_entity,
    store::{self, Callback},
};

/// Kind of the jobs.
pub(super) const JOB_KIND: &str = "callback";
/// How often the job looks whether its driver is alive, in milliseconds.
const WATCH_MS: i64 = 15_000;
/// How long a callback waits for an agent of a team, in milliseconds.
const TURN_MS: i64 = 12 * 3_600_000;
/// How often it is noted that one waits, in milliseconds: far less than what makes a callback late.
const NOTE_MS: u64 = 300_000;
/// Callbacks looked at in one go at a start.
const PAGE: i64 = 500;
/// Pause before an attempt that a limit refused is made again, in milliseconds.
const BUSY_MS: i64 = 10_000;

/// Why a callback could not be worked on now; it is tried again.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallbackError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Org(#[from] RecordError),
    #[error(transparent)]
    Resolve(#[from] ResolveError),
}

/// Whether a number is that of a person or a team.
///
/// # Errors
/// What the store says.
pub(super) async fn entity_exists(calls: &Calls, org: &str, number: &str) -> Result<bool, ResolveError> {
    match calls.directory().resolve(org, number).await {
        Err(ResolveError::Number(_)) => Ok(false),
        Err(error) => Err(error),
        Ok(destination) => Ok(is_entity(Ok(&destination))),
    }
}

/// Runs the jobs of callbacks. Cheap to clone.
#[derive(Clone)]
pub(super) struct Callbacks {
    flows: Flows,
    /// Callbacks whose driver is at work in this process.
    driven: Arc<Mutex<HashSet<String>>>,
}

/// Notes that a callback is being driven, as long as it lives.
pub(super) struct Driven {
    callbacks: Callbacks,
    id: String,
}

impl Drop for Driven {
    fn drop(&mut self) {
        self.callbacks.driven.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

impl JobHandler for Callbacks {
    fn run(&self, job: Job) -> BoxFuture<'_, JobOutcome> {
        async move {
            match self.fire(&job).await {
                Ok(outcome) => outcome,
                Err(error) => JobOutcome::Failed(error.to_string()),
            }
        }
        .boxed()
    }
}

impl Callbacks {
    pub(super) fn new(flows: Flows) -> Self {
        Self { flows, driven: Arc::default() }
    }

    pub(super) fn flows(&self) -> &Flows {
        &self.flows
    }

    /// Sets the jobs of callbacks that wait for a wall time by today's zone data, which may be newer than theirs. Call it
    /// before the jobs are set to work.
    ///
    /// # Errors
    /// What the store says.
    pub(super) async fn recompute(&self) -> Result<(), DbError> {
        let kernel = self.flows.kernel();
        let now_ms = kernel.clock.now_ms();
        let mut after = String::new();
        loop {
            let page = store::callbacks_ahead(&kernel.db, &after, now_ms, PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after.clone_from(&last.id);
            let mut writes = Vec::new();
            for callback in &page {
                let due_ms = due::recomputed(&facts(callback)).max(now_ms);
                if due_ms != callback.due_ms {
                    tracing::info!(callback = %callback.id, due_ms, was_ms = callback.due_ms, "new zone data moves a callback");
                    let job = Job::new(&callback.org, JOB_KIND, &callback.id, due_ms, json!({}));
                    writes.extend([callback.moved_write(due_ms, false), job.schedule_write()]);
                }
            }
            kernel.db.writer().commit(writes).await?;
        }
    }

    async fn fire(&self, job: &Job) -> Result<JobOutcome, CallbackError> {
        let now_ms = self.flows.kernel().clock.now_ms();
        let Some(driven) = self.take(&job.key) else {
            return Ok(JobOutcome::Again { at_ms: now_ms + WATCH_MS });
        };
        let Some(callback) = store::callback(&self.flows.kernel().db, &job.org, &job.key).await? else {
            return Ok(JobOutcome::Done);
        };
        let Some(org) = self.flows.kernel().org_by_id(&job.org).await? else {
            return Ok(JobOutcome::Done);
        };
        match due::judge(&facts(&callback), &rules(&org), now_ms) {
            Verdict::Over => Ok(JobOutcome::Done),
            Verdict::Wait { until_ms, moved } => {
                self.flows.kernel().db.writer().commit(vec![callback.moved_write(until_ms, moved)]).await?;
                Ok(JobOutcome::Again { at_ms: until_ms })
            }
            Verdict::Miss(reason) => self.end(&callback, State::Missed, reason).await,
            Verdict::Interrupted => self.end(&callback, State::Completed, "server_restart").await,
            Verdict::Dial => self.dial(callback, driven).await,
        }
    }

    /// Takes a callback on; none when its driver is at work.
    fn take(&self, id: &str) -> Option<Driven> {
        let mut driven = self.driven.lock().unwrap_or_else(PoisonError::into_inner);
        driven.insert(id.to_owned()).then(|| Driven { callbacks: self.clone(), id: id.to_owned() })
    }

    async fn end(&self, callback: &Callback, state: State, reason: &str) -> Result<JobOutcome, CallbackError> {
        let writes = self.end_writes(callback, state, reason, json!({ "reason": reason })).await?;
        match self.flows.kernel().db.writer().commit(writes).await {
            // A conflict: it was ended in the same moment.
            Ok(_) | Err(DbError::Conflict) => Ok(JobOutcome::Done),
            Err(error) => Err(error.into()),
        }
    }

    /// Rings the first party, a team with a queue when it is the callback's turn.
    async fn dial(&self, callback: Callback, driven: Driven) -> Result<JobOutcome, CallbackError> {
        if !entity_exists(self.flows.calls(), &callback.org, &callback.entity).await? {
            return self.end(&callback, State::Missed, "unknown_entity").await;
        }
        let turn = if callback.entity_first() {
            let wish = TurnWish {
                number: &callback.entity,
                has_queued: callback.has_queued(),
                joined_ms: callback.place_ms(),
                timeout_ms: TURN_MS,
            };
            self.flows.calls().turn(&callback.org.as_str().into(), wish).await?
        } else {
            None
        };
        let Some(turn) = turn else {
            let (number, _) = callback.first_party();
            let first = NewCall::new(String::new(), callback.org.as_str().into(), number);
            return self.ring(callback, driven, first, None).await;
        };
        self.flows.kernel().tasks.spawn(self.clone().ring_in_turn(callback, driven, turn));
        Ok(JobOutcome::Again { at_ms: self.flows.kernel().clock.now_ms() + WATCH_MS })
    }

    /// Waits for an agent of the team and rings it. What goes wrong is found by the job, which looks again.
    async fn ring_in_turn(self, mut callback: Callback, driven: Driven, mut turn: Turn) {
        let kernel = self.flows.kernel().clone();
        let mut called_off = kernel.bus.subscribe(&cancel::subject(&callback.id));
        let rung = loop {
            tokio::select! {
                () = kernel.stop.cancelled() => return,
                // It gives its place up.
                _ = called_off.next() => return,
                agents = turn.agents() => break match agents {
                    Some(agents) => {
                        let first = Self::of_turn(&callback, &turn, agents);
                        self.ring(callback, driven, first, Some(turn)).await
                    }
                    None => self.end(&callback, State::Missed, "no_answer").await,
                },
                () = kernel.clock.sleep(NOTE_MS) => {
                    // Whoever waits is not late.
                    callback.due_ms = kernel.clock.now_ms();
                    let note = callback.moved_write(callback.due_ms, true);
                    if let Err(error) = kernel.db.writer().commit(vec![note]).await {
                        tracing::warn!(callback = %callback.id, %error, "the wait of a callback could not be noted");
                    }
                }
            }
        };
        if let Err(error) = rung {
            tracing::error!(%error, "a callback could not be made in its turn");
        }
    }

    /// The call to the agents whom the turn has come to.
    fn of_turn(callback: &Callback, turn: &Turn, agents: Vec<Arc<str>>) -> NewCall {
        let org = callback.org.as_str().into();
        // One agent is called by its own number, several by that of their team.
        let new = match agents.as_slice() {
            [agent] => NewCall::new(String::new(), org, agent.to_string()),
            _ => NewCall { ring: agents, ..NewCall::new(String::new(), org, &callback.entity) },
        };
        NewCall { timeout_ms: turn.ring_ms(), ..new }
    }

    /// The first party is rung; everything else is the driver's.
    async fn ring(
        &self,
        callback: Callback,
        driven: Driven,
        first: NewCall,
        turn: Option<Turn>,
    ) -> Result<JobOutcome, CallbackError> {
        let now_ms = self.flows.kernel().clock.now_ms();
        let attempt = due::this_attempt(callback.state, callback.attempt);
        let (_, role) = callback.first_party();
        let call_id = self.flows.calls().new_call_id();
        let started = json!({ "attempt": attempt, "call_id": call_id, "entity": callback.entity });
        let mut writes = self.event_writes(&callback, "callback.started", started).await?;
        writes.push(callback.calling_write(attempt, &call_id));
        let new = NewCall { id: call_id, role, masked: true, writes, ..first };
        let call = match self.flows.calls().place(new).await {
            Ok(call) => call,
            Err(CallError::Limit(_) | CallError::Draining) => {
                return Ok(JobOutcome::Again { at_ms: now_ms + BUSY_MS });
            }
            Err(CallError::Number(_)) => {
                return self.end(&callback, State::Missed, "number_not_allowed").await;
            }
            // It was called off in the same moment.
            Err(CallError::Db(DbError::Conflict)) => return Ok(JobOutcome::Done),
            Err(CallError::Db(error)) => return Err(error.into()),
            Err(CallError::Org(error)) => return Err(error.into()),
            Err(CallError::Lost(error)) => return Ok(JobOutcome::Failed(error.to_string())),
            Err(CallError::NotFound) => return Ok(JobOutcome::Done),
        };
        let attempt = Attempt::new(self.clone(), Callback { attempt, ..callback }, call, driven, turn);
        self.flows.kernel().tasks.spawn(attempt.drive());
        Ok(JobOutcome::Again { at_ms: now_ms + WATCH_MS })
    }

    /// The writes that end a callback: its row, its event and its job.
    pub(super) async fn end_writes(
        &self,
        callback: &Callback,
        state: State,
        reason: &str,
        data: Value,
    ) -> Result<Vec<Write>, DbError> {
        let kind = if state == State::Completed { "callback.completed" } else { "callback.missed" };
        let row = callback.end_write(state, reason, self.flows.kernel().clock.now_ms());
        self.last_writes(callback, row, kind, data).await
    }

    /// The same with a write of its row that is another one.
    pub(super) async fn last_writes(
        &self,
        callback: &Callback,
        row: Write,
        kind: &str,
        mut data: Value,
    ) -> Result<Vec<Write>, DbError> {
        if let Some(map) = data.as_object_mut() {
            map.insert("attempts".to_owned(), callback.attempt.into());
        }
        let mut writes = vec![row];
        writes.extend(self.event_writes(callback, kind, data).await?);
        writes.push(jobs::cancel_write(JOB_KIND, &callback.id));
        Ok(writes)
    }

    /// An event with the callback's key; the webhooks of the organisation and of the run that booked it get it.
    async fn event_writes(&self, callback: &Callback, kind: &str, mut data: Value) -> Result<Vec<Write>, DbError> {
        if let Some(map) = data.as_object_mut() {
            map.insert("scheduled_by".to_owned(), Value::from(callback.call.as_str()));
        }
        let now_ms = self.flows.kernel().clock.now_ms();
        let event = Event {
            id: self.flows.kernel().ids.new("evt", now_ms),
            kind: kind.to_owned(),
            time_ms: now_ms,
            org: callback.org.clone(),
            key: callback.id.clone(),
            seq: NEXT_SEQ,
            body: json!({ "run_id": callback.run, "data": data }),
        };
        let targets: Vec<Target> = {
            let of_org = self.flows.kernel().outbox.targets(&callback.org).await?;
            let of_run = self.flows.kernel().outbox.targets_of_run(&callback.org, &callback.run).await?;
            of_org.iter().chain(of_run.iter()).cloned().collect()
        };
        Ok(Outbox::event_writes(&event, &targets))
    }
}

fn facts(callback: &Callback) -> Facts {
    Facts {
        state: callback.state,
        wall: callback.wall.clone(),
        due_ms: callback.due_ms,
        moved: callback.moved,
        attempt: callback.attempt,
        attempts: callback.attempts,
        customer: callback.customer.clone(),
    }
}

/// What the organisation's settings say about callbacks; hours that cannot be read are none.
fn rules(org: &Org) -> Rules {
    let quiet = org.settings.quiet_hours.as_ref().and_then(|hours| {
        let minute = |text: &str| {
            zones::parse_time(text)
                .and_then(|time| u32::try_from(i32::from(time.hour()) * 60 + i32::from(time.minute())).ok())
        };
        Some((minute(&hours.from)?, minute(&hours.to)?, zones::parse_zone(&org.zone)?))
    });
    Rules { do_not_call: org.settings.do_not_call.clone(), quiet }
}
