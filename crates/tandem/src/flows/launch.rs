//! Puts a checked flow on a call: one that we place, or one that came in to a number bound to the flow.
//! Invariant: a placed call, its run and its publish URL are durable before anybody hears of them.

use std::sync::Arc;

use calls::{Bound, Call, CallError, EndedBy, InboundHandler, InboundNumber, NewCall};
use futures_util::{FutureExt as _, future::BoxFuture};
use kernel::{
    Org, RecordError, Write,
    outbox::{NewWebhook, OutboxError, Target},
    webhook::SigningKey,
};
use tracing::Instrument as _;
use url::Url;
use voice::cause::Cause;

use super::{
    Flows, Purpose, check,
    machine::{Machine, Medium, Setup, Source},
    model::Flow,
    run::Run,
    shelf::{Found, Ready},
    steps::{Kind, call::Placing},
    store::{self, Origin},
    template::FillError,
};

/// Ring time and longest call when the flow has no `call` step, in milliseconds.
const RING_MS: i64 = 60_000;
const TIME_LIMIT_MS: i64 = 14_400_000;

/// A run that has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launched {
    /// `call_...`
    pub call: String,
    /// `run_...`
    pub run: String,
}

/// Why a run could not begin.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The flow has no `call` step and nobody said whom to call.
    #[error("the flow begins with no call, and no number was given")]
    NobodyToCall,
    /// The flow, or its organisation, is gone, or it does not run any more.
    #[error("the flow is gone or does not run any more")]
    Gone,
    /// The number is a template, and nothing has a value yet.
    #[error("the number to call: {0}")]
    Number(#[from] FillError),
    /// The call.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The publish URL.
    #[error(transparent)]
    Publish(#[from] OutboxError),
}

/// How a run shall begin.
#[derive(Debug)]
pub struct Order {
    /// Where the flow comes from.
    pub origin: Origin,
    /// Whom to call, instead of the number of the flow's `call` step.
    pub to: Option<String>,
    /// The run's id, if it has one already.
    pub run: Option<String>,
    /// Rows to be committed with it.
    pub writes: Vec<Write>,
}

impl Order {
    /// A run of this flow, nothing else being said.
    #[must_use]
    pub fn of(origin: Origin) -> Self {
        Self { origin, to: None, run: None, writes: Vec::new() }
    }
}

impl Flows {
    /// Places the flow's call and runs the flow on it.
    ///
    /// # Errors
    /// [`LaunchError`].
    pub async fn launch(&self, org: &Org, flow: Arc<Flow>, order: Order) -> Result<Launched, LaunchError> {
        let Placing { number, caller_id, timeout_ms, time_limit_ms } = placing(&flow, order.to.as_deref())?;
        let kernel = self.kernel();
        let now_ms = kernel.clock.now_ms();
        let run = order.run.unwrap_or_else(|| kernel.ids.new("run", now_ms));
        let call_id = self.calls().new_call_id();
        let (publish, of_publish) = self.publish(&org.id, &run, &flow)?;
        let mut writes = order.writes;
        writes.push(store::run_write(&org.id, &run, &call_id, &order.origin, now_ms));
        writes.extend(of_publish);
        let new = NewCall {
            caller_id,
            timeout_ms,
            time_limit_ms,
            run: Some(run.clone()),
            publish,
            // The `call` step has an outcome, and perhaps an edge for it, before the call is completed.
            continue_unanswered: begins_with_call(&flow),
            writes,
            ..NewCall::new(call_id.clone(), org.id.as_str().into(), number)
        };
        // On a task of its own: a client that does not wait for its answer finds the run at work all the same.
        let announcement = org.settings.recording_announcement.clone();
        let setting_out = self.clone().set_out(new, run.clone(), flow, announcement);
        kernel.tasks.spawn(setting_out.in_current_span()).await.map_err(CallError::from)??;
        Ok(Launched { call: call_id, run })
    }

    /// Places a run's call and sets the run to work on it.
    async fn set_out(
        self,
        new: NewCall,
        run: String,
        flow: Arc<Flow>,
        announcement: Option<String>,
    ) -> Result<(), CallError> {
        let call = self.calls().place(new).await?;
        let begins_with_call = begins_with_call(&flow);
        let first_words = first_words(&flow, announcement.as_deref());
        let machine = Machine::new(flow, setup(&call, announcement));
        let at_work = Run::new(self.clone(), run, call, machine);
        if begins_with_call {
            self.kernel().tasks.spawn(at_work.drive_outgoing(first_words));
        } else {
            self.kernel().tasks.spawn(at_work.drive_when_answered());
        }
        Ok(())
    }

    fn publish(&self, org: &str, run: &str, flow: &Flow) -> Result<(Option<Target>, Vec<Write>), OutboxError> {
        let Some(publish) = &flow.publish else {
            return Ok((None, Vec::new()));
        };
        // Checked with the flow.
        let Ok(url) = Url::parse(&publish.url) else {
            return Ok((None, Vec::new()));
        };
        let webhook = NewWebhook { url, method: publish.method, events: publish.events.clone().unwrap_or_default() };
        let key = publish.secret.as_deref().and_then(|secret| SigningKey::parse(secret).ok());
        let (target, writes) = self.kernel().outbox.run_target(org, run, &webhook, key.as_ref())?;
        Ok((Some(target), writes))
    }

    /// Runs the flow that the number leads to.
    async fn answer_inbound(&self, mut call: Call, number: InboundNumber) {
        let Bound::Flow(id) = &number.bound else {
            return;
        };
        // Boxed, so that what reading a flow takes is free again while the call lasts.
        match Box::pin(self.inbound_run(&mut call, id)).await {
            Ok(Some((run, machine))) => Box::pin(Run::new(self.clone(), run, call, machine).drive_inbound()).await,
            Ok(None) => {
                tracing::warn!(org = %call.org, flow = %id, number = %number.e164, "the number leads to a flow that is gone or does not run");
                refuse(call, Cause::FlowError).await;
            }
            Err(error) => {
                tracing::error!(org = %call.org, flow = %id, %error, "an inbound flow could not be read");
                refuse(call, Cause::FlowError).await;
            }
        }
    }

    async fn inbound_run(&self, call: &mut Call, id: &str) -> Result<Option<(String, Machine)>, InboundError> {
        let kernel = self.kernel();
        let now_ms = kernel.clock.now_ms();
        let Some(Ready { flow, version, announcement, .. }) = self.ready(&call.org, id, now_ms).await? else {
            return Ok(None);
        };
        let run = kernel.ids.new("run", now_ms);
        let (publish, mut writes) = self.publish(&call.org, &run, &flow)?;
        let origin = Origin::Saved { flow: id.to_owned(), version };
        writes.insert(0, store::run_write(&call.org, &run, &call.id, &origin, now_ms));
        call.with_writes(writes);
        call.driven_by(run.clone(), publish);
        Ok(Some((run, Machine::new(flow, setup(call, announcement)))))
    }

    /// The flow as it is to be run, from memory mostly; none when it is gone or does not run.
    pub(super) async fn ready(&self, org: &str, id: &str, now_ms: i64) -> Result<Option<Ready>, InboundError> {
        let asked = match self.shelf().find(org, id, now_ms) {
            Found::Ready(ready) => return Ok(Some(ready)),
            Found::Nothing(asked) => asked,
        };
        let kernel = self.kernel();
        let Some(saved) = store::one(&kernel.db, org, id).await? else {
            return Ok(None);
        };
        let Some(owner) = kernel.org_by_id(org).await? else {
            return Ok(None);
        };
        let body = store::with_secrets(kernel, saved.body.unwrap_or_default())?;
        let Some(flow) = check(&body, Purpose::Save, now_ms).flow else {
            return Ok(None);
        };
        let announcement = owner.settings.recording_announcement;
        let ready = Ready { name: saved.name, flow: Arc::new(flow), version: saved.version, announcement };
        self.shelf().keep(asked, org, id, &ready, now_ms);
        Ok(Some(ready))
    }
}

/// Why an inbound flow could not begin.
#[derive(Debug, thiserror::Error)]
pub(super) enum InboundError {
    #[error(transparent)]
    Db(#[from] kernel::DbError),
    #[error(transparent)]
    Org(#[from] RecordError),
    #[error(transparent)]
    Secret(#[from] kernel::secret::SecretError),
    #[error(transparent)]
    Publish(#[from] OutboxError),
}

/// Drives inbound calls to flows.
pub(super) struct Inbound(pub(super) Flows);

impl InboundHandler for Inbound {
    fn handle(&self, call: Call, number: InboundNumber) -> BoxFuture<'_, ()> {
        self.0.answer_inbound(call, number).boxed()
    }
}

async fn refuse(mut call: Call, cause: Cause) {
    call.hangup(cause, EndedBy::System);
    while !matches!(call.next().await, calls::CallEvent::Ended { .. }) {}
}

fn placing(flow: &Flow, to: Option<&str>) -> Result<Placing, LaunchError> {
    match (flow.steps.first().map(|step| &step.kind), to) {
        (Some(Kind::Call(call)), to) => Ok(call.placing(to)?),
        (_, Some(to)) => {
            Ok(Placing { number: to.to_owned(), caller_id: None, timeout_ms: RING_MS, time_limit_ms: TIME_LIMIT_MS })
        }
        (_, None) => Err(LaunchError::NobodyToCall),
    }
}

/// What a customer hears first, as far as it is the same for every call: it is spoken while the phone rings.
fn first_words(flow: &Flow, announcement: Option<&str>) -> Vec<Source> {
    let announcement = announcement.filter(|_| flow.record).map(Source::words);
    announcement.into_iter().chain(first_text(flow)).collect()
}

fn first_text(flow: &Flow) -> Option<Source> {
    let next = flow.steps.first()?.edges.next?;
    let prompt = match &flow.steps.get(next)?.kind {
        Kind::Play(play) => Some(&play.prompt),
        Kind::Digits(digits) | Kind::Menu(digits) => digits.prompt.as_ref(),
        _ => None,
    }?;
    if prompt.url.is_some() {
        return None;
    }
    let text = prompt.text.as_ref()?.fixed()?.to_owned();
    Some(Source::Speech { text, voice: prompt.voice.clone(), language: prompt.language.clone() })
}

fn begins_with_call(flow: &Flow) -> bool {
    matches!(flow.steps.first().map(|step| &step.kind), Some(Kind::Call(_)))
}

fn setup(call: &Call, announcement: Option<String>) -> Setup {
    let model = call.model();
    let customer = match model.direction {
        calls::Direction::Inbound => &model.from,
        calls::Direction::Outbound => &model.to,
    };
    Setup {
        medium: Medium::Call,
        call: call.id.to_string(),
        from: model.from.clone(),
        to: model.to.clone(),
        customer: customer.clone(),
        announcement,
    }
}
