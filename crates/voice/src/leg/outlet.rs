//! A leg's way to its call: events go out here, from its signalling and from its media thread alike.
//!
//! Invariant: exactly one end passes, and after it nothing but the fate of the leg's recording.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use super::{LegEvent, LegId, LegSink, Signal};

/// A leg's way to its sink, shared by its signalling and its media thread.
#[derive(Clone, Debug)]
pub struct LegEvents(Arc<Outlet>);

#[derive(Debug)]
struct Outlet {
    id: LegId,
    state: Mutex<OutletState>,
}

#[derive(Debug, Default)]
struct OutletState {
    sink: Option<LegSink>,
    signals: Option<mpsc::WeakSender<Signal>>,
    /// What happened before a sink was attached: an incoming leg that rings nowhere yet has a handful at most.
    early: Vec<LegEvent>,
    ended: bool,
}

/// Events kept for a leg whose sink is not attached yet.
const MAX_EARLY_EVENTS: usize = 32;

impl LegEvents {
    /// The events of a leg; `sink` may follow by `Leg::attach`.
    #[must_use]
    pub fn new(id: LegId, sink: Option<LegSink>) -> Self {
        Self(Arc::new(Outlet { id, state: Mutex::new(OutletState { sink, ..OutletState::default() }) }))
    }

    /// The leg's id.
    #[must_use]
    pub fn id(&self) -> &LegId {
        &self.0.id
    }

    /// Whether the end has been told.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.state().ended
    }

    /// Whether somebody listens.
    #[must_use]
    pub(crate) fn is_attached(&self) -> bool {
        self.state().sink.is_some()
    }

    /// Sends `event`, waiting for room. An event after the leg's end goes nowhere, nor does one to a call that is gone.
    pub async fn send(&self, event: LegEvent) {
        if let Err((event, sink)) = self.pass(event) {
            let _ = sink.send((self.0.id.clone(), event)).await;
        }
    }

    /// Sends `event` if there is room.
    ///
    /// # Errors
    /// Gives the event back when there is none; try again later.
    pub fn offer(&self, event: LegEvent) -> Result<(), LegEvent> {
        self.pass(event).map_err(|(event, _)| {
            if matches!(event, LegEvent::Ended(_)) {
                self.state().ended = false;
            }
            event
        })
    }

    /// Names the signalling that is to hear of lost media.
    pub(super) fn tells_lost_media(&self, signals: &mpsc::Sender<Signal>) {
        self.state().signals = Some(signals.downgrade());
    }

    /// Tells the leg's signalling that the party's media has ceased.
    pub(crate) fn media_timeout(&self) {
        let signals = self.state().signals.as_ref().and_then(mpsc::WeakSender::upgrade);
        if let Some(signals) = signals {
            let _ = signals.try_send(Signal::MediaTimeout);
        }
    }

    pub(super) fn attach(&self, sink: LegSink) {
        let mut state = self.state();
        for event in state.early.drain(..) {
            // The sink is new, so it has room for this handful.
            let _ = sink.try_send((self.0.id.clone(), event));
        }
        state.sink = Some(sink);
    }

    /// Delivers without waiting; a full sink comes back with the event. The end counts as told from here on, so that nothing overtakes it.
    fn pass(&self, event: LegEvent) -> Result<(), (LegEvent, LegSink)> {
        let mut state = self.state();
        if state.ended && !matches!(event, LegEvent::RecordingReady { .. } | LegEvent::RecordingFailed { .. }) {
            return Ok(());
        }
        state.ended |= matches!(event, LegEvent::Ended(_));
        match &state.sink {
            None => {
                if state.early.len() < MAX_EARLY_EVENTS {
                    state.early.push(event);
                }
                Ok(())
            }
            Some(sink) => match sink.try_send((self.0.id.clone(), event)) {
                Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
                Err(mpsc::error::TrySendError::Full((_, event))) => Err((event, sink.clone())),
            },
        }
    }

    fn state(&self) -> MutexGuard<'_, OutletState> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What signalling has to tell a call whose queue is full, kept in order until there is room.
#[derive(Debug)]
pub(crate) struct Backlog {
    events: LegEvents,
    unsent: VecDeque<LegEvent>,
}

impl Backlog {
    /// A full queue is tried again after this, ms.
    pub(crate) const RETRY_MS: i64 = 20;

    /// Nothing waits.
    pub(crate) fn new(events: LegEvents) -> Self {
        Self { events, unsent: VecDeque::new() }
    }

    /// Sends an event now, or keeps it behind those that wait. A key press that would have to wait is left out.
    pub(crate) fn send(&mut self, event: LegEvent) {
        let droppable = matches!(event, LegEvent::Dtmf { .. });
        let unsent = if self.unsent.is_empty() { self.events.offer(event).err() } else { Some(event) };
        self.unsent.extend(unsent.filter(|_| !droppable));
    }

    /// The leg's id.
    pub(crate) fn id(&self) -> &LegId {
        self.events.id()
    }

    /// Tries again.
    pub(crate) fn flush(&mut self) {
        while let Some(event) = self.unsent.pop_front() {
            if let Err(event) = self.events.offer(event) {
                self.unsent.push_front(event);
                return;
            }
        }
    }

    /// Whether all is told.
    pub(crate) fn is_empty(&self) -> bool {
        self.unsent.is_empty()
    }

    /// Whether somebody listens.
    pub(crate) fn is_attached(&self) -> bool {
        self.events.is_attached()
    }
}
