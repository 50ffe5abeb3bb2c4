//! What the legs of a live call report, and what follows from it.
//!
//! Invariant: the end of the party that the call stands on is the end of the call, and reports after
//! that change nothing but the fate of recordings.

use media::codec::CodecKind;
use serde_json::json;
use voice::leg::{EndedBy as Side, LegEnd, LegEvent, LegId, Replaced};

use crate::connect::Input;
use crate::driver::CallEvent;
use crate::live::{Ending, Live};
use crate::model::{CallEnd, Change, EndedBy, LegRole};

impl Live {
    pub(crate) fn leg_event(&mut self, id: &LegId, event: LegEvent) {
        match event {
            LegEvent::RecordingReady { id, seconds, channels, sha256, .. } => {
                self.recording_ready(&id, seconds, channels, &sha256);
            }
            LegEvent::RecordingFailed { id, error } => self.recording_failed(&id, &error),
            _ if self.model.end.is_some() => {}
            event if self.party(id).is_some_and(|party| party.role == LegRole::Supervisor) => {
                self.supervisor_event(id, event);
            }
            LegEvent::Ended(end) => self.leg_ended(id, &end),
            LegEvent::Dtmf { symbol, duration_ms } => self.key_pressed(id, symbol, duration_ms),
            LegEvent::Held => self.held(id, true),
            LegEvent::Resumed => self.held(id, false),
            LegEvent::TransferRequested { to, replaces: None } => self.transfer_requested(id, &to),
            LegEvent::TransferRequested { to, replaces: Some(Replaced::Leg(leg)) } => {
                self.consultation_requested(id, crate::transfer::user_part(&to).unwrap_or_default(), leg);
            }
            LegEvent::TransferRequested { replaces: Some(Replaced::Stranger), .. } => {
                if let Some(party) = self.party(id) {
                    party.leg.accept_transfer(false);
                }
            }
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
            LegEvent::PlayEnded { play } if whisper == Some(play) && !self.whisper_goes_on(device) => {
                self.dial_step(Input::WhisperEnded(device));
            }
            _ => {}
        }
    }

    pub(crate) fn leg_answered(&mut self, id: &LegId, codec: CodecKind) {
        let inband = self.calls.kernel().config.media.inband_dtmf;
        if let Some(party) = self.party_mut(id) {
            party.answered = true;
            party.codec = Some(codec);
            if inband {
                party.leg.inband_dtmf(true);
            }
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
        self.held_in_room(id, on);
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
        let device = party.device;
        // Its extension is free again before anybody asks.
        drop(party);
        if let Some(device) = device {
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
}
