//! A live call: turns what its legs report into state, events and news for the driver.
//!
//! Everything happens in [`Live::turn`], one thing at a time, on the driver's task. Invariant: every
//! path ends in [`Live::complete`], which acts once; a call cannot stay without a leg, a dialling or
//! an end under way.

use std::collections::VecDeque;

use kernel::db::Write;
use kernel::outbox::Target;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use voice::cause::Cause;
use voice::leg::{LegEvent, LegId, LegSink, PlayId};

use crate::Calls;
use crate::conferring::{Conferring, Leaving};
use crate::connect::Input;
use crate::consultation::{self, Consultation};
use crate::dialling::{Dialling, Wanted};
use crate::driver::CallEvent;
use crate::journal::{Journal, Step};
use crate::keeping::Keeping;
use crate::model::{CallEnd, CallModel, Change, EndedBy, LegRecord, LegState};
use crate::party::Party;
use crate::queue::Left;
use crate::registry::{EndWanted, Ticket};
use crate::requests::Request;
use crate::store;
use crate::supervision::Supervision;
use crate::transfer::Referral;
use crate::waiting::{Errand, Waiting, seat_changed};

/// Events of a call's legs that may wait for its driver.
pub(crate) const LEG_EVENTS: usize = 256;
/// A call that was told to end is over after this time even if a leg stays silent: longer than the
/// 32 s of SIP's transaction timers (RFC 3261, 17.1.1.2), in milliseconds.
const ENDING_MS: i64 = 40_000;
/// How long an ended call waits for its recordings to be completed, in milliseconds.
const KEEPING_MS: i64 = 30_000;

pub(crate) type AtEnd = Box<dyn FnOnce(&CallEnd, i64) -> Vec<Write> + Send>;

/// An end that was decided and waits for the legs.
pub(crate) struct Ending {
    pub(crate) end: CallEnd,
    pub(crate) by_ms: i64,
}

pub(crate) struct Live {
    pub(crate) calls: Calls,
    pub(crate) model: CallModel,
    pub(crate) journal: Journal,
    pub(crate) step: Option<Step>,
    pub(crate) sink: LegSink,
    inbox: mpsc::Receiver<(LegId, LegEvent)>,
    requests: mpsc::Receiver<Request>,
    pub(crate) parties: Vec<Party>,
    /// The party that the call stands on: when it goes, the call is over.
    pub(crate) standing: Option<LegId>,
    pub(crate) dialling: Option<Dialling>,
    /// A connect that is still to be looked up.
    pub(crate) wanted: Option<Wanted>,
    /// A transfer that is still to be looked up.
    pub(crate) referral: Option<Referral>,
    /// A queue that is still to be joined.
    pub(crate) errand: Option<Errand>,
    /// The queue that it waits in, or whose agent it talks to.
    pub(crate) waiting: Option<Waiting>,
    /// What is told before call.completed.
    pub(crate) last_words: Option<(&'static str, Value)>,
    pub(crate) keeping: Keeping,
    /// A transfer that waits for another call.
    pub(crate) consultation: Option<Consultation>,
    pub(crate) conference: Option<Conferring>,
    pub(crate) supervision: Option<Supervision>,
    ready: VecDeque<CallEvent>,
    pub(crate) ending: Option<Ending>,
    /// Whether the driver goes on when the first party is not reached, and the end that then waits.
    pub(crate) continue_unanswered: bool,
    pub(crate) unanswered: Option<CallEnd>,
    pub(crate) at_end: Option<AtEnd>,
    ticket: Option<Ticket>,
    end_seen: bool,
    /// The caller's name, for eyes inside.
    pub(crate) display: Option<String>,
    /// How many calls to own numbers have led to this one.
    pub(crate) depth: u8,
    /// What its further legs may travel (Max-Forwards).
    pub(crate) hops_left: u32,
    /// It is a pair's: two parties, and nobody else.
    pub(crate) paired: bool,
    pub(crate) time_limit_ms: i64,
    pub(crate) talk_until_ms: Option<i64>,
    next_play: PlayId,
    /// The call's row is older than the model.
    pub(crate) dirty: bool,
}

impl Live {
    pub(crate) fn new(
        calls: Calls,
        model: CallModel,
        mut ticket: Ticket,
        time_limit_ms: i64,
        publish: Option<Target>,
    ) -> Self {
        let (sink, inbox) = mpsc::channel(LEG_EVENTS);
        let journal = Journal::new(calls.kernel().clone(), 0, publish);
        Self {
            calls,
            model,
            journal,
            step: None,
            sink,
            inbox,
            requests: ticket.take_requests(),
            parties: Vec::new(),
            standing: None,
            dialling: None,
            wanted: None,
            referral: None,
            errand: None,
            waiting: None,
            last_words: None,
            keeping: Keeping::default(),
            consultation: None,
            conference: None,
            supervision: None,
            ready: VecDeque::new(),
            ending: None,
            continue_unanswered: false,
            unanswered: None,
            at_end: None,
            ticket: Some(ticket),
            end_seen: false,
            display: None,
            depth: 0,
            hops_left: voice::MAX_FORWARDS,
            paired: false,
            time_limit_ms,
            talk_until_ms: None,
            next_play: 1,
            dirty: false,
        }
    }

    /// The call's row and its call.initiated, with the driver's own rows.
    pub(crate) async fn first_writes(&mut self, own: Vec<Write>) -> Vec<Write> {
        self.journal.row(store::insert_call(&self.model));
        self.dirty = false;
        self.with_writes(own);
        self.emit("call.initiated", None, json!({}));
        self.journal.take(&self.model).await
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.calls.kernel().clock.now_ms()
    }

    // ---------------------------------------------------------------- waiting

    pub(crate) async fn next(&mut self) -> CallEvent {
        loop {
            if self.referral.is_some() {
                Box::pin(self.look_up_referral()).await;
            }
            self.look_up_wanted().await;
            // Boxed: few calls wait, and each would carry the room for it.
            if self.errand.is_some() {
                Box::pin(self.take_seat()).await;
                continue;
            }
            self.flush().await;
            if let Some(event) = self.ready.pop_front() {
                return event;
            }
            if let Some(end) = &self.model.end {
                return CallEvent::Ended { cause: end.cause, by: end.by };
            }
            self.turn().await;
        }
    }

    /// Waits for one thing to happen and takes it, and what else has happened meanwhile.
    async fn turn(&mut self) {
        let deadline_ms = self.deadline_ms();
        let clock = self.calls.kernel().clock.clone();
        tokio::select! {
            biased;
            by = end_wanted(self.ticket.as_ref()), if !self.end_seen => self.end_wanted(by),
            received = self.inbox.recv() => {
                if let Some((leg, event)) = received {
                    self.leg_event(&leg, event);
                }
                while !self.driver_decides() && let Ok((leg, event)) = self.inbox.try_recv() {
                    self.leg_event(&leg, event);
                }
            }
            () = seat_changed(self.waiting.as_mut()), if self.waiting.is_some() => self.seat_news(),
            Some(request) = self.requests.recv() => self.requested(request),
            handed = consultation::answered(self.consultation.as_mut()), if self.consultation.is_some() => {
                self.consultation_answered(handed);
            }
            () = clock.sleep_until(deadline_ms.unwrap_or(i64::MAX)), if deadline_ms.is_some() => self.tick(),
        }
    }

    /// Whoever waits in a queue has a choice of the driver's making, such as a key to be called back: what came first is
    /// answered before the next thing, an agent who answers, is looked at.
    fn driver_decides(&self) -> bool {
        self.waiting.is_some() && !self.ready.is_empty()
    }

    /// Queues what was noted. The row is rewritten at most once for everything that happened since.
    async fn flush(&mut self) {
        if self.dirty {
            self.dirty = false;
            self.journal.row(store::update_call(&self.model));
        }
        if self.journal.is_dirty() {
            self.journal.flush(&self.model).await;
        }
        self.keeping.throw_away(self.calls.kernel()).await;
    }

    fn deadline_ms(&self) -> Option<i64> {
        let ending = self.ending.as_ref().map(|ending| ending.by_ms);
        let dialling = self.dialling.as_ref().and_then(|dialling| dialling.machine.deadline_ms());
        let supervision = self.supervision.as_ref().and_then(Supervision::deadline_ms);
        [ending, dialling, supervision, self.talk_until_ms, self.keeping.deadline_ms()].into_iter().flatten().min()
    }

    fn tick(&mut self) {
        let now_ms = self.now_ms();
        if let Some(ending) = self.ending.take_if(|ending| ending.by_ms <= now_ms) {
            return self.complete(ending.end);
        }
        if self.talk_until_ms.take_if(|until| *until <= now_ms).is_some() {
            self.hangup(Cause::TimeLimit, EndedBy::System);
        }
        self.keeping_tick(now_ms);
        self.supervision_tick(now_ms);
        self.dial_step(Input::Tick);
    }

    // ---------------------------------------------------------------- news and events

    /// Tells the driver, unless the call is ending: then only the end is news.
    pub(crate) fn tell(&mut self, event: CallEvent) {
        if self.ending.is_none() && self.model.end.is_none() {
            self.ready.push_back(event);
        }
    }

    /// Emits an event of the call in the current step.
    pub(crate) fn emit(&mut self, kind: &str, leg: Option<&LegId>, data: Value) {
        let leg = leg.and_then(|id| self.party(id).map(|party| (id, party.role)));
        self.journal.event(&self.model, kind, leg, self.step.as_ref(), data);
    }

    pub(crate) fn change(&mut self, change: Change) -> bool {
        let now_ms = self.now_ms();
        let changed = self.model.apply(change, now_ms);
        self.dirty |= changed;
        changed
    }

    pub(crate) fn party(&self, id: &LegId) -> Option<&Party> {
        self.parties.iter().find(|party| party.leg.id() == id)
    }

    pub(crate) fn party_mut(&mut self, id: &LegId) -> Option<&mut Party> {
        self.parties.iter_mut().find(|party| party.leg.id() == id)
    }

    /// The party the call stands on.
    pub(crate) fn standing(&self) -> Option<&Party> {
        self.standing.as_ref().and_then(|id| self.party(id))
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.ending.is_some() || self.model.end.is_some()
    }

    /// A party joins, dialled by us or calling us.
    pub(crate) fn add_party(&mut self, mut party: Party, number: String) {
        party.seat = Some(self.calls.registry().seat(party.leg.id(), &self.model.id));
        if let Some(busy) = &party.busy {
            self.journal.row(store::insert_party(&self.model, busy.extension()));
        }
        self.change(Change::LegAdded(LegRecord {
            id: party.leg.id().clone(),
            role: party.role,
            to: number,
            state: LegState::Initiated,
            codec: None,
            node: self.model.node.clone(),
        }));
        self.parties.push(party);
    }

    /// What a leg has told and nobody has read yet. Everything else that waits is handled on the way.
    pub(crate) fn take_events_of(&mut self, leg: &LegId) -> Vec<LegEvent> {
        let mut events = Vec::new();
        while let Ok((id, event)) = self.inbox.try_recv() {
            if id == *leg { events.push(event) } else { self.leg_event(&id, event) }
        }
        events
    }

    pub(crate) fn new_play(&mut self) -> PlayId {
        let play = self.next_play;
        self.next_play += 1;
        play
    }

    // ---------------------------------------------------------------- the end

    fn end_wanted(&mut self, by: EndWanted) {
        self.end_seen = true;
        match by {
            EndWanted::ByApi => {
                self.tell(CallEvent::HangupRequested);
                let cause = if self.model.is_established() { Cause::Normal } else { Cause::Canceled };
                self.hangup(cause, EndedBy::Api);
            }
            EndWanted::ByStop => self.hangup(Cause::ServerRestart, EndedBy::System),
        }
    }

    pub(crate) fn hangup(&mut self, cause: Cause, by: EndedBy) {
        if self.is_ending() {
            return;
        }
        if let Some(end) = self.unanswered.take() {
            return self.complete(if by == EndedBy::Api { CallEnd::local(cause, by) } else { end });
        }
        let by_ms = self.now_ms() + ENDING_MS;
        self.ending = Some(Ending { end: CallEnd::local(cause, by), by_ms });
        self.wanted = None;
        self.referral = None;
        self.leave_queue(Left::Hangup);
        self.dial_step(Input::Cancel);
        for party in &self.parties {
            party.leg.hangup(cause);
        }
        self.complete_if_alone();
    }

    /// An end that was decided is reached when the last party is gone.
    pub(crate) fn complete_if_alone(&mut self) {
        if self.parties.is_empty()
            && let Some(ending) = self.ending.take()
        {
            self.complete(ending.end);
        }
    }

    /// The one place where a call becomes completed.
    pub(crate) fn complete(&mut self, end: CallEnd) {
        if self.model.end.is_none() {
            self.leave_queue(Left::Hangup);
            if let Some((kind, data)) = self.last_words.take() {
                self.emit(kind, None, data);
            }
        }
        self.leave_conference(Leaving::HungUp);
        if !self.change(Change::Completed(end.clone())) {
            return;
        }
        self.step = None;
        self.emit("call.completed", None, completed_data(&self.model));
        if let Some(writes) = self.at_end.take() {
            let writes = writes(&end, self.now_ms());
            self.with_writes(writes);
        }
        for party in self.parties.drain(..) {
            party.leg.hangup(Cause::Normal);
        }
        self.ending = None;
        self.talk_until_ms = None;
        self.supervision = None;
        self.consultation = None;
        self.dialling = None;
        self.wanted = None;
        self.referral = None;
        self.standing = None;
        self.ticket = None;
        self.keeping.call_ended(self.calls.kernel().clock.now_ms() + KEEPING_MS);
        self.ready.push_back(CallEvent::Ended { cause: end.cause, by: end.by });
    }

    /// Takes over a call whose driver is gone: ends it and waits for its recordings.
    pub(crate) fn finish(mut live: Box<Self>) {
        if live.is_settled() || tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let tasks = live.calls.kernel().tasks.clone();
        tasks.spawn(async move {
            live.hangup(Cause::FlowError, EndedBy::System);
            while !live.is_settled() {
                live.flush().await;
                if live.model.end.is_none() || live.keeping.is_waiting() {
                    live.turn().await;
                }
            }
        });
    }

    fn is_settled(&self) -> bool {
        self.model.end.is_some()
            && !self.dirty
            && !self.journal.is_dirty()
            && !self.keeping.is_waiting()
            && !self.keeping.has_rubbish()
    }
}

/// `data` of call.completed.
pub(crate) fn completed_data(call: &CallModel) -> Value {
    let end = call.end.as_ref();
    json!({
        "cause": end.map(|end| end.cause.as_str()),
        "ended_by": end.map(|end| end.by.as_str()),
        "sip_code": end.and_then(|end| end.sip_code),
        "q850": end.and_then(|end| end.q850),
        "ring_s": call.ring_s(),
        "talk_s": call.talk_s(),
        "total_s": call.total_s(),
    })
}

async fn end_wanted(ticket: Option<&Ticket>) -> EndWanted {
    match ticket {
        Some(ticket) => ticket.end_wanted().await,
        None => std::future::pending().await,
    }
}
