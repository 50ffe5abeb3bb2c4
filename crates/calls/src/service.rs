//! The calls of a server: placing them, reaching those that are up, reading those that were.
//!
//! Invariant: a call's row and its call.initiated are durable before anybody is dialled for a
//! request, so that what was answered 2xx survives a crash.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kernel::db::DbError;
use kernel::limit::RetryAfter;
use kernel::{Kernel, RecordError};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tracing::Instrument as _;
use voice::leg::{Leg, LegSink, Room};
use voice::ports::BoxFuture;
use voice::speech::Speech;
use voice::{Incoming, Originate, Voice};

use crate::call::Call;
use crate::conferences::Conferences;
use crate::directory::{Bound, Directory, ResolveError};
use crate::driver::NewCall;
use crate::lines::extensions;
use crate::live::Live;
use crate::model::{CallModel, CallState, CallView, Direction};
use crate::numbers::{self, NumberError};
use crate::pairing::{Pairs, PartyDial};
use crate::presence::{BusyExtensions, Presence};
use crate::queue::{Availability, Floors, OwnState, QueueView};
use crate::registry::Registry;
use crate::router;
use crate::routes::{Asking, Routed};
use crate::store::{self, CallFilter, CallPage};
use crate::teams::{team, teams};

/// How often a server with calls gives a sign of life: so exactly the end of those that a crash cuts is known.
const SIGN_OF_LIFE_EVERY: Duration = Duration::from_secs(1);
/// Calls on one page of a list, at most.
pub const MAX_PAGE: u32 = 200;

/// Who places legs: voice, or a test.
pub trait Dialer: Send + Sync + 'static {
    /// Places a leg; returns at once, what becomes of it is told to `events`.
    fn originate(&self, order: Originate, events: LegSink) -> Leg;
    /// Opens a room of an organisation for many legs.
    fn room(&self, org: &str) -> Room;
    /// The trunks may have changed.
    fn reload_trunks(&self) -> BoxFuture<'_, ()>;
}

impl Dialer for Voice {
    fn originate(&self, order: Originate, events: LegSink) -> Leg {
        Self::originate(self, order, events)
    }

    fn room(&self, org: &str) -> Room {
        Self::room(self, org)
    }

    fn reload_trunks(&self) -> BoxFuture<'_, ()> {
        Box::pin(Self::reload_trunks(self))
    }
}

/// What an inbound number can be bound to besides people: a desk's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InboundKind {
    /// A saved flow.
    Flow,
    /// Masked meetings.
    Meetings,
}

/// The number that was called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboundNumber {
    /// With `+`.
    pub e164: String,
    /// What it is bound to.
    pub bound: Bound,
}

/// A desk that drives inbound calls.
pub trait InboundHandler: Send + Sync + 'static {
    /// Drives the call to its end. It is not answered yet.
    fn handle(&self, call: Call, number: InboundNumber) -> BoxFuture<'_, ()>;
}

/// Why a call could not be placed or reached.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The organisation has too many calls up, or starts too many a second.
    #[error("too many calls; try again in {} s", .0.seconds)]
    Limit(RetryAfter),
    /// The number.
    #[error(transparent)]
    Number(#[from] NumberError),
    /// The organisation has no such call.
    #[error("there is no such call")]
    NotFound,
    /// The server is stopping and takes no new calls.
    #[error("the server is stopping")]
    Draining,
    /// The organisation.
    #[error(transparent)]
    Org(#[from] RecordError),
    /// The store.
    #[error("the store: {0}")]
    Db(#[from] DbError),
    /// The task that placed it was lost: it panicked, or the process ends.
    #[error("placing the call: {0}")]
    Lost(#[from] tokio::task::JoinError),
}

impl From<ResolveError> for CallError {
    fn from(error: ResolveError) -> Self {
        match error {
            ResolveError::Number(error) => Self::Number(error),
            ResolveError::Db(error) => Self::Db(error),
            ResolveError::Org(error) => Self::Org(error),
        }
    }
}

/// The calls of a server. Cheap to clone.
#[derive(Clone)]
pub struct Calls(Arc<Inner>);

struct Inner {
    kernel: Kernel,
    directory: Arc<Directory>,
    dialer: Arc<dyn Dialer>,
    speech: Speech,
    registry: Arc<Registry>,
    busy: BusyExtensions,
    floors: Floors,
    conferences: Conferences,
    pairs: Pairs,
    flows: OnceLock<Arc<dyn InboundHandler>>,
    meetings: OnceLock<Arc<dyn InboundHandler>>,
    draining: AtomicBool,
    started_at_ms: i64,
    /// The last sign of life of the server that ran here before.
    last_alive_ms: Option<i64>,
}

impl Calls {
    /// Starts taking inbound calls. Desks announce themselves by [`Calls::on_inbound`]; what a crash
    /// left behind is settled by [`Calls::recover`].
    pub fn start(
        kernel: &Kernel,
        directory: Arc<Directory>,
        dialer: Arc<dyn Dialer>,
        speech: Speech,
        incoming: mpsc::Receiver<Incoming>,
    ) -> Self {
        directory.attach(dialer.clone());
        let busy = BusyExtensions::default();
        let registry = Registry::new();
        let calls = Self(Arc::new(Inner {
            directory: directory.clone(),
            dialer,
            speech,
            conferences: Conferences::new(registry.clone()),
            registry,
            pairs: Pairs::default(),
            floors: Floors::new(kernel.clone(), directory.clone(), busy.clone()),
            busy,
            flows: OnceLock::new(),
            meetings: OnceLock::new(),
            draining: AtomicBool::new(false),
            started_at_ms: kernel.clock.now_ms(),
            last_alive_ms: kernel.pulse.last_ms(),
            kernel: kernel.clone(),
        }));
        kernel.tasks.spawn(router::run(calls.clone(), incoming));
        kernel.tasks.spawn(give_signs_of_life(calls.clone()));
        kernel.tasks.spawn(watch_directory(kernel.clone(), directory));
        calls
    }

    /// Who drives calls to numbers of a kind. The first to announce itself stays.
    pub fn on_inbound(&self, kind: InboundKind, handler: Arc<dyn InboundHandler>) {
        let slot = match kind {
            InboundKind::Flow => &self.0.flows,
            InboundKind::Meetings => &self.0.meetings,
        };
        // The first one stays.
        let _second = slot.set(handler);
    }

    /// An id for [`NewCall`].
    pub fn new_call_id(&self) -> String {
        self.0.kernel.ids.new("call", self.0.kernel.clock.now_ms())
    }

    /// Places a call: when this returns, its row, its call.initiated and the driver's own rows are
    /// durable and the party is being dialled. A party that cannot be reached is news from
    /// [`Call::next`], not an error. Safe to give up waiting for: a call that nobody takes ends.
    ///
    /// # Errors
    /// [`CallError::Limit`], [`CallError::Number`] when the text is no number that may be called,
    /// [`CallError::Draining`], or what the store says.
    pub async fn place(&self, new: NewCall) -> Result<Call, CallError> {
        // On a task of its own: between the commit of its rows and its [`Call`] nobody else could end it.
        let placing = self.clone().place_now(new, None);
        self.0.kernel.tasks.spawn(placing.in_current_span()).await?
    }

    /// Places a call to the first party of a pair; [`NewCall::number`] is what rows show of it.
    pub(crate) async fn place_party(self, new: NewCall, party: PartyDial) -> Result<Call, CallError> {
        self.place_now(new, Some(party)).await
    }

    async fn place_now(self, new: NewCall, party: Option<PartyDial>) -> Result<Call, CallError> {
        if self.is_draining() {
            return Err(CallError::Draining);
        }
        let now_ms = self.0.kernel.clock.now_ms();
        let place = self.0.kernel.limits.call(&new.org, now_ms).map_err(CallError::Limit)?;
        let routed = match &party {
            Some(party) => vec![self.0.directory.party_route(&new.org, party, new.caller_id.as_deref()).await],
            None => self.routes_of(&new).await?,
        };
        let id: Arc<str> = new.id.into();
        let route = routed.iter().find_map(|target| target.routes.as_ref().ok());
        let from = match route {
            Some(routes) => routes.first().map(|route| route.from.number.clone()).unwrap_or_default(),
            None => new.caller_id.clone().unwrap_or_default(),
        };
        let model = CallModel {
            id: id.clone(),
            org: new.org.clone(),
            node: self.0.kernel.node.clone(),
            direction: Direction::Outbound,
            from,
            to: numbers::e164(&new.number).unwrap_or(new.number),
            run: new.run,
            masked: new.masked,
            state: CallState::Initiated,
            legs: Vec::new(),
            end: None,
            started_at_ms: now_ms,
            ringing_at_ms: None,
            answered_at_ms: None,
            ended_at_ms: None,
        };
        let ticket = self.0.registry.enter(&new.org, &id, place);
        let mut live = Live::new(self.clone(), model, ticket, new.time_limit_ms, new.publish);
        live.continue_unanswered = new.continue_unanswered;
        let writes = live.first_writes(new.writes).await;
        self.0.kernel.db.writer().commit(writes).await?;
        live.dial_first(routed, new.role, new.timeout_ms);
        Ok(Call::new(live))
    }

    /// The devices that a new call rings.
    async fn routes_of(&self, new: &NewCall) -> Result<Vec<Routed>, CallError> {
        let directory = &self.0.directory;
        let destination = directory.resolve(&new.org, &new.number).await?;
        let asking = Asking { caller_id: new.caller_id.as_deref(), ..Asking::default() };
        if new.ring.is_empty() {
            return Ok(vec![directory.route_to(&new.org, &new.number, &destination, asking).await]);
        }
        let extensions: Vec<String> = new.ring.iter().map(ToString::to_string).collect();
        Ok(directory.routes(&new.org, &extensions, asking).await)
    }

    /// Hangs a call up by API: cause canceled before the answer, normal after it. A call that is
    /// over already is none to hang up, and no error.
    ///
    /// # Errors
    /// [`CallError::NotFound`] when the organisation has no such call, or what the store says.
    pub async fn hangup(&self, org: &str, call: &str) -> Result<(), CallError> {
        if self.0.registry.hangup(org, call) {
            return Ok(());
        }
        match self.get(org, call).await? {
            Some(_) => Ok(()),
            None => Err(CallError::NotFound),
        }
    }

    /// One call of an organisation, live or over.
    ///
    /// # Errors
    /// What the store says.
    pub async fn get(&self, org: &str, call: &str) -> Result<Option<CallView>, DbError> {
        store::call(&self.0.kernel.db, org, call).await
    }

    /// Whether an extension took part in a call.
    ///
    /// # Errors
    /// What the store says.
    pub async fn took_part(&self, org: &str, extension: &str, call: &str) -> Result<bool, DbError> {
        store::took_part(&self.0.kernel.db, org, extension, call).await
    }

    /// A page of an organisation's calls, newest first. Numbers may be written without `+`.
    ///
    /// # Errors
    /// What the store says.
    pub async fn list(&self, org: &str, mut filter: CallFilter, limit: u32) -> Result<CallPage, DbError> {
        for number in [&mut filter.from, &mut filter.to, &mut filter.number] {
            if let Some(e164) = number.as_deref().and_then(numbers::public) {
                *number = Some(e164);
            }
        }
        store::calls(&self.0.kernel.db, org, &filter, limit.clamp(1, MAX_PAGE)).await
    }

    /// The calls of an organisation that are up, newest first, [`MAX_PAGE`] at most.
    ///
    /// # Errors
    /// What the store says.
    pub async fn live_of(&self, org: &str) -> Result<Vec<CallView>, DbError> {
        store::live(&self.0.kernel.db, &self.0.kernel.node, org, MAX_PAGE).await
    }

    /// Whether an extension's phones can be reached.
    pub fn presence(&self, org: &str, extension: &str) -> Presence {
        Presence {
            registered: self.0.directory.has_phone(org, extension),
            busy: self.0.busy.is_busy(&org.into(), &extension.into()),
        }
    }

    /// The queues of an organisation as they are now, by the teams' numbers.
    ///
    /// # Errors
    /// What the store says.
    pub async fn queues(&self, org: &Arc<str>) -> Result<Vec<QueueView>, DbError> {
        let teams = teams(&self.0.kernel, org).await?;
        self.0.floors.views(org, &teams).await
    }

    /// The queue of one team; none when there is no such team.
    ///
    /// # Errors
    /// What the store says.
    pub async fn queue(&self, org: &Arc<str>, id: &str) -> Result<Option<QueueView>, DbError> {
        let Some(team) = team(&self.0.kernel, org, id).await? else { return Ok(None) };
        Ok(self.0.floors.views(org, &[team]).await?.pop())
    }

    /// What a person is doing.
    ///
    /// # Errors
    /// What the store says.
    pub async fn own_state(&self, org: &Arc<str>, person: &Arc<str>) -> Result<OwnState, DbError> {
        let own = self.own_extensions(org, person).await?;
        self.0.floors.own_state(org, person, &own).await
    }

    /// A person says whether it takes calls of its teams. Durable when this returns.
    ///
    /// # Errors
    /// What the store says.
    pub async fn say(&self, org: &Arc<str>, person: &Arc<str>, said: Availability) -> Result<OwnState, DbError> {
        let own = self.own_extensions(org, person).await?;
        self.0.floors.say(org, person, &own, said).await
    }

    async fn own_extensions(&self, org: &str, person: &str) -> Result<Vec<String>, DbError> {
        let all = extensions(&self.0.kernel, org).await?;
        Ok(all.into_iter().filter(|entry| entry.person == person).map(|entry| entry.number).collect())
    }

    /// How many calls are up on this node.
    pub fn live(&self) -> usize {
        self.0.registry.len()
    }

    /// Takes no new calls from now on; those that are up go on.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::Relaxed);
    }

    /// Ends every call that is up here, and every later one at once, because the server stops: each
    /// gets its call.completed with cause `server_restart`.
    pub fn end_all(&self) {
        self.0.registry.end_all();
    }

    /// Who has which number.
    pub fn directory(&self) -> &Arc<Directory> {
        &self.0.directory
    }

    pub(crate) fn kernel(&self) -> &Kernel {
        &self.0.kernel
    }

    pub(crate) fn dialer(&self) -> &Arc<dyn Dialer> {
        &self.0.dialer
    }

    pub(crate) fn speech(&self) -> &Speech {
        &self.0.speech
    }

    pub(crate) fn registry(&self) -> &Arc<Registry> {
        &self.0.registry
    }

    pub(crate) fn floors(&self) -> &Floors {
        &self.0.floors
    }

    pub(crate) fn pairs(&self) -> &Pairs {
        &self.0.pairs
    }

    pub(crate) fn conferences(&self) -> &Conferences {
        &self.0.conferences
    }

    pub(crate) fn busy(&self) -> &BusyExtensions {
        &self.0.busy
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Relaxed)
    }

    pub(crate) fn last_alive_ms(&self) -> Option<i64> {
        self.0.last_alive_ms
    }

    pub(crate) fn started_at_ms(&self) -> i64 {
        self.0.started_at_ms
    }

    pub(crate) fn handler(&self, bound: &Bound) -> Option<Arc<dyn InboundHandler>> {
        match bound {
            Bound::Flow(_) => self.0.flows.get().cloned(),
            Bound::Meetings => self.0.meetings.get().cloned(),
            Bound::Person(_) | Bound::Team(_) => None,
        }
    }
}

/// How often a change of the directory by another process is looked for when nobody calls, in
/// milliseconds: a trunk that registers must not wait for the next call.
const WATCH_MS: u64 = 1_000;

/// What [`Calls::recover`] of the next life reads.
async fn give_signs_of_life(calls: Calls) {
    let kernel = calls.kernel();
    let mut every = tokio::time::interval(SIGN_OF_LIFE_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = every.tick() => {}
            () = kernel.stop.cancelled() => return,
        }
        if calls.live() == 0 {
            continue;
        }
        let (pulse, now_ms) = (kernel.pulse.clone(), kernel.clock.now_ms());
        let beat = tokio::task::spawn_blocking(move || pulse.beat(now_ms)).await;
        if let Ok(Err(error)) = beat {
            tracing::debug!(%error, "no sign of life: calls that a crash cuts now will end at their last event");
        }
    }
}

async fn watch_directory(kernel: Kernel, directory: Arc<Directory>) {
    while kernel.stop.run_until_cancelled(kernel.clock.sleep(WATCH_MS)).await.is_some() {
        if let Err(error) = directory.refresh().await {
            tracing::warn!(%error, "the directory could not be looked at");
        }
    }
}
