//! What a driver does with a live call: the verbs behind [`crate::Call`].
//!
//! Invariant: no verb waits; on a call that is over, or without a party to act on, it does nothing.

use kernel::db::Write;
use kernel::outbox::Target;
use serde_json::{Value, json};
use voice::cause::Cause;
use voice::leg::{PlayId, PlayMode, Playable};

use crate::connect::{ConnectStatus, Input};
use crate::dialling::{Wanted, Words};
use crate::driver::{CallEvent, Connect, ConnectEvent};
use crate::journal::Step;
use crate::live::{AtEnd, Live};
use crate::model::Change;
use crate::pairing::PartyDial;
use crate::queue::Left;

impl Live {
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

    pub(crate) fn connect(&mut self, connect: Connect) {
        self.want(Wanted {
            connect,
            then_end: false,
            transfer: false,
            offer: None,
            words: Words::Connect,
            party: None,
        });
    }

    /// Rings the second party of a pair.
    pub(crate) fn connect_party(&mut self, connect: Connect, party: PartyDial) {
        let party = Some(Box::new(party));
        self.want(Wanted { connect, then_end: false, transfer: false, offer: None, words: Words::Connect, party });
    }

    /// The second party of a pair is looked up or rung, and the first waits for it.
    pub(crate) fn is_ringing_party(&self) -> bool {
        (self.wanted.is_some() || self.dialling.is_some()) && self.bridged_device().is_none() && !self.is_ending()
    }

    /// Plays once to the two who are connected; the play that is told is the customer's.
    pub(crate) fn announce(&mut self, what: Playable) -> PlayId {
        let other = self.new_play();
        if let Some((_, party)) = self.connected() {
            party.leg.play(other, what.clone(), PlayMode::ONCE);
        }
        self.play(what, PlayMode::ONCE.loops)
    }

    /// The call is a pair's from now on: it lasts so long at most, and neither party brings anybody else into it.
    pub(crate) fn keep_to_two(&mut self, longest_ms: i64) {
        self.model.masked = true;
        self.paired = true;
        self.time_limit_ms = longest_ms;
        if let Some(until_ms) = &mut self.talk_until_ms {
            *until_ms = self.calls.kernel().clock.now_ms() + longest_ms;
        }
    }

    pub(crate) fn transfer(&mut self, connect: Connect) {
        self.want(Wanted { connect, then_end: true, transfer: true, offer: None, words: Words::Connect, party: None });
    }

    fn want(&mut self, wanted: Wanted) {
        if self.is_ending() {
            return;
        }
        self.give_up_dialling();
        self.leave_queue(Left::Hangup);
        self.wanted = Some(wanted);
    }

    pub(crate) fn is_connecting(&self) -> bool {
        self.wanted.is_some() || self.dialling.is_some() || self.waits_to_connect()
    }

    pub(crate) fn cancel_connect(&mut self) {
        if self.waits_to_connect() && self.bridged_device().is_none() {
            self.leave_queue(Left::Hangup);
            let (status, cause) = (ConnectStatus::Canceled, Cause::Canceled);
            return self.tell(CallEvent::Connect(ConnectEvent::Ended { status, cause }));
        }
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
}

fn step_of((id, kind): (&str, &str)) -> Step {
    Step { id: id.to_owned(), kind: kind.to_owned() }
}
