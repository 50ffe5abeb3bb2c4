//! A live call: turns what its legs report into state, events and news for the driver.
//!
//! Everything happens in [`Live::turn`], one thing at a time, on the driver's task. Invariant: every
//! path ends in [`Live::complete`], which acts once; a call cannot stay without a leg, a dialling or
//! an end under way.

use std::collections::VecDeque;

use kernel::db::Write;
use kernel::outbox::Target;
use media::codec::CodecKind;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use voice::cause::Cause;
use voice::leg::{EndedBy as Side, Leg, LegEnd, LegEvent, LegId, LegSink, PlayId, PlayMode, Playable};

use crate::Calls;
use crate::connect::{Device, Input};
use crate::dialling::{Dialling, Wanted};
use crate::driver::{CallEvent, Connect};
use crate::journal::{Journal, Step};
use crate::keeping::Keeping;
use crate::model::{CallEnd, CallModel, Change, EndedBy, LegRecord, LegRole, LegState};
use crate::presence::Busy;
use crate::registry::Ticket;
use crate::store;

/// Events of a call's legs that may wait for its driver.
pub(crate) const LEG_EVENTS: usize = 256;
/// A call that was told to end is over after this time even if a leg stays silent: longer than the
/// 32 s of SIP's transaction timers (RFC 3261, 17.1.1.2), in milliseconds.
const ENDING_MS: i64 = 40_000;
/// How long an ended call waits for its recordings to be completed, in milliseconds.
const KEEPING_MS: i64 = 30_000;

/// Rates at which calls are recorded, in samples a second.
const NARROW_BAND: u32 = 8_000;
const WIDE_BAND: u32 = 16_000;

type AtEnd = Box<dyn FnOnce(&CallEnd, i64) -> Vec<Write> + Send>;

/// One party that is there, or being dialled.
pub(crate) struct Party {
    pub(crate) leg: Leg,
    pub(crate) role: LegRole,
    /// Which device of the dialling it is; `None` for a caller.
    pub(crate) device: Option<Device>,
    /// The whisper that it hears.
    pub(crate) whisper: Option<PlayId>,
    pub(crate) answered: bool,
    pub(crate) codec: Option<CodecKind>,
    /// Its extension counts as busy while it is here.
    pub(crate) _busy: Option<Busy>,
}

impl Party {
    /// A party that calls us.
    pub(crate) fn caller(leg: Leg, role: LegRole, busy: Option<Busy>) -> Self {
        Self { leg, role, device: None, whisper: None, answered: false, codec: None, _busy: busy }
    }

    /// Samples a second that its audio is worth.
    pub(crate) fn recording_rate(&self) -> u32 {
        self.codec.map_or(NARROW_BAND, CodecKind::sample_rate).min(WIDE_BAND)
    }
}

/// An end that was decided and waits for the legs.
struct Ending {
    end: CallEnd,
    by_ms: i64,
}

pub(crate) struct Live {
    pub(crate) calls: Calls,
    pub(crate) model: CallModel,
    pub(crate) journal: Journal,
    pub(crate) step: Option<Step>,
    pub(crate) sink: LegSink,
    inbox: mpsc::Receiver<(LegId, LegEvent)>,
    pub(crate) parties: Vec<Party>,
    /// The party that the call stands on: when it goes, the call is over.
    pub(crate) standing: Option<LegId>,
    pub(crate) dialling: Option<Dialling>,
    /// A connect that is still to be looked up.
    pub(crate) wanted: Option<Wanted>,
    pub(crate) keeping: Keeping,
    ready: VecDeque<CallEvent>,
    ending: Option<Ending>,
    /// Whether the driver goes on when the first party is not reached, and the end that then waits.
    pub(crate) continue_unanswered: bool,
    pub(crate) unanswered: Option<CallEnd>,
    at_end: Option<AtEnd>,
    ticket: Option<Ticket>,
    hangup_seen: bool,
    /// The caller's name, for eyes inside.
    pub(crate) display: Option<String>,
    time_limit_ms: i64,
    talk_until_ms: Option<i64>,
    next_play: PlayId,
    /// The call's row is older than the model.
    dirty: bool,
}

impl Live {
    pub(crate) fn new(
        calls: Calls,
        model: CallModel,
        ticket: Ticket,
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
            parties: Vec::new(),
            standing: None,
            dialling: None,
            wanted: None,
            keeping: Keeping::default(),
            ready: VecDeque::new(),
            ending: None,
            continue_unanswered: false,
            unanswered: None,
            at_end: None,
            ticket: Some(ticket),
            hangup_seen: false,
            display: None,
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
            self.look_up_wanted().await;
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
            () = hangup_requested(self.ticket.as_ref()), if !self.hangup_seen => self.hangup_requested(),
            received = self.inbox.recv() => {
                if let Some((leg, event)) = received {
                    self.leg_event(&leg, event);
                }
                while let Ok((leg, event)) = self.inbox.try_recv() {
                    self.leg_event(&leg, event);
                }
            }
            () = clock.sleep_until(deadline_ms.unwrap_or(i64::MAX)), if deadline_ms.is_some() => self.tick(),
        }
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
        [ending, dialling, self.talk_until_ms, self.keeping.deadline_ms()].into_iter().flatten().min()
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
    pub(crate) fn add_party(&mut self, party: Party, number: String) {
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

    pub(crate) fn new_play(&mut self) -> PlayId {
        let play = self.next_play;
        self.next_play += 1;
        play
    }

    // ---------------------------------------------------------------- what legs report

    fn leg_event(&mut self, id: &LegId, event: LegEvent) {
        match event {
            LegEvent::RecordingReady { id, seconds, channels, sha256, .. } => {
                self.recording_ready(&id, seconds, channels, &sha256);
            }
            LegEvent::RecordingFailed { id, error } => self.recording_failed(&id, &error),
            _ if self.model.end.is_some() => {}
            LegEvent::Ended(end) => self.leg_ended(id, &end),
            LegEvent::Dtmf { symbol, duration_ms } => self.key_pressed(id, symbol, duration_ms),
            LegEvent::Held => self.held(id, true),
            LegEvent::Resumed => self.held(id, false),
            LegEvent::TransferRequested { to, replaces } => self.transfer_requested(id, &to, replaces.is_some()),
            event if self.standing.as_ref() == Some(id) => self.standing_event(id, event),
            event => self.dialled_event(id, event),
        }
    }

    fn standing_event(&mut self, id: &LegId, event: LegEvent) {
        match event {
            LegEvent::Answered { codec } => {
                self.leg_answered(id, codec);
                self.call_answered(id);
            }
            LegEvent::PlayEnded { play } if self.beep_ended(play) => {}
            LegEvent::PlayEnded { play } => self.tell(CallEvent::PlayEnded { play }),
            LegEvent::Silence if self.message_ended() => {}
            LegEvent::Silence => self.tell(CallEvent::Silence),
            LegEvent::Voice => self.keeping.heard_voice(),
            _ => {}
        }
    }

    fn dialled_event(&mut self, id: &LegId, event: LegEvent) {
        let Some(party) = self.party(id) else { return };
        let Some(device) = party.device else { return };
        let whisper = party.whisper;
        match event {
            LegEvent::Ringing => {
                self.change(Change::LegRinging(id.clone()));
                self.dial_step(Input::Ringing(device));
            }
            LegEvent::EarlyMedia => self.early_media(id),
            LegEvent::Answered { codec } => {
                self.leg_answered(id, codec);
                self.dial_step(Input::Answered(device));
            }
            LegEvent::PlayEnded { play } if whisper == Some(play) => {
                self.dial_step(Input::WhisperEnded(device));
            }
            _ => {}
        }
    }

    fn leg_answered(&mut self, id: &LegId, codec: CodecKind) {
        if let Some(party) = self.party_mut(id) {
            party.answered = true;
            party.codec = Some(codec);
        }
        self.change(Change::LegAnswered(id.clone(), codec.name().to_owned()));
    }

    /// The party that the call stands on has answered.
    pub(crate) fn call_answered(&mut self, id: &LegId) {
        if !self.change(Change::Answered) {
            return;
        }
        self.talk_until_ms = Some(self.now_ms() + self.time_limit_ms);
        self.emit("call.answered", Some(id), json!({}));
        self.tell(CallEvent::Answered);
        self.record_once_answered();
    }

    fn key_pressed(&mut self, id: &LegId, symbol: char, duration_ms: u32) {
        let secret = self.keeping.is_sensitive();
        let digit = if secret { "redacted".to_owned() } else { symbol.to_string() };
        self.emit("dtmf", Some(id), json!({"digit": digit, "duration_ms": duration_ms}));
        if self.standing.as_ref() == Some(id) {
            if symbol == '#' && self.message_ended() {
                return;
            }
            self.tell(CallEvent::Dtmf { symbol, duration_ms });
        } else if let Some(device) = self.party(id).and_then(|party| party.device) {
            self.dial_step(Input::Digit(device, symbol));
        }
    }

    fn held(&mut self, id: &LegId, on: bool) {
        if !self.change(Change::LegHeld(id.clone(), on)) {
            return;
        }
        self.emit(if on { "call.held" } else { "call.resumed" }, Some(id), json!({}));
        if self.standing.as_ref() == Some(id) {
            self.tell(if on { CallEvent::Held } else { CallEvent::Resumed });
        }
    }

    fn leg_ended(&mut self, id: &LegId, end: &LegEnd) {
        self.change(Change::LegEnded(id.clone()));
        let Some(index) = self.parties.iter().position(|party| party.leg.id() == id) else { return };
        let party = self.parties.swap_remove(index);
        if self.standing.as_ref() == Some(id) {
            return self.standing_ended(party.role, end);
        }
        if let Some(device) = party.device {
            if let Some(dialling) = &mut self.dialling {
                dialling.last_end = Some(end.clone());
            }
            let everywhere = end.sip_code.is_some_and(|code| code >= 600);
            self.dial_step(Input::Ended { device, cause: end.cause, everywhere });
        }
        self.complete_if_alone();
    }

    /// The party that the call stands on is gone, and the call with it.
    fn standing_ended(&mut self, role: LegRole, leg_end: &LegEnd) {
        self.standing = None;
        let end = match self.ending.take() {
            Some(ending) => CallEnd { sip_code: leg_end.sip_code, q850: leg_end.q850, ..ending.end },
            None => {
                let by = if leg_end.by == Side::Remote { role.into() } else { EndedBy::System };
                CallEnd::of_leg(leg_end, by)
            }
        };
        self.ending = Some(Ending { end: end.clone(), by_ms: i64::MAX });
        self.dial_step(Input::CustomerGone);
        self.complete(end);
    }

    // ---------------------------------------------------------------- verbs of the driver

    pub(crate) fn ring(&mut self) {
        if let Some(party) = self.standing().filter(|party| !party.answered) {
            party.leg.ring();
            if self.change(Change::Ringing) {
                self.emit("call.ringing", None, json!({}));
            }
        }
    }

    pub(crate) fn answer(&mut self) {
        if let Some(party) = self.standing().filter(|party| !party.answered) {
            party.leg.answer();
        }
    }

    pub(crate) fn play(&mut self, what: Playable, loops: u32) -> PlayId {
        let play = self.new_play();
        if let Some(party) = self.standing() {
            party.leg.play(play, what, PlayMode { loops });
        }
        play
    }

    pub(crate) fn stop_play(&mut self) {
        if let Some(party) = self.standing() {
            party.leg.stop_play();
        }
    }

    pub(crate) fn send_dtmf(&mut self, digits: &str) -> PlayId {
        let play = self.new_play();
        if let Some(party) = self.standing() {
            party.leg.send_dtmf(digits, play);
        }
        play
    }

    pub(crate) fn listen_silence(&mut self, after_ms: Option<u32>) {
        if let Some(party) = self.standing() {
            party.leg.listen_silence(after_ms);
        }
    }

    pub(crate) fn inband_dtmf(&mut self, on: bool) {
        if let Some(party) = self.standing() {
            party.leg.inband_dtmf(on);
        }
    }

    pub(crate) fn connect(&mut self, connect: Connect, then_end: bool) {
        if self.is_ending() {
            return;
        }
        self.give_up_dialling();
        self.wanted = Some(Wanted { connect, then_end });
    }

    pub(crate) fn is_connecting(&self) -> bool {
        self.wanted.is_some() || self.dialling.is_some()
    }

    pub(crate) fn cancel_connect(&mut self) {
        self.wanted = None;
        self.dial_step(Input::Cancel);
    }

    pub(crate) fn at_step(&mut self, step: Option<(&str, &str)>) {
        self.step = step.map(step_of);
    }

    pub(crate) fn emit_step(&mut self, kind: &str, step: Option<(&str, &str)>, data: Value) {
        if self.model.end.is_none() {
            let step = step.map(step_of);
            self.journal.event(&self.model, kind, None, step.as_ref(), data);
        }
    }

    pub(crate) fn with_writes(&mut self, writes: Vec<Write>) {
        writes.into_iter().for_each(|write| self.journal.row(write));
    }

    pub(crate) fn at_end(&mut self, writes: AtEnd) {
        self.at_end = Some(writes);
    }

    pub(crate) fn driven_by(&mut self, run: String, publish: Option<Target>) {
        self.model.run = Some(run);
        if let Some(target) = publish {
            self.journal.publish_to(target);
        }
        self.dirty = true;
    }

    // ---------------------------------------------------------------- the end

    fn hangup_requested(&mut self) {
        self.hangup_seen = true;
        self.tell(CallEvent::HangupRequested);
        let cause = if self.model.is_established() { Cause::Normal } else { Cause::Canceled };
        self.hangup(cause, EndedBy::Api);
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
        self.dialling = None;
        self.wanted = None;
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

fn step_of((id, kind): (&str, &str)) -> Step {
    Step { id: id.to_owned(), kind: kind.to_owned() }
}

async fn hangup_requested(ticket: Option<&Ticket>) {
    match ticket {
        Some(ticket) => ticket.hangup_requested().await,
        None => std::future::pending().await,
    }
}
